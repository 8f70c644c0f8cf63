/* Builders of picture operations: shapes [C, X, Y, B], all lengths fixed. */
#include "base/checked.h"
#include "graph/graph_impl.h"
#include <string.h>

static bool is_f32(graph_t t) {
    return t && t->type == DTYPE_F32 && t->live == DEV_LIVE_FIXED;
}

static bool is_vector_or_none(graph_t t, int64_t n) {
    return !t || (is_f32(t) && t->n_dims == 1 && t->ne[0] == n);
}

static bool is_shape(graph_t t, const int64_t ne[4]) {
    return is_f32(t) && !memcmp(t->ne, ne, sizeof t->ne);
}

/* Convolutions of fewer channels in or out compute in f32 also in graphs in bfloat16: it costs
 * nothing there, and they are what latents and pictures go in and come out by. */
enum { BF16_CHANNELS_MIN = 16 };

/* Every activation of a picture stays below this many elements (an arena has to hold it). */
#define ELEMS_MAX ((int64_t)1 << 36)

static bool fits(const int64_t ne[4]) {
    int64_t n = 1;
    for (int d = 0; d < 4; d++) {
        if (ne[d] < 1 || ne[d] > ELEMS_MAX / n) return false;
        n *= ne[d];
    }
    return true;
}

static graph_tensor *out_of(graph *g, int n_dims, const int64_t ne[4]) {
    return graph_tensor_new(g, DTYPE_F32, n_dims, ne, DEV_LIVE_FIXED);
}

graph_t graph_data(graph *g, int slot, int n_dims, const int64_t ne[4]) {
    if (graph_is_failed(g)) return &g->bad->t;
    int64_t all[4] = {1, 1, 1, 1};
    for (int d = 0; d < n_dims && d < 4; d++) all[d] = ne[d];
    if (slot < 0 || slot >= DEV_DATA_COUNT || n_dims < 1 || n_dims > 4 || !fits(all))
        return graph_mistake(g, DEV_OP_COUNT, "impossible data input", NULL, NULL, NULL);
    graph_tensor *t = graph_tensor_create(g, DTYPE_F32, n_dims, all);
    t->t.place = DEV_PLACE_DATA;
    t->t.slot = slot;
    return &t->t;
}

graph_t graph_weight_panels(graph *g, int n_dims, const int64_t ne[4], const void *data) {
    graph_t t = graph_weight(g, DTYPE_BF16, n_dims, ne, data);
    if (!graph_is_failed(g)) ((graph_tensor *)(uintptr_t)t)->t.panels = true;
    return t;
}

bool graph_is_bf16(const graph *g) {
    return g->params.bf16;
}

void graph_keep_f32(graph *g) {
    g->params.bf16 = false;
}

bool graph_keeps_f32(const int64_t ne[4]) {
    return ne[0] < BF16_CHANNELS_MIN || ne[3] < BF16_CHANNELS_MIN;
}

static bool conv_shape(graph_t x, graph_t w, const dev_conv *p, int64_t ne[4]) {
    int64_t wide = x->ne[1] + p->left + p->right, high = x->ne[2] + p->top + p->bottom;
    if (p->stride_x < 1 || p->stride_y < 1 || p->left < 0 || p->right < 0 || p->top < 0 ||
        p->bottom < 0 || wide < w->ne[1] || high < w->ne[2])
        return false;
    ne[0] = w->ne[3];
    ne[1] = (wide - w->ne[1]) / p->stride_x + 1;
    ne[2] = (high - w->ne[2]) / p->stride_y + 1;
    ne[3] = x->ne[3];
    return fits(ne);
}

graph_t graph_conv2d(graph *g, graph_t x, const graph_conv *c) {
    if (graph_is_failed(g)) return &g->bad->t;
    graph_t w = c->w;
    dev_conv p = c->p;
    int64_t ne[4];
    if (p.stride_x == 0) p.stride_x = 1;
    if (p.stride_y == 0) p.stride_y = 1;
    if (!is_f32(x) || !w || w->place != DEV_PLACE_WEIGHT || w->ne[0] != x->ne[0] ||
        (w->type != DTYPE_F32 && w->type != DTYPE_F16 && w->type != DTYPE_BF16) ||
        (w->panels && (!g->params.bf16 || graph_keeps_f32(w->ne))) || !conv_shape(x, w, &p, ne))
        return graph_mistake(g, DEV_OP_CONV2D, "needs x [C,X,Y,B] and a weight [C,KX,KY,O]", x, w,
                             c->bias);
    if (!is_vector_or_none(c->bias, ne[0]))
        return graph_mistake(g, DEV_OP_CONV2D, "bias is not f32 [O]", x, w, c->bias);
    int64_t per_picture[4] = {ne[0], ne[3], 1, 1};
    if ((c->emb && !is_shape(c->emb, per_picture)) || (c->residual && !is_shape(c->residual, ne)))
        return graph_mistake(g, DEV_OP_CONV2D, "emb or residual does not fit", x, c->emb,
                             c->residual);
    graph_tensor *out = out_of(g, x->n_dims > 3 ? 4 : x->n_dims, ne);
    dev_node *n = NODE(g, DEV_OP_CONV2D, out, x, w, c->bias, c->emb, c->residual);
    n->params.conv = p;
    n->bf16 = g->params.bf16 && !graph_keeps_f32(w->ne);
    return &out->t;
}

