/* Files for POSIX systems. Every call that the system may interrupt or cut short is a loop; every
 * failure carries the path and errno's text. No state, any thread. */
#include "os/file.h"
#include "base/mem.h"
#include "os/guard.h"
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { READ_CHUNK_BYTES = 64 << 10, WRITE_PENDING_BYTES = 1 << 20, WRITE_MAX_BYTES = 1 << 30 };

static err_code fail_errno(err *e, const char *what, const char *path) {
    int code = errno;
    char text[128];
    const char *reason = strerror_r(code, text, sizeof text);
    return err_set(e, code == ENOENT || code == ENOTDIR ? ERR_NOT_FOUND : ERR_IO, "%s %s: %s", what,
                   path, reason);
}

static int open_retry(const char *path, int flags, mode_t mode) {
    int fd;
    do fd = open(path, flags | O_CLOEXEC, mode);
    while (fd < 0 && errno == EINTR);
    return fd;
}

err_code file_map_open(const char *path, file_map *ret, err *e) {
    int fd = open_retry(path, O_RDONLY | O_NONBLOCK, 0); /* a FIFO must not hold us up */
    if (fd < 0) return fail_errno(e, "open", path);
    struct stat st;
    err_code code = ERR_OK;
    void *ptr = NULL;
    if (fstat(fd, &st) != 0)
        code = fail_errno(e, "stat", path);
    else if (!S_ISREG(st.st_mode))
        code = err_set(e, ERR_INVALID, "%s is not a regular file", path);
    else if (st.st_size > 0) {
        ptr = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (ptr == MAP_FAILED) code = fail_errno(e, "map", path);
    }
    close(fd); /* the mapping keeps the file */
    TRY(code);
    *ret = (file_map){.ptr = ptr, .len = (uint64_t)st.st_size};
    if (ptr) guard_add(ptr, ret->len);
    return ERR_OK;
}

bool file_map_is_whole(const file_map *m) {
    return !guard_is_broken(m->ptr);
}

void file_map_close(file_map *m) {
    guard_remove(m->ptr);
    if (m->ptr) munmap((void *)(uintptr_t)m->ptr, m->len);
    *m = (file_map){0};
}

void file_map_advise(const file_map *m, uint64_t offset, uint64_t n_bytes, file_advice advice) {
    if (!m->ptr || offset >= m->len) return;
    if (n_bytes > m->len - offset) n_bytes = m->len - offset;
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), slack = offset % page;
    int how = advice == FILE_ADVICE_SEQUENTIAL ? MADV_SEQUENTIAL
              : advice == FILE_ADVICE_WILLNEED ? MADV_WILLNEED
                                               : MADV_DONTNEED;
    int saved = errno;
    (void)madvise((void *)(uintptr_t)(m->ptr + offset - slack), n_bytes + slack, how);
    errno = saved;
}

err_code file_read(const char *path, uint64_t max_bytes, buf *b, err *e) {
    int fd = open_retry(path, O_RDONLY, 0);
    if (fd < 0) return fail_errno(e, "open", path);
    err_code code = ERR_OK;
    uint64_t n_read = 0;
    for (;;) {
        buf_reserve(b, READ_CHUNK_BYTES);
        ssize_t n = read(fd, b->ptr + b->len, READ_CHUNK_BYTES);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) code = fail_errno(e, "read", path);
        if (n <= 0) break;
        n_read += (uint64_t)n;
        if (n_read > max_bytes) {
            code = err_set(e, ERR_LIMIT, "%s is longer than %llu bytes", path,
                           (unsigned long long)max_bytes);
            break;
        }
        b->len += (size_t)n;
    }
    close(fd);
    return code;
}

static err_code write_all(file_writer *w, const char *src, size_t n_bytes, err *e) {
    while (n_bytes > 0) {
        size_t chunk = n_bytes < WRITE_MAX_BYTES ? n_bytes : WRITE_MAX_BYTES;
        ssize_t n = write(w->fd, src, chunk);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return fail_errno(e, "write", w->temp_path);
        src += n;
        n_bytes -= (size_t)n;
    }
    return ERR_OK;
}

