/* llm/grammar: which texts a schema, an expression or a GBNF grammar lets through, and masks
 * against the same question asked token by token. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/limits.h"
#include "base/rng.h"
#include "http/json.h"
#include "llm/grammar/grammar.h"
#include <stdio.h>
#include <string.h>

enum { TEXTS_MAX = 16 };

/* Whole texts that pass and that do not; NULL ends a list. */
typedef struct grammar_case {
    const char *grammar;
    const char *good[TEXTS_MAX];
    const char *bad[TEXTS_MAX];
} grammar_case;

static bool passes(grammar *g, const char *text) {
    err e;
    grammar_reset(g);
    for (const char *p = text; *p; p++)
        if (grammar_accept(g, (str){p, 1}, &e)) return false;
    return grammar_may_end(g);
}

static void check_case(grammar *g, const grammar_case *c) {
    for (int i = 0; c->good[i]; i++)
        if (!passes(g, c->good[i])) fail_msg("%s refuses %s", c->grammar, c->good[i]);
    for (int i = 0; c->bad[i]; i++)
        if (passes(g, c->bad[i])) fail_msg("%s lets %s through", c->grammar, c->bad[i]);
}

static err_code from_schema_text(const char *text, grammar **ret, err *e) {
    json_t *json = NULL;
    arena *a = arena_create(0);
    assert_int_equal(json_parse(str_from(text), &json, e), ERR_OK);
    err_code code = grammar_from_schema(json_to_value(a, json), ret, e);
    json_decref(json);
    arena_destroy(&a);
    return code;
}

static void check_schemas(const grammar_case *cases, size_t n) {
    for (size_t i = 0; i < n; i++) {
        grammar *g = NULL;
        err e = {0};
        if (from_schema_text(cases[i].grammar, &g, &e)) fail_msg("%s: %s", cases[i].grammar, e.msg);
        check_case(g, &cases[i]);
        grammar_destroy(&g);
    }
}

static void test_json(void **state) {
    (void)state;
    static const grammar_case c = {
        "json",
        {"{}", "{ }", "{\"a\":1}", "{\"a\": [1, 2.5e-3, true, null, \"x\\n\\u00e9\"]}",
         "{\"a\":{\"b\":{\"c\":[[[]]]}}}", "{\"\xC3\xA9\":\"\xE2\x82\xAC\xF0\x9F\x98\x80\"}",
         "{\n  \"a\": -0.5,\n  \"b\": \"\\/\\\"\\\\\"\n}", NULL},
        {"", "[]", "1", "{", "{\"a\"}", "{\"a\":01}", "{\"a\":1,}", "{a:1}", "{\"a\":\"\n\"}",
         "{\"a\":\"\\x\"}", "{}x", "{\"a\":\"\xC3\"}", "{\"a\":\"\\ud83dx\"}", NULL}};
    grammar *g;
    err e;
    assert_int_equal(grammar_from_json(&g, &e), ERR_OK);
    check_case(g, &c);
    assert_true(passes(g, "{\"a\":[]}"));
    assert_true(grammar_must_end(g));
    grammar_destroy(&g);
}

static void test_objects(void **state) {
    (void)state;
    static const grammar_case cases[] = {
        {"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"},\"b\":{\"type\":"
         "\"string\"},\"c\":{\"type\":\"boolean\"}},\"required\":[\"b\"]}",
         {"{\"b\":\"\"}", "{\"a\":1,\"b\":\"x\"}", "{\"a\":1,\"b\":\"x\",\"c\":true}",
          "{\"b\":\"x\", \"c\": false }", NULL},
         {"{}", "{\"a\":1}", "{\"b\":1}", "{\"b\":\"x\",\"a\":1}", "{\"b\":\"x\",\"d\":1}",
          "{\"a\":1,\"b\":\"x\",}", "{,\"b\":\"x\"}", NULL}},
        {"{\"properties\":{\"a\":{},\"b\":{}},\"additionalProperties\":false}",
         {"{}", "{\"a\":null}", "{\"b\":[1]}", "{\"a\":1,\"b\":2}", NULL},
         {"{\"c\":1}", "{\"b\":1,\"a\":2}", NULL}},
        {"{\"properties\":{\"ab\":{\"type\":\"null\"}},\"additionalProperties\":{\"type\":"
         "\"integer\"}}",
         {"{}", "{\"ab\":null}", "{\"a\":1,\"abc\":2}", "{\"ab\":null,\"x\":7}", "{\"\":3}", NULL},
         {"{\"ab\":1}", "{\"x\":null}", "{\"ab\":null,\"ab\":1}", NULL}},
        {"{\"type\":\"object\",\"required\":[\"q\"]}", {"{\"q\":[]}", NULL}, {"{}", NULL}},
        {"{\"type\":\"object\",\"additionalProperties\":{\"type\":\"boolean\"}}",
         {"{}", "{\"x\":true,\"y\":false}", NULL},
         {"{\"x\":1}", NULL}},
        {"{\"allOf\":[{\"properties\":{\"a\":{\"type\":\"integer\"}},\"required\":[\"a\"]},"
         "{\"$ref\":\"#/$defs/b\"}],\"$defs\":{\"b\":{\"properties\":{\"b\":{\"const\":\"x\"}}}}}",
         {"{\"a\":1}", "{\"a\":1,\"b\":\"x\"}", NULL},
         {"{}", "{\"b\":\"x\"}", NULL}},
    };
    check_schemas(cases, COUNT_OF(cases));
}

#define FUNCTIONS                                                                                  \
    "[{\"name\":\"mail\",\"parameters\":{\"type\":\"object\",\"required\":[\"to\",\"n\"],"         \
    "\"properties\":{"                                                                             \
    "\"to\":{\"type\":\"string\",\"pattern\":\"^[a-z]+@x$\"},\"text\":{\"type\":\"string\"},"      \
    "\"n\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":9},\"u\":{\"enum\":[\"C\",\"F g\"]},"   \
    "\"l\":{\"type\":\"array\",\"items\":{\"$ref\":\"#/$defs/"                                     \
    "i\"}}},\"$defs\":{\"i\":{\"const\":7}}}},"                                                    \
    "{\"name\":\"now\",\"parameters\":{\"type\":\"object\"}},{\"name\":\"odd\",\"parameters\":{"   \
    "\"properties\":{\"a\":{\"type\":"                                                             \
    "\"string\","                                                                                  \
    "\"pattern\":\"(?<=x)\"}}}}]"

