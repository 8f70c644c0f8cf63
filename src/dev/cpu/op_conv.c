/* Convolutions: the cut, and the direct way.
 *
 * Directly, a chunk is a run of output pixels times a run of output channels. Its patches (the
 * inputs that each pixel sees, channels next to each other) are packed once into the thread's
 * scratch as tiles of rows; the kernels of 32 output channels at a time are packed beside them, and
 * one product after the other makes the outputs, with bias, embedding and residual in its last
 * step. A kernel of one pixel is packed straight from the picture. Only a block is ever gathered,
 * never a picture, and no packed copy of weights is made: packing costs a few percent of the
 * products, a copy would cost as much memory as the model. Weights that lie in panels already
 * (bfloat16) need none. 3x3 kernels go to conv_wino.c. */
#include "base/mem.h"
#include "dev/cpu/conv.h"
#include <string.h>

enum { BLOCK_BYTES = 512 << 10, BLOCK_PIXELS_MIN = 48, BLOCK_PIXELS_MAX = 384 };

/* Estimate of one multiplication, one thread. */
#define NS_PER_PRODUCT 0.02

void conv_cut_channels(conv_cut *c, int64_t n_blocks, int64_t n_channels, int64_t n_threads) {
    int64_t panels = cpu_div_up(n_channels, CONV_COLS), run = panels;
    while (run > 1 && n_blocks * cpu_div_up(panels, run) < 4 * n_threads) run = (run + 1) / 2;
    c->run = run * CONV_COLS;
    c->runs = cpu_div_up(panels, run);
}

const float *conv_bias(const cpu_run *r, const dev_node *n, int64_t picture, int64_t from,
                       float mem[CONV_COLS], int64_t count) {
    const float *bias = n->in[2] ? (const float *)n->in[2]->data + from : NULL;
    if (!n->in[3]) return bias;
    const float *emb =
        (const float *)(const void *)cpu_row(n->in[3], cpu_base(r, n->in[3]), picture) + from;
    if (!bias) return emb;
    r->p->d->vec->add(mem, bias, emb, count);
    return mem;
}

/* ---- the direct way ---- */

static int64_t patch(const dev_node *n) {
    const dev_tensor *w = n->in[1];
    return conv_channels(n) * w->ne[1] * w->ne[2];
}

static int64_t a_bytes(const dev_node *n, int64_t rows) {
    int64_t k = patch(n);
    return n->bf16 ? kern_gemm_a_bf16s(rows, k) * (int64_t)sizeof(uint16_t)
                   : kern_gemm_a_floats(rows, k) * (int64_t)sizeof(float);
}

static int64_t elem_bytes(const dev_node *n) {
    return n->bf16 ? sizeof(uint16_t) : sizeof(float);
}

/* One pixel, stride 1: no gathering. */
static bool is_plain(const dev_node *n) {
    const dev_tensor *x = n->in[0], *w = n->in[1];
    const dev_conv *p = &n->params.conv;
    return w->ne[1] == 1 && w->ne[2] == 1 && p->stride_x == 1 && p->stride_y == 1 &&
           p->left + p->right + p->top + p->bottom == 0 && x->stride[2] == x->stride[1] * x->ne[1];
}

static conv_cut direct_cut(const dev_node *n, int64_t n_threads) {
    conv_cut c = {.n = n->out->ne[1] * n->out->ne[2]};
    int64_t fit = BLOCK_BYTES / (patch(n) * elem_bytes(n));
    int64_t most = cpu_max(BLOCK_PIXELS_MIN, cpu_min(BLOCK_PIXELS_MAX, fit));
    c.blocks = cpu_div_up(c.n, most);
    c.block = cpu_div_up(c.n, c.blocks * KERN_GEMM_ROWS) * KERN_GEMM_ROWS;
    c.blocks = cpu_div_up(c.n, c.block);
    conv_cut_channels(&c, c.blocks * n->out->ne[3], n->out->ne[0], n_threads);
    return c;
}

