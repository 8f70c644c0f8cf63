/* Filters on lists and maps. Whatever takes a list takes everything that can be iterated. */
#include "model/jinja/jinja_impl.h"
#include <string.h>

static err_code f_length(jinja_run *r, jval in, const jargs *a, jval *ret) {
    (void)a;
    size_t n = 0;
    TRY(jval_length(r, in, &n));
    *ret = jval_int((int64_t)n);
    return ERR_OK;
}

/* `a.b.0` of v; `otherwise` (NULL = none) stands in for every undefined part, without it only the
 * last part may be undefined. */
static err_code get_path(jinja_run *r, jval v, jval path, const jval *otherwise, jval *ret) {
    if (path.kind != JV_STR) {
        TRY(jinja_get_item(r, v, path, ret));
        if (otherwise && ret->kind == JV_UNDEF) *ret = *otherwise;
        return ERR_OK;
    }
    str rest = path.as.text->text;
    while (rest.ptr && rest.len > 0) {
        str part = str_cut(&rest, '.');
        int64_t index = 0;
        TRY(jinja_step(r, 1));
        if (str_to_i64(part, &index))
            TRY(jinja_get_item(r, v, jval_int(index), &v));
        else
            TRY(jinja_get_item(r, v, jstr_val(r, part, true), &v));
        if (otherwise && v.kind == JV_UNDEF) v = *otherwise;
    }
    *ret = v;
    return ERR_OK;
}

/* The value that `attribute=` picks, strings in lower case unless case_sensitive. */
static err_code key_of(jinja_run *r, jval v, const jval *path, bool exact, jval *ret) {
    if (path && path->kind != JV_NONE) TRY(get_path(r, v, *path, NULL, &v));
    *ret = v.kind == JV_STR && !exact ? jstr_change_case(r, v.as.text, JCASE_LOWER, false) : v;
    return ERR_OK;
}

static err_code f_join(jinja_run *r, jval in, const jargs *a, jval *ret) {
    jval sep = jstr_val(r, STR(""), true), path = jval_none();
    jlist *items = NULL;
    jargs_get(a, 0, "d", &sep);
    jargs_get(a, 1, "attribute", &path);
    TRY(jval_iterate(r, in, &items));
    jbuf b;
    jbuf_init(&b, r);
    for (size_t i = 0; i < items->len; i++) {
        jval v;
        TRY(jinja_step(r, 1));
        TRY(key_of(r, items->items[i], &path, true, &v));
        if (i) jval_print(&b, sep);
        jval_print(&b, v);
    }
    *ret = jbuf_take(&b);
    return ERR_OK;
}

static err_code f_first(jinja_run *r, jval in, const jargs *a, jval *ret) {
    (void)a;
    jlist *items = NULL;
    TRY(jval_iterate(r, in, &items));
    *ret = items->len ? items->items[0] : jval_undef(r, in.kind, STR("first item"));
    return ERR_OK;
}

static err_code f_last(jinja_run *r, jval in, const jargs *a, jval *ret) {
    (void)a;
    jlist *items = NULL;
    TRY(jval_iterate(r, in, &items));
    *ret = items->len ? items->items[items->len - 1] : jval_undef(r, in.kind, STR("last item"));
    return ERR_OK;
}

/* What map and the select family go over: anything false is empty for them. */
static err_code items_of(jinja_run *r, jval in, jlist **ret) {
    return jval_iterate(r, jval_true(in) ? in : (jval){.kind = JV_UNDEF}, ret);
}

