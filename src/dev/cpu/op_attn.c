/* Attention over paged KV, its full variant for encoders, and storing keys and values.
 *
 * A chunk is (sequence, kv head, part of its query heads, tile of query tokens). Its rows (token x
 * head) walk the pages from the first visible one to the last, always whole pages in ascending
 * order with the arithmetic of one row independent of the other rows. So the result of a token is
 * the same bits alone, in a batch, in any chunking of the prompt and wherever its pages lie. */
#include "base/mem.h"
#include "dev/cpu/cpu.h"
#include <assert.h>
#include <math.h>
#include <string.h>

enum { KEYS = KERN_ATTN_KEYS, TILE_ROWS = 64, STORE_TOKENS = 32 };

/* ---- storing ---- */

static uint16_t *page_layer(const cpu_run *r, int32_t page, int32_t layer) {
    const dev_kv_shape *s = r->step->kv_shape;
    uint64_t layer_elems =
        (uint64_t)s->n_head_kv * KEYS * (uint64_t)(s->head_dim_k + s->head_dim_v);
    return (uint16_t *)((char *)r->step->kv_pool + (uint64_t)page * dev_kv_page_bytes(s)) +
           (uint64_t)layer * layer_elems;
}

static uint16_t *page_k(const cpu_run *r, int32_t page, int32_t layer, int64_t head) {
    return page_layer(r, page, layer) + head * KEYS * r->step->kv_shape->head_dim_k;
}

static uint16_t *page_v(const cpu_run *r, int32_t page, int32_t layer, int64_t head) {
    const dev_kv_shape *s = r->step->kv_shape;
    return page_layer(r, page, layer) + (int64_t)s->n_head_kv * KEYS * s->head_dim_k +
           head * KEYS * s->head_dim_v;
}

int32_t cpu_kv_store_n_chunks(const cpu_run *r, const cpu_node *n) {
    return (int32_t)(cpu_div_up(r->step->n_tokens, STORE_TOKENS) * n->n.in[0]->ne[1]);
}

double cpu_kv_store_ns(const cpu_run *r, const cpu_node *n) {
    const dev_tensor *k = n->n.in[0], *v = n->n.in[1];
    return 0.5 * (double)((k->ne[0] + v->ne[0]) * k->ne[1] * r->step->n_tokens);
}

uint64_t cpu_kv_store_scratch(const cpu_program *p, const cpu_node *n) {
    (void)p;
    return (uint64_t)n->n.in[0]->ne[0] * sizeof(uint16_t);
}

void cpu_kv_store_run(cpu_run *r, const cpu_node *n, int32_t chunk, int32_t thread) {
    const dev_tensor *k = n->n.in[0], *v = n->n.in[1];
    const dev_step *step = r->step;
    const kern_vec *vec = r->p->d->vec;
    int64_t heads = k->ne[1], head = chunk % heads;
    int32_t layer = n->n.params.attn.layer;
    int32_t tok = (int32_t)(chunk / heads * STORE_TOKENS);
    int32_t end = (int32_t)cpu_min(tok + STORE_TOKENS, step->n_tokens);
    char *k_base = cpu_base(r, k), *v_base = cpu_base(r, v);
    uint16_t *half = cpu_scratch(r, thread);
    const dev_seq *q = step->seqs;
    for (; tok < end; tok++) {
        while (tok >= q->first_tok + q->n_tok) q++;
        int32_t at = q->kv_len - q->n_tok + (tok - q->first_tok);
        int32_t page = q->pages[at / KEYS], slot = at % KEYS;
        int64_t row = (int64_t)tok * heads + head;
        vec->f32_to_f16(half, (const float *)cpu_row(k, k_base, row), k->ne[0]);
        uint16_t *kt = page_k(r, page, layer, head) + slot;
        for (int64_t d = 0; d < k->ne[0]; d++) kt[d * KEYS] = half[d];
        vec->f32_to_f16(page_v(r, page, layer, head) + slot * v->ne[0],
                        (const float *)cpu_row(v, v_base, row), v->ne[0]);
    }
}

/* ---- tiles ---- */

/* Rows of one chunk and what they may see. Row i is query token tok + i / heads, head
 * head + i % heads. */
typedef struct tile {
    const dev_node *n;
    const dev_seq *seq;
    int32_t tok, n_tok;  /* query tokens, as indices of the step */
    int32_t head, heads; /* query heads */
    int32_t head_kv;
    int32_t n_rows; /* n_tok * heads */
    int32_t dim_k, dim_v;
    float *q, *acc, *s, *corr;
    kern_attn_state *state;
    uint16_t *k_pack, *v_pack; /* ATTENTION_FULL: the block being used */
} tile;

