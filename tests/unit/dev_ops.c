/* Every row-wise and mixing operation against a plain double-precision oracle. */
#include "unit/dev_rig.h"

static const int32_t token_counts[] = {0, 1, 3, 37};
static const int64_t widths[] = {1, 7, 32, 65, 640};

#define EACH_SHAPE(g)                                                                              \
    for (size_t it_ = 0; it_ < COUNT_OF(token_counts); it_++)                                      \
        for (size_t iw_ = 0; iw_ < COUNT_OF(widths); iw_++)                                        \
            for (int32_t nth_ = 1; nth_ <= 3; nth_++)                                              \
                for (int once_ = (rig_open(&(g), token_counts[it_], nth_, 7 * it_ + iw_), 1);      \
                     once_; once_ = (rig_close(&(g)), 0))

static double act_exact(double x, dev_act act) {
    switch (act) {
    case DEV_ACT_SILU:
        return x / (1 + exp(-x));
    case DEV_ACT_GELU_TANH:
        return 0.5 * x * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case DEV_ACT_GELU_ERF:
        return 0.5 * x * (1 + erf(x / sqrt(2)));
    case DEV_ACT_RELU:
        return x > 0 ? x : 0;
    case DEV_ACT_GELU_QUICK:
        return x / (1 + exp(-1.702 * x));
    case DEV_ACT_TANH:
        return tanh(x);
    case DEV_ACT_SIGMOID:
        return 1 / (1 + exp(-x));
    case DEV_ACT_COUNT:
        break;
    }
    return (double)NAN;
}

static double *doubles(rig *g, int64_t n) {
    return arena_calloc(g->mem, (size_t)n + 1, 8);
}

static void test_norms(void **state) {
    (void)state;
    rig g;
    EACH_SHAPE(g) {
        int64_t n = widths[iw_], t = g.n_tokens;
        float *x = rig_floats(&g, n * t, 3), *w = rig_floats(&g, n, 1), *b = rig_floats(&g, n, 1);
        graph_t in = rig_tokens(&g, x, n);
        graph_t a = graph_rms_norm(g.g, in, rig_vector(&g, w, n), 1e-5f);
        graph_t c = graph_layer_norm(g.g, in, rig_vector(&g, w, n), rig_vector(&g, b, n), 1e-5f);
        graph_t l2 = graph_l2_norm(g.g, graph_rms_norm(g.g, in, NULL, 1e-5f));
        float *got = rig_run(&g, graph_add(g.g, graph_add(g.g, a, c), l2), n * t);
        double *want = doubles(&g, n * t);
        for (int64_t i = 0; i < t; i++) {
            double sq = 0, sum = 0, var = 0;
            for (int64_t k = 0; k < n; k++) {
                sum += (double)x[i * n + k] / (double)n;
                sq += (double)x[i * n + k] * (double)x[i * n + k];
            }
            for (int64_t k = 0; k < n; k++)
                var += ((double)x[i * n + k] - sum) * ((double)x[i * n + k] - sum) / (double)n;
            for (int64_t k = 0; k < n; k++) {
                double v = (double)x[i * n + k];
                want[i * n + k] = v / sqrt(sq / (double)n + 1e-5) * (double)w[k] +
                                  (v - sum) / sqrt(var + 1e-5) * (double)w[k] + (double)b[k] +
                                  v / sqrt(sq);
            }
        }
        RIG_CLOSE_TO(got, want, n * t, 1e-7);
    }
}

static void test_elementwise(void **state) {
    (void)state;
    rig g;
    EACH_SHAPE(g) {
        int64_t n = widths[iw_], t = g.n_tokens;
        float *x = rig_floats(&g, n * t, 2), *y = rig_floats(&g, n * t, 2);
        float *row = rig_floats(&g, n, 1);
        graph_t a = rig_tokens(&g, x, n), b = rig_tokens(&g, y, n);
        graph_t sum = graph_add(g.g, graph_mul(g.g, a, b), rig_vector(&g, row, n));
        graph_t mul = graph_mul(g.g, graph_scale(g.g, a, 0.5f, 2), rig_vector(&g, row, n));
        float *got = rig_run(&g, graph_softcap(g.g, graph_add(g.g, sum, mul), 3), n * t);
        double *want = doubles(&g, n * t);
        for (int64_t i = 0; i < n * t; i++) {
            double p = (double)x[i], q = (double)y[i], r = (double)row[i % n];
            want[i] = 3 * tanh((p * q + r + (0.5 * p + 2) * r) / 3);
        }
        RIG_CLOSE_TO(got, want, n * t, 1e-7);
    }
}

