/* Folders, prompts, presets and studio workflows: small things in one table (store/items.h). */
#include "api/web_events.h"
#include "api/web_handlers.h"
#include "base/limits.h"
#include "http/json.h"
#include <string.h>

/* How a kind looks outside. */
typedef json_t *(*shape)(const item *it);

static json_t *times(json_t *o, const item *it) {
    json_object_set_new(o, "id", comfy_str(it->id));
    json_object_set_new(o, "user_id", comfy_str(it->user_id));
    json_object_set_new(o, "name", comfy_str(it->name));
    json_object_set_new(o, "created_at", web_seconds(it->created_ms));
    json_object_set_new(o, "updated_at", web_seconds(it->updated_ms));
    return o;
}

static json_t *folder_json(const item *it) {
    json_t *o = comfy_json_read(it->data, json_object());
    if (!json_object_get(o, "parent_id")) json_object_set_new(o, "parent_id", json_null());
    if (!json_object_get(o, "is_expanded")) json_object_set_new(o, "is_expanded", json_true());
    if (!json_object_get(o, "data")) json_object_set_new(o, "data", json_object());
    return times(o, it);
}

static json_t *prompt_json(const item *it) {
    json_t *o = comfy_json_read(it->data, json_object());
    json_object_set_new(o, "title", comfy_str(it->name));
    return times(o, it);
}

static json_t *workflow_json(const item *it) {
    json_t *o = json_object();
    json_object_set_new(o, "data", comfy_json_read(it->data, json_object()));
    return times(o, it);
}

static json_t *workflow_short(const item *it) {
    return times(json_object(), it);
}

/* ---- the same for all ---- */

static void reply_list(web *w, http_request *r, const char *kind, shape to_json) {
    item *list;
    size_t n;
    err e;
    if (items_list(w->db, &(item_key){web_user_id(r), str_from(kind), {0}}, http_request_arena(r),
                   &list, &n, &e)) {
        web_fail_err(r, &e);
        return;
    }
    json_t *out = json_array();
    for (size_t i = 0; i < n; i++) json_array_append_new(out, to_json(&list[i]));
    web_reply(r, out);
}

static bool take(web *w, http_request *r, const char *kind, str id, item *ret) {
    err e;
    if (!items_find(w->db, &(item_key){web_user_id(r), str_from(kind), id}, http_request_arena(r),
                    ret, &e))
        return true;
    web_fail_err(r, &e);
    return false;
}

static item fresh(http_request *r, const char *kind) {
    int64_t now = comfy_now_ms();
    return (item){.kind = str_from(kind),
                  .id = comfy_uuid(http_request_arena(r)),
                  .user_id = web_user_id(r),
                  .name = STR(""),
                  .data = STR("{}"),
                  .created_ms = now,
                  .updated_ms = now};
}

/* The item's data becomes this object, whose reference is taken; false: answered. */
static bool set_data(http_request *r, item *it, json_t *data) {
    it->data = comfy_json_text(http_request_arena(r), data);
    json_decref(data);
    if (it->data.len <= LIMIT_WEB_ITEM_BYTES) return true;
    web_fail(r, 413, "it has %zu bytes; at most %u are taken", it->data.len, LIMIT_WEB_ITEM_BYTES);
    return false;
}

static bool named(http_request *r, item *it) {
    it->name = str_trim(it->name);
    if (it->name.len) return true;
    web_fail(r, 400, "the name is empty");
    return false;
}

static void keep_it(web *w, http_request *r, item *it, bool is_new, shape to_json) {
    err e;
    it->updated_ms = comfy_now_ms();
    if (is_new ? items_add(w->db, it, &e) : items_update(w->db, it, &e)) {
        web_fail_err(r, &e);
        return;
    }
    bool models = str_eq(it->kind, STR("preset")), is_folder = str_eq(it->kind, STR("folder"));
    if (models) web_hub_user(w->hub, it->user_id, "models", json_object());
    if (is_folder) web_hub_user(w->hub, it->user_id, "folder", to_json(it));
    web_reply(r, to_json(it));
}

