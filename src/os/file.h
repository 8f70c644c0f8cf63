/* Files: read-only mappings, whole reads, durable writes, directories.
 *
 * Writes are atomic: a new file is written beside its target, flushed and renamed over it, then the
 * directory is flushed, so a crash leaves the old file or the new one. Paths are C strings in the
 * system's encoding. Errors are IO with the path and the system's reason, NOT_FOUND when the file
 * does not exist. Threads: any; an object belongs to one thread at a time. */
#pragma once
#include "base/buf.h"
#include "base/err.h"

/* A read-only private mapping of a whole file. Zero-length files map to len 0 and ptr NULL. The
 * file should be replaced (renamed over), not written in place, while it is mapped: what is cut
 * off, or cannot be read any more, reads as zeros (os/guard.h), and file_map_is_whole says so. */
typedef struct file_map {
    const uint8_t *ptr;
    uint64_t len; /* bytes */
} file_map;

/* Maps a regular file; directories, pipes and devices are INVALID. */
err_code file_map_open(const char *path, file_map *ret, err *e);
void file_map_close(file_map *m); /* leaves it empty; an empty one is allowed */
bool file_map_is_whole(const file_map *m);

typedef enum file_advice {
    FILE_ADVICE_SEQUENTIAL, /* will be read once, front to back */
    FILE_ADVICE_WILLNEED,   /* start reading ahead now */
    FILE_ADVICE_DONTNEED    /* pages may go; they come back from the file */
} file_advice;

/* A hint for a range of the mapping, which is clamped to it; failures are ignored. */
void file_map_advise(const file_map *m, uint64_t offset, uint64_t n_bytes, file_advice advice);

/* Appends the whole file to *b. LIMIT when it is longer than max_bytes. Works for /proc files,
 * whose length is not known before. */
err_code file_read(const char *path, uint64_t max_bytes, buf *b, err *e);

/* Replaces or creates `path` (mode 0644) with these bytes, atomically and durably. */
err_code file_write_atomic(const char *path, const void *src, size_t n_bytes, err *e);

/* The same in pieces, for large files. On success of open the writer holds a temporary file in the
 * target's directory; commit flushes and renames it; abort (also of a finished or zeroed writer)
 * removes it. After a failed write or commit only abort is left to call. */
typedef struct file_writer {
    int fd;           /* -1 when closed */
    char *path;       /* target; owned */
    char *temp_path;  /* owned; NULL when closed */
    uint64_t n_bytes; /* written so far */
    buf pending;      /* gathered for large system calls */
} file_writer;

err_code file_writer_open(const char *path, file_writer *ret, err *e);
err_code file_writer_put(file_writer *w, const void *src, size_t n_bytes, err *e);
err_code file_writer_commit(file_writer *w, err *e);
void file_writer_abort(file_writer *w);

/* Creates a directory and its parents (mode 0755); one that is there already is fine. */
err_code file_mkdirs(const char *path, err *e);

/* Flushes a directory's entries after a rename or removal in it. */
err_code file_sync_dir(const char *path, err *e);

bool file_exists(const char *path);
err_code file_length(const char *path, uint64_t *ret_bytes, err *e);
err_code file_remove(const char *path, err *e); /* NOT_FOUND when there is none */
