/* http/ws: handshakes, echoes, broadcasts, nonsense, slow readers and the end. */
#include "http_rig.h"

#include "base/limits.h"
#include "http/ws.h"
#include <pthread.h>
#include <stdatomic.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static http_ws *open_sockets[64];
static atomic_int n_open, n_closed, n_refused;

static void on_open(http_ws *ws, void *arg) {
    (void)arg;
    pthread_mutex_lock(&lock);
    open_sockets[n_open++] = ws;
    pthread_mutex_unlock(&lock);
    http_ws_send(ws, false, STR("hello"));
}
static void on_message(http_ws *ws, void *arg, bool binary, str bytes) {
    (void)arg;
    http_ws_send(ws, binary, bytes);
}
static void on_close(http_ws *ws, void *arg) {
    (void)arg;
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < 64; i++)
        if (ws && open_sockets[i] == ws) open_sockets[i] = NULL;
    pthread_mutex_unlock(&lock);
    if (ws)
        n_closed++;
    else
        n_refused++;
}
static const http_ws_events EVENTS = {on_open, on_message, on_close};

static void accept_ws(http_request *r, void *ctx) {
    (void)ctx;
    http_ws_accept(r, &EVENTS, NULL);
}
static const http_route ROUTES[] = {{"GET", "/ws", accept_ws, NULL}};

#define HANDSHAKE                                                                                  \
    "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive, Upgrade\r\n"                   \
    "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"                                          \
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

static void put_frame(int fd, int opcode, const char *payload, size_t n) {
    buf b = {0};
    unsigned char head[4] = {(unsigned char)(0x80 | opcode), (unsigned char)(0x80 | n), 0, 0};
    buf_put(&b, head, 2);
    if (n > 125) {
        b.ptr[1] = (char)(0x80 | 126);
        unsigned char len[2] = {(unsigned char)(n >> 8), (unsigned char)n};
        buf_put(&b, len, 2);
    }
    buf_put(&b, "\1\2\3\4", 4);
    for (size_t i = 0; i < n; i++) buf_put_char(&b, (char)(payload[i] ^ (char)(1 + i % 4)));
    rig_send(fd, b.ptr, b.len);
    buf_finish(&b);
}

/* The opcode, or -1 at the end of the connection. */
static int take_frame(int fd, buf *payload) {
    buf head = {0};
    buf_clear(payload);
    int opcode = -1;
    if (rig_take(fd, &head, 2)) {
        size_t n = (size_t)(head.ptr[1] & 0x7F);
        opcode = head.ptr[0] & 15;
        size_t more = n == 126 ? 2 : n == 127 ? 8 : 0;
        if (more) {
            assert_true(rig_take(fd, &head, more));
            n = 0;
            for (size_t i = 0; i < more; i++) n = n << 8 | (unsigned char)head.ptr[2 + i];
        }
        if (!rig_take(fd, payload, n)) opcode = -1;
    }
    buf_finish(&head);
    return opcode;
}

static int open_ws(void) {
    int fd = rig_connect();
    rig_reply r;
    buf b = {0};
    rig_send_text(fd, HANDSHAKE);
    rig_read_head(fd, &r);
    assert_int_equal(r.status, 101);
    /* RFC 6455, section 1.3 */
    assert_string_equal(rig_header(&r, "Sec-WebSocket-Accept"), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    rig_reply_finish(&r);
    assert_int_equal(take_frame(fd, &b), 1);
    assert_string_equal(buf_cstr(&b), "hello");
    buf_finish(&b);
    return fd;
}

static void wait_closed(int n) {
    for (int i = 0; i < 2000 && n_closed < n; i++) usleep(5000);
    assert_int_equal(n_closed, n);
}

static void test_echo(void **state) {
    (void)state;
    int fd = open_ws();
    buf b = {0};
    char big[60000];
    memset(big, 'x', sizeof big);
    put_frame(fd, 1, "caf\xC3\xA9", 5);
    assert_int_equal(take_frame(fd, &b), 1);
    assert_string_equal(buf_cstr(&b), "caf\xC3\xA9");
    put_frame(fd, 2, big, sizeof big);
    assert_int_equal(take_frame(fd, &b), 2);
    assert_int_equal(b.len, sizeof big);
    put_frame(fd, 9, "ping", 4);
    assert_int_equal(take_frame(fd, &b), 10);
    assert_string_equal(buf_cstr(&b), "ping");
    put_frame(fd, 8, "\x03\xE8", 2);
    assert_int_equal(take_frame(fd, &b), 8);
    assert_int_equal(take_frame(fd, &b), -1);
    buf_finish(&b);
    close(fd);
    wait_closed(1);
}

static void test_nonsense_is_closed(void **state) {
    (void)state;
    static const char *const frames[] = {
        "\x81\x05hello",                                     /* not masked */
        "\x83\x80\1\2\3\4",                                  /* an opcode that does not exist */
        "\xC1\x80\1\2\3\4",                                  /* a reserved bit */
        "\x81\x82\0\0\0\0\xC3\x28",                          /* not UTF-8 */
        "\x81\xFF\x7F\xFF\xFF\xFF\xFF\xFF\xFF\xFF\1\2\3\4x", /* as long as can be */
    };
    static const size_t lens[] = {7, 6, 6, 8, 15};
    for (size_t i = 0; i < 5; i++) {
        int before = n_closed, fd = open_ws(), opcode;
        buf b = {0};
        rig_send(fd, frames[i], lens[i]);
        while ((opcode = take_frame(fd, &b)) != -1) assert_int_equal(opcode, 8);
        buf_finish(&b);
        close(fd);
        wait_closed(before + 1);
    }
}

static void test_not_a_handshake(void **state) {
    (void)state;
    rig_reply r;
    int before = n_refused;
    rig_exchange("GET /ws HTTP/1.1\r\nHost: localhost\r\n", (str){0}, &r);
    assert_int_equal(r.status, 400);
    rig_reply_finish(&r);
    rig_exchange("GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
                 "Connection: Upgrade\r\nSec-WebSocket-Version: 8\r\nSec-WebSocket-Key: x\r\n",
                 (str){0}, &r);
    assert_int_equal(r.status, 400);
    rig_reply_finish(&r);
    assert_int_equal(n_refused, before + 2);
}

static void test_slow_reader_is_closed(void **state) {
    (void)state;
    int before = n_closed, fd = open_ws();
    char *big = calloc(1, 4 << 20);
    pthread_mutex_lock(&lock);
    http_ws *ws = open_sockets[n_open - 1];
    bool ok = true;
    size_t sent = 0;
    for (; ok && sent < 4 * (size_t)LIMIT_WS_BACKLOG_BYTES; sent += 4 << 20)
        ok = http_ws_send(ws, true, (str){big, 4 << 20});
    pthread_mutex_unlock(&lock);
    assert_false(ok);
    assert_true(sent >= LIMIT_WS_BACKLOG_BYTES);
    wait_closed(before + 1);
    free(big);
    close(fd);
}

static void test_stop_closes(void **state) {
    (void)state;
    int fd = open_ws(), opcode = 0;
    buf b = {0};
    http_server_destroy(&rig_server);
    while (opcode != -1) opcode = take_frame(fd, &b);
    buf_finish(&b);
    close(fd);
    assert_int_equal(n_open, n_closed);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_echo),
        cmocka_unit_test(test_nonsense_is_closed),
        cmocka_unit_test(test_not_a_handshake),
        cmocka_unit_test(test_slow_reader_is_closed),
        cmocka_unit_test(test_stop_closes),
    };
    rig_start(ROUTES, COUNT_OF(ROUTES), "127.0.0.1", NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
