/* Values as text, and Go's printf. Source: the documentation of Go's package fmt. */
#include "base/value_json.h"
#include "model/gotmpl/syntax.h"
#include <stdio.h>
#include <string.h>
#include <utf8proc.h>

enum { WIDTH_MOST = 100000 }; /* of a field */

typedef struct spec {
    bool minus, plus, sharp, space, zero, has_width, has_places;
    int width, places;
} spec;

const char *go_type_name(const value *v) {
    static const char *const NAMES[] = {
        "<nil>", "bool", "int", "float64", "string", "[]interface {}", "map[string]interface {}"};
    return v ? NAMES[v->kind] : NAMES[0];
}

static bool is_nil(const value *v) {
    return !v || v->kind == VALUE_NULL;
}

/* ---- quoting ---- */

bool go_is_printable(uint32_t c) {
    if (c < 0x7f) return c >= 0x20;
    utf8proc_category_t k = utf8proc_category((utf8proc_int32_t)c);
    return k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_SO;
}

static void put_escaped(buf *out, uint32_t c, char quote, bool ascii) {
    static const char NAMES[] = "abfnrtv", VALUES[] = "\a\b\f\n\r\t\v";
    const char *known = c && c < 0x80 ? strchr(VALUES, (int)c) : NULL;
    if (c == (uint32_t)quote || c == '\\')
        buf_putf(out, "\\%c", (char)c);
    else if (known)
        buf_putf(out, "\\%c", NAMES[known - VALUES]);
    else if (go_is_printable(c) && !(ascii && c >= 0x80))
        buf_put_utf8(out, c);
    else if (c < 0x80)
        buf_putf(out, "\\x%02x", (unsigned)c);
    else
        buf_putf(out, c < 0x10000 ? "\\u%04x" : "\\U%08x", (unsigned)c);
}

static void put_quoted(buf *out, str s, bool ascii) {
    buf_put_char(out, '"');
    for (size_t i = 0; i < s.len;) {
        size_t from = i;
        uint32_t c = str_utf8_next(s, &i);
        if (c == 0xFFFD && i == from + 1)
            buf_putf(out, "\\x%02x", (unsigned char)s.ptr[from]);
        else
            put_escaped(out, c, '"', ascii);
    }
    buf_put_char(out, '"');
}

static bool fits_backquotes(str s) {
    for (size_t i = 0; i < s.len;) {
        uint32_t c = str_utf8_next(s, &i);
        if (c == 0xFFFD || c == 0xFEFF || c == '`' || c == 0x7f || (c < 0x20 && c != '\t'))
            return false;
    }
    return true;
}

/* ---- fields ---- */

static size_t count_runes(str s) {
    size_t n = 0;
    for (size_t i = 0; i < s.len; n++) str_utf8_next(s, &i);
    return n;
}

static void put_padded(buf *out, const spec *f, str s) {
    size_t n = count_runes(s), width = f->has_width ? (size_t)f->width : 0;
    size_t more = width > n ? width - n : 0;
    char pad = f->zero && !f->minus ? '0' : ' ';
    for (size_t i = 0; i < more && !f->minus; i++) buf_put_char(out, pad);
    buf_put_str(out, s);
    for (size_t i = 0; i < more && f->minus; i++) buf_put_char(out, ' ');
}

static str cut_runes(const spec *f, str s) {
    size_t at = 0;
    if (!f->has_places) return s;
    for (int n = 0; at < s.len && n < f->places; n++) str_utf8_next(s, &at);
    return str_sub(s, 0, at);
}

/* ---- numbers ---- */

static void put_integer(buf *out, const spec *f, int64_t v, char verb) {
    uint64_t base = verb == 'b' ? 2 : verb == 'o' || verb == 'O' ? 8 : verb == 'd' ? 10 : 16;
    const char *digits = verb == 'X' ? "0123456789ABCDEF" : "0123456789abcdef";
    uint64_t u = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
    char tmp[72];
    size_t n = 0;
    do tmp[n++] = digits[u % base];
    while ((u /= base) > 0);
    int least = f->has_places ? f->places : 0;
    if (f->has_places && f->places == 0 && v == 0) n = 0;
    if (!f->has_places && f->zero && !f->minus && f->has_width)
        least = f->width - (v < 0 || f->plus || f->space);
    buf text = {0};
    if (v < 0 || f->plus || f->space) buf_put_char(&text, v < 0 ? '-' : f->plus ? '+' : ' ');
    if (verb == 'O') buf_put_str(&text, STR("0o"));
    if (f->sharp && base == 16) buf_put_str(&text, verb == 'X' ? STR("0X") : STR("0x"));
    if (f->sharp && base == 2) buf_put_str(&text, STR("0b"));
    bool leading = f->sharp && verb == 'o' && (size_t)least <= n && tmp[n ? n - 1 : 0] != '0';
    if (leading) buf_put_char(&text, '0');
    for (size_t i = n; least > 0 && i < (size_t)least; i++) buf_put_char(&text, '0');
    while (n > 0) buf_put_char(&text, tmp[--n]);
    spec plain = *f;
    plain.zero = false;
    put_padded(out, &plain, buf_str(&text));
    buf_finish(&text);
}

