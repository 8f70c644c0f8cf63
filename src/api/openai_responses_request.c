/* POST /v1/responses, the request: instructions, input items, tools, text.format.
 *
 * Items become native messages: messages of parts their text, function calls the tool_calls of the
 * assistant's message before them, function_call_output a message of role "tool", reasoning the
 * thinking of the assistant's message behind it. Items of unknown types are refused by name. */
#include "api/fields.h"
#include "api/openai.h"
#include "api/openai_responses.h"
#include "base/limits.h"
#include "http/json.h"
#include <string.h>

static str field_text(const json_t *object, const char *name) {
    const json_t *v = json_object_get(object, name);
    return (str){json_string_value(v), json_is_string(v) ? json_string_length(v) : 0};
}

static bool is_type(const json_t *item, const char *type) {
    return str_eq(field_text(item, "type"), str_from(type));
}

/* What is read so far. */
typedef struct reading {
    json_t *out;   /* messages */
    json_t *names; /* call_id -> name */
    buf thinking;  /* of reasoning items, for the assistant's next message */
    size_t number; /* of the item */
} reading;

/* ---- parts of content ---- */

/* input_image: a data URI becomes the base64 in it. */
static err_code read_image(const json_t *part, size_t number, json_t *images, err *e) {
    str url = field_text(part, "image_url"), data = url;
    if (url.len == 0) url = data = field_text(json_object_get(part, "image_url"), "url");
    if (str_starts(url, STR("http://")) || str_starts(url, STR("https://")))
        FAIL(e, INVALID,
             "image URLs are not currently supported, please use base64 encoded data instead");
    int64_t comma = (int64_t)str_find(url, STR(";base64,"));
    if (!str_starts(url, STR("data:")) || comma < 0)
        FAIL(e, INVALID, "input[%zu]: an image must be a data URI of base64", number);
    data.ptr += comma + 8, data.len -= (size_t)comma + 8;
    json_array_append_new(images, dialect_text(data));
    return ERR_OK;
}

static err_code read_parts(const json_t *content, size_t number, buf *text, json_t *images,
                           err *e) {
    const json_t *part;
    size_t i;
    if (json_is_string(content)) {
        buf_put(text, json_string_value(content), json_string_length(content));
        return ERR_OK;
    }
    if (content && !json_is_null(content) && !json_is_array(content))
        FAIL(e, INVALID, "input[%zu]: content must be a string or an array, not %s", number,
             json_type_name(content));
    json_array_foreach(content, i, part) {
        if (!json_is_object(part))
            FAIL(e, INVALID, "input[%zu]: content[%zu] must be an object, not %s", number, i,
                 json_type_name(part));
        if (is_type(part, "input_text") || is_type(part, "output_text") || is_type(part, "text"))
            buf_put_str(text, field_text(part, "text"));
        else if (is_type(part, "refusal"))
            buf_put_str(text, field_text(part, "refusal"));
        else if (is_type(part, "input_image"))
            TRY(read_image(part, number, images, e));
        else if (is_type(part, "input_file"))
            FAIL(e, INVALID, "file inputs are not currently supported");
        else
            FAIL(e, INVALID, "input[%zu]: content[%zu]: unknown type \"" STR_FMT "\"", number, i,
                 STR_ARG(field_text(part, "type")));
    }
    return ERR_OK;
}

/* ---- items ---- */

static void take_thinking(reading *k, json_t *message) {
    if (k->thinking.len)
        json_object_set_new(message, "thinking", dialect_text(buf_str(&k->thinking)));
    buf_clear(&k->thinking);
}

static err_code read_message(reading *k, const json_t *item, err *e) {
    str role = {0};
    buf text = {0};
    json_t *images = json_array();
    err_code code = field_str(item, "role", &role, e);
    if (code == ERR_OK)
        code = read_parts(json_object_get(item, "content"), k->number, &text, images, e);
    if (code == ERR_OK) {
        if (role.len == 0) role = STR("user");
        if (str_eq_nocase(role, STR("developer"))) role = STR("system");
        json_t *m = json_pack("{s:o, s:o}", "role", dialect_text(role), "content",
                              dialect_text(buf_str(&text)));
        if (json_array_size(images)) json_object_set(m, "images", images);
        if (str_eq_nocase(role, STR("assistant"))) take_thinking(k, m);
        json_array_append_new(k->out, m);
    }
    json_decref(images);
    buf_finish(&text);
    return code;
}

/* The message that a call belongs to: the assistant's, if it is the last one. */
static json_t *calling_message(reading *k) {
    size_t n = json_array_size(k->out);
    json_t *last = n ? json_array_get(k->out, n - 1) : NULL;
    if (!last || !str_eq(field_text(last, "role"), STR("assistant"))) {
        last = json_pack("{s:s, s:s}", "role", "assistant", "content", "");
        take_thinking(k, last);
        json_array_append_new(k->out, last);
    }
    if (!json_object_get(last, "tool_calls")) json_object_set_new(last, "tool_calls", json_array());
    return last;
}

