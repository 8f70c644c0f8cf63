/* The queries of the picture jobs. */
#include "store/image_jobs.h"
#include "base/limits.h"
#include "base/vec.h"
#include "store/sql.h"
#include <string.h>

static const char *const STEPS[] = {
    "CREATE TABLE image_job("
    " seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, number REAL NOT NULL,"
    " state INTEGER NOT NULL, client_id TEXT, workflow_id TEXT, graph TEXT NOT NULL,"
    " extra TEXT NOT NULL, targets TEXT NOT NULL, created_ms INTEGER NOT NULL,"
    " started_ms INTEGER NOT NULL DEFAULT 0, ended_ms INTEGER NOT NULL DEFAULT 0,"
    " end_seq INTEGER, outputs TEXT, messages TEXT, meta TEXT);"
    "CREATE INDEX image_job_turn ON image_job(state, number, seq);"
    "CREATE INDEX image_job_end ON image_job(end_seq);"
    "CREATE TABLE image_key(key TEXT PRIMARY KEY, job_id TEXT NOT NULL,"
    " created_ms INTEGER NOT NULL);",
    "ALTER TABLE image_job ADD COLUMN owner TEXT NOT NULL DEFAULT '';",
};

#define COLUMNS                                                                                    \
    "seq, id, number, state, client_id, workflow_id, graph, extra, targets, created_ms,"           \
    " started_ms, ended_ms, outputs, messages, meta, owner"

static err_code requeue(sqlite3 *conn, void *arg, err *e) {
    (void)arg;
    sqlite3_stmt *st;
    TRY(db_prepare(conn, "UPDATE image_job SET state = 0, started_ms = 0 WHERE state = 1", &st, e));
    return db_finish(conn, st, e);
}

err_code image_jobs_migrate(db *d, err *e) {
    TRY(db_migrate(d, "image_jobs", STEPS, COUNT_OF(STEPS), e));
    return db_write(d, requeue, NULL, e);
}

static void read_row(sqlite3_stmt *st, arena *a, image_job *j) {
    *j = (image_job){
        .seq = sqlite3_column_int64(st, 0),
        .id = db_column_str(st, 1, a),
        .number = sqlite3_column_double(st, 2),
        .state = (image_job_state)sqlite3_column_int(st, 3),
        .client_id = db_column_str(st, 4, a),
        .workflow_id = db_column_str(st, 5, a),
        .graph = db_column_str(st, 6, a),
        .extra = db_column_str(st, 7, a),
        .targets = db_column_str(st, 8, a),
        .created_ms = sqlite3_column_int64(st, 9),
        .started_ms = sqlite3_column_int64(st, 10),
        .ended_ms = sqlite3_column_int64(st, 11),
        .outputs = db_column_str(st, 12, a),
        .messages = db_column_str(st, 13, a),
        .meta = db_column_str(st, 14, a),
        .owner = db_column_str(st, 15, a),
    };
}

static err_code insert(sqlite3 *conn, void *arg, err *e) {
    image_job *j = arg;
    sqlite3_stmt *st;
    TRY(db_prepare(conn, "DELETE FROM image_job WHERE id = ? AND state > 1", &st, e));
    db_bind_str(st, 1, j->id);
    TRY(db_finish(conn, st, e));
    TRY(db_prepare(conn,
                   "INSERT INTO image_job(id, number, state, client_id, workflow_id, graph, extra,"
                   " targets, created_ms, owner) VALUES (?, ?, 0, ?, ?, ?, ?, ?, ?, ?)"
                   " ON CONFLICT(id) DO NOTHING",
                   &st, e));
    db_bind_str(st, 1, j->id);
    sqlite3_bind_double(st, 2, j->number);
    db_bind_str(st, 3, j->client_id);
    db_bind_str(st, 4, j->workflow_id);
    db_bind_str(st, 5, j->graph);
    db_bind_str(st, 6, j->extra);
    db_bind_str(st, 7, j->targets);
    sqlite3_bind_int64(st, 8, j->created_ms);
    db_bind_str(st, 9, j->owner.ptr ? j->owner : STR(""));
    TRY(db_finish(conn, st, e));
    if (sqlite3_changes(conn) == 0)
        FAIL(e, INVALID, "a job with the id " STR_FMT " is waiting or running", STR_ARG(j->id));
    j->seq = sqlite3_last_insert_rowid(conn);
    return ERR_OK;
}

