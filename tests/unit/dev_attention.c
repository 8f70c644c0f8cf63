/* Attention over paged KV: against a plain oracle, and bit for bit the same however a prompt is
 * cut, batched or laid out in pages. */
#include "kern/dtype.h"
#include "unit/dev_rig.h"

typedef struct shape {
    int32_t dim_k, dim_v, heads, heads_kv, window;
    float softcap;
    bool sinks;
} shape;

static const shape shapes[] = {
    {64, 64, 4, 4, 0, 0, false},    {256, 256, 4, 1, 0, 0, false}, {16, 24, 6, 2, 0, 0, false},
    {40, 8, 3, 1, 7, 0, false},     {64, 64, 9, 3, 40, 5, false},  {80, 80, 8, 2, 33, 0, true},
    {128, 128, 1, 1, 1, 0, false},  {5, 3, 2, 1, 0, 2, true},      {64, 64, 71, 1, 0, 0, false},
    {192, 128, 2, 2, 64, 0, false},
};

/* A model of one attention layer; its tokens' q, k, v are rows of a table indexed by token id. */
typedef struct model {
    const shape *s;
    float *q, *k, *v, *sinks;
    int32_t n;
} model;

static model model_make(rig *g, const shape *s, int32_t n) {
    model m = {.s = s, .n = n};
    m.q = rig_floats(g, (int64_t)n * s->dim_k * s->heads, 1);
    m.k = rig_floats(g, (int64_t)n * s->dim_k * s->heads_kv, 1);
    m.v = rig_floats(g, (int64_t)n * s->dim_v * s->heads_kv, 1);
    m.sinks = rig_floats(g, s->heads, 1);
    return m;
}

static graph_t reshape_heads(rig *g, graph_t t, int64_t dim, int64_t heads) {
    return graph_reshape(g->g, t, 3, (int64_t[4]){dim, heads, t->ne[1], 1});
}

static dev_attention params_of(const shape *s) {
    return (dev_attention){.scale = 1 / sqrtf((float)s->dim_k),
                           .softcap = s->softcap,
                           .window = s->window,
                           .layer = 1,
                           .n_head_kv = s->heads_kv};
}

/* The oracle: token `tok` of a sequence whose tokens' ids are ids[0..]; k and v rounded to f16. */
static void exact(const model *m, const int32_t *ids, int32_t tok, int32_t lo, int32_t hi,
                  double *out) {
    const shape *s = m->s;
    for (int h = 0; h < s->heads; h++) {
        int hk = h / (s->heads / s->heads_kv);
        double max = s->sinks ? (double)m->sinks[h] : -HUGE_VAL, score[1024];
        const float *q = m->q + ((int64_t)ids[tok] * s->heads + h) * s->dim_k;
        for (int j = lo; j < hi; j++) {
            const float *k = m->k + ((int64_t)ids[j] * s->heads_kv + hk) * s->dim_k;
            double dot = 0;
            for (int d = 0; d < s->dim_k; d++)
                dot += (double)q[d] * (double)f16_to_f32(f32_to_f16(k[d]));
            dot /= sqrt(s->dim_k);
            if (s->softcap > 0) dot = (double)s->softcap * tanh(dot / (double)s->softcap);
            score[j] = dot;
            max = fmax(max, dot);
        }
        double sum = s->sinks ? exp((double)m->sinks[h] - max) : 0;
        double *o = out + h * s->dim_v;
        for (int d = 0; d < s->dim_v; d++) o[d] = 0;
        for (int j = lo; j < hi; j++) {
            const float *v = m->v + ((int64_t)ids[j] * s->heads_kv + hk) * s->dim_v;
            double p = exp(score[j] - max);
            sum += p;
            for (int d = 0; d < s->dim_v; d++) o[d] += p * (double)f16_to_f32(f32_to_f16(v[d]));
        }
        for (int d = 0; d < s->dim_v; d++) o[d] /= sum;
    }
}

