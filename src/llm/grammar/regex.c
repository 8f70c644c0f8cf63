/* Regular expressions, parsed by recursive descent.
 *
 * alternation := sequence ('|' sequence)*      sequence := (atom quantifier?)*
 * atom := char | . | [class] | (group) | (?:group) | \escape
 * Anchors are allowed at the ends of the whole pattern and of its outermost alternatives, and
 * look-ahead, (?=x) and (?!x), where it says what all the rest must or must not match: right behind
 * ^ and in groups at the end. */
#include "base/limits.h"
#include "llm/grammar/expr.h"
#include <string.h>

typedef struct reader {
    grammar_builder *b;
    str text;
    size_t at;
    int32_t depth;
    bool looked; /* there was a look-ahead in this alternative, not at its start */
    bool ahead;  /* inside a look-ahead, which may end with $ */
    err *e;
} reader;

typedef VEC(grammar_range) ranges;

static err_code parse_alt(reader *r, const grammar_expr **ret);
static err_code parse_piece(reader *r, const grammar_expr **ret);

static bool ends(const reader *r) {
    return r->at >= r->text.len;
}

static char peek(const reader *r) {
    return ends(r) ? '\0' : r->text.ptr[r->at];
}

static bool skip(reader *r, char c) {
    if (ends(r) || r->text.ptr[r->at] != c) return false;
    r->at++;
    return true;
}

#define BAD(r, ...) FAIL((r)->e, INVALID, "regular expression: " __VA_ARGS__)

/* ---- escapes and classes ---- */

static const grammar_range DIGITS[] = {{'0', '9'}};
static const grammar_range WORDS[] = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
static const grammar_range SPACES[] = {{'\t', '\r'}, {' ', ' '}};
static const grammar_range LINE_ENDS[] = {{'\n', '\n'}, {'\r', '\r'}};

/* {name} of a category, or its one letter. */
static err_code category_escape(reader *r, bool invert, grammar_set *ret) {
    str name = str_sub(r->text, r->at, r->at + 1);
    r->at++;
    if (str_eq(name, STR("{"))) {
        size_t from = r->at;
        while (!ends(r) && peek(r) != '}') r->at++;
        name = str_sub(r->text, from, r->at);
        if (!skip(r, '}')) BAD(r, "a \\p{ without its }");
    }
    static const char *const KEYS[] = {"General_Category=", "gc="};
    for (size_t i = 0; i < COUNT_OF(KEYS); i++)
        if (str_starts(name, str_from(KEYS[i]))) name = str_sub(name, strlen(KEYS[i]), name.len);
    if (!grammar_category(r->b, name, ret))
        BAD(r, "\\p{" STR_FMT "} is not supported; general categories such as L, Lu or Nd are",
            STR_ARG(name));
    *ret = grammar_set_normal(r->b->mem, *ret, invert);
    return ERR_OK;
}

/* \d and its kin; false when c is none of them. */
static bool class_escape(arena *a, char c, grammar_set *ret) {
    grammar_set s;
    switch (c) {
    case 'd':
    case 'D':
        s = (grammar_set){DIGITS, COUNT_OF(DIGITS)};
        break;
    case 'w':
    case 'W':
        s = (grammar_set){WORDS, COUNT_OF(WORDS)};
        break;
    case 's':
    case 'S':
        s = (grammar_set){SPACES, COUNT_OF(SPACES)};
        break;
    default:
        return false;
    }
    *ret = grammar_set_normal(a, s, c < 'a');
    return true;
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

static err_code hex_escape(reader *r, int n_digits, uint32_t *ret) {
    uint32_t v = 0;
    for (int i = 0; i < n_digits; i++) {
        int d = hex_digit(peek(r));
        if (d < 0) BAD(r, "a hexadecimal digit is missing at byte %zu", r->at);
        v = v * 16 + (uint32_t)d;
        r->at++;
    }
    *ret = v;
    return ERR_OK;
}

/* The character behind a backslash that stands for one character. */
static err_code char_escape(reader *r, uint32_t *ret) {
    char c = peek(r);
    if (ends(r)) BAD(r, "a backslash at the end");
    r->at++;
    switch (c) {
    case 'n':
        *ret = '\n';
        return ERR_OK;
    case 't':
        *ret = '\t';
        return ERR_OK;
    case 'r':
        *ret = '\r';
        return ERR_OK;
    case 'f':
        *ret = '\f';
        return ERR_OK;
    case 'v':
        *ret = '\v';
        return ERR_OK;
    case '0':
        *ret = 0;
        return ERR_OK;
    case 'x':
        return hex_escape(r, 2, ret);
    case 'u':
        return hex_escape(r, 4, ret);
    default:
        break;
    }
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '1' && c <= '9'))
        BAD(r, "\\%c is not supported (byte %zu)", c, r->at - 1);
    r->at--;
    *ret = str_utf8_next(r->text, &r->at);
    return ERR_OK;
}

