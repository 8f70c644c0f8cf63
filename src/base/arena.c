/* Arenas: a chain of growing blocks and a list of deferred cleanups. */
#include "base/arena.h"
#include <assert.h>
#include <stdbool.h>
#include <string.h>

enum { ARENA_ALIGN = 16, ARENA_FIRST_BYTES = 4096, ARENA_MAX_BLOCK_BYTES = 1 << 20 };

typedef struct arena_block {
    struct arena_block *next; /* the older block */
    size_t cap;
    size_t used;
    _Alignas(ARENA_ALIGN) char bytes[];
} arena_block;

typedef struct arena_cleanup {
    struct arena_cleanup *next;
    void (*fn)(void *arg);
    void *arg;
} arena_cleanup;

struct arena {
    arena_block *top;
    arena_cleanup *cleanups;
    size_t held_bytes;
};

static arena_block *block_create(size_t cap, arena_block *next) {
    arena_block *b = mem_alloc(sizeof *b + cap);
    b->next = next;
    b->cap = cap;
    b->used = 0;
    return b;
}

arena *arena_create(size_t first_block_bytes) {
    arena *a = NEW(arena);
    size_t cap = first_block_bytes ? first_block_bytes : ARENA_FIRST_BYTES;
    a->top = block_create(cap, NULL);
    a->held_bytes = cap;
    return a;
}

static void run_cleanups(arena *a) {
    while (a->cleanups) {
        arena_cleanup *c = a->cleanups;
        a->cleanups = c->next;
        c->fn(c->arg);
    }
}

static void free_blocks_above_first(arena *a) {
    while (a->top->next) {
        arena_block *b = a->top;
        a->top = b->next;
        a->held_bytes -= b->cap;
        mem_free(b);
    }
}

void arena_reset(arena *a) {
    run_cleanups(a);
    free_blocks_above_first(a);
    a->top->used = 0;
}

void arena_destroy(arena **a) {
    if (!a || !*a) return;
    arena_reset(*a);
    mem_free((*a)->top);
    mem_free(*a);
    *a = NULL;
}

void *arena_alloc(arena *a, size_t n_bytes) {
    assert(n_bytes < SIZE_MAX - ARENA_ALIGN);
    size_t need = (n_bytes + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
    if (a->top->cap - a->top->used < need) {
        size_t cap = a->top->cap * 2;
        if (cap > ARENA_MAX_BLOCK_BYTES) cap = ARENA_MAX_BLOCK_BYTES;
        if (cap < need) cap = need;
        a->top = block_create(cap, a->top);
        a->held_bytes += cap;
    }
    void *p = a->top->bytes + a->top->used;
    a->top->used += need;
    return p;
}

void *arena_zalloc(arena *a, size_t n_bytes) {
    void *p = arena_alloc(a, n_bytes);
    memset(p, 0, n_bytes);
    return p;
}

void *arena_calloc(arena *a, size_t n, size_t elem_bytes) {
    size_t n_bytes;
    bool fits = !__builtin_mul_overflow(n, elem_bytes, &n_bytes);
    assert(fits);
    return arena_zalloc(a, n_bytes);
}

void *arena_dup(arena *a, const void *src, size_t n_bytes) {
    void *p = arena_alloc(a, n_bytes);
    if (n_bytes) memcpy(p, src, n_bytes);
    return p;
}

void arena_defer(arena *a, void (*fn)(void *arg), void *arg) {
    arena_cleanup *c = arena_alloc(a, sizeof *c);
    *c = (arena_cleanup){a->cleanups, fn, arg};
    a->cleanups = c;
}

size_t arena_bytes(const arena *a) {
    return a->held_bytes;
}
