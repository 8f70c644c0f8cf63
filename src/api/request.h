/* The parts of a generation request that the native and OpenAI dialects share. */
#pragma once
#include "api/models.h"
#include "engine/report.h"

/* Finds the model for a chat or generate request and checks that it can `generate` ("generate" or
 * "chat", for the message; NULL: it need not). On failure it has answered, in Ollama's words, and
 * returns false. */
bool request_model(api *a, http_request *r, str name, const char *verb, api_model *ret);

/* A job for this model with the model's options under the request's (`object`, NULL allowed). */
err_code request_job(const api_model *m, const json_t *object, arena *mem, engine_job_spec *ret,
                     err *e);
/* Answers as Ollama does: 500 to an option of a wrong type. */
void request_reply_err(http_request *r, const err *e);
/* Puts the options into the job; called again after a dialect changed them. */
void request_set_options(engine_job_spec *job, const options *o);

/* think: true, false or a level; absent is true for models that can think. INVALID for other values
 * and for models that cannot. */
err_code request_think(const json_t *body, const api_model *m, engine_prompt *ret, err *e);

/* tools, tool_choice ("none", "auto", "required", {"type": "function", "function": {"name"}}, or as
 * below) and parallel_tool_calls. INVALID when the model cannot use tools, or for tools without a
 * name. */
err_code request_tools(const json_t *body, const api_model *m, arena *mem, engine_prompt *ret,
                       err *e);

/* tool_choice of type allowed_tools, {"mode": "auto" or "required", "tools": [names]}, also inside
 * a member "allowed_tools": the others are not offered. INVALID for tools that ret does not have.
 */
err_code request_allowed_tools(const json_t *choice, arena *mem, engine_prompt *ret, err *e);

/* logprobs and top_logprobs (0 to 20). */
err_code request_logprobs(const json_t *body, engine_job_spec *job, err *e);

/* The model's MESSAGEs, its SYSTEM unless the request brings one, then the request's messages (a
 * JSON array, checked here). *ret is a list for engine_prompt.messages. */
err_code request_messages(const api_model *m, const json_t *messages, arena *mem, value **ret,
                          err *e);

/* images: base64 is checked, then refused for models without vision. */
err_code request_images(const json_t *object, const api_model *m, err *e);

/* format: NULL and "" are none, else "json" or a JSON Schema. As extras beside it: `regex` and
 * `grammar` (GBNF), strings. At most one of the three. */
err_code request_format(const json_t *body, arena *mem, engine_format *ret, err *e);
/* Only the extras; *ret stays as it is when there are none. */
err_code request_grammar(const json_t *body, engine_format *ret, err *e);

/* Token ids: a list of whole numbers, at least one. `name`: of the list, for messages. */
err_code request_ids(const json_t *list, const char *name, arena *mem, engine_tokens *ret, err *e);

/* One message map of plain text. */
value *request_message(arena *mem, str role, str content);
