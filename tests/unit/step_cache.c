/* Step caching on outputs whose change is known. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "diffusion/step_cache.h"
#include <math.h>
#include <string.h>

enum { N = 2, C = 3, SIDE = 9, LEN = C * SIDE * SIDE, STRIDE = LEN + 5 };

static float x[N * STRIDE], dense[N * LEN], out[N * LEN];

/* One evaluation of out = 3 x at level v, as the network's caller does it; says whether it was
 * saved. */
static bool evaluate(step_cache *c, float v, double sigma) {
    for (int b = 0; b < N; b++)
        for (int i = 0; i < STRIDE; i++) x[b * STRIDE + i] = v;
    for (int i = 0; i < N * LEN; i++) dense[i] = v;
    step_cache_begin(c, dense, 1, sigma);
    bool saved = step_cache_apply(c, x, x, STRIDE, LEN, out);
    if (!saved) {
        for (int i = 0; i < N * LEN; i++) out[i] = 3 * v;
        step_cache_keep(c, x, x, STRIDE, LEN, out);
    }
    step_cache_end(c);
    return saved;
}

static step_cache *open_cache(arena *a, double threshold) {
    step_cache_params p = {STEP_CACHE_EASY, threshold, 0.1, 0.9};
    step_cache_shape s = {N, C, SIDE, SIDE, 10, 1};
    return step_cache_create(a, &p, &s);
}

static void test_saves_by_the_rule(void **state) {
    (void)state;
    arena *a = arena_create(0);
    step_cache *c = open_cache(a, 0.25);
    assert_false(evaluate(c, 120, 11)); /* before the start: not even remembered */
    assert_false(evaluate(c, 100, 10)); /* the first */
    assert_false(evaluate(c, 98, 9));   /* now the factor is known: 3; norm 294 */
    assert_true(evaluate(c, 90, 8));    /* 3 * 8 / 294 = 0.08 */
    for (int i = 0; i < N * LEN; i++) assert_true(fabsf(out[i] - (90 + 2 * 98)) < 1e-4f);
    assert_true(evaluate(c, 82, 7));  /* + 3 * 16 / 294 = 0.245: against what was computed last */
    assert_false(evaluate(c, 80, 6)); /* + 0.18: too much */
    assert_true(evaluate(c, 79, 5));  /* the sum starts again */
    assert_false(evaluate(c, 79, 1)); /* past the end */
    arena_destroy(&a);
}

static void test_saves_nothing_that_it_does_not_know(void **state) {
    (void)state;
    arena *a = arena_create(0);
    step_cache *c = open_cache(a, 0);
    for (int i = 0; i < 6; i++) assert_false(evaluate(c, 100, 9)); /* threshold 0; no change */
    c = open_cache(a, 3);
    for (int i = 0; i < 3; i++) evaluate(c, 100 - (float)i, 9);
    step_cache_begin(c, dense, 1, 8);
    assert_true(step_cache_apply(c, x, x, STRIDE, LEN, out));
    assert_false(step_cache_apply(c, out, x, STRIDE, LEN, out));   /* another conditioning */
    assert_false(step_cache_apply(c, x, x, STRIDE, LEN - 9, out)); /* another area */
    step_cache_end(c);
    c = open_cache(a, 3);
    for (int i = 0; i < 4; i++) assert_false(evaluate(c, NAN, 9));
    arena_destroy(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_saves_by_the_rule),
        cmocka_unit_test(test_saves_nothing_that_it_does_not_know),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
