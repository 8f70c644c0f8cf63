/* Binds a file's tensors to llm_weights, checking shapes and types. Part of loading (model.c). */
#include "llm/weights.h"
#include "base/limits.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { NAME_BYTES = 96, SHAPE_BYTES = LLM_SHAPE_BYTES };

static int64_t dim_value(const llm_hparams *hp, llm_dim d) {
    int64_t h = hp->n_head, hkv = hp->n_head_kv, k = hp->head_dim_k, v = hp->head_dim_v;
    switch (d) {
    case LLM_DIM_NONE:
        return 1;
    case LLM_DIM_1:
        return 1;
    case LLM_DIM_D:
        return hp->n_embd;
    case LLM_DIM_V:
        return hp->n_vocab;
    case LLM_DIM_HK:
        return h * k;
    case LLM_DIM_HKV_K:
        return hkv * k;
    case LLM_DIM_HKV_V:
        return hkv * v;
    case LLM_DIM_HV:
        return h * v;
    case LLM_DIM_QKV:
        return h * k + hkv * k + hkv * v;
    case LLM_DIM_K:
        return k;
    case LLM_DIM_F:
        return hp->n_ff;
    case LLM_DIM_2F:
        return 2 * (int64_t)hp->n_ff;
    case LLM_DIM_E:
        return hp->n_expert;
    case LLM_DIM_FE:
        return hp->n_ff_exp;
    case LLM_DIM_FS:
        return hp->n_ff_shexp;
    case LLM_DIM_ROT2:
        return hp->n_rot / 2;
    case LLM_DIM_ANY:
        break;
    }
    return -1;
}

static bool is_needed(const llm_hparams *hp, llm_bind_need need) {
    switch (need) {
    case LLM_NEED_ALWAYS:
        return true;
    case LLM_NEED_NEVER:
        return false;
    case LLM_NEED_DENSE:
        return hp->n_expert == 0;
    case LLM_NEED_EXPERTS:
        return hp->n_expert > 0;
    case LLM_NEED_SHARED:
        return hp->n_expert > 0 && hp->n_ff_shexp > 0;
    }
    return true;
}

const char *llm_shape_text(const int64_t ne[4], int n_dims, char out[SHAPE_BYTES]) {
    int n = 0;
    out[0] = 0;
    for (int d = 0; d < n_dims; d++) {
        char item[24];
        if (ne[d] < 0)
            snprintf(item, sizeof item, "any");
        else
            snprintf(item, sizeof item, "%lld", (long long)ne[d]);
        n += snprintf(out + n, SHAPE_BYTES - (size_t)n, d ? ", %s" : "%s", item);
    }
    return out;
}

static int table_dims(const llm_bind *b) {
    int n = 0;
    while (n < 3 && b->ne[n] != LLM_DIM_NONE) n++;
    return n;
}

/* Same extents, where trailing dimensions of 1 may be left out. */
static err_code check_shape(const gguf_tensor *t, const llm_hparams *hp, const llm_bind *b,
                            const char *name, err *e) {
    int64_t want[4] = {1, 1, 1, 1};
    bool ok = t->ne[3] == 1;
    for (int d = 0; d < 3; d++) {
        want[d] = dim_value(hp, b->ne[d]);
        if (want[d] >= 0 && want[d] != t->ne[d]) ok = false;
        if (t->ne[d] < 1 || t->ne[d] > INT32_MAX) ok = false;
    }
    if (ok) return ERR_OK;
    char sa[SHAPE_BYTES], sb[SHAPE_BYTES];
    int n_dims = t->n_dims < 1 ? 1 : t->n_dims > 4 ? 4 : (int)t->n_dims;
    FAIL(e, FORMAT, "tensor %s has shape [%s], the model's numbers ask for [%s]", name,
         llm_shape_text(t->ne, n_dims, sa), llm_shape_text(want, table_dims(b), sb));
}

/* Vectors are always f32, and copies: they are small, and lie strewn all over the file, of which
 * they would keep many pages in memory. */
static const void *vector_f32(const gguf_tensor *t, arena *mem) {
    float *v = ARENA_ARRAY(mem, float, (size_t)t->ne[0]);
    if (t->type == DTYPE_F32)
        memcpy(v, t->data, (size_t)t->ne[0] * sizeof *v);
    else
        dequant_row(t->type, t->data, v, t->ne[0]);
    return v;
}

