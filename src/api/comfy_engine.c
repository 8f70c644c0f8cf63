/* Specs and verdicts between JSON and the engine's plain data. */
#include "api/comfy_engine.h"
#include "api/comfy_files.h"
#include "api/models.h"
#include "base/clock.h"
#include "base/vec.h"
#include "http/json.h"
#include "os/file.h"
#include <string.h>

static json_t *json_of(const value *v) {
    return v ? json_from_value(v) : json_object();
}

json_t *comfy_engine_info(comfy *c, str class_name) {
    arena *a = arena_create(0);
    json_t *info = json_of(engine_flow_info(c->eng, class_name, a));
    arena_destroy(&a);
    return info;
}

typedef VEC(str) str_list;

static void read_strings(const json_t *list, arena *a, str_list *ret) {
    size_t i;
    json_t *item;
    json_array_foreach((json_t *)(uintptr_t)list, i, item) {
        if (json_is_string(item)) VEC_PUSH(*ret, str_dup(a, comfy_text(item)));
    }
}

comfy_check comfy_engine_check(comfy *c, const json_t *graph, const json_t *targets) {
    arena *a = arena_create(0);
    str_list wanted = {0};
    engine_flow_verdict v = {0};
    read_strings(targets, a, &wanted);
    engine_flow_check(c->eng, json_to_value(a, graph), wanted.items, wanted.len, a, &v);
    comfy_check k = {.node_errors = json_of(v.node_errors)};
    if (v.error) k.error = json_from_value(v.error);
    k.graph = v.graph ? json_from_value(v.graph) : json_deep_copy(graph);
    k.targets = json_array();
    for (size_t i = 0; i < v.n_targets; i++)
        json_array_append_new(k.targets, comfy_str(v.targets[i]));
    VEC_FINISH(wanted);
    arena_destroy(&a);
    return k;
}

void comfy_check_finish(comfy_check *k) {
    json_decref(k->error);
    json_decref(k->node_errors);
    json_decref(k->targets);
    json_decref(k->graph);
    *k = (comfy_check){0};
}

json_t *comfy_engine_convert(comfy *c, const json_t *workflow, err *e) {
    arena *a = arena_create(0);
    value *graph;
    err_code code = engine_flow_convert(c->eng, json_to_value(a, workflow), a, &graph, e);
    json_t *out = code ? NULL : json_from_value(graph);
    arena_destroy(&a);
    return out;
}

static engine_preview preview_of(const comfy *c, const json_t *extra) {
    str method = comfy_text(json_object_get(extra, "preview_method"));
    if (method.len == 0 || str_eq(method, STR("default"))) method = str_from(c->preview_method);
    if (str_eq(method, STR("auto")) || str_eq(method, STR("latent2rgb")))
        return ENGINE_PREVIEW_LATENT;
    return str_eq(method, STR("taesd")) ? ENGINE_PREVIEW_TAESD : ENGINE_PREVIEW_NONE;
}

err_code comfy_engine_submit(comfy *c, comfy_run *run, const image_job *job, engine_stream **ret,
                             err *e) {
    arena *a = arena_create(0);
    str_list targets = {0};
    const json_t *extra = comfy_run_extra(run), *png = json_object_get(extra, "extra_pnginfo");
    json_t *wanted = comfy_json_read(job->targets, json_array());
    read_strings(wanted, a, &targets);
    engine_flow_spec spec = {
        .id = job->id,
        .user = job->client_id,
        .owner = job->owner,
        .graph = json_to_value(a, comfy_run_graph(run)),
        .extra_pnginfo = json_is_object(png) ? json_to_value(a, png) : NULL,
        .targets = targets.len ? targets.items : NULL,
        .n_targets = targets.len,
        .preview = preview_of(c, extra),
    };
    err_code code = engine_flow_submit(c->eng, &spec, NULL, NULL, ret, e);
    json_decref(wanted);
    VEC_FINISH(targets);
    arena_destroy(&a);
    return code;
}

/* Exceptions have Python's names, which clients show and sometimes compare. */
static str exception_type(err_code code) {
    switch (code) {
    case ERR_NOMEM:
    case ERR_DEVICE_NOMEM:
        return STR("OutOfMemoryError");
    case ERR_IO:
        return STR("OSError");
    case ERR_NOT_FOUND:
        return STR("FileNotFoundError");
    case ERR_FORMAT:
    case ERR_INVALID:
    case ERR_LIMIT:
        return STR("ValueError");
    case ERR_UNSUPPORTED:
        return STR("NotImplementedError");
    case ERR_OK:
    case ERR_BUSY:
    case ERR_CANCELLED:
    case ERR_DEVICE:
    case ERR_INTERNAL:
    case ERR_CODE_COUNT:
        break;
    }
    return STR("RuntimeError");
}

