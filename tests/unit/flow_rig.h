/* What the workflow tests share: reading recorded JSON lines, comparing plain data, a host whose
 * folders hold what the recorded machine held. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "flow/node.h"
#include "http/json.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

static inline value *rig_json(arena *a, str text) {
    json_t *j = NULL;
    err e = {0};
    if (json_parse(text, &j, &e) != ERR_OK) fail_msg("%s", e.msg);
    value *v = json_to_value(a, j);
    json_decref(j);
    return v;
}

static inline value *rig_parse(arena *a, const char *text) {
    return rig_json(a, str_from(text));
}

/* Every line of a file as a list of values. */
static inline value *rig_lines(arena *a, const char *path) {
    FILE *f = fopen(path, "rb");
    if (!f) fail_msg("cannot open %s: run the tests from the repository's root", path);
    buf all = {0};
    char block[65536];
    size_t n;
    while ((n = fread(block, 1, sizeof block, f)) > 0) buf_put(&all, block, n);
    fclose(f);
    value *list = value_list(a);
    for (str rest = buf_str(&all); rest.len;) {
        str line = str_cut(&rest, '\n');
        if (line.len) value_push(a, list, rig_json(a, line));
    }
    buf_finish(&all);
    return list;
}

static inline value *rig_get(const value *v, const char *key) {
    return value_get(v, str_from(key));
}

static inline bool rig_is_number(const value *v) {
    return v->kind == VALUE_INT || v->kind == VALUE_FLOAT;
}

static inline double rig_number(const value *v) {
    return v->kind == VALUE_INT ? (double)v->as.integer : v->as.number;
}

static inline bool rig_equal(const value *x, const value *y) {
    if (!x || !y) return x == y;
    if (rig_is_number(x) && rig_is_number(y))
        return !(rig_number(x) < rig_number(y)) && !(rig_number(x) > rig_number(y));
    if (x->kind != y->kind) return false;
    if (x->kind == VALUE_BOOL) return x->as.boolean == y->as.boolean;
    if (x->kind == VALUE_STR) return str_eq(x->as.text, y->as.text);
    if (x->kind == VALUE_LIST) {
        if (x->as.list.len != y->as.list.len) return false;
        for (size_t i = 0; i < x->as.list.len; i++)
            if (!rig_equal(x->as.list.items[i], y->as.list.items[i])) return false;
    }
    if (x->kind == VALUE_MAP) {
        if (x->as.map.len != y->as.map.len) return false;
        for (size_t i = 0; i < x->as.map.len; i++)
            if (!rig_equal(x->as.map.pairs[i].val, value_get(y, x->as.map.pairs[i].key)))
                return false;
    }
    return true;
}

static inline const char *rig_text(arena *a, const value *v) {
    if (!v) return "(absent)";
    json_t *j = json_from_value(v);
    buf b = {0};
    json_write(&b, j);
    json_decref(j);
    const char *s = str_cstr(a, buf_str(&b));
    buf_finish(&b);
    return s;
}

#define RIG_EQUAL(a, got, want)                                                                    \
    do {                                                                                           \
        if (!rig_equal((got), (want)))                                                             \
            fail_msg("\n got  %s\n want %s", rig_text((a), (got)), rig_text((a), (want)));         \
    } while (0)

static inline void rig_files(void *ctx, const char *folder, arena *a, value *list) {
    (void)ctx;
    if (!strcmp(folder, "checkpoints"))
        value_push(a, list, value_str(a, STR("tiny-random-sd1.safetensors")));
    if (!strcmp(folder, "input")) value_push(a, list, value_str(a, STR("example.png")));
}

static inline bool rig_has_file(void *ctx, const char *folder, str name) {
    (void)ctx;
    return !strcmp(folder, "input") && str_eq(name, STR("example.png"));
}

static const flow_host rig_host = {.files = rig_files, .has_file = rig_has_file};
