/* The reference decoders against golden values of an independent implementation, the small floats
 * exhaustively, and what ids, names and sizes answer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kern/dtype.h"
#include <math.h>

/* Input block: byte i = (73 i + 41) mod 256, then d := 0.25, m := 0.125, MXFP4 e := 127, NVFP4
 * scales := 38 40 30 01 hex. sumw = sum of y[i] (i mod 7 + 1). Offsets are those of the fields,
 * -1 when there is none. */
static const struct golden {
    dtype type;
    int d_at, m_at;
    double y0, y1, y17, last, sum, sumw;
} GOLDEN[] = {
    {DTYPE_Q4_0, 0, -1, 0.75, -1, -2, -2, -8.25, -26.5},
    {DTYPE_Q4_1, 0, 2, 3.375, 1.625, 2.375, 2.375, 60.25, 211.5},
    {DTYPE_Q5_0, 0, -1, 3.75, 2, -3.5, 0.5, -11.25, -74},
    {DTYPE_Q5_1, 0, 2, 4.375, 2.625, 6.875, 2.875, 129.25, 510},
    {DTYPE_Q8_0, 0, -1, -17.25, 1, -27, -27.5, -12, 496.5},
    {DTYPE_Q1_0, 0, -1, 0.25, 0.25, -0.25, -0.25, -1.5, -5.75},
    {DTYPE_Q2_0, 0, -1, 0.5, 0.25, 0.5, -0.25, 6.75, 22.5},
    {DTYPE_MXFP4, -1, -1, 1, -1.5, -1.5, -1.5, 12.5, 54},
    {DTYPE_NVFP4, -1, -1, -3, 4, -8, 0.001953125, 15.5175781, 100.305664},
    {DTYPE_TQ1_0, 52, -1, -0.25, 0, -0.25, 0.25, -3.75, -34.5},
    {DTYPE_TQ2_0, 64, -1, 0, 0.25, 0.25, -0.25, 31.25, 119.5},
    {DTYPE_Q2_K, 80, 82, 2, 4.25, 0.125, -0.875, 510.75, 2061.875},
    {DTYPE_Q3_K, 108, -1, -1.75, 3.5, -1, -6, 58.5, 132.5},
    {DTYPE_Q4_K, 0, 2, 23.125, 0.375, 0.375, -2.875, 13338, 52000.125},
    {DTYPE_Q5_K, 0, 2, 75.125, 0.375, 0.375, -2.875, 27518, 109792.125},
    {DTYPE_Q6_K, 208, -1, 40.25, -11.5, 25, 72, -3711, -45774.25},
    {DTYPE_IQ4_NL, 0, -1, 9.5, -12.25, -31.75, -31.75, -120.25, -399.25},
    {DTYPE_IQ4_XS, 0, -1, -754, 181.25, 275.5, -187.5, -1612.5, -3720.25},
};

static void put_f16(uint8_t *block, int at, uint16_t bits) {
    if (at >= 0) memcpy(block + at, &bits, sizeof bits);
}

static void test_golden(void **state) {
    (void)state;
    for (size_t g = 0; g < sizeof GOLDEN / sizeof *GOLDEN; g++) {
        const struct golden *want = &GOLDEN[g];
        const dtype_info *info = dtype_get_info(want->type);
        uint8_t bytes[2 * 300 + 1];
        uint8_t *block = bytes + 1; /* unaligned on purpose */
        float y[512];
        for (int i = 0; i < info->bytes; i++) block[i] = (uint8_t)(73 * i + 41);
        put_f16(block, want->d_at, 0x3400);
        put_f16(block, want->m_at, 0x3000);
        if (want->type == DTYPE_MXFP4) block[0] = 127;
        if (want->type == DTYPE_NVFP4) memcpy(block, "\x38\x40\x30\x01", 4);
        memcpy(block + info->bytes, block, info->bytes); /* the second block must decode alike */
        dequant_row(want->type, block, y, 2 * info->elems);
        double sum = 0, sumw = 0;
        for (int i = 0; i < info->elems; i++) {
            sum += (double)y[i];
            sumw += (double)y[i] * (i % 7 + 1);
            assert_true(y[i] == y[info->elems + i]);
        }
        assert_true((double)y[0] == want->y0 && (double)y[1] == want->y1);
        assert_true((double)y[17] == want->y17 && (double)y[info->elems - 1] == want->last);
        assert_true(fabs(sum - want->sum) < 1e-6 && fabs(sumw - want->sumw) < 1e-6);
    }
}

static void test_plain_types(void **state) {
    (void)state;
    float y[4];
    dequant_row(DTYPE_F64, (double[]){1.5, -2, 0, 1e10}, y, 4);
    assert_true(y[0] == 1.5f && y[1] == -2.0f && y[3] == 1e10f);
    dequant_row(DTYPE_I16, (int16_t[]){-32768, 7}, y, 2);
    assert_true(y[0] == -32768.0f && y[1] == 7.0f);
    dequant_row(DTYPE_I64, (int64_t[]){-5, 1LL << 40}, y, 2);
    assert_true(y[0] == -5.0f && y[1] == 0x1p40f);
    dequant_row(DTYPE_BF16, (uint16_t[]){0x3f80, 0xc040}, y, 2);
    assert_true(y[0] == 1.0f && y[1] == -3.0f);
    dequant_row(DTYPE_U8, (uint8_t[]){255, 0}, y, 2);
    assert_true(y[0] == 255.0f);
    dequant_row(DTYPE_F8_E4M3, (uint8_t[]){0x38, 0x7e, 0x01, 0x80}, y, 4);
    assert_true(y[0] == 1.0f && y[1] == 448.0f && y[2] == 0x1p-9f && signbit(y[3]));
    dequant_row(DTYPE_F8_E5M2, (uint8_t[]){0x3c, 0x7b, 0x01, 0xfc}, y, 4);
    assert_true(y[0] == 1.0f && y[1] == 57344.0f && y[2] == 0x1p-16f && isinf(y[3]));
    assert_true(isnan(f8e4m3_to_f32(0x7f)) && isnan(f8e4m3_to_f32(0xff)));
}

