/* A blob in the making: bytes go to a temporary file and through SHA-256 at once. */
#include "base/rng.h"
#include "os/file.h"
#include "store/store.h"
#include <errno.h>
#include <limits.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct store_writer {
    store *s;
    EVP_MD_CTX *hash;
    file_writer file;
    char *part_path; /* a name of its own: the real one is not known before the end */
};

err_code store_writer_open(store *s, store_writer **ret, err *e) {
    CLEANUP(arena_destroy) arena *a = arena_create(0);
    str path = store_temp_path(s, a); /* no digest can name it */
    store_writer *w = NEW(store_writer);
    w->s = s;
    if (file_writer_open(path.ptr, &w->file, e)) {
        mem_free(w);
        return e->code;
    }
    w->part_path = mem_dup(path.ptr, path.len + 1);
    w->hash = EVP_MD_CTX_new();
    EVP_DigestInit_ex(w->hash, EVP_sha256(), NULL);
    *ret = w;
    return ERR_OK;
}

err_code store_writer_put(store_writer *w, const void *bytes, size_t n_bytes, err *e) {
    EVP_DigestUpdate(w->hash, bytes, n_bytes);
    return file_writer_put(&w->file, bytes, n_bytes, e);
}

void store_writer_abort(store_writer **pw) {
    if (!pw || !*pw) return;
    store_writer *w = *pw;
    file_writer_abort(&w->file);
    EVP_MD_CTX_free(w->hash);
    mem_free(w->part_path);
    mem_free(w);
    *pw = NULL;
}

err_code store_writer_commit(store_writer **pw, str expect, arena *a, str *ret_digest, err *e) {
    store_writer *w = *pw;
    unsigned char hash[EVP_MAX_MD_SIZE];
    char text[72] = "sha256:";
    EVP_DigestFinal_ex(w->hash, hash, NULL);
    for (int i = 0; i < 32; i++) snprintf(text + 7 + 2 * i, 3, "%02x", hash[i]);
    err_code code = ERR_OK;
    if (expect.len && !str_eq(str_sub(expect, 7, 71), str_sub(str_from(text), 7, 71)))
        code =
            err_set(e, ERR_INVALID, "digest mismatch, expected \"sha256:" STR_FMT "\", got \"%s\"",
                    STR_ARG(str_sub(expect, 7, 71)), text);
    if (code == ERR_OK) code = file_writer_commit(&w->file, e);
    if (code == ERR_OK) {
        str path = store_blob_path(w->s, a, str_from(text));
        if (rename(w->part_path, path.ptr)) {
            unlink(w->part_path);
            code = err_set(e, ERR_IO, "cannot name the blob %s", path.ptr);
        }
    }
    if (code == ERR_OK) *ret_digest = str_dup(a, str_from(text));
    store_writer_abort(pw);
    return code;
}

str store_temp_path(const store *s, arena *a) {
    static const char zeros[] =
        "sha256:0000000000000000000000000000000000000000000000000000000000000000";
    uint64_t id;
    str path = store_blob_path(s, a, STR(zeros));
    rng_entropy(&id, sizeof id);
    return str_fmt(a, STR_FMT ".hob-%016llx", STR_ARG(str_sub(path, 0, path.len - 64)),
                   (unsigned long long)id);
}

static err_code hash_file(const char *path, char ret[72], err *e) {
    file_map map;
    unsigned char hash[EVP_MAX_MD_SIZE];
    TRY(file_map_open(path, &map, e));
    EVP_Digest(map.ptr ? (const void *)map.ptr : "", (size_t)map.len, hash, NULL, EVP_sha256(),
               NULL);
    file_map_close(&map);
    memcpy(ret, "sha256:", 7);
    for (int i = 0; i < 32; i++) snprintf(ret + 7 + 2 * i, 3, "%02x", hash[i]);
    return ERR_OK;
}

err_code store_adopt(store *s, const char *path, arena *a, str *ret_digest, err *e) {
    char text[72];
    TRY(hash_file(path, text, e));
    str blob = store_blob_path(s, a, str_from(text));
    if (rename(path, blob.ptr)) FAIL(e, IO, "cannot name the blob %s", blob.ptr);
    *ret_digest = str_dup(a, str_from(text));
    return ERR_OK;
}

err_code store_link(store *s, const char *path, str digest, err *e) {
    CLEANUP(arena_destroy) arena *a = arena_create(0);
    char text[72];
    TRY(hash_file(path, text, e));
    if (!str_eq(str_sub(digest, 7, 71), str_sub(str_from(text), 7, 71)))
        FAIL(e, INVALID, "digest mismatch, expected \"sha256:" STR_FMT "\", got \"%s\"",
             STR_ARG(str_sub(digest, 7, 71)), text);
    str blob = store_blob_path(s, a, digest);
    if (store_check_link(s, digest, e)) unlink(blob.ptr); /* an old link that is stale */
    if (symlink(path, blob.ptr) && errno != EEXIST)
        FAIL(e, IO, "cannot link %s into the store: %s", path, strerror(errno));
    return ERR_OK;
}

/* Where times of links are whole seconds, parts of a second say nothing. */
static bool is_later(struct timespec file, struct timespec link) {
    if (file.tv_sec != link.tv_sec) return file.tv_sec > link.tv_sec;
    return link.tv_nsec != 0 && file.tv_nsec > link.tv_nsec;
}

err_code store_check_link(const store *s, str digest, err *e) {
    CLEANUP(arena_destroy) arena *a = arena_create(0);
    struct stat link, file;
    char target[PATH_MAX];
    const char *blob = store_blob_path(s, a, digest).ptr;
    if (lstat(blob, &link) || !S_ISLNK(link.st_mode)) return ERR_OK;
    ssize_t n = readlink(blob, target, sizeof target - 1);
    target[n < 0 ? 0 : n] = '\0';
    if (stat(blob, &file))
        FAIL(e, IO, "the file %s, which this model uses in place, is gone", target);
    if (is_later(file.st_mtim, link.st_mtim))
        FAIL(e, FORMAT,
             "the file %s, which this model uses in place, has changed: create the model "
             "again",
             target);
    return ERR_OK;
}
