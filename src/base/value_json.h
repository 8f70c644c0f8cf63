/* Plain data as JSON text and back.
 *
 * The one writer of JSON for values, strings and numbers: templates, grammars, parsers of model
 * output and the HTTP layer use it. Compact; keys in their order; numbers in the shortest form that
 * reads back the same, as Go's encoder writes them (an exponent below 1e-6 and from 1e21 on); what
 * is not finite becomes 0. Threads: any. */
#pragma once
#include "base/buf.h"
#include "base/err.h"
#include "base/value.h"

typedef enum value_json_flag {
    VALUE_JSON_HTML = 1,  /* `<`, `>`, `&`, U+2028 and U+2029 are escaped, as Go does */
    VALUE_JSON_SPACED = 2 /* ", " and ": ", as Python does */
} value_json_flag;

/* Appends v (NULL = null). `flags` is a set of value_json_flag. Returns whether every byte written
 * is trusted: no string among them that is not, and no map, whose keys carry no mark. */
bool value_json_write(buf *out, const value *v, int flags);
void value_json_string(buf *out, str s, int flags); /* with its quotes */
void value_json_number(buf *out, double v);
void value_json_number_f32(buf *out, float v); /* the shortest that reads back as the same float */

/* Reads one JSON value that fills the text, white space around it aside. Of equal keys the last one
 * counts. Nothing in *ret is trusted. FORMAT: not JSON, or nested deeper than LIMIT_JSON_DEPTH. */
err_code value_json_read(arena *a, str text, value **ret, err *e);
