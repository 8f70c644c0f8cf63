/* Objects of models behind flow values. */
#include "flow/nodes/model_runs.h"
#include <string.h>

flow_env *md_env(const flow_call *c) {
    return flow_call_env(c);
}

static void end_model(void *p) {
    diff_model *m = p;
    diff_model_unref(&m);
}
static void end_clip(void *p) {
    diff_clip *k = p;
    diff_clip_unref(&k);
}
static void end_vae(void *p) {
    vae *v = p;
    vae_unref(&v);
}

err_code md_in_model(const flow_call *c, const char *name, diff_model **ret, err *e) {
    void *p;
    TRY(flow_in_object(c, name, FLOW_MODEL, &p, e));
    *ret = p;
    return ERR_OK;
}

err_code md_in_clip(const flow_call *c, const char *name, diff_clip **ret, err *e) {
    void *p;
    TRY(flow_in_object(c, name, FLOW_CLIP, &p, e));
    *ret = p;
    return ERR_OK;
}

err_code md_in_vae(const flow_call *c, const char *name, vae **ret, err *e) {
    void *p;
    TRY(flow_in_object(c, name, FLOW_VAE, &p, e));
    *ret = p;
    return ERR_OK;
}

err_code md_in_conds(const flow_call *c, const char *name, const diff_conds **ret, err *e) {
    void *p;
    TRY(flow_in_object(c, name, FLOW_CONDITIONING, &p, e));
    *ret = p;
    return ERR_OK;
}

err_code md_in_sigmas(const flow_call *c, const char *name, const flow_sigmas **ret, err *e) {
    void *p;
    TRY(flow_in_object(c, name, FLOW_SIGMAS, &p, e));
    *ret = p;
    return ERR_OK;
}

void md_out_model(flow_call *c, size_t slot, diff_model *m) {
    uint64_t n = diff_weights_bytes(diff_net_weights(unet_net(m->net)));
    flow_out(c, slot, flow_value_object(FLOW_MODEL, m, end_model, n));
}

void md_out_clip(flow_call *c, size_t slot, diff_clip *k) {
    uint64_t n = 0;
    if (k->l) n += diff_weights_bytes(diff_net_weights(clip_text_net(k->l)));
    if (k->g) n += diff_weights_bytes(diff_net_weights(clip_text_net(k->g)));
    flow_out(c, slot, flow_value_object(FLOW_CLIP, k, end_clip, n));
}

void md_out_vae(flow_call *c, size_t slot, vae *v) {
    const diff_net *dec = vae_decoder(v), *enc = vae_encoder(v);
    uint64_t n = dec ? diff_weights_bytes(diff_net_weights(dec)) : 0;
    if (enc && enc != dec) n += diff_weights_bytes(diff_net_weights(enc));
    flow_out(c, slot, flow_value_object(FLOW_VAE, v, end_vae, n));
}

void md_out_conds(flow_call *c, size_t slot, diff_conds *l) {
    size_t n = 0;
    for (size_t i = 0; i < l->n; i++)
        n += l->items[i]->vectors ? l->items[i]->vectors->n * sizeof(float) : 0;
    flow_out(c, slot, flow_value_object(FLOW_CONDITIONING, l, diff_conds_destroy, n));
}

void md_out_sigmas(flow_call *c, size_t slot, const float *v, size_t n) {
    flow_sigmas *s = NEW(flow_sigmas);
    s->n = n;
    s->v = NEW_ARRAY(float, n + 1);
    if (n) memcpy(s->v, v, n * sizeof *v);
    flow_out(c, slot, flow_value_object(FLOW_SIGMAS, s, flow_sigmas_destroy, n * sizeof *v));
}

err_code md_in_path(const flow_call *c, const char *name, const char *folder, char **ret, err *e) {
    const flow_folders *f = md_env(c)->folders;
    arena *a = flow_call_arena((flow_call *)(uintptr_t)c);
    str file, path;
    TRY(flow_in_text(c, name, &file, e));
    if (!f || !f->path || !f->path(f->ctx, folder, file, a, &path))
        FAIL(e, NOT_FOUND, "%s: there is no \"" STR_FMT "\" in the folder %s", name, STR_ARG(file),
             folder);
    *ret = str_cstr(a, path);
    return ERR_OK;
}
