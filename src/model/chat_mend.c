/* Changes messages so that picky templates take them; see chat_mend.h. */
#include "model/chat_mend.h"
#include "base/buf.h"
#include "model/jinja/jinja.h"

str chat_text_of(const value *map, const char *key) {
    const value *v = value_get(map, str_from(key));
    return v && v->kind == VALUE_STR ? v->as.text : (str){0};
}

bool chat_has_role(const value *message, const char *role) {
    return str_eq(chat_text_of(message, "role"), str_from(role));
}

value *chat_concat(arena *a, str first, str second) {
    buf b = {0};
    buf_put_str(&b, first);
    buf_put_str(&b, second);
    value *v = value_str(a, buf_str(&b));
    buf_finish(&b);
    return v;
}

value *chat_copy_map(arena *a, const value *m) {
    value *out = value_map(a);
    for (size_t i = 0; i < m->as.map.len; i++)
        value_add(a, out, m->as.map.pairs[i].key, m->as.map.pairs[i].val);
    return out;
}

static bool can_join(const value *a, const value *b) {
    const value *x = value_get(a, STR("content")), *y = value_get(b, STR("content"));
    return str_eq(chat_text_of(a, "role"), chat_text_of(b, "role")) && !chat_has_role(a, "tool") &&
           x && y && x->kind == VALUE_STR && y->kind == VALUE_STR &&
           !value_get(a, STR("tool_calls")) && !value_get(b, STR("tool_calls"));
}

/* System messages as user messages. */
static value *without_system(arena *a, const value *messages, bool *changed) {
    value *out = value_list(a);
    for (size_t i = 0; i < messages->as.list.len; i++) {
        value *m = messages->as.list.items[i];
        if (chat_has_role(m, "system")) {
            value *role = value_str(a, STR("user"));
            role->trusted = true;
            m = chat_copy_map(a, m);
            value_set(a, m, STR("role"), role);
            *changed = true;
        }
        value_push(a, out, m);
    }
    return out;
}

/* messages[from, to) as one, with the contents in paragraphs. */
static value *joined(arena *a, const value *messages, size_t from, size_t to) {
    buf b = {0};
    for (size_t i = from; i < to; i++) {
        str content = chat_text_of(messages->as.list.items[i], "content");
        if (b.len > 0 && content.len > 0) buf_put_str(&b, STR("\n\n"));
        buf_put_str(&b, content);
    }
    value *one = chat_copy_map(a, messages->as.list.items[from]);
    value_set(a, one, STR("content"), value_str(a, buf_str(&b)));
    buf_finish(&b);
    return one;
}

value *chat_mend_roles(arena *a, const value *messages) {
    bool changed = false;
    const value *plain = without_system(a, messages, &changed);
    value *const *items = plain->as.list.items;
    value *out = value_list(a);
    for (size_t i = 0, end = 0; i < plain->as.list.len; i = end) {
        for (end = i + 1; end < plain->as.list.len && can_join(items[i], items[end]);) end++;
        changed = changed || end > i + 1;
        value_push(a, out, end > i + 1 ? joined(a, plain, i, end) : items[i]);
    }
    return changed ? out : NULL;
}

static const value *calls_of(const value *message) {
    const value *calls = value_get(message, STR("tool_calls"));
    return calls && calls->kind == VALUE_LIST ? calls : NULL;
}

/* One message per call; the answers that stand at messages[*next] and behind go in between. */
static void split_message(arena *a, const value *messages, size_t *next, value *out) {
    const value *m = messages->as.list.items[*next - 1], *calls = calls_of(m);
    for (size_t i = 0; i < calls->as.list.len; i++) {
        value *one = chat_copy_map(a, m), *list = value_list(a);
        value_push(a, list, calls->as.list.items[i]);
        value_set(a, one, STR("tool_calls"), list);
        if (i > 0) value_set(a, one, STR("content"), value_str(a, (str){0}));
        value_push(a, out, one);
        if (*next < messages->as.list.len && chat_has_role(messages->as.list.items[*next], "tool"))
            value_push(a, out, messages->as.list.items[(*next)++]);
    }
}

value *chat_mend_calls(arena *a, const value *messages) {
    value *out = value_list(a);
    bool changed = false;
    for (size_t i = 0; i < messages->as.list.len;) {
        value *m = messages->as.list.items[i++];
        const value *calls = calls_of(m);
        if (calls && calls->as.list.len > 1) {
            split_message(a, messages, &i, out);
            changed = true;
        } else {
            value_push(a, out, m);
        }
    }
    return changed ? out : NULL;
}

/* v as JSON, by way of the one writer of JSON that templates have. */
static value *json_text(arena *a, const jinja *writer, value *v) {
    value *vars = value_map(a);
    value_add(a, vars, STR("x"), v);
    const tok_segment *segs = NULL;
    size_t n = 0;
    buf b = {0};
    if (jinja_render(writer, &(jinja_input){.vars = vars}, a, &segs, &n, NULL) == ERR_OK)
        for (size_t i = 0; i < n; i++) buf_put_str(&b, segs[i].text);
    value *text = value_str(a, buf_str(&b));
    buf_finish(&b);
    return text;
}

/* The call with text for arguments, or as it is. */
static value *with_text(arena *a, const jinja *writer, value *call, bool *changed) {
    value *fn = value_get(call, STR("function"));
    value *args = value_get(fn ? fn : call, STR("arguments"));
    if (!fn || !args || args->kind != VALUE_MAP) return call;
    *changed = true;
    fn = chat_copy_map(a, fn);
    value_set(a, fn, STR("arguments"), json_text(a, writer, args));
    call = chat_copy_map(a, call);
    value_set(a, call, STR("function"), fn);
    return call;
}

value *chat_mend_arguments(arena *a, const value *messages) {
    value *out = value_list(a);
    bool changed = false;
    jinja *writer = NULL;
    if (jinja_compile(STR("{{ x | tojson }}"), &writer, NULL) != ERR_OK) return NULL;
    for (size_t i = 0; i < messages->as.list.len; i++) {
        value *m = messages->as.list.items[i];
        const value *calls = calls_of(m);
        if (calls) {
            value *list = value_list(a);
            for (size_t k = 0; k < calls->as.list.len; k++)
                value_push(a, list, with_text(a, writer, calls->as.list.items[k], &changed));
            m = chat_copy_map(a, m);
            value_set(a, m, STR("tool_calls"), list);
        }
        value_push(a, out, m);
    }
    jinja_destroy(&writer);
    return changed ? out : NULL;
}
