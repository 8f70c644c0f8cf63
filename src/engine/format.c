/* The form that a job's output must have, compiled when the job is submitted so that a bad schema
 * is refused at once. */
#include "base/limits.h"
#include "engine/job.h"

static err_code compile_format(const engine_format *f, grammar **ret, err *e) {
    switch (f->kind) {
    case ENGINE_FORMAT_FREE:
        return ERR_OK;
    case ENGINE_FORMAT_JSON:
        return grammar_from_json(ret, e);
    case ENGINE_FORMAT_SCHEMA:
        return grammar_from_schema(f->schema, ret, e);
    case ENGINE_FORMAT_REGEX:
        return grammar_from_regex(f->text, ret, e);
    case ENGINE_FORMAT_GBNF:
        return grammar_from_gbnf(f->text, ret, e);
    }
    FAIL(e, INTERNAL, "unknown format %d", (int)f->kind);
}

/* What cannot be held to is the request's fault: clients try again what the server lacks. */
err_code job_compile_format(const engine_format *f, grammar **ret, err *e) {
    *ret = NULL;
    err_code code = compile_format(f, ret, e);
    if (code != ERR_UNSUPPORTED) return code;
    if (e) e->code = ERR_INVALID;
    return ERR_INVALID;
}

/* ---- calls ---- */

/* Where a $ref to a place of the same schema leads when that lies at `base`; `id` is the schema's
 * $id. Others, such as anchors, stay as they are. */
static str rebased_ref(arena *a, str ref, str base, str id) {
    if (id.len && str_starts(ref, id)) ref = str_sub(ref, id.len, ref.len);
    if (ref.len == 0) return base;
    if (!str_eq(ref, STR("#")) && !str_starts(ref, STR("#/"))) return ref;
    str place = str_sub(ref, 1, ref.len);
    return str_fmt(a, STR_FMT STR_FMT, STR_ARG(base), STR_ARG(place));
}

/* A copy in which places of the same schema (#/...) are found below `base`. */
static value *rebased(arena *a, const value *v, str base, str id) {
    if (v->kind == VALUE_LIST) {
        value *to = value_list(a);
        for (size_t i = 0; i < v->as.list.len; i++)
            value_push(a, to, rebased(a, v->as.list.items[i], base, id));
        return to;
    }
    if (v->kind != VALUE_MAP) return value_copy(a, v);
    value *to = value_map(a);
    for (size_t i = 0; i < v->as.map.len; i++) {
        str key = v->as.map.pairs[i].key;
        const value *item = v->as.map.pairs[i].val;
        bool ref = str_eq(key, STR("$ref")) && item->kind == VALUE_STR;
        value_add(a, to, key,
                  ref ? value_str(a, rebased_ref(a, item->as.text, base, id))
                      : rebased(a, item, base, id));
    }
    return to;
}

static value *typed(arena *a, const char *type) {
    value *v = value_map(a);
    value_add(a, v, STR("type"), value_str(a, str_from(type)));
    return v;
}

/* What the arguments of a tool must be: none when it names no parameters, as OpenAI has it. A
 * schema that we cannot hold to becomes "any object", or the error, when the tool asks for
 * `strict`. */
static err_code arguments_schema(arena *a, const value *fn, str base, value **ret, err *e) {
    const value *schema = value_get(fn, STR("parameters")), *strict = value_get(fn, STR("strict"));
    grammar *g = NULL;
    *ret = typed(a, "object");
    if (!schema || schema->kind != VALUE_MAP || schema->as.map.len == 0) {
        value_add(a, *ret, STR("additionalProperties"), value_bool(a, false));
        return ERR_OK;
    }
    err why = {0};
    err_code code = grammar_from_schema(schema, &g, &why);
    grammar_destroy(&g);
    bool must = strict && strict->kind == VALUE_BOOL && strict->as.boolean;
    if (code && must) FAIL(e, INVALID, "tool parameters: %s", why.msg);
    if (code) return ERR_OK;
    const value *id = value_get(schema, STR("$id"));
    *ret = rebased(a, schema, base, id && id->kind == VALUE_STR ? id->as.text : (str){0});
    if (!value_get(*ret, STR("type"))) value_set(a, *ret, STR("type"), value_str(a, STR("object")));
    if (!value_get(*ret, STR("additionalProperties")))
        value_set(a, *ret, STR("additionalProperties"), value_bool(a, false));
    return ERR_OK;
}

