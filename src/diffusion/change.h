/* Changes to guidance that a MODEL carries: what is done to the sides' estimates before they are
 * combined, how they are combined, and what is done to the result.
 *
 * A list of plain records, in the order in which they were added; those before combining run
 * first, then the last way to combine, then those after it. Owner: the model. Threads: read-only.
 */
#pragma once
#include "base/err.h"
#include "diffusion/cond.h"
#include <stdbool.h>
#include <stddef.h>

typedef enum diff_change_kind {
    /* before combining */
    DIFF_CHANGE_TCFG,      /* the negative without what is tangential (Kwon et al. 2025) */
    DIFF_CHANGE_APG,       /* v: eta, norm threshold, momentum (Sadat et al. 2024) */
    DIFF_CHANGE_OPERATION, /* apply() on the difference of the sides */
    DIFF_CHANGE_FRESCA,    /* v: factors of the difference's low and high frequencies, how many of
                              each direction are low (Huang et al. 2025) */
    /* how to combine; the last one counts */
    DIFF_CHANGE_RESCALE,      /* v: multiplier */
    DIFF_CHANGE_PERP_NEG,     /* v: scale; conds: the empty prompt */
    DIFF_CHANGE_LINEAR_CFG,   /* v: the first picture's guidance; the last one's is the job's */
    DIFF_CHANGE_TRIANGLE_CFG, /* likewise: the first and last one's; the middle one's is the job's
                               */
    /* after it */
    DIFF_CHANGE_ZERO_STAR, /* the best scale for the negative (Fan et al. 2025) */
    DIFF_CHANGE_NORM,      /* v: strength; no pixel longer than the positive's */
    DIFF_CHANGE_MAHIRO,
    DIFF_CHANGE_EPSILON,   /* v: what the noise is divided by (Li et al. 2023) */
    DIFF_CHANGE_PERTURBED, /* v: scale; away from an estimate without self-attention in the middle
                             (Ahn et al. 2024) */
    DIFF_CHANGE_SELF_ATTENTION, /* v: scale, deviation of the blur; away from an estimate of what
                                   was blurred where the middle looks (Hong et al. 2023) */
    /* the network */
    DIFF_CHANGE_FREEU,    /* v: b1, b2, s1, s2; the last one counts */
    DIFF_CHANGE_FREEU_V2, /* likewise */
    DIFF_CHANGE_TILES,    /* v: pixels of a tile, how many sizes to choose from, deepest level, 1 =
                             larger by level; the last one counts, as of those that follow */
    DIFF_CHANGE_MERGE,    /* v: share of the cells */
    DIFF_CHANGE_SHRINK,   /* v: block, factor, first and last share of the steps, 1 = after it was
                             kept, resize_methods down and up */
    /* the mask */
    DIFF_CHANGE_DIFFERENTIAL /* v: strength; the mask is a threshold in time (Levin, Fried 2023) */
} diff_change_kind;

enum { DIFF_CHANGES_MAX = 16, DIFF_CHANGE_OP_BYTES = 64 };

typedef struct diff_change {
    diff_change_kind kind;
    double v[8];
    diff_conds *conds; /* PERP_NEG; owned */
    /* OPERATION: in place on px [n, c, y, x], dims = {n, c, y, x} */
    err_code (*apply)(const void *op, const size_t dims[4], float *px, err *e);
    unsigned char op[DIFF_CHANGE_OP_BYTES];
} diff_change;

typedef struct diff_changes {
    size_t n;
    diff_change items[DIFF_CHANGES_MAX];
} diff_changes;

/* LIMIT when there are too many. Shares p's conds' entries. */
err_code diff_changes_add(diff_changes *l, const diff_change *p, err *e);
void diff_changes_copy(const diff_changes *from, diff_changes *to);
void diff_changes_finish(diff_changes *l);
/* The last of a kind, or NULL. */
const diff_change *diff_changes_find(const diff_changes *l, diff_change_kind kind);
