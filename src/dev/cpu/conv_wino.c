/* 3x3 convolutions by Winograd's F(4x4,3x3): a quarter of the multiplications.
 *
 * A chunk is a block of tiles (4x4 output pixels each, of any pictures) times a run of output
 * channels. The inputs of its tiles are transformed once, all channels, into the thread's scratch;
 * then for 32 output channels at a time the kernels are transformed 64 input channels by 64, which
 * stay in the second-level cache, and the 36 products are summed up there; the sums' transform
 * writes the pixels with bias, embedding and residual.
 * A node in bfloat16 does the same with other points and half the bytes.
 * Transformed kernels are four times as large as kernels: making them anew for each block costs a
 * few percent of the products and less than reading them from memory would. */
#include "dev/cpu/conv.h"

enum {
    TILE = 4,
    TILES_MAX = 96,
    CHANNELS = 64, /* input channels of a step */
    CHANNELS_BF16 = 128,
    TILES_BF16_MIN = 64,
    CHANNELS_PACKED = 16, /* input channels whose plain kernels lie in the first-level cache */
    PAD_BYTES = 64,       /* between positions: apart by 4096 bytes they would share cache lines */
    V_BYTES = 10 << 20,   /* transformed inputs of a thread, about */
    CHANNELS_MIN = 8,     /* below, most of the transforms would be of nothing */
    PIXELS_MIN = TILE * TILE / 2 /* smaller pictures waste most of a tile */
};

bool conv_wino_fits(const dev_node *n) {
    const dev_tensor *w = n->in[1];
    const dev_conv *p = &n->params.conv;
    return w->ne[1] == 3 && w->ne[2] == 3 && p->stride_x == 1 && p->stride_y == 1 &&
           w->ne[0] >= CHANNELS_MIN && n->out->ne[1] * n->out->ne[2] >= PIXELS_MIN;
}

static int64_t n_tiles(const dev_node *n) {
    const dev_tensor *out = n->out;
    return cpu_div_up(out->ne[1], TILE) * cpu_div_up(out->ne[2], TILE) * out->ne[3];
}

/* Few tiles cost little beside the transforms of their kernels: they keep f32, which rounds
 * nothing.
 */
static bool is_bf16(const dev_node *n) {
    return n->bf16 && n_tiles(n) >= TILES_BF16_MIN;
}

static int64_t elem_bytes(const dev_node *n) {
    return is_bf16(n) ? sizeof(uint16_t) : sizeof(float);
}

static int64_t step_channels(const dev_node *n) {
    int64_t block = is_bf16(n) ? KERN_GEMM_BLOCK_BF16 : KERN_GEMM_BLOCK;
    int64_t all = cpu_div_up(n->in[0]->ne[0], block) * block;
    return cpu_min(is_bf16(n) ? CHANNELS_BF16 : CHANNELS, all);
}

/* Bytes from position to position of a step's transformed inputs, kernels and sums. */
static int64_t v_pos_bytes(const dev_node *n, int64_t tiles) {
    return step_channels(n) * tiles * elem_bytes(n) + PAD_BYTES;
}
static int64_t u_pos_bytes(const dev_node *n) {
    return step_channels(n) * CONV_COLS * elem_bytes(n) + PAD_BYTES;
}
static int64_t m_pos_bytes(int64_t tiles) {
    return tiles * CONV_COLS * (int64_t)sizeof(float) + PAD_BYTES;
}

/* Transformed inputs. */
static int64_t v_bytes(const dev_node *n, int64_t tiles) {
    return cpu_div_up(n->in[0]->ne[0], step_channels(n)) * KERN_WINO * v_pos_bytes(n, tiles);
}

cpu_cut conv_wino_cut(const dev_node *n, int64_t n_threads) {
    return cpu_cut_find(&(cpu_cut_params){
        .n = n_tiles(n),
        .times = 1,
        .panels = cpu_div_up(n->out->ne[0], CONV_COLS),
        .most = cpu_max(KERN_GEMM_ROWS, cpu_min(TILES_MAX, V_BYTES / v_bytes(n, 1))),
        .unit = 1,
        .n_threads = n_threads,
        .n_parts = n->n_parts,
        .row_cost = 0.15,
        .panel_cost = 7});
}

uint64_t conv_wino_scratch(const dev_node *n, const cpu_cut *c) {
    int64_t kernels = (KERN_WINO + 9) * u_pos_bytes(n);
    return (uint64_t)(v_bytes(n, c->block) + kernels + KERN_WINO * m_pos_bytes(c->block));
}

typedef struct wino_job {
    cpu_run *r;
    const dev_node *n;
    const kern_gemm *gemm;
    int64_t first, tiles; /* of the chunk */
    int64_t tiles_x, tiles_y;
    int64_t C, step, elem;       /* channels, those of a step, bytes of an operand's element */
    int64_t v_pos, u_pos, m_pos; /* elements from position to position */
    bool bf16;
    char *v, *u, *g; /* inputs, transformed and plain kernels: f32 or bfloat16 */
    float *m;
} wino_job;

