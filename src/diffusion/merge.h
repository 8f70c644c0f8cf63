/* Models made of two: W = keep * W1 + add * W2, by block.
 *
 * The sum is computed when a graph asks for a tensor; what is taken from one model alone stays
 * shared with it. Both must be of one family and size. Threads: as net.h. */
#pragma once
#include "diffusion/checkpoint.h"

/* How tensors whose names begin with `prefix` (without the checkpoint's own) are mixed. */
typedef struct diff_mix {
    const char *prefix; /* borrowed for the call's length */
    double keep, add;
} diff_mix;

/* Of several that fit a name the longest prefix counts; of none the first row. n > 0. INVALID names
 * a tensor whose shapes differ. */
err_code diff_merge_model(const diff_model *a, const diff_model *b, const diff_mix *mix, size_t n,
                          diff_model **ret, err *e);
err_code diff_merge_clip(const diff_clip *a, const diff_clip *b, const diff_mix *mix, size_t n,
                         diff_clip **ret, err *e);
