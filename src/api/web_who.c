/* Who asks, and whether they may: the one place that reads credentials and the one that checks
 * whose a thing is. Runs before the body is read. */
#include "api/web.h"
#include "base/clock.h"
#include "base/limits.h"
#include "http/json.h"
#include <string.h>

const web_who *web_asker(const http_request *r) {
    return http_request_user(r);
}

str web_user_id(const http_request *r) {
    const web_who *who = web_asker(r);
    return who ? who->user.id : STR("");
}

/* ---- where from ---- */

bool web_address_trusted(const web *w, str address) {
    for (str list = w->proxies; list.len;)
        if (address.len && str_eq(str_trim(str_cut(&list, ',')), address)) return true;
    return false;
}

str web_client_address(const web *w, http_request *r) {
    str address = http_request_peer(r);
    str list = http_request_header(r, "X-Forwarded-For");
    while (list.len && web_address_trusted(w, address)) {
        ptrdiff_t comma = str_rfind_char(list, ',');
        address = str_trim(str_sub(list, (size_t)(comma + 1), list.len));
        list = comma < 0 ? (str){0} : str_sub(list, 0, (size_t)comma);
    }
    return address;
}

/* ---- credentials ---- */

static str cookie(http_request *r, str name) {
    str list = http_request_header(r, "Cookie");
    while (list.len) {
        str pair = str_trim(str_cut(&list, ';'));
        str key = str_cut(&pair, '=');
        if (str_eq(key, name)) return pair;
    }
    return (str){0};
}

/* The secret that a request brings; empty when none, or an empty or literal-None bearer. */
static str credentials(http_request *r, bool *ret_by_cookie) {
    str bearer = http_request_header(r, "Authorization");
    *ret_by_cookie = false;
    if (bearer.len > 7 && str_eq_nocase(str_sub(bearer, 0, 7), STR("Bearer "))) {
        str secret = str_trim(str_sub(bearer, 7, bearer.len));
        if (secret.len && !str_eq(secret, STR("None"))) return secret;
    }
    str key = str_trim(http_request_header(r, "x-api-key"));
    if (key.len) return key;
    *ret_by_cookie = true;
    return cookie(r, STR("token"));
}

static bool same_secret(const web *w, str a, str b) {
    unsigned char x[32], y[32], differs = 0;
    web_secret_hash(w, a, x);
    web_secret_hash(w, b, y);
    for (size_t i = 0; i < sizeof x; i++) differs |= x[i] ^ y[i];
    return differs == 0;
}

/* Somebody with the powers of an administrator and no account: the key of the environment. */
static void be_static(web_who *who) {
    who->user = (user){.id = STR("environment"),
                       .name = STR("environment"),
                       .email = STR(""),
                       .role = STR("admin"),
                       .settings = STR("{}")};
    who->grant = (grant){.is_key = true, .scopes = STR("chat images models")};
}

static bool local_user(web *w, arena *a, web_who *who) {
    user_page page;
    if (users_list(w->db, &(user_query){.limit = 1}, a, &page, NULL) || page.n == 0) return false;
    who->user = page.users[0];
    who->by_cookie = true; /* a browser needs nothing more: other people's pages must not use it */
    return true;
}

static void touch(web *w, const web_who *who) {
    int64_t now = comfy_now_ms();
    if (now - who->grant.used_ms > 60000) grants_touch(w->db, who->grant.id, now, NULL);
    if (now - who->user.active_ms > 60000) users_touch(w->db, who->user.id, now, NULL);
}

/* NULL: nobody we know. */
static web_who *identify(web *w, http_request *r) {
    arena *a = http_request_arena(r);
    web_who *who = ARENA_NEW(a, web_who);
    unsigned char hash[32];
    str secret = credentials(r, &who->by_cookie);
    if (w->no_login && secret.len == 0) {
        if (!local_user(w, a, who)) return NULL;
    } else if (secret.len == 0 || secret.len > LIMIT_WEB_TEXT_BYTES) {
        return NULL;
    } else if (w->static_key.len && !who->by_cookie && same_secret(w, secret, w->static_key)) {
        be_static(who);
    } else {
        web_secret_hash(w, secret, hash);
        if (grants_find(w->db, hash, comfy_now_ms(), a, &who->grant, NULL) ||
            users_find(w->db, who->grant.user_id, a, &who->user, NULL))
            return w->no_login && who->by_cookie && local_user(w, a, who) ? who : NULL;
        if (who->grant.is_key && who->by_cookie) return NULL;
        touch(w, who);
    }
    who->is_admin = str_eq(who->user.role, STR("admin"));
    http_request_set_user(r, who);
    return who;
}

/* ---- what it is about ---- */

typedef struct rule {
    const char *method; /* NULL = any */
    const char *prefix; /* of the path, mount included */
} rule;

static const rule PUBLIC[] = {
    {"GET", "/health"},
    {"HEAD", "/health"},
    {"GET", "/api/version"},
    {"HEAD", "/api/version"},
    {"GET", "/api/config"},
    {"POST", "/api/v1/auths/signin"},
    {NULL, "/api/v1/auths/signout"},
    {"POST", "/api/v1/auths/signup"},
};

