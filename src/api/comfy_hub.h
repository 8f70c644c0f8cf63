/* The clients' WebSockets: who is connected under which id, and messages to them.
 *
 * Several sockets may share an id; each gets everything. Messages of one sender arrive in order.
 * Threads: any. */
#pragma once
#include "api/comfy.h"

typedef struct comfy_hub comfy_hub;

comfy_hub *comfy_hub_create(void);
void comfy_hub_destroy(comfy_hub **h); /* after every socket was closed */

/* {"type": type, "data": data} to every socket of the client, or to all when the id is empty.
 * Takes the reference to data. */
void comfy_hub_send(comfy_hub *h, str client_id, const char *type, json_t *data);

/* Closes the sockets that this session or key opened, or (others) all but those of the user's. */
void comfy_hub_drop(comfy_hub *h, str user_id, str grant_id, bool others);
/* And those whose session or key has expired. */
void comfy_hub_drop_expired(comfy_hub *h, int64_t now_ms);

/* A picture for the preview channel: event 4 with `about` for sockets that announced
 * supports_preview_metadata, else event 1. `mime` is image/jpeg or image/png. */
typedef struct comfy_preview {
    str bytes;
    const char *mime;
    const json_t *about; /* borrowed */
} comfy_preview;
void comfy_hub_preview(comfy_hub *h, str client_id, const comfy_preview *p);
/* Event 3: text that belongs to a node. */
void comfy_hub_text(comfy_hub *h, str client_id, str node_id, str text);
