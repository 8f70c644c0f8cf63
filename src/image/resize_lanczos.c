/* Pillow's Lanczos on 8-bit channels: windowed sinc of three lobes, stretched when shrinking,
 * weights of 22 bits, first x, then y, 8 bits in between. Pictures with alpha are weighted by it
 * and unweighted afterwards. The arithmetic is integer, so the values are equal to Pillow's. */
#include "image/image.h"
#include "image/resize_impl.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { WEIGHT_BITS = 22 };

/* The weights of each output pixel: n_taps[i] of them from input pixel first[i] on. */
typedef struct kernel {
    size_t max_taps;
    size_t *first, *n_taps;
    int32_t *w; /* [out, max_taps] */
} kernel;

static double sinc(double x) {
    const double pi = 3.14159265358979323846;
    return x < 0 || x > 0 ? sin(x * pi) / (x * pi) : 1.0;
}

static double lanczos3(double x) {
    return -3.0 <= x && x < 3.0 ? sinc(x) * sinc(x / 3) : 0.0;
}

static void kernel_finish(kernel *k) {
    free(k->first);
    free(k->n_taps);
    free(k->w);
}

static void kernel_row(kernel *k, size_t i, size_t in, double scale, double *w) {
    double stretch = scale < 1.0 ? 1.0 : scale, support = 3.0 * stretch;
    double center = ((double)i + 0.5) * scale, sum = 0;
    ptrdiff_t low = (ptrdiff_t)(center - support + 0.5);
    ptrdiff_t high = (ptrdiff_t)(center + support + 0.5);
    if (low < 0) low = 0;
    if (high > (ptrdiff_t)in) high = (ptrdiff_t)in;
    size_t n = (size_t)(high - low);
    for (size_t t = 0; t < n; t++) {
        w[t] = lanczos3(((double)t + (double)low - center + 0.5) * (1.0 / stretch));
        sum += w[t];
    }
    k->first[i] = (size_t)low;
    k->n_taps[i] = n;
    for (size_t t = 0; t < n; t++) {
        double v = w[t];
        if (sum < 0 || sum > 0) v /= sum;
        v *= (double)(1 << WEIGHT_BITS);
        k->w[i * k->max_taps + t] = (int32_t)(v < 0 ? v - 0.5 : v + 0.5);
    }
}

static bool kernel_make(kernel *k, size_t in, size_t out) {
    double scale = (double)in / (double)out, stretch = scale < 1.0 ? 1.0 : scale;
    k->max_taps = (size_t)ceil(3.0 * stretch) * 2 + 1;
    k->first = calloc(out, sizeof *k->first);
    k->n_taps = calloc(out, sizeof *k->n_taps);
    k->w = calloc(out * k->max_taps, sizeof *k->w);
    double *w = malloc(k->max_taps * sizeof *w);
    bool good = k->first && k->n_taps && k->w && w;
    for (size_t i = 0; good && i < out; i++) kernel_row(k, i, in, scale, w);
    free(w);
    return good;
}

