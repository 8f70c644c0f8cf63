/* http/router: which handler gets a request, and what the others are told. */
#include "http_rig.h"

static void say(http_request *r, void *ctx) {
    (void)ctx;
    str p = http_request_param(r, "p"), q = http_request_param(r, "q"),
        rest = http_request_param(r, "rest");
    str text = str_fmt(http_request_arena(r),
                       STR_FMT " " STR_FMT " p=" STR_FMT " q=" STR_FMT " rest=" STR_FMT,
                       STR_ARG(http_request_method(r)), STR_ARG(http_request_path(r)), STR_ARG(p),
                       STR_ARG(q), STR_ARG(rest));
    http_reply_text(r, 200, text.ptr);
}

static void say_query(http_request *r, void *ctx) {
    (void)ctx;
    http_reply(r, 200, "text/plain", http_request_query(r, "name"));
}

static const http_route ROUTES[] = {
    {"GET", "/", say, NULL},          {"HEAD", "/", say, NULL},
    {"GET", "/a", say, NULL},         {"POST", "/a", say, NULL},
    {"HEAD", "/a", say, NULL},        {"GET", "/v/:p", say, NULL},
    {"GET", "/v/fixed", say, NULL},   {"DELETE", "/v/:p/x/:q", say, NULL},
    {"GET", "/web/*rest", say, NULL}, {"GET", "/query", say_query, NULL}};

static const struct {
    const char *request;
    int status;
    const char *body, *allow;
} CASES[] = {
    {"GET /", 200, "GET / p= q= rest=", ""},
    {"HEAD /", 200, "", ""},
    {"GET /a", 200, "GET /a p= q= rest=", ""},
    {"POST /a", 200, "POST /a p= q= rest=", ""},
    {"GET /a?x=/v/1", 200, "GET /a p= q= rest=", ""},
    {"PUT /a", 405, "405 method not allowed", "GET, POST, HEAD"},
    {"get /a", 405, "405 method not allowed", "GET, POST, HEAD"},
    {"HEAD /v/1", 405, "", "GET"},
    {"GET /v/hello", 200, "GET /v/hello p=hello q= rest=", ""},
    {"GET /v/a%2Fb", 200, "GET /v/a%2Fb p=a/b q= rest=", ""},
    {"GET /v/%41%zz%4", 200, "GET /v/%41%zz%4 p=A%zz%4 q= rest=", ""},
    {"GET /v/..", 200, "GET /v/.. p=.. q= rest=", ""},
    {"GET /v/", 404, "404 page not found", ""},
    {"GET /v", 404, "404 page not found", ""},
    {"GET /v/a/b", 404, "404 page not found", ""},
    {"DELETE /v/1/x/2", 200, "DELETE /v/1/x/2 p=1 q=2 rest=", ""},
    {"DELETE /v/1/x/", 404, "404 page not found", ""},
    {"DELETE /v//x/2", 404, "404 page not found", ""},
    {"GET /web/a/b/c.js", 200, "GET /web/a/b/c.js p= q= rest=a/b/c.js", ""},
    {"GET /A", 404, "404 page not found", ""},
    {"GET //a", 404, "404 page not found", ""},
    {"GET /aa", 404, "404 page not found", ""},
    {"GET /%61", 404, "404 page not found", ""},
    {"GET /nothing/", 404, "404 page not found", ""},
    {"GET /query?name=a", 200, "a", ""},
    {"GET /query?other=a", 200, "", ""},
};

static void test_routes(void **state) {
    (void)state;
    rig_start(ROUTES, COUNT_OF(ROUTES), "127.0.0.1", "");
    for (size_t i = 0; i < COUNT_OF(CASES); i++) {
        char head[400];
        snprintf(head, sizeof head, "%s HTTP/1.1\r\nHost: localhost\r\n", CASES[i].request);
        rig_reply r;
        rig_exchange(head, (str){0}, &r);
        print_message("%s\n", CASES[i].request);
        assert_true(r.whole);
        assert_int_equal(r.status, CASES[i].status);
        assert_string_equal(buf_cstr(&r.body), CASES[i].body);
        assert_string_equal(rig_header(&r, "Allow"), CASES[i].allow);
        if (r.status >= 400) assert_string_equal(rig_header(&r, "Content-Type"), "text/plain");
        rig_reply_finish(&r);
    }
    http_server_destroy(&rig_server);
    assert_null(rig_server);
}

static void test_trailing_slash(void **state) {
    (void)state;
    rig_start(ROUTES, COUNT_OF(ROUTES), "127.0.0.1", "");
    rig_reply r;
    rig_exchange("GET /a/ HTTP/1.1\r\nHost: localhost\r\n", (str){0}, &r);
    assert_int_equal(r.status, 301);
    assert_string_equal(rig_header(&r, "Location"), "/a");
    rig_reply_finish(&r);
    /* a redirect never leads to another host */
    rig_exchange("GET //evil.example/ HTTP/1.1\r\nHost: localhost\r\n", (str){0}, &r);
    assert_int_equal(r.status, 404);
    rig_reply_finish(&r);
    http_server_destroy(&rig_server);
}

/* A parameter of any bytes, and paths as long as they come. */
static void test_hostile_paths(void **state) {
    (void)state;
    rig_start(ROUTES, COUNT_OF(ROUTES), "127.0.0.1", "");
    rig_reply r;
    rig_exchange("GET /v/%00%ff%0d%0a HTTP/1.1\r\nHost: localhost\r\n", (str){0}, &r);
    assert_int_equal(r.status, 200);
    rig_reply_finish(&r);
    buf b = {0};
    buf_putf(&b, "GET /");
    for (int i = 0; i < 5000; i++) buf_putf(&b, "v/");
    buf_putf(&b, " HTTP/1.1\r\nHost: localhost\r\n");
    rig_exchange(buf_cstr(&b), (str){0}, &r);
    assert_int_equal(r.status, 404);
    rig_reply_finish(&r);
    buf_finish(&b);
    http_server_destroy(&rig_server);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_routes),
                                       cmocka_unit_test(test_trailing_slash),
                                       cmocka_unit_test(test_hostile_paths)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
