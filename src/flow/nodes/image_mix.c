/* Pictures over pictures: compositing, blending, alpha. */
#include "flow/nodes/pixel_runs.h"
#include "flow/nodes/pixels.h"
#include <math.h>
#include <string.h>

/* Gives *im the channels of `like`: more are cut off, a missing one is 1. */
static err_code match_channels(const flow_image *like, const flow_image **im, flow_image **owned,
                               err *e) {
    const flow_image *in = *im;
    if (in->c == like->c) return ERR_OK;
    TRY(px_image_new(in->n, in->y, in->x, like->c, owned, e));
    for (size_t i = 0; i < in->n * in->y * in->x; i++)
        for (size_t k = 0; k < like->c; k++)
            (*owned)->px[i * like->c + k] = k < in->c ? in->px[i * in->c + k] : 1.0f;
    *im = *owned;
    return ERR_OK;
}

err_code image_composite_masked_run(flow_call *c, err *e) {
    const flow_image *to, *from;
    px_composite_params p = {0};
    TRY(px_in_image(c, "destination", &to, e));
    TRY(px_in_image(c, "source", &from, e));
    TRY(px_in_size(c, "x", &p.x, e));
    TRY(px_in_size(c, "y", &p.y, e));
    TRY(flow_in_bool(c, "resize_source", &p.stretch, e));
    if (flow_in(c, "mask")) TRY(px_in_mask(c, "mask", &p.mask, e));
    CLEANUP(px_image_drop) flow_image *fit = NULL, *out = NULL;
    TRY(match_channels(to, &from, &fit, e));
    TRY(px_image_like(to, &out, e));
    memcpy(out->px, to->px, px_image_len(to) * sizeof(float));
    px_block dst = {px_image_dims(out), out->px}, src = {px_image_dims(from), from->px};
    TRY(px_composite(&dst, &src, &p, e));
    px_out_image(c, 0, TAKE(out));
    return ERR_OK;
}

/* ---- blending */

typedef enum blend_mode {
    BLEND_NORMAL,
    BLEND_MULTIPLY,
    BLEND_SCREEN,
    BLEND_OVERLAY,
    BLEND_SOFT_LIGHT,
    BLEND_DIFFERENCE
} blend_mode;

static int name_index(str name, const char *const *names) {
    for (int i = 0; names[i]; i++)
        if (str_eq(name, str_from(names[i]))) return i;
    return -1;
}

static float soft_light(float a, float b) {
    if (b <= 0.5f) return a - (1 - 2 * b) * a * (1 - a);
    float g = a <= 0.25f ? ((16 * a - 12) * a + 4) * a : sqrtf(a);
    return a + (2 * b - 1) * (g - a);
}

static float blend(float a, float b, blend_mode mode) {
    switch (mode) {
    case BLEND_NORMAL:
        return b;
    case BLEND_MULTIPLY:
        return a * b;
    case BLEND_SCREEN:
        return 1 - (1 - a) * (1 - b);
    case BLEND_OVERLAY:
        return a <= 0.5f ? 2 * a * b : 1 - 2 * (1 - a) * (1 - b);
    case BLEND_SOFT_LIGHT:
        return soft_light(a, b);
    case BLEND_DIFFERENCE:
        return a - b;
    }
    return b;
}

/* Batches of n and m pictures go together when they are equal or one is 1. */
static err_code batch_of(size_t n, size_t m, size_t *ret, err *e) {
    if (n != m && n != 1 && m != 1)
        FAIL(e, INVALID, "batches of %zu and %zu pictures do not go together", n, m);
    *ret = n > m ? n : m;
    return ERR_OK;
}

err_code image_blend_run(flow_call *c, err *e) {
    static const char *const names[] = {"normal",     "multiply",   "screen", "overlay",
                                        "soft_light", "difference", NULL};
    const flow_image *a, *b;
    double factor;
    str name;
    TRY(px_in_image(c, "image1", &a, e));
    TRY(px_in_image(c, "image2", &b, e));
    TRY(flow_in_float(c, "blend_factor", &factor, e));
    TRY(flow_in_text(c, "blend_mode", &name, e));
    int mode = name_index(name, names);
    if (mode < 0) FAIL(e, INVALID, "blend_mode: there is no " STR_FMT, STR_ARG(name));
    CLEANUP(px_image_drop) flow_image *fit = NULL, *sized = NULL, *out = NULL;
    TRY(match_channels(a, &b, &fit, e));
    if (a->y != b->y || a->x != b->x) {
        TRY(px_image_upscale(b, (resize_target){RESIZE_BICUBIC, a->y, a->x}, true, &sized, e));
        b = sized;
    }
    size_t n = 0, len = a->y * a->x * a->c;
    TRY(batch_of(a->n, b->n, &n, e));
    TRY(px_image_new(n, a->y, a->x, a->c, &out, e));
    float f = (float)factor, rest = (float)(1 - factor);
    for (size_t i = 0; i < n * len; i++) {
        float va = a->px[i % (a->n * len)], vb = b->px[i % (b->n * len)];
        out->px[i] = px_clamp01(va * rest + blend(va, vb, (blend_mode)mode) * f);
    }
    px_out_image(c, 0, TAKE(out));
    return ERR_OK;
}