static void drop(web *w, http_request *r, const char *kind, str id) {
    bool any = false;
    err e;
    if (items_delete(w->db, &(item_key){web_user_id(r), str_from(kind), id}, &any, &e))
        web_fail_err(r, &e);
    else if (!any)
        web_fail(r, 404, "there is no %s \"" STR_FMT "\"", kind, STR_ARG(id));
    else {
        json_t *o = json_object();
        json_object_set_new(o, "id", comfy_str(id));
        bool is_folder = strcmp(kind, "folder") == 0;
        web_hub_user(w->hub, web_user_id(r), is_folder ? "folder_deleted" : "models", o);
        web_reply(r, json_true());
    }
}

/* ---- folders ---- */

/* Another folder of the user's that does not lie inside this one; null is the top. */
static bool take_parent(web *w, http_request *r, const json_t *body, const item *it, json_t *data) {
    str parent = {0}, at;
    if (!json_object_get(body, "parent_id")) return true;
    if (!web_text(r, body, "parent_id", 64, &parent)) return false;
    at = parent;
    for (int depth = 0; at.len; depth++) {
        item p;
        if (!take(w, r, "folder", at, &p)) return false;
        if (str_eq(at, it->id) || depth > 32) {
            web_fail(r, 400, "a folder cannot lie inside itself, nor deeper than 32");
            return false;
        }
        json_t *o = comfy_json_read(p.data, json_object());
        at = str_dup(http_request_arena(r), comfy_text(json_object_get(o, "parent_id")));
        json_decref(o);
    }
    json_object_set_new(data, "parent_id", parent.len ? comfy_str(parent) : json_null());
    return true;
}

void web_folders(http_request *r, void *ctx) {
    reply_list(ctx, r, "folder", folder_json);
}

/* name, data, parent_id, is_expanded of the body over the folder, and stores it. */
static void put_folder(web *w, http_request *r, item *it, bool is_new) {
    const json_t *body = web_body(r), *v;
    str inner = {0};
    if (!body || !web_text(r, body, "name", LIMIT_WEB_TEXT_BYTES, &it->name) || !named(r, it) ||
        !web_object(r, body, "data", &inner))
        return;
    json_t *data = comfy_json_read(it->data, json_object());
    if ((v = json_object_get(body, "data"))) json_object_set(data, "data", (json_t *)(uintptr_t)v);
    if (json_is_boolean(v = json_object_get(body, "is_expanded")))
        json_object_set(data, "is_expanded", (json_t *)(uintptr_t)v);
    if (!take_parent(w, r, body, it, data)) {
        json_decref(data);
        return;
    }
    if (set_data(r, it, data)) keep_it(w, r, it, is_new, folder_json);
}

void web_folder_add(http_request *r, void *ctx) {
    item it = fresh(r, "folder");
    put_folder(ctx, r, &it, true);
}

void web_folder_get(http_request *r, void *ctx) {
    item it;
    if (take(ctx, r, "folder", http_request_param(r, "folder"), &it))
        web_reply(r, folder_json(&it));
}

void web_folder_update(http_request *r, void *ctx) {
    item it;
    if (take(ctx, r, "folder", http_request_param(r, "folder"), &it))
        put_folder(ctx, r, &it, false);
}

void web_folder_parent(http_request *r, void *ctx) {
    web_folder_update(r, ctx);
}

void web_folder_expanded(http_request *r, void *ctx) {
    web_folder_update(r, ctx);
}

void web_folder_delete(http_request *r, void *ctx) {
    web *w = ctx;
    str id = http_request_param(r, "folder");
    item *list;
    size_t n = 0;
    err e;
    if (chats_leave_folder(w->db, web_user_id(r), id, &e)) {
        web_fail_err(r, &e);
        return;
    }
    items_list(w->db, &(item_key){web_user_id(r), STR("folder"), {0}}, http_request_arena(r), &list,
               &n, NULL);
    for (size_t i = 0; i < n; i++) { /* folders inside go to the top, too */
        json_t *o = comfy_json_read(list[i].data, json_object());
        bool inside = str_eq(comfy_text(json_object_get(o, "parent_id")), id);
        if (inside) json_object_set_new(o, "parent_id", json_null());
        if (inside) list[i].data = comfy_json_text(http_request_arena(r), o);
        if (inside) items_update(w->db, &list[i], NULL);
        json_decref(o);
    }
    drop(w, r, "folder", id);
}

