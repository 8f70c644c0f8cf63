/* http/json: hostile texts in, Go's spelling out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/limits.h"
#include "http/json.h"
#include <math.h>
#include <string.h>

/* Parses and writes again; NULL means that it must be refused. */
static void check(str in, const char *want) {
    json_t *v = NULL;
    err e = {0};
    err_code code = json_parse(in, &v, &e);
    print_message(STR_FMT "\n", (int)(in.len < 60 ? in.len : 60), in.ptr);
    if (!want) {
        assert_int_equal(code, ERR_FORMAT);
        assert_true(e.msg[0] != '\0');
        return;
    }
    assert_int_equal(code, ERR_OK);
    buf b = {0};
    json_write(&b, v);
    assert_string_equal(buf_cstr(&b), want);
    buf_finish(&b);
    json_decref(v);
}

/* The same for the picture API's spelling. */
static void check_plain(const char *in, const char *want) {
    json_t *v = NULL;
    err e = {0};
    assert_int_equal(json_parse_plain(str_from(in), &v, &e), ERR_OK);
    buf b = {0};
    json_write_plain(&b, v);
    assert_string_equal(buf_cstr(&b), want);
    buf_finish(&b);
    json_decref(v);
}

static void test_plain(void **state) {
    (void)state;
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"{\"a\":1,\"b\":[1,2]}", "{\"a\": 1, \"b\": [1, 2]}"},
        {"5.0", "5.0"},
        {"{\"a\":[NaN,-Infinity, Infinity],\"NaN\":\"x NaN\"}",
         "{\"a\": [\"NaN\", \"-Infinity\", \"Infinity\"], \"NaN\": \"x NaN\"}"},
        {"-0.0", "-0.0"},
        {"0.1", "0.1"},
        {"1e16", "1e+16"},
        {"1234567890123456.0", "1234567890123456.0"},
        {"0.0001", "0.0001"},
        {"0.00001", "1e-05"},
        {"1.5e300", "1.5e+300"},
        {"9223372036854775807", "9223372036854775807"},
        {"9223372036854775808", "9223372036854775808"},
        {"18446744073709551615", "18446744073709551615"},
        {"[18446744073709551614,\"x\"]", "[18446744073709551614, \"x\"]"},
        {"\"a \\\" 18446744073709551615 <b>\"", "\"a \\\" 18446744073709551615 <b>\""},
        {"{\"18446744073709551615\":1}", "{\"18446744073709551615\": 1}"},
        {"\"012345678901234567890\"", "\"012345678901234567890\""},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) check_plain(cases[i].in, cases[i].out);
}

static void test_numbers(void **state) {
    (void)state;
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"0", "0"},
        {"-0", "0"},
        {"1.0", "1"},
        {"0.1", "0.1"},
        {"-1.5e3", "-1500"},
        {"1e-6", "0.000001"},
        {"1e-7", "1e-7"},
        {"1.25e-9", "1.25e-9"},
        {"1e20", "100000000000000000000"},
        {"123456789012345678901.0", "123456789012345680000"},
        {"1e21", "1e+21"},
        {"1.7976931348623157e308", "1.7976931348623157e+308"},
        {"5e-324", "5e-324"},
        {"9223372036854775807", "9223372036854775807"},
        {"-9223372036854775808", "-9223372036854775808"},
        {"9223372036854775808", "9223372036854776000"},
        {"[18446744073709551616]", "[18446744073709552000]"},
        {"123456789012345678901234567890", "1.2345678901234568e+29"},
        {"1e400", NULL},
        {"-1e999", NULL},
        {"NaN", NULL},
        {"Infinity", NULL},
        {"-", NULL},
        {"+1", NULL},
        {".5", NULL},
        {"[1.]", NULL},
        {"1e", NULL},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) check(str_from(cases[i].in), cases[i].out);
}

static void test_bad_texts(void **state) {
    (void)state;
    static const char *const bad[] = {"",        " ",       "{",          "[",
                                      "\"",      "{\"a\"}", "{\"a\":}",   "{a:1}",
                                      "{'a':1}", "[1,]",    "{\"a\":1,}", "[1 2]",
                                      "tru",     "nul",     "\"\\x\"",    "\"\\u12\"",
                                      "\"\n\"",  "// c\n1", "{1:2}",      "{\"a\":1 \"b\":2}",
                                      "]",       "}",       ",",          "\"\\u123g\""};
    for (size_t i = 0; i < COUNT_OF(bad); i++) check(str_from(bad[i]), NULL);
    check(STR("{\"a\0b\":1}"), NULL);
    check((str){NULL, 0}, NULL);
}

static void test_escapes(void **state) {
    (void)state;
    check(STR("\"\\u0041\\n\\t\\r\\b\\f\\/\\\\\\\"\""), "\"A\\n\\t\\r\\b\\f/\\\\\\\"\"");
    check(STR("\"<a>&\""), "\"\\u003ca\\u003e\\u0026\"");
    check(STR("\"\\u2028\\u2029\\u2027\""), "\"\\u2028\\u2029\xE2\x80\xA7\"");
    check(STR("\"\\ud83d\\ude00\""), "\"\xF0\x9F\x98\x80\"");
    check(STR("\"a\\u0000b\""), "\"a\\u0000b\"");
    check(STR("\"\\u001f\""), "\"\\u001f\"");
    check(STR("{\"<k>\":null}"), "{\"\\u003ck\\u003e\":null}");
}

