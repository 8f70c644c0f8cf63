/* Safetensors: good files in full, then what strangers may send. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"
#include "model/safetensors.h"
#include "os/file.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OK(call) assert_int_equal(call, ERR_OK)

static const char GOOD[] =
    "{\"__metadata__\":{\"format\":\"pt\",\"empty\":\"\"},"
    "\"b\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[2,26]},"
    "\"a\":{\"dtype\":\"F16\",\"shape\":[],\"data_offsets\":[0,2]},"
    "\"none\":{\"dtype\":\"BF16\",\"shape\":[0,7],\"data_offsets\":[26,26]},"
    "\"c\":{\"dtype\":\"BOOL\",\"shape\":[1,1,2,1],\"data_offsets\":[26,28]}}   ";

/* A file of this header text with n data bytes 0, 1, 2 ... */
static buf make(const char *json, size_t n_json, uint64_t claimed, size_t n_data) {
    buf b = {0};
    buf_put(&b, &claimed, 8);
    buf_put(&b, json, n_json);
    for (size_t i = 0; i < n_data; i++) buf_put_char(&b, (char)i);
    return b;
}

/* Opens a copy of exactly the right size, so that ASan sees a read behind the end. */
static err_code open_bytes(const buf *b, size_t n, safetensors **ret, void **copy, err *e) {
    *copy = malloc(n ? n : 1);
    assert_non_null(*copy);
    if (n) memcpy(*copy, b->ptr, n);
    return safetensors_open_mem(*copy, n, ret, e);
}

static void check_good(const safetensors *s) {
    assert_int_equal(safetensors_n_tensors(s), 4);
    assert_int_equal(safetensors_tensor_bytes(s), 28);
    const safetensors_tensor *t = safetensors_find(s, "b");
    assert_non_null(t);
    assert_true(t->type == DTYPE_F32 && t->n_dims == 2 && t->ne[0] == 3 && t->ne[1] == 2);
    assert_true(t->ne[2] == 1 && t->ne[3] == 1 && t->n_bytes == 24);
    assert_int_equal(*(const uint8_t *)t->data, 2);
    t = safetensors_find(s, "a");
    assert_true(t && t->type == DTYPE_F16 && t->n_dims == 0 && t->ne[0] == 1);
    t = safetensors_find(s, "none");
    assert_true(t && t->n_bytes == 0 && t->ne[0] == 7 && t->ne[1] == 0);
    t = safetensors_find(s, "c");
    assert_true(t && t->type == DTYPE_BOOL && t->n_dims == 4 && t->ne[1] == 2);
    assert_null(safetensors_find(s, "__metadata__"));
    assert_null(safetensors_find(s, ""));
    assert_true(str_eq(safetensors_tensor_at(s, 0)->name, STR("a"))); /* order of the data */
    assert_true(str_eq(safetensors_tensor_at(s, 3)->name, STR("c")));
    assert_true(str_eq(safetensors_metadata(s, "format"), STR("pt")));
    assert_int_equal(safetensors_metadata(s, "nothing").len, 0);
}

static void test_good(void **state) {
    (void)state;
    err e = {0};
    safetensors *s = NULL;
    buf b = make(GOOD, sizeof GOOD - 1, sizeof GOOD - 1, 28);
    if (safetensors_open_mem(b.ptr, b.len, &s, &e)) fail_msg("%s", e.msg);
    check_good(s);
    safetensors_destroy(&s);
    assert_null(s);
    char path[] = "/tmp/hob-safetensors-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    OK(file_write_atomic(path, b.ptr, b.len, &e));
    OK(safetensors_open(path, &s, &e));
    check_good(s);
    safetensors_destroy(&s);
    OK(file_write_atomic(path, b.ptr, 20, &e));
    assert_int_equal(safetensors_open(path, &s, &e), ERR_FORMAT);
    assert_non_null(strstr(e.msg, path));
    OK(file_write_atomic(path, "", 0, &e));
    assert_int_equal(safetensors_open(path, &s, &e), ERR_FORMAT);
    unlink(path);
    assert_int_equal(safetensors_open(path, &s, &e), ERR_NOT_FOUND);
    safetensors_destroy(NULL);
    buf_finish(&b);
}

static void test_empty(void **state) {
    (void)state;
    err e = {0};
    safetensors *s = NULL;
    buf b = make("{}", 2, 2, 0);
    OK(safetensors_open_mem(b.ptr, b.len, &s, &e));
    assert_int_equal(safetensors_n_tensors(s), 0);
    safetensors_destroy(&s);
    buf_finish(&b);
}

/* Every prefix of a good file is refused. */
static void test_truncated(void **state) {
    (void)state;
    buf b = make(GOOD, sizeof GOOD - 1, sizeof GOOD - 1, 28);
    for (size_t n = 0; n < b.len; n++) {
        err e = {0};
        safetensors *s = NULL;
        void *copy;
        assert_int_equal(open_bytes(&b, n, &s, &copy, &e), ERR_FORMAT);
        assert_null(s);
        assert_true(e.msg[0] != 0);
        free(copy);
    }
    buf_finish(&b);
}

