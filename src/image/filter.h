/* Filters over pictures, masks and latents: blur, sharpening, morphology, edges.
 *
 * Blocks are described as for resizing (image/resize.h). src and dst must not overlap and are the
 * caller's; every function works channel by channel. Threads: any. */
#pragma once
#include "image/resize.h"

/* Gaussian of 2 radius + 1 taps: exp(-t^2 / 2 sigma^2), t evenly from -1 to 1 (sigma counts in
 * radii, not pixels), edges reflected without repeating them. INVALID when the radius does not fit
 * into the picture: reflecting needs radius < Y and radius < X. */
err_code filter_blur(const float *src, const resize_dims *d, size_t radius, double sigma,
                     float *dst, err *e);

/* (1 + 10 alpha) src - 10 alpha blur(src); not clamped. */
typedef struct filter_sharpen_params {
    size_t radius;
    double sigma, alpha;
} filter_sharpen_params;
err_code filter_sharpen(const float *src, const resize_dims *d, const filter_sharpen_params *p,
                        float *dst, err *e);

/* The largest (or smallest) value in a window of `side` pixels each way, which starts side / 2
 * before the pixel; pixels outside do not count (kornia's "geodesic" border). */
err_code filter_extreme(const float *src, const resize_dims *d, size_t side, bool largest,
                        float *dst, err *e);

typedef enum filter_morphology_kind {
    MORPHOLOGY_ERODE,
    MORPHOLOGY_DILATE,
    MORPHOLOGY_OPEN,
    MORPHOLOGY_CLOSE,
    MORPHOLOGY_GRADIENT,   /* dilated - eroded */
    MORPHOLOGY_BOTTOM_HAT, /* closed - src */
    MORPHOLOGY_TOP_HAT     /* src - opened */
} filter_morphology_kind;
err_code filter_morphology(const float *src, const resize_dims *d, filter_morphology_kind kind,
                           size_t side, float *dst, err *e);

/* Canny's edges (J. Canny, 1986; the steps and constants of kornia): grey, Gaussian of 5 taps with
 * sigma 1, Sobel, thinning along 8 directions, weak edges kept where they touch strong ones.
 * src is one picture [Y, X, C] with C 3 (other channel counts: the first channel alone); ret
 * [Y, X] of 0 or 1. thresholds: weak, strong. */
err_code filter_canny(const float *src, const resize_dims *d, const double thresholds[2],
                      float *ret, err *e);

/* ITU-R BT.601 as kornia has it: y, cb, cr of n RGB pixels in place, and back (clamped). */
void filter_rgb_to_ycbcr(float *px, size_t n);
void filter_ycbcr_to_rgb(float *px, size_t n);
