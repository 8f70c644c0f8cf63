/* /api/v1/chats: lists, search, one chat, its changes. Messages are in web_messages.c. */
#include "api/web_chats.h"
#include "api/web_events.h"
#include "api/web_files.h"
#include "api/web_handlers.h"
#include "api/web_models.h"
#include "api/web_run.h"
#include "api/web_title.h"
#include "base/limits.h"
#include "http/json.h"

enum { PAGE = 60 };

/* ---- shapes ---- */

static json_t *text_or_null(str s) {
    return s.len ? comfy_str(s) : json_null();
}

json_t *web_chat_json(const chat *c) {
    json_t *o = json_object();
    json_object_set_new(o, "id", comfy_str(c->id));
    json_object_set_new(o, "title", comfy_str(c->title));
    json_object_set_new(o, "model", comfy_str(c->model));
    json_object_set_new(o, "updated_at", web_seconds(c->updated_ms));
    json_object_set_new(o, "created_at", web_seconds(c->created_ms));
    json_object_set_new(o, "pinned", json_boolean(c->pinned));
    json_object_set_new(o, "archived", json_boolean(c->archived));
    json_object_set_new(o, "folder_id", text_or_null(c->folder_id));
    json_object_set_new(o, "current_id", text_or_null(c->current_id));
    json_object_set_new(o, "running", json_boolean(c->has_live));
    return o;
}

json_t *web_message_json(const message *m) {
    json_t *o = comfy_json_read(m->extra, json_object());
    if (!json_is_object(o)) o = json_object();
    json_object_set_new(o, "id", comfy_str(m->id));
    json_object_set_new(o, "parent_id", text_or_null(m->parent_id));
    json_object_set_new(o, "role", comfy_str(m->role));
    json_object_set_new(o, "content", comfy_str(m->content));
    json_object_set_new(o, "thinking", comfy_str(m->thinking));
    json_object_set_new(o, "model", comfy_str(m->model));
    json_object_set_new(o, "created_at", web_seconds(m->created_ms));
    json_object_set_new(o, "state", comfy_str(m->state));
    json_object_set_new(o, "error", text_or_null(m->error));
    json_object_set_new(o, "files", comfy_json_read(m->files, json_array()));
    json_object_set_new(o, "sources", comfy_json_read(m->sources, json_array()));
    json_object_set_new(o, "usage", comfy_json_read(m->usage, json_null()));
    json_object_set_new(o, "picture", comfy_json_read(m->picture, json_null()));
    if (!json_object_get(o, "rating")) json_object_set_new(o, "rating", json_integer(0));
    return o;
}

static json_t *whole_message(const message *m) {
    json_t *o = web_message_json(m);
    json_object_set_new(o, "parentId", text_or_null(m->parent_id));
    json_object_set_new(o, "childrenIds", json_array());
    json_object_set_new(o, "timestamp", web_seconds(m->created_ms));
    json_object_set_new(o, "done", json_boolean(str_eq(m->state, STR("done"))));
    return o;
}

json_t *web_chat_whole(const chat *c, const message *list, size_t n) {
    json_t *messages = json_object(), *inner = json_object(), *o = web_chat_json(c);
    for (size_t i = 0; i < n; i++) {
        json_object_set_new(messages, list[i].id.ptr, whole_message(&list[i]));
        json_t *parent =
            list[i].parent_id.len ? json_object_get(messages, list[i].parent_id.ptr) : NULL;
        if (parent)
            json_array_append_new(json_object_get(parent, "childrenIds"), comfy_str(list[i].id));
    }
    json_t *history = json_object();
    json_object_set_new(history, "currentId", text_or_null(c->current_id));
    json_object_set_new(history, "messages", messages);
    json_object_set_new(inner, "id", comfy_str(c->id));
    json_object_set_new(inner, "title", comfy_str(c->title));
    json_object_set_new(inner, "models", json_pack("[o]", comfy_str(c->model)));
    json_object_set_new(inner, "params", comfy_json_read(c->params, json_object()));
    json_object_set_new(inner, "system", comfy_str(c->system));
    json_object_set_new(inner, "history", history);
    json_object_set_new(o, "user_id", comfy_str(c->user_id));
    json_object_set_new(o, "share_id", text_or_null(c->share_id));
    json_object_set_new(o, "meta", comfy_json_read(c->meta, json_object()));
    json_object_set_new(o, "chat", inner);
    return o;
}

