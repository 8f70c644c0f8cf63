/* Reference decoders of every supported element type, written for reading.
 *
 * One function a type, each turns blocks into f32; dequant_row picks by table. Layouts are in
 * kern/dtype.h. Used where speed does not matter (tests, quantisation, odd types) and as the truth
 * for the fast kernels. No state, any thread. */
#include "kern/dtype.h"
#include <math.h>

const int8_t DTYPE_IQ4_VALUES[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                     1,    13,   25,  38,  53,  69,  89,  113};
const int8_t DTYPE_FP4_VALUES[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

/* Decodes n_blocks blocks. */
typedef void decoder(const void *src, float *y, int64_t n_blocks);

static void decode_f32(const void *src, float *y, int64_t n) {
    memcpy(y, src, (size_t)n * sizeof *y);
}

#define DECODE_PLAIN(name, T, expr)                                                                \
    static void decode_##name(const void *src, float *y, int64_t n) {                              \
        const uint8_t *bytes = src;                                                                \
        for (int64_t i = 0; i < n; i++) {                                                          \
            T v;                                                                                   \
            memcpy(&v, bytes + (size_t)i * sizeof v, sizeof v);                                    \
            y[i] = (expr);                                                                         \
        }                                                                                          \
    }
DECODE_PLAIN(f16, uint16_t, f16_to_f32(v))
DECODE_PLAIN(bf16, uint16_t, bf16_to_f32(v))
DECODE_PLAIN(f64, double, (float)v)
DECODE_PLAIN(i8, int8_t, v)
DECODE_PLAIN(i16, int16_t, v)
DECODE_PLAIN(i32, int32_t, (float)v)
DECODE_PLAIN(i64, int64_t, (float)v)
DECODE_PLAIN(u8, uint8_t, v)
DECODE_PLAIN(f8e4m3, uint8_t, f8e4m3_to_f32(v))
DECODE_PLAIN(f8e5m2, uint8_t, f8e5m2_to_f32(v))

/* Nibble order: element i of a 32-element block in 16 bytes. */
static int nibble(const uint8_t qs[16], int i) {
    return i < 16 ? qs[i] & 15 : qs[i - 16] >> 4;
}

static void decode_q4_0(const void *src, float *y, int64_t n_blocks) {
    const blk_q4_0 *b = src;
    for (; n_blocks--; b++, y += 32)
        for (int i = 0; i < 32; i++) y[i] = f16_to_f32(b->d) * (float)(nibble(b->qs, i) - 8);
}

static void decode_q4_1(const void *src, float *y, int64_t n_blocks) {
    const blk_q4_1 *b = src;
    for (; n_blocks--; b++, y += 32)
        for (int i = 0; i < 32; i++)
            y[i] = f16_to_f32(b->d) * (float)nibble(b->qs, i) + f16_to_f32(b->m);
}

static void decode_q5_0(const void *src, float *y, int64_t n_blocks) {
    const blk_q5_0 *b = src;
    for (; n_blocks--; b++, y += 32)
        for (int i = 0; i < 32; i++) {
            int q = nibble(b->qs, i) | (int)(b->qh >> i & 1) << 4;
            y[i] = f16_to_f32(b->d) * (float)(q - 16);
        }
}

static void decode_q5_1(const void *src, float *y, int64_t n_blocks) {
    const blk_q5_1 *b = src;
    for (; n_blocks--; b++, y += 32)
        for (int i = 0; i < 32; i++) {
            int q = nibble(b->qs, i) | (int)(b->qh >> i & 1) << 4;
            y[i] = f16_to_f32(b->d) * (float)q + f16_to_f32(b->m);
        }
}

static void decode_q8_0(const void *src, float *y, int64_t n_blocks) {
    const blk_q8_0 *b = src;
    for (; n_blocks--; b++, y += 32)
        for (int i = 0; i < 32; i++) y[i] = f16_to_f32(b->d) * (float)b->qs[i];
}

static void decode_q1_0(const void *src, float *y, int64_t n_blocks) {
    const blk_q1_0 *b = src;
    for (; n_blocks--; b++, y += 128)
        for (int i = 0; i < 128; i++) {
            float d = f16_to_f32(b->d);
            y[i] = b->qs[i / 8] >> i % 8 & 1 ? d : -d;
        }
}

static void decode_q2_0(const void *src, float *y, int64_t n_blocks) {
    const blk_q2_0 *b = src;
    for (; n_blocks--; b++, y += 64)
        for (int i = 0; i < 64; i++)
            y[i] = f16_to_f32(b->d) * (float)((b->qs[i / 4] >> 2 * (i % 4) & 3) - 1);
}

