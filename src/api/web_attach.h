/* Files and pictures of chats that come from outside: what their sender has here, and pictures that
 * come inside as data URLs. Threads: any. */
#pragma once
#include "api/web.h"
#include "store/chats.h"

typedef struct web_attach {
    web *w;
    str user_id;
    bool stores; /* keep data URLs as new files of the user's */
} web_attach;

/* Fills m->files (and m->picture, when the user has its files) from a message in Open WebUI's form:
 * "files" with ids or data URLs, "content" with {"type": "image_url"} parts. The type is told by
 * the bytes, and bytes that the user has already make no second file; what is no picture, no
 * longer there, somebody else's or beyond the user's limits is left out. Lives in `a`. */
void web_attach_read(const web_attach *at, const json_t *from, arena *a, message *m);
