/* Checkpoints: recognising and opening. */
#include "diffusion/checkpoint.h"
#include "base/mem.h"
#include "diffusion/clip_tok.h"
#include "diffusion/lora.h"
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

enum { SDXL_CONTEXT = 2048, REFINER_CONTEXT = 1280, SD2_CONTEXT = 1024 };

static const char *const NET_PREFIXES[] = {"model.diffusion_model.", "diffusion_model.", ""};

const char *diff_family_name(diff_family f) {
    static const char *const NAMES[] = {"SD1.x", "SD2.x", "SDXL", "SDXL refiner"};
    return (unsigned)f < DIFF_FAMILY_COUNT ? NAMES[f] : "?";
}

/* ---- text ---- */

diff_clip *diff_clip_ref(diff_clip *c) {
    atomic_fetch_add(&c->refs, 1);
    return c;
}

void diff_clip_unref(diff_clip **cp) {
    diff_clip *c = *cp;
    *cp = NULL;
    if (!c || atomic_fetch_sub(&c->refs, 1) > 1) return;
    clip_text_unref(&c->l);
    clip_text_unref(&c->g);
    mem_free(c);
}

diff_clip *diff_clip_copy(const diff_clip *from) {
    diff_clip *c = mem_dup(from, sizeof *from);
    atomic_init(&c->refs, 1);
    if (c->l) clip_text_ref(c->l);
    if (c->g) clip_text_ref(c->g);
    return c;
}

static prompt_encoder encoder_of(const diff_clip *c, bool is_g, const prompt_embeddings *emb) {
    prompt_encoder p = {.clip = is_g ? c->g : c->l,
                        .pad = is_g ? 0 : CLIP_TOK_END,
                        .embed_key = is_g ? "clip_g" : "clip_l",
                        .embeddings = emb};
    bool xl = c->family == DIFF_SDXL || c->family == DIFF_SDXL_REFINER;
    p.layer = c->layer ? c->layer : c->family == DIFF_SD1 ? 0 : -2;
    p.final_norm = !xl;
    return p;
}

static diff_cond *cond_of(const prompt_result *a, const prompt_result *b) {
    diff_cond *c = diff_cond_new();
    int32_t n = a ? a->n_tokens : b->n_tokens, da = a ? a->width : 0, db = b ? b->width : 0;
    const prompt_result *last = b ? b : a;
    c->n_tokens = n;
    c->dim = da + db;
    c->vectors = diff_floats_new((size_t)n * (size_t)c->dim);
    for (int32_t i = 0; i < n; i++) {
        float *row = c->vectors->v + (size_t)i * (size_t)c->dim;
        if (a) memcpy(row, a->vectors + (size_t)i * (size_t)da, (size_t)da * sizeof *row);
        if (b) memcpy(row + da, b->vectors + (size_t)i * (size_t)db, (size_t)db * sizeof *row);
    }
    c->pooled = diff_floats_new((size_t)last->pooled_dim);
    memcpy(c->pooled->v, last->pooled, (size_t)last->pooled_dim * sizeof(float));
    return c;
}

static bool all_finite(const prompt_result *r) {
    for (int64_t i = 0; r->vectors && i < (int64_t)r->n_tokens * r->width; i++)
        if (!isfinite(r->vectors[i])) return false;
    return true;
}

err_code diff_clip_encode(diff_clip *c, const diff_texts *t, const diff_gate *gate, diff_cond **ret,
                          err *e) {
    prompt_encoder l = encoder_of(c, false, t->embeddings), g = encoder_of(c, true, t->embeddings);
    prompt_result rl = {0}, rg = {0};
    int32_t chunks = 1;
    if (c->l && c->g) {
        int32_t nl = prompt_chunks(&l, t->l), ng = prompt_chunks(&g, t->g);
        chunks = nl > ng ? nl : ng;
    }
    err_code code = ERR_OK;
    if (c->l) code = prompt_encode(&l, t->l, chunks, gate, &rl, e);
    if (c->g && code == ERR_OK) code = prompt_encode(&g, t->g, chunks, gate, &rg, e);
    if (code == ERR_OK && (!all_finite(&rl) || !all_finite(&rg)))
        code =
            err_set(e, ERR_DEVICE,
                    "the text encoder computed values that are not numbers: the file is damaged");
    if (code == ERR_OK) *ret = cond_of(c->l ? &rl : NULL, c->g ? &rg : NULL);
    prompt_result_finish(&rl);
    prompt_result_finish(&rg);
    return code;
}

/* ---- the network ---- */

