/* Tables: user, grant_row, site. */
#include "store/users.h"
#include "base/vec.h"
#include "store/sql.h"

static const char *const STEPS[] = {
    "CREATE TABLE user(id TEXT PRIMARY KEY, email TEXT NOT NULL UNIQUE COLLATE NOCASE,"
    " name TEXT NOT NULL, role TEXT NOT NULL, settings TEXT NOT NULL, password TEXT NOT NULL,"
    " created_ms INTEGER NOT NULL, active_ms INTEGER NOT NULL);"
    "CREATE TABLE grant_row(id TEXT PRIMARY KEY, hash BLOB NOT NULL UNIQUE,"
    " user_id TEXT NOT NULL REFERENCES user(id) ON DELETE CASCADE, is_key INTEGER NOT NULL,"
    " name TEXT NOT NULL, address TEXT NOT NULL, scopes TEXT NOT NULL,"
    " created_ms INTEGER NOT NULL, used_ms INTEGER NOT NULL, expires_ms INTEGER NOT NULL);"
    "CREATE INDEX grant_user ON grant_row(user_id, is_key, created_ms);"
    "CREATE TABLE site(name TEXT PRIMARY KEY, text TEXT NOT NULL);",
};

#define USER "id, email, name, role, settings, password, created_ms, active_ms"
#define GRANT "id, user_id, name, address, scopes, created_ms, used_ms, expires_ms, is_key"

err_code users_migrate(db *d, err *e) {
    return db_migrate(d, "users", STEPS, COUNT_OF(STEPS), e);
}

err_code users_count(db *d, int64_t *ret, err *e) {
    return sql_number(d, (sql){.text = "SELECT count(*) FROM user"}, ret, e);
}

typedef struct users_found {
    arena *a;
    VEC(user) list;
} users_found;

static void read_user(sqlite3_stmt *st, void *arg) {
    users_found *f = arg;
    VEC_PUSH(f->list, (user){.id = db_column_str(st, 0, f->a),
                             .email = db_column_str(st, 1, f->a),
                             .name = db_column_str(st, 2, f->a),
                             .role = db_column_str(st, 3, f->a),
                             .settings = db_column_str(st, 4, f->a),
                             .password = db_column_str(st, 5, f->a),
                             .created_ms = sqlite3_column_int64(st, 6),
                             .active_ms = sqlite3_column_int64(st, 7)});
}

static err_code find_one(db *d, sql s, arena *a, user *ret, err *e) {
    users_found f = {.a = a};
    err_code code = sql_each(d, s, read_user, &f, e);
    bool any = f.list.len > 0;
    if (any) *ret = f.list.items[0];
    VEC_FINISH(f.list);
    if (!code && !any) FAIL(e, NOT_FOUND, "there is no such user");
    return code;
}

err_code users_find(db *d, str id, arena *a, user *ret, err *e) {
    return find_one(d, SQL("SELECT " USER " FROM user WHERE id = ?", sql_text(id)), a, ret, e);
}

err_code users_find_email(db *d, str email, arena *a, user *ret, err *e) {
    return find_one(d, SQL("SELECT " USER " FROM user WHERE email = ?", sql_text(email)), a, ret,
                    e);
}

static err_code email_taken(db *d, str email, str but_id, err *e) {
    int64_t n;
    TRY(sql_number(d,
                   SQL("SELECT count(*) FROM user WHERE email = ? AND id <> ?", sql_text(email),
                       sql_text(but_id)),
                   &n, e));
    if (n) FAIL(e, INVALID, "this email is already registered");
    return ERR_OK;
}

