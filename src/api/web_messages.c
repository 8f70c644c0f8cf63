/* Messages of a chat: saying something, answering again, going on, stopping, rating, changing. */
#include "api/web_chats.h"
#include "api/web_events.h"
#include "api/web_files.h"
#include "api/web_handlers.h"
#include "api/web_models.h"
#include "api/web_picture.h"
#include "api/web_run.h"
#include "api/web_title.h"
#include "base/limits.h"
#include "http/json.h"

/* Ids of the client's choice, or new ones; false: answered. */
static bool take_id(http_request *r, const json_t *body, const char *field, str *ret) {
    *ret = (str){0};
    if (!web_text(r, body, field, 64, ret)) return false;
    if (ret->ptr && !comfy_is_uuid(*ret)) {
        web_fail(r, 400, "\"%s\" must be a lower-case UUID", field);
        return false;
    }
    if (!ret->ptr) *ret = comfy_uuid(http_request_arena(r));
    return true;
}

bool web_take_parent(web *w, http_request *r, const json_t *body, const chat *c, str *ret) {
    const json_t *v = json_object_get(body, "parent_id");
    message m;
    err e;
    *ret = v ? STR("") : c->current_id;
    if (!web_text(r, body, "parent_id", 64, ret)) return false;
    if (ret->len == 0) return true;
    if (messages_find(w->db, c->id, *ret, http_request_arena(r), &m, &e)) {
        web_fail_err(r, &e);
        return false;
    }
    return true;
}

bool web_take_files(web *w, http_request *r, const json_t *list, str *ret) {
    arena *a = http_request_arena(r);
    json_t *out = json_array();
    comfy_defer_json(a, out);
    if (list && !json_is_null(list) &&
        (!json_is_array(list) || json_array_size(list) > LIMIT_WEB_ATTACHED)) {
        web_fail(r, 400, "\"files\" must be a list of at most %d ids", LIMIT_WEB_ATTACHED);
        return false;
    }
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *v = json_array_get(list, i);
        str id = comfy_text(json_is_object(v) ? json_object_get(v, "id") : v);
        file_row f;
        err e;
        if (files_find(w->db, web_user_id(r), id, a, &f, &e)) {
            web_fail_err(r, &e);
            return false;
        }
        json_array_append_new(out, web_file_short(&f));
    }
    *ret = comfy_json_text(a, out);
    return true;
}

/* Ids of collections and files, all the asker's; false: answered. */
static bool take_knowledge(web *w, http_request *r, const json_t *list) {
    if (!list || json_is_null(list)) return true;
    if (!json_is_array(list) || json_array_size(list) > LIMIT_WEB_ATTACHED) {
        web_fail(r, 400, "\"knowledge\" must be a list of at most %d ids", LIMIT_WEB_ATTACHED);
        return false;
    }
    for (size_t i = 0; i < json_array_size(list); i++) {
        str id = comfy_text(json_array_get(list, i)), user_id = web_user_id(r);
        err e;
        if (web_owns(w, user_id, OWNED_ITEM, "knowledge", id, &e) &&
            web_owns(w, user_id, OWNED_FILE, "file", id, &e)) {
            web_fail_err(r, &e);
            return false;
        }
    }
    return true;
}

static json_t *named(web *w, str user_id, str id, arena *a) {
    item it;
    file_row f;
    str name = {0};
    if (!items_find(w->db, &(item_key){user_id, STR("knowledge"), id}, a, &it, NULL))
        name = it.name;
    else if (!files_find(w->db, user_id, id, a, &f, NULL))
        name = f.name;
    return name.ptr ? json_pack("{s:o, s:o}", "id", comfy_str(id), "name", comfy_str(name)) : NULL;
}

/* What a question draws on, kept with it: {"knowledge": [{"id", "name"}]}. */
static str keep_knowledge(web *w, str user_id, const json_t *list, arena *a) {
    json_t *out = json_array();
    for (size_t i = 0; i < json_array_size(list); i++) {
        json_t *o = named(w, user_id, comfy_text(json_array_get(list, i)), a);
        if (o) json_array_append_new(out, o);
    }
    bool any = json_array_size(out) > 0;
    json_t *extra = json_pack("{s:o}", "knowledge", out);
    str text = any ? comfy_json_text(a, extra) : STR("");
    json_decref(extra);
    return text;
}

