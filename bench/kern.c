/* Speed of single kernels on one thread, and what the machine can do at most.
 *
 * usage: kern [LEVEL [THREADS]]  prints one JSON object a line; LEVEL 0.. as kern.h, default the
 * best With THREADS only what the machine can do is measured, by so many threads at once. Each
 * figure is the best of many short runs, so that it holds on a machine that is not quiet: read GB/s
 * of reading memory that is in no cache int8     GOP/s of the byte dot product from registers TYPE
 * mat-vec GB/s of weights from memory, and mat-mat GOP/s with 512 columns */
#include "base/clock.h"
#include "base/rng.h"
#include "kern/kern_mat.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum { COLS = 512, ROWS_MM = 64, K = 2048, RUNS = 30 };
static const size_t COLD_BYTES = (size_t)192 << 20;
static const int64_t SLICE_BYTES = 4 << 20;

static volatile uint64_t sink;

static double best(double so_far, int64_t from) {
    double s = (double)(clock_mono_ns() - from) / 1e9;
    return s < so_far ? s : so_far;
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) static uint64_t read_all(const char *p, int64_t n) {
    __m256i s[4] = {_mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256(),
                    _mm256_setzero_si256()};
    for (int64_t i = 0; i < n; i += 128)
        for (int k = 0; k < 4; k++)
            s[k] = _mm256_xor_si256(s[k], _mm256_load_si256((const void *)(p + i + 32 * k)));
    s[0] = _mm256_xor_si256(_mm256_xor_si256(s[0], s[1]), _mm256_xor_si256(s[2], s[3]));
    return (uint64_t)_mm256_extract_epi64(s[0], 0);
}

/* 100,000 rounds of 12 (8) independent byte products; loops over the sums are unrolled so that they
 * stay in registers. */
#define UNROLLED _Pragma("GCC unroll 16")
__attribute__((target("avx512f"))) static void int8_512(void) {
    __m512i a[12], w = _mm512_set1_epi8(3), x = _mm512_set1_epi8(5);
    UNROLLED for (int k = 0; k < 12; k++) a[k] = _mm512_setzero_si512();
    for (int i = 0; i < 100000; i++) {
#define STEP(k) __asm__ volatile("vpdpbusd %1, %2, %0" : "+v"(a[k]) : "v"(w), "v"(x));
        STEP(0)
        STEP(1) STEP(2) STEP(3) STEP(4) STEP(5) STEP(6) STEP(7) STEP(8) STEP(9) STEP(10) STEP(11)
#undef STEP
    }
    UNROLLED for (int k = 0; k < 12; k++) sink += (uint64_t)_mm512_reduce_add_epi32(a[k]);
}

__attribute__((target("avx2"))) static void int8_256(void) {
    __m256i a[8], w = _mm256_set1_epi8(3), x = _mm256_set1_epi8(5), one = _mm256_set1_epi16(1);
    UNROLLED for (int k = 0; k < 8; k++) a[k] = _mm256_setzero_si256();
    for (int i = 0; i < 100000; i++) {
#define STEP(k)                                                                                    \
    __asm__ volatile("vpmaddubsw %1, %2, %%ymm15; vpmaddwd %3, %%ymm15, %%ymm15; "                 \
                     "vpaddd %%ymm15, %0, %0"                                                      \
                     : "+x"(a[k])                                                                  \
                     : "x"(w), "x"(x), "x"(one)                                                    \
                     : "xmm15");
        STEP(0) STEP(1) STEP(2) STEP(3) STEP(4) STEP(5) STEP(6) STEP(7)
#undef STEP
    }
    UNROLLED for (int k = 0; k < 8; k++) sink += (uint64_t)_mm256_extract_epi64(a[k], 0);
}
#endif

/* One thread of machine(): all start a round together; the slowest decides its speed. */
typedef struct worker {
    pthread_t id;
    pthread_barrier_t *start;
    kern_level level;
    char *cold;
    double read_s, int8_s; /* of the round */
} worker;

enum { ROUNDS = 12, READ_BYTES = 96 << 20 };

static void *work(void *arg) {
    worker *w = arg;
#if defined(__x86_64__)
    for (int round = 0; round < ROUNDS; round++) {
        pthread_barrier_wait(w->start);
        int64_t from = clock_mono_ns();
        sink += read_all(w->cold, READ_BYTES);
        w->read_s = best(w->read_s, from);
        pthread_barrier_wait(w->start);
        from = clock_mono_ns();
        if (w->level >= KERN_LEVEL_AVX512)
            int8_512();
        else
            int8_256();
        w->int8_s = best(w->int8_s, from);
    }
#endif
    return NULL;
}