/* Calls in words, as two families write them. */
static void test_calls(void **state) {
    (void)state;
    static const struct {
        const char *format, *template_text;
        grammar_case texts;
    } cases[] = {
        {"qwen3-coder",
         "",
         {"function",
          {"<function=now>\n</function>", "<function=now></function>",
           "\n<function=mail>\n<parameter=to>\na@x\n</parameter>\n<parameter=n>\n3\n</parameter>\n"
           "</function>",
           "<function=mail>\n<parameter=to>\na@x\n</parameter>\n<parameter=text>\n\"<b>\n</"
           "param>\\\n"
           "\n</parameter>\n<parameter=n>\n3\n</parameter>\n<parameter=u>\nF g\n</parameter>\n"
           "<parameter=l>\n[7, 7]\n</parameter>\n</function>",
           "<function=mail>\n<parameter=u>\nC\n</parameter>\n<parameter=n>\n3\n</parameter>\n"
           "<parameter=to>\na@x\n</parameter>\n</function>",
           "<function=odd>\n<parameter=any>\nthing\n</parameter>\n</function>", NULL},
          {"<function=nope>\n</function>", "<function=now>\n<parameter=a>1</parameter></function>",
           "<function=now>\n", "{\"name\":\"now\"}", "<function=mail>\n</function>",
           "<function=mail>\n<parameter=to>\na@x\n</parameter>\n<parameter=to>\na@x\n</parameter>\n"
           "<parameter=n>\n3\n</parameter>\n</function>",
           "<function=mail>\n<parameter=to>\n\"a@x\"\n</parameter>\n<parameter=n>\n3\n</"
           "parameter>\n"
           "</function>",
           "<function=mail>\n<parameter=to>\na@x\n</parameter>\n<parameter=n>\n10\n</parameter>\n"
           "</function>",
           "<function=mail>\n<parameter=to>\na@x\n</parameter>\n<parameter=n>\n3\n</parameter>\n"
           "<parameter=l>\n[8]\n</parameter>\n</function>",
           "<function=mail>\n<parameter=to>\na@x\n</parameter>\n<parameter=n>\n3\n</parameter>\n"
           "<parameter=u>\nK\n</parameter>\n</function>",
           NULL}}},
        {"qwen3",
         "<arg_key>",
         {"pairs",
          {"now\n</tool_call>", "now</tool_call>",
           "mail\n<arg_key>to</arg_key>\n<arg_value>a@x</arg_value>\n<arg_key>n</arg_key>\n"
           "<arg_value>3</arg_value>\n</tool_call>",
           "mail<arg_key>to</arg_key><arg_value>a@x</arg_value><arg_key>n</arg_key>"
           "<arg_value>3</arg_value></tool_call>",
           NULL},
          {"nope</tool_call>", "mail\n</tool_call>",
           "mail\n<arg_key>to</arg_key>\n<arg_value>a@x</arg_value>\n<arg_key>n</arg_key>\n"
           "<arg_value>x</arg_value>\n</tool_call>",
           NULL}}},
    };
    json_t *json = NULL;
    arena *a = arena_create(0);
    err e = {0};
    assert_int_equal(json_parse(STR(FUNCTIONS), &json, &e), ERR_OK);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        reply_spec spec = {.format = cases[i].format,
                           .template_text = str_from(cases[i].template_text)};
        reply *r = reply_create(&spec);
        grammar *g = NULL;
        if (grammar_from_calls(reply_form(r), json_to_value(a, json), &g, &e))
            fail_msg("%s", e.msg);
        check_case(g, &cases[i].texts);
        grammar_destroy(&g);
        reply_destroy(&r);
    }
    json_decref(json);
    arena_destroy(&a);
}

static void test_arrays(void **state) {
    (void)state;
    static const grammar_case cases[] = {
        {"{\"type\":\"array\",\"items\":{\"type\":\"integer\"},\"minItems\":1,\"maxItems\":3}",
         {"[1]", "[1,2]", "[1, 2, 3]", NULL},
         {"[]", "[1,2,3,4]", "[1,]", "[\"a\"]", NULL}},
        {"{\"type\":\"array\"}", {"[]", "[1,\"a\",[null]]", NULL}, {"[1", "[,]", NULL}},
        {"{\"items\":{\"enum\":[\"a\",\"b\"]},\"maxItems\":0}", {"[]", NULL}, {"[\"a\"]", NULL}},
        {"{\"prefixItems\":[{\"type\":\"string\"},{\"type\":\"integer\"}],\"items\":false}",
         {"[]", "[\"a\"]", "[\"a\",1]", NULL},
         {"[1]", "[\"a\",1,2]", NULL}},
        {"{\"prefixItems\":[{\"type\":\"string\"}],\"minItems\":2,\"items\":{\"type\":\"null\"}}",
         {"[\"a\",null]", "[\"a\",null,null]", NULL},
         {"[\"a\"]", "[]", NULL}},
    };
    check_schemas(cases, COUNT_OF(cases));
}

static void test_unions(void **state) {
    (void)state;
    static const grammar_case cases[] = {
        {"{\"enum\":[\"red\",\"re\",1,null,{\"a\":[1]}]}",
         {"\"red\"", "\"re\"", "1", "null", "{\"a\":[1]}", NULL},
         {"\"r\"", "2", "red", NULL}},
        {"{\"anyOf\":[{\"type\":\"integer\"},{\"type\":\"null\"}]}",
         {"12", "null", NULL},
         {"\"a\"", NULL}},
        {"{\"type\":[\"string\",\"null\"]}", {"\"x\"", "null", NULL}, {"1", NULL}},
        {"{\"const\":\"a\\\"b\"}", {"\"a\\\"b\"", NULL}, {"\"a\"", NULL}},
        {"{\"$ref\":\"#/$defs/node\",\"$defs\":{\"node\":{\"properties\":{\"v\":{\"type\":"
         "\"integer\"},\"next\":{\"anyOf\":[{\"$ref\":\"#/$defs/node\"},{\"type\":\"null\"}]}},"
         "\"required\":[\"v\",\"next\"]}}}",
         {"{\"v\":1,\"next\":null}", "{\"v\":1,\"next\":{\"v\":2,\"next\":null}}", NULL},
         {"{\"v\":1}", "{\"v\":1,\"next\":{}}", NULL}},
        {"true", {"[{}]", "1", NULL}, {"x", NULL}},
    };
    check_schemas(cases, COUNT_OF(cases));
}

