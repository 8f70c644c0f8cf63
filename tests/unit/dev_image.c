/* Picture operations of the CPU device against plain loops in double precision. */
#include "graph/graph_impl.h"
#include "kern/kern_gemm.h"
#include "unit/dev_rig.h"

typedef struct shape {
    int64_t c, x, y, b;
} shape;

static int64_t elems(shape s) {
    return s.c * s.x * s.y * s.b;
}

/* A rig whose data inputs are random pictures. */
typedef struct pictures {
    rig g;
    float *data[DEV_DATA_COUNT];
    int32_t n_phases; /* after run */
} pictures;

static graph_t picture(pictures *p, int slot, shape s) {
    p->data[slot] = rig_floats(&p->g, elems(s), 1.0f);
    return graph_data(p->g.g, slot, 4, (int64_t[4]){s.c, s.x, s.y, s.b});
}

static float *run(pictures *p, graph_t x, int64_t n) {
    err e = {0};
    rig *g = &p->g;
    dev_program_spec spec;
    dev_program *prog = NULL;
    graph_output(g->g, x, DEV_OUTPUT_RESULT);
    if (graph_plan(g->g, &spec, &e) || dev_compile(g->d, &spec, &prog, &e)) fail_msg("%s", e.msg);
    float *out = rig_floats(g, n, 0);
    dev_step s = {.outputs = {NULL, NULL, out, NULL}};
    for (int i = 0; i < DEV_DATA_COUNT; i++) s.data[i] = p->data[i];
    p->n_phases = spec.n_phases;
    for (int32_t i = 0; i < spec.n_phases; i++)
        if (dev_run(prog, &s, i, i + 1, NULL, &e)) fail_msg("%s", e.msg);
    dev_program_destroy(&prog);
    return out;
}

static double *doubles(rig *g, int64_t n) {
    return arena_calloc(g->mem, (size_t)n, sizeof(double));
}

/* How a convolution is computed, and where its weights are. */
typedef enum mode { MODE_F32, MODE_BF16, MODE_BF16_PANELS } mode;

static void round_all(float *x, int64_t n) {
    for (int64_t i = 0; i < n; i++) x[i] = bf16_to_f32(f32_to_bf16(x[i]));
}

/* w [C,K,K,O] as dev_tensor.panels says. */
static graph_t panels_of(rig *g, const float *w, const int64_t ne[4]) {
    int64_t taps = ne[1] * ne[2], tile = kern_gemm_b_bf16s(ne[0]);
    int64_t n_panels = (ne[3] + KERN_GEMM_COLS - 1) / KERN_GEMM_COLS;
    uint16_t *all = arena_alloc(g->mem, (size_t)(n_panels * taps * tile) * sizeof *all);
    for (int64_t i = 0; i < n_panels * taps; i++) {
        int64_t o = i / taps * KERN_GEMM_COLS, tap = i % taps, left = ne[3] - o;
        kern_gemm_cols c = {.w = w + (o * taps + tap) * ne[0],
                            .stride = taps * ne[0] * (int64_t)sizeof(float),
                            .type = DTYPE_F32,
                            .cols = (int32_t)(left < KERN_GEMM_COLS ? left : KERN_GEMM_COLS),
                            .k = ne[0]};
        kern_gemm_get(KERN_LEVEL_REF)->pack_cols_bf16(all + i * tile, &c);
    }
    return graph_weight_panels(g->g, 4, ne, all);
}

