/* Pictures: batches and rows of pictures. */
#include "flow/nodes/pixel_runs.h"
#include "flow/nodes/pixels.h"
#include <string.h>

err_code image_empty_run(flow_call *c, err *e) {
    size_t width, height, n, color;
    TRY(px_in_size(c, "width", &width, e));
    TRY(px_in_size(c, "height", &height, e));
    TRY(px_in_size(c, "batch_size", &n, e));
    TRY(px_in_size(c, "color", &color, e));
    flow_image *out;
    TRY(px_image_new(n, height, width, 3, &out, e));
    float rgb[3] = {(float)(color >> 16 & 255) / 255.0f, (float)(color >> 8 & 255) / 255.0f,
                    (float)(color & 255) / 255.0f};
    for (size_t i = 0; i < n * height * width; i++) memcpy(out->px + i * 3, rgb, sizeof rgb);
    px_out_image(c, 0, out);
    return ERR_OK;
}

/* A copy with `channels` of them: new ones are 1. */
static err_code with_channels(const flow_image *in, size_t channels, flow_image **ret, err *e) {
    TRY(px_image_new(in->n, in->y, in->x, channels, ret, e));
    for (size_t i = 0; i < in->n * in->y * in->x; i++)
        for (size_t k = 0; k < channels; k++)
            (*ret)->px[i * channels + k] = k < in->c ? in->px[i * in->c + k] : 1.0f;
    return ERR_OK;
}

/* Replaces *at by `by`, which the caller must keep in *owned. */
static void replace(const flow_image **at, flow_image **owned, flow_image *by) {
    px_image_drop(owned);
    *owned = by;
    *at = by;
}

/* Gives both the larger channel count. */
static err_code equal_channels(const flow_image *im[2], flow_image *owned[2], err *e) {
    for (int i = 0; i < 2; i++) {
        if (im[i]->c >= im[1 - i]->c) continue;
        flow_image *wide;
        TRY(with_channels(im[i], im[1 - i]->c, &wide, e));
        replace(&im[i], &owned[i], wide);
    }
    return ERR_OK;
}

static err_code join(const flow_image *im[2], flow_image **ret, err *e) {
    TRY(px_image_new(im[0]->n + im[1]->n, im[0]->y, im[0]->x, im[0]->c, ret, e));
    memcpy((*ret)->px, im[0]->px, px_image_len(im[0]) * sizeof(float));
    memcpy((*ret)->px + px_image_len(im[0]), im[1]->px, px_image_len(im[1]) * sizeof(float));
    return ERR_OK;
}

err_code image_batch_run(flow_call *c, err *e) {
    const flow_image *im[2];
    flow_image *out;
    CLEANUP(px_image_drop) flow_image *first = NULL, *second = NULL;
    flow_image *owned[2] = {NULL, NULL};
    TRY(px_in_image(c, "image1", &im[0], e));
    TRY(px_in_image(c, "image2", &im[1], e));
    err_code code = equal_channels(im, owned, e);
    first = owned[0];
    second = owned[1];
    if (code != ERR_OK) return code;
    if (im[0]->y != im[1]->y || im[0]->x != im[1]->x) {
        flow_image *fit;
        resize_target to = {RESIZE_BILINEAR, im[0]->y, im[0]->x};
        TRY(px_image_upscale(im[1], to, true, &fit, e));
        replace(&im[1], &second, fit);
    }
    TRY(join(im, &out, e));
    px_out_image(c, 0, out);
    return ERR_OK;
}

/* ---- lists */

/* Where picture i of all pictures of a list lies. */
static const flow_image *list_at(const flow_value *list, size_t i, size_t *ret_index) {
    for (size_t k = 0; k < flow_value_len(list); k++) {
        const flow_image *im = flow_value_as_object(flow_value_at(list, k), "IMAGE");
        if (!im) return NULL;
        if (i < im->n) {
            *ret_index = i;
            return im;
        }
        i -= im->n;
    }
    return NULL;
}

