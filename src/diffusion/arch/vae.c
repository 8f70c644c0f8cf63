/* AutoencoderKL: names of the original layout to graphs. */
#include "diffusion/arch/vae.h"
#include "base/mem.h"
#include "diffusion/arch/layers.h"
#include <math.h>
#include <stdatomic.h>

enum { DECODE = 1, ENCODE = 2, LEVELS_MAX = 8, BLOCKS_MAX = 16 };

struct vae {
    atomic_int refs;
    diff_net *net;
    vae_info info;
};

static const dev_conv NORM_SILU = {.n_groups = 32, .eps = 1e-6f, .silu = true};
static const dev_conv NORM = {.n_groups = 32, .eps = 1e-6f};

static graph_t res_block(const layers *l, const char *at, graph_t x) {
    graph_t h = layers_group_norm(l, at, "norm1", x, &NORM_SILU);
    h = layers_conv(l, at, "conv1", h, &(graph_conv){0});
    h = layers_group_norm(l, at, "norm2", h, &NORM_SILU);
    graph_t skip = x;
    if (layers_has(l, at, "nin_shortcut.weight"))
        skip = layers_conv(l, at, "nin_shortcut", x, &(graph_conv){0});
    return layers_conv(l, at, "conv2", h, &(graph_conv){.residual = skip});
}

