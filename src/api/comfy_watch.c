/* A list under a lock; callbacks run without it. */
#include "api/comfy_watch.h"
#include "api/comfy_queue.h"
#include <pthread.h>
#include <string.h>

struct comfy_watch {
    comfy_watch *next;
    comfy_watch_events events;
    void *arg;
    char job_id[40];
};

struct comfy_watches {
    pthread_mutex_t lock;
    comfy_watch *list;
    bool closed;
    /* ids of clients that left, in a list of their own: a stream's lock may be held */
    pthread_mutex_t gone_lock;
    char gone[64][40];
    size_t n_gone;
};

struct comfy_watches *comfy_watches_create(void) {
    struct comfy_watches *w = NEW(struct comfy_watches);
    pthread_mutex_init(&w->lock, NULL);
    pthread_mutex_init(&w->gone_lock, NULL);
    return w;
}

void comfy_watches_close(struct comfy_watches *w) {
    pthread_mutex_lock(&w->lock);
    comfy_watch *list = w->list;
    w->list = NULL;
    w->closed = true;
    pthread_mutex_unlock(&w->lock);
    for (comfy_watch *x = list, *next; x; x = next) {
        next = x->next;
        x->events.on_end(x->arg, NULL);
        mem_free(x);
    }
}

void comfy_watches_destroy(struct comfy_watches **pw) {
    if (!pw || !*pw) return;
    comfy_watches_close(*pw);
    pthread_mutex_destroy(&(*pw)->lock);
    pthread_mutex_destroy(&(*pw)->gone_lock);
    mem_free(*pw);
    *pw = NULL;
}

static void copy_id(char to[40], str id) {
    size_t n = id.len < 39 ? id.len : 39;
    memcpy(to, id.ptr, n);
    to[n] = '\0';
}

void comfy_watch_add(comfy *c, str job_id, const comfy_watch_events *events, void *arg) {
    comfy_watch *x = NEW(comfy_watch);
    x->events = *events;
    x->arg = arg;
    copy_id(x->job_id, job_id);
    pthread_mutex_lock(&c->watches->lock);
    bool closed = c->watches->closed;
    if (!closed) {
        x->next = c->watches->list;
        c->watches->list = x;
    }
    pthread_mutex_unlock(&c->watches->lock);
    if (!closed) return;
    events->on_end(arg, NULL);
    mem_free(x);
}

void comfy_watch_gone(comfy *c, str job_id) {
    struct comfy_watches *w = c->watches;
    pthread_mutex_lock(&w->gone_lock);
    if (w->n_gone < COUNT_OF(w->gone)) copy_id(w->gone[w->n_gone++], job_id);
    pthread_mutex_unlock(&w->gone_lock);
}

void comfy_watch_sweep(comfy *c) {
    struct comfy_watches *w = c->watches;
    for (;;) {
        char id[40] = "";
        pthread_mutex_lock(&w->gone_lock);
        if (w->n_gone) memcpy(id, w->gone[--w->n_gone], sizeof id);
        pthread_mutex_unlock(&w->gone_lock);
        if (!id[0]) return;
        bool any;
        comfy_queue_cancel(c->queue, str_from(id), &any, NULL);
    }
}

/* Only the queue thread steps and ends a running job, so a found watch stays. */
void comfy_watch_step(comfy *c, str job_id, int64_t done, int64_t total) {
    pthread_mutex_lock(&c->watches->lock);
    comfy_watch *x = c->watches->list;
    while (x && !str_eq(str_from(x->job_id), job_id)) x = x->next;
    pthread_mutex_unlock(&c->watches->lock);
    if (x && x->events.on_step) x->events.on_step(x->arg, done, total);
}

void comfy_watch_preview(comfy *c, str job_id, str bytes, const char *mime) {
    pthread_mutex_lock(&c->watches->lock);
    comfy_watch *x = c->watches->list;
    while (x && !str_eq(str_from(x->job_id), job_id)) x = x->next;
    pthread_mutex_unlock(&c->watches->lock);
    if (x && x->events.on_preview) x->events.on_preview(x->arg, bytes, mime);
}

static comfy_watch *take(comfy *c, str job_id) {
    pthread_mutex_lock(&c->watches->lock);
    comfy_watch **at = &c->watches->list;
    while (*at && !str_eq(str_from((*at)->job_id), job_id)) at = &(*at)->next;
    comfy_watch *x = *at;
    if (x) *at = x->next;
    pthread_mutex_unlock(&c->watches->lock);
    return x;
}

void comfy_watch_end(comfy *c, str job_id, const image_job *job) {
    comfy_watch *x = take(c, job_id);
    if (!x) return;
    x->events.on_end(x->arg, job);
    mem_free(x);
}

void comfy_watch_removed(comfy *c, str job_id) {
    if (job_id.len) {
        comfy_watch_end(c, job_id, NULL);
        return;
    }
    arena *a = arena_create(0);
    pthread_mutex_lock(&c->watches->lock);
    str ids[256];
    size_t n = 0;
    for (comfy_watch *x = c->watches->list; x && n < COUNT_OF(ids); x = x->next)
        ids[n++] = str_dup(a, str_from(x->job_id));
    pthread_mutex_unlock(&c->watches->lock);
    for (size_t i = 0; i < n; i++) {
        image_job j;
        if (image_jobs_find(c->db, ids[i], a, &j, NULL)) comfy_watch_end(c, ids[i], NULL);
    }
    arena_destroy(&a);
}