/* `key`: how the arguments are called. */
static err_code call_schema(arena *a, const value *fn, size_t i, str key, value **ret, err *e) {
    value *props = value_map(a), *name = value_map(a), *required = value_list(a), *arguments;
    value_add(a, name, STR("const"), value_copy(a, value_get(fn, STR("name"))));
    str base = str_fmt(a, "#/anyOf/%zu/properties/" STR_FMT, i, STR_ARG(key));
    TRY(arguments_schema(a, fn, base, &arguments, e));
    value_add(a, props, STR("name"), name);
    value_add(a, props, key, arguments);
    value_push(a, required, value_str(a, STR("name")));
    value_push(a, required, value_str(a, key));
    *ret = typed(a, "object");
    value_add(a, *ret, STR("properties"), props);
    value_add(a, *ret, STR("required"), required);
    value_add(a, *ret, STR("additionalProperties"), value_bool(a, false));
    return ERR_OK;
}

/* The functions that may be called. */
static const value *functions_of(arena *a, const engine_prompt *p) {
    value *list = value_list(a);
    for (size_t i = 0; i < p->tools->as.list.len; i++) {
        const value *fn = value_get(p->tools->as.list.items[i], STR("function"));
        const value *name = value_get(fn, STR("name"));
        bool named = name && name->kind == VALUE_STR && name->as.text.len > 0;
        if (named && (p->tool_name.len == 0 || str_eq(name->as.text, p->tool_name)))
            value_push(a, list, value_copy(a, fn));
    }
    return list;
}

/* `relaxed`: llama's way of calling the arguments is as good. */
static err_code calls_schema(arena *a, const engine_prompt *p, bool relaxed, value **ret, err *e) {
    value *any = value_list(a), *one;
    const value *functions = functions_of(a, p);
    for (size_t i = 0; i < functions->as.list.len; i++) {
        const value *fn = functions->as.list.items[i];
        TRY(call_schema(a, fn, any->as.list.len, STR("arguments"), &one, e));
        value_push(a, any, one);
        if (!relaxed) continue;
        TRY(call_schema(a, fn, any->as.list.len, STR("parameters"), &one, e));
        value_push(a, any, one);
    }
    if (any->as.list.len == 0 && p->tool_choice == ENGINE_TOOLS_REQUIRED)
        FAIL(e, INVALID, "tool_choice: there is no tool \"" STR_FMT "\" among the tools",
             STR_ARG(p->tool_name));
    *ret = value_map(a);
    value_add(a, *ret, STR("anyOf"), any);
    return ERR_OK;
}

static bool has_tools(const engine_prompt *p) {
    return p->tools && p->tools->kind == VALUE_LIST && p->tools->as.list.len > 0 &&
           p->tool_choice != ENGINE_TOOLS_NONE;
}

err_code job_compile_call(const engine_prompt *p, grammar **ret, err *e) {
    *ret = NULL;
    if (!has_tools(p)) return ERR_OK;
    arena *a = arena_create(0);
    value *schema = NULL;
    err why = {0};
    err_code code = calls_schema(a, p, false, &schema, e);
    if (code == ERR_OK && value_get(schema, STR("anyOf"))->as.list.len > 0 &&
        grammar_from_schema(schema, ret, &why) && p->tool_choice == ENGINE_TOOLS_REQUIRED)
        code = err_set(e, why.code, "tools: %s", why.msg); /* else the model writes as it can */
    arena_destroy(&a);
    return code;
}

