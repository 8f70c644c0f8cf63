/* Float kernels in plain C: the definition that the faster ones are tested against, and the table
 * that they overlay. Sums are formed in double so that the reference is also the most exact. */
#include "kern/dtype.h"
#include "kern/ref/vec_ref.h"
#include <math.h>
#include <string.h>

static void rms_norm_ref(float *out, const float *x, const float *w, int64_t n, float eps) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += (double)x[i] * (double)x[i];
    float inv = (float)(1.0 / sqrt(sum / (double)n + (double)eps));
    for (int64_t i = 0; i < n; i++) out[i] = x[i] * inv * (w ? w[i] : 1.0f);
}

static void layer_norm_ref(float *out, const float *x, const float *w, const float *b, int64_t n,
                           float eps) {
    double sum = 0, var = 0;
    for (int64_t i = 0; i < n; i++) sum += (double)x[i];
    double mean = sum / (double)n;
    for (int64_t i = 0; i < n; i++) var += ((double)x[i] - mean) * ((double)x[i] - mean);
    float inv = (float)(1.0 / sqrt(var / (double)n + (double)eps));
    for (int64_t i = 0; i < n; i++)
        out[i] = (float)((double)x[i] - mean) * inv * (w ? w[i] : 1.0f) + (b ? b[i] : 0.0f);
}

static void l2_norm_ref(float *out, const float *x, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += (double)x[i] * (double)x[i];
    float inv = sum > 0 ? (float)(1.0 / sqrt(sum)) : 0.0f;
    for (int64_t i = 0; i < n; i++) out[i] = x[i] * inv;
}

static void add_ref(float *out, const float *a, const float *b, int64_t n) {
    for (int64_t i = 0; i < n; i++) out[i] = a[i] + b[i];
}

static void mul_ref(float *out, const float *a, const float *b, int64_t n) {
    for (int64_t i = 0; i < n; i++) out[i] = a[i] * b[i];
}

static void add_scaled_ref(float *out, const float *x, float a, int64_t n) {
    for (int64_t i = 0; i < n; i++) out[i] += a * x[i];
}

static void scale_ref(float *out, const float *x, int64_t n, float scale, float bias) {
    for (int64_t i = 0; i < n; i++) out[i] = x[i] * scale + bias;
}

static void softcap_ref(float *out, const float *x, int64_t n, float cap) {
    for (int64_t i = 0; i < n; i++) out[i] = cap * tanhf(x[i] / cap);
}

static void softmax_ref(float *out, const float *x, int64_t n) {
    float max = -INFINITY;
    for (int64_t i = 0; i < n; i++) max = x[i] > max ? x[i] : max;
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        out[i] = expf(x[i] - max);
        sum += (double)out[i];
    }
    float inv = (float)(1.0 / sum);
    for (int64_t i = 0; i < n; i++) out[i] *= inv;
}

static float act_one(float x, kern_act act) {
    switch (act) {
    case KERN_ACT_SILU:
        return x / (1.0f + expf(-x));
    case KERN_ACT_GELU_TANH:
        return 0.5f * x * (1.0f + tanhf(0.797884560802865f * (x + 0.044715f * x * x * x)));
    case KERN_ACT_GELU_ERF:
        return 0.5f * x * (1.0f + erff(x * 0.707106781186548f));
    case KERN_ACT_RELU:
        return x > 0 ? x : 0;
    case KERN_ACT_GELU_QUICK:
        return x / (1.0f + expf(-1.702f * x));
    case KERN_ACT_TANH:
        return tanhf(x);
    case KERN_ACT_SIGMOID:
        return 1.0f / (1.0f + expf(-x));
    case KERN_ACT_COUNT:
        break;
    }
    return x;
}

static void act_ref(float *out, const float *x, int64_t n, kern_act act) {
    for (int64_t i = 0; i < n; i++) out[i] = act_one(x[i], act);
}

