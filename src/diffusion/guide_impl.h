/* Inside guidance: one side's conditionings resolved for a latent's size. guide.c evaluates sides,
 * sample.c combines them and walks. Only these include this. */
#pragma once
#include "base/vec.h"
#include "diffusion/guide.h"
#include "diffusion/noise.h"

typedef struct guide_area {
    bool given;
    int32_t h, w, y, x; /* cells */
} guide_area;

typedef struct guide_entry {
    const diff_cond *cond; /* limits */
    const diff_cond *text; /* vectors; the same but for mirrored areas */
    guide_area area;
    float *mask; /* [mask_n, Y, X] at the latent's size, or NULL */
    /* What inpainting and editing networks see beside the latent, at its size; NULL = none. */
    float *concat, *concat_mask; /* [concat_n, concat_c, Y, X], [n_masks, Y, X] */
    int32_t n_masks;
} guide_entry;

typedef struct guide_side {
    VEC(guide_entry) entries;
    bool negative;
} guide_side;

/* What a model's changes to the network keep during a job (guide_network.c). */
typedef struct guide_network {
    noise_rng rng;                        /* goes on where the starting noise ended */
    uint32_t draws[UNET_TILED_LEVELS][2]; /* which sizes of tiles */
    float *picks;                         /* cells' targets of this call, or NULL */
    int32_t picks_y, picks_x;             /* the size they are for; 0 = none yet */
    float *mass; /* [n, mass_yx] of the negative side's last evaluation, or NULL */
    int32_t mass_yx[2];
} guide_network;

/* One job's constants. */
typedef struct guide_run {
    diff_model *model;
    int32_t n, c, y, x;
    const float *latent; /* [n, c, y, x] scaled: what the job began with */
    const float *noised; /* [n, c, y, x] where noise goes, or NULL */
    const diff_gate *gate;
    step_cache *cache; /* of conditionings' outputs, or NULL */
    diff_sample_stats stats;
    arena *mem;
    guide_network network;
    bool perturbed; /* the network without self-attention in its middle */
    bool aside;     /* an evaluation that is none of the sides': step caching does not see it */
} guide_run;

typedef struct guide_eval {
    const float *x;
    double sigma;
    bool negative;
    const void *key; /* which conditioning, for step caching */
} guide_eval;

void guide_side_open(guide_run *r, const diff_conds *conds, bool negative, guide_side *ret);
void guide_sides_match(guide_side *a, guide_side *b);
void guide_side_close(guide_side *s);
/* ret [n, c, y, x]: the weighted estimate of the data. */
err_code guide_side_eval(guide_run *r, const guide_side *s, const float *x, double sigma,
                         float *ret, err *e);

/* ---- a model's changes to the network (guide_network.c) ---- */

void guide_network_open(guide_run *r, uint64_t seed);
/* Another call of the network for all sides: what is drawn by chance is drawn again. */
void guide_network_next(guide_run *r);
/* Sets what the changes want at this sigma; in->y and x_len are known. in->mass is scratch. */
void guide_network_fill(guide_run *r, double sigma, unet_input *in);
/* After an evaluation: keeps what the negative side's middle looked at. */
void guide_network_keep(guide_run *r, const unet_input *in, bool negative);

/* ---- a model's changes to guidance (guide_change.c) ---- */

/* One call's estimates, [n] floats = dims {n_pictures, channels, Y, X}. */
typedef struct guide_sides {
    size_t n, n_pictures, dims[4];
    const float *x;
    float *cond, *uncond; /* uncond is zeros when its side was left out */
    bool has_uncond;
    double sigma, cfg;
} guide_sides;

/* What one change keeps between calls. */
typedef struct guide_memory {
    bool used;
    double sigma;
    float *average; /* [n] */
} guide_memory;

/* Those before combining, in place; memory has a place for each of l. */
err_code guide_changes_before(const diff_changes *l, guide_sides *g, guide_memory *m, err *e);
/* One of those after it, on the result [n]; others do nothing. */
void guide_change_after(const diff_change *p, const guide_sides *g, float *ret);

/* The negative's estimate, blurred where the middle of the network looks: ret [n]. */
void guide_blurred(const guide_sides *g, const guide_network *w, double deviation, float *ret);

/* The sigmas of a walk: where it starts and ends, and where it is. */
typedef struct guide_time {
    double first, last, now;
} guide_time;
/* mask [n] to the mask of this moment. */
void guide_differential(const guide_run *r, const diff_change *p, const guide_time *t,
                        const float *mask, size_t n, float *ret);
