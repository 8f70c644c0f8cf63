/* Tables: file, knowledge_file, chunk. */
#include "store/files.h"
#include "base/buf.h"
#include "base/limits.h"
#include "base/vec.h"
#include "store/sql.h"
#include <string.h>

static const char *const STEPS[] = {
    "CREATE TABLE file(id TEXT PRIMARY KEY,"
    " user_id TEXT NOT NULL REFERENCES user(id) ON DELETE CASCADE, name TEXT NOT NULL,"
    " mime TEXT NOT NULL, hash TEXT NOT NULL, state TEXT NOT NULL, error TEXT NOT NULL,"
    " text TEXT NOT NULL, n_bytes INTEGER NOT NULL, created_ms INTEGER NOT NULL);"
    "CREATE INDEX file_user ON file(user_id, created_ms DESC);"
    "CREATE TABLE knowledge_file(knowledge_id TEXT NOT NULL,"
    " file_id TEXT NOT NULL REFERENCES file(id) ON DELETE CASCADE,"
    " PRIMARY KEY (knowledge_id, file_id)) WITHOUT ROWID;"
    "CREATE INDEX knowledge_of ON knowledge_file(file_id);"
    "CREATE TABLE chunk(id INTEGER PRIMARY KEY AUTOINCREMENT,"
    " file_id TEXT NOT NULL REFERENCES file(id) ON DELETE CASCADE, i INTEGER NOT NULL,"
    " text TEXT NOT NULL, vec BLOB);"
    "CREATE INDEX chunk_file ON chunk(file_id, i);"
    "CREATE VIRTUAL TABLE chunk_fts USING fts5(text, content='chunk', content_rowid='id',"
    " tokenize='porter unicode61 remove_diacritics 2');"
    "CREATE TRIGGER chunk_added AFTER INSERT ON chunk BEGIN"
    " INSERT INTO chunk_fts(rowid, text) VALUES (new.id, new.text); END;"
    "CREATE TRIGGER chunk_gone AFTER DELETE ON chunk BEGIN"
    " INSERT INTO chunk_fts(chunk_fts, rowid, text) VALUES ('delete', old.id, old.text); END;",
    /* vectors of before are of a model that nobody noted: they are made again */
    "ALTER TABLE file ADD COLUMN embedder TEXT NOT NULL DEFAULT '';",
};

#define FILE_ROW                                                                                   \
    "f.id, f.user_id, f.name, f.mime, f.hash, f.state, f.error, f.n_bytes, f.created_ms,"          \
    " (SELECT count(*) FROM chunk WHERE file_id = f.id)"

err_code files_migrate(db *d, err *e) {
    return db_migrate(d, "files", STEPS, COUNT_OF(STEPS), e);
}

err_code files_add(db *d, const file_row *f, err *e) {
    int64_t n;
    TRY(sql_number(d, SQL("SELECT count(*) FROM file WHERE user_id = ?", sql_text(f->user_id)), &n,
                   e));
    if (n >= LIMIT_WEB_FILES)
        FAIL(e, LIMIT, "there are %d files already; delete some", LIMIT_WEB_FILES);
    TRY(sql_number(
        d,
        SQL("SELECT coalesce(sum(n_bytes), 0) FROM file WHERE user_id = ?", sql_text(f->user_id)),
        &n, e));
    if (n + f->n_bytes > LIMIT_WEB_FILES_BYTES)
        FAIL(e, LIMIT, "your files have %lld bytes already, at most %lld are kept: delete some",
             (long long)n, LIMIT_WEB_FILES_BYTES);
    return sql_run(d,
                   SQL("INSERT INTO file(id, user_id, name, mime, hash, state, error, text,"
                       " n_bytes, created_ms) VALUES (?, ?, ?, ?, ?, ?, '', '', ?, ?)",
                       sql_text(f->id), sql_text(f->user_id), sql_text(f->name), sql_text(f->mime),
                       sql_text(f->hash), sql_text(f->state), sql_int(f->n_bytes),
                       sql_int(f->created_ms)),
                   NULL, e);
}

typedef struct found {
    arena *a;
    VEC(file_row) list;
} found;

static void take(sqlite3_stmt *st, void *arg) {
    found *f = arg;
    file_row row = {.id = db_column_str(st, 0, f->a),
                    .user_id = db_column_str(st, 1, f->a),
                    .name = db_column_str(st, 2, f->a),
                    .mime = db_column_str(st, 3, f->a),
                    .hash = db_column_str(st, 4, f->a),
                    .state = db_column_str(st, 5, f->a),
                    .error = db_column_str(st, 6, f->a),
                    .n_bytes = sqlite3_column_int64(st, 7),
                    .created_ms = sqlite3_column_int64(st, 8),
                    .n_chunks = sqlite3_column_int64(st, 9)};
    if (sqlite3_column_count(st) > 10) row.text = db_column_str(st, 10, f->a);
    VEC_PUSH(f->list, row);
}

static err_code gather(db *d, sql s, arena *a, file_row **ret, size_t *ret_n, err *e) {
    found f = {.a = a};
    err_code code = sql_each(d, s, take, &f, e);
    *ret_n = f.list.len;
    *ret = sql_keep(a, f.list.items, f.list.len * sizeof *f.list.items);
    VEC_FINISH(f.list);
    return code;
}

