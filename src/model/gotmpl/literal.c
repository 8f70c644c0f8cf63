/* Literals of Go: numbers, characters, quoted strings. */
#include "model/gotmpl/syntax.h"
#include <stdlib.h>
#include <string.h>

static int digit_of(char c) {
    return c >= '0' && c <= '9'                 ? c - '0'
           : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10
                                                : 99;
}

/* `n` digits of `base` at *at. */
static bool read_digits(str s, size_t *at, size_t n, uint32_t base, uint32_t *ret) {
    uint32_t v = 0;
    if (*at + n > s.len) return false;
    for (size_t i = 0; i < n; i++) {
        uint32_t d = (uint32_t)digit_of(s.ptr[*at + i]);
        if (d >= base) return false;
        v = v * base + d;
    }
    *at += n;
    *ret = v;
    return true;
}

/* Behind a backslash. `quote` is the quote that may be escaped. */
static bool read_escape(str s, size_t *at, char quote, buf *out) {
    static const char NAMES[] = "abfnrtv\\", VALUES[] = "\a\b\f\n\r\t\v\\";
    if (*at >= s.len) return false;
    char c = s.ptr[(*at)++];
    const char *known = strchr(NAMES, c);
    uint32_t v;
    if (known && c) {
        buf_put_char(out, VALUES[known - NAMES]);
    } else if (c == quote) {
        buf_put_char(out, c);
    } else if (c == 'x') {
        if (!read_digits(s, at, 2, 16, &v)) return false;
        buf_put_char(out, (char)v);
    } else if (c >= '0' && c <= '7') {
        (*at)--;
        if (!read_digits(s, at, 3, 8, &v) || v > 255) return false;
        buf_put_char(out, (char)v);
    } else if (c == 'u' || c == 'U') {
        if (!read_digits(s, at, c == 'u' ? 4 : 8, 16, &v)) return false;
        if (v > 0x10FFFF || (v >= 0xD800 && v < 0xE000)) return false;
        buf_put_utf8(out, v);
    } else {
        return false;
    }
    return true;
}

bool go_read_quoted(arena *a, str quoted, str *ret) {
    char quote = quoted.ptr[0];
    str s = str_sub(quoted, 1, quoted.len - 1);
    buf out = {0};
    bool good = true;
    for (size_t at = 0; at < s.len && good;) {
        char c = s.ptr[at++];
        if (quote == '`') {
            if (c != '\r') buf_put_char(&out, c);
        } else if (c == '\\') {
            good = read_escape(s, &at, quote, &out);
        } else {
            buf_put_char(&out, c);
        }
    }
    *ret = str_dup(a, buf_str(&out));
    buf_finish(&out);
    return good;
}

static bool read_char(arena *a, const go_token *t, const value **ret) {
    str text;
    size_t at = 0;
    if (!go_read_quoted(a, t->text, &text) || text.len == 0) return false;
    bool byte = t->text.len > 2 && t->text.ptr[1] == '\\' && text.len == 1;
    uint32_t c = byte ? (unsigned char)text.ptr[at++] : str_utf8_next(text, &at);
    *ret = value_int(a, c);
    return at == text.len;
}

/* Underscores stand between digits, or behind the prefix. */
static bool underscores_ok(str s, bool prefixed) {
    char last = prefixed ? '0' : '\0';
    for (size_t i = 0; i < s.len; i++) {
        bool good = digit_of(last) < 16 && i + 1 < s.len && digit_of(s.ptr[i + 1]) < 16;
        if (s.ptr[i] == '_' && !good) return false;
        last = s.ptr[i];
    }
    return true;
}

static bool read_whole(str digits, int base, bool negative, int64_t *ret, bool *ret_overflow) {
    uint64_t v = 0, most = (uint64_t)INT64_MAX + negative;
    *ret_overflow = false;
    if (digits.len == 0) return false;
    for (size_t i = 0; i < digits.len; i++) {
        int d = digit_of(digits.ptr[i]);
        if (d >= base) return false;
        if (v > (most - (uint64_t)d) / (uint64_t)base) *ret_overflow = true;
        if (!*ret_overflow) v = v * (uint64_t)base + (uint64_t)d;
    }
    *ret = negative ? (int64_t)(0 - v) : (int64_t)v;
    return true;
}

static bool has_any(str s, const char *set) {
    for (size_t i = 0; i < s.len; i++)
        if (strchr(set, s.ptr[i])) return true;
    return false;
}

/* Decimal or, with a binary exponent, hexadecimal. */
static bool read_real(arena *a, str text, bool hex, const value **ret) {
    char *end, *c = str_cstr(a, text);
    if (hex && !has_any(text, "pP")) return false;
    double v = strtod(c, &end);
    bool finite = v - v == 0; /* NOLINT: neither infinite nor NaN */
    *ret = value_float(a, v);
    return *end == '\0' && end != c && finite;
}

bool go_read_number(arena *a, const go_token *t, const value **ret, const char **ret_why) {
    *ret_why = "bad number syntax";
    if (t->kind == GO_T_CHAR) {
        *ret_why = "malformed character constant";
        return read_char(a, t, ret);
    }
    str s = t->text;
    bool negative = str_starts(s, STR("-")), overflow;
    if (negative || str_starts(s, STR("+"))) s = str_sub(s, 1, s.len);
    char second = s.len > 1 && s.ptr[0] == '0' ? (char)(s.ptr[1] | 32) : '\0';
    int base = second == 'x' ? 16 : second == 'o' ? 8 : second == 'b' ? 2 : 10;
    str digits = base == 10 ? s : str_sub(s, 2, s.len);
    if (!underscores_ok(digits, base != 10)) return false;
    buf plain = {0};
    for (size_t i = 0; i < digits.len; i++)
        if (digits.ptr[i] != '_') buf_put_char(&plain, digits.ptr[i]);
    digits = str_dup(a, buf_str(&plain));
    buf_finish(&plain);
    bool octal = base == 10 && digits.len > 1 && digits.ptr[0] == '0';
    int64_t whole;
    if (read_whole(digits, octal ? 8 : base, negative, &whole, &overflow)) {
        *ret_why = "number overflows int";
        *ret = value_int(a, whole);
        return !overflow;
    }
    str text =
        str_fmt(a, "%s%s" STR_FMT, negative ? "-" : "", base == 16 ? "0x" : "", STR_ARG(digits));
    return (base == 10 || base == 16) && read_real(a, text, base == 16, ret);
}
