/* store/folders: lists, precedence, names that try to leave, extra_model_paths.yaml. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "os/file.h"
#include "store/folders.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char base[64];
static arena *a;

static void put(const char *name) {
    char path[300];
    snprintf(path, sizeof path, "%s/%s", base, name);
    char *slash = strrchr(path, '/');
    *slash = '\0';
    assert_int_equal(file_mkdirs(path, NULL), ERR_OK);
    *slash = '/';
    assert_int_equal(file_write_atomic(path, "x", 1, NULL), ERR_OK);
}

static int setup(void **state) {
    (void)state;
    snprintf(base, sizeof base, "/tmp/hob-folders-XXXXXX");
    assert_non_null(mkdtemp(base));
    a = arena_create(0);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    char command[200];
    arena_destroy(&a);
    snprintf(command, sizeof command, "chmod -R u+w %s; rm -rf %s", base, base);
    return system(command);
}

static folders *open_base(void) {
    folders *f = NULL;
    err e = {0};
    if (folders_open(&(folders_config){.base = base}, &f, &e)) fail_msg("%s", e.msg);
    return f;
}

static const char *names(const folders *f, const char *key) {
    size_t n;
    buf b = {0};
    const folder *dir = folders_find(f, str_from(key));
    assert_non_null(dir);
    folder_file *list = folder_list(dir, a, &n);
    for (size_t i = 0; i < n; i++)
        buf_putf(&b, STR_FMT ":%zu ", STR_ARG(list[i].name), list[i].path_index);
    str s = str_dup(a, buf_str(&b));
    buf_finish(&b);
    return s.ptr;
}

static void test_lists(void **state) {
    (void)state;
    put("models/checkpoints/b.safetensors");
    put("models/checkpoints/sub/deep/a.ckpt");
    put("models/checkpoints/readme.txt");
    put("models/checkpoints/.git/x.safetensors");
    put("output/checkpoints/b.safetensors");
    put("output/checkpoints/c.SafeTensors");
    put("models/clip/one.gguf");
    put("temp/left over/x.png");
    folders *f = open_base();
    assert_string_equal(names(f, "checkpoints"),
                        "b.safetensors:0 c.SafeTensors:1 sub/deep/a.ckpt:0 ");
    assert_string_equal(names(f, "clip"), "one.gguf:1 ");
    assert_string_equal(names(f, "vae"), "");
    assert_null(folders_find(f, STR("nope")));
    assert_string_equal(f->items[0].key.ptr, "checkpoints");
    size_t n;
    dir_list(f->temp, true, a, &n);
    assert_int_equal(n, 0); /* emptied at the start */
    folders_close(&f);
}

static void test_names(void **state) {
    (void)state;
    static const char *const bad[] = {"",     "..",    "../x",   "a/../../x", "/etc/passwd",
                                      "a//b", "a/./b", "a/",     "a\\b",      "a\nb",
                                      ".",    "x/..",  "./a.png"};
    str path;
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        print_message("%s\n", bad[i]);
        assert_false(path_inside(a, STR("/d"), str_from(bad[i]), &path));
    }
    assert_false(path_inside(a, STR("/d"), (str){"a\0b", 3}, &path));
    assert_true(path_inside(a, STR("/d"), STR("a b/..c/d..png"), &path));
    assert_string_equal(path.ptr, "/d/a b/..c/d..png");
    put("models/loras/x.safetensors");
    folders *f = open_base();
    const folder *loras = folders_find(f, STR("loras"));
    assert_true(folder_path(loras, STR("x.safetensors"), a, &path));
    assert_false(folder_path(loras, STR("y.safetensors"), a, &path));
    assert_false(folder_path(loras, STR("../loras/x.safetensors"), a, &path));
    folders_close(&f);
}

static void test_extra(void **state) {
    (void)state;
    put("more/sd/one.safetensors");
    put("more/l1/two.safetensors");
    put("more/l2/three.safetensors");
    put("more/odd/file.xyz");
    put("models/loras/four.safetensors");
    char path[200];
    static const char yaml[] = "# a comment\n"
                               "a1111:\n"
                               "    base_path: more/   # relative to this file\n"
                               "    is_default: true\n"
                               "    checkpoints: \"sd\"\n"
                               "    loras: |\n"
                               "         l1\n"
                               "         ./l2/\n"
                               "    odd_things: odd\n"
                               "empty:\n";
    snprintf(path, sizeof path, "%s/extra_model_paths.yaml", base);
    assert_int_equal(file_write_atomic(path, yaml, sizeof yaml - 1, NULL), ERR_OK);
    folders *f = open_base();
    assert_string_equal(names(f, "checkpoints"), "one.safetensors:0 ");
    assert_string_equal(names(f, "loras"),
                        "four.safetensors:2 three.safetensors:0 two.safetensors:1 ");
    assert_string_equal(names(f, "odd_things"), "file.xyz:0 ");
    folders_close(&f);
}

static void test_extra_malformed(void **state) {
    (void)state;
    static const char *const bad[] = {"a: b\n", "a:\n  loras\n", "a:\n\tloras: x\n",
                                      "a:\n  base_path: ~/x\n"};
    folders *f = open_base();
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        err e = {0};
        assert_int_not_equal(folders_read_extra(f, str_from(bad[i]), STR("/d"), &e), ERR_OK);
        assert_non_null(strstr(e.msg, "line"));
    }
    buf b = {0};
    buf_put_str(&b, STR("a:\n"));
    for (int i = 0; i < 1000; i++) buf_putf(&b, "  key%d: x\n", i);
    err e;
    assert_int_equal(folders_read_extra(f, buf_str(&b), STR("/d"), &e), ERR_LIMIT);
    buf_finish(&b);
    folders_close(&f);
}

static void test_read_only(void **state) {
    (void)state;
    put("models/checkpoints/a.safetensors");
    char command[200];
    snprintf(command, sizeof command, "chmod a-w %s/models %s/models/checkpoints", base, base);
    assert_int_equal(system(command), 0);
    folders *f = open_base();
    assert_string_equal(names(f, "checkpoints"), "a.safetensors:0 ");
    folders_close(&f);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_lists), T(test_names), T(test_extra), T(test_extra_malformed), T(test_read_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
