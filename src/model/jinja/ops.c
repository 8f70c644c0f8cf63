/* Operators, attributes, subscripts and slices. Whole numbers that overflow are an error. */
#include "model/jinja/jinja_impl.h"
#include <math.h>
#include <string.h>

#define MAX_ITEMS (1u << 20) /* of a list made by an operator */

static int64_t whole(jval v) {
    return v.kind == JV_BOOL ? v.as.boolean : v.as.integer;
}

static bool is_zero(double v) {
    return fpclassify(v) == FP_ZERO;
}

static err_code power(jinja_run *r, int64_t a, int64_t b, jval *ret) {
    int64_t v = 1;
    if (b < 0) {
        if (a == 0) JFAIL(r, "division by zero");
        *ret = jval_float(pow((double)a, (double)b));
        return ERR_OK;
    }
    if (a == 0 || a == 1) b = b > 0;
    if (a == -1) b &= 1;
    for (; b > 0; b--)
        if (__builtin_mul_overflow(v, a, &v)) JFAIL(r, "number too large");
    *ret = jval_int(v);
    return ERR_OK;
}

static err_code int_op(jinja_run *r, jinja_op op, jval x, jval y, jval *ret) {
    int64_t a = whole(x), b = whole(y), v = 0;
    bool bad = false;
    if ((op == JOP_DIV || op == JOP_FLOOR || op == JOP_MOD) && b == 0) JFAIL(r, "division by zero");
    if (op == JOP_POW) return power(r, a, b, ret);
    if (op == JOP_DIV) {
        *ret = jval_float((double)a / (double)b);
        return ERR_OK;
    }
    if (op == JOP_ADD) {
        bad = __builtin_add_overflow(a, b, &v);
    } else if (op == JOP_SUB) {
        bad = __builtin_sub_overflow(a, b, &v);
    } else if (op == JOP_MUL) {
        bad = __builtin_mul_overflow(a, b, &v);
    } else if (b == -1) { /* // and %: the smallest number has no negative */
        bad = op == JOP_FLOOR && __builtin_sub_overflow((int64_t)0, a, &v);
    } else {
        int64_t rest = a % b;
        bool fix = rest != 0 && (rest < 0) != (b < 0); /* rounds towards minus infinity */
        v = op == JOP_MOD ? rest + (fix ? b : 0) : a / b - fix;
    }
    if (bad) JFAIL(r, "number too large");
    *ret = jval_int(v);
    return ERR_OK;
}

static err_code float_op(jinja_run *r, jinja_op op, double a, double b, jval *ret) {
    if ((op == JOP_DIV || op == JOP_FLOOR || op == JOP_MOD) && is_zero(b))
        JFAIL(r, "division by zero");
    double v = 0;
    if (op == JOP_ADD)
        v = a + b;
    else if (op == JOP_SUB)
        v = a - b;
    else if (op == JOP_MUL)
        v = a * b;
    else if (op == JOP_DIV)
        v = a / b;
    else if (op == JOP_FLOOR)
        v = floor(a / b);
    else if (op == JOP_POW)
        v = pow(a, b);
    else {
        v = fmod(a, b);
        if (!is_zero(v) && (v < 0) != (b < 0)) v += b;
    }
    *ret = jval_float(v);
    return ERR_OK;
}

static err_code concat_lists(jinja_run *r, jval a, jval b, jval *ret) {
    size_t n = a.as.list->len + b.as.list->len;
    if (n > MAX_ITEMS) return jinja_fail(r, ERR_LIMIT, "list too long");
    TRY(jinja_step(r, n));
    jval l = jval_list(r, a.kind, n);
    for (size_t i = 0; i < a.as.list->len; i++) jlist_push(r, l.as.list, a.as.list->items[i]);
    for (size_t i = 0; i < b.as.list->len; i++) jlist_push(r, l.as.list, b.as.list->items[i]);
    *ret = l;
    return ERR_OK;
}

