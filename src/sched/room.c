/* Memory and residency: who gets room, which models make it, what can never fit.
 *
 * Requests for memory (a model's weights, its plan, a job's KV pages) are looked at oldest job
 * first. When the ledger cannot serve one, idle models are chosen for eviction; when even that is
 * not enough the request is blocked, and after `patience` busy models start to drain for it and
 * younger requests wait behind it. Jobs that hold a place of a model count as being as old as the
 * oldest job that waits for one. The globally oldest blocked job therefore always gets its turn:
 * running jobs hold all the memory they can need and end, and nothing new is started. */
#include "sched/impl.h"
#include <assert.h>

typedef enum room { ROOM_OK, ROOM_COMING, ROOM_BLOCKED, ROOM_NEVER } room;

static uint64_t model_bytes(const sched_model *m) {
    return m->weight_bytes + m->plan_bytes + m->kv_bytes;
}

int64_t model_expires(const sched_model *m, int64_t now) {
    if (m->pinned) return CLOCK_FOREVER;
    if (m->expire_now) return now;
    if (m->keep_alive_ns == CLOCK_FOREVER) return CLOCK_FOREVER;
    int64_t from = m->n_jobs > 0 ? now : m->idle_since;
    return m->keep_alive_ns > CLOCK_FOREVER - from ? CLOCK_FOREVER : from + m->keep_alive_ns;
}

static bool going(const sched_model *m) {
    return m->state == MODEL_EVICTING || m->state == MODEL_UNLOADING;
}

/* May m be evicted for a job of age seq? A patient job may also take models that are loaded for
 * younger jobs which do not run yet. */
static bool evictable(const sched *s, const sched_model *m, uint64_t seq, bool patient) {
    if (m->pinned || m->n_busy > 0) return false;
    if (m->state != MODEL_RESIDENT && !(patient && m->state == MODEL_SETTLING)) return false;
    if (m->n_jobs == 0) return true;
    if (!patient) return false;
    for (size_t i = 0; i < s->jobs.len; i++)
        if (s->jobs.items[i]->model == m && s->jobs.items[i]->seq < seq) return false;
    return true;
}

/* Is a a better victim than b? */
static bool evict_before(const sched_model *a, const sched_model *b) {
    bool a_idle = a->n_jobs == 0, b_idle = b->n_jobs == 0;
    if (a_idle != b_idle) return a_idle;
    bool a_kept = a->keep_alive_ns == CLOCK_FOREVER, b_kept = b->keep_alive_ns == CLOCK_FOREVER;
    if (a_kept != b_kept) return b_kept;
    return a->last_use < b->last_use;
}

/* `counted`: only of those that max_models counts. */
static sched_model *victim(const sched *s, const sched_model *not_this, uint64_t seq, bool patient,
                           bool counted) {
    sched_model *best = NULL;
    for (size_t i = 0; i < s->models.len; i++) {
        sched_model *m = s->models.items[i];
        if (counted && m->memory_only) continue;
        if (m == not_this || !evictable(s, m, seq, patient)) continue;
        if (!best || evict_before(m, best)) best = m;
    }
    return best;
}

/* Does a job of m that does not run yet come before age seq? m must stay for it. */
static bool older_waits(const sched *s, const sched_model *m, uint64_t seq) {
    for (size_t i = 0; i < s->jobs.len && s->jobs.items[i]->seq < seq; i++)
        if (s->jobs.items[i]->model == m && s->jobs.items[i]->state != JOB_RUNNING) return true;
    return false;
}

/* For a request of age seq: stops new starts on the least recently used busy models until what they
 * hold covers `missing`; 0: on one model, when only their number counts. */
static void drain(sched *s, const sched_model *not_this, uint64_t seq, uint64_t missing) {
    uint64_t sum = 0;
    bool one_model = missing == 0;
    while (sum < missing || one_model) {
        sched_model *best = NULL;
        for (size_t i = 0; i < s->models.len; i++) {
            sched_model *m = s->models.items[i];
            if (m == not_this || m->pinned || m->draining || m->state != MODEL_RESIDENT) continue;
            if (older_waits(s, m, seq)) continue;
            if (!best || evict_before(m, best)) best = m;
        }
        if (!best) return;
        best->draining = true;
        sum += model_bytes(best);
        one_model = false;
    }
}

static uint64_t pinned_bytes(const sched *s, const sched_model *not_this) {
    uint64_t sum = 0;
    for (size_t i = 0; i < s->models.len; i++)
        if (s->models.items[i] != not_this && s->models.items[i]->pinned)
            sum += model_bytes(s->models.items[i]);
    return sum;
}

