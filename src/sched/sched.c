/* Jobs, places and turns of the scheduler; memory is room.c's.
 *
 * Each call either moves one job or model along or asks for one action. Lists are scanned, not
 * indexed: a few hundred jobs cost microseconds, and sched_next looks only when something changed
 * or a timer is due. Invariants: n_placed <= max_parallel for every model; kv_used <= kv_bytes;
 * the ledger holds exactly the sum of what the models record. */
#include "sched/impl.h"
#include <assert.h>

sched *sched_create(const sched_config *c) {
    assert(c->max_waiting >= 1 && c->max_parallel >= 1);
    sched *s = NEW(sched);
    s->conf = *c;
    sched_ledger_init(&s->ledger, c->budget_bytes);
    s->fair = sched_fair_create(c->weight);
    s->next_look = CLOCK_FOREVER;
    return s;
}

static void model_destroy(sched_model *m) {
    sched *s = m->owner_sched;
    for (size_t i = 0; i < s->models.len; i++)
        if (s->models.items[i] == m) VEC_REMOVE_AT(s->models, i);
    mem_free((void *)(uintptr_t)m->key.ptr);
    mem_free(m);
}

void sched_destroy(sched **sp) {
    sched *s = *sp;
    if (!s) return;
    assert(s->jobs.len == 0);
    while (s->models.len > 0) model_destroy(VEC_LAST(s->models));
    VEC_FINISH(s->models);
    VEC_FINISH(s->jobs);
    sched_fair_destroy(&s->fair);
    mem_free(s);
    *sp = NULL;
}

static sched_model *model_find(const sched *s, str key) {
    for (size_t i = 0; i < s->models.len; i++)
        if (str_eq(s->models.items[i]->key, key)) return s->models.items[i];
    return NULL;
}

static sched_model *model_get(sched *s, const sched_job_spec *spec) {
    sched_model *m = model_find(s, spec->model_key);
    if (m) return m;
    m = NEW(sched_model);
    m->owner_sched = s;
    str k = spec->model_key;
    m->key = (str){mem_dup(k.len ? k.ptr : "", k.len ? k.len : 1), k.len};
    VEC_PUSH(s->models, m);
    return m;
}

/* Jobs that wait beyond the places that are free for them. */
static int32_t n_queued(const sched *s) {
    int32_t n = 0;
    for (size_t i = 0; i < s->models.len; i++) {
        const sched_model *m = s->models.items[i];
        int32_t free_places = m->state == MODEL_RESIDENT ? s->conf.max_parallel - m->n_placed : 0;
        if (m->n_waiting > free_places) n += m->n_waiting - free_places;
    }
    return n;
}

static void insert_by_age(sched *s, sched_job *j) {
    size_t at = s->jobs.len;
    VEC_PUSH(s->jobs, j);
    for (; at > 0 && s->jobs.items[at - 1]->seq > j->seq; at--)
        s->jobs.items[at] = s->jobs.items[at - 1];
    s->jobs.items[at] = j;
}

err_code sched_submit(sched *s, const sched_job_spec *spec, int64_t now, sched_job **ret, err *e) {
    const sched_model *known = model_find(s, spec->model_key);
    bool place_free = known && known->state == MODEL_RESIDENT &&
                      known->n_placed + known->n_waiting < s->conf.max_parallel;
    if (!place_free && !spec->memory_only && n_queued(s) >= s->conf.max_waiting)
        FAIL(e, BUSY, "server busy, please try again.  maximum pending requests exceeded");
    sched_model *m = model_get(s, spec);
    if (m->state == MODEL_ABSENT) m->want_bytes = spec->model_bytes;
    m->memory_only = spec->memory_only;
    m->keep_alive_ns = spec->keep_alive_ns;
    m->expire_now = false;
    m->last_use = now;
    m->n_jobs++;
    m->n_waiting++;
    sched_job *j = NEW(sched_job);
    *j = (sched_job){.owner_sched = s,
                     .model = m,
                     .owner = spec->owner,
                     .seq = spec->beside ? spec->beside->seq : s->n_made++,
                     .blocked_since = -1,
                     .load_only = spec->load_only};
    j->flow = sched_flow_create(s->fair, spec->cls, spec->user);
    insert_by_age(s, j);
    s->dirty = true;
    *ret = j;
    return ERR_OK;
}

