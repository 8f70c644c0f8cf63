/* /api/models, loading and unloading, plain OpenAI routes with presets. */
#include "api/web_models.h"
#include "api/generation.h"
#include "api/web_handlers.h"
#include "base/clock.h"
#include "base/limits.h"
#include "http/json.h"
#include <string.h>

err_code web_model_find(web *w, str user_id, str name, arena *a, web_model *ret, err *e) {
    item it;
    web_model m = {.name = name};
    str base = name;
    if (name.len == 0) FAIL(e, INVALID, "choose a model first");
    if (!items_find(w->db, &(item_key){user_id, STR("preset"), name}, a, &it, NULL)) {
        m.preset = comfy_json_read(it.data, json_object());
        m.params = json_object_get(m.preset, "params");
        m.knowledge = json_object_get(json_object_get(m.preset, "meta"), "knowledge");
        base = str_dup(a, comfy_text(json_object_get(m.preset, "base_model_id")));
    }
    err_code code = api_model_find(w->chat, base, a, &m.base, e);
    if (code == ERR_NOT_FOUND)
        err_set(e, code, "the model " STR_FMT " is not here: pull it, or choose another",
                STR_ARG(base));
    if (!code && !api_model_can(&m.base, "completion"))
        code =
            err_set(e, ERR_INVALID, "the model " STR_FMT " does not generate text", STR_ARG(base));
    if (code)
        web_model_finish(&m);
    else
        *ret = m;
    return code;
}

void web_model_finish(web_model *m) {
    json_decref(m->preset);
    m->preset = NULL;
}

/* ---- the list ---- */

static const engine_resident *resident(const engine_resident *list, size_t n,
                                       const engine_model *m) {
    for (size_t i = 0; i < n; i++)
        if (engine_model_same(&list[i].model, m)) return &list[i];
    return NULL;
}

static json_t *capabilities(const api_model *m) {
    str list[8];
    size_t n = api_model_capabilities(m, list);
    json_t *out = json_array();
    for (size_t i = 0; i < n; i++) json_array_append_new(out, comfy_str(list[i]));
    return out;
}

static json_t *model_json(const api_model *m, const engine_resident *r) {
    json_t *o = json_object();
    json_object_set_new(o, "id", comfy_str(m->stored.display));
    json_object_set_new(o, "name", comfy_str(m->stored.display));
    json_object_set_new(o, "object", json_string("model"));
    json_object_set_new(o, "created", json_integer(m->stored.modified_ns / NS_PER_S));
    json_object_set_new(o, "owned_by", json_string("ollama"));
    json_object_set_new(o, "size", json_integer((json_int_t)m->stored.n_bytes));
    json_object_set_new(o, "loaded", json_boolean(r != NULL));
    bool forever = r && r->expires_wall_ns == CLOCK_FOREVER;
    json_object_set_new(o, "pinned", json_boolean(forever));
    json_object_set_new(o, "expires_at",
                        r && !forever ? json_integer(r->expires_wall_ns / NS_PER_S) : json_null());
    json_object_set_new(o, "capabilities", capabilities(m));
    json_object_set_new(o, "details", api_model_details(m, true));
    json_object_set_new(o, "actions", json_array());
    json_object_set_new(o, "filters", json_array());
    json_object_set_new(o, "tags", json_array());
    json_object_set_new(o, "preset", json_false());
    json_object_set_new(o, "base_model_id", json_null());
    json_object_set_new(o, "info", json_object());
    return o;
}

/* What the store has but nobody can run: with the reason, so that it is not just missing. */
static json_t *unreadable(const store_model *stored, const err *why) {
    api_model m = {.stored = *stored};
    json_t *o = model_json(&m, NULL);
    json_object_set_new(o, "error", comfy_str(str_from(why->msg)));
    return o;
}

json_t *web_preset_json(const item *it) {
    json_t *o = comfy_json_read(it->data, json_object());
    json_object_set_new(o, "id", comfy_str(it->id));
    json_object_set_new(o, "user_id", comfy_str(it->user_id));
    json_object_set_new(o, "name", comfy_str(it->name));
    json_object_set_new(o, "is_active", json_true());
    json_object_set_new(o, "created_at", web_seconds(it->created_ms));
    json_object_set_new(o, "updated_at", web_seconds(it->updated_ms));
    return o;
}

