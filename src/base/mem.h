/* Small host allocations and ownership helpers.
 *
 * These never return NULL: a failed small allocation ends the process with a message (see
 * docs/decisions/001-allocations.md). Everything whose size a stranger chooses is bounded by
 * base/limits.h before it gets here, and everything large (weights, KV pages, plan arenas) goes
 * through os/mem.h, which reports failure. Threads: any. */
#pragma once
#include <stddef.h>
#include <stdint.h>

void *mem_alloc(size_t n_bytes);               /* uninitialised */
void *mem_zalloc(size_t n_bytes);              /* zeroed */
void *mem_calloc(size_t n, size_t elem_bytes); /* zeroed, product checked */
void *mem_realloc(void *ptr, size_t n_bytes);
void *mem_dup(const void *src, size_t n_bytes);
void mem_free(void *ptr); /* NULL allowed */

#define NEW(T) ((T *)mem_zalloc(sizeof(T)))
#define NEW_ARRAY(T, n) ((T *)mem_calloc((n), sizeof(T)))
#define COUNT_OF(a) (sizeof(a) / sizeof((a)[0]))

/* `CLEANUP(x_destroy) x *v = ...; return TAKE(v);` */
#define CLEANUP(fn) __attribute__((cleanup(fn)))
#define TAKE(v)                                                                                    \
    __extension__({                                                                                \
        __typeof__(v) take_tmp_ = (v);                                                             \
        (v) = NULL;                                                                                \
        take_tmp_;                                                                                 \
    })

/* Destructor for CLEANUP on a plain mem_alloc'ed pointer: `CLEANUP(mem_free_at) char *p`. */
void mem_free_at(void *ptr_address);
