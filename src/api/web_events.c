/* Channels in a map by key ("c:<chat>", "u:<user>", "m"), listeners in one list, one lock. */
#include "api/web_events.h"
#include "api/comfy_hub.h"
#include "api/comfy_owner.h"
#include "api/comfy_v2.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/map.h"
#include "base/rng.h"
#include "base/vec.h"
#include "http/json.h"
#include "http/stream.h"
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

enum { KEEP_MS = 120 * 1000, PING_MS = 15 * 1000, KEYS = 3 };

typedef struct event {
    uint64_t seq;
    char *text; /* "id: ...\nevent: ...\ndata: ...\n\n" */
    size_t n_bytes;
} event;

typedef struct channel {
    VEC(event) ring;
    size_t n_bytes;
    uint64_t lost; /* events up to this number are not all here */
    int64_t used_ms;
    int n_listeners;
} channel;

typedef struct listener {
    struct listener *next;
    http_stream *out;
    comfy_pass pass;
    char keys[KEYS][48];
    atomic_bool gone;
    int64_t wrote_ms;
} listener;

struct web_hub {
    pthread_mutex_t lock;
    map channels; /* key -> channel */
    listener *listeners;
    uint64_t seq, lost; /* lost: of channels that are no more */
    char boot[9];
    bool closed;
};

struct web_hub *web_hub_create(void) {
    struct web_hub *h = NEW(struct web_hub);
    uint32_t boot;
    rng_entropy(&boot, sizeof boot);
    snprintf(h->boot, sizeof h->boot, "%08x", boot);
    pthread_mutex_init(&h->lock, NULL);
    return h;
}

static void channel_destroy(channel *c) {
    for (size_t i = 0; i < c->ring.len; i++) mem_free(c->ring.items[i].text);
    VEC_FINISH(c->ring);
    mem_free(c);
}

/* Locked. The listener is out of the list already. */
static void listener_end(struct web_hub *h, listener *l) {
    for (int i = 0; i < KEYS; i++) {
        channel *c = map_get_ptr(&h->channels, str_from(l->keys[i]));
        if (c) c->n_listeners--;
    }
    http_stream_destroy(&l->out);
    mem_free(l);
}

/* Locked. Ends the listeners that `wanted` picks. */
static void drop_where(struct web_hub *h, bool (*wanted)(const listener *l, const void *arg),
                       const void *arg) {
    for (listener **at = &h->listeners; *at;) {
        listener *l = *at;
        if (!wanted(l, arg)) {
            at = &l->next;
            continue;
        }
        *at = l->next;
        listener_end(h, l);
    }
}

static bool is_any(const listener *l, const void *arg) {
    (void)l, (void)arg;
    return true;
}

/* `arg`: the time, for those whose session or key has expired. */
static bool is_gone(const listener *l, const void *arg) {
    return l->gone || comfy_pass_over(&l->pass, *(const int64_t *)arg);
}

/* Locked. */
static void drop_gone(struct web_hub *h) {
    int64_t now = comfy_now_ms();
    drop_where(h, is_gone, &now);
}

void web_hub_close(struct web_hub *h) {
    pthread_mutex_lock(&h->lock);
    h->closed = true;
    drop_where(h, is_any, NULL);
    pthread_mutex_unlock(&h->lock);
}

void web_hub_destroy(struct web_hub **ph) {
    if (!ph || !*ph) return;
    struct web_hub *h = *ph;
    web_hub_close(h);
    for (size_t i = 0; i < h->channels.len; i++)
        channel_destroy((channel *)(uintptr_t)h->channels.entries[i].value);
    map_finish(&h->channels);
    pthread_mutex_destroy(&h->lock);
    mem_free(h);
    *ph = NULL;
}

static int64_t now_ms(void) {
    return clock_mono_ns() / NS_PER_MS;
}

/* Locked. */
static channel *channel_of(struct web_hub *h, str key) {
    channel *c = map_get_ptr(&h->channels, key);
    if (!c) {
        c = NEW(channel);
        c->lost = h->lost;
        map_put_ptr(&h->channels, key, c);
    }
    c->used_ms = now_ms();
    return c;
}

static bool hears(const listener *l, str key) {
    for (int i = 0; i < KEYS; i++)
        if (str_eq(key, str_from(l->keys[i]))) return true;
    return false;
}

