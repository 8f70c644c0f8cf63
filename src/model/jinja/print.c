/* Values as text: str() and repr() of Python, and JSON as Python's json.dumps writes it.
 * Only strings can be trusted; numbers, brackets and escapes made here never are. */
#include "model/jinja/jinja_impl.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

/* Shortest digits that read back as v; point = place of the decimal point behind the first digit.
 */
static int shortest(double v, char digits[32], int *ret_exp) {
    char tmp[40];
    for (int p = 0; p < 17; p++) {
        snprintf(tmp, sizeof tmp, "%.*e", p, v);
        double back = strtod(tmp, NULL);
        if (!(back < v) && !(back > v)) break;
    }
    int n = 0;
    for (const char *c = tmp; *c && *c != 'e'; c++)
        if (*c >= '0' && *c <= '9') digits[n++] = *c;
    while (n > 1 && digits[n - 1] == '0') n--;
    *ret_exp = (int)strtol(strchr(tmp, 'e') + 1, NULL, 10);
    return n;
}

void jinja_put_float(jbuf *b, double v) {
    if (isnan(v)) {
        jbuf_puts(b, "nan");
        return;
    }
    if (signbit(v)) jbuf_puts(b, "-");
    if (isinf(v)) {
        jbuf_puts(b, "inf");
        return;
    }
    char digits[32];
    int e = 0, n = shortest(fabs(v), digits, &e);
    char out[64];
    int len = 0;
    if (e < -4 || e >= 16) {
        out[len++] = digits[0];
        if (n > 1) out[len++] = '.';
        for (int i = 1; i < n; i++) out[len++] = digits[i];
        len += snprintf(out + len, sizeof out - (size_t)len, "e%c%02d", e < 0 ? '-' : '+', abs(e));
    } else {
        if (e < 0) len += snprintf(out, sizeof out, "0.%.*s", -e - 1, "0000");
        for (int i = 0; i < n || i <= e; i++) {
            if (i == e + 1 && e >= 0) out[len++] = '.';
            out[len++] = i < n ? digits[i] : '0';
        }
        if (e >= n - 1) {
            out[len++] = '.';
            out[len++] = '0';
        }
    }
    jbuf_put(b, (str){out, (size_t)len}, false);
}

static bool is_printable(uint32_t c) {
    utf8proc_category_t k = utf8proc_category((utf8proc_int32_t)c);
    return c == ' ' || (k != UTF8PROC_CATEGORY_CN && k < UTF8PROC_CATEGORY_ZS);
}

static void put_repr_str(jbuf *b, const jstr *s) {
    bool single = str_find_char(s->text, '\'') >= 0, dbl = str_find_char(s->text, '"') >= 0;
    char quote = single && !dbl ? '"' : '\'';
    jbuf_put(b, (str){&quote, 1}, false);
    for (size_t pos = 0; pos < s->text.len && !b->r->over;) {
        size_t from = pos;
        uint32_t c = str_utf8_next(s->text, &pos);
        char esc[12] = {'\\', 0};
        if (c == '\n')
            esc[1] = 'n';
        else if (c == '\t')
            esc[1] = 't';
        else if (c == '\r')
            esc[1] = 'r';
        else if (c == '\\' || c == (uint32_t)quote)
            esc[1] = (char)c;
        else if (!is_printable(c))
            snprintf(esc, sizeof esc,
                     c < 256     ? "\\x%02x"
                     : c < 65536 ? "\\u%04x"
                                 : "\\U%08x",
                     (unsigned)c);
        if (esc[1])
            jbuf_puts(b, esc);
        else
            jbuf_put_sub(b, s, from, pos);
    }
    jbuf_put(b, (str){&quote, 1}, false);
}

static void put_items(jbuf *b, const jlist *l) {
    for (size_t i = 0; i < l->len && !b->r->over; i++) {
        if (i) jbuf_puts(b, ", ");
        jval_repr(b, l->items[i]);
    }
}

