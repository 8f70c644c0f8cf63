/* The table of samplers, a run's set-up, and the helpers that the families share.
 *
 * Combinations are evaluated in double per element and rounded once: more exact than a chain of
 * float32 operations, and close enough to one that pictures agree. Threads: see sampler.h. */
#include "diffusion/sampler.h"

#include "base/mem.h"
#include "diffusion/samplers.h"
#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { BROWNIAN = 1, DISCARD = 2, UNCOND = 4 };

static const struct sampler {
    const char *name;
    samplers_fn run;
    int variant;
    int flags;
} samplers[] = {
    {"euler", samplers_euler, 0, 0},
    {"euler_cfg_pp", samplers_euler_cfg_pp, 0, UNCOND},
    {"euler_ancestral", samplers_euler_ancestral, 0, 0},
    {"euler_ancestral_cfg_pp", samplers_euler_cfg_pp, 1, UNCOND},
    {"heun", samplers_heun, 0, 0},
    {"heunpp2", samplers_heunpp2, 0, 0},
    {"exp_heun_2_x0", samplers_seeds_2, 1, 0},
    {"exp_heun_2_x0_sde", samplers_seeds_2, 2, 0},
    {"dpm_2", samplers_dpm_2, 0, DISCARD},
    {"dpm_2_ancestral", samplers_dpm_2, 1, DISCARD},
    {"lms", samplers_lms, 0, 0},
    {"dpm_fast", samplers_dpm_fast, 0, 0},
    {"dpm_adaptive", samplers_dpm_adaptive, 0, 0},
    {"dpmpp_2s_ancestral", samplers_dpmpp_2s, 0, 0},
    {"dpmpp_2s_ancestral_cfg_pp", samplers_dpmpp_2s, 1, UNCOND},
    {"dpmpp_sde", samplers_dpmpp_sde, 0, BROWNIAN},
    {"dpmpp_sde_gpu", samplers_dpmpp_sde, 0, BROWNIAN},
    {"dpmpp_2m", samplers_dpmpp_2m, 0, 0},
    {"dpmpp_2m_cfg_pp", samplers_dpmpp_2m_cfg_pp, 0, UNCOND},
    {"dpmpp_2m_sde", samplers_dpmpp_2m_sde, 0, BROWNIAN},
    {"dpmpp_2m_sde_gpu", samplers_dpmpp_2m_sde, 0, BROWNIAN},
    {"dpmpp_2m_sde_heun", samplers_dpmpp_2m_sde, 1, BROWNIAN},
    {"dpmpp_2m_sde_heun_gpu", samplers_dpmpp_2m_sde, 1, BROWNIAN},
    {"dpmpp_3m_sde", samplers_dpmpp_3m_sde, 0, BROWNIAN},
    {"dpmpp_3m_sde_gpu", samplers_dpmpp_3m_sde, 0, BROWNIAN},
    {"ddpm", samplers_ddpm, 0, 0},
    {"lcm", samplers_lcm, 0, 0},
    {"ipndm", samplers_ipndm, 0, 0},
    {"ipndm_v", samplers_ipndm_v, 0, 0},
    {"deis", samplers_deis, 0, 0},
    {"res_multistep", samplers_res_multistep, 0, 0},
    {"res_multistep_cfg_pp", samplers_res_multistep, 2, UNCOND},
    {"res_multistep_ancestral", samplers_res_multistep, 1, 0},
    {"res_multistep_ancestral_cfg_pp", samplers_res_multistep, 3, UNCOND},
    {"gradient_estimation", samplers_gradient_estimation, 0, 0},
    {"gradient_estimation_cfg_pp", samplers_gradient_estimation, 1, UNCOND},
    {"er_sde", samplers_er_sde, 0, 0},
    {"seeds_2", samplers_seeds_2, 0, 0},
    {"seeds_3", samplers_seeds_3, 0, 0},
    {"sa_solver", samplers_sa_solver, 0, 0},
    {"sa_solver_pece", samplers_sa_solver, 1, 0},
    {"ddim", samplers_euler, 0, 0},
    {"uni_pc", samplers_uni_pc, 1, DISCARD},
    {"uni_pc_bh2", samplers_uni_pc, 2, DISCARD},
};

