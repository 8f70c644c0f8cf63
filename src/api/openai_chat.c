/* POST /v1/chat/completions.
 *
 * Requests become the same jobs as the native routes'; only names, defaults (temperature and top_p
 * 1.0 whatever the model says) and the shape of answers differ. */
#include "api/dialect.h"
#include "api/fields.h"
#include "api/generation.h"
#include "api/openai.h"
#include "base/limits.h"
#include "base/rng.h"
#include "http/json.h"
#include <stdio.h>
#include <strings.h>

static json_t *text(str s) {
    value v = {.kind = VALUE_STR, .as.text = s};
    return json_from_value(&v);
}

/* ---- answers of /v1/chat/completions ---- */

static const char *finish_reason(const generation_output *o) {
    if (o->calls) return "tool_calls";
    return o->done.reason == ENGINE_DONE_LENGTH ? "length" : "stop";
}

static json_t *begin_object(const generation *g, const char *object) {
    return json_pack("{s:s, s:s, s:I, s:o, s:s}", "id", g->id, "object", object, "created",
                     (json_int_t)g->created_s, "model", text(g->model), "system_fingerprint",
                     "fp_ollama");
}

static json_t *usage(const generation *g) {
    generation_usage u = generation_get_usage(g);
    return json_pack("{s:I, s:I, s:I}", "prompt_tokens", (json_int_t)u.n_prompt,
                     "completion_tokens", (json_int_t)u.n_eval, "total_tokens",
                     (json_int_t)(u.n_prompt + u.n_eval));
}

static json_t *chunk_object(const generation *g, json_t *choices) {
    json_t *o = begin_object(g, "chat.completion.chunk");
    json_object_set_new(o, "choices", choices);
    return o;
}

static void set_logprobs(json_t *choice, json_t *list) {
    if (list) json_object_set_new(choice, "logprobs", json_pack("{s:O}", "content", list));
}

/* A call as this dialect has it: the arguments are JSON in a string. */
static json_t *call_object(const json_t *call) {
    buf arguments = {0};
    json_write(&arguments, json_object_get(call, "arguments"));
    json_t *o =
        json_pack("{s:O, s:O, s:s, s:{s:O, s:o}}", "id", json_object_get(call, "id"), "index",
                  json_object_get(call, "index"), "type", "function", "function", "name",
                  json_object_get(call, "name"), "arguments", text(buf_str(&arguments)));
    buf_finish(&arguments);
    return o;
}

static json_t *delta_object(const generation_output *o) {
    json_t *delta = json_object();
    if (o->n_pieces == 0) json_object_set_new(delta, "role", json_string("assistant"));
    return delta;
}

static void push_chunk(const generation *g, const generation_output *o, json_t *delta,
                       const char *reason, json_t *logprobs, json_t *objects) {
    json_t *choice = json_pack("{s:I, s:o, s:s?}", "index", (json_int_t)o->index, "delta", delta,
                               "finish_reason", reason);
    set_logprobs(choice, logprobs);
    json_array_append_new(objects, chunk_object(g, json_pack("[o]", choice)));
}

static void chat_piece(generation *g, generation_output *o, const generation_piece *p,
                       json_t *objects) {
    json_t *delta = delta_object(o);
    if (p->kind == PIECE_THINKING) {
        json_object_set_new(delta, "reasoning", text(p->text));
    } else {
        json_object_set_new(delta, "content", text(p->text));
        if (p->call)
            json_object_set_new(delta, "tool_calls", json_pack("[o]", call_object(p->call)));
    }
    push_chunk(g, o, delta, NULL, p->logprobs, objects);
}

static void chat_finish(generation *g, generation_output *o, json_t *objects) {
    json_t *delta = delta_object(o);
    if (o->n_pieces == 0) json_object_set_new(delta, "content", json_string(""));
    push_chunk(g, o, delta, finish_reason(o), NULL, objects);
    if (!g->include_usage || !generation_is_done(g)) return;
    json_t *last = chunk_object(g, json_array());
    json_object_set_new(last, "usage", usage(g));
    json_array_append_new(objects, last);
}

/* With `return_progress`: chunks whose delta is empty. */
static void chat_progress(generation *g, const engine_event *ev, json_t *objects) {
    const char *name = ev->kind == ENGINE_EVENT_PROMPT    ? "prompt_progress"
                       : ev->kind == ENGINE_EVENT_LOADING ? "load_progress"
                                                          : "queue_progress";
    json_t *choice = json_pack("{s:i, s:{}, s:n}", "index", 0, "delta", "finish_reason");
    json_t *o = chunk_object(g, json_pack("[o]", choice));
    json_object_set_new(o, name,
                        json_pack("{s:I, s:I}", "total", (json_int_t)ev->n_total, "processed",
                                  (json_int_t)ev->n_done));
    json_array_append_new(objects, o);
}

