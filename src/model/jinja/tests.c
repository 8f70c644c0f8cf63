/* Tests: what stands behind `is`, and what select and its relatives name. */
#include "model/jinja/jinja_impl.h"
#include <string.h>

#define TEST(name) static err_code name(jinja_run *r, jval v, const jargs *a, bool *ret)
#define TEST_KIND(name, expr)                                                                      \
    TEST(name) {                                                                                   \
        (void)r, (void)v;                                                                          \
        (void)a;                                                                                   \
        *ret = (expr);                                                                             \
        return ERR_OK;                                                                             \
    }
#define TEST_OP(name, op)                                                                          \
    TEST(name) {                                                                                   \
        return by_operator(r, op, v, a, ret);                                                      \
    }

static err_code by_operator(jinja_run *r, jinja_op op, jval v, const jargs *a, bool *ret) {
    jval other, yes;
    TRY(jargs_need(r, a, 0, "this test", &other));
    TRY(jinja_binary(r, op, v, other, &yes));
    *ret = jval_true(yes);
    return ERR_OK;
}

static err_code remainder_is(jinja_run *r, jval v, jval by, int64_t want, bool *ret) {
    jval rest;
    TRY(jinja_binary(r, JOP_MOD, v, by, &rest));
    *ret = jval_eq(r, rest, jval_int(want));
    return ERR_OK;
}

static bool same_case(jinja_run *r, jval v, jstr_case how) {
    jval text = jval_text(r, v), changed = jstr_change_case(r, text.as.text, how, false);
    jval other =
        jstr_change_case(r, text.as.text, how == JCASE_UPPER ? JCASE_LOWER : JCASE_UPPER, false);
    return jval_eq(r, text, changed) && !jval_eq(r, changed, other);
}

TEST_KIND(t_defined, v.kind != JV_UNDEF)
TEST_KIND(t_undefined, v.kind == JV_UNDEF)
TEST_KIND(t_none, v.kind == JV_NONE)
TEST_KIND(t_string, v.kind == JV_STR)
TEST_KIND(t_number, jval_is_number(v))
TEST_KIND(t_integer, v.kind == JV_INT)
TEST_KIND(t_float, v.kind == JV_FLOAT)
TEST_KIND(t_boolean, v.kind == JV_BOOL)
TEST_KIND(t_mapping, v.kind == JV_MAP)
TEST_KIND(t_iterable, v.kind == JV_STR || jval_is_list(v) || v.kind == JV_MAP ||
                          v.kind == JV_UNDEF || v.kind == JV_LOOP)
TEST_KIND(t_sequence, v.kind == JV_STR || jval_is_list(v) || v.kind == JV_MAP || v.kind == JV_UNDEF)
TEST_KIND(t_true, v.kind == JV_BOOL && v.as.boolean)
TEST_KIND(t_false, v.kind == JV_BOOL && !v.as.boolean)
TEST_KIND(t_callable, v.kind == JV_FUNC)
TEST_KIND(t_upper, same_case(r, v, JCASE_UPPER))
TEST_KIND(t_lower, same_case(r, v, JCASE_LOWER))
TEST_KIND(t_filter, v.kind == JV_STR && jinja_filter_find(v.as.text->text))
TEST_KIND(t_test, v.kind == JV_STR && jinja_test_find(v.as.text->text))
TEST_KIND(t_escaped, false)
TEST_OP(t_eq, JOP_EQ)
TEST_OP(t_ne, JOP_NE)
TEST_OP(t_lt, JOP_LT)
TEST_OP(t_le, JOP_LE)
TEST_OP(t_gt, JOP_GT)
TEST_OP(t_ge, JOP_GE)
TEST_OP(t_in, JOP_IN)

TEST(t_even) {
    (void)a;
    return remainder_is(r, v, jval_int(2), 0, ret);
}

TEST(t_odd) {
    (void)a;
    return remainder_is(r, v, jval_int(2), 1, ret);
}

TEST(t_divisible) {
    jval by;
    TRY(jargs_need(r, a, 0, "divisibleby", &by));
    return remainder_is(r, v, by, 0, ret);
}

TEST(t_sameas) {
    jval other;
    TRY(jargs_need(r, a, 0, "sameas", &other));
    *ret = v.kind == other.kind && jval_eq(r, v, other);
    return ERR_OK;
}

static const struct {
    const char *name;
    jtest_fn fn;
} tests[] = {
    {"defined", t_defined},
    {"undefined", t_undefined},
    {"none", t_none},
    {"string", t_string},
    {"number", t_number},
    {"integer", t_integer},
    {"float", t_float},
    {"boolean", t_boolean},
    {"mapping", t_mapping},
    {"iterable", t_iterable},
    {"sequence", t_sequence},
    {"true", t_true},
    {"false", t_false},
    {"callable", t_callable},
    {"upper", t_upper},
    {"lower", t_lower},
    {"even", t_even},
    {"odd", t_odd},
    {"equalto", t_eq},
    {"eq", t_eq},
    {"==", t_eq},
    {"ne", t_ne},
    {"!=", t_ne},
    {"lt", t_lt},
    {"lessthan", t_lt},
    {"<", t_lt},
    {"le", t_le},
    {"<=", t_le},
    {"gt", t_gt},
    {"greaterthan", t_gt},
    {">", t_gt},
    {"ge", t_ge},
    {">=", t_ge},
    {"in", t_in},
    {"divisibleby", t_divisible},
    {"sameas", t_sameas},
    {"filter", t_filter},
    {"test", t_test},
    {"escaped", t_escaped},
};

jtest_fn jinja_test_find(str name) {
    for (size_t i = 0; i < COUNT_OF(tests); i++)
        if (str_eq(name, str_from(tests[i].name))) return tests[i].fn;
    return NULL;
}
