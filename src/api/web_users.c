/* /api/v1/users and the settings of the site: what administrators do, and each user's settings. */
#include "api/web_events.h"
#include "api/web_handlers.h"
#include "base/limits.h"
#include <string.h>

enum { PAGE = 30 };

void web_users_list(http_request *r, void *ctx) {
    web *w = ctx;
    user_page page;
    err e;
    int64_t at = web_query_number(r, "page", 1);
    if (at < 1 || at > 1000000) at = 1;
    str query = http_request_query(r, "query");
    if (users_list(w->db, &(user_query){query, PAGE, (at - 1) * PAGE}, http_request_arena(r), &page,
                   &e)) {
        web_fail_err(r, &e);
        return;
    }
    json_t *list = json_array();
    for (size_t i = 0; i < page.n; i++) json_array_append_new(list, web_user_json(&page.users[i]));
    web_reply(r, json_pack("{s:o, s:I}", "users", list, "total", (json_int_t)page.total));
}

static bool role_ok(str role) {
    return str_eq(role, STR("admin")) || str_eq(role, STR("user")) || str_eq(role, STR("pending"));
}

void web_user_add(http_request *r, void *ctx) {
    web *w = ctx;
    arena *a = http_request_arena(r);
    const json_t *body = web_body(r);
    user u = {.role = STR("user")};
    str password = {0};
    err e;
    if (!body || !web_take_account(r, body, &u, &password) ||
        !web_text(r, body, "role", LIMIT_WEB_TEXT_BYTES, &u.role))
        return;
    if (!role_ok(u.role))
        web_fail(r, 400, "the role must be admin, user or pending");
    else if (web_add_account(w, a, &u, password, true, &e))
        web_fail_err(r, &e);
    else
        web_reply(r, web_user_json(&u));
}

/* The fields that are there, over the user's; false: answered. */
static bool take_changes(http_request *r, const json_t *body, user *u, bool *ret_signs_out) {
    arena *a = http_request_arena(r);
    str password = {0}, role = u->role;
    if (!web_text(r, body, "email", LIMIT_WEB_TEXT_BYTES, &u->email) ||
        !web_text(r, body, "name", LIMIT_WEB_TEXT_BYTES, &u->name) ||
        !web_text(r, body, "role", LIMIT_WEB_TEXT_BYTES, &role) ||
        !web_text(r, body, "password", LIMIT_WEB_PASSWORD_BYTES, &password))
        return false;
    *ret_signs_out = password.len > 0 || !str_eq(role, u->role);
    u->role = role;
    u->name = str_trim(u->name);
    if (!role_ok(role))
        web_fail(r, 400, "the role must be admin, user or pending");
    else if (!web_email_ok(u->email))
        web_fail(r, 400, "the email address is not one");
    else if (u->name.len == 0)
        web_fail(r, 400, "the name is empty");
    else if (password.len && password.len < 8)
        web_fail(r, 400, "the password is too short: at least 8 characters");
    else {
        u->password = password.len ? web_password_hash(a, password) : (str){0};
        u->settings = (str){0}; /* theirs alone */
        if (password.len == 0 || u->password.len) return true;
        web_fail(r, 500, "there is no memory to hash the password");
    }
    return false;
}

void web_user_update(http_request *r, void *ctx) {
    web *w = ctx;
    const json_t *body = web_body(r);
    user u;
    bool signs_out = false;
    err e;
    if (!body) return;
    if (users_find(w->db, http_request_param(r, "user"), http_request_arena(r), &u, &e)) {
        web_fail_err(r, &e);
        return;
    }
    if (!take_changes(r, body, &u, &signs_out)) return;
    if (users_update(w->db, &u, &e)) {
        web_fail_err(r, &e);
        return;
    }
    bool self = str_eq(u.id, web_user_id(r));
    if (signs_out && json_object_get(body, "password") && !self)
        grants_delete_all(w->db, u.id, false, STR(""), NULL);
    if (signs_out && !self) web_end_streams(w, u.id, STR(""), true);
    if (users_find(w->db, u.id, http_request_arena(r), &u, &e))
        web_fail_err(r, &e);
    else
        web_reply(r, web_user_json(&u));
}

void web_user_delete(http_request *r, void *ctx) {
    web *w = ctx;
    user u;
    err e;
    str id = http_request_param(r, "user");
    err_code code = users_find(w->db, id, http_request_arena(r), &u, &e);
    if (!code && str_eq(id, web_user_id(r)))
        code = err_set(&e, ERR_INVALID, "nobody can delete their own account here");
    if (!code) web_forget_user(w, id);
    if (!code) code = users_delete(w->db, id, &e);
    if (code)
        web_fail_err(r, &e);
    else
        web_reply(r, json_true());
}

