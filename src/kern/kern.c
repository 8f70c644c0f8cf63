/* What the processor can do. */
#include "kern/kern.h"
#include <pthread.h>
#include <stdatomic.h>
#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

static const char *const NAMES[KERN_LEVEL_COUNT] = {
    [KERN_LEVEL_REF] = "plain C",       [KERN_LEVEL_AVX2] = "AVX2",
    [KERN_LEVEL_AVXVNNI] = "AVX-VNNI",  [KERN_LEVEL_AVX512] = "AVX-512 VNNI",
    [KERN_LEVEL_BF16] = "AVX-512 BF16", [KERN_LEVEL_AMX] = "AMX BF16",
};

static _Atomic int highest_level = KERN_LEVEL_COUNT - 1;

const char *kern_level_name(kern_level level) {
    return NAMES[level];
}

#if defined(__x86_64__)
static bool has_avxvnni(void) {
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 4 & 1);
}

static bool has_bf16(void) {
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 5 & 1);
}

static bool has_f16c(void) { /* clang 14 does not know the name */
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (c >> 29 & 1);
}

static bool has_avx512(void) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vnni");
}

static bool may_use_tiles;

/* Linux saves the 8 KB of tile registers only for programs that ask (x86/xstate.html). */
static void ask_for_tiles(void) {
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
    unsigned a, b, c, d;
    may_use_tiles = __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d >> 22 & 1) && (d >> 24 & 1) &&
                    syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
}

static bool has_amx(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, ask_for_tiles);
    return may_use_tiles;
}

bool kern_level_usable(kern_level level) { /* __builtin_cpu_supports asks the system as well */
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c() &&
                __builtin_cpu_supports("bmi2");
    switch (level) {
    case KERN_LEVEL_REF:
        return true;
    case KERN_LEVEL_AVX2:
        return avx2;
    case KERN_LEVEL_AVXVNNI:
        return avx2 && has_avxvnni();
    case KERN_LEVEL_AVX512:
        return avx2 && has_avx512();
    case KERN_LEVEL_BF16:
        return avx2 && has_avx512() && has_bf16();
    case KERN_LEVEL_AMX:
        return avx2 && has_avx512() && has_bf16() && has_amx();
    case KERN_LEVEL_COUNT:
        break;
    }
    return false;
}
#else
bool kern_level_usable(kern_level level) {
    return level == KERN_LEVEL_REF;
}
#endif

bool kern_level_takes(kern_level level, kern_level part) {
    return level >= part && kern_level_usable(part);
}

kern_level kern_level_best(void) {
    int level = atomic_load(&highest_level);
    while (level > KERN_LEVEL_REF && !kern_level_usable((kern_level)level)) level--;
    return (kern_level)level;
}

void kern_level_limit(kern_level highest) {
    atomic_store(&highest_level, (int)highest);
}
