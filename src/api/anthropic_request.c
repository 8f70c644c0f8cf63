/* POST /v1/messages, the request: system, messages of blocks, tools, thinking.
 *
 * Blocks become native messages: a user's tool results are messages of role "tool" in front of the
 * user's own text, an assistant's tool_use blocks its tool_calls, thinking its thinking. Blocks of
 * unknown types are skipped and roles are not checked, as Ollama does it. */
#include "api/anthropic.h"
#include "api/fields.h"
#include "base/limits.h"
#include "http/json.h"

static str string_of(const json_t *v) {
    return (str){json_string_value(v), json_is_string(v) ? json_string_length(v) : 0};
}

static str field_text(const json_t *object, const char *name) {
    return string_of(json_object_get(object, name));
}

static bool is_type(const json_t *block, const char *type) {
    return str_eq(field_text(block, "type"), str_from(type));
}

err_code anthropic_check(const json_t *body, bool counts, str *ret_model, err *e) {
    const json_t *messages = NULL;
    int64_t most = 0;
    TRY(field_str(body, "model", ret_model, e));
    if (ret_model->len == 0) FAIL(e, INVALID, "model is required");
    TRY(field_i64(body, "max_tokens", &most, e));
    if (most <= 0 && !counts) FAIL(e, INVALID, "max_tokens is required and must be positive");
    TRY(field_array(body, "messages", &messages, e));
    if (json_array_size(messages) == 0) FAIL(e, INVALID, "messages is required");
    return ERR_OK;
}

/* ---- blocks ---- */

typedef struct turn {
    str role;
    size_t number; /* for error messages */
    buf text, thinking;
    json_t *calls, *images;
    json_t *results; /* messages of tools, to go first */
    json_t *names;   /* tool_use id -> name, of all turns */
    bool any;        /* the message says something of its own */
    bool sees;       /* the model reads images */
} turn;

static err_code read_image(const turn *t, const json_t *block, json_t *to, err *e) {
    const json_t *source = json_object_get(block, "source");
    str type = field_text(source, "type"), data = field_text(source, "data");
    if (!str_eq(type, STR("base64")))
        FAIL(e, INVALID,
             "invalid image source type: " STR_FMT ". Only base64 images are supported.",
             STR_ARG(type));
    if (data.len == 0) FAIL(e, INVALID, "messages[%zu]: an image without data", t->number);
    json_array_append_new(to, dialect_text(data));
    return ERR_OK;
}

/* An image among a tool's answer. A model that cannot see is told so in its place: an agent whose
 * tool happened on a picture goes on, while a picture of the user's own is refused. */
static err_code read_result_image(turn *t, const json_t *block, buf *text, err *e) {
    json_t *unseen = json_array();
    err_code code = read_image(t, block, t->sees ? t->images : unseen, e);
    if (!t->sees) buf_put_str(text, STR("[an image, which this model cannot see]"));
    if (t->sees) t->any = true;
    json_decref(unseen);
    return code;
}

/* A tool's answer: text, or blocks of text and images. */
static err_code read_result(turn *t, const json_t *block, err *e) {
    const json_t *content = json_object_get(block, "content"), *part;
    json_t *message = json_pack("{s:s}", "role", "tool");
    buf text = {0};
    size_t i;
    err_code code = ERR_OK;
    if (json_is_string(content)) buf_put_str(&text, string_of(content));
    if (json_is_array(content)) json_array_foreach(content, i, part) {
            if (is_type(part, "text")) buf_put_str(&text, field_text(part, "text"));
            if (is_type(part, "image") && code == ERR_OK)
                code = read_result_image(t, part, &text, e);
        }
    json_object_set_new(message, "content", dialect_text(buf_str(&text)));
    str id = field_text(block, "tool_use_id");
    if (id.len) json_object_set_new(message, "tool_call_id", dialect_text(id));
    json_t *name = id.len ? json_object_get(t->names, id.ptr) : NULL;
    if (name) json_object_set(message, "tool_name", name);
    json_array_append_new(t->results, message);
    buf_finish(&text);
    return code;
}

