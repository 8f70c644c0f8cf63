/* Workflows at the engine boundary: plain data in, a stream of events out.
 *
 * A workflow is a job of class `image`: it runs on a thread of its own, takes turns on the device
 * with everything else, and its memory is in the ledger. One runs at a time; others wait inside
 * engine_flow_submit's stream in the order they came (whoever wants another order submits later).
 * Threads: any. */
#pragma once
#include "engine/engine.h"

/* Where files are; the server's own functions. See flow/env.h. Set once, before the first job. */
typedef struct engine_folders {
    void *ctx;
    void (*files)(void *ctx, const char *folder, arena *a, value *list);
    bool (*path)(void *ctx, const char *folder, str name, arena *a, str *ret_path);
    str output, input, temp;
    bool no_metadata;
} engine_folders;
void engine_set_folders(engine *eng, const engine_folders *f);

/* Finds a language model by the name users call it, for workflows that ask one. Set once; without
 * it only models that are resident are known. */
typedef struct engine_model_finder {
    void *ctx;
    err_code (*find)(void *ctx, str name, arena *a, engine_model *ret, err *e);
} engine_model_finder;
void engine_set_model_finder(engine *eng, const engine_model_finder *f);

/* The catalogue of node classes: a map of one class, or of all with an empty name. An unknown class
 * gives an empty map. Lives in `a`. */
const value *engine_flow_info(engine *eng, str class_name, arena *a);

/* A graph's check, in ComfyUI's error form. Everything lives in `a`. */
typedef struct engine_flow_verdict {
    const value *error;       /* map; NULL: it may run */
    const value *node_errors; /* map */
    const str *targets;       /* [n_targets] output nodes that are good */
    size_t n_targets;
    const value *graph; /* with literals converted to their types */
} engine_flow_verdict;
void engine_flow_check(engine *eng, const value *graph, const str *targets, size_t n_targets,
                       arena *a, engine_flow_verdict *ret);

/* A saved workflow (nodes and links) as an API graph. INVALID names the node. */
bool engine_flow_is_workflow(const value *v);
err_code engine_flow_convert(engine *eng, const value *workflow, arena *a, value **ret, err *e);

typedef enum engine_preview {
    ENGINE_PREVIEW_NONE,
    ENGINE_PREVIEW_LATENT,
    ENGINE_PREVIEW_TAESD
} engine_preview;

typedef struct engine_flow_spec {
    str id;                     /* of the job, for messages */
    str user;                   /* fairness key; may be empty */
    str owner;                  /* flow_folders.owner */
    const value *graph;         /* copied */
    const value *extra_pnginfo; /* map or NULL; goes into pictures; copied */
    const str *targets;         /* NULL = all output nodes */
    size_t n_targets;
    engine_preview preview;
} engine_flow_spec;

/* Events: ENGINE_EVENT_QUEUED while it waits, then NODES_CACHED once, (NODE_START, NODE_PROGRESS,
 * NODE_PREVIEW, NODE_OUTPUT)*, and DONE or ERROR (CANCELLED: interrupted). engine_stream_cancel
 * interrupts. ERR_INVALID when the graph may not run. */
err_code engine_flow_submit(engine *eng, const engine_flow_spec *spec, void (*notify)(void *arg),
                            void *arg, engine_stream **ret, err *e);

/* Frees cached node results, and idle image models' memory, as soon as nothing runs. */
void engine_flow_free(engine *eng, bool unload_models, bool drop_cache);

/* What suits a checkpoint when a request only has a prompt. */
typedef struct engine_image_defaults {
    int32_t width, height, steps;
    double cfg;
    str sampler, scheduler;
} engine_image_defaults;
err_code engine_image_defaults_of(engine *eng, str checkpoint, arena *a, engine_image_defaults *ret,
                                  err *e);
