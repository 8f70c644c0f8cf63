/* The numbers that describe a language model, read from a GGUF file's keys and checked.
 *
 * Every value comes from a stranger: each has a bound here or in base/limits.h, so that later code
 * may multiply them in 64 bits without a thought. Shapes of tensors are checked against these
 * numbers in weights.c. Plain data; owned by the model; read-only after loading. */
#pragma once
#include "dev/op.h"
#include "model/gguf.h"

typedef enum llm_rope_scaling {
    LLM_ROPE_NONE,
    LLM_ROPE_LINEAR,
    LLM_ROPE_YARN,
    LLM_ROPE_LONG /* divisors for short and long contexts */
} llm_rope_scaling;

typedef struct llm_hparams {
    int32_t n_layers;
    int32_t n_embd;  /* D */
    int32_t n_vocab; /* V, rows of token_embd */
    int32_t ctx_train;
    int32_t n_head, n_head_kv; /* H; the same in all layers */
    int32_t head_dim_k, head_dim_v;
    int32_t n_rot;
    int32_t n_ff;               /* F of dense layers, 0 if there are none */
    int32_t n_expert;           /* E, 0 = dense */
    int32_t n_expert_used;      /* U */
    int32_t n_ff_exp;           /* F of one expert */
    int32_t n_ff_shexp;         /* F of the shared expert, 0 = none */
    bool expert_renorm;         /* the chosen experts' weights are made to sum to 1 */
    float expert_scale;         /* and multiplied by this */
    float norm_eps;             /* of RMS or layer norms */
    float attn_scale;           /* of q k^T */
    float attn_softcap;         /* 0 = none */
    float final_softcap;        /* 0 = none */
    float embd_scale;           /* of token embeddings */
    int32_t window;             /* of local layers; 0 = none */
    int32_t window_period;      /* layer il is global iff (il + 1) % period == 0; 0 = all local */
    const gguf_array *is_local; /* or one bool a layer; NULL = by period */
    llm_rope_scaling rope_scaling;
    dev_rope rope;       /* of global layers */
    dev_rope rope_local; /* of local layers */
    bool causal;
    dev_pool pool;
} llm_hparams;

/* Reads <arch>.* . *hp comes in zeroed but for the family's defaults (expert_renorm, window,
 * window_period, rope.freq_base), which hold where the file is silent. NOT_FOUND, FORMAT, LIMIT and
 * UNSUPPORTED name the key; *hp is then undefined. n_vocab comes from a tensor (model.c). */
err_code llm_hparams_read(const gguf *g, llm_hparams *hp, err *e);

/* Reads `<arch>.<suffix>`; the fallback when absent, FORMAT when it is not finite. */
err_code llm_hparams_f32(const gguf *g, const char *suffix, float fallback, float *ret, err *e);
/* An integer in [lo, hi], or a per-layer array of one repeated value; LIMIT otherwise. A fallback
 * below lo means that the key is required. */
err_code llm_hparams_i32(const gguf *g, const char *suffix, const int32_t range[2],
                         int32_t fallback, int32_t *ret, err *e);

/* Whether layer il (from 0) sees only the last `window` tokens. */
bool llm_hparams_is_local(const llm_hparams *hp, int32_t il);
