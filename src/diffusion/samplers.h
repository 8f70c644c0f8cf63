/* Shared by the samplers' families; not for others.
 *
 * A family's step function sees a samplers_run: the job, the sigmas in double, and helpers for
 * linear combinations of latents. Notation in the families: s and t are this and the next sigma,
 * D the denoised estimate at (x, s), U the unconditional one, d = (x - D) / s the slope, N noise,
 * lambda the half log-SNR, alpha the data's scale (1, or 1 - sigma for flow models).
 * Threads: as sampler.h. */
#pragma once
#include "diffusion/noise.h"
#include "diffusion/sampler.h"

typedef struct samplers_run {
    const sampler_job *job;
    const sigmas_model *model;
    arena *a;
    size_t n;       /* floats */
    float *x;       /* [n], the caller's */
    double *sigma;  /* [n_steps + 1] */
    size_t n_steps; /* > 0 */
    int variant;    /* the table's number for one of several forms of a sampler */
    sampler_settings set;
    bool brownian; /* which noise by default */
    double noise_range[2];
    noise_rng rng;
    noise_brownian *tree; /* made at the first draw */
    err *e;
} samplers_run;

/* One term of a linear combination: factor * v [n]. */
typedef struct samplers_term {
    double factor;
    const float *v;
} samplers_term;

/* dst [n] = the sum of the terms, each element in double; dst may be one of them. */
void samplers_mix(size_t n, float *dst, const samplers_term *terms, size_t n_terms);
#define MIX(r, dst, ...)                                                                           \
    samplers_mix((r)->n, (dst), (const samplers_term[]){__VA_ARGS__},                              \
                 sizeof((const samplers_term[]){__VA_ARGS__}) / sizeof(samplers_term))

float *
samplers_buffer(samplers_run *r); /* [n] zeros, from the arena: never inside a loop of steps */

/* The denoiser; U may be NULL. */
err_code samplers_call(samplers_run *r, const float *x, double sigma, float *D, float *U);
/* The same for the first call of step i, followed by the progress callback. */
err_code samplers_call_step(samplers_run *r, size_t i, float *D, float *U);
err_code samplers_report(samplers_run *r, int32_t step, int32_t n_steps, const float *D);

/* N for the way from one sigma to the other into dst [n]. */
err_code samplers_noise(samplers_run *r, double from, double to, float *dst);

/* The split of a step to t into a deterministic part to `down` and noise of deviation `up`. */
typedef struct samplers_split {
    double down, up;
} samplers_split;
samplers_split samplers_ancestral(double s, double t, double eta);

/* The same for flow models: after going to `down`, x = keep * x + up * N. */
typedef struct samplers_flow_split {
    double down, keep, up;
} samplers_flow_split;
samplers_flow_split samplers_flow_ancestral(double s, double t, double eta);

double samplers_lambda(const samplers_run *r, double sigma);
double samplers_alpha(const samplers_run *r, double sigma);
/* Flow models have no finite lambda at sigma 1: moves such a first sigma just below it. */
void samplers_offset_first(samplers_run *r);

/* Solves the n by n system (row-major m) in place; rhs becomes the solution. */
void samplers_solve(size_t n, double *m, double *rhs);

typedef err_code (*samplers_fn)(samplers_run *r);
err_code samplers_euler(samplers_run *r);
err_code samplers_euler_ancestral(samplers_run *r);
err_code samplers_euler_cfg_pp(samplers_run *r); /* variant 1: ancestral */
err_code samplers_ddpm(samplers_run *r);
err_code samplers_lcm(samplers_run *r);
err_code samplers_gradient_estimation(samplers_run *r); /* variant 1: cfg_pp */
err_code samplers_heun(samplers_run *r);
err_code samplers_heunpp2(samplers_run *r);
err_code samplers_dpm_2(samplers_run *r); /* variant: eta */
err_code samplers_dpm_fast(samplers_run *r);
err_code samplers_dpm_adaptive(samplers_run *r);
err_code samplers_lms(samplers_run *r);
err_code samplers_ipndm(samplers_run *r);
err_code samplers_ipndm_v(samplers_run *r);
err_code samplers_deis(samplers_run *r);
err_code samplers_res_multistep(samplers_run *r); /* variant: eta + 2 * cfg_pp */
err_code samplers_dpmpp_2s(samplers_run *r);      /* variant 1: cfg_pp */
err_code samplers_dpmpp_sde(samplers_run *r);
err_code samplers_dpmpp_2m(samplers_run *r);
err_code samplers_dpmpp_2m_cfg_pp(samplers_run *r);
err_code samplers_dpmpp_2m_sde(samplers_run *r); /* variant 1: Heun's correction */
err_code samplers_dpmpp_3m_sde(samplers_run *r);
err_code samplers_er_sde(samplers_run *r);
err_code samplers_seeds_2(samplers_run *r); /* variant 1, 2: exp_heun_2_x0 with eta 0, 1 */
err_code samplers_seeds_3(samplers_run *r);
err_code samplers_sa_solver(samplers_run *r); /* variant 1: pece */
err_code samplers_uni_pc(samplers_run *r);    /* variant: B(h) is 1: h, 2: exp(h) - 1 */
