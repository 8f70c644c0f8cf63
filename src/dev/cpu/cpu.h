/* The CPU device's inside: programs, runs and operations. Only dev/cpu includes this. */
#pragma once
#include "dev/dev_impl.h"
#include "kern/kern_gemm.h"
#include "kern/kern_mat.h"
#include "kern/kern_vec.h"
#include "os/pool.h"
#include <pthread.h>
#include <stdatomic.h>

typedef struct cpu_dev cpu_dev;
typedef struct cpu_program cpu_program;
typedef struct cpu_node cpu_node;
typedef struct cpu_run cpu_run;

/* One kind of operation. A node's work is cut into chunks [0, n_chunks) that any thread may run in
 * any order; the results do not depend on how. */
typedef struct cpu_op {
    int32_t (*n_chunks)(const cpu_run *r, const cpu_node *n);
    void (*run_chunk)(cpu_run *r, const cpu_node *n, int32_t chunk, int32_t thread);
    float ns_per_unit;                                    /* estimate, one thread */
    double (*units)(const cpu_run *r, const cpu_node *n); /* NULL = elements of the output */
    uint64_t (*scratch_bytes)(const cpu_program *p, const cpu_node *n); /* per thread; NULL = row */
    void (*prepare)(const cpu_program *p,
                    cpu_node *n); /* before that, once; NULL = nothing to do */
} cpu_op;

/* How the work of a large node of pictures is cut: `n` rows (pixels, tiles, queries) of each of
 * `times` pictures or heads into blocks, `panels` panels of output channels into runs. Chunk c is
 * block c / runs (of picture c / runs / blocks) times run c % runs. */
typedef struct cpu_cut {
    int64_t n, block, blocks; /* rows; of a block, the last one may be shorter; blocks of n */
    int64_t times;
    int64_t panels, runs; /* run r has the panels [panels * r / runs, panels * (r + 1) / runs) */
} cpu_cut;

typedef struct cpu_cut_params {
    int64_t n, times, panels;
    int64_t most, unit; /* rows of a block: at most, and a multiple of */
    int64_t n_threads, n_parts;
    double row_cost, panel_cost; /* what a chunk spends on each row, as panels; on each panel, as
                                    rows: its packing, which more and smaller chunks repeat */
} cpu_cut_params;

typedef enum cpu_conv_way { CPU_CONV_DIRECT, CPU_CONV_WINO, CPU_CONV_TILES } cpu_conv_way;

struct cpu_node {
    dev_node n; /* tensors point into the program's copies */
    const cpu_op *op;
    const dev_tensor *next_w; /* MATMUL: the weights of the next one, or NULL */
    int32_t rope_table;
    int32_t chunk_from;     /* set when its phase is opened: the first chunk of its part */
    cpu_cut cut;            /* CONV2D, SDPA */
    int32_t tile_rows;      /* SDPA, CONV2D: rows of its A tiles */
    int64_t head_k, head_v; /* SDPA: dimensions of a head as they are multiplied and summed up */
    cpu_conv_way way;       /* CONV2D */
};

/* Cosines and sines of the step's positions for one set of rope parameters. */
typedef struct cpu_rope_table {
    dev_rope params;
    const float *divisors;
    double *freq;  /* [n_rot / 2] angle per position */
    float mscale;  /* multiplies cos and sin */
    float *values; /* [max_tokens][n_rot]: n_rot/2 cosines, n_rot/2 sines */
} cpu_rope_table;

enum { CPU_PHASE_NODES_MAX = 64, CPU_ROPE_TABLES_MAX = 8 };

typedef struct cpu_phase {
    int32_t first, n; /* nodes */
} cpu_phase;

/* One dev_run. */
struct cpu_run {
    cpu_program *p;
    const dev_step *step;
    dev_cancel *cancel;
    int32_t phase, phase_to; /* next_phase looks at `phase` next */
    bool rope_done;
    bool in_rope_phase;
    bool cancelled;
    int32_t first; /* nodes of the current phase */
    int32_t n_nodes;
    int32_t *chunk_end; /* [n_nodes] running totals of chunks */
};

struct cpu_program {
    dev_program base;
    cpu_dev *d;
    cpu_node *nodes;
    cpu_phase *phases;
    int32_t n_nodes;
    dev_tensor *tensors;
    dev_buffer arena, scratch, rope_mem;
    uint64_t scratch_bytes; /* of one thread */
    cpu_rope_table rope[CPU_ROPE_TABLES_MAX];
    int32_t n_rope;
    int32_t *chunk_end; /* [n_nodes] */
};

struct cpu_dev {
    dev base;
    pool *pool;
    pthread_mutex_t run_mu; /* around runs: whoever has no turn waits, instead of breaking things */
    const kern_vec *vec;
    const kern_mat *mat;
    const kern_gemm *gemm;
    kern_level level;
    int32_t n_threads;
    bool bf16;
    uint64_t capacity_bytes;
    _Atomic uint64_t given_bytes;
    bool profile_on;
    dev_profile *profile; /* [n_threads] */
};

/* op table, by dev_op */
extern const cpu_op cpu_ops[DEV_OP_COUNT];
/* Operations with chunks of their own; their unit is a nanosecond. */
#define CPU_OPS_OWN(X)                                                                             \
    X(matmul)                                                                                      \
    X(matmul_id)                                                                                   \
    X(kv_store)                                                                                    \
    X(attention)                                                                                   \
    X(attention_full)                                                                              \
    X(top_k)                                                                                       \
    X(moe_weights)                                                                                 \
    X(moe_sum)                                                                                     \
    X(pool)                                                                                        \
    X(conv2d)                                                                                      \
    X(group_sums)                                                                                  \
    X(group_norm)                                                                                  \
    X(upsample2x)                                                                                  \
    X(concat)                                                                                      \
    X(freeu)                                                                                       \
    X(sdpa)                                                                                        \
    X(sdpa_mass)                                                                                   \
    X(resize)                                                                                      \
    X(tiles)                                                                                       \
    X(token_best)                                                                                  \
    X(token_match)                                                                                 \
    X(token_merge)                                                                                 \
    X(token_spread)
