/* Calls written as Python: f(a=1, b="x"). llama 3.2 and 4 write a list of them and nothing else
 * (llama3.c), lfm2 a list between <|tool_call_start|> and <|tool_call_end|>, olmo 3 a line for each
 * between <function_calls> and </function_calls>. */
#include "base/limits.h"
#include "base/value_json.h"
#include "model/reply/reply_impl.h"
#include <string.h>

/* ---- the language ---- */

typedef struct reader {
    reply *r;
    str s; /* what is left */
    int depth;
} reader;

static void skip_space(reader *p) {
    while (p->s.len && strchr(" \n\t\r", p->s.ptr[0])) p->s = str_sub(p->s, 1, p->s.len);
}

static bool take(reader *p, char c) {
    skip_space(p);
    if (p->s.len == 0 || p->s.ptr[0] != c) return false;
    p->s = str_sub(p->s, 1, p->s.len);
    return true;
}

static bool is_name(char c) {
    return (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z') || c == '_' || c == '.' ||
           c == '-' || (unsigned char)c >= 0x80;
}

static str take_name(reader *p) {
    size_t n = 0;
    skip_space(p);
    while (n < p->s.len && is_name(p->s.ptr[n])) n++;
    str name = str_sub(p->s, 0, n);
    p->s = str_sub(p->s, n, p->s.len);
    return name;
}

static bool put_hex(buf *out, str s, size_t *at, size_t n) {
    uint32_t v = 0;
    if (*at + n > s.len) return false;
    for (size_t i = 0; i < n; i++) {
        char c = s.ptr[(*at)++];
        uint32_t d = c >= '0' && c <= '9' ? (uint32_t)(c - '0') : (uint32_t)((c | 32) - 'a' + 10);
        if (d > 15) return false;
        v = v * 16 + d;
    }
    buf_put_utf8(out, v);
    return true;
}

static bool put_escape(buf *out, str s, size_t *at) {
    static const char NAMES[] = "abfnrtv", VALUES[] = "\a\b\f\n\r\t\v";
    char c = s.ptr[(*at)++];
    const char *known = c ? strchr(NAMES, c) : NULL;
    if (known)
        buf_put_char(out, VALUES[known - NAMES]);
    else if (c == '\\' || c == '\'' || c == '"')
        buf_put_char(out, c);
    else if (c == 'x' || c == 'u' || c == 'U')
        return put_hex(out, s, at, c == 'x' ? 2 : c == 'u' ? 4 : 8);
    else if (c != '\n')
        buf_putf(out, "\\%c", c);
    return true;
}

/* NULL: it does not end. */
static value *read_string(reader *p) {
    char quote = p->s.ptr[0];
    buf out = {0};
    bool good = true;
    size_t at = 1;
    while (good && at < p->s.len && p->s.ptr[at] != quote) {
        char c = p->s.ptr[at++];
        if (c != '\\')
            buf_put_char(&out, c);
        else
            good = at < p->s.len && put_escape(&out, p->s, &at);
    }
    good = good && at < p->s.len;
    value *v = good ? value_str(p->r->mem, buf_str(&out)) : NULL;
    buf_finish(&out);
    p->s = str_sub(p->s, good ? at + 1 : p->s.len, p->s.len);
    return v;
}

static value *read_value(reader *p);

static value *read_list(reader *p, char close) {
    value *list = value_list(p->r->mem), *v;
    while (!take(p, close)) {
        if (!(v = read_value(p))) return NULL;
        value_push(p->r->mem, list, v);
        skip_space(p);
        if (!take(p, ',') && !(p->s.len && p->s.ptr[0] == close)) return NULL;
    }
    return list;
}

static value *read_map(reader *p) {
    value *map = value_map(p->r->mem), *key, *v;
    while (!take(p, '}')) {
        if (!(key = read_value(p)) || key->kind != VALUE_STR) return NULL;
        if (!take(p, ':') || !(v = read_value(p))) return NULL;
        value_set(p->r->mem, map, key->as.text, v);
        skip_space(p);
        if (!take(p, ',') && !(p->s.len && p->s.ptr[0] == '}')) return NULL;
    }
    return map;
}

/* True, None, a number; any other word is no value. */
static value *read_word(reader *p) {
    arena *a = p->r->mem;
    bool plus = take(p, '+');
    str word = take_name(p);
    value *v = NULL;
    if (plus && word.len == 0) return NULL;
    if (str_eq_nocase(word, STR("true")) || str_eq_nocase(word, STR("false")))
        return value_bool(a, (word.ptr[0] | 32) == 't');
    if (str_eq(word, STR("None")) || str_eq(word, STR("null"))) return value_null(a);
    if (word.len == 0 || value_json_read(a, word, &v, NULL) != ERR_OK) {
        double number;
        return str_to_f64(word, &number) ? value_float(a, number) : NULL;
    }
    return v;
}

static value *read_value(reader *p) {
    value *v;
    if (++p->depth > LIMIT_JSON_DEPTH) return NULL;
    skip_space(p);
    char c = p->s.len ? p->s.ptr[0] : '\0';
    if (c == '"' || c == '\'')
        v = read_string(p);
    else if (take(p, '['))
        v = read_list(p, ']');
    else if (take(p, '('))
        v = read_list(p, ')');
    else
        v = take(p, '{') ? read_map(p) : read_word(p);
    p->depth--;
    return v;
}

/* The name of a tool's parameter number i, for arguments without a name. */
static str parameter_name(reply *r, str tool, size_t i) {
    for (size_t k = 0; r->tools && k < r->tools->as.list.len; k++) {
        const value *fn = value_get(r->tools->as.list.items[k], STR("function"));
        const value *name = value_get(fn, STR("name"));
        const value *all = value_get(value_get(fn, STR("parameters")), STR("properties"));
        if (!name || name->kind != VALUE_STR || !str_eq(name->as.text, tool)) continue;
        if (all && all->kind == VALUE_MAP && i < all->as.map.len) return all->as.map.pairs[i].key;
    }
    return (str){0};
}

static value *read_arguments(reader *p, str tool) {
    value *map = value_map(p->r->mem), *v;
    for (size_t i = 0; !take(p, ')'); i++) {
        str before = p->s, key = take_name(p);
        if (key.len == 0 || !take(p, '=')) {
            p->s = before;
            key = parameter_name(p->r, tool, i);
        }
        if (key.len == 0 || !(v = read_value(p))) return NULL;
        value_set(p->r->mem, map, key, v);
        skip_space(p);
        if (!take(p, ',') && !(p->s.len && p->s.ptr[0] == ')')) return NULL;
    }
    return map;
}

bool reply_python_calls(reply *r, str text, bool known) {
    enum { CALLS_MAX = 64 };
    struct {
        str name;
        value *arguments;
    } calls[CALLS_MAX];
    size_t n = 0;
    reader p = {.r = r, .s = str_trim(text)};
    bool list = str_starts(p.s, STR("[")) && str_ends(p.s, STR("]"));
    if (list) p.s = str_sub(p.s, 1, p.s.len - 1);
    for (skip_space(&p); p.s.len; skip_space(&p)) {
        str name = take_name(&p);
        if (n == CALLS_MAX || name.len == 0 || !take(&p, '(')) return false;
        if (known && !reply_has_tool(r, name)) return false;
        value *arguments = read_arguments(&p, name);
        if (!arguments) return false;
        calls[n].name = name;
        calls[n++].arguments = arguments;
        while (take(&p, ',') || take(&p, ';')) continue;
    }
    for (size_t i = 0; i < n; i++) {
        str name = str_dup(r->mem, calls[i].name);
        reply_call(r, name, calls[i].arguments);
    }
    return n > 0;
}

/* Once the text cannot become a list of calls, nothing is gained by holding it. */
bool reply_python_hopeless(str body) {
    size_t i = 1;
    while (i < body.len && strchr(" \n\t\r", body.ptr[i])) i++;
    size_t from = i;
    while (i < body.len && is_name(body.ptr[i])) i++;
    return i < body.len && body.ptr[i] != '(' && !(i == from && body.ptr[i] == '{');
}

void reply_body_list(reply *r) {
    bool known = r->state->use == REPLY_USE_JSON && r->state->then_known;
    if (!reply_json_calls(r, reply_body(r), known) && !reply_python_calls(r, reply_body(r), known))
        reply_give_up(r);
}

/* ---- lfm2 ---- */

#define LFM2_CALLS                                                                                 \
    { .text = "<|tool_call_start|>", .next = &LFM2_OPEN, .need = REPLY_TOOLS }

static const reply_state LFM2_OPEN, LFM2_LIST, LFM2_BEHIND, LFM2_CONTENT, LFM2_START, LFM2_THINKING;
static const reply_state LFM2_OPEN = {.use = REPLY_USE_SKIP,
                                      .awaits_call = true,
                                      .marks = {{.text = "[", .next = &LFM2_LIST, .stays = true},
                                                {.text = "{", .next = &LFM2_LIST, .stays = true}},
                                      .otherwise = &LFM2_CONTENT};
static const reply_state LFM2_LIST = {
    .use = REPLY_USE_JSON, .python = true, .whole = reply_body_list, .then = &LFM2_BEHIND};
static const reply_state LFM2_BEHIND = {
    .use = REPLY_USE_SKIP,
    .fresh = true,
    .marks = {LFM2_CALLS, {.text = "<|tool_call_end|>", .next = &LFM2_BEHIND, .act = reply_forget}},
    .otherwise = &LFM2_CONTENT};
static const reply_state LFM2_CONTENT = {.use = REPLY_USE_CONTENT, .marks = {LFM2_CALLS}};
static const reply_state LFM2_THINKING = {.use = REPLY_USE_THINKING,
                                          .marks = {{.next = &LFM2_CONTENT}}};
static const reply_state LFM2_START = {.use = REPLY_USE_CONTENT,
                                       .marks = {LFM2_CALLS, REPLY_OPEN_THINK(&LFM2_THINKING)},
                                       .otherwise = &LFM2_CONTENT};
const reply_format reply_lfm2 = {
    .name = "lfm2", .start = &LFM2_START, .past = &LFM2_CONTENT, .thinks = true, .calls = true};

/* ---- olmo 3 ---- */

static void take_lines(reply *r) {
    if (!reply_python_calls(r, reply_body(r), false)) reply_give_up(r);
}

#define OLMO3_CALLS                                                                                \
    { .text = "<function_calls>", .next = &OLMO3_BODY, .need = REPLY_TOOLS }

static const reply_state OLMO3_BODY, OLMO3_CONTENT, OLMO3_START, OLMO3_THINKING;
static const reply_state OLMO3_BODY = {
    .use = REPLY_USE_BODY,
    .marks = {{.text = "</function_calls>", .next = &OLMO3_CONTENT, .act = take_lines}},
    .whole = take_lines,
    .then = &OLMO3_CONTENT};
static const reply_state OLMO3_CONTENT = {.use = REPLY_USE_CONTENT, .marks = {OLMO3_CALLS}};
static const reply_state OLMO3_THINKING = {.use = REPLY_USE_THINKING,
                                           .marks = {{.next = &OLMO3_CONTENT}}};
static const reply_state OLMO3_START = {.use = REPLY_USE_CONTENT,
                                        .marks = {OLMO3_CALLS, REPLY_OPEN_THINK(&OLMO3_THINKING)},
                                        .otherwise = &OLMO3_CONTENT};
const reply_format reply_olmo3 = {
    .name = "olmo3", .start = &OLMO3_START, .past = &OLMO3_CONTENT, .thinks = true, .calls = true};
