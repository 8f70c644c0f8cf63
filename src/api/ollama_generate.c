/* POST /api/generate and /api/chat: the native dialect of text generation. */
#include "api/fields.h"
#include "api/generation.h"
#include "api/image_simple.h"
#include "api/request.h"
#include "base/clock.h"
#include "base/limits.h"
#include "engine/template.h"
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

/* [{id, function: {index, name, arguments}}] of generation.h's calls. */
static json_t *calls_array(const json_t *calls) {
    json_t *list = json_array();
    for (size_t i = 0; i < json_array_size(calls); i++) {
        const json_t *c = json_array_get(calls, i);
        json_array_append_new(list,
                              json_pack("{s:O, s:{s:O, s:O, s:O}}", "id", json_object_get(c, "id"),
                                        "function", "index", json_object_get(c, "index"), "name",
                                        json_object_get(c, "name"), "arguments",
                                        json_object_get(c, "arguments")));
    }
    return list;
}

/* `calls` borrowed, NULL = none. */
static json_t *message_object(str content, str thinking, const json_t *calls) {
    json_t *o = json_pack("{s:s, s:o}", "role", "assistant", "content", text(content));
    if (thinking.len) json_object_set_new(o, "thinking", text(thinking));
    if (calls) json_object_set_new(o, "tool_calls", calls_array(calls));
    return o;
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
static void end_object(json_t *o, const generation *g, json_t *logprobs) {
    const engine_event *ev = &g->out->done;
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

static void generate_piece(generation *g, generation_output *out, const generation_piece *p,
                           json_t *objects) {
    (void)out;
    json_t *o = begin_object(g);
    json_object_set_new(o, "response", text(p->kind == PIECE_CONTENT ? p->text : STR("")));
    if (p->kind == PIECE_THINKING) json_object_set_new(o, "thinking", text(p->text));
    json_object_set_new(o, "done", json_false());
    json_t *call = p->call ? json_pack("[O]", p->call) : NULL;
    if (call) json_object_set_new(o, "tool_calls", calls_array(call));
    json_decref(call);
    if (p->logprobs) json_object_set(o, "logprobs", p->logprobs);
    json_array_append_new(objects, o);
}

/* The last object: of a stream without what was said before. */
static json_t *generate_last(const generation *g, const generation_output *said) {
    json_t *o = begin_object(g);
    json_object_set_new(o, "response", text(said ? buf_str(&said->content) : STR("")));
    if (said && said->thinking.len)
        json_object_set_new(o, "thinking", text(buf_str(&said->thinking)));
    end_object(o, g, NULL);
    if (said && said->calls) json_object_set_new(o, "tool_calls", calls_array(said->calls));
    if (said && said->logprobs) json_object_set(o, "logprobs", said->logprobs);
    return o;
}

/* _debug_render_only; NULL when it was not asked for. */
static json_t *rendered_object(const generation *g) {
    const engine_event *ev = &g->out->done;
    if (!ev->text.len || g->out->n_pieces || ev->n_eval_tokens || ev->reason != ENGINE_DONE_STOP)
        return NULL;
    json_t *o = begin_object(g);
    json_object_set_new(o, "_debug_info", json_pack("{s:o}", "rendered_template", text(ev->text)));
    return o;
}

static json_t *generate_whole(const generation *g) {
    json_t *rendered = rendered_object(g);
    return rendered ? rendered : generate_last(g, g->out);
}

static void generate_finish(generation *g, generation_output *o, json_t *objects) {
    (void)o;
    json_array_append_new(objects, generate_last(g, NULL));
}

static void chat_piece(generation *g, generation_output *out, const generation_piece *p,
                       json_t *objects) {
    (void)out;
    json_t *o = begin_object(g), *call = p->call ? json_pack("[O]", p->call) : NULL;
    bool thinks = p->kind == PIECE_THINKING;
    json_object_set_new(
        o, "message", message_object(thinks ? STR("") : p->text, thinks ? p->text : STR(""), call));
    json_decref(call);
    json_object_set_new(o, "done", json_false());
    if (p->logprobs) json_object_set(o, "logprobs", p->logprobs);
    json_array_append_new(objects, o);
}

static json_t *chat_whole(const generation *g) {
    const generation_output *said = g->out;
    json_t *rendered = rendered_object(g);
    if (rendered) return rendered;
    json_t *o = begin_object(g);
    json_object_set_new(
        o, "message",
        message_object(buf_str(&said->content), buf_str(&said->thinking), said->calls));
    end_object(o, g, said->logprobs);
    return o;
}

static void chat_finish(generation *g, generation_output *out, json_t *objects) {
    (void)out;
    json_t *o = begin_object(g);
    json_object_set_new(o, "message", message_object(STR(""), STR(""), NULL));
    end_object(o, g, NULL);
    json_array_append_new(objects, o);
}

/* How far the load and the prompt are, for who asked: lines that say nothing else. */
static json_t *progress_object(json_t *o, const engine_event *ev) {
    static const struct {
        const char *done, *total;
    } NAMES[] = {[ENGINE_EVENT_QUEUED] = {"queue_position", "queue_waiting"},
                 [ENGINE_EVENT_LOADING] = {"load_completed", "load_total"},
                 [ENGINE_EVENT_PROMPT] = {"prompt_eval_completed", "prompt_eval_total"}};
    json_object_set_new(o, "done", json_false());
    json_object_set_new(o, NAMES[ev->kind].done, json_integer(ev->n_done));
    json_object_set_new(o, NAMES[ev->kind].total, json_integer(ev->n_total));
    return o;
}

static void generate_progress(generation *g, const engine_event *ev, json_t *objects) {
    json_t *o = begin_object(g);
    json_object_set_new(o, "response", json_string(""));
    json_array_append_new(objects, progress_object(o, ev));
}

static void chat_progress(generation *g, const engine_event *ev, json_t *objects) {
    json_t *o = begin_object(g);
    json_object_set_new(o, "message", json_pack("{s:s, s:s}", "role", "assistant", "content", ""));
    json_array_append_new(objects, progress_object(o, ev));
}

/* `progress`: true; or `prompt_eval_progress`: true or a number of tokens, of which any is taken.*/
static err_code read_progress(const json_t *body, generation *g, err *e) {
    const json_t *v = field_get(body, "prompt_eval_progress");
    if (json_is_number(v))
        g->wants_progress = json_number_value(v) > 0;
    else
        TRY(field_bool(body, "prompt_eval_progress", &g->wants_progress, e));
    return field_bool(body, "progress", &g->wants_progress, e);
}

static const dialect GENERATE = {.piece = generate_piece,
                                 .finish = generate_finish,
                                 .progress = generate_progress,
                                 .whole = generate_whole,
                                 .error = generation_native_error};
static const dialect CHAT = {.piece = chat_piece,
                             .finish = chat_finish,
                             .progress = chat_progress,
                             .whole = chat_whole,
                             .error = generation_native_error};

/* Any model can be unloaded, also one that only embeds. */
static bool asks_to_unload(const json_t *body, bool has_nothing_to_say) {
    bool set = false;
    int64_t ns = 0;
    return has_nothing_to_say && !field_keep_alive(body, &set, &ns, NULL) && set && ns == 0;
}

/* Load or unload: a request with nothing to say. Answers one object even when streaming is on,
 * unless progress is to be told. */
static void start_load(api *a, http_request *r, generation *g, engine_job_spec *job) {
    job->kind =
        job->keep_alive_set && job->keep_alive_ns == 0 ? ENGINE_JOB_UNLOAD : ENGINE_JOB_LOAD;
    g->stream = g->stream && g->wants_progress;
    generation_start(a, r, g, job);
}

/* What both routes read: stream, keep_alive, think, logprobs, truncate, shift, format. */
static err_code common_fields(const json_t *body, const api_model *m, arena *mem, generation *g,
                              engine_job_spec *job, err *e) {
    TRY(request_logprobs(body, job, e));
    TRY(field_bool(body, "stream", &g->stream, e));
    TRY(read_progress(body, g, e));
    TRY(field_bool(body, "truncate", &job->prompt.truncate, e));
    TRY(field_bool(body, "shift", &job->prompt.shift, e));
    TRY(field_bool(body, "_debug_render_only", &job->render_only, e));
    TRY(field_keep_alive(body, &job->keep_alive_set, &job->keep_alive_ns, e));
    TRY(request_think(body, m, &job->prompt, e));
    if (job->render_only) g->stream = false;
    return request_format(body, mem, &job->format, e);
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
        if (engine_template_inspect(template_text, &info, e)) return e->code = ERR_INTERNAL;
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
    bool unloads = asks_to_unload(body, prompt.len == 0);
    if (!request_model(a, r, g.model, unloads ? NULL : "generate", &m)) return;
    if (request_job(&m, options_object, mem, &job, &e))
        request_reply_err(r, &e);
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
    const json_t *messages = NULL;
    value *list;
    TRY(field_array(body, "messages", &messages, e));
    TRY(request_tools(body, m, mem, &job->prompt, e));
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
    bool unloads = asks_to_unload(body, json_array_size(messages) == 0);
    if (!request_model(a, r, g.model, unloads ? NULL : "chat", &m)) return;
    if (request_job(&m, options_object, mem, &job, &e))
        request_reply_err(r, &e);
    else if (common_fields(body, &m, mem, &g, &job, &e) || chat_fields(body, &m, mem, &job, &e))
        api_reply_err(r, &e);
    else if (json_array_size(messages) == 0)
        start_load(a, r, &g, &job);
    else
        generation_start(a, r, &g, &job);
}
