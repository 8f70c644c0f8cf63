/* What a node may ask of the device: limits that are checked before the work begins, and its bytes
 * in the ledger. */
#include "base/limits.h"
#include "flow/nodes/model_runs.h"
#include <stdio.h>

enum { WHERE_BYTES = 160 };

/* "KSampler (node 5)" */
static const char *where(const flow_call *c, char dst[WHERE_BYTES]) {
    snprintf(dst, WHERE_BYTES, "%s (node " STR_FMT ")", flow_call_def(c)->name,
             STR_ARG(str_sub(flow_call_node_id(c), 0, 64)));
    return dst;
}

/* The name of the network's file without its folders. */
static str file_name(const diff_net *n) {
    if (!n) return (str){0};
    str path = diff_file_path(diff_weights_file(diff_net_weights(n)));
    return str_sub(path, (size_t)(str_rfind_char(path, '/') + 1), path.len);
}

static double pixels_of(const flow_work *w) {
    return (double)w->n * (double)w->y * (double)w->x;
}

/* " 3 pictures of 512x768 pixels"; nothing when there are none */
static const char *pictures(const flow_work *w, char dst[WHERE_BYTES]) {
    dst[0] = '\0';
    if (w->n == 1)
        snprintf(dst, WHERE_BYTES, " a picture of %zux%zu pixels", w->x, w->y);
    else if (w->n > 1)
        snprintf(dst, WHERE_BYTES, " %zu pictures of %zux%zu pixels", w->n, w->x, w->y);
    return dst;
}

err_code work_check_pixels(const flow_call *c, const flow_work *w, err *e) {
    char at[WHERE_BYTES], what[WHERE_BYTES];
    if (pixels_of(w) > LIMIT_WORK_PIXELS)
        FAIL(e, LIMIT,
             "%s: %s%s is %.0f million pixels; the limit is %.0f million: choose a smaller width, "
             "height or batch_size, and enlarge the finished picture instead",
             where(c, at), w->what, pictures(w, what), pixels_of(w) / 1e6, LIMIT_WORK_PIXELS / 1e6);
    return ERR_OK;
}

static err_code check_flops(const flow_call *c, const flow_work *w, double flops, err *e) {
    char at[WHERE_BYTES], what[WHERE_BYTES], steps[64] = "";
    if (flops <= LIMIT_WORK_FLOPS) return ERR_OK;
    if (w->steps) snprintf(steps, sizeof steps, " in %zu steps", w->steps);
    FAIL(e, LIMIT,
         "%s: %s%s%s takes %.2g operations, which would not end in reasonable time (the limit is "
         "%.2g): choose %sa smaller width, height or batch_size",
         where(c, at), w->what, pictures(w, what), steps, flops, LIMIT_WORK_FLOPS,
         w->steps ? "fewer steps, or " : "");
}

err_code work_begin(const flow_call *c, const flow_work *w, const diff_cost *cost, err *e) {
    flow_env *env = md_env(c);
    char at[WHERE_BYTES], what[WHERE_BYTES];
    TRY(work_check_pixels(c, w, e));
    TRY(check_flops(c, w, cost->flops, e));
    err_code code = env->reserve
                        ? env->reserve(env->ctx, cost->weights + cost->plan, file_name(w->net), e)
                        : ERR_OK;
    if (code == ERR_DEVICE_NOMEM)
        err_wrap(e,
                 "%s: %s%s needs %.1f GiB for the model and its intermediate results; choose a "
                 "smaller width, height or batch_size, or free memory",
                 where(c, at), w->what, pictures(w, what),
                 (double)(cost->weights + cost->plan) / (1 << 30));
    return code;
}

void work_end(const flow_call *c, const diff_cost *cost) {
    flow_env *env = md_env(c);
    if (env->release) env->release(env->ctx, cost->weights + cost->plan);
}
