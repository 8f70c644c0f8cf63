/* Small things that the dialects of other makers share. */
#pragma once
#include "api/request.h"
#include "base/buf.h"

/* A new JSON string; bytes that are no UTF-8 become U+FFFD. */
json_t *dialect_text(str s);
/* "msg_" and n_digits random digits of `alphabet` (10 or 16). */
void dialect_id(char *out, size_t n_bytes, const char *prefix, int alphabet, int n_digits);
/* A value as JSON text in a JSON string. */
json_t *dialect_json_in_text(const json_t *v);

/* {"id", "function": {"name", "arguments"}}, as messages have it in their tool_calls. */
json_t *dialect_call(str id, str name, json_t *arguments);
/* {"type": "function", "function": {name, description, parameters}}; takes the references, NULL
 * is left out. */
json_t *dialect_tool(const json_t *name, const json_t *description, const json_t *parameters);
/* Hands the list over to the prompt, unless the model cannot use tools (INVALID, in Ollama's
 * words). */
err_code dialect_take_tools(const api_model *m, const json_t *tools, arena *mem, engine_prompt *ret,
                            err *e);
/* A JSON value that ends with the arena. */
json_t *dialect_defer(arena *mem, json_t *v);