err_code image_jobs_insert(db *d, image_job *job, err *e) {
    return db_write(d, insert, job, e);
}

static err_code set_running(sqlite3 *conn, void *arg, err *e) {
    const image_job *j = arg;
    sqlite3_stmt *st;
    TRY(db_prepare(
        conn, "UPDATE image_job SET state = 1, started_ms = ? WHERE id = ? AND state = 0", &st, e));
    sqlite3_bind_int64(st, 1, j->started_ms);
    db_bind_str(st, 2, j->id);
    TRY(db_finish(conn, st, e));
    if (sqlite3_changes(conn) == 0)
        FAIL(e, NOT_FOUND, "job " STR_FMT " is not waiting any more", STR_ARG(j->id));
    return ERR_OK;
}

err_code image_jobs_set_running(db *d, str id, int64_t started_ms, err *e) {
    image_job j = {.id = id, .started_ms = started_ms};
    return db_write(d, set_running, &j, e);
}

static err_code prune(sqlite3 *conn, err *e) {
    sqlite3_stmt *st;
    TRY(db_prepare(conn,
                   "DELETE FROM image_job WHERE end_seq IN (SELECT end_seq FROM image_job"
                   " WHERE end_seq IS NOT NULL ORDER BY end_seq DESC LIMIT -1 OFFSET ?)",
                   &st, e));
    sqlite3_bind_int64(st, 1, LIMIT_HISTORY_JOBS);
    return db_finish(conn, st, e);
}

typedef struct finish_args {
    const image_job *job;
    unsigned from_states;
    bool any;
} finish_args;

static err_code finish(sqlite3 *conn, void *arg, err *e) {
    finish_args *f = arg;
    sqlite3_stmt *st;
    TRY(db_prepare(conn,
                   "UPDATE image_job SET state = ?, ended_ms = ?, outputs = ?, messages = ?,"
                   " meta = ?, end_seq = (SELECT coalesce(max(end_seq), 0) + 1 FROM image_job)"
                   " WHERE id = ? AND (? >> state) & 1",
                   &st, e));
    sqlite3_bind_int(st, 1, (int)f->job->state);
    sqlite3_bind_int64(st, 2, f->job->ended_ms);
    db_bind_str(st, 3, f->job->outputs);
    db_bind_str(st, 4, f->job->messages);
    db_bind_str(st, 5, f->job->meta);
    db_bind_str(st, 6, f->job->id);
    sqlite3_bind_int(st, 7, (int)f->from_states);
    TRY(db_finish(conn, st, e));
    f->any = sqlite3_changes(conn) > 0;
    return prune(conn, e);
}

err_code image_jobs_finish(db *d, const image_job *job, err *e) {
    finish_args f = {.job = job, .from_states = IMAGE_JOBS_LIVE};
    return db_write(d, finish, &f, e);
}

err_code image_jobs_cancel_waiting(db *d, const image_job *job, bool *ret_any, err *e) {
    finish_args f = {.job = job, .from_states = IMAGE_JOBS_WAITING};
    TRY(db_write(d, finish, &f, e));
    *ret_any = f.any;
    return ERR_OK;
}

typedef struct list_args {
    const image_jobs_query *q;
    arena *a;
    VEC(image_job) jobs;
    int64_t total;
} list_args;

#define WHERE                                                                                      \
    " FROM image_job WHERE (?1 >> state) & 1 AND (?2 IS NULL OR workflow_id = ?2)"                 \
    " AND (?5 IS NULL OR owner = ?5)"

