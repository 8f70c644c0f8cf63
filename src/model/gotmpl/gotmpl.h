/* Go templates (text/template), as far as chat templates of model registries go.
 *
 * A template is a program from a stranger: compiled once, run without any I/O, always ending
 * (limits on steps, depth and output, base/limits.h). As with Jinja, every byte of the output knows
 * who wrote it: bytes of the template and strings with value.trusted are trusted, all others stay
 * untrusted through every function.
 *
 * Data is a map of plain values. A field is looked up as written, then as JSON would spell it
 * (.ToolCalls as tool_calls, .AnyOf as anyOf); a missing one is nil, prints nothing and is as long
 * as nothing, where Go would need a type to know that. A map that is marked trusted is a property
 * of a tool: its .Type reads as a list of words and prints as the word when it is one. Maps print
 * as JSON, and so do lists of maps; other lists as Go prints them. Whole and broken numbers
 * compare. Everything else, what is refused when included, is as in Go
 * (tests/golden/gotmpl_cases.c). Functions: and or not eq ne lt le gt ge len index slice print
 * printf println html js urlquery call json currentDate yesterdayDate toTypeScriptType. Actions:
 * if, else if, else, range, with, define, template, block, break, continue, variables, comments,
 * trim marks. Threads: a compiled template is immutable. Source: the documentation of Go's
 * text/template. */
#pragma once
#include "base/err.h"
#include "base/value.h"
#include "model/tok.h"

typedef struct gotmpl gotmpl;

/* Copies `source`. FORMAT in nearly Go's words ("template: :LINE: ..."); LIMIT: too long or nested.
 */
err_code gotmpl_compile(str source, gotmpl **ret, err *e);
void gotmpl_destroy(gotmpl **t); /* NULL and *t == NULL allowed */

/* True when the template reads a field or variable field of this name anywhere ("Messages"). */
bool gotmpl_uses(const gotmpl *t, str field);

typedef struct gotmpl_input {
    const value *data; /* a map */
    int64_t now_unix;  /* seconds since 1970, local time */
} gotmpl_input;

/* The segments and their text live in `a`. FORMAT: a mistake found while running; LIMIT. */
err_code gotmpl_render(const gotmpl *t, const gotmpl_input *in, arena *a, const tok_segment **ret,
                       size_t *ret_n, err *e);
