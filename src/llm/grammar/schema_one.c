/* oneOf: exactly one branch holds.
 *
 * Most branches exclude each other by what they say: another type, another value of a property
 * that must be there, bounds that do not meet. Where that is not to be seen, a branch gets the
 * negation of the other one too (schema_not.c); what cannot be negated is refused. */
#include "llm/grammar/schema.h"
#include <math.h>

enum { ONE_OF_MAX = 256, LOOK_DEPTH = 16 };

enum {
    T_NULL = 1,
    T_BOOL = 2,
    T_INTEGER = 4,
    T_FRACTION = 8,
    T_STRING = 16,
    T_ARRAY = 32,
    T_OBJECT = 64,
    T_ALL = 127
};

static unsigned type_named(str name) {
    static const struct {
        const char *name;
        unsigned types;
    } TYPES[] = {{"null", T_NULL},       {"boolean", T_BOOL},
                 {"integer", T_INTEGER}, {"number", T_INTEGER | T_FRACTION},
                 {"string", T_STRING},   {"array", T_ARRAY},
                 {"object", T_OBJECT}};
    for (size_t i = 0; i < COUNT_OF(TYPES); i++)
        if (str_eq(name, str_from(TYPES[i].name))) return TYPES[i].types;
    return T_ALL;
}

/* `made`: of what we write ourselves, where keywords imply a type. */
static unsigned types_of(const value *s, bool made) {
    const value *t = value_get(s, STR("type"));
    if (!t) return made ? type_named(schema_implied_type(s)) : T_ALL;
    if (t->kind == VALUE_STR) return type_named(t->as.text);
    unsigned all = 0;
    for (size_t i = 0; t->kind == VALUE_LIST && i < t->as.list.len; i++)
        all |= t->as.list.items[i]->kind == VALUE_STR ? type_named(t->as.list.items[i]->as.text)
                                                      : T_ALL;
    return all ? all : T_ALL;
}

static bool excludes(schema_reader *r, const value *a, const value *b, int depth);

/* ---- values ---- */

static const value *values_of(schema_reader *r, const value *s) {
    const value *list = value_get(s, STR("enum")), *one = value_get(s, STR("const"));
    if (!one) return list && list->kind == VALUE_LIST ? list : NULL;
    value *made = value_list(r->b.mem);
    value_push(r->b.mem, made, (value *)(uintptr_t)one);
    return made;
}

/* No value of the list fits s. */
static bool none_fits(schema_reader *r, const value *list, const value *s) {
    for (size_t i = 0; i < list->as.list.len; i++) {
        bool fits = true;
        err ignored = {0}, *e = r->e;
        int32_t depth = r->merge_depth;
        r->e = &ignored;
        err_code code = schema_fits(r, list->as.list.items[i], s, &fits);
        r->e = e;
        r->merge_depth = depth;
        if (code || fits) return false;
    }
    return true;
}

/* ---- numbers and counts ---- */

static double bound(const value *s, const char *key, double fallback) {
    const value *v = value_get(s, str_from(key));
    if (!v) return fallback;
    return v->kind == VALUE_INT     ? (double)v->as.integer
           : v->kind == VALUE_FLOAT ? v->as.number
                                    : fallback;
}

/* What a allows lies wholly below what b does. */
static bool below(const value *a, const value *b) {
    double high = bound(a, "maximum", HUGE_VAL), low = bound(b, "minimum", -HUGE_VAL);
    double under = bound(a, "exclusiveMaximum", HUGE_VAL);
    double over = bound(b, "exclusiveMinimum", -HUGE_VAL);
    return high < low || high <= over || under <= low || under <= over;
}

static bool counts_apart(const value *a, const value *b, const char *min, const char *max) {
    return bound(a, max, HUGE_VAL) < bound(b, min, 0) || bound(b, max, HUGE_VAL) < bound(a, min, 0);
}

/* ---- by type ---- */

