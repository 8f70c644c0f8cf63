/* Inside image/: what the resizers share. */
#pragma once
#include "image/resize.h"

/* [outer, y, x, inner] to [outer, out_y, out_x, inner] */
typedef struct plane_dims {
    size_t outer, y, x, inner, out_y, out_x;
} plane_dims;

err_code resize_lanczos(const float *src, const resize_dims *from, size_t y, size_t x, float *dst,
                        err *e);
err_code resize_bislerp(const float *src, const resize_dims *from, size_t y, size_t x, float *dst,
                        err *e);