static const rule ADMIN[] = {
    {NULL, "/api/v1/users/:user"},  {"GET", "/api/v1/users"},  {NULL, "/api/v1/auths/add"},
    {NULL, "/api/v1/auths/admin/"}, {NULL, "/api/v1/logs"},    {"POST", "/api/models/unload"},
    {"POST", "/api/models/pin"},    {"POST", "/api/v1/pulls"}, {"DELETE", "/api/v1/pulls"},
    {NULL, "/comfy/internal/"},     {NULL, "/comfy/free"},     {NULL, "/comfy/users"},
};

/* Changes which models there are. */
static const rule MODELS[] = {
    {"POST", "/api/create"}, {"POST", "/api/copy"},  {"POST", "/api/pull"},
    {"POST", "/api/push"},   {"POST", "/api/blobs"}, {"DELETE", "/api/delete"},
    {"HEAD", "/api/blobs"},
};

/* What a key for inference opens on the web listener. */
static const rule CHAT[] = {
    {NULL, "/ollama/"},        {NULL, "/api/chat/completions"},
    {NULL, "/api/v1/chat/"},   {NULL, "/v1/"},
    {NULL, "/api/models"},     {NULL, "/api/v1/models"},
    {NULL, "/api/embeddings"},
};

static bool ruled(const rule *list, size_t n, str method, str path) {
    for (size_t i = 0; i < n; i++)
        if ((!list[i].method || str_eq(method, str_from(list[i].method))) &&
            str_starts(path, str_from(list[i].prefix)))
            return true;
    return false;
}
#define RULED(list, r, path) ruled(list, COUNT_OF(list), http_request_method(r), path)

bool web_may(const web_who *who, const char *scope) {
    if (!who->grant.is_key) return true;
    for (str list = who->grant.scopes; list.len;)
        if (str_eq(str_cut(&list, ' '), str_from(scope))) return true;
    return false;
}

/* The scope that a key needs for this route of the web listener. */
static const char *scope_of(http_request *r, str path, bool changes_models) {
    if (changes_models) return "models";
    if (str_starts(path, STR("/comfy/"))) return "images";
    return RULED(CHAT, r, path) ? "chat" : "web";
}

/* An origin that is not this host: the server's guard let it in because it is listed. */
static bool from_listed(http_request *r) {
    str origin = http_request_header(r, "Origin");
    ptrdiff_t at = str_find(origin, STR("://"));
    return at > 0 && !str_eq_nocase(str_sub(origin, (size_t)at + 3, origin.len),
                                    http_request_header(r, "Host"));
}

/* A cookie goes wherever the browser goes: what changes something must come from our own page. */
static bool from_elsewhere(http_request *r, bool changes) {
    str site = http_request_header(r, "Sec-Fetch-Site");
    bool socket = http_request_header(r, "Upgrade").len > 0;
    if ((!changes && !socket) || from_listed(r)) return false;
    return str_eq(site, STR("cross-site")) || str_eq(site, STR("same-site"));
}

/* Types that a form of another page can send without asking. */
static bool simple_type(http_request *r, bool takes_form) {
    str type = http_request_header(r, "Content-Type");
    str kind = str_trim(str_cut(&type, ';'));
    if (str_eq_nocase(kind, STR("multipart/form-data"))) return !takes_form;
    return str_eq_nocase(kind, STR("text/plain")) ||
           str_eq_nocase(kind, STR("application/x-www-form-urlencoded"));
}

err_code web_owns(const web *w, str user_id, owned_kind what, const char *kind, str id, err *e) {
    bool yes = false;
    TRY(owned_check(w->db, what, &(item_key){user_id, str_from(kind), id}, &yes, e));
    if (!yes) FAIL(e, NOT_FOUND, "there is no %s \"" STR_FMT "\"", kind, STR_ARG(id));
    return ERR_OK;
}

/* Every id in the path belongs to who asks; false: answered. */
static bool owns_params(web *w, http_request *r, const web_who *who) {
    static const struct {
        const char *name;
        owned_kind what;
    } kinds[] = {{"chat", OWNED_CHAT},      {"file", OWNED_FILE},    {"session", OWNED_GRANT},
                 {"key", OWNED_GRANT},      {"folder", OWNED_ITEM},  {"preset", OWNED_ITEM},
                 {"knowledge", OWNED_ITEM}, {"workflow", OWNED_ITEM}};
    str name, id;
    err e;
    if (*http_request_prefix(r)) return true;
    for (size_t i = 0; http_request_param_at(r, i, &name, &id); i++)
        for (size_t k = 0; k < COUNT_OF(kinds); k++)
            if (str_eq(name, str_from(kinds[k].name)) &&
                web_owns(w, who->user.id, kinds[k].what, kinds[k].name, id, &e)) {
                web_fail_err(r, &e);
                return false;
            }
    return true;
}

static void add_headers(http_request *r) {
    http_reply_header(r, "X-Content-Type-Options", "nosniff");
    http_reply_header(r, "X-Frame-Options", "DENY");
    http_reply_header(r, "Referrer-Policy", "no-referrer");
    http_reply_header(r, "Cross-Origin-Opener-Policy", "same-origin");
}

