/* Weights by name: from the mapping, or as copies in another order, type or patched. */
#include "diffusion/weights.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/vec.h"
#include "kern/kern_gemm.h"
#include "kern/kern_vec.h"
#include <assert.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

enum { NAME_BYTES = 512 };

/* ---- weights ---- */

/* How a copy differs from the file. */
typedef enum form { FORM_FLOATS, FORM_MATRIX, FORM_KERNEL, FORM_PANELS } form;

typedef struct copy {
    void *ptr;
    dtype type;
} copy;

struct diff_weights {
    atomic_int refs;
    diff_file *file;
    char *prefix;
    diff_weights *below;
    diff_patch patch;
    map copies; /* "form name" -> copy * */
    uint64_t copy_bytes;
    err first;
};

static diff_weights *weights_new(diff_file *f, const char *prefix) {
    diff_weights *w = NEW(diff_weights);
    atomic_init(&w->refs, 1);
    w->file = diff_file_ref(f);
    w->prefix = mem_dup(prefix, strlen(prefix) + 1);
    return w;
}

diff_weights *diff_weights_create(diff_file *f, const char *prefix) {
    return weights_new(f, prefix);
}

diff_weights *diff_weights_patched(diff_weights *below, const diff_patch *p) {
    diff_weights *w = weights_new(below->file, below->prefix);
    w->below = diff_weights_ref(below);
    w->patch = *p;
    return w;
}

diff_weights *diff_weights_ref(diff_weights *w) {
    atomic_fetch_add(&w->refs, 1);
    return w;
}

void diff_weights_unref(diff_weights **wp) {
    diff_weights *w = *wp;
    *wp = NULL;
    if (!w || atomic_fetch_sub(&w->refs, 1) > 1) return;
    for (size_t i = 0; i < w->copies.len; i++) {
        copy *c = (copy *)(uintptr_t)w->copies.entries[i].value;
        mem_free(c->ptr);
        mem_free(c);
    }
    map_finish(&w->copies);
    if (w->patch.unref) w->patch.unref(w->patch.ctx);
    diff_weights_unref(&w->below);
    diff_file_unref(&w->file);
    mem_free(w->prefix);
    mem_free(w);
}

const diff_file *diff_weights_file(const diff_weights *w) {
    return w->file;
}

const char *diff_weights_prefix(const diff_weights *w) {
    return w->prefix;
}

const safetensors_tensor *diff_weights_find(const diff_weights *w, const char *name) {
    return diff_file_find(w->file, w->prefix, name);
}

bool diff_weights_has(const diff_weights *w, const char *name) {
    return diff_weights_find(w, name) != NULL;
}

uint64_t diff_weights_bytes(const diff_weights *w) {
    uint64_t n = w->copy_bytes;
    if (w->below) return n + diff_weights_bytes(w->below);
    str prefix = str_from(w->prefix);
    for (size_t i = 0; i < diff_file_n_tensors(w->file); i++) {
        const safetensors_tensor *t = diff_file_at(w->file, i);
        if (str_starts(t->name, prefix)) n += t->n_bytes;
    }
    return n;
}

static void note_error(diff_weights *w, const char *name, const char *what) {
    if (w->first.code == ERR_OK)
        err_set(&w->first, ERR_FORMAT, STR_FMT ": tensor %s%s %s", STR_ARG(diff_file_path(w->file)),
                w->prefix, name, what);
}

err_code diff_weights_check(const diff_weights *w, err *e) {
    if (w->first.code) return err_set(e, w->first.code, "%s", w->first.msg);
    for (; w; w = w->below) TRY(diff_file_check(w->file, e));
    return ERR_OK;
}

/* A wrong leaf: the graph keeps the mistake, w the reason. */
static graph_t no_leaf(diff_weights *w, graph *g, const char *name, const char *what) {
    note_error(w, name, what);
    return graph_weight(g, DTYPE_F32, 0, (int64_t[4]){0}, NULL);
}

bool diff_weights_is_patched(const diff_weights *w, const char *name) {
    for (const diff_weights *at = w; at; at = at->below)
        if (at->patch.touches && at->patch.touches(at->patch.ctx, name)) return true;
    return false;
}

