/* Filters on strings and numbers. */
#include "model/jinja/jinja_impl.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

static err_code f_trim(jinja_run *r, jval in, const jargs *a, jval *ret) {
    jval chars;
    bool given = jargs_get(a, 0, "chars", &chars) && chars.kind == JV_STR;
    *ret = jstr_strip(r, jval_text(r, in).as.text, given ? chars.as.text : NULL, true, true);
    return ERR_OK;
}

static err_code f_upper(jinja_run *r, jval in, const jargs *a, jval *ret) {
    (void)a;
    *ret = jstr_change_case(r, jval_text(r, in).as.text, JCASE_UPPER, true);
    return ERR_OK;
}

static err_code f_lower(jinja_run *r, jval in, const jargs *a, jval *ret) {
    (void)a;
    *ret = jstr_change_case(r, jval_text(r, in).as.text, JCASE_LOWER, true);
    return ERR_OK;
}

static err_code f_title(jinja_run *r, jval in, const jargs *a, jval *ret) {
    (void)a;
    *ret = jstr_change_case(r, jval_text(r, in).as.text, JCASE_TITLE, true);
    return ERR_OK;
}

static err_code f_capitalize(jinja_run *r, jval in, const jargs *a, jval *ret) {
    (void)a;
    *ret = jstr_change_case(r, jval_text(r, in).as.text, JCASE_CAPITALIZE, true);
    return ERR_OK;
}

static err_code f_replace(jinja_run *r, jval in, const jargs *a, jval *ret) {
    jval from, to;
    int64_t max = -1;
    if (!jargs_get(a, 0, "old", &from) || !jargs_get(a, 1, "new", &to))
        JFAIL(r, "replace needs what to replace and by what");
    TRY(jargs_int(r, a, 2, "count", &max));
    *ret = jstr_replace(r, jval_text(r, in).as.text, jval_text(r, from).as.text,
                        jval_text(r, to).as.text, max);
    return ERR_OK;
}

static err_code f_string(jinja_run *r, jval in, const jargs *a, jval *ret) {
    (void)a;
    *ret = jval_text(r, in);
    return ERR_OK;
}

static bool text_to_int(str s, int64_t base, int64_t *ret) {
    char tmp[80];
    s = str_trim(s);
    if (s.len == 0 || s.len >= sizeof tmp) return false;
    memcpy(tmp, s.ptr, s.len);
    tmp[s.len] = '\0';
    char *end = NULL;
    long long v = strtoll(tmp, &end, (int)base);
    if (end == tmp + s.len && v != INT64_MAX && v != INT64_MIN) {
        *ret = v;
        return true;
    }
    double d = strtod(tmp, &end);
    if (end != tmp + s.len || !(fabs(d) < 9e18) || base != 10) return false;
    *ret = (int64_t)d;
    return true;
}

static err_code f_int(jinja_run *r, jval in, const jargs *a, jval *ret) {
    int64_t v = 0, base = 10;
    jval otherwise = jval_int(0);
    jargs_get(a, 0, "default", &otherwise);
    TRY(jargs_int(r, a, 1, "base", &base));
    if (base < 2 || base > 36) base = 10;
    if (in.kind == JV_INT)
        *ret = in;
    else if (in.kind == JV_BOOL)
        *ret = jval_int(in.as.boolean);
    else if (in.kind == JV_FLOAT && fabs(in.as.number) < 9e18)
        *ret = jval_int((int64_t)in.as.number);
    else if (in.kind == JV_STR && text_to_int(in.as.text->text, base, &v))
        *ret = jval_int(v);
    else if (in.kind == JV_UNDEF)
        return jval_undef_fail(r, in);
    else
        *ret = otherwise;
    return ERR_OK;
}

static err_code f_float(jinja_run *r, jval in, const jargs *a, jval *ret) {
    double v = 0;
    *ret = jval_float(0);
    jargs_get(a, 0, "default", ret);
    if (in.kind == JV_UNDEF) return jval_undef_fail(r, in);
    if (jval_is_number(in))
        *ret = jval_float(jval_number(in));
    else if (in.kind == JV_STR && str_to_f64(str_trim(in.as.text->text), &v))
        *ret = jval_float(v);
    return ERR_OK;
}

