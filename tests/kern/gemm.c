/* Every picture kernel at every level that this machine can run, against the reference: all tile
 * sizes, ends that are no whole vectors, edges of pictures, and guards behind each output. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rng.h"
#include "kern/kern_gemm.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BIG = 36 * 32 * 48, GUARD = 32 };
#define GUARD_VALUE 4321.0f

static rng r;
static float a[BIG], b[BIG], c[BIG], want[BIG + GUARD], got[BIG + GUARD];

static void fill(float *x, int64_t n, float scale) {
    for (int64_t i = 0; i < n; i++) x[i] = rng_normal(&r) * scale;
}

static void check(const char *what, int64_t n, float limit) {
    for (int64_t i = 0; i < n; i++)
        if (!(fabsf(got[i] - want[i]) <= limit * (1 + fabsf(want[i]))) &&
            !(isnan(got[i]) && isnan(want[i])))
            fail_msg("%s: [%d] is %g, not %g", what, (int)i, (double)got[i], (double)want[i]);
    for (int64_t i = n; i < n + GUARD; i++) assert_true(got[i] == GUARD_VALUE);
}

static void guard(float *x, int64_t n) {
    for (int64_t i = 0; i < n + GUARD; i++) x[i] = GUARD_VALUE;
}

/* Runs the statement with t the reference into want and with each level's table into got. */
#define COMPARE(what, n, limit, ...)                                                               \
    for (int level = KERN_LEVEL_REF; level < KERN_LEVEL_COUNT; level++) {                          \
        if (!kern_level_usable((kern_level)level)) continue;                                       \
        const kern_gemm *t = kern_gemm_get(KERN_LEVEL_REF);                                        \
        float *out = want;                                                                         \
        guard(want, n);                                                                            \
        __VA_ARGS__;                                                                               \
        t = kern_gemm_get((kern_level)level);                                                      \
        out = got;                                                                                 \
        guard(got, n);                                                                             \
        __VA_ARGS__;                                                                               \
        check(what, n, limit);                                                                     \
    }

static void test_mul(void **state) {
    (void)state;
    static const int64_t ks[] = {1, 7, 16, 40, 129};
    static const int32_t cols[] = {1, 5, 8, 9, 16, 17, 24, 31, 32};
    fill(a, BIG, 1);
    fill(b, BIG, 1);
    fill(c, BIG, 1);
    for (size_t ki = 0; ki < sizeof ks / sizeof *ks; ki++)
        for (int32_t rows = 1; rows <= KERN_GEMM_ROWS; rows++)
            for (size_t ci = 0; ci < sizeof cols / sizeof *cols; ci++) {
                kern_gemm_tile j = {.a = a,
                                    .b = b,
                                    .k = ks[ki],
                                    .rows = rows,
                                    .cols = cols[ci],
                                    .out_stride = 40,
                                    .out_half = KERN_GEMM_BLOCK,
                                    .residual_stride = 33};
                if (rows % 2) j.bias = c;
                if (rows % 3 == 0) j.residual = c + 50;
                j.add = rows % 4 == 1;
                int64_t n = (rows - 1) * 40 + cols[ci];
                COMPARE("mul", n, 3e-5f, (j.out = out, t->mul(&j)));
                if (j.residual) continue;
                j.out_stride = KERN_GEMM_BLOCK; /* as an A tile */
                j.out_half = rows * KERN_GEMM_BLOCK;
                COMPARE("mul halves", 2 * rows * KERN_GEMM_BLOCK, 3e-5f, (j.out = out, t->mul(&j)));
            }
}

static void test_pack(void **state) {
    (void)state;
    static uint16_t halves[BIG];
    fill(a, BIG, 1);
    for (int i = 0; i < BIG; i++) halves[i] = f32_to_f16(a[i]);
    for (int64_t k = 1; k < 70; k += 3)
        for (int32_t n = 1; n <= KERN_GEMM_COLS; n++) {
            if (n <= KERN_GEMM_ROWS)
                COMPARE("pack_rows", kern_gemm_a_floats(n, k), 0, t->pack_rows(out, a, 77, n, k));
            kern_gemm_cols j = {.w = a, .stride = 77 * 4, .type = DTYPE_F32, .cols = n, .k = k};
            COMPARE("pack_cols f32", k * KERN_GEMM_COLS, 0, t->pack_cols(out, &j));
            j = (kern_gemm_cols){halves, 77 * 2, n % 2 ? DTYPE_F16 : DTYPE_BF16, n, k};
            COMPARE("pack_cols of halves", k * KERN_GEMM_COLS, 0, t->pack_cols(out, &j));
        }
}

