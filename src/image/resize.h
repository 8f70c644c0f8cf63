/* Changing the size of pictures, latents and masks, value for value as ComfyUI does it.
 *
 * Any layout of the form [outer, Y, X, inner] f32: pictures are [B, Y, X, C], masks [B, Y, X, 1],
 * latents [B*C, Y, X, 1]. Pixel centres lie at half positions (PyTorch's align_corners=False), and
 * nothing is smoothed before shrinking except by AREA and LANCZOS. Threads: any. */
#pragma once
#include "base/err.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum resize_method {
    RESIZE_NEAREST,  /* nearest-exact: the pixel whose centre is nearest */
    RESIZE_BILINEAR, /* PyTorch upsample_bilinear2d */
    RESIZE_AREA,     /* PyTorch adaptive_avg_pool2d */
    RESIZE_BICUBIC,  /* PyTorch upsample_bicubic2d, a = -0.75 */
    RESIZE_LANCZOS,  /* Pillow's, in 8 bits: values are cut to 0..255 first */
    RESIZE_BISLERP,  /* spherical interpolation of the channel vectors, first x, then y */
    RESIZE_FLOOR /* PyTorch upsample_nearest2d: the pixel its upper left corner is in; no name */
} resize_method;

/* By ComfyUI's names ("nearest-exact", "bilinear", ...); false when unknown. */
bool resize_method_by_name(const char *name, size_t len, resize_method *ret);

/* A block of values [n, Y, X, c]; `planar`: [n, c, Y, X]. */
typedef struct resize_dims {
    size_t n, y, x, c;
    bool planar;
} resize_dims;

/* The number of values of a block. */
size_t resize_len(const resize_dims *d);

typedef struct resize_target {
    resize_method method;
    size_t y, x; /* at least 1 */
} resize_target;

/* Writes [n, to.y, to.x, c] values to dst (same layout, owned by the caller). NOMEM when working
 * memory is not to be had. LANCZOS wants 1, 3 or 4 channels (4: alpha, by which the colours are
 * weighted) or treats every channel alone. */
err_code resize(const float *src, const resize_dims *from, resize_target to, float *dst, err *e);

/* Cuts the middle of a block to the aspect ratio of (y, x), as "crop: center" does: gives the
 * rectangle that stays. Rounds to even as Python does. */
typedef struct resize_rect {
    size_t x, y, width, height;
} resize_rect;
resize_rect resize_crop_center(size_t from_y, size_t from_x, size_t y, size_t x);

/* Copies a rectangle that lies inside. */
void resize_cut(const float *src, const resize_dims *from, resize_rect r, float *dst);

/* Round half to even, as Python's round() on a double. */
double resize_round(double v);
