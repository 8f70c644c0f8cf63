/* The socket thread: an epoll set of upgraded connections.
 *
 * libmicrohttpd gives the socket away at the upgrade and waits to be told when it is done with.
 * Lock order: a connection's lock alone; the server's list lock only around the list. */
#include "http/ws.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/vec.h"
#include "http/request.h"
#include "http/ws_session.h"
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

typedef struct message {
    bool binary;
    str bytes;
} message;

struct http_ws {
    http_sockets *owner;
    http_ws *next, **at; /* in the list; under owner->lock */
    http_ws_events events;
    void *arg;
    struct MHD_UpgradeResponseHandle *urh;
    int fd;
    pthread_mutex_t lock; /* the fields below */
    ws_session *session;
    buf out;
    int64_t moved_ns; /* when bytes last left, or when the first began to wait */
    bool over;        /* to be closed by the socket thread */
    arena *inbox;     /* messages taken in this turn; the socket thread's */
    VEC(message) messages;
};

struct http_sockets {
    pthread_mutex_t lock;
    http_ws *list;
    pthread_t thread;
    int epoll_fd, stop_fd;
    bool stopping; /* under lock */
};

static void on_frame(void *arg, bool binary, str bytes) {
    http_ws *ws = arg;
    VEC_PUSH(ws->messages, (message){binary, str_dup(ws->inbox, bytes)});
}

/* Locked. */
static void watch(http_ws *ws, int op) {
    struct epoll_event ev = {.events = EPOLLIN | EPOLLRDHUP | (ws->out.len ? EPOLLOUT : 0u),
                             .data.ptr = ws};
    epoll_ctl(ws->owner->epoll_fd, op, ws->fd, &ev);
}

/* Locked. Lets the socket thread end it. */
static void end(http_ws *ws) {
    ws->over = true;
    shutdown(ws->fd, SHUT_RDWR);
}

/* Locked. Sends what the socket takes. */
static void flush(http_ws *ws) {
    bool waited = ws->out.len > 0;
    if (!ws_session_output(ws->session, &ws->out)) ws->over = true;
    if (!waited) ws->moved_ns = clock_mono_ns();
    while (ws->out.len) {
        ssize_t n = send(ws->fd, ws->out.ptr, ws->out.len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) break;
        if (n <= 0) {
            end(ws);
            return;
        }
        buf_drop_front(&ws->out, (size_t)n);
        ws->moved_ns = clock_mono_ns();
    }
    if (ws->out.len > LIMIT_WS_BACKLOG_BYTES) end(ws);
    if (ws->over && ws->out.len == 0) end(ws);
    watch(ws, EPOLL_CTL_MOD);
}

bool http_ws_send(http_ws *ws, bool binary, str bytes) {
    pthread_mutex_lock(&ws->lock);
    bool ok = !ws->over;
    if (ok) {
        ws_session_put(ws->session, binary, bytes);
        flush(ws);
        ok = !ws->over;
    }
    pthread_mutex_unlock(&ws->lock);
    return ok;
}

void http_ws_end(http_ws *ws) {
    pthread_mutex_lock(&ws->lock);
    if (!ws->over) {
        ws_session_close(ws->session);
        flush(ws);
        end(ws);
    }
    pthread_mutex_unlock(&ws->lock);
}

static void ws_destroy(http_ws *ws) {
    ws_session_destroy(&ws->session);
    buf_finish(&ws->out);
    VEC_FINISH(ws->messages);
    arena_destroy(&ws->inbox);
    pthread_mutex_destroy(&ws->lock);
    mem_free(ws);
}

/* On the socket thread. */
static void close_ws(http_ws *ws) {
    epoll_ctl(ws->owner->epoll_fd, EPOLL_CTL_DEL, ws->fd, NULL);
    pthread_mutex_lock(&ws->owner->lock);
    *ws->at = ws->next;
    if (ws->next) ws->next->at = ws->at;
    pthread_mutex_unlock(&ws->owner->lock);
    ws->events.on_close(ws, ws->arg);
    MHD_upgrade_action(ws->urh, MHD_UPGRADE_ACTION_CLOSE);
    ws_destroy(ws);
}

