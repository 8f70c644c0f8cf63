/* LoRA: finding a tensor's pair by any of the names it may have, and adding the product. */
#include "diffusion/lora.h"
#include "base/mem.h"
#include "diffusion/names.h"
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

enum { NAME_BYTES = 512, RANK_MAX = 65536 };

struct lora {
    atomic_int refs;
    diff_file *file;
};

/* Two matrices and their scale. */
typedef struct lora_pair {
    const safetensors_tensor *up, *down;
    double scale; /* alpha / rank */
} lora_pair;

typedef struct applied {
    lora *l;
    lora_target target;
    double strength;
    int n_res; /* residual blocks a level */
} applied;

/* Kinds we do not know, by a part of their tensors' names. */
static const struct {
    const char *mark, *name;
} FOREIGN[] = {{".hada_w1_a", "LoHa"},
               {".lokr_w1", "LoKr"},
               {".oft_blocks", "OFT"},
               {".a1.weight", "GLoRA"},
               {".dora_scale", "DoRA"},
               {".lora_mid.weight", "Tucker"},
               {".lora_magnitude_vector", "DoRA"}};

static bool contains(str s, const char *part) {
    return str_find(s, str_from(part)) >= 0;
}

err_code lora_open(const char *path, lora **ret, err *e) {
    diff_file *f;
    TRY(diff_file_open(path, &f, e));
    for (size_t i = 0; i < diff_file_n_tensors(f); i++)
        for (size_t k = 0; k < COUNT_OF(FOREIGN); k++) {
            if (!contains(diff_file_at(f, i)->name, FOREIGN[k].mark)) continue;
            diff_file_unref(&f);
            FAIL(e, UNSUPPORTED,
                 "%s: adapters of the kind %s are not supported; convert it to a plain LoRA, or "
                 "merge it into a checkpoint",
                 path, FOREIGN[k].name);
        }
    lora *l = NEW(lora);
    atomic_init(&l->refs, 1);
    l->file = f;
    *ret = l;
    return ERR_OK;
}

static lora *lora_ref(lora *l) {
    atomic_fetch_add(&l->refs, 1);
    return l;
}

void lora_unref(lora **lp) {
    lora *l = *lp;
    *lp = NULL;
    if (!l || atomic_fetch_sub(&l->refs, 1) > 1) return;
    diff_file_unref(&l->file);
    mem_free(l);
}

/* ---- finding ---- */

static double alpha_of(const diff_file *f, const char *stem, double rank) {
    float v = 0;
    const safetensors_tensor *t = diff_file_find(f, stem, ".alpha");
    if (!t || t->ne[0] * t->ne[1] != 1 || !dtype_get_info(t->type)->supported) return 1;
    dequant_row(t->type, t->data, &v, 1);
    return (double)v / rank;
}

static bool is_usable(const safetensors_tensor *t) {
    return t && dtype_get_info(t->type)->supported;
}

/* The pair whose names begin with `stem`. */
static bool find_stem(const diff_file *f, const char *stem, lora_pair *ret) {
    static const char *const ENDS[][2] = {
        {".lora_up.weight", ".lora_down.weight"},
        {"_lora.up.weight", "_lora.down.weight"},
        {".lora_B.weight", ".lora_A.weight"},
        {".lora_B.default.weight", ".lora_A.default.weight"},
        {".lora.up.weight", ".lora.down.weight"},
        {".lora_linear_layer.up.weight", ".lora_linear_layer.down.weight"}};
    for (size_t i = 0; i < COUNT_OF(ENDS); i++) {
        ret->up = diff_file_find(f, stem, ENDS[i][0]);
        ret->down = diff_file_find(f, stem, ENDS[i][1]);
        if (!is_usable(ret->up) || !is_usable(ret->down)) continue;
        int64_t rank = ret->down->n_dims == 4 ? ret->down->ne[3] : ret->down->ne[1];
        if (rank < 1 || rank > RANK_MAX) continue;
        ret->scale = alpha_of(f, stem, (double)rank);
        return true;
    }
    return false;
}

static void underscored(char *s) {
    for (; *s; s++)
        if (*s == '.') *s = '_';
}

