/* BLAKE3 hashes of files and bytes (specification by O'Connor, Aumasson, Neves, Wilcox-O'Hearn,
 * 2020): plain hashing, 256 bits. Threads: any. */
#pragma once
#include "base/err.h"
#include "base/str.h"

typedef struct blake3 {
    uint32_t stack[54][8]; /* chaining values of finished subtrees */
    size_t n_stack;
    uint32_t cv[8]; /* of the chunk that is being read */
    uint64_t n_chunks;
    uint8_t block[64];
    size_t n_block, n_blocks; /* bytes in block; blocks of this chunk that are done */
} blake3;

void blake3_init(blake3 *h);
void blake3_put(blake3 *h, const void *src, size_t n_bytes);
void blake3_finish(const blake3 *h, uint8_t ret[32]);

#define BLAKE3_TEXT_BYTES 72 /* "blake3:" + 64 hex digits + NUL */
void blake3_text(const blake3 *h, char ret[BLAKE3_TEXT_BYTES]);
err_code blake3_file(const char *path, char ret[BLAKE3_TEXT_BYTES], err *e);