static json_t *whole_choice(const generation_output *o) {
    json_t *message =
               json_pack("{s:s, s:o}", "role", "assistant", "content", text(buf_str(&o->content))),
           *call;
    if (o->thinking.len) json_object_set_new(message, "reasoning", text(buf_str(&o->thinking)));
    json_t *calls = o->calls ? json_array() : NULL;
    size_t i;
    json_array_foreach(o->calls, i, call) json_array_append_new(calls, call_object(call));
    if (calls) json_object_set_new(message, "tool_calls", calls);
    json_t *choice = json_pack("{s:I, s:o, s:s}", "index", (json_int_t)o->index, "message", message,
                               "finish_reason", finish_reason(o));
    set_logprobs(choice, o->logprobs);
    return choice;
}

static json_t *chat_whole(const generation *g) {
    json_t *o = begin_object(g, "chat.completion"), *choices = json_array();
    for (size_t i = 0; i < g->n_out; i++) json_array_append_new(choices, whole_choice(&g->out[i]));
    json_object_set_new(o, "choices", choices);
    json_object_set_new(o, "usage", usage(g));
    return o;
}

static const dialect CHAT = {.sse = true,
                             .closes_done = true,
                             .piece = chat_piece,
                             .finish = chat_finish,
                             .progress = chat_progress,
                             .whole = chat_whole,
                             .error = openai_error};

/* ---- requests of /v1/chat/completions ---- */

static err_code check_image(const json_t *part, err *e) {
    const json_t *image = json_object_get(part, "image_url");
    const json_t *url = json_is_object(image) ? json_object_get(image, "url") : image;
    str u = str_from(json_string_value(url));
    if (str_starts(u, STR("http://")) || str_starts(u, STR("https://")))
        FAIL(e, INVALID,
             "image URLs are not currently supported, please use base64 encoded data instead");
    if (!str_starts(u, STR("data:"))) FAIL(e, INVALID, "invalid image input");
    FAIL(e, INVALID, "this model does not support vision: it cannot read images");
}

/* One message of parts becomes one message per part, as Ollama does. */
static err_code split_parts(const json_t *message, json_t *out, err *e) {
    const json_t *parts = json_object_get(message, "content"), *part;
    size_t i;
    json_array_foreach(parts, i, part) {
        str type = {0}, words = {0};
        if (!json_is_object(part)) FAIL(e, INVALID, "invalid message format");
        TRY(field_str(part, "type", &type, e));
        if (str_eq(type, STR("image_url"))) TRY(check_image(part, e));
        if (!str_eq(type, STR("text")))
            FAIL(e, INVALID, "invalid message format: a part of type \"" STR_FMT "\"",
                 STR_ARG(type));
        TRY(field_str(part, "text", &words, e));
        json_t *one = json_copy((json_t *)(uintptr_t)message);
        json_object_set_new(one, "content", text(words));
        json_array_append_new(out, one);
    }
    return ERR_OK;
}

/* tool_calls' arguments are JSON in a string here, an object in templates. */
static err_code open_arguments(json_t *message, err *e) {
    json_t *call, *calls = json_object_get(message, "tool_calls");
    size_t i;
    json_array_foreach(calls, i, call) {
        json_t *function = json_object_get(call, "function"), *opened;
        const json_t *arguments = json_object_get(function, "arguments");
        if (!json_is_string(arguments)) continue;
        if (json_parse(str_from(json_string_value(arguments)), &opened, e) ||
            !json_is_object(opened))
            FAIL(e, INVALID, "invalid tool call arguments");
        json_object_set_new(function, "arguments", opened);
    }
    return ERR_OK;
}

static err_code convert_message(const json_t *message, json_t *out, err *e) {
    if (!json_is_object(message)) FAIL(e, INVALID, "invalid message format");
    const json_t *content = json_object_get(message, "content");
    bool calls = json_array_size(json_object_get(message, "tool_calls")) > 0;
    if (json_is_array(content)) return split_parts(message, out, e);
    if (!json_is_string(content) && !calls)
        FAIL(e, INVALID, "invalid message content type: %s",
             !content || json_is_null(content) ? "<nil>" : json_type_name(content));
    json_t *one = json_deep_copy(message);
    json_array_append_new(out, one);
    if (!json_is_string(content)) json_object_set_new(one, "content", json_string(""));
    return open_arguments(one, e);
}

