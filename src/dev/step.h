/* What one run of a program is given: its inputs and outputs, and the cache of keys and values.
 * Plain data; nothing here allocates. Threads: the caller's until dev_run returns. */
#pragma once
#include "kern/dtype.h"
#include <stdint.h>

/* Run-time inputs of a language model step. */
enum { DEV_INPUT_TOKENS, DEV_INPUT_POS, DEV_INPUT_OUT_ROWS, DEV_INPUT_TYPES, DEV_INPUT_COUNT };
enum {
    DEV_OUTPUT_LOGITS,
    DEV_OUTPUT_EMBED,
    DEV_OUTPUT_RESULT,
    DEV_OUTPUT_SECOND,
    DEV_OUTPUT_COUNT
};
/* Run-time inputs of floats, of picture programs. */
enum {
    DEV_DATA_X,
    DEV_DATA_TIME,
    DEV_DATA_CONTEXT,
    DEV_DATA_EXTRA,
    DEV_DATA_PICKS,
    DEV_DATA_COUNT
};

/* The paged KV cache as attention sees it. One page holds page_tokens tokens of every layer, as
 * `type` (F16): [layer] { k [kv head][head_dim_k][page_tokens], v [kv
 * head][page_tokens][head_dim_v] }. Keys are stored transposed so that scores of 32 keys are
 * computed side by side without sums across a register; whoever copies pages copies whole pages and
 * need not care. */
enum { DEV_KV_PAGE_TOKENS = 32 };

typedef struct dev_kv_shape {
    int32_t n_layers;
    int32_t n_head_kv; /* the same for all layers in one pool */
    int32_t head_dim_k, head_dim_v;
    int32_t page_tokens; /* DEV_KV_PAGE_TOKENS */
    dtype type;
} dev_kv_shape;

uint64_t dev_kv_page_bytes(const dev_kv_shape *s);

/* One sequence's part of a step: tokens [first_tok, first_tok + n_tok) of the step's token list are
 * its newest tokens, at positions pos[first_tok].. and so on; kv_len counts the tokens in its pages
 * after this step's KV_STORE. */
typedef struct dev_seq {
    int32_t first_tok, n_tok;
    int32_t kv_len;
    const int32_t *pages; /* [ceil(kv_len / page_tokens)] page numbers in the pool */
} dev_seq;

typedef struct dev_step {
    int32_t n_tokens, n_out_rows, n_seqs;
    const int32_t *inputs[DEV_INPUT_COUNT]; /* token ids [n_tokens], positions [n_tokens], rows
                                               [n_out_rows], token types [n_tokens] or NULL */
    const float *data[DEV_DATA_COUNT];      /* dense, as planned; NULL where not used */
    float *outputs[DEV_OUTPUT_COUNT];       /* host memory: logits [n_out_rows, V], embeddings */
    const dev_seq *seqs; /* [n_seqs], ordered by first_tok, covering all tokens */
    const dev_kv_shape *kv_shape;
    void *kv_pool; /* device memory of the pages; NULL when the program has no ATTENTION */
} dev_step;
