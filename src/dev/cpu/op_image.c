/* Picture operations that are not products: group norm, upsampling, joining channels. */
#include "base/mem.h"
#include "dev/cpu/cpu.h"
#include <math.h>
#include <string.h>

/* ---- group norm ---- */

/* Channels that one chunk takes: whole groups, a few cache lines wide. Sums of so many pixels stay
 * in f32 before they are added up in f64. */
enum { NORM_CHANNELS = 64, NORM_CHANNELS_MIN = 16, NORM_PIXELS = 64 };

static int64_t groups_per_chunk(const dev_node *n, int64_t n_threads) {
    int64_t groups = n->params.conv.n_groups, per_group = n->in[0]->ne[0] / groups;
    int64_t per = cpu_min(groups, cpu_max(1, NORM_CHANNELS / per_group));
    while (cpu_div_up(groups, per) * n->out->ne[3] < 2 * n_threads &&
           per / 2 * per_group >= NORM_CHANNELS_MIN)
        per /= 2;
    return per;
}

int32_t cpu_group_norm_n_chunks(const cpu_run *r, const cpu_node *n) {
    int64_t per = groups_per_chunk(&n->n, r->p->d->n_threads);
    return (int32_t)(cpu_div_up(n->n.params.conv.n_groups, per) * n->n.out->ne[3]);
}

double cpu_group_norm_ns(const cpu_run *r, const cpu_node *n) {
    return (double)(n->n.out->ne[0] * cpu_rows(r, n->n.out)) * 0.5;
}

uint64_t cpu_group_norm_scratch(const cpu_program *p, const cpu_node *n) {
    (void)p;
    return 4 * (uint64_t)n->n.out->ne[0] * sizeof(float);
}

typedef struct norm_job {
    const kern_gemm *gemm;
    const char *in;
    char *out;
    int64_t C, X, Y;                  /* C: channels of the chunk; lines of X pixels */
    int64_t in_x, in_y, out_x, out_y; /* strides, bytes */
    int64_t per_group;
    float *scale, *shift, *sum, *square; /* [C] */
} norm_job;

/* Sums of each group over all pixels. */
static void norm_stats(const norm_job *j, double *sum, double *square) {
    int64_t n_groups = j->C / j->per_group;
    for (int64_t g = 0; g < n_groups; g++) sum[g] = square[g] = 0;
    for (int64_t y = 0; y < j->Y; y++)
        for (int64_t x = 0; x < j->X; x += NORM_PIXELS) {
            memset(j->sum, 0, (size_t)j->C * sizeof(float));
            memset(j->square, 0, (size_t)j->C * sizeof(float));
            const char *px = j->in + y * j->in_y + x * j->in_x;
            j->gemm->norm_sums(j->sum, j->square, (const float *)(const void *)px,
                               j->in_x / (int64_t)sizeof(float), cpu_min(NORM_PIXELS, j->X - x),
                               j->C);
            for (int64_t c = 0; c < j->C; c++) {
                sum[c / j->per_group] += (double)j->sum[c];
                square[c / j->per_group] += (double)j->square[c];
            }
        }
}

static void norm_apply(const norm_job *j, bool silu) {
    for (int64_t y = 0; y < j->Y; y++)
        j->gemm->norm_apply(
            &(kern_norm_apply){.out = (float *)(void *)(j->out + y * j->out_y),
                               .x = (const float *)(const void *)(j->in + y * j->in_y),
                               .out_stride = j->out_x / (int64_t)sizeof(float),
                               .x_stride = j->in_x / (int64_t)sizeof(float),
                               .n = j->X,
                               .c = j->C,
                               .scale = j->scale,
                               .shift = j->shift,
                               .silu = silu});
}

void cpu_group_norm_run(cpu_run *r, const cpu_node *cn, int32_t chunk, int32_t thread) {
    const dev_node *n = &cn->n;
    const dev_tensor *x = n->in[0], *out = n->out;
    int64_t groups = n->params.conv.n_groups;
    int64_t per_chunk = groups_per_chunk(n, r->p->d->n_threads);
    int64_t per_picture = cpu_div_up(groups, per_chunk), picture = chunk / per_picture;
    int64_t first = chunk % per_picture * per_chunk, n_groups = cpu_min(per_chunk, groups - first);
    int64_t per_group = x->ne[0] / groups, c0 = first * per_group;
    norm_job j = {.gemm = r->p->d->gemm,
                  .in = cpu_base(r, x) + picture * x->stride[3] + c0 * 4,
                  .out = cpu_base(r, out) + picture * out->stride[3] + c0 * 4,
                  .C = n_groups * per_group,
                  .X = x->ne[1],
                  .Y = x->ne[2],
                  .in_x = x->stride[1],
                  .in_y = x->stride[2],
                  .out_x = out->stride[1],
                  .out_y = out->stride[2],
                  .per_group = per_group,
                  .scale = cpu_scratch(r, thread)};
    j.shift = j.scale + j.C;
    j.sum = j.shift + j.C;
    j.square = j.sum + j.C;
    if (n->in[3]) {
        const float *given = (const float *)(void *)cpu_base(r, n->in[3]) + n->params.conv.from;
        memcpy(j.scale, given + c0, (size_t)j.C * sizeof(float));
        memcpy(j.shift, given + x->ne[0] + c0, (size_t)j.C * sizeof(float));
        norm_apply(&j, n->params.conv.silu);
        return;
    }
    double sum[NORM_CHANNELS], square[NORM_CHANNELS];
    norm_stats(&j, sum, square);
    const float *w = n->in[1] ? (const float *)n->in[1]->data + c0 : NULL;
    const float *b = n->in[2] ? (const float *)n->in[2]->data + c0 : NULL;
    double count = (double)(per_group * j.X * j.Y);
    for (int64_t c = 0; c < j.C; c++) {
        double mean = sum[c / per_group] / count;
        double var = square[c / per_group] / count - mean * mean;
        double inv = 1 / sqrt((var < 0 ? 0 : var) + (double)n->params.conv.eps); /* NaN stays */
        j.scale[c] = (float)(inv * (w ? (double)w[c] : 1));
        j.shift[c] = (float)((b ? (double)b[c] : 0) - mean * inv * (w ? (double)w[c] : 1));
    }
    norm_apply(&j, n->params.conv.silu);
}

