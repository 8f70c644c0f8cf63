/* Convolutions as matrix products over patches.
 *
 * A chunk is a run of output pixels times a run of output channels. Its patches (the inputs that
 * each pixel sees, channels next to each other) are gathered into the thread's scratch, and one
 * product of kern_mat.h with the kernel's rows does the rest, bias, embedding and residual in its
 * epilogue. Kernels of one pixel need no gathering. Only a tile is ever gathered, never a picture.
 * How the work is cut does not change results. */
#include "base/mem.h"
#include "dev/cpu/cpu.h"
#include <string.h>

enum { TILE_BYTES = 384 << 10, TILE_PIXELS_MIN = 16, TILE_PIXELS_MAX = 512 };

/* Estimate of one multiplication, one thread. */
#define NS_PER_PRODUCT 0.025

typedef struct conv_cut {
    int64_t k;        /* of a patch */
    int64_t n_pixels; /* of all pictures */
    int64_t pixels;   /* of a chunk; never across pictures */
    int64_t tiles;    /* of a picture */
    int64_t rows;     /* output channels of a chunk, a multiple of KERN_MAT_ROWS */
    int64_t row_runs;
    bool plain; /* one pixel, stride 1: no gathering */
} conv_cut;

static conv_cut cut_of(const cpu_node *n, int64_t n_threads) {
    const dev_tensor *x = n->n.in[0], *w = n->n.in[1], *out = n->n.out;
    const dev_conv *p = &n->n.params.conv;
    conv_cut c = {.k = w->ne[0] * w->ne[1] * w->ne[2]};
    int64_t picture = out->ne[1] * out->ne[2];
    c.plain = w->ne[1] == 1 && w->ne[2] == 1 && p->stride_x == 1 && p->stride_y == 1 &&
              p->left + p->right + p->top + p->bottom == 0 &&
              x->stride[2] == x->stride[1] * x->ne[1];
    c.n_pixels = picture * out->ne[3];
    int64_t fit = TILE_BYTES / (c.k * (int64_t)sizeof(float)) / 16 * 16;
    c.pixels = cpu_max(TILE_PIXELS_MIN, cpu_min(TILE_PIXELS_MAX, fit));
    if (c.pixels > picture) c.pixels = picture;
    c.tiles = cpu_div_up(picture, c.pixels);
    c.rows = cpu_div_up(out->ne[0], KERN_MAT_ROWS) * KERN_MAT_ROWS;
    c.row_runs = 1;
    while (c.tiles * out->ne[3] * c.row_runs < 4 * n_threads && c.rows > 4 * KERN_MAT_ROWS) {
        c.rows = cpu_div_up(c.rows / 2, KERN_MAT_ROWS) * KERN_MAT_ROWS;
        c.row_runs = cpu_div_up(out->ne[0], c.rows);
    }
    return c;
}

int32_t cpu_conv2d_n_chunks(const cpu_run *r, const cpu_node *n) {
    conv_cut c = cut_of(n, r->p->d->n_threads);
    return (int32_t)(c.tiles * n->n.out->ne[3] * c.row_runs);
}

double cpu_conv2d_ns(const cpu_run *r, const cpu_node *n) {
    conv_cut c = cut_of(n, r->p->d->n_threads);
    return (double)c.k * (double)c.n_pixels * (double)n->n.out->ne[0] * NS_PER_PRODUCT;
}

static uint64_t patch_bytes(const conv_cut *c) {
    return c->plain ? 0 : (uint64_t)(c->pixels * c->k) * sizeof(float);
}

uint64_t cpu_conv2d_scratch(const cpu_program *p, const cpu_node *n) {
    conv_cut c = cut_of(n, p->d->n_threads);
    return patch_bytes(&c) + (uint64_t)n->n.out->ne[0] * sizeof(float) + 128 +
           kern_mat_scratch_bytes(c.k, c.pixels);
}

