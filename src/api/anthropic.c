/* POST /v1/messages and /v1/messages/count_tokens: the answers.
 *
 * A stream is message_start, then blocks one after another (thinking, text, tool_use), each begun,
 * grown and stopped, then message_delta with the reason and the counts, then message_stop. */
#include "api/anthropic.h"
#include "api/fields.h"
#include "api/slow.h"
#include "engine/report.h"

#include "http/json.h"

enum { OPEN_NONE, OPEN_TEXT, OPEN_THINKING };

/* ---- errors ---- */

static const char *error_type(int status) {
    switch (status) {
    case 400:
        return "invalid_request_error";
    case 401:
        return "authentication_error";
    case 403:
        return "permission_error";
    case 404:
        return "not_found_error";
    case 413:
        return "request_too_large";
    case 429:
        return "rate_limit_error";
    case 503:
    case 529:
        return "overloaded_error";
    default:
        return "api_error";
    }
}

json_t *anthropic_error(int status, const char *message) {
    char id[40];
    dialect_id(id, sizeof id, "req_", 16, 24);
    return json_pack("{s:s, s:{s:s, s:o}, s:s}", "type", "error", "error", "type",
                     error_type(status), "message", dialect_text(str_from(message)), "request_id",
                     id);
}

static void reply_error(http_request *r, int status, const char *message) {
    json_t *body = anthropic_error(status, message);
    http_reply_json(r, status, body);
    json_decref(body);
}

static void reply_err(http_request *r, const err *e) {
    reply_error(r, err_http_status(e->code), e->msg);
}

/* ---- answers ---- */

static json_t *tool_block(const json_t *call, json_t *input) {
    return json_pack("{s:s, s:O, s:O, s:o}", "type", "tool_use", "id", json_object_get(call, "id"),
                     "name", json_object_get(call, "name"), "input", input);
}

/* `stop_sequence` is there when one ended the answer, as Ollama leaves it out otherwise. */
static void set_stop(json_t *o, const generation_output *out) {
    const char *reason = out->calls                               ? "tool_use"
                         : out->done.reason == ENGINE_DONE_LENGTH ? "max_tokens"
                         : out->done.stop_string.len              ? "stop_sequence"
                                                                  : "end_turn";
    json_object_set_new(o, "stop_reason", json_string(reason));
    if (!out->calls && out->done.stop_string.len)
        json_object_set_new(o, "stop_sequence", dialect_text(out->done.stop_string));
}

static json_t *usage_object(const generation_output *o) {
    return json_pack("{s:I, s:I}", "input_tokens", (json_int_t)o->done.n_prompt_tokens,
                     "output_tokens", (json_int_t)o->done.n_eval_tokens);
}

static json_t *message_object(const generation *g, json_t *content) {
    return json_pack("{s:s, s:s, s:s, s:o, s:o}", "id", g->id, "type", "message", "role",
                     "assistant", "model", dialect_text(g->model), "content", content);
}

static json_t *whole(const generation *g) {
    const generation_output *o = g->out;
    json_t *content = json_array(), *call;
    size_t i;
    if (o->thinking.len)
        json_array_append_new(content, json_pack("{s:s, s:o}", "type", "thinking", "thinking",
                                                 dialect_text(buf_str(&o->thinking))));
    if (o->content.len)
        json_array_append_new(content, json_pack("{s:s, s:o}", "type", "text", "text",
                                                 dialect_text(buf_str(&o->content))));
    json_array_foreach(o->calls, i, call) json_array_append_new(
        content, tool_block(call, json_incref(json_object_get(call, "arguments"))));
    json_t *m = message_object(g, content);
    set_stop(m, o);
    json_object_set_new(m, "usage", usage_object(o));
    return m;
}

/* ---- the stream ---- */

static void begin(generation *g, json_t *objects) {
    json_t *m = message_object(g, json_array());
    json_object_set_new(m, "usage",
                        json_pack("{s:O, s:i}", "input_tokens",
                                  json_object_get(g->echo, "input_tokens"), "output_tokens", 0));
    json_array_append_new(objects, json_pack("{s:s, s:o}", "type", "message_start", "message", m));
}

static void start_block(generation *g, json_t *block, int kind, json_t *objects) {
    json_array_append_new(objects,
                          json_pack("{s:s, s:I, s:o}", "type", "content_block_start", "index",
                                    (json_int_t)g->n_blocks, "content_block", block));
    if (g->n_blocks == 0) json_array_append_new(objects, json_pack("{s:s}", "type", "ping"));
    g->open_block = kind;
}

static void grow_block(const generation *g, json_t *delta, json_t *objects) {
    json_array_append_new(objects, json_pack("{s:s, s:I, s:o}", "type", "content_block_delta",
                                             "index", (json_int_t)g->n_blocks, "delta", delta));
}

static void stop_block(generation *g, json_t *objects) {
    json_array_append_new(objects, json_pack("{s:s, s:I}", "type", "content_block_stop", "index",
                                             (json_int_t)g->n_blocks));
    g->open_block = OPEN_NONE;
    g->n_blocks++;
}

