/* Checks and conversions that every generation request goes through. */
#include "api/request.h"
#include "api/fields.h"
#include "base/limits.h"
#include "http/json.h"

bool request_model(api *a, http_request *r, str name, const char *verb, api_model *ret) {
    err e;
    err_code code = api_model_find(a, name, http_request_arena(r), ret, &e);
    if (name.len == 0 || code == ERR_NOT_FOUND)
        api_reply_error(r, 404, "model '" STR_FMT "' not found", STR_ARG(name));
    else if (code)
        api_reply_err(r, &e);
    else if (verb && !api_model_can(ret, "completion"))
        api_reply_error(r, 400, "\"" STR_FMT "\" does not support %s", STR_ARG(name), verb);
    else
        return true;
    return false;
}

void request_set_options(engine_job_spec *job, const options *o) {
    job->sample = o->sample;
    job->n_ctx = o->n_ctx;
    job->n_predict = o->n_predict;
    job->stop = o->stop;
    job->n_stop = o->n_stop;
    job->prompt.n_keep = o->n_keep;
}

/* A renderer that is not built in, a file without a template: messages cannot become a prompt. The
 * complaint comes as a template, so that it is made when one is wanted and not before. */
static str template_of(const api_model *m, arena *mem) {
    str name = m->stored.config.renderer;
    bool plain = name.len > 0 && name.len < 64;
    if (m->template_text.len || m->file.chat_template.len || name.len == 0) return m->template_text;
    for (size_t i = 0; i < name.len && plain; i++)
        plain = name.ptr[i] != '\'' && name.ptr[i] != '\\' && (unsigned char)name.ptr[i] >= 0x20;
    return str_fmt(mem,
                   "{{ raise_exception('the renderer \"" STR_FMT
                   "\" is not built in, and the model "
                   "file has no chat template: create the model with a TEMPLATE') }}",
                   STR_ARG(plain ? name : STR("?")));
}

err_code request_job(const api_model *m, const json_t *object, arena *mem, engine_job_spec *ret,
                     err *e) {
    options o = m->options;
    TRY(options_apply(&o, object, mem, e));
    *ret = (engine_job_spec){.kind = ENGINE_JOB_GENERATE, .model = m->engine};
    ret->prompt.truncate = ret->prompt.shift = true;
    ret->prompt.template_text = template_of(m, mem);
    ret->prompt.parser = m->stored.config.parser;
    request_set_options(ret, &o);
    return ERR_OK;
}

void request_reply_err(http_request *r, const err *e) {
    bool wrong_type = str_starts(str_from(e->msg), STR("option \""));
    api_reply_error(r, wrong_type ? 500 : err_http_status(e->code), "%s", e->msg);
}

err_code request_think(const json_t *body, const api_model *m, engine_prompt *ret, err *e) {
    static const char *const levels[] = {"high", "medium", "low", "max"};
    const json_t *v = field_get(body, "think");
    if (!v) {
        ret->think_by_default = api_model_can(m, "thinking");
        if (ret->think_by_default) ret->think = ENGINE_THINK_ON;
        return ERR_OK;
    }
    bool level_ok = json_is_boolean(v);
    if (json_is_string(v)) {
        ret->think_level = (str){json_string_value(v), json_string_length(v)};
        for (size_t i = 0; i < COUNT_OF(levels); i++)
            if (str_eq(ret->think_level, str_from(levels[i]))) level_ok = true;
    }
    if (!level_ok && json_is_string(v))
        FAIL(e, INVALID,
             "invalid think value: \"" STR_FMT
             "\" (must be \"high\", \"medium\", \"low\", \"max\", true, or false)",
             STR_ARG(ret->think_level));
    if (!level_ok)
        FAIL(e, INVALID, "think must be a boolean or a level, not %s", json_type_name(v));
    ret->think = json_is_false(v) ? ENGINE_THINK_OFF : ENGINE_THINK_ON;
    if (ret->think == ENGINE_THINK_ON && !api_model_can(m, "thinking"))
        FAIL(e, INVALID, "\"" STR_FMT "\" does not support thinking", STR_ARG(m->stored.display));
    return ERR_OK;
}

