/* The store's directory: finding, listing, writing and deleting models.
 *
 * Names are changed under one lock; blobs need none, because a blob's name is its content. */
#include "store/store.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/map.h"
#include "base/vec.h"
#include "os/file.h"
#include "store/manifest.h"
#include "store/store_impl.h"
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TEXT_LAYER_BYTES_MAX = 16 << 20 };

char *store_path_of(const store *s, arena *a, const char *sub, str rest) {
    return str_cstr(a, str_fmt(a, "%s/%s/" STR_FMT, s->dir, sub, STR_ARG(rest)));
}

/* Temporary files of an interrupted write: they carry our marks in their names. */
static void remove_leftovers(const char *blobs) {
    DIR *d = opendir(blobs);
    if (!d) return;
    for (struct dirent *entry; (entry = readdir(d));) {
        str name = str_from(entry->d_name);
        if (str_find(name, STR(".hob-")) >= 0 || str_find(name, STR(".tmp-")) >= 0)
            unlinkat(dirfd(d), entry->d_name, 0);
    }
    closedir(d);
}

err_code store_open(const char *dir, store **ret, err *e) {
    (void)e;
    store *s = NEW(store);
    s->dir = mem_dup(dir, strlen(dir) + 1);
    pthread_mutex_init(&s->lock, NULL);
    CLEANUP(arena_destroy) arena *a = arena_create(0);
    err ignored; /* a read-only store has its directories already */
    file_mkdirs(store_path_of(s, a, "manifests", STR("")), &ignored);
    char *blobs = store_path_of(s, a, "blobs", STR(""));
    file_mkdirs(blobs, &ignored);
    remove_leftovers(blobs);
    *ret = s;
    return ERR_OK;
}

void store_close(store **s) {
    if (!s || !*s) return;
    pthread_mutex_destroy(&(*s)->lock);
    mem_free((*s)->dir);
    mem_free(*s);
    *s = NULL;
}

bool store_digest_valid(str digest) {
    if (digest.len != 71) return false;
    str head = str_sub(digest, 0, 7);
    if (!str_eq(head, STR("sha256:")) && !str_eq(head, STR("sha256-"))) return false;
    for (size_t i = 7; i < 71; i++) {
        char c = digest.ptr[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) return false;
    }
    return true;
}

str store_blob_path(const store *s, arena *a, str digest) {
    str hex = str_sub(digest, 7, 71);
    return str_fmt(a, "%s/blobs/sha256-" STR_FMT, s->dir, STR_ARG(hex));
}

bool store_blob_exists(const store *s, str digest) {
    CLEANUP(arena_destroy) arena *a = arena_create(0);
    return file_exists(store_blob_path(s, a, digest).ptr);
}

err_code store_blob_read(const store *s, arena *a, str digest, str *ret, err *e) {
    buf b = {0};
    err_code code = file_read(store_blob_path(s, a, digest).ptr, TEXT_LAYER_BYTES_MAX, &b, e);
    if (code == ERR_OK) *ret = str_dup(a, buf_str(&b));
    buf_finish(&b);
    return code;
}

const store_layer *store_model_layer(const store_model *m, store_layer_kind kind) {
    for (size_t i = 0; i < m->n_layers; i++)
        if (m->layers[i].kind == kind) return &m->layers[i];
    return NULL;
}

/* Reads the model whose name is exactly spelled. */
static err_code load(const store *s, const store_name *name, arena *a, store_model *ret, err *e) {
    char *path = store_path_of(s, a, "manifests", store_name_path(a, name));
    struct stat st;
    if (stat(path, &st) || !S_ISREG(st.st_mode)) FAIL(e, NOT_FOUND, "no manifest %s", path);
    buf text = {0};
    err_code code = file_read(path, STORE_MANIFEST_BYTES_MAX, &text, e);
    store_layer config_layer;
    store_model m = {.name = *name, .display = store_name_display(a, name)};
    if (code == ERR_OK) code = manifest_parse(a, buf_str(&text), &m, &config_layer, e);
    buf_finish(&text);
    str config;
    if (code == ERR_OK) code = store_blob_read(s, a, config_layer.digest, &config, e);
    if (code == ERR_OK) code = manifest_parse_config(a, config, &m.config, e);
    if (code) return code;
    m.modified_ns = (int64_t)st.st_mtim.tv_sec * NS_PER_S + st.st_mtim.tv_nsec;
    *ret = m;
    return ERR_OK;
}

