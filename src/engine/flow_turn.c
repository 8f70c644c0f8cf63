/* A workflow's turns on the device and its bytes in the ledger: see engine/flow.h. */
#include "base/buf.h"
#include "engine/flow.h"

enum { OURS = 1 }; /* first byte of our keys: no path of a file */
static const char WORKFLOW_KEY[] = "\001workflow";
static const int64_t CLAIM_PATIENCE_NS = 120 * NS_PER_S;

/* Objects that hold weights. */
static const char *const model_types[] = {"MODEL",       "CLIP",   "VAE",        "CONTROL_NET",
                                          "CLIP_VISION", "GUIDER", "LORA_MODEL", NULL};

bool flow_owns(const sched_model *m) {
    str key = sched_model_key(m);
    return key.len > 0 && key.ptr[0] == OURS;
}

static bool is_workflow(const sched_model *m) {
    return str_eq(sched_model_key(m), str_from(WORKFLOW_KEY));
}

static flow_claim *claim_of(const engine_flow *f, const sched_model *m) {
    str key = sched_model_key(m);
    for (size_t i = 0; i < f->claims.len; i++)
        if (str_eq(f->claims.items[i]->key, key)) return f->claims.items[i];
    return NULL;
}

static void claim_destroy(engine_flow *f, flow_claim *c) {
    if (c->sj) sched_finish(&c->sj, clock_mono_ns());
    for (size_t i = 0; i < f->claims.len; i++) {
        if (f->claims.items[i] != c) continue;
        VEC_REMOVE_AT(f->claims, i);
        break;
    }
    mem_free((void *)(uintptr_t)c->key.ptr);
    mem_free((void *)(uintptr_t)c->model.ptr);
    mem_free(c);
}

/* The scheduler may forget the claim's bytes. */
static void claim_gone(engine_flow *f, flow_claim *c) {
    sched_model *m = c->sm;
    claim_destroy(f, c);
    sched_model_unloaded(m, clock_mono_ns());
}

/* ---- actions of the scheduler, on the engine thread ---- */

static void claim_action(engine_flow *f, const sched_action *act, sched_model *m) {
    flow_claim *c = claim_of(f, m);
    int64_t now = clock_mono_ns();
    switch (act->kind) {
    case SCHED_DO_LOAD: /* the bytes are reserved: that is all there is to load */
        sched_model_loaded(m, c ? c->n_bytes : 0, 0, now);
        return;
    case SCHED_DO_UNLOAD:
        if (!c) {
            sched_model_unloaded(m, now);
            return;
        }
        c->sm = m;
        c->leaving = true;
        if (!c->released) f->drop_models = true;
        /* While a workflow runs its models stay until it has ended; the account is ahead then. */
        if (c->released || (c->kept && f->sj)) claim_gone(f, c);
        return;
    case SCHED_DO_START:
        if (!c) return;
        c->sm = m;
        c->granted = true;
        return;
    case SCHED_DO_REFUSE:
        if (!c) return;
        c->refused = true;
        c->why = act->error;
        sched_finish(&c->sj, now);
        return;
    case SCHED_DO_RUN:
        return;
    }
}

static void workflow_action(engine_flow *f, const sched_action *act, sched_model *m) {
    int64_t now = clock_mono_ns();
    switch (act->kind) {
    case SCHED_DO_LOAD:
        sched_model_loaded(m, 0, 0, now);
        return;
    case SCHED_DO_UNLOAD:
        sched_model_unloaded(m, now);
        return;
    case SCHED_DO_START:
        sched_job_ready(act->job, 0, now);
        return;
    case SCHED_DO_RUN:
        f->sj_runs = true;
        sched_job_sleep(act->job);
        return;
    case SCHED_DO_REFUSE:
        f->sj_refused = true;
        f->why = act->error;
        return;
    }
}

void flow_do_action(engine_flow *f, const sched_action *act) {
    sched_model *m = act->model ? act->model : sched_job_model(act->job);
    if (is_workflow(m))
        workflow_action(f, act, m);
    else
        claim_action(f, act, m);
    pthread_cond_broadcast(&f->wake);
}

/* ---- turns ---- */

void flow_lend_turn(engine_flow *f) {
    engine *eng = f->eng;
    if (f->turn != TURN_WANTED) { /* it changed its mind */
        sched_job_sleep(f->sj);
        return;
    }
    int64_t from = clock_mono_ns();
    f->turn = TURN_HELD;
    f->lending = true;
    pthread_cond_broadcast(&f->wake);
    while (f->turn == TURN_HELD) pthread_cond_wait(&f->turn_up, &eng->mu);
    f->lending = false;
    int64_t now = clock_mono_ns();
    eng->device_ns += now - from;
    eng->class_ns[SCHED_IMAGE] += now - from;
    sched_charge(f->sj, now - from, now);
    if (f->turn == TURN_NONE) sched_job_sleep(f->sj);
    pthread_cond_broadcast(&f->wake);
}

static void end_turn(engine_flow *f, turn_state next) {
    f->turn = next;
    pthread_cond_signal(&f->turn_up);
}

