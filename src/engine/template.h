/* What chat templates are and can do, for checks before anything is loaded. Threads: any. */
#pragma once
#include "base/err.h"
#include "base/str.h"

/* What a template text is and can do. INVALID, in the words of its language, when it is broken. */
typedef struct engine_template_info {
    bool is_go; /* else Jinja, or plain text */
    bool has_tools, has_thinking, has_insert;
} engine_template_info;
err_code engine_template_inspect(str text, engine_template_info *ret, err *e);

/* What a Modelfile's RENDERER and PARSER name. The template is Jinja; NULL: no such renderer. The
 * parser's facts: what its format can tell apart; false: no such parser. */
const char *engine_renderer_template(str name);
bool engine_parser_inspect(str name, engine_template_info *ret);
