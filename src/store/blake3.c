/* The portable algorithm of the specification, section 2. */
#include "store/blake3.h"
#include "os/file.h"
#include <stdio.h>
#include <string.h>

enum { CHUNK_START = 1, CHUNK_END = 2, PARENT = 4, ROOT = 8, BLOCKS = 16 };

static const uint32_t IV[8] = {0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A,
                               0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19};
static const uint8_t PERMUTATION[16] = {2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8};

static uint32_t rotate(uint32_t v, int n) {
    return v >> n | v << (32 - n);
}

static void mix(uint32_t *s, const uint8_t at[4], uint32_t x, uint32_t y) {
    uint32_t *a = s + at[0], *b = s + at[1], *c = s + at[2], *d = s + at[3];
    *a += *b + x;
    *d = rotate(*d ^ *a, 16);
    *c += *d;
    *b = rotate(*b ^ *c, 12);
    *a += *b + y;
    *d = rotate(*d ^ *a, 8);
    *c += *d;
    *b = rotate(*b ^ *c, 7);
}

typedef struct node {
    uint32_t cv[8], words[16];
    uint64_t counter;
    uint32_t n_bytes, flags;
} node;

static void compress(const node *in, uint32_t flags, uint32_t ret[8]) {
    static const uint8_t lanes[8][4] = {{0, 4, 8, 12},  {1, 5, 9, 13},  {2, 6, 10, 14},
                                        {3, 7, 11, 15}, {0, 5, 10, 15}, {1, 6, 11, 12},
                                        {2, 7, 8, 13},  {3, 4, 9, 14}};
    uint32_t s[16], m[16], next[16];
    memcpy(s, in->cv, 32);
    memcpy(s + 8, IV, 16);
    s[12] = (uint32_t)in->counter;
    s[13] = (uint32_t)(in->counter >> 32);
    s[14] = in->n_bytes;
    s[15] = in->flags | flags;
    memcpy(m, in->words, sizeof m);
    for (int round = 0; round < 7; round++) {
        for (size_t i = 0; i < 8; i++) mix(s, lanes[i], m[2 * i], m[2 * i + 1]);
        for (size_t i = 0; i < 16; i++) next[i] = m[PERMUTATION[i]];
        memcpy(m, next, sizeof m);
    }
    for (size_t i = 0; i < 8; i++) ret[i] = s[i] ^ s[i + 8];
}

void blake3_init(blake3 *h) {
    *h = (blake3){0};
    memcpy(h->cv, IV, sizeof IV);
}

static node block_node(const blake3 *h) {
    node n = {.counter = h->n_chunks, .n_bytes = (uint32_t)h->n_block};
    if (h->n_blocks == 0) n.flags |= CHUNK_START;
    memcpy(n.cv, h->cv, sizeof n.cv);
    for (size_t i = 0; i < h->n_block; i++) n.words[i / 4] |= (uint32_t)h->block[i] << 8 * (i % 4);
    return n;
}

static node parent_node(const uint32_t left[8], const uint32_t right[8]) {
    node n = {.n_bytes = 64, .flags = PARENT};
    memcpy(n.cv, IV, sizeof n.cv);
    memcpy(n.words, left, 32);
    memcpy(n.words + 8, right, 32);
    return n;
}

/* A chunk is whole: subtrees of equal size join, as carries do in a counter. */
static void end_chunk(blake3 *h) {
    uint32_t cv[8];
    node n = block_node(h);
    compress(&n, CHUNK_END, cv);
    uint64_t total = ++h->n_chunks;
    for (; (total & 1) == 0; total >>= 1) {
        n = parent_node(h->stack[--h->n_stack], cv);
        compress(&n, 0, cv);
    }
    memcpy(h->stack[h->n_stack++], cv, sizeof cv);
    memcpy(h->cv, IV, sizeof IV);
    h->n_block = h->n_blocks = 0;
}

/* The block is full and more bytes follow. */
static void end_block(blake3 *h) {
    if (h->n_blocks == BLOCKS - 1) {
        end_chunk(h);
        return;
    }
    node n = block_node(h);
    compress(&n, 0, h->cv);
    h->n_blocks++;
    h->n_block = 0;
}

void blake3_put(blake3 *h, const void *src, size_t n_bytes) {
    const uint8_t *p = src;
    while (n_bytes) {
        if (h->n_block == sizeof h->block) end_block(h);
        size_t n = sizeof h->block - h->n_block;
        if (n > n_bytes) n = n_bytes;
        memcpy(h->block + h->n_block, p, n);
        h->n_block += n;
        p += n;
        n_bytes -= n;
    }
}

void blake3_finish(const blake3 *h, uint8_t ret[32]) {
    uint32_t cv[8];
    node n = block_node(h);
    n.flags |= CHUNK_END;
    for (size_t i = h->n_stack; i-- > 0;) {
        compress(&n, 0, cv);
        n = parent_node(h->stack[i], cv);
    }
    compress(&n, ROOT, cv);
    for (size_t i = 0; i < 32; i++) ret[i] = (uint8_t)(cv[i / 4] >> 8 * (i % 4));
}

void blake3_text(const blake3 *h, char ret[BLAKE3_TEXT_BYTES]) {
    uint8_t digest[32];
    blake3_finish(h, digest);
    int n = snprintf(ret, BLAKE3_TEXT_BYTES, "blake3:");
    for (size_t i = 0; i < sizeof digest; i++)
        n += snprintf(ret + n, BLAKE3_TEXT_BYTES - (size_t)n, "%02x", digest[i]);
}

err_code blake3_file(const char *path, char ret[BLAKE3_TEXT_BYTES], err *e) {
    file_map m;
    blake3 h;
    TRY(file_map_open(path, &m, e));
    blake3_init(&h);
    blake3_put(&h, m.ptr, m.len);
    file_map_close(&m);
    blake3_text(&h, ret);
    return ERR_OK;
}