static uint64_t body_limit(str path) {
    if (str_ends(path, STR("/chats/import"))) return LIMIT_WEB_IMPORT_BYTES;
    if (str_starts(path, STR("/ollama/")) || str_starts(path, STR("/comfy/")))
        return LIMIT_HTTP_BODY_BYTES;
    return LIMIT_WEB_BODY_BYTES;
}

/* A body that is too long is read to its end and dropped, so that its sender sees the answer; only
 * one without measure is cut off at once. */
static bool fits(http_request *r, str path) {
    int64_t n = 0;
    http_request_limit_body(r, body_limit(path));
    if (str_starts(path, STR("/ollama/api/blobs/"))) return true;
    if (!str_to_i64(http_request_header(r, "Content-Length"), &n) || n <= 1ll << 30) return true;
    web_fail(r, 413, "the body has %lld bytes", (long long)n);
    return false;
}

static bool is_page(http_request *r) {
    const char *pattern = http_request_pattern(r);
    return pattern && strcmp(pattern, "/*") == 0 && !*http_request_prefix(r);
}

/* May this user do this, in this way? False: answered. */
static bool may(web *w, http_request *r, const web_who *who, str path) {
    str method = http_request_method(r);
    bool changes = !str_eq(method, STR("GET")) && !str_eq(method, STR("HEAD"));
    bool ours = str_starts(path, STR("/ollama/"));
    str inner = ours ? str_sub(path, 7, path.len) : path;
    bool models = (ours && RULED(MODELS, r, inner)) || str_starts(path, STR("/api/v1/pulls"));
    bool takes_form = str_starts(path, STR("/comfy/")) || str_starts(path, STR("/api/v1/files"));
    bool account = str_starts(path, STR("/api/v1/auths/"));
    bool own = str_starts(path, STR("/api/v1/users/user/"));
    if (who->by_cookie && from_elsewhere(r, changes))
        web_fail(r, 403, "this request comes from another site");
    else if (who->by_cookie && changes && simple_type(r, takes_form))
        web_fail(r, 415, "the body must be application/json");
    else if (str_eq(who->user.role, STR("pending")) && !account)
        web_fail(r, 403, "Your account waits for an administrator");
    else if (!web_may(who, scope_of(r, path, models && changes)))
        web_fail(r, 403, "this key is not for %s", scope_of(r, path, models && changes));
    else if (who->grant.is_key && account && changes)
        web_fail(r, 403, "keys cannot change accounts: sign in");
    else if (!who->is_admin && !own && ((models && changes) || RULED(ADMIN, r, path)))
        web_fail(r, 403, "only administrators may do this");
    else
        return owns_params(w, r, who);
    return false;
}

bool web_gate(http_request *r, void *ctx) {
    web *w = ctx;
    const char *pattern = http_request_pattern(r);
    add_headers(r);
    if (is_page(r)) return true;
    http_reply_header(r, "Cache-Control", "no-store");
    str path =
        str_fmt(http_request_arena(r), "%s%s", http_request_prefix(r), pattern ? pattern : "");
    if (!pattern) path = http_request_path(r);
    if (!fits(r, path)) return false;
    const web_who *who = identify(w, r);
    if (pattern && RULED(PUBLIC, r, path)) {
        bool ours = who ? who->by_cookie : !str_eq(http_request_method(r), STR("GET"));
        if (!(ours && from_elsewhere(r, true))) return true;
        web_fail(r, 403, "this request comes from another site");
        return false;
    }
    if (!who) {
        web_fail(r, 401, "Not authenticated");
        return false;
    }
    return pattern ? may(w, r, who, path) : true;
}

/* ---- the other listeners ---- */

static void refuse_key(http_request *r, bool images, int status, const char *text) {
    str path = http_request_path(r);
    json_t *body = !images && str_starts(path, STR("/v1/"))
                       ? json_pack("{s:{s:s, s:s, s:n, s:s}}", "error", "message", text, "type",
                                   "invalid_request_error", "param", "code", "invalid_api_key")
                       : json_pack("{s:s}", "error", text);
    http_reply_json(r, status, body);
    json_decref(body);
}

bool web_key_check(http_request *r, void *ctx) {
    const web_key_gate *g = ctx;
    str path = http_request_path(r);
    bool changes_models = !g->images && RULED(MODELS, r, path);
    const char *scope = g->images ? "images" : changes_models ? "models" : "chat";
    if (str_eq(path, STR("/healthz"))) return true;
    const web_who *who = identify(g->w, r);
    if (!who || who->by_cookie)
        refuse_key(r, g->images, 401,
                   "this server is not on loopback: send an API key (made in the web app) as "
                   "Authorization: Bearer, or start it with HOB_KEYS=off");
    else if (str_eq(who->user.role, STR("pending")))
        refuse_key(r, g->images, 403, "this account waits for an administrator");
    else if (!web_may(who, scope) || (changes_models && !who->is_admin))
        refuse_key(r, g->images, 403, "this key may not do this");
    else
        return true;
    return false;
}
