/* Float kernels for AVX-512. */
#include "kern/x86/lanes_avx512.h"

#include "kern/x86/vec_body.inc"

void kern_vec_init_avx512(kern_vec *t) {
    fill_table(t);
}
