/* A job inside the engine: what was asked, how far it is, and the engine around it.
 *
 * Files: engine.c (submit, the engine thread's loop), worker.c (slow things off that thread:
 * loading, prompts), prompt.c (a spec to token ids), step.c (one step over a batch), job.c (a job's
 * life), say.c (tokens to events), format.c (what form the output has), files.c (facts of model
 * files), report.c (who waits, what would fit), vocab.c (texts to tokens, nothing loaded). */
#pragma once
#include "base/clock.h"
#include "engine/backend.h"
#include "engine/stream.h"
#include "llm/constrain.h"
#include "llm/stop.h"
#include "llm/text.h"
#include "model/reply/reply.h"
#include "sched/sched.h"

/* A resident model, or one on its way. Owner: the engine thread. */
typedef struct engine_loaded {
    engine *eng;
    sched_model *sm;
    arena *mem; /* the strings of `model` */
    engine_model model;
    void *backend_model; /* NULL until loaded */
    engine_facts facts;
    float *logits; /* [max_parallel, V] */
    bool has_kv;   /* the address space of its pages is open */
    int32_t n_ctx; /* of the latest job */
    err failure;   /* of the worker's load */
} engine_loaded;

typedef enum job_state {
    JOB_WAITING,   /* for its model and a place */
    JOB_PREPARING, /* the worker has it */
    JOB_READY,     /* waits for memory */
    JOB_RUNNING
} job_state;

typedef struct engine_job {
    engine *eng;
    arena *mem;
    engine_job_spec spec; /* copied */
    engine_stream *stream;
    sched_job *sj;
    engine_loaded *m; /* from PREPARING on */
    job_state state;
    err failure; /* of the worker's preparation */
    int32_t n_ctx;

    /* GENERATE */
    tok_ids ids;       /* the context window: prompt, then what was sampled */
    tok_ids history;   /* everything, also what was shifted out */
    int32_t n_prompt;  /* tokens of the prompt */
    int32_t n_fed;     /* of ids: their keys and values are computed */
    int32_t n_cached;  /* of the prompt: found computed */
    int32_t n_predict; /* at most so many */
    int32_t n_eval;    /* sampled */
    bool past_prompt;  /* the first token was sampled */
    void *seq;
    llm_sampler *sampler;
    grammar *grammar; /* of the format, until the worker made a constraint of it */
    llm_constraint *constraint;
    grammar *call_grammar; /* of a tool call, likewise */
    llm_constraint *call_constraint;
    llm_constraint *holding; /* the one of both that holds now */
    reply *reply;            /* what reads the output; NULL: all of it is content */
    bool calling;            /* the call that was required has begun */
    bool called;             /* calls came instead of the format, and are over */
    int32_t n_calls;
    llm_text *text;
    str rendered;                 /* render_only */
    VEC(engine_logprob) logprobs; /* of tokens whose text is held back */
    size_t n_logprobs_due;        /* of them go with the next event */
    arena *logprob_mem;

    /* EMBED */
    tok_ids *inputs; /* [spec.n_inputs] */
    size_t next_input;

    int64_t number; /* counted from 1 since the start */
    /* As of the last step, under the engine's lock: for engine_jobs_now. */
    int64_t seen_fed, seen_eval;
    bool seen_answer;
    int64_t submitted_ns, started_ns, first_ns; /* monotonic */
} engine_job;

typedef VEC(engine_job *) engine_jobs;

struct worker;

struct engine {
    engine_config conf;
    engine_backend b;
    engine_bell bell;
    pthread_t thread;
    struct worker *worker;

    pthread_mutex_t mu; /* everything below; held by the engine thread except during steps */
    sched *s;
    engine_jobs jobs;
    VEC(engine_loaded *) loaded;
    int64_t device_ns;
    int64_t n_jobs_made;
    int64_t told_made; /* jobs made, and jobs there, when places in the queue were told last */
    size_t told_len;
    int64_t class_ns[SCHED_CLASS_COUNT]; /* of device_ns */
    int64_t n_tokens, n_prompt_tokens;
    struct engine_flow *flow; /* workflows (engine/flow.h) */
    bool stop;
};