/* Locked. Oldest events leave when there are too many bytes of them. */
static void keep(channel *c, event e) {
    size_t n_out = 0;
    c->n_bytes += e.n_bytes;
    while (n_out < c->ring.len && c->n_bytes > LIMIT_WEB_RING_BYTES) {
        c->n_bytes -= c->ring.items[n_out].n_bytes;
        c->lost = c->ring.items[n_out].seq;
        mem_free(c->ring.items[n_out++].text);
    }
    if (n_out) {
        c->ring.len -= n_out;
        memmove(c->ring.items, c->ring.items + n_out, c->ring.len * sizeof *c->ring.items);
    }
    VEC_PUSH(c->ring, e);
}

static void publish(struct web_hub *h, str key, const char *name, json_t *data, bool kept) {
    buf body = {0}, text = {0};
    json_write(&body, data);
    json_decref(data);
    pthread_mutex_lock(&h->lock);
    if (kept) buf_putf(&text, "id: %s-%llu\n", h->boot, (unsigned long long)++h->seq);
    buf_putf(&text, "event: %s\ndata: ", name);
    buf_put_str(&text, buf_str(&body));
    buf_put_str(&text, STR("\n\n"));
    int64_t now = now_ms();
    for (listener *l = h->listeners; l; l = l->next) {
        if (l->gone || !hears(l, key)) continue;
        if (!http_stream_write(l->out, buf_str(&text))) l->gone = true;
        l->wrote_ms = now;
    }
    if (kept && !h->closed) {
        size_t n_bytes = text.len;
        keep(channel_of(h, key), (event){h->seq, buf_take(&text), n_bytes});
    }
    pthread_mutex_unlock(&h->lock);
    buf_finish(&body);
    buf_finish(&text);
}

static void publish_to(struct web_hub *h, char kind, str id, const char *name, json_t *data) {
    char key[48];
    snprintf(key, sizeof key, "%c:" STR_FMT, kind, STR_ARG(id));
    publish(h, str_from(key), name, data, true);
}

void web_hub_chat(struct web_hub *h, str chat_id, const char *name, json_t *data) {
    json_object_set_new(data, "chat_id", comfy_str(chat_id));
    publish_to(h, 'c', chat_id, name, data);
}

void web_hub_user(struct web_hub *h, str user_id, const char *name, json_t *data) {
    publish_to(h, 'u', user_id, name, data);
}

void web_hub_machine(struct web_hub *h, json_t *data) {
    publish(h, STR("m"), "machine", data, false);
}

bool web_hub_machine_wanted(struct web_hub *h) {
    pthread_mutex_lock(&h->lock);
    bool any = false;
    for (listener *l = h->listeners; l && !any; l = l->next) any = hears(l, STR("m"));
    pthread_mutex_unlock(&h->lock);
    return any;
}

str web_hub_position(struct web_hub *h, arena *a) {
    pthread_mutex_lock(&h->lock);
    str s = str_fmt(a, "%s-%llu", h->boot, (unsigned long long)h->seq);
    pthread_mutex_unlock(&h->lock);
    return s;
}

/* ---- listening ---- */

static void on_gone(void *arg) {
    ((listener *)arg)->gone = true; /* the sweep ends it */
}

/* Locked. What the stream has missed since `after`, or a reset when that is not known. */
static void catch_up(struct web_hub *h, const listener *l, str after, buf *out) {
    channel *chans[KEYS] = {0};
    size_t at[KEYS] = {0};
    int64_t seq = -1;
    str boot = str_cut(&after, '-');
    bool known = str_eq(boot, str_from(h->boot)) && str_to_i64(after, &seq) && seq >= 0 &&
                 (uint64_t)seq <= h->seq;
    for (int i = 0; i < KEYS; i++) {
        chans[i] = l->keys[i][0] ? map_get_ptr(&h->channels, str_from(l->keys[i])) : NULL;
        if (chans[i]) known = known && (uint64_t)seq >= chans[i]->lost;
    }
    if (!known) {
        buf_putf(out, "id: %s-%llu\nevent: reset\ndata: {}\n\n", h->boot,
                 (unsigned long long)h->seq);
        return;
    }
    for (;;) {
        int next = -1;
        for (int i = 0; i < KEYS; i++) {
            while (chans[i] && at[i] < chans[i]->ring.len &&
                   chans[i]->ring.items[at[i]].seq <= (uint64_t)seq)
                at[i]++;
            if (chans[i] && at[i] < chans[i]->ring.len &&
                (next < 0 ||
                 chans[i]->ring.items[at[i]].seq < chans[next]->ring.items[at[next]].seq))
                next = i;
        }
        if (next < 0) return;
        const event *e = &chans[next]->ring.items[at[next]++];
        buf_put(out, e->text, e->n_bytes);
    }
}