static err_code f_default(jinja_run *r, jval in, const jargs *a, jval *ret) {
    bool falsy = jargs_bool(a, 1, "boolean", false);
    *ret = in;
    if (in.kind == JV_UNDEF || (falsy && !jval_true(in))) {
        *ret = jstr_val(r, STR(""), true);
        jargs_get(a, 0, "default_value", ret);
    }
    return ERR_OK;
}

static err_code json_separators(jinja_run *r, const jargs *a, jinja_json_opts *o) {
    jval v;
    if (!jargs_get(a, SIZE_MAX, "separators", &v) || v.kind == JV_NONE) return ERR_OK;
    if (!jval_is_list(v) || v.as.list->len != 2 || v.as.list->items[0].kind != JV_STR ||
        v.as.list->items[1].kind != JV_STR)
        JFAIL(r, "tojson: separators must be two strings");
    o->item_sep = v.as.list->items[0].as.text;
    o->key_sep = v.as.list->items[1].as.text;
    return ERR_OK;
}

static err_code f_tojson(jinja_run *r, jval in, const jargs *a, jval *ret) {
    const jargs named = {.kw_names = a->kw_names, .kw = a->kw, .n_kw = a->n_kw};
    jinja_json_opts o = {.ascii = jargs_bool(&named, 0, "ensure_ascii", false),
                         .sort = jargs_bool(&named, 0, "sort_keys", false),
                         .item_sep = jstr_val(r, STR(", "), false).as.text,
                         .key_sep = jstr_val(r, STR(": "), false).as.text};
    jval indent = jval_none();
    jargs_get(&named, 0, "indent", &indent);
    if (a->n > 0 && a->pos[0].kind == JV_BOOL)
        o.ascii = a->pos[0].as.boolean;
    else if (a->n > 0)
        indent = a->pos[0];
    if (indent.kind == JV_INT) {
        int64_t n = indent.as.integer;
        if (n > 64) JFAIL(r, "tojson: indent is too large");
        TRY(jinja_binary(r, JOP_MUL, jstr_val(r, STR(" "), false), jval_int(n < 0 ? 0 : n),
                         &indent));
    }
    if (indent.kind == JV_STR) {
        o.indent = indent.as.text;
        o.item_sep = jstr_val(r, STR(","), false).as.text;
    }
    TRY(json_separators(r, &named, &o));
    jbuf b;
    jbuf_init(&b, r);
    TRY(jval_json(&b, in, &o));
    *ret = jbuf_take(&b);
    return ERR_OK;
}

static err_code f_indent(jinja_run *r, jval in, const jargs *a, jval *ret) {
    jval width = jval_int(4), pad;
    jargs_get(a, 0, "width", &width);
    bool first = jargs_bool(a, 1, "first", false), blank = jargs_bool(a, 2, "blank", false);
    if (width.kind == JV_STR)
        pad = width;
    else
        TRY(jinja_binary(r, JOP_MUL, jstr_val(r, STR(" "), true), width, &pad));
    const jstr *s = jval_text(r, in).as.text;
    jbuf b;
    jbuf_init(&b, r);
    for (size_t pos = 0, line = 0; pos <= s->text.len; line++) {
        ptrdiff_t nl = str_find_char(str_sub(s->text, pos, s->text.len), '\n');
        size_t end = nl < 0 ? s->text.len : pos + (size_t)nl;
        if (line == 0 ? first : blank || end > pos) jbuf_put_jstr(&b, pad.as.text);
        jbuf_put_sub(&b, s, pos, nl < 0 ? end : end + 1);
        TRY(jinja_step(r, 1));
        if (nl < 0) break;
        pos = end + 1;
    }
    *ret = jbuf_take(&b);
    return ERR_OK;
}

static err_code f_safe(jinja_run *r, jval in, const jargs *a, jval *ret) {
    (void)a;
    *ret = jval_text(r, in);
    return ERR_OK;
}

static err_code f_escape(jinja_run *r, jval in, const jargs *a, jval *ret) {
    (void)a;
    static const char chars[] = "&<>\"'";
    static const char *const to[] = {"&amp;", "&lt;", "&gt;", "&#34;", "&#39;"};
    const jstr *s = jval_text(r, in).as.text;
    jbuf b;
    jbuf_init(&b, r);
    for (size_t i = 0; i < s->text.len; i++) {
        const char *hit = memchr(chars, s->text.ptr[i], sizeof chars - 1);
        if (hit)
            jbuf_put(&b, str_from(to[hit - chars]), jstr_trusted_at(s, i));
        else
            jbuf_put_sub(&b, s, i, i + 1);
    }
    *ret = jbuf_take(&b);
    return ERR_OK;
}

