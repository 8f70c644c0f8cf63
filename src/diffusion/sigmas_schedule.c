/* The schedules: from a model's levels and a number of steps to a descending list of sigmas.
 *
 * One function per scheduler, one table of names, and the job's cuts (denoise, start and last
 * step). Threads: pure functions over the caller's arena. */
#include "base/mem.h"
#include "diffusion/sigmas.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

#define NEAR_ZERO 1e-5

/* Room for n sigmas and the final 0. */
static sigmas_schedule blank(arena *a, size_t n_steps) {
    return (sigmas_schedule){n_steps + 1, ARENA_ARRAY(a, float, n_steps + 1)};
}

/* Item i of n points from lo to hi, both included. */
static double point(double lo, double hi, size_t i, size_t n) {
    return n < 2 ? lo : lo + (hi - lo) * (double)i / (double)(n - 1);
}

sigmas_schedule sigmas_karras(arena *a, size_t n_steps, const double range[2], double rho) {
    sigmas_schedule s = blank(a, n_steps);
    double lo = pow(range[0], 1 / rho), hi = pow(range[1], 1 / rho);
    for (size_t i = 0; i < n_steps; i++)
        s.sigma[i] = (float)pow(hi + point(0, 1, i, n_steps) * (lo - hi), rho);
    return s;
}

sigmas_schedule sigmas_polyexponential(arena *a, size_t n_steps, const double range[2],
                                       double rho) {
    sigmas_schedule s = blank(a, n_steps);
    double lo = log(range[0]), hi = log(range[1]);
    for (size_t i = 0; i < n_steps; i++)
        s.sigma[i] = (float)exp(pow(point(1, 0, i, n_steps), rho) * (hi - lo) + lo);
    return s;
}

sigmas_schedule sigmas_vp(arena *a, size_t n_steps, double beta_d, double beta_min, double eps_s) {
    sigmas_schedule s = blank(a, n_steps);
    for (size_t i = 0; i < n_steps; i++) {
        double t = point(1, eps_s, i, n_steps);
        s.sigma[i] = (float)sqrt(expm1(beta_d * t * t / 2 + beta_min * t));
    }
    return s;
}

sigmas_schedule sigmas_laplace(arena *a, size_t n_steps, const double range[2], double mu,
                               double beta) {
    sigmas_schedule s = blank(a, n_steps);
    for (size_t i = 0; i < n_steps; i++) {
        double x = 0.5 - point(0, 1, i, n_steps);
        double sign = x > 0 ? 1 : x < 0 ? -1 : 0;
        double sigma = exp(mu - beta * sign * log(1 - 2 * fabs(x) + NEAR_ZERO));
        s.sigma[i] = (float)fmin(fmax(sigma, range[0]), range[1]);
    }
    s.n_sigmas = n_steps; /* no 0 at the end */
    return s;
}

sigmas_schedule sigmas_beta(arena *a, const sigmas_model *m, size_t n_steps,
                            const double shape[2]) {
    sigmas_schedule s = blank(a, n_steps);
    size_t n = 0;
    double last = -1;
    for (size_t i = 0; i < n_steps; i++) {
        double u = 1 - (double)i / (double)n_steps;
        double at = rint(sigmas_beta_quantile(u, shape[0], shape[1]) * (double)(m->n_table - 1));
        if (at != last) s.sigma[n++] = m->table[(size_t)at];
        last = at;
    }
    s.sigma[n] = 0;
    s.n_sigmas = n + 1;
    return s;
}

static sigmas_schedule make_simple(arena *a, const sigmas_model *m, size_t n) {
    sigmas_schedule s = blank(a, n);
    double stride = (double)m->n_table / (double)n;
    for (size_t i = 0; i < n; i++)
        s.sigma[i] = m->table[m->n_table - 1 - (size_t)((double)i * stride)];
    return s;
}

static sigmas_schedule make_sgm_uniform(arena *a, const sigmas_model *m, size_t n) {
    sigmas_schedule s = blank(a, n);
    double t0 = sigmas_timestep(m, m->sigma_max), t1 = sigmas_timestep(m, m->sigma_min);
    for (size_t i = 0; i < n; i++) s.sigma[i] = (float)sigmas_at(m, point(t0, t1, i, n + 1));
    return s;
}

static sigmas_schedule make_normal(arena *a, const sigmas_model *m, size_t n) {
    double t0 = sigmas_timestep(m, m->sigma_max), t1 = sigmas_timestep(m, m->sigma_min);
    bool ends_at_zero = fabs(sigmas_at(m, t1)) <= NEAR_ZERO;
    sigmas_schedule s = blank(a, n);
    size_t n_points = ends_at_zero ? n + 1 : n;
    for (size_t i = 0; i < n_points; i++)
        s.sigma[i] = (float)sigmas_at(m, point(t0, t1, i, n_points));
    return s;
}

static sigmas_schedule make_karras(arena *a, const sigmas_model *m, size_t n) {
    return sigmas_karras(a, n, (double[]){m->sigma_min, m->sigma_max}, 7);
}

static sigmas_schedule make_exponential(arena *a, const sigmas_model *m, size_t n) {
    return sigmas_polyexponential(a, n, (double[]){m->sigma_min, m->sigma_max}, 1);
}

static sigmas_schedule make_ddim_uniform(arena *a, const sigmas_model *m, size_t n) {
    bool starts_at_zero = (double)m->table[1] <= NEAR_ZERO;
    if (starts_at_zero) n++;
    size_t stride = m->n_table / n > 1 ? m->n_table / n : 1;
    size_t count = (m->n_table - 1 + stride - 1) / stride;
    sigmas_schedule s = blank(a, count);
    for (size_t i = 0; i < count; i++) s.sigma[count - 1 - i] = m->table[1 + i * stride];
    if (starts_at_zero) s.n_sigmas = count;
    return s;
}

