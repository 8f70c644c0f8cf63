/* Chat templates: a list of messages to the text a model was trained on.
 *
 * A chat_template belongs to a loaded model and is immutable: any number of threads may render at
 * once. What users wrote stays untrusted in the segments; the template's own text, bos and eos and
 * the well-known role names are trusted (some templates build their control tokens from roles).
 *
 * Variables a template gets: messages, tools (undefined when there are none; functions: as JSON),
 * add_generation_prompt, bos_token, eos_token, enable_thinking and thinking (when think is set),
 * reasoning_effort (when think_level is), date_string. Messages get content "" when they have none,
 * reasoning_content beside thinking, name beside tool_name, and ids for tool calls. */
#pragma once
#include "base/err.h"
#include "base/value.h"
#include "model/tok.h"

typedef struct chat_template chat_template;

typedef struct chat_input {
    const value *messages;      /* list of maps: role, content, thinking, tool_calls, ... */
    const value *tools;         /* list; NULL or empty = none */
    bool add_generation_prompt; /* ignored with continue_last */
    bool continue_last;         /* the text ends inside the last message, an assistant's */
    int think;                  /* -1 unset, 0 off, 1 on */
    str think_level;            /* "low", "medium", "high" or empty */
    str override_template;      /* Jinja or Go; replaces the model's own when not empty */
    str suffix;                 /* text behind the place to fill; Go templates only */
    int64_t now_unix;           /* local time as seconds since 1970; 0 = unknown */
} chat_input;

/* `source` is the model's Jinja template, empty for a base model, which then gets the contents of
 * all messages, one per line. Never fails for a broken template: it is returned all the same, and
 * chat_render gives its error. Copies all three texts. */
err_code chat_create(str source, str bos_text, str eos_text, chat_template **ret, err *e);
void chat_destroy(chat_template **t); /* NULL and *t == NULL allowed */

/* The mistake of a broken template. */
err_code chat_check(const chat_template *t, err *e);
str chat_source(const chat_template *t); /* the text it was made from */
bool chat_has_tools(const chat_template *t);
bool chat_has_thinking(const chat_template *t);
bool chat_has_system(const chat_template *t);  /* a system message reaches the text by itself */
bool chat_is_fallback(const chat_template *t); /* there is no template */

/* Renders into `a`, all of *ret lives there. A template that refuses the order of roles or a system
 * message is tried again with the system message put in front of the first user message and
 * neighbours of one role joined. INVALID: refused by the template, or messages that make no sense;
 * FORMAT: a mistake in the template; LIMIT: see base/limits.h. */
err_code chat_render(const chat_template *t, const chat_input *in, arena *a,
                     const tok_segment **ret, size_t *ret_n, err *e);
