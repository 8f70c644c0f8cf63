/* Times networks of Stable Diffusion 1.5's dimensions with random weights on the CPU device.
 *
 * usage: bench/pictures [unet|vae] [threads] [batch] [repeats] [f32|bf16] [shapes]
 * The graphs are described here, so that nothing but the device and its kernels is measured. Prints
 * one JSON object: seconds (wall and processor time, the best of the repeats), bytes, and for each
 * kind of operation its time, its arithmetic (direct, whatever way it is done) and its share of the
 * measured peak of f32 multiply-adds. bench/pictures.py runs this beside its peers. With `shapes`
 * it prints a table instead: for each kind of phase (operations and shapes) the best of its times,
 * and how busy the threads were. */
#include "base/clock.h"
#include "base/rng.h"
#include "dev/dev.h"
#include "graph/graph.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum { HEADS = 8, CONTEXT = 77, CONTEXT_DIM = 768, TIME_DIM = 1280 };

typedef struct net {
    graph *g;
    uint16_t *weights; /* f16, or bfloat16 in panels; every layer has its own */
    size_t used, room;
    float *ones;
    graph_t emb, context;
} net;

static const dev_conv SAME = {.left = 1, .right = 1, .top = 1, .bottom = 1};

static const uint16_t *some(net *n, int64_t count) {
    n->used += (size_t)count;
    if (n->used > n->room) {
        fprintf(stderr, "pictures: too many weights\n");
        exit(1);
    }
    return n->weights + n->used - count;
}

static graph_t vector(net *n, int64_t c) {
    return graph_weight(n->g, DTYPE_F32, 1, (int64_t[4]){c, 1, 1, 1}, n->ones);
}

static graph_t weight(net *n, int n_dims, const int64_t ne[4], int64_t count) {
    int64_t out = n_dims == 2 ? ne[1] : ne[3];
    if (!graph_is_bf16(n->g) || graph_keeps_f32((int64_t[4]){ne[0], 1, 1, out}))
        return graph_weight(n->g, DTYPE_F16, n_dims, ne, some(n, count));
    return graph_weight_panels(n->g, n_dims, ne, some(n, count / out * ((out + 31) / 32 * 32)));
}

static graph_t linear(net *n, graph_t x, int64_t out, graph_t residual) {
    int64_t in = x->ne[0];
    graph_t w = weight(n, 2, (int64_t[4]){in, out, 1, 1}, in * out);
    return graph_linear(n->g, x, w, vector(n, out), residual);
}

static graph_t conv(net *n, graph_t x, int64_t out, int64_t k, graph_conv c) {
    c.w = weight(n, 4, (int64_t[4]){x->ne[0], k, k, out}, x->ne[0] * k * k * out);
    c.bias = vector(n, out);
    return graph_conv2d(n->g, x, &c);
}

static graph_t norm(net *n, graph_t x, float eps, bool silu) {
    int64_t c = x->ne[0];
    return graph_group_norm(n->g, x, vector(n, c), vector(n, c),
                            &(dev_conv){.n_groups = 32, .eps = eps, .silu = silu});
}

static graph_t res_block(net *n, graph_t x, int64_t out) {
    graph_t emb = n->emb ? linear(n, n->emb, out, NULL) : NULL;
    graph_t h = conv(n, norm(n, x, 1e-5f, true), out, 3, (graph_conv){.emb = emb, .p = SAME});
    graph_t skip = x->ne[0] == out ? x : conv(n, x, out, 1, (graph_conv){0});
    return conv(n, norm(n, h, 1e-5f, true), out, 3, (graph_conv){.residual = skip, .p = SAME});
}

static graph_t attend(net *n, graph_t x, graph_t context, int64_t heads, graph_t residual) {
    int64_t C = x->ne[0], d = C / heads, B = x->ne[2], S = context->ne[1];
    graph_t q = graph_reshape(n->g, linear(n, x, C, NULL), 4, (int64_t[4]){d, heads, x->ne[1], B});
    graph_t k = graph_reshape(n->g, linear(n, context, C, NULL), 4, (int64_t[4]){d, heads, S, B});
    graph_t v = graph_reshape(n->g, linear(n, context, C, NULL), 4, (int64_t[4]){d, heads, S, B});
    graph_t a = graph_sdpa(n->g, q, k, v, &(graph_sdpa_params){.scale = 0.1f});
    return linear(n, a, C, residual);
}

