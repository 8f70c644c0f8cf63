/* WebSocket connections: many sockets, one thread.
 *
 * A handler calls http_ws_accept instead of replying. From then on the connection belongs to the
 * server's socket thread, which calls the events; any thread may send. A client that sends nonsense
 * is closed; one that does not read is closed when LIMIT_WS_BACKLOG_BYTES wait for it or when
 * nothing moved for LIMIT_WS_STALL_S; a dead peer is found by pings that its system does not
 * acknowledge. Owner: the server; `ws` is valid from on_open until on_close returns. Threads:
 * on_open and on_close on any server thread, each once; on_message on the socket thread. No lock of
 * a connection is held during them, so they may send to any connection. */
#pragma once
#include "http/http.h"

typedef struct http_ws http_ws;

typedef struct http_ws_events {
    void (*on_open)(http_ws *ws, void *arg);
    void (*on_message)(http_ws *ws, void *arg, bool binary, str bytes);
    void (*on_close)(http_ws *ws, void *arg); /* frees arg */
} http_ws_events;

/* Answers 101, or 400 (and calls on_close without on_open) when the request is no handshake. */
void http_ws_accept(http_request *r, const http_ws_events *events, void *arg);

/* False when the client is gone or too slow; nothing is to be done about it then. */
bool http_ws_send(http_ws *ws, bool binary, str bytes);
/* Ends it from any thread that knows it is open: on_close comes later, on the socket thread. */
void http_ws_end(http_ws *ws);
