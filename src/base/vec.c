/* Growth and removal for the typed arrays of vec.h. */
#include "base/vec.h"
#include <assert.h>
#include <string.h>

void *vec_grow(void *items, size_t *cap, size_t need, size_t elem_bytes) {
    size_t n = *cap ? *cap * 2 : 8;
    if (n < need) n = need;
    size_t n_bytes;
    if (__builtin_mul_overflow(n, elem_bytes, &n_bytes)) assert(!"vec too large");
    *cap = n;
    return mem_realloc(items, n_bytes);
}

void vec_remove(void *items, size_t *len, size_t i, size_t elem_bytes) {
    assert(i < *len);
    char *at = (char *)items + i * elem_bytes;
    memmove(at, at + elem_bytes, (*len - i - 1) * elem_bytes);
    (*len)--;
}