/* ---- rows of pixels ---- */

enum { ROW_BYTES = 32 << 10 };

static int64_t rows_per_chunk(const dev_tensor *out) {
    return cpu_max(1, ROW_BYTES / (out->ne[0] * 4));
}

static int32_t row_chunks(const cpu_run *r, const cpu_node *n) {
    return (int32_t)cpu_div_up(cpu_rows(r, n->n.out), rows_per_chunk(n->n.out));
}

static double copy_ns(const cpu_run *r, const cpu_node *n) {
    return (double)(n->n.out->ne[0] * cpu_rows(r, n->n.out)) * 0.3;
}

int32_t cpu_upsample2x_n_chunks(const cpu_run *r, const cpu_node *n) {
    return row_chunks(r, n);
}
double cpu_upsample2x_ns(const cpu_run *r, const cpu_node *n) {
    return copy_ns(r, n);
}
uint64_t cpu_upsample2x_scratch(const cpu_program *p, const cpu_node *n) {
    (void)p, (void)n;
    return 64;
}

void cpu_upsample2x_run(cpu_run *r, const cpu_node *cn, int32_t chunk, int32_t thread) {
    (void)thread;
    const dev_tensor *x = cn->n.in[0], *out = cn->n.out;
    int64_t per = rows_per_chunk(out), from = chunk * per, X = out->ne[1], Y = out->ne[2];
    int64_t to = cpu_min(from + per, cpu_rows(r, out));
    for (int64_t i = from; i < to; i++) {
        int64_t ox = i % X, oy = i / X % Y, b = i / X / Y;
        int64_t in = (b * x->ne[2] + oy / 2) * x->ne[1] + ox / 2;
        memcpy(cpu_row(out, cpu_base(r, out), i), cpu_row(x, cpu_base(r, x), in),
               (size_t)x->ne[0] * sizeof(float));
    }
}

int32_t cpu_concat_n_chunks(const cpu_run *r, const cpu_node *n) {
    return row_chunks(r, n);
}
double cpu_concat_ns(const cpu_run *r, const cpu_node *n) {
    return copy_ns(r, n);
}
uint64_t cpu_concat_scratch(const cpu_program *p, const cpu_node *n) {
    (void)p, (void)n;
    return 64;
}

void cpu_concat_run(cpu_run *r, const cpu_node *cn, int32_t chunk, int32_t thread) {
    (void)thread;
    const dev_tensor *a = cn->n.in[0], *b = cn->n.in[1], *out = cn->n.out;
    int64_t per = rows_per_chunk(out), from = chunk * per;
    int64_t to = cpu_min(from + per, cpu_rows(r, out));
    for (int64_t i = from; i < to; i++) {
        float *dst = (float *)(void *)cpu_row(out, cpu_base(r, out), i);
        memcpy(dst, cpu_row(a, cpu_base(r, a), i), (size_t)a->ne[0] * sizeof(float));
        memcpy(dst + a->ne[0], cpu_row(b, cpu_base(r, b), i), (size_t)b->ne[0] * sizeof(float));
    }
}

/* ---- other sizes ---- */

int32_t cpu_resize_n_chunks(const cpu_run *r, const cpu_node *n) {
    (void)r;
    return (int32_t)n->n.out->ne[3];
}
double cpu_resize_ns(const cpu_run *r, const cpu_node *n) {
    return (copy_ns(r, n) + (double)(n->n.in[0]->ne[1] * n->n.in[0]->ne[2] * n->n.in[0]->ne[0])) *
           5;
}
uint64_t cpu_resize_scratch(const cpu_program *p, const cpu_node *n) {
    (void)p, (void)n;
    return 64;
}

/* A picture for whose rows there is no memory is not a number: the job's end says so. */
void cpu_resize_run(cpu_run *r, const cpu_node *cn, int32_t chunk, int32_t thread) {
    (void)thread;
    const dev_tensor *x = cn->n.in[0], *out = cn->n.out;
    resize_dims from = {1, (size_t)x->ne[2], (size_t)x->ne[1], (size_t)x->ne[0], false};
    resize_target to = {cn->n.params.resize.method, (size_t)out->ne[2], (size_t)out->ne[1]};
    float *dst = (float *)(void *)(cpu_base(r, out) + chunk * out->stride[3]);
    const float *src = (const float *)(void *)(cpu_base(r, x) + chunk * x->stride[3]);
    err e;
    if (resize(src, &from, to, dst, &e))
        for (int64_t i = 0; i < out->ne[0] * out->ne[1] * out->ne[2]; i++) dst[i] = NAN;
}
