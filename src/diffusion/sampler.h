/* Samplers: from noise to a latent, given something that denoises.
 *
 * A sampler walks a schedule of sigmas (diffusion/sigmas.h) and calls back a denoiser: the whole of
 * network, guidance, masks and areas, as one function of (x, sigma). It knows no model, device or
 * shape: a latent is n floats, rows of a batch one after the other. Host memory, float32, scalars
 * in double. Names and behaviour are those of ComfyUI's KSampler, so that a seed means the same
 * picture. Owner: the caller holds everything; scratch comes from the caller's arena (up to 24
 * buffers of n floats, and 30 more for Brownian noise) and may be dropped after the call. Threads:
 * one run on one thread; runs are independent. */
#pragma once
#include "base/arena.h"
#include "base/err.h"
#include "diffusion/sigmas.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ret_denoised [n]: the guided estimate of the data in x [n] at noise level sigma. ret_uncond [n],
 * when not NULL, the unconditional estimate as well (so it must not be skipped at guidance 1).
 * x must not be written. */
typedef err_code (*sampler_denoise)(void *ctx, const float *x, double sigma, float *ret_denoised,
                                    float *ret_uncond, err *e);

/* Called once for each step, after its first denoising: step i of n_steps (from 0), x0 [n] the
 * current estimate for previews. Anything but ERR_OK (ERR_CANCELLED) ends the run with that code.
 * dpm_fast counts its own segments and dpm_adaptive does not know how many there will be: n_steps
 * is then step + 2 until the last. */
typedef err_code (*sampler_progress)(void *ctx, int32_t step, int32_t n_steps, const float *x0,
                                     err *e);

/* Noise of deviation 1 for the way from one sigma to another, dst [n]. */
typedef void (*sampler_noise)(void *ctx, double from, double to, float *dst);

/* What can be told to a sampler beside its name; each reads only what it knows. */
typedef struct sampler_settings {
    double eta, s_noise;            /* share of the stochastic part; factor of its noise */
    double s_noise_end, noise_clip; /* lcm: the factor at the end; deviations kept, 0 = all */
    double middle; /* dpmpp_sde: where in the step its second evaluation lies, above 0 */
    int32_t order; /* lms, dpm_adaptive (2, 3), er_sde (its stages), sa_solver's predictor */
    int32_t corrector_order; /* sa_solver, 0 = none; both up to 6 */
    bool simple_order_2;     /* sa_solver: the shorter weights for order 2 */
    double
        sde_sigma[2]; /* sa_solver: stochastic from this sigma down to that; both 0: 20 to 80 % */
    bool reverse_sde; /* er_sde: noise scale x^(1 + eta) instead of its own */
    bool alternative; /* euler_cfg_pp: the slope itself is the unconditional's */
    double rtol, atol, h_init, pid[3],
        accept; /* dpm_adaptive: tolerances, first step, controller */
} sampler_settings;

typedef struct sampler_job {
    const sigmas_model *model;
    const sampler_settings *set; /* NULL: sampler_defaults() */
    sigmas_schedule schedule;    /* positive, the last may be 0; 0 or 1 sigmas: x stays as it is */
    size_t n;                    /* floats in the latent, all rows */
    float *x;                    /* [n] in: noised latent at the first sigma; out: the result */
    uint64_t seed; /* of the noise between steps; the torch generator is seeded with it */
    void *ctx;     /* handed to all callbacks */
    sampler_denoise denoise;
    sampler_progress progress; /* NULL: none */
    sampler_noise noise;       /* NULL: the sampler's own (torch CPU, or Brownian tree) */
} sampler_job;

/* Runs the named sampler. ERR_UNSUPPORTED for an unknown name (the message lists the known ones),
 * ERR_INVALID for a schedule with other
 * numbers than positive ones (it may rise, as it does for going back to noise), else what the
 * callbacks return; x is then in an undefined, but initialised state. */
err_code sampler_run(arena *a, const char *name, const sampler_job *job, err *e);

/* Names in the order in which users see them; NULL past the end. */
const char *sampler_name(size_t index);
bool sampler_exists(const char *name);
sampler_settings sampler_defaults(const char *name);

/* Whether KSampler drops the last but one sigma for it (sigmas_job.discard_penultimate). */
bool sampler_discards_penultimate(const char *name);

/* Whether it asks for the unconditional estimate (the cfg_pp forms). */
bool sampler_needs_uncond(const char *name);
