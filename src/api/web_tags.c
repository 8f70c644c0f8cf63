/* Tags of chats: words in the chat's "meta", as Open WebUI keeps them. */
#include "api/web_chats.h"
#include "api/web_handlers.h"
#include "base/limits.h"

enum { TAGS_MAX = 50 };

/* Open WebUI's id of a tag: lower case, without spaces. */
static str tag_id(arena *a, str name) {
    str id = str_dup(a, str_lower(a, name));
    char *at = (char *)(uintptr_t)id.ptr;
    for (size_t i = 0; i < id.len; i++)
        if (at[i] == ' ') at[i] = '_';
    return id;
}

static json_t *tag_json(arena *a, str user_id, str name) {
    json_t *o = json_object();
    json_object_set_new(o, "id", comfy_str(tag_id(a, name)));
    json_object_set_new(o, "name", comfy_str(name));
    json_object_set_new(o, "user_id", comfy_str(user_id));
    json_object_set_new(o, "meta", json_null());
    return o;
}

static void reply_tags(http_request *r, const json_t *names) {
    json_t *out = json_array(), *v;
    size_t i;
    json_array_foreach((json_t *)(uintptr_t)names, i, v) {
        if (json_is_string(v))
            json_array_append_new(out,
                                  tag_json(http_request_arena(r), web_user_id(r), comfy_text(v)));
    }
    web_reply(r, out);
}

/* The chat's tags, a list of its meta that is there; false: answered. */
static bool take_tags(web *w, http_request *r, chat *c, json_t **ret_meta, json_t **ret_tags) {
    if (!web_take_chat(w, r, c)) return false;
    json_t *meta = comfy_json_read(c->meta, json_object());
    comfy_defer_json(http_request_arena(r), meta);
    if (!json_is_array(json_object_get(meta, "tags")))
        json_object_set_new(meta, "tags", json_array());
    *ret_meta = meta;
    *ret_tags = json_object_get(meta, "tags");
    return true;
}

static void keep_tags(web *w, http_request *r, chat *c, const json_t *meta, const json_t *tags) {
    err e;
    c->meta = comfy_json_text(http_request_arena(r), meta);
    c->current_id = (str){0};
    if (c->meta.len > LIMIT_WEB_JSON_BYTES)
        web_fail(r, 413, "\"meta\" has %zu bytes; at most %u are taken", c->meta.len,
                 LIMIT_WEB_JSON_BYTES);
    else if (chats_update(w->db, c, &e))
        web_fail_err(r, &e);
    else
        reply_tags(r, tags);
}

static size_t find_tag(arena *a, const json_t *tags, str name) {
    size_t i = 0;
    while (i < json_array_size(tags) &&
           !str_eq(tag_id(a, comfy_text(json_array_get(tags, i))), tag_id(a, name)))
        i++;
    return i;
}

/* The name in the body; false: answered. */
static bool take_name(http_request *r, str *ret) {
    const json_t *body = web_body(r);
    *ret = STR("");
    if (!body || !web_text(r, body, "name", LIMIT_WEB_TEXT_BYTES, ret)) return false;
    *ret = str_trim(*ret);
    if (ret->len) return true;
    web_fail(r, 400, "the name is empty");
    return false;
}

void web_chat_tags(http_request *r, void *ctx) {
    chat c;
    json_t *meta, *tags;
    if (take_tags(ctx, r, &c, &meta, &tags)) reply_tags(r, tags);
}

void web_chat_tag_add(http_request *r, void *ctx) {
    arena *a = http_request_arena(r);
    chat c;
    json_t *meta, *tags;
    str name;
    if (!take_name(r, &name) || !take_tags(ctx, r, &c, &meta, &tags)) return;
    if (find_tag(a, tags, name) < json_array_size(tags)) {
        reply_tags(r, tags);
        return;
    }
    if (json_array_size(tags) >= TAGS_MAX) {
        web_fail(r, 400, "a chat has at most %d tags", TAGS_MAX);
        return;
    }
    json_array_append_new(tags, comfy_str(name));
    keep_tags(ctx, r, &c, meta, tags);
}

void web_chat_tag_delete(http_request *r, void *ctx) {
    chat c;
    json_t *meta, *tags;
    str name;
    if (!take_name(r, &name) || !take_tags(ctx, r, &c, &meta, &tags)) return;
    json_array_remove(tags, find_tag(http_request_arena(r), tags, name)); /* or is not there */
    keep_tags(ctx, r, &c, meta, tags);
}

void web_chat_tags_clear(http_request *r, void *ctx) {
    chat c;
    json_t *meta, *tags;
    if (!take_tags(ctx, r, &c, &meta, &tags)) return;
    json_array_clear(tags);
    keep_tags(ctx, r, &c, meta, tags);
}

void web_tags_all(http_request *r, void *ctx) {
    web *w = ctx;
    str_list names;
    err e;
    if (chats_tags(w->db, web_user_id(r), http_request_arena(r), &names, &e)) {
        web_fail_err(r, &e);
        return;
    }
    json_t *out = json_array();
    for (size_t i = 0; i < names.n; i++)
        json_array_append_new(out, tag_json(http_request_arena(r), web_user_id(r), names.items[i]));
    web_reply(r, out);
}
