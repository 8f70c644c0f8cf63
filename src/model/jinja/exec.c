/* Statements, scopes, and a whole run from variables to segments.
 *
 * Scopes are searched outwards; a loop's body gets a fresh one per round, so what it sets is gone
 * in the next (namespaces are how templates carry things over). Output goes to run->out. */
#include "model/jinja/jinja_impl.h"
#include <string.h>

jinja_scope *jinja_scope_push(jinja_run *r, jinja_scope *parent) {
    jinja_scope *s = jinja_alloc(r, sizeof *s);
    *s = (jinja_scope){.parent = parent};
    return s;
}

void jinja_scope_set(jinja_run *r, jinja_scope *s, uint32_t id, jval v) {
    r->steps += s->len / 16;
    for (size_t i = 0; i < s->len; i++) {
        if (s->vars[i].id != id) continue;
        s->vars[i].val = v;
        return;
    }
    if (s->len == s->cap) {
        s->cap = s->cap ? s->cap * 2 : 4;
        jinja_var *vars = jinja_alloc(r, s->cap * sizeof *vars);
        if (s->len) memcpy(vars, s->vars, s->len * sizeof *vars);
        s->vars = vars;
    }
    s->vars[s->len++] = (jinja_var){id, v};
}

err_code jinja_assign(jinja_run *r, const jinja_node *target, jval v) {
    if (target->kind == JN_NAME) {
        jinja_scope_set(r, r->scope, target->id, v);
        return ERR_OK;
    }
    if (target->kind == JN_ATTR) {
        jval obj;
        TRY(jinja_eval(r, target->a, &obj));
        if (obj.kind != JV_SPACE)
            JFAIL(r, "only attributes of a namespace can be set, not those of %s", jval_type(obj));
        jmap_set(r, obj.as.map, jstr_val(r, target->name, true), v);
        return ERR_OK;
    }
    jlist *items = NULL;
    TRY(jval_iterate(r, v, &items));
    if (items->len != target->n_kids)
        JFAIL(r, "cannot unpack %zu values into %zu names", items->len, target->n_kids);
    for (size_t i = 0; i < items->len; i++) TRY(jinja_assign(r, target->kids[i], items->items[i]));
    return ERR_OK;
}

err_code jinja_capture(jinja_run *r, const jinja_node *body, jval *ret) {
    jbuf b, *outer = r->out;
    jbuf_init(&b, r);
    r->out = &b;
    err_code code = jinja_exec(r, body);
    r->out = outer;
    *ret = jbuf_take(&b);
    return code;
}

/* The items that pass the loop's `if`. */
static err_code filter_items(jinja_run *r, const jinja_node *n, jlist **items) {
    jinja_scope *outer = r->scope;
    jval kept = jval_list(r, JV_LIST, 0);
    for (size_t i = 0; i < (*items)->len; i++) {
        jval cond, v = (*items)->items[i];
        r->scope = jinja_scope_push(r, outer);
        TRY(jinja_assign(r, n->a, v));
        TRY(jinja_eval(r, n->c, &cond));
        if (jval_true(cond)) jlist_push(r, kept.as.list, v);
    }
    r->scope = outer;
    *items = kept.as.list;
    return ERR_OK;
}

static err_code exec_for(jinja_run *r, const jinja_node *n) {
    jval over;
    jlist *items = NULL;
    TRY(jinja_eval(r, n->b, &over));
    TRY(jval_iterate(r, over, &items));
    if (n->c) TRY(filter_items(r, n, &items));
    jinja_scope *outer = r->scope;
    jlist *copy = jinja_alloc(r, sizeof *copy); /* the body may append to the list */
    *copy = *items;
    jloop *loop = jinja_alloc(r, sizeof *loop);
    *loop = (jloop){
        .list = copy,
    };
    for (; loop->index < copy->len; loop->index++) {
        TRY(jinja_step(r, 1));
        r->scope = jinja_scope_push(r, outer);
        jinja_scope_set(r, r->scope, JINJA_LOOP_ID, (jval){.kind = JV_LOOP, .as.loop = loop});
        TRY(jinja_assign(r, n->a, copy->items[loop->index]));
        TRY(jinja_exec(r, n->kids[0]));
        bool stop = r->flow == JFLOW_BREAK;
        r->flow = JFLOW_NONE;
        if (stop) break;
    }
    r->scope = outer;
    if (copy->len == 0 && n->kids[1]) {
        r->scope = jinja_scope_push(r, outer);
        TRY(jinja_exec(r, n->kids[1]));
        r->scope = outer;
    }
    return ERR_OK;
}

static err_code exec_if(jinja_run *r, const jinja_node *n) {
    for (;;) {
        jval cond;
        TRY(jinja_eval(r, n->a, &cond));
        if (jval_true(cond)) return jinja_exec(r, n->b);
        if (!n->c) return ERR_OK;
        if (n->c->kind != JN_IF) return jinja_exec(r, n->c);
        n = n->c;
    }
}

static err_code exec_set_block(jinja_run *r, const jinja_node *n) {
    jinja_scope *outer = r->scope;
    jval v;
    r->scope = jinja_scope_push(r, outer);
    TRY(jinja_capture(r, n->b, &v));
    r->scope = outer;
    if (n->c) TRY(jinja_eval_filter(r, n->c, v, &v));
    return jinja_assign(r, n->a, v);
}

static err_code exec_filter_block(jinja_run *r, const jinja_node *n) {
    jinja_scope *outer = r->scope;
    jval v;
    r->scope = jinja_scope_push(r, outer);
    TRY(jinja_capture(r, n->a, &v));
    r->scope = outer;
    TRY(jinja_eval_filter(r, n->b, v, &v));
    jval_print(r->out, v);
    return ERR_OK;
}

