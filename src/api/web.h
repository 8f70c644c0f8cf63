/* The web listener: accounts, chats, knowledge, pictures and the machine, for the page in the
 * browser and for clients of Open WebUI's API. docs/web-api.md is its contract.
 *
 * One `web` for the process. Who asks is found out once, in web_gate (web_who.c), which also checks
 * that what the path names is theirs; ids in bodies go through web_owns. Handlers are in web_*.c,
 * one file per group of routes; their ctx is a web *. Threads: handlers run on HTTP threads at the
 * same time; what is here is read-only after start unless said otherwise. */
#pragma once
#include "api/comfy.h"
#include "base/buf.h"
#include "store/items.h"
#include "store/users.h"

struct web_hub;
struct web_runs;
struct web_pulls;
struct web_meter;
struct web_throttle;

typedef struct web {
    api *chat;
    comfy *pictures; /* NULL: switched off */
    db *db;
    str files_dir;            /* bytes of uploaded files, by id */
    unsigned char secret[32]; /* keys the hashes of tokens */
    bool no_login;            /* one user, who needs no password */
    str proxies;              /* comma list of addresses whose X-Forwarded headers count */
    str static_key;           /* a key from the environment, for everything; may be empty */
    str name;                 /* of the site */
    struct web_hub *hub;
    struct web_runs *runs;
    struct web_pulls *pulls;
    struct web_meter *meter;
    struct web_throttle *throttle;
    int64_t start_ns; /* clock_mono_ns */
    _Atomic bool stopping;
} web;

typedef struct web_config {
    api *chat;
    comfy *pictures;
    db *db;
    const char *home;        /* for files and the secret */
    const char *secret;      /* WEBUI_SECRET_KEY; NULL: from `secret_path` */
    const char *secret_path; /* NULL: home/secret_key, made when missing */
    bool no_login;
    const char *proxies, *static_key, *name;
    const char *admin_email, *admin_password, *admin_name; /* made when there is no user */
} web_config;

err_code web_create(const web_config *c, web **ret, err *e);
void web_stop(web *w); /* ends runs and streams; before the HTTP servers end */
void web_destroy(web **w);

const http_route *web_routes(size_t *ret_n);
void web_page(http_request *r, void *ctx); /* the fallback: files of the page */

/* ---- who asks ---- */

typedef struct web_who {
    user user;
    grant grant; /* id empty: no-login mode, or the key of the environment */
    bool by_cookie;
    bool is_admin;
} web_who;

/* The gate of the web listener, and that of the chat and picture listeners when they are not on
 * loopback (`images`: which of them). */
bool web_gate(http_request *r, void *ctx);
typedef struct web_key_gate {
    web *w;
    bool images;
} web_key_gate;
bool web_key_check(http_request *r, void *ctx);

const web_who *web_asker(const http_request *r); /* NULL on a public route without credentials */
bool web_may(const web_who *who, const char *scope); /* a session may all, a key what it is for */
str web_user_id(const http_request *r);              /* empty likewise */
/* Whether the user owns what is named (NOT_FOUND otherwise). */
err_code web_owns(const web *w, str user_id, owned_kind what, const char *kind, str id, err *e);
bool web_address_trusted(const web *w, str address);
str web_client_address(const web *w, http_request *r);

/* Secrets: a new one of 32 random bytes as text with a prefix, and its keyed hash. */
str web_secret_make(arena *a, const char *prefix);
void web_secret_hash(const web *w, str secret, unsigned char hash[32]);
str web_password_hash(arena *a, str password); /* Argon2id; one at a time */
bool web_password_ok(arena *a, str hash, str password);

/* ---- what handlers share ---- */

void web_reply(http_request *r, json_t *body); /* 200; takes the reference */
void web_fail(http_request *r, int status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4))); /* {"detail": text} */
void web_fail_err(http_request *r, const err *e);
/* The body as an object, an empty one when there is none; NULL: answered. */
const json_t *web_body(http_request *r);
/* A string field within a limit; false: answered. Absent leaves *ret alone. */
bool web_text(http_request *r, const json_t *body, const char *field, size_t n_max, str *ret);
/* Compact JSON of an object field within LIMIT_WEB_JSON_BYTES; false: answered. */
bool web_object(http_request *r, const json_t *body, const char *field, str *ret);
int64_t web_query_number(http_request *r, const char *name, int64_t fallback);
json_t *web_seconds(int64_t ms);
json_t *web_merge(json_t *base, const json_t *changes); /* by key; null removes; returns base */

/* A site setting, with its default when it was never set. */
bool web_site_flag(web *w, const char *name, bool fallback);
str web_site_text(web *w, const char *name, const char *fallback, arena *a);
int64_t web_site_number(web *w, const char *name, int64_t fallback);
json_t *web_site_json(web *w, arena *a); /* all of them */

json_t *web_user_json(const user *u);
