/* Talking to one repository: addresses, and tokens when it asks for them.
 *
 * A 401 names a realm that hands out tokens. It is asked only when it is on the very host that
 * answered 401: else any registry could have us sign for another. */
#include "base/buf.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/rng.h"
#include "os/file.h"
#include "registry/registry_impl.h"
#include <curl/curl.h>
#include <jansson.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

static const char HF_ENDPOINT[] = "https://huggingface.co";
enum { TOKEN_BYTES_MAX = 64 << 10 };

static bool is_hf(str host) {
    return str_eq_nocase(host, STR("hf.co")) || str_eq_nocase(host, STR("huggingface.co"));
}

static session *make(registry *r) {
    session *s = NEW(session);
    s->r = r;
    s->mem = arena_create(0);
    atomic_store(&s->n_refs, 1);
    pthread_mutex_init(&s->mu, NULL);
    return s;
}

static void go_to_hf(session *s) {
    const registry_config *c = &s->r->c;
    str base = str_from(c->hf_endpoint ? c->hf_endpoint : HF_ENDPOINT);
    while (base.len && base.ptr[base.len - 1] == '/') base.len--;
    s->base = str_dup(s->mem, base);
    s->plain = str_starts(base, STR("http://"));
    s->home = s->base;
    net_url_host(s->mem, s->base, &s->home, NULL);
    if (c->hf_token && *c->hf_token) s->authorization = str_fmt(s->mem, "Bearer %s", c->hf_token);
}

session *session_create_hf(registry *r, str repo) {
    session *s = make(r);
    go_to_hf(s);
    s->repo = str_dup(s->mem, repo);
    return s;
}

session *session_create(registry *r, const store_name *name, bool insecure) {
    session *s = make(r);
    s->plain = insecure;
    s->home = str_lower(s->mem, name->host);
    s->base = str_fmt(s->mem, "%s://" STR_FMT, insecure ? "http" : "https", STR_ARG(s->home));
    s->repo = str_fmt(s->mem, STR_FMT "/" STR_FMT, STR_ARG(name->space), STR_ARG(name->model));
    if (is_hf(name->host)) go_to_hf(s);
    return s;
}

session *session_ref(session *s) {
    atomic_fetch_add(&s->n_refs, 1);
    return s;
}

void session_unref(session **at) {
    session *s = *at;
    *at = NULL;
    if (!s || atomic_fetch_sub(&s->n_refs, 1) > 1) return;
    pthread_mutex_destroy(&s->mu);
    arena_destroy(&s->mem);
    mem_free(s);
}

str session_url(const session *s, arena *a, const char *fmt, ...) {
    buf b = {0};
    va_list args;
    buf_putf(&b, STR_FMT "/v2/" STR_FMT, STR_ARG(s->base), STR_ARG(s->repo));
    va_start(args, fmt);
    buf_vputf(&b, fmt, args);
    va_end(args);
    str url = str_dup(a, buf_str(&b));
    buf_finish(&b);
    return url;
}

/* The words of a refusal: {"errors":[{"message":..}]}, {"error":..} or the plain text. */
static str words(arena *a, str body) {
    json_t *o = json_loadb(body.ptr, body.len, 0, NULL);
    const json_t *first = json_array_get(json_object_get(o, "errors"), 0);
    const char *text = json_string_value(json_object_get(first, "message"));
    if (!text) text = json_string_value(json_object_get(o, "error"));
    str s = text ? str_dup(a, str_from(text)) : str_trim(body);
    json_decref(o);
    if (!text && (str_starts(s, STR("<")) || !str_is_utf8(s))) s = (str){0};
    return str_sub(s, 0, 400);
}

err_code session_refused(const net_reply *r, err *e) {
    CLEANUP(arena_destroy) arena *a = arena_create(0);
    str text = words(a, r->body);
    if (r->status == 404) FAIL(e, NOT_FOUND, "file does not exist");
    if (text.len == 0)
        text = r->status == 401 || r->status == 403 ? STR("access denied")
                                                    : STR("the registry gives no reason");
    return err_set(e, r->status == 429 || r->status == 503 ? ERR_BUSY : ERR_IO, "%d: " STR_FMT,
                   r->status, STR_ARG(text));
}

/* ---- tokens ---- */

/* The value of key="..." in a challenge. */
static str challenge_field(str challenge, str key) {
    for (size_t i = 0; i + key.len + 2 < challenge.len; i++) {
        str at = str_sub(challenge, i, challenge.len);
        bool first = i == 0 || challenge.ptr[i - 1] == ' ' || challenge.ptr[i - 1] == ',';
        if (!first || !str_starts(at, key) || at.ptr[key.len] != '=') continue;
        at = str_sub(at, key.len + 1, at.len);
        if (at.ptr[0] != '"') return str_trim(str_cut(&at, ','));
        at = str_sub(at, 1, at.len);
        return str_cut(&at, '"');
    }
    return (str){0};
}

static void put_query(buf *url, const char *key, str value) {
    char *coded = curl_easy_escape(NULL, value.ptr ? value.ptr : "", (int)value.len);
    buf_putf(url, "%c%s=%s", str_find_char(buf_str(url), '?') >= 0 ? '&' : '?', key,
             coded ? coded : "");
    curl_free(coded);
}

