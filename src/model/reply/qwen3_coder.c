/* qwen3-coder: <tool_call><function=name><parameter=key>value</parameter></function></tool_call>,
 * where the outer mark is sometimes forgotten; and the relatives' <arg_key> (glm). */
#include "base/value_json.h"
#include "model/reply/xml.h"

/* Cuts `*s` at `mark`: the part before it; ptr NULL and *s unchanged when it is not there. */
static str cut_at(str *s, str mark) {
    ptrdiff_t at = str_find(*s, mark);
    if (at < 0) return (str){0};
    str before = str_sub(*s, 0, (size_t)at);
    *s = str_sub(*s, (size_t)at + mark.len, s->len);
    return before.ptr ? before : STR("");
}

/* One line break at either end belongs to the layout. */
static str inner(str s) {
    if (str_starts(s, STR("\n"))) s = str_sub(s, 1, s.len);
    if (str_ends(s, STR("\n"))) s = str_sub(s, 0, s.len - 1);
    return s;
}

static bool names_string(const value *type) {
    if (type && type->kind == VALUE_STR) return str_eq(type->as.text, STR("string"));
    for (size_t i = 0; type && type->kind == VALUE_LIST && i < type->as.list.len; i++)
        if (names_string(type->as.list.items[i])) return true;
    return false;
}

static bool any_is_string(const value *list) {
    for (size_t i = 0; list && list->kind == VALUE_LIST && i < list->as.list.len; i++)
        if (list->as.list.items[i]->kind == VALUE_STR) return true;
    return false;
}

/* What only describes says nothing; what leads elsewhere ($ref) is tried as JSON. */
static bool says_what(const value *schema) {
    static const char *const KEYS[] = {"type", "anyOf", "oneOf", "allOf", "$ref", "enum", "const"};
    for (size_t i = 0; i < COUNT_OF(KEYS); i++)
        if (value_get(schema, str_from(KEYS[i]))) return true;
    return false;
}

bool reply_argument_is_text(const value *schema) {
    const value *type = value_get(schema, STR("type")), *only = value_get(schema, STR("const"));
    const value *any = value_get(schema, STR("anyOf"));
    if (!schema) return false;
    if (type) return names_string(type);
    if (only) return only->kind == VALUE_STR;
    if (any_is_string(value_get(schema, STR("enum")))) return true;
    for (size_t i = 0; any && any->kind == VALUE_LIST && i < any->as.list.len; i++)
        if (names_string(value_get(any->as.list.items[i], STR("type")))) return true;
    return !says_what(schema);
}

static value *argument(reply *r, str tool, str key, str words) {
    const value *schema = reply_parameter(r, tool, key), *type = value_get(schema, STR("type"));
    value *v = NULL;
    str text = inner(words);
    bool list = str_starts(text, STR("{")) || str_starts(text, STR("["));
    bool json = !reply_argument_is_text(schema) || (!names_string(type) && list);
    if (str_eq(str_trim(text), STR("null")) && !names_string(type)) return value_null(r->mem);
    if (str_eq(text, STR("True")) || str_eq(text, STR("False")))
        if (json) return value_bool(r->mem, text.ptr[0] == 'T');
    if (json && value_json_read(r->mem, text, &v, NULL) == ERR_OK) return v;
    return value_str(r->mem, text);
}

static bool take_function(reply *r, str body) {
    if (!cut_at(&body, STR("<function=")).ptr) return false;
    str name = cut_at(&body, STR(">"));
    value *arguments = value_map(r->mem);
    name = str_trim(name);
    if (name.len == 0) return false;
    while (cut_at(&body, STR("<parameter=")).ptr) {
        str key = cut_at(&body, STR(">")), rest = body;
        if (!key.ptr) return false;
        str words = cut_at(&body, STR("</parameter>"));
        if (!words.ptr) { /* the model forgot to close it */
            body = rest;
            ptrdiff_t next = str_find(rest, STR("<parameter="));
            if (next < 0) next = str_find(rest, STR("</function>"));
            words = str_sub(rest, 0, next < 0 ? rest.len : (size_t)next);
            body = str_sub(rest, words.len, rest.len);
        }
        key = str_trim(key);
        value_set(r->mem, arguments, key, argument(r, name, key, words));
    }
    reply_call(r, name, arguments);
    return true;
}

static bool take_pairs(reply *r, str body) {
    ptrdiff_t first = str_find(body, STR("<arg_key>"));
    str name = str_trim(first < 0 ? body : str_sub(body, 0, (size_t)first));
    value *arguments = value_map(r->mem);
    if (name.len == 0 || (first < 0 && !reply_has_tool(r, name))) return false;
    while (cut_at(&body, STR("<arg_key>")).ptr) {
        str key = cut_at(&body, STR("</arg_key>"));
        if (!key.ptr || !cut_at(&body, STR("<arg_value>")).ptr) return false;
        str words = cut_at(&body, STR("</arg_value>"));
        if (!words.ptr) return false;
        key = str_trim(key);
        value_set(r->mem, arguments, key, argument(r, name, key, words));
    }
    reply_call(r, name, arguments);
    return true;
}