static err_code f_map(jinja_run *r, jval in, const jargs *a, jval *ret) {
    jval path = jval_none(), otherwise = {.kind = JV_UNDEF}, v;
    jlist *items = NULL;
    bool by_path = jargs_get(a, SIZE_MAX, "attribute", &path);
    bool has_default = jargs_get(a, SIZE_MAX, "default", &otherwise);
    jfilter_fn fn = NULL;
    jargs rest = *a;
    if (!by_path) {
        TRY(jargs_need(r, a, 0, "map", &v));
        fn = v.kind == JV_STR ? jinja_filter_find(v.as.text->text) : NULL;
        if (!fn) JFAIL(r, "map: there is no such filter");
        rest.pos++;
        rest.n--;
    }
    TRY(items_of(r, in, &items));
    jval l = jval_list(r, JV_LIST, items->len);
    TRY(jinja_enter(r));
    for (size_t i = 0; i < items->len; i++) {
        TRY(jinja_step(r, 1));
        if (by_path)
            TRY(get_path(r, items->items[i], path, has_default ? &otherwise : NULL, &v));
        else
            TRY(fn(r, items->items[i], &rest, &v));
        jlist_push(r, l.as.list, v);
    }
    jinja_leave(r);
    *ret = l;
    return ERR_OK;
}

/* select, reject, selectattr, rejectattr. */
static err_code choose(jinja_run *r, jval in, const jargs *a, bool by_attr, bool want, jval *ret) {
    jlist *items = NULL;
    jval path = jval_none(), name;
    jargs rest = *a;
    jtest_fn test = NULL;
    if (by_attr) {
        TRY(jargs_need(r, a, 0, "selectattr", &path));
        rest.pos++;
        rest.n--;
    }
    if (rest.n > 0) {
        name = rest.pos[0];
        test = name.kind == JV_STR ? jinja_test_find(name.as.text->text) : NULL;
        if (!test) JFAIL(r, "there is no such test");
        rest.pos++;
        rest.n--;
    }
    TRY(items_of(r, in, &items));
    jval l = jval_list(r, JV_LIST, 0);
    for (size_t i = 0; i < items->len; i++) {
        jval v;
        bool yes = false;
        TRY(jinja_step(r, 1));
        TRY(key_of(r, items->items[i], by_attr ? &path : NULL, true, &v));
        if (test)
            TRY(test(r, v, &rest, &yes));
        else
            yes = jval_true(v);
        if (yes == want) jlist_push(r, l.as.list, items->items[i]);
    }
    *ret = l;
    return ERR_OK;
}

static err_code f_select(jinja_run *r, jval in, const jargs *a, jval *ret) {
    return choose(r, in, a, false, true, ret);
}

static err_code f_reject(jinja_run *r, jval in, const jargs *a, jval *ret) {
    return choose(r, in, a, false, false, ret);
}

static err_code f_selectattr(jinja_run *r, jval in, const jargs *a, jval *ret) {
    return choose(r, in, a, true, true, ret);
}

static err_code f_rejectattr(jinja_run *r, jval in, const jargs *a, jval *ret) {
    return choose(r, in, a, true, false, ret);
}

static err_code f_list(jinja_run *r, jval in, const jargs *a, jval *ret) {
    (void)a;
    jlist *items = NULL;
    TRY(jval_iterate(r, in, &items));
    TRY(jinja_step(r, items->len));
    jval l = jval_list(r, JV_LIST, items->len);
    for (size_t i = 0; i < items->len; i++) jlist_push(r, l.as.list, items->items[i]);
    *ret = l;
    return ERR_OK;
}

static err_code f_items(jinja_run *r, jval in, const jargs *a, jval *ret) {
    if (in.kind == JV_UNDEF) {
        *ret = jval_list(r, JV_LIST, 0);
        return ERR_OK;
    }
    if (in.kind != JV_MAP) JFAIL(r, "items needs a dict, not %s", jval_type(in));
    return jinja_method(r, in, STR("items"), a, ret);
}

/* ---- order ---- */

typedef struct sort_item {
    jval key, val;
} sort_item;

