/* One side of a WebSocket conversation (RFC 6455), without a socket: bytes in, messages out, and
 * back. The frames are wslay's. Threads: one at a time. */
#pragma once
#include "base/buf.h"

typedef struct ws_session ws_session;

typedef void (*ws_on_message)(void *arg, bool binary, str bytes);

ws_session *ws_session_create(ws_on_message on_message, void *arg);
void ws_session_destroy(ws_session **s);

/* Bytes from the client: calls on_message for each whole message, answers pings and closes by
 * itself. False when the conversation is over: closed, malformed, or a message is longer than
 * LIMIT_WS_MESSAGE_BYTES. */
bool ws_session_take(ws_session *s, str bytes);
/* Queues a message, a ping, or the closing handshake. */
void ws_session_put(ws_session *s, bool binary, str bytes);
void ws_session_ping(ws_session *s);
void ws_session_close(ws_session *s);
/* Appends what must be sent now. False when nothing will ever come again. */
bool ws_session_output(ws_session *s, buf *out);
size_t ws_session_queued(const ws_session *s); /* bytes of messages not given out yet */

/* Sec-WebSocket-Accept of a key: base64(SHA-1(key + GUID)). `ret` has room for 29 bytes. */
void ws_accept_key(str key, char ret[29]);