void job_set_state(sched_job *j, job_state state) {
    sched_model *m = j->model;
    int32_t place = j->load_only ? 0 : 1;
    switch (j->state) {
    case JOB_WAITING:
        m->n_waiting--;
        break;
    case JOB_STARTED:
        m->n_placed -= place, m->n_busy--;
        break;
    case JOB_READY:
        m->n_placed -= place;
        break;
    case JOB_RUNNING:
        m->n_placed -= place, m->n_busy--, m->n_running--;
        m->kv_used -= j->kv_bytes;
        sched_flow_sleep(j->flow);
        break;
    case JOB_GONE:
        assert(false);
        break;
    }
    j->state = state;
    switch (state) {
    case JOB_WAITING:
        m->n_waiting++;
        break;
    case JOB_STARTED:
        m->n_placed += place, m->n_busy++;
        break;
    case JOB_READY:
        m->n_placed += place;
        break;
    case JOB_RUNNING:
        m->n_placed += place, m->n_busy++, m->n_running++;
        m->kv_used += j->kv_bytes;
        sched_flow_wake(j->flow);
        break;
    case JOB_GONE:
        break;
    }
    assert(m->kv_used <= m->kv_bytes);
    j->owner_sched->dirty = true;
}

void sched_job_ready(sched_job *j, uint64_t kv_bytes, int64_t now) {
    assert(j->state == JOB_STARTED && !j->load_only);
    j->kv_bytes = kv_bytes;
    j->model->last_use = now;
    job_set_state(j, JOB_READY);
}

void sched_finish(sched_job **jp, int64_t now) {
    sched_job *j = *jp;
    if (!j) return;
    sched *s = j->owner_sched;
    sched_model *m = j->model;
    job_set_state(j, JOB_GONE);
    m->n_jobs--;
    m->last_use = m->idle_since = now;
    for (size_t i = 0; i < s->jobs.len; i++) {
        if (s->jobs.items[i] != j) continue;
        VEC_REMOVE_AT(s->jobs, i);
        break;
    }
    sched_flow_destroy(&j->flow);
    mem_free(j);
    *jp = NULL;
    if (m->n_jobs == 0 && m->state == MODEL_ABSENT) model_destroy(m);
}

void sched_job_sleep(sched_job *j) {
    sched_flow_sleep(j->flow);
}

void sched_job_wake(sched_job *j) {
    if (j->state == JOB_RUNNING) sched_flow_wake(j->flow);
}

void *sched_job_owner(const sched_job *j) {
    return j->owner;
}

sched_model *sched_job_model(const sched_job *j) {
    return j->model;
}

bool sched_job_running(const sched_job *j) {
    return j->state == JOB_RUNNING;
}

int32_t sched_job_place(const sched_job *j) {
    int32_t n = 0;
    if (j->state != JOB_WAITING) return 0;
    const sched *s = j->owner_sched;
    for (size_t i = 0; i < s->jobs.len; i++) {
        const sched_job *o = s->jobs.items[i];
        if (o != j && o->state == JOB_WAITING && sched_flow_cmp_waiting(o->flow, j->flow) < 0) n++;
    }
    return n;
}

/* The waiting job whose model is there, that has a free place and the earliest turn. */
static sched_job *best_start(const sched *s) {
    sched_job *best = NULL;
    for (size_t i = 0; i < s->jobs.len; i++) {
        sched_job *j = s->jobs.items[i];
        const sched_model *m = j->model;
        if (j->state != JOB_WAITING || j->refused || m->state != MODEL_RESIDENT) continue;
        if (!j->load_only && (m->draining || m->n_placed >= s->conf.max_parallel)) continue;
        if (!best || sched_flow_cmp_waiting(j->flow, best->flow) < 0) best = j;
    }
    return best;
}

bool sched_next(sched *s, int64_t now, sched_action *ret) {
    if (!s->dirty && now < s->next_look) return false;
    s->dirty = true;
    if (room_next(s, now, ret) || room_next_unload(s, now, ret)) return true;
    sched_job *j = best_start(s);
    if (j) {
        job_set_state(j, JOB_STARTED);
        *ret = (sched_action){.kind = SCHED_DO_START, .model = j->model, .job = j};
        return true;
    }
    s->dirty = false;
    s->next_look = room_wakeup(s, now);
    return false;
}

int64_t sched_wakeup(const sched *s, int64_t now) {
    return s->dirty ? now : s->next_look;
}

void sched_model_loaded(sched_model *m, uint64_t weight_bytes, uint64_t plan_bytes, int64_t now) {
    assert(m->state == MODEL_LOADING && weight_bytes <= m->weight_bytes);
    sched *s = m->owner_sched;
    sched_ledger_release(&s->ledger, SCHED_WEIGHTS, m->weight_bytes - weight_bytes);
    m->weight_bytes = weight_bytes;
    m->plan_want = plan_bytes;
    m->state = MODEL_SETTLING;
    m->last_use = m->idle_since = now;
    s->dirty = true;
}

