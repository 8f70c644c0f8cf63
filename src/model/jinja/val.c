/* Values of a run: making, comparing, iterating and printing them, as Python would. */
#include "model/jinja/jinja_impl.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

jval jval_none(void) {
    return (jval){.kind = JV_NONE};
}

jval jval_bool(bool v) {
    return (jval){.kind = JV_BOOL, .as.boolean = v};
}

jval jval_int(int64_t v) {
    return (jval){.kind = JV_INT, .as.integer = v};
}

jval jval_float(double v) {
    return (jval){.kind = JV_FLOAT, .as.number = v};
}

jval jval_list(jinja_run *r, jval_kind kind, size_t n) {
    jlist *l = jinja_alloc(r, sizeof *l);
    *l = (jlist){.cap = n};
    if (n > 0) l->items = jinja_alloc(r, n * sizeof *l->items);
    return (jval){.kind = kind, .as.list = l};
}

jval jval_map(jinja_run *r, jval_kind kind) {
    jmap *m = jinja_alloc(r, sizeof *m);
    *m = (jmap){0};
    return (jval){.kind = kind, .as.map = m};
}

jval jval_undef(jinja_run *r, jval_kind owner, str name) {
    return (jval){.kind = JV_UNDEF, .owner = owner, .as.text = jstr_val(r, name, true).as.text};
}

void jlist_push(jinja_run *r, jlist *l, jval v) {
    if (l->len == l->cap) {
        l->cap = l->cap ? l->cap * 2 : 8;
        jval *items = jinja_alloc(r, l->cap * sizeof *items);
        if (l->len) memcpy(items, l->items, l->len * sizeof *items);
        l->items = items;
    }
    l->items[l->len++] = v;
}

static jpair *map_find(jinja_run *r, const jmap *m, jval key) {
    r->steps += m->len / 8;
    for (size_t i = 0; i < m->len; i++)
        if (jval_eq(r, m->items[i].key, key)) return &m->items[i];
    return NULL;
}

const jval *jmap_get(jinja_run *r, const jmap *m, jval key) {
    jpair *p = map_find(r, m, key);
    return p ? &p->val : NULL;
}

const jval *jmap_get_str(jinja_run *r, const jmap *m, str key) {
    jstr s = {.text = key};
    return jmap_get(r, m, (jval){.kind = JV_STR, .as.text = &s});
}

static void map_push(jinja_run *r, jmap *m, jval key, jval val) {
    if (m->len == m->cap) {
        m->cap = m->cap ? m->cap * 2 : 8;
        jpair *items = jinja_alloc(r, m->cap * sizeof *items);
        if (m->len) memcpy(items, m->items, m->len * sizeof *items);
        m->items = items;
    }
    m->items[m->len++] = (jpair){key, val};
}

void jmap_set(jinja_run *r, jmap *m, jval key, jval val) {
    jpair *p = map_find(r, m, key);
    if (p)
        p->val = val;
    else
        map_push(r, m, key, val);
}

jval jval_from(jinja_run *r, const value *v) {
    if (!v) return jval_none();
    switch (v->kind) {
    case VALUE_NULL:
        return jval_none();
    case VALUE_BOOL:
        return jval_bool(v->as.boolean);
    case VALUE_INT:
        return jval_int(v->as.integer);
    case VALUE_FLOAT:
        return jval_float(v->as.number);
    case VALUE_STR:
        return jstr_val(r, v->as.text, v->trusted);
    case VALUE_LIST: {
        jval l = jval_list(r, JV_LIST, v->as.list.len);
        for (size_t i = 0; i < v->as.list.len; i++)
            jlist_push(r, l.as.list, jval_from(r, v->as.list.items[i]));
        return l;
    }
    case VALUE_MAP: {
        jval m = jval_map(r, JV_MAP);
        for (size_t i = 0; i < v->as.map.len; i++) /* keys are known to differ */
            map_push(r, m.as.map, jstr_val(r, v->as.map.pairs[i].key, false),
                     jval_from(r, v->as.map.pairs[i].val));
        return m;
    }
    }
    return jval_none();
}

bool jval_is_list(jval v) {
    return v.kind == JV_LIST || v.kind == JV_TUPLE;
}

bool jval_is_number(jval v) {
    return v.kind == JV_BOOL || v.kind == JV_INT || v.kind == JV_FLOAT;
}

double jval_number(jval v) {
    if (v.kind == JV_FLOAT) return v.as.number;
    return v.kind == JV_INT ? (double)v.as.integer : v.kind == JV_BOOL && v.as.boolean ? 1 : 0;
}

static int64_t whole(jval v) {
    return v.kind == JV_BOOL ? v.as.boolean : v.as.integer;
}

bool jval_true(jval v) {
    switch (v.kind) {
    case JV_UNDEF:
    case JV_NONE:
        return false;
    case JV_BOOL:
        return v.as.boolean;
    case JV_INT:
        return v.as.integer != 0;
    case JV_FLOAT:
        return fpclassify(v.as.number) != FP_ZERO;
    case JV_STR:
        return v.as.text->text.len > 0;
    case JV_LIST:
    case JV_TUPLE:
        return v.as.list->len > 0;
    case JV_MAP:
        return v.as.map->len > 0;
    case JV_SPACE:
    case JV_LOOP:
    case JV_FUNC:
        return true;
    }
    return false;
}

static int sign(bool less, bool more) {
    return less ? -1 : more ? 1 : 0;
}

static int compare_numbers(jval a, jval b) {
    if (a.kind != JV_FLOAT && b.kind != JV_FLOAT)
        return sign(whole(a) < whole(b), whole(a) > whole(b));
    return sign(jval_number(a) < jval_number(b), jval_number(a) > jval_number(b));
}

