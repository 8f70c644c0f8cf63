/* JSON as requests send it and as Go's encoder would answer. */
#include "http/json.h"
#include "base/limits.h"
#include "base/value_json.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool depth_ok(str text) {
    int depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '[' || c == '{') {
            if (++depth > LIMIT_JSON_DEPTH) return false;
        } else if (c == ']' || c == '}') {
            depth--;
        }
    }
    return true;
}

/* Length of a lone surrogate's escape at text.ptr[i] (6), of a pair or any other escape (12, 2). */
static size_t escape_len(str text, size_t i, bool *ret_lone) {
    unsigned unit[2] = {0, 0};
    for (size_t k = 0; k < 2; k++) {
        str hex = str_sub(text, i + 6 * k + 2, i + 6 * k + 6);
        if (hex.len < 4 || text.ptr[i + 6 * k] != '\\' || text.ptr[i + 6 * k + 1] != 'u') break;
        for (size_t d = 0; d < 4; d++) {
            char c = (char)(hex.ptr[d] | 0x20);
            int digit = c >= 'a' && c <= 'f' ? c - 'a' + 10 : c - '0';
            if (digit < 0 || digit > 15) return 2; /* jansson will say so */
            unit[k] = unit[k] << 4 | (unsigned)digit;
        }
    }
    if (unit[0] >> 10 == 0xD800 >> 10 && unit[1] >> 10 == 0xDC00 >> 10) return 12;
    *ret_lone = unit[0] >> 11 == 0xD800 >> 11;
    return *ret_lone ? 6 : 2;
}

/* Go reads half of a surrogate pair as U+FFFD; jansson would refuse the whole text. */
static bool has_surrogates(str text) {
    return str_find(text, STR("\\ud")) >= 0 || str_find(text, STR("\\uD")) >= 0;
}

static void repair_surrogates(buf *out, str text) {
    for (size_t i = 0; i < text.len;) {
        bool lone = false;
        size_t n = text.ptr[i] == '\\' && i + 1 < text.len ? escape_len(text, i, &lone) : 1;
        if (lone)
            buf_put_str(out, STR("\\ufffd"));
        else
            buf_put(out, text.ptr + i, n);
        i += n;
    }
}

/* Each byte that is not UTF-8 becomes U+FFFD, as Go's decoder does. */
static void repair(buf *out, str text) {
    for (size_t pos = 0; pos < text.len;) {
        size_t from = pos;
        uint32_t c = str_utf8_next(text, &pos);
        if (c == 0xFFFD)
            buf_put_utf8(out, c);
        else
            buf_put(out, text.ptr + from, pos - from);
    }
}

/* Whole numbers that were read as reals beside one too large for 64 bits become integers again. */
static json_t *integers_again(json_t *v) {
    const double exact = 9007199254740992.0; /* 2^53 */
    size_t i;
    const char *key;
    json_t *item;
    if (json_is_real(v)) {
        double d = json_real_value(v);
        return d > -exact && d < exact && d == floor(d) ? json_integer((json_int_t)d)
                                                        : json_incref(v);
    }
    json_array_foreach(v, i, item) json_array_set_new(v, i, integers_again(item));
    json_object_foreach(v, key, item) json_object_set_new(v, key, integers_again(item));
    return json_incref(v);
}

err_code json_parse(str text, json_t **ret_v, err *e) {
    size_t flags = JSON_DECODE_ANY | JSON_DISABLE_EOF_CHECK | JSON_ALLOW_NUL;
    if (!depth_ok(text)) FAIL(e, FORMAT, "JSON is nested deeper than %d levels", LIMIT_JSON_DEPTH);
    buf repaired = {0}, paired = {0};
    if (!str_is_utf8(text)) {
        repair(&repaired, text);
        text = buf_str(&repaired);
    }
    if (has_surrogates(text)) {
        repair_surrogates(&paired, text);
        text = buf_str(&paired);
    }
    json_error_t at;
    json_t *v = json_loadb(text.ptr, text.len, flags, &at);
    if (!v && json_error_code(&at) == json_error_numeric_overflow) {
        v = json_loadb(text.ptr, text.len, flags | JSON_DECODE_INT_AS_REAL, &at);
        if (v) {
            json_t *mended = integers_again(v);
            json_decref(v);
            v = mended;
        }
    }
    buf_finish(&repaired);
    buf_finish(&paired);
    if (!v) FAIL(e, FORMAT, "invalid JSON at line %d, column %d: %s", at.line, at.column, at.text);
    *ret_v = v;
    return ERR_OK;
}

