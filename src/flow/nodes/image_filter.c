/* Pictures through filters. */
#include "diffusion/noise.h"
#include "flow/nodes/pixel_runs.h"
#include "flow/nodes/pixels.h"
#include "image/filter.h"
#include "image/quantize.h"
#include <string.h>

err_code image_invert_run(flow_call *c, err *e) {
    const flow_image *in;
    flow_image *out;
    TRY(px_in_image(c, "image", &in, e));
    TRY(px_image_like(in, &out, e));
    for (size_t i = 0; i < px_image_len(in); i++) out->px[i] = 1.0f - in->px[i];
    px_out_image(c, 0, out);
    return ERR_OK;
}

err_code image_blur_run(flow_call *c, err *e) {
    const flow_image *in;
    size_t radius;
    double sigma;
    TRY(px_in_image(c, "image", &in, e));
    TRY(px_in_size(c, "blur_radius", &radius, e));
    TRY(flow_in_float(c, "sigma", &sigma, e));
    CLEANUP(px_image_drop) flow_image *out = NULL;
    resize_dims d = px_image_dims(in);
    TRY(px_image_like(in, &out, e));
    TRY(filter_blur(in->px, &d, radius, sigma, out->px, e));
    px_out_image(c, 0, TAKE(out));
    return ERR_OK;
}

err_code image_sharpen_run(flow_call *c, err *e) {
    const flow_image *in;
    filter_sharpen_params p;
    TRY(px_in_image(c, "image", &in, e));
    TRY(px_in_size(c, "sharpen_radius", &p.radius, e));
    TRY(flow_in_float(c, "sigma", &p.sigma, e));
    TRY(flow_in_float(c, "alpha", &p.alpha, e));
    CLEANUP(px_image_drop) flow_image *out = NULL;
    resize_dims d = px_image_dims(in);
    TRY(px_image_like(in, &out, e));
    TRY(filter_sharpen(in->px, &d, &p, out->px, e));
    for (size_t i = 0; i < px_image_len(out); i++) out->px[i] = px_clamp01(out->px[i]);
    px_out_image(c, 0, TAKE(out));
    return ERR_OK;
}

static err_code need_rgb(const flow_image *im, const char *name, err *e) {
    if (im->c == 3) return ERR_OK;
    FAIL(e, INVALID, "%s has %zu channels; 3 are needed", name, im->c);
}

err_code image_quantize_run(flow_call *c, err *e) {
    const flow_image *in;
    quantize_params p;
    str dither;
    TRY(px_in_image(c, "image", &in, e));
    TRY(px_in_size(c, "colors", &p.n_colors, e));
    TRY(flow_in_text(c, "dither", &dither, e));
    TRY(need_rgb(in, "image", e));
    p.floyd_steinberg = str_eq(dither, STR("floyd-steinberg"));
    p.bayer_order = 0;
    int64_t order = 0;
    if (str_starts(dither, STR("bayer-")) && str_to_i64(str_sub(dither, 6, dither.len), &order))
        p.bayer_order = (int)order;
    CLEANUP(px_image_drop) flow_image *out = NULL;
    TRY(px_image_like(in, &out, e));
    size_t len = in->y * in->x * 3;
    for (size_t n = 0; n < in->n; n++) {
        TRY(flow_progress(c, (int64_t)n, (int64_t)in->n, e));
        TRY(quantize(in->px + n * len, in->y, in->x, &p, out->px + n * len, e));
    }
    px_out_image(c, 0, TAKE(out));
    return ERR_OK;
}

err_code image_add_noise_run(flow_call *c, err *e) {
    const flow_image *in;
    uint64_t seed;
    double strength;
    TRY(px_in_image(c, "image", &in, e));
    TRY(flow_in_u64(c, "seed", &seed, e));
    TRY(flow_in_float(c, "strength", &strength, e));
    flow_image *out;
    TRY(px_image_like(in, &out, e));
    size_t n = px_image_len(in);
    noise_rng rng;
    noise_rng_seed(&rng, seed);
    noise_rng_normal(&rng, out->px, n);
    for (size_t i = 0; i < n; i++)
        out->px[i] = px_clamp01(in->px[i] + (float)strength * out->px[i]);
    px_out_image(c, 0, out);
    return ERR_OK;
}

