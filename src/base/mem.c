/* Small allocations that never fail: out of memory ends the process with a message. */
#include "base/mem.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *must(void *ptr, size_t n_bytes) {
    if (ptr || n_bytes == 0) return ptr;
    fprintf(stderr, "hob: out of memory allocating %zu bytes\n", n_bytes);
    abort();
}

void *mem_alloc(size_t n_bytes) {
    return must(malloc(n_bytes ? n_bytes : 1), n_bytes);
}

void *mem_zalloc(size_t n_bytes) {
    return must(calloc(1, n_bytes ? n_bytes : 1), n_bytes);
}

void *mem_calloc(size_t n, size_t elem_bytes) {
    if (n == 0 || elem_bytes == 0) return mem_zalloc(1);
    return must(calloc(n, elem_bytes), n);
}

void *mem_realloc(void *ptr, size_t n_bytes) {
    return must(realloc(ptr, n_bytes ? n_bytes : 1), n_bytes);
}

void *mem_dup(const void *src, size_t n_bytes) {
    void *copy = mem_alloc(n_bytes);
    if (n_bytes) memcpy(copy, src, n_bytes);
    return copy;
}

void mem_free(void *ptr) {
    free(ptr);
}

void mem_free_at(void *ptr_address) {
    void **p = ptr_address;
    free(*p);
    *p = NULL;
}