/* One end of a range in a class; a set when it is \d and the like. */
static err_code class_item(reader *r, grammar_set *ret_set, uint32_t *ret_char) {
    ret_set->n = 0;
    if (!skip(r, '\\')) {
        *ret_char = str_utf8_next(r->text, &r->at);
        return ERR_OK;
    }
    if (class_escape(r->b->mem, peek(r), ret_set)) {
        r->at++;
        return ERR_OK;
    }
    if (peek(r) == 'p' || peek(r) == 'P') {
        r->at++;
        return category_escape(r, r->text.ptr[r->at - 1] == 'P', ret_set);
    }
    if (skip(r, 'b')) {
        *ret_char = '\b';
        return ERR_OK;
    }
    return char_escape(r, ret_char);
}

static err_code class_ranges(reader *r, ranges *into) {
    for (bool first = true; first || peek(r) != ']'; first = false) {
        grammar_set set = {0}, end_set = {0};
        uint32_t lo = 0, hi = 0;
        if (ends(r)) BAD(r, "a [ without its ]");
        if (first && peek(r) == ']') break; /* [] matches nothing, [^] anything */
        TRY(class_item(r, &set, &lo));
        for (size_t i = 0; i < set.n; i++) VEC_PUSH(*into, set.ranges[i]);
        if (set.n > 0) continue;
        hi = lo;
        if (peek(r) == '-' && r->at + 1 < r->text.len && r->text.ptr[r->at + 1] != ']') {
            r->at++;
            TRY(class_item(r, &end_set, &hi));
            if (end_set.n > 0 || hi < lo) BAD(r, "a range runs backwards at byte %zu", r->at);
        }
        VEC_PUSH(*into, (grammar_range){lo, hi});
    }
    r->at++;
    return ERR_OK;
}

/* Large sets become rules, so that repeating them costs little. */
static err_code set_expr(reader *r, grammar_set s, const grammar_expr **ret) {
    enum { LARGE = 32 };
    *ret = grammar_chars(r->b, s);
    if (s.n < LARGE) return ERR_OK;
    int32_t rule = grammar_add_rule(r->b, *ret);
    if (rule < 0) FAIL(r->e, LIMIT, "regular expression: more than %d rules", LIMIT_GRAMMAR_RULES);
    *ret = grammar_rule(r->b, rule);
    return ERR_OK;
}

static err_code parse_class(reader *r, const grammar_expr **ret) {
    ranges found = {0};
    bool invert = skip(r, '^');
    err_code code = class_ranges(r, &found);
    if (code == ERR_OK) {
        grammar_set s = {found.items, found.len};
        code = set_expr(r, grammar_set_normal(r->b->mem, s, invert), ret);
    }
    VEC_FINISH(found);
    return code;
}

/* ---- atoms ---- */

static const grammar_expr *one_char(reader *r, uint32_t c) {
    grammar_range range = {c, c};
    return grammar_chars(r->b, (grammar_set){&range, 1});
}

static err_code parse_group(reader *r, const grammar_expr **ret) {
    if (skip(r, '?')) {
        bool named = false;
        if (skip(r, 'P')) named = peek(r) == '<';
        if (peek(r) == '<' && r->at + 1 < r->text.len && r->text.ptr[r->at + 1] != '=' &&
            r->text.ptr[r->at + 1] != '!')
            named = true;
        if (named)
            while (!ends(r) && peek(r) != '>') r->at++;
        if (!skip(r, named ? '>' : ':'))
            BAD(r, "look-around and flags are not supported (byte %zu)", r->at);
    }
    TRY(parse_alt(r, ret));
    if (!skip(r, ')')) BAD(r, "a ( without its )");
    return ERR_OK;
}

