/* The steps of making a model: base layers, the file's own, the layers over them, the manifest. */
#include "api/create.h"
#include "api/models.h"
#include "base/vec.h"
#include "engine/engine.h"
#include "http/json.h"
#include "os/file.h"
#include <math.h>

typedef struct building {
    api *a;
    const create_request *c;
    const create_report *report;
    store_config config;
    VEC(store_layer) layers;
    str base_params; /* JSON of the base model's PARAMS layer */
} building;

static err_code say(building *b, err *e, const char *status, str digest, uint64_t done,
                    uint64_t total) {
    if (b->report->fn(b->report->arg, status, digest, done, total)) return ERR_OK;
    FAIL(e, CANCELLED, "the client went away");
}

static err_code say_layer(building *b, const store_layer *l, bool existed, err *e) {
    str text = str_fmt(b->c->mem, "%s layer " STR_FMT, existed ? "using existing" : "creating new",
                       STR_ARG(l->digest));
    return say(b, e, text.ptr, (str){0}, 0, 0);
}

static err_code add_text(building *b, store_layer_kind kind, str text, err *e) {
    store_layer l;
    TRY(store_add_layer(b->a->store, b->c->mem, kind, text, &l, e));
    VEC_PUSH(b->layers, l);
    return say_layer(b, &l, l.existed, e);
}

/* "134.52M", "8B": as listings show sizes. */
static str size_text(arena *a, int64_t n) {
    double v = (double)n;
    if (v >= 1e9) return str_fmt(a, v / 1e9 == floor(v / 1e9) ? "%.0fB" : "%.1fB", v / 1e9);
    if (v >= 1e6) return str_fmt(a, v / 1e6 == floor(v / 1e6) ? "%.0fM" : "%.2fM", v / 1e6);
    return v >= 1e3 ? str_fmt(a, "%.0fK", v / 1e3) : str_fmt(a, "%.0f", v);
}