static graph_t layer_norm(net *n, graph_t x) {
    return graph_layer_norm(n->g, x, vector(n, x->ne[0]), vector(n, x->ne[0]), 1e-5f);
}

static graph_t transformer(net *n, graph_t x) {
    int64_t C = x->ne[0], X = x->ne[1], Y = x->ne[2], B = x->ne[3];
    graph_t rest = graph_reshape(n->g, x, 3, (int64_t[4]){C, X * Y, B, 1});
    graph_t h = graph_reshape(n->g, norm(n, x, 1e-6f, false), 3, (int64_t[4]){C, X * Y, B, 1});
    h = linear(n, h, C, NULL);
    graph_t y = layer_norm(n, h);
    h = attend(n, y, y, HEADS, h);
    h = attend(n, layer_norm(n, h), n->context, HEADS, h);
    y = linear(n, layer_norm(n, h), 8 * C, NULL);
    graph_t value = graph_slice(n->g, y, 0, 4 * C), gate = graph_slice(n->g, y, 4 * C, 4 * C);
    h = linear(n, graph_glu(n->g, gate, value, DEV_ACT_GELU_ERF), C, h);
    return graph_reshape(n->g, linear(n, h, C, rest), 4, (int64_t[4]){C, X, Y, B});
}

/* The UNet for latents of X x X, B pictures. */
static void unet(net *n, int64_t X, int64_t B) {
    static const int64_t C[4] = {320, 640, 1280, 1280};
    graph_t t = graph_data(n->g, DEV_DATA_TIME, 2, (int64_t[4]){320, B, 1, 1});
    n->context = graph_data(n->g, DEV_DATA_CONTEXT, 3, (int64_t[4]){CONTEXT_DIM, CONTEXT, B, 1});
    n->emb = graph_act(n->g, linear(n, t, TIME_DIM, NULL), DEV_ACT_SILU);
    n->emb = graph_act(n->g, linear(n, n->emb, TIME_DIM, NULL), DEV_ACT_SILU);
    graph_t x = graph_data(n->g, DEV_DATA_X, 4, (int64_t[4]){4, X, X, B});
    graph_t skips[12];
    int n_skips = 0;
    skips[n_skips++] = x = conv(n, x, 320, 3, (graph_conv){.p = SAME});
    for (int level = 0; level < 4; level++) {
        for (int i = 0; i < 2; i++) {
            x = res_block(n, x, C[level]);
            if (level < 3) x = transformer(n, x);
            skips[n_skips++] = x;
        }
        dev_conv down = SAME;
        down.stride_x = down.stride_y = 2;
        if (level < 3) skips[n_skips++] = x = conv(n, x, C[level], 3, (graph_conv){.p = down});
    }
    x = res_block(n, transformer(n, res_block(n, x, 1280)), 1280);
    for (int level = 3; level >= 0; level--) {
        for (int i = 0; i < 3; i++) {
            x = res_block(n, graph_concat(n->g, x, skips[--n_skips]), C[level]);
            if (level < 3) x = transformer(n, x);
        }
        if (level > 0)
            x = conv(n, graph_upsample2x(n->g, x, 2 * x->ne[1], 2 * x->ne[2]), C[level], 3,
                     (graph_conv){.p = SAME});
    }
    x = conv(n, norm(n, x, 1e-5f, true), 4, 3, (graph_conv){.p = SAME});
    graph_output(n->g, x, DEV_OUTPUT_RESULT);
}

/* The decoder of latents of X x X. */
static void vae(net *n, int64_t X, int64_t B) {
    static const int64_t C[4] = {512, 512, 256, 128};
    graph_t x = graph_data(n->g, DEV_DATA_X, 4, (int64_t[4]){4, X, X, B});
    x = conv(n, conv(n, x, 4, 1, (graph_conv){0}), 512, 3, (graph_conv){.p = SAME});
    x = res_block(n, x, 512);
    graph_t h = graph_reshape(n->g, norm(n, x, 1e-6f, false), 3, (int64_t[4]){512, X * X, B, 1});
    h = attend(n, h, h, 1, graph_reshape(n->g, x, 3, (int64_t[4]){512, X * X, B, 1}));
    x = res_block(n, graph_reshape(n->g, h, 4, (int64_t[4]){512, X, X, B}), 512);
    for (int level = 0; level < 4; level++) {
        for (int i = 0; i < 3; i++) x = res_block(n, x, C[level]);
        if (level < 3)
            x = conv(n, graph_upsample2x(n->g, x, 2 * x->ne[1], 2 * x->ne[2]), C[level], 3,
                     (graph_conv){.p = SAME});
    }
    x = conv(n, norm(n, x, 1e-6f, true), 3, 3, (graph_conv){.p = SAME});
    graph_output(n->g, x, DEV_OUTPUT_RESULT);
}

