/* Convolutions in bfloat16 where products cost next to nothing (kern_gemm.is_tiled).
 *
 * A chunk is a run of whole output lines times a run of output channels. The input lines that it
 * sees are rounded once into the thread's scratch, with the zeros around the picture; then every
 * tile reads the pixels of each tap where they lie, so a pixel is packed once, not once for each
 * tap. Lines of up to 16 pixels share a tile two by two. */
#include "dev/cpu/conv.h"
#include <string.h>

enum {
    BLOCK_BYTES = 512 << 10, /* rounded lines of a chunk, about */
    BLOCK_PIXELS_MIN = 64,
    HALF = KERN_GEMM_ROWS_MAX / 2
};

/* Pixels of a rounded line; its bytes. */
static int64_t line_pixels(const dev_node *n) {
    return (n->out->ne[1] - 1) * n->params.conv.stride_x + n->in[1]->ne[1];
}
static int64_t pixel_bytes(const dev_node *n) {
    return n->in[1]->ne[0] * (int64_t)sizeof(uint16_t);
}
static int64_t line_bytes(const dev_node *n) {
    return line_pixels(n) * pixel_bytes(n);
}

/* Input lines under `lines` output lines. */
static int64_t lines_in(const dev_node *n, int64_t lines) {
    return (lines - 1) * n->params.conv.stride_y + n->in[1]->ne[2];
}

bool conv_tiles_fits(const dev_node *n, const kern_gemm *gemm) {
    const dev_tensor *w = n->in[1];
    return n->bf16 && gemm->is_tiled && w->panels && w->ne[0] % KERN_GEMM_BLOCK_BF16 == 0 &&
           n->in[0]->ne[0] == w->ne[0] && lines_in(n, 2) * line_bytes(n) <= INT32_MAX;
}

static int64_t products(const dev_node *n) {
    const dev_tensor *w = n->in[1];
    return w->ne[0] * w->ne[1] * w->ne[2];
}

cpu_cut conv_tiles_cut(const dev_node *n, int64_t n_threads) {
    int64_t line = n->out->ne[1], over = lines_in(n, 1) - n->params.conv.stride_y;
    int64_t fit = BLOCK_BYTES / line_bytes(n) - cpu_max(0, over);
    return cpu_cut_find(&(cpu_cut_params){.n = line * n->out->ne[2],
                                          .times = n->out->ne[3],
                                          .panels = cpu_div_up(n->out->ne[0], CONV_COLS),
                                          .most = cpu_max(BLOCK_PIXELS_MIN, fit * line),
                                          .unit = line,
                                          .n_threads = n_threads,
                                          .n_parts = n->n_parts,
                                          .row_cost = 0.25,
                                          .panel_cost = 40});
}

/* Lines, then where the blocks of a pixel's products lie. */
static int64_t scratch_lines(const dev_node *n, const cpu_cut *c) {
    return lines_in(n, c->block / n->out->ne[1]) * line_bytes(n);
}
uint64_t conv_tiles_scratch(const dev_node *n, const cpu_cut *c) {
    int64_t blocks = products(n) / KERN_GEMM_BLOCK_BF16;
    return (uint64_t)(scratch_lines(n, c) + blocks * (int64_t)sizeof(int32_t));
}

typedef struct tiles_job {
    cpu_run *r;
    const dev_node *n;
    int64_t picture, y, lines; /* output lines of the chunk */
    char *a;                   /* rounded lines */
    int32_t *blocks;           /* of a pixel, as kern_gemm_tile.a_blocks */
} tiles_job;

static void find_blocks(const tiles_job *j) {
    const dev_tensor *w = j->n->in[1];
    int32_t *to = j->blocks;
    for (int64_t y = 0; y < w->ne[2]; y++)
        for (int64_t x = 0; x < w->ne[1]; x++)
            for (int64_t c = 0; c < w->ne[0]; c += KERN_GEMM_BLOCK_BF16)
                *to++ = (int32_t)(y * line_bytes(j->n) + x * pixel_bytes(j->n) +
                                  c * (int64_t)sizeof(uint16_t));
}

static void round_lines(const tiles_job *j) {
    const dev_node *n = j->n;
    const dev_tensor *x = n->in[0];
    const kern_gemm *gemm = j->r->p->d->gemm;
    const char *picture = cpu_base(j->r, x) + j->picture * x->stride[3];
    const int64_t left = n->params.conv.left, all = line_pixels(n), size = pixel_bytes(n);
    const int64_t to_x = cpu_min(all, left + x->ne[1]);
    int64_t y = j->y * n->params.conv.stride_y - n->params.conv.top;
    for (int64_t i = 0; i < lines_in(n, j->lines); i++, y++) {
        char *line = j->a + i * line_bytes(n);
        if (y < 0 || y >= x->ne[2]) {
            memset(line, 0, (size_t)line_bytes(n));
            continue;
        }
        memset(line, 0, (size_t)(cpu_min(left, all) * size));
        for (int64_t px = left; px < to_x; px++) {
            const char *from = picture + y * x->stride[2] + (px - left) * x->stride[1];
            if (x->type == DTYPE_BF16)
                memcpy(line + px * size, from, (size_t)size);
            else
                gemm->round_bf16((uint16_t *)(void *)(line + px * size),
                                 (const float *)(const void *)from, x->ne[0], 1);
        }
        memset(line + to_x * size, 0, (size_t)((all - to_x) * size));
    }
}

