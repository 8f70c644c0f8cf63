/* Pushing a model: blobs the registry does not have, then the manifest.
 *
 * An upload is opened with POST, filled with PATCH in chunks and closed with PUT. A registry may
 * send a chunk on to its storage (307); then the closing PUT carries the digest of the chunks'
 * digests. A chunk that fails makes the whole upload begin again. */
#include "base/clock.h"
#include "base/limits.h"
#include "os/file.h"
#include "registry/registry_impl.h"
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

enum { CHUNK_BYTES = 100 << 20, TRIES = 3, TELL_MS = 60 };
static const char MANIFEST_TYPE[] =
    "Content-Type: application/vnd.docker.distribution.manifest.v2+json";

typedef struct pushing {
    registry *r;
    session *s;
    arena *a;
    const registry_report *report;
    /* the blob under way */
    const store_layer *layer;
    str status, digest;
    file_map file;
    uint64_t at, from; /* of the chunk: next byte, first byte */
    uint64_t to;
    int64_t told_ns;
    bool gone;
} pushing;

static err_code say(const pushing *p, const char *status, err *e) {
    if (p->report->fn(p->report->arg, status, (str){0}, 0, 0)) return ERR_OK;
    FAIL(e, CANCELLED, "the client went away");
}

static bool tell(pushing *p, uint64_t done) {
    p->told_ns = clock_mono_ns();
    p->gone = !p->report->fn(p->report->arg, p->status.ptr, p->digest, done, p->file.len);
    return !p->gone;
}

static void on_rewind(void *arg) {
    pushing *p = arg;
    p->at = p->from;
}

static size_t on_read(void *arg, char *dst, size_t room) {
    pushing *p = arg;
    size_t n = p->to - p->at < room ? (size_t)(p->to - p->at) : room;
    memcpy(dst, p->file.ptr + p->at, n);
    p->at += n;
    if (clock_mono_ns() - p->told_ns > TELL_MS * NS_PER_MS && !tell(p, p->at)) return 0;
    return n;
}

static err_code send(pushing *p, net_request *q, net_reply *ret, err *e) {
    TRY(session_send(p->s, q, p->a, ret, e));
    if (ret->status / 100 == 2) return ERR_OK;
    return session_refused(ret, e);
}

/* Where the next request of this upload goes. */
static err_code next_place(pushing *p, const net_reply *r, str *place, err *e) {
    str to = net_reply_header(r, "Docker-Upload-Location");
    if (to.len == 0) to = net_reply_header(r, "Location");
    if (to.len == 0) return ERR_OK;
    return net_url_join(p->a, r->url, to, place, e);
}

/* A chunk handed on to the registry's storage, which sees none of our credentials. */
static err_code put_to_storage(pushing *p, const net_reply *r, err *e) {
    str url;
    net_reply reply;
    TRY(net_url_join(p->a, r->url, net_reply_header(r, "Location"), &url, e));
    net_request q = {.method = "PUT", .url = url, .home = p->s->home, .plain = p->s->plain};
    q.read = on_read;
    q.rewind = on_rewind;
    q.read_arg = p;
    q.body_bytes = p->to - p->from;
    q.no_follow = true;
    q.cancel = &p->r->stopping;
    TRY(net_send(p->r->c.net, &q, p->a, &reply, e));
    return reply.status / 100 == 2 ? ERR_OK : session_refused(&reply, e);
}

static err_code send_chunk(pushing *p, str *place, bool *redirected, err *e) {
    str headers[] = {
        str_fmt(p->a, "Content-Range: %llu-%llu", (unsigned long long)p->from,
                (unsigned long long)p->to - 1),
        STR("Content-Type: application/octet-stream"),
        STR("X-Redirect-Uploads: 1"),
    };
    net_request q = {.method = "PATCH", .url = *place, .headers = headers};
    q.n_headers = COUNT_OF(headers);
    q.read = on_read;
    q.rewind = on_rewind;
    q.read_arg = p;
    q.body_bytes = p->to - p->from;
    q.no_follow = true;
    net_reply reply;
    TRY(session_send(p->s, &q, p->a, &reply, e));
    if (reply.status == 307) {
        *redirected = true;
        TRY(put_to_storage(p, &reply, e));
        str to = net_reply_header(&reply, "Docker-Upload-Location");
        return to.len ? net_url_join(p->a, reply.url, to, place, e) : ERR_OK;
    }
    if (reply.status / 100 != 2) return session_refused(&reply, e);
    return next_place(p, &reply, place, e);
}

static void hex_of(const unsigned char *hash, size_t n, char *ret) {
    for (size_t i = 0; i < n; i++) snprintf(ret + 2 * i, 3, "%02x", hash[i]);
}

/* "<md5 of the chunks' md5s>-<n>", which storages call the tag of a file in pieces. */
static str pieces_tag(pushing *p) {
    unsigned char hash[EVP_MAX_MD_SIZE];
    char hex[2 * EVP_MAX_MD_SIZE + 1];
    int n = 0;
    EVP_MD_CTX *all = EVP_MD_CTX_new();
    EVP_DigestInit_ex(all, EVP_md5(), NULL);
    for (uint64_t at = 0; at < p->file.len; at += CHUNK_BYTES, n++) {
        uint64_t left = p->file.len - at;
        EVP_Digest(p->file.ptr + at, left < CHUNK_BYTES ? left : CHUNK_BYTES, hash, NULL, EVP_md5(),
                   NULL);
        EVP_DigestUpdate(all, hash, 16);
    }
    EVP_DigestFinal_ex(all, hash, NULL);
    EVP_MD_CTX_free(all);
    hex_of(hash, 16, hex);
    return str_fmt(p->a, "%s-%d", hex, n);
}

