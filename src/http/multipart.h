/* multipart/form-data (RFC 7578), read as it arrives.
 *
 * Bytes go in, in pieces of any length; parts come out: a head, then its bytes, then its end. What
 * is held is at most one part's head and the length of a delimiter. Every callback may refuse by
 * returning false, which ends the reading for good. Threads: one at a time. */
#pragma once
#include "base/err.h"
#include "base/str.h"

typedef struct multipart multipart;

typedef struct multipart_head {
    str name;         /* of the field; empty when the part has none */
    str filename;     /* as the client sent it: never a path to use as it is */
    bool has_file;    /* a filename was given, maybe an empty one */
    str content_type; /* empty when absent */
} multipart_head;

typedef struct multipart_events {
    bool (*part)(void *ctx, const multipart_head *h); /* strings live during the call */
    bool (*data)(void *ctx, const void *bytes, size_t n_bytes);
    bool (*end)(void *ctx);
} multipart_events;

/* The boundary of a Content-Type header; false when it is not multipart/form-data or the boundary
 * is missing or longer than 70 characters. Lives in `a`. */
bool multipart_boundary(str content_type, arena *a, str *ret_boundary);

multipart *multipart_create(str boundary, const multipart_events *events, void *ctx);
void multipart_destroy(multipart **m);

/* Takes the next bytes. False, now and from then on: the form is malformed, has more than
 * LIMIT_FORM_PARTS parts, a part's head is longer than LIMIT_FORM_HEAD_BYTES, or a callback
 * refused. */
bool multipart_put(multipart *m, const void *bytes, size_t n_bytes);
bool multipart_complete(const multipart *m); /* the closing delimiter was seen */
