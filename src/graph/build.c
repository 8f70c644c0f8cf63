/* The builder: shape inference and checks, one function per operation.
 *
 * Every function checks its inputs, makes the output tensor on a buffer of its own and appends one
 * node. After the first mistake all functions return `bad` and change nothing; graph_plan reports
 * the mistake. The order of nodes is the order of calls; plan.c cuts it into phases. */
#include "base/checked.h"
#include "graph/graph_impl.h"
#include "kern/kern_mat.h"
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { SHAPE_TEXT_BYTES = 96, MAX_ELEMS_LOG2 = 40 };

graph *graph_create(const graph_params *p) {
    assert(p->max_tokens >= 1 && p->max_out_rows >= 1 && p->max_seqs >= 1);
    graph *g = NEW(graph);
    g->mem = arena_create(1 << 16);
    g->params = *p;
    g->bad = ARENA_NEW(g->mem, graph_tensor);
    g->bad->t = (dev_tensor){.type = DTYPE_F32, .n_dims = 1, .ne = {1, 1, 1, 1}};
    return g;
}

void graph_destroy(graph **g) {
    if (!g || !*g) return;
    VEC_FINISH((*g)->nodes);
    VEC_FINISH((*g)->tensors);
    VEC_FINISH((*g)->bufs);
    arena_destroy(&(*g)->mem);
    mem_free(*g);
    *g = NULL;
}

/* ---- mistakes ---- */

static const char *shape_text(graph_t t, char out[SHAPE_TEXT_BYTES]) {
    static const char *const live[] = {"", " tokens", " rows", " sequences"};
    if (!t) return "absent";
    int n = snprintf(out, SHAPE_TEXT_BYTES, "%s[", dtype_name(t->type));
    for (int d = 0; d < t->n_dims && n < SHAPE_TEXT_BYTES - 32; d++)
        n += snprintf(out + n, SHAPE_TEXT_BYTES - (size_t)n, d ? ",%lld" : "%lld",
                      (long long)t->ne[d]);
    snprintf(out + n, SHAPE_TEXT_BYTES - (size_t)n, "%s]", live[t->live]);
    return out;
}

/* Keeps the first mistake: which node, its inputs' shapes, and what is wrong. */
graph_t graph_mistake(graph *g, dev_op op, const char *what, graph_t a, graph_t b, graph_t c) {
    char sa[SHAPE_TEXT_BYTES], sb[SHAPE_TEXT_BYTES], sc[SHAPE_TEXT_BYTES];
    if (g->first.code == ERR_OK)
        err_set(&g->first, ERR_INVALID, "graph node %zu %s: %s (inputs %s, %s, %s)", g->nodes.len,
                dev_op_name(op), what, shape_text(a, sa), shape_text(b, sb), shape_text(c, sc));
    return &g->bad->t;
}

bool graph_is_failed(const graph *g) {
    return g->first.code != ERR_OK;
}

/* ---- tensors ---- */

static const graph_tensor *up(graph_t t) {
    return (const graph_tensor *)(const void *)t;
}

static int64_t live_max(const graph *g, dev_live live, int64_t fixed) {
    switch (live) {
    case DEV_LIVE_TOKENS:
        return g->params.max_tokens;
    case DEV_LIVE_OUT_ROWS:
        return g->params.max_out_rows;
    case DEV_LIVE_SEQS:
        return g->params.max_seqs;
    case DEV_LIVE_FIXED:
        break;
    }
    return fixed;
}

static int64_t fixed_elems(graph_t t) { /* of one index of the last dimension */
    int64_t n = 1;
    for (int d = 0; d + 1 < t->n_dims; d++) n *= t->ne[d];
    return n;
}