static void test_activations(void **state) {
    (void)state;
    for (int act = 0; act < DEV_ACT_COUNT; act++) {
        rig g;
        EACH_SHAPE(g) {
            int64_t n = widths[iw_], t = g.n_tokens;
            float *x = rig_floats(&g, n * t, 4), *y = rig_floats(&g, n * t, 1);
            graph_t in = rig_tokens(&g, x, n), up = rig_tokens(&g, y, n);
            graph_t one = graph_act(g.g, in, (dev_act)act);
            graph_t two = graph_glu(g.g, in, up, (dev_act)act);
            float *got = rig_run(&g, graph_add(g.g, one, two), n * t);
            double *want = doubles(&g, n * t);
            for (int64_t i = 0; i < n * t; i++)
                want[i] = act_exact((double)x[i], (dev_act)act) * (1 + (double)y[i]);
            RIG_CLOSE_TO(got, want, n * t, 1e-7);
        }
    }
}

static void test_glu_of_one_tensor_and_slices(void **state) {
    (void)state;
    rig g;
    EACH_SHAPE(g) {
        int64_t n = widths[iw_], t = g.n_tokens;
        float *x = rig_floats(&g, 2 * n * t, 1);
        graph_t in = rig_tokens(&g, x, 2 * n);
        graph_t a = graph_glu(g.g, in, NULL, DEV_ACT_SILU);
        graph_t b =
            graph_glu(g.g, graph_slice(g.g, in, n, n), graph_slice(g.g, in, 0, n), DEV_ACT_SILU);
        float *got = rig_run(&g, graph_add(g.g, a, b), n * t);
        double *want = doubles(&g, n * t);
        for (int64_t i = 0; i < n * t; i++) {
            double p = (double)x[i / n * 2 * n + i % n], q = (double)x[i / n * 2 * n + n + i % n];
            want[i] = act_exact(p, DEV_ACT_SILU) * q + act_exact(q, DEV_ACT_SILU) * p;
        }
        RIG_CLOSE_TO(got, want, n * t, 1e-7);
    }
}

static void test_softmax_and_take_rows(void **state) {
    (void)state;
    rig g;
    EACH_SHAPE(g) {
        int64_t n = widths[iw_];
        float *x = rig_floats(&g, n * g.n_tokens, 8);
        graph_t rows = graph_input(g.g, DEV_INPUT_OUT_ROWS);
        graph_t in = graph_take_rows(g.g, graph_softmax(g.g, rig_tokens(&g, x, n)), rows);
        float *got = rig_run(&g, graph_scale(g.g, in, 2, 0), n * g.n_out);
        double *want = doubles(&g, n * g.n_out);
        for (int64_t o = 0; o < g.n_out; o++) {
            const float *row = x + g.rows[o] * n;
            double sum = 0, max = -HUGE_VAL;
            for (int64_t k = 0; k < n; k++) max = fmax(max, (double)row[k]);
            for (int64_t k = 0; k < n; k++) sum += exp((double)row[k] - max);
            for (int64_t k = 0; k < n; k++) want[o * n + k] = 2 * exp((double)row[k] - max) / sum;
        }
        RIG_CLOSE_TO(got, want, n * g.n_out, 1e-7);
    }
}

static void test_matmul_f32(void **state) {
    (void)state;
    rig g;
    EACH_SHAPE(g) {
        int64_t k = widths[iw_], t = g.n_tokens, n = 45;
        float *w = rig_floats(&g, k * n, 1), *x = rig_floats(&g, k * t, 1);
        float *bias = rig_floats(&g, n, 1), *res = rig_floats(&g, n * t, 1);
        graph_t out = graph_matmul_add(g.g, rig_matrix(&g, w, k, n), rig_tokens(&g, x, k),
                                       rig_vector(&g, bias, n), rig_tokens(&g, res, n));
        float *got = rig_run(&g, out, n * t);
        double *want = doubles(&g, n * t);
        for (int64_t i = 0; i < n * t; i++) {
            want[i] = (double)bias[i % n] + (double)res[i];
            for (int64_t c = 0; c < k; c++)
                want[i] += (double)w[i % n * k + c] * (double)x[i / n * k + c];
        }
        RIG_CLOSE_TO(got, want, n * t, 1e-7);
    }
}