static void say_call(generation *g, const json_t *call, json_t *objects) {
    if (g->open_block != OPEN_NONE) stop_block(g, objects);
    start_block(g, tool_block(call, json_object()), OPEN_NONE, objects);
    json_t *arguments = dialect_json_in_text(json_object_get(call, "arguments"));
    grow_block(g, json_pack("{s:s, s:o}", "type", "input_json_delta", "partial_json", arguments),
               objects);
    stop_block(g, objects);
}

static void on_piece(generation *g, generation_output *o, const generation_piece *p,
                     json_t *objects) {
    (void)o;
    if (p->kind == PIECE_TOOL_CALL) {
        say_call(g, p->call, objects);
        return;
    }
    if (p->text.len == 0) return;
    bool thinks = p->kind == PIECE_THINKING;
    int kind = thinks ? OPEN_THINKING : OPEN_TEXT;
    const char *name = thinks ? "thinking" : "text";
    if (g->open_block != OPEN_NONE && g->open_block != kind) stop_block(g, objects);
    if (g->open_block == OPEN_NONE)
        start_block(g, json_pack("{s:s, s:s}", "type", name, name, ""), kind, objects);
    grow_block(g,
               json_pack("{s:s, s:o}", "type", thinks ? "thinking_delta" : "text_delta", name,
                         dialect_text(p->text)),
               objects);
}

static void on_finish(generation *g, generation_output *o, json_t *objects) {
    if (g->open_block != OPEN_NONE) stop_block(g, objects);
    json_t *delta = json_object();
    set_stop(delta, o);
    json_array_append_new(objects, json_pack("{s:s, s:o, s:o}", "type", "message_delta", "delta",
                                             delta, "usage", usage_object(o)));
    json_array_append_new(objects, json_pack("{s:s}", "type", "message_stop"));
}

static const dialect MESSAGES = {.sse = true,
                                 .names_events = true,
                                 .begin = begin,
                                 .piece = on_piece,
                                 .finish = on_finish,
                                 .whole = whole,
                                 .error = anthropic_error};

/* ---- the routes ---- */

static const json_t *parse_body(http_request *r) {
    json_t *body;
    err e;
    if (!api_read_body(http_request_body(r), http_request_arena(r), &body, &e)) return body;
    reply_err(r, &e);
    return NULL;
}

static err_code find_model(api *a, str name, arena *mem, api_model *ret, err *e) {
    err_code code = api_model_find(a, name, mem, ret, e);
    if (code == ERR_NOT_FOUND) FAIL(e, NOT_FOUND, "model '" STR_FMT "' not found", STR_ARG(name));
    if (code) return code;
    if (!api_model_can(ret, "completion"))
        FAIL(e, INVALID, "\"" STR_FMT "\" does not support chat", STR_ARG(name));
    return ERR_OK;
}

void anthropic_messages(http_request *r, void *ctx) {
    api *a = ctx;
    const json_t *body = parse_body(r);
    generation g = {.d = &MESSAGES, .content_type = "text/event-stream"};
    arena *mem = http_request_arena(r);
    engine_job_spec job;
    api_model m;
    err e;
    if (!body) return;
    if (field_bool(body, "stream", &g.stream, &e) || anthropic_check(body, false, &g.model, &e) ||
        find_model(a, g.model, mem, &m, &e) || anthropic_read(body, &m, mem, &job, &e)) {
        reply_err(r, &e);
        return;
    }
    g.echo = json_pack("{s:I}", "input_tokens", (json_int_t)(anthropic_length(body) + 3) / 4);
    dialect_id(g.id, sizeof g.id, "msg_", 16, 24);
    generation_start(a, r, &g, &job);
}

/* ---- count_tokens ---- */

/* Clients count before they know what the model can: tools that it cannot use are no tokens. */
static err_code count(slow *s, int64_t *ret, err *e) {
    json_t *body;
    api_model m;
    engine_job_spec job;
    engine_tokens got;
    str name = {0};
    TRY(api_read_body(s->body, s->mem, &body, e));
    TRY(anthropic_check(body, true, &name, e));
    TRY(find_model(s->a, name, s->mem, &m, e));
    if (!api_model_can(&m, "tools")) json_object_del(body, "tools");
    TRY(anthropic_read(body, &m, s->mem, &job, e));
    TRY(engine_tokenize(job.model.path, &job.prompt, ENGINE_TOKENIZE_ADD, s->mem, &got, e));
    *ret = (int64_t)got.n;
    return ERR_OK;
}

static void run_count(slow *s) {
    int64_t n = 0;
    err e;
    if (count(s, &n, &e)) {
        int status = err_http_status(e.code);
        slow_reply(s, status, anthropic_error(status, e.msg));
    } else {
        slow_reply(s, 200, json_pack("{s:I}", "input_tokens", (json_int_t)n));
    }
}

void anthropic_count_tokens(http_request *r, void *ctx) {
    slow_start(ctx, r, run_count);
}
