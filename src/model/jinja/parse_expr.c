/* Expressions to syntax tree: recursive descent with the precedence of Jinja (low to high: inline
 * if, or, and, not, comparison, + -, ~, * / // %, **, unary, postfix, filters and tests).
 * Nesting is bounded by LIMIT_TEMPLATE_DEPTH. */
#include "base/buf.h"
#include "model/jinja/jinja_impl.h"

static err_code parse_unary(jinja_parser *p, bool with_filter, jinja_node **ret);
static err_code parse_not(jinja_parser *p, jinja_node **ret);

static jinja_node *binary(jinja_parser *p, jinja_op op, jinja_node *a, jinja_node *b) {
    jinja_node *n = jinja_node_new(p, JN_BINARY);
    n->op = op;
    n->a = a;
    n->b = b;
    n->line = a->line;
    return n;
}

static jinja_node *pair(jinja_parser *p, jinja_node_kind kind, jinja_node *a, jinja_node *b) {
    jinja_node *n = jinja_node_new(p, kind);
    n->a = a;
    n->b = b;
    return n;
}

typedef VEC(jinja_node *) node_vec;

static void take_kids(jinja_parser *p, jinja_node *n, node_vec *v) {
    n->n_kids = v->len;
    n->kids = arena_dup(p->j->mem, v->items, v->len * sizeof *v->items);
    VEC_FINISH(*v);
}

/* Items up to `close`, which is taken; `dict`: key and value alternate. */
static err_code items_until(jinja_parser *p, const char *close, bool dict, node_vec *ret) {
    while (!jinja_take(p, JTOK_OP, close)) {
        if (ret->len > 0) {
            TRY(jinja_expect(p, JTOK_OP, ","));
            if (jinja_take(p, JTOK_OP, close)) return ERR_OK;
        }
        jinja_node *n = NULL;
        TRY(jinja_expr(p, true, &n));
        VEC_PUSH(*ret, n);
        if (!dict) continue;
        TRY(jinja_expect(p, JTOK_OP, ":"));
        TRY(jinja_expr(p, true, &n));
        VEC_PUSH(*ret, n);
    }
    return ERR_OK;
}

static err_code parse_bracketed(jinja_parser *p, jinja_node_kind kind, const char *close,
                                jinja_node **ret) {
    jinja_node *n = jinja_node_new(p, kind);
    node_vec v = {0};
    p->t++;
    err_code code = items_until(p, close, kind == JN_DICT, &v);
    if (code != ERR_OK) {
        VEC_FINISH(v);
        return code;
    }
    take_kids(p, n, &v);
    *ret = n;
    return ERR_OK;
}

static err_code parse_number(jinja_parser *p, jinja_node *n) {
    char digits[64];
    size_t len = 0;
    for (size_t i = 0; i < p->t->text.len; i++) {
        if (p->t->text.ptr[i] == '_') continue;
        if (len + 1 >= sizeof digits)
            return jinja_parse_fail(p, ERR_FORMAT, "number too long: " STR_FMT,
                                    STR_ARG(p->t->text));
        digits[len++] = p->t->text.ptr[i];
    }
    str s = {digits, len};
    n->val.kind = p->t->kind == JTOK_INT ? JV_INT : JV_FLOAT;
    bool ok = n->val.kind == JV_INT ? str_to_i64(s, &n->val.as.integer)
                                    : str_to_f64(s, &n->val.as.number);
    if (!ok)
        return jinja_parse_fail(p, ERR_FORMAT, "number out of range: " STR_FMT,
                                STR_ARG(p->t->text));
    p->t++;
    return ERR_OK;
}

static void parse_string(jinja_parser *p, jinja_node *n) {
    str s = p->t->text;
    p->t++;
    if (p->t->kind == JTOK_STR) { /* adjacent literals are one string */
        buf b = {0};
        buf_put_str(&b, s);
        for (; p->t->kind == JTOK_STR; p->t++) buf_put_str(&b, p->t->text);
        s = str_dup(p->j->mem, buf_str(&b));
        buf_finish(&b);
    }
    n->text = (jstr){.text = s, .trusted = true};
    n->val.kind = JV_STR;
    n->val.as.text = &n->text;
}