static void set_dense_strides(dev_tensor *t) {
    t->stride[0] = 0;
    uint64_t bytes = 0;
    if (t->type == DTYPE_ACT8)
        bytes = kern_act8_row_bytes(t->ne[0]);
    else if (!dtype_row_bytes(t->type, t->ne[0], &bytes))
        assert(!"a whole number of blocks");
    for (int d = 1; d < 4; d++) {
        t->stride[d] = (int64_t)bytes;
        bytes *= (uint64_t)t->ne[d];
    }
}

graph_tensor *graph_tensor_create(graph *g, dtype type, int n_dims, const int64_t *ne) {
    graph_tensor *t = ARENA_NEW(g->mem, graph_tensor);
    t->t.type = type;
    t->t.n_dims = (uint8_t)n_dims;
    for (int d = 0; d < 4; d++) t->t.ne[d] = d < n_dims ? ne[d] : 1;
    set_dense_strides(&t->t);
    VEC_PUSH(g->tensors, t);
    return t;
}

/* A tensor on a new buffer. The last dimension gets the planned maximum when it is live. */
graph_tensor *graph_tensor_new(graph *g, dtype type, int n_dims, const int64_t *ne, dev_live live) {
    int64_t dims[4] = {1, 1, 1, 1};
    memcpy(dims, ne, (size_t)n_dims * sizeof dims[0]);
    dims[n_dims - 1] = live_max(g, live, dims[n_dims - 1]);
    graph_tensor *t = graph_tensor_create(g, type, n_dims, dims);
    t->t.live = live;
    t->t.place = DEV_PLACE_ARENA;
    graph_buf *b = ARENA_NEW(g->mem, graph_buf);
    b->n_bytes = (uint64_t)(t->t.stride[3] * t->t.ne[3]);
    b->writer = b->output_slot = -1;
    t->buf = b;
    VEC_PUSH(g->bufs, b);
    return t;
}

static graph_tensor *tensor_like(graph *g, graph_t x) {
    return graph_tensor_new(g, DTYPE_F32, x->n_dims, x->ne, x->live);
}

static bool same_shape(graph_t a, graph_t b) {
    return a->n_dims == b->n_dims && a->live == b->live && !memcmp(a->ne, b->ne, sizeof a->ne);
}

static bool is_f32(graph_t t) {
    return t && t->type == DTYPE_F32;
}

static bool is_vector(graph_t t, int64_t n) {
    return is_f32(t) && t->n_dims == 1 && t->ne[0] == n && t->live == DEV_LIVE_FIXED;
}

static bool is_vector_or_none(graph_t t, int64_t n) {
    return !t || is_vector(t, n);
}

static graph_t add_weight(graph *g, dtype type, int n_dims, const int64_t ne[4], const void *data,
                          bool interleaved) {
    if (graph_is_failed(g)) return &g->bad->t;
    bool ok = n_dims >= 1 && n_dims <= 4 && data != NULL;
    uint64_t elems = 1;
    for (int d = 0; ok && d < n_dims; d++)
        ok = ne[d] >= 1 && checked_mul(elems, (uint64_t)ne[d], &elems) &&
             elems <= UINT64_C(1) << MAX_ELEMS_LOG2;
    uint64_t row_bytes;
    if (!ok || !dtype_row_bytes(type, ne[0], &row_bytes)) {
        err_set(&g->first, ERR_INVALID, "graph weight %zu: impossible shape, type or address",
                g->tensors.len);
        return &g->bad->t;
    }
    graph_tensor *t = graph_tensor_create(g, type, n_dims, ne);
    t->t.place = DEV_PLACE_WEIGHT;
    t->t.data = data;
    t->t.interleaved = interleaved;
    return &t->t;
}

graph_t graph_weight(graph *g, dtype type, int n_dims, const int64_t ne[4], const void *data) {
    return add_weight(g, type, n_dims, ne, data, false);
}

graph_t graph_weight_interleaved(graph *g, dtype type, int n_dims, const int64_t ne[4],
                                 const void *tiles) {
    return add_weight(g, type, n_dims, ne, tiles, true);
}

