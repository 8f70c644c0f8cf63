/* Arrays: items, items by place, items that all differ, and items that must be among them.
 *
 * Different items are held to where their values are listed: up to ORDERS_MAX values come in any
 * order, more of them in the order of the list only. */
#include "base/limits.h"
#include "llm/grammar/schema.h"

/* [min, max] further items, each with its comma in front unless it is the first. */
static const grammar_expr *items_list(schema_reader *r, const grammar_expr *item, int32_t min,
                                      int32_t max, bool after_something) {
    grammar_builder *b = &r->b;
    const grammar_expr *behind = grammar_seq(b, schema_punct(r, ","), item);
    if (after_something) return grammar_repeat(b, behind, min, max);
    if (max == 0) return grammar_empty(b);
    const grammar_expr *x = grammar_seq(
        b, item, grammar_repeat(b, behind, min > 0 ? min - 1 : 0, max < 0 ? -1 : max - 1));
    return min > 0 ? x : grammar_repeat(b, x, 0, 1);
}

/* The n fixed items in front of *rest; at least `min` of all must be there. */
static err_code prefix_items(schema_reader *r, const value *list, int32_t n, int32_t min,
                             const grammar_expr **rest) {
    grammar_builder *b = &r->b;
    const grammar_expr *x = *rest, *item;
    for (size_t i = (size_t)n; i-- > 0;) {
        TRY(schema_part(r, list->as.list.items[i], STR("prefixItems"), str_fmt(b->mem, "%zu", i),
                        &item));
        if (i > 0) item = grammar_seq(b, schema_punct(r, ","), item);
        x = grammar_seq(b, item, x);
        if ((int64_t)i >= min) x = grammar_repeat(b, x, 0, 1);
    }
    *rest = x;
    return ERR_OK;
}

/* ---- items that differ ---- */

static err_code listed_values(schema_reader *r, const value *item, const value **ret);

/* Of all branches. */
static err_code listed_in(schema_reader *r, const value *any, const value **ret) {
    value *all = value_list(r->b.mem);
    for (size_t i = 0; i < any->as.list.len; i++) {
        const value *some;
        TRY(listed_values(r, any->as.list.items[i], &some));
        if (!some) return ERR_OK;
        for (size_t k = 0; k < some->as.list.len; k++)
            value_push(r->b.mem, all, some->as.list.items[k]);
    }
    *ret = all;
    return ERR_OK;
}

/* The values that an item may have, or NULL when they are not listed. */
static err_code listed_values(schema_reader *r, const value *item, const value **ret) {
    *ret = NULL;
    if (!item) return ERR_OK;
    TRY(schema_resolved(r, item, &item));
    const value *values = value_get(item, STR("enum")), *type = value_get(item, STR("type"));
    const value *one = value_get(item, STR("const")), *any = value_get(item, STR("anyOf"));
    if (values && values->kind == VALUE_LIST) *ret = values;
    if (one && !values) {
        value *list = value_list(r->b.mem);
        value_push(r->b.mem, list, (value *)(uintptr_t)one);
        *ret = list;
    }
    if (any && any->kind == VALUE_LIST && item->as.map.len == 1) return listed_in(r, any, ret);
    if (values || one || !type || type->kind != VALUE_STR || !str_eq(type->as.text, STR("boolean")))
        return ERR_OK;
    value *both = value_list(r->b.mem);
    for (int i = 0; i < 2; i++) value_push(r->b.mem, both, value_bool(r->b.mem, i == 0));
    *ret = both;
    return ERR_OK;
}

enum { ORDERS_MAX = 6 }; /* of so many values every order may come */

typedef struct unique {
    schema_reader *r;
    const value *values; /* listed once each */
    int32_t min, max;
} uniques;

/* The rest of the list when the values in `left` may still come and n have; memo [1 << values]. */
static err_code any_order(const uniques *u, uint32_t left, int32_t n, const grammar_expr **memo,
                          const grammar_expr **ret) {
    grammar_builder *b = &u->r->b;
    *ret = memo[left];
    if (*ret) return ERR_OK;
    const grammar_expr *x = n >= u->min ? grammar_empty(b) : grammar_none(b), *rest;
    for (size_t i = 0; i < u->values->as.list.len && (u->max < 0 || n < u->max); i++) {
        if (!(left >> i & 1)) continue;
        const grammar_expr *one = schema_literal(u->r, u->values->as.list.items[i]);
        if (n > 0) one = grammar_seq(b, schema_punct(u->r, ","), one);
        TRY(any_order(u, left & ~(1u << i), n + 1, memo, &rest));
        x = grammar_alt(b, x, grammar_seq(b, one, rest));
    }
    TRY(schema_rule(u->r, x, ret));
    memo[left] = *ret;
    return ERR_OK;
}

