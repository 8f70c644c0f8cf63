/* Any bytes as a request's body: an error, or a value that can be written and read again, whose
 * fields and options are read with bounds. */
#include "http/json.h"
#include "api/fields.h"
#include "api/options.h"
#include <math.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_fields(const json_t *body, arena *a) {
    err e = {0};
    str text = {0};
    bool flag, set = false;
    int64_t ns = 0;
    const json_t *list = NULL, *object = NULL;
    (void)field_model(body, &text, &e);
    (void)field_bool(body, "stream", &flag, &e);
    (void)field_array(body, "messages", &list, &e);
    if (field_keep_alive(body, &set, &ns, &e) == ERR_OK && set && ns < 0) abort();
    options o = options_default();
    if (field_object(body, "options", &object, &e) || options_apply(&o, object, a, &e)) return;
    if (!isfinite(o.sample.temperature) || o.sample.temperature < 0 || o.n_ctx < 0) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    err e = {0};
    json_t *v = NULL, *again = NULL;
    if (json_parse((str){(const char *)data, size}, &v, &e)) return 0;
    buf out = {0};
    json_write(&out, v);
    if (json_parse(buf_str(&out), &again, &e)) abort();
    arena *a = arena_create(0);
    json_t *copy = json_from_value(json_to_value(a, v));
    json_decref(copy);
    if (json_is_object(v)) read_fields(v, a);
    arena_destroy(&a);
    buf_finish(&out);
    json_decref(v);
    json_decref(again);
    return 0;
}