/* The row of a patch under kernel line j of output pixel (ox, oy). */
static void gather_line(const dev_node *n, const char *picture, int64_t ox, int64_t iy,
                        float *dst) {
    const dev_tensor *x = n->in[0], *w = n->in[1];
    int64_t C = x->ne[0], KX = w->ne[1], x0 = ox * n->params.conv.stride_x - n->params.conv.left;
    if (iy < 0 || iy >= x->ne[2]) {
        memset(dst, 0, (size_t)(KX * C) * sizeof(float));
        return;
    }
    int64_t from = cpu_max(0, -x0), to = cpu_max(from, cpu_min(KX, x->ne[1] - x0));
    const char *line = picture + iy * x->stride[2];
    memset(dst, 0, (size_t)(from * C) * sizeof(float));
    if (x->stride[1] == C * (int64_t)sizeof(float)) {
        memcpy(dst + from * C, line + (x0 + from) * x->stride[1],
               (size_t)((to - from) * C) * sizeof(float));
    } else {
        for (int64_t i = from; i < to; i++)
            memcpy(dst + i * C, line + (x0 + i) * x->stride[1], (size_t)C * sizeof(float));
    }
    memset(dst + to * C, 0, (size_t)((KX - to) * C) * sizeof(float));
}

static void gather(const dev_node *n, const char *picture, int64_t first, int64_t count,
                   float *dst) {
    const dev_tensor *w = n->in[1];
    int64_t OX = n->out->ne[1], line = w->ne[0] * w->ne[1];
    for (int64_t i = first; i < first + count; i++) {
        int64_t ox = i % OX, oy = i / OX;
        for (int64_t j = 0; j < w->ne[2]; j++, dst += line)
            gather_line(n, picture, ox, oy * n->params.conv.stride_y - n->params.conv.top + j, dst);
    }
}

/* bias + the picture's embedding, or whichever is there. */
static const float *sum_bias(const cpu_run *r, const dev_node *n, int64_t picture, float *mem) {
    const float *bias = n->in[2] ? n->in[2]->data : NULL;
    if (!n->in[3]) return bias;
    const float *emb =
        (const float *)(const void *)cpu_row(n->in[3], cpu_base(r, n->in[3]), picture);
    if (!bias) return emb;
    r->p->d->vec->add(mem, bias, emb, n->out->ne[0]);
    return mem;
}

void cpu_conv2d_run(cpu_run *r, const cpu_node *cn, int32_t chunk, int32_t thread) {
    const dev_node *n = &cn->n;
    const dev_tensor *x = n->in[0], *w = n->in[1], *res = n->in[4], *out = n->out;
    conv_cut c = cut_of(cn, r->p->d->n_threads);
    int64_t run = chunk % c.row_runs, tile = chunk / c.row_runs;
    int64_t picture = tile / c.tiles, first = tile % c.tiles * c.pixels;
    int64_t count = cpu_min(c.pixels, out->ne[1] * out->ne[2] - first);
    float *bias_mem = cpu_scratch(r, thread);
    char *patches =
        (char *)bias_mem + (((uint64_t)out->ne[0] * sizeof(float) + 63) & ~(uint64_t)63);
    char *rest = patches + ((patch_bytes(&c) + 63) & ~(uint64_t)63);
    const char *in = cpu_base(r, x) + picture * x->stride[3];
    if (!c.plain) gather(n, in, first, count, (float *)(void *)patches);
    kern_mat_job j = {
        .w = w->data,
        .w_stride = w->stride[3],
        .k = c.k,
        .from = run * c.rows,
        .to = cpu_min((run + 1) * c.rows, out->ne[0]),
        .x = c.plain ? in + first * x->stride[1] : patches,
        .x_stride = c.plain ? x->stride[1] : c.k * (int64_t)sizeof(float),
        .n_cols = count,
        .out =
            (float *)(void *)(cpu_base(r, out) + picture * out->stride[3] + first * out->stride[1]),
        .out_stride = out->stride[1],
        .bias = sum_bias(r, n, picture, bias_mem),
        .residual =
            res ? (const float *)(const void *)(cpu_base(r, res) + picture * res->stride[3] +
                                                first * res->stride[1])
                : NULL,
        .residual_stride = res ? res->stride[1] : 0,
    };
    r->p->d->mat->mul[w->type](&j, rest);
}
