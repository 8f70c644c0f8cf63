/* What a node's run function sees: its inputs by name, its outputs by slot, and the running job.
 *
 * A flow_call lives for one run of one node. Inputs are borrowed; outputs are handed over. Every
 * declared input is present unless it is optional and absent. Literals arrive already converted to
 * their declared type and inside their range. Threads: the one that runs the workflow. */
#pragma once
#include "base/buf.h"
#include "flow/node.h"

/* Inputs. flow_in gives NULL when absent. The typed readers fail naming the node's input when a
 * required value is absent or of another kind; with a fallback they accept absence. */
flow_value *flow_in(const flow_call *c, const char *name);
err_code flow_in_int(const flow_call *c, const char *name, int64_t *ret_v, err *e);
err_code flow_in_u64(const flow_call *c, const char *name, uint64_t *ret_v, err *e);
err_code flow_in_float(const flow_call *c, const char *name, double *ret_v, err *e);
err_code flow_in_bool(const flow_call *c, const char *name, bool *ret_v, err *e);
err_code flow_in_text(const flow_call *c, const char *name, str *ret_v, err *e);
/* `type` as given to flow_value_object. */
err_code flow_in_object(const flow_call *c, const char *name, const char *type, void **ret_v,
                        err *e);
const value *flow_in_data(const flow_call *c, const char *name); /* hidden inputs; may be NULL */

/* Sets output slot i; takes the reference over. A slot declared as a list gets a FLOW_LIST. */
void flow_out(flow_call *c, size_t i, flow_value *v);
/* A text of at most LIMIT_FLOW_TEXT_BYTES (else LIMIT); finishes *b. */
err_code flow_out_text(flow_call *c, size_t i, buf *b, err *e);

/* Adds an item to `key` of what the client is shown for this node ("images", "text", ...). The
 * item lives in flow_call_arena. */
void flow_out_ui(flow_call *c, const char *key, value *item);
arena *flow_call_arena(flow_call *c); /* freed when the node is done; ui is copied before */

/* Tells clients how far the node is, and returns ERR_CANCELLED when the job was interrupted: pass
 * that on at once. Call once a step. */
err_code flow_progress(flow_call *c, int64_t done, int64_t total, err *e);
/* Hands an encoded or raw picture to the preview channel; what it is, is between node and server
 * (flow_events.preview). */
void flow_preview(flow_call *c, const void *picture);
bool flow_interrupted(const flow_call *c);

/* For needs(): asks for a lazy input. For changed(): adds to the fingerprint. */
void flow_call_need(flow_call *c, const char *input);
void flow_call_fingerprint(flow_call *c, str text);

void *flow_call_env(const flow_call *c);   /* flow_exec_opts.env: models, folders, devices */
str flow_call_node_id(const flow_call *c); /* of the workflow */
const flow_def *flow_call_def(const flow_call *c);
