/* What the engine is doing and what it could do: jobs, pins, estimates. See report.h.
 *
 * Everything here is asked from outside and looks at the engine under its lock; estimates load a
 * model of their own, which the ledger does not know and nobody else sees. Threads: any. */
#include "engine/report.h"
#include "base/limits.h"
#include "engine/job.h"

enum { PLAN_TOKENS = 256 };

/* Largest step: embedding models take whole texts. */
static int32_t plan_tokens(const engine *eng, const engine_facts *f) {
    int32_t n = f->ctx_train < eng->conf.default_ctx ? f->ctx_train : eng->conf.default_ctx;
    if (!f->can_embed || n < PLAN_TOKENS) return PLAN_TOKENS;
    return n < LIMIT_STEP_TOKENS ? n : LIMIT_STEP_TOKENS;
}

err_code report_plan_bytes(const engine *eng, void *backend_model, const engine_facts *f,
                           uint64_t *ret, err *e) {
    TRY(eng->b.step_bytes(backend_model, plan_tokens(eng, f), ret, e));
    if (f->can_generate)
        *ret += (uint64_t)eng->conf.max_parallel * (uint64_t)f->n_vocab * sizeof(float);
    return ERR_OK;
}

/* ---- pins ---- */

bool engine_unpin(engine *eng, const engine_model *m) {
    bool was = false;
    CLEANUP(arena_destroy) arena *a = arena_create(512);
    str key = job_model_key(a, m);
    pthread_mutex_lock(&eng->mu);
    sched_resident list[256];
    size_t n = sched_residents(eng->s, clock_mono_ns(), list, COUNT_OF(list));
    for (size_t i = 0; i < n; i++)
        if (list[i].pinned && str_eq(list[i].key, key)) was = true;
    sched_model *sm = sched_find_model(eng->s, key);
    if (sm) sched_model_pin(sm, false);
    pthread_mutex_unlock(&eng->mu);
    bell_ring(&eng->bell);
    return was;
}

void engine_expire(engine *eng, const engine_model *m) {
    CLEANUP(arena_destroy) arena *a = arena_create(512);
    str key = job_model_key(a, m);
    pthread_mutex_lock(&eng->mu);
    sched_expire(eng->s, key, clock_mono_ns());
    pthread_mutex_unlock(&eng->mu);
    bell_ring(&eng->bell);
}

/* ---- jobs ---- */

static engine_job_phase phase_of(const engine_job *j) {
    switch (j->state) {
    case JOB_WAITING:
        return ENGINE_PHASE_WAITING;
    case JOB_PREPARING:
        return ENGINE_PHASE_READING;
    case JOB_READY:
        return ENGINE_PHASE_MEMORY;
    case JOB_RUNNING:
        break;
    }
    return j->seen_answer ? ENGINE_PHASE_ANSWER : ENGINE_PHASE_PROMPT;
}

static engine_job_info describe(const engine_job *j, arena *a, int64_t now) {
    engine_job_info info = {.number = j->number,
                            .kind = j->spec.kind,
                            .phase = phase_of(j),
                            .model = str_dup(a, j->spec.model.name),
                            .user = str_dup(a, j->spec.user),
                            .background = j->spec.background,
                            .place = j->sj ? sched_job_place(j->sj) : 0,
                            .age_ns = now - j->submitted_ns};
    if (j->state != JOB_RUNNING) return info;
    bool embeds = j->spec.kind == ENGINE_JOB_EMBED;
    info.n_done = j->seen_fed;
    info.n_total = embeds ? (int64_t)j->spec.n_inputs : j->n_prompt;
    info.n_eval = j->seen_eval;
    return info;
}

const engine_job_info *engine_jobs_now(engine *eng, arena *a, size_t *ret_n) {
    int64_t now = clock_mono_ns();
    pthread_mutex_lock(&eng->mu);
    size_t n = eng->jobs.len;
    engine_job_info *list = ARENA_ARRAY(a, engine_job_info, n + 1);
    for (size_t i = 0; i < n; i++) list[i] = describe(eng->jobs.items[i], a, now);
    pthread_mutex_unlock(&eng->mu);
    *ret_n = n;
    return list;
}

