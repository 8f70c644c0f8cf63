/* A reader of JSON: one pass, recursion bounded by LIMIT_JSON_DEPTH, everything of RFC 8259 and
 * nothing more. */
#include "base/limits.h"
#include "base/map.h"
#include "base/value_json.h"
#include <math.h>
#include <stdlib.h>

typedef struct reader {
    arena *a;
    str text;
    size_t pos;
    int depth;
    const char *wrong; /* NULL until something is */
} reader;

static value *read_any(reader *r);

static value *fail(reader *r, const char *why) {
    if (!r->wrong) r->wrong = why;
    return NULL;
}

static int peek(const reader *r) {
    return r->pos < r->text.len ? (unsigned char)r->text.ptr[r->pos] : -1;
}

static void skip_space(reader *r) {
    for (int c = peek(r); c == ' ' || c == '\t' || c == '\n' || c == '\r'; c = peek(r)) r->pos++;
}

/* The next character behind white space, if it is this one. */
static bool take(reader *r, char c) {
    skip_space(r);
    if (peek(r) != c) return false;
    r->pos++;
    return true;
}

/* ---- strings ---- */

/* Four hex digits; -1 when they are not. */
static int32_t read_hex(reader *r) {
    int32_t v = 0;
    for (int i = 0; i < 4; i++, r->pos++) {
        int c = peek(r), low = c | 0x20;
        int digit = c >= '0' && c <= '9' ? c - '0' : low >= 'a' && low <= 'f' ? low - 'a' + 10 : -1;
        if (digit < 0) return -1;
        v = v << 4 | digit;
    }
    return v;
}

/* Behind "\u": one code point, of two escapes where it takes a pair of surrogates. */
static bool read_code_point(reader *r, buf *out) {
    int32_t high = read_hex(r), low = 0;
    if (high < 0) return false;
    bool pair = high >= 0xD800 && high < 0xDC00;
    if (pair && r->pos + 2 <= r->text.len && r->text.ptr[r->pos] == '\\' &&
        r->text.ptr[r->pos + 1] == 'u') {
        r->pos += 2;
        low = read_hex(r);
    }
    if (pair && (low < 0xDC00 || low > 0xDFFF)) return false;
    if (!pair && high >= 0xDC00 && high < 0xE000) return false;
    buf_put_utf8(out, pair ? 0x10000u + ((uint32_t)(high - 0xD800) << 10) + (uint32_t)(low - 0xDC00)
                           : (uint32_t)high);
    return true;
}

static bool read_escape(reader *r, buf *out) {
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    int c = peek(r);
    r->pos++;
    if (c == 'u') return read_code_point(r, out);
    for (size_t i = 0; from[i]; i++)
        if (c == from[i]) {
            buf_put_char(out, to[i]);
            return true;
        }
    return false;
}

/* A string into `out`; its first quote is taken. */
static bool read_string(reader *r, buf *out) {
    for (;;) {
        size_t from = r->pos;
        int c = peek(r);
        while (c >= ' ' && c != '"' && c != '\\') {
            r->pos++;
            c = peek(r);
        }
        buf_put(out, r->text.ptr + from, r->pos - from);
        if (c < ' ') return fail(r, c < 0 ? "a string does not end" : "a control character"), false;
        r->pos++;
        if (c == '"') return true;
        if (!read_escape(r, out)) return fail(r, "a wrong escape"), false;
    }
}

static value *read_text(reader *r) {
    buf b = {0};
    bool ok = read_string(r, &b);
    value *v = ok ? value_str(r->a, buf_str(&b)) : NULL;
    buf_finish(&b);
    return v;
}

/* ---- numbers and words ---- */

static size_t skip_digits(reader *r) {
    size_t from = r->pos;
    while (peek(r) >= '0' && peek(r) <= '9') r->pos++;
    return r->pos - from;
}