static err_code read_call(turn *t, const json_t *block, err *e) {
    str id = field_text(block, "id"), name = field_text(block, "name");
    json_t *input = json_object_get(block, "input");
    if (id.len == 0) FAIL(e, INVALID, "tool_use block missing required 'id' field");
    if (name.len == 0) FAIL(e, INVALID, "tool_use block missing required 'name' field");
    if (input && !json_is_null(input) && !json_is_object(input))
        FAIL(e, INVALID, "messages[%zu]: the input of tool_use \"" STR_FMT "\" must be an object",
             t->number, STR_ARG(name));
    input = json_is_object(input) ? json_incref(input) : json_object();
    json_array_append_new(t->calls, dialect_call(id, name, input));
    json_object_set_new(t->names, id.ptr, dialect_text(name));
    return ERR_OK;
}

/* A document that is plain text is text; others cannot be read. */
static err_code read_document(turn *t, const json_t *block, err *e) {
    const json_t *source = json_object_get(block, "source");
    if (!is_type(source, "text"))
        FAIL(e, INVALID,
             "messages[%zu]: a document of source type \"" STR_FMT "\"; only \"text\" can be read",
             t->number, STR_ARG(field_text(source, "type")));
    buf_put_str(&t->text, field_text(source, "data"));
    t->any = true;
    return ERR_OK;
}

static err_code read_block(turn *t, const json_t *block, err *e) {
    if (!json_is_object(block))
        FAIL(e, INVALID, "messages[%zu]: content blocks must be objects, not %s", t->number,
             json_type_name(block));
    if (is_type(block, "tool_result")) return read_result(t, block, e);
    if (is_type(block, "document")) return read_document(t, block, e);
    bool text = is_type(block, "text"), thinking = is_type(block, "thinking");
    bool image = is_type(block, "image"), call = is_type(block, "tool_use");
    if (text || thinking || image || call) t->any = true;
    if (text && !json_is_string(json_object_get(block, "text")))
        FAIL(e, INVALID, "messages[%zu]: a text block without text", t->number);
    if (text) buf_put_str(&t->text, field_text(block, "text"));
    if (thinking) buf_put_str(&t->thinking, field_text(block, "thinking"));
    if (image) return read_image(t, block, t->images, e);
    return call ? read_call(t, block, e) : ERR_OK;
}

static void set_list(json_t *message, const char *key, json_t *list) {
    if (json_array_size(list)) json_object_set(message, key, list);
}

static void put_turn(const turn *t, json_t *out) {
    json_array_extend(out, t->results);
    if (!t->any && json_array_size(t->results)) return;
    json_t *m = json_pack("{s:o, s:o}", "role", dialect_text(t->role), "content",
                          dialect_text(buf_str(&t->text)));
    if (t->thinking.len) json_object_set_new(m, "thinking", dialect_text(buf_str(&t->thinking)));
    set_list(m, "images", t->images);
    set_list(m, "tool_calls", t->calls);
    json_array_append_new(out, m);
}

static err_code read_turn(const json_t *message, const turn *proto, json_t *out, err *e) {
    turn t = *proto;
    size_t number = t.number;
    if (!json_is_object(message))
        FAIL(e, INVALID, "messages[%zu] must be an object, not %s", number,
             json_type_name(message));
    TRY(field_str(message, "role", &t.role, e));
    const json_t *content = json_object_get(message, "content"), *block;
    bool plain = json_is_string(content);
    if (!plain && !json_is_array(content) && content && !json_is_null(content))
        FAIL(e, INVALID, "messages[%zu]: content must be a string or an array, not %s", number,
             json_type_name(content));
    t.calls = json_array(), t.images = json_array(), t.results = json_array();
    t.any = plain;
    if (plain) buf_put_str(&t.text, string_of(content));
    size_t i;
    err_code code = ERR_OK;
    json_array_foreach(content, i, block) if (code == ERR_OK) code = read_block(&t, block, e);
    if (code == ERR_OK) put_turn(&t, out);
    buf_finish(&t.text);
    buf_finish(&t.thinking);
    json_decref(t.calls);
    json_decref(t.images);
    json_decref(t.results);
    return code;
}

