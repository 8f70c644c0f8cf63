/* Expressions of the syntax tree to values. Every node costs a step and a level of depth. */
#include "model/jinja/jinja_impl.h"
#include <stdarg.h>
#include <stdio.h>

/* Levels of the running program; frames are small, so more than the source may nest. */
#define MAX_DEPTH (8 * LIMIT_TEMPLATE_DEPTH)

err_code jinja_fail(jinja_run *r, err_code code, const char *fmt, ...) {
    char msg[ERR_MSG_BYTES - 64];
    va_list args;
    va_start(args, fmt);
    vsnprintf(msg, sizeof msg, fmt, args);
    va_end(args);
    return err_set(r->e, code, "template line %d: %s", r->line, msg);
}

void *jinja_alloc(jinja_run *r, size_t n_bytes) {
    r->bytes += n_bytes;
    if (r->bytes > LIMIT_TEMPLATE_MEMORY_BYTES) r->over = true;
    return arena_alloc(r->mem, n_bytes);
}

err_code jinja_step(jinja_run *r, size_t n) {
    r->steps += n;
    if (r->steps > LIMIT_TEMPLATE_STEPS)
        return jinja_fail(r, ERR_LIMIT, "the template runs too long");
    if (r->over) return jinja_fail(r, ERR_LIMIT, "the template makes too much text or data");
    return ERR_OK;
}

bool jinja_work(jinja_run *r, size_t n) {
    r->steps += n;
    if (r->steps > LIMIT_TEMPLATE_STEPS) r->over = true;
    return !r->over;
}

err_code jinja_enter(jinja_run *r) {
    if (++r->depth <= MAX_DEPTH) return ERR_OK;
    r->over = true;
    return jinja_fail(r, ERR_LIMIT, "calls or data nested too deeply");
}

void jinja_leave(jinja_run *r) {
    r->depth--;
}

static err_code lookup(jinja_run *r, const jinja_node *n, jval *ret) {
    for (const jinja_scope *s = r->scope; s; s = s->parent) {
        TRY(jinja_step(r, s->len / 16 + 1));
        for (size_t i = 0; i < s->len; i++) {
            if (s->vars[i].id != n->id) continue;
            *ret = s->vars[i].val;
            return ERR_OK;
        }
    }
    if (!jinja_global(r, n->name, ret)) *ret = jval_undef(r, JV_UNDEF, n->name);
    return ERR_OK;
}

static err_code eval_list(jinja_run *r, const jinja_node *n, jval *ret) {
    jval l = jval_list(r, n->kind == JN_LIST ? JV_LIST : JV_TUPLE, n->n_kids);
    for (size_t i = 0; i < n->n_kids; i++) {
        jval v;
        TRY(jinja_eval(r, n->kids[i], &v));
        jlist_push(r, l.as.list, v);
    }
    *ret = l;
    return ERR_OK;
}

static err_code eval_dict(jinja_run *r, const jinja_node *n, jval *ret) {
    jval m = jval_map(r, JV_MAP);
    for (size_t i = 0; i + 1 < n->n_kids; i += 2) {
        jval key, val;
        TRY(jinja_eval(r, n->kids[i], &key));
        TRY(jinja_eval(r, n->kids[i + 1], &val));
        jmap_set(r, m.as.map, key, val);
    }
    *ret = m;
    return ERR_OK;
}

static err_code eval_slice(jinja_run *r, const jinja_node *n, jval *ret) {
    jval obj, bounds[3];
    TRY(jinja_eval(r, n->a, &obj));
    for (size_t i = 0; i < 3; i++) {
        bounds[i] = jval_none();
        if (n->kids[i]) TRY(jinja_eval(r, n->kids[i], &bounds[i]));
    }
    return jinja_slice(r, obj, bounds, ret);
}

err_code jinja_eval_args(jinja_run *r, const jinja_call *c, jargs *ret) {
    jval *values = c->n ? jinja_alloc(r, c->n * sizeof *values) : NULL;
    size_t n_pos = 0;
    for (size_t i = 0; i < c->n; i++) {
        TRY(jinja_eval(r, c->values[i], &values[i]));
        if (c->names[i].len == 0) n_pos = i + 1;
    }
    *ret = (jargs){.pos = values, .n = n_pos};
    if (c->n > n_pos) {
        ret->n_kw = c->n - n_pos;
        ret->kw = values + n_pos;
        ret->kw_names = c->names + n_pos;
    }
    return ERR_OK;
}

static err_code eval_call(jinja_run *r, const jinja_node *n, jval *ret) {
    jval fn;
    jargs args;
    TRY(jinja_eval(r, n->a, &fn));
    TRY(jinja_eval_args(r, &n->args, &args));
    r->line = n->line;
    return jinja_call_value(r, fn, &args, ret);
}

/* Templates may name filters and tests that do not exist, as long as they do not get there. */
static err_code apply_filter(jinja_run *r, const jinja_node *n, jval in, jval *ret) {
    jargs args;
    TRY(jinja_eval_args(r, &n->args, &args));
    r->line = n->line;
    jfilter_fn fn = jinja_filter_find(n->name);
    if (!fn) JFAIL(r, "no filter named '" STR_FMT "'", STR_ARG(str_sub(n->name, 0, 80)));
    TRY(fn(r, in, &args, ret));
    return jinja_step(r, 1);
}

