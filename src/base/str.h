/* Strings by value: a pointer and a length, not NUL-terminated unless said so, bytes of UTF-8
 * unless said so. A str borrows; whoever made the bytes owns them. */
#pragma once
#include "base/arena.h"
#include <stdbool.h>

typedef struct str {
    const char *ptr; /* may be NULL when len is 0 */
    size_t len;      /* bytes */
} str;

#define STR(lit) ((str){(lit), sizeof(lit) - 1})
#define STR_FMT "%.*s"
/* For printf with STR_FMT; strings beyond INT_MAX are never printed. */
#define STR_ARG(s) (int)(s).len, (s).ptr

str str_from(const char *cstr); /* NULL gives the empty string */
bool str_eq(str a, str b);
bool str_eq_nocase(str a, str b); /* ASCII only */
int str_cmp(str a, str b);        /* bytewise; <0, 0, >0 */
bool str_starts(str s, str prefix);
bool str_ends(str s, str suffix);
ptrdiff_t str_find(str s, str needle); /* byte offset of the first match or -1 */
ptrdiff_t str_find_char(str s, char c);
ptrdiff_t str_rfind_char(str s, char c);
str str_sub(str s, size_t from, size_t to); /* clamped to the string */
str str_trim(str s);                        /* ASCII white space at both ends */

/* Cuts s at the first `sep`: returns the part before it and leaves the rest in *s.
 * Without a sep it returns all of s and leaves *s empty with ptr NULL. */
str str_cut(str *s, char sep);

str str_dup(arena *a, str s);    /* NUL-terminated copy (the NUL is not counted) */
char *str_cstr(arena *a, str s); /* the same as a C string */
str str_fmt(arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
str str_lower(arena *a, str s); /* ASCII */

bool str_to_i64(str s, int64_t *ret_v); /* whole string, decimal, optional sign, range-checked */
bool str_to_f64(str s, double *ret_v);  /* whole string, C locale, finite only */

/* UTF-8. */
bool str_is_utf8(str s);
/* Bytes at the end of s that begin a character which is not complete yet: 0 to 3. */
size_t str_utf8_partial(str s);
/* Decodes one code point at s.ptr[*pos] and moves *pos; an invalid byte gives U+FFFD and moves 1.
 */
uint32_t str_utf8_next(str s, size_t *pos);
/* Writes 1 to 4 bytes, returns how many. */
size_t str_utf8_put(char out[4], uint32_t code_point);
