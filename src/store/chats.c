/* Tables: chat. Messages are in messages.c, on the same family of tables. */
#include "store/chats.h"
#include "base/buf.h"
#include "base/limits.h"
#include "base/map.h"
#include "base/vec.h"
#include "store/sql.h"
#include "store/words.h"
#include <string.h>

#define LIVE "('queued','loading','reading','thinking','writing','running')"

static const char *const STEPS[] = {
    "CREATE TABLE chat(id TEXT PRIMARY KEY,"
    " user_id TEXT NOT NULL REFERENCES user(id) ON DELETE CASCADE, title TEXT NOT NULL,"
    " model TEXT NOT NULL, system TEXT NOT NULL, params TEXT NOT NULL, meta TEXT NOT NULL,"
    " folder_id TEXT NOT NULL, current_id TEXT NOT NULL, share_id TEXT NOT NULL,"
    " pinned INTEGER NOT NULL, archived INTEGER NOT NULL, titled INTEGER NOT NULL,"
    " created_ms INTEGER NOT NULL, updated_ms INTEGER NOT NULL);"
    "CREATE INDEX chat_list ON chat(user_id, archived, updated_ms DESC, id DESC);"
    "CREATE INDEX chat_share ON chat(share_id) WHERE share_id <> '';"
    "CREATE TABLE message(seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE,"
    " chat_id TEXT NOT NULL REFERENCES chat(id) ON DELETE CASCADE, parent_id TEXT NOT NULL,"
    " role TEXT NOT NULL, content TEXT NOT NULL, thinking TEXT NOT NULL, model TEXT NOT NULL,"
    " state TEXT NOT NULL, error TEXT NOT NULL, files TEXT NOT NULL, sources TEXT NOT NULL,"
    " usage TEXT NOT NULL, picture TEXT NOT NULL, extra TEXT NOT NULL,"
    " created_ms INTEGER NOT NULL, indexed INTEGER NOT NULL DEFAULT 0);"
    "CREATE INDEX message_chat ON message(chat_id, seq);"
    "CREATE INDEX message_live ON message(chat_id) WHERE state IN " LIVE ";"
    "CREATE VIRTUAL TABLE message_fts USING fts5(content, content='message', content_rowid='seq',"
    " tokenize='unicode61 remove_diacritics 2');"
    /* a message is in the index while `indexed` is set; its text changes only while it is not */
    "CREATE TRIGGER message_index AFTER UPDATE OF indexed ON message"
    " WHEN new.indexed = 1 AND old.indexed = 0 BEGIN"
    " INSERT INTO message_fts(rowid, content) VALUES (new.seq, new.content); END;"
    "CREATE TRIGGER message_unindex AFTER UPDATE OF indexed ON message"
    " WHEN new.indexed = 0 AND old.indexed = 1 BEGIN"
    " INSERT INTO message_fts(message_fts, rowid, content)"
    " VALUES ('delete', old.seq, old.content); END;"
    "CREATE TRIGGER message_gone AFTER DELETE ON message WHEN old.indexed = 1 BEGIN"
    " INSERT INTO message_fts(message_fts, rowid, content)"
    " VALUES ('delete', old.seq, old.content); END;",
    /* what a shared link shows; links of before showed the chat itself */
    "CREATE TABLE shared_chat(id TEXT PRIMARY KEY,"
    " chat_id TEXT NOT NULL UNIQUE REFERENCES chat(id) ON DELETE CASCADE, body TEXT NOT NULL,"
    " shared_ms INTEGER NOT NULL);"
    "DROP INDEX chat_share; UPDATE chat SET share_id = '';",
    /* the files that a shared chat shows; those of older ones are read from their bodies */
    "CREATE TABLE shared_file(share_id TEXT NOT NULL REFERENCES shared_chat(id) ON DELETE CASCADE,"
    " file_id TEXT NOT NULL, PRIMARY KEY (share_id, file_id)) WITHOUT ROWID;"
    "INSERT OR IGNORE INTO shared_file SELECT s.id, json_extract(f.value, '$.id')"
    " FROM shared_chat s, json_each(s.body, '$.chat.history.messages') m, json_each(m.value,"
    " '$.files') f WHERE json_extract(f.value, '$.id') IS NOT NULL;"
    "INSERT OR IGNORE INTO shared_file SELECT s.id, json_extract(f.value, '$.id')"
    " FROM shared_chat s, json_each(s.body, '$.chat.history.messages') m, json_each(m.value,"
    " '$.picture.files') f WHERE json_extract(f.value, '$.id') IS NOT NULL;",
};

