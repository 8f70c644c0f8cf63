/* os/file and os/mem on a temporary directory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "os/file.h"
#include "os/mem.h"
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[] = "/tmp/hob-test-file-XXXXXX";
static char path_text[256];

static const char *in_dir(const char *name) {
    snprintf(path_text, sizeof path_text, "%s/%s", dir, name);
    return path_text;
}

static int n_files(void) {
    DIR *d = opendir(dir);
    int n = 0;
    for (struct dirent *entry; (entry = readdir(d));) n += entry->d_name[0] != '.';
    closedir(d);
    return n;
}

static void test_write_and_read(void **state) {
    (void)state;
    err e = {0};
    const char *path = in_dir("a");
    assert_int_equal(file_write_atomic(path, "hello", 5, &e), ERR_OK);
    assert_int_equal(file_write_atomic(path, "hello world", 11, &e), ERR_OK); /* replaces */
    buf b = {0};
    buf_put(&b, "> ", 2);
    assert_int_equal(file_read(path, 11, &b, &e), ERR_OK);
    assert_true(str_eq(buf_str(&b), STR("> hello world")));
    assert_int_equal(file_read(path, 10, &b, &e), ERR_LIMIT);
    buf_finish(&b);
    uint64_t n = 0;
    assert_int_equal(file_length(path, &n, &e), ERR_OK);
    assert_int_equal(n, 11);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0644);
    assert_int_equal(n_files(), 1); /* no temporary file stays */
    assert_int_equal(file_remove(path, &e), ERR_OK);
    assert_int_equal(file_remove(path, &e), ERR_NOT_FOUND);
    assert_non_null(strstr(e.msg, path));
    assert_false(file_exists(path));
}

static void test_writer(void **state) {
    (void)state;
    err e = {0};
    file_writer w = {0};
    file_writer_abort(&w); /* a zeroed one: must not close standard input */
    assert_true(fcntl(0, F_GETFD) >= 0);
    const char *path = in_dir("big");
    assert_int_equal(file_writer_open(path, &w, &e), ERR_OK);
    char block[1000];
    for (int i = 0; i < 3000; i++) {
        memset(block, i & 255, sizeof block);
        assert_int_equal(file_writer_put(&w, block, sizeof block, &e), ERR_OK);
    }
    assert_false(file_exists(path)); /* not before the commit */
    assert_int_equal(file_writer_commit(&w, &e), ERR_OK);
    file_writer_abort(&w);
    file_map m = {0};
    assert_int_equal(file_map_open(path, &m, &e), ERR_OK);
    assert_int_equal(m.len, 3000000);
    for (int i = 0; i < 3000; i++) assert_int_equal(m.ptr[i * 1000 + 999], i & 255);
    file_map_advise(&m, 0, UINT64_MAX, FILE_ADVICE_WILLNEED);
    file_map_advise(&m, 5000, 100, FILE_ADVICE_DONTNEED);
    file_map_advise(&m, UINT64_MAX, 1, FILE_ADVICE_SEQUENTIAL);
    assert_int_equal(m.ptr[5000], 5);
    file_map_close(&m);
    file_map_close(&m);

    assert_int_equal(file_writer_open(path, &w, &e), ERR_OK);
    assert_int_equal(file_writer_put(&w, "x", 1, &e), ERR_OK);
    file_writer_abort(&w);
    uint64_t n = 0;
    assert_int_equal(file_length(path, &n, &e), ERR_OK);
    assert_int_equal(n, 3000000); /* the old file is untouched */
    assert_int_equal(n_files(), 1);
    assert_int_equal(file_writer_open(in_dir("no/such/dir"), &w, &e), ERR_NOT_FOUND);
    assert_int_equal(file_remove(in_dir("big"), &e), ERR_OK);
}

static void test_map_refuses(void **state) {
    (void)state;
    err e = {0};
    file_map m = {0};
    assert_int_equal(file_map_open(in_dir("none"), &m, &e), ERR_NOT_FOUND);
    assert_int_equal(file_map_open(dir, &m, &e), ERR_INVALID);
    assert_int_equal(mkfifo(in_dir("fifo"), 0600), 0);
    assert_int_equal(file_map_open(in_dir("fifo"), &m, &e), ERR_INVALID); /* and does not hang */
    assert_int_equal(file_remove(in_dir("fifo"), &e), ERR_OK);
    assert_int_equal(file_write_atomic(in_dir("empty"), NULL, 0, &e), ERR_OK);
    assert_int_equal(file_map_open(in_dir("empty"), &m, &e), ERR_OK);
    assert_int_equal(m.len, 0);
    assert_null(m.ptr);
    assert_int_equal(file_remove(in_dir("empty"), &e), ERR_OK);
}

/* A file that is cut while it is mapped reads as zeros; other mappings are not touched by it. The
 * line of what went wrong, or 0. cmocka takes SIGBUS for itself, so this runs before it. */