static size_t type_align(dtype t) {
    return t == DTYPE_F32 ? 4 : t == DTYPE_F16 || t == DTYPE_BF16 ? 2 : 1;
}

static err_code check_type(const gguf_tensor *t, err *e) {
    if (dtype_get_info(t->type)->supported) return ERR_OK;
    FAIL(e, UNSUPPORTED, "tensor " STR_FMT " is of type %s, which cannot be computed with",
         STR_ARG(str_sub(t->name, 0, NAME_BYTES)), dtype_name(t->type));
}

err_code llm_weight_borrow(const gguf_tensor *t, int n_dims, llm_weight *ret, err *e) {
    TRY(check_type(t, e));
    if ((uintptr_t)t->data % type_align(t->type))
        FAIL(e, FORMAT, "tensor " STR_FMT " does not lie at a multiple of its element size",
             STR_ARG(str_sub(t->name, 0, NAME_BYTES)));
    *ret = (llm_weight){.type = t->type, .n_dims = n_dims, .data = t->data};
    memcpy(ret->ne, t->ne, sizeof ret->ne);
    return ERR_OK;
}

/* What all bindings of a model have in common. */
typedef struct binder {
    const gguf *g;
    const llm_hparams *hp;
    arena *mem;
} binder;

static err_code bind_one(const binder *k, const llm_bind *b, const char *name, llm_weight *ret,
                         err *e) {
    const gguf *g = k->g;
    const llm_hparams *hp = k->hp;
    const gguf_tensor *t = gguf_find_tensor(g, name);
    if (!t && is_needed(hp, b->need)) {
        FAIL(e, NOT_FOUND, "the model file has no tensor %s, which architecture " STR_FMT " needs",
             name, STR_ARG(gguf_arch(g)));
    }
    if (!t) return ERR_OK;
    TRY(check_shape(t, hp, b, name, e));
    if (table_dims(b) != 1) return llm_weight_borrow(t, table_dims(b), ret, e);
    TRY(check_type(t, e));
    *ret = (llm_weight){.type = DTYPE_F32, .n_dims = 1, .data = vector_f32(t, k->mem)};
    memcpy(ret->ne, t->ne, sizeof ret->ne);
    return ERR_OK;
}

/* Files of 2023 hold one tensor for each expert. */
static err_code refuse_split_experts(const gguf *g, const llm_hparams *hp, err *e) {
    if (hp->n_expert > 0 && gguf_find_tensor(g, "blk.0.ffn_gate.0.weight"))
        FAIL(e, UNSUPPORTED,
             "the file holds one tensor for each expert (blk.0.ffn_gate.0.weight): it is of an "
             "old kind, convert the model again");
    return ERR_OK;
}

err_code llm_weights_bind(const gguf *g, const llm_hparams *hp, const llm_bind_table *t, arena *mem,
                          llm_weights *ret, err *e) {
    char name[NAME_BYTES];
    llm_weights w = {.layers = ARENA_ARRAY(mem, llm_layer, (size_t)hp->n_layers)};
    const binder k = {g, hp, mem};
    TRY(refuse_split_experts(g, hp, e));
    for (const llm_bind *b = t->globals; b->name; b++)
        TRY(bind_one(&k, b, b->name, (llm_weight *)(void *)((char *)&w + b->offset), e));
    for (int32_t il = 0; il < hp->n_layers; il++) {
        for (const llm_bind *b = t->layers; b->name; b++) {
            char *at = (char *)&w.layers[il] + b->offset;
            snprintf(name, sizeof name, "blk.%d.%s", il, b->name);
            TRY(bind_one(&k, b, name, (llm_weight *)(void *)at, e));
        }
    }
    if (!w.out.data) w.out = w.embd; /* tied */
    *ret = w;
    return ERR_OK;
}

static const llm_bind *find_bind(const llm_bind *b, str name) {
    while (b->name && !str_eq(name, str_from(b->name))) b++;
    return b->name ? b : NULL;
}

