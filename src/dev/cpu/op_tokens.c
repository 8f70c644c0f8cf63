/* Operations on the tokens of pictures: tiles, and merging (Bolya and Hoffman 2023). Products are
 * in f32. */
#include "dev/cpu/cpu.h"
#include <stdlib.h>
#include <string.h>

enum { COLS = KERN_GEMM_COLS, ROWS = KERN_GEMM_ROWS, BEST_ROWS = 16 * ROWS };

static float *row_of(cpu_run *r, const dev_tensor *t, int64_t i) {
    return (float *)(void *)cpu_row(t, cpu_base(r, t), i);
}

static double elems(const dev_tensor *t) {
    return (double)(t->ne[0] * t->ne[1]) * (double)(t->ne[2] * t->ne[3]);
}

static uint64_t padded(int64_t k) {
    return (uint64_t)((k + KERN_GEMM_BLOCK - 1) / KERN_GEMM_BLOCK * KERN_GEMM_BLOCK);
}

/* ---- tiles ---- */

int32_t cpu_tiles_n_chunks(const cpu_run *r, const cpu_node *n) {
    return cpu_copy_chunks(r, n);
}
double cpu_tiles_ns(const cpu_run *r, const cpu_node *n) {
    (void)r;
    return elems(n->n.out) * 0.3;
}
uint64_t cpu_tiles_scratch(const cpu_program *p, const cpu_node *n) {
    (void)p, (void)n;
    return 64;
}

/* Row i of the tiles as a row of the grid. */
static int64_t grid_row(const dev_tiles *p, int64_t i) {
    int64_t h = p->cells_y / p->rows, w = p->cells_x / p->cols, n = (int64_t)p->rows * p->cols;
    int64_t tile = i / (h * w), cell = i % (h * w);
    int64_t y = tile % n / p->cols * h + cell / w, x = tile % n % p->cols * w + cell % w;
    return (tile / n * p->cells_y + y) * p->cells_x + x;
}

void cpu_tiles_run(cpu_run *r, const cpu_node *cn, int32_t chunk, int32_t thread) {
    (void)thread;
    const dev_tensor *x = cn->n.in[0], *out = cn->n.out;
    const dev_tiles *p = &cn->n.params.tiles;
    int64_t per = cpu_copy_rows(out), to = cpu_min((chunk + 1) * per, cpu_rows(r, out));
    for (int64_t i = chunk * per; i < to; i++) { /* the same number of rows in both */
        int64_t grid = grid_row(p, i);
        memcpy(row_of(r, out, p->back ? grid : i), row_of(r, x, p->back ? i : grid),
               (size_t)x->ne[0] * sizeof(float));
    }
}

/* ---- the nearest target of each token ---- */

static int64_t blocks_of(const cpu_node *n) {
    return cpu_div_up(n->n.in[0]->ne[1], BEST_ROWS);
}
int32_t cpu_token_best_n_chunks(const cpu_run *r, const cpu_node *n) {
    (void)r;
    return (int32_t)(blocks_of(n) * n->n.in[0]->ne[2]);
}
double cpu_token_best_ns(const cpu_run *r, const cpu_node *n) {
    (void)r;
    return elems(n->n.in[0]) * (double)n->n.in[0]->ne[1] * 0.01;
}
uint64_t cpu_token_best_scratch(const cpu_program *p, const cpu_node *n) {
    (void)p;
    int64_t C = n->n.in[0]->ne[0];
    return ((uint64_t)C * COLS * 2 + (padded(C) + COLS) * BEST_ROWS) * sizeof(float);
}

/* The target of a cell of 2x2 tokens, and whether a token is one. */
static int64_t target_of(const dev_match *p, const float *picks, int64_t cell) {
    int64_t wide = p->x / 2;
    int pick = (int)picks[p->from + cell] & 3;
    return (cell / wide * 2 + pick / 2) * p->x + cell % wide * 2 + pick % 2;
}
static bool is_target(const dev_match *p, const float *picks, int64_t token) {
    int64_t x = token % p->x / 2, y = token / p->x / 2;
    return x < p->x / 2 && y < p->y / 2 && target_of(p, picks, y * (p->x / 2) + x) == token;
}

