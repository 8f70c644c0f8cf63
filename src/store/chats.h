/* Chats: one row for each chat and one for each message with its parent, and a full-text index.
 *
 * A chat is a tree of messages; `current_id` is the leaf that is shown. While an answer is written
 * its text is appended in batches, so that any end of the server leaves what was said; a message is
 * indexed when it is finished. JSON columns are texts that only the API reads. Every look-up names
 * the chat, and every chat's its user: there is no way around the owner. Times are wall-clock
 * milliseconds. Texts returned live in `a`. Threads: any. */
#pragma once
#include "store/db.h"

typedef struct chat {
    str id, user_id, title, model;
    str system, params, meta;            /* params and meta: JSON objects */
    str folder_id, current_id, share_id; /* empty = none */
    bool pinned, archived, titled;       /* titled: by its user, or for good */
    int64_t created_ms, updated_ms;
    bool has_live; /* a message of it is being made */
} chat;

typedef struct message {
    str id, chat_id, parent_id; /* parent empty: a root */
    str role, content, thinking, model;
    str state; /* "done", "queued" ...; see docs/web-api.md */
    str error;
    str files, sources, usage, picture, extra; /* JSON, or empty */
    int64_t created_ms;
} message;

typedef struct message_list {
    message *items; /* [n] */
    size_t n;
} message_list;

err_code chats_migrate(db *d, err *e);

/* ---- chats ---- */

/* With its messages, parents before children; all or nothing. LIMIT: the user has too many. */
err_code chats_add(db *d, const chat *c, const message *list, size_t n, err *e);
/* NOT_FOUND also when it is another user's. */
err_code chats_find(db *d, str user_id, str id, arena *a, chat *ret, err *e);
str chats_owner(db *d, str id, arena *a); /* empty when there is none */
/* The user's chat that holds this message; empty when there is none. */
str chats_of_message(db *d, str user_id, str message_id, arena *a);
/* Stores everything but id, user_id, created_ms and share_id. A current_id whose ptr is NULL stays:
 * an answer may have moved it meanwhile. */
err_code chats_update(db *d, const chat *c, err *e);
/* What an answer changes: the model that was used last, and the time; a title (or empty) unless
 * the user gave one. */
err_code chats_touch(db *d, const chat *c, err *e);
/* A title that was made up, unless its user gave one meanwhile. */
err_code chats_set_title(db *d, str id, str title, err *e);
err_code chats_delete(db *d, str user_id, str id, bool *ret_any, err *e); /* empty id: all */
err_code chats_leave_folder(db *d, str user_id, str folder_id, err *e);
err_code chats_archive_all(db *d, str user_id, bool archived, err *e);

typedef enum chats_which {
    CHATS_LISTED, /* not archived */
    CHATS_PINNED,
    CHATS_ARCHIVED,
    CHATS_ALL,
    CHATS_FOLDER /* of folder_id, not archived */
} chats_which;

typedef struct chats_query {
    str user_id, folder_id;
    chats_which which;
    int64_t before_ms; /* keyset: changed before this, or at it with a smaller id; 0 = newest */
    str before_id;
    int64_t limit, offset;
} chats_query;
/* Newest change first. */
err_code chats_list(db *d, const chats_query *q, arena *a, chat **ret, size_t *ret_n, err *e);

typedef struct str_list {
    str *items; /* [n] */
    size_t n;
} str_list;
/* What the user's chats have in "tags" of their meta, each once. */
err_code chats_tags(db *d, str user_id, arena *a, str_list *ret, err *e);

typedef struct chat_hit {
    chat chat;
    str message_id, snippet; /* empty when the title was found; hits between U+0002 and U+0003 */
} chat_hit;
typedef struct chat_hits {
    chat_hit *items; /* [n] */
    size_t n;
} chat_hits;
/* Titles first, then the best message of each chat. */
err_code chats_search(db *d, str user_id, str text, arena *a, chat_hits *ret, err *e);

/* ---- messages ---- */

/* Adds messages of one chat, parents before children, and makes the last one current. LIMIT: the
 * chat has too many. */
err_code messages_add(db *d, str chat_id, const message *list, size_t n, err *e);
err_code messages_of(db *d, str chat_id, arena *a, message **ret, size_t *ret_n, err *e);
err_code messages_find(db *d, str chat_id, str id, arena *a, message *ret, err *e);
/* From the root to `id`; NOT_FOUND when it is not of this chat. */
err_code messages_path(db *d, str chat_id, str id, arena *a, message_list *ret, err *e);
/* Stores everything but ids, role, and created_ms. */
err_code messages_update(db *d, const message *m, err *e);
/* And all below it; the chat's current message becomes the parent if it was among them. */
err_code messages_delete(db *d, str chat_id, str id, bool *ret_any, err *e);

/* Changes some and adds others of one chat, all or nothing; nothing is made current. */
err_code messages_put(db *d, str chat_id, const message_list *changed, const message_list *fresh,
                      err *e);
/* Adds inside a db_work. */
err_code messages_insert(sqlite3 *conn, str chat_id, const message *list, size_t n, err *e);

/* What an answer said since the last time. */
typedef struct message_piece {
    str id, content, thinking, state;
} message_piece;
err_code messages_append(db *d, const message_piece *list, size_t n, err *e);

/* ---- shared chats ---- */

/* A chat as it was when it was shared: JSON that only the API reads. */
typedef struct share {
    str id, chat_id, body;
    str files; /* of shares_put: a JSON array of the ids of the files that the body shows */
    int64_t shared_ms;
} share;

err_code shares_put(db *d, const share *s,
                    err *e); /* in place of the chat's older one, whose id stays */
err_code shares_find(db *d, str id, arena *a, share *ret, err *e);
err_code shares_of_chat(db *d, str chat_id, arena *a, share *ret, err *e);
/* Whose file it is that the copy shows; NOT_FOUND when it shows no such file. */
err_code shares_file_owner(db *d, str id, str file_id, arena *a, str *ret, err *e);
err_code shares_end(db *d, str chat_id, err *e);

/* At start: what was being made is interrupted, but for pictures, whose jobs go on: those are
 * returned. */
err_code messages_recover(db *d, arena *a, message **ret_pictures, size_t *ret_n, err *e);
