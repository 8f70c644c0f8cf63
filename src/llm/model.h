/* A language model: a GGUF file bound to a device, and a LoRA adapter over it if one is given.
 *
 * Holds the mapping, the hyper-parameters, the tokenizer, the chat template and, per token bucket,
 * the compiled step programs. Made by llm_model_load, destroyed when the scheduler unloads it.
 * Loading reads the file's header, the norms and the vocabulary; steps begin on the mapping, and
 * go on with matrices in the device's own order as soon as they have been moved (settle.h).
 * Threads: read-only after loading, except the program cache (step, step_bytes, set_ctx,
 * drop_programs), which only the thread that runs steps touches. */
#pragma once
#include "dev/dev.h"
#include "model/gguf.h"
#include "model/tok.h"

typedef struct llm_model llm_model;
typedef struct chat_template chat_template; /* model/chat.h */

typedef struct llm_model_info {
    str arch; /* "llama", "gemma3" ... */
    int32_t n_layers;
    int32_t n_embd;    /* D */
    int32_t n_vocab;   /* V: rows of the output matrix */
    int32_t ctx_train; /* trained context length; positions end here for embedding models */
    bool can_embed;    /* an embedding model: no generation */
    bool causal;
    dev_pool pool;         /* of embedding models */
    uint64_t weight_bytes; /* tensor bytes in the files */
    dev_kv_shape kv_shape; /* zeroed for embedding models */
} llm_model_info;

/* Opens and checks everything: hyper-parameters, every tensor's name, shape and type. NOT_FOUND: no
 * such file, key or tensor; FORMAT, LIMIT: a damaged file; UNSUPPORTED names the architecture, type
 * or feature; messages about the adapter say so. `adapter` is the path of a GGUF (llm/adapter.h) or
 * NULL. On failure nothing stays allocated. *d must outlive the model. */
err_code llm_model_load(dev *d, const char *path, const char *adapter, llm_model **ret, err *e);
/* The same without reading the matrices: for facts and plans, not for steps. */
err_code llm_model_inspect(dev *d, const char *path, const char *adapter, llm_model **ret, err *e);
/* The same as load, without an adapter, from bytes in memory, which must outlive the model (tests,
 * fuzzing). */
err_code llm_model_load_mem(dev *d, const void *bytes, uint64_t n_bytes, llm_model **ret, err *e);
void llm_model_destroy(llm_model **m); /* NULL and *m == NULL allowed */

const llm_model_info *llm_model_get_info(const llm_model *m);
const tok *llm_model_tok(const llm_model *m);
const chat_template *llm_model_chat(const llm_model *m); /* never NULL */
const gguf *llm_model_gguf(const llm_model *m);

/* A model whose rotation depends on the context in use (phi3's longrope) is told the largest
 * context that sequences will have; the default is the short rotation. True when that changes the
 * rotation: programs are dropped, and keys computed before are void (make a new llm_kv). */
bool llm_model_set_ctx(llm_model *m, int32_t n_ctx);

/* Device bytes the ledger must hold to run steps of up to max_tokens tokens: the plan's arena.
 * Exact; builds the plan if it is not there yet. Logits are the caller's: V * 4 bytes a row. */
err_code llm_model_step_bytes(llm_model *m, int32_t max_tokens, uint64_t *ret_bytes, err *e);

/* One step over a mixed batch: prompt chunks and decoding sequences. Programs are cached by token
 * bucket. Generating models: up to 512 tokens, LIMIT_PARALLEL sequences and output rows; writes
 * outputs[DEV_OUTPUT_LOGITS] [n_out_rows, V] f32 for the tokens whose step-wide indices are in
 * inputs[DEV_INPUT_OUT_ROWS] (none: only the KV is written); kv_pool has the model's kv_shape.
 * Embedding models: whole texts, up to LIMIT_STEP_TOKENS tokens; n_out_rows is 0; writes
 * outputs[DEV_OUTPUT_EMBED] [n_seqs, D] f32, pooled, not normalised.
 * Token ids, positions and rows are checked (INVALID). CANCELLED leaves the step's KV undefined. */
enum { LLM_MODEL_STEP_TOKENS = 512 };
err_code llm_model_step(llm_model *m, const dev_step *step, dev_cancel *cancel, err *e);

/* Frees compiled programs and their arenas (idle model); they come back when needed. */
void llm_model_drop_programs(llm_model *m);
