/* Pictures to latents and back. */
#include "flow/nodes/model_runs.h"
#include <math.h>
#include <string.h>

/* A picture that is all one colour, or not numbers, is not a result. */
static err_code check_picture(const flow_image *im, err *e) {
    size_t per = im->y * im->x * im->c;
    for (size_t n = 0; n < im->n; n++) {
        float lo = INFINITY, hi = -INFINITY;
        for (size_t i = 0; i < per; i++) {
            float v = im->px[n * per + i];
            if (isnan(v))
                FAIL(e, DEVICE,
                     "the decoded picture holds values that are not numbers: the VAE is "
                     "damaged or does not fit the latent");
            lo = v < lo ? v : lo;
            hi = v > hi ? v : hi;
        }
        if (!(hi > lo))
            FAIL(e, DEVICE,
                 "the decoded picture is all one colour: the VAE is damaged or does not "
                 "fit the latent");
    }
    return ERR_OK;
}

err_code vae_decode_run(flow_call *c, err *e) {
    vae *v;
    const flow_latent *l;
    flow_image *im;
    uint64_t held[2];
    TRY(md_in_vae(c, "vae", &v, e));
    TRY(px_in_latent(c, "samples", &l, e));
    const vae_info *f = vae_get_info(v);
    if ((int32_t)l->c != f->z_channels)
        FAIL(e, INVALID, "a latent of %zu channels; this VAE decodes %d", l->c, f->z_channels);
    const int32_t yx[2] = {(int32_t)l->y, (int32_t)l->x};
    TRY(vae_decode_bytes(v, yx, &held[0], &held[1], e));
    TRY(md_reserve(c, held[0], held[1], e));
    err_code code =
        px_image_new(l->n, l->y * (size_t)f->factor, l->x * (size_t)f->factor, 3, &im, e);
    if (code == ERR_OK) {
        code = vae_decode(v, l->px, (int32_t[3]){(int32_t)l->n, (int32_t)l->y, (int32_t)l->x},
                          &md_env(c)->gate, im->px, e);
        for (size_t i = 0; i < px_image_len(im) && code == ERR_OK; i++) {
            float t = (im->px[i] + 1) / 2;
            im->px[i] = t < 0 ? 0 : t > 1 ? 1 : t; /* NaN stays */
        }
        if (code == ERR_OK) code = check_picture(im, e);
        if (code == ERR_OK)
            px_out_image(c, 0, im);
        else
            px_image_drop(&im);
    }
    md_release(c, held[0], held[1]);
    return code;
}

/* The middle of the picture whose sides are multiples of the factor, in -1 .. 1, RGB. */
static float *prepare(const flow_image *im, size_t f, size_t ret_yx[2]) {
    size_t Y = im->y / f * f, X = im->x / f * f, oy = (im->y % f) / 2, ox = (im->x % f) / 2;
    float *px = NEW_ARRAY(float, im->n *Y *X * 3 + 1);
    for (size_t n = 0; n < im->n; n++)
        for (size_t y = 0; y < Y; y++)
            for (size_t x = 0; x < X; x++)
                for (size_t k = 0; k < 3; k++) {
                    size_t from = ((n * im->y + y + oy) * im->x + x + ox) * im->c;
                    float v = im->px[from + (k < im->c ? k : 0)];
                    px[((n * Y + y) * X + x) * 3 + k] = v * 2 - 1;
                }
    ret_yx[0] = Y;
    ret_yx[1] = X;
    return px;
}

/* px [n, Y, X, 3] in -1 .. 1. */
static err_code encode(flow_call *c, vae *v, const float *px, const size_t nyx[3],
                       flow_latent **ret, err *e) {
    const vae_info *f = vae_get_info(v);
    size_t k = (size_t)f->factor;
    uint64_t held[2];
    if (nyx[1] < k || nyx[2] < k)
        FAIL(e, INVALID, "a picture of %zux%zu is smaller than one latent cell of %zu pixels",
             nyx[2], nyx[1], k);
    const int32_t yx[2] = {(int32_t)nyx[1], (int32_t)nyx[2]};
    TRY(vae_encode_bytes(v, yx, &held[0], &held[1], e));
    TRY(md_reserve(c, held[0], held[1], e));
    err_code code = px_latent_new(nyx[0], (size_t)f->z_channels, nyx[1] / k, nyx[2] / k, ret, e);
    if (code == ERR_OK) {
        code = vae_encode(v, px, (int32_t[3]){(int32_t)nyx[0], (int32_t)nyx[1], (int32_t)nyx[2]},
                          &md_env(c)->gate, (*ret)->px, e);
        if (code) px_latent_drop(ret);
    }
    md_release(c, held[0], held[1]);
    return code;
}

