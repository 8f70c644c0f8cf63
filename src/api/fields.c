/* Typed fields of request objects, with errors that name the field and both types. */
#include "api/fields.h"
#include "base/clock.h"
#include <math.h>
#include <strings.h>

const char *json_type_name(const json_t *v) {
    switch (json_typeof(v)) {
    case JSON_OBJECT:
        return "object";
    case JSON_ARRAY:
        return "array";
    case JSON_STRING:
        return "string";
    case JSON_INTEGER:
    case JSON_REAL:
        return "number";
    case JSON_TRUE:
    case JSON_FALSE:
        return "bool";
    case JSON_NULL:
        break;
    }
    return "null";
}

const json_t *field_get(const json_t *object, const char *name) {
    const json_t *v = json_object_get(object, name);
    if (!v) {
        void *it = json_object_iter((json_t *)(uintptr_t)object);
        for (; it && !v; it = json_object_iter_next((json_t *)(uintptr_t)object, it))
            if (strcasecmp(json_object_iter_key(it), name) == 0) v = json_object_iter_value(it);
    }
    return v && !json_is_null(v) ? v : NULL;
}

static err_code wrong_type(const char *name, const json_t *v, const char *want, err *e) {
    FAIL(e, INVALID, "json: cannot use %s as the field \"%s\", which is of type %s",
         json_type_name(v), name, want);
}

err_code field_str(const json_t *object, const char *name, str *ret, err *e) {
    const json_t *v = field_get(object, name);
    if (!v) return ERR_OK;
    if (!json_is_string(v)) return wrong_type(name, v, "string", e);
    *ret = (str){json_string_value(v), json_string_length(v)};
    return ERR_OK;
}

err_code field_bool(const json_t *object, const char *name, bool *ret, err *e) {
    const json_t *v = field_get(object, name);
    if (!v) return ERR_OK;
    if (!json_is_boolean(v)) return wrong_type(name, v, "bool", e);
    *ret = json_is_true(v);
    return ERR_OK;
}

err_code field_i64(const json_t *object, const char *name, int64_t *ret, err *e) {
    const json_t *v = field_get(object, name);
    if (!v) return ERR_OK;
    if (!json_is_integer(v)) return wrong_type(name, v, "integer", e);
    *ret = json_integer_value(v);
    return ERR_OK;
}

err_code field_f64(const json_t *object, const char *name, double *ret, err *e) {
    const json_t *v = field_get(object, name);
    if (!v) return ERR_OK;
    if (!json_is_number(v)) return wrong_type(name, v, "number", e);
    *ret = json_number_value(v);
    return ERR_OK;
}

err_code field_array(const json_t *object, const char *name, const json_t **ret, err *e) {
    const json_t *v = field_get(object, name);
    if (!v) return ERR_OK;
    if (!json_is_array(v)) return wrong_type(name, v, "array", e);
    *ret = v;
    return ERR_OK;
}

err_code field_object(const json_t *object, const char *name, const json_t **ret, err *e) {
    const json_t *v = field_get(object, name);
    if (!v) return ERR_OK;
    if (!json_is_object(v)) return wrong_type(name, v, "object", e);
    *ret = v;
    return ERR_OK;
}

err_code field_model(const json_t *object, str *ret, err *e) {
    TRY(field_str(object, "name", ret, e));
    return field_str(object, "model", ret, e);
}

static int64_t seconds_to_ns(double s) {
    if (s < 0 || s * 1e9 >= 9.2e18) return CLOCK_FOREVER;
    return (int64_t)(s * 1e9);
}

err_code field_keep_alive(const json_t *object, bool *ret_set, int64_t *ret_ns, err *e) {
    const json_t *v = field_get(object, "keep_alive");
    if (!v) return ERR_OK;
    if (json_is_number(v)) {
        *ret_ns = seconds_to_ns(json_number_value(v));
    } else if (json_is_string(v)) {
        str text = {json_string_value(v), json_string_length(v)};
        int64_t ns;
        if (!clock_parse_go(text, &ns))
            FAIL(e, INVALID, "time: invalid duration \"" STR_FMT "\"", STR_ARG(text));
        *ret_ns = ns < 0 ? CLOCK_FOREVER : ns;
    } else {
        FAIL(e, INVALID, "Unsupported type: '%s'",
             json_is_boolean(v) ? "bool"
             : json_is_array(v) ? "[]interface {}"
                                : "map[string]interface {}");
    }
    *ret_set = true;
    return ERR_OK;
}
