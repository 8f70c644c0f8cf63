/* Calls as JSON: what every format uses, and the format of templates whose calls are nothing but
 * JSON, with or without a mark before it. */
#include "base/value_json.h"
#include "model/reply/reply_impl.h"

const reply_state reply_content = {.use = REPLY_USE_CONTENT};
const reply_state reply_forced = {.use = REPLY_USE_JSON, .whole = reply_body_calls};

/* Models write line breaks into strings as they are; JSON wants them escaped. */
static str mended(arena *a, str s) {
    buf out = {0};
    bool in_string = false;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (in_string && c == '\\' && i + 1 < s.len) {
            buf_put_char(&out, c);
            c = s.ptr[++i];
        } else if (c == '"') {
            in_string = !in_string;
        }
        if (in_string && (unsigned char)c < 0x20)
            buf_putf(&out, "\\u%04x", (unsigned)c);
        else
            buf_put_char(&out, c);
    }
    str all = str_dup(a, buf_str(&out));
    buf_finish(&out);
    return all;
}

static value *read_json(reply *r, str text) {
    value *v = NULL;
    if (value_json_read(r->mem, text, &v, NULL) == ERR_OK) return v;
    return value_json_read(r->mem, mended(r->mem, text), &v, NULL) == ERR_OK ? v : NULL;
}

/* A map, or one that was written into a string. */
static const value *as_arguments(reply *r, const value *v) {
    if (!v || v->kind == VALUE_NULL) return value_map(r->mem);
    if (v->kind == VALUE_STR && str_trim(v->as.text).len == 0) return value_map(r->mem);
    if (v->kind == VALUE_STR) v = read_json(r, v->as.text);
    return v && v->kind == VALUE_MAP ? v : NULL;
}

const value *reply_json_arguments(reply *r, str text) {
    if (str_trim(text).len == 0) return value_map(r->mem);
    const value *v = read_json(r, text);
    return v && v->kind == VALUE_MAP ? v : NULL;
}

const value *reply_json_list(reply *r, str text) {
    const value *v = read_json(r, text);
    return v && v->kind == VALUE_LIST ? v : NULL;
}

typedef struct call {
    str name;
    const value *arguments;
} call;

/* {"name": ..., "arguments": {...}}, {"function": {...}}, {"function": "name", ...}. */
static bool read_call(reply *r, const value *v, bool known, call *ret) {
    static const char *const KEYS[] = {"arguments", "parameters", "args"};
    const value *fn = value_get(v, STR("function")), *name, *arguments = NULL;
    if (fn && fn->kind == VALUE_MAP) v = fn;
    name = value_get(v, STR("name"));
    if (!name && fn && fn->kind == VALUE_STR) name = fn;
    if (!name || name->kind != VALUE_STR || name->as.text.len == 0) return false;
    for (size_t i = 0; !arguments && i < COUNT_OF(KEYS); i++)
        arguments = value_get(v, str_from(KEYS[i]));
    if (known && (!arguments || !reply_has_tool(r, name->as.text))) return false;
    *ret = (call){name->as.text, as_arguments(r, arguments)};
    return ret->arguments != NULL;
}

bool reply_json_calls(reply *r, str text, bool known) {
    const value *v = read_json(r, text);
    bool many = v && v->kind == VALUE_LIST;
    size_t n = many ? v->as.list.len : v ? 1 : 0;
    call *calls = ARENA_ARRAY(r->mem, call, n + 1);
    for (size_t i = 0; i < n; i++)
        if (!read_call(r, many ? v->as.list.items[i] : v, known, &calls[i])) return false;
    for (size_t i = 0; i < n; i++) reply_call(r, calls[i].name, calls[i].arguments);
    return n > 0;
}

void reply_body_calls(reply *r) {
    if (!reply_json_calls(r, reply_body(r), false)) reply_give_up(r);
}

void reply_body_known_calls(reply *r) {
    if (!reply_json_calls(r, reply_body(r), true)) reply_give_up(r);
}

/* ---- plain ---- */

const reply_format reply_plain = {.name = "plain", .start = &reply_content, .past = &reply_content};

/* ---- thinking and nothing else ---- */

static const reply_state THINK_START, THINKS;
static const reply_state THINKS = {.use = REPLY_USE_THINKING, .marks = {{.next = &reply_content}}};
static const reply_state THINK_START = {
    .use = REPLY_USE_CONTENT, .marks = {REPLY_OPEN_THINK(&THINKS)}, .otherwise = &reply_content};
const reply_format reply_think = {
    .name = "think", .start = &THINK_START, .past = &reply_content, .thinks = true};

/* ---- JSON anywhere ---- */

#define JSON_MARKS                                                                                 \
    {.text = "{", .next = &OBJECT, .need = REPLY_TOOLS, .stays = true},                            \
        {.text = "<|tool_call|>", .next = &MARKED, .need = REPLY_TOOLS},                           \
        {.text = "<tool_calls>", .next = &MARKED, .need = REPLY_TOOLS},                            \
        {.text = "<|plugin|>", .next = &MARKED, .need = REPLY_TOOLS},                              \
        {.text = "functools", .next = &MARKED, .need = REPLY_TOOLS},                               \
        {.text = "<TOOLCALL>", .next = &MARKED, .need = REPLY_TOOLS}, {                            \
        .text = "<tool_call>", .next = &MARKED, .need = REPLY_TOOLS                                \
    }

static const reply_state OBJECT, MARKED, LIST, BEHIND, CONTENT, START, THINKING;
static const reply_state OBJECT = {
    .use = REPLY_USE_JSON, .whole = reply_body_known_calls, .then = &BEHIND};
static const reply_state LIST = {.use = REPLY_USE_JSON, .whole = reply_body_calls, .then = &BEHIND};
static const reply_state MARKED = {.use = REPLY_USE_SKIP,
                                   .awaits_call = true,
                                   .marks = {{.text = "{", .next = &LIST, .stays = true},
                                             {.text = "[", .next = &LIST, .stays = true}},
                                   .otherwise = &CONTENT};
static const reply_state BEHIND = {.use = REPLY_USE_SKIP,
                                   .fresh = true,
                                   .marks = {{.text = "{", .next = &OBJECT, .stays = true},
                                             {.text = "</tool_call>", .next = &CONTENT},
                                             {.text = "<|/tool_call|>", .next = &CONTENT},
                                             {.text = "</TOOLCALL>", .next = &CONTENT},
                                             {.text = "</tool_calls>", .next = &CONTENT},
                                             {.text = "<|action_end|>", .next = &CONTENT},
                                             {.text = ",", .next = &BEHIND}},
                                   .otherwise = &CONTENT};
static const reply_state CONTENT = {.use = REPLY_USE_CONTENT, .marks = {JSON_MARKS}};
static const reply_state THINKING = {.use = REPLY_USE_THINKING, .marks = {{.next = &CONTENT}}};
static const reply_state START = {.use = REPLY_USE_CONTENT,
                                  .marks = {JSON_MARKS, REPLY_OPEN_THINK(&THINKING)},
                                  .otherwise = &CONTENT};
const reply_format reply_json = {
    .name = "json", .start = &START, .past = &CONTENT, .thinks = true, .calls = true};