static err_code read_call(reading *k, const json_t *item, err *e) {
    str id = field_text(item, "call_id"), name = field_text(item, "name"),
        text = field_text(item, "arguments");
    json_t *arguments = NULL;
    err why;
    if (name.len == 0) FAIL(e, INVALID, "input[%zu]: a function_call without a name", k->number);
    if (text.len && (json_parse(text, &arguments, &why) || !json_is_object(arguments))) {
        json_decref(arguments);
        FAIL(e, INVALID, "input[%zu]: the arguments of \"" STR_FMT "\" are no JSON object",
             k->number, STR_ARG(name));
    }
    if (!arguments) arguments = json_object();
    json_array_append_new(json_object_get(calling_message(k), "tool_calls"),
                          dialect_call(id, name, arguments));
    if (id.len) json_object_set_new(k->names, id.ptr, dialect_text(name));
    return ERR_OK;
}

static err_code read_output(reading *k, const json_t *item, err *e) {
    str id = field_text(item, "call_id");
    buf text = {0};
    json_t *images = json_array();
    if (id.len == 0)
        err_set(e, ERR_INVALID, "input[%zu]: a function_call_output without a call_id", k->number);
    err_code code = id.len
                        ? read_parts(json_object_get(item, "output"), k->number, &text, images, e)
                        : ERR_INVALID;
    if (code == ERR_OK) {
        json_t *m = json_pack("{s:s, s:o, s:o}", "role", "tool", "content",
                              dialect_text(buf_str(&text)), "tool_call_id", dialect_text(id));
        json_t *name = json_object_get(k->names, id.ptr);
        if (name) json_object_set(m, "tool_name", name);
        if (json_array_size(images)) json_object_set(m, "images", images);
        json_array_append_new(k->out, m);
    }
    json_decref(images);
    buf_finish(&text);
    return code;
}

/* What the model thought: as we gave it out (encrypted_content is plain text here), or summaries.*/
static void read_reasoning(reading *k, const json_t *item) {
    const json_t *part;
    size_t i;
    str whole = field_text(item, "encrypted_content");
    if (whole.len) {
        buf_put_str(&k->thinking, whole);
        return;
    }
    json_array_foreach(json_object_get(item, "summary"), i, part)
        buf_put_str(&k->thinking, field_text(part, "text"));
}

static err_code read_item(reading *k, const json_t *item, err *e) {
    if (!json_is_object(item))
        FAIL(e, INVALID, "input[%zu] must be an object, not %s", k->number, json_type_name(item));
    str type = field_text(item, "type");
    if (type.len == 0 || str_eq(type, STR("message"))) return read_message(k, item, e);
    if (str_eq(type, STR("function_call"))) return read_call(k, item, e);
    if (str_eq(type, STR("function_call_output"))) return read_output(k, item, e);
    if (str_eq(type, STR("web_search_call"))) return ERR_OK;
    if (str_eq(type, STR("reasoning"))) {
        read_reasoning(k, item);
        return ERR_OK;
    }
    FAIL(e, INVALID, "input[%zu]: unknown item type \"" STR_FMT "\"", k->number, STR_ARG(type));
}

static err_code read_input(const json_t *body, reading *k, err *e) {
    const json_t *input = field_get(body, "input"), *item;
    str instructions = {0};
    TRY(field_str(body, "instructions", &instructions, e));
    if (instructions.len)
        json_array_append_new(k->out, json_pack("{s:s, s:o}", "role", "system", "content",
                                                dialect_text(instructions)));
    if (json_is_string(input))
        json_array_append_new(k->out, json_pack("{s:s, s:o}", "role", "user", "content",
                                                dialect_text(field_text(body, "input"))));
    else if (input && !json_is_array(input))
        FAIL(e, INVALID, "input must be a string or an array, not %s", json_type_name(input));
    if (json_array_size(input) > LIMIT_MESSAGES)
        FAIL(e, LIMIT, "%zu items, at most %d are allowed", json_array_size(input), LIMIT_MESSAGES);
    json_array_foreach(input, k->number, item) TRY(read_item(k, item, e));
    return ERR_OK;
}

