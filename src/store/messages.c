/* Table: message (made in chats.c). */
#include "base/limits.h"
#include "base/vec.h"
#include "store/chats.h"
#include "store/sql.h"

#define LIVE "('queued','loading','reading','thinking','writing','running')"
#define MESSAGE                                                                                    \
    "m.id, m.chat_id, m.parent_id, m.role, m.content, m.thinking, m.model, m.state, m.error,"      \
    " m.files, m.sources, m.usage, m.picture, m.extra, m.created_ms"

static str or_empty(str s) {
    return s.ptr ? s : STR("");
}

typedef struct found {
    arena *a;
    VEC(message) list;
} found;

static void take(sqlite3_stmt *st, void *arg) {
    found *f = arg;
    VEC_PUSH(f->list, (message){.id = db_column_str(st, 0, f->a),
                                .chat_id = db_column_str(st, 1, f->a),
                                .parent_id = db_column_str(st, 2, f->a),
                                .role = db_column_str(st, 3, f->a),
                                .content = db_column_str(st, 4, f->a),
                                .thinking = db_column_str(st, 5, f->a),
                                .model = db_column_str(st, 6, f->a),
                                .state = db_column_str(st, 7, f->a),
                                .error = db_column_str(st, 8, f->a),
                                .files = db_column_str(st, 9, f->a),
                                .sources = db_column_str(st, 10, f->a),
                                .usage = db_column_str(st, 11, f->a),
                                .picture = db_column_str(st, 12, f->a),
                                .extra = db_column_str(st, 13, f->a),
                                .created_ms = sqlite3_column_int64(st, 14)});
}

typedef struct add_args {
    str chat_id;
    const message *list;
    size_t n;
} add_args;

static err_code add_one(sqlite3 *conn, str chat_id, const message *m, err *e) {
    TRY(sql_exec(conn,
                 SQL("INSERT INTO message(id, chat_id, parent_id, role, content, thinking, model,"
                     " state, error, files, sources, usage, picture, extra, created_ms)"
                     " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                     sql_text(m->id), sql_text(chat_id), sql_text(or_empty(m->parent_id)),
                     sql_text(m->role), sql_text(or_empty(m->content)),
                     sql_text(or_empty(m->thinking)), sql_text(or_empty(m->model)),
                     sql_text(m->state), sql_text(or_empty(m->error)), sql_text(or_empty(m->files)),
                     sql_text(or_empty(m->sources)), sql_text(or_empty(m->usage)),
                     sql_text(or_empty(m->picture)), sql_text(or_empty(m->extra)),
                     sql_int(m->created_ms)),
                 NULL, e));
    return sql_exec(
        conn,
        SQL("UPDATE message SET indexed = 1 WHERE id = ?1 AND state NOT IN " LIVE, sql_text(m->id)),
        NULL, e);
}

static void take_count(sqlite3_stmt *st, void *arg) {
    *(int64_t *)arg = sqlite3_column_int64(st, 0);
}

err_code messages_insert(sqlite3 *conn, str chat_id, const message *list, size_t n, err *e) {
    int64_t n_there = 0;
    TRY(sql_query(conn, SQL("SELECT count(*) FROM message WHERE chat_id = ?", sql_text(chat_id)),
                  take_count, &n_there, e));
    if (n > LIMIT_WEB_MESSAGES || n_there > LIMIT_WEB_MESSAGES - (int64_t)n)
        FAIL(e, LIMIT, "a chat holds at most %d messages: go on in a new one", LIMIT_WEB_MESSAGES);
    for (size_t i = 0; i < n; i++) TRY(add_one(conn, chat_id, &list[i], e));
    return ERR_OK;
}

static err_code add(sqlite3 *conn, void *arg, err *e) {
    add_args *x = arg;
    TRY(messages_insert(conn, x->chat_id, x->list, x->n, e));
    const message *last = &x->list[x->n - 1];
    return sql_exec(conn,
                    SQL("UPDATE chat SET current_id = ?2, updated_ms = max(updated_ms, ?3)"
                        " WHERE id = ?1",
                        sql_text(x->chat_id), sql_text(last->id), sql_int(last->created_ms)),
                    NULL, e);
}

err_code messages_add(db *d, str chat_id, const message *list, size_t n, err *e) {
    add_args x = {.chat_id = chat_id, .list = list, .n = n};
    return n ? db_write(d, add, &x, e) : ERR_OK;
}

static err_code gather(db *d, sql s, arena *a, message **ret, size_t *ret_n, err *e) {
    found f = {.a = a};
    err_code code = sql_each(d, s, take, &f, e);
    *ret_n = f.list.len;
    *ret = sql_keep(a, f.list.items, f.list.len * sizeof *f.list.items);
    VEC_FINISH(f.list);
    return code;
}

err_code messages_of(db *d, str chat_id, arena *a, message **ret, size_t *ret_n, err *e) {
    return gather(d,
                  SQL("SELECT " MESSAGE " FROM message m WHERE m.chat_id = ? ORDER BY m.seq",
                      sql_text(chat_id)),
                  a, ret, ret_n, e);
}

err_code messages_find(db *d, str chat_id, str id, arena *a, message *ret, err *e) {
    message *list;
    size_t n;
    TRY(gather(d,
               SQL("SELECT " MESSAGE " FROM message m WHERE m.id = ? AND m.chat_id = ?",
                   sql_text(id), sql_text(chat_id)),
               a, &list, &n, e));
    if (n == 0) FAIL(e, NOT_FOUND, "there is no such message in this chat");
    *ret = list[0];
    return ERR_OK;
}