/* ---- one chat ---- */

bool web_take_chat(web *w, http_request *r, chat *ret) {
    err e;
    if (!chats_find(w->db, web_user_id(r), http_request_param(r, "chat"), http_request_arena(r),
                    ret, &e))
        return true;
    web_fail_err(r, &e);
    return false;
}

bool web_take_message(web *w, http_request *r, const chat *c, message *ret) {
    err e;
    if (!messages_find(w->db, c->id, http_request_param(r, "message"), http_request_arena(r), ret,
                       &e))
        return true;
    web_fail_err(r, &e);
    return false;
}

void web_chat_changed(web *w, str user_id, str chat_id) {
    CLEANUP(arena_destroy) arena *a = arena_create(0);
    chat c;
    if (chats_find(w->db, user_id, chat_id, a, &c, NULL)) return;
    json_t *o = web_chat_json(&c);
    web_hub_user(w->hub, user_id, "chat", json_copy(o));
    web_hub_chat(w->hub, chat_id, "chat", o);
}

void web_message_changed(web *w, const message *m) {
    web_hub_chat(w->hub, m->chat_id, "message", web_message_json(m));
}

void web_forget_user(web *w, str user_id) {
    web_run_forget(w, user_id, STR(""));
    web_files_forget(w, user_id);
    web_end_streams(w, user_id, STR("-"), true);
}

void web_reply_chat(web *w, http_request *r, const chat *c) {
    message *list;
    size_t n;
    err e;
    if (messages_of(w->db, c->id, http_request_arena(r), &list, &n, &e))
        web_fail_err(r, &e);
    else
        web_reply(r, web_chat_whole(c, list, n));
}

void web_chat_get(http_request *r, void *ctx) {
    chat c;
    if (web_take_chat(ctx, r, &c)) web_reply_chat(ctx, r, &c);
}

/* Puts the running messages over what the database says. A message that began to run meanwhile is
 * shown empty: all of its text is still to come. */
static void overlay(message *list, size_t n, const web_live *live) {
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < live->n; k++)
            if (str_eq(list[i].id, live->list[k].id)) {
                str files = list[i].files, extra = list[i].extra;
                list[i] = live->list[k];
                list[i].files = files;
                if (extra.len) list[i].extra = extra;
            }
}

static bool is_live_state(str s) {
    static const char *const live[] = {"queued",   "loading", "reading",
                                       "thinking", "writing", "running"};
    for (size_t i = 0; i < COUNT_OF(live); i++)
        if (str_eq(s, str_from(live[i]))) return true;
    return false;
}

/* Messages and the position that they correspond to: again when a run began in between. */
static err_code read_thread(web *w, const chat *c, arena *a, web_live *live, message_list *all,
                            err *e) {
    for (int round = 0;; round++) {
        bool again = false;
        web_run_live(w, c->id, a, live);
        TRY(messages_of(w->db, c->id, a, &all->items, &all->n, e));
        for (size_t i = 0; i < all->n && round < 3; i++) {
            bool known = false;
            for (size_t k = 0; k < live->n; k++)
                known = known || str_eq(all->items[i].id, live->list[k].id);
            again = again || (!known && is_live_state(all->items[i].state));
        }
        if (!again) break;
    }
    overlay(all->items, all->n, live);
    return ERR_OK;
}

static bool on_branch(const message *list, size_t n, str current, bool *ret_on) {
    for (size_t i = n; i-- > 0;) {
        ret_on[i] = str_eq(list[i].id, current);
        if (ret_on[i]) current = list[i].parent_id;
    }
    return true;
}

