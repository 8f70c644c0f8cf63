/* Objects and arrays.
 *
 * Properties come in the order of the schema; optional ones may be left out. Because the comma
 * depends on whether anything came before, each place in the list has a rule "the rest, after
 * something", and one "the rest, as the first". Without additionalProperties an object that names
 * properties is closed: that is what clients mean, and what keeps a model on the rails. */
#include "base/limits.h"
#include "llm/grammar/schema.h"

typedef struct property {
    str name;
    const grammar_expr *pair; /* "name": value */
    bool required;
} property;

typedef VEC(property) properties;

static bool in_list(const value *list, str name) {
    for (size_t i = 0; list && list->kind == VALUE_LIST && i < list->as.list.len; i++)
        if (list->as.list.items[i]->kind == VALUE_STR &&
            str_eq(list->as.list.items[i]->as.text, name))
            return true;
    return false;
}

static const grammar_expr *pair_of(schema_reader *r, const grammar_expr *key,
                                   const grammar_expr *val) {
    return grammar_seq(&r->b, grammar_seq(&r->b, key, schema_punct(r, ":")), val);
}

static err_code read_properties(schema_reader *r, const value *s, properties *ret) {
    const value *props = value_get(s, STR("properties")), *required = value_get(s, STR("required"));
    if (props && props->kind != VALUE_MAP) SCHEMA_FAIL(r, INVALID, "properties must be an object");
    if (required && required->kind != VALUE_LIST)
        SCHEMA_FAIL(r, INVALID, "required must be a list of names");
    for (size_t i = 0; props && i < props->as.map.len; i++) {
        const value_pair *p = &props->as.map.pairs[i];
        const grammar_expr *val;
        bool never = p->val->kind == VALUE_BOOL && !p->val->as.boolean;
        if (never && !in_list(required, p->key)) continue;
        TRY(schema_part(r, p->val, STR("properties"), p->key, &val));
        value name = {.kind = VALUE_STR, .as.text = p->key};
        VEC_PUSH(*ret, (property){.name = p->key,
                                  .pair = pair_of(r, schema_literal(r, &name), val),
                                  .required = in_list(required, p->key)});
    }
    for (size_t i = 0; required && i < required->as.list.len; i++) {
        const value *n = required->as.list.items[i];
        if (n->kind != VALUE_STR) SCHEMA_FAIL(r, INVALID, "required must be a list of names");
        if (props && value_get(props, n->as.text)) continue;
        const value *more = value_get(s, STR("additionalProperties"));
        const grammar_expr *val = r->any;
        if (more && more->kind == VALUE_BOOL && !more->as.boolean)
            SCHEMA_FAIL(r, INVALID,
                        "\"" STR_FMT "\" is required but not among the properties, and "
                        "additionalProperties is false",
                        STR_ARG(n->as.text));
        if (more) TRY(schema_part(r, more, STR("additionalProperties"), (str){0}, &val));
        value name = {.kind = VALUE_STR, .as.text = n->as.text};
        VEC_PUSH(*ret, (property){n->as.text, pair_of(r, schema_literal(r, &name), val), true});
    }
    return ERR_OK;
}

/* ---- keys that are none of the named ones ---- */

/* Characters of a key from `from` on that keep it apart from all names sharing its first `from`
 * bytes. Names beyond ASCII are told apart by their first byte's character only when they are
 * equal so far, so an additional key may not begin like them. */
