/* int(), float(), str() and bool() of plain data. Numbers beyond 64 bits saturate: no input allows
 * them, and the range check says so. */
#include "flow/literal.h"
#include "base/buf.h"
#include "flow/pytext.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_DIGITS = 4300 }; /* Python's own limit for int() of text */

static bool is(const flow_input *in, const char *type) {
    return strcmp(in->type, type) == 0;
}

/* White space around, and single underscores between digits, as Python allows. */
static bool plain_digits(str s, arena *a, str *ret) {
    s = str_trim(s);
    char *out = arena_alloc(a, s.len + 1);
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (c != '_') {
            out[n++] = c;
            continue;
        }
        bool between = i > 0 && i + 1 < s.len && s.ptr[i - 1] >= '0' && s.ptr[i - 1] <= '9' &&
                       s.ptr[i + 1] >= '0' && s.ptr[i + 1] <= '9';
        if (!between) return false;
    }
    out[n] = '\0';
    *ret = (str){out, n};
    return true;
}

/* Inputs whose range goes beyond int64 (seeds) hold the bits of an uint64. */
static bool is_wide(const flow_input *in) {
    return in->i.min >= 0 && in->i.max > (uint64_t)INT64_MAX;
}

/* The number nearest to the one meant that an int64, or the bits of an uint64, can hold. */
static int64_t saturate(const flow_input *in, bool negative, uint64_t n, bool over) {
    if (negative) return over || n > (uint64_t)INT64_MAX ? INT64_MIN : -(int64_t)n;
    if (is_wide(in)) return (int64_t)(over ? UINT64_MAX : n);
    return over || n > (uint64_t)INT64_MAX ? INT64_MAX : (int64_t)n;
}

/* Decimal text; digits that need more than 64 bits saturate. */
static bool text_to_int(const flow_input *in, str text, arena *a, int64_t *ret) {
    str s;
    if (!plain_digits(text, a, &s) || s.len == 0 || s.len > MAX_DIGITS) return false;
    bool negative = s.ptr[0] == '-', over = false;
    if (negative || s.ptr[0] == '+') s = str_sub(s, 1, s.len);
    if (s.len == 0) return false;
    uint64_t n = 0;
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] < '0' || s.ptr[i] > '9') return false;
        uint64_t d = (uint64_t)(s.ptr[i] - '0');
        over = over || n > (UINT64_MAX - d) / 10;
        n = n * 10 + d;
    }
    *ret = saturate(in, negative, n, over);
    return true;
}

static bool to_int(const flow_input *in, const value *v, arena *a, int64_t *ret, str *ret_why) {
    double n;
    switch (v->kind) {
    case VALUE_INT:
        *ret = v->as.integer;
        return true;
    case VALUE_BOOL:
        *ret = v->as.boolean;
        return true;
    case VALUE_FLOAT:
        n = trunc(v->as.number);
        if (isfinite(n)) {
            bool over = fabs(n) >= 18446744073709551616.0;
            *ret = saturate(in, n < 0, over ? 0 : (uint64_t)fabs(n), over);
            return true;
        }
        *ret_why = isnan(n) ? STR("cannot convert float NaN to integer")
                            : STR("cannot convert float infinity to integer");
        return false;
    case VALUE_STR:
        if (text_to_int(in, v->as.text, a, ret)) return true;
        *ret_why = str_fmt(a, "invalid literal for int() with base 10: " STR_FMT,
                           STR_ARG(pytext_repr_in(a, v)));
        return false;
    case VALUE_NULL:
    case VALUE_LIST:
    case VALUE_MAP:
        break;
    }
    *ret_why = str_fmt(a,
                       "int() argument must be a string, a bytes-like object or a real number, "
                       "not '%s'",
                       pytext_type(v));
    return false;
}

static bool text_to_float(str text, arena *a, double *ret) {
    str s;
    if (!plain_digits(text, a, &s) || s.len == 0) return false;
    for (size_t i = 0; i < s.len; i++) /* no hexadecimal, no nan(...) */
        if (s.ptr[i] == 'x' || s.ptr[i] == 'X' || s.ptr[i] == '(' || !s.ptr[i]) return false;
    char *end;
    *ret = strtod(s.ptr, &end);
    return end == s.ptr + s.len;
}

