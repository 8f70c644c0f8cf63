/* Two schemas that must both hold, as one; and whether a value fits a schema.
 *
 * What stands beside $ref, allOf, anyOf, oneOf, enum or const counts too. Merging takes the tighter
 * of two bounds, the types and values in both, all patterns and all properties, and of two unions
 * every pair of branches. What cannot be said in one
 * schema is UNSUPPORTED, with the keyword. A contradiction is the schema `false`. */
#include "base/limits.h"
#include "base/value_json.h"
#include "llm/grammar/schema.h"
#include <math.h>

enum { REFS_IN_A_ROW = 100, BRANCHES_MAX = 1024 };

/* Keywords that say nothing about what is valid. */
static const char *const SILENT[] = {
    "title",    "description",  "default",  "examples",         "example",
    "$comment", "deprecated",   "readOnly", "writeOnly",        "$id",
    "$schema",  "$anchor",      "$defs",    "definitions",      "discriminator",
    "xml",      "externalDocs", "nullable", "contentMediaType", "contentEncoding",
    "strict"};

bool schema_is_silent(str key) {
    for (size_t i = 0; i < COUNT_OF(SILENT); i++)
        if (str_eq(key, str_from(SILENT[i]))) return true;
    return false;
}

const value *schema_without(schema_reader *r, const value *s, const char *key) {
    value *rest = value_map(r->b.mem);
    for (size_t i = 0; i < s->as.map.len; i++) {
        str name = s->as.map.pairs[i].key;
        if (!str_eq(name, str_from(key)) && !schema_is_silent(name))
            value_add(r->b.mem, rest, name, s->as.map.pairs[i].val);
    }
    return rest->as.map.len ? rest : NULL;
}

static bool is_number(const value *v) {
    return v->kind == VALUE_INT || v->kind == VALUE_FLOAT;
}

static double number(const value *v) {
    return v->kind == VALUE_INT ? (double)v->as.integer : v->as.number;
}

double schema_number_of(const value *v, double fallback) {
    return is_number(v) ? number(v) : fallback;
}

const value *schema_hold_back(schema_reader *r, const value **rest) {
    const value *held = *rest ? value_get(*rest, STR("unevaluatedProperties")) : NULL;
    if (held) *rest = schema_without(r, *rest, "unevaluatedProperties");
    return held;
}

const value *schema_put_back(schema_reader *r, const value *s, const value *held) {
    if (!held || s->kind != VALUE_MAP || value_get(s, STR("unevaluatedProperties")) ||
        value_get(s, STR("additionalProperties")))
        return s;
    value *out = value_map(r->b.mem);
    for (size_t i = 0; i < s->as.map.len; i++)
        value_add(r->b.mem, out, s->as.map.pairs[i].key, s->as.map.pairs[i].val);
    value_add(r->b.mem, out, STR("unevaluatedProperties"), (value *)(uintptr_t)held);
    return out;
}

bool schema_same(const value *a, const value *b) {
    buf x = {0}, y = {0};
    if (is_number(a) && is_number(b) && (a->kind == VALUE_FLOAT || b->kind == VALUE_FLOAT))
        return !islessgreater(number(a), number(b));
    value_json_write(&x, a, 0);
    value_json_write(&y, b, 0);
    bool equal = str_eq(buf_str(&x), buf_str(&y));
    buf_finish(&x);
    buf_finish(&y);
    return equal;
}

static bool is_empty_map(const value *v) {
    return v->kind == VALUE_MAP && v->as.map.len == 0;
}

bool schema_is_never(const value *s) {
    if (s->kind == VALUE_BOOL) return !s->as.boolean;
    const value *not = value_get(s, STR("not"));
    return not &&(is_empty_map(not ) || (not ->kind == VALUE_BOOL && not ->as.boolean));
}

bool schema_lists(const value *list, const value *v) {
    for (size_t i = 0; i < list->as.list.len; i++)
        if (schema_same(list->as.list.items[i], v)) return true;
    return false;
}