static bool strings_apart(schema_reader *r, const value *a, const value *b) {
    const grammar_expr *x, *y, *both = NULL;
    const double most = 512; /* longer strings are left out of what we write (schema_text.c) */
    if (counts_apart(a, b, "minLength", "maxLength")) return true;
    if (bound(a, "maxLength", 0) > most || bound(b, "maxLength", 0) > most) return false;
    err ignored = {0}, *e = r->e;
    r->e = &ignored;
    err_code code = schema_string(r, a, &x);
    if (code == ERR_OK) code = schema_string(r, b, &y);
    if (code == ERR_OK) code = grammar_both(&r->b, x, y, false, &both, &ignored);
    r->e = e;
    return code == ERR_OK && both->kind == GRAMMAR_NONE;
}

static bool arrays_apart(schema_reader *r, const value *a, const value *b, int depth) {
    const value *x = value_get(a, STR("items")), *y = value_get(b, STR("items"));
    if (counts_apart(a, b, "minItems", "maxItems")) return true;
    bool some = bound(a, "minItems", 0) >= 1 || bound(b, "minItems", 0) >= 1;
    bool plain = !value_get(a, STR("prefixItems")) && !value_get(b, STR("prefixItems"));
    return some && plain && x && y && excludes(r, x, y, depth);
}

static bool is_required(const value *s, str name) {
    const value *list = value_get(s, STR("required"));
    for (size_t i = 0; list && list->kind == VALUE_LIST && i < list->as.list.len; i++)
        if (list->as.list.items[i]->kind == VALUE_STR &&
            str_eq(list->as.list.items[i]->as.text, name))
            return true;
    return false;
}

/* What a property must be; NULL: anything. */
static const value *property_of(const value *s, str name) {
    const value *p = value_get(value_get(s, STR("properties")), name);
    if (p || value_get(s, STR("patternProperties"))) return p;
    return value_get(s, STR("additionalProperties"));
}

/* We write no other keys than the named ones. */
static bool is_closed(const value *s) {
    static const char *const MORE[] = {"anyOf", "oneOf", "allOf", "not", "if", "dependentRequired"};
    for (size_t i = 0; i < COUNT_OF(MORE); i++)
        if (value_get(s, str_from(MORE[i]))) return false;
    return value_get(s, STR("properties")) && !value_get(s, STR("patternProperties")) &&
           !value_get(s, STR("additionalProperties")) &&
           !value_get(s, STR("unevaluatedProperties"));
}

/* A property that must be there keeps the two apart. */
static bool objects_apart(schema_reader *r, const value *a, const value *b, int depth) {
    if (counts_apart(a, b, "minProperties", "maxProperties")) return true;
    const value *sides[2] = {a, b};
    for (size_t k = 0; k < 2; k++) {
        const value *names = value_get(sides[k], STR("required"));
        for (size_t i = 0; names && names->kind == VALUE_LIST && i < names->as.list.len; i++) {
            if (names->as.list.items[i]->kind != VALUE_STR) continue;
            str name = names->as.list.items[i]->as.text;
            const value *x = property_of(a, name), *y = property_of(b, name);
            if (k == 1 && is_closed(a) && !x && !is_required(a, name)) return true;
            if ((x && schema_is_never(x)) || (y && schema_is_never(y))) return true;
            if (x && y && excludes(r, x, y, depth)) return true;
        }
    }
    return false;
}

static bool types_apart(schema_reader *r, const value *a, const value *b, int depth) {
    unsigned common = types_of(a, true) & types_of(b, false);
    if (common & (T_NULL | T_BOOL)) return false;
    if ((common & (T_INTEGER | T_FRACTION)) && !below(a, b) && !below(b, a)) return false;
    if ((common & T_STRING) && !strings_apart(r, a, b)) return false;
    if ((common & T_ARRAY) && !arrays_apart(r, a, b, depth)) return false;
    return !(common & T_OBJECT) || objects_apart(r, a, b, depth);
}

/* ---- whole schemas ---- */