/* ---- prompts ---- */

void web_prompts(http_request *r, void *ctx) {
    reply_list(ctx, r, "prompt", prompt_json);
}

static bool command_ok(str c) {
    if (c.len < 2 || c.len > 64 || c.ptr[0] != '/') return false;
    for (size_t i = 1; i < c.len; i++)
        if ((unsigned char)c.ptr[i] <= ' ' || c.ptr[i] == '/') return false;
    return true;
}

/* Is the command free, but for this prompt? False: answered. */
static bool command_free(web *w, http_request *r, const item *it, str command) {
    item *list;
    size_t n = 0;
    bool taken = false;
    items_list(w->db, &(item_key){it->user_id, STR("prompt"), {0}}, http_request_arena(r), &list,
               &n, NULL);
    for (size_t i = 0; i < n && !taken; i++) {
        json_t *o = comfy_json_read(list[i].data, json_object());
        taken = !str_eq(list[i].id, it->id) &&
                str_eq(comfy_text(json_object_get(o, "command")), command);
        json_decref(o);
    }
    if (taken) web_fail(r, 400, "there is a prompt " STR_FMT " already", STR_ARG(command));
    return !taken;
}

static void put_prompt(web *w, http_request *r, item *it, bool is_new) {
    arena *a = http_request_arena(r);
    const json_t *body = web_body(r);
    str command = {0}, content = {0};
    if (!body || !web_text(r, body, "title", LIMIT_WEB_TEXT_BYTES, &it->name) ||
        !web_text(r, body, "name", LIMIT_WEB_TEXT_BYTES, &it->name) ||
        !web_text(r, body, "command", 64, &command) ||
        !web_text(r, body, "content", LIMIT_WEB_SYSTEM_BYTES, &content))
        return;
    json_t *data = comfy_json_read(it->data, json_object());
    comfy_defer_json(a, data);
    if (command.len && command.ptr[0] != '/') command = str_fmt(a, "/" STR_FMT, STR_ARG(command));
    if (!command.len) command = comfy_text(json_object_get(data, "command"));
    if (!content.ptr) content = comfy_text(json_object_get(data, "content"));
    if (it->name.len == 0) it->name = str_sub(command, 1, command.len);
    if (!command_ok(command)) {
        web_fail(r, 400, "the command must be / and a word");
        return;
    }
    if (!content.len) {
        web_fail(r, 400, "the prompt is empty");
        return;
    }
    if (!named(r, it) || !command_free(w, r, it, command)) return;
    json_object_set_new(data, "command", comfy_str(command));
    json_object_set_new(data, "content", comfy_str(content));
    if (set_data(r, it, json_incref(data))) keep_it(w, r, it, is_new, prompt_json);
}

void web_prompt_add(http_request *r, void *ctx) {
    item it = fresh(r, "prompt");
    put_prompt(ctx, r, &it, true);
}

/* By id, or by command without its slash; false: answered. */
static bool take_prompt(web *w, http_request *r, item *ret) {
    str id = http_request_param(r, "prompt");
    item *list;
    size_t n = 0;
    items_list(w->db, &(item_key){web_user_id(r), STR("prompt"), {0}}, http_request_arena(r), &list,
               &n, NULL);
    for (size_t i = 0; i < n; i++) {
        json_t *o = comfy_json_read(list[i].data, json_object());
        str command = comfy_text(json_object_get(o, "command"));
        bool it = str_eq(list[i].id, id) || str_eq(str_sub(command, 1, command.len), id);
        json_decref(o);
        if (it) {
            *ret = list[i];
            return true;
        }
    }
    web_fail(r, 404, "there is no prompt \"" STR_FMT "\"", STR_ARG(id));
    return false;
}

void web_prompt_get(http_request *r, void *ctx) {
    item it;
    if (take_prompt(ctx, r, &it)) web_reply(r, prompt_json(&it));
}

void web_prompt_update(http_request *r, void *ctx) {
    item it;
    if (take_prompt(ctx, r, &it)) put_prompt(ctx, r, &it, false);
}

void web_prompt_delete(http_request *r, void *ctx) {
    item it;
    if (take_prompt(ctx, r, &it)) drop(ctx, r, "prompt", it.id);
}

/* ---- presets ---- */

