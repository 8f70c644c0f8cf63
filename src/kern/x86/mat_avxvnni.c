/* Matrix kernels for AVX-VNNI: bytes multiplied by the 256-bit dot product. */
#include "kern/x86/lanes_avx2.h"
#define MAT_COLS_MANY 0 /* MAT_COLS is 8, otherwise 4 */
#include "kern/x86/mat_body.inc"

void kern_mat_init_avxvnni(kern_mat *t) {
    fill_table(t);
}
