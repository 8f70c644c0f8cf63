/* The planner: fuses quantisation and rounding into producers, cuts the nodes into phases and gives
 * every intermediate an offset in the step's arena.
 *
 * A node goes into the earliest phase after all its inputs' writers. Nodes of a phase may run at
 * once, so memory is live over whole phases: from the writer's phase to the last reader's phase,
 * both included. Where a node can write over its own dead input it does (`in`). Offsets: buffers in
 * descending order of size, each into the smallest gap that holds it among the buffers already
 * placed that live at the same time. */
#include "base/limits.h"
#include "graph/graph_impl.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { ARENA_ALIGN = 64, PARTS_MAX = 256 };

#define PHASE_PRODUCTS 2e9

static graph_buf *buf_of(graph_t t) {
    return t ? ((const graph_tensor *)(const void *)t)->buf : NULL;
}

static const graph_tensor *up(graph_t t) {
    return (const graph_tensor *)(const void *)t;
}

/* ---- fusion ---- */

static bool writes_rows(dev_op op) { /* float rows that the device can quantise on their way out */
    return op == DEV_OP_RMS_NORM || op == DEV_OP_LAYER_NORM || op == DEV_OP_GLU ||
           op == DEV_OP_ACT || op == DEV_OP_ADD || op == DEV_OP_MUL;
}

/* x -> QUANTIZE -> q, with nobody else reading x: x's node writes q itself. */
static void fuse_quantize(graph *g) {
    for (size_t i = 0; i < g->nodes.len; i++) {
        dev_node *q = &g->nodes.items[i].n;
        if (q->op != DEV_OP_QUANTIZE) continue;
        graph_buf *x = buf_of(q->in[0]);
        if (!x || x->n_readers != 1 || x->output_slot >= 0 || x->writer < 0) continue;
        dev_node *p = &g->nodes.items[x->writer].n;
        if (!writes_rows(p->op) || p->out != q->in[0]) continue;
        p->out = q->out;
        buf_of(q->out)->writer = x->writer;
        x->writer = -1;
        x->n_readers = 0;
        g->nodes.items[i].dead = true;
    }
}

static bool writes_bf16(dev_op op) {
    return op == DEV_OP_GROUP_NORM || op == DEV_OP_LAYER_NORM || op == DEV_OP_GLU ||
           op == DEV_OP_SDPA;
}

/* Whether a node rounds its k'th input as it is. A kernel of one pixel always does. */
static bool rounds(const graph *g, const dev_node *n, int k) {
    if (n->op != DEV_OP_CONV2D || k != 0 || !n->bf16) return false;
    const dev_tensor *w = n->in[1];
    return g->params.reads_bf16 || (w->ne[1] == 1 && w->ne[2] == 1);
}

/* What all readers round is written rounded: the same numbers, half the bytes. */
static void round_early(graph *g) {
    for (size_t i = 0; i < g->bufs.len; i++) {
        graph_buf *b = g->bufs.items[i];
        b->is_rounded = b->writer >= 0 && b->output_slot < 0 && b->n_readers > 0 &&
                        writes_bf16(g->nodes.items[b->writer].n.op) &&
                        g->nodes.items[b->writer].n.out->type == DTYPE_F32;
    }
    for (size_t i = 0; i < g->nodes.len; i++) {
        const dev_node *n = &g->nodes.items[i].n;
        for (int k = 0; !g->nodes.items[i].dead && k < DEV_NODE_INPUTS; k++)
            if (buf_of(n->in[k]) && !rounds(g, n, k)) buf_of(n->in[k])->is_rounded = false;
    }
    const int by = sizeof(float) / sizeof(uint16_t);
    for (size_t i = 0; i < g->tensors.len; i++) {
        graph_tensor *t = g->tensors.items[i];
        if (!t->buf || !t->buf->is_rounded) continue;
        t->t.type = DTYPE_BF16;
        t->buf_offset /= by;
        for (int d = 0; d < 4; d++) t->t.stride[d] /= by;
    }
    for (size_t i = 0; i < g->bufs.len; i++)
        if (g->bufs.items[i]->is_rounded) g->bufs.items[i]->n_bytes /= by;
}

/* ---- phases ---- */

typedef struct layer_phases {
    int32_t last_store[LIMIT_LAYERS]; /* phase of the layer's KV_STORE, -1 = none yet */
} layer_phases;

static err_code node_phase(graph *g, size_t i, layer_phases *lp, err *e) {
    dev_node *n = &g->nodes.items[i].n;
    int32_t phase = 0;
    for (int k = 0; k < DEV_NODE_INPUTS; k++) {
        graph_buf *b = buf_of(n->in[k]);
        if (!b) continue;
        if (b->output_slot >= 0)
            FAIL(e, INVALID, "graph node %zu %s reads an output of the program", i,
                 dev_op_name(n->op));
        if (b->phase_first + 1 > phase) phase = b->phase_first + 1;
    }
    if (n->op == DEV_OP_KV_STORE || n->op == DEV_OP_ATTENTION) {
        int32_t layer = n->params.attn.layer;
        if (layer >= LIMIT_LAYERS) FAIL(e, INVALID, "graph node %zu: layer %d", i, layer);
        int32_t *store = &lp->last_store[layer];
        if (n->op == DEV_OP_KV_STORE) {
            if (*store >= 0) FAIL(e, INVALID, "graph node %zu stores layer %d twice", i, layer);
            *store = phase;
        } else {
            if (*store < 0)
                FAIL(e, INVALID, "graph node %zu attends to layer %d before its kv_store", i,
                     layer);
            if (*store + 1 > phase) phase = *store + 1;
        }
    }
    n->phase = phase;
    if (n->out) buf_of(n->out)->phase_first = phase;
    return ERR_OK;
}