static int cut_while_mapped(void) {
    enum { BYTES = 40000 };
    static uint8_t ones[BYTES];
    char path[] = "/tmp/hob-cut-XXXXXX";
    file_map cut = {0}, other = {0};
    int fd = mkstemp(path), wrong = 0;
    memset(ones, 1, sizeof ones);
#define OR_WRONG(x) wrong = wrong ? wrong : (x) ? 0 : __LINE__
    for (int i = 0; i < 2; i++) { /* and again, in the same slot */
        OR_WRONG(pwrite(fd, ones, BYTES, 0) == BYTES);
        OR_WRONG(!file_map_open(path, &cut, NULL) && !file_map_open(path, &other, NULL));
        OR_WRONG(cut.ptr[BYTES - 1] == 1);
        OR_WRONG(ftruncate(fd, 5000) == 0);
        OR_WRONG(cut.ptr[100] == 1 && file_map_is_whole(&cut)); /* not yet touched */
        OR_WRONG(cut.ptr[20000] == 0 && cut.ptr[BYTES - 1] == 0 && cut.ptr[100] == 1);
        OR_WRONG(!file_map_is_whole(&cut) && file_map_is_whole(&other));
        file_map_close(&cut);
        file_map_close(&other);
        OR_WRONG(file_map_is_whole(&cut));
    }
    close(fd);
    unlink(path);
    return wrong;
}

static int wrong_line;

static void test_cut_while_mapped(void **state) {
    (void)state;
    assert_int_equal(wrong_line, 0);
}

static void test_dirs(void **state) {
    (void)state;
    err e = {0};
    assert_int_equal(file_mkdirs(in_dir("x/y//z/"), &e), ERR_OK);
    assert_int_equal(file_mkdirs(in_dir("x/y/z"), &e), ERR_OK);
    assert_int_equal(file_sync_dir(in_dir("x/y"), &e), ERR_OK);
    assert_int_equal(file_mkdirs("", &e), ERR_INVALID);
    assert_int_equal(file_write_atomic(in_dir("x/f"), "1", 1, &e), ERR_OK);
    assert_int_not_equal(file_mkdirs(in_dir("x/f/g"), &e), ERR_OK);
    assert_int_not_equal(file_mkdirs(in_dir("x/f"), &e), ERR_OK);
    assert_int_equal(file_sync_dir(in_dir("none"), &e), ERR_NOT_FOUND);
    file_remove(in_dir("x/f"), NULL);
    rmdir(in_dir("x/y/z"));
    rmdir(in_dir("x/y"));
    assert_int_equal(rmdir(in_dir("x")), 0);
}

static void test_mem(void **state) {
    (void)state;
    err e = {0};
    os_mem m = {0};
    os_mem_info info = os_mem_query();
    assert_true(info.total_bytes > 0 && info.available_bytes <= info.total_bytes);
    assert_true(info.rss_bytes > 0 && info.rss_bytes < info.total_bytes);
    assert_int_equal(os_mem_alloc(5 << 20, OS_MEM_HUGE | OS_MEM_TOUCH, &m, &e), ERR_OK);
    assert_int_equal((uintptr_t)m.ptr % (2 << 20), 0);
    unsigned char *bytes = m.ptr;
    for (int i = 0; i < 5 << 20; i += 4096) assert_int_equal(bytes[i], 0);
    memset(bytes, 7, m.n_bytes);
    os_mem_discard(&m, 100, 3 * 4096); /* rounded inwards: page 0 stays */
    assert_int_equal(bytes[4095], 7);
    assert_int_equal(bytes[4096], 0);
    assert_int_equal(bytes[3 * 4096], 7);
    os_mem_discard(&m, UINT64_MAX, 1);
    os_mem_free(&m);
    os_mem_free(&m);
    assert_null(m.ptr);
    assert_int_equal(os_mem_alloc(0, 0, &m, &e), ERR_OK);
    assert_null(m.ptr);
    assert_int_equal(os_mem_alloc(UINT64_MAX, 0, &m, &e), ERR_NOMEM);
    assert_int_equal(os_mem_alloc(1ULL << 62, 0, &m, &e), ERR_NOMEM);
    assert_int_equal(os_mem_alloc(info.total_bytes + 1, OS_MEM_TOUCH, &m, &e), ERR_NOMEM);
    assert_non_null(strstr(e.msg, "available"));
    assert_null(m.ptr);
}

static int setup(void **state) {
    (void)state;
    return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state) {
    (void)state;
    return rmdir(dir); /* fails when a test left something behind */
}

int main(void) {
    wrong_line = cut_while_mapped();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_write_and_read), cmocka_unit_test(test_writer),
        cmocka_unit_test(test_map_refuses),    cmocka_unit_test(test_cut_while_mapped),
        cmocka_unit_test(test_dirs),           cmocka_unit_test(test_mem),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