static void check_conv_in(mode m, shape s, int64_t o, int64_t k, dev_conv c, bool extras) {
    pictures p = {0};
    rig *g = &p.g;
    rig_open(g, 1, 2, (uint64_t)(s.c * 31 + o));
    g->g->params.bf16 = m != MODE_F32;
    graph_t x = picture(&p, DEV_DATA_X, s);
    float *w = rig_floats(g, s.c * k * k * o, 0.3f), *bias = rig_floats(g, o, 1);
    int64_t sx = c.stride_x ? c.stride_x : 1, sy = c.stride_y ? c.stride_y : 1;
    shape out = {o, (s.x + c.left + c.right - k) / sx + 1, (s.y + c.top + c.bottom - k) / sy + 1,
                 s.b};
    const int64_t ne[4] = {s.c, k, k, o};
    if (m != MODE_F32) { /* then what is left is the order of sums, and Winograd's rounding */
        round_all(p.data[DEV_DATA_X], elems(s));
        round_all(w, s.c * k * k * o);
    }
    graph_conv gc = {.p = c};
    gc.w = m == MODE_BF16_PANELS && !graph_keeps_f32(ne) ? panels_of(g, w, ne)
                                                         : graph_weight(g->g, DTYPE_F32, 4, ne, w);
    if (extras) {
        gc.bias = rig_vector(g, bias, o);
        gc.emb = graph_reshape(g->g, picture(&p, DEV_DATA_TIME, (shape){o, s.b, 1, 1}), 2,
                               (int64_t[4]){o, s.b, 1, 1});
        gc.residual = picture(&p, DEV_DATA_EXTRA, out);
    }
    float *got = run(&p, graph_conv2d(g->g, x, &gc), elems(out));
    double *want = doubles(g, elems(out));
    for (int64_t i = 0; i < elems(out); i++) {
        int64_t oc = i % o, ox = i / o % out.x, oy = i / o / out.x % out.y,
                b = i / o / out.x / out.y;
        double sum = extras ? (double)bias[oc] + (double)p.data[DEV_DATA_TIME][b * o + oc] +
                                  (double)p.data[DEV_DATA_EXTRA][i]
                            : 0;
        for (int64_t j = 0; j < k * k; j++) {
            int64_t ix = ox * sx + j % k - c.left, iy = oy * sy + j / k - c.top;
            if (ix < 0 || iy < 0 || ix >= s.x || iy >= s.y) continue;
            const float *px = p.data[DEV_DATA_X] + ((b * s.y + iy) * s.x + ix) * s.c;
            const float *wr = w + (oc * k * k + j) * s.c;
            for (int64_t ch = 0; ch < s.c; ch++) sum += (double)px[ch] * (double)wr[ch];
        }
        want[i] = sum;
    }
    bool winograd = k == 3 && sx == 1 && s.c >= 8 && out.x * out.y >= 8;
    int64_t tiles = (out.x + 3) / 4 * ((out.y + 3) / 4) * out.b; /* few tiles are not rounded */
    double rounding = m == MODE_F32 || tiles < 64 ? 1e-10 : 4e-4;
    RIG_CLOSE_TO(got, want, elems(out), winograd ? rounding : 1e-12);
    rig_close(g);
}

static void check_conv(shape s, int64_t o, int64_t k, dev_conv c, bool extras) {
    check_conv_in(MODE_F32, s, o, k, c, extras);
    check_conv_in(MODE_BF16, s, o, k, c, extras);
    check_conv_in(MODE_BF16_PANELS, s, o, k, c, extras);
}

static void test_conv(void **state) {
    (void)state;
    const dev_conv same = {.left = 1, .right = 1, .top = 1, .bottom = 1};
    const dev_conv down = {.stride_x = 2, .stride_y = 2, .right = 1, .bottom = 1};
    check_conv((shape){3, 7, 5, 1}, 5, 3, same, false);
    check_conv((shape){33, 17, 9, 2}, 70, 3, same, true);
    check_conv((shape){4, 1, 1, 1}, 1, 3, same, true);
    check_conv((shape){32, 12, 10, 2}, 17, 3, down, true);
    check_conv((shape){64, 13, 11, 1}, 48, 1, (dev_conv){0}, true);
    check_conv((shape){8, 9, 9, 1}, 16, 4, (dev_conv){.stride_x = 4, .stride_y = 2}, false);
    check_conv((shape){320, 4, 4, 1}, 320, 3, same, true);
    check_conv((shape){70, 45, 23, 2}, 40, 3, same, true); /* several blocks of tiles */
    check_conv((shape){33, 40, 33, 1}, 40, 3, same, true);
    check_conv((shape){150, 34, 30, 1}, 16, 3, same, false); /* several steps of channels */
    check_conv((shape){16, 6, 5, 1}, 3, 3, (dev_conv){.top = 1, .right = 1}, false);
    check_conv((shape){33, 12, 10, 1}, 17, 3, down, true); /* odd channels, several taps */
    check_conv((shape){29, 5, 7, 1}, 33, 1, (dev_conv){0}, false);
    check_conv((shape){40, 31, 29, 2}, 33, 1, (dev_conv){0}, true); /* several of pixels */
    check_conv((shape){1300, 9, 3, 1}, 40, 1, (dev_conv){0}, true); /* several steps of products */
    check_conv((shape){130, 9, 7, 2}, 33, 3, down, true);
    check_conv((shape){64, 70, 9, 2}, 40, 3, same, true); /* lines of several tiles */
    check_conv((shape){32, 20, 11, 1}, 33, 3, same, false);
    check_conv((shape){96, 16, 7, 2}, 70, 3, same, true); /* tiles of two lines */
    check_conv((shape){64, 37, 9, 1}, 32, 3, down, true);
}