void web_chat_thread(http_request *r, void *ctx) {
    web *w = ctx;
    arena *a = http_request_arena(r);
    chat c;
    message_list all;
    web_live live;
    err e;
    if (!web_take_chat(w, r, &c)) return;
    if (read_thread(w, &c, a, &live, &all, &e)) {
        web_fail_err(r, &e);
        return;
    }
    message *list = all.items;
    size_t n = all.n;
    bool *shown = ARENA_ARRAY(a, bool, n + 1);
    bool light = comfy_flag(http_request_query(r, "light"), false) &&
                 on_branch(list, n, c.current_id, shown);
    json_t *o = web_chat_json(&c), *messages = json_array();
    for (size_t i = 0; i < n; i++) {
        if (light && !shown[i]) list[i].content = list[i].thinking = STR("");
        json_t *m = web_message_json(&list[i]);
        if (light && !shown[i]) json_object_set_new(m, "content", json_null());
        json_array_append_new(messages, m);
    }
    json_object_set_new(o, "running", json_boolean(live.n > 0));
    json_object_set_new(o, "system", comfy_str(c.system));
    json_object_set_new(o, "params", comfy_json_read(c.params, json_object()));
    json_object_set_new(o, "meta", comfy_json_read(c.meta, json_object()));
    json_object_set_new(o, "share_id", text_or_null(c.share_id));
    json_object_set_new(o, "event_id", comfy_str(live.position));
    json_object_set_new(o, "messages", messages);
    web_reply(r, o);
}

void web_chat_events(http_request *r, void *ctx) {
    chat c;
    if (!web_take_chat(ctx, r, &c)) return;
    web_hub_listen(ctx, r, &(web_listen){.chat_id = c.id, .after = http_request_query(r, "after")});
}

void web_user_events(http_request *r, void *ctx) {
    web *w = ctx;
    err e;
    str chat_id = http_request_query(r, "chat");
    if (chat_id.len && web_owns(w, web_user_id(r), OWNED_CHAT, "chat", chat_id, &e)) {
        web_fail_err(r, &e);
        return;
    }
    web_hub_listen(w, r,
                   &(web_listen){.user_id = web_user_id(r),
                                 .chat_id = chat_id,
                                 .machine = comfy_flag(http_request_query(r, "machine"), false),
                                 .after = http_request_query(r, "after")});
}

/* ---- lists ---- */

static void reply_list(web *w, http_request *r, chats_query *q) {
    arena *a = http_request_arena(r);
    chat *list;
    size_t n;
    err e;
    int64_t page = web_query_number(r, "page", 1);
    str before = http_request_query(r, "before");
    q->user_id = web_user_id(r);
    q->limit = PAGE;
    q->offset = page > 1 && page < 1000000 ? (page - 1) * PAGE : 0;
    if (before.len) {
        str_to_i64(str_cut(&before, '.'), &q->before_ms);
        q->before_id = before;
        q->offset = 0;
    }
    if (chats_list(w->db, q, a, &list, &n, &e)) {
        web_fail_err(r, &e);
        return;
    }
    json_t *out = json_array();
    for (size_t i = 0; i < n; i++) {
        json_t *o = web_chat_json(&list[i]);
        json_object_set_new(o, "cursor",
                            comfy_str(str_fmt(a, "%lld." STR_FMT, (long long)list[i].updated_ms,
                                              STR_ARG(list[i].id))));
        json_array_append_new(out, o);
    }
    web_reply(r, out);
}

void web_chats_list(http_request *r, void *ctx) {
    str in_folder = http_request_query(r, "folder_id");
    reply_list(ctx, r,
               &(chats_query){.which = in_folder.len ? CHATS_FOLDER : CHATS_LISTED,
                              .folder_id = in_folder});
}

void web_chats_pinned(http_request *r, void *ctx) {
    reply_list(ctx, r, &(chats_query){.which = CHATS_PINNED});
}