typedef struct best_job {
    const kern_gemm *gemm;
    const dev_match *p;
    const float *x, *picks; /* this picture's first token */
    int64_t C, stride;      /* floats */
    int64_t first, n;       /* tokens of the chunk */
    float *out;             /* [2] of the chunk's first token */
    float *targets, *b, *a, *s;
} best_job;

/* Scores of all tokens of the chunk with targets [from, from + n). */
static void score_targets(const best_job *j, int64_t from, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        memcpy(j->targets + i * j->C, j->x + target_of(j->p, j->picks, from + i) * j->stride,
               (size_t)j->C * sizeof(float));
    j->gemm->pack_cols(j->b, &(kern_gemm_cols){.w = j->targets,
                                               .stride = j->C * (int64_t)sizeof(float),
                                               .type = DTYPE_F32,
                                               .cols = (int32_t)n,
                                               .k = j->C});
    for (int64_t i = 0; i < j->n; i += ROWS)
        j->gemm->mul(&(kern_gemm_tile){.a = j->a + kern_gemm_a_floats(i, j->C),
                                       .b = j->b,
                                       .k = j->C,
                                       .rows = (int32_t)cpu_min(ROWS, j->n - i),
                                       .cols = (int32_t)n,
                                       .out = j->s + i * COLS,
                                       .out_stride = COLS,
                                       .out_half = KERN_GEMM_BLOCK});
    for (int64_t i = 0; i < j->n; i++)
        for (int64_t c = 0; c < n; c++)
            if (j->s[i * COLS + c] > j->out[2 * i]) {
                j->out[2 * i] = j->s[i * COLS + c];
                j->out[2 * i + 1] = (float)target_of(j->p, j->picks, from + c);
            }
}

void cpu_token_best_run(cpu_run *r, const cpu_node *cn, int32_t chunk, int32_t thread) {
    const dev_tensor *x = cn->n.in[0];
    const dev_match *p = &cn->n.params.match;
    int64_t T = x->ne[1], b = chunk / blocks_of(cn), first = chunk % blocks_of(cn) * BEST_ROWS;
    int64_t C = x->ne[0], n_targets = (int64_t)(p->x / 2) * (p->y / 2);
    best_job j = {.gemm = r->p->d->gemm,
                  .p = p,
                  .x = row_of(r, x, b * T),
                  .picks = (const float *)(void *)cpu_base(r, cn->n.in[1]),
                  .C = C,
                  .stride = x->stride[1] / (int64_t)sizeof(float),
                  .first = first,
                  .n = cpu_min(BEST_ROWS, T - first),
                  .out = row_of(r, cn->n.out, b * T + first),
                  .targets = cpu_scratch(r, thread)};
    j.b = j.targets + C * COLS;
    j.a = j.b + C * COLS;
    j.s = j.a + padded(C) * BEST_ROWS;
    for (int64_t i = 0; i < j.n; i++) {
        j.out[2 * i] = -2; /* below every cosine */
        j.out[2 * i + 1] = (float)target_of(p, j.picks, 0);
    }
    for (int64_t i = 0; i < j.n; i += ROWS)
        j.gemm->pack_rows(j.a + kern_gemm_a_floats(i, C), j.x + (first + i) * j.stride, j.stride,
                          (int32_t)cpu_min(ROWS, j.n - i), C);
    for (int64_t t = 0; t < n_targets; t += COLS)
        score_targets(&j, t, cpu_min(COLS, n_targets - t));
    for (int64_t i = 0; i < j.n; i++)
        if (is_target(p, j.picks, first + i)) {
            j.out[2 * i] = -3;
            j.out[2 * i + 1] = (float)(first + i);
        }
}

/* ---- which tokens join their targets ---- */

typedef struct ranked {
    float score;
    int32_t token;
} ranked;

int32_t cpu_token_match_n_chunks(const cpu_run *r, const cpu_node *n) {
    (void)r;
    return (int32_t)n->n.out->ne[1];
}
double cpu_token_match_ns(const cpu_run *r, const cpu_node *n) {
    (void)r;
    return elems(n->n.out) * 60;
}
uint64_t cpu_token_match_scratch(const cpu_program *p, const cpu_node *n) {
    (void)p;
    return (uint64_t)n->n.out->ne[0] * sizeof(ranked);
}

