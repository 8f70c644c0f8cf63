/* Files that people gave to their chats, and what was read from them: text, passages (chunks),
 * their vectors and a full-text index. A collection ("knowledge", an item) holds files.
 *
 * The bytes lie in a directory of the API's; here is what is known of them. Vectors are normalised
 * 32-bit floats. Threads: any. Texts returned live in `a`. */
#pragma once
#include "store/db.h"

typedef struct file_row {
    str id, user_id, name, mime, hash; /* hash: SHA-256, hex */
    str state, error;                  /* "pending", "completed", "failed" */
    str text;                          /* what was read from it; only files_find gives it */
    int64_t n_bytes, n_chunks, created_ms;
} file_row;

err_code files_migrate(db *d, err *e);
err_code files_add(db *d, const file_row *f, err *e);                             /* LIMIT */
err_code files_find(db *d, str user_id, str id, arena *a, file_row *ret, err *e); /* NOT_FOUND */
/* One with like's user_id, hash and mime; NOT_FOUND. */
err_code files_find_same(db *d, const file_row *like, arena *a, file_row *ret, err *e);
err_code files_list(db *d, str user_id, arena *a, file_row **ret, size_t *ret_n, err *e);
err_code files_set_state(db *d, str id, str state, str error, err *e);
err_code files_set_text(db *d, str id, str text, err *e);
err_code files_delete(db *d, str user_id, str id, bool *ret_any, err *e);
/* Marks a file as pending; *ret_mine false when somebody else has done so. */
err_code files_begin(db *d, str id, bool *ret_mine, err *e);
/* At start: those whose work was cut off. */
err_code files_pending(db *d, arena *a, file_row **ret, size_t *ret_n, err *e);

/* Collections. */
err_code knowledge_put_file(db *d, str knowledge_id, str file_id, err *e);
err_code knowledge_drop_file(db *d, str knowledge_id, str file_id, err *e); /* empty id: all */
typedef struct file_list {
    file_row *items; /* [n] */
    size_t n;
} file_list;
err_code knowledge_files(db *d, str user_id, str knowledge_id, arena *a, file_list *ret, err *e);

typedef struct chunk {
    int64_t id;        /* set by the table */
    str file_id, name; /* name: of the file */
    int64_t index;     /* in the file */
    str text;
    const float *vec; /* [n_vec] or NULL */
    size_t n_vec;
} chunk;

typedef struct chunk_source {
    str file_id;
    str embedder; /* the model that made the vectors; empty: none */
} chunk_source;
/* Replaces all of a file's. */
err_code chunks_put(db *d, const chunk_source *from, const chunk *list, size_t n, err *e);

/* Which files a search looks at: the user's, and of them these files or those in these
 * collections. */
typedef struct chunk_scope {
    str user_id;
    str ids; /* JSON list of ids of files and collections; empty: all of the user's */
    int64_t limit;
} chunk_scope;

/* Files with passages that another model than this one embedded, or none; empty: all of them. */
err_code files_stale(db *d, const chunk_scope *s, str embedder, arena *a, file_list *ret, err *e);

typedef struct chunk_list {
    chunk *items; /* [n] */
    size_t n;
} chunk_list;
/* Best first by BM25; at most s->limit. Without vectors. */
err_code chunks_match(db *d, const chunk_scope *s, str query, arena *a, chunk_list *ret, err *e);
/* Every chunk with a vector of this model, n_vec long, in turn: the chunk lives during the call
 * only. */
typedef struct chunk_visit {
    str embedder;
    size_t n_vec;
    void (*take)(const chunk *c, void *arg);
    void *arg;
} chunk_visit;
err_code chunks_each(db *d, const chunk_scope *s, const chunk_visit *v, err *e);
/* By id. */
err_code chunks_find(db *d, const chunk_scope *s, int64_t id, arena *a, chunk *ret, err *e);
