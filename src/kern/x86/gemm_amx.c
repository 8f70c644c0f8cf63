/* Products of bfloat16 on AMX: a tile register holds 16 rows of 64 bytes, which is a row's block of
 * an A tile and sixteen columns' pairs of a B tile as they lie, and one instruction multiplies two
 * of them (Intel, Architecture Instruction Set Extensions, chapter 3). It counts subnormals as 0.
 *
 * Two registers of rows times two of columns make four of sums: each loaded register is used twice.
 * The shapes of registers are the thread's own state, set when another number of rows comes. */
#include "kern/ref/gemm_ref.h"
#include "kern/x86/gemm_lanes_avx512.h"

#include "kern/x86/exp_body.inc"

enum {
    PAIRS = KERN_GEMM_BLOCK_BF16 / 2, /* rows of a B register */
    ROW_BYTES = KERN_GEMM_BLOCK_BF16 * 2,
    PAIR_BYTES = KERN_GEMM_COLS * 4,
    HALF = 16 /* rows or columns of a register */
};

typedef struct shapes { /* as LDTILECFG reads them */
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} shapes;

/* Registers: 0 and 1 sums of the first rows (up to 16), 2 and 3 of the others; 4 and 5 those rows
 * of A; 6 and 7 the pairs of B. */
static void set_shapes(int32_t first, int32_t others) {
    static _Thread_local int32_t first_set, others_set;
    if (first_set == first && (others_set == others || !others)) return;
    first_set = first, others_set = others ? others : HALF;
    const int32_t n[8] = {first, first, others_set, others_set, first, others_set, PAIRS, PAIRS};
    shapes s = {.palette = 1};
    for (int i = 0; i < 8; i++) s.row_bytes[i] = 64, s.rows[i] = (uint8_t)n[i];
    _tile_loadconfig(&s);
}

/* What lies how far apart, in bytes. */
typedef struct layout {
    int64_t a_row, a_down;               /* rows of A; the first of the others from the first */
    int64_t out_row, out_down, out_half; /* of sums; columns 16 to 31 */
} layout;

INLINE void add_block(const char *a, const char *b, const layout *l, const bool tall,
                      const bool wide) {
    _tile_loadd(4, a, l->a_row);
    _tile_loadd(6, b, PAIR_BYTES);
    if (tall) _tile_loadd(5, a + l->a_down, l->a_row);
    if (wide) _tile_loadd(7, b + PAIR_BYTES / 2, PAIR_BYTES);
    _tile_dpbf16ps(0, 4, 6);
    if (wide) _tile_dpbf16ps(1, 4, 7);
    if (tall) _tile_dpbf16ps(2, 5, 6);
    if (tall && wide) _tile_dpbf16ps(3, 5, 7);
}

/* A B tile ends with its last pair: those bytes with zeros behind. */
static const char *last_block(const char *b, int64_t n_bytes) {
    static _Thread_local char block[PAIRS * PAIR_BYTES] __attribute__((aligned(64)));
    static _Thread_local int64_t used;
    if (used > n_bytes) memset(block + n_bytes, 0, (size_t)(used - n_bytes));
    used = n_bytes;
    return memcpy(block, b, (size_t)n_bytes);
}

/* out += A B if `add`, else out = A B, in whole registers. */
INLINE void sum_up(const kern_gemm_tile *t, const layout *l, char *out, bool add, const bool tall,
                   const bool wide) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    if (add) {
        _tile_loadd(0, out, l->out_row);
        if (wide) _tile_loadd(1, out + l->out_half, l->out_row);
        if (tall) _tile_loadd(2, out + l->out_down, l->out_row);
        if (tall && wide) _tile_loadd(3, out + l->out_down + l->out_half, l->out_row);
    }
    const char *a = t->a, *b = t->b;
    const int64_t block = (int64_t)t->rows * ROW_BYTES;
    for (int64_t k = 0; k < t->k; k += KERN_GEMM_BLOCK_BF16, b += PAIRS * PAIR_BYTES) {
        const char *at = a + (t->a_blocks ? t->a_blocks[k / KERN_GEMM_BLOCK_BF16]
                                          : k / KERN_GEMM_BLOCK_BF16 * block);
        if (t->k - k < KERN_GEMM_BLOCK_BF16) b = last_block(b, (t->k - k + 1) / 2 * PAIR_BYTES);
        add_block(at, b, l, tall, wide);
    }
    _tile_stored(0, out, l->out_row);
    if (wide) _tile_stored(1, out + l->out_half, l->out_row);
    if (tall) _tile_stored(2, out + l->out_down, l->out_row);
    if (tall && wide) _tile_stored(3, out + l->out_down + l->out_half, l->out_row);
}

static void product(const kern_gemm_tile *t, float *sums, int64_t stride, int64_t half, bool add) {
    const int64_t size = sizeof *sums;
    const int32_t split = t->a_blocks ? t->a_split : HALF;
    const int32_t first = t->rows < split ? t->rows : split;
    const layout l = {.a_row = t->a_blocks ? t->a_row : ROW_BYTES,
                      .a_down = t->a_blocks ? t->a_down : HALF * ROW_BYTES,
                      .out_row = stride * size,
                      .out_down = first * stride * size,
                      .out_half = half * size};
    char *out = (char *)sums;
    const bool tall = t->rows > first, wide = t->cols > HALF;
    set_shapes(first, t->rows - first);
    if (tall && wide)
        sum_up(t, &l, out, add, true, true);
    else if (tall)
        sum_up(t, &l, out, add, true, false);
    else if (wide)
        sum_up(t, &l, out, add, false, true);
    else
        sum_up(t, &l, out, add, false, false);
}

/* out = sums [rows][..] (columns from 16 on `half` behind) and all else that is wanted. */
static void finish(const kern_gemm_tile *t, const float *sums, int64_t stride, int64_t half,
                   bool add) {
    for (int32_t c = 0; c < t->cols; c += LANES) {
        const int64_t left = t->cols - c;
        const vf bias = t->bias ? take_n(t->bias + c, left) : vf_zero();
        const float *from = sums + c / HALF * half;
        float *out = t->out + c / HALF * t->out_half;
        for (int32_t r = 0; r < t->rows; r++, out += t->out_stride, from += stride) {
            vf y = take_n(from, left);
            if (add) y = vf_add(y, take_n(out, left));
            if (t->bias) y = vf_add(y, bias);
            if (t->residual) y = vf_add(y, take_n(t->residual + r * t->residual_stride + c, left));
            put_n(out, y, left);
        }
    }
}

static void mul_bf16_amx(const kern_gemm_tile *t) {
    float part[KERN_GEMM_ROWS_MAX * KERN_GEMM_COLS] __attribute__((aligned(64)));
    /* a residual may lie where the sums go */
    if (t->cols % HALF || t->residual) {
        product(t, part, KERN_GEMM_COLS, HALF, false);
        finish(t, part, KERN_GEMM_COLS, HALF, t->add);
        return;
    }
    product(t, t->out, t->out_stride, t->out_half, t->add);
    if (t->bias) finish(t, t->out, t->out_stride, t->out_half, false);
}

void kern_gemm_init_amx(kern_gemm *t) {
    t->rows_bf16 = KERN_GEMM_ROWS_MAX;
    t->is_tiled = true;
    t->mul_bf16 = mul_bf16_amx;
}
