/* The registry: every family's table behind one hash map from class name to row. Built once, on
 * first use; read-only afterwards. */
#include "flow/node.h"
#include "base/map.h"
#include "flow/nodes/table.h"
#include <pthread.h>
#include <string.h>

static const flow_def *const tables[] = {
    flow_nodes_loaders, flow_nodes_text,      flow_nodes_conditioning, flow_nodes_sampling,
    flow_nodes_custom,  flow_nodes_schedules, flow_nodes_latent,       flow_nodes_image,
    flow_nodes_mask,    flow_nodes_patch,     flow_nodes_merge,        flow_nodes_utility,
    flow_nodes_strings, flow_nodes_regex,
};

static map by_name;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void registry_build(void) {
    for (size_t t = 0; t < COUNT_OF(tables); t++)
        for (const flow_def *d = tables[t]; d->name; d++)
            map_put(&by_name, str_from(d->name), (int64_t)(intptr_t)d);
}

const flow_def *flow_def_find(str class_name) {
    pthread_once(&once, registry_build);
    int64_t at;
    return map_get(&by_name, class_name, &at) ? (const flow_def *)(intptr_t)at : NULL;
}

const flow_def *flow_def_at(size_t i) {
    pthread_once(&once, registry_build);
    return i < by_name.len ? (const flow_def *)(intptr_t)by_name.entries[i].value : NULL;
}

size_t flow_def_inputs(const flow_def *d) {
    size_t n = 0;
    while (d->inputs[n].name) n++;
    return n;
}

size_t flow_def_outputs(const flow_def *d) {
    size_t n = 0;
    while (d->outputs[n].type) n++;
    return n;
}

const flow_input *flow_def_input(const flow_def *d, str name) {
    for (const flow_input *in = d->inputs; in->name; in++)
        if (str_eq(str_from(in->name), name)) return in;
    return NULL;
}

bool flow_input_is_widget(const flow_input *in) {
    static const char *const types[] = {"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"};
    if (in->flags & (FLOW_HIDDEN | FLOW_FORCE_LINK)) return false;
    for (size_t i = 0; i < COUNT_OF(types); i++)
        if (strcmp(in->type, types[i]) == 0) return true;
    return false;
}
