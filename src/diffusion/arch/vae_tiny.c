/* TAESD: chains of convolutions and small residual blocks, numbered. A convolution without a bias
 * stands where the size changes. Files number the layers with or without the clamp in front. */
#include "base/mem.h"
#include "diffusion/arch/vae_impl.h"

enum { LAYERS_MAX = 64 };

typedef struct form {
    const char *at, *first, *mark; /* the first convolution, and one that must be there as well */
} form;
static const form DECODERS[] = {
    {"taesd_decoder.", "taesd_decoder.1.weight", "taesd_decoder.3.conv.0.weight"},
    {"decoder.layers.", "decoder.layers.0.weight", "decoder.layers.2.conv.0.weight"},
    {"decoder.", "decoder.1.weight", "decoder.3.conv.0.weight"},
    {"", "1.weight", "3.conv.0.weight"}};
static const form ENCODERS[] = {
    {"taesd_encoder.", "taesd_encoder.0.weight", "taesd_encoder.1.conv.0.weight"},
    {"encoder.layers.", "encoder.layers.0.weight", "encoder.layers.1.conv.0.weight"},
    {"encoder.", "encoder.0.weight", "encoder.1.conv.0.weight"},
    {"", "0.weight", "1.conv.0.weight"}};

static const form *form_of(const diff_weights *w, const form forms[4]) {
    for (size_t i = 0; i < 4; i++)
        if (diff_weights_has(w, forms[i].first) && diff_weights_has(w, forms[i].mark))
            return &forms[i];
    return NULL;
}

bool vae_is_tiny_decoder(const diff_weights *w) {
    return form_of(w, DECODERS) != NULL;
}

bool vae_is_tiny_encoder(const diff_weights *w) {
    return form_of(w, ENCODERS) != NULL;
}

static graph_t block(const layers *l, const char *at, graph_t x) {
    graph_t h = graph_act(l->g, layers_conv(l, at, "conv.0", x, &(graph_conv){0}), DEV_ACT_RELU);
    h = graph_act(l->g, layers_conv(l, at, "conv.2", h, &(graph_conv){0}), DEV_ACT_RELU);
    graph_t skip = x;
    if (layers_has(l, at, "skip.weight")) skip = layers_conv(l, at, "skip", x, &(graph_conv){0});
    h = layers_conv(l, at, "conv.4", h, &(graph_conv){.residual = skip});
    return graph_act(l->g, h, DEV_ACT_RELU);
}

static graph_t chain(const layers *l, const char *prefix, bool is_decoder, graph_t x) {
    bool first = true;
    for (int i = 0; i < LAYERS_MAX; i++) {
        LAYERS_NAME(at, "%s%d.", prefix, i);
        LAYERS_NAME(name, "%d", i);
        if (layers_has(l, at, "conv.0.weight")) {
            x = block(l, at, x);
            continue;
        }
        if (!layers_has(l, at, "weight")) continue; /* clamp, ReLU, upsampling */
        graph_conv c = {0};
        if (!layers_has(l, at, "bias")) {
            if (is_decoder)
                x = graph_upsample2x(l->g, x, 2 * x->ne[1], 2 * x->ne[2]);
            else
                c.p.stride_x = c.p.stride_y = 2;
        }
        x = layers_conv(l, prefix, name, x, &c);
        if (first && is_decoder) x = graph_act(l->g, x, DEV_ACT_RELU);
        first = false;
    }
    return x;
}

/* Number of convolutions that change the size; the first one's inputs, the last one's outputs. */
static int32_t count(const diff_weights *w, const form *f, int32_t *ret_in, int32_t *ret_out) {
    int32_t n = 0;
    *ret_in = *ret_out = 0;
    for (int i = 0; i < LAYERS_MAX; i++) {
        LAYERS_NAME(weight, "%s%d.weight", f->at, i);
        LAYERS_NAME(bias, "%s%d.bias", f->at, i);
        if (!diff_weights_has(w, weight)) continue;
        if (!*ret_in) *ret_in = layers_dim(w, weight, 2);
        *ret_out = layers_dim(w, weight, 3);
        n += !diff_weights_has(w, bias);
    }
    return n;
}

static void build(diff_weights *w, graph *g, const diff_shape *s) {
    bool is_decoder = s->kind == VAE_DECODE;
    const form *f = form_of(w, is_decoder ? DECODERS : ENCODERS);
    const layers l = {w, g};
    int32_t in, out;
    count(w, f, &in, &out);
    graph_t x = graph_data(g, DEV_DATA_X, 4, (int64_t[4]){in, s->x, s->y, 1});
    if (is_decoder)
        x = graph_scale(g, graph_act(g, graph_scale(g, x, 1.0f / 3, 0), DEV_ACT_TANH), 3, 0);
    else
        x = graph_scale(g, x, 0.5f, 0.5f); /* pictures are 0 to 1 inside */
    x = chain(&l, f->at, is_decoder, x);
    graph_output(g, is_decoder ? graph_scale(g, x, 2, -1) : x, DEV_OUTPUT_RESULT);
}

static err_code add_half(dev *d, diff_weights *w, bool is_decoder, vae *v, err *e) {
    const form *f = form_of(w, is_decoder ? DECODERS : ENCODERS);
    int32_t in = 0, out = 0, n = f ? count(w, f, &in, &out) : 0;
    int32_t z = is_decoder ? in : out, px = is_decoder ? out : in;
    const char *half = is_decoder ? "decoder" : "encoder";
    if (n < 1 || n > VAE_LEVELS_MAX || z < 1 || px != 3) {
        diff_weights_unref(&w);
        FAIL(e, FORMAT, "the file has no TAESD %s: %d to %d channels, %d changes of size", half, in,
             out, n);
    }
    if (v->info.z_channels && (v->info.z_channels != z || v->info.factor != 1 << n)) {
        diff_weights_unref(&w);
        FAIL(e, INVALID, "the TAESD encoder and decoder do not belong together: %d and %d channels",
             v->info.z_channels, z);
    }
    v->info.z_channels = z;
    v->info.factor = 1 << n;
    if (is_decoder)
        v->info.can_decode = true, v->decoder = diff_net_create(d, w, build);
    else
        v->info.can_encode = true, v->encoder = diff_net_create(d, w, build);
    return ERR_OK;
}

err_code vae_create_tiny(dev *d, diff_weights *decoder, diff_weights *encoder, double scale,
                         vae **ret, err *e) {
    vae *v = NEW(vae);
    atomic_init(&v->refs, 1);
    v->scale = scale;
    err_code code = decoder ? add_half(d, decoder, true, v, e) : ERR_OK;
    if (code == ERR_OK && encoder)
        code = add_half(d, encoder, false, v, e);
    else
        diff_weights_unref(&encoder);
    if (code)
        vae_unref(&v);
    else
        *ret = v;
    return code;
}
