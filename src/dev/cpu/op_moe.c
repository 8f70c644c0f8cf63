/* Small operations: choosing experts, mixing their results, pooling. One chunk per few tokens. */
#include "dev/cpu/cpu.h"
#include <assert.h>
#include <math.h>
#include <string.h>

enum { TOKENS_PER_CHUNK = 16 };

static int32_t token_chunks(const cpu_run *r, const dev_tensor *out) {
    return (int32_t)cpu_div_up(cpu_live(r, out), TOKENS_PER_CHUNK);
}

typedef struct span {
    int64_t from, to;
} span;

static span token_span(const cpu_run *r, const dev_tensor *out, int32_t chunk) {
    int64_t from = (int64_t)chunk * TOKENS_PER_CHUNK;
    return (span){from, cpu_min(from + TOKENS_PER_CHUNK, cpu_live(r, out))};
}

/* ---- top k ---- */

int32_t cpu_top_k_n_chunks(const cpu_run *r, const cpu_node *n) {
    return token_chunks(r, n->n.out);
}

double cpu_top_k_ns(const cpu_run *r, const cpu_node *n) {
    return (double)(n->n.in[0]->ne[0] * n->n.out->ne[0] * cpu_live(r, n->n.out)) * 0.5;
}

uint64_t cpu_top_k_scratch(const cpu_program *p, const cpu_node *n) {
    (void)p, (void)n;
    return 0;
}

static bool is_before(const float *row, int64_t a, int64_t b) { /* ties to the lower id; NaN last */
    bool nan_a = isnan(row[a]), nan_b = isnan(row[b]);
    if (nan_a || nan_b) return nan_a == nan_b ? a < b : nan_b;
    return row[a] > row[b] || (row[a] == row[b] && a < b);
}

void cpu_top_k_run(cpu_run *r, const cpu_node *n, int32_t chunk, int32_t thread) {
    (void)thread;
    const dev_tensor *a = n->n.in[0], *out = n->n.out;
    char *a_base = cpu_base(r, a), *out_base = cpu_base(r, out);
    span s = token_span(r, out, chunk);
    for (int64_t t = s.from; t < s.to; t++) {
        const float *row = (const float *)cpu_row(a, a_base, t);
        int32_t *ids = (int32_t *)cpu_row(out, out_base, t);
        int64_t have = 0;
        for (int64_t e = 0; e < a->ne[0]; e++) { /* insertion into the sorted best */
            int64_t at = have;
            while (at > 0 && is_before(row, e, ids[at - 1])) at--;
            if (at == out->ne[0]) continue;
            if (have < out->ne[0]) have++;
            memmove(ids + at + 1, ids + at, (size_t)(have - at - 1) * sizeof *ids);
            ids[at] = (int32_t)e;
        }
    }
}

/* ---- weights and sum ---- */

int32_t cpu_moe_weights_n_chunks(const cpu_run *r, const cpu_node *n) {
    return token_chunks(r, n->n.out);
}

double cpu_moe_weights_ns(const cpu_run *r, const cpu_node *n) {
    return (double)(n->n.out->ne[0] * cpu_live(r, n->n.out)) * 2.0;
}

uint64_t cpu_moe_weights_scratch(const cpu_program *p, const cpu_node *n) {
    (void)p, (void)n;
    return 0;
}

void cpu_moe_weights_run(cpu_run *r, const cpu_node *n, int32_t chunk, int32_t thread) {
    (void)thread;
    const dev_tensor *probs = n->n.in[0], *ids = n->n.in[1], *out = n->n.out;
    span s = token_span(r, out, chunk);
    for (int64_t t = s.from; t < s.to; t++) {
        const float *p = (const float *)cpu_row(probs, cpu_base(r, probs), t);
        const int32_t *id = (const int32_t *)cpu_row(ids, cpu_base(r, ids), t);
        float *w = (float *)cpu_row(out, cpu_base(r, out), t), sum = 0;
        for (int64_t u = 0; u < out->ne[0]; u++) sum += w[u] = p[id[u]];
        float scale = n->n.params.moe.scale;
        if (n->n.params.moe.renorm) scale /= fmaxf(sum, 6.103515625e-5f);
        for (int64_t u = 0; u < out->ne[0]; u++) w[u] *= scale;
    }
}

int32_t cpu_moe_sum_n_chunks(const cpu_run *r, const cpu_node *n) {
    return token_chunks(r, n->n.out);
}

double cpu_moe_sum_ns(const cpu_run *r, const cpu_node *n) {
    return (double)(n->n.in[0]->ne[0] * n->n.in[0]->ne[1] * cpu_live(r, n->n.out)) * 0.2;
}

uint64_t cpu_moe_sum_scratch(const cpu_program *p, const cpu_node *n) {
    (void)p, (void)n;
    return 0;
}

void cpu_moe_sum_run(cpu_run *r, const cpu_node *n, int32_t chunk, int32_t thread) {
    (void)thread;
    const dev_tensor *x = n->n.in[0], *w = n->n.in[1], *out = n->n.out;
    span s = token_span(r, out, chunk);
    for (int64_t t = s.from; t < s.to; t++) {
        const float *wt = (const float *)cpu_row(w, cpu_base(r, w), t);
        float *o = (float *)cpu_row(out, cpu_base(r, out), t);
        memset(o, 0, (size_t)out->ne[0] * sizeof *o);
        for (int64_t u = 0; u < x->ne[1]; u++)
            r->p->d->vec->add_scaled(o, (const float *)cpu_row(x, cpu_base(r, x), t * x->ne[1] + u),
                                     wt[u], out->ne[0]);
    }
}

/* ---- pooling ---- */

int32_t cpu_pool_n_chunks(const cpu_run *r, const cpu_node *n) {
    (void)n;
    return r->step->n_seqs;
}

double cpu_pool_ns(const cpu_run *r, const cpu_node *n) {
    return (double)(n->n.out->ne[0] * r->step->n_tokens) * 0.2;
}

uint64_t cpu_pool_scratch(const cpu_program *p, const cpu_node *n) {
    (void)p, (void)n;
    return 0;
}

void cpu_pool_run(cpu_run *r, const cpu_node *n, int32_t chunk, int32_t thread) {
    (void)thread;
    const dev_tensor *x = n->n.in[0], *out = n->n.out;
    const dev_seq *q = &r->step->seqs[chunk];
    float *o = (float *)cpu_row(out, cpu_base(r, out), chunk);
    char *base = cpu_base(r, x);
    int64_t dim = out->ne[0];
    if (q->n_tok == 0 || n->n.params.pool.pool == DEV_POOL_MEAN) {
        memset(o, 0, (size_t)dim * sizeof *o);
        for (int32_t i = 0; i < q->n_tok; i++)
            r->p->d->vec->add(o, o, (const float *)cpu_row(x, base, q->first_tok + i), dim);
        if (q->n_tok > 1) r->p->d->vec->scale(o, o, dim, 1.0f / (float)q->n_tok, 0);
        return;
    }
    bool last = n->n.params.pool.pool == DEV_POOL_LAST;
    memcpy(o, cpu_row(x, base, q->first_tok + (last ? q->n_tok - 1 : 0)), (size_t)dim * sizeof *o);
}
