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
    http_stream *stream;
    engine_stream **events;     /* [g.n_out] */
    _Atomic size_t n_submitted; /* of them are set */
    _Atomic bool gone;          /* the client left */
    bool greeted;               /* dialect's `begin` had its turn */
    bool began;                 /* the stream's first byte was written */
    bool over;                  /* the last event was handled */
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

/* The client is gone: the jobs end within a step, and their last events end us. */
static void on_gone(void *arg) {
    running *r = arg;
    r->gone = true;
    for (size_t i = r->n_submitted; i-- > 0;) engine_stream_cancel(r->events[i]);
}

static void on_event(void *arg) {
    running *r = arg;
    pump_wake(r->pump, &r->source);
}

static void running_destroy(running *r) {
    http_stream_destroy(&r->stream);
    for (size_t i = 0; i < r->g.n_out; i++) {
        generation_output *o = &r->g.out[i];
        engine_stream_destroy(&r->events[i]);
        buf_finish(&o->content);
        buf_finish(&o->thinking);
        json_decref(o->calls);
        json_decref(o->logprobs);
    }
    pump_forget(r->pump, &r->source);
    json_decref(r->g.echo);
    arena_destroy(&r->mem);
    mem_free(r);
}

static void write_object(running *r, const json_t *object) {
    const dialect *d = r->g.d;
    const char *type = json_string_value(json_object_get(object, "type"));
    buf b = {0};
    if (d->names_events && type) buf_putf(&b, "event: %s\n", type);
    if (d->sse) buf_put_str(&b, STR("data: "));
    json_write(&b, object);
    buf_put_str(&b, d->sse ? STR("\n\n") : STR("\n"));
    http_stream_write(r->stream, buf_str(&b));
    buf_finish(&b);
    r->began = true;
}

/* Writes and releases the objects of one callback. */
static void write_objects(running *r, json_t *objects) {
    size_t i;
    json_t *object;
    json_array_foreach(objects, i, object) write_object(r, object);
    r->g.n_objects += (int64_t)json_array_size(objects);
    json_decref(objects);
}

static void say_piece(running *r, generation_output *o, const generation_piece *p) {
    if (r->g.stream) {
        json_t *objects = json_array();
        r->g.d->piece(&r->g, o, p, objects);
        write_objects(r, objects);
    }
    o->n_pieces++;
}

static void on_text(running *r, generation_output *o, const engine_event *ev) {
    bool thinks = ev->channel == ENGINE_CHANNEL_THINKING;
    json_t *logprobs = logprobs_array(ev);
    generation_piece p = {
        .kind = thinks ? PIECE_THINKING : PIECE_CONTENT, .text = ev->text, .logprobs = logprobs};
    buf_put_str(thinks ? &o->thinking : &o->content, ev->text);
    if (logprobs && !o->logprobs) o->logprobs = json_array();
    if (logprobs) json_array_extend(o->logprobs, logprobs);
    say_piece(r, o, &p);
    json_decref(logprobs);
}

static void on_tool_call(running *r, generation_output *o, const engine_event *ev) {
    const engine_tool_call *call = &ev->call;
    json_t *object = json_object();
    json_object_set_new(object, "id", token_text(call->id));
    json_object_set_new(object, "index", json_integer(call->index));
    json_object_set_new(object, "name", token_text(call->name));
    json_object_set_new(object, "arguments", json_from_value(call->arguments));
    if (!o->calls) o->calls = json_array();
    json_array_append_new(o->calls, object);
    say_piece(r, o, &(generation_piece){.kind = PIECE_TOOL_CALL, .call = object});
}

static void on_done(running *r, generation_output *o, const engine_event *ev) {
    o->done = *ev;
    o->is_done = true;
    if (r->g.stream) {
        json_t *objects = json_array();
        r->g.d->finish(&r->g, o, objects);
        write_objects(r, objects);
    }
    if (!generation_is_done(&r->g)) return;
    r->over = true;
    if (!r->g.stream) {
        json_t *whole = r->g.d->whole(&r->g);
        http_stream_reply_json(r->stream, 200, whole);
        json_decref(whole);
        return;
    }
    if (r->g.d->closes_done) http_stream_write(r->stream, STR("data: [DONE]\n\n"));
    http_stream_end(r->stream);
}

