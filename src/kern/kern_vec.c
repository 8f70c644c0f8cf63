/* Tables of float kernels, one per level, filled once. */
#include "kern/kern_vec.h"
#include "kern/ref/vec_ref.h"
#include <assert.h>
#include <pthread.h>

static kern_vec tables[KERN_LEVEL_COUNT];

static void fill_tables(void) {
    for (kern_level level = 0; level < KERN_LEVEL_COUNT; level++) {
        kern_vec_init_ref(&tables[level]);
#if defined(__x86_64__)
        if (kern_level_takes(level, KERN_LEVEL_AVX2)) kern_vec_init_avx2(&tables[level]);
        if (kern_level_takes(level, KERN_LEVEL_AVX512)) kern_vec_init_avx512(&tables[level]);
#endif
    }
}

const kern_vec *kern_vec_get(kern_level level) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, fill_tables);
    assert((unsigned)level < KERN_LEVEL_COUNT);
    return &tables[level];
}
