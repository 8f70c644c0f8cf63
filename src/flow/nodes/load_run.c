/* Loaders. */
#include "diffusion/lora.h"
#include "flow/nodes/model_runs.h"

err_code load_checkpoint_run(flow_call *c, err *e) {
    char *path;
    diff_parts p;
    TRY(md_in_path(c, "ckpt_name", "checkpoints", &path, e));
    TRY(diff_checkpoint_open(md_env(c)->d, path, &p, e));
    md_out_model(c, 0, p.model);
    if (p.clip)
        md_out_clip(c, 1, p.clip);
    else
        flow_out(c, 1,
                 flow_value_block(STR("this checkpoint has no text encoder: load one with "
                                      "CLIPLoader")));
    if (p.vae)
        md_out_vae(c, 2, p.vae);
    else
        flow_out(c, 2,
                 flow_value_block(STR("this checkpoint has no VAE: load one with VAELoader")));
    return ERR_OK;
}

err_code load_unet_run(flow_call *c, err *e) {
    char *path;
    diff_model *m;
    TRY(md_in_path(c, "unet_name", "diffusion_models", &path, e));
    TRY(diff_model_open(md_env(c)->d, path, &m, e));
    md_out_model(c, 0, m);
    return ERR_OK;
}

static err_code load_clips(flow_call *c, const char *const *names, size_t n, err *e) {
    const char *paths[2];
    diff_clip *k;
    for (size_t i = 0; i < n; i++) {
        char *path;
        TRY(md_in_path(c, names[i], "text_encoders", &path, e));
        paths[i] = path;
    }
    TRY(diff_clip_open(md_env(c)->d, paths, n, &k, e));
    md_out_clip(c, 0, k);
    return ERR_OK;
}

err_code load_clip_run(flow_call *c, err *e) {
    return load_clips(c, (const char *const[]){"clip_name"}, 1, e);
}

err_code load_dual_clip_run(flow_call *c, err *e) {
    return load_clips(c, (const char *const[]){"clip_name1", "clip_name2"}, 2, e);
}

/* "taesd" and "taesdxl": two files of vae_approx. */
static err_code load_tiny(flow_call *c, bool xl, err *e) {
    vae *v;
    char *dec = preview_find(c, xl ? "taesdxl_decoder" : "taesd_decoder");
    char *enc = preview_find(c, xl ? "taesdxl_encoder" : "taesd_encoder");
    const char *name = xl ? "taesdxl" : "taesd";
    if (!dec || !enc)
        FAIL(e, NOT_FOUND,
             "vae_name: %s needs %s_decoder.safetensors and %s_encoder.safetensors "
             "in the folder vae_approx",
             name, name, name);
    TRY(diff_tiny_open(md_env(c)->d, dec, enc, xl ? DIFF_SCALE_SDXL : DIFF_SCALE_SD, &v, e));
    md_out_vae(c, 0, v);
    return ERR_OK;
}

err_code load_vae_run(flow_call *c, err *e) {
    char *path;
    vae *v;
    str name;
    TRY(flow_in_text(c, "vae_name", &name, e));
    if (str_eq(name, STR("taesd"))) return load_tiny(c, false, e);
    if (str_eq(name, STR("taesdxl"))) return load_tiny(c, true, e);
    if (str_eq(name, STR("pixel_space"))) {
        md_out_vae(c, 0, vae_create_plain());
        return ERR_OK;
    }
    TRY(md_in_path(c, "vae_name", "vae", &path, e));
    TRY(diff_vae_open(md_env(c)->d, path, &v, e));
    md_out_vae(c, 0, v);
    return ERR_OK;
}

/* ---- LoRA ---- */

static bool is_zero(double v) {
    return !(v < 0) && !(v > 0);
}

static err_code patch_model(flow_call *c, lora *l, double strength, err *e) {
    diff_model *m, *n;
    TRY(md_in_model(c, "model", &m, e));
    if (is_zero(strength))
        n = diff_model_ref(m);
    else
        TRY(diff_model_with_lora(m, l, strength, &n, e));
    md_out_model(c, 0, n);
    return ERR_OK;
}

static err_code patch_clip(flow_call *c, lora *l, double strength, err *e) {
    diff_clip *k, *n;
    TRY(md_in_clip(c, "clip", &k, e));
    if (is_zero(strength))
        n = diff_clip_ref(k);
    else
        TRY(diff_clip_with_lora(k, l, strength, &n, e));
    md_out_clip(c, 1, n);
    return ERR_OK;
}

static err_code open_lora(flow_call *c, lora **ret, err *e) {
    char *path;
    TRY(md_in_path(c, "lora_name", "loras", &path, e));
    return lora_open(path, ret, e);
}

err_code load_lora_run(flow_call *c, err *e) {
    lora *l;
    double model, clip;
    TRY(flow_in_float(c, "strength_model", &model, e));
    TRY(flow_in_float(c, "strength_clip", &clip, e));
    TRY(open_lora(c, &l, e));
    err_code code = patch_model(c, l, model, e);
    if (code == ERR_OK) code = patch_clip(c, l, clip, e);
    lora_unref(&l);
    return code;
}

err_code load_lora_model_run(flow_call *c, err *e) {
    lora *l;
    double model;
    TRY(flow_in_float(c, "strength_model", &model, e));
    TRY(open_lora(c, &l, e));
    err_code code = patch_model(c, l, model, e);
    lora_unref(&l);
    return code;
}
