/* What must not hold, said as what must: the negation of a schema is a schema again.
 *
 * Exact for every keyword in the tables below, refused by name for the others. A keyword of
 * strings, numbers, arrays or objects says nothing of values of another type, so its negation asks
 * for the type as well. Values and patterns that are shut out stand under keywords of our own,
 * which schema.c and schema_text.c know. */
#include "llm/grammar/schema.h"

enum { NOT_DEPTH_MAX = 8, EACH_MAX = 1024 };

static value *map_of(schema_reader *r, const char *key, const value *val) {
    value *m = value_map(r->b.mem);
    value_add(r->b.mem, m, str_from(key), (value *)(uintptr_t)val);
    return m;
}

/* What one of the schemas at least allows. */
static const value *any_of(schema_reader *r, value *list) {
    if (list->as.list.len == 0) return value_bool(r->b.mem, false);
    return list->as.list.len == 1 ? list->as.list.items[0] : map_of(r, "anyOf", list);
}

static value *typed(schema_reader *r, const char *type) {
    return map_of(r, "type", value_str(r->b.mem, str_from(type)));
}

static void add(schema_reader *r, value *to, const char *key, const value *val) {
    value_add(r->b.mem, to, str_from(key), (value *)(uintptr_t)val);
}

/* ---- keyword by keyword: each adds to `any` what breaks it ---- */

static bool says_type(const value *type, const char *name) {
    value n = {.kind = VALUE_STR, .as.text = str_from(name)};
    return type->kind == VALUE_LIST ? schema_lists(type, &n) : schema_same(type, &n);
}

static void not_type(schema_reader *r, const value *type, value *any) {
    static const char *const NAMES[] = {"object", "array", "string", "boolean", "null", "number"};
    value *others = value_list(r->b.mem);
    for (size_t i = 0; i < COUNT_OF(NAMES); i++)
        if (!says_type(type, NAMES[i]) && !(i + 1 == COUNT_OF(NAMES) && says_type(type, "integer")))
            value_push(r->b.mem, others, value_str(r->b.mem, str_from(NAMES[i])));
    if (others->as.list.len) value_push(r->b.mem, any, map_of(r, "type", others));
    if (!says_type(type, "integer") || says_type(type, "number")) return;
    value *fraction = typed(r, "number");
    add(r, fraction, SCHEMA_FRACTION, value_bool(r->b.mem, true));
    value_push(r->b.mem, any, fraction);
}

static void not_required(schema_reader *r, const value *names, value *any) {
    for (size_t i = 0; names->kind == VALUE_LIST && i < names->as.list.len; i++) {
        const value *n = names->as.list.items[i];
        if (n->kind != VALUE_STR) continue;
        value *props = value_map(r->b.mem), *one = typed(r, "object");
        value_add(r->b.mem, props, n->as.text, value_bool(r->b.mem, false));
        add(r, one, "properties", props);
        value_push(r->b.mem, any, one);
    }
}

static err_code not_properties(schema_reader *r, const value *props, value *any) {
    for (size_t i = 0; props->kind == VALUE_MAP && i < props->as.map.len; i++) {
        const value_pair *p = &props->as.map.pairs[i];
        const value * not ;
        TRY(schema_negated(r, p->val, &not ));
        if (schema_is_never(not )) continue;
        value *inner = value_map(r->b.mem), *names = value_list(r->b.mem),
              *one = typed(r, "object");
        value_add(r->b.mem, inner, p->key, (value *)(uintptr_t) not );
        value_push(r->b.mem, names, value_str(r->b.mem, p->key));
        add(r, one, "properties", inner);
        add(r, one, "required", names);
        value_push(r->b.mem, any, one);
    }
    return ERR_OK;
}

/* Bounds: the keyword that holds when this one does not, with the number moved by `step`. */
static const struct {
    const char *key, *opposite, *type;
    int step;
} BOUNDS[] = {
    {"minimum", "exclusiveMaximum", "number", 0},
    {"maximum", "exclusiveMinimum", "number", 0},
    {"exclusiveMinimum", "maximum", "number", 0},
    {"exclusiveMaximum", "minimum", "number", 0},
    {"minLength", "maxLength", "string", -1},
    {"maxLength", "minLength", "string", 1},
    {"minItems", "maxItems", "array", -1},
    {"maxItems", "minItems", "array", 1},
    {"minProperties", "maxProperties", "object", -1},
    {"maxProperties", "minProperties", "object", 1},
};

