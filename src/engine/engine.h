/* The engine boundary: plain data in, a stream of events out.
 *
 * Every API submits a job here; nothing else runs a model. A job spec is copied on submit. No
 * tensor, model pointer or file descriptor crosses, so that the engine can live in its own process.
 * Behind it: sched/ (queue, ledger, residency) and llm/ (models, KV, sampling).
 * Threads: every function may be called from any thread. The notify callback of a stream is called
 * from engine threads whenever events arrive: it must only wake somebody up. */
#pragma once
#include "base/err.h"
#include "base/value.h"
#include "llm/sample.h"

typedef struct engine engine;
typedef struct engine_stream engine_stream;

typedef struct engine_config {
    int32_t n_threads;         /* 0 = physical cores */
    bool bf16_pictures;        /* networks of pictures compute in bfloat16, not in f32 */
    uint64_t budget_bytes;     /* ledger; 0 = a share of what the device has */
    int64_t keep_alive_ns;     /* default for jobs that do not say; CLOCK_FOREVER = never unload */
    int32_t max_queue;         /* waiting jobs before ERR_BUSY; default 512 */
    int32_t max_loaded_models; /* 0 = no bound but memory */
    int32_t max_parallel;      /* running sequences per model; 0 = a sensible default */
    int32_t default_ctx;       /* OLLAMA_CONTEXT_LENGTH; 0 = 4096 */
} engine_config;

err_code engine_create(const engine_config *c, engine **ret, err *e);
void engine_destroy(engine **eng); /* cancels everything, waits for the engine threads */

/* Which weights. Two specs with equal paths and adapters share one resident model. */
typedef struct engine_model {
    str path;    /* absolute path of the GGUF blob */
    str adapter; /* of the LoRA adapter over it; empty = none */
    str name;    /* what users call it, for listings and messages: "smollm2:135m" */
    str digest;  /* of the manifest, for listings */
} engine_model;
bool engine_model_same(const engine_model *a, const engine_model *b); /* the same weights */

typedef enum engine_job_kind {
    ENGINE_JOB_GENERATE, /* prompt -> text */
    ENGINE_JOB_EMBED,    /* texts -> vectors */
    ENGINE_JOB_LOAD,     /* make resident, answer DONE */
    ENGINE_JOB_UNLOAD    /* expire; answers DONE at once, running requests finish first */
} engine_job_kind;

typedef enum engine_prompt_kind {
    ENGINE_PROMPT_RAW,     /* `text` as it is; special tokens in it are parsed, as Ollama's raw */
    ENGINE_PROMPT_MESSAGES /* `messages` through the chat template; user text stays text */
} engine_prompt_kind;

typedef enum engine_think { ENGINE_THINK_DEFAULT, ENGINE_THINK_OFF, ENGINE_THINK_ON } engine_think;

/* Whether the model may, must or must not call a tool. */
typedef enum engine_tool_choice {
    ENGINE_TOOLS_AUTO,
    ENGINE_TOOLS_NONE,    /* text is text, whatever it looks like */
    ENGINE_TOOLS_REQUIRED /* the output is held to a call; of `tool_name` when that is given */
} engine_tool_choice;

typedef struct engine_prompt {
    engine_prompt_kind kind;
    str text;
    const value *messages; /* list of maps: role, content, thinking, tool_calls, name ... */
    const value *tools;    /* list of {"type": "function", "function": {...}}, or NULL */
    engine_tool_choice tool_choice;
    str tool_name;         /* REQUIRED: this one only; empty = any */
    bool single_tool_call; /* the answer ends after the first call */
    str parser;            /* name of what reads the output; empty = as the template suggests */
    str template_text;     /* replaces the model's own chat template when len > 0 */
    engine_think think;
    bool think_by_default;  /* ON because nothing was said: a required call comes without it */
    str think_level;        /* "low", "medium", "high", "max" or empty */
    bool continue_last;     /* the last message is an assistant's: continue it */
    const int32_t *context; /* tokens put in front of everything (/api/generate's context) */
    size_t n_context;
    str suffix;    /* text behind the place to fill; the template must know it */
    bool truncate; /* drop oldest messages, or cut raw text, until it fits; else error */
    bool shift;    /* keep generating when the context is full by dropping old tokens */
    int32_t n_keep;
} engine_prompt;

/* What the output of a GENERATE job must be, nothing else is sampled; with tools: this or calls. */
typedef enum engine_format_kind {
    ENGINE_FORMAT_FREE,
    ENGINE_FORMAT_JSON,   /* any JSON object */
    ENGINE_FORMAT_SCHEMA, /* `schema`, a JSON Schema (llm/grammar/grammar.h says which) */
    ENGINE_FORMAT_REGEX,  /* `text` */
    ENGINE_FORMAT_GBNF    /* `text` */
} engine_format_kind;
typedef struct engine_format {
    engine_format_kind kind;
    const value *schema; /* read during engine_submit only */
    str text;
} engine_format;

