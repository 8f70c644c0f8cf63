/* What the writer writes, the reader reads back: every key type, tensors in pieces, alignments. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "model/gguf_write.h"
#include "os/file.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char dir[64];
static char path[96], path2[96];

static int setup(void **state) {
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/hob-gguf-write-XXXXXX");
    if (!mkdtemp(dir)) return -1;
    snprintf(path, sizeof path, "%s/a.gguf", dir);
    snprintf(path2, sizeof path2, "%s/b.gguf", dir);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    unlink(path);
    unlink(path2);
    return rmdir(dir); /* fails when a temporary file was left behind */
}

#define OK(call) assert_int_equal(call, ERR_OK)

static const int64_t NE_A[4] = {5, 3, 1, 1}, NE_Q[4] = {64, 2, 1, 1}, NE_S[4] = {1, 1, 1, 1};

static void write_sample(const char *to, uint32_t alignment, const gguf *keys_of) {
    err e = {0};
    gguf_writer *w = NULL;
    OK(gguf_writer_create(to, alignment, &w, &e));
    if (keys_of) {
        for (size_t i = 0; i < gguf_n_keys(keys_of); i++)
            gguf_writer_put_key(w, gguf_key_at(keys_of, i));
    } else {
        static const int8_t i8[3] = {-1, 0, 127};
        static const uint16_t u16[2] = {1, 65535};
        static const int64_t i64[2] = {INT64_MIN, 7};
        static const double f64[1] = {1e300};
        static const float f32[2] = {-0.5f, 3.25f};
        const str words[3] = {STR("alpha"), STR(""), STR("g\xce\xb3")};
        gguf_writer_put_str(w, "general.architecture", STR("llama"));
        gguf_writer_put_u32(w, "a.u32", 4000000000u);
        gguf_writer_put_u64(w, "a.u64", UINT64_MAX);
        gguf_writer_put_f32(w, "a.f32", 0.1f);
        gguf_writer_put_bool(w, "a.yes", true);
        gguf_writer_put_bool(w, "a.no", false);
        gguf_writer_put_str(w, "a.empty", STR(""));
        gguf_writer_put_str_array(w, "a.words", words, 3);
        gguf_writer_put_str_array(w, "a.nothing", NULL, 0);
        gguf_writer_put_array(w, "a.i8", GGUF_I8, i8, 3);
        gguf_writer_put_array(w, "a.u16", GGUF_U16, u16, 2);
        gguf_writer_put_array(w, "a.i64", GGUF_I64, i64, 2);
        gguf_writer_put_array(w, "a.f64", GGUF_F64, f64, 1);
        gguf_writer_put_array(w, "a.f32s", GGUF_F32, f32, 2);
    }
    gguf_writer_put_tensor(w, STR("a.weight"), DTYPE_F32, 2, NE_A);
    gguf_writer_put_tensor(w, STR("q.weight"), DTYPE_Q8_0, 2, NE_Q);
    gguf_writer_put_tensor(w, STR("s"), DTYPE_F16, 1, NE_S);
    OK(gguf_writer_begin(w, &e));
    float a[15];
    for (int i = 0; i < 15; i++) a[i] = (float)i;
    OK(gguf_writer_put_data(w, a, 4, &e)); /* in pieces */
    OK(gguf_writer_put_data(w, NULL, 0, &e));
    OK(gguf_writer_put_data(w, a + 1, sizeof a - 4, &e));
    uint8_t q[136];
    for (int i = 0; i < 136; i++) q[i] = (uint8_t)i;
    OK(gguf_writer_put_data(w, q, sizeof q, &e));
    OK(gguf_writer_put_data(w, "\x00\x3c", 2, &e));
    OK(gguf_writer_commit(w, &e));
    gguf_writer_destroy(&w);
}

