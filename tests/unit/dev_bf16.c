/* Pictures in bfloat16: what all readers round is written rounded, on devices that convolve
 * directly from rounded pixels (as with AMX; here with the reference's products) and on others. */
#include "dev/cpu/cpu.h"
#include "graph/graph_impl.h"
#include "unit/dev_rig.h"

enum { C = 160, X = 12, Y = 10, B = 2, T = X * Y, HEADS = 4 };

/* The rig's device as one whose products of tiles are fast; `table` must outlive it. */
static void make_tiled(rig *g, kern_gemm *table) {
    cpu_dev *d = (cpu_dev *)g->d;
    *table = *d->gemm;
    table->is_tiled = true;
    table->rows_bf16 = KERN_GEMM_ROWS_MAX;
    table->mul_bf16 = kern_gemm_get(KERN_LEVEL_REF)->mul_bf16;
    d->gemm = table;
    g->g->params.reads_bf16 = true;
}

static graph_t panels(rig *g, int64_t in, int64_t k, int64_t out) {
    int64_t tile = kern_gemm_b_bf16s(in), taps = k * k, n = out / KERN_GEMM_COLS * taps;
    float *w = rig_floats(g, in * taps * out, 0.1f);
    uint16_t *all = arena_alloc(g->mem, (size_t)(n * tile) * sizeof *all);
    for (int64_t i = 0; i < n; i++)
        kern_gemm_get(KERN_LEVEL_REF)
            ->pack_cols_bf16(all + i * tile,
                             &(kern_gemm_cols){.w = w + i * in * KERN_GEMM_COLS,
                                               .stride = in * (int64_t)sizeof(float),
                                               .type = DTYPE_F32,
                                               .cols = KERN_GEMM_COLS,
                                               .k = in});
    if (k > 1) return graph_weight_panels(g->g, 4, (int64_t[4]){in, k, k, out}, all);
    return graph_weight_panels(g->g, 2, (int64_t[4]){in, out, 1, 1}, all);
}

static graph_t linear(rig *g, graph_t x, int64_t out, graph_t rest) {
    return graph_linear(g->g, x, panels(g, x->ne[0], 1, out), NULL, rest);
}

/* A residual block and a transformer block in small. */
static graph_t blocks(rig *g, graph_t x, bool silu, int64_t stride) {
    float *ones = rig_floats(g, C, 1);
    graph_t w = rig_vector(g, ones, C);
    const dev_conv how = {.n_groups = 32, .eps = 1e-5f, .silu = silu};
    graph_conv c = {.w = panels(g, C, 3, C), .p = {.left = 1, .right = 1, .top = 1, .bottom = 1}};
    c.p.stride_x = c.p.stride_y = (int32_t)stride;
    x = graph_conv2d(g->g, graph_group_norm(g->g, x, w, w, &how), &c);
    graph_t t = graph_reshape(g->g, graph_group_norm(g->g, x, w, w, &how), 3,
                              (int64_t[4]){C, x->ne[1] * x->ne[2], B, 1});
    t = linear(g, t, C, NULL);
    graph_t h = graph_layer_norm(g->g, t, w, w, 1e-5f);
    const int64_t heads[4] = {C / HEADS, HEADS, t->ne[1], B};
    graph_t q = graph_reshape(g->g, linear(g, h, C, NULL), 4, heads);
    graph_t v = graph_reshape(g->g, linear(g, h, C, NULL), 4, heads);
    h = graph_sdpa(g->g, q, q, v, &(graph_sdpa_params){.scale = 0.2f});
    t = linear(g, h, C, t);
    h = graph_glu(g->g, linear(g, graph_layer_norm(g->g, t, w, w, 1e-5f), 4 * C, NULL), NULL,
                  DEV_ACT_GELU_ERF);
    return linear(g, h, C, t);
}

static int count_rounded(const dev_program_spec *spec) {
    int n = 0;
    for (int32_t i = 0; i < spec->n_nodes; i++)
        n += spec->nodes[i].part == 0 && spec->nodes[i].out->type == DTYPE_BF16;
    return n;
}

typedef struct result {
    float *out;
    int n_rounded;
    uint64_t arena_bytes;
} result;

/* The blocks' output; written rounded where that may be if `early`. */
static result compute(rig *g, kern_gemm *table, bool early, bool silu, int64_t stride) {
    enum { N = C * T * B };
    rig_open(g, 1, 2, 5);
    g->g->params.bf16 = true;
    if (table) make_tiled(g, table);
    float *data = rig_floats(g, N, 1);
    graph_t x = graph_data(g->g, DEV_DATA_X, 4, (int64_t[4]){C, X, Y, B});
    graph_output(g->g, blocks(g, x, silu, stride), DEV_OUTPUT_RESULT);
    g->g->params.bf16 = early; /* the planner's alone by now */
    result ret = {.out = rig_floats(g, N, 0)};
    dev_program_spec spec;
    dev_program *p = NULL;
    err e = {0};
    if (graph_plan(g->g, &spec, &e) || dev_compile(g->d, &spec, &p, &e)) fail_msg("%s", e.msg);
    dev_step s = {.outputs = {[DEV_OUTPUT_RESULT] = ret.out}, .data = {[DEV_DATA_X] = data}};
    if (dev_run(p, &s, 0, spec.n_phases, NULL, &e)) fail_msg("%s", e.msg);
    ret.n_rounded = count_rounded(&spec);
    ret.arena_bytes = spec.arena_bytes;
    dev_program_destroy(&p);
    return ret;
}

/* n: operations that may write rounded. */
static void check_blocks(bool tiled, bool silu, int64_t stride, int n) {
    rig early, late;
    kern_gemm tables[2];
    result a = compute(&early, tiled ? &tables[0] : NULL, true, silu, stride);
    result b = compute(&late, tiled ? &tables[1] : NULL, false, silu, stride);
    int64_t count = C * B * (X / stride) * (Y / stride);
    assert_int_equal(a.n_rounded, n);
    assert_int_equal(b.n_rounded, 0);
    assert_true(a.arena_bytes <= b.arena_bytes);
    if (!silu) assert_memory_equal(a.out, b.out, (size_t)count * sizeof(float));
    double *want = arena_calloc(late.mem, (size_t)count, sizeof *want);
    for (int64_t i = 0; i < count; i++) want[i] = (double)b.out[i];
    RIG_CLOSE_TO(a.out, want, count, 1e-4); /* SiLU is rounded as exactly as the level does it */
    rig_close(&early);
    rig_close(&late);
}

static void test_written_rounded(void **state) {
    (void)state;
    for (int64_t stride = 1; stride <= 2; stride++)
        for (int silu = 0; silu < 2; silu++) {
            check_blocks(true, silu, stride, 6);
            check_blocks(false, silu, stride, 5); /* not the norm before Winograd */
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_written_rounded)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