err_code messages_path(db *d, str chat_id, str id, arena *a, message_list *ret, err *e) {
    TRY(gather(d,
               SQL("WITH RECURSIVE up(id, parent_id, depth) AS ("
                   " SELECT id, parent_id, 0 FROM message WHERE id = ?1 AND chat_id = ?2 UNION"
                   " SELECT p.id, p.parent_id, depth + 1 FROM up JOIN message p"
                   " ON p.id = up.parent_id AND p.chat_id = ?2 WHERE depth < 100000)"
                   " SELECT " MESSAGE " FROM up JOIN message m ON m.id = up.id"
                   " ORDER BY up.depth DESC",
                   sql_text(id), sql_text(chat_id)),
               a, &ret->items, &ret->n, e));
    if (ret->n == 0) FAIL(e, NOT_FOUND, "there is no such message in this chat");
    return ERR_OK;
}

static err_code update(sqlite3 *conn, void *arg, err *e) {
    const message *m = arg;
    TRY(sql_exec(conn, SQL("UPDATE message SET indexed = 0 WHERE id = ?", sql_text(m->id)), NULL,
                 e));
    TRY(sql_exec(conn,
                 SQL("UPDATE message SET content = ?2, thinking = ?3, model = ?4, state = ?5,"
                     " error = ?6, files = ?7, sources = ?8, usage = ?9, picture = ?10,"
                     " extra = ?11 WHERE id = ?1",
                     sql_text(m->id), sql_text(or_empty(m->content)),
                     sql_text(or_empty(m->thinking)), sql_text(or_empty(m->model)),
                     sql_text(m->state), sql_text(or_empty(m->error)), sql_text(or_empty(m->files)),
                     sql_text(or_empty(m->sources)), sql_text(or_empty(m->usage)),
                     sql_text(or_empty(m->picture)), sql_text(or_empty(m->extra))),
                 NULL, e));
    return sql_exec(
        conn,
        SQL("UPDATE message SET indexed = 1 WHERE id = ? AND state NOT IN " LIVE, sql_text(m->id)),
        NULL, e);
}

err_code messages_update(db *d, const message *m, err *e) {
    return db_write(d, update, (void *)(uintptr_t)m, e);
}

typedef struct put_args {
    str chat_id;
    const message_list *changed, *fresh;
} put_args;

static err_code put(sqlite3 *conn, void *arg, err *e) {
    const put_args *x = arg;
    for (size_t i = 0; i < x->changed->n; i++) TRY(update(conn, &x->changed->items[i], e));
    return messages_insert(conn, x->chat_id, x->fresh->items, x->fresh->n, e);
}

err_code messages_put(db *d, str chat_id, const message_list *changed, const message_list *fresh,
                      err *e) {
    put_args x = {chat_id, changed, fresh};
    return db_write(d, put, &x, e);
}

typedef struct delete_args {
    str chat_id, id;
    int64_t n;
} delete_args;

static err_code delete_tree(sqlite3 *conn, void *arg, err *e) {
    delete_args *x = arg;
    TRY(sql_exec(conn,
                 SQL("WITH RECURSIVE down(id) AS ("
                     " SELECT id FROM message WHERE id = ?1 AND chat_id = ?2 UNION"
                     " SELECT m.id FROM down JOIN message m ON m.parent_id = down.id"
                     " AND m.chat_id = ?2)"
                     " UPDATE chat SET current_id = (SELECT parent_id FROM message WHERE id = ?1)"
                     " WHERE id = ?2 AND current_id IN (SELECT id FROM down)",
                     sql_text(x->id), sql_text(x->chat_id)),
                 NULL, e));
    return sql_exec(conn,
                    SQL("WITH RECURSIVE down(id) AS ("
                        " SELECT id FROM message WHERE id = ?1 AND chat_id = ?2 UNION"
                        " SELECT m.id FROM down JOIN message m ON m.parent_id = down.id"
                        " AND m.chat_id = ?2)"
                        " DELETE FROM message WHERE id IN (SELECT id FROM down)",
                        sql_text(x->id), sql_text(x->chat_id)),
                    &x->n, e);
}

err_code messages_delete(db *d, str chat_id, str id, bool *ret_any, err *e) {
    delete_args x = {.chat_id = chat_id, .id = id};
    TRY(db_write(d, delete_tree, &x, e));
    *ret_any = x.n > 0;
    return ERR_OK;
}

typedef struct append_args {
    const message_piece *list;
    size_t n;
} append_args;

static err_code append(sqlite3 *conn, void *arg, err *e) {
    append_args *x = arg;
    for (size_t i = 0; i < x->n; i++)
        TRY(sql_exec(conn,
                     SQL("UPDATE message SET content = content || ?2, thinking = thinking || ?3,"
                         " state = ?4 WHERE id = ?1",
                         sql_text(x->list[i].id), sql_text(or_empty(x->list[i].content)),
                         sql_text(or_empty(x->list[i].thinking)), sql_text(x->list[i].state)),
                     NULL, e));
    return ERR_OK;
}

err_code messages_append(db *d, const message_piece *list, size_t n, err *e) {
    append_args x = {list, n};
    return db_write(d, append, &x, e);
}

err_code messages_recover(db *d, arena *a, message **ret_pictures, size_t *ret_n, err *e) {
    TRY(sql_run(d,
                (sql){.text = "UPDATE message SET state = 'interrupted', indexed = 1"
                              " WHERE state IN " LIVE " AND picture = ''"},
                NULL, e));
    return gather(d,
                  (sql){.text = "SELECT " MESSAGE " FROM message m WHERE m.state IN " LIVE
                                " AND m.picture <> ''"},
                  a, ret_pictures, ret_n, e);
}