static bool to_float(const value *v, arena *a, double *ret, str *ret_why) {
    switch (v->kind) {
    case VALUE_INT:
        *ret = (double)v->as.integer;
        return true;
    case VALUE_BOOL:
        *ret = v->as.boolean;
        return true;
    case VALUE_FLOAT:
        *ret = v->as.number;
        return true;
    case VALUE_STR:
        if (text_to_float(v->as.text, a, ret)) return true;
        *ret_why = str_fmt(a, "could not convert string to float: " STR_FMT,
                           STR_ARG(pytext_repr_in(a, v)));
        return false;
    case VALUE_NULL:
    case VALUE_LIST:
    case VALUE_MAP:
        break;
    }
    *ret_why =
        str_fmt(a, "float() argument must be a string or a real number, not '%s'", pytext_type(v));
    return false;
}

static bool truth(const value *v) {
    switch (v->kind) {
    case VALUE_NULL:
        return false;
    case VALUE_BOOL:
        return v->as.boolean;
    case VALUE_INT:
        return v->as.integer != 0;
    case VALUE_FLOAT:
        return !(v->as.number >= 0 && v->as.number <= 0);
    case VALUE_STR:
        return v->as.text.len > 0;
    case VALUE_LIST:
        return v->as.list.len > 0;
    case VALUE_MAP:
        return v->as.map.len > 0;
    }
    return false;
}

bool literal_convert(const flow_input *in, const value *v, arena *a, const value **ret,
                     str *ret_why) {
    *ret = v;
    if (is(in, "INT")) {
        int64_t n = 0;
        if (!to_int(in, v, a, &n, ret_why)) return false;
        if (v->kind != VALUE_INT) *ret = value_int(a, n);
    } else if (is(in, "FLOAT")) {
        double n = 0;
        if (!to_float(v, a, &n, ret_why)) return false;
        if (v->kind != VALUE_FLOAT) *ret = value_float(a, n);
    } else if (is(in, "STRING")) {
        if (v->kind != VALUE_STR) *ret = value_str(a, pytext_str_in(a, v));
    } else if (is(in, "BOOLEAN")) {
        if (v->kind != VALUE_BOOL) *ret = value_bool(a, truth(v));
    }
    return true;
}

static str int_text(arena *a, int64_t n) {
    return str_fmt(a, "%lld", (long long)n);
}

static str float_text(arena *a, double n) {
    value v = {.kind = VALUE_FLOAT, .as.number = n};
    return pytext_str_in(a, &v);
}

/* Of what a client sent: the bits of an uint64 do not tell. */
static bool is_negative(const value *source) {
    if (source->kind == VALUE_INT) return source->as.integer < 0;
    if (source->kind == VALUE_FLOAT) return source->as.number <= -1;
    return source->kind == VALUE_STR && str_starts(str_trim(source->as.text), STR("-"));
}

bool literal_too_small(const flow_input *in, const value *source, const value *v, arena *a,
                       str *ret_bound) {
    if (in->flags & FLOW_NO_MIN) return false;
    if (is(in, "INT") && v->kind == VALUE_INT) {
        *ret_bound = int_text(a, in->i.min);
        if (is_wide(in)) return v->as.integer < 0 && is_negative(source);
        return v->as.integer < in->i.min;
    }
    if (!is(in, "FLOAT") || v->kind != VALUE_FLOAT) return false;
    *ret_bound = float_text(a, in->f.min);
    return v->as.number < in->f.min;
}

/* Of what a client sent: more than an uint64 holds. */
static bool is_beyond_wide(const value *source, const char *most) {
    if (source->kind == VALUE_FLOAT) return source->as.number >= 18446744073709551616.0;
    return source->kind == VALUE_STR && !str_eq(str_trim(source->as.text), str_from(most));
}

bool literal_too_big(const flow_input *in, const value *source, const value *v, arena *a,
                     str *ret_bound) {
    if (in->flags & FLOW_NO_MAX) return false;
    if (is(in, "INT") && v->kind == VALUE_INT) {
        *ret_bound = str_fmt(a, "%llu", (unsigned long long)in->i.max);
        if (is_wide(in) && (uint64_t)v->as.integer == UINT64_MAX)
            return in->i.max < UINT64_MAX || is_beyond_wide(source, ret_bound->ptr);
        if (is_wide(in)) return (uint64_t)v->as.integer > in->i.max;
        *ret_bound = int_text(a, (int64_t)in->i.max);
        return v->as.integer > (int64_t)in->i.max;
    }
    if (!is(in, "FLOAT") || v->kind != VALUE_FLOAT) return false;
    *ret_bound = float_text(a, in->f.max);
    return v->as.number > in->f.max;
}
