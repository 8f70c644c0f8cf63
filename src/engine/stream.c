/* Event streams: see stream.h. A queued event owns its text in a buffer and everything else in an
 * arena of its own; the event last handed out lives until the next call. */
#include "engine/stream.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/vec.h"
#include <assert.h>

typedef struct queued {
    engine_event ev;
    buf text;
    arena *mem; /* logprobs, vectors, ids; NULL while not needed */
    VEC(engine_logprob) lp;
    size_t n_bytes;
} queued;

struct engine_stream {
    pthread_mutex_t mu;
    pthread_cond_t cond;
    engine_bell *bell; /* NULL once the job is gone */
    void (*notify)(void *arg);
    void *arg;
    VEC(queued *) events; /* oldest first */
    queued *current;      /* handed out */
    size_t n_bytes;
    int64_t n_eval_tokens;
    int refs;
    bool ended;   /* the last event is in the queue or was taken */
    bool in_step; /* under bell->mu */
    atomic_bool cancelled;
};

void bell_init(engine_bell *b) {
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&b->mu, NULL);
    pthread_cond_init(&b->cond, &attr);
    pthread_condattr_destroy(&attr);
}

void bell_finish(engine_bell *b) {
    pthread_cond_destroy(&b->cond);
    pthread_mutex_destroy(&b->mu);
}

void bell_ring(engine_bell *b) {
    pthread_mutex_lock(&b->mu);
    b->rung = true;
    pthread_cond_signal(&b->cond);
    pthread_mutex_unlock(&b->mu);
}

static int wait_until(pthread_cond_t *cond, pthread_mutex_t *mu, int64_t deadline) {
    if (deadline == CLOCK_FOREVER) return pthread_cond_wait(cond, mu);
    struct timespec ts = {deadline / NS_PER_S, deadline % NS_PER_S};
    return pthread_cond_timedwait(cond, mu, &ts);
}

void bell_wait(engine_bell *b, int64_t deadline) {
    pthread_mutex_lock(&b->mu);
    while (!b->rung && clock_mono_ns() < deadline) wait_until(&b->cond, &b->mu, deadline);
    b->rung = false;
    pthread_mutex_unlock(&b->mu);
}

/* With the bell's lock: one holder of the step less. */
static void step_drop(engine_bell *b) {
    if (--b->step_left == 0 && b->step_cancel) atomic_store(&b->step_cancel->flag, 1);
}

void bell_step_begin(engine_bell *b, dev_cancel *cancel) {
    pthread_mutex_lock(&b->mu);
    atomic_store(&cancel->flag, 0);
    b->step_cancel = cancel;
    b->step_left = 1;
    pthread_mutex_unlock(&b->mu);
}

void bell_step_armed(engine_bell *b) {
    pthread_mutex_lock(&b->mu);
    step_drop(b);
    pthread_mutex_unlock(&b->mu);
}

void bell_step_end(engine_bell *b) {
    pthread_mutex_lock(&b->mu);
    b->step_cancel = NULL;
    pthread_mutex_unlock(&b->mu);
}

engine_stream *stream_create(engine_bell *bell, void (*notify)(void *arg), void *arg) {
    engine_stream *s = NEW(engine_stream);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&s->mu, NULL);
    pthread_cond_init(&s->cond, &attr);
    pthread_condattr_destroy(&attr);
    s->bell = bell;
    s->notify = notify;
    s->arg = arg;
    s->refs = 2;
    return s;
}

static void queued_destroy(queued *q) {
    if (!q) return;
    buf_finish(&q->text);
    VEC_FINISH(q->lp);
    arena_destroy(&q->mem);
    mem_free(q);
}

static void unref_unlock(engine_stream *s) {
    bool last = --s->refs == 0;
    pthread_mutex_unlock(&s->mu);
    if (!last) return;
    for (size_t i = 0; i < s->events.len; i++) queued_destroy(s->events.items[i]);
    VEC_FINISH(s->events);
    queued_destroy(s->current);
    pthread_cond_destroy(&s->cond);
    pthread_mutex_destroy(&s->mu);
    mem_free(s);
}

void stream_release(engine_stream **sp) {
    engine_stream *s = *sp;
    if (!s) return;
    *sp = NULL;
    pthread_mutex_lock(&s->mu);
    s->bell = NULL;
    unref_unlock(s);
}

bool stream_cancelled(const engine_stream *s) {
    return atomic_load(&s->cancelled);
}

size_t stream_bytes(engine_stream *s) {
    pthread_mutex_lock(&s->mu);
    size_t n = s->n_bytes;
    pthread_mutex_unlock(&s->mu);
    return n;
}