/* v: [step of channels][position][A tile of up to 12 tiles] */
static char *v_tile(const wino_job *j, int64_t step, int64_t pos, int64_t tile) {
    return j->v + ((step * KERN_WINO + pos) * j->v_pos + tile * j->step) * j->elem;
}

static void transform_inputs(const wino_job *j) {
    const dev_tensor *x = j->n->in[0];
    const char *base = cpu_base(j->r, x);
    const int64_t block = j->bf16 ? KERN_GEMM_BLOCK_BF16 : KERN_GEMM_BLOCK;
    for (int64_t i = 0; i < j->tiles; i++) {
        int64_t t = j->first + i, tx = t % j->tiles_x, ty = t / j->tiles_x % j->tiles_y;
        int64_t picture = t / j->tiles_x / j->tiles_y, row = i % KERN_GEMM_ROWS;
        int64_t rows = cpu_min(KERN_GEMM_ROWS, j->tiles - (i - row));
        kern_wino_in in = {.stride_x = x->stride[1] / (int64_t)sizeof(float),
                           .stride_y = x->stride[2] / (int64_t)sizeof(float),
                           .nx = (int32_t)x->ne[1],
                           .ny = (int32_t)x->ne[2],
                           .px = (int32_t)(tx * TILE) - j->n->params.conv.left,
                           .py = (int32_t)(ty * TILE) - j->n->params.conv.top,
                           .v_pos = j->v_pos,
                           .v_block = rows * block};
        const float *pixels = (const float *)(const void *)(base + picture * x->stride[3]);
        for (int64_t c = 0; c < j->C; c += j->step) {
            in.x = pixels + c;
            in.channels = (int32_t)cpu_min(j->step, j->C - c);
            in.v = v_tile(j, c / j->step, 0, i - row) + row * block * j->elem;
            if (j->bf16)
                j->gemm->wino_in_bf16(&in);
            else
                j->gemm->wino_in(&in);
        }
    }
}

static const char *tap_weights(const dev_tensor *w, int64_t o, int64_t tap) {
    return (const char *)w->data + o * w->stride[3] + tap / 3 * w->stride[2] +
           tap % 3 * w->stride[1];
}

/* Kernels of k input channels from c on, of output channels [o, o + cols), to u. */
static void transform_kernels(const wino_job *j, int64_t o, int32_t cols, int64_t c, int64_t k) {
    const dev_tensor *w = j->n->in[1];
    const kern_gemm *gemm = j->gemm;
    const uint16_t *panel = w->panels ? conv_panel(j->n, o) + c * CONV_COLS : NULL;
    int64_t panel_tap = conv_channels(j->n) * CONV_COLS, g_tap = j->u_pos;
    kern_wino_taps t = {.g = j->g, .g_tap = g_tap, .u = j->u, .u_pos = j->u_pos};
    if (panel && j->bf16) {
        t.g = panel, t.g_tap = panel_tap, t.n = kern_gemm_b_bf16s(k);
        gemm->wino_weights_bf16(&t);
        return;
    }
    int64_t part = j->bf16 ? k : CHANNELS_PACKED;
    for (int64_t at = 0; at < k; at += part) {
        int64_t some = cpu_min(part, k - at);
        for (int64_t tap = 0; tap < 9; tap++) {
            const char *weights = tap_weights(w, o, tap) + (c + at) * (w->stride[1] / w->ne[0]);
            kern_gemm_cols from = {weights, w->stride[3], w->type, cols, some};
            if (j->bf16)
                gemm->pack_cols_bf16((uint16_t *)(void *)j->g + tap * g_tap, &from);
            else if (panel)
                gemm->unpack_cols_bf16((float *)(void *)j->g + tap * g_tap,
                                       panel + at * CONV_COLS + tap * panel_tap, some);
            else
                gemm->pack_cols((float *)(void *)j->g + tap * g_tap, &from);
        }
        t.u = j->u + at * CONV_COLS * j->elem;
        t.n = j->bf16 ? kern_gemm_b_bf16s(some) : some * CONV_COLS;
        if (j->bf16)
            gemm->wino_weights_bf16(&t);
        else
            gemm->wino_weights(&t);
    }
}

/* Sums of the 36 products of output channels [o, o + cols), of [.., end): m [position][tile][32].
 */
