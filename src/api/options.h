/* Ollama's `options`: one table of names, types and where each value goes.
 *
 * Precedence: request > the model's PARAMETERs > defaults (reference: Ollama API, options). Known
 * but ignored keys are accepted; unknown ones are ignored too, and logged by the caller.
 * A value of the wrong type is ERR_INVALID with Ollama's own text, which answers 500 there and here
 * (options_status). Huge, negative or non-finite numbers are clamped to what the engine means by
 * them, never undefined. */
#pragma once
#include "base/err.h"
#include "engine/engine.h"
#include <jansson.h>

typedef struct options {
    llm_sample_params sample;
    int32_t n_ctx; /* 0 = default */
    int32_t n_keep;
    int32_t n_predict; /* -1 = until the end, 0 = nothing */
    const str *stop;   /* [n_stop] in the arena */
    size_t n_stop;
} options;

options options_default(void);

/* Lays `object` (NULL allowed) over *o. Strings are copied into the arena. */
err_code options_apply(options *o, const json_t *object, arena *a, err *e);
