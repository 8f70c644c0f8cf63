/* Calls between marks of their own, as some large models write them.
 * kimi: <|tool_call_begin|>functions.name:0<|tool_call_argument_begin|>{...}<|tool_call_end|>.
 * minimax: <minimax:tool_call><invoke name="f"><parameter name="k">v</parameter></invoke>..., and
 * deepseek 3.2 the same with other marks. apertus: a list of {"name": {arguments}}. */
#include "base/value_json.h"
#include "model/reply/xml.h"

/* ---- kimi ---- */

static void take_kimi(reply *r) {
    str body = reply_body(r), sep = STR("<|tool_call_argument_begin|>");
    ptrdiff_t at = str_find(body, sep);
    str name = str_trim(at < 0 ? body : str_sub(body, 0, (size_t)at));
    if (str_starts(name, STR("functions."))) name = str_sub(name, 10, name.len);
    ptrdiff_t colon = str_rfind_char(name, ':');
    if (colon >= 0) name = str_sub(name, 0, (size_t)colon);
    const value *arguments =
        at < 0 ? NULL : reply_json_arguments(r, str_sub(body, (size_t)at + sep.len, body.len));
    if (arguments && name.len)
        reply_call(r, str_dup(r->mem, name), arguments);
    else
        reply_give_up(r);
}

#define KIMI_CALLS                                                                                 \
    {.text = "<|tool_calls_section_begin|>", .next = &KIMI_LIST, .need = REPLY_TOOLS}, {           \
        .text = "<|tool_call_begin|>", .next = &KIMI_CALL, .need = REPLY_TOOLS                     \
    }

static const reply_state KIMI_CALL, KIMI_LIST, KIMI_CONTENT, KIMI_START, KIMI_THINKING;
static const reply_state KIMI_CALL = {
    .use = REPLY_USE_BODY,
    .marks = {{.text = "<|tool_call_end|>", .next = &KIMI_LIST, .act = take_kimi}},
    .whole = take_kimi,
    .then = &KIMI_LIST};
static const reply_state KIMI_LIST = {
    .use = REPLY_USE_SKIP,
    .marks = {{.text = "<|tool_call_begin|>", .next = &KIMI_CALL},
              {.text = "<|tool_calls_section_end|>", .next = &KIMI_CONTENT}},
    .otherwise = &KIMI_CONTENT};
static const reply_state KIMI_CONTENT = {.use = REPLY_USE_CONTENT, .marks = {KIMI_CALLS}};
static const reply_state KIMI_THINKING = {.use = REPLY_USE_THINKING,
                                          .marks = {{.next = &KIMI_CONTENT}}};
static const reply_state KIMI_START = {.use = REPLY_USE_CONTENT,
                                       .marks = {KIMI_CALLS, REPLY_OPEN_THINK(&KIMI_THINKING)},
                                       .otherwise = &KIMI_CONTENT};
const reply_format reply_kimi = {
    .name = "kimi", .start = &KIMI_START, .past = &KIMI_CONTENT, .thinks = true, .calls = true};

/* ---- minimax ---- */

static void take_invokes(reply *r) {
    if (!reply_invokes(r, reply_body(r))) reply_give_up(r);
}

#define BAR "\xef\xbd\x9c"
#define MINIMAX_CALLS                                                                              \
    {.text = "<minimax:tool_call>", .next = &MINIMAX_BODY, .need = REPLY_TOOLS}, {                 \
        .text = "<" BAR "DSML" BAR "function_calls>", .next = &DSML_BODY, .need = REPLY_TOOLS      \
    }

static const reply_state MINIMAX_BODY, DSML_BODY, MINIMAX_CONTENT, MINIMAX_START, MINIMAX_THINKING;
static const reply_state MINIMAX_BODY = {
    .use = REPLY_USE_BODY,
    .marks = {{.text = "</minimax:tool_call>", .next = &MINIMAX_CONTENT, .act = take_invokes}},
    .whole = take_invokes,
    .then = &MINIMAX_CONTENT};
static const reply_state DSML_BODY = {.use = REPLY_USE_BODY,
                                      .marks = {{.text = "</" BAR "DSML" BAR "function_calls>",
                                                 .next = &MINIMAX_CONTENT,
                                                 .act = take_invokes}},
                                      .whole = take_invokes,
                                      .then = &MINIMAX_CONTENT};
static const reply_state MINIMAX_CONTENT = {.use = REPLY_USE_CONTENT, .marks = {MINIMAX_CALLS}};
static const reply_state MINIMAX_THINKING = {.use = REPLY_USE_THINKING,
                                             .marks = {{.next = &MINIMAX_CONTENT}}};
static const reply_state MINIMAX_START = {
    .use = REPLY_USE_CONTENT,
    .marks = {MINIMAX_CALLS, REPLY_OPEN_THINK(&MINIMAX_THINKING)},
    .otherwise = &MINIMAX_CONTENT};
const reply_format reply_minimax = {.name = "minimax",
                                    .start = &MINIMAX_START,
                                    .past = &MINIMAX_CONTENT,
                                    .thinks = true,
                                    .calls = true};

/* ---- apertus ---- */

static void take_single_keys(reply *r) {
    const value *list = reply_json_list(r, reply_body(r));
    bool good = list && list->as.list.len > 0;
    for (size_t i = 0; good && i < list->as.list.len; i++) {
        const value *call = list->as.list.items[i];
        good = call->kind == VALUE_MAP && call->as.map.len == 1 &&
               call->as.map.pairs[0].val->kind == VALUE_MAP;
    }
    if (!good) {
        if (!reply_json_calls(r, reply_body(r), false)) reply_give_up(r);
        return;
    }
    for (size_t i = 0; i < list->as.list.len; i++) {
        const value_pair *call = &list->as.list.items[i]->as.map.pairs[0];
        reply_call(r, call->key, call->val);
    }
}

#define APERTUS_CALLS                                                                              \
    { .text = "<|tools_prefix|>", .next = &APERTUS_BODY, .need = REPLY_TOOLS }

static const reply_state APERTUS_BODY, APERTUS_CONTENT, APERTUS_START, APERTUS_THINKING;
static const reply_state APERTUS_BODY = {
    .use = REPLY_USE_BODY,
    .marks = {{.text = "<|tools_suffix|>", .next = &APERTUS_CONTENT, .act = take_single_keys}},
    .whole = take_single_keys,
    .then = &APERTUS_CONTENT};
static const reply_state APERTUS_CONTENT = {.use = REPLY_USE_CONTENT, .marks = {APERTUS_CALLS}};
static const reply_state APERTUS_THINKING = {.use = REPLY_USE_THINKING,
                                             .marks = {{.next = &APERTUS_CONTENT}}};
static const reply_state APERTUS_START = {
    .use = REPLY_USE_CONTENT,
    .marks = {APERTUS_CALLS, REPLY_OPEN_THINK(&APERTUS_THINKING)},
    .otherwise = &APERTUS_CONTENT};
const reply_format reply_apertus = {.name = "apertus",
                                    .start = &APERTUS_START,
                                    .past = &APERTUS_CONTENT,
                                    .thinks = true,
                                    .calls = true};
