/* Models that a Hugging Face repository holds as a split GGUF, which it does not serve as a model:
 * its files are listed, and the parts of the quantisation that is meant become blobs. */
#include "base/buf.h"
#include "base/limits.h"
#include "os/file.h"
#include "registry/registry_impl.h"
#include <jansson.h>
#include <string.h>

enum { TAIL = sizeof "-00002-of-00005.gguf" - 1 };

typedef struct sharding {
    session *s;
    arena *a;
    const registry_report *report;
    str status, digest;
    uint64_t n_bytes;
} sharding;

static bool on_tick(void *arg, uint64_t done) {
    sharding *h = arg;
    return h->report->fn(h->report->arg, h->status.ptr, h->digest, done, h->n_bytes);
}

static bool split_numbers(str name, int64_t *ret_no, int64_t *ret_n) {
    if (name.len <= TAIL || !str_ends(name, STR(".gguf"))) return false;
    str tail = str_sub(name, name.len - TAIL, name.len);
    return tail.ptr[0] == '-' && str_eq(str_sub(tail, 6, 10), STR("-of-")) &&
           str_to_i64(str_sub(tail, 1, 6), ret_no) && str_to_i64(str_sub(tail, 10, 15), ret_n) &&
           *ret_no >= 1 && *ret_no <= *ret_n && *ret_n <= LIMIT_CREATE_FILES;
}

/* Is it a part of the quantisation that the tag names? */
static bool is_wanted(arena *a, const json_t *file, str quant, str *ret_path) {
    int64_t no, n;
    str path = str_from(json_string_value(json_object_get(file, "path")));
    const json_t *lfs = json_object_get(file, "lfs");
    str digest = str_fmt(a, "sha256:%s",
                         json_is_string(json_object_get(lfs, "oid"))
                             ? json_string_value(json_object_get(lfs, "oid"))
                             : "");
    *ret_path = path;
    return split_numbers(path, &no, &n) && str_find(str_lower(a, path), quant) >= 0 &&
           store_digest_valid(digest) && str_find(path, STR("..")) < 0;
}

static err_code pull_part(sharding *h, const json_t *file, str path, registry_shard *ret, err *e) {
    registry *r = h->s->r;
    const json_t *lfs = json_object_get(file, "lfs");
    json_int_t n = json_integer_value(json_object_get(lfs, "size"));
    if (n <= 0) n = json_integer_value(json_object_get(file, "size"));
    if (n <= 0 || (uint64_t)n > LIMIT_BLOB_BYTES)
        FAIL(e, FORMAT, STR_FMT ": the site does not say how large it is", STR_ARG(path));
    str hex = str_dup(h->a, str_from(json_string_value(json_object_get(lfs, "oid"))));
    h->digest = str_fmt(h->a, "sha256:" STR_FMT, STR_ARG(hex));
    h->status = str_fmt(h->a, "pulling " STR_FMT, STR_ARG(str_sub(hex, 0, 12)));
    h->n_bytes = (uint64_t)n;
    transfer_goal goal = {.path = store_blob_path(r->c.store, h->a, h->digest),
                          .url = session_file_url(h->s, h->a, STR("main"), path),
                          .n_bytes = h->n_bytes,
                          .sha256 = hex,
                          .what = str_dup(h->a, path).ptr};
    transfer_tick tick = {on_tick, h};
    if (!on_tick(h, 0)) FAIL(e, CANCELLED, "the client went away");
    if (!store_blob_exists(r->c.store, h->digest)) TRY(transfer_run(h->s, &goal, &tick, e));
    on_tick(h, h->n_bytes);
    ptrdiff_t slash = str_rfind_char(path, '/');
    *ret = (registry_shard){str_dup(h->a, str_sub(path, (size_t)(slash + 1), path.len)), h->digest};
    return ERR_OK;
}

/* The parts of the first model in the list that fits. */
static err_code pull_parts(sharding *h, const json_t *list, str quant, registry_shard **ret,
                           size_t *ret_n, err *e) {
    const json_t *file;
    size_t i;
    str path, head = {0};
    int64_t no, n = 0;
    json_array_foreach(list, i, file) {
        if (!is_wanted(h->a, file, quant, &path)) continue;
        str this_head = str_sub(path, 0, path.len - TAIL);
        if (head.len && !str_eq(head, this_head)) continue;
        split_numbers(path, &no, &n);
        if (head.len == 0) *ret = ARENA_ARRAY(h->a, registry_shard, (size_t)n);
        head = this_head;
        if (*ret_n == (size_t)n) FAIL(e, FORMAT, STR_FMT ": too many parts", STR_ARG(head));
        TRY(pull_part(h, file, path, &(*ret)[(*ret_n)++], e));
    }
    if (*ret_n == 0 || *ret_n != (size_t)n)
        FAIL(e, NOT_FOUND, "the repository has %zu of %lld parts of a split model \"" STR_FMT "\"",
             *ret_n, (long long)n, STR_ARG(quant));
    return ERR_OK;
}

err_code registry_pull_shards(registry *r, const store_name *name, const registry_report *report,
                              arena *a, registry_shards *ret, err *e) {
    str repo = str_fmt(a, STR_FMT "/" STR_FMT, STR_ARG(name->space), STR_ARG(name->model));
    bool any = str_eq_nocase(name->tag, STR("latest"));
    str quant = any ? STR("q4_k_m") : str_lower(a, name->tag);
    sharding h = {.a = a, .report = report};
    net_reply reply;
    TRY(store_check_writable(r->c.store, e));
    h.s = session_create_hf(r, repo);
    net_request q = {.url = str_fmt(a, STR_FMT "/api/models/" STR_FMT "/tree/main?recursive=true",
                                    STR_ARG(h.s->base), STR_ARG(repo))};
    err_code code = session_send(h.s, &q, a, &reply, e);
    if (code == ERR_OK && reply.status != 200) code = session_refused(&reply, e);
    if (code == ERR_OK) {
        json_t *list = json_loadb(reply.body.ptr, reply.body.len, 0, NULL);
        *ret = (registry_shards){0};
        code = pull_parts(&h, list, quant, &ret->items, &ret->n, e);
        json_decref(list);
    }
    session_unref(&h.s);
    return code;
}
