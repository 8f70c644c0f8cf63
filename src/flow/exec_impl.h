/* Inside execution: a node's running call (call.c), kept outputs (cache.c), order and runs
 * (exec.c). Threads: the one that runs the workflow. */
#pragma once
#include "base/map.h"
#include "base/vec.h"
#include "flow/call_impl.h"
#include "flow/exec.h"

/* A literal as a flow_value; NULL when `v` is. */
flow_value *flow_value_of_literal(const value *v);

/* What a node gave, and what it showed. */
typedef struct cache_entry {
    uint64_t id;          /* names the signature; links of later signatures hold it */
    flow_value **outputs; /* [n_outputs] FLOW_LISTs; NULL = not computed */
    size_t n_outputs;
    arena *ui_mem;
    value *ui;
} cache_entry;

struct flow_cache {
    map entries; /* signature -> cache_entry */
    uint64_t n_made;
};

/* Entries for every node of the run's graph, [graph->n] in `a`; those of earlier workflows that
 * this one does not name are gone. `ids`: node id -> index. */
cache_entry **flow_cache_begin(flow_cache *c, const flow_run *r, const map *ids, arena *a);
/* Takes over outputs, ui_mem and ui. */
void cache_entry_fill(cache_entry *entry, flow_value **outputs, size_t n_outputs, arena *ui_mem,
                      value *ui);
/* Too much is held: the largest go. */
void flow_cache_trim(flow_cache *c, size_t max_bytes);
/* The node a link names, or -1; *ret_slot as it came. */
int64_t flow_link_source(const value *v, const map *ids, const value **ret_slot);
