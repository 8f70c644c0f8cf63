/* Calls: macros, the global functions and the arguments they take. */
#include "model/jinja/jinja_impl.h"
#include <string.h>
#include <time.h>

#define MAX_RANGE 100000 /* items; the reference's sandbox has the same bound */

bool jargs_get(const jargs *a, size_t index, const char *name, jval *ret) {
    if (index < a->n) {
        *ret = a->pos[index];
        return true;
    }
    for (size_t i = 0; name && i < a->n_kw; i++) {
        if (!str_eq(a->kw_names[i], str_from(name))) continue;
        *ret = a->kw[i];
        return true;
    }
    return false;
}

err_code jargs_int(jinja_run *r, const jargs *a, size_t index, const char *name, int64_t *ret) {
    jval v;
    if (!jargs_get(a, index, name, &v)) return ERR_OK;
    if (v.kind == JV_UNDEF) return jval_undef_fail(r, v);
    if (v.kind == JV_INT)
        *ret = v.as.integer;
    else if (v.kind == JV_BOOL)
        *ret = v.as.boolean;
    else if (v.kind != JV_NONE)
        JFAIL(r, "a whole number is needed, not %s", jval_type(v));
    return ERR_OK;
}

bool jargs_bool(const jargs *a, size_t index, const char *name, bool otherwise) {
    jval v;
    return jargs_get(a, index, name, &v) ? jval_true(v) : otherwise;
}

err_code jargs_need(jinja_run *r, const jargs *a, size_t index, const char *what, jval *ret) {
    if (!jargs_get(a, index, NULL, ret)) JFAIL(r, "%s: argument %zu is missing", what, index + 1);
    return ERR_OK;
}

jval jinja_func_new(jinja_run *r, jfunc f) {
    jfunc *p = jinja_alloc(r, sizeof *p);
    *p = f;
    return (jval){.kind = JV_FUNC, .as.func = p};
}

/* ---- macros ---- */

static err_code bind_params(jinja_run *r, const jfunc *f, const jargs *args) {
    const jinja_node *n = f->node;
    if (args->n > n->n_kids)
        JFAIL(r, "macro '" STR_FMT "' takes %zu arguments, not %zu", STR_ARG(f->name), n->n_kids,
              args->n);
    TRY(jinja_step(r, args->n_kw * n->n_kids / 8));
    for (size_t k = 0; k < args->n_kw; k++) {
        bool known = str_eq(args->kw_names[k], STR("caller"));
        for (size_t i = 0; !known && i < n->n_kids; i++)
            known = str_eq(args->kw_names[k], n->kids[i]->name);
        if (!known)
            JFAIL(r, "macro '" STR_FMT "' has no argument '" STR_FMT "'", STR_ARG(f->name),
                  STR_ARG(args->kw_names[k]));
    }
    for (size_t i = 0; i < n->n_kids; i++) {
        const jinja_node *param = n->kids[i];
        jval v = {.kind = JV_UNDEF};
        bool given = i < args->n;
        if (given) v = args->pos[i];
        for (size_t k = 0; k < args->n_kw && !given; k++) {
            given = str_eq(args->kw_names[k], param->name);
            if (given) v = args->kw[k];
        }
        if (!given && n->args.values[i])
            TRY(jinja_eval(r, n->args.values[i], &v));
        else if (!given)
            v = jval_undef(r, JV_UNDEF, param->name);
        jinja_scope_set(r, r->scope, param->id, v);
    }
    return ERR_OK;
}

err_code jinja_call_macro(jinja_run *r, const jfunc *f, const jargs *args, const jval *caller,
                          jval *ret) {
    TRY(jinja_enter(r));
    jinja_scope *outer = r->scope;
    r->scope = jinja_scope_push(r, f->scope);
    int64_t id = 0;
    if (caller && map_get(&r->j->names, STR("caller"), &id))
        jinja_scope_set(r, r->scope, (uint32_t)id, *caller);
    TRY(bind_params(r, f, args));
    TRY(jinja_capture(r, f->node->a, ret));
    r->scope = outer;
    jinja_leave(r);
    return ERR_OK;
}

/* ---- global functions ---- */

static err_code call_range(jinja_run *r, const jargs *a, jval *ret) {
    int64_t from = 0, to = 0, step = 1;
    if (a->n == 0 || a->n > 3) JFAIL(r, "range needs one to three numbers");
    TRY(jargs_int(r, a, a->n > 1 ? 1 : 0, NULL, &to));
    if (a->n > 1) TRY(jargs_int(r, a, 0, NULL, &from));
    TRY(jargs_int(r, a, 2, NULL, &step));
    if (step == 0) JFAIL(r, "range cannot step by zero");
    uint64_t dist = 0, by = step > 0 ? (uint64_t)step : 0 - (uint64_t)step;
    if (step > 0 && to > from) dist = (uint64_t)to - (uint64_t)from;
    if (step < 0 && to < from) dist = (uint64_t)from - (uint64_t)to;
    uint64_t n = dist / by + (dist % by != 0);
    if (n > MAX_RANGE)
        return jinja_fail(r, ERR_LIMIT, "range too big, at most %d items are allowed", MAX_RANGE);
    TRY(jinja_step(r, n));
    jval l = jval_list(r, JV_LIST, n);
    for (uint64_t i = 0; i < n; i++) jlist_push(r, l.as.list, jval_int(from + (int64_t)i * step));
    *ret = l;
    return ERR_OK;
}

