/* The adapter of a new model: a GGUF as it is, or a directory of safetensors that is converted. It
 * is held against the model that it shall change, so that what does not fit is refused here. */
#include "api/create_impl.h"

static const store_layer *find_layer(const building *b, store_layer_kind kind) {
    for (size_t i = 0; i < b->layers.len; i++)
        if (b->layers.items[i].kind == kind) return &b->layers.items[i];
    return NULL;
}

static err_code convert(building *b, const engine_source *list, const char *model, str *ret_digest,
                        err *e) {
    const create_request *c = b->c;
    str temp = store_temp_path(b->a->store, c->mem);
    create_step s = {b, "converting adapter", (str){0}};
    engine_progress progress = {create_progress, &s};
    TRY(create_say(b, e, s.status, s.digest, 0, 0));
    err_code code = engine_convert_adapter(list, c->n_adapters, model, temp.ptr, &progress, e);
    return create_adopt(b, temp.ptr, code, ret_digest, e);
}

static err_code check(building *b, const char *model, str digest, err *e) {
    const engine_model both = {.path = str_from(model),
                               .adapter = str_from(create_blob_path(b, digest))};
    err why = {0};
    if (engine_check_adapter(b->a->eng, &both, &why) == ERR_OK) return ERR_OK;
    if (str_find(str_from(why.msg), STR("not a GGUF file")) >= 0)
        FAIL(e, FORMAT, "supplied file was not in GGUF format");
    return err_set(e, why.code, "%s", why.msg);
}

static err_code check_only_one(const building *b, bool tensors, err *e) {
    const create_request *c = b->c;
    if (find_layer(b, STORE_LAYER_ADAPTER))
        FAIL(e, INVALID, "only one adapter is currently supported: \"" STR_FMT "\" has one already",
             STR_ARG(c->from));
    if (!tensors && c->n_adapters > 1)
        FAIL(e, INVALID, "only one adapter is currently supported: %zu were given", c->n_adapters);
    return ERR_OK;
}

err_code create_add_adapter(building *b, err *e) {
    const create_request *c = b->c;
    const engine_source *list;
    bool tensors = false;
    if (c->n_adapters == 0) return ERR_OK;
    for (size_t i = 0; i < c->n_adapters; i++)
        tensors = tensors || str_ends(c->adapters[i].name, STR(".safetensors"));
    TRY(check_only_one(b, tensors, e));
    const store_layer *base = find_layer(b, STORE_LAYER_MODEL);
    if (!base) FAIL(e, INVALID, "there is no model for the adapter");
    const char *model = create_blob_path(b, base->digest);
    TRY(create_sources(b, c->adapters, c->n_adapters, &list, e));
    str digest = c->adapters[0].digest;
    if (tensors)
        TRY(convert(b, list, model, &digest, e));
    else
        TRY(create_say(b, e, "parsing GGUF", (str){0}, 0, 0));
    TRY(check(b, model, digest, e));
    return create_add_layer(b, STORE_LAYER_ADAPTER, digest, e);
}
