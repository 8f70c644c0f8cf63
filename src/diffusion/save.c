/* Networks to files. */
#include "diffusion/save.h"
#include "base/mem.h"
#include "base/vec.h"
#include "kern/kern_vec.h"
#include "os/file.h"
#include <string.h>

enum { NAME_BYTES = 512 };

typedef struct entry {
    const diff_save_part *part;
    const safetensors_tensor *t;
    char *name; /* below the network's prefix */
    dtype type; /* as it is written */
    uint64_t n_bytes;
    bool computed; /* else the file's bytes */
} entry;
typedef VEC(entry) entries;

static const char *type_name(dtype t) {
    switch ((int)t) {
    case DTYPE_F64:
        return "F64";
    case DTYPE_F32:
        return "F32";
    case DTYPE_F16:
        return "F16";
    case DTYPE_BF16:
        return "BF16";
    case DTYPE_F8_E4M3:
        return "F8_E4M3";
    case DTYPE_F8_E5M2:
        return "F8_E5M2";
    case DTYPE_I64:
        return "I64";
    case DTYPE_I32:
        return "I32";
    case DTYPE_I16:
        return "I16";
    case DTYPE_I8:
        return "I8";
    case DTYPE_U8:
        return "U8";
    case DTYPE_BOOL:
        return "BOOL";
    default:
        return NULL;
    }
}

/* ---- what goes into the file ---- */

static err_code add_tensor(entries *all, const diff_save_part *p, const safetensors_tensor *t,
                           str name, err *e) {
    entry x = {.part = p, .t = t, .type = t->type, .n_bytes = t->n_bytes};
    char text[NAME_BYTES];
    if (name.len >= sizeof text) FAIL(e, LIMIT, "a tensor's name of %zu bytes", name.len);
    memcpy(text, name.ptr, name.len);
    text[name.len] = '\0';
    if (strncmp(text, "down_blocks.", 12) == 0 || strncmp(text, "decoder.up_blocks.", 18) == 0 ||
        strncmp(text, "encoder.down_blocks.", 20) == 0)
        FAIL(e, UNSUPPORTED,
             STR_FMT ": this file has the names of diffusers (%s); models can be saved from files "
                     "in the original layout only",
             STR_ARG(diff_file_path(diff_weights_file(p->w))), text);
    x.computed = diff_weights_is_patched(p->w, text) || !type_name(t->type);
    if (x.computed && !dtype_get_info(t->type)->supported)
        FAIL(e, UNSUPPORTED, "%s: values of type %s cannot be read", text, dtype_name(t->type));
    if (x.computed) {
        if (t->type != DTYPE_F32 && t->type != DTYPE_BF16) x.type = DTYPE_F16;
        x.n_bytes = (uint64_t)diff_tensor_elems(t) * (x.type == DTYPE_F32 ? 4 : 2);
    }
    x.name = mem_dup(text, name.len + 1);
    VEC_PUSH(*all, x);
    return ERR_OK;
}

static err_code gather(const diff_save_job *job, entries *all, err *e) {
    const safetensors_tensor *t;
    str name;
    for (size_t p = 0; p < job->n_parts; p++) {
        const diff_save_part *part = &job->parts[p];
        for (size_t i = 0; (t = diff_weights_at(part->w, i, &name)); i++)
            if (name.len && (!part->only || str_starts(name, str_from(part->only))))
                TRY(add_tensor(all, part, t, name, e));
    }
    if (all->len == 0) FAIL(e, INVALID, "there is nothing to save");
    return ERR_OK;
}

/* ---- writing ---- */

static void put_name(buf *b, const char *prefix, const char *name) {
    buf_put_char(b, '"');
    for (const char *s = prefix; *s; s++) buf_put_char(b, *s);
    for (const char *s = name; *s; s++) {
        if (*s == '"' || *s == '\\') buf_put_char(b, '\\');
        if ((unsigned char)*s < 0x20)
            buf_putf(b, "\\u%04x", (unsigned)*s);
        else
            buf_put_char(b, *s);
    }
    buf_put_char(b, '"');
}

static void put_header(const diff_save_job *job, const entries *all, buf *b) {
    uint64_t at = 0;
    buf_put_char(b, '{');
    if (job->metadata.len) {
        buf_put_str(b, STR("\"__metadata__\":"));
        buf_put_str(b, job->metadata);
        buf_put_char(b, ',');
    }
    for (const char *const *m = job->marks; m && *m; m++) {
        put_name(b, "", *m);
        buf_put_str(b, STR(":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]},"));
    }
    for (size_t i = 0; i < all->len; i++) {
        const entry *x = &all->items[i];
        if (i) buf_put_char(b, ',');
        put_name(b, x->part->prefix, x->name);
        buf_putf(b, ":{\"dtype\":\"%s\",\"shape\":[", type_name(x->type));
        for (uint32_t d = x->t->n_dims; d-- > 0;)
            buf_putf(b, "%lld%s", (long long)x->t->ne[d], d ? "," : "");
        buf_putf(b, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)at,
                 (unsigned long long)(at + x->n_bytes));
        at += x->n_bytes;
    }
    buf_put_char(b, '}');
}

