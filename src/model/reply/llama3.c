/* llama 3.x and 4: an answer that is nothing but JSON calls, {"name", "parameters"}, one or several
 * with `;` between them, perhaps behind <|python_tag|>; or a list of calls as Python, perhaps
 * between <|python_start|> and <|python_end|>. */
#include "model/reply/reply_impl.h"

static const reply_state CALL, LIST, TAG, BEHIND, START, THINKING;
static const reply_state CALL = {
    .use = REPLY_USE_JSON, .whole = reply_body_known_calls, .then = &BEHIND};
static const reply_state LIST = {.use = REPLY_USE_JSON,
                                 .python = true,
                                 .then_known = true,
                                 .whole = reply_body_list,
                                 .then = &BEHIND};
static const reply_state TAG = {.use = REPLY_USE_SKIP,
                                .marks = {{.text = "{", .next = &CALL, .stays = true},
                                          {.text = "[", .next = &LIST, .stays = true}},
                                .otherwise = &reply_content};
static const reply_state BEHIND = {
    .use = REPLY_USE_SKIP,
    .fresh = true,
    .marks = {{.text = ";", .next = &BEHIND},
              {.text = ",", .next = &BEHIND},
              {.text = "<|python_tag|>", .next = &TAG},
              {.text = "<|python_start|>", .next = &TAG},
              {.text = "<|python_end|>", .next = &BEHIND, .act = reply_forget},
              {.text = "[", .next = &LIST, .stays = true},
              {.text = "{", .next = &CALL, .stays = true}},
    .otherwise = &reply_content};
static const reply_state START = {
    .use = REPLY_USE_CONTENT,
    .marks = {{.text = "<|python_tag|>", .next = &TAG, .need = REPLY_TOOLS},
              {.text = "<|python_start|>", .next = &TAG, .need = REPLY_TOOLS},
              {.text = "{", .next = &CALL, .need = REPLY_TOOLS, .stays = true},
              {.text = "[", .next = &LIST, .need = REPLY_TOOLS, .stays = true},
              REPLY_OPEN_THINK(&THINKING)},
    .otherwise = &reply_content};
static const reply_state THINKING = {.use = REPLY_USE_THINKING, .marks = {{.next = &START}}};

const reply_format reply_llama3 = {
    .name = "llama3", .start = &START, .past = &START, .thinks = true, .calls = true};
