/* Group norm: the sums of a picture's parts, then every pixel with the factors they make.
 *
 * Both go through a picture as it lies in memory, all channels of a pixel at a time. A part's
 * pixels do not depend on the number of threads, so neither do the results: sums of a few pixels
 * stay in f32, those of a part are added up in f64, and each chunk adds up the parts anew. */
#include "dev/cpu/cpu.h"
#include <math.h>
#include <string.h>

enum {
    SUM_BYTES = 16 << 10, /* pixels whose sums stay in f32: they are read channel by channel */
    CHUNK_ELEMS_MIN = 16 << 10,
    CHUNK_ELEMS_MAX = 256 << 10
};

static const float *pixels_at(const cpu_run *r, const dev_tensor *t, int64_t picture, int64_t y,
                              int64_t x) {
    const char *at = cpu_base(r, t) + picture * t->stride[3] + y * t->stride[2] + x * t->stride[1];
    return (const float *)(const void *)at;
}

/* The rest of the line from pixel `from` on, or as far as `to`. */
static int64_t line_end(const dev_tensor *t, int64_t from, int64_t to) {
    return cpu_min(to, (from / t->ne[1] + 1) * t->ne[1]);
}

static int64_t pixel_stride(const dev_tensor *t) {
    return t->stride[1] / (int64_t)sizeof(float);
}

/* ---- sums ---- */

int32_t cpu_group_sums_n_chunks(const cpu_run *r, const cpu_node *n) {
    (void)r;
    return (int32_t)(n->n.out->ne[1] * n->n.out->ne[2]);
}

static int64_t elems(const dev_tensor *t) {
    return t->ne[0] * t->ne[1] * t->ne[2] * t->ne[3];
}

double cpu_group_sums_ns(const cpu_run *r, const cpu_node *n) {
    (void)r;
    return (double)elems(n->n.in[0]) * 0.15;
}

uint64_t cpu_group_sums_scratch(const cpu_program *p, const cpu_node *n) {
    (void)p;
    return 2 * (uint64_t)n->n.in[0]->ne[0] * sizeof(float) +
           (uint64_t)n->n.out->ne[0] * sizeof(double);
}

/* Adds channels' sums to those of their groups, n channels each. */
static void add_to_groups(double *of_groups, int64_t n_groups, const float *of_channels,
                          int64_t n) {
    for (int64_t g = 0; g < n_groups; g++)
        for (int64_t c = 0; c < n; c++) of_groups[g] += (double)*of_channels++;
}

void cpu_group_sums_run(cpu_run *r, const cpu_node *cn, int32_t chunk, int32_t thread) {
    const dev_tensor *x = cn->n.in[0], *out = cn->n.out;
    const int64_t C = x->ne[0], X = x->ne[1], pixels = X * x->ne[2], groups = out->ne[0] / 2;
    const int64_t parts = out->ne[1], picture = chunk / parts, part = chunk % parts;
    const int64_t most = cpu_max(4, SUM_BYTES / (C * (int64_t)sizeof(float)));
    const int64_t to = pixels * (part + 1) / parts;
    double *sums = cpu_scratch(r, thread);
    float *few = (float *)(void *)(sums + 2 * groups);
    memset(sums, 0, (size_t)(2 * groups) * sizeof *sums);
    for (int64_t i = pixels * part / parts, n; i < to; i += n) {
        n = cpu_min(most, line_end(x, i, to) - i);
        memset(few, 0, (size_t)(2 * C) * sizeof *few);
        r->p->d->gemm->norm_sums(few, few + C, pixels_at(r, x, picture, i / X, i % X),
                                 pixel_stride(x), n, C);
        add_to_groups(sums, 2 * groups, few, C / groups);
    }
    float *to_sums = (float *)(void *)cpu_row(out, cpu_base(r, out), chunk);
    for (int64_t g = 0; g < 2 * groups; g++) to_sums[g] = (float)sums[g];
}

/* ---- the norm ---- */

static int64_t pixels_per_chunk(const dev_node *n, int64_t n_threads) {
    const dev_tensor *x = n->in[0];
    int64_t some = elems(x) / (4 * n_threads);
    some = cpu_max(CHUNK_ELEMS_MIN, cpu_min(CHUNK_ELEMS_MAX, some));
    return cpu_max(1, cpu_min(some / x->ne[0], x->ne[1] * x->ne[2]));
}

