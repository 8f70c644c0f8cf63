/* The web listener's life, its table of routes, and what every handler does. */
#include "api/web.h"
#include "api/web_chats.h"
#include "api/web_events.h"
#include "api/web_files.h"
#include "api/web_handlers.h"
#include "api/web_meter.h"
#include "api/web_pulls.h"
#include "api/web_run.h"
#include "api/web_throttle.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/rng.h"
#include "http/json.h"
#include "os/file.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sodium.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

/* ---- answers and bodies ---- */

void web_reply(http_request *r, json_t *body) {
    http_reply_json(r, 200, body);
    json_decref(body);
}

void web_fail(http_request *r, int status, const char *fmt, ...) {
    buf text = {0};
    va_list args;
    va_start(args, fmt);
    buf_vputf(&text, fmt, args);
    va_end(args);
    json_t *body = json_object();
    json_object_set_new(body, "detail", comfy_str(buf_str(&text)));
    http_reply_json(r, status, body);
    json_decref(body);
    buf_finish(&text);
}

void web_fail_err(http_request *r, const err *e) {
    web_fail(r, err_http_status(e->code), "%s", e->msg);
}

const json_t *web_body(http_request *r) {
    str text = http_request_body(r);
    json_t *body;
    err e;
    if (str_trim(text).len == 0) {
        body = json_object();
    } else if (json_parse(text, &body, &e)) {
        web_fail(r, 400, "the body is not JSON: %s", e.msg);
        return NULL;
    }
    comfy_defer_json(http_request_arena(r), body);
    if (json_is_object(body)) return body;
    web_fail(r, 400, "the body must be a JSON object");
    return NULL;
}

bool web_text(http_request *r, const json_t *body, const char *field, size_t n_max, str *ret) {
    const json_t *v = json_object_get(body, field);
    if (!v || json_is_null(v)) return true;
    if (!json_is_string(v))
        web_fail(r, 422, "\"%s\" must be a string", field);
    else if (json_string_length(v) > n_max)
        web_fail(r, 413, "\"%s\" has %zu bytes; at most %zu are taken", field,
                 json_string_length(v), n_max);
    else
        *ret = comfy_text(v);
    return json_is_string(v) && json_string_length(v) <= n_max;
}

bool web_object(http_request *r, const json_t *body, const char *field, str *ret) {
    const json_t *v = json_object_get(body, field);
    if (!v || json_is_null(v)) return true;
    if (!json_is_object(v)) {
        web_fail(r, 422, "\"%s\" must be an object", field);
        return false;
    }
    *ret = comfy_json_text(http_request_arena(r), v);
    if (ret->len <= LIMIT_WEB_JSON_BYTES) return true;
    web_fail(r, 413, "\"%s\" has %zu bytes; at most %u are taken", field, ret->len,
             LIMIT_WEB_JSON_BYTES);
    return false;
}

int64_t web_query_number(http_request *r, const char *name, int64_t fallback) {
    int64_t v;
    return str_to_i64(http_request_query(r, name), &v) && v >= 0 ? v : fallback;
}

json_t *web_seconds(int64_t ms) {
    return json_integer(ms / 1000);
}

json_t *web_merge(json_t *base, const json_t *changes) {
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)changes, key, v) {
        if (json_is_null(v))
            json_object_del(base, key);
        else
            json_object_set(base, key, v);
    }
    return base;
}

/* ---- site settings ---- */

json_t *web_site_json(web *w, arena *a) {
    str text = {0};
    site_get(w->db, STR("config"), a, &text, NULL);
    return comfy_json_read(text, json_object());
}

bool web_site_flag(web *w, const char *name, bool fallback) {
    CLEANUP(arena_destroy) arena *a = arena_create(0);
    json_t *all = web_site_json(w, a);
    const json_t *v = json_object_get(all, name);
    bool yes = json_is_boolean(v) ? json_is_true(v) : fallback;
    json_decref(all);
    return yes;
}

str web_site_text(web *w, const char *name, const char *fallback, arena *a) {
    json_t *all = web_site_json(w, a);
    str text = comfy_text(json_object_get(all, name));
    text = str_dup(a, text.ptr ? text : str_from(fallback));
    json_decref(all);
    return text;
}

int64_t web_site_number(web *w, const char *name, int64_t fallback) {
    CLEANUP(arena_destroy) arena *a = arena_create(0);
    json_t *all = web_site_json(w, a);
    const json_t *v = json_object_get(all, name);
    int64_t n = json_is_integer(v) ? json_integer_value(v) : fallback;
    json_decref(all);
    return n;
}

/* ---- secrets ---- */

str web_secret_make(arena *a, const char *prefix) {
    unsigned char bytes[32];
    char hex[65];
    rng_entropy(bytes, sizeof bytes);
    sodium_bin2hex(hex, sizeof hex, bytes, sizeof bytes);
    return str_fmt(a, "%s%s", prefix, hex);
}

void web_secret_hash(const web *w, str secret, unsigned char hash[32]) {
    crypto_auth_hmacsha256_state state;
    crypto_auth_hmacsha256_init(&state, w->secret, sizeof w->secret);
    crypto_auth_hmacsha256_update(&state, (const unsigned char *)secret.ptr, secret.len);
    crypto_auth_hmacsha256_final(&state, hash);
}

enum { ARGON_PASSES = 3, ARGON_BYTES = 32 << 20 };
static pthread_mutex_t argon_lock = PTHREAD_MUTEX_INITIALIZER; /* one at a time: it takes memory */

str web_password_hash(arena *a, str password) {
    char text[crypto_pwhash_STRBYTES] = "";
    if (!password.ptr) password = STR("");
    pthread_mutex_lock(&argon_lock);
    int bad = crypto_pwhash_str(text, password.ptr, password.len, ARGON_PASSES, ARGON_BYTES);
    pthread_mutex_unlock(&argon_lock);
    return bad ? STR("") : str_dup(a, str_from(text));
}