/* The row of a patch under kernel line j of output pixel (ox, ..). */
static void gather_line(const dev_node *n, const char *picture, int64_t ox, int64_t iy,
                        float *dst) {
    const dev_tensor *x = n->in[0], *w = n->in[1];
    int64_t C = x->ne[0], to_C = conv_channels(n), KX = w->ne[1];
    int64_t x0 = ox * n->params.conv.stride_x - n->params.conv.left;
    bool outside = iy < 0 || iy >= x->ne[2];
    int64_t from = cpu_min(KX, cpu_max(0, -x0)), to = cpu_max(from, cpu_min(KX, x->ne[1] - x0));
    const char *line = picture + iy * x->stride[2];
    if (outside || from > 0 || to < KX || C < to_C)
        memset(dst, 0, (size_t)(KX * to_C) * sizeof(float));
    for (int64_t i = from; i < to && !outside; i++)
        memcpy(dst + i * to_C, line + (x0 + i) * x->stride[1], (size_t)C * sizeof(float));
}

static void pack_rows(const kern_gemm *gemm, const dev_node *n, const float *x, int64_t stride,
                      int32_t rows, char *a) {
    int64_t k = is_plain(n) ? n->in[0]->ne[0] : patch(n);
    if (n->bf16)
        gemm->pack_rows_bf16((uint16_t *)(void *)a, x, stride, rows, k, 1);
    else
        gemm->pack_rows((float *)(void *)a, x, stride, rows, k);
}

/* Patches of pixels [first, first + rows) as one A tile; `mem` holds them unpacked. */
static void pack_patches(const cpu_run *r, const dev_node *n, const char *picture, int64_t first,
                         int32_t rows, float *mem, char *a) {
    const dev_tensor *x = n->in[0], *w = n->in[1];
    const kern_gemm *gemm = r->p->d->gemm;
    int64_t OX = n->out->ne[1], line = conv_channels(n) * w->ne[1];
    if (is_plain(n)) {
        const float *px = (const float *)(const void *)(picture + first * x->stride[1]);
        pack_rows(gemm, n, px, x->stride[1] / (int64_t)sizeof(float), rows, a);
        return;
    }
    float *dst = mem;
    for (int64_t i = first; i < first + rows; i++) {
        int64_t ox = i % OX, oy = i / OX;
        for (int64_t j = 0; j < w->ne[2]; j++, dst += line)
            gather_line(n, picture, ox, oy * n->params.conv.stride_y - n->params.conv.top + j, dst);
    }
    pack_rows(gemm, n, mem, patch(n), rows, a);
}

/* Kernels of output channels [o, o + cols) as a B tile: in mem, or where they lie in panels. */
static const void *pack_kernels(const cpu_run *r, const dev_node *n, int64_t o, int32_t cols,
                                char *mem) {
    const dev_tensor *w = n->in[1];
    const kern_gemm *gemm = r->p->d->gemm;
    if (w->panels) return conv_panel(n, o);
    kern_gemm_cols c = {.w = (const char *)w->data + o * w->stride[3],
                        .stride = w->stride[3],
                        .type = w->type,
                        .cols = cols,
                        .k = w->ne[0] * w->ne[1] * w->ne[2]};
    if (!n->bf16) {
        gemm->pack_cols((float *)(void *)mem, &c);
        return mem;
    }
    int64_t C = conv_channels(n), taps = w->ne[1] * w->ne[2];
    if (C == w->ne[0]) taps = 1; /* no pair reaches across taps */
    c.k /= taps;
    for (int64_t tap = 0; tap < taps; tap++) {
        gemm->pack_cols_bf16((uint16_t *)(void *)mem + tap * C * CONV_COLS, &c);
        c.w = (const char *)c.w + w->stride[1];
    }
    return mem;
}

static int64_t b_bytes(const dev_node *n) {
    return (patch(n) + 1) / 2 * 2 * CONV_COLS * elem_bytes(n);
}

static uint64_t direct_scratch(const dev_node *n, int64_t n_threads) {
    conv_cut c = direct_cut(n, n_threads);
    int64_t bytes = a_bytes(n, c.block) + b_bytes(n);
    if (!is_plain(n)) bytes += patch(n) * KERN_GEMM_ROWS * (int64_t)sizeof(float);
    return (uint64_t)bytes;
}

