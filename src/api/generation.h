/* One generation on its way to a client, in any dialect.
 *
 * A handler fills an engine job and calls generation_start; from then on the pump thread turns the
 * engine's events into the dialect's objects: one by one as a stream, or all together as one
 * answer. An error before the first byte is an answer with its own status; later it is an error
 * object in the stream. A client that goes away cancels the job. The generation owns itself and
 * ends with the response. Threads: started on an HTTP thread, runs on the pump thread. */
#pragma once
#include "api/api.h"
#include "base/buf.h"
#include <jansson.h>

typedef struct generation generation;

typedef enum piece_kind { PIECE_CONTENT, PIECE_THINKING, PIECE_TOOL_CALL } piece_kind;

/* What the model said since the last piece. Everything is borrowed. */
typedef struct generation_piece {
    piece_kind kind;
    str text;         /* CONTENT, THINKING; may be empty when only log-probabilities came */
    json_t *logprobs; /* of this text's tokens, or NULL */
    json_t *call;     /* TOOL_CALL: {"id", "index", "name", "arguments": object} */
} generation_piece;

/* One answer of the model; `n` of OpenAI's chat asks for several, all others have one. content,
 * thinking, calls and logprobs hold everything said so far, streamed or not. */
typedef struct generation_output {
    size_t index;
    buf content, thinking;
    json_t *calls;     /* array of calls as in a piece; NULL while there is none */
    json_t *logprobs;  /* array, or NULL */
    int64_t n_pieces;  /* handed to `piece` so far */
    engine_event done; /* the last event, once is_done */
    bool is_done;
} generation_output;

/* What differs between the wire formats. `objects` is a JSON array: what a callback appends to it
 * goes to the client in that order. Returned objects are new references. Of the stream's callbacks
 * only `piece` and `finish` are required. */
typedef struct dialect {
    bool sse;          /* "data: {...}\n\n" instead of lines */
    bool closes_done;  /* "data: [DONE]" ends a stream that succeeded */
    bool names_events; /* each object is preceded by "event: <its "type">" */
    /* Before anything else, as soon as the engine has the job. */
    void (*begin)(generation *g, json_t *objects);
    void (*piece)(generation *g, generation_output *o, const generation_piece *p, json_t *objects);
    /* An output is over (o->done). The last one sees generation_is_done. */
    void (*finish)(generation *g, generation_output *o, json_t *objects);
    /* QUEUED, LOADING and PROMPT events, only when g->wants_progress. */
    void (*progress)(generation *g, const engine_event *ev, json_t *objects);
    /* An error after the stream began; NULL: the object of `error`. Ends the stream. */
    void (*broken)(generation *g, int status, const char *message, json_t *objects);
    json_t *(*whole)(const generation *g); /* not streamed: all of it */
    json_t *(*error)(int status, const char *message);
    int (*status)(err_code code); /* of an error before the first byte; NULL = err_http_status */
} dialect;

struct generation {
    const dialect *d;
    bool stream;
    bool wants_progress;
    const char *content_type; /* of the stream */
    str model;                /* as the client spelled it; copied */
    bool embeds_context;      /* the final object lists prompt and output tokens */
    bool include_usage;       /* OpenAI's stream_options */
    char id[40];              /* the dialect's */
    int64_t created_s;
    generation_output *out; /* [n_out] */
    size_t n_out;           /* 0 when started means 1; with generation_start_each: for each job */
    size_t n_jobs;          /* output i is of job i / (n_out / n_jobs) */
    int64_t n_objects;      /* written to the stream before the array at hand */
    /* The dialect's own. `echo` is taken over by generation_start: what the answer repeats of the
     * request. The numbers start at what the handler sets. */
    json_t *echo;
    int64_t n_blocks;
    int open_block;
};

/* Starts `spec` for `req`, once for each output. The fields of *proto that describe the answer are
 * copied. Answers itself when the engine refuses. */
void generation_start(api *a, http_request *req, const generation *proto,
                      const engine_job_spec *spec);

/* The same for several jobs, the prompts of one request: proto->n_out outputs of each, in order. */
void generation_start_each(api *a, http_request *req, const generation *proto,
                           const engine_job_spec *specs, size_t n_specs);

/* Every output is over. */
bool generation_is_done(const generation *g);

/* Tokens of all outputs; each prompt counts once. */
typedef struct generation_usage {
    int64_t n_prompt, n_cached, n_eval;
} generation_usage;
generation_usage generation_get_usage(const generation *g);

/* An error of the chat API's own shape, {"error": text}. */
json_t *generation_native_error(int status, const char *message);