static err_code encode_image(flow_call *c, vae *v, const flow_image *im, flow_latent **ret,
                             err *e) {
    size_t yx[2];
    float *px = prepare(im, (size_t)vae_get_info(v)->factor, yx);
    err_code code = encode(c, v, px, (size_t[3]){im->n, yx[0], yx[1]}, ret, e);
    mem_free(px);
    return code;
}

err_code vae_encode_run(flow_call *c, err *e) {
    vae *v;
    const flow_image *im;
    flow_latent *l;
    TRY(md_in_vae(c, "vae", &v, e));
    TRY(px_in_image(c, "pixels", &im, e));
    TRY(encode_image(c, v, im, &l, e));
    px_out_latent(c, 0, l);
    return ERR_OK;
}

/* ---- inpainting ---- */

/* The mask at the picture's size (bilinear), and both cut to multiples of 8 around the middle. */
typedef struct inpaint {
    flow_image *im;
    flow_mask *mask;
} inpaint;

static void inpaint_finish(inpaint *p) {
    px_image_drop(&p->im);
    px_mask_drop(&p->mask);
}

static err_code inpaint_open(flow_call *c, inpaint *p, err *e) {
    const flow_image *im;
    const flow_mask *mask;
    flow_mask *full;
    TRY(px_in_image(c, "pixels", &im, e));
    TRY(px_in_mask(c, "mask", &mask, e));
    TRY(px_mask_upscale(mask, im->y, im->x, &full, e));
    size_t Y = im->y / 8 * 8, X = im->x / 8 * 8, oy = im->y % 8 / 2, ox = im->x % 8 / 2;
    err_code code = px_image_new(im->n, Y, X, im->c, &p->im, e);
    if (code == ERR_OK) code = px_mask_new(full->n, Y, X, &p->mask, e);
    for (size_t n = 0; n < im->n && code == ERR_OK; n++)
        for (size_t y = 0; y < Y; y++)
            memcpy(p->im->px + (n * Y + y) * X * im->c,
                   im->px + ((n * im->y + y + oy) * im->x + ox) * im->c, X * im->c * sizeof(float));
    for (size_t n = 0; n < full->n && code == ERR_OK; n++)
        for (size_t y = 0; y < Y; y++)
            memcpy(p->mask->px + (n * Y + y) * X, full->px + (n * full->y + y + oy) * full->x + ox,
                   X * sizeof(float));
    px_mask_drop(&full);
    return code;
}

/* Grey where the mask is. */
static void grey_out(flow_image *im, const flow_mask *mask) {
    size_t cells = im->y * im->x;
    for (size_t i = 0; i < px_image_len(im); i++) {
        float m = 1 - rintf(mask->px[i / im->c / cells % mask->n * cells + i / im->c % cells]);
        im->px[i] = (im->px[i] - 0.5f) * m + 0.5f;
    }
}

/* Grown by `by` pixels, half before and half behind, as a convolution of ones. */
static err_code grow(const flow_mask *m, size_t by, flow_mask **ret, err *e) {
    TRY(px_mask_copy(m, ret, e));
    if (by == 0) return ERR_OK;
    size_t before = by / 2, behind = by - 1 - before; /* of the window around a pixel */
    for (size_t i = 0; i < px_mask_len(m); i++) {
        size_t x = i % m->x, y = i / m->x % m->y, n = i / m->x / m->y;
        size_t y0 = y > before ? y - before : 0, y1 = y + behind < m->y - 1 ? y + behind : m->y - 1;
        size_t x0 = x > before ? x - before : 0, x1 = x + behind < m->x - 1 ? x + behind : m->x - 1;
        float sum = 0;
        for (size_t yy = y0; yy <= y1 && sum < 1; yy++)
            for (size_t xx = x0; xx <= x1 && sum < 1; xx++)
                sum += rintf(m->px[(n * m->y + yy) * m->x + xx]);
        (*ret)->px[i] = sum > 1 ? 1 : sum;
    }
    return ERR_OK;
}