static void direct_run(cpu_run *r, const dev_node *n, int32_t chunk, int32_t thread) {
    const dev_tensor *x = n->in[0], *w = n->in[1], *res = n->in[4], *out = n->out;
    conv_cut c = direct_cut(n, r->p->d->n_threads);
    int64_t run = chunk % c.runs, block = chunk / c.runs;
    int64_t picture = block / c.blocks, first = block % c.blocks * c.block;
    int64_t count = cpu_min(c.block, c.n - first);
    char *a = cpu_scratch(r, thread), *b = a + a_bytes(n, c.block);
    const char *in = cpu_base(r, x) + picture * x->stride[3];
    const kern_gemm *gemm = r->p->d->gemm;
    void (*mul)(const kern_gemm_tile *) = n->bf16 ? gemm->mul_bf16 : gemm->mul;
    for (int64_t i = 0; i < count; i += KERN_GEMM_ROWS)
        pack_patches(r, n, in, first + i, (int32_t)cpu_min(KERN_GEMM_ROWS, count - i),
                     (float *)(void *)(b + b_bytes(n)), a + a_bytes(n, i));
    char *to = cpu_base(r, out) + picture * out->stride[3] + first * out->stride[1];
    const char *rest =
        res ? cpu_base(r, res) + picture * res->stride[3] + first * res->stride[1] : NULL;
    int64_t o_end = cpu_min((run + 1) * c.run, out->ne[0]);
    for (int64_t o = run * c.run; o < o_end; o += CONV_COLS) {
        int32_t cols = (int32_t)cpu_min(CONV_COLS, o_end - o);
        float mem[CONV_COLS];
        const float *bias = conv_bias(r, n, picture, o, mem, cols);
        const void *kernels = pack_kernels(r, n, o, cols, b);
        bool ahead = o + CONV_COLS < o_end && !w->panels;
        const char *next = ahead ? (const char *)w->data + (o + CONV_COLS) * w->stride[3] : NULL;
        int64_t next_cols = cpu_min(CONV_COLS, o_end - o - CONV_COLS);
        for (int64_t i = 0; i < count; i += KERN_GEMM_ROWS) {
            conv_fetch(next, w->stride[3], next_cols, w->stride[3], i / KERN_GEMM_ROWS,
                       cpu_div_up(count, KERN_GEMM_ROWS));
            mul(&(kern_gemm_tile){
                .a = a + a_bytes(n, i),
                .b = kernels,
                .k = patch(n),
                .rows = (int32_t)cpu_min(KERN_GEMM_ROWS, count - i),
                .cols = cols,
                .out = (float *)(void *)(to + i * out->stride[1]) + o,
                .out_stride = out->stride[1] / (int64_t)sizeof(float),
                .out_half = KERN_GEMM_BLOCK,
                .bias = bias,
                .residual =
                    rest ? (const float *)(const void *)(rest + i * res->stride[1]) + o : NULL,
                .residual_stride = res ? res->stride[1] / (int64_t)sizeof(float) : 0});
        }
    }
}

/* ---- the operation ---- */

int32_t cpu_conv2d_n_chunks(const cpu_run *r, const cpu_node *n) {
    if (conv_wino_fits(&n->n)) {
        conv_cut c = conv_wino_cut(&n->n, r->p->d->n_threads);
        return (int32_t)(c.blocks * c.runs);
    }
    conv_cut c = direct_cut(&n->n, r->p->d->n_threads);
    return (int32_t)(c.blocks * n->n.out->ne[3] * c.runs);
}

double cpu_conv2d_ns(const cpu_run *r, const cpu_node *n) {
    (void)r;
    const dev_tensor *out = n->n.out;
    return (double)patch(&n->n) * (double)(out->ne[0] * out->ne[1] * out->ne[2] * out->ne[3]) *
           NS_PER_PRODUCT;
}

uint64_t cpu_conv2d_scratch(const cpu_program *p, const cpu_node *n) {
    return conv_wino_fits(&n->n) ? conv_wino_scratch(&n->n, p->d->n_threads)
                                 : direct_scratch(&n->n, p->d->n_threads);
}

void cpu_conv2d_run(cpu_run *r, const cpu_node *n, int32_t chunk, int32_t thread) {
    if (conv_wino_fits(&n->n))
        conv_wino_run(r, &n->n, chunk, thread);
    else
        direct_run(r, &n->n, chunk, thread);
}
