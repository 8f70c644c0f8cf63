/* Element types of tensors: ids, sizes, block layouts and the reference decoders.
 *
 * Ids are the ones that GGUF files carry; ours (act8, the 8-bit floats of safetensors) start at
 * DTYPE_INTERNAL and never appear in a GGUF. A quantised type stores rows as blocks of a fixed
 * number of elements; a row is always a whole number of blocks. All formats are little-endian, and
 * so are the machines hob runs on. Nothing here allocates. Threads: any. */
#pragma once
#include "base/err.h"
#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef enum dtype {
    DTYPE_F32 = 0,
    DTYPE_F16 = 1,
    DTYPE_Q4_0 = 2,
    DTYPE_Q4_1 = 3,
    DTYPE_Q5_0 = 6,
    DTYPE_Q5_1 = 7,
    DTYPE_Q8_0 = 8,
    DTYPE_Q8_1 = 9, /* activations only */
    DTYPE_Q2_K = 10,
    DTYPE_Q3_K = 11,
    DTYPE_Q4_K = 12,
    DTYPE_Q5_K = 13,
    DTYPE_Q6_K = 14,
    DTYPE_Q8_K = 15,    /* activations only */
    DTYPE_IQ2_XXS = 16, /* the IQ1, IQ2 and IQ3 types are known by name and size only */
    DTYPE_IQ2_XS = 17,
    DTYPE_IQ3_XXS = 18,
    DTYPE_IQ1_S = 19,
    DTYPE_IQ4_NL = 20,
    DTYPE_IQ3_S = 21,
    DTYPE_IQ2_S = 22,
    DTYPE_IQ4_XS = 23,
    DTYPE_I8 = 24,
    DTYPE_I16 = 25,
    DTYPE_I32 = 26,
    DTYPE_I64 = 27,
    DTYPE_F64 = 28,
    DTYPE_IQ1_M = 29,
    DTYPE_BF16 = 30,
    DTYPE_TQ1_0 = 34,
    DTYPE_TQ2_0 = 35,
    DTYPE_MXFP4 = 39,
    DTYPE_NVFP4 = 40,
    DTYPE_Q1_0 = 41,
    DTYPE_Q2_0 = 42,
    DTYPE_INTERNAL = 64, /* below: the ids of files; from here on: ours */
    DTYPE_ACT8 = 64,     /* quantised activations; layout and row bytes: kern/kern.h */
    DTYPE_F8_E4M3,       /* safetensors */
    DTYPE_F8_E5M2,
    DTYPE_U8,
    DTYPE_BOOL,
    DTYPE_COUNT
} dtype;

typedef struct dtype_info {
    const char *name; /* as files and users write it: "Q4_K". Never NULL */
    uint16_t elems;   /* elements of a block; 1 for plain types */
    uint16_t bytes;   /* bytes of a block; 0 for ids that mean nothing and for ACT8 */
    bool supported;   /* dequant_row decodes it */
    bool quantised;   /* more than one element a block */
} dtype_info;

/* What a type is. An id outside the enum gives name "?", 0 bytes and supported false. */
const dtype_info *dtype_get_info(dtype t);
const char *dtype_name(dtype t);

/* Bytes of n_elems elements. False when n_elems is negative or not a whole number of blocks, when
 * the size overflows, or when the type has no fixed size. */
bool dtype_row_bytes(dtype t, int64_t n_elems, uint64_t *ret_bytes);

/* The type of an id read from a file. UNSUPPORTED with what to do about it for ids that were
 * removed, for the codebook types and for foreign ranges; writes *ret only on success. */
err_code dtype_from_ggml_id(uint32_t id, dtype *ret, err *e);

/* By name, ignoring case ("q4_k", "BF16"); false when there is no such type. */
bool dtype_from_name(const char *name, dtype *ret);

/* y[i] = the value of element i, [n] f32, for every supported type. n is a whole number of blocks;
 * src needs no alignment. The readable reference that faster kernels are tested against. */
void dequant_row(dtype t, const void *src, float *dst, int64_t n);

/* Values behind the 4-bit codes of IQ4_NL and IQ4_XS, and twice the E2M1 set of MXFP4, NVFP4. */
extern const int8_t DTYPE_IQ4_VALUES[16];
extern const int8_t DTYPE_FP4_VALUES[16];

