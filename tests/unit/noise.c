/* The torch-compatible generator, starting noise and the Brownian path, against values of torch,
 * numpy and torchsde (reference vectors; tests/golden/samplers.py prints the additional ones). */
#include "diffusion/noise.h"
#include "base/mem.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void near(double got, double want, double tol) {
    if (!(fabs(got - want) <= tol)) fail_msg("got %.9g, want %.9g", got, want);
}

static void check_ends(uint64_t seed, size_t n, const double want[8]) {
    CLEANUP(mem_free_at) float *x = mem_calloc(n, sizeof *x);
    noise_rng r;
    noise_rng_seed(&r, seed);
    noise_rng_normal(&r, x, n);
    for (int i = 0; i < 4; i++) {
        near((double)x[i], want[i], 2e-6);
        near((double)x[n - 4 + (size_t)i], want[4 + i], 2e-6);
    }
}

static void test_normal_long(void **state) {
    (void)state;
    static const double s0[8] = {-1.125840, -1.152360, -0.250579, -0.433879,
                                 -1.040714, 0.090784,  -1.366470, -1.078208};
    static const double s42[8] = {1.926915,  1.487284,  0.900717, -2.105521,
                                  -0.811144, -0.635750, 0.972810, -0.293406};
    static const double big[8] = {1.926915,  1.487284, 0.900717,  -2.105521,
                                  -1.301058, 0.608102, -1.762246, -2.329417};
    static const double other[8] = {0.264255, -0.414899, -0.607514, 0.731929,
                                    0.347703, 0.385531,  -0.174787, -0.406857};
    check_ends(0, 4 * 64 * 64, s0);
    check_ends(42, 4 * 64 * 64, s42);
    check_ends((UINT64_C(1) << 32) + 42, 4 * 64 * 64, s42);
    check_ends(42, 16 * 128 * 128, big);
    check_ends(123456789, 4 * 128 * 128, other);
}

static void test_normal_short_and_ragged(void **state) {
    (void)state;
    static const double want[6] = {0.336690, 0.128809, 0.234462, 0.230333, -1.122856, -0.186328};
    noise_rng r;
    float x[19];
    noise_rng_seed(&r, 42);
    noise_rng_normal(&r, x, 6);
    for (int i = 0; i < 6; i++) near((double)x[i], want[i], 1e-6);
    /* An odd short draw leaves the sine half for the next call, one value at a time or not. */
    noise_rng_seed(&r, 42);
    noise_rng_normal(&r, x, 3);
    noise_rng_normal(&r, x + 3, 3);
    for (int i = 0; i < 6; i++) near((double)x[i], want[i], 1e-6);
    /* torch.manual_seed(42); randn(19) */
    static const double ragged[19] = {1.926915,  1.487284,  0.900717,  0.439589, -0.758131,
                                      1.078318,  0.800801,  1.680621,  0.355860, -0.686623,
                                      -0.493356, 1.334738,  -0.231624, 0.041759, -0.251575,
                                      0.859859,  -0.309727, -0.395710, 0.803409};
    noise_rng_seed(&r, 42);
    noise_rng_normal(&r, x, 19);
    for (int i = 0; i < 19; i++) near((double)x[i], ragged[i], 2e-6);
    /* torch.manual_seed(5); randn(3), randn(16), randn(2), rand(2): the cached half waits. */
    static const double mixed[7] = {-0.486781, -0.603822, -0.558096, 0.667524,
                                    0.222459,  0.263881,  0.390596};
    float y[23];
    noise_rng_seed(&r, 5);
    noise_rng_normal(&r, y, 3);
    noise_rng_normal(&r, x, 16);
    noise_rng_normal(&r, y + 3, 2);
    noise_rng_uniform(&r, y + 5, 2);
    for (int i = 0; i < 7; i++) near((double)y[i], mixed[i], 2e-6);
}

static void test_start_rows(void **state) {
    (void)state;
    enum { ROW = 20 };
    float all[3 * ROW], part[3 * ROW];
    err e;
    noise_rng r;
    noise_rng_seed(&r, 9);
    for (int i = 0; i < 3; i++) noise_rng_normal(&r, all + i * ROW, ROW);
    static const int32_t index[3] = {2, 0, 2};
    noise_batch shape = {.n_batch = 3, .row_floats = ROW, .index = index};
    assert_int_equal(noise_start(9, &shape, part, &e), ERR_OK);
    assert_memory_equal(part, all + 2 * ROW, ROW * sizeof *part);
    assert_memory_equal(part + ROW, all, ROW * sizeof *part);
    assert_memory_equal(part + 2 * ROW, all + 2 * ROW, ROW * sizeof *part);
    /* Without indices the batch is one draw, whose second row is another one: 40 is not a
     * multiple of 16, so row 0 of the whole is not the row drawn alone. */
    shape = (noise_batch){.n_batch = 2, .row_floats = ROW, .index = NULL};
    assert_int_equal(noise_start(9, &shape, part, &e), ERR_OK);
    float whole[2 * ROW];
    noise_rng_seed(&r, 9);
    noise_rng_normal(&r, whole, 2 * ROW);
    assert_memory_equal(part, whole, sizeof whole);
    assert_memory_not_equal(part, all, ROW * sizeof *part);
}

static void test_start_bad_index(void **state) {
    (void)state;
    float x[4];
    err e;
    static const int32_t bad[2] = {-1, NOISE_INDEX_MAX};
    for (int i = 0; i < 2; i++) {
        noise_batch shape = {.n_batch = 1, .row_floats = 4, .index = bad + i};
        assert_int_equal(noise_start(1, &shape, x, &e), ERR_INVALID);
    }
}

