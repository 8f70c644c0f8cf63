/* Running a Go template: a tree walk with a dot, a stack of variables and limits. */
#include "base/limits.h"
#include "model/gotmpl/syntax.h"
#include <string.h>

typedef struct variable {
    str name;
    const value *val;
} variable;

typedef struct run {
    const gotmpl *t;
    go_env env;
    VEC(variable) vars; /* the first is $ */
    VEC(tok_segment) segs;
    buf text; /* of the segment at hand */
    bool trusted;
    size_t n_out;
    uint32_t steps;
    int depth;
} run;

typedef enum flow { FLOW_ON, FLOW_BREAK, FLOW_CONTINUE } flow;

static err_code run_list(run *r, const go_list *list, const value *dot, flow *ret);
static err_code eval_pipe(run *r, const go_pipe *p, const value *dot, const value **ret);

static err_code count_step(run *r) {
    if (++r->steps > LIMIT_TEMPLATE_STEPS) FAIL(r->env.e, LIMIT, "template: it runs for too long");
    if (arena_bytes(r->env.a) > LIMIT_TEMPLATE_MEMORY_BYTES)
        FAIL(r->env.e, LIMIT, "template: it takes too much memory");
    return ERR_OK;
}

/* ---- output ---- */

static void end_segment(run *r) {
    if (r->text.len == 0) return;
    str s = str_dup(r->env.a, buf_str(&r->text));
    VEC_PUSH(r->segs, (tok_segment){s, r->trusted});
    buf_clear(&r->text);
}

static err_code put(run *r, str s, bool trusted) {
    if (s.len == 0) return ERR_OK;
    r->n_out += s.len;
    if (r->n_out > LIMIT_TEMPLATE_OUTPUT_BYTES)
        FAIL(r->env.e, LIMIT, "template: its output is longer than %u bytes",
             LIMIT_TEMPLATE_OUTPUT_BYTES);
    if (trusted != r->trusted) end_segment(r);
    r->trusted = trusted;
    buf_put_str(&r->text, s);
    return ERR_OK;
}

/* ---- values ---- */

static err_code find_variable(run *r, str name, variable **ret) {
    for (size_t i = r->vars.len; i-- > 0;)
        if (str_eq(r->vars.items[i].name, name)) {
            *ret = &r->vars.items[i];
            return ERR_OK;
        }
    FAIL(r->env.e, FORMAT, "template: undefined variable \"$" STR_FMT "\"", STR_ARG(name));
}

/* p's variable i, a new one or one that is there. */
static err_code set_variable(run *r, const go_pipe *p, int i, const value *v) {
    variable *var;
    if (p->declares) {
        VEC_PUSH(r->vars, (variable){p->vars[i], v});
        return ERR_OK;
    }
    TRY(find_variable(r, p->vars[i], &var));
    var->val = v;
    return ERR_OK;
}

static err_code eval_operand(run *r, const go_operand *o, const value *dot, const value **ret) {
    const value *v = NULL;
    variable *var;
    TRY(count_step(r));
    switch (o->kind) {
    case GO_DOT:
    case GO_FIELD:
        v = dot;
        break;
    case GO_VAR:
        TRY(find_variable(r, o->name, &var));
        v = var->val;
        break;
    case GO_CONST:
        v = o->constant;
        break;
    case GO_PAREN:
        TRY(eval_pipe(r, o->pipe, dot, &v));
        break;
    case GO_FUNC:
        TRY(go_call(&r->env, o->name, NULL, 0, &v));
        break;
    }
    for (size_t i = 0; i < o->n_fields; i++) TRY(go_field(&r->env, v, o->fields[i], &v));
    *ret = v;
    return ERR_OK;
}