/* How a step's chunks of one node are counted. */
typedef struct cut {
    int32_t heads_kv, group, parts; /* query heads per kv head; parts they are split into */
    int32_t tile_tok;
} cut;

static cut cut_make(const cpu_run *r, const cpu_node *n) {
    const dev_tensor *q = n->n.in[0];
    cut c = {.heads_kv = n->n.params.attn.n_head_kv, .parts = 1};
    c.group = (int32_t)(q->ne[1] / c.heads_kv);
    c.tile_tok = (int32_t)cpu_max(1, TILE_ROWS / c.group);
    /* Few sequences of one token each: let threads share a kv head's query heads. */
    int64_t n_chunks =
        (int64_t)cpu_max(r->step->n_seqs, r->step->n_tokens / c.tile_tok) * c.heads_kv;
    int64_t want = 2 * r->p->d->n_threads;
    if (n_chunks < want)
        c.parts = (int32_t)cpu_min(c.group, cpu_div_up(want, cpu_max(1, n_chunks)));
    return c;
}

static int32_t cut_n_chunks(const cpu_run *r, const cut *c) {
    int64_t tiles = 0;
    for (int32_t i = 0; i < r->step->n_seqs; i++)
        tiles += cpu_div_up(r->step->seqs[i].n_tok, c->tile_tok);
    return (int32_t)(tiles * c->heads_kv * c->parts);
}

/* Scratch of a tile of `rows` rows: q, acc, s, corr, state and packed blocks. */
static uint64_t tile_bytes(int64_t rows, int64_t dim_k, int64_t dim_v) {
    uint64_t floats = (uint64_t)rows * (uint64_t)(dim_k + dim_v + KEYS + 1);
    return floats * sizeof(float) + (uint64_t)rows * sizeof(kern_attn_state) +
           (uint64_t)(KEYS * (dim_k + dim_v)) * sizeof(uint16_t) + 6 * 64;
}

static void *carve(char **at, uint64_t n_bytes) {
    void *p = *at;
    *at += (n_bytes + 63) / 64 * 64;
    return p;
}

static void tile_open(tile *t, const cpu_run *r, const cut *c, int32_t chunk, char *scratch) {
    int32_t part = chunk % c->parts, rest = chunk / c->parts;
    t->head_kv = rest % c->heads_kv;
    rest /= c->heads_kv;
    const dev_seq *seq = r->step->seqs;
    int32_t tiles;
    while (rest >= (tiles = (int32_t)cpu_div_up(seq->n_tok, c->tile_tok))) {
        rest -= tiles;
        seq++;
    }
    rest = tiles - 1 - rest; /* the longest first */
    t->seq = seq;
    t->tok = seq->first_tok + rest * c->tile_tok;
    t->n_tok = (int32_t)cpu_min(c->tile_tok, seq->first_tok + seq->n_tok - t->tok);
    int32_t h0 = part * c->group / c->parts, h1 = (part + 1) * c->group / c->parts;
    t->head = t->head_kv * c->group + h0;
    t->heads = h1 - h0;
    t->n_rows = t->n_tok * t->heads;
    uint64_t rows = (uint64_t)t->n_rows;
    t->q = carve(&scratch, rows * (uint64_t)t->dim_k * sizeof(float));
    t->acc = carve(&scratch, rows * (uint64_t)t->dim_v * sizeof(float));
    t->s = carve(&scratch, rows * KEYS * sizeof(float));
    t->corr = carve(&scratch, rows * sizeof(float));
    t->state = carve(&scratch, rows * sizeof *t->state);
    t->k_pack = carve(&scratch, (uint64_t)(KEYS * t->dim_k) * sizeof(uint16_t));
    t->v_pack = carve(&scratch, (uint64_t)(KEYS * t->dim_v) * sizeof(uint16_t));
}

static void tile_load_q(tile *t, const cpu_run *r) {
    const dev_tensor *q = t->n->in[0];
    char *base = cpu_base(r, q);
    for (int32_t i = 0; i < t->n_rows; i++) {
        int64_t row = (int64_t)(t->tok + i / t->heads) * q->ne[1] + t->head + i % t->heads;
        r->p->d->vec->scale(t->q + (int64_t)i * t->dim_k, (const float *)cpu_row(q, base, row),
                            t->dim_k, t->n->params.attn.scale, 0);
        t->state[i] = (kern_attn_state){.max = -INFINITY};
    }
    memset(t->acc, 0, (size_t)t->n_rows * (size_t)t->dim_v * sizeof *t->acc);
}