static err_code not_bound(schema_reader *r, size_t i, const value *arg, value *any) {
    value *one = typed(r, BOUNDS[i].type);
    const value *limit = arg;
    if (BOUNDS[i].step) {
        int32_t n;
        TRY(schema_count(r, map_of(r, BOUNDS[i].key, arg), BOUNDS[i].key, 0, &n));
        if (n + BOUNDS[i].step < 0) return ERR_OK; /* it always holds */
        limit = value_int(r->b.mem, n + BOUNDS[i].step);
    }
    add(r, one, BOUNDS[i].opposite, limit);
    value_push(r->b.mem, any, one);
    return ERR_OK;
}

/* Each of the schemas, negated: all of them (of anyOf) or one of them (of allOf) is. */
static err_code not_list(schema_reader *r, const value *list, bool all, value *any) {
    value *negated = all ? value_list(r->b.mem) : any;
    if (list->kind != VALUE_LIST) SCHEMA_FAIL(r, INVALID, "anyOf and allOf must be lists");
    for (size_t i = 0; i < list->as.list.len; i++) {
        const value *one;
        TRY(schema_negated(r, list->as.list.items[i], &one));
        value_push(r->b.mem, negated, (value *)(uintptr_t)one);
    }
    if (all) value_push(r->b.mem, any, map_of(r, "allOf", negated));
    return ERR_OK;
}

static err_code not_items(schema_reader *r, const char *key, const char *opposite,
                          const value *schema, value *any) {
    const value * not ;
    TRY(schema_negated(r, schema, &not ));
    if (schema_is_never(not ) && str_eq(str_from(key), STR("items"))) return ERR_OK;
    value *one = typed(r, "array");
    add(r, one, opposite, not );
    value_push(r->b.mem, any, one);
    return ERR_OK;
}

static err_code not_keyword(schema_reader *r, const value *s, str key, const value *arg,
                            value *any) {
    arena *a = r->b.mem;
    for (size_t i = 0; i < COUNT_OF(BOUNDS); i++)
        if (str_eq(key, str_from(BOUNDS[i].key))) return not_bound(r, i, arg, any);
    if (str_eq(key, STR("properties"))) return not_properties(r, arg, any);
    if (str_eq(key, STR("anyOf"))) return not_list(r, arg, true, any);
    if (str_eq(key, STR("allOf"))) return not_list(r, arg, false, any);
    if (str_eq(key, STR("items")) && arg->kind != VALUE_LIST && !value_get(s, STR("prefixItems")))
        return not_items(r, "items", "contains", arg, any);
    if (str_eq(key, STR("contains")) && !value_get(s, STR("minContains")) &&
        !value_get(s, STR("maxContains")))
        return not_items(r, "contains", "items", arg, any);
    if (str_eq(key, STR("type"))) {
        not_type(r, arg, any);
    } else if (str_eq(key, STR("required"))) {
        not_required(r, arg, any);
    } else if (str_eq(key, STR("const"))) {
        value *one = value_list(a);
        value_push(a, one, (value *)(uintptr_t)arg);
        value_push(a, any, map_of(r, SCHEMA_NOT_ENUM, one));
    } else if (str_eq(key, STR("enum")) && arg->kind == VALUE_LIST) {
        value_push(a, any, map_of(r, SCHEMA_NOT_ENUM, arg));
    } else if (str_eq(key, STR("not"))) {
        value_push(a, any, (value *)(uintptr_t)arg);
    } else if (str_eq(key, STR("pattern")) && arg->kind == VALUE_STR) {
        value *one = typed(r, "string");
        add(r, one, SCHEMA_NOT_PATTERN, arg);
        value_push(a, any, one);
    } else if (!str_eq(key, STR("additionalProperties")) || schema_is_never(arg)) {
        SCHEMA_FAIL(r, UNSUPPORTED,
                    "that \"" STR_FMT "\" does not hold cannot be asked for; say what may come "
                    "instead, with enum, anyOf or a pattern such as ^(?!...)",
                    STR_ARG(key));
    }
    return ERR_OK;
}

static err_code negated_map(schema_reader *r, const value *s, const value **ret) {
    value *any = value_list(r->b.mem);
    for (size_t i = 0; i < s->as.map.len; i++)
        if (!schema_is_silent(s->as.map.pairs[i].key))
            TRY(not_keyword(r, s, s->as.map.pairs[i].key, s->as.map.pairs[i].val, any));
    *ret = any_of(r, any);
    return ERR_OK;
}

