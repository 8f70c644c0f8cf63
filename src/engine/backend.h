/* What the engine needs from models: loading, text to tokens, steps over batches of sequences.
 *
 * backend_llm.c puts llm/ behind it; tests put a small invented model behind it, with faults on
 * demand. All functions are required. `model` and `seq` are the backend's own objects.
 * Threads: step, seq_* and kv_* are called by the engine thread only; load and unload by one
 * thread at a time per model; the text functions by any number of threads on a loaded model. */
#pragma once
#include "base/arena.h"
#include "dev/dev.h"
#include "engine/engine.h"
#include "llm/constrain.h"
#include "model/tok.h"

typedef struct engine_facts {
    int32_t n_vocab;   /* V: length of a row of logits */
    int32_t n_embd;    /* D: length of an embedding */
    int32_t ctx_train; /* longest context */
    bool can_generate, can_embed;
    uint64_t weight_bytes;
    uint64_t page_bytes; /* KV bytes of one page; 0 = the model keeps no KV */
    int32_t page_tokens;
} engine_facts;

/* One sequence's part of a step: n_ids tokens at positions pos, pos + 1 ... */
typedef struct engine_batch_seq {
    void *seq; /* NULL when the model keeps no KV */
    const int32_t *ids;
    int32_t n_ids;
    int32_t pos;
    bool want_row; /* logits after the last of them */
} engine_batch_seq;

typedef struct engine_batch {
    const engine_batch_seq *seqs; /* [n_seqs] */
    int32_t n_seqs;
    float *logits; /* [rows wanted, V], in the order of seqs; NULL for embeddings */
    float *embed;  /* [n_seqs, D]; NULL for generation */
} engine_batch;

/* A rendered prompt: stretches of text and who wrote them. */
typedef struct engine_segments {
    const tok_segment *items;
    size_t n;
} engine_segments;

typedef struct engine_backend {
    void *ctx;
    void (*destroy)(void *ctx);
    uint64_t (*memory)(void *ctx); /* bytes that could be given to models now */
    dev *(*device)(void *ctx);     /* for workflows; NULL = they have none */
    /* Bytes that loading it will map; an early and cheap look that also finds files missing. */
    err_code (*file_bytes)(void *ctx, const engine_model *m, uint64_t *ret, err *e);
    err_code (*load)(void *ctx, const engine_model *m, void **ret_model, err *e);
    /* A model to ask for facts and step_bytes only, which costs next to no memory. */
    err_code (*inspect)(void *ctx, const engine_model *m, void **ret_model, err *e);
    void (*unload)(void *model);
    void (*facts)(void *model, engine_facts *ret);
    /* Bytes that steps of up to max_tokens tokens need, logits not counted. */
    err_code (*step_bytes)(void *model, int32_t max_tokens, uint64_t *ret, err *e);

    /* Address space for max_pages pages; how many of them may be in use at once. */
    err_code (*kv_open)(void *model, int32_t max_pages, err *e);
    void (*kv_limit)(void *model, int32_t n_pages);
    void *(*seq_create)(void *model, const int32_t *ids, int32_t n, int32_t *ret_n_cached);
    void (*seq_destroy)(void *seq);
    err_code (*seq_append)(void *seq, const int32_t *ids, int32_t n, err *e);
    void (*seq_commit)(void *seq);
    void (*seq_truncate)(void *seq, int32_t n);
    /* The ids of every seq were appended before. ERR_CANCELLED: `cancel` was set. */
    err_code (*step)(void *model, const engine_batch *b, dev_cancel *cancel, err *e);

    /* Renders messages (a list that may be shorter than the prompt's own) through the chat
     * template into segments that live in `a`. */
    err_code (*render)(void *model, const engine_prompt *p, const value *messages, arena *a,
                       engine_segments *ret, err *e);
    err_code (*encode)(void *model, engine_segments segs, bool add_special, tok_ids *ret, err *e);
    str (*piece)(void *model, int32_t id); /* borrowed from the model */
    str (*mark)(void *model, int32_t id);  /* the name of a control token; empty for others */
    str (*chat_source)(void *model);       /* text of the model's own chat template */
    bool (*is_stop)(void *model, int32_t id);
    /* Holds a generation to a grammar, which is taken over. */
    llm_constraint *(*constrain)(void *model, grammar **g);
    int32_t (*first_id)(void *model); /* what an empty prompt starts with, or -1 */
} engine_backend;

/* The real one, on a CPU device. */
err_code engine_backend_llm(const dev_cpu_params *p, engine_backend *ret, err *e);
/* engine_create with another backend, which the engine destroys at its end. */
err_code engine_create_with(const engine_config *c, const engine_backend *b, engine **ret, err *e);
