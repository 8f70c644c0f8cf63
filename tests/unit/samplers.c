/* Samplers on Gaussian data, whose exact denoiser and paths are known: order of convergence of the
 * deterministic ones, variance kept by the stochastic ones, seeds, cancelling, refusals. Values of
 * single samplers are in samplers_values.c. */
#include "base/mem.h"
#include "diffusion/noise.h"
#include "diffusion/sampler.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { N = 4096 };

typedef struct world {
    const sigmas_model *model;
    double var; /* of the data */
    int calls, uncond_calls;
    int stop_at; /* cancel at this step, < 0 never */
    int steps_seen, n_steps;
} world;

static arena *mem;
static float x_buf[N];

static int setup(void **state) {
    (void)state;
    mem = arena_create(0);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    arena_destroy(&mem);
    return 0;
}

static const sigmas_model *model(sigmas_kind kind) {
    const sigmas_model *m = NULL;
    err e;
    sigmas_params p = {.kind = kind};
    assert_int_equal(sigmas_model_create(mem, &p, &m, &e), ERR_OK);
    return m;
}

/* Variance of a noised latent. */
static double noised_var(const world *w, double sigma) {
    double a = w->model->is_flow ? 1 - sigma : 1;
    return a * a * w->var + sigma * sigma;
}

static size_t cur_n;

static err_code gauss(void *ctx, const float *x, double sigma, float *D, float *U, err *e) {
    (void)e;
    world *w = ctx;
    double a = w->model->is_flow ? 1 - sigma : 1, k = a * w->var / noised_var(w, sigma);
    assert_true(sigma > 0 && isfinite(sigma));
    w->calls++;
    if (U != NULL) w->uncond_calls++;
    for (size_t i = 0; i < cur_n; i++) D[i] = (float)(k * (double)x[i]);
    if (U != NULL) memcpy(U, D, cur_n * sizeof *U);
    return ERR_OK;
}

static err_code watch(void *ctx, int32_t step, int32_t n_steps, const float *x0, err *e) {
    world *w = ctx;
    assert_int_equal(step, w->steps_seen);
    assert_true(step < n_steps && x0 != NULL);
    w->steps_seen++;
    w->n_steps = n_steps;
    if (step == w->stop_at) FAIL(e, CANCELLED, "stopped at step %d", (int)step);
    return ERR_OK;
}

/* Geometric schedule of n steps from hi to lo, not to 0. */
static sigmas_schedule geometric(size_t n, double hi, double lo) {
    sigmas_schedule s = {n + 1, ARENA_ARRAY(mem, float, n + 1)};
    for (size_t i = 0; i <= n; i++) s.sigma[i] = (float)(hi * pow(lo / hi, (double)i / (double)n));
    return s;
}

static err_code run(world *w, const char *name, sigmas_schedule s, size_t n, uint64_t seed,
                    err *e) {
    arena *scratch = arena_create(0);
    cur_n = n;
    sampler_job job = {.model = w->model,
                       .schedule = s,
                       .n = n,
                       .x = x_buf,
                       .seed = seed,
                       .ctx = w,
                       .denoise = gauss,
                       .progress = watch};
    err_code rc = sampler_run(scratch, name, &job, e);
    arena_destroy(&scratch);
    return rc;
}

/* Relative error at the end of the deterministic path from hi to lo. */
static double path_error(const char *name, size_t n_steps) {
    world w = {.model = model(SIGMAS_EPS), .var = 0.49, .stop_at = -1};
    err e;
    x_buf[0] = 1;
    /* Bounded above by float32 rounding: a moderate range of sigmas and few steps. */
    assert_int_equal(run(&w, name, geometric(n_steps, 4, 0.2), 1, 1, &e), ERR_OK);
    double want = sqrt(noised_var(&w, (double)(float)0.2) / noised_var(&w, 4));
    return fabs((double)x_buf[0] / want - 1);
}

static void test_orders(void **state) {
    (void)state;
    /* Orders with uncond = cond, where the cfg_pp forms are the plain ones. */
    static const struct {
        const char *name;
        double order;
        size_t n_steps;
    } rows[] = {
        {"euler", 1, 40},         {"ddim", 1, 40},
        {"euler_cfg_pp", 1, 40},  {"heun", 2, 20},
        {"dpm_2", 2, 20},         {"lms", 3, 20},
        {"ipndm_v", 1, 20},       {"deis", 2, 20},
        {"dpmpp_2m", 2, 20},      {"dpmpp_2m_cfg_pp", 2, 20},
        {"res_multistep", 2, 20}, {"res_multistep_cfg_pp", 2, 20},
        {"exp_heun_2_x0", 2, 20}, {"uni_pc", 2, 12},
        {"uni_pc_bh2", 2, 12},    {"dpm_fast", 2, 18},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        double e1 = path_error(rows[i].name, rows[i].n_steps);
        double e2 = path_error(rows[i].name, 2 * rows[i].n_steps), got = log2(e1 / e2);
        if (!(got > rows[i].order - 0.35 && e2 < 0.1))
            fail_msg("%s: order %.2f, want %.2f (errors %g, %g)", rows[i].name, got, rows[i].order,
                     e1, e2);
    }
    /* Constant-step weights and the look-ahead forms are of order 1 on other steps, but close. */
    assert_true(path_error("ipndm", 40) < 0.02 && path_error("heunpp2", 40) < 0.05);
    assert_true(path_error("dpm_adaptive", 1) < 0.01);
    assert_true(path_error("gradient_estimation", 40) < 0.05);
}

