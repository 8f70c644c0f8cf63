/* Models as the page offers them: those of the store, and people's presets over them. Threads: any.
 */
#pragma once
#include "api/models.h"
#include "api/web.h"

/* What a name in a chat means. */
typedef struct web_model {
    str name; /* as asked for */
    api_model base;
    json_t *preset;          /* its data, owned; NULL: a model of the store */
    const json_t *params;    /* of the preset, borrowed; or NULL */
    const json_t *knowledge; /* of the preset: ids; or NULL */
} web_model;

/* NOT_FOUND, or INVALID when it does not generate text. Texts live in `a`. */
err_code web_model_find(web *w, str user_id, str name, arena *a, web_model *ret, err *e);
void web_model_finish(web_model *m);
/* The first model that generates text; empty when there is none. */
str web_model_default(web *w, arena *a);
