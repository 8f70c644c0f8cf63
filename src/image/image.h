/* Pictures in files: PNG, JPEG, WebP, GIF and BMP to floats, and floats or bytes to files.
 *
 * The formats are read by libpng, libjpeg-turbo and libwebp (GIF and BMP here). Files come from
 * strangers: width, height, frames and the sum of all pixels are checked against base/limits.h
 * before anything of that size is allocated, and damaged or cut files are FORMAT errors, never
 * half pictures. Colour profiles and gamma are ignored, as ComfyUI does; the EXIF orientation is
 * applied. Threads: any; an object belongs to one thread at a time. */
#pragma once
#include "base/buf.h"
#include "base/err.h"
#include "base/value.h"
#include <stdint.h>

/* A decoded picture, or several of the same size (animations). Values are stored / 255 (16-bit
 * files: / 65535), so 0 to 1. Not premultiplied. */
typedef struct image {
    uint32_t width, height; /* pixels */
    uint32_t n_frames;
    float *rgb;   /* [F, Y, X, 3]; owned, malloc'ed */
    float *alpha; /* [F, Y, X], 1 = opaque; NULL when the file has none; owned */
} image;

typedef enum image_format {
    IMAGE_UNKNOWN,
    IMAGE_PNG,
    IMAGE_JPEG,
    IMAGE_WEBP,
    IMAGE_GIF,
    IMAGE_BMP
} image_format;

/* By the first bytes; names and extensions are not trusted. */
image_format image_sniff(const void *src, size_t n_bytes);
const char *image_mime(image_format f); /* "image/png", ...; application/octet-stream if unknown */

/* Width and height from the header alone (the EXIF orientation not applied); FORMAT when the file
 * is of no known format or its header is damaged. */
err_code image_size(const void *src, size_t n_bytes, uint32_t *ret_width, uint32_t *ret_height,
                    err *e);

/* Decodes all frames. LIMIT when too large, FORMAT when damaged, UNSUPPORTED when of no known
 * format. The caller ends *ret with image_finish. */
err_code image_decode(const void *src, size_t n_bytes, image *ret, err *e);
void image_finish(image *im); /* leaves it empty; a zeroed one is allowed */

/* Bytes to encode: rows of `channels` (1 grey, 3 RGB, 4 RGBA) bytes each, without padding. */
typedef struct image_bytes {
    const void *px; /* [Y, X, channels] u8; u16 in the machine's order when deep */
    uint32_t width, height, channels;
    bool deep; /* 16 bits a channel: PNG only */
} image_bytes;

/* Writes a PNG to *b. level 0 to 9; `text` may be NULL or a map of strings: each becomes a tEXt
 * chunk (iTXt when it is not ASCII) in front of the pixels. */
err_code image_encode_png(const image_bytes *px, int level, const value *text, buf *b, err *e);
/* quality 0 to 100; an alpha channel is dropped. */
err_code image_encode_jpeg(const image_bytes *px, int quality, buf *b, err *e);
err_code image_encode_webp(const image_bytes *px, int quality, bool lossless, buf *b, err *e);

typedef struct image_animation {
    const image_bytes *frames; /* all of one size and channel count (3 or 4) */
    size_t n_frames;
    int frame_ms;      /* each frame is shown this long */
    int level;         /* PNG: 0 to 9 */
    int quality;       /* WebP: 0 to 100 */
    int method;        /* WebP: 0 fastest to 6 smallest */
    bool lossless;     /* WebP */
    const value *text; /* NULL or a map of strings, in menu order */
} image_animation;

/* An animated PNG that plays once for ever (loops), as browsers show it. Texts become `comf`
 * chunks behind the last frame: keyword, NUL, text (where ComfyUI's front end looks). */
err_code image_encode_apng(const image_animation *a, buf *b, err *e);
/* An animated WebP. Texts go into EXIF as `key:text`, "prompt" under Model (0x0110), the others
 * under Make (0x010F) and downwards (where ComfyUI's front end looks). */
err_code image_encode_webp_animation(const image_animation *a, buf *b, err *e);

/* The tEXt, zTXt and iTXt texts of a PNG as a map in `a`; the first of a key counts. Other formats
 * and damaged files give an empty map. */
value *image_png_text(const void *src, size_t n_bytes, arena *a);

/* [n] floats to bytes as ComfyUI writes them: clip(255 v, 0, 255) cut, not rounded; NaN is 0. */
void image_to_u8(const float *src, size_t n, uint8_t *ret);
