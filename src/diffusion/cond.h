/* Conditioning: what a text means to the network, and where and when it counts.
 *
 * One diff_cond is one encoded prompt with its limits: an area or mask of the picture, a range of
 * the way from noise to picture, a strength. A CONDITIONING is a list of them. Objects are counted
 * and immutable once shared; diff_cond_copy makes one to change (vectors are shared).
 * Threads: counts are atomic. */
#pragma once
#include "base/err.h"
#include "base/str.h"
#include <stdint.h>

/* Floats that several conds share. */
typedef struct diff_floats_ref {
    _Atomic int refs;
    size_t n;
    float v[];
} diff_floats_ref;
diff_floats_ref *diff_floats_new(size_t n);             /* zeroed */
diff_floats_ref *diff_floats_share(diff_floats_ref *f); /* NULL allowed */
void diff_floats_drop(diff_floats_ref **f);

typedef enum diff_area_kind {
    DIFF_AREA_NONE,
    DIFF_AREA_CELLS,  /* h, w, y, x in cells of the latent */
    DIFF_AREA_PERCENT /* shares of the latent's sides */
} diff_area_kind;

typedef struct diff_cond {
    _Atomic int refs;
    diff_floats_ref *vectors; /* [n_tokens, dim] */
    int32_t n_tokens, dim;
    diff_floats_ref *pooled; /* [n] or NULL */
    diff_area_kind area_kind;
    double area[4]; /* height, width, y, x */
    double strength;
    diff_floats_ref *mask; /* [mask_n, mask_y, mask_x] or NULL */
    int32_t mask_n, mask_y, mask_x;
    double mask_strength;
    bool mask_bounds; /* the area is the mask's box */
    bool has_range;
    double start, end; /* shares of the way, 0 noise to 1 picture */
    bool has_size;     /* SDXL: sizes below were given */
    double width, height, crop_w, crop_h, target_w, target_h;
    bool has_aesthetic; /* refiner */
    double aesthetic;
    diff_floats_ref *concat;      /* [concat_n, C, concat_y, concat_x] latent beside x, or NULL */
    diff_floats_ref *concat_mask; /* [concat_n, 1, concat_y, concat_x] */
    int32_t concat_n, concat_c, concat_y, concat_x;
} diff_cond;

diff_cond *diff_cond_new(void); /* strength 1, nothing else */
diff_cond *diff_cond_ref(diff_cond *c);
void diff_cond_unref(diff_cond **c);
diff_cond *diff_cond_copy(const diff_cond *c);

typedef struct diff_conds {
    size_t n;
    diff_cond **items;
} diff_conds;
diff_conds *diff_conds_new(size_t n); /* items NULL, to be filled */
void diff_conds_destroy(void *conds);
