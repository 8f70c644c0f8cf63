/* Calls of tools in words: marks around every argument (reply_call_form). A few arguments come in
 * any order, many in that of the schema; optional ones may be left out. Text stands as it is,
 * without quotes, up to the mark that ends it; all else is JSON. */
#include "base/limits.h"
#include "llm/grammar/schema.h"

enum { ANY_ORDER_MAX = 6 }; /* each set of arguments that has come is a rule */

typedef struct words {
    schema_reader r;
    const reply_call_form *f;
    const grammar_expr *text; /* anything up to the mark behind a value */
} words;

/* A form's text; its line breaks may be left out. */
static const grammar_expr *form_text(grammar_builder *b, const char *text) {
    str rest = str_from(text);
    const grammar_expr *x = grammar_empty(b);
    const grammar_expr *line = grammar_repeat(b, grammar_text(b, STR("\n")), 0, 1);
    while (rest.len) {
        bool more = str_find_char(rest, '\n') >= 0;
        x = grammar_seq(b, x, grammar_text(b, str_cut(&rest, '\n')));
        if (more) x = grammar_seq(b, x, line);
    }
    return x;
}

/* What holds no mark that ends a value. */
static err_code up_to_mark(words *w, const grammar_expr *x, const grammar_expr **ret) {
    grammar_builder *b = &w->r.b;
    grammar_range any = {0, 0x10FFFF};
    const grammar_expr *all = grammar_repeat(b, grammar_chars(b, (grammar_set){&any, 1}), 0, -1);
    const grammar_expr *mark = grammar_text(b, str_trim(str_from(w->f->valued)));
    mark = grammar_seq(b, grammar_seq(b, all, mark), all);
    return grammar_both(b, x ? x : all, mark, true, ret, w->r.e);
}

/* One of the values that `enum` or `const` lists, as text. */
static const grammar_expr *listed(words *w, const value *list) {
    grammar_builder *b = &w->r.b;
    const grammar_expr *x = grammar_none(b);
    for (size_t i = 0; i < list->as.list.len; i++) {
        const value *v = list->as.list.items[i];
        x = grammar_alt(
            b, x, v->kind == VALUE_STR ? grammar_text(b, v->as.text) : schema_literal(&w->r, v));
    }
    return x;
}

static err_code text_value(words *w, const value *schema, const grammar_expr **ret) {
    const value *list = value_get(schema, STR("enum")), *only = value_get(schema, STR("const"));
    const value *type = value_get(schema, STR("type"));
    const grammar_expr *x;
    if (only && only->kind == VALUE_STR)
        *ret = grammar_text(&w->r.b, only->as.text);
    else if (list && list->kind == VALUE_LIST)
        *ret = listed(w, list);
    else if (type && type->kind == VALUE_STR) {
        TRY(schema_text(&w->r, schema, &x));
        return up_to_mark(w, x, ret);
    } else
        *ret = w->text;
    return ERR_OK;
}

/* Key and value with their marks. `key` NULL: any. */
static err_code pair_of(words *w, const grammar_expr *key, const value *schema,
                        const grammar_expr **ret) {
    grammar_builder *b = &w->r.b;
    const grammar_expr *v = w->text, *x;
    if (schema) {
        bool text = reply_argument_is_text(schema);
        TRY(text ? text_value(w, schema, &v) : schema_expr(&w->r, schema, &v));
    }
    if (!key) TRY(grammar_parse_regex(b, STR("[A-Za-z0-9_.-]{1,64}"), false, &key, w->r.e));
    x = grammar_seq(b, grammar_seq(b, form_text(b, w->f->key), key), form_text(b, w->f->keyed));
    x = grammar_seq(b, grammar_seq(b, x, v), form_text(b, w->f->valued));
    return schema_rule(&w->r, x, ret);
}

static bool is_required(const value *schema, str name) {
    value text = {.kind = VALUE_STR, .as.text = name};
    const value *list = value_get(schema, STR("required"));
    return list && list->kind == VALUE_LIST && schema_lists(list, &text);
}

typedef struct argument {
    const grammar_expr *pair;
    bool required;
} argument;

