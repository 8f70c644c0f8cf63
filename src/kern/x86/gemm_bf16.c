/* Picture kernels for AVX512-BF16: products of bfloat16 pairs in one instruction. It counts
 * subnormals as 0. */
#include "kern/x86/gemm_lanes_avx512.h"

#include "kern/x86/exp_body.inc"

/* b's sixteen behind a's, rounded. */
INLINE vi row_of(vf a, vf b) {
    return (vi)_mm512_cvtne2ps_pbh(b, a);
}

INLINE vi pair_of(vf even, vf odd) {
    static const uint16_t ZIP[32] = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                     8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    return _mm512_permutexvar_epi16(_mm512_loadu_si512(ZIP), row_of(even, odd));
}

INLINE vf dot_pairs(vf acc, vi a, vi b) {
    return _mm512_dpbf16_ps(acc, (__m512bh)a, (__m512bh)b);
}

INLINE void store_bf16(uint16_t *p, vf a) {
    _mm256_storeu_si256((void *)p, (__m256i)_mm512_cvtneps_pbh(a));
}

#include "kern/x86/gemm_bf16_body.inc"

void kern_gemm_init_bf16(kern_gemm *t) {
    fill_bf16(t);
}