static diff_family family_of(const unet_info *f) {
    if (f->context_dim >= SDXL_CONTEXT) return DIFF_SDXL;
    if (f->context_dim == REFINER_CONTEXT && f->adm_dim) return DIFF_SDXL_REFINER;
    return f->context_dim >= SD2_CONTEXT ? DIFF_SD2 : DIFF_SD1;
}

/* SD2 in its v form is told from its eps form by the spread of one bias. */
static bool looks_like_v(diff_weights *w) {
    const char *name = "output_blocks.11.1.transformer_blocks.0.norm1.bias";
    const safetensors_tensor *t = diff_weights_find(w, name);
    const float *v = t ? diff_floats(w, name) : NULL;
    double sum = 0, square = 0;
    if (!v || t->ne[0] < 2) return false;
    for (int64_t i = 0; i < t->ne[0]; i++) sum += (double)v[i];
    double mean = sum / (double)t->ne[0];
    for (int64_t i = 0; i < t->ne[0]; i++) square += ((double)v[i] - mean) * ((double)v[i] - mean);
    return sqrt(square / (double)(t->ne[0] - 1)) > 0.09;
}

static sigmas_params sigmas_of(const diff_file *f, diff_weights *w, diff_family family) {
    sigmas_params p = {.kind = SIGMAS_EPS};
    str told = diff_file_metadata(f, "modelspec.prediction_type");
    bool v = diff_file_find(f, "", "v_pred") || str_eq(told, STR("v")) ||
             str_eq(told, STR("v_prediction")) || (family == DIFF_SD2 && looks_like_v(w));
    if (v) p.kind = SIGMAS_V;
    p.zsnr = diff_file_find(f, "", "ztsnr") != NULL;
    return p;
}

static err_code open_model(dev *d, diff_file *f, const char *prefix, diff_model **ret, err *e) {
    unet *net;
    diff_weights *w = diff_weights_create(f, prefix);
    TRY(unet_create(d, w, &net, e));
    const unet_info *info = unet_get_info(net);
    diff_family family = family_of(info);
    sigmas_params p = sigmas_of(f, diff_net_weights(unet_net(net)), family);
    diff_model *m = NEW(diff_model);
    atomic_init(&m->refs, 1);
    m->net = net;
    m->mem = arena_create(0);
    bool xl = family == DIFF_SDXL || family == DIFF_SDXL_REFINER;
    m->latent_scale = xl ? DIFF_SCALE_SDXL : DIFF_SCALE_SD;
    m->latent_channels = info->out_channels;
    m->is_refiner = family == DIFF_SDXL_REFINER;
    m->preview = xl ? 2 : 1;
    err_code code = sigmas_model_create(m->mem, &p, &m->sigmas, e);
    if (code)
        diff_model_unref(&m);
    else
        *ret = m;
    return code;
}

/* The prefix below which the file has a network; NULL when it has none. */
static const char *net_prefix(const diff_file *f) {
    for (size_t i = 0; i < COUNT_OF(NET_PREFIXES); i++)
        if (diff_file_find(f, NET_PREFIXES[i], "input_blocks.0.0.weight")) return NET_PREFIXES[i];
    return NULL;
}

/* ---- parts ---- */

static bool has_clip(const diff_file *f, const char *prefix) {
    static const char *const MARKS[] = {"text_model.embeddings.token_embedding.weight",
                                        "embeddings.token_embedding.weight",
                                        "token_embedding.weight"};
    for (size_t i = 0; i < COUNT_OF(MARKS); i++)
        if (diff_file_find(f, prefix, MARKS[i])) return true;
    return false;
}

static err_code open_encoder(dev *d, diff_file *f, const char *prefix, diff_clip *c, err *e) {
    clip_text *t;
    if (!has_clip(f, prefix)) return ERR_OK;
    TRY(clip_text_create(d, diff_weights_create(f, prefix), &t, e));
    clip_text **slot = clip_text_get_info(t)->open_clip ? &c->g : &c->l;
    if (*slot) {
        clip_text_unref(&t);
        FAIL(e, INVALID, "two text encoders of one kind: one CLIP-L and one OpenCLIP are expected");
    }
    *slot = t;
    return ERR_OK;
}

static err_code open_clip(dev *d, diff_file *f, diff_family family, diff_clip **ret, err *e) {
    static const char *const PREFIXES[] = {
        "cond_stage_model.transformer.", "cond_stage_model.model.",
        "conditioner.embedders.0.transformer.", "conditioner.embedders.0.model.",
        "conditioner.embedders.1.model."};
    diff_clip *c = NEW(diff_clip);
    atomic_init(&c->refs, 1);
    c->family = family;
    err_code code = ERR_OK;
    for (size_t i = 0; i < COUNT_OF(PREFIXES) && code == ERR_OK; i++)
        code = open_encoder(d, f, PREFIXES[i], c, e);
    if (code || (!c->l && !c->g)) diff_clip_unref(&c);
    *ret = c;
    return code;
}