/* ---- merging single keywords ---- */

static value *as_list(schema_reader *r, const value *v) {
    if (v->kind == VALUE_LIST) return (value *)(uintptr_t)v;
    value *list = value_list(r->b.mem);
    value_push(r->b.mem, list, (value *)(uintptr_t)v);
    return list;
}

static bool named(const value *list, const char *name) {
    for (size_t i = 0; i < list->as.list.len; i++)
        if (list->as.list.items[i]->kind == VALUE_STR &&
            str_eq(list->as.list.items[i]->as.text, str_from(name)))
            return true;
    return false;
}

/* An integer is a number too. NULL: no type is left. */
static value *merge_types(schema_reader *r, const value *a, const value *b) {
    static const char *const NAMES[] = {"object", "array",   "string", "boolean",
                                        "null",   "integer", "number"};
    value *x = as_list(r, a), *y = as_list(r, b), *out = value_list(r->b.mem);
    for (size_t i = 0; i < COUNT_OF(NAMES); i++) {
        const char *n = NAMES[i];
        bool integer = str_eq(str_from(n), STR("integer"));
        bool in_x = named(x, n) || (integer && named(x, "number"));
        bool in_y = named(y, n) || (integer && named(y, "number"));
        if (in_x && in_y && !(integer && named(x, "number") && named(y, "number")))
            value_push(r->b.mem, out, value_str(r->b.mem, str_from(n)));
    }
    return out->as.list.len ? out : NULL;
}

static value *merge_values(schema_reader *r, const value *a, const value *b) {
    value *x = as_list(r, a), *y = as_list(r, b), *out = value_list(r->b.mem);
    for (size_t i = 0; i < x->as.list.len; i++)
        for (size_t k = 0; k < y->as.list.len; k++)
            if (schema_same(x->as.list.items[i], y->as.list.items[k])) {
                value_push(r->b.mem, out, x->as.list.items[i]);
                break;
            }
    return out->as.list.len ? out : NULL;
}

static value *merge_required(schema_reader *r, const value *a, const value *b) {
    value *out = value_list(r->b.mem);
    const value *both[2] = {a, b};
    for (size_t k = 0; k < 2; k++)
        for (size_t i = 0; both[k]->kind == VALUE_LIST && i < both[k]->as.list.len; i++) {
            value *n = both[k]->as.list.items[i];
            if (n->kind == VALUE_STR && !named(out, str_cstr(r->b.mem, n->as.text)))
                value_push(r->b.mem, out, n);
        }
    return out;
}

typedef enum bound { BOUND_NONE, BOUND_LOWER, BOUND_UPPER } bound;

static bound bound_of(str key) {
    static const char *const LOWER[] = {"minimum", "exclusiveMinimum", "minLength", "minItems",
                                        "minProperties"};
    static const char *const UPPER[] = {"maximum", "exclusiveMaximum", "maxLength", "maxItems",
                                        "maxProperties"};
    for (size_t i = 0; i < COUNT_OF(LOWER); i++) {
        if (str_eq(key, str_from(LOWER[i]))) return BOUND_LOWER;
        if (str_eq(key, str_from(UPPER[i]))) return BOUND_UPPER;
    }
    return BOUND_NONE;
}

/* Every branch of a with every branch of b. */
static err_code merge_unions(schema_reader *r, const value *a, const value *b, value **ret) {
    value *out = value_list(r->b.mem);
    size_t n_a = a->kind == VALUE_LIST ? a->as.list.len : 0;
    size_t n_b = b->kind == VALUE_LIST ? b->as.list.len : 0;
    if (n_a * n_b > BRANCHES_MAX)
        SCHEMA_FAIL(r, LIMIT, "unions of %zu and %zu branches that must both hold", n_a, n_b);
    for (size_t i = 0; i < n_a; i++)
        for (size_t k = 0; k < n_b; k++) {
            const value *one;
            TRY(schema_merge(r, a->as.list.items[i], b->as.list.items[k], &one));
            if (!schema_is_never(one)) value_push(r->b.mem, out, (value *)(uintptr_t)one);
        }
    *ret = out->as.list.len ? out : NULL;
    return ERR_OK;
}

