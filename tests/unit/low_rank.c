/* Low-rank approximations: exact where the rank is there, the best ones where it is not. */
#include "diffusion/low_rank.h"
#include "base/mem.h"
#include "diffusion/noise.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
/* clang-format off */
#include <cmocka.h>
/* clang-format on */

/* The distance between a and up x down. */
static double distance(const low_rank_job *j) {
    double sum = 0;
    for (int64_t i = 0; i < j->m; i++)
        for (int64_t k = 0; k < j->n; k++) {
            double v = (double)j->a[i * j->n + k];
            for (int64_t r = 0; r < j->rank; r++)
                v -= (double)j->ret_up[i * j->rank + r] * (double)j->ret_down[r * j->n + k];
            sum += v * v;
        }
    return sqrt(sum);
}

static float *floats(size_t n, uint64_t seed) {
    float *v = mem_calloc(n, sizeof *v);
    noise_rng rng;
    noise_rng_seed(&rng, seed);
    noise_rng_normal(&rng, v, n);
    return v;
}

static void check_orthonormal(const low_rank_job *j) {
    for (int64_t a = 0; a < j->rank; a++)
        for (int64_t b = 0; b < j->rank; b++) {
            double dot = 0;
            for (int64_t k = 0; k < j->n; k++)
                dot += (double)j->ret_down[a * j->n + k] * (double)j->ret_down[b * j->n + k];
            if (a != b) assert_true(fabs(dot) < 1e-5);
        }
}

/* sum_r values[r] u_r v_r with orthonormal u and v: the best approximation leaves the rest. */
static void check(int64_t m, int64_t n, int64_t rank, const double *values, int64_t n_values) {
    enum { VALUES_MAX = 6 };
    float *u = floats((size_t)(m * VALUES_MAX), 1), *v = floats((size_t)(n * VALUES_MAX), 2);
    float *side[2] = {u, v};
    for (int s = 0; s < 2; s++) /* rows made orthonormal */
        for (int64_t r = 0; r < n_values; r++) {
            int64_t len = s ? n : m;
            float *x = side[s] + r * len;
            double square = 0;
            for (int64_t q = 0; q < r; q++) {
                double dot = 0;
                for (int64_t i = 0; i < len; i++)
                    dot += (double)x[i] * (double)side[s][q * len + i];
                for (int64_t i = 0; i < len; i++) x[i] -= (float)dot * side[s][q * len + i];
            }
            for (int64_t i = 0; i < len; i++) square += (double)x[i] * (double)x[i];
            for (int64_t i = 0; i < len; i++) x[i] /= (float)sqrt(square);
        }
    float *a = mem_calloc((size_t)(m * n), sizeof *a);
    for (int64_t r = 0; r < n_values; r++)
        for (int64_t i = 0; i < m; i++)
            for (int64_t k = 0; k < n; k++)
                a[i * n + k] += (float)values[r] * u[r * m + i] * v[r * n + k];
    float *up = mem_calloc((size_t)(m * rank), sizeof *up),
          *down = mem_calloc((size_t)(n * rank), sizeof *down);
    low_rank_job j = {a, m, n, rank, up, down};
    low_rank(&j);
    double rest = 0;
    for (int64_t r = rank; r < n_values; r++) rest += values[r] * values[r];
    assert_true(fabs(distance(&j) - sqrt(rest)) < 1e-4 * values[0] * (double)(m + n) / 10);
    check_orthonormal(&j);
    float *all[] = {u, v, a, up, down};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) mem_free(all[i]);
}

static void test_ranks(void **state) {
    (void)state;
    static const double VALUES[] = {9, 4, 3.5, 1, 0.5, 0.01};
    check(40, 70, 6, VALUES, 6); /* all of it */
    check(40, 70, 2, VALUES, 6);
    check(70, 40, 3, VALUES, 6);
    check(30, 30, 1, VALUES, 3);
    check(12, 90, 12, VALUES, 4); /* more than there is */
    check(1, 20, 1, VALUES, 1);
    check(20, 1, 1, VALUES, 1);
}

/* Nothing stays nothing. */
static void test_zeros(void **state) {
    (void)state;
    float a[20] = {0}, up[8], down[10];
    low_rank(&(low_rank_job){a, 4, 5, 2, up, down});
    for (int i = 0; i < 8; i++) assert_float_equal(up[i], 0, 0);
    for (int i = 0; i < 10; i++) assert_float_equal(down[i], 0, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ranks),
        cmocka_unit_test(test_zeros),
    };
    return cmocka_run_group_tests_name("low_rank", tests, NULL, NULL);
}
