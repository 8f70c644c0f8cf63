/* Tables of matrix kernels, one per level, filled once. */
#include "kern/kern_mat.h"
#include "kern/ref/mat_ref.h"
#include <assert.h>
#include <pthread.h>

static kern_mat tables[KERN_LEVEL_COUNT];

static void fill_tables(void) {
    for (kern_level level = 0; level < KERN_LEVEL_COUNT; level++) {
        kern_mat *t = &tables[level];
        kern_mat_init_ref(t);
#if defined(__x86_64__)
        if (kern_level_takes(level, KERN_LEVEL_AVX2)) kern_mat_init_avx2(t);
        if (kern_level_takes(level, KERN_LEVEL_AVXVNNI)) kern_mat_init_avxvnni(t);
        if (kern_level_takes(level, KERN_LEVEL_AVX512)) kern_mat_init_avx512(t);
#endif
    }
}

const kern_mat *kern_mat_get(kern_level level) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, fill_tables);
    assert((unsigned)level < KERN_LEVEL_COUNT);
    return &tables[level];
}

bool kern_mat_takes_act8(dtype t) {
    switch ((int)t) {
#define CASE(T, n) case DTYPE_##T:
        KERN_MAT_ACT8_TYPES(CASE)
#undef CASE
        return true;
    default:
        return false;
    }
}

/* A tile, the copied rows of a matrix's end, and the sums of all columns: see x86/mat_body.inc. */
uint64_t kern_mat_scratch_bytes(int64_t k, int64_t n_cols) {
    (void)k;
    return (uint64_t)KERN_MAT_ROWS * 4096 + (uint64_t)n_cols * KERN_MAT_ROWS * sizeof(float);
}
