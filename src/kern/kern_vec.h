/* Float kernels: norms, elementwise functions, rotary positions and blocks of attention.
 *
 * One line of KERN_VEC_SLOTS per kernel gives its signature; the table, the declarations and the
 * tests come from it. The reference (ref/vec.c) fills every slot; x86/vec_avx2.c and
 * x86/vec_avx512.c overlay what they do faster. The result for a row depends on that row alone and
 * on the level, never on neighbours, so batching cannot change it.
 * Pointers need no alignment; n may be any count >= 0; out may be the same as an input of the same
 * kernel, but not overlap it otherwise. Threads: the tables are constant after the first call. */
#pragma once
#include "kern/kern.h"
#include <stdint.h>

/* Activation functions; dev_act has the same order. */
typedef enum kern_act {
    KERN_ACT_SILU,
    KERN_ACT_GELU_TANH,
    KERN_ACT_GELU_ERF,
    KERN_ACT_RELU,
    KERN_ACT_GELU_QUICK,
    KERN_ACT_TANH,
    KERN_ACT_SIGMOID,
    KERN_ACT_COUNT
} kern_act;

/* Keys of one attention block: a page of the KV cache. */
enum { KERN_ATTN_KEYS = 32 };

/* Running state of one query row over its blocks (online softmax, Milakov and Gimelshein 2018). */
typedef struct kern_attn_state {
    float max; /* largest score so far, -INFINITY at first */
    float sum; /* of exp(score - max) */
} kern_attn_state;

/* What attn_soft needs to know besides scores: keys [from, to) of the block are seen. */
typedef struct kern_attn_mask {
    int32_t from, to;
    float softcap; /* 0 = none */
} kern_attn_mask;

/* rms_norm:    out = x / sqrt(mean(x^2) + eps) * w        (w NULL = ones)
 * layer_norm:  out = (x - mean) / sqrt(var + eps) * w + b (w, b NULL = ones, zeros)
 * add_scaled:  out += a * x
 * scale:       out = x * scale + bias;  softcap: out = cap * tanh(x / cap)
 * glu:         out = act(gate) * up
 * rope_*:      rotates the first n_rot elements of a row, copies the rest; cos_sin holds n_rot / 2
 *              cosines, then as many sines. norm: pairs (2i, 2i+1); neox: (i, i + n_rot/2)
 * attn_qk:     s[q][32] = sum_d q[q][d] kt[d][32], kt f16; d ascending for every element
 * attn_soft:   s[32] scores -> weights exp(score - new max), zero where masked; updates *st and
 *              returns the factor for what was accumulated before (1 when nothing is seen)
 * attn_pv:     acc[q][d] = acc[q][d] * corr[q] + sum_{j in [from,to)} p[q][32 j] v[j][d], v f16 */
#define KERN_VEC_SLOTS(X)                                                                          \
    X(void, rms_norm, (float *out, const float *x, const float *w, int64_t n, float eps))          \
    X(void, layer_norm,                                                                            \
      (float *out, const float *x, const float *w, const float *b, int64_t n, float eps))          \
    X(void, l2_norm, (float *out, const float *x, int64_t n))                                      \
    X(void, add, (float *out, const float *a, const float *b, int64_t n))                          \
    X(void, mul, (float *out, const float *a, const float *b, int64_t n))                          \
    X(void, add_scaled, (float *out, const float *x, float a, int64_t n))                          \
    X(void, scale, (float *out, const float *x, int64_t n, float scale, float bias))               \
    X(void, softcap, (float *out, const float *x, int64_t n, float cap))                           \
    X(void, softmax, (float *out, const float *x, int64_t n))                                      \
    X(void, act, (float *out, const float *x, int64_t n, kern_act act))                            \
    X(void, glu, (float *out, const float *gate, const float *up, int64_t n, kern_act act))        \
    X(void, rope_norm,                                                                             \
      (float *out, const float *x, const float *cos_sin, int64_t n_rot, int64_t n))                \
    X(void, rope_neox,                                                                             \
      (float *out, const float *x, const float *cos_sin, int64_t n_rot, int64_t n))                \
    X(void, f32_to_f16, (uint16_t * out, const float *x, int64_t n))                               \
    X(void, attn_qk, (float *s, const float *q, const uint16_t *kt, int64_t n_q, int64_t n_dim))   \
    X(float, attn_soft, (float *s, kern_attn_state *st, const kern_attn_mask *mask))               \
    X(void, attn_pv,                                                                               \
      (float *acc, const float *p, const float *corr, const uint16_t *v, int64_t n_q,              \
       int64_t n_dim, int32_t from, int32_t to))

typedef struct kern_vec {
#define KERN_VEC_FIELD(ret, name, args) ret(*name) args;
    KERN_VEC_SLOTS(KERN_VEC_FIELD)
#undef KERN_VEC_FIELD
} kern_vec;

/* The table of a usable level. Never NULL. */
const kern_vec *kern_vec_get(kern_level level);
