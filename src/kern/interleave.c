/* Interleaving rows of weights: a transposition of units. */
#include "kern/interleave.h"

/* Bytes of a block that are no dwords: in front or at its end. */
typedef struct shape {
    bool can;
    uint8_t head, tail; /* bytes of a unit of their own; 0 = none */
} shape;

static const shape SHAPES[DTYPE_COUNT] = {
    [DTYPE_Q4_0] = {true, 2, 0},  [DTYPE_Q4_1] = {true, 0, 0},   [DTYPE_Q5_0] = {true, 2, 0},
    [DTYPE_Q5_1] = {true, 0, 0},  [DTYPE_Q8_0] = {true, 2, 0},   [DTYPE_Q2_K] = {true, 0, 0},
    [DTYPE_Q3_K] = {true, 0, 2},  [DTYPE_Q4_K] = {true, 0, 0},   [DTYPE_Q5_K] = {true, 0, 0},
    [DTYPE_Q6_K] = {true, 0, 2},  [DTYPE_IQ4_NL] = {true, 2, 0}, [DTYPE_IQ4_XS] = {true, 0, 0},
    [DTYPE_MXFP4] = {true, 1, 0}, [DTYPE_F32] = {true, 0, 0},    [DTYPE_F16] = {true, 0, 0},
    [DTYPE_BF16] = {true, 0, 0},
};

static int64_t block_bytes(dtype t) {
    int64_t bytes = dtype_get_info(t)->bytes;
    return bytes < 4 ? 4 : bytes;
}

int64_t kern_interleave_block(dtype t) {
    const dtype_info *info = dtype_get_info(t);
    return info->bytes < 4 ? 4 / info->bytes : info->elems;
}

bool kern_can_interleave(dtype t, int64_t k) {
    return SHAPES[t].can && k > 0 && k % (dtype_get_info(t)->bytes < 4 ? 8 : 1) == 0;
}

/* Units of `unit` bytes: n of them for each row, the rows' next ones `step` bytes on. */
static void units_out(const uint8_t *src, int64_t stride, int unit, int64_t n, uint8_t *dst) {
    for (int r = 0; r < KERN_TILE_ROWS; r++) {
        const uint8_t *from = src + r * stride;
        uint8_t *to = dst + r * unit;
        for (int64_t i = 0; i < n; i++, from += unit, to += KERN_TILE_ROWS * unit)
            memcpy(to, from, (size_t)unit);
    }
}

static void dwords_out(const uint8_t *src, int64_t stride, int64_t n, uint8_t *dst) {
    for (int64_t i = 0; i < n; i++, src += 4)
        for (int r = 0; r < KERN_TILE_ROWS; r++, dst += 4) memcpy(dst, src + r * stride, 4);
}

void kern_interleave(dtype t, const void *src, int64_t stride, int64_t k, void *dst) {
    int64_t bytes = block_bytes(t), n = k / kern_interleave_block(t);
    const uint8_t *from = src;
    uint8_t *to = dst;
    shape s = SHAPES[t];
    if (!s.head && !s.tail) { /* one run of dwords */
        dwords_out(from, stride, n * bytes / 4, to);
        return;
    }
    int64_t dwords = (bytes - s.head - s.tail) / 4, end = bytes - s.tail;
    for (int64_t b = 0; b < n; b++, from += bytes, to += KERN_TILE_ROWS * bytes) {
        if (s.head) units_out(from, stride, s.head, 1, to);
        dwords_out(from + s.head, stride, dwords, to + KERN_TILE_ROWS * s.head);
        if (s.tail) units_out(from + end, stride, s.tail, 1, to + KERN_TILE_ROWS * end);
    }
}

static void unit_in(const uint8_t *tile, int row, int unit, uint8_t *dst) {
    memcpy(dst, tile + row * unit, (size_t)unit);
}

void kern_deinterleave(dtype t, const void *tile, int row, int64_t first, int64_t n, void *dst) {
    int64_t bytes = block_bytes(t);
    const uint8_t *from = (const uint8_t *)tile + first * bytes * KERN_TILE_ROWS;
    uint8_t *to = dst;
    shape s = SHAPES[t];
    for (int64_t b = 0; b < n; b++, from += bytes * KERN_TILE_ROWS, to += bytes) {
        if (s.head) unit_in(from, row, s.head, to);
        for (int64_t at = s.head; at < bytes - s.tail; at += 4)
            unit_in(from + at * KERN_TILE_ROWS, row, 4, to + at);
        if (s.tail)
            unit_in(from + (bytes - s.tail) * KERN_TILE_ROWS, row, s.tail, to + bytes - s.tail);
    }
}