static void test_group_norm(void **state) {
    (void)state;
    static const shape shapes[] = {
        {32, 5, 3, 2}, {320, 4, 6, 1}, {64, 1, 1, 1}, {1280, 2, 3, 2}, {32, 70, 61, 2}};
    for (size_t t = 0; t < COUNT_OF(shapes); t++) {
        shape s = shapes[t];
        pictures p = {0};
        rig *g = &p.g;
        rig_open(g, 1, 2, 9 + t);
        graph_t x = picture(&p, DEV_DATA_X, s);
        float *w = rig_floats(g, s.c, 1), *b = rig_floats(g, s.c, 1);
        dev_conv c = {.n_groups = 32, .eps = 1e-5f, .silu = t % 2 == 0};
        float *got =
            run(&p, graph_group_norm(g->g, x, rig_vector(g, w, s.c), rig_vector(g, b, s.c), &c),
                elems(s));
        double *want = doubles(g, elems(s));
        int64_t per = s.c / 32, n_px = s.x * s.y;
        for (int64_t k = 0; k < s.b * 32; k++) {
            const float *px = p.data[DEV_DATA_X] + k / 32 * n_px * s.c + k % 32 * per;
            double mean = 0, var = 0;
            for (int64_t i = 0; i < n_px * per; i++)
                mean += (double)px[i / per * s.c + i % per] / (double)(n_px * per);
            for (int64_t i = 0; i < n_px * per; i++)
                var += pow((double)px[i / per * s.c + i % per] - mean, 2) / (double)(n_px * per);
            for (int64_t i = 0; i < n_px * per; i++) {
                int64_t ch = k % 32 * per + i % per;
                double v = ((double)px[i / per * s.c + i % per] - mean) / sqrt(var + 1e-5);
                v = v * (double)w[ch] + (double)b[ch];
                want[k / 32 * n_px * s.c + i / per * s.c + ch] = c.silu ? v / (1 + exp(-v)) : v;
            }
        }
        RIG_CLOSE_TO(got, want, elems(s), 1e-10);
        rig_close(g);
    }
}

static void test_upsample_and_concat(void **state) {
    (void)state;
    pictures p = {0};
    rig *g = &p.g;
    rig_open(g, 1, 2, 3);
    shape s = {5, 3, 2, 2}, wide = {7, 6, 4, 2};
    graph_t x = picture(&p, DEV_DATA_X, s), y = picture(&p, DEV_DATA_EXTRA, wide);
    float *got = run(&p, graph_concat(g->g, graph_upsample2x(g->g, x, 6, 4), y), 12 * 6 * 4 * 2);
    for (int64_t i = 0; i < 12 * 6 * 4 * 2; i++) {
        int64_t c = i % 12, ox = i / 12 % 6, oy = i / 72 % 4, b = i / 288;
        float want = c < 5 ? p.data[DEV_DATA_X][((b * 2 + oy / 2) * 3 + ox / 2) * 5 + c]
                           : p.data[DEV_DATA_EXTRA][((b * 4 + oy) * 6 + ox) * 7 + c - 5];
        assert_true(got[i] >= want && got[i] <= want);
    }
    rig_close(g);
}

