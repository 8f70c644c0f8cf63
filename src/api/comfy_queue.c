/* The queue thread. The database is the queue; in memory is only who runs now. */
#include "api/comfy_queue.h"
#include "api/comfy_engine.h"
#include "api/comfy_hub.h"
#include "api/comfy_run.h"
#include "api/comfy_v2.h"
#include "api/comfy_watch.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include <pthread.h>
#include <stdatomic.h>

struct comfy_queue {
    comfy *c;
    pthread_t thread;
    bool has_thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool rung, stop;       /* under lock */
    comfy_run *run;        /* under lock; NULL when idle */
    engine_stream *stream; /* of the run, once submitted; under lock */
    str running_id, running_client;
    bool interrupt; /* the running job shall end */
    _Atomic int64_t n_remaining, number;
    pthread_mutex_t count_lock;
};

int64_t comfy_queue_remaining(comfy_queue *q) {
    return q->n_remaining;
}

json_t *comfy_queue_status(comfy_queue *q) {
    return json_pack("{s:{s:{s:I}}}", "status", "exec_info", "queue_remaining",
                     (json_int_t)q->n_remaining);
}

static void tell_status(comfy_queue *q) {
    comfy_hub_send(q->c->hub, (str){0}, "status", comfy_queue_status(q));
}

/* One at a time, so that the last to write has read last. */
static void recount(comfy_queue *q) {
    int64_t n;
    pthread_mutex_lock(&q->count_lock);
    if (!image_jobs_count(q->c->db, IMAGE_JOBS_LIVE, &n, NULL)) q->n_remaining = n;
    pthread_mutex_unlock(&q->count_lock);
}

static void ring(comfy_queue *q) {
    pthread_mutex_lock(&q->lock);
    q->rung = true;
    pthread_cond_signal(&q->wake);
    pthread_mutex_unlock(&q->lock);
}

int64_t comfy_queue_next_number(comfy_queue *q) {
    return q->number++;
}

err_code comfy_queue_submit(comfy_queue *q, image_job *job, err *e) {
    if (q->n_remaining >= LIMIT_IMAGE_QUEUE)
        FAIL(e, BUSY, "%d jobs are waiting already", LIMIT_IMAGE_QUEUE);
    job->created_ms = comfy_now_ms();
    TRY(image_jobs_insert(q->c->db, job, e));
    recount(q);
    tell_status(q);
    ring(q);
    return ERR_OK;
}

bool comfy_queue_interrupt(comfy_queue *q, str id) {
    pthread_mutex_lock(&q->lock);
    bool mine = q->running_id.len && (id.len == 0 || str_eq(id, q->running_id));
    if (mine) q->interrupt = true;
    if (mine && q->stream) engine_stream_cancel(q->stream);
    pthread_mutex_unlock(&q->lock);
    return mine;
}

bool comfy_queue_interrupting(comfy_queue *q, str id) {
    pthread_mutex_lock(&q->lock);
    bool yes = q->run && q->interrupt && str_eq(id, q->running_id);
    pthread_mutex_unlock(&q->lock);
    return yes;
}

err_code comfy_queue_remove(comfy_queue *q, str id, bool *ret_any, err *e) {
    TRY(image_jobs_delete(q->c->db, id, IMAGE_JOBS_WAITING, ret_any, e));
    recount(q);
    tell_status(q);
    comfy_watch_removed(q->c, id);
    return ERR_OK;
}

err_code comfy_queue_cancel(comfy_queue *q, str id, bool *ret_any, err *e) {
    arena *a = arena_create(0);
    json_t *messages = json_array(), *d = json_object();
    json_object_set_new(d, "prompt_id", comfy_str(id));
    json_object_set_new(d, "executed", json_array());
    json_object_set_new(d, "timestamp", json_integer(comfy_now_ms()));
    json_array_append_new(messages, json_pack("[so]", "execution_interrupted", d));
    image_job job = {.id = id,
                     .state = IMAGE_JOB_CANCELLED,
                     .ended_ms = comfy_now_ms(),
                     .outputs = STR("{}"),
                     .messages = comfy_json_text(a, messages),
                     .meta = STR("{}")};
    json_decref(messages);
    err_code code = image_jobs_cancel_waiting(q->c->db, &job, ret_any, e);
    if (!code && *ret_any) {
        recount(q);
        tell_status(q);
        comfy_v2_status(q->c, &job);
        comfy_watch_end(q->c, id, &job);
    } else if (!code) {
        *ret_any = comfy_queue_interrupt(q, id);
    }
    arena_destroy(&a);
    return code;
}