#define CHAT                                                                                       \
    "c.id, c.user_id, c.title, c.model, c.system, c.params, c.meta, c.folder_id, c.current_id,"    \
    " c.share_id, c.pinned, c.archived, c.titled, c.created_ms, c.updated_ms,"                     \
    " EXISTS (SELECT 1 FROM message l WHERE l.chat_id = c.id AND l.state IN " LIVE ")"

err_code chats_migrate(db *d, err *e) {
    return db_migrate(d, "chats", STEPS, COUNT_OF(STEPS), e);
}

static str or_empty(str s) {
    return s.ptr ? s : STR("");
}

typedef struct found {
    arena *a;
    VEC(chat) list;
} found;

static chat read_chat(sqlite3_stmt *st, arena *a) {
    return (chat){.id = db_column_str(st, 0, a),
                  .user_id = db_column_str(st, 1, a),
                  .title = db_column_str(st, 2, a),
                  .model = db_column_str(st, 3, a),
                  .system = db_column_str(st, 4, a),
                  .params = db_column_str(st, 5, a),
                  .meta = db_column_str(st, 6, a),
                  .folder_id = db_column_str(st, 7, a),
                  .current_id = db_column_str(st, 8, a),
                  .share_id = db_column_str(st, 9, a),
                  .pinned = sqlite3_column_int(st, 10) != 0,
                  .archived = sqlite3_column_int(st, 11) != 0,
                  .titled = sqlite3_column_int(st, 12) != 0,
                  .created_ms = sqlite3_column_int64(st, 13),
                  .updated_ms = sqlite3_column_int64(st, 14),
                  .has_live = sqlite3_column_int(st, 15) != 0};
}

static void take_chat(sqlite3_stmt *st, void *arg) {
    found *f = arg;
    VEC_PUSH(f->list, read_chat(st, f->a));
}

static err_code add_chat(sqlite3 *conn, const chat *c, err *e) {
    int64_t n;
    TRY(sql_exec(
        conn,
        SQL("INSERT INTO chat SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, '', ?10, ?11, ?12,"
            " ?13, ?14 WHERE (SELECT count(*) FROM chat WHERE user_id = ?2) < ?15",
            sql_text(c->id), sql_text(c->user_id), sql_text(or_empty(c->title)),
            sql_text(or_empty(c->model)), sql_text(or_empty(c->system)),
            sql_text(c->params.len ? c->params : STR("{}")),
            sql_text(c->meta.len ? c->meta : STR("{}")), sql_text(or_empty(c->folder_id)),
            sql_text(or_empty(c->current_id)), sql_int(c->pinned), sql_int(c->archived),
            sql_int(c->titled), sql_int(c->created_ms), sql_int(c->updated_ms),
            sql_int(LIMIT_WEB_CHATS)),
        &n, e));
    if (n == 0) FAIL(e, LIMIT, "there are %d chats already; delete some", LIMIT_WEB_CHATS);
    return ERR_OK;
}

typedef struct whole_args {
    const chat *c;
    const message *list;
    size_t n;
} whole_args;

static err_code add_whole(sqlite3 *conn, void *arg, err *e) {
    const whole_args *x = arg;
    TRY(add_chat(conn, x->c, e));
    return messages_insert(conn, x->c->id, x->list, x->n, e);
}

err_code chats_add(db *d, const chat *c, const message *list, size_t n, err *e) {
    whole_args x = {c, list, n};
    return db_write(d, add_whole, &x, e);
}

static err_code one(db *d, sql s, arena *a, chat *ret, err *e) {
    found f = {.a = a};
    err_code code = sql_each(d, s, take_chat, &f, e);
    bool any = f.list.len > 0;
    if (any) *ret = f.list.items[0];
    VEC_FINISH(f.list);
    if (!code && !any) FAIL(e, NOT_FOUND, "there is no such chat");
    return code;
}

err_code chats_find(db *d, str user_id, str id, arena *a, chat *ret, err *e) {
    return one(d,
               SQL("SELECT " CHAT " FROM chat c WHERE c.id = ? AND c.user_id = ?", sql_text(id),
                   sql_text(user_id)),
               a, ret, e);
}

static str one_name(db *d, sql s, arena *a) {
    str *names;
    size_t n;
    sql_texts(d, s, a, &names, &n, NULL);
    return n ? names[0] : STR("");
}