/* Operations (two per multiply-add) of a node done directly. */
static double node_flop(const dev_node *n) {
    const dev_tensor *o = n->out;
    double out = (double)(o->ne[0] * o->ne[1] * o->ne[2] * o->ne[3]);
    if (n->n_parts > 1) out /= n->n_parts;
    if (n->op == DEV_OP_CONV2D)
        return 2 * out * (double)(n->in[1]->ne[0] * n->in[1]->ne[1] * n->in[1]->ne[2]);
    if (n->op == DEV_OP_SDPA) return 4 * out * (double)n->in[1]->ne[2];
    return 0;
}

/* One core's multiply-adds in f32, GFLOP/s: ten chains in the widest registers there are. */
#if defined(__x86_64__)
__attribute__((target("avx512f"))) static float peak_512(int64_t n) {
    __m512 a[12], x = _mm512_set1_ps(1.0001f), y = _mm512_set1_ps(1e-9f), sum;
    for (int i = 0; i < 12; i++) a[i] = _mm512_set1_ps((float)i);
    for (; n > 0; n--)
#pragma GCC unroll 12
        for (int i = 0; i < 12; i++) a[i] = _mm512_fmadd_ps(a[i], x, y);
    sum = a[0];
    for (int i = 1; i < 12; i++) sum = _mm512_add_ps(sum, a[i]);
    return _mm512_reduce_add_ps(sum);
}
__attribute__((target("avx2,fma"))) static float peak_256(int64_t n) {
    __m256 a[12], x = _mm256_set1_ps(1.0001f), y = _mm256_set1_ps(1e-9f), sum;
    for (int i = 0; i < 12; i++) a[i] = _mm256_set1_ps((float)i);
    for (; n > 0; n--)
#pragma GCC unroll 12
        for (int i = 0; i < 12; i++) a[i] = _mm256_fmadd_ps(a[i], x, y);
    sum = a[0];
    for (int i = 1; i < 12; i++) sum = _mm256_add_ps(sum, a[i]);
    return _mm_cvtss_f32(_mm256_castps256_ps128(sum));
}
#endif

