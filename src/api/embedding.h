/* One embedding request on its way to a client, in any dialect.
 *
 * The engine's vectors are gathered; when all are there the dialect writes one answer. A client
 * that goes away cancels the job. Threads: as generation.h. */
#pragma once
#include "api/api.h"
#include <jansson.h>

typedef struct embedding_answer {
    str model;         /* as the client spelled it */
    const float *vecs; /* [n][n_vec] */
    size_t n, n_vec;
    bool base64; /* OpenAI's encoding_format */
    int64_t load_ns, total_ns, n_prompt_tokens;
} embedding_answer;

typedef struct embedding_dialect {
    json_t *(*answer)(const embedding_answer *v);
    json_t *(*error)(int status, const char *message);
} embedding_dialect;

/* Starts `spec` (kind EMBED) for `req`; answers itself when the engine refuses. */
void embedding_start(api *a, http_request *req, const embedding_dialect *d, str model, bool base64,
                     const engine_job_spec *spec);

/* A vector as JSON numbers: the shortest text of each 32-bit float. */
json_t *embedding_array(const float *vec, size_t n);

/* The same, or token ids: a list of numbers, or a list of such lists. */
err_code embedding_inputs_or_ids(const json_t *input, arena *mem, engine_job_spec *spec, err *e);

/* `input`: a string or a list of strings, into the arena. INVALID "invalid input type". */
err_code embedding_inputs(const json_t *input, arena *mem, engine_job_spec *spec, err *e);
