/* Import and export of chats. Foreign trees are taken as they are: ids are made anew, parents that
 * are missing become roots, loops end. */
#include "api/web_io.h"
#include "api/web_events.h"
#include "api/web_handlers.h"
#include "api/web_title.h"
#include "base/limits.h"
#include "base/map.h"
#include "base/vec.h"
#include "http/json.h"
#include <string.h>

enum { PASSED_OVER = 1000 }; /* nodes without text above a message */

/* A message as it was found, before it has a place. */
typedef struct found {
    str key, parent_key;
    message m;
    bool keep;  /* false: a node without text, whose children hang on its parent */
    int placed; /* 0 no, 1 being placed, 2 yes */
} found;

typedef struct reader {
    arena *a;
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

static str text_of(reader *rd, const json_t *v) {
    if (json_is_string(v)) return str_sub(comfy_text(v), 0, LIMIT_WEB_MESSAGE_BYTES);
    if (!json_is_array(v)) return STR("");
    buf b = {0}; /* parts: strings, or {"text": ...} */
    for (size_t i = 0; i < json_array_size(v) && b.len < LIMIT_WEB_MESSAGE_BYTES; i++) {
        const json_t *part = json_array_get(v, i);
        str s = comfy_text(json_is_object(part) ? json_object_get(part, "text") : part);
        if (s.len) buf_putf(&b, "%s" STR_FMT, b.len ? "\n" : "", STR_ARG(s));
    }
    str out = str_dup(rd->a, str_sub(buf_str(&b), 0, LIMIT_WEB_MESSAGE_BYTES));
    buf_finish(&b);
    return out;
}

static bool known_role(str role) {
    return str_eq(role, STR("user")) || str_eq(role, STR("assistant")) ||
           str_eq(role, STR("system"));
}

static void add(reader *rd, str key, str parent_key, message m) {
    bool keep = known_role(m.role) && (m.content.len || m.thinking.len);
    if (key.len == 0 || rd->list.len >= LIMIT_WEB_MESSAGES || map_has(&rd->by_key, key)) return;
    map_put(&rd->by_key, key, (int64_t)rd->list.len + 1);
    m.id = comfy_uuid(rd->a);
    m.state = STR("done");
    VEC_PUSH(rd->list, (found){key, parent_key, m, keep, 0});
}

/* Open WebUI's and ours: {id: {parentId, role, content, ...}}. */
static void read_history(reader *rd, const json_t *messages) {
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)messages, key, v) {
        message m = {.role = comfy_text(json_object_get(v, "role")),
                     .content = text_of(rd, json_object_get(v, "content")),
                     .thinking = text_of(rd, json_object_get(v, "thinking")),
                     .model = str_sub(comfy_text(json_object_get(v, "model")), 0, LIMIT_NAME_BYTES),
                     .created_ms = time_ms(json_object_get(v, "timestamp"))};
        const json_t *sources = json_object_get(v, "sources"), *usage = json_object_get(v, "usage");
        const json_t *rating = json_object_get(v, "rating");
        if (json_array_size(sources)) m.sources = comfy_json_text(rd->a, sources);
        if (json_is_object(usage)) m.usage = comfy_json_text(rd->a, usage);
        if (json_is_integer(rating) && json_integer_value(rating))
            m.extra = str_fmt(rd->a, "{\"rating\":%d}", json_integer_value(rating) > 0 ? 1 : -1);
        add(rd, str_dup(rd->a, str_from(key)), comfy_text(json_object_get(v, "parentId")), m);
    }
}

/* ChatGPT's: {id: {parent, message: {author: {role}, content: {parts}}}}. */
static void read_mapping(reader *rd, const json_t *mapping) {
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)mapping, key, v) {
        const json_t *inner = json_object_get(v, "message");
        const json_t *meta = json_object_get(inner, "metadata");
        message m = {
            .role = comfy_text(json_object_get(json_object_get(inner, "author"), "role")),
            .content = text_of(rd, json_object_get(json_object_get(inner, "content"), "parts")),
            .model = str_sub(comfy_text(json_object_get(meta, "model_slug")), 0, LIMIT_NAME_BYTES),
            .created_ms = time_ms(json_object_get(inner, "create_time"))};
        if (str_eq(m.role, STR("system"))) m.content = STR(""); /* empty or not the user's */
        add(rd, str_dup(rd->a, str_from(key)), comfy_text(json_object_get(v, "parent")), m);
    }
}

