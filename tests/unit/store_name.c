/* store/name: what is a model name, and that none of them leaves the store. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store/name.h"
#include <string.h>

static const struct {
    const char *text, *full, *display;
} VALID[] = {
    {"smollm2", "registry.ollama.ai/library/smollm2:latest", "smollm2:latest"},
    {"smollm2:135m", "registry.ollama.ai/library/smollm2:135m", "smollm2:135m"},
    {"user/model", "registry.ollama.ai/user/model:latest", "user/model:latest"},
    {"library/model:x", "registry.ollama.ai/library/model:x", "model:x"},
    {"hf.co/user/repo-GGUF:Q4_K_M", "hf.co/user/repo-GGUF:Q4_K_M", "hf.co/user/repo-GGUF:Q4_K_M"},
    {"localhost:5000/ns/m:t", "localhost:5000/ns/m:t", "localhost:5000/ns/m:t"},
    {"localhost:5000/ns/m", "localhost:5000/ns/m:latest", "localhost:5000/ns/m:latest"},
    {"https://registry.ollama.ai/library/m", "registry.ollama.ai/library/m:latest", "m:latest"},
    {"http://h/n/m", "h/n/m:latest", "h/n/m:latest"},
    {"Registry.Ollama.AI/Library/M", "Registry.Ollama.AI/Library/M:latest", "M:latest"},
    {"_m", "registry.ollama.ai/library/_m:latest", "_m:latest"},
    {"m.1-2_3:v1.0", "registry.ollama.ai/library/m.1-2_3:v1.0", "m.1-2_3:v1.0"},
    {"m..", "registry.ollama.ai/library/m..:latest", "m..:latest"}, /* a file of that name */
    {"1", "registry.ollama.ai/library/1:latest", "1:latest"},
};

static const char *const INVALID[] = {
    "",
    " ",
    ":",
    ":tag",
    "m:",
    "/",
    "/m",
    "m/",
    "//m",
    "a//m",
    "h/a//m",
    "/a/m",
    "a/b/c/d",
    "..",
    "../m",
    "../../etc/passwd",
    "a/../m",
    "m:..",
    "m:../x",
    "m:.hidden",
    ".m",
    ".n/m",
    "h/../m",
    "../n/m",
    "h/n/..",
    "~/m",
    "C:\\m",
    "m\\n",
    "m n",
    " m",
    "m ",
    "m\n",
    "m\t",
    "-m",
    "m:-t",
    "-n/m",
    "n.s/m",
    "h/n.s/m",
    "m:a:b",
    "n:1/m",
    "h/n:1/m",
    "m@sha256:abc",
    "m%2e%2e",
    "m%00",
    "mod\xC3\xA9l",
    "\xE6\xA8\xA1",
    "m\xFF",
    "m?x",
    "m#x",
    "m*",
    "m;rm",
    "$m",
    "http://",
    "https://m:",
    "http://https://m",
    "ftp://m",
    "m'",
    "\"m\"",
};

static void test_valid(void **state) {
    (void)state;
    arena *a = arena_create(0);
    for (size_t i = 0; i < COUNT_OF(VALID); i++) {
        store_name n;
        print_message("%s\n", VALID[i].text);
        assert_true(store_name_parse(a, str_from(VALID[i].text), &n));
        assert_string_equal(str_cstr(a, store_name_full(a, &n)), VALID[i].full);
        assert_string_equal(str_cstr(a, store_name_display(a, &n)), VALID[i].display);
        store_name again; /* what is shown names the same model */
        assert_true(store_name_parse(a, store_name_display(a, &n), &again));
        assert_true(str_eq_nocase(store_name_full(a, &again), store_name_full(a, &n)));
    }
    arena_destroy(&a);
}

static void test_invalid(void **state) {
    (void)state;
    arena *a = arena_create(0);
    for (size_t i = 0; i < COUNT_OF(INVALID); i++) {
        store_name n;
        print_message("%s\n", INVALID[i]);
        assert_false(store_name_parse(a, str_from(INVALID[i]), &n));
    }
    store_name n;
    assert_false(store_name_parse(a, STR("m\0x"), &n));
    assert_false(store_name_parse(a, STR("m:t\0"), &n));
    assert_false(store_name_parse(a, (str){0}, &n));
    arena_destroy(&a);
}

static str repeated(arena *a, const char *before, size_t n, const char *after) {
    char *middle = arena_alloc(a, n + 1);
    memset(middle, 'x', n);
    middle[n] = '\0';
    return str_fmt(a, "%s%s%s", before, middle, after);
}

static void test_lengths(void **state) {
    (void)state;
    static const struct {
        const char *before, *after;
        size_t max;
    } parts[] = {{"", "", 80}, {"m:", "", 80}, {"", "/m", 80}, {"", "/n/m", 350}};
    arena *a = arena_create(0);
    for (size_t i = 0; i < COUNT_OF(parts); i++) {
        store_name n;
        str longest = repeated(a, parts[i].before, parts[i].max, parts[i].after);
        str longer = repeated(a, parts[i].before, parts[i].max + 1, parts[i].after);
        assert_true(store_name_parse(a, longest, &n));
        assert_false(store_name_parse(a, longer, &n));
    }
    store_name n;
    assert_false(store_name_parse(a, repeated(a, "", 1 << 20, ""), &n));
    arena_destroy(&a);
}

/* Every two-byte tail on a name: whatever is accepted stays four plain path components. */
static void test_paths_stay_below(void **state) {
    (void)state;
    arena *a = arena_create(0);
    size_t n_valid = 0;
    for (int i = 0; i < 65536; i++) {
        char text[] = "a/b/c:dXY";
        text[7] = (char)(i >> 8);
        text[8] = (char)i;
        for (int where = 0; where < 2; where++) {
            store_name n;
            str s = where ? (str){text + 7, 2} : (str){text, 9};
            if (!store_name_parse(a, s, &n)) continue;
            n_valid++;
            str path = store_name_path(a, &n);
            int slashes = 0;
            for (size_t k = 0; k < path.len; k++) {
                assert_true(path.ptr[k] > ' ' && path.ptr[k] < 127);
                slashes += path.ptr[k] == '/';
                if (path.ptr[k] == '/') assert_true(path.ptr[k + 1] != '.');
            }
            assert_int_equal(slashes, 3);
        }
        arena_reset(a);
    }
    assert_true(n_valid > 4000);
    arena_destroy(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_valid), cmocka_unit_test(test_invalid),
                                       cmocka_unit_test(test_lengths),
                                       cmocka_unit_test(test_paths_stay_below)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
