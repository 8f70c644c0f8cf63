/* The Anthropic dialect's two halves: requests (anthropic_request.c) and answers (anthropic.c). */
#pragma once
#include "api/dialect.h"
#include "api/generation.h"

/* {"type": "error", "error": {type, message}, "request_id"}. */
json_t *anthropic_error(int status, const char *message);

/* Model, max_tokens and messages are there? INVALID in Ollama's words. count_tokens has no
 * max_tokens. */
err_code anthropic_check(const json_t *body, bool counts, str *ret_model, err *e);
/* The whole request as a job. *m's options are changed on the way. */
err_code anthropic_read(const json_t *body, api_model *m, arena *mem, engine_job_spec *job, err *e);
/* Characters that the model will read: a guess at tokens before they are counted. */
size_t anthropic_length(const json_t *body);
