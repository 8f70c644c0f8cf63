/* Pictures: other sizes, other shapes. */
#include "flow/nodes/pixel_runs.h"
#include "flow/nodes/pixels.h"
#include <math.h>
#include <string.h>

/* ---- scaling */

static size_t at_least_1(double v) {
    return v < 1 ? 1 : (size_t)v;
}

static err_code scaled(flow_call *c, const flow_image *in, resize_target to, bool centre, err *e) {
    flow_image *out;
    TRY(px_image_upscale(in, to, centre, &out, e));
    px_out_image(c, 0, out);
    return ERR_OK;
}

err_code image_scale_run(flow_call *c, err *e) {
    const flow_image *in;
    resize_target to;
    str crop;
    TRY(px_in_image(c, "image", &in, e));
    TRY(px_in_method(c, "upscale_method", &to.method, e));
    TRY(px_in_size(c, "width", &to.x, e));
    TRY(px_in_size(c, "height", &to.y, e));
    TRY(flow_in_text(c, "crop", &crop, e));
    if (to.x == 0 && to.y == 0) {
        flow_out(c, 0, flow_value_ref(flow_in(c, "image")));
        return ERR_OK;
    }
    if (to.x == 0)
        to.x = at_least_1(resize_round((double)in->x * (double)to.y / (double)in->y));
    else if (to.y == 0)
        to.y = at_least_1(resize_round((double)in->y * (double)to.x / (double)in->x));
    return scaled(c, in, to, str_eq(crop, STR("center")), e);
}

err_code image_scale_by_run(flow_call *c, err *e) {
    const flow_image *in;
    resize_target to;
    double by;
    TRY(px_in_image(c, "image", &in, e));
    TRY(px_in_method(c, "upscale_method", &to.method, e));
    TRY(flow_in_float(c, "scale_by", &by, e));
    to.x = (size_t)resize_round((double)in->x * by);
    to.y = (size_t)resize_round((double)in->y * by);
    return scaled(c, in, to, false, e);
}

err_code image_scale_to_total_pixels_run(flow_call *c, err *e) {
    const flow_image *in;
    resize_target to;
    double megapixels;
    TRY(px_in_image(c, "image", &in, e));
    TRY(px_in_method(c, "upscale_method", &to.method, e));
    TRY(flow_in_float(c, "megapixels", &megapixels, e));
    double by = sqrt(megapixels * 1024 * 1024 / ((double)in->x * (double)in->y));
    to.x = (size_t)resize_round((double)in->x * by);
    to.y = (size_t)resize_round((double)in->y * by);
    return scaled(c, in, to, false, e);
}

err_code image_scale_to_max_dimension_run(flow_call *c, err *e) {
    const flow_image *in;
    resize_target to;
    size_t largest;
    TRY(px_in_image(c, "image", &in, e));
    TRY(px_in_method(c, "upscale_method", &to.method, e));
    TRY(px_in_size(c, "largest_size", &largest, e));
    to.x = to.y = largest;
    double w = (double)in->x, h = (double)in->y;
    if (in->y > in->x) to.x = (size_t)resize_round(w / h * (double)largest);
    if (in->x > in->y) to.y = (size_t)resize_round(h / w * (double)largest);
    return scaled(c, in, to, false, e);
}

static void fill(float *px, size_t n, float v) {
    for (size_t i = 0; i < n; i++) px[i] = v;
}

err_code image_resize_and_pad_run(flow_call *c, err *e) {
    const flow_image *in;
    resize_target to;
    size_t width, height;
    str color;
    TRY(px_in_image(c, "image", &in, e));
    TRY(px_in_size(c, "target_width", &width, e));
    TRY(px_in_size(c, "target_height", &height, e));
    TRY(flow_in_text(c, "padding_color", &color, e));
    TRY(px_in_method(c, "interpolation", &to.method, e));
    double by_x = (double)width / (double)in->x, by_y = (double)height / (double)in->y;
    double by = by_x < by_y ? by_x : by_y;
    to.x = (size_t)((double)in->x * by);
    to.y = (size_t)((double)in->y * by);
    CLEANUP(px_image_drop) flow_image *small = NULL, *out = NULL;
    TRY(px_image_upscale(in, to, false, &small, e));
    TRY(px_image_new(in->n, height, width, in->c, &out, e));
    fill(out->px, px_image_len(out), str_eq(color, STR("black")) ? 0.0f : 1.0f);
    px_block from = {px_image_dims(small), small->px}, dst = {px_image_dims(out), out->px};
    resize_rect all = {0, 0, to.x, to.y};
    px_paste(&from, all, &dst, (height - to.y) / 2, (width - to.x) / 2);
    px_out_image(c, 0, TAKE(out));
    return ERR_OK;
}

/* To the nearest aspect ratio of the sizes that a model was trained at. */
err_code image_kontext_scale_run(flow_call *c, err *e) {
    static const size_t sides[] = {672, 688, 720, 752, 800, 832, 880, 944, 1024};
    static const size_t others[] = {1568, 1504, 1456, 1392, 1328, 1248, 1184, 1104, 1024};
    const flow_image *in;
    TRY(px_in_image(c, "image", &in, e));
    double aspect = (double)in->x / (double)in->y, best = (double)INFINITY;
    resize_target to = {.method = RESIZE_LANCZOS};
    for (size_t i = 0; i < 2 * COUNT_OF(sides) - 1; i++) { /* narrow ones first */
        size_t k = i < COUNT_OF(sides) ? i : 2 * (COUNT_OF(sides) - 1) - i;
        size_t w = i < COUNT_OF(sides) ? sides[k] : others[k];
        size_t h = i < COUNT_OF(sides) ? others[k] : sides[k];
        double distance = fabs(aspect - (double)w / (double)h);
        if (distance >= best) continue;
        best = distance;
        to.x = w;
        to.y = h;
    }
    return scaled(c, in, to, true, e);
}

