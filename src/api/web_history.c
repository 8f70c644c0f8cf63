/* Other people's chats as ours. Foreign trees are taken as they are: parents that are missing make
 * roots, loops end, what has no text is passed over. */
#include "api/web_io.h"
#include "api/web_title.h"
#include "base/limits.h"
#include "base/map.h"
#include "base/vec.h"
#include <string.h>

/* A message as it was found, before it has a place. */
typedef struct found {
    str key, parent_key;
    message m;
    bool keep;           /* false: its children hang on what is above it */
    bool resolved;       /* `above` is known */
    struct found *above; /* the nearest kept ancestor; NULL = root */
    int placed;          /* 0 no, 1 being placed, 2 yes */
} found;

typedef struct reader {
    arena *a;
    bool keeps_ids;
    const web_attach *attach;
    VEC(found) list;
    map by_key; /* -> index + 1 */
    VEC(message) out;
} reader;

static int64_t time_ms(const json_t *v) {
    double t = json_is_number(v) ? json_number_value(v) : 0;
    if (!(t > 0) || t > 1e18) return 0;
    if (t > 1e15) return (int64_t)(t / 1e6); /* nanoseconds */
    return (int64_t)(t > 1e11 ? t : t * 1000);
}

/* At most n bytes, whole characters. */
static str cut(str s, size_t n) {
    if (s.len <= n) return s;
    s.len = n;
    s.len -= str_utf8_partial(s);
    return s;
}

static str text_of(reader *rd, const json_t *v) {
    if (json_is_string(v)) return cut(comfy_text(v), LIMIT_WEB_MESSAGE_BYTES);
    if (!json_is_array(v)) return STR("");
    buf b = {0}; /* parts: strings, or {"text": ...} */
    for (size_t i = 0; i < json_array_size(v) && b.len < LIMIT_WEB_MESSAGE_BYTES; i++) {
        const json_t *part = json_array_get(v, i);
        str s = comfy_text(json_is_object(part) ? json_object_get(part, "text") : part);
        if (s.len == 0) continue;
        if (b.len) buf_put_char(&b, '\n');
        buf_put_str(&b, s);
    }
    str out = str_dup(rd->a, cut(buf_str(&b), LIMIT_WEB_MESSAGE_BYTES));
    buf_finish(&b);
    return out;
}

static bool known_role(str role) {
    return str_eq(role, STR("user")) || str_eq(role, STR("assistant")) ||
           str_eq(role, STR("system"));
}

static void add(reader *rd, str key, str parent_key, message m) {
    bool keep = known_role(m.role) &&
                (rd->keeps_ids || m.content.len || m.error.len || m.files.len || m.picture.len);
    if (key.len == 0 || rd->list.len >= LIMIT_WEB_MESSAGES || map_has(&rd->by_key, key)) return;
    map_put(&rd->by_key, key, (int64_t)rd->list.len + 1);
    m.id = rd->keeps_ids && comfy_is_uuid(key) ? key : comfy_uuid(rd->a);
    m.state = m.error.len ? STR("failed") : STR("done");
    VEC_PUSH(rd->list, (found){.key = key, .parent_key = parent_key, .m = m, .keep = keep});
}

/* ---- Open WebUI's and ours: {id: {parentId, role, content, ...}} ---- */

/* "> " before each line of a quoted thought goes. */
static str unquote(arena *a, str text) {
    buf b = {0};
    while (text.len) {
        str line = str_cut(&text, '\n');
        if (str_starts(line, STR("> ")))
            line = str_sub(line, 2, line.len);
        else if (str_eq(line, STR(">")))
            line.len = 0;
        buf_put_str(&b, line);
        buf_put_char(&b, '\n');
    }
    str out = str_dup(a, str_trim(buf_str(&b)));
    buf_finish(&b);
    return out;
}

/* Open WebUI keeps thoughts in front of the answer: <details type="reasoning"><summary>..</summary>
 * quoted lines </details>. */
