/* Chats in and out: Open WebUI's and ChatGPT's JSON, our own, Markdown. Pure but for the import.
 * Threads: any. */
#pragma once
#include "api/web_chats.h"

/* A chat and its messages read from somebody's JSON, with ids of their own. */
typedef struct web_imported {
    chat chat;
    message *list; /* [n], parents before children */
    size_t n;
} web_imported;

/* `v` is one chat in any of the forms. INVALID when it is none of them. Lives in `a`. */
err_code web_import_read(const json_t *v, str user_id, arena *a, web_imported *ret, err *e);

/* The active branch as Markdown. */
str web_export_markdown(const chat *c, const message *list, size_t n, arena *a);
