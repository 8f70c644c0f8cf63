/* JSON text of values: the writer. */
#include "base/value_json.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_line_separator(str s, size_t i) { /* U+2028, U+2029 */
    return i + 2 < s.len && (unsigned char)s.ptr[i] == 0xE2 &&
           (unsigned char)s.ptr[i + 1] == 0x80 && ((unsigned char)s.ptr[i + 2] & 0xFE) == 0xA8;
}

void value_json_string(buf *out, str s, int flags) {
    static const char SHORT[][2] = {{'"', '"'},  {'\\', '\\'}, {'\n', 'n'}, {'\r', 'r'},
                                    {'\t', 't'}, {'\b', 'b'},  {'\f', 'f'}};
    bool html = (flags & VALUE_JSON_HTML) != 0;
    buf_put_char(out, '"');
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        size_t k = 0;
        while (k < COUNT_OF(SHORT) && SHORT[k][0] != (char)c) k++;
        if (k < COUNT_OF(SHORT)) {
            buf_put_char(out, '\\');
            buf_put_char(out, SHORT[k][1]);
        } else if (c < 0x20 || (html && (c == '<' || c == '>' || c == '&'))) {
            buf_putf(out, "\\u%04x", c);
        } else if (html && is_line_separator(s, i)) {
            buf_putf(out, "\\u202%c", (unsigned char)s.ptr[i + 2] == 0xA8 ? '8' : '9');
            i += 2;
        } else {
            buf_put_char(out, (char)c);
        }
    }
    buf_put_char(out, '"');
}

/* The shortest of %.0e .. %.16e that reads back as v, as a double or (single) a float. */
static void shortest(char text[40], double v, bool single) {
    for (int digits = 0; digits < 17; digits++) {
        snprintf(text, 40, "%.*e", digits, v);
        if (single ? strtof(text, NULL) == (float)v
                   : !(strtod(text, NULL) < v) && !(strtod(text, NULL) > v))
            return;
    }
}

static void put_number(buf *out, double v, bool single) {
    if (!isfinite(v)) {
        buf_put_char(out, '0');
        return;
    }
    char text[40];
    shortest(text, v, single);
    char *exp = strchr(text, 'e');
    int e10 = (int)strtol(exp + 1, NULL, 10);
    double magnitude = fabs(v), least = single ? (double)1e-6f : 1e-6;
    if (magnitude > 0 && (magnitude < least || magnitude >= 1e21)) {
        *exp = '\0';
        buf_putf(out, "%se%s%d", text, e10 < 0 ? "-" : "+", e10 < 0 ? -e10 : e10);
        return;
    }
    int digits = (int)(exp - text) - (text[0] == '-') - 1; /* after the point, with the point */
    int decimals = (digits > 0 ? digits - 1 : 0) - e10;
    if (decimals >= 0) {
        buf_putf(out, "%.*f", decimals, v);
        return;
    }
    for (const char *p = text; p < exp; p++) /* the digits that matter, then zeros */
        if (*p != '.') buf_put_char(out, *p);
    buf_putf(out, "%0*d", -decimals, 0);
}

void value_json_number(buf *out, double v) {
    put_number(out, v, false);
}

void value_json_number_f32(buf *out, float v) {
    put_number(out, (double)v, true);
}

static bool write_list(buf *out, const value *v, int flags) {
    bool trusted = true;
    buf_put_char(out, '[');
    for (size_t i = 0; i < v->as.list.len; i++) {
        if (i) buf_put_str(out, flags & VALUE_JSON_SPACED ? STR(", ") : STR(","));
        trusted &= value_json_write(out, v->as.list.items[i], flags);
    }
    buf_put_char(out, ']');
    return trusted;
}

static void write_map(buf *out, const value *v, int flags) {
    buf_put_char(out, '{');
    for (size_t i = 0; i < v->as.map.len; i++) {
        if (i) buf_put_str(out, flags & VALUE_JSON_SPACED ? STR(", ") : STR(","));
        value_json_string(out, v->as.map.pairs[i].key, flags);
        buf_put_str(out, flags & VALUE_JSON_SPACED ? STR(": ") : STR(":"));
        value_json_write(out, v->as.map.pairs[i].val, flags);
    }
    buf_put_char(out, '}');
}

/* Depth is bounded where values are made (LIMIT_JSON_DEPTH). */
bool value_json_write(buf *out, const value *v, int flags) {
    switch (v ? v->kind : VALUE_NULL) {
    case VALUE_NULL:
        buf_put_str(out, STR("null"));
        return true;
    case VALUE_BOOL:
        buf_put_str(out, v->as.boolean ? STR("true") : STR("false"));
        return true;
    case VALUE_INT:
        buf_putf(out, "%lld", (long long)v->as.integer);
        return true;
    case VALUE_FLOAT:
        value_json_number(out, v->as.number);
        return true;
    case VALUE_STR:
        value_json_string(out, v->as.text, flags);
        return v->trusted;
    case VALUE_LIST:
        return write_list(out, v, flags);
    case VALUE_MAP:
        write_map(out, v, flags);
        return false;
    }
    return false;
}
