/* Guidance: from a network and conditionings to one denoiser, and the sampling job around it.
 *
 * A diff_model is what a MODEL is: a network, its noise levels and its latent's scale. diff_sample
 * noises a latent, walks a sampler down a schedule and gives the latent back. Behaviour as
 * ComfyUI's: several conditionings a side are weighted by strength, mask and area; guidance 1 skips
 * the negative side. Everything but the network runs on the host in float32.
 * Threads: one job at a time per device. */
#pragma once
#include "diffusion/arch/unet.h"
#include "diffusion/change.h"
#include "diffusion/cond.h"
#include "diffusion/sampler.h"
#include "diffusion/step_cache.h"

typedef struct diff_model {
    _Atomic int refs;
    unet *net;
    arena *mem; /* of sigmas */
    const sigmas_model *sigmas;
    double latent_scale; /* 0.18215; the VAE's latent times this is what the network sees */
    int32_t latent_channels;
    bool is_refiner;
    diff_changes changes;
    int32_t preview; /* which table of colours: 1 SD1, 2 SDXL */
    step_cache_params cache;
} diff_model;

diff_model *diff_model_ref(diff_model *m);
void diff_model_unref(diff_model **m);
/* Another model over the same network: its own sigmas. */
err_code diff_model_with_sigmas(const diff_model *m, const sigmas_params *p, diff_model **ret,
                                err *e);
diff_model *diff_model_copy(const diff_model *m);

/* How the sides are combined. */
typedef enum diff_guide_kind {
    DIFF_GUIDE_CFG,
    DIFF_GUIDE_BASIC, /* positive alone */
    DIFF_GUIDE_DUAL,  /* two positives, regular */
    DIFF_GUIDE_DUAL_NESTED,
    DIFF_GUIDE_PERP_NEG
} diff_guide_kind;

typedef struct diff_guide {
    diff_guide_kind kind;
    diff_model *model;
    const diff_conds *positive, *negative, *middle; /* middle: the second positive, or the empty */
    double cfg, cfg2;                               /* DUAL: of the second; PERP_NEG: its scale */
} diff_guide;

typedef struct diff_latent_in {
    const float *x; /* [n, c, y, x_len], VAE units */
    int32_t n, c, y, x_len;
    const float *mask; /* [n or 1, y, x_len]: where noise goes, or NULL */
    int32_t mask_n;
} diff_latent_in;

/* Evaluations of the network, one for each conditioning and call of the sampler. */
typedef struct diff_sample_stats {
    int64_t n_computed, n_saved;
} diff_sample_stats;

typedef struct diff_sample_job {
    const diff_guide *guide;
    const char *sampler;
    const sampler_settings *set; /* NULL: sampler_defaults() */
    sigmas_schedule schedule;
    uint64_t seed;
    const float *noise; /* [n, c, y, x_len] of deviation 1; NULL = none */
    diff_latent_in latent;
    const diff_gate *gate;
    void *ctx;
    /* Called once a step: x0 [n, c, y, x_len] in VAE units. */
    err_code (*progress)(void *ctx, int32_t step, int32_t n_steps, const float *x0, err *e);
    diff_sample_stats *stats; /* filled as it goes on; or NULL */
} diff_sample_job;

/* ret [n, c, y, x_len] in VAE units; ret_x0 (or NULL) the last estimate. DEVICE when the result is
 * not a number. */
err_code diff_sample(const diff_sample_job *job, float *ret, float *ret_x0, err *e);

/* What the whole job takes. */
err_code diff_sample_cost(const diff_sample_job *job, diff_cost *ret, err *e);