/* Backwards: row[n] is the rest behind n items. */
static err_code in_order(const uniques *u, const grammar_expr **ret) {
    schema_reader *r = u->r;
    grammar_builder *b = &r->b;
    const grammar_expr *comma = schema_punct(r, ",");
    size_t n_values = u->values->as.list.len;
    size_t most = u->max >= 0 && (size_t)u->max < n_values ? (size_t)u->max : n_values;
    if ((uint64_t)most * n_values > LIMIT_GRAMMAR_RULES / 4)
        SCHEMA_FAIL(r, LIMIT, "uniqueItems with %zu values", n_values);
    const grammar_expr **row = ARENA_ARRAY(b->mem, const grammar_expr *, most + 1);
    for (size_t n = 0; n <= most; n++)
        row[n] = (int64_t)n >= u->min ? grammar_empty(b) : grammar_none(b);
    for (size_t i = n_values; i-- > 0;) {
        const grammar_expr *one = schema_literal(r, u->values->as.list.items[i]);
        for (size_t n = 0; n < most; n++) {
            const grammar_expr *item = n > 0 ? grammar_seq(b, comma, one) : one;
            const grammar_expr *with = grammar_seq(b, item, row[n + 1]);
            TRY(schema_rule(r, grammar_alt(b, with, row[n]), &row[n]));
        }
    }
    *ret = row[0];
    return ERR_OK;
}

static err_code unique_items(schema_reader *r, const value *values, int32_t min, int32_t max,
                             const grammar_expr **ret) {
    value *once = value_list(r->b.mem);
    for (size_t i = 0; i < values->as.list.len; i++)
        if (!schema_lists(once, values->as.list.items[i]))
            value_push(r->b.mem, once, values->as.list.items[i]);
    uniques u = {r, once, min, max};
    size_t n = once->as.list.len;
    if (n > ORDERS_MAX) {
        TRY(in_order(&u, ret));
    } else {
        const grammar_expr **memo =
            ARENA_ARRAY(r->b.mem, const grammar_expr *, (size_t)1 << ORDERS_MAX);
        TRY(any_order(&u, (1u << n) - 1, 0, memo, ret));
    }
    if ((*ret)->kind == GRAMMAR_NONE)
        SCHEMA_NOTHING(r, "minItems %d, but there are only %zu different items", min, n);
    return ERR_OK;
}

/* ---- items of which some must be of one kind ---- */

/* Items that count (`in`) and others; minContains of the first at least, maxContains at most, where
 * n_most is the largest number that must be told from all above. */
typedef struct contained {
    const grammar_expr *in, *other;
    int32_t min, max, n_most;
} contained;

enum { CONTAINS_ROWS_MAX = 4096 };

static err_code read_contained(schema_reader *r, const value *s, const value *items, contained *c) {
    const value *what = value_get(s, STR("contains")), *not, *in = what, *other = items;
    TRY(schema_count(r, s, "minContains", 1, &c->min));
    TRY(schema_count(r, s, "maxContains", -1, &c->max));
    if (c->max >= 0 && c->max < c->min)
        SCHEMA_NOTHING(r, "minContains %d is more than maxContains %d", c->min, c->max);
    c->n_most = c->max >= 0 ? c->max : c->min;
    if (items) TRY(schema_merge(r, items, what, &in));
    if (c->max >= 0) {
        TRY(schema_negated(r, what, &not ));
        other = not ;
        if (items) TRY(schema_merge(r, items, not, &other));
    }
    c->in = c->other = grammar_none(&r->b);
    if (!schema_is_never(in)) TRY(schema_part_or_none(r, in, STR("contains"), (str){0}, &c->in));
    if (!other)
        c->other = r->any;
    else if (!schema_is_never(other))
        TRY(schema_part_or_none(r, other, STR("items"), (str){0}, &c->other));
    return ERR_OK;
}

/* Any number of further items when `n` that count have come, with a comma in front of each. */
static err_code contained_tail(schema_reader *r, const contained *c, const grammar_expr **row) {
    grammar_builder *b = &r->b;
    const grammar_expr *comma = schema_punct(r, ","), *next = grammar_empty(b);
    for (int32_t n = c->n_most; n >= 0; n--) {
        const grammar_expr *x = grammar_repeat(b, grammar_seq(b, comma, c->other), 0, -1);
        if (n < c->n_most) {
            next = grammar_seq(b, grammar_seq(b, comma, c->in), row[n + 1]);
            x = grammar_seq(b, x, n >= c->min ? grammar_repeat(b, next, 0, 1) : next);
        }
        TRY(schema_rule(r, x, &row[n]));
    }
    return ERR_OK;
}