void web_chats_archived(http_request *r, void *ctx) {
    reply_list(ctx, r, &(chats_query){.which = CHATS_ARCHIVED});
}

void web_chats_folder(http_request *r, void *ctx) {
    reply_list(ctx, r,
               &(chats_query){.which = CHATS_FOLDER, .folder_id = http_request_param(r, "folder")});
}

void web_chats_search(http_request *r, void *ctx) {
    web *w = ctx;
    chat_hits hits;
    err e;
    str text = http_request_query(r, "text");
    int64_t page = web_query_number(r, "page", 1);
    if (text.len > LIMIT_WEB_TITLE_BYTES) text.len = LIMIT_WEB_TITLE_BYTES;
    if (chats_search(w->db, web_user_id(r), text, http_request_arena(r), &hits, &e)) {
        web_fail_err(r, &e);
        return;
    }
    json_t *out = json_array();
    size_t from = page > 1 && page < 1000 ? (size_t)(page - 1) * PAGE : 0;
    for (size_t i = from; i < hits.n && i < from + PAGE; i++) {
        json_t *o = web_chat_json(&hits.items[i].chat);
        json_object_set_new(o, "snippet", comfy_str(hits.items[i].snippet));
        json_object_set_new(o, "message_id", text_or_null(hits.items[i].message_id));
        json_array_append_new(out, o);
    }
    web_reply(r, out);
}

/* ---- changes ---- */

/* The fields of the body over the chat; false: answered. */
static bool take_fields(web *w, http_request *r, const json_t *body, chat *c) {
    const json_t *in_folder = json_object_get(body, "folder_id"), *v;
    str title = {0};
    err e;
    if (!web_text(r, body, "title", LIMIT_WEB_TITLE_BYTES, &title) ||
        !web_text(r, body, "model", LIMIT_NAME_BYTES, &c->model) ||
        !web_text(r, body, "system", LIMIT_WEB_SYSTEM_BYTES, &c->system) ||
        !web_object(r, body, "params", &c->params) || !web_object(r, body, "meta", &c->meta) ||
        !web_text(r, body, "current_id", 64, &c->current_id) ||
        !web_text(r, body, "folder_id", 64, &c->folder_id))
        return false;
    if (json_is_null(in_folder)) c->folder_id = STR("");
    if (in_folder && c->folder_id.len &&
        web_owns(w, c->user_id, OWNED_ITEM, "folder", c->folder_id, &e)) {
        web_fail_err(r, &e);
        return false;
    }
    if ((v = json_object_get(body, "pinned"))) c->pinned = json_is_true(v);
    if ((v = json_object_get(body, "archived"))) c->archived = json_is_true(v);
    if (title.ptr) {
        c->title = str_trim(title);
        c->titled = true;
    }
    return true;
}

void web_chat_new(http_request *r, void *ctx) {
    web *w = ctx;
    arena *a = http_request_arena(r);
    const json_t *body = web_body(r);
    err e;
    int64_t now = comfy_now_ms();
    if (!body) return;
    if (json_is_object(json_object_get(body, "chat"))) {
        web_import_one(w, r, json_object_get(body, "chat"), body);
        return;
    }
    chat c = {.id = comfy_uuid(a),
              .user_id = web_user_id(r),
              .title = STR("New chat"),
              .created_ms = now,
              .updated_ms = now};
    if (!take_fields(w, r, body, &c)) return;
    if (c.model.len == 0) c.model = web_model_default(w, a);
    c.current_id = STR("");
    if (chats_add(w->db, &c, NULL, 0, &e)) {
        web_fail_err(r, &e);
        return;
    }
    web_chat_changed(w, c.user_id, c.id);
    web_reply_chat(w, r, &c);
}

/* `before`: the current message as it was read; one that was not changed is left alone. */
static void keep_it(web *w, http_request *r, chat *c, str before) {
    err e;
    chat changed = *c;
    if (str_eq(c->current_id, before)) changed.current_id = (str){0};
    if (chats_update(w->db, &changed, &e)) {
        web_fail_err(r, &e);
        return;
    }
    web_chat_changed(w, c->user_id, c->id);
    if (web_take_chat(w, r, c)) web_reply_chat(w, r, c);
}