static void test_seed_words(void **state) {
    (void)state;
    static const uint32_t plain[4] = {387750627u, 2536650517u, 4078839648u, 2023786165u};
    static const uint32_t spawned[4] = {2358011247u, 1324446858u, 2503364079u, 1805454880u};
    static const uint32_t key[2] = {0, 1};
    uint32_t got[4];
    noise_seed_words(42, NULL, 0, got, 4);
    assert_memory_equal(got, plain, sizeof plain);
    noise_seed_words(42, key, 2, got, 4);
    assert_memory_equal(got, spawned, sizeof spawned);
}

static noise_brownian *path(arena *a, uint64_t seed, double lo, double hi, size_t n) {
    noise_brownian *b = NULL;
    err e;
    assert_int_equal(noise_brownian_create(a, seed, (double[]){lo, hi}, n, &b, &e), ERR_OK);
    return b;
}

static void test_brownian_vectors(void **state) {
    (void)state;
    static const double w12[3] = {-0.244098, 0.027676, -0.899053};
    static const double w0573[3] = {-3.393065, 0.285523, -3.093174};
    arena *a = arena_create(0);
    noise_brownian *b = path(a, 42, 0.029167, 14.614641, 6);
    float w[6], back[6];
    noise_brownian_increment(b, 1, 2, w);
    for (int i = 0; i < 3; i++) near((double)w[i], w12[i], 2e-6);
    noise_brownian_increment(b, 0.5, 7.3, w);
    for (int i = 0; i < 3; i++) near((double)w[i], w0573[i], 2e-6);
    noise_brownian_increment(b, 7.3, 0.5, back);
    for (int i = 0; i < 6; i++) assert_true(back[i] == -w[i]);
    noise_brownian_unit(b, 7.3, 0.5, back);
    for (int i = 0; i < 3; i++) near((double)back[i], -w0573[i] / sqrt(6.8), 2e-6);
    arena_destroy(&a);
}

/* torchsde.BrownianTree(t0=0.0291672, t1=14.614642, w0=zeros(1, 20), entropy=2**40 + 7)(ta, tb) */
static void test_brownian_torchsde(void **state) {
    (void)state;
    static const double at[][2] = {{0.0291672, 14.614642}, {0.1, 0.100001}, {3.141592, 9.87654321}};
    static const double want[][4] = {{1.651879, -0.485078, 3.253300, 5.216895},
                                     {0.001794, -0.001291, -0.001494, -0.001678},
                                     {2.679011, -1.944794, -0.570798, 5.220145}};
    arena *a = arena_create(0);
    noise_brownian *b = path(a, (UINT64_C(1) << 40) + 7, 0.0291672, 14.614642, 20);
    for (size_t q = 0; q < COUNT_OF(at); q++) {
        float w[20];
        noise_brownian_increment(b, at[q][0], at[q][1], w);
        for (int i = 0; i < 4; i++) near((double)w[i ? 15 + i : 0], want[q][i], 3e-6);
    }
    arena_destroy(&a);
}

/* Increments add up over any partition, ends are clamped, and the scaled increments have
 * deviation 1. */
static void test_brownian_properties(void **state) {
    (void)state;
    enum { N = 4096 };
    arena *a = arena_create(0);
    noise_brownian *b = path(a, 3, 0.03, 14.6, N);
    float *w = ARENA_ARRAY(a, float, N), *v = ARENA_ARRAY(a, float, N);
    noise_brownian_increment(b, 0.4, 9, w);
    static const double cut[] = {0.4, 0.400001, 1, 2.718281828, 8.5, 9};
    float *sum = ARENA_ARRAY(a, float, N);
    for (size_t i = 0; i + 1 < COUNT_OF(cut); i++) {
        noise_brownian_increment(b, cut[i], cut[i + 1], v);
        for (int j = 0; j < N; j++) sum[j] += v[j];
    }
    for (int j = 0; j < N; j++) near((double)sum[j], (double)w[j], 2e-5);
    noise_brownian_increment(b, -5, 99, w);
    noise_brownian_increment(b, 0.03, 14.6, v);
    assert_memory_equal(w, v, N * sizeof *w);
    noise_brownian_increment(b, 2, 2, w);
    for (int j = 0; j < N; j++) assert_true(w[j] == 0);
    noise_brownian_unit(b, 0.7, 0.1, w);
    double mean = 0, square = 0;
    for (int j = 0; j < N; j++) {
        mean += (double)w[j] / N;
        square += (double)w[j] * (double)w[j] / N;
    }
    near(mean, 0, 0.06);
    near(square, 1, 0.09);
    arena_destroy(&a);
}

static void test_brownian_bad_range(void **state) {
    (void)state;
    static const double bad[][2] = {{1, 1},    {2, 1},           {-1, 1},
                                    {0, 1e10}, {0, (double)NAN}, {0, 1e-9}};
    arena *a = arena_create(0);
    noise_brownian *b = NULL;
    err e;
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        assert_int_equal(noise_brownian_create(a, 1, bad[i], 4, &b, &e), ERR_INVALID);
    assert_null(b);
    arena_destroy(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_normal_long),       cmocka_unit_test(test_normal_short_and_ragged),
        cmocka_unit_test(test_start_rows),        cmocka_unit_test(test_start_bad_index),
        cmocka_unit_test(test_seed_words),        cmocka_unit_test(test_brownian_vectors),
        cmocka_unit_test(test_brownian_torchsde), cmocka_unit_test(test_brownian_properties),
        cmocka_unit_test(test_brownian_bad_range)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