/* The frequency (fx, fy) of channel c of a picture, real and imaginary part. */
static void transform(const float *v, shape s, int64_t c, const int64_t f[2], double ret[2]) {
    ret[0] = ret[1] = 0;
    for (int64_t i = 0; i < s.x * s.y; i++) {
        double at = -6.283185307179586 * ((double)(f[0] * (i % s.x)) / (double)s.x +
                                          (double)(f[1] * (i / s.x)) / (double)s.y);
        ret[0] += cos(at) * (double)v[i * s.c + c];
        ret[1] += sin(at) * (double)v[i * s.c + c];
    }
}

/* Channel c at pixel i after its lowest frequencies were scaled, by transforms there and back. */
static double filtered(const float *v, shape s, int64_t c, int64_t i, double scale) {
    double sum = 0;
    for (int64_t k = 0; k < s.x * s.y; k++) {
        int64_t f[2] = {k % s.x, k / s.x}; /* frequency -1 is the last */
        bool low = (f[0] == 0 || f[0] == s.x - 1) && (f[1] == 0 || f[1] == s.y - 1);
        double t[2];
        transform(v, s, c, f, t);
        double at = 6.283185307179586 * ((double)(f[0] * (i % s.x)) / (double)s.x +
                                         (double)(f[1] * (i / s.x)) / (double)s.y);
        sum += (low ? scale : 1) * (t[0] * cos(at) - t[1] * sin(at));
    }
    return sum / (double)(s.x * s.y);
}

static double amplified(const float *v, shape s, int64_t i, double by, bool adaptive) {
    double lo = HUGE_VAL, hi = -HUGE_VAL, mine = 0;
    if (!adaptive) return by;
    for (int64_t k = 0; k < s.x * s.y; k++) {
        double mean = 0;
        for (int64_t c = 0; c < s.c; c++) mean += (double)v[k * s.c + c] / (double)s.c;
        lo = fmin(lo, mean);
        hi = fmax(hi, mean);
        if (k == i) mine = mean;
    }
    return (by - 1) * (mine - lo) / (hi - lo) + 1;
}

static void check_freeu(shape a, shape b, const dev_freeu *how) {
    pictures p = {0};
    rig *g = &p.g;
    rig_open(g, 1, 2, (uint64_t)(a.x * 10 + a.y));
    graph_t x = picture(&p, DEV_DATA_X, a), y = picture(&p, DEV_DATA_EXTRA, b);
    int64_t C = a.c + b.c, n = a.x * a.y;
    float *got = run(&p, graph_freeu(g->g, x, y, how), C * n * a.b);
    for (int64_t i = 0; i < C * n * a.b; i++) {
        int64_t c = i % C, px = i / C % n, k = i / C / n;
        const float *v = p.data[DEV_DATA_X] + k * n * a.c,
                    *w = p.data[DEV_DATA_EXTRA] + k * n * b.c;
        double want = c >= a.c      ? filtered(w, b, c - a.c, px, (double)how->skip)
                      : c < a.c / 2 ? (double)v[px * a.c + c] *
                                          amplified(v, a, px, (double)how->backbone, how->adaptive)
                                    : (double)v[px * a.c + c];
        if (!(fabs((double)got[i] - want) <= 1e-5 * (1 + fabs(want))))
            fail_msg("%d: %g, not %g", (int)i, (double)got[i], want);
    }
    rig_close(g);
}

static void test_freeu(void **state) {
    (void)state;
    check_freeu((shape){6, 4, 5, 2}, (shape){3, 4, 5, 2}, &(dev_freeu){1.3f, 0.2f, false});
    check_freeu((shape){7, 5, 2, 2}, (shape){2, 5, 2, 2}, &(dev_freeu){0.5f, 3.0f, true});
    check_freeu((shape){4, 1, 6, 1}, (shape){2, 1, 6, 1}, &(dev_freeu){1.4f, 0.9f, true});
}