graph_t graph_input(graph *g, int slot) {
    assert(slot >= 0 && slot < DEV_INPUT_COUNT);
    if (g->inputs[slot]) return &g->inputs[slot]->t;
    dev_live live = slot == DEV_INPUT_OUT_ROWS ? DEV_LIVE_OUT_ROWS : DEV_LIVE_TOKENS;
    int64_t ne[1] = {live_max(g, live, 1)};
    graph_tensor *t = graph_tensor_create(g, DTYPE_I32, 1, ne);
    t->t.live = live;
    t->t.place = DEV_PLACE_INPUT;
    t->t.slot = slot;
    g->inputs[slot] = t;
    return &t->t;
}

/* ---- nodes ---- */

dev_node *graph_node_add(graph *g, dev_op op, graph_tensor *out, int n_in, graph_t const *in) {
    graph_node n = {.n = {.op = op, .out = out ? &out->t : NULL}};
    for (int i = 0; i < n_in; i++) {
        n.n.in[i] = in[i];
        if (in[i] && up(in[i])->buf) up(in[i])->buf->n_readers++;
    }
    if (out) out->buf->writer = (int32_t)g->nodes.len;
    VEC_PUSH(g->nodes, n);
    return &VEC_LAST(g->nodes).n;
}

graph_t graph_get_rows(graph *g, graph_t w, graph_t ids, float scale) {
    if (graph_is_failed(g)) return &g->bad->t;
    if (!w || !ids || w->n_dims != 2 || ids->type != DTYPE_I32 || ids->n_dims != 1 ||
        w->place != DEV_PLACE_WEIGHT)
        return graph_mistake(g, DEV_OP_GET_ROWS, "needs a weight [D,V] and ids i32 [T]", w, ids,
                             NULL);
    int64_t ne[2] = {w->ne[0], ids->ne[0]};
    graph_tensor *out = graph_tensor_new(g, DTYPE_F32, 2, ne, ids->live);
    NODE(g, DEV_OP_GET_ROWS, out, w, ids)->params.f.scale = scale;
    return &out->t;
}

graph_t graph_take_rows(graph *g, graph_t x, graph_t rows) {
    if (graph_is_failed(g)) return &g->bad->t;
    if (!is_f32(x) || x->n_dims != 2 || !rows || rows->type != DTYPE_I32 || rows->n_dims != 1)
        return graph_mistake(g, DEV_OP_TAKE_ROWS, "needs x [D,T] and rows i32 [O]", x, rows, NULL);
    int64_t ne[2] = {x->ne[0], rows->ne[0]};
    graph_tensor *out = graph_tensor_new(g, DTYPE_F32, 2, ne, rows->live);
    NODE(g, DEV_OP_TAKE_ROWS, out, x, rows);
    return &out->t;
}

/* What a matmul with this weight reads: x itself, or its 8-bit copy (made at the first call). */
static graph_t matmul_input(graph *g, graph_t w, graph_t x) {
    if (!kern_mat_takes_act8(w->type) || x->type == DTYPE_ACT8) return x;
    graph_tensor *mut = g->bad; /* x is const for users; its cached copy is ours to set */
    for (size_t i = g->tensors.len; i-- > 0;)
        if (&g->tensors.items[i]->t == x) mut = g->tensors.items[i];
    assert(mut != g->bad);
    if (!mut->act8) {
        graph_tensor *q = graph_tensor_new(g, DTYPE_ACT8, x->n_dims, x->ne, x->live);
        NODE(g, DEV_OP_QUANTIZE, q, x);
        mut->act8 = q;
    }
    return &mut->act8->t;
}

