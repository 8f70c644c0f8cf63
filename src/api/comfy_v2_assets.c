/* Assets of API v2: uploads by content, results of jobs, and their place in workflows. */
#include "api/comfy_files.h"
#include "api/comfy_owner.h"
#include "api/comfy_queue.h"
#include "api/comfy_v2.h"
#include "base/clock.h"
#include "http/form.h"
#include "os/file.h"
#include "store/blake3.h"
#include "store/image_assets.h"
#include <string.h>

enum { EXPIRES_MIN_S = 60, EXPIRES_MAX_S = 604800 };

static json_t *time_text(int64_t ms) {
    char text[CLOCK_TEXT_BYTES];
    return ms ? json_string(clock_rfc3339_utc(text, ms * NS_PER_MS)) : json_null();
}

static json_t *asset_object(const image_asset *x) {
    json_t *o = json_object();
    json_object_set_new(o, "id", comfy_str(x->id));
    json_object_set_new(o, "hash", comfy_str(x->hash));
    json_object_set_new(o, "size_bytes", json_integer((json_int_t)x->n_bytes));
    json_object_set_new(o, "content_type", comfy_str(x->content_type));
    if (x->file_path.len) json_object_set_new(o, "file_path", comfy_str(x->file_path));
    json_object_set_new(o, "created_at", time_text(x->created_ms));
    json_object_set_new(o, "url", json_sprintf("/api/v2/assets/%s/content", x->id.ptr));
    json_object_set_new(o, "url_expires_at", json_null());
    if (x->expires_ms) json_object_set_new(o, "expires_at", time_text(x->expires_ms));
    if (x->job_id.len) json_object_set_new(o, "job_id", comfy_str(x->job_id));
    return o;
}

static void reply_asset(http_request *r, int status, const image_asset *x) {
    json_t *o = asset_object(x);
    json_object_set_new(o, "created_new", json_boolean(status == 201));
    comfy_reply(r, status, o);
}

static void reply_err(http_request *r, const err *e) {
    comfy_v2_error(r, 500, "upstream_error", e->msg, NULL);
}

/* expires_in as milliseconds from now; false when out of range. */
static bool expiry(str text, int64_t *ret_ms) {
    int64_t seconds;
    *ret_ms = 0;
    if (text.len == 0) return true;
    if (!str_to_i64(text, &seconds) || seconds < EXPIRES_MIN_S || seconds > EXPIRES_MAX_S)
        return false;
    *ret_ms = comfy_now_ms() + seconds * 1000;
    return true;
}

/* A name that is safe as the end of a file's: the extension of what the client said. */
static str extension(arena *a, str name) {
    ptrdiff_t dot = str_rfind_char(name, '.');
    str ext = dot < 0 ? (str){0} : str_sub(name, (size_t)dot + 1, name.len);
    for (size_t i = 0; i < ext.len; i++) {
        char c = (char)(ext.ptr[i] | 0x20);
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'))) return STR("");
    }
    return ext.len == 0 || ext.len > 8 ? STR("") : str_fmt(a, "." STR_FMT, STR_ARG(ext));
}

/* Stores the uploaded bytes under their hash, unless they are there. */
static err_code keep_blob(comfy *c, http_form_file *file, image_asset *x, arena *a, err *e) {
    str dir = str_fmt(a, STR_FMT "/v2", STR_ARG(c->dirs->input));
    str hex = str_sub(x->hash, 7, x->hash.len), ext = extension(a, x->name);
    TRY(file_mkdirs(dir.ptr, e));
    x->path = str_fmt(a, STR_FMT "/" STR_FMT STR_FMT, STR_ARG(dir), STR_ARG(hex), STR_ARG(ext));
    x->reference = str_fmt(a, "v2/" STR_FMT STR_FMT, STR_ARG(hex), STR_ARG(ext));
    return file_exists(x->path.ptr) ? ERR_OK : http_form_take(file, x->path.ptr, e);
}

static void store_upload(http_request *r, comfy *c, http_form *f, http_form_file *file) {
    arena *a = http_request_arena(r);
    char hash[BLAKE3_TEXT_BYTES];
    err e;
    str type = http_form_text(f, "content_type"), want = http_form_text(f, "expected_hash");
    image_asset old, x = {.id = comfy_uuid(a),
                          .file_path = http_form_text(f, "file_path"),
                          .owner = comfy_owner(r)};
    if (!expiry(http_form_text(f, "expires_in"), &x.expires_ms)) {
        comfy_v2_error(r, 422, "invalid_request", "expires_in must be 60 to 604800 seconds", NULL);
        return;
    }
    if (blake3_file(file->path, hash, &e)) {
        reply_err(r, &e);
        return;
    }
    x.hash = str_from(hash);
    if (want.len && !str_eq_nocase(want, x.hash)) {
        comfy_v2_error(r, 409, "hash_mismatch", "the bytes have another hash",
                       json_pack("{s:s}", "hash", hash));
        return;
    }
    x.name = x.file_path.len ? x.file_path : file->filename;
    x.content_type = type.len ? type : file->content_type;
    if (x.content_type.len == 0) x.content_type = str_from(comfy_mime(x.name));
    x.n_bytes = file->n_bytes;
    x.created_ms = comfy_now_ms();
    int status = image_assets_by_hash(c->db, x.owner, x.hash, a, &old, NULL) ? 201 : 200;
    if (keep_blob(c, file, &x, a, &e) || image_assets_insert(c->db, &x, &e))
        reply_err(r, &e);
    else
        reply_asset(r, status, &x);
}

