/* The sampler: see sample.h for the order of the steps.
 *
 * A draw touches the whole row as rarely as it can: greedy needs one pass for the maximum and one
 * to find it; with top-k a second pass selects; only without top-k do the later steps see the whole
 * vocabulary. Penalties are applied to the few tokens of the window, after log-probabilities
 * were taken from the untouched row. */
#include "llm/sample.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/vec.h"
#include "kern/kern_vec.h"
#include "llm/constrain.h"
#include "llm/select.h"
#include <assert.h>
#include <math.h>

struct llm_sampler {
    llm_sample_params p;
    int32_t n_vocab;
    rng random;
    llm_cand *cand; /* [cand_cap] */
    int32_t cand_cap;
    float *probs; /* [V] when every token may be drawn */
    /* Penalties, allocated only when one is on. */
    int32_t *counts; /* [V] how often a token is in the window */
    int32_t *window; /* the last repeat_last_n tokens: a ring, or all of them when that is -1 */
    size_t window_len, window_cap, window_at;
    llm_constraint *constraint; /* borrowed, or NULL */
};

static bool penalties_on(const llm_sample_params *p) {
    return p->repeat_last_n != 0 && (p->repeat_penalty != 1.0f || p->presence_penalty != 0.0f ||
                                     p->frequency_penalty != 0.0f);
}

llm_sampler *llm_sampler_create(const llm_sample_params *p, int32_t n_vocab) {
    assert(n_vocab >= 1);
    llm_sampler *s = NEW(llm_sampler);
    s->p = *p;
    s->n_vocab = n_vocab;
    uint64_t seed = (uint64_t)p->seed;
    if (p->seed < 0) rng_entropy(&seed, sizeof(seed));
    rng_init(&s->random, seed);
    if (!(p->repeat_penalty > 0)) s->p.repeat_penalty = 1.0f;
    if (penalties_on(&s->p)) s->counts = NEW_ARRAY(int32_t, (size_t)n_vocab);
    return s;
}

void llm_sampler_destroy(llm_sampler **sp) {
    llm_sampler *s = *sp;
    if (!s) return;
    mem_free(s->cand);
    mem_free(s->probs);
    mem_free(s->counts);
    mem_free(s->window);
    mem_free(s);
    *sp = NULL;
}

void llm_sampler_constrain(llm_sampler *s, llm_constraint *c) {
    s->constraint = c;
}

void llm_sampler_accept(llm_sampler *s, int32_t id) {
    if (!s->counts || id < 0 || id >= s->n_vocab) return;
    size_t bound = s->p.repeat_last_n < 0 ? SIZE_MAX : (size_t)s->p.repeat_last_n;
    s->counts[id]++;
    if (s->window_len < bound) {
        if (s->window_len == s->window_cap)
            s->window = vec_grow(s->window, &s->window_cap, s->window_len + 1, sizeof(int32_t));
        s->window[s->window_len++] = id;
        return;
    }
    s->counts[s->window[s->window_at]]--;
    s->window[s->window_at] = id;
    s->window_at = (s->window_at + 1) % s->window_len;
}

static void apply_penalties(llm_sampler *s, float *logits) {
    const llm_sample_params *p = &s->p;
    for (size_t i = 0; i < s->window_len; i++) {
        int32_t id = s->window[i], n = s->counts[id];
        if (n <= 0) continue; /* met before in this pass */
        s->counts[id] = -n;
        float x = logits[id];
        x = x > 0 ? x / p->repeat_penalty : x * p->repeat_penalty;
        logits[id] = x - (float)n * p->frequency_penalty - p->presence_penalty;
    }
    for (size_t i = 0; i < s->window_len; i++) {
        int32_t *n = &s->counts[s->window[i]];
        if (*n < 0) *n = -*n;
    }
}

static void reserve_cand(llm_sampler *s, int32_t n) {
    if (s->cand_cap >= n) return;
    mem_free(s->cand);
    s->cand = NEW_ARRAY(llm_cand, (size_t)n);
    s->cand_cap = n;
}

/* Fills `weight` with probabilities of the list's softmax at the given inverse temperature;
 * returns their sum before division (they are left undivided: callers compare with the sum). */