/* and: the first that is false, or the last; or: the first that is true, or the last. */
static err_code eval_logic(run *r, const go_command *c, const value *dot, const value *final,
                           bool has_final, const value **ret) {
    bool stop_at = str_eq(c->operands[0].name, STR("or"));
    const value *v = NULL;
    if (c->n == 1 && !has_final) return go_call(&r->env, c->operands[0].name, NULL, 0, ret);
    for (size_t i = 1; i < c->n; i++) {
        TRY(eval_operand(r, &c->operands[i], dot, &v));
        if (go_truth(v) == stop_at) {
            *ret = v;
            return ERR_OK;
        }
    }
    *ret = has_final ? final : v;
    return ERR_OK;
}

/* `final` is what came through the pipe, has_final whether anything did. */
static err_code eval_command(run *r, const go_command *c, const value *dot, const value *final,
                             bool has_final, const value **ret) {
    enum { ARGS_MAX = 64 };
    const value *args[ARGS_MAX];
    const go_operand *f = &c->operands[0];
    size_t n = 0;
    if (f->kind != GO_FUNC || f->n_fields > 0) {
        if (c->n > 1 || has_final)
            FAIL(r->env.e, FORMAT, "template: :%d: can't give argument to non-function",
                 r->env.line);
        if (f->kind == GO_CONST && !f->constant)
            FAIL(r->env.e, FORMAT, "template: :%d: nil is not a command", r->env.line);
        return eval_operand(r, f, dot, ret);
    }
    if (str_eq(f->name, STR("and")) || str_eq(f->name, STR("or")))
        return eval_logic(r, c, dot, final, has_final, ret);
    if (c->n + 1 > ARGS_MAX) FAIL(r->env.e, LIMIT, "template: too many arguments");
    for (size_t i = 1; i < c->n; i++) TRY(eval_operand(r, &c->operands[i], dot, &args[n++]));
    if (has_final) args[n++] = final;
    return go_call(&r->env, f->name, args, n, ret);
}

static err_code eval_commands(run *r, const go_pipe *p, const value *dot, const value **ret) {
    const value *v = NULL;
    if (++r->depth > LIMIT_TEMPLATE_DEPTH) FAIL(r->env.e, LIMIT, "template: it is nested too deep");
    r->env.line = p->line;
    for (size_t i = 0; i < p->n; i++) TRY(eval_command(r, &p->commands[i], dot, v, i > 0, &v));
    r->depth--;
    *ret = v;
    return ERR_OK;
}

static err_code eval_pipe(run *r, const go_pipe *p, const value *dot, const value **ret) {
    TRY(eval_commands(r, p, dot, ret));
    for (int i = 0; i < p->n_vars; i++) TRY(set_variable(r, p, i, *ret));
    return ERR_OK;
}

/* ---- statements ---- */

/* One turn of a range; `key` and `item` go to its variables. */
static err_code run_turn(run *r, const go_node *n, const value *key, const value *item, flow *ret) {
    size_t mark = r->vars.len;
    const go_pipe *p = n->pipe;
    if (p->n_vars == 2) TRY(set_variable(r, p, 0, key));
    if (p->n_vars > 0) TRY(set_variable(r, p, p->n_vars - 1, item));
    err_code code = run_list(r, &n->body, item, ret);
    r->vars.len = mark;
    return code;
}

static err_code run_range(run *r, const go_node *n, const value *dot) {
    const value *v;
    flow f = FLOW_ON;
    arena *a = r->env.a;
    TRY(eval_commands(r, n->pipe, dot, &v));
    size_t len = !v                      ? 0
                 : v->kind == VALUE_LIST ? v->as.list.len
                 : v->kind == VALUE_MAP  ? v->as.map.len
                                         : 0;
    if (v && v->kind == VALUE_INT && v->as.integer > 0) len = (size_t)v->as.integer;
    if (v && (v->kind == VALUE_STR || v->kind == VALUE_BOOL || v->kind == VALUE_FLOAT))
        FAIL(r->env.e, FORMAT, "template: :%d: range can't iterate over this value", n->pipe->line);
    if (v && v->kind == VALUE_INT && n->pipe->n_vars > 1)
        FAIL(r->env.e, FORMAT, "template: :%d: a number gives one variable only", n->pipe->line);
    if (len == 0) return run_list(r, &n->otherwise, dot, &f);
    for (size_t i = 0; i < len && f != FLOW_BREAK; i++) {
        TRY(count_step(r));
        if (v->kind == VALUE_MAP)
            TRY(run_turn(r, n, value_str(a, v->as.map.pairs[i].key), v->as.map.pairs[i].val, &f));
        else if (v->kind == VALUE_LIST)
            TRY(run_turn(r, n, value_int(a, (int64_t)i), v->as.list.items[i], &f));
        else
            TRY(run_turn(r, n, value_int(a, (int64_t)i), value_int(a, (int64_t)i), &f));
    }
    return ERR_OK;
}