str chats_owner(db *d, str id, arena *a) {
    return one_name(d, SQL("SELECT user_id FROM chat WHERE id = ?", sql_text(id)), a);
}

str chats_of_message(db *d, str user_id, str message_id, arena *a) {
    return one_name(d,
                    SQL("SELECT c.id FROM message m JOIN chat c ON c.id = m.chat_id"
                        " WHERE m.id = ? AND c.user_id = ?",
                        sql_text(message_id), sql_text(user_id)),
                    a);
}

err_code chats_tags(db *d, str user_id, arena *a, str_list *ret, err *e) {
    return sql_texts(
        d,
        SQL("SELECT DISTINCT t.value FROM chat c, json_each(c.meta, '$.tags') t"
            " WHERE c.user_id = ? AND json_valid(c.meta) AND t.type = 'text' ORDER BY 1",
            sql_text(user_id)),
        a, &ret->items, &ret->n, e);
}

err_code chats_update(db *d, const chat *c, err *e) {
    return sql_run(
        d,
        SQL("UPDATE chat SET title = ?2, model = ?3, system = ?4, params = ?5, meta = ?6,"
            " folder_id = ?7, current_id = coalesce(?8, current_id), pinned = ?9, archived = ?10,"
            " titled = ?11, updated_ms = ?12 WHERE id = ?1",
            sql_text(c->id), sql_text(or_empty(c->title)), sql_text(or_empty(c->model)),
            sql_text(or_empty(c->system)), sql_text(c->params.len ? c->params : STR("{}")),
            sql_text(c->meta.len ? c->meta : STR("{}")), sql_text(or_empty(c->folder_id)),
            sql_text(c->current_id), sql_int(c->pinned), sql_int(c->archived), sql_int(c->titled),
            sql_int(c->updated_ms)),
        NULL, e);
}

err_code chats_touch(db *d, const chat *c, err *e) {
    return sql_run(d,
                   SQL("UPDATE chat SET updated_ms = max(updated_ms, ?2),"
                       " model = CASE WHEN ?3 = '' THEN model ELSE ?3 END,"
                       " title = CASE WHEN ?4 = '' OR titled THEN title ELSE ?4 END WHERE id = ?1",
                       sql_text(c->id), sql_int(c->updated_ms), sql_text(or_empty(c->model)),
                       sql_text(or_empty(c->title))),
                   NULL, e);
}

err_code chats_set_title(db *d, str id, str title, err *e) {
    return sql_run(d,
                   SQL("UPDATE chat SET title = ?2, titled = 1 WHERE id = ?1 AND titled = 0",
                       sql_text(id), sql_text(title)),
                   NULL, e);
}

err_code chats_delete(db *d, str user_id, str id, bool *ret_any, err *e) {
    int64_t n;
    TRY(sql_run(d,
                SQL("DELETE FROM chat WHERE user_id = ?1 AND (?2 = '' OR id = ?2)",
                    sql_text(user_id), sql_text(or_empty(id))),
                &n, e));
    *ret_any = n > 0;
    return ERR_OK;
}

err_code chats_leave_folder(db *d, str user_id, str folder_id, err *e) {
    return sql_run(d,
                   SQL("UPDATE chat SET folder_id = '' WHERE user_id = ? AND folder_id = ?",
                       sql_text(user_id), sql_text(folder_id)),
                   NULL, e);
}

err_code chats_archive_all(db *d, str user_id, bool archived, err *e) {
    return sql_run(d,
                   SQL("UPDATE chat SET archived = ?2 WHERE user_id = ?1", sql_text(user_id),
                       sql_int(archived)),
                   NULL, e);
}

err_code chats_list(db *d, const chats_query *q, arena *a, chat **ret, size_t *ret_n, err *e) {
    found f = {.a = a};
    static const char *const which[] = {
        [CHATS_LISTED] = " AND c.archived = 0",
        [CHATS_PINNED] = " AND c.archived = 0 AND c.pinned = 1",
        [CHATS_ARCHIVED] = " AND c.archived = 1",
        [CHATS_ALL] = "",
        [CHATS_FOLDER] = " AND c.archived = 0 AND c.folder_id = ?6",
    };
    str text = str_fmt(a,
                       "SELECT " CHAT " FROM chat c WHERE c.user_id = ?1"
                       " AND (?2 = 0 OR c.updated_ms < ?2 OR (c.updated_ms = ?2 AND c.id < ?3))"
                       "%s ORDER BY c.updated_ms DESC, c.id DESC LIMIT ?4 OFFSET ?5",
                       which[q->which]);
    sql s = SQL("", sql_text(q->user_id), sql_int(q->before_ms), sql_text(or_empty(q->before_id)),
                sql_int(q->limit), sql_int(q->offset), sql_text(or_empty(q->folder_id)));
    s.text = text.ptr;
    if (q->which != CHATS_FOLDER) s.n_values--;
    err_code code = sql_each(d, s, take_chat, &f, e);
    *ret_n = f.list.len;
    *ret = sql_keep(a, f.list.items, f.list.len * sizeof *f.list.items);
    VEC_FINISH(f.list);
    return code;
}

