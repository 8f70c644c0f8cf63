/* Which evaluations are skipped, and what stands for them. */
#include "diffusion/step_cache.h"
#include "base/vec.h"
#include <math.h>
#include <string.h>

enum { EVERY = 8 }; /* cells looked at, each way */

typedef struct kept {
    const void *key;
    int64_t len;
    float *diff; /* [n][len] output - input */
} kept;

struct step_cache {
    arena *mem;
    step_cache_params p;
    step_cache_shape shape;
    int64_t n_samples;
    float *in, *in_before, *out, *out_before; /* [n_samples] */
    bool has_before, has_rate, has_started;   /* LazyCache remembers from the first evaluation on */
    double rate;                              /* change of the output / change of the input */
    double norm_before;                       /* mean of |output| */
    double change; /* predicted and summed up since the last evaluation that was made */
    /* this evaluation */
    bool is_past, skips, has_input_change, has_out;
    double input_change, out_sum, n_out;
    kept *items;
    size_t n_items, room;
};

step_cache *step_cache_create(arena *a, const step_cache_params *p, const step_cache_shape *s) {
    step_cache *c = ARENA_NEW(a, step_cache);
    c->mem = a;
    c->p = *p;
    c->shape = *s;
    c->n_samples = s->n * s->c * ((s->y + EVERY - 1) / EVERY) * ((s->x + EVERY - 1) / EVERY);
    float **all[] = {&c->in, &c->in_before, &c->out, &c->out_before};
    for (size_t i = 0; i < COUNT_OF(all); i++)
        *all[i] = arena_calloc(a, (size_t)c->n_samples, sizeof(float));
    return c;
}

static void sample_cells(const step_cache *c, const float *x, double scale, float *dst) {
    const step_cache_shape *s = &c->shape;
    for (int64_t i = 0; i < s->n * s->c; i++, x += s->y * s->x)
        for (int64_t row = 0; row < s->y; row += EVERY)
            for (int64_t col = 0; col < s->x; col += EVERY)
                *dst++ = (float)(scale * (double)x[row * s->x + col]);
}

static double mean_change(const step_cache *c, const float *now, const float *before) {
    double sum = 0;
    for (int64_t i = 0; i < c->n_samples; i++) sum += fabs((double)now[i] - (double)before[i]);
    return sum / (double)c->n_samples;
}

bool step_cache_begin(step_cache *c, const float *x, double scale, double sigma) {
    c->skips = c->has_input_change = c->has_out = false;
    c->out_sum = c->n_out = 0;
    c->is_past = !(sigma > c->shape.sigma_end);
    bool is_due = sigma <= c->shape.sigma_start;
    if (is_due || c->p.kind == STEP_CACHE_LAZY) c->has_started = true;
    if (c->is_past || !c->has_started) return false;
    sample_cells(c, x, scale, c->in);
    if (!is_due || !c->has_before) return false;
    c->has_input_change = true;
    c->input_change = mean_change(c, c->in, c->in_before);
    if (!c->has_rate) return false;
    c->change += c->rate * c->input_change / c->norm_before;
    c->skips = c->change < c->p.threshold;
    if (!c->skips) c->change = 0;
    return c->skips;
}

static kept *find(const step_cache *c, const void *key, int64_t len) {
    for (size_t i = 0; i < c->n_items; i++)
        if (c->items[i].key == key && c->items[i].len == len) return &c->items[i];
    return NULL;
}

bool step_cache_apply(const step_cache *c, const void *key, const float *x, int64_t x_stride,
                      int64_t len, float *out) {
    const kept *k = c->skips ? find(c, key, len) : NULL;
    if (!k) return false;
    for (int64_t b = 0; b < c->shape.n; b++)
        for (int64_t i = 0; i < len; i++)
            out[b * len + i] = x[b * x_stride + i] + k->diff[b * len + i];
    return true;
}

void step_cache_keep(step_cache *c, const void *key, const float *x, int64_t x_stride, int64_t len,
                     const float *out) {
    if (c->is_past) return;
    kept *k = find(c, key, len);
    if (!k) {
        if (c->n_items == c->room) {
            size_t room = 2 * c->room + 4;
            kept *more = ARENA_ARRAY(c->mem, kept, room);
            if (c->n_items) memcpy(more, c->items, c->n_items * sizeof *more);
            c->items = more;
            c->room = room;
        }
        k = &c->items[c->n_items++];
        *k = (kept){key, len, arena_calloc(c->mem, (size_t)(c->shape.n * len), sizeof(float))};
    }
    for (int64_t b = 0; b < c->shape.n; b++)
        for (int64_t i = 0; i < len; i++) {
            k->diff[b * len + i] = out[b * len + i] - x[b * x_stride + i];
            c->out_sum += fabs((double)out[b * len + i]);
        }
    c->n_out += (double)(c->shape.n * len);
    if (len != c->shape.c * c->shape.y * c->shape.x) return;
    sample_cells(c, out, 1, c->out); /* the last one of an evaluation counts */
    c->has_out = true;
}

static void swap(float **a, float **b) {
    float *t = *a;
    *a = *b;
    *b = t;
}

void step_cache_end(step_cache *c) {
    if (c->is_past || c->skips || !c->has_started || !c->has_out) return;
    if (c->has_before && c->has_input_change && c->input_change > 0) {
        c->rate = mean_change(c, c->out, c->out_before) / c->input_change;
        c->has_rate = isfinite(c->rate);
    }
    swap(&c->in, &c->in_before);
    swap(&c->out, &c->out_before);
    c->norm_before = c->out_sum / c->n_out;
    c->has_before = true;
}