static graph_t attn_block(const layers *l, const char *at, graph_t x) {
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

static graph_t middle(const layers *l, const char *at, graph_t x) {
    LAYERS_NAME(first, "%smid.block_1.", at);
    LAYERS_NAME(attn, "%smid.attn_1.", at);
    LAYERS_NAME(second, "%smid.block_2.", at);
    return res_block(l, second, attn_block(l, attn, res_block(l, first, x)));
}

static graph_t res_blocks(const layers *l, const char *level, graph_t x) {
    for (int i = 0; i < BLOCKS_MAX; i++) {
        LAYERS_NAME(at, "%sblock.%d.", level, i);
        if (!layers_has(l, at, "norm1.weight")) break;
        x = res_block(l, at, x);
    }
    return x;
}

static graph_t decoder(const layers *l, graph_t x) {
    if (layers_has(l, "", "post_quant_conv.weight"))
        x = layers_conv(l, "", "post_quant_conv", x, &(graph_conv){0});
    x = layers_conv(l, "decoder.", "conv_in", x, &(graph_conv){0});
    x = middle(l, "decoder.", x);
    for (int i = LEVELS_MAX; i-- > 0;) {
        LAYERS_NAME(level, "decoder.up.%d.", i);
        x = res_blocks(l, level, x);
        if (!layers_has(l, level, "upsample.conv.weight")) continue;
        x = graph_upsample2x(l->g, x, 2 * x->ne[1], 2 * x->ne[2]);
        x = layers_conv(l, level, "upsample.conv", x, &(graph_conv){0});
    }
    x = layers_group_norm(l, "decoder.", "norm_out", x, &NORM_SILU);
    return layers_conv(l, "decoder.", "conv_out", x, &(graph_conv){0});
}

static graph_t encoder(const layers *l, graph_t x) {
    const graph_conv down = {.p = {.stride_x = 2, .stride_y = 2, .right = 1, .bottom = 1}};
    x = layers_conv(l, "encoder.", "conv_in", x, &(graph_conv){0});
    for (int i = 0; i < LEVELS_MAX; i++) {
        LAYERS_NAME(level, "encoder.down.%d.", i);
        x = res_blocks(l, level, x);
        if (layers_has(l, level, "downsample.conv.weight"))
            x = layers_conv(l, level, "downsample.conv", x, &down);
    }
    x = middle(l, "encoder.", x);
    x = layers_group_norm(l, "encoder.", "norm_out", x, &NORM_SILU);
    x = layers_conv(l, "encoder.", "conv_out", x, &(graph_conv){0});
    if (layers_has(l, "", "quant_conv.weight"))
        x = layers_conv(l, "", "quant_conv", x, &(graph_conv){0});
    return x;
}

static void read_info(const diff_weights *w, vae_info *info) {
    *info = (vae_info){.factor = 1};
    info->z_channels = layers_dim(w, "post_quant_conv.weight", 2);
    if (!info->z_channels) info->z_channels = layers_dim(w, "decoder.conv_in.weight", 2);
    info->can_decode = info->z_channels > 0 && diff_weights_has(w, "decoder.conv_out.weight");
    info->can_encode = diff_weights_has(w, "encoder.conv_out.weight");
    if (!info->z_channels) info->z_channels = layers_dim(w, "encoder.conv_out.weight", 3) / 2;
    for (int i = 0; i < LEVELS_MAX; i++) {
        LAYERS_NAME(up, "decoder.up.%d.upsample.conv.weight", i);
        LAYERS_NAME(down, "encoder.down.%d.downsample.conv.weight", i);
        if (diff_weights_has(w, info->can_decode ? up : down)) info->factor *= 2;
    }
}

static void build(diff_weights *w, graph *g, const diff_shape *s) {
    vae_info info;
    read_info(w, &info);
    layers l = {w, g};
    int64_t channels = s->kind == DECODE ? info.z_channels : 3;
    graph_t x = graph_data(g, DEV_DATA_X, 4, (int64_t[4]){channels, s->x, s->y, 1});
    graph_output(g, s->kind == DECODE ? decoder(&l, x) : encoder(&l, x), DEV_OUTPUT_RESULT);
}

/* ---- the object ---- */

err_code vae_create(dev *d, diff_weights *w, vae **ret, err *e) {
    vae_info info;
    read_info(w, &info);
    if (!info.can_decode && !info.can_encode) {
        diff_weights_unref(&w);
        FAIL(e, FORMAT,
             "the file has no VAE of the SD families: decoder.conv_out.weight is missing");
    }
    vae *v = NEW(vae);
    atomic_init(&v->refs, 1);
    v->info = info;
    v->net = diff_net_create(d, w, build);
    *ret = v;
    return ERR_OK;
}

vae *vae_ref(vae *v) {
    atomic_fetch_add(&v->refs, 1);
    return v;
}

void vae_unref(vae **vp) {
    vae *v = *vp;
    *vp = NULL;
    if (!v || atomic_fetch_sub(&v->refs, 1) > 1) return;
    diff_net_unref(&v->net);
    mem_free(v);
}

const vae_info *vae_get_info(const vae *v) {
    return &v->info;
}

diff_net *vae_net(const vae *v) {
    return v->net;
}

diff_shape vae_decode_shape(int32_t y, int32_t x) {
    return (diff_shape){.kind = DECODE, .x = x, .y = y, .batch = 1};
}

diff_shape vae_encode_shape(int32_t y, int32_t x) {
    return (diff_shape){.kind = ENCODE, .x = x, .y = y, .batch = 1};
}

err_code vae_decode(vae *v, const float *z, const int32_t nyx[3], const diff_gate *gate, float *ret,
                    err *e) {
    int64_t pixels = (int64_t)nyx[1] * nyx[2], c = v->info.z_channels;
    int64_t f = v->info.factor, out = pixels * f * f * 3;
    if (!v->info.can_decode) FAIL(e, INVALID, "this VAE has no decoder");
    diff_shape s = vae_decode_shape(nyx[1], nyx[2]);
    float *x = mem_calloc((size_t)(pixels * c), sizeof *x);
    err_code code = ERR_OK;
    for (int32_t i = 0; i < nyx[0] && code == ERR_OK; i++) {
        diff_to_nhwc(z + i * pixels * c, x, 1, c, pixels);
        diff_io io = {.data = {x}, .result = ret + i * out};
        code = diff_net_run(v->net, &s, &io, gate, e);
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
    diff_shape s = vae_encode_shape(nyx[1], nyx[2]);
    float *moments = mem_calloc((size_t)(cells * c * 2), sizeof *moments);
    err_code code = ERR_OK;
    for (int32_t i = 0; i < nyx[0] && code == ERR_OK; i++) {
        diff_io io = {.data = {px + i * in}, .result = moments};
        code = diff_net_run(v->net, &s, &io, gate, e);
        for (int64_t p = 0; p < cells; p++) /* the first half of the channels is the mean */
            for (int64_t k = 0; k < c; k++) ret[(i * c + k) * cells + p] = moments[p * 2 * c + k];
    }
    mem_free(moments);
    return code;
}
