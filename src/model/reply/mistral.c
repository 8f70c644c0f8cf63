/* mistral: [TOOL_CALLS] and a list of JSON calls, or [TOOL_CALLS]name[ARGS]{...}, or
 * [TOOL_CALLS]name{...}, the mark again before each; thinking between [THINK] and [/THINK]. */
#include "model/reply/reply_impl.h"

#define CALLS                                                                                      \
    { .text = "[TOOL_CALLS]", .next = &HEAD, .need = REPLY_TOOLS }

static const reply_state HEAD, CALL_ID, LIST, ARGS, ARGS_MARK, BEHIND, CONTENT, START, THINKING;

static void keep_name(reply *r) {
    buf_clear(&r->name);
    buf_put_str(&r->name, str_trim(reply_body(r)));
}

static void take_list(reply *r) {
    if (!reply_json_calls(r, reply_body(r), false)) reply_give_up(r);
}

static void take_arguments(reply *r) {
    const value *arguments = reply_json_arguments(r, reply_body(r));
    if (arguments && r->name.len)
        reply_call(r, buf_str(&r->name), arguments);
    else
        reply_give_up(r);
}

static const reply_state HEAD = {
    .use = REPLY_USE_BODY,
    .marks = {{.text = "[ARGS]", .next = &ARGS_MARK, .act = keep_name},
              {.text = "[CALL_ID]", .next = &CALL_ID, .act = keep_name},
              {.text = "[", .next = &LIST, .stays = true},
              {.text = "{", .next = &ARGS, .stays = true, .act = keep_name}},
    .whole = reply_give_up,
    .most = 256};
static const reply_state CALL_ID = {
    .use = REPLY_USE_BODY,
    .marks = {{.text = "[ARGS]", .next = &ARGS_MARK}, {.text = "{", .next = &ARGS, .stays = true}},
    .whole = reply_give_up,
    .most = 256};
static const reply_state ARGS_MARK = {.use = REPLY_USE_SKIP,
                                      .marks = {{.text = "{", .next = &ARGS, .stays = true}},
                                      .otherwise = &CONTENT};
static const reply_state LIST = {.use = REPLY_USE_JSON, .whole = take_list, .then = &BEHIND};
static const reply_state ARGS = {.use = REPLY_USE_JSON, .whole = take_arguments, .then = &BEHIND};
static const reply_state BEHIND = {.use = REPLY_USE_SKIP,
                                   .fresh = true,
                                   .marks = {CALLS, {.text = ",", .next = &BEHIND}},
                                   .otherwise = &CONTENT};
static const reply_state CONTENT = {.use = REPLY_USE_CONTENT, .marks = {CALLS}};
static const reply_state THINKING = {.use = REPLY_USE_THINKING, .marks = {{.next = &CONTENT}}};
static const reply_state START = {
    .use = REPLY_USE_CONTENT, .marks = {CALLS, REPLY_OPEN_THINK(&THINKING)}, .otherwise = &CONTENT};

const reply_format reply_mistral = {
    .name = "mistral", .start = &START, .past = &CONTENT, .thinks = true, .calls = true};