static err_code check_tool(const json_t *tool, size_t i, err *e) {
    const json_t *fn = json_object_get(tool, "function");
    const json_t *parameters = json_object_get(fn, "parameters");
    const char *name = json_string_value(json_object_get(fn, "name"));
    if (!json_is_object(tool)) FAIL(e, INVALID, "tools[%zu] must be an object", i);
    if (!json_is_object(fn)) FAIL(e, INVALID, "tools[%zu].function must be an object", i);
    if (!name || !name[0]) FAIL(e, INVALID, "tools[%zu].function.name must be a string", i);
    if (parameters && !json_is_object(parameters) && !json_is_null(parameters))
        FAIL(e, INVALID, "tools[%zu].function.parameters must be a JSON Schema object", i);
    return ERR_OK;
}

static err_code read_tools(const json_t *tools, arena *mem, engine_prompt *ret, err *e) {
    const json_t *tool;
    size_t i;
    buf text = {0};
    if (json_array_size(tools) > LIMIT_TOOLS)
        FAIL(e, LIMIT, "%zu tools, at most %d are allowed", json_array_size(tools), LIMIT_TOOLS);
    json_array_foreach(tools, i, tool) TRY(check_tool(tool, i, e));
    json_write(&text, tools);
    size_t n_bytes = text.len;
    buf_finish(&text);
    if (n_bytes > LIMIT_SCHEMA_BYTES)
        FAIL(e, LIMIT, "the tools are %zu bytes of JSON; at most %u are allowed", n_bytes,
             LIMIT_SCHEMA_BYTES);
    ret->tools = json_to_value(mem, tools);
    return ERR_OK;
}

/* The tool of this name, or NULL. */
static value *tool_named(const value *tools, str name) {
    for (size_t i = 0; tools && i < tools->as.list.len; i++) {
        value *tool = tools->as.list.items[i];
        const value *known = value_get(value_get(tool, STR("function")), STR("name"));
        if (known && known->kind == VALUE_STR && str_eq(known->as.text, name)) return tool;
    }
    return NULL;
}

err_code request_allowed_tools(const json_t *choice, arena *mem, engine_prompt *ret, err *e) {
    const json_t *inner = json_object_get(choice, "allowed_tools");
    const json_t *spec = inner ? inner : choice, *names = NULL;
    value *allowed = value_list(mem);
    str mode = str_from(json_string_value(json_object_get(spec, "mode")));
    TRY(field_array(spec, "tools", &names, e));
    bool required = str_eq(mode, STR("required"));
    if (!required && !str_eq(mode, STR("auto")))
        FAIL(e, INVALID, "tool_choice: the mode of allowed_tools must be \"auto\" or \"required\"");
    for (size_t i = 0; i < json_array_size(names); i++) {
        const json_t *item = json_array_get(names, i), *fn = json_object_get(item, "function");
        str name = str_from(json_string_value(json_object_get(fn ? fn : item, "name")));
        value *tool = tool_named(ret->tools, name);
        if (!tool)
            FAIL(e, INVALID,
                 "tool_choice allows the tool \"" STR_FMT "\", which is not among tools",
                 STR_ARG(name));
        value_push(mem, allowed, tool);
    }
    if (allowed->as.list.len == 0) FAIL(e, INVALID, "tool_choice: allowed_tools names no tool");
    ret->tools = allowed;
    ret->tool_choice = required ? ENGINE_TOOLS_REQUIRED : ENGINE_TOOLS_AUTO;
    return ERR_OK;
}

static err_code read_tool_choice(const json_t *v, arena *mem, engine_prompt *ret, err *e) {
    static const char *const NAMES[] = {[ENGINE_TOOLS_AUTO] = "auto",
                                        [ENGINE_TOOLS_NONE] = "none",
                                        [ENGINE_TOOLS_REQUIRED] = "required"};
    for (size_t i = 0; json_is_string(v) && i < COUNT_OF(NAMES); i++) {
        if (!str_eq(str_from(json_string_value(v)), str_from(NAMES[i]))) continue;
        ret->tool_choice = (engine_tool_choice)i;
        return ERR_OK;
    }
    const json_t *fn = json_object_get(v, "function");
    const char *name = json_string_value(json_object_get(fn ? fn : v, "name"));
    const char *type = json_string_value(json_object_get(v, "type"));
    if (type && str_eq(str_from(type), STR("allowed_tools")))
        return request_allowed_tools(v, mem, ret, e);
    if (!name || !name[0] || !type || !str_eq(str_from(type), STR("function")))
        FAIL(e, INVALID,
             "tool_choice must be \"none\", \"auto\", \"required\", {\"type\": \"function\", "
             "\"function\": {\"name\": ...}} or {\"type\": \"allowed_tools\", ...}");
    ret->tool_choice = ENGINE_TOOLS_REQUIRED;
    ret->tool_name = str_from(name);
    return ERR_OK;
}