/* Backwards: row[n] is the rest behind i items of which n count. */
static err_code contains_items(schema_reader *r, const value *s, const value *items, int32_t min,
                               int32_t max, const grammar_expr **ret) {
    grammar_builder *b = &r->b;
    contained c;
    TRY(read_contained(r, s, items, &c));
    int32_t most = max >= 0 ? max : min > 0 ? min : 1;
    if ((int64_t)(most + 1) * (c.n_most + 1) > CONTAINS_ROWS_MAX)
        SCHEMA_FAIL(r, LIMIT, "contains in arrays of up to %d items", most);
    const grammar_expr **row = ARENA_ARRAY(b->mem, const grammar_expr *, (size_t)c.n_most + 1);
    if (max < 0) TRY(contained_tail(r, &c, row));
    for (int32_t n = 0; max >= 0 && n <= c.n_most; n++)
        row[n] = n >= c.min ? grammar_empty(b) : grammar_none(b);
    for (int32_t i = most; i-- > 0;)
        for (int32_t n = 0; n <= c.n_most; n++) {
            const grammar_expr *comma = i > 0 ? schema_punct(r, ",") : grammar_empty(b);
            bool ends = i >= min && n >= c.min;
            const grammar_expr *x = ends ? grammar_empty(b) : grammar_none(b);
            x = grammar_alt(b, x, grammar_seq(b, grammar_seq(b, comma, c.other), row[n]));
            if (n < c.n_most)
                x = grammar_alt(b, x, grammar_seq(b, grammar_seq(b, comma, c.in), row[n + 1]));
            TRY(schema_rule(r, x, &row[n]));
        }
    *ret = row[0];
    if ((*ret)->kind == GRAMMAR_NONE)
        SCHEMA_NOTHING(r, "no array can be valid: what it must contain may not be there");
    return ERR_OK;
}

/* ---- an array ---- */

typedef struct array_parts {
    const value *items, *prefix;
    int32_t min, max, n_prefix;
} array_parts;

static err_code read_array(schema_reader *r, const value *s, array_parts *a) {
    *a = (array_parts){.items = value_get(s, STR("items")),
                       .prefix = value_get(s, STR("prefixItems"))};
    TRY(schema_count(r, s, "minItems", 0, &a->min));
    TRY(schema_count(r, s, "maxItems", -1, &a->max));
    if (a->max >= 0 && a->max < a->min)
        SCHEMA_NOTHING(r, "minItems %d is more than maxItems %d", a->min, a->max);
    if (a->items && a->items->kind == VALUE_LIST) { /* before draft 2020: a list is the prefix */
        a->prefix = a->items;
        a->items = value_get(s, STR("additionalItems"));
    }
    if (a->prefix && a->prefix->kind != VALUE_LIST)
        SCHEMA_FAIL(r, INVALID, "prefixItems must be a list of schemas");
    if (a->prefix) a->n_prefix = (int32_t)a->prefix->as.list.len;
    bool none = a->items && schema_is_never(a->items);
    if (none && a->min > a->n_prefix)
        SCHEMA_NOTHING(r, "minItems %d, but at most %d items can be valid", a->min, a->n_prefix);
    if (none && (a->max < 0 || a->max > a->n_prefix)) a->max = a->n_prefix;
    if (none) a->items = NULL;
    if (a->max >= 0 && a->max < a->n_prefix) a->n_prefix = a->max;
    return ERR_OK;
}

static err_code array_inside(schema_reader *r, const value *s, const array_parts *a,
                             const grammar_expr **ret) {
    const value *unique = value_get(s, STR("uniqueItems")), *values = NULL;
    bool differ = unique && unique->kind == VALUE_BOOL && unique->as.boolean;
    const grammar_expr *item = r->any;
    if (differ && a->n_prefix == 0) TRY(listed_values(r, a->items, &values));
    if (values && !value_get(s, STR("contains")))
        return unique_items(r, values, a->min, a->max, ret);
    if (differ && !(a->max >= 0 && a->max <= 1))
        SCHEMA_FAIL(r, UNSUPPORTED,
                    "the keyword \"uniqueItems\" is supported only where the items are an enum or "
                    "boolean; leave it out");
    if (value_get(s, STR("contains"))) {
        if (differ || a->n_prefix > 0)
            SCHEMA_FAIL(r, UNSUPPORTED,
                        "\"contains\" beside uniqueItems or prefixItems is not supported; leave "
                        "it out");
        return contains_items(r, s, a->items, a->min, a->max, ret);
    }
    if (a->items) TRY(schema_part_or_none(r, a->items, STR("items"), (str){0}, &item));
    TRY(schema_rule(r, item, &item));
    const grammar_expr *rest = items_list(r, item, a->min > a->n_prefix ? a->min - a->n_prefix : 0,
                                          a->max < 0 ? -1 : a->max - a->n_prefix, a->n_prefix > 0);
    if (a->n_prefix > 0) TRY(prefix_items(r, a->prefix, a->n_prefix, a->min, &rest));
    *ret = rest;
    return ERR_OK;
}

err_code schema_array(schema_reader *r, const value *s, const grammar_expr **ret) {
    grammar_builder *b = &r->b;
    array_parts a;
    const grammar_expr *inner;
    TRY(read_array(r, s, &a));
    TRY(array_inside(r, s, &a, &inner));
    const grammar_expr *x = grammar_seq(b, schema_punct(r, "["), inner);
    *ret = grammar_seq(b, grammar_seq(b, x, r->space), grammar_text(b, STR("]")));
    return ERR_OK;
}
