/* Methods of lists, maps, loops and cyclers; method_text.c has those of strings. */
#include "model/jinja/jinja_impl.h"
#include <string.h>

static const char *const list_methods[] = {"append", "extend", "insert",  "pop",   "remove",
                                           "index",  "count",  "reverse", "clear", "copy"};
static const char *const map_methods[] = {"items",  "keys",       "values", "get",  "pop",
                                          "update", "setdefault", "copy",   "clear"};
static const char *const loop_methods[] = {"cycle", "changed"};
static const char *const cycler_methods[] = {"next", "reset"};

static bool in_names(str name, const char *const *names, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (str_eq(name, str_from(names[i]))) return true;
    return false;
}

bool jinja_has_method(jval obj, str name) {
    switch (obj.kind) {
    case JV_STR:
        return jinja_has_text_method(name);
    case JV_LIST:
        return in_names(name, list_methods, COUNT_OF(list_methods));
    case JV_TUPLE:
        return str_eq(name, STR("index")) || str_eq(name, STR("count"));
    case JV_MAP:
        return in_names(name, map_methods, COUNT_OF(map_methods));
    case JV_LOOP:
        return in_names(name, loop_methods, COUNT_OF(loop_methods));
    case JV_FUNC:
        return obj.as.func->kind == JFUNC_CYCLER &&
               in_names(name, cycler_methods, COUNT_OF(cycler_methods));
    case JV_UNDEF:
    case JV_NONE:
    case JV_BOOL:
    case JV_INT:
    case JV_FLOAT:
    case JV_SPACE:
        break;
    }
    return false;
}

/* ---- lists ---- */

/* Place `at` of a list of n, counted from the end when negative. */
static size_t place(int64_t at, size_t n) {
    if (at < 0) at += (int64_t)n;
    if (at < 0) return 0;
    return (uint64_t)at > n ? n : (size_t)at;
}

static void list_remove(jlist *l, size_t at) {
    memmove(l->items + at, l->items + at + 1, (l->len - at - 1) * sizeof *l->items);
    l->len--;
}

static err_code list_pop(jinja_run *r, jlist *l, const jargs *a, jval *ret) {
    int64_t at = -1;
    TRY(jargs_int(r, a, 0, NULL, &at));
    if (at < 0) at += (int64_t)l->len;
    if (at < 0 || at >= (int64_t)l->len) JFAIL(r, "pop from an empty list or beyond its end");
    TRY(jinja_step(r, l->len / 64));
    *ret = l->items[at];
    list_remove(l, (size_t)at);
    return ERR_OK;
}

static err_code list_extend(jinja_run *r, jlist *l, jval v) {
    jlist *items = NULL;
    TRY(jval_iterate(r, v, &items));
    size_t n = items->len; /* may be the same list */
    TRY(jinja_step(r, n));
    for (size_t i = 0; i < n; i++) jlist_push(r, l, items->items[i]);
    return ERR_OK;
}

static err_code list_insert(jinja_run *r, jlist *l, const jargs *a) {
    int64_t at = 0;
    jval v;
    TRY(jargs_int(r, a, 0, NULL, &at));
    TRY(jargs_need(r, a, 1, "insert", &v));
    TRY(jinja_step(r, l->len / 64));
    size_t i = place(at, l->len);
    jlist_push(r, l, v);
    memmove(l->items + i + 1, l->items + i, (l->len - 1 - i) * sizeof *l->items);
    l->items[i] = v;
    return ERR_OK;
}

static err_code list_search(jinja_run *r, jlist *l, str name, const jargs *a, jval *ret) {
    jval v;
    int64_t count = 0;
    TRY(jargs_need(r, a, 0, "this method", &v));
    TRY(jinja_step(r, l->len));
    for (size_t i = 0; i < l->len; i++) {
        if (!jval_eq(r, l->items[i], v)) continue;
        count++;
        if (str_eq(name, STR("count"))) continue;
        *ret = jval_int((int64_t)i);
        if (str_eq(name, STR("remove"))) {
            list_remove(l, i);
            *ret = jval_none();
        }
        return ERR_OK;
    }
    if (!str_eq(name, STR("count"))) JFAIL(r, "the list has no such item");
    *ret = jval_int(count);
    return ERR_OK;
}

static err_code list_method(jinja_run *r, jval obj, str name, const jargs *a, jval *ret) {
    jlist *l = obj.as.list;
    jval v;
    *ret = jval_none();
    if (str_eq(name, STR("append"))) {
        TRY(jargs_need(r, a, 0, "append", &v));
        jlist_push(r, l, v);
    } else if (str_eq(name, STR("extend"))) {
        TRY(jargs_need(r, a, 0, "extend", &v));
        return list_extend(r, l, v);
    } else if (str_eq(name, STR("insert"))) {
        return list_insert(r, l, a);
    } else if (str_eq(name, STR("pop"))) {
        return list_pop(r, l, a, ret);
    } else if (str_eq(name, STR("reverse"))) {
        TRY(jinja_step(r, l->len));
        for (size_t i = 0; i < l->len / 2; i++) {
            v = l->items[i];
            l->items[i] = l->items[l->len - 1 - i];
            l->items[l->len - 1 - i] = v;
        }
    } else if (str_eq(name, STR("clear"))) {
        l->len = 0;
    } else if (str_eq(name, STR("copy"))) {
        *ret = jval_list(r, JV_LIST, l->len);
        return list_extend(r, ret->as.list, obj);
    } else {
        return list_search(r, l, name, a, ret);
    }
    return ERR_OK;
}

