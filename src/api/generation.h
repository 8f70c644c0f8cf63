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

/* What differs between the wire formats. All returned objects are new references. */
typedef struct dialect {
    bool sse; /* "data: {...}\n\n" and a closing "data: [DONE]" instead of lines */
    json_t *(*chunk)(const generation *g, str text,
                     json_t *logprobs); /* logprobs borrowed, or NULL */
    /* Appends the stream's last objects to the array. */
    void (*finish)(const generation *g, const engine_event *done, json_t *objects);
    json_t *(*whole)(const generation *g, const engine_event *done); /* not streamed: all of it */
    json_t *(*error)(int status, const char *message);
    int (*status)(err_code code); /* of an error before the first byte; NULL = err_http_status */
} dialect;

struct generation {
    const dialect *d;
    bool stream;
    const char *content_type; /* of the stream */
    str model;                /* as the client spelled it; copied */
    bool embeds_context;      /* the final object lists prompt and output tokens */
    bool include_usage;       /* OpenAI's stream_options */
    char id[40];              /* OpenAI's */
    int64_t created_s;
    buf text;         /* everything said so far (not streamed) */
    json_t *logprobs; /* likewise, or NULL */
    int64_t n_chunks; /* text chunks written to the stream */
};

/* Starts `spec` for `req`. The fields of *proto that describe the answer are copied. Answers itself
 * when the engine refuses. */
void generation_start(api *a, http_request *req, const generation *proto,
                      const engine_job_spec *spec);

/* An error of the chat API's own shape, {"error": text}. */
json_t *generation_native_error(int status, const char *message);
