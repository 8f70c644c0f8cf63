/* Resolving a model name to everything a handler needs to know. */
#include "api/models.h"
#include "engine/flow_job.h"
#include "engine/template.h"
#include "http/json.h"

/* The text of the first layer of a kind; empty when there is none. */
static err_code layer_text(api *a, arena *mem, const store_model *m, store_layer_kind kind,
                           str *ret, err *e) {
    const store_layer *l = store_model_layer(m, kind);
    return l ? store_blob_read(a->store, mem, l->digest, ret, e) : ERR_OK;
}

static err_code apply_params(api_model *m, arena *mem, err *e) {
    if (m->params_text.len == 0) return ERR_OK;
    json_t *params;
    TRY(json_parse(m->params_text, &params, e));
    err_code code = options_apply(&m->options, params, mem, e);
    json_decref(params);
    return code;
}

/* A template of the store's own says what the model can do. */
static void take_template(api_model *m) {
    engine_template_info own;
    if (m->template_text.len == 0 || engine_template_inspect(m->template_text, &own, NULL)) return;
    m->file.has_tools = own.has_tools;
    m->file.has_thinking = own.has_thinking;
    m->file.has_insert = own.has_insert;
}

/* RENDERER and PARSER. A model file's own template is better than the renderer's; a TEMPLATE beside
 * a renderer is for programs that do not know it. */
static void take_renderer(api_model *m) {
    const store_config *c = &m->stored.config;
    const char *known = engine_renderer_template(c->renderer);
    if (c->renderer.len && m->file.chat_template.len)
        m->template_text = (str){0};
    else if (known)
        m->template_text = str_from(known);
}

static void take_parser(api_model *m) {
    engine_template_info known;
    str name = m->stored.config.parser;
    if (name.len == 0 || !engine_parser_inspect(name, &known)) return;
    m->file.has_tools |= known.has_tools;
    m->file.has_thinking |= known.has_thinking;
}

static err_code find_adapter(api *a, arena *mem, api_model *m, err *e) {
    for (size_t i = 0; i < m->stored.n_layers; i++) {
        const store_layer *l = &m->stored.layers[i];
        if (l->kind != STORE_LAYER_ADAPTER) continue;
        if (m->engine.adapter.len)
            FAIL(e, UNSUPPORTED,
                 "\"" STR_FMT "\" has several: only one adapter is currently supported",
                 STR_ARG(m->stored.display));
        TRY(store_check_link(a->store, l->digest, e));
        m->engine.adapter = store_blob_path(a->store, mem, l->digest);
    }
    return ERR_OK;
}

static bool cut_end(str *name, str end) {
    if (!str_ends(*name, end)) return false;
    *name = str_sub(*name, 0, name->len - end.len);
    return true;
}

/* "name:local" asks for a model of this server, as all are; "name:cloud" for one that is not. */
static err_code find_stored(api *a, str name, arena *mem, store_model *ret, err *e) {
    str bare = name;
    err_code code = store_find(a->store, name, mem, ret, e);
    if (code == ERR_OK) return code;
    bool cloud = cut_end(&bare, STR(":cloud"));
    bool local = cut_end(&bare, STR(":local"));
    cloud = cloud || str_ends(bare, STR(":cloud")) || str_ends(bare, STR("-cloud"));
    if (!local) return code;
    if (cloud) FAIL(e, INVALID, "use either :local or :cloud, not both");
    return store_find(a->store, bare, mem, ret, e);
}

err_code api_model_find(api *a, str name, arena *mem, api_model *ret, err *e) {
    api_model m = {.options = options_default()};
    TRY(find_stored(a, name, mem, &m.stored, e));
    const store_layer *weights = store_model_layer(&m.stored, STORE_LAYER_MODEL);
    m.engine.name = m.stored.display;
    m.engine.digest = m.stored.digest;
    if (weights) {
        TRY(store_check_link(a->store, weights->digest, e));
        m.engine.path = store_blob_path(a->store, mem, weights->digest);
        TRY(engine_file_read(a->eng, m.engine.path, ENGINE_FILE_SHORT, mem, &m.file, e));
        TRY(find_adapter(a, mem, &m, e));
    }
    TRY(layer_text(a, mem, &m.stored, STORE_LAYER_PARAMS, &m.params_text, e));
    TRY(layer_text(a, mem, &m.stored, STORE_LAYER_SYSTEM, &m.system, e));
    TRY(layer_text(a, mem, &m.stored, STORE_LAYER_TEMPLATE, &m.template_text, e));
    TRY(layer_text(a, mem, &m.stored, STORE_LAYER_MESSAGES, &m.messages_text, e));
    TRY(apply_params(&m, mem, e));
    take_renderer(&m);
    take_template(&m);
    take_parser(&m);
    *ret = m;
    return ERR_OK;
}

static err_code find_for_workflow(void *ctx, str name, arena *mem, engine_model *ret, err *e) {
    api_model m;
    TRY(api_model_find(ctx, name, mem, &m, e));
    if (!m.file.can_generate)
        FAIL(e, INVALID, "\"" STR_FMT "\" does not generate text", STR_ARG(name));
    *ret = m.engine;
    return ERR_OK;
}

void api_models_offer(api *a) {
    engine_set_model_finder(a->eng, &(engine_model_finder){a, find_for_workflow});
}

size_t api_model_capabilities(const api_model *m, str ret[8]) {
    size_t n = 0;
    if (m->file.can_generate) ret[n++] = STR("completion");
    if (m->file.can_embed) ret[n++] = STR("embedding");
    if (store_model_layer(&m->stored, STORE_LAYER_PROJECTOR)) ret[n++] = STR("vision");
    if (m->file.has_tools) ret[n++] = STR("tools");
    if (m->file.has_insert) ret[n++] = STR("insert");
    if (m->file.has_thinking) ret[n++] = STR("thinking");
    return n;
}

bool api_model_can(const api_model *m, const char *capability) {
    str list[8];
    size_t n = api_model_capabilities(m, list);
    for (size_t i = 0; i < n; i++)
        if (str_eq(list[i], str_from(capability))) return true;
    return false;
}

static json_t *text(str s) {
    return json_stringn(s.ptr ? s.ptr : "", s.len);
}

json_t *api_model_details(const api_model *m, bool with_lengths) {
    const store_config *c = &m->stored.config;
    json_t *d = json_object();
    json_object_set_new(d, "parent_model", json_string(""));
    json_object_set_new(d, "format", text(c->format));
    json_object_set_new(d, "family", text(c->family));
    json_object_set_new(d, "families",
                        c->family.len ? json_pack("[o]", text(c->family)) : json_null());
    json_object_set_new(d, "parameter_size", text(c->size_text));
    json_object_set_new(d, "quantization_level", text(c->file_type));
    if (!with_lengths) return d;
    int64_t ctx = c->ctx_train ? c->ctx_train : m->file.ctx_train;
    int64_t embd = c->n_embd ? c->n_embd : m->file.n_embd;
    if (ctx) json_object_set_new(d, "context_length", json_integer(ctx));
    if (embd) json_object_set_new(d, "embedding_length", json_integer(embd));
    return d;
}
