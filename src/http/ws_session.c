/* wslay's event interface with memory on both sides. */
#include "http/ws_session.h"
#include "base/limits.h"
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <string.h>
#include <wslay/wslay.h>

struct ws_session {
    wslay_event_context_ptr ctx;
    ws_on_message on_message;
    void *arg;
    str in;   /* not read yet, during ws_session_take */
    buf *out; /* during ws_session_output */
};

static ssize_t on_recv(wslay_event_context_ptr ctx, uint8_t *dst, size_t n, int flags, void *user) {
    (void)flags;
    ws_session *s = user;
    if (s->in.len == 0) {
        wslay_event_set_error(ctx, WSLAY_ERR_WOULDBLOCK);
        return -1;
    }
    if (n > s->in.len) n = s->in.len;
    memcpy(dst, s->in.ptr, n);
    s->in = str_sub(s->in, n, s->in.len);
    return (ssize_t)n;
}

static ssize_t on_send(wslay_event_context_ptr ctx, const uint8_t *src, size_t n, int flags,
                       void *user) {
    (void)ctx, (void)flags;
    buf_put(((ws_session *)user)->out, src, n);
    return (ssize_t)n;
}

static void on_msg(wslay_event_context_ptr ctx, const struct wslay_event_on_msg_recv_arg *m,
                   void *user) {
    (void)ctx;
    ws_session *s = user;
    if (m->opcode != WSLAY_TEXT_FRAME && m->opcode != WSLAY_BINARY_FRAME) return;
    s->on_message(s->arg, m->opcode == WSLAY_BINARY_FRAME,
                  (str){(const char *)m->msg, m->msg_length});
}

ws_session *ws_session_create(ws_on_message on_message, void *arg) {
    static const struct wslay_event_callbacks callbacks = {
        .recv_callback = on_recv, .send_callback = on_send, .on_msg_recv_callback = on_msg};
    ws_session *s = NEW(ws_session);
    s->on_message = on_message;
    s->arg = arg;
    wslay_event_context_server_init(&s->ctx, &callbacks, s);
    wslay_event_config_set_max_recv_msg_length(s->ctx, LIMIT_WS_MESSAGE_BYTES);
    return s;
}

void ws_session_destroy(ws_session **s) {
    if (!s || !*s) return;
    wslay_event_context_free((*s)->ctx);
    mem_free(*s);
    *s = NULL;
}

bool ws_session_take(ws_session *s, str bytes) {
    s->in = bytes;
    while (s->in.len) {
        size_t before = s->in.len;
        if (wslay_event_recv(s->ctx)) return false;
        if (!wslay_event_want_read(s->ctx)) return false;
        if (s->in.len == before) break;
    }
    s->in = (str){0};
    return true;
}

void ws_session_put(ws_session *s, bool binary, str bytes) {
    struct wslay_event_msg m = {.opcode = binary ? WSLAY_BINARY_FRAME : WSLAY_TEXT_FRAME,
                                .msg = (const uint8_t *)(bytes.ptr ? bytes.ptr : ""),
                                .msg_length = bytes.len};
    wslay_event_queue_msg(s->ctx, &m);
}

void ws_session_ping(ws_session *s) {
    struct wslay_event_msg m = {.opcode = WSLAY_PING, .msg = (const uint8_t *)""};
    wslay_event_queue_msg(s->ctx, &m);
}

void ws_session_close(ws_session *s) {
    wslay_event_queue_close(s->ctx, WSLAY_CODE_GOING_AWAY, NULL, 0);
}

bool ws_session_output(ws_session *s, buf *out) {
    s->out = out;
    int bad = wslay_event_want_write(s->ctx) ? wslay_event_send(s->ctx) : 0;
    s->out = NULL;
    return !bad && (wslay_event_want_read(s->ctx) || wslay_event_want_write(s->ctx));
}

size_t ws_session_queued(const ws_session *s) {
    return wslay_event_get_queued_msg_length(s->ctx);
}

void ws_accept_key(str key, char ret[29]) {
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    unsigned char digest[SHA_DIGEST_LENGTH];
    buf b = {0};
    buf_put_str(&b, key);
    buf_put_str(&b, str_from(guid));
    SHA1((const unsigned char *)b.ptr, b.len, digest);
    buf_finish(&b);
    EVP_EncodeBlock((unsigned char *)ret, digest, sizeof digest);
}
