/* Latents: other sizes, other shapes, one over another. Sizes at the inputs are in pixels, eight
 * of them to a latent unit. */
#include "flow/nodes/pixel_runs.h"
#include "flow/nodes/pixels.h"
#include <string.h>

enum { UNIT = 8, MIN_UNITS = 8 }; /* nothing below 64 pixels */

/* Zeros of `channels`, one value for `unit` pixels each way, into output `slot`. */
static err_code empty(flow_call *c, size_t slot, size_t channels, size_t unit, err *e) {
    size_t width, height, n;
    flow_latent *out;
    TRY(px_in_size(c, "width", &width, e));
    TRY(px_in_size(c, "height", &height, e));
    TRY(px_in_size(c, "batch_size", &n, e));
    TRY(px_latent_new(n, channels, height / unit, width / unit, &out, e));
    memset(out->px, 0, px_latent_len(out) * sizeof(float));
    px_out_latent(c, slot, out);
    return ERR_OK;
}

err_code latent_empty_run(flow_call *c, err *e) {
    return empty(c, 0, 4, UNIT, e);
}

err_code latent_empty_16_run(flow_call *c, err *e) {
    return empty(c, 0, 16, UNIT, e);
}

err_code latent_empty_hunyuan_run(flow_call *c, err *e) {
    return empty(c, 0, 64, 32, e);
}

err_code latent_empty_pixels_run(flow_call *c, err *e) {
    return empty(c, 0, 3, 1, e);
}

err_code latent_empty_cascade_run(flow_call *c, err *e) {
    size_t compression;
    TRY(px_in_size(c, "compression", &compression, e));
    TRY(empty(c, 0, 16, compression ? compression : 1, e));
    return empty(c, 1, 4, 4, e);
}

static size_t at_least_64(double v) {
    return v < 64 ? 64 : (size_t)v;
}

err_code latent_upscale_run(flow_call *c, err *e) {
    const flow_latent *in;
    flow_latent *out;
    resize_target to;
    size_t width, height;
    str crop;
    TRY(px_in_latent(c, "samples", &in, e));
    TRY(px_in_method(c, "upscale_method", &to.method, e));
    TRY(px_in_size(c, "width", &width, e));
    TRY(px_in_size(c, "height", &height, e));
    TRY(flow_in_text(c, "crop", &crop, e));
    if (!width && !height) {
        flow_out(c, 0, flow_value_ref(flow_in(c, "samples")));
        return ERR_OK;
    }
    double x = (double)in->x, y = (double)in->y;
    if (!width) {
        height = at_least_64((double)height);
        width = at_least_64(resize_round(x * (double)height / y));
    } else if (!height) {
        width = at_least_64((double)width);
        height = at_least_64(resize_round(y * (double)width / x));
    } else {
        width = at_least_64((double)width);
        height = at_least_64((double)height);
    }
    to.x = width / UNIT;
    to.y = height / UNIT;
    TRY(px_latent_upscale(in, to, str_eq(crop, STR("center")), &out, e));
    px_out_latent(c, 0, out);
    return ERR_OK;
}

err_code latent_upscale_by_run(flow_call *c, err *e) {
    const flow_latent *in;
    flow_latent *out;
    resize_target to;
    double by;
    TRY(px_in_latent(c, "samples", &in, e));
    TRY(px_in_method(c, "upscale_method", &to.method, e));
    TRY(flow_in_float(c, "scale_by", &by, e));
    to.x = (size_t)resize_round((double)in->x * by);
    to.y = (size_t)resize_round((double)in->y * by);
    TRY(px_latent_upscale(in, to, false, &out, e));
    px_out_latent(c, 0, out);
    return ERR_OK;
}

err_code latent_rotate_run(flow_call *c, err *e) {
    const flow_latent *in;
    flow_latent *out;
    int quarters;
    TRY(px_in_latent(c, "samples", &in, e));
    TRY(px_in_quarters(c, "rotation", &quarters, e));
    bool turned = quarters % 2;
    TRY(px_latent_like(in, turned ? in->x : in->y, turned ? in->y : in->x, &out, e));
    px_block from = {px_latent_dims(in), in->px};
    px_rotate(&from, quarters, out->px);
    px_out_latent(c, 0, out);
    return ERR_OK;
}

err_code latent_flip_run(flow_call *c, err *e) {
    const flow_latent *in;
    flow_latent *out;
    str method;
    TRY(px_in_latent(c, "samples", &in, e));
    TRY(flow_in_text(c, "flip_method", &method, e));
    TRY(px_latent_like(in, in->y, in->x, &out, e));
    px_block from = {px_latent_dims(in), in->px};
    px_flip(&from, str_starts(method, STR("x")), out->px);
    px_out_latent(c, 0, out);
    return ERR_OK;
}