static void parse_name(jinja_parser *p, jinja_node *n) {
    str s = p->t->text;
    p->t++;
    bool yes = str_eq(s, STR("true")) || str_eq(s, STR("True"));
    if (yes || str_eq(s, STR("false")) || str_eq(s, STR("False"))) {
        n->val.kind = JV_BOOL;
        n->val.as.boolean = yes;
    } else if (str_eq(s, STR("none")) || str_eq(s, STR("None"))) {
        n->val.kind = JV_NONE;
    } else {
        n->kind = JN_NAME;
        n->name = s;
        n->id = jinja_name_id(p->j, s);
    }
}

static err_code parse_primary(jinja_parser *p, jinja_node **ret) {
    jinja_node *n = NULL;
    if (p->t->kind == JTOK_INT || p->t->kind == JTOK_FLOAT) {
        n = jinja_node_new(p, JN_CONST);
        TRY(parse_number(p, n));
    } else if (p->t->kind == JTOK_STR) {
        n = jinja_node_new(p, JN_CONST);
        parse_string(p, n);
    } else if (p->t->kind == JTOK_NAME) {
        n = jinja_node_new(p, JN_CONST);
        parse_name(p, n);
    } else if (jinja_at(p, JTOK_OP, "[")) {
        TRY(parse_bracketed(p, JN_LIST, "]", &n));
    } else if (jinja_at(p, JTOK_OP, "{")) {
        TRY(parse_bracketed(p, JN_DICT, "}", &n));
    } else if (jinja_take(p, JTOK_OP, "(")) {
        if (jinja_take(p, JTOK_OP, ")")) {
            n = jinja_node_new(p, JN_TUPLE);
        } else {
            TRY(jinja_tuple_expr(p, true, &n));
            TRY(jinja_expect(p, JTOK_OP, ")"));
        }
    } else {
        return jinja_parse_fail(p, ERR_FORMAT, "expected an expression, found %s" STR_FMT "%s",
                                p->t->text.len ? "'" : "the end of the tag",
                                STR_ARG(str_sub(p->t->text, 0, 80)), p->t->text.len ? "'" : "");
    }
    *ret = n;
    return ERR_OK;
}

/* One call's arguments; the opening parenthesis is the current token. */
static err_code call_args(jinja_parser *p, node_vec *values, jinja_call *ret) {
    VEC(str) names = {0};
    err_code code = ERR_OK;
    bool keyword = false;
    while (code == ERR_OK && !jinja_take(p, JTOK_OP, ")")) {
        str name = {0};
        jinja_node *n = NULL;
        if (values->len > 0) {
            code = jinja_expect(p, JTOK_OP, ",");
            if (code != ERR_OK || jinja_take(p, JTOK_OP, ")")) break;
        }
        if (p->t->kind == JTOK_NAME && p->t[1].kind == JTOK_OP && str_eq(p->t[1].text, STR("="))) {
            name = p->t->text;
            p->t += 2;
            keyword = true;
        } else if (keyword) {
            code = jinja_parse_fail(p, ERR_FORMAT, "positional argument behind a keyword");
            break;
        }
        code = jinja_expr(p, true, &n);
        VEC_PUSH(*values, n);
        VEC_PUSH(names, name);
    }
    ret->n = names.len;
    ret->names = arena_dup(p->j->mem, names.items, names.len * sizeof *names.items);
    ret->values = arena_dup(p->j->mem, values->items, values->len * sizeof *values->items);
    VEC_FINISH(names);
    return code;
}

err_code jinja_call_args(jinja_parser *p, jinja_call *ret) {
    TRY(jinja_expect(p, JTOK_OP, "("));
    node_vec values = {0};
    err_code code = call_args(p, &values, ret);
    VEC_FINISH(values);
    return code;
}

