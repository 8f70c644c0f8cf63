/* A workflow in API form, read and checked.
 *
 * Form: a map of node ids to {class_type, inputs, _meta}; an input is a literal or a link
 * [source id, slot]. Everything is a stranger's: sizes, depth and cycles are bounded. Errors are
 * maps in ComfyUI's form ({type, message, details, extra_info}), since clients read them.
 * Owner: the arena given. Threads: any; a checked graph is read-only. */
#pragma once
#include "flow/node.h"

typedef struct flow_node flow_node;

typedef struct flow_arg {
    const flow_input *in;
    const flow_node *from; /* of a link; NULL = a literal */
    size_t slot;
    const value *literal; /* converted to the declared type; NULL = absent (optional) */
} flow_arg;

struct flow_node {
    str id;
    const flow_def *def;
    const value *inputs; /* as they came, literals converted */
    flow_arg *args;      /* [flow_def_inputs(def)], in the order of the row; filled by the check */
    str title;           /* _meta.title, or empty */
    bool good;           /* checked, and everything above it */
    uint32_t index;      /* in flow_graph.nodes */
};

typedef struct flow_graph {
    const value *source; /* the map it was read from, literals converted */
    flow_node *nodes;    /* [n], in the order of the map */
    size_t n;
} flow_graph;

typedef struct flow_verdict {
    const value *error;       /* NULL: at least one target may run */
    const value *node_errors; /* a map, may be empty */
    str *targets;             /* [n_targets] output nodes that may run */
    size_t n_targets;
    flow_graph graph; /* valid when error is NULL */
} flow_verdict;

/* Reads and checks `source`; `targets` [n] limits the output nodes that count (n = 0: all). */
void flow_check(const value *source, const str *targets, size_t n, const flow_host *host, arena *a,
                flow_verdict *ret);
