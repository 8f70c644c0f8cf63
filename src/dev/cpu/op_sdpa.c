/* Attention between pictures' tokens and themselves or a context.
 *
 * A chunk is a block of queries of one head of one picture. Its scores against all keys are one
 * product (keys as the matrix), then softmax, then a product with the values turned over; scores
 * exist for one block only. */
#include "base/mem.h"
#include "dev/cpu/cpu.h"
#include <math.h>

enum { SCORE_BYTES = 512 << 10, QUERIES_MIN = 8, QUERIES_MAX = 128 };

static int64_t queries_per_chunk(const cpu_node *n) {
    int64_t S = n->n.in[1]->ne[2], T = n->n.in[0]->ne[2];
    int64_t fit = SCORE_BYTES / (S * (int64_t)sizeof(float)) / QUERIES_MIN * QUERIES_MIN;
    return cpu_min(T, cpu_max(QUERIES_MIN, cpu_min(QUERIES_MAX, fit)));
}

static int64_t blocks(const cpu_node *n) {
    return cpu_div_up(n->n.in[0]->ne[2], queries_per_chunk(n));
}

int32_t cpu_sdpa_n_chunks(const cpu_run *r, const cpu_node *n) {
    (void)r;
    return (int32_t)(blocks(n) * n->n.in[0]->ne[1] * n->n.in[0]->ne[3]);
}

double cpu_sdpa_ns(const cpu_run *r, const cpu_node *n) {
    (void)r;
    const dev_tensor *q = n->n.in[0], *k = n->n.in[1];
    return (double)(q->ne[0] * q->ne[1] * q->ne[2] * q->ne[3]) * (double)k->ne[2] * 0.06;
}

static uint64_t up64(uint64_t n) {
    return (n + 63) & ~(uint64_t)63;
}

uint64_t cpu_sdpa_scratch(const cpu_program *p, const cpu_node *n) {
    (void)p;
    int64_t S = n->n.in[1]->ne[2], Q = queries_per_chunk(n), K = n->n.in[0]->ne[0];
    uint64_t a = kern_mat_scratch_bytes(K, Q), b = kern_mat_scratch_bytes(S, Q);
    return up64((uint64_t)(S * Q) * 4) + up64((uint64_t)(S * n->n.in[2]->ne[0]) * 4) +
           (a > b ? a : b) + 64;
}

void cpu_sdpa_run(cpu_run *r, const cpu_node *cn, int32_t chunk, int32_t thread) {
    const dev_tensor *q = cn->n.in[0], *k = cn->n.in[1], *v = cn->n.in[2], *out = cn->n.out;
    int64_t Q = queries_per_chunk(cn), n_blocks = blocks(cn), H = q->ne[1], S = k->ne[2];
    int64_t block = chunk % n_blocks, h = chunk / n_blocks % H, b = chunk / n_blocks / H;
    int64_t first = block * Q, n_q = cpu_min(Q, q->ne[2] - first), Kv = v->ne[0];
    bool causal = cn->n.params.sdpa.causal;
    char *mem = cpu_scratch(r, thread);
    float *scores = (float *)(void *)mem,
          *turned = (float *)(void *)(mem + up64((uint64_t)(S * Q) * 4));
    char *rest = (char *)turned + up64((uint64_t)(S * Kv) * 4);
    const kern_vec *vec = r->p->d->vec;
    const char *values = cpu_base(r, v) + b * v->stride[3] + h * v->stride[1];
    kern_mat_job j = {.w = cpu_base(r, k) + b * k->stride[3] + h * k->stride[1],
                      .w_stride = k->stride[2],
                      .k = k->ne[0],
                      .to = S,
                      .x = cpu_base(r, q) + b * q->stride[3] + h * q->stride[1] +
                           first * q->stride[2],
                      .x_stride = q->stride[2],
                      .n_cols = n_q,
                      .out = scores,
                      .out_stride = S * (int64_t)sizeof(float)};
    r->p->d->mat->mul[DTYPE_F32](&j, rest);
    for (int64_t i = 0; i < n_q; i++) {
        float *row = scores + i * S;
        int64_t seen = causal ? cpu_min(S, first + i + 1) : S;
        vec->scale(row, row, seen, cn->n.params.sdpa.scale, 0);
        vec->softmax(row, row, seen);
        for (int64_t s = seen; s < S; s++) row[s] = 0;
    }
    for (int64_t s = 0; s < S; s++) {
        const float *from = (const float *)(const void *)(values + s * v->stride[2]);
        for (int64_t d = 0; d < Kv; d++) turned[d * S + s] = from[d];
    }
    kern_mat_job w = {.w = turned,
                      .w_stride = S * (int64_t)sizeof(float),
                      .k = S,
                      .to = Kv,
                      .x = scores,
                      .x_stride = S * (int64_t)sizeof(float),
                      .n_cols = n_q,
                      .out = (float *)(void *)(cpu_base(r, out) + b * out->stride[2] +
                                               first * out->stride[1] + h * Kv * 4),
                      .out_stride = out->stride[1]};
    r->p->d->mat->mul[DTYPE_F32](&w, rest);
}
