/* An answer that comes later or in pieces: NDJSON, server-sent events, or one late JSON object.
 *
 * Made in a handler instead of replying; written to from any thread. Nothing is sent before the
 * first write, so an error can still be an answer with its own status (http_stream_reply_json).
 * While there is nothing to send the connection sleeps, and its socket is watched: when the client
 * goes away, `on_gone` is called once, at once, from a server thread. A reader slower than the
 * writer is buffered up to LIMIT_STREAM_BYTES; beyond that it counts as gone.
 * Owner: the writer, who ends it with http_stream_destroy; the connection keeps what it needs.
 * Threads: any, one at a time; on_gone may come at any moment until destroy returns. */
#pragma once
#include "http/http.h"

typedef struct http_stream http_stream;

http_stream *http_stream_create(http_request *r, const char *content_type,
                                void (*on_gone)(void *arg), void *arg);

/* False when the client is gone: stop working. */
bool http_stream_write(http_stream *s, str bytes);
/* No more writes. */
void http_stream_end(http_stream *s);
/* Instead of any write: one complete answer. */
void http_stream_reply_json(http_stream *s, int status, const json_t *body);
bool http_stream_gone(http_stream *s);
void http_stream_destroy(http_stream **s); /* ends it if that was not done */
