/* A hash map from strings to 64-bit values (a number or a pointer cast through uintptr_t).
 * Seeded SipHash, so hostile keys cannot make it slow. Keys are copied. Iterates in insertion
 * order. Zero-initialise and map_finish it. Threads: one at a time; concurrent reads are fine. */
#pragma once
#include "base/str.h"

typedef struct map_entry {
    str key; /* owned by the map */
    int64_t value;
} map_entry;

typedef struct map {
    map_entry *entries; /* insertion order, [len] */
    uint32_t *slots;    /* hash table of entry number + 1, 0 = free */
    size_t len;
    size_t cap;
    size_t n_slots; /* power of two */
} map;

void map_finish(map *m);
bool map_put(map *m, str key, int64_t value); /* true if the key is new; else replaces */
bool map_get(const map *m, str key, int64_t *ret_value);
bool map_has(const map *m, str key);
void *map_get_ptr(const map *m, str key); /* NULL when absent */
bool map_put_ptr(map *m, str key, void *value);
bool map_remove(map *m, str key); /* order of the others is kept; O(n) */
uint64_t map_hash(str key);       /* the seeded hash, for other tables */
