/* Vectors of eight 32-bit lanes, with the names that mat_body.inc and vec_body.inc use.
 * Included by one source file per level, after which those bodies are compiled for it; with
 * -mavxvnni the byte products use that extension. */
#pragma once
#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#if defined(__AVXVNNI__)
#define LANES_HAVE_VNNI 1
#else
#define LANES_HAVE_VNNI 0
#endif
enum { LANES = 8, LANES_VNNI = LANES_HAVE_VNNI, MAT_COLS = 4 };
typedef __m256i vi;
typedef __m256 vf;
typedef __m256 vmask;

/* ---- integers ---- */
static inline vi vi_set(int32_t a) {
    return _mm256_set1_epi32(a);
}
static inline vi vi_load(const void *p) {
    return _mm256_loadu_si256(p);
}
static inline void vi_store(void *p, vi a) {
    _mm256_storeu_si256(p, a);
}
static inline vi vi_and(vi a, vi b) {
    return _mm256_and_si256(a, b);
}
static inline vi vi_or(vi a, vi b) {
    return _mm256_or_si256(a, b);
}
static inline vi vi_xor(vi a, vi b) {
    return _mm256_xor_si256(a, b);
}
static inline vi vi_srl(vi a, int n) {
    return _mm256_srl_epi32(a, _mm_cvtsi32_si128(n));
}
static inline vi vi_sll(vi a, int n) {
    return _mm256_sll_epi32(a, _mm_cvtsi32_si128(n));
}
static inline vi vi_sra(vi a, int n) {
    return _mm256_sra_epi32(a, _mm_cvtsi32_si128(n));
}
static inline vi vi_add(vi a, vi b) {
    return _mm256_add_epi32(a, b);
}
static inline vi vi_add8(vi a, vi b) {
    return _mm256_add_epi8(a, b);
}
/* a[i] = table[index byte i & 15], 16 bytes at a time. */
static inline vi vi_lookup(const void *table, vi index) {
    __m128i t = _mm_loadu_si128(table);
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(t), index);
}
/* q with `bit` added in byte i where bit i of the lane's number (bits >> 4 * quad & 15) is set. */
static inline vi vi_add_bits(vi q, vi bits, int quad, int8_t bit) {
    vi at = _mm256_broadcastsi128_si256(_mm_set_epi32(0x0c0c0c0c, 0x08080808, 0x04040404, 0));
    vi spread = _mm256_shuffle_epi8(bits, _mm256_add_epi8(at, _mm256_set1_epi8((char)(quad / 2))));
    vi one = _mm256_set1_epi32(quad % 2 ? (int32_t)0x80402010 : 0x08040201);
    vi set = _mm256_cmpeq_epi8(_mm256_and_si256(spread, one), one);
    return _mm256_add_epi8(q, _mm256_and_si256(set, _mm256_set1_epi8(bit)));
}

/* Sixteen bytes of the rows i and i + 4. */
static inline vi vi_rows_of(const uint8_t *p, int64_t stride, int i) {
    p += i * stride;
    vi a = _mm256_castsi128_si256(_mm_loadu_si128((const void *)p));
    return _mm256_inserti128_si256(a, _mm_loadu_si128((const void *)(p + 4 * stride)), 1);
}

/* Sixteen bytes of each row p + r * stride, turned: out[i] lane r = dword i of row r. */
static inline void vi_rows4(const uint8_t *p, int64_t stride, vi out[4]) {
    vi a = vi_rows_of(p, stride, 0), b = vi_rows_of(p, stride, 1);
    vi c = vi_rows_of(p, stride, 2), d = vi_rows_of(p, stride, 3);
    vi l0 = _mm256_unpacklo_epi32(a, b), h0 = _mm256_unpackhi_epi32(a, b);
    vi l1 = _mm256_unpacklo_epi32(c, d), h1 = _mm256_unpackhi_epi32(c, d);
    out[0] = _mm256_unpacklo_epi64(l0, l1);
    out[1] = _mm256_unpackhi_epi64(l0, l1);
    out[2] = _mm256_unpacklo_epi64(h0, h1);
    out[3] = _mm256_unpackhi_epi64(h0, h1);
}

/* ---- products of bytes w and signed bytes x (x: eight bytes, the same in all lanes) ---- */
static inline vi vi_bytes4(const int8_t *x) {
    int32_t v;
    memcpy(&v, x, sizeof v);
    return _mm256_set1_epi32(v);
}
#if LANES_HAVE_VNNI
static inline vi vi_dot_pair(vi acc, const vi w[2], const int8_t *x) {
    acc = _mm256_dpbusd_avx_epi32(acc, w[0], vi_bytes4(x));
    return _mm256_dpbusd_avx_epi32(acc, w[1], vi_bytes4(x + 4));
}
static inline vi vi_dot_pair_signed(vi acc, const vi w[2], const int8_t *x) {
    return vi_dot_pair(acc, w, x); /* w is stored + 128 and acc starts at -128 sum(x) */
}
#else
/* w unsigned, at most 63: four products fit in 16 bits. */
static inline vi vi_dot_pair(vi acc, const vi w[2], const int8_t *x) {
    vi p = _mm256_add_epi16(_mm256_maddubs_epi16(w[0], vi_bytes4(x)),
                            _mm256_maddubs_epi16(w[1], vi_bytes4(x + 4)));
    return _mm256_add_epi32(acc, _mm256_madd_epi16(p, _mm256_set1_epi16(1)));
}
/* w signed: |w| times x with w's sign; two products fit in 16 bits. */
static inline vi vi_dot_pair_signed(vi acc, const vi w[2], const int8_t *x) {
    for (int i = 0; i < 2; i++) {
        vi xs = _mm256_sign_epi8(vi_bytes4(x + 4 * i), w[i]);
        vi p = _mm256_maddubs_epi16(_mm256_abs_epi8(w[i]), xs);
        acc = _mm256_add_epi32(acc, _mm256_madd_epi16(p, _mm256_set1_epi16(1)));
    }
    return acc;
}
#endif

