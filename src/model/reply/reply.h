/* Reading what a model says: which of it is meant for the reader, which is the model's thinking,
 * and which is a call of a tool.
 *
 * Families write these differently; each way is a format with a name ("qwen3", "harmony" ...): a
 * table of states and of the marks that lead from one to the next (reply_impl.h). Text goes in as
 * it is generated, in pieces of any size, and the result does not depend on how it was cut. A mark
 * that may still become whole is held back, and so is white space that may stand before a mark.
 * What looks like a call and is none comes out as content, word for word: no text is ever lost,
 * white space next to marks aside. Owner: one request. Threads: one. */
#pragma once
#include "base/buf.h"
#include "base/value.h"

typedef struct reply reply;

/* How a family writes a call whose arguments are not one JSON object. Line breaks in these may be
 * missing. Values of text (reply_argument_is_text) stand as they are, others as JSON. */
typedef struct reply_call_form {
    const char *mark;                 /* before the call */
    const char *open, *named;         /* before and behind the tool's name */
    const char *key, *keyed, *valued; /* around each argument's name and value */
    const char *close;                /* where the call is whole */
} reply_call_form;

typedef enum reply_kind { REPLY_CONTENT, REPLY_THINKING, REPLY_CALL } reply_kind;

typedef struct reply_event {
    reply_kind kind;
    str text;               /* CONTENT, THINKING: whole characters if whole ones were put in */
    str name;               /* CALL */
    const value *arguments; /* CALL: a map, keys in the model's order */
} reply_event;

typedef struct reply_spec {
    const char *format; /* a name from reply_pick or reply_find */
    /* The chat template: which marks its thinking has. May be empty: <think>. */
    str template_text;
    /* The end of the rendered prompt: a template may have opened the thinking itself. */
    str prompt;
    const value *tools;                            /* list; NULL = calls are not looked for */
    bool thinks;                                   /* thinking is looked for */
    void (*put)(void *arg, const reply_event *ev); /* borrowed; valid during the call */
    void *arg;
} reply_spec;

/* The format that a chat template's text suggests; "plain" when it knows neither tools nor
 * thinking. Never NULL. */
const char *reply_pick(str template_text);
/* By name, as Modelfiles give it (PARSER); names of close relatives are known too. NULL: unknown.
 */
const char *reply_find(str name);
/* What a format knows. */
bool reply_can_think(const char *format);
bool reply_can_call(const char *format);

reply *reply_create(const reply_spec *spec); /* template_text and prompt are read at once only */
void reply_destroy(reply **r);               /* NULL and *r == NULL allowed */

void reply_put(reply *r, str text);
void reply_end(reply *r); /* nothing follows: what is held comes out */

/* The text of a control token: whether it is one of the format's marks. Others are not shown. */
bool reply_knows_mark(const reply *r, str text);
/* The answer proper begins with the next text: thinking is over or will not come. From here on a
 * grammar can hold. */
bool reply_is_ready(const reply *r);
/* The next text is a call in its form: the mark is complete and nothing came since. */
bool reply_awaits_call(const reply *r);
/* A mark that only calls begin with has been read; a bracket may be content as well. */
bool reply_is_calling(const reply *r);
/* The i-th text that a call may begin with where an answer begins: a mark, or "{" for JSON and "["
 * for a list that is Python or JSON; *ret_form: a call in its form comes behind it. Empty: there
 * are no more; none at all when the format's own headers tell calls from content. */
str reply_call_mark(const reply *r, size_t i, bool *ret_form);
/* The mark that opens thinking, to be put behind a prompt whose answer must be held to a form only
 * after the thinking; empty: the format opens it by itself, or it is open already. */
str reply_think_mark(const reply *r);

/* How this template's model writes calls; NULL: as JSON, {"name": ..., "arguments": ...}. */
const reply_call_form *reply_form(const reply *r);
/* Whether an argument of this schema (NULL: unknown) is written as it is, and not as JSON. */
bool reply_argument_is_text(const value *schema);

/* From here on the text is one call in that form. Returns the mark that stands before it, which the
 * model must be made to read; may be empty. */
str reply_expect_call(reply *r);