static void take_thoughts(reader *rd, message *m) {
    const str open = STR("<details type=\"reasoning\""), close = STR("</details>");
    const str summary = STR("</summary>");
    str text = str_trim(m->content);
    while (str_starts(text, open)) {
        ptrdiff_t end = str_find(text, close), from;
        if (end < 0) return;
        str inner = str_sub(text, 0, (size_t)end);
        from = str_find(inner, summary);
        if (from < 0) from = str_find_char(inner, '>') + 1 - (ptrdiff_t)summary.len;
        str thought =
            unquote(rd->a, str_sub(inner, (size_t)(from + (ptrdiff_t)summary.len), inner.len));
        m->thinking = m->thinking.len ? str_fmt(rd->a, STR_FMT "\n\n" STR_FMT, STR_ARG(m->thinking),
                                                STR_ARG(thought))
                                      : thought;
        text = str_trim(str_sub(text, (size_t)end + close.len, text.len));
        m->content = text;
    }
}

static json_t *source(size_t n, const json_t *name, const json_t *text, const json_t *score) {
    json_t *o = json_object();
    json_object_set_new(o, "n", json_integer((json_int_t)n));
    json_object_set_new(o, "name", comfy_str(cut(comfy_text(name), LIMIT_WEB_TEXT_BYTES)));
    json_object_set_new(o, "text", comfy_str(cut(comfy_text(text), LIMIT_WEB_INLINE_BYTES)));
    json_object_set_new(o, "score", json_real(json_number_value(score)));
    return o;
}

/* Ours as they are; Open WebUI's {source: {name}, document: [text], distances: []} one by one. */
static str read_sources(reader *rd, const json_t *list) {
    json_t *out = json_array(), *v, *text;
    size_t i, k;
    json_array_foreach((json_t *)(uintptr_t)list, i, v) {
        if (json_array_size(out) >= LIMIT_WEB_ATTACHED) break;
        if (json_is_string(json_object_get(v, "text"))) {
            json_array_append(out, v);
            continue;
        }
        const json_t *name = json_object_get(json_object_get(v, "source"), "name");
        json_array_foreach(json_object_get(v, "document"), k, text) {
            if (json_is_string(text) && json_array_size(out) < LIMIT_WEB_ATTACHED)
                json_array_append_new(out,
                                      source(json_array_size(out) + 1, name, text,
                                             json_array_get(json_object_get(v, "distances"), k)));
        }
    }
    str s = json_array_size(out) ? comfy_json_text(rd->a, out) : STR("");
    json_decref(out);
    return s.len <= LIMIT_WEB_MESSAGE_BYTES ? s : STR("");
}

static str error_of(const json_t *v) {
    str text = comfy_text(json_is_object(v) ? json_object_get(v, "content") : v);
    return cut(text.ptr ? text : STR(""), LIMIT_WEB_SYSTEM_BYTES);
}

static message read_one(reader *rd, const json_t *v) {
    message m = {.role = comfy_text(json_object_get(v, "role")),
                 .content = text_of(rd, json_object_get(v, "content")),
                 .thinking = text_of(rd, json_object_get(v, "thinking")),
                 .model = cut(comfy_text(json_object_get(v, "model")), LIMIT_NAME_BYTES),
                 .error = error_of(json_object_get(v, "error")),
                 .sources = read_sources(rd, json_object_get(v, "sources")),
                 .created_ms = time_ms(json_object_get(v, "timestamp"))};
    const json_t *usage = json_object_get(v, "usage"), *rating = json_object_get(v, "rating");
    if (json_is_object(usage)) m.usage = comfy_json_text(rd->a, usage);
    if (m.usage.len > LIMIT_WEB_JSON_BYTES) m.usage = STR("");
    if (!rating) rating = json_object_get(json_object_get(v, "annotation"), "rating");
    if (json_is_integer(rating) && json_integer_value(rating))
        m.extra = str_fmt(rd->a, "{\"rating\":%d}", json_integer_value(rating) > 0 ? 1 : -1);
    if (str_eq(m.role, STR("assistant"))) take_thoughts(rd, &m);
    if (rd->attach && known_role(m.role)) web_attach_read(rd->attach, v, rd->a, &m);
    return m;
}

