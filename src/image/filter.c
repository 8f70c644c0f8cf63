/* Separable filters run along y, then along x, over [outer, Y, X, inner]. */
#include "image/filter.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- gaussian */

static size_t reflected(ptrdiff_t i, size_t n) {
    if (i < 0) i = -i;
    if (i >= (ptrdiff_t)n) i = 2 * ((ptrdiff_t)n - 1) - i;
    return (size_t)i;
}

static void gauss_weights(float *w, size_t radius, double sigma) {
    double sum = 0;
    for (size_t i = 0; i <= 2 * radius; i++) {
        double t = ((double)i - (double)radius) / (double)radius;
        w[i] = (float)exp(-(t * t) / (2.0 * sigma * sigma));
        sum += (double)w[i];
    }
    for (size_t i = 0; i <= 2 * radius; i++) w[i] = (float)((double)w[i] / sum);
}

/* One pass over lines of n values that lie `stride` apart. */
static void blur_line(const float *src, size_t n, size_t stride, const float *w, size_t radius,
                      float *dst) {
    for (size_t i = 0; i < n; i++) {
        float sum = 0;
        for (size_t k = 0; k <= 2 * radius; k++)
            sum += w[k] * src[reflected((ptrdiff_t)(i + k) - (ptrdiff_t)radius, n) * stride];
        dst[i * stride] = sum;
    }
}

static void blur_with(const float *src, const resize_dims *d, const float *w, size_t radius,
                      float *between, float *dst) {
    size_t inner = d->planar ? 1 : d->c, outer = d->planar ? d->n * d->c : d->n;
    size_t row = d->x * inner, plane = d->y * row;
    for (size_t o = 0; o < outer; o++) {
        for (size_t i = 0; i < row; i++)
            blur_line(src + o * plane + i, d->y, row, w, radius, between + i);
        for (size_t y = 0; y < d->y; y++)
            for (size_t c = 0; c < inner; c++)
                blur_line(between + y * row + c, d->x, inner, w, radius,
                          dst + o * plane + y * row + c);
    }
}

err_code filter_blur(const float *src, const resize_dims *d, size_t radius, double sigma,
                     float *dst, err *e) {
    if (radius < 1 || radius >= d->y || radius >= d->x)
        FAIL(e, INVALID, "a blur radius of %zu does not fit into %zux%zu pixels", radius, d->x,
             d->y);
    float *w = malloc((2 * radius + 1) * sizeof(float));
    float *between = malloc(d->y * d->x * (d->planar ? 1 : d->c) * sizeof(float));
    if (w && between) {
        gauss_weights(w, radius, sigma);
        blur_with(src, d, w, radius, between, dst);
    }
    bool good = w && between;
    free(w);
    free(between);
    if (good) return ERR_OK;
    FAIL(e, NOMEM, "no memory for blurring %zux%zu pixels", d->x, d->y);
}

err_code filter_sharpen(const float *src, const resize_dims *d, const filter_sharpen_params *p,
                        float *dst, err *e) {
    TRY(filter_blur(src, d, p->radius, p->sigma, dst, e));
    float k = (float)(10.0 * p->alpha);
    size_t n = resize_len(d);
    for (size_t i = 0; i < n; i++) dst[i] = (1.0f + k) * src[i] - k * dst[i];
    return ERR_OK;
}

/* ---- morphology */

typedef struct extreme_window {
    size_t side; /* pixels */
    bool largest;
    size_t *queue; /* of a line's pixels */
} extreme_window;

/* Sliding extreme with a queue of candidates in order, O(n). */
static void extreme_line(const float *src, size_t n, size_t stride, const extreme_window *w,
                         float *dst) {
    size_t head = 0, tail = 0, before = w->side / 2, after = w->side - 1 - before, next = 0;
    size_t *queue = w->queue;
    for (size_t i = 0; i < n; i++) {
        for (; next < n && next <= i + after; next++) {
            float v = src[next * stride];
            while (tail > head) {
                float last = src[queue[tail - 1] * stride];
                if (w->largest ? last > v : last < v) break;
                tail--;
            }
            queue[tail++] = next;
        }
        while (i >= before && queue[head] < i - before) head++;
        dst[i * stride] = src[queue[head] * stride];
    }
}

