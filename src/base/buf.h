/* A growable byte buffer on the heap. Zero-initialise (`buf b = {0}`) and buf_finish it.
 * Threads: one at a time. */
#pragma once
#include "base/str.h"
#include <stdarg.h>

typedef struct buf {
    char *ptr;
    size_t len;
    size_t cap;
} buf;

void buf_finish(buf *b); /* frees, leaves it empty and usable */
void buf_clear(buf *b);  /* keeps the memory */
void buf_reserve(buf *b, size_t n_more);
void buf_put(buf *b, const void *src, size_t n_bytes);
void buf_put_str(buf *b, str s);
void buf_put_char(buf *b, char c);
void buf_putf(buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_vputf(buf *b, const char *fmt, va_list args) __attribute__((format(printf, 2, 0)));
void buf_put_utf8(buf *b, uint32_t code_point);
void buf_drop_front(buf *b, size_t n_bytes); /* removes from the start, n_bytes <= len */
str buf_str(const buf *b);                   /* borrow */
char *buf_cstr(buf *b);                      /* NUL-terminates (not counted) and borrows */
char *buf_take(buf *b);                      /* NUL-terminated, caller mem_frees; b is empty */