void stream_set_in_step(engine_stream *s, bool in_step) {
    pthread_mutex_lock(&s->mu);
    pthread_mutex_lock(&s->bell->mu);
    if (in_step && !atomic_load(&s->cancelled)) {
        s->in_step = true;
        s->bell->step_left++;
    } else if (!in_step && s->in_step) {
        s->in_step = false;
        s->bell->step_left--;
    }
    pthread_mutex_unlock(&s->bell->mu);
    pthread_mutex_unlock(&s->mu);
}

/* Called with the lock: the last waiting event if it is of this kind. */
static queued *last_of(engine_stream *s, engine_event_kind kind) {
    if (s->events.len == 0 || VEC_LAST(s->events)->ev.kind != kind) return NULL;
    return VEC_LAST(s->events);
}

static queued *push(engine_stream *s, engine_event_kind kind) {
    queued *q = NEW(queued);
    q->ev.kind = kind;
    VEC_PUSH(s->events, q);
    return q;
}

static void count(engine_stream *s, queued *q, size_t n_bytes) {
    q->n_bytes += n_bytes;
    s->n_bytes += n_bytes;
}

/* Begins a change of the queue; false when nobody will read it. */
static bool begin(engine_stream *s) {
    pthread_mutex_lock(&s->mu);
    assert(!s->ended);
    if (s->refs == 2) return true;
    pthread_mutex_unlock(&s->mu);
    return false;
}

static void end(engine_stream *s) {
    pthread_cond_signal(&s->cond);
    if (s->notify) s->notify(s->arg);
    pthread_mutex_unlock(&s->mu);
}

void stream_put_progress(engine_stream *s, engine_event_kind kind, int64_t n_done,
                         int64_t n_total) {
    if (!begin(s)) return;
    queued *q = last_of(s, kind);
    if (!q) q = push(s, kind);
    q->ev.n_done = n_done;
    q->ev.n_total = n_total;
    end(s);
}

static engine_logprob copy_logprob(arena *a, const engine_logprob *from) {
    engine_logprob to = *from;
    to.token = str_dup(a, from->token);
    if (from->n_top == 0) return to;
    engine_logprob *top = ARENA_ARRAY(a, engine_logprob, from->n_top);
    for (size_t i = 0; i < from->n_top; i++) {
        top[i] = from->top[i];
        top[i].token = str_dup(a, from->top[i].token);
    }
    to.top = top;
    return to;
}

void stream_set_tokens(engine_stream *s, int64_t n_eval_tokens) {
    pthread_mutex_lock(&s->mu);
    s->n_eval_tokens = n_eval_tokens;
    pthread_mutex_unlock(&s->mu);
}

void stream_put_text(engine_stream *s, engine_channel channel, str text, const engine_logprob *lp,
                     size_t n_lp) {
    if (text.len == 0 && n_lp == 0) return;
    if (!begin(s)) return;
    queued *q = last_of(s, ENGINE_EVENT_TEXT);
    if (!q || q->ev.channel != channel) q = push(s, ENGINE_EVENT_TEXT);
    q->ev.channel = channel;
    q->ev.n_eval_tokens = s->n_eval_tokens;
    buf_put_str(&q->text, text);
    size_t n_bytes = text.len;
    if (n_lp > 0 && !q->mem) q->mem = arena_create(1024);
    for (size_t i = 0; i < n_lp; i++) {
        VEC_PUSH(q->lp, copy_logprob(q->mem, &lp[i]));
        n_bytes += (lp[i].n_top + 1) * (sizeof(engine_logprob) + 16);
    }
    count(s, q, n_bytes);
    end(s);
}

void stream_put_tool_call(engine_stream *s, const engine_tool_call *call) {
    if (!begin(s)) return;
    queued *q = push(s, ENGINE_EVENT_TOOL_CALL);
    arena *a = q->mem = arena_create(512);
    q->ev.call = (engine_tool_call){.index = call->index,
                                    .id = str_dup(a, call->id),
                                    .name = str_dup(a, call->name),
                                    .arguments = value_copy(a, call->arguments)};
    count(s, q, arena_bytes(a));
    end(s);
}

void stream_put_embedding(engine_stream *s, size_t index, const float *vec, size_t n_vec) {
    if (!begin(s)) return;
    queued *q = push(s, ENGINE_EVENT_EMBEDDING);
    q->mem = arena_create(n_vec * sizeof(float) + 64);
    q->ev.index = index;
    q->ev.vec = arena_dup(q->mem, vec, n_vec * sizeof(float));
    q->ev.n_vec = n_vec;
    count(s, q, n_vec * sizeof(float));
    end(s);
}

void stream_put_done(engine_stream *s, const engine_event *done) {
    if (begin(s)) {
        queued *q = push(s, ENGINE_EVENT_DONE);
        q->ev = *done;
        q->ev.kind = ENGINE_EVENT_DONE;
        buf_put_str(&q->text, done->text);
        size_t n_bytes = done->n_context * sizeof(int32_t);
        if (n_bytes + done->stop_string.len > 0)
            q->mem = arena_create(n_bytes + done->stop_string.len + 64);
        if (n_bytes > 0) q->ev.context = arena_dup(q->mem, done->context, n_bytes);
        if (done->stop_string.len > 0) q->ev.stop_string = str_dup(q->mem, done->stop_string);
        s->ended = true;
        end(s);
    }
}