static bool lists_eq(jinja_run *r, const jlist *a, const jlist *b) {
    if (a->len != b->len) return false;
    if (jinja_enter(r) != ERR_OK) return false;
    bool eq = true;
    for (size_t i = 0; eq && i < a->len; i++) eq = jval_eq(r, a->items[i], b->items[i]);
    jinja_leave(r);
    return eq;
}

static bool maps_eq(jinja_run *r, const jmap *a, const jmap *b) {
    if (a->len != b->len) return false;
    if (jinja_enter(r) != ERR_OK) return false;
    bool eq = true;
    for (size_t i = 0; eq && i < a->len; i++) {
        const jval *other = jmap_get(r, b, a->items[i].key);
        eq = other && jval_eq(r, a->items[i].val, *other);
    }
    jinja_leave(r);
    return eq;
}

/* Depth and work are bounded: past a limit it answers false and run->over ends the run. */
bool jval_eq(jinja_run *r, jval a, jval b) {
    if (!jinja_work(r, a.kind == JV_STR ? a.as.text->text.len / 256 + 1 : 1)) return false;
    if (jval_is_number(a) && jval_is_number(b)) {
        if (isnan(jval_number(a)) || isnan(jval_number(b))) return false;
        return compare_numbers(a, b) == 0;
    }
    if (a.kind != b.kind) return false;
    if (a.kind == JV_STR) return str_eq(a.as.text->text, b.as.text->text);
    if (jval_is_list(a)) return lists_eq(r, a.as.list, b.as.list);
    if (a.kind == JV_MAP) return maps_eq(r, a.as.map, b.as.map);
    if (a.kind == JV_SPACE) return a.as.map == b.as.map;
    if (a.kind == JV_LOOP) return a.as.loop == b.as.loop;
    if (a.kind == JV_FUNC) return a.as.func == b.as.func;
    return true; /* None, undefined */
}

err_code jval_compare(jinja_run *r, jval a, jval b, int *ret) {
    TRY(jinja_step(r, a.kind == JV_STR ? a.as.text->text.len / 256 + 1 : 1));
    if (a.kind == JV_UNDEF) return jval_undef_fail(r, a);
    if (b.kind == JV_UNDEF) return jval_undef_fail(r, b);
    if (jval_is_number(a) && jval_is_number(b)) {
        *ret = compare_numbers(a, b);
    } else if (a.kind == JV_STR && b.kind == JV_STR) {
        *ret = str_cmp(a.as.text->text, b.as.text->text);
    } else if (jval_is_list(a) && a.kind == b.kind) {
        const jlist *x = a.as.list, *y = b.as.list;
        TRY(jinja_enter(r));
        *ret = 0;
        for (size_t i = 0; i < x->len && i < y->len && *ret == 0; i++)
            TRY(jval_compare(r, x->items[i], y->items[i], ret));
        jinja_leave(r);
        if (*ret == 0) *ret = sign(x->len<y->len, x->len> y->len);
    } else {
        JFAIL(r, "%s and %s cannot be ordered", jval_type(a), jval_type(b));
    }
    return ERR_OK;
}

const char *jval_type(jval v) {
    switch (v.kind) {
    case JV_UNDEF:
        return "Undefined";
    case JV_NONE:
        return "None";
    case JV_BOOL:
        return "bool";
    case JV_INT:
        return "int";
    case JV_FLOAT:
        return "float";
    case JV_STR:
        return "str";
    case JV_LIST:
        return "list";
    case JV_TUPLE:
        return "tuple";
    case JV_MAP:
        return "dict";
    case JV_SPACE:
        return "namespace";
    case JV_LOOP:
        return "loop";
    case JV_FUNC:
        return "function";
    }
    return "?";
}

err_code jval_undef_fail(jinja_run *r, jval v) {
    str name = v.as.text ? str_sub(v.as.text->text, 0, 80) : STR("value");
    if (v.owner == JV_UNDEF) JFAIL(r, "'" STR_FMT "' is undefined", STR_ARG(name));
    JFAIL(r, "%s has no '" STR_FMT "'", jval_type((jval){.kind = v.owner}), STR_ARG(name));
}

err_code jval_length(jinja_run *r, jval v, size_t *ret) {
    if (v.kind == JV_STR)
        *ret = jstr_chars(v.as.text);
    else if (jval_is_list(v))
        *ret = v.as.list->len;
    else if (v.kind == JV_MAP)
        *ret = v.as.map->len;
    else if (v.kind == JV_UNDEF)
        *ret = 0;
    else if (v.kind == JV_LOOP)
        *ret = v.as.loop->list->len;
    else
        JFAIL(r, "%s has no length", jval_type(v));
    return jinja_step(r, v.kind == JV_STR ? v.as.text->text.len / 32 + 1 : 1);
}

err_code jval_iterate(jinja_run *r, jval v, jlist **ret) {
    if (jval_is_list(v)) {
        *ret = v.as.list;
        return ERR_OK;
    }
    jval l = jval_list(r, JV_LIST, 0);
    if (v.kind == JV_MAP) {
        TRY(jinja_step(r, v.as.map->len));
        for (size_t i = 0; i < v.as.map->len; i++) jlist_push(r, l.as.list, v.as.map->items[i].key);
    } else if (v.kind == JV_STR) {
        TRY(jinja_step(r, v.as.text->text.len));
        for (size_t pos = 0; pos < v.as.text->text.len && !r->over;) {
            size_t from = pos;
            str_utf8_next(v.as.text->text, &pos);
            jlist_push(r, l.as.list, jstr_sub(r, v.as.text, from, pos));
        }
    } else if (v.kind != JV_UNDEF) {
        JFAIL(r, "%s cannot be iterated", jval_type(v));
    }
    *ret = l.as.list;
    return ERR_OK;
}