static void put_container(jbuf *b, jval v) {
    if (jinja_enter(b->r) != ERR_OK) {
        b->r->over = true;
        return;
    }
    if (v.kind == JV_MAP || v.kind == JV_SPACE) {
        jbuf_puts(b, v.kind == JV_MAP ? "{" : "<Namespace {");
        for (size_t i = 0; i < v.as.map->len && !b->r->over; i++) {
            if (i) jbuf_puts(b, ", ");
            jval_repr(b, v.as.map->items[i].key);
            jbuf_puts(b, ": ");
            jval_repr(b, v.as.map->items[i].val);
        }
        jbuf_puts(b, v.kind == JV_MAP ? "}" : "}>");
    } else {
        jbuf_puts(b, v.kind == JV_LIST ? "[" : "(");
        put_items(b, v.as.list);
        jbuf_puts(b, v.kind == JV_LIST ? "]" : v.as.list->len == 1 ? ",)" : ")");
    }
    jinja_leave(b->r);
}

void jval_repr(jbuf *b, jval v) {
    if (v.kind == JV_STR)
        put_repr_str(b, v.as.text);
    else if (v.kind == JV_UNDEF)
        jbuf_puts(b, "Undefined");
    else
        jval_print(b, v);
}

void jval_print(jbuf *b, jval v) {
    char num[32];
    b->r->steps++;
    switch (v.kind) {
    case JV_UNDEF:
        break;
    case JV_NONE:
        jbuf_puts(b, "None");
        break;
    case JV_BOOL:
        jbuf_puts(b, v.as.boolean ? "True" : "False");
        break;
    case JV_INT:
        snprintf(num, sizeof num, "%lld", (long long)v.as.integer);
        jbuf_puts(b, num);
        break;
    case JV_FLOAT:
        jinja_put_float(b, v.as.number);
        break;
    case JV_STR:
        jbuf_put_jstr(b, v.as.text);
        break;
    case JV_LIST:
    case JV_TUPLE:
    case JV_MAP:
    case JV_SPACE:
        put_container(b, v);
        break;
    case JV_LOOP:
        jbuf_puts(b, "<LoopContext>");
        break;
    case JV_FUNC:
        jbuf_puts(b, v.as.func->kind == JFUNC_MACRO ? "<Macro '" : "<function '");
        jbuf_put(b, v.as.func->name, false);
        jbuf_puts(b, "'>");
        break;
    }
}

jval jval_text(jinja_run *r, jval v) {
    if (v.kind == JV_STR) { /* somebody will read all of it */
        jinja_work(r, v.as.text->text.len / 32);
        return v;
    }
    jbuf b;
    jbuf_init(&b, r);
    jval_print(&b, v);
    return jbuf_take(&b);
}

/* ---- JSON ---- */

static void put_escape(jbuf *b, uint32_t c) {
    char esc[16];
    if (c > 0xffff)
        snprintf(esc, sizeof esc, "\\u%04x\\u%04x", 0xd800 + ((c - 0x10000) >> 10),
                 0xdc00 + ((c - 0x10000) & 0x3ff));
    else
        snprintf(esc, sizeof esc, "\\u%04x", (unsigned)c);
    jbuf_puts(b, esc);
}

static void json_str(jbuf *b, const jstr *s, bool ascii) {
    jbuf_puts(b, "\"");
    size_t plain = 0; /* start of what needs no escape */
    for (size_t pos = 0; pos < s->text.len && !b->r->over;) {
        size_t from = pos;
        uint32_t c = str_utf8_next(s->text, &pos);
        if (c >= 32 && c != '"' && c != '\\' && (!ascii || c < 127)) continue;
        jbuf_put_sub(b, s, plain, from);
        plain = pos;
        if (c == '"')
            jbuf_puts(b, "\\\"");
        else if (c == '\\')
            jbuf_puts(b, "\\\\");
        else if (c == '\n')
            jbuf_puts(b, "\\n");
        else if (c == '\r')
            jbuf_puts(b, "\\r");
        else if (c == '\t')
            jbuf_puts(b, "\\t");
        else if (c == '\b')
            jbuf_puts(b, "\\b");
        else if (c == '\f')
            jbuf_puts(b, "\\f");
        else if (c == 127)
            jbuf_put_sub(b, s, from, pos);
        else
            put_escape(b, c);
    }
    jbuf_put_sub(b, s, plain, s->text.len);
    jbuf_puts(b, "\"");
}

