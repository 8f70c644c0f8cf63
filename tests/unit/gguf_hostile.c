/* Damaged GGUF files: each is refused with an error that says where, never read beyond its end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"
#include "model/gguf.h"
#include <stdlib.h>
#include <string.h>

static void u32(buf *b, uint32_t v) {
    buf_put(b, &v, 4);
}

static void u64(buf *b, uint64_t v) {
    buf_put(b, &v, 8);
}

static void text(buf *b, const char *s) {
    u64(b, strlen(s));
    buf_put(b, s, strlen(s));
}

static void header(buf *b, uint64_t n_tensors, uint64_t n_keys) {
    buf_put(b, "GGUF", 4);
    u32(b, 3);
    u64(b, n_tensors);
    u64(b, n_keys);
}

static void tensor(buf *b, const char *name, uint64_t ne0, uint64_t ne1, uint32_t type,
                   uint64_t at) {
    text(b, name);
    u32(b, 2);
    u64(b, ne0);
    u64(b, ne1);
    u32(b, type);
    u64(b, at);
}

static void data(buf *b, size_t n) {
    while (b->len % 32) buf_put_char(b, 0);
    for (size_t i = 0; i < n; i++) buf_put_char(b, 1);
}

static void key_u32(buf *b, const char *name, uint32_t v) {
    text(b, name);
    u32(b, GGUF_U32);
    u32(b, v);
}

/* Two keys, an array of strings, two tensors of 32 bytes. */
static buf valid(void) {
    buf b = {0};
    header(&b, 2, 3);
    text(&b, "general.architecture");
    u32(&b, GGUF_STR);
    text(&b, "llama");
    key_u32(&b, "a.count", 5);
    text(&b, "a.words");
    u32(&b, GGUF_ARRAY);
    u32(&b, GGUF_STR);
    u64(&b, 2);
    text(&b, "x");
    text(&b, "yz");
    tensor(&b, "t.one", 4, 2, DTYPE_F32, 0);
    tensor(&b, "t.two", 8, 1, DTYPE_F32, 32);
    data(&b, 64);
    return b;
}

/* On a copy of exactly n bytes, so that ASan sees a read behind the end. */
static err_code open_copy(const buf *b, size_t n, err *e) {
    void *copy = malloc(n ? n : 1);
    assert_non_null(copy);
    if (n) memcpy(copy, b->ptr, n);
    gguf *g = NULL;
    err_code code = gguf_open_mem(copy, n, &g, e);
    assert_true((code == ERR_OK) == (g != NULL));
    gguf_destroy(&g);
    free(copy);
    return code;
}

static void refused(buf *b, const char *says) {
    err e = {0};
    err_code code = open_copy(b, b->len, &e);
    if (code == ERR_OK || !strstr(e.msg, says))
        fail_msg("\"%s\" should name %s", code ? e.msg : "accepted", says);
    buf_finish(b);
    *b = (buf){0};
}

static void test_valid_and_truncated(void **state) {
    (void)state;
    err e = {0};
    buf b = valid();
    if (open_copy(&b, b.len, &e)) fail_msg("%s", e.msg);
    for (size_t n = 0; n < b.len; n++) {
        e = (err){0};
        assert_int_not_equal(open_copy(&b, n, &e), ERR_OK);
        assert_true(e.msg[0] != 0);
    }
    buf_finish(&b);
}

static void test_flipped(void **state) {
    (void)state;
    buf b = valid();
    for (size_t i = 0; i < b.len - 64; i++)
        for (int bit = 0; bit < 8; bit++) {
            err e = {0};
            b.ptr[i] = (char)(b.ptr[i] ^ 1 << bit);
            if (open_copy(&b, b.len, &e)) assert_true(e.msg[0] != 0);
            b.ptr[i] = (char)(b.ptr[i] ^ 1 << bit);
        }
    buf_finish(&b);
}

