/* net/: which hosts may be asked, which addresses are public, when a proxy is used. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "net/net_impl.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

static net_target target(const char *url) {
    net_target t;
    err e = {0};
    if (net_target_parse(str_from(url), &t, &e)) fail_msg("%s: %s", url, e.msg);
    return t;
}

static net_verdict judge(const char *hosts, const char *url, const char *home) {
    net_target t = target(url);
    return net_policy(hosts, &t, str_from(home));
}

static void test_table(void **state) {
    (void)state;
    static const struct {
        const char *hosts, *url, *home;
        net_verdict want;
    } CASES[] = {
        {"", "https://registry.ollama.ai/v2/x", "registry.ollama.ai", NET_PUBLIC},
        {"", "https://REGISTRY.ollama.AI./v2/x", "registry.ollama.ai", NET_PUBLIC},
        {"", "https://abc.r2.cloudflarestorage.com/x", "registry.ollama.ai", NET_PUBLIC},
        {"", "https://r2.cloudflarestorage.com.evil.example/x", "registry.ollama.ai", NET_REFUSED},
        {"", "https://cdn-lfs.hf.co/x", "huggingface.co", NET_PUBLIC},
        {"", "https://cdn-lfs.hf.co/x", "registry.ollama.ai", NET_REFUSED},
        {"", "https://evilhf.co/x", "hf.co", NET_REFUSED},
        {"", "https://registry.ollama.ai:8443/x", "registry.ollama.ai", NET_REFUSED},
        {"", "https://models.example/x", "models.example", NET_REFUSED},
        {"models.example", "https://models.example:5000/x", "models.example:5000", NET_ANY},
        {"models.example:5000", "https://models.example/x", "models.example", NET_REFUSED},
        {"models.example:5000", "http://models.example:5000/x", "models.example:5000", NET_ANY},
        {" a , *.corp.example ", "https://x.corp.example/", "x.corp.example", NET_ANY},
        {"*.corp.example", "https://corp.example/", "corp.example", NET_REFUSED},
        {"*.corp.example", "https://evilcorp.example/", "evilcorp.example", NET_REFUSED},
        {"*", "https://anything.example/", "anything.example", NET_PUBLIC},
        {"[::1]:5000", "http://[::1]:5000/", "[::1]:5000", NET_ANY},
        {"[::1]:5000", "http://[::1]:5001/", "[::1]:5001", NET_REFUSED},
        {"127.0.0.1", "http://127.0.0.1:9/", "127.0.0.1:9", NET_ANY},
    };
    for (size_t i = 0; i < COUNT_OF(CASES); i++)
        if (judge(CASES[i].hosts, CASES[i].url, CASES[i].home) != CASES[i].want)
            fail_msg("%s with \"%s\"", CASES[i].url, CASES[i].hosts);
}

static bool is_public(const char *text) {
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    struct sockaddr_storage s = {0};
    if (inet_pton(AF_INET, text, &v4.sin_addr) == 1)
        memcpy(&s, &v4, sizeof v4);
    else if (inet_pton(AF_INET6, text, &v6.sin6_addr) == 1)
        memcpy(&s, &v6, sizeof v6);
    else
        fail_msg("%s is no address", text);
    return net_addr_is_public((const struct sockaddr *)&s);
}

static void test_addresses(void **state) {
    (void)state;
    static const char *const CLOSED[] = {
        "0.0.0.0",
        "10.1.2.3",
        "127.0.0.1",
        "127.255.255.254",
        "100.64.0.1",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "192.0.2.1",
        "198.18.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "fc00::1",
        "fd12:3456::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "2001:db8::1",
        "::127.0.0.1",
    };
    static const char *const OPEN[] = {"1.1.1.1",         "8.8.8.8",        "172.32.0.1",
                                       "172.15.0.1",      "100.128.0.1",    "192.169.0.1",
                                       "2606:4700::1111", "::ffff:8.8.8.8", "2002:808:808::"};
    for (size_t i = 0; i < COUNT_OF(CLOSED); i++)
        if (is_public(CLOSED[i])) fail_msg("%s counts as public", CLOSED[i]);
    for (size_t i = 0; i < COUNT_OF(OPEN); i++)
        if (!is_public(OPEN[i])) fail_msg("%s counts as private", OPEN[i]);
}

/* Spellings of addresses that a parser of its own would overlook. */
static void test_literals(void **state) {
    (void)state;
    static const char *const URLS[] = {
        "http://127.1/",      "http://2130706433/",      "http://0x7f.1/",
        "http://0177.0.0.1/", "http://[::ffff:7f00:1]/", "http://localhost/",
        "http://LOCALHOST./", "http://a.localhost/",     "http://169.254.169.254/"};
    for (size_t i = 0; i < COUNT_OF(URLS); i++) {
        net_target t = target(URLS[i]);
        if (!net_host_is_private(t.host)) fail_msg("%s is %s", URLS[i], t.host);
    }
    static const char *const BAD[] = {
        "",           "ftp://a/", "file:///etc/passwd", "https://u:p@a/",
        "gopher://a", "https://", "not a url"};
    for (size_t i = 0; i < COUNT_OF(BAD); i++) {
        net_target t;
        err e;
        if (net_target_parse(str_from(BAD[i]), &t, &e) == ERR_OK &&
            strcmp(BAD[i], "not a url") != 0)
            fail_msg("\"%s\" was taken", BAD[i]);
    }
}

static void test_proxies(void **state) {
    (void)state;
    net_config c = {.https_proxy = "http://p:1",
                    .http_proxy = "http://p:2",
                    .no_proxy = "inner.example, .corp.example,10.0.0.1:5000"};
    static const struct {
        const char *url, *want;
    } CASES[] = {
        {"https://a.example/", "http://p:1"},
        {"http://a.example/", "http://p:2"},
        {"https://inner.example/", NULL},
        {"https://x.inner.example/", NULL},
        {"https://notinner.example/", "http://p:1"},
        {"https://x.corp.example/", NULL},
        {"http://10.0.0.1:5000/", NULL},
        {"http://10.0.0.1:5001/", "http://p:2"},
        {"http://localhost:3/", NULL},
        {"http://127.0.0.1/", NULL},
    };
    for (size_t i = 0; i < COUNT_OF(CASES); i++) {
        net_target t = target(CASES[i].url);
        const char *got = net_proxy_for(&c, &t);
        if (!got != !CASES[i].want || (got && strcmp(got, CASES[i].want) != 0))
            fail_msg("%s goes through %s", CASES[i].url, got ? got : "none");
    }
    net_target t = target("https://a.example/");
    c.no_proxy = "*";
    assert_null(net_proxy_for(&c, &t));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_literals),
        cmocka_unit_test(test_proxies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