/* Replaces *part by the spelling that exists in `dir`, and appends it to the path. */
static bool fix_case(arena *a, buf *dir, str *part) {
    DIR *d = opendir(buf_cstr(dir));
    str spelled = *part;
    bool found = false, any = false;
    for (struct dirent *entry; d && !found && (entry = readdir(d));) {
        str name = str_from(entry->d_name);
        if (!str_eq_nocase(name, spelled)) continue;
        found = str_eq(name, spelled); /* the very spelling wins over others */
        *part = str_dup(a, name);
        any = true;
    }
    if (d) closedir(d);
    buf_put_char(dir, '/');
    buf_put_str(dir, *part);
    return any;
}

/* The existing spelling of a name, part by part; parts that do not exist stay as given. */
bool store_existing_spelling(const store *s, arena *a, store_name *n) {
    buf dir = {0};
    buf_putf(&dir, "%s/manifests", s->dir);
    bool found = fix_case(a, &dir, &n->host);
    found = fix_case(a, &dir, &n->space) && found;
    found = fix_case(a, &dir, &n->model) && found;
    found = fix_case(a, &dir, &n->tag) && found;
    buf_finish(&dir);
    return found;
}

err_code store_find(store *s, str text, arena *a, store_model *ret, err *e) {
    store_name name;
    if (!store_name_parse(a, text, &name)) FAIL(e, INVALID, "invalid model name");
    if (!store_existing_spelling(s, a, &name))
        FAIL(e, NOT_FOUND, "model '" STR_FMT "' not found", STR_ARG(text));
    err_code code = load(s, &name, a, ret, e);
    if (e && (code == ERR_FORMAT || code == ERR_LIMIT))
        err_wrap(e, "\"" STR_FMT "\" cannot be read; pull or create it again",
                 STR_ARG(str_sub(text, 0, 200)));
    return code;
}

typedef VEC(store_model) model_list;

/* A model whose manifest cannot be read is in no list: the log says why, once. */
static void tell_once(store *s, arena *a, str name, const err *why) {
    uint64_t h = map_hash(str_fmt(a, STR_FMT " %s", STR_ARG(name), why->msg));
    if (atomic_exchange(&s->told[h % STORE_TOLD], h) != h)
        log_warn(STR_FMT " cannot be read: %s", STR_ARG(name), why->msg);
}

/* Walks one directory level: parts are the names above it. */
static void list_level(store *s, arena *a, const char *dir, str parts[4], int depth,
                       model_list *out) {
    DIR *d = opendir(dir);
    if (!d) return;
    for (struct dirent *entry; (entry = readdir(d));) {
        if (entry->d_name[0] == '.') continue;
        parts[depth] = str_dup(a, str_from(entry->d_name));
        if (depth < 3) {
            str sub = str_fmt(a, "%s/%s", dir, entry->d_name);
            list_level(s, a, sub.ptr, parts, depth + 1, out);
            continue;
        }
        store_name name;
        str full = str_fmt(a, STR_FMT "/" STR_FMT "/" STR_FMT ":" STR_FMT, STR_ARG(parts[0]),
                           STR_ARG(parts[1]), STR_ARG(parts[2]), STR_ARG(parts[3]));
        store_model m;
        err e;
        if (!store_name_parse(a, full, &name)) continue;
        if (load(s, &name, a, &m, &e))
            tell_once(s, a, full, &e);
        else
            VEC_PUSH(*out, m);
    }
    closedir(d);
}

static int newest_first(const void *pa, const void *pb) {
    const store_model *a = pa, *b = pb;
    if (a->modified_ns != b->modified_ns) return a->modified_ns < b->modified_ns ? 1 : -1;
    return str_cmp(a->display, b->display);
}

