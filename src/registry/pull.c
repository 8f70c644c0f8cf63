/* Pulling a model: manifest, blobs that are not here, manifest written last. */
#include "base/limits.h"
#include "os/file.h"
#include "registry/registry_impl.h"
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

enum { CONFIG_BYTES_MAX = 16 << 20, ROUNDS_MAX = 3 };
static const char ACCEPT[] = "Accept: application/vnd.docker.distribution.manifest.v2+json";

typedef struct pulling {
    registry *r;
    session *s;
    arena *a;
    const registry_report *report;
    store_name name;
    str manifest;
    store_model model;
    store_layer config;
    /* the blob under way */
    str status, digest;
    uint64_t n_bytes, told;
} pulling;

static err_code say(const pulling *p, const char *status, err *e) {
    if (p->report->fn(p->report->arg, status, (str){0}, 0, 0)) return ERR_OK;
    FAIL(e, CANCELLED, "the client went away");
}

static err_code fetch_manifest(pulling *p, err *e) {
    str accept = STR(ACCEPT);
    net_reply reply;
    net_request q = {.headers = &accept, .n_headers = 1};
    q.url = session_url(p->s, p->a, "/manifests/" STR_FMT, STR_ARG(p->name.tag));
    TRY(session_send(p->s, &q, p->a, &reply, e));
    if (reply.status != 200) return session_refused(&reply, e);
    p->manifest = reply.body;
    if (str_find(reply.body, STR("\"layers\"")) < 0 &&
        str_find(reply.body, STR("\"manifests\"")) >= 0)
        FAIL(e, UNSUPPORTED, "this is a list of images for several machines, not a model");
    TRY(store_manifest_parse(p->a, reply.body, &p->model, &p->config, e));
    if (p->config.n_bytes > CONFIG_BYTES_MAX)
        FAIL(e, LIMIT, "manifest: a config of %lld bytes", (long long)p->config.n_bytes);
    for (size_t i = 0; i < p->model.n_layers; i++) {
        const store_layer *l = &p->model.layers[i];
        bool text = l->kind != STORE_LAYER_MODEL && l->kind != STORE_LAYER_PROJECTOR &&
                    l->kind != STORE_LAYER_ADAPTER && l->kind != STORE_LAYER_OTHER;
        if (text && l->n_bytes > CONFIG_BYTES_MAX)
            FAIL(e, LIMIT, "manifest: a text layer of %lld bytes", (long long)l->n_bytes);
        for (size_t k = 0; k < i; k++)
            if (str_eq(l->digest, p->model.layers[k].digest) &&
                l->n_bytes != p->model.layers[k].n_bytes)
                FAIL(e, FORMAT, "manifest: " STR_FMT " has two sizes", STR_ARG(l->digest));
    }
    return ERR_OK;
}

/* ---- blobs ---- */

static bool on_tick(void *arg, uint64_t done) {
    pulling *p = arg;
    return p->report->fn(p->report->arg, p->status.ptr, p->digest, done, p->n_bytes);
}

static err_code hash_file(const char *path, char hex[65], err *e) {
    file_map map;
    unsigned char hash[EVP_MAX_MD_SIZE];
    TRY(file_map_open(path, &map, e));
    EVP_Digest(map.ptr ? (const void *)map.ptr : "", (size_t)map.len, hash, NULL, EVP_sha256(),
               NULL);
    file_map_close(&map);
    for (int i = 0; i < 32; i++) snprintf(hex + 2 * i, 3, "%02x", hash[i]);
    return ERR_OK;
}

/* Is the blob here? One of another size than the manifest says is looked at closely: either it is
 * damaged (and goes) or the manifest lies. */
static err_code is_here(pulling *p, const store_layer *l, bool *ret, err *e) {
    str path = store_blob_path(p->r->c.store, p->a, l->digest);
    uint64_t n_bytes;
    char hex[65];
    *ret = file_exists(path.ptr);
    if (!*ret) return ERR_OK;
    err_code code = file_length(path.ptr, &n_bytes, e);
    *ret = file_exists(path.ptr); /* it may have been deleted meanwhile */
    if (!*ret) return ERR_OK;
    if (code || n_bytes == (uint64_t)l->n_bytes) return code;
    TRY(hash_file(path.ptr, hex, e));
    if (str_eq(str_from(hex), str_sub(l->digest, 7, 71)))
        FAIL(e, FORMAT, "the manifest says that " STR_FMT " has %lld bytes, it has %llu",
             STR_ARG(l->digest), (long long)l->n_bytes, (unsigned long long)n_bytes);
    *ret = false;
    return file_remove(path.ptr, e);
}