/* A plain list in order. */
static void read_list(reader *rd, const json_t *list) {
    str before = {0};
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *v = json_array_get(list, i);
        str key = str_fmt(rd->a, "%zu", i);
        message m = {.role = comfy_text(json_object_get(v, "role")),
                     .content = text_of(rd, json_object_get(v, "content")),
                     .model = str_sub(comfy_text(json_object_get(v, "model")), 0, LIMIT_NAME_BYTES),
                     .created_ms = time_ms(json_object_get(v, "timestamp"))};
        add(rd, key, before, m);
        before = key;
    }
}

static found *of(reader *rd, str key) {
    int64_t i;
    return key.len && map_get(&rd->by_key, key, &i) ? &rd->list.items[i - 1] : NULL;
}

/* The nearest ancestor that is kept; a loop ends at the root. */
static found *parent_of(reader *rd, const found *f) {
    found *p = of(rd, f->parent_key);
    for (int n = 0; p && !p->keep && n < PASSED_OVER; n++) p = of(rd, p->parent_key);
    return p && p->keep ? p : NULL;
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
    for (size_t i = 0; i < rd->list.len; i++)
        if (rd->list.items[i].keep && rd->list.items[i].placed != 2) place(rd, &rd->list.items[i]);
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
    c->title = str_trim(str_sub(title, 0, LIMIT_WEB_TITLE_BYTES));
    c->title.len -= str_utf8_partial(c->title);
    c->titled = c->title.len > 0;
    c->model = comfy_text(json_array_get(json_object_get(inner, "models"), 0));
    c->model = str_sub(c->model, 0, LIMIT_NAME_BYTES);
    c->system = str_sub(comfy_text(json_object_get(inner, "system")), 0, LIMIT_WEB_SYSTEM_BYTES);
    c->params = bounded_object(rd->a, json_object_get(inner, "params"));
    c->created_ms = time_ms(first_of(v, "created_at", "create_time"));
    c->updated_ms = time_ms(first_of(v, "updated_at", "update_time"));
    c->pinned = json_is_true(json_object_get(v, "pinned"));
    c->archived = json_is_true(json_object_get(v, "archived"));
    found *leaf = of(rd, current);
    if (leaf && !leaf->keep) leaf = parent_of(rd, leaf);
    c->current_id = leaf && leaf->placed == 2 ? leaf->m.id : newest_leaf(rd);
}

err_code web_import_read(const json_t *v, str user_id, arena *a, web_imported *ret, err *e) {
    const json_t *inner = json_object_get(v, "chat");
    reader rd = {.a = a};
    int64_t now = comfy_now_ms();
    if (!json_is_object(inner)) inner = v;
    if (!json_is_object(inner) ||
        !(json_object_get(inner, "history") || json_object_get(inner, "mapping") ||
          json_object_get(inner, "messages")))
        FAIL(e, INVALID, "this is no chat: it has neither history, mapping nor messages");
    read_messages(&rd, inner);
    chat c = {.id = comfy_uuid(a), .user_id = user_id};
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
    VEC_FINISH(rd.list);
    VEC_FINISH(rd.out);
    map_finish(&rd.by_key);
    return ERR_OK;
}

static err_code put(web *w, const web_imported *in, err *e) {
    return chats_add(w->db, &in->chat, in->list, in->n, e);
}

/* ---- routes: in ---- */

static const json_t *list_of(const json_t *body) {
    const json_t *list = json_is_object(body) ? json_object_get(body, "chats") : body;
    return json_is_array(list) ? list : NULL;
}

