/* harmony (gpt-oss): messages with a header, <|channel|>analysis<|message|>...<|end|>. The analysis
 * is thinking, `final` and a commentary to nobody are content, a message to=functions.name is a
 * call whose arguments are JSON. The prompt ends with <|start|>assistant, so the first header
 * begins without that. Source: the published description of the harmony response format. */
#include "model/reply/reply_impl.h"

enum { HEADER_BYTES = 512 }; /* longer ones are text */

static const reply_state HEADER, BETWEEN, ANALYSIS, TEXT, ARGUMENTS;

/* The header is complete: where does its message belong? */
static void take_header(reply *r) {
    str h = reply_body(r), to = STR("to=functions.");
    ptrdiff_t at = str_find(h, to);
    if (at >= 0) {
        str name = str_sub(h, (size_t)at + to.len, h.len);
        size_t n = 0;
        while (n < name.len && name.ptr[n] != ' ' && name.ptr[n] != '<') n++;
        buf_clear(&r->name);
        buf_put_str(&r->name, str_sub(name, 0, n));
        buf raw = r->raw; /* stays until the call is whole */
        r->raw = (buf){0};
        reply_go(r, &ARGUMENTS);
        r->raw = raw;
        return;
    }
    bool thinks = str_find(h, STR("analysis")) >= 0;
    reply_go(r, thinks ? &ANALYSIS : &TEXT);
    r->said = false;
    if (!thinks) r->past_thinking = true;
}

/* The answer ended inside a header: there is nothing in it to show. */
static void drop_header(reply *r) {
    if (str_starts(str_trim(reply_body(r)), STR("<|")) || str_starts(buf_str(&r->raw), STR("<|")))
        buf_clear(&r->raw);
    reply_give_up(r);
}

static void take_arguments(reply *r) {
    const value *arguments = reply_json_arguments(r, reply_body(r));
    if (arguments && r->name.len)
        reply_call(r, buf_str(&r->name), arguments);
    else
        reply_give_up(r);
}

static const reply_state HEADER = {
    .use = REPLY_USE_BODY,
    .marks = {{.text = "<|message|>", .next = &TEXT, .act = take_header},
              {.text = "<|start|>", .next = &HEADER}},
    .whole = drop_header,
    .most = HEADER_BYTES};
static const reply_state BETWEEN = {
    .use = REPLY_USE_SKIP,
    .fresh = true,
    .marks = {{.text = "<|start|>", .next = &HEADER},
              {.text = "<|channel|>", .next = &HEADER, .stays = true}},
    .otherwise = &TEXT};

#define ENDS                                                                                       \
    {.text = "<|end|>", .next = &BETWEEN}, {.text = "<|return|>", .next = &BETWEEN},               \
        {.text = "<|call|>", .next = &BETWEEN}, {.text = "<|start|>", .next = &HEADER}, {          \
        .text = "<|channel|>", .next = &HEADER, .stays = true                                      \
    }

static const reply_state ANALYSIS = {.use = REPLY_USE_THINKING, .marks = {ENDS}};
static const reply_state TEXT = {.use = REPLY_USE_CONTENT, .marks = {ENDS}};
static const reply_state ARGUMENTS = {
    .use = REPLY_USE_BODY,
    .marks = {{.text = "<|end|>", .next = &BETWEEN, .act = take_arguments},
              {.text = "<|call|>", .next = &BETWEEN, .act = take_arguments},
              {.text = "<|start|>", .next = &HEADER, .act = take_arguments}},
    .whole = take_arguments,
    .then = &BETWEEN};
/* " to=functions.x<|channel|>..." is a header too; words are an answer without one. */
static const reply_state START = {
    .use = REPLY_USE_SKIP,
    .marks = {{.text = "<|channel|>", .next = &HEADER, .stays = true},
              {.text = "<|start|>", .next = &HEADER},
              {.text = "to=functions.", .next = &HEADER, .stays = true},
              {.text = "<|message|>", .next = &TEXT}},
    .otherwise = &TEXT};

const reply_format reply_harmony = {.name = "harmony",
                                    .start = &START,
                                    .past = &START,
                                    .thinks = true,
                                    .calls = true,
                                    .opens_itself = true};
