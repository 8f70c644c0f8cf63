/* Text encoding. */
#include "flow/nodes/model_runs.h"
#include <stdio.h>

static bool is_named(str file, str name) {
    static const str END = {".safetensors", 12};
    if (str_ends(file, END) && !str_ends(name, END)) file.len -= END.len;
    if (!str_ends(file, name) || file.len <= name.len) return false;
    return file.ptr[file.len - name.len - 1] == '/';
}

/* An embedding's file: as it is named, with an ending we can read, or in a folder further down. */
static bool embedding_path(void *ctx, str name, arena *a, str *ret) {
    const flow_folders *f = ctx;
    if (f->path(f->ctx, "embeddings", name, a, ret)) return true;
    str with_end = str_fmt(a, STR_FMT ".safetensors", STR_ARG(name));
    if (f->path(f->ctx, "embeddings", with_end, a, ret)) return true;
    value *all = value_list(a);
    if (f->files && name.len) f->files(f->ctx, "embeddings", a, all);
    for (size_t i = 0; i < all->as.list.len; i++) {
        const value *v = all->as.list.items[i];
        if (v->kind == VALUE_STR && is_named(v->as.text, name))
            return f->path(f->ctx, "embeddings", v->as.text, a, ret);
    }
    return false;
}

static uint64_t plan_bytes(const clip_text *t) {
    return t ? (uint64_t)clip_text_get_info(t)->width * 77 * 64 : 0; /* a generous estimate */
}

static err_code encode(flow_call *c, str l, str g, diff_cond **ret, err *e) {
    diff_clip *k;
    flow_env *env = md_env(c);
    prompt_embeddings emb = {(void *)(uintptr_t)env->folders, embedding_path};
    TRY(md_in_clip(c, "clip", &k, e));
    const flow_work work = {"encoding the text", 0, 0, 0, 0, clip_text_net(k->l ? k->l : k->g)};
    diff_cost cost = {.plan = plan_bytes(k->l) + plan_bytes(k->g)};
    if (k->l) cost.weights += diff_weights_bytes(diff_net_weights(clip_text_net(k->l)));
    if (k->g) cost.weights += diff_weights_bytes(diff_net_weights(clip_text_net(k->g)));
    TRY(work_begin(c, &work, &cost, e));
    diff_texts t = {l, g, env->folders && env->folders->path ? &emb : NULL};
    err_code code = diff_clip_encode(k, &t, &env->gate, ret, e);
    if (code == ERR_DEVICE) err_wrap(e, "%s", flow_call_def(c)->name);
    work_end(c, &cost);
    return code;
}

static void out_one(flow_call *c, diff_cond *cond) {
    diff_conds *l = diff_conds_new(1);
    l->items[0] = cond;
    md_out_conds(c, 0, l);
}

err_code text_encode_run(flow_call *c, err *e) {
    str text;
    diff_cond *cond;
    TRY(flow_in_text(c, "text", &text, e));
    TRY(encode(c, text, text, &cond, e));
    out_one(c, cond);
    return ERR_OK;
}

err_code text_last_layer_run(flow_call *c, err *e) {
    diff_clip *k;
    int64_t layer;
    TRY(md_in_clip(c, "clip", &k, e));
    TRY(flow_in_int(c, "stop_at_clip_layer", &layer, e));
    k = diff_clip_copy(k);
    k->layer = (int32_t)layer;
    md_out_clip(c, 0, k);
    return ERR_OK;
}

static err_code in_sizes(flow_call *c, const char *const *names, double *const *to, size_t n,
                         err *e) {
    for (size_t i = 0; i < n; i++) TRY(flow_in_float(c, names[i], to[i], e));
    return ERR_OK;
}

err_code text_encode_sdxl_run(flow_call *c, err *e) {
    str l, g;
    diff_cond size = {0}, *cond;
    TRY(flow_in_text(c, "text_l", &l, e));
    TRY(flow_in_text(c, "text_g", &g, e));
    TRY(in_sizes(c,
                 (const char *const[]){"width", "height", "crop_w", "crop_h", "target_width",
                                       "target_height"},
                 (double *const[]){&size.width, &size.height, &size.crop_w, &size.crop_h,
                                   &size.target_w, &size.target_h},
                 6, e));
    TRY(encode(c, l, g, &cond, e));
    cond->has_size = true;
    cond->width = size.width, cond->height = size.height;
    cond->crop_w = size.crop_w, cond->crop_h = size.crop_h;
    cond->target_w = size.target_w, cond->target_h = size.target_h;
    out_one(c, cond);
    return ERR_OK;
}

err_code text_encode_refiner_run(flow_call *c, err *e) {
    str text;
    double width, height, score;
    diff_cond *cond;
    TRY(flow_in_text(c, "text", &text, e));
    TRY(in_sizes(c, (const char *const[]){"width", "height", "ascore"},
                 (double *const[]){&width, &height, &score}, 3, e));
    TRY(encode(c, text, text, &cond, e));
    cond->has_size = cond->has_aesthetic = true;
    cond->width = width, cond->height = height, cond->aesthetic = score;
    out_one(c, cond);
    return ERR_OK;
}
