/* http/addr: every form OLLAMA_HOST is seen in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "http/http.h"
#include <string.h>

static const struct {
    const char *text, *host;
    int port;
    bool tls;
} FORMS[] = {
    {"", "127.0.0.1", 11434, false},
    {"   ", "127.0.0.1", 11434, false},
    {"1.2.3.4", "1.2.3.4", 11434, false},
    {"1.2.3.4:", "1.2.3.4", 11434, false},
    {":1234", "127.0.0.1", 1234, false},
    {"example.com:1234", "example.com", 1234, false},
    {" example.com:1234\n", "example.com", 1234, false},
    {"\"1.2.3.4:80\"", "1.2.3.4", 80, false},
    {"'1.2.3.4:80'", "1.2.3.4", 80, false},
    {"\"", "\"", 11434, false},
    {"http://1.2.3.4", "1.2.3.4", 80, false},
    {"https://1.2.3.4", "1.2.3.4", 443, true},
    {"HTTPS://1.2.3.4:5", "1.2.3.4", 5, true},
    {"http://example.com:8080/some/path", "example.com", 8080, false},
    {"example.com/path", "example.com", 11434, false},
    {"example.com:56789/path", "example.com", 56789, false},
    {"0.0.0.0", "0.0.0.0", 11434, false},
    {"[::1]", "::1", 11434, false},
    {"[::1]:1337", "::1", 1337, false},
    {"[::]:0", "::", 0, false},
    {"::1", "::1", 11434, false},
    {"[::1", "::1", 11434, false},
    {"[", "127.0.0.1", 11434, false},
    {"[]:7", "127.0.0.1", 7, false},
    {"example.com:0", "example.com", 0, false},
    {"example.com:65535", "example.com", 65535, false},
    {"example.com:65536", "example.com", 11434, false},
    {"example.com:-1", "example.com", 11434, false},
    {"example.com:x", "example.com", 11434, false},
    {"example.com:99999999999999999999", "example.com", 11434, false},
    {"https://example.com:99999", "example.com", 11434, true},
};

static void test_forms(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT_OF(FORMS); i++) {
        http_addr a = http_addr_parse(FORMS[i].text, 11434);
        print_message("%s\n", FORMS[i].text);
        assert_string_equal(a.host, FORMS[i].host);
        assert_int_equal(a.port, FORMS[i].port);
        assert_int_equal(a.tls, FORMS[i].tls);
        assert_false(a.off);
    }
}

static void test_off_and_null(void **state) {
    (void)state;
    assert_true(http_addr_parse("off", 1).off);
    assert_true(http_addr_parse(" OFF ", 1).off);
    assert_false(http_addr_parse("off:1", 1).off);
    http_addr a = http_addr_parse(NULL, 77);
    assert_string_equal(a.host, "127.0.0.1");
    assert_int_equal(a.port, 77);
}

static void test_long_host_is_cut(void **state) {
    (void)state;
    char text[2000];
    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    http_addr a = http_addr_parse(text, 5);
    assert_int_equal(strlen(a.host), sizeof a.host - 1);
    assert_int_equal(a.port, 5);
}

static void check_url(const char *text, const char *want) {
    http_addr a = http_addr_parse(text, 11434);
    char url[400];
    http_addr_url(&a, url, sizeof url);
    assert_string_equal(url, want);
}

static void test_url(void **state) {
    (void)state;
    check_url("", "http://127.0.0.1:11434");
    check_url("0.0.0.0", "http://127.0.0.1:11434");
    check_url("[::]:5", "http://127.0.0.1:5");
    check_url("[::1]:5", "http://[::1]:5");
    check_url("https://example.com", "https://example.com:443");
    http_addr a = http_addr_parse("example.com", 1);
    char small[8]; /* cut, never beyond its end */
    http_addr_url(&a, small, sizeof small);
    assert_string_equal(small, "http://");
}

static void test_loopback(void **state) {
    (void)state;
    static const struct {
        const char *text;
        bool loopback;
    } cases[] = {{"", true},
                 {"127.0.0.1", true},
                 {"127.9.9.9", true},
                 {"[::1]", true},
                 {"LocalHost", true},
                 {"0.0.0.0", false},
                 {"[::]", false},
                 {"10.0.0.1", false},
                 {"1270.0.0.1", false},
                 {"localhost.evil.com", false}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        http_addr a = http_addr_parse(cases[i].text, 1);
        print_message("%s\n", cases[i].text);
        assert_int_equal(http_addr_is_loopback(&a), cases[i].loopback);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_forms),
                                       cmocka_unit_test(test_off_and_null),
                                       cmocka_unit_test(test_long_host_is_cut),
                                       cmocka_unit_test(test_url), cmocka_unit_test(test_loopback)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