err_code request_tools(const json_t *body, const api_model *m, arena *mem, engine_prompt *ret,
                       err *e) {
    const json_t *tools = NULL, *choice = field_get(body, "tool_choice");
    bool parallel = true;
    TRY(field_array(body, "tools", &tools, e));
    TRY(field_bool(body, "parallel_tool_calls", &parallel, e));
    ret->single_tool_call = !parallel;
    if (json_array_size(tools)) {
        if (!api_model_can(m, "tools"))
            FAIL(e, INVALID, STR_FMT " does not support tools",
                 STR_ARG(store_name_full(mem, &m->stored.name)));
        TRY(read_tools(tools, mem, ret, e));
    }
    if (choice) TRY(read_tool_choice(choice, mem, ret, e));
    if (ret->tool_choice == ENGINE_TOOLS_REQUIRED && !ret->tools)
        FAIL(e, INVALID, "tool_choice asks for a call, but there are no tools");
    return ERR_OK;
}

err_code request_logprobs(const json_t *body, engine_job_spec *job, err *e) {
    int64_t top = 0;
    TRY(field_bool(body, "logprobs", &job->logprobs, e));
    TRY(field_i64(body, "top_logprobs", &top, e));
    if (top < 0 || top > LIMIT_TOP_LOGPROBS)
        FAIL(e, INVALID, "top_logprobs must be between 0 and %d", LIMIT_TOP_LOGPROBS);
    job->top_logprobs = (int32_t)top;
    return ERR_OK;
}

value *request_message(arena *mem, str role, str content) {
    value *m = value_map(mem);
    value_add(mem, m, STR("role"), value_str(mem, role));
    value_add(mem, m, STR("content"), value_str(mem, content));
    return m;
}

static err_code check_base64(str s, err *e) {
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        bool ok = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
                  c == '+' || c == '/' || (c == '=' && i + 2 >= s.len) || c == '\n' || c == '\r';
        if (!ok) FAIL(e, INVALID, "illegal base64 data at input byte %zu", i);
    }
    return ERR_OK;
}

err_code request_images(const json_t *object, const api_model *m, err *e) {
    const json_t *list = NULL;
    TRY(field_array(object, "images", &list, e));
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *v = json_array_get(list, i);
        if (!json_is_string(v)) FAIL(e, INVALID, "images must be strings of base64");
        TRY(check_base64((str){json_string_value(v), json_string_length(v)}, e));
    }
    if (json_array_size(list))
        FAIL(e, INVALID, "\"" STR_FMT "\" does not support vision: it cannot read images",
             STR_ARG(m->stored.display));
    return ERR_OK;
}

err_code request_grammar(const json_t *body, engine_format *ret, err *e) {
    str regex = {0}, gbnf = {0};
    TRY(field_str(body, "regex", &regex, e));
    TRY(field_str(body, "grammar", &gbnf, e));
    if ((ret->kind != ENGINE_FORMAT_FREE) + (regex.len > 0) + (gbnf.len > 0) > 1)
        FAIL(e, INVALID, "only one of a format, \"regex\" and \"grammar\" is possible");
    if (regex.len) *ret = (engine_format){.kind = ENGINE_FORMAT_REGEX, .text = regex};
    if (gbnf.len) *ret = (engine_format){.kind = ENGINE_FORMAT_GBNF, .text = gbnf};
    return ERR_OK;
}

