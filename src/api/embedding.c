/* Gathering vectors and answering once. */
#include "api/embedding.h"
#include "api/pump.h"
#include "api/request.h"
#include "base/limits.h"
#include "base/vec.h"
#include "http/json.h"
#include "http/stream.h"
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct gathering {
    const embedding_dialect *d;
    embedding_answer v;
    VEC(float) vecs;
    arena *mem;
    pump *pump;
    pump_source source;
    http_stream *out;
    engine_stream *events;
    _Atomic bool submitted, gone;
} gathering;

static void on_gone(void *arg) {
    gathering *k = arg;
    k->gone = true;
    if (k->submitted) engine_stream_cancel(k->events);
}

static void on_event(void *arg) {
    gathering *k = arg;
    pump_wake(k->pump, &k->source);
}

static void gathering_destroy(gathering *k) {
    http_stream_destroy(&k->out);
    engine_stream_destroy(&k->events);
    pump_forget(k->pump, &k->source);
    VEC_FINISH(k->vecs);
    arena_destroy(&k->mem);
    mem_free(k);
}

static void put_vec(gathering *k, const engine_event *ev) {
    k->v.n_vec = ev->n_vec;
    k->v.n++;
    for (size_t i = 0; i < ev->n_vec; i++) VEC_PUSH(k->vecs, ev->vec[i]);
}

static void answer(gathering *k, const engine_event *ev) {
    k->v.vecs = k->vecs.items;
    k->v.load_ns = ev->load_ns;
    k->v.total_ns = ev->total_ns;
    k->v.n_prompt_tokens = ev->n_prompt_tokens;
    json_t *body = k->d->answer(&k->v);
    http_stream_reply_json(k->out, 200, body);
    json_decref(body);
}

static void answer_error(gathering *k, const err *why) {
    int status = err_http_status(why->code);
    json_t *body = k->d->error(status, why->msg);
    http_stream_reply_json(k->out, status, body);
    json_decref(body);
}

/* On the pump thread. */
static void run(pump_source *s) {
    gathering *k = (gathering *)(void *)((char *)s - offsetof(gathering, source));
    engine_event ev;
    while (engine_stream_next(k->events, &ev)) {
        if (ev.kind == ENGINE_EVENT_EMBEDDING) put_vec(k, &ev);
        if (ev.kind == ENGINE_EVENT_DONE) answer(k, &ev);
        if (ev.kind == ENGINE_EVENT_ERROR) answer_error(k, &ev.error);
        if (ev.kind != ENGINE_EVENT_DONE && ev.kind != ENGINE_EVENT_ERROR) continue;
        gathering_destroy(k);
        return;
    }
}

void embedding_start(api *a, http_request *req, const embedding_dialect *d, str model, bool base64,
                     const engine_job_spec *spec) {
    gathering *k = NEW(gathering);
    err e;
    k->d = d;
    k->mem = arena_create(256);
    k->v.model = str_dup(k->mem, model);
    k->v.base64 = base64;
    k->pump = a->pump;
    pump_hold(&k->source, run);
    k->out = http_stream_create(req, "application/json; charset=utf-8", on_gone, k);
    if (engine_submit(a->eng, spec, on_event, k, &k->events, &e)) {
        answer_error(k, &e);
        gathering_destroy(k);
        return;
    }
    k->submitted = true;
    if (k->gone) engine_stream_cancel(k->events);
    pump_let_go(k->pump, &k->source); /* from here on it may be gone */
}

json_t *embedding_array(const float *vec, size_t n) {
    json_t *list = json_array();
    buf text = {0};
    for (size_t i = 0; i < n; i++) {
        buf_clear(&text);
        json_write_f32(&text, vec[i]);
        json_array_append_new(list, json_real(strtod(buf_cstr(&text), NULL)));
    }
    buf_finish(&text);
    return list;
}

static err_code input_text(const json_t *v, str *ret, err *e) {
    if (!json_is_string(v)) FAIL(e, INVALID, "invalid input type");
    *ret = (str){json_string_value(v), json_string_length(v)};
    return ERR_OK;
}

err_code embedding_inputs(const json_t *input, arena *mem, engine_job_spec *spec, err *e) {
    size_t n = json_is_array(input) ? json_array_size(input) : 1;
    if (n > LIMIT_EMBED_INPUTS)
        FAIL(e, INVALID, "%zu inputs; at most %d are possible", n, LIMIT_EMBED_INPUTS);
    str *list = ARENA_ARRAY(mem, str, n + 1);
    for (size_t i = 0; i < n; i++)
        TRY(input_text(json_is_array(input) ? json_array_get(input, i) : input, &list[i], e));
    spec->inputs = list;
    spec->n_inputs = n;
    return ERR_OK;
}

err_code embedding_inputs_or_ids(const json_t *input, arena *mem, engine_job_spec *spec, err *e) {
    const json_t *first = json_array_get(input, 0);
    bool one = json_is_integer(first);
    if (!one && !json_is_array(first)) return embedding_inputs(input, mem, spec, e);
    size_t n = one ? 1 : json_array_size(input);
    if (n > LIMIT_EMBED_INPUTS)
        FAIL(e, INVALID, "%zu inputs; at most %d are possible", n, LIMIT_EMBED_INPUTS);
    engine_tokens *list = ARENA_ARRAY(mem, engine_tokens, n);
    for (size_t i = 0; i < n; i++) {
        char name[40];
        snprintf(name, sizeof name, one ? "input" : "input[%zu]", i);
        TRY(request_ids(one ? input : json_array_get(input, i), name, mem, &list[i], e));
    }
    spec->input_ids = list;
    spec->n_inputs = n;
    return ERR_OK;
}
