/* Pictures from a prompt alone: Ollama's and OpenAI's image routes, and `hob image`.
 *
 * A request becomes an ordinary workflow in the picture queue, so it waits its turn, survives a
 * restart and is in the history; what it leaves out comes from the checkpoint. Threads: any. */
#pragma once
#include "api/comfy.h"

/* What a picture shall be. Numbers <= 0, cfg and seed < 0 and empty texts come from the checkpoint.
 */
typedef struct image_wish {
    str model; /* as the client spelled it */
    str prompt, negative, image;
    int64_t width, height, steps, seed, n;
    double cfg, strength, cache; /* cache: threshold of EasyCache, 0 = off */
    str sampler, scheduler;
    str checkpoint; /* file name */
    str input;      /* LoadImage's name of the picture to change; or empty */
} image_wish;

/* A checkpoint by its file's name, with or without extension or ":latest"; the first one for an
 * empty name. */
bool image_find_checkpoint(comfy *c, str name, arena *a, str *ret);
err_code image_fill_defaults(comfy *c, arena *a, image_wish *w, err *e);
json_t *image_make_graph(const image_wish *w); /* API workflow; node 7 saves */

/* /api/generate for image models: answers and returns true when the request's model is a
 * checkpoint, or names none and any will do; false: not one of ours. `body` lives until the
 * request ends. */
bool image_generate(comfy *c, http_request *r, const json_t *body, bool any_model);

void image_openai(comfy *c, http_request *r, const json_t *body, bool edit);

/* Routes on the picture listener; ctx is a comfy *. */
COMFY_HANDLER(comfy_generate);
COMFY_HANDLER(comfy_openai_generations);
COMFY_HANDLER(comfy_openai_edits);
