/* Float kernels of pictures: products of packed tiles, Winograd transforms, group norm, softmax of
 * attention tiles.
 *
 * A product is out[m][n] = sum_k A[m][k] B[n][k] over tiles of up to KERN_GEMM_ROWS rows (pixels,
 * tokens; in bfloat16 the table's rows_bf16) and KERN_GEMM_COLS columns (output channels, keys).
 * Both sides are packed first:
 *   A tile  [ceil(k / 16)][rows][16] f32   sixteen elements of each row, one cache line each; what
 *                                          is behind k is never read as part of a sum
 *   B tile  [k][32] f32                    the columns side by side, missing ones 0
 * With operands in bfloat16 (the slots named _bf16; sums stay f32) two k lie side by side:
 *   A tile  [ceil(k / 32)][rows][32] bf16, 0 behind k
 *   B tile  [ceil(k / 2)][32][2] bf16      pairs of k of each column; 0 behind k and cols
 * Floats are rounded to the nearest, ties to even.
 * Every sum runs over k (or pairs of k) in ascending order in one accumulator, so a result depends
 * on its own row and column and on the level only, never on how work is cut.
 *
 * Winograd's F(4x4,3x3) (Lavin and Gray 2015, points 0, 1, -1, 2, -2 and infinity) makes 4x4 output
 * pixels of a 3x3 convolution from 36 products per channel pair instead of 144. In f32 it costs two
 * to three decimal digits. Operands of 8 bits need better points: 0, 3/4, -3/4, 3/2, -3/2 and
 * infinity leave a relative error of 1 % where the others leave 2.3 % (and a direct sum 0.24 %).
 * One line of KERN_GEMM_SLOTS per kernel; ref/gemm.c fills every slot, x86/gemm_*.c overlay.
 * Pointers need no alignment. Threads: the tables are constant after the first call. */
#pragma once
#include "kern/dtype.h"
#include "kern/kern.h"
#include <stdbool.h>

enum {
    KERN_GEMM_ROWS = 12,
    KERN_GEMM_ROWS_MAX = 32, /* of any table's rows_bf16 */
    KERN_GEMM_COLS = 32,
    KERN_GEMM_BLOCK = 16,
    KERN_GEMM_BLOCK_BF16 = 32,
    KERN_WINO = 36
};

/* Floats of an A tile. */
static inline int64_t kern_gemm_a_floats(int64_t rows, int64_t k) {
    return rows * ((k + KERN_GEMM_BLOCK - 1) / KERN_GEMM_BLOCK * KERN_GEMM_BLOCK);
}

/* bfloat16s of an A tile, and of a B tile. */
static inline int64_t kern_gemm_a_bf16s(int64_t rows, int64_t k) {
    return rows * ((k + KERN_GEMM_BLOCK_BF16 - 1) / KERN_GEMM_BLOCK_BF16 * KERN_GEMM_BLOCK_BF16);
}
static inline int64_t kern_gemm_b_bf16s(int64_t k) {
    return (k + 1) / 2 * 2 * KERN_GEMM_COLS;
}

typedef struct kern_gemm_tile {
    const void *a, *b; /* f32, or bf16 for mul_bf16 */
    int64_t k;
    int32_t rows, cols; /* 1 to 12 (rows_bf16), 1 to 32 */
    float *out;
    int64_t out_stride;    /* floats from row to row */
    int64_t out_half;      /* floats from column 0 to column 16 of a row: 16 where rows are dense */
    bool add;              /* sums start with what out holds */
    const float *bias;     /* [cols] added at the end, or NULL */
    const float *residual; /* [rows][cols] added at the end, or NULL; may be out, dense rows */
    int64_t residual_stride;
    /* mul_bf16 of a table that is_tiled (and of the reference) also takes rows from where they lie;
     * all in bytes, from a or from a row: */
    const int32_t *a_blocks; /* to each 32 k of a row, ceil(k / 32) of them; NULL: an A tile */
    int32_t a_row, a_down; /* from row to row, but to row a_split (at most 16) a_down from row 0 */
    int32_t a_split;
} kern_gemm_tile;

/* Columns to be packed: column n has k elements of `type` (F32, F16, BF16) at w + n * stride. */
typedef struct kern_gemm_cols {
    const void *w;
    int64_t stride; /* bytes */
    dtype type;
    int32_t cols;
    int64_t k;
} kern_gemm_cols;

/* A tile's 6x6 input pixels -> V. Outside the picture pixels are 0. */
typedef struct kern_wino_in {
    const float *x;             /* the picture's first pixel, at the first channel wanted */
    int64_t stride_x, stride_y; /* floats */
    int32_t nx, ny;             /* the picture's size */
    int32_t px, py;             /* the tile's first pixel, may be outside */
    int32_t channels;
    void *v; /* f32: position p of channel c at v + p * v_pos + c / 16 * v_block + c % 16; bf16:
                c / 32 and c % 32. Whole blocks are written */
    int64_t v_pos, v_block; /* elements */
} kern_wino_in;

/* Nine taps -> U, element by element. Strides between taps and positions are the caller's, who
 * keeps off multiples of 4096 bytes: so many streams would fall into the same few lines of a cache.
 */
