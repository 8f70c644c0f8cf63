/* The quantisers: rows of f32 to the types of files.
 *
 * The 32-element types follow the format's reference rules to the bit. The K-quants try a few
 * roundings of each sub-block, solve the scale (and minimum) of each by weighted least squares and
 * keep the best; then the scales are quantised in turn and the elements rounded once more against
 * what was really stored. Weights are x^2 plus the block's mean square, so that large values count
 * more and small ones still count. Threads: no state, any thread. Foreign values (NaN, infinities)
 * are cleaned when a block is loaded, so that no arithmetic below can overflow. */
#include "model/quantize.h"

#include "base/mem.h"

#include <assert.h>
#include <math.h>

const char *quantize_file_type_name(uint64_t file_type) {
    static const char *const NAMES[] = {
        [0] = "F32",     [1] = "F16",     [2] = "Q4_0",    [3] = "Q4_1",    [7] = "Q8_0",
        [8] = "Q5_0",    [9] = "Q5_1",    [10] = "Q2_K",   [11] = "Q3_K_S", [12] = "Q3_K_M",
        [13] = "Q3_K_L", [14] = "Q4_K_S", [15] = "Q4_K_M", [16] = "Q5_K_S", [17] = "Q5_K_M",
        [18] = "Q6_K",   [25] = "IQ4_NL", [30] = "IQ4_XS", [32] = "BF16",   [38] = "MXFP4",
    };
    return file_type < COUNT_OF(NAMES) && NAMES[file_type] ? NAMES[file_type] : "unknown";
}

/* ---- Small helpers. ---- */

#define F16_MAX 65504.0f
/* Beyond what any block can hold (2^5 * 2^7 * 65504), yet far from f32's overflow when squared. */
#define VALUE_MAX 1e9f
#define SCALE_TINY 1e-30f /* below it the reciprocal is not safe, and f16 holds 0 */

static float clean(float x, float limit) {
    if (x != x) return 0;
    return x > limit ? limit : x < -limit ? -limit : x;
}

static void load(const float *x, float *v, int n) {
    for (int i = 0; i < n; i++) v[i] = clean(x[i], VALUE_MAX);
}

static float reciprocal(float d) {
    return fabsf(d) > SCALE_TINY ? 1.0f / d : 0;
}

static int clamp_int(int v, int lo, int hi) {
    return v < lo ? lo : v > hi ? hi : v;
}

/* Nearest integer within [lo, hi]; clamped before the conversion, which would be undefined. */
static int nearest(float x, int lo, int hi) {
    float c = x < (float)lo ? (float)lo : x > (float)hi ? (float)hi : x;
    return (int)lrintf(c);
}

/* ---- 32-element types. ---- */

static float signed_extreme(const float *v, int n) {
    float best = 0, magnitude = 0;
    for (int i = 0; i < n; i++) {
        if (fabsf(v[i]) <= magnitude) continue;
        magnitude = fabsf(v[i]);
        best = v[i];
    }
    return best;
}

static void min_max(const float *v, int n, float *ret_min, float *ret_max) {
    float lo = v[0], hi = v[0];
    for (int i = 1; i < n; i++) {
        lo = v[i] < lo ? v[i] : lo;
        hi = v[i] > hi ? v[i] : hi;
    }
    *ret_min = lo;
    *ret_max = hi;
}

/* q = trunc(x / d + levels + 0.5), the extreme of the block at code 0. In double, since the
 * reference's float result depends on whether the compiler fuses. */
static float symmetric_codes(const float *x, int levels, uint8_t q[32]) {
    float v[32];
    load(x, v, 32);
    float d = clean(signed_extreme(v, 32) / (float)-levels, F16_MAX), inv = reciprocal(d);
    for (int i = 0; i < 32; i++) {
        double code = (double)v[i] * (double)inv + levels + 0.5;
        q[i] = (uint8_t)clamp_int((int)code, 0, 2 * levels - 1);
    }
    return d;
}

/* q = trunc((x - min) / d + 0.5), d = (max - min) / top. */
static float affine_codes(const float *x, int top, uint8_t q[32], float *ret_min) {
    float v[32], lo, hi;
    load(x, v, 32);
    min_max(v, 32, &lo, &hi);
    lo = clean(lo, F16_MAX);
    float d = clean((hi - lo) / (float)top, F16_MAX), inv = reciprocal(d);
    for (int i = 0; i < 32; i++) {
        float code = (v[i] - lo) * inv + 0.5f;
        q[i] = (uint8_t)(code > (float)top ? top : code < 0 ? 0 : (int)code);
    }
    *ret_min = lo;
    return d;
}