static void test_rope(void **state) {
    (void)state;
    for (int kind = 0; kind < 8; kind++) {
        for (int32_t threads = 1; threads <= 3; threads++) {
            rig g;
            rig_open(&g, 37, threads, 5);
            int64_t dim = 20 + kind % 3, heads = 3, n = dim * heads * g.n_tokens;
            dev_rope p = {.n_rot = kind & 4 ? 20 : 14,
                          .neox = kind & 1,
                          .freq_base = 10000,
                          .freq_scale = kind & 2 ? 0.25f : 1,
                          .attn_factor = kind & 2 ? 1.5f : 0};
            float *x = rig_floats(&g, n, 1), *div = rig_floats(&g, 10, 1);
            for (int i = 0; i < 10; i++) div[i] = 1 + fabsf(div[i]);
            for (int i = 0; i < 37; i++) g.pos[i] = i * i * 7;
            graph_t d = kind & 2 ? rig_vector(&g, div, p.n_rot / 2) : NULL;
            graph_t in = rig_heads(&g, x, dim, heads);
            float *got =
                rig_run(&g, graph_rope(g.g, in, graph_input(g.g, DEV_INPUT_POS), d, &p), n);
            double *want = doubles(&g, n);
            for (int64_t r = 0; r < heads * g.n_tokens; r++) {
                for (int64_t i = 0; i < dim; i++) want[r * dim + i] = (double)x[r * dim + i];
                for (int i = 0; i < p.n_rot / 2; i++) {
                    int a = p.neox ? i : 2 * i, b = p.neox ? i + p.n_rot / 2 : 2 * i + 1;
                    double th = g.pos[r / heads] * pow(10000, -2.0 * i / p.n_rot);
                    double m = kind & 2 ? 1.5 : 1;
                    if (kind & 2) th *= 0.25 / (double)div[i];
                    double xa = (double)x[r * dim + a], xb = (double)x[r * dim + b];
                    want[r * dim + a] = m * (xa * cos(th) - xb * sin(th));
                    want[r * dim + b] = m * (xa * sin(th) + xb * cos(th));
                }
            }
            RIG_CLOSE_TO(got, want, n, 1e-7);
            rig_close(&g);
        }
    }
}

/* Values of an independent YaRN: factor 4, original context 4096, base 1e6, 64 dimensions. The
 * slow dimensions are interpolated, the fast ones are not. */
static void test_rope_yarn(void **state) {
    (void)state;
    rig g;
    rig_open(&g, 2, 1, 5);
    int64_t dim = 64;
    dev_rope p = {.n_rot = 64,
                  .neox = true,
                  .freq_base = 1e6f,
                  .freq_scale = 0.25f,
                  .ext_factor = 1,
                  .attn_factor = 1,
                  .beta_fast = 32,
                  .beta_slow = 1,
                  .ctx_orig = 4096};
    float x[128] = {0};
    for (int i = 0; i < 32; i++) x[i] = x[64 + i] = 1; /* so out = cos in the first half */
    g.pos[0] = 0, g.pos[1] = 1000;
    float *got = rig_run(
        &g, graph_rope(g.g, rig_heads(&g, x, dim, 1), graph_input(g.g, DEV_INPUT_POS), NULL, &p),
        128);
    double m = 1 + 0.1 * log(4);
    for (int i = 0; i < 32; i++) assert_true(fabs((double)got[i] - m) < 1e-5);
    assert_true(fabs((double)got[64] - m * cos(1000.0)) < 1e-5); /* dimension 0: extrapolated */
    double slow = 1000.0 * pow(1e6, -62.0 / 64) * 0.25;          /* dimension 31: interpolated */
    assert_true(fabs((double)got[64 + 31] - m * cos(slow)) < 1e-5);
    /* low = floor(64 ln(4096/(32*2pi)) / (2 ln 1e6)) = 6, high = ceil(... 1 ...) = 16 */
    double f = pow(1e6, -20.0 / 64), ramp = 1 - (10 - 6) / 10.0;
    double th = 1000 * (f * 0.25 * (1 - ramp) + f * ramp);
    assert_true(fabs((double)got[64 + 10] - m * cos(th)) < 1e-4);
    rig_close(&g);
}