void model_doom_jobs(sched_model *m, const err *why) {
    sched *s = m->owner_sched;
    m->why = *why;
    for (size_t i = 0; i < s->jobs.len; i++)
        if (s->jobs.items[i]->model == m) s->jobs.items[i]->doomed = true;
}

void sched_model_failed(sched_model *m, const err *why, int64_t now) {
    assert(m->state == MODEL_LOADING);
    model_doom_jobs(m, why);
    m->state = MODEL_UNLOADING;
    sched_model_unloaded(m, now);
}

void sched_model_unloaded(sched_model *m, int64_t now) {
    (void)now;
    assert(m->state == MODEL_UNLOADING && m->n_busy == 0);
    sched *s = m->owner_sched;
    sched_ledger_release(&s->ledger, SCHED_WEIGHTS, m->weight_bytes);
    sched_ledger_release(&s->ledger, SCHED_PLAN, m->plan_bytes);
    sched_ledger_release(&s->ledger, SCHED_KV, m->kv_bytes);
    m->weight_bytes = m->plan_bytes = m->kv_bytes = 0;
    m->state = MODEL_ABSENT;
    m->draining = m->expire_now = false;
    m->owner = NULL;
    s->dirty = true;
    if (m->n_jobs == 0) model_destroy(m);
}

void sched_expire(sched *s, str model_key, int64_t now) {
    (void)now;
    sched_model *m = model_find(s, model_key);
    if (!m || m->pinned) return;
    m->expire_now = true;
    s->dirty = true;
}

void sched_model_pin(sched_model *m, bool pinned) {
    m->pinned = pinned;
    m->owner_sched->dirty = true;
}

sched_model *sched_find_model(sched *s, str model_key) {
    return model_find(s, model_key);
}

void sched_model_set_owner(sched_model *m, void *owner) {
    m->owner = owner;
}

void *sched_model_owner(const sched_model *m) {
    return m->owner;
}

str sched_model_key(const sched_model *m) {
    return m->key;
}

uint64_t sched_model_kv_bytes(const sched_model *m) {
    return m->kv_bytes;
}

sched_job *sched_pick(sched *s) {
    sched_job *best = NULL;
    for (size_t i = 0; i < s->jobs.len; i++) {
        sched_job *j = s->jobs.items[i];
        if (j->state != JOB_RUNNING || !sched_flow_awake(j->flow)) continue;
        if (!best || sched_flow_cmp(j->flow, best->flow) < 0) best = j;
    }
    if (best) sched_flow_serve(best->flow);
    return best;
}

size_t sched_batch(sched *s, sched_job *lead, sched_job **jobs, size_t cap) {
    size_t n = 0;
    if (cap == 0) return 0;
    jobs[n++] = lead;
    for (size_t i = 0; i < s->jobs.len && n < cap; i++) {
        sched_job *j = s->jobs.items[i];
        if (j == lead || j->model != lead->model || j->state != JOB_RUNNING) continue;
        if (!sched_flow_awake(j->flow) || !sched_flow_may_join(j->flow, lead->flow)) continue;
        size_t at = n++;
        for (; at > 1 && sched_flow_cmp(j->flow, jobs[at - 1]->flow) < 0; at--)
            jobs[at] = jobs[at - 1];
        jobs[at] = j;
    }
    return n;
}

void sched_charge(sched_job *j, int64_t device_ns, int64_t now) {
    sched_flow_charge(j->flow, device_ns);
    j->model->last_use = now;
}

size_t sched_residents(const sched *s, int64_t now, sched_resident *ret, size_t cap) {
    size_t n = 0;
    for (size_t i = 0; i < s->models.len && n < cap; i++) {
        const sched_model *m = s->models.items[i];
        if (m->state == MODEL_ABSENT) continue;
        ret[n++] = (sched_resident){.key = m->key,
                                    .owner = m->owner,
                                    .ready = m->state == MODEL_RESIDENT,
                                    .pinned = m->pinned,
                                    .weight_bytes = m->weight_bytes,
                                    .plan_bytes = m->plan_bytes,
                                    .kv_bytes = m->kv_bytes,
                                    .expires = model_expires(m, now),
                                    .n_running = m->n_running};
    }
    return n;
}

const sched_ledger *sched_get_ledger(const sched *s) {
    return &s->ledger;
}

const sched_fair *sched_get_fair(const sched *s) {
    return s->fair;
}

int32_t sched_n_waiting(const sched *s) {
    int32_t n = 0;
    for (size_t i = 0; i < s->models.len; i++) n += s->models.items[i]->n_waiting;
    return n;
}

int32_t sched_n_running(const sched *s) {
    int32_t n = 0;
    for (size_t i = 0; i < s->models.len; i++) n += s->models.items[i]->n_running;
    return n;
}
