/* Execution of workflows: order, caching from one to the next, lazy inputs, lists, failures and
 * interrupts, as the log of what clients are told. */
#include "flow_rig.h"

#include "base/buf.h"
#include "flow/exec.h"
#include <stdatomic.h>

static arena *mem;

/* What happened, as text: "cached[1,2] start 3 progress 3 1/2 out 4 {...}". */
typedef struct record {
    buf log;
    dev_cancel stop;
    const char *stop_at; /* interrupts when this node starts */
} record;

static void on_cached(void *ctx, const str *ids, size_t n) {
    record *r = ctx;
    buf_put_str(&r->log, STR("cached["));
    for (size_t i = 0; i < n; i++) buf_putf(&r->log, "%s" STR_FMT, i ? "," : "", STR_ARG(ids[i]));
    buf_put_str(&r->log, STR("]"));
}

static void on_start(void *ctx, str id) {
    record *r = ctx;
    buf_putf(&r->log, " start " STR_FMT, STR_ARG(id));
    if (r->stop_at && str_eq(id, str_from(r->stop_at))) atomic_store(&r->stop.flag, 1);
}

static void on_progress(void *ctx, str id, int64_t done, int64_t total) {
    record *r = ctx;
    buf_putf(&r->log, " progress " STR_FMT " %d/%d", STR_ARG(id), (int)done, (int)total);
}

static void on_output(void *ctx, str id, const value *ui) {
    record *r = ctx;
    buf_putf(&r->log, " out " STR_FMT " %s", STR_ARG(id), ui ? rig_text(mem, ui) : "null");
}

typedef struct rig {
    flow_cache *cache;
    flow_env env;
    record rec;
    flow_failure failure;
} rig;

static err_code run(rig *r, const char *json) {
    flow_verdict v;
    flow_check(rig_parse(mem, json), NULL, 0, &rig_host, mem, &v);
    if (v.error) fail_msg("refused: %s %s", rig_text(mem, v.error), rig_text(mem, v.node_errors));
    flow_events ev = {.ctx = &r->rec,
                      .cached = on_cached,
                      .start = on_start,
                      .progress = on_progress,
                      .output = on_output};
    flow_run fr = {.graph = &v.graph,
                   .targets = v.targets,
                   .n_targets = v.n_targets,
                   .env = &r->env,
                   .events = &ev,
                   .cache = r->cache,
                   .interrupt = &r->rec.stop};
    buf_clear(&r->rec.log);
    atomic_store(&r->rec.stop.flag, 0);
    return flow_execute(&fr, mem, &r->failure);
}

static void runs(rig *r, const char *json, const char *want) {
    if (run(r, json)) fail_msg("failed: %s", r->failure.error.msg);
    assert_string_equal(buf_cstr(&r->rec.log), want);
}

static rig rig_make(void) {
    return (rig){.cache = flow_cache_create()};
}

static void rig_finish(rig *r) {
    flow_cache_destroy(&r->cache);
    buf_finish(&r->rec.log);
}

#define TEXT_NODE(id, text)                                                                        \
    "\"" id "\":{\"class_type\":\"PrimitiveString\",\"inputs\":{\"value\":\"" text "\"}}"
#define JOIN(id, a, b)                                                                             \
    "\"" id "\":{\"class_type\":\"StringConcatenate\",\"inputs\":{\"string_a\":[\"" a              \
    "\",0],\"string_b\":[\"" b "\",0],\"delimiter\":\"\"}}"
#define SHOW(id, from)                                                                             \
    "\"" id "\":{\"class_type\":\"PreviewAny\",\"inputs\":{\"source\":[\"" from "\",0]}}"

