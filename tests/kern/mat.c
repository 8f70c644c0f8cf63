/* Every matrix kernel at every level that this machine can run, against the reference; and that a
 * result does not depend on which rows and columns are computed with it. Weights end at a page
 * that must not be touched, outputs have guards. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rng.h"
#include "kern/kern_mat.h"
#include <math.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { ROWS = 37, COLS = 19, GUARD = 16 };
#define GUARD_VALUE 12345.0f

static const dtype TYPES[] = {
#define TYPE(T, t) DTYPE_##T,
    KERN_MAT_ACT8_TYPES(TYPE) KERN_MAT_F32_TYPES(TYPE)
#undef TYPE
        DTYPE_NVFP4,
    DTYPE_TQ1_0,
};
enum { N_TYPES = sizeof TYPES / sizeof *TYPES };

typedef struct fixture {
    dtype type;
    int64_t k;
    char *map, *w; /* w ends where the map's last page, which is closed, begins */
    size_t map_bytes;
    float *x;   /* [COLS][k] */
    void *cols; /* what the kernel takes: x or its ACT8 */
    int64_t x_stride;
    uint64_t row_bytes;
    void *scratch;
    float bias[ROWS], residual[COLS][ROWS];
} fixture;

/* Sensible scales where random bytes would be NaN or huge. */
static void tame_scales(dtype t, uint8_t *row, uint64_t n_bytes, rng *r) {
    static const int8_t d_at[DTYPE_COUNT][2] = {
        [DTYPE_Q4_0] = {0, -1},   [DTYPE_Q4_1] = {0, 2},    [DTYPE_Q5_0] = {0, -1},
        [DTYPE_Q5_1] = {0, 2},    [DTYPE_Q8_0] = {0, -1},   [DTYPE_Q2_K] = {80, 82},
        [DTYPE_Q3_K] = {108, -1}, [DTYPE_Q4_K] = {0, 2},    [DTYPE_Q5_K] = {0, 2},
        [DTYPE_IQ4_NL] = {0, -1}, [DTYPE_IQ4_XS] = {0, -1}, [DTYPE_TQ1_0] = {52, -1},
    };
    const dtype_info *info = dtype_get_info(t);
    for (uint64_t at = 0; at < n_bytes; at += info->bytes) {
        uint16_t d[2];
        for (int i = 0; i < 2; i++) {
            float v = rng_normal(r) * 0.1f;
            d[i] = t == DTYPE_BF16 ? f32_to_bf16(v) : f32_to_f16(v);
            if (t == DTYPE_F32) memcpy(row + at, &v, sizeof v);
        }
        if (t == DTYPE_MXFP4) row[at] = (uint8_t)(at / info->bytes < 3 ? at % 3 : 120 + at % 9);
        if (t == DTYPE_Q6_K)
            memcpy(row + at + 208, d, 2);
        else if (t == DTYPE_F16 || t == DTYPE_BF16)
            memcpy(row + at, d, 2);
        else if (t == DTYPE_NVFP4)
            for (int i = 0; i < 4; i++) row[at + i] &= 0x3f;
        else if (t != DTYPE_MXFP4 && t != DTYPE_F32)
            for (int i = 0; i < 2; i++)
                if (d_at[t][i] >= 0) memcpy(row + at + d_at[t][i], &d[i], 2);
    }
}

