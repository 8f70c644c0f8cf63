/* Replays gotmpl_cases.json: what Go's own text/template rendered must come out here too, and what
 * it refused must fail here. See gotmpl_vectors.go. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "http/json.h"
#include "model/gotmpl/gotmpl.h"

static str render(arena *a, str source, const value *data, err *e) {
    gotmpl *t;
    const tok_segment *segs;
    size_t n;
    buf out = {0};
    const gotmpl_input in = {data, 1795693560};
    if (gotmpl_compile(source, &t, e)) return (str){0};
    if (gotmpl_render(t, &in, a, &segs, &n, e) == ERR_OK)
        for (size_t i = 0; i < n; i++) buf_put_str(&out, segs[i].text);
    gotmpl_destroy(&t);
    str s = str_dup(a, buf_str(&out));
    buf_finish(&out);
    return s;
}

static void test_cases(void **state) {
    (void)state;
    json_error_t why;
    json_t *all = json_load_file("tests/golden/gotmpl_cases.json", 0, &why);
    json_t *cases = json_object_get(all, "cases");
    int n_bad = 0;
    assert_true(json_array_size(cases) > 380);
    for (size_t i = 0; i < json_array_size(cases); i++) {
        json_t *c = json_array_get(cases, i);
        const char *source = json_string_value(json_object_get(c, "template"));
        const char *want = json_string_value(json_object_get(c, "want"));
        arena *a = arena_create(0);
        err e = {0};
        str got = render(a, str_from(source), json_to_value(a, json_object_get(all, "data")), &e);
        bool good = want ? e.code == ERR_OK && str_eq(got, str_from(want)) : e.code == ERR_FORMAT;
        if (!good)
            print_error("%s\n  want %s\n  got  " STR_FMT " (%s)\n", source,
                        want ? want : "an error", STR_ARG(got), e.msg);
        n_bad += !good;
        arena_destroy(&a);
    }
    json_decref(all);
    assert_int_equal(n_bad, 0);
}

/* Where data has no types, what Go would refuse is let pass. */
static void test_lenient(void **state) {
    (void)state;
    static const char *const CASES[][2] = {{"{{ eq 1 1.0 }}{{ lt .N 3.5 }}", "truetrue"},
                                           {"[{{ print .Nope }}{{ html .Nope }}]", "[]"},
                                           {"{{ len .Nope }}{{ len (slice .Nope 0) }}", "00"},
                                           {"[{{ .Nope.A.B }}{{ .Nope | json }}]", "[null]"},
                                           {"{{ range .Nope }}{{ else }}none{{ end }}", "none"},
                                           {"{{ eq .Nope \"a\" }}{{ not .Nope }}", "falsetrue"}};
    for (size_t i = 0; i < COUNT_OF(CASES); i++) {
        arena *a = arena_create(0);
        err e = {0};
        value *data = value_map(a);
        value_set(a, data, STR("N"), value_int(a, 3));
        str got = render(a, str_from(CASES[i][0]), data, &e);
        assert_int_equal(e.code, ERR_OK);
        assert_string_equal(str_cstr(a, got), CASES[i][1]);
        arena_destroy(&a);
    }
}

/* Only the template's own bytes are trusted, through every function. */
static void test_trust(void **state) {
    (void)state;
    static const char *const SOURCES[] = {"<|x|>{{ .S }}",
                                          "{{ printf \"%s\" .S }}",
                                          "{{ json .S }}",
                                          "{{ .S | html }}",
                                          "{{ print .S }}",
                                          "{{ slice .S 0 4 }}",
                                          "{{ index .M \"k\" }}{{ .M }}"};
    for (size_t i = 0; i < COUNT_OF(SOURCES); i++) {
        arena *a = arena_create(0);
        value *data = value_map(a), *m = value_map(a);
        gotmpl *t;
        err e;
        const tok_segment *segs;
        size_t n;
        value_set(a, data, STR("S"), value_str(a, STR("EVIL")));
        value_set(a, m, STR("k"), value_str(a, STR("EVIL")));
        value_set(a, data, STR("M"), m);
        assert_int_equal(gotmpl_compile(str_from(SOURCES[i]), &t, &e), ERR_OK);
        const gotmpl_input in = {data, 0};
        assert_int_equal(gotmpl_render(t, &in, a, &segs, &n, &e), ERR_OK);
        bool seen = false;
        for (size_t k = 0; k < n; k++) {
            bool evil = str_find(segs[k].text, STR("EVIL")) >= 0;
            assert_false(evil && segs[k].trusted);
            seen = seen || evil;
        }
        assert_true(seen);
        gotmpl_destroy(&t);
        arena_destroy(&a);
    }
}

/* Programs that would never end, or fill the memory, end with LIMIT. */
static void test_bombs(void **state) {
    (void)state;
    static const char *const SOURCES[] = {
        "{{ define \"a\" }}{{ template \"a\" }}{{ end }}{{ template \"a\" }}",
        "{{ range 100000 }}{{ range 100000 }}{{ end }}{{ end }}",
        "{{ $x := \"0123456789abcdef\" }}{{ range 100 }}{{ $x = printf \"%s%s\" $x $x }}{{ end }}",
        "{{ range 100000000 }}0123456789abcdef0123456789abcdef{{ end }}"};
    for (size_t i = 0; i < COUNT_OF(SOURCES); i++) {
        arena *a = arena_create(0);
        err e = {0};
        value *data = value_map(a);
        render(a, str_from(SOURCES[i]), data, &e);
        assert_int_equal(e.code, ERR_LIMIT);
        arena_destroy(&a);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),
        cmocka_unit_test(test_lenient),
        cmocka_unit_test(test_trust),
        cmocka_unit_test(test_bombs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
