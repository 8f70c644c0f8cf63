/* Picture operations that are not products: group norm, upsampling, joining channels. */
#include "base/mem.h"
#include "dev/cpu/cpu.h"
#include <math.h>
#include <string.h>

/* ---- group norm ---- */

/* Channels that one chunk takes: whole groups, at least a few cache lines wide. */
enum { NORM_CHANNELS = 64 };

static int64_t groups_per_chunk(const cpu_node *n) {
    int64_t per_group = n->n.in[0]->ne[0] / n->n.params.conv.n_groups;
    return cpu_min(n->n.params.conv.n_groups, cpu_max(1, NORM_CHANNELS / per_group));
}

int32_t cpu_group_norm_n_chunks(const cpu_run *r, const cpu_node *n) {
    (void)r;
    int64_t per_picture = cpu_div_up(n->n.params.conv.n_groups, groups_per_chunk(n));
    return (int32_t)(per_picture * n->n.out->ne[3]);
}

double cpu_group_norm_ns(const cpu_run *r, const cpu_node *n) {
    return (double)(n->n.out->ne[0] * cpu_rows(r, n->n.out)) * 1.2;
}

uint64_t cpu_group_norm_scratch(const cpu_program *p, const cpu_node *n) {
    (void)p;
    return 4 * (uint64_t)n->n.out->ne[0] * sizeof(float);
}

typedef struct norm_job {
    const char *in;
    char *out;
    int64_t C, X, Y;                  /* C: channels of the chunk */
    int64_t in_x, in_y, out_x, out_y; /* strides */
    int64_t per_group;
} norm_job;

/* Mean and deviation of each group from sums over all pixels, row by row so that float sums stay
 * short; scale and shift per channel. */
static void norm_stats(const norm_job *j, double *sum, double *square) {
    int64_t n_groups = j->C / j->per_group;
    for (int64_t g = 0; g < n_groups; g++) sum[g] = square[g] = 0;
    for (int64_t y = 0; y < j->Y; y++)
        for (int64_t x = 0; x < j->X; x++) {
            const float *px = (const float *)(const void *)(j->in + y * j->in_y + x * j->in_x);
            for (int64_t g = 0; g < n_groups; g++) {
                float s = 0, q = 0;
                for (int64_t c = g * j->per_group; c < (g + 1) * j->per_group; c++) {
                    s += px[c];
                    q += px[c] * px[c];
                }
                sum[g] += (double)s;
                square[g] += (double)q;
            }
        }
}

static void norm_apply(const cpu_run *r, const norm_job *j, const float *scale, const float *shift,
                       bool silu) {
    for (int64_t y = 0; y < j->Y; y++)
        for (int64_t x = 0; x < j->X; x++) {
            const float *px = (const float *)(const void *)(j->in + y * j->in_y + x * j->in_x);
            float *to = (float *)(void *)(j->out + y * j->out_y + x * j->out_x);
            for (int64_t c = 0; c < j->C; c++) to[c] = px[c] * scale[c] + shift[c];
            if (silu) r->p->d->vec->act(to, to, j->C, KERN_ACT_SILU);
        }
}

void cpu_group_norm_run(cpu_run *r, const cpu_node *cn, int32_t chunk, int32_t thread) {
    const dev_node *n = &cn->n;
    const dev_tensor *x = n->in[0], *out = n->out;
    int64_t groups = n->params.conv.n_groups, per_chunk = groups_per_chunk(cn);
    int64_t per_picture = cpu_div_up(groups, per_chunk), picture = chunk / per_picture;
    int64_t first = chunk % per_picture * per_chunk, n_groups = cpu_min(per_chunk, groups - first);
    int64_t per_group = x->ne[0] / groups, c0 = first * per_group;
    norm_job j = {.in = cpu_base(r, x) + picture * x->stride[3] + c0 * 4,
                  .out = cpu_base(r, out) + picture * out->stride[3] + c0 * 4,
                  .C = n_groups * per_group,
                  .X = x->ne[1],
                  .Y = x->ne[2],
                  .in_x = x->stride[1],
                  .in_y = x->stride[2],
                  .out_x = out->stride[1],
                  .out_y = out->stride[2],
                  .per_group = per_group};
    double sum[NORM_CHANNELS], square[NORM_CHANNELS];
    norm_stats(&j, sum, square);
    float *scale = cpu_scratch(r, thread), *shift = scale + j.C;
    const float *w = n->in[1] ? (const float *)n->in[1]->data + c0 : NULL;
    const float *b = n->in[2] ? (const float *)n->in[2]->data + c0 : NULL;
    double count = (double)(per_group * j.X * j.Y);
    for (int64_t c = 0; c < j.C; c++) {
        double mean = sum[c / per_group] / count;
        double var = fmax(0, square[c / per_group] / count - mean * mean);
        double inv = 1 / sqrt(var + (double)n->params.conv.eps);
        scale[c] = (float)(inv * (w ? (double)w[c] : 1));
        shift[c] = (float)((b ? (double)b[c] : 0) - mean * inv * (w ? (double)w[c] : 1));
    }
    norm_apply(r, &j, scale, shift, n->params.conv.silu);
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
