/* Chats in and out: Open WebUI's and ChatGPT's JSON, our own, Markdown. Pure but for attachments.
 * Threads: any. */
#pragma once
#include "api/web_attach.h"
#include "api/web_chats.h"

/* A chat and its messages read from somebody's JSON. */
typedef struct web_imported {
    chat chat;
    message *list; /* [n], parents before children */
    size_t n;
} web_imported;

typedef struct web_import_how {
    str user_id;
    /* Ids of messages that are UUIDs stay, and messages without a text, too: somebody is about to
     * fill them. Else ids are made anew. */
    bool keeps_ids;
    const web_attach *attach; /* for files and pictures; NULL: left out */
} web_import_how;

/* `v` is one chat in any of the forms. INVALID when it is none of them. Lives in `a` and in v. */
err_code web_import_read(const json_t *v, const web_import_how *how, arena *a, web_imported *ret,
                         err *e);

/* A client's copy of a history over the chat's messages. */
typedef struct web_merged {
    message_list fresh;   /* parents before children */
    message_list changed; /* whole messages with their new words */
} web_merged;
/* `messages`: {id: {parentId, role, content ...}}. New ones must be UUIDs whose parent is known. */
void web_history_merge(const json_t *messages, const message_list *there, const web_attach *attach,
                       arena *a, web_merged *ret);

/* The active branch as Markdown. */
str web_export_markdown(const chat *c, const message *list, size_t n, arena *a);