static int by_score(const void *a, const void *b) {
    const ranked *x = a, *y = b;
    if (x->score > y->score) return -1;
    if (x->score < y->score) return 1;
    return (x->token > y->token) - (x->token < y->token);
}

void cpu_token_match_run(cpu_run *r, const cpu_node *cn, int32_t chunk, int32_t thread) {
    int64_t T = cn->n.out->ne[0];
    const float *best = row_of(r, cn->n.in[0], chunk * T);
    float *match = row_of(r, cn->n.out, chunk);
    ranked *list = cpu_scratch(r, thread);
    for (int64_t t = 0; t < T; t++) {
        list[t] = (ranked){best[2 * t], (int32_t)t};
        match[t] = 0;
    }
    qsort(list, (size_t)T, sizeof *list, by_score);
    for (int64_t i = 0; i < cn->n.params.match.n_merged; i++) match[list[i].token] = -1;
    float next = 0;
    for (int64_t t = 0; t < T; t++)
        if (match[t] >= 0) match[t] = next++;
    for (int64_t i = 0; i < cn->n.params.match.n_merged; i++) {
        int32_t t = list[i].token;
        match[t] = match[(int64_t)best[2 * t + 1]]; /* targets never join others */
    }
}

/* ---- merging and spreading ---- */

int32_t cpu_token_merge_n_chunks(const cpu_run *r, const cpu_node *n) {
    (void)r;
    return (int32_t)n->n.out->ne[2];
}
double cpu_token_merge_ns(const cpu_run *r, const cpu_node *n) {
    (void)r;
    return elems(n->n.in[0]) * 0.5;
}
uint64_t cpu_token_merge_scratch(const cpu_program *p, const cpu_node *n) {
    (void)p;
    return (uint64_t)n->n.out->ne[1] * sizeof(int32_t);
}

void cpu_token_merge_run(cpu_run *r, const cpu_node *cn, int32_t chunk, int32_t thread) {
    const dev_tensor *x = cn->n.in[0], *out = cn->n.out;
    int64_t C = x->ne[0], T = x->ne[1], N = out->ne[1], from = chunk * T, to = chunk * N;
    const float *match = row_of(r, cn->n.in[1], chunk);
    const kern_vec *vec = r->p->d->vec;
    int32_t *count = cpu_scratch(r, thread);
    memset(count, 0, (size_t)N * sizeof *count);
    for (int64_t t = 0; t < T; t++) {
        float *dst = row_of(r, out, to + (int64_t)match[t]);
        const float *src = row_of(r, x, from + t);
        if (count[(int64_t)match[t]]++ == 0)
            memcpy(dst, src, (size_t)C * sizeof *dst);
        else
            vec->add(dst, dst, src, C);
    }
    for (int64_t i = 0; i < N; i++)
        if (count[i] > 1)
            vec->scale(row_of(r, out, to + i), row_of(r, out, to + i), C, 1 / (float)count[i], 0);
}

int32_t cpu_token_spread_n_chunks(const cpu_run *r, const cpu_node *n) {
    return cpu_copy_chunks(r, n);
}
double cpu_token_spread_ns(const cpu_run *r, const cpu_node *n) {
    (void)r;
    return elems(n->n.out) * 0.3;
}
uint64_t cpu_token_spread_scratch(const cpu_program *p, const cpu_node *n) {
    (void)p, (void)n;
    return 64;
}

void cpu_token_spread_run(cpu_run *r, const cpu_node *cn, int32_t chunk, int32_t thread) {
    (void)thread;
    const dev_tensor *x = cn->n.in[0], *out = cn->n.out;
    int64_t per = cpu_copy_rows(out), to = cpu_min((chunk + 1) * per, cpu_rows(r, out));
    int64_t T = out->ne[1];
    for (int64_t i = chunk * per; i < to; i++) {
        int64_t place = (int64_t)row_of(r, cn->n.in[1], i / T)[i % T];
        memcpy(row_of(r, out, i), row_of(r, x, i / T * x->ne[1] + place),
               (size_t)x->ne[0] * sizeof(float));
    }
}