/* The j-th (0..7) 6-bit scale and minimum of a Q4_K or Q5_K block from its 12 packed bytes. */
static inline void dtype_k_scale_min(const uint8_t b[12], int j, uint8_t *ret_sc, uint8_t *ret_mn) {
    if (j < 4) {
        *ret_sc = b[j] & 63;
        *ret_mn = b[j + 4] & 63;
    } else {
        *ret_sc = (uint8_t)((b[j + 4] & 15) | (b[j - 4] >> 6) << 4);
        *ret_mn = (uint8_t)((b[j + 4] >> 4) | (b[j] >> 6) << 4);
    }
}

/* ---- Block layouts. Fields are in file order; d, m: f16 bits. "Nibble order": the low nibble of
 * byte j is element j, the high nibble element j + 16. Blocks lie in files at any even (Q6_K, 17 B
 * MXFP4: any) address, hence packed. ---- */
enum { DTYPE_QK = 32, DTYPE_QK_K = 256 };
#define DTYPE_PACKED __attribute__((packed, aligned(1)))

typedef struct DTYPE_PACKED {
    uint16_t d;
    uint8_t qs[16]; /* d (q - 8), nibble order */
} blk_q4_0;
typedef struct DTYPE_PACKED {
    uint16_t d, m;
    uint8_t qs[16]; /* d q + m */
} blk_q4_1;
typedef struct DTYPE_PACKED {
    uint16_t d;
    uint32_t qh;    /* bit i is the fifth bit of element i */
    uint8_t qs[16]; /* d (q - 16) */
} blk_q5_0;
typedef struct DTYPE_PACKED {
    uint16_t d, m;
    uint32_t qh;
    uint8_t qs[16]; /* d q + m */
} blk_q5_1;
typedef struct DTYPE_PACKED {
    uint16_t d;
    int8_t qs[32]; /* d q */
} blk_q8_0;
typedef struct DTYPE_PACKED {
    uint16_t d, s; /* s = d * sum of qs */
    int8_t qs[32];
} blk_q8_1;
typedef struct DTYPE_PACKED {
    float d;
    int8_t qs[256];
    int16_t sums[16]; /* of consecutive 16 */
} blk_q8_k;
typedef struct DTYPE_PACKED {
    uint8_t scales[16]; /* low nibble scale, high nibble minimum, a byte per 16 elements */
    uint8_t qs[64];     /* half h: bytes 32h.., plane p: bits 2p, 2p + 1 */
    uint16_t d, dmin;   /* d (sc & 15) q - dmin (sc >> 4) */
} blk_q2_k;
typedef struct DTYPE_PACKED {
    uint8_t hmask[32]; /* bit 4h + p of byte l: clear means q - 4 */
    uint8_t qs[64];    /* planes as in Q2_K */
    uint8_t scales[12];
    uint16_t d; /* d (scale - 32) q */
} blk_q3_k;
typedef struct DTYPE_PACKED {
    uint16_t d, dmin;
    uint8_t scales[12]; /* dtype_k_scale_min */
    uint8_t qs[128];    /* sub-block j: bytes 32 (j / 2).., low nibble if j is even */
} blk_q4_k;             /* d sc q - dmin mn */
typedef struct DTYPE_PACKED {
    uint16_t d, dmin;
    uint8_t scales[12];
    uint8_t qh[32]; /* bit j of byte l: the fifth bit of element l of sub-block j */
    uint8_t qs[128];
} blk_q5_k;
typedef struct DTYPE_PACKED {
    uint8_t ql[128]; /* low four bits */
    uint8_t qh[64];  /* high two bits */
    int8_t scales[16];
    uint16_t d; /* d scale (q - 32) */
} blk_q6_k;
typedef blk_q4_0 blk_iq4_nl; /* d DTYPE_IQ4_VALUES[q], nibble order */
typedef struct DTYPE_PACKED {
    uint16_t d, scales_h;
    uint8_t scales_l[4];
    uint8_t qs[128]; /* d (s - 32) DTYPE_IQ4_VALUES[q], nibble order in each 16 bytes */
} blk_iq4_xs;
typedef struct DTYPE_PACKED {
    uint8_t e;      /* 2^(e - 128) */
    uint8_t qs[16]; /* DTYPE_FP4_VALUES, nibble order */
} blk_mxfp4;
typedef struct DTYPE_PACKED {
    uint8_t d[4];   /* unsigned E4M3, half its usual value, per 16 elements */
    uint8_t qs[32]; /* group s: bytes 8s.., low nibbles elements 0..7, high nibbles 8..15 */
} blk_nvfp4;
typedef struct DTYPE_PACKED {
    uint8_t qs[48]; /* five trits a byte */
    uint8_t qh[4];  /* four trits a byte */
    uint16_t d;
} blk_tq1_0;
typedef struct DTYPE_PACKED {
    uint8_t qs[64]; /* d (q - 1), planes of two bits */
    uint16_t d;
} blk_tq2_0;
typedef struct DTYPE_PACKED {
    uint16_t d;
    uint8_t qs[16]; /* 128 bits, lowest first: 1 is +d, 0 is -d */
} blk_q1_0;
typedef struct DTYPE_PACKED {
    uint16_t d;
    uint8_t qs[16]; /* 64 fields of two bits, lowest first: d (q - 1) */
} blk_q2_0;

