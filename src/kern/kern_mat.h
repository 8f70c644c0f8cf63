/* Matrix times vectors, for every weight type, and the 8-bit form of activations.
 *
 * A kernel computes out[t][n] = sum_k w[n][k] x[t][k] for a range of rows n and all columns t. The
 * faster ones unpack a tile of KERN_MAT_ROWS rows into the scratch once (bytes of all rows side by
 * side, so that a lane is a row), multiply it with every column and go on; one column or many, a
 * result is the same bits: sums inside a block are exact integers, blocks are added in ascending
 * order in f32, and neither depends on other rows or columns. Results differ between levels by the
 * rounding of f32 sums only.
 *
 * ACT8, a row of k activations (k a multiple of 32) in 8 bits: arrays one after the other,
 *   i8  q[k]         x = d q, q in [-127, 127]
 *   f32 d[k / 32]    max |x| / 127 of the block
 *   f32 sum32[k/32]  d * (sum of q of the block), for weights with a minimum or an offset
 *   f32 sum16[k/16]  the same per 16 elements
 *   i32 neg32[k/32]  -128 * (sum of q), for weights that are stored as bytes + 128
 *   i32 neg16[k/16]
 * Threads: the tables are constant after the first call. */
#pragma once
#include "kern/interleave.h"
#include "kern/kern.h"

enum { KERN_MAT_ROWS = KERN_TILE_ROWS, KERN_ACT8_BLOCK = 32 };

/* Byte offsets of ACT8's arrays, from k. */
static inline int64_t kern_act8_d(int64_t k) {
    return k;
}
static inline int64_t kern_act8_sum32(int64_t k) {
    return k + k / 8;
}
static inline int64_t kern_act8_sum16(int64_t k) {
    return k + k / 4;
}
static inline int64_t kern_act8_neg32(int64_t k) {
    return k + k / 2;
}
static inline int64_t kern_act8_neg16(int64_t k) {
    return k + k / 2 + k / 8;
}
/* Bytes of a row, a multiple of 64. */
static inline uint64_t kern_act8_row_bytes(int64_t k) {
    return ((uint64_t)(k + k / 2 + k / 8 + k / 4) + 63) / 64 * 64;
}

/* One multiplication. Pointers need no alignment except x's f32 and ACT8 rows (4 bytes). */
typedef struct kern_mat_job {
    const void *w; /* row n at w + n * w_stride; k elements of the kernel's type */
    int64_t w_stride;
    bool interleaved; /* w is tiles (kern/interleave.h), tile i at w + i * 16 * w_stride */
    int64_t k;
    int64_t from, to; /* rows to compute; `from` begins a tile */
    const void *x;    /* column t at x + (x_ids ? x_ids[t] : t) * x_stride: ACT8 or f32 */
    int64_t x_stride;
    const int32_t *x_ids;
    int64_t n_cols;
    float *out; /* element n of column t at out + (out_ids ? out_ids[t] : t) * out_stride bytes */
    int64_t out_stride;
    const int32_t *out_ids;
    const float *bias;     /* [rows] added, or NULL */
    const float *residual; /* added, indexed like out with its own stride; may be out; or NULL */
    int64_t residual_stride;
    const void *then; /* weights that this thread will probably need next, or NULL: fetched ahead */
} kern_mat_job;

typedef void kern_mat_fn(const kern_mat_job *j, void *scratch);
typedef void kern_act8_fn(void *out, const float *x, int64_t k);

/* Types whose kernels take ACT8 columns, and those that take f32. */
#define KERN_MAT_ACT8_TYPES(X)                                                                     \
    X(Q4_0, q4_0)                                                                                  \
    X(Q4_1, q4_1)                                                                                  \
    X(Q5_0, q5_0)                                                                                  \
    X(Q5_1, q5_1)                                                                                  \
    X(Q8_0, q8_0)                                                                                  \
    X(Q2_K, q2_k)                                                                                  \
    X(Q3_K, q3_k)                                                                                  \
    X(Q4_K, q4_k)                                                                                  \
    X(Q5_K, q5_k)                                                                                  \
    X(Q6_K, q6_k)                                                                                  \
    X(IQ4_NL, iq4_nl)                                                                              \
    X(IQ4_XS, iq4_xs)                                                                              \
    X(MXFP4, mxfp4)
#define KERN_MAT_F32_TYPES(X) X(F32, f32) X(F16, f16) X(BF16, bf16)

typedef struct kern_mat {
    kern_mat_fn *mul[DTYPE_COUNT]; /* never NULL for a supported type; see kern_mat_takes_act8 */
    kern_act8_fn *act8;            /* out = x in ACT8: d = max/127, q = nearest even(x * 127/max) */
} kern_mat;

/* Whether columns for weights of this type are ACT8; f32 otherwise. The same at all levels. */
bool kern_mat_takes_act8(dtype t);

/* Bytes of scratch, 64-byte aligned, for any type. */
uint64_t kern_mat_scratch_bytes(int64_t k, int64_t n_cols);

/* The table of a usable level. Never NULL. */
const kern_mat *kern_mat_get(kern_level level);
