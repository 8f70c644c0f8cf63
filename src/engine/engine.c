/* The engine: takes jobs, does what the scheduler says, runs steps.
 *
 * engine_submit puts a job into the scheduler and rings the bell. The engine thread then goes
 * round: collect what the worker finished, end cancelled jobs, carry out the scheduler's actions
 * (load, unload, start, run, refuse), run one step, again; with nothing to do it sleeps until the
 * bell or a timer of the scheduler. The scheduler itself is pure policy (sched/). Threads: the
 * engine thread and the worker are ours; everybody else only submits, asks and reads streams. The
 * lock is held by the engine thread except during steps. */
#include "engine/engine.h"
#include "base/limits.h"
#include "engine/flow.h"
#include "engine/job.h"
#include "engine/report.h"

enum { DEFAULT_QUEUE = 512, DEFAULT_PARALLEL = 8, DEFAULT_CTX = 4096 };
static const int64_t PATIENCE_NS = 2 * NS_PER_S;

/* ---- models ---- */

static engine_loaded *loaded_create(engine *eng, sched_model *sm, const engine_model *spec) {
    engine_loaded *m = NEW(engine_loaded);
    m->eng = eng;
    m->sm = sm;
    m->mem = arena_create(1024);
    m->model = job_copy_model(m->mem, spec);
    VEC_PUSH(eng->loaded, m);
    return m;
}

static void loaded_destroy(engine *eng, engine_loaded *m) {
    if (m->backend_model) eng->b.unload(m->backend_model);
    for (size_t i = 0; i < eng->loaded.len; i++) {
        if (eng->loaded.items[i] != m) continue;
        VEC_REMOVE_AT(eng->loaded, i);
        break;
    }
    mem_free(m->logits);
    arena_destroy(&m->mem);
    mem_free(m);
}

static engine_job *first_job_of(const engine *eng, const sched_model *sm) {
    for (size_t i = 0; i < eng->jobs.len; i++)
        if (eng->jobs.items[i]->sj && sched_job_model(eng->jobs.items[i]->sj) == sm)
            return eng->jobs.items[i];
    return NULL;
}

static void tell_loading(const engine *eng, const sched_model *sm, int64_t done, int64_t total) {
    for (size_t i = 0; i < eng->jobs.len; i++) {
        engine_job *j = eng->jobs.items[i];
        if (j->sj && sched_job_model(j->sj) == sm)
            stream_put_progress(j->stream, ENGINE_EVENT_LOADING, done, total);
    }
}

static void do_load(engine *eng, sched_model *sm) {
    const engine_job *j = first_job_of(eng, sm); /* loads are only asked for by jobs */
    engine_loaded *m = loaded_create(eng, sm, &j->spec.model);
    sched_model_set_owner(sm, m);
    uint64_t n_bytes = 0;
    eng->b.file_bytes(eng->b.ctx, &m->model, &n_bytes, NULL);
    tell_loading(eng, sm, 0, (int64_t)n_bytes);
    worker_load(eng->worker, m);
}

/* Pages the whole budget could hold: address space only. */
static int32_t max_pages(const engine *eng, const engine_loaded *m) {
    uint64_t n = eng->conf.budget_bytes / m->facts.page_bytes;
    uint64_t most = LIMIT_CTX_TOKENS / (uint64_t)m->facts.page_tokens;
    return (int32_t)(n < 1 ? 1 : n < most ? n : most);
}

static err_code settle_loaded(engine *eng, engine_loaded *m, uint64_t *ret_plan, err *e) {
    if (m->failure.code) {
        *e = m->failure;
        return e->code;
    }
    TRY(report_plan_bytes(eng, m->backend_model, &m->facts, ret_plan, e));
    if (m->facts.page_bytes > 0) {
        TRY(eng->b.kv_open(m->backend_model, max_pages(eng, m), e));
        eng->b.kv_limit(m->backend_model, 0);
        m->has_kv = true;
    }
    if (m->facts.can_generate) {
        uint64_t rows = (uint64_t)eng->conf.max_parallel * (uint64_t)m->facts.n_vocab;
        m->logits = NEW_ARRAY(float, rows);
    }
    return ERR_OK;
}

