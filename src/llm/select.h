/* Passes over a whole row of logits, written so that compilers vectorise them: extremes, sums of
 * exponentials, the best k. Used by the sampler; pure functions, any thread. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

typedef struct llm_cand {
    int32_t id;
    float logit;
    float weight; /* scratch of whoever works with the list: a probability or a key */
} llm_cand;

/* Largest of x[0, n), n >= 1; *ret_nan tells whether any is NaN (then the result is of no use). */
float llm_select_max(const float *x, int32_t n, bool *ret_nan);
/* Lowest index that holds `value`; -1 if none. */
int32_t llm_select_find(const float *x, int32_t n, float value);
/* The k best of x[0, n), best first, ties to the lower index; 1 <= k <= n. O(n + k log k log n) in
 * the usual case. */
void llm_select_top(const float *x, int32_t n, int32_t k, llm_cand *ret);
/* Sum of exp((x - max) * scale), scale > 0, every x <= max. Relative error below 1e-5. */
double llm_select_sum_exp(const float *x, int32_t n, float max, float scale);

/* Moves the best `n_keep` at least, and on until their weights sum to `mass`, to the front of
 * c[0, n), best key (the logit field) first. Returns how many. */
int32_t llm_select_mass(llm_cand *c, int32_t n, double mass, int32_t n_keep);
