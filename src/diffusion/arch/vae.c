/* AutoencoderKL: names of the original layout to graphs, and what all autoencoders share. */
#include "base/mem.h"
#include "diffusion/arch/vae_impl.h"
#include <math.h>
#include <string.h>

const dev_conv VAE_NORM_SILU = {.n_groups = 32, .eps = 1e-6f, .silu = true};
static const dev_conv NORM = {.n_groups = 32, .eps = 1e-6f};

/* ---- pieces ---- */

graph_t vae_norm(vae_maker *m, const char *at, const char *name, graph_t x, const dev_conv *p) {
    if (m->cut) return m->cut;
    if (!m->given) return layers_group_norm(&m->l, at, name, x, p);
    if (m->n_norms++ == m->stop) return m->cut = x;
    dev_conv q = *p;
    q.from = m->n_given;
    m->n_given += 2 * (int32_t)x->ne[0];
    return graph_given_norm(m->l.g, x, m->given, &q);
}

graph_t vae_conv(vae_maker *m, const char *at, const char *name, graph_t x, const graph_conv *c) {
    return m->cut ? m->cut : layers_conv(&m->l, at, name, x, c);
}

graph_t vae_res_block(vae_maker *m, const char *at, graph_t x) {
    graph_t h = vae_norm(m, at, "norm1", x, &VAE_NORM_SILU);
    h = vae_conv(m, at, "conv1", h, &(graph_conv){0});
    h = vae_norm(m, at, "norm2", h, &VAE_NORM_SILU);
    graph_t skip = x;
    if (layers_has(&m->l, at, "nin_shortcut.weight"))
        skip = vae_conv(m, at, "nin_shortcut", x, &(graph_conv){0});
    return vae_conv(m, at, "conv2", h, &(graph_conv){.residual = skip});
}

graph_t vae_up(vae_maker *m, const char *level, graph_t x) {
    if (m->cut) return m->cut;
    x = graph_upsample2x(m->l.g, x, 2 * x->ne[1], 2 * x->ne[2]);
    return vae_conv(m, level, "upsample.conv", x, &(graph_conv){0});
}

graph_t vae_down(vae_maker *m, const char *level, graph_t x) {
    const graph_conv down = {.p = {.stride_x = 2, .stride_y = 2, .right = 1, .bottom = 1}};
    return vae_conv(m, level, "downsample.conv", x, &down);
}

graph_t vae_out(vae_maker *m, graph_t x) {
    x = vae_norm(m, "decoder.", "norm_out", x, &VAE_NORM_SILU);
    return vae_conv(m, "decoder.", "conv_out", x, &(graph_conv){0});
}

/* ---- whole networks ---- */

static graph_t attn_block(vae_maker *m, const char *at, graph_t x) {
    const layers *l = &m->l;
    int64_t C = x->ne[0], X = x->ne[1], Y = x->ne[2], B = x->ne[3];
    const int64_t heads[4] = {C, 1, X * Y, B};
    graph_t h = layers_group_norm(l, at, "norm", x, &NORM);
    graph_t q = graph_reshape(l->g, layers_conv(l, at, "q", h, &(graph_conv){0}), 4, heads);
    graph_t k = graph_reshape(l->g, layers_conv(l, at, "k", h, &(graph_conv){0}), 4, heads);
    graph_t v = graph_reshape(l->g, layers_conv(l, at, "v", h, &(graph_conv){0}), 4, heads);
    graph_t a = graph_sdpa(l->g, q, k, v, &(graph_sdpa_params){1 / sqrtf((float)C), false});
    a = graph_reshape(l->g, a, 4, (int64_t[4]){C, X, Y, B});
    return layers_conv(l, at, "proj_out", a, &(graph_conv){.residual = x});
}

static graph_t middle(vae_maker *m, const char *at, graph_t x) {
    LAYERS_NAME(first, "%smid.block_1.", at);
    LAYERS_NAME(attn, "%smid.attn_1.", at);
    LAYERS_NAME(second, "%smid.block_2.", at);
    return vae_res_block(m, second, attn_block(m, attn, vae_res_block(m, first, x)));
}

static graph_t res_blocks(vae_maker *m, const char *level, graph_t x) {
    for (int i = 0; i < VAE_BLOCKS_MAX; i++) {
        LAYERS_NAME(at, "%sblock.%d.", level, i);
        if (!layers_has(&m->l, at, "norm1.weight")) break;
        x = vae_res_block(m, at, x);
    }
    return x;
}

/* To the first upsampling. */
static graph_t head(vae_maker *m, graph_t x) {
    const layers *l = &m->l;
    if (layers_has(l, "", "post_quant_conv.weight"))
        x = layers_conv(l, "", "post_quant_conv", x, &(graph_conv){0});
    x = layers_conv(l, "decoder.", "conv_in", x, &(graph_conv){0});
    x = middle(m, "decoder.", x);
    int last = vae_last_level(l->w, true);
    for (int i = VAE_LEVELS_MAX; i-- > 0 && i >= last;) {
        LAYERS_NAME(level, "decoder.up.%d.", i);
        x = res_blocks(m, level, x);
    }
    return x;
}

