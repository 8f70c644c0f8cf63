/* Parsing: recursive descent over the tokens, with Go's own rules of what is refused when. */
#include "base/limits.h"
#include "model/gotmpl/syntax.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

typedef struct parser {
    gotmpl *t;
    go_tokens tokens;
    size_t at;
    VEC(str) vars; /* in scope */
    int depth, range_depth;
    err *e;
} parser;

/* How a list of statements ended. */
typedef enum list_end { END_OF_TEXT, END_END, END_ELSE } list_end;

static const go_token *peek(const parser *p) {
    return &p->tokens.items[p->at];
}

static const go_token *peek_part(parser *p) {
    while (peek(p)->kind == GO_T_SPACE) p->at++;
    return peek(p);
}

static const go_token *next_part(parser *p) {
    const go_token *t = peek_part(p);
    if (t->kind != GO_T_EOF && t->kind != GO_T_ERROR) p->at++;
    return t;
}

static bool is_word(const go_token *t, const char *word) {
    return t->kind == GO_T_WORD && str_eq(t->text, str_from(word));
}

static bool is_keyword(const go_token *t) {
    static const char *const WORDS[] = {"block", "break", "continue", "define",   "else",
                                        "end",   "if",    "range",    "template", "with"};
    for (size_t i = 0; i < COUNT_OF(WORDS); i++)
        if (is_word(t, WORDS[i])) return true;
    return false;
}