/* What a TAESD file's latents are multiplied by: told inside, or guessed from its name. */
static double tiny_scale(const diff_file *f) {
    const safetensors_tensor *t = diff_file_named(f, "vae_scale");
    float *v = t && diff_tensor_elems(t) == 1 ? diff_tensor_floats(t) : NULL;
    str path = diff_file_path(f);
    ptrdiff_t slash = str_rfind_char(path, '/');
    bool xl = str_find(str_sub(path, (size_t)(slash + 1), path.len), STR("xl")) >= 0;
    double scale = v && *v > 0 ? (double)*v : xl ? DIFF_SCALE_SDXL : DIFF_SCALE_SD;
    mem_free(v);
    return scale;
}

/* NULL when the file is no half of a TAESD. */
static diff_weights *tiny_half(diff_file *f, bool is_decoder) {
    diff_weights *w = diff_weights_create(f, "");
    if (!(is_decoder ? vae_is_tiny_decoder(w) : vae_is_tiny_encoder(w))) diff_weights_unref(&w);
    return w;
}

static err_code open_vae(dev *d, diff_file *f, vae **ret, err *e) {
    static const char *const PREFIXES[] = {"first_stage_model.", "vae.", ""};
    *ret = NULL;
    diff_weights *decoder = tiny_half(f, true), *encoder = tiny_half(f, false);
    if (decoder || encoder) return vae_create_tiny(d, decoder, encoder, tiny_scale(f), ret, e);
    for (size_t i = 0; i < COUNT_OF(PREFIXES); i++)
        if (diff_file_find(f, PREFIXES[i], "decoder.conv_in.weight") ||
            diff_file_find(f, PREFIXES[i], "encoder.conv_in.weight"))
            return vae_create(d, diff_weights_create(f, PREFIXES[i]), ret, e);
    return ERR_OK;
}

void diff_parts_finish(diff_parts *p) {
    diff_model_unref(&p->model);
    diff_clip_unref(&p->clip);
    vae_unref(&p->vae);
}

static err_code open_parts(dev *d, diff_file *f, diff_parts *p, err *e) {
    const char *prefix = net_prefix(f);
    if (!prefix)
        FAIL(e, FORMAT,
             "%.*s: no network of a known family inside (SD1.x, SD2.x, SDXL and their refiner and "
             "inpainting variants are known)",
             STR_ARG(diff_file_path(f)));
    TRY(open_model(d, f, prefix, &p->model, e));
    p->family = family_of(unet_get_info(p->model->net));
    TRY(open_clip(d, f, p->family, &p->clip, e));
    return open_vae(d, f, &p->vae, e);
}

err_code diff_checkpoint_open(dev *d, const char *path, diff_parts *ret, err *e) {
    diff_file *f;
    diff_parts p = {0};
    TRY(diff_file_open(path, &f, e));
    err_code code = open_parts(d, f, &p, e);
    diff_file_unref(&f);
    if (code)
        diff_parts_finish(&p);
    else
        *ret = p;
    return code;
}

err_code diff_model_open(dev *d, const char *path, diff_model **ret, err *e) {
    diff_file *f;
    TRY(diff_file_open(path, &f, e));
    const char *prefix = net_prefix(f);
    err_code code = prefix
                        ? open_model(d, f, prefix, ret, e)
                        : err_set(e, ERR_FORMAT, "%s: no network of a known family inside", path);
    diff_file_unref(&f);
    return code;
}

err_code diff_vae_open(dev *d, const char *path, vae **ret, err *e) {
    diff_file *f;
    vae *v = NULL;
    TRY(diff_file_open(path, &f, e));
    err_code code = open_vae(d, f, &v, e);
    if (code == ERR_OK && !v)
        code = err_set(e, ERR_FORMAT, "%s: no VAE of a known kind inside", path);
    if (code == ERR_OK) *ret = v;
    diff_file_unref(&f);
    return code;
}

static err_code open_tiny_half(const char *path, bool is_decoder, diff_weights **ret, err *e) {
    diff_file *f;
    TRY(diff_file_open(path, &f, e));
    *ret = tiny_half(f, is_decoder);
    diff_file_unref(&f);
    if (!*ret)
        FAIL(e, FORMAT, "%s: no %s of TAESD inside", path, is_decoder ? "decoder" : "encoder");
    return ERR_OK;
}

