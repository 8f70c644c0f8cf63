/* JSON text of values and back: what is read, what is refused and where. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/limits.h"
#include "base/value_json.h"
#include <string.h>

static str again(arena *a, str text) {
    value *v;
    err e;
    buf b = {0};
    assert_int_equal(value_json_read(a, text, &v, &e), ERR_OK);
    value_json_write(&b, v, 0);
    str s = str_dup(a, buf_str(&b));
    buf_finish(&b);
    return s;
}

static void reads_what_it_writes(void **state) {
    (void)state;
    static const char *const same[][2] = {
        {"null", "null"},
        {" true ", "true"},
        {"\t[ ]\r\n", "[]"},
        {"{ }", "{}"},
        {"-0", "0"},
        {"9223372036854775807", "9223372036854775807"},
        {"9223372036854775808", "9223372036854776000"}, /* a float by now */
        {"1e3", "1000"},
        {"-1.5E-2", "-0.015"},
        {"\"\\u00e9\\ud83d\\ude00\\n\\/\\\"\"", "\"é😀\\n/\\\"\""},
        {"{\"a\":[1,{\"b\":null}],\"c\":\"\"}", "{\"a\":[1,{\"b\":null}],\"c\":\"\"}"},
        {"{\"a\":1,\"b\":2,\"a\":3}", "{\"a\":3,\"b\":2}"},
    };
    arena *a = arena_create(0);
    for (size_t i = 0; i < COUNT_OF(same); i++)
        assert_string_equal(again(a, str_from(same[i][0])).ptr, same[i][1]);
    value *v;
    err e;
    assert_int_equal(value_json_read(a, STR("\"a\\u0000b\""), &v, &e), ERR_OK);
    assert_int_equal(v->as.text.len, 3);
    assert_int_equal(v->as.text.ptr[1], 0);
    arena_destroy(&a);
}

static void refuses_the_rest(void **state) {
    (void)state;
    static const char *const bad[] = {
        "",        " ",        "nul",         "tru e",       "[1,]",        "[1 2]",
        "{\"a\"}", "{\"a\":}", "{a:1}",       "{\"a\":1,}",  "01",          "1.",
        ".5",      "1e",       "+1",          "-",           "1e999",       "\"a",
        "\"\n\"",  "\"\\x\"",  "\"\\u12g4\"", "\"\\ud800\"", "\"\\udc00\"", "\"\\ud800\\u0041\"",
        "[1]]",    "1 1",      "\xff",        "'a'",         "NaN",         "// x\n1",
        "[",       "{",        "{\"a\":1"};
    arena *a = arena_create(0);
    value *v;
    err e;
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        e.msg[0] = '\0';
        assert_int_equal(value_json_read(a, str_from(bad[i]), &v, &e), ERR_FORMAT);
        assert_non_null(strstr(e.msg, "line "));
        assert_null(v);
    }
    assert_int_equal(value_json_read(a, STR("{\"a\":\n  [1,\n x]}"), &v, &e), ERR_FORMAT);
    assert_non_null(strstr(e.msg, "line 3, column 2"));
    arena_destroy(&a);
}

static void depth_is_bounded(void **state) {
    (void)state;
    arena *a = arena_create(0);
    buf b = {0};
    value *v;
    err e;
    for (int i = 0; i < LIMIT_JSON_DEPTH; i++) buf_put_char(&b, '[');
    for (int i = 0; i < LIMIT_JSON_DEPTH; i++) buf_put_char(&b, ']');
    assert_int_equal(value_json_read(a, buf_str(&b), &v, &e), ERR_OK);
    buf_clear(&b);
    for (int i = 0; i < 1000000; i++) buf_put_str(&b, STR("{\"\":"));
    assert_int_equal(value_json_read(a, buf_str(&b), &v, &e), ERR_FORMAT);
    buf_finish(&b);
    arena_destroy(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_it_writes),
        cmocka_unit_test(refuses_the_rest),
        cmocka_unit_test(depth_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
