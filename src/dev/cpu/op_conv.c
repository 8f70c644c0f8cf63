/* Convolutions: the cut, and the direct way.
 *
 * Directly, a chunk is a run of output pixels times a run of output channels. Its patches (the
 * inputs that each pixel sees, channels next to each other) are packed once into the thread's
 * scratch as tiles of rows; the kernels of 32 output channels at a time are packed beside them, and
 * one product after the other makes the outputs, with bias, embedding and residual in its last
 * step. A kernel of one pixel is packed straight from the picture. Only a block is ever gathered,
 * never a picture, and no packed copy of weights is made: packing costs a few percent of the
 * products, a copy would cost as much memory as the model. Weights that lie in panels already
 * (bfloat16) need none. 3x3 kernels go to conv_wino.c, or to conv_tiles.c. */
#include "base/mem.h"
#include "dev/cpu/conv.h"
#include <string.h>

enum {
    BLOCK_BYTES = 8 << 20, /* patches of a chunk, about */
    BLOCK_BYTES_BF16 = 512 << 10,
    BLOCK_PIXELS_MIN = 48,
    BLOCK_PIXELS_MAX = 384,
    STEP = 512 /* products of a step */
};

/* Estimate of one multiplication, one thread. */
#define NS_PER_PRODUCT 0.02

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

static cpu_cut direct_cut(const dev_node *n, int64_t tile_rows, int64_t n_threads) {
    int64_t fit = (n->bf16 ? BLOCK_BYTES_BF16 : BLOCK_BYTES) / (patch(n) * elem_bytes(n));
    return cpu_cut_find(
        &(cpu_cut_params){.n = n->out->ne[1] * n->out->ne[2],
                          .times = n->out->ne[3],
                          .panels = cpu_div_up(n->out->ne[0], CONV_COLS),
                          .most = cpu_max(BLOCK_PIXELS_MIN, cpu_min(BLOCK_PIXELS_MAX, fit)),
                          .unit = tile_rows,
                          .n_threads = n_threads,
                          .n_parts = n->n_parts,
                          .row_cost = 0.25,
                          .panel_cost = 20});
}

/* The row of a patch under kernel line j of output pixel (ox, ..). */
static void gather_line(const dev_node *n, const char *picture, int64_t ox, int64_t iy, char *dst) {
    const dev_tensor *x = n->in[0], *w = n->in[1];
    int64_t C = x->ne[0] * conv_elem(n), to_C = conv_channels(n) * conv_elem(n), KX = w->ne[1];
    int64_t x0 = ox * n->params.conv.stride_x - n->params.conv.left;
    bool outside = iy < 0 || iy >= x->ne[2];
    int64_t from = cpu_min(KX, cpu_max(0, -x0)), to = cpu_max(from, cpu_min(KX, x->ne[1] - x0));
    const char *line = picture + iy * x->stride[2];
    if (outside || from > 0 || to < KX || C < to_C) memset(dst, 0, (size_t)(KX * to_C));
    for (int64_t i = from; i < to && !outside; i++)
        memcpy(dst + i * to_C, line + (x0 + i) * x->stride[1], (size_t)C);
}

/* Rows that are rounded already, `stride` bytes apart, to an A tile. */
static void pack_rounded(char *a, const char *x, int64_t stride, int32_t rows, int64_t k) {
    enum { BLOCK = KERN_GEMM_BLOCK_BF16 * sizeof(uint16_t) };
    const int64_t bytes = k * (int64_t)sizeof(uint16_t);
    for (int64_t at = 0; at < bytes; at += BLOCK)
        for (int32_t m = 0; m < rows; m++, a += BLOCK) {
            int64_t some = cpu_min(BLOCK, bytes - at);
            memcpy(a, x + m * stride + at, (size_t)some);
            memset(a + some, 0, (size_t)(BLOCK - some));
        }
}

