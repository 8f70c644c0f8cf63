/* http/server and http/stream against plain sockets: what well and badly behaved clients do. */
#include "http_rig.h"

#include "base/limits.h"
#include "http/json.h"
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

static atomic_int n_gone;        /* streams that were told that their client is gone */
static atomic_int n_writers;     /* writer threads at work */
static atomic_int head_read;     /* the flood's client has seen its headers */
static atomic_llong flood_bytes; /* taken by the stream before it refused */

static bool wait_for(atomic_int *v, int want) {
    for (int i = 0; i < 3000 && atomic_load(v) != want; i++)
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    return atomic_load(v) == want;
}

static void echo(http_request *r, void *ctx) {
    (void)ctx;
    http_reply(r, 200, "application/octet-stream", http_request_body(r));
}

static void hello(http_request *r, void *ctx) {
    (void)ctx;
    http_reply_text(r, 200, "hello");
}

static void nothing(http_request *r, void *ctx) {
    (void)r, (void)ctx;
}

static void gone(void *arg) {
    (void)arg;
    atomic_fetch_add(&n_gone, 1);
}

typedef void *(*writer_fn)(void *);

static void start_writer(http_request *r, writer_fn fn) {
    http_stream *s = http_stream_create(r, "application/x-ndjson", gone, NULL);
    pthread_t t;
    atomic_fetch_add(&n_writers, 1);
    assert_int_equal(pthread_create(&t, NULL, fn, s), 0);
    pthread_detach(t);
}

static void *write_lines(void *arg) {
    http_stream *s = arg;
    for (int i = 0; i < 5; i++) {
        http_stream_write(s, STR("{\"n\":1}\n"));
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    }
    http_stream_end(s);
    http_stream_destroy(&s);
    atomic_fetch_sub(&n_writers, 1);
    return NULL;
}

/* Writes until it is refused. */
static void *write_flood(void *arg) {
    http_stream *s = arg;
    static char block[64 << 10];
    http_stream_write(s, STR("x")); /* the answer begins before the flood does */
    wait_for(&head_read, 1);
    while (http_stream_write(s, (str){block, sizeof block}))
        atomic_fetch_add(&flood_bytes, (long long)sizeof block);
    http_stream_destroy(&s);
    atomic_fetch_sub(&n_writers, 1);
    return NULL;
}

/* Says one thing, then waits until its client leaves. */
static void *write_and_wait(void *arg) {
    http_stream *s = arg;
    http_stream_write(s, STR("first\n"));
    while (!http_stream_gone(s)) nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    http_stream_destroy(&s);
    atomic_fetch_sub(&n_writers, 1);
    return NULL;
}

static void *only_wait(void *arg) {
    http_stream *s = arg;
    while (!http_stream_gone(s)) nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    http_stream_destroy(&s);
    atomic_fetch_sub(&n_writers, 1);
    return NULL;
}

static void *reply_late(void *arg) {
    http_stream *s = arg;
    json_t *body = json_pack("{s:s}", "error", "busy <now>");
    http_stream_reply_json(s, 503, body);
    json_decref(body);
    http_stream_destroy(&s);
    atomic_fetch_sub(&n_writers, 1);
    return NULL;
}

static void on_lines(http_request *r, void *ctx) {
    (void)ctx, start_writer(r, write_lines);
}
static void on_flood(http_request *r, void *ctx) {
    (void)ctx, start_writer(r, write_flood);
}
static void on_wait(http_request *r, void *ctx) {
    (void)ctx, start_writer(r, write_and_wait);
}
static void on_silent(http_request *r, void *ctx) {
    (void)ctx, start_writer(r, only_wait);
}
static void on_late(http_request *r, void *ctx) {
    (void)ctx, start_writer(r, reply_late);
}

/* A sink that counts. */
static atomic_llong sink_bytes;
static atomic_int n_abandoned;