/* The shortest digits that read back the same, as %e writes them. */
static void shortest(double v, char out[40]) {
    for (int places = 0; places < 18; places++) {
        double back;
        snprintf(out, 40, "%.*e", places, v);
        if (str_to_f64(str_from(out), &back) && memcmp(&back, &v, sizeof v) == 0) return;
    }
}

/* %g without a precision: an exponent below -4 and from 6 on. */
static void put_general(buf *out, double v, bool upper) {
    char text[40];
    shortest(v, text);
    char *e = strchr(text, 'e');
    int64_t exponent = 0;
    if (e) str_to_i64(str_from(e + 1), &exponent);
    if (e && exponent >= -4 && exponent < 6) {
        int digits = 0;
        for (const char *c = text; c < e; c++) digits += *c >= '0' && *c <= '9';
        int places = digits - 1 - (int)exponent;
        buf_putf(out, "%.*f", places > 0 ? places : 0, v);
        return;
    }
    if (e && upper) *e = 'E';
    buf_put_str(out, str_from(text));
}

void go_put_float(buf *out, double v) {
    put_general(out, v, false);
}

static void put_real(buf *out, const spec *f, double v, char verb) {
    buf text = {0};
    bool negative = v < 0;
    double size = negative ? -v : v;
    if (verb == 'v') verb = 'g';
    if (f->has_places && verb == 'g')
        buf_putf(&text, "%.*g", f->places ? f->places : 1, size);
    else if (f->has_places && verb == 'G')
        buf_putf(&text, "%.*G", f->places ? f->places : 1, size);
    else if (verb == 'g' || verb == 'G')
        put_general(&text, size, verb == 'G');
    else if (verb == 'e' || verb == 'E')
        buf_putf(&text, verb == 'e' ? "%.*e" : "%.*E", f->has_places ? f->places : 6, size);
    else
        buf_putf(&text, "%.*f", f->has_places ? f->places : 6, size);
    const char *sign = negative ? "-" : f->plus ? "+" : f->space ? " " : "";
    spec rest = *f;
    if (f->zero && !f->minus && f->has_width && sign[0]) {
        buf_put_str(out, str_from(sign));
        rest.width--;
        put_padded(out, &rest, buf_str(&text));
    } else {
        buf whole = {0};
        buf_put_str(&whole, str_from(sign));
        buf_put_str(&whole, buf_str(&text));
        put_padded(out, f, buf_str(&whole));
        buf_finish(&whole);
    }
    buf_finish(&text);
}

static void put_hex(buf *out, const spec *f, str s, bool upper) {
    buf text = {0};
    if (f->has_places && (size_t)f->places < s.len) s.len = (size_t)f->places;
    for (size_t i = 0; i < s.len; i++) {
        if (f->space && i) buf_put_char(&text, ' ');
        if (f->sharp && (f->space || i == 0)) buf_put_str(&text, upper ? STR("0X") : STR("0x"));
        buf_putf(&text, upper ? "%02X" : "%02x", (unsigned char)s.ptr[i]);
    }
    put_padded(out, f, buf_str(&text));
    buf_finish(&text);
}

/* ---- one value ---- */

static void put_value(buf *out, const spec *f, const value *v, char verb, bool *trusted);

static void put_bad(buf *out, const spec *f, const value *v, char verb, bool *trusted) {
    buf_putf(out, "%%!%c(%s", verb, go_type_name(v));
    if (!is_nil(v)) {
        buf_put_char(out, '=');
        put_value(out, f, v, 'v', trusted);
    }
    buf_put_char(out, ')');
}

static void put_string(buf *out, const spec *f, str s, char verb) {
    buf text = {0};
    if (verb == 'q' || (verb == 'v' && f->sharp)) {
        s = cut_runes(f, s);
        if (verb == 'q' && f->sharp && fits_backquotes(s))
            buf_putf(&text, "`" STR_FMT "`", STR_ARG(s));
        else
            put_quoted(&text, s, f->plus && verb == 'q');
        put_padded(out, f, buf_str(&text));
    } else {
        put_padded(out, f, cut_runes(f, s));
    }
    buf_finish(&text);
}

