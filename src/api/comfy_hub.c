/* A list of sockets under one lock; sending only queues bytes, so it may be held meanwhile. */
#include "api/comfy_hub.h"
#include "api/comfy_owner.h"
#include "api/comfy_queue.h"
#include "base/limits.h"
#include "http/json.h"
#include "http/ws.h"
#include <arpa/inet.h>
#include <pthread.h>
#include <string.h>

typedef struct client {
    comfy *c;
    http_ws *ws;
    struct client *next, **at;
    arena *arena;
    str id;   /* told apart by owner */
    str name; /* as the client calls itself */
    comfy_pass pass;
    bool spoke;    /* sent its first text */
    bool metadata; /* announced supports_preview_metadata */
} client;

struct comfy_hub {
    pthread_mutex_t lock;
    client *list;
};

comfy_hub *comfy_hub_create(void) {
    comfy_hub *h = NEW(comfy_hub);
    pthread_mutex_init(&h->lock, NULL);
    return h;
}

void comfy_hub_destroy(comfy_hub **h) {
    if (!h || !*h) return;
    pthread_mutex_destroy(&(*h)->lock);
    mem_free(*h);
    *h = NULL;
}

static bool addressed(const client *c, str client_id) {
    return client_id.len == 0 || str_eq(client_id, c->id);
}

static void put_message(buf *b, const char *type, json_t *data) {
    json_t *message = json_object();
    json_object_set_new(message, "type", json_string(type));
    json_object_set_new(message, "data", data);
    json_write_plain(b, message);
    json_decref(message);
}

void comfy_hub_send(comfy_hub *h, str client_id, const char *type, json_t *data) {
    buf b = {0};
    put_message(&b, type, data);
    pthread_mutex_lock(&h->lock);
    for (client *c = h->list; c; c = c->next)
        if (addressed(c, client_id)) http_ws_send(c->ws, false, buf_str(&b));
    pthread_mutex_unlock(&h->lock);
    buf_finish(&b);
}

void comfy_hub_drop(comfy_hub *h, str user_id, str grant_id, bool others) {
    pthread_mutex_lock(&h->lock);
    for (client *c = h->list; c; c = c->next)
        if (comfy_pass_is(&c->pass, user_id, grant_id, others)) http_ws_end(c->ws);
    pthread_mutex_unlock(&h->lock);
}

void comfy_hub_drop_expired(comfy_hub *h, int64_t now_ms) {
    pthread_mutex_lock(&h->lock);
    for (client *c = h->list; c; c = c->next)
        if (comfy_pass_over(&c->pass, now_ms)) http_ws_end(c->ws);
    pthread_mutex_unlock(&h->lock);
}

static void put_u32(buf *b, size_t v) {
    uint32_t big_endian = htonl((uint32_t)v);
    buf_put(b, &big_endian, sizeof big_endian);
}

void comfy_hub_preview(comfy_hub *h, str client_id, const comfy_preview *p) {
    buf plain = {0}, rich = {0}, about = {0};
    put_u32(&plain, 1);
    put_u32(&plain, strcmp(p->mime, "image/png") == 0 ? 2 : 1);
    buf_put_str(&plain, p->bytes);
    json_write_plain(&about, p->about);
    put_u32(&rich, 4);
    put_u32(&rich, about.len);
    buf_put_str(&rich, buf_str(&about));
    buf_put_str(&rich, p->bytes);
    pthread_mutex_lock(&h->lock);
    for (client *c = h->list; c; c = c->next)
        if (addressed(c, client_id))
            http_ws_send(c->ws, true, buf_str(c->metadata ? &rich : &plain));
    pthread_mutex_unlock(&h->lock);
    buf_finish(&plain);
    buf_finish(&rich);
    buf_finish(&about);
}

void comfy_hub_text(comfy_hub *h, str client_id, str node_id, str text) {
    buf b = {0};
    put_u32(&b, 3);
    put_u32(&b, node_id.len);
    buf_put_str(&b, node_id);
    buf_put_str(&b, text);
    pthread_mutex_lock(&h->lock);
    for (client *c = h->list; c; c = c->next)
        if (addressed(c, client_id)) http_ws_send(c->ws, true, buf_str(&b));
    pthread_mutex_unlock(&h->lock);
    buf_finish(&b);
}

static void send_to(http_ws *ws, const char *type, json_t *data) {
    buf b = {0};
    put_message(&b, type, data);
    http_ws_send(ws, false, buf_str(&b));
    buf_finish(&b);
}

/* The first messages are sent with the hub locked, so that later ones come later. */
static void on_open(http_ws *ws, void *arg) {
    client *c = arg;
    comfy_hub *h = c->c->hub;
    c->ws = ws;
    json_t *status = comfy_queue_status(c->c->queue);
    json_object_set_new(status, "sid", comfy_str(c->name));
    json_t *state = NULL, *executing = comfy_queue_current(c->c->queue, c->id, &state);
    pthread_mutex_lock(&h->lock);
    send_to(ws, "status", status);
    if (state) send_to(ws, "progress_state", state);
    if (executing) send_to(ws, "executing", executing);
    c->next = h->list;
    c->at = &h->list;
    if (c->next) c->next->at = &c->next;
    h->list = c;
    pthread_mutex_unlock(&h->lock);
}

static void on_message(http_ws *ws, void *arg, bool binary, str bytes) {
    client *c = arg;
    bool first = !c->spoke;
    c->spoke = true;
    json_t *message;
    if (binary || !first || json_parse(bytes, &message, NULL)) return;
    if (str_eq(comfy_text(json_object_get(message, "type")), STR("feature_flags"))) {
        const json_t *flags = json_object_get(message, "data");
        pthread_mutex_lock(&c->c->hub->lock);
        c->metadata = json_is_true(json_object_get(flags, "supports_preview_metadata"));
        pthread_mutex_unlock(&c->c->hub->lock);
        send_to(ws, "feature_flags", comfy_feature_flags());
    }
    json_decref(message);
}

static void on_close(http_ws *ws, void *arg) {
    client *c = arg;
    comfy_hub *h = c->c->hub;
    (void)ws;
    pthread_mutex_lock(&h->lock);
    if (c->at) {
        *c->at = c->next;
        if (c->next) c->next->at = c->at;
    }
    pthread_mutex_unlock(&h->lock);
    arena_destroy(&c->arena);
    mem_free(c);
}

void comfy_ws(http_request *r, void *ctx) {
    static const http_ws_events events = {on_open, on_message, on_close};
    client *c = NEW(client);
    c->c = ctx;
    c->arena = arena_create(0);
    str id = http_request_query(r, "clientId");
    if (id.len == 0 || id.len > LIMIT_NAME_BYTES) {
        str uuid = comfy_uuid(c->arena);
        buf hex = {0};
        for (size_t i = 0; i < uuid.len; i++)
            if (uuid.ptr[i] != '-') buf_put_char(&hex, uuid.ptr[i]);
        id = str_dup(c->arena, buf_str(&hex));
        buf_finish(&hex);
    }
    c->name = str_dup(c->arena, id);
    c->id = str_dup(c->arena, comfy_own_client(c->arena, comfy_owner(r), c->name));
    c->pass = comfy_pass_of(r);
    http_ws_accept(r, &events, c);
}
