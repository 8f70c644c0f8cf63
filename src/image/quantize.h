/* A picture in few colours: median cut and mapping as Pillow's Image.quantize does them.
 *
 * Boxes of colours are cut at the median of their (luminance-weighted) longest side, the fullest
 * first; a palette entry is the mean of its box. Mapping looks colours up on a grid of steps of 4.
 * Source: P. Heckbert, "Color image quantization for frame buffer display" (1982). Threads: any. */
#pragma once
#include "base/err.h"
#include <stdbool.h>
#include <stddef.h>

typedef struct quantize_params {
    size_t n_colors;      /* 1 to 256 */
    bool floyd_steinberg; /* diffuse the error */
    int bayer_order;      /* 0, or 2, 4, 8, 16: add an ordered pattern before mapping */
} quantize_params;

/* src [Y, X, 3] f32 0 to 1 (cut to 8 bits); dst the same size with at most n_colors colours. */
err_code quantize(const float *src, size_t y, size_t x, const quantize_params *p, float *dst,
                  err *e);