err_code image_rgb_to_yuv_run(flow_call *c, err *e) {
    const flow_image *in;
    TRY(px_in_image(c, "image", &in, e));
    TRY(need_rgb(in, "image", e));
    CLEANUP(px_image_drop) flow_image *all = NULL;
    TRY(px_image_like(in, &all, e));
    size_t n = in->n * in->y * in->x;
    memcpy(all->px, in->px, n * 3 * sizeof(float));
    filter_rgb_to_ycbcr(all->px, n);
    for (size_t k = 0; k < 3; k++) { /* each plane as a grey picture */
        flow_image *plane;
        TRY(px_image_like(in, &plane, e));
        for (size_t i = 0; i < n * 3; i++) plane->px[i] = all->px[i / 3 * 3 + k];
        px_out_image(c, k, plane);
    }
    return ERR_OK;
}

err_code image_yuv_to_rgb_run(flow_call *c, err *e) {
    static const char *const names[] = {"Y", "U", "V"};
    const flow_image *in[3];
    for (int k = 0; k < 3; k++) {
        TRY(px_in_image(c, names[k], &in[k], e));
        if (in[k]->n != in[0]->n || in[k]->y != in[0]->y || in[k]->x != in[0]->x)
            FAIL(e, INVALID, "Y, U and V differ in size");
    }
    flow_image *out;
    TRY(px_image_new(in[0]->n, in[0]->y, in[0]->x, 3, &out, e));
    size_t n = in[0]->n * in[0]->y * in[0]->x;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < 3; k++) {
            float sum = 0;
            for (size_t j = 0; j < in[k]->c; j++) sum += in[k]->px[i * in[k]->c + j];
            out->px[i * 3 + k] = sum / (float)in[k]->c;
        }
    filter_ycbcr_to_rgb(out->px, n);
    px_out_image(c, 0, out);
    return ERR_OK;
}

err_code image_canny_run(flow_call *c, err *e) {
    const flow_image *in;
    double thresholds[2];
    TRY(px_in_image(c, "image", &in, e));
    TRY(flow_in_float(c, "low_threshold", &thresholds[0], e));
    TRY(flow_in_float(c, "high_threshold", &thresholds[1], e));
    if (thresholds[0] > thresholds[1])
        FAIL(e, INVALID, "low_threshold %g is above high_threshold %g", thresholds[0],
             thresholds[1]);
    CLEANUP(px_image_drop) flow_image *out = NULL;
    CLEANUP(px_mask_drop) flow_mask *edges = NULL;
    TRY(px_image_new(in->n, in->y, in->x, 3, &out, e));
    TRY(px_mask_new(1, in->y, in->x, &edges, e));
    resize_dims d = {1, in->y, in->x, in->c, false};
    size_t len = in->y * in->x;
    for (size_t n = 0; n < in->n; n++) {
        TRY(filter_canny(in->px + n * len * in->c, &d, thresholds, edges->px, e));
        for (size_t i = 0; i < len * 3; i++) out->px[n * len * 3 + i] = edges->px[i / 3];
    }
    px_out_image(c, 0, TAKE(out));
    return ERR_OK;
}

err_code image_morphology_run(flow_call *c, err *e) {
    static const char *const names[] = {"erode",    "dilate",     "open",   "close",
                                        "gradient", "bottom_hat", "top_hat"};
    const flow_image *in;
    str name;
    size_t side, kind = 0;
    TRY(px_in_image(c, "image", &in, e));
    TRY(flow_in_text(c, "operation", &name, e));
    TRY(px_in_size(c, "kernel_size", &side, e));
    while (kind < COUNT_OF(names) && !str_eq(name, str_from(names[kind]))) kind++;
    if (kind == COUNT_OF(names)) FAIL(e, INVALID, "operation: there is no " STR_FMT, STR_ARG(name));
    CLEANUP(px_image_drop) flow_image *out = NULL;
    resize_dims d = px_image_dims(in);
    TRY(px_image_like(in, &out, e));
    TRY(filter_morphology(in->px, &d, (filter_morphology_kind)kind, side, out->px, e));
    px_out_image(c, 0, TAKE(out));
    return ERR_OK;
}