static err_code exec_with(jinja_run *r, const jinja_node *n) {
    jinja_scope *outer = r->scope, *inner = jinja_scope_push(r, outer);
    for (size_t i = 0; i + 1 < n->n_kids; i += 2) {
        jval v;
        r->scope = outer;
        TRY(jinja_eval(r, n->kids[i + 1], &v));
        r->scope = inner;
        TRY(jinja_assign(r, n->kids[i], v));
    }
    r->scope = inner;
    TRY(jinja_exec(r, n->a));
    r->scope = outer;
    return ERR_OK;
}

static jval macro_value(jinja_run *r, const jinja_node *n) {
    return jinja_func_new(
        r, (jfunc){.kind = JFUNC_MACRO, .name = n->name, .node = n, .scope = r->scope});
}

static err_code exec_call_block(jinja_run *r, const jinja_node *n) {
    jval fn, v, caller = macro_value(r, n->a);
    jargs args;
    TRY(jinja_eval(r, n->b->a, &fn));
    TRY(jinja_eval_args(r, &n->b->args, &args));
    if (fn.kind != JV_FUNC || fn.as.func->kind != JFUNC_MACRO) JFAIL(r, "call needs a macro");
    TRY(jinja_call_macro(r, fn.as.func, &args, &caller, &v));
    jval_print(r->out, v);
    return ERR_OK;
}

static err_code exec_body(jinja_run *r, const jinja_node *n) {
    for (size_t i = 0; i < n->n_kids && r->flow == JFLOW_NONE; i++) TRY(jinja_exec(r, n->kids[i]));
    return ERR_OK;
}

static err_code exec_node(jinja_run *r, const jinja_node *n) {
    jval v;
    switch (n->kind) {
    case JN_BODY:
        return exec_body(r, n);
    case JN_TEXT:
        jbuf_put_jstr(r->out, &n->text);
        return ERR_OK;
    case JN_PRINT:
        TRY(jinja_eval(r, n->a, &v));
        jval_print(r->out, v);
        return ERR_OK;
    case JN_EXPR:
        return jinja_eval(r, n->a, &v);
    case JN_SET:
        TRY(jinja_eval(r, n->b, &v));
        return jinja_assign(r, n->a, v);
    case JN_SET_BLOCK:
        return exec_set_block(r, n);
    case JN_FOR:
        return exec_for(r, n);
    case JN_IF:
        return exec_if(r, n);
    case JN_MACRO:
        jinja_scope_set(r, r->scope, n->id, macro_value(r, n));
        return ERR_OK;
    case JN_CALL_BLOCK:
        return exec_call_block(r, n);
    case JN_FILTER_BLOCK:
        return exec_filter_block(r, n);
    case JN_WITH:
        return exec_with(r, n);
    case JN_BREAK:
        r->flow = JFLOW_BREAK;
        return ERR_OK;
    case JN_CONTINUE:
        r->flow = JFLOW_CONTINUE;
        return ERR_OK;
    case JN_CONST:
    case JN_NAME:
    case JN_LIST:
    case JN_TUPLE:
    case JN_DICT:
    case JN_ATTR:
    case JN_ITEM:
    case JN_SLICE:
    case JN_CALL:
    case JN_FILTER:
    case JN_TEST:
    case JN_BINARY:
    case JN_NOT:
    case JN_NEG:
    case JN_POS:
    case JN_AND:
    case JN_OR:
    case JN_COND:
        break;
    }
    return err_set(r->e, ERR_INTERNAL, "an expression stands where a statement should");
}

err_code jinja_exec(jinja_run *r, const jinja_node *n) {
    TRY(jinja_step(r, 1));
    TRY(jinja_enter(r));
    r->line = n->line;
    err_code code = exec_node(r, n);
    jinja_leave(r);
    return code;
}

static void set_vars(jinja_run *r, const value *vars) {
    if (!vars || vars->kind != VALUE_MAP) return;
    for (size_t i = 0; i < vars->as.map.len; i++) {
        const value_pair *p = &vars->as.map.pairs[i];
        int64_t id = 0;
        if (map_get(&r->j->names, p->key, &id))
            jinja_scope_set(r, r->scope, (uint32_t)id, jval_from(r, p->val));
    }
}

static tok_segment *segments(arena *a, const jbuf *b) {
    tok_segment *segs = ARENA_ARRAY(a, tok_segment, b->n_runs ? b->n_runs : 1);
    const char *text = arena_dup(a, b->ptr, b->len);
    size_t from = 0;
    for (size_t i = 0; i < b->n_runs; i++) {
        segs[i] = (tok_segment){{text + from, b->runs[i].end - from}, b->runs[i].trusted};
        from = b->runs[i].end;
    }
    return segs;
}

err_code jinja_render(const jinja *j, const jinja_input *in, arena *a, const tok_segment **ret,
                      size_t *ret_n, err *e) {
    jbuf out;
    jinja_run r = {
        .j = j, .mem = arena_create(0), .e = e, .line = 1, .out = &out, .now = in->now_unix};
    jbuf_init(&out, &r);
    r.scope = jinja_scope_push(&r, NULL);
    set_vars(&r, in->vars);
    err_code code = jinja_exec(&r, j->root);
    if (code == ERR_OK) code = jinja_step(&r, 0);
    if (code == ERR_OK) {
        *ret = segments(a, &out);
        *ret_n = out.n_runs;
    }
    arena_destroy(&r.mem);
    return code;
}