static err_code bad(const parser *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static err_code bad(const parser *p, const char *fmt, ...) {
    char text[256];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    FAIL(p->e, FORMAT, "template: :%d: %s", peek(p)->line, text);
}

static err_code unexpected(const parser *p, const go_token *t, const char *context) {
    str s = t->text.len > 40 ? str_sub(t->text, 0, 40) : t->text;
    if (t->kind == GO_T_ERROR) return bad(p, STR_FMT, STR_ARG(t->text));
    if (t->kind == GO_T_EOF) return bad(p, "unexpected EOF");
    if (is_keyword(t)) return bad(p, "unexpected <" STR_FMT "> in %s", STR_ARG(s), context);
    return bad(p, "unexpected \"" STR_FMT "\" in %s", STR_ARG(s), context);
}

static err_code expect_right(parser *p, const char *context) {
    const go_token *t = next_part(p);
    return t->kind == GO_T_RIGHT ? ERR_OK : unexpected(p, t, context);
}

static err_code deeper(parser *p) {
    if (++p->depth > LIMIT_TEMPLATE_DEPTH) FAIL(p->e, LIMIT, "template: it is nested too deep");
    return ERR_OK;
}

/* ---- pipelines ---- */

static err_code parse_pipe(parser *p, const char *context, go_token_kind end, go_pipe **ret);

static err_code read_text(parser *p, const go_token *t, str *ret) {
    if (go_read_quoted(p->t->mem, t->text, ret)) return ERR_OK;
    return bad(p, "invalid syntax: " STR_FMT, STR_ARG(t->text));
}

static err_code take_number(parser *p, const go_token *t, go_operand *o) {
    const char *why;
    if (go_read_number(p->t->mem, t, &o->constant, &why)) return ERR_OK;
    return bad(p, "%s: " STR_FMT, why, STR_ARG(t->text));
}

static err_code take_word(parser *p, const go_token *t, go_operand *o) {
    str name = t->text;
    if (str_eq(name, STR("true")) || str_eq(name, STR("false"))) {
        o->constant = value_bool(p->t->mem, name.len == 4);
        return ERR_OK;
    }
    if (str_eq(name, STR("nil"))) return ERR_OK;
    if (!go_is_func(name)) return bad(p, "function \"" STR_FMT "\" not defined", STR_ARG(name));
    o->kind = GO_FUNC;
    o->name = name;
    return ERR_OK;
}

static err_code take_variable(parser *p, const go_token *t, go_operand *o) {
    o->kind = GO_VAR;
    o->name = t->text;
    for (size_t i = 0; i < p->vars.len; i++)
        if (str_eq(p->vars.items[i], t->text)) return ERR_OK;
    return bad(p, "undefined variable \"$" STR_FMT "\"", STR_ARG(t->text));
}

static err_code take_string(parser *p, const go_token *t, go_operand *o) {
    str text;
    TRY(read_text(p, t, &text));
    value *v = value_str(p->t->mem, text);
    v->trusted = true;
    o->constant = v;
    return ERR_OK;
}

/* *ret_none: the token at hand begins no operand. */
static err_code parse_term(parser *p, go_operand *o, bool *ret_none) {
    const go_token *t = peek_part(p);
    *o = (go_operand){.kind = GO_CONST};
    *ret_none = false;
    switch ((int)t->kind) {
    case GO_T_WORD:
        *ret_none = is_keyword(t);
        if (*ret_none) return ERR_OK;
        p->at++;
        return take_word(p, t, o);
    case GO_T_DOT:
        o->kind = GO_DOT;
        break;
    case GO_T_FIELD:
        o->kind = GO_FIELD;
        return ERR_OK; /* the chain reads it */
    case GO_T_VARIABLE:
        p->at++;
        return take_variable(p, t, o);
    case GO_T_NUMBER:
    case GO_T_CHAR:
        p->at++;
        return take_number(p, t, o);
    case GO_T_STRING:
    case GO_T_RAW:
        p->at++;
        return take_string(p, t, o);
    case GO_T_OPEN:
        p->at++;
        o->kind = GO_PAREN;
        return parse_pipe(p, "parenthesized pipeline", GO_T_CLOSE, &o->pipe);
    default:
        *ret_none = true;
        return ERR_OK;
    }
    p->at++;
    return ERR_OK;
}

static err_code parse_operand(parser *p, go_operand *o, bool *ret_none) {
    VEC(str) fields = {0};
    TRY(parse_term(p, o, ret_none));
    bool first = o->kind == GO_FIELD;
    if (!*ret_none && peek(p)->kind == GO_T_FIELD && (o->kind == GO_CONST || o->kind == GO_DOT))
        return bad(p, "unexpected . after a literal");
    for (; !*ret_none && peek(p)->kind == GO_T_FIELD; p->at++) {
        VEC_PUSH(fields, peek(p)->text);
        VEC_PUSH(p->t->fields, peek(p)->text);
    }
    if (first && fields.len == 0) *ret_none = true;
    o->n_fields = fields.len;
    o->fields = arena_dup(p->t->mem, fields.items, fields.len * sizeof(str));
    VEC_FINISH(fields);
    return ERR_OK;
}

static err_code parse_command(parser *p, go_command *c) {
    VEC(go_operand) list = {0};
    err_code code = ERR_OK;
    for (;;) {
        go_operand o;
        bool none;
        peek_part(p);
        code = parse_operand(p, &o, &none);
        if (code) break;
        if (!none) VEC_PUSH(list, o);
        const go_token *t = peek(p);
        if (t->kind == GO_T_SPACE) continue;
        if (t->kind == GO_T_PIPE)
            p->at++;
        else if (t->kind != GO_T_RIGHT && t->kind != GO_T_CLOSE)
            code = unexpected(p, t, "operand");
        break;
    }
    if (code == ERR_OK && list.len == 0) code = bad(p, "empty command");
    c->n = list.len;
    c->operands = arena_dup(p->t->mem, list.items, list.len * sizeof(go_operand));
    VEC_FINISH(list);
    return code;
}

/* `$x :=`, `$x =`, `$i, $e :=`; a variable that is an operand stays where it is. */
static err_code parse_variables(parser *p, go_pipe *pipe, const char *context) {
    while (peek_part(p)->kind == GO_T_VARIABLE) {
        size_t from = p->at;
        str name = next_part(p)->text;
        const go_token *t = peek_part(p);
        bool comma = t->kind == GO_T_OTHER && t->text.ptr[0] == ',';
        if (t->kind != GO_T_ASSIGN && t->kind != GO_T_DECLARE && !comma) {
            p->at = from;
            return ERR_OK;
        }
        p->at++;
        if (pipe->n_vars == 2) return bad(p, "too many declarations in %s", context);
        pipe->vars[pipe->n_vars++] = name;
        VEC_PUSH(p->vars, name);
        pipe->declares = t->kind == GO_T_DECLARE;
        if (!comma) return ERR_OK;
        if (pipe->n_vars == 2 || strcmp(context, "range") != 0)
            return bad(p, "too many declarations in %s", context);
        if (peek_part(p)->kind != GO_T_VARIABLE)
            return bad(p, "range can only initialize variables");
    }
    return ERR_OK;
}

static err_code check_pipe(const parser *p, const go_pipe *pipe, const char *context) {
    if (pipe->n == 0) return bad(p, "missing value for %s", context);
    for (size_t i = 1; i < pipe->n; i++) {
        const go_operand *o = &pipe->commands[i].operands[0];
        if (o->kind == GO_CONST || o->kind == GO_DOT)
            return bad(p, "non executable command in pipeline stage %zu", i + 1);
    }
    return ERR_OK;
}

/* Up to a token of kind `end`, which is taken. */
static err_code parse_pipe(parser *p, const char *context, go_token_kind end, go_pipe **ret) {
    go_pipe *pipe = ARENA_NEW(p->t->mem, go_pipe);
    VEC(go_command) list = {0};
    TRY(deeper(p));
    pipe->line = peek(p)->line;
    err_code code = parse_variables(p, pipe, context);
    while (code == ERR_OK) {
        const go_token *t = peek_part(p);
        if (t->kind == end) {
            p->at++;
            break;
        }
        bool none = t->kind == GO_T_PIPE || t->kind == GO_T_OTHER || t->kind <= GO_T_RIGHT ||
                    t->kind == GO_T_CLOSE || t->kind >= GO_T_ASSIGN || is_keyword(t);
        if (none) {
            code = unexpected(p, t, context);
            break;
        }
        go_command c = {0};
        code = parse_command(p, &c);
        VEC_PUSH(list, c);
    }
    pipe->n = list.len;
    pipe->commands = arena_dup(p->t->mem, list.items, list.len * sizeof(go_command));
    VEC_FINISH(list);
    TRY(code);
    p->depth--;
    *ret = pipe;
    return check_pipe(p, pipe, context);
}

/* ---- actions ---- */

static err_code parse_list(parser *p, go_list *list, list_end *ret_end);

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

static err_code parse_control(parser *p, go_list *list, go_node_kind kind, const char *context);

/* Behind {{else: its list, or the if or with that follows it in the same action. */
static err_code parse_else(parser *p, go_node *n) {
    list_end end;
    bool chains = (n->kind == GO_IF && is_word(peek_part(p), "if")) ||
                  (n->kind == GO_WITH && is_word(peek_part(p), "with"));
    if (chains) {
        p->at++;
        return parse_control(p, &n->otherwise, n->kind, n->kind == GO_IF ? "if" : "with");
    }
    if (is_word(peek_part(p), "if") || is_word(peek_part(p), "with"))
        return unexpected(p, peek(p), "input");
    TRY(expect_right(p, "else"));
    TRY(parse_list(p, &n->otherwise, &end));
    return end == END_END ? ERR_OK : bad(p, "expected end; found {{else}}");
}

static err_code parse_control(parser *p, go_list *list, go_node_kind kind, const char *context) {
    list_end end;
    size_t scope = p->vars.len;
    go_node *n = add_node(p, list, kind);
    TRY(deeper(p));
    TRY(parse_pipe(p, context, GO_T_RIGHT, &n->pipe));
    p->range_depth += kind == GO_RANGE;
    TRY(parse_list(p, &n->body, &end));
    p->range_depth -= kind == GO_RANGE;
    if (end == END_ELSE) TRY(parse_else(p, n));
    p->vars.len = scope;
    p->depth--;
    return ERR_OK;
}

static bool is_blank(const go_list *list) {
    for (size_t i = 0; i < list->len; i++)
        if (list->items[i]->kind != GO_TEXT || str_trim(list->items[i]->text).len) return false;
    return true;
}

static err_code add_define(parser *p, str name, go_list body) {
    for (size_t i = 0; i < p->t->defines.len; i++) {
        go_define *d = &p->t->defines.items[i];
        if (!str_eq(d->name, name)) continue;
        if (is_blank(&d->body))
            d->body = body;
        else if (!is_blank(&body))
            return bad(p, "template: multiple definition of template \"" STR_FMT "\"",
                       STR_ARG(name));
        return ERR_OK;
    }
    VEC_PUSH(p->t->defines, (go_define){name, body});
    return ERR_OK;
}

/* The body of a define or block: a template of its own, with variables of its own. */
static err_code parse_body(parser *p, str name) {
    go_list body = {0};
    list_end end;
    size_t scope = p->vars.len;
    int ranges = p->range_depth;
    VEC(str) outer = {0};
    for (size_t i = 0; i < scope; i++) VEC_PUSH(outer, p->vars.items[i]);
    p->vars.len = 1;
    p->range_depth = 0;
    err_code code = deeper(p);
    if (code == ERR_OK) code = parse_list(p, &body, &end);
    p->vars.len = 0;
    for (size_t i = 0; i < scope; i++) VEC_PUSH(p->vars, outer.items[i]);
    VEC_FINISH(outer);
    TRY(code);
    p->range_depth = ranges;
    p->depth--;
    if (end == END_ELSE) return bad(p, "unexpected {{else}} in a template's definition");
    return add_define(p, name, body);
}

static err_code parse_name(parser *p, const char *context, str *ret) {
    const go_token *t = next_part(p);
    if (t->kind != GO_T_STRING && t->kind != GO_T_RAW) return unexpected(p, t, context);
    return read_text(p, t, ret);
}

static err_code parse_define(parser *p) {
    str name;
    TRY(parse_name(p, "define clause", &name));
    TRY(expect_right(p, "define clause"));
    return parse_body(p, name);
}

static err_code parse_block(parser *p, go_list *list) {
    go_node *n = add_node(p, list, GO_TEMPLATE);
    TRY(parse_name(p, "block clause", &n->text));
    TRY(parse_pipe(p, "block clause", GO_T_RIGHT, &n->pipe));
    return parse_body(p, n->text);
}

static err_code parse_template(parser *p, go_list *list) {
    go_node *n = add_node(p, list, GO_TEMPLATE);
    TRY(parse_name(p, "template clause", &n->text));
    if (peek_part(p)->kind == GO_T_RIGHT) {
        p->at++;
        return ERR_OK;
    }
    return parse_pipe(p, "template clause", GO_T_RIGHT, &n->pipe);
}

static err_code parse_jump(parser *p, go_list *list, go_node_kind kind) {
    const char *word = kind == GO_BREAK ? "break" : "continue";
    TRY(expect_right(p, kind == GO_BREAK ? "{{break}}" : "{{continue}}"));
    if (p->range_depth == 0) return bad(p, "{{%s}} outside {{range}}", word);
    add_node(p, list, kind);
    return ERR_OK;
}

/* One action behind {{. *ret_end is set when it ends the list; else: behind the word. */
static err_code parse_action(parser *p, go_list *list, list_end *ret_end) {
    static const struct {
        const char *word;
        go_node_kind kind;
    } CONTROLS[] = {{"if", GO_IF}, {"range", GO_RANGE}, {"with", GO_WITH}};
    const go_token *t = peek_part(p);
    *ret_end = END_OF_TEXT;
    if (!is_keyword(t) || is_word(t, "define"))
        return parse_pipe(p, "command", GO_T_RIGHT, &add_node(p, list, GO_PRINT)->pipe);
    p->at++;
    for (size_t i = 0; i < COUNT_OF(CONTROLS); i++)
        if (is_word(t, CONTROLS[i].word))
            return parse_control(p, list, CONTROLS[i].kind, CONTROLS[i].word);
    if (is_word(t, "block")) return parse_block(p, list);
    if (is_word(t, "template")) return parse_template(p, list);
    if (is_word(t, "break")) return parse_jump(p, list, GO_BREAK);
    if (is_word(t, "continue")) return parse_jump(p, list, GO_CONTINUE);
    *ret_end = is_word(t, "end") ? END_END : END_ELSE;
    return *ret_end == END_END ? expect_right(p, "end") : ERR_OK;
}

/* Up to its {{end}} or {{else; the text's end is a mistake. */
static err_code parse_list(parser *p, go_list *list, list_end *ret_end) {
    for (;;) {
        const go_token *t = next_part(p);
        if (t->kind == GO_T_TEXT) {
            add_node(p, list, GO_TEXT)->text = t->text;
        } else if (t->kind == GO_T_LEFT) {
            TRY(parse_action(p, list, ret_end));
            if (*ret_end != END_OF_TEXT) return ERR_OK;
        } else {
            return unexpected(p, t, "input");
        }
    }
}

static err_code parse_all(parser *p) {
    list_end end;
    for (;;) {
        const go_token *t = next_part(p);
        if (t->kind == GO_T_EOF) return ERR_OK;
        if (t->kind == GO_T_TEXT) {
            add_node(p, &p->t->body, GO_TEXT)->text = t->text;
            continue;
        }
        if (t->kind != GO_T_LEFT) return unexpected(p, t, "input");
        if (is_word(peek_part(p), "define")) {
            p->at++;
            TRY(parse_define(p));
            continue;
        }
        TRY(parse_action(p, &p->t->body, &end));
        if (end != END_OF_TEXT) return bad(p, "unexpected {{%s}}", end == END_END ? "end" : "else");
    }
}

err_code gotmpl_compile(str source, gotmpl **ret, err *e) {
    if (source.len > LIMIT_TEMPLATE_BYTES)
        FAIL(e, LIMIT, "the template has %zu bytes, at most %u are allowed", source.len,
             LIMIT_TEMPLATE_BYTES);
    gotmpl *t = NEW(gotmpl);
    t->mem = arena_create(0);
    parser p = {.t = t, .e = e};
    VEC_PUSH(p.vars, (str){0}); /* $ */
    go_lex(str_dup(t->mem, source), t->mem, &p.tokens);
    err_code code = parse_all(&p);
    VEC_FINISH(p.tokens);
    VEC_FINISH(p.vars);
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
