/* Jinja, as far as chat templates go.
 *
 * A template is a program from a stranger: it is compiled once, runs without any I/O and always
 * ends (limits on steps, depth, memory and output, see base/limits.h). White space is treated as
 * the common trainers' libraries do it: trim_blocks and lstrip_blocks are on, one newline at the
 * end of the source is dropped. Undefined names print nothing; reading an attribute of one fails.
 *
 * Trust: every byte of the output knows who wrote it. Bytes that stand in the template, and strings
 * whose value.trusted is set, are trusted; everything that came in through other variables stays
 * untrusted through every operator, filter and method. The tokenizer recognises control tokens in
 * trusted bytes only (tok_segment).
 *
 * Threads: a compiled template is immutable, any number of threads may render it at once.
 *
 * Source: the Jinja template documentation (syntax, filters, tests), checked against its reference
 * implementation (tests/golden/jinja_vectors.py). */
#pragma once
#include "base/err.h"
#include "base/value.h"
#include "model/tok.h"

typedef struct jinja jinja;

/* Copies `source`. FORMAT: a mistake in the template, with its line; LIMIT: too long or nested. */
err_code jinja_compile(str source, jinja **ret, err *e);
void jinja_destroy(jinja **j); /* NULL and *j == NULL allowed */

/* True when the template reads a variable of this name anywhere. */
bool jinja_uses(const jinja *j, str name);

typedef struct jinja_input {
    const value *vars; /* map of variables; NULL = none */
    int64_t now_unix;  /* seconds since 1970, shifted to the time zone that strftime_now shows */
} jinja_input;

/* The segments and their text live in `a`.
 * INVALID: the template refused by raise_exception, the message is its own, after the line;
 * FORMAT: a mistake found while running, with its line; LIMIT: a limit was reached. */
err_code jinja_render(const jinja *j, const jinja_input *in, arena *a, const tok_segment **ret,
                      size_t *ret_n, err *e);