static double weigh(llm_cand *c, int32_t n, float scale) {
    float max = c[0].logit;
    for (int32_t i = 1; i < n; i++) max = c[i].logit > max ? c[i].logit : max;
    double sum = 0;
    for (int32_t i = 0; i < n; i++) {
        c[i].weight = c[i].logit > -INFINITY ? expf((c[i].logit - max) * scale) : 0.0f;
        sum += (double)c[i].weight;
    }
    return sum;
}

/* Locally typical sampling (arXiv 2202.00666): tokens whose surprise is nearest to the entropy. */
static int32_t keep_typical(llm_cand *c, int32_t n, float typical_p) {
    double sum = weigh(c, n, 1.0f), entropy = 0;
    for (int32_t i = 0; i < n; i++) {
        double p = (double)c[i].weight / sum;
        if (p > 0) entropy -= p * log(p);
    }
    /* The key of the selection is the logit field; the logit itself comes back from the weight. */
    for (int32_t i = 0; i < n; i++) {
        double p = (double)c[i].weight / sum;
        c[i].logit = p > 0 ? -(float)fabs(-log(p) - entropy) : -INFINITY;
    }
    int32_t kept = llm_select_mass(c, n, (double)typical_p * sum, 1);
    for (int32_t i = 0; i < kept; i++) c[i].logit = logf(c[i].weight);
    return kept;
}

static int32_t keep_top_p(llm_cand *c, int32_t n, float top_p, bool sorted) {
    double sum = weigh(c, n, 1.0f), mass = (double)top_p * sum;
    if (!sorted) return llm_select_mass(c, n, mass, 1);
    double have = 0;
    for (int32_t i = 0; i < n; i++) {
        have += (double)c[i].weight;
        if (have >= mass) return i + 1;
    }
    return n;
}

static int32_t keep_min_p(llm_cand *c, int32_t n, float min_p) {
    float max = c[0].logit;
    for (int32_t i = 1; i < n; i++) max = c[i].logit > max ? c[i].logit : max;
    float least = max + logf(min_p);
    int32_t kept = 0;
    for (int32_t i = 0; i < n; i++)
        if (c[i].logit >= least || c[i].logit == max) c[kept++] = c[i];
    return kept;
}

/* An index with probability proportional to its weight. */
static int32_t draw_from(rng *r, const llm_cand *c, int32_t n, double sum) {
    double at = rng_f64(r) * sum;
    int32_t last = 0;
    for (int32_t i = 0; i < n; i++) {
        if (!(c[i].weight > 0)) continue;
        last = i;
        at -= (double)c[i].weight;
        if (at < 0) return i;
    }
    return last;
}

static float sum_of(const float *x, int32_t n) {
    float sum[8] = {0};
    int32_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (int k = 0; k < 8; k++) sum[k] += x[i + k];
    for (; i < n; i++) sum[0] += x[i];
    return ((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]));
}

/* Any token, with its probability at the temperature: vectors instead of a list of candidates, as
 * vocabularies are long. The place in the sum is found by runs, then inside the run. */
static int32_t draw_from_all(llm_sampler *s, const float *logits) {
    enum { RUN = 1024 };
    const kern_vec *vec = kern_vec_get(kern_level_best());
    int32_t n = s->n_vocab, last = 0;
    if (!s->probs) s->probs = NEW_ARRAY(float, (size_t)n);
    vec->scale(s->probs, logits, n, fminf(1.0f / s->p.temperature, 1e30f), 0);
    vec->softmax(s->probs, s->probs, n);
    double at = rng_f64(&s->random);
    for (int32_t from = 0; from < n; from += RUN) {
        int32_t len = n - from < RUN ? n - from : RUN;
        double mass = (double)sum_of(s->probs + from, len);
        if (mass > 0) last = from;
        if (at < mass) break;
        at -= mass;
    }
    int32_t id = last, end = n - last < RUN ? n : last + RUN;
    for (int32_t i = last; i < end; i++) {
        if (!(s->probs[i] > 0)) continue;
        id = i;
        at -= (double)s->probs[i];
        if (at < 0) break;
    }
    return id;
}

