/* Nodes of noise schedules against numpy (tests/golden/schedule_nodes.py). */
#include "node_rig.h"

static arena *mem;

static flow_value *make(const value *v) {
    if (v->kind == VALUE_INT) return flow_value_int(v->as.integer);
    if (v->kind == VALUE_FLOAT) return flow_value_float(v->as.number);
    if (v->kind == VALUE_STR) return flow_value_text(v->as.text);
    flow_sigmas *s = NEW(flow_sigmas);
    s->n = v->as.list.len;
    s->v = NEW_ARRAY(float, s->n ? s->n : 1);
    for (size_t i = 0; i < s->n; i++) s->v[i] = (float)rig_number(v->as.list.items[i]);
    return flow_value_object(FLOW_SIGMAS, s, flow_sigmas_destroy, 0);
}

static void run_line(const value *line) {
    rig_node r;
    err e = {0};
    const value *inputs = rig_get(line, "inputs"), *outputs = rig_get(line, "outputs");
    rig_open(&r, str_cstr(mem, rig_get(line, "class")->as.text));
    for (size_t i = 0; i < inputs->as.map.len; i++)
        rig_put(&r, str_cstr(mem, inputs->as.map.pairs[i].key), make(inputs->as.map.pairs[i].val));
    if (rig_run(&r, &e) != ERR_OK) fail_msg("%s: %s", r.c.def->name, e.msg);
    assert_int_equal(outputs->as.list.len, flow_def_outputs(r.c.def));
    for (size_t k = 0; k < outputs->as.list.len; k++) {
        const value *want = outputs->as.list.items[k];
        const flow_sigmas *got = flow_value_as_object(r.out[k], FLOW_SIGMAS);
        assert_non_null(got);
        if (got->n != want->as.list.len)
            fail_msg("%s: %zu values, not %zu: %s", r.c.def->name, got->n, want->as.list.len,
                     rig_text(mem, line));
        for (size_t i = 0; i < got->n; i++) {
            double v = rig_number(want->as.list.items[i]);
            /* the tables are known to three digits only */
            double tolerance = strstr(r.c.def->name, "Align") ? 6e-4 + 1e-2 * v : 2e-5 * (1 + v);
            if (!(fabs((double)got->v[i] - v) <= tolerance))
                fail_msg("%s: value %zu is %g, not %g", r.c.def->name, i, (double)got->v[i], v);
        }
    }
    rig_close(&r);
}

static void test_golden(void **state) {
    (void)state;
    value *lines = rig_lines(mem, "tests/golden/schedule_nodes.jsonl");
    for (size_t i = 0; i < lines->as.list.len; i++) run_line(lines->as.list.items[i]);
    assert_true(lines->as.list.len >= 24);
}

static void test_refused(void **state) {
    (void)state;
    rig_node r;
    err e = {0};
    rig_open(&r, "KarrasScheduler");
    rig_put(&r, "steps", flow_value_int(5));
    rig_put(&r, "sigma_max", flow_value_float(14));
    rig_put(&r, "sigma_min", flow_value_float(0));
    rig_put(&r, "rho", flow_value_float(7));
    assert_int_equal(rig_run(&r, &e), ERR_INVALID);
    rig_close(&r);
}

int main(void) {
    mem = arena_create(0);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_refused),
    };
    int failed = cmocka_run_group_tests_name("schedule_nodes", tests, NULL, NULL);
    arena_destroy(&mem);
    return failed;
}