err_code store_list(store *s, arena *a, store_model **ret, size_t *ret_n, err *e) {
    (void)e;
    model_list list = {0};
    str parts[4];
    list_level(s, a, store_path_of(s, a, "manifests", STR("")), parts, 0, &list);
    if (list.len) qsort(list.items, list.len, sizeof *list.items, newest_first);
    *ret = arena_dup(a, list.items, list.len * sizeof *list.items);
    *ret_n = list.len;
    VEC_FINISH(list);
    return ERR_OK;
}

err_code store_use_layer(store *s, arena *a, store_layer_kind kind, str digest, store_layer *ret,
                         err *e) {
    if (!store_digest_valid(digest)) FAIL(e, INVALID, "invalid digest format");
    str path = store_blob_path(s, a, digest);
    uint64_t n_bytes;
    err inner;
    if (file_length(path.ptr, &n_bytes, &inner))
        FAIL(e, NOT_FOUND, "open " STR_FMT ": no such file or directory", STR_ARG(path));
    str colon = str_fmt(a, "sha256:" STR_FMT, STR_ARG(str_sub(digest, 7, 71)));
    *ret = (store_layer){.kind = kind,
                         .media_type = manifest_media_type(kind),
                         .digest = colon,
                         .n_bytes = (int64_t)n_bytes,
                         .existed = true};
    return ERR_OK;
}

err_code store_add_layer(store *s, arena *a, store_layer_kind kind, str bytes, store_layer *ret,
                         err *e) {
    str digest = str_fmt(a, "sha256:" STR_FMT, STR_ARG(manifest_sha256_hex(a, bytes)));
    bool existed = store_blob_exists(s, digest);
    if (!existed)
        TRY(file_write_atomic(store_blob_path(s, a, digest).ptr, bytes.ptr, bytes.len, e));
    *ret = (store_layer){.kind = kind,
                         .media_type = manifest_media_type(kind),
                         .digest = digest,
                         .n_bytes = (int64_t)bytes.len,
                         .existed = existed};
    return ERR_OK;
}

/* Locked. Writes manifest bytes under the name. */
err_code store_write_manifest(store *s, arena *a, const store_name *name, str text, err *e) {
    char *path = store_path_of(s, a, "manifests", store_name_path(a, name));
    char *dir =
        str_cstr(a, str_sub(str_from(path), 0, (size_t)str_rfind_char(str_from(path), '/')));
    TRY(file_mkdirs(dir, e));
    return file_write_atomic(path, text.ptr, text.len, e);
}

err_code store_put(store *s, const store_name *name, const store_config *config,
                   const store_layer *layers, size_t n_layers, err *e) {
    CLEANUP(arena_destroy) arena *a = arena_create(0);
    store_layer config_layer;
    TRY(store_add_layer(s, a, STORE_LAYER_OTHER, manifest_write_config(a, config), &config_layer,
                        e));
    config_layer.media_type = STR("application/vnd.docker.container.image.v1+json");
    store_name spelled = *name;
    pthread_mutex_lock(&s->lock);
    store_existing_spelling(s, a, &spelled);
    err_code code =
        store_write_manifest(s, a, &spelled, manifest_write(a, &config_layer, layers, n_layers), e);
    pthread_mutex_unlock(&s->lock);
    return code;
}

err_code store_copy(store *s, str from, const store_name *to, err *e) {
    CLEANUP(arena_destroy) arena *a = arena_create(0);
    store_model m;
    TRY(store_find(s, from, a, &m, e));
    buf text = {0};
    char *path = store_path_of(s, a, "manifests", store_name_path(a, &m.name));
    err_code code = file_read(path, STORE_MANIFEST_BYTES_MAX, &text, e);
    store_name spelled = *to;
    pthread_mutex_lock(&s->lock);
    store_existing_spelling(s, a, &spelled);
    if (code == ERR_OK) code = store_write_manifest(s, a, &spelled, buf_str(&text), e);
    pthread_mutex_unlock(&s->lock);
    buf_finish(&text);
    return code;
}
