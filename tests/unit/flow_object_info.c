/* The catalogue against recorded answers, field by field and in order, for every class of ours.
 *
 * Intended differences: menus of files hold what the machine has (not compared); display_name is
 * never null (the front end's schema wants text): the class name stands in; we add
 * is_input_list, description and python_module, which the recording left out; menus of the newer
 * form always say multiselect: false. */
#include "flow_rig.h"

#include "flow/object_info.h"

static value *golden;
static arena *mem;

static const value *golden_of(const char *name) {
    for (size_t i = 0; i < golden->as.list.len; i++) {
        const value *v = rig_get(golden->as.list.items[i], name);
        if (v) return v;
    }
    return NULL;
}

static void names_equal(const value *map, const value *order) {
    assert_int_equal(map->as.map.len, order->as.list.len);
    for (size_t i = 0; i < order->as.list.len; i++)
        assert_true(str_eq(map->as.map.pairs[i].key, order->as.list.items[i]->as.text));
}

/* [["file.safetensors"], {...}] and [[], {...}] are equal: only the files differ. */
static void spec_equal(const flow_def *d, str name, value *got, value *want) {
    const flow_input *in = flow_def_input(d, name);
    assert_non_null(in);
    if (in->files && got->kind == VALUE_LIST && got->as.list.items[0]->kind == VALUE_LIST) {
        assert_int_equal(want->as.list.items[0]->kind, VALUE_LIST);
        got->as.list.items[0] = want->as.list.items[0];
    }
    bool has = want->kind == VALUE_LIST && want->as.list.len > 1;
    value *options = has ? want->as.list.items[1] : value_null(mem);
    if (rig_get(options, "options") && !rig_get(options, "multiselect"))
        value_set(mem, options, STR("multiselect"), value_bool(mem, false));
    if (!rig_equal(got, want))
        fail_msg("%s.%.*s\n got  %s\n want %s", d->name, STR_ARG(name), rig_text(mem, got),
                 rig_text(mem, want));
}

static void class_equal(const flow_def *d, const value *want) {
    value *got = flow_object_info(d, &rig_host, mem);
    for (size_t g = 0; g < rig_get(want, "input")->as.map.len; g++) {
        value_pair *group = &rig_get(want, "input")->as.map.pairs[g];
        value *ours = value_get(rig_get(got, "input"), group->key);
        if (!ours) fail_msg("%s has no %.*s inputs", d->name, STR_ARG(group->key));
        for (size_t i = 0; i < group->val->as.map.len; i++) {
            str name = group->val->as.map.pairs[i].key;
            if (i >= ours->as.map.len || !str_eq(ours->as.map.pairs[i].key, name))
                fail_msg("%s: input %zu is not %.*s", d->name, i, STR_ARG(name));
            spec_equal(d, name, ours->as.map.pairs[i].val, group->val->as.map.pairs[i].val);
        }
        names_equal(ours, value_get(rig_get(got, "input_order"), group->key));
    }
    for (size_t i = 0; i < want->as.map.len; i++) {
        str key = want->as.map.pairs[i].key;
        const value *w = want->as.map.pairs[i].val;
        if (str_eq(key, STR("input"))) continue;
        if (str_eq(key, STR("display_name")) && w->kind == VALUE_NULL) w = rig_get(want, "name");
        if (!rig_equal(value_get(got, key), w))
            fail_msg("%s: %.*s\n got  %s\n want %s", d->name, STR_ARG(key),
                     rig_text(mem, value_get(got, key)), rig_text(mem, w));
    }
}

static void test_recorded(void **state) {
    (void)state;
    const flow_def *d;
    size_t compared = 0;
    for (size_t i = 0; (d = flow_def_at(i)); i++) {
        const value *want = golden_of(d->name);
        if (!want) continue;
        class_equal(d, want);
        compared++;
    }
    assert_int_equal(compared, golden->as.list.len); /* none of the recorded classes is gone */
    assert_true(compared >= 80);
}

/* Rows are well-formed: groups in order, names unique, defaults inside ranges and menus. */
static void row_check(const flow_def *d) {
    uint32_t group = 0;
    for (const flow_input *in = d->inputs; in->name; in++) {
        uint32_t g = in->flags & (FLOW_OPTIONAL | FLOW_HIDDEN);
        assert_true(g >= group);
        group = g;
        assert_ptr_equal(flow_def_input(d, str_from(in->name)), in);
        if (!strcmp(in->type, "INT") && !(in->flags & (FLOW_NO_DEFAULT | FLOW_NO_MIN)))
            assert_true(in->i.initial >= in->i.min);
        if (!strcmp(in->type, "FLOAT") && !(in->flags & (FLOW_NO_DEFAULT | FLOW_NO_MAX)))
            assert_true(in->f.initial <= in->f.max && in->f.initial >= in->f.min);
        if (!strcmp(in->type, "COMBO")) assert_true(in->choices || in->files);
    }
    assert_true(d->display && d->category && d->display[0]);
    assert_ptr_equal(flow_def_find(str_from(d->name)), d);
}

static void test_rows(void **state) {
    (void)state;
    const flow_def *d;
    size_t n = 0;
    for (; (d = flow_def_at(n)); n++) row_check(d);
    value *all = flow_object_info_all(&rig_host, mem);
    assert_int_equal(all->as.map.len, n);
}

static void test_lookup(void **state) {
    (void)state;
    assert_null(flow_def_find(STR("Nope")));
    assert_null(flow_def_find(STR("")));
    assert_null(flow_def_find(STR("ksampler")));
    assert_int_equal(flow_object_info_one(STR("Nope"), NULL, mem)->as.map.len, 0);
    value *one = flow_object_info_one(STR("CheckpointLoaderSimple"), &rig_host, mem);
    value *spec = rig_get(
        rig_get(rig_get(rig_get(one, "CheckpointLoaderSimple"), "input"), "required"), "ckpt_name");
    RIG_EQUAL(mem, spec, rig_parse(mem, "[[\"tiny-random-sd1.safetensors\"],{}]"));
}

static void test_only_runnable(void **state) {
    (void)state;
    flow_host host = {.only_runnable = true};
    value *all = flow_object_info_all(&host, mem);
    const flow_def *d;
    for (size_t i = 0; (d = flow_def_at(i)); i++)
        assert_int_equal(rig_get(all, d->name) != NULL, d->run != NULL);
}

int main(void) {
    mem = arena_create(0);
    golden = rig_lines(mem, "tests/golden/object_info.jsonl");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recorded),
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_lookup),
        cmocka_unit_test(test_only_runnable),
    };
    int failed = cmocka_run_group_tests_name("flow_object_info", tests, NULL, NULL);
    arena_destroy(&mem);
    return failed;
}
