/* The pump thread: a queue of sources that have been woken. */
#include "api/pump.h"
#include "base/mem.h"
#include <pthread.h>

struct pump {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_t thread;
    pump_source *first, *last;
    bool stop;
};

static pump_source *take(pump *p) {
    pump_source *s = p->first;
    if (!s) return NULL;
    p->first = s->next;
    if (!p->first) p->last = NULL;
    s->next = NULL;
    s->queued = false;
    return s;
}

static void *pump_main(void *arg) {
    pump *p = arg;
    pthread_mutex_lock(&p->lock);
    while (!p->stop) {
        pump_source *s = take(p);
        if (!s) {
            pthread_cond_wait(&p->wake, &p->lock);
            continue;
        }
        pthread_mutex_unlock(&p->lock);
        s->run(s);
        pthread_mutex_lock(&p->lock);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

pump *pump_create(void) {
    pump *p = NEW(pump);
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->wake, NULL);
    pthread_create(&p->thread, NULL, pump_main, p);
    return p;
}

void pump_destroy(pump **p) {
    if (!p || !*p) return;
    pthread_mutex_lock(&(*p)->lock);
    (*p)->stop = true;
    pthread_cond_signal(&(*p)->wake);
    pthread_mutex_unlock(&(*p)->lock);
    pthread_join((*p)->thread, NULL);
    pthread_mutex_destroy(&(*p)->lock);
    pthread_cond_destroy(&(*p)->wake);
    mem_free(*p);
    *p = NULL;
}

static void append(pump *p, pump_source *s) {
    s->queued = true;
    s->next = NULL;
    if (p->last)
        p->last->next = s;
    else
        p->first = s;
    p->last = s;
    pthread_cond_signal(&p->wake);
}

void pump_hold(pump_source *s, void (*run)(pump_source *s)) {
    *s = (pump_source){.run = run, .queued = true};
}

void pump_let_go(pump *p, pump_source *s) {
    pthread_mutex_lock(&p->lock);
    append(p, s);
    pthread_mutex_unlock(&p->lock);
}

void pump_wake(pump *p, pump_source *s) {
    pthread_mutex_lock(&p->lock);
    if (!s->queued) append(p, s);
    pthread_mutex_unlock(&p->lock);
}

void pump_forget(pump *p, pump_source *s) {
    pthread_mutex_lock(&p->lock);
    pump_source **at = &p->first, *before = NULL;
    while (s->queued && *at) {
        if (*at == s) {
            *at = s->next;
            if (p->last == s) p->last = before;
            s->queued = false;
            break;
        }
        before = *at;
        at = &(*at)->next;
    }
    pthread_mutex_unlock(&p->lock);
}