/* Half of a pair is what a program sends that cut its text in the middle of an emoji. */
static void test_lone_surrogates(void **state) {
    (void)state;
    check(STR("\"\\ud83d\""), "\"\xEF\xBF\xBD\"");
    check(STR("\"\\ude00x\""), "\"\xEF\xBF\xBDx\"");
    check(STR("\"\\uD83D\\u0041\""), "\"\xEF\xBF\xBD\x41\"");
    check(STR("\"\\ud83d\\ud83d\\ude00\""), "\"\xEF\xBF\xBD\xF0\x9F\x98\x80\"");
    check(STR("\"\\\\ud83d\""), "\"\\\\ud83d\""); /* an escaped backslash, no escape */
    check(STR("\"\\ud8\""), NULL);
    check(STR("\"\\ud83d"), NULL);
}

static void test_bad_utf8(void **state) {
    (void)state;
    check(STR("\"a\xFFz\""), "\"a\xEF\xBF\xBDz\"");
    check(STR("\"\xC0\xAF\""), "\"\xEF\xBF\xBD\xEF\xBF\xBD\"");
    check(STR("\"\xED\xA0\x80\""), "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\"");
    check(STR("\"\xE2\x82\""), "\"\xEF\xBF\xBD\xEF\xBF\xBD\"");
    check(STR("\"\xF5\x80\x80\x80\""), "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\"");
    check(STR("\"\xEF\xBF\xBD\""), "\"\xEF\xBF\xBD\""); /* a real one stays one */
    check(STR("\xFF"), NULL);
    check(STR("\xFE\xFF\0{\0}"), NULL);
}

static void test_objects(void **state) {
    (void)state;
    check(STR("{\"b\":1,\"a\":2,\"c\":{}}"), "{\"b\":1,\"a\":2,\"c\":{}}"); /* order is kept */
    json_t *v = NULL;
    assert_int_equal(json_parse(STR("{\"a\":1,\"b\":2,\"a\":3}"), &v, NULL), ERR_OK);
    assert_int_equal(json_integer_value(json_object_get(v, "a")), 3); /* the last one counts */
    assert_int_equal(json_object_size(v), 2);
    json_decref(v);
    check(STR("{\"\":[]}"), "{\"\":[]}");
}

static void test_trailing_data(void **state) {
    (void)state;
    check(STR("{} {}"), "{}");
    check(STR("{}x"), "{}");
    check(STR("[1]\n\n"), "[1]");
    check(STR(" true,false"), "true");
}

static void test_depth(void **state) {
    (void)state;
    static const char pairs[2][2] = {{'[', ']'}, {'{', '}'}};
    for (int extra = 0; extra < 2; extra++) {
        buf b = {0};
        for (int i = 0; i < LIMIT_JSON_DEPTH + extra; i++) buf_put_char(&b, pairs[0][0]);
        for (int i = 0; i < LIMIT_JSON_DEPTH + extra; i++) buf_put_char(&b, pairs[0][1]);
        check(buf_str(&b), extra ? NULL : buf_cstr(&b));
        buf_finish(&b);
    }
    buf b = {0}; /* a megabyte of openings: refused before anything recurses */
    for (int i = 0; i < 1 << 20; i++) buf_put(&b, i & 1 ? "[" : "{\"\":", i & 1 ? 1 : 4);
    check(buf_str(&b), NULL);
    buf_clear(&b); /* brackets inside strings do not count */
    buf_put_char(&b, '"');
    for (int i = 0; i < 1000; i++) buf_put(&b, "[{\\\"", 4);
    buf_put_char(&b, '"');
    check(buf_str(&b), buf_cstr(&b));
    buf_finish(&b);
}

static void check_f32(float v, const char *want) {
    buf b = {0};
    json_write_f32(&b, v);
    assert_string_equal(buf_cstr(&b), want);
    buf_finish(&b);
}

static void test_f32(void **state) {
    (void)state;
    check_f32(0.1f, "0.1");
    check_f32(-0.0303f, "-0.0303");
    check_f32(16777216.0f, "16777216");
    check_f32(1e-6f, "0.000001");
    check_f32(1e-7f, "1e-7");
    check_f32(1e20f, "100000000000000000000");
    check_f32(3.4028235e38f, "3.4028235e+38");
    check_f32(1e-45f, "1e-45");
    check_f32(NAN, "0"); /* JSON has no word for these */
    check_f32(-INFINITY, "0");
}

static void test_value_round_trip(void **state) {
    (void)state;
    static const char text[] =
        "{\"s\":\"\xC3\xA4\\u0000\",\"i\":-3,\"f\":0.5,\"t\":true,\"n\":null,\"l\":[1,[],{}]}";
    arena *a = arena_create(0);
    json_t *v = NULL;
    assert_int_equal(json_parse(STR(text), &v, NULL), ERR_OK);
    value *plain = json_to_value(a, v);
    assert_int_equal(plain->kind, VALUE_MAP);
    assert_false(value_get(plain, STR("s"))->trusted);
    assert_int_equal(value_get(plain, STR("s"))->as.text.len, 3);
    json_t *back = json_from_value(plain);
    assert_true(json_equal(v, back));
    json_decref(back);
    json_decref(v);
    back = json_from_value(value_str(a, STR("a\xFF"))); /* not UTF-8: repaired, not lost */
    assert_string_equal(json_string_value(back), "a\xEF\xBF\xBD");
    json_decref(back);
    arena_destroy(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),           cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_bad_texts),       cmocka_unit_test(test_escapes),
        cmocka_unit_test(test_lone_surrogates), cmocka_unit_test(test_bad_utf8),
        cmocka_unit_test(test_objects),         cmocka_unit_test(test_trailing_data),
        cmocka_unit_test(test_depth),           cmocka_unit_test(test_f32),
        cmocka_unit_test(test_value_round_trip)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