static void apply_patches(const diff_weights *w, const char *name, const safetensors_tensor *t,
                          float *dst) {
    if (!w) return;
    apply_patches(w->below, name, t, dst);
    if (w->patch.touches && w->patch.touches(w->patch.ctx, name))
        w->patch.apply(w->patch.ctx, name, t, dst);
}

/* All of the tensor in f32 in the file's order, patched; the caller frees it. */
static float *read_floats(const diff_weights *w, const char *name, const safetensors_tensor *t) {
    float *v = diff_tensor_floats(t);
    apply_patches(w, name, t, v);
    return v;
}

float *diff_weights_read(const diff_weights *w, const char *name) {
    const safetensors_tensor *t = diff_weights_find(w, name);
    return t && dtype_get_info(t->type)->supported ? read_floats(w, name, t) : NULL;
}

const safetensors_tensor *diff_weights_at(const diff_weights *w, size_t i, str *ret_name) {
    if (i >= diff_file_n_tensors(w->file)) return NULL;
    const safetensors_tensor *t = diff_file_at(w->file, i);
    str prefix = str_from(w->prefix);
    *ret_name = str_starts(t->name, prefix) ? str_sub(t->name, prefix.len, t->name.len) : STR("");
    return t;
}

static bool is_aligned(const safetensors_tensor *t) {
    return (uintptr_t)t->data % (t->type == DTYPE_F32 ? 4 : 2) == 0;
}

/* [X,Y,C,O] as stored to [C,X,Y,O]; elements of `bytes` each. */
static void turn_kernel(const safetensors_tensor *t, const void *from, void *to, size_t bytes) {
    int64_t XY = t->ne[0] * t->ne[1], C = t->ne[2], O = t->ne[3];
    const char *src = from;
    char *dst = to;
    for (int64_t o = 0; o < O; o++)
        for (int64_t p = 0; p < XY; p++)
            for (int64_t c = 0; c < C; c++, dst += bytes)
                memcpy(dst, src + (size_t)((o * C + c) * XY + p) * bytes, bytes);
}

static bool is_plain(dtype t) {
    return t == DTYPE_F32 || t == DTYPE_F16 || t == DTYPE_BF16;
}

/* Types of fewer bits than f16 has: their copies need no more room than that. */
static bool is_narrow(dtype t) {
    return t == DTYPE_F8_E4M3 || t == DTYPE_F8_E5M2 || dtype_get_info(t)->quantised;
}

/* Kernels [C,taps,O] to panels of bfloat16 (dev_tensor.panels); *ret_bytes of them. */
static uint16_t *pack_panels(const void *from, dtype type, const int64_t ne[3],
                             uint64_t *ret_bytes) {
    const kern_gemm *k = kern_gemm_get(kern_level_best());
    int64_t elem = type == DTYPE_F32 ? 4 : 2, taps = ne[1], tile = kern_gemm_b_bf16s(ne[0]);
    int64_t n = (ne[2] + KERN_GEMM_COLS - 1) / KERN_GEMM_COLS * taps;
    uint16_t *all = mem_calloc((size_t)(n * tile), sizeof *all);
    for (int64_t i = 0; i < n; i++) {
        int64_t o = i / taps * KERN_GEMM_COLS, left = ne[2] - o;
        kern_gemm_cols c = {.w = (const char *)from + (o * taps + i % taps) * ne[0] * elem,
                            .stride = taps * ne[0] * elem,
                            .type = type,
                            .cols = (int32_t)(left < KERN_GEMM_COLS ? left : KERN_GEMM_COLS),
                            .k = ne[0]};
        k->pack_cols_bf16(all + i * tile, &c);
    }
    *ret_bytes = (uint64_t)(n * tile) * sizeof *all;
    return all;
}

