/* Float kernels for AVX2 with FMA and F16C. */
#include "kern/x86/lanes_avx2.h"

#include "kern/x86/vec_body.inc"

void kern_vec_init_avx2(kern_vec *t) {
    fill_table(t);
}
