/* Noise levels: what a model was trained on, and the schedules that walk down it.
 *
 * sigma is the standard deviation of the noise in a latent relative to the data (for flow models
 * the share of noise in a mix). A sigmas_model says how sigma, the number given to the network
 * ("timestep") and the network's output relate; a schedule is a descending list of sigmas that
 * usually ends in 0. Scalars are double; tables and schedules are float32, as the reference keeps
 * them, so that rounding falls the same way. Owner: everything is made in the caller's arena.
 * Threads: a made model and schedule are read-only and may be shared. */
#pragma once
#include "base/arena.h"
#include "base/err.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum sigmas_kind {
    SIGMAS_EPS, /* network predicts the noise; discrete table (DDPM, Ho et al. 2020) */
    SIGMAS_V,   /* network predicts v (Salimans and Ho 2022); discrete table */
    SIGMAS_LCM, /* eps with the consistency boundary (Luo et al. 2023); 50 of the table's entries */
    SIGMAS_X0,  /* network predicts the data; discrete table */
    SIGMAS_EDM, /* Karras et al. 2022, continuous, sigma_data */
    SIGMAS_EDM_V,   /* v with EDM's levels and timesteps */
    SIGMAS_EDM_EPS, /* the noise, likewise */
    SIGMAS_V_CONT,  /* v over a continuous range of sigma, sigma_data */
    SIGMAS_FLOW, /* rectified flow, x = (1 - sigma) data + sigma noise, shifted (Esser et al. 2024)
                  */
    SIGMAS_FLUX, /* rectified flow with exponential shift e^mu; 10,000 entries */
    SIGMAS_KIND_COUNT
} sigmas_kind;

/* What to build a model's sampling from. Zero means the default in brackets. */
typedef struct sigmas_params {
    sigmas_kind kind;
    double beta_start, beta_end; /* discrete [0.00085, 0.012] */
    bool beta_plain;             /* betas linear themselves, not by their square roots */
    bool zsnr;                   /* discrete: rescaled to (nearly) zero terminal signal */
    double shift;                /* flow [1]; flux: mu [1.15] */
    double multiplier;           /* flow: timestep = sigma * multiplier [1000] */
    double sigma_data;           /* EDM, V_CONT [1] */
    double sigma_min, sigma_max; /* EDM, V_CONT [0.002, 120] */
} sigmas_params;

typedef struct sigmas_model {
    sigmas_params params;   /* with defaults filled in */
    size_t n_table;         /* 1000 (LCM 50, FLUX 10000) */
    const float *table;     /* [n_table] ascending, > 0 */
    const float *log_table; /* [n_table] natural logarithms */
    double sigma_min, sigma_max;
    bool is_flow;
} sigmas_model;

/* ERR_INVALID for parameters that give no ascending, positive table. */
err_code sigmas_model_create(arena *a, const sigmas_params *p, const sigmas_model **ret, err *e);

/* The number that tells the network the level: an integer for discrete kinds (nearest entry in log
 * sigma), 0.25 ln sigma for EDM, atan(sigma) 2/pi for V_CONT, sigma * multiplier for FLOW, sigma
 * for FLUX. */
double sigmas_timestep(const sigmas_model *m, double sigma);

/* The inverse on the schedules' scale: log-linear between entries for discrete kinds; for flow
 * kinds the shift is applied, so that this does not undo sigmas_timestep there (as in the
 * reference). */
double sigmas_at(const sigmas_model *m, double timestep);

/* The sigma at a share of the way from noise (0) to picture (1), for step ranges of conditioning.
 * Shares <= 0 give a value above every sigma (flow kinds: 1), shares >= 1 give 0. */
double sigmas_at_percent(const sigmas_model *m, double percent);

/* How one call of the network is wrapped: input = in * x; denoised = skip * x + out * output. */
typedef struct sigmas_precond {
    double in, skip, out, timestep;
} sigmas_precond;
sigmas_precond sigmas_wrap(const sigmas_model *m, double sigma);

/* Noising a latent: x = ret[0] * latent + ret[1] * noise. `from_max`: the schedule starts at (or
 * above) sigma_max and the whole is denoised. sigmas_starts_at_max tells that for a schedule. */
void sigmas_noising(const sigmas_model *m, double sigma, bool from_max, double ret[2]);
bool sigmas_starts_at_max(const sigmas_model *m, double sigma);

/* What a result that was sampled down to `sigma_last` is multiplied by before it is a latent again:
 * 1 / (1 - sigma_last) for flow kinds, else 1. */
double sigmas_result_scale(const sigmas_model *m, double sigma_last);

/* lambda = ln(alpha / sigma): -ln sigma, or ln((1 - sigma) / sigma) for flow kinds; and back. */
double sigmas_lambda(const sigmas_model *m, double sigma);
double sigmas_from_lambda(const sigmas_model *m, double lambda);

/* A schedule: n_sigmas values, so n_sigmas - 1 steps. n_sigmas == 0: nothing to do. */
typedef struct sigmas_schedule {
    size_t n_sigmas;
    float *sigma; /* [n_sigmas] descending */
} sigmas_schedule;

#define SIGMAS_STEPS_MAX 10000

/* Names in the order in which users see them; NULL past the end. */
const char *sigmas_scheduler_name(size_t index);

/* The named scheduler's list for `n_steps` (1..SIGMAS_STEPS_MAX), ending in 0. Some give another
 * number of steps than asked for (ddim_uniform more, beta fewer). Fails with ERR_UNSUPPORTED for
 * an unknown name (the message lists the known ones) and ERR_INVALID for the number of steps. */
err_code sigmas_schedule_make(arena *a, const sigmas_model *m, const char *scheduler,
                              int32_t n_steps, sigmas_schedule *ret, err *e);

/* A sampling job's range of steps. */
typedef struct sigmas_job {
    const char *scheduler;
    int32_t n_steps;
    double denoise;           /* 1 = from noise; < 1: the last n_steps of n_steps / denoise */
    bool discard_penultimate; /* sampler wants one more step and the last but one sigma dropped */
    int32_t start_step;       /* 0 = from the beginning */
    int32_t last_step;        /* < 0: to the end */
    bool force_full_denoise;  /* the cut's last sigma becomes 0 */
} sigmas_job;
err_code sigmas_job_schedule(arena *a, const sigmas_model *m, const sigmas_job *job,
                             sigmas_schedule *ret, err *e);

/* Schedules with free parameters, for nodes that name them. All but Laplace's end in 0. */
sigmas_schedule sigmas_karras(arena *a, size_t n_steps, const double range[2], double rho);
sigmas_schedule sigmas_polyexponential(arena *a, size_t n_steps, const double range[2], double rho);
/* Variance-preserving (Song et al. 2021): beta_d 19.9, beta_min 0.1, eps_s 0.001 by default. */
sigmas_schedule sigmas_vp(arena *a, size_t n_steps, double beta_d, double beta_min, double eps_s);
/* Laplace (Hang et al. 2024): location mu, scale beta, in log sigma. */
sigmas_schedule sigmas_laplace(arena *a, size_t n_steps, const double range[2], double mu,
                               double beta);
/* Table entries at quantiles of Beta(alpha, beta) (Lee et al. 2024). */
sigmas_schedule sigmas_beta(arena *a, const sigmas_model *m, size_t n_steps, const double shape[2]);

/* Quantile function of the Beta(a, b) distribution: x with I_x(a, b) = p, about 14 digits for
 * shapes in 0.01..1000. p outside 0..1 is moved to its nearest end. */
double sigmas_beta_quantile(double p, double a, double b);