/* Low nibbles in nibble order; returns the fifth bits. */
static uint32_t pack_codes(const uint8_t q[32], uint8_t *qs) {
    uint32_t high = 0;
    for (int j = 0; j < 16; j++) qs[j] = (uint8_t)((q[j] & 15) | (q[j + 16] & 15) << 4);
    for (int i = 0; i < 32; i++) high |= (uint32_t)(q[i] >> 4 & 1) << i;
    return high;
}

static void quantize_q4_0(const float *x, void *dst) {
    uint8_t q[32];
    blk_q4_0 b;
    b.d = f32_to_f16(symmetric_codes(x, 8, q));
    pack_codes(q, b.qs);
    memcpy(dst, &b, sizeof b);
}

static void quantize_q5_0(const float *x, void *dst) {
    uint8_t q[32];
    blk_q5_0 b;
    b.d = f32_to_f16(symmetric_codes(x, 16, q));
    b.qh = pack_codes(q, b.qs);
    memcpy(dst, &b, sizeof b);
}

static void quantize_q4_1(const float *x, void *dst) {
    uint8_t q[32];
    float lo;
    blk_q4_1 b;
    b.d = f32_to_f16(affine_codes(x, 15, q, &lo));
    b.m = f32_to_f16(lo);
    pack_codes(q, b.qs);
    memcpy(dst, &b, sizeof b);
}

static void quantize_q5_1(const float *x, void *dst) {
    uint8_t q[32];
    float lo;
    blk_q5_1 b;
    b.d = f32_to_f16(affine_codes(x, 31, q, &lo));
    b.m = f32_to_f16(lo);
    b.qh = pack_codes(q, b.qs);
    memcpy(dst, &b, sizeof b);
}

static void quantize_q8_0(const float *x, void *dst) {
    float v[32];
    load(x, v, 32);
    float d = clean(fabsf(signed_extreme(v, 32)) / 127.0f, F16_MAX), inv = reciprocal(d);
    blk_q8_0 b;
    b.d = f32_to_f16(d);
    for (int i = 0; i < 32; i++) {
        float code = roundf(v[i] * inv);
        b.qs[i] = (int8_t)(code > 127 ? 127 : code < -127 ? -127 : code);
    }
    memcpy(dst, &b, sizeof b);
}

/* ---- K-quants. ---- */

static float mean_square(const float *v, int n) {
    float sum = 0;
    for (int i = 0; i < n; i++) sum += v[i] * v[i];
    return sum / (float)n;
}

/* One candidate for x ~ scale * q - min: the codes for a given start, then the least-squares scale
 * and minimum for those codes. Returns the weighted squared error of the fit. */
typedef struct affine_fit {
    float scale, min; /* both >= 0 */
} affine_fit;

static float fit_affine(const float v[32], const float w[32], int top, affine_fit *f) {
    float inv = reciprocal(f->scale);
    float sw = 0, sq = 0, sqq = 0, sx = 0, sxq = 0;
    float q[32];
    for (int i = 0; i < 32; i++) {
        q[i] = (float)nearest((v[i] + f->min) * inv, 0, top);
        sw += w[i];
        sq += w[i] * q[i];
        sqq += w[i] * q[i] * q[i];
        sx += w[i] * v[i];
        sxq += w[i] * v[i] * q[i];
    }
    float det = sw * sqq - sq * sq;
    if (det > 0) {
        float scale = (sw * sxq - sq * sx) / det, min = (sq * sxq - sqq * sx) / det;
        if (min < 0) { /* the stored minimum cannot be: only a scale is left */
            min = 0;
            scale = sqq > 0 ? sxq / sqq : 0;
        }
        if (scale >= 0) *f = (affine_fit){scale, min};
    }
    float error = 0;
    for (int i = 0; i < 32; i++) {
        float diff = f->scale * q[i] - f->min - v[i];
        error += w[i] * diff * diff;
    }
    return error;
}

