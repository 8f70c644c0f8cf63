/* Replays jinja_cases.json: what the reference implementation rendered must come out here too, and
 * what it refused must fail here. See jinja_vectors.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "model/jinja/jinja.h"
#include <jansson.h>

/* A character that no template writes: stands around every string of the variables when asked. */
#define MARK "\xee\x80\x80"

typedef struct reader {
    arena *a;
    bool mark;
} reader;

static value *from_json(const reader *r, json_t *j);

static value *text_value(const reader *r, json_t *j) {
    str s = {json_string_value(j), json_string_length(j)};
    if (!r->mark) return value_str(r->a, s);
    buf b = {0};
    buf_put_str(&b, STR(MARK));
    buf_put_str(&b, s);
    buf_put_str(&b, STR(MARK));
    value *v = value_str(r->a, buf_str(&b));
    buf_finish(&b);
    return v;
}

/* What templates branch on keeps its text, or most branches would never run. */
static value *member(const reader *r, const char *key, json_t *j) {
    bool plain = str_eq(str_from(key), STR("role")) || str_eq(str_from(key), STR("type"));
    return from_json(&(reader){r->a, r->mark && !plain}, j);
}

static value *from_json(const reader *r, json_t *j) {
    arena *a = r->a;
    if (json_is_string(j)) return text_value(r, j);
    if (json_is_integer(j)) return value_int(a, json_integer_value(j));
    if (json_is_real(j)) return value_float(a, json_real_value(j));
    if (json_is_boolean(j)) return value_bool(a, json_is_true(j));
    if (json_is_array(j)) {
        value *l = value_list(a);
        for (size_t i = 0; i < json_array_size(j); i++)
            value_push(a, l, from_json(r, json_array_get(j, i)));
        return l;
    }
    if (json_is_object(j)) {
        value *m = value_map(a);
        for (void *it = json_object_iter(j); it; it = json_object_iter_next(j, it))
            value_set(a, m, str_from(json_object_iter_key(it)),
                      member(r, json_object_iter_key(it), json_object_iter_value(it)));
        return m;
    }
    return value_null(a);
}

static json_t *load(void) {
    static const char *const paths[] = {"tests/golden/jinja_cases.json", "jinja_cases.json"};
    json_error_t error;
    json_t *root = NULL;
    for (size_t i = 0; i < 2 && !root; i++) root = json_load_file(paths[i], JSON_ALLOW_NUL, &error);
    if (!root) fail_msg("jinja_cases.json: %s", error.text);
    return root;
}

/* Its own, or that of the family it is named after. */
static json_t *template_of(json_t *root, json_t *c) {
    json_t *own = json_object_get(c, "t");
    const char *name = json_string_value(json_object_get(c, "name"));
    return own ? own : json_object_get(json_object_get(root, "templates"), name);
}

static bool replay(json_t *root, json_t *c) {
    arena *a = arena_create(0);
    json_t *t = template_of(root, c), *out = json_object_get(c, "out");
    str source = {json_string_value(t), json_string_length(t)};
    const char *vars_name = json_string_value(json_object_get(c, "v"));
    value *vars =
        from_json(&(reader){a, false}, json_object_get(json_object_get(root, "vars"), vars_name));
    int64_t now = json_integer_value(json_object_get(root, "now"));
    err e = {0};
    jinja *j = NULL;
    const tok_segment *segs = NULL;
    size_t n = 0;
    buf got = {0};
    err_code code = jinja_compile(source, &j, &e);
    if (code == ERR_OK) code = jinja_render(j, &(jinja_input){vars, now}, a, &segs, &n, &e);
    for (size_t i = 0; i < n; i++) buf_put_str(&got, segs[i].text);
    bool ok = (code == ERR_OK) == (out != NULL);
    if (ok && out)
        ok = str_eq(buf_str(&got), (str){json_string_value(out), json_string_length(out)});
    if (!ok)
        print_error("%s with %s: %.300s\n  want %s\n  got  %s\n",
                    json_string_value(json_object_get(c, "name")), vars_name, source.ptr,
                    out ? json_string_value(out) : json_string_value(json_object_get(c, "error")),
                    code == ERR_OK ? buf_cstr(&got) : e.msg);
    if (code != ERR_OK) assert_true(e.msg[0] != '\0');
    buf_finish(&got);
    jinja_destroy(&j);
    arena_destroy(&a);
    return ok;
}

static void test_cases(void **state) {
    (void)state;
    json_t *root = load(), *cases = json_object_get(root, "cases");
    size_t wrong = 0, n = json_array_size(cases);
    assert_true(n > 1100);
    assert_true(json_object_size(json_object_get(root, "templates")) >= 60);
    for (size_t i = 0; i < n; i++) wrong += !replay(root, json_array_get(cases, i));
    json_decref(root);
    if (wrong > 0) fail_msg("%zu of %zu cases differ", wrong, n);
}

/* Renders one case with marked strings: 1 when a mark came out, 0 when none did; fails the test
 * when one came out as trusted text. */
static size_t replay_marked(json_t *root, json_t *c) {
    arena *a = arena_create(0);
    json_t *t = template_of(root, c);
    const char *vars_name = json_string_value(json_object_get(c, "v"));
    value *vars =
        from_json(&(reader){a, true}, json_object_get(json_object_get(root, "vars"), vars_name));
    jinja *j = NULL;
    const tok_segment *segs = NULL;
    size_t n = 0, found = 0;
    err_code code = jinja_compile((str){json_string_value(t), json_string_length(t)}, &j, NULL);
    if (code == ERR_OK) code = jinja_render(j, &(jinja_input){.vars = vars}, a, &segs, &n, NULL);
    for (size_t i = 0; i < n; i++) {
        if (str_find(segs[i].text, STR(MARK)) < 0) continue;
        found = 1;
        if (segs[i].trusted)
            fail_msg("%.200s with %s: marked text is trusted", json_string_value(t), vars_name);
    }
    jinja_destroy(&j);
    arena_destroy(&a);
    return found;
}

static void test_variables_stay_untrusted(void **state) {
    (void)state;
    json_t *root = load(), *cases = json_object_get(root, "cases");
    size_t found = 0;
    for (size_t i = 0; i < json_array_size(cases); i++)
        found += replay_marked(root, json_array_get(cases, i));
    json_decref(root);
    assert_true(found > 150); /* the rest prints numbers, refuses, or shows no variable */
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_cases),
                                       cmocka_unit_test(test_variables_stay_untrusted)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
