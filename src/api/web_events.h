/* Event streams of the web listener: channels of numbered events, and who listens to them.
 *
 * A channel belongs to a user, to one of their chats, or to the machine. Numbers are one sequence
 * for all channels, so that one stream may carry several and resume all of them; a channel keeps
 * its last LIMIT_WEB_RING_BYTES for that. Publishing only queues bytes: it may be done with any
 * lock of ours held. Threads: any. */
#pragma once
#include "api/web.h"

struct web_hub *web_hub_create(void);
void web_hub_close(struct web_hub *h); /* ends all streams; later ones end at once */
void web_hub_destroy(struct web_hub **h);

/* Publish; take the reference to data, an object. chat_id is added to a chat's events. */
void web_hub_chat(struct web_hub *h, str chat_id, const char *event, json_t *data);
void web_hub_user(struct web_hub *h, str user_id, const char *event, json_t *data);
void web_hub_machine(struct web_hub *h, json_t *data); /* event "machine", not kept */
bool web_hub_machine_wanted(struct web_hub *h);

/* "boot-N": everything published so far has a number up to it. */
str web_hub_position(struct web_hub *h, arena *a);

/* Which channels a stream carries; empty texts are none. */
typedef struct web_listen {
    str user_id, chat_id;
    bool machine;
    str after; /* a position; empty: from now */
} web_listen;
/* Answers the request with a stream, or with 429. */
void web_hub_listen(web *w, http_request *r, const web_listen *l);

/* Ends the streams and sockets that were opened with this session or key, or (others) with all
 * others of the user's. */
void web_end_streams(web *w, str user_id, str grant_id, bool others);

void web_hub_sweep(struct web_hub *h); /* about once a second: pings, and frees what is over */