/* Locked: feeds bytes, keeps the messages for later. */
static void take(http_ws *ws, str bytes) {
    if (!ws_session_take(ws->session, bytes)) ws->over = true;
    flush(ws);
}

static void deliver(http_ws *ws) {
    for (size_t i = 0; i < ws->messages.len; i++)
        ws->events.on_message(ws, ws->arg, ws->messages.items[i].binary,
                              ws->messages.items[i].bytes);
    VEC_CLEAR(ws->messages);
    arena_reset(ws->inbox);
}

static void serve(http_ws *ws, uint32_t events) {
    char bytes[16 << 10];
    pthread_mutex_lock(&ws->lock);
    if (events & EPOLLIN) {
        ssize_t n = recv(ws->fd, bytes, sizeof bytes, MSG_DONTWAIT);
        if (n > 0)
            take(ws, (str){bytes, (size_t)n});
        else if (n == 0 || (errno != EAGAIN && errno != EINTR))
            ws->over = true, buf_clear(&ws->out);
    } else if (events & (EPOLLHUP | EPOLLERR | EPOLLRDHUP)) {
        ws->over = true;
        buf_clear(&ws->out);
    }
    if (events & EPOLLOUT && !ws->over) flush(ws);
    bool over = ws->over;
    pthread_mutex_unlock(&ws->lock);
    deliver(ws);
    if (over) close_ws(ws);
}

/* Every LIMIT_WS_PING_S: pings, and ends those that stopped reading. */
static void ping_all(http_sockets *s) {
    pthread_mutex_lock(&s->lock);
    for (http_ws *ws = s->list; ws; ws = ws->next) {
        pthread_mutex_lock(&ws->lock);
        if (ws->out.len && clock_mono_ns() - ws->moved_ns > LIMIT_WS_STALL_S * NS_PER_S) {
            end(ws);
        } else if (!ws->over) {
            ws_session_ping(ws->session);
            flush(ws);
        }
        pthread_mutex_unlock(&ws->lock);
    }
    pthread_mutex_unlock(&s->lock);
}

static void close_all(http_sockets *s) {
    for (;;) {
        pthread_mutex_lock(&s->lock);
        http_ws *ws = s->list;
        pthread_mutex_unlock(&s->lock);
        if (!ws) return;
        pthread_mutex_lock(&ws->lock);
        if (!ws->over) {
            ws_session_close(ws->session);
            flush(ws);
        }
        pthread_mutex_unlock(&ws->lock);
        close_ws(ws);
    }
}

static void *sockets_main(void *arg) {
    http_sockets *s = arg;
    int64_t next_ping = clock_mono_ns() + LIMIT_WS_PING_S * NS_PER_S;
    for (bool stop = false; !stop;) {
        struct epoll_event ev[16];
        int n = epoll_wait(s->epoll_fd, ev, 16, 5000);
        if (n < 0 && errno != EINTR) break;
        for (int i = 0; i < n; i++) {
            if (!ev[i].data.ptr)
                stop = true;
            else
                serve(ev[i].data.ptr, ev[i].events);
        }
        if (clock_mono_ns() < next_ping) continue;
        next_ping = clock_mono_ns() + LIMIT_WS_PING_S * NS_PER_S;
        ping_all(s);
    }
    close_all(s);
    return NULL;
}

http_sockets *http_sockets_create(void) {
    http_sockets *s = NEW(http_sockets);
    pthread_mutex_init(&s->lock, NULL);
    s->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    s->stop_fd = eventfd(0, EFD_CLOEXEC);
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, s->stop_fd, &ev);
    pthread_create(&s->thread, NULL, sockets_main, s);
    return s;
}

void http_sockets_stop(http_sockets *s) {
    uint64_t one = 1;
    pthread_mutex_lock(&s->lock);
    s->stopping = true;
    pthread_mutex_unlock(&s->lock);
    if (write(s->stop_fd, &one, sizeof one) == sizeof one) pthread_join(s->thread, NULL);
    close_all(s); /* one that came in between */
}