/* ---- estimates ---- */

typedef struct needs {
    engine_facts facts;
    uint64_t plan_bytes;
} needs;

static err_code find_needs(const engine *eng, const engine_model *m, needs *ret, err *e) {
    void *model;
    TRY(eng->b.inspect(eng->b.ctx, m, &model, e));
    eng->b.facts(model, &ret->facts);
    err_code code = report_plan_bytes(eng, model, &ret->facts, &ret->plan_bytes, e);
    eng->b.unload(model);
    return code;
}

/* Fills what the ledger knows. */
static void look_at_ledger(engine *eng, const engine_model *m, engine_estimate *ret) {
    sched_resident list[256];
    CLEANUP(arena_destroy) arena *a = arena_create(512);
    str key = job_model_key(a, m);
    pthread_mutex_lock(&eng->mu);
    size_t n = sched_residents(eng->s, clock_mono_ns(), list, COUNT_OF(list));
    ret->budget_bytes = sched_get_ledger(eng->s)->budget_bytes;
    ret->reserved_bytes = sched_ledger_reserved(sched_get_ledger(eng->s));
    for (size_t i = 0; i < n; i++) {
        uint64_t bytes = list[i].weight_bytes + list[i].plan_bytes + list[i].kv_bytes;
        if (str_eq(list[i].key, key))
            ret->resident = list[i].ready;
        else if (list[i].pinned)
            ret->pinned_bytes += bytes;
        else if (list[i].ready && list[i].n_running == 0)
            ret->idle_bytes += bytes;
    }
    pthread_mutex_unlock(&eng->mu);
}

static uint64_t kv_bytes(const engine_facts *f, int32_t n_ctx, int32_t n_parallel) {
    if (f->page_bytes == 0) return 0;
    uint64_t pages = ((uint64_t)n_ctx + (uint64_t)f->page_tokens - 1) / (uint64_t)f->page_tokens;
    return (pages + 1) * f->page_bytes * (uint64_t)n_parallel; /* one for a copy on write */
}

/* The longest context for which everything fits into `room` bytes; 0: not even the shortest. */
static int32_t longest(const engine_facts *f, uint64_t room, int32_t n_parallel) {
    if (f->page_bytes == 0) return f->ctx_train;
    uint64_t pages = room / f->page_bytes / (uint64_t)n_parallel;
    uint64_t n = pages > 1 ? (pages - 1) * (uint64_t)f->page_tokens : 0;
    return n < (uint64_t)f->ctx_train ? (int32_t)n : f->ctx_train;
}

err_code engine_estimate_load(engine *eng, const engine_model *m, int32_t n_ctx, int32_t n_parallel,
                              engine_estimate *ret, err *e) {
    needs need;
    *ret = (engine_estimate){0};
    TRY(find_needs(eng, m, &need, e));
    const engine_facts *f = &need.facts;
    if (n_ctx <= 0) n_ctx = eng->conf.default_ctx;
    if (n_ctx < 4) n_ctx = 4;
    if (n_parallel < 1) n_parallel = 1;
    look_at_ledger(eng, m, ret);
    ret->ctx_train = f->ctx_train;
    ret->n_ctx = n_ctx < f->ctx_train ? n_ctx : f->ctx_train;
    ret->weight_bytes = f->weight_bytes;
    ret->plan_bytes = need.plan_bytes;
    ret->kv_bytes = kv_bytes(f, ret->n_ctx, n_parallel);
    uint64_t all = ret->weight_bytes + ret->plan_bytes + ret->kv_bytes;
    uint64_t most =
        ret->budget_bytes > ret->pinned_bytes ? ret->budget_bytes - ret->pinned_bytes : 0;
    uint64_t fixed = ret->weight_bytes + ret->plan_bytes;
    ret->fits = all <= most;
    ret->fits_now = ret->resident || all <= ret->budget_bytes - ret->reserved_bytes;
    ret->ctx_max = fixed < most ? longest(f, most - fixed, n_parallel) : 0;
    return ERR_OK;
}
