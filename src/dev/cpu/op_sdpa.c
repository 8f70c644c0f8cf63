/* Attention between pictures' tokens and themselves or a context.
 *
 * A chunk is a block of queries of one head of one picture. Keys come in blocks: a block's keys and
 * values are packed, its scores against all queries are products written as A tiles, the softmax
 * goes on online (Milakov and Gimelshein 2018), and the weights times the values are added to the
 * outputs so far. Scores exist for one tile of queries and one block of keys only, in units of
 * ln 2. In bfloat16 queries, keys, values and weights are rounded; scores, sums and the softmax
 * stay f32.
 */
#include "base/mem.h"
#include "dev/cpu/cpu.h"
#include <math.h>
#include <string.h>

#define LOG2_E 1.44269504f

enum { QUERIES = 256, QUERIES_BF16 = 1024, KEYS = 256, COLS = KERN_GEMM_COLS };

void cpu_sdpa_prepare(const cpu_program *p, cpu_node *n) {
    const dev_tensor *q = n->n.in[0];
    n->tile_rows = n->n.bf16 ? p->d->gemm->rows_bf16 : KERN_GEMM_ROWS;
    n->head_k = q->ne[0], n->head_v = n->n.in[2]->ne[0];
    if (n->n.bf16 && p->d->gemm->is_tiled) { /* whole registers: nothing has to be put aside */
        n->head_k = cpu_div_up(n->head_k, KERN_GEMM_BLOCK_BF16) * KERN_GEMM_BLOCK_BF16;
        n->head_v = cpu_div_up(n->head_v, KERN_GEMM_BLOCK) * KERN_GEMM_BLOCK;
    }
    n->cut = cpu_cut_find(&(cpu_cut_params){.n = q->ne[2],
                                            .times = q->ne[1] * q->ne[3],
                                            .panels = 1,
                                            .most = n->n.bf16 ? QUERIES_BF16 : QUERIES,
                                            .unit = n->tile_rows,
                                            .n_threads = p->d->n_threads,
                                            .n_parts = n->n.n_parts,
                                            .panel_cost = 10});
}

