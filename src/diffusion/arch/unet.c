/* The UNet: names of the original layout to a graph. */
#include "base/mem.h"
#include "diffusion/arch/unet_impl.h"
#include <math.h>
#include <stdatomic.h>
#include <string.h>

enum { BLOCKS_MAX = 64, DEPTH_MAX = 64, SD1_CONTEXT = 768 };

struct unet {
    atomic_int refs;
    diff_net *net;
    unet_info info;
};

static const dev_conv NORM_SILU = {.n_groups = 32, .eps = 1e-5f, .silu = true};
static const dev_conv NORM_FINE = {.n_groups = 32, .eps = 1e-6f};

/* ---- blocks ---- */

static graph_t res_block(maker *m, const char *at, graph_t x) {
    graph_t h = layers_group_norm(&m->l, at, "in_layers.0", x, &NORM_SILU);
    graph_t emb = layers_linear(&m->l, at, "emb_layers.1", m->emb, NULL);
    h = layers_conv(&m->l, at, "in_layers.2", h, &(graph_conv){.emb = emb});
    h = layers_group_norm(&m->l, at, "out_layers.0", h, &NORM_SILU);
    graph_t skip = x;
    if (layers_has(&m->l, at, "skip_connection.weight"))
        skip = layers_conv(&m->l, at, "skip_connection", x, &(graph_conv){0});
    return layers_conv(&m->l, at, "out_layers.3", h, &(graph_conv){.residual = skip});
}

static graph_t transformer_block(maker *m, const char *at, graph_t x) {
    LAYERS_NAME(self, "%sattn1.", at);
    LAYERS_NAME(cross, "%sattn2.", at);
    graph_t h = layers_layer_norm(&m->l, at, "norm1", x);
    x = unet_self_attention(m, self, x, h);
    h = layers_layer_norm(&m->l, at, "norm2", x);
    x = unet_attention(m, cross, h, m->context, x);
    h = layers_linear(&m->l, at, "ff.net.0.proj", layers_layer_norm(&m->l, at, "norm3", x), NULL);
    int64_t half = h->ne[0] / 2; /* value first, then gate */
    graph_t value = graph_slice(m->l.g, h, 0, half), gate = graph_slice(m->l.g, h, half, half);
    return layers_linear(&m->l, at, "ff.net.2", graph_glu(m->l.g, gate, value, DEV_ACT_GELU_ERF),
                         x);
}

static graph_t spatial_transformer(maker *m, const char *at, graph_t x) {
    int64_t C = x->ne[0], X = x->ne[1], Y = x->ne[2], B = x->ne[3];
    graph_t h = layers_group_norm(&m->l, at, "norm", x, &NORM_FINE);
    h = graph_reshape(m->l.g, h, 3, (int64_t[4]){C, X * Y, B, 1});
    h = layers_linear(&m->l, at, "proj_in", h, NULL);
    for (int i = 0; i < DEPTH_MAX; i++) {
        LAYERS_NAME(block, "%stransformer_blocks.%d.", at, i);
        if (!layers_has(&m->l, block, "norm1.weight")) break;
        h = transformer_block(m, block, h);
    }
    graph_t rest = graph_reshape(m->l.g, x, 3, (int64_t[4]){C, X * Y, B, 1});
    h = layers_linear(&m->l, at, "proj_out", h, rest);
    return graph_reshape(m->l.g, h, 4, (int64_t[4]){C, X, Y, B});
}

/* At the size of what it will join: twice as large, or nearly, where nothing was shrunk. */
static graph_t upsampled(maker *m, graph_t x) {
    if ((m->up_x + 1) / 2 == x->ne[1] && (m->up_y + 1) / 2 == x->ne[2])
        return graph_upsample2x(m->l.g, x, m->up_x, m->up_y);
    return graph_resize(m->l.g, x, m->up_x, m->up_y, RESIZE_FLOOR);
}

/* The layers of one numbered block, in order: residual, attention, resampling. */
static graph_t block(maker *m, const char *at, graph_t x) {
    for (int i = 0; i < 3; i++) {
        LAYERS_NAME(layer, "%s%d.", at, i);
        if (layers_has(&m->l, layer, "in_layers.0.weight"))
            x = res_block(m, layer, x);
        else if (layers_has(&m->l, layer, "norm.weight"))
            x = spatial_transformer(m, layer, x);
        else if (layers_has(&m->l, layer, "op.weight"))
            x = layers_conv(&m->l, layer, "op", x,
                            &(graph_conv){.p = {.stride_x = 2, .stride_y = 2}});
        else if (layers_has(&m->l, layer, "conv.weight"))
            x = layers_conv(&m->l, layer, "conv", upsampled(m, x), &(graph_conv){0});
        else if (layers_has(&m->l, layer, "weight"))
            x = layers_conv(&m->l, at, i == 0 ? "0" : "1", x, &(graph_conv){0});
    }
    return x;
}

