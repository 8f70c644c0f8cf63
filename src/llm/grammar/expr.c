/* Expressions and sets of characters. */
#include "llm/grammar/expr.h"
#include "base/limits.h"
#include <stdlib.h>

static grammar_expr *make(grammar_builder *b, grammar_kind kind) {
    grammar_expr *x = ARENA_NEW(b->mem, grammar_expr);
    x->kind = kind;
    return x;
}

const grammar_expr *grammar_none(grammar_builder *b) {
    return make(b, GRAMMAR_NONE);
}

const grammar_expr *grammar_empty(grammar_builder *b) {
    return make(b, GRAMMAR_EMPTY);
}

const grammar_expr *grammar_text(grammar_builder *b, str text) {
    grammar_expr *x = make(b, text.len ? GRAMMAR_TEXT : GRAMMAR_EMPTY);
    x->text = str_dup(b->mem, text);
    return x;
}

const grammar_expr *grammar_chars(grammar_builder *b, grammar_set set) {
    grammar_expr *x = make(b, GRAMMAR_CHARS);
    x->set = grammar_set_normal(b->mem, set, false);
    x->in_json = b->in_json;
    return x;
}

const grammar_expr *grammar_seq(grammar_builder *b, const grammar_expr *x, const grammar_expr *y) {
    if (x->kind == GRAMMAR_EMPTY || y->kind == GRAMMAR_NONE) return y;
    if (y->kind == GRAMMAR_EMPTY || x->kind == GRAMMAR_NONE) return x;
    grammar_expr *r = make(b, GRAMMAR_SEQ);
    r->a = x;
    r->b = y;
    return r;
}

const grammar_expr *grammar_alt(grammar_builder *b, const grammar_expr *x, const grammar_expr *y) {
    if (x->kind == GRAMMAR_NONE) return y;
    if (y->kind == GRAMMAR_NONE) return x;
    grammar_expr *r = make(b, GRAMMAR_ALT);
    r->a = x;
    r->b = y;
    return r;
}

const grammar_expr *grammar_repeat(grammar_builder *b, const grammar_expr *x, int32_t min,
                                   int32_t max) {
    if (max == 0 || x->kind == GRAMMAR_EMPTY) return grammar_empty(b);
    if (x->kind == GRAMMAR_NONE) return min > 0 ? x : grammar_empty(b);
    grammar_expr *r = make(b, GRAMMAR_REPEAT);
    r->a = x;
    r->min = min;
    r->max = max;
    return r;
}

const grammar_expr *grammar_rule(grammar_builder *b, int32_t rule) {
    grammar_expr *x = make(b, GRAMMAR_RULE);
    x->rule = rule;
    return x;
}

const grammar_expr *grammar_of_dfa(grammar_builder *b, const grammar_dfa *d) {
    grammar_expr *x = make(b, d ? GRAMMAR_DFA : GRAMMAR_NONE);
    x->dfa = d;
    return x;
}

const grammar_expr *grammar_multiple(grammar_builder *b, int32_t m) {
    grammar_expr *x = make(b, GRAMMAR_MULTIPLE);
    x->min = m;
    return x;
}

int32_t grammar_add_rule(grammar_builder *b, const grammar_expr *x) {
    if (b->rules.len >= LIMIT_GRAMMAR_RULES) return -1;
    VEC_PUSH(b->rules, x);
    return (int32_t)b->rules.len - 1;
}

/* ---- sets ---- */

static int by_lo(const void *x, const void *y) {
    const grammar_range *a = x, *b = y;
    return (a->lo > b->lo) - (a->lo < b->lo);
}

static size_t join(grammar_range *r, size_t n) {
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        if (r[i].lo > r[i].hi) continue;
        if (kept && r[i].lo <= r[kept - 1].hi + 1) {
            if (r[i].hi > r[kept - 1].hi) r[kept - 1].hi = r[i].hi;
        } else {
            r[kept++] = r[i];
        }
    }
    return kept;
}

grammar_set grammar_set_normal(arena *a, grammar_set s, bool invert) {
    enum { LAST = 0x10FFFF };
    grammar_range *r = ARENA_ARRAY(a, grammar_range, s.n + 1);
    for (size_t i = 0; i < s.n; i++) r[i] = s.ranges[i];
    qsort(r, s.n, sizeof *r, by_lo);
    size_t n = join(r, s.n);
    if (!invert) return (grammar_set){r, n};
    grammar_range *out = ARENA_ARRAY(a, grammar_range, n + 1);
    size_t n_out = 0;
    uint32_t from = 0;
    for (size_t i = 0; i < n; i++) {
        if (r[i].lo > from) out[n_out++] = (grammar_range){from, r[i].lo - 1};
        from = r[i].hi + 1;
    }
    if (from <= LAST) out[n_out++] = (grammar_range){from, LAST};
    return (grammar_set){out, n_out};
}
