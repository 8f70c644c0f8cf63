/* The thread pool: every chunk once, phases in order, memory visible between them. Run it under
 * the thread sanitizer too: make SAN=-fsanitize=thread BUILD=build/tsan build/tsan/tests/... */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "os/pool.h"
#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

enum { CELLS = 97 };

typedef struct job {
    int32_t n_phases, phase;
    int32_t n_chunks;
    int64_t cells[CELLS]; /* plain memory: chunk i of a phase writes cell i */
    int64_t sums[CELLS];
    _Atomic int32_t runs[CELLS];
    _Atomic int32_t n_in_next;
    int32_t n_threads;
    bool dawdle;
} job;

static void run_chunk(void *arg, int32_t thread, int32_t chunk) {
    job *j = arg;
    assert_in_range(thread, 0, j->n_threads - 1);
    assert_in_range(chunk, 0, j->n_chunks - 1);
    atomic_fetch_add(&j->runs[chunk], 1);
    /* reads its neighbours' cells of the phase before, writes its own for the next */
    int64_t left = j->cells[(chunk + CELLS - 1) % CELLS], right = j->cells[(chunk + 1) % CELLS];
    j->sums[chunk] = left + right + 1;
    if (j->dawdle && chunk % 13 == 0) nanosleep(&(struct timespec){0, 300000}, NULL);
}

static int32_t next_phase(void *arg, int32_t thread) {
    job *j = arg;
    (void)thread;
    assert_int_equal(atomic_fetch_add(&j->n_in_next, 1), 0);
    for (int32_t i = 0; i < j->n_chunks; i++) assert_int_equal(atomic_exchange(&j->runs[i], 0), 1);
    memcpy(j->cells, j->sums, sizeof j->cells);
    j->n_chunks = j->phase < j->n_phases ? 1 + j->phase * 7 % CELLS : 0;
    j->phase++;
    atomic_fetch_sub(&j->n_in_next, 1);
    return j->n_chunks;
}

static void simulate(int32_t n_phases, int64_t cells[CELLS]) {
    int64_t sums[CELLS] = {0};
    memset(cells, 0, sizeof sums);
    for (int32_t p = 0; p < n_phases; p++) {
        for (int32_t i = 0; i < 1 + p * 7 % CELLS; i++)
            sums[i] = cells[(i + CELLS - 1) % CELLS] + cells[(i + 1) % CELLS] + 1;
        memcpy(cells, sums, sizeof sums);
    }
}

static void one(pool *p, int32_t n_phases, bool dawdle) {
    job j = {.n_phases = n_phases, .n_threads = pool_n_threads(p), .dawdle = dawdle};
    int64_t want[CELLS];
    pool_run(p, &(pool_job){.run_chunk = run_chunk, .next_phase = next_phase, .arg = &j});
    simulate(n_phases, want);
    assert_memory_equal(j.cells, want, sizeof want);
    assert_int_equal(j.phase, n_phases + 1);
}

static void test_phases(void **state) {
    (void)state;
    static const int64_t spins[] = {0, 2000, 50000};
    for (size_t s = 0; s < COUNT_OF(spins); s++)
        for (int32_t n = 1; n <= 5; n++) {
            pool *p = pool_create(n, spins[s]);
            assert_int_equal(pool_n_threads(p), n);
            for (int32_t k = 0; k < 40; k++) one(p, k, false);
            one(p, 12, true);
            pool_destroy(&p);
            assert_null(p);
        }
}

static void test_many_short_jobs(void **state) {
    (void)state;
    pool *p = pool_create(3, 1000);
    for (int32_t k = 0; k < 3000; k++) one(p, k % 3, false);
    pool_destroy(&p);
}

static void test_create_and_destroy(void **state) {
    (void)state;
    for (int k = 0; k < 50; k++) {
        pool *p = pool_create(4, k % 2 ? 0 : 10000);
        if (k % 3) one(p, 2, false);
        pool_destroy(&p);
    }
    pool *none = NULL;
    pool_destroy(&none);
    pool_destroy(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_phases),
        cmocka_unit_test(test_many_short_jobs),
        cmocka_unit_test(test_create_and_destroy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
