/* Every bfloat16 picture kernel at every level that this machine can run, against the reference:
 * all tile sizes, ends that are no whole vectors, edges of pictures, and guards behind each output.
 */
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

enum { BIG = 36 * 32 * 72, GUARD = 32 };
#define GUARD_VALUE 4321.0f
#define GUARD_BITS 0x5a5a

static rng r;
static float a[BIG], b[BIG], c[BIG], want[BIG + GUARD], got[BIG + GUARD];
static uint16_t ah[BIG], bh[BIG], want_h[BIG + GUARD], got_h[BIG + GUARD];

static void fill(float *x, int64_t n, float scale) {
    for (int64_t i = 0; i < n; i++) x[i] = rng_normal(&r) * scale;
}

static void fill_halves(uint16_t *x, int64_t n) {
    for (int64_t i = 0; i < n; i++) x[i] = f32_to_bf16(rng_normal(&r));
}

static void check(const char *what, int64_t n, float limit) {
    for (int64_t i = 0; i < n; i++)
        if (!(fabsf(got[i] - want[i]) <= limit * (1 + fabsf(want[i]))) &&
            !(isnan(got[i]) && isnan(want[i])))
            fail_msg("%s: [%d] is %g, not %g", what, (int)i, (double)got[i], (double)want[i]);
    for (int64_t i = n; i < n + GUARD; i++) assert_true(got[i] == GUARD_VALUE);
}

/* Relative limit, and an absolute one for what nearly cancels. */
static void check_halves(const char *what, int64_t n, float limit, float small) {
    for (int64_t i = 0; i < n; i++) {
        float g = bf16_to_f32(got_h[i]), w = bf16_to_f32(want_h[i]);
        if (!(fabsf(g - w) <= limit * fabsf(w) + small) && !(isnan(g) && isnan(w)))
            fail_msg("%s: [%d] is %g, not %g", what, (int)i, (double)g, (double)w);
    }
    for (int64_t i = n; i < n + GUARD; i++) assert_true(got_h[i] == GUARD_BITS);
}

enum { GUARDED = BIG + GUARD };

static void guard(float *x, uint16_t *h) {
    for (int64_t i = 0; i < GUARDED; i++) x[i] = GUARD_VALUE, h[i] = GUARD_BITS;
}

/* Runs the statement with the reference into want, want_h, and with each level's table into got. */
#define COMPARE(checks, ...)                                                                       \
    for (int level = KERN_LEVEL_REF; level < KERN_LEVEL_COUNT; level++) {                          \
        if (!kern_level_usable((kern_level)level)) continue;                                       \
        const kern_gemm *t = kern_gemm_get(KERN_LEVEL_REF);                                        \
        float *out = want;                                                                         \
        uint16_t *half = want_h;                                                                   \
        guard(out, half);                                                                          \
        __VA_ARGS__;                                                                               \
        t = kern_gemm_get((kern_level)level);                                                      \
        out = got, half = got_h;                                                                   \
        guard(out, half);                                                                          \
        __VA_ARGS__;                                                                               \
        checks;                                                                                    \
    }

/* Tiles too tall for a table are the reference's. */
static void mul_if_it_fits(const kern_gemm *t, const kern_gemm_tile *j) {
    (j->rows > t->rows_bf16 ? kern_gemm_get(KERN_LEVEL_REF) : t)->mul_bf16(j);
}