/* What stands beside a reference, a union or a list of values counts too. */
static void test_both_must_hold(void **state) {
    (void)state;
    static const grammar_case cases[] = {
        {"{\"allOf\":[{\"properties\":{\"a\":{\"type\":\"null\"}},\"required\":[\"a\"]},{\"anyOf\":"
         "[{"
         "\"properties\":{\"b\":{\"const\":1}}},{\"properties\":{\"c\":{\"const\":2}}}]}],"
         "\"unevaluatedProperties\":false}",
         {"{\"a\":null}", "{\"a\":null,\"b\":1}", "{\"a\":null,\"c\":2}", NULL},
         {"{}", "{\"a\":null,\"b\":1,\"c\":2}", "{\"a\":null,\"d\":1}", NULL}},
        {"{\"$ref\":\"#/$defs/x\",\"properties\":{\"b\":{\"const\":1}},\"unevaluatedProperties\":{"
         "\"type\":\"boolean\"},\"$defs\":{\"x\":{\"properties\":{\"a\":{\"type\":\"null\"}}}}}",
         {"{\"a\":null,\"b\":1,\"z\":true}", "{}", NULL},
         {"{\"a\":true}", "{\"z\":1}", NULL}},
        {"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"},\"b\":{\"type\":"
         "\"integer\"}},\"anyOf\":[{\"required\":[\"a\"]},{\"required\":[\"b\"]}]}",
         {"{\"a\":1}", "{\"b\":2}", "{\"a\":1,\"b\":2}", NULL},
         {"{}", "{\"a\":[1]}", NULL}},
        {"{\"properties\":{\"x\":{\"$ref\":\"#/$defs/"
         "n\",\"minimum\":5}},\"required\":[\"x\"],\"$defs\":{\"n\":{\"type\":\"integer\","
         "\"maximum\":9}}}",
         {"{\"x\":5}", "{\"x\":9}", NULL},
         {"{\"x\":4}", "{\"x\":10}", "{}", NULL}},
        {"{\"enum\":[\"a\",1,2.5,null],\"type\":[\"string\",\"integer\"]}",
         {"\"a\"", "1", NULL},
         {"2.5", "null", NULL}},
        {"{\"enum\":[1,5,9],\"minimum\":2,\"exclusiveMaximum\":9}", {"5", NULL}, {"1", "9", NULL}},
        {"{\"allOf\":[{\"type\":\"integer\",\"minimum\":3},{\"maximum\":5}]}",
         {"3", "5", NULL},
         {"2", "6", NULL}},
        {"{\"allOf\":[{\"$ref\":\"#/$defs/"
         "a\"},{\"properties\":{\"b\":{\"type\":\"null\"}},\"required\":[\"b\"]}],\"$defs\":{\"a\":"
         "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"boolean\"}},\"required\":[\"a\"]}}"
         "}",
         {"{\"a\":true,\"b\":null}", NULL},
         {"{\"a\":true}", "{\"b\":null}", NULL}},
        {"{\"properties\":{\"k\":{\"type\":\"string\"}},\"required\":[\"k\"],\"oneOf\":[{"
         "\"properties\":{\"k\":{\"const\":\"x\"},\"v\":{\"type\":\"integer\"}}},{\"properties\":{"
         "\"k\":{\"const\":\"y\"}}}]}",
         {"{\"k\":\"x\",\"v\":3}", "{\"k\":\"y\"}", NULL},
         {"{\"k\":\"z\"}", "{\"k\":\"y\",\"v\":3}", NULL}},
        {"{\"type\":\"number\",\"anyOf\":[{\"type\":\"integer\"},{\"type\":\"string\"}]}",
         {"7", NULL},
         {"\"a\"", "7.5", NULL}},
        {"{\"properties\":{\"a\":false,\"b\":{\"type\":\"integer\"}}}",
         {"{\"b\":1}", "{}", NULL},
         {"{\"a\":1}", NULL}},
    };
    check_schemas(cases, COUNT_OF(cases));
}

static void test_strings(void **state) {
    (void)state;
    static const grammar_case cases[] = {
        {"{\"type\":\"string\",\"minLength\":2,\"maxLength\":3}",
         {"\"ab\"", "\"a\\n\"", "\"\xE2\x82\xAC\xE2\x82\xAC\xE2\x82\xAC\"", NULL},
         {"\"a\"", "\"abcd\"", NULL}},
        {"{\"type\":\"string\",\"pattern\":\"^[A-Z]{2}-\\\\d+$\"}",
         {"\"AB-1\"", "\"XY-0042\"", NULL},
         {"\"A-1\"", "\"AB-\"", "\"xAB-1\"", NULL}},
        {"{\"type\":\"string\",\"pattern\":\"b+\"}",
         {"\"b\"", "\"abbc\"", NULL},
         {"\"a\"", "\"\"", NULL}},
        {"{\"type\":\"string\",\"pattern\":\"^\\\"\\\\\\\\$\"}",
         {"\"\\\"\\\\\"", NULL},
         {"\"x\"", NULL}},
        {"{\"type\":\"string\",\"format\":\"date\"}",
         {"\"2026-11-26\"", "\"2024-02-29\"", "\"2000-02-29\"", "\"0007-02-28\"", NULL},
         {"\"2026-13-01\"", "\"2026-04-31\"", "\"26-1-1\"", "\"2023-02-29\"", "\"1900-02-29\"",
          "\"0000-01-01\"", NULL}},
        {"{\"type\":\"string\",\"format\":\"duration\"}",
         {"\"P1W\"", "\"PT1H30M\"", "\"P1Y2M3DT4H5M6S\"", "\"PT90S\"", "\"P3DT5M\"", NULL},
         {"\"P\"", "\"PT\"", "\"P1DT\"", "\"P1W1D\"", "\"PT1H6S\"", "\"P1234567D\"", NULL}},
        /* as zod writes it: both together would be too much, the pattern says it all */
        {"{\"type\":\"string\",\"format\":\"hostname\",\"pattern\":\"^(?=.{1,253}\\\\.?$)[a-zA-Z0-"
         "9]"
         "(?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?(?:\\\\.[a-zA-Z0-9](?:[-0-9a-zA-Z]{0,61}"
         "[0-9a-zA-Z])?)*\\\\.?$\"}",
         {"\"a-b.example.org\"", NULL},
         {"\"-a.org\"", "\"a..b\"", "\"a b\"", NULL}},
        {"{\"type\":\"string\",\"format\":\"date-time\"}",
         {"\"2026-11-26T23:59:59Z\"", "\"2026-11-26T00:00:00.123+14:00\"", NULL},
         {"\"2026-11-26\"", "\"2026-11-26T24:00:00Z\"", NULL}},
        {"{\"type\":\"string\",\"format\":\"uuid\"}",
         {"\"123e4567-e89b-12d3-a456-426614174000\"", "\"123E4567-E89B-12D3-A456-426614174000\"",
          NULL},
         {"\"123e4567\"", NULL}},
        {"{\"type\":\"string\",\"format\":\"ipv4\"}",
         {"\"255.0.10.199\"", NULL},
         {"\"256.0.0.1\"", "\"1.2.3\"", NULL}},
        {"{\"type\":\"string\",\"format\":\"email\"}",
         {"\"a.b+c@example.org\"", NULL},
         {"\"a@b\"", "\"a b@c.de\"", NULL}},
    };
    check_schemas(cases, COUNT_OF(cases));
}

/* Every value of a grid against the bounds, compared as numbers. */
static void check_range(const char *schema, bool integer, double lo, double hi, bool open) {
    grammar *g = NULL;
    err e = {0};
    char text[32];
    if (from_schema_text(schema, &g, &e)) fail_msg("%s: %s", schema, e.msg);
    for (int i = -3000; i <= 3000; i++) {
        double v = integer ? i : i / 20.0;
        snprintf(text, sizeof text, integer ? "%.0f" : i % 20 == 0 ? "%.0f" : "%.2f", v);
        if (strcmp(text, "-0") == 0) continue;
        bool want = open ? v > lo && v < hi : v >= lo && v <= hi;
        if (passes(g, text) != want) fail_msg("%s: %s", schema, text);
    }
    grammar_destroy(&g);
}

