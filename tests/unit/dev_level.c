/* The level that the device picks, and its tables: what is overlaid, and that nothing else is run
 * to fill them in. tools/test-cpus runs this on emulated processors: `dev_level "plain C"`. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dev/dev.h"
#include "kern/kern_gemm.h"
#include "kern/kern_mat.h"
#include "kern/kern_vec.h"
#include <string.h>

static const char *wanted; /* NULL = any */

static void test_device(void **state) {
    (void)state;
    err e = {0};
    dev *d = NULL;
    dev_info info;
    assert_int_equal(dev_cpu_create(&(dev_cpu_params){.n_threads = 2}, &d, &e), ERR_OK);
    dev_get_info(d, &info);
    print_message("%s\n", info.description);
    assert_non_null(strstr(info.description, kern_level_name(kern_level_best())));
    if (wanted) assert_string_equal(kern_level_name(kern_level_best()), wanted);
    dev_destroy(&d);
}

static void test_tables(void **state) {
    (void)state;
    const kern_gemm *plain = kern_gemm_get(KERN_LEVEL_REF);
    assert_true(kern_level_usable(KERN_LEVEL_REF));
    for (int i = KERN_LEVEL_REF; i < KERN_LEVEL_COUNT; i++) {
        kern_level level = (kern_level)i;
        if (!kern_level_usable(level)) continue;
        assert_true(level <= kern_level_best());
        const kern_gemm *gemm = kern_gemm_get(level);
        assert_non_null(kern_mat_get(level));
        assert_non_null(kern_vec_get(level));
        bool is_plain = gemm->mul == plain->mul;
        assert_true(is_plain == (level == KERN_LEVEL_REF));
    }
}

int main(int argc, char **argv) {
    wanted = argc > 1 ? argv[1] : NULL;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_device),
        cmocka_unit_test(test_tables),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
