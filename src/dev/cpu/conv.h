/* Convolutions on the CPU: two ways of doing one, and what they share. Only op_conv.c and
 * conv_wino.c include this. Threads: as cpu.h says of operations. */
#pragma once
#include "dev/cpu/cpu.h"

enum { CONV_COLS = KERN_GEMM_COLS };

/* How a node's work is cut. Chunk c is block c / runs of pixels (or tiles) times run c % runs of
 * output channels. How it is cut does not change results. */
typedef struct conv_cut {
    int64_t n;      /* pixels of a picture, or tiles of all pictures */
    int64_t block;  /* of them in a chunk; the last block may be shorter */
    int64_t blocks; /* direct: of one picture */
    int64_t run;    /* output channels of a chunk, a multiple of CONV_COLS */
    int64_t runs;
} conv_cut;

/* Sets run and runs: some chunks for each thread. */
void conv_cut_channels(conv_cut *c, int64_t n_blocks, int64_t n_channels, int64_t n_threads);

/* bias + embedding of channels [from, from + n) of one picture, in mem [n] if both are there. */
const float *conv_bias(const cpu_run *r, const dev_node *n, int64_t picture, int64_t from,
                       float mem[CONV_COLS], int64_t count);

/* 3x3, stride 1: Winograd. */
bool conv_wino_fits(const dev_node *n);
conv_cut conv_wino_cut(const dev_node *n, int64_t n_threads);
uint64_t conv_wino_scratch(const dev_node *n, int64_t n_threads);
void conv_wino_run(cpu_run *r, const dev_node *n, int32_t chunk, int32_t thread);

/* Channels of a pixel under a kernel's tap as they lie in tiles: bfloat16 comes in pairs. */
static inline int64_t conv_channels(const dev_node *n) {
    int64_t C = n->in[1]->ne[0];
    return n->bf16 ? (C + 1) / 2 * 2 : C;
}

/* The panel of 32 kernels from output channel o on, which must be a multiple, of a weight that has
 * them: B tiles of each tap's channels, one behind the other. */
static inline const uint16_t *conv_panel(const dev_node *n, int64_t o) {
    const dev_tensor *w = n->in[1];
    return (const uint16_t *)w->data + o * w->ne[1] * w->ne[2] * conv_channels(n);
}

/* Asks for part `part` of `n_parts` of a panel of weights to be brought near: `cols` rows of
 * `bytes` bytes, `stride` apart. Rows lie on pages of their own, so the processor does not guess
 * them; while one panel is multiplied the next one is asked for. Nothing happens where w is NULL.
 */
static inline void conv_fetch(const char *w, int64_t stride, int64_t cols, int64_t bytes,
                              int64_t part, int64_t n_parts) {
    if (!w) return;
    int64_t lines = bytes / 64 + 1, all = cols * lines;
    for (int64_t i = all * part / n_parts; i < all * (part + 1) / n_parts; i++)
        __builtin_prefetch(w + i / lines * stride + cpu_min(i % lines * 64, bytes - 1), 0, 2);
}
