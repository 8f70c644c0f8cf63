/* Quantisers: blocks of an independent implementation, bounds of the error, foreign values. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "golden/quantize_blocks.h"
#include "model/quantize.h"
#include <math.h>
#include <string.h>

enum { N_GOLDEN = 256, N = 4096 };

static const dtype TYPES[] = {DTYPE_F32,  DTYPE_F16,  DTYPE_BF16, DTYPE_Q4_0,
                              DTYPE_Q4_1, DTYPE_Q5_0, DTYPE_Q5_1, DTYPE_Q8_0,
                              DTYPE_Q4_K, DTYPE_Q5_K, DTYPE_Q6_K};

static float next_uniform(uint32_t *state) {
    *state = *state * 1664525u + 1013904223u;
    return (float)((int32_t)(*state >> 8) - 8388608) / 8388608.0f;
}

/* The rule of tests/golden/quantize_vectors.py. */
static void fill_golden(float *x) {
    uint32_t state = 12345;
    for (int i = 0; i < N_GOLDEN; i++) {
        float v = next_uniform(&state);
        int block = i / 32;
        x[i] = block == 4 ? 0 : block % 3 == 0 ? v * 16 : v;
    }
}

/* Like weights: close to normal (sum of four uniforms), a few outliers. */
static void fill_weights(float *x, int n) {
    uint32_t state = 777;
    for (int i = 0; i < n; i++) {
        float v = 0;
        for (int k = 0; k < 4; k++) v += next_uniform(&state);
        x[i] = v * 0.02f * (i % 97 == 0 ? 4 : 1);
    }
}

static double relative_error(dtype t, const float *x, int n) {
    uint8_t *packed = mem_alloc((size_t)n * 4);
    float *y = NEW_ARRAY(float, (size_t)n);
    quantize_row(t, x, packed, n);
    dequant_row(t, packed, y, n);
    double error = 0, sum = 0;
    for (int i = 0; i < n; i++) {
        double d = (double)y[i] - (double)x[i];
        error += d * d;
        sum += (double)x[i] * (double)x[i];
    }
    mem_free(packed);
    mem_free(y);
    return sqrt(error / sum);
}

static void test_golden_blocks(void **state) {
    (void)state;
    float x[N_GOLDEN];
    uint8_t got[N_GOLDEN * 2];
    fill_golden(x);
    const struct {
        dtype t;
        const unsigned char *want;
        size_t n;
    } all[] = {{DTYPE_Q4_0, GOLDEN_Q4_0, sizeof GOLDEN_Q4_0},
               {DTYPE_Q4_1, GOLDEN_Q4_1, sizeof GOLDEN_Q4_1},
               {DTYPE_Q5_0, GOLDEN_Q5_0, sizeof GOLDEN_Q5_0},
               {DTYPE_Q5_1, GOLDEN_Q5_1, sizeof GOLDEN_Q5_1},
               {DTYPE_Q8_0, GOLDEN_Q8_0, sizeof GOLDEN_Q8_0}};
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        uint64_t bytes = 0;
        assert_true(dtype_row_bytes(all[i].t, N_GOLDEN, &bytes));
        assert_int_equal(bytes, all[i].n);
        quantize_row(all[i].t, x, got, N_GOLDEN);
        assert_memory_equal(got, all[i].want, all[i].n);
    }
}

static void test_error_bounds(void **state) {
    (void)state;
    static float x[N];
    fill_weights(x, N);
    static const struct {
        dtype t;
        double max;
    } BOUNDS[] = {{DTYPE_F32, 0},      {DTYPE_F16, 5e-4},   {DTYPE_BF16, 4e-3}, {DTYPE_Q4_0, 0.13},
                  {DTYPE_Q4_1, 0.12},  {DTYPE_Q5_0, 0.065}, {DTYPE_Q5_1, 0.06}, {DTYPE_Q8_0, 0.008},
                  {DTYPE_Q4_K, 0.095}, {DTYPE_Q5_K, 0.05},  {DTYPE_Q6_K, 0.025}};
    for (size_t i = 0; i < COUNT_OF(BOUNDS); i++) {
        double error = relative_error(BOUNDS[i].t, x, N);
        if (error > BOUNDS[i].max)
            fail_msg("%s: error %g, at most %g", dtype_name(BOUNDS[i].t), error, BOUNDS[i].max);
    }
}