static void check_sdpa_in(bool bf16, shape s4, int64_t S, bool causal) {
    enum { B = 2 };
    int64_t K = s4.c, H = s4.x, T = s4.y;
    pictures p = {0};
    rig *g = &p.g;
    rig_open(g, 1, 2, (uint64_t)(K * T));
    g->g->params.bf16 = bf16;
    graph_t q = picture(&p, DEV_DATA_X, (shape){K, H, T, B});
    graph_t k = picture(&p, DEV_DATA_CONTEXT, (shape){K, H, S, B});
    graph_t v = picture(&p, DEV_DATA_EXTRA, (shape){K, H, S, B});
    float scale = 1 / sqrtf((float)K);
    graph_t y = graph_sdpa(g->g, q, k, v, &(graph_sdpa_params){scale, causal});
    float *got = run(&p, y, K * H * T * B);
    double *want = doubles(g, K * H * T * B), *e = doubles(g, S);
    for (int64_t i = 0; i < H * T * B; i++) {
        int64_t h = i % H, t = i / H % T, b = i / H / T;
        const float *qr = p.data[DEV_DATA_X] + i * K;
        double sum = 0;
        for (int64_t s = 0; s < S; s++) {
            double dot = 0;
            const float *kr = p.data[DEV_DATA_CONTEXT] + ((b * S + s) * H + h) * K;
            for (int64_t d = 0; d < K; d++) dot += (double)qr[d] * (double)kr[d];
            e[s] = causal && s > t ? 0 : exp(dot * (double)scale);
            sum += e[s];
        }
        for (int64_t s = 0; s < S; s++)
            for (int64_t d = 0; d < K; d++)
                want[(b * T + t) * H * K + h * K + d] +=
                    e[s] / sum * (double)p.data[DEV_DATA_EXTRA][((b * S + s) * H + h) * K + d];
    }
    RIG_CLOSE_TO(got, want, K * H * T * B, bf16 ? 3e-5 : 1e-10);
    rig_close(g);
}

static void check_sdpa(int64_t K, int64_t H, int64_t T, int64_t S, bool causal) {
    check_sdpa_in(false, (shape){K, H, T, 1}, S, causal);
    check_sdpa_in(true, (shape){K, H, T, 1}, S, causal);
}

static void test_sdpa(void **state) {
    (void)state;
    check_sdpa(8, 2, 5, 5, false);
    check_sdpa(40, 3, 70, 77, false);
    check_sdpa(64, 2, 77, 77, true);
    check_sdpa(33, 1, 300, 1, false);
    check_sdpa(20, 1, 300, 300, true); /* several blocks of queries and keys */
}

/* A graph whose large nodes are shared out over phases computes the same bits, slice by slice. */
static void test_parts(void **state) {
    (void)state;
    float *first = NULL;
    int32_t n_phases[2];
    pictures p[2] = {0};
    for (int i = 0; i < 2; i++) {
        rig *g = &p[i].g;
        rig_open(g, 1, 2, 21);
        g->g->phase_products = i == 0 ? 1e12 : 2e5;
        graph_t x = picture(&p[i], DEV_DATA_X, (shape){16, 60, 44, 1});
        float *w = rig_floats(g, 16 * 9 * 32, 0.3f);
        graph_conv c = {.w = graph_weight(g->g, DTYPE_F32, 4, (int64_t[4]){16, 3, 3, 32}, w),
                        .p = {.left = 1, .right = 1, .top = 1, .bottom = 1}};
        graph_t y = graph_conv2d(g->g, x, &c);
        graph_t h = graph_reshape(g->g, y, 4, (int64_t[4]){16, 2, 60 * 44, 1});
        y = graph_sdpa(g->g, h, h, h, &(graph_sdpa_params){.scale = 0.2f});
        float *got = run(&p[i], y, 32 * 60 * 44);
        n_phases[i] = p[i].n_phases;
        if (i == 0)
            first = got;
        else
            assert_memory_equal(first, got, 32 * 60 * 44 * sizeof(float));
    }
    assert_int_equal(n_phases[0], 2);
    assert_true(n_phases[1] > 50);
    for (int i = 0; i < 2; i++) rig_close(&p[i].g);
}