/* ---- job.c ---- */

engine_model job_copy_model(arena *a, const engine_model *m);
/* What the scheduler knows a model by: equal for the same weights. */
str job_model_key(arena *a, const engine_model *m);
/* Copies a spec. */
engine_job *job_create(engine *eng, const engine_job_spec *spec, int64_t now);
/* The job's memory was granted: its sequence, sampler and text assembly. */
void job_begin(engine_job *j, int64_t now);
/* Samples from a row of logits [V]; true when the job is over and was answered. Any thread but one
 * at a time. */
bool job_take_row(engine_job *j, float *logits);
/* Answers and ends. After these the job is gone. The engine's lock is held. */
void job_finish_error(engine_job *j, const err *why);
void job_finish_done(engine_job *j, engine_done_reason reason);
/* The second half of both: everything was said already. */
void job_end(engine_job *j);
/* Says DONE on the stream. */
void job_say_done(engine_job *j, engine_done_reason reason);

/* ---- format.c ---- */

/* *ret is NULL when the output is free. */
err_code job_compile_format(const engine_format *f, grammar **ret, err *e);

/* Lets the model call a tool instead of answering in the format: joins j->grammar with what calls
 * begin with. On the worker, behind job_open_reply. */
err_code job_join_calls(engine_job *j, err *e);
/* The grammar of calls becomes one of calls in words where the model writes them so. */
err_code job_call_in_words(engine_job *j, err *e);
/* The same for marks that are control tokens, which no grammar knows: they leave j->constraint. */
void job_allow_calls(engine_job *j);

/* The grammar of a call of one of the prompt's tools, {"name": ..., "arguments": ...}; *ret is NULL
 * when no call is to be held to one. */
err_code job_compile_call(const engine_prompt *p, grammar **ret, err *e);

/* ---- say.c ---- */

/* Decides how the output is read, from the rendered prompt. On the worker. */
void job_open_reply(engine_job *j, str rendered);
/* What has to stand behind the prompt so that a grammar can hold where it must: a mark that opens
 * thinking or a call. May be empty. On the worker. */
str job_prompt_tail(engine_job *j);
/* Lets a grammar hold if its time has come. */
void job_hold(engine_job *j);
/* The token becomes events; true when that ends the job, which was answered then. */
bool job_take_token(engine_job *j, int32_t id);

/* ---- prompt.c: on the worker ---- */

/* Fills ids, n_prompt, n_ctx, n_predict, rendered, inputs. */
err_code job_prepare(engine_job *j, err *e);
/* The window is full: forgets half of it, n_keep first tokens aside. What is left must be computed
 * again. */
void job_shift(engine_job *j);
/* Bytes of KV pages the job may need at most. */
uint64_t job_kv_bytes(const engine_job *j);

/* ---- report.c ---- */

/* What the ledger must hold to run steps of a loaded model: the plan, and a row of logits for each
 * place. */
err_code report_plan_bytes(const engine *eng, void *backend_model, const engine_facts *f,
                           uint64_t *ret, err *e);

/* ---- step.c: on the engine thread ---- */

/* Runs one step for the jobs whose turn it is; false when there is none. The lock is held on entry
 * and exit. */
bool engine_run_step(engine *eng);

/* ---- worker.c ---- */

typedef struct worker worker;
worker *worker_create(engine *eng);
void worker_destroy(worker **w); /* what waits is done first */
void worker_load(worker *w, engine_loaded *m);
void worker_prepare(worker *w, engine_job *j);
/* The next thing that is finished: exactly one of them is set. False: nothing. */
bool worker_collect(worker *w, engine_loaded **ret_m, engine_job **ret_j);
