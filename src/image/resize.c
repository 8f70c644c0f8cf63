/* Nearest, bilinear, bicubic and area: along y and x with a table of taps each. */
#include "image/resize.h"
#include "image/resize_impl.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

bool resize_method_by_name(const char *name, size_t len, resize_method *ret) {
    static const char *const names[] = {"nearest-exact", "bilinear", "area",
                                        "bicubic",       "lanczos",  "bislerp"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strlen(names[i]) == len && memcmp(names[i], name, len) == 0) {
            *ret = (resize_method)i;
            return true;
        }
    return false;
}

size_t resize_len(const resize_dims *d) {
    return d->n * d->y * d->x * d->c;
}

double resize_round(double v) {
    return nearbyint(v); /* the default rounding mode is to even */
}

resize_rect resize_crop_center(size_t from_y, size_t from_x, size_t y, size_t x) {
    double old_aspect = (double)from_x / (double)from_y, new_aspect = (double)x / (double)y;
    double cut_x = 0, cut_y = 0;
    if (old_aspect > new_aspect)
        cut_x = resize_round(((double)from_x - (double)from_x * (new_aspect / old_aspect)) / 2);
    else if (old_aspect < new_aspect)
        cut_y = resize_round(((double)from_y - (double)from_y * (old_aspect / new_aspect)) / 2);
    resize_rect r = {(size_t)cut_x, (size_t)cut_y, from_x, from_y};
    if (2 * r.x >= from_x) r.x = (from_x - 1) / 2; /* a strip: one pixel stays */
    if (2 * r.y >= from_y) r.y = (from_y - 1) / 2;
    r.width = from_x - 2 * r.x;
    r.height = from_y - 2 * r.y;
    return r;
}

void resize_cut(const float *src, const resize_dims *from, resize_rect r, float *dst) {
    size_t inner = from->planar ? 1 : from->c, outer = from->planar ? from->n * from->c : from->n;
    for (size_t o = 0; o < outer; o++)
        for (size_t y = 0; y < r.height; y++) {
            const float *row = src + ((o * from->y + r.y + y) * from->x + r.x) * inner;
            memcpy(dst, row, r.width * inner * sizeof(float));
            dst += r.width * inner;
        }
}

/* ---- taps */

enum { MAX_TAPS = 4 };

/* out[i] = sum of w[i][k] * in[at[i][k]] */
typedef struct taps {
    int n;
    size_t (*at)[MAX_TAPS];
    float (*w)[MAX_TAPS];
} taps;

static void taps_finish(taps *t) {
    free(t->at);
    free(t->w);
}

static size_t clamp_index(ptrdiff_t i, size_t n) {
    return i < 0 ? 0 : (size_t)i >= n ? n - 1 : (size_t)i;
}

/* Cubic convolution, a = -0.75 (Keys, 1981). */
static void cubic_weights(float t, float w[4]) {
    const float a = -0.75f;
    float x = t + 1.0f;
    w[0] = ((a * x - 5.0f * a) * x + 8.0f * a) * x - 4.0f * a;
    w[1] = ((a + 2.0f) * t - (a + 3.0f)) * t * t + 1.0f;
    x = 1.0f - t;
    w[2] = ((a + 2.0f) * x - (a + 3.0f)) * x * x + 1.0f;
    x = 2.0f - t;
    w[3] = ((a * x - 5.0f * a) * x + 8.0f * a) * x - 4.0f * a;
}

static err_code taps_make(resize_method method, size_t in, size_t out, taps *t, err *e) {
    bool one = method == RESIZE_NEAREST || method == RESIZE_FLOOR;
    t->n = one ? 1 : method == RESIZE_BILINEAR ? 2 : 4;
    t->at = calloc(out, sizeof *t->at);
    t->w = calloc(out, sizeof *t->w);
    if (!t->at || !t->w) FAIL(e, NOMEM, "no memory for resizing to %zu pixels", out);
    float scale = (float)in / (float)out;
    for (size_t i = 0; i < out; i++) {
        float pos = fmaf(scale, (float)i + 0.5f, -0.5f); /* as PyTorch is compiled */
        if (one) {
            float at = method == RESIZE_FLOOR ? (float)i * scale : pos + 0.5f;
            t->at[i][0] = clamp_index((ptrdiff_t)floorf(at), in);
            t->w[i][0] = 1.0f;
        } else if (method == RESIZE_BILINEAR) {
            if (pos < 0) pos = 0;
            size_t low = clamp_index((ptrdiff_t)pos, in);
            float part = pos - (float)low;
            t->at[i][0] = low;
            t->at[i][1] = low + 1 < in ? low + 1 : low;
            t->w[i][1] = part < 1.0f ? part : 1.0f;
            t->w[i][0] = 1.0f - t->w[i][1];
        } else {
            float low = floorf(pos);
            cubic_weights(pos - low, t->w[i]);
            for (int k = 0; k < 4; k++) t->at[i][k] = clamp_index((ptrdiff_t)low + k - 1, in);
        }
    }
    return ERR_OK;
}

