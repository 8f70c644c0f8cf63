/* The sampler against a plain f64 form of each step (how often every token is drawn, and which
 * never are), its penalties, seeds and log-probabilities; and text assembly against a naive search
 * for stop strings, fed in random pieces. */
#include "base/rng.h"
#include "llm/sample.h"
#include "llm/text.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { V = 40, N_DRAWS = 20000, N_TEXTS = 3000 };

static float base[V];

static int setup(void **state) {
    (void)state;
    rng r;
    rng_init(&r, 7);
    for (int i = 0; i < V; i++) base[i] = rng_normal(&r) * 2;
    return 0;
}

static int by_size(const void *a, const void *b) {
    float x = base[*(const int *)a], y = base[*(const int *)b];
    return x > y ? -1 : x < y;
}

/* What the parameters leave: probabilities in f64, 0 for what is cut. */
static void expected(const llm_sample_params *p, double *prob) {
    int order[V], n = V;
    double q[V], sum = 0, entropy = 0;
    for (int i = 0; i < V; i++) order[i] = i;
    qsort(order, V, sizeof *order, by_size);
    if (p->top_k > 0 && p->top_k < n) n = p->top_k;
    for (int i = 0; i < n; i++) sum += q[i] = exp((double)base[order[i]]);
    for (int i = 0; i < n; i++) q[i] /= sum;
    bool keep[V] = {false};
    for (int i = 0; i < n; i++) keep[i] = true;
    if (p->typical_p < 1) { /* Meister et al.: nearest to the entropy first */
        for (int i = 0; i < n; i++) entropy -= q[i] * log(q[i]);
        double got = 0;
        memset(keep, 0, sizeof keep);
        while (got < (double)p->typical_p) {
            int best = -1;
            for (int i = 0; i < n; i++)
                if (!keep[i] &&
                    (best < 0 || fabs(-log(q[i]) - entropy) < fabs(-log(q[best]) - entropy)))
                    best = i;
            if (best < 0) break;
            keep[best] = true;
            got += q[best];
        }
    }
    if (p->top_p < 1) {
        double all = 0, got = 0;
        for (int i = 0; i < n; i++) all += keep[i] ? q[i] : 0;
        for (int i = 0; i < n; i++) {
            if (!keep[i]) continue;
            if (got >= (double)p->top_p) keep[i] = false;
            got += q[i] / all;
        }
    }
    double largest = 0;
    for (int i = 0; i < n; i++)
        if (keep[i] && q[i] > largest) largest = q[i];
    for (int i = 0; i < n; i++)
        if (q[i] < (double)p->min_p * largest) keep[i] = false;
    memset(prob, 0, V * sizeof *prob);
    sum = 0;
    for (int i = 0; i < n; i++)
        if (keep[i]) sum += prob[order[i]] = pow(q[i], 1 / (double)p->temperature);
    for (int i = 0; i < V; i++) prob[i] /= sum;
}

static llm_sample_params plain(void) {
    return (llm_sample_params){
        .temperature = 1, .top_p = 1, .typical_p = 1, .repeat_penalty = 1, .seed = 11};
}

static int32_t draw(llm_sampler *s) {
    float logits[V];
    llm_sampled got;
    err e = {0};
    memcpy(logits, base, sizeof logits);
    assert_int_equal(llm_sampler_draw(s, logits, -1, &got, &e), ERR_OK);
    assert_in_range(got.id, 0, V - 1);
    return got.id;
}

static void check_distribution(llm_sample_params p) {
    double want[V];
    int count[V] = {0};
    expected(&p, want);
    llm_sampler *s = llm_sampler_create(&p, V);
    for (int i = 0; i < N_DRAWS; i++) count[draw(s)]++;
    llm_sampler_destroy(&s);
    for (int i = 0; i < V; i++) {
        if (want[i] == 0) assert_int_equal(count[i], 0);
        double sigma = sqrt(want[i] * (1 - want[i]) * N_DRAWS);
        assert_true(fabs(count[i] - want[i] * N_DRAWS) <= 5 * sigma + 1);
    }
}

static void draws_follow_the_distribution(void **state) {
    (void)state;
    llm_sample_params p = plain();
    check_distribution(p);
    p.temperature = 0.5f;
    check_distribution(p);
    p.top_k = 7;
    check_distribution(p);
    p = plain();
    p.top_p = 0.7f;
    check_distribution(p);
    p.top_k = 20;
    p.temperature = 1.7f;
    check_distribution(p);
    p = plain();
    p.min_p = 0.2f;
    check_distribution(p);
    p = plain();
    p.typical_p = 0.6f;
    check_distribution(p);
    p = (llm_sample_params){.temperature = 0.8f,
                            .top_k = 12,
                            .top_p = 0.9f,
                            .min_p = 0.05f,
                            .typical_p = 1,
                            .repeat_penalty = 1,
                            .seed = 3};
    check_distribution(p);
}

static void greedy_takes_the_first_of_the_largest(void **state) {
    (void)state;
    llm_sample_params p = plain();
    p.temperature = 0;
    llm_sampler *s = llm_sampler_create(&p, V);
    float logits[V] = {0};
    llm_sampled got;
    err e;
    logits[9] = logits[30] = 5;
    assert_int_equal(llm_sampler_draw(s, logits, 3, &got, &e), ERR_OK);
    assert_int_equal(got.id, 9);
    double all = 2 * exp(5.0) + (V - 2), want = 5 - log(all);
    assert_true(fabs((double)got.logprob - want) < 1e-5);
    assert_int_equal(got.top[0].id, 9);
    assert_int_equal(got.top[1].id, 30);
    for (int i = 0; i < V; i++) logits[i] = NAN;
    assert_int_equal(llm_sampler_draw(s, logits, -1, &got, &e), ERR_DEVICE);
    llm_sampler_destroy(&s);
}

