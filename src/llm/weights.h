/* The tensors of a model, bound by name.
 *
 * One struct holds every tensor that any family has; a family lists those it needs as a table of
 * name, place and shape, and llm_weights_bind checks all of it against the file before anything is
 * used. Matrices are borrowed from the mapping (settle.h moves them later); vectors (norms, biases)
 * are f32 and are converted when the file holds another type. Owner: the model; read-only after
 * binding. */
#pragma once
#include "dev/dev.h"
#include "llm/hparams.h"

/* ne[0] is the row length (inputs); a missing optional tensor has data NULL. */
typedef struct llm_weight {
    dtype type;
    int32_t n_dims;
    int64_t ne[4];
    const void *data;
    bool interleaved; /* not as in the file: dev_interleave */
    int32_t lora;     /* which pair of llm_weights.loras changes it, counted from 1; 0 = none */
    float lora_scale;
} llm_weight;

typedef struct llm_layer {
    llm_weight attn_norm, attn_norm_b;
    llm_weight q, k, v, qkv, o; /* [D, H K], [D, Hkv K], [D, Hkv Kv], all three, [H Kv, D] */
    llm_weight q_b, k_b, v_b, qkv_b, o_b;
    llm_weight q_norm, k_norm; /* per head [K] */
    llm_weight post_attn_norm, post_attn_norm_b;
    llm_weight ffn_norm;
    llm_weight gate, up, down; /* [D, F], [D, F or 2F], [F, D] */
    llm_weight gate_b, up_b, down_b;
    llm_weight post_ffn_norm, post_ffn_norm_b;
    llm_weight router;                        /* [D, E] */
    llm_weight gate_exps, up_exps, down_exps; /* [D, Fe, E], [D, Fe, E], [Fe, D, E] */
    llm_weight gate_shexp, up_shexp, down_shexp, router_shexp; /* shared expert; [D, 1] */
} llm_layer;

typedef struct llm_weights {
    llm_weight embd;                /* [D, V] */
    llm_weight pos_embd, type_embd; /* [D, positions], [D, types] */
    llm_weight embd_norm, embd_norm_b;
    llm_weight out_norm, out_norm_b;
    llm_weight out; /* [D, V]; embd when tied */
    llm_weight out_b;
    llm_weight rope_divisors;         /* f32 [n_rot / 2] */
    llm_weight rope_long, rope_short; /* the same for long and short contexts */
    llm_layer *layers;                /* [n_layers] */
    llm_weight *loras;                /* [n_loras] pairs: A [K, rank], B [rank, N] (adapter.h) */
    int32_t n_loras;
} llm_weights;

/* A dimension in a shape table, taken from the hyper-parameters. */
typedef enum llm_dim {
    LLM_DIM_NONE, /* beyond the tensor's dimensions */
    LLM_DIM_1,
    LLM_DIM_D,
    LLM_DIM_V,
    LLM_DIM_HK,    /* H K */
    LLM_DIM_HKV_K, /* Hkv K */
    LLM_DIM_HKV_V, /* Hkv Kv */
    LLM_DIM_HV,    /* H Kv */
    LLM_DIM_QKV,   /* the three together */
    LLM_DIM_K,
    LLM_DIM_F,
    LLM_DIM_2F,
    LLM_DIM_E,
    LLM_DIM_FE,
    LLM_DIM_FS,
    LLM_DIM_ROT2, /* n_rot / 2 */
    LLM_DIM_ANY
} llm_dim;

typedef enum llm_bind_need {
    LLM_NEED_ALWAYS,
    LLM_NEED_NEVER, /* optional */
    LLM_NEED_DENSE, /* when the model has no experts */
    LLM_NEED_EXPERTS,
    LLM_NEED_SHARED /* when it has a shared expert */
} llm_bind_need;

typedef struct llm_bind {
    const char *name; /* "token_embd.weight", or the part behind "blk.N." */
    size_t offset;    /* of the llm_weight in llm_weights or llm_layer */
    llm_dim ne[3];
    llm_bind_need need;
} llm_bind;

#define LLM_GLOBAL(field) offsetof(llm_weights, field)
#define LLM_LAYER(field) offsetof(llm_layer, field)

/* Ends with a NULL name. */
typedef struct llm_bind_table {
    const llm_bind *globals;
    const llm_bind *layers;
} llm_bind_table;

/* Fills *w from the file. Conversions and the layer array live in `mem`. NOT_FOUND names a missing
 * tensor, FORMAT one of a wrong shape with both shapes, UNSUPPORTED one of a type that cannot be
 * computed with. */
err_code llm_weights_bind(const gguf *g, const llm_hparams *hp, const llm_bind_table *t, arena *mem,
                          llm_weights *ret, err *e);

/* A matrix of a file as a weight of n_dims, borrowed. UNSUPPORTED and FORMAT as above. */
err_code llm_weight_borrow(const gguf_tensor *t, int n_dims, llm_weight *ret, err *e);
/* The weight that a tensor name stands for; NULL when the family has none of that name. One that
 * this model lacks has data NULL. */
llm_weight *llm_weights_find(const llm_weights *w, const llm_hparams *hp, const llm_bind_table *t,
                             str name);

/* "42, 61" for messages. */
enum { LLM_SHAPE_BYTES = 96 };
const char *llm_shape_text(const int64_t ne[4], int n_dims, char out[LLM_SHAPE_BYTES]);

/* What llm_weights_interleave writes; 0: the device has no order of its own for any of them. */
uint64_t llm_weights_interleaved_bytes(const dev *d, const llm_hparams *hp, const llm_weights *w);

/* Copies the matrices that `d` can interleave to `to` (64-byte aligned) and points *w there. False,
 * and *w is of no use, when *stop was set meanwhile. */
bool llm_weights_interleave(dev *d, const llm_hparams *hp, llm_weights *w, void *to,
                            const _Atomic bool *stop);