#define ENTRY(type, shape, offsets)                                                                \
    "{\"t1\":{\"dtype\":\"" type "\",\"shape\":" shape ",\"data_offsets\":" offsets "}}"

static const struct hostile {
    const char *json;
    size_t n_data;
    err_code code;
    const char *says;
} HOSTILE[] = {
    {"", 0, ERR_FORMAT, "JSON"},
    {"[]", 0, ERR_FORMAT, "JSON|object"},
    {"null", 0, ERR_FORMAT, ""},
    {"{\"t1\":3}", 0, ERR_FORMAT, "t1"},
    {"{\"t1\":{}}", 0, ERR_FORMAT, "t1"},
    {"{\"t1\":{\"dtype\":7,\"shape\":[],\"data_offsets\":[0,1]}}", 1, ERR_FORMAT, "t1"},
    {"{\"t1\":{\"dtype\":\"U8\",\"data_offsets\":[0,1]}}", 1, ERR_FORMAT, "t1"},
    {"{\"t1\":{\"dtype\":\"U8\",\"shape\":[1]}}", 1, ERR_FORMAT, "t1"},
    {ENTRY("F4_X", "[1]", "[0,1]"), 1, ERR_UNSUPPORTED, "F4_X"},
    {ENTRY("", "[1]", "[0,1]"), 1, ERR_UNSUPPORTED, "t1"},
    {ENTRY("f32", "[1]", "[0,4]"), 4, ERR_UNSUPPORTED, "t1"},
    {ENTRY("U8", "[1,1,1,1,1]", "[0,1]"), 1, ERR_UNSUPPORTED, "5 dimensions"},
    {ENTRY("U8", "[-1]", "[0,1]"), 1, ERR_FORMAT, "t1"},
    {ENTRY("U8", "[1.0]", "[0,1]"), 1, ERR_FORMAT, "t1"},
    {ENTRY("U8", "[\"1\"]", "[0,1]"), 1, ERR_FORMAT, "t1"},
    {ENTRY("U8", "{}", "[0,1]"), 1, ERR_FORMAT, "t1"},
    {ENTRY("U8", "1", "[0,1]"), 1, ERR_FORMAT, "t1"},
    {ENTRY("U8", "[2]", "[0,1]"), 1, ERR_FORMAT, "needs 2 bytes"},
    {ENTRY("F32", "[1]", "[0,1]"), 1, ERR_FORMAT, "needs 4 bytes"},
    {ENTRY("U8", "[0]", "[0,1]"), 1, ERR_FORMAT, "needs 0 bytes"},
    {ENTRY("U8", "[9223372036854775807]", "[0,1]"), 1, ERR_FORMAT, "t1"},
    {ENTRY("U8", "[9223372036854775808]", "[0,1]"), 1, ERR_FORMAT, "JSON"},
    {ENTRY("F64", "[4611686018427387904]", "[0,0]"), 0, ERR_FORMAT, "overflow"},
    {ENTRY("F32", "[4294967296,1073741824]", "[0,0]"), 0, ERR_FORMAT, "overflow"},
    {ENTRY("U8", "[65536,65536,65536,65536]", "[0,0]"), 0, ERR_FORMAT, "overflow"},
    {ENTRY("U8", "[1]", "[0]"), 1, ERR_FORMAT, "pair"},
    {ENTRY("U8", "[1]", "[0,1,2]"), 1, ERR_FORMAT, "pair"},
    {ENTRY("U8", "[1]", "[]"), 1, ERR_FORMAT, "pair"},
    {ENTRY("U8", "[1]", "\"0,1\""), 1, ERR_FORMAT, "pair"},
    {ENTRY("U8", "[1]", "[0,null]"), 1, ERR_FORMAT, "t1"},
    {ENTRY("U8", "[1]", "[-1,0]"), 1, ERR_FORMAT, "t1"},
    {ENTRY("U8", "[1]", "[0.0,1.0]"), 1, ERR_FORMAT, "t1"},
    {ENTRY("U8", "[1]", "[1,0]"), 1, ERR_FORMAT, "before it begins"},
    {ENTRY("U8", "[1]", "[0,9223372036854775807]"), 1, ERR_FORMAT, "t1"},
    {ENTRY("U8", "[1]", "[1,2]"), 1, ERR_FORMAT, "byte 2 of 1"},
    {ENTRY("U8", "[1]", "[1,2]"), 2, ERR_FORMAT, "hole"},
    {ENTRY("U8", "[1]", "[0,1]"), 2, ERR_FORMAT, "behind the last"},
    {"{}", 1, ERR_FORMAT, "behind the last"},
    {"{\"x\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},"
     "\"t1\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[1,3]}}",
     3, ERR_FORMAT, "overlaps"},
    {"{\"x\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},"
     "\"t1\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}",
     2, ERR_FORMAT, "overlaps"},
    {"{\"x\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[0,3]},"
     "\"t1\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}",
     3, ERR_FORMAT, "overlaps"},
    {"{\"x\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
     "\"t1\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[2,3]}}",
     3, ERR_FORMAT, "hole"},
    {"{\"x\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},"
     "\"t1\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[1,1]}}",
     2, ERR_FORMAT, "overlaps"},
    {"{\"t1\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
     "\"t1\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}",
     2, ERR_FORMAT, "duplicate"},
    {"{\"t1\":{\"dtype\":\"U8\",\"dtype\":\"I8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1,
     ERR_FORMAT, "duplicate"},
    {"{\"__metadata__\":[]}", 0, ERR_FORMAT, "__metadata__"},
    {"{\"__metadata__\":{\"k\":1}}", 0, ERR_FORMAT, "\"k\""},
    {"{\"__metadata__\":{\"k\":{}}}", 0, ERR_FORMAT, "\"k\""},
    {"{\"a\\u0000b\":{}}", 0, ERR_FORMAT, ""},
    {"{\"\xff\":{}}", 0, ERR_FORMAT, "JSON"},
    {"{} {}", 0, ERR_FORMAT, "JSON"},
    {"{}x", 0, ERR_FORMAT, "JSON"},
    {"{\"t1\":[[[[[[[[[[]]]]]]]]]]}", 0, ERR_FORMAT, "deep"},
    {"{\"t1", 0, ERR_FORMAT, "JSON"},
    {"{\"t1\\", 0, ERR_FORMAT, "JSON"},
};