static err_code rebatch_one(const flow_value *list, size_t from, size_t n, flow_value *to, err *e) {
    size_t at;
    const flow_image *first = list_at(list, from, &at);
    CLEANUP(px_image_drop) flow_image *out = NULL;
    TRY(px_image_new(n, first->y, first->x, first->c, &out, e));
    size_t len = first->y * first->x * first->c;
    for (size_t i = 0; i < n; i++) {
        const flow_image *im = list_at(list, from + i, &at);
        if (im->y != first->y || im->x != first->x || im->c != first->c)
            FAIL(e, INVALID, "pictures of %zux%zux%zu and %zux%zux%zu do not go into one batch",
                 first->x, first->y, first->c, im->x, im->y, im->c);
        memcpy(out->px + i * len, im->px + at * len, len * sizeof(float));
    }
    flow_value_push(to, px_image_value(TAKE(out)));
    return ERR_OK;
}

/* Whole lists come in: the inputs are FLOW_LISTs. */
err_code image_rebatch_run(flow_call *c, err *e) {
    flow_value *list = flow_in(c, "images"), *sizes = flow_in(c, "batch_size");
    if (!list || !sizes || !flow_value_len(list) || !flow_value_len(sizes))
        FAIL(e, INVALID, "images: no picture to put into batches");
    int64_t size = flow_value_as_int(flow_value_at(sizes, 0));
    size_t total = 0, at;
    for (size_t k = 0; k < flow_value_len(list); k++) {
        const flow_image *im = flow_value_as_object(flow_value_at(list, k), "IMAGE");
        if (!im) FAIL(e, INVALID, "images: item %zu is not a picture", k);
        total += im->n;
    }
    CLEANUP(flow_value_unref) flow_value *out = flow_value_list();
    for (at = 0; size > 0 && at < total; at += (size_t)size)
        TRY(rebatch_one(list, at, total - at < (size_t)size ? total - at : (size_t)size, out, e));
    flow_out(c, 0, TAKE(out));
    return ERR_OK;
}

err_code image_repeat_batch_run(flow_call *c, err *e) {
    const flow_image *in;
    flow_image *out;
    size_t amount;
    TRY(px_in_image(c, "image", &in, e));
    TRY(px_in_size(c, "amount", &amount, e));
    TRY(px_image_new(in->n * amount, in->y, in->x, in->c, &out, e));
    for (size_t i = 0; i < amount; i++)
        memcpy(out->px + i * px_image_len(in), in->px, px_image_len(in) * sizeof(float));
    px_out_image(c, 0, out);
    return ERR_OK;
}

err_code image_from_batch_run(flow_call *c, err *e) {
    const flow_image *in;
    flow_image *out;
    int64_t index;
    size_t length;
    TRY(px_in_image(c, "image", &in, e));
    TRY(flow_in_int(c, "batch_index", &index, e));
    TRY(px_in_size(c, "length", &length, e));
    if (index < 0) index = index + (int64_t)in->n < 0 ? 0 : index + (int64_t)in->n;
    size_t from = (size_t)index < in->n - 1 ? (size_t)index : in->n - 1;
    if (length > in->n - from) length = in->n - from;
    TRY(px_image_new(length, in->y, in->x, in->c, &out, e));
    memcpy(out->px, in->px + from * (px_image_len(in) / in->n), px_image_len(out) * sizeof(float));
    px_out_image(c, 0, out);
    return ERR_OK;
}

/* ---- stitching */

typedef struct stitch {
    const flow_image *im[2];
    flow_image *owned[2];
    bool upright; /* one above the other */
    bool swapped; /* the second first */
    size_t gap;   /* pixels between */
    float color[3];
    float pad; /* what fills the shorter one */
} stitch;

static void stitch_color(stitch *s, str name) {
    s->pad = str_eq(name, STR("white")) ? 1.0f : 0.0f;
    for (int i = 0; i < 3; i++) s->color[i] = s->pad;
    if (str_eq(name, STR("red"))) s->color[0] = 1.0f;
    if (str_eq(name, STR("green"))) s->color[1] = 1.0f;
    if (str_eq(name, STR("blue"))) s->color[2] = 1.0f;
}

/* The shorter batch repeats its last picture. */
static err_code stitch_batches(stitch *s, err *e) {
    for (int i = 0; i < 2; i++) {
        const flow_image *im = s->im[i];
        if (im->n >= s->im[1 - i]->n) continue;
        flow_image *longer;
        TRY(px_image_new(s->im[1 - i]->n, im->y, im->x, im->c, &longer, e));
        size_t len = px_image_len(im) / im->n;
        for (size_t k = 0; k < longer->n; k++)
            memcpy(longer->px + k * len, im->px + (k < im->n ? k : im->n - 1) * len,
                   len * sizeof(float));
        replace(&s->im[i], &s->owned[i], longer);
    }
    return ERR_OK;
}