/* prefix + name, with underscores for dots behind the prefix when asked. */
static bool try_name(const diff_file *f, const char *prefix, const char *name, bool flat,
                     lora_pair *ret) {
    char stem[NAME_BYTES];
    int n = snprintf(stem, sizeof stem, "%s%s", prefix, name);
    if (n < 0 || n >= NAME_BYTES) return false;
    if (flat) underscored(stem + strlen(prefix));
    return find_stem(f, stem, ret);
}

/* Residual blocks a level of the network: what stands before its first downsampling. */
static int count_res(const diff_weights *w) {
    char name[64];
    for (int i = 1; i < 64; i++) {
        snprintf(name, sizeof name, "input_blocks.%d.0.in_layers.0.weight", i);
        if (!diff_weights_has(w, name)) return i - 1;
    }
    return 0;
}

/* The older names of attention: ".processor" in between, "to_out" without its number. */
static bool old_name(const char *name, char dst[NAME_BYTES]) {
    const char *to = strstr(name, ".to_");
    if (!to || strlen(name) + 16 > NAME_BYTES) return false;
    int n = snprintf(dst, NAME_BYTES, "%.*s.processor%s", (int)(to - name), name, to);
    if (n > 9 && strcmp(dst + n - 9, ".to_out.0") == 0) dst[n - 2] = '\0';
    return true;
}

static bool find_unet(const diff_file *f, str base, int n_res, lora_pair *ret) {
    char own[NAME_BYTES], other[NAME_BYTES], old[NAME_BYTES];
    if (base.len >= sizeof own) return false;
    memcpy(own, base.ptr, base.len);
    own[base.len] = '\0';
    if (try_name(f, "lora_unet_", own, true, ret) ||
        try_name(f, "diffusion_model.", own, false, ret))
        return true;
    if (!names_unet_layer(base, n_res, other, sizeof other)) return false;
    if (try_name(f, "lora_unet_", other, true, ret) || try_name(f, "lycoris_", other, true, ret) ||
        try_name(f, "unet.", other, false, ret) ||
        try_name(f, "base_model.model.", other, false, ret) || try_name(f, "", other, false, ret))
        return true;
    return old_name(other, old) &&
           (try_name(f, "unet.", old, false, ret) || try_name(f, "", old, false, ret));
}

static bool find_text(const diff_file *f, lora_target target, const char *name, lora_pair *ret) {
    static const char *const FLAT[2][3] = {{"lora_te_", "lora_te1_", NULL},
                                           {"lora_te2_", "lora_te_", NULL}};
    static const char *const DOTTED[2][3] = {
        {"text_encoder.", "text_encoders.clip_l.transformer.", NULL},
        {"text_encoder_2.", "text_encoder.", "text_encoders.clip_g.transformer."}};
    size_t k = target == LORA_CLIP_G;
    for (size_t i = 0; i < 3; i++) {
        if (FLAT[k][i] && try_name(f, FLAT[k][i], name, true, ret)) return true;
        if (DOTTED[k][i] && try_name(f, DOTTED[k][i], name, false, ret)) return true;
    }
    return false;
}

/* OpenCLIP's name of a layer as the transformers layout has it. `part`: q, k or v of a fused
 * matrix. */
static bool open_clip_name(str base, int part, char *dst, size_t cap) {
    static const char *const QKV[] = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"};
    str rest = base;
    if (!str_starts(rest, STR("transformer.resblocks."))) return false;
    rest = str_sub(rest, 22, rest.len);
    str number = str_cut(&rest, '.');
    const char *to = str_eq(rest, STR("attn.out_proj"))  ? "self_attn.out_proj"
                     : str_eq(rest, STR("mlp.c_fc"))     ? "mlp.fc1"
                     : str_eq(rest, STR("mlp.c_proj"))   ? "mlp.fc2"
                     : str_eq(rest, STR("attn.in_proj")) ? QKV[part]
                                                         : NULL;
    if (!to) return false;
    snprintf(dst, cap, "text_model.encoder.layers." STR_FMT ".%s", STR_ARG(number), to);
    return true;
}

