/* Accounts: users, their sessions and API keys, and the settings of the whole site.
 *
 * Secrets never lie here: passwords as Argon2id texts, tokens and keys as keyed hashes (32 bytes)
 * that the API makes. Times are wall-clock milliseconds. Texts returned live in `a`.
 * Threads: any. */
#pragma once
#include "store/db.h"

typedef struct user {
    str id, email, name, role; /* role: "admin", "user", "pending" */
    str settings;              /* JSON object that only the page reads */
    str password;              /* Argon2id text; empty: cannot sign in */
    int64_t created_ms, active_ms;
} user;

typedef struct user_page {
    user *users; /* [n] */
    size_t n;
    int64_t total;
} user_page;

err_code users_migrate(db *d, err *e);
err_code users_count(db *d, int64_t *ret, err *e);
/* The first user becomes admin whatever the role says; later ones only when `open`. INVALID: the
 * email is taken, or closed. *u's role is set to what it became. */
err_code users_add(db *d, user *u, bool open, arena *a, err *e);
/* By id, or by email without regard to case; NOT_FOUND. */
err_code users_find(db *d, str id, arena *a, user *ret, err *e);
err_code users_find_email(db *d, str email, arena *a, user *ret, err *e);
typedef struct user_query {
    str text; /* in name or email; may be empty */
    int64_t limit, offset;
} user_query;
err_code users_list(db *d, const user_query *q, arena *a, user_page *ret, err *e);
/* Stores those of email, name, role, settings and password that are there: a field whose ptr is
 * NULL stays, so that nobody writes back what another request has changed meanwhile. INVALID: the
 * email is taken, or no admin would be left. */
err_code users_update(db *d, const user *u, err *e);
err_code users_touch(db *d, str id, int64_t active_ms, err *e);
err_code users_delete(db *d, str id, err *e); /* sessions and keys too; not the last admin */

/* A session or an API key: something that shows who asks. */
typedef struct grant {
    str id, user_id;
    str name;    /* of a key: what its owner calls it; of a session: the browser */
    str address; /* of a session: from where it was opened; of a key: its first characters */
    str scopes;  /* of a key: "chat images models web", space-separated; of a session empty */
    int64_t created_ms, used_ms, expires_ms; /* expires 0 = never */
    bool is_key;
} grant;

err_code grants_add(db *d, const grant *g, const unsigned char hash[32], err *e);
/* NOT_FOUND also for one that has expired. */
err_code grants_find(db *d, const unsigned char hash[32], int64_t now_ms, arena *a, grant *ret,
                     err *e);
typedef struct grant_list {
    grant *items; /* [n] */
    size_t n;
} grant_list;
err_code grants_list(db *d, str user_id, bool keys, arena *a, grant_list *ret, err *e);
err_code grants_touch(db *d, str id, int64_t used_ms, err *e);
/* One of this user's. */
err_code grants_delete(db *d, str user_id, str id, bool *ret_any, err *e);
/* All sessions (or keys) of the user but `except` (may be empty). */
err_code grants_delete_all(db *d, str user_id, bool keys, str except, err *e);
err_code grants_expire(db *d, int64_t now_ms, err *e); /* drops what has expired */

/* Site settings: name -> JSON text. Empty when there is none. */
err_code site_get(db *d, str name, arena *a, str *ret, err *e);
err_code site_put(db *d, str name, str text, err *e);