/* "developer" is OpenAI's newer word for "system". */
static void rename_roles(json_t *messages) {
    size_t i;
    json_t *one;
    json_array_foreach(messages, i, one) {
        const char *role = json_string_value(json_object_get(one, "role"));
        if (role && strcasecmp(role, "developer") == 0)
            json_object_set_new(one, "role", json_string("system"));
    }
}

/* The name of the function that call `id` of an earlier message called. */
static const char *called_name(const json_t *messages, const char *id) {
    const json_t *one, *call;
    size_t i, k;
    json_array_foreach(messages, i, one) {
        json_array_foreach(json_object_get(one, "tool_calls"), k, call) {
            const char *known = json_string_value(json_object_get(call, "id"));
            if (known && str_eq(str_from(known), str_from(id)))
                return json_string_value(
                    json_object_get(json_object_get(call, "function"), "name"));
        }
    }
    return NULL;
}

/* Results of tools get the tool's name, and `reasoning` comes back as thinking. */
static void name_results(json_t *messages) {
    size_t i;
    json_t *one;
    json_array_foreach(messages, i, one) {
        const json_t *reasoning = json_object_get(one, "reasoning");
        if (json_is_string(reasoning) && !json_object_get(one, "thinking"))
            json_object_set(one, "thinking", (json_t *)(uintptr_t)reasoning);
        const char *id = json_string_value(json_object_get(one, "tool_call_id"));
        if (!id || json_object_get(one, "name") || json_object_get(one, "tool_name")) continue;
        const char *name = called_name(messages, id);
        if (name) json_object_set_new(one, "tool_name", json_string(name));
    }
}

static err_code read_messages(const json_t *body, const api_model *m, arena *mem,
                              engine_prompt *prompt, err *e) {
    const json_t *messages = NULL, *one;
    size_t i;
    TRY(field_array(body, "messages", &messages, e));
    if (json_array_size(messages) == 0) FAIL(e, INVALID, "[] is too short - 'messages'");
    json_t *flat = dialect_defer(mem, json_array());
    json_array_foreach(messages, i, one) TRY(convert_message(one, flat, e));
    rename_roles(flat);
    name_results(flat);
    TRY(request_tools(body, m, mem, prompt, e));
    value *list;
    TRY(request_messages(m, flat, mem, &list, e));
    prompt->kind = ENGINE_PROMPT_MESSAGES;
    prompt->messages = list;
    return ERR_OK;
}

err_code openai_sampling(const json_t *body, arena *mem, options *o, err *e) {
    static const char *const SAME[] = {"seed", "frequency_penalty", "presence_penalty", "stop"};
    json_t *mapped = dialect_defer(mem, json_object());
    for (size_t i = 0; i < COUNT_OF(SAME); i++) {
        const json_t *v = field_get(body, SAME[i]);
        if (v) json_object_set(mapped, SAME[i], (json_t *)(uintptr_t)v);
    }
    const json_t *stop = field_get(body, "stop");
    if (json_is_string(stop))
        json_object_set_new(mapped, "stop", json_pack("[O]", (json_t *)(uintptr_t)stop));
    int64_t most = 0;
    double temperature = 1, top_p = 1;
    TRY(field_i64(body, "max_completion_tokens", &most, e));
    TRY(field_i64(body, "max_tokens", &most, e));
    TRY(field_f64(body, "temperature", &temperature, e));
    TRY(field_f64(body, "top_p", &top_p, e));
    if (field_get(body, "max_tokens") || field_get(body, "max_completion_tokens"))
        json_object_set_new(mapped, "num_predict", json_integer(most));
    json_object_set_new(mapped, "temperature", json_real(temperature));
    json_object_set_new(mapped, "top_p", json_real(top_p));
    return options_apply(o, mapped, mem, e);
}

/* logit_bias: {"token id": -100 .. 100}; n: how many answers. */
static err_code read_bias(const json_t *body, arena *mem, llm_sample_params *ret, err *e) {
    const json_t *object = NULL;
    const char *key;
    json_t *v;
    TRY(field_object(body, "logit_bias", &object, e));
    size_t n = json_object_size(object);
    if (n > LIMIT_LOGIT_BIAS)
        FAIL(e, LIMIT, "logit_bias has %zu tokens, at most %d are allowed", n, LIMIT_LOGIT_BIAS);
    llm_bias *list = ARENA_ARRAY(mem, llm_bias, n + 1);
    json_object_foreach((json_t *)(uintptr_t)object, key, v) {
        int64_t id;
        if (!str_to_i64(str_from(key), &id) || id < 0 || id >= LIMIT_VOCAB)
            FAIL(e, INVALID, "logit_bias: \"%.40s\" is not the id of a token", key);
        if (!json_is_number(v) || !(json_number_value(v) >= -100 && json_number_value(v) <= 100))
            FAIL(e, INVALID,
                 "logit_bias: the bias of token %.40s must be a number from -100 to 100", key);
        list[ret->n_bias++] = (llm_bias){(int32_t)id, (float)json_number_value(v)};
    }
    ret->bias = list;
    return ERR_OK;
}