/* ---- maps ---- */

/* keys (0), values (1) or pairs (2) */
static err_code map_list(jinja_run *r, const jmap *m, int what, jval *ret) {
    TRY(jinja_step(r, m->len));
    jval l = jval_list(r, JV_LIST, m->len);
    for (size_t i = 0; i < m->len; i++) {
        jval v = what == 0 ? m->items[i].key : m->items[i].val;
        if (what == 2) {
            jval pair = jval_list(r, JV_TUPLE, 2);
            jlist_push(r, pair.as.list, m->items[i].key);
            jlist_push(r, pair.as.list, v);
            v = pair;
        }
        jlist_push(r, l.as.list, v);
    }
    *ret = l;
    return ERR_OK;
}

static err_code map_update(jinja_run *r, jmap *m, const jargs *a) {
    jval src;
    if (jargs_get(a, 0, NULL, &src)) {
        if (src.kind != JV_MAP) JFAIL(r, "update needs a dict, not %s", jval_type(src));
        for (size_t i = 0; i < src.as.map->len; i++) {
            TRY(jinja_step(r, 1));
            jmap_set(r, m, src.as.map->items[i].key, src.as.map->items[i].val);
        }
    }
    for (size_t i = 0; i < a->n_kw; i++)
        jmap_set(r, m, jstr_val(r, a->kw_names[i], true), a->kw[i]);
    return ERR_OK;
}

/* get, pop, setdefault */
static err_code map_fetch(jinja_run *r, jmap *m, str name, const jargs *a, jval *ret) {
    jval key, otherwise = jval_none();
    TRY(jargs_need(r, a, 0, "this method", &key));
    bool given = jargs_get(a, 1, "default", &otherwise);
    const jval *hit = jmap_get(r, m, key);
    bool pop = str_eq(name, STR("pop"));
    if (!hit && pop && !given) JFAIL(r, "pop: the dict has no such key");
    *ret = hit ? *hit : otherwise;
    if (!hit && str_eq(name, STR("setdefault"))) jmap_set(r, m, key, otherwise);
    for (size_t i = 0; hit && pop && i < m->len; i++) {
        if (&m->items[i].val != hit) continue;
        memmove(m->items + i, m->items + i + 1, (m->len - i - 1) * sizeof *m->items);
        m->len--;
        break;
    }
    return jinja_step(r, 1);
}

static err_code map_method(jinja_run *r, jval obj, str name, const jargs *a, jval *ret) {
    jmap *m = obj.as.map;
    *ret = jval_none();
    if (str_eq(name, STR("items"))) return map_list(r, m, 2, ret);
    if (str_eq(name, STR("keys"))) return map_list(r, m, 0, ret);
    if (str_eq(name, STR("values"))) return map_list(r, m, 1, ret);
    if (str_eq(name, STR("update"))) return map_update(r, m, a);
    if (str_eq(name, STR("copy"))) {
        *ret = jval_map(r, JV_MAP);
        return map_update(r, ret->as.map, &(jargs){.pos = &obj, .n = 1});
    }
    if (str_eq(name, STR("clear"))) {
        m->len = 0;
        return ERR_OK;
    }
    return map_fetch(r, m, name, a, ret);
}

/* ---- loops and cyclers ---- */

static err_code loop_method(jinja_run *r, jloop *l, str name, const jargs *a, jval *ret) {
    if (str_eq(name, STR("cycle"))) {
        if (a->n == 0) JFAIL(r, "cycle needs at least one value");
        *ret = a->pos[l->index % a->n];
        return ERR_OK;
    }
    jval now = jval_list(r, JV_TUPLE, a->n);
    for (size_t i = 0; i < a->n; i++) jlist_push(r, now.as.list, a->pos[i]);
    *ret = jval_bool(!l->has_changed || !jval_eq(r, l->changed, now));
    l->changed = now;
    l->has_changed = true;
    return ERR_OK;
}

static err_code cycler_method(jinja_run *r, const jfunc *f, str name, jval *ret) {
    (void)r;
    const jlist *l = f->self.as.list;
    *ret = l->items[*f->state];
    if (str_eq(name, STR("next"))) *f->state = (*f->state + 1) % l->len;
    if (str_eq(name, STR("reset"))) *f->state = 0;
    return ERR_OK;
}

err_code jinja_method(jinja_run *r, jval obj, str name, const jargs *args, jval *ret) {
    TRY(jinja_step(r, 1));
    if (obj.kind == JV_STR) return jinja_text_method(r, obj, name, args, ret);
    if (jval_is_list(obj)) return list_method(r, obj, name, args, ret);
    if (obj.kind == JV_MAP) return map_method(r, obj, name, args, ret);
    if (obj.kind == JV_LOOP) return loop_method(r, obj.as.loop, name, args, ret);
    if (obj.kind == JV_FUNC && obj.as.func->kind == JFUNC_CYCLER)
        return cycler_method(r, obj.as.func, name, ret);
    JFAIL(r, "%s has no method '" STR_FMT "'", jval_type(obj), STR_ARG(str_sub(name, 0, 80)));
}
