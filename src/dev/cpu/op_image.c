/* Picture operations that move pixels: upsampling, joining channels. */
#include "dev/cpu/cpu.h"
#include <math.h>
#include <string.h>

static double copy_ns(const cpu_run *r, const cpu_node *n) {
    return (double)(n->n.out->ne[0] * cpu_rows(r, n->n.out)) * 0.3;
}

int32_t cpu_upsample2x_n_chunks(const cpu_run *r, const cpu_node *n) {
    return cpu_copy_chunks(r, n);
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
    int64_t per = cpu_copy_rows(out), from = chunk * per, X = out->ne[1], Y = out->ne[2];
    int64_t to = cpu_min(from + per, cpu_rows(r, out));
    for (int64_t i = from; i < to; i++) {
        int64_t ox = i % X, oy = i / X % Y, b = i / X / Y;
        int64_t in = (b * x->ne[2] + oy / 2) * x->ne[1] + ox / 2;
        memcpy(cpu_row(out, cpu_base(r, out), i), cpu_row(x, cpu_base(r, x), in),
               (size_t)x->ne[0] * sizeof(float));
    }
}

int32_t cpu_concat_n_chunks(const cpu_run *r, const cpu_node *n) {
    return cpu_copy_chunks(r, n);
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
    int64_t per = cpu_copy_rows(out), from = chunk * per;
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