static err_code repeat(jinja_run *r, jval what, int64_t n, jval *ret) {
    if (n < 0) n = 0;
    if (what.kind == JV_STR) {
        jbuf b;
        jbuf_init(&b, r);
        if (what.as.text->text.len == 0) n = 0;
        for (int64_t i = 0; i < n && !r->over; i++) jbuf_put_jstr(&b, what.as.text);
        *ret = jbuf_take(&b);
        return jinja_step(r, 1);
    }
    size_t len = what.as.list->len;
    if (len == 0) n = 0;
    if (n > 0 && (uint64_t)n > MAX_ITEMS / len) return jinja_fail(r, ERR_LIMIT, "list too long");
    TRY(jinja_step(r, len * (size_t)n));
    jval l = jval_list(r, what.kind, len * (size_t)n);
    for (int64_t i = 0; i < n; i++)
        for (size_t k = 0; k < len; k++) jlist_push(r, l.as.list, what.as.list->items[k]);
    *ret = l;
    return ERR_OK;
}

static err_code contains(jinja_run *r, jval item, jval in, bool *ret) {
    if (in.kind == JV_STR) {
        if (item.kind == JV_UNDEF) return jval_undef_fail(r, item);
        if (item.kind != JV_STR) JFAIL(r, "'in <string>' needs a string, not %s", jval_type(item));
        TRY(jinja_step(r, in.as.text->text.len / 32));
        *ret = str_find(in.as.text->text, item.as.text->text) >= 0;
    } else if (in.kind == JV_MAP) {
        *ret = jmap_get(r, in.as.map, item) != NULL;
    } else if (jval_is_list(in)) {
        *ret = false;
        for (size_t i = 0; i < in.as.list->len && !*ret; i++)
            *ret = jval_eq(r, in.as.list->items[i], item);
    } else if (in.kind == JV_UNDEF) {
        *ret = false;
    } else {
        JFAIL(r, "%s cannot be searched with 'in'", jval_type(in));
    }
    return jinja_step(r, 1);
}

static err_code concat_text(jinja_run *r, jval a, jval b, jval *ret) {
    jbuf out;
    jbuf_init(&out, r);
    jval_print(&out, a);
    jval_print(&out, b);
    *ret = jbuf_take(&out);
    return jinja_step(r, 1);
}

static err_code compare(jinja_run *r, jinja_op op, jval a, jval b, jval *ret) {
    int c = 0;
    if (op == JOP_EQ || op == JOP_NE) {
        *ret = jval_bool(jval_eq(r, a, b) == (op == JOP_EQ));
        return jinja_step(r, 1);
    }
    TRY(jval_compare(r, a, b, &c));
    *ret = jval_bool(op == JOP_LT ? c < 0 : op == JOP_LE ? c <= 0 : op == JOP_GT ? c > 0 : c >= 0);
    return ERR_OK;
}

static err_code arithmetic(jinja_run *r, jinja_op op, jval a, jval b, jval *ret) {
    static const char *const names[] = {"+", "-", "*", "/", "//", "%", "**"};
    if (a.kind == JV_UNDEF) return jval_undef_fail(r, a);
    if (op == JOP_MOD && a.kind == JV_STR) {
        if (b.kind == JV_TUPLE)
            return jstr_percent(r, a.as.text, b.as.list->items, b.as.list->len, ret);
        return jstr_percent(r, a.as.text, &b, 1, ret);
    }
    if (b.kind == JV_UNDEF) return jval_undef_fail(r, b);
    if (jval_is_number(a) && jval_is_number(b)) {
        if (a.kind == JV_FLOAT || b.kind == JV_FLOAT)
            return float_op(r, op, jval_number(a), jval_number(b), ret);
        return int_op(r, op, a, b, ret);
    }
    if (op == JOP_ADD && a.kind == JV_STR && b.kind == JV_STR) return concat_text(r, a, b, ret);
    if (op == JOP_ADD && jval_is_list(a) && a.kind == b.kind) return concat_lists(r, a, b, ret);
    if (op == JOP_MUL && (a.kind == JV_STR || jval_is_list(a)) &&
        (b.kind == JV_INT || b.kind == JV_BOOL))
        return repeat(r, a, whole(b), ret);
    if (op == JOP_MUL && (b.kind == JV_STR || jval_is_list(b)) &&
        (a.kind == JV_INT || a.kind == JV_BOOL))
        return repeat(r, b, whole(a), ret);
    JFAIL(r, "cannot compute %s %s %s", jval_type(a), names[op], jval_type(b));
}