static graph_t embedding(maker *m, graph_t time, graph_t adm) {
    graph_t e = layers_linear(&m->l, "time_embed.", "0", time, NULL);
    e = layers_linear(&m->l, "time_embed.", "2", graph_act(m->l.g, e, DEV_ACT_SILU), NULL);
    if (adm) {
        graph_t a = layers_linear(&m->l, "label_emb.0.", "0", adm, NULL);
        e = layers_linear(&m->l, "label_emb.0.", "2", graph_act(m->l.g, a, DEV_ACT_SILU), e);
    }
    return graph_act(m->l.g, e, DEV_ACT_SILU);
}

static void read_info(const diff_weights *w, unet_info *info);

/* What came up and what was kept on the way down. */
static graph_t join(graph *g, const diff_shape *s, const unet_info *info, graph_t x, graph_t kept) {
    int64_t wide = x->ne[0] / info->channels, rest = x->ne[0] % info->channels;
    if (!(s->kind & (SHAPE_FREEU | SHAPE_FREEU_ADAPTIVE)) || rest || (wide != 4 && wide != 2))
        return graph_concat(g, x, kept);
    const float *t = s->tune + TUNE_FREEU + (wide == 4 ? 0 : 1);
    return graph_freeu(g, x, kept, &(dev_freeu){t[0], t[2], (s->kind & SHAPE_FREEU_ADAPTIVE) != 0});
}

/* Of the down side: after block i the picture is made smaller, before or after it is kept. */
static graph_t shrunk(maker *m, int i, bool after_skip, graph_t x) {
    const float *t = m->s->tune + TUNE_SHRINK;
    bool here = (m->s->kind & SHAPE_SHRINK) && (int)t[0] == i;
    if (!here || after_skip != ((m->s->kind & SHAPE_SHRINK_AFTER_SKIP) != 0)) return x;
    double by = 1.0 / ((double)t[1] + (double)t[2]);
    int64_t nx = (int64_t)resize_round((double)x->ne[1] * by),
            ny = (int64_t)resize_round((double)x->ne[2] * by);
    return graph_resize(m->l.g, x, nx > 1 ? nx : 1, ny > 1 ? ny : 1, (resize_method)t[3]);
}

/* x at the size of what was kept. */
static graph_t grown(maker *m, graph_t x, graph_t kept) {
    if (x->ne[1] == kept->ne[1] && x->ne[2] == kept->ne[2]) return x;
    return graph_resize(m->l.g, x, kept->ne[1], kept->ne[2],
                        (resize_method)m->s->tune[TUNE_SHRINK + 4]);
}

/* One of 0 to 3 for each cell of 2x2 tokens, for all layers that merge. */
static graph_t picks_of(diff_weights *w, graph *g, const diff_shape *s) {
    if (s->tune[TUNE_MERGE] < 1) return NULL;
    int64_t cells = (int64_t)(s->x / 2) * (s->y / 2), n = unet_n_merging(w) * cells;
    if (n == 0) return NULL;
    return graph_data(g, DEV_DATA_PICKS, 1, (int64_t[4]){n, 1, 1, 1});
}

