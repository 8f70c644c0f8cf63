/* command-r and its successors: a list of JSON calls between <|START_ACTION|> and <|END_ACTION|>,
 * or in a fence behind "Action:"; the answer between <|START_RESPONSE|> and <|END_RESPONSE|>,
 * thinking before both. */
#include "model/reply/reply_impl.h"

#define CALLS                                                                                      \
    {.text = "<|START_ACTION|>", .next = &CALL, .need = REPLY_TOOLS},                              \
        {.text = "Action:", .next = &ACTION, .need = REPLY_TOOLS},                                 \
        {.text = "<|START_RESPONSE|>", .next = &CONTENT}, {                                        \
        .text = "<|END_RESPONSE|>", .next = &CONTENT                                               \
    }

static void take_calls(reply *r);
static const reply_state CALL, ACTION, FENCE, CONTENT, START, THINKING;

/* [{"tool_call_id", "tool_name", "parameters"}] */
static void take_calls(reply *r) {
    value *v = value_list(r->mem);
    const value *list = reply_json_list(r, reply_body(r));
    for (size_t i = 0; list && i < list->as.list.len; i++) {
        const value *name = value_get(list->as.list.items[i], STR("tool_name"));
        const value *arguments = value_get(list->as.list.items[i], STR("parameters"));
        if (!name || name->kind != VALUE_STR || (arguments && arguments->kind != VALUE_MAP)) {
            reply_give_up(r);
            return;
        }
        value_push(r->mem, v, list->as.list.items[i]);
    }
    if (v->as.list.len == 0) {
        reply_give_up(r);
        return;
    }
    for (size_t i = 0; i < v->as.list.len; i++) {
        const value *arguments = value_get(v->as.list.items[i], STR("parameters"));
        reply_call(r, value_get(v->as.list.items[i], STR("tool_name"))->as.text,
                   arguments ? arguments : value_map(r->mem));
    }
}

static const reply_state CALL = {
    .use = REPLY_USE_BODY,
    .marks = {{.text = "<|END_ACTION|>", .next = &CONTENT, .act = take_calls}},
    .whole = take_calls,
    .then = &CONTENT};
static const reply_state ACTION = {
    .use = REPLY_USE_SKIP,
    .marks = {{.text = "```json", .next = &FENCE}, {.text = "```", .next = &FENCE}},
    .otherwise = &CONTENT};
static const reply_state FENCE = {.use = REPLY_USE_BODY,
                                  .marks = {{.text = "```", .next = &CONTENT, .act = take_calls}},
                                  .whole = take_calls,
                                  .then = &CONTENT};
static const reply_state CONTENT = {.use = REPLY_USE_CONTENT, .marks = {CALLS}};
static const reply_state THINKING = {.use = REPLY_USE_THINKING, .marks = {{.next = &CONTENT}}};
static const reply_state START = {
    .use = REPLY_USE_CONTENT, .marks = {CALLS, REPLY_OPEN_THINK(&THINKING)}, .otherwise = &CONTENT};

const reply_format reply_cohere = {
    .name = "cohere", .start = &START, .past = &CONTENT, .thinks = true, .calls = true};