static dev_program *compile(rig *g, const model *m, int32_t max_tokens, int32_t *ret_phases) {
    const shape *s = m->s;
    err e = {0};
    graph_params gp = {.max_tokens = max_tokens, .max_out_rows = 1, .max_seqs = RIG_SEQS_MAX};
    graph_destroy(&g->g);
    g->g = graph_create(&gp);
    graph_t ids = graph_input(g->g, DEV_INPUT_TOKENS);
    int64_t n = m->n;
    graph_t wq = graph_weight(g->g, DTYPE_F32, 2, (int64_t[4]){s->dim_k * s->heads, n, 1, 1}, m->q);
    graph_t wk =
        graph_weight(g->g, DTYPE_F32, 2, (int64_t[4]){s->dim_k * s->heads_kv, n, 1, 1}, m->k);
    graph_t wv =
        graph_weight(g->g, DTYPE_F32, 2, (int64_t[4]){s->dim_v * s->heads_kv, n, 1, 1}, m->v);
    dev_attention p = params_of(s);
    graph_t q = reshape_heads(g, graph_get_rows(g->g, wq, ids, 1), s->dim_k, s->heads);
    graph_t k = reshape_heads(g, graph_get_rows(g->g, wk, ids, 1), s->dim_k, s->heads_kv);
    graph_t v = reshape_heads(g, graph_get_rows(g->g, wv, ids, 1), s->dim_v, s->heads_kv);
    graph_kv_store(g->g, k, v, &p);
    graph_t sinks = s->sinks ? rig_vector(g, m->sinks, s->heads) : NULL;
    graph_output(g->g, graph_attention(g->g, q, sinks, s->dim_v, &p), 0);
    dev_program_spec spec;
    if (graph_plan(g->g, &spec, &e) != ERR_OK) fail_msg("%s", e.msg);
    dev_program *prog;
    if (dev_compile(g->d, &spec, &prog, &e) != ERR_OK) fail_msg("%s", e.msg);
    *ret_phases = spec.n_phases;
    return prog;
}

static void alloc_pages(rig *g, const shape *s, int32_t n_pages) {
    err e;
    dev_free(g->d, &g->kv_mem);
    g->kv = (dev_kv_shape){2, s->heads_kv, s->dim_k, s->dim_v, DEV_KV_PAGE_TOKENS, DTYPE_F16};
    assert_int_equal(dev_alloc(g->d, dev_kv_page_bytes(&g->kv) * (uint64_t)n_pages, &g->kv_mem, &e),
                     ERR_OK);
    memset(g->kv_mem.ptr, 0x7e, g->kv_mem.n_bytes); /* NaN: what nobody stored must not be read */
}

typedef struct part {
    int32_t seq, n;
} part;

/* Runs each sequence's tokens through steps made of parts (seq, n tokens), 0-terminated, steps
 * divided by {-1, 0}. Sequence i has ids ids[i]; out[i] receives its rows. */
static void run_parts(rig *g, dev_program *p, int32_t n_phases, const model *m, const part *parts,
                      int32_t **ids, float **out) {
    int64_t row = (int64_t)m->s->dim_v * m->s->heads;
    int32_t done[RIG_SEQS_MAX] = {0};
    err e = {0};
    while (parts->n > 0) {
        dev_seq seqs[RIG_SEQS_MAX];
        int32_t toks[2048], pos[2048], n_seqs = 0, n = 0, which[RIG_SEQS_MAX];
        for (; parts->seq >= 0 && parts->n > 0; parts++) {
            int32_t i = parts->seq;
            seqs[n_seqs] = (dev_seq){n, parts->n, done[i] + parts->n, g->pages[i]};
            which[n_seqs++] = i;
            for (int32_t k = 0; k < parts->n; k++, n++) {
                toks[n] = ids[i][done[i] + k];
                pos[n] = done[i] + k;
            }
        }
        if (parts->seq < 0) parts++;
        float *y = mem_calloc((size_t)(n * row), sizeof *y);
        dev_step s = {.n_tokens = n,
                      .n_seqs = n_seqs,
                      .inputs = {toks, pos},
                      .outputs = {y},
                      .seqs = seqs,
                      .kv_shape = &g->kv,
                      .kv_pool = g->kv_mem.ptr};
        if (dev_run(p, &s, 0, n_phases, NULL, &e) != ERR_OK) fail_msg("%s", e.msg);
        for (int32_t k = 0; k < n_seqs; k++) {
            int32_t i = which[k];
            memcpy(out[i] + done[i] * row, y + seqs[k].first_tok * row,
                   (size_t)(seqs[k].n_tok * row) * sizeof *y);
            done[i] += seqs[k].n_tok;
        }
        mem_free(y);
    }
}

enum { LEN_A = 131, LEN_B = 40, N_IDS = 200 };

/* ways to compute sequences 0 (LEN_A) and 1 (LEN_B) */
static const part whole[] = {{0, LEN_A}, {-1, 1}, {1, LEN_B}, {0, 0}};
static const part batched[] = {{1, LEN_B}, {0, LEN_A}, {0, 0}};
static const part chunked[] = {{0, 50}, {1, 7},  {-1, 1}, {1, 33}, {0, 3},
                               {-1, 1}, {0, 64}, {-1, 1}, {0, 14}, {0, 0}};

