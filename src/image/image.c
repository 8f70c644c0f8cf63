/* Formats by their first bytes, limits, memory, and turning pictures upright. */
#include "image/image.h"
#include "base/checked.h"
#include "base/limits.h"
#include "image/image_impl.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

image_format image_sniff(const void *src, size_t n_bytes) {
    const uint8_t *p = src;
    if (n_bytes >= 8 && memcmp(p, "\x89PNG\r\n\x1a\n", 8) == 0) return IMAGE_PNG;
    if (n_bytes >= 3 && memcmp(p, "\xff\xd8\xff", 3) == 0) return IMAGE_JPEG;
    if (n_bytes >= 12 && memcmp(p, "RIFF", 4) == 0 && memcmp(p + 8, "WEBP", 4) == 0)
        return IMAGE_WEBP;
    if (n_bytes >= 6 && (memcmp(p, "GIF87a", 6) == 0 || memcmp(p, "GIF89a", 6) == 0))
        return IMAGE_GIF;
    if (n_bytes >= 26 && memcmp(p, "BM", 2) == 0) return IMAGE_BMP;
    return IMAGE_UNKNOWN;
}

const char *image_mime(image_format f) {
    switch (f) {
    case IMAGE_PNG:
        return "image/png";
    case IMAGE_JPEG:
        return "image/jpeg";
    case IMAGE_WEBP:
        return "image/webp";
    case IMAGE_GIF:
        return "image/gif";
    case IMAGE_BMP:
        return "image/bmp";
    case IMAGE_UNKNOWN:
        break;
    }
    return "application/octet-stream";
}

err_code image_check_size(const char *what, uint64_t width, uint64_t height, uint64_t frames,
                          err *e) {
    uint64_t n = 0;
    if (!width || !height || !frames)
        FAIL(e, FORMAT, "the %s picture is empty: %llux%llu", what, (unsigned long long)width,
             (unsigned long long)height);
    if (width > LIMIT_IMAGE_SIDE || height > LIMIT_IMAGE_SIDE)
        FAIL(e, LIMIT, "the %s picture is %llux%llu; at most %d pixels a side", what,
             (unsigned long long)width, (unsigned long long)height, LIMIT_IMAGE_SIDE);
    if (frames > LIMIT_IMAGE_FRAMES || !checked_mul(width * height, frames, &n) ||
        n > LIMIT_IMAGE_PIXELS)
        FAIL(e, LIMIT, "the %s picture is %llux%llu with %llu frames; at most %u pixels in all",
             what, (unsigned long long)width, (unsigned long long)height,
             (unsigned long long)frames, LIMIT_IMAGE_PIXELS);
    return ERR_OK;
}

err_code image_alloc(const char *what, image *ret, bool alpha, err *e) {
    TRY(image_check_size(what, ret->width, ret->height, ret->n_frames, e));
    size_t n = (size_t)ret->width * ret->height * ret->n_frames;
    ret->rgb = calloc(n * 3, sizeof(float));
    ret->alpha = alpha ? calloc(n, sizeof(float)) : NULL;
    if (ret->rgb && (ret->alpha || !alpha)) return ERR_OK;
    image_finish(ret);
    FAIL(e, NOMEM, "no memory for a picture of %zu pixels", n);
}

void image_finish(image *im) {
    free(im->rgb);
    free(im->alpha);
    *im = (image){0};
}

err_code image_decode(const void *src, size_t n_bytes, image *ret, err *e) {
    image im = {0};
    err_code code = ERR_OK;
    switch (image_sniff(src, n_bytes)) {
    case IMAGE_PNG:
        code = image_decode_png(src, n_bytes, &im, e);
        break;
    case IMAGE_JPEG:
        code = image_decode_jpeg(src, n_bytes, &im, e);
        break;
    case IMAGE_WEBP:
        code = image_decode_webp(src, n_bytes, &im, e);
        break;
    case IMAGE_GIF:
        code = image_decode_gif(src, n_bytes, &im, e);
        break;
    case IMAGE_BMP:
        code = image_decode_bmp(src, n_bytes, &im, e);
        break;
    case IMAGE_UNKNOWN:
        code = err_set(e, ERR_UNSUPPORTED, "not a picture: neither PNG, JPEG, WebP, GIF nor BMP");
    }
    if (code != ERR_OK) {
        image_finish(&im);
        return code;
    }
    *ret = im;
    return ERR_OK;
}