static sigmas_schedule make_beta(arena *a, const sigmas_model *m, size_t n) {
    return sigmas_beta(a, m, n, (double[]){0.6, 0.6});
}

/* A straight start that covers `threshold` of the way in half the steps, then a parabola that
 * continues it smoothly. */
static sigmas_schedule make_linear_quadratic(arena *a, const sigmas_model *m, size_t n) {
    const double threshold = 0.025;
    sigmas_schedule s = blank(a, n);
    double steps = (double)n, lin = (double)(n / 2), quad = steps - lin;
    s.sigma[0] = (float)m->sigma_max;
    if (n == 1) return s;
    double missing = lin - threshold * steps;
    double c2 = missing / (lin * quad * quad);
    double c1 = threshold / lin - 2 * missing / (quad * quad), c0 = c2 * lin * lin;
    for (size_t i = 1; i < n; i++) {
        double x = (double)i;
        double done = x < lin ? x * threshold / lin : c2 * x * x + c1 * x + c0;
        s.sigma[i] = (float)((1 - done) * m->sigma_max);
    }
    return s;
}

static sigmas_schedule make_kl_optimal(arena *a, const sigmas_model *m, size_t n) {
    sigmas_schedule s = blank(a, n);
    double hi = atan(m->sigma_max), lo = atan(m->sigma_min);
    for (size_t i = 0; i < n; i++) s.sigma[i] = (float)tan(point(hi, lo, i, n));
    return s;
}

static const struct scheduler {
    const char *name;
    sigmas_schedule (*make)(arena *a, const sigmas_model *m, size_t n_steps);
} schedulers[] = {
    {"simple", make_simple},
    {"sgm_uniform", make_sgm_uniform},
    {"karras", make_karras},
    {"exponential", make_exponential},
    {"ddim_uniform", make_ddim_uniform},
    {"beta", make_beta},
    {"normal", make_normal},
    {"linear_quadratic", make_linear_quadratic},
    {"kl_optimal", make_kl_optimal},
};

const char *sigmas_scheduler_name(size_t index) {
    return index < COUNT_OF(schedulers) ? schedulers[index].name : NULL;
}

err_code sigmas_schedule_make(arena *a, const sigmas_model *m, const char *scheduler,
                              int32_t n_steps, sigmas_schedule *ret, err *e) {
    if (n_steps < 1 || n_steps > SIGMAS_STEPS_MAX)
        FAIL(e, INVALID, "scheduler: %d steps; give 1 to %d", (int)n_steps, SIGMAS_STEPS_MAX);
    for (size_t i = 0; i < COUNT_OF(schedulers); i++) {
        if (strcmp(schedulers[i].name, scheduler) != 0) continue;
        *ret = schedulers[i].make(a, m, (size_t)n_steps);
        return ERR_OK;
    }
    char known[256] = "";
    for (size_t i = 0, at = 0; i < COUNT_OF(schedulers) && at < sizeof known; i++)
        at += (size_t)snprintf(known + at, sizeof known - at, "%s%s", i > 0 ? ", " : "",
                               schedulers[i].name);
    FAIL(e, UNSUPPORTED, "scheduler '%.64s' is not known; there are %s", scheduler, known);
}

static err_code full_schedule(arena *a, const sigmas_model *m, const sigmas_job *job, int32_t n,
                              sigmas_schedule *ret, err *e) {
    sigmas_schedule s;
    TRY(sigmas_schedule_make(a, m, job->scheduler, n + (job->discard_penultimate ? 1 : 0), &s, e));
    if (job->discard_penultimate && s.n_sigmas >= 2) {
        s.sigma[s.n_sigmas - 2] = s.sigma[s.n_sigmas - 1];
        s.n_sigmas--;
    }
    *ret = s;
    return ERR_OK;
}

err_code sigmas_job_schedule(arena *a, const sigmas_model *m, const sigmas_job *job,
                             sigmas_schedule *ret, err *e) {
    sigmas_schedule s = {0, NULL};
    if (isnan(job->denoise)) FAIL(e, INVALID, "sampling: denoise is not a number");
    if (job->denoise > 0.9999) {
        TRY(full_schedule(a, m, job, job->n_steps, &s, e));
    } else if (job->denoise > 0) {
        double n = (double)job->n_steps / job->denoise;
        if (!(n < SIGMAS_STEPS_MAX))
            FAIL(e, INVALID, "sampling: %d steps at denoise %g need %.0f in all; at most %d",
                 (int)job->n_steps, job->denoise, n, SIGMAS_STEPS_MAX);
        TRY(full_schedule(a, m, job, (int32_t)n, &s, e));
        size_t keep = (size_t)job->n_steps + 1;
        if (s.n_sigmas > keep) s = (sigmas_schedule){keep, s.sigma + (s.n_sigmas - keep)};
    }
    if (job->last_step >= 0 && (size_t)job->last_step + 1 < s.n_sigmas) {
        s.n_sigmas = (size_t)job->last_step + 1;
        if (job->force_full_denoise) s.sigma[s.n_sigmas - 1] = 0;
    }
    if (job->start_step > 0) {
        size_t cut = (size_t)job->start_step;
        s = cut + 1 < s.n_sigmas ? (sigmas_schedule){s.n_sigmas - cut, s.sigma + cut}
                                 : (sigmas_schedule){0, NULL};
    }
    *ret = s;
    return ERR_OK;
}
