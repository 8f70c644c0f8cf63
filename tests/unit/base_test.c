/* base/: arenas, strings, UTF-8, maps, numbers, durations, random numbers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/checked.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/map.h"
#include "base/rng.h"
#include "base/value.h"
#include "base/vec.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

static int cleanup_order[3], n_cleanups;

static void note(void *arg) { cleanup_order[n_cleanups++] = *(int *)arg; }

static void test_arena(void **state) {
    (void)state;
    CLEANUP(arena_destroy) arena *a = arena_create(64);
    char *first = arena_alloc(a, 10);
    assert_int_equal((uintptr_t)first % 16, 0);
    memset(first, 'x', 10);
    char *large = arena_zalloc(a, 100000);
    for (int i = 0; i < 100000; i++) assert_int_equal(large[i], 0);
    assert_int_equal(first[9], 'x');
    static int ids[3] = {1, 2, 3};
    n_cleanups = 0;
    for (int i = 0; i < 3; i++) arena_defer(a, note, &ids[i]);
    assert_true(arena_bytes(a) >= 100000);
    arena_reset(a);
    assert_int_equal(n_cleanups, 3);
    assert_int_equal(cleanup_order[0], 3); /* last one first */
    assert_int_equal(cleanup_order[2], 1);
    assert_int_equal(arena_bytes(a), 64);
}

static void test_str(void **state) {
    (void)state;
    assert_true(str_starts(STR("hello"), STR("he")));
    assert_false(str_starts(STR("h"), STR("he")));
    assert_true(str_ends(STR("hello"), STR("lo")));
    assert_int_equal(str_find(STR("abcabc"), STR("ca")), 2);
    assert_int_equal(str_find(STR("abc"), STR("abcd")), -1);
    assert_int_equal(str_find(STR(""), STR("")), 0);
    assert_true(str_cmp(STR("a"), STR("ab")) < 0);
    assert_true(str_eq_nocase(STR("AbC"), STR("aBc")));
    assert_true(str_eq(str_trim(STR(" \t x y\r\n")), STR("x y")));
    str rest = STR("a:b:c");
    assert_true(str_eq(str_cut(&rest, ':'), STR("a")));
    assert_true(str_eq(rest, STR("b:c")));
    rest = STR("none");
    assert_true(str_eq(str_cut(&rest, ':'), STR("none")));
    assert_null(rest.ptr);
    assert_true(str_eq(str_sub(STR("hello"), 1, 99), STR("ello")));
    assert_int_equal(str_sub(STR("hello"), 9, 3).len, 0);
}

static void test_numbers(void **state) {
    (void)state;
    int64_t i;
    assert_true(str_to_i64(STR("-9223372036854775808"), &i) && i == INT64_MIN);
    assert_false(str_to_i64(STR("9223372036854775808"), &i));
    assert_false(str_to_i64(STR(" 1"), &i));
    assert_false(str_to_i64(STR("1x"), &i));
    assert_false(str_to_i64(STR(""), &i));
    double d;
    assert_true(str_to_f64(STR("1e3"), &d) && fabs(d - 1000) < 1e-9);
    assert_false(str_to_f64(STR("inf"), &d));
    assert_false(str_to_f64(STR("nan"), &d));
    assert_false(str_to_f64(STR("1e999"), &d));
    uint64_t u = 7;
    assert_false(checked_add(UINT64_MAX, 1, &u));
    assert_false(checked_mul(UINT64_C(1) << 33, UINT64_C(1) << 31, &u));
    assert_false(checked_align(UINT64_MAX - 3, 32, &u));
    assert_int_equal(u, 7);
    assert_true(checked_align(33, 32, &u) && u == 64);
}