static const struct sampler *find(const char *name) {
    for (size_t i = 0; i < COUNT_OF(samplers); i++)
        if (strcmp(samplers[i].name, name) == 0) return samplers + i;
    return NULL;
}

const char *sampler_name(size_t index) {
    return index < COUNT_OF(samplers) ? samplers[index].name : NULL;
}

bool sampler_exists(const char *name) {
    return find(name) != NULL;
}

bool sampler_discards_penultimate(const char *name) {
    const struct sampler *s = find(name);
    return s != NULL && (s->flags & DISCARD) != 0;
}

bool sampler_needs_uncond(const char *name) {
    const struct sampler *s = find(name);
    return s != NULL && (s->flags & UNCOND) != 0;
}

sampler_settings sampler_defaults(const char *name) {
    return (sampler_settings){.eta = strcmp(name, "dpm_adaptive") == 0 ? 0 : 1,
                              .s_noise = 1,
                              .s_noise_end = 1,
                              .middle = 0.5,
                              .order = strcmp(name, "lms") == 0 ? 4 : 3,
                              .corrector_order = 4,
                              .rtol = 0.05,
                              .atol = 0.0078,
                              .h_init = 0.05,
                              .pid = {0, 1, 0},
                              .accept = 0.81};
}

static err_code unknown(const char *name, err *e) {
    char known[900] = "";
    for (size_t i = 0, at = 0; i < COUNT_OF(samplers) && at < sizeof known; i++)
        at += (size_t)snprintf(known + at, sizeof known - at, "%s%s", i > 0 ? " " : "",
                               samplers[i].name);
    FAIL(e, UNSUPPORTED, "sampler '%.64s' is not known; there are %s", name, known);
}

/* A schedule the samplers can divide by: finite, positive, only the last may be 0. */
static err_code check_schedule(const sigmas_schedule *s, err *e) {
    for (size_t i = 0; i < s->n_sigmas; i++) {
        bool last = i + 1 == s->n_sigmas;
        if (!isfinite(s->sigma[i]) || s->sigma[i] < 0 || (s->sigma[i] == 0 && !last))
            FAIL(e, INVALID, "sampling: sigma %zu of the schedule is %g", i, (double)s->sigma[i]);
    }
    return ERR_OK;
}

err_code sampler_run(arena *a, const char *name, const sampler_job *job, err *e) {
    const struct sampler *which = find(name);
    if (which == NULL) return unknown(name, e);
    const sigmas_schedule *s = &job->schedule;
    TRY(check_schedule(s, e));
    if (s->n_sigmas < 2 || job->n == 0) return ERR_OK;
    samplers_run *r = ARENA_NEW(a, samplers_run);
    r->job = job;
    r->model = job->model;
    r->a = a;
    r->n = job->n;
    r->x = job->x;
    r->n_steps = s->n_sigmas - 1;
    r->variant = which->variant;
    r->brownian = (which->flags & BROWNIAN) != 0;
    r->e = e;
    r->sigma = ARENA_ARRAY(a, double, s->n_sigmas);
    for (size_t i = 0; i < s->n_sigmas; i++) r->sigma[i] = (double)s->sigma[i];
    r->set = job->set ? *job->set : sampler_defaults(name);
    r->noise_range[0] = r->noise_range[1] = r->sigma[0];
    for (size_t i = 1; i < s->n_sigmas; i++) {
        if (r->sigma[i] > 0) r->noise_range[0] = fmin(r->noise_range[0], r->sigma[i]);
        r->noise_range[1] = fmax(r->noise_range[1], r->sigma[i]);
    }
    noise_rng_seed(&r->rng, job->seed);
    return which->run(r);
}

