/* Strings by value: searching, cutting, copying, numbers. UTF-8 is in utf8.c. */
#include "base/str.h"
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char lower(char c) {
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

static bool is_space(char c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}

str str_from(const char *cstr) {
    return cstr ? (str){cstr, strlen(cstr)} : (str){0};
}

bool str_eq(str a, str b) {
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

bool str_eq_nocase(str a, str b) {
    if (a.len != b.len) return false;
    for (size_t i = 0; i < a.len; i++)
        if (lower(a.ptr[i]) != lower(b.ptr[i])) return false;
    return true;
}

int str_cmp(str a, str b) {
    size_t n = a.len < b.len ? a.len : b.len;
    int c = n ? memcmp(a.ptr, b.ptr, n) : 0;
    if (c) return c;
    return (a.len > b.len) - (a.len < b.len);
}

bool str_starts(str s, str prefix) {
    return s.len >= prefix.len && str_eq((str){s.ptr, prefix.len}, prefix);
}

bool str_ends(str s, str suffix) {
    return s.len >= suffix.len && str_eq((str){s.ptr + (s.len - suffix.len), suffix.len}, suffix);
}

ptrdiff_t str_find(str s, str needle) {
    if (needle.len == 0) return 0;
    if (s.len < needle.len) return -1;
    const char *p = memmem(s.ptr, s.len, needle.ptr, needle.len);
    return p ? p - s.ptr : -1;
}

ptrdiff_t str_find_char(str s, char c) {
    const char *p = s.len ? memchr(s.ptr, c, s.len) : NULL;
    return p ? p - s.ptr : -1;
}

ptrdiff_t str_rfind_char(str s, char c) {
    const char *p = s.len ? memrchr(s.ptr, c, s.len) : NULL;
    return p ? p - s.ptr : -1;
}

str str_sub(str s, size_t from, size_t to) {
    if (to > s.len) to = s.len;
    if (from > to) from = to;
    return (str){s.ptr ? s.ptr + from : NULL, to - from};
}

str str_trim(str s) {
    while (s.len && is_space(s.ptr[0])) s.ptr++, s.len--;
    while (s.len && is_space(s.ptr[s.len - 1])) s.len--;
    return s;
}

str str_cut(str *s, char sep) {
    ptrdiff_t at = str_find_char(*s, sep);
    str head = *s;
    if (at < 0) {
        *s = (str){0};
        return head;
    }
    head.len = (size_t)at;
    *s = (str){s->ptr + at + 1, s->len - (size_t)at - 1};
    return head;
}

char *str_cstr(arena *a, str s) {
    char *p = arena_alloc(a, s.len + 1);
    if (s.len) memcpy(p, s.ptr, s.len);
    p[s.len] = '\0';
    return p;
}

str str_dup(arena *a, str s) {
    return (str){str_cstr(a, s), s.len};
}

str str_fmt(arena *a, const char *fmt, ...) {
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    size_t len = n > 0 ? (size_t)n : 0;
    char *p = arena_alloc(a, len + 1);
    vsnprintf(p, len + 1, fmt, again);
    va_end(again);
    return (str){p, len};
}

str str_lower(arena *a, str s) {
    char *p = str_cstr(a, s);
    for (size_t i = 0; i < s.len; i++) p[i] = lower(p[i]);
    return (str){p, s.len};
}

bool str_to_i64(str s, int64_t *ret_v) {
    char text[32];
    if (s.len == 0 || s.len >= sizeof text || is_space(s.ptr[0])) return false;
    memcpy(text, s.ptr, s.len);
    text[s.len] = '\0';
    char *end;
    errno = 0;
    long long v = strtoll(text, &end, 10);
    if (errno || end != text + s.len) return false;
    *ret_v = v;
    return true;
}

bool str_to_f64(str s, double *ret_v) {
    char text[64];
    if (s.len == 0 || s.len >= sizeof text || is_space(s.ptr[0])) return false;
    memcpy(text, s.ptr, s.len);
    text[s.len] = '\0';
    char *end;
    double v = strtod(text, &end);
    if (end != text + s.len || !isfinite(v)) return false;
    *ret_v = v;
    return true;
}
