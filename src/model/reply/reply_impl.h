/* The machine behind reply.h. Only model/reply includes this.
 *
 * A format is a set of states. In each, text is used in one way until one of the state's marks
 * comes; of marks that begin at one place the longest counts. Everything between leaving content
 * and a finished call is also kept word for word in `raw`: reply_give_up makes it content. */
#pragma once
#include "base/err.h"
#include "model/reply/reply.h"

typedef enum reply_use {
    REPLY_USE_CONTENT,
    REPLY_USE_THINKING,
    REPLY_USE_BODY, /* collected */
    REPLY_USE_JSON, /* collected until the value is whole, then state->whole */
    REPLY_USE_SKIP  /* between marks: white space is dropped, anything else is `otherwise` */
} reply_use;

typedef struct reply_state reply_state;

typedef enum reply_need { REPLY_ALWAYS, REPLY_TOOLS, REPLY_THINK } reply_need;

typedef struct reply_mark {
    const char *text; /* NULL: the mark that opens (OPEN) or closes (CLOSE) thinking */
    const reply_state *next;
    reply_need need;
    bool stays;            /* it is the first part of the next body */
    void (*act)(reply *r); /* with the body so far, before the state changes */
} reply_mark;

enum { REPLY_MARKS = 12 };

struct reply_state {
    reply_use use;
    reply_mark marks[REPLY_MARKS]; /* the first without text and next ends the list */
    const reply_state *otherwise;  /* anything but white space and marks leads there */
    void (*whole)(reply *r);       /* JSON: the value is whole; BODY: the text ended here */
    const reply_state *then;       /* behind `whole`, unless that went elsewhere */
    bool python;                   /* JSON: Python's strings and brackets count as well */
    bool then_known;               /* for reply_body_list: names of tools only */
    size_t most;                   /* BODY: bytes; more are text after all. 0 = no bound */
    bool fresh;                    /* what led here is done with: raw begins anew */
    bool awaits_call;              /* a call in its form comes next */
};

typedef struct reply_format {
    const char *name;
    const reply_state *start;
    const reply_state *past; /* start, but behind the thinking */
    bool thinks, calls;
    bool opens_itself;     /* thinking begins by the model's own header, never by a prompt's mark */
    const char *call_mark; /* before a call as JSON; NULL = nothing */
    const reply_state *behind_mark; /* of calls in words */
} reply_format;

struct reply {
    const reply_format *f;
    const reply_state *state;
    str open, close; /* marks of thinking; static */
    const reply_call_form *form;
    arena *mem; /* tools, and what a call is made of */
    const value *tools;
    bool thinks, ended, past_thinking, was_open;
    void (*put)(void *arg, const reply_event *ev);
    void *arg;
    buf held;  /* not looked at yet */
    buf space; /* white space that may stand before a mark */
    buf body;  /* of BODY and JSON */
    buf raw;
    buf name;   /* a format's own */
    bool said;  /* something was given out in this state: its leading white space counts */
    int depth;  /* of JSON */
    char quote; /* of the string that is open, or 0 */
    bool escaped;
    bool marked; /* a mark of a call was read */
    bool moved;  /* act or whole chose the state itself */
};

#define REPLY_OPEN_THINK(to)                                                                       \
    { .text = "", .next = (to), .need = REPLY_THINK }

/* The form that a format's calls have in this template; NULL: JSON. */
const reply_call_form *reply_form_of(const reply_format *f, str template_text);

/* For act and whole. */
void reply_go(reply *r, const reply_state *s); /* instead of the mark's or state's own */
void reply_call(reply *r, str name, const value *arguments);
void reply_forget(reply *r);  /* raw is done with: a mark that closes a call */
void reply_give_up(reply *r); /* raw was no call: it is content */
str reply_body(const reply *r);
bool reply_has_tool(const reply *r, str name);
/* The schema of a parameter of a tool, or NULL. */
const value *reply_parameter(const reply *r, str tool, str name);

/* A call or a list of calls as JSON: {"name", "arguments" or "parameters"} and relatives. False:
 * it is none, and nothing was given out. `known`: the tools' names only. */
bool reply_json_calls(reply *r, str text, bool known);
/* The body as JSON calls; gives up when it is none. */
void reply_body_calls(reply *r);
void reply_body_known_calls(reply *r);
/* The same for calls written as Python, alone or in a list. */
bool reply_python_calls(reply *r, str text, bool known);
bool reply_python_hopeless(str body); /* no list of either begins so */
void reply_body_list(reply *r);       /* JSON or Python */
/* Arguments as a JSON object, which may be missing. NULL: they are something else. */
const value *reply_json_arguments(reply *r, str text);
const value *reply_json_list(reply *r, str text); /* NULL: it is no list */

extern const reply_state reply_content; /* plain content to the end */
extern const reply_state reply_forced;  /* one call as JSON */

extern const reply_format reply_plain, reply_think, reply_harmony, reply_qwen3, reply_qwen3_coder,
    reply_gemma, reply_functiongemma, reply_deepseek, reply_mistral, reply_llama3, reply_json,
    reply_cohere, reply_lfm2, reply_olmo3, reply_kimi, reply_minimax, reply_apertus;
