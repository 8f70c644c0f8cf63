/* The chat API's listing routes: /, version, tags, ps, show, copy, delete. */
#include "api/fields.h"
#include "api/modelfile_text.h"
#include "api/models.h"
#include "base/clock.h"
#include "http/json.h"
#include <string.h>

static json_t *text(str s) {
    value v = {.kind = VALUE_STR, .as.text = s};
    return json_from_value(&v);
}

static json_t *local_time(int64_t wall_ns) {
    char t[CLOCK_TEXT_BYTES];
    return json_string(clock_rfc3339_local(t, wall_ns));
}

void ollama_root(http_request *r, void *ctx) {
    (void)ctx;
    http_reply_text(r, 200, "Ollama is running"); /* what clients look for */
}

void ollama_health(http_request *r, void *ctx) {
    (void)ctx;
    api_reply_json(r, json_pack("{s:s}", "status", "ok"));
}

/* Who is signed in with Ollama's own service: nobody ever is. */
void ollama_me(http_request *r, void *ctx) {
    (void)ctx;
    api_reply_error(r, 503, "account unavailable");
}

/* No request leaves this machine for a model of others. */
void ollama_status(http_request *r, void *ctx) {
    (void)ctx;
    api_reply_json(r, json_pack("{s:{s:b, s:s}}", "cloud", "disabled", 1, "source", "config"));
}

void ollama_recommendations(http_request *r, void *ctx) {
    (void)ctx;
    api_reply_json(r, json_pack("{s:[]}", "recommendations"));
}

void ollama_web(http_request *r, void *ctx) {
    (void)ctx;
    api_reply_error(r, 403, "ollama cloud is disabled: this server cannot search the web");
}

void ollama_version(http_request *r, void *ctx) {
    api *a = ctx;
    api_reply_json(r, json_pack("{s:s}", "version", a->version));
}

static json_t *capabilities_array(const api_model *m) {
    str list[8];
    size_t n = api_model_capabilities(m, list);
    json_t *out = json_array();
    for (size_t i = 0; i < n; i++) json_array_append_new(out, text(list[i]));
    return out;
}

void ollama_tags(http_request *r, void *ctx) {
    api *a = ctx;
    arena *mem = http_request_arena(r);
    store_model *list;
    size_t n;
    err e;
    if (store_list(a->store, mem, &list, &n, &e)) {
        api_reply_err(r, &e);
        return;
    }
    json_t *models = json_array();
    for (size_t i = 0; i < n; i++) {
        api_model m;
        if (api_model_find(a, store_name_full(mem, &list[i].name), mem, &m, &e))
            m = (api_model){.stored = list[i]}; /* a file we cannot read is there all the same */
        json_t *o = json_object();
        json_object_set_new(o, "name", text(m.stored.display));
        json_object_set_new(o, "model", text(m.stored.display));
        json_object_set_new(o, "modified_at", local_time(m.stored.modified_ns));
        json_object_set_new(o, "size", json_integer(m.stored.n_bytes));
        json_object_set_new(o, "digest", text(m.stored.digest));
        json_object_set_new(o, "details", api_model_details(&m, true));
        json_object_set_new(o, "capabilities", capabilities_array(&m));
        json_array_append_new(models, o);
    }
    api_reply_json(r, json_pack("{s:o}", "models", models));
}

/* Far in the future: what clients print as "Forever". */
static json_t *expiry(int64_t wall_ns) {
    if (wall_ns == CLOCK_FOREVER) return json_string("2318-01-01T00:00:00Z");
    return local_time(wall_ns);
}

static void sort_by_expiry(engine_resident *list, size_t n) {
    for (size_t i = 1; i < n; i++)
        for (size_t k = i; k && list[k].expires_wall_ns > list[k - 1].expires_wall_ns; k--) {
            engine_resident t = list[k];
            list[k] = list[k - 1];
            list[k - 1] = t;
        }
}

/* Clients print the first letters of it, and expect them to be there. */
static json_t *no_digest(void) {
    return json_sprintf("%064d", 0);
}

