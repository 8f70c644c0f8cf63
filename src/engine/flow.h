/* Workflows inside the engine: their thread, its turns on the device, its share of the ledger.
 *
 * Files: flow_job.c (the interface, jobs, events), flow_turn.c (turns and memory), this header.
 *
 * The workflow thread runs one workflow at a time. To the scheduler the workflow is a running job
 * of class image that sleeps while it needs no device; when it wants one it wakes up, and the
 * engine thread, having found that it is its turn, lends it the device until it gives it back (a
 * slice). What it reserves in the ledger is a model of the scheduler without an owner (a claim), so
 * that idle language models make room for it and it makes room for them when no workflow runs.
 * Lock: the engine's, for everything here. Cached objects are dropped by the workflow thread only,
 * without the lock, because they give their claims back. */
#pragma once
#include "engine/flow_job.h"
#include "engine/job.h"
#include "flow/exec.h"

typedef enum turn_state {
    TURN_NONE,
    TURN_WANTED,
    TURN_HELD,
} turn_state;

typedef struct flow_job {
    engine_stream *stream;
    arena *mem;
    str id, user, owner;
    flow_graph graph;
    const str *targets;
    size_t n_targets;
    const value *extra_pnginfo;
    flow_preview_kind preview;
    dev_cancel interrupt;
    int64_t submitted_ns;
} flow_job;

/* Bytes of the ledger. With `sj` it is in use; without it is idle and may be taken away. */
typedef struct flow_claim {
    str key;
    str model; /* whose bytes: a file's name */
    uint64_t n_bytes;
    sched_model *sm; /* NULL until granted */
    sched_job *sj;
    bool granted, refused;
    bool leaving;  /* the scheduler waits for it to be given back */
    bool released; /* given back; the scheduler will say so */
    /* Not asked for any more, but models in the cache still hold the memory: the next request of as
     * many bytes takes it, and dropping the models ends it. */
    bool kept;
    err why; /* refused */
} flow_claim;

typedef struct engine_flow {
    engine *eng;
    pthread_t thread;
    pthread_cond_t wake;    /* the workflow thread waits here */
    pthread_cond_t turn_up; /* the engine thread waits here for the end of a slice */
    VEC(flow_job *) queue;
    flow_job *running;
    flow_cache *cache;
    flow_env env;
    engine_folders folders;
    engine_model_finder finder;
    flow_folders env_folders;
    bool drop_models, drop_all; /* asked for */
    bool stop;

    sched_job *sj; /* the running workflow */
    bool sj_runs, sj_refused;
    err why; /* refused */
    turn_state turn;
    bool lending; /* the engine thread waits for turn_up */
    VEC(flow_claim *) claims;
    uint64_t n_claims;    /* ever made */
    uint64_t slack_bytes; /* released beyond whole claims */
} engine_flow;

/* ---- flow_job.c ---- */
engine_flow *flow_create(engine *eng);
/* Ends the running workflow and joins the thread. Without the lock. */
void flow_destroy(engine_flow **f);
void flow_interrupt(engine_flow *f); /* the one that runs, if any; with the lock */
/* Looks whose reader is gone. With the lock, as all below. */
void flow_look(engine_flow *f);
/* True: it must end now. */
bool flow_must_stop(const engine_flow *f);

/* ---- flow_turn.c ---- */
bool flow_owns(const sched_model *m);
void flow_do_action(engine_flow *f, const sched_action *act);
/* The engine thread: the workflow has the device until it gives it back. */
void flow_lend_turn(engine_flow *f);
/* The workflow thread, without the lock. */
err_code flow_begin(engine_flow *f, err *e); /* into the scheduler; claims that are kept are used */
void flow_end(engine_flow *f);
err_code flow_pause(void *ctx, err *e); /* diff_gate.pause */
void flow_give_back(engine_flow *f);    /* the device, if it has it */
err_code flow_reserve(void *ctx, uint64_t n_bytes, str model, err *e);
/* The model of the claim with this key; empty when there is none. With the lock. */
str flow_claim_model(const engine_flow *f, str key);
void flow_release(void *ctx, uint64_t n_bytes);
/* Drops what was asked for; the lock is let go meanwhile. */
void flow_drop(engine_flow *f);
