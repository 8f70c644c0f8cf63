/* A growable byte buffer. */
#include "base/buf.h"
#include <assert.h>
#include <stdio.h>
#include <string.h>

void buf_finish(buf *b) {
    mem_free(b->ptr);
    *b = (buf){0};
}

void buf_clear(buf *b) {
    b->len = 0;
}

void buf_reserve(buf *b, size_t n_more) {
    if (b->cap - b->len >= n_more && b->ptr) return;
    size_t need;
    bool fits = !__builtin_add_overflow(b->len, n_more, &need);
    assert(fits);
    size_t cap = b->cap ? b->cap : 64;
    while (cap < need) cap = cap > SIZE_MAX / 2 ? need : cap * 2;
    b->ptr = mem_realloc(b->ptr, cap);
    b->cap = cap;
}

void buf_put(buf *b, const void *src, size_t n_bytes) {
    if (n_bytes == 0) return;
    buf_reserve(b, n_bytes);
    memcpy(b->ptr + b->len, src, n_bytes);
    b->len += n_bytes;
}

void buf_put_str(buf *b, str s) {
    buf_put(b, s.ptr, s.len);
}

void buf_put_char(buf *b, char c) {
    buf_reserve(b, 1);
    b->ptr[b->len++] = c;
}

void buf_vputf(buf *b, const char *fmt, va_list args) {
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    if (n > 0) {
        buf_reserve(b, (size_t)n + 1);
        vsnprintf(b->ptr + b->len, (size_t)n + 1, fmt, again);
        b->len += (size_t)n;
    }
    va_end(again);
}

void buf_putf(buf *b, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    buf_vputf(b, fmt, args);
    va_end(args);
}

void buf_put_utf8(buf *b, uint32_t code_point) {
    char text[4];
    buf_put(b, text, str_utf8_put(text, code_point));
}

void buf_drop_front(buf *b, size_t n_bytes) {
    assert(n_bytes <= b->len);
    if (n_bytes == 0) return;
    memmove(b->ptr, b->ptr + n_bytes, b->len - n_bytes);
    b->len -= n_bytes;
}

str buf_str(const buf *b) {
    return (str){b->ptr, b->len};
}

char *buf_cstr(buf *b) {
    buf_reserve(b, 1);
    b->ptr[b->len] = '\0';
    return b->ptr;
}

char *buf_take(buf *b) {
    char *p = buf_cstr(b);
    *b = (buf){0};
    return p;
}
