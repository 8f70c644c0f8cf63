/* Replays gochat_cases.json: chats through Go chat templates must give the prompts that Go's own
 * text/template gave. See gochat_vectors.go. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "http/json.h"
#include "model/chat_go.h"

/* Every map of `v` backwards, but for arguments and properties, whose order is the author's. */
static void reverse(value *v) {
    if (v->kind == VALUE_LIST)
        for (size_t i = 0; i < v->as.list.len; i++) reverse(v->as.list.items[i]);
    if (v->kind != VALUE_MAP) return;
    value_pair *p = v->as.map.pairs;
    for (size_t i = 0, n = v->as.map.len; i < n / 2; i++) {
        value_pair swap = p[i];
        p[i] = p[n - 1 - i];
        p[n - 1 - i] = swap;
    }
    for (size_t i = 0; i < v->as.map.len; i++) {
        if (str_eq(p[i].key, STR("arguments"))) continue;
        if (!str_eq(p[i].key, STR("properties"))) reverse(p[i].val);
        for (size_t k = 0; str_eq(p[i].key, STR("properties")) && k < p[i].val->as.map.len; k++)
            reverse(p[i].val->as.map.pairs[k].val);
    }
}

static str render(arena *a, str source, json_t *chat, bool backwards, err *e) {
    const tok_segment *segs;
    size_t n;
    buf out = {0};
    json_t *given = json_object_get(chat, "tools");
    value *messages = json_to_value(a, json_object_get(chat, "messages"));
    value *tools = given ? json_to_value(a, given) : NULL;
    if (backwards) reverse(messages);
    if (backwards && tools) reverse(tools);
    const chat_input in = {.messages = messages,
                           .tools = tools,
                           .think = (int)json_integer_value(json_object_get(chat, "think")),
                           .think_level =
                               str_from(json_string_value(json_object_get(chat, "level"))),
                           .suffix = str_from(json_string_value(json_object_get(chat, "suffix"))),
                           .add_generation_prompt = true,
                           .now_unix = 1795693560};
    if (chat_go_render(source, &in, a, &segs, &n, e)) return (str){0};
    for (size_t i = 0; i < n; i++) buf_put_str(&out, segs[i].text);
    str s = str_dup(a, buf_str(&out));
    buf_finish(&out);
    return s;
}

static void replay(bool backwards) {
    json_error_t why;
    json_t *all = json_load_file("tests/golden/gochat_cases.json", 0, &why);
    assert_non_null(all);
    json_t *cases = json_object_get(all, "cases");
    int n_bad = 0;
    assert_true(json_array_size(cases) > 300);
    for (size_t i = 0; i < json_array_size(cases); i++) {
        json_t *c = json_array_get(cases, i);
        const char *t = json_string_value(json_object_get(c, "t"));
        const char *name = json_string_value(json_object_get(c, "c"));
        const char *want = json_string_value(json_object_get(c, "want"));
        const char *source =
            json_string_value(json_object_get(json_object_get(all, "templates"), t));
        arena *a = arena_create(0);
        err e = {0};
        str got = render(a, str_from(source), json_object_get(json_object_get(all, "chats"), name),
                         backwards, &e);
        bool good = want ? e.code == ERR_OK && str_eq(got, str_from(want)) : e.code == ERR_FORMAT;
        if (!good)
            print_error("%s with %s\n  want %s\n  got  " STR_FMT " (%s)\n", t, name,
                        want ? want : "an error", STR_ARG(got), e.msg);
        n_bad += !good;
        arena_destroy(&a);
    }
    json_decref(all);
    assert_int_equal(n_bad, 0);
}

static void test_chats(void **state) {
    (void)state;
    replay(false);
}

/* A client's order of keys is not the order that a model knows. */
static void test_chats_with_keys_backwards(void **state) {
    (void)state;
    replay(true);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_chats),
                                       cmocka_unit_test(test_chats_with_keys_backwards)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
