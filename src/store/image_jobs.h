/* Picture jobs: the queue and the history, in one table.
 *
 * A job is in the database before its client is answered and stays until it is deleted or the
 * history is full, so both survive any end of the server. A job that was running when the server
 * ended is queued again at the next start. JSON columns are texts that only the API reads.
 * Threads: any. */
#pragma once
#include "store/db.h"

typedef enum image_job_state {
    IMAGE_JOB_QUEUED,
    IMAGE_JOB_RUNNING,
    IMAGE_JOB_DONE,
    IMAGE_JOB_FAILED,
    IMAGE_JOB_CANCELLED
} image_job_state;

typedef struct image_job {
    str id;
    int64_t seq;   /* order of arrival; set by insert */
    double number; /* priority: lower runs first */
    image_job_state state;
    str client_id;                            /* may be empty */
    str workflow_id;                          /* extra_pnginfo.workflow.id, may be empty */
    str owner;                                /* user id; empty: asked for without an account */
    str graph;                                /* JSON object */
    str extra;                                /* JSON object: extra_data without secrets */
    str targets;                              /* JSON list: outputs to execute */
    int64_t created_ms, started_ms, ended_ms; /* wall clock; 0 = not yet */
    str outputs;                              /* JSON object: node id -> what its client is shown */
    str messages;                             /* JSON list of [event, data] */
    str meta;                                 /* JSON object: node id -> who it is */
} image_job;

err_code image_jobs_migrate(db *d, err *e); /* creates tables, queues again what was running */

/* A finished job of the same id is replaced; a waiting or running one is ERR_INVALID. */
err_code image_jobs_insert(db *d, image_job *job, err *e);
err_code image_jobs_set_running(db *d, str id, int64_t started_ms, err *e);
/* Stores state, ended_ms, outputs, messages, meta; drops the oldest beyond LIMIT_HISTORY_JOBS. */
err_code image_jobs_finish(db *d, const image_job *job, err *e);

/* Which jobs, as a set of 1 << state. */
#define IMAGE_JOBS_WAITING (1u << IMAGE_JOB_QUEUED)
#define IMAGE_JOBS_LIVE (1u << IMAGE_JOB_QUEUED | 1u << IMAGE_JOB_RUNNING)
#define IMAGE_JOBS_ENDED (1u << IMAGE_JOB_DONE | 1u << IMAGE_JOB_FAILED | 1u << IMAGE_JOB_CANCELLED)

/* Ids of what runs and waits, in the order of their turns. */
typedef struct image_turns {
    str *ids; /* [n], in `a` */
    size_t n;
} image_turns;
err_code image_jobs_turns(db *d, arena *a, image_turns *ret, err *e);

typedef enum image_jobs_order {
    IMAGE_JOBS_BY_TURN,    /* who runs next first */
    IMAGE_JOBS_BY_END,     /* history's order */
    IMAGE_JOBS_BY_CREATED, /* and descending with `desc` */
    IMAGE_JOBS_BY_DURATION
} image_jobs_order;

typedef struct image_jobs_query {
    unsigned states;
    image_jobs_order order;
    bool desc;
    str workflow_id; /* empty = any */
    str owner;       /* empty = any */
    int64_t limit;   /* < 0 = all */
    int64_t offset;
} image_jobs_query;

typedef struct image_jobs_page {
    image_job *jobs; /* [n] */
    size_t n;
    int64_t total; /* without limit and offset */
} image_jobs_page;

err_code image_jobs_list(db *d, const image_jobs_query *q, arena *a, image_jobs_page *ret, err *e);
err_code image_jobs_count(db *d, unsigned states, int64_t *ret_n, err *e);
err_code image_jobs_find(db *d, str id, arena *a, image_job *ret, err *e); /* NOT_FOUND */

/* Deletes one job if it is in one of the states, or all of them with an empty id. */
err_code image_jobs_delete(db *d, str id, unsigned states, bool *ret_any, err *e);
/* Ends a waiting job as cancelled, with these messages. */
err_code image_jobs_cancel_waiting(db *d, const image_job *job, bool *ret_any, err *e);
/* The largest seq ever given. */
err_code image_jobs_last_seq(db *d, int64_t *ret_seq, err *e);

/* Single-use keys of API v2, kept LIMIT_IDEMPOTENCY_MS: ERR_BUSY when it was used before. */
err_code image_keys_claim(db *d, str key, str job_id, int64_t now_ms, err *e);
err_code image_keys_release(db *d, str key, err *e);