static void put_rune(buf *out, const spec *f, int64_t v, char verb) {
    buf text = {0};
    uint32_t c = v < 0 || v > 0x10FFFF ? 0xFFFD : (uint32_t)v;
    if (verb == 'c') {
        buf_put_utf8(&text, c);
    } else if (verb == 'q') {
        buf_put_char(&text, '\'');
        put_escaped(&text, c, '\'', f->plus);
        buf_put_char(&text, '\'');
    } else {
        buf_putf(&text, "U+%04llX", (unsigned long long)v);
        if (f->sharp && go_is_printable(c)) {
            buf_put_str(&text, STR(" '"));
            buf_put_utf8(&text, c);
            buf_put_char(&text, '\'');
        }
    }
    put_padded(out, f, buf_str(&text));
    buf_finish(&text);
}

/* Lists of plain values as Go prints them, others as JSON. */
static bool has_maps(const value *v) {
    for (size_t i = 0; i < v->as.list.len; i++) {
        const value *item = v->as.list.items[i];
        if (item->kind == VALUE_MAP || (item->kind == VALUE_LIST && has_maps(item))) return true;
    }
    return false;
}

static void put_collection(buf *out, const spec *f, const value *v, char verb, bool *trusted) {
    if (v->kind == VALUE_LIST && v->trusted && v->as.list.len == 1) { /* a property's type */
        put_value(out, f, v->as.list.items[0], verb, trusted);
        return;
    }
    if (v->kind == VALUE_LIST && !has_maps(v)) {
        buf_put_char(out, '[');
        for (size_t i = 0; i < v->as.list.len; i++) {
            if (i) buf_put_char(out, ' ');
            put_value(out, f, v->as.list.items[i], verb, trusted);
        }
        buf_put_char(out, ']');
        return;
    }
    buf text = {0};
    *trusted &= value_json_write(&text, v, VALUE_JSON_HTML);
    put_string(out, f, buf_str(&text), verb == 'q' ? 'q' : 's');
    buf_finish(&text);
}

static void put_value(buf *out, const spec *f, const value *v, char verb, bool *trusted) {
    if (verb == 'T') {
        put_padded(out, f, str_from(go_type_name(v)));
    } else if (is_nil(v)) {
        if (verb == 'v')
            put_padded(out, f, STR("<nil>"));
        else
            put_bad(out, f, v, verb, trusted);
    } else if (v->kind == VALUE_LIST || v->kind == VALUE_MAP) {
        put_collection(out, f, v, verb, trusted);
    } else if (v->kind == VALUE_STR && strchr("vsq", verb)) {
        *trusted = *trusted && v->trusted;
        put_string(out, f, v->as.text, verb);
    } else if (v->kind == VALUE_STR && strchr("xX", verb)) {
        *trusted = *trusted && v->trusted;
        put_hex(out, f, v->as.text, verb == 'X');
    } else if (v->kind == VALUE_BOOL && strchr("vt", verb)) {
        put_padded(out, f, v->as.boolean ? STR("true") : STR("false"));
    } else if (v->kind == VALUE_INT && strchr("vdboOxX", verb)) {
        put_integer(out, f, v->as.integer, verb == 'v' ? 'd' : verb);
    } else if (v->kind == VALUE_INT && strchr("cqU", verb)) {
        put_rune(out, f, v->as.integer, verb);
    } else if (v->kind == VALUE_FLOAT && strchr("veEfFgG", verb)) {
        put_real(out, f, v->as.number, verb);
    } else {
        put_bad(out, f, v, verb, trusted);
    }
}

void go_put_value(buf *out, const value *v, bool *trusted) {
    put_value(out, &(spec){0}, v, 'v', trusted);
}

str go_text(arena *a, const value *v, bool *trusted) {
    buf out = {0};
    if (is_nil(v)) return (str){0};
    if (v->kind == VALUE_STR) {
        *trusted = *trusted && v->trusted;
        return v->as.text;
    }
    go_put_value(&out, v, trusted);
    str s = str_dup(a, buf_str(&out));
    buf_finish(&out);
    return s;
}

/* ---- printf ---- */

typedef struct format {
    buf *out;
    str s;
    size_t at;
    const value *const *args;
    size_t n, arg; /* how many; the next */
    bool reordered, was_index, good_index;
    bool *trusted;
} format;

static char here(const format *p) {
    return p->at < p->s.len ? p->s.ptr[p->at] : '\0';
}