static err_code read_messages(const json_t *body, const api_model *m, arena *mem,
                              engine_job_spec *job, err *e) {
    reading k = {.out = dialect_defer(mem, json_array()),
                 .names = dialect_defer(mem, json_object())};
    value *messages;
    err_code code = read_input(body, &k, e);
    buf_finish(&k.thinking);
    if (code) return code;
    if (!field_get(body, "input") || json_array_size(k.out) == 0) job->kind = ENGINE_JOB_LOAD;
    TRY(request_messages(m, k.out, mem, &messages, e));
    job->prompt.kind = ENGINE_PROMPT_MESSAGES;
    job->prompt.messages = messages;
    return ERR_OK;
}

/* ---- tools ---- */

static err_code read_function(const json_t *tool, str space, json_t *out, err *e) {
    str name = field_text(tool, "name");
    if (name.len == 0) FAIL(e, INVALID, "tools: a function without a name");
    buf full = {0};
    if (space.len) buf_putf(&full, STR_FMT ".", STR_ARG(space));
    buf_put_str(&full, name);
    json_t *as_text = dialect_text(buf_str(&full));
    json_array_append_new(out, dialect_tool(as_text, json_object_get(tool, "description"),
                                            json_object_get(tool, "parameters")));
    json_decref(as_text);
    buf_finish(&full);
    return ERR_OK;
}

/* Functions, and groups of them (`namespace`), whose members get the group's name in front. A
 * search of the web that the server would do is left out: clients offer it to every model. */
static err_code read_tools(const json_t *body, const api_model *m, arena *mem, engine_prompt *p,
                           err *e) {
    const json_t *list = NULL, *tool, *member;
    json_t *out = dialect_defer(mem, json_array());
    size_t i, k;
    TRY(field_array(body, "tools", &list, e));
    json_array_foreach(list, i, tool) {
        if (!json_is_object(tool))
            FAIL(e, INVALID, "tools[%zu] must be an object, not %s", i, json_type_name(tool));
        if (is_type(tool, "function"))
            TRY(read_function(tool, STR(""), out, e));
        else if (is_type(tool, "namespace"))
            json_array_foreach(json_object_get(tool, "tools"), k, member)
                TRY(read_function(member, field_text(tool, "name"), out, e));
        else if (!str_starts(field_text(tool, "type"), STR("web_search")))
            FAIL(e, INVALID,
                 "tools[%zu]: this server has no tool of type \"" STR_FMT
                 "\"; only \"function\" is possible",
                 i, STR_ARG(field_text(tool, "type")));
    }
    return dialect_take_tools(m, out, mem, p, e);
}

static err_code read_tool_choice(const json_t *body, arena *mem, engine_prompt *p, err *e) {
    const json_t *choice = field_get(body, "tool_choice");
    bool parallel = true;
    TRY(field_bool(body, "parallel_tool_calls", &parallel, e));
    if (!p->tools) return ERR_OK;
    p->single_tool_call = !parallel;
    str word = field_text(body, "tool_choice");
    if (!choice || str_eq(word, STR("auto"))) return ERR_OK;
    if (str_eq(word, STR("none"))) {
        p->tool_choice = ENGINE_TOOLS_NONE;
        return ERR_OK;
    }
    if (is_type(choice, "allowed_tools")) return request_allowed_tools(choice, mem, p, e);
    p->tool_choice = ENGINE_TOOLS_REQUIRED;
    if (str_eq(word, STR("required"))) return ERR_OK;
    p->tool_name = is_type(choice, "function") ? field_text(choice, "name") : STR("");
    if (p->tool_name.len) return ERR_OK;
    FAIL(e, INVALID,
         "tool_choice must be \"auto\", \"none\", \"required\" or a function with its name");
}

/* ---- the rest ---- */

static err_code read_format(const json_t *body, arena *mem, engine_format *ret, err *e) {
    const json_t *text = NULL, *format = NULL, *schema = NULL;
    str type = {0};
    TRY(field_object(body, "text", &text, e));
    if (text) TRY(field_object(text, "format", &format, e));
    if (format) TRY(field_str(format, "type", &type, e));
    if (str_eq(type, STR("json_object"))) {
        ret->kind = ENGINE_FORMAT_JSON;
    } else if (str_eq(type, STR("json_schema"))) {
        TRY(field_object(format, "schema", &schema, e));
        if (!schema) FAIL(e, INVALID, "text.format: schema is missing");
        *ret = (engine_format){.kind = ENGINE_FORMAT_SCHEMA, .schema = json_to_value(mem, schema)};
    } else if (type.len && !str_eq(type, STR("text"))) {
        FAIL(e, INVALID,
             "text.format: type \"" STR_FMT
             "\" is unknown; expected \"text\", \"json_object\" or \"json_schema\"",
             STR_ARG(type));
    }
    return request_grammar(body, ret, e);
}

