/* Sizes are checked where objects are made; loops behind that trust them. */
#include "flow/nodes/pixels.h"
#include "base/checked.h"
#include "base/limits.h"
#include <stdlib.h>
#include <string.h>

/* ---- making */

static err_code values_new(const char *what, const uint64_t dims[4], float **ret, err *e) {
    uint64_t n = 1;
    bool fits = true;
    for (int i = 0; i < 4; i++) fits = fits && dims[i] > 0 && checked_mul(n, dims[i], &n);
    if (!fits || n > LIMIT_PIXEL_VALUES)
        FAIL(e, LIMIT, "%s of [%llu, %llu, %llu, %llu] values cannot be made; at most %llu in all",
             what, (unsigned long long)dims[0], (unsigned long long)dims[1],
             (unsigned long long)dims[2], (unsigned long long)dims[3], LIMIT_PIXEL_VALUES);
    *ret = malloc((size_t)n * sizeof(float));
    if (!*ret) FAIL(e, NOMEM, "no memory for %llu values of %s", (unsigned long long)n, what);
    return ERR_OK;
}

err_code px_image_new(size_t n, size_t y, size_t x, size_t c, flow_image **ret, err *e) {
    float *px;
    TRY(values_new("a picture", (uint64_t[]){n, y, x, c}, &px, e));
    flow_image *im = NEW(flow_image);
    *im = (flow_image){.n = n, .y = y, .x = x, .c = c, .px = px};
    *ret = im;
    return ERR_OK;
}

err_code px_mask_new(size_t n, size_t y, size_t x, flow_mask **ret, err *e) {
    float *px;
    TRY(values_new("a mask", (uint64_t[]){n, y, x, 1}, &px, e));
    flow_mask *m = NEW(flow_mask);
    *m = (flow_mask){.n = n, .y = y, .x = x, .px = px};
    *ret = m;
    return ERR_OK;
}

err_code px_latent_new(size_t n, size_t c, size_t y, size_t x, flow_latent **ret, err *e) {
    float *px;
    TRY(values_new("a latent", (uint64_t[]){n, c, y, x}, &px, e));
    flow_latent *l = NEW(flow_latent);
    *l = (flow_latent){.n = n, .c = c, .y = y, .x = x, .px = px};
    *ret = l;
    return ERR_OK;
}

err_code px_image_like(const flow_image *like, flow_image **ret, err *e) {
    return px_image_new(like->n, like->y, like->x, like->c, ret, e);
}

err_code px_mask_like(const flow_mask *like, flow_mask **ret, err *e) {
    return px_mask_new(like->n, like->y, like->x, ret, e);
}

err_code px_mask_copy(const flow_mask *from, flow_mask **ret, err *e) {
    TRY(px_mask_like(from, ret, e));
    memcpy((*ret)->px, from->px, px_mask_len(from) * sizeof(float));
    return ERR_OK;
}

err_code px_latent_like(const flow_latent *like, size_t y, size_t x, flow_latent **ret, err *e) {
    CLEANUP(px_latent_drop) flow_latent *l = NULL;
    TRY(px_latent_new(like->n, like->c, y, x, &l, e));
    if (like->mask) TRY(px_mask_copy(like->mask, &l->mask, e));
    if (like->batch_index)
        l->batch_index = mem_dup(like->batch_index, like->n * sizeof *like->batch_index);
    *ret = TAKE(l);
    return ERR_OK;
}

void px_image_drop(flow_image **im) {
    if (*im) flow_image_destroy(TAKE(*im));
}

void px_mask_drop(flow_mask **m) {
    if (*m) flow_mask_destroy(TAKE(*m));
}

void px_latent_drop(flow_latent **l) {
    if (*l) flow_latent_destroy(TAKE(*l));
}

/* ---- inputs and outputs */

err_code px_in_image(const flow_call *c, const char *name, const flow_image **ret, err *e) {
    void *p = NULL;
    TRY(flow_in_object(c, name, "IMAGE", &p, e));
    *ret = p;
    return ERR_OK;
}

err_code px_in_mask(const flow_call *c, const char *name, const flow_mask **ret, err *e) {
    void *p = NULL;
    TRY(flow_in_object(c, name, "MASK", &p, e));
    *ret = p;
    return ERR_OK;
}

err_code px_in_latent(const flow_call *c, const char *name, const flow_latent **ret, err *e) {
    void *p = NULL;
    TRY(flow_in_object(c, name, "LATENT", &p, e));
    *ret = p;
    return ERR_OK;
}

