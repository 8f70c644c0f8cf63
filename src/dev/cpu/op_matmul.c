/* Matrix multiplication: plain fallback. */
#include "base/mem.h"
#include "dev/cpu/cpu.h"
#include <assert.h>
#include <string.h>

enum { ROWS_PER_CHUNK = 16 };

int32_t cpu_matmul_n_chunks(const cpu_run *r, const cpu_node *n) {
    if (cpu_live(r, n->n.out) == 0) return 0;
    return (int32_t)cpu_div_up(n->n.out->ne[0], ROWS_PER_CHUNK);
}

double cpu_matmul_ns(const cpu_run *r, const cpu_node *n) {
    return (double)(n->n.in[0]->ne[0] * n->n.in[0]->ne[1]) * 0.05 * (double)cpu_live(r, n->n.out);
}

uint64_t cpu_matmul_scratch(const cpu_program *p, const cpu_node *n) {
    (void)p;
    return (uint64_t)n->n.in[0]->ne[0] * sizeof(float);
}

static float dot(const float *a, const float *b, int64_t n) {
    double s = 0;
    for (int64_t i = 0; i < n; i++) s += (double)a[i] * (double)b[i];
    return (float)s;
}

void cpu_matmul_run(cpu_run *r, const cpu_node *n, int32_t chunk, int32_t thread) {
    const dev_tensor *w = n->n.in[0], *x = n->n.in[1], *out = n->n.out, *res = n->n.in[3];
    const float *bias = n->n.in[2] ? n->n.in[2]->data : NULL;
    float *wrow = cpu_scratch(r, thread);
    int64_t from = (int64_t)chunk * ROWS_PER_CHUNK;
    int64_t to = cpu_min(from + ROWS_PER_CHUNK, out->ne[0]), T = cpu_live(r, out);
    for (int64_t i = from; i < to; i++) {
        dequant_row(w->type, (const char *)w->data + i * w->stride[1], wrow, w->ne[0]);
        for (int64_t t = 0; t < T; t++) {
            float v = dot(wrow, (const float *)cpu_row(x, cpu_base(r, x), t), w->ne[0]);
            if (bias) v += bias[i];
            if (res) v += ((const float *)cpu_row(res, cpu_base(r, res), t))[i];
            ((float *)cpu_row(out, cpu_base(r, out), t))[i] = v;
        }
    }
}

int32_t cpu_matmul_id_n_chunks(const cpu_run *r, const cpu_node *n) {
    if (cpu_live(r, n->n.out) == 0) return 0;
    return (int32_t)cpu_div_up(n->n.out->ne[0], ROWS_PER_CHUNK);
}
double cpu_matmul_id_ns(const cpu_run *r, const cpu_node *n) {
    return cpu_matmul_ns(r, n);
}
uint64_t cpu_matmul_id_scratch(const cpu_program *p, const cpu_node *n) {
    return cpu_matmul_scratch(p, n);
}

void cpu_matmul_id_run(cpu_run *r, const cpu_node *n, int32_t chunk, int32_t thread) {
    const dev_tensor *w = n->n.in[0], *x = n->n.in[1], *ids = n->n.in[2], *out = n->n.out;
    const float *bias = n->n.in[3] ? n->n.in[3]->data : NULL;
    float *wrow = cpu_scratch(r, thread);
    int64_t from = (int64_t)chunk * ROWS_PER_CHUNK;
    int64_t to = cpu_min(from + ROWS_PER_CHUNK, out->ne[0]), T = cpu_live(r, out), U = out->ne[1];
    bool per = x->n_dims == 3 && x->ne[1] > 1;
    for (int64_t t = 0; t < T; t++)
        for (int64_t u = 0; u < U; u++) {
            int64_t e = ((const int32_t *)cpu_row(ids, cpu_base(r, ids), t))[u];
            const float *xr = (const float *)cpu_row(x, cpu_base(r, x), per ? t * U + u : t);
            float *o = (float *)cpu_row(out, cpu_base(r, out), t * U + u);
            for (int64_t i = from; i < to; i++) {
                dequant_row(w->type, (const char *)w->data + e * w->stride[2] + i * w->stride[1],
                            wrow, w->ne[0]);
                o[i] = dot(wrow, xr, w->ne[0]) + (bias ? bias[e * out->ne[0] + i] : 0.0f);
            }
        }
}
