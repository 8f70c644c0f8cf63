/* Models made of two, or with some weights multiplied. */
#include "diffusion/merge.h"
#include "diffusion/scale.h"
#include "flow/nodes/model_runs.h"
#include <string.h>

enum { MIX_MAX = 64 };

static err_code merge_models(flow_call *c, const diff_mix *mix, size_t n, err *e) {
    diff_model *a, *b, *m;
    TRY(md_in_model(c, "model1", &a, e));
    TRY(md_in_model(c, "model2", &b, e));
    TRY(diff_merge_model(a, b, mix, n, &m, e));
    md_out_model(c, 0, m);
    return ERR_OK;
}

static err_code merge_clips(flow_call *c, const diff_mix *mix, err *e) {
    diff_clip *a, *b, *k;
    TRY(md_in_clip(c, "clip1", &a, e));
    TRY(md_in_clip(c, "clip2", &b, e));
    TRY(diff_merge_clip(a, b, mix, 1, &k, e));
    md_out_clip(c, 0, k);
    return ERR_OK;
}

/* One row for each of the node's shares: "input", "middle_block.0.", ... */
err_code merge_blocks_run(flow_call *c, err *e) {
    diff_mix mix[MIX_MAX];
    size_t n = 0;
    for (const flow_input *in = flow_call_def(c)->inputs; in->name && n < MIX_MAX; in++) {
        double share;
        if (strcmp(in->type, "FLOAT") != 0) continue;
        TRY(flow_in_float(c, in->name, &share, e));
        mix[n++] = (diff_mix){in->name, share, 1 - share};
    }
    return merge_models(c, mix, n, e);
}

err_code merge_simple_run(flow_call *c, err *e) {
    double share;
    TRY(flow_in_float(c, "ratio", &share, e));
    return merge_models(c, &(diff_mix){"", share, 1 - share}, 1, e);
}

err_code merge_subtract_run(flow_call *c, err *e) {
    double by;
    TRY(flow_in_float(c, "multiplier", &by, e));
    return merge_models(c, &(diff_mix){"", by, -by}, 1, e);
}

err_code merge_add_run(flow_call *c, err *e) {
    return merge_models(c, &(diff_mix){"", 1, 1}, 1, e);
}

err_code merge_clip_simple_run(flow_call *c, err *e) {
    double share;
    TRY(flow_in_float(c, "ratio", &share, e));
    return merge_clips(c, &(diff_mix){"", share, 1 - share}, e);
}

err_code merge_clip_subtract_run(flow_call *c, err *e) {
    double by;
    TRY(flow_in_float(c, "multiplier", &by, e));
    return merge_clips(c, &(diff_mix){"", by, -by}, e);
}

err_code merge_clip_add_run(flow_call *c, err *e) {
    return merge_clips(c, &(diff_mix){"", 1, 1}, e);
}

static err_code in_scale(flow_call *c, diff_attention_scale *s, err *e) {
    TRY(flow_in_float(c, "q", &s->q, e));
    TRY(flow_in_float(c, "k", &s->k, e));
    TRY(flow_in_float(c, "v", &s->v, e));
    return flow_in_float(c, "out", &s->out, e);
}

static err_code scale_model(flow_call *c, const char *attention, err *e) {
    diff_attention_scale s;
    diff_model *m, *n;
    TRY(in_scale(c, &s, e));
    TRY(md_in_model(c, "model", &m, e));
    TRY(diff_model_scale(m, attention, &s, &n, e));
    md_out_model(c, 0, n);
    return ERR_OK;
}

err_code scale_self_run(flow_call *c, err *e) {
    return scale_model(c, "attn1", e);
}

err_code scale_cross_run(flow_call *c, err *e) {
    return scale_model(c, "attn2", e);
}

err_code scale_clip_run(flow_call *c, err *e) {
    diff_attention_scale s;
    diff_clip *k, *n;
    TRY(in_scale(c, &s, e));
    TRY(md_in_clip(c, "clip", &k, e));
    TRY(diff_clip_scale(k, &s, &n, e));
    md_out_clip(c, 0, n);
    return ERR_OK;
}