static bool read_int(format *p, int *ret) {
    int n = 0;
    size_t from = p->at;
    for (; here(p) >= '0' && here(p) <= '9'; p->at++) {
        n = n * 10 + (here(p) - '0');
        if (n > WIDTH_MOST) n = WIDTH_MOST;
    }
    *ret = n;
    return p->at > from;
}

/* [3]: the argument that follows. */
static void read_index(format *p) {
    int n = 0;
    if (here(p) != '[') return;
    p->reordered = true;
    ptrdiff_t end = str_find_char(str_sub(p->s, p->at, p->s.len), ']');
    size_t close = p->at + (end < 0 ? 0 : (size_t)end);
    p->at++;
    bool good = end >= 0 && read_int(p, &n) && p->at == close && n >= 1 && (size_t)n <= p->n;
    p->at = end < 0 ? p->at : close + 1;
    if (good)
        p->arg = (size_t)n - 1;
    else
        p->good_index = false;
    p->was_index = good;
}

/* `*`: a number from the arguments. */
static bool read_star(format *p, int *ret) {
    const value *v = p->arg < p->n ? p->args[p->arg] : NULL;
    p->at++;
    if (p->arg < p->n) p->arg++;
    p->was_index = false;
    bool good =
        v && v->kind == VALUE_INT && v->as.integer <= WIDTH_MOST && v->as.integer >= -WIDTH_MOST;
    *ret = good ? (int)v->as.integer : 0;
    return good;
}

static void read_width(format *p, spec *f) {
    read_index(p);
    if (here(p) == '*') {
        f->has_width = read_star(p, &f->width);
        if (!f->has_width) buf_put_str(p->out, STR("%!(BADWIDTH)"));
        if (f->width < 0) {
            f->width = -f->width;
            f->minus = true;
            f->zero = false;
        }
    } else {
        f->has_width = read_int(p, &f->width);
        if (p->was_index && f->has_width) p->good_index = false;
    }
}

static void read_places(format *p, spec *f) {
    if (here(p) != '.') return;
    p->at++;
    if (p->was_index) p->good_index = false;
    read_index(p);
    if (here(p) == '*') {
        f->has_places = read_star(p, &f->places);
        if (f->places < 0) {
            f->places = 0;
            f->has_places = false;
        }
        if (!f->has_places) buf_put_str(p->out, STR("%!(BADPREC)"));
    } else {
        read_int(p, &f->places);
        f->has_places = true;
    }
    if (f->places > 1000) f->places = 1000;
}

static spec read_spec(format *p) {
    spec f = {0};
    for (;; p->at++) {
        char c = here(p);
        f.sharp |= c == '#';
        f.zero |= c == '0';
        f.plus |= c == '+';
        f.minus |= c == '-';
        f.space |= c == ' ';
        if (!c || !strchr("#0+- ", c)) break;
    }
    p->was_index = false;
    p->good_index = true;
    read_width(p, &f);
    read_places(p, &f);
    if (!p->was_index) read_index(p);
    return f;
}

static void put_extra(format *p) {
    buf_put_str(p->out, STR("%!(EXTRA "));
    for (size_t i = p->arg; i < p->n; i++) {
        if (i > p->arg) buf_put_str(p->out, STR(", "));
        buf_put_str(p->out, str_from(go_type_name(p->args[i])));
        if (is_nil(p->args[i])) continue;
        buf_put_char(p->out, '=');
        go_put_value(p->out, p->args[i], p->trusted);
    }
    buf_put_char(p->out, ')');
}

void go_printf(buf *out, str text, const value *const *args, size_t n, bool *trusted) {
    format p = {.out = out, .s = text, .args = args, .n = n, .trusted = trusted};
    while (p.at < text.len) {
        char c = text.ptr[p.at++];
        if (c != '%') {
            buf_put_char(out, c);
            continue;
        }
        spec f = read_spec(&p);
        if (p.at >= text.len) {
            buf_put_str(out, STR("%!(NOVERB)"));
            break;
        }
        size_t from = p.at;
        str_utf8_next(text, &p.at);
        str verb = str_sub(text, from, p.at);
        if (verb.ptr[0] == '%')
            buf_put_char(out, '%');
        else if (!p.good_index)
            buf_putf(out, "%%!" STR_FMT "(BADINDEX)", STR_ARG(verb));
        else if (p.arg >= n)
            buf_putf(out, "%%!" STR_FMT "(MISSING)", STR_ARG(verb));
        else
            put_value(out, &f, args[p.arg++], verb.len == 1 ? verb.ptr[0] : '?', trusted);
    }
    if (!p.reordered && p.arg < n) put_extra(&p);
}
