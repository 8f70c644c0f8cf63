/* Tokens and the syntax tree of a template, and what lex.c, parse.c and parse_expr.c share.
 * The tree lives in the template's arena and never changes once it is compiled. Internal to
 * model/jinja. */
#pragma once
#include "base/map.h"
#include "base/vec.h"
#include "model/jinja/jinja.h"
#include "model/jinja/jval.h"

/* ---- tokens ---- */

typedef enum jinja_tok_kind {
    JTOK_END,
    JTOK_TEXT,
    JTOK_VAR_BEGIN,
    JTOK_VAR_END,
    JTOK_BLOCK_BEGIN,
    JTOK_BLOCK_END,
    JTOK_NAME,
    JTOK_INT,
    JTOK_FLOAT,
    JTOK_STR, /* text: escapes already undone */
    JTOK_OP
} jinja_tok_kind;

typedef struct jinja_tok {
    jinja_tok_kind kind;
    int line;
    str text;
} jinja_tok;

typedef VEC(jinja_tok) jinja_toks;

/* Texts of tokens are borrowed from `source` or live in `a`. */
err_code jinja_lex(str source, arena *a, jinja_toks *ret, err *e);

/* ---- syntax tree ---- */

typedef enum jinja_node_kind {
    /* expressions */
    JN_CONST,
    JN_NAME,   /* id */
    JN_LIST,   /* kids */
    JN_TUPLE,  /* kids */
    JN_DICT,   /* kids: key, value, key, value ... */
    JN_ATTR,   /* a . name */
    JN_ITEM,   /* a [ b ] */
    JN_SLICE,  /* a [ kids[0] : kids[1] : kids[2] ], each may be NULL */
    JN_CALL,   /* a ( args ) */
    JN_FILTER, /* a | name ( args ); a NULL: the body of a filter block */
    JN_TEST,   /* a is name ( args ) */
    JN_BINARY, /* a op b */
    JN_NOT,
    JN_NEG,
    JN_POS,
    JN_AND,
    JN_OR,
    JN_COND, /* a if b else c (c may be NULL) */
    /* statements */
    JN_BODY,         /* kids */
    JN_TEXT,         /* text */
    JN_PRINT,        /* a */
    JN_EXPR,         /* a, value dropped */
    JN_SET,          /* a = b */
    JN_SET_BLOCK,    /* a = body b through filter c (or NULL) */
    JN_FOR,          /* for a in b if c: kids[0] else kids[1] */
    JN_IF,           /* if a: b else c */
    JN_MACRO,        /* id; params in kids (JN_NAME) with defaults in args.values; body a */
    JN_CALL_BLOCK,   /* call b with macro a as caller */
    JN_FILTER_BLOCK, /* body a through filter b */
    JN_WITH,         /* kids: target, value ...; body a */
    JN_BREAK,
    JN_CONTINUE
} jinja_node_kind;

typedef enum jinja_op {
    JOP_ADD,
    JOP_SUB,
    JOP_MUL,
    JOP_DIV,
    JOP_FLOOR,
    JOP_MOD,
    JOP_POW,
    JOP_CONCAT,
    JOP_EQ,
    JOP_NE,
    JOP_LT,
    JOP_LE,
    JOP_GT,
    JOP_GE,
    JOP_IN,
    JOP_NOT_IN
} jinja_op;

typedef struct jinja_node jinja_node;

typedef struct jinja_call { /* arguments; keyword arguments stand behind the others */
    jinja_node **values;
    const str *names; /* empty = positional */
    size_t n;
} jinja_call;

struct jinja_node {
    jinja_node_kind kind;
    jinja_op op;
    int line;
    uint32_t id;
    jinja_node *a, *b, *c;
    jinja_node **kids;
    size_t n_kids;
    str name;
    jinja_call args;
    jval val;  /* JN_CONST */
    jstr text; /* JN_TEXT; JN_CONST of a string points here */
};

struct jinja {
    arena *mem;
    map names; /* variable name -> id */
    jinja_node *root;
};

typedef struct jinja_parser {
    jinja *j;
    const jinja_tok *t; /* the current token; the last one is JTOK_END */
    int depth;          /* of nested expressions and blocks */
    int loops;          /* of open for blocks: break and continue need one */
    err *e;
} jinja_parser;

err_code jinja_parse(jinja_parser *p, jinja_node **ret);
jinja_node *jinja_node_new(jinja_parser *p, jinja_node_kind kind);
uint32_t jinja_name_id(jinja *j, str name);
#define JINJA_LOOP_ID 0u /* `loop` is the first name of every template */
err_code jinja_parse_fail(jinja_parser *p, err_code code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
bool jinja_at(const jinja_parser *p, jinja_tok_kind kind, const char *text);
bool jinja_take(jinja_parser *p, jinja_tok_kind kind, const char *text);
err_code jinja_expect(jinja_parser *p, jinja_tok_kind kind, const char *text);
err_code jinja_expr(jinja_parser *p, bool with_cond, jinja_node **ret);
err_code jinja_tuple_expr(jinja_parser *p, bool with_cond, jinja_node **ret);
err_code jinja_target(jinja_parser *p, jinja_node **ret); /* a, b / ns.attr / name */
err_code jinja_call_args(jinja_parser *p, jinja_call *ret);
/* `name(args)|name2...`: filters applied to whatever *in is (NULL for a block). */
err_code jinja_filter_chain(jinja_parser *p, jinja_node *in, jinja_node **ret);
