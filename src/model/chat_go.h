/* Chat templates written as Go templates, as registries of models ship them.
 *
 * Two kinds. A template that reads .Messages is run once over the whole conversation. An older one
 * knows .System, .Prompt and .Response and is run once for each exchange; in the last run the text
 * ends where .Response would stand, and the model goes on from there. With a suffix, a template
 * that reads .Suffix is run once with .Prompt and .Suffix (fill in the middle).
 * Neighbouring messages of one role are joined by a blank line before, tool results are not.
 * Threads: any. Source: the public documentation of the template format. */
#pragma once
#include "model/chat.h"

/* {{ .X }}, {{- if .X }}, {{ range ... }}, {{ end }}: what no Jinja template holds. */
bool chat_go_is(str source);

/* What a Go template can do, from the fields it reads. FORMAT when it does not compile. */
typedef struct chat_go_facts {
    bool tools, thinking, insert;
} chat_go_facts;
err_code chat_go_inspect(str source, chat_go_facts *ret, err *e);

/* Compiles and renders; as chat_render. */
err_code chat_go_render(str source, const chat_input *in, arena *a, const tok_segment **ret,
                        size_t *ret_n, err *e);
