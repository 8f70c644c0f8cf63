/* A request that takes longer than an HTTP thread may be held: it gets a thread of its own.
 *
 * The body is copied, since the request may go away meanwhile. The function answers exactly once;
 * everything in the arena ends after it. Threads: started on an HTTP thread. */
#pragma once
#include "api/api.h"

struct http_stream;

typedef struct slow {
    api *a;
    arena *mem;
    str body;
    struct http_stream *out;
    void (*fn)(struct slow *s);
} slow;

void slow_start(api *a, http_request *r, void (*fn)(slow *s));
/* Takes the reference. */
void slow_reply(slow *s, int status, json_t *body);