static void collect_loaded(engine *eng, engine_loaded *m) {
    err e = {0};
    uint64_t plan_bytes = 0;
    int64_t now = clock_mono_ns();
    sched_model *sm = m->sm;
    if (settle_loaded(eng, m, &plan_bytes, &e)) {
        loaded_destroy(eng, m);
        sched_model_set_owner(sm, NULL);
        sched_model_failed(sm, &e, now);
        return;
    }
    tell_loading(eng, sm, (int64_t)m->facts.weight_bytes, (int64_t)m->facts.weight_bytes);
    sched_model_loaded(sm, m->facts.weight_bytes, plan_bytes, now);
}

static void do_unload(engine *eng, sched_model *sm) {
    loaded_destroy(eng, sched_model_owner(sm));
    sched_model_set_owner(sm, NULL);
    sched_model_unloaded(sm, clock_mono_ns());
}

/* ---- jobs ---- */

static void do_start(engine *eng, engine_job *j) {
    j->m = sched_model_owner(sched_job_model(j->sj));
    if (j->spec.kind == ENGINE_JOB_LOAD) {
        if (j->spec.pin) sched_model_pin(sched_job_model(j->sj), true);
        job_finish_done(j, ENGINE_DONE_LOAD);
        return;
    }
    worker_prepare(eng->worker, j);
}

static void collect_prepared(engine_job *j) {
    err gone = {.code = ERR_CANCELLED, .msg = "the request was cancelled"};
    if (stream_cancelled(j->stream))
        job_finish_error(j, &gone);
    else if (j->failure.code)
        job_finish_error(j, &j->failure);
    else if (j->spec.render_only || (j->spec.kind == ENGINE_JOB_EMBED && j->spec.n_inputs == 0))
        job_finish_done(j, ENGINE_DONE_STOP);
    else {
        j->state = JOB_READY;
        j->m->n_ctx = j->n_ctx;
        sched_job_ready(j->sj, job_kv_bytes(j), clock_mono_ns());
    }
}

static void do_run(engine *eng, engine_job *j) {
    engine_loaded *m = j->m;
    if (m->has_kv)
        eng->b.kv_limit(m->backend_model,
                        (int32_t)(sched_model_kv_bytes(m->sm) / m->facts.page_bytes));
    job_begin(j, clock_mono_ns());
}

static void collect_worker(engine *eng) {
    engine_loaded *m;
    engine_job *j;
    while (worker_collect(eng->worker, &m, &j)) {
        if (m)
            collect_loaded(eng, m);
        else
            collect_prepared(j);
    }
}

/* Ends whoever's reader is gone, pauses embeddings whose reader is slow, tells who waits where. */
static void look_at_jobs(engine *eng) {
    err gone = {.code = ERR_CANCELLED, .msg = "the request was cancelled"};
    for (size_t i = eng->jobs.len; i-- > 0;) {
        engine_job *j = eng->jobs.items[i];
        if (j->state == JOB_PREPARING) continue; /* when the worker gives it back */
        if (stream_cancelled(j->stream)) {
            job_finish_error(j, &gone);
        } else if (j->state == JOB_RUNNING && j->spec.kind == ENGINE_JOB_EMBED) {
            if (stream_bytes(j->stream) > LIMIT_STREAM_BYTES)
                sched_job_sleep(j->sj);
            else
                sched_job_wake(j->sj);
        }
    }
}

static void tell_places(engine *eng) {
    eng->told_made = eng->n_jobs_made;
    eng->told_len = eng->jobs.len;
    int32_t n = sched_n_waiting(eng->s);
    for (size_t i = 0; n > 0 && i < eng->jobs.len; i++) {
        engine_job *j = eng->jobs.items[i];
        if (j->state == JOB_WAITING)
            stream_put_progress(j->stream, ENGINE_EVENT_QUEUED, sched_job_place(j->sj), n);
    }
}