graph_t graph_matmul_add(graph *g, graph_t w, graph_t x, graph_t bias, graph_t residual) {
    if (graph_is_failed(g)) return &g->bad->t;
    if (!w || w->place != DEV_PLACE_WEIGHT || w->n_dims != 2 || !is_f32(x) || x->n_dims != 2)
        return graph_mistake(g, DEV_OP_MATMUL, "needs a weight [K,N] and x f32 [K,T]", w, x, bias);
    if (w->ne[0] != x->ne[0])
        return graph_mistake(g, DEV_OP_MATMUL, "w and x differ in K", w, x, bias);
    if (!is_vector_or_none(bias, w->ne[1]))
        return graph_mistake(g, DEV_OP_MATMUL, "bias is not f32 [N]", w, x, bias);
    int64_t ne[2] = {w->ne[1], x->ne[1]};
    if (residual && (!is_f32(residual) || residual->n_dims != 2 || residual->ne[0] != ne[0] ||
                     residual->ne[1] != ne[1] || residual->live != x->live))
        return graph_mistake(g, DEV_OP_MATMUL, "residual (third) is not f32 [N,T]", w, x, residual);
    graph_t in = matmul_input(g, w, x);
    graph_tensor *out = graph_tensor_new(g, DTYPE_F32, 2, ne, x->live);
    NODE(g, DEV_OP_MATMUL, out, w, in, bias, residual);
    return &out->t;
}

graph_t graph_matmul(graph *g, graph_t w, graph_t x, graph_t bias) {
    return graph_matmul_add(g, w, x, bias, NULL);
}

graph_t graph_matmul_id(graph *g, graph_t w, graph_t x, graph_t ids, graph_t bias) {
    if (graph_is_failed(g)) return &g->bad->t;
    if (!w || w->place != DEV_PLACE_WEIGHT || w->n_dims != 3 || !is_f32(x) || x->n_dims < 2 ||
        x->n_dims > 3 || !ids || ids->type != DTYPE_I32 || ids->n_dims != 2)
        return graph_mistake(g, DEV_OP_MATMUL_ID, "needs w [K,N,E], x [K,(U),T], ids i32 [U,T]", w,
                             x, ids);
    bool per_expert = x->n_dims == 3 && x->ne[1] != 1;
    if (w->ne[0] != x->ne[0] || (per_expert && x->ne[1] != ids->ne[0]) || x->live != ids->live)
        return graph_mistake(g, DEV_OP_MATMUL_ID, "shapes do not fit", w, x, ids);
    if (bias &&
        (!is_f32(bias) || bias->n_dims != 2 || bias->ne[0] != w->ne[1] || bias->ne[1] != w->ne[2]))
        return graph_mistake(g, DEV_OP_MATMUL_ID, "bias (third) is not f32 [N,E]", w, x, bias);
    graph_t in = matmul_input(g, w, x);
    int64_t ne[3] = {w->ne[1], ids->ne[0], ids->ne[1]};
    graph_tensor *out = graph_tensor_new(g, DTYPE_F32, 3, ne, x->live);
    NODE(g, DEV_OP_MATMUL_ID, out, w, in, ids, bias);
    return &out->t;
}

graph_t graph_rms_norm(graph *g, graph_t x, graph_t w, float eps) {
    if (graph_is_failed(g)) return &g->bad->t;
    if (!is_f32(x) || !is_vector_or_none(w, x->ne[0]))
        return graph_mistake(g, DEV_OP_RMS_NORM, "needs x f32 [D,..] and w f32 [D]", x, w, NULL);
    graph_tensor *out = tensor_like(g, x);
    NODE(g, DEV_OP_RMS_NORM, out, x, w)->params.norm.eps = eps;
    return &out->t;
}

graph_t graph_layer_norm(graph *g, graph_t x, graph_t w, graph_t b, float eps) {
    if (graph_is_failed(g)) return &g->bad->t;
    if (!is_f32(x) || !is_vector_or_none(w, x->ne[0]) || !is_vector_or_none(b, x->ne[0]))
        return graph_mistake(g, DEV_OP_LAYER_NORM, "needs x f32 [D,..], w and b f32 [D]", x, w, b);
    graph_tensor *out = tensor_like(g, x);
    NODE(g, DEV_OP_LAYER_NORM, out, x, w, b)->params.norm.eps = eps;
    return &out->t;
}