typedef struct kern_wino_taps {
    const void *g; /* tap t (row by row) of element i at g + t * g_tap + i */
    int64_t g_tap;
    void *u; /* position p at u + p * u_pos + i */
    int64_t u_pos;
    int64_t n; /* elements; f32: a multiple of 16, bf16: of 32 */
} kern_wino_taps;

/* A tile's 36 sums -> up to 4x4 output pixels. */
typedef struct kern_wino_out {
    const float *m; /* position p of channel c at m + p * m_pos + c */
    int64_t m_pos;
    int32_t cols;   /* 1 to 32 */
    int32_t nx, ny; /* pixels wanted, 1 to 4 */
    float *out;
    int64_t out_x, out_y;  /* floats */
    const float *bias;     /* [cols] or NULL */
    const float *residual; /* first pixel or NULL; may be out */
    int64_t residual_x, residual_y;
} kern_wino_out;

/* A group norm's last step for n pixels of c channels: out = x * scale[c] + shift[c], then SiLU. */
typedef struct kern_norm_apply {
    void *out; /* f32, or bf16 for norm_apply_bf16 */
    const float *x;
    int64_t out_stride, x_stride; /* elements from pixel to pixel */
    int64_t n, c;
    const float *scale, *shift;
    bool silu;
} kern_norm_apply;

/* Online softmax of one row over its blocks. */
typedef struct kern_soft_state {
    float max; /* largest score so far, -INFINITY at first */
    float sum; /* of 2^(score - max) */
} kern_soft_state;

/* pack_rows:    `rows` rows of k floats, `stride` floats apart, to an A tile; the end of the last
 *               block is 0
 * norm_sums:    sum[c] += x, square[c] += x^2 over n pixels `stride` floats apart
 * soft:         s, an A tile of rows x k scores, to weights 2^(score - new max) in place, 0 behind
 *               k; updates st[rows] and gives corr[rows], the factor for what was accumulated
 *               before (1 where nothing is seen: all scores -INFINITY)
 * In bf16:
 * round:        n floats times `scale`
 * pack_rows:    as above, times `scale`
 * norm_apply:   as above; its SiLU is as exact as what is rounded
 * pack_pairs:   a B tile from k rows of `cols` floats, `stride` floats apart: its k is their number
 * unpack_cols:  a B tile of floats [k][32] from one of bfloat16
 * soft:         from s (which is destroyed) to p, an A tile of weights 2^(score - new max) */
#define KERN_GEMM_F32_SLOTS(X)                                                                     \
    X(void, mul, (const kern_gemm_tile *t))                                                        \
    X(void, pack_rows, (float *a, const float *x, int64_t stride, int32_t rows, int64_t k))        \
    X(void, pack_cols, (float *b, const kern_gemm_cols *c))                                        \
    X(void, wino_in, (const kern_wino_in *t))                                                      \
    X(void, wino_weights, (const kern_wino_taps *t))                                               \
    X(void, wino_out, (const kern_wino_out *t))                                                    \
    X(void, norm_sums,                                                                             \
      (float *sum, float *square, const float *x, int64_t stride, int64_t n, int64_t c))           \
    X(void, norm_apply, (const kern_norm_apply *j))                                                \
    X(void, soft, (float *s, int32_t rows, int64_t k, kern_soft_state *st, float *corr))
#define KERN_GEMM_BF16_SLOTS(X)                                                                    \
    X(void, mul_bf16, (const kern_gemm_tile *t))                                                   \
    X(void, round_bf16, (uint16_t * out, const float *x, int64_t n, float scale))                  \
    X(void, norm_apply_bf16, (const kern_norm_apply *j))                                           \
    X(void, pack_rows_bf16,                                                                        \
      (uint16_t * a, const float *x, int64_t stride, int32_t rows, int64_t k, float scale))        \
    X(void, pack_cols_bf16, (uint16_t * b, const kern_gemm_cols *c))                               \
    X(void, unpack_cols_bf16, (float *b, const uint16_t *from, int64_t k))                         \
    X(void, pack_pairs_bf16,                                                                       \
      (uint16_t * b, const float *x, int64_t stride, int32_t cols, int64_t k))                     \
    X(void, wino_in_bf16, (const kern_wino_in *t))                                                 \
    X(void, wino_weights_bf16, (const kern_wino_taps *t))                                          \
    X(void, wino_out_bf16, (const kern_wino_out *t))                                               \
    X(void, soft_bf16,                                                                             \
      (uint16_t * p, float *s, int32_t rows, int64_t k, kern_soft_state *st, float *corr))
#define KERN_GEMM_SLOTS(X) KERN_GEMM_F32_SLOTS(X) KERN_GEMM_BF16_SLOTS(X)

typedef struct kern_gemm {
    int32_t rows_bf16; /* most rows of a tile of mul_bf16, a multiple of 4 */
    bool is_tiled;     /* mul_bf16 is so fast that Winograd's transforms cost more than they save */
#define KERN_GEMM_FIELD(ret, name, args) ret(*name) args;
    KERN_GEMM_SLOTS(KERN_GEMM_FIELD)
#undef KERN_GEMM_FIELD
} kern_gemm;

/* The table of a usable level. Never NULL. */
const kern_gemm *kern_gemm_get(kern_level level);
