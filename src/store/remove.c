/* Manifests as they came, and what is no longer needed: deleting models, pruning blobs.
 *
 * What is in use is read from the text of every manifest file, also of one that is damaged: each
 * digest that occurs in it counts. */
#include "base/clock.h"
#include "base/limits.h"
#include "os/file.h"
#include "store/manifest.h"
#include "store/store_impl.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { PRUNE_AGE_S = 3600, NAME_DEPTH = 4 };

/* Every "sha256:<hex>" of a text. */
static void collect_digests(str text, map *digests) {
    static const size_t WHOLE = 71;
    for (ptrdiff_t at; (at = str_find(text, STR("sha256"))) >= 0;) {
        str one = str_sub(text, (size_t)at, (size_t)at + WHOLE);
        if (store_digest_valid(one)) map_put(digests, str_sub(one, 7, WHOLE), 1);
        text = str_sub(text, (size_t)at + 6, text.len);
    }
}

typedef struct scan {
    map used;
    bool damaged; /* a manifest could not be read or understood */
} scan;

static void scan_file(const char *path, scan *c) {
    CLEANUP(arena_destroy) arena *a = arena_create(0);
    buf text = {0};
    err e;
    store_model m;
    store_layer config;
    bool read = file_read(path, STORE_MANIFEST_BYTES_MAX, &text, &e) == ERR_OK;
    if (!read || manifest_parse(a, buf_str(&text), &m, &config, &e)) c->damaged = true;
    collect_digests(buf_str(&text), &c->used);
    buf_finish(&text);
}

/* Every manifest below dir; empty directories go when `tidy`. */
static void scan_dir(const char *dir, int depth, bool tidy, scan *c) {
    CLEANUP(arena_destroy) arena *a = arena_create(0);
    DIR *d = opendir(dir);
    if (!d) {
        c->damaged = c->damaged || errno != ENOENT;
        return;
    }
    for (struct dirent *entry; (entry = readdir(d));) {
        struct stat st;
        if (entry->d_name[0] == '.') continue;
        const char *path = str_fmt(a, "%s/%s", dir, entry->d_name).ptr;
        if (stat(path, &st)) continue;
        if (S_ISDIR(st.st_mode) && depth < NAME_DEPTH) {
            scan_dir(path, depth + 1, tidy, c);
            if (tidy) rmdir(path); /* refused when it is not empty */
        } else if (S_ISREG(st.st_mode)) {
            scan_file(path, c);
        }
    }
    closedir(d);
}

static void scan_all(const store *s, bool tidy, scan *ret) {
    CLEANUP(arena_destroy) arena *a = arena_create(0);
    *ret = (scan){0};
    scan_dir(store_path_of(s, a, "manifests", STR("")), 1, tidy, ret);
}

/* Locked. Removes those of `mine` that no manifest refers to. */
static size_t remove_unused(const store *s, const map *mine) {
    CLEANUP(arena_destroy) arena *a = arena_create(0);
    scan c;
    size_t n = 0;
    scan_all(s, false, &c);
    for (size_t i = 0; i < mine->len; i++) {
        str hex = mine->entries[i].key;
        if (map_has(&c.used, hex)) continue;
        str digest = str_fmt(a, "sha256:" STR_FMT, STR_ARG(hex));
        n += unlink(store_blob_path(s, a, digest).ptr) == 0;
    }
    map_finish(&c.used);
    return n;
}

/* ---- pruning ---- */

/* The hex of a blob's or an unfinished download's name: "sha256-<hex>[-partial[-N]]". */
static bool blob_hex(str name, str *ret) {
    if (name.len < 71 || !store_digest_valid(str_sub(name, 0, 71))) return false;
    str rest = str_sub(name, 71, name.len);
    *ret = str_sub(name, 7, 71);
    return rest.len == 0 || str_starts(rest, STR("-partial"));
}

void store_prune(store *s) {
    CLEANUP(arena_destroy) arena *a = arena_create(0);
    scan c;
    err e;
    if (store_check_writable(s, &e)) return;
    pthread_mutex_lock(&s->lock);
    scan_all(s, true, &c);
    DIR *d = c.damaged ? NULL : opendir(store_path_of(s, a, "blobs", STR("")));
    int64_t before_s = clock_wall_ns() / NS_PER_S - PRUNE_AGE_S;
    for (struct dirent *entry; d && (entry = readdir(d));) {
        struct stat st;
        str hex, name = str_from(entry->d_name);
        bool whole = name.len == 71;
        if (!blob_hex(name, &hex) || (whole && map_has(&c.used, hex))) continue;
        if (fstatat(dirfd(d), entry->d_name, &st, AT_SYMLINK_NOFOLLOW)) continue;
        if (S_ISDIR(st.st_mode) || st.st_mtim.tv_sec > before_s) continue;
        unlinkat(dirfd(d), entry->d_name, 0);
    }
    if (d) closedir(d);
    pthread_mutex_unlock(&s->lock);
    map_finish(&c.used);
}

