/* Statements with their values, for the families of tables: one call instead of prepare, bind, step
 * and finish. Values are borrowed until the call returns. Threads: any (see db.h). */
#pragma once
#include "store/db.h"

typedef enum sql_kind { SQL_KIND_NULL, SQL_KIND_TEXT, SQL_KIND_BLOB, SQL_KIND_INT } sql_kind;

typedef struct sql_value {
    sql_kind kind;
    str bytes; /* TEXT, BLOB */
    int64_t integer;
} sql_value;

sql_value sql_text(str s); /* ptr NULL is SQL's NULL */
sql_value sql_blob(const void *bytes, size_t n_bytes);
sql_value sql_int(int64_t v);

/* One statement and the values of its `?`s, in order. */
typedef struct sql {
    const char *text;
    const sql_value *values; /* [n_values] */
    size_t n_values;
} sql;
#define SQL(text, ...)                                                                             \
    ((sql){(text), (const sql_value[]){__VA_ARGS__},                                               \
           sizeof((const sql_value[]){__VA_ARGS__}) / sizeof(sql_value)})

/* Changes something, in a transaction; *ret_n_changed (NULL allowed) is its number of rows. */
err_code sql_run(db *d, sql s, int64_t *ret_n_changed, err *e);
/* All or nothing. */
err_code sql_run_all(db *d, const sql *list, size_t n, err *e);
/* Calls `row` for each row of the answer, with the reading connection held: it only copies. */
err_code sql_each(db *d, sql s, void (*row)(sqlite3_stmt *st, void *arg), void *arg, err *e);
/* The first column of the first row as a number; 0 without a row. */
err_code sql_number(db *d, sql s, int64_t *ret, err *e);
/* The first column of every row as text, in `a`: (*ret)[*ret_n]. Set to what was read even where
 * reading failed. */
err_code sql_texts(db *d, sql s, arena *a, str **ret, size_t *ret_n, err *e);

/* A growing array's items, for good; NULL when there are none. */
void *sql_keep(arena *a, const void *items, size_t n_bytes);

/* The same inside a db_work. */
err_code sql_exec(sqlite3 *conn, sql s, int64_t *ret_n_changed, err *e);
err_code sql_query(sqlite3 *conn, sql s, void (*row)(sqlite3_stmt *st, void *arg), void *arg,
                   err *e);