static value *merge_lists(schema_reader *r, const value *a, const value *b) {
    value *out = value_list(r->b.mem);
    const value *both[2] = {as_list(r, a), as_list(r, b)};
    for (size_t k = 0; k < 2; k++)
        for (size_t i = 0; i < both[k]->as.list.len; i++)
            value_push(r->b.mem, out, both[k]->as.list.items[i]);
    return out;
}

/* Of the keywords whose values are maps from names or patterns to schemas. */
static err_code merge_patterns(schema_reader *r, const value *a, const value *b, value **ret) {
    value *out = value_map(r->b.mem);
    const value *sides[2] = {a, b};
    for (size_t k = 0; k < 2; k++)
        for (size_t i = 0; sides[k]->kind == VALUE_MAP && i < sides[k]->as.map.len; i++) {
            str key = sides[k]->as.map.pairs[i].key;
            const value *one = sides[k]->as.map.pairs[i].val, *other = value_get(sides[1 - k], key);
            if (value_get(out, key)) continue;
            if (other) TRY(schema_merge(r, one, other, &one));
            value_add(r->b.mem, out, key, (value *)(uintptr_t)one);
        }
    *ret = out;
    return ERR_OK;
}

static value *merge_multiples(schema_reader *r, const value *a, const value *b) {
    int64_t x = a->as.integer, y = b->as.integer;
    while (y) {
        int64_t rest = x % y;
        x = y;
        y = rest;
    }
    return value_int(r->b.mem, a->as.integer / x * b->as.integer);
}

static bool are_multiples(const value *a, const value *b) {
    const int64_t most = 1 << 30;
    return a->kind == VALUE_INT && b->kind == VALUE_INT && a->as.integer > 0 && b->as.integer > 0 &&
           a->as.integer < most && b->as.integer < most;
}

/* *ret NULL: the two contradict each other. */
static err_code merge_keyword(schema_reader *r, str key, value *a, value *b, value **ret) {
    const value *merged = NULL;
    bound bd = bound_of(key);
    *ret = a;
    if (schema_same(a, b)) return ERR_OK;
    if (str_eq(key, STR("type"))) {
        *ret = merge_types(r, a, b);
    } else if (str_eq(key, STR("enum"))) {
        *ret = merge_values(r, a, b);
    } else if (str_eq(key, STR("const"))) {
        *ret = NULL;
    } else if (str_eq(key, STR("required"))) {
        *ret = merge_required(r, a, b);
    } else if (bd && is_number(a) && is_number(b)) {
        *ret = (number(a) > number(b)) == (bd == BOUND_LOWER) ? a : b;
    } else if (str_eq(key, STR("not"))) {
        value *either = value_map(r->b.mem);
        value_add(r->b.mem, either, STR("anyOf"), merge_lists(r, a, b));
        *ret = either;
    } else if (str_eq(key, STR("pattern")) || str_eq(key, STR("allOf")) ||
               str_eq(key, str_from(SCHEMA_NOT_ENUM)) ||
               str_eq(key, str_from(SCHEMA_NOT_PATTERN))) {
        *ret = merge_lists(r, a, b);
    } else if (str_eq(key, STR("anyOf")) || str_eq(key, STR("oneOf"))) {
        TRY(merge_unions(r, a, b, ret));
    } else if (str_eq(key, STR("patternProperties"))) {
        TRY(merge_patterns(r, a, b, ret));
    } else if (str_eq(key, STR("multipleOf")) && are_multiples(a, b)) {
        *ret = merge_multiples(r, a, b);
    } else if (str_eq(key, STR("uniqueItems"))) {
        *ret = value_bool(r->b.mem, true);
    } else if (str_eq(key, STR("items")) || str_eq(key, STR("additionalProperties")) ||
               str_eq(key, STR("propertyNames"))) {
        TRY(schema_merge(r, a, b, &merged));
        *ret = (value *)(uintptr_t)merged;
    } else {
        SCHEMA_FAIL(r, UNSUPPORTED,
                    "two different \"" STR_FMT "\" that must both hold are not supported",
                    STR_ARG(key));
    }
    return ERR_OK;
}