/* The K-quants address element i of 256 as half h, plane p and position l in a run of 32. */
static void decode_q2_k(const void *src, float *y, int64_t n_blocks) {
    const blk_q2_k *b = src;
    for (; n_blocks--; b++, y += 256)
        for (int i = 0; i < 256; i++) {
            int h = i / 128, p = i / 32 % 4, l = i % 32, sc = b->scales[i / 16];
            int q = b->qs[32 * h + l] >> 2 * p & 3;
            y[i] =
                f16_to_f32(b->d) * (float)((sc & 15) * q) - f16_to_f32(b->dmin) * (float)(sc >> 4);
        }
}

static void decode_q3_k(const void *src, float *y, int64_t n_blocks) {
    const blk_q3_k *b = src;
    for (; n_blocks--; b++, y += 256)
        for (int i = 0; i < 256; i++) {
            int h = i / 128, p = i / 32 % 4, l = i % 32, s = i / 16;
            int q = (b->qs[32 * h + l] >> 2 * p & 3) - (b->hmask[l] >> (4 * h + p) & 1 ? 0 : 4);
            int low = s < 8 ? b->scales[s] & 15 : b->scales[s - 8] >> 4;
            int high = b->scales[8 + s % 4] >> 2 * (s / 4) & 3;
            y[i] = f16_to_f32(b->d) * (float)((low | high << 4) - 32) * (float)q;
        }
}

static void decode_q4_k(const void *src, float *y, int64_t n_blocks) {
    const blk_q4_k *b = src;
    for (; n_blocks--; b++, y += 256)
        for (int i = 0; i < 256; i++) {
            int j = i / 32, l = i % 32;
            uint8_t sc, mn;
            dtype_k_scale_min(b->scales, j, &sc, &mn);
            int q = b->qs[32 * (j / 2) + l] >> 4 * (j & 1) & 15;
            y[i] = f16_to_f32(b->d) * (float)(sc * q) - f16_to_f32(b->dmin) * (float)mn;
        }
}

static void decode_q5_k(const void *src, float *y, int64_t n_blocks) {
    const blk_q5_k *b = src;
    for (; n_blocks--; b++, y += 256)
        for (int i = 0; i < 256; i++) {
            int j = i / 32, l = i % 32;
            uint8_t sc, mn;
            dtype_k_scale_min(b->scales, j, &sc, &mn);
            int q = (b->qs[32 * (j / 2) + l] >> 4 * (j & 1) & 15) | (b->qh[l] >> j & 1) << 4;
            y[i] = f16_to_f32(b->d) * (float)(sc * q) - f16_to_f32(b->dmin) * (float)mn;
        }
}

static void decode_q6_k(const void *src, float *y, int64_t n_blocks) {
    const blk_q6_k *b = src;
    for (; n_blocks--; b++, y += 256)
        for (int i = 0; i < 256; i++) {
            int h = i / 128, k = i / 32 % 4, l = i % 32;
            int low = b->ql[64 * h + l + 32 * (k & 1)] >> 4 * (k >> 1) & 15;
            int high = b->qh[32 * h + l] >> 2 * k & 3;
            int scale = b->scales[8 * h + l / 16 + 2 * k];
            y[i] = f16_to_f32(b->d) * (float)(scale * ((low | high << 4) - 32));
        }
}

static void decode_iq4_nl(const void *src, float *y, int64_t n_blocks) {
    const blk_iq4_nl *b = src;
    for (; n_blocks--; b++, y += 32)
        for (int i = 0; i < 32; i++)
            y[i] = f16_to_f32(b->d) * (float)DTYPE_IQ4_VALUES[nibble(b->qs, i)];
}

static void decode_iq4_xs(const void *src, float *y, int64_t n_blocks) {
    const blk_iq4_xs *b = src;
    for (; n_blocks--; b++, y += 256)
        for (int i = 0; i < 256; i++) {
            int j = i / 32;
            int low = b->scales_l[j / 2] >> 4 * (j & 1) & 15, high = b->scales_h >> 2 * j & 3;
            float scale = f16_to_f32(b->d) * (float)((low | high << 4) - 32);
            y[i] = scale * (float)DTYPE_IQ4_VALUES[nibble(b->qs + 16 * j, i % 32)];
        }
}

