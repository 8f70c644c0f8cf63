/* Speed of single kernels on one thread, and what the machine can do at most.
 *
 * usage: kern [LEVEL]     prints one JSON object a line; LEVEL 0.. as kern.h, default the best
 * Each figure is the best of many short runs, so that it holds on a machine that is not quiet:
 *   read     GB/s of reading memory that is in no cache
 *   int8     GOP/s of the byte dot product, f32: GFLOP/s of multiply-add, both from registers
 *   TYPE     mat-vec GB/s of weights from memory, and mat-mat GOP/s with 512 columns */
#include "base/clock.h"
#include "base/rng.h"
#include "kern/kern_mat.h"
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

__attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni"))) static double int8_512(void) {
    double s = 1;
    for (int run = 0; run < RUNS; run++) {
        __m512i a[12], w = _mm512_set1_epi8(3), x = _mm512_set1_epi8(5);
        for (int k = 0; k < 12; k++) a[k] = _mm512_setzero_si512();
        int64_t from = clock_mono_ns();
        for (int i = 0; i < 100000; i++)
            for (int k = 0; k < 12; k++)
                __asm__ volatile("vpdpbusd %1, %2, %0" : "+v"(a[k]) : "v"(w), "v"(x));
        s = best(s, from);
        for (int k = 0; k < 12; k++) sink += (uint64_t)_mm512_reduce_add_epi32(a[k]);
    }
    return 100000.0 * 12 * 128 / s / 1e9;
}

__attribute__((target("avx2"))) static double int8_256(void) {
    double s = 1;
    for (int run = 0; run < RUNS; run++) {
        __m256i a[8], w = _mm256_set1_epi8(3), x = _mm256_set1_epi8(5), one = _mm256_set1_epi16(1);
        for (int k = 0; k < 8; k++) a[k] = _mm256_setzero_si256();
        int64_t from = clock_mono_ns();
        for (int i = 0; i < 100000; i++)
            for (int k = 0; k < 8; k++) {
                __m256i p;
                __asm__ volatile("vpmaddubsw %1, %2, %0" : "=x"(p) : "x"(w), "x"(x));
                a[k] = _mm256_add_epi32(a[k], _mm256_madd_epi16(p, one));
            }
        s = best(s, from);
        for (int k = 0; k < 8; k++) sink += (uint64_t)_mm256_extract_epi64(a[k], 0);
    }
    return 100000.0 * 8 * 64 / s / 1e9;
}
#endif

static void machine(kern_level level, char *cold) {
#if defined(__x86_64__)
    double s = 1;
    for (int run = 0; run < RUNS; run++)
        for (size_t at = 0; at + (size_t)SLICE_BYTES <= COLD_BYTES; at += (size_t)SLICE_BYTES) {
            int64_t from = clock_mono_ns();
            sink += read_all(cold + at, SLICE_BYTES);
            s = best(s, from);
        }
    printf("{\"what\": \"read\", \"gb_per_s\": %.1f}\n", (double)SLICE_BYTES / s / 1e9);
    printf("{\"what\": \"int8\", \"gop_per_s\": %.0f}\n",
           level >= KERN_LEVEL_AVX512 ? int8_512() : int8_256());
#else
    (void)level, (void)cold;
#endif
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
    const kern_mat *m = kern_mat_get(level);
    char *cold = aligned_alloc(4096, COLD_BYTES);
    rng r;
    rng_init(&r, 1);
    for (size_t i = 0; i < COLD_BYTES; i += 8) {
        uint64_t v = rng_u64(&r) & 0x3f3f3f3f3f3f3f3fu; /* no NaN */
        memcpy(cold + i, &v, 8);
    }
    printf("{\"what\": \"level\", \"name\": \"%s\"}\n", kern_level_name(level));
    machine(level, cold);
#define SPEED(T, t) type_speed(m, DTYPE_##T, cold);
    KERN_MAT_ACT8_TYPES(SPEED)
    KERN_MAT_F32_TYPES(SPEED)
    free(cold);
    return 0;
}
