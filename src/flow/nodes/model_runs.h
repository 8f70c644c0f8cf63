/* The run functions of loaders, text, conditioning, sampling and schedules, and what they share.
 * Each does what the class of its name does in ComfyUI. */
#pragma once
#include "diffusion/checkpoint.h"
#include "flow/env.h"
#include "flow/nodes/pixels.h"

#ifndef FLOW_RUN
#define FLOW_RUN(name) err_code name(flow_call *c, err *e)
#endif

/* ---- objects (model_objects.c) ---- */

/* A GUIDER: owns its conditionings' values. */
typedef struct flow_guider {
    diff_guide guide;
    flow_value *held[4]; /* values that guide borrows from */
} flow_guider;

/* A SAMPLER. */
typedef struct flow_sampler {
    const char *name; /* sampler_name()'s */
    sampler_settings set;
} flow_sampler;

/* A NOISE: a seed, or none. */
typedef struct flow_noise {
    bool none;
    uint64_t seed;
} flow_noise;

flow_env *md_env(const flow_call *c);
err_code md_in_model(const flow_call *c, const char *name, diff_model **ret, err *e);
err_code md_in_clip(const flow_call *c, const char *name, diff_clip **ret, err *e);
err_code md_in_vae(const flow_call *c, const char *name, vae **ret, err *e);
err_code md_in_conds(const flow_call *c, const char *name, const diff_conds **ret, err *e);
err_code md_in_sigmas(const flow_call *c, const char *name, const flow_sigmas **ret, err *e);
/* Each takes the object over. */
void md_out_model(flow_call *c, size_t slot, diff_model *m);
void md_out_clip(flow_call *c, size_t slot, diff_clip *k);
void md_out_vae(flow_call *c, size_t slot, vae *v);
void md_out_conds(flow_call *c, size_t slot, diff_conds *l);
/* Copies n sigmas. */
void md_out_sigmas(flow_call *c, size_t slot, const float *v, size_t n);
/* The file an input names, in the folder its row says; in the call's arena. */
err_code md_in_path(const flow_call *c, const char *name, const char *folder, char **ret, err *e);

/* ---- work on networks (work.c) ---- */

/* Pictures of y x x pixels each; `steps` 0 where there are none. */
typedef struct flow_work {
    const char *what; /* "sampling", "decoding", ... */
    size_t n, y, x, steps;
    const diff_net *net; /* or NULL */
} flow_work;
/* LIMIT when there are more pixels than one node may take: before anything is planned. */
err_code work_check_pixels(const flow_call *c, const flow_work *w, err *e);
/* LIMIT when it would take unreasonably long; then reserves the bytes, waiting for room:
 * DEVICE_NOMEM when they can never be had. Errors name node, values and the way out. */
err_code work_begin(const flow_call *c, const flow_work *w, const diff_cost *cost, err *e);
void work_end(const flow_call *c, const diff_cost *cost);

/* ---- previews (preview.c) ---- */

/* What shows a latent while it is sampled. */
typedef struct flow_watch {
    flow_call *c;
    const diff_model *model;
    int32_t y, x; /* of the latent */
    vae *tiny;    /* NULL = colours straight from the latent */
    diff_cost held;
} flow_watch;

/* The first file of vae_approx whose name begins so, one that can be read if there is one; NULL. */
char *preview_find(flow_call *c, const char *stem);
/* Opens the small decoder where it was asked for and is there. */
void preview_open(flow_watch *w);
void preview_close(flow_watch *w);
/* The first picture of x0 [n, c, y, x] in VAE units, as a JPEG to those who watch. */
void preview_show(const flow_watch *w, const float *x0);

/* load_run.c */
FLOW_RUN(load_checkpoint_run);
FLOW_RUN(load_unet_run);
FLOW_RUN(load_clip_run);
FLOW_RUN(load_dual_clip_run);
FLOW_RUN(load_vae_run);
FLOW_RUN(load_lora_run);
FLOW_RUN(load_lora_model_run);
/* text_run.c */
FLOW_RUN(text_encode_run);
FLOW_RUN(text_last_layer_run);
FLOW_RUN(text_encode_sdxl_run);
FLOW_RUN(text_encode_refiner_run);
/* conditioning_run.c */
FLOW_RUN(cond_combine_run);
FLOW_RUN(cond_average_run);
FLOW_RUN(cond_concat_run);
FLOW_RUN(cond_area_run);
FLOW_RUN(cond_area_percent_run);
FLOW_RUN(cond_strength_run);
FLOW_RUN(cond_mask_run);
FLOW_RUN(cond_zero_run);
FLOW_RUN(cond_multiply_run);
FLOW_RUN(cond_range_run);
/* vae_run.c */
FLOW_RUN(vae_decode_run);
FLOW_RUN(vae_decode_tiled_run);
FLOW_RUN(vae_encode_run);
FLOW_RUN(vae_encode_tiled_run);
FLOW_RUN(vae_encode_inpaint_run);
FLOW_RUN(cond_inpaint_run);
FLOW_RUN(cond_edit_run);
/* sample_run.c */
FLOW_RUN(sample_run);
FLOW_RUN(sample_advanced_run);
FLOW_RUN(sample_custom_run);
FLOW_RUN(sample_custom_advanced_run);
FLOW_RUN(guider_basic_run);
FLOW_RUN(guider_cfg_run);
FLOW_RUN(guider_dual_run);
FLOW_RUN(guider_perp_neg_run);
FLOW_RUN(noise_random_run);
FLOW_RUN(noise_none_run);
FLOW_RUN(noise_add_run);
/* sampler_run.c */
FLOW_RUN(sampler_select_run);
FLOW_RUN(sampler_named_run); /* the Sampler* classes */
/* schedule_run.c */
FLOW_RUN(schedule_basic_run);
FLOW_RUN(schedule_beta_run);
FLOW_RUN(schedule_turbo_run);
FLOW_RUN(sigmas_percent_run);
/* patch_run.c */
FLOW_RUN(patch_discrete_run);
FLOW_RUN(patch_continuous_edm_run);
FLOW_RUN(patch_continuous_v_run);
FLOW_RUN(patch_guidance_run); /* changes of guidance by numbers alone */
FLOW_RUN(patch_fresca_run);
FLOW_RUN(patch_tiles_run);
FLOW_RUN(patch_shrink_run);
FLOW_RUN(patch_operation_run);
FLOW_RUN(patch_easy_cache_run);
FLOW_RUN(patch_lazy_cache_run);
/* merge_run.c */
FLOW_RUN(merge_simple_run);
FLOW_RUN(merge_blocks_run);
FLOW_RUN(merge_subtract_run);
FLOW_RUN(merge_add_run);
FLOW_RUN(merge_clip_simple_run);
FLOW_RUN(merge_clip_subtract_run);
FLOW_RUN(merge_clip_add_run);
FLOW_RUN(scale_self_run);
FLOW_RUN(scale_cross_run);
FLOW_RUN(scale_clip_run);
/* save_run.c */
FLOW_RUN(save_checkpoint_run);
FLOW_RUN(save_model_run);
FLOW_RUN(save_clip_run);
FLOW_RUN(save_vae_run);
FLOW_RUN(save_adapter_run);