static err_code parse_subscript(jinja_parser *p, jinja_node *in, jinja_node **ret) {
    jinja_node *n = pair(p, JN_ITEM, in, NULL);
    jinja_node **kids = ARENA_ARRAY(p->j->mem, jinja_node *, 3);
    size_t at = 0;
    bool slice = false;
    p->t++;
    while (!jinja_take(p, JTOK_OP, "]")) {
        if (jinja_take(p, JTOK_OP, ":")) {
            slice = true;
            if (++at > 2) return jinja_parse_fail(p, ERR_FORMAT, "too many ':' in a slice");
        } else if (!kids[at]) {
            TRY(jinja_tuple_expr(p, true, &kids[at]));
        } else {
            return jinja_expect(p, JTOK_OP, "]");
        }
    }
    if (!slice && !kids[0]) return jinja_parse_fail(p, ERR_FORMAT, "empty subscript");
    n->b = kids[0];
    if (slice) {
        n->kind = JN_SLICE;
        n->kids = kids;
        n->n_kids = 3;
    }
    *ret = n;
    return ERR_OK;
}

static err_code parse_postfix(jinja_parser *p, jinja_node *n, jinja_node **ret) {
    for (int links = 0;; links++) {
        if (links > LIMIT_TEMPLATE_DEPTH)
            return jinja_parse_fail(p, ERR_LIMIT, "expression too long");
        if (jinja_take(p, JTOK_OP, ".")) {
            jinja_node *attr = pair(p, JN_ATTR, n, NULL);
            if (p->t->kind == JTOK_INT) { /* a.0 is a[0] */
                attr->kind = JN_ITEM;
                TRY(parse_primary(p, &attr->b));
            } else {
                attr->name = p->t->text;
                TRY(jinja_expect(p, JTOK_NAME, NULL));
            }
            n = attr;
        } else if (jinja_at(p, JTOK_OP, "[")) {
            TRY(parse_subscript(p, n, &n));
        } else if (jinja_at(p, JTOK_OP, "(")) {
            jinja_node *call = pair(p, JN_CALL, n, NULL);
            TRY(jinja_call_args(p, &call->args));
            n = call;
        } else {
            *ret = n;
            return ERR_OK;
        }
    }
}

static bool starts_test_argument(const jinja_parser *p) {
    static const char *const not [] = {"else", "or", "and", "is", "if", "in", "not"};
    jinja_tok_kind k = p->t->kind;
    if (k == JTOK_NAME)
        for (size_t i = 0; i < sizeof not / sizeof *not ; i++)
            if (str_eq(p->t->text, str_from(not [i]))) return false;
    return k == JTOK_NAME || k == JTOK_STR || k == JTOK_INT || k == JTOK_FLOAT ||
           jinja_at(p, JTOK_OP, "[") || jinja_at(p, JTOK_OP, "{");
}

/* Behind `is`. */
static err_code parse_test(jinja_parser *p, jinja_node *in, jinja_node **ret) {
    jinja_node *n = pair(p, JN_TEST, in, NULL);
    bool negate = jinja_take(p, JTOK_NAME, "not");
    n->name = p->t->text;
    TRY(jinja_expect(p, JTOK_NAME, NULL));
    if (jinja_at(p, JTOK_OP, "(")) {
        TRY(jinja_call_args(p, &n->args));
    } else if (starts_test_argument(p)) {
        n->args.n = 1;
        n->args.values = ARENA_ARRAY(p->j->mem, jinja_node *, 1);
        n->args.names = ARENA_ARRAY(p->j->mem, str, 1);
        jinja_node *arg = NULL;
        TRY(parse_primary(p, &arg));
        TRY(parse_postfix(p, arg, n->args.values));
    }
    *ret = negate ? pair(p, JN_NOT, n, NULL) : n;
    return ERR_OK;
}

static err_code parse_filter(jinja_parser *p, jinja_node *in, jinja_node **ret) {
    jinja_node *n = pair(p, JN_FILTER, in, NULL);
    n->name = p->t->text;
    TRY(jinja_expect(p, JTOK_NAME, NULL));
    if (jinja_at(p, JTOK_OP, "(")) TRY(jinja_call_args(p, &n->args));
    *ret = n;
    return ERR_OK;
}