static void *sink_begin(http_request *r, void *ctx) {
    (void)ctx;
    atomic_store(&sink_bytes, 0);
    if (str_eq(http_request_param(r, "name"), STR("refused"))) {
        http_reply_text(r, 400, "refused");
        return NULL;
    }
    return &sink_bytes;
}
static bool sink_piece(void *sink, const void *bytes, size_t n) {
    (void)bytes;
    atomic_fetch_add((atomic_llong *)sink, (long long)n);
    return true;
}
static void sink_abandon(void *sink) {
    (void)sink;
    atomic_fetch_add(&n_abandoned, 1);
}
static void sink_end(http_request *r, void *ctx) {
    (void)ctx;
    assert_ptr_equal(http_request_sink(r), &sink_bytes);
    str text = str_fmt(http_request_arena(r), "%lld", atomic_load(&sink_bytes));
    http_reply_text(r, 201, text.ptr);
}

static const http_sink SINK = {sink_begin, sink_piece, sink_abandon};
static const http_route ROUTES[] = {{"GET", "/", hello, NULL},
                                    {"POST", "/echo", echo, NULL},
                                    {"GET", "/lines", on_lines, NULL},
                                    {"GET", "/flood", on_flood, NULL},
                                    {"GET", "/wait", on_wait, NULL},
                                    {"GET", "/silent", on_silent, NULL},
                                    {"GET", "/late", on_late, NULL},
                                    {"GET", "/nothing", nothing, NULL},
                                    {"POST", "/sink/:name", sink_end, &SINK}};

static int start(void **state) {
    (void)state;
    atomic_store(&n_gone, 0);
    atomic_store(&n_abandoned, 0);
    atomic_store(&flood_bytes, 0);
    atomic_store(&head_read, 0);
    rig_start(ROUTES, COUNT_OF(ROUTES), "127.0.0.1", "");
    return 0;
}

static int stop(void **state) {
    (void)state;
    http_server_destroy(&rig_server);
    return wait_for(&n_writers, 0) ? 0 : -1;
}

#define H " HTTP/1.1\r\nHost: localhost\r\n"

static void expect_hello(int fd) {
    rig_reply r;
    rig_read(fd, &r, false);
    assert_int_equal(r.status, 200);
    assert_true(r.whole);
    assert_string_equal(buf_cstr(&r.body), "hello");
    rig_reply_finish(&r);
}

static void expect_served(void) {
    int fd = rig_connect();
    rig_send_text(fd, "GET /" H "\r\n");
    expect_hello(fd);
    close(fd);
}

static void test_keep_alive(void **state) {
    (void)state;
    int fd = rig_connect();
    for (int i = 0; i < 50; i++) {
        rig_send_text(fd, "GET /" H "\r\n");
        expect_hello(fd);
    }
    close(fd);
}

static void test_pipelining(void **state) {
    (void)state;
    int fd = rig_connect();
    for (int i = 0; i < 10; i++)
        rig_send_text(fd, i == 5 ? "GET /lines" H "\r\n" : "GET /" H "\r\n");
    for (int i = 0; i < 10; i++) {
        if (i != 5) {
            expect_hello(fd);
            continue;
        }
        rig_reply r;
        rig_read(fd, &r, false);
        assert_true(r.whole);
        assert_int_equal(r.body.len, 5 * 8);
        rig_reply_finish(&r);
    }
    close(fd);
}

static void test_stream(void **state) {
    (void)state;
    rig_reply r;
    rig_exchange("GET /lines" H, (str){0}, &r);
    assert_int_equal(r.status, 200);
    assert_string_equal(rig_header(&r, "Content-Type"), "application/x-ndjson");
    assert_string_equal(rig_header(&r, "Transfer-Encoding"), "chunked");
    assert_int_equal(r.body.len, 5 * 8);
    assert_true(r.whole);
    rig_reply_finish(&r);
    rig_exchange("GET /late" H, (str){0}, &r);
    assert_int_equal(r.status, 503);
    assert_string_equal(buf_cstr(&r.body), "{\"error\":\"busy \\u003cnow\\u003e\"}");
    rig_reply_finish(&r);
    rig_exchange("GET /nothing" H, (str){0}, &r);
    assert_int_equal(r.status, 500);
    rig_reply_finish(&r);
}

