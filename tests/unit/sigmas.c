/* Model tables and schedules against the reference's vectors, and the job's cuts. */
#include "diffusion/sigmas.h"
#include "base/mem.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static arena *mem;

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

static void near(double got, double want, double tol) {
    if (!(fabs(got - want) <= tol)) fail_msg("got %.9g, want %.9g", got, want);
}

static const sigmas_model *model(sigmas_params p) {
    const sigmas_model *m = NULL;
    err e;
    assert_int_equal(sigmas_model_create(mem, &p, &m, &e), ERR_OK);
    return m;
}

static const sigmas_model *eps(void) {
    return model((sigmas_params){.kind = SIGMAS_EPS});
}

static void check(const sigmas_model *m, const char *name, int n, const double *want) {
    sigmas_schedule s;
    err e;
    assert_int_equal(sigmas_schedule_make(mem, m, name, n, &s, &e), ERR_OK);
    assert_int_equal(s.n_sigmas, n + 1);
    for (int i = 0; i < n; i++) near((double)s.sigma[i], want[i], 3e-6 * (1 + want[i]));
    assert_true(s.sigma[n] == 0);
}

static void test_discrete_table(void **state) {
    (void)state;
    const sigmas_model *m = eps();
    near((double)m->table[0], 0.0291672, 1e-7);
    near((double)m->table[500], 1.6182789, 1e-6);
    near((double)m->table[999], 14.6146412, 1e-5);
    assert_true(sigmas_timestep(m, 14.6146412) == 999);
    assert_true(sigmas_timestep(m, 1e9) == 999);
    assert_true(sigmas_timestep(m, 1e-9) == 0);
    for (int i = 0; i < 1000; i++) {
        assert_true(sigmas_timestep(m, (double)m->table[i]) == i);
        near(sigmas_at(m, i), (double)m->table[i], 3e-6 * (double)m->table[i]);
    }
    near(sigmas_at(m, 10.5), sqrt((double)m->table[10] * (double)m->table[11]), 1e-6);
    assert_true(sigmas_at_percent(m, 0) > 9e8);
    assert_true(sigmas_at_percent(m, 1) == 0);
    near(sigmas_at_percent(m, 0.5), sigmas_at(m, 499.5), 1e-6);
    const sigmas_model *z = model((sigmas_params){.kind = SIGMAS_V, .zsnr = true});
    near((double)z->table[999], 4518.76, 0.01);
    near((double)z->table[998], 2254.24, 0.01);
    const sigmas_model *l = model((sigmas_params){.kind = SIGMAS_LCM});
    assert_int_equal(l->n_table, 50);
    assert_true(l->table[49] == m->table[999] && l->table[0] == m->table[19]);
    assert_true(sigmas_timestep(l, (double)m->table[499]) == 499);
}

static void test_schedules_sd(void **state) {
    (void)state;
    static const struct {
        const char *name;
        double want[10];
    } rows[] = {
        {"simple",
         {14.614641, 8.302803, 5.087763, 3.321083, 2.276463, 1.612886, 1.160578, .829860, .569285,
          .341674}},
        {"normal",
         {14.614640, 7.839883, 4.609174, 2.918307, 1.950161, 1.344928, .932358, .624977, .368658,
          .029167}},
        {"sgm_uniform",
         {14.614640, 8.307171, 5.092408, 3.325069, 2.279731, 1.615580, 1.162865, .831884, .571189,
          .343705}},
        {"karras",
         {14.614643, 9.102929, 5.478392, 3.168605, 1.749418, .914073, .446918, .201398, .081910,
          .029167}},
        {"exponential",
         {14.614640, 7.324869, 3.671230, 1.840024, .922221, .462218, .231664, .116110, .058195,
          .029167}},
        {"ddim_uniform",
         {8.390685, 5.134431, 3.347764, 2.292854, 1.623692, 1.168216, .835653, .574050, .346187,
          .041314}},
        {"kl_optimal",
         {14.614633, 4.232350, 2.393719, 1.597066, 1.132997, .815244, .572914, .372484, .195288,
          .029167}},
        {"linear_quadratic",
         {14.614641, 14.541568, 14.468495, 14.395422, 14.322348, 14.249275, 13.620846, 11.881703,
          9.031848, 5.071280}},
    };
    const sigmas_model *m = eps();
    for (size_t i = 0; i < COUNT_OF(rows); i++) check(m, rows[i].name, 10, rows[i].want);
    static const int at[10] = {999, 959, 876, 765, 637, 500, 362, 234, 123, 40};
    double want[10];
    for (int i = 0; i < 10; i++) want[i] = (double)m->table[at[i]];
    check(m, "beta", 10, want);
}

