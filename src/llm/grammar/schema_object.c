/* Objects.
 *
 * Properties come in the order of the schema; optional ones may be left out. Each place in the list
 * has a rule "the rest, after so many": the comma depends on whether anything came before, and
 * minProperties and maxProperties on how much. Other keys are kept apart from the named ones and
 * from patterns; that no such key comes twice is not held to. Without additionalProperties an
 * object that names properties is closed: that is what clients mean, and what keeps a model on the
 * rails. */
#include "base/limits.h"
#include "llm/grammar/schema.h"

typedef struct property {
    str name;
    const grammar_expr *key, *pair; /* "name", and "name": value */
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

/* ---- properties by name ---- */

/* What a pattern asks of this name beside its own schema. */
static err_code with_patterns(schema_reader *r, const value *s, str name, const value **schema) {
    const value *patterns = value_get(s, STR("patternProperties"));
    const grammar_expr *x, *both;
    err inside = {0};
    for (size_t i = 0; patterns && patterns->kind == VALUE_MAP && i < patterns->as.map.len; i++) {
        const value_pair *p = &patterns->as.map.pairs[i];
        value text = {.kind = VALUE_STR, .as.text = name};
        TRY(schema_regex(r, p->key, true, &x));
        if (grammar_both(&r->b, schema_literal(r, &text), schema_quoted(r, x), false, &both,
                         &inside))
            SCHEMA_FAIL(r, LIMIT, "%s", inside.msg);
        if (both->kind != GRAMMAR_NONE) TRY(schema_merge(r, *schema, p->val, schema));
    }
    return ERR_OK;
}

static err_code add_property(schema_reader *r, const value *s, const value_pair *p, str keyword,
                             properties *ret) {
    bool required = in_list(value_get(s, STR("required")), p->key);
    const value *schema = p->val;
    const grammar_expr *val;
    TRY(with_patterns(r, s, p->key, &schema));
    if (schema_is_never(schema) && !required) {
        VEC_PUSH(*ret, (property){.name = p->key});
        return ERR_OK;
    }
    str part = str_eq(keyword, STR("properties")) ? p->key : (str){0};
    TRY(required ? schema_part(r, schema, keyword, part, &val)
                 : schema_part_or_none(r, schema, keyword, part, &val));
    if (val->kind == GRAMMAR_NONE) {
        VEC_PUSH(*ret, (property){.name = p->key});
        return ERR_OK;
    }
    value name = {.kind = VALUE_STR, .as.text = p->key};
    const grammar_expr *key = schema_literal(r, &name);
    VEC_PUSH(*ret, (property){p->key, key, pair_of(r, key, val), required});
    return ERR_OK;
}

static const value *other_schema(const value *s) {
    const value *more = value_get(s, STR("additionalProperties"));
    return more ? more : value_get(s, STR("unevaluatedProperties"));
}

/* The named properties, and required ones that are not among them. One that may not be there has
 * its name only. */
static err_code read_properties(schema_reader *r, const value *s, properties *ret) {
    const value *props = value_get(s, STR("properties")), *required = value_get(s, STR("required"));
    const value *more = other_schema(s);
    value any = {.kind = VALUE_BOOL, .as.boolean = true};
    if (props && props->kind != VALUE_MAP) SCHEMA_FAIL(r, INVALID, "properties must be an object");
    if (required && required->kind != VALUE_LIST)
        SCHEMA_FAIL(r, INVALID, "required must be a list of names");
    for (size_t i = 0; props && i < props->as.map.len; i++)
        TRY(add_property(r, s, &props->as.map.pairs[i], STR("properties"), ret));
    for (size_t i = 0; required && i < required->as.list.len; i++) {
        const value *n = required->as.list.items[i];
        bool twice = false;
        if (n->kind != VALUE_STR) SCHEMA_FAIL(r, INVALID, "required must be a list of names");
        for (size_t k = 0; k < ret->len && !twice; k++)
            twice = str_eq(ret->items[k].name, n->as.text);
        if (twice) continue;
        if (more && schema_is_never(more) && !value_get(s, STR("patternProperties")))
            SCHEMA_NOTHING(r,
                           "\"" STR_FMT "\" is required but not among the properties, and "
                           "additionalProperties is false",
                           STR_ARG(n->as.text));
        const value *schema = more && !schema_is_never(more) ? more : value_copy(r->b.mem, &any);
        value_pair p = {n->as.text, (value *)(uintptr_t)schema};
        TRY(add_property(r, s, &p, STR("additionalProperties"), ret));
    }
    return ERR_OK;
}

/* ---- keys that are none of the named ones ---- */

static err_code both_keys(schema_reader *r, const grammar_expr *x, const grammar_expr *y, bool not,
                          const grammar_expr **ret) {
    err inside = {0};
    if (grammar_both(&r->b, x, y, not, ret, &inside))
        SCHEMA_FAIL(r, LIMIT, "keys of an object: %s", inside.msg);
    return ERR_OK;
}

/* Keys as they are written, with their quotes: all that propertyNames allows but the named ones. */
static err_code free_keys(schema_reader *r, const value *s, const properties *p,
                          const grammar_expr **ret) {
    grammar_range any = {0, 0x10FFFF};
    const value *names = value_get(s, STR("propertyNames"));
    const grammar_expr *taken = grammar_none(&r->b), *allowed;
    r->b.in_json = true;
    const grammar_expr *one = grammar_chars(&r->b, (grammar_set){&any, 1});
    r->b.in_json = false;
    const grammar_expr *keys = schema_quoted(r, grammar_repeat(&r->b, one, 0, -1));
    if (names) {
        value *text = value_map(r->b.mem);
        value_add(r->b.mem, text, STR("type"), value_str(r->b.mem, STR("string")));
        TRY(schema_merge(r, text, names, &names));
        TRY(schema_part(r, names, STR("propertyNames"), (str){0}, &allowed));
        TRY(both_keys(r, keys, allowed, false, &keys));
    }
    for (size_t i = 0; i < p->len; i++) {
        value name = {.kind = VALUE_STR, .as.text = p->items[i].name};
        taken = grammar_alt(&r->b, taken, schema_literal(r, &name));
    }
    return both_keys(r, keys, taken, true, ret);
}

/* Pairs whose keys match one of the patterns; *keys becomes what no pattern matches. */
static err_code pattern_pairs(schema_reader *r, const value *patterns, const grammar_expr **keys,
                              const grammar_expr **ret) {
    if (patterns->kind != VALUE_MAP) SCHEMA_FAIL(r, INVALID, "patternProperties must be an object");
    size_t n = patterns->as.map.len;
    const grammar_expr **match = ARENA_ARRAY(r->b.mem, const grammar_expr *, n + 1);
    for (size_t i = 0; i < n; i++) {
        TRY(schema_regex(r, patterns->as.map.pairs[i].key, true, &match[i]));
        match[i] = schema_quoted(r, match[i]);
    }
    for (size_t i = 0; i < n; i++) {
        const value *schema = patterns->as.map.pairs[i].val;
        const grammar_expr *key = *keys, *val;
        for (size_t k = 0; k < n; k++) TRY(both_keys(r, key, match[k], k != i, &key));
        if (key->kind == GRAMMAR_NONE || schema_is_never(schema)) continue;
        TRY(schema_part_or_none(r, schema, STR("patternProperties"), patterns->as.map.pairs[i].key,
                                &val));
        *ret = grammar_alt(&r->b, *ret, pair_of(r, key, val));
    }
    for (size_t i = 0; i < n; i++) TRY(both_keys(r, *keys, match[i], true, keys));
    return ERR_OK;
}

/* Any further pair; *ret matches nothing where none may come. */
static err_code additional(schema_reader *r, const value *s, const properties *p,
                           const grammar_expr **ret) {
    const value *more = other_schema(s), *patterns = value_get(s, STR("patternProperties"));
    bool open = more ? !schema_is_never(more) : p->len == 0 && !patterns;
    const grammar_expr *val = r->any, *keys = schema_quoted(r, schema_string_chars(r));
    *ret = grammar_none(&r->b);
    if (!open && !patterns) return ERR_OK;
    if (p->len > 0 || patterns || value_get(s, STR("propertyNames")))
        TRY(free_keys(r, s, p, &keys));
    if (patterns) TRY(pattern_pairs(r, patterns, &keys, ret));
    if (!open || keys->kind == GRAMMAR_NONE) return ERR_OK;
    if (more) TRY(schema_part_or_none(r, more, STR("additionalProperties"), (str){0}, &val));
    *ret = grammar_alt(&r->b, *ret, pair_of(r, keys, val));
    return ERR_OK;
}

/* ---- the list of properties ---- */

/* How many properties there must be; counted up to `most`, which stands for all above too. */
typedef struct counts {
    int32_t min, max, most;
} counts;

/* Further pairs behind `n` properties. */
static const grammar_expr *more_pairs(schema_reader *r, const grammar_expr *more, counts c,
                                      int32_t n) {
    grammar_builder *b = &r->b;
    int32_t min = c.min > n ? c.min - n : 0, max = c.max < 0 ? -1 : c.max - n;
    if (more->kind == GRAMMAR_NONE) return min > 0 ? more : grammar_empty(b);
    const grammar_expr *behind = grammar_seq(b, schema_punct(r, ","), more);
    if (n > 0) return grammar_repeat(b, behind, min, max);
    if (max == 0) return grammar_empty(b);
    const grammar_expr *x = grammar_seq(
        b, more, grammar_repeat(b, behind, min > 0 ? min - 1 : 0, max < 0 ? -1 : max - 1));
    return min > 0 ? x : grammar_repeat(b, x, 0, 1);
}

/* Backwards: row[n] is the rest behind n properties. */
static err_code property_list(schema_reader *r, const properties *p, const grammar_expr *more,
                              counts c, const grammar_expr **row) {
    grammar_builder *b = &r->b;
    const grammar_expr *comma = schema_punct(r, ","), *here;
    for (int32_t n = 0; n <= c.most; n++) TRY(schema_rule(r, more_pairs(r, more, c, n), &row[n]));
    for (size_t i = p->len; i-- > 0;) {
        const property *x = &p->items[i];
        if (!x->pair) continue;
        TRY(schema_rule(r, x->pair, &here));
        for (int32_t n = 0; n <= c.most; n++) {
            const grammar_expr *with = grammar_none(b);
            const grammar_expr *after = row[n < c.most ? n + 1 : n];
            if (c.max < 0 || n < c.max)
                with = grammar_seq(b, n > 0 ? grammar_seq(b, comma, here) : here, after);
            TRY(schema_rule(r, x->required ? with : grammar_alt(b, with, row[n]), &row[n]));
        }
    }
    return ERR_OK;
}

static err_code read_counts(schema_reader *r, const value *s, size_t n_properties, counts *ret) {
    TRY(schema_count(r, s, "minProperties", 0, &ret->min));
    TRY(schema_count(r, s, "maxProperties", -1, &ret->max));
    if (ret->max >= 0 && ret->max < ret->min)
        SCHEMA_NOTHING(r, "minProperties %d is more than maxProperties %d", ret->min, ret->max);
    ret->most = ret->min > ret->max ? ret->min : ret->max;
    if (ret->most < 1) ret->most = 1;
    if (n_properties == 0) return ERR_OK;
    if ((uint64_t)ret->most * n_properties > LIMIT_GRAMMAR_RULES / 4)
        SCHEMA_FAIL(r, LIMIT, "minProperties and maxProperties up to %d for %zu properties",
                    ret->most, n_properties);
    return ERR_OK;
}

static err_code object_inside(schema_reader *r, const value *s, const properties *p,
                              const grammar_expr **ret) {
    const grammar_expr *more;
    counts c;
    TRY(read_counts(r, s, p->len, &c));
    TRY(additional(r, s, p, &more));
    if (p->len == 0) {
        *ret = more_pairs(r, more, c, 0);
    } else {
        const grammar_expr **row = ARENA_ARRAY(r->b.mem, const grammar_expr *, (size_t)c.most + 1);
        TRY(property_list(r, p, more, c, row));
        *ret = row[0];
    }
    if ((*ret)->kind == GRAMMAR_NONE)
        SCHEMA_NOTHING(r, "no object can be valid: what must be there may not");
    return ERR_OK;
}

err_code schema_object(schema_reader *r, const value *s, const grammar_expr **ret) {
    properties p = {0};
    const grammar_expr *inner = NULL;
    err_code code = read_properties(r, s, &p);
    if (code == ERR_OK) code = object_inside(r, s, &p, &inner);
    VEC_FINISH(p);
    TRY(code);
    grammar_builder *b = &r->b;
    const grammar_expr *x = grammar_seq(b, schema_punct(r, "{"), inner);
    *ret = grammar_seq(b, grammar_seq(b, x, r->space), grammar_text(b, STR("}")));
    return ERR_OK;
}
