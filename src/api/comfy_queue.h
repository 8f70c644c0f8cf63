/* The queue of picture jobs: one thread that takes the next job from the database, hands it to the
 * engine, tells its clients what happens, and writes its end into the history.
 *
 * Jobs run one at a time in the order of `number`, then of arrival. Whatever happens to the
 * process, a job that was answered with 200 is in the database; one that was running starts again.
 * Threads: any. */
#pragma once
#include "api/comfy.h"
#include "store/image_jobs.h"

typedef struct comfy_queue comfy_queue;

err_code comfy_queue_create(comfy *c, comfy_queue **ret, err *e);
void comfy_queue_start(comfy_queue *q);    /* once everything else is there */
void comfy_queue_stop(comfy_queue *q);     /* the running job is left for the next start */
void comfy_queue_destroy(comfy_queue **q); /* stops it if that was not done */

/* The next automatic number; every submission without one takes it, also a refused one. */
int64_t comfy_queue_next_number(comfy_queue *q);
/* Stores the job and wakes the thread. ERR_BUSY when LIMIT_IMAGE_QUEUE jobs wait, ERR_INVALID when
 * its id is in use. */
err_code comfy_queue_submit(comfy_queue *q, image_job *job, err *e);
/* Interrupts the running job, if its id is this one or `id` is empty. */
bool comfy_queue_interrupt(comfy_queue *q, str id);
/* Removes a waiting job, or all with an empty id. */
err_code comfy_queue_remove(comfy_queue *q, str id, bool *ret_any, err *e);
/* Ends a job, waiting (it goes to the history as cancelled) or running. */
err_code comfy_queue_cancel(comfy_queue *q, str id, bool *ret_any, err *e);
bool comfy_queue_interrupting(comfy_queue *q, str id); /* running, and asked to end */

int64_t comfy_queue_remaining(comfy_queue *q); /* waiting and running */
json_t *comfy_queue_status(comfy_queue *q);    /* {"status": {"exec_info": ...}} */
/* What the client's running job is doing, for a socket that (re)connects: the data of an
 * `executing` message and of a `progress_state`; NULL when it has none. */
json_t *comfy_queue_current(comfy_queue *q, str client_id, json_t **ret_state);
/* Progress of a running job for API v2: {"value", "nodes_done", ...}; NULL when not running. */
json_t *comfy_queue_progress(comfy_queue *q, str id);

json_t *comfy_feature_flags(void);