/* top_p stays the model's own when it is not given, temperature is 1. */
static err_code read_sampling(const json_t *body, arena *mem, options *o, err *e) {
    json_t *mapped = dialect_defer(mem, json_object());
    double temperature = 1, top_p = 0;
    int64_t most = 0;
    TRY(field_f64(body, "temperature", &temperature, e));
    TRY(field_f64(body, "top_p", &top_p, e));
    TRY(field_i64(body, "max_output_tokens", &most, e));
    json_object_set_new(mapped, "temperature", json_real(temperature));
    if (field_get(body, "top_p")) json_object_set_new(mapped, "top_p", json_real(top_p));
    if (field_get(body, "max_output_tokens") && most < 1)
        FAIL(e, INVALID, "max_output_tokens is %lld; it must be at least 1", (long long)most);
    if (most > 0) json_object_set_new(mapped, "num_predict", json_integer(most));
    return options_apply(o, mapped, mem, e);
}

err_code responses_read(const json_t *body, api_model *m, arena *mem, engine_job_spec *job,
                        err *e) {
    str previous = {0};
    bool background = false;
    TRY(request_job(m, NULL, mem, job, e));
    TRY(field_str(body, "previous_response_id", &previous, e));
    if (previous.len)
        FAIL(e, INVALID,
             "previous_response_id: no response \"" STR_FMT
             "\" is kept: this server stores none; send the whole conversation as input",
             STR_ARG(previous));
    TRY(field_bool(body, "background", &background, e));
    if (background) FAIL(e, INVALID, "background responses are not possible: none are stored");
    TRY(read_sampling(body, mem, &m->options, e));
    request_set_options(job, &m->options);
    TRY(openai_reasoning(body, m, &job->prompt, e));
    if (str_eq(field_text(body, "truncation"), STR("disabled"))) job->prompt.truncate = false;
    TRY(read_tools(body, m, mem, &job->prompt, e));
    TRY(read_tool_choice(body, mem, &job->prompt, e));
    TRY(read_format(body, mem, &job->format, e));
    TRY(field_keep_alive(body, &job->keep_alive_set, &job->keep_alive_ns, e));
    return read_messages(body, m, mem, job, e);
}

/* ---- what the answer repeats ---- */

static void set_or(json_t *o, const char *key, const json_t *given, json_t *otherwise) {
    if (given && !json_is_null(given)) {
        json_object_set(o, key, (json_t *)(uintptr_t)given);
        json_decref(otherwise);
    } else {
        json_object_set_new(o, key, otherwise);
    }
}

json_t *responses_skeleton(const json_t *body, const api_model *m, const generation *g) {
    json_t *o =
        json_pack("{s:s, s:s, s:i, s:n, s:s, s:n, s:o, s:n}", "id", g->id, "object", "response",
                  "created_at", 0, "completed_at", "status", "in_progress", "incomplete_details",
                  "model", dialect_text(g->model), "previous_response_id");
    set_or(o, "instructions", field_get(body, "instructions"), json_null());
    json_object_set_new(o, "output", json_array());
    json_object_set_new(o, "error", json_null());
    set_or(o, "tools", field_get(body, "tools"), json_array());
    set_or(o, "tool_choice", field_get(body, "tool_choice"), json_string("auto"));
    set_or(o, "truncation", field_get(body, "truncation"), json_string("disabled"));
    set_or(o, "parallel_tool_calls", field_get(body, "parallel_tool_calls"), json_true());
    set_or(o, "text", field_get(body, "text"), json_pack("{s:{s:s}}", "format", "type", "text"));
    set_or(o, "top_p", field_get(body, "top_p"), json_real(1));
    json_object_set_new(o, "presence_penalty", json_integer(0));
    json_object_set_new(o, "frequency_penalty", json_integer(0));
    json_object_set_new(o, "top_logprobs", json_integer(0));
    set_or(o, "temperature", field_get(body, "temperature"), json_real(1));
    json_t *reasoning = (json_t *)(uintptr_t)field_get(body, "reasoning");
    if (reasoning && api_model_can(m, "thinking"))
        json_object_set_new(o, "reasoning",
                            json_pack("{s:O?, s:O?}", "effort",
                                      json_object_get(reasoning, "effort"), "summary",
                                      json_object_get(reasoning, "summary")));
    else
        json_object_set_new(o, "reasoning", json_null());
    json_object_set_new(o, "usage", json_null());
    set_or(o, "max_output_tokens", field_get(body, "max_output_tokens"), json_null());
    json_object_set_new(o, "max_tool_calls", json_null());
    json_object_set_new(o, "store", json_false());
    set_or(o, "background", field_get(body, "background"), json_false());
    json_object_set_new(o, "service_tier", json_string("default"));
    set_or(o, "metadata", field_get(body, "metadata"), json_object());
    json_object_set_new(o, "safety_identifier", json_null());
    json_object_set_new(o, "prompt_cache_key", json_null());
    return o;
}