/* Where tile i of a chunk lies: lines of up to HALF pixels two by two, others in parts. */
typedef struct tile_place {
    int64_t y, x;  /* from the chunk's first line */
    int64_t pixel; /* of the picture */
    int32_t rows;
} tile_place;

static int64_t tiles_of_lines(const dev_node *n) {
    return cpu_div_up(n->out->ne[1], KERN_GEMM_ROWS_MAX);
}
static int64_t lines_of_tile(const dev_node *n) {
    return n->out->ne[1] <= HALF ? 2 : 1;
}

static tile_place place_of(const tiles_job *j, int64_t i) {
    const int64_t per = tiles_of_lines(j->n), line = j->n->out->ne[1], lines = lines_of_tile(j->n);
    tile_place p = {.y = i / per * lines, .x = i % per * KERN_GEMM_ROWS_MAX};
    p.pixel = (j->y + p.y) * line + p.x;
    p.rows = (int32_t)cpu_min(KERN_GEMM_ROWS_MAX, cpu_min(lines, j->lines - p.y) * line - p.x);
    return p;
}

/* Output channels of one panel for the chunk's pixels. Meanwhile the next panel is asked for, and
 * what the next tile writes and adds: products are too short to wait for it then. */
static void multiply(const tiles_job *j, kern_gemm_tile t, int64_t o, const conv_ahead *next) {
    const dev_node *n = j->n;
    const dev_tensor *out = n->out, *res = n->in[4];
    const int64_t down = n->params.conv.stride_y * line_bytes(n), lines = lines_of_tile(n);
    const int64_t n_tiles = cpu_div_up(j->lines, lines) * tiles_of_lines(n);
    t.a_down = (int32_t)(lines > 1 ? down : HALF * t.a_row);
    t.a_split = (int32_t)cpu_min(out->ne[1], HALF);
    tile_place p = place_of(j, 0), after = p;
    for (int64_t i = 0; i < n_tiles; i++, p = after) {
        conv_fetch(next, i, n_tiles);
        if (i + 1 < n_tiles) {
            after = place_of(j, i + 1);
            conv_fetch_rows(conv_pixel(j->r, out, j->picture, after.pixel, o), t.out_stride,
                            after.rows);
            if (res)
                conv_fetch_rows(conv_pixel(j->r, res, j->picture, after.pixel, o),
                                t.residual_stride, after.rows);
        }
        t.rows = p.rows;
        t.a = j->a + p.y * down + p.x * t.a_row;
        t.out = conv_pixel(j->r, out, j->picture, p.pixel, o);
        t.residual = res ? conv_pixel(j->r, res, j->picture, p.pixel, o) : NULL;
        j->r->p->d->gemm->mul_bf16(&t);
    }
}

void conv_tiles_run(cpu_run *r, const cpu_node *cn, int32_t chunk, int32_t thread) {
    const dev_node *n = &cn->n;
    const dev_tensor *res = n->in[4];
    const cpu_cut c = cn->cut;
    int64_t block = chunk / c.runs, first = block % c.blocks * c.block, from, end;
    tiles_job j = {.r = r,
                   .n = n,
                   .picture = block / c.blocks,
                   .y = first / n->out->ne[1],
                   .lines = cpu_min(c.block, c.n - first) / n->out->ne[1],
                   .a = cpu_scratch(r, thread)};
    j.blocks = (int32_t *)(void *)(j.a + scratch_lines(n, &c));
    round_lines(&j);
    find_blocks(&j);
    conv_run(n, &c, chunk % c.runs, &from, &end);
    for (int64_t o = from; o < end; o += CONV_COLS) {
        float mem[CONV_COLS];
        int32_t cols = (int32_t)cpu_min(CONV_COLS, end - o);
        kern_gemm_tile t = {.b = conv_panel(n, o),
                            .k = products(n),
                            .cols = cols,
                            .a_blocks = j.blocks,
                            .a_row = (int32_t)(n->params.conv.stride_x * pixel_bytes(n)),
                            .out_stride = n->out->stride[1] / (int64_t)sizeof(float),
                            .out_half = KERN_GEMM_BLOCK,
                            .bias = conv_bias(r, n, j.picture, o, mem, cols),
                            .residual_stride = res ? res->stride[1] / (int64_t)sizeof(float) : 0};
        conv_ahead next = {.w = (const char *)conv_panel(n, o + CONV_COLS),
                           .cols = o + CONV_COLS < end,
                           .bytes = products(n) * CONV_COLS * (int64_t)sizeof(uint16_t)};
        multiply(&j, t, o, &next);
    }
}