static void do_actions(engine *eng) {
    sched_action act;
    bool any = false;
    while (sched_next(eng->s, clock_mono_ns(), &act)) {
        any = true;
        if (flow_owns(act.model ? act.model : sched_job_model(act.job))) {
            flow_do_action(eng->flow, &act);
            continue;
        }
        switch (act.kind) {
        case SCHED_DO_LOAD:
            do_load(eng, act.model);
            break;
        case SCHED_DO_UNLOAD:
            do_unload(eng, act.model);
            break;
        case SCHED_DO_START:
            do_start(eng, sched_job_owner(act.job));
            break;
        case SCHED_DO_RUN:
            do_run(eng, sched_job_owner(act.job));
            break;
        case SCHED_DO_REFUSE:
            job_finish_error(sched_job_owner(act.job), &act.error);
            break;
        }
    }
    bool other = eng->told_made != eng->n_jobs_made || eng->told_len != eng->jobs.len;
    if (any || other) tell_places(eng);
}

/* ---- the thread ---- */

static void stop_all(engine *eng) {
    err gone = {.code = ERR_CANCELLED, .msg = "the server is shutting down"};
    worker_destroy(&eng->worker);
    while (eng->jobs.len > 0) job_finish_error(VEC_LAST(eng->jobs), &gone);
    while (eng->loaded.len > 0) loaded_destroy(eng, VEC_LAST(eng->loaded));
}

static void *engine_main(void *arg) {
    engine *eng = arg;
    pthread_mutex_lock(&eng->mu);
    while (!eng->stop) {
        collect_worker(eng);
        look_at_jobs(eng);
        flow_look(eng->flow);
        do_actions(eng);
        if (engine_run_step(eng)) continue;
        int64_t wake = sched_wakeup(eng->s, clock_mono_ns());
        pthread_mutex_unlock(&eng->mu);
        bell_wait(&eng->bell, wake);
        pthread_mutex_lock(&eng->mu);
    }
    pthread_mutex_unlock(&eng->mu);
    flow_destroy(&eng->flow); /* what it waits for in the engine is answered below */
    pthread_mutex_lock(&eng->mu);
    stop_all(eng);
    pthread_mutex_unlock(&eng->mu);
    return NULL;
}

/* ---- the interface ---- */

static void fill_defaults(engine_config *c, const engine_backend *b) {
    if (c->budget_bytes == 0) c->budget_bytes = b->memory(b->ctx) / 4 * 3;
    if (c->max_queue < 1) c->max_queue = DEFAULT_QUEUE;
    if (c->max_queue > LIMIT_QUEUE_JOBS) c->max_queue = LIMIT_QUEUE_JOBS;
    if (c->max_parallel < 1) c->max_parallel = DEFAULT_PARALLEL;
    if (c->max_parallel > LIMIT_PARALLEL) c->max_parallel = LIMIT_PARALLEL;
    if (c->default_ctx < 1) c->default_ctx = DEFAULT_CTX;
}

err_code engine_create_with(const engine_config *c, const engine_backend *b, engine **ret, err *e) {
    (void)e;
    engine *eng = NEW(engine);
    eng->conf = *c;
    eng->b = *b;
    fill_defaults(&eng->conf, b);
    bell_init(&eng->bell);
    pthread_mutex_init(&eng->mu, NULL);
    sched_config sc = {.budget_bytes = eng->conf.budget_bytes,
                       .max_waiting = eng->conf.max_queue,
                       .max_models = eng->conf.max_loaded_models,
                       .max_parallel = eng->conf.max_parallel,
                       .patience_ns = PATIENCE_NS};
    eng->s = sched_create(&sc);
    eng->worker = worker_create(eng);
    eng->flow = flow_create(eng);
    pthread_create(&eng->thread, NULL, engine_main, eng);
    *ret = eng;
    return ERR_OK;
}

err_code engine_create(const engine_config *c, engine **ret, err *e) {
    engine_backend b;
    dev_cpu_params p = {.n_threads = c->n_threads, .bf16 = c->bf16_pictures};
    TRY(engine_backend_llm(&p, &b, e));
    return engine_create_with(c, &b, ret, e);
}

void engine_destroy(engine **ep) {
    engine *eng = ep ? *ep : NULL;
    if (!eng) return;
    pthread_mutex_lock(&eng->mu);
    eng->stop = true;
    flow_interrupt(eng->flow);
    pthread_mutex_unlock(&eng->mu);
    bell_ring(&eng->bell);
    pthread_join(eng->thread, NULL);
    sched_destroy(&eng->s);
    eng->b.destroy(eng->b.ctx);
    VEC_FINISH(eng->jobs);
    VEC_FINISH(eng->loaded);
    pthread_mutex_destroy(&eng->mu);
    bell_finish(&eng->bell);
    mem_free(eng);
    *ep = NULL;
}

