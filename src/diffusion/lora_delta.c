/* Changes of one layer. */
#include "diffusion/lora_delta.h"
#include "base/mem.h"
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { NAME_BYTES = 600, RANK_MAX = 65536, CORE_RANK_MAX = 4096 };

/* ---- finding ---- */

static const safetensors_tensor *usable(const diff_file *f, const char *stem, const char *end) {
    char name[NAME_BYTES];
    int n = end ? snprintf(name, sizeof name, "%s%s", stem, end) : -1;
    const safetensors_tensor *t = n > 0 && n < NAME_BYTES ? diff_file_named(f, name) : NULL;
    return t && diff_tensor_elems(t) > 0 && dtype_get_info(t->type)->supported ? t : NULL;
}

/* As a matrix: the slowest dimension, and all others. */
static int64_t n_rows(const safetensors_tensor *t) {
    return t->n_dims > 0 ? t->ne[t->n_dims - 1] : 1;
}
static int64_t n_cols(const safetensors_tensor *t) {
    return diff_tensor_elems(t) / n_rows(t);
}

static double alpha_over(const diff_file *f, const char *stem, const safetensors_tensor *rank) {
    const safetensors_tensor *t = usable(f, stem, ".alpha");
    float v = 0;
    if (!t || !rank || diff_tensor_elems(t) != 1) return 1;
    dequant_row(t->type, t->data, &v, 1);
    return (double)v / (double)n_rows(rank);
}

static bool find_lora(const diff_file *f, const char *stem, adapter *a) {
    static const char *const ENDS[][2] = {
        {".lora_up.weight", ".lora_down.weight"},
        {"_lora.up.weight", "_lora.down.weight"},
        {".lora_B.weight", ".lora_A.weight"},
        {".lora_B.default.weight", ".lora_A.default.weight"},
        {".lora.up.weight", ".lora.down.weight"},
        {".lora_linear_layer.up.weight", ".lora_linear_layer.down.weight"}};
    for (size_t i = 0; i < COUNT_OF(ENDS); i++) {
        a->part[0] = usable(f, stem, ENDS[i][0]);
        a->part[1] = usable(f, stem, ENDS[i][1]);
        if (!a->part[0] || !a->part[1] || n_rows(a->part[1]) > RANK_MAX) continue;
        a->part[2] = usable(f, stem, ".lora_mid.weight");
        a->scale = alpha_over(f, stem, a->part[1]);
        return true;
    }
    return false;
}

static bool find_named(const diff_file *f, const char *stem, const char *const ends[ADAPTER_PARTS],
                       adapter *a) {
    for (size_t i = 0; i < ADAPTER_PARTS; i++) a->part[i] = usable(f, stem, ends[i]);
    return a->part[0] != NULL;
}

static bool find_loha(const diff_file *f, const char *stem, adapter *a) {
    static const char *const ENDS[ADAPTER_PARTS] = {".hada_w1_a", ".hada_w1_b", ".hada_w2_a",
                                                    ".hada_w2_b", ".hada_t1",   ".hada_t2"};
    if (!find_named(f, stem, ENDS, a) || !a->part[1] || !a->part[2] || !a->part[3]) return false;
    a->kind = ADAPTER_LOHA;
    a->scale = alpha_over(f, stem, a->part[1]);
    return true;
}

static bool find_lokr(const diff_file *f, const char *stem, adapter *a) {
    static const char *const ENDS[ADAPTER_PARTS] = {
        ".lokr_w1", ".lokr_w1_a", ".lokr_w1_b", ".lokr_w2", ".lokr_w2_a", ".lokr_w2_b", ".lokr_t2"};
    find_named(f, stem, ENDS, a);
    bool has_1 = a->part[0] || (a->part[1] && a->part[2]);
    bool has_2 = a->part[3] || (a->part[4] && a->part[5]);
    if (!has_1 || !has_2) return false;
    a->kind = ADAPTER_LOKR;
    a->scale = alpha_over(f, stem, !a->part[3] ? a->part[5] : !a->part[0] ? a->part[2] : NULL);
    return true;
}