err_code files_find(db *d, str user_id, str id, arena *a, file_row *ret, err *e) {
    file_row *list;
    size_t n;
    TRY(gather(d,
               SQL("SELECT " FILE_ROW ", f.text FROM file f WHERE f.id = ? AND f.user_id = ?",
                   sql_text(id), sql_text(user_id)),
               a, &list, &n, e));
    if (n == 0) FAIL(e, NOT_FOUND, "there is no such file");
    *ret = list[0];
    return ERR_OK;
}

err_code files_find_same(db *d, const file_row *like, arena *a, file_row *ret, err *e) {
    file_row *list;
    size_t n;
    TRY(gather(d,
               SQL("SELECT " FILE_ROW " FROM file f WHERE f.user_id = ? AND f.hash = ?"
                   " AND f.mime = ? LIMIT 1",
                   sql_text(like->user_id), sql_text(like->hash), sql_text(like->mime)),
               a, &list, &n, e));
    if (n == 0) FAIL(e, NOT_FOUND, "there is no such file");
    *ret = list[0];
    return ERR_OK;
}

err_code files_list(db *d, str user_id, arena *a, file_row **ret, size_t *ret_n, err *e) {
    return gather(d,
                  SQL("SELECT " FILE_ROW " FROM file f WHERE f.user_id = ?"
                      " ORDER BY f.created_ms DESC, f.id",
                      sql_text(user_id)),
                  a, ret, ret_n, e);
}

err_code files_pending(db *d, arena *a, file_row **ret, size_t *ret_n, err *e) {
    return gather(d, (sql){.text = "SELECT " FILE_ROW " FROM file f WHERE f.state = 'pending'"}, a,
                  ret, ret_n, e);
}

err_code files_set_state(db *d, str id, str state, str error, err *e) {
    return sql_run(d,
                   SQL("UPDATE file SET state = ?, error = ? WHERE id = ?", sql_text(state),
                       sql_text(error.ptr ? error : STR("")), sql_text(id)),
                   NULL, e);
}

err_code files_begin(db *d, str id, bool *ret_mine, err *e) {
    int64_t n;
    TRY(sql_run(
        d,
        SQL("UPDATE file SET state = 'pending' WHERE id = ? AND state <> 'pending'", sql_text(id)),
        &n, e));
    *ret_mine = n > 0;
    return ERR_OK;
}

err_code files_set_text(db *d, str id, str text, err *e) {
    return sql_run(d, SQL("UPDATE file SET text = ? WHERE id = ?", sql_text(text), sql_text(id)),
                   NULL, e);
}

err_code files_delete(db *d, str user_id, str id, bool *ret_any, err *e) {
    int64_t n;
    TRY(sql_run(
        d, SQL("DELETE FROM file WHERE id = ? AND user_id = ?", sql_text(id), sql_text(user_id)),
        &n, e));
    *ret_any = n > 0;
    return ERR_OK;
}

err_code knowledge_put_file(db *d, str knowledge_id, str file_id, err *e) {
    return sql_run(d,
                   SQL("INSERT OR IGNORE INTO knowledge_file VALUES (?, ?)", sql_text(knowledge_id),
                       sql_text(file_id)),
                   NULL, e);
}

err_code knowledge_drop_file(db *d, str knowledge_id, str file_id, err *e) {
    return sql_run(d,
                   SQL("DELETE FROM knowledge_file WHERE knowledge_id = ?1"
                       " AND (?2 = '' OR file_id = ?2)",
                       sql_text(knowledge_id), sql_text(file_id.ptr ? file_id : STR(""))),
                   NULL, e);
}

err_code knowledge_files(db *d, str user_id, str knowledge_id, arena *a, file_list *ret, err *e) {
    return gather(d,
                  SQL("SELECT " FILE_ROW " FROM knowledge_file k JOIN file f ON f.id = k.file_id"
                      " WHERE k.knowledge_id = ? AND f.user_id = ? ORDER BY f.name, f.id",
                      sql_text(knowledge_id), sql_text(user_id)),
                  a, &ret->items, &ret->n, e);
}

/* ---- passages ---- */

typedef struct put_args {
    const chunk_source *from;
    const chunk *list;
    size_t n;
} put_args;

static err_code put(sqlite3 *conn, void *arg, err *e) {
    put_args *p = arg;
    str file_id = p->from->file_id;
    TRY(sql_exec(conn, SQL("DELETE FROM chunk WHERE file_id = ?", sql_text(file_id)), NULL, e));
    TRY(sql_exec(conn,
                 SQL("UPDATE file SET embedder = ? WHERE id = ?", sql_text(p->from->embedder),
                     sql_text(file_id)),
                 NULL, e));
    for (size_t i = 0; i < p->n; i++)
        TRY(sql_exec(conn,
                     SQL("INSERT INTO chunk(file_id, i, text, vec) VALUES (?, ?, ?, ?)",
                         sql_text(file_id), sql_int(p->list[i].index), sql_text(p->list[i].text),
                         sql_blob(p->list[i].vec, p->list[i].n_vec * sizeof(float))),
                     NULL, e));
    return ERR_OK;
}