void samplers_mix(size_t n, float *dst, const samplers_term *terms, size_t n_terms) {
    for (size_t i = 0; i < n; i++) {
        double sum = 0;
        for (size_t k = 0; k < n_terms; k++) sum += terms[k].factor * (double)terms[k].v[i];
        dst[i] = (float)sum;
    }
}

float *samplers_buffer(samplers_run *r) {
    return ARENA_ARRAY(r->a, float, r->n);
}

err_code samplers_call(samplers_run *r, const float *x, double sigma, float *D, float *U) {
    return r->job->denoise(r->job->ctx, x, sigma, D, U, r->e);
}

err_code samplers_report(samplers_run *r, int32_t step, int32_t n_steps, const float *D) {
    if (r->job->progress == NULL) return ERR_OK;
    return r->job->progress(r->job->ctx, step, n_steps, D, r->e);
}

err_code samplers_call_step(samplers_run *r, size_t i, float *D, float *U) {
    TRY(samplers_call(r, r->x, r->sigma[i], D, U));
    return samplers_report(r, (int32_t)i, (int32_t)r->n_steps, D);
}

err_code samplers_noise(samplers_run *r, double from, double to, float *dst) {
    if (r->job->noise != NULL) {
        r->job->noise(r->job->ctx, from, to, dst);
        return ERR_OK;
    }
    if (!r->brownian) {
        noise_rng_normal(&r->rng, dst, r->n);
        return ERR_OK;
    }
    if (r->tree == NULL)
        TRY(noise_brownian_create(r->a, r->job->seed, r->noise_range, r->n, &r->tree, r->e));
    /* The generator's times are float32 sigmas. */
    noise_brownian_unit(r->tree, (double)(float)from, (double)(float)to, dst);
    return ERR_OK;
}

samplers_split samplers_ancestral(double s, double t, double eta) {
    if (!(eta > 0)) return (samplers_split){t, 0}; /* whichever way it goes */
    double up = fmin(t, eta * sqrt(t * t * (s * s - t * t) / (s * s)));
    return (samplers_split){sqrt(fmax(t * t - up * up, 0)), up};
}

samplers_flow_split samplers_flow_ancestral(double s, double t, double eta) {
    double down = t * (1 + (t / s - 1) * eta), keep = (1 - t) / (1 - down);
    return (samplers_flow_split){down, keep, sqrt(fmax(t * t - down * down * keep * keep, 0))};
}

double samplers_lambda(const samplers_run *r, double sigma) {
    return sigmas_lambda(r->model, sigma);
}

double samplers_alpha(const samplers_run *r, double sigma) {
    return r->model->is_flow ? 1 - sigma : 1;
}

void samplers_offset_first(samplers_run *r) {
    if (r->model->is_flow && r->sigma[0] >= 1) r->sigma[0] = sigmas_at_percent(r->model, 1e-4);
}

void samplers_solve(size_t n, double *m, double *rhs) {
    for (size_t k = 0; k < n; k++) {
        size_t best = k;
        for (size_t i = k + 1; i < n; i++)
            if (fabs(m[i * n + k]) > fabs(m[best * n + k])) best = i;
        for (size_t j = 0; j < n; j++) {
            double tmp = m[k * n + j];
            m[k * n + j] = m[best * n + j];
            m[best * n + j] = tmp;
        }
        double tmp = rhs[k];
        rhs[k] = rhs[best];
        rhs[best] = tmp;
        for (size_t i = k + 1; i < n; i++) {
            double f = m[i * n + k] / m[k * n + k];
            for (size_t j = k; j < n; j++) m[i * n + j] -= f * m[k * n + j];
            rhs[i] -= f * rhs[k];
        }
    }
    for (size_t k = n; k-- > 0;) {
        for (size_t j = k + 1; j < n; j++) rhs[k] -= m[k * n + j] * rhs[j];
        rhs[k] /= m[k * n + k];
    }
}
