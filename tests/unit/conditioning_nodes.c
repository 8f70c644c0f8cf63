/* Nodes that change conditionings: what they change, and that they leave the input alone. */
#include "node_rig.h"

#include "diffusion/cond.h"

/* One entry of n tokens with `dim` numbers: base, base + 1, ...; pooled [2] unless base is 0. */
static diff_cond *entry(int32_t n, int32_t dim, float base) {
    diff_cond *c = diff_cond_new();
    c->n_tokens = n;
    c->dim = dim;
    c->vectors = diff_floats_new((size_t)(n * dim));
    for (size_t i = 0; i < c->vectors->n; i++) c->vectors->v[i] = base + (float)i;
    if (base > 0) {
        c->pooled = diff_floats_new(2);
        c->pooled->v[0] = base;
        c->pooled->v[1] = -base;
    }
    return c;
}

static flow_value *list(diff_cond *a, diff_cond *b) {
    diff_conds *l = diff_conds_new(b ? 2 : 1);
    l->items[0] = a;
    if (b) l->items[1] = b;
    return flow_value_object(FLOW_CONDITIONING, l, diff_conds_destroy, 0);
}

static const diff_conds *run(rig_node *r) {
    err e = {0};
    if (rig_run(r, &e) != ERR_OK) fail_msg("%s: %s", r->c.def->name, e.msg);
    const diff_conds *l = flow_value_as_object(r->out[0], FLOW_CONDITIONING);
    assert_non_null(l);
    return l;
}

static void is(float got, double want) {
    if (!(fabs((double)got - want) < 1e-5)) fail_msg("%g, not %g", (double)got, want);
}

static void test_combine(void **state) {
    (void)state;
    rig_node r;
    rig_open(&r, "ConditioningCombine");
    rig_put(&r, "conditioning_1", list(entry(1, 2, 1), entry(1, 2, 2)));
    rig_put(&r, "conditioning_2", list(entry(1, 2, 3), NULL));
    const diff_conds *l = run(&r);
    assert_int_equal(l->n, 3);
    is(l->items[2]->vectors->v[0], 3);
    rig_close(&r);
}

static void test_average(void **state) {
    (void)state;
    rig_node r;
    rig_open(&r, "ConditioningAverage");
    rig_put(&r, "conditioning_to", list(entry(2, 2, 4), entry(1, 2, 0)));
    rig_put(&r, "conditioning_from", list(entry(1, 2, 10), NULL)); /* shorter: zeros behind */
    rig_put(&r, "conditioning_to_strength", flow_value_float(0.25));
    const diff_conds *l = run(&r);
    is(l->items[0]->vectors->v[1], 5 * 0.25 + 11 * 0.75);
    is(l->items[0]->vectors->v[3], 7 * 0.25);
    is(l->items[0]->pooled->v[1], -4 * 0.25 - 10 * 0.75);
    is(l->items[1]->pooled->v[0], 10); /* it had none */
    rig_close(&r);
}

static void test_concat(void **state) {
    (void)state;
    rig_node r;
    err e = {0};
    rig_open(&r, "ConditioningConcat");
    rig_put(&r, "conditioning_to", list(entry(2, 2, 4), NULL));
    rig_put(&r, "conditioning_from", list(entry(1, 2, 10), NULL));
    const diff_conds *l = run(&r);
    assert_int_equal(l->items[0]->n_tokens, 3);
    is(l->items[0]->vectors->v[4], 10);
    is(l->items[0]->pooled->v[0], 4);
    rig_close(&r);
    rig_open(&r, "ConditioningConcat");
    rig_put(&r, "conditioning_to", list(entry(2, 2, 4), NULL));
    rig_put(&r, "conditioning_from", list(entry(1, 3, 10), NULL));
    assert_int_equal(rig_run(&r, &e), ERR_INVALID);
    rig_close(&r);
}

static void put_area(rig_node *r, bool percent) {
    static const char *const names[] = {"width", "height", "x", "y"};
    for (int i = 0; i < 4; i++)
        rig_put(r, names[i],
                percent ? flow_value_float(0.1 * (i + 1)) : flow_value_int(64 * (i + 1) + 4));
    rig_put(r, "strength", flow_value_float(0.5));
}