static graph_t binary(graph *g, dev_op op, graph_t a, graph_t b) {
    if (graph_is_failed(g)) return &g->bad->t;
    if (!is_f32(a) || !is_f32(b) || !(same_shape(a, b) || is_vector(b, a->ne[0])))
        return graph_mistake(g, op, "needs two f32 of one shape, or b [D] for all rows", a, b,
                             NULL);
    graph_tensor *out = tensor_like(g, a);
    NODE(g, op, out, a, b);
    return &out->t;
}

graph_t graph_add(graph *g, graph_t a, graph_t b) {
    return binary(g, DEV_OP_ADD, a, b);
}
graph_t graph_mul(graph *g, graph_t a, graph_t b) {
    return binary(g, DEV_OP_MUL, a, b);
}

/* An operation on one f32 tensor; `node` (or NULL) gives access to its parameters. */
static graph_t unary(graph *g, dev_op op, graph_t a, dev_node **ret_node) {
    static dev_node scratch; /* only ever written, and only after a mistake */
    *ret_node = &scratch;
    if (graph_is_failed(g)) return &g->bad->t;
    if (!is_f32(a)) return graph_mistake(g, op, "needs an f32 tensor", a, NULL, NULL);
    graph_tensor *out = tensor_like(g, a);
    *ret_node = NODE(g, op, out, a);
    return &out->t;
}

graph_t graph_scale(graph *g, graph_t a, float scale, float bias) {
    dev_node *n;
    graph_t out = unary(g, DEV_OP_SCALE, a, &n);
    n->params.f.scale = scale;
    n->params.f.bias = bias;
    return out;
}

graph_t graph_softcap(graph *g, graph_t a, float cap) {
    dev_node *n;
    if (!graph_is_failed(g) && !(cap > 0))
        return graph_mistake(g, DEV_OP_SOFTCAP, "cap must be positive", a, NULL, NULL);
    graph_t out = unary(g, DEV_OP_SOFTCAP, a, &n);
    n->params.f.scale = cap;
    return out;
}

graph_t graph_act(graph *g, graph_t a, dev_act act) {
    assert(act < DEV_ACT_COUNT);
    dev_node *n;
    graph_t out = unary(g, DEV_OP_ACT, a, &n);
    n->params.act.act = act;
    return out;
}

graph_t graph_softmax(graph *g, graph_t a) {
    dev_node *n;
    return unary(g, DEV_OP_SOFTMAX, a, &n);
}

graph_t graph_l2_norm(graph *g, graph_t a) {
    dev_node *n;
    return unary(g, DEV_OP_L2_NORM, a, &n);
}

graph_t graph_glu(graph *g, graph_t gate, graph_t up_half, dev_act act) {
    assert(act < DEV_ACT_COUNT);
    if (graph_is_failed(g)) return &g->bad->t;
    if (!is_f32(gate) || (up_half && (!is_f32(up_half) || !same_shape(gate, up_half))) ||
        (!up_half && gate->ne[0] % 2 != 0))
        return graph_mistake(g, DEV_OP_GLU, "needs gate and up f32 [F,T], or one [2F,T]", gate,
                             up_half, NULL);
    int64_t ne[4];
    memcpy(ne, gate->ne, sizeof ne);
    if (!up_half) ne[0] /= 2;
    graph_tensor *out = graph_tensor_new(g, DTYPE_F32, gate->n_dims, ne, gate->live);
    NODE(g, DEV_OP_GLU, out, gate, up_half)->params.act.act = act;
    return &out->t;
}

/* ---- views ---- */