void stream_put_error(engine_stream *s, const err *why) {
    if (begin(s)) {
        queued *q = push(s, ENGINE_EVENT_ERROR);
        q->ev.error = *why;
        s->ended = true;
        end(s);
    }
}

static bool replaces(const engine_event *next, const queued *last) {
    bool passing =
        next->kind == ENGINE_EVENT_NODE_PROGRESS || next->kind == ENGINE_EVENT_NODE_PREVIEW;
    return passing && last && last->ev.kind == next->kind && str_eq(last->ev.node, next->node);
}

/* Called with the lock: everything in *ev becomes the queue's own. */
static void push_copy(engine_stream *s, const engine_event *ev) {
    queued *q = s->events.len > 0 && replaces(ev, VEC_LAST(s->events)) ? VEC_LAST(s->events) : NULL;
    if (!q) q = push(s, ev->kind);
    s->n_bytes -= q->n_bytes;
    q->n_bytes = 0;
    arena_destroy(&q->mem);
    arena *a = q->mem = arena_create(256);
    str *ids = ARENA_ARRAY(a, str, ev->n_ids + 1);
    for (size_t i = 0; i < ev->n_ids; i++) ids[i] = str_dup(a, ev->ids[i]);
    q->ev = *ev;
    q->ev.ids = ids;
    q->ev.node = str_dup(a, ev->node);
    q->ev.class_type = str_dup(a, ev->class_type);
    q->ev.picture = str_dup(a, ev->picture);
    q->ev.ui = ev->ui ? value_copy(a, ev->ui) : NULL;
    q->ev.inputs = ev->inputs ? value_copy(a, ev->inputs) : NULL;
    count(s, q, arena_bytes(a));
}

void stream_put_node(engine_stream *s, const engine_event *ev) {
    if (!begin(s)) return;
    bool slow = s->n_bytes > LIMIT_STREAM_BYTES;
    if (!slow || ev->kind != ENGINE_EVENT_NODE_PREVIEW) push_copy(s, ev);
    end(s);
}

void stream_put_last(engine_stream *s, const engine_event *ev) {
    if (!begin(s)) return;
    push_copy(s, ev);
    s->ended = true;
    end(s);
}

/* Called with the lock. */
static bool take(engine_stream *s, engine_event *ret) {
    queued_destroy(s->current);
    s->current = NULL;
    if (s->events.len == 0) return false;
    queued *q = s->events.items[0];
    VEC_REMOVE_AT(s->events, 0);
    s->current = q;
    s->n_bytes -= q->n_bytes;
    q->ev.text = buf_str(&q->text);
    q->ev.logprobs = q->lp.items;
    q->ev.n_logprobs = q->lp.len;
    *ret = q->ev;
    if (s->bell && q->n_bytes > 0) bell_ring(s->bell); /* a paused job may go on */
    return true;
}

bool engine_stream_next(engine_stream *s, engine_event *ret) {
    pthread_mutex_lock(&s->mu);
    bool got = take(s, ret);
    pthread_mutex_unlock(&s->mu);
    return got;
}

bool engine_stream_wait(engine_stream *s, int64_t timeout_ns, engine_event *ret) {
    int64_t now = clock_mono_ns();
    int64_t deadline = timeout_ns > CLOCK_FOREVER - now ? CLOCK_FOREVER : now + timeout_ns;
    pthread_mutex_lock(&s->mu);
    while (s->events.len == 0 && !s->ended && clock_mono_ns() < deadline)
        wait_until(&s->cond, &s->mu, deadline);
    bool got = take(s, ret);
    pthread_mutex_unlock(&s->mu);
    return got;
}

/* Called with the lock. */
static void cancel_locked(engine_stream *s) {
    if (s->ended || !s->bell || atomic_exchange(&s->cancelled, true)) return;
    engine_bell *b = s->bell;
    pthread_mutex_lock(&b->mu);
    if (s->in_step) {
        s->in_step = false;
        step_drop(b);
    }
    b->rung = true;
    pthread_cond_signal(&b->cond);
    pthread_mutex_unlock(&b->mu);
}

void engine_stream_cancel(engine_stream *s) {
    pthread_mutex_lock(&s->mu);
    cancel_locked(s);
    pthread_mutex_unlock(&s->mu);
}

void engine_stream_destroy(engine_stream **sp) {
    engine_stream *s = *sp;
    if (!s) return;
    *sp = NULL;
    pthread_mutex_lock(&s->mu);
    cancel_locked(s);
    s->notify = NULL;
    unref_unlock(s);
}
