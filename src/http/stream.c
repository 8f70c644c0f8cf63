/* Late and piecewise answers, and the watch over sleeping connections.
 *
 * A stream is shared by its writer and its connection; both hold a reference. While there is
 * nothing to send the connection is suspended, and libmicrohttpd does not look at its socket: the
 * watcher thread does, with an epoll set of its own, and says when the client has gone. */
#include "base/limits.h"
#include "http/json.h"
#include "http/request.h"
#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

struct http_stream {
    pthread_mutex_t lock;
    http_server *server;
    http_stream *next, **at;     /* in the server's list; under streams_lock */
    int n_refs;                  /* under lock */
    struct MHD_Connection *conn; /* NULL when it is over */
    int fd;
    const char *content_type;
    void (*on_gone)(void *arg);
    void *arg;
    buf bytes;       /* written, not sent yet */
    int late_status; /* a complete answer in `bytes` instead of a stream */
    bool started;    /* the streaming response was queued */
    bool ended, gone, suspended, writer_left;
};

static void list_add(http_stream *s) {
    pthread_mutex_lock(&s->server->streams_lock);
    s->next = s->server->streams;
    s->at = &s->server->streams;
    if (s->next) s->next->at = &s->next;
    s->server->streams = s;
    pthread_mutex_unlock(&s->server->streams_lock);
}

static void list_remove(http_stream *s) {
    pthread_mutex_lock(&s->server->streams_lock);
    *s->at = s->next;
    if (s->next) s->next->at = s->at;
    pthread_mutex_unlock(&s->server->streams_lock);
}

/* Unlocks; frees with the last reference. */
static void unref_unlock(http_stream *s) {
    bool last = --s->n_refs == 0;
    pthread_mutex_unlock(&s->lock);
    if (!last) return;
    list_remove(s);
    pthread_mutex_destroy(&s->lock);
    buf_finish(&s->bytes);
    mem_free(s);
}

http_stream *http_stream_create(http_request *r, const char *content_type,
                                void (*on_gone)(void *arg), void *arg) {
    assert(!r->stream && !r->replied);
    http_stream *s = NEW(http_stream);
    pthread_mutex_init(&s->lock, NULL);
    s->server = r->server;
    s->conn = r->conn;
    s->content_type = content_type;
    s->on_gone = on_gone;
    s->arg = arg;
    s->n_refs = 2;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(r->conn, MHD_CONNECTION_INFO_CONNECTION_FD);
    s->fd = info ? info->connect_fd : -1;
    /* The timeout is for slow requests; an answer may take as long as it takes. */
    MHD_set_connection_option(r->conn, MHD_CONNECTION_OPTION_TIMEOUT, 0u);
    r->stream = s;
    list_add(s);
    struct epoll_event ev = {.events = EPOLLRDHUP | EPOLLONESHOT, .data.ptr = s};
    epoll_ctl(s->server->watch_fd, EPOLL_CTL_ADD, s->fd, &ev);
    return s;
}

/* Locked. Lets the connection's thread look again. */
static void wake(http_stream *s) {
    if (!s->suspended || !s->conn) return;
    s->suspended = false;
    MHD_resume_connection(s->conn);
}

/* Locked. Nobody reads any more: drops what waits and has the connection closed, even one that
 * waits for its client to read. */
static void give_up(http_stream *s) {
    s->gone = true;
    buf_finish(&s->bytes);
    if (s->conn) shutdown(s->fd, SHUT_RDWR);
    wake(s);
}

/* Locked, also while the writer is told, which happens once. */
static void mark_gone(http_stream *s) {
    if (s->gone) return;
    s->gone = true;
    if (s->writer_left || !s->on_gone) return;
    s->on_gone(s->arg);
}

bool http_stream_write(http_stream *s, str bytes) {
    pthread_mutex_lock(&s->lock);
    assert(!s->ended);
    if (!s->gone && s->bytes.len + bytes.len > LIMIT_STREAM_BYTES) give_up(s);
    bool ok = !s->gone;
    if (ok) buf_put_str(&s->bytes, bytes);
    wake(s);
    pthread_mutex_unlock(&s->lock);
    return ok;
}

void http_stream_end(http_stream *s) {
    pthread_mutex_lock(&s->lock);
    s->ended = true;
    wake(s);
    pthread_mutex_unlock(&s->lock);
}

void http_stream_reply_json(http_stream *s, int status, const json_t *body) {
    pthread_mutex_lock(&s->lock);
    assert(!s->ended && !s->started);
    buf_clear(&s->bytes);
    json_write(&s->bytes, body);
    s->late_status = status;
    s->ended = true;
    wake(s);
    pthread_mutex_unlock(&s->lock);
}

bool http_stream_gone(http_stream *s) {
    pthread_mutex_lock(&s->lock);
    bool gone = s->gone;
    pthread_mutex_unlock(&s->lock);
    return gone;
}

void http_stream_destroy(http_stream **ps) {
    if (!ps || !*ps) return;
    http_stream *s = *ps;
    *ps = NULL;
    pthread_mutex_lock(&s->lock);
    s->writer_left = true;
    s->ended = true;
    wake(s);
    unref_unlock(s);
}