static err_code stitch_match(stitch *s, err *e) {
    double aspect = (double)s->im[1]->x / (double)s->im[1]->y;
    resize_target to = {RESIZE_LANCZOS, s->im[0]->y, s->im[0]->x};
    if (s->upright)
        to.y = (size_t)((double)to.x / aspect);
    else
        to.x = (size_t)((double)to.y * aspect);
    flow_image *fit;
    TRY(px_image_upscale(s->im[1], to, false, &fit, e));
    replace(&s->im[1], &s->owned[1], fit);
    return ERR_OK;
}

/* Centres the shorter one in the length of the longer one, across the joint. */
static err_code stitch_pad(stitch *s, err *e) {
    for (int i = 0; i < 2; i++) {
        const flow_image *im = s->im[i], *other = s->im[1 - i];
        size_t y = !s->upright && other->y > im->y ? other->y : im->y;
        size_t x = s->upright && other->x > im->x ? other->x : im->x;
        if (y == im->y && x == im->x) continue;
        flow_image *wide;
        TRY(px_image_new(im->n, y, x, im->c, &wide, e));
        for (size_t k = 0; k < px_image_len(wide); k++) wide->px[k] = s->pad;
        px_block from = {px_image_dims(im), im->px}, dst = {px_image_dims(wide), wide->px};
        resize_rect all = {0, 0, im->x, im->y};
        px_paste(&from, all, &dst, (y - im->y) / 2, (x - im->x) / 2);
        replace(&s->im[i], &s->owned[i], wide);
    }
    return ERR_OK;
}

static err_code stitch_join(const stitch *s, flow_image **ret, err *e) {
    const flow_image *a = s->im[s->swapped], *b = s->im[!s->swapped];
    if (s->upright ? a->x != b->x : a->y != b->y)
        FAIL(e, INVALID, "pictures of %zux%zu and %zux%zu do not fit beside each other", a->x, a->y,
             b->x, b->y);
    size_t y = s->upright ? a->y + s->gap + b->y : a->y;
    size_t x = s->upright ? a->x : a->x + s->gap + b->x;
    TRY(px_image_new(a->n, y, x, a->c, ret, e));
    flow_image *out = *ret;
    for (size_t i = 0; i < out->n * y * x; i++)
        for (size_t k = 0; k < out->c; k++) out->px[i * out->c + k] = k < 3 ? s->color[k] : 1.0f;
    px_block dst = {px_image_dims(out), out->px};
    px_block first = {px_image_dims(a), a->px}, second = {px_image_dims(b), b->px};
    px_paste(&first, (resize_rect){0, 0, a->x, a->y}, &dst, 0, 0);
    px_paste(&second, (resize_rect){0, 0, b->x, b->y}, &dst, s->upright ? a->y + s->gap : 0,
             s->upright ? 0 : a->x + s->gap);
    return ERR_OK;
}

static err_code stitch_all(stitch *s, bool match, flow_image **ret, err *e) {
    TRY(stitch_batches(s, e));
    TRY(match ? stitch_match(s, e) : stitch_pad(s, e));
    TRY(equal_channels(s->im, s->owned, e));
    return stitch_join(s, ret, e);
}

err_code image_stitch_run(flow_call *c, err *e) {
    stitch s = {0};
    bool match;
    str direction, color;
    TRY(px_in_image(c, "image1", &s.im[0], e));
    if (!flow_in(c, "image2")) {
        flow_out(c, 0, flow_value_ref(flow_in(c, "image1")));
        return ERR_OK;
    }
    TRY(px_in_image(c, "image2", &s.im[1], e));
    TRY(flow_in_text(c, "direction", &direction, e));
    TRY(flow_in_bool(c, "match_image_size", &match, e));
    TRY(px_in_size(c, "spacing_width", &s.gap, e));
    TRY(flow_in_text(c, "spacing_color", &color, e));
    s.upright = str_eq(direction, STR("down")) || str_eq(direction, STR("up"));
    s.swapped = str_eq(direction, STR("left")) || str_eq(direction, STR("up"));
    s.gap += s.gap % 2;
    stitch_color(&s, color);
    flow_image *out = NULL;
    err_code code = stitch_all(&s, match, &out, e);
    px_image_drop(&s.owned[0]);
    px_image_drop(&s.owned[1]);
    if (code != ERR_OK) return code;
    px_out_image(c, 0, out);
    return ERR_OK;
}
