/* GBNF, the grammar notation of llama.cpp: `name ::= alternatives`, "literals", [classes], groups,
 * . and the quantifiers * + ? {m,n}; # begins a comment. A rule ends where the next `name ::=`
 * begins. Parsed by recursive descent; classes and escapes are those of regular expressions. */
#include "base/limits.h"
#include "base/map.h"
#include "llm/grammar/expr.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

typedef struct reader {
    grammar_builder *b;
    str text;
    size_t at;
    int32_t depth;
    map names; /* rule numbers */
    err *e;
} reader;

static err_code parse_alt(reader *r, const grammar_expr **ret);

static int line_of(const reader *r) {
    int n = 1;
    for (size_t i = 0; i < r->at && i < r->text.len; i++) n += r->text.ptr[i] == '\n';
    return n;
}

static err_code bad(const reader *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static err_code bad(const reader *r, const char *fmt, ...) {
    char text[256];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    FAIL(r->e, INVALID, "grammar, line %d: %s", line_of(r), text);
}

static char peek_at(const reader *r, size_t n) {
    return r->at + n < r->text.len ? r->text.ptr[r->at + n] : '\0';
}

static void skip_space(reader *r) {
    for (; r->at < r->text.len; r->at++) {
        char c = r->text.ptr[r->at];
        if (c == '#')
            while (r->at < r->text.len && r->text.ptr[r->at] != '\n') r->at++;
        else if (c != ' ' && c != '\t' && c != '\n' && c != '\r')
            return;
        if (r->at >= r->text.len) return;
    }
}

static bool is_name_char(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
}

static str read_name(reader *r) {
    size_t from = r->at;
    while (is_name_char(peek_at(r, 0))) r->at++;
    return str_sub(r->text, from, r->at);
}

/* True when a rule begins here: `name ::=`. */
static bool at_rule(const reader *r) {
    reader look = *r;
    if (read_name(&look).len == 0) return false;
    while (peek_at(&look, 0) == ' ' || peek_at(&look, 0) == '\t') look.at++;
    return str_starts(str_sub(look.text, look.at, look.text.len), STR("::="));
}

/* The number of the rule called `name`; it may be defined later. */
static err_code rule_of(reader *r, str name, int32_t *ret) {
    int64_t known;
    if (map_get(&r->names, name, &known)) {
        *ret = (int32_t)known;
        return ERR_OK;
    }
    *ret = grammar_add_rule(r->b, NULL);
    if (*ret < 0)
        FAIL(r->e, LIMIT, "grammar: more than %d rules are not possible", LIMIT_GRAMMAR_RULES);
    map_put(&r->names, name, *ret);
    return ERR_OK;
}

/* A stretch of the text that is a regular expression as it stands: a class or one escape. */
static err_code as_regex(reader *r, size_t from, const grammar_expr **ret) {
    return grammar_parse_regex(r->b, str_sub(r->text, from, r->at), false, ret, r->e);
}

static err_code parse_class(reader *r, const grammar_expr **ret) {
    size_t from = r->at++;
    while (r->at < r->text.len && r->text.ptr[r->at] != ']')
        r->at += r->text.ptr[r->at] == '\\' ? 2 : 1;
    if (r->at >= r->text.len) return bad(r, "a [ without its ]");
    r->at++;
    return as_regex(r, from, ret);
}

static err_code parse_literal(reader *r, const grammar_expr **ret) {
    const grammar_expr *all = grammar_empty(r->b), *x;
    for (r->at++; peek_at(r, 0) != '"';) {
        if (r->at >= r->text.len) return bad(r, "a \" without its end");
        size_t from = r->at;
        if (peek_at(r, 0) == '\\') {
            char c = peek_at(r, 1);
            r->at += c == 'x' ? 4 : c == 'u' ? 6 : 2;
            if (r->at > r->text.len) return bad(r, "an escape is cut off");
            TRY(as_regex(r, from, &x));
        } else {
            while (r->at < r->text.len && r->text.ptr[r->at] != '"' && r->text.ptr[r->at] != '\\')
                r->at++;
            x = grammar_text(r->b, str_sub(r->text, from, r->at));
        }
        all = grammar_seq(r->b, all, x);
    }
    r->at++;
    *ret = all;
    return ERR_OK;
}

static err_code parse_atom(reader *r, const grammar_expr **ret) {
    char c = peek_at(r, 0);
    if (c == '"') return parse_literal(r, ret);
    if (c == '[') return parse_class(r, ret);
    if (c == '.') {
        grammar_range any = {0, 0x10FFFF};
        r->at++;
        *ret = grammar_chars(r->b, (grammar_set){&any, 1});
        return ERR_OK;
    }
    if (c == '(') {
        r->at++;
        TRY(parse_alt(r, ret));
        skip_space(r);
        if (peek_at(r, 0) != ')') return bad(r, "a ( without its )");
        r->at++;
        return ERR_OK;
    }
    if (!is_name_char(c)) return bad(r, "unexpected character '%c'", c);
    int32_t rule;
    TRY(rule_of(r, read_name(r), &rule));
    *ret = grammar_rule(r->b, rule);
    return ERR_OK;
}

static err_code read_count(reader *r, int32_t *ret) {
    int64_t v = 0;
    if (peek_at(r, 0) < '0' || peek_at(r, 0) > '9') return bad(r, "a number is missing");
    for (; peek_at(r, 0) >= '0' && peek_at(r, 0) <= '9' && v <= LIMIT_GRAMMAR_REPEAT; r->at++)
        v = v * 10 + (peek_at(r, 0) - '0');
    if (v > LIMIT_GRAMMAR_REPEAT)
        FAIL(r->e, LIMIT, "grammar: at most %d repeats", LIMIT_GRAMMAR_REPEAT);
    *ret = (int32_t)v;
    return ERR_OK;
}

static err_code parse_quantifier(reader *r, int32_t *min, int32_t *max) {
    char c = peek_at(r, 0);
    *min = c == '*' || c == '?' ? 0 : 1;
    *max = c == '*' || c == '+' ? -1 : 1;
    if (c == '*' || c == '+' || c == '?') r->at++;
    if (c != '{') return ERR_OK;
    r->at++;
    TRY(read_count(r, min));
    *max = *min;
    if (peek_at(r, 0) == ',') {
        r->at++;
        *max = -1;
        if (peek_at(r, 0) != '}') TRY(read_count(r, max));
    }
    if (peek_at(r, 0) != '}' || (*max >= 0 && *max < *min)) return bad(r, "a malformed {m,n}");
    r->at++;
    return ERR_OK;
}

static err_code parse_sequence(reader *r, const grammar_expr **ret) {
    const grammar_expr *all = grammar_empty(r->b), *x;
    int32_t min, max;
    for (skip_space(r); r->at < r->text.len; skip_space(r)) {
        if (peek_at(r, 0) == '|' || peek_at(r, 0) == ')' || at_rule(r)) break;
        TRY(parse_atom(r, &x));
        TRY(parse_quantifier(r, &min, &max));
        if (min != 1 || max != 1) x = grammar_repeat(r->b, x, min, max);
        all = grammar_seq(r->b, all, x);
    }
    *ret = all;
    return ERR_OK;
}

static err_code parse_alt(reader *r, const grammar_expr **ret) {
    if (++r->depth > LIMIT_GRAMMAR_DEPTH / 4) FAIL(r->e, LIMIT, "grammar: groups nest too deep");
    const grammar_expr *all = grammar_none(r->b), *x;
    for (bool more = true; more;) {
        TRY(parse_sequence(r, &x));
        all = grammar_alt(r->b, all, x);
        more = peek_at(r, 0) == '|';
        r->at += more;
    }
    r->depth--;
    *ret = all;
    return ERR_OK;
}

static err_code parse_rules(reader *r) {
    int32_t rule;
    TRY(rule_of(r, STR("root"), &rule)); /* rule 0 */
    for (skip_space(r); r->at < r->text.len; skip_space(r)) {
        if (!at_rule(r)) return bad(r, "expected `name ::=`");
        str name = read_name(r);
        const grammar_expr *x;
        TRY(rule_of(r, name, &rule));
        if (r->b->rules.items[rule])
            return bad(r, "the rule \"" STR_FMT "\" is there twice", STR_ARG(name));
        while (peek_at(r, 0) != ':') r->at++;
        r->at += 3;
        TRY(parse_alt(r, &x));
        if (peek_at(r, 0) == ')') return bad(r, "a ) without its (");
        r->b->rules.items[rule] = x;
    }
    for (size_t i = 0; i < r->names.len; i++)
        if (!r->b->rules.items[r->names.entries[i].value])
            FAIL(r->e, INVALID, "grammar: there is no rule \"" STR_FMT "\"",
                 STR_ARG(r->names.entries[i].key));
    return ERR_OK;
}

err_code grammar_from_gbnf(str text, grammar **ret, err *e) {
    grammar_builder b = {.mem = arena_create(0)};
    reader r = {.b = &b, .text = text, .e = e};
    err_code code = ERR_OK;
    if (!str_is_utf8(text) || text.len > LIMIT_SCHEMA_BYTES || memchr(text.ptr, 0, text.len))
        code = err_set(e, ERR_INVALID, "grammar: it must be UTF-8 text of at most %u bytes",
                       LIMIT_SCHEMA_BYTES);
    if (code == ERR_OK) code = parse_rules(&r);
    if (code == ERR_OK) code = grammar_finish(&b, ret, e);
    map_finish(&r.names);
    VEC_FINISH(b.rules);
    arena_destroy(&b.mem);
    return code;
}