static void test_slow_reader(void **state) {
    (void)state;
    int fd = rig_connect();
    rig_send_text(fd, "GET /flood" H "\r\n");
    rig_reply head;
    rig_read_head(fd, &head);
    assert_int_equal(head.status, 200);
    atomic_store(&head_read, 1);
    rig_reply_finish(&head);
    for (int i = 0; i < 5; i++) expect_served(); /* others are served meanwhile */
    assert_true(wait_for(&n_writers, 0));        /* refused without our reading anything */
    /* what was taken: the limit and what the kernel holds for the two sockets */
    assert_true(atomic_load(&flood_bytes) >= LIMIT_STREAM_BYTES);
    assert_true(atomic_load(&flood_bytes) < LIMIT_STREAM_BYTES + (64 << 20));
    buf rest = {0}; /* and the connection is closed, not kept for ever */
    assert_false(rig_take(fd, &rest, SIZE_MAX));
    assert_true(errno != EAGAIN);
    buf_finish(&rest);
    close(fd);
    expect_served();
}

static void leave(const char *head, bool half) {
    int before = atomic_load(&n_gone);
    int fd = rig_connect();
    rig_send_text(fd, head);
    if (strstr(head, "/wait")) {
        rig_reply r;
        rig_read_head(fd, &r);
        assert_int_equal(r.status, 200);
        rig_reply_finish(&r);
    } else {
        assert_true(wait_for(&n_writers, 1));
    }
    if (half)
        shutdown(fd, SHUT_WR);
    else
        close(fd);
    assert_true(wait_for(&n_gone, before + 1));
    assert_true(wait_for(&n_writers, 0));
    if (half) close(fd);
}

static void test_client_leaves(void **state) {
    (void)state;
    leave("GET /wait" H "\r\n", false);
    leave("GET /silent" H "\r\n", false); /* before any byte of an answer */
    leave("GET /wait" H "\r\n", true);
    for (int i = 0; i < 20; i++) leave("GET /silent" H "\r\n", false);
    assert_int_equal(atomic_load(&n_gone), 23); /* each was told once */
    expect_served();
}

/* The server ends while streams are open: they are told, nothing hangs. */
static void test_end_with_streams(void **state) {
    (void)state;
    int fds[8];
    for (int i = 0; i < 8; i++) {
        fds[i] = rig_connect();
        rig_send_text(fds[i], i & 1 ? "GET /silent" H "\r\n" : "GET /wait" H "\r\n");
    }
    assert_true(wait_for(&n_writers, 8));
    http_server_destroy(&rig_server);
    assert_true(wait_for(&n_writers, 0));
    assert_int_equal(atomic_load(&n_gone), 8);
    for (int i = 0; i < 8; i++) close(fds[i]);
}

static str big_body(size_t n) {
    char *p = malloc(n);
    assert_non_null(p);
    for (size_t i = 0; i < n; i++) p[i] = (char)(i * 31 + (i >> 8));
    return (str){p, n};
}

static void test_big_body(void **state) {
    (void)state;
    str body = big_body(10 << 20);
    char head[200];
    snprintf(head, sizeof head, "POST /echo" H "Content-Length: %zu\r\n", body.len);
    rig_reply r;
    rig_exchange(head, body, &r);
    assert_int_equal(r.status, 200);
    assert_true(r.whole && str_eq(buf_str(&r.body), body));
    rig_reply_finish(&r);
    free((void *)(uintptr_t)body.ptr);
}

