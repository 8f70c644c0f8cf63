/* What everybody may know, and the page itself. */
#include "api/web_handlers.h"
#include "api/web_page.h"
#include "base/limits.h"
#include <string.h>

void web_health(http_request *r, void *ctx) {
    (void)ctx;
    web_reply(r, json_pack("{s:b}", "status", 1));
}

void web_health_db(http_request *r, void *ctx) {
    web *w = ctx;
    int64_t n;
    err e;
    if (users_count(w->db, &n, &e))
        web_fail(r, 503, "%s", e.msg);
    else
        web_health(r, ctx);
}

void web_version(http_request *r, void *ctx) {
    web *w = ctx;
    web_reply(r, json_pack("{s:s}", "version", w->chat->version));
}

/* What Open WebUI tells those who are signed in, and hob does not have. */
static const char *const NOT_HERE[] = {
    "enable_direct_connections", "enable_channels",         "enable_notes",
    "enable_web_search",         "enable_code_interpreter", "enable_community_sharing"};

void web_config_get(http_request *r, void *ctx) {
    web *w = ctx;
    arena *a = http_request_arena(r);
    int64_t n = 0;
    users_count(w->db, &n, NULL);
    json_t *f = json_object(), *o = json_object();
    json_object_set_new(f, "auth", json_boolean(!w->no_login));
    json_object_set_new(f, "auth_trusted_header", json_false());
    json_object_set_new(f, "enable_signup",
                        json_boolean(n == 0 || web_site_flag(w, "ENABLE_SIGNUP", false)));
    json_object_set_new(f, "enable_login_form", json_true());
    json_object_set_new(f, "enable_ldap", json_false());
    json_object_set_new(f, "enable_api_key", json_true()); /* its older name */
    json_object_set_new(f, "enable_api_keys", json_true());
    json_object_set_new(f, "enable_image_generation", json_boolean(w->pictures != NULL));
    json_object_set_new(f, "enable_websocket", json_false());
    json_object_set_new(o, "status", json_true());
    json_object_set_new(o, "name", comfy_str(w->name));
    json_object_set_new(o, "version", json_string(w->chat->version));
    json_object_set_new(o, "default_locale", json_string(""));
    json_object_set_new(o, "oauth", json_pack("{s:{}}", "providers"));
    if (n == 0) json_object_set_new(o, "onboarding", json_true());
    if (web_asker(r)) {
        json_object_set_new(o, "default_models",
                            comfy_str(web_site_text(w, "DEFAULT_MODELS", "", a)));
        json_object_set_new(o, "file",
                            json_pack("{s:I, s:i}", "max_size",
                                      (json_int_t)(LIMIT_UPLOAD_BYTES >> 20), "max_count",
                                      LIMIT_WEB_ATTACHED));
        for (size_t i = 0; i < COUNT_OF(NOT_HERE); i++)
            json_object_set_new(f, NOT_HERE[i], json_false());
    }
    json_object_set_new(o, "features", f);
    web_reply(r, o);
}

/* ---- files of the page ---- */

static const char POLICY[] =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: "
    "blob:; font-src 'self'; connect-src 'self'; manifest-src 'self'; worker-src 'self'; media-src "
    "'self' blob:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/* A path that names a file, or one of an API: no place for the app shell. */
static bool is_file(str path) {
    static const char *const ends[] = {".js",  ".css",   ".map",  ".json", ".png",        ".svg",
                                       ".ico", ".woff2", ".woff", ".txt",  ".webmanifest"};
    static const char *const apis[] = {"/api", "/ollama", "/comfy", "/v1"};
    for (size_t i = 0; i < COUNT_OF(ends); i++)
        if (str_ends(path, str_from(ends[i]))) return true;
    for (size_t i = 0; i < COUNT_OF(apis); i++) {
        str prefix = str_from(apis[i]);
        if (!str_starts(path, prefix)) continue;
        if (path.len == prefix.len || path.ptr[prefix.len] == '/') return true;
    }
    return false;
}

static bool accepts_gzip(http_request *r) {
    return str_find(http_request_header(r, "Accept-Encoding"), STR("gzip")) >= 0;
}

void web_page(http_request *r, void *ctx) {
    (void)ctx;
    str path = http_decode_path(http_request_arena(r), http_request_path(r));
    const web_asset *f = str_eq(path, STR("/")) ? NULL : web_page_find(path);
    if (!f && is_file(path)) {
        web_fail(r, 404, "Not Found");
        return;
    }
    if (!f) f = web_page_find(STR("/index.html"));
    if (!f) {
        web_fail(r, 404, "this build has no page");
        return;
    }
    bool packed = f->gzip && accepts_gzip(r);
    http_reply_header(r, "Content-Security-Policy", POLICY);
    http_reply_header(r, "ETag", f->etag);
    http_reply_header(r, "Vary", "Accept-Encoding");
    http_reply_header(r, "Cache-Control",
                      f->immutable ? "public, max-age=31536000, immutable" : "no-cache");
    if (str_eq(http_request_header(r, "If-None-Match"), str_from(f->etag))) {
        http_reply(r, 304, NULL, (str){0});
        return;
    }
    if (packed) http_reply_header(r, "Content-Encoding", "gzip");
    str body = packed ? (str){(const char *)f->gzip, f->n_gzip}
                      : (str){(const char *)f->bytes, f->n_bytes};
    http_reply(r, 200, f->content_type, body);
}
