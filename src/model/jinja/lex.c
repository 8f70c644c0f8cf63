/* Template source to tokens: text, tags, and what stands inside the tags.
 *
 * The white space rules live here: `-` strips, trim_blocks drops the newline behind a block tag or
 * comment, lstrip_blocks drops the indentation in front of one, `+` switches either off.
 * Invariant: every character of the source is looked at a bounded number of times. */
#include "base/buf.h"
#include "model/jinja/jinja_impl.h"
#include <string.h>

typedef struct lexer {
    str s;
    size_t pos;
    int line;
    bool line_start; /* the tag before ended with a newline */
    bool strip_next; /* the tag before ended with `-` */
    arena *a;
    jinja_toks *out;
    err *e;
} lexer;

static bool is_space(char c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static bool is_name(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || is_digit(c) ||
           (unsigned char)c >= 0x80;
}

static char at(const lexer *l, size_t off) {
    return l->pos + off < l->s.len ? l->s.ptr[l->pos + off] : '\0';
}

static bool at_str(const lexer *l, const char *text) {
    return str_starts(str_sub(l->s, l->pos, l->s.len), str_from(text));
}

static void emit(lexer *l, jinja_tok_kind kind, str text) {
    VEC_PUSH(*l->out, (jinja_tok){kind, l->line, text});
}

static void advance(lexer *l, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (l->s.ptr[l->pos + i] == '\n') l->line++;
    l->pos += n;
}

/* Behind a tag: eats what its end asks for. `trim`: one newline goes (trim_blocks). */
static void after_tag(lexer *l, bool strip, bool trim) {
    size_t from = l->pos;
    if (strip) {
        while (l->pos < l->s.len && is_space(l->s.ptr[l->pos])) advance(l, 1);
    } else if (trim && at(l, 0) == '\n' && l->pos < l->s.len) {
        advance(l, 1);
    }
    l->line_start = l->pos > from && l->s.ptr[l->pos - 1] == '\n';
}

/* The text in front of a tag; `mark` is the character behind the tag's two, `block` is false for
 * variables. */
static void emit_text(lexer *l, str text, char mark, bool block) {
    if (mark == '-') {
        while (text.len > 0 && is_space(text.ptr[text.len - 1])) text.len--;
    } else if (block && mark != '+') {
        ptrdiff_t nl = str_rfind_char(text, '\n');
        size_t from = (size_t)(nl + 1);
        bool blank = from > 0 || l->line_start;
        for (size_t i = from; blank && i < text.len; i++) blank = is_space(text.ptr[i]);
        if (blank) text.len = from;
    }
    if (text.len > 0) emit(l, JTOK_TEXT, text);
}

static err_code lex_comment(lexer *l) {
    ptrdiff_t end = str_find(str_sub(l->s, l->pos, l->s.len), STR("#}"));
    if (end < 0) FAIL(l->e, FORMAT, "template line %d: comment without its end '#}'", l->line);
    advance(l, (size_t)end);
    char mark = l->s.ptr[l->pos - 1];
    advance(l, 2);
    after_tag(l, mark == '-', mark != '+');
    return ERR_OK;
}

/* A string literal; the escapes are those of Python. */
static err_code lex_escape(lexer *l, str s, size_t *i, buf *out) {
    char c = s.ptr[(*i)++];
    static const char from[] = "abfnrtv\\'\"", to[] = "\a\b\f\n\r\t\v\\'\"";
    const char *hit = memchr(from, c, sizeof from - 1);
    if (hit) {
        buf_put_char(out, to[hit - from]);
        return ERR_OK;
    }
    size_t n = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    uint32_t cp = 0;
    if (c >= '0' && c <= '7') {
        cp = (uint32_t)(c - '0');
        for (int k = 0; k < 2 && *i < s.len && s.ptr[*i] >= '0' && s.ptr[*i] <= '7'; k++)
            cp = cp * 8 + (uint32_t)(s.ptr[(*i)++] - '0');
    } else if (n > 0) {
        for (size_t k = 0; k < n; k++, (*i)++) {
            static const char hex[] = "0123456789abcdef";
            char d = *i < s.len ? (char)(s.ptr[*i] | 0x20) : '\0';
            const char *p = d ? strchr(hex, d) : NULL;
            if (!p) FAIL(l->e, FORMAT, "template line %d: broken \\%c escape", l->line, c);
            cp = cp << 4 | (uint32_t)(p - hex);
        }
        if (cp > 0x10ffff) FAIL(l->e, FORMAT, "template line %d: no such character", l->line);
    } else { /* unknown escapes stay as they are; an escaped newline vanishes */
        if (c == '\n') return ERR_OK;
        buf_put_char(out, '\\');
        buf_put_char(out, c);
        return ERR_OK;
    }
    buf_put_utf8(out, cp);
    return ERR_OK;
}

static err_code lex_string(lexer *l) {
    char quote = at(l, 0);
    size_t end = l->pos + 1;
    bool escapes = false;
    while (end < l->s.len && l->s.ptr[end] != quote) {
        if (l->s.ptr[end] == '\\') {
            escapes = true;
            end++;
        }
        end++;
    }
    if (end >= l->s.len) FAIL(l->e, FORMAT, "template line %d: string without its end", l->line);
    str raw = str_sub(l->s, l->pos + 1, end);
    str text = raw;
    if (escapes) {
        buf b = {0};
        err_code code = ERR_OK;
        for (size_t i = 0; i < raw.len && code == ERR_OK;) {
            char c = raw.ptr[i++];
            if (c != '\\')
                buf_put_char(&b, c);
            else
                code = lex_escape(l, raw, &i, &b);
        }
        text = str_dup(l->a, buf_str(&b));
        buf_finish(&b);
        TRY(code);
    }
    emit(l, JTOK_STR, text);
    advance(l, end + 1 - l->pos);
    return ERR_OK;
}

static void lex_number(lexer *l) {
    size_t n = 0;
    bool fraction = false;
    while (is_digit(at(l, n)) || (at(l, n) == '_' && is_digit(at(l, n + 1)))) n++;
    if (at(l, n) == '.' && is_digit(at(l, n + 1))) {
        fraction = true;
        n++;
        while (is_digit(at(l, n))) n++;
    }
    size_t sign = at(l, n + 1) == '+' || at(l, n + 1) == '-' ? 1 : 0;
    if ((at(l, n) == 'e' || at(l, n) == 'E') && is_digit(at(l, n + 1 + sign))) {
        fraction = true;
        n += 1 + sign;
        while (is_digit(at(l, n))) n++;
    }
    emit(l, fraction ? JTOK_FLOAT : JTOK_INT, str_sub(l->s, l->pos, l->pos + n));
    l->pos += n;
}

/* One operator; brackets are counted so that `}}` inside a dict is not the end of the tag. */
static err_code lex_operator(lexer *l, int *brackets) {
    static const char *const two[] = {"==", "!=", "<=", ">=", "//", "**"};
    for (size_t i = 0; i < sizeof two / sizeof *two; i++) {
        if (!at_str(l, two[i])) continue;
        emit(l, JTOK_OP, str_from(two[i]));
        l->pos += 2;
        return ERR_OK;
    }
    char c = at(l, 0);
    if (c == '\0' || !strchr("+-*/%~<>=.,:|()[]{};!", c))
        FAIL(l->e, FORMAT, "template line %d: unexpected character '%c'", l->line,
             c >= ' ' && c < 127 ? c : '?');
    if (strchr("([{", c)) ++*brackets;
    if (strchr(")]}", c)) --*brackets;
    emit(l, JTOK_OP, str_sub(l->s, l->pos, l->pos + 1));
    l->pos++;
    return ERR_OK;
}

/* Inside {% %} or {{ }}, up to its end. */
static err_code lex_tag(lexer *l, bool block) {
    const char *end = block ? "%}" : "}}";
    int first = l->line;
    int brackets = 0;
    emit(l, block ? JTOK_BLOCK_BEGIN : JTOK_VAR_BEGIN, (str){0});
    for (;;) {
        while (l->pos < l->s.len && is_space(l->s.ptr[l->pos])) advance(l, 1);
        if (l->pos >= l->s.len)
            FAIL(l->e, FORMAT, "template line %d: tag without its end '%s'", first, end);
        char c = at(l, 0);
        size_t mark = c == '-' || (c == '+' && block) ? 1 : 0;
        if (brackets <= 0 && at(l, mark) == end[0] && at(l, mark + 1) == end[1]) {
            emit(l, block ? JTOK_BLOCK_END : JTOK_VAR_END, (str){0});
            l->pos += mark + 2;
            after_tag(l, c == '-', block && c != '+');
            return ERR_OK;
        }
        if (c == '"' || c == '\'') {
            TRY(lex_string(l));
        } else if (is_digit(c)) {
            lex_number(l);
        } else if (is_name(c)) {
            size_t n = 1;
            while (is_name(at(l, n))) n++;
            emit(l, JTOK_NAME, str_sub(l->s, l->pos, l->pos + n));
            l->pos += n;
        } else {
            TRY(lex_operator(l, &brackets));
        }
    }
}

/* Length of `{% word %}` at `pos`, 0 if it does not stand there; the marks at both ends. */
static size_t match_tag(const lexer *l, size_t pos, str word, char *ret_open, char *ret_close) {
    str s = l->s;
    if (!str_starts(str_sub(s, pos, s.len), STR("{%"))) return 0;
    size_t p = pos + 2;
    *ret_open = p < s.len && (s.ptr[p] == '-' || s.ptr[p] == '+') ? s.ptr[p++] : '\0';
    while (p < s.len && is_space(s.ptr[p])) p++;
    if (!str_starts(str_sub(s, p, s.len), word)) return 0;
    p += word.len;
    while (p < s.len && is_space(s.ptr[p])) p++;
    *ret_close = p < s.len && (s.ptr[p] == '-' || s.ptr[p] == '+') ? s.ptr[p++] : '\0';
    return str_starts(str_sub(s, p, s.len), STR("%}")) ? p + 2 - pos : 0;
}

static err_code lex_raw(lexer *l, size_t n, char close) {
    int first = l->line;
    advance(l, n);
    after_tag(l, close == '-', false);
    size_t from = l->pos;
    char open = '\0';
    for (size_t p = from; p < l->s.len; p++) {
        size_t len = l->s.ptr[p] == '{' ? match_tag(l, p, STR("endraw"), &open, &close) : 0;
        if (len == 0) continue;
        emit_text(l, str_sub(l->s, from, p), open, true);
        advance(l, p + len - from);
        after_tag(l, close == '-', close != '+');
        return ERR_OK;
    }
    FAIL(l->e, FORMAT, "template line %d: raw block without its endraw", first);
}

/* Offset of the next tag behind `from`, or the end of the source. */
static size_t next_tag(str s, size_t from) {
    for (size_t p = from; p + 1 < s.len; p++) {
        const char *hit = memchr(s.ptr + p, '{', s.len - 1 - p);
        if (!hit) break;
        p = (size_t)(hit - s.ptr);
        char c = s.ptr[p + 1];
        if (c == '{' || c == '%' || c == '#') return p;
    }
    return s.len;
}

err_code jinja_lex(str source, arena *a, jinja_toks *ret, err *e) {
    lexer l = {.s = source, .line = 1, .line_start = true, .a = a, .out = ret, .e = e};
    while (l.pos < l.s.len) {
        size_t tag = next_tag(l.s, l.pos);
        str text = str_sub(l.s, l.pos, tag);
        char kind = tag < l.s.len ? l.s.ptr[tag + 1] : '\0';
        char mark = tag + 2 < l.s.len ? l.s.ptr[tag + 2] : '\0';
        if (kind == '\0') {
            emit(&l, JTOK_TEXT, text);
            break;
        }
        if (kind == '{' && mark == '+') mark = '\0';
        char open = '\0', close = '\0';
        size_t raw = kind == '%' ? match_tag(&l, tag, STR("raw"), &open, &close) : 0;
        emit_text(&l, text, mark, kind != '{');
        advance(&l, text.len);
        if (raw > 0) {
            TRY(lex_raw(&l, raw, close));
            continue;
        }
        l.pos += 2;
        if (kind == '#') {
            TRY(lex_comment(&l));
            continue;
        }
        if (mark == '-' || (mark == '+' && kind == '%')) l.pos++;
        TRY(lex_tag(&l, kind == '%'));
    }
    emit(&l, JTOK_END, (str){0});
    return ERR_OK;
}
