/* One node run alone: inputs by name, outputs by slot, no workflow around. */
#pragma once
#include "flow_rig.h"

#include "base/mem.h"
#include "flow/call_impl.h"
#include "flow/env.h"
#include "flow/exec.h"
#include "flow/objects.h"

enum { RIG_MAX = 32 };

/* A call with room for its inputs and outputs. */
typedef struct rig_node {
    flow_call c;
    flow_value *in[RIG_MAX], *out[RIG_MAX];
    flow_env env;
    buf preview; /* the last one */
    size_t n_previews;
    int64_t done, total; /* progress */
    bool interrupted;
} rig_node;

static inline void rig_progress(void *ctx, int64_t done, int64_t total) {
    rig_node *r = ctx;
    assert_true(done <= total);
    r->done = done;
    r->total = total;
}

static inline void rig_preview(void *ctx, const void *picture) {
    rig_node *r = ctx;
    const flow_picture *p = picture;
    buf_clear(&r->preview);
    buf_put_str(&r->preview, p->bytes);
    r->n_previews++;
}

static inline bool rig_interrupted(void *ctx) {
    return ((rig_node *)ctx)->interrupted;
}

static inline void rig_open(rig_node *r, const char *class_name) {
    *r = (rig_node){0};
    const flow_def *def = flow_def_find(str_from(class_name));
    if (!def || !def->run) fail_msg("%s does not run", class_name);
    r->c = (flow_call){.def = def,
                       .node_id = STR("1"),
                       .mem = arena_create(0),
                       .in = r->in,
                       .out = r->out,
                       .env = &r->env,
                       .watch = {r, rig_progress, rig_preview, rig_interrupted}};
}

/* Takes v over. */
static inline void rig_put(rig_node *r, const char *name, flow_value *v) {
    for (size_t i = 0; r->c.def->inputs[i].name; i++) {
        if (strcmp(r->c.def->inputs[i].name, name) != 0) continue;
        assert_true(i < RIG_MAX && !r->in[i]);
        r->in[i] = v;
        return;
    }
    fail_msg("%s has no input %s", r->c.def->name, name);
}

static inline err_code rig_run(rig_node *r, err *e) {
    return r->c.def->run(&r->c, e);
}

static inline void rig_close(rig_node *r) {
    for (size_t i = 0; i < RIG_MAX; i++) {
        flow_value_unref(&r->in[i]);
        flow_value_unref(&r->out[i]);
    }
    flow_call_finish(&r->c);
    buf_finish(&r->preview);
    arena_destroy(&r->c.mem);
}