static int64_t chunks_per_picture(const dev_node *n, int64_t n_threads) {
    return cpu_div_up(n->in[0]->ne[1] * n->in[0]->ne[2], pixels_per_chunk(n, n_threads));
}

int32_t cpu_group_norm_n_chunks(const cpu_run *r, const cpu_node *n) {
    return (int32_t)(chunks_per_picture(&n->n, r->p->d->n_threads) * n->n.in[0]->ne[3]);
}

double cpu_group_norm_ns(const cpu_run *r, const cpu_node *n) {
    (void)r;
    return (double)elems(n->n.in[0]) * 0.4;
}

uint64_t cpu_group_norm_scratch(const cpu_program *p, const cpu_node *n) {
    (void)p;
    return 2 * (uint64_t)n->n.out->ne[0] * sizeof(float);
}

/* Of one group's channels; in: the first's weight and bias or NULL. */
static void group_factors(float *scale, float *shift, int64_t n, const float *w, const float *b,
                          double mean, double inv) {
    for (int64_t c = 0; c < n; c++) {
        double by = inv * (w ? (double)w[c] : 1);
        scale[c] = (float)by;
        shift[c] = (float)((b ? (double)b[c] : 0) - mean * by);
    }
}

/* scale[C], then shift[C] of a picture. */
static void find_factors(const cpu_run *r, const dev_node *n, int64_t picture, float *scale) {
    const dev_tensor *x = n->in[0], *sums = n->in[4];
    const int64_t C = x->ne[0], groups = n->params.conv.n_groups, per = C / groups;
    if (n->in[3]) {
        const float *given = (const float *)(void *)cpu_base(r, n->in[3]);
        memcpy(scale, given + n->params.conv.from, (size_t)(2 * C) * sizeof *scale);
        return;
    }
    const float *of = (const float *)(void *)(cpu_base(r, sums) + picture * sums->stride[2]);
    const float *w = n->in[1] ? (const float *)n->in[1]->data : NULL;
    const float *b = n->in[2] ? (const float *)n->in[2]->data : NULL;
    const double count = (double)(per * x->ne[1] * x->ne[2]);
    for (int64_t g = 0; g < groups; g++) {
        double sum = 0, square = 0;
        for (int64_t i = 0; i < sums->ne[1]; i++) {
            sum += (double)of[i * 2 * groups + g];
            square += (double)of[(i * 2 + 1) * groups + g];
        }
        double mean = sum / count, var = square / count - mean * mean;
        double inv = 1 / sqrt((var < 0 ? 0 : var) + (double)n->params.conv.eps); /* NaN stays */
        group_factors(scale + g * per, scale + C + g * per, per, w ? w + g * per : NULL,
                      b ? b + g * per : NULL, mean, inv);
    }
}

void cpu_group_norm_run(cpu_run *r, const cpu_node *cn, int32_t chunk, int32_t thread) {
    const dev_node *n = &cn->n;
    const dev_tensor *x = n->in[0], *out = n->out;
    const int64_t per_picture = chunks_per_picture(n, r->p->d->n_threads);
    const int64_t per_chunk = pixels_per_chunk(n, r->p->d->n_threads), X = x->ne[1];
    const int64_t picture = chunk / per_picture, first = chunk % per_picture * per_chunk;
    const int64_t to = cpu_min(first + per_chunk, X * x->ne[2]);
    const int64_t out_elem = out->type == DTYPE_BF16 ? sizeof(uint16_t) : sizeof(float);
    float *scale = cpu_scratch(r, thread);
    find_factors(r, n, picture, scale);
    for (int64_t i = first, end; i < to; i = end) {
        end = line_end(x, i, to);
        char *dst = cpu_base(r, out) + picture * out->stride[3] + i / X * out->stride[2] +
                    i % X * out->stride[1];
        kern_norm_apply j = {.out = dst,
                             .x = pixels_at(r, x, picture, i / X, i % X),
                             .out_stride = out->stride[1] / out_elem,
                             .x_stride = pixel_stride(x),
                             .n = end - i,
                             .c = x->ne[0],
                             .scale = scale,
                             .shift = scale + x->ne[0],
                             .silu = n->params.conv.silu};
        if (out->type == DTYPE_BF16)
            r->p->d->gemm->norm_apply_bf16(&j);
        else
            r->p->d->gemm->norm_apply(&j);
    }
}