/* The ids of what a question drew on, as far as it is there and its asker's. */
static json_t *kept_knowledge(web *w, const chat *c, str message_id, arena *a) {
    json_t *ids = json_array(), *v;
    message asked;
    size_t i;
    comfy_defer_json(a, ids);
    if (messages_find(w->db, c->id, message_id, a, &asked, NULL)) return ids;
    json_t *extra = comfy_json_read(asked.extra, json_object());
    comfy_defer_json(a, extra);
    json_array_foreach(json_object_get(extra, "knowledge"), i, v) {
        str id = comfy_text(json_object_get(v, "id"));
        json_t *o = named(w, c->user_id, id, a);
        if (o) json_array_append_new(ids, comfy_str(id));
        json_decref(o);
    }
    return ids;
}

/* params and what may stand beside them. */
static json_t *merge_params(http_request *r, const json_t *body) {
    static const char *const beside[] = {"think", "keep_alive", "format"};
    json_t *params = json_object();
    comfy_defer_json(http_request_arena(r), params);
    const json_t *given = json_object_get(body, "params");
    if (json_is_object(given)) web_merge(params, given);
    for (size_t i = 0; i < COUNT_OF(beside); i++) {
        json_t *v = json_object_get(body, beside[i]);
        if (v && !json_is_null(v)) json_object_set(params, beside[i], v);
    }
    return params;
}

static bool room(web *w, http_request *r, const chat *c) {
    if (web_run_may(w, c->user_id, c->id)) return true;
    web_fail(r, 409, "too many answers are being made: wait for one, or stop it");
    return false;
}

/* The chat takes the model that was chosen last, and its first words as a title. */
static void follow(web *w, const chat *c, str model, str text, arena *a) {
    chat now = {.id = c->id, .model = model, .updated_ms = comfy_now_ms()};
    if (c->current_id.len == 0 && text.len) now.title = web_title_of(a, text);
    chats_touch(w->db, &now, NULL);
}

void web_message_post(http_request *r, void *ctx) {
    web *w = ctx;
    arena *a = http_request_arena(r);
    const json_t *body = web_body(r);
    int64_t now = comfy_now_ms();
    chat c;
    err e;
    message two[2] = {
        {.role = STR("user"), .state = STR("done"), .created_ms = now, .content = STR("")},
        {.role = STR("assistant"), .state = STR("queued"), .created_ms = now}};
    message *asked = &two[0], *answer = &two[1];
    if (!body || !web_take_chat(w, r, &c)) return;
    bool generates = !json_is_false(json_object_get(body, "generate"));
    str model = c.model;
    const json_t *knowledge = json_object_get(body, "knowledge");
    if (!web_text(r, body, "content", LIMIT_WEB_MESSAGE_BYTES, &asked->content) ||
        !web_text(r, body, "model", LIMIT_NAME_BYTES, &model) ||
        !take_id(r, body, "user_id", &asked->id) ||
        !take_id(r, body, "assistant_id", &answer->id) ||
        !web_take_parent(w, r, body, &c, &asked->parent_id) ||
        !web_take_files(w, r, json_object_get(body, "files"), &asked->files) ||
        !take_knowledge(w, r, knowledge) || (generates && !room(w, r, &c)))
        return;
    if (str_trim(asked->content).len == 0 && str_eq(asked->files, STR("[]"))) {
        web_fail(r, 400, "the message is empty");
        return;
    }
    if (model.len == 0) model = web_model_default(w, a);
    if (generates && model.len == 0) {
        web_fail(r, 400, "there is no model here yet: pull one first");
        return;
    }
    asked->chat_id = answer->chat_id = c.id;
    answer->parent_id = asked->id;
    answer->model = model;
    asked->extra = keep_knowledge(w, c.user_id, knowledge, a);
    if (messages_add(w->db, c.id, two, generates ? 2 : 1, &e)) {
        web_fail(r, e.code == ERR_INTERNAL ? 409 : 500, "the message could not be stored: %s",
                 e.msg);
        return;
    }
    follow(w, &c, model, asked->content, a);
    web_message_changed(w, asked);
    if (generates) web_message_changed(w, answer);
    json_t *o = json_pack("{s:o}", "user", web_message_json(asked));
    if (generates) {
        json_object_set_new(o, "assistant", web_message_json(answer));
        web_run_spec s = {.user_id = c.user_id,
                          .chat_id = c.id,
                          .answer = answer,
                          .params = merge_params(r, body),
                          .knowledge = knowledge};
        if (web_run_start(w, &s, &e)) web_run_refused(w, answer, &e);
    }
    web_chat_changed(w, c.user_id, c.id);
    web_reply(r, o);
}