static void test_numbers(void **state) {
    (void)state;
    static const grammar_case cases[] = {
        {"{\"type\":\"integer\"}", {"0", "-1", "123456789", NULL}, {"01", "1.0", "-", "+1", NULL}},
        {"{\"type\":\"number\"}", {"0.5", "-1e9", "2E+3", NULL}, {".5", "1.", "0x1", NULL}},
        {"{\"type\":\"number\",\"minimum\":0.25}",
         {"0.25", "0.250", "0.3", "1", "77.125", NULL},
         {"0.24", "0", "-1", "0.2", NULL}},
    };
    check_schemas(cases, COUNT_OF(cases));
    check_range("{\"type\":\"integer\",\"minimum\":-17,\"maximum\":1204}", true, -17, 1204, false);
    check_range("{\"type\":\"integer\",\"minimum\":5}", true, 5, 1e9, false);
    check_range("{\"type\":\"integer\",\"maximum\":-5}", true, -1e9, -5, false);
    check_range("{\"type\":\"integer\",\"exclusiveMinimum\":9,\"exclusiveMaximum\":100}", true, 9,
                100, true);
    check_range("{\"type\":\"integer\",\"minimum\":0,\"maximum\":0}", true, 0, 0, false);
    check_range("{\"type\":\"number\",\"minimum\":-2.55,\"maximum\":31.4}", false, -2.55, 31.4,
                false);
    check_range("{\"type\":\"number\",\"minimum\":1.2,\"maximum\":1.75}", false, 1.2, 1.75, false);
    check_range("{\"type\":\"number\",\"exclusiveMinimum\":1.2,\"exclusiveMaximum\":4}", false, 1.2,
                4, true);
    check_range("{\"type\":\"number\",\"exclusiveMinimum\":0,\"exclusiveMaximum\":1}", false, 0, 1,
                true);
    check_range("{\"type\":\"number\",\"maximum\":-0.5}", false, -1e9, -0.5, false);
}

/* Keywords that ask for more than one thing of the same value. */
static void test_together(void **state) {
    (void)state;
    static const grammar_case cases[] = {
        {"{\"type\":\"string\",\"pattern\":\"^[a-z]+$\",\"minLength\":2,\"maxLength\":3}",
         {"\"ab\"", "\"abc\"", NULL},
         {"\"a\"", "\"abcd\"", "\"aB\"", NULL}},
        {"{\"allOf\":[{\"pattern\":\"b\"},{\"pattern\":\"^a\"},{\"maxLength\":3}]}",
         {"\"ab\"", "\"axb\"", NULL},
         {"\"ba\"", "\"a\"", "\"axxb\"", NULL}},
        {"{\"type\":\"string\",\"format\":\"email\",\"pattern\":\"^(?!a)(?!.*\\\\.\\\\.).*x$\"}",
         {"\"b@c.dx\"", NULL},
         {"\"a@c.dx\"", "\"b@c.de\"", NULL}},
        {"{\"pattern\":\"^(?=.*[0-9])(?=.*[a-z]$)[a-z0-9]{2,4}$\"}",
         {"\"1a\"", "\"a1b\"", NULL},
         {"\"ab\"", "\"a1\"", "\"12345a\"", NULL}},
        {"{\"pattern\":\"^P(?:[0-9]W|(?!.*W)(?=[0-9])([0-9]Y)?([0-9]D)?)$\",\"maxLength\":5000}",
         {"\"P1W\"", "\"P1Y2D\"", "\"P2D\"", NULL},
         {"\"P\"", "\"P1Y1W\"", NULL}},
        {"{\"pattern\":\"^a$|^b|c$\"}",
         {"\"a\"", "\"bx\"", "\"xc\"", NULL},
         {"\"ax\"", "\"xb\"", NULL}},
        {"{\"type\":\"string\",\"enum\":[\"abc\",\"de\"],\"minLength\":3}",
         {"\"abc\"", NULL},
         {"\"de\"", NULL}},
        {"{\"allOf\":[{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"integer\"}]},{\"anyOf\":[{"
         "\"type\":"
         "\"integer\",\"minimum\":3},{\"type\":\"null\"}]}]}",
         {"3", "77", NULL},
         {"2", "null", "\"a\"", NULL}},
        {"{\"type\":\"integer\",\"multipleOf\":7,\"minimum\":-20,\"maximum\":30}",
         {"-14", "0", "7", "28", NULL},
         {"1", "-21", "35", "-6", NULL}},
        {"{\"type\":\"number\",\"multipleOf\":0.25}",
         {"1.25", "3", "0.5", "-2.50", NULL},
         {"1.3", "1.255", NULL}},
        {"{\"type\":\"integer\",\"minimum\":-9007199254740991,\"maximum\":9007199254740991}",
         {"5", "-5", NULL},
         {"1.5", NULL}},
    };
    check_schemas(cases, COUNT_OF(cases));
}

static void test_keys(void **state) {
    (void)state;
    static const grammar_case cases[] = {
        {"{\"patternProperties\":{\"^x-\":{\"type\":\"integer\"}},\"properties\":{\"n\":{\"type\":"
         "\"null\"}},\"additionalProperties\":false}",
         {"{}", "{\"x-a\":1}", "{\"n\":null,\"x-\":1,\"x-b\":2}", NULL},
         {"{\"y\":1}", "{\"x-a\":null}", "{\"x\":1}", NULL}},
        {"{\"patternProperties\":{\"^a\":{\"type\":\"integer\"}},\"additionalProperties\":{"
         "\"type\":"
         "\"null\"},\"properties\":{\"ab\":{\"minimum\":5}}}",
         {"{\"ab\":5,\"a\":1,\"b\":null}", NULL},
         {"{\"ab\":4}", "{\"b\":1}", "{\"a\":null}", NULL}},
        {"{\"propertyNames\":{\"pattern\":\"^[A-Z]+$\"},\"additionalProperties\":{\"type\":"
         "\"integer\"},"
         "\"minProperties\":1,\"maxProperties\":2}",
         {"{\"A\":1}", "{\"A\":1,\"BC\":2}", NULL},
         {"{}", "{\"a\":1}", "{\"A\":1,\"B\":2,\"C\":3}", NULL}},
        {"{\"propertyNames\":{\"enum\":[\"a\",\"b\"]},\"additionalProperties\":{\"type\":\"null\"},"
         "\"required\":[\"a\",\"b\"]}",
         {"{\"a\":null,\"b\":null}", NULL},
         {"{\"a\":null}", "{\"a\":null,\"b\":null,\"c\":null}", NULL}},
        {"{\"properties\":{\"a\":{\"type\":\"null\"},\"b\":{\"type\":\"null\"},\"c\":{\"type\":"
         "\"null\"}},"
         "\"minProperties\":2,\"maxProperties\":2,\"additionalProperties\":false}",
         {"{\"a\":null,\"b\":null}", "{\"a\":null,\"c\":null}", "{\"b\":null,\"c\":null}", NULL},
         {"{}", "{\"a\":null}", "{\"a\":null,\"b\":null,\"c\":null}", NULL}},
        {"{\"properties\":{\"a\":{\"type\":\"null\"},\"b\":{\"type\":\"null\"}},"
         "\"dependentRequired\":{"
         "\"a\":[\"b\"]}}",
         {"{}", "{\"b\":null}", "{\"a\":null,\"b\":null}", NULL},
         {"{\"a\":null}", NULL}},
        {"{\"properties\":{\"a\":{\"not\":{}},\"b\":{\"type\":\"null\"}}}",
         {"{}", "{\"b\":null}", NULL},
         {"{\"a\":1}", NULL}},
        {"{\"$id\":\"https://x.org/s\",\"$defs\":{\"n\":{\"$anchor\":\"nn\",\"type\":\"null\"}},"
         "\"prefixItems\":[{\"$ref\":\"#nn\"},{\"$ref\":\"https://x.org/s#/$defs/"
         "n\"}],\"items\":false,"
         "\"minItems\":2}",
         {"[null,null]", NULL},
         {"[null]", "[1,null]", NULL}},
    };
    check_schemas(cases, COUNT_OF(cases));
}