static void test_utf8(void **state) {
    (void)state;
    static const struct {
        const char *text;
        bool ok;
    } cases[] = {
        {"", true},           {"abc", true},         {"\xC3\xA9", true},
        {"\xF0\x9F\x98\x80", true}, {"\xC0\x80", false},   {"\xED\xA0\x80", false},
        {"\xF4\x90\x80\x80", false}, {"\xE2\x82", false},   {"\x80", false},
        {"\xF5\x80\x80\x80", false}, {"\xE0\x9F\xBF", false}, {"a\xFF", false},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        assert_int_equal(str_is_utf8(str_from(cases[i].text)), cases[i].ok);
    assert_int_equal(str_utf8_partial(STR("a\xE2\x82")), 2);
    assert_int_equal(str_utf8_partial(STR("a\xE2\x82\xAC")), 0);
    assert_int_equal(str_utf8_partial(STR("\xF0\x9F\x98")), 3);
    assert_int_equal(str_utf8_partial(STR("\x80\x80")), 0);
    for (uint32_t c = 0; c < 0x110000; c += 7) {
        if (c >= 0xD800 && c < 0xE000) continue;
        char text[4];
        size_t n = str_utf8_put(text, c), pos = 0;
        assert_int_equal(str_utf8_next((str){text, n}, &pos), c);
        assert_int_equal(pos, n);
    }
    size_t pos = 0;
    assert_int_equal(str_utf8_next(STR("\xFFz"), &pos), 0xFFFD);
    assert_int_equal(pos, 1);
}

static void test_buf_vec(void **state) {
    (void)state;
    buf b = {0};
    for (int i = 0; i < 1000; i++) buf_putf(&b, "%d,", i);
    assert_int_equal(b.len, 10 * 2 + 90 * 3 + 900 * 4);
    buf_drop_front(&b, 2);
    assert_int_equal(b.ptr[0], '1');
    buf_clear(&b);
    buf_put_utf8(&b, 0x20AC);
    assert_string_equal(buf_cstr(&b), "\xE2\x82\xAC");
    buf_finish(&b);
    VEC(int) v = {0};
    for (int i = 0; i < 100; i++) VEC_PUSH(v, i);
    VEC_REMOVE_AT(v, 50);
    assert_int_equal(v.len, 99);
    assert_int_equal(v.items[50], 51);
    VEC_FINISH(v);
}

static void test_map(void **state) {
    (void)state;
    map m = {0};
    CLEANUP(arena_destroy) arena *a = arena_create(0);
    assert_false(map_has(&m, STR("x")));
    for (int i = 0; i < 5000; i++) assert_true(map_put(&m, str_fmt(a, "key%d", i), i));
    assert_false(map_put(&m, STR("key17"), -17));
    int64_t v;
    for (int i = 0; i < 5000; i++) {
        assert_true(map_get(&m, str_fmt(a, "key%d", i), &v));
        assert_int_equal(v, i == 17 ? -17 : i);
    }
    assert_true(map_remove(&m, STR("key3")));
    assert_false(map_remove(&m, STR("key3")));
    assert_false(map_has(&m, STR("key3")));
    assert_true(map_get(&m, STR("key4999"), &v) && v == 4999);
    assert_true(str_eq(m.entries[3].key, STR("key4"))); /* insertion order */
    map_finish(&m);
}

static void test_clock(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int64_t ns;
    } good[] = {{"5m", 300 * NS_PER_S}, {"1h30m", 5400 * NS_PER_S}, {"-1s", -NS_PER_S},
                {"0", 0},               {"1.5s", 1500 * NS_PER_MS}, {"300ms", 300 * NS_PER_MS},
                {"2us", 2000},          {"\xC2\xB5s", -1},          {"+3ns", 3}};
    int64_t ns;
    for (size_t i = 0; i < COUNT_OF(good); i++) {
        bool ok = clock_parse_go(str_from(good[i].text), &ns);
        assert_int_equal(ok, good[i].ns != -1);
        if (ok) assert_int_equal(ns, good[i].ns);
    }
    static const char *const bad[] = {"", "5", "-1", "m", "1x", "1h2", ".s", "--1s", "1 s"};
    for (size_t i = 0; i < COUNT_OF(bad); i++) assert_false(clock_parse_go(str_from(bad[i]), &ns));
    assert_true(clock_parse_go(STR("9999999999h"), &ns) && ns == INT64_MAX);
    char text[CLOCK_TEXT_BYTES];
    assert_string_equal(clock_rfc3339_utc(text, INT64_C(1700000000123400000)),
                        "2023-11-14T22:13:20.1234Z");
    assert_string_equal(clock_rfc3339_utc(text, 0), "1970-01-01T00:00:00Z");
}

static void test_err(void **state) {
    (void)state;
    err e = {0};
    assert_int_equal(err_set(&e, ERR_NOT_FOUND, "model '%s' not found", "x"), ERR_NOT_FOUND);
    assert_int_equal(err_wrap(&e, "loading"), ERR_NOT_FOUND);
    assert_string_equal(e.msg, "loading: model 'x' not found");
    assert_int_equal(err_http_status(ERR_BUSY), 503);
    for (int c = 0; c < ERR_CODE_COUNT; c++) assert_string_not_equal(err_name(c), "unknown");
    assert_int_equal(err_set(NULL, ERR_IO, "x"), ERR_IO);
}

static void test_rng(void **state) {
    (void)state;
    rng a, b;
    rng_init(&a, 42), rng_init(&b, 42);
    double sum = 0, sq = 0;
    int counts[10] = {0};
    for (int i = 0; i < 100000; i++) {
        assert_true(rng_u64(&a) == rng_u64(&b));
        double x = (double)rng_normal(&a);
        rng_normal(&b);
        sum += x, sq += x * x;
        counts[rng_below(&a, 10)]++;
        rng_below(&b, 10);
    }
    assert_true(fabs(sum / 1e5) < 0.02 && fabs(sq / 1e5 - 1) < 0.02);
    for (int i = 0; i < 10; i++) assert_in_range(counts[i], 9500, 10500);
}

static void test_value(void **state) {
    (void)state;
    CLEANUP(arena_destroy) arena *a = arena_create(0);
    value *m = value_map(a), *list = value_list(a);
    for (int i = 0; i < 20; i++) value_push(a, list, value_int(a, i));
    value_set(a, m, STR("list"), list);
    value_set(a, m, STR("x"), value_str(a, STR("1")));
    value_set(a, m, STR("x"), value_bool(a, true));
    assert_int_equal(m->as.map.len, 2);
    assert_int_equal(value_get(m, STR("list"))->as.list.items[19]->as.integer, 19);
    assert_int_equal(value_get(m, STR("x"))->kind, VALUE_BOOL);
    assert_null(value_get(m, STR("y")));
    assert_null(value_get(list, STR("y")));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arena), cmocka_unit_test(test_str),   cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_utf8),  cmocka_unit_test(test_buf_vec), cmocka_unit_test(test_map),
        cmocka_unit_test(test_clock), cmocka_unit_test(test_err),   cmocka_unit_test(test_rng),
        cmocka_unit_test(test_value),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