void comfy_v2_asset_post(http_request *r, void *ctx) {
    http_form *f = http_request_form(r);
    http_form_file *file = http_form_file_of(f, "file");
    if (f->problem.code == ERR_LIMIT)
        comfy_v2_error(r, 413, "too_large", f->problem.msg, NULL);
    else if (f->problem.code == ERR_IO)
        comfy_v2_error(r, 500, "upstream_error", f->problem.msg, NULL);
    else if (f->problem.code || !file)
        comfy_v2_error(r, 422, "invalid_request",
                       f->problem.code ? f->problem.msg : "the form has no file", NULL);
    else
        store_upload(r, ctx, f, file);
    http_form_destroy(&f);
}

void comfy_v2_asset_from_hash(http_request *r, void *ctx) {
    comfy *c = ctx;
    arena *a = http_request_arena(r);
    err e;
    image_asset x;
    const json_t *body = comfy_body(r, &e), *expires = json_object_get(body, "expires_in");
    str hash = comfy_text(json_object_get(body, "hash"));
    if (hash.len == 0) {
        comfy_v2_error(r, 422, "invalid_request", "hash is required", NULL);
        return;
    }
    if (image_assets_by_hash(c->db, comfy_owner(r), hash, a, &x, NULL)) {
        comfy_v2_error(r, 404, "blob_not_found", "no asset has this hash", NULL);
        return;
    }
    str seconds = json_is_integer(expires)
                      ? str_fmt(a, "%lld", (long long)json_integer_value(expires))
                      : (str){0};
    x.id = comfy_uuid(a);
    x.owner = comfy_owner(r);
    x.created_ms = comfy_now_ms();
    x.job_id = (str){0};
    x.file_path = comfy_text(json_object_get(body, "file_path"));
    if (!expiry(seconds, &x.expires_ms))
        comfy_v2_error(r, 422, "invalid_request", "expires_in must be 60 to 604800 seconds", NULL);
    else if (image_assets_insert(c->db, &x, &e))
        reply_err(r, &e);
    else
        reply_asset(r, 201, &x);
}

void comfy_v2_asset_by_hash(http_request *r, void *ctx) {
    comfy *c = ctx;
    image_asset x;
    err_code code = image_assets_by_hash(c->db, comfy_owner(r), http_request_param(r, "hash"),
                                         http_request_arena(r), &x, NULL);
    comfy_reply_empty(r, code ? 404 : 200);
}

static bool find_asset(http_request *r, comfy *c, image_asset *ret) {
    if (!image_assets_find(c->db, comfy_owner(r), http_request_param(r, "id"),
                           http_request_arena(r), ret, NULL))
        return true;
    comfy_v2_error(r, 404, "not_found", "there is no such asset", NULL);
    return false;
}

void comfy_v2_asset_get(http_request *r, void *ctx) {
    image_asset x;
    if (find_asset(r, ctx, &x)) comfy_reply(r, 200, asset_object(&x));
}

void comfy_v2_asset_content(http_request *r, void *ctx) {
    image_asset x;
    if (!find_asset(r, ctx, &x)) return;
    http_reply_header(r, "X-Content-Type-Options", "nosniff");
    http_reply_header(r, "Content-Disposition", "attachment");
    if (!http_reply_file(r, x.path.ptr, x.content_type.ptr))
        comfy_v2_error(r, 404, "not_found", "the asset's file is gone", NULL);
}

/* A job that waits or runs names it. */
static bool in_use(comfy *c, const image_asset *x, arena *a) {
    image_jobs_query q = {.states = IMAGE_JOBS_LIVE, .limit = -1};
    image_jobs_page page;
    if (image_jobs_list(c->db, &q, a, &page, NULL)) return true;
    for (size_t i = 0; i < page.n; i++)
        if (str_find(page.jobs[i].graph, x->reference) >= 0) return true;
    return false;
}

void comfy_v2_asset_delete(http_request *r, void *ctx) {
    comfy *c = ctx;
    image_asset x;
    err e;
    bool last;
    if (!find_asset(r, c, &x)) return;
    if (in_use(c, &x, http_request_arena(r))) {
        comfy_v2_error(r, 409, "asset_in_use", "a job that has not ended uses it", NULL);
        return;
    }
    if (image_assets_delete(c->db, x.id, &last, &e)) {
        reply_err(r, &e);
        return;
    }
    bool uploaded = str_starts(x.reference, STR("v2/")); /* results stay where users look */
    if (last && uploaded) file_remove(x.path.ptr, NULL);
    comfy_reply_empty(r, 204);
}

/* ---- in workflows ---- */

static json_t *resolve(http_request *r, comfy *c, const json_t *v, str *ret_missing) {
    arena *a = http_request_arena(r);
    str owner = comfy_owner(r);
    const json_t *info = json_object_get(v, "info");
    str id = comfy_text(json_object_get(info, "id"));
    str hash = comfy_text(json_object_get(info, "hash"));
    image_asset x;
    if (id.len && !image_assets_find(c->db, owner, id, a, &x, NULL)) return comfy_str(x.reference);
    if (hash.len && !image_assets_by_hash(c->db, owner, hash, a, &x, NULL))
        return comfy_str(x.reference);
    *ret_missing = id.len ? id : hash;
    return NULL;
}

bool comfy_v2_resolve_assets(http_request *r, comfy *c, json_t *graph, str *ret_missing) {
    const char *id, *key;
    json_t *node, *v;
    json_object_foreach(graph, id, node) {
        json_t *inputs = json_object_get(node, "inputs");
        json_object_foreach(inputs, key, v) {
            if (!str_eq(comfy_text(json_object_get(v, "__type")), STR("core/ASSET"))) continue;
            json_t *name = resolve(r, c, v, ret_missing);
            if (!name) return false;
            json_object_set_new(inputs, key, name);
        }
    }
    return true;
}
