/* What the dialects of other makers share. See dialect.h. */
#include "api/dialect.h"
#include "base/rng.h"
#include "http/json.h"
#include <stdio.h>

json_t *dialect_text(str s) {
    value v = {.kind = VALUE_STR, .as.text = s};
    return json_from_value(&v);
}

void dialect_id(char *out, size_t n_bytes, const char *prefix, int alphabet, int n_digits) {
    unsigned char bytes[32];
    size_t at = (size_t)snprintf(out, n_bytes, "%s", prefix);
    rng_entropy(bytes, sizeof bytes);
    for (int i = 0; i < n_digits && i < (int)sizeof bytes && at + 1 < n_bytes; i++)
        out[at++] = "0123456789abcdef"[bytes[i] % alphabet];
    out[at] = '\0';
}

json_t *dialect_json_in_text(const json_t *v) {
    buf b = {0};
    json_write(&b, v);
    json_t *s = dialect_text(buf_str(&b));
    buf_finish(&b);
    return s;
}

json_t *dialect_call(str id, str name, json_t *arguments) {
    json_t *call = json_object(), *function = json_object();
    if (id.len) json_object_set_new(call, "id", dialect_text(id));
    json_object_set_new(call, "type", json_string("function"));
    json_object_set_new(function, "name", dialect_text(name));
    json_object_set_new(function, "arguments", arguments);
    json_object_set_new(call, "function", function);
    return call;
}

static void set_if(json_t *o, const char *key, const json_t *v) {
    if (v && !json_is_null(v)) json_object_set(o, key, (json_t *)(uintptr_t)v);
}

json_t *dialect_tool(const json_t *name, const json_t *description, const json_t *parameters) {
    json_t *function = json_object();
    set_if(function, "name", name);
    set_if(function, "description", description);
    set_if(function, "parameters", parameters);
    return json_pack("{s:s, s:o}", "type", "function", "function", function);
}

err_code dialect_take_tools(const api_model *m, const json_t *tools, arena *mem, engine_prompt *ret,
                            err *e) {
    if (json_array_size(tools) == 0) return ERR_OK;
    if (!api_model_can(m, "tools"))
        FAIL(e, INVALID, STR_FMT " does not support tools",
             STR_ARG(store_name_full(mem, &m->stored.name)));
    ret->tools = json_to_value(mem, tools);
    return ERR_OK;
}

static void drop_json(void *arg) {
    json_decref(arg);
}

json_t *dialect_defer(arena *mem, json_t *v) {
    arena_defer(mem, drop_json, v);
    return v;
}