void web_chat_update(http_request *r, void *ctx) {
    web *w = ctx;
    const json_t *body = web_body(r), *inner = json_object_get(body, "chat");
    chat c;
    message m;
    err e;
    if (!body || !web_take_chat(w, r, &c)) return;
    str before = c.current_id;
    if (json_is_object(inner) && !web_merge_history(w, r, &c, inner)) return;
    if (!take_fields(w, r, json_is_object(inner) ? inner : body, &c)) return;
    if (c.current_id.len && !str_eq(before, c.current_id) &&
        messages_find(w->db, c.id, c.current_id, http_request_arena(r), &m, &e)) {
        web_fail_err(r, &e);
        return;
    }
    keep_it(w, r, &c, before);
}

void web_chat_pin(http_request *r, void *ctx) {
    chat c;
    if (!web_take_chat(ctx, r, &c)) return;
    c.pinned = !c.pinned;
    keep_it(ctx, r, &c, c.current_id);
}

void web_chat_archive(http_request *r, void *ctx) {
    chat c;
    if (!web_take_chat(ctx, r, &c)) return;
    c.archived = !c.archived;
    keep_it(ctx, r, &c, c.current_id);
}

void web_chat_folder(http_request *r, void *ctx) {
    const json_t *body = web_body(r);
    chat c;
    if (!body || !web_take_chat(ctx, r, &c)) return;
    json_t *only = json_object();
    json_t *in_folder = json_object_get(body, "folder_id");
    json_object_set_new(only, "folder_id", in_folder ? json_incref(in_folder) : json_null());
    comfy_defer_json(http_request_arena(r), only);
    if (take_fields(ctx, r, only, &c)) keep_it(ctx, r, &c, c.current_id);
}

void web_chat_delete(http_request *r, void *ctx) {
    web *w = ctx;
    str id = http_request_param(r, "chat"), user_id = web_user_id(r);
    bool any;
    err e;
    web_run_forget(w, user_id, id);
    if (chats_delete(w->db, user_id, id, &any, &e)) {
        web_fail_err(r, &e);
        return;
    }
    json_t *o = json_object();
    json_object_set_new(o, "id", comfy_str(id));
    web_hub_user(w->hub, user_id, "chat_deleted", json_copy(o));
    web_hub_chat(w->hub, id, "chat_deleted", o);
    web_reply(r, json_true());
}

void web_chats_delete(http_request *r, void *ctx) {
    web *w = ctx;
    bool any;
    err e;
    web_run_forget(w, web_user_id(r), STR(""));
    if (chats_delete(w->db, web_user_id(r), STR(""), &any, &e)) {
        web_fail_err(r, &e);
        return;
    }
    web_hub_user(w->hub, web_user_id(r), "reset", json_object());
    web_reply(r, json_true());
}

static void archive_all(web *w, http_request *r, bool archived) {
    err e;
    if (chats_archive_all(w->db, web_user_id(r), archived, &e)) {
        web_fail_err(r, &e);
        return;
    }
    web_hub_user(w->hub, web_user_id(r), "reset", json_object());
    web_reply(r, json_true());
}

void web_chats_archive_all(http_request *r, void *ctx) {
    archive_all(ctx, r, true);
}

void web_chats_unarchive_all(http_request *r, void *ctx) {
    archive_all(ctx, r, false);
}

void web_chat_title(http_request *r, void *ctx) {
    web *w = ctx;
    chat c;
    err e;
    if (!web_take_chat(w, r, &c)) return;
    c.titled = false;
    c.current_id = (str){0};
    if (chats_update(w->db, &c, &e)) {
        web_fail_err(r, &e);
        return;
    }
    web_run_title(w, c.user_id, c.id, true);
    web_reply(r, web_chat_json(&c));
}