/* Whole numbers beyond 64 bits become floats. */
static value *read_number(reader *r) {
    size_t from = r->pos;
    int64_t i;
    bool whole = true;
    if (peek(r) == '-') r->pos++;
    bool zero = peek(r) == '0';
    size_t n = skip_digits(r);
    if (n == 0 || (zero && n > 1)) return fail(r, "a wrong number");
    if (peek(r) == '.') {
        whole = false;
        r->pos++;
        if (skip_digits(r) == 0) return fail(r, "a wrong number");
    }
    if (peek(r) == 'e' || peek(r) == 'E') {
        whole = false;
        r->pos++;
        if (peek(r) == '+' || peek(r) == '-') r->pos++;
        if (skip_digits(r) == 0) return fail(r, "a wrong number");
    }
    str digits = str_sub(r->text, from, r->pos);
    if (whole && str_to_i64(digits, &i)) return value_int(r->a, i);
    double d = strtod(str_cstr(r->a, digits), NULL);
    return isfinite(d) ? value_float(r->a, d) : fail(r, "a number is too large");
}

static bool word(reader *r, str w) {
    if (!str_starts(str_sub(r->text, r->pos, r->text.len), w)) return false;
    r->pos += w.len;
    return true;
}

static value *read_word(reader *r) {
    if (word(r, STR("true"))) return value_bool(r->a, true);
    if (word(r, STR("false"))) return value_bool(r->a, false);
    if (word(r, STR("null"))) return value_null(r->a);
    return fail(r, r->pos < r->text.len ? "no value begins here" : "the text ends too early");
}

/* ---- lists and maps ---- */

static value *read_list(reader *r) {
    value *list = value_list(r->a);
    if (take(r, ']')) return list;
    do {
        value *item = read_any(r);
        if (!item) return NULL;
        value_push(r->a, list, item);
    } while (take(r, ','));
    return take(r, ']') ? list : fail(r, "\",\" or \"]\" is missing");
}

/* One pair; of equal keys the first gives the place and the last the value. */
static bool read_pair(reader *r, value *out, map *seen, buf *key) {
    buf_clear(key);
    if (!take(r, '"')) return fail(r, "a key is missing"), false;
    if (!read_string(r, key)) return false;
    if (!take(r, ':')) return fail(r, "\":\" is missing"), false;
    value *item = read_any(r);
    if (!item) return false;
    str name = str_dup(r->a, buf_str(key));
    int64_t at;
    if (map_get(seen, name, &at)) {
        out->as.map.pairs[at].val = item;
    } else {
        map_put(seen, name, (int64_t)out->as.map.len);
        value_add(r->a, out, name, item);
    }
    return true;
}

static value *read_map(reader *r) {
    value *out = value_map(r->a);
    map seen = {0};
    buf key = {0};
    if (take(r, '}')) return out;
    bool ok;
    do ok = read_pair(r, out, &seen, &key);
    while (ok && take(r, ','));
    map_finish(&seen);
    buf_finish(&key);
    if (!ok) return NULL;
    return take(r, '}') ? out : fail(r, "\",\" or \"}\" is missing");
}

static value *read_any(reader *r) {
    skip_space(r);
    int c = peek(r);
    bool list = c == '[', object = c == '{';
    if (list || object || c == '"') r->pos++;
    if (c == '"') return read_text(r);
    if (c == '-' || (c >= '0' && c <= '9')) return read_number(r);
    if (!list && !object) return read_word(r);
    if (r->depth >= LIMIT_JSON_DEPTH) return fail(r, "it is nested too deeply");
    r->depth++;
    value *v = list ? read_list(r) : read_map(r);
    r->depth--;
    return v;
}

err_code value_json_read(arena *a, str text, value **ret, err *e) {
    reader r = {.a = a, .text = text};
    size_t line = 1, column = 1;
    value *v = str_is_utf8(text) ? read_any(&r) : fail(&r, "it is not UTF-8");
    skip_space(&r);
    if (v && r.pos < text.len) v = fail(&r, "something follows the value");
    *ret = v;
    if (v) return ERR_OK;
    for (size_t i = 0; i < r.pos && i < text.len; i++) {
        column = text.ptr[i] == '\n' ? 1 : column + 1;
        line += text.ptr[i] == '\n';
    }
    FAIL(e, FORMAT, "invalid JSON at line %zu, column %zu: %s", line, column, r.wrong);
}
