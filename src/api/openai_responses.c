/* POST /v1/responses: the answers.
 *
 * An answer is a list of items: what was thought (reasoning), text (message) and function calls. In
 * a stream each item is added, grown and done; the last event is response.completed, .incomplete
 * or .failed and carries the whole object. g->echo holds that object while it grows
 * ("response"), and the item that is open ("item", with "from": where its text begins). Events have
 * their fields in alphabetical order, as Ollama's have. */
#include "api/openai_responses.h"
#include "api/fields.h"
#include "api/openai.h"
#include "base/clock.h"
#include "base/vec.h"
#include <stdlib.h>
#include <string.h>

enum { OPEN_NONE, OPEN_MESSAGE, OPEN_REASONING };

/* ---- items ---- */

static json_t *new_id(const char *prefix) {
    char id[40];
    dialect_id(id, sizeof id, prefix, 10, 9);
    return json_string(id);
}

static json_t *text_part(json_t *text) {
    return json_pack("{s:s, s:o, s:[], s:[]}", "type", "output_text", "text", text, "annotations",
                     "logprobs");
}

static json_t *message_item(const char *status, json_t *parts) {
    return json_pack("{s:o, s:s, s:s, s:s, s:o}", "id", new_id("msg_"), "type", "message", "status",
                     status, "role", "assistant", "content", parts);
}

static json_t *reasoning_item(str text) {
    return json_pack("{s:o, s:s, s:[{s:s, s:o}], s:o}", "id", new_id("rs_"), "type", "reasoning",
                     "summary", "type", "summary_text", "text", dialect_text(text),
                     "encrypted_content", dialect_text(text));
}

static json_t *call_item(const json_t *call) {
    return json_pack("{s:o, s:s, s:s, s:O, s:O, s:o}", "id", new_id("fc_"), "type", "function_call",
                     "status", "completed", "call_id", json_object_get(call, "id"), "name",
                     json_object_get(call, "name"), "arguments",
                     dialect_json_in_text(json_object_get(call, "arguments")));
}

/* ---- the Response object ---- */

static void set_result(json_t *response, const generation *g) {
    const engine_event *done = &g->out->done;
    json_int_t in = done->n_prompt_tokens, out = done->n_eval_tokens;
    bool cut = done->reason == ENGINE_DONE_LENGTH;
    json_object_set_new(response, "completed_at", json_integer(clock_wall_ns() / NS_PER_S));
    json_object_set_new(response, "status", json_string(cut ? "incomplete" : "completed"));
    if (cut)
        json_object_set_new(response, "incomplete_details",
                            json_pack("{s:s}", "reason", "max_output_tokens"));
    json_object_set_new(response, "usage",
                        json_pack("{s:I, s:I, s:I, s:{s:I}, s:{s:i}}", "input_tokens", in,
                                  "output_tokens", out, "total_tokens", in + out,
                                  "input_tokens_details", "cached_tokens",
                                  (json_int_t)done->n_cached_tokens, "output_tokens_details",
                                  "reasoning_tokens", 0));
}

static json_t *response_of(const generation *g) {
    json_t *response = json_object_get(g->echo, "response");
    json_object_set_new(response, "created_at", json_integer(g->created_s));
    return response;
}

static json_t *whole(const generation *g) {
    const generation_output *o = g->out;
    json_t *response = response_of(g), *output = json_object_get(response, "output"), *call;
    const char *status = o->done.reason == ENGINE_DONE_LENGTH ? "incomplete" : "completed";
    size_t i;
    if (o->thinking.len) json_array_append_new(output, reasoning_item(buf_str(&o->thinking)));
    if (o->content.len || !o->calls)
        json_array_append_new(
            output,
            message_item(status, json_pack("[o]", text_part(dialect_text(buf_str(&o->content))))));
    json_array_foreach(o->calls, i, call) json_array_append_new(output, call_item(call));
    set_result(response, g);
    return json_incref(response);
}

/* ---- the stream ---- */

