/* cli/modelfile: every instruction, every way of quoting, and errors that name their line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/modelfile.h"
#include <string.h>

static arena *a;
static modelfile_line *lines;
static size_t n_lines;

static int setup(void **state) {
    (void)state;
    a = arena_create(0);
    return 0;
}
static int teardown(void **state) {
    (void)state;
    arena_destroy(&a);
    return 0;
}

static void check(size_t i, const char *command, const char *key, const char *text) {
    assert_true(i < n_lines);
    assert_string_equal(str_cstr(a, lines[i].command), command);
    assert_string_equal(str_cstr(a, lines[i].key), key);
    assert_string_equal(str_cstr(a, lines[i].text), text);
}

static void parse(str text) {
    err e = {0};
    if (modelfile_parse(a, text, &lines, &n_lines, &e)) fail_msg("%s", e.msg);
}

static void test_instructions(void **state) {
    (void)state;
    parse(STR("# a comment\n\nfrom  ./m.gguf  \nParameter temperature 0.5\n"
              "PARAMETER stop \"<|end|> \"\nADAPTER a.gguf\nMESSAGE user Hello there\n"
              "LICENSE MIT\r\nREQUIRES 0.5.0\nRENDERER r\nPARSER p\nSYSTEM"));
    assert_int_equal(n_lines, 10);
    check(0, "from", "", "./m.gguf");
    assert_int_equal(lines[0].line_no, 3);
    check(1, "parameter", "temperature", "0.5");
    check(2, "parameter", "stop", "<|end|> ");
    check(3, "adapter", "", "a.gguf");
    check(4, "message", "user", "Hello there");
    check(5, "license", "", "MIT");
    check(6, "requires", "", "0.5.0");
    check(9, "system", "", "");
}

static void test_blocks(void **state) {
    (void)state;
    parse(STR("FROM m\nSYSTEM \"\"\"one\n  two\n# not a comment\n\nFROM x\"\"\"\n"
              "TEMPLATE \"\"\"{{ .Prompt }}\"\"\"\nMESSAGE user \"\"\"a \"b\" c\"\"\"\n"
              "LICENSE \"\"\"\"\"\"\nLICENSE \"\"\"\ntext\n\"\"\""));
    assert_int_equal(n_lines, 6);
    check(1, "system", "", "one\n  two\n# not a comment\n\nFROM x");
    check(2, "template", "", "{{ .Prompt }}");
    assert_int_equal(lines[2].line_no, 7);
    check(3, "message", "user", "a \"b\" c");
    check(4, "license", "", "");
    check(5, "license", "", "\ntext\n");
}

/* A value in single quotes may go on over lines, and quotes end a value at the end of a line. */
static void test_quotes(void **state) {
    (void)state;
    parse(STR("FROM m\nSYSTEM \"one\n two \"\nSYSTEM \"\"\"a \"\"\" b\nc\"\"\"  \n"
              "PARAMETER stop \"\"\"x\"\"\"\nPARAMETER stop \" y\"\nSYSTEM say \"hi\"\n"
              "MESSAGE assistant \"it\n  goes on\"\n"));
    check(1, "system", "", "one\n two ");
    check(2, "system", "", "a \"\"\" b\nc");
    check(3, "parameter", "stop", "x");
    check(4, "parameter", "stop", " y");
    check(5, "system", "", "say \"hi\"");
    check(6, "message", "assistant", "it\n  goes on");
}

static void test_values(void **state) {
    (void)state;
    static const struct {
        const char *text, *want;
    } CASES[] = {
        {"FROM m\nPARAMETER temperature hot",
         "(line 2): temperature must be a number, not \"hot\""},
        {"FROM m\n\nPARAMETER num_ctx 1.5", "(line 3): num_ctx must be an integer"},
        {"FROM m\nPARAMETER use_mmap maybe", "(line 2): use_mmap must be true or false"},
        {"FROM m\nPARAMETER top_k", "(line 2): top_k must be an integer"},
        {"FROM m\nREQUIRES soon", "(line 2): REQUIRES needs a version"},
        {"FROM m\nREQUIRES 1.2", "(line 2): REQUIRES needs a version"},
        {"FROM", "(line 1): FROM needs"},
        {"FROM m\nSYSTEM \"open\nstill open", "(line 2): the block"},
    };
    for (size_t i = 0; i < COUNT_OF(CASES); i++) {
        err e = {0};
        assert_int_equal(modelfile_parse(a, str_from(CASES[i].text), &lines, &n_lines, &e),
                         ERR_FORMAT);
        if (!strstr(e.msg, CASES[i].want)) fail_msg("%s: %s", CASES[i].text, e.msg);
    }
    parse(STR("FROM m\nPARAMETER temperature 1\nPARAMETER stop 3\nREQUIRES v0.14.1-rc2\n"
              "PARAMETER use_mmap True"));
    err e = {0};
    assert_int_equal(modelfile_parse(a, (str){"FROM m\nSYSTEM a\0b", 17}, &lines, &n_lines, &e),
                     ERR_FORMAT);
}

static void test_encodings(void **state) {
    (void)state;
    parse(STR("\xEF\xBB\xBF"
              "FROM m"));
    check(0, "from", "", "m");
    parse(STR("\xFF\xFE"
              "F\0R\0O\0M\0 \0\xE4\0\x3D\xD8\x00\xDE"));
    check(0, "from", "", "\xC3\xA4\xF0\x9F\x98\x80");
    parse(STR("\xFE\xFF\0F\0R\0O\0M\0 \0m\0"));
    check(0, "from", "", "m");
}

static void test_errors(void **state) {
    (void)state;
    static const struct {
        const char *text, *want;
    } cases[] = {
        {"", "no FROM line"},
        {"# FROM m", "no FROM line"},
        {"SYSTEM x", "no FROM line"},
        {"SYSTEM \"\"\"FROM m\"\"\"", "no FROM line"},
        {"FROM m\n\nBOGUS x", "(line 3): command must be one of"},
        {"FROMM m", "(line 1): command must be one of"},
        {"FROM m\nMESSAGE robot x", "(line 2): message role must be one of"},
        {"FROM m\nMESSAGE", "(line 2): message role must be one of"},
        {"FROM m\nSYSTEM \"\"\"a\nb\n", "(line 2): the block"},
        {"FROM m\nSYSTEM \"\"\"", "(line 2): the block"},
        {"FROM m\nSYSTEM \"\"\"a\nb\"\"\"\nX", "(line 4): command"},
        {"\xFF\xFE"
         "F",
         "no FROM line"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        err e = {0};
        print_message("%s\n", cases[i].text);
        assert_int_equal(modelfile_parse(a, str_from(cases[i].text), &lines, &n_lines, &e),
                         ERR_FORMAT);
        assert_non_null(strstr(e.msg, cases[i].want));
    }
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {T(test_instructions), T(test_blocks),    T(test_quotes),
                                       T(test_values),       T(test_encodings), T(test_errors)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
