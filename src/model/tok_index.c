/* The tokenizer's tables: text to id, pairs to merges, and ids in order of their texts.
 *
 * All are flat arrays built once at load. Texts are hashed eight bytes at a time; a slot carries
 * ten bits of the hash, so a probe touches the (mapped, maybe cold) text only when it will match.
 */
#include "base/limits.h"
#include "model/tok_impl.h"
#include <stdlib.h>
#include <string.h>

#define ID_BITS 22
#define ID_MASK ((1u << ID_BITS) - 1)
#define MIX 0x9e3779b97f4a7c15u

_Static_assert(LIMIT_VOCAB <= 1u << ID_BITS, "ids fit their bits");

static uint64_t mix(uint64_t h) {
    h *= MIX;
    return h ^ (h >> 29);
}

static uint64_t hash_bytes(const char *p, size_t n) {
    uint64_t h = mix(n + 1), w;
    for (; n >= 8; p += 8, n -= 8) {
        memcpy(&w, p, 8);
        h = mix(h ^ w);
    }
    w = 0;
    memcpy(&w, p, n);
    return mix(mix(h ^ w));
}

static size_t table_len(size_t n) {
    size_t len = 16;
    while (len < 2 * n) len *= 2;
    return len;
}

void tok_hash_build(tok *t) {
    size_t len = table_len(t->n);
    t->slots = NEW_ARRAY(uint32_t, len);
    t->slot_mask = len - 1;
    for (size_t i = 0; i < t->n; i++) {
        str s = tok_text_of(t, i);
        if (s.len == 0 || tok_hash_find(t, s.ptr, s.len) >= 0) continue;
        uint64_t h = hash_bytes(s.ptr, s.len);
        size_t at = (h >> 12) & t->slot_mask;
        while (t->slots[at]) at = (at + 1) & t->slot_mask;
        t->slots[at] = (uint32_t)(h >> 54) << ID_BITS | (uint32_t)(i + 1);
    }
}

int32_t tok_hash_find(const tok *t, const char *ptr, size_t n_bytes) {
    if (n_bytes == 0 || n_bytes > t->token_bytes_max) return -1;
    uint64_t h = hash_bytes(ptr, n_bytes);
    uint32_t tag = (uint32_t)(h >> 54);
    for (size_t at = (h >> 12) & t->slot_mask; t->slots[at]; at = (at + 1) & t->slot_mask) {
        uint32_t slot = t->slots[at];
        if (slot >> ID_BITS != tag) continue;
        int32_t id = (int32_t)(slot & ID_MASK) - 1;
        if (str_eq(tok_text_of(t, (size_t)id), (str){ptr, n_bytes})) return id;
    }
    return -1;
}

int32_t tok_find_plain(const tok *t, const char *ptr, size_t n_bytes) {
    int32_t id = tok_hash_find(t, ptr, n_bytes);
    return id >= 0 && t->attr[id] & TOK_ATTR_PLAIN ? id : -1;
}

static int cmp_text(const void *a, const void *b, void *ctx) {
    const tok *t = ctx;
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    int c = str_cmp(tok_text_of(t, (size_t)x), tok_text_of(t, (size_t)y));
    return c ? c : (x > y) - (x < y);
}

void tok_prefix_build(const tok *t, tok_prefix_index *x, uint8_t attr_any) {
    bool special = !(attr_any & TOK_ATTR_PLAIN);
    x->ids = mem_calloc(t->n, sizeof(int32_t));
    for (size_t i = 0; i < t->n; i++) {
        unsigned type = t->attr[i] & TOK_ATTR_TYPE;
        bool want = special ? type == TOK_TYPE_CONTROL || type == TOK_TYPE_USER ||
                                  type == TOK_TYPE_UNKNOWN || t->attr[i] & TOK_ATTR_GUARDED
                            : (t->attr[i] & TOK_ATTR_PLAIN) != 0;
        str s = tok_text_of(t, i);
        if (!want || s.len == 0) continue;
        x->ids[x->n++] = (int32_t)i;
        x->first_byte[(unsigned char)s.ptr[0]] = true;
    }
    x->ids = mem_realloc(x->ids, (x->n + 1) * sizeof(int32_t));
    qsort_r(x->ids, x->n, sizeof(int32_t), cmp_text, (void *)(uintptr_t)t);
}

