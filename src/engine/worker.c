/* The engine's second thread: loads models and prepares prompts, first come, first served.
 *
 * Both can take long (a cold disk, a prompt of megabytes) and must not hold up the steps of running
 * jobs. The engine thread gives work away and collects it when the bell rings; while the worker has
 * a job or model, nobody else touches it. */
#include "engine/job.h"

typedef struct task {
    engine_loaded *m;
    engine_job *j;
} task;

struct worker {
    engine *eng;
    pthread_t thread;
    pthread_mutex_t mu;
    pthread_cond_t cond;
    VEC(task) todo, done;
    bool stop;
};

static void load(engine *eng, engine_loaded *m) {
    m->failure.code = ERR_OK;
    if (eng->b.load(eng->b.ctx, &m->model, &m->backend_model, &m->failure)) return;
    eng->b.facts(m->backend_model, &m->facts);
}

static void *worker_main(void *arg) {
    worker *w = arg;
    pthread_mutex_lock(&w->mu);
    for (;;) {
        while (w->todo.len == 0 && !w->stop) pthread_cond_wait(&w->cond, &w->mu);
        if (w->todo.len == 0) break;
        task t = w->todo.items[0];
        VEC_REMOVE_AT(w->todo, 0);
        pthread_mutex_unlock(&w->mu);
        if (t.m)
            load(w->eng, t.m);
        else if (job_prepare(t.j, &t.j->failure) == ERR_OK)
            t.j->failure.code = ERR_OK;
        pthread_mutex_lock(&w->mu);
        VEC_PUSH(w->done, t);
        bell_ring(&w->eng->bell);
    }
    pthread_mutex_unlock(&w->mu);
    return NULL;
}

worker *worker_create(engine *eng) {
    worker *w = NEW(worker);
    w->eng = eng;
    pthread_mutex_init(&w->mu, NULL);
    pthread_cond_init(&w->cond, NULL);
    pthread_create(&w->thread, NULL, worker_main, w);
    return w;
}

void worker_destroy(worker **wp) {
    worker *w = *wp;
    if (!w) return;
    pthread_mutex_lock(&w->mu);
    w->stop = true;
    pthread_cond_signal(&w->cond);
    pthread_mutex_unlock(&w->mu);
    pthread_join(w->thread, NULL);
    pthread_mutex_destroy(&w->mu);
    pthread_cond_destroy(&w->cond);
    VEC_FINISH(w->todo);
    VEC_FINISH(w->done);
    mem_free(w);
    *wp = NULL;
}

static void give(worker *w, task t) {
    pthread_mutex_lock(&w->mu);
    VEC_PUSH(w->todo, t);
    pthread_cond_signal(&w->cond);
    pthread_mutex_unlock(&w->mu);
}

void worker_load(worker *w, engine_loaded *m) {
    give(w, (task){.m = m});
}

void worker_prepare(worker *w, engine_job *j) {
    j->state = JOB_PREPARING;
    give(w, (task){.j = j});
}

bool worker_collect(worker *w, engine_loaded **ret_m, engine_job **ret_j) {
    pthread_mutex_lock(&w->mu);
    bool any = w->done.len > 0;
    if (any) {
        *ret_m = w->done.items[0].m;
        *ret_j = w->done.items[0].j;
        VEC_REMOVE_AT(w->done, 0);
    }
    pthread_mutex_unlock(&w->mu);
    return any;
}