/* ---- shapes */

err_code image_crop_run(flow_call *c, err *e) {
    const flow_image *in;
    resize_rect r;
    TRY(px_in_image(c, "image", &in, e));
    TRY(px_in_size(c, "x", &r.x, e));
    TRY(px_in_size(c, "y", &r.y, e));
    TRY(px_in_size(c, "width", &r.width, e));
    TRY(px_in_size(c, "height", &r.height, e));
    if (r.x > in->x - 1) r.x = in->x - 1;
    if (r.y > in->y - 1) r.y = in->y - 1;
    if (r.width > in->x - r.x) r.width = in->x - r.x;
    if (r.height > in->y - r.y) r.height = in->y - r.y;
    flow_image *out;
    TRY(px_image_new(in->n, r.height, r.width, in->c, &out, e));
    resize_dims d = px_image_dims(in);
    resize_cut(in->px, &d, r, out->px);
    px_out_image(c, 0, out);
    return ERR_OK;
}

err_code image_flip_run(flow_call *c, err *e) {
    const flow_image *in;
    flow_image *out;
    str method;
    TRY(px_in_image(c, "image", &in, e));
    TRY(flow_in_text(c, "flip_method", &method, e));
    TRY(px_image_like(in, &out, e));
    px_block from = {px_image_dims(in), in->px};
    px_flip(&from, str_starts(method, STR("x")), out->px);
    px_out_image(c, 0, out);
    return ERR_OK;
}

err_code image_rotate_run(flow_call *c, err *e) {
    const flow_image *in;
    flow_image *out;
    int quarters;
    TRY(px_in_image(c, "image", &in, e));
    TRY(px_in_quarters(c, "rotation", &quarters, e));
    bool turned = quarters % 2;
    TRY(px_image_new(in->n, turned ? in->x : in->y, turned ? in->y : in->x, in->c, &out, e));
    px_block from = {px_image_dims(in), in->px};
    px_rotate(&from, quarters, out->px);
    px_out_image(c, 0, out);
    return ERR_OK;
}

/* The mask is 1 outside and falls with the square of the distance from a padded edge. */
static float outpaint_value(const size_t pad[4], size_t y, size_t x, const flow_image *in,
                            size_t feather) {
    size_t far_y = in->y, far_x = in->x;
    size_t left = pad[0] ? x : far_x, top = pad[1] ? y : far_y;
    size_t right = pad[2] ? in->x - x : far_x, bottom = pad[3] ? in->y - y : far_y;
    size_t d = left < right ? left : right;
    if (top < d) d = top;
    if (bottom < d) d = bottom;
    if (d >= feather) return 0.0f;
    double v = (double)(feather - d) / (double)feather;
    return (float)(v * v);
}

err_code image_pad_for_outpaint_run(flow_call *c, err *e) {
    const flow_image *in;
    size_t pad[4], feather; /* left, top, right, bottom */
    TRY(px_in_image(c, "image", &in, e));
    TRY(px_in_size(c, "left", &pad[0], e));
    TRY(px_in_size(c, "top", &pad[1], e));
    TRY(px_in_size(c, "right", &pad[2], e));
    TRY(px_in_size(c, "bottom", &pad[3], e));
    TRY(px_in_size(c, "feathering", &feather, e));
    CLEANUP(px_image_drop) flow_image *out = NULL;
    CLEANUP(px_mask_drop) flow_mask *mask = NULL;
    size_t height = in->y + pad[1] + pad[3], width = in->x + pad[0] + pad[2];
    TRY(px_image_new(in->n, height, width, in->c, &out, e));
    TRY(px_mask_new(1, height, width, &mask, e));
    fill(out->px, px_image_len(out), 0.5f);
    fill(mask->px, px_mask_len(mask), 1.0f);
    px_block from = {px_image_dims(in), in->px}, dst = {px_image_dims(out), out->px};
    px_paste(&from, (resize_rect){0, 0, in->x, in->y}, &dst, pad[1], pad[0]);
    if (feather * 2 >= in->y || feather * 2 >= in->x) feather = 0;
    for (size_t y = 0; y < in->y; y++)
        for (size_t x = 0; x < in->x; x++)
            mask->px[(pad[1] + y) * width + pad[0] + x] =
                feather ? outpaint_value(pad, y, x, in, feather) : 0.0f;
    px_out_image(c, 0, TAKE(out));
    px_out_mask(c, 1, TAKE(mask));
    return ERR_OK;
}

err_code image_get_size_run(flow_call *c, err *e) {
    const flow_image *in;
    TRY(px_in_image(c, "image", &in, e));
    flow_out(c, 0, flow_value_int((int64_t)in->x));
    flow_out(c, 1, flow_value_int((int64_t)in->y));
    flow_out(c, 2, flow_value_int((int64_t)in->n));
    return ERR_OK;
}