/* ---- Porter-Duff (T. Porter and T. Duff, 1984; the other modes after W3C Compositing) */

static const char *const duff_names[] = {"ADD",     "CLEAR",    "DARKEN",   "DST",      "DST_ATOP",
                                         "DST_IN",  "DST_OUT",  "DST_OVER", "LIGHTEN",  "MULTIPLY",
                                         "OVERLAY", "SCREEN",   "SRC",      "SRC_ATOP", "SRC_IN",
                                         "SRC_OUT", "SRC_OVER", "XOR",      NULL};
enum {
    DUFF_ADD,
    DUFF_CLEAR,
    DUFF_DARKEN,
    DUFF_DST,
    DUFF_DST_ATOP,
    DUFF_DST_IN,
    DUFF_DST_OUT,
    DUFF_DST_OVER,
    DUFF_LIGHTEN,
    DUFF_MULTIPLY,
    DUFF_OVERLAY,
    DUFF_SCREEN,
    DUFF_SRC,
    DUFF_SRC_ATOP,
    DUFF_SRC_IN,
    DUFF_SRC_OUT,
    DUFF_SRC_OVER,
    DUFF_XOR
};

static float duff_alpha(int mode, float s, float d) {
    switch (mode) {
    case DUFF_ADD:
        return px_clamp01(s + d);
    case DUFF_CLEAR:
        return 0;
    case DUFF_DST:
        return d;
    case DUFF_DST_ATOP:
        return s;
    case DUFF_DST_IN:
    case DUFF_MULTIPLY:
    case DUFF_SRC_IN:
        return s * d;
    case DUFF_DST_OUT:
        return (1 - s) * d;
    case DUFF_DST_OVER:
        return d + (1 - d) * s;
    case DUFF_SRC:
        return s;
    case DUFF_SRC_ATOP:
        return d;
    case DUFF_SRC_OUT:
        return (1 - d) * s;
    case DUFF_SRC_OVER:
        return s + (1 - s) * d;
    case DUFF_XOR:
        return (1 - d) * s + (1 - s) * d;
    default:
        return s + d - s * d; /* darken, lighten, overlay, screen */
    }
}

/* si, di: colours times alpha; s, d: alphas. */
static float duff_color(int mode, float si, float di, float s, float d) {
    switch (mode) {
    case DUFF_ADD:
        return px_clamp01(si + di);
    case DUFF_CLEAR:
        return 0;
    case DUFF_DARKEN:
        return (1 - d) * si + (1 - s) * di + (si < di ? si : di);
    case DUFF_DST:
        return di;
    case DUFF_DST_ATOP:
        return s * di + (1 - d) * si;
    case DUFF_DST_IN:
        return di * s;
    case DUFF_DST_OUT:
        return (1 - s) * di;
    case DUFF_DST_OVER:
        return di + (1 - d) * si;
    case DUFF_LIGHTEN:
        return (1 - d) * si + (1 - s) * di + (si > di ? si : di);
    case DUFF_MULTIPLY:
        return si * di;
    case DUFF_OVERLAY:
        return 2 * di < d ? 2 * si * di : s * d - 2 * (d - si) * (s - di);
    case DUFF_SCREEN:
        return si + di - si * di;
    case DUFF_SRC:
        return si;
    case DUFF_SRC_ATOP:
        return d * si + (1 - s) * di;
    case DUFF_SRC_IN:
        return si * d;
    case DUFF_SRC_OUT:
        return (1 - d) * si;
    case DUFF_SRC_OVER:
        return si + (1 - s) * di;
    default:
        return (1 - d) * si + (1 - s) * di;
    }
}

typedef struct duff {
    const flow_image *src, *dst;
    const flow_mask *src_alpha, *dst_alpha;
    flow_image *owned_src;
    flow_mask *owned_src_alpha, *owned_dst_alpha;
} duff;

static err_code mask_to_size(const flow_mask **m, size_t y, size_t x, flow_mask **owned, err *e) {
    if ((*m)->y == y && (*m)->x == x) return ERR_OK;
    resize_dims d = px_mask_dims(*m);
    TRY(px_mask_new((*m)->n, y, x, owned, e));
    TRY(px_upscale((*m)->px, &d, (resize_target){RESIZE_BICUBIC, y, x}, true, (*owned)->px, e));
    *m = *owned;
    return ERR_OK;
}