/* ---- floats ---- */
static inline vf vf_set(float a) {
    return _mm256_set1_ps(a);
}
static inline vf vf_zero(void) {
    return _mm256_setzero_ps();
}
static inline vf vf_load(const float *p) {
    return _mm256_loadu_ps(p);
}
static inline void vf_store(float *p, vf a) {
    _mm256_storeu_ps(p, a);
}
static inline __m256i first_n(int64_t n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int32_t)n),
                              _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
static inline vf vf_load_n(const float *p, int64_t n) { /* zeros from n on */
    return _mm256_maskload_ps(p, first_n(n));
}
static inline void vf_store_n(float *p, vf a, int64_t n) {
    _mm256_maskstore_ps(p, first_n(n), a);
}
static inline vf vf_add(vf a, vf b) {
    return _mm256_add_ps(a, b);
}
static inline vf vf_sub(vf a, vf b) {
    return _mm256_sub_ps(a, b);
}
static inline vf vf_mul(vf a, vf b) {
    return _mm256_mul_ps(a, b);
}
/* 1 / a, relative error below 1e-4. */
static inline vf vf_inverse(vf a) {
    vf y = _mm256_rcp_ps(a);
    return _mm256_mul_ps(y, _mm256_fnmadd_ps(a, y, _mm256_set1_ps(2)));
}
static inline vf vf_div(vf a, vf b) {
    return _mm256_div_ps(a, b);
}
static inline vf vf_fma(vf a, vf b, vf c) {
    return _mm256_fmadd_ps(a, b, c);
}
static inline vf vf_max(vf a, vf b) {
    return _mm256_max_ps(a, b);
}
static inline vf vf_min(vf a, vf b) {
    return _mm256_min_ps(a, b);
}
static inline vf vf_abs(vf a) {
    return _mm256_and_ps(a, _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff)));
}
static inline vf vf_from_vi(vi a) {
    return _mm256_cvtepi32_ps(a);
}
static inline vi vi_from_vf(vf a) { /* nearest, ties to even */
    return _mm256_cvtps_epi32(a);
}
static inline vf vf_bits(vi a) {
    return _mm256_castsi256_ps(a);
}
static inline vf vf_f16_low(vi a) { /* the low halves of the lanes */
    vi low = _mm256_and_si256(a, _mm256_set1_epi32(0xffff));
    __m128i p = _mm_packus_epi32(_mm256_castsi256_si128(low), _mm256_extracti128_si256(low, 1));
    return _mm256_cvtph_ps(p);
}
static inline vf vf_load_f16(const uint16_t *p) {
    return _mm256_cvtph_ps(_mm_loadu_si128((const void *)p));
}
static inline void vf_store_f16(uint16_t *p, vf a) {
    _mm_storeu_si128((void *)p, _mm256_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT));
}
static inline void vi_store_i8(int8_t *p, vi a) { /* the lanes saturated to bytes */
    __m128i h = _mm_packs_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    _mm_storel_epi64((void *)p, _mm_packs_epi16(h, h));
}
static inline vmask vf_less(vf a, vf b) {
    return _mm256_cmp_ps(a, b, _CMP_LT_OQ);
}
static inline vf vf_select(vmask m, vf a, vf b) { /* m ? a : b */
    return _mm256_blendv_ps(b, a, m);
}
static inline float vf_sum(vf a) {
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
static inline float vf_largest(vf a) {
    __m128 s = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    s = _mm_max_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}
static inline int32_t vi_sum(vi a) {
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1)));
}
static inline vf vf_round(vf a) {
    return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
/* x - floor(x), and *whole for vf_scale_2. Below -151 as there. */
static inline vf vf_fraction(vf x, vf *whole) {
    x = _mm256_max_ps(_mm256_set1_ps(-151), x);
    *whole = _mm256_floor_ps(x);
    return _mm256_sub_ps(x, *whole);
}
/* x 2^n for integral n in [-252, 254]: in two steps, so that subnormal results are right. */
static inline vf vf_scale_2(vf x, vf n) {
    vi i = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(i, 1);
    vi rest = _mm256_sub_epi32(i, half), bias = _mm256_set1_epi32(127);
    x = _mm256_mul_ps(x, _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(half, bias), 23)));
    return _mm256_mul_ps(x,
                         _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(rest, bias), 23)));
}
/* The same for n in [-127, 127], where 2^-127 counts as 0. */
static inline vf vf_scale_2_small(vf x, vf n) {
    vi bits = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    return _mm256_mul_ps(x, _mm256_castsi256_ps(_mm256_slli_epi32(bits, 23)));
}
/* The even and the odd elements of a, b; and back. */
static inline void vf_split(vf a, vf b, vf *even, vf *odd) {
    vf lo = _mm256_permute2f128_ps(a, b, 0x20), hi = _mm256_permute2f128_ps(a, b, 0x31);
    vf e = _mm256_shuffle_ps(lo, hi, 0x88), o = _mm256_shuffle_ps(lo, hi, 0xdd);
    *even = e;
    *odd = o;
}
static inline void vf_zip(vf even, vf odd, vf *a, vf *b) {
    vf lo = _mm256_unpacklo_ps(even, odd), hi = _mm256_unpackhi_ps(even, odd);
    *a = _mm256_permute2f128_ps(lo, hi, 0x20);
    *b = _mm256_permute2f128_ps(lo, hi, 0x31);
}
