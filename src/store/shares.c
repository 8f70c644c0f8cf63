/* Tables: shared_chat and shared_file (made in chats.c). */
#include "store/chats.h"
#include "store/sql.h"

err_code shares_put(db *d, const share *s, err *e) {
    const sql all[] = {
        SQL("INSERT INTO shared_chat(id, chat_id, body, shared_ms) SELECT ?1, id, ?3, ?4 FROM chat"
            " WHERE id = ?2 ON CONFLICT(chat_id) DO UPDATE SET body = ?3, shared_ms = ?4",
            sql_text(s->id), sql_text(s->chat_id), sql_text(s->body), sql_int(s->shared_ms)),
        SQL("UPDATE chat SET share_id = (SELECT id FROM shared_chat WHERE chat_id = ?1)"
            " WHERE id = ?1",
            sql_text(s->chat_id)),
        SQL("DELETE FROM shared_file WHERE share_id ="
            " (SELECT id FROM shared_chat WHERE chat_id = ?)",
            sql_text(s->chat_id)),
        SQL("INSERT OR IGNORE INTO shared_file(share_id, file_id) SELECT s.id, f.value"
            " FROM shared_chat s, json_each(?2) f WHERE s.chat_id = ?1",
            sql_text(s->chat_id), sql_text(s->files.len ? s->files : STR("[]")))};
    return sql_run_all(d, all, COUNT_OF(all), e);
}

typedef struct found {
    arena *a;
    share *ret;
    bool any;
} found;

static void take(sqlite3_stmt *st, void *arg) {
    found *f = arg;
    f->any = true;
    *f->ret = (share){.id = db_column_str(st, 0, f->a),
                      .chat_id = db_column_str(st, 1, f->a),
                      .body = db_column_str(st, 2, f->a),
                      .shared_ms = sqlite3_column_int64(st, 3)};
}

static err_code find(db *d, sql s, arena *a, share *ret, err *e) {
    found f = {.a = a, .ret = ret};
    TRY(sql_each(d, s, take, &f, e));
    if (!f.any) FAIL(e, NOT_FOUND, "there is no such shared chat");
    return ERR_OK;
}

#define SHARE "SELECT id, chat_id, body, shared_ms FROM shared_chat WHERE "

err_code shares_find(db *d, str id, arena *a, share *ret, err *e) {
    return find(d, SQL(SHARE "id = ?", sql_text(id)), a, ret, e);
}

err_code shares_of_chat(db *d, str chat_id, arena *a, share *ret, err *e) {
    return find(d, SQL(SHARE "chat_id = ?", sql_text(chat_id)), a, ret, e);
}

err_code shares_file_owner(db *d, str id, str file_id, arena *a, str *ret, err *e) {
    str *users;
    size_t n;
    TRY(sql_texts(d,
                  SQL("SELECT c.user_id FROM shared_file f JOIN shared_chat s ON s.id = f.share_id"
                      " JOIN chat c ON c.id = s.chat_id WHERE f.share_id = ? AND f.file_id = ?",
                      sql_text(id), sql_text(file_id)),
                  a, &users, &n, e));
    if (n == 0) FAIL(e, NOT_FOUND, "the shared chat has no file \"" STR_FMT "\"", STR_ARG(file_id));
    *ret = users[0];
    return ERR_OK;
}

err_code shares_end(db *d, str chat_id, err *e) {
    const sql both[] = {SQL("DELETE FROM shared_chat WHERE chat_id = ?", sql_text(chat_id)),
                        SQL("UPDATE chat SET share_id = '' WHERE id = ?", sql_text(chat_id))};
    return sql_run_all(d, both, COUNT_OF(both), e);
}