/* Exactly one branch: those that exclude each other stay, what two allow goes. */
static void test_one_of(void **state) {
    (void)state;
    static const grammar_case cases[] = {
        {"{\"oneOf\":[{\"properties\":{\"t\":{\"const\":\"a\"},\"x\":{\"type\":\"integer\"}},"
         "\"required\":[\"t\"]},{\"properties\":{\"t\":{\"const\":\"b\"}},\"required\":[\"t\"]}]}",
         {"{\"t\":\"a\",\"x\":1}", "{\"t\":\"b\"}", NULL},
         {"{\"t\":\"c\"}", "{}", "{\"t\":\"b\",\"x\":1}", NULL}},
        {"{\"oneOf\":[{\"type\":\"integer\",\"minimum\":0},{\"type\":\"integer\",\"maximum\":9}]}",
         {"-1", "10", NULL},
         {"0", "9", "5", NULL}},
        {"{\"oneOf\":[{\"type\":\"integer\"},{\"type\":\"number\"}]}",
         {"1.5", "-0.25", NULL},
         {"1", "1.0", "0", "15e1", NULL}},
        {"{\"oneOf\":[{\"enum\":[1,2,3]},{\"enum\":[3,4]},{\"const\":\"x\"}]}",
         {"1", "2", "4", "\"x\"", NULL},
         {"3", NULL}},
        {"{\"oneOf\":[{\"required\":[\"a\"]},{\"required\":[\"b\",\"c\"]}],\"properties\":{\"a\":{"
         "\"type\":\"null\"},\"b\":{\"type\":\"null\"},\"c\":{\"type\":\"null\"}}}",
         {"{\"a\":null}", "{\"a\":null,\"b\":null}", "{\"b\":null,\"c\":null}", NULL},
         {"{}", "{\"b\":null}", "{\"a\":null,\"b\":null,\"c\":null}", NULL}},
        {"{\"oneOf\":[{\"type\":\"string\",\"pattern\":\"^a\"},{\"type\":\"string\",\"pattern\":"
         "\"b$\"}]}",
         {"\"a\"", "\"b\"", "\"acc\"", NULL},
         {"\"ab\"", "\"c\"", NULL}},
        {"{\"oneOf\":[{\"type\":\"array\",\"items\":{\"type\":\"null\"}},{\"type\":\"array\","
         "\"items\":{\"type\":\"boolean\"}}]}",
         {"[null]", "[true,false]", NULL},
         {"[]", "[null,true]", NULL}},
        {"{\"oneOf\":[{\"properties\":{\"a\":{\"type\":\"null\"}},\"required\":[\"a\"]},{"
         "\"properties\":{\"a\":{\"type\":\"null\"},\"b\":{\"type\":\"null\"}},\"required\":[\"a\","
         "\"b\"]}]}",
         {"{\"a\":null}", NULL},
         {"{\"a\":null,\"b\":null}", NULL}},
        {"{\"$ref\":\"#/$defs/t\",\"$defs\":{\"t\":{\"oneOf\":[{\"type\":\"null\"},{\"type\":"
         "\"array\",\"items\":{\"$ref\":\"#/$defs/t\"}}]}}}",
         {"null", "[[],[null]]", NULL},
         {"[1]", NULL}},
    };
    check_schemas(cases, COUNT_OF(cases));
}

static void test_what_must_not_hold(void **state) {
    (void)state;
    static const grammar_case cases[] = {
        {"{\"anyOf\":[{\"type\":\"integer\",\"minimum\":5,\"maximum\":4},{\"enum\":[\"a\"],"
         "\"type\":"
         "\"null\"},{\"type\":[\"string\",\"integer\"],\"maxLength\":1,\"minimum\":3,\"maximum\":2}"
         "]}",
         {"\"a\"", NULL},
         {"4", "5", "null", NULL}},
        {"{\"properties\":{\"a\":{\"type\":\"boolean\",\"allOf\":[{\"not\":{\"const\":true}},{"
         "\"not\":"
         "{\"const\":false}}]},\"b\":{\"type\":\"array\",\"items\":{\"enum\":[1],\"type\":\"null\"}"
         "}}}",
         {"{}", "{\"b\":[]}", NULL},
         {"{\"a\":true}", "{\"b\":[1]}", "{\"b\":[null]}", NULL}},
        {"{\"not\":{\"type\":[\"string\",\"object\",\"array\",\"number\"]}}",
         {"null", "true", NULL},
         {"1", "\"\"", NULL}},
        {"{\"type\":\"string\",\"not\":{\"enum\":[\"a\",\"b\"]},\"maxLength\":2}",
         {"\"c\"", "\"ab\"", "\"\"", NULL},
         {"\"a\"", "\"\\u0061\"", "\"abc\"", NULL}},
        {"{\"type\":\"integer\",\"not\":{\"enum\":[0,7]}}",
         {"1", "70", "-7", NULL},
         {"0", "-0", "7", NULL}},
        {"{\"type\":\"boolean\",\"not\":{\"const\":true}}", {"false", NULL}, {"true", NULL}},
        {"{\"not\":{\"not\":{\"type\":\"null\"}}}", {"null", NULL}, {"1", NULL}},
        {"{\"type\":\"string\",\"not\":{\"pattern\":\"^a|z$\"}}",
         {"\"ba\"", "\"\"", NULL},
         {"\"ab\"", "\"bz\"", NULL}},
        {"{\"allOf\":[{\"not\":{\"const\":1}},{\"not\":{\"const\":2}},{\"enum\":[1,2,3]}]}",
         {"3", NULL},
         {"1", "2", NULL}},
        {"{\"properties\":{\"k\":{\"enum\":[\"a\",\"b\"]},\"x\":{\"type\":\"null\"},\"y\":{"
         "\"type\":\"null\"}},\"required\":[\"k\"],\"if\":{\"properties\":{\"k\":{\"const\":"
         "\"a\"}}},\"then\":{\"required\":[\"x\"]},\"else\":{\"required\":[\"y\"]}}",
         {"{\"k\":\"a\",\"x\":null}", "{\"k\":\"b\",\"y\":null}", NULL},
         {"{\"k\":\"a\",\"y\":null}", "{\"k\":\"b\"}", NULL}},
        {"{\"properties\":{\"k\":{\"enum\":[1,2,3]},\"x\":{\"type\":\"null\"}},\"required\":["
         "\"k\"],\"allOf\":[{\"if\":{\"properties\":{\"k\":{\"const\":1}}},\"then\":{\"required\":["
         "\"x\"]}},{\"if\":{\"properties\":{\"k\":{\"const\":2}}},\"then\":{\"properties\":{\"x\":"
         "false}}}]}",
         {"{\"k\":1,\"x\":null}", "{\"k\":2}", "{\"k\":3}", "{\"k\":3,\"x\":null}", NULL},
         {"{\"k\":1}", "{\"k\":2,\"x\":null}", NULL}},
    };
    check_schemas(cases, COUNT_OF(cases));
}