static int32_t draw(llm_sampler *s, const float *logits) {
    const llm_sample_params *p = &s->p;
    int32_t n = s->n_vocab;
    if ((p->top_k <= 0 || p->top_k >= n) && p->typical_p >= 1 && p->top_p >= 1 && p->min_p <= 0)
        return draw_from_all(s, logits);
    bool sorted = p->top_k > 0 && p->top_k < n;
    if (sorted) {
        n = p->top_k;
        reserve_cand(s, n);
        llm_select_top(logits, s->n_vocab, n, s->cand);
    } else {
        reserve_cand(s, n);
        for (int32_t i = 0; i < n; i++) s->cand[i] = (llm_cand){.id = i, .logit = logits[i]};
    }
    llm_cand *c = s->cand;
    if (p->typical_p < 1.0f) {
        n = keep_typical(c, n, p->typical_p);
        sorted = false;
    }
    if (p->top_p < 1.0f) n = keep_top_p(c, n, p->top_p, sorted);
    if (p->min_p > 0.0f) n = keep_min_p(c, n, p->min_p < 1.0f ? p->min_p : 1.0f);
    double sum = weigh(c, n, fminf(1.0f / p->temperature, 1e30f));
    return c[draw_from(&s->random, c, n, sum)].id;
}

/* The likeliest tokens of the row as it came. log_sum: log of the sum of all exponentials. */
static void report_top(const float *logits, int32_t n, int n_top, double log_sum,
                       llm_sampled *ret) {
    llm_cand top[LIMIT_TOP_LOGPROBS];
    int32_t k = n_top < n ? n_top : n;
    if (k < 1) return;
    llm_select_top(logits, n, k, top);
    for (int32_t i = 0; i < k; i++)
        ret->top[i] = (llm_logprob){top[i].id, (float)((double)top[i].logit - log_sum)};
}

static err_code check_row(const float *logits, int32_t n, float *ret_max, err *e) {
    bool bad;
    *ret_max = llm_select_max(logits, n, &bad);
    if (bad) FAIL(e, DEVICE, "the model computed a value that is not a number");
    if (!isfinite(*ret_max)) FAIL(e, DEVICE, "the model's output is infinite, or no token is left");
    return ERR_OK;
}

static int32_t choose(llm_sampler *s, const float *logits, float max) {
    return s->p.temperature > 0 ? draw(s, logits) : llm_select_find(logits, s->n_vocab, max);
}

static void apply_bias(const llm_sampler *s, float *logits) {
    for (size_t i = 0; i < s->p.n_bias; i++) {
        llm_bias b = s->p.bias[i];
        if (b.id < 0 || b.id >= s->n_vocab) continue;
        logits[b.id] = b.add <= -100 ? -INFINITY : logits[b.id] + b.add;
    }
}

/* A token that may come next. */
static err_code choose_allowed(llm_sampler *s, float *logits, float max, int32_t *ret, err *e) {
    *ret = choose(s, logits, max);
    if (!s->constraint || llm_constraint_allows(s->constraint, *ret)) return ERR_OK;
    llm_constraint_mask(s->constraint, logits, s->n_vocab);
    TRY(check_row(logits, s->n_vocab, &max, e));
    *ret = choose(s, logits, max);
    return ERR_OK;
}

err_code llm_sampler_draw(llm_sampler *s, float *logits, int n_top, llm_sampled *ret, err *e) {
    assert(n_top <= LIMIT_TOP_LOGPROBS);
    int32_t n = s->n_vocab;
    float max;
    double log_sum = 0;
    float *raw = NULL; /* the row before penalties, for the chosen token's log-probability */
    TRY(check_row(logits, n, &max, e));
    if (n_top >= 0) {
        log_sum = log(llm_select_sum_exp(logits, n, max, 1.0f)) + (double)max;
        report_top(logits, n, n_top, log_sum, ret);
    }
    if ((s->counts && s->window_len > 0) || s->p.n_bias > 0) {
        if (n_top >= 0) raw = mem_dup(logits, (size_t)n * sizeof(float));
        apply_bias(s, logits);
        if (s->counts && s->window_len > 0) apply_penalties(s, logits);
        err_code bad = check_row(logits, n, &max, e);
        if (bad) {
            mem_free(raw);
            return bad;
        }
    }
    err_code code = choose_allowed(s, logits, max, &ret->id, e);
    if (code == ERR_OK && n_top >= 0)
        ret->logprob = (float)((double)(raw ? raw : logits)[ret->id] - log_sum);
    mem_free(raw);
    return code;
}