err_code file_writer_open(const char *path, file_writer *ret, err *e) {
    file_writer w = {.fd = -1};
    buf name = {0};
    buf_putf(&name, "%s.tmp-XXXXXX", path);
    w.temp_path = buf_take(&name);
    w.fd = mkostemp(w.temp_path, O_CLOEXEC);
    if (w.fd < 0) {
        err_code code = fail_errno(e, "create", w.temp_path);
        mem_free(w.temp_path);
        return code;
    }
    (void)fchmod(w.fd, 0644);
    w.path = mem_dup(path, strlen(path) + 1);
    *ret = w;
    return ERR_OK;
}

err_code file_writer_put(file_writer *w, const void *src, size_t n_bytes, err *e) {
    assert(w->fd >= 0);
    if (w->pending.len + n_bytes > WRITE_PENDING_BYTES) {
        TRY(write_all(w, w->pending.ptr, w->pending.len, e));
        buf_clear(&w->pending);
    }
    if (n_bytes >= WRITE_PENDING_BYTES)
        TRY(write_all(w, src, n_bytes, e));
    else if (n_bytes > 0)
        buf_put(&w->pending, src, n_bytes);
    w->n_bytes += n_bytes;
    return ERR_OK;
}

static err_code sync_parent(const char *path, err *e) {
    const char *slash = strrchr(path, '/');
    if (!slash) return file_sync_dir(".", e);
    size_t len = slash == path ? 1 : (size_t)(slash - path);
    CLEANUP(mem_free_at) char *dir = mem_zalloc(len + 1);
    memcpy(dir, path, len);
    return file_sync_dir(dir, e);
}

err_code file_writer_commit(file_writer *w, err *e) {
    assert(w->fd >= 0);
    TRY(write_all(w, w->pending.ptr, w->pending.len, e));
    buf_clear(&w->pending);
    if (fsync(w->fd) != 0) return fail_errno(e, "flush", w->temp_path);
    if (rename(w->temp_path, w->path) != 0) return fail_errno(e, "rename to", w->path);
    mem_free(w->temp_path); /* nothing is left to remove */
    w->temp_path = NULL;
    err_code code = sync_parent(w->path, e);
    file_writer_abort(w);
    return code;
}

void file_writer_abort(file_writer *w) {
    if (w->temp_path) { /* a zeroed writer's fd 0 is not ours */
        unlink(w->temp_path);
        mem_free(w->temp_path);
    }
    if (w->path && w->fd >= 0) close(w->fd);
    mem_free(w->path);
    buf_finish(&w->pending);
    *w = (file_writer){.fd = -1};
}

err_code file_write_atomic(const char *path, const void *src, size_t n_bytes, err *e) {
    file_writer w = {.fd = -1};
    TRY(file_writer_open(path, &w, e));
    err_code code = file_writer_put(&w, src, n_bytes, e);
    if (code == ERR_OK) code = file_writer_commit(&w, e);
    file_writer_abort(&w);
    return code;
}

static err_code mkdir_one(const char *path, err *e) {
    if (mkdir(path, 0755) == 0) return ERR_OK;
    int why = errno;
    struct stat st;
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) return ERR_OK;
    errno = why;
    return fail_errno(e, "create directory", path);
}

err_code file_mkdirs(const char *path, err *e) {
    if (!*path) FAIL(e, INVALID, "create directory: the path is empty");
    CLEANUP(mem_free_at) char *copy = mem_dup(path, strlen(path) + 1);
    for (char *p = copy + 1; *p; p++) {
        if (*p != '/') continue;
        *p = '\0';
        TRY(mkdir_one(copy, e));
        *p = '/';
    }
    return mkdir_one(copy, e);
}

err_code file_sync_dir(const char *path, err *e) {
    int fd = open_retry(path, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0) return fail_errno(e, "open directory", path);
    err_code code = ERR_OK;
    /* some file systems cannot flush a directory: that is not the caller's failure */
    if (fsync(fd) != 0 && errno != EINVAL && errno != EROFS)
        code = fail_errno(e, "flush directory", path);
    close(fd);
    return code;
}

bool file_exists(const char *path) {
    struct stat st;
    return stat(path, &st) == 0;
}

err_code file_length(const char *path, uint64_t *ret_bytes, err *e) {
    struct stat st;
    if (stat(path, &st) != 0) return fail_errno(e, "stat", path);
    *ret_bytes = (uint64_t)st.st_size;
    return ERR_OK;
}

err_code file_remove(const char *path, err *e) {
    if (unlink(path) != 0) return fail_errno(e, "remove", path);
    return ERR_OK;
}
