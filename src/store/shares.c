/* Table: shared_chat (made in chats.c). */
#include "store/chats.h"
#include "store/sql.h"

err_code shares_put(db *d, const share *s, err *e) {
    const sql both[] = {
        SQL("INSERT INTO shared_chat(id, chat_id, body, shared_ms) SELECT ?1, id, ?3, ?4 FROM chat"
            " WHERE id = ?2 ON CONFLICT(chat_id) DO UPDATE SET body = ?3, shared_ms = ?4",
            sql_text(s->id), sql_text(s->chat_id), sql_text(s->body), sql_int(s->shared_ms)),
        SQL("UPDATE chat SET share_id = (SELECT id FROM shared_chat WHERE chat_id = ?1)"
            " WHERE id = ?1",
            sql_text(s->chat_id))};
    return sql_run_all(d, both, COUNT_OF(both), e);
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

err_code shares_end(db *d, str chat_id, err *e) {
    const sql both[] = {SQL("DELETE FROM shared_chat WHERE chat_id = ?", sql_text(chat_id)),
                        SQL("UPDATE chat SET share_id = '' WHERE id = ?", sql_text(chat_id))};
    return sql_run_all(d, both, COUNT_OF(both), e);
}