/* ---- properties ---- */

/* What a property must be in a schema that does not name it. */
static const value *unnamed(const value *s) {
    const value *more = value_get(s, STR("additionalProperties"));
    return more ? more : value_get(s, STR("unevaluatedProperties"));
}

static err_code merge_properties(schema_reader *r, const value *a, const value *b, value **ret) {
    const value *sides[2] = {a, b};
    value *out = value_map(r->b.mem);
    for (size_t k = 0; k < 2; k++) {
        const value *mine = value_get(sides[k], STR("properties"));
        const value *theirs = value_get(sides[1 - k], STR("properties"));
        for (size_t i = 0; mine && mine->kind == VALUE_MAP && i < mine->as.map.len; i++) {
            str name = mine->as.map.pairs[i].key;
            const value *one = mine->as.map.pairs[i].val, *other = value_get(theirs, name);
            if (value_get(out, name)) continue;
            if (!other) other = unnamed(sides[1 - k]);
            if (other) TRY(schema_merge(r, one, other, &one));
            value_add(r->b.mem, out, name, (value *)(uintptr_t)one);
        }
    }
    *ret = out;
    return ERR_OK;
}

static bool demands_the_impossible(const value *s) {
    const value *required = value_get(s, STR("required")), *props = value_get(s, STR("properties"));
    for (size_t i = 0; required && required->kind == VALUE_LIST && i < required->as.list.len; i++) {
        const value *name = required->as.list.items[i];
        const value *p = name->kind == VALUE_STR ? value_get(props, name->as.text) : NULL;
        if (p && schema_is_never(p)) return true;
    }
    return false;
}

/* ---- whole schemas ---- */

err_code schema_resolved(schema_reader *r, const value *s, const value **ret) {
    for (int i = 0; s->kind == VALUE_MAP && value_get(s, STR("$ref")); i++) {
        const value *target, *rest = schema_without(r, s, "$ref");
        if (i == REFS_IN_A_ROW) SCHEMA_FAIL(r, INVALID, "$ref leads to itself");
        TRY(schema_follow(r, value_get(s, STR("$ref")), &target));
        const value *held = schema_hold_back(r, &rest);
        if (rest) TRY(schema_merge(r, target, rest, &target));
        s = schema_put_back(r, target, held);
        if (rest) break;
    }
    *ret = s;
    return ERR_OK;
}

static bool has_type(const value *v, const value *type) {
    static const char *const NAMES[] = {
        [VALUE_NULL] = "null",    [VALUE_BOOL] = "boolean", [VALUE_INT] = "integer",
        [VALUE_FLOAT] = "number", [VALUE_STR] = "string",   [VALUE_LIST] = "array",
        [VALUE_MAP] = "object"};
    if (type->kind == VALUE_STR)
        return str_eq(type->as.text, str_from(NAMES[v->kind])) ||
               (v->kind == VALUE_INT && str_eq(type->as.text, STR("number"))) ||
               (v->kind == VALUE_FLOAT && !(v->as.number > floor(v->as.number)) &&
                str_eq(type->as.text, STR("integer")));
    for (size_t i = 0; type->kind == VALUE_LIST && i < type->as.list.len; i++)
        if (has_type(v, type->as.list.items[i])) return true;
    return false;
}