static void read_history(reader *rd, const json_t *messages) {
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)messages, key, v)
        add(rd, str_dup(rd->a, str_from(key)), comfy_text(json_object_get(v, "parentId")),
            read_one(rd, v));
}

/* ---- ChatGPT's: {id: {parent, message: {author: {role}, content: {content_type, parts}}}} ---- */

static str thoughts_of(reader *rd, const json_t *list) {
    buf b = {0};
    size_t i;
    json_t *v;
    json_array_foreach((json_t *)(uintptr_t)list, i, v) {
        str text = comfy_text(json_object_get(v, "content"));
        if (b.len > LIMIT_WEB_MESSAGE_BYTES || text.len == 0) continue;
        if (b.len) buf_put_str(&b, STR("\n\n"));
        buf_put_str(&b, text);
    }
    str out = str_dup(rd->a, cut(buf_str(&b), LIMIT_WEB_MESSAGE_BYTES));
    buf_finish(&b);
    return out;
}

static void read_content(reader *rd, const json_t *content, message *m) {
    str kind = comfy_text(json_object_get(content, "content_type"));
    str code = comfy_text(json_object_get(content, "text"));
    m->content = text_of(rd, json_object_get(content, "parts"));
    if (str_eq(kind, STR("thoughts")))
        m->thinking = thoughts_of(rd, json_object_get(content, "thoughts"));
    else if (m->content.len == 0 && str_eq(kind, STR("code")) && code.len)
        m->content = str_fmt(rd->a, "```\n" STR_FMT "\n```",
                             STR_ARG(cut(code, LIMIT_WEB_MESSAGE_BYTES - 16)));
    else if (m->content.len == 0 && str_eq(kind, STR("text")))
        m->content = text_of(rd, json_object_get(content, "text"));
}

static void read_mapping(reader *rd, const json_t *mapping) {
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)mapping, key, v) {
        const json_t *inner = json_object_get(v, "message");
        const json_t *meta = json_object_get(inner, "metadata");
        message m = {.role = comfy_text(json_object_get(json_object_get(inner, "author"), "role")),
                     .model =
                         cut(comfy_text(json_object_get(meta, "model_slug")), LIMIT_NAME_BYTES),
                     .created_ms = time_ms(json_object_get(inner, "create_time"))};
        read_content(rd, json_object_get(inner, "content"), &m);
        if (str_eq(m.role, STR("system")) || /* empty or not the user's */
            json_is_true(json_object_get(meta, "is_visually_hidden_from_conversation")))
            m.content = STR("");
        add(rd, str_dup(rd->a, str_from(key)), comfy_text(json_object_get(v, "parent")), m);
    }
}

/* A plain list in order. */
static void read_list(reader *rd, const json_t *list) {
    str before = {0};
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *v = json_array_get(list, i);
        str id = comfy_text(json_object_get(v, "id"));
        str key = comfy_is_uuid(id) ? id : str_fmt(rd->a, "%zu", i);
        add(rd, key, before, read_one(rd, v));
        before = key;
    }
}

/* ---- the tree ---- */

static found *of(reader *rd, str key) {
    int64_t i;
    return key.len && map_get(&rd->by_key, key, &i) ? &rd->list.items[i - 1] : NULL;
}

/* The nearest ancestor that is kept; a loop ends at the root. A thought that is passed over goes to
 * the answer below it. */
static found *parent_of(reader *rd, found *f) {
    VEC(found *) chain = {0};
    found *top = NULL;
    for (found *p = f; !p->resolved;) {
        p->resolved = true;
        VEC_PUSH(chain, p);
        found *next = of(rd, p->parent_key);
        if (!next) break;
        if (next->keep || next->resolved) {
            top = next->keep ? next : next->above;
            break;
        }
        if (f->m.thinking.len == 0 && str_eq(f->m.role, STR("assistant")))
            f->m.thinking = next->m.thinking;
        p = next;
    }
    for (size_t i = 0; i < chain.len; i++) chain.items[i]->above = top;
    VEC_FINISH(chain);
    return f->above;
}