static void test_hostile(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT_OF(HOSTILE); i++) {
        const struct hostile *h = &HOSTILE[i];
        err e = {0};
        safetensors *s = NULL;
        void *copy;
        size_t n = strlen(h->json);
        buf b = make(h->json, n, n, h->n_data);
        err_code code = open_bytes(&b, b.len, &s, &copy, &e);
        bool alternatives = strchr(h->says, '|') != NULL; /* jansson's versions differ */
        if (code != h->code || s || (!alternatives && !strstr(e.msg, h->says)))
            fail_msg("%s: %s \"%s\"", h->json, err_name(code), e.msg);
        free(copy);
        buf_finish(&b);
    }
}

static void test_header_length_lies(void **state) {
    (void)state;
    static const uint64_t CLAIMS[] = {0,
                                      1,
                                      sizeof GOOD - 2,
                                      sizeof GOOD + 20,
                                      sizeof GOOD + 28,
                                      1000,
                                      100u << 20,
                                      (100u << 20) + 1,
                                      UINT32_MAX,
                                      INT64_MAX,
                                      UINT64_MAX - 7,
                                      UINT64_MAX};
    for (size_t i = 0; i < COUNT_OF(CLAIMS); i++) {
        err e = {0};
        safetensors *s = NULL;
        void *copy;
        buf b = make(GOOD, sizeof GOOD - 1, CLAIMS[i], 28);
        err_code code = open_bytes(&b, b.len, &s, &copy, &e);
        assert_int_equal(code, ERR_FORMAT);
        assert_null(s);
        free(copy);
        buf_finish(&b);
    }
}

static void test_depth_bomb(void **state) {
    (void)state;
    enum { N = 1 << 20 };
    char *text = malloc(N);
    assert_non_null(text);
    for (int k = 0; k < 3; k++) {
        for (int i = 0; i < N; i++) text[i] = k == 0 ? '[' : k == 1 ? '{' : "{\"a\":"[i % 5];
        err e = {0};
        safetensors *s = NULL;
        buf b = make(text, N, N, 0);
        assert_int_equal(safetensors_open_mem(b.ptr, b.len, &s, &e), ERR_FORMAT);
        assert_non_null(strstr(e.msg, "deep"));
        buf_finish(&b);
    }
    free(text);
}

/* Flipping any one byte of the header never crashes. */
static void test_flipped(void **state) {
    (void)state;
    buf b = make(GOOD, sizeof GOOD - 1, sizeof GOOD - 1, 28);
    size_t n_refused = 0;
    for (size_t i = 0; i < 8 + sizeof GOOD - 1; i++)
        for (int bit = 0; bit < 8; bit++) {
            err e = {0};
            safetensors *s = NULL;
            void *copy;
            b.ptr[i] = (char)(b.ptr[i] ^ 1 << bit);
            n_refused += open_bytes(&b, b.len, &s, &copy, &e) != ERR_OK;
            safetensors_destroy(&s);
            free(copy);
            b.ptr[i] = (char)(b.ptr[i] ^ 1 << bit);
        }
    assert_true(n_refused > 1000);
    buf_finish(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),       cmocka_unit_test(test_empty),
        cmocka_unit_test(test_truncated),  cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_depth_bomb), cmocka_unit_test(test_header_length_lies),
        cmocka_unit_test(test_flipped)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