/* First index in [lo, hi) whose text has a byte of at least `b` at `depth`. */
static size_t lower_bound(const tok *t, const tok_prefix_index *x, const tok_prefix_cursor *c,
                          unsigned b) {
    size_t lo = c->lo, hi = c->hi;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        str s = tok_text_of(t, (size_t)x->ids[mid]);
        bool below = s.len <= c->depth || (unsigned char)s.ptr[c->depth] < b;
        if (below)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

bool tok_prefix_step(const tok *t, const tok_prefix_index *x, tok_prefix_cursor *c, uint8_t b) {
    if (c->depth == 0 && !x->first_byte[b]) return false;
    tok_prefix_cursor next = *c;
    next.lo = lower_bound(t, x, c, b);
    c->lo = next.lo;
    next.hi = lower_bound(t, x, c, b + 1u);
    next.depth++;
    if (next.lo >= next.hi) return false;
    *c = next;
    return true;
}

int32_t tok_prefix_here(const tok *t, const tok_prefix_index *x, const tok_prefix_cursor *c) {
    if (c->lo >= c->hi) return -1;
    int32_t id = x->ids[c->lo];
    return tok_text_of(t, (size_t)id).len == c->depth ? id : -1;
}

static size_t pair_slot(const tok *t, uint32_t left, uint32_t right) {
    return (size_t)(mix((uint64_t)left << 32 | right) >> 8) & t->pair_mask;
}

/* A merge whose parts or result are not tokens, or would make a special token, cannot apply. */
void tok_pairs_build(tok *t, const str *merges, size_t n_merges) {
    size_t len = table_len(n_merges);
    t->pairs = mem_alloc(len * sizeof(tok_pair));
    memset(t->pairs, 0xff, len * sizeof(tok_pair));
    t->pair_mask = len - 1;
    buf joined = {0};
    for (size_t i = 0; i < n_merges; i++) {
        str m = merges[i];
        const char *gap = m.len > 2 ? memchr(m.ptr + 1, ' ', m.len - 1) : NULL;
        if (!gap) continue;
        str left = str_sub(m, 0, (size_t)(gap - m.ptr));
        str right = str_sub(m, left.len + 1, m.len);
        buf_clear(&joined);
        buf_put_str(&joined, left);
        buf_put_str(&joined, right);
        int32_t l = tok_hash_find(t, left.ptr, left.len);
        int32_t r = tok_hash_find(t, right.ptr, right.len);
        int32_t res = tok_find_plain(t, joined.ptr, joined.len);
        if (l < 0 || r < 0 || res < 0) continue;
        size_t at = pair_slot(t, (uint32_t)l, (uint32_t)r);
        while (t->pairs[at].rank != UINT32_MAX &&
               !(t->pairs[at].left == (uint32_t)l && t->pairs[at].right == (uint32_t)r))
            at = (at + 1) & t->pair_mask;
        if (t->pairs[at].rank != UINT32_MAX) continue;
        t->pairs[at] = (tok_pair){(uint32_t)l, (uint32_t)r, (uint32_t)i, (uint32_t)res};
    }
    buf_finish(&joined);
}

const tok_pair *tok_pair_find(const tok *t, int32_t left, int32_t right) {
    if (left < 0 || right < 0 || !t->pairs) return NULL;
    size_t at = pair_slot(t, (uint32_t)left, (uint32_t)right);
    for (; t->pairs[at].rank != UINT32_MAX; at = (at + 1) & t->pair_mask)
        if (t->pairs[at].left == (uint32_t)left && t->pairs[at].right == (uint32_t)right)
            return &t->pairs[at];
    return NULL;
}