/* Parts of a tensor that change: one, or q, k and v of a fused one. */
static size_t find_parts(const applied *a, const char *name, lora_pair ret[3], bool found[3]) {
    str base = str_from(name);
    char other[NAME_BYTES];
    found[0] = found[1] = found[2] = false;
    bool fused = str_ends(base, STR("attn.in_proj_weight"));
    if (fused)
        base = str_sub(base, 0, base.len - 7);
    else if (str_ends(base, STR(".weight")))
        base = str_sub(base, 0, base.len - 7);
    else
        return 0;
    if (a->target == LORA_UNET) {
        found[0] = find_unet(a->l->file, base, a->n_res, &ret[0]);
        return found[0];
    }
    size_t n = fused ? 3 : 1, any = 0;
    for (size_t i = 0; i < n; i++) {
        if (open_clip_name(base, (int)i, other, sizeof other)) {
            found[i] = find_text(a->l->file, a->target, other, &ret[i]);
        } else {
            snprintf(other, sizeof other, STR_FMT, STR_ARG(base));
            found[i] = find_text(a->l->file, a->target, other, &ret[i]);
        }
        any += found[i];
    }
    return any ? n : 0;
}

/* ---- adding ---- */

/* dst [out, in] += k up [out, rank] @ down [rank, in]. */
static void add_product(const lora_pair *p, double k, int64_t out, int64_t in, float *dst) {
    int64_t rank = p->down->n_dims == 4 ? p->down->ne[3] : p->down->ne[1];
    int64_t up_rank = p->up->n_dims == 4 ? p->up->ne[2] : p->up->ne[0];
    int64_t n_up = p->up->ne[0] * p->up->ne[1] * p->up->ne[2] * p->up->ne[3];
    int64_t n_down = p->down->ne[0] * p->down->ne[1] * p->down->ne[2] * p->down->ne[3];
    if (up_rank != rank || n_up != out * rank || n_down != rank * in) return; /* of another model */
    float *up = mem_calloc((size_t)n_up, sizeof *up),
          *down = mem_calloc((size_t)n_down, sizeof *down);
    dequant_row(p->up->type, p->up->data, up, n_up);
    dequant_row(p->down->type, p->down->data, down, n_down);
    float *row = mem_calloc((size_t)in, sizeof *row);
    float scale = (float)(k * p->scale);
    for (int64_t o = 0; o < out; o++) {
        memset(row, 0, (size_t)in * sizeof *row);
        for (int64_t r = 0; r < rank; r++) {
            float u = up[o * rank + r];
            const float *d = down + r * in;
            for (int64_t i = 0; i < in; i++) row[i] += u * d[i];
        }
        for (int64_t i = 0; i < in; i++) dst[o * in + i] += scale * row[i];
    }
    mem_free(up);
    mem_free(down);
    mem_free(row);
}

static bool touches(void *ctx, const char *name) {
    lora_pair p[3];
    bool found[3];
    return find_parts(ctx, name, p, found) > 0;
}

static void apply(void *ctx, const char *name, const safetensors_tensor *t, float *dst) {
    const applied *a = ctx;
    lora_pair p[3];
    bool found[3];
    size_t n = find_parts(a, name, p, found);
    int64_t out = t->n_dims == 4 ? t->ne[3] : t->ne[1],
            in = t->ne[0] * (t->n_dims == 4 ? t->ne[1] * t->ne[2] : 1);
    for (size_t i = 0; i < n; i++) {
        int64_t rows = out / (int64_t)n;
        if (found[i]) add_product(&p[i], a->strength, rows, in, dst + (int64_t)i * rows * in);
    }
}

static void end_patch(void *ctx) {
    applied *a = ctx;
    lora_unref(&a->l);
    mem_free(a);
}

diff_patch lora_patch(lora *l, lora_target target, const diff_weights *w, double strength) {
    applied *a = NEW(applied);
    *a = (applied){lora_ref(l), target, strength, count_res(w)};
    return (diff_patch){a, touches, apply, end_patch};
}

size_t lora_n_touched(lora *l, lora_target target, const diff_weights *w) {
    applied a = {l, target, 1, count_res(w)};
    const diff_file *f = diff_weights_file(w);
    str prefix = str_from(diff_weights_prefix(w));
    char name[NAME_BYTES];
    size_t n = 0;
    for (size_t i = 0; i < diff_file_n_tensors(f); i++) {
        str full = diff_file_at(f, i)->name;
        if (!str_starts(full, prefix) || full.len - prefix.len >= sizeof name) continue;
        snprintf(name, sizeof name, STR_FMT, STR_ARG(str_sub(full, prefix.len, full.len)));
        n += touches(&a, name);
    }
    return n;
}