static void test_mul(void **state) {
    (void)state;
    static const int64_t ks[] = {1, 2, 7, 32, 40, 129};
    static const int32_t cols[] = {1, 8, 9, 16, 17, 31, 32};
    fill_halves(ah, BIG);
    fill_halves(bh, BIG);
    fill(c, BIG, 1);
    for (size_t ki = 0; ki < sizeof ks / sizeof *ks; ki++)
        for (int32_t rows = 1; rows <= KERN_GEMM_ROWS_MAX; rows++)
            for (size_t ci = 0; ci < sizeof cols / sizeof *cols; ci++) {
                kern_gemm_tile j = {.a = ah,
                                    .b = bh,
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
                float start[KERN_GEMM_ROWS_MAX * 40];
                fill(start, n, 1);
                COMPARE(check("mul_bf16", n, 5e-5f), {
                    if (j.add) memcpy(out, start, (size_t)n * sizeof *out);
                    j.out = out;
                    mul_if_it_fits(t, &j);
                });
                if (j.residual || j.add) continue;
                j.out_stride = KERN_GEMM_BLOCK; /* as an A tile of floats */
                j.out_half = rows * KERN_GEMM_BLOCK;
                COMPARE(
                    {
                        for (int64_t i = 0; i < rows; i++)
                            for (int64_t k = 0; k < cols[ci]; k++) {
                                int64_t at = k / 16 * j.out_half + i * 16 + k % 16;
                                assert_true(fabsf(got[at] - want[at]) <=
                                            5e-5f * (1 + fabsf(want[at])));
                            }
                    },
                    (j.out = out, mul_if_it_fits(t, &j)));
            }
}

/* Rows that lie in place: 32 k at a time in any order, the second half of the rows elsewhere. */
static void test_mul_in_place(void **state) {
    (void)state;
    enum { K = 75, ROW = 100, STRIDE = 40 };
    static const int32_t blocks[] = {64, 0, 128};
    fill_halves(ah, BIG);
    fill_halves(bh, BIG);
    fill(c, BIG, 1);
    for (int64_t m = 0; m < 100; m++) /* 0 behind k, as an A tile has it */
        for (int64_t k = K % 32; k < 32; k++) ah[m * ROW + blocks[2] / 2 + k] = 0;
    for (int32_t rows = 1; rows <= KERN_GEMM_ROWS_MAX; rows++)
        for (int32_t split = (rows + 1) / 2; split <= rows && split <= 16; split++) {
            kern_gemm_tile j = {.a = ah,
                                .b = bh,
                                .k = K,
                                .rows = rows,
                                .cols = rows % 2 ? 32 : 19,
                                .out_stride = STRIDE,
                                .out_half = KERN_GEMM_BLOCK,
                                .bias = c,
                                .residual = rows % 3 ? NULL : c + 50,
                                .residual_stride = 33,
                                .a_blocks = blocks,
                                .a_row = ROW * 2,
                                .a_down = ROW * 2 * 40,
                                .a_split = split};
            COMPARE(check("mul_bf16 in place", (rows - 1) * STRIDE + j.cols, 5e-5f),
                    (j.out = out, (t->is_tiled ? t : kern_gemm_get(KERN_LEVEL_REF))->mul_bf16(&j)));
        }
}

/* Against sums in f64, with the exact layouts of the header. */
static void test_mul_is_a_product(void **state) {
    (void)state;
    enum { K = 75, ROWS = 5, COLS = 20 };
    fill(a, ROWS * K, 1);
    fill(b, COLS * K, 1);
    for (int level = KERN_LEVEL_REF; level < KERN_LEVEL_COUNT; level++) {
        if (!kern_level_usable((kern_level)level)) continue;
        const kern_gemm *t = kern_gemm_get((kern_level)level);
        t->pack_rows_bf16(ah, a, K, ROWS, K, 1);
        t->pack_cols_bf16(bh, &(kern_gemm_cols){b, K * 4, DTYPE_F32, COLS, K});
        t->mul_bf16(&(kern_gemm_tile){.a = ah,
                                      .b = bh,
                                      .k = K,
                                      .rows = ROWS,
                                      .cols = COLS,
                                      .out = got,
                                      .out_stride = COLS,
                                      .out_half = KERN_GEMM_BLOCK});
        for (int i = 0; i < ROWS * COLS; i++) {
            double sum = 0;
            for (int k = 0; k < K; k++)
                sum += (double)bf16_to_f32(f32_to_bf16(a[i / COLS * K + k])) *
                       (double)bf16_to_f32(f32_to_bf16(b[i % COLS * K + k]));
            assert_true(fabs(sum - (double)got[i]) < 1e-4);
        }
    }
}

static void test_pack(void **state) {
    (void)state;
    static uint16_t halves[BIG], bf16s[BIG];
    fill(a, BIG, 1);
    for (int i = 0; i < BIG; i++) halves[i] = f32_to_f16(a[i]), bf16s[i] = f32_to_bf16(a[i]);
    for (int64_t k = 1; k < 100; k += 3)
        for (int32_t n = 1; n <= KERN_GEMM_COLS; n++) {
            int64_t rows = kern_gemm_a_bf16s(n, k), cols = kern_gemm_b_bf16s(k);
            if (n <= KERN_GEMM_ROWS)
                COMPARE(check_halves("pack_rows", rows, 0, 0),
                        t->pack_rows_bf16(half, a, 101, n, k, 0.3f));
            kern_gemm_cols j = {.w = a, .stride = 101 * 4, .type = DTYPE_F32, .cols = n, .k = k};
            COMPARE(check_halves("pack_cols f32", cols, 0, 0), t->pack_cols_bf16(half, &j));
            j = (kern_gemm_cols){halves, 101 * 2, DTYPE_F16, n, k};
            COMPARE(check_halves("pack_cols f16", cols, 0, 0), t->pack_cols_bf16(half, &j));
            j = (kern_gemm_cols){bf16s, 101 * 2, DTYPE_BF16, n, k};
            COMPARE(check_halves("pack_cols bf16", cols, 0, 0), t->pack_cols_bf16(half, &j));
            COMPARE(check("unpack_cols", k * KERN_GEMM_COLS, 0),
                    t->unpack_cols_bf16(out, bf16s, k));
            COMPARE(check_halves("pack_pairs", cols, 0, 0), t->pack_pairs_bf16(half, a, 33, n, k));
        }
    /* what is no number stays so, halves round to even */
    static const float odd[4] = {NAN, INFINITY, 1.00390625f, 1.01171875f};
    COMPARE(
        {
            assert_true(isnan(bf16_to_f32(got_h[0])) && isinf(bf16_to_f32(got_h[1])));
            assert_int_equal(got_h[2], 0x3f80);
            assert_int_equal(got_h[3], 0x3f82);
        },
        t->pack_rows_bf16(half, odd, 4, 1, 4, 1));
}

static void test_round_and_norm(void **state) {
    (void)state;
    fill(a, BIG, 2);
    fill(b, BIG, 1);
    for (int64_t n = 1; n < 130; n += 3) {
        COMPARE(check_halves("round", n, 0, 0), t->round_bf16(half, a, n, 0.3f));
        kern_norm_apply j = {.x = a,
                             .x_stride = 150,
                             .out_stride = 140,
                             .n = 5,
                             .c = n,
                             .scale = b,
                             .shift = b + 300,
                             .silu = n % 2 == 0};
        COMPARE(check_halves("norm_apply", 4 * 140 + n, 0.008f, 1e-6f),
                (j.out = half, t->norm_apply_bf16(&j)));
    }
    static const float extreme[4] = {-INFINITY, -200, 90, NAN}, one[4] = {1, 1, 1, 1};
    kern_norm_apply j = {.x = extreme, .n = 1, .c = 4, .scale = one, .shift = b, .silu = true};
    memset(b, 0, 4 * sizeof *b);
    COMPARE(
        {
            assert_true(fabsf(bf16_to_f32(got_h[1])) < 1e-30f);
            assert_int_equal(got_h[2], f32_to_bf16(90));
            assert_true(isnan(bf16_to_f32(got_h[3])));
        },
        (j.out = half, t->norm_apply_bf16(&j)));
}

static void test_winograd(void **state) {
    (void)state;
    fill(a, BIG, 1);
    for (int32_t px = -1; px < 7; px += 2)
        for (int32_t channels = 1; channels < 70; channels += 6) {
            int64_t n = (channels + 31) / 32 * 32;
            kern_wino_in j = {.x = a,
                              .stride_x = 71,
                              .stride_y = 71 * 9,
                              .nx = 9,
                              .ny = 7,
                              .px = px,
                              .py = px,
                              .channels = channels,
                              .v_pos = n,
                              .v_block = 32};
            COMPARE(check_halves("wino_in", 36 * n, 0.008f, 2e-6f),
                    (j.v = half, t->wino_in_bf16(&j)));
        }
    fill_halves(ah, BIG);
    for (int64_t k = 1; k < 40; k += 7)
        COMPARE(check_halves("wino_weights", 36 * kern_gemm_b_bf16s(k), 0.008f, 1e-6f),
                t->wino_weights_bf16(&(kern_wino_taps){.g = ah,
                                                       .g_tap = kern_gemm_b_bf16s(k) + 64,
                                                       .u = half,
                                                       .u_pos = kern_gemm_b_bf16s(k),
                                                       .n = kern_gemm_b_bf16s(k)}));
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
        COMPARE(check("wino_out", n, 2e-5f), (j.out = out, t->wino_out_bf16(&j)));
    }
}