err_code users_add(db *d, user *u, bool open, arena *a, err *e) {
    int64_t n;
    TRY(email_taken(d, u->email, STR(""), e));
    TRY(sql_run(d,
                SQL("INSERT INTO user SELECT ?1, ?2, ?3,"
                    " CASE WHEN NOT EXISTS (SELECT 1 FROM user) THEN 'admin' ELSE ?4 END,"
                    " ?5, ?6, ?7, ?7 WHERE ?8 OR NOT EXISTS (SELECT 1 FROM user)"
                    " ON CONFLICT(email) DO NOTHING",
                    sql_text(u->id), sql_text(u->email), sql_text(u->name), sql_text(u->role),
                    sql_text(u->settings), sql_text(u->password), sql_int(u->created_ms),
                    sql_int(open)),
                &n, e));
    if (n == 0) FAIL(e, INVALID, open ? "this email is already registered" : "sign-up is closed");
    return users_find(d, str_dup(a, u->id), a, u, e);
}

err_code users_list(db *d, const user_query *q, arena *a, user_page *ret, err *e) {
    users_found f = {.a = a};
    static const char WHERE[] =
        "SELECT count(*) FROM user WHERE instr(lower(name || ' ' || email), lower(?1))";
    TRY(sql_number(d, SQL(WHERE, sql_text(q->text.ptr ? q->text : STR(""))), &ret->total, e));
    err_code code = sql_each(
        d,
        SQL("SELECT " USER " FROM user WHERE instr(lower(name || ' ' || email), lower(?1))"
            " ORDER BY created_ms, id LIMIT ?2 OFFSET ?3",
            sql_text(q->text.ptr ? q->text : STR("")), sql_int(q->limit), sql_int(q->offset)),
        read_user, &f, e);
    ret->n = f.list.len;
    ret->users = sql_keep(a, f.list.items, f.list.len * sizeof *f.list.items);
    VEC_FINISH(f.list);
    return code;
}

err_code users_update(db *d, const user *u, err *e) {
    int64_t n;
    if (u->email.ptr) TRY(email_taken(d, u->email, u->id, e));
    TRY(sql_run(d,
                SQL("UPDATE user SET email = coalesce(?2, email), name = coalesce(?3, name),"
                    " role = coalesce(?4, role), settings = coalesce(?5, settings),"
                    " password = coalesce(?6, password)"
                    " WHERE id = ?1 AND (role <> 'admin' OR coalesce(?4, 'admin') = 'admin' OR"
                    " (SELECT count(*) FROM user WHERE role = 'admin') > 1)",
                    sql_text(u->id), sql_text(u->email), sql_text(u->name), sql_text(u->role),
                    sql_text(u->settings), sql_text(u->password)),
                &n, e));
    if (n == 0) FAIL(e, INVALID, "the last administrator must stay one");
    return ERR_OK;
}

err_code users_touch(db *d, str id, int64_t active_ms, err *e) {
    return sql_run(
        d, SQL("UPDATE user SET active_ms = ? WHERE id = ?", sql_int(active_ms), sql_text(id)),
        NULL, e);
}

err_code users_delete(db *d, str id, err *e) {
    int64_t n;
    TRY(sql_run(d,
                SQL("DELETE FROM user WHERE id = ?1 AND (role <> 'admin' OR"
                    " (SELECT count(*) FROM user WHERE role = 'admin') > 1)",
                    sql_text(id)),
                &n, e));
    if (n == 0) FAIL(e, INVALID, "the last administrator cannot be deleted");
    return ERR_OK;
}

/* ---- sessions and keys ---- */

typedef struct grants_found {
    arena *a;
    VEC(grant) list;
} grants_found;

static void read_grant(sqlite3_stmt *st, void *arg) {
    grants_found *f = arg;
    VEC_PUSH(f->list, (grant){.id = db_column_str(st, 0, f->a),
                              .user_id = db_column_str(st, 1, f->a),
                              .name = db_column_str(st, 2, f->a),
                              .address = db_column_str(st, 3, f->a),
                              .scopes = db_column_str(st, 4, f->a),
                              .created_ms = sqlite3_column_int64(st, 5),
                              .used_ms = sqlite3_column_int64(st, 6),
                              .expires_ms = sqlite3_column_int64(st, 7),
                              .is_key = sqlite3_column_int(st, 8) != 0});
}