/* Stochastic samplers keep the variance that the data and sigma give. */
static void check_variance(sigmas_kind kind, const char *name, double hi, double lo) {
    world w = {.model = model(kind), .var = 0.49, .stop_at = -1};
    err e;
    noise_rng r;
    noise_rng_seed(&r, 77);
    noise_rng_normal(&r, x_buf, N);
    double scale = sqrt(noised_var(&w, hi)), sum = 0, mean = 0;
    for (int i = 0; i < N; i++) x_buf[i] = (float)(scale * (double)x_buf[i]);
    assert_int_equal(run(&w, name, geometric(80, hi, lo), N, 5, &e), ERR_OK);
    for (int i = 0; i < N; i++) {
        sum += (double)x_buf[i] * (double)x_buf[i] / N;
        mean += (double)x_buf[i] / N;
    }
    double want = noised_var(&w, lo);
    if (!(fabs(sum / want - 1) < 0.12 && fabs(mean) < 0.06))
        fail_msg("%s: variance %g, want %g, mean %g", name, sum, want, mean);
}

static void test_variance(void **state) {
    (void)state;
    static const char *const names[] = {"euler_ancestral",  "dpm_2_ancestral", "dpmpp_2s_ancestral",
                                        "dpmpp_sde",        "dpmpp_2m_sde",    "dpmpp_2m_sde_heun",
                                        "dpmpp_3m_sde",     "er_sde",          "seeds_2",
                                        "seeds_3",          "sa_solver",       "sa_solver_pece",
                                        "exp_heun_2_x0_sde"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        check_variance(SIGMAS_EPS, names[i], 8, 0.1);
        check_variance(SIGMAS_FLOW, names[i], 1, 0.05);
    }
    check_variance(SIGMAS_EPS, "ddpm", 8, 0.1);
    check_variance(SIGMAS_EPS, "res_multistep_ancestral", 8, 0.1);
    check_variance(SIGMAS_EPS, "res_multistep_ancestral_cfg_pp", 8, 0.1);
    check_variance(SIGMAS_EPS, "euler_ancestral_cfg_pp", 8, 0.1);
    check_variance(SIGMAS_FLOW, "euler_ancestral_cfg_pp", 1, 0.05);
    /* dpmpp_2s_ancestral_cfg_pp mixes estimates of two points by its definition and does not keep
     * the variance: only its values are tested. */
}

/* Every sampler, short schedules that end in 0, EPS and flow: finite, reproducible, one report a
 * step, uncond asked for exactly where announced. */
static void test_every_sampler(void **state) {
    (void)state;
    static float first[64];
    for (size_t k = 0; sampler_name(k) != NULL; k++) {
        const char *name = sampler_name(k);
        for (int n_steps = 1; n_steps <= 7; n_steps++) {
            for (int flow = 0; flow < 2; flow++) {
                world w = {
                    .model = model(flow ? SIGMAS_FLOW : SIGMAS_EPS), .var = 1, .stop_at = -1};
                err e;
                for (int again = 0; again < 2; again++) {
                    sigmas_schedule s;
                    assert_int_equal(sigmas_schedule_make(mem, w.model, "simple", n_steps, &s, &e),
                                     ERR_OK);
                    w.steps_seen = 0;
                    noise_start(3, &(noise_batch){1, 64, NULL}, x_buf, &e);
                    assert_int_equal(run(&w, name, s, 64, 11, &e), ERR_OK);
                    for (int i = 0; i < 64; i++)
                        if (!isfinite(x_buf[i]) || fabsf(x_buf[i]) > 30)
                            fail_msg("%s: %d steps, flow %d: %g", name, n_steps, flow,
                                     (double)x_buf[i]);
                    if (again) assert_memory_equal(first, x_buf, sizeof first);
                    memcpy(first, x_buf, sizeof first);
                }
                assert_true(w.steps_seen > 0 && w.steps_seen <= w.n_steps);
                assert_true((w.uncond_calls > 0) == sampler_needs_uncond(name));
            }
        }
    }
}

static void run_six(const char *name, uint64_t seed, float *ret) {
    world w = {.model = model(SIGMAS_EPS), .var = 1, .stop_at = -1};
    err e;
    sigmas_schedule s;
    assert_int_equal(sigmas_schedule_make(mem, w.model, "normal", 6, &s, &e), ERR_OK);
    noise_start(3, &(noise_batch){1, 64, NULL}, x_buf, &e);
    for (int i = 0; i < 64; i++) x_buf[i] *= 14.6f;
    assert_int_equal(run(&w, name, s, 64, seed, &e), ERR_OK);
    memcpy(ret, x_buf, 64 * sizeof *ret);
}