err_code diff_tiny_open(dev *d, const char *decoder, const char *encoder, double scale, vae **ret,
                        err *e) {
    diff_weights *dec = NULL, *enc = NULL;
    TRY(open_tiny_half(decoder, true, &dec, e));
    if (encoder && open_tiny_half(encoder, false, &enc, e)) {
        diff_weights_unref(&dec);
        return e->code;
    }
    return vae_create_tiny(d, dec, enc, scale, ret, e);
}

err_code diff_clip_open(dev *d, const char *const *paths, size_t n, diff_clip **ret, err *e) {
    static const char *const PREFIXES[] = {"", "transformer.", "cond_stage_model.transformer."};
    diff_clip *c = NEW(diff_clip);
    atomic_init(&c->refs, 1);
    err_code code = ERR_OK;
    for (size_t i = 0; i < n && code == ERR_OK; i++) {
        diff_file *f;
        code = diff_file_open(paths[i], &f, e);
        if (code) break;
        for (size_t k = 0; k < COUNT_OF(PREFIXES) && code == ERR_OK; k++)
            if (has_clip(f, PREFIXES[k])) {
                code = open_encoder(d, f, PREFIXES[k], c, e);
                break;
            }
        diff_file_unref(&f);
    }
    if (code == ERR_OK && !c->l && !c->g)
        code = err_set(e, ERR_FORMAT, "%s: no CLIP text encoder inside", n ? paths[0] : "");
    if (code) {
        diff_clip_unref(&c);
        return code;
    }
    c->family = c->l && c->g ? DIFF_SDXL : c->l ? DIFF_SD1 : DIFF_SD2;
    *ret = c;
    return ERR_OK;
}

/* ---- adapters ---- */

static diff_weights *patched(diff_net *n, lora *l, lora_target target, double strength) {
    diff_patch p = lora_patch(l, target, diff_net_weights(n), strength);
    return diff_weights_patched(diff_net_weights(n), &p);
}

err_code diff_model_with_lora(const diff_model *m, lora *l, double strength, diff_model **ret,
                              err *e) {
    unet *net;
    diff_net *old = unet_net(m->net);
    TRY(unet_create(diff_net_device(old), patched(old, l, LORA_UNET, strength), &net, e));
    diff_model *n = diff_model_copy(m);
    unet_unref(&n->net);
    n->net = net;
    *ret = n;
    return ERR_OK;
}

static err_code patch_encoder(clip_text **slot, lora *l, lora_target target, double strength,
                              err *e) {
    clip_text *t;
    if (!*slot) return ERR_OK;
    diff_net *old = clip_text_net(*slot);
    TRY(clip_text_create(diff_net_device(old), patched(old, l, target, strength), &t, e));
    clip_text_unref(slot);
    *slot = t;
    return ERR_OK;
}

err_code diff_clip_with_lora(const diff_clip *c, lora *l, double strength, diff_clip **ret,
                             err *e) {
    diff_clip *n = diff_clip_copy(c);
    err_code code = patch_encoder(&n->l, l, LORA_CLIP_L, strength, e);
    if (code == ERR_OK) code = patch_encoder(&n->g, l, LORA_CLIP_G, strength, e);
    if (code)
        diff_clip_unref(&n);
    else
        *ret = n;
    return code;
}

/* ---- defaults ---- */

static void read_resolution(str text, diff_defaults *d) {
    str rest = text, first = str_cut(&rest, 'x');
    int64_t w, h;
    if (!str_to_i64(str_trim(first), &w)) return;
    if (!str_to_i64(str_trim(rest), &h)) h = w;
    if (w < 64 || h < 64 || w > 4096 || h > 4096) return;
    d->width = (int32_t)(w / 8 * 8);
    d->height = (int32_t)(h / 8 * 8);
}

err_code diff_checkpoint_defaults(const char *path, diff_defaults *ret, err *e) {
    diff_file *f;
    TRY(diff_file_open(path, &f, e));
    const char *prefix = net_prefix(f);
    diff_defaults d = {512, 512, 20, 7, "euler", "normal"};
    const safetensors_tensor *adm =
        prefix ? diff_file_find(f, prefix, "label_emb.0.0.weight") : NULL;
    const safetensors_tensor *in =
        prefix ? diff_file_find(f, prefix, "input_blocks.0.0.weight") : NULL;
    if (adm) d.width = d.height = 1024;
    str told = diff_file_metadata(f, "modelspec.resolution");
    if (told.len) read_resolution(told, &d);
    if (in && in->ne[3] < 192) d.cfg = 3; /* very small networks */
    diff_file_unref(&f);
    if (!prefix) FAIL(e, FORMAT, "%s: no network of a known family inside", path);
    *ret = d;
    return ERR_OK;
}