static err_code read_count(const json_t *body, generation *g, err *e) {
    int64_t n = 1;
    TRY(field_i64(body, "n", &n, e));
    if (n < 1 || n > LIMIT_CHOICES) FAIL(e, INVALID, "n must be between 1 and %d", LIMIT_CHOICES);
    g->n_out = (size_t)n;
    return ERR_OK;
}

/* {type: "text" | "json_object" | "json_schema"}; `regex` and `grammar` as extras of the body. */
static err_code read_response_format(const json_t *body, arena *mem, engine_format *ret, err *e) {
    const json_t *format = NULL, *named = NULL, *schema = NULL;
    str type = {0};
    TRY(field_object(body, "response_format", &format, e));
    if (format) TRY(field_str(format, "type", &type, e));
    if (str_eq(type, STR("json_object"))) {
        ret->kind = ENGINE_FORMAT_JSON;
    } else if (str_eq(type, STR("json_schema"))) {
        TRY(field_object(format, "json_schema", &named, e));
        if (named) TRY(field_object(named, "schema", &schema, e));
        if (!schema) FAIL(e, INVALID, "response_format: json_schema.schema is missing");
        ret->kind = ENGINE_FORMAT_SCHEMA;
        ret->schema = json_to_value(mem, schema);
    } else if (type.len && !str_eq(type, STR("text"))) {
        FAIL(e, INVALID,
             "response_format: type \"" STR_FMT
             "\" is unknown; expected \"text\", \"json_object\" or \"json_schema\"",
             STR_ARG(type));
    }
    return request_grammar(body, ret, e);
}

static err_code read_chat(const json_t *body, api_model *m, arena *mem, generation *g,
                          engine_job_spec *job, err *e) {
    const json_t *stream_options = NULL, *extra = NULL;
    TRY(field_object(body, "options", &extra, e));
    TRY(request_job(m, NULL, mem, job, e));
    TRY(openai_sampling(body, mem, &m->options, e));
    TRY(options_apply(&m->options, extra, mem, e));
    request_set_options(job, &m->options);
    TRY(read_bias(body, mem, &job->sample, e));
    TRY(read_count(body, g, e));
    TRY(request_logprobs(body, job, e));
    TRY(field_bool(body, "stream", &g->stream, e));
    TRY(field_bool(body, "return_progress", &g->wants_progress, e));
    TRY(field_object(body, "stream_options", &stream_options, e));
    if (stream_options) TRY(field_bool(stream_options, "include_usage", &g->include_usage, e));
    TRY(field_keep_alive(body, &job->keep_alive_set, &job->keep_alive_ns, e));
    TRY(openai_reasoning(body, m, &job->prompt, e));
    TRY(read_response_format(body, mem, &job->format, e));
    return read_messages(body, m, mem, &job->prompt, e);
}

void openai_chat(http_request *r, void *ctx) {
    api *a = ctx;
    const json_t *body = openai_body(r);
    generation g = {.d = &CHAT, .content_type = "text/event-stream"};
    engine_job_spec job;
    api_model m;
    err e;
    if (!body) return;
    if (field_str(body, "model", &g.model, &e)) {
        openai_reply_err(r, &e);
        return;
    }
    if (json_is_array(json_object_get(body, "messages")) &&
        json_array_size(json_object_get(body, "messages")) == 0) {
        openai_reply_error(r, 400, "[] is too short - 'messages'");
        return;
    }
    if (!openai_find_model(a, r, g.model, &m)) return;
    if (!api_model_can(&m, "completion")) {
        err_set(&e, ERR_INVALID, "\"" STR_FMT "\" does not support chat", STR_ARG(g.model));
        openai_reply_err(r, &e);
        return;
    }
    if (read_chat(body, &m, http_request_arena(r), &g, &job, &e)) {
        openai_reply_err(r, &e);
        return;
    }
    uint32_t number;
    rng_entropy(&number, sizeof number);
    snprintf(g.id, sizeof g.id, "chatcmpl-%u", number % 1000000000u);
    generation_start(a, r, &g, &job);
}