static void test_contains(void **state) {
    (void)state;
    static const grammar_case cases[] = {
        {"{\"items\":{\"enum\":[1,2]},\"contains\":{\"const\":2}}",
         {"[2]", "[1,1,2,1]", "[2,2]", NULL},
         {"[]", "[1]", "[1,3]", NULL}},
        {"{\"items\":{\"enum\":[1,2]},\"contains\":{\"const\":2},\"minContains\":1,"
         "\"maxContains\":2,\"minItems\":2,\"maxItems\":4}",
         {"[1,2]", "[2,2]", "[2,1,2,1]", NULL},
         {"[2]", "[1,1]", "[2,2,2]", "[1,1,1,1,2]", NULL}},
        {"{\"contains\":{\"type\":\"string\"},\"minItems\":2}",
         {"[1,\"\"]", "[\"\",null,true]", NULL},
         {"[\"\"]", "[1,2]", NULL}},
        {"{\"type\":\"array\",\"not\":{\"items\":{\"type\":\"integer\"}},\"maxItems\":2}",
         {"[1,null]", "[1.5]", NULL},
         {"[]", "[1]", NULL}},
        {"{\"items\":{\"anyOf\":[{\"const\":\"a\"},{\"enum\":[\"b\"]}]},\"uniqueItems\":true}",
         {"[]", "[\"b\",\"a\"]", NULL},
         {"[\"a\",\"a\"]", NULL}},
    };
    check_schemas(cases, COUNT_OF(cases));
}

/* General categories: exact beyond ASCII too, as text and inside JSON. */
static void test_categories(void **state) {
    (void)state;
    static const grammar_case cases[] = {
        {"{\"type\":\"string\",\"pattern\":\"^\\\\p{Lu}\\\\p{L}{0,3}$\"}",
         {"\"A\"", "\"\xC3\x89\xC3\xA9\"", "\"\xCE\xA9\xE6\x97\xA5\"", NULL},
         {"\"a\"", "\"A1\"", "\"\xC3\xA9\"", "\"\"", NULL}},
        {"{\"type\":\"string\",\"pattern\":\"^[^\\\\p{P}\\\\p{gc=Nd}]+$\"}",
         {"\"a \xE2\x82\xAC\"", NULL},
         {"\"a.\"", "\"7\"", "\"\xD9\xA3\"", NULL}},
        {"{\"type\":\"string\",\"pattern\":\"^\\\\P{Letter}$\"}",
         {"\"7\"", "\"\\n\"", NULL},
         {"\"a\"", "\"\xC3\xA9\"", NULL}},
    };
    check_schemas(cases, COUNT_OF(cases));
}

static void test_unique_items(void **state) {
    (void)state;
    static const grammar_case cases[] = {
        {"{\"items\":{\"enum\":[\"a\",\"b\",\"c\"]},\"uniqueItems\":true,\"minItems\":1}",
         {"[\"c\"]", "[\"c\",\"a\"]", "[\"b\",\"c\",\"a\"]", NULL},
         {"[]", "[\"a\",\"a\"]", "[\"a\",\"b\",\"a\"]", NULL}},
        {"{\"items\":{\"enum\":[1,2,3,4,5,6,7,8,9]},\"uniqueItems\":true,\"maxItems\":3}",
         {"[]", "[1,9]", "[2,3,4]", NULL},
         {"[1,1]", "[1,2,3,4]", NULL}},
        {"{\"items\":{\"type\":\"boolean\"},\"uniqueItems\":true}",
         {"[]", "[true,false]", "[false]", NULL},
         {"[true,true]", NULL}},
        {"{\"prefixItems\":[{\"type\":\"null\"},{\"type\":\"integer\"}],\"maxItems\":1}",
         {"[]", "[null]", NULL},
         {"[null,1]", NULL}},
    };
    check_schemas(cases, COUNT_OF(cases));
}

static void test_refused_schemas(void **state) {
    (void)state;
    static const struct {
        const char *schema;
        err_code code;
        const char *says;
    } cases[] = {
        {"{\"type\":\"object\",\"dependentSchemas\":{}}", ERR_UNSUPPORTED, "\"dependentSchemas\""},
        {"{\"properties\":{\"x\":{\"not\":{\"format\":\"date\"}}}}", ERR_UNSUPPORTED,
         "#/properties/x"},
        {"{\"type\":\"number\",\"not\":{\"const\":0.5}}", ERR_UNSUPPORTED, "number"},
        {"{\"type\":\"integer\",\"not\":{\"type\":\"integer\"}}", ERR_INVALID, "nothing"},
        {"{\"if\":{\"multipleOf\":2},\"then\":{\"type\":\"null\"}}", ERR_UNSUPPORTED, "multipleOf"},
        {"{\"oneOf\":[{\"multipleOf\":3},{\"multipleOf\":5}],\"type\":\"integer\"}",
         ERR_UNSUPPORTED, "anyOf"},
        {"{\"oneOf\":[{\"type\":\"null\"},{\"const\":null}]}", ERR_INVALID, "no branch of oneOf"},
        {"{\"type\":\"array\",\"items\":{\"type\":\"null\"},\"contains\":{\"type\":\"string\"}}",
         ERR_INVALID, "no array"},
        {"{\"type\":\"array\",\"contains\":{\"format\":\"date\"},\"maxContains\":1}",
         ERR_UNSUPPORTED, "format"},
        {"{\"type\":\"array\",\"contains\":{},\"maxItems\":9000}", ERR_LIMIT, "contains"},
        {"{\"pattern\":\"\\\\p{Script=Greek}\"}", ERR_UNSUPPORTED, "Script=Greek"},
        {"{\"type\":\"array\",\"uniqueItems\":true}", ERR_UNSUPPORTED, "uniqueItems"},
        {"{\"type\":\"number\",\"multipleOf\":0.3}", ERR_UNSUPPORTED, "multipleOf"},
        {"{\"type\":\"wat\"}", ERR_INVALID, "wat"},
        {"{\"$ref\":\"#/nowhere\"}", ERR_INVALID, "#/nowhere"},
        {"{\"$ref\":\"http://x/y\"}", ERR_UNSUPPORTED, "http://x/y"},
        {"{\"$ref\":\"#\"}", ERR_INVALID, "left recursion"},
        {"{\"type\":\"string\",\"pattern\":\"(?=a)\"}", ERR_UNSUPPORTED, "look-around"},
        {"{\"type\":\"string\",\"minLength\":-1}", ERR_INVALID, "minLength"},
        {"{\"type\":\"string\",\"maxLength\":999999999}", ERR_LIMIT, "maxLength"},
        {"{\"type\":\"integer\",\"minimum\":5,\"maximum\":4}", ERR_INVALID, "bounds"},
        {"{\"enum\":[]}", ERR_INVALID, "enum"},
        {"{\"type\":\"array\",\"items\":{\"type\":\"array\",\"items\":{\"type\":\"string\","
         "\"pattern\":\"(((a{1000}){1000}){1000})\"}}}",
         ERR_LIMIT, "too large"},
        {"3", ERR_INVALID, "object"},
        {"{\"const\":\"a\",\"type\":\"integer\"}", ERR_INVALID, "enum"},
        {"{\"required\":[\"z\"],\"additionalProperties\":false}", ERR_INVALID, "z"},
        {"{\"anyOf\":[{\"type\":\"integer\"}],\"type\":\"string\"}", ERR_INVALID, "no branch"},
        {"{\"type\":\"string\",\"format\":\"date\",\"maxLength\":3}", ERR_INVALID, "no string"},
        {"{\"allOf\":[{\"pattern\":\"^a\"},{\"pattern\":\"^b\"}],\"type\":\"string\"}", ERR_INVALID,
         "no string"},
        {"{\"enum\":[\"abc\"],\"minLength\":4}", ERR_INVALID, "enum"},
        {"{\"enum\":[{}],\"minProperties\":4}", ERR_UNSUPPORTED, "minProperties"},
        {"{\"properties\":{\"a\":{}},\"minProperties\":2}", ERR_INVALID, "no object"},
        {"{\"items\":{\"enum\":[1,2]},\"uniqueItems\":true,\"minItems\":3}", ERR_INVALID,
         "different"},
        {"{\"type\":\"integer\",\"multipleOf\":7,\"minimum\":8,\"maximum\":13}", ERR_INVALID,
         "multiple"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        grammar *g = NULL;
        err e = {0};
        assert_int_equal(from_schema_text(cases[i].schema, &g, &e), cases[i].code);
        if (!strstr(e.msg, cases[i].says)) fail_msg("%s: %s", cases[i].schema, e.msg);
        assert_null(g);
    }
}

static void test_regex(void **state) {
    (void)state;
    static const grammar_case cases[] = {
        {"a|bc*", {"a", "b", "bcc", NULL}, {"", "ab", "c", NULL}},
        {"(ab){2,3}x?", {"abab", "abababx", NULL}, {"ab", "abababab", NULL}},
        {"[^a-c\\d]+", {"xyz", "\xC3\xA4", NULL}, {"a", "x1", NULL}},
        {"\\w+@\\w+\\.(com|org)", {"me@x.org", NULL}, {"me@x.net", NULL}},
        {"[\\]\\-x]", {"]", "-", "x", NULL}, {"\\", NULL}},
        {"^x$", {"x", NULL}, {"^x$", NULL}},
        {"(?:a|(?<n>b))\\x41\\u00e4", {"aA\xC3\xA4", "bA\xC3\xA4", NULL}, {"aA", NULL}},
        {"", {"", NULL}, {"a", NULL}},
        {".", {"x", "\xF0\x9F\x98\x80", NULL}, {"\n", "xy", "\xF0\x9F", "\xC0\x80", NULL}},
    };
    static const char *const BROKEN[] = {"(",         ")",      "a)",       "[a",  "*a",
                                         "a{2",       "a{3,1}", "\\",       "\\k", "a^b",
                                         "(b(?!a))c", "[z-a]",  "a{100001}"};
    grammar *g = NULL;
    err e;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        if (grammar_from_regex(str_from(cases[i].grammar), &g, &e))
            fail_msg("%s: %s", cases[i].grammar, e.msg);
        check_case(g, &cases[i]);
        grammar_destroy(&g);
    }
    for (size_t i = 0; i < COUNT_OF(BROKEN); i++)
        if (!grammar_from_regex(str_from(BROKEN[i]), &g, &e)) fail_msg("%s", BROKEN[i]);
}

