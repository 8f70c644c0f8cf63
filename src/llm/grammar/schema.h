/* From JSON Schema to expressions; the parts of the front end. Only llm/grammar includes this.
 *
 * schema.c walks schemas (references, unions, enumerations), schema_merge.c joins what must hold
 * together, schema_not.c says what must not, schema_one.c what only one branch of oneOf allows,
 * schema_object.c does objects, schema_array.c arrays, schema_text.c strings, schema_number.c
 * numbers. Every schema becomes a rule of its own, once, so references and
 * recursion cost nothing.
 */
#pragma once
#include "base/buf.h"
#include "llm/grammar/expr.h"

typedef struct schema_seen {
    const value *schema;
    int32_t rule;
    bool nothing; /* it turned out that nothing is valid */
} schema_seen;

typedef struct schema_reader {
    grammar_builder b;
    const value *root;
    VEC(schema_seen) rules;
    buf path; /* of the schema at hand, for messages: "#/properties/name" */
    int32_t depth, merge_depth, not_depth;
    uint32_t n_steps; /* of joining and comparing, see schema_step */
    bool nothing;     /* the latest error: nothing can be valid */
    bool plain;       /* strings are text, not JSON */
    const grammar_expr *any, *string, *number, *integer, *space; /* shared rules */
    err *e;
} schema_reader;

/* A reader with the shared rules, and its end. The start is what the whole output matches. */
void schema_begin(schema_reader *r, const value *root, err *e);
void schema_end(schema_reader *r);
void schema_set_start(schema_reader *r, const grammar_expr *x);

/* The expression of a schema (a call of its rule). */
err_code schema_expr(schema_reader *r, const value *schema, const grammar_expr **ret);
/* The same for a part of the schema at hand: `key`, and `name` below it unless empty. */
err_code schema_part(schema_reader *r, const value *part, str key, str name,
                     const grammar_expr **ret);

/* The same; where nothing can be valid *ret matches nothing and it is no error. */
err_code schema_part_or_none(schema_reader *r, const value *part, str key, str name,
                             const grammar_expr **ret);

err_code schema_object(schema_reader *r, const value *s, const grammar_expr **ret);
err_code schema_array(schema_reader *r, const value *s, const grammar_expr **ret);
err_code schema_string(schema_reader *r, const value *s, const grammar_expr **ret);
/* What a string may be as plain text, without quotes and escapes; *ret NULL: anything. */
err_code schema_text(schema_reader *r, const value *s, const grammar_expr **ret);
err_code schema_number(schema_reader *r, const value *s, bool integer, const grammar_expr **ret);

/* A pattern as the characters of a JSON string, without the quotes; `search`: it may match
 * anywhere. */
err_code schema_regex(schema_reader *r, str pattern, bool search, const grammar_expr **ret);

/* x as a rule of its own, so that using it often costs nothing. */
err_code schema_rule(schema_reader *r, const grammar_expr *x, const grammar_expr **ret);

/* Where a $ref leads. */
err_code schema_follow(schema_reader *r, const value *ref, const value **ret);
/* s without `key` and without what only describes; NULL when nothing is left. */
const value *schema_without(schema_reader *r, const value *s, const char *key);
/* unevaluatedProperties is about what the parts of its own schema leave over, so it stays out while
 * these are merged and comes back at the end. *rest, which may become NULL, without it. */
const value *schema_hold_back(schema_reader *r, const value **rest);
const value *schema_put_back(schema_reader *r, const value *s, const value *held);
/* Counts a step; LIMIT: parts that refer to each other make too many. */
err_code schema_step(schema_reader *r);
/* Both must hold (schema_merge.c); `false` when they contradict each other. */
err_code schema_merge(schema_reader *r, const value *a, const value *b, const value **ret);
/* Whether v is valid under s (NULL = anything is), as far as values of enum and const go. */
err_code schema_fits(schema_reader *r, const value *v, const value *s, bool *ret);

/* Keywords of our own, made by negation: values that may not come, a pattern or patterns that no
 * string may match. */
#define SCHEMA_NOT_ENUM "\x01notEnum"
#define SCHEMA_NOT_PATTERN "\x01notPattern"

/* Numbers that are no integers. */
#define SCHEMA_FRACTION "\x01fraction"

/* What is valid where s is not, exactly; UNSUPPORTED where that cannot be said. */
err_code schema_negated(schema_reader *r, const value *s, const value **ret);
/* Both must hold, case by case when one of them is a union; cases that contradict themselves go. */
err_code schema_merge_each(schema_reader *r, const value *a, const value *b, const value **ret);
/* s with its `not`, or its if, then and else, said otherwise. */
err_code schema_not(schema_reader *r, const value *s, const value **ret);
err_code schema_if(schema_reader *r, const value *s, const value **ret);
/* The branches of a oneOf, each with `rest` (or NULL) and cut down so that no other one holds. */
err_code schema_one_of(schema_reader *r, const value *list, const value *rest, const value **ret);

/* The type that keywords imply when none is said; empty: none. */
str schema_implied_type(const value *s);
/* Whether the keyword says nothing about what is valid. */
bool schema_is_silent(str key);
bool schema_same(const value *a, const value *b);
double schema_number_of(const value *v, double fallback); /* fallback: it is no number */
/* Whether it is `false`, or {"not": {}}. */
bool schema_is_never(const value *s);
/* Whether v is in the list. */
bool schema_lists(const value *list, const value *v);

/* Shared shapes. A string without its quotes, any characters. */
const grammar_expr *schema_string_chars(schema_reader *r);
const grammar_expr *schema_quoted(schema_reader *r, const grammar_expr *inner);
/* v as JSON text, exactly. */
const grammar_expr *schema_literal(schema_reader *r, const value *v);
/* The same of a string, without its quotes. */
const grammar_expr *schema_literal_chars(schema_reader *r, const value *v);
/* `{`, `[`, `,` or `:` with the white space that may come behind it. */
const grammar_expr *schema_punct(schema_reader *r, const char *text);

/* Reads a bound such as minLength: an integer of 0 .. LIMIT_GRAMMAR_REPEAT; `fallback` when
 * absent. */
/* s, or what it leads to by $ref. */
err_code schema_resolved(schema_reader *r, const value *s, const value **ret);
err_code schema_count(schema_reader *r, const value *s, const char *key, int32_t fallback,
                      int32_t *ret);

/* The error with the path in front. */
void schema_fail(schema_reader *r, err_code code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
#define SCHEMA_FAIL(r, CODE, ...) return (schema_fail((r), ERR_##CODE, __VA_ARGS__), ERR_##CODE)
/* The error that nothing can be valid: INVALID, unless something else may come instead. */
#define SCHEMA_NOTHING(r, ...)                                                                     \
    return (schema_fail((r), ERR_INVALID, __VA_ARGS__), (r)->nothing = true, ERR_INVALID)