static void put_string(buf *out, str s, bool plain) {
    value_json_string(out, s, plain ? 0 : VALUE_JSON_HTML);
}

/* The shortest of %.0e .. %.16e that reads back as v. */
static void shortest(char text[40], double v) {
    for (int digits = 0; digits < 17; digits++) {
        snprintf(text, 40, "%.*e", digits, v);
        if (!(strtod(text, NULL) < v) && !(strtod(text, NULL) > v)) return;
    }
}

void json_write_f32(buf *out, float v) {
    value_json_number_f32(out, v);
}

/* As Python's repr: an exponent below 1e-4 and from 1e16 on, else digits and at least ".0". */
static void put_plain_number(buf *out, double v) {
    if (!isfinite(v)) {
        buf_put_str(out, isnan(v) ? STR("NaN") : v > 0 ? STR("Infinity") : STR("-Infinity"));
        return;
    }
    if (v >= 18446744073709549568.0 && v <= 18446744073709551616.0) {
        buf_put_str(out, STR("18446744073709551615")); /* how the catalogue holds the last seed */
        return;
    }
    char text[40];
    shortest(text, v);
    char *exp = strchr(text, 'e');
    long e10 = strtol(exp + 1, NULL, 10);
    if (v != 0 && (e10 < -4 || e10 >= 16)) { /* NOLINT: exactly zero */
        *exp = '\0';
        buf_putf(out, "%se%c%02ld", text, e10 < 0 ? '-' : '+', labs(e10));
        return;
    }
    long digits = exp - text - (text[0] == '-') - 1; /* behind the point, with the point */
    long decimals = (digits > 0 ? digits - 1 : 0) - e10;
    buf_putf(out, "%.*f", (int)(decimals < 1 ? 1 : decimals), v);
}

/* Digits of a number between INT64_MAX and UINT64_MAX: see json_write_plain. */
static bool is_u64(str s) {
    if (s.len < 19 || s.len > 20 || s.ptr[0] == '0') return false;
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] < '0' || s.ptr[i] > '9') return false;
    str least = STR("9223372036854775808"), most = STR("18446744073709551615");
    return s.len == 19 ? str_cmp(s, least) >= 0 : str_cmp(s, most) <= 0;
}

static void write_text(buf *out, str s, bool plain) {
    if (plain && is_u64(s))
        buf_put_str(out, s);
    else
        put_string(out, s, plain);
}

static void write_value(buf *out, const json_t *v, bool plain) {
    size_t i;
    json_t *item;
    const char *key;
    switch (json_typeof(v)) {
    case JSON_OBJECT:
        buf_put_char(out, '{');
        i = 0;
        json_object_foreach((json_t *)(uintptr_t)v, key, item) {
            if (i++) buf_put_str(out, plain ? STR(", ") : STR(","));
            put_string(out, str_from(key), plain);
            buf_put_str(out, plain ? STR(": ") : STR(":"));
            write_value(out, item, plain);
        }
        buf_put_char(out, '}');
        break;
    case JSON_ARRAY:
        buf_put_char(out, '[');
        json_array_foreach((json_t *)(uintptr_t)v, i, item) {
            if (i) buf_put_str(out, plain ? STR(", ") : STR(","));
            write_value(out, item, plain);
        }
        buf_put_char(out, ']');
        break;
    case JSON_STRING:
        write_text(out, (str){json_string_value(v), json_string_length(v)}, plain);
        break;
    case JSON_INTEGER:
        buf_putf(out, "%lld", (long long)json_integer_value(v));
        break;
    case JSON_REAL:
        if (plain)
            put_plain_number(out, json_real_value(v));
        else
            value_json_number(out, json_real_value(v));
        break;
    case JSON_TRUE:
        buf_put_str(out, STR("true"));
        break;
    case JSON_FALSE:
        buf_put_str(out, STR("false"));
        break;
    case JSON_NULL:
        buf_put_str(out, STR("null"));
        break;
    }
}

void json_write(buf *out, const json_t *v) {
    write_value(out, v, false);
}

void json_write_plain(buf *out, const json_t *v) {
    write_value(out, v, true);
}