static void on_error(running *r, const err *error) {
    const dialect *d = r->g.d;
    int status = d->status ? d->status(error->code) : err_http_status(error->code);
    r->over = true;
    if (!r->began) {
        json_t *object = d->error(status, error->msg);
        http_stream_reply_json(r->stream, status, object);
        json_decref(object);
        return;
    }
    json_t *objects = json_array();
    if (d->broken)
        d->broken(&r->g, status, error->msg, objects);
    else
        json_array_append_new(objects, d->error(status, error->msg));
    write_objects(r, objects);
    http_stream_end(r->stream);
}

static void on_progress(running *r, const engine_event *ev) {
    if (!r->g.stream || !r->g.wants_progress || !r->g.d->progress) return;
    json_t *objects = json_array();
    r->g.d->progress(&r->g, ev, objects);
    write_objects(r, objects);
}

static void on_engine_event(running *r, generation_output *o, const engine_event *ev) {
    bool progress = ev->kind == ENGINE_EVENT_QUEUED || ev->kind == ENGINE_EVENT_LOADING ||
                    ev->kind == ENGINE_EVENT_PROMPT;
    if (progress) {
        on_progress(r, ev);
        return;
    }
    if (ev->kind == ENGINE_EVENT_ERROR) {
        on_error(r, &ev->error);
        return;
    }
    if (r->g.stream && !r->greeted && r->g.d->begin) {
        json_t *objects = json_array();
        r->g.d->begin(&r->g, objects);
        write_objects(r, objects);
    }
    r->greeted = true;
    if (ev->kind == ENGINE_EVENT_TEXT) on_text(r, o, ev);
    if (ev->kind == ENGINE_EVENT_TOOL_CALL) on_tool_call(r, o, ev);
    if (ev->kind == ENGINE_EVENT_DONE) on_done(r, o, ev);
}

/* On the pump thread: handles every event that has arrived. */
static void run(pump_source *s) {
    running *r = (running *)(void *)((char *)s - offsetof(running, source));
    engine_event ev;
    for (size_t i = 0; i < r->g.n_out && !r->over; i++)
        while (!r->over && !r->g.out[i].is_done && engine_stream_next(r->events[i], &ev))
            on_engine_event(r, &r->g.out[i], &ev);
    if (r->over) running_destroy(r);
}

bool generation_is_done(const generation *g) {
    for (size_t i = 0; i < g->n_out; i++)
        if (!g->out[i].is_done) return false;
    return true;
}

generation_usage generation_get_usage(const generation *g) {
    generation_usage u = {0};
    for (size_t i = 0; i < g->n_out; i++) {
        const engine_event *done = &g->out[i].done;
        bool first = i % (g->n_out / g->n_jobs) == 0;
        u.n_prompt += first ? done->n_prompt_tokens : 0;
        u.n_cached += first ? done->n_cached_tokens : 0;
        u.n_eval += done->n_eval_tokens;
    }
    return u;
}

static running *running_create(const generation *proto, size_t n_jobs) {
    running *r = NEW(running);
    r->g = *proto;
    r->mem = arena_create(0);
    r->g.model = str_dup(r->mem, proto->model);
    r->g.created_s = clock_wall_ns() / NS_PER_S;
    r->g.n_jobs = n_jobs;
    r->g.n_out = (proto->n_out ? proto->n_out : 1) * n_jobs;
    r->g.out = ARENA_ARRAY(r->mem, generation_output, r->g.n_out);
    r->events = ARENA_ARRAY(r->mem, engine_stream *, r->g.n_out);
    for (size_t i = 0; i < r->g.n_out; i++) {
        r->g.out[i] = (generation_output){.index = i};
        r->events[i] = NULL;
    }
    return r;
}

void generation_start(api *a, http_request *req, const generation *proto,
                      const engine_job_spec *spec) {
    generation_start_each(a, req, proto, spec, 1);
}

void generation_start_each(api *a, http_request *req, const generation *proto,
                           const engine_job_spec *specs, size_t n_specs) {
    running *r = running_create(proto, n_specs);
    size_t n_each = r->g.n_out / n_specs;
    err e;
    pump_hold(&r->source, run);
    r->pump = a->pump;
    r->stream = http_stream_create(req, proto->content_type, on_gone, r);
    for (size_t i = 0; i < r->g.n_out; i++) {
        engine_job_spec one = specs[i / n_each];
        if (one.sample.seed >= 0) one.sample.seed += (int64_t)(i % n_each);
        if (engine_submit(a->eng, &one, on_event, r, &r->events[i], &e)) {
            on_error(r, &e);
            running_destroy(r);
            return;
        }
        r->n_submitted = i + 1;
        if (r->gone) engine_stream_cancel(r->events[i]);
    }
    pump_let_go(r->pump, &r->source); /* from here on it may be gone */
}
