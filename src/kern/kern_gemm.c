/* Tables of picture kernels, one per level, filled once. */
#include "kern/kern_gemm.h"
#include "kern/ref/gemm_ref.h"
#include <assert.h>
#include <pthread.h>

static kern_gemm tables[KERN_LEVEL_COUNT];

static void fill_tables(void) {
    for (kern_level level = 0; level < KERN_LEVEL_COUNT; level++) {
        kern_gemm_init_ref(&tables[level]);
#if defined(__x86_64__)
        if (kern_level_takes(level, KERN_LEVEL_AVX2)) kern_gemm_init_avx2(&tables[level]);
        if (kern_level_takes(level, KERN_LEVEL_AVX512)) kern_gemm_init_avx512(&tables[level]);
        if (kern_level_takes(level, KERN_LEVEL_BF16)) kern_gemm_init_bf16(&tables[level]);
        if (kern_level_takes(level, KERN_LEVEL_AMX)) kern_gemm_init_amx(&tables[level]);
#endif
    }
}

const kern_gemm *kern_gemm_get(kern_level level) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, fill_tables);
    assert((unsigned)level < KERN_LEVEL_COUNT);
    return &tables[level];
}
