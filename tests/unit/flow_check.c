/* Checks of workflows: what ComfyUI itself answered to good and bad prompts (its recorded answers,
 * tests/golden/flow_prompts.jsonl), and hostile graphs.
 *
 * Intended differences: an unknown class and a cycle answer as newer versions do; tracebacks are
 * empty, ours would mean nothing. */
#include "flow_rig.h"

#include "base/limits.h"
#include "flow/graph.h"

static arena *mem;

static void check_text(const char *text, flow_verdict *v) {
    flow_check(rig_parse(mem, text), NULL, 0, &rig_host, mem, v);
}

static void drop_tracebacks(value *v) {
    if (v->kind == VALUE_LIST)
        for (size_t i = 0; i < v->as.list.len; i++) drop_tracebacks(v->as.list.items[i]);
    if (v->kind != VALUE_MAP) return;
    for (size_t i = 0; i < v->as.map.len; i++) {
        value_pair *p = &v->as.map.pairs[i];
        if (str_eq(p->key, STR("traceback")))
            p->val = value_list(mem);
        else
            drop_tracebacks(p->val);
    }
}

static void test_recorded(void **state) {
    (void)state;
    value *cases = rig_lines(mem, "tests/golden/flow_prompts.jsonl");
    size_t n_refused = 0;
    for (size_t i = 0; i < cases->as.list.len; i++) {
        value *c = cases->as.list.items[i], *answer = rig_get(c, "answer");
        str name = rig_get(c, "name")->as.text;
        flow_verdict v;
        flow_check(rig_get(c, "prompt"), NULL, 0, &rig_host, mem, &v);
        if (str_eq(name, STR("unknown class")) || str_eq(name, STR("class missing")) ||
            str_eq(name, STR("cycle"))) {
            assert_non_null(v.error);
            continue;
        }
        bool refused = rig_get(c, "status")->as.integer == 400;
        n_refused += refused;
        drop_tracebacks(answer);
        if (refused != (v.error != NULL) ||
            (refused && !rig_equal(v.error, rig_get(answer, "error"))))
            fail_msg("%.*s\n got  %s\n want %s", STR_ARG(name), rig_text(mem, v.error),
                     rig_text(mem, rig_get(answer, "error")));
        if (!rig_equal(v.node_errors, rig_get(answer, "node_errors")))
            fail_msg("%.*s\n got  %s\n want %s", STR_ARG(name), rig_text(mem, v.node_errors),
                     rig_text(mem, rig_get(answer, "node_errors")));
        for (size_t k = 0; k < v.node_errors->as.map.len; k++)
            assert_true(str_eq(v.node_errors->as.map.pairs[k].key,
                               rig_get(answer, "node_errors")->as.map.pairs[k].key));
    }
    assert_true(n_refused >= 12);
}

static const char *error_type(const flow_verdict *v) {
    return v->error ? str_cstr(mem, rig_get(v->error, "type")->as.text) : "";
}

static void test_newer(void **state) {
    (void)state;
    flow_verdict v;
    check_text("{\"3\":{\"class_type\":\"Nope\",\"inputs\":{},\"_meta\":{\"title\":\"My node\"}}}",
               &v);
    assert_string_equal(error_type(&v), "missing_node_type");
    RIG_EQUAL(
        mem, rig_get(v.error, "extra_info"),
        rig_parse(mem, "{\"node_id\":\"3\",\"class_type\":\"Nope\",\"node_title\":\"My node\"}"));
    check_text("{\"1\":{\"class_type\":\"StringConcatenate\",\"inputs\":{\"string_a\":[\"2\",0],"
               "\"string_b\":\"x\",\"delimiter\":\"\"}},"
               "\"2\":{\"class_type\":\"StringTrim\",\"inputs\":{\"string\":[\"1\",0],\"mode\":"
               "\"Both\"}},"
               "\"3\":{\"class_type\":\"PreviewAny\",\"inputs\":{\"source\":[\"1\",0]}}}",
               &v);
    assert_string_equal(error_type(&v), "prompt_outputs_failed_validation");
    value *first = rig_get(v.node_errors, "1");
    assert_non_null(first);
    assert_non_null(rig_get(v.node_errors, "2"));
    assert_null(rig_get(v.node_errors, "3"));
    value *f = rig_get(first, "errors")->as.list.items[0];
    assert_true(str_eq(rig_get(f, "type")->as.text, STR("dependency_cycle")));
    RIG_EQUAL(mem, rig_get(rig_get(f, "extra_info"), "cycle_nodes"),
              rig_parse(mem, "[\"1\",\"2\"]"));
}

