/* /users and /settings: one JSON file in the user's directory. */
#include "api/comfy_user.h"
#include "api/comfy_owner.h"
#include "base/limits.h"
#include "http/json.h"
#include "os/file.h"
#include <pthread.h>

static pthread_mutex_t settings_lock = PTHREAD_MUTEX_INITIALIZER; /* read, change, write */

str comfy_user_dir(comfy *c, http_request *r) {
    str owner = comfy_owner(r);
    str dir = str_fmt(http_request_arena(r), STR_FMT "/" STR_FMT, STR_ARG(c->dirs->user),
                      STR_ARG(owner.len ? owner : STR("default")));
    file_mkdirs(dir.ptr, NULL);
    return dir;
}

void comfy_users_get(http_request *r, void *ctx) {
    (void)ctx;
    comfy_reply(r, 200, json_pack("{s:s, s:b}", "storage", "server", "migrated", 1));
}

void comfy_users_post(http_request *r, void *ctx) {
    (void)ctx;
    comfy_reply(r, 400, json_pack("{s:s}", "error", "this server has one user"));
}

static const char *settings_path(comfy *c, http_request *r) {
    return str_fmt(http_request_arena(r), STR_FMT "/comfy.settings.json",
                   STR_ARG(comfy_user_dir(c, r)))
        .ptr;
}

/* An empty object when there are none, or when they are damaged. */
static json_t *read_settings(comfy *c, http_request *r) {
    buf b = {0};
    json_t *v = NULL;
    if (!file_read(settings_path(c, r), LIMIT_SETTINGS_BYTES, &b, NULL))
        json_parse_plain(buf_str(&b), &v, NULL);
    buf_finish(&b);
    if (json_is_object(v)) return v;
    json_decref(v);
    return json_object();
}

static err_code write_settings(comfy *c, http_request *r, const json_t *v, err *e) {
    str text = comfy_json_text(http_request_arena(r), v);
    if (text.len > LIMIT_SETTINGS_BYTES) FAIL(e, LIMIT, "the settings are too large");
    return file_write_atomic(settings_path(c, r), text.ptr, text.len, e);
}

void comfy_settings_get(http_request *r, void *ctx) {
    comfy_reply(r, 200, read_settings(ctx, r));
}

void comfy_setting_get(http_request *r, void *ctx) {
    json_t *all = read_settings(ctx, r);
    str id = http_request_param(r, "id");
    json_t *one = json_object_getn(all, id.ptr, id.len);
    comfy_reply(r, 200, one ? json_incref(one) : json_null());
    json_decref(all);
}

/* Merges `changes` into the settings and answers. */
static void change(http_request *r, comfy *c, const json_t *changes) {
    err e;
    pthread_mutex_lock(&settings_lock);
    json_t *all = read_settings(c, r);
    json_object_update(all, (json_t *)(uintptr_t)changes);
    err_code code = write_settings(c, r, all, &e);
    pthread_mutex_unlock(&settings_lock);
    json_decref(all);
    if (code)
        comfy_reply_err(r, &e);
    else
        comfy_reply_empty(r, 200);
}

void comfy_settings_post(http_request *r, void *ctx) {
    err e = {.code = ERR_FORMAT, .msg = "the body must be a JSON object"};
    const json_t *body = comfy_body(r, &e);
    if (json_is_object(body))
        change(r, ctx, body);
    else
        comfy_reply_err(r, &e);
}

void comfy_setting_post(http_request *r, void *ctx) {
    err e;
    json_t *body = comfy_body(r, &e);
    if (!body) {
        comfy_reply_err(r, &e);
        return;
    }
    json_t *changes = json_object();
    comfy_defer_json(http_request_arena(r), changes);
    json_object_set(changes, str_cstr(http_request_arena(r), http_request_param(r, "id")), body);
    change(r, ctx, changes);
}