static void bind_where(sqlite3_stmt *st, const image_jobs_query *q) {
    sqlite3_bind_int(st, 1, (int)q->states);
    db_bind_str(st, 2, q->workflow_id.len ? q->workflow_id : (str){0});
    db_bind_str(st, 5, q->owner.len ? q->owner : (str){0});
}

static const char *list_sql(const image_jobs_query *q) {
    switch (q->order) {
    case IMAGE_JOBS_BY_TURN:
        break;
    case IMAGE_JOBS_BY_END:
        return "SELECT " COLUMNS WHERE " ORDER BY end_seq LIMIT ?3 OFFSET ?4";
    case IMAGE_JOBS_BY_CREATED:
        return q->desc ? "SELECT " COLUMNS WHERE
                         " ORDER BY created_ms DESC, seq DESC LIMIT ?3 OFFSET ?4"
                       : "SELECT " COLUMNS WHERE " ORDER BY created_ms, seq LIMIT ?3 OFFSET ?4";
    case IMAGE_JOBS_BY_DURATION:
        return q->desc ? "SELECT " COLUMNS WHERE
                         " ORDER BY max(ended_ms - started_ms, 0) DESC, seq DESC LIMIT ?3 OFFSET ?4"
                       : "SELECT " COLUMNS WHERE
                         " ORDER BY max(ended_ms - started_ms, 0), seq LIMIT ?3 OFFSET ?4";
    }
    return "SELECT " COLUMNS WHERE " ORDER BY state DESC, number, seq LIMIT ?3 OFFSET ?4";
}

static err_code list(sqlite3 *conn, void *arg, err *e) {
    list_args *l = arg;
    sqlite3_stmt *st;
    bool row = false;
    TRY(db_prepare(conn, "SELECT count(*)" WHERE, &st, e));
    bind_where(st, l->q);
    err_code code = db_step(conn, st, &row, e);
    l->total = row ? sqlite3_column_int64(st, 0) : 0;
    sqlite3_finalize(st);
    if (code || !l->a) return code;
    TRY(db_prepare(conn, list_sql(l->q), &st, e));
    bind_where(st, l->q);
    sqlite3_bind_int64(st, 3, l->q->limit < 0 ? -1 : l->q->limit);
    sqlite3_bind_int64(st, 4, l->q->offset);
    while (!(code = db_step(conn, st, &row, e)) && row) {
        image_job j;
        read_row(st, l->a, &j);
        VEC_PUSH(l->jobs, j);
    }
    sqlite3_finalize(st);
    return code;
}

err_code image_jobs_list(db *d, const image_jobs_query *q, arena *a, image_jobs_page *ret, err *e) {
    list_args l = {.q = q, .a = a};
    err_code code = db_read(d, list, &l, e);
    if (!code)
        *ret = (image_jobs_page){
            l.jobs.len ? arena_dup(a, l.jobs.items, l.jobs.len * sizeof *l.jobs.items) : NULL,
            l.jobs.len, l.total};
    VEC_FINISH(l.jobs);
    return code;
}

err_code image_jobs_count(db *d, unsigned states, int64_t *ret_n, err *e) {
    image_jobs_query q = {.states = states};
    list_args l = {.q = &q};
    TRY(db_read(d, list, &l, e));
    *ret_n = l.total;
    return ERR_OK;
}

typedef struct find_args {
    str id;
    arena *a;
    image_job *ret;
    int64_t seq;
} find_args;

static err_code find(sqlite3 *conn, void *arg, err *e) {
    find_args *f = arg;
    sqlite3_stmt *st;
    bool row = false;
    TRY(db_prepare(conn, "SELECT " COLUMNS " FROM image_job WHERE id = ?", &st, e));
    db_bind_str(st, 1, f->id);
    err_code code = db_step(conn, st, &row, e);
    if (row) read_row(st, f->a, f->ret);
    sqlite3_finalize(st);
    if (!code && !row) FAIL(e, NOT_FOUND, "there is no job " STR_FMT, STR_ARG(f->id));
    return code;
}