static void test_winograd(void **state) {
    (void)state;
    fill(a, BIG, 1);
    for (int32_t px = -1; px < 7; px += 4)
        for (int32_t channels = 1; channels < 50; channels += 6) {
            int64_t n = (channels + 15) / 16 * 16;
            kern_wino_in j = {.x = a,
                              .stride_x = 51,
                              .stride_y = 51 * 7,
                              .nx = 7,
                              .ny = 5,
                              .px = px,
                              .py = px,
                              .channels = channels,
                              .v_pos = n,
                              .v_block = 16};
            COMPARE("wino_in", 36 * n, 1e-5f, (j.v = out, t->wino_in(&j)));
        }
    kern_wino_taps taps = {.g = a, .g_tap = 70, .u_pos = 64, .n = 64};
    COMPARE("wino_weights", 36 * 64, 1e-6f, (taps.u = out, t->wino_weights(&taps)));
    taps = (kern_wino_taps){.g = a, .g_tap = 16, .u_pos = 32 + GUARD, .n = 32};
    COMPARE("wino_weights apart", 32, 1e-6f, (taps.u = out, t->wino_weights(&taps)));
    fill(b, BIG, 1);
    for (int32_t cols = 1; cols <= KERN_GEMM_COLS; cols++) {
        kern_wino_out j = {.m = a,
                           .m_pos = 32,
                           .cols = cols,
                           .nx = 1 + cols % 4,
                           .ny = 1 + cols / 2 % 4,
                           .out_x = 33,
                           .out_y = 33 * 4,
                           .residual_x = 34,
                           .residual_y = 150};
        if (cols % 2) j.bias = b;
        if (cols % 3) j.residual = b + 40;
        int64_t n = (j.ny - 1) * j.out_y + (j.nx - 1) * j.out_x + cols;
        COMPARE("wino_out", n, 1e-5f, (j.out = out, t->wino_out(&j)));
    }
}

/* The three transforms together are a convolution. */
static void test_winograd_is_convolution(void **state) {
    (void)state;
    for (int level = KERN_LEVEL_REF; level < KERN_LEVEL_COUNT; level++) {
        if (!kern_level_usable((kern_level)level)) continue;
        const kern_gemm *t = kern_gemm_get((kern_level)level);
        fill(a, 36 * 16, 1);
        fill(b, 9 * 16, 1);
        static float v[36 * 16], u[36 * 16], out[16 * 16];
        t->wino_in(&(kern_wino_in){.x = a,
                                   .stride_x = 16,
                                   .stride_y = 96,
                                   .nx = 6,
                                   .ny = 6,
                                   .channels = 16,
                                   .v = v,
                                   .v_pos = 16,
                                   .v_block = 16});
        t->wino_weights(&(kern_wino_taps){.g = b, .g_tap = 16, .u = u, .u_pos = 16, .n = 16});
        for (int i = 0; i < 36 * 16; i++) v[i] *= u[i];
        t->wino_out(&(kern_wino_out){.m = v,
                                     .m_pos = 16,
                                     .cols = 16,
                                     .nx = 4,
                                     .ny = 4,
                                     .out = out,
                                     .out_x = 16,
                                     .out_y = 64});
        for (int i = 0; i < 256; i++) {
            int ch = i % 16, x = i / 16 % 4, y = i / 64;
            double sum = 0;
            for (int k = 0; k < 9; k++)
                sum += (double)a[((y + k / 3) * 6 + x + k % 3) * 16 + ch] * (double)b[k * 16 + ch];
            assert_true(fabs(sum - (double)out[i]) < 1e-4);
        }
    }
}

static void test_norm(void **state) {
    (void)state;
    fill(a, BIG, 2);
    fill(b, BIG, 1);
    for (int64_t n = 1; n < 100; n += 7) {
        memcpy(c, b, 200 * sizeof *c);
        COMPARE("norm_sums", 2 * n, 1e-4f,
                (memcpy(out, b, 2 * (size_t)n * sizeof *out),
                 t->norm_sums(out, out + n, a, 130, 9, n)));
        kern_norm_apply j = {.x = a,
                             .x_stride = 130,
                             .out_stride = 120,
                             .n = 5,
                             .c = n,
                             .scale = b,
                             .shift = b + 300,
                             .silu = n % 2 == 0};
        COMPARE("norm_apply", 4 * 120 + n, 1e-5f, (j.out = out, t->norm_apply(&j)));
    }
}

static void test_soft(void **state) {
    (void)state;
    fill(a, BIG, 3);
    for (int32_t rows = 1; rows <= KERN_GEMM_ROWS; rows++)
        for (int64_t k = 1; k < 80; k += 5) {
            int64_t n = kern_gemm_a_floats(rows, k);
            COMPARE("soft", n + 3 * rows, 1e-5f, {
                kern_soft_state st[KERN_GEMM_ROWS];
                float corr[KERN_GEMM_ROWS];
                for (int i = 0; i < rows; i++)
                    st[i] = (kern_soft_state){i % 3 ? (float)i - 2 : -INFINITY, i % 3 ? 2 : 0};
                memcpy(out, a, (size_t)n * sizeof *out);
                if (k > 20) out[3] = -INFINITY;
                t->soft(out, rows, k, st, corr);
                for (int i = 0; i < rows; i++) {
                    out[n + 3 * i] = st[i].max;
                    out[n + 3 * i + 1] = st[i].sum;
                    out[n + 3 * i + 2] = corr[i];
                }
            });
        }
    COMPARE("soft of nothing", 32 + 3, 0, {
        kern_soft_state st = {-INFINITY, 0};
        for (int i = 0; i < 32; i++) out[i] = -INFINITY;
        t->soft(out, 1, 20, &st, out + 32);
        out[33] = st.sum;
        out[34] = 0;
    });
    COMPARE("soft of NaN", 2, 0, {
        kern_soft_state st = {-INFINITY, 0};
        float corr;
        static float s[16];
        for (int i = 0; i < 16; i++) s[i] = i == 3 ? NAN : 1;
        t->soft(s, 1, 16, &st, &corr);
        out[0] = st.sum;
        out[1] = s[3];
    });
}

int main(void) {
    rng_init(&r, 5);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mul),      cmocka_unit_test(test_pack),
        cmocka_unit_test(test_winograd), cmocka_unit_test(test_winograd_is_convolution),
        cmocka_unit_test(test_norm),     cmocka_unit_test(test_soft),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