static err_code stopped(err *e) {
    FAIL(e, CANCELLED, "the workflow was interrupted");
}

err_code flow_pause(void *ctx, err *e) {
    engine_flow *f = ctx;
    err_code code = ERR_OK;
    pthread_mutex_lock(&f->eng->mu);
    end_turn(f, TURN_WANTED);
    sched_job_wake(f->sj);
    bell_ring(&f->eng->bell);
    while (f->turn != TURN_HELD && !flow_must_stop(f)) pthread_cond_wait(&f->wake, &f->eng->mu);
    if (flow_must_stop(f)) {
        end_turn(f, TURN_NONE);
        code = stopped(e);
    }
    pthread_mutex_unlock(&f->eng->mu);
    return code;
}

void flow_give_back(engine_flow *f) {
    pthread_mutex_lock(&f->eng->mu);
    if (f->turn == TURN_HELD) end_turn(f, TURN_NONE);
    pthread_mutex_unlock(&f->eng->mu);
}

/* ---- memory ---- */

/* Asks for the claim's bytes; a claim that is there already is only held. */
static err_code claim_submit(engine_flow *f, flow_claim *c, err *e) {
    sched_job_spec spec = {.cls = SCHED_IMAGE,
                           .user = f->running->user,
                           .model_key = c->key,
                           .model_bytes = c->n_bytes,
                           .keep_alive_ns = f->eng->conf.keep_alive_ns,
                           .load_only = true,
                           .memory_only = true,
                           .beside = f->sj,
                           .owner = c};
    c->granted = c->refused = false;
    err_code code = sched_submit(f->eng->s, &spec, clock_mono_ns(), &c->sj, e);
    bell_ring(&f->eng->bell);
    return code;
}

/* Waits until the claim is granted, refused, or asked to leave. */
static err_code claim_wait(engine_flow *f, flow_claim *c, err *e) {
    int64_t deadline = clock_mono_ns() + CLAIM_PATIENCE_NS;
    struct timespec until = {deadline / NS_PER_S, deadline % NS_PER_S};
    while (!c->granted && !c->refused && !c->leaving && !flow_must_stop(f)) {
        if (pthread_cond_timedwait(&f->wake, &f->eng->mu, &until) == 0) continue;
        if (clock_mono_ns() < deadline) continue;
        FAIL(e, DEVICE_NOMEM, "no room for %.1f MiB of an image model: others use the memory",
             (double)c->n_bytes / 1048576.0);
    }
    if (c->refused) {
        *e = c->why;
        return e->code;
    }
    return flow_must_stop(f) ? stopped(e) : ERR_OK;
}

static flow_claim *claim_create(engine_flow *f, uint64_t n_bytes) {
    flow_claim *c = NEW(flow_claim);
    buf key = {0};
    buf_put_char(&key, OURS);
    buf_putf(&key, "claim %llu", (unsigned long long)f->n_claims++);
    c->key.len = key.len;
    c->key.ptr = buf_take(&key);
    c->n_bytes = n_bytes;
    VEC_PUSH(f->claims, c);
    return c;
}

static void claim_name(flow_claim *c, str model) {
    mem_free((void *)(uintptr_t)c->model.ptr);
    c->model = (str){mem_dup(model.len ? model.ptr : "", model.len), model.len};
}

/* One that models of the cache hold already. */
static flow_claim *claim_kept(const engine_flow *f, uint64_t n_bytes) {
    for (size_t i = 0; i < f->claims.len; i++) {
        flow_claim *c = f->claims.items[i];
        if (c->kept && !c->leaving && c->n_bytes == n_bytes) return c;
    }
    return NULL;
}

err_code flow_reserve(void *ctx, uint64_t n_bytes, str model, err *e) {
    engine_flow *f = ctx;
    if (n_bytes == 0) return ERR_OK;
    pthread_mutex_lock(&f->eng->mu);
    if (f->turn == TURN_HELD) end_turn(f, TURN_NONE);
    flow_claim *c;
    err_code code;
    for (;;) {
        c = claim_kept(f, n_bytes);
        if (!c) c = claim_create(f, n_bytes);
        c->kept = false;
        claim_name(c, model);
        code = claim_submit(f, c, e);
        if (code == ERR_OK) code = claim_wait(f, c, e);
        if (code || c->granted) break;
        claim_gone(f, c); /* a kept one that was on its way out */
    }
    if (code && c->sm) { /* granted after all, at the same moment */
        c->released = true;
        if (c->sj) sched_finish(&c->sj, clock_mono_ns());
        sched_expire(f->eng->s, c->key, clock_mono_ns());
    } else if (code) {
        claim_destroy(f, c);
    }
    bell_ring(&f->eng->bell);
    pthread_mutex_unlock(&f->eng->mu);
    return code;
}

/* The claim's memory is free. */
static void claim_release(engine_flow *f, flow_claim *c) {
    int64_t now = clock_mono_ns();
    if (c->leaving) {
        claim_gone(f, c);
        return;
    }
    c->released = true;
    c->kept = false;
    if (c->sj) sched_finish(&c->sj, now);
    sched_expire(f->eng->s, c->key, now);
}

