/* Inside guidance: one side's conditionings resolved for a latent's size. guide.c evaluates sides,
 * sample.c combines them and walks. Only these include this. */
#pragma once
#include "base/vec.h"
#include "diffusion/guide.h"

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