typedef struct engine_job_spec {
    engine_job_kind kind;
    engine_model model;
    str user;        /* fairness key; may be empty */
    int32_t n_ctx;   /* 0 = default; clamped to the trained length */
    bool background; /* yields to every other class (titles, tags, batch work) */
    bool pin;        /* LOAD: keep it in memory until engine_unpin, whatever keep_alive says */
    bool keep_alive_set;
    int64_t keep_alive_ns; /* CLOCK_FOREVER = never; 0 = unload as soon as the request ends */

    /* GENERATE */
    engine_prompt prompt;
    llm_sample_params sample;
    engine_format format;
    int32_t n_predict; /* < 0: until the end or 10 * n_ctx; 0: only the prompt is read */
    const str *stop;
    size_t n_stop;
    bool logprobs;
    int32_t top_logprobs;
    bool render_only; /* answer with the rendered prompt, run nothing */

    /* EMBED */
    const str *inputs;
    const struct engine_tokens *input_ids; /* instead (report.h): with the ends the model adds */
    size_t n_inputs;
    bool embed_truncate; /* cut over-long inputs silently; else ERR_INVALID */
    bool embed_normalize;
    int32_t embed_dimensions; /* 0 = all; cut, then normalised again */
} engine_job_spec;

typedef enum engine_event_kind {
    ENGINE_EVENT_QUEUED,  /* place in the queue changed */
    ENGINE_EVENT_LOADING, /* bytes done and total of the model load */
    ENGINE_EVENT_PROMPT,  /* prompt tokens done and total */
    ENGINE_EVENT_TEXT, /* generated text, whole UTF-8 characters, stop strings already held back */
    ENGINE_EVENT_TOOL_CALL, /* a call that is complete */
    ENGINE_EVENT_EMBEDDING, /* one vector, in input order */
    /* of workflows (engine/flow_job.h) */
    ENGINE_EVENT_NODES_CACHED,  /* ids [n_ids] are not run again */
    ENGINE_EVENT_NODE_START,    /* node */
    ENGINE_EVENT_NODE_PROGRESS, /* node, n_done, n_total */
    ENGINE_EVENT_NODE_PREVIEW,  /* node, picture, mime */
    ENGINE_EVENT_NODE_OUTPUT,   /* node, ui; also of cached output nodes */
    ENGINE_EVENT_DONE,          /* last event of a job that succeeded */
    ENGINE_EVENT_ERROR          /* last event of a job that failed */
} engine_event_kind;

typedef enum engine_done_reason {
    ENGINE_DONE_STOP,
    ENGINE_DONE_LENGTH,
    ENGINE_DONE_LOAD,
    ENGINE_DONE_UNLOAD
} engine_done_reason;

typedef struct engine_logprob {
    str token; /* raw bytes, may be part of a character */
    float logprob;
    const struct engine_logprob *top; /* [n_top], best first */
    size_t n_top;
} engine_logprob;

/* Who is meant by a text: the reader, or the model itself. */
typedef enum engine_channel { ENGINE_CHANNEL_CONTENT, ENGINE_CHANNEL_THINKING } engine_channel;

typedef struct engine_tool_call {
    int32_t index; /* counted from 0 within the answer */
    str id;        /* "call_" and 8 letters or digits */
    str name;
    const value *arguments; /* a map, keys in the model's order */
} engine_tool_call;

typedef struct engine_event {
    engine_event_kind kind;
    int64_t n_done, n_total;        /* QUEUED (place, waiting), LOADING, PROMPT */
    str text;                       /* TEXT; DONE of render_only: the rendered prompt */
    engine_channel channel;         /* TEXT */
    engine_tool_call call;          /* TOOL_CALL */
    const engine_logprob *logprobs; /* TEXT: one per token that this text holds */
    size_t n_logprobs;
    const float *vec; /* EMBEDDING [n_vec] */
    size_t n_vec;
    size_t index; /* EMBEDDING: which input */
    /* DONE */
    engine_done_reason reason;
    str stop_string; /* the one that ended the text; empty when none did */
    int64_t load_ns, prompt_ns, eval_ns, total_ns;
    int64_t n_prompt_tokens; /* all of the prompt, cached or not */
    int64_t n_cached_tokens;
    int64_t n_eval_tokens;  /* TEXT: drawn so far; DONE: all */
    const int32_t *context; /* prompt and output tokens */
    size_t n_context;
    /* ERROR */
    err error;
    /* workflows; of ERROR node is where it failed, or empty */
    str node, class_type;
    const str *ids; /* NODES_CACHED; ERROR: nodes that are done */
    size_t n_ids;
    str picture; /* encoded */
    const char *mime;
    const value *ui;     /* NODE_OUTPUT: a map of lists */
    const value *inputs; /* ERROR: of the node */
} engine_event;

/* Queues a job. ERR_BUSY when the queue is full (nothing is queued then), ERR_INVALID for a spec
 * that can never run (a schema that cannot be kept among them). `notify` may be NULL; it is called
 * with the stream locked, so it must not call engine_stream_* itself. Everything else that goes
 * wrong comes as an ERROR event. */