void web_presets(http_request *r, void *ctx) {
    reply_list(ctx, r, "preset", web_preset_json);
}

/* Collections that a preset brings along are its owner's; false: answered. */
static bool knowledge_owned(web *w, http_request *r, const json_t *meta) {
    size_t i;
    json_t *id;
    err e;
    json_array_foreach(json_object_get(meta, "knowledge"), i, id) {
        if (!web_owns(w, web_user_id(r), OWNED_ITEM, "knowledge", comfy_text(id), &e)) continue;
        web_fail_err(r, &e);
        return false;
    }
    return true;
}

static void put_preset(web *w, http_request *r, item *it, bool is_new) {
    static const char *const fields[] = {"base_model_id", "params", "meta"};
    const json_t *body = web_body(r);
    str base = {0}, params = {0}, meta = {0};
    if (!body || !web_text(r, body, "name", LIMIT_WEB_TEXT_BYTES, &it->name) || !named(r, it) ||
        !web_text(r, body, "base_model_id", LIMIT_NAME_BYTES, &base) ||
        !web_object(r, body, "params", &params) || !web_object(r, body, "meta", &meta) ||
        !knowledge_owned(w, r, json_object_get(body, "meta")))
        return;
    if (is_new && !web_text(r, body, "id", 64, &it->id)) return;
    if (is_new && base.len == 0) {
        web_fail(r, 400, "\"base_model_id\" is missing");
        return;
    }
    json_t *data = comfy_json_read(it->data, json_object());
    for (size_t i = 0; i < COUNT_OF(fields); i++) {
        json_t *v = json_object_get(body, fields[i]);
        if (v && !json_is_null(v)) json_object_set(data, fields[i], v);
    }
    if (set_data(r, it, data)) keep_it(w, r, it, is_new, web_preset_json);
}

void web_preset_add(http_request *r, void *ctx) {
    item it = fresh(r, "preset");
    put_preset(ctx, r, &it, true);
}

/* The id of the query or of the body; false: answered. */
static bool take_preset(web *w, http_request *r, item *ret) {
    str id = http_request_query(r, "id");
    if (id.len == 0) {
        const json_t *body = web_body(r);
        if (!body) return false;
        id = comfy_text(json_object_get(body, "id"));
    }
    return take(w, r, "preset", id, ret);
}

void web_preset_get(http_request *r, void *ctx) {
    item it;
    if (take_preset(ctx, r, &it)) web_reply(r, web_preset_json(&it));
}

void web_preset_update(http_request *r, void *ctx) {
    item it;
    if (take_preset(ctx, r, &it)) put_preset(ctx, r, &it, false);
}

void web_preset_delete(http_request *r, void *ctx) {
    item it;
    if (take_preset(ctx, r, &it)) drop(ctx, r, "preset", it.id);
}

/* ---- workflows of the studio ---- */

void web_workflows(http_request *r, void *ctx) {
    reply_list(ctx, r, "workflow", workflow_short);
}

static void put_workflow(web *w, http_request *r, item *it, bool is_new) {
    const json_t *body = web_body(r), *data = json_object_get(body, "data");
    if (!body || !web_text(r, body, "name", LIMIT_WEB_TEXT_BYTES, &it->name) || !named(r, it))
        return;
    if (data && !json_is_object(data)) {
        web_fail(r, 422, "\"data\" must be an object");
        return;
    }
    if (data && !set_data(r, it, json_incref((json_t *)(uintptr_t)data))) return;
    keep_it(w, r, it, is_new, workflow_json);
}

void web_workflow_add(http_request *r, void *ctx) {
    item it = fresh(r, "workflow");
    put_workflow(ctx, r, &it, true);
}

void web_workflow_get(http_request *r, void *ctx) {
    item it;
    if (take(ctx, r, "workflow", http_request_param(r, "workflow"), &it))
        web_reply(r, workflow_json(&it));
}

void web_workflow_update(http_request *r, void *ctx) {
    item it;
    if (take(ctx, r, "workflow", http_request_param(r, "workflow"), &it))
        put_workflow(ctx, r, &it, false);
}

void web_workflow_delete(http_request *r, void *ctx) {
    drop(ctx, r, "workflow", http_request_param(r, "workflow"));
}