static void test_body_over_limit(void **state) {
    (void)state;
    str piece = big_body(1 << 20);
    size_t n = (LIMIT_HTTP_BODY_BYTES >> 20) + 1;
    char head[200];
    snprintf(head, sizeof head, "POST /echo" H "Content-Length: %zu\r\n\r\n", n << 20);
    int fd = rig_connect();
    rig_send_text(fd, head);
    for (size_t i = 0; i < n && rig_send(fd, piece.ptr, piece.len); i++) {
    }
    rig_reply r;
    rig_read(fd, &r, false);
    assert_int_equal(r.status, 413);
    assert_non_null(strstr(buf_cstr(&r.body), "{\"error\":"));
    rig_reply_finish(&r);
    close(fd);
    free((void *)(uintptr_t)piece.ptr);
    expect_served();
}

static void test_chunked_body(void **state) {
    (void)state;
    rig_reply r;
    rig_exchange("POST /echo" H "Transfer-Encoding: chunked\r\n",
                 STR("3\r\nabc\r\nA;ext=1\r\n0123456789\r\n0\r\n\r\n"), &r);
    assert_int_equal(r.status, 200);
    assert_string_equal(buf_cstr(&r.body), "abc0123456789");
    rig_reply_finish(&r);
    rig_exchange("POST /echo" H "Transfer-Encoding: chunked\r\n", STR("zz\r\nabc\r\n"), &r);
    assert_true(r.status == 400 || r.status == 0);
    rig_reply_finish(&r);
    rig_exchange("POST /echo" H "Content-Length: 0\r\n", (str){0}, &r);
    assert_int_equal(r.status, 200);
    assert_int_equal(r.body.len, 0);
    rig_reply_finish(&r);
}

static void test_expect_continue(void **state) {
    (void)state;
    int fd = rig_connect();
    rig_send_text(fd, "POST /echo" H "Content-Length: 4\r\nExpect: 100-continue\r\n\r\n");
    rig_reply r;
    rig_read(fd, &r, false);
    assert_int_equal(r.status, 100);
    rig_reply_finish(&r);
    rig_send_text(fd, "abcd");
    rig_read(fd, &r, false);
    assert_int_equal(r.status, 200);
    assert_string_equal(buf_cstr(&r.body), "abcd");
    rig_reply_finish(&r);
    close(fd);
    /* nobody is asked for a body that is refused anyhow */
    rig_exchange("POST /none" H "Content-Length: 4\r\nExpect: 100-continue\r\n", (str){0}, &r);
    assert_int_equal(r.status, 404);
    rig_reply_finish(&r);
}

static void test_malformed(void **state) {
    (void)state;
    static const char *const bad[] = {"\r\n\r\n",
                                      "GET\r\n\r\n",
                                      "nonsense\r\n\r\n",
                                      "GET / HTTP/9.9\r\n\r\n",
                                      "GET / HTTP/1.1\r\nHost: localhost\r\nno colon\r\n\r\n",
                                      "POST /echo" H "Content-Length: -5\r\n\r\n",
                                      "POST /echo" H "Content-Length: 5x\r\n\r\n",
                                      "POST /echo" H "Content-Length: 99999999999999999999\r\n\r\n",
                                      "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
                                      "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        int fd = rig_connect();
        /* an unfinished request with its end right behind it may get no answer at all */
        struct timeval limit = {.tv_usec = 300000};
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
        rig_send_text(fd, bad[i]);
        shutdown(fd, SHUT_WR);
        rig_reply r;
        rig_read(fd, &r, false);
        print_message("%zu: %d\n", i, r.status);
        assert_true(r.status == 0 || (r.status >= 400 && r.status < 600));
        rig_reply_finish(&r);
        close(fd);
    }
    expect_served();
}