static int count_of(struct web_hub *h, const char *user_id) {
    int n = 0;
    for (listener *l = h->listeners; l; l = l->next)
        n += str_eq(str_from(l->pass.user_id), str_from(user_id));
    return n;
}

void web_hub_listen(web *w, http_request *r, const web_listen *want) {
    struct web_hub *h = w->hub;
    listener *l = NEW(listener);
    int n = 0;
    l->pass = comfy_pass_of(r);
    if (want->user_id.len)
        snprintf(l->keys[n++], sizeof l->keys[0], "u:" STR_FMT, STR_ARG(want->user_id));
    if (want->chat_id.len)
        snprintf(l->keys[n++], sizeof l->keys[0], "c:" STR_FMT, STR_ARG(want->chat_id));
    if (want->machine) snprintf(l->keys[n++], sizeof l->keys[0], "m");
    str after = http_request_header(r, "Last-Event-ID");
    if (after.len == 0) after = want->after;
    pthread_mutex_lock(&h->lock);
    drop_gone(h);
    if (h->closed || count_of(h, l->pass.user_id) >= LIMIT_WEB_STREAMS) {
        pthread_mutex_unlock(&h->lock);
        mem_free(l);
        web_fail(r, 429, "there are %d event streams of yours already", LIMIT_WEB_STREAMS);
        return;
    }
    http_reply_header(r, "X-Accel-Buffering", "no");
    l->out = http_stream_create(r, "text/event-stream", on_gone, l);
    l->wrote_ms = now_ms();
    for (int i = 0; i < n; i++) channel_of(h, str_from(l->keys[i]))->n_listeners++;
    buf first = {0};
    buf_putf(&first, "retry: 1000\nid: %s-%llu\n\n", h->boot, (unsigned long long)h->seq);
    if (after.len) {
        buf_clear(&first);
        buf_put_str(&first, STR("retry: 1000\n\n"));
        catch_up(h, l, after, &first);
    }
    http_stream_write(l->out, buf_str(&first));
    buf_finish(&first);
    l->next = h->listeners;
    h->listeners = l;
    pthread_mutex_unlock(&h->lock);
}

typedef struct whose {
    str user_id, grant_id;
    bool others;
} whose;

static bool is_whose(const listener *l, const void *arg) {
    const whose *x = arg;
    return comfy_pass_is(&l->pass, x->user_id, x->grant_id, x->others);
}

void web_end_streams(web *w, str user_id, str grant_id, bool others) {
    pthread_mutex_lock(&w->hub->lock);
    drop_where(w->hub, is_whose, &(whose){user_id, grant_id, others});
    pthread_mutex_unlock(&w->hub->lock);
    if (!w->pictures) return;
    comfy_hub_drop(w->pictures->hub, user_id, grant_id, others);
    comfy_v2_drop(w->pictures->v2, user_id, grant_id, others);
}

/* Locked. Channels that nobody hears and that said nothing for a while. */
static void forget_channels(struct web_hub *h, int64_t now) {
    for (size_t i = h->channels.len; i-- > 0;) {
        channel *c = (channel *)(uintptr_t)h->channels.entries[i].value;
        if (c->n_listeners > 0 || now - c->used_ms < KEEP_MS) continue;
        if (c->ring.len && VEC_LAST(c->ring).seq > h->lost) h->lost = VEC_LAST(c->ring).seq;
        if (c->lost > h->lost) h->lost = c->lost;
        CLEANUP(arena_destroy) arena *a = arena_create(0);
        map_remove(&h->channels, str_dup(a, h->channels.entries[i].key));
        channel_destroy(c);
    }
}

void web_hub_sweep(struct web_hub *h) {
    int64_t now = now_ms();
    pthread_mutex_lock(&h->lock);
    drop_gone(h);
    for (listener *l = h->listeners; l; l = l->next) {
        if (now - l->wrote_ms < PING_MS) continue;
        if (!http_stream_write(l->out, STR(": ping\n\n"))) l->gone = true;
        l->wrote_ms = now;
    }
    forget_channels(h, now);
    pthread_mutex_unlock(&h->lock);
}