/* Is a place for one more model free (max_models)? Chooses a victim if not. */
static room room_for_model(sched *s, const sched_model *m, uint64_t seq, bool patient, err *e) {
    int32_t n = 0, leaving = 0, pinned = 0;
    for (size_t i = 0; i < s->models.len; i++) {
        if (s->models.items[i]->state == MODEL_ABSENT || s->models.items[i]->memory_only) continue;
        n++;
        if (going(s->models.items[i])) leaving++;
        if (s->models.items[i]->pinned) pinned++;
    }
    if (s->conf.max_models <= 0 || n < s->conf.max_models || m->memory_only) return ROOM_OK;
    if (pinned >= s->conf.max_models) {
        err_set(e, ERR_DEVICE_NOMEM,
                "no room for another model: %d are pinned, and at most %d may be in memory", pinned,
                s->conf.max_models);
        return ROOM_NEVER;
    }
    if (n - leaving < s->conf.max_models) return ROOM_COMING;
    sched_model *v = victim(s, m, seq, patient, true);
    if (v) {
        v->state = MODEL_EVICTING;
        return ROOM_COMING;
    }
    if (patient) drain(s, m, seq, 0);
    return ROOM_BLOCKED;
}

/* What one job asks the ledger for now. */
typedef struct request {
    sched_kind kind;
    uint64_t n_bytes;
    bool load;
    uint64_t seq; /* the age it counts as */
} request;

/* Reserves what a job of m asks for, or finds out why not. */
static room room_for_bytes(sched *s, const sched_model *m, const request *q, bool patient, err *e) {
    sched_kind kind = q->kind;
    uint64_t n_bytes = q->n_bytes;
    if (sched_ledger_reserve(&s->ledger, kind, n_bytes, e) == ERR_OK) return ROOM_OK;
    uint64_t fixed = model_bytes(m) + pinned_bytes(s, m);
    if (fixed > s->ledger.budget_bytes || n_bytes > s->ledger.budget_bytes - fixed) {
        err_set(e, ERR_DEVICE_NOMEM,
                "model requires more memory than is available: %.1f MiB more for %s, budget %.1f "
                "MiB, %.1f MiB of it taken for good",
                (double)n_bytes / 1048576.0, sched_kind_name(kind),
                (double)s->ledger.budget_bytes / 1048576.0, (double)fixed / 1048576.0);
        return ROOM_NEVER;
    }
    uint64_t coming = sched_ledger_free(&s->ledger);
    for (size_t i = 0; i < s->models.len; i++)
        if (s->models.items[i] != m && going(s->models.items[i]))
            coming += model_bytes(s->models.items[i]);
    while (coming < n_bytes) {
        sched_model *v = victim(s, m, q->seq, patient, false);
        if (!v) break;
        v->state = MODEL_EVICTING;
        coming += model_bytes(v);
    }
    if (coming >= n_bytes) return ROOM_COMING;
    if (patient) drain(s, m, q->seq, n_bytes - coming);
    return ROOM_BLOCKED;
}

static bool job_request(const sched_job *j, uint64_t seq, request *ret) {
    const sched_model *m = j->model;
    if (j->state == JOB_WAITING && m->state == MODEL_ABSENT) {
        *ret = (request){SCHED_WEIGHTS, m->want_bytes, true, seq};
        return true;
    }
    if (j->state == JOB_WAITING && m->state == MODEL_SETTLING) {
        *ret = (request){SCHED_PLAN, m->plan_want, false, seq};
        return true;
    }
    if (j->state == JOB_READY && m->state == MODEL_RESIDENT) {
        uint64_t need = m->kv_used + j->kv_bytes;
        *ret = (request){SCHED_KV, need > m->kv_bytes ? need - m->kv_bytes : 0, false, seq};
        return true;
    }
    return false;
}

/* The request was granted: books the bytes. True if the engine has to do something. */
static bool grant(sched_job *j, const request *q, sched_action *ret) {
    sched_model *m = j->model;
    *ret = (sched_action){.model = m, .job = j};
    switch (q->kind) {
    case SCHED_WEIGHTS:
        m->weight_bytes = q->n_bytes;
        m->state = MODEL_LOADING;
        ret->kind = SCHED_DO_LOAD;
        return true;
    case SCHED_PLAN:
        m->plan_bytes = q->n_bytes;
        m->state = MODEL_RESIDENT;
        return false;
    case SCHED_KV:
        m->kv_bytes += q->n_bytes;
        job_set_state(j, JOB_RUNNING);
        ret->kind = SCHED_DO_RUN;
        return true;
    case SCHED_STAGING:
    case SCHED_KIND_COUNT:
        break;
    }
    assert(false);
    return false;
}