/* Stable merge sort of items[0..n); tmp has room for n. */
static err_code merge_sort(jinja_run *r, sort_item *items, sort_item *tmp, size_t n, bool back) {
    if (n < 2) return ERR_OK;
    size_t mid = n / 2;
    TRY(merge_sort(r, items, tmp, mid, back));
    TRY(merge_sort(r, items + mid, tmp, n - mid, back));
    memcpy(tmp, items, n * sizeof *items);
    for (size_t i = 0, a = 0, b = mid; i < n; i++) {
        int c = 0;
        if (a < mid && b < n) TRY(jval_compare(r, tmp[a].key, tmp[b].key, &c));
        bool left = b >= n || (a < mid && (back ? c >= 0 : c <= 0));
        items[i] = left ? tmp[a++] : tmp[b++];
    }
    return ERR_OK;
}

static err_code sort_list(jinja_run *r, const jlist *items, const jval *path, bool exact, bool back,
                          jval *ret) {
    size_t n = items->len;
    sort_item *v = jinja_alloc(r, (n + 1) * sizeof *v), *tmp = jinja_alloc(r, (n + 1) * sizeof *v);
    for (size_t i = 0; i < n; i++) {
        TRY(jinja_step(r, 1));
        v[i].val = items->items[i];
        TRY(key_of(r, items->items[i], path, exact, &v[i].key));
    }
    TRY(merge_sort(r, v, tmp, n, back));
    jval l = jval_list(r, JV_LIST, n);
    for (size_t i = 0; i < n; i++) jlist_push(r, l.as.list, v[i].val);
    *ret = l;
    return ERR_OK;
}

static err_code f_sort(jinja_run *r, jval in, const jargs *a, jval *ret) {
    jval path = jval_none();
    jlist *items = NULL;
    bool back = jargs_bool(a, 0, "reverse", false);
    bool exact = jargs_bool(a, 1, "case_sensitive", false);
    jargs_get(a, 2, "attribute", &path);
    TRY(jval_iterate(r, in, &items));
    return sort_list(r, items, &path, exact, back, ret);
}

static err_code f_dictsort(jinja_run *r, jval in, const jargs *a, jval *ret) {
    jval pairs, by = jval_none();
    if (in.kind == JV_UNDEF) return jval_undef_fail(r, in);
    bool exact = jargs_bool(a, 0, "case_sensitive", false);
    bool back = jargs_bool(a, 2, "reverse", false);
    jargs_get(a, 1, "by", &by);
    jval index = jval_int(by.kind == JV_STR && str_eq(by.as.text->text, STR("value")));
    TRY(f_items(r, in, &(jargs){0}, &pairs));
    return sort_list(r, pairs.as.list, &index, exact, back, ret);
}

static err_code f_unique(jinja_run *r, jval in, const jargs *a, jval *ret) {
    jval path = jval_none(), seen = jval_list(r, JV_LIST, 0), l = jval_list(r, JV_LIST, 0);
    jlist *items = NULL;
    bool exact = jargs_bool(a, 0, "case_sensitive", false);
    jargs_get(a, 1, "attribute", &path);
    TRY(jval_iterate(r, in, &items));
    for (size_t i = 0; i < items->len; i++) {
        jval key, known;
        TRY(key_of(r, items->items[i], &path, exact, &key));
        TRY(jinja_binary(r, JOP_IN, key, seen, &known));
        if (known.as.boolean) continue;
        jlist_push(r, seen.as.list, key);
        jlist_push(r, l.as.list, items->items[i]);
    }
    *ret = l;
    return ERR_OK;
}

static err_code f_reverse(jinja_run *r, jval in, const jargs *a, jval *ret) {
    (void)a;
    if (in.kind == JV_STR || jval_is_list(in)) {
        const jval bounds[3] = {jval_none(), jval_none(), jval_int(-1)};
        return jinja_slice(r, in, bounds, ret);
    }
    jval l;
    TRY(f_list(r, in, a, &l));
    return f_reverse(r, l, a, ret);
}

