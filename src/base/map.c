/* Insertion-ordered open-addressing hash map with SipHash-1-3 (Aumasson and Bernstein, 2012). */
#include "base/map.h"
#include "base/rng.h"
#include <pthread.h>
#include <string.h>

static uint64_t seed[2];

static void seed_init(void) {
    rng_entropy(seed, sizeof seed);
}

static uint64_t rotl(uint64_t x, int b) {
    return x << b | x >> (64 - b);
}

static void sip_round(uint64_t v[4]) {
    v[0] += v[1], v[1] = rotl(v[1], 13) ^ v[0], v[0] = rotl(v[0], 32);
    v[2] += v[3], v[3] = rotl(v[3], 16) ^ v[2];
    v[0] += v[3], v[3] = rotl(v[3], 21) ^ v[0];
    v[2] += v[1], v[1] = rotl(v[1], 17) ^ v[2], v[2] = rotl(v[2], 32);
}

uint64_t map_hash(str key) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, seed_init);
    uint64_t v[4] = {seed[0] ^ UINT64_C(0x736f6d6570736575), seed[1] ^ UINT64_C(0x646f72616e646f6d),
                     seed[0] ^ UINT64_C(0x6c7967656e657261),
                     seed[1] ^ UINT64_C(0x7465646279746573)};
    size_t i = 0;
    for (; i + 8 <= key.len; i += 8) {
        uint64_t m;
        memcpy(&m, key.ptr + i, 8);
        v[3] ^= m;
        sip_round(v);
        v[0] ^= m;
    }
    uint64_t tail = (uint64_t)key.len << 56;
    for (size_t j = 0; i + j < key.len; j++)
        tail |= (uint64_t)(unsigned char)key.ptr[i + j] << 8 * j;
    v[3] ^= tail;
    sip_round(v);
    v[0] ^= tail;
    v[2] ^= 0xff;
    for (int r = 0; r < 3; r++) sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* The slot where key is, or the free slot where it would go. Table not full. */
static size_t find_slot(const map *m, str key) {
    size_t mask = m->n_slots - 1;
    size_t i = map_hash(key) & mask;
    while (m->slots[i] && !str_eq(m->entries[m->slots[i] - 1].key, key)) i = (i + 1) & mask;
    return i;
}

static void rehash(map *m, size_t n_slots) {
    mem_free(m->slots);
    m->slots = NEW_ARRAY(uint32_t, n_slots);
    m->n_slots = n_slots;
    for (size_t e = 0; e < m->len; e++) m->slots[find_slot(m, m->entries[e].key)] = (uint32_t)e + 1;
}

void map_finish(map *m) {
    for (size_t i = 0; i < m->len; i++) mem_free((void *)(uintptr_t)m->entries[i].key.ptr);
    mem_free(m->entries);
    mem_free(m->slots);
    *m = (map){0};
}

bool map_put(map *m, str key, int64_t value) {
    if ((m->len + 1) * 4 > m->n_slots * 3) rehash(m, m->n_slots ? m->n_slots * 2 : 16);
    size_t i = find_slot(m, key);
    if (m->slots[i]) {
        m->entries[m->slots[i] - 1].value = value;
        return false;
    }
    if (m->len == m->cap) {
        m->cap = m->cap ? m->cap * 2 : 8;
        m->entries = mem_realloc(m->entries, m->cap * sizeof *m->entries);
    }
    m->entries[m->len] = (map_entry){{mem_dup(key.ptr, key.len), key.len}, value};
    m->slots[i] = (uint32_t)++m->len;
    return true;
}

bool map_get(const map *m, str key, int64_t *ret_value) {
    if (m->n_slots == 0) return false;
    uint32_t e = m->slots[find_slot(m, key)];
    if (!e) return false;
    if (ret_value) *ret_value = m->entries[e - 1].value;
    return true;
}

bool map_has(const map *m, str key) {
    return map_get(m, key, NULL);
}

void *map_get_ptr(const map *m, str key) {
    int64_t v;
    return map_get(m, key, &v) ? (void *)(uintptr_t)v : NULL;
}

bool map_put_ptr(map *m, str key, void *value) {
    return map_put(m, key, (int64_t)(uintptr_t)value);
}

bool map_remove(map *m, str key) {
    if (m->n_slots == 0) return false;
    uint32_t e = m->slots[find_slot(m, key)];
    if (!e) return false;
    mem_free((void *)(uintptr_t)m->entries[e - 1].key.ptr);
    memmove(m->entries + e - 1, m->entries + e, (m->len - e) * sizeof *m->entries);
    m->len--;
    rehash(m, m->n_slots);
    return true;
}