static void build(diff_weights *w, graph *g, const diff_shape *s) {
    unet_info info;
    read_info(w, &info);
    maker m = {.l = {w, g}, .s = s, .n_heads = info.n_heads, .picks = picks_of(w, g, s)};
    int64_t B = s->batch;
    graph_t x = graph_data(g, DEV_DATA_X, 4, (int64_t[4]){info.in_channels, s->x, s->y, B});
    graph_t time = graph_data(g, DEV_DATA_TIME, 2, (int64_t[4]){info.channels, B, 1, 1});
    m.context =
        graph_data(g, DEV_DATA_CONTEXT, 3, (int64_t[4]){info.context_dim, s->context, B, 1});
    graph_t adm = NULL;
    if (info.adm_dim) adm = graph_data(g, DEV_DATA_EXTRA, 2, (int64_t[4]){info.adm_dim, B, 1, 1});
    m.emb = embedding(&m, time, adm);
    graph_t kept[BLOCKS_MAX];
    int n = 0;
    for (; n < BLOCKS_MAX; n++) {
        LAYERS_NAME(at, "input_blocks.%d.", n);
        if (!layers_has(&m.l, at, "0.weight") && !layers_has(&m.l, at, "0.op.weight") &&
            !layers_has(&m.l, at, "0.in_layers.0.weight"))
            break;
        kept[n] = x = shrunk(&m, n, false, block(&m, at, x));
        x = shrunk(&m, n, true, x);
    }
    m.in_middle = true;
    x = block(&m, "middle_block.", x);
    for (int i = 0; n > 0; i++) {
        LAYERS_NAME(at, "output_blocks.%d.", i);
        n--;
        x = join(g, s, &info, grown(&m, x, kept[n]), kept[n]);
        m.up_x = n > 0 ? kept[n - 1]->ne[1] : 0;
        m.up_y = n > 0 ? kept[n - 1]->ne[2] : 0;
        x = block(&m, at, x);
    }
    x = layers_group_norm(&m.l, "out.", "0", x, &NORM_SILU);
    graph_output(g, layers_conv(&m.l, "out.", "2", x, &(graph_conv){0}), DEV_OUTPUT_RESULT);
}

/* ---- the object ---- */

static int32_t find_context_dim(const diff_weights *w) {
    static const char *const SIDES[] = {"middle_block.1", "input_blocks.1.1", "input_blocks.2.1",
                                        "input_blocks.4.1", "input_blocks.5.1"};
    for (size_t i = 0; i < COUNT_OF(SIDES); i++) {
        LAYERS_NAME(name, "%s.transformer_blocks.0.attn2.to_k.weight", SIDES[i]);
        int32_t dim = layers_dim(w, name, 0);
        if (dim) return dim;
    }
    return 0;
}

/* SD1 has 8 heads everywhere, whatever their size; what came after has heads of 64. A convolution
 * as proj_in marks the former (SD2 has linear layers), and so does a narrow context. */
static int32_t find_heads(const diff_weights *w, int32_t context_dim) {
    const safetensors_tensor *t = diff_weights_find(w, "middle_block.1.proj_in.weight");
    if (!t) t = diff_weights_find(w, "input_blocks.1.1.proj_in.weight");
    return (t && t->n_dims == 4) || context_dim <= SD1_CONTEXT ? 8 : 0;
}

static void read_info(const diff_weights *w, unet_info *info) {
    *info = (unet_info){.in_channels = layers_dim(w, "input_blocks.0.0.weight", 2),
                        .channels = layers_dim(w, "input_blocks.0.0.weight", 3),
                        .out_channels = layers_dim(w, "out.2.weight", 3),
                        .context_dim = find_context_dim(w),
                        .adm_dim = layers_dim(w, "label_emb.0.0.weight", 0),
                        .n_levels = 1};
    info->n_heads = find_heads(w, info->context_dim);
    for (int i = 0; i < BLOCKS_MAX; i++) {
        LAYERS_NAME(name, "input_blocks.%d.0.op.weight", i);
        info->n_levels += diff_weights_has(w, name);
    }
}

err_code unet_create(dev *d, diff_weights *w, unet **ret, err *e) {
    unet_info info;
    read_info(w, &info);
    if (info.in_channels < 1 || info.channels < 2 || info.out_channels < 1 ||
        info.context_dim < 1) {
        const char *missing =
            info.channels ? "out.2.weight or attn2.to_k.weight" : "input_blocks.0.0.weight";
        diff_weights_unref(&w);
        FAIL(e, FORMAT, "the file has no UNet of the SD family: %s is missing or misshapen",
             missing);
    }
    unet *u = NEW(unet);
    atomic_init(&u->refs, 1);
    u->info = info;
    u->net = diff_net_create(d, w, build);
    *ret = u;
    return ERR_OK;
}

unet *unet_ref(unet *u) {
    atomic_fetch_add(&u->refs, 1);
    return u;
}

void unet_unref(unet **up) {
    unet *u = *up;
    *up = NULL;
    if (!u || atomic_fetch_sub(&u->refs, 1) > 1) return;
    diff_net_unref(&u->net);
    mem_free(u);
}

const unet_info *unet_get_info(const unet *u) {
    return &u->info;
}

diff_net *unet_net(const unet *u) {
    return u->net;
}

