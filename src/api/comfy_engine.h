/* Between a run and the engine: a job's spec out, its events in. The only file of the picture API
 * that knows the engine's types. Threads: the queue thread, but for check and info: any. */
#pragma once
#include "api/comfy_run.h"
#include "engine/flow_job.h"

err_code comfy_engine_submit(comfy *c, comfy_run *run, const image_job *job, engine_stream **ret,
                             err *e);
/* Waits up to a second for an event and takes it; true when it was the last one. */
bool comfy_engine_next(comfy *c, comfy_run *run, engine_stream *s);

/* object_info of one class, or of all with an empty name. */
json_t *comfy_engine_info(comfy *c, str class_name);

/* The engine's check of a graph. `error` NULL: it may run, `targets` then lists the outputs that
 * are good and node_errors holds what is wrong with the others. All references are the caller's. */
typedef struct comfy_check {
    json_t *error, *node_errors, *targets;
    json_t *graph; /* with literals converted to their types */
} comfy_check;
comfy_check comfy_engine_check(comfy *c, const json_t *graph, const json_t *targets);
void comfy_check_finish(comfy_check *k);

/* A saved workflow (nodes and links) as an API graph; NULL: *e says why not. */
json_t *comfy_engine_convert(comfy *c, const json_t *workflow, err *e);

/* Gives the engine the directories; once, before the first job. */
void comfy_engine_set_folders(comfy *c, bool no_metadata);
