/* What the engine tells about itself and about models that are not loaded: jobs of this moment,
 * pins, estimates, tokens. Plain data, as engine.h. Threads: any. */
#pragma once
#include "engine/engine.h"

/* An ENGINE_JOB_LOAD with `pin` keeps its model; this lets it go by its keep_alive again. False:
 * it was not pinned. */
bool engine_unpin(engine *eng, const engine_model *m);
/* Lets a model go as soon as its running jobs are done; a pinned one stays. */
void engine_expire(engine *eng, const engine_model *m);

/* The jobs of this moment, oldest first. What users wrote is not in it. */
typedef enum engine_job_phase {
    ENGINE_PHASE_WAITING, /* for its model, then for a place */
    ENGINE_PHASE_READING, /* its prompt becomes tokens */
    ENGINE_PHASE_MEMORY,  /* waits for memory */
    ENGINE_PHASE_PROMPT,  /* its prompt is computed */
    ENGINE_PHASE_ANSWER
} engine_job_phase;
typedef struct engine_job_info {
    int64_t number; /* counted from 1 since the start */
    engine_job_kind kind;
    engine_job_phase phase;
    str model, user;
    bool background;
    int32_t place;           /* WAITING: so many get a place before it */
    int64_t n_done, n_total; /* PROMPT: tokens; embeddings: texts */
    int64_t n_eval;          /* ANSWER: tokens so far */
    int64_t age_ns;          /* since it was submitted */
} engine_job_info;
const engine_job_info *engine_jobs_now(engine *eng, arena *a, size_t *ret_n);

/* What loading a model would take, and whether it can. Reads the file's head and plans a step, so
 * it costs some 100 ms, on the caller's thread; nothing stays in memory. */
typedef struct engine_estimate {
    uint64_t weight_bytes, kv_bytes, plan_bytes;
    uint64_t budget_bytes, reserved_bytes; /* of the ledger; now taken */
    uint64_t pinned_bytes;                 /* of reserved_bytes: nothing can take it back */
    uint64_t idle_bytes;                   /* of reserved_bytes: goes when room is needed */
    int32_t n_ctx, ctx_train;              /* as it would be used: clamped */
    int32_t ctx_max;                       /* longest that fits the budget beside what is pinned */
    bool resident;
    bool fits;     /* the budget beside what is pinned */
    bool fits_now; /* without anything else going */
} engine_estimate;
/* n_ctx 0 = default; n_parallel sequences of it, at least 1. */
err_code engine_estimate_load(engine *eng, const engine_model *m, int32_t n_ctx, int32_t n_parallel,
                              engine_estimate *ret, err *e);

/* Texts to tokens and back with a file's vocabulary and chat template; the model need not be in
 * memory. The last few vocabularies are kept. On the caller's thread, all of *ret in `a`. */
typedef struct engine_tokens {
    const int32_t *ids; /* [n] */
    const str *pieces;  /* [n] the bytes of each, special tokens by their names */
    size_t n;
    str rendered; /* the text that was encoded, for prompts of messages */
} engine_tokens;
enum {
    ENGINE_TOKENIZE_ADD = 1,    /* with the tokens that the model wants around a text */
    ENGINE_TOKENIZE_SPECIAL = 2 /* RAW text may hold control tokens; else it is a stranger's */
};
/* p: kind, text, messages, tools, template_text, think, think_level, suffix. */
err_code engine_tokenize(str path, const engine_prompt *p, unsigned flags, arena *a,
                         engine_tokens *ret, err *e);
/* The text of in->ids. INVALID for an id that is no token. `special`: control tokens by their
 * names. */
err_code engine_detokenize(str path, const engine_tokens *in, bool special, arena *a, str *ret,
                           err *e);