static void test_schedules_flow(void **state) {
    (void)state;
    static const double flux[4] = {1, .904531, .759511, .512844};
    static const double sd3[10] = {1,   .964286, .923077, .875,    .818182,
                                   .75, .666667, .5625,   .428571, .25};
    static const double z[8] = {1, .954545, .9, .833333, .75, .642857, .5, .3};
    static const double qwen[10] = {1,       .966014, .926647, .880513, .825702,
                                    .759511, .677987, .575103, .441200, .259758};
    const sigmas_model *f = model((sigmas_params){.kind = SIGMAS_FLUX});
    const sigmas_model *s3 = model((sigmas_params){.kind = SIGMAS_FLOW, .shift = 3});
    check(f, "simple", 4, flux);
    check(s3, "simple", 10, sd3);
    check(s3, "simple", 8, z);
    check(f, "simple", 10, qwen);
    near(sigmas_timestep(s3, 0.25), 250, 1e-9);
    near(sigmas_at(s3, 500), 0.75, 1e-9);
    assert_true(sigmas_at_percent(s3, 0) == 1 && sigmas_at_percent(s3, 1) == 0);
    near(sigmas_at_percent(s3, 0.5), 0.75, 1e-9);
    near(sigmas_from_lambda(s3, sigmas_lambda(s3, 0.3)), 0.3, 1e-12);
    near(sigmas_from_lambda(eps(), sigmas_lambda(eps(), 2.5)), 2.5, 1e-12);
}

/* Every scheduler, many sizes: finite, descending, ends in 0. */
static void test_schedules_descend(void **state) {
    (void)state;
    const sigmas_model *ms[] = {eps(),
                                model((sigmas_params){.kind = SIGMAS_FLOW, .shift = 3}),
                                model((sigmas_params){.kind = SIGMAS_FLUX}),
                                model((sigmas_params){.kind = SIGMAS_EDM}),
                                model((sigmas_params){.kind = SIGMAS_V_CONT}),
                                model((sigmas_params){.kind = SIGMAS_V, .zsnr = true}),
                                model((sigmas_params){.kind = SIGMAS_LCM})};
    static const int sizes[] = {1, 2, 3, 7, 20, 49, 333, 1000};
    err e;
    size_t n_names = 0;
    for (; sigmas_scheduler_name(n_names) != NULL; n_names++) {
        for (size_t k = 0; k < COUNT_OF(ms) * COUNT_OF(sizes); k++) {
            const sigmas_model *m = ms[k % COUNT_OF(ms)];
            int n = sizes[k / COUNT_OF(ms)];
            sigmas_schedule s;
            assert_int_equal(
                sigmas_schedule_make(mem, m, sigmas_scheduler_name(n_names), n, &s, &e), ERR_OK);
            assert_true(s.n_sigmas >= 2 && s.sigma[s.n_sigmas - 1] == 0);
            for (size_t i = 0; i + 1 < s.n_sigmas; i++)
                assert_true(isfinite(s.sigma[i]) && s.sigma[i] >= s.sigma[i + 1]);
        }
    }
    assert_int_equal(n_names, 9);
}