static void test_twins_and_seeds(void **state) {
    (void)state;
    static const char *const twins[][2] = {{"euler", "ddim"},
                                           {"euler_ancestral", "ddpm"},
                                           {"dpmpp_sde", "dpmpp_sde_gpu"},
                                           {"dpmpp_2m_sde", "dpmpp_2m_sde_gpu"},
                                           {"dpmpp_2m_sde_heun", "dpmpp_2m_sde_heun_gpu"},
                                           {"dpmpp_3m_sde", "dpmpp_3m_sde_gpu"},
                                           {"euler", "euler_cfg_pp"},
                                           {"dpmpp_2m", "dpmpp_2m_cfg_pp"},
                                           {"res_multistep", "res_multistep_cfg_pp"},
                                           {"gradient_estimation", "gradient_estimation_cfg_pp"}};
    float a[64], b[64];
    for (size_t k = 0; k < COUNT_OF(twins); k++) {
        run_six(twins[k][0], 1, a);
        run_six(twins[k][1], 1, b);
        for (int i = 0; i < 64; i++)
            if (!(fabsf(a[i] - b[i]) < 2e-5f))
                fail_msg("%s and %s: %g, %g", twins[k][0], twins[k][1], (double)a[i], (double)b[i]);
    }
    static const char *const noisy[] = {"euler_ancestral", "dpmpp_2m_sde", "lcm",
                                        "er_sde",          "seeds_3",      "sa_solver",
                                        "dpm_2_ancestral"};
    for (size_t k = 0; k < COUNT_OF(noisy); k++) {
        run_six(noisy[k], 1, a);
        run_six(noisy[k], 2, b);
        assert_memory_not_equal(a, b, sizeof a);
    }
    run_six("dpmpp_2m", 1, a);
    run_six("dpmpp_2m", 2, b);
    assert_memory_equal(a, b, sizeof a);
}

static void test_cancel(void **state) {
    (void)state;
    for (size_t k = 0; sampler_name(k) != NULL; k++) {
        world w = {.model = model(SIGMAS_EPS), .var = 1, .stop_at = 1};
        err e;
        memset(x_buf, 0, 64 * sizeof *x_buf);
        x_buf[5] = 3;
        assert_int_equal(run(&w, sampler_name(k), geometric(12, 10, 0.1), 64, 1, &e),
                         ERR_CANCELLED);
        assert_int_equal(w.steps_seen, 2);
    }
}

static err_code broken(void *ctx, const float *x, double sigma, float *D, float *U, err *e) {
    (void)ctx, (void)x, (void)D, (void)U;
    FAIL(e, DEVICE, "the device failed at sigma %g", sigma);
}

static void test_refusals(void **state) {
    (void)state;
    world w = {.model = model(SIGMAS_EPS), .var = 1, .stop_at = -1};
    err e;
    assert_int_equal(run(&w, "eulr", geometric(4, 10, 1), 4, 1, &e), ERR_UNSUPPORTED);
    assert_non_null(strstr(e.msg, "eulr"));
    assert_non_null(strstr(e.msg, "uni_pc_bh2"));
    assert_int_equal(run(&w, "cfgpp_ud10_ab", geometric(4, 10, 1), 4, 1, &e), ERR_UNSUPPORTED);
    static float bad[][3] = {{1, 0, 0}, {0, 1, 2}, {-1, -2, -3}, {NAN, 1, 0}, {INFINITY, 1, 0}};
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        assert_int_equal(run(&w, "euler", (sigmas_schedule){3, bad[i]}, 4, 1, &e), ERR_INVALID);
    x_buf[0] = 42;
    assert_int_equal(run(&w, "euler", (sigmas_schedule){0, NULL}, 4, 1, &e), ERR_OK);
    assert_int_equal(run(&w, "euler", (sigmas_schedule){1, bad[0]}, 4, 1, &e), ERR_OK);
    assert_true(x_buf[0] == 42 && w.calls == 0);
    for (size_t k = 0; sampler_name(k) != NULL; k++) {
        arena *scratch = arena_create(0);
        sampler_job job = {.model = w.model,
                           .schedule = geometric(4, 10, 1),
                           .n = 4,
                           .x = x_buf,
                           .denoise = broken};
        assert_int_equal(sampler_run(scratch, sampler_name(k), &job, &e), ERR_DEVICE);
        arena_destroy(&scratch);
    }
    assert_true(sampler_exists("euler") && !sampler_exists("Euler") && !sampler_exists(""));
    assert_true(sampler_discards_penultimate("uni_pc") && !sampler_discards_penultimate("euler"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_orders),        cmocka_unit_test(test_variance),
        cmocka_unit_test(test_every_sampler), cmocka_unit_test(test_twins_and_seeds),
        cmocka_unit_test(test_cancel),        cmocka_unit_test(test_refusals)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
