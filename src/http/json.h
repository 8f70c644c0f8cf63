/* JSON in and out of requests (jansson), with bounds.
 *
 * Written as Go writes it, which is what clients of these APIs were built against: compact, fields
 * in the order they were set, `<`, `>`, `&`, U+2028 and U+2029 escaped, numbers in their shortest
 * form that reads back the same. Threads: any. */
#pragma once
#include "base/buf.h"
#include "base/err.h"
#include "base/value.h"
#include <jansson.h>

/* Parses one value; anything after it is ignored, as Go's decoder does. Bounded depth
 * (LIMIT_JSON_DEPTH). Bytes that are not UTF-8 inside strings become U+FFFD. ERR_FORMAT says what
 * and where. *ret_v is a new reference. */
err_code json_parse(str text, json_t **ret_v, err *e);

void json_write(buf *out, const json_t *v);
/* A number that was a 32-bit float: the shortest text that reads back as the same float. */
void json_write_f32(buf *out, float v);

/* Written as Python writes it, for clients of the picture API: ", " and ": ", nothing escaped that
 * need not be, numbers with a fraction keep ".0". Whole numbers from 2^63 to 2^64 - 1 (seeds) are
 * kept exact: json_parse_plain reads them as strings of their digits, which the checks of workflows
 * turn back into numbers, and json_write_plain writes such strings as numbers. NaN and Infinity,
 * which Python writes although JSON has no such numbers, are read as strings likewise. */
void json_write_plain(buf *out, const json_t *v);
err_code json_parse_plain(str text, json_t **ret_v, err *e);

/* To plain data for templates: order kept, strings not trusted. */
value *json_to_value(arena *a, const json_t *v);
/* New reference. What is no finite number becomes the string that json_parse_plain makes of it. */
json_t *json_from_value(const value *v);