/* Bounds that contradict each other. */
static bool bounds_cross(const value *s) {
    static const char *const PAIRS[][2] = {{"minimum", "maximum"},
                                           {"minimum", "exclusiveMaximum"},
                                           {"minLength", "maxLength"},
                                           {"exclusiveMinimum", "maximum"},
                                           {"minItems", "maxItems"},
                                           {"exclusiveMinimum", "exclusiveMaximum"},
                                           {"minProperties", "maxProperties"}};
    for (size_t i = 0; i < COUNT_OF(PAIRS); i++) {
        const value *low = value_get(s, str_from(PAIRS[i][0]));
        const value *high = value_get(s, str_from(PAIRS[i][1]));
        if (low && high && schema_number_of(low, 0) > schema_number_of(high, HUGE_VAL)) return true;
    }
    return false;
}

/* None of the values that enum or const list is of the type, and not shut out. */
static bool values_run_out(const value *s) {
    const value *one = value_get(s, STR("const")), *list = value_get(s, STR("enum"));
    const value *type = value_get(s, STR("type")), *out = value_get(s, str_from(SCHEMA_NOT_ENUM));
    bool many = list && list->kind == VALUE_LIST;
    if (!one && !many) return false;
    size_t n = one ? 1 : list->as.list.len;
    for (size_t i = 0; i < n; i++) {
        const value *v = one ? one : list->as.list.items[i];
        bool listed = !one || !many || schema_lists(list, v);
        if (listed && (!type || has_type(v, type)) && (!out || !schema_lists(out, v))) return false;
    }
    return true;
}

/* Only null, true and false may come, and all of them are shut out. */
static bool few_run_out(const value *s) {
    const value *type = value_get(s, STR("type")), *out = value_get(s, str_from(SCHEMA_NOT_ENUM));
    const value few[] = {{.kind = VALUE_NULL},
                         {.kind = VALUE_BOOL, .as.boolean = true},
                         {.kind = VALUE_BOOL, .as.boolean = false}};
    size_t n_types = !type ? 0 : type->kind == VALUE_LIST ? type->as.list.len : 1, n_few = 0;
    for (size_t i = 0; out && n_types && i < COUNT_OF(few); i++) {
        if (!has_type(&few[i], type)) continue;
        if (!schema_lists(out, &few[i])) return false;
        n_few += i < 2;
    }
    return n_types > 0 && n_few == n_types;
}

static bool contradicts_itself(const value *s) {
    const value *type = value_get(s, STR("type")),
                number = {.kind = VALUE_STR, .as.text = STR("number")};
    bool fraction = value_get(s, str_from(SCHEMA_FRACTION)) != NULL;
    bool may = type && (type->kind == VALUE_LIST ? schema_lists(type, &number)
                                                 : schema_same(type, &number));
    if (fraction && !may) return true;
    return demands_the_impossible(s) || bounds_cross(s) || values_run_out(s) || few_run_out(s);
}

static err_code merge_maps(schema_reader *r, const value *a, const value *b, const value **ret) {
    value *out = value_map(r->b.mem);
    bool props = value_get(a, STR("properties")) || value_get(b, STR("properties"));
    const value *sides[2] = {a, b};
    for (size_t k = 0; k < 2; k++)
        for (size_t i = 0; i < sides[k]->as.map.len; i++) {
            str key = sides[k]->as.map.pairs[i].key;
            value *one = sides[k]->as.map.pairs[i].val, *other = value_get(sides[1 - k], key);
            if (schema_is_silent(key) || value_get(out, key) || str_eq(key, STR("properties")))
                continue;
            if (other) TRY(merge_keyword(r, key, one, other, &one));
            if (!one) {
                *ret = value_bool(r->b.mem, false);
                return ERR_OK;
            }
            value_add(r->b.mem, out, key, one);
        }
    value *all;
    if (props) TRY(merge_properties(r, a, b, &all));
    if (props) value_add(r->b.mem, out, STR("properties"), all);
    *ret = contradicts_itself(out) ? value_bool(r->b.mem, false) : out;
    return ERR_OK;
}

