/* Sharing: a link shows the chat as it was when it was shared last, whatever happens to it later.
 */
#include "api/web_chats.h"
#include "api/web_handlers.h"

/* What others may see: the words, not where their owner keeps them. */
static str snapshot(arena *a, const chat *c, str share_id, const message_list *list) {
    static const char *const own[] = {"folder_id", "meta", "pinned", "archived", "running"};
    json_t *o = web_chat_whole(c, list->items, list->n);
    for (size_t i = 0; i < COUNT_OF(own); i++) json_object_del(o, own[i]);
    json_object_set_new(o, "id", comfy_str(share_id));
    json_object_set_new(o, "share_id", comfy_str(share_id));
    json_object_set_new(o, "user_id", json_string("shared"));
    json_object_set_new(json_object_get(o, "chat"), "id", comfy_str(share_id));
    json_object_del(json_object_get(o, "chat"), "system");
    json_object_del(json_object_get(o, "chat"), "params");
    str text = comfy_json_text(a, o);
    json_decref(o);
    return text;
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
    message_list list;
    err e;
    if (!web_take_chat(w, r, &c)) return;
    bool again = !shares_of_chat(w->db, c.id, a, &old, NULL);
    share s = {.id = again ? old.id : comfy_uuid(a), .chat_id = c.id, .shared_ms = comfy_now_ms()};
    err_code code = messages_of(w->db, c.id, a, &list.items, &list.n, &e);
    if (!code) s.body = snapshot(a, &c, s.id, &list);
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