static void one_shape(const shape *s, int32_t n_threads) {
    rig g;
    rig_open(&g, 1, n_threads, 77);
    model m = model_make(&g, s, N_IDS);
    int32_t n_phases;
    dev_program *p = compile(&g, &m, 512, &n_phases);
    int64_t row = (int64_t)s->dim_v * s->heads;
    int32_t *ids[2] = {arena_calloc(g.mem, LEN_A, 4), arena_calloc(g.mem, LEN_B, 4)};
    for (int i = 0; i < LEN_A; i++) ids[0][i] = (int32_t)rng_below(&g.r, N_IDS);
    for (int i = 0; i < LEN_B; i++) ids[1][i] = (int32_t)rng_below(&g.r, N_IDS);
    part single[2 * (LEN_A + LEN_B) + 1] = {0}; /* token by token */
    int n_single = 0;
    for (int i = 0; i < LEN_A; i++) {
        single[n_single++] = (part){0, 1};
        if (i < LEN_B) single[n_single++] = (part){1, 1};
        if (i + 1 < LEN_A) single[n_single++] = (part){-1, 1};
    }
    const part *ways[] = {whole, batched, chunked, single};
    float *first[2] = {NULL, NULL};
    for (size_t w = 0; w < COUNT_OF(ways); w++) {
        alloc_pages(&g, s, 16);
        for (int i = 0; i < 8; i++) { /* another place for every way */
            g.pages[0][i] = (int32_t)((i * 3 + (int)w) % 16);
            g.pages[1][i] = (int32_t)((i * 3 + 15 + (int)w) % 16);
        }
        float *out[2] = {arena_calloc(g.mem, (size_t)(LEN_A * row), 4),
                         arena_calloc(g.mem, (size_t)(LEN_B * row), 4)};
        run_parts(&g, p, n_phases, &m, ways[w], ids, out);
        if (w == 0) {
            first[0] = out[0], first[1] = out[1];
            double *want = arena_calloc(g.mem, (size_t)row, 8);
            for (int i = 0; i < LEN_A; i++) {
                int lo = s->window > 0 && i >= s->window ? i - s->window + 1 : 0;
                exact(&m, ids[0], i, lo, i + 1, want);
                RIG_CLOSE_TO(out[0] + i * row, want, row, 1e-8);
            }
        }
        assert_memory_equal(out[0], first[0], (size_t)(LEN_A * row) * sizeof(float));
        assert_memory_equal(out[1], first[1], (size_t)(LEN_B * row) * sizeof(float));
    }
    dev_program_destroy(&p);
    rig_close(&g);
}

static void test_paged(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT_OF(shapes); i++)
        for (int32_t n_threads = 1; n_threads <= 3; n_threads++) one_shape(&shapes[i], n_threads);
}

static void test_full(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT_OF(shapes); i++)
        for (int32_t n_threads = 1; n_threads <= 3; n_threads++) {
            shape s = shapes[i];
            s.softcap = 0, s.sinks = false;
            rig g;
            rig_open(&g, 90, n_threads, 5);
            static const int32_t lens[] = {33, 1, 0, 56};
            int32_t ids[90];
            g.n_seqs = 4;
            for (int32_t k = 0, at = 0; k < 4; at += lens[k++])
                g.seqs[k] = (dev_seq){at, lens[k], lens[k], NULL};
            for (int32_t k = 0; k < 90; k++) ids[k] = k;
            model m = model_make(&g, &s, 90);
            dev_attention p = params_of(&s);
            graph_t q = rig_heads(&g, m.q, s.dim_k, s.heads);
            graph_t k = rig_heads(&g, m.k, s.dim_k, s.heads_kv);
            graph_t v = rig_heads(&g, m.v, s.dim_v, s.heads_kv);
            int64_t row = (int64_t)s.dim_v * s.heads;
            float *got = rig_run(&g, graph_attention_full(g.g, q, k, v, &p), row * 90);
            double *want = arena_calloc(g.mem, (size_t)row, 8);
            for (int32_t t = 0; t < 90; t++) {
                int32_t from = t < 33 ? 0 : t < 34 ? 33 : 34, to = t < 33 ? 33 : t < 34 ? 34 : 90;
                int32_t lo = s.window > 0 && t - s.window + 1 > from ? t - s.window + 1 : from;
                int32_t hi = s.window > 0 && t + s.window < to ? t + s.window : to;
                exact(&m, ids, t, lo, hi, want);
                RIG_CLOSE_TO(got + t * row, want, row, 1e-8);
            }
            rig_close(&g);
        }
}

static void test_no_tokens(void **state) {
    (void)state;
    rig g;
    rig_open(&g, 1, 2, 77);
    model m = model_make(&g, &shapes[0], 10);
    int32_t n_phases;
    dev_program *p = compile(&g, &m, 8, &n_phases);
    err e;
    dev_step s = {0};
    assert_int_equal(dev_run(p, &s, 0, n_phases, NULL, &e), ERR_OK);
    int32_t ids[1] = {0};
    s.n_tokens = 1, s.inputs[0] = ids;
    assert_int_equal(dev_run(p, &s, 0, n_phases, NULL, &e), ERR_INVALID); /* no pages */
    dev_program_destroy(&p);
    rig_close(&g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paged),
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_no_tokens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
