/* Small things that people keep: folders, prompts, presets, knowledge collections, studio
 * workflows. One table: a kind, an owner, a name and a JSON text that only the API reads.
 *
 * Threads: any. Texts returned live in `a`. */
#pragma once
#include "store/db.h"

typedef struct item {
    str kind, id, user_id, name, data;
    int64_t created_ms, updated_ms;
} item;

err_code items_migrate(db *d, err *e);
/* INVALID: there is one of this kind and id. LIMIT: LIMIT_WEB_ITEMS of this kind. */
err_code items_add(db *d, const item *it, err *e);
/* Which: of a user, a kind, and (but for lists) an id. */
typedef struct item_key {
    str user_id, kind, id;
} item_key;
/* NOT_FOUND also when it is another user's. */
err_code items_find(db *d, const item_key *k, arena *a, item *ret, err *e);
/* By name, then by time. */
err_code items_list(db *d, const item_key *k, arena *a, item **ret, size_t *ret_n, err *e);
err_code items_update(db *d, const item *it, err *e); /* name, data, updated_ms */
err_code items_delete(db *d, const item_key *k, bool *ret_any, err *e);

/* Whether this user owns what is named: the one question behind every id that a request brings. */
typedef enum owned_kind {
    OWNED_CHAT,
    OWNED_FILE,
    OWNED_GRANT, /* a session or a key */
    OWNED_ITEM   /* of `kind` */
} owned_kind;
err_code owned_check(db *d, owned_kind what, const item_key *k, bool *ret, err *e);