int32_t cpu_sdpa_n_chunks(const cpu_run *r, const cpu_node *n) {
    (void)r;
    return cpu_cut_chunks(&n->cut);
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

/* Bytes of tiles of a node's operands: f32 or bfloat16. */
static int64_t a_bytes(const dev_node *n, int64_t rows, int64_t k) {
    return n->bf16 ? kern_gemm_a_bf16s(rows, k) * (int64_t)sizeof(uint16_t)
                   : kern_gemm_a_floats(rows, k) * (int64_t)sizeof(float);
}
static int64_t b_bytes(const dev_node *n, int64_t k) {
    return n->bf16 ? kern_gemm_b_bf16s(k) * (int64_t)sizeof(uint16_t)
                   : k * COLS * (int64_t)sizeof(float);
}

/* Scratch of a chunk, in bytes from its start. */
typedef struct sdpa_mem {
    int64_t q, scores, weights, keys, values, acc, all;
} sdpa_mem;

static sdpa_mem mem_of(const cpu_node *cn) {
    const dev_node *n = &cn->n;
    int64_t Q = cn->cut.block, rows = cn->tile_rows, K = cn->head_k, Kv = cn->head_v;
    int64_t S = keys_max(n), f32 = sizeof(float);
    sdpa_mem m = {.q = 0};
    m.scores = m.q + a_bytes(n, Q, K);
    m.weights = m.scores + rows * S * f32;
    m.keys = m.weights + (n->bf16 ? a_bytes(n, rows, S) : 0);
    m.values = m.keys + S / COLS * b_bytes(n, K);
    m.acc = m.values + cpu_div_up(Kv, COLS) * b_bytes(n, S);
    m.all = m.acc + Q * Kv * f32;
    return m;
}

uint64_t cpu_sdpa_scratch(const cpu_program *p, const cpu_node *n) {
    (void)p;
    return (uint64_t)mem_of(n).all;
}

typedef struct sdpa_job {
    const kern_gemm *gemm;
    const dev_node *n;
    const char *q, *k, *v;                /* of this head and picture */
    int64_t q_stride, k_stride, v_stride; /* bytes from token to token */
    int64_t K, Kv, S;
    int64_t head_k, head_v; /* K and Kv, as cpu_node says */
    int64_t first, n_q;     /* queries */
    int64_t rows;           /* of a tile of them */
    float scale;
    bool causal;
    char *pq, *weights, *keys, *values; /* f32 or bfloat16; f32 weights lie where the scores did */
    float *scores, *acc;
} sdpa_job;

static const float *token(const char *base, int64_t stride, int64_t i) {
    return (const float *)(const void *)(base + i * stride);
}

static void pack_queries(const sdpa_job *j, const kern_vec *vec) {
    int64_t stride = j->q_stride / (int64_t)sizeof(float);
    for (int64_t i = 0; i < j->n_q; i += j->rows) {
        void *to = j->pq + a_bytes(j->n, i, j->K);
        int32_t rows = (int32_t)cpu_min(j->rows, j->n_q - i);
        if (j->n->bf16)
            j->gemm->pack_rows_bf16(to, token(j->q, j->q_stride, i), stride, rows, j->K,
                                    j->scale * LOG2_E);
        else
            j->gemm->pack_rows(to, token(j->q, j->q_stride, i), stride, rows, j->K);
    }
    float *all = (float *)(void *)j->pq;
    if (!j->n->bf16) vec->scale(all, all, kern_gemm_a_floats(j->n_q, j->K), j->scale * LOG2_E, 0);
}

static void pack_values(const sdpa_job *j, int64_t from, int64_t n, int64_t d, char *mem) {
    int64_t cols = cpu_min(COLS, j->Kv - d);
    const float *v = token(j->v, j->v_stride, from) + d;
    if (j->n->bf16) {
        j->gemm->pack_pairs_bf16((uint16_t *)(void *)mem, v, j->v_stride / (int64_t)sizeof(float),
                                 (int32_t)cols, n);
        return;
    }
    float *to = (float *)(void *)mem;
    for (int64_t s = 0; s < n; s++, to += COLS) {
        memcpy(to, token(j->v, j->v_stride, from + s) + d, (size_t)cols * sizeof(float));
        memset(to + cols, 0, (size_t)(COLS - cols) * sizeof(float));
    }
}

/* B tiles: keys [32 keys][K][32]; values [32 dimensions][n][32]. */
static void pack_block(const sdpa_job *j, int64_t from, int64_t n) {
    for (int64_t s = 0; s < n; s += COLS) {
        kern_gemm_cols c = {.w = token(j->k, j->k_stride, from + s),
                            .stride = j->k_stride,
                            .type = DTYPE_F32,
                            .cols = (int32_t)cpu_min(COLS, n - s),
                            .k = j->K};
        char *to = j->keys + s / COLS * b_bytes(j->n, j->head_k);
        if (j->n->bf16)
            j->gemm->pack_cols_bf16((uint16_t *)(void *)to, &c);
        else
            j->gemm->pack_cols((float *)(void *)to, &c);
        int64_t used = b_bytes(j->n, j->K), all = b_bytes(j->n, j->head_k);
        memset(to + used, 0, (size_t)(all - used));
    }
    for (int64_t d = 0; d < j->Kv; d += COLS)
        pack_values(j, from, n, d, j->values + d / COLS * b_bytes(j->n, n));
}

static void multiply(const sdpa_job *j, const kern_gemm_tile *t) {
    if (j->n->bf16)
        j->gemm->mul_bf16(t);
    else
        j->gemm->mul(t);
}

/* Scores of one A tile of queries against n keys, as an A tile of floats themselves. */
static void score(const sdpa_job *j, int64_t i, int32_t rows, int64_t from, int64_t n) {
    const int64_t blk = KERN_GEMM_BLOCK;
    float *s = j->scores;
    for (int64_t c = 0; c < n; c += COLS)
        multiply(j, &(kern_gemm_tile){.a = j->pq + a_bytes(j->n, i, j->K),
                                      .b = j->keys + c / COLS * b_bytes(j->n, j->head_k),
                                      .k = j->head_k,
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
    float *acc = j->acc + i * j->head_v;
    for (int32_t m = 0; m < rows; m++)
        if (corr[m] != 1) vec->scale(acc + m * j->head_v, acc + m * j->head_v, j->Kv, corr[m], 0);
    for (int64_t d = 0; d < j->head_v; d += COLS)
        multiply(j, &(kern_gemm_tile){.a = j->weights,
                                      .b = j->values + d / COLS * b_bytes(j->n, n),
                                      .k = n,
                                      .rows = rows,
                                      .cols = (int32_t)cpu_min(COLS, j->head_v - d),
                                      .out = acc + d,
                                      .out_stride = j->head_v,
                                      .out_half = KERN_GEMM_BLOCK,
                                      .add = true});
}

/* The sums of head h over those of their weights; to: the first query's row. */
static void write_out(const sdpa_job *j, const cpu_run *r, const dev_tensor *out,
                      const kern_soft_state *st, char *to, int64_t h) {
    for (int64_t i = 0; i < j->n_q; i++, to += out->stride[1]) {
        const float *from = j->acc + i * j->head_v;
        if (out->type == DTYPE_BF16)
            j->gemm->round_bf16((uint16_t *)(void *)to + h * j->Kv, from, j->Kv, 1 / st[i].sum);
        else
            r->p->d->vec->scale((float *)(void *)to + h * j->Kv, from, j->Kv, 1 / st[i].sum, 0);
    }
}

void cpu_sdpa_run(cpu_run *r, const cpu_node *cn, int32_t chunk, int32_t thread) {
    const dev_node *n = &cn->n;
    const dev_tensor *q = n->in[0], *k = n->in[1], *v = n->in[2], *out = n->out;
    int64_t Q = cn->cut.block, n_blocks = cn->cut.blocks, H = q->ne[1];
    int64_t first = chunk % n_blocks * Q, h = chunk / n_blocks % H, b = chunk / n_blocks / H;
    sdpa_mem m = mem_of(cn);
    char *mem = cpu_scratch(r, thread);
    const kern_vec *vec = r->p->d->vec;
    sdpa_job j = {.gemm = r->p->d->gemm,
                  .n = n,
                  .q = cpu_base(r, q) + b * q->stride[3] + h * q->stride[1] + first * q->stride[2],
                  .k = cpu_base(r, k) + b * k->stride[3] + h * k->stride[1],
                  .v = cpu_base(r, v) + b * v->stride[3] + h * v->stride[1],
                  .q_stride = q->stride[2],
                  .k_stride = k->stride[2],
                  .v_stride = v->stride[2],
                  .K = q->ne[0],
                  .Kv = v->ne[0],
                  .head_k = cn->head_k,
                  .head_v = cn->head_v,
                  .S = k->ne[2],
                  .first = first,
                  .n_q = cpu_min(Q, q->ne[2] - first),
                  .rows = cn->tile_rows,
                  .scale = n->params.sdpa.scale,
                  .causal = n->params.sdpa.causal,
                  .pq = mem + m.q,
                  .scores = (float *)(void *)(mem + m.scores),
                  .weights = mem + (n->bf16 ? m.weights : m.scores),
                  .keys = mem + m.keys,
                  .values = mem + m.values,
                  .acc = (float *)(void *)(mem + m.acc)};
    kern_soft_state st[QUERIES_BF16 + KERN_GEMM_ROWS_MAX];
    for (int64_t i = 0; i < j.n_q; i++) st[i] = (kern_soft_state){-INFINITY, 0};
    memset(j.acc, 0, (size_t)(j.n_q * j.head_v) * sizeof(float));
    pack_queries(&j, vec);
    int64_t seen = j.causal ? cpu_min(j.S, first + j.n_q) : j.S;
    for (int64_t from = 0; from < seen; from += KEYS) {
        if (cpu_is_cancelled(r)) return; /* a large picture has millions of keys */
        int64_t n_keys = cpu_min(KEYS, seen - from);
        pack_block(&j, from, n_keys);
        for (int64_t i = 0; i < j.n_q; i += j.rows) {
            int32_t rows = (int32_t)cpu_min(j.rows, j.n_q - i);
            float corr[KERN_GEMM_ROWS_MAX];
            score(&j, i, rows, from, n_keys);
            if (n->bf16)
                j.gemm->soft_bf16((uint16_t *)(void *)j.weights, j.scores, rows, n_keys, st + i,
                                  corr);
            else
                j.gemm->soft(j.scores, rows, n_keys, st + i, corr);
            accumulate(&j, i, rows, n_keys, corr, vec);
        }
    }
    write_out(&j, r, out, st, cpu_base(r, out) + b * out->stride[2] + first * out->stride[1], h);
}
