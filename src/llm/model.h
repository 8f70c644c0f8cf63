/* A language model: a GGUF file bound to a device.
 *
 * Holds the mapping, the hyper-parameters, the tokenizer, the chat template and, per token bucket,
 * the compiled step programs. Made by llm_model_load, destroyed when the scheduler unloads it.
 * Threads: read-only after loading, except the program cache, which only the thread that runs
 * steps touches. */
#pragma once
#include "dev/dev.h"
#include "model/chat.h"
#include "model/gguf.h"
#include "model/tok.h"

typedef struct llm_model llm_model;

typedef struct llm_model_info {
    str arch;          /* "llama", "gemma3" ... */
    int32_t n_layers;
    int32_t n_embd;    /* D */
    int32_t n_vocab;   /* V: rows of the output matrix */
    int32_t ctx_train; /* trained context length */
    bool can_embed;    /* an embedding model: no generation */
    bool causal;
    dev_pool pool;
    uint64_t weight_bytes; /* tensor bytes in the file */
    dev_kv_shape kv_shape; /* zeroed for embedding models */
} llm_model_info;

err_code llm_model_load(dev *d, const char *path, llm_model **ret, err *e);
void llm_model_destroy(llm_model **m);

const llm_model_info *llm_model_get_info(const llm_model *m);
const tok *llm_model_tok(const llm_model *m);
const chat_template *llm_model_chat(const llm_model *m); /* never NULL */
const gguf *llm_model_gguf(const llm_model *m);

/* Bytes the ledger must hold to run steps of up to max_tokens tokens: the plan's arena plus logits.
 * Exact; builds the plan if it is not there yet. */
err_code llm_model_step_bytes(llm_model *m, int32_t max_tokens, uint64_t *ret_bytes, err *e);

/* One step over a mixed batch: prompt chunks and decoding sequences. Programs are cached by token
 * bucket (1, 4, 16, 64, 256, 512 ...). logits (if step->outputs asks) [n_out_rows, V] f32.
 * kv_pool must have the model's kv_shape. */
err_code llm_model_step(llm_model *m, const dev_step *step, dev_cancel *cancel, err *e);

/* Frees compiled programs and their arenas (idle model); they come back when needed. */
void llm_model_drop_programs(llm_model *m);