err_code jinja_filter_chain(jinja_parser *p, jinja_node *in, jinja_node **ret) {
    int links = 0;
    do {
        if (++links > LIMIT_TEMPLATE_DEPTH)
            return jinja_parse_fail(p, ERR_LIMIT, "expression too long");
        TRY(parse_filter(p, in, &in));
    } while (jinja_take(p, JTOK_OP, "|"));
    *ret = in;
    return ERR_OK;
}

static err_code parse_filters_and_tests(jinja_parser *p, jinja_node *n, jinja_node **ret) {
    for (int links = 0;; links++) {
        if (links > LIMIT_TEMPLATE_DEPTH)
            return jinja_parse_fail(p, ERR_LIMIT, "expression too long");
        if (jinja_take(p, JTOK_OP, "|")) {
            TRY(parse_filter(p, n, &n));
        } else if (jinja_take(p, JTOK_NAME, "is")) {
            TRY(parse_test(p, n, &n));
        } else if (jinja_at(p, JTOK_OP, "(")) {
            jinja_node *call = pair(p, JN_CALL, n, NULL);
            TRY(jinja_call_args(p, &call->args));
            n = call;
        } else {
            *ret = n;
            return ERR_OK;
        }
    }
}

static err_code parse_unary(jinja_parser *p, bool with_filter, jinja_node **ret) {
    jinja_node *n = NULL;
    bool minus = jinja_at(p, JTOK_OP, "-");
    if (minus || jinja_at(p, JTOK_OP, "+")) {
        if (++p->depth > LIMIT_TEMPLATE_DEPTH)
            return jinja_parse_fail(p, ERR_LIMIT, "expression nested too deeply");
        p->t++;
        n = jinja_node_new(p, minus ? JN_NEG : JN_POS);
        TRY(parse_unary(p, false, &n->a));
        p->depth--;
    } else {
        TRY(parse_primary(p, &n));
        TRY(parse_postfix(p, n, &n));
    }
    if (with_filter) TRY(parse_filters_and_tests(p, n, &n));
    *ret = n;
    return ERR_OK;
}

typedef struct level {
    const char *text;
    jinja_op op;
} level_op;

/* Left-associative levels, weakest first. */
static const level_op levels[4][5] = {
    {{"+", JOP_ADD}, {"-", JOP_SUB}},
    {{"~", JOP_CONCAT}},
    {{"*", JOP_MUL}, {"/", JOP_DIV}, {"//", JOP_FLOOR}, {"%", JOP_MOD}},
    {{"**", JOP_POW}},
};

static err_code parse_level(jinja_parser *p, size_t level, jinja_node **ret) {
    if (level == 4) return parse_unary(p, true, ret);
    jinja_node *a = NULL;
    TRY(parse_level(p, level + 1, &a));
    for (int links = 0;; links++) {
        const level_op *o = levels[level];
        while (o->text && !jinja_at(p, JTOK_OP, o->text)) o++;
        if (!o->text) break;
        if (links > LIMIT_TEMPLATE_DEPTH)
            return jinja_parse_fail(p, ERR_LIMIT, "expression too long");
        p->t++;
        jinja_node *b = NULL;
        TRY(parse_level(p, level + 1, &b));
        a = binary(p, o->op, a, b);
    }
    *ret = a;
    return ERR_OK;
}

static bool take_comparison(jinja_parser *p, jinja_op *ret) {
    static const level_op ops[] = {{"==", JOP_EQ}, {"!=", JOP_NE}, {"<", JOP_LT},
                                   {"<=", JOP_LE}, {">", JOP_GT},  {">=", JOP_GE}};
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
        if (!jinja_take(p, JTOK_OP, ops[i].text)) continue;
        *ret = ops[i].op;
        return true;
    }
    if (jinja_take(p, JTOK_NAME, "in")) {
        *ret = JOP_IN;
        return true;
    }
    if (jinja_at(p, JTOK_NAME, "not") && p->t[1].kind == JTOK_NAME &&
        str_eq(p->t[1].text, STR("in"))) {
        p->t += 2;
        *ret = JOP_NOT_IN;
        return true;
    }
    return false;
}