static graph_tensor *view_of(graph *g, graph_t x) {
    graph_tensor *t = ARENA_NEW(g->mem, graph_tensor);
    *t = *up(x);
    t->act8 = NULL;
    t->is_view = true;
    VEC_PUSH(g->tensors, t);
    return t;
}

static bool is_dense(graph_t x) {
    int64_t bytes = x->ne[0] * (int64_t)sizeof(float);
    for (int d = 1; d < x->n_dims; d++) {
        if (x->stride[d] != bytes) return false;
        bytes *= x->ne[d];
    }
    return true;
}

/* Any shape of as many elements. */
static graph_t reshape_dense(graph *g, graph_t x, const dev_tensor *want) {
    int64_t have = fixed_elems(x) * x->ne[x->n_dims - 1], n = 1;
    for (int d = 0; d < want->n_dims; d++) {
        if (want->ne[d] < 1 || want->ne[d] > have / n)
            return graph_mistake(g, DEV_OP_COUNT, "reshape changes the elements", x, want, NULL);
        n *= want->ne[d];
    }
    if (n != have)
        return graph_mistake(g, DEV_OP_COUNT, "reshape changes the elements", x, want, NULL);
    graph_tensor *t = view_of(g, x);
    t->t.n_dims = want->n_dims;
    memcpy(t->t.ne, want->ne, sizeof want->ne);
    set_dense_strides(&t->t);
    return &t->t;
}

graph_t graph_reshape(graph *g, graph_t x, int n_dims, const int64_t ne[4]) {
    if (graph_is_failed(g)) return &g->bad->t;
    dev_tensor want = {.n_dims = (uint8_t)n_dims, .ne = {1, 1, 1, 1}};
    bool ok = is_f32(x) && n_dims >= 1 && n_dims <= 4;
    for (int d = 0; ok && d < n_dims; d++) want.ne[d] = ne[d];
    if (ok && x->live == DEV_LIVE_FIXED && is_dense(x)) return reshape_dense(g, x, &want);
    if (ok) want.ne[n_dims - 1] = live_max(g, x->live, ne[n_dims - 1]);
    for (int d = 0; ok && d < n_dims; d++) ok = want.ne[d] >= 1;
    if (!ok || fixed_elems(&want) != fixed_elems(x) || want.ne[n_dims - 1] != x->ne[x->n_dims - 1])
        return graph_mistake(g, DEV_OP_COUNT, "reshape keeps the last dimension and the elements",
                             x, n_dims >= 1 ? &want : NULL, NULL);
    int64_t bytes = x->ne[0] * (int64_t)sizeof(float);
    for (int d = 1; d + 1 < x->n_dims; d++) { /* inside one index of the last dimension */
        if (x->stride[d] != bytes)
            return graph_mistake(g, DEV_OP_COUNT, "reshape of a strided view", x, NULL, NULL);
        bytes *= x->ne[d];
    }
    int64_t last_stride = x->n_dims == 1 ? (int64_t)sizeof(float) : x->stride[x->n_dims - 1];
    if (n_dims == 1 && last_stride != (int64_t)sizeof(float))
        return graph_mistake(g, DEV_OP_COUNT, "reshape of a strided view", x, NULL, NULL);
    graph_tensor *t = view_of(g, x);
    t->t.n_dims = (uint8_t)n_dims;
    memcpy(t->t.ne, want.ne, sizeof want.ne);
    set_dense_strides(&t->t);
    if (n_dims > 1) t->t.stride[n_dims - 1] = last_stride;
    for (int d = n_dims; d < 4; d++) t->t.stride[d] = t->t.stride[d - 1] * t->t.ne[d - 1];
    return &t->t;
}

graph_t graph_slice(graph *g, graph_t x, int64_t from, int64_t n) {
    if (graph_is_failed(g)) return &g->bad->t;
    if (!is_f32(x) || x->n_dims < 2 || from < 0 || n < 1 || from > x->ne[0] - n ||
        x->place != DEV_PLACE_ARENA)
        return graph_mistake(g, DEV_OP_COUNT, "slice outside its row", x, NULL, NULL);
    graph_tensor *t = view_of(g, x);
    t->t.ne[0] = n;
    t->buf_offset += (uint64_t)from * sizeof(float);
    return &t->t;
}