static void machine(kern_level level, int n_threads) {
    worker w[64];
    pthread_barrier_t start;
    if (n_threads > 64) n_threads = 64;
    pthread_barrier_init(&start, NULL, (unsigned)n_threads);
    for (int i = 0; i < n_threads; i++) {
        w[i] = (worker){.start = &start, .level = level, .read_s = 1e9, .int8_s = 1e9};
        w[i].cold = aligned_alloc(4096, READ_BYTES);
        memset(w[i].cold, 1, READ_BYTES);
    }
    for (int i = 0; i < n_threads; i++) pthread_create(&w[i].id, NULL, work, &w[i]);
    double read = 0, ops = 0, per = level >= KERN_LEVEL_AVX512 ? 12 * 128 : 8 * 64;
    for (int i = 0; i < n_threads; i++) {
        pthread_join(w[i].id, NULL);
        read += READ_BYTES / w[i].read_s / 1e9;
        ops += 100000 * per / w[i].int8_s / 1e9;
        free(w[i].cold);
    }
    pthread_barrier_destroy(&start);
    printf("{\"what\": \"machine\", \"threads\": %d, \"read_gb_per_s\": %.1f, "
           "\"int8_gop_per_s\": %.0f}\n",
           n_threads, read, ops);
}

static void type_speed(const kern_mat *m, dtype t, char *cold) {
    const dtype_info *info = dtype_get_info(t);
    uint64_t row = (uint64_t)K / info->elems * info->bytes;
    int64_t x_stride = kern_mat_takes_act8(t) ? (int64_t)kern_act8_row_bytes(K) : K * 4;
    char *x = aligned_alloc(64, (size_t)(COLS * x_stride));
    float *out = malloc(sizeof(float) * COLS * (size_t)(SLICE_BYTES / (int64_t)row + 16));
    void *scratch = aligned_alloc(64, (kern_mat_scratch_bytes(K, COLS) + 63) / 64 * 64);
    float row_f32[K];
    rng r;
    rng_init(&r, 1);
    for (int i = 0; i < K; i++) row_f32[i] = rng_normal(&r);
    for (int c = 0; c < COLS; c++) {
        if (kern_mat_takes_act8(t))
            m->act8(x + c * x_stride, row_f32, K);
        else
            memcpy(x + c * x_stride, row_f32, sizeof row_f32);
    }
    kern_mat_job j = {.w_stride = (int64_t)row, .k = K, .x = x, .x_stride = x_stride, .out = out};
    int64_t rows = SLICE_BYTES / (int64_t)row / 16 * 16;
    double vec = 1, mat = 1;
    for (int run = 0; run < RUNS / 5; run++)
        for (size_t at = 0; at + (size_t)SLICE_BYTES <= COLD_BYTES; at += (size_t)SLICE_BYTES) {
            j.w = cold + at;
            j.to = rows;
            j.n_cols = 1;
            j.out_stride = rows * 4;
            int64_t from = clock_mono_ns();
            m->mul[t](&j, scratch);
            vec = best(vec, from);
        }
    for (int run = 0; run < RUNS; run++) {
        j.w = cold;
        j.to = ROWS_MM;
        j.n_cols = COLS;
        j.out_stride = ROWS_MM * 4;
        int64_t from = clock_mono_ns();
        m->mul[t](&j, scratch);
        mat = best(mat, from);
    }
    printf("{\"what\": \"%s\", \"vec_gb_per_s\": %.1f, \"mat_gop_per_s\": %.0f}\n", info->name,
           (double)rows * (double)row / vec / 1e9, 2.0 * ROWS_MM * K * COLS / mat / 1e9);
    free(x);
    free(out);
    free(scratch);
}

int main(int argc, char **argv) {
    kern_level level = argc > 1 ? (kern_level)atoi(argv[1]) : kern_level_best();
    if (!kern_level_usable(level)) return 1;
    printf("{\"what\": \"level\", \"name\": \"%s\"}\n", kern_level_name(level));
    machine(level, argc > 2 ? atoi(argv[2]) : 1);
    if (argc > 2) return 0;
    const kern_mat *m = kern_mat_get(level);
    char *cold = aligned_alloc(4096, COLD_BYTES);
    rng r;
    rng_init(&r, 1);
    for (size_t i = 0; i < COLD_BYTES; i += 8) {
        uint64_t v = rng_u64(&r) & 0x3f3f3f3f3f3f3f3fu; /* no NaN */
        memcpy(cold + i, &v, 8);
    }
#define SPEED(T, t) type_speed(m, DTYPE_##T, cold);
    KERN_MAT_ACT8_TYPES(SPEED)
    KERN_MAT_F32_TYPES(SPEED)
    free(cold);
    return 0;
}
