/* Handlers that wait for a job's end: pictures asked for through the chat APIs.
 *
 * A watch is registered before its job is queued and gets the job's steps and its one end, on the
 * queue thread (or on the thread that removes the job). A client that went away is noticed by the
 * queue thread, which then cancels the job. Threads: any. */
#pragma once
#include "api/comfy.h"
#include "store/image_jobs.h"

typedef struct comfy_watch comfy_watch;

typedef struct comfy_watch_events {
    void (*on_step)(void *arg, int64_t done, int64_t total);
    /* job NULL: it was removed from the queue. Frees arg; the watch is over. */
    void (*on_end)(void *arg, const image_job *job);
    void (*on_preview)(void *arg, str bytes, const char *mime); /* NULL: not wanted */
} comfy_watch_events;

struct comfy_watches *comfy_watches_create(void);
void comfy_watches_close(struct comfy_watches *w); /* ends all with NULL, later ones at once */
void comfy_watches_destroy(struct comfy_watches **w);

void comfy_watch_add(comfy *c, str job_id, const comfy_watch_events *events, void *arg);
/* The client of this job is gone. May be called with a stream's lock held. */
void comfy_watch_gone(comfy *c, str job_id);

/* For the queue. */
void comfy_watch_step(comfy *c, str job_id, int64_t done, int64_t total);
void comfy_watch_preview(comfy *c, str job_id, str bytes, const char *mime);
void comfy_watch_end(comfy *c, str job_id, const image_job *job);
void comfy_watch_removed(comfy *c, str job_id); /* empty: every job that does not run */
void comfy_watch_sweep(comfy *c);               /* cancels the jobs of clients that are gone */