/* ---- search ---- */

typedef struct hits {
    arena *a;
    map seen;
    VEC(chat_hit) list;
} hits;

static void take_hit(sqlite3_stmt *st, void *arg) {
    hits *h = arg;
    chat_hit hit = {.chat = read_chat(st, h->a)};
    if (h->list.len >= LIMIT_WEB_HITS || !map_put(&h->seen, hit.chat.id, 1)) return;
    hit.message_id = db_column_str(st, 16, h->a);
    hit.snippet = db_column_str(st, 17, h->a);
    VEC_PUSH(h->list, hit);
}

/* A tag's id (lower case, '_' for spaces) among the chat's, or none asked for. */
#define TAGGED                                                                                     \
    " AND (?3 = '' OR (json_valid(c.meta) AND EXISTS (SELECT 1 FROM json_each(c.meta, '$.tags') t" \
    " WHERE replace(lower(t.value), ' ', '_') = lower(?3))))"

static err_code search(db *d, str user_id, str text, str tag, hits *h, err *e) {
    str match = words_match(h->a, text);
    TRY(sql_each(d,
                 SQL("SELECT " CHAT ", '', '' FROM chat c WHERE c.user_id = ?1"
                     " AND has_words(c.title, ?2)" TAGGED " ORDER BY c.updated_ms DESC LIMIT 30",
                     sql_text(user_id), sql_text(text), sql_text(tag)),
                 take_hit, h, e));
    if (match.len == 0) return ERR_OK;
    size_t n_titles = h->list.len;
    /* the best message of each chat first, then its snippet: one chat full of hits hides no other
     */
    TRY(sql_each(d,
                 SQL("WITH best AS MATERIALIZED (SELECT m.seq AS seq, min(f.rank) AS r FROM"
                     " (SELECT rowid, rank FROM message_fts WHERE message_fts MATCH ?1) f"
                     " JOIN message m ON m.seq = f.rowid JOIN chat c ON c.id = m.chat_id"
                     " WHERE c.user_id = ?2" TAGGED " GROUP BY c.id ORDER BY r LIMIT 200)"
                     " SELECT " CHAT ", m.id, snippet(message_fts, 0, char(2), char(3), '…', 24)"
                     " FROM best JOIN message_fts ON message_fts.rowid = best.seq"
                     " JOIN message m ON m.seq = best.seq JOIN chat c ON c.id = m.chat_id"
                     " WHERE message_fts MATCH ?1 ORDER BY best.r",
                     sql_text(match), sql_text(user_id), sql_text(tag)),
                 take_hit, h, e));
    if (h->list.len > n_titles) return ERR_OK;
    /* the middle of a word, or a script without spaces: look at the texts themselves */
    return sql_each(
        d,
        SQL("SELECT " CHAT ", m.id, substr(m.content, max(1, instr(lower(m.content), lower(?2)) -"
            " 60), 160) FROM chat c JOIN message m ON m.chat_id = c.id WHERE c.user_id = ?1"
            " AND instr(lower(m.content), lower(?2))" TAGGED " ORDER BY m.seq DESC LIMIT 200",
            sql_text(user_id), sql_text(text), sql_text(tag)),
        take_hit, h, e);
}

err_code chats_search(db *d, str user_id, str text, arena *a, chat_hits *ret, err *e) {
    hits h = {.a = a};
    text = str_trim(text);
    str tag = STR("");
    if (str_starts(text, STR("tag:"))) {
        text = str_sub(text, 4, text.len);
        tag = str_cut(&text, ' ');
        text = str_trim(or_empty(text));
    }
    err_code code = text.len || tag.len ? search(d, user_id, text, tag, &h, e) : ERR_OK;
    ret->n = h.list.len;
    ret->items = sql_keep(a, h.list.items, h.list.len * sizeof *h.list.items);
    VEC_FINISH(h.list);
    map_finish(&h.seen);
    return code;
}
