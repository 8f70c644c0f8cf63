/* The Responses dialect's two halves: requests (openai_responses_request.c) and answers
 * (openai_responses.c). */
#pragma once
#include "api/dialect.h"
#include "api/generation.h"

/* The whole request as a job. *m's options are changed on the way. */
err_code responses_read(const json_t *body, api_model *m, arena *mem, engine_job_spec *job, err *e);
/* The Response object as far as the request decides it, status "in_progress"; new reference. */
json_t *responses_skeleton(const json_t *body, const api_model *m, const generation *g);
