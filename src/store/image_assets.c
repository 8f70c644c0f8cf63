/* The queries of API v2's assets. */
#include "store/image_assets.h"
#include "base/clock.h"
#include "store/sql.h"

static const char *const STEPS[] = {
    "CREATE TABLE image_asset(id TEXT PRIMARY KEY, hash TEXT NOT NULL, n_bytes INTEGER NOT NULL,"
    " content_type TEXT NOT NULL, name TEXT NOT NULL, file_path TEXT, path TEXT NOT NULL,"
    " reference TEXT NOT NULL, job_id TEXT, created_ms INTEGER NOT NULL,"
    " expires_ms INTEGER NOT NULL DEFAULT 0);"
    "CREATE INDEX image_asset_hash ON image_asset(hash);"
    "CREATE INDEX image_asset_path ON image_asset(path);",
    "ALTER TABLE image_asset ADD COLUMN owner TEXT NOT NULL DEFAULT '';",
};

#define COLUMNS                                                                                    \
    "id, hash, n_bytes, content_type, name, file_path, path, reference, job_id, created_ms,"       \
    " expires_ms, owner"

err_code image_assets_migrate(db *d, err *e) {
    return db_migrate(d, "image_assets", STEPS, COUNT_OF(STEPS), e);
}

err_code image_assets_insert(db *d, const image_asset *x, err *e) {
    return sql_run(d,
                   SQL("INSERT INTO image_asset(" COLUMNS ")"
                       " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                       sql_text(x->id), sql_text(x->hash), sql_int((int64_t)x->n_bytes),
                       sql_text(x->content_type), sql_text(x->name), sql_text(x->file_path),
                       sql_text(x->path), sql_text(x->reference), sql_text(x->job_id),
                       sql_int(x->created_ms), sql_int(x->expires_ms),
                       sql_text(x->owner.ptr ? x->owner : STR(""))),
                   NULL, e);
}

typedef struct found {
    arena *a;
    image_asset *ret;
    bool any;
} found;

static void take(sqlite3_stmt *st, void *arg) {
    found *f = arg;
    f->any = true;
    *f->ret = (image_asset){.id = db_column_str(st, 0, f->a),
                            .hash = db_column_str(st, 1, f->a),
                            .n_bytes = (uint64_t)sqlite3_column_int64(st, 2),
                            .content_type = db_column_str(st, 3, f->a),
                            .name = db_column_str(st, 4, f->a),
                            .file_path = db_column_str(st, 5, f->a),
                            .path = db_column_str(st, 6, f->a),
                            .reference = db_column_str(st, 7, f->a),
                            .job_id = db_column_str(st, 8, f->a),
                            .created_ms = sqlite3_column_int64(st, 9),
                            .expires_ms = sqlite3_column_int64(st, 10),
                            .owner = db_column_str(st, 11, f->a)};
}

/* The oldest that lives, by one column; an empty owner sees all. */
static err_code find(db *d, const char *text, str owner, str key, found f, err *e) {
    sql s = SQL("", sql_text(key), sql_int(clock_wall_ns() / NS_PER_MS),
                sql_text(owner.ptr ? owner : STR("")));
    s.text = text;
    TRY(sql_each(d, s, take, &f, e));
    if (!f.any) FAIL(e, NOT_FOUND, "there is no asset " STR_FMT, STR_ARG(key));
    return ERR_OK;
}

#define SELECT "SELECT " COLUMNS " FROM image_asset WHERE "
#define LIVING                                                                                     \
    " AND (expires_ms = 0 OR expires_ms > ?2) AND (?3 = '' OR owner = ?3)"                         \
    " ORDER BY created_ms LIMIT 1"

err_code image_assets_find(db *d, str owner, str id, arena *a, image_asset *ret, err *e) {
    return find(d, SELECT "id = ?1" LIVING, owner, id, (found){.a = a, .ret = ret}, e);
}

err_code image_assets_by_hash(db *d, str owner, str hash, arena *a, image_asset *ret, err *e) {
    return find(d, SELECT "hash = ?1" LIVING, owner, hash, (found){.a = a, .ret = ret}, e);
}

err_code image_assets_by_path(db *d, str path, arena *a, image_asset *ret, err *e) {
    return find(d, SELECT "path = ?1" LIVING, STR(""), path, (found){.a = a, .ret = ret}, e);
}

typedef struct delete_args {
    str id;
    int64_t n_same; /* assets with the same bytes */
} delete_args;

static void take_number(sqlite3_stmt *st, void *arg) {
    *(int64_t *)arg = sqlite3_column_int64(st, 0);
}

static err_code delete (sqlite3 *conn, void *arg, err *e) {
    delete_args *x = arg;
    TRY(sql_query(conn,
                  SQL("SELECT count(*) FROM image_asset WHERE path ="
                      " (SELECT path FROM image_asset WHERE id = ?)",
                      sql_text(x->id)),
                  take_number, &x->n_same, e));
    return sql_exec(conn, SQL("DELETE FROM image_asset WHERE id = ?", sql_text(x->id)), NULL, e);
}

err_code image_assets_delete(db *d, str id, bool *ret_last, err *e) {
    delete_args x = {.id = id};
    TRY(db_write(d, delete, &x, e));
    *ret_last = x.n_same == 1;
    return ERR_OK;
}