void http_sockets_destroy(http_sockets **ps) {
    http_sockets *s = *ps;
    if (!s) return;
    close(s->epoll_fd);
    close(s->stop_fd);
    pthread_mutex_destroy(&s->lock);
    mem_free(s);
    *ps = NULL;
}

/* False while stopping: nobody would serve it. */
static bool adopt(http_ws *ws) {
    http_sockets *s = ws->owner;
    pthread_mutex_lock(&s->lock);
    bool stopping = s->stopping;
    if (stopping) {
        pthread_mutex_unlock(&s->lock);
        return false;
    }
    ws->next = s->list;
    ws->at = &s->list;
    if (ws->next) ws->next->at = &ws->next;
    s->list = ws;
    pthread_mutex_unlock(&s->lock);
    pthread_mutex_lock(&ws->lock);
    watch(ws, EPOLL_CTL_ADD);
    flush(ws);
    pthread_mutex_unlock(&ws->lock);
    return true;
}

/* libmicrohttpd's hand-over; `extra` came in together with the handshake. */
static void on_upgrade(void *cls, struct MHD_Connection *conn, void *con_cls, const char *extra,
                       size_t n_extra, MHD_socket fd, struct MHD_UpgradeResponseHandle *urh) {
    (void)conn;
    http_ws *ws = cls;
    ((http_request *)con_cls)->ws = NULL;
    int one = 1;
    unsigned dead_ms = LIMIT_WS_STALL_S * 1000;
    ws->fd = fd;
    ws->urh = urh;
    ws->moved_ns = clock_mono_ns();
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &dead_ms, sizeof dead_ms);
    ws->events.on_open(ws, ws->arg);
    pthread_mutex_lock(&ws->lock);
    if (n_extra) ws_session_take(ws->session, (str){extra, n_extra});
    pthread_mutex_unlock(&ws->lock);
    deliver(ws);
    if (adopt(ws)) return;
    ws->events.on_close(ws, ws->arg);
    MHD_upgrade_action(ws->urh, MHD_UPGRADE_ACTION_CLOSE);
    ws_destroy(ws);
}

void http_ws_drop(http_request *r) {
    r->ws->events.on_close(r->ws, r->ws->arg);
    ws_destroy(r->ws);
    r->ws = NULL;
}

static bool has_token(str list, const char *token) {
    while (list.len)
        if (str_eq_nocase(str_trim(str_cut(&list, ',')), str_from(token))) return true;
    return false;
}

void http_ws_accept(http_request *r, const http_ws_events *events, void *arg) {
    char accept[29];
    str key = http_request_header(r, "Sec-WebSocket-Key");
    const char *problem = NULL;
    if (!has_token(http_request_header(r, "Upgrade"), "websocket"))
        problem = "No WebSocket UPGRADE hdr: None\n Can \"Upgrade\" only to \"WebSocket\".";
    else if (!has_token(http_request_header(r, "Connection"), "upgrade"))
        problem = "No CONNECTION upgrade hdr";
    else if (!str_eq(http_request_header(r, "Sec-WebSocket-Version"), STR("13")))
        problem = "Unsupported version: only 13 is";
    else if (key.len == 0 || key.len > 64)
        problem = "Handshake error: bad key";
    if (problem) {
        events->on_close(NULL, arg);
        http_reply_text(r, 400, problem);
        return;
    }
    http_ws *ws = NEW(http_ws);
    ws->owner = r->server->sockets;
    ws->events = *events;
    ws->arg = arg;
    ws->fd = -1;
    ws->inbox = arena_create(0);
    ws->session = ws_session_create(on_frame, ws);
    pthread_mutex_init(&ws->lock, NULL);
    ws_accept_key(key, accept);
    struct MHD_Response *response = MHD_create_response_for_upgrade(on_upgrade, ws);
    MHD_add_response_header(response, "Upgrade", "websocket");
    MHD_add_response_header(response, "Sec-WebSocket-Accept", accept);
    r->ws = ws;
    http_queue(r, 101, response);
}
