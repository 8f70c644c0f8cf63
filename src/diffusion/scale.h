/* A model with some of its weights multiplied, by the part of attention they belong to.
 *
 * Computed when a graph asks for a tensor; everything else stays shared. Threads: as net.h. */
#pragma once
#include "diffusion/checkpoint.h"

/* Factors of the projections to queries, keys, values and of the result; weights and biases. */
typedef struct diff_attention_scale {
    double q, k, v, out;
} diff_attention_scale;

/* `attention`: "attn1" (of pictures to themselves) or "attn2" (to the text). */
err_code diff_model_scale(const diff_model *m, const char *attention, const diff_attention_scale *s,
                          diff_model **ret, err *e);
err_code diff_clip_scale(const diff_clip *c, const diff_attention_scale *s, diff_clip **ret,
                         err *e);
