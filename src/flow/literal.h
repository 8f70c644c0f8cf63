/* Literals of a workflow, converted to the type their input declares and held to its range.
 *
 * Conversions are those of Python's int(), float(), str() and bool(), since clients send "20",
 * 3.7 or true where a number is meant. Threads: any. */
#pragma once
#include "flow/node.h"

/* Converts `v` for input `in`; *ret lives in `a` and may be `v` itself. Whole numbers beyond int64
 * (seeds) come back as the bits of an uint64. A type that is no widget's is left as it is.
 * False: *ret_why is what Python says. */
bool literal_convert(const flow_input *in, const value *v, arena *a, const value **ret,
                     str *ret_why);
/* True: a converted number below (above) what the input allows; *ret_bound is the bound as text.
 * `source`: before it was converted. */
bool literal_too_small(const flow_input *in, const value *source, const value *v, arena *a,
                       str *ret_bound);
bool literal_too_big(const flow_input *in, const value *source, const value *v, arena *a,
                     str *ret_bound);