static affine_fit search_affine(const float v[32], int top) {
    float w[32], lo, hi, base = mean_square(v, 32);
    min_max(v, 32, &lo, &hi);
    lo = lo > 0 ? 0 : lo;
    affine_fit best = {0, -lo};
    if (hi - lo <= SCALE_TINY) return best; /* constant and not positive, or all zero */
    /* Relative to the block's size, so that the sums neither vanish nor overflow. */
    for (int i = 0; i < 32; i++) w[i] = base > SCALE_TINY ? 1 + v[i] * v[i] / base : 1;
    float best_error = INFINITY;
    for (int step = -4; step <= 8; step++) {
        affine_fit f = {(hi - lo) / ((float)top + 0.15f * (float)step), -lo};
        for (int round = 0; round < 2; round++) {
            affine_fit g = f;
            float error = fit_affine(v, w, top, &g);
            if (error < best_error) {
                best_error = error;
                best = g;
            }
            f = g;
        }
    }
    return best;
}

static void pack_scale_min(uint8_t out[12], const uint8_t sc[8], const uint8_t mn[8]) {
    for (int j = 0; j < 4; j++) {
        out[j] = (uint8_t)(sc[j] | (sc[j + 4] >> 4) << 6);
        out[j + 4] = (uint8_t)(mn[j] | (mn[j + 4] >> 4) << 6);
        out[j + 8] = (uint8_t)((sc[j + 4] & 15) | (mn[j + 4] & 15) << 4);
    }
}

/* The shared part of Q4_K and Q5_K: scales, minima and codes 0..top of 256 elements. */
typedef struct k_affine {
    uint16_t d, dmin;
    uint8_t scales[12];
    uint8_t q[256];
} k_affine;

static void quantize_k_affine(const float *x, int top, k_affine *out) {
    float v[256], d_max = 0, m_max = 0;
    affine_fit fit[8];
    load(x, v, 256);
    for (int j = 0; j < 8; j++) {
        fit[j] = search_affine(v + 32 * j, top);
        d_max = fit[j].scale > d_max ? fit[j].scale : d_max;
        m_max = fit[j].min > m_max ? fit[j].min : m_max;
    }
    out->d = f32_to_f16(clean(d_max / 63, F16_MAX));
    out->dmin = f32_to_f16(clean(m_max / 63, F16_MAX));
    float d = f16_to_f32(out->d), dmin = f16_to_f32(out->dmin);
    float inv_d = reciprocal(d), inv_m = reciprocal(dmin);
    uint8_t sc[8], mn[8];
    for (int j = 0; j < 8; j++) {
        sc[j] = (uint8_t)nearest(fit[j].scale * inv_d, 0, 63);
        mn[j] = (uint8_t)nearest(fit[j].min * inv_m, 0, 63);
        float scale = d * (float)sc[j], inv = reciprocal(scale), min = dmin * (float)mn[j];
        for (int i = 32 * j; i < 32 * j + 32; i++)
            out->q[i] = (uint8_t)nearest((v[i] + min) * inv, 0, top);
    }
    pack_scale_min(out->scales, sc, mn);
}

static void quantize_q4_k(const float *x, void *dst) {
    k_affine a;
    blk_q4_k b;
    quantize_k_affine(x, 15, &a);
    b.d = a.d;
    b.dmin = a.dmin;
    memcpy(b.scales, a.scales, sizeof b.scales);
    for (int p = 0; p < 4; p++)
        for (int l = 0; l < 32; l++)
            b.qs[32 * p + l] = (uint8_t)(a.q[64 * p + l] | a.q[64 * p + 32 + l] << 4);
    memcpy(dst, &b, sizeof b);
}

static void quantize_q5_k(const float *x, void *dst) {
    k_affine a;
    blk_q5_k b;
    quantize_k_affine(x, 31, &a);
    b.d = a.d;
    b.dmin = a.dmin;
    memcpy(b.scales, a.scales, sizeof b.scales);
    memset(b.qh, 0, sizeof b.qh);
    for (int p = 0; p < 4; p++)
        for (int l = 0; l < 32; l++) {
            int low = a.q[64 * p + l], high = a.q[64 * p + 32 + l];
            b.qs[32 * p + l] = (uint8_t)((low & 15) | (high & 15) << 4);
            b.qh[l] = (uint8_t)(b.qh[l] | (low >> 4) << (2 * p) | (high >> 4) << (2 * p + 1));
        }
    memcpy(dst, &b, sizeof b);
}