/* One block of keys; key j of the block has position pos + j. [*lo, *hi) in positions is what row
 * i sees, from `see`. */
typedef void see_fn(const tile *t, int32_t row_tok, int32_t *lo, int32_t *hi);

static void tile_block(tile *t, const cpu_run *r, int32_t pos, const uint16_t *k, const uint16_t *v,
                       see_fn *see) {
    const kern_vec *vec = r->p->d->vec;
    vec->attn_qk(t->s, t->q, k, t->n_rows, t->dim_k);
    kern_attn_mask m = {.softcap = t->n->params.attn.softcap};
    int32_t from = KEYS, to = 0;
    for (int32_t i = 0; i < t->n_rows; i++) {
        int32_t lo, hi;
        see(t, t->tok - t->seq->first_tok + i / t->heads, &lo, &hi);
        m.from = (int32_t)cpu_min(KEYS, cpu_max(0, lo - pos));
        m.to = (int32_t)cpu_max(0, cpu_min(KEYS, hi - pos));
        t->corr[i] = vec->attn_soft(t->s + i * KEYS, &t->state[i], &m);
        if (m.from < m.to) {
            from = (int32_t)cpu_min(from, m.from);
            to = (int32_t)cpu_max(to, m.to);
        }
    }
    if (from < to) vec->attn_pv(t->acc, t->s, t->corr, v, t->n_rows, t->dim_v, from, to);
}

static void tile_finish(tile *t, const cpu_run *r) {
    const dev_tensor *out = t->n->out;
    const dev_tensor *sinks = t->n->op == DEV_OP_ATTENTION ? t->n->in[1] : NULL;
    char *base = cpu_base(r, out);
    for (int32_t i = 0; i < t->n_rows; i++) {
        int32_t head = t->head + i % t->heads;
        float factor = 1.0f, sum = t->state[i].sum;
        if (sinks) { /* a score that takes part in the softmax and has no value */
            float sink = ((const float *)sinks->data)[head];
            float max = fmaxf(sink, t->state[i].max);
            factor = expf(t->state[i].max - max);
            sum = sum * factor + expf(sink - max);
        }
        float *row = (float *)cpu_row(out, base, t->tok + i / t->heads) + head * t->dim_v;
        r->p->d->vec->scale(row, t->acc + (int64_t)i * t->dim_v, t->dim_v,
                            sum > 0 ? factor / sum : 0.0f, 0);
    }
}

/* ---- over pages ---- */

static void see_causal(const tile *t, int32_t row_tok, int32_t *lo, int32_t *hi) {
    int32_t pos = t->seq->kv_len - t->seq->n_tok + row_tok;
    int32_t window = t->n->params.attn.window;
    *lo = window > 0 && pos >= window ? pos - window + 1 : 0;
    *hi = pos + 1;
}

static double attention_ns(double dims, double pairs) {
    return dims * pairs / 24.0 + 500.0;
}

int32_t cpu_attention_n_chunks(const cpu_run *r, const cpu_node *n) {
    cut c = cut_make(r, n);
    return cut_n_chunks(r, &c);
}

double cpu_attention_ns(const cpu_run *r, const cpu_node *n) {
    double pairs = 0;
    int32_t window = n->n.params.attn.window;
    for (int32_t i = 0; i < r->step->n_seqs; i++) {
        double len = r->step->seqs[i].kv_len;
        if (window > 0 && len > window) len = window;
        pairs += len * r->step->seqs[i].n_tok;
    }
    const dev_tensor *q = n->n.in[0];
    return attention_ns((double)(q->ne[0] + n->n.out->ne[0] / q->ne[1]) * (double)q->ne[1], pairs);
}

uint64_t cpu_attention_scratch(const cpu_program *p, const cpu_node *n) {
    (void)p;
    const dev_tensor *q = n->n.in[0];
    int64_t group = q->ne[1] / n->n.params.attn.n_head_kv;
    return tile_bytes(cpu_max(TILE_ROWS, group), q->ne[0], n->n.out->ne[0] / q->ne[1]);
}

