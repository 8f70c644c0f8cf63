/* Colours are counted by sorting; boxes are ranges of one array; the heap is ordered as Pillow's,
 * so that boxes of equal count are cut in the same order. */
#include "image/quantize.h"
#include "image/image.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_COLORS = 256, MAX_COUNTED = 65536, CELLS = 64 };

/* A colour, or a cell of near colours when there are very many: the first seen stands for it. */
typedef struct counted {
    uint8_t c[3];
    uint32_t count;
    uint64_t sum[3]; /* of all its pixels */
} counted;

/* A box: colours [from, to), and after it was cut its halves. */
typedef struct box {
    size_t from, to;
    uint32_t n_pixels;
    int left, right; /* indices of boxes, -1 for a leaf */
} box;

typedef struct median_cut {
    counted *colors;
    size_t n_counted;
    box boxes[2 * MAX_COLORS];
    int n_boxes;
    int heap[2 * MAX_COLORS + 1]; /* from 1 on */
    int n_heap;
    uint8_t palette[MAX_COLORS][3];
    int n_palette;
    int16_t cell[CELLS * CELLS * CELLS]; /* nearest entry, -1 unknown */
} median_cut;

static int by_key(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static uint64_t key_of(const uint8_t *c, int shift) {
    return (uint64_t)(c[0] >> shift) << 16 | (uint64_t)(c[1] >> shift) << 8 |
           (uint64_t)(c[2] >> shift);
}

/* Counts the colours at one coarseness; false when there are too many. keys [n] is working space:
 * a colour above, the pixel's index below, so that the first of each colour sorts first. */
static bool count_at(const uint8_t *px, size_t n, int shift, uint64_t *keys, median_cut *m) {
    for (size_t i = 0; i < n; i++) keys[i] = key_of(px + i * 3, shift) << 32 | i;
    qsort(keys, n, sizeof *keys, by_key);
    m->n_counted = 0;
    for (size_t i = 0; i < n; i++) {
        const uint8_t *c = px + (keys[i] & 0xffffffffu) * 3;
        if (!i || keys[i] >> 32 != keys[i - 1] >> 32) {
            if (m->n_counted == MAX_COUNTED) return false;
            m->colors[m->n_counted++] = (counted){.c = {c[0], c[1], c[2]}};
        }
        counted *at = &m->colors[m->n_counted - 1];
        at->count++;
        for (int k = 0; k < 3; k++) at->sum[k] += c[k];
    }
    return true;
}

static bool count_colors(const uint8_t *px, size_t n, median_cut *m) {
    uint64_t *keys = malloc(n * sizeof *keys);
    m->colors = malloc(MAX_COUNTED * sizeof *m->colors);
    bool good = keys && m->colors;
    for (int shift = 0; good && !count_at(px, n, shift, keys, m);) shift++;
    free(keys);
    return good;
}

/* ---- heap of boxes by pixel count */

static int heap_cmp(const median_cut *m, int a, int b) {
    uint32_t x = m->boxes[a].n_pixels, y = m->boxes[b].n_pixels;
    return x < y ? -1 : x > y;
}

static void heap_add(median_cut *m, int v) {
    int k = ++m->n_heap;
    for (; k != 1 && heap_cmp(m, v, m->heap[k / 2]) > 0; k /= 2) m->heap[k] = m->heap[k / 2];
    m->heap[k] = v;
}

static int heap_remove(median_cut *m) {
    int top = m->heap[1], v = m->heap[m->n_heap--], k = 1;
    while (k * 2 <= m->n_heap) {
        int l = k * 2;
        if (l < m->n_heap && heap_cmp(m, m->heap[l], m->heap[l + 1]) < 0) l++;
        if (heap_cmp(m, v, m->heap[l]) > 0) break;
        m->heap[k] = m->heap[l];
        k = l;
    }
    m->heap[k] = v;
    return top;
}

/* ---- cutting */

static int descending(const void *a, const void *b, void *axis) {
    int i = *(int *)axis;
    return (int)((const counted *)b)->c[i] - (int)((const counted *)a)->c[i];
}

static int longest_axis(const median_cut *m, const box *b) {
    static const int weight[3] = {77, 150, 29};
    int axis = 0, best = -1;
    for (int i = 0; i < 3; i++) {
        int low = 255, high = 0;
        for (size_t k = b->from; k < b->to; k++) {
            int v = m->colors[k].c[i];
            if (v < low) low = v;
            if (v > high) high = v;
        }
        if ((high - low) * weight[i] > best) best = (high - low) * weight[i], axis = i;
    }
    return axis;
}

/* The first colour of the right half in a sorted box. */
static size_t cut_point(const median_cut *m, const box *b, int axis) {
    const counted *c = m->colors;
    uint64_t left = 0;
    size_t at = b->from;
    while (at < b->to) {
        left += c[at++].count;
        if (left * 2 > b->n_pixels) break;
    }
    while (at < b->to && c[at].c[axis] == c[at - 1].c[axis]) at++;
    if (at == b->to) { /* nothing is right: its lowest values go there */
        at--;
        while (at > b->from && c[at - 1].c[axis] == c[b->to - 1].c[axis]) at--;
    }
    return at;
}

static bool cut(median_cut *m, int index) {
    box *b = &m->boxes[index];
    if (b->to - b->from < 2) return false;
    int axis = longest_axis(m, b);
    qsort_r(m->colors + b->from, b->to - b->from, sizeof *m->colors, descending, &axis);
    size_t at = cut_point(m, b, axis);
    if (at == b->from || at == b->to) return false;
    box left = {b->from, at, 0, -1, -1}, right = {at, b->to, 0, -1, -1};
    for (size_t k = left.from; k < left.to; k++) left.n_pixels += m->colors[k].count;
    right.n_pixels = b->n_pixels - left.n_pixels;
    b->left = m->n_boxes;
    m->boxes[m->n_boxes++] = left;
    b->right = m->n_boxes;
    m->boxes[m->n_boxes++] = right;
    heap_add(m, b->left);
    heap_add(m, b->right);
    return true;
}

/* Leaves from left to right become palette entries: the mean of their colours. */
static void make_palette(median_cut *m, int index) {
    const box *b = &m->boxes[index];
    if (b->left >= 0) {
        make_palette(m, b->left);
        make_palette(m, b->right);
        return;
    }
    for (int i = 0; i < 3; i++) {
        uint64_t sum = 0;
        for (size_t k = b->from; k < b->to; k++) sum += m->colors[k].sum[i];
        m->palette[m->n_palette][i] = (uint8_t)(0.5 + (double)sum / (double)b->n_pixels);
    }
    m->n_palette++;
}

static void cut_all(median_cut *m, size_t n_pixels, size_t n_colors) {
    m->boxes[0] = (box){0, m->n_counted, (uint32_t)n_pixels, -1, -1};
    m->n_boxes = 1;
    heap_add(m, 0);
    for (size_t n = 1; n < n_colors; n++) {
        bool done = false;
        while (!done && m->n_heap) done = cut(m, heap_remove(m));
        if (!done) break;
    }
    make_palette(m, 0);
}

/* ---- mapping */

static int nearest(median_cut *m, const uint8_t c[3]) {
    int16_t *cell = &m->cell[(c[0] >> 2) + (c[1] >> 2) * CELLS + (c[2] >> 2) * CELLS * CELLS];
    if (*cell >= 0) return *cell;
    int best = 0, best_d = 1 << 30;
    for (int i = 0; i < m->n_palette; i++) {
        int d = 0;
        for (int k = 0; k < 3; k++) {
            int diff = (c[k] & 0xfc) - m->palette[i][k];
            d += diff * diff;
        }
        if (d < best_d) best_d = d, best = i;
    }
    *cell = (int16_t)best;
    return best;
}

static void put(const median_cut *m, int entry, float *to) {
    for (int k = 0; k < 3; k++) to[k] = (float)m->palette[entry][k] / 255.0f;
}

static uint8_t clip8(int v) {
    return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

/* Floyd-Steinberg with weights 7, 3, 5, 1 of 16, in Pillow's order of integer divisions.
 * below [X + 1, 3]: what the row above left for this one. */
static void map_diffused(median_cut *m, const uint8_t *px, size_t y, size_t x, int *below,
                         float *dst) {
    for (size_t row = 0; row < y; row++) {
        int ahead[3] = {0}, corner[3] = {0}, under[3] = {0};
        int *e = below;
        for (size_t i = 0; i < x; i++, e += 3) {
            uint8_t c[3];
            for (int k = 0; k < 3; k++)
                c[k] = clip8(px[(row * x + i) * 3 + k] + (ahead[k] + e[3 + k]) / 16);
            int entry = nearest(m, c);
            put(m, entry, dst + (row * x + i) * 3);
            for (int k = 0; k < 3; k++) {
                int d = c[k] - m->palette[entry][k];
                e[k] = 3 * d + corner[k];
                corner[k] = 5 * d + under[k];
                under[k] = d;
                ahead[k] = 7 * d;
            }
        }
        /* What falls over the right edge: Pillow keeps only blue's, in all three places. */
        e[0] = corner[2];
        e[1] = e[2] = under[2];
    }
}

/* The ordered threshold pattern in [-0.5, 0.5), recursively (B. Bayer, 1973). */
static double bayer(int order, size_t y, size_t x) {
    if (order < 2) return 0;
    double n = (double)order * order, inner = bayer(order / 2, y % (order / 2), x % (order / 2));
    bool low = y >= (size_t)order / 2, right = x >= (size_t)order / 2;
    double offset = low ? (right ? -0.5 : 1.5) : (right ? 0.5 : -1.5);
    return (inner * n + offset) / n;
}

static void map_plain(median_cut *m, const uint8_t *px, size_t y, size_t x, int order, float *dst) {
    double spread = 2.0 * 256.0 / m->n_palette;
    for (size_t i = 0; i < y * x; i++) {
        uint8_t c[3];
        memcpy(c, px + i * 3, 3);
        if (order) {
            float add = (float)(spread * bayer(order, i / x % order, i % x % order) + 0.5);
            for (int k = 0; k < 3; k++) {
                float v = (float)c[k] + add;
                c[k] = (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
            }
        }
        put(m, nearest(m, c), dst + i * 3);
    }
}

err_code quantize(const float *src, size_t y, size_t x, const quantize_params *p, float *dst,
                  err *e) {
    if (p->n_colors < 1 || p->n_colors > MAX_COLORS)
        FAIL(e, INVALID, "a palette of %zu colours; 1 to %d are possible", p->n_colors, MAX_COLORS);
    size_t n = y * x;
    median_cut *m = calloc(1, sizeof *m);
    uint8_t *px = malloc(n * 3);
    int *below = calloc((x + 1) * 3, sizeof *below);
    bool good = m && px && below;
    if (good) image_to_u8(src, n * 3, px);
    good = good && count_colors(px, n, m);
    if (good) {
        memset(m->cell, -1, sizeof m->cell);
        cut_all(m, n, p->n_colors);
        if (p->floyd_steinberg)
            map_diffused(m, px, y, x, below, dst);
        else
            map_plain(m, px, y, x, p->bayer_order, dst);
    }
    if (m) free(m->colors);
    free(m);
    free(px);
    free(below);
    if (good) return ERR_OK;
    FAIL(e, NOMEM, "no memory for quantising %zux%zu pixels", x, y);
}
