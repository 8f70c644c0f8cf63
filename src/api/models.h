/* A model as a request means it: the store's manifest, the file's facts, and the model's own
 * defaults (PARAMETERs, SYSTEM, TEMPLATE, MESSAGEs) in one struct. Everything lives in the arena.
 */
#pragma once
#include "api/api.h"
#include "api/options.h"

typedef struct api_model {
    store_model stored;
    engine_model engine;   /* for job specs */
    engine_file_info file; /* zeroed when the model has no weights here */
    options options;       /* defaults with the model's PARAMETERs over them */
    str params_text;       /* the PARAMS layer, JSON; may be empty */
    str system;            /* the SYSTEM layer */
    str template_text;     /* the TEMPLATE layer; empty: the file's own chat template counts */
    str messages_text;     /* the MESSAGES layer, JSON; may be empty */
} api_model;

/* Finds by name. Errors keep their codes: INVALID "invalid model name", NOT_FOUND. */
err_code api_model_find(api *a, str name, arena *mem, api_model *ret, err *e);

/* Lets workflows find language models of the store by name. */
void api_models_offer(api *a);

/* "completion", "embedding", ... in Ollama's order; at most 8. */
size_t api_model_capabilities(const api_model *m, str ret[8]);
bool api_model_can(const api_model *m, const char *capability);

/* tags, ps and show's `details`; with_lengths adds context_length and embedding_length;
 * parent_model is left empty. */
json_t *api_model_details(const api_model *m, bool with_lengths);
