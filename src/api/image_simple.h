/* Pictures from a prompt alone: Ollama's and OpenAI's image routes, and `hob image`.
 *
 * A request becomes an ordinary workflow in the picture queue, so it waits its turn, survives a
 * restart and is in the history; what it leaves out comes from the checkpoint. Threads: any. */
#pragma once
#include "api/comfy.h"

/* /api/generate for image models: answers and returns true when the request's model is a
 * checkpoint, or names none and any will do; false: not one of ours. `body` lives until the
 * request ends. */
bool image_generate(comfy *c, http_request *r, const json_t *body, bool any_model);

void image_openai(comfy *c, http_request *r, const json_t *body, bool edit);

/* Routes on the picture listener; ctx is a comfy *. */
COMFY_HANDLER(comfy_generate);
COMFY_HANDLER(comfy_openai_generations);
COMFY_HANDLER(comfy_openai_edits);