static void test_wrap(void **state) {
    (void)state;
    /* For each kind, the exact network output for known data and noise gives the data back. */
    const double x0 = 0.7, noise = -1.3;
    static const double sigmas[] = {0.05, 0.4, 0.9};
    for (size_t i = 0; i < COUNT_OF(sigmas); i++) {
        double s = sigmas[i], x = x0 + s * noise, r = sqrt(1 + s * s);
        sigmas_precond p = sigmas_wrap(eps(), s);
        near(p.skip * x + p.out * noise, x0, 1e-12);
        near(p.in, 1 / r, 1e-12);
        p = sigmas_wrap(model((sigmas_params){.kind = SIGMAS_V}), s);
        near(p.skip * x + p.out * (noise / r - x0 * s / r), x0, 1e-12);
        p = sigmas_wrap(model((sigmas_params){.kind = SIGMAS_V_CONT}), s);
        near(p.skip * x + p.out * (noise / r - x0 * s / r), x0, 1e-12);
        p = sigmas_wrap(model((sigmas_params){.kind = SIGMAS_EDM}), s);
        near(p.skip * x + p.out * (x0 * s / r - noise / r), x0, 1e-12);
        const sigmas_model *f = model((sigmas_params){.kind = SIGMAS_FLOW});
        p = sigmas_wrap(f, s);
        double mix[2], xf;
        sigmas_noising(f, s, true, mix);
        xf = mix[0] * x0 + mix[1] * noise;
        near(p.skip * xf + p.out * (noise - x0), x0, 1e-12);
        near(sigmas_result_scale(f, s) * mix[0], 1, 1e-12);
    }
    double mix[2];
    const sigmas_model *m = eps();
    assert_true(sigmas_starts_at_max(m, 14.61464) && !sigmas_starts_at_max(m, 14.6));
    sigmas_noising(m, 3, true, mix);
    near(mix[1], sqrt(10), 1e-12);
    sigmas_noising(m, 3, false, mix);
    assert_true(mix[0] == 1 && mix[1] == 3);
}

static void test_job_cuts(void **state) {
    (void)state;
    const sigmas_model *m = eps();
    err e;
    sigmas_schedule all, s;
    sigmas_job j = {.scheduler = "karras", .n_steps = 20, .denoise = 1, .last_step = -1};
    assert_int_equal(sigmas_schedule_make(mem, m, "karras", 20, &all, &e), ERR_OK);
    j.n_steps = 10;
    j.denoise = 0.5;
    assert_int_equal(sigmas_job_schedule(mem, m, &j, &s, &e), ERR_OK);
    assert_int_equal(s.n_sigmas, 11);
    assert_memory_equal(s.sigma, all.sigma + 10, 11 * sizeof(float));
    j = (sigmas_job){.scheduler = "karras",
                     .n_steps = 19,
                     .denoise = 1,
                     .last_step = -1,
                     .discard_penultimate = true};
    assert_int_equal(sigmas_job_schedule(mem, m, &j, &s, &e), ERR_OK);
    assert_int_equal(s.n_sigmas, 20);
    assert_memory_equal(s.sigma, all.sigma, 19 * sizeof(float));
    assert_true(s.sigma[19] == 0);
    j = (sigmas_job){
        .scheduler = "karras", .n_steps = 20, .denoise = 1, .start_step = 3, .last_step = 8};
    assert_int_equal(sigmas_job_schedule(mem, m, &j, &s, &e), ERR_OK);
    assert_int_equal(s.n_sigmas, 6);
    assert_memory_equal(s.sigma, all.sigma + 3, 6 * sizeof(float));
    j.force_full_denoise = true;
    assert_int_equal(sigmas_job_schedule(mem, m, &j, &s, &e), ERR_OK);
    assert_true(s.n_sigmas == 6 && s.sigma[5] == 0 && s.sigma[4] == all.sigma[7]);
    j.start_step = 9;
    assert_int_equal(sigmas_job_schedule(mem, m, &j, &s, &e), ERR_OK);
    assert_int_equal(s.n_sigmas, 0);
    j.denoise = 0;
    assert_int_equal(sigmas_job_schedule(mem, m, &j, &s, &e), ERR_OK);
    assert_int_equal(s.n_sigmas, 0);
}