static void test_header(void **state) {
    (void)state;
    static const uint64_t HUGE_COUNTS[] = {9,          1000,      1u << 20,  UINT32_MAX,
                                           1ull << 58, INT64_MAX, UINT64_MAX};
    for (size_t i = 0; i < COUNT_OF(HUGE_COUNTS); i++) {
        buf b = {0};
        header(&b, HUGE_COUNTS[i], 0);
        refused(&b, "");
        header(&b, 0, HUGE_COUNTS[i]);
        refused(&b, "");
    }
    static const uint32_t VERSIONS[] = {0, 1, 4, 0x03000000, UINT32_MAX};
    for (size_t i = 0; i < COUNT_OF(VERSIONS); i++) {
        buf b = {0};
        header(&b, 0, 0);
        memcpy(b.ptr + 4, &VERSIONS[i], 4);
        refused(&b, "");
    }
    buf b = {0};
    buf_put(&b, "GGML\3\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 24);
    refused(&b, "");
}

static void test_strings(void **state) {
    (void)state;
    static const uint64_t LENGTHS[] = {6,         1u << 20,       1u << 31,  UINT32_MAX,
                                       INT64_MAX, UINT64_MAX - 7, UINT64_MAX};
    for (size_t i = 0; i < COUNT_OF(LENGTHS); i++) {
        buf b = {0};
        header(&b, 0, 1); /* the name */
        u64(&b, LENGTHS[i]);
        buf_put(&b, "hello", 5);
        refused(&b, "");
        header(&b, 0, 1); /* the value */
        text(&b, "k.text");
        u32(&b, GGUF_STR);
        u64(&b, LENGTHS[i]);
        buf_put(&b, "hello", 5);
        refused(&b, "k.text");
        header(&b, 0, 1); /* an array's item */
        text(&b, "k.items");
        u32(&b, GGUF_ARRAY);
        u32(&b, GGUF_STR);
        u64(&b, 1);
        u64(&b, LENGTHS[i]);
        buf_put(&b, "hello", 5);
        refused(&b, "k.items");
        header(&b, 0, 1); /* an array's count */
        text(&b, "k.count");
        u32(&b, GGUF_ARRAY);
        u32(&b, GGUF_U64);
        u64(&b, LENGTHS[i]);
        u64(&b, 1);
        refused(&b, "k.count");
    }
}

static void test_keys(void **state) {
    (void)state;
    static const uint32_t TYPES[] = {13, 14, 255, UINT32_MAX};
    buf b = {0};
    for (size_t i = 0; i < COUNT_OF(TYPES); i++) {
        header(&b, 0, 1);
        text(&b, "k.type");
        u32(&b, TYPES[i]);
        u64(&b, 0);
        refused(&b, "k.type");
        header(&b, 0, 1);
        text(&b, "k.item");
        u32(&b, GGUF_ARRAY);
        u32(&b, TYPES[i]);
        u64(&b, 0);
        refused(&b, "k.item");
    }
    header(&b, 0, 1);
    text(&b, "k.nested");
    u32(&b, GGUF_ARRAY);
    u32(&b, GGUF_ARRAY);
    u64(&b, 1);
    refused(&b, "k.nested");
    header(&b, 0, 2);
    key_u32(&b, "k.twice", 1);
    key_u32(&b, "k.twice", 1);
    refused(&b, "k.twice");
    header(&b, 0, 1);
    key_u32(&b, "", 1);
    refused(&b, "");
}

static void test_alignment(void **state) {
    (void)state;
    static const uint32_t WRONG[] = {0, 3, 31, 33, 48, UINT32_MAX};
    for (size_t i = 0; i < COUNT_OF(WRONG); i++) {
        buf b = {0};
        header(&b, 0, 1);
        key_u32(&b, "general.alignment", WRONG[i]);
        refused(&b, "alignment");
    }
    buf b = {0};
    header(&b, 0, 1);
    text(&b, "general.alignment");
    u32(&b, GGUF_STR);
    text(&b, "32");
    refused(&b, "alignment");
}

static void test_extents(void **state) {
    (void)state;
    static const uint64_t NE[][2] = {{0, 1},
                                     {1, 0},
                                     {UINT64_MAX, 1},
                                     {1, UINT64_MAX},
                                     {INT64_MAX, 2},
                                     {1ull << 62, 1},
                                     {1ull << 32, 1ull << 32},
                                     {1ull << 31, 1ull << 31},
                                     {1ull << 63, 1},
                                     {1ull << 61, 16},
                                     {1000, 1000},
                                     {17, 1}};
    for (size_t i = 0; i < COUNT_OF(NE); i++) {
        buf b = {0};
        header(&b, 1, 0);
        tensor(&b, "t.shape", NE[i][0], NE[i][1], DTYPE_F32, 0);
        data(&b, 64);
        refused(&b, "t.shape");
    }
    static const uint32_t DIMS[] = {5, 100, UINT32_MAX};
    for (size_t i = 0; i < COUNT_OF(DIMS); i++) {
        buf b = {0};
        header(&b, 1, 0);
        text(&b, "t.dims");
        u32(&b, DIMS[i]);
        for (int k = 0; k < 8; k++) u64(&b, 1);
        data(&b, 64);
        refused(&b, "t.dims");
    }
}

static void test_types_and_offsets(void **state) {
    (void)state;
    static const uint32_t TYPES[] = {4, 5, 31, 36, 43, 64, 65, 137, 100000, UINT32_MAX};
    buf b = {0};
    for (size_t i = 0; i < COUNT_OF(TYPES); i++) {
        header(&b, 1, 0);
        tensor(&b, "t.type", 32, 1, TYPES[i], 0);
        data(&b, 256);
        refused(&b, "t.type");
    }
    header(&b, 1, 0);
    tensor(&b, "t.blocks", 33, 1, DTYPE_Q8_0, 0);
    data(&b, 256);
    refused(&b, "t.blocks");
    static const uint64_t OFFSETS[] = {
        1, 16, 31, 33, 64, 1u << 30, INT64_MAX, UINT64_MAX - 31, UINT64_MAX, 0};
    for (size_t i = 0; i < COUNT_OF(OFFSETS); i++) {
        header(&b, 2, 0);
        tensor(&b, "t.one", 8, 1, DTYPE_F32, 0);
        tensor(&b, "t.two", 8, 1, DTYPE_F32, OFFSETS[i]);
        data(&b, 96);
        refused(&b, "t.two");
    }
    header(&b, 2, 0); /* out of order */
    tensor(&b, "t.one", 8, 1, DTYPE_F32, 32);
    tensor(&b, "t.two", 8, 1, DTYPE_F32, 0);
    data(&b, 64);
    refused(&b, "t.one");
    header(&b, 2, 0);
    tensor(&b, "t.same", 8, 1, DTYPE_F32, 0);
    tensor(&b, "t.same", 8, 1, DTYPE_F32, 32);
    data(&b, 64);
    refused(&b, "t.same");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_valid_and_truncated),
                                       cmocka_unit_test(test_flipped),
                                       cmocka_unit_test(test_header),
                                       cmocka_unit_test(test_strings),
                                       cmocka_unit_test(test_keys),
                                       cmocka_unit_test(test_alignment),
                                       cmocka_unit_test(test_extents),
                                       cmocka_unit_test(test_types_and_offsets)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
