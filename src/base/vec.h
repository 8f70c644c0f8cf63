/* Typed growable arrays: `VEC(int) v = {0}; VEC_PUSH(v, 3); v.items[0]; VEC_FINISH(v);` */
#pragma once
#include "base/mem.h"

#define VEC(T)                                                                                     \
    struct {                                                                                       \
        T *items;                                                                                  \
        size_t len;                                                                                \
        size_t cap;                                                                                \
    }

#define VEC_RESERVE(v, n)                                                                          \
    do {                                                                                           \
        size_t vec_need_ = (n);                                                                    \
        if (vec_need_ > (v).cap)                                                                   \
            (v).items = vec_grow((v).items, &(v).cap, vec_need_, sizeof(*(v).items));              \
    } while (0)
#define VEC_PUSH(v, ...)                                                                           \
    do {                                                                                           \
        VEC_RESERVE(v, (v).len + 1);                                                               \
        (v).items[(v).len++] = (__VA_ARGS__);                                                      \
    } while (0)
#define VEC_POP(v) ((v).items[--(v).len])
#define VEC_LAST(v) ((v).items[(v).len - 1])
#define VEC_CLEAR(v) ((v).len = 0)
#define VEC_REMOVE_AT(v, i) /* keeps the order */                                                  \
    vec_remove((v).items, &(v).len, (i), sizeof(*(v).items))
#define VEC_FINISH(v)                                                                              \
    do {                                                                                           \
        mem_free((v).items);                                                                       \
        (v).items = NULL;                                                                          \
        (v).len = (v).cap = 0;                                                                     \
    } while (0)

void *vec_grow(void *items, size_t *cap, size_t need, size_t elem_bytes);
void vec_remove(void *items, size_t *len, size_t i, size_t elem_bytes);
