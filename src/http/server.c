/* The server's life and a request's way through it.
 *
 * libmicrohttpd calls on_access first with the headers, then with pieces of the body, then once
 * more when it is complete: there the handler runs. A request with a stream sleeps until somebody
 * writes; on_access is then called again and http_stream_serve answers. Threads: HTTP_THREADS epoll
 * threads of libmicrohttpd; a connection stays on one. */
#include "base/limits.h"
#include "http/inflate.h"
#include "http/json.h"
#include "http/request.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

void http_queue(http_request *r, int status, struct MHD_Response *response) {
    for (size_t i = 0; i < r->n_headers; i++)
        MHD_add_response_header(response, r->headers[i].name, r->headers[i].text);
    r->queued = MHD_queue_response(r->conn, (unsigned)status, response);
    r->replied = true;
    MHD_destroy_response(response);
}

void http_reply_header(http_request *r, const char *name, const char *text) {
    if (r->n_headers == HTTP_HEADERS_MAX) return;
    r->headers[r->n_headers].name = name;
    r->headers[r->n_headers++].text = text;
}

void http_reply(http_request *r, int status, const char *content_type, str body) {
    if (r->replied) return;
    void *bytes = (void *)(uintptr_t)body.ptr;
    struct MHD_Response *response =
        MHD_create_response_from_buffer(body.len, bytes, MHD_RESPMEM_MUST_COPY);
    if (content_type) MHD_add_response_header(response, "Content-Type", content_type);
    http_queue(r, status, response);
}

void http_reply_text(http_request *r, int status, const char *text) {
    http_reply(r, status, status < 400 ? "text/plain; charset=utf-8" : "text/plain",
               str_from(text));
}

void http_reply_json(http_request *r, int status, const json_t *body) {
    buf b = {0};
    json_write(&b, body);
    http_reply(r, status, "application/json; charset=utf-8", buf_str(&b));
    buf_finish(&b);
}

str http_request_method(const http_request *r) {
    return r->method;
}
str http_request_path(const http_request *r) {
    return r->path;
}
str http_request_body(const http_request *r) {
    return buf_str(&r->body);
}
void *http_request_sink(const http_request *r) {
    return r->sink;
}
arena *http_request_arena(http_request *r) {
    return r->arena;
}

str http_request_header(const http_request *r, const char *name) {
    return str_from(MHD_lookup_connection_value(r->conn, MHD_HEADER_KIND, name));
}

str http_request_query(http_request *r, const char *name) {
    const char *text = MHD_lookup_connection_value(r->conn, MHD_GET_ARGUMENT_KIND, name);
    return text ? http_decode(r->arena, str_from(text), true) : (str){0};
}

str http_request_param(const http_request *r, const char *name) {
    for (size_t i = 0; i < r->n_params; i++)
        if (str_eq((str){r->params[i].name, r->params[i].name_len}, str_from(name)))
            return r->params[i].value;
    return (str){0};
}

const char *http_request_pattern(const http_request *r) {
    return r->route ? r->route->pattern : NULL;
}

const char *http_request_prefix(const http_request *r) {
    return r->mount.prefix;
}

bool http_request_param_at(const http_request *r, size_t i, str *ret_name, str *ret_value) {
    if (i >= r->n_params) return false;
    *ret_name = (str){r->params[i].name, r->params[i].name_len};
    *ret_value = r->params[i].value;
    return true;
}

str http_request_peer(http_request *r) {
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(r->conn, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    char text[INET6_ADDRSTRLEN] = "";
    const struct sockaddr *a = info ? info->client_addr : NULL;
    if (a && a->sa_family == AF_INET6)
        inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)(const void *)a)->sin6_addr, text,
                  sizeof text);
    else if (a && a->sa_family == AF_INET)
        inet_ntop(AF_INET, &((const struct sockaddr_in *)(const void *)a)->sin_addr, text,
                  sizeof text);
    return str_dup(r->arena, str_from(text));
}

void http_request_set_user(http_request *r, const void *user) {
    r->user = user;
}

const void *http_request_user(const http_request *r) {
    return r->user;
}

void http_request_set_body(http_request *r, str body) {
    buf fresh = {0};
    buf_put_str(&fresh, body);
    buf_finish(&r->body);
    r->body = fresh;
}

void http_request_limit_body(http_request *r, uint64_t n_bytes) {
    if (n_bytes < r->body_bytes_max) r->body_bytes_max = n_bytes;
}

