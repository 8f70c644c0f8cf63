/* Text encoders of the CLIP family: CLIP-L in the transformers layout, OpenCLIP H and bigG in
 * theirs.
 *
 * Tokens come as rows of the embedding table, so that learned embeddings can stand between them.
 * Source: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision",
 * 2021. */
#pragma once
#include "diffusion/net.h"

typedef struct clip_text clip_text;

typedef struct clip_text_info {
    int32_t n_layers, width, n_tokens; /* n_tokens: positions, 77 */
    int32_t n_vocab;
    int32_t pooled_dim;  /* width, or the projection's */
    bool open_clip;      /* GELU; else quick-GELU */
    bool has_projection; /* text_projection is there */
} clip_text_info;

/* The weights' prefix leads to "text_model..." or to OpenCLIP's names. Takes w's reference. */
err_code clip_text_create(dev *d, diff_weights *w, clip_text **ret, err *e);
clip_text *clip_text_ref(clip_text *c);
void clip_text_unref(clip_text **c);
const clip_text_info *clip_text_get_info(const clip_text *c);
diff_net *clip_text_net(const clip_text *c);

/* Row of a token [width], borrowed; NULL when the id is out of range. */
const float *clip_text_row(clip_text *c, int32_t id);

typedef struct clip_text_input {
    const float *rows; /* [77, width], without positions */
    int32_t eos;       /* place of the first end token: pooled is taken there */
    int32_t layer;     /* 0 = the last; -2 the last but one, ... as CLIPSetLastLayer */
    bool final_norm;   /* apply the final norm to the hidden layer as well */
} clip_text_input;
diff_shape clip_text_shape(const clip_text *c, const clip_text_input *in);
/* ret_hidden [77, width]; ret_pooled [pooled_dim]: of the last layer, normed, projected where there
 * is a projection. */
err_code clip_text_eval(clip_text *c, const clip_text_input *in, const diff_gate *gate,
                        float *ret_hidden, float *ret_pooled, err *e);
