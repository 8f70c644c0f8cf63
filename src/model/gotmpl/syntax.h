/* Tokens and the syntax tree of a Go template. Only model/gotmpl includes this. */
#pragma once
#include "base/buf.h"
#include "base/vec.h"
#include "model/gotmpl/gotmpl.h"

/* ---- lex.c ---- */

typedef enum go_token_kind {
    GO_T_ERROR, /* `text` is the message; the last token */
    GO_T_EOF,
    GO_T_TEXT,
    GO_T_LEFT,
    GO_T_RIGHT,
    GO_T_SPACE,
    GO_T_WORD,     /* a name or a keyword */
    GO_T_FIELD,    /* `text` without the dot */
    GO_T_VARIABLE, /* `text` without the dollar */
    GO_T_DOT,
    GO_T_NUMBER,
    GO_T_CHAR, /* as written, like STRING and RAW: with the quotes */
    GO_T_STRING,
    GO_T_RAW,
    GO_T_PIPE,
    GO_T_OPEN, /* ( */
    GO_T_CLOSE,
    GO_T_ASSIGN,
    GO_T_DECLARE,
    GO_T_OTHER /* any other printable character */
} go_token_kind;

typedef struct go_token {
    go_token_kind kind;
    int line;
    str text; /* of the source */
} go_token;

typedef VEC(go_token) go_tokens;

/* Comments are gone, trim marks have been applied. Messages live in `a`. */
void go_lex(str source, arena *a, go_tokens *ret);
bool go_is_word_start(uint32_t c); /* a letter or _ */

/* ---- the tree ---- */

typedef struct go_node go_node;
typedef struct go_pipe go_pipe;

typedef struct go_list { /* statements in order */
    go_node **items;
    size_t len, cap;
} go_list;

typedef enum go_operand_kind {
    GO_DOT,   /* . */
    GO_FIELD, /* .A.B */
    GO_VAR,   /* $x; `name` without the dollar */
    GO_CONST, /* a literal; nil: a NULL value */
    GO_PAREN, /* ( pipeline ) */
    GO_FUNC   /* a function by name */
} go_operand_kind;

typedef struct go_operand {
    go_operand_kind kind;
    str name;
    const value *constant;
    go_pipe *pipe;
    str *fields; /* [n_fields] behind it: .A.B */
    size_t n_fields;
} go_operand;

typedef struct go_command {
    go_operand *operands;
    size_t n;
} go_command;

struct go_pipe {
    int line;
    str vars[2]; /* set by := or = */
    int n_vars;
    bool declares; /* := */
    go_command *commands;
    size_t n;
};

typedef enum go_node_kind {
    GO_TEXT,
    GO_PRINT, /* or an assignment, which prints nothing */
    GO_IF,
    GO_RANGE,
    GO_WITH,
    GO_TEMPLATE,
    GO_BREAK,
    GO_CONTINUE
} go_node_kind;

struct go_node {
    go_node_kind kind;
    str text; /* TEXT; TEMPLATE: the name */
    go_pipe *pipe;
    go_list body, otherwise;
};

typedef struct go_define {
    str name;
    go_list body;
} go_define;

struct gotmpl {
    arena *mem;
    go_list body;
    VEC(go_define) defines;
    VEC(str) fields; /* every field name that is read */
};

/* A literal's value. False: it is none. */
bool go_read_number(arena *a, const go_token *t, const value **ret, const char **ret_why);
bool go_read_quoted(arena *a, str quoted, str *ret);

/* ---- func.c ---- */

/* What a running template has in hand. */
typedef struct go_env {
    arena *a;
    int64_t now_unix;
    err *e;
    int line; /* of the action at hand */
} go_env;

bool go_is_func(str name);
bool go_truth(const value *v);
/* FORMAT: v has no fields. What is missing is NULL, and so is every field of it. */
err_code go_field(const go_env *env, const value *v, str name, const value **ret);
/* args [n]; `and` and `or` are not here: they stop early. */
err_code go_call(go_env *env, str name, const value *const *args, size_t n, const value **ret);

/* ---- format.c ---- */

const char *go_type_name(const value *v);
/* v as an action prints it: nothing for what is missing. *trusted is cleared when part of it is not
 * ours. */
str go_text(arena *a, const value *v, bool *trusted);
/* The same as print and %v do it: what is nil is <nil>. */
void go_put_value(buf *out, const value *v, bool *trusted);
void go_put_float(buf *out, double v);
bool go_is_printable(uint32_t c);
/* fmt.Sprintf of Go. */
void go_printf(buf *out, str format, const value *const *args, size_t n, bool *trusted);
