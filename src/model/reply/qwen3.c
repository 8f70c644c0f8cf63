/* qwen3 and all who write calls as hermes did: <tool_call>{"name", "arguments"}</tool_call>,
 * thinking before them. The JSON decides where a call ends, so its strings may hold the mark.
 * qwen3_coder.c reads the calls that are no JSON. */
#include "model/reply/reply_impl.h"
#include "model/reply/xml.h"

#define CALLS                                                                                      \
    { .text = "<tool_call>", .next = &OPEN, .need = REPLY_TOOLS }

static const reply_state OPEN, CALL, WORDS, BEHIND, CONTENT, START, THINKING;
static const reply_state OPEN = {.use = REPLY_USE_SKIP,
                                 .awaits_call = true,
                                 .marks = {{.text = "{", .next = &CALL, .stays = true},
                                           {.text = "[", .next = &CALL, .stays = true}},
                                 .otherwise = &WORDS};
static const reply_state CALL = {.use = REPLY_USE_JSON, .whole = reply_body_calls, .then = &BEHIND};
/* <function=name> or name and <arg_key>: relatives write so. */
static const reply_state WORDS = {
    .use = REPLY_USE_BODY,
    .marks = {{.text = "</tool_call>", .next = &BEHIND, .act = reply_body_xml}},
    .whole = reply_body_xml,
    .then = &BEHIND};
static const reply_state BEHIND = {
    .use = REPLY_USE_SKIP,
    .fresh = true,
    .marks = {CALLS,
              {.text = "</tool_call>", .next = &BEHIND, .act = reply_forget},
              {.text = "{", .next = &CALL, .stays = true}},
    .otherwise = &CONTENT};
static const reply_state CONTENT = {.use = REPLY_USE_CONTENT, .marks = {CALLS}};
static const reply_state THINKING = {.use = REPLY_USE_THINKING, .marks = {{.next = &CONTENT}}};
static const reply_state START = {
    .use = REPLY_USE_CONTENT, .marks = {CALLS, REPLY_OPEN_THINK(&THINKING)}, .otherwise = &CONTENT};

const reply_format reply_qwen3 = {.name = "qwen3",
                                  .start = &START,
                                  .past = &CONTENT,
                                  .thinks = true,
                                  .calls = true,
                                  .call_mark = "<tool_call>\n",
                                  .behind_mark = &OPEN};