/* The argument of PrimitiveInt-like literals after the check. */
static const value *literal_of(const char *class_name, const char *input, const char *json,
                               flow_verdict *v) {
    char text[1024];
    snprintf(text, sizeof text,
             "{\"1\":{\"class_type\":\"%s\",\"inputs\":{\"%s\":%s}},"
             "\"2\":{\"class_type\":\"PreviewAny\",\"inputs\":{\"source\":[\"1\",0]}}}",
             class_name, input, json);
    check_text(text, v);
    if (v->error) return NULL;
    for (size_t i = 0; v->graph.nodes[0].args[i].in; i++)
        if (!strcmp(v->graph.nodes[0].args[i].in->name, input))
            return v->graph.nodes[0].args[i].literal;
    return NULL;
}

static void test_literals(void **state) {
    (void)state;
    flow_verdict v;
    const struct {
        const char *class_name, *input, *json, *want; /* NULL: refused */
    } cases[] = {
        {"PrimitiveInt", "value", "\"20\"", "20"},
        {"PrimitiveInt", "value", "\" 1_000 \"", "1000"},
        {"PrimitiveInt", "value", "\"1__0\"", NULL},
        {"PrimitiveInt", "value", "3.7", "3"},
        {"PrimitiveInt", "value", "-3.7", "-3"},
        {"PrimitiveInt", "value", "true", "1"},
        {"PrimitiveInt", "value", "\"0x10\"", NULL},
        {"PrimitiveInt", "value", "null", NULL},
        {"PrimitiveInt", "value", "{\"a\":1}", NULL},
        {"PrimitiveInt", "value", "1e300", "9223372036854775807"},
        {"PrimitiveFloat", "value", "\"1.5\"", "1.5"},
        {"PrimitiveFloat", "value", "\"1e3\"", "1000.0"},
        {"PrimitiveFloat", "value", "\"0x10\"", NULL},
        {"PrimitiveFloat", "value", "\"\"", NULL},
        {"PrimitiveBoolean", "value", "\"false\"", "true"},
        {"PrimitiveBoolean", "value", "\"\"", "false"},
        {"PrimitiveBoolean", "value", "0", "false"},
        {"PrimitiveString", "value", "12", "\"12\""},
        {"PrimitiveString", "value", "1.0", "\"1.0\""},
        {"PrimitiveString", "value", "null", "\"None\""},
        {"PrimitiveString", "value", "{\"a\":[1,\"x\"]}", "\"{'a': [1, 'x']}\""},
        {"PrimitiveString", "value", "{\"__value__\":[1,true]}", "\"[1, True]\""},
        {"SeedNode", "seed", "\"18446744073709551615\"", "9223372036854775807"},
        {"SeedNode", "seed", "-1", NULL},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const value *got = literal_of(cases[i].class_name, cases[i].input, cases[i].json, &v);
        const value *want = cases[i].want ? rig_parse(mem, cases[i].want) : NULL;
        if ((!got != !want) || (got && !rig_equal(got, want)))
            fail_msg("%s: got %s", cases[i].json, rig_text(mem, got));
    }
    assert_null(literal_of("PrimitiveInt", "value", "\"many\"", &v));
    const value *f = rig_get(rig_get(v.node_errors, "1"), "errors")->as.list.items[0];
    RIG_EQUAL(mem, rig_get(f, "details"),
              value_str(mem, STR("value, many, invalid literal for int() with base 10: 'many'")));
}