static void test_gbnf(void **state) {
    (void)state;
    static const grammar_case cases[] = {
        {"root ::= \"a\" item* # comment\nitem ::= [x-z]{2} | \"(\" root \")\"",
         {"a", "axy", "a(axz)zz", NULL},
         {"", "ax", "a(a", NULL}},
        {"root ::= (yes | \"no\\n\")+\nyes ::=\n  \"yes\"", {"yesno\n", NULL}, {"yesn", NULL}},
    };
    static const char *const BROKEN[] = {"root ::= x",
                                         "root ::= (\"a\"",
                                         "root ::= \"a",
                                         "root ::= root \"a\"",
                                         "root ::= a\na ::= b root\nb ::= \"x\"?",
                                         "root = \"a\"",
                                         "root ::= \"a\"\nroot ::= \"b\"",
                                         "x ::= \"a\""};
    grammar *g = NULL;
    err e;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        if (grammar_from_gbnf(str_from(cases[i].grammar), &g, &e))
            fail_msg("%s: %s", cases[i].grammar, e.msg);
        check_case(g, &cases[i]);
        grammar_destroy(&g);
    }
    for (size_t i = 0; i < COUNT_OF(BROKEN); i++)
        if (!grammar_from_gbnf(str_from(BROKEN[i]), &g, &e)) fail_msg("%s", BROKEN[i]);
}

/* ---- masks ---- */

enum { VOCAB = 3000, WORD_MAX = 32 };

/* Tokens of JSON's bytes and some others, many with common beginnings, some twice; then words of
 * the kinds that the vocabulary keeps in groups, some long. */
static void make_pieces(str *pieces, char *text) {
    static const char ALPHABET[] = "{}[]\":,0123456789 abcdeln\\u\n\xC3\xA4\xE2\x82\xAC";
    static const char *const WORDS[] = {"a", "b", "z", "Q",        "7",
                                        " ", "-", "@", "\xC3\xA4", "\xE2\x82\xAC"};
    static const size_t n_parts[] = {3, 5, COUNT_OF(WORDS)};
    rng r;
    rng_init(&r, 7);
    size_t at = 0;
    for (int i = 0; i < VOCAB; i++) {
        bool word = i % 2;
        size_t len = rng_u64(&r) % (i % 16 == 1 ? WORD_MAX : 6), from = at, kind = rng_u64(&r) % 3;
        for (size_t k = 0; k < len && !word; k++)
            text[at++] = ALPHABET[rng_u64(&r) % (sizeof ALPHABET - 1)];
        for (size_t k = 0; k < len && word; k++)
            for (const char *c = WORDS[rng_u64(&r) % n_parts[kind]]; *c;) text[at++] = *c++;
        pieces[i] = (str){text + from, at - from};
    }
}

/* Follows random allowed tokens; at every step the mask must agree with each token's own answer. */
static void check_masks(const char *schema, uint64_t seed) {
    static str pieces[VOCAB];
    static char text[VOCAB * WORD_MAX * 3];
    make_pieces(pieces, text);
    grammar *g = NULL;
    err e = {0};
    if (from_schema_text(schema, &g, &e)) fail_msg("%s: %s", schema, e.msg);
    grammar_vocab *v = grammar_vocab_create(pieces, VOCAB);
    rng r;
    rng_init(&r, seed);
    for (int step = 0; step < 60 && !grammar_must_end(g); step++) {
        const uint64_t *mask = grammar_mask(g, v);
        int32_t allowed[VOCAB], n = 0;
        for (int32_t i = 0; i < VOCAB; i++) {
            bool bit = mask[i / 64] >> i % 64 & 1;
            assert_int_equal(bit, pieces[i].len > 0 && grammar_allows(g, pieces[i]));
            if (bit) allowed[n++] = i;
        }
        if (n == 0) break;
        assert_int_equal(grammar_accept(g, pieces[allowed[rng_u64(&r) % (uint64_t)n]], &e), ERR_OK);
    }
    grammar_vocab_destroy(&v);
    grammar_destroy(&g);
}