static err_code pull_blob(pulling *p, const store_layer *l, err *e) {
    bool here;
    p->digest = str_fmt(p->a, "sha256:" STR_FMT, STR_ARG(str_sub(l->digest, 7, 71)));
    p->status = str_fmt(p->a, "pulling " STR_FMT, STR_ARG(str_sub(l->digest, 7, 19)));
    p->n_bytes = (uint64_t)l->n_bytes;
    TRY(is_here(p, l, &here, e));
    if (!here) {
        str what = str_fmt(p->a, "blob " STR_FMT, STR_ARG(p->digest));
        transfer_goal goal = {.path = store_blob_path(p->r->c.store, p->a, l->digest),
                              .n_bytes = p->n_bytes,
                              .sha256 = str_sub(l->digest, 7, 71),
                              .what = what.ptr};
        goal.url = session_url(p->s, p->a, "/blobs/" STR_FMT, STR_ARG(p->digest));
        transfer_tick tick = {on_tick, p};
        if (!on_tick(p, 0)) FAIL(e, CANCELLED, "the client went away");
        TRY(transfer_run(p->s, &goal, &tick, e));
    }
    if (!on_tick(p, p->n_bytes)) FAIL(e, CANCELLED, "the client went away");
    return ERR_OK;
}

/* A store that is somebody's read-only share: fine as long as nothing is missing. */
static err_code check_writable(pulling *p, bool *ret_done, err *e) {
    str have;
    err ignored;
    *ret_done = false;
    if (store_check_writable(p->r->c.store, &ignored) == ERR_OK) return ERR_OK;
    bool same = store_manifest_read(p->r->c.store, p->a, &p->name, &have, &ignored) == ERR_OK &&
                str_eq(have, p->manifest);
    for (size_t i = 0; i <= p->model.n_layers && same; i++)
        same = store_blob_exists(p->r->c.store, i < p->model.n_layers ? p->model.layers[i].digest
                                                                      : p->config.digest);
    *ret_done = same;
    return same ? ERR_OK : store_check_writable(p->r->c.store, e);
}

static err_code pull_blobs(pulling *p, err *e) {
    for (size_t i = 0; i < p->model.n_layers; i++) TRY(pull_blob(p, &p->model.layers[i], e));
    return pull_blob(p, &p->config, e);
}

static bool all_here(const pulling *p) {
    bool here = store_blob_exists(p->r->c.store, p->config.digest);
    for (size_t i = 0; i < p->model.n_layers && here; i++)
        here = store_blob_exists(p->r->c.store, p->model.layers[i].digest);
    return here;
}

/* A blob that was here when its turn came goes when the last model that has it is deleted during
 * the pull: it is fetched after all. */
static err_code write_manifest(pulling *p, size_t *ret_removed, err *e) {
    for (int i = 1;; i++) {
        err_code code = store_put_manifest(p->r->c.store, &p->name, p->manifest,
                                           p->r->c.keep_unused, ret_removed, e);
        if (code == ERR_OK || i == ROUNDS_MAX || all_here(p)) return code;
        TRY(pull_blobs(p, e));
    }
}

static err_code pull(pulling *p, err *e) {
    bool done;
    size_t n_removed;
    TRY(say(p, "pulling manifest", e));
    if (fetch_manifest(p, e)) return err_wrap(e, "pull model manifest");
    TRY(check_writable(p, &done, e));
    if (done) return say(p, "success", e);
    TRY(pull_blobs(p, e));
    TRY(say(p, "verifying sha256 digest", e));
    TRY(say(p, "writing manifest", e));
    TRY(write_manifest(p, &n_removed, e));
    if (n_removed) TRY(say(p, "removing unused layers", e));
    return say(p, "success", e);
}

err_code registry_pull(registry *r, str name, bool insecure, const registry_report *report,
                       err *e) {
    CLEANUP(arena_destroy) arena *a = arena_create(0);
    pulling p = {.r = r, .a = a, .report = report};
    if (!store_name_parse(a, name, &p.name)) FAIL(e, INVALID, "invalid model name");
    p.s = session_create(r, &p.name, insecure);
    err_code code = pull(&p, e);
    session_unref(&p.s);
    return code;
}