err_code schema_step(schema_reader *r) {
    if (++r->n_steps > LIMIT_GRAMMAR_MERGES)
        SCHEMA_FAIL(r, LIMIT, "parts that must hold together make more than %u steps",
                    LIMIT_GRAMMAR_MERGES);
    return ERR_OK;
}

err_code schema_merge(schema_reader *r, const value *a, const value *b, const value **ret) {
    TRY(schema_step(r));
    if (++r->merge_depth > REFS_IN_A_ROW)
        SCHEMA_FAIL(r, LIMIT, "schemas that must both hold nest too deep");
    TRY(schema_resolved(r, a, &a));
    TRY(schema_resolved(r, b, &b));
    if (value_get(a, STR("if")) && value_get(b, STR("if"))) TRY(schema_if(r, b, &b));
    if (schema_is_never(a) || schema_is_never(b))
        *ret = value_bool(r->b.mem, false);
    else if (b->kind == VALUE_BOOL)
        *ret = a;
    else if (a->kind == VALUE_BOOL)
        *ret = b;
    else if (a->kind != VALUE_MAP || b->kind != VALUE_MAP)
        SCHEMA_FAIL(r, INVALID, "a schema must be an object");
    else
        TRY(merge_maps(r, a, b, ret));
    r->merge_depth--;
    return ERR_OK;
}

/* ---- values ---- */

static bool within(const value *v, str key, const value *limit) {
    if (!is_number(v) || !is_number(limit)) return true;
    double a = number(v), b = number(limit);
    if (str_eq(key, STR("minimum"))) return a >= b;
    if (str_eq(key, STR("maximum"))) return a <= b;
    return str_eq(key, STR("exclusiveMinimum")) ? a > b : a < b;
}

static bool is_one_of(str key, const char *const *names, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (str_eq(key, str_from(names[i]))) return true;
    return false;
}

/* Whether v fits any, or all, of the schemas in a list. */
static err_code fits_list(schema_reader *r, const value *v, const value *list, bool all,
                          bool *ret) {
    *ret = all;
    for (size_t i = 0; list->kind == VALUE_LIST && i < list->as.list.len && *ret == all; i++)
        TRY(schema_fits(r, v, list->as.list.items[i], ret));
    return ERR_OK;
}

static err_code fits_one(schema_reader *r, const value *v, const value *list, bool *ret) {
    size_t n = 0;
    for (size_t i = 0; list->kind == VALUE_LIST && i < list->as.list.len; i++) {
        bool fits;
        TRY(schema_fits(r, v, list->as.list.items[i], &fits));
        n += fits;
    }
    *ret = n == 1;
    return ERR_OK;
}

static err_code fits_not(schema_reader *r, const value *v, const value *s, bool *ret) {
    TRY(schema_fits(r, v, s, ret));
    *ret = !*ret;
    return ERR_OK;
}

/* if, then and else. */
static err_code fits_if(schema_reader *r, const value *v, const value *s, bool *ret) {
    const value *condition = value_get(s, STR("if"));
    bool holds;
    if (!condition) return ERR_OK;
    TRY(schema_fits(r, v, condition, &holds));
    return schema_fits(r, v, value_get(s, holds ? STR("then") : STR("else")), ret);
}

/* Length, pattern and format, by the automaton of the string. */
static err_code fits_string(schema_reader *r, const value *v, const value *s, bool *ret) {
    const grammar_expr *x;
    err inside = {0};
    TRY(schema_string(r, s, &x));
    if (grammar_both(&r->b, schema_literal(r, v), x, false, &x, &inside))
        SCHEMA_FAIL(r, LIMIT, "%s", inside.msg);
    *ret = x->kind != GRAMMAR_NONE;
    return ERR_OK;
}

static bool is_multiple(const value *v, const value *of) {
    double n = is_number(v) && is_number(of) && number(of) > 0 ? number(v) / number(of) : 0;
    return fabs(n - round(n)) < 1e-9;
}

