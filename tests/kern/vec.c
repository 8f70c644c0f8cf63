/* Every float kernel at every level that this machine can run, against the reference: random rows
 * of many lengths, edge values, in place, and guards behind each output. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rng.h"
#include "kern/dtype.h"
#include "kern/kern_vec.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX = 700, GUARD = 16, BIG = MAX * 4 };
#define GUARD_VALUE 4321.0f

static rng r;
static float a[BIG], b[BIG], c[BIG], want[BIG + GUARD], got[BIG + GUARD];
static const int64_t LENGTHS[] = {0, 1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 64, 100, 576, 699};
enum { N_LENGTHS = sizeof LENGTHS / sizeof *LENGTHS };

static void fill(float *x, float scale) {
    for (int i = 0; i < BIG; i++) x[i] = rng_normal(&r) * scale;
}

static void guard(float *x, int64_t n) {
    for (int64_t i = n; i < n + GUARD; i++) x[i] = GUARD_VALUE;
}

/* Each element within `rel` of its own size plus `abs`; the guards whole. */
static void check(const char *what, int64_t n, float rel, float abs_limit) {
    for (int64_t i = 0; i < n; i++) {
        float limit = rel * fabsf(want[i]) + abs_limit;
        if (isnan(want[i]) && isnan(got[i])) continue;
        if (!(fabsf(got[i] - want[i]) <= limit))
            fail_msg("%s of %d: [%d] is %g, not %g", what, (int)n, (int)i, (double)got[i],
                     (double)want[i]);
    }
    for (int64_t i = n; i < n + GUARD; i++) assert_true(got[i] == GUARD_VALUE);
}

#define FOR_LEVELS(k)                                                                              \
    for (int level_ = KERN_LEVEL_REF; level_ < KERN_LEVEL_COUNT; level_++)                         \
        for (const kern_vec *k =                                                                   \
                 kern_level_usable((kern_level)level_) ? kern_vec_get((kern_level)level_) : NULL;  \
             k; k = NULL)

/* Runs a kernel at the reference and at each level; `out` is want or got. */
#define COMPARE(what, n, rel, abs_limit, call)                                                     \
    FOR_LEVELS(k) {                                                                                \
        const kern_vec *t = kern_vec_get(KERN_LEVEL_REF);                                          \
        float *out = want;                                                                         \
        call;                                                                                      \
        t = k;                                                                                     \
        out = got;                                                                                 \
        guard(got, n);                                                                             \
        call;                                                                                      \
        check(what, n, rel, abs_limit);                                                            \
    }

static void test_norms(void **state) {
    (void)state;
    for (int i = 1; i < N_LENGTHS; i++) {
        int64_t n = LENGTHS[i];
        fill(a, 3);
        fill(b, 1);
        fill(c, 1);
        COMPARE("rms_norm", n, 1e-5f, 1e-6f, t->rms_norm(out, a, b, n, 1e-5f));
        COMPARE("rms_norm plain", n, 1e-5f, 1e-6f, t->rms_norm(out, a, NULL, n, 1e-5f));
        COMPARE("layer_norm", n, 1e-5f, 3e-6f, t->layer_norm(out, a, b, c, n, 1e-5f));
        COMPARE("layer_norm plain", n, 1e-5f, 3e-6f, t->layer_norm(out, a, NULL, NULL, n, 1e-5f));
        COMPARE("l2_norm", n, 1e-5f, 1e-7f, t->l2_norm(out, a, n));
        COMPARE("softmax", n, 1e-5f, 1e-9f, t->softmax(out, a, n));
        memset(a, 0, sizeof a);
        COMPARE("l2_norm of zeros", n, 0, 0, t->l2_norm(out, a, n));
    }
}

static void test_elementwise(void **state) {
    (void)state;
    for (int i = 0; i < N_LENGTHS; i++) {
        int64_t n = LENGTHS[i];
        fill(a, 3);
        fill(b, 2);
        COMPARE("add", n, 0, 0, t->add(out, a, b, n));
        COMPARE("mul", n, 0, 0, t->mul(out, a, b, n));
        COMPARE("scale", n, 0, 0, t->scale(out, a, n, 0.3f, 0.7f));
        COMPARE("softcap", n, 2e-6f, 1e-6f, t->softcap(out, a, n, 5.0f));
        COMPARE("add in place", n, 0, 0, {
            memcpy(out, b, sizeof *b * (size_t)n);
            t->add(out, out, a, n);
        });
        COMPARE("add_scaled", n, 1e-6f, 1e-6f, {
            memcpy(out, b, sizeof *b * (size_t)n);
            t->add_scaled(out, a, 0.37f, n);
        });
    }
}

static void test_activations(void **state) {
    (void)state;
    for (int act = 0; act < KERN_ACT_COUNT; act++) {
        char what[32];
        snprintf(what, sizeof what, "act %d", act);
        fill(a, 4);
        fill(b, 1);
        COMPARE(what, MAX, 3e-6f, 1e-6f, t->act(out, a, MAX, (kern_act)act));
        COMPARE(what, MAX, 3e-6f, 4e-6f, t->glu(out, a, b, MAX, (kern_act)act));
        COMPARE(what, 9, 3e-6f, 1e-6f, {
            memcpy(out, a, 9 * sizeof *a);
            t->act(out, out, 9, (kern_act)act);
        });
        static const float edge[] = {0.0f, -0.0f, 1e-30f, -1e-30f, 60.0f, -60.0f, 200.0f, -200.0f};
        memcpy(a, edge, sizeof edge);
        COMPARE(what, 8, 3e-6f, 1e-6f, t->act(out, a, 8, (kern_act)act));
    }
}