err_code chunks_put(db *d, const chunk_source *from, const chunk *list, size_t n, err *e) {
    put_args p = {from, list, n};
    return db_write(d, put, &p, e);
}

#define IN_SCOPE                                                                                   \
    " f.user_id = ?1 AND (?2 = '' OR f.id IN (SELECT value FROM json_each(?2)) OR f.id IN"         \
    " (SELECT file_id FROM knowledge_file WHERE knowledge_id IN"                                   \
    " (SELECT value FROM json_each(?2))))"

err_code files_stale(db *d, const chunk_scope *s, str embedder, arena *a, file_list *ret, err *e) {
    return gather(d,
                  SQL("SELECT " FILE_ROW " FROM file f WHERE f.state = 'completed' AND"
                      " (?3 = '' OR f.embedder <> ?3) AND"
                      " EXISTS (SELECT 1 FROM chunk WHERE file_id = f.id) AND" IN_SCOPE,
                      sql_text(s->user_id), sql_text(s->ids), sql_text(embedder)),
                  a, &ret->items, &ret->n, e);
}

typedef struct chunks_found {
    arena *a;
    VEC(chunk) list;
} chunks_found;

static void take_chunk(sqlite3_stmt *st, void *arg) {
    chunks_found *f = arg;
    VEC_PUSH(f->list, (chunk){.id = sqlite3_column_int64(st, 0),
                              .file_id = db_column_str(st, 1, f->a),
                              .name = db_column_str(st, 2, f->a),
                              .index = sqlite3_column_int64(st, 3),
                              .text = db_column_str(st, 4, f->a)});
}

static void hand_on(sqlite3_stmt *st, void *arg) {
    const chunk_visit *v = arg;
    size_t n_bytes = (size_t)sqlite3_column_bytes(st, 1);
    if (n_bytes != v->n_vec * sizeof(float)) return;
    chunk c = {
        .id = sqlite3_column_int64(st, 0), .vec = sqlite3_column_blob(st, 1), .n_vec = v->n_vec};
    v->take(&c, v->arg);
}

/* Any of the words, best first: a question is not an expression. */
static str match_text(arena *a, str text) {
    buf b = {0};
    size_t n_words = 0;
    while (text.len && n_words < 64) {
        size_t n = 0;
        while (n < text.len && !strchr(" \t\r\n\"", text.ptr[n])) n++;
        if (n) buf_putf(&b, "%s\"" STR_FMT "\"", n_words++ ? " OR " : "", (int)n, text.ptr);
        text = str_sub(text, n + 1, text.len);
    }
    str out = str_dup(a, buf_str(&b));
    buf_finish(&b);
    return out;
}

err_code chunks_match(db *d, const chunk_scope *s, str query, arena *a, chunk_list *ret, err *e) {
    chunks_found f = {.a = a};
    str match = match_text(a, query);
    *ret = (chunk_list){0};
    if (match.len == 0) return ERR_OK;
    err_code code =
        sql_each(d,
                 SQL("SELECT c.id, c.file_id, f.name, c.i, c.text FROM chunk_fts"
                     " JOIN chunk c ON c.id = chunk_fts.rowid"
                     " JOIN file f ON f.id = c.file_id"
                     " WHERE chunk_fts MATCH ?3 AND" IN_SCOPE " ORDER BY rank LIMIT ?4",
                     sql_text(s->user_id), sql_text(s->ids), sql_text(match), sql_int(s->limit)),
                 take_chunk, &f, e);
    ret->n = f.list.len;
    ret->items = sql_keep(a, f.list.items, f.list.len * sizeof *f.list.items);
    VEC_FINISH(f.list);
    return code;
}

err_code chunks_each(db *d, const chunk_scope *s, const chunk_visit *v, err *e) {
    return sql_each(d,
                    SQL("SELECT c.id, c.vec FROM chunk c JOIN file f ON f.id = c.file_id"
                        " WHERE c.vec IS NOT NULL AND f.embedder = ?3 AND" IN_SCOPE " LIMIT ?4",
                        sql_text(s->user_id), sql_text(s->ids), sql_text(v->embedder),
                        sql_int(LIMIT_WEB_SCANNED)),
                    hand_on, (void *)(uintptr_t)v, e);
}

err_code chunks_find(db *d, const chunk_scope *s, int64_t id, arena *a, chunk *ret, err *e) {
    chunks_found f = {.a = a};
    err_code code = sql_each(d,
                             SQL("SELECT c.id, c.file_id, f.name, c.i, c.text FROM chunk c"
                                 " JOIN file f ON f.id = c.file_id WHERE c.id = ?3 AND" IN_SCOPE,
                                 sql_text(s->user_id), sql_text(s->ids), sql_int(id)),
                             take_chunk, &f, e);
    bool any = f.list.len > 0;
    if (any) *ret = f.list.items[0];
    VEC_FINISH(f.list);
    if (!code && !any) FAIL(e, NOT_FOUND, "there is no such passage");
    return code;
}
