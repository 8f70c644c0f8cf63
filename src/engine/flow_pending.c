/* Workflows at the engine boundary as far as they go today: the catalogue is real, graphs are
 * refused. Every function is weak, so the file that runs workflows takes its place by being there;
 * this one goes then. */
#include "engine/flow_job.h"
#include "flow/object_info.h"

#define WEAK __attribute__((weak))

static engine_folders folders;

static bool has_file(void *ctx, const char *folder, str name) {
    arena *a = arena_create(0);
    str path;
    bool found = folders.path && folders.path(ctx, folder, name, a, &path);
    arena_destroy(&a);
    return found;
}

WEAK void engine_set_folders(engine *eng, const engine_folders *f) {
    (void)eng;
    folders = *f;
}

WEAK const value *engine_flow_info(engine *eng, str class_name, arena *a) {
    flow_host host = {.ctx = folders.ctx, .files = folders.files, .has_file = has_file};
    (void)eng;
    return class_name.len ? flow_object_info_one(class_name, &host, a)
                          : flow_object_info_all(&host, a);
}

WEAK void engine_flow_check(engine *eng, const value *graph, const str *targets, size_t n_targets,
                            arena *a, engine_flow_verdict *ret) {
    (void)eng, (void)targets, (void)n_targets;
    value *error = value_map(a);
    value_set(a, error, STR("type"), value_str(a, STR("not_built_yet")));
    value_set(a, error, STR("message"), value_str(a, STR("workflows do not run yet")));
    *ret = (engine_flow_verdict){.error = error, .node_errors = value_map(a), .graph = graph};
}

WEAK err_code engine_flow_convert(engine *eng, const value *workflow, arena *a, value **ret,
                                  err *e) {
    (void)eng, (void)workflow, (void)a, (void)ret;
    FAIL(e, UNSUPPORTED, "workflows do not run yet");
}

WEAK err_code engine_flow_submit(engine *eng, const engine_flow_spec *spec,
                                 void (*notify)(void *arg), void *arg, engine_stream **ret,
                                 err *e) {
    (void)eng, (void)spec, (void)notify, (void)arg, (void)ret;
    FAIL(e, UNSUPPORTED, "workflows do not run yet");
}

WEAK void engine_flow_free(engine *eng, bool unload_models, bool drop_cache) {
    (void)eng, (void)unload_models, (void)drop_cache;
}

WEAK err_code engine_image_defaults_of(engine *eng, str checkpoint, arena *a,
                                       engine_image_defaults *ret, err *e) {
    (void)eng, (void)checkpoint, (void)a, (void)ret;
    FAIL(e, UNSUPPORTED, "workflows do not run yet");
}
