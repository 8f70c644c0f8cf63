/* Adapters: finding a tensor's change by any of the names it may have. */
#include "diffusion/lora.h"
#include "base/mem.h"
#include "diffusion/lora_delta.h"
#include "diffusion/names.h"
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

enum { NAME_BYTES = 512 };

struct lora {
    atomic_int refs;
    diff_file *file;
};

/* Where to look for a layer's change. */
typedef struct finder {
    const diff_file *file;
    bool is_bias;
} finder;

typedef struct applied {
    lora *l;
    lora_target target;
    double strength;
    int n_res; /* residual blocks a level */
} applied;

/* Kinds we do not know, by a part of their tensors' names. */
static const struct {
    const char *mark, *name;
} FOREIGN[] = {{".oft_blocks", "OFT"}, {".oft_diag", "BOFT"}, {".a1.weight", "GLoRA"}};

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

static void underscored(char *s) {
    for (; *s; s++)
        if (*s == '.') *s = '_';
}

/* prefix + name, with underscores for dots behind the prefix when asked. */
static bool try_name(const finder *f, const char *prefix, const char *name, bool flat,
                     adapter *ret) {
    char stem[NAME_BYTES];
    int n = snprintf(stem, sizeof stem, "%s%s", prefix, name);
    if (n < 0 || n >= NAME_BYTES) return false;
    if (flat) underscored(stem + strlen(prefix));
    return adapter_find(f->file, stem, f->is_bias, ret);
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

static bool find_unet(const finder *f, str base, int n_res, adapter *ret) {
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

static bool find_text(const finder *f, lora_target target, const char *name, adapter *ret) {
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
static size_t find_parts(const applied *a, const char *name, adapter ret[3], bool found[3]) {
    str base = str_from(name);
    char other[NAME_BYTES];
    found[0] = found[1] = found[2] = false;
    bool fused = str_ends(base, STR("attn.in_proj_weight"));
    finder f = {a->l->file, str_ends(base, STR(".bias"))};
    if (!fused && !f.is_bias && !str_ends(base, STR(".weight"))) return 0;
    base = str_sub(base, 0, base.len - (f.is_bias ? 5 : 7));
    if (a->target == LORA_UNET) {
        found[0] = find_unet(&f, base, a->n_res, &ret[0]);
        return found[0];
    }
    size_t n = fused ? 3 : 1, any = 0;
    for (size_t i = 0; i < n; i++) {
        if (open_clip_name(base, (int)i, other, sizeof other)) {
            found[i] = find_text(&f, a->target, other, &ret[i]);
        } else {
            snprintf(other, sizeof other, STR_FMT, STR_ARG(base));
            found[i] = find_text(&f, a->target, other, &ret[i]);
        }
        any += found[i];
    }
    return any ? n : 0;
}

/* ---- adding ---- */

static bool touches(void *ctx, const char *name) {
    adapter p[3];
    bool found[3];
    return find_parts(ctx, name, p, found) > 0;
}

static void apply(void *ctx, const char *name, const safetensors_tensor *t, float *dst) {
    const applied *a = ctx;
    adapter p[3];
    bool found[3];
    size_t n = find_parts(a, name, p, found);
    if (diff_tensor_elems(t) == 0) return;
    int64_t out = t->n_dims > 0 ? t->ne[t->n_dims - 1] : 1;
    int64_t pixels = t->n_dims == 4 ? t->ne[0] * t->ne[1] : 1;
    int64_t in = diff_tensor_elems(t) / out / pixels;
    for (size_t i = 0; i < n; i++) {
        int64_t rows = out / (int64_t)n;
        if (!found[i]) continue;
        adapter_add(&p[i], a->strength,
                    &(adapter_target){dst + (int64_t)i * rows * in * pixels, rows, in, pixels});
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
