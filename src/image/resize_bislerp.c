/* Spherical interpolation of channel vectors between neighbours, first along x, then along y.
 * Directions turn evenly and lengths blend linearly, which keeps the variance of latents that a
 * linear blend would lower. Neighbours and ratios are those that PyTorch's bilinear filter gives
 * for the coordinates themselves. */
#include "image/resize_impl.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct slerp_tap {
    size_t a, b;
    float ratio;
} slerp_tap;

/* Bilinear sampling of the ramp `start, start+1, ...` whose last value is `last`. */
static float ramp_at(float pos, size_t n, float start, float last) {
    size_t low = (size_t)pos < n ? (size_t)pos : n - 1, high = low + 1 < n ? low + 1 : low;
    float part = pos - (float)low;
    float a = low == n - 1 ? last : start + (float)low;
    float b = high == n - 1 ? last : start + (float)high;
    return (1.0f - part) * a + part * b;
}

static void taps_make(slerp_tap *taps, size_t in, size_t out) {
    float scale = (float)in / (float)out;
    for (size_t i = 0; i < out; i++) {
        float pos = fmaf(scale, (float)i + 0.5f, -0.5f); /* as PyTorch is compiled */
        if (pos < 0) pos = 0;
        float first = ramp_at(pos, in, 0.0f, (float)(in - 1));
        float second = ramp_at(pos, in, 1.0f, (float)(in - 1));
        taps[i] = (slerp_tap){(size_t)first, (size_t)second, first - floorf(first)};
    }
}

typedef struct slerp_len {
    size_t n, stride, out_stride; /* values, and the distances between them */
} slerp_len;

/* a, b, out: [C] vectors. */
static void slerp(const float *a, const float *b, float r, slerp_len len, float *out) {
    size_t n = len.n, stride = len.stride, out_stride = len.out_stride;
    float na = 0, nb = 0, dot = 0;
    for (size_t c = 0; c < n; c++) {
        na += a[c * stride] * a[c * stride];
        nb += b[c * stride] * b[c * stride];
    }
    na = sqrtf(na);
    nb = sqrtf(nb);
    float ia = na > 0 ? 1.0f / na : 0.0f, ib = nb > 0 ? 1.0f / nb : 0.0f;
    for (size_t c = 0; c < n; c++) dot += (a[c * stride] * ia) * (b[c * stride] * ib);
    if (dot > 1.0f - 1e-5f) {
        for (size_t c = 0; c < n; c++) out[c * out_stride] = a[c * stride];
        return;
    }
    if (dot < 1e-5f - 1.0f) {
        for (size_t c = 0; c < n; c++)
            out[c * out_stride] = a[c * stride] * (1.0f - r) + b[c * stride] * r;
        return;
    }
    float omega = acosf(dot), so = sinf(omega), norm = na * (1.0f - r) + nb * r;
    float wa = sinf((1.0f - r) * omega) / so * ia, wb = sinf(r * omega) / so * ib;
    for (size_t c = 0; c < n; c++)
        out[c * out_stride] = (wa * a[c * stride] + wb * b[c * stride]) * norm;
}

/* Distances between neighbours of a block. */
typedef struct strides {
    size_t n, y, x, c;
} strides;

static strides strides_of(const resize_dims *d) {
    if (d->planar) return (strides){d->c * d->y * d->x, d->x, 1, d->y * d->x};
    return (strides){d->y * d->x * d->c, d->x * d->c, d->c, 1};
}

static void pass(const float *src, const resize_dims *from, const resize_dims *to,
                 const slerp_tap *taps, bool along_x, float *dst) {
    strides s = strides_of(from), t = strides_of(to);
    for (size_t n = 0; n < to->n; n++)
        for (size_t y = 0; y < to->y; y++)
            for (size_t x = 0; x < to->x; x++) {
                slerp_tap tap = taps[along_x ? x : y];
                size_t ya = along_x ? y : tap.a, yb = along_x ? y : tap.b;
                size_t xa = along_x ? tap.a : x, xb = along_x ? tap.b : x;
                const float *plane = src + n * s.n;
                slerp(plane + ya * s.y + xa * s.x, plane + yb * s.y + xb * s.x, tap.ratio,
                      (slerp_len){from->c, s.c, t.c}, dst + n * t.n + y * t.y + x * t.x);
            }
}

err_code resize_bislerp(const float *src, const resize_dims *from, size_t y, size_t x, float *dst,
                        err *e) {
    resize_dims mid = *from, to = *from;
    mid.x = to.x = x;
    to.y = y;
    slerp_tap *tx = calloc(x, sizeof *tx), *ty = calloc(y, sizeof *ty);
    float *between = malloc(resize_len(&mid) * sizeof(float));
    bool good = tx && ty && between;
    if (good) {
        taps_make(tx, from->x, x);
        taps_make(ty, from->y, y);
        pass(src, from, &mid, tx, true, between);
        pass(between, &mid, &to, ty, false, dst);
    }
    free(tx);
    free(ty);
    free(between);
    if (good) return ERR_OK;
    FAIL(e, NOMEM, "no memory for resizing to %zux%zu", x, y);
}
