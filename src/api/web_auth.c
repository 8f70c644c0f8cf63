/* /api/v1/auths: signing up, in and out; sessions, keys, the own profile. */
#include "api/web_events.h"
#include "api/web_handlers.h"
#include "api/web_throttle.h"
#include "base/clock.h"
#include "base/limits.h"
#include <string.h>

static const int64_t SESSION_MS = 28ll * 24 * 3600 * 1000;

json_t *web_user_json(const user *u) {
    json_t *o = json_object();
    json_object_set_new(o, "id", comfy_str(u->id));
    json_object_set_new(o, "email", comfy_str(u->email));
    json_object_set_new(o, "name", comfy_str(u->name));
    json_object_set_new(o, "role", comfy_str(u->role));
    json_object_set_new(o, "profile_image_url", json_string(""));
    json_object_set_new(o, "created_at", web_seconds(u->created_ms));
    json_object_set_new(o, "last_active_at", web_seconds(u->active_ms));
    json_object_set_new(o, "settings", comfy_json_read(u->settings, json_object()));
    return o;
}

/* ---- sessions ---- */

static bool behind_tls(web *w, http_request *r) {
    return web_address_trusted(w, http_request_peer(r)) &&
           str_eq_nocase(http_request_header(r, "X-Forwarded-Proto"), STR("https"));
}

static void set_cookie(web *w, http_request *r, str token, int64_t seconds) {
    arena *a = http_request_arena(r);
    http_reply_header(
        r, "Set-Cookie",
        str_fmt(a, "token=" STR_FMT "; Path=/; HttpOnly; SameSite=Lax; Max-Age=%lld%s",
                STR_ARG(token), (long long)seconds, behind_tls(w, r) ? "; Secure" : "")
            .ptr);
}

/* Too many sessions: the one that was not used for the longest time ends. */
static void make_room(web *w, str user_id, arena *a) {
    grant_list list = {0};
    bool any;
    grants_expire(w->db, comfy_now_ms(), NULL);
    grants_list(w->db, user_id, false, a, &list, NULL);
    while (list.n >= LIMIT_WEB_SESSIONS) {
        size_t least = 0;
        for (size_t i = 1; i < list.n; i++)
            if (list.items[i].used_ms < list.items[least].used_ms) least = i;
        grants_delete(w->db, user_id, list.items[least].id, &any, NULL);
        web_end_streams(w, user_id, list.items[least].id, false);
        list.items[least] = list.items[--list.n];
    }
}

/* A new session for this user: the answer to a sign-in. */
static void open_session(web *w, http_request *r, const user *u) {
    arena *a = http_request_arena(r);
    err e;
    int64_t now = comfy_now_ms();
    str token = web_secret_make(a, "hob-");
    str agent = http_request_header(r, "User-Agent");
    grant g = {.id = comfy_uuid(a),
               .user_id = u->id,
               .name = str_sub(agent, 0, LIMIT_WEB_TEXT_BYTES),
               .address = web_client_address(w, r),
               .created_ms = now,
               .used_ms = now,
               .expires_ms = now + SESSION_MS};
    unsigned char hash[32];
    web_secret_hash(w, token, hash);
    if (!str_is_utf8(g.name)) g.name = STR("unknown");
    make_room(w, u->id, a);
    if (grants_add(w->db, &g, hash, &e)) {
        web_fail_err(r, &e);
        return;
    }
    set_cookie(w, r, token, SESSION_MS / 1000);
    json_t *o = web_user_json(u);
    json_object_set_new(o, "token", comfy_str(token));
    json_object_set_new(o, "token_type", json_string("Bearer"));
    json_object_set_new(o, "expires_at", web_seconds(g.expires_ms));
    json_object_set_new(o, "permissions", json_object());
    web_reply(r, o);
}

bool web_email_ok(str email) {
    ptrdiff_t at = str_find_char(email, '@');
    if (at <= 0 || (size_t)at + 1 >= email.len || email.len > LIMIT_WEB_TEXT_BYTES) return false;
    for (size_t i = 0; i < email.len; i++)
        if ((unsigned char)email.ptr[i] <= ' ' || email.ptr[i] == 127) return false;
    return str_is_utf8(email);
}