void web_run_refused(web *w, message *answer, const err *e) {
    answer->state = STR("failed");
    answer->error = str_from(e->msg);
    messages_update(w->db, answer, NULL);
    web_hub_chat(w->hub, answer->chat_id, "end", web_message_json(answer));
}

/* The chat and message of the path, not running; false: answered. */
static bool take_idle(web *w, http_request *r, chat *c, message *m) {
    if (!web_take_chat(w, r, c) || !web_take_message(w, r, c, m)) return false;
    if (!web_run_is_live(w, m->id)) return true;
    web_fail(r, 409, "the message is still being made: stop it first");
    return false;
}

void web_message_regenerate(http_request *r, void *ctx) {
    web *w = ctx;
    arena *a = http_request_arena(r);
    const json_t *body = web_body(r);
    chat c;
    message old;
    err e;
    str instruction = {0}, model;
    if (!body || !web_take_chat(w, r, &c) || !web_take_message(w, r, &c, &old)) return;
    bool by_user = str_eq(old.role, STR("user"));
    model = old.model.len ? old.model : c.model;
    const json_t *knowledge = json_object_get(body, "knowledge");
    if (!web_text(r, body, "model", LIMIT_NAME_BYTES, &model) ||
        !web_text(r, body, "instruction", LIMIT_WEB_SYSTEM_BYTES, &instruction) ||
        !take_knowledge(w, r, knowledge) || !room(w, r, &c))
        return;
    if (old.picture.len) {
        web_picture_again(w, r, &c, &old);
        return;
    }
    message answer = {.id = comfy_uuid(a),
                      .chat_id = c.id,
                      .role = STR("assistant"),
                      .parent_id = by_user ? old.id : old.parent_id,
                      .state = STR("queued"),
                      .model = model,
                      .created_ms = comfy_now_ms()};
    if (!knowledge) knowledge = kept_knowledge(w, &c, answer.parent_id, a);
    if (messages_add(w->db, c.id, &answer, 1, &e)) {
        web_fail_err(r, &e);
        return;
    }
    follow(w, &c, model, STR(""), a);
    web_message_changed(w, &answer);
    json_t *o = json_pack("{s:o}", "assistant", web_message_json(&answer));
    web_run_spec s = {.user_id = c.user_id,
                      .chat_id = c.id,
                      .answer = &answer,
                      .params = merge_params(r, body),
                      .knowledge = knowledge,
                      .instruction = instruction};
    if (web_run_start(w, &s, &e)) web_run_refused(w, &answer, &e);
    web_chat_changed(w, c.user_id, c.id);
    web_reply(r, o);
}

void web_message_continue(http_request *r, void *ctx) {
    web *w = ctx;
    const json_t *body = web_body(r);
    chat c;
    message m;
    err e;
    if (!body || !take_idle(w, r, &c, &m) || !room(w, r, &c)) return;
    if (!str_eq(m.role, STR("assistant")) || m.picture.len || m.content.len == 0) {
        web_fail(r, 400, "only an answer that has a text can go on");
        return;
    }
    m.state = STR("queued");
    m.error = STR("");
    if (messages_update(w->db, &m, &e)) {
        web_fail_err(r, &e);
        return;
    }
    web_message_changed(w, &m);
    json_t *o = json_pack("{s:o}", "assistant", web_message_json(&m));
    web_run_spec s = {.user_id = c.user_id,
                      .chat_id = c.id,
                      .answer = &m,
                      .continues = true,
                      .params = merge_params(r, body)};
    if (web_run_start(w, &s, &e)) web_run_refused(w, &m, &e);
    web_chat_changed(w, c.user_id, c.id);
    web_reply(r, o);
}

void web_message_stop(http_request *r, void *ctx) {
    web *w = ctx;
    chat c;
    message m;
    if (!web_take_chat(w, r, &c) || !web_take_message(w, r, &c, &m)) return;
    web_run_cancel(w, c.id, m.id);
    web_reply(r, web_message_json(&m));
}

void web_chat_stop(http_request *r, void *ctx) {
    web *w = ctx;
    chat c;
    if (!web_take_chat(w, r, &c)) return;
    web_reply(r, json_pack("{s:b}", "stopped", web_run_cancel(w, c.id, STR(""))));
}