/* repeat: positive logits divided, negative multiplied; presence once, frequency each time. */
static void penalties_change_the_winner(void **state) {
    (void)state;
    static const struct {
        float repeat, presence, frequency;
        int32_t want;
    } cases[] = {{1, 0, 0, 3},    {2.1f, 0, 0, 4}, {1, 2.5f, 0, 4},
                 {1, 1.5f, 0, 3}, {1, 0, 0.8f, 4}, {1, 0, 0.6f, 3}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        llm_sample_params p = plain();
        p.temperature = 0;
        p.repeat_last_n = 8;
        p.repeat_penalty = cases[i].repeat;
        p.presence_penalty = cases[i].presence;
        p.frequency_penalty = cases[i].frequency;
        llm_sampler *s = llm_sampler_create(&p, V);
        for (int k = 0; k < 3; k++) llm_sampler_accept(s, 3); /* 4 - 3 x 0.8 < 2 < 4 - 3 x 0.6 */
        float logits[V] = {0};
        llm_sampled got;
        err e;
        logits[3] = 4;
        logits[4] = 2;
        assert_int_equal(llm_sampler_draw(s, logits, -1, &got, &e), ERR_OK);
        assert_int_equal(got.id, cases[i].want);
        for (int k = 0; k < 8; k++) llm_sampler_accept(s, 20); /* token 3 leaves the window */
        memset(logits, 0, sizeof logits);
        logits[3] = 4;
        logits[4] = 2;
        assert_int_equal(llm_sampler_draw(s, logits, -1, &got, &e), ERR_OK);
        assert_int_equal(got.id, 3);
        llm_sampler_destroy(&s);
    }
}

static void a_seed_repeats_its_draws(void **state) {
    (void)state;
    llm_sample_params p = plain();
    llm_sampler *a = llm_sampler_create(&p, V), *b = llm_sampler_create(&p, V);
    p.seed = 12;
    llm_sampler *c = llm_sampler_create(&p, V);
    int n_other = 0;
    for (int i = 0; i < 100; i++) {
        int32_t x = draw(a);
        assert_int_equal(draw(b), x);
        n_other += draw(c) != x;
    }
    assert_true(n_other > 10);
    llm_sampler_destroy(&a);
    llm_sampler_destroy(&b);
    llm_sampler_destroy(&c);
}

/* Texts of few letters meet stop strings all the time, whole and in part. */
static void text_ends_at_the_first_stop_string(void **state) {
    (void)state;
    rng r;
    rng_init(&r, 5);
    for (int round = 0; round < N_TEXTS; round++) {
        char text[64], stops[4][8];
        str list[4];
        size_t n = 1 + rng_below(&r, 40), n_stop = rng_below(&r, 4);
        for (size_t i = 0; i < n; i++) text[i] = (char)('a' + rng_below(&r, 3));
        for (size_t i = 0; i < n_stop; i++) {
            list[i] = (str){stops[i], 1 + rng_below(&r, 6)};
            for (size_t k = 0; k < list[i].len; k++) stops[i][k] = (char)('a' + rng_below(&r, 3));
        }
        size_t end = n, first = n; /* the byte that completes the earliest, the longest there */
        for (size_t at = 1; at <= n && end == n; at++)
            for (size_t i = 0; i < n_stop; i++)
                if (list[i].len <= at &&
                    memcmp(text + at - list[i].len, list[i].ptr, list[i].len) == 0) {
                    if (at - list[i].len < first) first = at - list[i].len;
                    end = at;
                    if (at == n) end = n;
                }
        bool stops_there = first < n;
        llm_text *t = llm_text_create(list, n_stop);
        buf out = {0};
        bool stopped = false;
        for (size_t at = 0; at < n && !stopped;) {
            size_t k = 1 + rng_below(&r, 5);
            if (k > n - at) k = n - at;
            stopped = llm_text_put(t, (str){text + at, k});
            at += k;
            llm_text_take(t, stopped || at == n, &out);
            assert_true(out.len <= (stops_there ? first : n)); /* nothing is shown too early */
        }
        assert_int_equal(stopped, stops_there);
        assert_int_equal(out.len, stops_there ? first : n);
        assert_memory_equal(out.ptr ? out.ptr : "", text, out.len);
        buf_finish(&out);
        llm_text_destroy(&t);
    }
}

/* A character in pieces shows when it is whole. */
static void half_characters_are_held_back(void **state) {
    (void)state;
    llm_text *t = llm_text_create(NULL, 0);
    buf out = {0};
    assert_false(llm_text_put(t, STR("a\xe4\xbd")));
    assert_int_equal(llm_text_take(t, false, &out), 0);
    assert_true(str_eq(buf_str(&out), STR("a")));
    assert_false(llm_text_put(t, STR("\xa0!")));
    llm_text_take(t, false, &out);
    assert_true(str_eq(buf_str(&out), STR("a\xe4\xbd\xa0!")));
    assert_false(llm_text_put(t, STR("\xff")));
    llm_text_take(t, false, &out);
    assert_true(str_ends(buf_str(&out), STR("!\xef\xbf\xbd")));
    assert_false(llm_text_put(t, STR("\xf0\x9f")));
    llm_text_take(t, true, &out);
    assert_true(str_ends(buf_str(&out), STR("!\xef\xbf\xbd")));
    buf_finish(&out);
    llm_text_destroy(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(draws_follow_the_distribution),
        cmocka_unit_test(greedy_takes_the_first_of_the_largest),
        cmocka_unit_test(penalties_change_the_winner),
        cmocka_unit_test(a_seed_repeats_its_draws),
        cmocka_unit_test(text_ends_at_the_first_stop_string),
        cmocka_unit_test(half_characters_are_held_back),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
