/* A conversation for fuzzed chat templates: a system text, a call, thoughts, and bytes that are no
 * text. */
#pragma once
#include "model/chat.h"

static inline value *message(arena *a, const char *role, const char *content) {
    value *m = value_map(a);
    value_set(a, m, STR("role"), value_str(a, str_from(role)));
    value_set(a, m, STR("content"), value_str(a, str_from(content)));
    return m;
}

static inline value *messages(arena *a) {
    value *l = value_list(a), *calls = value_list(a), *call = value_map(a), *fn = value_map(a);
    value *args = value_map(a);
    value_set(a, args, STR("x"), value_float(a, 1.5));
    value_set(a, fn, STR("name"), value_str(a, STR("f")));
    value_set(a, fn, STR("arguments"), args);
    value_set(a, call, STR("function"), fn);
    value_push(a, calls, call);
    value_push(a, l, message(a, "system", "be \xc3\xa9\n"));
    value_push(a, l, message(a, "user", " \x01 hi \x01\n"));
    value *m = message(a, "assistant", "<think>x</think> a");
    value_set(a, m, STR("tool_calls"), calls);
    value_push(a, l, m);
    value_push(a, l, message(a, "user", "\xff\x01"));
    return l;
}