static_assert(sizeof(blk_q4_0) == 18 && sizeof(blk_q4_1) == 20, "block layout");
static_assert(sizeof(blk_q5_0) == 22 && sizeof(blk_q5_1) == 24, "block layout");
static_assert(sizeof(blk_q8_0) == 34 && sizeof(blk_q8_1) == 36, "block layout");
static_assert(sizeof(blk_q2_k) == 84 && sizeof(blk_q3_k) == 110, "block layout");
static_assert(sizeof(blk_q4_k) == 144 && sizeof(blk_q5_k) == 176, "block layout");
static_assert(sizeof(blk_q6_k) == 210 && sizeof(blk_q8_k) == 292, "block layout");
static_assert(sizeof(blk_iq4_xs) == 136 && sizeof(blk_mxfp4) == 17, "block layout");
static_assert(sizeof(blk_nvfp4) == 36 && sizeof(blk_tq1_0) == 54, "block layout");
static_assert(sizeof(blk_tq2_0) == 66 && sizeof(blk_q1_0) == 18, "block layout");

/* ---- Small floats, portable; subnormals, infinities and NaN included. ---- */
static inline float dtype_f32_from_bits(uint32_t bits) {
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static inline uint32_t dtype_f32_bits(float f) {
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

static inline float f16_to_f32(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16, rest = h & 0x7fffu;
    if (rest >= 0x7c00u) return dtype_f32_from_bits(sign | 0x7f800000u | (rest & 0x3ffu) << 13);
    if (rest >= 0x400u) return dtype_f32_from_bits(sign | ((rest << 13) + (112u << 23)));
    float magnitude = (float)rest * 0x1p-24f;
    return sign ? -magnitude : magnitude;
}

/* Nearest, ties to even; too large becomes infinity; NaN stays a quiet NaN. */
static inline uint16_t f32_to_f16(float f) {
    uint32_t bits = dtype_f32_bits(f), sign = bits >> 16 & 0x8000u, x = bits & 0x7fffffffu;
    if (x > 0x7f800000u) return (uint16_t)(sign | 0x7e00u | (x >> 13 & 0x1ffu));
    if (x >= 0x477ff000u) return (uint16_t)(sign | 0x7c00u);
    if (x < 0x38800000u) { /* subnormal: 0.5 has an ulp of 2^-24, the addition rounds for us */
        uint32_t sum = dtype_f32_bits(dtype_f32_from_bits(x) + 0.5f);
        return (uint16_t)(sign | (sum - 0x3f000000u));
    }
    x += 0xfffu + (x >> 13 & 1u);
    return (uint16_t)(sign | (x - (112u << 23)) >> 13);
}

static inline float bf16_to_f32(uint16_t b) {
    return dtype_f32_from_bits((uint32_t)b << 16);
}

static inline uint16_t f32_to_bf16(float f) {
    uint32_t bits = dtype_f32_bits(f);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return (uint16_t)(bits >> 16 | 0x40u);
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

/* OCP 8-bit floats: E4M3 without infinities (0x7f, 0xff are NaN), E5M2 is a cut f16. */
static inline float f8e4m3_to_f32(uint8_t c) {
    uint32_t exponent = c >> 3 & 15u, mantissa = c & 7u;
    float magnitude;
    if (exponent == 15 && mantissa == 7)
        magnitude = dtype_f32_from_bits(0x7fc00000u);
    else if (exponent == 0)
        magnitude = (float)mantissa * 0x1p-9f;
    else
        magnitude = dtype_f32_from_bits((exponent + 120u) << 23 | mantissa << 20);
    return c & 0x80u ? -magnitude : magnitude;
}

static inline float f8e5m2_to_f32(uint8_t c) {
    return f16_to_f32((uint16_t)(c << 8));
}
