/* The OpenAI dialect: /v1/chat/completions, /v1/embeddings, /v1/models.
 *
 * Requests become the same jobs as the native routes'; only names, defaults (temperature and top_p
 * 1.0 whatever the model says) and the shape of answers differ. */
#include "api/embedding.h"
#include "api/fields.h"
#include "api/generation.h"
#include "api/request.h"
#include "base/clock.h"
#include "base/rng.h"
#include "http/json.h"
#include <openssl/evp.h>
#include <stdio.h>
#include <strings.h>

static json_t *text(str s) {
    value v = {.kind = VALUE_STR, .as.text = s};
    return json_from_value(&v);
}

/* ---- errors ---- */

static json_t *error_object(int status, const char *message) {
    const char *type = status == 400   ? "invalid_request_error"
                       : status == 404 ? "not_found_error"
                                       : "api_error";
    return json_pack("{s:{s:s, s:s, s:n, s:n}}", "error", "message", message, "type", type, "param",
                     "code");
}

static void reply_error(http_request *r, int status, const char *message) {
    json_t *body = error_object(status, message);
    http_reply_json(r, status, body);
    json_decref(body);
}

static void reply_err(http_request *r, const err *e) {
    reply_error(r, err_http_status(e->code), e->msg);
}

/* The model for a request; false: answered. */
static bool find_model(api *a, http_request *r, str name, api_model *ret) {
    err e;
    if (name.len == 0) {
        reply_error(r, 400, "model is required");
        return false;
    }
    err_code code = api_model_find(a, name, http_request_arena(r), ret, &e);
    if (code == ERR_OK) return true;
    if (code == ERR_NOT_FOUND)
        err_set(&e, ERR_NOT_FOUND, "model '" STR_FMT "' not found", STR_ARG(name));
    reply_err(r, &e);
    return false;
}

/* ---- answers of /v1/chat/completions ---- */

static const char *finish_reason(const engine_event *ev) {
    return ev->reason == ENGINE_DONE_LENGTH ? "length" : "stop";
}

static json_t *begin_object(const generation *g, const char *object) {
    return json_pack("{s:s, s:s, s:I, s:o, s:s}", "id", g->id, "object", object, "created",
                     (json_int_t)g->created_s, "model", text(g->model), "system_fingerprint",
                     "fp_ollama");
}

static json_t *usage(const engine_event *ev) {
    json_int_t in = (json_int_t)ev->n_prompt_tokens, out = (json_int_t)ev->n_eval_tokens;
    return json_pack("{s:I, s:I, s:I}", "prompt_tokens", in, "completion_tokens", out,
                     "total_tokens", in + out);
}

static json_t *chunk_object(const generation *g, json_t *choices) {
    json_t *o = begin_object(g, "chat.completion.chunk");
    json_object_set_new(o, "choices", choices);
    return o;
}

static void set_logprobs(json_t *choice, const json_t *list) {
    if (list)
        json_object_set_new(choice, "logprobs",
                            json_pack("{s:O}", "content", (json_t *)(uintptr_t)list));
}

static json_t *chat_chunk(const generation *g, str piece, json_t *logprobs) {
    json_t *delta = json_object();
    if (g->n_chunks == 0) json_object_set_new(delta, "role", json_string("assistant"));
    json_object_set_new(delta, "content", text(piece));
    json_t *choice = json_pack("{s:i, s:o, s:n}", "index", 0, "delta", delta, "finish_reason");
    set_logprobs(choice, logprobs);
    return chunk_object(g, json_pack("[o]", choice));
}

static void chat_finish(const generation *g, const engine_event *ev, json_t *objects) {
    json_t *delta = json_object();
    if (g->n_chunks == 0) {
        json_object_set_new(delta, "role", json_string("assistant"));
        json_object_set_new(delta, "content", json_string(""));
    }
    json_t *choice = json_pack("{s:i, s:o, s:s}", "index", 0, "delta", delta, "finish_reason",
                               finish_reason(ev));
    json_array_append_new(objects, chunk_object(g, json_pack("[o]", choice)));
    if (!g->include_usage) return;
    json_t *last = chunk_object(g, json_array());
    json_object_set_new(last, "usage", usage(ev));
    json_array_append_new(objects, last);
}

static json_t *chat_whole(const generation *g, const engine_event *ev) {
    json_t *message =
        json_pack("{s:s, s:o}", "role", "assistant", "content", text(buf_str(&g->text)));
    json_t *choice = json_pack("{s:i, s:o, s:s}", "index", 0, "message", message, "finish_reason",
                               finish_reason(ev));
    set_logprobs(choice, g->logprobs);
    json_t *o = begin_object(g, "chat.completion");
    json_object_set_new(o, "choices", json_pack("[o]", choice));
    json_object_set_new(o, "usage", usage(ev));
    return o;
}

static const dialect CHAT = {.sse = true,
                             .chunk = chat_chunk,
                             .finish = chat_finish,
                             .whole = chat_whole,
                             .error = error_object};

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

