/* Picture kernels with operands in bfloat16, in plain C. */
#include "kern/ref/gemm_ref.h"
#include <math.h>

enum { ROWS = KERN_GEMM_ROWS, COLS = KERN_GEMM_COLS, BLOCK = KERN_GEMM_BLOCK_BF16 };

/* Winograd's points P, -P, Q, -Q beside 0 and infinity. */
#define P 0.75f
#define Q 1.5f
#define P2 (P * P)
#define Q2 (Q * Q)

/* Element k of row m. */
static float left_of(const kern_gemm_tile *t, int64_t m, int64_t k) {
    const uint16_t *a = t->a;
    if (!t->a_blocks) return bf16_to_f32(a[(k / BLOCK * t->rows + m) * BLOCK + k % BLOCK]);
    int64_t row = m < t->a_split ? m * t->a_row : t->a_down + (m - t->a_split) * t->a_row;
    return bf16_to_f32(a[(row + t->a_blocks[k / BLOCK]) / 2 + k % BLOCK]);
}

static void mul_bf16_ref(const kern_gemm_tile *t) {
    const uint16_t *b = t->b;
    for (int32_t m = 0; m < t->rows; m++)
        for (int32_t n = 0; n < t->cols; n++) {
            float *out = t->out + m * t->out_stride + n % KERN_GEMM_BLOCK +
                         n / KERN_GEMM_BLOCK * t->out_half;
            float sum = t->add ? *out : 0;
            for (int64_t k = 0; k < (t->k + 1) / 2 * 2; k++)
                sum = fmaf(left_of(t, m, k), bf16_to_f32(b[(k / 2 * COLS + n) * 2 + k % 2]), sum);
            if (t->bias) sum += t->bias[n];
            if (t->residual) sum += t->residual[m * t->residual_stride + n];
            *out = sum;
        }
}

static void round_bf16_ref(uint16_t *out, const float *x, int64_t n, float scale) {
    for (int64_t i = 0; i < n; i++) out[i] = f32_to_bf16(x[i] * scale);
}

static void norm_apply_bf16_ref(const kern_norm_apply *j) {
    uint16_t *out = j->out;
    for (int64_t i = 0; i < j->n; i++)
        for (int64_t k = 0; k < j->c; k++) {
            float v = j->x[i * j->x_stride + k] * j->scale[k] + j->shift[k];
            out[i * j->out_stride + k] = f32_to_bf16(j->silu ? v / (1 + expf(-v)) : v);
        }
}

static void pack_rows_bf16_ref(uint16_t *a, const float *x, int64_t stride, int32_t rows, int64_t k,
                               float scale) {
    for (int64_t j = 0; j < k; j += BLOCK)
        for (int32_t m = 0; m < rows; m++, a += BLOCK)
            for (int64_t i = 0; i < BLOCK; i++)
                a[i] = j + i < k ? f32_to_bf16(x[m * stride + j + i] * scale) : 0;
}

static void pack_cols_bf16_ref(uint16_t *b, const kern_gemm_cols *c) {
    for (int64_t k = 0; k < (c->k + 1) / 2 * 2; k++)
        for (int32_t n = 0; n < COLS; n++) {
            const char *w = (const char *)c->w + n * c->stride;
            float v = 0;
            if (n < c->cols && k < c->k)
                dequant_row(c->type, w + k * (c->type == DTYPE_F32 ? 4 : 2), &v, 1);
            b[(k / 2 * COLS + n) * 2 + k % 2] = f32_to_bf16(v);
        }
}

static void unpack_cols_bf16_ref(float *b, const uint16_t *from, int64_t k) {
    for (int64_t i = 0; i < k; i++)
        for (int32_t n = 0; n < COLS; n++)
            b[i * COLS + n] = bf16_to_f32(from[(i / 2 * COLS + n) * 2 + i % 2]);
}

static void pack_pairs_bf16_ref(uint16_t *b, const float *x, int64_t stride, int32_t cols,
                                int64_t k) {
    for (int64_t i = 0; i < (k + 1) / 2 * 2; i++)
        for (int32_t n = 0; n < COLS; n++) {
            float v = i < k && n < cols ? x[i * stride + n] : 0;
            b[(i / 2 * COLS + n) * 2 + i % 2] = f32_to_bf16(v);
        }
}