static err_code fits_keyword(schema_reader *r, const value *v, str key, const value *arg,
                             bool *ret) {
    static const char *const BOUNDS[] = {"minimum", "maximum", "exclusiveMinimum",
                                         "exclusiveMaximum"};
    if (str_eq(key, STR("type")))
        *ret = has_type(v, arg);
    else if (is_one_of(key, BOUNDS, COUNT_OF(BOUNDS)))
        *ret = within(v, key, arg);
    else if (str_eq(key, STR("multipleOf")))
        *ret = is_multiple(v, arg);
    else if (str_eq(key, STR("const")))
        *ret = schema_same(v, arg);
    else if (str_eq(key, STR("enum")) && arg->kind == VALUE_LIST)
        *ret = schema_lists(arg, v);
    else if (str_eq(key, str_from(SCHEMA_NOT_ENUM)))
        *ret = !schema_lists(arg, v);
    else if (str_eq(key, str_from(SCHEMA_FRACTION)))
        *ret = is_number(v) && number(v) > floor(number(v));
    else if (str_eq(key, STR("not")))
        TRY(fits_not(r, v, arg, ret));
    else if (str_eq(key, STR("oneOf")))
        TRY(fits_one(r, v, arg, ret));
    else if (str_eq(key, STR("anyOf")))
        TRY(fits_list(r, v, arg, false, ret));
    else if (str_eq(key, STR("allOf")))
        TRY(fits_list(r, v, arg, true, ret));
    else if (v->kind == VALUE_STR || v->kind == VALUE_MAP || v->kind == VALUE_LIST)
        SCHEMA_FAIL(r, UNSUPPORTED,
                    "\"" STR_FMT "\" beside enum or const is not supported; leave it out",
                    STR_ARG(key));
    return ERR_OK;
}

static err_code fits_all(schema_reader *r, const value *v, const value *s, bool *ret) {
    static const char *const OF_STRINGS[] = {"minLength", "maxLength", "pattern", "format",
                                             SCHEMA_NOT_PATTERN};
    static const char *const BRANCHES[] = {"if", "then", "else"};
    static const char *const OF_OTHERS[] = {
        "properties",        "required",      "additionalProperties",
        "patternProperties", "propertyNames", "minProperties",
        "maxProperties",     "items",         "prefixItems",
        "minItems",          "maxItems",      "uniqueItems",
        "contains",          "minContains",   "maxContains"};
    bool string = false;
    TRY(fits_if(r, v, s, ret));
    for (size_t i = 0; i < s->as.map.len && *ret; i++) {
        str key = s->as.map.pairs[i].key;
        bool of_strings = is_one_of(key, OF_STRINGS, COUNT_OF(OF_STRINGS));
        bool of_others = is_one_of(key, OF_OTHERS, COUNT_OF(OF_OTHERS));
        string = string || (of_strings && v->kind == VALUE_STR);
        if (of_strings || schema_is_silent(key) || is_one_of(key, BRANCHES, COUNT_OF(BRANCHES)))
            continue;
        if (of_others && v->kind != VALUE_MAP && v->kind != VALUE_LIST) continue;
        TRY(fits_keyword(r, v, key, s->as.map.pairs[i].val, ret));
    }
    return string && *ret ? fits_string(r, v, s, ret) : ERR_OK;
}

err_code schema_fits(schema_reader *r, const value *v, const value *s, bool *ret) {
    *ret = true;
    if (!s) return ERR_OK;
    TRY(schema_step(r));
    if (++r->merge_depth > REFS_IN_A_ROW)
        SCHEMA_FAIL(r, LIMIT, "schemas that must both hold nest too deep");
    TRY(schema_resolved(r, s, &s));
    if (schema_is_never(s))
        *ret = false;
    else if (s->kind == VALUE_MAP)
        TRY(fits_all(r, v, s, ret));
    r->merge_depth--;
    return ERR_OK;
}
