/* gemma: call:name{key:value,...} between marks, with bare keys and strings in quotes of their own.
 * functiongemma has <start_function_call> and <escape>; gemma 4 has <|tool_call>, <|"|> and
 * thinking in a channel. */
#include "base/limits.h"
#include "base/value_json.h"
#include "model/reply/reply_impl.h"
#include <string.h>

/* ---- arguments ---- */

typedef struct reader {
    arena *a;
    str s; /* what is left */
    int depth;
} reader;

static void skip_space(reader *r) {
    while (r->s.len && strchr(" \n\t\r", r->s.ptr[0])) r->s = str_sub(r->s, 1, r->s.len);
}

static bool take(reader *r, const char *text) {
    skip_space(r);
    if (!str_starts(r->s, str_from(text))) return false;
    r->s = str_sub(r->s, strlen(text), r->s.len);
    return true;
}

static bool quoted(reader *r, const char *quote, str *ret) {
    if (!take(r, quote)) return false;
    ptrdiff_t end = str_find(r->s, str_from(quote));
    if (end < 0) return false;
    *ret = str_sub(r->s, 0, (size_t)end);
    r->s = str_sub(r->s, (size_t)end + strlen(quote), r->s.len);
    return true;
}

static value *read_value(reader *r);

static value *read_map(reader *r) {
    value *map = value_map(r->a), *v;
    while (!take(r, "}")) {
        str key = {0};
        if (!quoted(r, "<escape>", &key) && !quoted(r, "<|\"|>", &key) && !quoted(r, "\"", &key)) {
            ptrdiff_t colon = str_find_char(r->s, ':');
            if (colon < 0) return NULL;
            key = str_trim(str_sub(r->s, 0, (size_t)colon));
            r->s = str_sub(r->s, (size_t)colon, r->s.len);
        }
        if (!take(r, ":") || key.len == 0 || !(v = read_value(r))) return NULL;
        value_set(r->a, map, key, v);
        if (!take(r, ",") && !str_starts(r->s, STR("}"))) return NULL;
    }
    return map;
}

static value *read_list(reader *r) {
    value *list = value_list(r->a), *v;
    while (!take(r, "]")) {
        if (!(v = read_value(r))) return NULL;
        value_push(r->a, list, v);
        if (!take(r, ",") && !str_starts(r->s, STR("]"))) return NULL;
    }
    return list;
}

/* Words without quotes: JSON when they are, else a string. */
static value *read_bare(reader *r) {
    size_t n = 0;
    while (n < r->s.len && !strchr(",}]", r->s.ptr[n])) n++;
    str words = str_trim(str_sub(r->s, 0, n));
    value *v = NULL;
    r->s = str_sub(r->s, n, r->s.len);
    if (words.len == 0) return NULL;
    return value_json_read(r->a, words, &v, NULL) == ERR_OK ? v : value_str(r->a, words);
}

static value *read_value(reader *r) {
    static const char *const QUOTES[] = {"<escape>", "<|\"|>", "\""};
    str text = {0};
    if (++r->depth > LIMIT_JSON_DEPTH) return NULL;
    value *v = NULL;
    for (size_t i = 0; !v && i < COUNT_OF(QUOTES); i++)
        if (quoted(r, QUOTES[i], &text)) v = value_str(r->a, text);
    if (!v) v = take(r, "{") ? read_map(r) : take(r, "[") ? read_list(r) : read_bare(r);
    r->depth--;
    return v;
}

static void take_call(reply *r) {
    reader in = {.a = r->mem, .s = reply_body(r)};
    take(&in, "call:");
    ptrdiff_t brace = str_find_char(in.s, '{');
    str name = str_trim(str_sub(in.s, 0, brace < 0 ? in.s.len : (size_t)brace));
    in.s = str_sub(in.s, brace < 0 ? in.s.len : (size_t)brace, in.s.len);
    const value *arguments = brace < 0 ? value_map(r->mem) : take(&in, "{") ? read_map(&in) : NULL;
    if (arguments && name.len && str_trim(in.s).len == 0)
        reply_call(r, name, arguments);
    else
        reply_give_up(r);
}

/* ---- gemma 4 ---- */

#define CALLS                                                                                      \
    { .text = "<|tool_call>", .next = &CALL, .need = REPLY_TOOLS }

static const reply_state CALL, BEHIND, CONTENT, START, THINKING;
static const reply_state CALL = {
    .use = REPLY_USE_BODY,
    .marks = {{.text = "<tool_call|>", .next = &BEHIND, .act = take_call}},
    .whole = take_call,
    .then = &BEHIND};
static const reply_state BEHIND = {
    .use = REPLY_USE_SKIP, .fresh = true, .marks = {CALLS}, .otherwise = &CONTENT};
static const reply_state CONTENT = {.use = REPLY_USE_CONTENT, .marks = {CALLS}};
static const reply_state THINKING = {.use = REPLY_USE_THINKING, .marks = {{.next = &CONTENT}}};
static const reply_state START = {
    .use = REPLY_USE_CONTENT, .marks = {CALLS, REPLY_OPEN_THINK(&THINKING)}, .otherwise = &CONTENT};

const reply_format reply_gemma = {
    .name = "gemma", .start = &START, .past = &CONTENT, .thinks = true, .calls = true};

/* ---- functiongemma ---- */

#define FN_CALLS                                                                                   \
    { .text = "<start_function_call>", .next = &FN_CALL, .need = REPLY_TOOLS }

static const reply_state FN_CALL, FN_BEHIND, FN_CONTENT;
static const reply_state FN_CALL = {
    .use = REPLY_USE_BODY,
    .marks = {{.text = "<end_function_call>", .next = &FN_BEHIND, .act = take_call}},
    .whole = take_call,
    .then = &FN_BEHIND};
static const reply_state FN_BEHIND = {
    .use = REPLY_USE_SKIP, .fresh = true, .marks = {FN_CALLS}, .otherwise = &FN_CONTENT};
static const reply_state FN_CONTENT = {.use = REPLY_USE_CONTENT, .marks = {FN_CALLS}};

const reply_format reply_functiongemma = {
    .name = "functiongemma", .start = &FN_CONTENT, .past = &FN_CONTENT, .calls = true};