static err_code check_spec(const engine_job_spec *spec, err *e) {
    if (spec->model.path.len == 0) FAIL(e, INVALID, "no model");
    if (spec->n_stop > LIMIT_STOP_STRINGS)
        FAIL(e, INVALID, "stop: %zu strings; at most %d are possible", spec->n_stop,
             LIMIT_STOP_STRINGS);
    for (size_t i = 0; i < spec->n_stop; i++)
        if (spec->stop[i].len > LIMIT_STOP_BYTES)
            FAIL(e, INVALID, "stop: a string of %zu bytes; at most %d are possible",
                 spec->stop[i].len, LIMIT_STOP_BYTES);
    if (spec->top_logprobs < 0 || spec->top_logprobs > LIMIT_TOP_LOGPROBS)
        FAIL(e, INVALID, "top_logprobs must be between 0 and %d", LIMIT_TOP_LOGPROBS);
    if (spec->n_inputs > LIMIT_EMBED_INPUTS)
        FAIL(e, INVALID, "%zu inputs; at most %d are possible", spec->n_inputs, LIMIT_EMBED_INPUTS);
    const value *messages = spec->prompt.messages;
    if (messages && (messages->kind != VALUE_LIST || messages->as.list.len > LIMIT_MESSAGES))
        FAIL(e, INVALID, "messages must be a list of at most %d", LIMIT_MESSAGES);
    if (spec->kind == ENGINE_JOB_GENERATE && spec->prompt.kind == ENGINE_PROMPT_MESSAGES &&
        !messages)
        FAIL(e, INVALID, "no messages");
    return ERR_OK;
}

/* Nothing to run: whatever is loaded goes as soon as it is idle. */
static void submit_unload(engine *eng, const engine_job_spec *spec, engine_stream *s) {
    engine_event done = {.reason = ENGINE_DONE_UNLOAD};
    engine_expire(eng, &spec->model);
    stream_put_done(s, &done);
    stream_release(&s);
}

static err_code submit_job(engine *eng, const engine_job_spec *spec, uint64_t model_bytes,
                           engine_stream *s, err *e) {
    int64_t now = clock_mono_ns();
    grammar *g, *call = NULL;
    err_code format = job_compile_format(&spec->format, &g, e);
    if (format == ERR_OK) format = job_compile_call(&spec->prompt, &call, e);
    if (call && spec->prompt.tool_choice == ENGINE_TOOLS_REQUIRED) grammar_destroy(&g);
    if (format) {
        grammar_destroy(&g);
        stream_release(&s);
        return format;
    }
    engine_job *j = job_create(eng, spec, now);
    j->grammar = g;
    j->call_grammar = call;
    sched_job_spec ss = {.cls = spec->background                 ? SCHED_BACKGROUND
                                : spec->kind == ENGINE_JOB_EMBED ? SCHED_EMBED
                                                                 : SCHED_CHAT,
                         .user = j->spec.user,
                         .model_key = job_model_key(j->mem, &j->spec.model),
                         .model_bytes = model_bytes,
                         .keep_alive_ns =
                             spec->keep_alive_set ? spec->keep_alive_ns : eng->conf.keep_alive_ns,
                         .load_only = spec->kind == ENGINE_JOB_LOAD,
                         .owner = j};
    j->stream = s;
    pthread_mutex_lock(&eng->mu);
    err_code code = sched_submit(eng->s, &ss, now, &j->sj, e);
    if (code) {
        job_end(j);
    } else {
        j->number = ++eng->n_jobs_made;
        VEC_PUSH(eng->jobs, j);
    }
    pthread_mutex_unlock(&eng->mu);
    return code;
}