/* Seeds use all 64 bits: the JSON reader hands larger numbers over as text. */
static void test_wide_seed(void **state) {
    (void)state;
    flow_verdict v;
    const value *got = literal_of("RandomNoise", "noise_seed", "\"18446744073709551615\"", &v);
    assert_non_null(got);
    assert_int_equal(got->as.integer, -1);
    RIG_EQUAL(mem, rig_get(v.graph.nodes[0].inputs, "noise_seed"),
              value_str(mem, STR("18446744073709551615")));
    assert_null(literal_of("RandomNoise", "noise_seed", "-1", &v));
    assert_null(literal_of("RandomNoise", "noise_seed", "\"100000000000000000000\"", &v));
    const value *f = rig_get(rig_get(v.node_errors, "1"), "errors")->as.list.items[0];
    RIG_EQUAL(mem, rig_get(f, "message"),
              value_str(mem, STR("Value 100000000000000000000 bigger than max of "
                                 "18446744073709551615")));
}

/* What is not in a menu is named between quotes, whatever it is. */
static void test_menu_message(void **state) {
    (void)state;
    flow_verdict v;
    assert_null(literal_of("CaseConverter", "mode", "5", &v));
    const value *faults = rig_get(rig_get(v.node_errors, "1"), "errors");
    const value *last = faults->as.list.items[faults->as.list.len - 1];
    assert_true(
        str_starts(rig_get(last, "details")->as.text, STR("mode: '5' not in ['UPPERCASE'")));
}

static void test_files(void **state) {
    (void)state;
    flow_verdict v;
    check_text("{\"1\":{\"class_type\":\"LoadImage\",\"inputs\":{\"image\":\"../../etc/passwd\"}},"
               "\"2\":{\"class_type\":\"PreviewImage\",\"inputs\":{\"images\":[\"1\",0]}}}",
               &v);
    assert_non_null(v.error);
    RIG_EQUAL(mem, rig_get(rig_get(v.node_errors, "1"), "errors"),
              rig_parse(mem,
                        "[{\"type\":\"custom_validation_failed\",\"message\":\"Custom "
                        "validation failed for node\",\"details\":\"image - Invalid image "
                        "file: ../../etc/passwd\",\"extra_info\":{\"input_name\":\"image\"}}]"));
    check_text("{\"1\":{\"class_type\":\"LoadImage\",\"inputs\":{\"image\":\"example.png\"}},"
               "\"2\":{\"class_type\":\"PreviewImage\",\"inputs\":{\"images\":[\"1\",0]}},"
               "\"3\":{\"class_type\":\"PreviewImage\",\"inputs\":{\"images\":[\"9\",0]}}}",
               &v);
    assert_null(v.error); /* the good output runs */
    assert_int_equal(v.n_targets, 1);
    RIG_EQUAL(mem, rig_get(v.node_errors, "3"),
              rig_parse(mem,
                        "{\"errors\":[{\"type\":\"exception_during_validation\",\"message\":"
                        "\"Exception when validating node\",\"details\":\"'9'\",\"extra_info\":"
                        "{\"exception_type\":\"KeyError\",\"traceback\":[]}}],"
                        "\"dependent_outputs\":[\"3\"],\"class_type\":\"PreviewImage\"}"));
}

static void test_targets(void **state) {
    (void)state;
    flow_verdict v;
    const value *g =
        rig_parse(mem, "{\"1\":{\"class_type\":\"PrimitiveInt\",\"inputs\":{\"value\":1}},"
                       "\"2\":{\"class_type\":\"PreviewAny\",\"inputs\":{\"source\":[\"1\",0]}},"
                       "\"3\":{\"class_type\":\"PreviewAny\",\"inputs\":{\"source\":[\"1\",0]}}}");
    str wanted = STR("3"), none = STR("1");
    flow_check(g, &wanted, 1, &rig_host, mem, &v);
    assert_int_equal(v.n_targets, 1);
    assert_true(str_eq(v.targets[0], wanted));
    flow_check(g, &none, 1, &rig_host, mem, &v);
    assert_string_equal(error_type(&v), "prompt_no_outputs");
}

