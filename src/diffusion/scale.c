/* Weights of attention multiplied. */
#include "diffusion/scale.h"
#include "base/mem.h"
#include <string.h>

typedef struct layer {
    char mark[16]; /* what the names have in them */
    float factor[4];
} layer;

/* Names' ends by projection; OpenCLIP has the first three in one tensor. */
static const struct {
    const char *end;
    int part; /* 3 of one: FUSED */
} PARTS[] = {{".to_q.", 0},     {".to_k.", 1},     {".to_v.", 2},
             {".to_out.0.", 3}, {".q_proj.", 0},   {".k_proj.", 1},
             {".v_proj.", 2},   {".out_proj.", 3}, {".in_proj_", 4}};
enum { FUSED = 4 };

/* Which projection a tensor is of; -1 = none. */
static int part_of(const layer *y, const char *name) {
    if (!strstr(name, y->mark)) return -1;
    for (size_t i = 0; i < COUNT_OF(PARTS); i++)
        if (strstr(name, PARTS[i].end)) return PARTS[i].part;
    return -1;
}

static bool touches(void *ctx, const char *name) {
    return part_of(ctx, name) >= 0;
}

static void apply(void *ctx, const char *name, const safetensors_tensor *t, float *dst) {
    const layer *y = ctx;
    int part = part_of(y, name);
    int64_t n = t->ne[0] * t->ne[1] * t->ne[2] * t->ne[3], third = (n + 2) / 3;
    for (int64_t i = 0; i < n; i++) dst[i] *= y->factor[part == FUSED ? i / third : part];
}

static void unref(void *ctx) {
    mem_free(ctx);
}

static diff_weights *scaled(diff_weights *w, const char *mark, const diff_attention_scale *s) {
    layer *y = NEW(layer);
    *y = (layer){.factor = {(float)s->q, (float)s->k, (float)s->v, (float)s->out}};
    size_t len = strlen(mark);
    memcpy(y->mark, mark, len < sizeof y->mark ? len : sizeof y->mark - 1);
    return diff_weights_patched(w, &(diff_patch){y, touches, apply, unref});
}

err_code diff_model_scale(const diff_model *m, const char *attention, const diff_attention_scale *s,
                          diff_model **ret, err *e) {
    diff_net *n = unet_net(m->net);
    unet *net;
    TRY(unet_create(diff_net_device(n), scaled(diff_net_weights(n), attention, s), &net, e));
    diff_model *k = diff_model_copy(m);
    unet_unref(&k->net);
    k->net = net;
    *ret = k;
    return ERR_OK;
}

static err_code scale_encoder(clip_text **c, const diff_attention_scale *s, err *e) {
    clip_text *k;
    if (!*c) return ERR_OK;
    diff_net *n = clip_text_net(*c);
    TRY(clip_text_create(diff_net_device(n), scaled(diff_net_weights(n), "attn", s), &k, e));
    clip_text_unref(c);
    *c = k;
    return ERR_OK;
}

err_code diff_clip_scale(const diff_clip *c, const diff_attention_scale *s, diff_clip **ret,
                         err *e) {
    diff_clip *k = diff_clip_copy(c);
    err_code code = scale_encoder(&k->l, s, e);
    if (code == ERR_OK) code = scale_encoder(&k->g, s, e);
    if (code)
        diff_clip_unref(&k);
    else
        *ret = k;
    return code;
}