/* The copy as panels: from the file's bytes where they can be read as they lie there. */
static copy *make_panels(diff_weights *w, const char *name, const safetensors_tensor *t) {
    bool is_kernel = t->n_dims == 4, turn = is_kernel && t->ne[0] * t->ne[1] > 1;
    int64_t ne[3] = {t->ne[0], 1, t->ne[1]}, n = diff_tensor_elems(t);
    if (is_kernel) memcpy(ne, (int64_t[3]){t->ne[2], t->ne[0] * t->ne[1], t->ne[3]}, sizeof ne);
    bool plain = is_plain(t->type) && is_aligned(t) && !diff_weights_is_patched(w, name);
    float *v = plain ? NULL : read_floats(w, name, t);
    const void *from = plain ? t->data : v;
    dtype type = plain ? t->type : DTYPE_F32;
    void *turned = NULL;
    if (turn) {
        size_t bytes = type == DTYPE_F32 ? 4 : 2;
        turned = mem_calloc((size_t)n, bytes);
        turn_kernel(t, from, turned, bytes);
        from = turned;
    }
    uint64_t bytes;
    copy *c = NEW(copy);
    *c = (copy){pack_panels(from, type, ne, &bytes), DTYPE_BF16};
    w->copy_bytes += bytes;
    diff_file_release(w->file, t);
    mem_free(turned);
    mem_free(v);
    return c;
}

/* Makes the copy; FORM_FLOATS is f32, others keep a plain type unless patched. */
static copy *make_copy(diff_weights *w, const char *name, form f, const safetensors_tensor *t) {
    if (f == FORM_PANELS) return make_panels(w, name, t);
    int64_t n = diff_tensor_elems(t);
    copy *c = NEW(copy);
    bool patched = diff_weights_is_patched(w, name),
         turn = f == FORM_KERNEL && t->ne[0] * t->ne[1] > 1;
    if (f != FORM_FLOATS && !patched && is_plain(t->type)) {
        c->type = t->type;
        size_t bytes = t->type == DTYPE_F32 ? 4 : 2;
        c->ptr = mem_calloc((size_t)n, bytes);
        if (turn)
            turn_kernel(t, t->data, c->ptr, bytes);
        else
            memcpy(c->ptr, t->data, (size_t)n * bytes);
        diff_file_release(w->file, t);
        w->copy_bytes += (uint64_t)n * bytes;
        return c;
    }
    float *v = read_floats(w, name, t);
    c->type = DTYPE_F32;
    if (turn) {
        float *turned = mem_calloc((size_t)n, sizeof(float));
        turn_kernel(t, v, turned, sizeof(float));
        mem_free(v);
        v = turned;
    }
    c->ptr = v;
    if (f != FORM_FLOATS && !patched && is_narrow(t->type)) {
        uint16_t *half = mem_calloc((size_t)n, sizeof *half);
        kern_vec_get(KERN_LEVEL_REF)->f32_to_f16(half, v, n);
        mem_free(v);
        *c = (copy){half, DTYPE_F16};
    }
    w->copy_bytes += (uint64_t)n * (c->type == DTYPE_F32 ? 4 : 2);
    return c;
}

/* Whose copy it is: the lowest layer that has all the patches of this tensor. */
static diff_weights *owner_of(diff_weights *w, const char *name) {
    while (w->below && !(w->patch.touches && w->patch.touches(w->patch.ctx, name))) w = w->below;
    return w;
}

static const copy *copy_of(diff_weights *w, const char *name, form f, const safetensors_tensor *t) {
    char key[NAME_BYTES];
    w = owner_of(w, name);
    int n = snprintf(key, sizeof key, "%d %s", (int)f, name);
    assert(n > 0 && n < NAME_BYTES);
    copy *c = map_get_ptr(&w->copies, (str){key, (size_t)n});
    if (c) return c;
    c = make_copy(w, name, f, t);
    map_put_ptr(&w->copies, (str){key, (size_t)n}, c);
    return c;
}

const float *diff_floats(diff_weights *w, const char *name) {
    const safetensors_tensor *t = diff_weights_find(w, name);
    if (!t || !dtype_get_info(t->type)->supported) return NULL;
    return copy_of(w, name, FORM_FLOATS, t)->ptr;
}

graph_t diff_vector_part(diff_weights *w, graph *g, const char *name, int64_t from, int64_t n) {
    const safetensors_tensor *t = diff_weights_find(w, name);
    if (!t) return no_leaf(w, g, name, "is missing");
    if (!dtype_get_info(t->type)->supported || from + n > diff_tensor_elems(t))
        return no_leaf(w, g, name, "has an unexpected type or shape");
    const float *v = copy_of(w, name, FORM_FLOATS, t)->ptr;
    return graph_weight(g, DTYPE_F32, 1, (int64_t[4]){n, 1, 1, 1}, v + from);
}