static void fixture_open(fixture *f, dtype type, int64_t k, uint64_t seed) {
    rng r;
    rng_init(&r, seed);
    *f = (fixture){.type = type, .k = k};
    assert_true(dtype_row_bytes(type, k, &f->row_bytes));
    size_t page = (size_t)sysconf(_SC_PAGESIZE), bytes = (size_t)f->row_bytes * ROWS;
    size_t room = (bytes + page - 1) / page * page;
    f->map_bytes = room + page;
    f->map = mmap(NULL, f->map_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(f->map != MAP_FAILED);
    f->w = f->map + room - bytes;
    for (size_t i = 0; i < bytes; i++) f->w[i] = (char)rng_u64(&r);
    tame_scales(type, (uint8_t *)f->w, bytes, &r);
    mprotect(f->map, room, PROT_READ);
    mprotect(f->map + room, page, PROT_NONE);
    f->x = malloc((size_t)(COLS * k) * sizeof(float));
    for (int64_t i = 0; i < COLS * k; i++) f->x[i] = rng_normal(&r);
    for (int64_t i = 0; i < k; i++) f->x[i] *= i / 32 % 3 ? 1.0f : 0.0f; /* blocks of zeros */
    f->cols = f->x;
    f->x_stride = k * (int64_t)sizeof(float);
    if (kern_mat_takes_act8(type)) {
        f->x_stride = (int64_t)kern_act8_row_bytes(k);
        f->cols = aligned_alloc(64, (size_t)(COLS * f->x_stride));
        for (int t = 0; t < COLS; t++)
            kern_mat_get(KERN_LEVEL_REF)->act8((char *)f->cols + t * f->x_stride, f->x + t * k, k);
    }
    f->scratch = aligned_alloc(64, (kern_mat_scratch_bytes(k, COLS) + 63) / 64 * 64);
    for (int i = 0; i < ROWS; i++) f->bias[i] = rng_normal(&r);
    for (int i = 0; i < COLS * ROWS; i++) f->residual[i / ROWS][i % ROWS] = rng_normal(&r);
}

static void fixture_close(fixture *f) {
    munmap(f->map, f->map_bytes);
    if (f->cols != f->x) free(f->cols);
    free(f->x);
    free(f->scratch);
}

typedef float outputs[COLS][ROWS + GUARD];

static kern_mat_job job(const fixture *f, outputs out) {
    for (int i = 0; i < COLS * (ROWS + GUARD); i++)
        out[i / (ROWS + GUARD)][i % (ROWS + GUARD)] = GUARD_VALUE;
    return (kern_mat_job){.w = f->w,
                          .w_stride = (int64_t)f->row_bytes,
                          .k = f->k,
                          .to = ROWS,
                          .x = f->cols,
                          .x_stride = f->x_stride,
                          .n_cols = COLS,
                          .out = out[0],
                          .out_stride = sizeof out[0]};
}

/* sum |w| |x| of an output: what rounding is measured against. */
static double magnitude(const fixture *f, int64_t row, int64_t t) {
    float *w = malloc((size_t)f->k * sizeof *w);
    double sum = 0;
    dequant_row(f->type, f->w + row * (int64_t)f->row_bytes, w, f->k);
    for (int64_t i = 0; i < f->k; i++) sum += fabs((double)w[i] * (double)f->x[t * f->k + i]);
    free(w);
    return sum;
}

static void check_close(const fixture *f, outputs got, outputs want, const char *level) {
    for (int t = 0; t < COLS; t++) {
        for (int i = 0; i < ROWS; i++) {
            double limit = 4e-6 * magnitude(f, i, t) + 1e-6;
            double diff = fabs((double)got[t][i] - (double)want[t][i]);
            if (!(diff <= limit))
                fail_msg("%s at %s, k %d: [%d][%d] is %g, not %g", dtype_name(f->type), level,
                         (int)f->k, t, i, (double)got[t][i], (double)want[t][i]);
        }
        for (int i = ROWS; i < ROWS + GUARD; i++) assert_true(got[t][i] == GUARD_VALUE);
    }
}

/* One row range and one column at a time gives the bits of all at once. */
static void check_alone(const fixture *f, const kern_mat *m, outputs all) {
    static outputs out;
    for (int t = 0; t < COLS; t += 5) {
        static const int64_t cuts[] = {0, 16, 32, ROWS};
        kern_mat_job j = job(f, out);
        int32_t id = t;
        j.x_ids = j.out_ids = &id;
        j.n_cols = 1;
        for (int c = 0; c < 3; c++) {
            j.from = cuts[c];
            j.to = cuts[c + 1];
            m->mul[f->type](&j, f->scratch);
        }
        if (memcmp(out[t], all[t], sizeof all[t]) != 0)
            fail_msg("%s: column %d alone differs", dtype_name(f->type), t);
    }
}

static void check_type(dtype type, int64_t k) {
    static outputs want, got;
    fixture f;
    fixture_open(&f, type, k, 7 + (uint64_t)k);
    kern_mat_job j = job(&f, want);
    kern_mat_get(KERN_LEVEL_REF)->mul[type](&j, f.scratch);
    for (int level = KERN_LEVEL_REF; level < KERN_LEVEL_COUNT; level++) {
        if (!kern_level_usable((kern_level)level)) continue;
        const kern_mat *m = kern_mat_get((kern_level)level);
        j = job(&f, got);
        m->mul[type](&j, f.scratch);
        check_close(&f, got, want, kern_level_name((kern_level)level));
        check_alone(&f, m, got);
    }
    fixture_close(&f);
}

/* Interleaved rows give the bits of plain ones, many columns or one, and come back as they were. */
static void check_interleaved(dtype type, int64_t k) {
    enum { TILES = 2, TILE_ROWS = TILES * KERN_TILE_ROWS };
    static outputs plain, got;
    fixture f;
    fixture_open(&f, type, k, 9 + (uint64_t)k);
    int64_t row = (int64_t)f.row_bytes, block = kern_interleave_block(type);
    char *tiles = malloc((size_t)(row * TILE_ROWS)), *back = malloc((size_t)row);
    for (int i = 0; i < TILE_ROWS; i += KERN_TILE_ROWS)
        kern_interleave(type, f.w + i * row, row, k, tiles + i * row);
    for (int i = 0; i < TILE_ROWS; i++) {
        const char *tile = tiles + i / KERN_TILE_ROWS * KERN_TILE_ROWS * row;
        int64_t half = k / block / 2, half_bytes = row * half / (k / block);
        kern_deinterleave(type, tile, i % KERN_TILE_ROWS, half, k / block - half,
                          back + half_bytes);
        kern_deinterleave(type, tile, i % KERN_TILE_ROWS, 0, half, back);
        assert_memory_equal(back, f.w + i * row, row);
    }
    for (int level = KERN_LEVEL_REF; level < KERN_LEVEL_COUNT; level++) {
        if (!kern_level_usable((kern_level)level)) continue;
        for (int n_cols = 1; n_cols <= COLS; n_cols += COLS - 1) {
            kern_mat_job j = job(&f, plain);
            j.to = TILE_ROWS;
            j.n_cols = n_cols;
            kern_mat_get((kern_level)level)->mul[type](&j, f.scratch);
            j = job(&f, got);
            j.to = TILE_ROWS;
            j.n_cols = n_cols;
            j.w = tiles;
            j.interleaved = true;
            kern_mat_get((kern_level)level)->mul[type](&j, f.scratch);
            if (memcmp(plain, got, sizeof got) != 0)
                fail_msg("%s at %s, k %d, %d columns: interleaved differs", dtype_name(type),
                         kern_level_name((kern_level)level), (int)k, n_cols);
        }
    }
    free(tiles);
    free(back);
    fixture_close(&f);
}

static void test_interleaved(void **state) {
    (void)state;
    for (int i = 0; i < N_TYPES; i++) {
        if (!kern_can_interleave(TYPES[i], 256)) continue;
        check_interleaved(TYPES[i], 256);
        check_interleaved(TYPES[i], 1024 + 512);
    }
    assert_false(kern_can_interleave(DTYPE_NVFP4, 256));
    assert_false(kern_can_interleave(DTYPE_F16, 12)); /* half a register */
    check_interleaved(DTYPE_Q8_0, 1024 + 96);
    check_interleaved(DTYPE_Q4_1, 32);
    check_interleaved(DTYPE_F32, 7);
    check_interleaved(DTYPE_BF16, 24);
}

static void test_types(void **state) {
    (void)state;
    for (int i = 0; i < N_TYPES; i++) {
        check_type(TYPES[i], 256);
        check_type(TYPES[i], 1024 + 512);
    }
}

static void test_odd_lengths(void **state) {
    (void)state;
    static const dtype by_32[] = {DTYPE_Q4_0, DTYPE_Q4_1,   DTYPE_Q5_0, DTYPE_Q5_1,
                                  DTYPE_Q8_0, DTYPE_IQ4_NL, DTYPE_MXFP4};
    for (size_t i = 0; i < sizeof by_32 / sizeof *by_32; i++) {
        check_type(by_32[i], 32);
        check_type(by_32[i], 1024 + 96);
    }
    for (int64_t k = 1; k < 40; k += 3) {
        check_type(DTYPE_F32, k);
        check_type(DTYPE_F16, 256 + k);
        check_type(DTYPE_BF16, k);
    }
}

static void test_epilogue(void **state) {
    (void)state;
    static const dtype types[] = {DTYPE_Q8_0, DTYPE_F32};
    static outputs plain, out;
    for (int i = 0; i < 2; i++)
        for (int level = KERN_LEVEL_REF; level < KERN_LEVEL_COUNT; level++) {
            if (!kern_level_usable((kern_level)level)) continue;
            const kern_mat *m = kern_mat_get((kern_level)level);
            fixture f;
            fixture_open(&f, types[i], 64, 3);
            kern_mat_job j = job(&f, plain);
            m->mul[types[i]](&j, f.scratch);
            j = job(&f, out);
            for (int t = 0; t < COLS; t++) memcpy(out[t], f.residual[t], sizeof f.residual[t]);
            j.bias = f.bias;
            j.residual = out[0]; /* in place */
            j.residual_stride = sizeof out[0];
            m->mul[types[i]](&j, f.scratch);
            for (int t = 0; t < COLS; t++)
                for (int n = 0; n < ROWS; n++)
                    assert_true(out[t][n] == plain[t][n] + f.bias[n] + f.residual[t][n]);
            fixture_close(&f);
        }
}

/* The most that products of bytes can reach: no sum may saturate. */
static void test_extremes(void **state) {
    (void)state;
    static const dtype types[] = {DTYPE_Q8_0, DTYPE_Q6_K, DTYPE_Q5_1, DTYPE_Q4_0, DTYPE_Q3_K};
    static outputs want, got;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        for (int fill = 0; fill < 3; fill++) {
            fixture f;
            fixture_open(&f, types[i], 256, 5);
            uint16_t one = f32_to_f16(1.0f);
            const dtype_info *info = dtype_get_info(types[i]);
            size_t bytes = (size_t)f.row_bytes * ROWS;
            mprotect(f.map, f.map_bytes - (size_t)sysconf(_SC_PAGESIZE), PROT_READ | PROT_WRITE);
            memset(f.w, (int[]){0x80, 0x7f, 0xff}[fill], bytes);
            for (size_t at = 0; at < bytes; at += info->bytes) {
                int d_at = types[i] == DTYPE_Q6_K ? 208 : types[i] == DTYPE_Q3_K ? 108 : 0;
                memcpy(f.w + at + d_at, &one, 2);
                if (types[i] == DTYPE_Q5_1) memcpy(f.w + at + 2, &one, 2);
            }
            for (int64_t n = 0; n < COLS * f.k; n++) f.x[n] = n / f.k % 2 ? 1.0f : -1.0f;
            for (int t = 0; t < COLS; t++)
                kern_mat_get(KERN_LEVEL_REF)
                    ->act8((char *)f.cols + t * f.x_stride, f.x + t * f.k, f.k);
            kern_mat_job j = job(&f, want);
            kern_mat_get(KERN_LEVEL_REF)->mul[types[i]](&j, f.scratch);
            for (int level = KERN_LEVEL_AVX2; level < KERN_LEVEL_COUNT; level++) {
                if (!kern_level_usable((kern_level)level)) continue;
                j = job(&f, got);
                kern_mat_get((kern_level)level)->mul[types[i]](&j, f.scratch);
                check_close(&f, got, want, kern_level_name((kern_level)level));
            }
            fixture_close(&f);
        }
}

static void test_act8(void **state) {
    (void)state;
    enum { K = 320 };
    float x[K];
    rng r;
    rng_init(&r, 11);
    for (int i = 0; i < K; i++) x[i] = rng_normal(&r) * expf((float)(i / 32) - 5);
    memset(x + 64, 0, 32 * sizeof *x);
    for (int i = 96; i < 128; i++) x[i] = (float)(i - 112) + 0.5f; /* ties */
    x[130] = NAN;
    x[170] = INFINITY;
    size_t bytes = kern_act8_row_bytes(K);
    char *want = calloc(1, bytes + 64), *got = calloc(1, bytes + 64);
    kern_mat_get(KERN_LEVEL_REF)->act8(want, x, K);
    for (int b = 0; b < K / 32; b++) { /* the definition */
        const float *d = (const float *)(void *)(want + kern_act8_d(K));
        int32_t sum = 0;
        for (int i = 32 * b; i < 32 * (b + 1); i++) {
            sum += want[i];
            if (b == 4 || b == 5) continue;
            assert_true(fabsf(d[b] * (float)want[i] - x[i]) <= 0.5001f * d[b]);
        }
        assert_int_equal(((int32_t *)(void *)(want + kern_act8_neg32(K)))[b], -128 * sum);
    }
    for (int level = KERN_LEVEL_AVX2; level < KERN_LEVEL_COUNT; level++) {
        if (!kern_level_usable((kern_level)level)) continue;
        memset(got, 0, bytes + 64);
        kern_mat_get((kern_level)level)->act8(got, x, K);
        assert_memory_equal(got, want, kern_act8_d(K)); /* the bytes */
        assert_memory_equal(got, want, bytes + 64);
    }
    free(want);
    free(got);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_types),    cmocka_unit_test(test_odd_lengths),
        cmocka_unit_test(test_epilogue), cmocka_unit_test(test_extremes),
        cmocka_unit_test(test_act8),     cmocka_unit_test(test_interleaved),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