err_code engine_submit(engine *eng, const engine_job_spec *spec, void (*notify)(void *arg),
                       void *arg, engine_stream **ret, err *e) {
    uint64_t model_bytes = 0;
    TRY(check_spec(spec, e));
    if (spec->kind != ENGINE_JOB_UNLOAD)
        TRY(eng->b.file_bytes(eng->b.ctx, &spec->model, &model_bytes, e));
    engine_stream *s = stream_create(&eng->bell, notify, arg);
    if (spec->kind == ENGINE_JOB_UNLOAD) {
        submit_unload(eng, spec, s);
    } else {
        err_code code = submit_job(eng, spec, model_bytes, s, e);
        if (code) {
            engine_stream_destroy(&s);
            return code;
        }
    }
    bell_ring(&eng->bell);
    *ret = s;
    return ERR_OK;
}

/* What workflows hold: one row for each file, whatever pieces it was asked for in. */
static size_t add_image_model(const engine *eng, const sched_resident *x, int64_t left, arena *a,
                              engine_resident *ret, size_t n) {
    str name = flow_claim_model(eng->flow, x->key);
    size_t i = 0;
    if (!name.len) return n;
    while (i < n && !(ret[i].is_image && str_eq(ret[i].model.name, name))) i++;
    engine_resident *r = &ret[i];
    if (i == n) *r = (engine_resident){.model = {.name = str_dup(a, name)}, .is_image = true};
    r->size_bytes += x->weight_bytes + x->plan_bytes + x->kv_bytes;
    r->n_running += x->n_running;
    if (left == CLOCK_FOREVER)
        r->expires_wall_ns = CLOCK_FOREVER;
    else if (r->expires_wall_ns < clock_wall_ns() + left)
        r->expires_wall_ns = clock_wall_ns() + left;
    return i == n ? n + 1 : n;
}

const engine_resident *engine_residents(engine *eng, arena *a, size_t *ret_n) {
    enum { CAP = 256 };
    sched_resident list[CAP];
    int64_t now = clock_mono_ns(), wall = clock_wall_ns();
    pthread_mutex_lock(&eng->mu);
    size_t n = sched_residents(eng->s, now, list, CAP), at = 0;
    engine_resident *ret = ARENA_ARRAY(a, engine_resident, n + 1);
    for (size_t i = 0; i < n; i++) {
        const engine_loaded *m = list[i].owner;
        if (!list[i].ready) continue;
        bool forever = list[i].expires == CLOCK_FOREVER;
        if (!m) {
            at = add_image_model(eng, &list[i], forever ? CLOCK_FOREVER : list[i].expires - now, a,
                                 ret, at);
            continue;
        }
        ret[at++] = (engine_resident){
            .model = job_copy_model(a, &m->model),
            .size_bytes = list[i].weight_bytes + list[i].plan_bytes + list[i].kv_bytes,
            .expires_wall_ns = forever ? CLOCK_FOREVER : wall + (list[i].expires - now),
            .n_ctx = m->n_ctx                                     ? m->n_ctx
                     : m->facts.ctx_train < eng->conf.default_ctx ? m->facts.ctx_train
                                                                  : eng->conf.default_ctx,
            .n_running = list[i].n_running,
            .pinned = list[i].pinned};
    }
    pthread_mutex_unlock(&eng->mu);
    *ret_n = at;
    return ret;
}

void engine_get_stats(engine *eng, engine_stats *ret) {
    pthread_mutex_lock(&eng->mu);
    const sched_ledger *l = sched_get_ledger(eng->s);
    *ret = (engine_stats){.budget_bytes = l->budget_bytes,
                          .weight_bytes = l->reserved_bytes[SCHED_WEIGHTS],
                          .kv_bytes = l->reserved_bytes[SCHED_KV],
                          .plan_bytes = l->reserved_bytes[SCHED_PLAN],
                          .staging_bytes = l->reserved_bytes[SCHED_STAGING],
                          .n_waiting = sched_n_waiting(eng->s),
                          .n_running = sched_n_running(eng->s),
                          .max_queue = eng->conf.max_queue,
                          .device_ns = eng->device_ns,
                          .n_tokens = eng->n_tokens,
                          .n_prompt_tokens = eng->n_prompt_tokens,
                          .n_threads = eng->conf.n_threads};
    for (size_t i = 0; i < COUNT_OF(ret->class_ns); i++) ret->class_ns[i] = eng->class_ns[i];
    pthread_mutex_unlock(&eng->mu);
}