err_code filter_extreme(const float *src, const resize_dims *d, size_t side, bool largest,
                        float *dst, err *e) {
    size_t inner = d->planar ? 1 : d->c, outer = d->planar ? d->n * d->c : d->n;
    size_t row = d->x * inner, plane = d->y * row, longest = d->x > d->y ? d->x : d->y;
    size_t *queue = malloc(longest * sizeof *queue);
    extreme_window w = {side, largest, queue};
    float *between = malloc(plane * sizeof(float));
    for (size_t o = 0; queue && between && o < outer; o++) {
        for (size_t i = 0; i < row; i++)
            extreme_line(src + o * plane + i, d->y, row, &w, between + i);
        for (size_t y = 0; y < d->y; y++)
            for (size_t c = 0; c < inner; c++)
                extreme_line(between + y * row + c, d->x, inner, &w, dst + o * plane + y * row + c);
    }
    bool good = queue && between;
    free(queue);
    free(between);
    if (good) return ERR_OK;
    FAIL(e, NOMEM, "no memory for a filter over %zux%zu pixels", d->x, d->y);
}

err_code filter_morphology(const float *src, const resize_dims *d, filter_morphology_kind kind,
                           size_t side, float *dst, err *e) {
    bool first_largest = kind == MORPHOLOGY_DILATE || kind == MORPHOLOGY_CLOSE ||
                         kind == MORPHOLOGY_BOTTOM_HAT || kind == MORPHOLOGY_GRADIENT;
    TRY(filter_extreme(src, d, side, first_largest, dst, e));
    if (kind == MORPHOLOGY_ERODE || kind == MORPHOLOGY_DILATE) return ERR_OK;
    size_t n = resize_len(d);
    float *first = malloc(n * sizeof(float));
    if (!first) FAIL(e, NOMEM, "no memory for a filter over %zux%zu pixels", d->x, d->y);
    memcpy(first, dst, n * sizeof(float));
    const float *from = kind == MORPHOLOGY_GRADIENT ? src : first;
    err_code code = filter_extreme(from, d, side,
                                   kind == MORPHOLOGY_OPEN || kind == MORPHOLOGY_TOP_HAT, dst, e);
    for (size_t i = 0; code == ERR_OK && i < n; i++) {
        if (kind == MORPHOLOGY_GRADIENT) dst[i] = first[i] - dst[i];
        if (kind == MORPHOLOGY_TOP_HAT) dst[i] = src[i] - dst[i];
        if (kind == MORPHOLOGY_BOTTOM_HAT) dst[i] = dst[i] - src[i];
    }
    free(first);
    return code;
}

/* ---- edges */

typedef struct canny_work {
    size_t y, x;
    float *grey, *blurred, *magnitude;
    uint8_t *direction; /* 0 to 7, in steps of 45 degrees */
    size_t *stack;
} canny_work;

static float clamped_at(const canny_work *w, const float *px, ptrdiff_t y, ptrdiff_t x) {
    size_t cy = y < 0 ? 0 : y >= (ptrdiff_t)w->y ? w->y - 1 : (size_t)y;
    size_t cx = x < 0 ? 0 : x >= (ptrdiff_t)w->x ? w->x - 1 : (size_t)x;
    return px[cy * w->x + cx];
}

static void canny_gradients(canny_work *w) {
    for (size_t i = 0; i < w->y * w->x; i++) {
        ptrdiff_t y = (ptrdiff_t)(i / w->x), x = (ptrdiff_t)(i % w->x);
        float p[3][3];
        for (int dy = 0; dy < 3; dy++)
            for (int dx = 0; dx < 3; dx++)
                p[dy][dx] = clamped_at(w, w->blurred, y + dy - 1, x + dx - 1);
        float gx = p[0][2] - p[0][0] + 2 * (p[1][2] - p[1][0]) + p[2][2] - p[2][0];
        float gy = p[2][0] - p[0][0] + 2 * (p[2][1] - p[0][1]) + p[2][2] - p[0][2];
        w->magnitude[i] = sqrtf(gx * gx + gy * gy + 1e-6f);
        int step = (int)rintf(atan2f(gy, gx) * (float)(4 / 3.14159265358979323846));
        w->direction[i] = (uint8_t)((step + 8) % 8);
    }
}

static const int around[8][2] = {{1, 0},  {1, 1},   {0, 1},  {-1, 1},
                                 {-1, 0}, {-1, -1}, {0, -1}, {1, -1}};

