/* The scheduler's policy: who waits, who runs, which models are in memory.
 *
 * A pure state machine: time comes in as `now` (monotonic nanoseconds), work goes out as actions
 * that the engine carries out and reports back. No clock, no thread, no device, so tests/sim runs
 * the whole of it on a virtual clock. Threads: one at a time (the engine's lock).
 *
 * A job's way: WAITING (for its model, then for one of max_parallel places) -> STARTED (has a
 * place; the engine reads its prompt) -> READY (its memory is known, it waits for room) -> RUNNING.
 * A model's way: ABSENT -> LOADING -> SETTLING (waits for its plan's bytes) -> RESIDENT ->
 * UNLOADING -> ABSENT.
 *
 * Rules.
 * 1. Nothing is used before the ledger holds it; a RUNNING job can always finish with what it has.
 * 2. Evicted are idle models, least recently used first, those kept for ever last, pinned ones
 *    never. A job older than `patience` may also drain a busy model: no new job starts on it.
 * 3. Requests for memory are served oldest first; one that is blocked for longer than `patience`
 *    blocks every younger one, so that the big are not starved by the small. Who has a place counts
 *    as old as the oldest who waits for one.
 * 4. What can never fit is refused at once with the reason. */
#pragma once
#include "sched/fair.h"
#include "sched/ledger.h"

typedef struct sched sched;
typedef struct sched_model sched_model;
typedef struct sched_job sched_job;

typedef struct sched_config {
    uint64_t budget_bytes;
    int32_t max_waiting;   /* jobs without a place before ERR_BUSY, >= 1 */
    int32_t max_models;    /* resident at once; 0 = no bound but memory */
    int32_t max_parallel;  /* places per model, >= 1 */
    const int32_t *weight; /* [SCHED_CLASS_COUNT] or NULL for the defaults */
    int64_t patience_ns;   /* see rule 2 */
} sched_config;

sched *sched_create(const sched_config *c);
void sched_destroy(sched **s); /* every job must be finished */

typedef struct sched_job_spec {
    sched_class cls;
    str user;
    str model_key;        /* equal keys share a model */
    uint64_t model_bytes; /* weights, to be reserved before loading */
    int64_t keep_alive_ns;
    bool load_only; /* needs no place: STARTED as soon as the model is resident */
    /* Not a language model but memory somebody asks for: max_models and max_waiting do not count.
     */
    bool memory_only;
    const sched_job
        *beside; /* or NULL: counts as being as old as this one, a part of which it is */
    void *owner; /* the engine's job */
} sched_job_spec;

/* ERR_BUSY when max_waiting jobs wait already. */
err_code sched_submit(sched *s, const sched_job_spec *spec, int64_t now, sched_job **ret, err *e);
/* The job's memory is known: bytes of KV pages it needs at most. STARTED -> READY. */
void sched_job_ready(sched_job *j, uint64_t kv_bytes, int64_t now);
/* The job ends, in whatever state it is: done, failed or cancelled. Frees it. */
void sched_finish(sched_job **j, int64_t now);
/* A running job that can do nothing for now (its reader is slow) and can again. */
void sched_job_sleep(sched_job *j);
void sched_job_wake(sched_job *j);
void *sched_job_owner(const sched_job *j);
sched_model *sched_job_model(const sched_job *j);
bool sched_job_running(const sched_job *j);
/* Jobs that would get a place before this one; 0 when it has one. */
int32_t sched_job_place(const sched_job *j);

typedef enum sched_action_kind {
    SCHED_DO_LOAD,   /* model: its bytes are reserved; answer sched_model_loaded or _failed */
    SCHED_DO_UNLOAD, /* model: nothing uses it; answer sched_model_unloaded */
    SCHED_DO_START,  /* job: read its prompt; answer sched_job_ready or sched_finish */
    SCHED_DO_RUN,    /* job: its memory is reserved; it takes part in steps from now on */
    SCHED_DO_REFUSE  /* job: error says why; answer sched_finish */
} sched_action_kind;

typedef struct sched_action {
    sched_action_kind kind;
    sched_model *model;
    sched_job *job;
    err error; /* REFUSE */
} sched_action;

/* The next thing to do at `now`; false when there is nothing. Call until false. */
bool sched_next(sched *s, int64_t now, sched_action *ret);
/* When sched_next may have something again without any other call; CLOCK_FOREVER if never. */
int64_t sched_wakeup(const sched *s, int64_t now);

/* Loaded: real bytes of weights (at most what was reserved) and of the plan, still to be reserved.
 */
void sched_model_loaded(sched_model *m, uint64_t weight_bytes, uint64_t plan_bytes, int64_t now);
void sched_model_failed(sched_model *m, const err *why, int64_t now); /* its jobs are refused */
void sched_model_unloaded(sched_model *m, int64_t now);
/* keep_alive 0 from outside: goes as soon as running jobs are done. Unknown keys and pinned models
 * are ignored. */
void sched_expire(sched *s, str model_key, int64_t now);
/* A pinned model stays whatever its jobs' keep_alive says, until it is unpinned. */
void sched_model_pin(sched_model *m, bool pinned);
sched_model *sched_find_model(sched *s, str model_key); /* NULL when no job ever asked for it */
void sched_model_set_owner(sched_model *m, void *owner);
void *sched_model_owner(const sched_model *m);
str sched_model_key(const sched_model *m);
uint64_t sched_model_kv_bytes(const sched_model *m); /* reserved for its pages now */

/* Whose turn it is: the running, awake job with the least service; NULL when none runs. */
sched_job *sched_pick(sched *s);
/* The jobs of lead's model that may share its step, in order of their turn, lead first. Returns how
 * many were written to jobs[0, cap). */
size_t sched_batch(sched *s, sched_job *lead, sched_job **jobs, size_t cap);
void sched_charge(sched_job *j, int64_t device_ns, int64_t now);

/* Snapshots. */
typedef struct sched_resident {
    str key;
    void *owner;
    bool ready, pinned;
    uint64_t weight_bytes, plan_bytes, kv_bytes;
    int64_t expires; /* monotonic; CLOCK_FOREVER = never */
    int32_t n_running;
} sched_resident;
size_t sched_residents(const sched *s, int64_t now, sched_resident *ret, size_t cap);
const sched_ledger *sched_get_ledger(const sched *s);
const sched_fair *sched_get_fair(const sched *s);
int32_t sched_n_waiting(const sched *s);
int32_t sched_n_running(const sched *s);
