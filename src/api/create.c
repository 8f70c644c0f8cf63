/* The steps of making a model: base layers, the file's own, the layers over them, the manifest. */
#include "api/create.h"
#include "api/create_impl.h"
#include "api/models.h"
#include "http/json.h"
#include "registry/registry.h"

err_code create_say(building *b, err *e, const char *status, str digest, uint64_t done,
                    uint64_t total) {
    if (b->report->fn(b->report->arg, status, digest, done, total)) return ERR_OK;
    FAIL(e, CANCELLED, "the client went away");
}

err_code create_say_layer(building *b, const store_layer *l, bool existed, err *e) {
    str text = str_fmt(b->c->mem, "%s layer " STR_FMT, existed ? "using existing" : "creating new",
                       STR_ARG(l->digest));
    return create_say(b, e, text.ptr, (str){0}, 0, 0);
}

static err_code add_text(building *b, store_layer_kind kind, str text, err *e) {
    store_layer l;
    TRY(store_add_layer(b->a->store, b->c->mem, kind, text, &l, e));
    VEC_PUSH(b->layers, l);
    return create_say_layer(b, &l, l.existed, e);
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

/* One that is not here is pulled. */
static err_code find_base(building *b, store_model *ret, err *e) {
    const create_request *c = b->c;
    err_code code = store_find(b->a->store, c->from, c->mem, ret, e);
    if (code != ERR_NOT_FOUND) return code;
    registry_report lines = {b->report->fn, b->report->arg};
    TRY(registry_pull(b->a->registry, c->from, false, &lines, e));
    return store_find(b->a->store, c->from, c->mem, ret, e);
}

static err_code add_base(building *b, err *e) {
    store_model base;
    const create_request *c = b->c;
    TRY(find_base(b, &base, e));
    b->config = base.config;
    const store_layer *params = store_model_layer(&base, STORE_LAYER_PARAMS);
    if (params) TRY(store_blob_read(b->a->store, c->mem, params->digest, &b->base_params, e));
    for (size_t i = 0; i < base.n_layers; i++) {
        store_layer l = base.layers[i];
        if (replaced(c, l.kind)) continue;
        if (l.kind == STORE_LAYER_MODEL) {
            str digest = l.digest;
            if (c->quantize.len) TRY(create_quantize(b, &digest, e));
            TRY(store_use_layer(b->a->store, c->mem, l.kind, digest, &l, e));
            l.from = base.display;
        }
        VEC_PUSH(b->layers, l);
        TRY(create_say_layer(b, &l, true, e));
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
    const create_request *c = b->c;
    TRY(store_check_writable(b->a->store, e));
    TRY(c->from.len ? add_base(b, e) : create_add_files(b, e));
    TRY(create_add_adapter(b, e));
    if (c->renderer.len) b->config.renderer = c->renderer;
    if (c->parser.len) b->config.parser = c->parser;
    if (c->requires_version.len) b->config.requires_version = c->requires_version;
    TRY(add_layers(b, e));
    TRY(create_say(b, e, "writing manifest", (str){0}, 0, 0));
    TRY(store_put(b->a->store, &b->c->name, &b->config, b->layers.items, b->layers.len, e));
    return create_say(b, e, "success", (str){0}, 0, 0);
}

err_code create_run(api *a, const create_request *c, const create_report *report, err *e) {
    building b = {.a = a, .c = c, .report = report};
    err_code code = build(&b, e);
    VEC_FINISH(b.layers);
    return code;
}
