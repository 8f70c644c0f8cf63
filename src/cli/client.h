/* The HTTP client of the command line: JSON requests, NDJSON streams, blob uploads (libcurl).
 *
 * Every failure is an err whose message is ready to print: the server's own `error` text, or that
 * it could not be reached and how to start it. Threads: one. */
#pragma once
#include "base/err.h"
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct cli_client cli_client;

/* `key` (NULL or empty = none) goes with every request, for servers that ask for one. Borrowed. */
cli_client *cli_client_create(const char *base_url, const char *key);
void cli_client_destroy(cli_client **c);

/* Sends `body` (borrowed; NULL = none) and parses the reply into *ret_reply (NULL when it has no
 * body; caller json_decrefs; ret_reply may be NULL). A status of 400 or more is an error with the
 * server's text; 404 is ERR_NOT_FOUND. */
err_code cli_client_call(cli_client *c, const char *method, const char *path, const json_t *body,
                         json_t **ret_reply, err *e);

/* Called for each line of a stream; `line` is borrowed. False stops the transfer. */
typedef bool (*cli_line_fn)(const json_t *line, void *arg);

/* POSTs and hands over each NDJSON line. A line with `error` ends the stream as an error.
 * Stopped by the callback or by Ctrl-C: ERR_CANCELLED. */
err_code cli_client_stream(cli_client *c, const char *path, const json_t *body, cli_line_fn fn,
                           void *arg, err *e);

/* Uploads a file as POST /api/blobs/<digest> unless the server has it. progress may be NULL. */
err_code cli_client_upload(cli_client *c, const char *file_path, char ret_digest[72],
                           void (*progress)(int64_t done, int64_t total, void *arg), void *arg,
                           err *e);

/* Only its digest: "sha256:<hex>". */
err_code cli_client_digest(const char *file_path, char ret_digest[72], err *e);

/* Ctrl-C: cli_interrupt_watch installs the handler, cli_interrupted says (and with `clear` forgets)
 * whether it was pressed. Transfers stop when it is. */
void cli_interrupt_watch(void);
bool cli_interrupted(bool clear);