static void drop_json(void *arg) {
    json_decref(arg);
}

static err_code read_messages(const json_t *body, const api_model *m, arena *mem,
                              engine_prompt *prompt, err *e) {
    const json_t *messages = NULL, *one, *tools = NULL;
    size_t i;
    TRY(field_array(body, "messages", &messages, e));
    if (json_array_size(messages) == 0) FAIL(e, INVALID, "[] is too short - 'messages'");
    json_t *flat = json_array();
    arena_defer(mem, drop_json, flat);
    json_array_foreach(messages, i, one) TRY(convert_message(one, flat, e));
    rename_roles(flat);
    TRY(field_array(body, "tools", &tools, e));
    if (json_array_size(tools) > 0) {
        if (!api_model_can(m, "tools"))
            FAIL(e, INVALID, STR_FMT " does not support tools",
                 STR_ARG(store_name_full(mem, &m->stored.name)));
        prompt->tools = json_to_value(mem, tools);
    }
    value *list;
    TRY(request_messages(m, flat, mem, &list, e));
    prompt->kind = ENGINE_PROMPT_MESSAGES;
    prompt->messages = list;
    return ERR_OK;
}

static err_code read_sampling(const json_t *body, arena *mem, options *o, err *e) {
    static const char *const SAME[] = {"seed", "frequency_penalty", "presence_penalty", "stop"};
    json_t *mapped = json_object();
    arena_defer(mem, drop_json, mapped);
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

static err_code read_reasoning(const json_t *body, const api_model *m, engine_prompt *p, err *e) {
    static const struct {
        const char *effort, *level;
    } LEVELS[] = {{"none", NULL},   {"minimal", "low"}, {"low", "low"},   {"medium", "medium"},
                  {"high", "high"}, {"max", "max"},     {"xhigh", "max"}, {"ultra", "max"}};
    const json_t *reasoning = NULL;
    str effort = {0};
    TRY(field_object(body, "reasoning", &reasoning, e));
    if (reasoning) TRY(field_str(reasoning, "effort", &effort, e));
    TRY(field_str(body, "reasoning_effort", &effort, e));
    if (effort.len == 0) return ERR_OK;
    for (size_t i = 0; i < COUNT_OF(LEVELS); i++) {
        if (!str_eq(effort, str_from(LEVELS[i].effort))) continue;
        json_t *as_native = LEVELS[i].level ? json_pack("{s:s}", "think", LEVELS[i].level)
                                            : json_pack("{s:b}", "think", 0);
        err_code code = request_think(as_native, m, p, e);
        json_decref(as_native);
        p->think_level = str_from(LEVELS[i].level);
        return code;
    }
    FAIL(e, INVALID,
         "invalid reasoning value: '" STR_FMT
         "' (must be \"high\", \"medium\", \"low\", \"max\", or \"none\")",
         STR_ARG(effort));
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
    const json_t *stream_options = NULL;
    TRY(request_job(m, NULL, mem, job, e));
    TRY(read_sampling(body, mem, &m->options, e));
    request_set_options(job, &m->options);
    TRY(request_logprobs(body, job, e));
    TRY(field_bool(body, "stream", &g->stream, e));
    TRY(field_object(body, "stream_options", &stream_options, e));
    if (stream_options) TRY(field_bool(stream_options, "include_usage", &g->include_usage, e));
    TRY(field_keep_alive(body, &job->keep_alive_set, &job->keep_alive_ns, e));
    TRY(read_reasoning(body, m, &job->prompt, e));
    TRY(read_response_format(body, mem, &job->format, e));
    return read_messages(body, m, mem, &job->prompt, e);
}

static const json_t *parse_body(http_request *r) {
    json_t *body;
    err e;
    if (json_parse(http_request_body(r), &body, &e)) {
        reply_error(r, 400, e.msg);
        return NULL;
    }
    arena_defer(http_request_arena(r), drop_json, body);
    if (json_is_object(body)) return body;
    reply_error(r, 400, "the request body must be a JSON object");
    return NULL;
}

void openai_chat(http_request *r, void *ctx) {
    api *a = ctx;
    const json_t *body = parse_body(r);
    generation g = {.d = &CHAT, .content_type = "text/event-stream"};
    engine_job_spec job;
    api_model m;
    err e;
    if (!body) return;
    if (field_str(body, "model", &g.model, &e)) {
        reply_err(r, &e);
        return;
    }
    if (json_is_array(json_object_get(body, "messages")) &&
        json_array_size(json_object_get(body, "messages")) == 0) {
        reply_error(r, 400, "[] is too short - 'messages'");
        return;
    }
    if (!find_model(a, r, g.model, &m)) return;
    if (!api_model_can(&m, "completion")) {
        err_set(&e, ERR_INVALID, "\"" STR_FMT "\" does not support chat", STR_ARG(g.model));
        reply_err(r, &e);
        return;
    }
    if (read_chat(body, &m, http_request_arena(r), &g, &job, &e)) {
        reply_err(r, &e);
        return;
    }
    uint32_t number;
    rng_entropy(&number, sizeof number);
    snprintf(g.id, sizeof g.id, "chatcmpl-%u", number % 1000000000u);
    generation_start(a, r, &g, &job);
}

/* ---- /v1/embeddings ---- */

static json_t *base64_text(const float *vec, size_t n) {
    size_t n_bytes = n * sizeof(float);
    unsigned char *out = mem_alloc((n_bytes + 2) / 3 * 4 + 1);
    EVP_EncodeBlock(out, (const unsigned char *)vec, (int)n_bytes);
    json_t *s = json_string((const char *)out);
    mem_free(out);
    return s;
}

static json_t *embeddings_answer(const embedding_answer *v) {
    json_t *data = json_array();
    for (size_t i = 0; i < v->n; i++) {
        const float *vec = v->vecs + i * v->n_vec;
        json_array_append_new(
            data, json_pack("{s:s, s:o, s:I}", "object", "embedding", "embedding",
                            v->base64 ? base64_text(vec, v->n_vec) : embedding_array(vec, v->n_vec),
                            "index", (json_int_t)i));
    }
    return json_pack("{s:s, s:o, s:o, s:{s:I, s:I}}", "object", "list", "data", data, "model",
                     text(v->model), "usage", "prompt_tokens", (json_int_t)v->n_prompt_tokens,
                     "total_tokens", (json_int_t)v->n_prompt_tokens);
}

static const embedding_dialect EMBEDDINGS = {embeddings_answer, error_object};

static err_code read_embeddings(const json_t *body, const api_model *m, arena *mem,
                                engine_job_spec *spec, bool *ret_base64, err *e) {
    const json_t *input = field_get(body, "input");
    str encoding = STR("float");
    int64_t dimensions = 0;
    TRY(request_job(m, NULL, mem, spec, e));
    TRY(field_str(body, "encoding_format", &encoding, e));
    *ret_base64 = str_eq_nocase(encoding, STR("base64"));
    if (!*ret_base64 && !str_eq_nocase(encoding, STR("float")))
        FAIL(e, INVALID,
             "Invalid value for 'encoding_format' = " STR_FMT
             ". Supported values: ['float', 'base64'].",
             STR_ARG(encoding));
    if (!input || (json_is_array(input) && json_array_size(input) == 0))
        FAIL(e, INVALID, "invalid input");
    TRY(field_i64(body, "dimensions", &dimensions, e));
    spec->kind = ENGINE_JOB_EMBED;
    spec->embed_truncate = spec->embed_normalize = true;
    spec->embed_dimensions = dimensions > 0 && dimensions < INT32_MAX ? (int32_t)dimensions : 0;
    return embedding_inputs(input, mem, spec, e);
}

void openai_embeddings(http_request *r, void *ctx) {
    api *a = ctx;
    const json_t *body = parse_body(r);
    engine_job_spec spec;
    api_model m;
    str name = {0};
    bool base64;
    err e;
    if (!body) return;
    if (field_str(body, "model", &name, &e)) {
        reply_err(r, &e);
        return;
    }
    if (!find_model(a, r, name, &m)) return;
    if (read_embeddings(body, &m, http_request_arena(r), &spec, &base64, &e))
        reply_err(r, &e);
    else
        embedding_start(a, r, &EMBEDDINGS, name, base64, &spec);
}

/* ---- /v1/models ---- */

static json_t *model_object(const store_model *m, arena *mem) {
    return json_pack("{s:o, s:s, s:I, s:o}", "id", text(store_name_display(mem, &m->name)),
                     "object", "model", "created", (json_int_t)(m->modified_ns / NS_PER_S),
                     "owned_by", text(m->name.space));
}

void openai_models(http_request *r, void *ctx) {
    api *a = ctx;
    arena *mem = http_request_arena(r);
    store_model *list;
    size_t n;
    err e;
    if (store_list(a->store, mem, &list, &n, &e)) {
        reply_err(r, &e);
        return;
    }
    json_t *data = n ? json_array() : json_null();
    for (size_t i = 0; i < n; i++) json_array_append_new(data, model_object(&list[i], mem));
    api_reply_json(r, json_pack("{s:s, s:o}", "object", "list", "data", data));
}

void openai_model(http_request *r, void *ctx) {
    api *a = ctx;
    arena *mem = http_request_arena(r);
    str name = http_request_param(r, "model");
    store_name parsed;
    store_model m;
    err e;
    if (store_find(a->store, name, mem, &m, &e) == ERR_OK) {
        api_reply_json(r, model_object(&m, mem));
        return;
    }
    if (e.code == ERR_NOT_FOUND && store_name_parse(mem, name, &parsed))
        err_set(&e, ERR_NOT_FOUND, "model '" STR_FMT "' not found",
                STR_ARG(store_name_display(mem, &parsed)));
    reply_err(r, &e);
}