err_code engine_submit(engine *eng, const engine_job_spec *spec, void (*notify)(void *arg),
                       void *arg, engine_stream **ret, err *e);

/* Takes the next event if there is one; its pointers live until the next call on this stream.
 * False: nothing now (see engine_stream_wait or notify), or the last event was taken. One thread
 * at a time reads a stream. A slow reader costs bounded memory: texts waiting to be read are
 * joined, progress events replace each other, embedding jobs pause, and a generation that nobody
 * reads ends with ERR_LIMIT after LIMIT_STREAM_BYTES. */
bool engine_stream_next(engine_stream *s, engine_event *ret);
/* Blocks until an event is there or timeout_ns is over (tests, command line). */
bool engine_stream_wait(engine_stream *s, int64_t timeout_ns, engine_event *ret);
void engine_stream_cancel(engine_stream *s); /* the job ends within one step with ERR_CANCELLED */
void engine_stream_destroy(
    engine_stream **s); /* cancels if unfinished; notify is not called after */

/* What is resident, for /api/ps and the scheduler page. */
typedef struct engine_resident {
    engine_model model;
    uint64_t size_bytes;     /* weights, KV pages, arenas now reserved */
    uint64_t device_bytes;   /* the part on a graphics card */
    int64_t expires_wall_ns; /* CLOCK_FOREVER = never */
    int32_t n_ctx;
    int32_t n_running;
    bool pinned;
    bool is_image; /* a workflow's: model.name is the file's name, path and digest are empty */
} engine_resident;
const engine_resident *engine_residents(engine *eng, arena *a, size_t *ret_n);

/* The ledger and the queue at this moment. */
typedef struct engine_stats {
    uint64_t budget_bytes;
    uint64_t weight_bytes, kv_bytes, plan_bytes, staging_bytes; /* reserved now */
    int32_t n_waiting, n_running;
    int32_t max_queue;
    int64_t device_ns;                 /* time spent inside steps since the start */
    int64_t class_ns[4];               /* of that: chat, embed, image, background */
    int64_t n_tokens, n_prompt_tokens; /* drawn and read since the start */
    int32_t n_threads;
} engine_stats;
void engine_get_stats(engine *eng, engine_stats *ret);

/* Facts of a model file, read without making it resident: for /api/show, /api/tags, create. */
typedef struct engine_file_tensor {
    str name;
    str type;
    int64_t shape[4];
    int32_t n_dims;
} engine_file_tensor;

typedef struct engine_file_info {
    str architecture;
    int64_t n_params;
    int32_t ctx_train;
    int32_t n_embd;
    str file_type; /* "Q4_K_M" */
    bool can_generate, can_embed, has_tools, has_thinking, has_insert;
    str chat_template; /* as in the file; may be empty */
    const value *kv;   /* map key -> value; arrays are empty unless verbose */
    const engine_file_tensor *tensors;
    size_t n_tensors;
} engine_file_info;
typedef enum engine_file_detail {
    ENGINE_FILE_SHORT,   /* no tensors, arrays empty; cached by path, size and time of change */
    ENGINE_FILE_TENSORS, /* with tensors */
    ENGINE_FILE_VERBOSE  /* and whole arrays */
} engine_file_detail;
/* Everything in *ret lives in `a`. */
err_code engine_file_read(engine *eng, str path, engine_file_detail detail, arena *a,
                          engine_file_info *ret, err *e);

/* Called from the calling thread after each tensor; false cancels. Bytes of the input's tensors. */
typedef struct engine_progress {
    bool (*fn)(void *arg, uint64_t n_done, uint64_t n_total);
    void *arg;
} engine_progress;

/* Writes a quantised copy of a model file; errors as model/quantize.h says. Runs on the caller's
 * thread. */
err_code engine_quantize(engine *eng, const char *path_in, const char *path_out, const char *target,
                         const engine_progress *progress, err *e);

/* A file of a published model: its name in the directory and where its bytes are. */
typedef struct engine_source {
    str name;
    const char *path;
} engine_source;
/* A directory of safetensors to one model file; errors as model/convert/convert.h says. */
err_code engine_convert(engine *eng, const engine_source *files, size_t n_files,
                        const char *path_out, const engine_progress *progress, err *e);
/* A LoRA adapter as PEFT saves it to a GGUF; `model`: the file that it is for. */
err_code engine_convert_adapter(const engine_source *files, size_t n_files, const char *model,
                                const char *path_out, const engine_progress *progress, err *e);
/* Whether m->adapter fits m->path; errors as loading both would give (llm/adapter.h). Costs what
 * reading the files' heads costs, on the caller's thread. */
err_code engine_check_adapter(engine *eng, const engine_model *m, err *e);
/* The parts of a split model file, in order, to one. */
err_code engine_merge(engine *eng, const char *const *paths, size_t n_paths, const char *path_out,
                      const engine_progress *progress, err *e);