llm_weight *llm_weights_find(const llm_weights *w, const llm_hparams *hp, const llm_bind_table *t,
                             str name) {
    static const char BLOCK[] = "blk.";
    int64_t il;
    const llm_bind *b = find_bind(t->globals, name);
    if (b) return (llm_weight *)(void *)((char *)(uintptr_t)w + b->offset);
    if (!str_starts(name, str_from(BLOCK))) return NULL;
    str rest = str_sub(name, sizeof BLOCK - 1, name.len);
    if (!str_to_i64(str_cut(&rest, '.'), &il) || il < 0 || il >= hp->n_layers) return NULL;
    b = find_bind(t->layers, rest);
    return b ? (llm_weight *)(void *)((char *)&w->layers[il] + b->offset) : NULL;
}

/* ---- in the device's order ---- */

enum { PLACE_ALIGN = 64 };

/* Rows of all experts together. */
static int64_t matrix_rows(const llm_weight *w) {
    return w->ne[1] * w->ne[2] * w->ne[3];
}

static bool wants_interleaving(const dev *d, const llm_weight *w) {
    return w->data && w->n_dims >= 2 && dev_can_interleave(d, w->type, w->ne[0], w->ne[1]);
}

static uint64_t matrix_bytes(const llm_weight *w) {
    uint64_t row = 0; /* the reader has checked that the whole fits into the file */
    dtype_row_bytes(w->type, w->ne[0], &row);
    return row * (uint64_t)matrix_rows(w);
}

/* Rows at a time, between looks at `stop`. */
enum { SLICE_ROWS = 4096 };

static bool interleave_one(dev *d, llm_weight *w, char *to, const _Atomic bool *stop) {
    const int64_t rows = matrix_rows(w), row_bytes = (int64_t)matrix_bytes(w) / rows;
    for (int64_t at = 0; at < rows; at += SLICE_ROWS) {
        int64_t n = rows - at < SLICE_ROWS ? rows - at : SLICE_ROWS;
        if (*stop) return false;
        dev_interleave(d, w->type, (const char *)w->data + at * row_bytes, w->ne[0], n,
                       to + at * row_bytes);
    }
    w->data = to;
    w->interleaved = true;
    return true;
}

/* The structs hold nothing but weights, and pointers at the end of the first. */
enum { N_LISTS = 3 };
typedef struct weight_lists {
    llm_weight *first[N_LISTS];
    int64_t n[N_LISTS];
} weight_lists;

static weight_lists lists_of(const llm_hparams *hp, llm_weights *w) {
    const int64_t per_layer = (int64_t)(sizeof(llm_layer) / sizeof(llm_weight));
    return (weight_lists){{(llm_weight *)w, (llm_weight *)w->layers, w->loras},
                          {offsetof(llm_weights, layers) / sizeof(llm_weight),
                           per_layer * hp->n_layers, 2 * (int64_t)w->n_loras}};
}

static bool is_tied(const llm_weights *w, const llm_weight *t) {
    return t == &w->out && t->data == w->embd.data;
}

uint64_t llm_weights_interleaved_bytes(const dev *d, const llm_hparams *hp, const llm_weights *w) {
    weight_lists l = lists_of(hp, (llm_weights *)(uintptr_t)w);
    uint64_t sum = 0;
    for (int i = 0; i < N_LISTS; i++)
        for (const llm_weight *t = l.first[i]; t < l.first[i] + l.n[i]; t++)
            if (wants_interleaving(d, t) && !is_tied(w, t))
                sum += (matrix_bytes(t) + PLACE_ALIGN - 1) / PLACE_ALIGN * PLACE_ALIGN;
    return sum;
}

bool llm_weights_interleave(dev *d, const llm_hparams *hp, llm_weights *w, void *to,
                            const _Atomic bool *stop) {
    weight_lists l = lists_of(hp, w);
    const bool tied = is_tied(w, &w->out);
    const llm_weight out = w->out;
    char *at = to;
    if (tied) w->out = (llm_weight){0};
    for (int i = 0; i < N_LISTS; i++)
        for (llm_weight *t = l.first[i]; t < l.first[i] + l.n[i]; t++) {
            if (!wants_interleaving(d, t)) continue;
            if (!interleave_one(d, t, at, stop)) return false;
            at += (matrix_bytes(t) + PLACE_ALIGN - 1) / PLACE_ALIGN * PLACE_ALIGN;
        }
    if (!tied) return true;
    w->out = w->embd;
    w->out.lora = out.lora;
    w->out.lora_scale = out.lora_scale;
    return true;
}