/* One output row [out_x, inner] from the input plane [Y, X, inner]. */
static void tap_row(const float *plane, size_t in_x, size_t inner, const taps *ty, size_t i,
                    float *mixed) {
    size_t n = in_x * inner;
    const float *row = plane + ty->at[i][0] * n;
    for (size_t k = 0; k < n; k++) mixed[k] = ty->w[i][0] * row[k];
    for (int t = 1; t < ty->n; t++) {
        row = plane + ty->at[i][t] * n;
        float w = ty->w[i][t];
        for (size_t k = 0; k < n; k++) mixed[k] += w * row[k];
    }
}

static void resize_taps(const float *src, const plane_dims *d, const taps *ty, const taps *tx,
                        float *mixed, float *dst) {
    for (size_t o = 0; o < d->outer; o++)
        for (size_t y = 0; y < d->out_y; y++) {
            tap_row(src + o * d->y * d->x * d->inner, d->x, d->inner, ty, y, mixed);
            for (size_t x = 0; x < d->out_x; x++)
                for (size_t c = 0; c < d->inner; c++) {
                    float v = tx->w[x][0] * mixed[tx->at[x][0] * d->inner + c];
                    for (int t = 1; t < tx->n; t++)
                        v += tx->w[x][t] * mixed[tx->at[x][t] * d->inner + c];
                    *dst++ = v;
                }
        }
}

/* Averages of the input pixels that an output pixel touches (PyTorch's adaptive pooling). */
static void resize_area(const float *src, const plane_dims *d, float *dst) {
    for (size_t o = 0; o < d->outer; o++)
        for (size_t y = 0; y < d->out_y; y++) {
            size_t y0 = y * d->y / d->out_y, y1 = ((y + 1) * d->y + d->out_y - 1) / d->out_y;
            for (size_t x = 0; x < d->out_x; x++) {
                size_t x0 = x * d->x / d->out_x, x1 = ((x + 1) * d->x + d->out_x - 1) / d->out_x;
                for (size_t c = 0; c < d->inner; c++) {
                    float sum = 0;
                    for (size_t i = y0; i < y1; i++)
                        for (size_t k = x0; k < x1; k++)
                            sum += src[((o * d->y + i) * d->x + k) * d->inner + c];
                    *dst++ = sum / (float)(y1 - y0) / (float)(x1 - x0);
                }
            }
        }
}

err_code resize(const float *src, const resize_dims *from, resize_target to, float *dst, err *e) {
    resize_method method = to.method;
    size_t y = to.y, x = to.x;
    if (method == RESIZE_BISLERP) return resize_bislerp(src, from, y, x, dst, e);
    if (method == RESIZE_LANCZOS) return resize_lanczos(src, from, y, x, dst, e);
    plane_dims d = {.outer = from->planar ? from->n * from->c : from->n,
                    .y = from->y,
                    .x = from->x,
                    .inner = from->planar ? 1 : from->c,
                    .out_y = y,
                    .out_x = x};
    if (method == RESIZE_AREA) {
        resize_area(src, &d, dst);
        return ERR_OK;
    }
    taps ty = {0}, tx = {0};
    float *mixed = malloc(d.x * d.inner * sizeof(float));
    err_code code = mixed ? ERR_OK : err_set(e, ERR_NOMEM, "no memory for resizing");
    if (code == ERR_OK) code = taps_make(method, d.y, y, &ty, e);
    if (code == ERR_OK) code = taps_make(method, d.x, x, &tx, e);
    if (code == ERR_OK) resize_taps(src, &d, &ty, &tx, mixed, dst);
    taps_finish(&ty);
    taps_finish(&tx);
    free(mixed);
    return code;
}