static err_code inpaint_encode(flow_call *c, vae *v, inpaint *p, size_t by, err *e) {
    flow_latent *l;
    flow_mask *mask;
    TRY(grow(p->mask, by, &mask, e));
    for (size_t i = 0; i < px_mask_len(mask); i++) mask->px[i] = rintf(mask->px[i]);
    grey_out(p->im, p->mask);
    err_code code = encode_image(c, v, p->im, &l, e);
    if (code) {
        px_mask_drop(&mask);
        return code;
    }
    l->mask = mask;
    px_out_latent(c, 0, l);
    return ERR_OK;
}

err_code vae_encode_inpaint_run(flow_call *c, err *e) {
    vae *v;
    size_t by;
    inpaint p = {0};
    TRY(md_in_vae(c, "vae", &v, e));
    TRY(px_in_size(c, "grow_mask_by", &by, e));
    err_code code = inpaint_open(c, &p, e);
    if (code == ERR_OK) code = inpaint_encode(c, v, &p, by, e);
    inpaint_finish(&p);
    return code;
}

/* The mask at the latent's size beside the encoded picture. */
static diff_conds *with_concat(const diff_conds *from, const flow_latent *l,
                               const flow_mask *mask) {
    diff_floats_ref *z = diff_floats_new(px_latent_len(l)), *m = diff_floats_new(px_mask_len(mask));
    memcpy(z->v, l->px, z->n * sizeof(float));
    memcpy(m->v, mask->px, m->n * sizeof(float));
    diff_conds *out = diff_conds_new(from->n);
    for (size_t i = 0; i < from->n; i++) {
        diff_cond *x = out->items[i] = diff_cond_copy(from->items[i]);
        diff_floats_drop(&x->concat);
        diff_floats_drop(&x->concat_mask);
        x->concat = diff_floats_share(z);
        x->concat_mask = diff_floats_share(m);
        x->concat_n = (int32_t)l->n, x->concat_c = (int32_t)l->c;
        x->concat_y = (int32_t)l->y, x->concat_x = (int32_t)l->x;
    }
    diff_floats_drop(&z);
    diff_floats_drop(&m);
    return out;
}

static err_code inpaint_conds(flow_call *c, vae *v, inpaint *p, err *e) {
    const diff_conds *positive, *negative;
    flow_latent *whole = NULL, *grey = NULL;
    flow_mask *small = NULL;
    bool noise_mask;
    TRY(md_in_conds(c, "positive", &positive, e));
    TRY(md_in_conds(c, "negative", &negative, e));
    TRY(flow_in_bool(c, "noise_mask", &noise_mask, e));
    err_code code = encode_image(c, v, p->im, &whole, e);
    if (code == ERR_OK) grey_out(p->im, p->mask);
    if (code == ERR_OK) code = encode_image(c, v, p->im, &grey, e);
    if (code == ERR_OK) code = px_mask_upscale(p->mask, grey->y, grey->x, &small, e);
    if (code == ERR_OK) {
        md_out_conds(c, 0, with_concat(positive, grey, small));
        md_out_conds(c, 1, with_concat(negative, grey, small));
        if (noise_mask) {
            whole->mask = p->mask;
            p->mask = NULL;
        }
        px_out_latent(c, 2, whole);
        whole = NULL;
    }
    px_latent_drop(&whole);
    px_latent_drop(&grey);
    px_mask_drop(&small);
    return code;
}

err_code cond_inpaint_run(flow_call *c, err *e) {
    vae *v;
    inpaint p = {0};
    TRY(md_in_vae(c, "vae", &v, e));
    err_code code = inpaint_open(c, &p, e);
    if (code == ERR_OK) code = inpaint_conds(c, v, &p, e);
    inpaint_finish(&p);
    return code;
}