/* Nor does it matter how many threads there are, or whether the sums of a linear layer lie where
 * its residual was, which the first graph still needs. */
static void test_threads(void **state) {
    (void)state;
    static const int32_t threads[] = {1, 2, 3, 7};
    enum { C = 40, WIDE = 1300, T = 30 * 17, N = COUNT_OF(threads) };
    float *first = NULL;
    pictures p[N] = {0};
    for (int i = 0; i < N; i++) {
        rig *g = &p[i].g;
        rig_open(g, 1, threads[i], 22);
        graph_t x = picture(&p[i], DEV_DATA_X, (shape){16, 30, 17, 1});
        float *w = rig_floats(g, 16 * 9 * C, 0.3f), *up = rig_floats(g, C * WIDE, 0.3f);
        float *down = rig_floats(g, WIDE * C, 0.1f);
        graph_conv c = {.w = graph_weight(g->g, DTYPE_F32, 4, (int64_t[4]){16, 3, 3, C}, w),
                        .p = {.left = 1, .right = 1, .top = 1, .bottom = 1}};
        graph_t h = graph_reshape(g->g, graph_conv2d(g->g, x, &c), 4, (int64_t[4]){C, 1, T, 1});
        h = graph_sdpa(g->g, h, h, h, &(graph_sdpa_params){.scale = 0.2f});
        graph_t up_w = graph_weight(g->g, DTYPE_F32, 2, (int64_t[4]){C, WIDE, 1, 1}, up);
        graph_t down_w = graph_weight(g->g, DTYPE_F32, 2, (int64_t[4]){WIDE, C, 1, 1}, down);
        graph_t rest = graph_scale(g->g, h, 3, 0);
        h = graph_linear(g->g, graph_linear(g->g, h, up_w, NULL, NULL), down_w, NULL, rest);
        graph_t zeros = i == 0 ? graph_scale(g->g, rest, 0, 0) : NULL;
        h = zeros ? graph_add(g->g, h, zeros) : graph_scale(g->g, h, 1, 0);
        float *got = run(&p[i], h, C * T);
        if (i == 0)
            first = got;
        else
            assert_memory_equal(first, got, C * T * sizeof(float));
    }
    for (int i = 0; i < N; i++) rig_close(&p[i].g);
}

static void test_mistakes(void **state) {
    (void)state;
    err e;
    dev_program_spec spec;
    float w[128] = {0};
    static const int64_t too_large[4] = {1 << 30, 1 << 30, 1 << 30, 4};
    for (int i = 0; i < 5; i++) {
        pictures p = {0};
        rig_open(&p.g, 1, 1, 1);
        graph *g = p.g.g;
        graph_t x = picture(&p, DEV_DATA_X, (shape){4, 3, 3, 1});
        graph_t k = graph_weight(g, DTYPE_F32, 4, (int64_t[4]){4, 4, 4, 1}, w), y = x;
        if (i == 0) y = graph_conv2d(g, x, &(graph_conv){.w = k}); /* kernel larger than picture */
        if (i == 1) y = graph_group_norm(g, x, NULL, NULL, &(dev_conv){.n_groups = 3});
        if (i == 2) y = graph_data(g, DEV_DATA_EXTRA, 4, too_large);
        if (i == 4) k = graph_weight_panels(g, 4, (int64_t[4]){16, 1, 1, 16}, w); /* not in f32 */
        if (i == 4) x = picture(&p, DEV_DATA_TIME, (shape){16, 3, 3, 1});
        if (i == 4) y = graph_conv2d(g, x, &(graph_conv){.w = k});
        if (i == 3) y = graph_concat(g, x, graph_upsample2x(g, x, 6, 6));
        graph_output(g, y, DEV_OUTPUT_RESULT);
        assert_int_equal(graph_plan(g, &spec, &e), ERR_INVALID);
        rig_close(&p.g);
    }
}

