/* Uploaded files: their bytes in a directory, what was read from them in the database. Threads:
 * any. */
#pragma once
#include "api/web.h"
#include "store/files.h"

bool web_file_is_image(const file_row *f); /* of a type that is shown as one */
json_t *web_file_json(const file_row *f);
json_t *web_file_short(const file_row *f);        /* as in messages */
bool web_file_listed(const json_t *list, str id); /* is it one of a list of those? */
/* Its bytes as the answer: shown when they are a picture, else saved. Whose it is was checked. */
void web_file_send(web *w, http_request *r, const file_row *f);
/* The type by what the bytes are; names only tell texts apart. */
str web_file_sniff(web *w, str bytes, str name);
str web_file_path(const web *w, arena *a, str id);
/* Stores bytes as a new file, ready, without reading text from it: f's user_id, name and mime are
 * given, the rest is filled in. */
err_code web_file_keep(web *w, file_row *f, str bytes, arena *a, err *e);
/* One of the user's files with these bytes and this type, into *f; false: none. */
bool web_file_same(web *w, file_row *f, str bytes, arena *a);
void web_files_recover(web *w); /* at start: goes on with what was cut off */
/* Reads those files of the scope again whose passages were not made by this embedding model (empty:
 * whatever made them); they are found as before until then. Returns how many. */
size_t web_files_reindex(web *w, const chunk_scope *scope, str embedder);
void web_files_forget(web *w, str user_id); /* the bytes of all of them */
