/* The HTTP server: connections, routes, requests and answers (libmicrohttpd).
 *
 * A handler runs on an HTTP thread when the request's body is complete and answers before it
 * returns, or makes an http_stream (http/stream.h) and answers later from any thread. A request and
 * its arena live until its answer is sent or its client is gone. HTTP knows no model: it serves a
 * table of routes. Wrong method: 405 with Allow; unknown path: 404; both as text, as clients of the
 * chat API expect. The Host header is checked on loopback and Origin everywhere before any handler.
 * Threads: create and destroy from one; the rest says for itself. */
#pragma once
#include "base/err.h"
#include "base/str.h"
#include <jansson.h>

typedef struct http_server http_server;
typedef struct http_request http_request;

/* An address to listen on or talk to: `[scheme://]host[:port][/path]`. */
typedef struct http_addr {
    char host[256]; /* name or literal, without brackets */
    int port;
    bool tls;
    bool off; /* the text was "off" */
} http_addr;

/* OLLAMA_HOST's rules: default port unless a scheme gives 80 or 443; a port that is not one counts
 * as the default; an empty host is 127.0.0.1. Never fails. */
http_addr http_addr_parse(const char *text, int default_port);
/* "http://host:port" with brackets around IPv6 literals; an unspecified address becomes loopback.
 */
void http_addr_url(const http_addr *addr, char *out, size_t n_bytes);
bool http_addr_is_loopback(const http_addr *addr);

typedef void (*http_handler)(http_request *r, void *ctx);

/* A body that is handed over in pieces instead of being collected (blob uploads). begin may answer
 * at once (then the body is dropped); piece returns false to stop reading. The handler runs last.
 */
typedef struct http_sink {
    void *(*begin)(http_request *r, void *ctx); /* NULL: answered already */
    bool (*piece)(void *sink, const void *bytes, size_t n_bytes);
    void (*abandon)(void *sink); /* the client went away before the end */
} http_sink;

typedef struct http_route {
    const char *method;
    const char *pattern; /* "/api/blobs/:digest"; a parameter is one segment, "*rest" all others */
    http_handler handler;
    const http_sink *sink; /* NULL: the body is collected */
} http_route;

/* Who is kept out beside unknown hosts on a loopback address. */
typedef enum http_guard_kind {
    HTTP_GUARD_ORIGINS, /* every Origin that is neither local nor listed in `origins` */
    HTTP_GUARD_SITES,   /* cross-site fetches, and on loopback an Origin that is not the Host;
                         * nobody when `origins`, the one origin to echo or "*", is given */
    HTTP_GUARD_SAME     /* every Origin that is neither the Host nor listed in `origins` */
} http_guard_kind;

/* More routes of the same server below a prefix, with a context of their own. A request's path is
 * then what follows the prefix. The fields are those of http_config. */
typedef struct http_mount {
    const char *prefix; /* "/comfy" */
    const http_route *routes;
    size_t n_routes;
    void *ctx;
    const char *also_prefix;
    bool head_gets;
    const char *upload_dir;
    uint64_t upload_bytes_max;
} http_mount;

typedef struct http_config {
    http_addr addr;           /* port 0 = any free one */
    const http_route *routes; /* [n_routes], borrowed */
    size_t n_routes;
    void *ctx;           /* for the handlers */
    const char *origins; /* more allowed origins, comma list, '*' wildcards */
    http_guard_kind guard;
    http_handler fallback;     /* for GET and HEAD of paths that no route has; NULL = 404 */
    const char *also_prefix;   /* "/api": every route answers below it too, but /internal/ */
    bool head_gets;            /* HEAD is answered by GET's handler where it has none */
    const char *upload_dir;    /* for http/form.h; NULL = no uploads */
    uint64_t upload_bytes_max; /* of one form */
    const http_mount *mounts;  /* [n_mounts], borrowed; found before `routes` */
    size_t n_mounts;
    /* Asked when the headers are here, before the body is read and before any handler; false: it
     * has answered. NULL = everybody may. */
    bool (*gate)(http_request *r, void *gate_ctx);
    void *gate_ctx;
} http_config;

err_code http_server_create(const http_config *c, http_server **ret, err *e);
/* Stops accepting, cancels the streams, lets answers under way finish (at most 5 s), ends. */
void http_server_destroy(http_server **s);
int http_server_port(const http_server *s);

/* The request. Strings live as long as it does. */
str http_request_method(const http_request *r);
str http_request_path(const http_request *r);
str http_decode_path(arena *a, str path);                        /* %XX decoded */
str http_request_param(const http_request *r, const char *name); /* of the pattern; decoded */
str http_request_query(http_request *r, const char *name);       /* decoded; ptr NULL when absent */
str http_request_header(const http_request *r, const char *name);
str http_request_body(const http_request *r);
void *http_request_sink(const http_request *r); /* what http_sink.begin returned */
arena *http_request_arena(http_request *r);
/* The route's pattern and its mount's prefix; NULL when no route was found, "" for no mount. */
const char *http_request_pattern(const http_request *r);
const char *http_request_prefix(const http_request *r);
/* Parameter i of the pattern: false when there is none. */
bool http_request_param_at(const http_request *r, size_t i, str *ret_name, str *ret_value);
/* The client's address as text, without its port. */
str http_request_peer(http_request *r);
/* Who asks, as the gate found out; lives as long as the request. */
void http_request_set_user(http_request *r, const void *user);
const void *http_request_user(const http_request *r);
/* For a handler that hands the request on: another body, copied. */
void http_request_set_body(http_request *r, str body);
/* For a gate: a bound below LIMIT_HTTP_BODY_BYTES. */
void http_request_limit_body(http_request *r, uint64_t n_bytes);

/* Answers: once per request, from its handler. The body is copied. */
void http_reply(http_request *r, int status, const char *content_type, str body);
void http_reply_text(http_request *r, int status, const char *text);
void http_reply_json(http_request *r, int status, const json_t *body);
/* A file's bytes, whole or the one range that was asked for (206, 416), with Last-Modified and
 * If-Modified-Since. False, nothing answered, when it is no readable regular file. */
bool http_reply_file(http_request *r, const char *path, const char *content_type);
void http_reply_header(http_request *r, const char *name,
                       const char *text); /* before replying; borrowed */