err_code schema_negated(schema_reader *r, const value *s, const value **ret) {
    if (s->kind == VALUE_BOOL) {
        *ret = value_bool(r->b.mem, !s->as.boolean);
        return ERR_OK;
    }
    TRY(schema_step(r));
    if (++r->not_depth > NOT_DEPTH_MAX)
        SCHEMA_FAIL(r, UNSUPPORTED, "what must not hold nests more than %d deep", NOT_DEPTH_MAX);
    TRY(schema_resolved(r, s, &s));
    if (s->kind == VALUE_BOOL)
        *ret = value_bool(r->b.mem, !s->as.boolean);
    else if (s->kind != VALUE_MAP)
        SCHEMA_FAIL(r, INVALID, "a schema must be an object");
    else
        TRY(negated_map(r, s, ret));
    r->not_depth--;
    return ERR_OK;
}

/* ---- keywords that need it ---- */

/* The branches that a schema is a union of, or itself. */
static const value *alternatives(schema_reader *r, const value *s) {
    const value *list = value_get(s, STR("anyOf"));
    if (list && list->kind == VALUE_LIST && s->as.map.len == 1) return list;
    value *one = value_list(r->b.mem);
    value_push(r->b.mem, one, (value *)(uintptr_t)s);
    return one;
}

/* Without `not`, if, then and else, as a union where that takes one. */
static err_code said_otherwise(schema_reader *r, const value **s) {
    if (value_get(*s, STR("not"))) TRY(schema_not(r, *s, s));
    return value_get(*s, STR("if")) ? schema_if(r, *s, s) : ERR_OK;
}

err_code schema_merge_each(schema_reader *r, const value *a, const value *b, const value **ret) {
    const value *merged;
    TRY(said_otherwise(r, &a));
    TRY(said_otherwise(r, &b));
    const value *x = alternatives(r, a), *y = alternatives(r, b);
    value *any = value_list(r->b.mem);
    if (x->as.list.len * y->as.list.len > EACH_MAX)
        SCHEMA_FAIL(r, LIMIT, "%zu cases and %zu cases that must both hold", x->as.list.len,
                    y->as.list.len);
    for (size_t i = 0; i < x->as.list.len; i++)
        for (size_t k = 0; k < y->as.list.len; k++) {
            TRY(schema_merge(r, x->as.list.items[i], y->as.list.items[k], &merged));
            if (!schema_is_never(merged)) value_push(r->b.mem, any, (value *)(uintptr_t)merged);
        }
    *ret = any_of(r, any);
    return ERR_OK;
}

/* s without the keys, and `more` too. */
static err_code rest_and(schema_reader *r, const value *s, const char *const *keys, size_t n,
                         const value *more, const value **ret) {
    const value *rest = s;
    for (size_t i = 0; i < n && rest; i++) rest = schema_without(r, rest, keys[i]);
    const value *held = schema_hold_back(r, &rest);
    *ret = more;
    if (rest) TRY(schema_merge_each(r, rest, more, ret));
    *ret = schema_put_back(r, *ret, held);
    return ERR_OK;
}

err_code schema_not(schema_reader *r, const value *s, const value **ret) {
    static const char *const KEYS[] = {"not"};
    const value * not ;
    TRY(schema_negated(r, value_get(s, STR("not")), &not ));
    return rest_and(r, s, KEYS, COUNT_OF(KEYS), not, ret);
}

/* One branch: `condition` and what follows from it. */
static err_code branch(schema_reader *r, const value *condition, const value *then, value *any) {
    const value *one = condition;
    if (then) TRY(schema_merge_each(r, condition, then, &one));
    const value *list = alternatives(r, one);
    for (size_t i = 0; i < list->as.list.len; i++)
        if (!schema_is_never(list->as.list.items[i]))
            value_push(r->b.mem, any, list->as.list.items[i]);
    return ERR_OK;
}

err_code schema_if(schema_reader *r, const value *s, const value **ret) {
    static const char *const KEYS[] = {"if", "then", "else"};
    const value *condition = value_get(s, STR("if")), *not ;
    value *any = value_list(r->b.mem);
    if (!condition) return rest_and(r, s, KEYS, COUNT_OF(KEYS), value_bool(r->b.mem, true), ret);
    TRY(schema_negated(r, condition, &not ));
    TRY(branch(r, condition, value_get(s, STR("then")), any));
    TRY(branch(r, not, value_get(s, STR("else")), any));
    return rest_and(r, s, KEYS, COUNT_OF(KEYS), map_of(r, "anyOf", any), ret);
}
