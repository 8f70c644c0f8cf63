/* Inside image/: what the decoders share. */
#pragma once
#include "image/image.h"

/* Fails with LIMIT unless `frames` pictures of this size may be held. `what` names the format. */
err_code image_check_size(const char *what, uint64_t width, uint64_t height, uint64_t frames,
                          err *e);
/* Allocates *ret (checked with image_check_size) with every value 0; alpha only when asked for. */
err_code image_alloc(const char *what, image *ret, bool alpha, err *e);

/* EXIF orientation 1 to 8 from a TIFF block (with or without the "Exif\0\0" in front); 1 when
 * there is none. */
int image_exif_orientation(const uint8_t *src, size_t n_bytes);
/* Turns the picture upright in place (new memory for 5 to 8). */
err_code image_orient(image *im, int orientation, err *e);

err_code image_decode_png(const uint8_t *src, size_t n, image *ret, err *e);
err_code image_decode_jpeg(const uint8_t *src, size_t n, image *ret, err *e);
err_code image_decode_webp(const uint8_t *src, size_t n, image *ret, err *e);
err_code image_decode_gif(const uint8_t *src, size_t n, image *ret, err *e);
err_code image_decode_bmp(const uint8_t *src, size_t n, image *ret, err *e);

/* Puts RGBA bytes [n, 4] into rgb [n, 3] and, unless NULL, alpha [n]. */
void image_put_rgba(const uint8_t *rgba, size_t n, float *rgb, float *alpha);