/* References followed and allOf joined; false: it cannot be. */
static bool flat(schema_reader *r, const value **s) {
    err ignored = {0}, *e = r->e;
    int32_t depth = r->merge_depth;
    r->e = &ignored;
    err_code code = schema_resolved(r, *s, s);
    const value *all = value_get(*s, STR("allOf"));
    for (size_t i = 0; code == ERR_OK && all && all->kind == VALUE_LIST && i < all->as.list.len;
         i++) {
        const value *rest = i ? *s : schema_without(r, *s, "allOf");
        if (!rest) rest = value_bool(r->b.mem, true);
        code = schema_merge(r, rest, all->as.list.items[i], s);
    }
    r->e = e;
    r->merge_depth = depth;
    return code == ERR_OK;
}

static const value *union_in(const value *s) {
    const value *list = value_get(s, STR("anyOf"));
    if (!list) list = value_get(s, STR("oneOf"));
    return list && list->kind == VALUE_LIST ? list : NULL;
}

/* Nothing that we write for a is valid under b. False also means: not to be seen. */
static bool excludes(schema_reader *r, const value *a, const value *b, int depth) {
    err ignored = {0}, *e = r->e;
    r->e = &ignored;
    bool enough = schema_step(r) != ERR_OK;
    r->e = e;
    if (enough || ++depth > LOOK_DEPTH || !flat(r, &a) || !flat(r, &b)) return false;
    if (schema_is_never(a) || schema_is_never(b)) return true;
    if (a->kind != VALUE_MAP || b->kind != VALUE_MAP) return false;
    const value *x = values_of(r, a), *y = values_of(r, b);
    if (x && none_fits(r, x, b)) return true;
    if (y && none_fits(r, y, a)) return true;
    if (x || y) return false;
    for (int side = 0; side < 2; side++) {
        const value *list = union_in(side ? b : a);
        bool all = list != NULL;
        for (size_t i = 0; list && i < list->as.list.len && all; i++)
            all = excludes(r, side ? a : list->as.list.items[i], side ? list->as.list.items[i] : b,
                           depth);
        if (all) return true;
    }
    return types_apart(r, a, b, depth);
}

/* *branch becomes what only it allows, as against `other`. */
static err_code set_apart(schema_reader *r, const value *other, size_t i, size_t k,
                          const value **branch) {
    const value * not, *merged;
    err inside = {0}, *e = r->e;
    int32_t depth = r->merge_depth, not_depth = r->not_depth;
    r->e = &inside;
    err_code code = schema_negated(r, other, &not );
    if (code == ERR_OK) code = schema_merge_each(r, *branch, not, &merged);
    r->e = e;
    if (code == ERR_OK) {
        *branch = merged;
        return ERR_OK;
    }
    r->merge_depth = depth;
    r->not_depth = not_depth;
    SCHEMA_FAIL(r, UNSUPPORTED,
                "the branches %zu and %zu of oneOf may both be valid, and what only one of them "
                "allows cannot be told; use anyOf, or a property with a const of its own in each",
                i < k ? i : k, i < k ? k : i);
}

err_code schema_one_of(schema_reader *r, const value *list, const value *rest, const value **ret) {
    if (list->kind != VALUE_LIST || list->as.list.len == 0)
        SCHEMA_FAIL(r, INVALID, "oneOf must be a list of schemas");
    size_t n = list->as.list.len;
    if (n > ONE_OF_MAX)
        SCHEMA_FAIL(r, LIMIT, "oneOf with %zu branches; at most %d are possible", n, ONE_OF_MAX);
    value *out = value_list(r->b.mem);
    const value *held = schema_hold_back(r, &rest);
    for (size_t i = 0; i < n; i++) {
        const value *one = list->as.list.items[i];
        if (rest) TRY(schema_merge(r, rest, one, &one));
        for (size_t k = 0; k < n && !schema_is_never(one); k++)
            if (k != i && !excludes(r, one, list->as.list.items[k], 0))
                TRY(set_apart(r, list->as.list.items[k], i, k, &one));
        one = schema_put_back(r, one, held);
        value_push(r->b.mem, out, (value *)(uintptr_t)one);
    }
    *ret = out;
    return ERR_OK;
}