static void test_bad_input(void **state) {
    (void)state;
    const sigmas_model *m = eps(), *none = NULL;
    sigmas_schedule s;
    err e;
    assert_int_equal(sigmas_schedule_make(mem, m, "karas", 10, &s, &e), ERR_UNSUPPORTED);
    assert_non_null(strstr(e.msg, "karas"));
    assert_non_null(strstr(e.msg, "kl_optimal"));
    assert_int_equal(sigmas_schedule_make(mem, m, "karras", 0, &s, &e), ERR_INVALID);
    assert_int_equal(sigmas_schedule_make(mem, m, "karras", SIGMAS_STEPS_MAX + 1, &s, &e),
                     ERR_INVALID);
    sigmas_job j = {.scheduler = "simple", .n_steps = 20, .denoise = 1e-7, .last_step = -1};
    assert_int_equal(sigmas_job_schedule(mem, m, &j, &s, &e), ERR_INVALID);
    j.denoise = (double)NAN;
    assert_int_equal(sigmas_job_schedule(mem, m, &j, &s, &e), ERR_INVALID);
    static const sigmas_params bad[] = {{.kind = SIGMAS_KIND_COUNT},
                                        {.kind = SIGMAS_EPS, .beta_end = 2},
                                        {.kind = SIGMAS_EPS, .beta_start = (double)NAN},
                                        {.kind = SIGMAS_FLOW, .shift = -1},
                                        {.kind = SIGMAS_EDM, .sigma_min = 5, .sigma_max = 1}};
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        assert_int_equal(sigmas_model_create(mem, bad + i, &none, &e), ERR_INVALID);
    assert_null(none);
}

/* scipy.stats.beta.ppf */
static void test_beta_quantile(void **state) {
    (void)state;
    static const double rows[][4] = {
        {0.1, 0.6, 0.6, 0.0395844055887808},  {0.5, 0.6, 0.6, 0.5},
        {0.97, 0.6, 0.6, 0.994631718815965},  {1e-06, 0.6, 0.6, 1.8558824624053e-10},
        {0.25, 0.6, 2.5, 0.0368364414315737}, {0.9, 5.0, 0.3, 0.99993050529393},
        {0.5, 80.0, 40.0, 0.66759543569975},  {0.001, 3.0, 3.0, 0.0475518981754577}};
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        near(sigmas_beta_quantile(rows[i][0], rows[i][1], rows[i][2]) / rows[i][3], 1, 1e-11);
    assert_true(sigmas_beta_quantile(0, 0.6, 0.6) == 0 && sigmas_beta_quantile(1, 0.6, 0.6) == 1);
    assert_true(sigmas_beta_quantile(-3, 2, 2) == 0 && sigmas_beta_quantile(4, 2, 2) == 1);
}

static void test_free_schedules(void **state) {
    (void)state;
    const double range[2] = {0.03, 14.6};
    sigmas_schedule s = sigmas_laplace(mem, 9, range, 0, 0.5);
    near((double)s.sigma[4], 1, 1e-4);
    assert_true(s.n_sigmas == 9);
    for (int i = 0; i < 8; i++) assert_true(s.sigma[i] > s.sigma[i + 1]);
    near((double)s.sigma[1] * (double)s.sigma[7], 1, 1e-4); /* symmetric about mu in log sigma */
    s = sigmas_vp(mem, 5, 19.9, 0.1, 0.001);
    near((double)s.sigma[0], sqrt(expm1(19.9 / 2 + 0.1)), 1e-3);
    near((double)s.sigma[4], sqrt(expm1(19.9 / 2 * 1e-6 + 1e-4)), 1e-7);
    s = sigmas_polyexponential(mem, 3, range, 2);
    near((double)s.sigma[1], exp(log(0.03) + 0.25 * (log(14.6) - log(0.03))), 1e-6);
    s = sigmas_karras(mem, 1, range, 7);
    assert_true(s.n_sigmas == 2);
    near((double)s.sigma[0], 14.6, 1e-5);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_discrete_table), cmocka_unit_test(test_schedules_sd),
        cmocka_unit_test(test_schedules_flow), cmocka_unit_test(test_schedules_descend),
        cmocka_unit_test(test_wrap),           cmocka_unit_test(test_job_cuts),
        cmocka_unit_test(test_bad_input),      cmocka_unit_test(test_beta_quantile),
        cmocka_unit_test(test_free_schedules)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
