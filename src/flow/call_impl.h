/* Inside a run of one node: what flow/call.h shows to run functions. flow/exec.c fills one for each
 * run; tests fill one by hand. Zero-initialise, then set what is there; flow_call_finish ends it.
 */
#pragma once
#include "base/buf.h"
#include "flow/call.h"

/* Whom a running node tells things; each may be NULL. */
typedef struct flow_call_watch {
    void *ctx;
    void (*progress)(void *ctx, int64_t done, int64_t total);
    void (*preview)(void *ctx, const void *picture);
    bool (*interrupted)(void *ctx);
} flow_call_watch;

struct flow_call {
    const flow_def *def;
    str node_id;
    arena *mem;       /* of this run; the caller's */
    flow_value **in;  /* [flow_def_inputs(def)], NULL = absent; borrowed */
    flow_value **out; /* [flow_def_outputs(def)], filled by flow_out; owned by the caller */
    value *ui;        /* NULL or a map of lists, in mem */
    void *env;        /* flow_env */
    flow_call_watch watch;
    uint8_t *needed; /* NULL, or [flow_def_inputs(def)]: set to 1 by flow_call_need */
    buf fingerprint; /* by flow_call_fingerprint */
};

void flow_call_finish(flow_call *c); /* frees what is its own: the fingerprint */
