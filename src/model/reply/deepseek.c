/* deepseek: thinking, then calls between marks of their own. V3 writes
 * function<sep>name, a fence of JSON; V3.1 writes name<sep>{...}. */
#include "model/reply/reply_impl.h"

#define BAR "\xef\xbd\x9c" /* full-width bar */
#define LOW "\xe2\x96\x81" /* lower one eighth block, a space in names of tokens */
#define MARK(words) "<" BAR words BAR ">"
#define CALLS_BEGIN MARK("tool" LOW "calls" LOW "begin")
#define CALLS_END MARK("tool" LOW "calls" LOW "end")
#define CALL_BEGIN MARK("tool" LOW "call" LOW "begin")
#define CALL_END MARK("tool" LOW "call" LOW "end")
#define SEP MARK("tool" LOW "sep")

static const reply_state CALL, LIST, CONTENT, START, THINKING;

/* What is between the fence's lines; the text itself when there is no fence. */
static str unfenced(str s) {
    ptrdiff_t at = str_find(s, STR("```"));
    if (at < 0) return s;
    s = str_sub(s, (size_t)at + 3, s.len);
    ptrdiff_t line = str_find_char(s, '\n');
    s = str_sub(s, line < 0 ? 0 : (size_t)line + 1, s.len);
    ptrdiff_t end = str_find(s, STR("```"));
    return end < 0 ? s : str_sub(s, 0, (size_t)end);
}

static void take_call(reply *r) {
    str body = reply_body(r), sep = STR(SEP);
    ptrdiff_t at = str_find(body, sep);
    if (at < 0) {
        reply_give_up(r);
        return;
    }
    str name = str_trim(str_sub(body, 0, (size_t)at));
    str rest = str_sub(body, (size_t)at + sep.len, body.len);
    if (str_eq(name, STR("function"))) {
        ptrdiff_t line = str_find_char(rest, '\n');
        name = str_trim(line < 0 ? rest : str_sub(rest, 0, (size_t)line));
        rest = line < 0 ? (str){0} : unfenced(str_sub(rest, (size_t)line, rest.len));
    }
    const value *arguments = reply_json_arguments(r, unfenced(rest));
    if (arguments && name.len)
        reply_call(r, name, arguments);
    else
        reply_give_up(r);
}

static const reply_state CALL = {.use = REPLY_USE_BODY,
                                 .marks = {{.text = CALL_END, .next = &LIST, .act = take_call}},
                                 .whole = take_call,
                                 .then = &LIST};
static const reply_state LIST = {
    .use = REPLY_USE_SKIP,
    .marks = {{.text = CALL_BEGIN, .next = &CALL}, {.text = CALLS_END, .next = &CONTENT}},
    .otherwise = &CONTENT};

#define CALLS                                                                                      \
    {.text = CALLS_BEGIN, .next = &LIST, .need = REPLY_TOOLS}, {                                   \
        .text = CALL_BEGIN, .next = &CALL, .need = REPLY_TOOLS                                     \
    }

static const reply_state CONTENT = {.use = REPLY_USE_CONTENT, .marks = {CALLS}};
static const reply_state THINKING = {.use = REPLY_USE_THINKING, .marks = {{.next = &CONTENT}}};
static const reply_state START = {
    .use = REPLY_USE_CONTENT, .marks = {CALLS, REPLY_OPEN_THINK(&THINKING)}, .otherwise = &CONTENT};

const reply_format reply_deepseek = {
    .name = "deepseek", .start = &START, .past = &CONTENT, .thinks = true, .calls = true};