err_code job_call_in_words(engine_job *j, err *e) {
    const reply_call_form *form = j->reply ? reply_form(j->reply) : NULL;
    if (!form || !j->call_grammar) return ERR_OK;
    arena *a = arena_create(0);
    const engine_prompt *p = &j->spec.prompt;
    grammar *words = NULL;
    err_code code = grammar_from_calls(form, functions_of(a, p), &words, e);
    arena_destroy(&a);
    grammar_destroy(&j->call_grammar);
    j->call_grammar = words;
    return p->tool_choice == ENGINE_TOOLS_REQUIRED ? code : ERR_OK; /* else it writes as it can */
}

/* ---- calls or a format ---- */

/* Text as a regular expression. */
static void put_literal(buf *to, str text) {
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                     (unsigned char)c >= 0x80;
        if (!plain) buf_put_char(to, '\\');
        buf_put_char(to, c);
    }
}

/* How a list of calls as Python begins, for each tool: [name( and anything. */
static void put_python_calls(buf *to, const value *tools) {
    for (size_t i = 0; i < tools->as.list.len; i++) {
        const value *fn = value_get(tools->as.list.items[i], STR("function"));
        const value *name = value_get(fn, STR("name"));
        if (!name || name->kind != VALUE_STR || name->as.text.len == 0) continue;
        buf_put_str(to, STR("|\\["));
        put_literal(to, name->as.text);
        buf_put_str(to, STR("\\([\\s\\S]*"));
    }
}

/* j->grammar or a call as JSON without a mark. */
static err_code join_json_calls(engine_job *j, err *e) {
    arena *a = arena_create(0);
    value *schema = NULL;
    grammar *call = NULL;
    err_code code = calls_schema(a, &j->spec.prompt, true, &schema, e);
    if (code == ERR_OK) code = grammar_from_schema(schema, &call, e);
    if (code == ERR_OK) code = grammar_either(&j->grammar, call, e);
    grammar_destroy(&call);
    arena_destroy(&a);
    return code;
}

/* j->grammar or what matches one of the regular expressions, each with a | in front. */
static err_code join_marks(engine_job *j, str marks, err *e) {
    grammar *calls = NULL;
    err_code code = grammar_from_regex(str_sub(marks, 1, marks.len), &calls, e);
    if (code == ERR_OK) code = grammar_either(&j->grammar, calls, e);
    grammar_destroy(&calls);
    return code;
}

/* Behind a mark anything may come, except where the call's own grammar will hold then: no token
 * may reach from the mark into it. */
err_code job_join_calls(engine_job *j, err *e) {
    const engine_prompt *p = &j->spec.prompt;
    if (!j->reply || !has_tools(p)) return ERR_OK;
    bool bare = false, json;
    buf marks = {0};
    str mark;
    for (size_t i = 0; (mark = reply_call_mark(j->reply, i, &json)).len; i++) {
        if (str_eq(mark, STR("{"))) {
            bare = true;
        } else if (str_eq(mark, STR("["))) {
            put_python_calls(&marks, p->tools);
        } else {
            buf_put_char(&marks, '|');
            put_literal(&marks, mark);
            buf_put_str(&marks, json && j->call_grammar ? STR("\\n*") : STR("[\\s\\S]*"));
        }
    }
    err_code code = bare ? join_json_calls(j, e) : ERR_OK;
    if (code == ERR_OK && marks.len) code = join_marks(j, buf_str(&marks), e);
    buf_finish(&marks);
    return code;
}

void job_allow_calls(engine_job *j) {
    const engine_backend *b = &j->eng->b;
    void *model = j->m->backend_model;
    str mark;
    bool json;
    if (!j->reply || !has_tools(&j->spec.prompt)) return;
    for (size_t i = 0; (mark = reply_call_mark(j->reply, i, &json)).len; i++) {
        tok_segment seg = {mark, true};
        tok_ids ids = {0};
        if (b->encode(model, (engine_segments){&seg, 1}, false, &ids, NULL) == ERR_OK && ids.len &&
            b->piece(model, ids.items[0]).len == 0 && b->mark(model, ids.items[0]).len > 0)
            llm_constraint_allow_leave(j->constraint, ids.items[0]);
        VEC_FINISH(ids);
    }
}
