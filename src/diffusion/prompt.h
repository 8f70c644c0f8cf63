/* Prompts: weights in parentheses, tokens in chunks of 77, vectors of one or two text encoders.
 *
 * `(text:1.2)` sets a weight, `(text)` multiplies by 1.1, `\(` is a parenthesis; embedding:name
 * stands for learned vectors. Long texts become several chunks, encoded apart and joined. A weight
 * moves a token's vector away from that of the empty prompt. Behaviour as ComfyUI's.
 * Threads: one at a time per encoder. */
#pragma once
#include "diffusion/arch/clip_text.h"
#include "diffusion/cond.h"

/* A stretch of text with one weight. */
typedef struct prompt_part {
    str text;
    double weight;
} prompt_part;
/* In `a`; escapes are resolved. */
prompt_part *prompt_parse(arena *a, str text, size_t *ret_n);

/* Finds a learned embedding: the path of a file in the embeddings folder, or false. */
typedef struct prompt_embeddings {
    void *ctx;
    bool (*path)(void *ctx, str name, arena *a, str *ret_path);
} prompt_embeddings;

/* One encoder and how its family uses it. */
typedef struct prompt_encoder {
    clip_text *clip;
    int32_t pad;   /* token behind the end: CLIP_TOK_END or 0 */
    int32_t layer; /* 0 = last; see clip_text_input */
    bool final_norm;
    const char *embed_key; /* of this encoder in an embedding's file: "clip_l", "clip_g" */
    const prompt_embeddings *embeddings; /* or NULL */
} prompt_encoder;

/* The prompt's vectors [ret_n_tokens, width] and pooled vector [pooled_dim], mem_alloc'ed, the
 * caller's. At least min_chunks chunks (two encoders must give equally many). */
typedef struct prompt_result {
    float *vectors, *pooled;
    int32_t n_tokens, width, pooled_dim;
} prompt_result;
err_code prompt_encode(const prompt_encoder *enc, str text, int32_t min_chunks,
                       const diff_gate *gate, prompt_result *ret, err *e);
/* How many chunks of 77 the text makes. */
int32_t prompt_chunks(const prompt_encoder *enc, str text);
void prompt_result_finish(prompt_result *r);