/* One output value: taps lie `stride` bytes apart. */
static uint8_t tap_sum(const uint8_t *p, size_t stride, const int32_t *w, size_t n) {
    int32_t sum = 1 << (WEIGHT_BITS - 1);
    for (size_t t = 0; t < n; t++) sum += (int32_t)p[t * stride] * w[t];
    int32_t v = sum >> WEIGHT_BITS;
    return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

static void pass_x(const uint8_t *src, const plane_dims *d, const kernel *k, uint8_t *dst) {
    for (size_t y = 0; y < d->y; y++)
        for (size_t x = 0; x < d->out_x; x++)
            for (size_t c = 0; c < d->inner; c++)
                *dst++ = tap_sum(src + (y * d->x + k->first[x]) * d->inner + c, d->inner,
                                 k->w + x * k->max_taps, k->n_taps[x]);
}

static void pass_y(const uint8_t *src, const plane_dims *d, const kernel *k, uint8_t *dst) {
    size_t row = d->out_x * d->inner;
    for (size_t y = 0; y < d->out_y; y++)
        for (size_t i = 0; i < row; i++)
            *dst++ =
                tap_sum(src + k->first[y] * row + i, row, k->w + y * k->max_taps, k->n_taps[y]);
}

static uint8_t mul_div_255(unsigned a, unsigned b) {
    unsigned v = a * b + 128;
    return (uint8_t)(((v >> 8) + v) >> 8);
}

static void weigh_by_alpha(uint8_t *px, size_t n) {
    for (size_t i = 0; i < n; i++, px += 4)
        for (int c = 0; c < 3; c++) px[c] = mul_div_255(px[c], px[3]);
}

static void unweigh_by_alpha(uint8_t *px, size_t n) {
    for (size_t i = 0; i < n; i++, px += 4)
        for (int c = 0; c < 3 && px[3] != 0 && px[3] != 255; c++) {
            unsigned v = 255u * px[c] / px[3];
            px[c] = (uint8_t)(v > 255 ? 255 : v);
        }
}

typedef struct lanczos_work {
    kernel kx, ky;
    uint8_t *in, *mid, *out;
} lanczos_work;

static void work_finish(lanczos_work *w) {
    kernel_finish(&w->kx);
    kernel_finish(&w->ky);
    free(w->in);
    free(w->mid);
    free(w->out);
}

/* One picture [Y, X, inner] of bytes in w->in to w->out. */
static const uint8_t *lanczos_bytes(lanczos_work *w, const plane_dims *d) {
    size_t n_out = d->out_x * d->out_y;
    if (d->inner == 4) weigh_by_alpha(w->in, d->x * d->y);
    const uint8_t *mid = w->in;
    if (d->x != d->out_x) {
        pass_x(w->in, d, &w->kx, w->mid);
        mid = w->mid;
    }
    if (d->y != d->out_y)
        pass_y(mid, d, &w->ky, w->out);
    else
        memcpy(w->out, mid, n_out * d->inner);
    if (d->inner == 4) unweigh_by_alpha(w->out, n_out);
    return w->out;
}

err_code resize_lanczos(const float *src, const resize_dims *from, size_t y, size_t x, float *dst,
                        err *e) {
    bool alone = from->planar || (from->c != 3 && from->c != 4);
    plane_dims d = {.outer = from->planar ? from->n * from->c : from->n,
                    .y = from->y,
                    .x = from->x,
                    .inner = alone ? 1 : from->c,
                    .out_y = y,
                    .out_x = x};
    size_t stride = from->planar ? 1 : from->c, lanes = from->planar ? 1 : from->c / d.inner;
    size_t n_in = d.x * d.y, n_out = x * y;
    lanczos_work w = {.in = malloc(n_in * d.inner),
                      .mid = malloc(d.y * x * d.inner),
                      .out = malloc(n_out * d.inner)};
    bool good = w.in && w.mid && w.out && kernel_make(&w.kx, d.x, x) && kernel_make(&w.ky, d.y, y);
    for (size_t o = 0; good && o < d.outer; o++)
        for (size_t l = 0; l < lanes; l++) {
            const float *p = src + o * n_in * stride + l;
            float *q = dst + o * n_out * stride + l;
            for (size_t i = 0; i < n_in; i++)
                image_to_u8(p + i * stride, d.inner, w.in + i * d.inner);
            const uint8_t *out = lanczos_bytes(&w, &d);
            for (size_t i = 0; i < n_out; i++)
                for (size_t c = 0; c < d.inner; c++)
                    q[i * stride + c] = (float)out[i * d.inner + c] / 255.0f;
        }
    work_finish(&w);
    if (good) return ERR_OK;
    FAIL(e, NOMEM, "no memory for resizing to %zux%zu", x, y);
}