/* ---- settings ---- */

void web_settings_get(http_request *r, void *ctx) {
    (void)ctx;
    web_reply(r, comfy_json_read(web_asker(r)->user.settings, json_object()));
}

void web_settings_put(http_request *r, void *ctx) {
    web *w = ctx;
    const json_t *body = web_body(r);
    user u;
    err e;
    if (!body) return;
    if (users_find(w->db, web_user_id(r), http_request_arena(r), &u, &e)) {
        web_fail_err(r, &e);
        return;
    }
    json_t *all = web_merge(comfy_json_read(u.settings, json_object()), body);
    u.settings = comfy_json_text(http_request_arena(r), all);
    if (u.settings.len > LIMIT_WEB_JSON_BYTES)
        web_fail(r, 413, "the settings are larger than %u bytes", LIMIT_WEB_JSON_BYTES);
    else if (users_update(w->db, &(user){.id = u.id, .settings = u.settings}, &e))
        web_fail_err(r, &e);
    else {
        web_hub_user(w->hub, u.id, "settings", json_object());
        web_reply(r, json_incref(all));
    }
    json_decref(all);
}

/* ---- the site ---- */

static const struct {
    const char *name;
    json_type type;
    const char *text; /* default */
    int64_t number, max;
} SITE[] = {
    {"ENABLE_SIGNUP", JSON_FALSE, NULL, 0, 0},
    {"DEFAULT_USER_ROLE", JSON_STRING, "pending", 0, 0},
    {"DEFAULT_MODELS", JSON_STRING, "", 0, 0},
    {"TITLE_GENERATION", JSON_TRUE, NULL, 0, 0},
    {"RAG_EMBEDDING_MODEL", JSON_STRING, "all-minilm", 0, 0},
    {"RAG_TOP_K", JSON_INTEGER, NULL, 4, 50},
    {"CHUNK_SIZE", JSON_INTEGER, NULL, 1000, 20000},
    {"CHUNK_OVERLAP", JSON_INTEGER, NULL, 100, 10000},
};

static json_t *site_values(web *w, arena *a) {
    json_t *out = json_object(), *set = web_site_json(w, a);
    for (size_t i = 0; i < COUNT_OF(SITE); i++) {
        json_t *v = SITE[i].type == JSON_STRING    ? json_string(SITE[i].text)
                    : SITE[i].type == JSON_INTEGER ? json_integer(SITE[i].number)
                                                   : json_boolean(SITE[i].type == JSON_TRUE);
        json_object_set_new(out, SITE[i].name, v);
    }
    json_object_update_existing(out, set);
    json_decref(set);
    return out;
}

void web_site_get(http_request *r, void *ctx) {
    web_reply(r, site_values(ctx, http_request_arena(r)));
}

/* NULL when the value may be set. */
static const char *wrong_setting(size_t i, const json_t *v) {
    if (SITE[i].type == JSON_STRING) {
        bool role = strcmp(SITE[i].name, "DEFAULT_USER_ROLE") == 0;
        str text = comfy_text(v);
        if (!json_is_string(v) || text.len > LIMIT_WEB_TEXT_BYTES) return "a short string";
        if (role && !str_eq(text, STR("pending")) && !str_eq(text, STR("user")))
            return "\"pending\" or \"user\"";
        return NULL;
    }
    if (SITE[i].type == JSON_INTEGER)
        return json_is_integer(v) && json_integer_value(v) >= 0 &&
                       json_integer_value(v) <= SITE[i].max
                   ? NULL
                   : "a whole number in its range";
    return json_is_boolean(v) ? NULL : "true or false";
}

void web_site_put(http_request *r, void *ctx) {
    web *w = ctx;
    arena *a = http_request_arena(r);
    const json_t *body = web_body(r);
    err e;
    if (!body) return;
    for (size_t i = 0; i < COUNT_OF(SITE); i++) {
        const json_t *v = json_object_get(body, SITE[i].name);
        const char *wrong = v ? wrong_setting(i, v) : NULL;
        if (wrong) {
            web_fail(r, 400, "%s must be %s", SITE[i].name, wrong);
            return;
        }
    }
    json_t *all = site_values(w, a);
    json_object_update_existing(all, (json_t *)(uintptr_t)body);
    if (site_put(w->db, STR("config"), comfy_json_text(a, all), &e))
        web_fail_err(r, &e);
    else
        web_reply(r, json_incref(all));
    json_decref(all);
}