static const grammar_expr *other_key(schema_reader *r, const properties *p, const bool *alive,
                                     size_t from) {
    grammar_builder *b = &r->b;
    bool *next = arena_zalloc(b->mem, p->len + 1), is_name = false;
    VEC(grammar_range) taken = {0};
    const grammar_expr *all = grammar_none(b);
    for (size_t i = 0; i < p->len; i++) {
        str name = p->items[i].name;
        if (!alive[i]) continue;
        if (name.len == from) is_name = true;
        if (name.len <= from) continue;
        size_t at = from;
        uint32_t c = str_utf8_next(name, &at);
        bool done = false;
        for (size_t k = 0; k < taken.len && !done; k++) done = taken.items[k].lo == c;
        if (done) continue;
        VEC_PUSH(taken, (grammar_range){c, c});
        for (size_t k = 0; k < p->len; k++) {
            str other = p->items[k].name;
            size_t other_at = from;
            next[k] = alive[k] && other.len > from && str_utf8_next(other, &other_at) == c;
        }
        b->in_json = true;
        const grammar_expr *same = grammar_chars(b, (grammar_set){&taken.items[taken.len - 1], 1});
        b->in_json = false;
        all = grammar_alt(b, all, grammar_seq(b, same, other_key(r, p, next, at)));
    }
    b->in_json = true;
    grammar_set rest = grammar_set_normal(b->mem, (grammar_set){taken.items, taken.len}, true);
    grammar_range any = {0, 0x10FFFF};
    const grammar_expr *differs =
        grammar_seq(b, grammar_chars(b, rest),
                    grammar_repeat(b, grammar_chars(b, (grammar_set){&any, 1}), 0, -1));
    b->in_json = false;
    VEC_FINISH(taken);
    all = grammar_alt(b, all, differs);
    return is_name ? all : grammar_alt(b, all, grammar_empty(b));
}

static err_code additional(schema_reader *r, const value *s, const properties *p,
                           const grammar_expr **ret) {
    const value *more = value_get(s, STR("additionalProperties"));
    if (!more) more = value_get(s, STR("unevaluatedProperties"));
    bool open = more ? !(more->kind == VALUE_BOOL && !more->as.boolean) : p->len == 0;
    *ret = NULL;
    if (!open) return ERR_OK;
    const grammar_expr *val = r->any, *key = schema_string_chars(r);
    if (more) TRY(schema_part(r, more, STR("additionalProperties"), (str){0}, &val));
    if (p->len > 0) {
        size_t n_bytes = 0;
        for (size_t i = 0; i < p->len; i++) n_bytes += p->items[i].name.len;
        if (n_bytes > LIMIT_GRAMMAR_DEPTH * 16)
            SCHEMA_FAIL(r, LIMIT, "names of %zu bytes beside additionalProperties", n_bytes);
        for (size_t i = 0; i < p->len; i++)
            if (p->items[i].name.len > LIMIT_GRAMMAR_DEPTH / 4)
                SCHEMA_FAIL(r, LIMIT, "a property name of %zu bytes", p->items[i].name.len);
        bool *alive = arena_alloc(r->b.mem, p->len);
        for (size_t i = 0; i < p->len; i++) alive[i] = true;
        key = other_key(r, p, alive, 0);
    }
    *ret = pair_of(r, schema_quoted(r, key), val);
    return ERR_OK;
}

/* ---- the list of properties ---- */

static const grammar_expr *optional(grammar_builder *b, const grammar_expr *x) {
    return grammar_repeat(b, x, 0, 1);
}

static err_code as_rule(schema_reader *r, const grammar_expr *x, const grammar_expr **ret) {
    int32_t rule = grammar_add_rule(&r->b, x);
    if (rule < 0) SCHEMA_FAIL(r, LIMIT, "the schema has more than %d parts", LIMIT_GRAMMAR_RULES);
    *ret = grammar_rule(&r->b, rule);
    return ERR_OK;
}

/* Backwards: `after` is the rest when something came before, `first` when nothing did. */
static err_code property_list(schema_reader *r, const properties *p, const grammar_expr *more,
                              const grammar_expr **ret) {
    grammar_builder *b = &r->b;
    const grammar_expr *comma = schema_punct(r, ","), *after = grammar_empty(b);
    if (more) after = grammar_repeat(b, grammar_seq(b, comma, more), 0, -1);
    const grammar_expr *first = more ? optional(b, grammar_seq(b, more, after)) : grammar_empty(b);
    for (size_t i = p->len; i-- > 0;) {
        const property *x = &p->items[i];
        const grammar_expr *here;
        TRY(as_rule(r, x->pair, &here));
        TRY(as_rule(r, after, &after));
        TRY(as_rule(r, first, &first));
        const grammar_expr *as_first = grammar_seq(b, here, after);
        const grammar_expr *behind = grammar_seq(b, comma, here);
        first = x->required ? as_first : grammar_alt(b, as_first, first);
        after = grammar_seq(b, x->required ? behind : optional(b, behind), after);
    }
    *ret = first;
    return ERR_OK;
}