bool adapter_find(const diff_file *f, const char *stem, bool is_bias, adapter *ret) {
    static const char *const DIFFS[2][ADAPTER_PARTS] = {{".diff"}, {".diff_b"}};
    static const char *const NORMS[2][ADAPTER_PARTS] = {{".w_norm"}, {".b_norm"}};
    *ret = (adapter){.kind = ADAPTER_DIFF, .scale = 1};
    if (find_named(f, stem, DIFFS[is_bias], ret) || find_named(f, stem, NORMS[is_bias], ret))
        return true;
    if (is_bias) return false;
    *ret = (adapter){.kind = ADAPTER_LORA, .scale = 1};
    if (!find_lora(f, stem, ret) && !find_loha(f, stem, ret) && !find_lokr(f, stem, ret))
        return false;
    ret->magnitude = usable(f, stem, ".dora_scale");
    if (!ret->magnitude) ret->magnitude = usable(f, stem, ".lora_magnitude_vector");
    if (!ret->magnitude) ret->magnitude = usable(f, stem, ".lora_magnitude_vector.weight");
    return true;
}

/* ---- products ---- */

/* dst [m, n] = a [m, r] @ b [r, n]. */
static void product(const float *a, const float *b, const int64_t mrn[3], float *dst) {
    int64_t n = mrn[2];
    for (int64_t i = 0; i < mrn[0]; i++) {
        float *row = dst + i * n;
        memset(row, 0, (size_t)n * sizeof *row);
        for (int64_t r = 0; r < mrn[1]; r++) {
            float u = a[i * mrn[1] + r];
            const float *from = b + r * n;
            for (int64_t k = 0; k < n; k++) row[k] += u * from[k];
        }
    }
}

/* [m, n], or NULL when the two do not fit together or to n values a row. */
static float *product_of(const safetensors_tensor *a, const safetensors_tensor *b, int64_t m,
                         int64_t n) {
    int64_t r = n_rows(b);
    if (n_rows(a) != m || n_cols(a) != r || (n >= 0 && n_cols(b) != n) || r > RANK_MAX) return NULL;
    n = n_cols(b);
    float *fa = diff_tensor_floats(a), *fb = diff_tensor_floats(b);
    float *dst = mem_calloc((size_t)(m * n), sizeof *dst);
    product(fa, fb, (int64_t[3]){m, r, n}, dst);
    mem_free(fa);
    mem_free(fb);
    return dst;
}

/* sum_ij core[i, j, p] a[i, o] b[j, k] as [o, k, p]; NULL when they do not fit. */
static float *core_product(const safetensors_tensor *core, const safetensors_tensor *a,
                           const safetensors_tensor *b, const int64_t okp[3]) {
    int64_t O = okp[0], K = okp[1], P = okp[2], I = n_rows(a), J = n_rows(b);
    if (core->n_dims != 4 || core->ne[3] != I || core->ne[2] != J ||
        core->ne[0] * core->ne[1] != P || n_cols(a) != O || n_cols(b) != K || I > CORE_RANK_MAX ||
        J > CORE_RANK_MAX)
        return NULL;
    float *fc = diff_tensor_floats(core), *fa = diff_tensor_floats(a), *fb = diff_tensor_floats(b);
    float *half = mem_calloc((size_t)(J * P), sizeof *half);
    float *dst = mem_calloc((size_t)(O * K * P), sizeof *dst);
    for (int64_t o = 0; o < O; o++) { /* half[j, p] = sum_i core[i, j, p] a[i, o] */
        memset(half, 0, (size_t)(J * P) * sizeof *half);
        for (int64_t i = 0; i < I; i++)
            for (int64_t q = 0; q < J * P; q++) half[q] += fa[i * O + o] * fc[i * J * P + q];
        for (int64_t j = 0; j < J; j++)
            for (int64_t k = 0; k < K; k++)
                for (int64_t p = 0; p < P; p++)
                    dst[(o * K + k) * P + p] += fb[j * K + k] * half[j * P + p];
    }
    mem_free(fc);
    mem_free(fa);
    mem_free(fb);
    mem_free(half);
    return dst;
}