static err_code extreme(jinja_run *r, jval in, const jargs *a, int want, jval *ret) {
    jval path = jval_none(), best = jval_none();
    jlist *items = NULL;
    bool exact = jargs_bool(a, 0, "case_sensitive", false);
    jargs_get(a, 1, "attribute", &path);
    TRY(jval_iterate(r, in, &items));
    *ret = jval_undef(r, in.kind, STR("smallest or largest item"));
    for (size_t i = 0; i < items->len; i++) {
        jval key;
        int c = want;
        TRY(key_of(r, items->items[i], &path, exact, &key));
        if (i > 0) TRY(jval_compare(r, key, best, &c));
        if (c == 0 || (c < 0) != (want < 0)) continue;
        best = key;
        *ret = items->items[i];
    }
    return ERR_OK;
}

static err_code f_min(jinja_run *r, jval in, const jargs *a, jval *ret) {
    return extreme(r, in, a, -1, ret);
}

static err_code f_max(jinja_run *r, jval in, const jargs *a, jval *ret) {
    return extreme(r, in, a, 1, ret);
}

static err_code f_sum(jinja_run *r, jval in, const jargs *a, jval *ret) {
    jval path = jval_none(), sum = jval_int(0);
    jlist *items = NULL;
    jargs_get(a, 0, "attribute", &path);
    jargs_get(a, 1, "start", &sum);
    TRY(jval_iterate(r, in, &items));
    for (size_t i = 0; i < items->len; i++) {
        jval v;
        TRY(key_of(r, items->items[i], &path, true, &v));
        TRY(jinja_binary(r, JOP_ADD, sum, v, &sum));
    }
    *ret = sum;
    return ERR_OK;
}

static err_code f_batch(jinja_run *r, jval in, const jargs *a, jval *ret) {
    int64_t n = 0;
    jval fill, row = {.kind = JV_UNDEF}, l = jval_list(r, JV_LIST, 0);
    jlist *items = NULL;
    TRY(jargs_int(r, a, 0, "linecount", &n));
    if (n < 1) JFAIL(r, "batch needs a number of at least 1");
    TRY(jval_iterate(r, in, &items));
    for (size_t i = 0; i < items->len; i++) {
        TRY(jinja_step(r, 1));
        if (i % (uint64_t)n == 0) {
            row = jval_list(r, JV_LIST, 0);
            jlist_push(r, l.as.list, row);
        }
        jlist_push(r, row.as.list, items->items[i]);
    }
    if (jargs_get(a, 1, "fill_with", &fill) && fill.kind != JV_NONE && items->len > 0) {
        while (row.as.list->len < (uint64_t)n) {
            TRY(jinja_step(r, 1));
            jlist_push(r, row.as.list, fill);
        }
    }
    *ret = l;
    return ERR_OK;
}

static err_code f_attr(jinja_run *r, jval in, const jargs *a, jval *ret) {
    jval name;
    TRY(jargs_need(r, a, 0, "attr", &name));
    return jinja_get_attr(r, in, jval_text(r, name).as.text->text, ret);
}

static const jfilter_entry filters[] = {
    {"length", f_length},
    {"count", f_length},
    {"join", f_join},
    {"first", f_first},
    {"last", f_last},
    {"map", f_map},
    {"select", f_select},
    {"reject", f_reject},
    {"selectattr", f_selectattr},
    {"list", f_list},
    {"rejectattr", f_rejectattr},
    {"items", f_items},
    {"sort", f_sort},
    {"dictsort", f_dictsort},
    {"unique", f_unique},
    {"min", f_min},
    {"max", f_max},
    {"sum", f_sum},
    {"batch", f_batch},
    {"reverse", f_reverse},
    {"attr", f_attr},
};

jfilter_fn jinja_filter_list_find(str name) {
    for (size_t i = 0; i < COUNT_OF(filters); i++)
        if (str_eq(name, str_from(filters[i].name))) return filters[i].fn;
    return NULL;
}