/* dict(...) and namespace(...): a map, pairs, keyword arguments. */
static err_code call_map(jinja_run *r, jval_kind kind, const jargs *a, jval *ret) {
    jval m = jval_map(r, kind), src;
    if (jargs_get(a, 0, NULL, &src)) {
        jlist *items = NULL;
        TRY(jval_iterate(r, src, &items));
        for (size_t i = 0; i < items->len; i++) {
            if (src.kind == JV_MAP) {
                jmap_set(r, m.as.map, src.as.map->items[i].key, src.as.map->items[i].val);
                continue;
            }
            jlist *pair = NULL;
            TRY(jval_iterate(r, items->items[i], &pair));
            if (pair->len != 2) JFAIL(r, "dict needs pairs");
            jmap_set(r, m.as.map, pair->items[0], pair->items[1]);
        }
    }
    for (size_t i = 0; i < a->n_kw; i++)
        jmap_set(r, m.as.map, jstr_val(r, a->kw_names[i], true), a->kw[i]);
    *ret = m;
    return ERR_OK;
}

static err_code call_raise(jinja_run *r, const jargs *a) {
    jval msg;
    if (!jargs_get(a, 0, "message", &msg)) msg = jstr_val(r, STR("refused"), true);
    str text = str_sub(jval_text(r, msg).as.text->text, 0, 800);
    return jinja_fail(r, ERR_INVALID, STR_FMT, STR_ARG(text));
}

static err_code call_strftime(jinja_run *r, const jargs *a, jval *ret) {
    jval fmt = jval_none();
    TRY(jargs_need(r, a, 0, "strftime_now", &fmt));
    if (fmt.kind != JV_STR || fmt.as.text->text.len > 100)
        JFAIL(r, "strftime_now needs a short format");
    time_t now = (time_t)r->now;
    struct tm tm = {0};
    if (!gmtime_r(&now, &tm)) JFAIL(r, "strftime_now: no such time");
    char *out = jinja_alloc(r, 1024);
    size_t (*const write)(char *, size_t, const char *, const struct tm *) = strftime;
    size_t n = write(out, 1024, str_cstr(r->mem, fmt.as.text->text), &tm);
    const jstr *f = fmt.as.text;
    *ret = jstr_val(r, (str){out, n}, f->n_runs == 0 && f->trusted);
    return ERR_OK;
}

static err_code call_cycler(jinja_run *r, const jargs *a, jval *ret) {
    jval l = jval_list(r, JV_LIST, a->n);
    for (size_t i = 0; i < a->n; i++) jlist_push(r, l.as.list, a->pos[i]);
    if (a->n == 0) JFAIL(r, "cycler needs at least one value");
    size_t *state = jinja_alloc(r, sizeof *state);
    *state = 0;
    *ret = jinja_func_new(
        r, (jfunc){.kind = JFUNC_CYCLER, .name = STR("cycler"), .self = l, .state = state});
    return ERR_OK;
}

static err_code call_joiner(jinja_run *r, const jargs *a, jval *ret) {
    jval sep;
    if (!jargs_get(a, 0, "sep", &sep)) sep = jstr_val(r, STR(", "), true);
    size_t *state = jinja_alloc(r, sizeof *state);
    *state = 0;
    *ret = jinja_func_new(
        r, (jfunc){.kind = JFUNC_JOINER, .name = STR("joiner"), .self = sep, .state = state});
    return ERR_OK;
}

static const char *const global_names[] = {"range",        "namespace", "dict",  "raise_exception",
                                           "strftime_now", "cycler",    "joiner"};

bool jinja_global(jinja_run *r, str name, jval *ret) {
    for (size_t i = 0; i < COUNT_OF(global_names); i++) {
        if (!str_eq(name, str_from(global_names[i]))) continue;
        *ret = jinja_func_new(r, (jfunc){.kind = JFUNC_GLOBAL, .name = str_from(global_names[i])});
        return true;
    }
    return false;
}

static err_code call_global(jinja_run *r, str name, const jargs *a, jval *ret) {
    if (str_eq(name, STR("range"))) return call_range(r, a, ret);
    if (str_eq(name, STR("namespace"))) return call_map(r, JV_SPACE, a, ret);
    if (str_eq(name, STR("dict"))) return call_map(r, JV_MAP, a, ret);
    if (str_eq(name, STR("raise_exception"))) return call_raise(r, a);
    if (str_eq(name, STR("strftime_now"))) return call_strftime(r, a, ret);
    if (str_eq(name, STR("cycler"))) return call_cycler(r, a, ret);
    return call_joiner(r, a, ret);
}

err_code jinja_call_value(jinja_run *r, jval fn, const jargs *args, jval *ret) {
    TRY(jinja_step(r, 1));
    if (fn.kind == JV_UNDEF) return jval_undef_fail(r, fn);
    if (fn.kind != JV_FUNC) JFAIL(r, "%s cannot be called", jval_type(fn));
    const jfunc *f = fn.as.func;
    switch (f->kind) {
    case JFUNC_MACRO:
        return jinja_call_macro(r, f, args, NULL, ret);
    case JFUNC_METHOD:
        return jinja_method(r, f->self, f->name, args, ret);
    case JFUNC_GLOBAL:
        return call_global(r, f->name, args, ret);
    case JFUNC_CYCLER:
        return jinja_method(r, fn, STR("next"), args, ret);
    case JFUNC_JOINER:
        *ret = *f->state ? f->self : jstr_val(r, STR(""), true);
        *f->state = 1;
        return ERR_OK;
    }
    JFAIL(r, "this cannot be called");
}
