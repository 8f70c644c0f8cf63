/* Convolutions on the CPU: three ways of doing one, and what they share. Only op_conv.c and
 * conv_*.c include this. Threads: as cpu.h says of operations. */
#pragma once
#include "dev/cpu/cpu.h"

enum { CONV_COLS = KERN_GEMM_COLS };

/* Output channels [*from, *to) of a run. */
static inline void conv_run(const dev_node *n, const cpu_cut *c, int64_t run, int64_t *from,
                            int64_t *to) {
    *from = c->panels * run / c->runs * CONV_COLS;
    *to = cpu_min(c->panels * (run + 1) / c->runs * CONV_COLS, n->out->ne[0]);
}

/* Where a channel of a pixel of a picture lies; pixels count line by line, lines are dense. */
static inline float *conv_pixel(const cpu_run *r, const dev_tensor *t, int64_t picture,
                                int64_t pixel, int64_t channel) {
    char *to = cpu_base(r, t) + picture * t->stride[3] + pixel * t->stride[1];
    return (float *)(void *)to + channel;
}

/* Bytes of an element of the picture that is read: f32, or rounded already. */
static inline int64_t conv_elem(const dev_node *n) {
    return n->in[0]->type == DTYPE_BF16 ? sizeof(uint16_t) : sizeof(float);
}

/* bias + embedding of channels [from, from + n) of one picture, in mem [n] if both are there. */
const float *conv_bias(const cpu_run *r, const dev_node *n, int64_t picture, int64_t from,
                       float mem[CONV_COLS], int64_t count);

/* 3x3, stride 1: Winograd. */
bool conv_wino_fits(const dev_node *n);
cpu_cut conv_wino_cut(const dev_node *n, int64_t n_threads); /* times is 1 */
uint64_t conv_wino_scratch(const dev_node *n, const cpu_cut *c);
void conv_wino_run(cpu_run *r, const cpu_node *cn, int32_t chunk, int32_t thread);

/* In bfloat16, straight from rounded pixels. */
bool conv_tiles_fits(const dev_node *n, const kern_gemm *gemm);
cpu_cut conv_tiles_cut(const dev_node *n, int64_t n_threads);
uint64_t conv_tiles_scratch(const dev_node *n, const cpu_cut *c);
void conv_tiles_run(cpu_run *r, const cpu_node *cn, int32_t chunk, int32_t thread);

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

/* Weights that are wanted soon: `cols` rows of `bytes` bytes, `stride` apart; cols <= 0: none. */
typedef struct conv_ahead {
    const char *w;
    int64_t stride, cols, bytes;
} conv_ahead;

/* Asks for part `part` of `n_parts` of them to be brought near. Rows lie on pages of their own, so
 * the processor does not guess them; while one panel is multiplied the next one is asked for. */
static inline void conv_fetch(const conv_ahead *t, int64_t part, int64_t n_parts) {
    int64_t lines = t->bytes / 64 + 1, all = t->cols * lines;
    for (int64_t i = all * part / n_parts; i < all * (part + 1) / n_parts; i++)
        __builtin_prefetch(t->w + i / lines * t->stride + cpu_min(i % lines * 64, t->bytes - 1), 0,
                           2);
}

/* Asks for `rows` rows of up to CONV_COLS floats, `stride` apart, that will be read or written. */
static inline void conv_fetch_rows(const float *at, int64_t stride, int64_t rows) {
    for (int64_t i = 0; at && i < rows; i++, at += stride)
        for (int64_t c = 0; c < CONV_COLS; c += 16) __builtin_prefetch(at + c, 1, 3);
}