static void note_readers(graph *g) {
    for (size_t i = 0; i < g->bufs.len; i++) {
        g->bufs.items[i]->phase_last = g->bufs.items[i]->phase_first;
        g->bufs.items[i]->n_last = 0;
    }
    for (size_t i = 0; i < g->nodes.len; i++) {
        const dev_node *n = &g->nodes.items[i].n;
        for (int k = 0; !g->nodes.items[i].dead && k < DEV_NODE_INPUTS; k++) {
            graph_buf *b = buf_of(n->in[k]);
            if (!b) continue;
            if (n->phase > b->phase_last) {
                b->phase_last = n->phase;
                b->n_last = 0;
            }
            if (n->phase == b->phase_last) b->n_last++;
        }
    }
}

/* ---- writing in place ---- */

/* The input that a node may write its output over, element by element, or -1. */
static int in_place_input(const dev_node *n) {
    switch ((int)n->op) {
    case DEV_OP_MATMUL:
        return n->in[3] ? 3 : -1; /* the residual */
    case DEV_OP_CONV2D:
        return n->in[4] ? 4 : -1; /* the residual */
    case DEV_OP_GLU:
        return n->in[1] ? 0 : -1;
    case DEV_OP_RMS_NORM:
    case DEV_OP_LAYER_NORM:
    case DEV_OP_ADD:
    case DEV_OP_MUL:
    case DEV_OP_SCALE:
    case DEV_OP_SOFTCAP:
    case DEV_OP_ACT:
    case DEV_OP_ROPE:
    case DEV_OP_SOFTMAX:
    case DEV_OP_L2_NORM:
    case DEV_OP_GROUP_NORM:
        return 0;
    default:
        return -1;
    }
}

static graph_buf *root_of(graph_buf *b) {
    while (b->in) b = b->in;
    return b;
}

static void place_in_input(dev_node *n) {
    int k = in_place_input(n);
    if (k < 0 || !n->out || n->out->type != DTYPE_F32) return;
    graph_t x = n->in[k];
    graph_buf *b = buf_of(x), *out = buf_of(n->out);
    if (!b || out->output_slot >= 0 || up(x)->buf_offset != 0) return;
    if (b->phase_last != n->phase || b->n_last != 1 || b->n_bytes != out->n_bytes) return;
    if (memcmp(x->ne, n->out->ne, sizeof x->ne) ||
        memcmp(x->stride, n->out->stride, sizeof x->stride))
        return;
    graph_buf *root = root_of(b);
    out->in = root;
    if (out->phase_last > root->phase_last) root->phase_last = out->phase_last;
}

/* ---- offsets ---- */

static int by_size(const void *pa, const void *pb) {
    const graph_buf *a = *(graph_buf *const *)pa, *b = *(graph_buf *const *)pb;
    if (a->n_bytes != b->n_bytes) return a->n_bytes < b->n_bytes ? 1 : -1;
    if (a->phase_first != b->phase_first) return a->phase_first < b->phase_first ? -1 : 1;
    return a->writer < b->writer ? -1 : a->writer > b->writer;
}

static uint64_t aligned(uint64_t n) {
    return (n + ARENA_ALIGN - 1) & ~(uint64_t)(ARENA_ALIGN - 1);
}

/* placed is sorted by offset; returns the offset for b. */
static uint64_t best_gap(graph_buf *const *placed, size_t n_placed, const graph_buf *b) {
    uint64_t need = aligned(b->n_bytes), end = 0, best = UINT64_MAX, best_room = UINT64_MAX;
    for (size_t i = 0; i < n_placed; i++) {
        const graph_buf *o = placed[i];
        if (o->phase_last < b->phase_first || b->phase_last < o->phase_first) continue;
        if (o->offset > end && o->offset - end >= need && o->offset - end < best_room) {
            best = end;
            best_room = o->offset - end;
        }
        uint64_t o_end = o->offset + aligned(o->n_bytes);
        if (o_end > end) end = o_end;
    }
    return best == UINT64_MAX ? end : best;
}