/* Places the ancestors that have no place yet, then the message; a loop ends where it began. */
static void place(reader *rd, found *f) {
    VEC(found *) chain = {0};
    for (found *p = f; p && p->placed == 0; p = parent_of(rd, p)) {
        p->placed = 1;
        VEC_PUSH(chain, p);
    }
    for (size_t i = chain.len; i-- > 0;) {
        found *x = chain.items[i], *p = parent_of(rd, x);
        x->m.parent_id = p && p->placed == 2 ? p->m.id : STR("");
        x->placed = 2;
        VEC_PUSH(rd->out, x->m);
    }
    VEC_FINISH(chain);
}

static void place_all(reader *rd) {
    for (size_t i = 0; i < rd->list.len; i++)
        if (rd->list.items[i].keep && rd->list.items[i].placed != 2) place(rd, &rd->list.items[i]);
}

static void finish(reader *rd) {
    VEC_FINISH(rd->list);
    VEC_FINISH(rd->out);
    map_finish(&rd->by_key);
}

/* ---- a whole chat ---- */

static str newest_leaf(const reader *rd) {
    return rd->out.len ? VEC_LAST(rd->out).id : STR("");
}

static const json_t *first_of(const json_t *o, const char *a, const char *b) {
    const json_t *v = json_object_get(o, a);
    return v ? v : json_object_get(o, b);
}

static void read_messages(reader *rd, const json_t *inner) {
    const json_t *history = json_object_get(json_object_get(inner, "history"), "messages");
    const json_t *mapping = json_object_get(inner, "mapping");
    if (json_object_size(history))
        read_history(rd, history);
    else if (json_object_size(mapping))
        read_mapping(rd, mapping);
    else
        read_list(rd, json_object_get(inner, "messages"));
    place_all(rd);
}

static str bounded_object(arena *a, const json_t *v) {
    if (!json_is_object(v)) return STR("{}");
    str text = comfy_json_text(a, v);
    return text.len <= LIMIT_WEB_JSON_BYTES ? text : STR("{}");
}

static void read_chat(reader *rd, const json_t *v, const json_t *inner, chat *c) {
    const json_t *history = json_object_get(inner, "history");
    str current = comfy_text(first_of(inner, "current_node", "currentId"));
    if (history) current = comfy_text(json_object_get(history, "currentId"));
    str title = comfy_text(first_of(inner, "title", "name"));
    if (title.len == 0) title = comfy_text(json_object_get(v, "title"));
    c->title = str_trim(cut(title, LIMIT_WEB_TITLE_BYTES));
    c->titled = c->title.len > 0;
    c->model = comfy_text(json_array_get(json_object_get(inner, "models"), 0));
    c->model = cut(c->model, LIMIT_NAME_BYTES);
    c->system = cut(comfy_text(json_object_get(inner, "system")), LIMIT_WEB_SYSTEM_BYTES);
    c->params = bounded_object(rd->a, json_object_get(inner, "params"));
    c->meta = bounded_object(rd->a, json_object_get(v, "meta"));
    c->created_ms = time_ms(first_of(v, "created_at", "create_time"));
    c->updated_ms = time_ms(first_of(v, "updated_at", "update_time"));
    c->pinned = json_is_true(json_object_get(v, "pinned"));
    c->archived = json_is_true(first_of(v, "archived", "is_archived"));
    found *leaf = of(rd, current);
    if (leaf && !leaf->keep) leaf = parent_of(rd, leaf);
    c->current_id = leaf && leaf->placed == 2 ? leaf->m.id : newest_leaf(rd);
}

