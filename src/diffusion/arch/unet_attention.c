/* Attention of the UNet: plain, and as changes to a model want it. */
#include "diffusion/arch/unet_impl.h"
#include <math.h>

enum { HEAD_DIM = 64, BLOCKS_MAX = 64, LAYERS_MAX = 3, DEPTH_MAX = 64 };

/* Rows of x as heads [K,H,T,B]. */
static graph_t heads_of(const maker *m, graph_t x, int64_t n_heads) {
    return graph_reshape(m->l.g, x, 4,
                         (int64_t[4]){x->ne[0] / n_heads, n_heads, x->ne[1], x->ne[2]});
}

static graph_t attend(maker *m, const char *at, graph_t x, graph_t context, graph_t residual,
                      bool mass) {
    graph_t q = layers_linear(&m->l, at, "to_q", x, NULL),
            k = layers_linear(&m->l, at, "to_k", context, NULL);
    graph_t v = layers_linear(&m->l, at, "to_v", context, NULL);
    int64_t heads = m->n_heads ? m->n_heads : q->ne[0] / HEAD_DIM;
    if (heads < 1) heads = 1;
    float scale = 1 / sqrtf((float)(q->ne[0] / heads));
    q = heads_of(m, q, heads);
    k = heads_of(m, k, heads);
    if (mass) graph_output(m->l.g, graph_sdpa_mass(m->l.g, q, k, scale), DEV_OUTPUT_SECOND);
    graph_t a = graph_sdpa(m->l.g, q, k, heads_of(m, v, heads), &(graph_sdpa_params){scale, false});
    return layers_linear(&m->l, at, "to_out.0", a, residual);
}

graph_t unet_attention(maker *m, const char *at, graph_t x, graph_t context, graph_t residual) {
    return attend(m, at, x, context, residual, false);
}

/* How the tokens [C,T,B] are cut, if they are those of a level that is. ComfyUI takes the grid's
 * columns for its rows; pictures of one width and height do not show it. */
static bool find_tiles(const diff_shape *s, int64_t n_tokens, dev_tiles *ret) {
    for (int32_t level = 0; level < UNET_TILED_LEVELS; level++) {
        int32_t f = 1 << level;
        const float *t = s->tune + TUNE_TILES + 2 * (ptrdiff_t)level;
        *ret = (dev_tiles){s->x / f, s->y / f, (int32_t)t[0], (int32_t)t[1], false};
        if (s->x % f || s->y % f || (int64_t)ret->cells_x * ret->cells_y != n_tokens) continue;
        return ret->rows * ret->cols > 1;
    }
    return false;
}

static graph_t tiled(maker *m, const char *at, graph_t x, graph_t h, dev_tiles *tiles) {
    graph_t parts = graph_tiles(m->l.g, h, tiles);
    graph_t runs = graph_reshape(m->l.g, h, 3, parts->ne);
    parts = unet_attention(m, at, parts, runs, NULL);
    tiles->back = true;
    return graph_add(m->l.g, x, graph_tiles(m->l.g, parts, tiles));
}

/* Similar tokens ask together; all are there to be asked. */
static graph_t merged(maker *m, const char *at, graph_t x, graph_t h) {
    dev_match p = {m->s->x, m->s->y, m->n_picked, (int32_t)m->s->tune[TUNE_MERGE]};
    m->n_picked += p.x / 2 * (p.y / 2);
    graph_t match = graph_token_match(m->l.g, h, m->picks, &p);
    graph_t some = graph_token_merge(m->l.g, h, match, &p);
    some = unet_attention(m, at, some, h, NULL);
    return graph_add(m->l.g, x, graph_token_spread(m->l.g, some, match));
}

graph_t unet_self_attention(maker *m, const char *at, graph_t x, graph_t h) {
    bool first = m->in_middle;
    dev_tiles tiles;
    m->in_middle = false;
    if (first && (m->s->kind & SHAPE_PERTURBED))
        return layers_linear(&m->l, at, "to_out.0", layers_linear(&m->l, at, "to_v", h, NULL), x);
    if (first && (m->s->kind & SHAPE_MASS)) return attend(m, at, h, h, x, true);
    if (find_tiles(m->s, h->ne[1], &tiles)) return tiled(m, at, x, h, &tiles);
    if (m->picks && h->ne[1] == (int64_t)m->s->x * m->s->y) return merged(m, at, x, h);
    return unet_attention(m, at, h, h, x);
}

/* Transformer blocks in one numbered block; *ret_scales: it changes the size. */
static int32_t count_blocks(const diff_weights *w, const char *side, int32_t i, bool *ret_scales) {
    int32_t n = 0;
    for (int32_t j = 0; j < LAYERS_MAX; j++) {
        LAYERS_NAME(op, "%s.%d.%d.op.weight", side, i, j);
        LAYERS_NAME(conv, "%s.%d.%d.conv.weight", side, i, j);
        if (diff_weights_has(w, op) || diff_weights_has(w, conv)) *ret_scales = true;
        for (int32_t k = 0; k < DEPTH_MAX; k++) {
            LAYERS_NAME(block, "%s.%d.%d.transformer_blocks.%d.norm1.weight", side, i, j, k);
            if (!diff_weights_has(w, block)) break;
            n++;
        }
    }
    return n;
}

int32_t unet_n_merging(const diff_weights *w) {
    int32_t n = 0, last = 0;
    bool scales = false;
    for (int32_t i = 0; i < BLOCKS_MAX && !scales; i++)
        n += count_blocks(w, "input_blocks", i, &scales);
    for (int32_t i = 0; i < BLOCKS_MAX; i++) { /* those after the last that scales */
        scales = false;
        int32_t here = count_blocks(w, "output_blocks", i, &scales);
        last = scales ? 0 : last + here;
    }
    return n + last;
}