/* Each at most once: rule `set` is what may follow when those of the set have come. */
static err_code in_any_order(words *w, const argument *all, size_t n, const grammar_expr **ret) {
    grammar_builder *b = &w->r.b;
    const size_t n_sets = (size_t)1 << n;
    int32_t rules[1 << ANY_ORDER_MAX];
    for (size_t set = 0; set < n_sets; set++)
        if ((rules[set] = grammar_add_rule(b, grammar_empty(b))) < 0)
            FAIL(w->r.e, LIMIT, "the tools have more than %d parts", LIMIT_GRAMMAR_RULES);
    for (size_t set = 0; set < n_sets; set++) {
        const grammar_expr *x = grammar_none(b);
        bool whole = true;
        for (size_t i = 0; i < n; i++) {
            if (set >> i & 1) continue;
            whole = whole && !all[i].required;
            const grammar_expr *rest = grammar_rule(b, rules[set | (size_t)1 << i]);
            x = grammar_alt(b, x, grammar_seq(b, all[i].pair, rest));
        }
        b->rules.items[rules[set]] = whole ? grammar_alt(b, grammar_empty(b), x) : x;
    }
    *ret = grammar_rule(b, rules[0]);
    return ERR_OK;
}

static err_code named_pairs(words *w, const value *schema, const value *props,
                            const grammar_expr **ret) {
    grammar_builder *b = &w->r.b;
    size_t n = props->as.map.len;
    argument *all = ARENA_ARRAY(b->mem, argument, n + 1);
    for (size_t i = 0; i < n; i++) {
        const value_pair *p = &props->as.map.pairs[i];
        all[i].required = is_required(schema, p->key);
        TRY(pair_of(w, grammar_text(b, p->key), p->val, &all[i].pair));
    }
    if (n <= ANY_ORDER_MAX) return in_any_order(w, all, n, ret);
    *ret = grammar_empty(b);
    for (size_t i = 0; i < n; i++)
        *ret = grammar_seq(b, *ret,
                           all[i].required ? all[i].pair : grammar_repeat(b, all[i].pair, 0, 1));
    return ERR_OK;
}

/* Nothing says that there are arguments. */
static bool takes_none(const value *schema) {
    static const char *const KEYS[] = {"properties",
                                       "additionalProperties",
                                       "patternProperties",
                                       "required",
                                       "anyOf",
                                       "oneOf",
                                       "allOf",
                                       "$ref",
                                       "if"};
    for (size_t i = 0; i < COUNT_OF(KEYS); i++)
        if (value_get(schema, str_from(KEYS[i]))) return false;
    return true;
}

/* The arguments of one tool. A schema that says more than which properties there are, or more than
 * we can hold to, leaves keys and values open, as it does where arguments are JSON. */
static err_code arguments_of(words *w, const value *schema, const grammar_expr **ret) {
    const value *props = value_get(schema, STR("properties"));
    const grammar_expr *any;
    err ignored = {0}, *e = w->r.e;
    *ret = grammar_empty(&w->r.b);
    if (takes_none(schema)) return ERR_OK;
    if (props && props->kind == VALUE_MAP) {
        w->r.root = schema;
        w->r.e = &ignored;
        err_code code = named_pairs(w, schema, props, ret);
        w->r.e = e;
        if (code == ERR_OK) return ERR_OK;
    }
    TRY(pair_of(w, NULL, NULL, &any));
    *ret = grammar_repeat(&w->r.b, any, 0, -1);
    return ERR_OK;
}

static err_code call_of(words *w, const value *function, const grammar_expr **ret) {
    grammar_builder *b = &w->r.b;
    const value *name = value_get(function, STR("name"));
    const grammar_expr *x = grammar_text(b, name->as.text), *arguments;
    TRY(arguments_of(w, value_get(function, STR("parameters")), &arguments));
    x = grammar_seq(b, grammar_seq(b, form_text(b, w->f->open), x), form_text(b, w->f->named));
    *ret = grammar_seq(b, grammar_seq(b, x, arguments), form_text(b, w->f->close));
    return ERR_OK;
}

static err_code build(words *w, const value *functions, grammar **ret) {
    const grammar_expr *all = grammar_none(&w->r.b), *one;
    TRY(up_to_mark(w, NULL, &w->text));
    TRY(schema_rule(&w->r, w->text, &w->text));
    for (size_t i = 0; i < functions->as.list.len; i++) {
        TRY(call_of(w, functions->as.list.items[i], &one));
        all = grammar_alt(&w->r.b, all, one);
    }
    schema_set_start(&w->r, all);
    return grammar_finish(&w->r.b, ret, w->r.e);
}

err_code grammar_from_calls(const reply_call_form *f, const value *functions, grammar **ret,
                            err *e) {
    words w = {.f = f};
    schema_begin(&w.r, NULL, e);
    err_code code = build(&w, functions, ret);
    schema_end(&w.r);
    return code;
}