void web_chats_import(http_request *r, void *ctx) {
    web *w = ctx;
    arena *a = http_request_arena(r);
    json_t *body, *ids = json_array();
    err e;
    int64_t n_done = 0, n_skipped = 0;
    comfy_defer_json(a, ids);
    if (json_parse(http_request_body(r), &body, &e)) {
        web_fail(r, 400, "the file is not JSON: %s", e.msg);
        return;
    }
    comfy_defer_json(a, body);
    const json_t *list = list_of(body);
    size_t n = list ? json_array_size(list) : 1;
    for (size_t i = 0; i < n; i++) {
        CLEANUP(arena_destroy) arena *one = arena_create(0);
        web_imported in;
        const json_t *v = list ? json_array_get(list, i) : body;
        if (web_import_read(v, web_user_id(r), one, &in, &e) || put(w, &in, &e)) {
            n_skipped++;
            continue;
        }
        n_done++;
        json_array_append_new(ids, comfy_str(in.chat.id));
    }
    if (n_done == 0 && n > 0) {
        web_fail(r, 400, "%s", e.msg);
        return;
    }
    web_hub_user(w->hub, web_user_id(r), "reset", json_object());
    web_reply(r, json_pack("{s:I, s:I, s:O}", "imported", (json_int_t)n_done, "skipped",
                           (json_int_t)n_skipped, "ids", ids));
}

static void reply_whole(web *w, http_request *r, const chat *c) {
    message *list;
    size_t n;
    err e;
    if (messages_of(w->db, c->id, http_request_arena(r), &list, &n, &e))
        web_fail_err(r, &e);
    else
        web_reply(r, web_chat_whole(c, list, n));
}

void web_import_one(web *w, http_request *r, const json_t *v, const json_t *around) {
    web_imported in;
    err e;
    json_t *empty = NULL;
    if (!json_object_get(v, "history") && !json_object_get(v, "messages")) {
        empty = json_copy((json_t *)(uintptr_t)v); /* Open WebUI's empty new chat */
        json_object_set_new(empty, "messages", json_array());
        comfy_defer_json(http_request_arena(r), empty);
        v = empty;
    }
    if (web_import_read(v, web_user_id(r), http_request_arena(r), &in, &e)) {
        web_fail_err(r, &e);
        return;
    }
    str folder_id = comfy_text(json_object_get(around, "folder_id"));
    if (folder_id.len && web_owns(w, web_user_id(r), OWNED_ITEM, "folder", folder_id, &e)) {
        web_fail_err(r, &e);
        return;
    }
    in.chat.folder_id = folder_id;
    if (put(w, &in, &e)) {
        web_fail_err(r, &e);
        return;
    }
    web_chat_changed(w, in.chat.user_id, in.chat.id);
    reply_whole(w, r, &in.chat);
}

/* Messages of a history that the chat does not have yet are added under their own ids. */
bool web_merge_history(web *w, http_request *r, chat *c, const json_t *inner) {
    arena *a = http_request_arena(r);
    const json_t *history = json_object_get(inner, "history");
    const json_t *all = json_object_get(history, "messages");
    const char *key;
    json_t *v;
    err e;
    message old;
    size_t n_more = 1;
    for (size_t round = 0; n_more && round < 10000; round++) {
        n_more = 0;
        json_object_foreach((json_t *)(uintptr_t)all, key, v) {
            str id = str_from(key), parent = comfy_text(json_object_get(v, "parentId"));
            str content = comfy_text(json_object_get(v, "content"));
            bool there = !messages_find(w->db, c->id, id, a, &old, NULL);
            if (there && content.ptr && !str_eq(content, old.content) && !web_run_is_live(w, id)) {
                old.content = content;
                if (messages_update(w->db, &old, &e)) return web_fail_err(r, &e), false;
            }
            if (there || !comfy_is_uuid(id)) continue;
            if (parent.len && messages_find(w->db, c->id, parent, a, &old, NULL)) continue;
            message m = {.id = id,
                         .chat_id = c->id,
                         .parent_id = parent,
                         .role = comfy_text(json_object_get(v, "role")),
                         .content = content,
                         .model = comfy_text(json_object_get(v, "model")),
                         .state = STR("done"),
                         .created_ms = comfy_now_ms()};
            if (!known_role(m.role) || content.len > LIMIT_WEB_MESSAGE_BYTES) continue;
            if (messages_add(w->db, c->id, &m, 1, &e)) return web_fail_err(r, &e), false;
            c->current_id = id;
            n_more++;
        }
    }
    str current = comfy_text(json_object_get(history, "currentId"));
    if (current.len && !messages_find(w->db, c->id, current, a, &old, NULL))
        c->current_id = current;
    return true;
}

