/* The syntax tree of a Go template. Only model/gotmpl includes this. */
#pragma once
#include "base/buf.h"
#include "base/vec.h"
#include "model/gotmpl/gotmpl.h"

typedef struct go_node go_node;
typedef struct go_pipe go_pipe;

typedef struct go_list { /* statements in order */
    go_node **items;
    size_t len, cap;
} go_list;

typedef enum go_operand_kind {
    GO_DOT,   /* . */
    GO_VAR,   /* $x; `name` without the dollar */
    GO_CONST, /* a literal */
    GO_PAREN, /* ( pipeline ) */
    GO_FUNC   /* a function by name */
} go_operand_kind;

typedef struct go_operand {
    go_operand_kind kind;
    str name;
    const value *constant; /* NULL = nil */
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

/* ---- func.c ---- */

/* What a running template has in hand. */
typedef struct go_env {
    arena *a;
    int64_t now_unix;
    err *e;
} go_env;

bool go_is_func(str name);
bool go_truth(const value *v);
/* The text of a value as printing shows it; *trusted is cleared when part of it is not ours. */
str go_text(arena *a, const value *v, bool *trusted);
const value *go_field(const value *v, str name);
/* args [n]; `and` and `or` are not here: they stop early. */
err_code go_call(go_env *env, str name, const value *const *args, size_t n, const value **ret);