json_t *comfy_queue_current(comfy_queue *q, str client_id, json_t **ret_state) {
    pthread_mutex_lock(&q->lock);
    json_t *now = q->run && str_eq(client_id, q->running_client)
                      ? comfy_run_get_current(q->run, ret_state)
                      : NULL;
    pthread_mutex_unlock(&q->lock);
    return now;
}

json_t *comfy_queue_progress(comfy_queue *q, str id) {
    pthread_mutex_lock(&q->lock);
    json_t *p = q->run && str_eq(id, q->running_id) ? comfy_run_get_progress(q->run) : NULL;
    pthread_mutex_unlock(&q->lock);
    return p;
}

/* ---- the thread ---- */

/* From here on the job can be interrupted, also while it is only about to run. */
static void announce(comfy_queue *q, const image_job *job) {
    pthread_mutex_lock(&q->lock);
    q->running_id = job->id;
    q->interrupt = false;
    pthread_mutex_unlock(&q->lock);
}

/* Publishes the run, for its clients. False when the server is stopping. */
static bool publish(comfy_queue *q, comfy_run *run, const image_job *job) {
    pthread_mutex_lock(&q->lock);
    bool go = !q->stop;
    q->run = go ? run : NULL;
    q->running_client = job->client_id;
    pthread_mutex_unlock(&q->lock);
    return go;
}

static bool set_stream(comfy_queue *q, engine_stream *s) {
    pthread_mutex_lock(&q->lock);
    q->stream = s;
    bool cancel = s && (q->interrupt || q->stop);
    if (cancel) engine_stream_cancel(s);
    pthread_mutex_unlock(&q->lock);
    return cancel;
}

static void unpublish(comfy_queue *q) {
    pthread_mutex_lock(&q->lock);
    q->run = NULL;
    q->running_id = q->running_client = (str){0};
    pthread_mutex_unlock(&q->lock);
}

static bool stopping(comfy_queue *q) {
    pthread_mutex_lock(&q->lock);
    bool stop = q->stop;
    pthread_mutex_unlock(&q->lock);
    return stop;
}

/* Every few seconds, and oftener while a job runs. */
static void look_around(comfy *c) {
    comfy_v2_keep_alive(c);
    comfy_hub_drop_expired(c->hub, comfy_now_ms());
    comfy_watch_sweep(c);
}

/* Runs the engine's job to its end. False when it was cut short by the server's end. */
static bool execute(comfy_queue *q, comfy_run *run, const image_job *job) {
    engine_stream *stream;
    err e;
    comfy_run_started(run);
    if (comfy_engine_submit(q->c, run, job, &stream, &e)) {
        comfy_failure f = {.type = STR("RuntimeError"), .message = str_from(e.msg)};
        comfy_run_failed(run, &f);
        return true;
    }
    set_stream(q, stream);
    while (!comfy_engine_next(q->c, run, stream)) look_around(q->c);
    set_stream(q, NULL);
    engine_stream_destroy(&stream);
    return job->state != IMAGE_JOB_CANCELLED || !stopping(q);
}

static void store_end(comfy_queue *q, image_job *job) {
    err e;
    err_code code = image_jobs_finish(q->c->db, job, &e);
    for (int i = 0; i < 5 && code == ERR_IO && !stopping(q); i++) {
        log_error("the end of picture job " STR_FMT " is not stored yet: %s", STR_ARG(job->id),
                  e.msg);
        struct timespec second = {.tv_sec = 1};
        nanosleep(&second, NULL);
        code = image_jobs_finish(q->c->db, job, &e);
    }
    if (code) log_error("picture job " STR_FMT ": %s", STR_ARG(job->id), e.msg);
}

