/* Events from the engine become objects on the wire. See generation.h. */
#include "api/generation.h"
#include "api/pump.h"
#include "base/clock.h"
#include "http/json.h"
#include "http/stream.h"
#include <stdatomic.h>
#include <stddef.h>

/* A generation and what only this file needs of it. `g` is first: the dialects see a generation. */
typedef struct running {
    generation g;
    pump_source source;
    pump *pump;
    arena *mem; /* owns this struct's strings */
    http_stream *out;
    engine_stream *events;
    _Atomic bool submitted; /* `events` is set */
    _Atomic bool gone;      /* the client left */
    bool began;             /* the stream's first byte was written */
    bool done;              /* the last event was handled */
} running;

json_t *generation_native_error(int status, const char *message) {
    (void)status;
    return json_pack("{s:s}", "error", message);
}

static json_t *bytes_array(str bytes) {
    json_t *list = json_array();
    for (size_t i = 0; i < bytes.len; i++)
        json_array_append_new(list, json_integer((unsigned char)bytes.ptr[i]));
    return list;
}

/* Token bytes that are no text on their own read as U+FFFD; `bytes` has the truth. */
static json_t *token_text(str bytes) {
    buf b = {0};
    for (size_t pos = 0; pos < bytes.len;) buf_put_utf8(&b, str_utf8_next(bytes, &pos));
    json_t *text = json_stringn(b.ptr ? b.ptr : "", b.len);
    buf_finish(&b);
    return text ? text : json_string("");
}

static json_t *logprob_object(const engine_logprob *p) {
    json_t *o = json_object();
    json_object_set_new(o, "token", token_text(p->token));
    json_object_set_new(o, "logprob", json_real((double)p->logprob));
    json_object_set_new(o, "bytes", bytes_array(p->token));
    return o;
}

static json_t *logprobs_array(const engine_event *ev) {
    if (ev->n_logprobs == 0) return NULL;
    json_t *list = json_array();
    for (size_t i = 0; i < ev->n_logprobs; i++) {
        const engine_logprob *p = &ev->logprobs[i];
        json_t *o = logprob_object(p);
        if (p->n_top) {
            json_t *top = json_array();
            for (size_t k = 0; k < p->n_top; k++)
                json_array_append_new(top, logprob_object(&p->top[k]));
            json_object_set_new(o, "top_logprobs", top);
        }
        json_array_append_new(list, o);
    }
    return list;
}

/* The client is gone: the job ends within a step, and its last event ends us. */
static void on_gone(void *arg) {
    running *r = arg;
    r->gone = true;
    if (r->submitted) engine_stream_cancel(r->events);
}

static void on_event(void *arg) {
    running *r = arg;
    pump_wake(r->pump, &r->source);
}

static void running_destroy(running *r) {
    http_stream_destroy(&r->out);
    engine_stream_destroy(&r->events);
    pump_forget(r->pump, &r->source);
    buf_finish(&r->g.text);
    json_decref(r->g.logprobs);
    arena_destroy(&r->mem);
    mem_free(r);
}

static void write_object(running *r, json_t *object) {
    buf b = {0};
    if (r->g.d->sse) buf_put_str(&b, STR("data: "));
    json_write(&b, object);
    buf_put_str(&b, r->g.d->sse ? STR("\n\n") : STR("\n"));
    http_stream_write(r->out, buf_str(&b));
    buf_finish(&b);
    json_decref(object);
    r->began = true;
}

static void on_text(running *r, const engine_event *ev) {
    json_t *logprobs = logprobs_array(ev);
    if (r->g.stream) {
        write_object(r, r->g.d->chunk(&r->g, ev->text, logprobs));
        r->g.n_chunks++;
    } else {
        buf_put_str(&r->g.text, ev->text);
        if (logprobs && !r->g.logprobs) r->g.logprobs = json_array();
        if (logprobs) json_array_extend(r->g.logprobs, logprobs);
    }
    json_decref(logprobs);
}

static void on_done(running *r, const engine_event *ev) {
    if (!r->g.stream) {
        json_t *whole = r->g.d->whole(&r->g, ev);
        http_stream_reply_json(r->out, 200, whole);
        json_decref(whole);
        return;
    }
    json_t *objects = json_array();
    r->g.d->finish(&r->g, ev, objects);
    for (size_t i = 0; i < json_array_size(objects); i++)
        write_object(r, json_incref(json_array_get(objects, i)));
    json_decref(objects);
    if (r->g.d->sse) http_stream_write(r->out, STR("data: [DONE]\n\n"));
    http_stream_end(r->out);
}

static void on_error(running *r, const err *error) {
    int status = r->g.d->status ? r->g.d->status(error->code) : err_http_status(error->code);
    json_t *object = r->g.d->error(status, error->msg);
    if (r->began) {
        write_object(r, object);
        http_stream_end(r->out);
        return;
    }
    http_stream_reply_json(r->out, status, object);
    json_decref(object);
}

/* On the pump thread: handles every event that has arrived. */
static void run(pump_source *s) {
    running *r = (running *)(void *)((char *)s - offsetof(running, source));
    engine_event ev;
    while (!r->done && engine_stream_next(r->events, &ev)) {
        if (ev.kind == ENGINE_EVENT_TEXT) on_text(r, &ev);
        r->done = ev.kind == ENGINE_EVENT_DONE || ev.kind == ENGINE_EVENT_ERROR;
        if (ev.kind == ENGINE_EVENT_DONE) on_done(r, &ev);
        if (ev.kind == ENGINE_EVENT_ERROR) on_error(r, &ev.error);
    }
    if (r->done) running_destroy(r);
}

void generation_start(api *a, http_request *req, const generation *proto,
                      const engine_job_spec *spec) {
    running *r = NEW(running);
    r->g = *proto;
    r->mem = arena_create(0);
    r->g.model = str_dup(r->mem, proto->model);
    r->g.created_s = clock_wall_ns() / NS_PER_S;
    pump_hold(&r->source, run);
    r->pump = a->pump;
    err e;
    r->out = http_stream_create(req, proto->content_type, on_gone, r);
    if (engine_submit(a->eng, spec, on_event, r, &r->events, &e)) {
        on_error(r, &e);
        running_destroy(r);
        return;
    }
    r->submitted = true;
    if (r->gone) engine_stream_cancel(r->events);
    pump_let_go(r->pump, &r->source); /* from here on it may be gone */
}
