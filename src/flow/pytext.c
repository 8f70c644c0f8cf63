/* Python's str() and repr() of plain data. Nesting is bounded by the reader of JSON. */
#include "flow/pytext.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

/* Shortest digits of v > 0 that read back as v; *ret_exp: decimal exponent of the first. */
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

void pytext_float(buf *out, double v) {
    if (isnan(v)) {
        buf_put_str(out, STR("nan"));
        return;
    }
    if (signbit(v)) buf_put_char(out, '-');
    if (isinf(v)) {
        buf_put_str(out, STR("inf"));
        return;
    }
    char digits[32];
    int e = 0, n = shortest(fabs(v), digits, &e);
    if (e < -4 || e >= 16) {
        buf_put_char(out, digits[0]);
        if (n > 1) buf_put_char(out, '.');
        buf_put(out, digits + 1, (size_t)n - 1);
        buf_putf(out, "e%c%02d", e < 0 ? '-' : '+', abs(e));
        return;
    }
    if (e < 0) buf_putf(out, "0.%.*s", -e - 1, "0000");
    for (int i = 0; i < n || i <= e; i++) {
        if (i == e + 1 && e >= 0) buf_put_char(out, '.');
        buf_put_char(out, i < n ? digits[i] : '0');
    }
    if (e >= n - 1) buf_put_str(out, STR(".0"));
}

static bool is_printable(uint32_t c) {
    utf8proc_category_t k = utf8proc_category((utf8proc_int32_t)c);
    return c == ' ' || (k != UTF8PROC_CATEGORY_CN && k < UTF8PROC_CATEGORY_ZS);
}

static void put_quoted(buf *out, str s) {
    bool single = str_find_char(s, '\'') >= 0, dbl = str_find_char(s, '"') >= 0;
    char quote = single && !dbl ? '"' : '\'';
    buf_put_char(out, quote);
    for (size_t pos = 0; pos < s.len;) {
        size_t from = pos;
        uint32_t c = str_utf8_next(s, &pos);
        if (c == '\n')
            buf_put_str(out, STR("\\n"));
        else if (c == '\t')
            buf_put_str(out, STR("\\t"));
        else if (c == '\r')
            buf_put_str(out, STR("\\r"));
        else if (c == '\\' || c == (uint32_t)quote)
            buf_putf(out, "\\%c", (char)c);
        else if (is_printable(c))
            buf_put(out, s.ptr + from, pos - from);
        else if (c < 256)
            buf_putf(out, "\\x%02x", (unsigned)c);
        else if (c < 65536)
            buf_putf(out, "\\u%04x", (unsigned)c);
        else
            buf_putf(out, "\\U%08x", (unsigned)c);
    }
    buf_put_char(out, quote);
}

void pytext_repr(buf *out, const value *v) {
    switch (v ? v->kind : VALUE_NULL) {
    case VALUE_NULL:
        buf_put_str(out, STR("None"));
        break;
    case VALUE_BOOL:
        buf_put_str(out, v->as.boolean ? STR("True") : STR("False"));
        break;
    case VALUE_INT:
        buf_putf(out, "%lld", (long long)v->as.integer);
        break;
    case VALUE_FLOAT:
        pytext_float(out, v->as.number);
        break;
    case VALUE_STR:
        put_quoted(out, v->as.text);
        break;
    case VALUE_LIST:
        buf_put_char(out, '[');
        for (size_t i = 0; i < v->as.list.len; i++) {
            if (i) buf_put_str(out, STR(", "));
            pytext_repr(out, v->as.list.items[i]);
        }
        buf_put_char(out, ']');
        break;
    case VALUE_MAP:
        buf_put_char(out, '{');
        for (size_t i = 0; i < v->as.map.len; i++) {
            if (i) buf_put_str(out, STR(", "));
            put_quoted(out, v->as.map.pairs[i].key);
            buf_put_str(out, STR(": "));
            pytext_repr(out, v->as.map.pairs[i].val);
        }
        buf_put_char(out, '}');
        break;
    }
}

void pytext_str(buf *out, const value *v) {
    if (v && v->kind == VALUE_STR)
        buf_put_str(out, v->as.text);
    else
        pytext_repr(out, v);
}

const char *pytext_type(const value *v) {
    static const char *const names[] = {"NoneType", "bool", "int", "float", "str", "list", "dict"};
    return names[v ? v->kind : VALUE_NULL];
}

static str take(arena *a, buf *b) {
    str s = str_dup(a, buf_str(b));
    buf_finish(b);
    return s;
}

str pytext_str_in(arena *a, const value *v) {
    buf b = {0};
    pytext_str(&b, v);
    return take(a, &b);
}

str pytext_repr_in(arena *a, const value *v) {
    buf b = {0};
    pytext_repr(&b, v);
    return take(a, &b);
}
