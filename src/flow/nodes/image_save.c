/* Pictures to files and to clients. Every picture is encoded in memory and written whole. */
#include "base/limits.h"
#include "flow/exec.h"
#include "flow/nodes/pixel_runs.h"
#include "flow/nodes/pixels.h"
#include "flow/nodes/saved.h"
#include "image/image.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PNG_LEVEL = 4, PREVIEW_LEVEL = 1 };

/* NaN is what a failed computation leaves: it must not look like a picture. */
static err_code check_numbers(const flow_image *im, err *e) {
    for (size_t i = 0; i < px_image_len(im); i++)
        if (isnan(im->px[i]))
            FAIL(e, INVALID, "picture %zu of the batch holds numbers that are none (NaN)",
                 i / (px_image_len(im) / im->n) + 1);
    return ERR_OK;
}

/* Picture n of the batch as bytes; the caller frees ret->px. */
static err_code to_bytes(const flow_image *im, size_t n, image_bytes *ret, err *e) {
    size_t len = im->y * im->x * im->c;
    if (im->c == 2 || im->c > 4)
        FAIL(e, INVALID, "a picture of %zu channels cannot be written", im->c);
    uint8_t *px = malloc(len);
    if (!px) FAIL(e, NOMEM, "no memory for a picture of %zux%zu", im->x, im->y);
    image_to_u8(im->px + n * len, len, px);
    *ret = (image_bytes){
        .px = px, .width = (uint32_t)im->x, .height = (uint32_t)im->y, .channels = (uint32_t)im->c};
    return ERR_OK;
}

static void bytes_drop(image_bytes *b) {
    free((void *)(uintptr_t)b->px);
    b->px = NULL;
}

static err_code encode(const flow_image *im, size_t n, int level, const value *text, buf *b,
                       err *e) {
    CLEANUP(bytes_drop) image_bytes px = {0};
    TRY(to_bytes(im, n, &px, e));
    return image_encode_png(&px, level, text, b, e);
}

static err_code save_all(flow_call *c, const flow_image *im, saved_place *p, int level, err *e) {
    value *text = saved_metadata(c);
    TRY(check_numbers(im, e));
    for (size_t n = 0; n < im->n; n++) {
        if (flow_interrupted(c)) FAIL(e, CANCELLED, "interrupted");
        CLEANUP(buf_finish) buf b = {0};
        TRY(encode(im, n, level, text, &b, e));
        saved_file f = {.bytes = &b, .ext = ".png", .key = "images", .batch_num = n};
        TRY(saved_write(c, p, &f, e));
    }
    return ERR_OK;
}

err_code image_save_run(flow_call *c, err *e) {
    const flow_image *im;
    str prefix;
    saved_place p;
    TRY(px_in_image(c, "images", &im, e));
    TRY(flow_in_text(c, "filename_prefix", &prefix, e));
    TRY(saved_open(c, prefix, (saved_size){im->x, im->y}, &p, e));
    return save_all(c, im, &p, PNG_LEVEL, e);
}

/* A preview lies with its owner: another's equal one is no use. */
err_code image_preview_changed(flow_call *c, err *e) {
    (void)e;
    const flow_env *env = flow_call_env(c);
    if (env && env->folders) flow_call_fingerprint(c, env->folders->owner);
    return ERR_OK;
}

err_code image_preview_run(flow_call *c, err *e) {
    const flow_image *im;
    saved_place p;
    TRY(px_in_image(c, "images", &im, e));
    TRY(saved_open_temp(c, (saved_size){im->x, im->y}, &p, e));
    return save_all(c, im, &p, PREVIEW_LEVEL, e);
}

err_code mask_preview_run(flow_call *c, err *e) {
    const flow_mask *mask;
    saved_place p;
    TRY(px_in_mask(c, "mask", &mask, e));
    CLEANUP(px_image_drop) flow_image *im = NULL;
    TRY(px_image_new(mask->n, mask->y, mask->x, 3, &im, e));
    for (size_t i = 0; i < px_image_len(im); i++) im->px[i] = mask->px[i / 3];
    TRY(saved_open_temp(c, (saved_size){im->x, im->y}, &p, e));
    return save_all(c, im, &p, PREVIEW_LEVEL, e);
}