/* More bits, less error; and the search must beat the plain rules of the same size. */
static void test_error_order(void **state) {
    (void)state;
    static float x[N];
    fill_weights(x, N);
    double q4k = relative_error(DTYPE_Q4_K, x, N), q5k = relative_error(DTYPE_Q5_K, x, N);
    double q6k = relative_error(DTYPE_Q6_K, x, N);
    assert_true(relative_error(DTYPE_Q8_0, x, N) < q6k);
    assert_true(q6k < q5k && q5k < q4k);
    assert_true(q4k < relative_error(DTYPE_Q4_0, x, N));
    assert_true(q5k < relative_error(DTYPE_Q5_0, x, N));
}

static void fill_nasty(float *x, int kind) {
    static const float ODD[] = {NAN, INFINITY, -INFINITY, 3e38f, -3e38f, 1e-42f, 0, -0.0f, 1, -2};
    for (int i = 0; i < 256; i++) switch (kind) {
        case 0:
            x[i] = 0;
            break;
        case 1:
            x[i] = NAN;
            break;
        case 2:
            x[i] = ODD[i % COUNT_OF(ODD)];
            break;
        case 3:
            x[i] = i % 2 ? 3e38f : -3e38f;
            break;
        case 4:
            x[i] = 1e-42f * (float)(i - 128);
            break;
        case 5:
            x[i] = 3.5f;
            break;
        case 6:
            x[i] = -3.5f;
            break;
        case 7:
            x[i] = i == 100 ? 6e4f : 0;
            break;
        default:
            x[i] = i < 128 ? 1e-6f : 1e4f;
            break;
        }
}

static void test_foreign_values(void **state) {
    (void)state;
    for (int kind = 0; kind < 9; kind++)
        for (size_t k = 0; k < COUNT_OF(TYPES); k++) {
            float x[256], y[256];
            uint8_t packed[1024];
            fill_nasty(x, kind);
            quantize_row(TYPES[k], x, packed, 256);
            dequant_row(TYPES[k], packed, y, 256);
            for (int i = 0; i < 256; i++) {
                bool may_overflow = TYPES[k] == DTYPE_F32 || TYPES[k] == DTYPE_BF16;
                assert_true(y[i] == y[i] && (may_overflow || isfinite(y[i])));
                if (kind < 2) assert_true(y[i] == 0);
                if (kind == 3 && x[i] > 0) assert_true(y[i] > 60000);
                if (kind == 3 && x[i] < 0) assert_true(y[i] < -60000);
                if (kind == 4) assert_true(fabsf(y[i]) < 1e-6f);
                if (kind == 5 || kind == 6) assert_true(fabsf(y[i] - x[i]) < 0.03f);
            }
            if (kind == 7) assert_true(fabsf(y[100] / 6e4f - 1) < 0.02f);
        }
}

/* A block is independent of its neighbours, and dst needs no alignment. */
static void test_blocks_independent(void **state) {
    (void)state;
    static float x[512];
    fill_weights(x, 512);
    for (size_t k = 0; k < COUNT_OF(TYPES); k++) {
        uint8_t both[2049], second[1024];
        uint64_t half = 0;
        assert_true(dtype_row_bytes(TYPES[k], 256, &half));
        quantize_row(TYPES[k], x, both + 1, 512);
        quantize_row(TYPES[k], x + 256, second, 256);
        assert_memory_equal(both + 1 + half, second, half);
    }
}

static void test_names(void **state) {
    (void)state;
    for (size_t k = 0; k < COUNT_OF(TYPES); k++) assert_true(quantize_can(TYPES[k]));
    assert_false(quantize_can(DTYPE_Q2_K) || quantize_can(DTYPE_IQ4_XS) || quantize_can(DTYPE_I32));
    assert_false(quantize_can(DTYPE_ACT8) || quantize_can((dtype)1000));
    assert_string_equal(quantize_file_type_name(15), "Q4_K_M");
    assert_string_equal(quantize_file_type_name(1), "F16");
    assert_string_equal(quantize_file_type_name(4), "unknown");
    assert_string_equal(quantize_file_type_name(UINT64_MAX), "unknown");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden_blocks),      cmocka_unit_test(test_error_bounds),
        cmocka_unit_test(test_error_order),        cmocka_unit_test(test_foreign_values),
        cmocka_unit_test(test_blocks_independent), cmocka_unit_test(test_names)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
