/* SDPA_MASS: what all queries of a picture together give to each of its keys. One chunk is one
 * picture; products are in f32. */
#include "dev/cpu/cpu.h"
#include <string.h>

enum { COLS = KERN_GEMM_COLS, ROWS = KERN_GEMM_ROWS };

int32_t cpu_sdpa_mass_n_chunks(const cpu_run *r, const cpu_node *n) {
    (void)r;
    return (int32_t)n->n.out->ne[1];
}
double cpu_sdpa_mass_ns(const cpu_run *r, const cpu_node *n) {
    (void)r;
    return (double)(n->n.in[0]->ne[0] * n->n.in[0]->ne[1] * n->n.in[0]->ne[2] * n->n.in[0]->ne[3]) *
           (double)n->n.in[1]->ne[2] * 0.05;
}
uint64_t cpu_sdpa_mass_scratch(const cpu_program *p, const cpu_node *n) {
    (void)p;
    int64_t K = n->n.in[0]->ne[0], S = cpu_div_up(n->n.out->ne[0], COLS) * COLS;
    return (uint64_t)(S * K + kern_gemm_a_floats(ROWS, K) + S * ROWS) * sizeof(float);
}

/* Adds the weights of one head's queries; mem is the scratch. */
static void add_mass(const cpu_run *r, const dev_node *n, const char *q, const char *k, float *mem,
                     float *sum) {
    const dev_tensor *tq = n->in[0], *tk = n->in[1];
    int64_t K = tq->ne[0], T = tq->ne[2], S = tk->ne[2], wide = cpu_div_up(S, COLS) * COLS;
    const kern_gemm *gemm = r->p->d->gemm;
    const kern_vec *vec = r->p->d->vec;
    float *a = mem + wide * K, *s = a + kern_gemm_a_floats(ROWS, K);
    for (int64_t c = 0; c < S; c += COLS)
        gemm->pack_cols(mem + c * K, &(kern_gemm_cols){.w = k + c * tk->stride[2],
                                                       .stride = tk->stride[2],
                                                       .type = DTYPE_F32,
                                                       .cols = (int32_t)cpu_min(COLS, S - c),
                                                       .k = K});
    for (int64_t i = 0; i < T; i += ROWS) {
        int32_t rows = (int32_t)cpu_min(ROWS, T - i);
        gemm->pack_rows(a, (const float *)(const void *)(q + i * tq->stride[2]),
                        tq->stride[2] / (int64_t)sizeof(float), rows, K);
        for (int64_t c = 0; c < S; c += COLS)
            gemm->mul(&(kern_gemm_tile){.a = a,
                                        .b = mem + c * K,
                                        .k = K,
                                        .rows = rows,
                                        .cols = (int32_t)cpu_min(COLS, S - c),
                                        .out = s + c,
                                        .out_stride = wide,
                                        .out_half = KERN_GEMM_BLOCK});
        for (int32_t m = 0; m < rows; m++) {
            float *w = s + m * wide;
            vec->scale(w, w, S, n->params.sdpa.scale, 0);
            vec->softmax(w, w, S);
            vec->add(sum, sum, w, S);
        }
    }
}

void cpu_sdpa_mass_run(cpu_run *r, const cpu_node *cn, int32_t chunk, int32_t thread) {
    const dev_tensor *q = cn->n.in[0], *k = cn->n.in[1];
    int64_t H = q->ne[1], S = k->ne[2];
    float *sum = (float *)(void *)cpu_row(cn->n.out, cpu_base(r, cn->n.out), chunk);
    memset(sum, 0, (size_t)S * sizeof *sum);
    for (int64_t h = 0; h < H && !cpu_is_cancelled(r); h++)
        add_mass(r, &cn->n, cpu_base(r, q) + chunk * q->stride[3] + h * q->stride[1],
                 cpu_base(r, k) + chunk * k->stride[3] + h * k->stride[1], cpu_scratch(r, thread),
                 sum);
    r->p->d->vec->scale(sum, sum, S, 1 / (float)H, 0);
}