/* Another template: it sees its own $ and none of our variables. */
static err_code run_define(run *r, const go_node *n, const value *dot) {
    const value *arg = NULL;
    flow f;
    if (n->pipe) TRY(eval_pipe(r, n->pipe, dot, &arg));
    for (size_t i = 0; i < r->t->defines.len; i++) {
        if (!str_eq(r->t->defines.items[i].name, n->text)) continue;
        if (++r->depth > LIMIT_TEMPLATE_DEPTH)
            FAIL(r->env.e, LIMIT, "template: templates call each other too deep");
        size_t mark = r->vars.len;
        VEC_PUSH(r->vars, (variable){(str){0}, arg});
        err_code code = run_list(r, &r->t->defines.items[i].body, arg, &f);
        r->vars.len = mark;
        r->depth--;
        return code;
    }
    FAIL(r->env.e, FORMAT, "template: template \"" STR_FMT "\" not defined", STR_ARG(n->text));
}

static err_code run_choice(run *r, const go_node *n, const value *dot, flow *ret) {
    const value *v;
    size_t mark = r->vars.len;
    TRY(eval_pipe(r, n->pipe, dot, &v));
    bool yes = go_truth(v);
    const value *inner = yes && n->kind == GO_WITH ? v : dot;
    err_code code = run_list(r, yes ? &n->body : &n->otherwise, inner, ret);
    r->vars.len = mark;
    return code;
}

static err_code run_node(run *r, const go_node *n, const value *dot, flow *ret) {
    const value *v;
    bool trusted = true;
    TRY(count_step(r));
    switch (n->kind) {
    case GO_TEXT:
        return put(r, n->text, true);
    case GO_PRINT:
        TRY(eval_pipe(r, n->pipe, dot, &v));
        if (n->pipe->n_vars > 0) return ERR_OK;
        str text = go_text(r->env.a, v, &trusted);
        return put(r, text, trusted);
    case GO_IF:
    case GO_WITH:
        return run_choice(r, n, dot, ret);
    case GO_RANGE:
        return run_range(r, n, dot);
    case GO_TEMPLATE:
        return run_define(r, n, dot);
    case GO_BREAK:
        *ret = FLOW_BREAK;
        return ERR_OK;
    case GO_CONTINUE:
        *ret = FLOW_CONTINUE;
        return ERR_OK;
    }
    return ERR_OK;
}

static err_code run_list(run *r, const go_list *list, const value *dot, flow *ret) {
    *ret = FLOW_ON;
    for (size_t i = 0; i < list->len && *ret == FLOW_ON; i++)
        TRY(run_node(r, list->items[i], dot, ret));
    return ERR_OK;
}

err_code gotmpl_render(const gotmpl *t, const gotmpl_input *in, arena *a, const tok_segment **ret,
                       size_t *ret_n, err *e) {
    run r = {.t = t, .env = {a, in->now_unix, e, 0}, .trusted = true};
    flow f;
    VEC_PUSH(r.vars, (variable){(str){0}, in->data});
    err_code code = run_list(&r, &t->body, in->data, &f);
    if (code == ERR_OK) {
        end_segment(&r);
        *ret = arena_dup(a, r.segs.items, r.segs.len * sizeof(tok_segment));
        *ret_n = r.segs.len;
    }
    VEC_FINISH(r.vars);
    VEC_FINISH(r.segs);
    buf_finish(&r.text);
    return code;
}