static uint64_t place_all(graph *g) {
    size_t n = 0, n_placed = 0;
    graph_buf **todo = ARENA_ARRAY(g->mem, graph_buf *, g->bufs.len + 1);
    graph_buf **placed = ARENA_ARRAY(g->mem, graph_buf *, g->bufs.len + 1);
    for (size_t i = 0; i < g->bufs.len; i++) {
        graph_buf *b = g->bufs.items[i];
        if (b->writer >= 0 && b->output_slot < 0 && !b->in) todo[n++] = b;
    }
    qsort(todo, n, sizeof *todo, by_size);
    uint64_t peak = 0;
    for (size_t i = 0; i < n; i++) {
        graph_buf *b = todo[i];
        b->offset = best_gap(placed, n_placed, b);
        size_t at = n_placed++;
        while (at > 0 && placed[at - 1]->offset > b->offset) {
            placed[at] = placed[at - 1];
            at--;
        }
        placed[at] = b;
        if (b->offset + aligned(b->n_bytes) > peak) peak = b->offset + aligned(b->n_bytes);
    }
    return peak;
}

/* ---- the plan ---- */

/* Large nodes of pictures are done over several phases: [1, PARTS_MAX]. */
static int32_t n_parts_of(const graph *g, const dev_node *n) {
    double most = g->phase_products > 0 ? g->phase_products : PHASE_PRODUCTS;
    double products = 0;
    if (n->op == DEV_OP_CONV2D)
        products = (double)(n->in[1]->ne[0] * n->in[1]->ne[1] * n->in[1]->ne[2]);
    else if (n->op == DEV_OP_SDPA)
        products = 2 * (double)n->in[1]->ne[2];
    for (int d = 0; n->out && d < 4; d++) products *= (double)n->out->ne[d];
    if (products >= most * PARTS_MAX) return PARTS_MAX;
    return 1 + (int32_t)(products / most);
}

/* Nodes by phase, in build order; a phase with shared-out nodes becomes several, and everything
 * that lives in it lives in all of them. */
static dev_node *sorted_nodes(graph *g, int32_t *n_phases, int32_t *ret_n) {
    int32_t *first = ARENA_ARRAY(g->mem, int32_t, (size_t)*n_phases + 1); /* new number */
    for (size_t i = 0; i < g->nodes.len; i++) {
        dev_node *n = &g->nodes.items[i].n;
        if (g->nodes.items[i].dead) continue;
        n->n_parts = n_parts_of(g, n);
        if (n->n_parts > first[n->phase + 1]) first[n->phase + 1] = n->n_parts;
    }
    for (int32_t p = 0; p < *n_phases; p++) first[p + 1] += first[p];
    *n_phases = first[*n_phases];
    int32_t *start = ARENA_ARRAY(g->mem, int32_t, (size_t)*n_phases + 1);
    for (size_t i = 0; i < g->nodes.len; i++) {
        const dev_node *n = &g->nodes.items[i].n;
        for (int32_t k = 0; k < n->n_parts && !g->nodes.items[i].dead; k++)
            start[first[n->phase] + k + 1]++;
    }
    for (int32_t p = 0; p < *n_phases; p++) start[p + 1] += start[p];
    *ret_n = start[*n_phases];
    dev_node *out = ARENA_ARRAY(g->mem, dev_node, (size_t)*ret_n + 1);
    for (size_t i = 0; i < g->nodes.len; i++) {
        dev_node n = g->nodes.items[i].n;
        int32_t phase = first[n.phase];
        for (n.part = 0; n.part < n.n_parts && !g->nodes.items[i].dead; n.part++) {
            n.phase = phase + n.part;
            out[start[n.phase]++] = n;
        }
    }
    return out;
}

err_code graph_plan(graph *g, dev_program_spec *ret_spec, err *e) {
    if (g->first.code != ERR_OK) FAIL(e, INVALID, "%s", g->first.msg);
    if (g->nodes.len == 0) FAIL(e, INVALID, "the graph has no nodes");
    fuse_quantize(g);
    if (g->params.bf16) round_early(g);
    layer_phases *lp = arena_alloc(g->mem, sizeof *lp);
    memset(lp, 0xff, sizeof *lp);
    int32_t n_phases = 0;
    for (size_t i = 0; i < g->nodes.len; i++) {
        if (g->nodes.items[i].dead) continue;
        TRY(node_phase(g, i, lp, e));
        if (g->nodes.items[i].n.phase >= n_phases) n_phases = g->nodes.items[i].n.phase + 1;
    }
    note_readers(g);
    for (size_t i = 0; i < g->nodes.len; i++)
        if (!g->nodes.items[i].dead) place_in_input(&g->nodes.items[i].n);
    uint64_t peak = place_all(g);
    for (size_t i = 0; i < g->tensors.len; i++) {
        graph_tensor *t = g->tensors.items[i];
        if (t->buf) t->t.offset = root_of(t->buf)->offset + t->buf_offset;
    }
    int32_t n_nodes;
    const dev_node *nodes = sorted_nodes(g, &n_phases, &n_nodes);
    *ret_spec = (dev_program_spec){.nodes = nodes,
                                   .n_nodes = n_nodes,
                                   .n_phases = n_phases,
                                   .arena_bytes = peak,
                                   .max_tokens = g->params.max_tokens,
                                   .max_out_rows = g->params.max_out_rows,
                                   .max_seqs = g->params.max_seqs};
    return ERR_OK;
}