/* `rows` rows, `stride` bytes apart, as an A tile. */
static void pack_rows(const kern_gemm *gemm, const dev_node *n, const char *x, int64_t stride,
                      int32_t rows, char *a) {
    const int64_t k = is_plain(n) ? n->in[0]->ne[0] : patch(n);
    const int64_t floats = stride / (int64_t)sizeof(float);
    const float *f32 = (const float *)(const void *)x;
    if (n->in[0]->type == DTYPE_BF16)
        pack_rounded(a, x, stride, rows, k);
    else if (n->bf16)
        gemm->pack_rows_bf16((uint16_t *)(void *)a, f32, floats, rows, k, 1);
    else
        gemm->pack_rows((float *)(void *)a, f32, floats, rows, k);
}

/* Patches of pixels [first, first + rows) as one A tile; `mem` holds them unpacked. */
static void pack_patches(const cpu_run *r, const dev_node *n, const char *picture, int64_t first,
                         int32_t rows, char *mem, char *a) {
    const dev_tensor *x = n->in[0], *w = n->in[1];
    const kern_gemm *gemm = r->p->d->gemm;
    int64_t OX = n->out->ne[1], line = conv_channels(n) * w->ne[1] * conv_elem(n);
    if (is_plain(n)) {
        pack_rows(gemm, n, picture + first * x->stride[1], x->stride[1], rows, a);
        return;
    }
    char *dst = mem;
    for (int64_t i = first; i < first + rows; i++) {
        int64_t ox = i % OX, oy = i / OX;
        for (int64_t j = 0; j < w->ne[2]; j++, dst += line)
            gather_line(n, picture, ox, oy * n->params.conv.stride_y - n->params.conv.top + j, dst);
    }
    pack_rows(gemm, n, mem, line * w->ne[2], rows, a);
}

typedef struct direct_job {
    cpu_run *r;
    const dev_node *n;
    int64_t rows;                  /* of an A tile */
    int64_t picture, first, count; /* pixels of the chunk */
    char *a, *b;                   /* tiles of patches; kernels of a step */
    float *rest;                   /* [count][32] residuals while sums are in their place */
} direct_job;

/* Products of a step: then its kernels stay in the second-level cache. */
static int64_t k_step(const dev_node *n) {
    int64_t k = patch(n), blk = KERN_GEMM_BLOCK;
    return n->bf16 ? k : cpu_div_up(cpu_div_up(k, cpu_div_up(k, STEP)), blk) * blk;
}

/* Elements [from, from + k) of the kernels of output channels [o, o + cols) as a B tile: in j->b,
 * or where they lie in panels. */
static const void *pack_kernels(const direct_job *j, int64_t o, int32_t cols, int64_t from,
                                int64_t k) {
    const dev_tensor *w = j->n->in[1];
    const kern_gemm *gemm = j->r->p->d->gemm;
    if (w->panels) return conv_panel(j->n, o);
    kern_gemm_cols c = {.w = (const char *)w->data + o * w->stride[3] +
                             from * (w->stride[1] / w->ne[0]),
                        .stride = w->stride[3],
                        .type = w->type,
                        .cols = cols,
                        .k = k};
    if (!j->n->bf16) {
        gemm->pack_cols((float *)(void *)j->b, &c);
        return j->b;
    }
    int64_t C = conv_channels(j->n), taps = w->ne[1] * w->ne[2];
    if (C == w->ne[0]) taps = 1; /* no pair reaches across taps */
    c.k = w->ne[0] * w->ne[1] * w->ne[2] / taps;
    for (int64_t tap = 0; tap < taps; tap++) {
        gemm->pack_cols_bf16((uint16_t *)(void *)j->b + tap * C * CONV_COLS, &c);
        c.w = (const char *)c.w + w->stride[1];
    }
    return j->b;
}

static int64_t b_bytes(const dev_node *n) {
    return (k_step(n) + 1) / 2 * 2 * CONV_COLS * elem_bytes(n);
}