/* Takes as long for a user that does not exist. */
bool web_password_ok(arena *a, str hash, str password) {
    if (hash.len == 0) {
        web_password_hash(a, password);
        return false;
    }
    if (!password.ptr) password = STR("");
    pthread_mutex_lock(&argon_lock);
    int bad = crypto_pwhash_str_verify(str_cstr(a, hash), password.ptr, password.len);
    pthread_mutex_unlock(&argon_lock);
    return bad == 0;
}

/* Written once, for its owner's eyes only. */
static err_code make_secret_file(const char *path, err *e) {
    CLEANUP(arena_destroy) arena *a = arena_create(0);
    str text = web_secret_make(a, "");
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    bool ok = fd >= 0 && write(fd, text.ptr, text.len) == (ssize_t)text.len && fsync(fd) == 0;
    if (fd >= 0) close(fd);
    if (!ok) FAIL(e, IO, "cannot write the secret key %s: %s", path, strerror(errno));
    return ERR_OK;
}

static err_code take_secret(const web_config *c, web *w, arena *a, err *e) {
    buf text = {0};
    str secret = str_trim(str_from(c->secret));
    const char *path = c->secret_path ? c->secret_path : str_fmt(a, "%s/secret_key", c->home).ptr;
    if (secret.len == 0) {
        if (!c->secret_path && !file_exists(path)) TRY(make_secret_file(path, e));
        TRY(file_read(path, 65536, &text, e));
        secret = str_trim(buf_str(&text));
    }
    bool empty = secret.len == 0;
    crypto_hash_sha256(w->secret, (const unsigned char *)secret.ptr, secret.len);
    buf_finish(&text);
    if (empty) FAIL(e, INVALID, "the secret key %s is empty", path);
    return ERR_OK;
}

/* ---- life ---- */

static err_code add_first(web *w, arena *a, const web_config *c, bool local, err *e) {
    int64_t now = comfy_now_ms();
    user u = {.id = comfy_uuid(a),
              .email = local ? STR("local@localhost") : str_from(c->admin_email),
              .name = local ? STR("You") : str_from(c->admin_name ? c->admin_name : "Admin"),
              .role = STR("admin"),
              .settings = STR("{}"),
              .password = local ? STR("") : web_password_hash(a, str_from(c->admin_password)),
              .created_ms = now,
              .active_ms = now};
    return users_add(w->db, &u, false, a, e);
}

static err_code first_user(web *w, arena *a, const web_config *c, err *e) {
    user_page page;
    TRY(users_list(w->db, &(user_query){.limit = 1}, a, &page, e));
    if (w->no_login && page.total == 0) return add_first(w, a, c, true, e);
    if (w->no_login && (page.total > 1 || page.users[0].password.len))
        FAIL(e, INVALID,
             "HOB_WEB_AUTH=off (WEBUI_AUTH=False) is for a database without accounts, this one has "
             "%lld: use another HOB_HOME",
             (long long)page.total);
    if (page.total == 0 && c->admin_email && c->admin_password) return add_first(w, a, c, false, e);
    return ERR_OK;
}

static err_code open_tables(web *w, err *e) {
    TRY(users_migrate(w->db, e));
    TRY(chats_migrate(w->db, e));
    TRY(items_migrate(w->db, e));
    TRY(files_migrate(w->db, e));
    return grants_expire(w->db, comfy_now_ms(), e);
}

err_code web_create(const web_config *c, web **ret, err *e) {
    CLEANUP(arena_destroy) arena *a = arena_create(0);
    if (sodium_init() < 0) FAIL(e, INTERNAL, "libsodium cannot be used here");
    web *w = NEW(web);
    w->chat = c->chat;
    w->pictures = c->pictures;
    w->db = c->db;
    w->no_login = c->no_login;
    w->proxies = str_from(c->proxies);
    w->static_key = str_trim(str_from(c->static_key));
    w->name = str_from(c->name && *c->name ? c->name : "hob");
    w->start_ns = clock_mono_ns();
    str dir = str_fmt(a, "%s/files", c->home);
    w->files_dir = (str){mem_dup(dir.ptr, dir.len + 1), dir.len};
    w->throttle = web_throttle_create();
    w->hub = web_hub_create();
    w->meter = web_meter_create(w);
    w->pulls = web_pulls_create();
    err_code code = file_mkdirs(w->files_dir.ptr, e);
    if (!code) code = take_secret(c, w, a, e);
    if (!code) code = open_tables(w, e);
    if (!code) code = first_user(w, a, c, e);
    if (!code) code = web_runs_create(w, &w->runs, e);
    if (code) {
        web_destroy(&w);
        return code;
    }
    web_files_recover(w);
    web_meter_start(w->meter);
    *ret = w;
    return ERR_OK;
}

void web_stop(web *w) {
    if (!w) return;
    w->stopping = true;
    web_pulls_stop(w->pulls);
    web_runs_stop(w->runs);
    web_meter_stop(w->meter);
    web_hub_close(w->hub);
}

void web_destroy(web **pw) {
    if (!pw || !*pw) return;
    web *w = *pw;
    web_stop(w);
    web_runs_destroy(&w->runs);
    web_pulls_destroy(&w->pulls);
    web_meter_destroy(&w->meter);
    web_hub_destroy(&w->hub);
    web_throttle_destroy(&w->throttle);
    mem_free((void *)(uintptr_t)w->files_dir.ptr);
    sodium_memzero(w->secret, sizeof w->secret);
    mem_free(w);
    *pw = NULL;
}
