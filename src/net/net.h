/* The server's only way out: one HTTP client (libcurl) behind a table of allowed hosts.
 *
 * Every request names the registry it is made for (`home`). A host is asked when it is that
 * registry or one of the storage hosts of its row in the table (net_policy.c), or when the
 * administrator listed it. Addresses that are not public (loopback, private, link-local, ...) are
 * refused when the connection is made, on the very address that would be connected to, unless the
 * host was listed: a name that resolves differently the second time gains nothing. Redirects are
 * followed here, hop by hop, under the same rules, never from https to http, and credentials stay
 * with the origin they were meant for. Everything has a limit: header bytes, body bytes, hops, time
 * without progress.
 * Owner: whoever created it. Threads: any, at the same time. */
#pragma once
#include "base/err.h"
#include "base/str.h"
#include <stdatomic.h>
#include <stdint.h>

typedef struct net net;

typedef struct net_config {
    const char *user_agent;
    const char *hosts; /* comma list of "host", "host:port", "*.domain"; "*": any public host */
    const char *http_proxy, *https_proxy, *no_proxy; /* as in the environment; may be NULL */
    const char *ca_file;                             /* NULL = the system's */
    int32_t stall_s; /* without progress for so long: given up; 0 = 30 */
} net_config;

net *net_create(const net_config *c);
void net_destroy(net **n);

typedef struct net_reply {
    int status;
    str headers; /* as they came, of the last hop */
    str body;    /* unless a sink took it */
    str url;     /* of the last hop */
} net_reply;

/* The value of the first header of that name, trimmed; empty when absent. */
str net_reply_header(const net_reply *r, const char *name);

/* Takes the body of a 2xx answer as it comes; other answers are collected. begin sees status and
 * headers before the first byte; false from either ends the exchange with CANCELLED. */
typedef struct net_sink {
    bool (*begin)(void *arg, const net_reply *head);
    bool (*piece)(void *arg, const void *bytes, size_t n_bytes);
    void *arg;
} net_sink;

typedef struct net_request {
    const char *method; /* NULL = GET */
    str url;
    str home;           /* "host" or "host:port" of the registry */
    bool plain;         /* http:// is allowed (`insecure`) */
    bool no_follow;     /* a redirect is an answer like others */
    str authorization;  /* header value; sent to the origin of `url` only */
    const str *headers; /* [n_headers], "Name: value" */
    size_t n_headers;
    str body;                                          /* of a POST, PUT or PATCH */
    size_t (*read)(void *arg, char *dst, size_t room); /* instead of `body`: body_bytes in all */
    void (*rewind)(void *arg);                         /* called before each attempt; or NULL */
    void *read_arg;
    uint64_t body_bytes;
    uint64_t reply_max;        /* bytes of the answer; 0 = LIMIT_NET_REPLY_BYTES */
    const net_sink *sink;      /* NULL: the answer is collected in `a` */
    const atomic_bool *cancel; /* set from outside: stop; may be NULL */
} net_request;

/* One exchange. ERR_OK whatever the status. UNSUPPORTED: the rules forbid the host, the scheme or
 * the address; LIMIT: more bytes or hops than allowed; CANCELLED; IO: everything else, worded as
 * `Get "https://...": reason`. */
err_code net_send(net *n, const net_request *q, arena *a, net_reply *ret, err *e);

/* Whether the rules allow asking this URL for that registry: UNSUPPORTED says what to set. */
err_code net_check(const net *n, str url, str home, bool plain, err *e);
/* "host[:port]" of a URL, lower case, the port only if it is not the scheme's. */
err_code net_url_host(arena *a, str url, str *ret, err *e);
/* A Location (absolute, or relative to base) as an absolute URL. */
err_code net_url_join(arena *a, str base, str location, str *ret, err *e);
/* An address of this socket family that is on the open internet (tests). */
struct sockaddr;
bool net_addr_is_public(const struct sockaddr *addr);