static err_code describe_file(building *b, const char *path, err *e) {
    engine_file_info info;
    TRY(engine_file_read(b->a->eng, str_from(path), ENGINE_FILE_SHORT, b->c->mem, &info, e));
    if (info.architecture.len == 0)
        FAIL(e, FORMAT, "the file names no model architecture (general.architecture)");
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

typedef struct quantizing {
    building *b;
    str status, digest;
} quantizing;

static bool on_quantized(void *arg, uint64_t done, uint64_t total) {
    quantizing *q = arg;
    return q->b->report->fn(q->b->report->arg, q->status.ptr, q->digest, done, total);
}

/* Streams a file into the store. */
static err_code store_file(building *b, const char *path, str *ret_digest, err *e) {
    file_map map;
    store_writer *w;
    TRY(file_map_open(path, &map, e));
    err_code code = store_writer_open(b->a->store, &w, e);
    if (code == ERR_OK) {
        code = store_writer_put(w, map.ptr, (size_t)map.len, e);
        if (code)
            store_writer_abort(&w);
        else
            code = store_writer_commit(&w, (str){0}, b->c->mem, ret_digest, e);
    }
    file_map_close(&map);
    return code;
}

/* *digest: the file as it came; afterwards the quantised one, which is in the store too. */
static err_code quantize_file(building *b, str *digest, err *e) {
    const create_request *c = b->c;
    str path = store_blob_path(b->a->store, c->mem, *digest);
    char *temp = str_cstr(c->mem, str_fmt(c->mem, STR_FMT ".quantizing", STR_ARG(path)));
    quantizing q = {.b = b, .digest = *digest};
    q.status = str_fmt(c->mem, "quantizing " STR_FMT " model to " STR_FMT,
                       STR_ARG(b->config.file_type), STR_ARG(c->quantize));
    engine_progress progress = {on_quantized, &q};
    TRY(engine_quantize(b->a->eng, path.ptr, temp, str_cstr(c->mem, c->quantize), &progress, e));
    err_code code = store_file(b, temp, digest, e);
    file_remove(temp, NULL);
    if (code == ERR_OK)
        code = describe_file(b, store_blob_path(b->a->store, c->mem, *digest).ptr, e);
    return code;
}

static err_code add_file(building *b, err *e) {
    str digest = b->c->file_digest;
    TRY(say(b, e, "parsing GGUF", (str){0}, 0, 0));
    if (!store_blob_exists(b->a->store, digest))
        FAIL(e, NOT_FOUND,
             "blob " STR_FMT " is not here: upload it first (POST /api/blobs/" STR_FMT ")",
             STR_ARG(digest), STR_ARG(digest));
    str path = store_blob_path(b->a->store, b->c->mem, digest);
    err why = {0};
    if (describe_file(b, path.ptr, &why)) {
        if (str_find(str_from(why.msg), STR("not a GGUF file")) >= 0)
            FAIL(e, FORMAT, "supplied file was not in GGUF format");
        return err_set(e, why.code, "%s", why.msg);
    }
    if (b->c->quantize.len) TRY(quantize_file(b, &digest, e));
    store_layer l;
    TRY(store_use_layer(b->a->store, b->c->mem, STORE_LAYER_MODEL, digest, &l, e));
    VEC_PUSH(b->layers, l);
    return say_layer(b, &l, true, e);
}

static bool replaced(const create_request *c, store_layer_kind kind) {
    switch (kind) {
    case STORE_LAYER_TEMPLATE:
        return c->has_template;
    case STORE_LAYER_SYSTEM:
        return c->has_system;
    case STORE_LAYER_PARAMS: /* merged, then written again */
        return true;
    case STORE_LAYER_MESSAGES:
        return c->messages != NULL;
    case STORE_LAYER_LICENSE:
        return c->n_licenses > 0;
    case STORE_LAYER_MODEL:
    case STORE_LAYER_PROJECTOR:
    case STORE_LAYER_ADAPTER:
    case STORE_LAYER_OTHER:
        break;
    }
    return false;
}

static err_code add_base(building *b, err *e) {
    store_model base;
    const create_request *c = b->c;
    TRY(store_find(b->a->store, c->from, c->mem, &base, e));
    b->config = base.config;
    const store_layer *params = store_model_layer(&base, STORE_LAYER_PARAMS);
    if (params) TRY(store_blob_read(b->a->store, c->mem, params->digest, &b->base_params, e));
    for (size_t i = 0; i < base.n_layers; i++) {
        store_layer l = base.layers[i];
        if (replaced(c, l.kind)) continue;
        if (l.kind == STORE_LAYER_MODEL) {
            str digest = l.digest;
            if (c->quantize.len) TRY(quantize_file(b, &digest, e));
            TRY(store_use_layer(b->a->store, c->mem, l.kind, digest, &l, e));
            l.from = base.display;
        }
        VEC_PUSH(b->layers, l);
        TRY(say_layer(b, &l, true, e));
    }
    return ERR_OK;
}

/* The base's parameters under the request's. */
static err_code add_params(building *b, err *e) {
    json_t *all = NULL;
    if (b->base_params.len) TRY(json_parse(b->base_params, &all, e));
    if (!json_is_object(all)) {
        json_decref(all);
        all = json_object();
    }
    if (b->c->parameters) json_object_update(all, (json_t *)(uintptr_t)b->c->parameters);
    err_code code = ERR_OK;
    if (json_object_size(all) > 0) {
        buf text = {0};
        json_write(&text, all);
        code = add_text(b, STORE_LAYER_PARAMS, buf_str(&text), e);
        buf_finish(&text);
    }
    json_decref(all);
    return code;
}

static err_code add_layers(building *b, err *e) {
    const create_request *c = b->c;
    if (c->template_text.len) TRY(add_text(b, STORE_LAYER_TEMPLATE, c->template_text, e));
    if (c->system.len) TRY(add_text(b, STORE_LAYER_SYSTEM, c->system, e));
    for (size_t i = 0; i < c->n_licenses; i++)
        TRY(add_text(b, STORE_LAYER_LICENSE, c->licenses[i], e));
    TRY(add_params(b, e));
    if (!c->messages || json_array_size(c->messages) == 0) return ERR_OK;
    buf text = {0};
    json_write(&text, c->messages);
    err_code code = add_text(b, STORE_LAYER_MESSAGES, buf_str(&text), e);
    buf_finish(&text);
    return code;
}

static err_code build(building *b, err *e) {
    TRY(b->c->from.len ? add_base(b, e) : add_file(b, e));
    TRY(add_layers(b, e));
    TRY(say(b, e, "writing manifest", (str){0}, 0, 0));
    TRY(store_put(b->a->store, &b->c->name, &b->config, b->layers.items, b->layers.len, e));
    return say(b, e, "success", (str){0}, 0, 0);
}

err_code create_run(api *a, const create_request *c, const create_report *report, err *e) {
    building b = {.a = a, .c = c, .report = report};
    err_code code = build(&b, e);
    VEC_FINISH(b.layers);
    return code;
}