/* How many tokens join others: less than all but the targets. */
static int32_t n_merged(const unet_input *in) {
    int64_t tokens = (int64_t)in->x_len * in->y, cells = (int64_t)(in->x_len / 2) * (in->y / 2);
    int64_t n = (int64_t)((double)tokens * in->merge);
    return cells == 0 ? 0 : (int32_t)(n < tokens - cells ? n : tokens - cells);
}

diff_shape unet_shape(const unet *u, const unet_input *in) {
    (void)u;
    const unet_freeu *f = &in->freeu;
    const unet_shrink *k = &in->shrink;
    diff_shape s = {
        .x = in->x_len,
        .y = in->y,
        .batch = in->n,
        .context = in->n_context,
    };
    if (in->perturbed) s.kind |= SHAPE_PERTURBED;
    if (in->mass) s.kind |= SHAPE_MASS;
    if (f->on) s.kind |= f->adaptive ? SHAPE_FREEU_ADAPTIVE : SHAPE_FREEU;
    memcpy(s.tune + TUNE_FREEU, (float[]){f->backbone[0], f->backbone[1], f->skip[0], f->skip[1]},
           4 * sizeof(float));
    s.tune[TUNE_MERGE] = (float)n_merged(in);
    if (k->on) {
        s.kind |= SHAPE_SHRINK | (k->after_skip ? SHAPE_SHRINK_AFTER_SKIP : 0);
        float factor = (float)k->factor;
        memcpy(s.tune + TUNE_SHRINK,
               (float[]){(float)k->block, factor, (float)(k->factor - (double)factor),
                         (float)k->down, (float)k->up},
               5 * sizeof(float));
    }
    for (int i = 0; i < UNET_TILED_LEVELS; i++) {
        s.tune[TUNE_TILES + 2 * i] = (float)in->tiles.rows[i];
        s.tune[TUNE_TILES + 2 * i + 1] = (float)in->tiles.cols[i];
    }
    return s;
}

int64_t unet_n_picks(const unet *u, int32_t y, int32_t x) {
    return unet_n_merging(diff_net_weights(u->net)) * (int64_t)(x / 2) * (y / 2);
}

static int32_t scaled(int32_t n, double by) {
    int32_t k = (int32_t)resize_round(n * by);
    return k > 1 ? k : 1;
}

void unet_middle_size(const unet *u, const unet_input *in, int32_t ret_yx[2]) {
    const diff_weights *w = diff_net_weights(u->net);
    int32_t y = in->y, x = in->x_len;
    for (int i = 0; i < BLOCKS_MAX; i++) {
        LAYERS_NAME(name, "input_blocks.%d.0.op.weight", i);
        if (diff_weights_has(w, name)) y = (y + 1) / 2, x = (x + 1) / 2;
        if (in->shrink.on && in->shrink.block == i)
            y = scaled(y, 1 / in->shrink.factor), x = scaled(x, 1 / in->shrink.factor);
    }
    ret_yx[0] = y;
    ret_yx[1] = x;
}

void unet_sinusoids(double t, int32_t dim, float *ret) {
    int32_t half = dim / 2;
    for (int32_t i = 0; i < half; i++) {
        float freq = (float)exp(-log(10000.0) * i / half);
        float angle = (float)t * freq;
        ret[i] = cosf(angle);
        ret[half + i] = sinf(angle);
    }
    if (dim % 2) ret[dim - 1] = 0;
}

err_code unet_eval(unet *u, const unet_input *in, const diff_gate *gate, float *ret, err *e) {
    const unet_info *f = &u->info;
    int64_t pixels = (int64_t)in->x_len * in->y, n = in->n;
    diff_shape s = unet_shape(u, in);
    float *x = mem_calloc((size_t)(n * pixels), (size_t)f->in_channels * sizeof(float));
    float *out = mem_calloc((size_t)(n * pixels), (size_t)f->out_channels * sizeof(float));
    float *time = mem_calloc((size_t)n, (size_t)f->channels * sizeof(float));
    diff_to_nhwc(in->x, x, n, f->in_channels, pixels);
    for (int64_t b = 0; b < n; b++)
        unet_sinusoids((double)in->time[b], f->channels, time + b * f->channels);
    diff_io io = {.data = {x, time, in->context, f->adm_dim ? in->adm : NULL, in->picks},
                  .result = out,
                  .second = in->mass};
    err_code code = diff_net_run(u->net, &s, &io, gate, e);
    if (code == ERR_OK) diff_to_nchw(out, ret, n, f->out_channels, pixels);
    mem_free(x);
    mem_free(out);
    mem_free(time);
    return code;
}
