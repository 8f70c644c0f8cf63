/* POST /api/generate and /api/chat: the native dialect of text generation. */
#include "api/fields.h"
#include "api/generation.h"
#include "api/image_simple.h"
#include "api/request.h"
#include "base/clock.h"
#include "base/limits.h"
#include "http/json.h"

static json_t *text(str s) {
    value v = {.kind = VALUE_STR, .as.text = s};
    return json_from_value(&v);
}

/* {model, created_at}: how every native object begins. */
static json_t *begin_object(const generation *g) {
    char now[CLOCK_TEXT_BYTES];
    json_t *o = json_object();
    json_object_set_new(o, "model", text(g->model));
    json_object_set_new(o, "created_at", json_string(clock_rfc3339_utc(now, clock_wall_ns())));
    return o;
}

static json_t *message_object(str content) {
    return json_pack("{s:s, s:o}", "role", "assistant", "content", text(content));
}

static const char *reason_name(engine_done_reason reason) {
    static const char *const names[] = {[ENGINE_DONE_STOP] = "stop",
                                        [ENGINE_DONE_LENGTH] = "length",
                                        [ENGINE_DONE_LOAD] = "load",
                                        [ENGINE_DONE_UNLOAD] = "unload"};
    return names[reason];
}

static void set_nonzero(json_t *o, const char *key, int64_t v) {
    if (v) json_object_set_new(o, key, json_integer(v));
}

static void set_figures(json_t *o, const engine_event *ev) {
    set_nonzero(o, "total_duration", ev->total_ns);
    set_nonzero(o, "load_duration", ev->load_ns);
    set_nonzero(o, "prompt_eval_count", ev->n_prompt_tokens);
    set_nonzero(o, "prompt_eval_duration", ev->prompt_ns);
    set_nonzero(o, "eval_count", ev->n_eval_tokens);
    set_nonzero(o, "eval_duration", ev->eval_ns);
}

/* done, done_reason, context and the figures, in Ollama's order; chat has its log-probabilities
 * before the figures, generate behind them. */
static void end_object(json_t *o, const generation *g, const engine_event *ev, json_t *logprobs) {
    json_object_set_new(o, "done", json_true());
    json_object_set_new(o, "done_reason", json_string(reason_name(ev->reason)));
    if (g->embeds_context && ev->n_context) {
        json_t *list = json_array();
        for (size_t i = 0; i < ev->n_context; i++)
            json_array_append_new(list, json_integer(ev->context[i]));
        json_object_set_new(o, "context", list);
    }
    if (logprobs) json_object_set(o, "logprobs", logprobs);
    if (ev->reason == ENGINE_DONE_LOAD || ev->reason == ENGINE_DONE_UNLOAD) return;
    set_figures(o, ev);
}

static json_t *generate_chunk(const generation *g, str piece, json_t *logprobs) {
    json_t *o = begin_object(g);
    json_object_set_new(o, "response", text(piece));
    json_object_set_new(o, "done", json_false());
    if (logprobs) json_object_set(o, "logprobs", logprobs);
    return o;
}

static json_t *generate_whole(const generation *g, const engine_event *ev) {
    json_t *o = begin_object(g);
    if (ev->text.len && g->text.len == 0 && ev->n_eval_tokens == 0 &&
        ev->reason == ENGINE_DONE_STOP) {
        json_object_set_new(o, "_debug_info",
                            json_pack("{s:o}", "rendered_template", text(ev->text)));
        return o;
    }
    json_object_set_new(o, "response", text(buf_str(&g->text)));
    end_object(o, g, ev, NULL);
    if (g->logprobs) json_object_set(o, "logprobs", g->logprobs);
    return o;
}

static void generate_finish(const generation *g, const engine_event *ev, json_t *objects) {
    json_array_append_new(objects, generate_whole(g, ev));
}

static json_t *chat_chunk(const generation *g, str piece, json_t *logprobs) {
    json_t *o = begin_object(g);
    json_object_set_new(o, "message", message_object(piece));
    json_object_set_new(o, "done", json_false());
    if (logprobs) json_object_set(o, "logprobs", logprobs);
    return o;
}

