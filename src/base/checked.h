/* Checked arithmetic on sizes that came from outside. All arithmetic on untrusted sizes goes
 * through here: each returns false on overflow and leaves *ret alone. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline bool checked_add(uint64_t a, uint64_t b, uint64_t *ret) {
    uint64_t r;
    if (__builtin_add_overflow(a, b, &r)) return false;
    *ret = r;
    return true;
}

static inline bool checked_mul(uint64_t a, uint64_t b, uint64_t *ret) {
    uint64_t r;
    if (__builtin_mul_overflow(a, b, &r)) return false;
    *ret = r;
    return true;
}

/* Rounds a up to a multiple of align (a power of two). */
static inline bool checked_align(uint64_t a, uint64_t align, uint64_t *ret) {
    uint64_t r;
    if (!checked_add(a, align - 1, &r)) return false;
    *ret = r & ~(align - 1);
    return true;
}
