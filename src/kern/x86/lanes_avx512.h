/* Vectors of sixteen 32-bit lanes, with the names that mat_body.inc and vec_body.inc use.
 * Included by one source file per level, after which those bodies are compiled for it. */
#pragma once
#include <immintrin.h>
#include <stdint.h>
#include <string.h>

enum { LANES = 16, LANES_VNNI = 1, MAT_COLS = 8 };
typedef __m512i vi;
typedef __m512 vf;
typedef __mmask16 vmask;

/* ---- integers ---- */
static inline vi vi_set(int32_t a) {
    return _mm512_set1_epi32(a);
}
static inline vi vi_load(const void *p) {
    return _mm512_loadu_si512(p);
}
static inline void vi_store(void *p, vi a) {
    _mm512_storeu_si512(p, a);
}
static inline vi vi_and(vi a, vi b) {
    return _mm512_and_si512(a, b);
}
static inline vi vi_or(vi a, vi b) {
    return _mm512_or_si512(a, b);
}
static inline vi vi_xor(vi a, vi b) {
    return _mm512_xor_si512(a, b);
}
static inline vi vi_srl(vi a, int n) {
    return _mm512_srl_epi32(a, _mm_cvtsi32_si128(n));
}
static inline vi vi_sll(vi a, int n) {
    return _mm512_sll_epi32(a, _mm_cvtsi32_si128(n));
}
static inline vi vi_sra(vi a, int n) {
    return _mm512_sra_epi32(a, _mm_cvtsi32_si128(n));
}
static inline vi vi_add(vi a, vi b) {
    return _mm512_add_epi32(a, b);
}
static inline vi vi_add8(vi a, vi b) {
    return _mm512_add_epi8(a, b);
}
/* a[i] = table[index byte i & 15], 16 bytes at a time. */
static inline vi vi_lookup(const void *table, vi index) {
    __m128i t = _mm_loadu_si128(table);
    return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(t), index);
}
/* q with `bit` set in byte i where bit i of the lane's number (bits >> 4 * quad & 15) is set. */
static inline vi vi_add_bits(vi q, vi bits, int quad, int8_t bit) {
    __m512i spread = _mm512_shuffle_epi8(
        bits, _mm512_add_epi8(_mm512_set4_epi32(0x0c0c0c0c, 0x08080808, 0x04040404, 0),
                              _mm512_set1_epi8((char)(quad / 2))));
    __mmask64 set = _mm512_test_epi8_mask(
        spread, _mm512_set1_epi32(quad % 2 ? (int32_t)0x80402010 : 0x08040201));
    return _mm512_mask_add_epi8(q, set, q, _mm512_set1_epi8(bit));
}

/* Sixteen bytes of the rows i, i + 4, i + 8 and i + 12. Masked broadcasts need no shuffle. */
static inline vi vi_rows_of(const uint8_t *p, int64_t stride, int i) {
    p += i * stride;
    vi a = _mm512_castsi128_si512(_mm_loadu_si128((const void *)p));
    a = _mm512_mask_broadcast_i32x4(a, 0x00f0, _mm_loadu_si128((const void *)(p + 4 * stride)));
    a = _mm512_mask_broadcast_i32x4(a, 0x0f00, _mm_loadu_si128((const void *)(p + 8 * stride)));
    return _mm512_mask_broadcast_i32x4(a, 0xf000, _mm_loadu_si128((const void *)(p + 12 * stride)));
}

/* Sixteen bytes of each row p + r * stride, turned: out[i] lane r = dword i of row r. */
static inline void vi_rows4(const uint8_t *p, int64_t stride, vi out[4]) {
    vi a = vi_rows_of(p, stride, 0), b = vi_rows_of(p, stride, 1);
    vi c = vi_rows_of(p, stride, 2), d = vi_rows_of(p, stride, 3);
    vi l0 = _mm512_unpacklo_epi32(a, b), h0 = _mm512_unpackhi_epi32(a, b);
    vi l1 = _mm512_unpacklo_epi32(c, d), h1 = _mm512_unpackhi_epi32(c, d);
    out[0] = _mm512_unpacklo_epi64(l0, l1);
    out[1] = _mm512_unpackhi_epi64(l0, l1);
    out[2] = _mm512_unpacklo_epi64(h0, h1);
    out[3] = _mm512_unpackhi_epi64(h0, h1);
}

/* ---- products of unsigned bytes w and signed bytes x (x: four bytes, the same in all lanes) ----
 */
static inline vi vi_dot_pair(vi acc, const vi w[2], const int8_t *x) {
    int32_t x0, x1;
    memcpy(&x0, x, sizeof x0);
    memcpy(&x1, x + 4, sizeof x1);
    return _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(acc, w[0], _mm512_set1_epi32(x0)), w[1],
                               _mm512_set1_epi32(x1));
}
static inline vi vi_dot_pair_signed(vi acc, const vi w[2], const int8_t *x) {
    return vi_dot_pair(acc, w, x); /* w is stored + 128 and acc starts at -128 sum(x) */
}