void reply_body_xml(reply *r) {
    str body = reply_body(r);
    bool function = str_find(body, STR("<function=")) >= 0;
    if (!(function ? take_function(r, body) : take_pairs(r, body))) reply_give_up(r);
}

/* The text of name="...", of which *s begins inside the mark; *s goes behind the mark's end. */
static str name_attribute(str *s) {
    ptrdiff_t end = str_find_char(*s, '>');
    str mark = end < 0 ? (str){0} : str_sub(*s, 0, (size_t)end);
    *s = end < 0 ? *s : str_sub(*s, (size_t)end + 1, s->len);
    if (!cut_at(&mark, STR("name=\"")).ptr) return (str){0};
    return cut_at(&mark, STR("\""));
}

/* What `s` holds up to the mark that closes it: `</`, any prefix, and `word`. */
static str up_to_close(str *s, str word) {
    for (size_t from = 0;;) {
        ptrdiff_t open = str_find(str_sub(*s, from, s->len), STR("</"));
        if (open < 0) return (str){0};
        size_t at = from + (size_t)open;
        str mark = str_sub(*s, at, s->len);
        ptrdiff_t end = str_find_char(mark, '>');
        mark = end < 0 ? (str){0} : str_sub(mark, 0, (size_t)end);
        if (str_ends(mark, word)) {
            str inside = str_sub(*s, 0, at);
            *s = str_sub(*s, at + mark.len + 1, s->len);
            return inside.ptr ? inside : STR("");
        }
        from = at + 2;
    }
}

bool reply_invokes(reply *r, str body) {
    enum { CALLS_MAX = 64 };
    struct {
        str name;
        value *arguments;
    } calls[CALLS_MAX];
    size_t n = 0;
    while (cut_at(&body, STR("invoke ")).ptr) {
        str name = name_attribute(&body), inside = up_to_close(&body, STR("invoke"));
        if (name.len == 0 || !inside.ptr || n == CALLS_MAX) return false;
        calls[n].name = str_dup(r->mem, name);
        calls[n].arguments = value_map(r->mem);
        while (cut_at(&inside, STR("parameter ")).ptr) {
            str key = name_attribute(&inside), words = up_to_close(&inside, STR("parameter"));
            if (key.len == 0 || !words.ptr) return false;
            value_set(r->mem, calls[n].arguments, key, argument(r, name, key, words));
        }
        n++;
    }
    for (size_t i = 0; i < n; i++) reply_call(r, calls[i].name, calls[i].arguments);
    return n > 0;
}

#define CALLS                                                                                      \
    {.text = "<tool_call>", .next = &OPEN, .need = REPLY_TOOLS},                                   \
        {.text = "<seed:tool_call>", .next = &OPEN, .need = REPLY_TOOLS}, {                        \
        .text = "<function=", .next = &BODY, .need = REPLY_TOOLS, .stays = true                    \
    }

static const reply_state OPEN, BODY, CALL, BEHIND, CONTENT, START, THINKING;
static const reply_state OPEN = {.use = REPLY_USE_SKIP,
                                 .awaits_call = true,
                                 .marks = {{.text = "<function=", .next = &BODY, .stays = true},
                                           {.text = "{", .next = &CALL, .stays = true}},
                                 .otherwise = &CONTENT};
static const reply_state BODY = {
    .use = REPLY_USE_BODY,
    .marks = {{.text = "</function>", .next = &BEHIND, .act = reply_body_xml}},
    .whole = reply_body_xml,
    .then = &BEHIND};
static const reply_state CALL = {.use = REPLY_USE_JSON, .whole = reply_body_calls, .then = &BEHIND};
static const reply_state BEHIND = {
    .use = REPLY_USE_SKIP,
    .fresh = true,
    .marks = {CALLS,
              {.text = "</tool_call>", .next = &BEHIND, .act = reply_forget},
              {.text = "</seed:tool_call>", .next = &BEHIND, .act = reply_forget}},
    .otherwise = &CONTENT};
static const reply_state CONTENT = {.use = REPLY_USE_CONTENT, .marks = {CALLS}};
static const reply_state THINKING = {.use = REPLY_USE_THINKING, .marks = {{.next = &CONTENT}}};
static const reply_state START = {
    .use = REPLY_USE_CONTENT, .marks = {CALLS, REPLY_OPEN_THINK(&THINKING)}, .otherwise = &CONTENT};

const reply_format reply_qwen3_coder = {.name = "qwen3-coder",
                                        .start = &START,
                                        .past = &CONTENT,
                                        .thinks = true,
                                        .calls = true,
                                        .behind_mark = &OPEN};