static void decode_mxfp4(const void *src, float *y, int64_t n_blocks) {
    const blk_mxfp4 *b = src;
    for (; n_blocks--; b++, y += 32)
        for (int i = 0; i < 32; i++)
            y[i] = ldexpf((float)DTYPE_FP4_VALUES[nibble(b->qs, i)], b->e - 128);
}

/* Unsigned E4M3 where codes 0 and 0x7f are zero; half of it, for the doubled value table. */
static float nvfp4_scale(uint8_t c) {
    if (c == 0 || c == 0x7f) return 0.0f;
    int exponent = c >> 3 & 15, mantissa = c & 7;
    if (exponent == 0) return ldexpf((float)mantissa, -10);
    return ldexpf((float)(8 + mantissa), exponent - 11);
}

static void decode_nvfp4(const void *src, float *y, int64_t n_blocks) {
    const blk_nvfp4 *b = src;
    for (; n_blocks--; b++, y += 64)
        for (int i = 0; i < 64; i++) {
            int s = i / 16, l = i % 16;
            int q = b->qs[8 * s + l % 8] >> (l < 8 ? 0 : 4) & 15;
            y[i] = nvfp4_scale(b->d[s]) * (float)DTYPE_FP4_VALUES[q];
        }
}

/* Trit n of a byte: the byte is a fraction in base 3, rounded up to 8 bits. */
static int trit(uint8_t byte, int n) {
    static const uint8_t power[5] = {1, 3, 9, 27, 81};
    return ((uint8_t)(byte * power[n]) * 3 >> 8) - 1;
}

static void decode_tq1_0(const void *src, float *y, int64_t n_blocks) {
    const blk_tq1_0 *b = src;
    for (; n_blocks--; b++, y += 256)
        for (int i = 0; i < 256; i++) {
            int t;
            if (i < 160)
                t = trit(b->qs[i % 32], i / 32);
            else if (i < 240)
                t = trit(b->qs[32 + i % 16], (i - 160) / 16);
            else
                t = trit(b->qh[i % 4], (i - 240) / 4);
            y[i] = f16_to_f32(b->d) * (float)t;
        }
}

static void decode_tq2_0(const void *src, float *y, int64_t n_blocks) {
    const blk_tq2_0 *b = src;
    for (; n_blocks--; b++, y += 256)
        for (int i = 0; i < 256; i++) {
            int h = i / 128, p = i / 32 % 4, l = i % 32;
            y[i] = f16_to_f32(b->d) * (float)((b->qs[32 * h + l] >> 2 * p & 3) - 1);
        }
}

static decoder *const DECODERS[DTYPE_COUNT] = {
    [DTYPE_F32] = decode_f32,        [DTYPE_F16] = decode_f16,
    [DTYPE_BF16] = decode_bf16,      [DTYPE_F64] = decode_f64,
    [DTYPE_I8] = decode_i8,          [DTYPE_I16] = decode_i16,
    [DTYPE_I32] = decode_i32,        [DTYPE_I64] = decode_i64,
    [DTYPE_Q4_0] = decode_q4_0,      [DTYPE_Q4_1] = decode_q4_1,
    [DTYPE_Q5_0] = decode_q5_0,      [DTYPE_Q5_1] = decode_q5_1,
    [DTYPE_Q8_0] = decode_q8_0,      [DTYPE_Q2_K] = decode_q2_k,
    [DTYPE_Q3_K] = decode_q3_k,      [DTYPE_Q4_K] = decode_q4_k,
    [DTYPE_Q5_K] = decode_q5_k,      [DTYPE_Q6_K] = decode_q6_k,
    [DTYPE_IQ4_NL] = decode_iq4_nl,  [DTYPE_IQ4_XS] = decode_iq4_xs,
    [DTYPE_MXFP4] = decode_mxfp4,    [DTYPE_NVFP4] = decode_nvfp4,
    [DTYPE_TQ1_0] = decode_tq1_0,    [DTYPE_TQ2_0] = decode_tq2_0,
    [DTYPE_Q1_0] = decode_q1_0,      [DTYPE_Q2_0] = decode_q2_0,
    [DTYPE_F8_E4M3] = decode_f8e4m3, [DTYPE_F8_E5M2] = decode_f8e5m2,
    [DTYPE_U8] = decode_u8,          [DTYPE_BOOL] = decode_u8,
};

void dequant_row(dtype t, const void *src, float *dst, int64_t n) {
    const dtype_info *info = dtype_get_info(t);
    assert(info->supported && n >= 0 && n % info->elems == 0);
    DECODERS[t](src, dst, n / info->elems);
}