static void refuse(sched_job *j, const err *why, sched_action *ret) {
    j->refused = true;
    *ret = (sched_action){.kind = SCHED_DO_REFUSE, .model = j->model, .job = j, .error = *why};
}

/* A model that is settling and that nobody waits for any more goes again; one whose time is over
 * too. */
static void expire_models(sched *s, int64_t now) {
    for (size_t i = 0; i < s->models.len; i++) {
        sched_model *m = s->models.items[i];
        m->draining = false;
        if (m->n_jobs > 0) continue;
        if (m->state == MODEL_SETTLING ||
            (m->state == MODEL_RESIDENT && (model_expires(m, now) <= now)))
            m->state = MODEL_EVICTING;
    }
}

/* The turn of job j, as if it were of age seq. True: *ret is to be done. */
static bool serve(sched *s, sched_job *j, uint64_t seq, int64_t now, bool *barrier,
                  sched_action *ret) {
    request q;
    if (j->refused) return false;
    if (j->doomed) {
        refuse(j, &j->model->why, ret);
        return true;
    }
    if (!job_request(j, seq, &q) || (*barrier && q.n_bytes > 0)) return false;
    bool patient = j->blocked_since >= 0 && now - j->blocked_since >= s->conf.patience_ns;
    err why = {0};
    room r = q.load ? room_for_model(s, j->model, seq, patient, &why) : ROOM_OK;
    if (r == ROOM_OK) r = room_for_bytes(s, j->model, &q, patient, &why);
    switch (r) {
    case ROOM_OK:
        j->blocked_since = -1;
        return grant(j, &q, ret);
    case ROOM_COMING:
        *barrier = true;
        return false;
    case ROOM_NEVER:
        if (q.kind != SCHED_PLAN) {
            refuse(j, &why, ret);
            return true;
        }
        model_doom_jobs(j->model, &why);
        j->model->state = MODEL_EVICTING;
        return false;
    case ROOM_BLOCKED:
        if (j->blocked_since < 0) j->blocked_since = now;
        if (patient) *barrier = true;
        return false;
    }
    return false;
}

/* The jobs that hold a place of j's model, which nobody older than j waits for. */
static bool serve_placed(sched *s, const sched_job *j, int64_t now, bool *barrier,
                         sched_action *ret) {
    for (size_t i = 0; i < s->jobs.len; i++) {
        sched_job *mate = s->jobs.items[i];
        if (mate->model == j->model && mate->state == JOB_READY &&
            serve(s, mate, j->seq, now, barrier, ret))
            return true;
    }
    return false;
}

bool room_next(sched *s, int64_t now, sched_action *ret) {
    bool barrier = false;
    expire_models(s, now);
    for (size_t i = 0; i < s->models.len; i++) s->models.items[i]->placed_served = false;
    for (size_t i = 0; i < s->jobs.len; i++) {
        sched_job *j = s->jobs.items[i];
        if (j->state == JOB_RUNNING) continue;
        if (!j->model->placed_served) {
            j->model->placed_served = true;
            if (serve_placed(s, j, now, &barrier, ret)) return true;
        }
        if (j->state != JOB_READY && serve(s, j, j->seq, now, &barrier, ret)) return true;
    }
    return false;
}

bool room_next_unload(sched *s, int64_t now, sched_action *ret) {
    (void)now;
    for (size_t i = 0; i < s->models.len; i++) {
        sched_model *m = s->models.items[i];
        if (m->state != MODEL_EVICTING) continue;
        assert(m->n_busy == 0);
        for (size_t k = 0; k < s->jobs.len; k++) {
            sched_job *j = s->jobs.items[k];
            if (j->model == m && j->state == JOB_READY) job_set_state(j, JOB_WAITING);
        }
        m->state = MODEL_UNLOADING;
        *ret = (sched_action){.kind = SCHED_DO_UNLOAD, .model = m};
        return true;
    }
    return false;
}

int64_t room_wakeup(const sched *s, int64_t now) {
    int64_t at = CLOCK_FOREVER;
    for (size_t i = 0; i < s->models.len; i++) {
        const sched_model *m = s->models.items[i];
        if (m->state != MODEL_RESIDENT || m->n_jobs > 0) continue;
        int64_t t = model_expires(m, now);
        if (t < at) at = t;
    }
    for (size_t i = 0; i < s->jobs.len; i++) {
        const sched_job *j = s->jobs.items[i];
        if (j->blocked_since < 0 || now - j->blocked_since >= s->conf.patience_ns) continue;
        int64_t t = j->blocked_since + s->conf.patience_ns;
        if (t < at) at = t;
    }
    return at;
}
