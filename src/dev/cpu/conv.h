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
