/* Expressions: what the front ends (schema, regex, GBNF) build, and the network made from them.
 *
 * Expressions live in the builder's arena and are immutable, so parts may be shared. A rule is a
 * named expression that others refer to, itself included. grammar_build turns all rules into nodes;
 * rule 0 is where the output starts. Only llm/grammar includes this. */
#pragma once
#include "base/vec.h"
#include "llm/grammar/grammar.h"

typedef struct grammar_expr grammar_expr;

/* Code points, as ranges in any order. */
typedef struct grammar_range {
    uint32_t lo, hi;
} grammar_range;
typedef struct grammar_set {
    const grammar_range *ranges;
    size_t n;
} grammar_set;

typedef enum grammar_kind {
    GRAMMAR_NONE,  /* matches nothing at all */
    GRAMMAR_EMPTY, /* matches the empty text */
    GRAMMAR_TEXT,
    GRAMMAR_CHARS, /* one character of a set */
    GRAMMAR_SEQ,
    GRAMMAR_ALT,
    GRAMMAR_REPEAT,
    GRAMMAR_RULE,
    GRAMMAR_DFA,     /* an automaton, see grammar_both */
    GRAMMAR_MULTIPLE /* decimal digits whose number is a multiple of `min` */
} grammar_kind;

/* A byte of lo..hi leads to the state `to`. */
typedef struct grammar_edge {
    uint8_t lo, hi;
    int32_t to;
} grammar_edge;

/* States are numbered from 0, the start; every one leads to an end. */
typedef struct grammar_dfa {
    size_t n;
    uint32_t *first; /* [n + 1] of each state's edges */
    bool *accepts;   /* [n] */
    grammar_edge *edges;
} grammar_dfa;

struct grammar_expr {
    grammar_kind kind;
    str text;        /* TEXT */
    grammar_set set; /* CHARS: sorted, disjoint, not adjacent */
    bool in_json;    /* CHARS: as written inside a JSON string, escaped where it must be */
    const grammar_expr *a, *b; /* SEQ and ALT; REPEAT has a */
    int32_t min, max;          /* REPEAT; max < 0 = no bound */
    int32_t rule;              /* RULE */
    const grammar_dfa *dfa;    /* DFA */
};

/* Neighbours of one general category. */
typedef struct grammar_category_run {
    grammar_range range;
    uint32_t category;
} grammar_category_run;
typedef struct grammar_runs {
    const grammar_category_run *items;
    size_t n;
} grammar_runs;

typedef struct grammar_builder {
    arena *mem;
    grammar_runs runs; /* of all characters, once they were asked for */
    VEC(const grammar_expr *) rules;
    uint64_t n_product; /* states and nodes that grammar_both has looked at */
    bool in_json;       /* character sets made now are those of JSON strings (patterns) */
} grammar_builder;

/* Makers. Text is copied. */
const grammar_expr *grammar_none(grammar_builder *b);
const grammar_expr *grammar_empty(grammar_builder *b);
const grammar_expr *grammar_text(grammar_builder *b, str text);
const grammar_expr *grammar_chars(grammar_builder *b, grammar_set set);
const grammar_expr *grammar_seq(grammar_builder *b, const grammar_expr *x, const grammar_expr *y);
const grammar_expr *grammar_alt(grammar_builder *b, const grammar_expr *x, const grammar_expr *y);
const grammar_expr *grammar_repeat(grammar_builder *b, const grammar_expr *x, int32_t min,
                                   int32_t max);
const grammar_expr *grammar_rule(grammar_builder *b, int32_t rule);
/* The automaton as an expression; NULL: nothing matches. */
const grammar_expr *grammar_of_dfa(grammar_builder *b, const grammar_dfa *d);
/* Digits, at least one, whose number is a multiple of m; 1 <= m <= LIMIT_GRAMMAR_MULTIPLE. */
const grammar_expr *grammar_multiple(grammar_builder *b, int32_t m);
/* What matches x and y; with `without` x and not y. Both must be regular: rules in them are
 * inlined. LIMIT when they are too large or recursive. */
err_code grammar_both(grammar_builder *b, const grammar_expr *x, const grammar_expr *y,
                      bool without, const grammar_expr **ret, err *e);
/* A new rule; its expression may be set later. LIMIT: -1 when there are too many. */
int32_t grammar_add_rule(grammar_builder *b, const grammar_expr *x);

/* Sorted, joined; with `invert` what is not in it. */
grammar_set grammar_set_normal(arena *a, grammar_set s, bool invert);

/* The characters of a general category by its name, such as Lu or L; false: nobody knows it. */
bool grammar_category(grammar_builder *b, str name, grammar_set *ret);

/* A regular expression as an expression of b. With `search` it may match anywhere, as the keyword
 * `pattern` of JSON Schema means it, else it covers the whole text. */
err_code grammar_parse_regex(grammar_builder *b, str pattern, bool search, const grammar_expr **ret,
                             err *e);

/* ---- the network ---- */

typedef enum grammar_op {
    GRAMMAR_OP_BYTE,  /* a byte of lo..hi, then next; lo > hi never matches */
    GRAMMAR_OP_SPLIT, /* next or other */
    GRAMMAR_OP_CALL,  /* rule `other`, then next */
    GRAMMAR_OP_RETURN
} grammar_op;

typedef struct grammar_node {
    uint8_t op, lo, hi;
    int32_t next, other;
} grammar_node;

typedef struct grammar_net {
    VEC(grammar_node) nodes; /* node 0 is RETURN */
    VEC(int32_t) starts;     /* of each rule */
} grammar_net;

/* LIMIT when the network grows too large, INVALID for rules that call themselves before any
 * byte. On failure *ret is empty. */
err_code grammar_build(const grammar_builder *b, grammar_net *ret, err *e);
void grammar_net_finish(grammar_net *n);
/* The network of one expression, with its rules inlined; false: too large. */
bool grammar_build_inline(const grammar_builder *b, const grammar_expr *x, grammar_net *ret);

/* A grammar over a finished network, which it takes over. */
grammar *grammar_over(grammar_net *n);
/* Builds b's rules and makes the grammar. */
err_code grammar_finish(const grammar_builder *b, grammar **ret, err *e);
