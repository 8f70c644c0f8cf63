/* The n-th system call that reads or changes a file fails, for every n until none is left to fail:
 * creating a model, quantising a file, finding and opening a model. Each failure is an error that
 * names a file, leaks nothing (the sanitizers look), leaves no half-written file behind, and the
 * store holds what it held. */
#undef _FORTIFY_SOURCE /* its inline read is not to be in the way of ours */
#include "base/arena.h"
#include "kern/dtype.h"
#include "model/gguf_write.h"
#include "model/quantize.h"
#include "os/file.h"
#include "store/store.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { N_MAX = 500 };

/* ---- our own read, mmap, write, fsync, rename and open in front of the C library's ---- */

static int calls_left = -1; /* counts down; the call that meets 0 fails. -1 = all succeed */
static bool failed;         /* a call did fail */

static bool fails(int as) {
    if (calls_left < 0 || calls_left-- > 0) return false;
    calls_left = -1;
    failed = true;
    errno = as;
    return true;
}

ssize_t read(int fd, void *bytes, size_t n) {
    return fails(EIO) ? -1 : (ssize_t)syscall(SYS_read, fd, bytes, n);
}

void *mmap(void *addr, size_t n, int prot, int flags, int fd, off_t offset) {
    if (fd >= 0 && fails(ENOMEM)) return MAP_FAILED;
    return (void *)syscall(SYS_mmap, addr, n, prot, flags, fd, offset);
}

ssize_t write(int fd, const void *bytes, size_t n) {
    return fails(ENOSPC) ? -1 : (ssize_t)syscall(SYS_write, fd, bytes, n);
}

int fsync(int fd) {
    return fails(EIO) ? -1 : (int)syscall(SYS_fsync, fd);
}

int rename(const char *from, const char *to) {
    return fails(EACCES) ? -1 : (int)syscall(SYS_rename, from, to);
}