/* B^T d, of six values `stride` apart. */
static void in_1d(float *d, int64_t stride) {
    float a = d[0], b = d[stride], c = d[2 * stride], e = d[3 * stride], f = d[4 * stride],
          g = d[5 * stride];
    d[0] = P2 * Q2 * a - (P2 + Q2) * c + f;
    d[stride] = (f - Q2 * c) + P * (e - Q2 * b);
    d[2 * stride] = (f - Q2 * c) - P * (e - Q2 * b);
    d[3 * stride] = (f - P2 * c) + Q * (e - P2 * b);
    d[4 * stride] = (f - P2 * c) - Q * (e - P2 * b);
    d[5 * stride] = P2 * Q2 * b - (P2 + Q2) * e + g;
}

static void wino_in_bf16_ref(const kern_wino_in *t) {
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
        uint16_t *v = (uint16_t *)t->v + c / BLOCK * t->v_block + c % BLOCK;
        for (int p = 0; p < KERN_WINO; p++) v[p * t->v_pos] = f32_to_bf16(d[p / 6][p % 6]);
    }
}

/* G g: three values to six. */
static void weights_1d(float out[6], float a, float b, float c) {
    const float np = 1 / (2 * P2 * (P2 - Q2)), nq = 1 / (2 * Q2 * (Q2 - P2));
    out[0] = a * (1 / (P2 * Q2));
    out[1] = (a + P2 * c) * np + P * np * b;
    out[2] = (a + P2 * c) * np - P * np * b;
    out[3] = (a + Q2 * c) * nq + Q * nq * b;
    out[4] = (a + Q2 * c) * nq - Q * nq * b;
    out[5] = c;
}

static void wino_weights_bf16_ref(const kern_wino_taps *t) {
    const uint16_t *g = t->g;
    uint16_t *u = t->u;
    for (int64_t i = 0; i < t->n; i++) {
        float half[3][6], all[6], tap[9];
        for (int j = 0; j < 9; j++) tap[j] = bf16_to_f32(g[j * t->g_tap + i]);
        for (int x = 0; x < 3; x++) weights_1d(half[x], tap[x], tap[3 + x], tap[6 + x]);
        for (int y = 0; y < 6; y++) {
            weights_1d(all, half[0][y], half[1][y], half[2][y]);
            for (int x = 0; x < 6; x++) u[(y * 6 + x) * t->u_pos + i] = f32_to_bf16(all[x]);
        }
    }
}

/* A^T m: six values to four. */
static void out_1d(float out[4], const float *m, int64_t stride) {
    float s1 = m[stride] + m[2 * stride], d1 = m[stride] - m[2 * stride];
    float s2 = m[3 * stride] + m[4 * stride], d2 = m[3 * stride] - m[4 * stride];
    out[0] = m[0] + s1 + s2;
    out[1] = P * d1 + Q * d2;
    out[2] = P2 * s1 + Q2 * s2;
    out[3] = P * P2 * d1 + Q * Q2 * d2 + m[5 * stride];
}

static void wino_out_bf16_ref(const kern_wino_out *t) {
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

static void soft_bf16_ref(uint16_t *p, float *s, int32_t rows, int64_t k, kern_soft_state *st,
                          float *corr) {
    enum { FROM = KERN_GEMM_BLOCK };
    for (int32_t m = 0; m < rows; m++) {
        float max = st[m].max, sum = 0;
        for (int64_t j = 0; j < k; j++)
            max = fmaxf(max, s[(j / FROM * rows + m) * FROM + j % FROM]);
        float base = max == -INFINITY ? 0 : max;
        for (int64_t j = 0; j < (k + BLOCK - 1) / BLOCK * BLOCK; j++) {
            float e = 0;
            if (j < k) e = exp2f(s[(j / FROM * rows + m) * FROM + j % FROM] - base);
            sum += e;
            p[(j / BLOCK * rows + m) * BLOCK + j % BLOCK] = f32_to_bf16(e);
        }
        corr[m] = max == st[m].max ? 1 : exp2f(st[m].max - max);
        st[m] = (kern_soft_state){max, st[m].sum * corr[m] + sum};
    }
}

void kern_gemm_init_ref_bf16(kern_gemm *t) {
    t->rows_bf16 = KERN_GEMM_ROWS;
#define SET(ret, name, args) t->name = name##_ref;
    KERN_GEMM_BF16_SLOTS(SET)
#undef SET
}