static str token_url(arena *a, str realm, str service, str scope) {
    buf url = {0};
    unsigned char nonce[16];
    char coded[32];
    buf_put_str(&url, realm);
    put_query(&url, "service", service);
    while (scope.len) {
        str one = str_cut(&scope, ' ');
        if (one.len) put_query(&url, "scope", one);
    }
    rng_entropy(nonce, sizeof nonce);
    sodium_bin2base64(coded, sizeof coded, nonce, sizeof nonce,
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    put_query(&url, "ts", str_fmt(a, "%lld", (long long)(clock_wall_ns() / NS_PER_S)));
    put_query(&url, "nonce", str_from(coded));
    str out = str_dup(a, buf_str(&url));
    buf_finish(&url);
    return out;
}

static err_code get_key(registry *r, registry_key *ret, err *e) {
    const char *path = r->c.key_path, *alt = r->c.key_path_alt;
    pthread_mutex_lock(&r->mu);
    err_code code;
    if (file_exists(path))
        code = key_read(path, ret, e);
    else if (alt && file_exists(alt))
        code = key_read(alt, ret, e);
    else
        code = key_make(path, ret, e);
    pthread_mutex_unlock(&r->mu);
    return code;
}

static err_code read_token(str body, arena *a, str *ret, err *e) {
    json_t *o = json_loadb(body.ptr, body.len, 0, NULL);
    const char *token = json_string_value(json_object_get(o, "token"));
    if (!token) token = json_string_value(json_object_get(o, "access_token"));
    str t = str_dup(a, str_from(token));
    json_decref(o);
    bool ok = t.len && t.len <= TOKEN_BYTES_MAX;
    for (size_t i = 0; i < t.len; i++) ok = ok && t.ptr[i] > ' ' && t.ptr[i] < 0x7F;
    if (!ok) FAIL(e, FORMAT, "the registry's answer to the token request holds no token");
    *ret = t;
    return ERR_OK;
}

/* sha256 of nothing, in hex, in base64: requests for tokens have no body. */
static const char EMPTY_HASH[] =
    "ZTNiMGM0NDI5OGZjMWMxNDlhZmJmNGM4OTk2ZmI5MjQyN2FlNDFlNDY0OWI5MzRjYT"
    "Q5NTk5MWI3ODUyYjg1NQ==";

static err_code check_realm(const session *s, arena *a, str realm, str asked, err *e) {
    str realm_host, asked_host;
    TRY(net_url_host(a, asked, &asked_host, e));
    if (net_url_host(a, realm, &realm_host, e)) return err_wrap(e, "the registry's realm");
    if (!str_eq(realm_host, asked_host))
        FAIL(e, UNSUPPORTED,
             "the registry " STR_FMT " sends us to " STR_FMT " for a token: someone else's realm, "
             "which is not asked",
             STR_ARG(asked_host), STR_ARG(realm_host));
    bool down = str_starts(asked, STR("https:")) && !str_starts(realm, STR("https:"));
    if (down) FAIL(e, UNSUPPORTED, "the registry's realm is not https");
    return net_check(s->r->c.net, realm, s->home, s->plain, e);
}

static err_code fetch_token(session *s, const net_reply *refused, arena *a, str *ret, err *e) {
    str challenge = net_reply_header(refused, "WWW-Authenticate");
    if (challenge.len < 7 || !str_eq_nocase(str_sub(challenge, 0, 7), STR("Bearer ")))
        FAIL(e, UNSUPPORTED, "the registry wants authentication of a kind that is not known");
    str rest = str_sub(challenge, 7, challenge.len);
    str realm = challenge_field(rest, STR("realm"));
    TRY(check_realm(s, a, realm, refused->url, e));
    registry_key key;
    TRY(get_key(s->r, &key, e));
    net_request q = {.home = s->home, .plain = s->plain, .no_follow = true};
    q.url = token_url(a, realm, challenge_field(rest, STR("service")),
                      challenge_field(rest, STR("scope")));
    str message = str_fmt(a, "GET," STR_FMT ",%s", STR_ARG(q.url), EMPTY_HASH);
    q.authorization = key_sign(&key, a, message);
    sodium_memzero(&key, sizeof key);
    q.cancel = &s->r->stopping;
    net_reply reply;
    TRY(net_send(s->r->c.net, &q, a, &reply, e));
    if (reply.status != 200) {
        session_refused(&reply, e);
        return err_wrap(e, "the registry gives no token");
    }
    str token = {0};
    TRY(read_token(reply.body, a, &token, e));
    *ret = str_fmt(a, "Bearer " STR_FMT, STR_ARG(token));
    return ERR_OK;
}

err_code session_send(session *s, net_request *q, arena *a, net_reply *ret, err *e) {
    q->home = s->home;
    q->plain = s->plain;
    if (!q->cancel) q->cancel = &s->r->stopping;
    str own = str_fmt(a, STR_FMT "/", STR_ARG(s->base));
    bool to_us = str_starts(q->url, own); /* an upload may go elsewhere: without credentials */
    for (int i = 0;; i++) {
        pthread_mutex_lock(&s->mu);
        q->authorization = to_us ? s->authorization : (str){0};
        pthread_mutex_unlock(&s->mu);
        TRY(net_send(s->r->c.net, q, a, ret, e));
        if (ret->status != 401 || i > 0 || !to_us ||
            net_reply_header(ret, "WWW-Authenticate").len == 0)
            return ERR_OK;
        str token = {0};
        TRY(fetch_token(s, ret, a, &token, e));
        pthread_mutex_lock(&s->mu);
        s->authorization = str_dup(s->mem, token);
        pthread_mutex_unlock(&s->mu);
    }
}
