/* Nodes of text and small values: results are those of Python's str and re, which ComfyUI's nodes
 * call. */
#include "node_rig.h"

static err_code run_text(const char *class_name, const char *const *inputs, char *out, size_t n,
                         err *e) {
    rig_node r;
    rig_open(&r, class_name);
    for (size_t i = 0; inputs[i]; i += 2) {
        const flow_input *in = flow_def_input(r.c.def, str_from(inputs[i]));
        assert_non_null(in);
        str v = str_from(inputs[i + 1]);
        int64_t number = 0;
        if (!strcmp(in->type, "BOOLEAN"))
            rig_put(&r, inputs[i], flow_value_bool(str_eq(v, STR("true"))));
        else if (!strcmp(in->type, "INT") && str_to_i64(v, &number))
            rig_put(&r, inputs[i], flow_value_int(number));
        else
            rig_put(&r, inputs[i], flow_value_text(v));
    }
    err_code code = rig_run(&r, e);
    flow_value *got = r.out[0];
    if (code == ERR_OK && flow_value_kind(got) == FLOW_TEXT)
        snprintf(out, n, "%.*s", STR_ARG(flow_value_as_text(got)));
    else if (code == ERR_OK && flow_value_kind(got) == FLOW_BOOL)
        snprintf(out, n, "%s", flow_value_as_bool(got) ? "true" : "false");
    else if (code == ERR_OK)
        snprintf(out, n, "%lld", (long long)flow_value_as_int(got));
    rig_close(&r);
    return code;
}

typedef struct text_case {
    const char *class_name;
    const char *inputs[16];
    const char *want; /* NULL: refused */
} text_case;

#define RE "case_insensitive", "false", "multiline", "false", "dotall", "false"

