/* Statements to syntax tree, and the template object.
 *
 * Blocks nest at most LIMIT_TEMPLATE_DEPTH deep. `generation` blocks (which mark what a trainer
 * learns from) are read and ignored; include, import and extends do not exist: there is no I/O. */
#include "base/buf.h"
#include "model/jinja/jinja_impl.h"
#include <stdarg.h>
#include <stdio.h>

err_code jinja_parse_fail(jinja_parser *p, err_code code, const char *fmt, ...) {
    char msg[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(msg, sizeof msg, fmt, args);
    va_end(args);
    return err_set(p->e, code, "template line %d: %s", p->t->line, msg);
}

jinja_node *jinja_node_new(jinja_parser *p, jinja_node_kind kind) {
    jinja_node *n = ARENA_NEW(p->j->mem, jinja_node);
    n->kind = kind;
    n->line = p->t->line;
    return n;
}

uint32_t jinja_name_id(jinja *j, str name) {
    int64_t id = 0;
    if (map_get(&j->names, name, &id)) return (uint32_t)id;
    id = (int64_t)j->names.len;
    map_put(&j->names, name, id);
    return (uint32_t)id;
}

bool jinja_at(const jinja_parser *p, jinja_tok_kind kind, const char *text) {
    return p->t->kind == kind && (!text || str_eq(p->t->text, str_from(text)));
}

bool jinja_take(jinja_parser *p, jinja_tok_kind kind, const char *text) {
    if (!jinja_at(p, kind, text)) return false;
    p->t++;
    return true;
}

err_code jinja_expect(jinja_parser *p, jinja_tok_kind kind, const char *text) {
    if (jinja_take(p, kind, text)) return ERR_OK;
    const char *what = text                     ? text
                       : kind == JTOK_NAME      ? "a name"
                       : kind == JTOK_BLOCK_END ? "%}"
                       : kind == JTOK_VAR_END   ? "}}"
                                                : "the end";
    if (p->t->text.len == 0) return jinja_parse_fail(p, ERR_FORMAT, "expected %s", what);
    return jinja_parse_fail(p, ERR_FORMAT, "expected %s, found '" STR_FMT "'", what,
                            STR_ARG(str_sub(p->t->text, 0, 80)));
}

typedef VEC(jinja_node *) node_vec;

static err_code parse_body(jinja_parser *p, const char *const *ends, jinja_node **ret);
static err_code parse_block(jinja_parser *p, jinja_node **ret);

static const char *const end_for[] = {"else", "endfor", NULL};
static const char *const end_for_else[] = {"endfor", NULL};
static const char *const end_if[] = {"elif", "else", "endif", NULL};
static const char *const end_if_else[] = {"endif", NULL};
static const char *const end_set[] = {"endset", NULL};
static const char *const end_macro[] = {"endmacro", NULL};
static const char *const end_call[] = {"endcall", NULL};
static const char *const end_filter[] = {"endfilter", NULL};
static const char *const end_with[] = {"endwith", NULL};
static const char *const end_generation[] = {"endgeneration", NULL};

static err_code block_end(jinja_parser *p) {
    return jinja_expect(p, JTOK_BLOCK_END, NULL);
}

/* `%} body {% end`: the word that ended the body is left as the current token. */
static err_code body_until(jinja_parser *p, const char *const *ends, jinja_node **ret) {
    TRY(block_end(p));
    return parse_body(p, ends, ret);
}

/* The same for bodies with one possible end, which is taken. */
static err_code whole_body(jinja_parser *p, const char *const *ends, jinja_node **ret) {
    TRY(body_until(p, ends, ret));
    p->t++;
    if (p->t->kind == JTOK_NAME) p->t++; /* {% endmacro name %} */
    return block_end(p);
}

static err_code target_one(jinja_parser *p, jinja_node **ret) {
    if (jinja_take(p, JTOK_OP, "(")) {
        if (++p->depth > LIMIT_TEMPLATE_DEPTH)
            return jinja_parse_fail(p, ERR_LIMIT, "targets nested too deeply");
        TRY(jinja_target(p, ret));
        p->depth--;
        return jinja_expect(p, JTOK_OP, ")");
    }
    jinja_node *n = jinja_node_new(p, JN_NAME);
    n->name = p->t->text;
    TRY(jinja_expect(p, JTOK_NAME, NULL));
    n->id = jinja_name_id(p->j, n->name);
    if (jinja_take(p, JTOK_OP, ".")) {
        jinja_node *attr = jinja_node_new(p, JN_ATTR);
        attr->a = n;
        attr->name = p->t->text;
        TRY(jinja_expect(p, JTOK_NAME, NULL));
        n = attr;
    }
    *ret = n;
    return ERR_OK;
}

static err_code target_list(jinja_parser *p, node_vec *v) {
    do {
        if (v->len > 0 && p->t->kind != JTOK_NAME && !jinja_at(p, JTOK_OP, "(")) break;
        jinja_node *n = NULL;
        TRY(target_one(p, &n));
        VEC_PUSH(*v, n);
        if (v->len == 1 && !jinja_at(p, JTOK_OP, ",")) break;
    } while (jinja_take(p, JTOK_OP, ","));
    return ERR_OK;
}

err_code jinja_target(jinja_parser *p, jinja_node **ret) {
    node_vec v = {0};
    const jinja_tok *first = p->t;
    err_code code = target_list(p, &v);
    bool comma = p->t > first && p->t[-1].kind == JTOK_OP && str_eq(p->t[-1].text, STR(","));
    if (code == ERR_OK && v.len == 1 && !comma) {
        *ret = v.items[0];
    } else if (code == ERR_OK) {
        jinja_node *n = jinja_node_new(p, JN_TUPLE);
        n->n_kids = v.len;
        n->kids = arena_dup(p->j->mem, v.items, v.len * sizeof *v.items);
        *ret = n;
    }
    VEC_FINISH(v);
    return code;
}

static err_code parse_set(jinja_parser *p, jinja_node **ret) {
    jinja_node *n = jinja_node_new(p, JN_SET);
    TRY(jinja_target(p, &n->a));
    *ret = n;
    if (jinja_take(p, JTOK_OP, "=")) {
        TRY(jinja_tuple_expr(p, true, &n->b));
        return block_end(p);
    }
    n->kind = JN_SET_BLOCK;
    if (jinja_take(p, JTOK_OP, "|")) TRY(jinja_filter_chain(p, NULL, &n->c));
    return whole_body(p, end_set, &n->b);
}

static err_code parse_for(jinja_parser *p, jinja_node **ret) {
    jinja_node *n = jinja_node_new(p, JN_FOR);
    TRY(jinja_target(p, &n->a));
    TRY(jinja_expect(p, JTOK_NAME, "in"));
    TRY(jinja_tuple_expr(p, false, &n->b));
    if (jinja_take(p, JTOK_NAME, "if")) TRY(jinja_expr(p, true, &n->c));
    if (jinja_at(p, JTOK_NAME, "recursive"))
        return jinja_parse_fail(p, ERR_UNSUPPORTED, "recursive loops are not supported");
    n->n_kids = 2;
    n->kids = ARENA_ARRAY(p->j->mem, jinja_node *, 2);
    p->loops++;
    TRY(body_until(p, end_for, &n->kids[0]));
    p->loops--;
    if (jinja_take(p, JTOK_NAME, "else")) TRY(body_until(p, end_for_else, &n->kids[1]));
    p->t++;
    *ret = n;
    return block_end(p);
}

static err_code parse_if(jinja_parser *p, jinja_node **ret) {
    jinja_node *n = jinja_node_new(p, JN_IF);
    *ret = n;
    for (;;) { /* an elif is an if in the else branch; the chain is walked in a loop */
        TRY(jinja_tuple_expr(p, true, &n->a));
        TRY(body_until(p, end_if, &n->b));
        if (!jinja_take(p, JTOK_NAME, "elif")) break;
        n->c = jinja_node_new(p, JN_IF);
        n = n->c;
    }
    if (jinja_take(p, JTOK_NAME, "else")) TRY(body_until(p, end_if_else, &n->c));
    p->t++;
    return block_end(p);
}

/* `(a, b=1)` of a macro or call block. */
static err_code parse_params(jinja_parser *p, jinja_node *n) {
    node_vec names = {0}, defaults = {0};
    err_code code = jinja_expect(p, JTOK_OP, "(");
    while (code == ERR_OK && !jinja_take(p, JTOK_OP, ")")) {
        if (names.len > 0) {
            code = jinja_expect(p, JTOK_OP, ",");
            if (code != ERR_OK || jinja_take(p, JTOK_OP, ")")) break;
        }
        jinja_node *name = jinja_node_new(p, JN_NAME), *val = NULL;
        name->name = p->t->text;
        code = jinja_expect(p, JTOK_NAME, NULL);
        if (code != ERR_OK) break;
        name->id = jinja_name_id(p->j, name->name);
        if (jinja_take(p, JTOK_OP, "=")) code = jinja_expr(p, true, &val);
        VEC_PUSH(names, name);
        VEC_PUSH(defaults, val);
    }
    n->n_kids = names.len;
    n->kids = arena_dup(p->j->mem, names.items, names.len * sizeof *names.items);
    n->args.n = names.len;
    n->args.values = arena_dup(p->j->mem, defaults.items, names.len * sizeof *names.items);
    VEC_FINISH(names);
    VEC_FINISH(defaults);
    return code;
}

static err_code parse_macro(jinja_parser *p, jinja_node **ret) {
    jinja_node *n = jinja_node_new(p, JN_MACRO);
    n->name = p->t->text;
    TRY(jinja_expect(p, JTOK_NAME, NULL));
    n->id = jinja_name_id(p->j, n->name);
    TRY(parse_params(p, n));
    *ret = n;
    int loops = p->loops;
    p->loops = 0;
    TRY(whole_body(p, end_macro, &n->a));
    p->loops = loops;
    return ERR_OK;
}

static err_code parse_call_block(jinja_parser *p, jinja_node **ret) {
    jinja_node *n = jinja_node_new(p, JN_CALL_BLOCK);
    n->a = jinja_node_new(p, JN_MACRO);
    n->a->name = STR("caller");
    n->a->id = jinja_name_id(p->j, n->a->name);
    if (jinja_at(p, JTOK_OP, "(")) TRY(parse_params(p, n->a));
    TRY(jinja_expr(p, true, &n->b));
    if (n->b->kind != JN_CALL) return jinja_parse_fail(p, ERR_FORMAT, "call needs a macro call");
    *ret = n;
    int loops = p->loops;
    p->loops = 0;
    TRY(whole_body(p, end_call, &n->a->a));
    p->loops = loops;
    return ERR_OK;
}

static err_code parse_with(jinja_parser *p, jinja_node **ret) {
    jinja_node *n = jinja_node_new(p, JN_WITH);
    node_vec v = {0};
    err_code code = ERR_OK;
    while (code == ERR_OK && p->t->kind != JTOK_BLOCK_END) {
        jinja_node *target = NULL, *val = NULL;
        if (v.len > 0) code = jinja_expect(p, JTOK_OP, ",");
        if (code == ERR_OK) code = target_one(p, &target);
        if (code == ERR_OK) code = jinja_expect(p, JTOK_OP, "=");
        if (code == ERR_OK) code = jinja_expr(p, true, &val);
        VEC_PUSH(v, target);
        VEC_PUSH(v, val);
    }
    n->n_kids = v.len;
    n->kids = arena_dup(p->j->mem, v.items, v.len * sizeof *v.items);
    VEC_FINISH(v);
    TRY(code);
    *ret = n;
    return whole_body(p, end_with, &n->a);
}

static err_code parse_flow(jinja_parser *p, jinja_node_kind kind, jinja_node **ret) {
    if (p->loops == 0) return jinja_parse_fail(p, ERR_FORMAT, "break or continue outside a loop");
    *ret = jinja_node_new(p, kind);
    return block_end(p);
}

/* Behind `{%`. */
static err_code parse_block(jinja_parser *p, jinja_node **ret) {
    if (jinja_take(p, JTOK_NAME, "if")) return parse_if(p, ret);
    if (jinja_take(p, JTOK_NAME, "for")) return parse_for(p, ret);
    if (jinja_take(p, JTOK_NAME, "set")) return parse_set(p, ret);
    if (jinja_take(p, JTOK_NAME, "macro")) return parse_macro(p, ret);
    if (jinja_take(p, JTOK_NAME, "call")) return parse_call_block(p, ret);
    if (jinja_take(p, JTOK_NAME, "with")) return parse_with(p, ret);
    if (jinja_take(p, JTOK_NAME, "generation")) return whole_body(p, end_generation, ret);
    if (jinja_take(p, JTOK_NAME, "break")) return parse_flow(p, JN_BREAK, ret);
    if (jinja_take(p, JTOK_NAME, "continue")) return parse_flow(p, JN_CONTINUE, ret);
    if (jinja_take(p, JTOK_NAME, "filter")) {
        jinja_node *n = jinja_node_new(p, JN_FILTER_BLOCK);
        *ret = n;
        TRY(jinja_filter_chain(p, NULL, &n->b));
        return whole_body(p, end_filter, &n->a);
    }
    if (jinja_take(p, JTOK_NAME, "do")) {
        jinja_node *n = jinja_node_new(p, JN_EXPR);
        *ret = n;
        TRY(jinja_tuple_expr(p, true, &n->a));
        return block_end(p);
    }
    return jinja_parse_fail(p, ERR_FORMAT, "unknown tag '" STR_FMT "'",
                            STR_ARG(str_sub(p->t->text, 0, 80)));
}

static err_code parse_one(jinja_parser *p, jinja_node **ret) {
    jinja_node *n = NULL;
    if (p->t->kind == JTOK_TEXT) {
        n = jinja_node_new(p, JN_TEXT);
        n->text = (jstr){.text = p->t->text, .trusted = true};
        p->t++;
    } else if (jinja_take(p, JTOK_VAR_BEGIN, NULL)) {
        n = jinja_node_new(p, JN_PRINT);
        TRY(jinja_tuple_expr(p, true, &n->a));
        TRY(jinja_expect(p, JTOK_VAR_END, NULL));
    } else {
        TRY(jinja_expect(p, JTOK_BLOCK_BEGIN, NULL));
        TRY(parse_block(p, &n));
    }
    *ret = n;
    return ERR_OK;
}

static bool at_end_word(const jinja_parser *p, const char *const *ends) {
    if (p->t->kind != JTOK_BLOCK_BEGIN || p->t[1].kind != JTOK_NAME || !ends) return false;
    for (; *ends; ends++)
        if (str_eq(p->t[1].text, str_from(*ends))) return true;
    return false;
}

static err_code body_items(jinja_parser *p, const char *const *ends, node_vec *v) {
    while (!at_end_word(p, ends)) {
        if (p->t->kind == JTOK_END) {
            if (!ends) return ERR_OK;
            return jinja_parse_fail(p, ERR_FORMAT, "the template ends without its %s",
                                    ends[1] && ends[2] ? ends[2]
                                    : ends[1]          ? ends[1]
                                                       : ends[0]);
        }
        jinja_node *n = NULL;
        TRY(parse_one(p, &n));
        VEC_PUSH(*v, n);
    }
    p->t++;
    return ERR_OK;
}

static err_code parse_body(jinja_parser *p, const char *const *ends, jinja_node **ret) {
    if (++p->depth > LIMIT_TEMPLATE_DEPTH)
        return jinja_parse_fail(p, ERR_LIMIT, "blocks nested too deeply");
    jinja_node *n = jinja_node_new(p, JN_BODY);
    node_vec v = {0};
    err_code code = body_items(p, ends, &v);
    n->n_kids = v.len;
    n->kids = arena_dup(p->j->mem, v.items, v.len * sizeof *v.items);
    VEC_FINISH(v);
    p->depth--;
    *ret = n;
    return code;
}

err_code jinja_parse(jinja_parser *p, jinja_node **ret) {
    return parse_body(p, NULL, ret);
}

/* Newlines become \n, and one at the end goes. */
static str normal_source(arena *a, str source) {
    buf b = {0};
    for (size_t i = 0; i < source.len; i++) {
        char c = source.ptr[i];
        if (c == '\r') {
            if (i + 1 < source.len && source.ptr[i + 1] == '\n') i++;
            c = '\n';
        }
        buf_put_char(&b, c);
    }
    if (b.len > 0 && b.ptr[b.len - 1] == '\n') b.len--;
    str s = str_dup(a, buf_str(&b));
    buf_finish(&b);
    return s;
}

err_code jinja_compile(str source, jinja **ret, err *e) {
    if (source.len > LIMIT_TEMPLATE_BYTES)
        FAIL(e, LIMIT, "the template has %zu bytes, at most %u are allowed", source.len,
             LIMIT_TEMPLATE_BYTES);
    jinja *j = mem_zalloc(sizeof *j);
    j->mem = arena_create(0);
    jinja_name_id(j, STR("loop")); /* JINJA_LOOP_ID */
    jinja_toks toks = {0};
    err_code code = jinja_lex(normal_source(j->mem, source), j->mem, &toks, e);
    if (code == ERR_OK) {
        jinja_parser p = {.j = j, .t = toks.items, .e = e};
        code = jinja_parse(&p, &j->root);
    }
    VEC_FINISH(toks);
    if (code != ERR_OK)
        jinja_destroy(&j);
    else
        *ret = j;
    return code;
}

void jinja_destroy(jinja **j) {
    if (!j || !*j) return;
    map_finish(&(*j)->names);
    arena_destroy(&(*j)->mem);
    mem_free(*j);
    *j = NULL;
}

bool jinja_uses(const jinja *j, str name) {
    return map_has(&j->names, name);
}
