/* Runs a checked workflow: order, laziness, lists, caching, errors.
 *
 * Nodes run one at a time on the calling thread. A node's outputs are cached under a signature of
 * its class, its inputs and everything above it, so equal parts of a later workflow are not run
 * again; the cache keeps what the last workflow used. Threads: one run at a time per cache. */
#pragma once
#include "flow/env.h"
#include "flow/graph.h"

typedef struct flow_cache flow_cache;
flow_cache *flow_cache_create(void);
void flow_cache_destroy(flow_cache **c);
void flow_cache_clear(flow_cache *c);
size_t flow_cache_bytes(const flow_cache *c);
/* Forgets what nodes gave that holds an object of one of these types (NULL ends): models that must
 * leave memory. Pictures made with them stay. */
void flow_cache_drop(flow_cache *c, const char *const *types);

/* Why a run ended early, as clients are told. Lives in the run's arena. */
typedef struct flow_failure {
    err error; /* CANCELLED: interrupted */
    str node_id, class_type;
    const value *inputs; /* of the node: a map of lists of text and numbers; NULL = none */
    const str *executed; /* [n_executed] ids that are done */
    size_t n_executed;
} flow_failure;

/* What happens, in order. ids are of the workflow. Each may be NULL. */
typedef struct flow_events {
    void *ctx;
    void (*cached)(void *ctx, const str *ids, size_t n);
    void (*start)(void *ctx, str id);
    void (*progress)(void *ctx, str id, int64_t done, int64_t total);
    void (*preview)(void *ctx, str id, const void *picture); /* a flow_picture */
    /* Also of nodes in the way whose outputs were there already; ui NULL: they show nothing. */
    void (*output)(void *ctx, str id, const value *ui);
} flow_events;

/* An encoded picture for clients that watch. */
typedef struct flow_picture {
    str bytes;
    const char *mime; /* image/jpeg or image/png */
} flow_picture;

typedef struct flow_run {
    const flow_graph *graph;
    const str *targets;
    size_t n_targets;
    const value *extra_pnginfo; /* map or NULL: hidden inputs */
    flow_env *env;
    const flow_events *events;
    flow_cache *cache;
    dev_cancel *interrupt; /* flag != 0 ends the run between nodes and at progress calls */
} flow_run;

/* ERR_OK, or the code of ret_failure->error. Everything in *ret_failure lives in `a`. */
err_code flow_execute(const flow_run *r, arena *a, flow_failure *ret_failure);