static int64_t rest_bytes(const dev_node *n, int64_t block) {
    return n->in[4] && k_step(n) < patch(n) ? block * CONV_COLS * (int64_t)sizeof(float) : 0;
}

static uint64_t direct_scratch(const cpu_node *cn) {
    const dev_node *n = &cn->n;
    int64_t bytes = a_bytes(n, cn->cut.block) + b_bytes(n) + rest_bytes(n, cn->cut.block);
    if (!is_plain(n)) bytes += patch(n) * cn->tile_rows * (int64_t)sizeof(float);
    return (uint64_t)bytes;
}

/* The first pixel of the chunk, output channel o. */
static float *pixel_of(const direct_job *j, const dev_tensor *t, int64_t o) {
    return conv_pixel(j->r, t, j->picture, j->first, o);
}

static void keep_rest(const direct_job *j, int64_t o, int32_t cols) {
    const dev_tensor *res = j->n->in[4];
    const char *from = (const char *)pixel_of(j, res, o);
    for (int64_t i = 0; i < j->count; i++)
        memcpy(j->rest + i * CONV_COLS, from + i * res->stride[1], (size_t)cols * sizeof(float));
}

/* One step of a panel: outputs += products of elements [from, from + k); the last one finishes. */
static void direct_step(const direct_job *j, kern_gemm_tile t, int64_t from, const float *rest,
                        int64_t rest_stride, const conv_ahead *next) {
    const kern_gemm *gemm = j->r->p->d->gemm;
    float *out = t.out;
    for (int64_t i = 0; i < j->count; i += j->rows) {
        t.rows = (int32_t)cpu_min(j->rows, j->count - i);
        t.a = j->a + a_bytes(j->n, i) + from * t.rows * elem_bytes(j->n);
        t.out = out + i * t.out_stride;
        t.residual = rest ? rest + i * rest_stride : NULL;
        t.residual_stride = rest_stride;
        conv_fetch(next, i / j->rows, cpu_div_up(j->count, j->rows));
        int64_t left = cpu_min(j->rows, j->count - i - t.rows);
        conv_fetch_rows(t.out + t.rows * t.out_stride, t.out_stride, left);
        conv_fetch_rows(rest ? t.residual + t.rows * rest_stride : NULL, rest_stride, left);
        if (j->n->bf16)
            gemm->mul_bf16(&t);
        else
            gemm->mul(&t);
    }
}

/* Output channels [o, o + 32) of those before `end`. */
static void direct_panel(const direct_job *j, int64_t o, int64_t end) {
    const dev_node *n = j->n;
    const dev_tensor *w = n->in[1], *res = n->in[4], *out = n->out;
    const int64_t all = patch(n), step = k_step(n), elem = w->stride[1] / w->ne[0];
    int32_t cols = (int32_t)cpu_min(CONV_COLS, end - o);
    float mem[CONV_COLS];
    const float *bias = conv_bias(j->r, n, j->picture, o, mem, cols);
    const float *rest = res ? pixel_of(j, res, o) : NULL;
    int64_t rest_stride = res ? res->stride[1] / (int64_t)sizeof(float) : 0;
    if (res && step < all) {
        keep_rest(j, o, cols);
        rest = j->rest, rest_stride = CONV_COLS;
    }
    for (int64_t from = 0; from < all; from += step) {
        int64_t k = cpu_min(step, all - from);
        bool last = from + k >= all;
        kern_gemm_tile t = {.b = pack_kernels(j, o, cols, from, k),
                            .k = k,
                            .cols = cols,
                            .out = pixel_of(j, out, o),
                            .out_stride = out->stride[1] / (int64_t)sizeof(float),
                            .out_half = KERN_GEMM_BLOCK,
                            .add = from > 0,
                            .bias = last ? bias : NULL};
        int64_t next_o = last ? o + CONV_COLS : o, next_from = last ? 0 : from + k;
        conv_ahead next = {.w = (const char *)w->data + next_o * w->stride[3] + next_from * elem,
                           .stride = w->stride[3],
                           .cols = w->panels ? 0 : cpu_min(CONV_COLS, end - next_o),
                           .bytes = cpu_min(step, all - next_from) * elem};
        direct_step(j, t, from, last ? rest : NULL, rest_stride, &next);
    }
}

