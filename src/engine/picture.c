/* Decode, choose channels, encode. */
#include "engine/picture.h"
#include "base/limits.h"
#include "image/image.h"
#include "os/file.h"
#include <stdlib.h>
#include <string.h>

static err_code decode_file(const char *path, file_map *map, image *ret, err *e) {
    TRY(file_map_open(path, map, e));
    err_code code = image_decode(map->ptr, map->len, ret, e);
    if (code) file_map_close(map);
    return code;
}

/* The first frame as bytes [Y, X, channels]. */
static uint8_t *to_bytes(const image *im, engine_picture_channel channel, uint32_t *ret_channels) {
    size_t n = (size_t)im->width * im->height;
    bool alpha = channel == ENGINE_PICTURE_ALPHA || (channel == ENGINE_PICTURE_ALL && im->alpha);
    uint32_t channels = alpha ? 4 : 3;
    uint8_t *px = mem_alloc(n * channels + 1);
    uint8_t rgba[4];
    for (size_t i = 0; i < n; i++) {
        float v[4] = {im->rgb[3 * i], im->rgb[3 * i + 1], im->rgb[3 * i + 2],
                      im->alpha ? im->alpha[i] : 1};
        if (channel == ENGINE_PICTURE_ALPHA) v[0] = v[1] = v[2] = 0;
        for (size_t k = 0; k < 4; k++) rgba[k] = (uint8_t)(v[k] * 255 + 0.5F);
        memcpy(px + i * channels, rgba, channels);
    }
    *ret_channels = channels;
    return px;
}

static err_code encode(const image *im, const engine_picture_form *form, const value *text,
                       buf *out, err *e) {
    uint32_t channels;
    uint8_t *px = to_bytes(im, form->channel, &channels);
    image_bytes b = {.px = px, .width = im->width, .height = im->height, .channels = channels};
    err_code code = ERR_OK;
    switch (form->format) {
    case ENGINE_PICTURE_PNG:
        code = image_encode_png(&b, 4, text, out, e);
        break;
    case ENGINE_PICTURE_JPEG:
        code = image_encode_jpeg(&b, form->quality, out, e);
        break;
    case ENGINE_PICTURE_WEBP:
        code = image_encode_webp(&b, form->quality, false, out, e);
        break;
    }
    mem_free(px);
    return code;
}

err_code engine_picture_convert(engine *eng, const char *path, const engine_picture_form *form,
                                buf *out, err *e) {
    file_map map;
    image im = {0};
    (void)eng;
    TRY(decode_file(path, &map, &im, e));
    err_code code = encode(&im, form, NULL, out, e);
    image_finish(&im);
    file_map_close(&map);
    return code;
}

/* Takes `mask`'s alpha, nearest where sizes differ. */
static void put_alpha(image *im, const image *mask) {
    size_t n = (size_t)im->width * im->height;
    if (!im->alpha) im->alpha = malloc(n * sizeof *im->alpha);
    if (!im->alpha) return;
    for (uint32_t y = 0; y < im->height; y++) {
        size_t my = (size_t)y * mask->height / im->height;
        for (uint32_t x = 0; x < im->width; x++) {
            size_t at = my * mask->width + (size_t)x * mask->width / im->width;
            im->alpha[(size_t)y * im->width + x] = mask->alpha ? mask->alpha[at] : 1;
        }
    }
}

err_code engine_picture_with_alpha(engine *eng, const char *path, const char *mask_path, buf *out,
                                   err *e) {
    static const engine_picture_form form = {.format = ENGINE_PICTURE_PNG};
    file_map map, mask_map;
    image im = {0}, mask = {0};
    (void)eng;
    TRY(decode_file(path, &map, &im, e));
    err_code code = decode_file(mask_path, &mask_map, &mask, e);
    if (!code) {
        arena *a = arena_create(0);
        put_alpha(&im, &mask);
        code = encode(&im, &form, image_png_text(map.ptr, map.len, a), out, e);
        arena_destroy(&a);
        image_finish(&mask);
        file_map_close(&mask_map);
    }
    image_finish(&im);
    file_map_close(&map);
    return code;
}

err_code engine_picture_check(engine *eng, str bytes, const char **ret_ext, err *e) {
    image im = {0};
    (void)eng;
    if (image_decode(bytes.ptr, bytes.len, &im, e)) return e->code = ERR_INVALID;
    image_finish(&im);
    switch (image_sniff(bytes.ptr, bytes.len)) {
    case IMAGE_JPEG:
        *ret_ext = ".jpg";
        break;
    case IMAGE_WEBP:
        *ret_ext = ".webp";
        break;
    case IMAGE_GIF:
        *ret_ext = ".gif";
        break;
    case IMAGE_BMP:
        *ret_ext = ".bmp";
        break;
    case IMAGE_PNG:
    case IMAGE_UNKNOWN:
        *ret_ext = ".png";
        break;
    }
    return ERR_OK;
}