/* Ollama's words, and its status 500. */
static err_code bad_format(const json_t *v, err *e) {
    buf text = {0}, quoted = {0};
    json_write(&text, v);
    json_t *as_text = json_stringn(text.ptr, text.len);
    json_write(&quoted, as_text);
    err_set(e, ERR_INTERNAL,
            "invalid format: " STR_FMT "; expected \"json\" or a valid JSON Schema object",
            STR_ARG(buf_str(&quoted)));
    json_decref(as_text);
    buf_finish(&text);
    buf_finish(&quoted);
    return ERR_INTERNAL;
}

err_code request_format(const json_t *body, arena *mem, engine_format *ret, err *e) {
    const json_t *v = field_get(body, "format");
    *ret = (engine_format){.kind = ENGINE_FORMAT_FREE};
    if (json_is_object(v)) {
        ret->kind = ENGINE_FORMAT_SCHEMA;
        ret->schema = json_to_value(mem, v);
    } else if (json_is_string(v) && str_eq(str_from(json_string_value(v)), STR("json"))) {
        ret->kind = ENGINE_FORMAT_JSON;
    } else if (v && !(json_is_string(v) && json_string_length(v) == 0)) {
        return bad_format(v, e);
    }
    return request_grammar(body, ret, e);
}

/* One message of a request, as the template will see it. */
static err_code convert_message(const api_model *m, const json_t *v, arena *mem, value **ret,
                                err *e) {
    if (!json_is_object(v)) FAIL(e, INVALID, "messages must be objects, not %s", json_type_name(v));
    str role = {0}, content = STR("");
    const json_t *calls;
    TRY(field_str(v, "role", &role, e));
    TRY(field_str(v, "content", &content, e));
    TRY(field_array(v, "tool_calls", &calls, e));
    TRY(request_images(v, m, e));
    value *out = json_to_value(mem, v);
    value_set(mem, out, STR("role"), value_str(mem, str_lower(mem, role)));
    value_set(mem, out, STR("content"), value_str(mem, content));
    *ret = out;
    return ERR_OK;
}

static bool is_system(const value *message) {
    const value *role = value_get(message, STR("role"));
    return role && role->kind == VALUE_STR && str_eq(role->as.text, STR("system"));
}

err_code request_messages(const api_model *m, const json_t *messages, arena *mem, value **ret,
                          err *e) {
    if (json_array_size(messages) > LIMIT_MESSAGES)
        FAIL(e, LIMIT, "%zu messages, at most %d are allowed", json_array_size(messages),
             LIMIT_MESSAGES);
    value *all = value_list(mem), *own = value_list(mem), *one;
    for (size_t i = 0; i < json_array_size(messages); i++) {
        TRY(convert_message(m, json_array_get(messages, i), mem, &one, e));
        value_push(mem, own, one);
    }
    bool brings_system = own->as.list.len && is_system(own->as.list.items[0]);
    if (m->system.len && !brings_system)
        value_push(mem, all, request_message(mem, STR("system"), m->system));
    json_t *stored = NULL;
    if (m->messages_text.len) TRY(json_parse(m->messages_text, &stored, e));
    err_code code = ERR_OK;
    for (size_t i = 0; code == ERR_OK && i < json_array_size(stored); i++) {
        code = convert_message(m, json_array_get(stored, i), mem, &one, e);
        if (code == ERR_OK) value_push(mem, all, one);
    }
    json_decref(stored);
    for (size_t i = 0; i < own->as.list.len; i++) value_push(mem, all, own->as.list.items[i]);
    *ret = all;
    return code;
}

err_code request_ids(const json_t *list, const char *name, arena *mem, engine_tokens *ret, err *e) {
    size_t n = json_array_size(list);
    if (n == 0) FAIL(e, INVALID, "%s is empty", name);
    int32_t *ids = ARENA_ARRAY(mem, int32_t, n);
    for (size_t i = 0; i < n; i++) {
        const json_t *one = json_array_get(list, i);
        json_int_t v = json_integer_value(one);
        if (!json_is_integer(one) || v < 0 || v > INT32_MAX)
            FAIL(e, INVALID, "%s: number %zu of its tokens is none", name, i);
        ids[i] = (int32_t)v;
    }
    *ret = (engine_tokens){.ids = ids, .n = n};
    return ERR_OK;
}