/* Everything to the size of the destination. */
static err_code duff_fit(duff *p, err *e) {
    size_t y = p->dst->y, x = p->dst->x;
    if (p->src->c != p->dst->c)
        FAIL(e, INVALID, "source and destination have %zu and %zu channels", p->src->c, p->dst->c);
    TRY(mask_to_size(&p->dst_alpha, y, x, &p->owned_dst_alpha, e));
    TRY(mask_to_size(&p->src_alpha, y, x, &p->owned_src_alpha, e));
    if (p->src->y == y && p->src->x == x) return ERR_OK;
    TRY(px_image_upscale(p->src, (resize_target){RESIZE_BICUBIC, y, x}, true, &p->owned_src, e));
    p->src = p->owned_src;
    return ERR_OK;
}

static err_code duff_run(duff *p, int mode, flow_image **ret, flow_mask **ret_mask, err *e) {
    TRY(duff_fit(p, e));
    size_t n = p->src->n;
    if (p->dst->n < n) n = p->dst->n;
    if (p->src_alpha->n < n) n = p->src_alpha->n;
    if (p->dst_alpha->n < n) n = p->dst_alpha->n;
    size_t channels = p->dst->c;
    TRY(px_image_new(n, p->dst->y, p->dst->x, channels, ret, e));
    TRY(px_mask_new(n, p->dst->y, p->dst->x, ret_mask, e));
    for (size_t i = 0; i < px_mask_len(*ret_mask); i++) {
        float s = 1 - p->src_alpha->px[i], d = 1 - p->dst_alpha->px[i];
        float alpha = duff_alpha(mode, s, d);
        for (size_t k = i * channels; k < (i + 1) * channels; k++) {
            float v = duff_color(mode, p->src->px[k] * s, p->dst->px[k] * d, s, d);
            (*ret)->px[k] = alpha > 1e-5f ? px_clamp01(v / alpha) : 0.0f;
        }
        (*ret_mask)->px[i] = 1 - alpha;
    }
    return ERR_OK;
}

err_code image_porter_duff_run(flow_call *c, err *e) {
    duff p = {0};
    str name;
    TRY(px_in_image(c, "source", &p.src, e));
    TRY(px_in_mask(c, "source_alpha", &p.src_alpha, e));
    TRY(px_in_image(c, "destination", &p.dst, e));
    TRY(px_in_mask(c, "destination_alpha", &p.dst_alpha, e));
    TRY(flow_in_text(c, "mode", &name, e));
    int mode = name_index(name, duff_names);
    if (mode < 0) FAIL(e, INVALID, "mode: there is no " STR_FMT, STR_ARG(name));
    CLEANUP(px_image_drop) flow_image *out = NULL;
    CLEANUP(px_mask_drop) flow_mask *mask = NULL;
    err_code code = duff_run(&p, mode, &out, &mask, e);
    px_image_drop(&p.owned_src);
    px_mask_drop(&p.owned_src_alpha);
    px_mask_drop(&p.owned_dst_alpha);
    if (code != ERR_OK) return code;
    px_out_image(c, 0, TAKE(out));
    px_out_mask(c, 1, TAKE(mask));
    return ERR_OK;
}

/* ---- alpha channels */

err_code image_join_alpha_run(flow_call *c, err *e) {
    const flow_image *im;
    const flow_mask *alpha;
    TRY(px_in_image(c, "image", &im, e));
    TRY(px_in_mask(c, "alpha", &alpha, e));
    if (im->c < 3) FAIL(e, INVALID, "image has %zu channels; 3 are needed", im->c);
    CLEANUP(px_mask_drop) flow_mask *fit = NULL;
    flow_image *out;
    TRY(px_mask_upscale(alpha, im->y, im->x, &fit, e));
    size_t n = im->n > alpha->n ? im->n : alpha->n, len = im->y * im->x;
    TRY(px_image_new(n, im->y, im->x, 4, &out, e));
    for (size_t i = 0; i < n * len; i++) {
        memcpy(out->px + i * 4, im->px + i % (im->n * len) * im->c, 3 * sizeof(float));
        out->px[i * 4 + 3] = 1.0f - fit->px[i % (fit->n * len)];
    }
    px_out_image(c, 0, out);
    return ERR_OK;
}

err_code image_split_alpha_run(flow_call *c, err *e) {
    const flow_image *im;
    TRY(px_in_image(c, "image", &im, e));
    size_t channels = im->c < 3 ? im->c : 3;
    CLEANUP(px_image_drop) flow_image *out = NULL;
    CLEANUP(px_mask_drop) flow_mask *mask = NULL;
    TRY(px_image_new(im->n, im->y, im->x, channels, &out, e));
    TRY(px_mask_new(im->n, im->y, im->x, &mask, e));
    for (size_t i = 0; i < px_mask_len(mask); i++) {
        memcpy(out->px + i * channels, im->px + i * im->c, channels * sizeof(float));
        mask->px[i] = im->c > 3 ? 1.0f - im->px[i * im->c + 3] : 0.0f;
    }
    px_out_image(c, 0, TAKE(out));
    px_out_mask(c, 1, TAKE(mask));
    return ERR_OK;
}