/* ---- floats ---- */
static inline vf vf_set(float a) {
    return _mm512_set1_ps(a);
}
static inline vf vf_zero(void) {
    return _mm512_setzero_ps();
}
static inline vf vf_load(const float *p) {
    return _mm512_loadu_ps(p);
}
static inline void vf_store(float *p, vf a) {
    _mm512_storeu_ps(p, a);
}
static inline vf vf_load_n(const float *p, int64_t n) { /* zeros from n on */
    return _mm512_maskz_loadu_ps((vmask)((1u << n) - 1), p);
}
static inline void vf_store_n(float *p, vf a, int64_t n) {
    _mm512_mask_storeu_ps(p, (vmask)((1u << n) - 1), a);
}
static inline vf vf_add(vf a, vf b) {
    return _mm512_add_ps(a, b);
}
static inline vf vf_sub(vf a, vf b) {
    return _mm512_sub_ps(a, b);
}
static inline vf vf_mul(vf a, vf b) {
    return _mm512_mul_ps(a, b);
}
/* 1 / a, relative error below 1e-4. */
static inline vf vf_inverse(vf a) {
    return _mm512_rcp14_ps(a);
}
static inline vf vf_div(vf a, vf b) {
    return _mm512_div_ps(a, b);
}
static inline vf vf_fma(vf a, vf b, vf c) {
    return _mm512_fmadd_ps(a, b, c);
}
static inline vf vf_max(vf a, vf b) {
    return _mm512_max_ps(a, b);
}
static inline vf vf_min(vf a, vf b) {
    return _mm512_min_ps(a, b);
}
static inline vf vf_abs(vf a) {
    return _mm512_castsi512_ps(
        _mm512_and_si512(_mm512_castps_si512(a), _mm512_set1_epi32(0x7fffffff)));
}
static inline vf vf_from_vi(vi a) {
    return _mm512_cvtepi32_ps(a);
}
static inline vi vi_from_vf(vf a) { /* nearest, ties to even */
    return _mm512_cvtps_epi32(a);
}
static inline vf vf_bits(vi a) {
    return _mm512_castsi512_ps(a);
}
static inline vf vf_f16_low(vi a) { /* the low halves of the lanes */
    return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(a));
}
static inline vf vf_load_f16(const uint16_t *p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256((const void *)p));
}
static inline void vf_store_f16(uint16_t *p, vf a) {
    _mm256_storeu_si256((void *)p, _mm512_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT));
}
static inline void vi_store_i8(int8_t *p, vi a) { /* the lanes saturated to bytes */
    _mm_storeu_si128((void *)p, _mm512_cvtsepi32_epi8(a));
}
static inline vmask vf_less(vf a, vf b) {
    return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ);
}
static inline vf vf_select(vmask m, vf a, vf b) { /* m ? a : b */
    return _mm512_mask_blend_ps(m, b, a);
}
static inline float vf_sum(vf a) {
    return _mm512_reduce_add_ps(a);
}
static inline float vf_largest(vf a) {
    return _mm512_reduce_max_ps(a);
}
static inline int32_t vi_sum(vi a) {
    return _mm512_reduce_add_epi32(a);
}
static inline vf vf_round(vf a) {
    return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
/* x - floor(x), and *whole for vf_scale_2, which rounds it down itself. */
static inline vf vf_fraction(vf x, vf *whole) {
    *whole = x;
    return _mm512_reduce_ps(x, 0x09);
}
/* x 2^floor(n). */
static inline vf vf_scale_2(vf x, vf n) {
    return _mm512_scalef_ps(x, n);
}
/* The same for n in [-127, 127], where 2^-127 counts as 0. */
static inline vf vf_scale_2_small(vf x, vf n) {
    vi bits = _mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127));
    return _mm512_mul_ps(x, _mm512_castsi512_ps(_mm512_slli_epi32(bits, 23)));
}
/* The even and the odd elements of a, b; and back. */
static inline void vf_split(vf a, vf b, vf *even, vf *odd) {
    __m512i e = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    *even = _mm512_permutex2var_ps(a, e, b);
    *odd = _mm512_permutex2var_ps(a, _mm512_add_epi32(e, _mm512_set1_epi32(1)), b);
}
static inline void vf_zip(vf even, vf odd, vf *a, vf *b) {
    __m512i i = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    *a = _mm512_permutex2var_ps(even, i, odd);
    *b = _mm512_permutex2var_ps(even, _mm512_add_epi32(i, _mm512_set1_epi32(8)), odd);
}
