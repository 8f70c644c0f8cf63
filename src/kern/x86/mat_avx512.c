/* Matrix kernels for AVX-512 VNNI. */
#include "kern/x86/lanes_avx512.h"
#define MAT_COLS_MANY 1 /* MAT_COLS is 8, otherwise 4 */
#include "kern/x86/mat_body.inc"

void kern_mat_init_avx512(kern_mat *t) {
    fill_table(t);
}
