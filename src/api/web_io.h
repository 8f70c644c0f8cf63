/* Chats in and out: Open WebUI's and ChatGPT's JSON, our own, Markdown. Pure. Threads: any. */
#pragma once
#include "api/web_chats.h"

/* A chat and its messages read from somebody's JSON. */
typedef struct web_imported {
    chat chat;
    message *list; /* [n], parents before children */
    size_t n;
} web_imported;

/* `v` is one chat in any of the forms. INVALID when it is none of them. Ids are made anew; with
 * `keeps_ids` those of messages that are UUIDs stay, and messages without a text, too: somebody is
 * about to fill them. Lives in `a` and in v. */
err_code web_import_read(const json_t *v, str user_id, bool keeps_ids, arena *a, web_imported *ret,
                         err *e);

/* A client's copy of a history over the chat's messages. */
typedef struct web_merged {
    message_list fresh;   /* parents before children */
    message_list changed; /* whole messages with their new words */
} web_merged;
/* `messages`: {id: {parentId, role, content ...}}. New ones must be UUIDs whose parent is known. */
void web_history_merge(const json_t *messages, const message_list *there, arena *a,
                       web_merged *ret);

/* The active branch as Markdown. */
str web_export_markdown(const chat *c, const message *list, size_t n, arena *a);