static void test_large_header(void **state) {
    (void)state;
    buf b = {0};
    buf_putf(&b, "GET /" H "X-Long: ");
    for (int i = 0; i < 10000; i++) buf_put_char(&b, 'a');
    rig_reply r;
    size_t len = b.len;
    buf_put(&b, "\r\n", 3);
    rig_exchange(b.ptr, (str){0}, &r);
    assert_int_equal(r.status, 200);
    rig_reply_finish(&r);
    b.len = len;
    while (b.len < 2 * LIMIT_HTTP_HEADER_BYTES) buf_put_char(&b, 'a');
    buf_put(&b, "\r\n", 3);
    rig_exchange(b.ptr, (str){0}, &r);
    assert_true(r.status == 431 || r.status == 413 || r.status == 0);
    rig_reply_finish(&r);
    buf_finish(&b);
    expect_served();
}

static void test_sink(void **state) {
    (void)state;
    str body = big_body(3 << 20);
    char head[200];
    rig_reply r;
    snprintf(head, sizeof head, "POST /sink/a" H "Content-Length: %zu\r\n", body.len);
    rig_exchange(head, body, &r);
    assert_int_equal(r.status, 201);
    assert_string_equal(buf_cstr(&r.body), "3145728");
    rig_reply_finish(&r);
    rig_exchange("POST /sink/refused" H "Content-Length: 3\r\n", STR("abc"), &r);
    assert_int_equal(r.status, 400);
    rig_reply_finish(&r);
    assert_int_equal(atomic_load(&n_abandoned), 0);
    int fd = rig_connect(); /* leaves in the middle */
    rig_send_text(fd, head);
    rig_send_text(fd, "\r\n");
    rig_send(fd, body.ptr, body.len / 2);
    usleep(100000); /* a reset right behind data can hide in the same edge of the library's epoll */
    struct linger now = {.l_onoff = 1}; /* a reset; a plain end is noticed by the idle timeout */
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close(fd);
    assert_true(wait_for(&n_abandoned, 1));
    free((void *)(uintptr_t)body.ptr);
}

static void test_many_connections(void **state) {
    (void)state;
    enum { N = 200 };
    int fds[N];
    for (int i = 0; i < N; i++) fds[i] = rig_connect();
    for (int i = 0; i < N; i++) rig_send_text(fds[i], i % 4 ? "GET /" H : "GET /lines" H);
    for (int i = N; i-- > 0;) rig_send_text(fds[i], "\r\n");
    for (int i = 0; i < N; i++) {
        rig_reply r;
        rig_read(fds[i], &r, false);
        assert_int_equal(r.status, 200);
        assert_true(r.whole);
        assert_int_equal(r.body.len, i % 4 ? 5 : 40);
        rig_reply_finish(&r);
        close(fds[i]);
    }
}

/* A port that is taken and a host that is none are errors with words. */
static void test_cannot_listen(void **state) {
    (void)state;
    http_config c = {.addr = http_addr_parse("127.0.0.1", 0), .routes = ROUTES, .n_routes = 1};
    c.addr.port = http_server_port(rig_server);
    http_server *second = NULL;
    err e = {0};
    assert_int_equal(http_server_create(&c, &second, &e), ERR_IO);
    assert_null(second);
    assert_non_null(strstr(e.msg, "in use"));
    c.addr = http_addr_parse("not a host", 0);
    assert_int_equal(http_server_create(&c, &second, &e), ERR_INVALID);
}

#define T(f) cmocka_unit_test_setup_teardown(f, start, stop)

int main(void) {
    const struct CMUnitTest tests[] = {T(test_keep_alive),    T(test_pipelining),
                                       T(test_stream),        T(test_slow_reader),
                                       T(test_client_leaves), T(test_end_with_streams),
                                       T(test_big_body),      T(test_body_over_limit),
                                       T(test_chunked_body),  T(test_expect_continue),
                                       T(test_malformed),     T(test_large_header),
                                       T(test_sink),          T(test_many_connections),
                                       T(test_cannot_listen)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
