/* The catalogue of node classes, as clients read it (GET /object_info).
 *
 * Built from the tables; file menus come from the host at the time of the call. Pure functions;
 * results live in the given arena. Threads: any. */
#pragma once
#include "flow/node.h"

/* One class: {input:{required,optional,hidden}, input_order, is_input_list, output,
 * output_is_list, output_name, name, display_name, description, python_module, category,
 * output_node, ...}. `host` may be NULL: menus of files are empty. */
value *flow_object_info(const flow_def *d, const flow_host *host, arena *a);

/* {class: info} of every class, or of the one named; an unknown name gives {}. */
value *flow_object_info_all(const flow_host *host, arena *a);
value *flow_object_info_one(str class_name, const flow_host *host, arena *a);

/* The two halves of an input's entry, [type, options]: what error reports quote as input_config.
 * A menu's type is the list of its choices. The options may be an empty map. */
value *flow_input_type(const flow_input *in, const flow_host *host, arena *a);
value *flow_input_options(const flow_input *in, const flow_host *host, arena *a);
/* The choices of a COMBO: files first, then the fixed ones. NULL for other types. */
value *flow_input_choices(const flow_input *in, const flow_host *host, arena *a);