/* NaN, Infinity, -Infinity: Python writes them, JSON has them not. Its length at text[i], or 0. */
static size_t no_number(str text, size_t i) {
    static const char *const names[] = {"NaN", "Infinity", "-Infinity"};
    for (size_t k = 0; k < COUNT_OF(names); k++)
        if (str_starts(str_sub(text, i, text.len), str_from(names[k]))) return strlen(names[k]);
    return 0;
}

/* Copies text, with quotes around whole numbers that need 64 bits without a sign, and around what
 * is no number. */
static void quote_big_numbers(buf *out, str text) {
    bool in_string = false;
    for (size_t i = 0; i < text.len;) {
        char c = text.ptr[i];
        size_t n = 1;
        if (in_string) {
            if (c == '\\' && i + 1 < text.len) n = 2;
            in_string = c != '"';
        } else if (c == '"') {
            in_string = true;
        } else if (no_number(text, i)) {
            n = no_number(text, i);
            buf_putf(out, "\"%.*s\"", (int)n, text.ptr + i);
            i += n;
            continue;
        } else if (c == '-' || (c >= '0' && c <= '9')) {
            while (i + n < text.len && strchr("0123456789+-.eE", text.ptr[i + n])) n++;
            str number = str_sub(text, i, i + n);
            if (is_u64(number)) {
                buf_putf(out, "\"" STR_FMT "\"", STR_ARG(number));
                i += n;
                continue;
            }
        }
        buf_put(out, text.ptr + i, n);
        i += n;
    }
}

err_code json_parse_plain(str text, json_t **ret_v, err *e) {
    buf quoted = {0};
    quote_big_numbers(&quoted, text);
    err_code code = json_parse(buf_str(&quoted), ret_v, e);
    buf_finish(&quoted);
    return code;
}

value *json_to_value(arena *a, const json_t *v) {
    size_t i;
    json_t *item;
    const char *key;
    value *out;
    switch (json_typeof(v)) {
    case JSON_OBJECT:
        out = value_map(a);
        json_object_foreach((json_t *)(uintptr_t)v, key, item)
            value_add(a, out, str_from(key), json_to_value(a, item));
        return out;
    case JSON_ARRAY:
        out = value_list(a);
        json_array_foreach((json_t *)(uintptr_t)v, i, item)
            value_push(a, out, json_to_value(a, item));
        return out;
    case JSON_STRING:
        return value_str(a, (str){json_string_value(v), json_string_length(v)});
    case JSON_INTEGER:
        return value_int(a, json_integer_value(v));
    case JSON_REAL:
        return value_float(a, json_real_value(v));
    case JSON_TRUE:
    case JSON_FALSE:
        return value_bool(a, json_is_true(v));
    case JSON_NULL:
        break;
    }
    return value_null(a);
}

static json_t *string_of(str s) {
    json_t *v = json_stringn(s.ptr ? s.ptr : "", s.len);
    if (v) return v;
    buf b = {0}; /* not UTF-8 */
    repair(&b, s);
    v = json_stringn(b.ptr ? b.ptr : "", b.len);
    buf_finish(&b);
    return v;
}

json_t *json_from_value(const value *v) {
    json_t *out;
    switch (v->kind) {
    case VALUE_BOOL:
        return json_boolean(v->as.boolean);
    case VALUE_INT:
        return json_integer(v->as.integer);
    case VALUE_FLOAT:
        return isfinite(v->as.number) ? json_real(v->as.number)
                                      : json_string(isnan(v->as.number) ? "NaN"
                                                    : v->as.number > 0  ? "Infinity"
                                                                        : "-Infinity");
    case VALUE_STR:
        return string_of(v->as.text);
    case VALUE_LIST:
        out = json_array();
        for (size_t i = 0; i < v->as.list.len; i++)
            json_array_append_new(out, json_from_value(v->as.list.items[i]));
        return out;
    case VALUE_MAP:
        out = json_object();
        for (size_t i = 0; i < v->as.map.len; i++) {
            json_t *key = string_of(v->as.map.pairs[i].key);
            json_object_set_new_nocheck(out, json_string_value(key),
                                        json_from_value(v->as.map.pairs[i].val));
            json_decref(key);
        }
        return out;
    case VALUE_NULL:
        break;
    }
    return json_null();
}