/* The scale of x ~ scale * q, q in [-32, 31], for 16 elements; its sign is free. */
static float search_symmetric(const float v[16]) {
    float extreme = signed_extreme(v, 16), base = mean_square(v, 16), w[16];
    if (fabsf(extreme) <= SCALE_TINY || base <= SCALE_TINY) return 0;
    for (int i = 0; i < 16; i++) w[i] = 1 + v[i] * v[i] / base;
    float best = 0, best_gain = 0;
    for (int step = -8; step <= 8; step++) {
        float inv = -(32 + 0.12f * (float)step) / extreme, sxq = 0, sqq = 0;
        for (int i = 0; i < 16; i++) {
            float q = (float)nearest(v[i] * inv, -32, 31);
            sxq += w[i] * v[i] * q;
            sqq += w[i] * q * q;
        }
        if (sqq > 0 && sxq * sxq > best_gain * sqq) {
            best_gain = sxq * sxq / sqq;
            best = sxq / sqq;
        }
    }
    return best;
}

static void quantize_q6_k(const float *x, void *dst) {
    float v[256], scale[16];
    uint8_t q[256];
    blk_q6_k b;
    memset(&b, 0, sizeof b);
    load(x, v, 256);
    for (int j = 0; j < 16; j++) scale[j] = search_symmetric(v + 16 * j);
    b.d = f32_to_f16(clean(signed_extreme(scale, 16) / -128, F16_MAX));
    float d = f16_to_f32(b.d), inv_d = reciprocal(d);
    for (int j = 0; j < 16; j++) {
        b.scales[j] = (int8_t)nearest(scale[j] * inv_d, -128, 127);
        float inv = reciprocal(d * (float)b.scales[j]);
        for (int i = 16 * j; i < 16 * j + 16; i++)
            q[i] = (uint8_t)(nearest(v[i] * inv, -32, 31) + 32);
    }
    for (int i = 0; i < 256; i++) {
        int h = i / 128, k = i / 32 % 4, l = i % 32;
        uint8_t *low = &b.ql[64 * h + 32 * (k & 1) + l], *high = &b.qh[32 * h + l];
        *low = (uint8_t)(*low | (q[i] & 15) << 4 * (k >> 1));
        *high = (uint8_t)(*high | (q[i] >> 4) << 2 * k);
    }
    memcpy(dst, &b, sizeof b);
}

/* ---- Rows. ---- */

typedef void (*block_fn)(const float *x, void *dst);

static block_fn block_fn_of(dtype t) {
    static const block_fn FNS[DTYPE_INTERNAL] = {
        [DTYPE_Q4_0] = quantize_q4_0, [DTYPE_Q4_1] = quantize_q4_1, [DTYPE_Q5_0] = quantize_q5_0,
        [DTYPE_Q5_1] = quantize_q5_1, [DTYPE_Q8_0] = quantize_q8_0, [DTYPE_Q4_K] = quantize_q4_k,
        [DTYPE_Q5_K] = quantize_q5_k, [DTYPE_Q6_K] = quantize_q6_k};
    return t < DTYPE_INTERNAL ? FNS[t] : NULL;
}

bool quantize_can(dtype t) {
    return t == DTYPE_F32 || t == DTYPE_F16 || t == DTYPE_BF16 || block_fn_of(t) != NULL;
}

static void quantize_plain(dtype t, const float *x, uint8_t *dst, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        float v = x[i] == x[i] ? x[i] : 0;
        if (t == DTYPE_F32) {
            memcpy(dst + 4 * i, &v, 4);
        } else {
            uint16_t h = t == DTYPE_F16 ? f32_to_f16(clean(v, F16_MAX)) : f32_to_bf16(v);
            memcpy(dst + 2 * i, &h, 2);
        }
    }
}

void quantize_row(dtype t, const float *x, void *dst, int64_t n) {
    assert(quantize_can(t));
    block_fn fn = block_fn_of(t);
    const dtype_info *info = dtype_get_info(t);
    assert(n >= 0 && n % info->elems == 0);
    uint8_t *out = dst;
    if (!fn) {
        quantize_plain(t, x, out, n);
        return;
    }
    for (int64_t i = 0; i < n; i += info->elems, out += info->bytes) fn(x + i, out);
}