/* A chain of n nodes; `close`: its first takes from its last. */
static void chain(size_t n, bool close, flow_verdict *v) {
    value *g = value_map(mem);
    for (size_t i = 0; i < n; i++) {
        value *node = value_map(mem), *in = value_map(mem), *link = value_list(mem);
        size_t from = i ? i - 1 : n - 1;
        value_push(mem, link, value_str(mem, str_fmt(mem, "%zu", from)));
        value_push(mem, link, value_int(mem, 0));
        value_set(mem, in, STR("string"), i || close ? link : value_str(mem, STR("x")));
        value_set(mem, in, STR("mode"), value_str(mem, STR("Both")));
        value_set(mem, node, STR("class_type"), value_str(mem, STR("StringTrim")));
        value_set(mem, node, STR("inputs"), in);
        value_add(mem, g, str_fmt(mem, "%zu", i), node);
    }
    value *out =
        rig_parse(mem, "{\"class_type\":\"PreviewAny\",\"inputs\":{\"source\":[\"0\",0]}}");
    value *link = rig_get(rig_get(out, "inputs"), "source");
    link->as.list.items[0] = value_str(mem, str_fmt(mem, "%zu", n - 1));
    value_add(mem, g, STR("out"), out);
    flow_check(g, NULL, 0, &rig_host, mem, v);
}

static void test_large(void **state) {
    (void)state;
    flow_verdict v;
    chain(10000, false, &v);
    assert_null(v.error);
    assert_int_equal(v.graph.n, 10001);
    chain(10000, true, &v);
    assert_string_equal(error_type(&v), "prompt_outputs_failed_validation");
    assert_true(v.node_errors->as.map.len > 0 && v.node_errors->as.map.len < 100);
    chain(LIMIT_FLOW_NODES, false, &v);
    assert_string_equal(error_type(&v), "invalid_prompt");
}

static void test_malformed(void **state) {
    (void)state;
    static const char *const texts[] = {
        "3",
        "\"x\"",
        "[1]",
        "null",
        "{\"1\":3}",
        "{\"1\":{\"class_type\":3}}",
        "{\"1\":{\"class_type\":\"PreviewAny\"}}",
        "{\"1\":{\"class_type\":\"PreviewAny\",\"inputs\":[]}}",
        "{\"1\":{\"class_type\":\"PreviewAny\",\"inputs\":{\"source\":[]}}}",
        "{\"1\":{\"class_type\":\"PreviewAny\",\"inputs\":{\"source\":[1,2]}}}",
        "{\"1\":{\"class_type\":\"PreviewAny\",\"inputs\":{\"source\":[[],{}]}}}",
        "{\"1\":{\"class_type\":\"PreviewAny\",\"inputs\":{\"source\":[\"1\",0]}}}",
        "{\"0\":{\"class_type\":\"PrimitiveInt\",\"inputs\":{\"value\":1}},"
        "\"1\":{\"class_type\":\"PreviewAny\",\"inputs\":{\"source\":[\"0\",\"0\"]}}}",
        "{\"0\":{\"class_type\":\"PrimitiveInt\",\"inputs\":{\"value\":1}},"
        "\"1\":{\"class_type\":\"PreviewAny\",\"inputs\":{\"source\":[\"0\",-2]}}}",
        "{\"0\":{\"class_type\":\"PrimitiveInt\",\"inputs\":{\"value\":1}},"
        "\"1\":{\"class_type\":\"PreviewAny\",\"inputs\":{\"source\":[\"0\",99999999999]}}}",
    };
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        flow_verdict v;
        check_text(texts[i], &v);
        if (!v.error) fail_msg("taken: %s", texts[i]);
        assert_non_null(v.node_errors);
    }
}

static int setup(void **state) {
    (void)state;
    mem = arena_create(0);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    arena_destroy(&mem);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recorded),     cmocka_unit_test(test_newer),
        cmocka_unit_test(test_literals),     cmocka_unit_test(test_wide_seed),
        cmocka_unit_test(test_menu_message), cmocka_unit_test(test_files),
        cmocka_unit_test(test_targets),      cmocka_unit_test(test_large),
        cmocka_unit_test(test_malformed),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
