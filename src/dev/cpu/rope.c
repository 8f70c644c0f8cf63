/* Rope tables: cosines and sines of the step's positions, once per distinct set of parameters.
 *
 * Angles are formed and reduced in double precision, so position 100,000 is as exact as position 1.
 * The tables are filled in a phase of their own before the step's first phase. */
#include "base/mem.h"
#include "dev/cpu/cpu.h"
#include <math.h>
#include <string.h>

enum { TOKENS_PER_CHUNK = 8, NS_PER_PAIR = 25 };

static const double two_pi = 6.283185307179586;

static bool same_rope(const cpu_rope_table *t, const dev_rope *p, const float *divisors) {
    const dev_rope *q = &t->params;
    return q->n_rot == p->n_rot && q->freq_base == p->freq_base && q->freq_scale == p->freq_scale &&
           q->ext_factor == p->ext_factor && q->attn_factor == p->attn_factor &&
           q->beta_fast == p->beta_fast && q->beta_slow == p->beta_slow &&
           q->ctx_orig == p->ctx_orig && t->divisors == divisors;
}

/* The dimension whose wavelength makes beta turns in the original context (YaRN, Peng et al.
 * 2023, section 3.2). */
static double yarn_dim(const dev_rope *p, double beta) {
    return p->n_rot * log((double)p->ctx_orig / (beta * two_pi)) /
           (2.0 * log((double)p->freq_base));
}

static void fill_freqs(cpu_rope_table *t) {
    const dev_rope *p = &t->params;
    double scale = p->freq_scale > 0 ? (double)p->freq_scale : 1.0;
    double ext = (double)p->ext_factor, low = 0, high = 0;
    if (ext != 0) {
        low = fmax(0, floor(yarn_dim(p, (double)p->beta_fast)));
        high = fmin(p->n_rot - 1, ceil(yarn_dim(p, (double)p->beta_slow)));
    }
    for (int32_t i = 0; i < p->n_rot / 2; i++) {
        double f = pow((double)p->freq_base, -2.0 * i / p->n_rot);
        if (t->divisors) f /= (double)t->divisors[i];
        double ramp = 0;
        if (ext != 0) ramp = 1.0 - fmin(1, fmax(0, (i - low) / fmax(0.001, high - low)));
        t->freq[i] = f * scale * (1.0 - ramp * ext) + f * ramp * ext;
    }
    t->mscale = p->attn_factor > 0 ? p->attn_factor : 1.0f;
    if (ext != 0) t->mscale *= (float)(1.0 + 0.1 * log(1.0 / scale));
}

static err_code find_table(cpu_program *p, cpu_node *n, err *e) {
    const float *divisors = n->n.in[2] ? n->n.in[2]->data : NULL;
    for (int32_t i = 0; i < p->n_rope; i++)
        if (same_rope(&p->rope[i], &n->n.params.rope, divisors)) {
            n->rope_table = i;
            return ERR_OK;
        }
    if (p->n_rope == CPU_ROPE_TABLES_MAX)
        FAIL(e, UNSUPPORTED, "more than %d kinds of rotary positions", CPU_ROPE_TABLES_MAX);
    cpu_rope_table *t = &p->rope[p->n_rope];
    n->rope_table = p->n_rope++;
    t->params = n->n.params.rope;
    t->divisors = divisors;
    t->freq = NEW_ARRAY(double, (size_t)t->params.n_rot / 2);
    fill_freqs(t);
    return ERR_OK;
}

static uint64_t table_floats(const cpu_program *p, const cpu_rope_table *t) {
    return ((uint64_t)p->base.max_tokens * (uint64_t)t->params.n_rot + 15) / 16 * 16;
}

err_code cpu_rope_prepare(cpu_program *p, err *e) {
    for (int32_t i = 0; i < p->n_nodes; i++)
        if (p->nodes[i].n.op == DEV_OP_ROPE) TRY(find_table(p, &p->nodes[i], e));
    uint64_t n_floats = 0;
    for (int32_t i = 0; i < p->n_rope; i++) n_floats += table_floats(p, &p->rope[i]);
    if (n_floats == 0) return ERR_OK;
    TRY(dev_alloc(&p->d->base, n_floats * sizeof(float), &p->rope_mem, e));
    float *at = p->rope_mem.ptr;
    for (int32_t i = 0; i < p->n_rope; i++) {
        p->rope[i].values = at;
        at += table_floats(p, &p->rope[i]);
    }
    return ERR_OK;
}

int32_t cpu_rope_n_chunks(const cpu_run *r) {
    return (int32_t)(r->p->n_rope * cpu_div_up(r->step->n_tokens, TOKENS_PER_CHUNK));
}

double cpu_rope_ns(const cpu_run *r) {
    double pairs = 0;
    for (int32_t i = 0; i < r->p->n_rope; i++) pairs += r->p->rope[i].params.n_rot / 2;
    return pairs * r->step->n_tokens * NS_PER_PAIR;
}

void cpu_rope_run_chunk(cpu_run *r, int32_t chunk) {
    int32_t n_tokens = r->step->n_tokens;
    int32_t per_table = (int32_t)cpu_div_up(n_tokens, TOKENS_PER_CHUNK);
    const cpu_rope_table *t = &r->p->rope[chunk / per_table];
    const int32_t *pos = r->step->inputs[DEV_INPUT_POS];
    int32_t half = t->params.n_rot / 2, from = chunk % per_table * TOKENS_PER_CHUNK;
    for (int32_t i = from; i < from + TOKENS_PER_CHUNK && i < n_tokens; i++) {
        float *cos_out = t->values + (int64_t)i * t->params.n_rot, *sin_out = cos_out + half;
        for (int32_t k = 0; k < half; k++) {
            double a = pos[i] * t->freq[k];
            cos_out[k] = (float)cos(a) * t->mscale;
            sin_out[k] = (float)sin(a) * t->mscale;
        }
    }
}