err_code jinja_eval_filter(jinja_run *r, const jinja_node *n, jval in, jval *ret) {
    if (n->a && n->a->kind == JN_FILTER) { /* the chain of a block: its first filter is innermost */
        TRY(jinja_eval_filter(r, n->a, in, &in));
    }
    return apply_filter(r, n, in, ret);
}

static err_code eval_filter(jinja_run *r, const jinja_node *n, jval *ret) {
    jval in;
    TRY(jinja_eval(r, n->a, &in));
    return apply_filter(r, n, in, ret);
}

static err_code eval_test(jinja_run *r, const jinja_node *n, jval *ret) {
    jval in;
    jargs args;
    bool yes = false;
    TRY(jinja_eval(r, n->a, &in));
    TRY(jinja_eval_args(r, &n->args, &args));
    jtest_fn test = jinja_test_find(n->name);
    if (!test) JFAIL(r, "no test named '" STR_FMT "'", STR_ARG(str_sub(n->name, 0, 80)));
    TRY(test(r, in, &args, &yes));
    *ret = jval_bool(yes);
    return ERR_OK;
}

static err_code eval_sign(jinja_run *r, const jinja_node *n, jval *ret) {
    jval v;
    TRY(jinja_eval(r, n->a, &v));
    if (v.kind == JV_UNDEF) return jval_undef_fail(r, v);
    if (!jval_is_number(v)) JFAIL(r, "%s has no sign", jval_type(v));
    if (n->kind == JN_POS) {
        *ret = v.kind == JV_BOOL ? jval_int(v.as.boolean) : v;
        return ERR_OK;
    }
    if (v.kind == JV_FLOAT) {
        *ret = jval_float(-v.as.number);
        return ERR_OK;
    }
    return jinja_binary(r, JOP_SUB, jval_int(0), v, ret);
}

static err_code eval_logic(jinja_run *r, const jinja_node *n, jval *ret) {
    jval v;
    TRY(jinja_eval(r, n->a, &v));
    if (n->kind == JN_NOT) {
        *ret = jval_bool(!jval_true(v));
        return ERR_OK;
    }
    if (jval_true(v) == (n->kind == JN_OR)) {
        *ret = v;
        return ERR_OK;
    }
    return jinja_eval(r, n->b, ret);
}

static err_code eval_cond(jinja_run *r, const jinja_node *n, jval *ret) {
    jval cond;
    TRY(jinja_eval(r, n->b, &cond));
    if (jval_true(cond)) return jinja_eval(r, n->a, ret);
    if (n->c) return jinja_eval(r, n->c, ret);
    *ret = jval_undef(r, JV_UNDEF, STR("the inline if without else"));
    return ERR_OK;
}

static err_code eval_node(jinja_run *r, const jinja_node *n, jval *ret) {
    jval a, b;
    switch (n->kind) {
    case JN_CONST:
        *ret = n->val;
        return ERR_OK;
    case JN_NAME:
        return lookup(r, n, ret);
    case JN_LIST:
    case JN_TUPLE:
        return eval_list(r, n, ret);
    case JN_DICT:
        return eval_dict(r, n, ret);
    case JN_ATTR:
        TRY(jinja_eval(r, n->a, &a));
        r->line = n->line;
        return jinja_get_attr(r, a, n->name, ret);
    case JN_ITEM:
        TRY(jinja_eval(r, n->a, &a));
        TRY(jinja_eval(r, n->b, &b));
        r->line = n->line;
        return jinja_get_item(r, a, b, ret);
    case JN_SLICE:
        return eval_slice(r, n, ret);
    case JN_CALL:
        return eval_call(r, n, ret);
    case JN_FILTER:
        return eval_filter(r, n, ret);
    case JN_TEST:
        return eval_test(r, n, ret);
    case JN_BINARY:
        TRY(jinja_eval(r, n->a, &a));
        TRY(jinja_eval(r, n->b, &b));
        r->line = n->line;
        return jinja_binary(r, n->op, a, b, ret);
    case JN_NEG:
    case JN_POS:
        return eval_sign(r, n, ret);
    case JN_NOT:
    case JN_AND:
    case JN_OR:
        return eval_logic(r, n, ret);
    case JN_COND:
        return eval_cond(r, n, ret);
    case JN_BODY:
    case JN_TEXT:
    case JN_PRINT:
    case JN_EXPR:
    case JN_SET:
    case JN_SET_BLOCK:
    case JN_FOR:
    case JN_IF:
    case JN_MACRO:
    case JN_CALL_BLOCK:
    case JN_FILTER_BLOCK:
    case JN_WITH:
    case JN_BREAK:
    case JN_CONTINUE:
        break;
    }
    return err_set(r->e, ERR_INTERNAL, "a statement stands where an expression should");
}

err_code jinja_eval(jinja_run *r, const jinja_node *n, jval *ret) {
    TRY(jinja_step(r, 1));
    TRY(jinja_enter(r));
    r->line = n->line;
    err_code code = eval_node(r, n, ret);
    jinja_leave(r);
    return code;
}