static const text_case cases[] = {
    {"StringConcatenate", {"string_a", "a", "string_b", "b", "delimiter", ", "}, "a, b"},
    {"StringSubstring", {"string", "h\xc3\xa9llo", "start", "1", "end", "3"}, "\xc3\xa9l"},
    {"StringSubstring", {"string", "hello", "start", "-3", "end", "-1"}, "ll"},
    {"StringSubstring", {"string", "hello", "start", "4", "end", "2"}, ""},
    {"StringSubstring", {"string", "hello", "start", "-99", "end", "99"}, "hello"},
    {"StringLength", {"string", "h\xc3\xa9\xf0\x9f\x8d\x8e"}, "3"},
    {"CaseConverter",
     {"string",
      "stra\xc3\x9f"
      "e \xc3\xa9t\xc3\xa9",
      "mode", "UPPERCASE"},
     "STRASSE \xc3\x89T\xc3\x89"},
    {"CaseConverter", {"string", "HELLO World", "mode", "lowercase"}, "hello world"},
    {"CaseConverter", {"string", "hELLO wORLD", "mode", "Capitalize"}, "Hello world"},
    {"CaseConverter", {"string", "they're bill's", "mode", "Title Case"}, "They'Re Bill'S"},
    {"StringTrim", {"string", " \t x y \xc2\xa0\n", "mode", "Both"}, "x y"},
    {"StringTrim", {"string", "  x ", "mode", "Left"}, "x "},
    {"StringTrim", {"string", "  x ", "mode", "Right"}, "  x"},
    {"StringTrim", {"string", " \n ", "mode", "Both"}, ""},
    {"StringTrim", {"string", " \n ", "mode", "Left"}, ""},
    {"StringReplace", {"string", "aXbXc", "find", "X", "replace", "--"}, "a--b--c"},
    {"StringReplace", {"string", "ab", "find", "", "replace", "-"}, "-a-b-"},
    {"StringReplace", {"string", "aaa", "find", "aa", "replace", "b"}, "ba"},
    {"StringContains", {"string", "Hello", "substring", "ELL", "case_sensitive", "false"}, "true"},
    {"StringContains", {"string", "Hello", "substring", "ELL", "case_sensitive", "true"}, "false"},
    {"StringContains", {"string", "Hello", "substring", "", "case_sensitive", "true"}, "true"},
    {"StringCompare",
     {"string_a", "Hello", "string_b", "he", "mode", "Starts With", "case_sensitive", "false"},
     "true"},
    {"StringCompare",
     {"string_a", "Hello", "string_b", "lo", "mode", "Ends With", "case_sensitive", "true"},
     "true"},
    {"StringCompare",
     {"string_a", "Hello", "string_b", "hello", "mode", "Equal", "case_sensitive", "true"},
     "false"},
    {"RegexMatch", {"string", "abc123", "regex_pattern", "\\d+", RE}, "true"},
    {"RegexMatch", {"string", "abc", "regex_pattern", "\\d+", RE}, "false"},
    {"RegexMatch", {"string", "abc", "regex_pattern", "(", RE}, "false"},
    {"RegexMatch", {"string", "AA", "regex_pattern", "\\u0041\\U00000041$", RE}, "true"},
    {"RegexMatch", {"string", "ab", "regex_pattern", "^c{,2}ab", RE}, "true"},
    {"RegexExtract",
     {"string", "abc", "regex_pattern", "[", "mode", "All Matches", "group_index", "1", RE},
     ""},
    {"RegexMatch",
     {"string", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab", "regex_pattern", "^(a+)+$", RE},
     NULL}, /* given up */
    {"RegexExtract",
     {"string", "a1 b22", "regex_pattern", "\\w(\\d+)", "mode", "First Match", "group_index", "1",
      RE},
     "a1"},
    {"RegexExtract",
     {"string", "a1 b22", "regex_pattern", "\\w(\\d+)", "mode", "All Matches", "group_index", "1",
      RE},
     "1\n22"},
    {"RegexExtract",
     {"string", "a1 b22", "regex_pattern", "\\w\\d+", "mode", "All Matches", "group_index", "1",
      RE},
     "a1\nb22"},
    {"RegexExtract",
     {"string", "a1 b22", "regex_pattern", "\\w(\\d+)", "mode", "First Group", "group_index", "1",
      RE},
     "1"},
    {"RegexExtract",
     {"string", "a1 b22", "regex_pattern", "\\w(\\d+)", "mode", "All Groups", "group_index", "1",
      RE},
     "1\n22"},
    {"RegexExtract",
     {"string", "a1", "regex_pattern", "\\w(\\d+)", "mode", "First Group", "group_index", "5", RE},
     ""},
    {"RegexReplace",
     {"string", "a1b2", "regex_pattern", "([a-z])(\\d)", "replace", "\\2\\g<1>", RE},
     "1a2b"},
    {"RegexReplace",
     {"string", "a1", "regex_pattern", "(?P<x>[a-z])", "replace", "\\g<x>\\x2d", RE},
     NULL},
    {"RegexReplace",
     {"string", "a1", "regex_pattern", "(?P<x>[a-z])", "replace", "\\g<x>\\101\\\\\\.", RE},
     "aA\\\\.1"},
    {"RegexReplace", {"string", "a1", "regex_pattern", "([a-z])", "replace", "\\2", RE}, NULL},
    {"RegexReplace", {"string", "a1", "regex_pattern", "([a-z])", "replace", "\\g<y>", RE}, NULL},
    {"RegexReplace", {"string", "a1", "regex_pattern", "([a-z])", "replace", "\\g<1", RE}, NULL},
    {"RegexReplace", {"string", "a1", "regex_pattern", "(", "replace", "", RE}, NULL},
    {"RegexReplace", {"string", "abc", "regex_pattern", "x*", "replace", "-", RE}, "-a-b-c-"},
    {"RegexReplace",
     {"string", "aaa", "regex_pattern", "a", "replace", "b", "count", "2", RE},
     "bba"},
};

static void test_texts(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char got[256] = "";
        err e = {0};
        err_code code = run_text(cases[i].class_name, cases[i].inputs, got, sizeof got, &e);
        if (!code != (cases[i].want != NULL) || (cases[i].want && strcmp(got, cases[i].want) != 0))
            fail_msg("%s %zu: got \"%s\" (%s), want \"%s\"", cases[i].class_name, i, got,
                     code ? e.msg : "", cases[i].want ? cases[i].want : "an error");
    }
}

static void test_convert(void **state) {
    (void)state;
    const struct {
        flow_value *in;
        double want_float;
        int64_t want_int;
        bool refused;
    } numbers[] = {
        {flow_value_text(STR(" 3.7 ")), 3.7, 3, false},
        {flow_value_text(STR("many")), 0, 0, true},
        {flow_value_int(INT64_MAX), 9223372036854775807.0, INT64_MAX, false},
        {flow_value_float(-2.9), -2.9, -2, false},
        {flow_value_bool(true), 1, 1, false},
        {flow_value_float((double)INFINITY), 0, 0, true},
    };
    for (size_t i = 0; i < COUNT_OF(numbers); i++) {
        rig_node r;
        err e;
        rig_open(&r, "ComfyNumberConvert");
        rig_put(&r, "value", numbers[i].in);
        assert_int_equal(rig_run(&r, &e) != ERR_OK, numbers[i].refused);
        if (!numbers[i].refused) {
            assert_true(fabs(flow_value_as_float(r.out[0]) - numbers[i].want_float) < 1e-9);
            assert_int_equal(flow_value_as_int(r.out[1]), numbers[i].want_int);
        }
        rig_close(&r);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_texts),
                                       cmocka_unit_test(test_convert)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