int open(const char *path, int flags, ...) {
    va_list args;
    va_start(args, flags);
    int mode = flags & O_CREAT ? va_arg(args, int) : 0;
    va_end(args);
    return fails(EMFILE) ? -1 : (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

/* ---- the work that is disturbed ---- */

static char dir[] = "/tmp/hob-faults-XXXXXX";

static int setup(void **state) {
    (void)state;
    return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state) {
    (void)state;
    char command[64];
    snprintf(command, sizeof command, "rm -r %s", dir);
    return system(command);
}

static const char *at(const char *name) {
    static char path[4][200];
    static int turn;
    char *p = path[turn++ % 4];
    snprintf(p, sizeof path[0], "%s/%s", dir, name);
    return p;
}

static size_t count_files(const char *path, const char *part) {
    size_t n = 0;
    DIR *d = opendir(path);
    for (struct dirent *f; d && (f = readdir(d));)
        if (f->d_name[0] != '.' && strstr(f->d_name, part)) n++;
    if (d) closedir(d);
    return n;
}

static err_code create_model(store *s, arena *a, err *e) {
    store_name name;
    store_layer layers[2];
    store_config config = {.format = STR("gguf"), .family = STR("llama")};
    assert_true(store_name_parse(a, STR("mine:new"), &name));
    TRY(store_add_layer(s, a, STORE_LAYER_SYSTEM, STR("You are kind."), &layers[0], e));
    TRY(store_add_layer(s, a, STORE_LAYER_LICENSE, STR("Anything goes."), &layers[1], e));
    return store_put(s, &name, &config, layers, 2, e);
}

/* After each failure the store is opened anew, as after a crash. */
static void a_model_is_created_or_not(void **state) {
    (void)state;
    const char *path = at("store");
    int n = 0;
    err_code code;
    do {
        assert_true(n < N_MAX);
        arena *a = arena_create(0);
        store *s = NULL;
        err e = {0};
        assert_int_equal(store_open(path, &s, &e), ERR_OK);
        calls_left = n++;
        failed = false;
        code = create_model(s, a, &e);
        calls_left = -1;
        if (code) {
            assert_true(e.msg[0] != 0);
            store_model *list, found;
            size_t n_list;
            err again;
            assert_int_equal(store_list(s, a, &list, &n_list, &again), ERR_OK);
            err_code seen = store_find(s, STR("mine:new"), a, &found, &again);
            /* There or not, but never broken: a failure behind the last rename may leave it. */
            assert_true(seen == ERR_NOT_FOUND || seen == ERR_OK);
            assert_int_equal(n_list, seen == ERR_OK ? 1 : 0);
            if (seen == ERR_OK) assert_int_equal(store_delete(s, STR("mine:new"), &again), ERR_OK);
        }
        store_close(&s);
        arena_destroy(&a);
    } while (failed);
    assert_int_equal(code, ERR_OK);
    assert_true(n > 6); /* the loop met opens, writes, syncs and renames */
    arena *a = arena_create(0);
    store *s = NULL;
    err e;
    store_model found;
    assert_int_equal(store_open(path, &s, &e), ERR_OK);
    assert_int_equal(store_find(s, STR("mine:new"), a, &found, &e), ERR_OK);
    assert_int_equal(found.n_layers, 2);
    store_close(&s);
    arena_destroy(&a);
}

static void write_small_gguf(const char *path) {
    static float rows[64 * 64];
    for (size_t i = 0; i < COUNT_OF(rows); i++) rows[i] = (float)(i % 97) / 97;
    gguf_writer *w = NULL;
    err e = {0};
    assert_int_equal(gguf_writer_create(path, 32, &w, &e), ERR_OK);
    gguf_writer_put_str(w, "general.architecture", STR("llama"));
    gguf_writer_put_tensor(w, STR("blk.0.ffn_up.weight"), DTYPE_F32, 2, (int64_t[4]){64, 64, 1, 1});
    assert_int_equal(gguf_writer_begin(w, &e), ERR_OK);
    assert_int_equal(gguf_writer_put_data(w, rows, sizeof rows, &e), ERR_OK);
    assert_int_equal(gguf_writer_commit(w, &e), ERR_OK);
    gguf_writer_destroy(&w);
}

static void a_quantised_file_is_whole_or_absent(void **state) {
    (void)state;
    write_small_gguf(at("in.gguf"));
    int n = 0;
    err_code code;
    do {
        assert_true(n < N_MAX);
        err e = {0};
        unlink(at("out.gguf"));
        calls_left = n++;
        failed = false;
        code = quantize_gguf(at("in.gguf"), at("out.gguf"), "Q8_0", NULL, &e);
        calls_left = -1;
        assert_true(code == ERR_OK || e.msg[0] != 0);
        /* A failed flush of the directory comes behind the rename: the file is there, and whole. */
        size_t left = count_files(dir, "out.gguf");
        assert_true(code == ERR_OK ? left == 1 : left <= 1);
        assert_int_equal(count_files(dir, ".tmp-"), 0);
    } while (failed);
    assert_int_equal(code, ERR_OK);
    assert_true(n > 4);
    gguf *g = NULL;
    err e;
    assert_int_equal(gguf_open(at("out.gguf"), &g, &e), ERR_OK);
    assert_int_equal(gguf_n_tensors(g), 1);
    gguf_destroy(&g);
}

/* Everything that `show` and a load do with files before the weights are used. */
static err_code read_model(const char *path, err *e) {
    store *s = NULL;
    arena *a = arena_create(0);
    store_model found, *list;
    size_t n_list;
    gguf *g = NULL;
    err_code code = store_open(path, &s, e);
    if (!code) code = store_list(s, a, &list, &n_list, e);
    if (!code && n_list != 1) code = err_set(e, ERR_IO, "a model that cannot be read is left out");
    if (!code) code = store_find(s, STR("mine:new"), a, &found, e);
    if (!code) code = gguf_open(at("in.gguf"), &g, e);
    gguf_destroy(&g);
    store_close(&s);
    arena_destroy(&a);
    return code;
}

static void a_model_is_read_or_an_error_says_why(void **state) {
    (void)state;
    int n = 0;
    err_code code;
    do {
        assert_true(n < N_MAX);
        err e = {0};
        calls_left = n++;
        failed = false;
        code = read_model(at("store"), &e);
        calls_left = -1;
        assert_true(code == ERR_OK || e.msg[0] != 0);
        assert_int_equal(read_model(at("store"), &e), ERR_OK); /* nothing was broken by it */
    } while (failed);
    assert_int_equal(code, ERR_OK);
    assert_true(n > 4); /* opens, reads and a mapping */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_model_is_created_or_not),
        cmocka_unit_test(a_quantised_file_is_whole_or_absent),
        cmocka_unit_test(a_model_is_read_or_an_error_says_why),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