void ollama_ps(http_request *r, void *ctx) {
    api *a = ctx;
    arena *mem = http_request_arena(r);
    size_t n;
    const engine_resident *found = engine_residents(a->eng, mem, &n);
    engine_resident *list = arena_dup(mem, found, n * sizeof *found);
    sort_by_expiry(list, n);
    json_t *models = json_array();
    for (size_t i = 0; i < n; i++) {
        api_model m = {0};
        err e;
        if (list[i].is_image || api_model_find(a, list[i].model.name, mem, &m, &e))
            m = (api_model){0}; /* of a workflow, or deleted */
        json_t *o = json_object();
        json_object_set_new(o, "name", text(list[i].model.name));
        json_object_set_new(o, "model", text(list[i].model.name));
        json_object_set_new(o, "size", json_integer((json_int_t)list[i].size_bytes));
        json_object_set_new(o, "digest",
                            list[i].is_image ? no_digest() : text(list[i].model.digest));
        json_object_set_new(o, "details", api_model_details(&m, false));
        json_object_set_new(o, "expires_at", expiry(list[i].expires_wall_ns));
        json_object_set_new(o, "size_vram", json_integer((json_int_t)list[i].device_bytes));
        json_object_set_new(o, "context_length", json_integer(list[i].n_ctx));
        if (list[i].pinned) json_object_set_new(o, "pinned", json_true());
        json_array_append_new(models, o);
    }
    api_reply_json(r, json_pack("{s:o}", "models", models));
}

/* The file's keys, sorted, without what has its own field; arrays that were cut are null. */
static json_t *model_info(const engine_file_info *f, bool verbose) {
    json_t *all = json_from_value(f->kv), *info = json_object();
    json_object_set_new(all, "general.parameter_count", json_integer(f->n_params));
    json_object_del(all, "general.name");
    json_object_del(all, "tokenizer.chat_template");
    size_t n = json_object_size(all), i = 0;
    const char **keys = NEW_ARRAY(const char *, n + 1);
    const char *key;
    json_t *v;
    json_object_foreach(all, key, v) {
        size_t k = i++;
        for (; k && strcmp(keys[k - 1], key) > 0; k--) keys[k] = keys[k - 1];
        keys[k] = key;
    }
    for (i = 0; i < n; i++) {
        v = json_object_get(all, keys[i]);
        bool cut = !verbose && json_is_array(v);
        json_object_set_new(info, keys[i], cut ? json_null() : json_incref(v));
    }
    mem_free(keys);
    json_decref(all);
    return info;
}

static json_t *tensors_array(const engine_file_info *f) {
    json_t *list = json_array();
    for (size_t i = 0; i < f->n_tensors; i++) {
        const engine_file_tensor *t = &f->tensors[i];
        json_t *o = json_object(), *shape = json_array();
        for (int32_t d = 0; d < t->n_dims; d++)
            json_array_append_new(shape, json_integer(t->shape[d]));
        json_object_set_new(o, "name", text(t->name));
        json_object_set_new(o, "type", text(t->type));
        json_object_set_new(o, "shape", shape);
        json_array_append_new(list, o);
    }
    return list;
}

static void set_text(json_t *o, const char *key, str s) {
    if (s.len) json_object_set_new(o, key, text(s));
}

static void reply_show(http_request *r, api *a, const api_model *m, bool verbose) {
    arena *mem = http_request_arena(r);
    json_t *o = json_object();
    set_text(o, "license", modelfile_license(a->store, mem, m));
    set_text(o, "modelfile", modelfile_text(a->store, mem, m));
    set_text(o, "parameters", modelfile_parameters(mem, m));
    set_text(o, "template", m->template_text.len ? m->template_text : m->file.chat_template);
    set_text(o, "system", m->system);
    set_text(o, "renderer", m->stored.config.renderer);
    set_text(o, "parser", m->stored.config.parser);
    json_t *details = api_model_details(m, false);
    const store_layer *weights = store_model_layer(&m->stored, STORE_LAYER_MODEL);
    if (weights && weights->from.len)
        json_object_set_new(details, "parent_model", text(weights->from));
    json_object_set_new(o, "details", details);
    if (m->messages_text.len) {
        json_t *messages = NULL;
        err e;
        if (json_parse(m->messages_text, &messages, &e) == ERR_OK)
            json_object_set_new(o, "messages", messages);
    }
    json_object_set_new(o, "model_info",
                        m->file.kv ? model_info(&m->file, verbose) : json_object());
    json_object_set_new(o, "tensors", tensors_array(&m->file));
    json_object_set_new(o, "capabilities", capabilities_array(m));
    json_object_set_new(o, "modified_at", local_time(m->stored.modified_ns));
    set_text(o, "requires", m->stored.config.requires_version);
    api_reply_json(r, o);
}