/* False when the database does not take it: to be tried again later. */
static bool run_job(comfy_queue *q, image_job *job, arena *a) {
    err e;
    job->started_ms = comfy_now_ms();
    announce(q, job);
    err_code code = image_jobs_set_running(q->c->db, job->id, job->started_ms, &e);
    if (code) unpublish(q);
    if (code == ERR_NOT_FOUND) return true; /* it was removed just now */
    if (code) {
        log_error("picture job " STR_FMT " waits: %s", STR_ARG(job->id), e.msg);
        return false;
    }
    job->state = IMAGE_JOB_RUNNING;
    comfy_run *run = comfy_run_create(q->c, job);
    if (publish(q, run, job)) {
        tell_status(q);
        comfy_v2_status(q->c, job);
        if (execute(q, run, job)) {
            comfy_run_finish(run, a);
            store_end(q, job);
            recount(q);
            tell_status(q);
            json_t *end = json_pack("{s:n, s:o}", "node", "prompt_id", comfy_str(job->id));
            comfy_hub_send(q->c->hub, job->client_id, "executing", end);
            comfy_v2_status(q->c, job);
            comfy_watch_end(q->c, job->id, job);
        }
    }
    unpublish(q);
    comfy_run_destroy(&run);
    return true;
}

/* False when nothing waits. */
static bool run_next(comfy_queue *q) {
    arena *a = arena_create(0);
    image_jobs_query first = {
        .states = IMAGE_JOBS_WAITING, .order = IMAGE_JOBS_BY_TURN, .limit = 1};
    image_jobs_page page;
    err e;
    err_code code = image_jobs_list(q->c->db, &first, a, &page, &e);
    if (code) log_error("the queue of pictures: %s", e.msg);
    bool any = !code && page.n > 0;
    if (any) any = run_job(q, &page.jobs[0], a);
    arena_destroy(&a);
    return any;
}

static void *queue_main(void *arg) {
    comfy_queue *q = arg;
    for (;;) {
        pthread_mutex_lock(&q->lock);
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += 2;
        if (!q->rung && !q->stop) pthread_cond_timedwait(&q->wake, &q->lock, &until);
        bool stop = q->stop;
        q->rung = false;
        pthread_mutex_unlock(&q->lock);
        if (stop) return NULL;
        look_around(q->c);
        while (!stopping(q) && run_next(q)) {
        }
    }
}

err_code comfy_queue_create(comfy *c, comfy_queue **ret, err *e) {
    int64_t last;
    TRY(image_jobs_migrate(c->db, e));
    TRY(image_jobs_last_seq(c->db, &last, e));
    comfy_queue *q = NEW(comfy_queue);
    q->c = c;
    q->number = last;
    pthread_mutex_init(&q->lock, NULL);
    pthread_cond_init(&q->wake, NULL);
    pthread_mutex_init(&q->count_lock, NULL);
    recount(q);
    *ret = q;
    return ERR_OK;
}

void comfy_queue_start(comfy_queue *q) {
    if (q->n_remaining) log_info("%lld picture jobs wait", (long long)q->n_remaining);
    q->rung = true;
    q->has_thread = pthread_create(&q->thread, NULL, queue_main, q) == 0;
}

void comfy_queue_stop(comfy_queue *q) {
    pthread_mutex_lock(&q->lock);
    q->stop = true;
    pthread_cond_signal(&q->wake);
    if (q->stream) engine_stream_cancel(q->stream);
    pthread_mutex_unlock(&q->lock);
    if (q->has_thread) pthread_join(q->thread, NULL);
    q->has_thread = false;
}

void comfy_queue_destroy(comfy_queue **pq) {
    if (!pq || !*pq) return;
    comfy_queue *q = *pq;
    comfy_queue_stop(q);
    pthread_cond_destroy(&q->wake);
    pthread_mutex_destroy(&q->lock);
    pthread_mutex_destroy(&q->count_lock);
    mem_free(q);
    *pq = NULL;
}
