/* Fillers of the matrix kernel table: the reference sets every slot, overlays what they have. */
#pragma once
#include "kern/kern_mat.h"

void kern_mat_init_ref(kern_mat *t);
void kern_mat_init_avx2(kern_mat *t);
void kern_mat_init_avxvnni(kern_mat *t);
void kern_mat_init_avx512(kern_mat *t);

/* The end of a kernel: adds bias and residual to the sums of `n` rows from row `row` of column t.
 */
static inline void mat_store(const kern_mat_job *j, int64_t t, int64_t row, const float *sums,
                             int64_t n) {
    int64_t at = j->out_ids ? j->out_ids[t] : t;
    float *out = (float *)(void *)((char *)j->out + at * j->out_stride) + row;
    const float *res = NULL;
    if (j->residual)
        res = (const float *)(const void *)((const char *)j->residual + at * j->residual_stride) +
              row;
    for (int64_t i = 0; i < n; i++) {
        float v = sums[i];
        if (j->bias) v += j->bias[row + i];
        if (res) v += res[i];
        out[i] = v;
    }
}

/* Column t. */
static inline const void *mat_column(const kern_mat_job *j, int64_t t) {
    return (const char *)j->x + (j->x_ids ? j->x_ids[t] : t) * j->x_stride;
}
