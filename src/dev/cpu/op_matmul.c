/* Matrix multiplication, plain and by expert, over the kernels of kern_mat.h.
 *
 * A chunk is a run of output rows of one matrix times all columns (for MATMUL_ID: times the columns
 * that chose this expert), so a weight is read and unpacked once a step. How the rows are cut does
 * not change results. */
#include "base/mem.h"
#include "dev/cpu/cpu.h"
#include <assert.h>
#include <string.h>

/* Up to here reading weights takes a good part of the time. */
enum { AHEAD_COLS_MAX = 16 };
/* Aim of a chunk: long against claiming it, short against the phase. */
#define CHUNK_NS 8000.0
/* Estimates for one thread: reading weights, unpacking them, multiplying. */
#define NS_PER_BYTE 0.06
#define NS_PER_WEIGHT 0.03
#define NS_PER_PRODUCT_ACT8 0.006
#define NS_PER_PRODUCT_F32 0.05

/* Of one output row times `cols` columns. */
static double row_ns(const dev_tensor *w, double cols) {
    double k = (double)w->ne[0];
    double product = kern_mat_takes_act8(w->type) ? NS_PER_PRODUCT_ACT8 : NS_PER_PRODUCT_F32;
    double unpack = (double)w->stride[1] * NS_PER_BYTE;
    if (unpack < k * NS_PER_WEIGHT) unpack = k * NS_PER_WEIGHT;
    return unpack + k * cols * product;
}

static int64_t rows_per_chunk(const cpu_run *r, const dev_tensor *w, double cols) {
    int64_t n = w->ne[1], tiles = (int64_t)(CHUNK_NS / (row_ns(w, cols) * KERN_MAT_ROWS));
    int64_t share = n / (2 * (int64_t)r->p->d->n_threads * KERN_MAT_ROWS); /* two each at least */
    return cpu_max(1, cpu_min(tiles, share)) * KERN_MAT_ROWS;
}

/* ---- plain ---- */

int32_t cpu_matmul_n_chunks(const cpu_run *r, const cpu_node *n) {
    int64_t T = cpu_live(r, n->n.out);
    const dev_tensor *w = n->n.in[0];
    return T == 0 ? 0 : (int32_t)cpu_div_up(w->ne[1], rows_per_chunk(r, w, (double)T));
}

double cpu_matmul_ns(const cpu_run *r, const cpu_node *n) {
    const dev_tensor *w = n->n.in[0];
    return (double)w->ne[1] * row_ns(w, (double)cpu_live(r, n->n.out));
}

uint64_t cpu_matmul_scratch(const cpu_program *p, const cpu_node *n) {
    (void)p;
    return kern_mat_scratch_bytes(n->n.in[0]->ne[0], n->n.out->ne[1]);
}

/* What the thread that does this chunk will read next if all threads take turns. */
static const void *read_next(const cpu_run *r, const cpu_node *n, int64_t rows, int32_t chunk) {
    const dev_tensor *w = n->n.in[0], *next = n->next_w;
    int64_t row = (chunk + r->p->d->n_threads) * rows;
    if (row < w->ne[1]) return (const char *)w->data + row * w->stride[1];
    int64_t past = (row - cpu_div_up(w->ne[1], rows) * rows) * w->stride[1];
    return next ? (const char *)next->data + past : NULL;
}

void cpu_matmul_run(cpu_run *r, const cpu_node *n, int32_t chunk, int32_t thread) {
    const dev_tensor *w = n->n.in[0], *x = n->n.in[1], *bias = n->n.in[2], *res = n->n.in[3];
    const dev_tensor *out = n->n.out;
    int64_t T = cpu_live(r, out), rows = rows_per_chunk(r, w, (double)T);
    kern_mat_job j = {
        .w = w->data,
        .w_stride = w->stride[1],
        .interleaved = w->interleaved,
        .k = w->ne[0],
        .from = chunk * rows,
        .to = cpu_min((chunk + 1) * rows, w->ne[1]),
        .x = cpu_base(r, x),
        .x_stride = x->stride[1],
        .n_cols = T,
        .out = (float *)(void *)cpu_base(r, out),
        .out_stride = out->stride[1],
        .bias = bias ? bias->data : NULL,
        .residual = res ? (const float *)(const void *)cpu_base(r, res) : NULL,
        .residual_stride = res ? res->stride[1] : 0,
        .then = T <= AHEAD_COLS_MAX ? read_next(r, n, rows, chunk) : NULL,
    };
    r->p->d->mat->mul[w->type](&j, cpu_scratch(r, thread));
}

