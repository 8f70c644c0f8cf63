/* A queue of work in front of one connection that writes, and a locked one that reads. */
#include "store/db.h"
#include "os/file.h"
#include "store/words.h"
#include <pthread.h>
#include <string.h>

typedef struct task {
    db_work fn;
    void *arg;
    err error;
    bool done;
    struct task *next;
} task;

struct db {
    sqlite3 *writer, *reader;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t arrived, finished;
    task *first, *last;
    bool stop;
    pthread_mutex_t read_lock;
};

static err_code failed(sqlite3 *conn, err *e) {
    int code = sqlite3_errcode(conn) & 0xFF;
    bool disk = code == SQLITE_FULL || code == SQLITE_IOERR || code == SQLITE_READONLY ||
                code == SQLITE_CANTOPEN || code == SQLITE_BUSY || code == SQLITE_CORRUPT ||
                code == SQLITE_NOTADB;
    return err_set(e, disk ? ERR_IO : ERR_INTERNAL, "database: %s", sqlite3_errmsg(conn));
}

static err_code exec(sqlite3 *conn, const char *sql, err *e) {
    return sqlite3_exec(conn, sql, NULL, NULL, NULL) ? failed(conn, e) : ERR_OK;
}

err_code db_prepare(sqlite3 *conn, const char *sql, sqlite3_stmt **ret, err *e) {
    return sqlite3_prepare_v2(conn, sql, -1, ret, NULL) ? failed(conn, e) : ERR_OK;
}

void db_bind_str(sqlite3_stmt *st, int i, str s) {
    if (s.ptr)
        sqlite3_bind_text64(st, i, s.ptr, s.len, SQLITE_STATIC, SQLITE_UTF8);
    else
        sqlite3_bind_null(st, i);
}

err_code db_step(sqlite3 *conn, sqlite3_stmt *st, bool *ret_row, err *e) {
    int rc = sqlite3_step(st);
    if (rc != SQLITE_ROW && rc != SQLITE_DONE) return failed(conn, e);
    *ret_row = rc == SQLITE_ROW;
    return ERR_OK;
}

err_code db_finish(sqlite3 *conn, sqlite3_stmt *st, err *e) {
    err_code code = ERR_OK;
    for (bool row = true; row && !code;) code = db_step(conn, st, &row, e);
    sqlite3_finalize(st);
    return code;
}

str db_column_str(sqlite3_stmt *st, int i, arena *a) {
    const char *text = (const char *)sqlite3_column_text(st, i);
    if (!text) return (str){0};
    return str_dup(a, (str){text, (size_t)sqlite3_column_bytes(st, i)});
}

/* One task in its own savepoint, so that its failure is not its neighbours'. */
static void run_task(sqlite3 *conn, task *t) {
    t->error.code = ERR_OK;
    if (exec(conn, "SAVEPOINT task", &t->error)) return;
    err_code code = t->fn(conn, t->arg, &t->error);
    t->error.code = code;
    if (code) exec(conn, "ROLLBACK TO task", NULL);
    exec(conn, "RELEASE task", NULL);
}

/* A batch is one transaction: the disk is flushed once for all of it. */
static void run_batch(sqlite3 *conn, task *batch) {
    err e = {0};
    if (!exec(conn, "BEGIN IMMEDIATE", &e)) {
        for (task *t = batch; t; t = t->next) run_task(conn, t);
        if (!exec(conn, "COMMIT", &e)) return;
        exec(conn, "ROLLBACK", NULL);
    }
    for (task *t = batch; t; t = t->next)
        if (!t->error.code) t->error = e;
}

static void *writer_main(void *arg) {
    db *d = arg;
    pthread_mutex_lock(&d->lock);
    for (;;) {
        while (!d->first && !d->stop) pthread_cond_wait(&d->arrived, &d->lock);
        task *batch = d->first;
        if (!batch) break;
        d->first = d->last = NULL;
        pthread_mutex_unlock(&d->lock);
        run_batch(d->writer, batch);
        pthread_mutex_lock(&d->lock);
        for (task *t = batch, *next; t; t = next) {
            next = t->next; /* t is gone once its caller sees it done */
            t->done = true;
        }
        pthread_cond_broadcast(&d->finished);
    }
    pthread_mutex_unlock(&d->lock);
    return NULL;
}