static void test_rope(void **state) {
    (void)state;
    static const int64_t shapes[][2] = {{2, 2}, {16, 16}, {32, 80}, {64, 64}, {40, 40}, {128, 256}};
    for (int i = 0; i < 6; i++) {
        int64_t rot = shapes[i][0], n = shapes[i][1];
        fill(a, 1);
        for (int64_t k = 0; k < rot / 2; k++) {
            b[k] = cosf((float)k);
            b[rot / 2 + k] = sinf((float)k);
        }
        COMPARE("rope_norm", n, 1e-6f, 1e-6f, t->rope_norm(out, a, b, rot, n));
        COMPARE("rope_neox", n, 1e-6f, 1e-6f, t->rope_neox(out, a, b, rot, n));
        COMPARE("rope_norm in place", n, 1e-6f, 1e-6f, {
            memcpy(out, a, sizeof *a * (size_t)n);
            t->rope_norm(out, out, b, rot, n);
        });
        COMPARE("rope_neox in place", n, 1e-6f, 1e-6f, {
            memcpy(out, a, sizeof *a * (size_t)n);
            t->rope_neox(out, out, b, rot, n);
        });
    }
}

static void test_f16(void **state) {
    (void)state;
    static uint16_t h[2][MAX + GUARD];
    fill(a, 10);
    a[3] = 1e9f;
    a[4] = 1e-7f;
    a[5] = -INFINITY;
    FOR_LEVELS(k)
    for (int i = 0; i < N_LENGTHS; i++) {
        memset(h, 0x55, sizeof h);
        kern_vec_get(KERN_LEVEL_REF)->f32_to_f16(h[0], a, LENGTHS[i]);
        k->f32_to_f16(h[1], a, LENGTHS[i]);
        assert_memory_equal(h[0], h[1], sizeof h[0]);
    }
}

enum { KEYS = KERN_ATTN_KEYS, ROWS = 21, DIM_MAX = 128 };

static void test_attention_blocks(void **state) {
    (void)state;
    static const int64_t dims[] = {8, 64, 80, 128};
    static uint16_t kt[DIM_MAX * KEYS];
    for (int i = 0; i < 4; i++)
        for (int64_t n = 1; n <= ROWS; n += n < 4 ? 1 : 17) {
            int64_t dim = dims[i];
            fill(a, 1);
            fill(b, 1);
            for (int64_t j = 0; j < dim * KEYS; j++) kt[j] = f32_to_f16(rng_normal(&r));
            COMPARE("attn_qk", n * KEYS, 1e-5f, 2e-5f, t->attn_qk(out, a, kt, n, dim));
            for (int64_t j = 0; j < n; j++) c[j] = fabsf(rng_normal(&r));
            COMPARE("attn_pv", n * dim, 1e-5f, 2e-5f, {
                memcpy(out, a, sizeof *a * (size_t)(n * dim));
                t->attn_pv(out, b, c, kt, n, dim, 3, 30);
            });
            /* a row's bits do not depend on the rows beside it */
            FOR_LEVELS(k) {
                k->attn_qk(got, a, kt, n, dim);
                k->attn_qk(want, a + (n - 1) * dim, kt, 1, dim);
                assert_memory_equal(got + (n - 1) * KEYS, want, KEYS * sizeof *want);
            }
        }
}

static void test_attn_soft(void **state) {
    (void)state;
    static const int32_t spans[][2] = {{0, 32}, {0, 1}, {31, 32}, {5, 20}, {0, 0}, {32, 32}};
    for (int i = 0; i < 12; i++) {
        fill(a, 20);
        float maxima[] = {-INFINITY, 3.0f};
        kern_attn_mask mask = {spans[i / 2][0], spans[i / 2][1], i % 3 ? 0.0f : 30.0f};
        kern_attn_state st[2];
        float corr[2];
        FOR_LEVELS(k)
        for (int m = 0; m < 2; m++) {
            for (int w = 0; w < 2; w++) {
                float *s = w ? got : want;
                memcpy(s, a, KEYS * sizeof *s);
                guard(s, KEYS);
                st[w] = (kern_attn_state){maxima[m], m ? 2.0f : 0.0f};
                corr[w] = (w ? k : kern_vec_get(KERN_LEVEL_REF))->attn_soft(s, &st[w], &mask);
            }
            check("attn_soft", KEYS, 1e-5f, 1e-12f);
            assert_true(fabsf(corr[0] - corr[1]) <= 1e-6f);
            assert_true(st[0].max == st[1].max || fabsf(st[0].max - st[1].max) < 1e-4f);
            assert_true(fabsf(st[0].sum - st[1].sum) <= 1e-4f * st[0].sum);
            for (int j = 0; j < KEYS; j++)
                if (j < mask.from || j >= mask.to) assert_true(got[j] == 0.0f);
        }
    }
}

static int seed(void **state) {
    (void)state;
    rng_init(&r, 99);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_norms, seed),
        cmocka_unit_test_setup(test_elementwise, seed),
        cmocka_unit_test_setup(test_activations, seed),
        cmocka_unit_test_setup(test_rope, seed),
        cmocka_unit_test_setup(test_f16, seed),
        cmocka_unit_test_setup(test_attention_blocks, seed),
        cmocka_unit_test_setup(test_attn_soft, seed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
