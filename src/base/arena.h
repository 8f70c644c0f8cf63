/* Arenas: memory that ends together.
 *
 * An arena hands out aligned blocks and frees them all at once; deferred cleanups run, last one
 * first, when it is reset or destroyed. Arenas hang on one of four lifetimes: process, model, job,
 * step. Owner: whoever created it. Threads: one at a time. Never returns NULL (see mem.h). */
#pragma once
#include "base/mem.h"

typedef struct arena arena;

arena *arena_create(size_t first_block_bytes); /* 0 = a sensible default (4 KiB, growing) */
void arena_destroy(arena **a);                 /* NULL and *a == NULL allowed */
void arena_reset(arena *a);                    /* runs cleanups, keeps the first block */

void *arena_alloc(arena *a, size_t n_bytes);               /* 16-byte aligned, uninitialised */
void *arena_zalloc(arena *a, size_t n_bytes);              /* zeroed */
void *arena_calloc(arena *a, size_t n, size_t elem_bytes); /* zeroed, product checked */
void *arena_dup(arena *a, const void *src, size_t n_bytes);
void arena_defer(arena *a, void (*fn)(void *arg), void *arg);
size_t arena_bytes(const arena *a); /* bytes held from the system */

#define ARENA_NEW(a, T) ((T *)arena_zalloc((a), sizeof(T)))
#define ARENA_ARRAY(a, T, n) ((T *)arena_calloc((a), (n), sizeof(T)))