/* ---- by expert ---- */

typedef struct experts_cut {
    int64_t rows;   /* a chunk */
    int64_t chunks; /* an expert */
} experts_cut;

static experts_cut experts_cut_make(const cpu_run *r, const cpu_node *n) {
    const dev_tensor *w = n->n.in[0], *out = n->n.out;
    double cols = (double)(cpu_live(r, out) * out->ne[1]) / (double)w->ne[2];
    int64_t rows = rows_per_chunk(r, w, cols < 1 ? 1 : cols);
    return (experts_cut){rows, cpu_div_up(w->ne[1], rows)};
}

int32_t cpu_matmul_id_n_chunks(const cpu_run *r, const cpu_node *n) {
    if (cpu_live(r, n->n.out) == 0) return 0;
    return (int32_t)(experts_cut_make(r, n).chunks * n->n.in[0]->ne[2]);
}

double cpu_matmul_id_ns(const cpu_run *r, const cpu_node *n) {
    const dev_tensor *w = n->n.in[0], *out = n->n.out;
    double pairs = (double)(cpu_live(r, out) * out->ne[1]), experts = (double)w->ne[2];
    double used = pairs < experts ? pairs : experts;
    return used * (double)w->ne[1] * row_ns(w, pairs / used);
}

uint64_t cpu_matmul_id_scratch(const cpu_program *p, const cpu_node *n) {
    (void)p;
    int64_t pairs = n->n.out->ne[1] * n->n.out->ne[2];
    return kern_mat_scratch_bytes(n->n.in[0]->ne[0], pairs) + 2 * (uint64_t)pairs * sizeof(int32_t);
}

void cpu_matmul_id_run(cpu_run *r, const cpu_node *n, int32_t chunk, int32_t thread) {
    const dev_tensor *w = n->n.in[0], *x = n->n.in[1], *ids = n->n.in[2], *bias = n->n.in[3];
    const dev_tensor *out = n->n.out;
    experts_cut cut = experts_cut_make(r, n);
    int64_t T = cpu_live(r, out), U = out->ne[1], expert = chunk / cut.chunks;
    int64_t from = chunk % cut.chunks * cut.rows;
    bool per_pair = x->n_dims == 3 && x->ne[1] > 1; /* a row of x for each (u, t) */
    assert(out->stride[2] == U * out->stride[1]);
    assert(!per_pair || x->stride[2] == U * x->stride[1]);
    int32_t *in_row = cpu_scratch(r, thread), *out_row = in_row + out->ne[1] * out->ne[2];
    int64_t n_cols = 0;
    for (int64_t t = 0; t < T; t++) {
        const int32_t *chosen = (const int32_t *)(void *)cpu_row(ids, cpu_base(r, ids), t);
        for (int64_t u = 0; u < U; u++) {
            if (chosen[u] != expert) continue;
            out_row[n_cols] = (int32_t)(t * U + u);
            in_row[n_cols++] = (int32_t)(per_pair ? t * U + u : t);
        }
    }
    if (n_cols == 0) return;
    kern_mat_job j = {
        .w = (const char *)w->data + expert * w->stride[2],
        .w_stride = w->stride[1],
        .interleaved = w->interleaved,
        .k = w->ne[0],
        .from = from,
        .to = cpu_min(from + cut.rows, w->ne[1]),
        .x = cpu_base(r, x),
        .x_stride = per_pair || x->n_dims == 2 ? x->stride[1] : x->stride[2],
        .x_ids = in_row,
        .n_cols = n_cols,
        .out = (float *)(void *)cpu_base(r, out),
        .out_stride = out->stride[1],
        .out_ids = out_row,
        .bias = bias ? (const float *)bias->data + expert * w->ne[1] : NULL,
    };
    r->p->d->mat->mul[w->type](&j, out_row + out->ne[1] * out->ne[2]);
}