static json_t *chat_whole(const generation *g, const engine_event *ev) {
    json_t *o = begin_object(g);
    json_object_set_new(o, "message", message_object(buf_str(&g->text)));
    end_object(o, g, ev, g->logprobs);
    return o;
}

static void chat_finish(const generation *g, const engine_event *ev, json_t *objects) {
    json_array_append_new(objects, chat_whole(g, ev));
}

static const dialect GENERATE = {.chunk = generate_chunk,
                                 .finish = generate_finish,
                                 .whole = generate_whole,
                                 .error = generation_native_error};
static const dialect CHAT = {.chunk = chat_chunk,
                             .finish = chat_finish,
                             .whole = chat_whole,
                             .error = generation_native_error};

/* Load or unload: a request with nothing to say. Answers one object even when streaming is on. */
static void start_load(api *a, http_request *r, generation *g, engine_job_spec *job) {
    job->kind =
        job->keep_alive_set && job->keep_alive_ns == 0 ? ENGINE_JOB_UNLOAD : ENGINE_JOB_LOAD;
    g->stream = false;
    generation_start(a, r, g, job);
}

/* What both routes read: stream, keep_alive, think, logprobs, truncate, shift, format. */
static err_code common_fields(const json_t *body, const api_model *m, arena *mem, generation *g,
                              engine_job_spec *job, err *e) {
    TRY(request_logprobs(body, job, e));
    TRY(field_bool(body, "stream", &g->stream, e));
    TRY(field_bool(body, "truncate", &job->prompt.truncate, e));
    TRY(field_bool(body, "shift", &job->prompt.shift, e));
    TRY(field_bool(body, "_debug_render_only", &job->render_only, e));
    TRY(field_keep_alive(body, &job->keep_alive_set, &job->keep_alive_ns, e));
    TRY(request_think(body, m, &job->prompt, e));
    if (job->render_only) g->stream = false;
    return request_format(body, mem, &job->format, e);
}

/* Ollama answers 500 to an option of the wrong type. */
static void reply_options_error(http_request *r, const err *e) {
    bool wrong_type = str_starts(str_from(e->msg), STR("option \""));
    api_reply_error(r, wrong_type ? 500 : err_http_status(e->code), "%s", e->msg);
}

static err_code read_context(const json_t *body, arena *mem, engine_prompt *p, err *e) {
    const json_t *list = NULL;
    TRY(field_array(body, "context", &list, e));
    size_t n = json_array_size(list);
    int32_t *ids = ARENA_ARRAY(mem, int32_t, n + 1);
    for (size_t i = 0; i < n; i++) {
        const json_t *v = json_array_get(list, i);
        if (!json_is_integer(v) || json_integer_value(v) < 0 ||
            json_integer_value(v) >= LIMIT_VOCAB)
            FAIL(e, INVALID, "context[%zu] is not a token", i);
        ids[i] = (int32_t)json_integer_value(v);
    }
    p->context = ids;
    p->n_context = n;
    return ERR_OK;
}

/* The fields that only /api/generate has. */
static err_code generate_fields(const json_t *body, api_model *m, arena *mem, generation *g,
                                engine_job_spec *job, err *e) {
    str prompt = STR(""), system = {0}, template_text = {0}, suffix = {0};
    bool raw = false;
    TRY(field_str(body, "prompt", &prompt, e));
    TRY(field_str(body, "system", &system, e));
    TRY(field_str(body, "template", &template_text, e));
    TRY(field_str(body, "suffix", &suffix, e));
    TRY(field_bool(body, "raw", &raw, e));
    TRY(read_context(body, mem, &job->prompt, e));
    if (raw && (system.len || template_text.len || job->prompt.n_context))
        FAIL(e, INVALID, "raw mode does not support template, system, or context");
    TRY(request_images(body, m, e));
    g->embeds_context = !raw;
    job->prompt.text = prompt;
    job->prompt.kind = raw ? ENGINE_PROMPT_RAW : ENGINE_PROMPT_MESSAGES;
    engine_template_info info = {.has_insert = m->file.has_insert};
    if (template_text.len) {
        TRY(engine_template_inspect(template_text, &info, e));
        job->prompt.template_text = template_text;
    }
    if (suffix.len && !raw && !info.has_insert)
        FAIL(e, INVALID, STR_FMT " does not support insert",
             STR_ARG(store_name_full(mem, &m->stored.name)));
    job->prompt.suffix = suffix;
    if (system.len) m->system = system;
    if (job->prompt.n_context) m->messages_text = STR("");
    value *messages;
    TRY(request_messages(m, NULL, mem, &messages, e));
    value_push(mem, messages, request_message(mem, STR("user"), prompt));
    job->prompt.messages = messages;
    return ERR_OK;
}

