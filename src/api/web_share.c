/* Sharing: a link shows the chat as it was on its owner's screen when it was shared last: the
 * branch that was shown, whatever is said later or was tried before. */
#include "api/web_chats.h"
#include "api/web_files.h"
#include "api/web_handlers.h"

#define SHARE_FILE "/api/v1/chats/share/" STR_FMT "/files/" STR_FMT "/content"

/* Addresses of a picture's files, as a viewer may ask for them; not what the owner has besides.
 * Adds the ids of the files that are shown. */
static void readdress(arena *a, json_t *msg, str share_id, json_t *ids) {
    json_t *f;
    size_t i;
    json_object_del(msg, "knowledge");
    json_array_foreach(json_object_get(msg, "files"), i, f)
        json_array_append(ids, json_object_get(f, "id"));
    json_array_foreach(json_object_get(json_object_get(msg, "picture"), "files"), i, f) {
        str id = comfy_text(json_object_get(f, "id"));
        json_array_append(ids, json_object_get(f, "id"));
        json_object_set_new(f, "url",
                            comfy_str(str_fmt(a, SHARE_FILE, STR_ARG(share_id), STR_ARG(id))));
    }
}

static json_t *messages_in(const json_t *whole) {
    return json_object_get(json_object_get(json_object_get(whole, "chat"), "history"), "messages");
}

/* What others may see: the words, not where their owner keeps them. Fills body and files. */
static void snapshot(arena *a, const chat *c, const message_list *list, share *s) {
    static const char *const own[] = {"folder_id", "meta", "pinned", "archived", "running"};
    json_t *o = web_chat_whole(c, list->items, list->n), *ids = json_array(), *m;
    const char *key;
    for (size_t i = 0; i < COUNT_OF(own); i++) json_object_del(o, own[i]);
    json_object_set_new(o, "id", comfy_str(s->id));
    json_object_set_new(o, "share_id", comfy_str(s->id));
    json_object_set_new(o, "user_id", json_string("shared"));
    json_object_set_new(json_object_get(o, "chat"), "id", comfy_str(s->id));
    json_object_del(json_object_get(o, "chat"), "system");
    json_object_del(json_object_get(o, "chat"), "params");
    json_object_foreach(messages_in(o), key, m) readdress(a, m, s->id, ids);
    s->body = comfy_json_text(a, o);
    s->files = comfy_json_text(a, ids);
    json_decref(o);
    json_decref(ids);
}

static json_t *share_json(const chat *c, const share *s) {
    json_t *o = web_chat_json(c);
    json_object_set_new(o, "share_id", comfy_str(s->id));
    json_object_set_new(o, "shared_at", web_seconds(s->shared_ms));
    return o;
}

void web_chat_share(http_request *r, void *ctx) {
    web *w = ctx;
    arena *a = http_request_arena(r);
    chat c;
    share old;
    message_list list = {0};
    err e;
    if (!web_take_chat(w, r, &c)) return;
    bool again = !shares_of_chat(w->db, c.id, a, &old, NULL);
    share s = {.id = again ? old.id : comfy_uuid(a), .chat_id = c.id, .shared_ms = comfy_now_ms()};
    err_code code = ERR_OK;
    if (c.current_id.len) code = messages_path(w->db, c.id, c.current_id, a, &list, &e);
    if (!code) snapshot(a, &c, &list, &s);
    if (!code) code = shares_put(w->db, &s, &e);
    if (code)
        web_fail_err(r, &e);
    else
        web_reply(r, share_json(&c, &s));
}

void web_chat_share_get(http_request *r, void *ctx) {
    web *w = ctx;
    chat c;
    share s;
    err e;
    if (!web_take_chat(w, r, &c)) return;
    if (shares_of_chat(w->db, c.id, http_request_arena(r), &s, &e))
        web_fail_err(r, &e);
    else
        web_reply(r, share_json(&c, &s));
}

static void end(web *w, http_request *r, str chat_id) {
    err e;
    if (shares_end(w->db, chat_id, &e))
        web_fail_err(r, &e);
    else
        web_reply(r, json_true());
}

void web_chat_unshare(http_request *r, void *ctx) {
    chat c;
    if (web_take_chat(ctx, r, &c)) end(ctx, r, c.id);
}

/* By its public id: its owner alone. */
void web_share_delete(http_request *r, void *ctx) {
    web *w = ctx;
    arena *a = http_request_arena(r);
    share s;
    chat c;
    err e;
    if (shares_find(w->db, http_request_param(r, "share"), a, &s, &e) ||
        chats_find(w->db, web_user_id(r), s.chat_id, a, &c, &e))
        web_fail_err(r, &e);
    else
        end(w, r, c.id);
}

void web_chat_shared(http_request *r, void *ctx) {
    web *w = ctx;
    arena *a = http_request_arena(r);
    share s;
    err e;
    if (shares_find(w->db, http_request_param(r, "share"), a, &s, &e))
        web_fail_err(r, &e);
    else
        web_reply(r, comfy_json_read(s.body, json_object()));
}

/* Only what the owner still has: a file of somebody else's that a message names stays theirs. */
void web_share_file(http_request *r, void *ctx) {
    web *w = ctx;
    arena *a = http_request_arena(r);
    str id = http_request_param(r, "shared_file");
    str owner;
    file_row f;
    err e;
    err_code code = shares_file_owner(w->db, http_request_param(r, "share"), id, a, &owner, &e);
    if (!code) code = files_find(w->db, owner, id, a, &f, &e);
    if (code)
        web_fail_err(r, &e);
    else
        web_file_send(w, r, &f);
}