static void test_order_and_cache(void **state) {
    (void)state;
    rig r = rig_make();
    const char *a = "{" TEXT_NODE("1", "x") "," TEXT_NODE("2", "y") "," JOIN(
        "3", "1", "2") "," SHOW("4", "3") "}";
    /* the stack takes the last input first */
    runs(&r, a, "cached[] start 2 start 1 start 3 start 4 out 4 {\"text\":[\"xy\"]}");
    runs(&r, a, "cached[1,2,3,4] out 4 {\"text\":[\"xy\"]}");
    /* other ids, same workflow */
    runs(&r,
         "{" TEXT_NODE("a", "x") "," TEXT_NODE("b", "y") "," JOIN("c", "a", "b") "," SHOW("d",
                                                                                          "c") "}",
         "cached[a,b,c,d] out d {\"text\":[\"xy\"]}");
    /* half of it changes; what the last workflow did not use is forgotten */
    const char *b = "{" TEXT_NODE("1", "x") "," TEXT_NODE("2", "z") "," JOIN(
        "3", "1", "2") "," SHOW("4", "3") "}";
    runs(&r, b, "cached[1] start 2 start 3 start 4 out 4 {\"text\":[\"xz\"]}");
    runs(&r, a, "cached[1] start 2 start 3 start 4 out 4 {\"text\":[\"xy\"]}");
    assert_true(flow_cache_bytes(r.cache) > 0);
    flow_cache_clear(r.cache);
    assert_int_equal(flow_cache_bytes(r.cache), 0);
    runs(&r, a, "cached[] start 2 start 1 start 3 start 4 out 4 {\"text\":[\"xy\"]}");
    rig_finish(&r);
}

/* Equal nodes of one workflow run once; the second is told without an output. */
static void test_equal_nodes(void **state) {
    (void)state;
    rig r = rig_make();
    runs(&r,
         "{" TEXT_NODE("1", "x") "," TEXT_NODE("2", "x") "," JOIN("3", "1", "2") "," SHOW("4",
                                                                                          "3") "}",
         "cached[] start 2 out 1 null start 3 start 4 out 4 {\"text\":[\"xx\"]}");
    rig_finish(&r);
}

static void test_outputs_first(void **state) {
    (void)state;
    rig r = rig_make();
    runs(&r,
         "{" TEXT_NODE("1", "x") "," SHOW("2", "1") "," TEXT_NODE("3", "y") "," SHOW("4", "3") "}",
         "cached[] start 1 start 2 out 2 {\"text\":[\"x\"]} start 3 start 4 out 4 "
         "{\"text\":[\"y\"]}");
    rig_finish(&r);
}

#define SWITCH(on)                                                                                 \
    "{" TEXT_NODE("1", "no") "," TEXT_NODE(                                                        \
        "2", "yes") ",\"3\":{\"class_type\":"                                                      \
                    "\"ComfySwitchNode\",\"inputs\":{\"switch\":" on ",\"on_false\":[\"1\",0],"    \
                    "\"on_true\":[\"2\",0]}}," SHOW("4", "3") "}"

static void test_lazy(void **state) {
    (void)state;
    rig r = rig_make();
    runs(&r, SWITCH("true"), "cached[] start 3 start 2 start 3 start 4 out 4 {\"text\":[\"yes\"]}");
    runs(&r, SWITCH("false"),
         "cached[2] start 3 start 1 start 3 start 4 out 4 {\"text\":[\"no\"]}");
    rig_finish(&r);
}

/* A node that rebatches hands over a list: what follows runs once for each. */
static void test_lists(void **state) {
    (void)state;
    rig r = rig_make();
    runs(&r,
         "{\"1\":{\"class_type\":\"EmptyImage\",\"inputs\":{\"width\":8,\"height\":8,"
         "\"batch_size\":5,\"color\":0}},"
         "\"2\":{\"class_type\":\"RebatchImages\",\"inputs\":{\"images\":[\"1\",0],"
         "\"batch_size\":2}}," SHOW("3", "2") "}",
         "cached[] start 1 start 2 start 3 out 3 "
         "{\"text\":[\"\\u003cIMAGE\\u003e\",\"\\u003cIMAGE\\u003e\",\"\\u003cIMAGE\\u003e\"]}");
    rig_finish(&r);
}

