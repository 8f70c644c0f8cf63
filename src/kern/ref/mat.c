/* Matrix kernels in plain C: the definition that the faster ones are tested against. A row is
 * decoded to f32 and multiplied in double. */
#include "kern/ref/mat_ref.h"
#include <math.h>

enum { CHUNK = 256 };

/* Elements [at, at + n) of a column as f32. */
static void column_f32(const kern_mat_job *j, bool act8, int64_t t, int64_t at, int64_t n,
                       float *ret) {
    const char *x = mat_column(j, t);
    if (!act8) {
        memcpy(ret, (const float *)(const void *)x + at, (size_t)n * sizeof *ret);
        return;
    }
    const float *d = (const float *)(const void *)(x + kern_act8_d(j->k));
    for (int64_t i = 0; i < n; i++)
        ret[i] = d[(at + i) / KERN_ACT8_BLOCK] * (float)((const int8_t *)x)[at + i];
}

/* Elements [at, at + n) of a row of weights. */
static void weights_f32(const kern_mat_job *j, dtype type, int64_t row, int64_t at, int64_t n,
                        float *ret) {
    const dtype_info *info = dtype_get_info(type);
    const char *w = j->w;
    char plain[CHUNK * sizeof(float)];
    if (j->interleaved) {
        int64_t in_tile = row % KERN_TILE_ROWS, block = kern_interleave_block(type);
        kern_deinterleave(type, w + (row - in_tile) * j->w_stride, (int)in_tile, at / block,
                          n / block, plain);
        dequant_row(type, plain, ret, n);
    } else {
        dequant_row(type, w + row * j->w_stride + at / info->elems * info->bytes, ret, n);
    }
}

static void mul_ref(const kern_mat_job *j, dtype type) {
    bool act8 = kern_mat_takes_act8(type);
    float w[CHUNK], x[CHUNK];
    for (int64_t row = j->from; row < j->to; row++) {
        for (int64_t t = 0; t < j->n_cols; t++) {
            double sum = 0;
            for (int64_t at = 0; at < j->k; at += CHUNK) {
                int64_t n = j->k - at < CHUNK ? j->k - at : CHUNK;
                weights_f32(j, type, row, at, n, w);
                column_f32(j, act8, t, at, n, x);
                for (int64_t i = 0; i < n; i++) sum += (double)w[i] * (double)x[i];
            }
            float s = (float)sum;
            mat_store(j, t, row, &s, 1);
        }
    }
}

/* One function per type, as the table's functions do not say which. */
#define MUL(T, t)                                                                                  \
    static void mul_##t##_ref(const kern_mat_job *j, void *scratch) {                              \
        (void)scratch;                                                                             \
        mul_ref(j, DTYPE_##T);                                                                     \
    }
#define OTHER_TYPES(X)                                                                             \
    X(F64, f64)                                                                                    \
    X(I8, i8)                                                                                      \
    X(I16, i16)                                                                                    \
    X(I32, i32)                                                                                    \
    X(I64, i64)                                                                                    \
    X(TQ1_0, tq1_0)                                                                                \
    X(TQ2_0, tq2_0)                                                                                \
    X(NVFP4, nvfp4)                                                                                \
    X(Q1_0, q1_0)                                                                                  \
    X(Q2_0, q2_0)                                                                                  \
    X(F8_E4M3, f8_e4m3)                                                                            \
    X(F8_E5M2, f8_e5m2)                                                                            \
    X(U8, u8)                                                                                      \
    X(BOOL, bool)
KERN_MAT_ACT8_TYPES(MUL)
KERN_MAT_F32_TYPES(MUL)
OTHER_TYPES(MUL)

static void act8_ref(void *out, const float *x, int64_t k) {
    int8_t *q = out;
    char *base = out;
    float *d = (float *)(void *)(base + kern_act8_d(k));
    float *sum32 = (float *)(void *)(base + kern_act8_sum32(k));
    float *sum16 = (float *)(void *)(base + kern_act8_sum16(k));
    int32_t *neg32 = (int32_t *)(void *)(base + kern_act8_neg32(k));
    int32_t *neg16 = (int32_t *)(void *)(base + kern_act8_neg16(k));
    for (int64_t b = 0; b < k / KERN_ACT8_BLOCK; b++, x += KERN_ACT8_BLOCK) {
        float max = 0;
        for (int i = 0; i < KERN_ACT8_BLOCK; i++) max = fabsf(x[i]) > max ? fabsf(x[i]) : max;
        float inv = max > 0 ? 127.0f / max : 0.0f;
        int32_t sum[2] = {0, 0};
        d[b] = max / 127.0f;
        for (int i = 0; i < KERN_ACT8_BLOCK; i++) {
            float v = nearbyintf(x[i] * inv);
            v = v > 127 ? 127 : v >= -127 ? v : -127; /* NaN: -127 */
            q[b * KERN_ACT8_BLOCK + i] = (int8_t)v;
            sum[i / 16] += (int8_t)v;
        }
        for (int h = 0; h < 2; h++) {
            sum16[2 * b + h] = d[b] * (float)sum[h];
            neg16[2 * b + h] = -128 * sum[h];
        }
        sum32[b] = d[b] * (float)(sum[0] + sum[1]);
        neg32[b] = -128 * (sum[0] + sum[1]);
    }
}

void kern_mat_init_ref(kern_mat *t) {
#define SET(T, n) t->mul[DTYPE_##T] = mul_##n##_ref;
    KERN_MAT_ACT8_TYPES(SET)
    KERN_MAT_F32_TYPES(SET)
    OTHER_TYPES(SET)
#undef SET
    t->act8 = act8_ref;
}