/* The neighbour's index in a direction, or -1 outside. */
static ptrdiff_t neighbour(const canny_work *w, size_t i, int direction) {
    ptrdiff_t x = (ptrdiff_t)(i % w->x) + around[direction][0];
    ptrdiff_t y = (ptrdiff_t)(i / w->x) + around[direction][1];
    if (x < 0 || y < 0 || x >= (ptrdiff_t)w->x || y >= (ptrdiff_t)w->y) return -1;
    return y * (ptrdiff_t)w->x + x;
}

static bool is_ridge(const canny_work *w, size_t i) {
    for (int side = 0; side < 8; side += 4) {
        ptrdiff_t at = neighbour(w, i, (w->direction[i] + side) % 8);
        if (!(w->magnitude[i] - (at < 0 ? 0.0f : w->magnitude[at]) > 0.0f)) return false;
    }
    return true;
}

/* Strong ridges, and weak ones that hang on them. */
static void canny_trace(canny_work *w, float low, float high, float *ret) {
    size_t n = w->y * w->x, depth = 0;
    for (size_t i = 0; i < n; i++) {
        float m = is_ridge(w, i) ? w->magnitude[i] : 0.0f;
        ret[i] = m > high ? 1.0f : m > low ? 0.5f : 0.0f;
        if (m > high) w->stack[depth++] = i;
    }
    while (depth) {
        size_t i = w->stack[--depth];
        for (int k = 0; k < 8; k++) {
            ptrdiff_t at = neighbour(w, i, k);
            if (at < 0 || !(ret[at] > 0.0f) || ret[at] >= 1.0f) continue;
            ret[at] = 1.0f;
            w->stack[depth++] = (size_t)at;
        }
    }
    for (size_t i = 0; i < n; i++)
        if (ret[i] < 1.0f) ret[i] = 0.0f;
}

err_code filter_canny(const float *src, const resize_dims *from, const double thresholds[2],
                      float *ret, err *e) {
    size_t y = from->y, x = from->x, c = from->c;
    if (y < 3 || x < 3) FAIL(e, INVALID, "edges of a picture of %zux%zu pixels", x, y);
    size_t n = y * x;
    canny_work w = {.y = y, .x = x};
    w.grey = malloc(n * sizeof(float));
    w.blurred = malloc(n * sizeof(float));
    w.magnitude = malloc(n * sizeof(float));
    w.direction = malloc(n);
    w.stack = malloc(n * sizeof(size_t));
    float *between = malloc(n * sizeof(float));
    bool good = w.grey && w.blurred && w.magnitude && w.direction && w.stack && between;
    if (good) {
        for (size_t i = 0; i < n; i++) {
            const float *p = src + i * c;
            w.grey[i] = c == 3 ? 0.299f * p[0] + 0.587f * p[1] + 0.114f * p[2] : p[0];
        }
        float taps[5];
        gauss_weights(taps, 2, 0.5); /* sigma 1 in pixels is half the radius */
        resize_dims d = {1, y, x, 1, false};
        blur_with(w.grey, &d, taps, 2, between, w.blurred);
        canny_gradients(&w);
        canny_trace(&w, (float)thresholds[0], (float)thresholds[1], ret);
    }
    free(w.grey);
    free(w.blurred);
    free(w.magnitude);
    free(w.direction);
    free(w.stack);
    free(between);
    if (good) return ERR_OK;
    FAIL(e, NOMEM, "no memory for the edges of %zux%zu pixels", x, y);
}

/* ---- colours */

void filter_rgb_to_ycbcr(float *px, size_t n) {
    for (size_t i = 0; i < n; i++, px += 3) {
        float y = 0.299f * px[0] + 0.587f * px[1] + 0.114f * px[2];
        float cb = (px[2] - y) * 0.564f + 0.5f, cr = (px[0] - y) * 0.713f + 0.5f;
        px[0] = y;
        px[1] = cb;
        px[2] = cr;
    }
}

static float clamp01(float v) {
    return v < 0.0f ? 0.0f : v > 1.0f ? 1.0f : v;
}

void filter_ycbcr_to_rgb(float *px, size_t n) {
    for (size_t i = 0; i < n; i++, px += 3) {
        float y = px[0], cb = px[1] - 0.5f, cr = px[2] - 0.5f;
        px[0] = clamp01(y + 1.403f * cr);
        px[1] = clamp01(y - 0.714f * cr - 0.344f * cb);
        px[2] = clamp01(y + 1.773f * cb);
    }
}
