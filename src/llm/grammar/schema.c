/* JSON Schema: what a schema as a whole means. */
#include "llm/grammar/schema.h"
#include "base/limits.h"
#include "base/value_json.h"
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void schema_fail(schema_reader *r, err_code code, const char *fmt, ...) {
    char text[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    r->nothing = false;
    err_set(r->e, code, "schema " STR_FMT ": %s", STR_ARG(buf_str(&r->path)), text);
}

/* ---- JSON text ---- */

const grammar_expr *schema_literal(schema_reader *r, const value *v) {
    buf text = {0};
    value_json_write(&text, v, 0);
    const grammar_expr *x = grammar_text(&r->b, buf_str(&text));
    buf_finish(&text);
    return x;
}

const grammar_expr *schema_literal_chars(schema_reader *r, const value *v) {
    buf text = {0};
    value_json_write(&text, v, 0);
    const grammar_expr *x = grammar_text(&r->b, str_sub(buf_str(&text), 1, text.len - 1));
    buf_finish(&text);
    return x;
}

/* ---- shared shapes ---- */

const grammar_expr *schema_quoted(schema_reader *r, const grammar_expr *inner) {
    grammar_builder *b = &r->b;
    const grammar_expr *q = grammar_text(b, STR("\""));
    return grammar_seq(b, grammar_seq(b, q, inner), q);
}

const grammar_expr *schema_punct(schema_reader *r, const char *text) {
    return grammar_seq(&r->b, grammar_text(&r->b, str_from(text)), r->space);
}

err_code schema_rule(schema_reader *r, const grammar_expr *x, const grammar_expr **ret) {
    *ret = x;
    if (x->kind == GRAMMAR_NONE || x->kind == GRAMMAR_EMPTY || x->kind == GRAMMAR_RULE)
        return ERR_OK;
    int32_t rule = grammar_add_rule(&r->b, x);
    if (rule < 0) SCHEMA_FAIL(r, LIMIT, "the schema has more than %d parts", LIMIT_GRAMMAR_RULES);
    *ret = grammar_rule(&r->b, rule);
    return ERR_OK;
}

/* regex -> rule, for the fixed shapes of JSON; the patterns are ours and cannot fail */
static const grammar_expr *shape(schema_reader *r, const char *pattern) {
    const grammar_expr *x = NULL;
    grammar_parse_regex(&r->b, str_from(pattern), false, &x, NULL);
    return grammar_rule(&r->b, grammar_add_rule(&r->b, x));
}

/* One character of a string as JSON writes it, escapes of all kinds included. */
static const grammar_expr *any_char(schema_reader *r) {
    grammar_range any = {0, 0x10FFFF};
    r->b.in_json = true;
    const grammar_expr *plain = grammar_chars(&r->b, (grammar_set){&any, 1});
    r->b.in_json = false;
    const grammar_expr *escaped =
        shape(r, "\\\\/|\\\\u[0-9a-cA-CefEF][0-9a-fA-F]{3}|\\\\u[dD][0-7][0-9a-fA-F]{2}");
    return grammar_rule(&r->b, grammar_add_rule(&r->b, grammar_alt(&r->b, plain, escaped)));
}

const grammar_expr *schema_string_chars(schema_reader *r) {
    return grammar_repeat(&r->b, r->string, 0, -1);
}

/* value := object | array | string | number | true | false | null */
static void make_any(schema_reader *r, int32_t value_rule) {
    grammar_builder *b = &r->b;
    const grammar_expr *any = grammar_rule(b, value_rule), *comma = schema_punct(r, ",");
    const grammar_expr *text = schema_quoted(r, schema_string_chars(r));
    const grammar_expr *pair = grammar_seq(b, grammar_seq(b, text, schema_punct(r, ":")), any);
    const grammar_expr *bodies[2] = {pair, any}, *made[2];
    static const char *const MARKS[2][2] = {{"{", "}"}, {"[", "]"}};
    for (int i = 0; i < 2; i++) {
        const grammar_expr *more = grammar_repeat(b, grammar_seq(b, comma, bodies[i]), 0, -1);
        const grammar_expr *items =
            grammar_repeat(b, grammar_seq(b, grammar_seq(b, bodies[i], more), r->space), 0, 1);
        made[i] = grammar_seq(b, grammar_seq(b, schema_punct(r, MARKS[i][0]), items),
                              grammar_text(b, str_from(MARKS[i][1])));
    }
    const grammar_expr *x = grammar_alt(b, grammar_alt(b, made[0], made[1]), text);
    x = grammar_alt(b, x, r->number);
    x = grammar_alt(b, x, grammar_text(b, STR("true")));
    x = grammar_alt(b, x, grammar_text(b, STR("false")));
    b->rules.items[value_rule] = grammar_alt(b, x, grammar_text(b, STR("null")));
    b->rules.items[value_rule + 1] = made[0];
}

enum { RULE_START, RULE_VALUE, RULE_OBJECT };

void schema_begin(schema_reader *r, const value *root, err *e) {
    *r = (schema_reader){.b = {.mem = arena_create(0)}, .root = root, .e = e};
    for (int i = RULE_START; i <= RULE_OBJECT; i++) grammar_add_rule(&r->b, grammar_empty(&r->b));
    buf_put_char(&r->path, '#');
    r->any = grammar_rule(&r->b, RULE_VALUE);
    r->space = shape(r, "( |\\n[ \\t]{0,20})?");
    r->integer = shape(r, "-?(0|[1-9][0-9]{0,14})");
    r->number = shape(r, "-?(0|[1-9][0-9]{0,14})(\\.[0-9]{1,17})?([eE][-+]?[0-9]{1,3})?");
    r->string = any_char(r);
    make_any(r, RULE_VALUE);
}

void schema_end(schema_reader *r) {
    VEC_FINISH(r->rules);
    VEC_FINISH(r->b.rules);
    buf_finish(&r->path);
    arena_destroy(&r->b.mem);
}

void schema_set_start(schema_reader *r, const grammar_expr *x) {
    r->b.rules.items[RULE_START] = x;
}

/* ---- keywords ---- */

/* Keywords that change what is valid and that we do not hold to. */
static const char *const REFUSED[] = {"dependentSchemas", "$dynamicRef", "$recursiveRef",
                                      "unevaluatedItems"};

static err_code check_keywords(schema_reader *r, const value *s) {
    for (size_t i = 0; i < COUNT_OF(REFUSED); i++)
        if (value_get(s, str_from(REFUSED[i])))
            SCHEMA_FAIL(r, UNSUPPORTED,
                        "the keyword \"%s\" is not supported; leave it out or say the same "
                        "with properties, enum, anyOf or pattern",
                        REFUSED[i]);
    return ERR_OK;
}

err_code schema_count(schema_reader *r, const value *s, const char *key, int32_t fallback,
                      int32_t *ret) {
    const value *v = value_get(s, str_from(key));
    *ret = fallback;
    if (!v) return ERR_OK;
    double d = v->kind == VALUE_INT     ? (double)v->as.integer
               : v->kind == VALUE_FLOAT ? v->as.number
                                        : -1.0;
    if (d < 0 || d > floor(d)) SCHEMA_FAIL(r, INVALID, "%s must be a whole number from 0 on", key);
    if (d > LIMIT_GRAMMAR_REPEAT)
        SCHEMA_FAIL(r, LIMIT, "%s %.0f is more than %d", key, d, LIMIT_GRAMMAR_REPEAT);
    *ret = (int32_t)d;
    return ERR_OK;
}

/* ---- references ---- */

/* One step of a JSON pointer; ~1 is a slash, ~0 a tilde, %XX a byte. */
static const value *step_into(arena *a, const value *at, str part) {
    buf name = {0};
    for (size_t i = 0; i < part.len; i++) {
        char c = part.ptr[i];
        if (c == '~' && i + 1 < part.len) c = part.ptr[++i] == '1' ? '/' : '~';
        buf_put_char(&name, c);
    }
    str key = str_dup(a, buf_str(&name));
    buf_finish(&name);
    int64_t index;
    if (at->kind == VALUE_LIST)
        return str_to_i64(key, &index) && index >= 0 && (size_t)index < at->as.list.len
                   ? at->as.list.items[index]
                   : NULL;
    return value_get(at, key);
}

/* The part of the schema with this $anchor, or NULL. */
static const value *find_anchor(const value *at, str name, int depth) {
    const value *mine = value_get(at, STR("$anchor")), *found = NULL;
    if (mine && mine->kind == VALUE_STR && str_eq(mine->as.text, name)) return at;
    if (depth == LIMIT_GRAMMAR_DEPTH / 4) return NULL;
    for (size_t i = 0; at->kind == VALUE_MAP && i < at->as.map.len && !found; i++)
        found = find_anchor(at->as.map.pairs[i].val, name, depth + 1);
    for (size_t i = 0; at->kind == VALUE_LIST && i < at->as.list.len && !found; i++)
        found = find_anchor(at->as.list.items[i], name, depth + 1);
    return found;
}

err_code schema_follow(schema_reader *r, const value *ref, const value **ret) {
    if (ref->kind != VALUE_STR) SCHEMA_FAIL(r, INVALID, "$ref must be a string");
    str path = ref->as.text;
    const value *at = r->root, *id = value_get(r->root, STR("$id"));
    if (id && id->kind == VALUE_STR && id->as.text.len && str_starts(path, id->as.text)) {
        path = str_sub(path, id->as.text.len, path.len);
        if (path.len == 0) path = STR("#");
    }
    if (!str_starts(path, STR("#")))
        SCHEMA_FAIL(r, UNSUPPORTED, "$ref \"" STR_FMT "\": only places in the same schema (#/...)",
                    STR_ARG(path));
    path = str_sub(path, 1, path.len);
    if (path.len > 0 && !str_starts(path, STR("/"))) {
        at = find_anchor(r->root, path, 0);
        path = (str){0};
    }
    if (str_starts(path, STR("/"))) path = str_sub(path, 1, path.len);
    while (path.len > 0 && at) at = step_into(r->b.mem, at, str_cut(&path, '/'));
    if (!at) SCHEMA_FAIL(r, INVALID, "$ref \"" STR_FMT "\" leads nowhere", STR_ARG(ref->as.text));
    *ret = at;
    return ERR_OK;
}

/* ---- unions ---- */

err_code schema_part(schema_reader *r, const value *part, str key, str name,
                     const grammar_expr **ret) {
    size_t len = r->path.len;
    buf_putf(&r->path, "/" STR_FMT, STR_ARG(key));
    if (name.len) buf_putf(&r->path, "/" STR_FMT, STR_ARG(name));
    err_code code = schema_expr(r, part, ret);
    r->path.len = len;
    return code;
}

err_code schema_part_or_none(schema_reader *r, const value *part, str key, str name,
                             const grammar_expr **ret) {
    err_code code = schema_part(r, part, key, name, ret);
    if (!code || !r->nothing) return code;
    *ret = grammar_none(&r->b);
    return ERR_OK;
}

/* `rest`: what must hold beside each branch, or NULL. */
static err_code union_of(schema_reader *r, const value *list, str key, const value *rest,
                         const grammar_expr **ret) {
    if (list->kind != VALUE_LIST || list->as.list.len == 0)
        SCHEMA_FAIL(r, INVALID, STR_FMT " must be a list of schemas", STR_ARG(key));
    const grammar_expr *all = grammar_none(&r->b), *x;
    const value *held = schema_hold_back(r, &rest);
    size_t n = 0;
    for (size_t i = 0; i < list->as.list.len; i++) {
        const value *branch = list->as.list.items[i];
        if (rest) TRY(schema_merge(r, rest, branch, &branch));
        branch = schema_put_back(r, branch, held);
        if (schema_is_never(branch)) continue;
        TRY(schema_part_or_none(r, branch, key, str_fmt(r->b.mem, "%zu", i), &x));
        all = grammar_alt(&r->b, all, x);
        n += x->kind != GRAMMAR_NONE;
    }
    if (n == 0)
        SCHEMA_NOTHING(r, "nothing can be valid here: no branch of " STR_FMT " fits", STR_ARG(key));
    *ret = all;
    return ERR_OK;
}

static err_code enum_of(schema_reader *r, const value *list, const value *rest,
                        const grammar_expr **ret) {
    if (list->kind != VALUE_LIST || list->as.list.len == 0)
        SCHEMA_FAIL(r, INVALID, "enum must be a list with something in it");
    const grammar_expr *all = grammar_none(&r->b);
    size_t n = 0;
    for (size_t i = 0; i < list->as.list.len; i++) {
        bool fits;
        TRY(schema_fits(r, list->as.list.items[i], rest, &fits));
        if (!fits) continue;
        all = grammar_alt(&r->b, all, schema_literal(r, list->as.list.items[i]));
        n++;
    }
    if (n == 0) SCHEMA_NOTHING(r, "nothing can be valid here: no value of enum fits the rest");
    *ret = all;
    return ERR_OK;
}

static err_code all_of(schema_reader *r, const value *list, const value *rest,
                       const grammar_expr **ret) {
    if (list->kind != VALUE_LIST || list->as.list.len == 0)
        SCHEMA_FAIL(r, INVALID, "allOf must be a list of schemas");
    const value *held = schema_hold_back(r, &rest), *all = rest;
    for (size_t i = 0; i < list->as.list.len; i++) {
        if (all)
            TRY(schema_merge(r, all, list->as.list.items[i], &all));
        else
            all = list->as.list.items[i];
    }
    return schema_part(r, schema_put_back(r, all, held), STR("allOf"), (str){0}, ret);
}

/* ---- one schema ---- */

/* true and false, or null: those of them that are not shut out. */
static err_code few_values(schema_reader *r, const value *s, bool null, const grammar_expr **ret) {
    const value *out = value_get(s, str_from(SCHEMA_NOT_ENUM));
    *ret = grammar_none(&r->b);
    for (int i = 0; i < (null ? 1 : 2); i++) {
        value *v = null ? value_null(r->b.mem) : value_bool(r->b.mem, i == 0);
        if (!out || !schema_lists(out, v)) *ret = grammar_alt(&r->b, *ret, schema_literal(r, v));
    }
    return ERR_OK;
}

/* x, the text of integers, without those that are shut out. */
static err_code other_integers(schema_reader *r, const value *s, const grammar_expr **x) {
    const value *out = value_get(s, str_from(SCHEMA_NOT_ENUM));
    const grammar_expr *taken = grammar_none(&r->b);
    err inside = {0};
    for (size_t i = 0; out && i < out->as.list.len; i++) {
        double d = schema_number_of(out->as.list.items[i], 0.5);
        if (d > floor(d) || fabs(d) > 1e15) continue;
        value v = {.kind = VALUE_INT, .as.integer = (int64_t)d};
        taken = grammar_alt(&r->b, taken, schema_literal(r, &v));
        if (v.as.integer == 0) taken = grammar_alt(&r->b, taken, grammar_text(&r->b, STR("-0")));
    }
    if (taken->kind != GRAMMAR_NONE && grammar_both(&r->b, *x, taken, true, x, &inside))
        SCHEMA_FAIL(r, LIMIT, "%s", inside.msg);
    return ERR_OK;
}

/* Of x, the text of numbers, those that are no integers however they are read: few digits. */
static err_code fractions_of(schema_reader *r, const grammar_expr **x) {
    const grammar_expr *fraction = NULL;
    err inside = {0};
    TRY(grammar_parse_regex(&r->b, STR("-?(0|[1-9][0-9]{0,8})\\.[0-9]{0,5}[1-9]"), false, &fraction,
                            r->e));
    if (grammar_both(&r->b, *x, fraction, false, x, &inside))
        SCHEMA_FAIL(r, LIMIT, "%s", inside.msg);
    return ERR_OK;
}

/* What may not come is of this kind of type, where values cannot be taken out one by one. */
static err_code check_shut_out(schema_reader *r, const value *s, str type) {
    const value *out = value_get(s, str_from(SCHEMA_NOT_ENUM));
    for (size_t i = 0; out && i < out->as.list.len; i++) {
        const value *v = out->as.list.items[i];
        bool number = v->kind == VALUE_INT || v->kind == VALUE_FLOAT;
        if ((str_eq(type, STR("object")) && v->kind == VALUE_MAP) ||
            (str_eq(type, STR("array")) && v->kind == VALUE_LIST) ||
            (str_eq(type, STR("number")) && number))
            SCHEMA_FAIL(r, UNSUPPORTED,
                        "single values of the type \"" STR_FMT "\" cannot be shut out; say what "
                        "may come instead",
                        STR_ARG(type));
    }
    return ERR_OK;
}

static err_code of_type(schema_reader *r, const value *s, str type, const grammar_expr **ret) {
    TRY(check_shut_out(r, s, type));
    if (str_eq(type, STR("object"))) return schema_object(r, s, ret);
    if (str_eq(type, STR("array"))) return schema_array(r, s, ret);
    if (str_eq(type, STR("string"))) return schema_string(r, s, ret);
    if (str_eq(type, STR("number"))) {
        TRY(schema_number(r, s, false, ret));
        return value_get(s, str_from(SCHEMA_FRACTION)) ? fractions_of(r, ret) : ERR_OK;
    }
    if (str_eq(type, STR("null"))) return few_values(r, s, true, ret);
    if (str_eq(type, STR("boolean"))) return few_values(r, s, false, ret);
    if (!str_eq(type, STR("integer")))
        SCHEMA_FAIL(r, INVALID, "there is no type \"" STR_FMT "\"", STR_ARG(type));
    TRY(schema_number(r, s, true, ret));
    return other_integers(r, s, ret);
}

/* Where nothing of the type can be valid it is left out. */
static err_code of_type_or_none(schema_reader *r, const value *s, str type,
                                const grammar_expr **ret) {
    err_code code = of_type(r, s, type, ret);
    if (!code || !r->nothing) return code;
    *ret = grammar_none(&r->b);
    return ERR_OK;
}

static err_code of_types(schema_reader *r, const value *s, const value *types,
                         const grammar_expr **ret) {
    if (types->kind == VALUE_STR) return of_type(r, s, types->as.text, ret);
    if (types->kind != VALUE_LIST || types->as.list.len == 0)
        SCHEMA_FAIL(r, INVALID, "type must be a name or a list of names");
    const grammar_expr *all = grammar_none(&r->b), *x;
    for (size_t i = 0; i < types->as.list.len; i++) {
        const value *t = types->as.list.items[i];
        if (t->kind != VALUE_STR) SCHEMA_FAIL(r, INVALID, "type must be a list of names");
        TRY(of_type_or_none(r, s, t->as.text, &x));
        all = grammar_alt(&r->b, all, x);
    }
    *ret = all;
    return ERR_OK;
}

str schema_implied_type(const value *s) {
    static const char *const HINTS[][2] = {{"properties", "object"},
                                           {"required", "object"},
                                           {"additionalProperties", "object"},
                                           {"patternProperties", "object"},
                                           {"propertyNames", "object"},
                                           {"minProperties", "object"},
                                           {"maxProperties", "object"},
                                           {"items", "array"},
                                           {"prefixItems", "array"},
                                           {"minItems", "array"},
                                           {"maxItems", "array"},
                                           {"uniqueItems", "array"},
                                           {"contains", "array"},
                                           {"pattern", "string"},
                                           {SCHEMA_NOT_PATTERN, "string"},
                                           {"format", "string"},
                                           {"minLength", "string"},
                                           {"maxLength", "string"},
                                           {"minimum", "number"},
                                           {"maximum", "number"},
                                           {"exclusiveMinimum", "number"},
                                           {"exclusiveMaximum", "number"},
                                           {"multipleOf", "number"}};
    for (size_t i = 0; i < COUNT_OF(HINTS); i++)
        if (value_get(s, str_from(HINTS[i][0]))) return str_from(HINTS[i][1]);
    return (str){0};
}

/* For each name either it is left out or the others are there. */
static err_code dependent_required(schema_reader *r, const value *s, const value *names,
                                   const grammar_expr **ret) {
    enum { NAMES_MAX = 6 };
    arena *a = r->b.mem;
    const value *all = schema_without(r, s, "dependentRequired");
    if (names->kind != VALUE_MAP) SCHEMA_FAIL(r, INVALID, "dependentRequired must be an object");
    if (names->as.map.len > NAMES_MAX)
        SCHEMA_FAIL(r, UNSUPPORTED, "dependentRequired is supported for up to %d names", NAMES_MAX);
    for (size_t i = 0; i < names->as.map.len; i++) {
        const value_pair *p = &names->as.map.pairs[i];
        value *out = value_map(a), *never = value_map(a), *in = value_map(a), *list = value_list(a);
        value_add(a, never, p->key, value_bool(a, false));
        value_add(a, out, STR("properties"), never);
        value_add(a, in, STR("required"), p->val);
        value_push(a, list, out);
        value_push(a, list, in);
        value *either = value_map(a);
        value_add(a, either, STR("anyOf"), list);
        if (all)
            TRY(schema_merge(r, all, either, &all));
        else
            all = either;
    }
    if (!all) all = value_bool(a, true);
    return schema_part(r, all, STR("dependentRequired"), (str){0}, ret);
}

/* The keywords that stand for other schemas or values, each with what stands beside it. */
static err_code schema_combined(schema_reader *r, const value *s, const grammar_expr **ret) {
    const value *v, *target, *rest;
    if (value_get(s, STR("not")) || value_get(s, STR("if")) || value_get(s, STR("then")) ||
        value_get(s, STR("else"))) {
        TRY(value_get(s, STR("not")) ? schema_not(r, s, &target) : schema_if(r, s, &target));
        return schema_expr(r, target, ret);
    }
    if ((v = value_get(s, STR("$ref")))) {
        TRY(schema_follow(r, v, &target));
        rest = schema_without(r, s, "$ref");
        const value *held = schema_hold_back(r, &rest);
        if (rest) TRY(schema_merge(r, target, rest, &target));
        target = schema_put_back(r, target, held);
        return schema_expr(r, target, ret);
    }
    if ((v = value_get(s, STR("allOf")))) return all_of(r, v, schema_without(r, s, "allOf"), ret);
    if ((v = value_get(s, STR("const")))) {
        value *one = value_list(r->b.mem);
        value_push(r->b.mem, one, (value *)(uintptr_t)v);
        return enum_of(r, one, schema_without(r, s, "const"), ret);
    }
    if ((v = value_get(s, STR("enum")))) return enum_of(r, v, schema_without(r, s, "enum"), ret);
    if ((v = value_get(s, STR("dependentRequired")))) return dependent_required(r, s, v, ret);
    if ((v = value_get(s, STR("anyOf"))))
        return union_of(r, v, STR("anyOf"), schema_without(r, s, "anyOf"), ret);
    if ((v = value_get(s, STR("oneOf")))) {
        TRY(schema_one_of(r, v, schema_without(r, s, "oneOf"), &v));
        return union_of(r, v, STR("oneOf"), NULL, ret);
    }
    *ret = NULL;
    return ERR_OK;
}

/* A schema that says only which values may not come. */
static err_code of_any_type(schema_reader *r, const value *s, const grammar_expr **ret) {
    static const char *const NAMES[] = {"object", "array", "string", "boolean", "null", "number"};
    str implied = schema_implied_type(s);
    if (implied.len) return of_type(r, s, implied, ret);
    const grammar_expr *all = grammar_none(&r->b), *x;
    for (size_t i = 0; i < COUNT_OF(NAMES); i++) {
        TRY(of_type_or_none(r, s, str_from(NAMES[i]), &x));
        all = grammar_alt(&r->b, all, x);
    }
    *ret = all;
    return ERR_OK;
}

static err_code schema_body(schema_reader *r, const value *s, const grammar_expr **ret) {
    const value *v;
    if (s->kind == VALUE_BOOL) {
        if (!s->as.boolean) SCHEMA_NOTHING(r, "nothing can be valid here");
        *ret = r->any;
        return ERR_OK;
    }
    if (s->kind != VALUE_MAP) SCHEMA_FAIL(r, INVALID, "a schema must be an object");
    TRY(check_keywords(r, s));
    TRY(schema_combined(r, s, ret));
    if (*ret) return ERR_OK;
    if ((v = value_get(s, STR("type")))) return of_types(r, s, v, ret);
    if (value_get(s, str_from(SCHEMA_NOT_ENUM))) return of_any_type(r, s, ret);
    str type = schema_implied_type(s);
    if (type.len) return of_type(r, s, type, ret);
    *ret = r->any;
    return ERR_OK;
}

static err_code known_schema(schema_reader *r, const schema_seen *seen, const grammar_expr **ret) {
    if (seen->nothing) SCHEMA_NOTHING(r, "nothing can be valid here");
    *ret = grammar_rule(&r->b, seen->rule);
    return ERR_OK;
}

err_code schema_expr(schema_reader *r, const value *schema, const grammar_expr **ret) {
    for (size_t i = 0; i < r->rules.len; i++)
        if (r->rules.items[i].schema == schema) return known_schema(r, &r->rules.items[i], ret);
    const grammar_expr *x = NULL;
    size_t me = r->rules.len;
    int32_t rule = grammar_add_rule(&r->b, grammar_none(&r->b)), merge_depth = r->merge_depth;
    if (rule < 0) SCHEMA_FAIL(r, LIMIT, "the schema has more than %d parts", LIMIT_GRAMMAR_RULES);
    VEC_PUSH(r->rules, (schema_seen){.schema = schema, .rule = rule});
    if (++r->depth > LIMIT_GRAMMAR_DEPTH / 4) SCHEMA_FAIL(r, LIMIT, "schemas nest too deep");
    err_code code = schema_body(r, schema, &x);
    r->depth--;
    r->merge_depth = merge_depth;
    if (code == ERR_OK && x->kind == GRAMMAR_NONE) {
        r->rules.items[me].nothing = true;
        SCHEMA_NOTHING(r, "nothing can be valid here");
    }
    if (code) {
        r->rules.items[me].nothing = r->nothing;
        return code;
    }
    r->b.rules.items[rule] = x;
    *ret = grammar_rule(&r->b, rule);
    return ERR_OK;
}

err_code grammar_from_schema(const value *schema, grammar **ret, err *e) {
    schema_reader r;
    const grammar_expr *x;
    schema_begin(&r, schema, e);
    err_code code = schema_expr(&r, schema, &x);
    if (code == ERR_OK) {
        schema_set_start(&r, x);
        code = grammar_finish(&r.b, ret, e);
    }
    schema_end(&r);
    return code;
}

err_code grammar_from_json(grammar **ret, err *e) {
    schema_reader r;
    schema_begin(&r, NULL, e);
    schema_set_start(&r, grammar_rule(&r.b, RULE_OBJECT));
    err_code code = grammar_finish(&r.b, ret, e);
    schema_end(&r);
    return code;
}
