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

/* Registers: 0 and 1 sums of the first 16 rows, 2 and 3 of the others; 4 and 5 those rows of A;
 * 6 and 7 the pairs of B. */
static void set_shapes(int32_t rows) {
    static _Thread_local int32_t set;
    if (set == rows) return;
    const int32_t first = rows < HALF ? rows : HALF, others = rows > HALF ? rows - HALF : HALF;
    const int32_t n[8] = {first, first, others, others, first, others, PAIRS, PAIRS};
    shapes s = {.palette = 1};
    for (int i = 0; i < 8; i++) s.row_bytes[i] = 64, s.rows[i] = (uint8_t)n[i];
    _tile_loadconfig(&s);
    set = rows;
}

INLINE void add_block(const char *a, const char *b, const bool tall, const bool wide) {
    _tile_loadd(4, a, ROW_BYTES);
    _tile_loadd(6, b, PAIR_BYTES);
    if (tall) _tile_loadd(5, a + HALF * ROW_BYTES, ROW_BYTES);
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
INLINE void sum_up(const kern_gemm_tile *t, float *out, int64_t stride, int64_t half, bool add,
                   const bool tall, const bool wide) {
    const int64_t bytes = stride * (int64_t)sizeof *out, down = HALF * stride;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    if (add) {
        _tile_loadd(0, out, bytes);
        if (wide) _tile_loadd(1, out + half, bytes);
        if (tall) _tile_loadd(2, out + down, bytes);
        if (tall && wide) _tile_loadd(3, out + down + half, bytes);
    }
    const char *a = t->a, *b = t->b;
    int64_t k = t->k;
    for (; k >= KERN_GEMM_BLOCK_BF16; k -= KERN_GEMM_BLOCK_BF16) {
        add_block(a, b, tall, wide);
        a += t->rows * ROW_BYTES, b += PAIRS * PAIR_BYTES;
    }
    if (k > 0) add_block(a, last_block(b, (k + 1) / 2 * PAIR_BYTES), tall, wide);
    _tile_stored(0, out, bytes);
    if (wide) _tile_stored(1, out + half, bytes);
    if (tall) _tile_stored(2, out + down, bytes);
    if (tall && wide) _tile_stored(3, out + down + half, bytes);
}

static void product(const kern_gemm_tile *t, float *out, int64_t stride, int64_t half, bool add) {
    set_shapes(t->rows);
    if (t->rows > HALF && t->cols > HALF)
        sum_up(t, out, stride, half, add, true, true);
    else if (t->rows > HALF)
        sum_up(t, out, stride, half, add, true, false);
    else if (t->cols > HALF)
        sum_up(t, out, stride, half, add, false, true);
    else
        sum_up(t, out, stride, half, add, false, false);
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