static void test_moe(void **state) {
    (void)state;
    for (int32_t threads = 1; threads <= 3; threads++)
        for (size_t it = 0; it < COUNT_OF(token_counts); it++)
            for (int per = 0; per < 2; per++) {
                rig g;
                rig_open(&g, token_counts[it], threads, 3 + it);
                enum { E = 9, U = 3, K = 33, N = 21 };
                int64_t t = g.n_tokens;
                float *probs = rig_floats(&g, E * t, 1),
                      *x = rig_floats(&g, (per ? U : 1) * K * t, 1);
                float *w = rig_floats(&g, K * N * E, 1), *bias = rig_floats(&g, N * E, 1);
                for (int64_t i = 0; i < E * t; i++) probs[i] = roundf(fabsf(probs[i]) * 4) + 1;
                graph_t p = rig_tokens(&g, probs, E), ids = graph_top_k(g.g, p, U);
                graph_t ws = graph_weight(g.g, DTYPE_F32, 3, (int64_t[4]){K, N, E, 1}, w);
                graph_t in = per ? rig_heads(&g, x, K, U) : rig_tokens(&g, x, K);
                graph_t y = graph_matmul_id(g.g, ws, in, ids, rig_matrix(&g, bias, N, E));
                graph_t mw = graph_moe_weights(g.g, p, ids, per, 2.5f);
                float *got = rig_run(&g, graph_moe_sum(g.g, y, mw), N * t);
                double *want = doubles(&g, N * t);
                for (int64_t i = 0; i < t; i++) {
                    bool used[E] = {false};
                    int best[U];
                    double sum = 0;
                    for (int u = 0; u < U; u++) {
                        best[u] = -1;
                        for (int e = 0; e < E; e++)
                            if (!used[e] &&
                                (best[u] < 0 || probs[i * E + e] > probs[i * E + best[u]]))
                                best[u] = e;
                        used[best[u]] = true;
                        sum += (double)probs[i * E + best[u]];
                    }
                    for (int n = 0; n < N; n++)
                        for (int u = 0; u < U; u++) {
                            double v = (double)bias[best[u] * N + n];
                            const float *xr = x + (per ? (i * U + u) * K : i * K);
                            for (int k = 0; k < K; k++)
                                v += (double)w[(best[u] * N + n) * K + k] * (double)xr[k];
                            want[i * N + n] +=
                                v * 2.5 * (double)probs[i * E + best[u]] / (per ? sum : 1);
                        }
                }
                RIG_CLOSE_TO(got, want, N * t, 1e-6);
                rig_close(&g);
            }
}

static void test_pool(void **state) {
    (void)state;
    for (int kind = DEV_POOL_MEAN; kind <= DEV_POOL_LAST; kind++) {
        rig g;
        rig_open(&g, 20, 2, 9);
        static const int32_t lens[] = {5, 1, 0, 14};
        g.n_seqs = 4;
        for (int32_t i = 0, at = 0; i < 4; at += lens[i++])
            g.seqs[i] = (dev_seq){at, lens[i], lens[i], NULL};
        enum { D = 37 };
        float *x = rig_floats(&g, D * 20, 1);
        float *got = rig_run(&g, graph_pool(g.g, rig_tokens(&g, x, D), (dev_pool)kind), D * 4);
        double want[D * 4] = {0};
        for (int s = 0; s < 4; s++)
            for (int i = 0; i < lens[s]; i++)
                for (int d = 0; d < D; d++) {
                    double v = (double)x[(g.seqs[s].first_tok + i) * D + d];
                    if (kind == DEV_POOL_MEAN) want[s * D + d] += v / lens[s];
                    if (kind == DEV_POOL_FIRST && i == 0) want[s * D + d] = v;
                    if (kind == DEV_POOL_LAST && i == lens[s] - 1) want[s * D + d] = v;
                }
        RIG_CLOSE_TO(got, want, D * 4, 1e-10);
        rig_close(&g);
    }
}

