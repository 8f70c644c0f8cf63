/* Picture kernels in plain C. */
#include "kern/ref/gemm_ref.h"
#include <math.h>
#include <string.h>

enum { ROWS = KERN_GEMM_ROWS, COLS = KERN_GEMM_COLS, BLOCK = KERN_GEMM_BLOCK };

static void mul_ref(const kern_gemm_tile *t) {
    for (int32_t m = 0; m < t->rows; m++)
        for (int32_t n = 0; n < t->cols; n++) {
            float *out = t->out + m * t->out_stride + n % BLOCK + n / BLOCK * t->out_half;
            float sum = t->add ? *out : 0;
            for (int64_t k = 0; k < t->k; k++) {
                float a = ((const float *)t->a)[(k / BLOCK * t->rows + m) * BLOCK + k % BLOCK];
                sum = fmaf(a, ((const float *)t->b)[k * COLS + n], sum);
            }
            if (t->bias) sum += t->bias[n];
            if (t->residual) sum += t->residual[m * t->residual_stride + n];
            *out = sum;
        }
}

static void pack_rows_ref(float *a, const float *x, int64_t stride, int32_t rows, int64_t k) {
    for (int64_t j = 0; j < k; j += BLOCK)
        for (int32_t m = 0; m < rows; m++, a += BLOCK)
            for (int64_t i = 0; i < BLOCK; i++) a[i] = j + i < k ? x[m * stride + j + i] : 0;
}

static void pack_cols_ref(float *b, const kern_gemm_cols *c) {
    for (int64_t k = 0; k < c->k; k++)
        for (int32_t n = 0; n < COLS; n++, b++) {
            const char *w = (const char *)c->w + n * c->stride;
            *b = 0;
            if (n < c->cols) dequant_row(c->type, w + k * (c->type == DTYPE_F32 ? 4 : 2), b, 1);
        }
}

/* B^T d, of six values `stride` apart. */
static void in_1d(float *d, int64_t stride) {
    float a = d[0], b = d[stride], c = d[2 * stride], e = d[3 * stride], f = d[4 * stride],
          g = d[5 * stride];
    d[0] = 4 * a - 5 * c + f;
    d[stride] = (f - 4 * c) + (e - 4 * b);
    d[2 * stride] = (f - 4 * c) - (e - 4 * b);
    d[3 * stride] = (f - c) + 2 * (e - b);
    d[4 * stride] = (f - c) - 2 * (e - b);
    d[5 * stride] = 4 * b - 5 * e + g;
}

static void wino_in_ref(const kern_wino_in *t) {
    for (int32_t c = 0; c < (t->channels + BLOCK - 1) / BLOCK * BLOCK; c++) {
        float d[6][6] = {{0}};
        for (int y = 0; y < 6; y++)
            for (int x = 0; x < 6; x++) {
                int32_t ix = t->px + x, iy = t->py + y;
                if (c < t->channels && ix >= 0 && iy >= 0 && ix < t->nx && iy < t->ny)
                    d[y][x] = t->x[iy * t->stride_y + ix * t->stride_x + c];
            }
        for (int x = 0; x < 6; x++) in_1d(&d[0][x], 6);
        for (int y = 0; y < 6; y++) in_1d(d[y], 1);
        for (int p = 0; p < KERN_WINO; p++)
            ((float *)t->v)[p * t->v_pos + c / BLOCK * t->v_block + c % BLOCK] = d[p / 6][p % 6];
    }
}

/* G g: three values to six. */
static void weights_1d(float out[6], float a, float b, float c) {
    out[0] = a * 0.25f;
    out[1] = (a + c + b) * (-1.0f / 6);
    out[2] = (a + c - b) * (-1.0f / 6);
    out[3] = a * (1.0f / 24) + c * (1.0f / 6) + b * (1.0f / 12);
    out[4] = a * (1.0f / 24) + c * (1.0f / 6) - b * (1.0f / 12);
    out[5] = c;
}

static void wino_weights_ref(const kern_wino_taps *t) {
    const int64_t tap = t->g_tap;
    for (int64_t i = 0; i < t->n; i++) {
        const float *g = (const float *)t->g + i;
        float half[3][6], all[6], *u = (float *)t->u + i;
        for (int x = 0; x < 3; x++)
            weights_1d(half[x], g[x * tap], g[(3 + x) * tap], g[(6 + x) * tap]);
        for (int y = 0; y < 6; y++) {
            weights_1d(all, half[0][y], half[1][y], half[2][y]);
            for (int x = 0; x < 6; x++) u[(y * 6 + x) * t->u_pos] = all[x];
        }
    }
}

/* A^T m: six values to four. */
static void out_1d(float out[4], const float *m, int64_t stride) {
    float s12 = m[stride] + m[2 * stride], d12 = m[stride] - m[2 * stride];
    float s34 = m[3 * stride] + m[4 * stride], d34 = m[3 * stride] - m[4 * stride];
    out[0] = m[0] + s12 + s34;
    out[1] = d12 + 2 * d34;
    out[2] = s12 + 4 * s34;
    out[3] = d12 + 8 * d34 + m[5 * stride];
}

static void wino_out_ref(const kern_wino_out *t) {
    for (int32_t c = 0; c < t->cols; c++) {
        float half[6][4], all[4];
        for (int x = 0; x < 6; x++) out_1d(half[x], t->m + x * t->m_pos + c, 6 * t->m_pos);
        for (int y = 0; y < t->ny; y++) {
            out_1d(all, &half[0][y], 4);
            for (int x = 0; x < t->nx; x++) {
                float v = all[x];
                if (t->bias) v += t->bias[c];
                if (t->residual) v += t->residual[y * t->residual_y + x * t->residual_x + c];
                t->out[y * t->out_y + x * t->out_x + c] = v;
            }
        }
    }
}

static void norm_sums_ref(float *sum, float *square, const float *x, int64_t stride, int64_t n,
                          int64_t c) {
    for (int64_t i = 0; i < n; i++)
        for (int64_t k = 0; k < c; k++) {
            float v = x[i * stride + k];
            sum[k] += v;
            square[k] += v * v;
        }
}

static void norm_apply_ref(const kern_norm_apply *j) {
    for (int64_t i = 0; i < j->n; i++)
        for (int64_t k = 0; k < j->c; k++) {
            float v = j->x[i * j->x_stride + k] * j->scale[k] + j->shift[k];
            ((float *)j->out)[i * j->out_stride + k] = j->silu ? v / (1 + expf(-v)) : v;
        }
}

static void soft_ref(float *s, int32_t rows, int64_t k, kern_soft_state *st, float *corr) {
    for (int32_t m = 0; m < rows; m++) {
        float max = st[m].max, sum = 0;
        float *row = s + m * BLOCK;
        for (int64_t i = 0; i < k; i++) max = fmaxf(max, row[i / BLOCK * rows * BLOCK + i % BLOCK]);
        float base = max == -INFINITY ? 0 : max;
        for (int64_t i = 0; i < (k + BLOCK - 1) / BLOCK * BLOCK; i++) {
            float *p = &row[i / BLOCK * rows * BLOCK + i % BLOCK];
            *p = i < k ? exp2f(*p - base) : 0;
            sum += *p;
        }
        corr[m] = max == st[m].max ? 1 : exp2f(st[m].max - max);
        st[m] = (kern_soft_state){max, st[m].sum * corr[m] + sum};
    }
}

void kern_gemm_init_ref(kern_gemm *t) {
#define SET(ret, name, args) t->name = name##_ref;
    KERN_GEMM_F32_SLOTS(SET)
#undef SET
    kern_gemm_init_ref_bf16(t);
}