static void test_failure(void **state) {
    (void)state;
    rig r = rig_make();
    const char *bad =
        "{" TEXT_NODE("1", "abc") ",\"2\":{\"class_type\":\"RegexReplace\",\"inputs\":"
                                  "{\"string\":[\"1\",0],\"regex_pattern\":\"(\",\"replace\":\"\","
                                  "\"case_insensitive\":true,"
                                  "\"multiline\":false,\"dotall\":false}}," SHOW("3", "2") "}";
    assert_int_equal(run(&r, bad), ERR_INVALID);
    assert_true(str_eq(r.failure.node_id, STR("2")));
    assert_true(str_eq(r.failure.class_type, STR("RegexReplace")));
    assert_int_equal(r.failure.n_executed, 1);
    assert_true(str_eq(r.failure.executed[0], STR("1")));
    RIG_EQUAL(mem, r.failure.inputs,
              rig_parse(mem, "{\"string\":[\"abc\"],\"regex_pattern\":[\"(\"],\"replace\":[\"\"],"
                             "\"case_insensitive\":"
                             "[true],\"multiline\":[false],\"dotall\":[false]}"));
    /* what was done before stays */
    assert_int_equal(run(&r, bad), ERR_INVALID);
    assert_string_equal(buf_cstr(&r.rec.log), "cached[1] start 2");
    rig_finish(&r);
}

static void test_interrupt(void **state) {
    (void)state;
    rig r = rig_make();
    const char *a = "{" TEXT_NODE("1", "x") "," TEXT_NODE("2", "y") "," JOIN(
        "3", "1", "2") "," SHOW("4", "3") "}";
    r.rec.stop_at = "3";
    assert_int_equal(run(&r, a), ERR_CANCELLED);
    assert_true(str_eq(r.failure.node_id, STR("3")));
    r.rec.stop_at = NULL;
    runs(&r, a, "cached[1,2] start 3 start 4 out 4 {\"text\":[\"xy\"]}");
    rig_finish(&r);
}

/* NaN equals nothing: its node, and what follows, always run. */
static void test_nan(void **state) {
    (void)state;
    rig r = rig_make();
    const char *a =
        "{\"1\":{\"class_type\":\"PrimitiveFloat\",\"inputs\":{\"value\":\"nan\"}}," SHOW("2",
                                                                                          "1") "}";
    runs(&r, a, "cached[] start 1 start 2 out 2 {\"text\":[\"nan\"]}");
    runs(&r, a, "cached[] start 1 start 2 out 2 {\"text\":[\"nan\"]}");
    rig_finish(&r);
}

static void test_drop(void **state) {
    (void)state;
    rig r = rig_make();
    const char *a = "{\"1\":{\"class_type\":\"EmptyImage\",\"inputs\":{\"width\":8,\"height\":8,"
                    "\"batch_size\":1,\"color\":0}}," SHOW("2", "1") "}";
    static const char *const types[] = {"IMAGE", NULL};
    runs(&r, a, "cached[] start 1 start 2 out 2 {\"text\":[\"\\u003cIMAGE\\u003e\"]}");
    flow_cache_drop(r.cache, types);
    runs(&r, a, "cached[2] out 2 {\"text\":[\"\\u003cIMAGE\\u003e\"]}");
    rig_finish(&r);
}

/* Thousands of nodes in a chain and side by side. */
static void test_large(void **state) {
    (void)state;
    rig r = rig_make();
    buf json = {0};
    buf_put_str(&json, STR("{" TEXT_NODE("0", "x")));
    for (int i = 1; i < 5000; i++)
        buf_putf(
            &json,
            ",\"%d\":{\"class_type\":\"StringTrim\",\"inputs\":{\"string\":[\"%d\",0],\"mode\":"
            "\"%s\"}}",
            i, i % 2 ? i - 1 : 0, i % 3 ? "Both" : "Left");
    buf_put_str(&json, STR("," SHOW("out", "4999") "}"));
    assert_int_equal(run(&r, buf_cstr(&json)), ERR_OK);
    buf_finish(&json);
    rig_finish(&r);
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
        cmocka_unit_test(test_order_and_cache),
        cmocka_unit_test(test_equal_nodes),
        cmocka_unit_test(test_outputs_first),
        cmocka_unit_test(test_lazy),
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_failure),
        cmocka_unit_test(test_interrupt),
        cmocka_unit_test(test_nan),
        cmocka_unit_test(test_drop),
        cmocka_unit_test(test_large),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