bool web_take_account(http_request *r, const json_t *body, user *u, str *password) {
    if (!web_text(r, body, "email", LIMIT_WEB_TEXT_BYTES, &u->email) ||
        !web_text(r, body, "name", LIMIT_WEB_TEXT_BYTES, &u->name) ||
        !web_text(r, body, "password", LIMIT_WEB_PASSWORD_BYTES, password))
        return false;
    u->email = str_trim(u->email);
    u->name = str_trim(u->name);
    if (!web_email_ok(u->email))
        web_fail(r, 400, "the email address is not one");
    else if (u->name.len == 0)
        web_fail(r, 400, "the name is empty");
    else if (password->len < 8)
        web_fail(r, 400, "the password is too short: at least 8 characters");
    else
        return true;
    return false;
}

err_code web_add_account(web *w, arena *a, user *u, str password, bool open, err *e) {
    int64_t n = 0, now = comfy_now_ms();
    TRY(users_count(w->db, &n, e));
    if (n >= LIMIT_WEB_USERS) FAIL(e, LIMIT, "there are %d users already", LIMIT_WEB_USERS);
    if (n > 0 && !open) FAIL(e, INVALID, "sign-up is closed");
    u->id = comfy_uuid(a);
    u->settings = STR("{}");
    u->password = web_password_hash(a, password);
    u->created_ms = u->active_ms = now;
    if (u->password.len == 0) FAIL(e, NOMEM, "there is no memory to hash the password");
    return users_add(w->db, u, open, a, e);
}

void web_signup(http_request *r, void *ctx) {
    web *w = ctx;
    arena *a = http_request_arena(r);
    const json_t *body = web_body(r);
    user u = {0};
    str password = {0};
    err e;
    if (!body) return;
    bool open = web_site_flag(w, "ENABLE_SIGNUP", false);
    int64_t n = 1;
    users_count(w->db, &n, NULL);
    if (w->no_login || (n > 0 && !open)) {
        web_fail(r, 403, "sign-up is closed: ask an administrator for an account");
        return;
    }
    u.role = web_site_text(w, "DEFAULT_USER_ROLE", "pending", a);
    if (!web_take_account(r, body, &u, &password)) return;
    err_code code = web_add_account(w, a, &u, password, open, &e);
    if (code)
        web_fail(r, str_starts(str_from(e.msg), STR("sign-up")) ? 403 : err_http_status(code), "%s",
                 e.msg);
    else
        open_session(w, r, &u);
}

void web_signin(http_request *r, void *ctx) {
    web *w = ctx;
    arena *a = http_request_arena(r);
    const json_t *body = web_body(r);
    str email = {0}, password = {0}, address = web_client_address(w, r);
    user u = {0};
    if (!body || !web_text(r, body, "email", LIMIT_WEB_TEXT_BYTES, &email) ||
        !web_text(r, body, "password", LIMIT_WEB_PASSWORD_BYTES, &password))
        return;
    email = str_trim(email);
    int64_t wait = web_throttle_wait(w->throttle, address, email);
    if (wait > 0) {
        int64_t seconds = (wait + 999) / 1000;
        http_reply_header(r, "Retry-After", str_fmt(a, "%lld", (long long)seconds).ptr);
        web_fail(r, 429, "too many wrong passwords: try again in %lld seconds", (long long)seconds);
        return;
    }
    bool known = users_find_email(w->db, email, a, &u, NULL) == ERR_OK;
    if (!web_password_ok(a, known ? u.password : STR(""), password)) {
        web_throttle_failed(w->throttle, address, email);
        web_fail(r, 400, "The email or password is wrong");
        return;
    }
    web_throttle_passed(w->throttle, address, email);
    open_session(w, r, &u);
}

void web_signout(http_request *r, void *ctx) {
    web *w = ctx;
    const web_who *who = web_asker(r);
    bool any;
    if (who && who->grant.id.len && !who->grant.is_key) {
        grants_delete(w->db, who->user.id, who->grant.id, &any, NULL);
        web_end_streams(w, who->user.id, who->grant.id, false);
    }
    set_cookie(w, r, STR(""), 0);
    web_reply(r, json_pack("{s:b}", "status", 1));
}

void web_session_user(http_request *r, void *ctx) {
    (void)ctx;
    const web_who *who = web_asker(r);
    json_t *o = web_user_json(&who->user);
    json_object_set_new(o, "token_type", json_string("Bearer"));
    json_object_set_new(o, "expires_at",
                        who->grant.expires_ms ? web_seconds(who->grant.expires_ms) : json_null());
    /* the token goes back to a client that sent it itself; a cookie stays out of scripts' reach */
    str bearer = http_request_header(r, "Authorization");
    if (!who->by_cookie && !who->grant.is_key && bearer.len > 7)
        json_object_set_new(o, "token", comfy_str(str_trim(str_sub(bearer, 7, bearer.len))));
    json_object_set_new(o, "permissions", json_object());
    web_reply(r, o);
}