void ollama_generate(http_request *r, void *ctx) {
    api *a = ctx;
    arena *mem = http_request_arena(r);
    const json_t *body = api_body(r), *options_object = NULL;
    if (!body || (a->pictures && image_generate(a->pictures, r, body, false))) return;
    generation g = {.d = &GENERATE, .stream = true, .content_type = "application/x-ndjson"};
    engine_job_spec job = {0};
    api_model m;
    str prompt = {0};
    err e;
    if (request_logprobs(body, &job, &e) || field_model(body, &g.model, &e) ||
        field_str(body, "prompt", &prompt, &e) ||
        field_object(body, "options", &options_object, &e)) {
        api_reply_err(r, &e);
        return;
    }
    if (!request_model(a, r, g.model, "generate", &m)) return;
    if (request_job(&m, options_object, mem, &job, &e))
        reply_options_error(r, &e);
    else if (common_fields(body, &m, mem, &g, &job, &e) ||
             generate_fields(body, &m, mem, &g, &job, &e))
        api_reply_err(r, &e);
    else if (prompt.len == 0)
        start_load(a, r, &g, &job);
    else
        generation_start(a, r, &g, &job);
}

static err_code chat_fields(const json_t *body, const api_model *m, arena *mem,
                            engine_job_spec *job, err *e) {
    const json_t *messages = NULL, *tools = NULL;
    value *list;
    TRY(field_array(body, "messages", &messages, e));
    TRY(field_array(body, "tools", &tools, e));
    if (json_array_size(tools)) {
        if (!api_model_can(m, "tools"))
            FAIL(e, INVALID, STR_FMT " does not support tools",
                 STR_ARG(store_name_full(mem, &m->stored.name)));
        job->prompt.tools = json_to_value(mem, tools);
    }
    TRY(request_messages(m, messages, mem, &list, e));
    job->prompt.kind = ENGINE_PROMPT_MESSAGES;
    job->prompt.messages = list;
    return ERR_OK;
}

void ollama_chat(http_request *r, void *ctx) {
    api *a = ctx;
    arena *mem = http_request_arena(r);
    const json_t *body = api_body(r), *options_object = NULL, *messages = NULL;
    if (!body) return;
    generation g = {.d = &CHAT, .stream = true, .content_type = "application/x-ndjson"};
    engine_job_spec job = {0};
    api_model m;
    err e;
    if (request_logprobs(body, &job, &e) || field_model(body, &g.model, &e) ||
        field_object(body, "options", &options_object, &e) ||
        field_array(body, "messages", &messages, &e)) {
        api_reply_err(r, &e);
        return;
    }
    if (g.model.len == 0) {
        api_reply_error(r, 400, "model is required");
        return;
    }
    if (!request_model(a, r, g.model, "chat", &m)) return;
    if (request_job(&m, options_object, mem, &job, &e))
        reply_options_error(r, &e);
    else if (common_fields(body, &m, mem, &g, &job, &e) || chat_fields(body, &m, mem, &job, &e))
        api_reply_err(r, &e);
    else if (json_array_size(messages) == 0)
        start_load(a, r, &g, &job);
    else
        generation_start(a, r, &g, &job);
}