/* `system`: text, or blocks of text that are put together. */
static err_code read_system(const json_t *body, json_t *out, err *e) {
    const json_t *system = field_get(body, "system"), *block;
    buf text = {0};
    size_t i;
    if (!system) return ERR_OK;
    if (!json_is_string(system) && !json_is_array(system))
        FAIL(e, INVALID, "system must be a string or an array of blocks, not %s",
             json_type_name(system));
    if (json_is_string(system)) buf_put_str(&text, string_of(system));
    json_array_foreach(system, i, block) if (is_type(block, "text"))
        buf_put_str(&text, field_text(block, "text"));
    if (text.len)
        json_array_append_new(out, json_pack("{s:s, s:o}", "role", "system", "content",
                                             dialect_text(buf_str(&text))));
    buf_finish(&text);
    return ERR_OK;
}

static err_code read_messages(const json_t *body, const api_model *m, arena *mem, engine_prompt *p,
                              err *e) {
    const json_t *list = NULL, *message;
    json_t *out = dialect_defer(mem, json_array()), *names = dialect_defer(mem, json_object());
    value *messages;
    size_t i;
    TRY(field_array(body, "messages", &list, e));
    if (json_array_size(list) > LIMIT_MESSAGES)
        FAIL(e, LIMIT, "%zu messages, at most %d are allowed", json_array_size(list),
             LIMIT_MESSAGES);
    TRY(read_system(body, out, e));
    json_array_foreach(list, i, message) {
        turn t = {.number = i, .names = names, .sees = api_model_can(m, "vision")};
        TRY(read_turn(message, &t, out, e));
    }
    TRY(request_messages(m, out, mem, &messages, e));
    p->kind = ENGINE_PROMPT_MESSAGES;
    p->messages = messages;
    return ERR_OK;
}

/* ---- tools, thinking, sampling ---- */

static err_code read_tools(const json_t *body, const api_model *m, arena *mem, engine_prompt *p,
                           err *e) {
    const json_t *list = NULL, *tool;
    json_t *tools = dialect_defer(mem, json_array());
    size_t i;
    TRY(field_array(body, "tools", &list, e));
    json_array_foreach(list, i, tool) {
        str name = {0}, type = {0};
        if (!json_is_object(tool)) FAIL(e, INVALID, "tools[%zu] must be an object", i);
        TRY(field_str(tool, "type", &type, e));
        TRY(field_str(tool, "name", &name, e));
        if (str_starts(type, STR("web_search")))
            FAIL(e, INVALID, "tools[%zu]: this server cannot search the web", i);
        if (name.len == 0) FAIL(e, INVALID, "tools[%zu] has no name", i);
        json_array_append_new(tools, dialect_tool(json_object_get(tool, "name"),
                                                  json_object_get(tool, "description"),
                                                  json_object_get(tool, "input_schema")));
    }
    return dialect_take_tools(m, tools, mem, p, e);
}

static err_code read_tool_choice(const json_t *body, engine_prompt *p, err *e) {
    const json_t *choice = NULL;
    bool single = false;
    str type = {0};
    TRY(field_object(body, "tool_choice", &choice, e));
    if (!choice || !p->tools) return ERR_OK;
    TRY(field_str(choice, "type", &type, e));
    TRY(field_bool(choice, "disable_parallel_tool_use", &single, e));
    p->single_tool_call = single;
    if (str_eq(type, STR("none"))) p->tool_choice = ENGINE_TOOLS_NONE;
    if (str_eq(type, STR("any")) || str_eq(type, STR("tool")))
        p->tool_choice = ENGINE_TOOLS_REQUIRED;
    if (!str_eq(type, STR("tool"))) return ERR_OK;
    TRY(field_str(choice, "name", &p->tool_name, e));
    if (p->tool_name.len == 0) FAIL(e, INVALID, "tool_choice: a tool has no name");
    return ERR_OK;
}

