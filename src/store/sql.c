/* Prepare, bind, step, finish. */
#include "store/sql.h"
#include "base/vec.h"

sql_value sql_text(str s) {
    return (sql_value){.kind = s.ptr ? SQL_KIND_TEXT : SQL_KIND_NULL, .bytes = s};
}

sql_value sql_blob(const void *bytes, size_t n_bytes) {
    return (sql_value){.kind = bytes ? SQL_KIND_BLOB : SQL_KIND_NULL, .bytes = {bytes, n_bytes}};
}

sql_value sql_int(int64_t v) {
    return (sql_value){.kind = SQL_KIND_INT, .integer = v};
}

static void bind(sqlite3_stmt *st, const sql *s) {
    for (size_t i = 0; i < s->n_values; i++) {
        const sql_value *v = &s->values[i];
        int at = (int)i + 1;
        switch (v->kind) {
        case SQL_KIND_NULL:
            sqlite3_bind_null(st, at);
            break;
        case SQL_KIND_TEXT:
            db_bind_str(st, at, v->bytes);
            break;
        case SQL_KIND_BLOB:
            sqlite3_bind_blob64(st, at, v->bytes.ptr, v->bytes.len, SQLITE_STATIC);
            break;
        case SQL_KIND_INT:
            sqlite3_bind_int64(st, at, v->integer);
            break;
        }
    }
}

err_code sql_exec(sqlite3 *conn, sql s, int64_t *ret_n_changed, err *e) {
    sqlite3_stmt *st;
    TRY(db_prepare(conn, s.text, &st, e));
    bind(st, &s);
    TRY(db_finish(conn, st, e));
    if (ret_n_changed) *ret_n_changed = sqlite3_changes(conn);
    return ERR_OK;
}

err_code sql_query(sqlite3 *conn, sql s, void (*row)(sqlite3_stmt *st, void *arg), void *arg,
                   err *e) {
    sqlite3_stmt *st;
    bool any = false;
    TRY(db_prepare(conn, s.text, &st, e));
    bind(st, &s);
    err_code code;
    while (!(code = db_step(conn, st, &any, e)) && any) row(st, arg);
    sqlite3_finalize(st);
    return code;
}

typedef struct run_args {
    const sql *list;
    size_t n;
    int64_t *n_changed;
} run_args;

static err_code run_all(sqlite3 *conn, void *arg, err *e) {
    run_args *r = arg;
    for (size_t i = 0; i < r->n; i++) TRY(sql_exec(conn, r->list[i], r->n_changed, e));
    return ERR_OK;
}

err_code sql_run(db *d, sql s, int64_t *ret_n_changed, err *e) {
    run_args r = {&s, 1, ret_n_changed};
    return db_write(d, run_all, &r, e);
}

err_code sql_run_all(db *d, const sql *list, size_t n, err *e) {
    run_args r = {list, n, NULL};
    return db_write(d, run_all, &r, e);
}

typedef struct each_args {
    const sql *s;
    void (*row)(sqlite3_stmt *st, void *arg);
    void *arg;
} each_args;

static err_code each(sqlite3 *conn, void *arg, err *e) {
    each_args *x = arg;
    return sql_query(conn, *x->s, x->row, x->arg, e);
}

err_code sql_each(db *d, sql s, void (*row)(sqlite3_stmt *st, void *arg), void *arg, err *e) {
    each_args x = {&s, row, arg};
    return db_read(d, each, &x, e);
}

static void take_number(sqlite3_stmt *st, void *arg) {
    *(int64_t *)arg = sqlite3_column_int64(st, 0);
}

err_code sql_number(db *d, sql s, int64_t *ret, err *e) {
    *ret = 0;
    return sql_each(d, s, take_number, ret, e);
}

void *sql_keep(arena *a, const void *items, size_t n_bytes) {
    return n_bytes ? arena_dup(a, items, n_bytes) : NULL;
}

typedef struct texts_found {
    arena *a;
    VEC(str) list;
} texts_found;

static void take_text(sqlite3_stmt *st, void *arg) {
    texts_found *f = arg;
    VEC_PUSH(f->list, db_column_str(st, 0, f->a));
}

err_code sql_texts(db *d, sql s, arena *a, str **ret, size_t *ret_n, err *e) {
    texts_found f = {.a = a};
    err_code code = sql_each(d, s, take_text, &f, e);
    *ret_n = f.list.len;
    *ret = sql_keep(a, f.list.items, f.list.len * sizeof *f.list.items);
    VEC_FINISH(f.list);
    return code;
}
