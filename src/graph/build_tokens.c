/* Builders of operations on pictures' tokens, and of pictures at other sizes: all lengths fixed. */
#include "graph/graph_impl.h"

static bool is_f32(graph_t t) {
    return t && t->type == DTYPE_F32 && t->live == DEV_LIVE_FIXED;
}

/* A dense result. */
static graph_tensor *out_of(graph *g, int n_dims, int64_t a, int64_t b, int64_t c, int64_t d) {
    return graph_tensor_new(g, DTYPE_F32, n_dims, (int64_t[4]){a, b, c, d}, DEV_LIVE_FIXED);
}

graph_t graph_sdpa_mass(graph *g, graph_t q, graph_t k, float scale) {
    if (graph_is_failed(g)) return &g->bad->t;
    if (!is_f32(q) || !is_f32(k) || q->ne[0] != k->ne[0] || q->ne[1] != k->ne[1] ||
        q->ne[3] != k->ne[3])
        return graph_mistake(g, DEV_OP_SDPA_MASS, "q and k do not fit", q, k, NULL);
    graph_tensor *out = out_of(g, 2, k->ne[2], k->ne[3], 1, 1);
    NODE(g, DEV_OP_SDPA_MASS, out, q, k)->params.sdpa.scale = scale;
    return &out->t;
}

graph_t graph_resize(graph *g, graph_t x, int64_t nx, int64_t ny, resize_method method) {
    if (graph_is_failed(g)) return &g->bad->t;
    if (!is_f32(x) || nx < 1 || ny < 1 || nx > INT32_MAX || ny > INT32_MAX)
        return graph_mistake(g, DEV_OP_RESIZE, "needs x [C,X,Y,B]", x, NULL, NULL);
    graph_tensor *out = out_of(g, 4, x->ne[0], nx, ny, x->ne[3]);
    NODE(g, DEV_OP_RESIZE, out, x)->params.resize.method = method;
    return &out->t;
}

graph_t graph_tiles(graph *g, graph_t x, const dev_tiles *p) {
    if (graph_is_failed(g)) return &g->bad->t;
    bool fit = is_f32(x) && p->rows > 0 && p->cols > 0 && p->cells_y % p->rows == 0 &&
               p->cells_x % p->cols == 0;
    int64_t n = fit ? (int64_t)p->rows * p->cols : 1, T = (int64_t)p->cells_y * p->cells_x;
    if (!fit || x->ne[1] != (p->back ? T / n : T) || (p->back && x->ne[2] % n != 0))
        return graph_mistake(g, DEV_OP_TILES, "the tiles do not fit", x, NULL, NULL);
    graph_tensor *out = p->back ? out_of(g, 3, x->ne[0], T, x->ne[2] / n, 1)
                                : out_of(g, 3, x->ne[0], T / n, x->ne[2] * n, 1);
    NODE(g, DEV_OP_TILES, out, x)->params.tiles = *p;
    return &out->t;
}

graph_t graph_token_match(graph *g, graph_t x, graph_t picks, const dev_match *p) {
    if (graph_is_failed(g)) return &g->bad->t;
    int64_t cells = (int64_t)(p->x / 2) * (p->y / 2);
    if (!is_f32(x) || !is_f32(picks) || x->ne[1] != (int64_t)p->x * p->y || cells < 1 ||
        p->from < 0 || p->from + cells > picks->ne[0] || p->n_merged < 0 ||
        p->n_merged > x->ne[1] - cells)
        return graph_mistake(g, DEV_OP_TOKEN_BEST, "the grid does not fit", x, picks, NULL);
    graph_t unit = graph_l2_norm(g, x);
    graph_tensor *best = out_of(g, 3, 2, x->ne[1], x->ne[2], 1),
                 *match = out_of(g, 2, x->ne[1], x->ne[2], 1, 1);
    NODE(g, DEV_OP_TOKEN_BEST, best, unit, picks)->params.match = *p;
    NODE(g, DEV_OP_TOKEN_MATCH, match, &best->t)->params.match = *p;
    return &match->t;
}

graph_t graph_token_merge(graph *g, graph_t x, graph_t match, const dev_match *p) {
    if (graph_is_failed(g)) return &g->bad->t;
    if (!is_f32(x) || !is_f32(match) || match->ne[0] != x->ne[1] || match->ne[1] != x->ne[2] ||
        p->n_merged < 0 || p->n_merged >= x->ne[1])
        return graph_mistake(g, DEV_OP_TOKEN_MERGE, "the tokens do not fit", x, match, NULL);
    graph_tensor *out = out_of(g, 3, x->ne[0], x->ne[1] - p->n_merged, x->ne[2], 1);
    NODE(g, DEV_OP_TOKEN_MERGE, out, x, match)->params.match = *p;
    return &out->t;
}

graph_t graph_token_spread(graph *g, graph_t x, graph_t match) {
    if (graph_is_failed(g)) return &g->bad->t;
    if (!is_f32(x) || !is_f32(match) || match->ne[1] != x->ne[2])
        return graph_mistake(g, DEV_OP_TOKEN_SPREAD, "the tokens do not fit", x, match, NULL);
    graph_tensor *out = out_of(g, 3, x->ne[0], match->ne[0], x->ne[2], 1);
    NODE(g, DEV_OP_TOKEN_SPREAD, out, x, match);
    return &out->t;
}