/* a < b < c means a < b and b < c. */
static err_code parse_comparison(jinja_parser *p, jinja_node **ret) {
    jinja_node *left = NULL, *all = NULL;
    TRY(parse_level(p, 0, &left));
    jinja_op op = JOP_EQ;
    for (int links = 0; take_comparison(p, &op); links++) {
        if (links > LIMIT_TEMPLATE_DEPTH)
            return jinja_parse_fail(p, ERR_LIMIT, "expression too long");
        jinja_node *right = NULL;
        TRY(parse_level(p, 0, &right));
        jinja_node *one = binary(p, op, left, right);
        all = all ? pair(p, JN_AND, all, one) : one;
        left = right;
    }
    *ret = all ? all : left;
    return ERR_OK;
}

static err_code parse_not(jinja_parser *p, jinja_node **ret) {
    if (!jinja_take(p, JTOK_NAME, "not")) return parse_comparison(p, ret);
    jinja_node *n = jinja_node_new(p, JN_NOT);
    if (++p->depth > LIMIT_TEMPLATE_DEPTH)
        return jinja_parse_fail(p, ERR_LIMIT, "expression nested too deeply");
    TRY(parse_not(p, &n->a));
    p->depth--;
    *ret = n;
    return ERR_OK;
}

static err_code parse_and_or(jinja_parser *p, bool is_or, jinja_node **ret) {
    jinja_node *a = NULL;
    TRY(is_or ? parse_and_or(p, false, &a) : parse_not(p, &a));
    for (int links = 0; jinja_take(p, JTOK_NAME, is_or ? "or" : "and"); links++) {
        if (links > LIMIT_TEMPLATE_DEPTH)
            return jinja_parse_fail(p, ERR_LIMIT, "expression too long");
        jinja_node *b = NULL;
        TRY(is_or ? parse_and_or(p, false, &b) : parse_not(p, &b));
        a = pair(p, is_or ? JN_OR : JN_AND, a, b);
    }
    *ret = a;
    return ERR_OK;
}

err_code jinja_expr(jinja_parser *p, bool with_cond, jinja_node **ret) {
    jinja_node *n = NULL;
    if (++p->depth > LIMIT_TEMPLATE_DEPTH)
        return jinja_parse_fail(p, ERR_LIMIT, "expression nested too deeply");
    TRY(parse_and_or(p, true, &n));
    for (int links = 0; with_cond && jinja_take(p, JTOK_NAME, "if"); links++) {
        if (links > LIMIT_TEMPLATE_DEPTH)
            return jinja_parse_fail(p, ERR_LIMIT, "expression too long");
        jinja_node *cond = pair(p, JN_COND, n, NULL);
        TRY(parse_and_or(p, true, &cond->b));
        if (jinja_take(p, JTOK_NAME, "else")) TRY(jinja_expr(p, true, &cond->c));
        n = cond;
    }
    p->depth--;
    *ret = n;
    return ERR_OK;
}

err_code jinja_tuple_expr(jinja_parser *p, bool with_cond, jinja_node **ret) {
    jinja_node *n = NULL;
    TRY(jinja_expr(p, with_cond, &n));
    if (!jinja_at(p, JTOK_OP, ",")) {
        *ret = n;
        return ERR_OK;
    }
    jinja_node *tuple = jinja_node_new(p, JN_TUPLE);
    node_vec v = {0};
    err_code code = ERR_OK;
    VEC_PUSH(v, n);
    while (code == ERR_OK && jinja_take(p, JTOK_OP, ",")) {
        if (jinja_at(p, JTOK_OP, ")") || jinja_at(p, JTOK_OP, "]") ||
            p->t->kind == JTOK_BLOCK_END || p->t->kind == JTOK_VAR_END)
            break;
        code = jinja_expr(p, with_cond, &n);
        VEC_PUSH(v, n);
    }
    take_kids(p, tuple, &v);
    *ret = tuple;
    return code;
}