static void add_presets(web *w, str user_id, arena *a, json_t *list) {
    item *items;
    size_t n = 0, n_models = json_array_size(list), k;
    json_t *m;
    items_list(w->db, &(item_key){user_id, STR("preset"), {0}}, a, &items, &n, NULL);
    for (size_t i = 0; i < n; i++) {
        json_t *info = web_preset_json(&items[i]), *o = NULL;
        str base = comfy_text(json_object_get(info, "base_model_id"));
        json_array_foreach(list, k, m) {
            if (k < n_models && str_eq(comfy_text(json_object_get(m, "id")), base))
                o = json_copy(m);
        }
        if (!o) o = json_pack("{s:s, s:[], s:b}", "object", "model", "capabilities", "loaded", 0);
        json_object_set_new(o, "id", comfy_str(items[i].id));
        json_object_set_new(o, "name", comfy_str(items[i].name));
        json_object_set_new(o, "owned_by", json_string("hob"));
        json_object_set_new(o, "preset", json_true());
        json_object_set_new(o, "base_model_id", comfy_str(base));
        json_object_set_new(o, "info", info);
        json_array_append_new(list, o);
    }
}

static json_t *models_json(web *w, str user_id, arena *a) {
    store_model *models;
    size_t n = 0, n_resident;
    json_t *list = json_array();
    const engine_resident *live = engine_residents(w->chat->eng, a, &n_resident);
    store_list(w->chat->store, a, &models, &n, NULL);
    for (size_t i = 0; i < n; i++) {
        api_model m;
        err e;
        if (api_model_find(w->chat, store_name_full(a, &models[i].name), a, &m, &e)) {
            json_array_append_new(list, unreadable(&models[i], &e));
            continue;
        }
        json_array_append_new(list, model_json(&m, resident(live, n_resident, &m.engine)));
    }
    add_presets(w, user_id, a, list);
    return list;
}

void web_models_get(http_request *r, void *ctx) {
    json_t *list = models_json(ctx, web_user_id(r), http_request_arena(r));
    web_reply(r, json_pack("{s:s, s:o}", "object", "list", "data", list));
}

str web_model_default(web *w, arena *a) {
    str wanted = web_site_text(w, "DEFAULT_MODELS", "", a);
    wanted = str_trim(str_cut(&wanted, ','));
    api_model m;
    if (wanted.len && !api_model_find(w->chat, wanted, a, &m, NULL)) return wanted;
    store_model *models;
    size_t n = 0;
    store_list(w->chat->store, a, &models, &n, NULL);
    for (size_t i = 0; i < n; i++)
        if (!api_model_find(w->chat, store_name_full(a, &models[i].name), a, &m, NULL) &&
            api_model_can(&m, "completion"))
            return m.stored.display;
    return STR("");
}

/* ---- loading ---- */

static json_t *loaded_answer(const generation *g) {
    json_t *o = json_object();
    json_object_set_new(o, "status", json_true());
    json_object_set_new(o, "model", comfy_str(g->model));
    return o;
}

static json_t *loaded_error(int status, const char *why) {
    (void)status;
    return json_pack("{s:s}", "detail", why);
}

static void ignore_piece(generation *g, generation_output *o, const generation_piece *p,
                         json_t *objects) {
    (void)g, (void)o, (void)p, (void)objects;
}

static void ignore_end(generation *g, generation_output *o, json_t *objects) {
    (void)g, (void)o, (void)objects;
}

static const dialect LOADED = {
    .piece = ignore_piece, .finish = ignore_end, .whole = loaded_answer, .error = loaded_error};

/* A job that loads or unloads the model of the body, answered when it is done. */
static void change_memory(web *w, http_request *r, const json_t *body, engine_job_kind kind,
                          const int64_t *keep_alive_ns) {
    arena *a = http_request_arena(r);
    str name = {0};
    web_model m;
    api_model base;
    err e;
    if (!web_text(r, body, "model", LIMIT_NAME_BYTES, &name)) return;
    err_code code = web_model_find(w, web_user_id(r), name, a, &m, &e);
    if (!code) {
        base = m.base;
        web_model_finish(&m);
    } else { /* models that only embed are loaded too */
        code = api_model_find(w->chat, name, a, &base, &e);
    }
    if (code) {
        web_fail_err(r, &e);
        return;
    }
    engine_job_spec job = {.kind = kind, .model = base.engine};
    job.n_ctx = base.options.n_ctx;
    job.keep_alive_set = keep_alive_ns != NULL;
    job.keep_alive_ns = keep_alive_ns ? *keep_alive_ns : 0;
    generation_start(w->chat, r, &(generation){.d = &LOADED, .model = name}, &job);
}

void web_model_load(http_request *r, void *ctx) {
    const json_t *body = web_body(r);
    if (body) change_memory(ctx, r, body, ENGINE_JOB_LOAD, NULL);
}

void web_model_unload(http_request *r, void *ctx) {
    const json_t *body = web_body(r);
    int64_t now = 0;
    if (body) change_memory(ctx, r, body, ENGINE_JOB_UNLOAD, &now);
}

void web_model_pin(http_request *r, void *ctx) {
    const json_t *body = web_body(r);
    int64_t forever = CLOCK_FOREVER;
    if (!body) return;
    bool pinned = !json_is_false(json_object_get(body, "pinned"));
    change_memory(ctx, r, body, ENGINE_JOB_LOAD, pinned ? &forever : NULL);
}