/* Its owner is done with it; what models hold is free when they go. */
static void claim_keep(engine_flow *f, flow_claim *c) {
    if (c->leaving) {
        claim_gone(f, c);
        return;
    }
    c->kept = true;
    if (c->sj) sched_finish(&c->sj, clock_mono_ns());
}

static flow_claim *claim_at_most(const engine_flow *f, uint64_t n_bytes, bool exact) {
    for (size_t i = f->claims.len; i-- > 0;) {
        flow_claim *c = f->claims.items[i];
        if (c->released || c->kept || !c->sm) continue;
        if (exact ? c->n_bytes == n_bytes : c->n_bytes <= n_bytes) return c;
    }
    return NULL;
}

void flow_release(void *ctx, uint64_t n_bytes) {
    engine_flow *f = ctx;
    if (n_bytes == 0) return;
    pthread_mutex_lock(&f->eng->mu);
    flow_claim *c = claim_at_most(f, n_bytes, true);
    if (c) {
        claim_keep(f, c);
    } else { /* in other pieces than it was taken */
        f->slack_bytes += n_bytes;
        while ((c = claim_at_most(f, f->slack_bytes, false))) {
            f->slack_bytes -= c->n_bytes;
            claim_release(f, c);
        }
    }
    bell_ring(&f->eng->bell);
    pthread_mutex_unlock(&f->eng->mu);
}

void flow_drop(engine_flow *f) {
    bool all = f->drop_all, any_leaving = false;
    f->drop_models = f->drop_all = false;
    pthread_mutex_unlock(&f->eng->mu);
    if (all)
        flow_cache_clear(f->cache);
    else
        flow_cache_drop(f->cache, model_types);
    pthread_mutex_lock(&f->eng->mu);
    for (size_t i = 0; i < f->claims.len; i++) any_leaving |= f->claims.items[i]->leaving;
    if (any_leaving) { /* something else held on to it */
        pthread_mutex_unlock(&f->eng->mu);
        flow_cache_clear(f->cache);
        pthread_mutex_lock(&f->eng->mu);
    }
    for (size_t i = f->claims.len; i-- > 0;) {
        flow_claim *c = f->claims.items[i];
        if (c->leaving)
            claim_gone(f, c);
        else if (c->kept)
            claim_release(f, c);
    }
    bell_ring(&f->eng->bell);
}

str flow_claim_model(const engine_flow *f, str key) {
    for (size_t i = 0; i < f->claims.len; i++)
        if (str_eq(f->claims.items[i]->key, key)) return f->claims.items[i]->model;
    return (str){0};
}

/* ---- the workflow as a job ---- */

/* Claims of what the cache still holds are in use again; those that are on their way out take the
 * cached models with them. */
static err_code hold_claims(engine_flow *f, err *e) {
    for (size_t i = 0; i < f->claims.len; i++) {
        flow_claim *c = f->claims.items[i];
        if (c->released || c->leaving || c->kept) continue;
        TRY(claim_submit(f, c, e));
    }
    for (size_t i = 0; i < f->claims.len;) {
        flow_claim *c = f->claims.items[i];
        if (!c->released && !c->kept) TRY(claim_wait(f, c, e));
        if (!c->released && c->leaving) {
            flow_drop(f);
            i = 0;
            continue;
        }
        i++;
    }
    return ERR_OK;
}

static err_code enter(engine_flow *f, err *e) {
    sched_job_spec spec = {.cls = SCHED_IMAGE,
                           .user = f->running->user,
                           .model_key = str_from(WORKFLOW_KEY),
                           .keep_alive_ns = CLOCK_FOREVER,
                           .memory_only = true,
                           .owner = f};
    f->sj_runs = f->sj_refused = false;
    TRY(sched_submit(f->eng->s, &spec, clock_mono_ns(), &f->sj, e));
    bell_ring(&f->eng->bell);
    while (!f->sj_runs && !f->sj_refused && !flow_must_stop(f))
        pthread_cond_wait(&f->wake, &f->eng->mu);
    if (f->sj_refused) {
        *e = f->why;
        return e->code;
    }
    if (flow_must_stop(f)) return stopped(e);
    return hold_claims(f, e);
}

err_code flow_begin(engine_flow *f, err *e) {
    pthread_mutex_lock(&f->eng->mu);
    err_code code = enter(f, e);
    pthread_mutex_unlock(&f->eng->mu);
    if (code) flow_end(f);
    return code;
}

void flow_end(engine_flow *f) {
    int64_t now = clock_mono_ns();
    pthread_mutex_lock(&f->eng->mu);
    if (f->turn != TURN_NONE) end_turn(f, TURN_NONE);
    while (f->lending) pthread_cond_wait(&f->wake, &f->eng->mu);
    if (f->sj) sched_finish(&f->sj, now);
    for (size_t i = f->claims.len; i-- > 0;) {
        flow_claim *c = f->claims.items[i];
        if (c->sj) sched_finish(&c->sj, now);
        if (!c->sm && !c->leaving) claim_destroy(f, c); /* was never granted */
    }
    bell_ring(&f->eng->bell);
    pthread_mutex_unlock(&f->eng->mu);
}