#define CPU_OP_DECLARE(name)                                                                       \
    int32_t cpu_##name##_n_chunks(const cpu_run *r, const cpu_node *n);                            \
    void cpu_##name##_run(cpu_run *r, const cpu_node *n, int32_t chunk, int32_t thread);           \
    double cpu_##name##_ns(const cpu_run *r, const cpu_node *n);                                   \
    uint64_t cpu_##name##_scratch(const cpu_program *p, const cpu_node *n);
CPU_OPS_OWN(CPU_OP_DECLARE)
#undef CPU_OP_DECLARE
#define CPU_OP_OWN(name)                                                                           \
    { cpu_##name##_n_chunks, cpu_##name##_run, 1.0f, cpu_##name##_ns, cpu_##name##_scratch, NULL }
#define CPU_OP_PREPARED(name)                                                                      \
    {                                                                                              \
        cpu_##name##_n_chunks, cpu_##name##_run, 1.0f, cpu_##name##_ns, cpu_##name##_scratch,      \
            cpu_##name##_prepare                                                                   \
    }
void cpu_conv2d_prepare(const cpu_program *p, cpu_node *n);
void cpu_sdpa_prepare(const cpu_program *p, cpu_node *n);

/* cut.c: the cut whose chunks, repeated packing included, keep all threads busy longest. */
cpu_cut cpu_cut_find(const cpu_cut_params *p);
static inline int32_t cpu_cut_chunks(const cpu_cut *c) {
    return (int32_t)(c->blocks * c->times * c->runs);
}

/* run.c */
err_code cpu_run_step(dev_program *p, const dev_step *step, int32_t phase_from, int32_t phase_to,
                      dev_cancel *cancel, err *e);

/* rope.c */
err_code cpu_rope_prepare(cpu_program *p, err *e); /* finds the distinct tables, allocates */
int32_t cpu_rope_n_chunks(const cpu_run *r);
double cpu_rope_ns(const cpu_run *r);
void cpu_rope_run_chunk(cpu_run *r, int32_t chunk);

/* interleave.c */
bool cpu_can_interleave(const dev *d, dtype type, int64_t k, int64_t n_rows);
void cpu_interleave(dev *d, dtype type, const void *src, int64_t k, int64_t n_rows, void *dst);

/* Helpers for operations. */
static inline int64_t cpu_live(const cpu_run *r, const dev_tensor *t) {
    switch (t->live) {
    case DEV_LIVE_TOKENS:
        return r->step->n_tokens;
    case DEV_LIVE_OUT_ROWS:
        return r->step->n_out_rows;
    case DEV_LIVE_SEQS:
        return r->step->n_seqs;
    case DEV_LIVE_FIXED:
        break;
    }
    return t->ne[t->n_dims - 1];
}

/* Rows (of ne[0]) that this step computes. */
static inline int64_t cpu_rows(const cpu_run *r, const dev_tensor *t) {
    int64_t n = t->n_dims > 1 ? cpu_live(r, t) : 1;
    for (int d = 1; d + 1 < t->n_dims; d++) n *= t->ne[d];
    return n;
}

static inline char *cpu_base(const cpu_run *r, const dev_tensor *t) {
    switch (t->place) {
    case DEV_PLACE_WEIGHT:
        return (char *)(uintptr_t)t->data;
    case DEV_PLACE_ARENA:
        return (char *)r->p->arena.ptr + t->offset;
    case DEV_PLACE_INPUT:
        return (char *)(uintptr_t)r->step->inputs[t->slot];
    case DEV_PLACE_DATA:
        return (char *)(uintptr_t)r->step->data[t->slot];
    case DEV_PLACE_OUTPUT:
        return (char *)r->step->outputs[t->slot];
    case DEV_PLACE_NONE:
        break;
    }
    return NULL;
}

static inline char *cpu_row(const dev_tensor *t, char *base, int64_t row) {
    if (t->n_dims <= 2) return base + row * t->stride[1];
    int64_t i1 = row % t->ne[1], rest = row / t->ne[1];
    return base + i1 * t->stride[1] + rest % t->ne[2] * t->stride[2] +
           rest / t->ne[2] * t->stride[3];
}

static inline void *cpu_scratch(const cpu_run *r, int32_t thread) {
    return (char *)r->p->scratch.ptr + (uint64_t)thread * r->p->scratch_bytes;
}

static inline bool cpu_is_cancelled(const cpu_run *r) {
    return r->cancel && atomic_load_explicit(&r->cancel->flag, memory_order_relaxed) != 0;
}

static inline int64_t cpu_div_up(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}
static inline int64_t cpu_min(int64_t a, int64_t b) {
    return a < b ? a : b;
}
static inline int64_t cpu_max(int64_t a, int64_t b) {
    return a > b ? a : b;
}

/* Operations that copy rows of floats: rows of a chunk, and how many chunks. */
enum { CPU_COPY_BYTES = 32 << 10 };
static inline int64_t cpu_copy_rows(const dev_tensor *out) {
    return cpu_max(1, CPU_COPY_BYTES / (out->ne[0] * (int64_t)sizeof(float)));
}
static inline int32_t cpu_copy_chunks(const cpu_run *r, const cpu_node *n) {
    return (int32_t)cpu_div_up(cpu_rows(r, n->n.out), cpu_copy_rows(n->n.out));
}
