/* Pictures to latents and back. */
#include "flow/nodes/model_runs.h"
#include <math.h>
#include <string.h>

/* A picture that is all one colour, or not numbers, is not a result. */
static err_code check_picture(const char *node, const flow_image *im, err *e) {
    size_t per = im->y * im->x * im->c;
    for (size_t n = 0; n < im->n; n++) {
        float lo = INFINITY, hi = -INFINITY;
        for (size_t i = 0; i < per; i++) {
            float v = im->px[n * per + i];
            if (isnan(v))
                FAIL(e, DEVICE,
                     "%s: the decoded picture holds values that are not numbers: the VAE is "
                     "damaged or does not fit the latent",
                     node);
            lo = v < lo ? v : lo;
            hi = v > hi ? v : hi;
        }
        if (!(hi > lo))
            FAIL(e, DEVICE,
                 "%s: the decoded picture is all one colour: the VAE is damaged or does not fit "
                 "the latent",
                 node);
    }
    return ERR_OK;
}

/* One piece of work of a VAE: in one piece where that fits, else by bands. */
typedef struct vae_job {
    vae *v;
    bool decode, tiled; /* tiled: by bands anyway */
    int32_t nyx[3];     /* of what comes in */
} vae_job;

static flow_work work_of(const vae_job *j) {
    size_t f = j->decode ? (size_t)vae_get_info(j->v)->factor : 1;
    return (flow_work){j->decode ? "decoding" : "encoding",
                       (size_t)j->nyx[0],
                       (size_t)j->nyx[1] * f,
                       (size_t)j->nyx[2] * f,
                       0,
                       j->decode ? vae_decoder(j->v) : vae_encoder(j->v)};
}

/* Reserves; *ret_banded tells how it will run. */
static err_code begin(flow_call *c, const vae_job *j, diff_cost *cost, bool *ret_banded, err *e) {
    const vae_bands b = {j->decode, {j->nyx[0], j->nyx[1], j->nyx[2]}, 0};
    flow_work work = work_of(j);
    bool can = vae_get_info(j->v)->can_band && vae_get_info(j->v)->factor > 1;
    TRY(work_check_pixels(c, &work, e));
    diff_cost small = {0};
    TRY(j->decode ? vae_decode_cost(j->v, j->nyx + 1, cost, e)
                  : vae_encode_cost(j->v, j->nyx + 1, cost, e));
    if (can) TRY(vae_band_cost(j->v, &b, &small, e));
    can = can && small.plan < cost->plan;
    cost->flops *= j->nyx[0];
    small.flops *= j->nyx[0];
    *ret_banded = can && j->tiled;
    if (!*ret_banded) {
        err_code code = work_begin(c, &work, cost, e);
        if (code != ERR_DEVICE_NOMEM || !can) return code;
        *ret_banded = true;
    }
    *cost = small;
    return work_begin(c, &work, cost, e);
}

static err_code run_vae(flow_call *c, const vae_job *j, const float *src, float *ret, err *e) {
    const vae_bands b = {j->decode, {j->nyx[0], j->nyx[1], j->nyx[2]}, 0};
    const diff_gate *gate = &md_env(c)->gate;
    diff_cost cost;
    bool banded;
    TRY(begin(c, j, &cost, &banded, e));
    err_code code = banded      ? vae_band_run(j->v, &b, src, gate, ret, e)
                    : j->decode ? vae_decode(j->v, src, j->nyx, gate, ret, e)
                                : vae_encode(j->v, src, j->nyx, gate, ret, e);
    work_end(c, &cost);
    return code;
}

static err_code decode(flow_call *c, bool tiled, err *e) {
    vae_job j = {.decode = true, .tiled = tiled};
    const flow_latent *l;
    flow_image *im;
    TRY(md_in_vae(c, "vae", &j.v, e));
    TRY(px_in_latent(c, "samples", &l, e));
    const vae_info *f = vae_get_info(j.v);
    if ((int32_t)l->c != f->z_channels)
        FAIL(e, INVALID, "a latent of %zu channels; this VAE decodes %d", l->c, f->z_channels);
    j.nyx[0] = (int32_t)l->n, j.nyx[1] = (int32_t)l->y, j.nyx[2] = (int32_t)l->x;
    flow_work work = work_of(&j);
    TRY(work_check_pixels(c, &work, e));
    TRY(px_image_new(l->n, l->y * (size_t)f->factor, l->x * (size_t)f->factor, 3, &im, e));
    err_code code = run_vae(c, &j, l->px, im->px, e);
    for (size_t i = 0; i < px_image_len(im) && code == ERR_OK; i++) {
        float t = (im->px[i] + 1) / 2;
        im->px[i] = t < 0 ? 0 : t > 1 ? 1 : t; /* NaN stays */
    }
    if (code == ERR_OK && vae_decoder(j.v)) code = check_picture(flow_call_def(c)->name, im, e);
    if (code == ERR_OK)
        px_out_image(c, 0, im);
    else
        px_image_drop(&im);
    return code;
}