/* Tiles of a grid as pictures, and back. */
static void test_tiles(void **state) {
    (void)state;
    enum { C = 3, Y = 6, X = 4, B = 2, ROWS = 3, COLS = 2 };
    for (int back = 0; back < 2; back++) {
        pictures p = {0};
        rig *g = &p.g;
        rig_open(g, 1, 2, 5);
        p.data[DEV_DATA_X] = rig_floats(g, C * Y * X * B, 1.0f);
        graph_t x = graph_data(g->g, DEV_DATA_X, 3, (int64_t[4]){C, Y * X, B, 1});
        dev_tiles t = {Y, X, ROWS, COLS, false};
        graph_t y = graph_tiles(g->g, x, &t);
        assert_int_equal(y->ne[1], Y * X / 6);
        assert_int_equal(y->ne[2], 6 * B);
        t.back = true;
        float *got = run(&p, back ? graph_tiles(g->g, y, &t) : y, C * Y * X * B);
        for (int i = 0; i < C * Y * X * B; i++) {
            int c = i % C, k = i / C, at = k; /* k: row of what came out */
            if (!back) {
                int tile = k / 4, cell = k % 4, b = tile / 6;
                at = b * Y * X + (tile % 6 / COLS * 2 + cell / 2) * X + tile % COLS * 2 + cell % 2;
            }
            assert_float_equal(got[i], p.data[DEV_DATA_X][at * C + c], 0);
        }
        rig_close(g);
    }
}

enum { MERGE_Y = 5, MERGE_X = 7, MERGE_T = MERGE_Y * MERGE_X, MERGE_CELLS = 6 };

/* By definition: the nearest target of each token that is none, by cosine. */
static void find_targets(const float *x, const float *picks, int C, int target[MERGE_T],
                         double score[MERGE_T]) {
    bool is_target[MERGE_T] = {false};
    for (int i = 0; i < MERGE_CELLS; i++) {
        int k = (int)picks[i];
        is_target[(i / 3 * 2 + k / 2) * MERGE_X + i % 3 * 2 + k % 2] = true;
    }
    for (int t = 0; t < MERGE_T; t++) {
        score[t] = -9;
        target[t] = t;
        for (int u = 0; u < MERGE_T && !is_target[t]; u++) {
            double ab = 0, aa = 0, bb = 0;
            for (int c = 0; c < C && is_target[u]; c++) {
                ab += (double)x[t * C + c] * (double)x[u * C + c];
                aa += (double)x[t * C + c] * (double)x[t * C + c];
                bb += (double)x[u * C + c] * (double)x[u * C + c];
            }
            if (!is_target[u] || ab / sqrt(aa * bb) <= score[t]) continue;
            score[t] = ab / sqrt(aa * bb);
            target[t] = u;
        }
    }
}

/* Tokens that joined a target become one mean of all of them; the others stay as they are. */
static void test_merging(void **state) {
    (void)state;
    enum { C = 20, B = 2, JOINED = 11 };
    pictures p = {0};
    rig *g = &p.g;
    rig_open(g, 1, 3, 9);
    p.data[DEV_DATA_X] = rig_floats(g, C * MERGE_T * B, 1.0f);
    p.data[DEV_DATA_PICKS] = rig_floats(g, MERGE_CELLS + 2, 0);
    for (int i = 0; i < MERGE_CELLS; i++) p.data[DEV_DATA_PICKS][i + 2] = (float)(i * 7 % 4);
    graph_t x = graph_data(g->g, DEV_DATA_X, 3, (int64_t[4]){C, MERGE_T, B, 1});
    graph_t picks = graph_data(g->g, DEV_DATA_PICKS, 1, (int64_t[4]){MERGE_CELLS + 2, 1, 1, 1});
    dev_match how = {MERGE_X, MERGE_Y, 2, JOINED};
    graph_t match = graph_token_match(g->g, x, picks, &how);
    graph_t few = graph_token_merge(g->g, x, match, &how);
    assert_int_equal(few->ne[1], MERGE_T - JOINED);
    float *got = run(&p, graph_token_spread(g->g, few, match), C * MERGE_T * B);
    for (int b = 0; b < B; b++) {
        const float *v = p.data[DEV_DATA_X] + b * MERGE_T * C;
        int target[MERGE_T], place[MERGE_T];
        double score[MERGE_T];
        find_targets(v, p.data[DEV_DATA_PICKS] + 2, C, target, score);
        for (int t = 0; t < MERGE_T; t++) {
            int better = 0; /* joins when fewer than JOINED score more */
            for (int u = 0; u < MERGE_T; u++) better += score[u] > score[t];
            place[t] = better < JOINED ? target[t] : t;
        }
        for (int i = 0; i < MERGE_T * C; i++) {
            double sum = 0;
            int n = 0;
            for (int t = 0; t < MERGE_T; t++)
                if (place[t] == place[i / C]) sum += (double)v[t * C + i % C], n++;
            assert_float_equal(got[b * MERGE_T * C + i], (float)(sum / n), 1e-5f);
        }
    }
    rig_close(g);
}