err_code px_in_size(const flow_call *c, const char *name, size_t *ret, err *e) {
    int64_t v = 0;
    TRY(flow_in_int(c, name, &v, e));
    if (v < 0) FAIL(e, INVALID, "%s is %lld; it cannot be negative", name, (long long)v);
    *ret = (size_t)v;
    return ERR_OK;
}

err_code px_in_method(const flow_call *c, const char *name, resize_method *ret, err *e) {
    str s;
    TRY(flow_in_text(c, name, &s, e));
    if (!resize_method_by_name(s.ptr, s.len, ret))
        FAIL(e, INVALID, "%s: no resize method is called " STR_FMT, name, STR_ARG(s));
    return ERR_OK;
}

err_code px_in_quarters(const flow_call *c, const char *name, int *ret, err *e) {
    str s;
    TRY(flow_in_text(c, name, &s, e));
    *ret = str_starts(s, STR("90"))    ? 1
           : str_starts(s, STR("180")) ? 2
           : str_starts(s, STR("270")) ? 3
                                       : 0;
    return ERR_OK;
}

flow_value *px_image_value(flow_image *im) {
    return flow_value_object("IMAGE", im, flow_image_destroy, px_image_len(im) * sizeof(float));
}

flow_value *px_latent_value(flow_latent *l) {
    size_t n = px_latent_len(l) + (l->mask ? px_mask_len(l->mask) : 0);
    return flow_value_object("LATENT", l, flow_latent_destroy, n * sizeof(float));
}

void px_out_image(flow_call *c, size_t slot, flow_image *im) {
    flow_out(c, slot, px_image_value(im));
}

void px_out_mask(flow_call *c, size_t slot, flow_mask *m) {
    size_t n_bytes = px_mask_len(m) * sizeof(float);
    flow_out(c, slot, flow_value_object("MASK", m, flow_mask_destroy, n_bytes));
}

void px_out_latent(flow_call *c, size_t slot, flow_latent *l) {
    flow_out(c, slot, px_latent_value(l));
}

/* ---- sizes */

size_t px_image_len(const flow_image *im) {
    return im->n * im->y * im->x * im->c;
}

size_t px_latent_len(const flow_latent *l) {
    return l->n * l->c * l->y * l->x;
}

size_t px_mask_len(const flow_mask *m) {
    return m->n * m->y * m->x;
}

resize_dims px_image_dims(const flow_image *im) {
    return (resize_dims){im->n, im->y, im->x, im->c, false};
}

resize_dims px_mask_dims(const flow_mask *m) {
    return (resize_dims){m->n, m->y, m->x, 1, false};
}

resize_dims px_latent_dims(const flow_latent *l) {
    return (resize_dims){l->n, l->y, l->x, l->c, true};
}

/* ---- resizing */

err_code px_upscale(const float *src, const resize_dims *from, resize_target to, bool center,
                    float *dst, err *e) {
    resize_rect r = {0, 0, from->x, from->y};
    if (center) r = resize_crop_center(from->y, from->x, to.y, to.x);
    if (r.width == from->x && r.height == from->y) return resize(src, from, to, dst, e);
    resize_dims cut = *from;
    cut.x = r.width;
    cut.y = r.height;
    float *middle = malloc(resize_len(&cut) * sizeof(float));
    if (!middle) FAIL(e, NOMEM, "no memory for cropping to %zux%zu", r.width, r.height);
    resize_cut(src, from, r, middle);
    err_code code = resize(middle, &cut, to, dst, e);
    free(middle);
    return code;
}

static err_code check_target(resize_target to, err *e) {
    if (to.y >= 1 && to.x >= 1) return ERR_OK;
    FAIL(e, INVALID, "the result would be %zux%zu: width and height must be at least 1", to.x,
         to.y);
}

err_code px_image_upscale(const flow_image *from, resize_target to, bool center, flow_image **ret,
                          err *e) {
    CLEANUP(px_image_drop) flow_image *im = NULL;
    resize_dims d = px_image_dims(from);
    TRY(check_target(to, e));
    TRY(px_image_new(from->n, to.y, to.x, from->c, &im, e));
    TRY(px_upscale(from->px, &d, to, center, im->px, e));
    *ret = TAKE(im);
    return ERR_OK;
}

err_code px_latent_upscale(const flow_latent *from, resize_target to, bool center,
                           flow_latent **ret, err *e) {
    CLEANUP(px_latent_drop) flow_latent *l = NULL;
    resize_dims d = px_latent_dims(from);
    TRY(check_target(to, e));
    TRY(px_latent_like(from, to.y, to.x, &l, e));
    TRY(px_upscale(from->px, &d, to, center, l->px, e));
    *ret = TAKE(l);
    return ERR_OK;
}

