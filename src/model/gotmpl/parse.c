/* Parsing: text and actions, by recursive descent straight from the bytes. */
#include "base/limits.h"
#include "model/gotmpl/syntax.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

typedef struct parser {
    gotmpl *t;
    str src;
    size_t at;
    size_t end; /* of the action at hand */
    int depth;
    size_t counted; /* lines up to here are in `line` */
    int line;
    err *e;
} parser;

/* How a list of statements ended. */
typedef enum list_end { END_OF_TEXT, END_END, END_ELSE } list_end;

static int line_at(const parser *p, size_t at) {
    int n = 1;
    for (size_t i = 0; i < at && i < p->src.len; i++) n += p->src.ptr[i] == '\n';
    return n;
}

static err_code bad(const parser *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static err_code bad(const parser *p, const char *fmt, ...) {
    char text[256];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    FAIL(p->e, FORMAT, "template: :%d: %s", line_at(p, p->at), text);
}

/* ---- inside an action ---- */

static char peek(const parser *p) {
    return p->at < p->end ? p->src.ptr[p->at] : '\0';
}

static bool is_space(char c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static void skip_space(parser *p) {
    while (p->at < p->end && is_space(p->src.ptr[p->at])) p->at++;
}

static bool is_name(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           (unsigned char)c >= 0x80;
}

static str read_name(parser *p) {
    size_t from = p->at;
    while (p->at < p->end && is_name(p->src.ptr[p->at])) p->at++;
    return str_sub(p->src, from, p->at);
}

/* The word at hand when it is `word`, which is then eaten. */
static bool eat_word(parser *p, const char *word) {
    size_t from = p->at;
    if (str_eq(read_name(p), str_from(word))) return true;
    p->at = from;
    return false;
}

static err_code parse_pipe(parser *p, char closer, go_pipe **ret);

static err_code read_escape(parser *p, buf *out) {
    char c = peek(p);
    p->at++;
    uint32_t v = 0;
    int n = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    for (int i = 0; i < n; i++, p->at++) {
        char d = peek(p);
        if (d >= '0' && d <= '9')
            v = v * 16 + (uint32_t)(d - '0');
        else if ((d | 32) >= 'a' && (d | 32) <= 'f')
            v = v * 16 + (uint32_t)((d | 32) - 'a' + 10);
        else
            return bad(p, "bad character in escape");
    }
    if (n == 2)
        buf_put_char(out, (char)v);
    else if (n > 2)
        buf_put_utf8(out, v);
    else if (c == 'n' || c == 't' || c == 'r')
        buf_put_char(out, c == 'n' ? '\n' : c == 't' ? '\t' : '\r');
    else if (c == '"' || c == '\\' || c == '\'')
        buf_put_char(out, c);
    else
        return bad(p, "unknown escape \\%c", c);
    return ERR_OK;
}

/* "..." with escapes, `...` without. */
static err_code read_string(parser *p, const value **ret) {
    char quote = p->src.ptr[p->at++];
    buf out = {0};
    err_code code = ERR_OK;
    while (code == ERR_OK && peek(p) != quote) {
        if (p->at >= p->end)
            code = bad(p, "unterminated quoted string");
        else if (quote != '`' && peek(p) == '\\') {
            p->at++;
            code = read_escape(p, &out);
        } else {
            buf_put_char(&out, p->src.ptr[p->at++]);
        }
    }
    p->at++;
    value *v = value_str(p->t->mem, buf_str(&out));
    v->trusted = true;
    buf_finish(&out);
    *ret = v;
    return code;
}

static err_code read_number(parser *p, const value **ret) {
    size_t from = p->at++;
    while (is_name(peek(p)) || peek(p) == '.') p->at++;
    str text = str_sub(p->src, from, p->at);
    int64_t whole;
    double real;
    if (str_to_i64(text, &whole))
        *ret = value_int(p->t->mem, whole);
    else if (str_to_f64(text, &real))
        *ret = value_float(p->t->mem, real);
    else
        return bad(p, "bad number syntax: \"" STR_FMT "\"", STR_ARG(text));
    return ERR_OK;
}

/* .A.B behind an operand. */
static void read_fields(parser *p, go_operand *o) {
    VEC(str) fields = {0};
    while (peek(p) == '.' && p->at + 1 < p->end && is_name(p->src.ptr[p->at + 1])) {
        p->at++;
        str name = read_name(p);
        VEC_PUSH(fields, name);
        VEC_PUSH(p->t->fields, name);
    }
    o->n_fields = fields.len;
    o->fields = arena_dup(p->t->mem, fields.items, fields.len * sizeof(str));
    VEC_FINISH(fields);
}

static err_code read_word(parser *p, go_operand *o) {
    str name = read_name(p);
    o->kind = GO_CONST;
    if (str_eq(name, STR("true")) || str_eq(name, STR("false"))) {
        o->constant = value_bool(p->t->mem, name.len == 4);
    } else if (!str_eq(name, STR("nil"))) {
        if (!go_is_func(name)) return bad(p, "function \"" STR_FMT "\" not defined", STR_ARG(name));
        o->kind = GO_FUNC;
        o->name = name;
    }
    return ERR_OK;
}

static err_code parse_operand(parser *p, go_operand *o) {
    char c = peek(p);
    *o = (go_operand){.kind = GO_DOT};
    if (c == '.' && !(p->at + 1 < p->end && is_name(p->src.ptr[p->at + 1]))) {
        p->at++;
    } else if (c == '$') {
        p->at++;
        o->kind = GO_VAR;
        o->name = read_name(p);
    } else if (c == '(') {
        p->at++;
        o->kind = GO_PAREN;
        TRY(parse_pipe(p, ')', &o->pipe));
    } else if (c == '"' || c == '`') {
        o->kind = GO_CONST;
        TRY(read_string(p, &o->constant));
    } else if ((c >= '0' && c <= '9') || c == '-' || c == '+') {
        o->kind = GO_CONST;
        TRY(read_number(p, &o->constant));
    } else if (is_name(c)) {
        TRY(read_word(p, o));
    } else if (c != '.') {
        if (p->at >= p->end) return bad(p, "missing value for command");
        return bad(p, "unexpected \"%c\" in operand", c);
    }
    read_fields(p, o);
    return ERR_OK;
}

static err_code parse_command(parser *p, char closer, go_command *c) {
    VEC(go_operand) list = {0};
    err_code code = ERR_OK;
    for (skip_space(p); p->at < p->end && peek(p) != '|' && peek(p) != closer; skip_space(p)) {
        go_operand o;
        code = parse_operand(p, &o);
        if (code) break;
        VEC_PUSH(list, o);
    }
    if (code == ERR_OK && list.len == 0) code = bad(p, "missing value for command");
    c->n = list.len;
    c->operands = arena_dup(p->t->mem, list.items, list.len * sizeof(go_operand));
    VEC_FINISH(list);
    return code;
}

/* `$x :=`, `$x =`, `$i, $e :=`; nothing is eaten when it is something else. */
static void parse_variables(parser *p, go_pipe *pipe) {
    size_t from = p->at;
    while (peek(p) == '$' && pipe->n_vars < 2) {
        p->at++;
        pipe->vars[pipe->n_vars++] = read_name(p);
        skip_space(p);
        if (peek(p) == ',') {
            p->at++;
            skip_space(p);
            continue;
        }
        bool declares = peek(p) == ':' && p->at + 1 < p->end && p->src.ptr[p->at + 1] == '=';
        if (!declares && peek(p) != '=') break;
        pipe->declares = declares;
        p->at += declares ? 2 : 1;
        return;
    }
    p->at = from;
    pipe->n_vars = 0;
}

/* Up to `closer`, which is eaten, or the action's end when it is 0. */
static err_code parse_pipe(parser *p, char closer, go_pipe **ret) {
    if (++p->depth > LIMIT_TEMPLATE_DEPTH) FAIL(p->e, LIMIT, "template: it is nested too deep");
    go_pipe *pipe = ARENA_NEW(p->t->mem, go_pipe);
    VEC(go_command) list = {0};
    for (; p->counted < p->at; p->counted++) p->line += p->src.ptr[p->counted] == '\n';
    pipe->line = p->line + 1;
    skip_space(p);
    if (closer == '\0') parse_variables(p, pipe);
    err_code code = ERR_OK;
    for (bool more = true; more && code == ERR_OK;) {
        go_command c = {0};
        code = parse_command(p, closer ? closer : ')', &c);
        VEC_PUSH(list, c);
        more = peek(p) == '|';
        p->at += more;
    }
    pipe->n = list.len;
    pipe->commands = arena_dup(p->t->mem, list.items, list.len * sizeof(go_command));
    VEC_FINISH(list);
    TRY(code);
    if (closer && peek(p) != closer) return bad(p, "unclosed left paren");
    if (!closer && p->at < p->end) return bad(p, "unexpected right paren");
    p->at += closer != '\0';
    p->depth--;
    *ret = pipe;
    return ERR_OK;
}

/* ---- text and actions ---- */

static go_node *add_node(parser *p, go_list *list, go_node_kind kind) {
    go_node *n = ARENA_NEW(p->t->mem, go_node);
    n->kind = kind;
    if (list->len == list->cap) {
        size_t cap = list->cap ? list->cap * 2 : 4;
        go_node **items = ARENA_ARRAY(p->t->mem, go_node *, cap);
        if (list->len) memcpy(items, list->items, list->len * sizeof *items);
        list->items = items;
        list->cap = cap;
    }
    list->items[list->len++] = n;
    return n;
}

/* The end of the action that begins at p->at, outside strings; its braces are at *ret. */
static bool find_close(const parser *p, size_t *ret) {
    char quote = 0;
    for (size_t i = p->at; i + 1 < p->src.len; i++) {
        char c = p->src.ptr[i];
        if (quote) {
            if (c == '\\' && quote == '"') i++;
            if (c == quote) quote = 0;
        } else if (c == '"' || c == '`') {
            quote = c;
        } else if (c == '}' && p->src.ptr[i + 1] == '}') {
            *ret = i;
            return true;
        }
    }
    return false;
}

static str trim_right(str s) {
    while (s.len > 0 && is_space(s.ptr[s.len - 1])) s.len--;
    return s;
}

/* Text up to the next action or the end. */
static void read_text(parser *p, go_list *list) {
    str rest = str_sub(p->src, p->at, p->src.len);
    ptrdiff_t open = str_find(rest, STR("{{"));
    str text = open < 0 ? rest : str_sub(rest, 0, (size_t)open);
    p->at += text.len;
    if (open >= 0 && p->at + 3 < p->src.len && p->src.ptr[p->at + 2] == '-' &&
        is_space(p->src.ptr[p->at + 3]))
        text = trim_right(text);
    if (text.len) add_node(p, list, GO_TEXT)->text = text;
}

/* Opens the action at p->at: p->at and p->end are set to its inside. False for a comment, which is
 * eaten. *ret_next: where text goes on. */
static err_code open_action(parser *p, size_t *ret_next, bool *ret_comment) {
    size_t close;
    p->at += 2;
    if (peek(p) == '-' && p->at + 1 < p->src.len && is_space(p->src.ptr[p->at + 1])) p->at++;
    size_t inside = p->at;
    while (inside < p->src.len && is_space(p->src.ptr[inside])) inside++;
    *ret_comment = str_starts(str_sub(p->src, inside, p->src.len), STR("/*"));
    if (*ret_comment) {
        ptrdiff_t over = str_find(str_sub(p->src, inside, p->src.len), STR("*/"));
        if (over < 0) return bad(p, "unclosed comment");
        p->at = inside + (size_t)over + 2;
    }
    if (!find_close(p, &close)) return bad(p, "unclosed action");
    *ret_next = close + 2;
    p->end = close;
    if (close > p->at && p->src.ptr[close - 1] == '-' &&
        (close - 1 == p->at || is_space(p->src.ptr[close - 2]))) {
        p->end = close - 1;
        while (*ret_next < p->src.len && is_space(p->src.ptr[*ret_next])) (*ret_next)++;
    }
    return ERR_OK;
}

static err_code parse_list(parser *p, go_list *list, bool nested, list_end *ret_end);

static void leave_action(parser *p, size_t next) {
    p->at = next;
    p->end = p->src.len;
}

/* The body of if, range, with, and what follows an else. p is inside the opening action. */
static err_code parse_block(parser *p, go_node *n, size_t next) {
    list_end end;
    if (++p->depth > LIMIT_TEMPLATE_DEPTH) FAIL(p->e, LIMIT, "template: it is nested too deep");
    TRY(parse_pipe(p, '\0', &n->pipe));
    leave_action(p, next);
    TRY(parse_list(p, &n->body, true, &end));
    if (end == END_ELSE) {
        /* p is inside the else action; its text goes on behind the braces */
        size_t after = p->end + 2;
        bool trims = p->src.ptr[p->end] == '-';
        if (trims) {
            after = p->end + 3;
            while (after < p->src.len && is_space(p->src.ptr[after])) after++;
        }
        skip_space(p);
        go_node_kind kind = eat_word(p, "if") ? GO_IF : eat_word(p, "with") ? GO_WITH : GO_TEXT;
        if (kind != GO_TEXT) {
            TRY(parse_block(p, add_node(p, &n->otherwise, kind), after));
        } else {
            leave_action(p, after);
            TRY(parse_list(p, &n->otherwise, true, &end));
            if (end == END_ELSE) return bad(p, "expected end; found {{else}}");
        }
    }
    p->depth--;
    return ERR_OK;
}

/* define "name" and block "name" pipeline. */
static err_code parse_define(parser *p, go_list *list, bool is_block, size_t next) {
    const value *name;
    list_end end;
    go_list body = {0};
    skip_space(p);
    if (peek(p) != '"' && peek(p) != '`') return bad(p, "missing template name");
    TRY(read_string(p, &name));
    if (is_block) {
        go_node *n = add_node(p, list, GO_TEMPLATE);
        n->text = name->as.text;
        TRY(parse_pipe(p, '\0', &n->pipe));
    }
    leave_action(p, next);
    TRY(parse_list(p, &body, true, &end));
    if (end == END_ELSE) return bad(p, "unexpected {{else}}");
    VEC_PUSH(p->t->defines, (go_define){name->as.text, body});
    return ERR_OK;
}

static err_code parse_template(parser *p, go_list *list) {
    const value *name;
    skip_space(p);
    if (peek(p) != '"' && peek(p) != '`') return bad(p, "missing template name");
    TRY(read_string(p, &name));
    go_node *n = add_node(p, list, GO_TEMPLATE);
    n->text = name->as.text;
    skip_space(p);
    return p->at < p->end ? parse_pipe(p, '\0', &n->pipe) : ERR_OK;
}

/* One action. *ret_end is set when it ends the list; for else p stays inside it. */
static err_code parse_action(parser *p, go_list *list, list_end *ret_end) {
    size_t next = 0;
    bool comment;
    *ret_end = END_OF_TEXT;
    TRY(open_action(p, &next, &comment));
    skip_space(p);
    if (comment) {
        leave_action(p, next);
        return ERR_OK;
    }
    if (eat_word(p, "else")) {
        *ret_end = END_ELSE;
        return ERR_OK;
    }
    if (eat_word(p, "if")) return parse_block(p, add_node(p, list, GO_IF), next);
    if (eat_word(p, "range")) return parse_block(p, add_node(p, list, GO_RANGE), next);
    if (eat_word(p, "with")) return parse_block(p, add_node(p, list, GO_WITH), next);
    if (eat_word(p, "define")) return parse_define(p, list, false, next);
    if (eat_word(p, "block")) return parse_define(p, list, true, next);
    if (eat_word(p, "end"))
        *ret_end = END_END;
    else if (eat_word(p, "break"))
        add_node(p, list, GO_BREAK);
    else if (eat_word(p, "continue"))
        add_node(p, list, GO_CONTINUE);
    else if (eat_word(p, "template"))
        TRY(parse_template(p, list));
    else
        TRY(parse_pipe(p, '\0', &add_node(p, list, GO_PRINT)->pipe));
    skip_space(p);
    if (p->at < p->end) return bad(p, "unexpected text in action");
    leave_action(p, next);
    return ERR_OK;
}

static err_code parse_list(parser *p, go_list *list, bool nested, list_end *ret_end) {
    for (;;) {
        read_text(p, list);
        if (p->at >= p->src.len) break;
        TRY(parse_action(p, list, ret_end));
        if (*ret_end == END_OF_TEXT) continue;
        if (nested) return ERR_OK;
        return bad(p, "unexpected {{%s}}", *ret_end == END_END ? "end" : "else");
    }
    *ret_end = END_OF_TEXT;
    return nested ? bad(p, "unexpected EOF") : ERR_OK;
}

err_code gotmpl_compile(str source, gotmpl **ret, err *e) {
    if (source.len > LIMIT_TEMPLATE_BYTES)
        FAIL(e, LIMIT, "the template has %zu bytes, at most %u are allowed", source.len,
             LIMIT_TEMPLATE_BYTES);
    gotmpl *t = NEW(gotmpl);
    t->mem = arena_create(0);
    parser p = {.t = t, .src = str_dup(t->mem, source), .end = source.len, .e = e};
    list_end end;
    err_code code = parse_list(&p, &t->body, false, &end);
    if (code)
        gotmpl_destroy(&t);
    else
        *ret = t;
    return code;
}

void gotmpl_destroy(gotmpl **tp) {
    gotmpl *t = tp ? *tp : NULL;
    if (!t) return;
    VEC_FINISH(t->defines);
    VEC_FINISH(t->fields);
    arena_destroy(&t->mem);
    mem_free(t);
    *tp = NULL;
}

bool gotmpl_uses(const gotmpl *t, str field) {
    for (size_t i = 0; i < t->fields.len; i++)
        if (str_eq(t->fields.items[i], field)) return true;
    return false;
}