static void test_sdpa_mass(void **state) {
    (void)state;
    enum { K = 5, H = 3, T = 14, S = 35, B = 2 };
    pictures p = {0};
    rig *g = &p.g;
    rig_open(g, 1, 2, 4);
    graph_t q = picture(&p, DEV_DATA_X, (shape){K, H, T, B}),
            k = picture(&p, DEV_DATA_EXTRA, (shape){K, H, S, B});
    float *got = run(&p, graph_sdpa_mass(g->g, q, k, 0.7f), S * B);
    double want[B * S] = {0};
    for (int i = 0; i < B * T * H; i++) {
        double e[S], sum = 0;
        int b = i / T / H, h = i % H;
        for (int s = 0; s < S; s++) {
            double dot = 0;
            for (int c = 0; c < K; c++)
                dot += (double)p.data[DEV_DATA_X][i * K + c] *
                       (double)p.data[DEV_DATA_EXTRA][((b * S + s) * H + h) * K + c];
            sum += e[s] = exp(0.7 * dot);
        }
        for (int s = 0; s < S; s++) want[b * S + s] += e[s] / sum / H;
    }
    for (int i = 0; i < B * S; i++) assert_float_equal(got[i], (float)want[i], 1e-5f);
    rig_close(g);
}

/* Each picture of a batch at another size as the host makes it. */
static void test_resize(void **state) {
    (void)state;
    enum { C = 3, X = 7, Y = 5, B = 2, NX = 4, NY = 8 };
    static const resize_method METHODS[] = {RESIZE_BICUBIC, RESIZE_AREA, RESIZE_BISLERP,
                                            RESIZE_FLOOR};
    for (size_t m = 0; m < COUNT_OF(METHODS); m++) {
        pictures p = {0};
        rig *g = &p.g;
        err e = {0};
        rig_open(g, 1, 2, 4);
        graph_t x = picture(&p, DEV_DATA_X, (shape){C, X, Y, B});
        float *got = run(&p, graph_resize(g->g, x, NX, NY, METHODS[m]), C * NX * NY * B);
        float want[C * NX * NY * B];
        resize_dims from = {B, Y, X, C, false};
        assert_int_equal(
            resize(p.data[DEV_DATA_X], &from, (resize_target){METHODS[m], NY, NX}, want, &e), 0);
        for (int i = 0; i < C * NX * NY * B; i++) assert_float_equal(got[i], want[i], 0);
        if (METHODS[m] == RESIZE_FLOOR) /* pixel (1, 3) is that at (1 * 7 / 4, 3 * 5 / 8) */
            assert_float_equal(got[(3 * NX + 1) * C], p.data[DEV_DATA_X][(1 * X + 1) * C], 0);
        rig_close(g);
    }
}

int main(int argc, char **argv) { /* or only the test named */
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conv),
        cmocka_unit_test(test_group_norm),
        cmocka_unit_test(test_upsample_and_concat),
        cmocka_unit_test(test_freeu),
        cmocka_unit_test(test_tiles),
        cmocka_unit_test(test_merging),
        cmocka_unit_test(test_sdpa_mass),
        cmocka_unit_test(test_resize),
        cmocka_unit_test(test_sdpa),
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_mistakes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
