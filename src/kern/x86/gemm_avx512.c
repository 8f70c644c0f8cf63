/* Picture kernels for AVX-512. */
#include "kern/x86/gemm_lanes_avx512.h"

#include "kern/x86/gemm_body.inc"
#include "kern/x86/pairs_body.inc"

static inline void store_bf16(uint16_t *p, vf a) {
    _mm256_storeu_si256((void *)p, _mm512_cvtepi32_epi16(rounded(a)));
}

#include "kern/x86/gemm_bf16_body.inc"

void kern_gemm_init_avx512(kern_gemm *t) {
    fill_table(t);
    fill_bf16(t);
}
