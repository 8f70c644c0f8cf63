/* Any JSON as a workflow: checked, converted from the saved form, and run when it is made of text
 * and utility nodes only (pictures take too long here). */
#include "flow/convert.h"
#include "flow/exec.h"
#include "http/json.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_light(const flow_graph *g) {
    for (size_t i = 0; i < g->n; i++)
        if (strncmp(g->nodes[i].def->category, "utils", 5) != 0 || !g->nodes[i].def->run)
            return false;
    return g->n < 200;
}

static void check_and_run(const value *v, flow_cache *cache, arena *a) {
    flow_verdict verdict;
    flow_failure failure;
    flow_env env = {0};
    flow_check(v, NULL, 0, NULL, a, &verdict);
    if (!verdict.node_errors) abort();
    if (verdict.error || !is_light(&verdict.graph)) return;
    flow_run run = {.graph = &verdict.graph,
                    .targets = verdict.targets,
                    .n_targets = verdict.n_targets,
                    .env = &env,
                    .cache = cache};
    for (int i = 0; i < 2; i++)
        if (flow_execute(&run, a, &failure) && failure.error.code == ERR_OK) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    err e = {0};
    json_t *json = NULL;
    if (size > 20000 || json_parse((str){(const char *)data, size}, &json, &e)) return 0;
    arena *a = arena_create(0);
    flow_cache *cache = flow_cache_create();
    value *v = json_to_value(a, json), *made;
    check_and_run(v, cache, a);
    if (flow_convert(v, a, &made, &e) == ERR_OK) check_and_run(made, cache, a);
    flow_cache_destroy(&cache);
    arena_destroy(&a);
    json_decref(json);
    return 0;
}
