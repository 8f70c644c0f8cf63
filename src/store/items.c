/* Table: item. */
#include "store/items.h"
#include "base/limits.h"
#include "base/vec.h"
#include "store/sql.h"

static const char *const STEPS[] = {
    "CREATE TABLE item(kind TEXT NOT NULL, id TEXT NOT NULL,"
    " user_id TEXT NOT NULL REFERENCES user(id) ON DELETE CASCADE, name TEXT NOT NULL,"
    " data TEXT NOT NULL, created_ms INTEGER NOT NULL, updated_ms INTEGER NOT NULL,"
    " PRIMARY KEY (user_id, kind, id)) WITHOUT ROWID;",
};

#define ITEM "kind, id, user_id, name, data, created_ms, updated_ms"

err_code items_migrate(db *d, err *e) {
    return db_migrate(d, "items", STEPS, COUNT_OF(STEPS), e);
}

err_code items_add(db *d, const item *it, err *e) {
    int64_t n;
    TRY(sql_number(d,
                   SQL("SELECT count(*) FROM item WHERE user_id = ? AND kind = ?",
                       sql_text(it->user_id), sql_text(it->kind)),
                   &n, e));
    if (n >= LIMIT_WEB_ITEMS)
        FAIL(e, LIMIT, "there are %d of these already; delete some", LIMIT_WEB_ITEMS);
    TRY(sql_run(d,
                SQL("INSERT INTO item(" ITEM ") VALUES (?, ?, ?, ?, ?, ?, ?)"
                    " ON CONFLICT DO NOTHING",
                    sql_text(it->kind), sql_text(it->id), sql_text(it->user_id), sql_text(it->name),
                    sql_text(it->data), sql_int(it->created_ms), sql_int(it->updated_ms)),
                &n, e));
    if (n == 0) FAIL(e, INVALID, "there is one with the id \"" STR_FMT "\"", STR_ARG(it->id));
    return ERR_OK;
}

typedef struct found {
    arena *a;
    VEC(item) list;
} found;

static void take(sqlite3_stmt *st, void *arg) {
    found *f = arg;
    VEC_PUSH(f->list, (item){.kind = db_column_str(st, 0, f->a),
                             .id = db_column_str(st, 1, f->a),
                             .user_id = db_column_str(st, 2, f->a),
                             .name = db_column_str(st, 3, f->a),
                             .data = db_column_str(st, 4, f->a),
                             .created_ms = sqlite3_column_int64(st, 5),
                             .updated_ms = sqlite3_column_int64(st, 6)});
}

static err_code gather(db *d, sql s, arena *a, item **ret, size_t *ret_n, err *e) {
    found f = {.a = a};
    err_code code = sql_each(d, s, take, &f, e);
    *ret_n = f.list.len;
    *ret = sql_keep(a, f.list.items, f.list.len * sizeof *f.list.items);
    VEC_FINISH(f.list);
    return code;
}

err_code items_find(db *d, const item_key *k, arena *a, item *ret, err *e) {
    item *list;
    size_t n;
    TRY(gather(d,
               SQL("SELECT " ITEM " FROM item WHERE user_id = ? AND kind = ? AND id = ?",
                   sql_text(k->user_id), sql_text(k->kind), sql_text(k->id)),
               a, &list, &n, e));
    if (n == 0)
        FAIL(e, NOT_FOUND, "there is no " STR_FMT " \"" STR_FMT "\"", STR_ARG(k->kind),
             STR_ARG(k->id));
    *ret = list[0];
    return ERR_OK;
}

err_code items_list(db *d, const item_key *k, arena *a, item **ret, size_t *ret_n, err *e) {
    return gather(d,
                  SQL("SELECT " ITEM " FROM item WHERE user_id = ? AND kind = ?"
                      " ORDER BY name COLLATE NOCASE, created_ms, id",
                      sql_text(k->user_id), sql_text(k->kind)),
                  a, ret, ret_n, e);
}

err_code items_update(db *d, const item *it, err *e) {
    return sql_run(d,
                   SQL("UPDATE item SET name = ?4, data = ?5, updated_ms = ?6"
                       " WHERE user_id = ?1 AND kind = ?2 AND id = ?3",
                       sql_text(it->user_id), sql_text(it->kind), sql_text(it->id),
                       sql_text(it->name), sql_text(it->data), sql_int(it->updated_ms)),
                   NULL, e);
}

err_code items_delete(db *d, const item_key *k, bool *ret_any, err *e) {
    int64_t n;
    TRY(sql_run(d,
                SQL("DELETE FROM item WHERE user_id = ? AND kind = ? AND id = ?",
                    sql_text(k->user_id), sql_text(k->kind), sql_text(k->id)),
                &n, e));
    *ret_any = n > 0;
    return ERR_OK;
}

err_code owned_check(db *d, owned_kind what, const item_key *k, bool *ret, err *e) {
    static const char *const queries[] = {
        [OWNED_CHAT] = "SELECT count(*) FROM chat WHERE id = ?1 AND user_id = ?2",
        [OWNED_FILE] = "SELECT count(*) FROM file WHERE id = ?1 AND user_id = ?2",
        [OWNED_GRANT] = "SELECT count(*) FROM grant_row WHERE id = ?1 AND user_id = ?2",
        [OWNED_ITEM] = "SELECT count(*) FROM item WHERE id = ?1 AND user_id = ?2 AND kind = ?3",
    };
    int64_t n;
    sql s = SQL("", sql_text(k->id), sql_text(k->user_id), sql_text(k->kind));
    s.text = queries[what];
    if (what != OWNED_ITEM) s.n_values = 2;
    TRY(sql_number(d, s, &n, e));
    *ret = n > 0;
    return ERR_OK;
}