static int64_t cpu_ns(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static double peak_gflops(void) {
    double best = 0;
#if defined(__x86_64__)
    bool wide = __builtin_cpu_supports("avx512f"), avx = __builtin_cpu_supports("fma");
    for (int i = 0; i < 5 && avx; i++) {
        enum { N = 2000000 };
        int64_t from = cpu_ns(CLOCK_THREAD_CPUTIME_ID);
        volatile float keep = wide ? peak_512(N) : peak_256(N);
        (void)keep;
        double rate =
            (double)N * 12 * 2 * (wide ? 16 : 8) / (double)(cpu_ns(CLOCK_THREAD_CPUTIME_ID) - from);
        if (rate > best) best = rate;
    }
#endif
    return best;
}

static void report(const dev_profile *p, const dev_program_spec *spec, double peak) {
    double flop[DEV_OP_COUNT] = {0};
    for (int32_t i = 0; i < spec->n_nodes; i++)
        flop[spec->nodes[i].op] += node_flop(&spec->nodes[i]);
    printf(", \"operations\": {");
    const char *comma = "";
    for (int op = 0; op < DEV_OP_COUNT; op++) {
        if (!p->op_count[op]) continue;
        printf("%s\"%s\": {\"ms\": %.1f, \"gflop\": %.2f, \"of_peak\": %.3f}", comma,
               dev_op_name((dev_op)op), (double)p->op_ns[op] / 1e6, flop[op] / 1e9,
               peak > 0 ? flop[op] / (double)p->op_ns[op] / peak : 0);
        comma = ", ";
    }
    printf("}");
}

/* ---- shapes ---- */

enum { LABEL_MAX = 96 };

typedef struct shape_row {
    char label[LABEL_MAX];
    int32_t count;
    double wall, cpu, flop; /* seconds */
} shape_row;

static void phase_label(const dev_program_spec *spec, int32_t phase, char to[LABEL_MAX]) {
    size_t n = 0;
    to[0] = 0;
    for (int32_t i = 0; i < spec->n_nodes; i++) {
        const dev_node *node = &spec->nodes[i];
        if (node->phase != phase) continue;
        const int64_t *o = node->out->ne, *k = node->in[1] ? node->in[1]->ne : o;
        n += (size_t)snprintf(to + n, LABEL_MAX - n, "%s%s", n ? " + " : "", dev_op_name(node->op));
        if (n < LABEL_MAX && node->op == DEV_OP_CONV2D)
            n += (size_t)snprintf(to + n, LABEL_MAX - n, " %dx%d %d>%d", (int)k[1], (int)k[2],
                                  (int)k[0], (int)o[0]);
        if (n < LABEL_MAX && node->op == DEV_OP_SDPA)
            n += (size_t)snprintf(to + n, LABEL_MAX - n, " keys %d of %d", (int)k[2], (int)k[0]);
        if (n < LABEL_MAX)
            n += (size_t)snprintf(to + n, LABEL_MAX - n, " at %dx%d", (int)o[1], (int)o[2]);
        if (n >= LABEL_MAX) return;
    }
}

static int slowest_first(const void *a, const void *b) {
    double x = ((const shape_row *)a)->cpu, y = ((const shape_row *)b)->cpu;
    return x < y ? 1 : x > y ? -1 : 0;
}

static err_code shapes(dev *d, dev_program *prog, const dev_program_spec *spec,
                       const dev_step *step, int repeats, double peak, err *e) {
    shape_row *rows = calloc((size_t)spec->n_phases, sizeof *rows);
    dev_info info;
    dev_get_info(d, &info);
    int32_t n = 0;
    for (int32_t phase = 0; phase < spec->n_phases; phase++) {
        char label[LABEL_MAX];
        double wall = 1e30, cpu = 1e30, flop = 0;
        for (int i = 0; i < repeats; i++) {
            dev_profile p;
            dev_profile_enable(d, true);
            int64_t c = cpu_ns(CLOCK_THREAD_CPUTIME_ID), from = clock_mono_ns();
            TRY(dev_run(prog, step, phase, phase + 1, NULL, e));
            double t = (double)(clock_mono_ns() - from) / 1e9, used = 0;
            c = cpu_ns(CLOCK_THREAD_CPUTIME_ID) - c;
            dev_profile_get(d, &p);
            for (int op = 0; op < DEV_OP_COUNT; op++) used += (double)p.op_ns[op] / 1e9;
            if (info.n_threads == 1) used = (double)c / 1e9;
            if (used < cpu) cpu = used;
            if (t < wall) wall = t;
        }
        for (int32_t i = 0; i < spec->n_nodes; i++)
            if (spec->nodes[i].phase == phase) flop += node_flop(&spec->nodes[i]);
        phase_label(spec, phase, label);
        int32_t at = 0;
        while (at < n && strcmp(rows[at].label, label) != 0) at++;
        if (at == n) memcpy(rows[n++].label, label, sizeof label);
        rows[at].count++;
        rows[at].wall += wall;
        rows[at].cpu += cpu;
        rows[at].flop += flop;
    }
    qsort(rows, (size_t)n, sizeof *rows, slowest_first);
    double wall = 0, cpu = 0;
    int threads = info.n_threads;
    printf("  ms cpu  ms wall  busy  of peak  n  phase\n");
    for (int32_t i = 0; i < n; i++) {
        const shape_row *r = &rows[i];
        printf("%8.1f %8.1f %5.2f %8.2f %2d  %s\n", r->cpu * 1e3, r->wall * 1e3,
               r->cpu / r->wall / threads, r->flop / 1e9 / r->cpu / peak, (int)r->count, r->label);
        wall += r->wall, cpu += r->cpu;
    }
    printf("%8.1f %8.1f %5.2f           all\n", cpu * 1e3, wall * 1e3, cpu / wall / threads);
    free(rows);
    return ERR_OK;
}

static float *floats(int64_t n, float scale) {
    rng r;
    rng_init(&r, 7);
    float *x = malloc((size_t)n * sizeof *x);
    for (int64_t i = 0; i < n && x; i++) x[i] = rng_normal(&r) * scale;
    return x;
}

int main(int argc, char **argv) {
    bool is_vae = argc > 1 && !strcmp(argv[1], "vae");
    int32_t threads = argc > 2 ? (int32_t)strtol(argv[2], NULL, 10) : 0;
    int64_t B = argc > 3 ? strtol(argv[3], NULL, 10) : 1, X = 64;
    int repeats = argc > 4 ? (int)strtol(argv[4], NULL, 10) : 3;
    err e = {0};
    dev *d = NULL;
    bool bf16 = argc > 5 && !strcmp(argv[5], "bf16");
    if (dev_cpu_create(&(dev_cpu_params){.n_threads = threads}, &d, &e)) {
        fprintf(stderr, "pictures: %s\n", e.msg);
        return 1;
    }
    dev_info info;
    dev_get_info(d, &info);
    net n = {.g = graph_create(&(graph_params){.max_tokens = 1,
                                               .max_out_rows = 1,
                                               .max_seqs = 1,
                                               .bf16 = bf16,
                                               .reads_bf16 = info.reads_bf16}),
             .room = is_vae ? 60000000 : 870000000};
    n.weights = malloc(n.room * sizeof *n.weights);
    n.ones = floats(16384, 1);
    for (size_t i = 0; i < n.room; i++) /* +-2^-6 to 2^-4 or so */
        n.weights[i] =
            (uint16_t)((bf16 ? 0x3c80 : 0x2400) + (i * 2654435761u >> 16) % (bf16 ? 0x100 : 0x800) +
                       (i * 40503u & 0x8000));
    if (is_vae)
        vae(&n, X, B);
    else
        unet(&n, X, B);
    dev_program_spec spec;
    dev_program *prog = NULL;
    if (graph_plan(n.g, &spec, &e) || dev_compile(d, &spec, &prog, &e)) {
        fprintf(stderr, "pictures: %s\n", e.msg);
        return 1;
    }
    dev_step step = {.outputs = {NULL, NULL, floats(64 * X * X * 3 * B, 0), NULL}};
    for (int i = 0; i < DEV_DATA_COUNT; i++)
        step.data[i] = floats(B * (X * X * 4 + CONTEXT * CONTEXT_DIM), 1);
    double wall = 1e30, cpu = 1e30, peak = peak_gflops(), flop = 0;
    if (argc > 6 && !strcmp(argv[6], "shapes")) {
        if (shapes(d, prog, &spec, &step, repeats, peak, &e)) return 1;
        return 0;
    }
    dev_profile best = {0};
    for (int i = 0; i < repeats; i++) {
        dev_profile_enable(d, true);
        int64_t c = cpu_ns(CLOCK_PROCESS_CPUTIME_ID), w = clock_mono_ns();
        if (dev_run(prog, &step, 0, spec.n_phases, NULL, &e)) return 1;
        double t = (double)(clock_mono_ns() - w) / 1e9;
        double used = (double)(cpu_ns(CLOCK_PROCESS_CPUTIME_ID) - c) / 1e9;
        if (used < cpu) {
            cpu = used;
            dev_profile_get(d, &best);
        }
        if (t < wall) wall = t;
    }
    for (int32_t i = 0; i < spec.n_nodes; i++) flop += node_flop(&spec.nodes[i]);
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    printf("{\"network\": \"%s\", \"precision\": \"%s\", \"device\": \"%s\", \"batch\": %d, "
           "\"seconds\": %.3f, "
           "\"cpu_seconds\": %.3f, \"gflop\": %.0f, \"peak_gflops_per_core\": %.0f, "
           "\"weight_mb\": %.0f, \"arena_mb\": %.0f, \"device_mb\": %.0f, \"max_rss_mb\": %.0f",
           is_vae ? "vae" : "unet", bf16 ? "bf16" : "f32", info.description, (int)B, wall, cpu,
           flop / 1e9, peak, (double)n.used * 2e-6, (double)spec.arena_bytes / 1e6,
           (double)info.given_bytes / 1e6, (double)usage.ru_maxrss / 1e3);
    report(&best, &spec, peak);
    printf("}\n");
    dev_program_destroy(&prog);
    graph_destroy(&n.g);
    dev_destroy(&d);
    return 0;
}
