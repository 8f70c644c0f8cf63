/* A server on a free loopback port and a client made of plain sockets, for the tests of http/. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "http/http.h"
#include "http/stream.h"
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static http_server *rig_server;

static inline void rig_start(const http_route *routes, size_t n_routes, const char *host,
                             const char *origins) {
    http_config c = {.addr = http_addr_parse(host, 0),
                     .routes = routes,
                     .n_routes = n_routes,
                     .origins = origins};
    c.addr.port = 0;
    err e = {0};
    if (http_server_create(&c, &rig_server, &e)) fail_msg("%s", e.msg);
    assert_true(http_server_port(rig_server) > 0);
}

static inline int rig_connect(void) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)http_server_port(rig_server)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval limit = {.tv_sec = 30}; /* a hung server fails the test, it does not hang it */
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

/* False when the peer closed while we were sending. */
static inline bool rig_send(int fd, const void *bytes, size_t n) {
    const char *p = bytes;
    while (n) {
        ssize_t k = send(fd, p, n, MSG_NOSIGNAL);
        if (k <= 0) return false;
        p += k;
        n -= (size_t)k;
    }
    return true;
}

static inline bool rig_send_text(int fd, const char *text) {
    return rig_send(fd, text, strlen(text));
}

typedef struct rig_reply {
    int status;
    buf head; /* with the status line and the empty line */
    buf body; /* chunks put together */
    bool whole;
} rig_reply;

static inline void rig_reply_finish(rig_reply *r) {
    buf_finish(&r->head);
    buf_finish(&r->body);
    *r = (rig_reply){0};
}

/* Value of an answer's header, trimmed; "" when absent. Valid until the next call. */
static inline const char *rig_header(rig_reply *r, const char *name) {
    static char value[1000];
    value[0] = '\0';
    str rest = buf_str(&r->head);
    while (rest.len) {
        str line = str_trim(str_cut(&rest, '\n'));
        str key = str_cut(&line, ':');
        if (str_eq_nocase(key, str_from(name)))
            snprintf(value, sizeof value, STR_FMT, STR_ARG(str_trim(line)));
    }
    return value;
}

static inline bool rig_take(int fd, buf *out, size_t n) {
    char piece[16384];
    while (n) {
        ssize_t k = recv(fd, piece, n < sizeof piece ? n : sizeof piece, 0);
        if (k <= 0) return false;
        buf_put(out, piece, (size_t)k);
        n -= (size_t)k;
    }
    return true;
}

static inline bool rig_take_line(int fd, buf *out) {
    for (char c = 0; c != '\n';) {
        if (recv(fd, &c, 1, 0) != 1) return false;
        buf_put_char(out, c);
    }
    return true;
}

static inline bool rig_take_chunks(int fd, buf *body) {
    for (;;) {
        buf line = {0};
        bool ok = rig_take_line(fd, &line);
        size_t n = ok ? (size_t)strtoul(buf_cstr(&line), NULL, 16) : 0;
        buf_finish(&line);
        buf end = {0};
        ok = ok && rig_take(fd, body, n) && rig_take(fd, &end, 2);
        buf_finish(&end);
        if (!ok) return false;
        if (n == 0) return true;
    }
}

/* Reads the status line and the headers; status 0 when the connection was closed before. */
static inline void rig_read_head(int fd, rig_reply *r) {
    *r = (rig_reply){0};
    size_t before;
    do {
        before = r->head.len;
        if (!rig_take_line(fd, &r->head)) return;
    } while (r->head.len - before > 2);
    sscanf(buf_cstr(&r->head), "HTTP/1.%*c %d", &r->status);
}

static inline void rig_read(int fd, rig_reply *r, bool is_head) {
    rig_read_head(fd, r);
    if (r->status == 0) return;
    if (is_head || r->status == 204 || r->status < 200)
        r->whole = true;
    else if (strcmp(rig_header(r, "Transfer-Encoding"), "chunked") == 0)
        r->whole = rig_take_chunks(fd, &r->body);
    else
        r->whole = rig_take(fd, &r->body, strtoul(rig_header(r, "Content-Length"), NULL, 10));
}

/* One exchange on a connection of its own. `head`: request line and headers without the end. */
static inline void rig_exchange(const char *head, str body, rig_reply *r) {
    int fd = rig_connect();
    rig_send_text(fd, head);
    rig_send_text(fd, "\r\n");
    rig_send(fd, body.ptr, body.len);
    rig_read(fd, r, strncmp(head, "HEAD", 4) == 0);
    close(fd);
}