/* ---- positions and attention ---- */

static bool is_heads(graph_t t) {
    return is_f32(t) && t->n_dims == 3;
}

graph_t graph_rope(graph *g, graph_t x, graph_t pos, graph_t divisors, const dev_rope *p) {
    if (graph_is_failed(g)) return &g->bad->t;
    if (!is_heads(x) || !pos || pos->type != DTYPE_I32 || pos->live != x->live)
        return graph_mistake(g, DEV_OP_ROPE, "needs x f32 [K,H,T] and pos i32 [T]", x, pos,
                             divisors);
    if (p->n_rot < 2 || p->n_rot % 2 || p->n_rot > x->ne[0] || !(p->freq_base > 0) ||
        !is_vector_or_none(divisors, p->n_rot / 2))
        return graph_mistake(g, DEV_OP_ROPE, "n_rot, freq_base or divisors do not fit", x, pos,
                             divisors);
    graph_tensor *out = tensor_like(g, x);
    NODE(g, DEV_OP_ROPE, out, x, pos, divisors)->params.rope = *p;
    return &out->t;
}

void graph_kv_store(graph *g, graph_t k, graph_t v, const dev_attention *p) {
    if (graph_is_failed(g)) return;
    if (!is_heads(k) || !is_heads(v) || k->ne[1] != v->ne[1] || k->ne[1] != p->n_head_kv ||
        k->live != DEV_LIVE_TOKENS || v->live != DEV_LIVE_TOKENS || p->layer < 0) {
        graph_mistake(g, DEV_OP_KV_STORE, "needs k [K,Hkv,T] and v [Kv,Hkv,T]", k, v, NULL);
        return;
    }
    NODE(g, DEV_OP_KV_STORE, NULL, k, v)->params.attn = *p;
}

graph_t graph_attention(graph *g, graph_t q, graph_t sinks, int64_t head_dim_v,
                        const dev_attention *p) {
    if (graph_is_failed(g)) return &g->bad->t;
    if (!is_heads(q) || q->live != DEV_LIVE_TOKENS || p->n_head_kv < 1 ||
        q->ne[1] % p->n_head_kv != 0 || head_dim_v < 1 || p->layer < 0 ||
        !is_vector_or_none(sinks, q->ne[1]))
        return graph_mistake(g, DEV_OP_ATTENTION, "needs q [K,H,T], H a multiple of n_head_kv", q,
                             sinks, NULL);
    int64_t ne[2] = {head_dim_v * q->ne[1], q->ne[2]};
    graph_tensor *out = graph_tensor_new(g, DTYPE_F32, 2, ne, q->live);
    NODE(g, DEV_OP_ATTENTION, out, q, sinks)->params.attn = *p;
    return &out->t;
}

graph_t graph_attention_full(graph *g, graph_t q, graph_t k, graph_t v, const dev_attention *p) {
    if (graph_is_failed(g)) return &g->bad->t;
    if (!is_heads(q) || !is_heads(k) || !is_heads(v) || q->live != DEV_LIVE_TOKENS ||
        k->live != q->live || v->live != q->live || k->ne[0] != q->ne[0] || k->ne[1] != v->ne[1] ||
        k->ne[1] != p->n_head_kv || q->ne[1] % k->ne[1] != 0)
        return graph_mistake(g, DEV_OP_ATTENTION_FULL, "q, k and v do not fit", q, k, v);
    int64_t ne[2] = {v->ne[0] * q->ne[1], q->ne[2]};
    graph_tensor *out = graph_tensor_new(g, DTYPE_F32, 2, ne, q->live);
    NODE(g, DEV_OP_ATTENTION_FULL, out, q, k, v)->params.attn = *p;
    return &out->t;
}