err_code grants_add(db *d, const grant *g, const unsigned char hash[32], err *e) {
    return sql_run(d,
                   SQL("INSERT INTO grant_row(id, hash, user_id, is_key, name, address, scopes,"
                       " created_ms, used_ms, expires_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                       sql_text(g->id), sql_blob(hash, 32), sql_text(g->user_id),
                       sql_int(g->is_key), sql_text(g->name.ptr ? g->name : STR("")),
                       sql_text(g->address.ptr ? g->address : STR("")),
                       sql_text(g->scopes.ptr ? g->scopes : STR("")), sql_int(g->created_ms),
                       sql_int(g->used_ms), sql_int(g->expires_ms)),
                   NULL, e);
}

err_code grants_find(db *d, const unsigned char hash[32], int64_t now_ms, arena *a, grant *ret,
                     err *e) {
    grants_found f = {.a = a};
    err_code code = sql_each(d,
                             SQL("SELECT " GRANT " FROM grant_row WHERE hash = ?"
                                 " AND (expires_ms = 0 OR expires_ms > ?)",
                                 sql_blob(hash, 32), sql_int(now_ms)),
                             read_grant, &f, e);
    bool any = f.list.len > 0;
    if (any) *ret = f.list.items[0];
    VEC_FINISH(f.list);
    if (!code && !any) FAIL(e, NOT_FOUND, "unknown or expired credentials");
    return code;
}

err_code grants_list(db *d, str user_id, bool keys, arena *a, grant_list *ret, err *e) {
    grants_found f = {.a = a};
    err_code code = sql_each(d,
                             SQL("SELECT " GRANT " FROM grant_row WHERE user_id = ? AND is_key = ?"
                                 " ORDER BY created_ms, id",
                                 sql_text(user_id), sql_int(keys)),
                             read_grant, &f, e);
    ret->n = f.list.len;
    ret->items = sql_keep(a, f.list.items, f.list.len * sizeof *f.list.items);
    VEC_FINISH(f.list);
    return code;
}

err_code grants_touch(db *d, str id, int64_t used_ms, err *e) {
    return sql_run(
        d, SQL("UPDATE grant_row SET used_ms = ? WHERE id = ?", sql_int(used_ms), sql_text(id)),
        NULL, e);
}

err_code grants_delete(db *d, str user_id, str id, bool *ret_any, err *e) {
    int64_t n;
    TRY(sql_run(
        d,
        SQL("DELETE FROM grant_row WHERE id = ? AND user_id = ?", sql_text(id), sql_text(user_id)),
        &n, e));
    *ret_any = n > 0;
    return ERR_OK;
}

err_code grants_delete_all(db *d, str user_id, bool keys, str except, err *e) {
    return sql_run(d,
                   SQL("DELETE FROM grant_row WHERE user_id = ? AND is_key = ? AND id <> ?",
                       sql_text(user_id), sql_int(keys), sql_text(except.ptr ? except : STR(""))),
                   NULL, e);
}

err_code grants_expire(db *d, int64_t now_ms, err *e) {
    return sql_run(
        d, SQL("DELETE FROM grant_row WHERE expires_ms > 0 AND expires_ms <= ?", sql_int(now_ms)),
        NULL, e);
}

/* ---- the site ---- */

typedef struct text_found {
    arena *a;
    str text;
} text_found;

static void read_text(sqlite3_stmt *st, void *arg) {
    text_found *f = arg;
    f->text = db_column_str(st, 0, f->a);
}

err_code site_get(db *d, str name, arena *a, str *ret, err *e) {
    text_found f = {.a = a, .text = STR("")};
    TRY(sql_each(d, SQL("SELECT text FROM site WHERE name = ?", sql_text(name)), read_text, &f, e));
    *ret = f.text;
    return ERR_OK;
}

err_code site_put(db *d, str name, str text, err *e) {
    return sql_run(d,
                   SQL("INSERT OR REPLACE INTO site VALUES (?, ?)", sql_text(name), sql_text(text)),
                   NULL, e);
}