/* ---- deleting ---- */

/* Removes directories of the name that have become empty. */
static void remove_empty_dirs(store *s, arena *a, const store_name *name) {
    str path = store_name_path(a, name);
    for (int i = 0; i < 3; i++) {
        path = str_sub(path, 0, (size_t)str_rfind_char(path, '/'));
        if (rmdir(store_path_of(s, a, "manifests", path))) return;
    }
}

/* The digests of a manifest that may not exist. */
static void digests_of(const store *s, arena *a, const store_name *name, map *ret) {
    buf text = {0};
    const char *path = store_path_of(s, a, "manifests", store_name_path(a, name));
    if (file_read(path, STORE_MANIFEST_BYTES_MAX, &text, NULL) == ERR_OK)
        collect_digests(buf_str(&text), ret);
    buf_finish(&text);
}

err_code store_delete(store *s, str text, err *e) {
    CLEANUP(arena_destroy) arena *a = arena_create(0);
    store_name name;
    if (!store_name_parse(a, text, &name))
        FAIL(e, INVALID, "name \"" STR_FMT "\" is invalid", STR_ARG(text));
    map mine = {0};
    pthread_mutex_lock(&s->lock);
    err_code code = ERR_OK;
    if (!store_existing_spelling(s, a, &name))
        code = err_set(e, ERR_NOT_FOUND, "model '" STR_FMT "' not found", STR_ARG(text));
    if (code == ERR_OK) {
        digests_of(s, a, &name, &mine);
        code = file_remove(store_path_of(s, a, "manifests", store_name_path(a, &name)), e);
    }
    if (code == ERR_OK) {
        remove_empty_dirs(s, a, &name);
        remove_unused(s, &mine);
    }
    pthread_mutex_unlock(&s->lock);
    map_finish(&mine);
    return code;
}

/* ---- manifests as they came ---- */

err_code store_check_writable(const store *s, err *e) {
    CLEANUP(arena_destroy) arena *a = arena_create(0);
    struct statvfs fs;
    const char *dir = store_path_of(s, a, "blobs", STR(""));
    bool read_only = statvfs(dir, &fs) == 0 && (fs.f_flag & ST_RDONLY);
    if (!read_only && access(dir, W_OK) == 0) return ERR_OK;
    FAIL(e, IO,
         "the model directory %s cannot be written (%s): change it on the machine that owns it, or "
         "set OLLAMA_MODELS to a directory of this machine",
         s->dir, read_only ? "it is mounted read-only" : strerror(errno));
}

err_code store_manifest_parse(arena *a, str text, store_model *ret, store_layer *ret_config,
                              err *e) {
    return manifest_parse(a, text, ret, ret_config, e);
}

err_code store_manifest_read(store *s, arena *a, const store_name *name, str *ret, err *e) {
    store_name spelled = *name;
    buf text = {0};
    store_existing_spelling(s, a, &spelled);
    const char *path = store_path_of(s, a, "manifests", store_name_path(a, &spelled));
    if (!file_exists(path)) FAIL(e, NOT_FOUND, "open %s: no such file or directory", path);
    err_code code = file_read(path, STORE_MANIFEST_BYTES_MAX, &text, e);
    if (code == ERR_OK) *ret = str_dup(a, buf_str(&text));
    buf_finish(&text);
    return code;
}

/* Every blob there, in the size the manifest says; the config readable. */
static err_code check_blobs(store *s, arena *a, str text, err *e) {
    store_model m;
    store_layer config;
    str config_text;
    TRY(manifest_parse(a, text, &m, &config, e));
    for (size_t i = 0; i <= m.n_layers; i++) {
        const store_layer *l = i < m.n_layers ? &m.layers[i] : &config;
        uint64_t n_bytes;
        TRY(file_length(store_blob_path(s, a, l->digest).ptr, &n_bytes, e));
        if (n_bytes != (uint64_t)l->n_bytes)
            FAIL(e, FORMAT, "the manifest says that " STR_FMT " has %lld bytes, it has %llu",
                 STR_ARG(l->digest), (long long)l->n_bytes, (unsigned long long)n_bytes);
    }
    TRY(store_blob_read(s, a, config.digest, &config_text, e));
    return manifest_parse_config(a, config_text, &m.config, e);
}

err_code store_put_manifest(store *s, const store_name *name, str text, bool keep_unused,
                            size_t *ret_removed, err *e) {
    CLEANUP(arena_destroy) arena *a = arena_create(0);
    store_name spelled = *name;
    map old = {0};
    *ret_removed = 0;
    pthread_mutex_lock(&s->lock);
    store_existing_spelling(s, a, &spelled);
    digests_of(s, a, &spelled, &old);
    err_code code = check_blobs(s, a, text, e);
    if (code == ERR_OK) code = store_write_manifest(s, a, &spelled, text, e);
    if (code == ERR_OK && !keep_unused && old.len) *ret_removed = remove_unused(s, &old);
    pthread_mutex_unlock(&s->lock);
    map_finish(&old);
    return code;
}
