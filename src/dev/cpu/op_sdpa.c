/* Attention between pictures' tokens and themselves or a context.
 *
 * A chunk is a block of queries of one head of one picture. Keys come in blocks: a block's keys and
 * values are packed, its scores against all queries are products written as A tiles, the softmax
 * goes on online (Milakov and Gimelshein 2018), and the weights times the values are added to the
 * outputs so far. Scores exist for one block of queries and keys only. */
#include "base/mem.h"
#include "dev/cpu/cpu.h"
#include <math.h>
#include <string.h>

enum { QUERIES = 192, KEYS = 256, ROWS = KERN_GEMM_ROWS, COLS = KERN_GEMM_COLS };

static int64_t queries_per_chunk(const dev_node *n) {
    int64_t T = n->in[0]->ne[2], blocks = cpu_div_up(T, QUERIES);
    return cpu_min(T, cpu_div_up(T, blocks * ROWS) * ROWS);
}

static int64_t blocks(const dev_node *n) {
    return cpu_div_up(n->in[0]->ne[2], queries_per_chunk(n));
}

int32_t cpu_sdpa_n_chunks(const cpu_run *r, const cpu_node *n) {
    (void)r;
    return (int32_t)(blocks(&n->n) * n->n.in[0]->ne[1] * n->n.in[0]->ne[3]);
}

double cpu_sdpa_ns(const cpu_run *r, const cpu_node *n) {
    (void)r;
    const dev_tensor *q = n->n.in[0], *k = n->n.in[1];
    return (double)(q->ne[0] * q->ne[1] * q->ne[2] * q->ne[3]) * (double)k->ne[2] * 0.05;
}

/* Keys of a block, whole panels. */
static int64_t keys_max(const dev_node *n) {
    return cpu_min(KEYS, cpu_div_up(n->in[1]->ne[2], COLS) * COLS);
}

/* Scratch of a chunk, in floats. */
typedef struct sdpa_mem {
    int64_t q, scores, keys, values, acc, all;
} sdpa_mem;

static sdpa_mem mem_of(const dev_node *n) {
    int64_t Q = queries_per_chunk(n), K = n->in[0]->ne[0], Kv = n->in[2]->ne[0];
    int64_t S = keys_max(n);
    sdpa_mem m = {.q = 0};
    m.scores = m.q + kern_gemm_a_floats(Q, K);
    m.keys = m.scores + Q * S;
    m.values = m.keys + S * K;
    m.acc = m.values + S * cpu_div_up(Kv, COLS) * COLS;
    m.all = m.acc + Q * Kv;
    return m;
}

uint64_t cpu_sdpa_scratch(const cpu_program *p, const cpu_node *n) {
    (void)p;
    return (uint64_t)mem_of(&n->n).all * sizeof(float);
}

typedef struct sdpa_job {
    const kern_gemm *gemm;
    const char *q, *k, *v;                /* of this head and picture */
    int64_t q_stride, k_stride, v_stride; /* bytes from token to token */
    int64_t K, Kv, S;
    int64_t keys_max;   /* of a block, a multiple of COLS */
    int64_t first, n_q; /* queries */
    float scale;
    bool causal;
    float *pq, *scores, *keys, *values, *acc;
} sdpa_job;

static const float *token(const char *base, int64_t stride, int64_t i) {
    return (const float *)(const void *)(base + i * stride);
}

static void pack_queries(const sdpa_job *j, const kern_vec *vec) {
    for (int64_t i = 0; i < j->n_q; i += ROWS)
        j->gemm->pack_rows(j->pq + kern_gemm_a_floats(i, j->K), token(j->q, j->q_stride, i),
                           j->q_stride / (int64_t)sizeof(float), (int32_t)cpu_min(ROWS, j->n_q - i),
                           j->K);
    vec->scale(j->pq, j->pq, kern_gemm_a_floats(j->n_q, j->K), j->scale, 0);
}

/* keys: [32 keys][K][32]; values: [32 dimensions][n][32]. */
static void pack_block(const sdpa_job *j, int64_t from, int64_t n) {
    for (int64_t s = 0; s < n; s += COLS)
        j->gemm->pack_cols(j->keys + s * j->K,
                           &(kern_gemm_cols){.w = token(j->k, j->k_stride, from + s),
                                             .stride = j->k_stride,
                                             .type = DTYPE_F32,
                                             .cols = (int32_t)cpu_min(COLS, n - s),
                                             .k = j->K});
    for (int64_t d = 0; d < j->Kv; d += COLS) {
        size_t cols = (size_t)cpu_min(COLS, j->Kv - d);
        float *to = j->values + d * n;
        for (int64_t s = 0; s < n; s++, to += COLS) {
            memcpy(to, token(j->v, j->v_stride, from + s) + d, cols * sizeof(float));
            memset(to + cols, 0, (COLS - cols) * sizeof(float));
        }
    }
}