static void test_f16(void **state) {
    (void)state;
    for (uint32_t h = 0; h < 0x10000; h++) { /* every f16 survives the round trip */
        float f = f16_to_f32((uint16_t)h);
        uint32_t exponent = h >> 10 & 31, mantissa = h & 1023;
        double want =
            exponent == 0 ? ldexp(mantissa, -24) : ldexp(1024 + mantissa, (int)exponent - 25);
        if (exponent == 31) {
            assert_true(mantissa ? isnan(f) : isinf(f));
            if (mantissa) continue;
        } else {
            assert_true(fabs((double)f) == want);
        }
        assert_int_equal(f32_to_f16(f), h);
        if (exponent == 31 || (h & 0x7fff) == 0x7bff) continue;
        float next = f16_to_f32((uint16_t)(h + 1)), middle = (f + next) / 2;
        assert_int_equal(f32_to_f16(middle), h & 1 ? h + 1 : h); /* ties to even */
        assert_int_equal(f32_to_f16(nextafterf(middle, f)), h);
        assert_int_equal(f32_to_f16(nextafterf(middle, next)), h + 1);
    }
    assert_int_equal(f32_to_f16(65519.0f), 0x7bff);
    assert_int_equal(f32_to_f16(65520.0f), 0x7c00);
    assert_int_equal(f32_to_f16(-INFINITY), 0xfc00);
    assert_int_equal(f32_to_f16(0x1p-25f), 0);
    assert_true(isnan(f16_to_f32(f32_to_f16(NAN))));
}

static void test_bf16(void **state) {
    (void)state;
    for (uint32_t b = 0; b < 0x10000; b++) {
        float f = bf16_to_f32((uint16_t)b);
        if (isnan(f))
            assert_true(isnan(bf16_to_f32(f32_to_bf16(f))));
        else
            assert_int_equal(f32_to_bf16(f), b);
    }
    assert_int_equal(f32_to_bf16(dtype_f32_from_bits(0x3f808000)), 0x3f80); /* tie to even */
    assert_int_equal(f32_to_bf16(dtype_f32_from_bits(0x3f818000)), 0x3f82);
    assert_int_equal(f32_to_bf16(dtype_f32_from_bits(0x7f7fffff)), 0x7f80); /* to infinity */
    assert_true(isnan(bf16_to_f32(f32_to_bf16(dtype_f32_from_bits(0x7f800001)))));
}

static void test_sizes(void **state) {
    (void)state;
    uint64_t n = 77;
    assert_true(dtype_row_bytes(DTYPE_Q4_K, 512, &n));
    assert_int_equal(n, 288);
    assert_true(dtype_row_bytes(DTYPE_F32, 0, &n));
    assert_int_equal(n, 0);
    n = 77;
    assert_false(dtype_row_bytes(DTYPE_Q4_K, 511, &n));
    assert_false(dtype_row_bytes(DTYPE_F32, -1, &n));
    assert_false(dtype_row_bytes(DTYPE_F64, INT64_MAX, &n));
    assert_false(dtype_row_bytes(DTYPE_ACT8, 32, &n));
    assert_false(dtype_row_bytes((dtype)4, 32, &n));
    assert_false(dtype_row_bytes((dtype)1000, 32, &n));
    assert_int_equal(n, 77);
    assert_string_equal(dtype_name((dtype)33), "?");
}

static void expect_refused(uint32_t id, const char *word) {
    dtype t = DTYPE_F16;
    err e = {0};
    assert_int_equal(dtype_from_ggml_id(id, &t, &e), ERR_UNSUPPORTED);
    assert_non_null(strstr(e.msg, word));
    assert_int_equal(t, DTYPE_F16);
}

static void test_ids(void **state) {
    (void)state;
    dtype t;
    err e = {0};
    for (uint32_t id = 0; id < DTYPE_INTERNAL; id++) { /* each id is supported or explained */
        if (dtype_get_info((dtype)id)->supported) {
            assert_int_equal(dtype_from_ggml_id(id, &t, &e), ERR_OK);
            assert_int_equal(t, id);
        } else {
            assert_int_equal(dtype_from_ggml_id(id, &t, &e), ERR_UNSUPPORTED);
            assert_true(e.msg[0]);
        }
    }
    expect_refused(4, "Q4_0");
    expect_refused(31, "Q4_0");
    expect_refused(16, "IQ4_XS");
    expect_refused(137, "ik_llama");
    expect_refused(15, "activations");
    expect_refused(DTYPE_F8_E4M3, "unknown"); /* ours, never from a file */
    expect_refused(0xffffffff, "unknown");
    assert_true(dtype_from_name("q4_k", &t));
    assert_int_equal(t, DTYPE_Q4_K);
    assert_true(dtype_from_name("F32", &t));
    assert_false(dtype_from_name("Q4", &t));
    assert_false(dtype_from_name("", &t));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden), cmocka_unit_test(test_plain_types),
        cmocka_unit_test(test_f16),    cmocka_unit_test(test_bf16),
        cmocka_unit_test(test_sizes),  cmocka_unit_test(test_ids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
