/* Reading typed fields out of a request's JSON object.
 *
 * Go's decoder, which clients are used to: names match without regard to case (the exact spelling
 * wins), null counts as absent, unknown fields are ignored, a wrong type is an error that answers
 * 400. Each function leaves *ret alone when the field is absent. Strings borrow from the object. */
#pragma once
#include "base/err.h"
#include "base/str.h"
#include <jansson.h>

/* The field, or NULL when absent or null. */
const json_t *field_get(const json_t *object, const char *name);

err_code field_str(const json_t *object, const char *name, str *ret, err *e);
err_code field_bool(const json_t *object, const char *name, bool *ret, err *e);
err_code field_i64(const json_t *object, const char *name, int64_t *ret, err *e);
err_code field_f64(const json_t *object, const char *name, double *ret, err *e);
/* Arrays and objects: *ret stays NULL when absent. */
err_code field_array(const json_t *object, const char *name, const json_t **ret, err *e);
err_code field_object(const json_t *object, const char *name, const json_t **ret, err *e);

/* "model" or, in its absence, the old spelling "name". */
err_code field_model(const json_t *object, str *ret, err *e);

/* keep_alive: a number of seconds or a Go duration; negative means for ever (CLOCK_FOREVER). */
err_code field_keep_alive(const json_t *object, bool *ret_set, int64_t *ret_ns, err *e);

const char *json_type_name(const json_t *v); /* "string", "number", "array" ... */
