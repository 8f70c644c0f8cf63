/* Every sampler's values on a small, bent, linear-in-the-middle denoiser against tests/golden,
 * whose script holds independent float64 forms of the formulas and k-diffusion's results. */
#include "base/mem.h"
#include "diffusion/noise.h"
#include "diffusion/sampler.h"
#include "golden/samplers.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { N = 20, N_SIGMAS = 7 };

static double estimate(double x, double s, double gamma, double mean) {
    double v = gamma * gamma;
    return (mean * s * s + v * x) / (v + s * s) + 0.05 * tanh(x / (1 + s));
}

static err_code bent(void *ctx, const float *x, double sigma, float *D, float *U, err *e) {
    (void)ctx, (void)e;
    for (int i = 0; i < N; i++) {
        double gamma = 0.3 + 0.9 * i / (N - 1);
        D[i] = (float)estimate((double)x[i], sigma, gamma, 0.4);
        if (U != NULL) U[i] = (float)estimate((double)x[i], sigma, gamma, -0.3);
    }
    return ERR_OK;
}

/* The peer works in float32 throughout, and its Brownian path sees times rounded to 1e-6. */
static const double peer_tol = 2e-4, own_tol = 2e-5;

static void check(const samplers_row *rows, size_t n_rows, float *sigma, sigmas_kind kind) {
    double tol = rows == rows_peer ? peer_tol : own_tol;
    static const int pick[5] = {0, 1, 7, 13, 19};
    arena *a = arena_create(0);
    const sigmas_model *m = NULL;
    err e;
    int bad = 0;
    assert_int_equal(sigmas_model_create(a, &(sigmas_params){.kind = kind}, &m, &e), ERR_OK);
    for (size_t k = 0; k < n_rows; k++) {
        float x[N];
        for (int i = 0; i < N; i++) x[i] = (float)(sin(i * 1.7 + 0.5) * (double)sigma[0]);
        sampler_job job = {
            .model = m, .schedule = {N_SIGMAS, sigma}, .n = N, .x = x, .seed = 11, .denoise = bent};
        assert_int_equal(sampler_run(a, rows[k].name, &job, &e), ERR_OK);
        for (int i = 0; i < 5; i++) {
            double got = (double)x[pick[i]], want = rows[k].want[i];
            if (fabs(got - want) <= tol * (1 + fabs(want))) continue;
            print_error("%s [%d]: got %.6f, want %.6f\n", rows[k].name, pick[i], got, want);
            bad++;
        }
    }
    arena_destroy(&a);
    assert_int_equal(bad, 0);
}

static float eps[N_SIGMAS] = {14.6f, 7.1f, 3.2f, 1.4f, 0.6f, 0.2f, 0};
static float eps_open[N_SIGMAS] = {14.6f, 7.1f, 3.2f, 1.4f, 0.6f, 0.2f, 0.05f};
static float flow[N_SIGMAS] = {1, 0.93f, 0.8f, 0.6f, 0.35f, 0.12f, 0};

static void test_peer(void **state) {
    (void)state;
    check(rows_peer, COUNT_OF(rows_peer), eps, SIGMAS_EPS);
}

static void test_eps(void **state) {
    (void)state;
    check(rows_eps, COUNT_OF(rows_eps), eps, SIGMAS_EPS);
}

static void test_open_end(void **state) {
    (void)state;
    check(rows_open, COUNT_OF(rows_open), eps_open, SIGMAS_EPS);
}

static void test_flow(void **state) {
    (void)state;
    check(rows_flow, COUNT_OF(rows_flow), flow, SIGMAS_FLOW);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_peer), cmocka_unit_test(test_eps),
                                       cmocka_unit_test(test_open_end),
                                       cmocka_unit_test(test_flow)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