static void json_newline(jbuf *b, const jinja_json_opts *o, int depth) {
    if (!o->indent) return;
    jbuf_puts(b, "\n");
    for (int i = 0; i < depth; i++) jbuf_put_jstr(b, o->indent);
}

static err_code json_value(jbuf *b, jval v, const jinja_json_opts *o, int depth);

static err_code json_key(jbuf *b, jval key, const jinja_json_opts *o) {
    if (key.kind != JV_STR && key.kind != JV_NONE && !jval_is_number(key))
        JFAIL(b->r, "a key of a JSON object cannot be %s", jval_type(key));
    if (key.kind == JV_NONE) key = jstr_val(b->r, STR("null"), false);
    if (key.kind == JV_BOOL)
        key = jstr_val(b->r, key.as.boolean ? STR("true") : STR("false"), false);
    json_str(b, jval_text(b->r, key).as.text, o->ascii);
    return ERR_OK;
}

static int by_key(const void *a, const void *b) {
    const jpair *x = a, *y = b;
    if (x->key.kind != JV_STR || y->key.kind != JV_STR) return 0;
    return str_cmp(x->key.as.text->text, y->key.as.text->text);
}

static err_code json_map(jbuf *b, const jmap *m, const jinja_json_opts *o, int depth) {
    const jpair *items = m->items;
    if (o->sort && m->len > 1) {
        jpair *copy = jinja_alloc(b->r, m->len * sizeof *copy);
        memcpy(copy, items, m->len * sizeof *copy);
        qsort(copy, m->len, sizeof *copy, by_key);
        items = copy;
    }
    jbuf_puts(b, "{");
    for (size_t i = 0; i < m->len; i++) {
        if (i) jbuf_put_jstr(b, o->item_sep);
        json_newline(b, o, depth + 1);
        TRY(json_key(b, items[i].key, o));
        jbuf_put_jstr(b, o->key_sep);
        TRY(json_value(b, items[i].val, o, depth + 1));
    }
    if (m->len > 0) json_newline(b, o, depth);
    jbuf_puts(b, "}");
    return ERR_OK;
}

static err_code json_value(jbuf *b, jval v, const jinja_json_opts *o, int depth) {
    TRY(jinja_step(b->r, 1));
    TRY(jinja_enter(b->r));
    if (v.kind == JV_NONE) {
        jbuf_puts(b, "null");
    } else if (v.kind == JV_BOOL) {
        jbuf_puts(b, v.as.boolean ? "true" : "false");
    } else if (v.kind == JV_FLOAT && !isfinite(v.as.number)) {
        jbuf_puts(b, isnan(v.as.number) ? "NaN" : v.as.number < 0 ? "-Infinity" : "Infinity");
    } else if (v.kind == JV_INT || v.kind == JV_FLOAT) {
        jval_print(b, v);
    } else if (v.kind == JV_STR) {
        json_str(b, v.as.text, o->ascii);
    } else if (jval_is_list(v)) {
        jbuf_puts(b, "[");
        for (size_t i = 0; i < v.as.list->len; i++) {
            if (i) jbuf_put_jstr(b, o->item_sep);
            json_newline(b, o, depth + 1);
            TRY(json_value(b, v.as.list->items[i], o, depth + 1));
        }
        if (v.as.list->len > 0) json_newline(b, o, depth);
        jbuf_puts(b, "]");
    } else if (v.kind == JV_MAP) {
        TRY(json_map(b, v.as.map, o, depth));
    } else {
        JFAIL(b->r, "%s cannot be written as JSON", jval_type(v));
    }
    jinja_leave(b->r);
    return ERR_OK;
}

err_code jval_json(jbuf *b, jval v, const jinja_json_opts *o) {
    return json_value(b, v, o, 0);
}