err_code px_mask_upscale(const flow_mask *from, size_t y, size_t x, flow_mask **ret, err *e) {
    CLEANUP(px_mask_drop) flow_mask *m = NULL;
    resize_dims d = px_mask_dims(from);
    TRY(px_mask_new(from->n, y, x, &m, e));
    TRY(resize(from->px, &d, (resize_target){RESIZE_BILINEAR, y, x}, m->px, e));
    *ret = TAKE(m);
    return ERR_OK;
}

/* ---- blocks */

/* Blends the visible part; every batch entry i of dst takes entry i of src and mask, repeated. */
static void composite_visible(px_block *dst, const px_block *src, const flow_mask *mask, size_t x0,
                              size_t y0) {
    const resize_dims *d = &dst->d, *s = &src->d;
    for (size_t n = 0; n < d->n; n++)
        for (size_t y = 0; y < s->y && y0 + y < d->y; y++)
            for (size_t x = 0; x < s->x && x0 + x < d->x; x++) {
                float m = 1.0f;
                if (mask) m = mask->px[((n % mask->n) * s->y + y) * s->x + x];
                for (size_t c = 0; c < d->c; c++) {
                    float *to = dst->px + px_at(d, n, y0 + y, x0 + x, c);
                    *to = m * src->px[px_at(s, n % s->n, y, x, c)] + (1.0f - m) * *to;
                }
            }
}

err_code px_composite(px_block *dst, const px_block *src, const px_composite_params *p, err *e) {
    if (src->d.c != dst->d.c)
        FAIL(e, INVALID, "source and destination have %zu and %zu channels", src->d.c, dst->d.c);
    px_block fit = *src;
    CLEANUP(mem_free_at) float *stretched = NULL;
    if (p->stretch) {
        fit.d.y = dst->d.y;
        fit.d.x = dst->d.x;
        fit.px = stretched = malloc(resize_len(&fit.d) * sizeof(float));
        if (!stretched) FAIL(e, NOMEM, "no memory for a source of %zux%zu", fit.d.x, fit.d.y);
        resize_target to = {RESIZE_BILINEAR, fit.d.y, fit.d.x};
        TRY(resize(src->px, &src->d, to, stretched, e));
    }
    CLEANUP(px_mask_drop) flow_mask *mask = NULL;
    if (p->mask) TRY(px_mask_upscale(p->mask, fit.d.y, fit.d.x, &mask, e));
    composite_visible(dst, &fit, mask, p->x, p->y);
    return ERR_OK;
}

void px_rotate(const px_block *src, int quarters, float *dst) {
    const resize_dims *s = &src->d;
    resize_dims d = *s;
    if (quarters % 2) {
        d.y = s->x;
        d.x = s->y;
    }
    for (size_t n = 0; n < d.n; n++)
        for (size_t y = 0; y < d.y; y++)
            for (size_t x = 0; x < d.x; x++) {
                size_t from_y = y, from_x = x;
                if (quarters == 1) from_y = s->y - 1 - x, from_x = y;
                if (quarters == 2) from_y = s->y - 1 - y, from_x = s->x - 1 - x;
                if (quarters == 3) from_y = x, from_x = s->x - 1 - y;
                for (size_t c = 0; c < d.c; c++)
                    dst[px_at(&d, n, y, x, c)] = src->px[px_at(s, n, from_y, from_x, c)];
            }
}

void px_flip(const px_block *src, bool upside_down, float *dst) {
    const resize_dims *d = &src->d;
    for (size_t n = 0; n < d->n; n++)
        for (size_t y = 0; y < d->y; y++)
            for (size_t x = 0; x < d->x; x++) {
                size_t from_y = upside_down ? d->y - 1 - y : y;
                size_t from_x = upside_down ? x : d->x - 1 - x;
                for (size_t c = 0; c < d->c; c++)
                    dst[px_at(d, n, y, x, c)] = src->px[px_at(d, n, from_y, from_x, c)];
            }
}

void px_paste(const px_block *src, resize_rect r, px_block *dst, size_t y, size_t x) {
    size_t inner = src->d.planar ? 1 : src->d.c;
    size_t outer = src->d.planar ? src->d.n * src->d.c : src->d.n;
    for (size_t o = 0; o < outer; o++)
        for (size_t i = 0; i < r.height; i++)
            memcpy(dst->px + ((o * dst->d.y + y + i) * dst->d.x + x) * inner,
                   src->px + ((o * src->d.y + r.y + i) * src->d.x + r.x) * inner,
                   r.width * inner * sizeof(float));
}
