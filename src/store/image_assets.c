/* The queries of API v2's assets. */
#include "store/image_assets.h"
#include "base/clock.h"

static const char *const STEPS[] = {
    "CREATE TABLE image_asset(id TEXT PRIMARY KEY, hash TEXT NOT NULL, n_bytes INTEGER NOT NULL,"
    " content_type TEXT NOT NULL, name TEXT NOT NULL, file_path TEXT, path TEXT NOT NULL,"
    " reference TEXT NOT NULL, job_id TEXT, created_ms INTEGER NOT NULL,"
    " expires_ms INTEGER NOT NULL DEFAULT 0);"
    "CREATE INDEX image_asset_hash ON image_asset(hash);"
    "CREATE INDEX image_asset_path ON image_asset(path);",
};

#define COLUMNS                                                                                    \
    "id, hash, n_bytes, content_type, name, file_path, path, reference, job_id, created_ms,"       \
    " expires_ms"

err_code image_assets_migrate(db *d, err *e) {
    return db_migrate(d, "image_assets", STEPS, COUNT_OF(STEPS), e);
}

static err_code insert(sqlite3 *conn, void *arg, err *e) {
    const image_asset *x = arg;
    sqlite3_stmt *st;
    TRY(db_prepare(conn,
                   "INSERT INTO image_asset(" COLUMNS ") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                   &st, e));
    db_bind_str(st, 1, x->id);
    db_bind_str(st, 2, x->hash);
    sqlite3_bind_int64(st, 3, (sqlite3_int64)x->n_bytes);
    db_bind_str(st, 4, x->content_type);
    db_bind_str(st, 5, x->name);
    db_bind_str(st, 6, x->file_path);
    db_bind_str(st, 7, x->path);
    db_bind_str(st, 8, x->reference);
    db_bind_str(st, 9, x->job_id);
    sqlite3_bind_int64(st, 10, x->created_ms);
    sqlite3_bind_int64(st, 11, x->expires_ms);
    return db_finish(conn, st, e);
}

err_code image_assets_insert(db *d, const image_asset *a, err *e) {
    return db_write(d, insert, (void *)(uintptr_t)a, e);
}

typedef struct find_args {
    const char *sql;
    str key;
    arena *a;
    image_asset *ret;
} find_args;

static err_code find(sqlite3 *conn, void *arg, err *e) {
    find_args *f = arg;
    sqlite3_stmt *st;
    bool row = false;
    TRY(db_prepare(conn, f->sql, &st, e));
    db_bind_str(st, 1, f->key);
    sqlite3_bind_int64(st, 2, clock_wall_ns() / NS_PER_MS);
    err_code code = db_step(conn, st, &row, e);
    if (row)
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
                                .expires_ms = sqlite3_column_int64(st, 10)};
    sqlite3_finalize(st);
    if (!code && !row) FAIL(e, NOT_FOUND, "there is no asset " STR_FMT, STR_ARG(f->key));
    return code;
}

#define SELECT "SELECT " COLUMNS " FROM image_asset WHERE "
#define LIVING " AND (expires_ms = 0 OR expires_ms > ?2) ORDER BY created_ms LIMIT 1"

err_code image_assets_find(db *d, str id, arena *a, image_asset *ret, err *e) {
    find_args f = {SELECT "id = ?1" LIVING, id, a, ret};
    return db_read(d, find, &f, e);
}

err_code image_assets_by_hash(db *d, str hash, arena *a, image_asset *ret, err *e) {
    find_args f = {SELECT "hash = ?1" LIVING, hash, a, ret};
    return db_read(d, find, &f, e);
}

err_code image_assets_by_path(db *d, str path, arena *a, image_asset *ret, err *e) {
    find_args f = {SELECT "path = ?1" LIVING, path, a, ret};
    return db_read(d, find, &f, e);
}

typedef struct delete_args {
    str id;
    bool last;
} delete_args;

static err_code delete (sqlite3 *conn, void *arg, err *e) {
    delete_args *x = arg;
    sqlite3_stmt *st;
    bool row = false;
    TRY(db_prepare(conn,
                   "SELECT count(*) FROM image_asset WHERE path ="
                   " (SELECT path FROM image_asset WHERE id = ?)",
                   &st, e));
    db_bind_str(st, 1, x->id);
    err_code code = db_step(conn, st, &row, e);
    x->last = row && sqlite3_column_int64(st, 0) == 1;
    sqlite3_finalize(st);
    if (code) return code;
    TRY(db_prepare(conn, "DELETE FROM image_asset WHERE id = ?", &st, e));
    db_bind_str(st, 1, x->id);
    return db_finish(conn, st, e);
}

err_code image_assets_delete(db *d, str id, bool *ret_last, err *e) {
    delete_args x = {.id = id};
    TRY(db_write(d, delete, &x, e));
    *ret_last = x.last;
    return ERR_OK;
}