/* The three transforms and products together are a convolution, to what eight bits leave. */
static void test_winograd_is_convolution(void **state) {
    (void)state;
    enum { C = 64, COLS = KERN_GEMM_COLS };
    fill(a, 36 * C, 1);
    fill(b, COLS * 9 * C, 0.1f); /* [column][tap][C] */
    for (int level = KERN_LEVEL_REF; level < KERN_LEVEL_COUNT; level++) {
        if (!kern_level_usable((kern_level)level)) continue;
        const kern_gemm *t = kern_gemm_get((kern_level)level);
        static uint16_t v[36 * C], g[9 * C * COLS], u[36 * C * COLS];
        static float m[36 * COLS], out[16 * COLS];
        t->wino_in_bf16(&(kern_wino_in){.x = a,
                                        .stride_x = C,
                                        .stride_y = 6 * C,
                                        .nx = 6,
                                        .ny = 6,
                                        .channels = C,
                                        .v = v,
                                        .v_pos = C,
                                        .v_block = 32});
        for (int tap = 0; tap < 9; tap++)
            t->pack_cols_bf16(g + tap * C * COLS,
                              &(kern_gemm_cols){b + tap * C, 9 * C * 4, DTYPE_F32, COLS, C});
        t->wino_weights_bf16(&(kern_wino_taps){g, C * COLS, u, C * COLS, C * COLS});
        for (int p = 0; p < KERN_WINO; p++)
            t->mul_bf16(&(kern_gemm_tile){.a = v + p * C,
                                          .b = u + p * C * COLS,
                                          .k = C,
                                          .rows = 1,
                                          .cols = COLS,
                                          .out = m + p * COLS,
                                          .out_stride = COLS,
                                          .out_half = KERN_GEMM_BLOCK});
        t->wino_out_bf16(&(kern_wino_out){.m = m,
                                          .m_pos = COLS,
                                          .cols = COLS,
                                          .nx = 4,
                                          .ny = 4,
                                          .out = out,
                                          .out_x = COLS,
                                          .out_y = 4 * COLS});
        double error = 0, all = 0;
        for (int i = 0; i < 16 * COLS; i++) {
            int col = i % COLS, x = i / COLS % 4, y = i / COLS / 4;
            double sum = 0;
            for (int k = 0; k < 9 * C; k++) {
                int tap = k / C, ch = k % C;
                sum += (double)a[((y + tap / 3) * 6 + x + tap % 3) * C + ch] *
                       (double)b[(col * 9 + tap) * C + ch];
            }
            error += (sum - (double)out[i]) * (sum - (double)out[i]);
            all += sum * sum;
        }
        assert_true(sqrt(error / all) < 0.02);
    }
}