static void check_keys(const gguf *g) {
    err e = {0};
    uint64_t u = 0;
    str text = {0};
    gguf_array a = {0};
    assert_true(str_eq(gguf_arch(g), STR("llama")));
    OK(gguf_get_u64(g, "a.u32", &u, &e));
    assert_true(u == 4000000000u);
    OK(gguf_get_u64(g, "a.u64", &u, &e));
    assert_true(u == UINT64_MAX);
    assert_true(gguf_opt_f64(g, "a.f32", 0) == (double)0.1f);
    assert_true(gguf_opt_bool(g, "a.yes", false));
    assert_false(gguf_opt_bool(g, "a.no", true));
    OK(gguf_get_str(g, "a.empty", &text, &e));
    assert_int_equal(text.len, 0);
    OK(gguf_get_array(g, "a.words", GGUF_STR, &a, &e));
    assert_int_equal(a.n, 3);
    assert_true(str_eq(gguf_array_str(&a, 0), STR("alpha")));
    assert_int_equal(gguf_array_str(&a, 1).len, 0);
    assert_true(str_eq(gguf_array_str(&a, 2), STR("g\xce\xb3")));
    OK(gguf_get_array(g, "a.nothing", GGUF_STR, &a, &e));
    assert_int_equal(a.n, 0);
    assert_int_equal(gguf_array_i64(gguf_opt_array(g, "a.i8"), 0), -1);
    assert_int_equal(gguf_array_u64(gguf_opt_array(g, "a.u16"), 1), 65535);
    assert_true(gguf_array_i64(gguf_opt_array(g, "a.i64"), 0) == INT64_MIN);
    assert_true(gguf_array_f64(gguf_opt_array(g, "a.f64"), 0) == 1e300);
    assert_true(gguf_array_f64(gguf_opt_array(g, "a.f32s"), 1) == 3.25);
}

static void check_tensors(const gguf *g) {
    assert_int_equal(gguf_n_tensors(g), 3);
    const gguf_tensor *t = gguf_find_tensor(g, "a.weight");
    assert_non_null(t);
    assert_true(t->type == DTYPE_F32 && t->n_dims == 2 && t->ne[0] == 5 && t->ne[1] == 3);
    assert_int_equal(t->n_bytes, 60);
    for (int i = 0; i < 15; i++) assert_true(((const float *)t->data)[i] == (float)i);
    t = gguf_find_tensor(g, "q.weight");
    assert_non_null(t);
    assert_true(t->type == DTYPE_Q8_0 && t->n_bytes == 136);
    for (int i = 0; i < 136; i++) assert_int_equal(((const uint8_t *)t->data)[i], i);
    t = gguf_find_tensor(g, "s");
    assert_non_null(t);
    assert_memory_equal(t->data, "\x00\x3c", 2);
    assert_int_equal(gguf_tensor_bytes(g), 60 + 136 + 2);
}

static void round_trip(uint32_t alignment) {
    err e = {0};
    gguf *g = NULL, *h = NULL;
    write_sample(path, alignment, NULL);
    OK(gguf_open(path, &g, &e));
    assert_int_equal(gguf_alignment(g), alignment);
    assert_int_equal(gguf_version(g), 3);
    assert_int_equal(gguf_data_offset(g) % alignment, 0);
    check_keys(g);
    check_tensors(g);
    /* Copied key by key it is the same file, byte for byte. */
    write_sample(path2, alignment, g);
    OK(gguf_open(path2, &h, &e));
    check_keys(h);
    buf one = {0}, two = {0};
    OK(file_read(path, 1 << 20, &one, &e));
    OK(file_read(path2, 1 << 20, &two, &e));
    assert_int_equal(one.len, two.len);
    assert_int_equal(one.len % alignment, 0);
    assert_memory_equal(one.ptr, two.ptr, one.len);
    buf_finish(&one);
    buf_finish(&two);
    gguf_destroy(&g);
    gguf_destroy(&h);
}

static void test_round_trip(void **state) {
    (void)state;
    round_trip(32);
    round_trip(8);
    round_trip(4096);
}

static void test_abandoned(void **state) {
    (void)state;
    err e = {0};
    gguf_writer *w = NULL;
    unlink(path);
    OK(gguf_writer_create(path, 32, &w, &e));
    gguf_writer_put_u32(w, "x", 1);
    OK(gguf_writer_begin(w, &e));
    gguf_writer_destroy(&w);
    assert_null(w);
    assert_false(file_exists(path));
    gguf_writer_destroy(&w);
    gguf_writer_destroy(NULL);
    assert_int_not_equal(gguf_writer_create("/nonexistent/dir/x.gguf", 32, &w, &e), ERR_OK);
}

static void test_empty_file(void **state) {
    (void)state;
    err e = {0};
    gguf_writer *w = NULL;
    OK(gguf_writer_create(path, 32, &w, &e));
    OK(gguf_writer_begin(w, &e));
    OK(gguf_writer_commit(w, &e));
    gguf_writer_destroy(&w);
    gguf *g = NULL;
    OK(gguf_open(path, &g, &e));
    assert_int_equal(gguf_n_keys(g), 0);
    assert_int_equal(gguf_n_tensors(g), 0);
    gguf_destroy(&g);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_round_trip),
                                       cmocka_unit_test(test_abandoned),
                                       cmocka_unit_test(test_empty_file)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
