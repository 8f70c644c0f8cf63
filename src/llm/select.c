/* Passes over logits: see select.h.
 *
 * Reductions over floats are kept in LANES independent accumulators, which is what lets a compiler
 * use vector registers without being allowed to reorder sums. The exponential is a polynomial of
 * degree 5 on [-ln2/2, ln2/2] with the exponent put in by integer arithmetic. */
#include "llm/select.h"
#include <assert.h>
#include <math.h>
#include <string.h>

enum { LANES = 16 };

float llm_select_max(const float *x, int32_t n, bool *ret_nan) {
    assert(n >= 1);
    float best[LANES];
    int32_t bad[LANES] = {0};
    for (int j = 0; j < LANES; j++) best[j] = -INFINITY;
    int32_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        for (int j = 0; j < LANES; j++) best[j] = x[i + j] > best[j] ? x[i + j] : best[j];
        for (int j = 0; j < LANES; j++) bad[j] |= x[i + j] != x[i + j];
    }
    for (; i < n; i++) {
        best[0] = x[i] > best[0] ? x[i] : best[0];
        bad[0] |= x[i] != x[i];
    }
    for (int j = 1; j < LANES; j++) {
        best[0] = best[j] > best[0] ? best[j] : best[0];
        bad[0] |= bad[j];
    }
    *ret_nan = bad[0] != 0;
    return best[0];
}

int32_t llm_select_find(const float *x, int32_t n, float value) {
    int32_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        int32_t any = 0;
        for (int j = 0; j < LANES; j++) any |= x[i + j] == value;
        if (any) break;
    }
    for (; i < n; i++)
        if (x[i] == value) return i;
    return -1;
}

/* Is a behind b in the order of the answer? */
static bool behind(llm_cand a, llm_cand b) {
    return a.logit < b.logit || (a.logit == b.logit && a.id > b.id);
}

/* Restores the heap with the worst on top after c[at] changed. */
static void sift_worst(llm_cand *c, int32_t n, int32_t at) {
    llm_cand v = c[at];
    for (;;) {
        int32_t kid = 2 * at + 1;
        if (kid >= n) break;
        if (kid + 1 < n && behind(c[kid + 1], c[kid])) kid++;
        if (!behind(c[kid], v)) break;
        c[at] = c[kid];
        at = kid;
    }
    c[at] = v;
}

void llm_select_top(const float *x, int32_t n, int32_t k, llm_cand *ret) {
    assert(k >= 1 && k <= n);
    for (int32_t i = 0; i < k; i++) ret[i] = (llm_cand){.id = i, .logit = x[i]};
    for (int32_t i = k / 2; i-- > 0;) sift_worst(ret, k, i);
    for (int32_t i = k; i < n;) {
        if (i + LANES <= n) {
            float worst = ret[0].logit;
            int32_t any = 0;
            for (int j = 0; j < LANES; j++) any |= x[i + j] > worst;
            if (!any) {
                i += LANES;
                continue;
            }
        }
        int32_t end = i + LANES <= n ? i + LANES : n;
        for (; i < end; i++) {
            if (!(x[i] > ret[0].logit)) continue;
            ret[0] = (llm_cand){.id = i, .logit = x[i]};
            sift_worst(ret, k, 0);
        }
    }
    /* The worst goes to the end, again and again: best first. */
    for (int32_t m = k - 1; m > 0; m--) {
        llm_cand t = ret[0];
        ret[0] = ret[m];
        ret[m] = t;
        sift_worst(ret, m, 0);
    }
}

/* exp(t) for t <= 0; 0 below -87. */
static inline float exp_neg(float t) {
    t = t < -87.0f ? -87.0f : t;
    float k = t * 1.44269504f;
    int32_t ki = (int32_t)(k - 0.5f); /* truncation of a negative number: rounds to nearest */
    float kf = (float)ki;
    float r = t - kf * 0.693145752f - kf * 1.42860677e-6f;
    float p =
        1.0f + r * (1.0f + r * (0.5f + r * (0.166666672f + r * (0.0416664f + r * 0.0083369f))));
    union {
        int32_t i;
        float f;
    } two = {.i = (ki + 127) << 23};
    return p * two.f;
}

double llm_select_sum_exp(const float *x, int32_t n, float max, float scale) {
    double sum = 0;
    for (int32_t at = 0; at < n;) {
        int32_t end = n - at > 4096 ? at + 4096 : n;
        float acc[LANES] = {0};
        int32_t i = at;
        for (; i + LANES <= end; i += LANES)
            for (int j = 0; j < LANES; j++) acc[j] += exp_neg((x[i + j] - max) * scale);
        for (; i < end; i++) acc[0] += exp_neg((x[i] - max) * scale);
        for (int j = 0; j < LANES; j++) sum += (double)acc[j];
        at = end;
    }
    return sum;
}

static void sift_best(llm_cand *c, int32_t n, int32_t at) {
    llm_cand v = c[at];
    for (;;) {
        int32_t kid = 2 * at + 1;
        if (kid >= n) break;
        if (kid + 1 < n && behind(c[kid], c[kid + 1])) kid++;
        if (!behind(v, c[kid])) break;
        c[at] = c[kid];
        at = kid;
    }
    c[at] = v;
}

int32_t llm_select_mass(llm_cand *c, int32_t n, double mass, int32_t n_keep) {
    /* A heap with the best on top; what is popped goes behind the shrinking heap, and the run is
     * turned round at the end. */
    for (int32_t i = n / 2; i-- > 0;) sift_best(c, n, i);
    double sum = 0;
    int32_t left = n;
    while (left > 0) {
        sum += (double)c[0].weight;
        llm_cand t = c[0];
        c[0] = c[--left];
        c[left] = t;
        if (left > 0) sift_best(c, left, 0);
        if (n - left >= n_keep && sum >= mass) break;
    }
    int32_t kept = n - left;
    for (int32_t i = left, j = n - 1; i < j; i++, j--) {
        llm_cand t = c[i];
        c[i] = c[j];
        c[j] = t;
    }
    memmove(c, c + left, (size_t)kept * sizeof(*c));
    return kept;
}
