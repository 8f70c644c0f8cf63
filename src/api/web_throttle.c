/* A table of counters by hash of what is counted. */
#include "api/web_throttle.h"
#include "base/clock.h"
#include "base/map.h"
#include <pthread.h>

enum { SLOTS = 8192, WAYS = 8, FADE_MS = 3600 * 1000, WAIT_MS_MAX = 15 * 60 * 1000 };

typedef struct counter {
    uint64_t key;
    int n;
    int64_t last_ms;
} counter;

struct web_throttle {
    pthread_mutex_t lock;
    counter slots[SLOTS];
};

/* Which failures count together, and how many are free. */
static const struct {
    bool address, email;
    int n_free;
} KINDS[] = {{true, true, 5}, {true, false, 20}, {false, true, 50}};

struct web_throttle *web_throttle_create(void) {
    struct web_throttle *t = NEW(struct web_throttle);
    pthread_mutex_init(&t->lock, NULL);
    return t;
}

void web_throttle_destroy(struct web_throttle **t) {
    if (!t || !*t) return;
    pthread_mutex_destroy(&(*t)->lock);
    mem_free(*t);
    *t = NULL;
}

static uint64_t key_of(size_t kind, str address, str email) {
    CLEANUP(arena_destroy) arena *a = arena_create(0);
    str e = KINDS[kind].email ? str_lower(a, email) : STR("");
    str from = KINDS[kind].address ? address : STR("");
    return map_hash(str_fmt(a, "%zu " STR_FMT " " STR_FMT, kind, STR_ARG(from), STR_ARG(e))) | 1;
}

/* The counter of a key: its own, or the one that was quiet longest. */
static counter *find(struct web_throttle *t, uint64_t key, int64_t now) {
    counter *set = &t->slots[key / 2 % (SLOTS / WAYS) * WAYS], *best = set;
    for (int i = 0; i < WAYS; i++) {
        if (set[i].key == key) {
            if (now - set[i].last_ms > FADE_MS) set[i].n = 0;
            return &set[i];
        }
        if (set[i].last_ms < best->last_ms) best = &set[i];
    }
    *best = (counter){.key = key, .last_ms = now};
    return best;
}

static int64_t now_ms(void) {
    return clock_mono_ns() / NS_PER_MS;
}

int64_t web_throttle_wait(struct web_throttle *t, str address, str email) {
    int64_t longest = 0, now = now_ms();
    pthread_mutex_lock(&t->lock);
    for (size_t k = 0; k < COUNT_OF(KINDS); k++) {
        const counter *c = find(t, key_of(k, address, email), now);
        int over = c->n - KINDS[k].n_free;
        if (over < 0) continue;
        int64_t wait = over > 20 ? WAIT_MS_MAX : 1000ll << over;
        if (wait > WAIT_MS_MAX) wait = WAIT_MS_MAX;
        if (c->last_ms + wait - now > longest) longest = c->last_ms + wait - now;
    }
    pthread_mutex_unlock(&t->lock);
    return longest;
}

void web_throttle_failed(struct web_throttle *t, str address, str email) {
    int64_t now = now_ms();
    pthread_mutex_lock(&t->lock);
    for (size_t k = 0; k < COUNT_OF(KINDS); k++) {
        counter *c = find(t, key_of(k, address, email), now);
        if (c->n < 1000) c->n++;
        c->last_ms = now;
    }
    pthread_mutex_unlock(&t->lock);
}

void web_throttle_passed(struct web_throttle *t, str address, str email) {
    pthread_mutex_lock(&t->lock);
    find(t, key_of(0, address, email), now_ms())->n = 0;
    pthread_mutex_unlock(&t->lock);
}