void web_message_rate(http_request *r, void *ctx) {
    web *w = ctx;
    const json_t *body = web_body(r), *rating = json_object_get(body, "rating");
    chat c;
    message m;
    err e;
    str reason = {0};
    if (!body || !take_idle(w, r, &c, &m) ||
        !web_text(r, body, "reason", LIMIT_WEB_TITLE_BYTES, &reason))
        return;
    if (!json_is_integer(rating) || json_integer_value(rating) < -1 ||
        json_integer_value(rating) > 1) {
        web_fail(r, 400, "\"rating\" must be -1, 0 or 1");
        return;
    }
    json_t *extra = comfy_json_read(m.extra, json_object());
    json_object_set(extra, "rating", (json_t *)(uintptr_t)rating);
    if (reason.ptr) json_object_set_new(extra, "reason", comfy_str(reason));
    m.extra = comfy_json_text(http_request_arena(r), extra);
    json_decref(extra);
    if (messages_update(w->db, &m, &e)) {
        web_fail_err(r, &e);
        return;
    }
    web_message_changed(w, &m);
    web_reply(r, web_message_json(&m));
}

void web_message_get(http_request *r, void *ctx) {
    web *w = ctx;
    chat c;
    message m;
    web_live live;
    if (!web_take_chat(w, r, &c) || !web_take_message(w, r, &c, &m)) return;
    web_run_live(w, c.id, http_request_arena(r), &live);
    for (size_t i = 0; i < live.n; i++)
        if (str_eq(live.list[i].id, m.id)) m = live.list[i];
    web_reply(r, web_message_json(&m));
}

void web_message_edit(http_request *r, void *ctx) {
    web *w = ctx;
    const json_t *body = web_body(r);
    chat c;
    message m;
    err e;
    if (!body || !take_idle(w, r, &c, &m) ||
        !web_text(r, body, "content", LIMIT_WEB_MESSAGE_BYTES, &m.content))
        return;
    if (messages_update(w->db, &m, &e)) {
        web_fail_err(r, &e);
        return;
    }
    web_message_changed(w, &m);
    web_reply(r, web_message_json(&m));
}

void web_message_delete(http_request *r, void *ctx) {
    web *w = ctx;
    chat c;
    message m;
    bool any;
    err e;
    if (!take_idle(w, r, &c, &m)) return;
    if (web_run_busy_below(w, &c, m.id)) {
        web_fail(r, 409, "an answer below is still being made: stop it first");
        return;
    }
    if (messages_delete(w->db, c.id, m.id, &any, &e) ||
        chats_find(w->db, c.user_id, c.id, http_request_arena(r), &c, &e)) {
        web_fail_err(r, &e);
        return;
    }
    json_t *o = json_object();
    json_object_set_new(o, "message_id", comfy_str(m.id));
    web_hub_chat(w->hub, c.id, "deleted", o);
    web_chat_changed(w, c.user_id, c.id);
    web_reply(r, json_pack("{s:o}", "current_id",
                           c.current_id.len ? comfy_str(c.current_id) : json_null()));
}

/* Whether an answer that is being made hangs below this message. */
bool web_run_busy_below(web *w, const chat *c, str message_id) {
    CLEANUP(arena_destroy) arena *a = arena_create(0);
    web_live live;
    message_list path;
    web_run_live(w, c->id, a, &live);
    for (size_t i = 0; i < live.n; i++) {
        if (messages_path(w->db, c->id, live.list[i].id, a, &path, NULL)) continue;
        for (size_t k = 0; k < path.n; k++)
            if (str_eq(path.items[k].id, message_id)) return true;
    }
    return false;
}

/* ---- Open WebUI's names for what runs ---- */

void web_tasks_of(http_request *r, void *ctx) {
    chat c;
    web_live live;
    if (!web_take_chat(ctx, r, &c)) return;
    web_run_live(ctx, c.id, http_request_arena(r), &live);
    json_t *ids = json_array();
    for (size_t i = 0; i < live.n; i++) json_array_append_new(ids, comfy_str(live.list[i].id));
    web_reply(r, json_pack("{s:o}", "task_ids", ids));
}

void web_task_stop(http_request *r, void *ctx) {
    web *w = ctx;
    str id = http_request_param(r, "message");
    str chat_id = chats_of_message(w->db, web_user_id(r), id, http_request_arena(r));
    if (chat_id.len == 0) {
        web_fail(r, 404, "there is no task \"" STR_FMT "\"", STR_ARG(id));
        return;
    }
    web_run_cancel(w, chat_id, id);
    web_reply(r, json_pack("{s:b, s:s}", "status", 1, "message", "stopped"));
}
