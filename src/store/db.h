/* The database: SQLite in WAL mode, one writer thread, forward-only migrations.
 *
 * All changes run on the writer thread, several callers' work in one transaction when they come
 * together; a caller returns when its work is on disk. Reads run on the caller's thread, one at a
 * time, and see what was committed. One file per table family holds its steps and its queries.
 * Errors: IO with SQLite's reason (disk full, read-only), INTERNAL for a broken query.
 * Threads: any, except open and close. */
#pragma once
#include "base/err.h"
#include "base/str.h"
#include <sqlite3.h>

typedef struct db db;
typedef err_code (*db_work)(sqlite3 *conn, void *arg, err *e);

err_code db_open(const char *path, db **ret, err *e); /* creates it, and its directory */
void db_close(db **d);

/* Runs `fn` inside a transaction; what it did is undone when it fails. */
err_code db_write(db *d, db_work fn, void *arg, err *e);
err_code db_read(db *d, db_work fn, void *arg, err *e);

/* Brings a family's tables to its newest version: runs steps[version..n_steps). A database that is
 * newer than the program is ERR_UNSUPPORTED. */
err_code db_migrate(db *d, const char *family, const char *const *steps, int n_steps, err *e);

/* Statements, for the families' files. Bind by position from 1; text is copied when read. */
err_code db_prepare(sqlite3 *conn, const char *sql, sqlite3_stmt **ret, err *e);
void db_bind_str(sqlite3_stmt *st, int i, str s); /* ptr NULL binds NULL */
/* Steps: *ret_row false at the end. */
err_code db_step(sqlite3 *conn, sqlite3_stmt *st, bool *ret_row, err *e);
/* Steps to the end and finalises. */
err_code db_finish(sqlite3 *conn, sqlite3_stmt *st, err *e);
str db_column_str(sqlite3_stmt *st, int i, arena *a);