/* Joining a list with itself again and again must end in an error, not in all the memory. */
static void test_doubling(void **state) {
    (void)state;
    static const char *const names[][3] = {
        {"ConditioningCombine", "conditioning_1", "conditioning_2"},
        {"ConditioningConcat", "conditioning_to", "conditioning_from"}};
    for (size_t k = 0; k < 2; k++) {
        flow_value *v = list(entry(77, 2, 1), NULL);
        err_code code = ERR_OK;
        err e = {0};
        for (int i = 0; i < 40 && code == ERR_OK; i++) {
            rig_node r;
            rig_open(&r, names[k][0]);
            rig_put(&r, names[k][1], flow_value_ref(v));
            rig_put(&r, names[k][2], flow_value_ref(v));
            code = rig_run(&r, &e);
            if (code == ERR_OK) {
                flow_value_unref(&v);
                v = flow_value_ref(r.out[0]);
            }
            rig_close(&r);
        }
        assert_int_equal(code, ERR_LIMIT);
        flow_value_unref(&v);
    }
}

static void test_areas(void **state) {
    (void)state;
    rig_node r;
    rig_open(&r, "ConditioningSetArea");
    diff_cond *one = entry(1, 2, 1);
    one->mask_bounds = true;
    rig_put(&r, "conditioning", list(one, NULL));
    put_area(&r, false);
    const diff_conds *l = run(&r);
    const diff_cond *c = l->items[0];
    assert_int_equal(c->area_kind, DIFF_AREA_CELLS);
    assert_true(c->area[0] == 16 && c->area[1] == 8 && c->area[2] == 32 && c->area[3] == 24);
    is((float)c->strength, 0.5);
    assert_false(c->mask_bounds);
    assert_true(one->mask_bounds && one->area_kind == DIFF_AREA_NONE); /* the input is as it was */
    rig_close(&r);
    rig_open(&r, "ConditioningSetAreaPercentage");
    rig_put(&r, "conditioning", list(entry(1, 2, 1), entry(1, 2, 2)));
    put_area(&r, true);
    l = run(&r);
    assert_int_equal(l->items[1]->area_kind, DIFF_AREA_PERCENT);
    is((float)l->items[1]->area[0], 0.2);
    rig_close(&r);
    rig_open(&r, "ConditioningSetAreaStrength");
    rig_put(&r, "conditioning", list(entry(1, 2, 1), NULL));
    rig_put(&r, "strength", flow_value_float(2.5));
    is((float)run(&r)->items[0]->strength, 2.5);
    rig_close(&r);
}

static void test_mask(void **state) {
    (void)state;
    rig_node r;
    rig_open(&r, "ConditioningSetMask");
    flow_mask *m = NEW(flow_mask);
    *m = (flow_mask){.n = 1, .y = 2, .x = 3, .px = NEW_ARRAY(float, 6)};
    m->px[5] = 0.25f;
    rig_put(&r, "conditioning", list(entry(1, 2, 1), entry(1, 2, 2)));
    rig_put(&r, "mask", flow_value_object(FLOW_MASK, m, flow_mask_destroy, 0));
    rig_put(&r, "strength", flow_value_float(0.75));
    rig_put(&r, "set_cond_area", flow_value_text(STR("mask bounds")));
    const diff_cond *c = run(&r)->items[1];
    assert_int_equal(c->mask_y, 2);
    assert_int_equal(c->mask_x, 3);
    is(c->mask->v[5], 0.25);
    is((float)c->mask_strength, 0.75);
    assert_true(c->mask_bounds);
    rig_close(&r);
}

static void test_rest(void **state) {
    (void)state;
    rig_node r;
    rig_open(&r, "ConditioningZeroOut");
    rig_put(&r, "conditioning", list(entry(2, 2, 1), NULL));
    const diff_cond *c = run(&r)->items[0];
    is(c->vectors->v[3], 0);
    is(c->pooled->v[0], 0);
    assert_int_equal(c->n_tokens, 2);
    rig_close(&r);
    rig_open(&r, "ConditioningMultiply");
    rig_put(&r, "conditioning", list(entry(2, 2, 1), NULL));
    rig_put(&r, "multiplier", flow_value_float(-2));
    is(run(&r)->items[0]->vectors->v[3], -8);
    rig_close(&r);
    rig_open(&r, "ConditioningSetTimestepRange");
    rig_put(&r, "conditioning", list(entry(2, 2, 1), NULL));
    rig_put(&r, "start", flow_value_float(0.25));
    rig_put(&r, "end", flow_value_float(0.5));
    c = run(&r)->items[0];
    assert_true(c->has_range);
    is((float)c->start, 0.25);
    is((float)c->end, 0.5);
    rig_close(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_combine),  cmocka_unit_test(test_average),
        cmocka_unit_test(test_concat),   cmocka_unit_test(test_areas),
        cmocka_unit_test(test_doubling), cmocka_unit_test(test_mask),
        cmocka_unit_test(test_rest),
    };
    return cmocka_run_group_tests_name("conditioning_nodes", tests, NULL, NULL);
}