graph_t graph_linear(graph *g, graph_t x, graph_t w, graph_t bias, graph_t residual) {
    if (graph_is_failed(g)) return &g->bad->t;
    if (!w || w->n_dims != 2 || w->place != DEV_PLACE_WEIGHT)
        return graph_mistake(g, DEV_OP_CONV2D, "needs a weight [C,O]", x, w, NULL);
    /* [C,O] as a kernel of one pixel */
    int64_t ne[4] = {w->ne[0], 1, 1, w->ne[1]};
    graph_t kernel = w->panels ? graph_weight_panels(g, 4, ne, w->data)
                               : graph_weight(g, w->type, 4, ne, w->data);
    return graph_conv2d(g, x, &(graph_conv){.w = kernel, .bias = bias, .residual = residual});
}

/* Parts that a picture's sums are formed in: enough to share out, few enough to add up often. */
enum { SUMS_ELEMS = 1 << 16, SUMS_PARTS_MAX = 64 };

static graph_t group_sums(graph *g, graph_t x, const dev_conv *p) {
    int64_t parts = x->ne[0] * x->ne[1] * x->ne[2] / SUMS_ELEMS;
    if (parts < 1) parts = 1;
    if (parts > SUMS_PARTS_MAX) parts = SUMS_PARTS_MAX;
    graph_tensor *out = out_of(g, 3, (int64_t[4]){2 * (int64_t)p->n_groups, parts, x->ne[3], 1});
    NODE(g, DEV_OP_GROUP_SUMS, out, x)->params.conv = *p;
    return &out->t;
}

graph_t graph_group_norm(graph *g, graph_t x, graph_t w, graph_t b, const dev_conv *p) {
    if (graph_is_failed(g)) return &g->bad->t;
    if (!is_f32(x) || !is_vector_or_none(w, x->ne[0]) || !is_vector_or_none(b, x->ne[0]) ||
        p->n_groups < 1 || x->ne[0] % p->n_groups != 0)
        return graph_mistake(g, DEV_OP_GROUP_NORM, "needs x [C,X,Y,B], C a multiple of the groups",
                             x, w, b);
    graph_t sums = group_sums(g, x, p);
    graph_tensor *out = out_of(g, x->n_dims, x->ne);
    NODE(g, DEV_OP_GROUP_NORM, out, x, w, b, NULL, sums)->params.conv = *p;
    return &out->t;
}

graph_t graph_given_norm(graph *g, graph_t x, graph_t given, const dev_conv *p) {
    if (graph_is_failed(g)) return &g->bad->t;
    if (!is_f32(x) || !is_f32(given) || given->n_dims != 1 || p->from < 0 ||
        p->from > given->ne[0] - 2 * x->ne[0] || p->n_groups < 1 || x->ne[0] % p->n_groups != 0)
        return graph_mistake(g, DEV_OP_GROUP_NORM, "the given factors do not fit", x, given, NULL);
    graph_tensor *out = out_of(g, x->n_dims, x->ne);
    NODE(g, DEV_OP_GROUP_NORM, out, x, NULL, NULL, given)->params.conv = *p;
    return &out->t;
}

graph_t graph_upsample2x(graph *g, graph_t x, int64_t nx, int64_t ny) {
    if (graph_is_failed(g)) return &g->bad->t;
    int64_t ne[4] = {0};
    bool near = is_f32(x) && (nx + 1) / 2 == x->ne[1] && (ny + 1) / 2 == x->ne[2];
    if (near) memcpy(ne, (int64_t[4]){x->ne[0], nx, ny, x->ne[3]}, sizeof ne);
    if (!fits(ne)) return graph_mistake(g, DEV_OP_UPSAMPLE2X, "needs x [C,X,Y,B]", x, NULL, NULL);
    graph_tensor *out = out_of(g, 4, ne);
    NODE(g, DEV_OP_UPSAMPLE2X, out, x);
    return &out->t;
}

static graph_t joined(graph *g, graph_t a, graph_t b, const dev_freeu *p) {
    dev_op op = p ? DEV_OP_FREEU : DEV_OP_CONCAT;
    if (graph_is_failed(g)) return &g->bad->t;
    if (!is_f32(a) || !is_f32(b) || memcmp(a->ne + 1, b->ne + 1, 3 * sizeof a->ne[0]))
        return graph_mistake(g, op, "needs two pictures of one size", a, b, NULL);
    int64_t ne[4] = {a->ne[0] + b->ne[0], a->ne[1], a->ne[2], a->ne[3]};
    graph_tensor *out = out_of(g, a->n_dims, ne);
    dev_node *n = NODE(g, op, out, a, b);
    if (p) n->params.freeu = *p;
    return &out->t;
}

graph_t graph_concat(graph *g, graph_t a, graph_t b) {
    return joined(g, a, b, NULL);
}

graph_t graph_freeu(graph *g, graph_t a, graph_t b, const dev_freeu *p) {
    return joined(g, a, b, p);
}

graph_t graph_sdpa(graph *g, graph_t q, graph_t k, graph_t v, const graph_sdpa_params *p) {
    if (graph_is_failed(g)) return &g->bad->t;
    if (!is_f32(q) || !is_f32(k) || !is_f32(v) || q->ne[0] != k->ne[0] || q->ne[1] != k->ne[1] ||
        q->ne[3] != k->ne[3] || memcmp(k->ne + 1, v->ne + 1, 3 * sizeof k->ne[0]))
        return graph_mistake(g, DEV_OP_SDPA, "q, k and v do not fit", q, k, v);
    int64_t ne[4] = {v->ne[0] * q->ne[1], q->ne[2], q->ne[3], 1};
    graph_tensor *out = out_of(g, 3, ne);
    dev_node *n = NODE(g, DEV_OP_SDPA, out, q, k, v);
    n->params.sdpa.scale = p->scale;
    n->params.sdpa.causal = p->causal;
    n->bf16 = g->params.bf16;
    return &out->t;
}