static void glu_ref(float *out, const float *gate, const float *up, int64_t n, kern_act act) {
    for (int64_t i = 0; i < n; i++) out[i] = act_one(gate[i], act) * up[i];
}

static void copy_rest(float *out, const float *x, int64_t from, int64_t n) {
    if (out != x && n > from) memcpy(out + from, x + from, (size_t)(n - from) * sizeof *x);
}

static void rope_norm_ref(float *out, const float *x, const float *cos_sin, int64_t n_rot,
                          int64_t n) {
    const float *c = cos_sin, *s = cos_sin + n_rot / 2;
    for (int64_t i = 0; i < n_rot / 2; i++) {
        float a = x[2 * i], b = x[2 * i + 1];
        out[2 * i] = a * c[i] - b * s[i];
        out[2 * i + 1] = a * s[i] + b * c[i];
    }
    copy_rest(out, x, n_rot, n);
}

static void rope_neox_ref(float *out, const float *x, const float *cos_sin, int64_t n_rot,
                          int64_t n) {
    int64_t half = n_rot / 2;
    const float *c = cos_sin, *s = cos_sin + half;
    for (int64_t i = 0; i < half; i++) {
        float a = x[i], b = x[i + half];
        out[i] = a * c[i] - b * s[i];
        out[i + half] = a * s[i] + b * c[i];
    }
    copy_rest(out, x, n_rot, n);
}

static void f32_to_f16_ref(uint16_t *out, const float *x, int64_t n) {
    for (int64_t i = 0; i < n; i++) out[i] = f32_to_f16(x[i]);
}

static void attn_qk_ref(float *s, const float *q, const uint16_t *kt, int64_t n_q, int64_t n_dim) {
    for (int64_t i = 0; i < n_q * KERN_ATTN_KEYS; i++) s[i] = 0;
    for (int64_t d = 0; d < n_dim; d++)
        for (int j = 0; j < KERN_ATTN_KEYS; j++) {
            float k = f16_to_f32(kt[d * KERN_ATTN_KEYS + j]);
            for (int64_t i = 0; i < n_q; i++) s[i * KERN_ATTN_KEYS + j] += q[i * n_dim + d] * k;
        }
}

static float attn_soft_ref(float *s, kern_attn_state *st, const kern_attn_mask *mask) {
    float max = st->max;
    for (int j = 0; j < KERN_ATTN_KEYS; j++) {
        if (mask->softcap > 0) s[j] = mask->softcap * tanhf(s[j] / mask->softcap);
        if (j < mask->from || j >= mask->to) s[j] = -INFINITY;
        if (s[j] > max) max = s[j];
    }
    if (max == -INFINITY) { /* nothing seen yet */
        memset(s, 0, KERN_ATTN_KEYS * sizeof *s);
        return 1.0f;
    }
    float corr = st->max == max ? 1.0f : expf(st->max - max), sum = 0;
    for (int j = 0; j < KERN_ATTN_KEYS; j++) {
        s[j] = s[j] == -INFINITY ? 0.0f : expf(s[j] - max);
        sum += s[j];
    }
    st->sum = st->sum * corr + sum;
    st->max = max;
    return corr;
}

static void attn_pv_ref(float *acc, const float *p, const float *corr, const uint16_t *v,
                        int64_t n_q, int64_t n_dim, int32_t from, int32_t to) {
    for (int64_t i = 0; i < n_q; i++)
        for (int64_t d = 0; d < n_dim; d++) acc[i * n_dim + d] *= corr[i];
    for (int64_t j = from; j < to; j++)
        for (int64_t d = 0; d < n_dim; d++) {
            float x = f16_to_f32(v[j * n_dim + d]);
            for (int64_t i = 0; i < n_q; i++) acc[i * n_dim + d] += p[i * KERN_ATTN_KEYS + j] * x;
        }
}

void kern_vec_init_ref(kern_vec *t) {
#define SET(ret, name, args) t->name = name##_ref;
    KERN_VEC_SLOTS(SET)
#undef SET
}
