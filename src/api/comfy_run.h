/* One running job seen from its clients: what the engine reports becomes WebSocket messages, the
 * events of API v2, and at the end the job's entry in the history.
 *
 * Owner: the queue thread, which also calls everything but the two `get` functions; those may be
 * called from any thread between create and destroy. */
#pragma once
#include "api/comfy.h"
#include "store/image_jobs.h"

typedef struct comfy_run comfy_run;

/* `job` lives until destroy; graph and extra_data are parsed here. */
comfy_run *comfy_run_create(comfy *c, image_job *job);
void comfy_run_destroy(comfy_run **r);
const json_t *comfy_run_graph(const comfy_run *r);
const json_t *comfy_run_extra(const comfy_run *r);

void comfy_run_started(comfy_run *r);
void comfy_run_cached(comfy_run *r, const str *ids, size_t n);
void comfy_run_node(comfy_run *r, str node, str display); /* a node begins; the one before ended */
void comfy_run_progress(comfy_run *r, str node, int64_t done, int64_t total);
void comfy_run_preview(comfy_run *r, str node, str picture, const char *mime);
void comfy_run_output(comfy_run *r, str node, const value *ui);

typedef struct comfy_failure {
    str node, class_type; /* may be empty: the job as a whole */
    str type, message;
    const value *inputs; /* or NULL */
} comfy_failure;

/* The last event; then finish fills the job's state, times and texts (in its arena `a`). */
void comfy_run_succeeded(comfy_run *r);
void comfy_run_failed(comfy_run *r, const comfy_failure *f);
void comfy_run_interrupted(comfy_run *r, str node);
void comfy_run_finish(comfy_run *r, arena *a);

/* Data of `executing` and `progress_state` now; NULL before the first node. */
json_t *comfy_run_get_current(comfy_run *r, json_t **ret_state);
/* API v2's progress object. */
json_t *comfy_run_get_progress(comfy_run *r);
