/* Go chat templates: the data they see, and the three ways to run one. */
#include "model/chat_go.h"
#include "base/limits.h"
#include "base/vec.h"
#include "model/chat_mend.h"
#include "model/gotmpl/gotmpl.h"
#include <string.h>

/* Stands where .Response would; users cannot write a NUL. */
#define RESPONSE_MARK "\0response\0"

typedef struct go_job {
    const gotmpl *t;
    const chat_input *in;
    arena *a;
    value *messages; /* joined */
    str system;      /* all system messages */
    VEC(tok_segment) segs;
    err *e;
} go_job;

bool chat_go_is(str t) {
    static const char *const WORDS[] = {"range ", "if .",    "if or ",    "if and ", "if (",
                                        "with ",  "define ", "template ", "block ",  "json ",
                                        "$",      "end }}",  "end}}",     "end -}}", "else"};
    for (ptrdiff_t at; (at = str_find(t, STR("{{"))) >= 0;) {
        t = str_sub(t, (size_t)at + 2, t.len);
        str action = str_trim(str_starts(t, STR("-")) ? str_sub(t, 1, t.len) : t);
        if (action.len && (action.ptr[0] == '.' || str_starts(action, STR("/*")))) return true;
        for (size_t i = 0; i < COUNT_OF(WORDS); i++)
            if (str_starts(action, str_from(WORDS[i]))) return true;
    }
    return false;
}

err_code chat_go_inspect(str source, chat_go_facts *ret, err *e) {
    gotmpl *t;
    TRY(gotmpl_compile(source, &t, e));
    *ret = (chat_go_facts){.tools = gotmpl_uses(t, STR("Tools")),
                           .thinking = gotmpl_uses(t, STR("Thinking")),
                           .insert = gotmpl_uses(t, STR("Suffix"))};
    gotmpl_destroy(&t);
    return ERR_OK;
}

/* ---- data ---- */

static value *trusted_text(arena *a, str s) {
    value *v = value_str(a, s);
    v->trusted = true;
    return v;
}

static const char *known_role(const value *m) {
    static const char *const ROLES[] = {"system", "user", "assistant", "tool"};
    for (size_t i = 0; i < COUNT_OF(ROLES); i++)
        if (chat_has_role(m, ROLES[i])) return ROLES[i];
    return NULL;
}

static str joined(arena *a, str first, str second) {
    if (first.len == 0) return second;
    return str_fmt(a, STR_FMT "\n\n" STR_FMT, STR_ARG(first), STR_ARG(second));
}

/* `keys` first, in that order, then the rest: templates print whole maps, and models know them so.
 */
static value *ordered(arena *a, const value *m, const char *const *keys, size_t n_keys) {
    value *out = value_map(a);
    for (size_t i = 0; i < n_keys; i++) {
        value *v = value_get(m, str_from(keys[i]));
        if (v) value_add(a, out, str_from(keys[i]), v);
    }
    for (size_t i = 0; i < m->as.map.len; i++) {
        bool known = false;
        for (size_t k = 0; k < n_keys && !known; k++)
            known = str_eq(m->as.map.pairs[i].key, str_from(keys[k]));
        if (!known) value_add(a, out, m->as.map.pairs[i].key, m->as.map.pairs[i].val);
    }
    return out;
}