graph_t diff_vector(diff_weights *w, graph *g, const char *name) {
    const safetensors_tensor *t = diff_weights_find(w, name);
    return diff_vector_part(w, g, name, 0, t ? diff_tensor_elems(t) : 0);
}

graph_t diff_vector_or_none(diff_weights *w, graph *g, const char *name) {
    return diff_weights_has(w, name) ? diff_vector(w, g, name) : NULL;
}

/* In a graph in bfloat16 kernels and matrices [C,..,O] are packed once, when first asked for. */
static bool wants_panels(const graph *g, const safetensors_tensor *t, int64_t C, int64_t O) {
    return graph_is_bf16(g) && !graph_keeps_f32((int64_t[4]){C, 1, 1, O}) &&
           dtype_get_info(t->type)->supported;
}

/* The tensor as a leaf of shape ne: from the mapping when it can be used as it lies there. */
static graph_t leaf(diff_weights *w, graph *g, const char *name, form f, const int64_t ne[4],
                    int n_dims) {
    const safetensors_tensor *t = diff_weights_find(w, name);
    bool turn = f == FORM_KERNEL && t->ne[0] * t->ne[1] > 1;
    if (is_plain(t->type) && is_aligned(t) && !turn && !diff_weights_is_patched(w, name))
        return graph_weight(g, t->type, n_dims, ne, t->data);
    if (!dtype_get_info(t->type)->supported) return no_leaf(w, g, name, "has an unsupported type");
    const copy *c = copy_of(w, name, f, t);
    return graph_weight(g, c->type, n_dims, ne, c->ptr);
}

graph_t diff_matrix_rows(diff_weights *w, graph *g, const char *name, int64_t from, int64_t n) {
    const safetensors_tensor *t = diff_weights_find(w, name);
    if (!t) return no_leaf(w, g, name, "is missing");
    bool is_conv = t->n_dims == 4 && t->ne[0] == 1 && t->ne[1] == 1; /* 1x1 */
    if (t->n_dims != 2 && !is_conv) return no_leaf(w, g, name, "is not a matrix");
    int64_t in = is_conv ? t->ne[2] : t->ne[0], out = is_conv ? t->ne[3] : t->ne[1];
    if (from < 0 || n < 1 || from > out - n) return no_leaf(w, g, name, "has too few rows");
    int64_t ne[4] = {in, out, 1, 1};
    if (wants_panels(g, t, in, n) && wants_panels(g, t, in, out) && from % KERN_GEMM_COLS == 0) {
        const uint16_t *all = copy_of(w, name, FORM_PANELS, t)->ptr;
        int64_t part[4] = {in, n, 1, 1};
        return graph_weight_panels(g, 2, part, all + from / KERN_GEMM_COLS * kern_gemm_b_bf16s(in));
    }
    graph_t all = leaf(w, g, name, FORM_MATRIX, ne, 2);
    if (n == out) return all;
    ne[1] = n;
    return graph_weight(g, all->type, 2, ne, (const char *)all->data + from * all->stride[1]);
}

graph_t diff_matrix(diff_weights *w, graph *g, const char *name) {
    const safetensors_tensor *t = diff_weights_find(w, name);
    return diff_matrix_rows(w, g, name, 0, !t ? 0 : t->n_dims == 4 ? t->ne[3] : t->ne[1]);
}

graph_t diff_kernel(diff_weights *w, graph *g, const char *name) {
    const safetensors_tensor *t = diff_weights_find(w, name);
    if (!t) return no_leaf(w, g, name, "is missing");
    if (t->n_dims != 4 && t->n_dims != 2) return no_leaf(w, g, name, "is not a convolution");
    int64_t ne[4] = {t->ne[2], t->ne[0], t->ne[1], t->ne[3]};
    if (t->n_dims == 2) memcpy(ne, (int64_t[4]){t->ne[0], 1, 1, t->ne[1]}, sizeof ne);
    if (wants_panels(g, t, ne[0], ne[3]))
        return graph_weight_panels(g, 4, ne, copy_of(w, name, FORM_PANELS, t)->ptr);
    return leaf(w, g, name, FORM_KERNEL, ne, 4);
}
