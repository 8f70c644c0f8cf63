/* Sums of two models' weights. */
#include "diffusion/merge.h"
#include "base/mem.h"
#include <stdatomic.h>
#include <string.h>

enum { PREFIX_BYTES = 64 };

typedef struct row {
    char prefix[PREFIX_BYTES];
    size_t len;
    float keep, add;
} row;

typedef struct layer {
    diff_weights *other;
    size_t n;
    row *rows;
} layer;

static void layer_unref(void *ctx) {
    layer *y = ctx;
    diff_weights_unref(&y->other);
    mem_free(y->rows);
    mem_free(y);
}

static const row *row_of(const layer *y, const char *name) {
    const row *best = NULL;
    for (size_t i = 0; i < y->n; i++) {
        const row *r = &y->rows[i];
        if (strncmp(name, r->prefix, r->len) == 0 && (!best || r->len > best->len)) best = r;
    }
    return best ? best : &y->rows[0];
}

static bool touches(void *ctx, const char *name) {
    const layer *y = ctx;
    const row *r = row_of(y, name);
    bool same = !(r->keep < 1) && !(r->keep > 1) && !(r->add < 0) && !(r->add > 0);
    return !same && diff_weights_has(y->other, name);
}

static int64_t elems(const safetensors_tensor *t) {
    return t->ne[0] * t->ne[1] * t->ne[2] * t->ne[3];
}

static void apply(void *ctx, const char *name, const safetensors_tensor *t, float *dst) {
    const layer *y = ctx;
    const row *r = row_of(y, name);
    float *v = diff_weights_read(y->other, name);
    for (int64_t i = 0; v && i < elems(t); i++) dst[i] = dst[i] * r->keep + r->add * v[i];
    mem_free(v);
}

static err_code check(const diff_weights *a, const diff_weights *b, err *e) {
    const safetensors_tensor *t, *other;
    char text[512];
    str name;
    for (size_t i = 0; (t = diff_weights_at(a, i, &name)); i++) {
        if (name.len == 0 || name.len >= sizeof text) continue;
        memcpy(text, name.ptr, name.len);
        text[name.len] = '\0';
        other = diff_weights_find(b, text);
        if (other && memcmp(other->ne, t->ne, sizeof t->ne) != 0)
            FAIL(e, INVALID, "the two models differ in the shape of %s: they cannot be merged",
                 text);
    }
    return ERR_OK;
}

static err_code merged(diff_weights *a, diff_weights *b, const diff_mix *mix, size_t n,
                       diff_weights **ret, err *e) {
    TRY(check(a, b, e));
    layer *y = NEW(layer);
    y->other = diff_weights_ref(b);
    y->n = n;
    y->rows = NEW_ARRAY(row, n);
    for (size_t i = 0; i < n; i++) {
        row *r = &y->rows[i];
        r->len = strlen(mix[i].prefix);
        if (r->len >= PREFIX_BYTES) r->len = PREFIX_BYTES - 1;
        memcpy(r->prefix, mix[i].prefix, r->len);
        r->keep = (float)mix[i].keep;
        r->add = (float)mix[i].add;
    }
    *ret = diff_weights_patched(a, &(diff_patch){y, touches, apply, layer_unref});
    return ERR_OK;
}

err_code diff_merge_model(const diff_model *a, const diff_model *b, const diff_mix *mix, size_t n,
                          diff_model **ret, err *e) {
    diff_net *na = unet_net(a->net), *nb = unet_net(b->net);
    diff_weights *w;
    unet *net;
    TRY(merged(diff_net_weights(na), diff_net_weights(nb), mix, n, &w, e));
    TRY(unet_create(diff_net_device(na), w, &net, e));
    diff_model *m = diff_model_copy(a);
    unet_unref(&m->net);
    m->net = net;
    *ret = m;
    return ERR_OK;
}

static err_code merge_encoder(clip_text **a, clip_text *b, const diff_mix *mix, size_t n, err *e) {
    diff_weights *w;
    clip_text *c;
    if (!*a || !b) return ERR_OK;
    diff_net *na = clip_text_net(*a), *nb = clip_text_net(b);
    TRY(merged(diff_net_weights(na), diff_net_weights(nb), mix, n, &w, e));
    TRY(clip_text_create(diff_net_device(na), w, &c, e));
    clip_text_unref(a);
    *a = c;
    return ERR_OK;
}

err_code diff_merge_clip(const diff_clip *a, const diff_clip *b, const diff_mix *mix, size_t n,
                         diff_clip **ret, err *e) {
    diff_clip *k = diff_clip_copy(a);
    err_code code = merge_encoder(&k->l, b->l, mix, n, e);
    if (code == ERR_OK) code = merge_encoder(&k->g, b->g, mix, n, e);
    if (code)
        diff_clip_unref(&k);
    else
        *ret = k;
    return code;
}
