/* What the builder (build.c) and the planner (plan.c) share; nobody else includes this. */
#pragma once
#include "base/vec.h"
#include "graph/graph.h"

/* One stretch of memory that a node writes; tensors and their views point to it. */
typedef struct graph_buf {
    uint64_t n_bytes;
    int32_t n_readers;    /* node inputs that refer to it */
    int32_t writer;       /* node index in build order, -1 = none */
    int32_t output_slot;  /* DEV_OUTPUT_*, or -1 */
    int32_t phase_first;  /* the writer's phase */
    int32_t phase_last;   /* the last reader's phase */
    int32_t n_last;       /* readers in phase_last */
    bool is_rounded;      /* in bfloat16 instead of f32 */
    struct graph_buf *in; /* shares this one's memory (written in place), or NULL */
    uint64_t offset;      /* in the step's arena, once planned */
} graph_buf;

typedef struct graph_tensor {
    dev_tensor t;                    /* first: a graph_t points here */
    graph_buf *buf;                  /* NULL for weights and inputs */
    uint64_t buf_offset;             /* of a view's first element */
    const struct graph_tensor *act8; /* the quantised copy, made once */
    bool is_view;
} graph_tensor;

typedef struct graph_node {
    dev_node n;
    bool dead; /* fused into another node */
} graph_node;

struct graph {
    arena *mem;
    graph_params params;
    double phase_products; /* a convolution or picture attention of more multiplications is shared
                              out over several phases, so that slices stay short; 0 = 2e9 */
    VEC(graph_node) nodes;
    VEC(graph_tensor *) tensors;
    VEC(graph_buf *) bufs;
    const graph_tensor *inputs[DEV_INPUT_COUNT];
    graph_tensor *bad; /* what builder functions return after the first mistake */
    err first;         /* the first mistake */
};

/* ---- what the builders share (build.c) ---- */

bool graph_is_failed(const graph *g);
/* Keeps the first mistake: which node, its inputs' shapes, and what is wrong. Returns g->bad. */
graph_t graph_mistake(graph *g, dev_op op, const char *what, graph_t a, graph_t b, graph_t c);
/* A tensor without memory, and one on a new buffer; a live last dimension gets its maximum. */
graph_tensor *graph_tensor_create(graph *g, dtype type, int n_dims, const int64_t *ne);
graph_tensor *graph_tensor_new(graph *g, dtype type, int n_dims, const int64_t *ne, dev_live live);
dev_node *graph_node_add(graph *g, dev_op op, graph_tensor *out, int n_in, graph_t const *in);

#define NODE(g, op, out, ...)                                                                      \
    graph_node_add((g), (op), (out), (int)COUNT_OF(((graph_t[]){__VA_ARGS__})),                    \
                   (graph_t[]){__VA_ARGS__})
