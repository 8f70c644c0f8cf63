/* API v2: jobs and assets with a versioned contract, and events of a job over SSE.
 *
 * The functions here are called by the queue thread when something happens to a job; they write to
 * the event streams that are open for it. Threads: any. */
#pragma once
#include "api/comfy.h"
#include "store/image_jobs.h"

typedef struct comfy_v2 comfy_v2;

comfy_v2 *comfy_v2_create(void);
void comfy_v2_close(comfy_v2 *v); /* ends all streams, later ones at once */
void comfy_v2_destroy(comfy_v2 **v);

void comfy_v2_status(comfy *c, const image_job *job); /* changed; closes streams at the end */
void comfy_v2_progress(comfy *c, str job_id, json_t *progress); /* takes the reference */
void comfy_v2_preview(comfy *c, str job_id, str node, str picture, const char *mime);
void comfy_v2_output(comfy *c, str job_id, str node, const json_t *ui);
/* Every few seconds: pings, and ends the streams whose session or key has expired. */
void comfy_v2_keep_alive(comfy *c);
/* Ends the streams that this session or key opened, or (others) all but those of the user's. */
void comfy_v2_drop(comfy_v2 *v, str user_id, str grant_id, bool others);

/* The v2 object of a job. */
json_t *comfy_v2_job(comfy *c, const image_job *job, arena *a);
/* {"error": {"code", "message", "details"?}}; takes details. */
void comfy_v2_error(http_request *r, int status, const char *code, const char *message,
                    json_t *details);

/* Output objects of one node's ui; registers each file as an asset of the job. */
json_t *comfy_v2_outputs_of(comfy *c, str job_id, str node, const json_t *ui);
/* Replaces {"__type": "core/ASSET"} by file names. False: *ret_missing names the asset. */
bool comfy_v2_resolve_assets(http_request *r, comfy *c, json_t *graph, str *ret_missing);