err_code jinja_binary(jinja_run *r, jinja_op op, jval a, jval b, jval *ret) {
    bool yes = false;
    switch (op) {
    case JOP_CONCAT:
        return concat_text(r, a, b, ret);
    case JOP_EQ:
    case JOP_NE:
    case JOP_LT:
    case JOP_LE:
    case JOP_GT:
    case JOP_GE:
        return compare(r, op, a, b, ret);
    case JOP_IN:
    case JOP_NOT_IN:
        TRY(contains(r, a, b, &yes));
        *ret = jval_bool(yes == (op == JOP_IN));
        return ERR_OK;
    case JOP_ADD:
    case JOP_SUB:
    case JOP_MUL:
    case JOP_DIV:
    case JOP_FLOOR:
    case JOP_MOD:
    case JOP_POW:
        break;
    }
    return arithmetic(r, op, a, b, ret);
}

/* ---- attributes, subscripts, slices ---- */

static bool loop_attr(jinja_run *r, const jloop *l, str name, jval *ret) {
    size_t n = l->list->len, i = l->index;
    const jval *items = l->list->items;
    if (str_eq(name, STR("index")))
        *ret = jval_int((int64_t)i + 1);
    else if (str_eq(name, STR("index0")))
        *ret = jval_int((int64_t)i);
    else if (str_eq(name, STR("revindex")))
        *ret = jval_int((int64_t)(n - i));
    else if (str_eq(name, STR("revindex0")))
        *ret = jval_int((int64_t)(n - i) - 1);
    else if (str_eq(name, STR("first")))
        *ret = jval_bool(i == 0);
    else if (str_eq(name, STR("last")))
        *ret = jval_bool(i + 1 == n);
    else if (str_eq(name, STR("length")))
        *ret = jval_int((int64_t)n);
    else if (str_eq(name, STR("depth")))
        *ret = jval_int(1); /* recursive loops do not exist */
    else if (str_eq(name, STR("depth0")))
        *ret = jval_int(0);
    else if (str_eq(name, STR("previtem")))
        *ret = i > 0 ? items[i - 1] : jval_undef(r, JV_LOOP, name);
    else if (str_eq(name, STR("nextitem")))
        *ret = i + 1 < n ? items[i + 1] : jval_undef(r, JV_LOOP, name);
    else
        return false;
    return true;
}

static jval method(jinja_run *r, jval obj, str name) {
    return jinja_func_new(r, (jfunc){.kind = JFUNC_METHOD, .name = name, .self = obj});
}

err_code jinja_get_attr(jinja_run *r, jval obj, str name, jval *ret) {
    if (obj.kind == JV_UNDEF) return jval_undef_fail(r, obj);
    if (obj.kind == JV_LOOP && loop_attr(r, obj.as.loop, name, ret)) return ERR_OK;
    if (obj.kind == JV_FUNC && obj.as.func->kind == JFUNC_CYCLER && str_eq(name, STR("current"))) {
        *ret = obj.as.func->self.as.list->items[*obj.as.func->state];
        return ERR_OK;
    }
    if (jinja_has_method(obj, name)) {
        *ret = method(r, obj, name);
        return ERR_OK;
    }
    const jval *v = NULL;
    if (obj.kind == JV_MAP || obj.kind == JV_SPACE) v = jmap_get_str(r, obj.as.map, name);
    if (obj.kind == JV_FUNC && str_eq(name, STR("name"))) {
        *ret = jstr_val(r, obj.as.func->name, true);
        return ERR_OK;
    }
    *ret = v ? *v : jval_undef(r, obj.kind, name);
    return jinja_step(r, 1);
}