err_code schema_object(schema_reader *r, const value *s, const grammar_expr **ret) {
    properties p = {0};
    const grammar_expr *more = NULL, *inner = NULL;
    err_code code = read_properties(r, s, &p);
    if (code == ERR_OK) code = additional(r, s, &p, &more);
    if (code == ERR_OK) code = property_list(r, &p, more, &inner);
    VEC_FINISH(p);
    TRY(code);
    grammar_builder *b = &r->b;
    const grammar_expr *x = grammar_seq(b, schema_punct(r, "{"), inner);
    *ret = grammar_seq(b, grammar_seq(b, x, r->space), grammar_text(b, STR("}")));
    return ERR_OK;
}

/* ---- arrays ---- */

/* [min, max] further items, each with its comma in front unless it is the first. */
static const grammar_expr *items_list(schema_reader *r, const grammar_expr *item, int32_t min,
                                      int32_t max, bool after_something) {
    grammar_builder *b = &r->b;
    const grammar_expr *behind = grammar_seq(b, schema_punct(r, ","), item);
    if (after_something) return grammar_repeat(b, behind, min, max);
    if (max == 0) return grammar_empty(b);
    const grammar_expr *x = grammar_seq(
        b, item, grammar_repeat(b, behind, min > 0 ? min - 1 : 0, max < 0 ? -1 : max - 1));
    return min > 0 ? x : optional(b, x);
}

/* The fixed items in front; at least `min` of all must be there. */
static err_code prefix_items(schema_reader *r, const value *list, int32_t min,
                             const grammar_expr *rest, const grammar_expr **ret) {
    grammar_builder *b = &r->b;
    const grammar_expr *x = rest, *item;
    for (size_t i = list->as.list.len; i-- > 0;) {
        TRY(schema_part(r, list->as.list.items[i], STR("prefixItems"), str_fmt(b->mem, "%zu", i),
                        &item));
        if (i > 0) item = grammar_seq(b, schema_punct(r, ","), item);
        x = grammar_seq(b, item, x);
        if ((int64_t)i >= min) x = optional(b, x);
    }
    *ret = x;
    return ERR_OK;
}

err_code schema_array(schema_reader *r, const value *s, const grammar_expr **ret) {
    grammar_builder *b = &r->b;
    const value *items = value_get(s, STR("items")), *prefix = value_get(s, STR("prefixItems"));
    int32_t min, max, n_prefix = 0;
    TRY(schema_count(r, s, "minItems", 0, &min));
    TRY(schema_count(r, s, "maxItems", -1, &max));
    if (max >= 0 && max < min)
        SCHEMA_FAIL(r, INVALID, "minItems %d is more than maxItems %d", min, max);
    if (items && items->kind == VALUE_LIST) { /* before draft 2020: a list here is the prefix */
        prefix = items;
        items = value_get(s, STR("additionalItems"));
    }
    if (prefix && prefix->kind != VALUE_LIST)
        SCHEMA_FAIL(r, INVALID, "prefixItems must be a list of schemas");
    if (prefix) n_prefix = (int32_t)prefix->as.list.len;
    const grammar_expr *item = r->any;
    bool none = items && items->kind == VALUE_BOOL && !items->as.boolean;
    if (items && !none) TRY(schema_part(r, items, STR("items"), (str){0}, &item));
    TRY(as_rule(r, item, &item));
    if (none && min > n_prefix)
        SCHEMA_FAIL(r, INVALID, "minItems %d, but at most %d items can be valid", min, n_prefix);
    if (none) max = n_prefix;
    if (max >= 0 && max < n_prefix)
        SCHEMA_FAIL(r, UNSUPPORTED, "maxItems below the number of prefixItems");
    const grammar_expr *rest = items_list(r, item, min > n_prefix ? min - n_prefix : 0,
                                          max < 0 ? -1 : max - n_prefix, n_prefix > 0);
    if (n_prefix > 0) TRY(prefix_items(r, prefix, min, rest, &rest));
    const grammar_expr *x = grammar_seq(b, schema_punct(r, "["), rest);
    *ret = grammar_seq(b, grammar_seq(b, x, r->space), grammar_text(b, STR("]")));
    return ERR_OK;
}
