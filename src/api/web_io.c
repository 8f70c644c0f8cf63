/* Import and export of chats: the routes. Foreign forms are read in web_history.c. */
#include "api/web_io.h"
#include "api/web_events.h"
#include "api/web_handlers.h"
#include "api/web_run.h"
#include "base/limits.h"
#include "http/json.h"
#include <string.h>

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
    str text = http_request_body(r);
    if (str_starts(text, STR("\xef\xbb\xbf"))) text = str_sub(text, 3, text.len); /* a mark */
    if (text.len == 0 || json_parse(text, &body, &e)) {
        web_fail(r, 400, "the file is not JSON: %s", text.len ? e.msg : "it is empty");
        return;
    }
    comfy_defer_json(a, body);
    const json_t *list = list_of(body);
    size_t n = list ? json_array_size(list) : 1;
    for (size_t i = 0; i < n; i++) {
        CLEANUP(arena_destroy) arena *one = arena_create(0);
        web_imported in;
        web_import_how how = {web_user_id(r), false, &(web_attach){w, web_user_id(r), true}};
        const json_t *v = list ? json_array_get(list, i) : body;
        if (web_import_read(v, &how, one, &in, &e) || put(w, &in, &e)) {
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

void web_import_one(web *w, http_request *r, const json_t *v, const json_t *around) {
    web_imported in;
    err e;
    json_t *empty = NULL;
    web_import_how how = {web_user_id(r), true, &(web_attach){w, web_user_id(r), true}};
    if (!json_object_get(v, "history") && !json_object_get(v, "messages")) {
        empty = json_copy((json_t *)(uintptr_t)v); /* Open WebUI's empty new chat */
        json_object_set_new(empty, "messages", json_array());
        comfy_defer_json(http_request_arena(r), empty);
        v = empty;
    }
    if (web_import_read(v, &how, http_request_arena(r), &in, &e)) {
        web_fail_err(r, &e);
        return;
    }
    str folder_id = comfy_text(json_object_get(around, "folder_id"));
    if (folder_id.len && web_owns(w, web_user_id(r), OWNED_ITEM, "folder", folder_id, &e)) {
        web_fail_err(r, &e);
        return;
    }
    in.chat.folder_id = folder_id;
    err_code code = put(w, &in, &e);
    if (code == ERR_INTERNAL) { /* ids that are in use */
        how.keeps_ids = false;
        code = web_import_read(v, &how, http_request_arena(r), &in, &e);
        in.chat.folder_id = folder_id;
        if (!code) code = put(w, &in, &e);
    }
    if (code) {
        web_fail_err(r, &e);
        return;
    }
    web_chat_changed(w, in.chat.user_id, in.chat.id);
    web_reply_chat(w, r, &in.chat);
}

/* A history that a client keeps: what the chat does not have is added under its own id, what
 * differs is changed, and nothing is taken away. */
bool web_merge_history(web *w, http_request *r, chat *c, const json_t *inner) {
    arena *a = http_request_arena(r);
    const json_t *history = json_object_get(inner, "history");
    message_list there;
    web_merged m;
    err e;
    err_code code = messages_of(w->db, c->id, a, &there.items, &there.n, &e);
    if (!code) {
        web_history_merge(json_object_get(history, "messages"), &there,
                          &(web_attach){w, c->user_id, false}, a, &m);
        size_t n = 0;
        for (size_t i = 0; i < m.changed.n; i++) /* an answer that is being made is the server's */
            if (!web_run_is_live(w, m.changed.items[i].id))
                m.changed.items[n++] = m.changed.items[i];
        m.changed.n = n;
        code = messages_put(w->db, c->id, &m.changed, &m.fresh, &e);
    }
    if (code) {
        web_fail(r, code == ERR_INTERNAL ? 409 : err_http_status(code),
                 "the messages could not be stored: %s", e.msg);
        return false;
    }
    str current = comfy_text(json_object_get(history, "currentId"));
    if (m.fresh.n + m.changed.n) c->updated_ms = comfy_now_ms();
    if (m.fresh.n) c->current_id = m.fresh.items[m.fresh.n - 1].id;
    for (size_t i = 0; i < there.n + m.fresh.n; i++) {
        const message *x = i < there.n ? &there.items[i] : &m.fresh.items[i - there.n];
        if (str_eq(x->id, current)) c->current_id = current;
    }
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
    web_import_how how = {c.user_id, false, &(web_attach){w, c.user_id, false}};
    if (!code) code = web_import_read(whole, &how, a, &in, &e);
    if (!code) in.chat.updated_ms = comfy_now_ms();
    json_t *asked = NULL;
    if (!code && !json_parse(http_request_body(r), &asked, NULL)) {
        str title = comfy_text(json_object_get(asked, "title"));
        if (title.len && title.len <= LIMIT_WEB_TITLE_BYTES) in.chat.title = str_dup(a, title);
        json_decref(asked);
    }
    if (!code) code = put(w, &in, &e);
    if (code) {
        web_fail_err(r, &e);
    } else {
        web_chat_changed(w, c.user_id, in.chat.id);
        web_reply_chat(w, r, &in.chat);
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