/* The file's keys and tensors too. What the model can do stays as it is known: its template has a
 * say in that, the file alone has not. */
static err_code read_details(api *a, bool verbose, arena *mem, api_model *m, err *e) {
    engine_file_info info;
    if (m->engine.path.len == 0) return ERR_OK;
    TRY(engine_file_read(a->eng, m->engine.path,
                         verbose ? ENGINE_FILE_VERBOSE : ENGINE_FILE_TENSORS, mem, &info, e));
    m->file.kv = info.kv;
    m->file.tensors = info.tensors;
    m->file.n_tensors = info.n_tensors;
    return ERR_OK;
}

void ollama_show(http_request *r, void *ctx) {
    api *a = ctx;
    arena *mem = http_request_arena(r);
    const json_t *body = api_body(r);
    if (!body) return;
    str name = {0}, system = {0};
    bool verbose = false;
    api_model m;
    err e;
    if (field_model(body, &name, &e) || field_bool(body, "verbose", &verbose, &e) ||
        field_str(body, "system", &system, &e)) {
        api_reply_err(r, &e);
        return;
    }
    if (name.len == 0) {
        api_reply_error(r, 400, "model is required");
        return;
    }
    err_code code = api_model_find(a, name, mem, &m, &e);
    if (code == ERR_OK) code = read_details(a, verbose, mem, &m, &e);
    if (code == ERR_NOT_FOUND) {
        store_name parsed;
        store_name_parse(mem, name, &parsed);
        api_reply_error(r, 404, "model '" STR_FMT "' not found",
                        STR_ARG(store_name_display(mem, &parsed)));
    } else if (code) {
        api_reply_err(r, &e);
    } else {
        if (system.len) m.system = system;
        reply_show(r, a, &m, verbose);
    }
}

void ollama_copy(http_request *r, void *ctx) {
    api *a = ctx;
    arena *mem = http_request_arena(r);
    const json_t *body = api_body(r);
    if (!body) return;
    str from = {0}, to = {0};
    store_name from_name, to_name;
    err e;
    if (field_str(body, "source", &from, &e) || field_str(body, "destination", &to, &e))
        api_reply_err(r, &e);
    else if (!store_name_parse(mem, from, &from_name))
        api_reply_error(r, 400, "source \"" STR_FMT "\" is invalid", STR_ARG(from));
    else if (!store_name_parse(mem, to, &to_name))
        api_reply_error(r, 400, "destination \"" STR_FMT "\" is invalid", STR_ARG(to));
    else if (store_copy(a->store, from, &to_name, &e) == ERR_OK)
        http_reply(r, 200, NULL, STR(""));
    else if (e.code == ERR_NOT_FOUND)
        api_reply_error(r, 404, "model \"" STR_FMT "\" not found", STR_ARG(from));
    else
        api_reply_err(r, &e);
}

void ollama_delete(http_request *r, void *ctx) {
    api *a = ctx;
    const json_t *body = api_body(r);
    if (!body) return;
    str name = {0};
    err e;
    if (field_model(body, &name, &e))
        api_reply_err(r, &e);
    else if (name.len == 0)
        api_reply_error(r, 400, "model is required");
    else if (store_delete(a->store, name, &e))
        api_reply_err(r, &e);
    else
        http_reply(r, 200, NULL, STR(""));
}