static void multiply(const wino_job *j, int64_t o, int32_t cols, int64_t end) {
    const dev_tensor *w = j->n->in[1];
    const int64_t elem = w->stride[1] / w->ne[0];
    const bool bf16 = j->bf16;
    for (int64_t c = 0; c < j->C; c += j->step) {
        int64_t k = cpu_min(j->step, j->C - c);
        transform_kernels(j, o, cols, c, k);
        bool last = c + j->step >= j->C; /* then the next output channels' first step follows */
        int64_t next_o = last ? o + CONV_COLS : o, next_c = last ? 0 : c + j->step;
        conv_ahead next = {.stride = w->stride[3],
                           .cols = w->panels ? 0 : cpu_min(CONV_COLS, end - next_o),
                           .bytes = cpu_min(j->step, j->C - next_c) * elem};
        for (int64_t pos = 0; pos < KERN_WINO; pos++) {
            next.w = tap_weights(w, next_o, pos / 4) + next_c * elem; /* four parts of each tap */
            conv_fetch(&next, pos % 4, 4);
            for (int64_t i = 0; i < j->tiles; i += KERN_GEMM_ROWS) {
                kern_gemm_tile t = {.a = v_tile(j, c / j->step, pos, i),
                                    .b = j->u + pos * j->u_pos * j->elem,
                                    .k = k,
                                    .rows = (int32_t)cpu_min(KERN_GEMM_ROWS, j->tiles - i),
                                    .cols = CONV_COLS,
                                    .out = j->m + pos * j->m_pos + i * CONV_COLS,
                                    .out_stride = CONV_COLS,
                                    .out_half = KERN_GEMM_BLOCK,
                                    .add = c > 0};
                if (bf16)
                    j->gemm->mul_bf16(&t);
                else
                    j->gemm->mul(&t);
            }
        }
    }
}

static void transform_sums(const wino_job *j, int64_t o, int32_t cols) {
    const dev_tensor *out = j->n->out, *res = j->n->in[4];
    float mem[CONV_COLS];
    int64_t bias_of = -1;
    kern_wino_out t = {.m_pos = j->m_pos,
                       .cols = cols,
                       .out_x = out->stride[1] / (int64_t)sizeof(float),
                       .out_y = out->stride[2] / (int64_t)sizeof(float)};
    if (res) {
        t.residual_x = res->stride[1] / (int64_t)sizeof(float);
        t.residual_y = res->stride[2] / (int64_t)sizeof(float);
    }
    for (int64_t i = 0; i < j->tiles; i++) {
        int64_t tile = j->first + i, x = tile % j->tiles_x * TILE;
        int64_t y = tile / j->tiles_x % j->tiles_y * TILE;
        int64_t picture = tile / j->tiles_x / j->tiles_y;
        if (picture != bias_of) t.bias = conv_bias(j->r, j->n, picture, o, mem, cols);
        bias_of = picture;
        t.m = j->m + i * CONV_COLS;
        t.nx = (int32_t)cpu_min(TILE, out->ne[1] - x);
        t.ny = (int32_t)cpu_min(TILE, out->ne[2] - y);
        t.out = (float *)(void *)(cpu_base(j->r, out) + picture * out->stride[3]) + y * t.out_y +
                x * t.out_x + o;
        if (res)
            t.residual =
                (const float *)(const void *)(cpu_base(j->r, res) + picture * res->stride[3]) +
                y * t.residual_y + x * t.residual_x + o;
        if (j->bf16)
            j->gemm->wino_out_bf16(&t);
        else
            j->gemm->wino_out(&t);
    }
}

void conv_wino_run(cpu_run *r, const cpu_node *cn, int32_t chunk, int32_t thread) {
    const dev_node *n = &cn->n;
    const cpu_cut c = cn->cut;
    int64_t first = chunk / c.runs * c.block, from, end;
    conv_run(n, &c, chunk % c.runs, &from, &end);
    wino_job j = {.r = r,
                  .n = n,
                  .gemm = r->p->d->gemm,
                  .first = first,
                  .tiles = cpu_min(c.block, c.n - first),
                  .tiles_x = cpu_div_up(n->out->ne[1], TILE),
                  .tiles_y = cpu_div_up(n->out->ne[2], TILE),
                  .C = n->in[0]->ne[0],
                  .step = step_channels(n),
                  .bf16 = is_bf16(n),
                  .elem = elem_bytes(n)};
    j.v_pos = v_pos_bytes(n, j.tiles) / j.elem;
    j.u_pos = u_pos_bytes(n) / j.elem;
    j.m_pos = m_pos_bytes(j.tiles) / (int64_t)sizeof(float);
    j.v = cpu_scratch(r, thread);
    j.u = j.v + v_bytes(n, c.block);
    j.g = j.u + KERN_WINO * u_pos_bytes(n);
    j.m = (float *)(void *)(j.g + 9 * u_pos_bytes(n));
    transform_inputs(&j);
    for (int64_t o = from; o < end; o += CONV_COLS) {
        int32_t cols = (int32_t)cpu_min(CONV_COLS, end - o);
        multiply(&j, o, cols, end);
        transform_sums(&j, o, cols);
    }
}
