/* Inside http/: what a connection, its request and its stream share. Not for other modules.
 *
 * Lock order: stream->lock, then server->streams_lock. The connection's thread owns everything here
 * except what http_stream keeps under its lock. */
#pragma once
#include "base/buf.h"
#include "http/stream.h"
#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>

enum { HTTP_PARAMS_MAX = 4, HTTP_HEADERS_MAX = 16, HTTP_THREADS = 3 };

typedef struct http_param {
    const char *name; /* points into the pattern */
    size_t name_len;
    str value;
} http_param;

struct http_request {
    http_server *server;
    struct MHD_Connection *conn;
    arena *arena;
    str method, path;
    const http_route *route;
    http_mount mount; /* where the route was found; prefix "" for the server's own table */
    const void *user;
    uint64_t body_bytes_max;
    http_param params[HTTP_PARAMS_MAX];
    size_t n_params;
    struct {
        const char *name, *text;
    } headers[HTTP_HEADERS_MAX]; /* of the answer */
    size_t n_headers;
    buf body;
    bool body_too_long;
    void *sink;
    bool sink_done;
    bool replied;
    enum MHD_Result queued; /* what MHD said to the answer */
    http_stream *stream;    /* or NULL; referenced */
    struct http_ws *ws;     /* accepted, not upgraded yet; or NULL */
};

typedef struct http_sockets http_sockets;

struct http_server {
    http_config config;
    http_route fallback; /* config.fallback as a route */
    struct MHD_Daemon *daemon;
    bool loopback;
    int port;
    atomic_int n_active;
    atomic_bool is_closing; /* new requests are turned away */
    int watch_fd;           /* epoll of sockets whose connections sleep */
    int stop_fd;            /* eventfd that ends the watcher */
    pthread_t watcher;
    pthread_mutex_t streams_lock;
    http_stream *streams; /* list of live ones */
    http_sockets *sockets;
};

/* router.c */
/* %XX decoded, and + when it stands for a space; a malformed escape stays as it is. */
str http_decode(arena *a, str s, bool plus);
const http_route *http_route_find(const http_server *s, http_request *r);
void http_route_reply_missing(http_request *r); /* 404, or 405 with Allow */

/* guard.c: false when the request was answered (403, or a preflight's 204). */
bool http_guard(http_request *r);

/* stream.c */
enum MHD_Result http_stream_serve(http_request *r); /* on the connection's thread */
void http_stream_detach(http_request *r);           /* the connection is over */
void http_stream_cancel_all(http_server *s);
err_code http_watch_start(http_server *s, err *e);
void http_watch_stop(http_server *s);

/* ws.c: the thread of WebSockets. stop closes all and takes no more; destroy when no request is
 * left. http_ws_drop ends one whose client left before the upgrade. */
http_sockets *http_sockets_create(void);
void http_sockets_stop(http_sockets *s);
void http_sockets_destroy(http_sockets **s);
void http_ws_drop(http_request *r);

/* server.c */
void http_queue(http_request *r, int status, struct MHD_Response *response);