static void direct_run(cpu_run *r, const cpu_node *cn, int32_t chunk, int32_t thread) {
    const dev_node *n = &cn->n;
    const cpu_cut c = cn->cut;
    int64_t block = chunk / c.runs, from, end;
    direct_job j = {.r = r,
                    .n = n,
                    .rows = cn->tile_rows,
                    .picture = block / c.blocks,
                    .first = block % c.blocks * c.block,
                    .a = cpu_scratch(r, thread)};
    j.count = cpu_min(c.block, c.n - j.first);
    j.b = j.a + a_bytes(n, c.block);
    j.rest = (float *)(void *)(j.b + b_bytes(n));
    char *mem = (char *)j.rest + rest_bytes(n, c.block);
    const char *in = cpu_base(r, n->in[0]) + j.picture * n->in[0]->stride[3];
    for (int64_t i = 0; i < j.count; i += j.rows)
        pack_patches(r, n, in, j.first + i, (int32_t)cpu_min(j.rows, j.count - i), mem,
                     j.a + a_bytes(n, i));
    conv_run(n, &c, chunk % c.runs, &from, &end);
    for (int64_t o = from; o < end; o += CONV_COLS) direct_panel(&j, o, end);
}

/* ---- the operation ---- */

void cpu_conv2d_prepare(const cpu_program *p, cpu_node *n) {
    const kern_gemm *gemm = p->d->gemm;
    int64_t n_threads = p->d->n_threads;
    n->tile_rows = n->n.bf16 ? gemm->rows_bf16 : KERN_GEMM_ROWS;
    if (!is_plain(&n->n) && conv_tiles_fits(&n->n, gemm)) {
        n->way = CPU_CONV_TILES;
        n->cut = conv_tiles_cut(&n->n, n_threads);
    } else if (conv_wino_fits(&n->n) && !(n->n.bf16 && gemm->is_tiled) &&
               n->n.in[0]->type == DTYPE_F32) {
        n->way = CPU_CONV_WINO;
        n->cut = conv_wino_cut(&n->n, n_threads);
    } else {
        n->way = CPU_CONV_DIRECT;
        n->cut = direct_cut(&n->n, n->tile_rows, n_threads);
    }
}

int32_t cpu_conv2d_n_chunks(const cpu_run *r, const cpu_node *n) {
    (void)r;
    return cpu_cut_chunks(&n->cut);
}

double cpu_conv2d_ns(const cpu_run *r, const cpu_node *n) {
    (void)r;
    const dev_tensor *out = n->n.out;
    return (double)patch(&n->n) * (double)(out->ne[0] * out->ne[1] * out->ne[2] * out->ne[3]) *
           NS_PER_PRODUCT;
}

uint64_t cpu_conv2d_scratch(const cpu_program *p, const cpu_node *n) {
    (void)p;
    if (n->way == CPU_CONV_WINO) return conv_wino_scratch(&n->n, &n->cut);
    if (n->way == CPU_CONV_TILES) return conv_tiles_scratch(&n->n, &n->cut);
    return direct_scratch(n);
}

void cpu_conv2d_run(cpu_run *r, const cpu_node *n, int32_t chunk, int32_t thread) {
    if (n->way == CPU_CONV_WINO)
        conv_wino_run(r, n, chunk, thread);
    else if (n->way == CPU_CONV_TILES)
        conv_tiles_run(r, n, chunk, thread);
    else
        direct_run(r, n, chunk, thread);
}