static void test_get_rows_without_token_types(void **state) {
    (void)state;
    rig g;
    rig_open(&g, 5, 1, 2);
    float w[6] = {1, 2, 3, 4, 5, 6};
    graph_t t = graph_input(g.g, DEV_INPUT_TYPES);
    float *got = rig_run(&g, graph_get_rows(g.g, rig_matrix(&g, w, 3, 2), t, 2), 15);
    for (int i = 0; i < 15; i++) assert_float_equal(got[i], 2 * w[i % 3], 0);
    rig_close(&g);
}

/* Matrices in the device's own order give the bits of plain ones: rows, products, experts. */
static void test_interleaved_weights(void **state) {
    (void)state;
    for (int32_t threads = 1; threads <= 3; threads++) {
        enum { K = 40, N = 32, E = 3, T = 7, U = 2 };
        rig g;
        rig_open(&g, T, threads, 5);
        if (!dev_can_interleave(g.d, DTYPE_F32, K, N)) { /* only plain C here */
            rig_close(&g);
            return;
        }
        assert_false(dev_can_interleave(g.d, DTYPE_F32, K, N + 1));
        float *w = rig_floats(&g, K * N * E, 1), *tiles = rig_floats(&g, K * N * E, 1);
        float *x = rig_floats(&g, K * T, 1), *probs = rig_floats(&g, E * T, 1);
        dev_interleave(g.d, DTYPE_F32, w, K, N * E, tiles);
        const int64_t one[4] = {K, N, 1, 1}, all[4] = {K, N, E, 1};
        graph_t a = graph_weight(g.g, DTYPE_F32, 2, one, w);
        graph_t b = graph_weight_interleaved(g.g, DTYPE_F32, 2, one, tiles);
        graph_t ids = graph_input(g.g, DEV_INPUT_TOKENS), xt = rig_tokens(&g, x, K);
        graph_t chosen = graph_top_k(g.g, rig_tokens(&g, probs, E), U);
        graph_t ea = graph_weight(g.g, DTYPE_F32, 3, all, w);
        graph_t eb = graph_weight_interleaved(g.g, DTYPE_F32, 3, all, tiles);
        const int64_t flat[4] = {N * U, T, 1, 1};
        graph_t pairs[3][2] = {
            {graph_get_rows(g.g, a, ids, 1), graph_get_rows(g.g, b, ids, 1)},
            {graph_matmul(g.g, a, xt, NULL), graph_matmul(g.g, b, xt, NULL)},
            {graph_reshape(g.g, graph_matmul_id(g.g, ea, xt, chosen, NULL), 2, flat),
             graph_reshape(g.g, graph_matmul_id(g.g, eb, xt, chosen, NULL), 2, flat)}};
        graph_t sum = NULL; /* of differences, which are all zero */
        for (int i = 0; i < 3; i++) {
            graph_t d = graph_add(g.g, pairs[i][0], graph_scale(g.g, pairs[i][1], -1, 0));
            graph_t norm = graph_l2_norm(g.g, graph_scale(g.g, d, 1, 1)); /* 1 / sqrt(n) if equal */
            graph_t first = graph_slice(g.g, norm, 0, N);
            float n = sqrtf((float)(i == 0 ? K : i == 1 ? N : N * U));
            graph_t unit = graph_scale(g.g, first, n, 0);
            sum = sum ? graph_add(g.g, sum, unit) : unit;
        }
        float *got = rig_run(&g, sum, N * T);
        for (int i = 0; i < N * T; i++) assert_float_equal(got[i], 3, 1e-5);
        rig_close(&g);
    }
}