#define ORDERED(a, m, ...)                                                                         \
    ordered((a), (m), (const char *const[]){__VA_ARGS__},                                          \
            sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

/* Replaces m's member `key` by what `change` makes of it, when it is a map. */
static void change_map(arena *a, value *m, const char *key, value *(*change)(arena *, value *)) {
    value *v = value_get(m, str_from(key));
    if (v && v->kind == VALUE_MAP) value_set(a, m, str_from(key), change(a, v));
}

static value *property(arena *a, value *v) {
    value *out = ORDERED(a, v, "anyOf", "type", "items", "description", "enum", "properties");
    out->trusted = true; /* gotmpl.h: its type reads as a list */
    return out;
}

static value *properties(arena *a, value *v) {
    value *out = chat_copy_map(a, v);
    for (size_t i = 0; i < out->as.map.len; i++)
        if (out->as.map.pairs[i].val->kind == VALUE_MAP)
            out->as.map.pairs[i].val = property(a, out->as.map.pairs[i].val);
    return out;
}

static value *parameters(arena *a, value *v) {
    value *out = ORDERED(a, v, "type", "$defs", "items", "required", "properties");
    change_map(a, out, "properties", properties);
    return out;
}

static value *function(arena *a, value *v) {
    value *out = ORDERED(a, v, "name", "description", "parameters");
    change_map(a, out, "parameters", parameters);
    return out;
}

static value *tools_of(arena *a, const value *tools) {
    value *out = value_list(a);
    for (size_t i = 0; i < tools->as.list.len; i++) {
        value *tool = tools->as.list.items[i];
        if (tool->kind == VALUE_MAP) {
            tool = ORDERED(a, tool, "type", "items", "function");
            change_map(a, tool, "function", function);
        }
        value_push(a, out, tool);
    }
    return out;
}

static value *called(arena *a, value *v) {
    return ORDERED(a, v, "index", "name", "arguments");
}

/* Tool calls get the numbers that templates print. */
static void number_calls(arena *a, value *m) {
    const value *calls = value_get(m, STR("tool_calls"));
    if (!calls || calls->kind != VALUE_LIST) return;
    value *list = value_list(a);
    for (size_t i = 0; i < calls->as.list.len; i++) {
        value *call = value_copy(a, calls->as.list.items[i]), *f = value_get(call, STR("function"));
        if (f && f->kind == VALUE_MAP && !value_get(f, STR("index")))
            value_set(a, f, STR("index"), value_int(a, (int64_t)i));
        if (call->kind == VALUE_MAP) {
            call = ORDERED(a, call, "id", "function");
            change_map(a, call, "function", called);
        }
        value_push(a, list, call);
    }
    value_set(a, m, STR("tool_calls"), list);
}

static err_code join_messages(go_job *j) {
    const value *from = j->in->messages;
    if (!from || from->kind != VALUE_LIST) FAIL(j->e, INVALID, "messages must be a list");
    j->messages = value_list(j->a);
    value *last = NULL;
    for (size_t i = 0; i < from->as.list.len; i++) {
        const value *m = from->as.list.items[i];
        if (m->kind != VALUE_MAP) FAIL(j->e, INVALID, "message %zu is not an object", i + 1);
        const char *role = known_role(m);
        str content = chat_text_of(m, "content");
        if (chat_has_role(m, "system")) j->system = joined(j->a, j->system, content);
        if (last && role && chat_has_role(last, role) && !chat_has_role(m, "tool") &&
            !value_get(m, STR("tool_calls"))) {
            str all = joined(j->a, chat_text_of(last, "content"), content);
            value_set(j->a, last, STR("content"), value_str(j->a, all));
            continue;
        }
        last = chat_copy_map(j->a, m);
        if (role) value_set(j->a, last, STR("role"), trusted_text(j->a, str_from(role)));
        number_calls(j->a, last);
        value_push(j->a, j->messages, last);
    }
    return ERR_OK;
}

static value *base_data(go_job *j) {
    value *d = value_map(j->a);
    const chat_input *in = j->in;
    if (in->tools && in->tools->kind == VALUE_LIST)
        value_add(j->a, d, STR("Tools"), tools_of(j->a, in->tools));
    value_add(j->a, d, STR("Think"), value_bool(j->a, in->think > 0));
    value_add(j->a, d, STR("ThinkLevel"), value_str(j->a, in->think_level));
    value_add(j->a, d, STR("IsThinkSet"), value_bool(j->a, in->think >= 0));
    return d;
}

/* ---- running ---- */

static err_code run_with(go_job *j, const value *data) {
    const tok_segment *segs;
    size_t n;
    const gotmpl_input in = {data, j->in->now_unix};
    TRY(gotmpl_render(j->t, &in, j->a, &segs, &n, j->e));
    for (size_t i = 0; i < n; i++) VEC_PUSH(j->segs, segs[i]);
    return ERR_OK;
}

/* Ends the text at the mark; a template that never prints .Response ends by itself. */
static void cut_at_mark(go_job *j) {
    for (size_t i = 0; i < j->segs.len; i++) {
        tok_segment *s = &j->segs.items[i];
        ptrdiff_t at = str_find(s->text, STR(RESPONSE_MARK));
        if (at < 0) continue;
        s->text.len = (size_t)at;
        j->segs.len = i + 1;
        return;
    }
}

typedef struct exchange {
    str system, prompt, response;
} exchange;

static err_code run_exchange(go_job *j, exchange *x, bool last) {
    value *d = base_data(j);
    value_add(j->a, d, STR("System"), value_str(j->a, x->system));
    value_add(j->a, d, STR("Prompt"), value_str(j->a, x->prompt));
    str response = last ? STR(RESPONSE_MARK) : x->response;
    value_add(j->a, d, STR("Response"), value_str(j->a, response));
    TRY(run_with(j, d));
    if (last) {
        cut_at_mark(j);
        if (x->response.len) VEC_PUSH(j->segs, (tok_segment){x->response, false});
    } else if (!gotmpl_uses(j->t, STR("Response")) && x->response.len) {
        VEC_PUSH(j->segs, (tok_segment){x->response, false});
    }
    *x = (exchange){0};
    return ERR_OK;
}

static err_code run_legacy(go_job *j) {
    exchange x = {0};
    for (size_t i = 0; i < j->messages->as.list.len; i++) {
        const value *m = j->messages->as.list.items[i];
        str content = chat_text_of(m, "content");
        if (chat_has_role(m, "system")) {
            if (x.prompt.len || x.response.len) TRY(run_exchange(j, &x, false));
            x.system = content;
        } else if (chat_has_role(m, "assistant")) {
            x.response = content;
        } else {
            if (x.response.len) TRY(run_exchange(j, &x, false));
            x.prompt = content;
        }
    }
    return run_exchange(j, &x, true);
}

static err_code run_messages(go_job *j) {
    value *d = base_data(j);
    value_add(j->a, d, STR("System"), value_str(j->a, j->system));
    value_add(j->a, d, STR("Messages"), j->messages);
    value_add(j->a, d, STR("Response"), value_str(j->a, STR("")));
    return run_with(j, d);
}

static err_code run_insert(go_job *j) {
    value *d = base_data(j);
    size_t n = j->messages->as.list.len;
    str prompt = n ? chat_text_of(j->messages->as.list.items[n - 1], "content") : (str){0};
    value_add(j->a, d, STR("Prompt"), value_str(j->a, prompt));
    value_add(j->a, d, STR("Suffix"), value_str(j->a, j->in->suffix));
    value_add(j->a, d, STR("Response"), value_str(j->a, STR(RESPONSE_MARK)));
    TRY(run_with(j, d));
    cut_at_mark(j);
    return ERR_OK;
}

static err_code run_job(go_job *j) {
    TRY(join_messages(j));
    if (j->in->suffix.len) {
        if (!gotmpl_uses(j->t, STR("Suffix")))
            FAIL(j->e, INVALID, "the template does not support insert: it has no .Suffix");
        return run_insert(j);
    }
    return gotmpl_uses(j->t, STR("Messages")) ? run_messages(j) : run_legacy(j);
}

err_code chat_go_render(str source, const chat_input *in, arena *a, const tok_segment **ret,
                        size_t *ret_n, err *e) {
    gotmpl *t;
    TRY(gotmpl_compile(source, &t, e));
    go_job j = {.t = t, .in = in, .a = a, .e = e};
    err_code code = run_job(&j);
    if (code == ERR_OK) {
        *ret = arena_dup(a, j.segs.items, j.segs.len * sizeof(tok_segment));
        *ret_n = j.segs.len;
    }
    VEC_FINISH(j.segs);
    gotmpl_destroy(&t);
    return code;
}