static void test_soft(void **state) {
    (void)state;
    fill(a, BIG, 3);
    for (int32_t rows = 1; rows <= KERN_GEMM_ROWS_MAX; rows++)
        for (int64_t k = 1; k < 110; k += 5) {
            int64_t n = kern_gemm_a_bf16s(rows, k);
            COMPARE(
                {
                    check_halves("soft", n, 0.008f, 0);
                    check("soft's state", 3 * rows, 1e-4f);
                },
                {
                    kern_soft_state st[KERN_GEMM_ROWS_MAX];
                    float corr[KERN_GEMM_ROWS_MAX];
                    static float s[KERN_GEMM_ROWS_MAX * 112];
                    for (int i = 0; i < rows; i++)
                        st[i] = (kern_soft_state){i % 3 ? (float)i - 2 : -INFINITY, i % 3 ? 2 : 0};
                    memcpy(s, a, (size_t)kern_gemm_a_floats(rows, k) * sizeof *s);
                    if (k > 20) s[3] = -INFINITY;
                    t->soft_bf16(half, s, rows, k, st, corr);
                    for (int i = 0; i < rows; i++) {
                        out[3 * i] = st[i].max;
                        out[3 * i + 1] = st[i].sum;
                        out[3 * i + 2] = corr[i];
                    }
                });
        }
    COMPARE(
        {
            check_halves("soft of nothing", 32, 0, 0);
            check("soft of nothing", 2, 0);
        },
        {
            kern_soft_state st = {-INFINITY, 0};
            static float s[32];
            for (int i = 0; i < 32; i++) s[i] = -INFINITY;
            t->soft_bf16(half, s, 1, 20, &st, out);
            out[1] = st.sum;
        });
    COMPARE(assert_true(isnan(got[0]) && isnan(bf16_to_f32(got_h[3]))), {
        kern_soft_state st = {-INFINITY, 0};
        static float s[32];
        float corr;
        for (int i = 0; i < 32; i++) s[i] = i == 3 ? NAN : 1;
        t->soft_bf16(half, s, 1, 32, &st, &corr);
        out[0] = st.sum;
    });
}

int main(void) {
    rng_init(&r, 5);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mul),
        cmocka_unit_test(test_mul_in_place),
        cmocka_unit_test(test_mul_is_a_product),
        cmocka_unit_test(test_pack),
        cmocka_unit_test(test_round_and_norm),
        cmocka_unit_test(test_winograd),
        cmocka_unit_test(test_soft),
        cmocka_unit_test(test_winograd_is_convolution),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
