/* What the OpenAI routes share: bodies, errors and models in their words. */
#pragma once
#include "api/request.h"

/* {"error": {message, type, param, code}}; the type follows from the status. */
json_t *openai_error(int status, const char *message);
void openai_reply_error(http_request *r, int status, const char *message);
void openai_reply_err(http_request *r, const err *e);

/* The parsed body, an object that lives as long as the request; NULL: answered. */
const json_t *openai_body(http_request *r);
/* The model for a request; false: answered. */
bool openai_find_model(api *a, http_request *r, str name, api_model *ret);
/* reasoning.effort or reasoning_effort ("none", "minimal", "low" ...) as think and think_level;
 * neither: `think`, as the native API has it. INVALID when a model that cannot think shall. */
err_code openai_reasoning(const json_t *body, const api_model *m, engine_prompt *ret, err *e);
/* temperature and top_p (1.0 when absent), max_tokens, stop, seed, penalties over *o. */
err_code openai_sampling(const json_t *body, arena *mem, options *o, err *e);
