/* Models from uploaded files: a GGUF, a split GGUF, a model with its projector, or a directory of
 * safetensors, which is converted. */
#include "api/create_impl.h"
#include "engine/engine.h"
#include "os/file.h"
#include <math.h>
#include <stdlib.h>

/* "134.52M", "8B": as listings show sizes. */
static str size_text(arena *a, int64_t n) {
    double v = (double)n;
    if (v >= 1e9) return str_fmt(a, v / 1e9 == floor(v / 1e9) ? "%.0fB" : "%.1fB", v / 1e9);
    if (v >= 1e6) return str_fmt(a, v / 1e6 == floor(v / 1e6) ? "%.0fM" : "%.2fM", v / 1e6);
    return v >= 1e3 ? str_fmt(a, "%.0fK", v / 1e3) : str_fmt(a, "%.0f", v);
}

static err_code read_file(building *b, const char *path, engine_file_info *ret, err *e) {
    err why = {0};
    if (engine_file_read(b->a->eng, str_from(path), ENGINE_FILE_SHORT, b->c->mem, ret, &why)) {
        if (str_find(str_from(why.msg), STR("not a GGUF file")) >= 0)
            FAIL(e, FORMAT, "supplied file was not in GGUF format");
        return err_set(e, why.code, "%s", why.msg);
    }
    if (ret->architecture.len == 0)
        FAIL(e, FORMAT, "the file names no model architecture (general.architecture)");
    return ERR_OK;
}

static err_code describe(building *b, const char *path, err *e) {
    engine_file_info info;
    TRY(read_file(b, path, &info, e));
    str *caps = ARENA_ARRAY(b->c->mem, str, 1);
    caps[0] = info.can_embed ? STR("embedding") : STR("completion");
    b->config = (store_config){.format = STR("gguf"),
                               .family = info.architecture,
                               .size_text = size_text(b->c->mem, info.n_params),
                               .file_type = info.file_type,
                               .ctx_train = info.ctx_train,
                               .n_embd = info.n_embd,
                               .capabilities = caps,
                               .n_capabilities = 1};
    return ERR_OK;
}

/* ---- steps that write a new file ---- */

bool create_progress(void *step, uint64_t done, uint64_t total) {
    const create_step *s = step;
    return s->b->report->fn(s->b->report->arg, s->status, s->digest, done, total);
}

err_code create_adopt(building *b, const char *temp, err_code code, str *ret_digest, err *e) {
    if (code == ERR_OK) code = store_adopt(b->a->store, temp, b->c->mem, ret_digest, e);
    if (code) file_remove(temp, NULL);
    return code;
}

err_code create_quantize(building *b, str *digest, err *e) {
    const create_request *c = b->c;
    str path = store_blob_path(b->a->store, c->mem, *digest);
    str temp = store_temp_path(b->a->store, c->mem);
    str status = str_fmt(c->mem, "quantizing " STR_FMT " model to " STR_FMT,
                         STR_ARG(b->config.file_type), STR_ARG(c->quantize));
    create_step s = {b, status.ptr, *digest};
    engine_progress progress = {create_progress, &s};
    err_code code =
        engine_quantize(b->a->eng, path.ptr, temp.ptr, str_cstr(c->mem, c->quantize), &progress, e);
    TRY(create_adopt(b, temp.ptr, code, digest, e));
    return describe(b, store_blob_path(b->a->store, c->mem, *digest).ptr, e);
}

const char *create_blob_path(building *b, str digest) {
    return store_blob_path(b->a->store, b->c->mem, digest).ptr;
}

static err_code take_links(building *b, err *e) {
    for (size_t i = 0; i < b->c->n_links; i++) {
        const create_file *l = &b->c->links[i];
        bool is_there = store_blob_exists(b->a->store, l->digest);
        if (!is_there || store_check_link(b->a->store, l->digest, NULL)) /* or it is stale */
            TRY(store_link(b->a->store, l->name.ptr, l->digest, e));
    }
    return ERR_OK;
}

err_code create_sources(building *b, const create_file *files, size_t n, const engine_source **ret,
                        err *e) {
    engine_source *list = ARENA_ARRAY(b->c->mem, engine_source, n + 1);
    TRY(take_links(b, e));
    for (size_t i = 0; i < n; i++) {
        if (!store_blob_exists(b->a->store, files[i].digest))
            FAIL(e, NOT_FOUND,
                 "blob " STR_FMT " is not here: upload it first (POST /api/blobs/" STR_FMT ")",
                 STR_ARG(files[i].digest), STR_ARG(files[i].digest));
        list[i] = (engine_source){files[i].name, create_blob_path(b, files[i].digest)};
    }
    *ret = list;
    return ERR_OK;
}

static err_code convert(building *b, str *ret_digest, err *e) {
    const create_request *c = b->c;
    const engine_source *list;
    TRY(create_sources(b, c->files, c->n_files, &list, e));
    str temp = store_temp_path(b->a->store, c->mem);
    create_step s = {b, "converting model", (str){0}};
    engine_progress progress = {create_progress, &s};
    TRY(create_say(b, e, s.status, s.digest, 0, 0));
    err_code code = engine_convert(b->a->eng, list, c->n_files, temp.ptr, &progress, e);
    return create_adopt(b, temp.ptr, code, ret_digest, e);
}