static err_code cut_out(flow_call *c, const flow_latent *in, resize_rect r, err *e) {
    flow_latent *out;
    TRY(px_latent_like(in, r.height, r.width, &out, e));
    resize_dims d = px_latent_dims(in);
    resize_cut(in->px, &d, r, out->px);
    px_out_latent(c, 0, out);
    return ERR_OK;
}

/* The start moves back so that 64 pixels are left, if there are as many. */
static void crop_axis(size_t *at, size_t *n, size_t len) {
    *at /= UNIT;
    *n /= UNIT;
    size_t last = len > MIN_UNITS ? len - MIN_UNITS : 0;
    if (*at > last) *at = last;
    if (*n > len - *at) *n = len - *at;
}

err_code latent_crop_run(flow_call *c, err *e) {
    const flow_latent *in;
    resize_rect r;
    TRY(px_in_latent(c, "samples", &in, e));
    TRY(px_in_size(c, "width", &r.width, e));
    TRY(px_in_size(c, "height", &r.height, e));
    TRY(px_in_size(c, "x", &r.x, e));
    TRY(px_in_size(c, "y", &r.y, e));
    crop_axis(&r.x, &r.width, in->x);
    crop_axis(&r.y, &r.height, in->y);
    return cut_out(c, in, r, e);
}

/* ---- compositing */

typedef struct feather {
    size_t n, y, x; /* units */
    bool top, left, bottom, right;
} feather;

/* Product of the ramps (t + 1) / n that a unit lies on. */
static float feather_at(const feather *f, size_t y, size_t x) {
    float m = 1.0f, step = (float)(1.0 / (double)f->n);
    if (f->top && y < f->n) m *= step * (float)(y + 1);
    if (f->bottom && f->y - 1 - y < f->n) m *= step * (float)(f->y - y);
    if (f->left && x < f->n) m *= step * (float)(x + 1);
    if (f->right && f->x - 1 - x < f->n) m *= step * (float)(f->x - x);
    return m;
}

err_code latent_composite_run(flow_call *c, err *e) {
    const flow_latent *to, *from;
    flow_latent *out;
    size_t x0, y0, n_feather;
    TRY(px_in_latent(c, "samples_to", &to, e));
    TRY(px_in_latent(c, "samples_from", &from, e));
    TRY(px_in_size(c, "x", &x0, e));
    TRY(px_in_size(c, "y", &y0, e));
    TRY(px_in_size(c, "feather", &n_feather, e));
    x0 /= UNIT;
    y0 /= UNIT;
    if (from->c != to->c || (from->n != to->n && from->n != 1))
        FAIL(e, INVALID, "latents of [%zu, %zu] and [%zu, %zu] do not go together", to->n, to->c,
             from->n, from->c);
    TRY(px_latent_like(to, to->y, to->x, &out, e));
    memcpy(out->px, to->px, px_latent_len(to) * sizeof(float));
    size_t y1 = y0 >= to->y ? 0 : from->y < to->y - y0 ? from->y : to->y - y0;
    size_t x1 = x0 >= to->x ? 0 : from->x < to->x - x0 ? from->x : to->x - x0;
    feather f = {.n = n_feather / UNIT, .y = y1, .x = x1, .top = y0 > 0, .left = x0 > 0};
    f.bottom = y0 + y1 < to->y;
    f.right = x0 + x1 < to->x;
    resize_dims d = px_latent_dims(to), s = px_latent_dims(from);
    for (size_t n = 0; n < to->n; n++)
        for (size_t k = 0; k < to->c; k++)
            for (size_t y = 0; y < y1; y++)
                for (size_t x = 0; x < x1; x++) {
                    float m = f.n ? feather_at(&f, y, x) : 1.0f;
                    float *at = out->px + px_at(&d, n, y0 + y, x0 + x, k);
                    *at = from->px[px_at(&s, n % from->n, y, x, k)] * m + *at * (1.0f - m);
                }
    px_out_latent(c, 0, out);
    return ERR_OK;
}

err_code latent_composite_masked_run(flow_call *c, err *e) {
    const flow_latent *to, *from;
    px_composite_params p = {0};
    TRY(px_in_latent(c, "destination", &to, e));
    TRY(px_in_latent(c, "source", &from, e));
    TRY(px_in_size(c, "x", &p.x, e));
    TRY(px_in_size(c, "y", &p.y, e));
    TRY(flow_in_bool(c, "resize_source", &p.stretch, e));
    if (flow_in(c, "mask")) TRY(px_in_mask(c, "mask", &p.mask, e));
    p.x /= UNIT;
    p.y /= UNIT;
    CLEANUP(px_latent_drop) flow_latent *out = NULL;
    TRY(px_latent_like(to, to->y, to->x, &out, e));
    memcpy(out->px, to->px, px_latent_len(to) * sizeof(float));
    px_block dst = {px_latent_dims(out), out->px}, src = {px_latent_dims(from), from->px};
    TRY(px_composite(&dst, &src, &p, e));
    px_out_latent(c, 0, TAKE(out));
    return ERR_OK;
}