void web_chat_clone(http_request *r, void *ctx) {
    web *w = ctx;
    arena *a = http_request_arena(r);
    chat c;
    message *list;
    size_t n;
    web_imported in;
    err e;
    if (!web_take_chat(w, r, &c)) return;
    err_code code = messages_of(w->db, c.id, a, &list, &n, &e);
    json_t *whole = code ? NULL : web_chat_whole(&c, list, n);
    if (!code) code = web_import_read(whole, c.user_id, a, &in, &e);
    if (!code) in.chat.updated_ms = comfy_now_ms();
    if (!code) code = put(w, &in, &e);
    if (code) {
        web_fail_err(r, &e);
    } else {
        web_chat_changed(w, c.user_id, in.chat.id);
        reply_whole(w, r, &in.chat);
    }
    json_decref(whole);
}

/* ---- routes: out ---- */

str web_export_markdown(const chat *c, const message *list, size_t n, arena *a) {
    buf b = {0};
    bool *shown = ARENA_ARRAY(a, bool, n + 1);
    str at = c->current_id;
    for (size_t i = n; i-- > 0;) {
        shown[i] = str_eq(list[i].id, at);
        if (shown[i]) at = list[i].parent_id;
    }
    buf_putf(&b, "# " STR_FMT "\n", STR_ARG(c->title));
    for (size_t i = 0; i < n; i++) {
        if (!shown[i]) continue;
        bool by_user = str_eq(list[i].role, STR("user"));
        buf_putf(&b, "\n## %s%s" STR_FMT "%s\n\n", by_user ? "You" : "Assistant",
                 list[i].model.len ? " (" : "", STR_ARG(list[i].model),
                 list[i].model.len ? ")" : "");
        buf_put_str(&b, list[i].content);
        buf_put_char(&b, '\n');
    }
    str out = str_dup(a, buf_str(&b));
    buf_finish(&b);
    return out;
}

/* A file name from a title: what every system takes. */
static str file_name(arena *a, str title, const char *ext) {
    buf b = {0};
    for (size_t i = 0; i < title.len && b.len < 60; i++) {
        char ch = title.ptr[i];
        bool ok = (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9');
        if (ok || (b.len && b.ptr[b.len - 1] != '-')) buf_put_char(&b, ok ? ch : '-');
    }
    str out = str_fmt(a, "attachment; filename=\"" STR_FMT ".%s\"",
                      STR_ARG(b.len ? buf_str(&b) : STR("chat")), ext);
    buf_finish(&b);
    return out;
}

void web_chat_export(http_request *r, void *ctx) {
    web *w = ctx;
    arena *a = http_request_arena(r);
    chat c;
    message *list;
    size_t n;
    err e;
    if (!web_take_chat(w, r, &c)) return;
    if (messages_of(w->db, c.id, a, &list, &n, &e)) {
        web_fail_err(r, &e);
        return;
    }
    bool md = str_eq(http_request_query(r, "format"), STR("md"));
    http_reply_header(r, "Content-Disposition", file_name(a, c.title, md ? "md" : "json").ptr);
    if (md)
        http_reply(r, 200, "text/markdown; charset=utf-8", web_export_markdown(&c, list, n, a));
    else
        web_reply(r, web_chat_whole(&c, list, n));
}

static void reply_all(web *w, http_request *r) {
    arena *a = http_request_arena(r);
    chat *chats;
    size_t n;
    err e;
    chats_query q = {.user_id = web_user_id(r), .which = CHATS_ALL, .limit = LIMIT_WEB_CHATS};
    if (chats_list(w->db, &q, a, &chats, &n, &e)) {
        web_fail_err(r, &e);
        return;
    }
    json_t *out = json_array();
    for (size_t i = 0; i < n; i++) {
        CLEANUP(arena_destroy) arena *one = arena_create(0);
        message *list;
        size_t n_list;
        if (messages_of(w->db, chats[i].id, one, &list, &n_list, NULL)) continue;
        json_array_append_new(out, web_chat_whole(&chats[i], list, n_list));
    }
    web_reply(r, out);
}

void web_chats_all(http_request *r, void *ctx) {
    reply_all(ctx, r);
}

void web_chats_export(http_request *r, void *ctx) {
    http_reply_header(r, "Content-Disposition", "attachment; filename=\"chats.json\"");
    reply_all(ctx, r);
}