/* *ret_done: the registry took the blob from the model this one was made from. */
static err_code open_upload(pushing *p, str *place, bool *ret_done, err *e) {
    net_reply reply;
    net_request q = {.method = "POST", .no_follow = true};
    store_name from;
    const store_layer *l = p->layer;
    if (l->from.len && store_name_parse(p->a, l->from, &from))
        q.url =
            session_url(p->s, p->a, "/blobs/uploads/?mount=" STR_FMT "&from=" STR_FMT "/" STR_FMT,
                        STR_ARG(p->digest), STR_ARG(from.space), STR_ARG(from.model));
    else
        q.url = session_url(p->s, p->a, "/blobs/uploads/");
    TRY(send(p, &q, &reply, e));
    *ret_done = reply.status == 201;
    *place = (str){0};
    TRY(next_place(p, &reply, place, e));
    if (!*ret_done && place->len == 0)
        FAIL(e, FORMAT, "the registry does not say where to upload (no Location)");
    return ERR_OK;
}

static err_code upload(pushing *p, err *e) {
    str place;
    bool done, redirected = false;
    TRY(open_upload(p, &place, &done, e));
    if (done) return ERR_OK;
    for (p->from = 0; p->from < p->file.len; p->from = p->to) {
        p->to = p->file.len - p->from < CHUNK_BYTES ? p->file.len : p->from + CHUNK_BYTES;
        TRY(send_chunk(p, &place, &redirected, e));
    }
    bool has_query = str_find_char(place, '?') >= 0;
    net_reply reply;
    net_request q = {.method = "PUT", .no_follow = true};
    q.url = str_fmt(p->a, STR_FMT "%cdigest=" STR_FMT, STR_ARG(place), has_query ? '&' : '?',
                    STR_ARG(p->digest));
    if (redirected)
        q.url = str_fmt(p->a, STR_FMT "&etag=" STR_FMT, STR_ARG(q.url), STR_ARG(pieces_tag(p)));
    return send(p, &q, &reply, e);
}

static err_code push_open_blob(pushing *p, err *e) {
    net_reply reply;
    net_request q = {.method = "HEAD"};
    q.url = session_url(p->s, p->a, "/blobs/" STR_FMT, STR_ARG(p->digest));
    if (!tell(p, 0)) FAIL(e, CANCELLED, "the client went away");
    TRY(session_send(p->s, &q, p->a, &reply, e));
    if (reply.status != 200 && reply.status != 404) return session_refused(&reply, e);
    err_code code = ERR_OK;
    for (int i = 0; reply.status == 404 && i < TRIES; i++) {
        code = upload(p, e);
        if (code != ERR_IO || p->gone) break;
    }
    if (p->gone) FAIL(e, CANCELLED, "the client went away");
    if (code == ERR_OK) tell(p, p->file.len);
    return code;
}

static err_code push_blob(pushing *p, const store_layer *l, err *e) {
    str hex = str_sub(l->digest, 7, 71);
    p->layer = l;
    p->digest = str_fmt(p->a, "sha256:" STR_FMT, STR_ARG(hex));
    p->status = str_fmt(p->a, "pushing " STR_FMT, STR_ARG(str_sub(hex, 0, 12)));
    TRY(file_map_open(store_blob_path(p->r->c.store, p->a, p->digest).ptr, &p->file, e));
    err_code code = push_open_blob(p, e);
    file_map_close(&p->file);
    return code;
}

static err_code push_manifest(pushing *p, str tag, str text, err *e) {
    str type = STR(MANIFEST_TYPE);
    net_reply reply;
    net_request q = {.method = "PUT", .body = text, .headers = &type, .n_headers = 1};
    q.url = session_url(p->s, p->a, "/manifests/" STR_FMT, STR_ARG(tag));
    q.no_follow = true;
    TRY(say(p, "pushing manifest", e));
    return send(p, &q, &reply, e);
}

static err_code push(pushing *p, const store_name *name, err *e) {
    str text;
    store_model m;
    store_layer config;
    TRY(say(p, "retrieving manifest", e));
    if (store_manifest_read(p->r->c.store, p->a, name, &text, e)) {
        err ignored;
        say(p, "couldn't retrieve manifest", &ignored);
        return e->code;
    }
    TRY(store_manifest_parse(p->a, text, &m, &config, e));
    for (size_t i = 0; i < m.n_layers; i++) TRY(push_blob(p, &m.layers[i], e));
    TRY(push_blob(p, &config, e));
    TRY(push_manifest(p, name->tag, text, e));
    return say(p, "success", e);
}

err_code registry_push(registry *r, str name, bool insecure, const registry_report *report,
                       err *e) {
    CLEANUP(arena_destroy) arena *a = arena_create(0);
    pushing p = {.r = r, .a = a, .report = report};
    store_name parsed;
    if (!store_name_parse(a, name, &parsed)) FAIL(e, INVALID, "invalid model name");
    p.s = session_create(r, &parsed, insecure);
    err_code code = push(&p, &parsed, e);
    session_unref(&p.s);
    return code;
}