static err_code f_wordcount(jinja_run *r, jval in, const jargs *a, jval *ret) {
    (void)a;
    str s = jval_text(r, in).as.text->text;
    int64_t n = 0;
    bool inside = false;
    for (size_t i = 0; i < s.len;) {
        uint32_t c = str_utf8_next(s, &i);
        utf8proc_category_t k = utf8proc_category((utf8proc_int32_t)c);
        bool word = c == '_' || (k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_LO) ||
                    (k >= UTF8PROC_CATEGORY_ND && k <= UTF8PROC_CATEGORY_NO);
        n += word && !inside;
        inside = word;
    }
    *ret = jval_int(n);
    return ERR_OK;
}

static err_code f_format(jinja_run *r, jval in, const jargs *a, jval *ret) {
    return jstr_percent(r, jval_text(r, in).as.text, a->pos, a->n, ret);
}

static err_code need_number(jinja_run *r, jval v, const char *what) {
    if (v.kind == JV_UNDEF) return jval_undef_fail(r, v);
    if (!jval_is_number(v)) JFAIL(r, "%s needs a number, not %s", what, jval_type(v));
    return ERR_OK;
}

static err_code f_abs(jinja_run *r, jval in, const jargs *a, jval *ret) {
    (void)a;
    TRY(need_number(r, in, "abs"));
    if (in.kind == JV_FLOAT) {
        *ret = jval_float(fabs(in.as.number));
        return ERR_OK;
    }
    if (in.kind == JV_BOOL) in = jval_int(in.as.boolean);
    *ret = in;
    return in.as.integer < 0 ? jinja_binary(r, JOP_SUB, jval_int(0), in, ret) : ERR_OK;
}

static err_code f_round(jinja_run *r, jval in, const jargs *a, jval *ret) {
    int64_t precision = 0;
    jval method = jstr_val(r, STR("common"), true);
    TRY(need_number(r, in, "round"));
    TRY(jargs_int(r, a, 0, "precision", &precision));
    jargs_get(a, 1, "method", &method);
    if (precision < 0 || precision > 15) JFAIL(r, "round: precision out of range");
    str how = jval_text(r, method).as.text->text;
    double v = jval_number(in), scale = pow(10, (double)precision);
    if (str_eq(how, STR("ceil")))
        v = ceil(v * scale) / scale;
    else if (str_eq(how, STR("floor")))
        v = floor(v * scale) / scale;
    else if (str_eq(how, STR("common")) && isfinite(v)) {
        char tmp[400];
        snprintf(tmp, sizeof tmp, "%.*f", (int)precision, v);
        v = strtod(tmp, NULL);
    } else if (!str_eq(how, STR("common"))) {
        JFAIL(r, "round: method must be common, ceil or floor");
    }
    *ret = in.kind == JV_FLOAT || !str_eq(how, STR("common")) ? jval_float(v) : in;
    return ERR_OK;
}

static const jfilter_entry filters[] = {
    {"trim", f_trim},
    {"upper", f_upper},
    {"lower", f_lower},
    {"title", f_title},
    {"capitalize", f_capitalize},
    {"replace", f_replace},
    {"string", f_string},
    {"int", f_int},
    {"float", f_float},
    {"default", f_default},
    {"d", f_default},
    {"tojson", f_tojson},
    {"indent", f_indent},
    {"safe", f_safe},
    {"escape", f_escape},
    {"e", f_escape},
    {"wordcount", f_wordcount},
    {"format", f_format},
    {"abs", f_abs},
    {"round", f_round},
};

jfilter_fn jinja_filter_text_find(str name) {
    for (size_t i = 0; i < COUNT_OF(filters); i++)
        if (str_eq(name, str_from(filters[i].name))) return filters[i].fn;
    return NULL;
}

jfilter_fn jinja_filter_find(str name) {
    jfilter_fn fn = jinja_filter_text_find(name);
    if (!fn) fn = jinja_filter_list_find(name);
    return fn ? fn : jinja_filter_pad_find(name);
}