/* Scores of one A tile of queries against n keys, as an A tile themselves. */
static void score(const sdpa_job *j, int64_t i, int32_t rows, int64_t from, int64_t n) {
    const int64_t blk = KERN_GEMM_BLOCK;
    float *s = j->scores + i * j->keys_max;
    for (int64_t c = 0; c < n; c += COLS)
        j->gemm->mul(&(kern_gemm_tile){.a = j->pq + kern_gemm_a_floats(i, j->K),
                                       .b = j->keys + c * j->K,
                                       .k = j->K,
                                       .rows = rows,
                                       .cols = (int32_t)cpu_min(COLS, n - c),
                                       .out = s + c * rows,
                                       .out_stride = blk,
                                       .out_half = rows * blk});
    if (!j->causal) return;
    for (int64_t m = 0; m < rows; m++)
        for (int64_t c = cpu_max(0, j->first + i + m + 1 - from); c < n; c++)
            s[(c / blk * rows + m) * blk + c % blk] = -INFINITY;
}

/* acc = acc * corr + weights * values, for one A tile. */
static void accumulate(const sdpa_job *j, int64_t i, int32_t rows, int64_t n, const float *corr,
                       const kern_vec *vec) {
    float *acc = j->acc + i * j->Kv;
    for (int32_t m = 0; m < rows; m++)
        if (corr[m] != 1) vec->scale(acc + m * j->Kv, acc + m * j->Kv, j->Kv, corr[m], 0);
    for (int64_t d = 0; d < j->Kv; d += COLS)
        j->gemm->mul(&(kern_gemm_tile){.a = j->scores + i * j->keys_max,
                                       .b = j->values + d * n,
                                       .k = n,
                                       .rows = rows,
                                       .cols = (int32_t)cpu_min(COLS, j->Kv - d),
                                       .out = acc + d,
                                       .out_stride = j->Kv,
                                       .out_half = KERN_GEMM_BLOCK,
                                       .add = true});
}

void cpu_sdpa_run(cpu_run *r, const cpu_node *cn, int32_t chunk, int32_t thread) {
    const dev_node *n = &cn->n;
    const dev_tensor *q = n->in[0], *k = n->in[1], *v = n->in[2], *out = n->out;
    int64_t Q = queries_per_chunk(n), n_blocks = blocks(n), H = q->ne[1];
    int64_t first = chunk % n_blocks * Q, h = chunk / n_blocks % H, b = chunk / n_blocks / H;
    sdpa_mem m = mem_of(n);
    float *mem = cpu_scratch(r, thread);
    const kern_vec *vec = r->p->d->vec;
    sdpa_job j = {.gemm = r->p->d->gemm,
                  .q = cpu_base(r, q) + b * q->stride[3] + h * q->stride[1] + first * q->stride[2],
                  .k = cpu_base(r, k) + b * k->stride[3] + h * k->stride[1],
                  .v = cpu_base(r, v) + b * v->stride[3] + h * v->stride[1],
                  .q_stride = q->stride[2],
                  .k_stride = k->stride[2],
                  .v_stride = v->stride[2],
                  .K = q->ne[0],
                  .Kv = v->ne[0],
                  .S = k->ne[2],
                  .keys_max = keys_max(n),
                  .first = first,
                  .n_q = cpu_min(Q, q->ne[2] - first),
                  .scale = n->params.sdpa.scale,
                  .causal = n->params.sdpa.causal,
                  .pq = mem + m.q,
                  .scores = mem + m.scores,
                  .keys = mem + m.keys,
                  .values = mem + m.values,
                  .acc = mem + m.acc};
    kern_soft_state st[QUERIES + ROWS];
    for (int64_t i = 0; i < j.n_q; i++) st[i] = (kern_soft_state){-INFINITY, 0};
    memset(j.acc, 0, (size_t)(j.n_q * j.Kv) * sizeof(float));
    pack_queries(&j, vec);
    int64_t seen = j.causal ? cpu_min(j.S, first + j.n_q) : j.S;
    for (int64_t from = 0; from < seen; from += KEYS) {
        if (cpu_is_cancelled(r)) return; /* a large picture has millions of keys */
        int64_t n_keys = cpu_min(KEYS, seen - from);
        pack_block(&j, from, n_keys);
        for (int64_t i = 0; i < j.n_q; i += ROWS) {
            int32_t rows = (int32_t)cpu_min(ROWS, j.n_q - i);
            float corr[ROWS];
            score(&j, i, rows, from, n_keys);
            j.gemm->soft(j.scores + i * j.keys_max, rows, n_keys, st + i, corr);
            accumulate(&j, i, rows, n_keys, corr, vec);
        }
    }
    char *to = cpu_base(r, out) + b * out->stride[2] + first * out->stride[1] +
               h * j.Kv * (int64_t)sizeof(float);
    for (int64_t i = 0; i < j.n_q; i++)
        vec->scale((float *)(void *)(to + i * out->stride[1]), j.acc + i * j.Kv, j.Kv,
                   1 / st[i].sum, 0);
}