err_code jinja_get_item(jinja_run *r, jval obj, jval key, jval *ret) {
    if (obj.kind == JV_UNDEF) return jval_undef_fail(r, obj);
    if (obj.kind == JV_MAP) {
        const jval *v = jmap_get(r, obj.as.map, key);
        if (v) {
            *ret = *v;
            return jinja_step(r, 1);
        }
    }
    bool index = key.kind == JV_INT || key.kind == JV_BOOL;
    if (index && (jval_is_list(obj) || obj.kind == JV_STR)) {
        size_t n = 0;
        TRY(jval_length(r, obj, &n));
        int64_t i = whole(key);
        if (i < 0) i += (int64_t)n;
        if (i < 0 || i >= (int64_t)n) {
            *ret = jval_undef(r, obj.kind, STR("item of this number"));
        } else if (obj.kind == JV_STR) {
            TRY(jinja_step(r, (size_t)i / 64 + 1));
            size_t from = jstr_offset(obj.as.text, (size_t)i), to = from;
            str_utf8_next(obj.as.text->text, &to);
            *ret = jstr_sub(r, obj.as.text, from, to);
        } else {
            *ret = obj.as.list->items[i];
        }
        return ERR_OK;
    }
    if (key.kind == JV_STR) return jinja_get_attr(r, obj, key.as.text->text, ret);
    *ret = jval_undef(r, obj.kind, STR("such item"));
    return ERR_OK;
}

/* One bound of a slice; `otherwise` when not given. Clamped as Python does. */
static err_code bound(jinja_run *r, jval v, int64_t n, bool back, int64_t otherwise, int64_t *ret) {
    *ret = otherwise;
    if (v.kind == JV_NONE) return ERR_OK;
    if (v.kind == JV_UNDEF) return jval_undef_fail(r, v);
    if (v.kind != JV_INT && v.kind != JV_BOOL) JFAIL(r, "a slice needs whole numbers");
    int64_t i = whole(v);
    if (i < 0) i += n;
    if (i < 0) i = back ? -1 : 0;
    if (i >= n) i = back ? n - 1 : n;
    *ret = i;
    return ERR_OK;
}

err_code jinja_slice(jinja_run *r, jval obj, const jval bounds[3], jval *ret) {
    int64_t step = 1, from = 0, to = 0;
    if (obj.kind == JV_UNDEF) return jval_undef_fail(r, obj);
    if (obj.kind != JV_STR && !jval_is_list(obj)) JFAIL(r, "%s cannot be sliced", jval_type(obj));
    if (bounds[2].kind == JV_INT)
        step = bounds[2].as.integer;
    else if (bounds[2].kind != JV_NONE)
        JFAIL(r, "a slice needs whole numbers");
    if (step == 0) JFAIL(r, "a slice cannot step by zero");
    size_t len = 0;
    TRY(jval_length(r, obj, &len));
    int64_t n = (int64_t)len;
    TRY(bound(r, bounds[0], n, step < 0, step < 0 ? n - 1 : 0, &from));
    TRY(bound(r, bounds[1], n, step < 0, step < 0 ? -1 : n, &to));
    if (obj.kind == JV_STR && step == 1) {
        TRY(jinja_step(r, obj.as.text->text.len / 32));
        size_t a = jstr_offset(obj.as.text, (size_t)from);
        size_t b = to > from ? jstr_offset(obj.as.text, (size_t)to) : a;
        *ret = jstr_sub(r, obj.as.text, a, b);
        return ERR_OK;
    }
    jlist *items = NULL;
    TRY(jval_iterate(r, obj, &items));
    TRY(jinja_step(r, items->len));
    jval l = jval_list(r, obj.kind == JV_TUPLE ? JV_TUPLE : JV_LIST, 0);
    for (int64_t i = from; step > 0 ? i < to : i > to;) {
        jlist_push(r, l.as.list, items->items[i]);
        if (__builtin_add_overflow(i, step, &i)) break;
    }
    *ret = l;
    if (obj.kind != JV_STR) return ERR_OK;
    jbuf b;
    jbuf_init(&b, r);
    for (size_t i = 0; i < l.as.list->len; i++) jbuf_put_jstr(&b, l.as.list->items[i].as.text);
    *ret = jbuf_take(&b);
    return ERR_OK;
}