err_code image_jobs_find(db *d, str id, arena *a, image_job *ret, err *e) {
    find_args f = {.id = id, .a = a, .ret = ret};
    return db_read(d, find, &f, e);
}

typedef struct delete_args {
    str id;
    unsigned states;
    bool any;
} delete_args;

static err_code delete (sqlite3 *conn, void *arg, err *e) {
    delete_args *x = arg;
    sqlite3_stmt *st;
    TRY(db_prepare(conn, "DELETE FROM image_job WHERE (? >> state) & 1 AND (? IS NULL OR id = ?)",
                   &st, e));
    str id = x->id.len ? x->id : (str){0};
    sqlite3_bind_int(st, 1, (int)x->states);
    db_bind_str(st, 2, id);
    db_bind_str(st, 3, id);
    TRY(db_finish(conn, st, e));
    x->any = sqlite3_changes(conn) > 0;
    return ERR_OK;
}

err_code image_jobs_delete(db *d, str id, unsigned states, bool *ret_any, err *e) {
    delete_args x = {.id = id, .states = states};
    TRY(db_write(d, delete, &x, e));
    if (ret_any) *ret_any = x.any;
    return ERR_OK;
}

static err_code last_seq(sqlite3 *conn, void *arg, err *e) {
    sqlite3_stmt *st;
    bool row = false;
    TRY(db_prepare(conn, "SELECT seq FROM sqlite_sequence WHERE name = 'image_job'", &st, e));
    err_code code = db_step(conn, st, &row, e);
    *(int64_t *)arg = row ? sqlite3_column_int64(st, 0) : 0;
    sqlite3_finalize(st);
    return code;
}

err_code image_jobs_last_seq(db *d, int64_t *ret_seq, err *e) {
    return db_read(d, last_seq, ret_seq, e);
}

typedef struct key_args {
    str key, job_id;
    int64_t now_ms;
} key_args;

static err_code claim(sqlite3 *conn, void *arg, err *e) {
    key_args *k = arg;
    sqlite3_stmt *st;
    TRY(db_prepare(conn, "DELETE FROM image_key WHERE created_ms < ?", &st, e));
    sqlite3_bind_int64(st, 1, k->now_ms - LIMIT_IDEMPOTENCY_MS);
    TRY(db_finish(conn, st, e));
    TRY(db_prepare(conn, "INSERT INTO image_key VALUES (?, ?, ?) ON CONFLICT(key) DO NOTHING", &st,
                   e));
    db_bind_str(st, 1, k->key);
    db_bind_str(st, 2, k->job_id);
    sqlite3_bind_int64(st, 3, k->now_ms);
    TRY(db_finish(conn, st, e));
    if (sqlite3_changes(conn) == 0) FAIL(e, BUSY, "this Idempotency-Key was used before");
    return ERR_OK;
}

err_code image_keys_claim(db *d, str key, str job_id, int64_t now_ms, err *e) {
    key_args k = {key, job_id, now_ms};
    return db_write(d, claim, &k, e);
}

static err_code release(sqlite3 *conn, void *arg, err *e) {
    key_args *k = arg;
    sqlite3_stmt *st;
    TRY(db_prepare(conn, "DELETE FROM image_key WHERE key = ?", &st, e));
    db_bind_str(st, 1, k->key);
    return db_finish(conn, st, e);
}

err_code image_keys_release(db *d, str key, err *e) {
    key_args k = {.key = key};
    return db_write(d, release, &k, e);
}

err_code image_jobs_turns(db *d, arena *a, image_turns *ret, err *e) {
    return sql_texts(d,
                     SQL("SELECT id FROM image_job WHERE state IN (?, ?)"
                         " ORDER BY state DESC, number, seq",
                         sql_int(IMAGE_JOB_QUEUED), sql_int(IMAGE_JOB_RUNNING)),
                     a, &ret->ids, &ret->n, e);
}