static void test_masks(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        check_masks("{}", seed);
        check_masks("{\"type\":\"string\"}", seed);
        check_masks("{\"type\":\"string\",\"maxLength\":300}", seed);
        check_masks("{\"type\":\"string\",\"minLength\":2,\"maxLength\":9}", seed);
        check_masks("{\"pattern\":\"^([a-z]{2,9} |[A-Z][0-9a-c]+-)+$\"}", seed);
        check_masks("{\"pattern\":\"b+z|[^@]+@[^@ ]{2}\"}", seed);
        check_masks("{\"pattern\":\"^[a-zA-Z\xC3\xA0-\xC3\xBF -]{4,20}$\"}", seed);
        check_masks("{\"pattern\":\"^([a-z ]{3}[0-9a-zA-Z]?)*\xE2\x82\xAC$\"}", seed);
        check_masks("{\"properties\":{\"a\":{\"type\":\"number\",\"minimum\":3},\"b\":{\"type\":"
                    "\"array\",\"items\":{\"enum\":[\"ab\",\"abc\",12]}}},\"required\":[\"a\"]}",
                    seed);
    }
}

/* A very deep text ends with an error, not with the memory; afterwards the grammar still works. */
static void test_depth(void **state) {
    (void)state;
    grammar *g;
    err e = {0};
    assert_int_equal(grammar_from_json(&g, &e), ERR_OK);
    err_code code = grammar_accept(g, STR("{\"a\":"), &e);
    for (uint32_t i = 0; i <= LIMIT_GRAMMAR_CELLS && code == ERR_OK; i++)
        code = grammar_accept(g, STR("["), &e);
    assert_int_equal(code, ERR_LIMIT);
    assert_true(passes(g, "{\"a\":[1]}"));
    grammar_destroy(&g);
}

/* Ambiguity of the worst kind ends in an error, not in minutes. */
static void test_hostile(void **state) {
    (void)state;
    static const char *const PATTERNS[] = {"(a{0,900}){0,900}b", "((a?){0,300}(aa?){0,300}){9,90}b",
                                           "(.{0,5000}x){0,20}", "((((a*)*)*)*)*b"};
    static str pieces[VOCAB];
    static char text[VOCAB * WORD_MAX * 3];
    make_pieces(pieces, text);
    grammar_vocab *v = grammar_vocab_create(pieces, VOCAB);
    for (size_t i = 0; i < COUNT_OF(PATTERNS); i++) {
        grammar *g = NULL;
        err e = {0};
        err_code code = grammar_from_regex(str_from(PATTERNS[i]), &g, &e);
        for (int k = 0; k < 400 && code == ERR_OK; k++) {
            grammar_mask(g, v);
            code = grammar_accept(g, STR("a"), &e);
        }
        if (code) assert_int_equal(code, ERR_LIMIT);
        grammar_destroy(&g);
    }
    grammar_vocab_destroy(&v);
}

/* Parts that share what they refer to: as trees they would have 4^60 leaves. */
static void test_shared_parts(void **state) {
    (void)state;
    static const char *const HEADS[] = {"\"not\":{\"$ref\":\"#/$defs/a0\"}",
                                        "\"enum\":[1],\"anyOf\":[{\"$ref\":\"#/$defs/a0\"}]"};
    for (size_t k = 0; k < COUNT_OF(HEADS); k++) {
        buf text = {0};
        grammar *g = NULL;
        err e = {0};
        buf_putf(&text, "{%s,\"$defs\":{\"a%d\":{\"type\":\"null\"}", HEADS[k], k ? 60 : 7);
        for (int i = 0; i < (k ? 60 : 7); i++) {
            buf_putf(&text, ",\"a%d\":{\"anyOf\":[", i);
            for (int n = 0; n < (k ? 4 : 60); n++)
                buf_putf(&text, "%s{\"$ref\":\"#/$defs/a%d\"}", n ? "," : "", i + 1);
            buf_putf(&text, "]}");
        }
        buf_putf(&text, "}}");
        assert_int_equal(from_schema_text(buf_cstr(&text), &g, &e), ERR_LIMIT);
        assert_non_null(strstr(e.msg, "steps"));
        buf_finish(&text);
    }
}

/* Two grammars with rules that call each other, side by side. */
static void test_either(void **state) {
    (void)state;
    static const grammar_case c = {"a list or digits or (())",
                                   {"[]", "[[1]]", "0", "123", "()", "(())", NULL},
                                   {"", "[)", "[1", "1]", "([])", "(", "x", NULL}};
    grammar *g = NULL, *more = NULL;
    err e = {0};
    assert_int_equal(from_schema_text("{\"$defs\":{\"l\":{\"type\":\"array\",\"items\":{\"anyOf\":"
                                      "[{\"$ref\":\"#/$defs/l\"},{\"const\":1}]}}},"
                                      "\"$ref\":\"#/$defs/l\"}",
                                      &g, &e),
                     ERR_OK);
    assert_int_equal(grammar_from_regex(STR("[0-9]+"), &more, &e), ERR_OK);
    assert_int_equal(grammar_either(&g, more, &e), ERR_OK);
    grammar_destroy(&more);
    assert_int_equal(grammar_from_gbnf(STR("root ::= x\nx ::= \"(\" x? \")\""), &more, &e), ERR_OK);
    assert_int_equal(grammar_either(&g, more, &e), ERR_OK);
    check_case(g, &c);
    while (grammar_either(&g, g, &e) == ERR_OK) {
    } /* it ends, and g stays as it is */
    assert_int_equal(e.code, ERR_LIMIT);
    assert_true(passes(g, "((()))"));
    grammar_destroy(&more);
    grammar_destroy(&g);
}

/* More states than are kept at once: the walk goes on. */
static void test_many_states(void **state) {
    (void)state;
    grammar *g = NULL;
    err e = {0};
    assert_int_equal(from_schema_text("{\"type\":\"string\",\"maxLength\":20000}", &g, &e), ERR_OK);
    assert_int_equal(grammar_accept(g, STR("\""), &e), ERR_OK);
    for (int i = 0; i < 20000; i++) assert_int_equal(grammar_accept(g, STR("x"), &e), ERR_OK);
    assert_int_equal(grammar_accept(g, STR("x"), &e), ERR_INVALID);
    assert_int_equal(grammar_accept(g, STR("\""), &e), ERR_OK);
    assert_true(grammar_must_end(g));
    grammar_destroy(&g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_objects),
        cmocka_unit_test(test_calls),
        cmocka_unit_test(test_arrays),
        cmocka_unit_test(test_unions),
        cmocka_unit_test(test_both_must_hold),
        cmocka_unit_test(test_strings),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_refused_schemas),
        cmocka_unit_test(test_regex),
        cmocka_unit_test(test_gbnf),
        cmocka_unit_test(test_masks),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_together),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_unique_items),
        cmocka_unit_test(test_many_states),
        cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_either),
        cmocka_unit_test(test_one_of),
        cmocka_unit_test(test_what_must_not_hold),
        cmocka_unit_test(test_contains),
        cmocka_unit_test(test_categories),
        cmocka_unit_test(test_shared_parts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
