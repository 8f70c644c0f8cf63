/* Tokens of Go templates, cut where Go's own scanner cuts them. */
#include "model/gotmpl/syntax.h"
#include <string.h>
#include <utf8proc.h>

typedef struct lexer {
    str src;
    size_t at;
    int line;
    int depth; /* of parentheses */
    arena *a;
    go_tokens *out;
} lexer;

static bool is_space(char c) {
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool is_letter(uint32_t c) {
    utf8proc_category_t k = utf8proc_category((utf8proc_int32_t)c);
    return k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_LO;
}

bool go_is_word_start(uint32_t c) {
    if (c < 0x80) return c == '_' || ((c | 32) >= 'a' && (c | 32) <= 'z');
    return is_letter(c);
}

static bool is_word(uint32_t c) {
    if (c < 0x80) return go_is_word_start(c) || (c >= '0' && c <= '9');
    return is_letter(c) || utf8proc_category((utf8proc_int32_t)c) == UTF8PROC_CATEGORY_ND;
}

static str rest(const lexer *x) {
    return str_sub(x->src, x->at, x->src.len);
}

static char peek(const lexer *x) {
    return x->at < x->src.len ? x->src.ptr[x->at] : '\0';
}

static uint32_t peek_rune(const lexer *x, size_t *ret_len) {
    size_t pos = x->at;
    uint32_t c = pos < x->src.len ? str_utf8_next(x->src, &pos) : 0;
    *ret_len = pos - x->at;
    return c;
}

static void emit(lexer *x, go_token_kind kind, str text) {
    VEC_PUSH(*x->out, (go_token){kind, x->line, text});
}

/* From `from` to here. */
static void emit_from(lexer *x, go_token_kind kind, size_t from, size_t skip) {
    emit(x, kind, str_sub(x->src, from + skip, x->at));
    for (size_t i = from; i < x->at; i++) x->line += x->src.ptr[i] == '\n';
}

static bool fail(lexer *x, const char *what) {
    emit(x, GO_T_ERROR, str_from(what));
    return false;
}

static bool bad_character(lexer *x) {
    size_t n;
    uint32_t c = peek_rune(x, &n);
    str message = str_fmt(x->a, "bad character U+%04X '" STR_FMT "'", (unsigned)c,
                          STR_ARG(str_sub(x->src, x->at, x->at + n)));
    emit(x, GO_T_ERROR, message);
    return false;
}

/* " -}}" or "}}" at `at`: its length, 0 = neither. */
static size_t right_mark(const lexer *x, size_t at, bool *ret_trims) {
    str s = str_sub(x->src, at, x->src.len);
    *ret_trims = s.len >= 2 && is_space(s.ptr[0]) && s.ptr[1] == '-' &&
                 str_starts(str_sub(s, 2, s.len), STR("}}"));
    return *ret_trims ? 4 : str_starts(s, STR("}}")) ? 2 : 0;
}

static void skip_right(lexer *x, size_t n, bool trims) {
    size_t from = x->at;
    x->at += n;
    while (trims && x->at < x->src.len && is_space(peek(x))) x->at++;
    for (size_t i = from; i < x->at; i++) x->line += x->src.ptr[i] == '\n';
}

/* What may stand behind a word, a field or a variable. */
static bool at_end_of_word(const lexer *x) {
    char c = peek(x);
    return x->at >= x->src.len || is_space(c) || strchr(".,|:)(", c) ||
           str_starts(rest(x), STR("}}"));
}

static void skip_word(lexer *x) {
    size_t n;
    while (x->at < x->src.len && is_word(peek_rune(x, &n))) x->at += n;
}

static bool lex_word(lexer *x) {
    size_t from = x->at;
    skip_word(x);
    if (!at_end_of_word(x)) return bad_character(x);
    emit_from(x, GO_T_WORD, from, 0);
    return true;
}

/* .A or $x; a dot or dollar alone. */
static bool lex_named(lexer *x, go_token_kind kind) {
    size_t from = x->at++;
    if (at_end_of_word(x)) {
        emit_from(x, kind == GO_T_FIELD ? GO_T_DOT : kind, from, 1);
        return true;
    }
    skip_word(x);
    if (!at_end_of_word(x)) return bad_character(x);
    emit_from(x, kind, from, 1);
    return true;
}

static void skip_digits(lexer *x, const char *digits) {
    while (x->at < x->src.len && strchr(digits, peek(x)) && peek(x)) x->at++;
}

static bool skip_one(lexer *x, const char *set) {
    bool is = x->at < x->src.len && peek(x) && strchr(set, peek(x));
    x->at += is;
    return is;
}

static bool lex_number(lexer *x) {
    size_t from = x->at, n;
    const char *digits = "0123456789_";
    skip_one(x, "+-");
    bool hex = false, decimal = true;
    if (skip_one(x, "0")) {
        if (skip_one(x, "xX")) {
            digits = "0123456789abcdefABCDEF_";
            hex = true;
            decimal = false;
        } else if (skip_one(x, "oO")) {
            digits = "01234567_";
            decimal = false;
        } else if (skip_one(x, "bB")) {
            digits = "01_";
            decimal = false;
        }
    }
    skip_digits(x, digits);
    if (skip_one(x, ".")) skip_digits(x, digits);
    if ((decimal && skip_one(x, "eE")) || (hex && skip_one(x, "pP"))) {
        skip_one(x, "+-");
        skip_digits(x, "0123456789_");
    }
    if (is_word(peek_rune(x, &n))) {
        str text = str_sub(x->src, from, x->at + n);
        emit(x, GO_T_ERROR, str_fmt(x->a, "bad number syntax: \"" STR_FMT "\"", STR_ARG(text)));
        return false;
    }
    emit_from(x, GO_T_NUMBER, from, 0);
    return true;
}

static bool lex_quoted(lexer *x, go_token_kind kind) {
    size_t from = x->at;
    char quote = x->src.ptr[x->at++];
    for (; x->at < x->src.len && peek(x) != quote; x->at++) {
        if (kind == GO_T_RAW) continue;
        if (peek(x) == '\\') x->at++;
        if (peek(x) == '\n') break;
    }
    if (x->at >= x->src.len || peek(x) != quote)
        return fail(x, kind == GO_T_RAW    ? "unterminated raw quoted string"
                       : kind == GO_T_CHAR ? "unterminated character constant"
                                           : "unterminated quoted string");
    x->at++;
    emit_from(x, kind, from, 0);
    return true;
}

static bool lex_sign(lexer *x) {
    size_t from = x->at++;
    switch (x->src.ptr[from]) {
    case '=':
        emit_from(x, GO_T_ASSIGN, from, 0);
        return true;
    case '|':
        emit_from(x, GO_T_PIPE, from, 0);
        return true;
    case ':':
        if (peek(x) != '=') return fail(x, "expected :=");
        x->at++;
        emit_from(x, GO_T_DECLARE, from, 0);
        return true;
    case '(':
        x->depth++;
        emit_from(x, GO_T_OPEN, from, 0);
        return true;
    case ')':
        if (x->depth-- == 0) return fail(x, "unexpected right paren");
        emit_from(x, GO_T_CLOSE, from, 0);
        return true;
    default:
        emit_from(x, GO_T_OTHER, from, 0);
        return true;
    }
}

static bool lex_part(lexer *x) {
    size_t n;
    char c = peek(x), next = x->at + 1 < x->src.len ? x->src.ptr[x->at + 1] : '\0';
    if (c == '"') return lex_quoted(x, GO_T_STRING);
    if (c == '`') return lex_quoted(x, GO_T_RAW);
    if (c == '\'') return lex_quoted(x, GO_T_CHAR);
    if (c == '$') return lex_named(x, GO_T_VARIABLE);
    if (c == '.' && !(next >= '0' && next <= '9')) return lex_named(x, GO_T_FIELD);
    if (c == '.' || c == '+' || c == '-' || (c >= '0' && c <= '9')) return lex_number(x);
    if (is_word(peek_rune(x, &n))) return lex_word(x);
    if (c > 0x20 && c < 0x7f) return lex_sign(x);
    emit(x, GO_T_ERROR,
         str_fmt(x->a, "unrecognized character in action: U+%04X", (unsigned)peek_rune(x, &n)));
    return false;
}

/* The inside of an action and its end. */
static bool lex_action(lexer *x) {
    bool trims;
    for (;;) {
        size_t mark = right_mark(x, x->at, &trims);
        if (mark) {
            if (x->depth) return fail(x, "unclosed left paren");
            emit(x, GO_T_RIGHT, str_sub(x->src, x->at, x->at + mark));
            skip_right(x, mark, trims);
            return true;
        }
        if (x->at >= x->src.len) return fail(x, "unclosed action");
        if (is_space(peek(x))) {
            size_t from = x->at;
            while (is_space(peek(x)) && !(right_mark(x, x->at, &trims) && trims)) x->at++;
            emit_from(x, GO_T_SPACE, from, 0);
        } else if (!lex_part(x)) {
            return false;
        }
    }
}

static bool lex_comment(lexer *x) {
    bool trims;
    ptrdiff_t end = str_find(rest(x), STR("*/"));
    if (end < 0) return fail(x, "unclosed comment");
    size_t from = x->at;
    x->at += (size_t)end + 2;
    for (size_t i = from; i < x->at; i++) x->line += x->src.ptr[i] == '\n';
    size_t mark = right_mark(x, x->at, &trims);
    if (!mark) return fail(x, "comment ends before closing delimiter");
    skip_right(x, mark, trims);
    return true;
}

/* Text up to the next action, and that. False at the end. */
static bool lex_next(lexer *x) {
    ptrdiff_t open = str_find(rest(x), STR("{{"));
    size_t from = x->at, end = open < 0 ? x->src.len : from + (size_t)open;
    bool trims = open >= 0 && end + 3 < x->src.len && x->src.ptr[end + 2] == '-' &&
                 is_space(x->src.ptr[end + 3]);
    size_t stop = end;
    while (trims && stop > from && is_space(x->src.ptr[stop - 1])) stop--;
    if (stop > from) emit(x, GO_T_TEXT, str_sub(x->src, from, stop));
    for (size_t i = from; i < end; i++) x->line += x->src.ptr[i] == '\n';
    x->at = end;
    if (open < 0) return false;
    size_t inside = end + 2 + (trims ? 2 : 0);
    if (str_starts(str_sub(x->src, inside, x->src.len), STR("/*"))) {
        x->at = inside;
        return lex_comment(x);
    }
    emit(x, GO_T_LEFT, str_sub(x->src, end, inside));
    for (; x->at < inside; x->at++) x->line += x->src.ptr[x->at] == '\n';
    x->depth = 0;
    return lex_action(x);
}

void go_lex(str source, arena *a, go_tokens *ret) {
    lexer x = {.src = source, .line = 1, .a = a, .out = ret};
    while (lex_next(&x)) continue;
    if (ret->len == 0 || VEC_LAST(*ret).kind != GO_T_ERROR) emit(&x, GO_T_EOF, (str){0});
}
