/* Any bytes as a request's JSON: an error, or a value that can be written and read again. */
#include "http/json.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

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
    arena_destroy(&a);
    buf_finish(&out);
    json_decref(v);
    json_decref(again);
    return 0;
}