static json_t *or_null(int64_t ms) {
    return ms ? web_seconds(ms) : json_null();
}

static json_t *grant_json(const grant *g, str current) {
    json_t *o = json_object();
    json_object_set_new(o, "id", comfy_str(g->id));
    json_object_set_new(o, "created_at", web_seconds(g->created_ms));
    json_object_set_new(o, "expires_at", or_null(g->expires_ms));
    if (!g->is_key) {
        json_object_set_new(o, "current", json_boolean(str_eq(g->id, current)));
        json_object_set_new(o, "seen_at", web_seconds(g->used_ms));
        json_object_set_new(o, "address", comfy_str(g->address));
        json_object_set_new(o, "agent", comfy_str(g->name));
        return o;
    }
    json_t *scopes = json_array();
    for (str list = g->scopes; list.len;)
        json_array_append_new(scopes, comfy_str(str_cut(&list, ' ')));
    json_object_set_new(o, "name", comfy_str(g->name));
    json_object_set_new(o, "prefix", comfy_str(g->address));
    json_object_set_new(o, "scopes", scopes);
    json_object_set_new(o, "used_at", or_null(g->used_ms));
    return o;
}

static void list_grants(web *w, http_request *r, bool keys) {
    const web_who *who = web_asker(r);
    grant_list list;
    err e;
    if (grants_list(w->db, who->user.id, keys, http_request_arena(r), &list, &e)) {
        web_fail_err(r, &e);
        return;
    }
    json_t *out = json_array();
    for (size_t i = 0; i < list.n; i++)
        json_array_append_new(out, grant_json(&list.items[i], who->grant.id));
    web_reply(r, out);
}

void web_sessions(http_request *r, void *ctx) {
    list_grants(ctx, r, false);
}

void web_keys(http_request *r, void *ctx) {
    list_grants(ctx, r, true);
}

static void delete_grant(web *w, http_request *r, str id) {
    const web_who *who = web_asker(r);
    bool any;
    err e;
    if (grants_delete(w->db, who->user.id, id, &any, &e)) {
        web_fail_err(r, &e);
        return;
    }
    web_end_streams(w, who->user.id, id, false);
    web_reply(r, json_true());
}

void web_session_delete(http_request *r, void *ctx) {
    delete_grant(ctx, r, http_request_param(r, "session"));
}

void web_key_delete(http_request *r, void *ctx) {
    delete_grant(ctx, r, http_request_param(r, "key"));
}

/* Ends the user's sessions but this one, and the event streams that they opened. */
static void end_others(web *w, const web_who *who) {
    grants_delete_all(w->db, who->user.id, false, who->grant.id, NULL);
    web_end_streams(w, who->user.id, who->grant.id, true);
}

void web_sessions_delete(http_request *r, void *ctx) {
    end_others(ctx, web_asker(r));
    web_reply(r, json_true());
}

/* ---- keys ---- */

/* The list in the body as words with spaces between; false: answered. */
static bool take_scopes(http_request *r, const json_t *body, str *ret) {
    static const char *const known[] = {"chat", "images", "models", "web"};
    const json_t *list = json_object_get(body, "scopes");
    buf words = {0};
    if (!list) buf_put_str(&words, STR("chat images"));
    bool ok = !list || (json_is_array(list) && json_array_size(list) > 0);
    for (size_t i = 0; ok && i < json_array_size(list); i++) {
        str word = comfy_text(json_array_get(list, i));
        bool found = false;
        for (size_t k = 0; k < COUNT_OF(known); k++)
            found = found || str_eq(word, str_from(known[k]));
        ok = found && i < COUNT_OF(known);
        if (ok) buf_putf(&words, "%s" STR_FMT, words.len ? " " : "", STR_ARG(word));
    }
    *ret = str_dup(http_request_arena(r), buf_str(&words));
    buf_finish(&words);
    if (!ok) web_fail(r, 400, "\"scopes\" must be a list of chat, images, models and web");
    return ok;
}