static int by_name(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* A copy with every object's fields in alphabetical order. */
static json_t *in_order(const json_t *v) {
    const char *key;
    json_t *item;
    size_t i;
    if (json_is_array(v)) {
        json_t *list = json_array();
        json_array_foreach(v, i, item) json_array_append_new(list, in_order(item));
        return list;
    }
    if (!json_is_object(v)) return json_incref((json_t *)(uintptr_t)v);
    VEC(const char *) keys = {0};
    json_object_foreach((json_t *)(uintptr_t)v, key, item) VEC_PUSH(keys, key);
    if (keys.len) qsort(keys.items, keys.len, sizeof *keys.items, by_name);
    json_t *o = json_object();
    for (i = 0; i < keys.len; i++)
        json_object_set_new(o, keys.items[i], in_order(json_object_get(v, keys.items[i])));
    VEC_FINISH(keys);
    return o;
}

/* Takes the reference; gives the event its type and number. */
static void say(const generation *g, const char *type, json_t *event, json_t *objects) {
    json_object_set_new(event, "type", json_string(type));
    json_object_set_new(
        event, "sequence_number",
        json_integer((json_int_t)(g->n_objects + (int64_t)json_array_size(objects))));
    json_array_append_new(objects, in_order(event));
    json_decref(event);
}

static void say_response(const generation *g, const char *type, json_t *objects) {
    say(g, type, json_pack("{s:O}", "response", response_of(g)), objects);
}

static json_t *output_of(const generation *g) {
    return json_object_get(json_object_get(g->echo, "response"), "output");
}

static json_t *item_of(const generation *g) {
    return json_object_get(g->echo, "item");
}

/* The place of an event: which item, by number and id. */
static json_t *place(const generation *g, const json_t *item) {
    return json_pack("{s:I, s:O}", "output_index", (json_int_t)g->n_blocks, "item_id",
                     json_object_get(item, "id"));
}

static void say_item(const generation *g, const char *type, json_t *item, json_t *objects) {
    say(g, type, json_pack("{s:I, s:O}", "output_index", (json_int_t)g->n_blocks, "item", item),
        objects);
}

/* The item at hand is complete. */
static void put_item(generation *g, json_t *item, json_t *objects) {
    say_item(g, "response.output_item.done", item, objects);
    json_array_append(output_of(g), item);
    g->n_blocks++;
    g->open_block = OPEN_NONE;
}

static void open_item(generation *g, int kind, size_t from, json_t *objects) {
    bool message = kind == OPEN_MESSAGE;
    json_t *item = message ? message_item("in_progress", json_array())
                           : json_pack("{s:o, s:s, s:[]}", "id", new_id("rs_"), "type", "reasoning",
                                       "summary");
    json_object_set_new(g->echo, "item", item);
    json_object_set_new(g->echo, "from", json_integer((json_int_t)from));
    g->open_block = kind;
    say_item(g, "response.output_item.added", item, objects);
    if (!message) return;
    json_t *event = place(g, item);
    json_object_set_new(event, "content_index", json_integer(0));
    json_object_set_new(event, "part", text_part(json_string("")));
    say(g, "response.content_part.added", event, objects);
}

static str since(const generation *g, const buf *b) {
    size_t from = (size_t)json_integer_value(json_object_get(g->echo, "from"));
    return (str){b->ptr + from, b->len - from};
}

static void close_message(generation *g, const generation_output *o, const char *status,
                          json_t *objects) {
    json_t *item = item_of(g), *text = dialect_text(since(g, &o->content)), *event;
    event = place(g, item);
    json_object_set_new(event, "content_index", json_integer(0));
    json_object_set(event, "text", text);
    json_object_set_new(event, "logprobs", json_array());
    say(g, "response.output_text.done", event, objects);
    event = place(g, item);
    json_object_set_new(event, "content_index", json_integer(0));
    json_object_set_new(event, "part", text_part(json_incref(text)));
    say(g, "response.content_part.done", event, objects);
    json_object_set_new(item, "content", json_pack("[o]", text_part(text)));
    json_object_set_new(item, "status", json_string(status));
    put_item(g, item, objects);
}

static void close_reasoning(generation *g, const generation_output *o, json_t *objects) {
    json_t *item = item_of(g), *text = dialect_text(since(g, &o->thinking)), *event;
    event = place(g, item);
    json_object_set_new(event, "summary_index", json_integer(0));
    json_object_set(event, "text", text);
    say(g, "response.reasoning_summary_text.done", event, objects);
    json_object_set_new(item, "encrypted_content", json_incref(text));
    json_object_set_new(item, "summary",
                        json_pack("[{s:s, s:o}]", "type", "summary_text", "text", text));
    put_item(g, item, objects);
}

static void close_item(generation *g, const generation_output *o, const char *status,
                       json_t *objects) {
    if (g->open_block == OPEN_MESSAGE) close_message(g, o, status, objects);
    if (g->open_block == OPEN_REASONING) close_reasoning(g, o, objects);
}

static void say_call(generation *g, const json_t *call, json_t *objects) {
    json_t *item = call_item(call), *begun = json_copy(item), *event;
    json_object_set_new(begun, "status", json_string("in_progress"));
    json_object_set_new(begun, "arguments", json_string(""));
    say_item(g, "response.output_item.added", begun, objects);
    json_decref(begun);
    event = place(g, item);
    json_object_set(event, "delta", json_object_get(item, "arguments"));
    say(g, "response.function_call_arguments.delta", event, objects);
    event = place(g, item);
    json_object_set(event, "arguments", json_object_get(item, "arguments"));
    json_object_set(event, "name", json_object_get(item, "name"));
    say(g, "response.function_call_arguments.done", event, objects);
    put_item(g, item, objects);
    json_decref(item);
}

static void begin(generation *g, json_t *objects) {
    say_response(g, "response.created", objects);
    say_response(g, "response.in_progress", objects);
}

static void on_piece(generation *g, generation_output *o, const generation_piece *p,
                     json_t *objects) {
    if (p->kind == PIECE_TOOL_CALL) {
        close_item(g, o, "completed", objects);
        say_call(g, p->call, objects);
        return;
    }
    if (p->text.len == 0) return;
    bool thinks = p->kind == PIECE_THINKING;
    int kind = thinks ? OPEN_REASONING : OPEN_MESSAGE;
    const buf *all = thinks ? &o->thinking : &o->content;
    if (g->open_block != kind) close_item(g, o, "completed", objects);
    if (g->open_block == OPEN_NONE) open_item(g, kind, all->len - p->text.len, objects);
    json_t *event = place(g, item_of(g));
    json_object_set_new(event, thinks ? "summary_index" : "content_index", json_integer(0));
    json_object_set_new(event, "delta", dialect_text(p->text));
    if (!thinks) json_object_set_new(event, "logprobs", json_array());
    say(g, thinks ? "response.reasoning_summary_text.delta" : "response.output_text.delta", event,
        objects);
}

static void on_finish(generation *g, generation_output *o, json_t *objects) {
    bool cut = o->done.reason == ENGINE_DONE_LENGTH;
    if (g->open_block != OPEN_MESSAGE) close_item(g, o, "completed", objects);
    bool silent = o->content.len == 0 && !o->calls;
    if (g->open_block == OPEN_NONE && silent) open_item(g, OPEN_MESSAGE, 0, objects);
    close_item(g, o, cut ? "incomplete" : "completed", objects);
    set_result(response_of(g), g);
    say_response(g, cut ? "response.incomplete" : "response.completed", objects);
}

static void broken(generation *g, int status, const char *message, json_t *objects) {
    json_t *response = response_of(g);
    json_object_set_new(response, "status", json_string("failed"));
    json_object_set_new(response, "error",
                        json_pack("{s:s, s:o}", "code",
                                  status == 429 || status == 503 ? "rate_limit_exceeded"
                                  : status < 500                 ? "invalid_prompt"
                                                                 : "server_error",
                                  "message", dialect_text(str_from(message))));
    say_response(g, "response.failed", objects);
}

static const dialect RESPONSES = {.sse = true,
                                  .names_events = true,
                                  .begin = begin,
                                  .piece = on_piece,
                                  .finish = on_finish,
                                  .broken = broken,
                                  .whole = whole,
                                  .error = openai_error};

void openai_responses(http_request *r, void *ctx) {
    api *a = ctx;
    const json_t *body = openai_body(r);
    generation g = {.d = &RESPONSES, .content_type = "text/event-stream"};
    engine_job_spec job;
    api_model m;
    err e;
    if (!body) return;
    if (field_str(body, "model", &g.model, &e) || field_bool(body, "stream", &g.stream, &e)) {
        openai_reply_err(r, &e);
        return;
    }
    if (!openai_find_model(a, r, g.model, &m)) return;
    if (!api_model_can(&m, "completion"))
        err_set(&e, ERR_INVALID, "\"" STR_FMT "\" does not support chat", STR_ARG(g.model));
    else if (responses_read(body, &m, http_request_arena(r), &job, &e) == ERR_OK) {
        dialect_id(g.id, sizeof g.id, "resp_", 10, 9);
        g.echo = json_pack("{s:o}", "response", responses_skeleton(body, &m, &g));
        generation_start(a, r, &g, &job);
        return;
    }
    openai_reply_err(r, &e);
}
