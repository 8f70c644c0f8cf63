/* Programs of a network, by shape, and running them in slices. */
#include "diffusion/net.h"
#include "base/clock.h"
#include "base/mem.h"
#include <stdatomic.h>
#include <string.h>

enum { PROGRAMS_MAX = 4, SLICE_NS = 10000000 };

typedef struct program {
    diff_shape shape;
    dev_program *p;
    int32_t n_phases;
    uint64_t arena_bytes;
    double flops;
    uint64_t used; /* when, by count */
} program;

struct diff_net {
    atomic_int refs;
    dev *d;
    diff_weights *w;
    diff_build build;
    program programs[PROGRAMS_MAX];
    uint64_t n_used;
};

diff_net *diff_net_create(dev *d, diff_weights *w, diff_build build) {
    diff_net *n = NEW(diff_net);
    atomic_init(&n->refs, 1);
    n->d = d;
    n->w = w;
    n->build = build;
    return n;
}

diff_net *diff_net_ref(diff_net *n) {
    atomic_fetch_add(&n->refs, 1);
    return n;
}

void diff_net_drop_programs(diff_net *n) {
    for (size_t i = 0; i < PROGRAMS_MAX; i++) {
        dev_program_destroy(&n->programs[i].p);
        n->programs[i] = (program){.p = NULL};
    }
}

void diff_net_unref(diff_net **np) {
    diff_net *n = *np;
    *np = NULL;
    if (!n || atomic_fetch_sub(&n->refs, 1) > 1) return;
    diff_net_drop_programs(n);
    diff_weights_unref(&n->w);
    mem_free(n);
}

diff_weights *diff_net_weights(const diff_net *n) {
    return n->w;
}

dev *diff_net_device(const diff_net *n) {
    return n->d;
}

static double elems(const dev_tensor *t) {
    return (double)t->ne[0] * (double)t->ne[1] * (double)t->ne[2] * (double)t->ne[3];
}

static double flops_of(const dev_program_spec *spec) {
    double sum = 0;
    for (int32_t i = 0; i < spec->n_nodes; i++) {
        const dev_node *n = &spec->nodes[i];
        const dev_tensor *w = n->in[0], *k = n->in[1];
        if (n->part > 0) continue; /* its first part counted for all */
        if (n->op == DEV_OP_MATMUL)
            sum += 2 * (double)w->ne[0] * elems(n->out);
        else if (n->op == DEV_OP_CONV2D)
            sum += 2 * elems(n->out) * (double)(k->ne[0] * k->ne[1] * k->ne[2]);
        else if (n->op == DEV_OP_SDPA)
            sum += 4 * elems(n->out) * (double)k->ne[2];
    }
    return sum;
}

/* Builds and plans; `compile` NULL only wants the cost. */
static err_code plan(diff_net *n, const diff_shape *s, program *compile, diff_cost *ret, err *e) {
    dev_info info;
    dev_get_info(n->d, &info);
    graph_params params = {.max_tokens = 1,
                           .max_out_rows = 1,
                           .max_seqs = 1,
                           .bf16 = info.bf16,
                           .reads_bf16 = info.reads_bf16};
    graph *g = graph_create(&params);
    dev_program_spec spec;
    n->build(n->w, g, s);
    err_code code = diff_weights_check(n->w, e);
    if (code == ERR_OK) code = graph_plan(g, &spec, e);
    if (code == ERR_OK) *ret = (diff_cost){.plan = spec.arena_bytes, .flops = flops_of(&spec)};
    if (code == ERR_OK && compile) {
        code = dev_compile(n->d, &spec, &compile->p, e);
        compile->n_phases = spec.n_phases;
        compile->arena_bytes = spec.arena_bytes;
        compile->flops = ret->flops;
    }
    graph_destroy(&g);
    return code;
}

static program *find(diff_net *n, const diff_shape *s) {
    for (size_t i = 0; i < PROGRAMS_MAX; i++)
        if (n->programs[i].p && memcmp(&n->programs[i].shape, s, sizeof *s) == 0)
            return &n->programs[i];
    return NULL;
}

/* The program of a shape, in place of the one not used for longest. */
static err_code get(diff_net *n, const diff_shape *s, program **ret, err *e) {
    program *p = find(n, s);
    if (!p) {
        diff_cost cost;
        p = &n->programs[0];
        for (size_t i = 1; i < PROGRAMS_MAX; i++)
            if (n->programs[i].used < p->used) p = &n->programs[i];
        dev_program_destroy(&p->p);
        *p = (program){.shape = *s};
        TRY(plan(n, s, p, &cost, e));
    }
    p->used = ++n->n_used;
    *ret = p;
    return ERR_OK;
}

err_code diff_net_cost(diff_net *n, const diff_shape *s, diff_cost *ret, err *e) {
    program *p = find(n, s);
    if (p)
        *ret = (diff_cost){.plan = p->arena_bytes, .flops = p->flops};
    else
        TRY(plan(n, s, NULL, ret, e));
    ret->weights = diff_weights_bytes(n->w);
    return ERR_OK;
}

static err_code pause_at(const diff_gate *gate, err *e) {
    return gate && gate->pause ? gate->pause(gate->ctx, e) : ERR_OK;
}

err_code diff_net_run(diff_net *n, const diff_shape *s, const diff_io *io, const diff_gate *gate,
                      err *e) {
    program *p;
    TRY(get(n, s, &p, e));
    dev_step step = {.outputs = {NULL, NULL, io->result, io->second}};
    for (int i = 0; i < DEV_DATA_COUNT; i++) step.data[i] = io->data[i];
    /* Phases of a slice: few enough that a slice stays short, as measured on the way. */
    int32_t at = 0, take = 1;
    while (at < p->n_phases) {
        TRY(pause_at(gate, e));
        int32_t to = at + take < p->n_phases ? at + take : p->n_phases;
        int64_t from_ns = clock_mono_ns();
        TRY(dev_run(p->p, &step, at, to, gate ? gate->cancel : NULL, e));
        int64_t spent = clock_mono_ns() - from_ns;
        at = to;
        if (spent > 2 * SLICE_NS && take > 1) take /= 2;
        if (spent < SLICE_NS / 2 && take < 256) take *= 2;
    }
    return diff_weights_check(n->w, e);
}

void diff_to_nhwc(const float *src, float *dst, int64_t n, int64_t c, int64_t pixels) {
    for (int64_t b = 0; b < n; b++, src += c * pixels, dst += c * pixels)
        for (int64_t p = 0; p < pixels; p++)
            for (int64_t i = 0; i < c; i++) dst[p * c + i] = src[i * pixels + p];
}

void diff_to_nchw(const float *src, float *dst, int64_t n, int64_t c, int64_t pixels) {
    for (int64_t b = 0; b < n; b++, src += c * pixels, dst += c * pixels)
        for (int64_t i = 0; i < c; i++)
            for (int64_t p = 0; p < pixels; p++) dst[i * pixels + p] = src[p * c + i];
}