err_code vae_decode_run(flow_call *c, err *e) {
    return decode(c, false, e);
}

/* Tiles exist to save memory; bands do that without their seams, so sizes of tiles do not matter.
 */
err_code vae_decode_tiled_run(flow_call *c, err *e) {
    return decode(c, true, e);
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
static err_code encode(flow_call *c, const vae_job *given, const float *px, const size_t nyx[3],
                       flow_latent **ret, err *e) {
    vae_job j = *given;
    const vae_info *f = vae_get_info(j.v);
    size_t k = (size_t)f->factor;
    if (nyx[1] < k || nyx[2] < k)
        FAIL(e, INVALID, "a picture of %zux%zu is smaller than one latent cell of %zu pixels",
             nyx[2], nyx[1], k);
    for (int i = 0; i < 3; i++) j.nyx[i] = (int32_t)nyx[i];
    TRY(px_latent_new(nyx[0], (size_t)f->z_channels, nyx[1] / k, nyx[2] / k, ret, e));
    err_code code = run_vae(c, &j, px, (*ret)->px, e);
    for (size_t i = 0; i < px_latent_len(*ret) && code == ERR_OK; i++)
        if (!isfinite((*ret)->px[i]))
            code = err_set(e, ERR_DEVICE,
                           "%s: the encoded latent holds values that are not numbers: the VAE or "
                           "the picture is damaged",
                           flow_call_def(c)->name);
    if (code) px_latent_drop(ret);
    return code;
}

static err_code encode_image(flow_call *c, const vae_job *j, const flow_image *im,
                             flow_latent **ret, err *e) {
    size_t yx[2];
    float *px = prepare(im, (size_t)vae_get_info(j->v)->factor, yx);
    err_code code = encode(c, j, px, (size_t[3]){im->n, yx[0], yx[1]}, ret, e);
    mem_free(px);
    return code;
}

static err_code encode_pixels(flow_call *c, bool tiled, err *e) {
    vae_job j = {.tiled = tiled};
    const flow_image *im;
    flow_latent *l;
    TRY(md_in_vae(c, "vae", &j.v, e));
    TRY(px_in_image(c, "pixels", &im, e));
    TRY(encode_image(c, &j, im, &l, e));
    px_out_latent(c, 0, l);
    return ERR_OK;
}

err_code vae_encode_run(flow_call *c, err *e) {
    return encode_pixels(c, false, e);
}

err_code vae_encode_tiled_run(flow_call *c, err *e) {
    return encode_pixels(c, true, e);
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
    err_code code = encode_image(c, &(vae_job){.v = v}, p->im, &l, e);
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

/* The mask (or NULL) at the latent's size beside the encoded picture. */
static diff_conds *with_concat(const diff_conds *from, const flow_latent *l,
                               const flow_mask *mask) {
    diff_floats_ref *z = diff_floats_new(px_latent_len(l)), *m = NULL;
    memcpy(z->v, l->px, z->n * sizeof(float));
    if (mask) {
        m = diff_floats_new(px_mask_len(mask));
        memcpy(m->v, mask->px, m->n * sizeof(float));
    }
    diff_conds *out = diff_conds_new(from->n);
    for (size_t i = 0; i < from->n; i++) {
        diff_cond *x = out->items[i] = diff_cond_copy(from->items[i]);
        diff_floats_drop(&x->concat);
        diff_floats_drop(&x->concat_mask);
        x->concat = diff_floats_share(z);
        x->concat_mask = m ? diff_floats_share(m) : NULL;
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
    err_code code = encode_image(c, &(vae_job){.v = v}, p->im, &whole, e);
    if (code == ERR_OK) grey_out(p->im, p->mask);
    if (code == ERR_OK) code = encode_image(c, &(vae_job){.v = v}, p->im, &grey, e);
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

/* The picture to edit beside both conditionings, and an empty latent of its size. */
err_code cond_edit_run(flow_call *c, err *e) {
    vae_job j = {0};
    const flow_image *im;
    const diff_conds *positive, *negative;
    flow_latent *l;
    TRY(md_in_vae(c, "vae", &j.v, e));
    TRY(px_in_image(c, "pixels", &im, e));
    TRY(md_in_conds(c, "positive", &positive, e));
    TRY(md_in_conds(c, "negative", &negative, e));
    TRY(encode_image(c, &j, im, &l, e));
    md_out_conds(c, 0, with_concat(positive, l, NULL));
    md_out_conds(c, 1, with_concat(negative, l, NULL));
    memset(l->px, 0, px_latent_len(l) * sizeof *l->px);
    px_out_latent(c, 2, l);
    return ERR_OK;
}
