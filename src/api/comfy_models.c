/* The node catalogue and the model folders. */
#include "api/comfy.h"
#include "api/comfy_engine.h"
#include "base/limits.h"
#include "os/file.h"
#include <string.h>

void comfy_object_info(http_request *r, void *ctx) {
    comfy_reply(r, 200, comfy_engine_info(ctx, (str){0}));
}

void comfy_object_info_one(http_request *r, void *ctx) {
    comfy_reply(r, 200, comfy_engine_info(ctx, http_request_param(r, "class")));
}

static json_t *names_of(const folder *f, arena *a) {
    size_t n;
    folder_file *files = folder_list(f, a, &n);
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) json_array_append_new(list, comfy_str(files[i].name));
    return list;
}

void comfy_embeddings(http_request *r, void *ctx) {
    comfy *c = ctx;
    arena *a = http_request_arena(r);
    size_t n;
    folder_file *files = folder_list(folders_find(c->dirs, STR("embeddings")), a, &n);
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) {
        ptrdiff_t dot = str_rfind_char(files[i].name, '.');
        str stem = dot < 0 ? files[i].name : str_sub(files[i].name, 0, (size_t)dot);
        json_array_append_new(list, comfy_str(stem));
    }
    comfy_reply(r, 200, list);
}

void comfy_models(http_request *r, void *ctx) {
    comfy *c = ctx;
    json_t *list = json_array();
    for (size_t i = 0; i < c->dirs->n; i++)
        json_array_append_new(list, comfy_str(c->dirs->items[i].key));
    comfy_reply(r, 200, list);
}

/* The folder of the request's parameter; NULL: answered 404. */
static const folder *folder_of(http_request *r, comfy *c) {
    const folder *f = folders_find(c->dirs, http_request_param(r, "folder"));
    if (!f) comfy_reply_empty(r, 404);
    return f;
}

void comfy_models_of(http_request *r, void *ctx) {
    const folder *f = folder_of(r, ctx);
    if (f) comfy_reply(r, 200, names_of(f, http_request_arena(r)));
}

static json_t *paths_of(const folder *f) {
    json_t *paths = json_array();
    for (size_t i = 0; i < f->n_paths; i++) json_array_append_new(paths, comfy_str(f->paths[i]));
    return paths;
}

static json_t *extensions_of(const folder *f) {
    json_t *list = json_array();
    for (str rest = str_from(f->extensions); rest.len;)
        json_array_append_new(list, comfy_str(str_cut(&rest, ' ')));
    return list;
}

void comfy_experiment_models(http_request *r, void *ctx) {
    comfy *c = ctx;
    json_t *list = json_array();
    for (size_t i = 0; i < c->dirs->n; i++) {
        const folder *f = &c->dirs->items[i];
        if (str_eq(f->key, STR("configs")) || str_eq(f->key, STR("custom_nodes"))) continue;
        json_array_append_new(list,
                              json_pack("{s:o, s:o, s:o}", "name", comfy_str(f->key), "folders",
                                        paths_of(f), "extensions", extensions_of(f)));
    }
    comfy_reply(r, 200, list);
}

void comfy_experiment_models_of(http_request *r, void *ctx) {
    const folder *f = folder_of(r, ctx);
    if (!f) return;
    size_t n;
    folder_file *files = folder_list(f, http_request_arena(r), &n);
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(list, json_pack("{s:o, s:I, s:f, s:f, s:I}", "name",
                                              comfy_str(files[i].name), "pathIndex",
                                              (json_int_t)files[i].path_index, "modified",
                                              files[i].modified_s, "created", files[i].created_s,
                                              "size", (json_int_t)files[i].n_bytes));
    comfy_reply(r, 200, list);
}

/* A picture beside the model: stem.png, stem.preview.png and the like. */
void comfy_model_preview(http_request *r, void *ctx) {
    static const char *const ends[] = {".png", ".jpg",         ".jpeg",        ".webp",
                                       ".gif", ".preview.png", ".preview.jpg", ".preview.webp"};
    comfy *c = ctx;
    const folder *f = folder_of(r, c);
    arena *a = http_request_arena(r);
    int64_t index;
    str name = http_request_param(r, "file"), path;
    if (!f) return;
    ptrdiff_t dot = str_rfind_char(name, '.');
    if (str_to_i64(http_request_param(r, "index"), &index) && index >= 0 &&
        (size_t)index < f->n_paths && dot > 0) {
        for (size_t i = 0; i < COUNT_OF(ends); i++) {
            str beside = str_fmt(a, "%.*s%s", (int)dot, name.ptr, ends[i]);
            if (path_inside(a, f->paths[index], beside, &path) &&
                http_reply_file(r, path.ptr, comfy_mime(beside)))
                return;
        }
    }
    comfy_reply_empty(r, 404);
}

/* The __metadata__ of a safetensors file's header. */
static json_t *read_metadata(const char *path) {
    file_map m;
    if (file_map_open(path, &m, NULL)) return NULL;
    json_t *header = NULL, *metadata = NULL;
    uint64_t len = 0;
    for (size_t i = 8; m.len > 8 && i-- > 0;) len = len << 8 | m.ptr[i];
    if (len > 0 && len <= LIMIT_METADATA_BYTES && len <= m.len - 8)
        header = comfy_json_read((str){(const char *)m.ptr + 8, (size_t)len}, NULL);
    metadata = json_incref(json_object_get(header, "__metadata__"));
    json_decref(header);
    file_map_close(&m);
    return metadata;
}

void comfy_view_metadata(http_request *r, void *ctx) {
    comfy *c = ctx;
    str name = http_request_query(r, "filename"), path;
    const folder *f = folders_find(c->dirs, http_request_param(r, "folder"));
    json_t *metadata = NULL;
    if (f && str_ends(name, STR(".safetensors")) &&
        folder_path(f, name, http_request_arena(r), &path))
        metadata = read_metadata(path.ptr);
    if (metadata)
        comfy_reply(r, 200, metadata);
    else
        comfy_reply_empty(r, 404);
}

void comfy_folder_paths(http_request *r, void *ctx) {
    comfy *c = ctx;
    json_t *out = json_object();
    for (size_t i = 0; i < c->dirs->n; i++)
        json_object_set_new(out, c->dirs->items[i].key.ptr, paths_of(&c->dirs->items[i]));
    comfy_reply(r, 200, out);
}