/* A model that cannot think is asked without it. */
static err_code read_thinking(const json_t *body, const api_model *m, engine_prompt *p, err *e) {
    const json_t *thinking = NULL, *output = NULL;
    str type = {0}, effort = {0};
    TRY(field_object(body, "thinking", &thinking, e));
    TRY(field_object(body, "output_config", &output, e));
    if (thinking) TRY(field_str(thinking, "type", &type, e));
    if (output) TRY(field_str(output, "effort", &effort, e));
    if (!api_model_can(m, "thinking")) return ERR_OK;
    if (str_eq(type, STR("enabled"))) p->think = ENGINE_THINK_ON;
    if (str_eq(type, STR("disabled"))) p->think = ENGINE_THINK_OFF;
    if (effort.len == 0 || p->think == ENGINE_THINK_OFF) return ERR_OK;
    p->think = ENGINE_THINK_ON;
    p->think_level = str_eq(effort, STR("xhigh")) ? STR("high") : effort;
    static const char *const levels[] = {"low", "medium", "high", "max"};
    for (size_t i = 0; i < COUNT_OF(levels); i++)
        if (str_eq(p->think_level, str_from(levels[i]))) return ERR_OK;
    FAIL(e, INVALID, "output_config: effort \"" STR_FMT "\" must be low, medium, high or max",
         STR_ARG(effort));
}

/* output_config.format or, as it was first called, output_format: {type: json_schema, schema}. */
static err_code read_format(const json_t *body, arena *mem, engine_format *ret, err *e) {
    const json_t *output = NULL, *format = NULL, *schema = NULL;
    TRY(field_object(body, "output_config", &output, e));
    if (output) TRY(field_object(output, "format", &format, e));
    if (!format) TRY(field_object(body, "output_format", &format, e));
    if (!format) return ERR_OK;
    str type = field_text(format, "type");
    if (!str_eq(type, STR("json_schema")))
        FAIL(e, INVALID, "the output's format \"" STR_FMT "\" is not json_schema", STR_ARG(type));
    TRY(field_object(format, "schema", &schema, e));
    if (!schema) FAIL(e, INVALID, "the output's format has no schema");
    *ret = (engine_format){.kind = ENGINE_FORMAT_SCHEMA, .schema = json_to_value(mem, schema)};
    return ERR_OK;
}

static err_code read_sampling(const json_t *body, arena *mem, options *o, err *e) {
    static const struct {
        const char *theirs, *ours;
    } NAMES[] = {{"max_tokens", "num_predict"},
                 {"temperature", "temperature"},
                 {"top_p", "top_p"},
                 {"top_k", "top_k"},
                 {"stop_sequences", "stop"}};
    json_t *mapped = dialect_defer(mem, json_object());
    for (size_t i = 0; i < COUNT_OF(NAMES); i++) {
        const json_t *v = field_get(body, NAMES[i].theirs);
        if (v) json_object_set(mapped, NAMES[i].ours, (json_t *)(uintptr_t)v);
    }
    return options_apply(o, mapped, mem, e);
}

err_code anthropic_read(const json_t *body, api_model *m, arena *mem, engine_job_spec *job,
                        err *e) {
    TRY(request_job(m, NULL, mem, job, e));
    TRY(read_sampling(body, mem, &m->options, e));
    request_set_options(job, &m->options);
    TRY(read_tools(body, m, mem, &job->prompt, e));
    TRY(read_tool_choice(body, &job->prompt, e));
    TRY(read_thinking(body, m, &job->prompt, e));
    TRY(read_format(body, mem, &job->format, e));
    TRY(field_keep_alive(body, &job->keep_alive_set, &job->keep_alive_ns, e));
    return read_messages(body, m, mem, &job->prompt, e);
}

static size_t length_of(const json_t *content) {
    const json_t *block;
    size_t i, n = json_is_string(content) ? json_string_length(content) : 0;
    json_array_foreach(content, i, block) n += field_text(block, "text").len +
                                               field_text(block, "thinking").len +
                                               field_text(block, "content").len;
    return n;
}

size_t anthropic_length(const json_t *body) {
    const json_t *message;
    size_t i, n = length_of(json_object_get(body, "system"));
    json_array_foreach(json_object_get(body, "messages"), i, message) n +=
        length_of(json_object_get(message, "content"));
    return n;
}
