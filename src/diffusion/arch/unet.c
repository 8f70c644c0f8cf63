/* The UNet: names of the original layout to a graph. */
#include "diffusion/arch/unet.h"
#include "base/mem.h"
#include "diffusion/arch/layers.h"
#include <math.h>
#include <stdatomic.h>
#include <string.h>

enum { SHAPE_PERTURBED = 1, SHAPE_FREEU = 2, SHAPE_FREEU_ADAPTIVE = 4 }; /* bits of kind */
enum { BLOCKS_MAX = 64, DEPTH_MAX = 64, HEAD_DIM = 64, SD1_CONTEXT = 768 };

struct unet {
    atomic_int refs;
    diff_net *net;
    unet_info info;
};

/* A builder at work: names are `at` plus what is asked for. */
typedef struct maker {
    layers l;
    graph_t emb;     /* SiLU of the timestep's embedding [4 channels, B] */
    graph_t context; /* [context_dim, S, B] */
    int32_t n_heads;
    int64_t up_x, up_y; /* size after the next upsampling */
    bool pass_values;   /* the next self-attention gives its values as they are */
} maker;

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

static graph_t attention(maker *m, const char *at, graph_t x, graph_t context, graph_t residual) {
    graph_t q = layers_linear(&m->l, at, "to_q", x, NULL),
            k = layers_linear(&m->l, at, "to_k", context, NULL);
    graph_t v = layers_linear(&m->l, at, "to_v", context, NULL);
    int64_t inner = q->ne[0], heads = m->n_heads ? m->n_heads : inner / HEAD_DIM;
    if (heads < 1) heads = 1;
    int64_t dim = inner / heads;
    q = graph_reshape(m->l.g, q, 4, (int64_t[4]){dim, heads, x->ne[1], x->ne[2]});
    k = graph_reshape(m->l.g, k, 4, (int64_t[4]){dim, heads, context->ne[1], context->ne[2]});
    v = graph_reshape(m->l.g, v, 4, (int64_t[4]){dim, heads, context->ne[1], context->ne[2]});
    graph_t a = graph_sdpa(m->l.g, q, k, v, &(graph_sdpa_params){1 / sqrtf((float)dim), false});
    return layers_linear(&m->l, at, "to_out.0", a, residual);
}

static graph_t transformer_block(maker *m, const char *at, graph_t x) {
    LAYERS_NAME(self, "%sattn1.", at);
    LAYERS_NAME(cross, "%sattn2.", at);
    graph_t h = layers_layer_norm(&m->l, at, "norm1", x);
    if (m->pass_values)
        x = layers_linear(&m->l, self, "to_out.0", layers_linear(&m->l, self, "to_v", h, NULL), x);
    else
        x = attention(m, self, h, h, x);
    m->pass_values = false;
    h = layers_layer_norm(&m->l, at, "norm2", x);
    x = attention(m, cross, h, m->context, x);
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
            x = layers_conv(&m->l, layer, "conv", graph_upsample2x(m->l.g, x, m->up_x, m->up_y),
                            &(graph_conv){0});
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
    int i = wide == 4 ? 0 : 1;
    return graph_freeu(
        g, x, kept,
        &(dev_freeu){s->tune[i], s->tune[2 + i], (s->kind & SHAPE_FREEU_ADAPTIVE) != 0});
}

static void build(diff_weights *w, graph *g, const diff_shape *s) {
    unet_info info;
    read_info(w, &info);
    maker m = {.l = {w, g}, .n_heads = info.n_heads};
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
        kept[n] = x = block(&m, at, x);
    }
    m.pass_values = s->kind & SHAPE_PERTURBED;
    x = block(&m, "middle_block.", x);
    for (int i = 0; n > 0; i++) {
        LAYERS_NAME(at, "output_blocks.%d.", i);
        x = join(g, s, &info, x, kept[--n]);
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

diff_shape unet_shape(const unet *u, const unet_input *in) {
    (void)u;
    const unet_freeu *f = &in->freeu;
    int32_t kind = in->perturbed ? SHAPE_PERTURBED : 0;
    if (f->on) kind |= f->adaptive ? SHAPE_FREEU_ADAPTIVE : SHAPE_FREEU;
    return (diff_shape){.kind = kind,
                        .tune = {f->backbone[0], f->backbone[1], f->skip[0], f->skip[1]},
                        .x = in->x_len,
                        .y = in->y,
                        .batch = in->n,
                        .context = in->n_context};
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
    diff_io io = {.data = {x, time, in->context, f->adm_dim ? in->adm : NULL}, .result = out};
    err_code code = diff_net_run(u->net, &s, &io, gate, e);
    if (code == ERR_OK) diff_to_nchw(out, ret, n, f->out_channels, pixels);
    mem_free(x);
    mem_free(out);
    mem_free(time);
    return code;
}