static err_code parse_atom(reader *r, const grammar_expr **ret) {
    grammar_set set;
    uint32_t c;
    if (skip(r, '(')) return parse_group(r, ret);
    if (skip(r, '[')) return parse_class(r, ret);
    if (skip(r, '.')) {
        grammar_set s = {LINE_ENDS, COUNT_OF(LINE_ENDS)};
        *ret = grammar_chars(r->b, grammar_set_normal(r->b->mem, s, true));
        return ERR_OK;
    }
    if (skip(r, '\\')) {
        if (class_escape(r->b->mem, peek(r), &set)) {
            r->at++;
            *ret = grammar_chars(r->b, set);
            return ERR_OK;
        }
        if (peek(r) == 'p' || peek(r) == 'P') {
            r->at++;
            TRY(category_escape(r, r->text.ptr[r->at - 1] == 'P', &set));
            return set_expr(r, set, ret);
        }
        TRY(char_escape(r, &c));
        *ret = one_char(r, c);
        return ERR_OK;
    }
    c = str_utf8_next(r->text, &r->at);
    if (c == '^' || c == '$') BAD(r, "%c inside the pattern is not supported", (char)c);
    if (c == '*' || c == '+' || c == '?' || c == '{')
        BAD(r, "%c at byte %zu has nothing to repeat", (char)c, r->at - 1);
    *ret = one_char(r, c);
    return ERR_OK;
}

/* ---- quantifiers ---- */

static err_code read_count(reader *r, int32_t *ret) {
    int64_t v = 0;
    if (peek(r) < '0' || peek(r) > '9') BAD(r, "a number is missing at byte %zu", r->at);
    while (peek(r) >= '0' && peek(r) <= '9' && v <= LIMIT_GRAMMAR_REPEAT)
        v = v * 10 + (r->text.ptr[r->at++] - '0');
    if (v > LIMIT_GRAMMAR_REPEAT)
        FAIL(r->e, LIMIT, "regular expression: at most %d repeats", LIMIT_GRAMMAR_REPEAT);
    *ret = (int32_t)v;
    return ERR_OK;
}

/* {n}, {n,} or {n,m}, behind the brace. */
static err_code read_bounds(reader *r, int32_t *min, int32_t *max) {
    TRY(read_count(r, min));
    *max = *min;
    if (skip(r, ',')) {
        *max = -1;
        if (peek(r) != '}') TRY(read_count(r, max));
    }
    if (!skip(r, '}')) BAD(r, "a { without its }");
    if (*max >= 0 && *max < *min) BAD(r, "{%d,%d} runs backwards", *min, *max);
    return ERR_OK;
}

static err_code parse_piece(reader *r, const grammar_expr **ret) {
    const grammar_expr *x;
    int32_t min = 1, max = 1;
    TRY(parse_atom(r, &x));
    if (skip(r, '*'))
        min = 0, max = -1;
    else if (skip(r, '+'))
        max = -1;
    else if (skip(r, '?'))
        min = 0;
    else if (skip(r, '{'))
        TRY(read_bounds(r, &min, &max));
    else {
        *ret = x;
        return ERR_OK;
    }
    if (peek(r) == '?') r->at++; /* lazy or greedy: the same language */
    *ret = grammar_repeat(r->b, x, min, max);
    return ERR_OK;
}

/* A $ that ends an outermost alternative or a look-ahead. */
static bool at_end_anchor(const reader *r) {
    if (peek(r) != '$') return false;
    char next = r->at + 1 < r->text.len ? r->text.ptr[r->at + 1] : '\0';
    if (r->depth == 1 && r->ahead) return next == ')';
    return r->depth == 0 && (r->at + 1 == r->text.len || next == '|');
}

/* ---- look-ahead ---- */

static const grammar_expr *anything(reader *r) {
    grammar_range any = {0, 0x10FFFF};
    return grammar_repeat(r->b, grammar_chars(r->b, (grammar_set){&any, 1}), 0, -1);
}

enum { AHEAD_MAX = 8 };

/* What the text from here on must match, or must not. */
typedef struct look_ahead {
    const grammar_expr *x;
    bool not ;
} look_ahead;

static bool starts_look(const reader *r) {
    str rest = str_sub(r->text, r->at, r->text.len);
    return str_starts(rest, STR("(?=")) || str_starts(rest, STR("(?!"));
}

