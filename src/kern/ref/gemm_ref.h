/* Fillers of the picture kernel table: the reference sets every slot, overlays set what they have.
 */
#pragma once
#include "kern/kern_gemm.h"

void kern_gemm_init_ref(kern_gemm *t);
void kern_gemm_init_avx2(kern_gemm *t);
void kern_gemm_init_avx512(kern_gemm *t);
void kern_gemm_init_bf16(kern_gemm *t);
void kern_gemm_init_amx(kern_gemm *t);

/* gemm_bf16.c: the reference slots of KERN_GEMM_BF16_SLOTS. */
void kern_gemm_init_ref_bf16(kern_gemm *t);