static http_request *request_create(http_server *s, struct MHD_Connection *conn, const char *url,
                                    const char *method) {
    http_request *r = NEW(http_request);
    r->server = s;
    r->conn = conn;
    r->arena = arena_create(0);
    r->queued = MHD_YES;
    r->body_bytes_max = LIMIT_HTTP_BODY_BYTES;
    r->method = str_dup(r->arena, str_from(method));
    r->path = str_dup(r->arena, str_from(url));
    atomic_fetch_add(&s->n_active, 1);
    return r;
}

/* The headers are here: who is it, where does it go, will the body be taken? */
static void begin(http_request *r) {
    if (!http_guard(r)) return;
    if (atomic_load(&r->server->is_closing)) {
        http_reply_text(r, 503, "the server is shutting down");
        return;
    }
    const http_config *c = &r->server->config;
    r->route = http_route_find(r->server, r);
    if (c->gate && !c->gate(r, c->gate_ctx)) return;
    if (!r->route) {
        http_route_reply_missing(r);
        return;
    }
    if (r->route->sink) r->sink = r->route->sink->begin(r, r->mount.ctx);
}

static void take_piece(http_request *r, const char *bytes, size_t n_bytes) {
    if (r->replied || r->body_too_long) return; /* read on and drop, so that the answer arrives */
    if (r->sink) {
        if (!r->sink_done && !r->route->sink->piece(r->sink, bytes, n_bytes)) r->sink_done = true;
    } else if (r->body.len + n_bytes > r->body_bytes_max) {
        r->body_too_long = true;
    } else {
        buf_put(&r->body, bytes, n_bytes);
    }
}

/* In the words of every API here at once; takes the reference. */
static void refuse(http_request *r, int status, json_t *text) {
    json_t *body = json_pack("{s:o, s:O}", "error", text, "detail", text);
    http_reply_json(r, status, body);
    json_decref(body);
}

/* False: answered. */
static bool inflate_if_compressed(http_request *r) {
    str coding = http_request_header(r, "Content-Encoding");
    if (r->body.len == 0 || inflate_is_plain(coding)) return true;
    buf plain = {0};
    err e;
    uint64_t most = LIMIT_HTTP_INFLATED_BYTES;
    if (r->body_bytes_max < most) most = r->body_bytes_max;
    err_code code = inflate_body(coding, buf_str(&r->body), most, &plain, &e);
    buf_finish(&r->body);
    r->body = plain;
    if (code == ERR_OK) return true;
    int status = code == ERR_UNSUPPORTED ? 415 : code == ERR_LIMIT ? 413 : 400;
    refuse(r, status, json_string(e.msg));
    return false;
}

static enum MHD_Result finish(http_request *r) {
    if (r->body_too_long) {
        refuse(r, 413,
               json_sprintf("request body is larger than %llu bytes",
                            (unsigned long long)r->body_bytes_max));
    } else if (inflate_if_compressed(r)) {
        r->route->handler(r, r->mount.ctx);
        r->sink = NULL; /* the handler took it */
    }
    if (r->stream) return http_stream_serve(r);
    if (!r->replied) http_reply_text(r, 500, "the handler did not answer");
    return r->queued;
}

static enum MHD_Result on_access(void *cls, struct MHD_Connection *conn, const char *url,
                                 const char *method, const char *version, const char *data,
                                 size_t *n_data, void **con_cls) {
    (void)version;
    http_request *r = *con_cls;
    if (!r) {
        *con_cls = r = request_create(cls, conn, url, method);
        begin(r);
        return r->queued;
    }
    if (r->stream) return http_stream_serve(r);
    if (r->replied && *n_data == 0) return r->queued;
    if (*n_data) {
        take_piece(r, data, *n_data);
        *n_data = 0;
        return MHD_YES;
    }
    return finish(r);
}

static void on_completed(void *cls, struct MHD_Connection *conn, void **con_cls,
                         enum MHD_RequestTerminationCode code) {
    (void)cls, (void)conn, (void)code;
    http_request *r = *con_cls;
    if (!r) return;
    if (r->stream) http_stream_detach(r);
    if (r->ws) http_ws_drop(r);
    if (r->sink && r->route->sink->abandon) r->route->sink->abandon(r->sink);
    atomic_fetch_sub(&r->server->n_active, 1);
    buf_finish(&r->body);
    arena_destroy(&r->arena);
    mem_free(r);
    *con_cls = NULL;
}