void cpu_attention_run(cpu_run *r, const cpu_node *n, int32_t chunk, int32_t thread) {
    const dev_tensor *q = n->n.in[0];
    cut c = cut_make(r, n);
    tile t = {
        .n = &n->n, .dim_k = (int32_t)q->ne[0], .dim_v = (int32_t)(n->n.out->ne[0] / q->ne[1])};
    tile_open(&t, r, &c, chunk, cpu_scratch(r, thread));
    tile_load_q(&t, r);
    int32_t first = t.tok - t.seq->first_tok, lo, hi, unused;
    see_causal(&t, first, &lo, &unused);
    see_causal(&t, first + t.n_tok - 1, &unused, &hi);
    int32_t layer = n->n.params.attn.layer;
    for (int32_t b = lo / KEYS; b * KEYS < hi; b++) {
        int32_t page = t.seq->pages[b];
        if (cpu_is_cancelled(r)) return;
        tile_block(&t, r, b * KEYS, page_k(r, page, layer, t.head_kv),
                   page_v(r, page, layer, t.head_kv), see_causal);
    }
    tile_finish(&t, r);
}

/* ---- without a cache ---- */

static void see_full(const tile *t, int32_t row_tok, int32_t *lo, int32_t *hi) {
    int32_t window = t->n->params.attn.window, n = t->seq->n_tok;
    *lo = window > 0 ? (int32_t)cpu_max(0, row_tok - window + 1) : 0;
    *hi = window > 0 ? (int32_t)cpu_min(n, row_tok + window) : n;
}

int32_t cpu_attention_full_n_chunks(const cpu_run *r, const cpu_node *n) {
    cut c = cut_make(r, n);
    return cut_n_chunks(r, &c);
}

double cpu_attention_full_ns(const cpu_run *r, const cpu_node *n) {
    double pairs = 0;
    for (int32_t i = 0; i < r->step->n_seqs; i++) {
        double len = r->step->seqs[i].n_tok;
        pairs += len * len;
    }
    const dev_tensor *q = n->n.in[0];
    return attention_ns((double)(q->ne[0] + n->n.in[2]->ne[0]) * (double)q->ne[1], pairs);
}

uint64_t cpu_attention_full_scratch(const cpu_program *p, const cpu_node *n) {
    return cpu_attention_scratch(p, n);
}

/* Keys [pos, pos + 32) of the sequence as f16, transposed like in a page; values in rows. */
static void pack_block(tile *t, const cpu_run *r, int32_t pos) {
    const dev_tensor *k = t->n->in[1], *v = t->n->in[2];
    char *k_base = cpu_base(r, k), *v_base = cpu_base(r, v);
    uint16_t *row16 = t->v_pack; /* free until its values come */
    int32_t n = (int32_t)cpu_min(KEYS, t->seq->n_tok - pos);
    uint16_t key[1024];
    assert(t->dim_k <= (int32_t)COUNT_OF(key));
    for (int32_t j = 0; j < n; j++) {
        int64_t row = (int64_t)(t->seq->first_tok + pos + j) * k->ne[1] + t->head_kv;
        r->p->d->vec->f32_to_f16(key, (const float *)cpu_row(k, k_base, row), t->dim_k);
        for (int32_t d = 0; d < t->dim_k; d++) t->k_pack[d * KEYS + j] = key[d];
        r->p->d->vec->f32_to_f16(row16 + j * t->dim_v, (const float *)cpu_row(v, v_base, row),
                                 t->dim_v);
    }
    for (int32_t j = n; j < KEYS; j++)
        for (int32_t d = 0; d < t->dim_k; d++) t->k_pack[d * KEYS + j] = 0;
}

void cpu_attention_full_run(cpu_run *r, const cpu_node *n, int32_t chunk, int32_t thread) {
    cut c = cut_make(r, n);
    tile t = {.n = &n->n, .dim_k = (int32_t)n->n.in[0]->ne[0], .dim_v = (int32_t)n->n.in[2]->ne[0]};
    tile_open(&t, r, &c, chunk, cpu_scratch(r, thread));
    tile_load_q(&t, r);
    int32_t first = t.tok - t.seq->first_tok, lo, hi, unused;
    see_full(&t, first, &lo, &unused);
    see_full(&t, first + t.n_tok - 1, &unused, &hi);
    for (int32_t b = lo / KEYS; b * KEYS < hi; b++) {
        if (cpu_is_cancelled(r)) return;
        pack_block(&t, r, b * KEYS);
        tile_block(&t, r, b * KEYS, t.k_pack, t.v_pack, see_full);
    }
    tile_finish(&t, r);
}