/* The encoded picture goes to the preview channel, nothing to the disk. */
err_code image_save_websocket_run(flow_call *c, err *e) {
    const flow_image *im;
    TRY(px_in_image(c, "images", &im, e));
    TRY(check_numbers(im, e));
    for (size_t n = 0; n < im->n; n++) {
        CLEANUP(buf_finish) buf b = {0};
        TRY(encode(im, n, PREVIEW_LEVEL, NULL, &b, e));
        flow_picture picture = {.bytes = buf_str(&b), .mime = "image/png"};
        flow_preview(c, &picture);
        TRY(flow_progress(c, (int64_t)n + 1, (int64_t)im->n, e));
    }
    return ERR_OK;
}

/* ---- animations */

typedef struct frames {
    image_bytes *at;
    size_t n;
} frames;

static void frames_drop(frames *f) {
    for (size_t i = 0; f->at && i < f->n; i++) bytes_drop(&f->at[i]);
    free(f->at);
    f->at = NULL;
}

static err_code frames_make(const flow_image *im, frames *f, err *e) {
    TRY(check_numbers(im, e));
    if (im->n > LIMIT_IMAGE_FRAMES)
        FAIL(e, LIMIT, "an animation of %zu frames; at most %d", im->n, LIMIT_IMAGE_FRAMES);
    f->n = im->n;
    f->at = calloc(im->n, sizeof *f->at);
    if (!f->at) FAIL(e, NOMEM, "no memory for %zu frames", im->n);
    for (size_t i = 0; i < im->n; i++) TRY(to_bytes(im, i, &f->at[i], e));
    return ERR_OK;
}

/* What both kinds of animation share: frames, length of a frame, texts, place. */
static err_code animation_open(flow_call *c, frames *f, image_animation *a, saved_place *p,
                               err *e) {
    const flow_image *im;
    str prefix;
    double fps;
    TRY(px_in_image(c, "images", &im, e));
    TRY(flow_in_text(c, "filename_prefix", &prefix, e));
    TRY(flow_in_float(c, "fps", &fps, e));
    TRY(frames_make(im, f, e));
    a->frames = f->at;
    a->n_frames = f->n;
    a->frame_ms = (int)(1000.0 / fps);
    a->text = saved_metadata(c);
    return saved_open(c, prefix, (saved_size){im->x, im->y}, p, e);
}

static err_code animation_write(flow_call *c, saved_place *p, const buf *b, const char *ext,
                                bool animated, err *e) {
    saved_file f = {.bytes = b, .ext = ext, .key = "images"};
    TRY(saved_write(c, p, &f, e));
    flow_out_ui(c, "animated", value_bool(flow_call_arena(c), animated));
    return ERR_OK;
}

err_code image_save_animated_png_run(flow_call *c, err *e) {
    CLEANUP(frames_drop) frames f = {0};
    CLEANUP(buf_finish) buf b = {0};
    image_animation a = {0};
    saved_place p;
    size_t level;
    TRY(px_in_size(c, "compress_level", &level, e));
    TRY(animation_open(c, &f, &a, &p, e));
    a.level = (int)level;
    TRY(image_encode_apng(&a, &b, e));
    return animation_write(c, &p, &b, ".png", true, e);
}

err_code image_save_animated_webp_run(flow_call *c, err *e) {
    CLEANUP(frames_drop) frames f = {0};
    CLEANUP(buf_finish) buf b = {0};
    image_animation a = {0};
    saved_place p;
    size_t quality;
    str method;
    TRY(px_in_size(c, "quality", &quality, e));
    TRY(flow_in_bool(c, "lossless", &a.lossless, e));
    TRY(flow_in_text(c, "method", &method, e));
    TRY(animation_open(c, &f, &a, &p, e));
    a.quality = (int)quality;
    a.method = str_eq(method, STR("fastest")) ? 0 : str_eq(method, STR("slowest")) ? 6 : 4;
    TRY(image_encode_webp_animation(&a, &b, e));
    return animation_write(c, &p, &b, ".webp", a.n_frames != 1, e);
}