void image_put_rgba(const uint8_t *rgba, size_t n, float *rgb, float *alpha) {
    for (size_t i = 0; i < n; i++) {
        for (int c = 0; c < 3; c++) rgb[i * 3 + c] = (float)rgba[i * 4 + c] / 255.0f;
        if (alpha) alpha[i] = (float)rgba[i * 4 + 3] / 255.0f;
    }
}

void image_to_u8(const float *src, size_t n, uint8_t *ret) {
    for (size_t i = 0; i < n; i++) {
        float v = 255.0f * src[i];
        ret[i] = v >= 255.0f ? 255 : v > 0.0f ? (uint8_t)v : 0; /* NaN compares false: 0 */
    }
}

/* ---- EXIF */

static uint32_t tiff_int(const uint8_t *p, int n, bool big) {
    uint32_t v = 0;
    for (int i = 0; i < n; i++) v = v << 8 | p[big ? i : n - 1 - i];
    return v;
}

int image_exif_orientation(const uint8_t *src, size_t n_bytes) {
    if (n_bytes >= 6 && memcmp(src, "Exif\0\0", 6) == 0) src += 6, n_bytes -= 6;
    if (n_bytes < 8) return 1;
    bool big = src[0] == 'M';
    if (memcmp(src, big ? "MM\0*" : "II*\0", 4) != 0) return 1;
    uint32_t at = tiff_int(src + 4, 4, big);
    if (at > n_bytes || n_bytes - at < 2) return 1;
    uint32_t n = tiff_int(src + at, 2, big);
    const uint8_t *entry = src + at + 2, *end = src + n_bytes;
    for (uint32_t i = 0; i < n && end - entry >= 12; i++, entry += 12) {
        if (tiff_int(entry, 2, big) != 0x0112) continue;
        uint32_t v = tiff_int(entry + 8, 2, big);
        return v >= 1 && v <= 8 ? (int)v : 1;
    }
    return 1;
}

/* Where the upright picture's pixel (x, y) lies in the stored one of sides (w, h). */
static size_t stored_at(int orientation, size_t x, size_t y, size_t w, size_t h) {
    switch (orientation) {
    case 2:
        return y * w + (w - 1 - x);
    case 3:
        return (h - 1 - y) * w + (w - 1 - x);
    case 4:
        return (h - 1 - y) * w + x;
    case 5:
        return x * w + y;
    case 6:
        return (h - 1 - x) * w + y;
    case 7:
        return (h - 1 - x) * w + (w - 1 - y);
    case 8:
        return x * w + (w - 1 - y);
    default:
        return y * w + x;
    }
}

err_code image_orient(image *im, int orientation, err *e) {
    if (orientation <= 1) return ERR_OK;
    bool turned = orientation >= 5;
    image up = {.width = turned ? im->height : im->width,
                .height = turned ? im->width : im->height,
                .n_frames = im->n_frames};
    TRY(image_alloc("turned", &up, im->alpha != NULL, e));
    size_t n = (size_t)im->width * im->height;
    for (size_t f = 0; f < im->n_frames; f++)
        for (size_t y = 0; y < up.height; y++)
            for (size_t x = 0; x < up.width; x++) {
                size_t to = f * n + y * up.width + x;
                size_t from = f * n + stored_at(orientation, x, y, im->width, im->height);
                memcpy(up.rgb + to * 3, im->rgb + from * 3, 3 * sizeof(float));
                if (im->alpha) up.alpha[to] = im->alpha[from];
            }
    image_finish(im);
    *im = up;
    return ERR_OK;
}