static err_code parse_look(reader *r, look_ahead *ret) {
    if (r->ahead) BAD(r, "look-ahead inside look-ahead is not supported (byte %zu)", r->at);
    ret->not = r->text.ptr[r->at + 2] == '!';
    r->at += 3;
    r->ahead = true;
    TRY(parse_alt(r, &ret->x));
    r->ahead = false;
    if (!skip(r, '$')) ret->x = grammar_seq(r->b, ret->x, anything(r));
    if (!skip(r, ')')) BAD(r, "a ( without its )");
    return ERR_OK;
}

/* Whether a sequence ends here. */
static bool seq_ends(const reader *r) {
    return ends(r) || peek(r) == '|' || peek(r) == ')' || at_end_anchor(r);
}

/* A look-ahead inside is for the rest up to the end of the text, so nothing may follow. */
static err_code parse_seq(reader *r, const grammar_expr **ret) {
    const grammar_expr *seq = grammar_empty(r->b), *x = NULL;
    while (!seq_ends(r)) {
        look_ahead ahead = {NULL, false};
        if (starts_look(r)) {
            TRY(parse_look(r, &ahead));
            TRY(parse_seq(r, &x));
            TRY(grammar_both(r->b, x, ahead.x, ahead.not, &x, r->e));
            r->looked = true;
        } else {
            TRY(parse_piece(r, &x));
        }
        seq = grammar_seq(r->b, seq, x);
        if (r->looked && !seq_ends(r))
            BAD(r, "look-ahead is supported where nothing follows its group (byte %zu)", r->at);
    }
    *ret = seq;
    return ERR_OK;
}

static err_code parse_alt(reader *r, const grammar_expr **ret) {
    if (++r->depth > LIMIT_GRAMMAR_DEPTH / 4)
        FAIL(r->e, LIMIT, "regular expression: groups nest too deep");
    const grammar_expr *all = grammar_none(r->b);
    do {
        const grammar_expr *seq;
        TRY(parse_seq(r, &seq));
        all = grammar_alt(r->b, all, seq);
    } while (skip(r, '|'));
    r->depth--;
    *ret = all;
    return ERR_OK;
}

/* ---- outermost alternatives ---- */

static err_code parse_branch(reader *r, bool search, const grammar_expr **ret) {
    look_ahead ahead[AHEAD_MAX];
    size_t n = 0;
    bool from_start = skip(r, '^') || !search;
    while (starts_look(r)) {
        if (n == AHEAD_MAX || !from_start)
            BAD(r, "look-around is supported right behind ^ only (byte %zu)", r->at);
        TRY(parse_look(r, &ahead[n++]));
    }
    const grammar_expr *x = NULL;
    r->looked = false;
    TRY(parse_seq(r, &x));
    bool to_end = skip(r, '$') || !search;
    if (r->looked && !to_end) BAD(r, "look-ahead in a pattern that does not end with $");
    if (!from_start) x = grammar_seq(r->b, anything(r), x);
    if (!to_end) x = grammar_seq(r->b, x, anything(r));
    for (size_t i = 0; i < n; i++) TRY(grammar_both(r->b, x, ahead[i].x, ahead[i].not, &x, r->e));
    *ret = x;
    return ERR_OK;
}

err_code grammar_parse_regex(grammar_builder *b, str pattern, bool search, const grammar_expr **ret,
                             err *e) {
    if (!str_is_utf8(pattern)) FAIL(e, INVALID, "regular expression: it is not valid UTF-8");
    reader r = {.b = b, .text = pattern, .e = e};
    const grammar_expr *all = grammar_none(b), *x = NULL;
    do {
        TRY(parse_branch(&r, search, &x));
        all = grammar_alt(b, all, x);
    } while (skip(&r, '|'));
    if (!ends(&r)) BAD(&r, "a ) without its (");
    *ret = all;
    return ERR_OK;
}

err_code grammar_from_regex(str pattern, grammar **ret, err *e) {
    grammar_builder b = {.mem = arena_create(0)};
    const grammar_expr *x;
    grammar_add_rule(&b, grammar_empty(&b)); /* the start, set below */
    err_code code = grammar_parse_regex(&b, pattern, false, &x, e);
    if (code == ERR_OK) {
        b.rules.items[0] = x;
        code = grammar_finish(&b, ret, e);
    }
    VEC_FINISH(b.rules);
    arena_destroy(&b.mem);
    return code;
}