/* ---- split files ---- */

/* "x-00002-of-00005.gguf": 2 and 5. */
static bool split_numbers(str name, int64_t *ret_no, int64_t *ret_n) {
    static const size_t TAIL = sizeof "-00002-of-00005.gguf" - 1;
    if (name.len < TAIL || !str_ends(name, STR(".gguf"))) return false;
    str tail = str_sub(name, name.len - TAIL, name.len);
    if (tail.ptr[0] != '-' || !str_eq(str_sub(tail, 6, 10), STR("-of-"))) return false;
    return str_to_i64(str_sub(tail, 1, 6), ret_no) && str_to_i64(str_sub(tail, 10, 15), ret_n);
}

static err_code merge(building *b, const create_file *const *parts, size_t n, str *ret_digest,
                      err *e) {
    const create_request *c = b->c;
    const char **paths = ARENA_ARRAY(c->mem, const char *, n);
    for (size_t i = 0; i < n; i++) {
        int64_t no, of;
        if (!split_numbers(parts[i]->name, &no, &of) || of != (int64_t)n || no < 1 || no > of)
            FAIL(e, INVALID, STR_FMT ": %zu parts were given", STR_ARG(parts[i]->name), n);
        paths[no - 1] = create_blob_path(b, parts[i]->digest);
    }
    for (size_t i = 0; i < n; i++)
        if (!paths[i]) FAIL(e, INVALID, "part %zu of %zu is missing", i + 1, n);
    str temp = store_temp_path(b->a->store, c->mem);
    create_step s = {b, "merging model", (str){0}};
    engine_progress progress = {create_progress, &s};
    err_code code = engine_merge(b->a->eng, paths, n, temp.ptr, &progress, e);
    return create_adopt(b, temp.ptr, code, ret_digest, e);
}

/* ---- the files ---- */

err_code create_add_layer(building *b, store_layer_kind kind, str digest, err *e) {
    store_layer l;
    TRY(store_use_layer(b->a->store, b->c->mem, kind, digest, &l, e));
    VEC_PUSH(b->layers, l);
    return create_say_layer(b, &l, true, e);
}

static err_code add_model(building *b, str digest, err *e) {
    TRY(describe(b, create_blob_path(b, digest), e));
    if (b->c->quantize.len) TRY(create_quantize(b, &digest, e));
    return create_add_layer(b, STORE_LAYER_MODEL, digest, e);
}

static bool is_adapter(const engine_file_info *f) {
    const value *type = value_get(f->kv, STR("general.type"));
    return type && type->kind == VALUE_STR && str_eq(type->as.text, STR("adapter"));
}

/* GGUFs: parts of one model, or a model and its projector. */
static err_code add_ggufs(building *b, err *e) {
    const create_request *c = b->c;
    const create_file **parts = ARENA_ARRAY(c->mem, const create_file *, c->n_files);
    size_t n_parts = 0;
    str model = {0}, projector = {0};
    for (size_t i = 0; i < c->n_files; i++) {
        int64_t no, of;
        engine_file_info info;
        if (split_numbers(c->files[i].name, &no, &of) && of > 1) {
            parts[n_parts++] = &c->files[i];
            continue;
        }
        TRY(read_file(b, create_blob_path(b, c->files[i].digest), &info, e));
        if (is_adapter(&info))
            FAIL(e, INVALID,
                 STR_FMT
                 " is an adapter: name it in an ADAPTER line, and in FROM the model that it "
                 "is for",
                 STR_ARG(c->files[i].name));
        str *place = str_eq(info.architecture, STR("clip")) ? &projector : &model;
        if (place->len)
            FAIL(e, INVALID, STR_FMT ": two files of one kind; a model has one",
                 STR_ARG(c->files[i].name));
        *place = c->files[i].digest;
    }
    if (n_parts && model.len) FAIL(e, INVALID, "a split model and another one");
    if (n_parts) TRY(merge(b, parts, n_parts, &model, e));
    if (model.len == 0) FAIL(e, INVALID, "there is no model among the files");
    TRY(add_model(b, model, e));
    return projector.len ? create_add_layer(b, STORE_LAYER_PROJECTOR, projector, e) : ERR_OK;
}

err_code create_add_files(building *b, err *e) {
    const create_request *c = b->c;
    bool tensors = false;
    for (size_t i = 0; i < c->n_files; i++)
        tensors = tensors || str_ends(c->files[i].name, STR(".safetensors"));
    if (!tensors) {
        const engine_source *list;
        TRY(create_say(b, e, "parsing GGUF", (str){0}, 0, 0));
        TRY(create_sources(b, c->files, c->n_files, &list, e));
        return add_ggufs(b, e);
    }
    str digest = {0};
    TRY(convert(b, &digest, e));
    return add_model(b, digest, e);
}