/* Feeds the streaming response; sleeps when there is nothing. */
static ssize_t on_read(void *cls, uint64_t pos, char *dst, size_t max) {
    (void)pos;
    http_stream *s = cls;
    pthread_mutex_lock(&s->lock);
    ssize_t n = 0;
    if (s->gone) {
        n = MHD_CONTENT_READER_END_WITH_ERROR;
    } else if (s->bytes.len) {
        n = (ssize_t)(s->bytes.len < max ? s->bytes.len : max);
        memcpy(dst, s->bytes.ptr, (size_t)n);
        buf_drop_front(&s->bytes, (size_t)n);
    } else if (s->ended) {
        n = MHD_CONTENT_READER_END_OF_STREAM;
    } else {
        s->suspended = true;
        MHD_suspend_connection(s->conn);
    }
    pthread_mutex_unlock(&s->lock);
    return n;
}

static void queue_late_json(http_request *r, http_stream *s) {
    http_reply(r, s->late_status, "application/json; charset=utf-8", buf_str(&s->bytes));
}

/* Not locked: the library holds the response's lock when it calls on_read, which takes ours. */
static void queue_stream(http_request *r, http_stream *s) {
    struct MHD_Response *response =
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 16 << 10, on_read, s, NULL);
    MHD_add_response_header(response, "Content-Type", s->content_type);
    http_queue(r, 200, response);
}

enum MHD_Result http_stream_serve(http_request *r) {
    http_stream *s = r->stream;
    pthread_mutex_lock(&s->lock);
    enum MHD_Result result = MHD_YES;
    bool starts = false;
    if (s->gone) {
        result = MHD_NO; /* closes the connection */
    } else if (s->late_status) {
        queue_late_json(r, s);
        result = r->queued;
    } else if (s->bytes.len || s->ended) {
        s->started = true;
        starts = true;
    } else {
        s->suspended = true;
        MHD_suspend_connection(s->conn);
    }
    pthread_mutex_unlock(&s->lock);
    if (!starts) return result;
    queue_stream(r, s);
    return r->queued;
}

void http_stream_detach(http_request *r) {
    http_stream *s = r->stream;
    r->stream = NULL;
    epoll_ctl(s->server->watch_fd, EPOLL_CTL_DEL, s->fd, NULL);
    pthread_mutex_lock(&s->lock);
    s->conn = NULL;
    mark_gone(s);
    unref_unlock(s);
}

/* Finds a stream in the list, so that a late event for a freed one is harmless, and marks it. One
 * without references is about to leave the list and is freed after that: hands off. */
static void client_left(http_server *server, http_stream *wanted) {
    pthread_mutex_lock(&server->streams_lock);
    http_stream *s = server->streams;
    while (s && s != wanted) s = s->next;
    bool mine = s && pthread_mutex_trylock(&s->lock) == 0;
    if (mine && s->n_refs == 0) {
        pthread_mutex_unlock(&s->lock);
        mine = false;
    } else if (s && !mine) {
        struct epoll_event ev = {.events = EPOLLRDHUP | EPOLLONESHOT, .data.ptr = s};
        epoll_ctl(server->watch_fd, EPOLL_CTL_MOD, s->fd, &ev); /* busy: come again */
    }
    pthread_mutex_unlock(&server->streams_lock);
    if (!mine) return;
    mark_gone(s);
    wake(s);
    pthread_mutex_unlock(&s->lock);
}

static void *watch_main(void *arg) {
    http_server *server = arg;
    for (;;) {
        struct epoll_event ev[16];
        int n = epoll_wait(server->watch_fd, ev, 16, -1);
        if (n < 0 && errno != EINTR) return NULL;
        for (int i = 0; i < n; i++) {
            if (!ev[i].data.ptr) return NULL;
            client_left(server, ev[i].data.ptr);
        }
    }
}

err_code http_watch_start(http_server *s, err *e) {
    s->watch_fd = epoll_create1(EPOLL_CLOEXEC);
    s->stop_fd = eventfd(0, EFD_CLOEXEC);
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = NULL};
    if (s->watch_fd < 0 || s->stop_fd < 0 ||
        epoll_ctl(s->watch_fd, EPOLL_CTL_ADD, s->stop_fd, &ev) ||
        pthread_create(&s->watcher, NULL, watch_main, s))
        FAIL(e, IO, "cannot watch connections: %s", strerror(errno));
    return ERR_OK;
}

void http_watch_stop(http_server *s) {
    uint64_t one = 1;
    if (write(s->stop_fd, &one, sizeof one) == sizeof one) pthread_join(s->watcher, NULL);
    close(s->watch_fd);
    close(s->stop_fd);
}

void http_stream_cancel_all(http_server *server) {
    pthread_mutex_lock(&server->streams_lock);
    for (http_stream *s = server->streams; s; s = s->next) {
        if (pthread_mutex_trylock(&s->lock)) continue; /* busy: the caller comes again */
        mark_gone(s);
        wake(s);
        pthread_mutex_unlock(&s->lock);
    }
    pthread_mutex_unlock(&server->streams_lock);
}