static void on_failure(comfy_run *run, const engine_event *ev) {
    if (ev->error.code == ERR_CANCELLED) {
        comfy_run_interrupted(run, ev->node);
        return;
    }
    comfy_failure f = {.node = ev->node,
                       .class_type = ev->class_type,
                       .type = exception_type(ev->error.code),
                       .message = str_from(ev->error.msg),
                       .inputs = ev->inputs};
    comfy_run_failed(run, &f);
}

/* True: it was the last one. */
static bool take_event(comfy_run *run, const engine_event *ev) {
    switch (ev->kind) {
    case ENGINE_EVENT_NODES_CACHED:
        comfy_run_cached(run, ev->ids, ev->n_ids);
        return false;
    case ENGINE_EVENT_NODE_START:
        comfy_run_node(run, ev->node, ev->node);
        return false;
    case ENGINE_EVENT_NODE_PROGRESS:
        comfy_run_progress(run, ev->node, ev->n_done, ev->n_total);
        return false;
    case ENGINE_EVENT_NODE_PREVIEW:
        comfy_run_preview(run, ev->node, ev->picture, ev->mime);
        return false;
    case ENGINE_EVENT_NODE_OUTPUT:
        comfy_run_output(run, ev->node, ev->ui);
        return false;
    case ENGINE_EVENT_DONE:
        comfy_run_succeeded(run);
        return true;
    case ENGINE_EVENT_ERROR:
        on_failure(run, ev);
        return true;
    case ENGINE_EVENT_QUEUED:
    case ENGINE_EVENT_LOADING:
    case ENGINE_EVENT_PROMPT:
    case ENGINE_EVENT_TEXT:
    case ENGINE_EVENT_TOOL_CALL:
    case ENGINE_EVENT_EMBEDDING:
        break;
    }
    return false;
}

bool comfy_engine_next(comfy *c, comfy_run *run, engine_stream *s) {
    engine_event ev;
    (void)c;
    return engine_stream_wait(s, NS_PER_S, &ev) && take_event(run, &ev);
}

/* ---- folders, as nodes see them ---- */

static bool is_picture(str name) {
    const char *mime = comfy_mime(name);
    return strncmp(mime, "image/", 6) == 0 && strcmp(mime, "image/svg+xml") != 0;
}

/* Latents lie among the uploaded pictures. */
#define LATENTS "input_latents"

static void list_files(void *ctx, const char *key, arena *a, value *list) {
    const folders *f = ((comfy *)ctx)->dirs;
    size_t n = 0;
    bool latents = strcmp(key, LATENTS) == 0, input = latents || strcmp(key, "input") == 0;
    const folder *dir = input ? NULL : folders_find(f, str_from(key));
    folder_file *files = input ? dir_list(f->input, false, a, &n)
                         : dir ? folder_list(dir, a, &n)
                               : NULL;
    for (size_t i = 0; i < n; i++)
        if (!input ||
            (latents ? str_ends(files[i].name, STR(".latent")) : is_picture(files[i].name)))
            value_push(a, list, value_str(a, files[i].name));
}

/* A file of the directory `type`, or with a note one of another directory. */
static bool noted_path(const folders *f, str type, str name, arena *a, str *ret_path) {
    type = comfy_annotation(&name, type);
    str dir = str_eq(type, STR("output")) ? f->output
              : str_eq(type, STR("temp")) ? f->temp
                                          : f->input;
    return path_inside(a, dir, name, ret_path) && file_exists(ret_path->ptr);
}

static bool find_path(void *ctx, const char *key, str name, arena *a, str *ret_path) {
    comfy *c = ctx;
    const folders *f = c->dirs;
    if (strcmp(key, "input") == 0 || strcmp(key, LATENTS) == 0)
        return noted_path(f, STR("input"), name, a, ret_path);
    if (strcmp(key, "output") == 0) return noted_path(f, STR("output"), name, a, ret_path);
    const folder *dir = folders_find(f, str_from(key));
    return dir && folder_path(dir, name, a, ret_path);
}

void comfy_engine_set_folders(comfy *c, bool no_metadata) {
    const folders *f = c->dirs;
    engine_folders e = {.ctx = c,
                        .files = list_files,
                        .path = find_path,
                        .output = f->output,
                        .input = f->input,
                        .temp = f->temp,
                        .no_metadata = no_metadata};
    engine_set_folders(c->eng, &e);
}