/* A new key in *ret and its text; false: answered. */
static bool make_key(web *w, http_request *r, grant *g, str *ret_key) {
    arena *a = http_request_arena(r);
    unsigned char hash[32];
    grant_list list;
    err e;
    *ret_key = web_secret_make(a, "sk-");
    g->id = comfy_uuid(a);
    g->is_key = true;
    g->user_id = web_asker(r)->user.id;
    g->address = str_sub(*ret_key, 0, 10);
    g->created_ms = comfy_now_ms();
    web_secret_hash(w, *ret_key, hash);
    if (grants_list(w->db, g->user_id, true, a, &list, &e) ||
        (list.n >= LIMIT_WEB_KEYS &&
         err_set(&e, ERR_LIMIT, "there are %zu keys already; delete some", list.n)) ||
        grants_add(w->db, g, hash, &e)) {
        web_fail_err(r, &e);
        return false;
    }
    return true;
}

void web_key_add(http_request *r, void *ctx) {
    web *w = ctx;
    const json_t *body = web_body(r), *expires = json_object_get(body, "expires_in");
    grant g = {.name = STR("")};
    str key;
    if (!body || !web_text(r, body, "name", LIMIT_WEB_TEXT_BYTES, &g.name) ||
        !take_scopes(r, body, &g.scopes))
        return;
    if (expires && !json_is_null(expires)) {
        int64_t seconds = json_is_integer(expires) ? json_integer_value(expires) : 0;
        if (seconds <= 0 || seconds > 10ll * 366 * 24 * 3600) {
            web_fail(r, 400, "\"expires_in\" must be seconds, at most ten years");
            return;
        }
        g.expires_ms = comfy_now_ms() + seconds * 1000;
    }
    if (!make_key(w, r, &g, &key)) return;
    json_t *o = grant_json(&g, STR(""));
    json_object_set_new(o, "key", comfy_str(key));
    web_reply(r, o);
}

/* Open WebUI's single key: a new one for everything but model management. */
void web_single_key(http_request *r, void *ctx) {
    grant g = {.name = STR("api_key"), .scopes = STR("chat images web")};
    str key;
    if (make_key(ctx, r, &g, &key)) web_reply(r, json_pack("{s:o}", "api_key", comfy_str(key)));
}

void web_single_key_get(http_request *r, void *ctx) {
    (void)ctx;
    web_fail(r, 404, "keys are shown once, when they are made");
}

void web_single_key_delete(http_request *r, void *ctx) {
    web *w = ctx;
    grant_list list = {0};
    bool any;
    str user_id = web_user_id(r);
    grants_list(w->db, user_id, true, http_request_arena(r), &list, NULL);
    for (size_t i = 0; i < list.n; i++)
        if (str_eq(list.items[i].name, STR("api_key")))
            grants_delete(w->db, user_id, list.items[i].id, &any, NULL);
    web_reply(r, json_true());
}

/* ---- the own profile ---- */

void web_update_profile(http_request *r, void *ctx) {
    web *w = ctx;
    const json_t *body = web_body(r);
    user u = web_asker(r)->user;
    err e;
    if (!body || !web_text(r, body, "name", LIMIT_WEB_TEXT_BYTES, &u.name)) return;
    u.name = str_trim(u.name);
    if (u.name.len == 0)
        web_fail(r, 400, "the name is empty");
    else if (users_update(w->db, &(user){.id = u.id, .name = u.name}, &e))
        web_fail_err(r, &e);
    else
        web_reply(r, web_user_json(&u));
}

void web_update_password(http_request *r, void *ctx) {
    web *w = ctx;
    arena *a = http_request_arena(r);
    const json_t *body = web_body(r);
    const web_who *who = web_asker(r);
    user u;
    str old = {0}, fresh = {0}, address = web_client_address(w, r);
    err e;
    if (!body || !web_text(r, body, "password", LIMIT_WEB_PASSWORD_BYTES, &old) ||
        !web_text(r, body, "new_password", LIMIT_WEB_PASSWORD_BYTES, &fresh))
        return;
    if (users_find(w->db, who->user.id, a, &u, &e)) { /* as it is now: the body took its time */
        web_fail_err(r, &e);
        return;
    }
    if (web_throttle_wait(w->throttle, address, u.email) > 0) {
        web_fail(r, 429, "too many wrong passwords: try again later");
    } else if (!web_password_ok(a, u.password, old)) {
        web_throttle_failed(w->throttle, address, u.email);
        web_fail(r, 400, "The password is wrong");
    } else if (fresh.len < 8) {
        web_fail(r, 400, "the password is too short: at least 8 characters");
    } else {
        user changed = {.id = u.id, .password = web_password_hash(a, fresh)};
        if (changed.password.len == 0 || users_update(w->db, &changed, &e)) {
            web_fail(r, 500, "the password could not be changed");
            return;
        }
        end_others(w, who);
        web_reply(r, json_true());
    }
}
