/* http/guard: foreign hosts and origins are turned away before any handler runs. */
#include "http_rig.h"

static int n_handled;

static void count(http_request *r, void *ctx) {
    (void)ctx;
    n_handled++;
    http_reply_text(r, 200, "ok");
}

static const http_route ROUTES[] = {{"GET", "/a", count, NULL}, {"POST", "/a", count, NULL}};

static void exchange(const char *method, const char *headers, rig_reply *r) {
    char head[2000];
    snprintf(head, sizeof head, "%s /a HTTP/1.1\r\n%s\r\n", method, headers);
    n_handled = 0;
    rig_exchange(head, (str){0}, r);
    print_message("%s\n", head);
}

static void check_host(const char *host, int want) {
    char header[600];
    snprintf(header, sizeof header, "Host: %s", host);
    rig_reply r;
    exchange("GET", header, &r);
    assert_int_equal(r.status, want);
    assert_int_equal(n_handled, want == 200);
    if (want == 403) assert_int_equal(r.body.len, 0);
    rig_reply_finish(&r);
}

static void test_host(void **state) {
    (void)state;
    static const char *const good[] = {
        "localhost",   "LOCALHOST:11434", "127.0.0.1",     "127.0.0.1:1",    "127.1.2.3",
        "10.0.0.8:80", "192.168.1.1",     "172.16.0.1",    "172.31.255.255", "0.0.0.0",
        "[::1]",       "[::1]:11434",     "[fd00::1]",     "[::]",           "::1",
        "box.local",   "x.internal:5",    "app.localhost", "Box.Local"};
    static const char *const bad[] = {"evil.com",
                                      "localhost.evil.com",
                                      "evil.com:11434",
                                      "127.0.0.1.evil.com",
                                      "8.8.8.8",
                                      "172.32.0.1",
                                      "172.15.0.1",
                                      "192.169.0.1",
                                      "11.0.0.1",
                                      "[2001:db8::1]",
                                      "local",
                                      "evillocal",
                                      "127.0.0.1@evil.com",
                                      "0x7f.1",
                                      "2130706433",
                                      "evil.com#.local.com",
                                      "localhost, evil.com"};
    rig_start(ROUTES, COUNT_OF(ROUTES), "127.0.0.1", "");
    for (size_t i = 0; i < COUNT_OF(good); i++) check_host(good[i], 200);
    for (size_t i = 0; i < COUNT_OF(bad); i++) check_host(bad[i], 403);
    char own[256] = {0};
    assert_int_equal(gethostname(own, sizeof own - 1), 0);
    check_host(own, 200);
    char longest[400];
    memset(longest, 'a', sizeof longest);
    memcpy(longest + 392, ".local", 7);
    check_host(longest, 403);
    http_server_destroy(&rig_server);
}

/* Bound to every address, the server is meant to be reached by names of the network. */
static void test_host_elsewhere(void **state) {
    (void)state;
    rig_start(ROUTES, COUNT_OF(ROUTES), "0.0.0.0", "");
    check_host("gpu.example.com", 200);
    http_server_destroy(&rig_server);
}

static void check_origin(const char *origin, bool allowed) {
    char header[600];
    snprintf(header, sizeof header, "Host: localhost\r\nOrigin: %s", origin);
    rig_reply r;
    exchange("POST", header, &r);
    assert_int_equal(r.status, allowed ? 200 : 403);
    assert_int_equal(n_handled, allowed);
    assert_string_equal(rig_header(&r, "Access-Control-Allow-Origin"), allowed ? origin : "");
    rig_reply_finish(&r);
}

static void test_origins(void **state) {
    (void)state;
    static const char *const good[] = {"http://localhost",
                                       "https://localhost",
                                       "http://localhost:3000",
                                       "http://127.0.0.1:1",
                                       "https://0.0.0.0:9",
                                       "app://x",
                                       "file://",
                                       "tauri://localhost",
                                       "vscode-webview://abc",
                                       "vscode-file://vscode-app"};
    static const char *const bad[] = {"http://evil.com",
                                      "https://localhost.evil.com",
                                      "http://localhost:",
                                      "http://localhost:80x",
                                      "http://localhost:80.evil.com",
                                      "http://localhost@evil.com",
                                      "http://127.0.0.1.evil.com",
                                      "null",
                                      "ftp://localhost",
                                      "localhost",
                                      "http://",
                                      "http://evil.com/localhost",
                                      "xapp://x",
                                      "moz-extension://abc"};
    rig_start(ROUTES, COUNT_OF(ROUTES), "127.0.0.1", "");
    for (size_t i = 0; i < COUNT_OF(good); i++) check_origin(good[i], true);
    for (size_t i = 0; i < COUNT_OF(bad); i++) check_origin(bad[i], false);
    http_server_destroy(&rig_server);
}

static void test_configured_origins(void **state) {
    (void)state;
    rig_start(ROUTES, COUNT_OF(ROUTES), "127.0.0.1",
              " http://exact.com , https://*.example.com,moz-extension://*,,http://a*b*c");
    check_origin("http://exact.com", true);
    check_origin("https://exact.com", false);
    check_origin("http://exact.com.evil.com", false);
    check_origin("https://www.example.com", true);
    check_origin("https://example.com", false);
    check_origin("https://www.example.com.evil.com", false);
    check_origin("moz-extension://0-1-2", true);
    check_origin("http://abc", true);
    check_origin("http://axxbyyc", true);
    check_origin("http://axxbyy", false);
    check_origin("http://localhost", true); /* the list adds, it does not replace */
    http_server_destroy(&rig_server);
    rig_start(ROUTES, COUNT_OF(ROUTES), "127.0.0.1", "*");
    check_origin("http://anything.example", true);
    http_server_destroy(&rig_server);
}

static void test_preflight(void **state) {
    (void)state;
    rig_start(ROUTES, COUNT_OF(ROUTES), "127.0.0.1", "");
    rig_reply r;
    exchange("OPTIONS",
             "Host: localhost\r\nOrigin: http://localhost:3000\r\n"
             "Access-Control-Request-Method: POST\r\n"
             "Access-Control-Request-Headers: content-type",
             &r);
    assert_int_equal(r.status, 204);
    assert_int_equal(n_handled, 0);
    assert_string_equal(rig_header(&r, "Access-Control-Allow-Origin"), "http://localhost:3000");
    assert_non_null(strstr(rig_header(&r, "Access-Control-Allow-Methods"), "POST"));
    assert_non_null(strstr(rig_header(&r, "Access-Control-Allow-Headers"), "Content-Type"));
    assert_string_equal(rig_header(&r, "Vary"), "Origin");
    rig_reply_finish(&r);
    exchange("OPTIONS", "Host: localhost\r\nOrigin: http://evil.com", &r);
    assert_int_equal(r.status, 403);
    assert_string_equal(rig_header(&r, "Access-Control-Allow-Methods"), "");
    rig_reply_finish(&r);
    exchange("OPTIONS", "Host: evil.com\r\nOrigin: http://localhost", &r);
    assert_int_equal(r.status, 403);
    rig_reply_finish(&r);
    exchange("GET", "Host: localhost", &r); /* no browser: nothing about origins in the answer */
    assert_int_equal(r.status, 200);
    assert_string_equal(rig_header(&r, "Access-Control-Allow-Origin"), "");
    rig_reply_finish(&r);
    http_server_destroy(&rig_server);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_host), cmocka_unit_test(test_host_elsewhere),
        cmocka_unit_test(test_origins), cmocka_unit_test(test_configured_origins),
        cmocka_unit_test(test_preflight)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