static void test_wrong_steps_are_refused(void **state) {
    (void)state;
    rig g;
    rig_open(&g, 4, 1, 2);
    float w[8] = {0};
    err e;
    graph_t x = graph_get_rows(g.g, rig_matrix(&g, w, 2, 4), graph_input(g.g, DEV_INPUT_TOKENS), 1);
    graph_output(g.g, graph_take_rows(g.g, x, graph_input(g.g, DEV_INPUT_OUT_ROWS)), 0);
    dev_program_spec spec;
    assert_int_equal(graph_plan(g.g, &spec, &e), ERR_OK);
    dev_program *p;
    assert_int_equal(dev_compile(g.d, &spec, &p, &e), ERR_OK);
    float out[64];
    g.out = out;
    dev_step ok = rig_step(&g), s;
    int32_t n = spec.n_phases;
    assert_int_equal(dev_run(p, &ok, 0, n, NULL, &e), ERR_OK);
    assert_int_equal(dev_run(p, &ok, 0, n + 1, NULL, &e), ERR_INVALID);
    assert_int_equal(dev_run(p, &ok, 1, 0, NULL, &e), ERR_INVALID);
    int32_t bad_id[] = {0, 1, 4, 2}, bad_row[] = {1, 4}, negative[] = {0, -1, 0, 0};
    s = ok, s.inputs[DEV_INPUT_TOKENS] = bad_id;
    assert_int_equal(dev_run(p, &s, 0, n, NULL, &e), ERR_INVALID);
    s = ok, s.inputs[DEV_INPUT_TOKENS] = negative;
    assert_int_equal(dev_run(p, &s, 0, n, NULL, &e), ERR_INVALID);
    s = ok, s.inputs[DEV_INPUT_OUT_ROWS] = bad_row;
    assert_int_equal(dev_run(p, &s, 0, n, NULL, &e), ERR_INVALID);
    s = ok, s.inputs[DEV_INPUT_TOKENS] = NULL;
    assert_int_equal(dev_run(p, &s, 0, n, NULL, &e), ERR_INVALID);
    s = ok, s.n_tokens = 8;
    assert_int_equal(dev_run(p, &s, 0, n, NULL, &e), ERR_INVALID);
    s = ok, s.n_tokens = -1;
    assert_int_equal(dev_run(p, &s, 0, n, NULL, &e), ERR_INVALID);
    dev_seq gap[] = {{1, 3, 3, NULL}}, is_short[] = {{0, 3, 3, NULL}}, over[] = {{0, 5, 5, NULL}};
    s = ok, s.seqs = gap;
    assert_int_equal(dev_run(p, &s, 0, n, NULL, &e), ERR_INVALID);
    s = ok, s.seqs = is_short;
    assert_int_equal(dev_run(p, &s, 0, n, NULL, &e), ERR_INVALID);
    s = ok, s.seqs = over;
    assert_int_equal(dev_run(p, &s, 0, n, NULL, &e), ERR_INVALID);
    dev_cancel c;
    c.flag = 1;
    assert_int_equal(dev_run(p, &ok, 0, n, &c, &e), ERR_CANCELLED);
    c.flag = 0;
    assert_int_equal(dev_run(p, &ok, 0, n, &c, &e), ERR_OK);
    s = ok, s.outputs[0] = NULL; /* an output that is not wanted is not written */
    assert_int_equal(dev_run(p, &s, 0, n, NULL, &e), ERR_OK);
    dev_program_destroy(&p);
    rig_close(&g);
}

static void test_memory_account(void **state) {
    (void)state;
    dev *d;
    err e;
    assert_int_equal(dev_cpu_create(&(dev_cpu_params){.n_threads = 2}, &d, &e), ERR_OK);
    dev_info info;
    dev_buffer b, none = {0};
    assert_int_equal(dev_alloc(d, 1000, &b, &e), ERR_OK);
    dev_get_info(d, &info);
    assert_int_equal(info.given_bytes, 1000);
    assert_int_equal(info.n_threads, 2);
    for (int i = 0; i < 1000; i++) assert_int_equal(((char *)b.ptr)[i], 0);
    dev_buffer big;
    assert_int_equal(dev_alloc(d, info.capacity_bytes, &big, &e), ERR_DEVICE_NOMEM);
    assert_non_null(strstr(e.msg, "left"));
    assert_int_equal(dev_alloc(d, 0, &big, &e), ERR_INVALID);
    dev_free(d, &b);
    assert_null(b.ptr);
    dev_free(d, &none);
    dev_get_info(d, &info);
    assert_int_equal(info.given_bytes, 0);
    dev_destroy(&d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_norms),
        cmocka_unit_test(test_elementwise),
        cmocka_unit_test(test_activations),
        cmocka_unit_test(test_glu_of_one_tensor_and_slices),
        cmocka_unit_test(test_softmax_and_take_rows),
        cmocka_unit_test(test_matmul_f32),
        cmocka_unit_test(test_rope),
        cmocka_unit_test(test_rope_yarn),
        cmocka_unit_test(test_moe),
        cmocka_unit_test(test_pool),
        cmocka_unit_test(test_get_rows_without_token_types),
        cmocka_unit_test(test_interleaved_weights),
        cmocka_unit_test(test_wrong_steps_are_refused),
        cmocka_unit_test(test_memory_account),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