/* ---- along one dimension: x, y, or t, which for pictures are the channels */

err_code latent_concat_run(flow_call *c, err *e) {
    const flow_latent *a, *b;
    str dim;
    TRY(px_in_latent(c, "samples1", &a, e));
    TRY(px_in_latent(c, "samples2", &b, e));
    TRY(flow_in_text(c, "dim", &dim, e));
    bool swapped = str_starts(dim, STR("-"));
    char axis = dim.len ? dim.ptr[dim.len - 1] : 'x';
    if ((axis != 'x' && a->x != b->x) || (axis != 'y' && a->y != b->y) ||
        (axis != 't' && a->c != b->c))
        FAIL(e, INVALID,
             "latents of [%zu, %zu, %zu] and [%zu, %zu, %zu] do not join along " STR_FMT, a->c,
             a->y, a->x, b->c, b->y, b->x, STR_ARG(dim));
    CLEANUP(px_latent_drop) flow_latent *out = NULL;
    TRY(px_latent_new(a->n, axis == 't' ? a->c + b->c : a->c, axis == 'y' ? a->y + b->y : a->y,
                      axis == 'x' ? a->x + b->x : a->x, &out, e));
    const flow_latent *first = swapped ? b : a, *second = swapped ? a : b;
    /* [outer, piece] each: pieces of the two follow each other */
    size_t inner = axis == 'x' ? 1 : axis == 'y' ? a->x : a->x * a->y;
    size_t len[2] = {inner, inner};
    const flow_latent *part[2] = {first, second};
    for (int i = 0; i < 2; i++)
        len[i] *= axis == 'x' ? part[i]->x : axis == 'y' ? part[i]->y : part[i]->c;
    size_t total = px_latent_len(out) / (len[0] + len[1]), per_row = total / a->n;
    for (size_t o = 0; o < total; o++)
        for (int i = 0; i < 2; i++) {
            size_t row = o / per_row % part[i]->n; /* the second repeats to the first's batch */
            memcpy(out->px + o * (len[0] + len[1]) + (i ? len[0] : 0),
                   part[i]->px + (row * per_row + o % per_row) * len[i], len[i] * sizeof(float));
        }
    if (a->mask) TRY(px_mask_copy(a->mask, &out->mask, e));
    if (a->batch_index) out->batch_index = mem_dup(a->batch_index, a->n * sizeof *a->batch_index);
    px_out_latent(c, 0, TAKE(out));
    return ERR_OK;
}

err_code latent_cut_run(flow_call *c, err *e) {
    const flow_latent *in;
    str dim;
    int64_t index;
    size_t amount;
    TRY(px_in_latent(c, "samples", &in, e));
    TRY(flow_in_text(c, "dim", &dim, e));
    TRY(flow_in_int(c, "index", &index, e));
    TRY(px_in_size(c, "amount", &amount, e));
    char axis = dim.len ? dim.ptr[0] : 'x';
    size_t len = axis == 'x' ? in->x : axis == 'y' ? in->y : in->c;
    if (index < 0) index = index + (int64_t)len < 0 ? 0 : index + (int64_t)len;
    size_t from = (size_t)index < len - 1 ? (size_t)index : len - 1;
    if (amount > len - from) amount = len - from;
    resize_rect r = {0, 0, in->x, in->y};
    if (axis == 'x') r.x = from, r.width = amount;
    if (axis == 'y') r.y = from, r.height = amount;
    if (axis != 't') return cut_out(c, in, r, e);
    CLEANUP(px_latent_drop) flow_latent *out = NULL;
    TRY(px_latent_new(in->n, amount, in->y, in->x, &out, e));
    size_t plane = in->y * in->x;
    for (size_t n = 0; n < in->n; n++)
        memcpy(out->px + n * amount * plane, in->px + (n * in->c + from) * plane,
               amount * plane * sizeof(float));
    if (in->mask) TRY(px_mask_copy(in->mask, &out->mask, e));
    if (in->batch_index)
        out->batch_index = mem_dup(in->batch_index, in->n * sizeof *in->batch_index);
    px_out_latent(c, 0, TAKE(out));
    return ERR_OK;
}