static graph_t decoder(vae_maker *m, graph_t x) {
    int last = vae_last_level(m->l.w, true);
    x = head(m, x);
    for (int i = last; i >= 0; i--) {
        LAYERS_NAME(level, "decoder.up.%d.", i);
        if (i < last) x = res_blocks(m, level, x);
        if (layers_has(&m->l, level, "upsample.conv.weight")) x = vae_up(m, level, x);
    }
    return vae_out(m, x);
}

/* From behind the last downsampling. */
static graph_t tail(vae_maker *m, graph_t x) {
    const layers *l = &m->l;
    for (int i = vae_last_level(l->w, false) + 1; i < VAE_LEVELS_MAX; i++) {
        LAYERS_NAME(level, "encoder.down.%d.", i);
        x = res_blocks(m, level, x);
    }
    x = middle(m, "encoder.", x);
    x = layers_group_norm(l, "encoder.", "norm_out", x, &VAE_NORM_SILU);
    x = layers_conv(l, "encoder.", "conv_out", x, &(graph_conv){0});
    if (layers_has(l, "", "quant_conv.weight"))
        x = layers_conv(l, "", "quant_conv", x, &(graph_conv){0});
    return x;
}

static graph_t encoder(vae_maker *m, graph_t x) {
    const layers *l = &m->l;
    x = layers_conv(l, "encoder.", "conv_in", x, &(graph_conv){0});
    for (int i = 0; i <= vae_last_level(l->w, false); i++) {
        LAYERS_NAME(level, "encoder.down.%d.", i);
        x = res_blocks(m, level, x);
        if (layers_has(l, level, "downsample.conv.weight")) x = vae_down(m, level, x);
    }
    return tail(m, x);
}

int vae_last_level(const diff_weights *w, bool decode) {
    for (int i = VAE_LEVELS_MAX; i-- > 0;) {
        LAYERS_NAME(up, "decoder.up.%d.upsample.conv.weight", i);
        LAYERS_NAME(down, "encoder.down.%d.downsample.conv.weight", i);
        if (diff_weights_has(w, decode ? up : down)) return i;
    }
    return -1;
}

static void read_info(const diff_weights *w, vae_info *info) {
    *info = (vae_info){.factor = 1, .can_band = true};
    info->z_channels = layers_dim(w, "post_quant_conv.weight", 2);
    if (!info->z_channels) info->z_channels = layers_dim(w, "decoder.conv_in.weight", 2);
    info->can_decode = info->z_channels > 0 && diff_weights_has(w, "decoder.conv_out.weight");
    info->can_encode = diff_weights_has(w, "encoder.conv_out.weight");
    if (!info->z_channels) info->z_channels = layers_dim(w, "encoder.conv_out.weight", 3) / 2;
    for (int i = 0; i < VAE_LEVELS_MAX; i++) {
        LAYERS_NAME(up, "decoder.up.%d.upsample.conv.weight", i);
        LAYERS_NAME(down, "encoder.down.%d.downsample.conv.weight", i);
        if (diff_weights_has(w, info->can_decode ? up : down)) info->factor *= 2;
    }
}

static void build(diff_weights *w, graph *g, const diff_shape *s) {
    static graph_t (*const PARTS[])(vae_maker *, graph_t) = {
        [VAE_DECODE] = decoder, [VAE_ENCODE] = encoder, [VAE_HEAD] = head, [VAE_TAIL] = tail};
    vae_info info;
    if (s->kind == VAE_BAND_DECODE || s->kind == VAE_BAND_ENCODE) {
        vae_band_build(w, g, s);
        return;
    }
    read_info(w, &info);
    vae_maker m = {.l = {w, g}, .stop = -1};
    int64_t channels = s->kind == VAE_ENCODE ? 3 : s->kind == VAE_TAIL ? s->extra : info.z_channels;
    graph_t x = graph_data(g, DEV_DATA_X, 4, (int64_t[4]){channels, s->x, s->y, 1});
    graph_output(g, PARTS[s->kind](&m, x), DEV_OUTPUT_RESULT);
}

/* ---- the object ---- */

static vae *vae_new(const vae_info *info) {
    vae *v = NEW(vae);
    atomic_init(&v->refs, 1);
    v->info = *info;
    v->scale = 1;
    return v;
}

err_code vae_create(dev *d, diff_weights *w, vae **ret, err *e) {
    vae_info info;
    read_info(w, &info);
    if (info.z_channels < 1 || (!info.can_decode && !info.can_encode)) {
        diff_weights_unref(&w);
        FAIL(e, FORMAT,
             "the file has no VAE of the SD families: decoder.conv_out.weight is missing");
    }
    vae *v = vae_new(&info);
    diff_net *n = diff_net_create(d, w, build);
    if (info.can_decode) v->decoder = diff_net_ref(n);
    if (info.can_encode) v->encoder = diff_net_ref(n);
    diff_net_unref(&n);
    *ret = v;
    return ERR_OK;
}