/* ---- kinds: each gives [out, in * pixels] or NULL ---- */

/* The down matrix behind a middle one: [R, in * pixels]. */
static float *through_middle(const safetensors_tensor *mid, const safetensors_tensor *down,
                             const adapter_target *to) {
    int64_t R = n_rows(mid), S = n_rows(down), P = to->pixels, K = to->in;
    if (mid->n_dims != 4 || mid->ne[2] != S || mid->ne[0] * mid->ne[1] != P || n_cols(down) != K ||
        R > CORE_RANK_MAX || S > CORE_RANK_MAX)
        return NULL;
    float *fm = diff_tensor_floats(mid), *fd = diff_tensor_floats(down);
    float *dst = mem_calloc((size_t)(R * K * P), sizeof *dst);
    for (int64_t r = 0; r < R; r++)
        for (int64_t s = 0; s < S; s++)
            for (int64_t k = 0; k < K; k++)
                for (int64_t p = 0; p < P; p++)
                    dst[(r * K + k) * P + p] += fm[(r * S + s) * P + p] * fd[s * K + k];
    mem_free(fm);
    mem_free(fd);
    return dst;
}

static float *lora_delta(const adapter *a, const adapter_target *to) {
    const safetensors_tensor *up = a->part[0], *down = a->part[1], *mid = a->part[2];
    int64_t n = to->in * to->pixels;
    if (!mid) return product_of(up, down, to->out, n);
    int64_t R = n_rows(mid);
    if (n_rows(up) != to->out || n_cols(up) != R) return NULL;
    float *inner = through_middle(mid, down, to);
    if (!inner) return NULL;
    float *fu = diff_tensor_floats(up), *dst = mem_calloc((size_t)(to->out * n), sizeof *dst);
    product(fu, inner, (int64_t[3]){to->out, R, n}, dst);
    mem_free(fu);
    mem_free(inner);
    return dst;
}

static float *loha_half(const safetensors_tensor *core, const safetensors_tensor *a,
                        const safetensors_tensor *b, const adapter_target *to) {
    const int64_t okp[3] = {to->out, to->in, to->pixels};
    return core ? core_product(core, a, b, okp) : product_of(a, b, to->out, to->in * to->pixels);
}

static float *loha_delta(const adapter *a, const adapter_target *to) {
    float *x = loha_half(a->part[4], a->part[0], a->part[1], to);
    float *y = x ? loha_half(a->part[5], a->part[2], a->part[3], to) : NULL;
    for (int64_t i = 0; y && i < to->out * to->in * to->pixels; i++) x[i] *= y[i];
    if (!y) {
        mem_free(x);
        return NULL;
    }
    mem_free(y);
    return x;
}

/* A factor of LoKr: whole, or a product; its sides in rc. */
static float *factor(const safetensors_tensor *whole, const safetensors_tensor *a,
                     const safetensors_tensor *b, int64_t rc[2]) {
    rc[0] = n_rows(whole ? whole : a);
    rc[1] = n_cols(whole ? whole : b);
    return whole ? diff_tensor_floats(whole) : product_of(a, b, rc[0], -1);
}

