/* A rig for device tests: random activations through get_rows, one operation, its output. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "base/rng.h"
#include "dev/dev.h"
#include "graph/graph.h"
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { RIG_SEQS_MAX = 8, RIG_PAGES_MAX = 256 };

typedef struct rig {
    dev *d;
    graph *g;
    rng r;
    arena *mem;
    int32_t n_tokens, n_out, n_seqs;
    int32_t *ids, *pos, *rows;
    dev_seq seqs[RIG_SEQS_MAX];
    int32_t pages[RIG_SEQS_MAX][RIG_PAGES_MAX];
    dev_kv_shape kv;
    dev_buffer kv_mem;
    float *out;
    int64_t out_floats;
} rig;

static inline float *rig_floats(rig *g, int64_t n, float scale) {
    float *x = arena_alloc(g->mem, (size_t)(n + 1) * sizeof *x);
    for (int64_t i = 0; i < n; i++) x[i] = rng_normal(&g->r) * scale;
    return x;
}

/* A step of n_tokens tokens, one sequence, out rows the odd tokens in reverse. */
static inline void rig_open(rig *g, int32_t n_tokens, int32_t n_threads, uint64_t seed) {
    err e;
    *g = (rig){.n_tokens = n_tokens, .n_seqs = 1};
    rng_init(&g->r, seed);
    g->mem = arena_create(1 << 16);
    assert_int_equal(dev_cpu_create(&(dev_cpu_params){.n_threads = n_threads}, &g->d, &e), ERR_OK);
    size_t n = (size_t)n_tokens + 1;
    g->ids = arena_calloc(g->mem, n, sizeof(int32_t));
    g->pos = arena_calloc(g->mem, n, sizeof(int32_t));
    g->rows = arena_calloc(g->mem, n, sizeof(int32_t));
    for (int32_t i = 0; i < n_tokens; i++) {
        g->ids[i] = i;
        g->pos[i] = i;
    }
    for (int32_t i = n_tokens - 1; i >= 0; i--)
        if (i % 2) g->rows[g->n_out++] = i;
    g->seqs[0] = (dev_seq){0, n_tokens, n_tokens, g->pages[0]};
    graph_params p = {
        .max_tokens = n_tokens + 3, .max_out_rows = n_tokens + 2, .max_seqs = RIG_SEQS_MAX};
    g->g = graph_create(&p);
}

static inline void rig_close(rig *g) {
    graph_destroy(&g->g);
    dev_free(g->d, &g->kv_mem);
    dev_destroy(&g->d);
    arena_destroy(&g->mem);
}

/* x [n0, n_tokens] as an activation of the graph. */
static inline graph_t rig_tokens(rig *g, const float *x, int64_t n0) {
    int64_t ne[4] = {n0, g->n_tokens > 0 ? g->n_tokens : 1, 1, 1};
    graph_t w = graph_weight(g->g, DTYPE_F32, 2, ne, x);
    return graph_get_rows(g->g, w, graph_input(g->g, DEV_INPUT_TOKENS), 1.0f);
}

static inline graph_t rig_heads(rig *g, const float *x, int64_t n0, int64_t n1) {
    int64_t ne[4] = {n0, n1, 1, 1};
    return graph_reshape(g->g, rig_tokens(g, x, n0 * n1), 3, ne);
}

static inline graph_t rig_vector(rig *g, const float *x, int64_t n) {
    return graph_weight(g->g, DTYPE_F32, 1, (int64_t[4]){n, 1, 1, 1}, x);
}

static inline graph_t rig_matrix(rig *g, const float *x, int64_t n0, int64_t n1) {
    return graph_weight(g->g, DTYPE_F32, 2, (int64_t[4]){n0, n1, 1, 1}, x);
}

static inline dev_step rig_step(rig *g) {
    return (dev_step){.n_tokens = g->n_tokens,
                      .n_out_rows = g->n_out,
                      .n_seqs = g->n_seqs,
                      .inputs = {g->ids, g->pos, g->rows, NULL},
                      .outputs = {g->out, NULL},
                      .seqs = g->seqs,
                      .kv_shape = g->kv_mem.ptr ? &g->kv : NULL,
                      .kv_pool = g->kv_mem.ptr};
}

/* Runs the graph whose result is x; returns n floats. */
static inline float *rig_run(rig *g, graph_t x, int64_t n) {
    err e = {0};
    graph_output(g->g, x, DEV_OUTPUT_LOGITS);
    dev_program_spec spec;
    if (graph_plan(g->g, &spec, &e) != ERR_OK) fail_msg("%s", e.msg);
    dev_program *p = NULL;
    if (dev_compile(g->d, &spec, &p, &e) != ERR_OK) fail_msg("%s", e.msg);
    g->out = arena_alloc(g->mem, (size_t)(n + 16) * sizeof *g->out);
    for (int64_t i = 0; i < n + 16; i++) g->out[i] = 12345.0f;
    dev_step s = rig_step(g);
    if (dev_run(p, &s, 0, spec.n_phases, NULL, &e) != ERR_OK) fail_msg("%s", e.msg);
    for (int64_t i = n; i < n + 16; i++) assert_true(g->out[i] == 12345.0f);
    dev_program_destroy(&p);
    return g->out;
}

/* Normalised mean square error of a against the oracle b. */
static inline double rig_nmse(const float *a, const double *b, int64_t n) {
    double num = 0, den = 1e-30;
    for (int64_t i = 0; i < n; i++) {
        num += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
        den += b[i] * b[i];
        if (!isfinite(a[i])) return HUGE_VAL;
    }
    return num / den;
}

#define RIG_CLOSE_TO(got, want, n, limit)                                                          \
    do {                                                                                           \
        double nmse_ = rig_nmse((got), (want), (n));                                               \
        if (!(nmse_ <= (limit))) fail_msg("nmse %g > %g", nmse_, (double)(limit));                 \
    } while (0)