vae *vae_create_plain(void) {
    return vae_new(&(vae_info){3, 1, true, true, false});
}

vae *vae_ref(vae *v) {
    atomic_fetch_add(&v->refs, 1);
    return v;
}

void vae_unref(vae **vp) {
    vae *v = *vp;
    *vp = NULL;
    if (!v || atomic_fetch_sub(&v->refs, 1) > 1) return;
    diff_net_unref(&v->decoder);
    diff_net_unref(&v->encoder);
    mem_free(v);
}

const vae_info *vae_get_info(const vae *v) {
    return &v->info;
}

diff_net *vae_decoder(const vae *v) {
    return v->decoder;
}

diff_net *vae_encoder(const vae *v) {
    return v->encoder;
}

double vae_get_scale(const vae *v) {
    return v->scale;
}

static diff_shape shape_of(int32_t kind, const int32_t yx[2]) {
    return (diff_shape){.kind = kind, .x = yx[1], .y = yx[0], .batch = 1};
}

static err_code cost_of(diff_net *n, const diff_shape *s, diff_cost *ret, err *e) {
    *ret = (diff_cost){0};
    return n ? diff_net_cost(n, s, ret, e) : ERR_OK;
}

err_code vae_decode_cost(vae *v, const int32_t yx[2], diff_cost *ret, err *e) {
    diff_shape s = shape_of(VAE_DECODE, yx);
    if (!v->info.can_decode) FAIL(e, INVALID, "this VAE has no decoder");
    return cost_of(v->decoder, &s, ret, e);
}

err_code vae_encode_cost(vae *v, const int32_t yx[2], diff_cost *ret, err *e) {
    diff_shape s = shape_of(VAE_ENCODE, yx);
    if (!v->info.can_encode) FAIL(e, INVALID, "this VAE has no encoder");
    return cost_of(v->encoder, &s, ret, e);
}

err_code vae_decode(vae *v, const float *z, const int32_t nyx[3], const diff_gate *gate, float *ret,
                    err *e) {
    int64_t pixels = (int64_t)nyx[1] * nyx[2], c = v->info.z_channels;
    int64_t f = v->info.factor, out = pixels * f * f * 3;
    if (!v->info.can_decode) FAIL(e, INVALID, "this VAE has no decoder");
    diff_shape s = shape_of(VAE_DECODE, nyx + 1);
    float *x = mem_calloc((size_t)(pixels * c), sizeof *x);
    err_code code = ERR_OK;
    for (int32_t i = 0; i < nyx[0] && code == ERR_OK; i++) {
        diff_to_nhwc(z + i * pixels * c, x, 1, c, pixels);
        if (!v->decoder) {
            memcpy(ret + i * out, x, (size_t)out * sizeof *x);
            continue;
        }
        for (int64_t k = 0; k < pixels * c; k++) x[k] *= (float)v->scale;
        diff_io io = {.data = {x}, .result = ret + i * out};
        code = diff_net_run(v->decoder, &s, &io, gate, e);
    }
    mem_free(x);
    return code;
}

err_code vae_encode(vae *v, const float *px, const int32_t nyx[3], const diff_gate *gate,
                    float *ret, err *e) {
    int32_t f = v->info.factor;
    int64_t c = v->info.z_channels, in = (int64_t)nyx[1] * nyx[2] * 3;
    int64_t cells = (int64_t)(nyx[1] / f) * (nyx[2] / f);
    if (!v->info.can_encode) FAIL(e, INVALID, "this VAE has no encoder");
    if (nyx[1] % f || nyx[2] % f || cells == 0)
        FAIL(e, INVALID, "a picture of %dx%d: sides must be multiples of %d", nyx[2], nyx[1], f);
    if (!v->encoder) {
        diff_to_nchw(px, ret, nyx[0], c, cells);
        return ERR_OK;
    }
    diff_shape s = shape_of(VAE_ENCODE, nyx + 1);
    int64_t wide = c * (v->info.can_band ? 2 : 1); /* KL: means, then variances */
    float *moments = mem_calloc((size_t)(cells * wide), sizeof *moments);
    err_code code = ERR_OK;
    for (int32_t i = 0; i < nyx[0] && code == ERR_OK; i++) {
        diff_io io = {.data = {px + i * in}, .result = moments};
        code = diff_net_run(v->encoder, &s, &io, gate, e);
        for (int64_t p = 0; p < cells; p++)
            for (int64_t k = 0; k < c; k++)
                ret[(i * c + k) * cells + p] = moments[p * wide + k] / (float)v->scale;
    }
    mem_free(moments);
    return code;
}