static float *lokr_delta(const adapter *a, const adapter_target *to) {
    int64_t rc1[2], rc2[2], n = to->in * to->pixels;
    float *w1 = factor(a->part[0], a->part[1], a->part[2], rc1), *w2 = NULL, *dst = NULL;
    const safetensors_tensor *core = a->part[6];
    if (!w1) return NULL;
    if (!a->part[3] && core) {
        const int64_t okp[3] = {n_cols(a->part[4]), n_cols(a->part[5]), to->pixels};
        rc2[0] = okp[0];
        rc2[1] = okp[1] * okp[2];
        if (rc1[0] * rc2[0] == to->out && rc1[1] * rc2[1] == n)
            w2 = core_product(core, a->part[4], a->part[5], okp);
    } else {
        w2 = factor(a->part[3], a->part[4], a->part[5], rc2);
    }
    if (w2 && rc1[0] * rc2[0] == to->out && rc1[1] * rc2[1] == n) {
        dst = mem_calloc((size_t)(to->out * n), sizeof *dst);
        for (int64_t o = 0; o < to->out; o++)
            for (int64_t i = 0; i < n; i++)
                dst[o * n + i] =
                    w1[o / rc2[0] * rc1[1] + i / rc2[1]] * w2[o % rc2[0] * rc2[1] + i % rc2[1]];
    }
    mem_free(w1);
    mem_free(w2);
    return dst;
}

static float *diff_delta(const adapter *a, const adapter_target *to) {
    int64_t n = to->out * to->in * to->pixels;
    return diff_tensor_elems(a->part[0]) == n ? diff_tensor_floats(a->part[0]) : NULL;
}

/* ---- adding ---- */

/* Lengths of v's rows (by outputs) or of all that belongs to an input. */
static void lengths(const float *v, const adapter_target *to, bool by_output, double *ret) {
    int64_t n = to->in * to->pixels, count = by_output ? to->out : to->in;
    for (int64_t i = 0; i < count; i++) ret[i] = 0;
    for (int64_t o = 0; o < to->out; o++)
        for (int64_t i = 0; i < n; i++) {
            double x = (double)v[o * n + i];
            ret[by_output ? o : i / to->pixels] += x * x;
        }
    for (int64_t i = 0; i < count; i++) ret[i] = sqrt(ret[i]);
}

/* delta [..] is scaled already. */
static void add_decomposed(const adapter *a, double strength, const float *delta,
                           const adapter_target *to) {
    int64_t n = to->in * to->pixels, n_m = diff_tensor_elems(a->magnitude);
    bool by_output = n_rows(a->magnitude) == to->out && n_m == to->out;
    if (!by_output && n_m != to->in) return;
    float *sum = mem_calloc((size_t)(to->out * n), sizeof *sum);
    float *m = diff_tensor_floats(a->magnitude);
    double *len = mem_calloc((size_t)(by_output ? to->out : to->in), sizeof *len);
    for (int64_t i = 0; i < to->out * n; i++) sum[i] = to->w[i] + delta[i];
    lengths(by_output ? to->w : sum, to, by_output, len);
    for (int64_t o = 0; o < to->out; o++)
        for (int64_t i = 0; i < n; i++) {
            int64_t k = by_output ? o : i / to->pixels, at = o * n + i;
            double v = (double)sum[at] * (double)m[k] / (len[k] + (double)FLT_EPSILON);
            to->w[at] += (float)(strength * (v - (double)to->w[at]));
        }
    mem_free(sum);
    mem_free(m);
    mem_free(len);
}

void adapter_add(const adapter *a, double strength, const adapter_target *to) {
    float *(*const DELTAS[])(const adapter *,
                             const adapter_target *) = {[ADAPTER_LORA] = lora_delta,
                                                        [ADAPTER_LOHA] = loha_delta,
                                                        [ADAPTER_LOKR] = lokr_delta,
                                                        [ADAPTER_DIFF] = diff_delta};
    float *delta = DELTAS[a->kind](a, to);
    if (!delta) return;
    int64_t n = to->out * to->in * to->pixels;
    float scale = (float)(a->magnitude ? a->scale : strength * a->scale);
    for (int64_t i = 0; i < n; i++) delta[i] *= scale;
    if (a->magnitude)
        add_decomposed(a, strength, delta, to);
    else
        for (int64_t i = 0; i < n; i++) to->w[i] += delta[i];
    mem_free(delta);
}