err_code web_import_read(const json_t *v, const web_import_how *how, arena *a, web_imported *ret,
                         err *e) {
    const json_t *inner = json_object_get(v, "chat");
    reader rd = {.a = a, .keeps_ids = how->keeps_ids, .attach = how->attach};
    int64_t now = comfy_now_ms();
    if (!json_is_object(inner)) inner = v;
    if (!json_is_object(inner) ||
        !(json_object_get(inner, "history") || json_object_get(inner, "mapping") ||
          json_object_get(inner, "messages")))
        FAIL(e, INVALID, "this is no chat: it has neither history, mapping nor messages");
    read_messages(&rd, inner);
    chat c = {.id = comfy_uuid(a), .user_id = how->user_id};
    read_chat(&rd, v, inner, &c);
    if (c.created_ms == 0) c.created_ms = rd.out.len ? rd.out.items[0].created_ms : 0;
    if (c.created_ms == 0) c.created_ms = now;
    if (c.updated_ms == 0) c.updated_ms = c.created_ms;
    for (size_t i = 0; i < rd.out.len; i++) {
        rd.out.items[i].chat_id = c.id;
        if (rd.out.items[i].created_ms == 0) rd.out.items[i].created_ms = c.created_ms;
    }
    if (c.title.len == 0) c.title = web_title_of(a, rd.out.len ? rd.out.items[0].content : STR(""));
    if (c.title.len == 0) c.title = STR("Imported chat");
    *ret = (web_imported){c, NULL, rd.out.len};
    if (rd.out.len) ret->list = arena_dup(a, rd.out.items, rd.out.len * sizeof *rd.out.items);
    finish(&rd);
    return ERR_OK;
}

/* ---- over a chat ---- */

/* What a client knows better: words, and what belongs to them. */
static bool take_over(message *old, const message *m, const json_t *v) {
    bool words = json_object_get(v, "content") && !str_eq(old->content, m->content);
    if (!words && (m->usage.len == 0 || str_eq(m->usage, old->usage))) return false;
    if (words) old->content = m->content;
    if (m->thinking.len) old->thinking = m->thinking;
    if (m->usage.len) old->usage = m->usage;
    if (m->sources.len) old->sources = m->sources;
    if (m->model.len) old->model = m->model;
    return true;
}

void web_history_merge(const json_t *messages, const message_list *there, const web_attach *attach,
                       arena *a, web_merged *ret) {
    reader rd = {.a = a, .keeps_ids = true, .attach = attach};
    map known = {0};
    VEC(message) changed = {0};
    int64_t now = comfy_now_ms(), at;
    for (size_t i = 0; i < there->n; i++) map_put(&known, there->items[i].id, (int64_t)i);
    read_history(&rd, messages);
    for (size_t i = 0; i < rd.list.len; i++) {
        found *f = &rd.list.items[i];
        if (map_get(&known, f->key, &at)) {
            message m = there->items[at];
            if (take_over(&m, &f->m, json_object_get(messages, f->key.ptr))) VEC_PUSH(changed, m);
            f->m = m;
            f->placed = 2; /* where it is */
        }
        f->keep = f->keep && (f->placed == 2 || comfy_is_uuid(f->key));
    }
    place_all(&rd);
    size_t n = 0;
    for (size_t i = 0; i < rd.out.len; i++) {
        message m = rd.out.items[i];
        found *f = of(&rd, m.id), *above = of(&rd, m.parent_id);
        if (m.parent_id.len == 0 && map_has(&known, f->parent_key)) m.parent_id = f->parent_key;
        bool lost = m.parent_id.len == 0 && f->parent_key.len && !of(&rd, f->parent_key);
        if (lost || (above && above->placed == 0)) { /* nor what hangs on it */
            f->placed = 0;
            continue;
        }
        if (m.created_ms == 0) m.created_ms = now;
        rd.out.items[n++] = m;
    }
    ret->fresh = (message_list){NULL, n};
    if (n) ret->fresh.items = arena_dup(a, rd.out.items, n * sizeof *rd.out.items);
    ret->changed = (message_list){NULL, changed.len};
    if (changed.len)
        ret->changed.items = arena_dup(a, changed.items, changed.len * sizeof *changed.items);
    VEC_FINISH(changed);
    map_finish(&known);
    finish(&rd);
}