static err_code put_entry(file_writer *w, const entry *x, err *e) {
    if (!x->computed) return file_writer_put(w, x->t->data, x->n_bytes, e);
    float *v = diff_weights_read(x->part->w, x->name);
    int64_t n = diff_tensor_elems(x->t);
    if (!v) FAIL(e, INTERNAL, "%s cannot be read", x->name);
    if (x->type != DTYPE_F32) {
        uint16_t *half = mem_alloc((size_t)n * sizeof *half);
        if (x->type == DTYPE_F16)
            kern_vec_get(KERN_LEVEL_REF)->f32_to_f16(half, v, n);
        else
            for (int64_t i = 0; i < n; i++) half[i] = f32_to_bf16(v[i]);
        mem_free(v);
        v = (float *)(void *)half;
    }
    err_code code = file_writer_put(w, v, x->n_bytes, e);
    mem_free(v);
    return code;
}

static err_code put_all(const diff_save_job *job, const entries *all, file_writer *w, err *e) {
    buf head = {0};
    put_header(job, all, &head);
    uint64_t total = 0, done = 0;
    err_code code = safetensors_put_head(w, &head, e);
    for (size_t i = 0; i < all->len; i++) total += all->items[i].n_bytes;
    for (size_t i = 0; i < all->len && code == ERR_OK; i++) {
        code = put_entry(w, &all->items[i], e);
        done += all->items[i].n_bytes;
        if (code == ERR_OK && job->tick) code = job->tick(job->ctx, done, total, e);
    }
    return code ? code : file_writer_commit(w, e);
}

err_code diff_save(const char *path, const diff_save_job *job, err *e) {
    entries all = {0};
    file_writer w;
    err_code code = gather(job, &all, e);
    if (code == ERR_OK) code = file_writer_open(path, &w, e);
    if (code == ERR_OK) {
        code = put_all(job, &all, &w, e);
        if (code) file_writer_abort(&w);
    }
    for (size_t i = 0; i < all.len; i++) mem_free(all.items[i].name);
    VEC_FINISH(all);
    return code;
}

/* ---- parts ---- */

size_t diff_save_model(const diff_model *m, const char *prefix, diff_save_part *ret) {
    *ret = (diff_save_part){diff_net_weights(unet_net(m->net)), prefix, NULL};
    return 1;
}

/* "text_model." belongs to the layout of transformers; files of one encoder may be without it. */
static bool put_encoder(const clip_text *t, const char *with, const char *without,
                        diff_save_part *ret) {
    diff_weights *w = diff_net_weights(clip_text_net(t));
    bool has_base = diff_weights_has(w, "text_model.embeddings.token_embedding.weight");
    *ret = (diff_save_part){w, has_base ? with : without, NULL};
    return has_base || diff_weights_has(w, "embeddings.token_embedding.weight");
}

size_t diff_save_clip(const diff_clip *c, diff_save_part ret[2], err *e) {
    bool xl = c->family == DIFF_SDXL || c->family == DIFF_SDXL_REFINER;
    size_t n = 0;
    if (c->l)
        put_encoder(c->l,
                    xl ? "conditioner.embedders.0.transformer." : "cond_stage_model.transformer.",
                    xl ? "conditioner.embedders.0.transformer.text_model."
                       : "cond_stage_model.transformer.text_model.",
                    &ret[n++]);
    if (!c->g) return n;
    const char *prefix = c->family == DIFF_SD2    ? "cond_stage_model.model."
                         : c->family == DIFF_SDXL ? "conditioner.embedders.1.model."
                                                  : "conditioner.embedders.0.model.";
    if (put_encoder(c->g, prefix, prefix, &ret[n++])) {
        err_set(e, ERR_UNSUPPORTED,
                "the OpenCLIP text encoder has the names of transformers; it can be saved from a "
                "file in its own layout only");
        return 0;
    }
    return n;
}

size_t diff_save_vae(const vae *v, const char *prefix, diff_save_part *ret, err *e) {
    diff_net *n = vae_decoder(v) ? vae_decoder(v) : vae_encoder(v);
    if (!n || !vae_get_info(v)->can_band) {
        err_set(e, ERR_UNSUPPORTED, "this VAE is not of the KL kind: copy its files instead");
        return 0;
    }
    *ret = (diff_save_part){diff_net_weights(n), prefix, NULL};
    return 1;
}
