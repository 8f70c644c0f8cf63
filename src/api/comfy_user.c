/* /users and /settings: one JSON file in the user's directory. */
#include "api/comfy_user.h"
#include "base/limits.h"
#include "http/json.h"
#include "os/file.h"
#include <pthread.h>

static pthread_mutex_t settings_lock = PTHREAD_MUTEX_INITIALIZER; /* read, change, write */

str comfy_user_dir(comfy *c, arena *a) {
    str dir = str_fmt(a, STR_FMT "/default", STR_ARG(c->dirs->user));
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

static const char *settings_path(comfy *c, arena *a) {
    return str_fmt(a, STR_FMT "/comfy.settings.json", STR_ARG(comfy_user_dir(c, a))).ptr;
}

/* An empty object when there are none, or when they are damaged. */
static json_t *read_settings(comfy *c, arena *a) {
    buf b = {0};
    json_t *v = NULL;
    if (!file_read(settings_path(c, a), LIMIT_SETTINGS_BYTES, &b, NULL))
        json_parse_plain(buf_str(&b), &v, NULL);
    buf_finish(&b);
    if (json_is_object(v)) return v;
    json_decref(v);
    return json_object();
}

static err_code write_settings(comfy *c, arena *a, const json_t *v, err *e) {
    str text = comfy_json_text(a, v);
    if (text.len > LIMIT_SETTINGS_BYTES) FAIL(e, LIMIT, "the settings are too large");
    return file_write_atomic(settings_path(c, a), text.ptr, text.len, e);
}

void comfy_settings_get(http_request *r, void *ctx) {
    comfy_reply(r, 200, read_settings(ctx, http_request_arena(r)));
}

void comfy_setting_get(http_request *r, void *ctx) {
    json_t *all = read_settings(ctx, http_request_arena(r));
    str id = http_request_param(r, "id");
    json_t *one = json_object_getn(all, id.ptr, id.len);
    comfy_reply(r, 200, one ? json_incref(one) : json_null());
    json_decref(all);
}

/* Merges `changes` into the settings and answers. */
static void change(http_request *r, comfy *c, const json_t *changes) {
    arena *a = http_request_arena(r);
    err e;
    pthread_mutex_lock(&settings_lock);
    json_t *all = read_settings(c, a);
    json_object_update(all, (json_t *)(uintptr_t)changes);
    err_code code = write_settings(c, a, all, &e);
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