err_code db_write(db *d, db_work fn, void *arg, err *e) {
    task t = {.fn = fn, .arg = arg};
    pthread_mutex_lock(&d->lock);
    if (d->last)
        d->last->next = &t;
    else
        d->first = &t;
    d->last = &t;
    pthread_cond_signal(&d->arrived);
    while (!t.done) pthread_cond_wait(&d->finished, &d->lock);
    pthread_mutex_unlock(&d->lock);
    if (t.error.code && e) *e = t.error;
    return t.error.code;
}

err_code db_read(db *d, db_work fn, void *arg, err *e) {
    pthread_mutex_lock(&d->read_lock);
    err_code code = fn(d->reader, arg, e);
    pthread_mutex_unlock(&d->read_lock);
    return code;
}

static err_code open_connection(const char *path, sqlite3 **ret, err *e) {
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    if (sqlite3_open_v2(path, ret, flags, NULL)) {
        failed(*ret, e);
        return err_wrap(e, "%s", path);
    }
    sqlite3_busy_timeout(*ret, 10000);
    sqlite3_db_config(*ret, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    if (words_register(*ret)) return failed(*ret, e);
    err_code code = exec(*ret,
                         "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
                         "PRAGMA foreign_keys=ON; PRAGMA temp_store=MEMORY;",
                         e);
    return code ? err_wrap(e, "%s", path) : ERR_OK;
}

err_code db_open(const char *path, db **ret, err *e) {
    arena *a = arena_create(0);
    ptrdiff_t slash = str_rfind_char(str_from(path), '/');
    err_code code = slash > 0 ? file_mkdirs(str_cstr(a, (str){path, (size_t)slash}), e) : ERR_OK;
    arena_destroy(&a);
    if (code) return code;
    db *d = NEW(db);
    pthread_mutex_init(&d->lock, NULL);
    pthread_mutex_init(&d->read_lock, NULL);
    pthread_cond_init(&d->arrived, NULL);
    pthread_cond_init(&d->finished, NULL);
    code = open_connection(path, &d->writer, e);
    if (!code) code = open_connection(path, &d->reader, e);
    if (!code)
        code = exec(d->writer,
                    "CREATE TABLE IF NOT EXISTS family(name TEXT PRIMARY KEY, version INTEGER)", e);
    if (!code && pthread_create(&d->thread, NULL, writer_main, d))
        code = err_set(e, ERR_INTERNAL, "cannot start the database's thread");
    if (code) {
        d->stop = true;
        sqlite3_close(d->reader);
        sqlite3_close(d->writer);
        mem_free(d);
        return code;
    }
    *ret = d;
    return ERR_OK;
}

void db_close(db **pd) {
    if (!pd || !*pd) return;
    db *d = *pd;
    pthread_mutex_lock(&d->lock);
    d->stop = true;
    pthread_cond_signal(&d->arrived);
    pthread_mutex_unlock(&d->lock);
    pthread_join(d->thread, NULL);
    sqlite3_close(d->reader);
    sqlite3_close(d->writer);
    pthread_cond_destroy(&d->arrived);
    pthread_cond_destroy(&d->finished);
    pthread_mutex_destroy(&d->lock);
    pthread_mutex_destroy(&d->read_lock);
    mem_free(d);
    *pd = NULL;
}

typedef struct migration {
    const char *family;
    const char *const *steps;
    int n_steps;
} migration;

static err_code migrate(sqlite3 *conn, void *arg, err *e) {
    const migration *m = arg;
    sqlite3_stmt *st;
    bool row = false;
    TRY(db_prepare(conn, "SELECT version FROM family WHERE name = ?", &st, e));
    db_bind_str(st, 1, str_from(m->family));
    err_code code = db_step(conn, st, &row, e);
    int version = !code && row ? sqlite3_column_int(st, 0) : 0;
    sqlite3_finalize(st);
    if (code) return code;
    if (version > m->n_steps)
        FAIL(e, UNSUPPORTED, "the database's %s tables are of version %d, this program knows %d",
             m->family, version, m->n_steps);
    for (int i = version; i < m->n_steps; i++) TRY(exec(conn, m->steps[i], e));
    TRY(db_prepare(conn, "INSERT OR REPLACE INTO family VALUES (?, ?)", &st, e));
    db_bind_str(st, 1, str_from(m->family));
    sqlite3_bind_int(st, 2, m->n_steps);
    return db_finish(conn, st, e);
}

err_code db_migrate(db *d, const char *family, const char *const *steps, int n_steps, err *e) {
    migration m = {family, steps, n_steps};
    return db_write(d, migrate, &m, e);
}
