/* Inside the scheduler: its structures, shared by sched.c (jobs, turns) and room.c (memory). */
#pragma once
#include "base/clock.h"
#include "base/vec.h"
#include "sched/sched.h"

typedef enum job_state { JOB_WAITING, JOB_STARTED, JOB_READY, JOB_RUNNING, JOB_GONE } job_state;
typedef enum model_state {
    MODEL_ABSENT,
    MODEL_LOADING,
    MODEL_SETTLING,
    MODEL_RESIDENT,
    MODEL_EVICTING, /* chosen; the action is not out yet */
    MODEL_UNLOADING
} model_state;

struct sched_model {
    sched *owner_sched;
    str key; /* owned */
    void *owner;
    model_state state;
    uint64_t want_bytes;   /* weights to reserve before loading */
    uint64_t weight_bytes; /* in the ledger */
    uint64_t plan_bytes;   /* in the ledger */
    uint64_t plan_want;    /* SETTLING */
    uint64_t kv_bytes;     /* in the ledger */
    uint64_t kv_used;      /* guaranteed to running jobs, <= kv_bytes */
    int64_t keep_alive_ns;
    int64_t last_use;
    int64_t idle_since; /* when the last job ended */
    int32_t n_jobs;     /* in any state */
    int32_t n_waiting;  /* WAITING */
    int32_t n_running;  /* RUNNING */
    int32_t n_placed;   /* STARTED, READY, RUNNING without load_only */
    int32_t n_busy;     /* STARTED or RUNNING: the engine holds it */
    bool draining;      /* no new starts until it was unloaded */
    bool expire_now;
    bool placed_served; /* within room_next: its placed jobs had their turn */
    bool pinned;
    bool memory_only; /* see sched_job_spec */
    err why;          /* of the last failure; doomed jobs carry it away */
};

struct sched_job {
    sched *owner_sched;
    sched_model *model;
    sched_flow *flow;
    void *owner;
    job_state state;
    uint64_t seq; /* age */
    uint64_t kv_bytes;
    int64_t blocked_since; /* -1 = not blocked on memory */
    bool load_only;
    bool doomed;  /* its model failed: to be refused with the model's `why` */
    bool refused; /* the action is out */
};

struct sched {
    sched_config conf;
    sched_ledger ledger;
    sched_fair *fair;
    VEC(sched_model *) models;
    VEC(sched_job *) jobs; /* by age, oldest first */
    uint64_t n_made;
    bool dirty;        /* something changed since sched_next last said false */
    int64_t next_look; /* valid while not dirty */
};

/* room.c: the oldest request for memory that can be served or refused now. */
bool room_next(sched *s, int64_t now, sched_action *ret);
/* room.c: the next model whose eviction can start. */
bool room_next_unload(sched *s, int64_t now, sched_action *ret);
/* room.c: when a timer of models or patience runs out. */
int64_t room_wakeup(const sched *s, int64_t now);
int64_t model_expires(const sched_model *m, int64_t now);
void job_set_state(sched_job *j, job_state state); /* keeps the model's counts */
void model_doom_jobs(sched_model *m, const err *why);
