/* Picture kernels for AVX2. */
#include "kern/x86/lanes_avx2.h"

#define GEMM_MR 6

static inline vf vf_load_bf16(const uint16_t *p) {
    __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128((const void *)p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
}

static inline vi bits_of(vf a) {
    return _mm256_castps_si256(a);
}

static inline __attribute__((always_inline)) void turn(vf r[8]) {
    vf t[8];
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        t[2 * i] = _mm256_unpacklo_ps(r[2 * i], r[2 * i + 1]);
        t[2 * i + 1] = _mm256_unpackhi_ps(r[2 * i], r[2 * i + 1]);
    }
#pragma GCC unroll 2
    for (int i = 0; i < 2; i++) {
        r[4 * i] = _mm256_shuffle_ps(t[4 * i], t[4 * i + 2], 0x44);
        r[4 * i + 1] = _mm256_shuffle_ps(t[4 * i], t[4 * i + 2], 0xee);
        r[4 * i + 2] = _mm256_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0x44);
        r[4 * i + 3] = _mm256_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0xee);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        t[i] = _mm256_permute2f128_ps(r[i], r[i + 4], 0x20);
        t[i + 4] = _mm256_permute2f128_ps(r[i], r[i + 4], 0x31);
    }
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) r[i] = t[i];
}

#include "kern/x86/gemm_body.inc"
#include "kern/x86/pairs_body.inc"

static inline void store_bf16(uint16_t *p, vf a) {
    vi r = rounded(a); /* dwords below 2^16 to words, then the words of both halves together */
    r = _mm256_permute4x64_epi64(_mm256_packus_epi32(r, r), 0x08);
    _mm_storeu_si128((void *)p, _mm256_castsi256_si128(r));
}

#include "kern/x86/gemm_bf16_body.inc"

void kern_gemm_init_avx2(kern_gemm *t) {
    fill_table(t);
    fill_bf16(t);
}
