/* Saved workflows (the editor's nodes and links) to API graphs, as the editor itself does it.
 *
 * Understands links as lists and as objects, widgets with their extra values (control after
 * generate, upload buttons), muted and bypassed nodes, reroutes, primitive nodes, notes, and nodes
 * that set and get a value by name, as many editors have them.
 * Threads: any. */
#pragma once
#include "flow/node.h"

/* True for a map with nodes and links in place of node ids. */
bool flow_is_workflow(const value *v);
/* INVALID names the node and what is wrong. *ret lives in `a`. */
err_code flow_convert(const value *workflow, arena *a, value **ret, err *e);