/* ---- mixtures of experts, pooling, results ---- */

graph_t graph_top_k(graph *g, graph_t probs, int32_t k) {
    if (graph_is_failed(g)) return &g->bad->t;
    if (!is_f32(probs) || probs->n_dims != 2 || k < 1 || k > probs->ne[0])
        return graph_mistake(g, DEV_OP_TOP_K, "needs probs [E,T] and 1 <= k <= E", probs, NULL,
                             NULL);
    int64_t ne[2] = {k, probs->ne[1]};
    graph_tensor *out = graph_tensor_new(g, DTYPE_I32, 2, ne, probs->live);
    NODE(g, DEV_OP_TOP_K, out, probs);
    return &out->t;
}

graph_t graph_moe_weights(graph *g, graph_t probs, graph_t ids, bool renorm, float scale) {
    if (graph_is_failed(g)) return &g->bad->t;
    if (!is_f32(probs) || probs->n_dims != 2 || !ids || ids->type != DTYPE_I32 ||
        ids->n_dims != 2 || ids->live != probs->live)
        return graph_mistake(g, DEV_OP_MOE_WEIGHTS, "needs probs [E,T] and ids [U,T]", probs, ids,
                             NULL);
    graph_tensor *out = graph_tensor_new(g, DTYPE_F32, 2, ids->ne, ids->live);
    dev_node *n = NODE(g, DEV_OP_MOE_WEIGHTS, out, probs, ids);
    n->params.moe.renorm = renorm;
    n->params.moe.scale = scale;
    return &out->t;
}

graph_t graph_moe_sum(graph *g, graph_t x, graph_t weights) {
    if (graph_is_failed(g)) return &g->bad->t;
    if (!is_heads(x) || !is_f32(weights) || weights->n_dims != 2 || x->ne[1] != weights->ne[0] ||
        x->live != weights->live)
        return graph_mistake(g, DEV_OP_MOE_SUM, "needs x [D,U,T] and weights [U,T]", x, weights,
                             NULL);
    int64_t ne[2] = {x->ne[0], x->ne[2]};
    graph_tensor *out = graph_tensor_new(g, DTYPE_F32, 2, ne, x->live);
    NODE(g, DEV_OP_MOE_SUM, out, x, weights);
    return &out->t;
}

graph_t graph_pool(graph *g, graph_t x, dev_pool pool) {
    if (graph_is_failed(g)) return &g->bad->t;
    if (!is_f32(x) || x->n_dims != 2 || x->live != DEV_LIVE_TOKENS || pool == DEV_POOL_NONE)
        return graph_mistake(g, DEV_OP_POOL, "needs x [D,T] and a kind of pooling", x, NULL, NULL);
    int64_t ne[2] = {x->ne[0], 1};
    graph_tensor *out = graph_tensor_new(g, DTYPE_F32, 2, ne, DEV_LIVE_SEQS);
    NODE(g, DEV_OP_POOL, out, x)->params.pool.pool = pool;
    return &out->t;
}

void graph_output(graph *g, graph_t x, int slot) {
    assert(slot >= 0 && slot < DEV_OUTPUT_COUNT);
    if (graph_is_failed(g)) return;
    graph_tensor *found = NULL;
    for (size_t i = 0; i < g->tensors.len; i++)
        if (&g->tensors.items[i]->t == x) found = g->tensors.items[i];
    if (!found || !is_f32(x) || !found->buf || found->is_view || found->buf->n_readers > 0 ||
        found->buf->output_slot >= 0) {
        graph_mistake(g, DEV_OP_COUNT, "an output is a whole f32 result that no node reads", x,
                      NULL, NULL);
        return;
    }
    found->buf->output_slot = slot;
    found->t.place = DEV_PLACE_OUTPUT;
    found->t.slot = slot;
}
