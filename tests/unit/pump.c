/* The pump: a held source does not run, a let-go one runs once for many wakes and may free itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "api/pump.h"
#include "base/mem.h"
#include <stdatomic.h>
#include <unistd.h>

static _Atomic int n_runs;

static void count(pump_source *s) {
    (void)s;
    n_runs++;
}

static void count_and_free(pump_source *s) {
    n_runs++;
    mem_free(s);
}

static void wait_for_runs(int n) {
    for (int i = 0; i < 5000 && n_runs < n; i++) usleep(1000);
}

static void test_held(void **state) {
    (void)state;
    pump *p = pump_create();
    pump_source held, other;
    n_runs = 0;
    pump_hold(&held, count);
    pump_wake(p, &held);
    pump_wake(p, &held);
    pump_hold(&other, count);
    pump_let_go(p, &other); /* the queue is served: `held` would have been before it */
    wait_for_runs(1);
    assert_int_equal(n_runs, 1);
    pump_let_go(p, &held);
    wait_for_runs(2);
    assert_int_equal(n_runs, 2);
    pump_forget(p, &held);
    pump_forget(p, &other);
    pump_destroy(&p);
}

static void test_gone_once_let_go(void **state) {
    (void)state;
    pump *p = pump_create();
    n_runs = 0;
    for (int i = 0; i < 200; i++) {
        pump_source *s = NEW(pump_source);
        pump_hold(s, count_and_free);
        pump_let_go(p, s); /* not touched after this: the sanitizers would tell */
    }
    wait_for_runs(200);
    assert_int_equal(n_runs, 200);
    pump_destroy(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_held),
                                       cmocka_unit_test(test_gone_once_let_go)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