/* URLs stay as they came: the router decodes parameters itself, after cutting at slashes. */
static size_t keep_escapes(void *cls, struct MHD_Connection *conn, char *text) {
    (void)cls, (void)conn;
    return strlen(text);
}

static void be_silent(void *cls, const char *fmt, va_list args) {
    (void)cls, (void)fmt, (void)args;
}

static int listen_on(const http_addr *addr, err *e) {
    char port[16];
    snprintf(port, sizeof port, "%d", addr->port);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *list = NULL;
    int rc = getaddrinfo(addr->host, port, &hints, &list);
    if (rc)
        return err_set(e, ERR_INVALID, "cannot resolve %s: %s", addr->host, gai_strerror(rc)), -1;
    int fd = socket(list->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), one = 1;
    if (fd >= 0) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (fd < 0 || bind(fd, list->ai_addr, list->ai_addrlen) || listen(fd, 511)) {
        err_set(e, ERR_IO, "cannot listen on %s port %d: %s", addr->host, addr->port,
                strerror(errno));
        if (fd >= 0) close(fd);
        fd = -1;
    }
    freeaddrinfo(list);
    return fd;
}

static int port_of(int fd) {
    struct sockaddr_storage a;
    socklen_t n = sizeof a;
    if (getsockname(fd, (struct sockaddr *)&a, &n)) return 0;
    if (a.ss_family == AF_INET6) return ntohs(((struct sockaddr_in6 *)(void *)&a)->sin6_port);
    return ntohs(((struct sockaddr_in *)(void *)&a)->sin_port);
}

err_code http_server_create(const http_config *c, http_server **ret, err *e) {
    int fd = listen_on(&c->addr, e);
    if (fd < 0) return e->code;
    http_server *s = NEW(http_server);
    s->config = *c;
    s->fallback = (http_route){"GET", "/*", c->fallback, NULL};
    s->loopback = http_addr_is_loopback(&c->addr);
    s->port = port_of(fd);
    pthread_mutex_init(&s->streams_lock, NULL);
    if (http_watch_start(s, e)) {
        close(fd);
        mem_free(s);
        return e->code;
    }
    s->sockets = http_sockets_create();
    s->daemon = MHD_start_daemon(
        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_ALLOW_UPGRADE |
            MHD_USE_ERROR_LOG,
        0, NULL, NULL, on_access, s, MHD_OPTION_EXTERNAL_LOGGER, be_silent, NULL,
        MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL,
        MHD_OPTION_THREAD_POOL_SIZE, (unsigned)HTTP_THREADS, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)LIMIT_HTTP_CONNECTIONS, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)LIMIT_HTTP_HEADER_BYTES, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)LIMIT_HTTP_IDLE_S,
        MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes, NULL, MHD_OPTION_END);
    if (!s->daemon) {
        http_watch_stop(s);
        http_sockets_stop(s->sockets);
        http_sockets_destroy(&s->sockets);
        close(fd);
        mem_free(s);
        FAIL(e, IO, "the HTTP server on %s port %d did not start", c->addr.host, c->addr.port);
    }
    *ret = s;
    return ERR_OK;
}

static bool has_streams(http_server *s) {
    pthread_mutex_lock(&s->streams_lock);
    bool any = s->streams != NULL;
    pthread_mutex_unlock(&s->streams_lock);
    return any;
}

void http_server_destroy(http_server **ps) {
    if (!ps || !*ps) return;
    http_server *s = *ps;
    /* not MHD_quiesce_daemon: its workers may panic over the listening socket it takes from them */
    atomic_store(&s->is_closing, true);
    http_stream_cancel_all(s);
    http_sockets_stop(s->sockets);
    for (int i = 0; i < 500 && atomic_load(&s->n_active) > 0; i++) {
        usleep(10000);
        http_stream_cancel_all(s); /* those that were busy, and those just made */
    }
    MHD_stop_daemon(s->daemon);
    http_sockets_destroy(&s->sockets);
    /* writers were told; their streams still know the server until they let go */
    for (int i = 0; i < 5000 && has_streams(s); i++) usleep(1000);
    http_watch_stop(s);
    pthread_mutex_destroy(&s->streams_lock);
    mem_free(s);
    *ps = NULL;
}

int http_server_port(const http_server *s) {
    return s->port;
}
