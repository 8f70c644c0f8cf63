/* The run functions of the picture, mask and latent tables. Each does what the class of its name
 * does in ComfyUI, value for value; its inputs are those of the table's row. */
#pragma once
#include "flow/call.h"

#define FLOW_RUN(name) err_code name(flow_call *c, err *e)

/* image_size.c */
FLOW_RUN(image_scale_run);
FLOW_RUN(image_scale_by_run);
FLOW_RUN(image_scale_to_total_pixels_run);
FLOW_RUN(image_scale_to_max_dimension_run);
FLOW_RUN(image_resize_and_pad_run);
FLOW_RUN(image_kontext_scale_run);
FLOW_RUN(image_crop_run);
FLOW_RUN(image_flip_run);
FLOW_RUN(image_rotate_run);
FLOW_RUN(image_pad_for_outpaint_run);
FLOW_RUN(image_get_size_run);
/* image_batch.c */
FLOW_RUN(image_empty_run);
FLOW_RUN(image_batch_run);
FLOW_RUN(image_rebatch_run);
FLOW_RUN(image_repeat_batch_run);
FLOW_RUN(image_from_batch_run);
FLOW_RUN(image_stitch_run);
/* image_mix.c */
FLOW_RUN(image_composite_masked_run);
FLOW_RUN(image_blend_run);
FLOW_RUN(image_porter_duff_run);
FLOW_RUN(image_join_alpha_run);
FLOW_RUN(image_split_alpha_run);
/* image_filter.c */
FLOW_RUN(image_invert_run);
FLOW_RUN(image_blur_run);
FLOW_RUN(image_sharpen_run);
FLOW_RUN(image_quantize_run);
FLOW_RUN(image_add_noise_run);
FLOW_RUN(image_rgb_to_yuv_run);
FLOW_RUN(image_yuv_to_rgb_run);
FLOW_RUN(image_canny_run);
FLOW_RUN(image_morphology_run);
/* image_load.c */
FLOW_RUN(image_load_run);
FLOW_RUN(image_load_mask_run);
FLOW_RUN(image_load_changed);
FLOW_RUN(image_preview_changed);
/* image_save.c */
FLOW_RUN(image_save_run);
FLOW_RUN(image_preview_run);
FLOW_RUN(image_save_animated_png_run);
FLOW_RUN(image_save_animated_webp_run);
FLOW_RUN(image_save_websocket_run);
FLOW_RUN(mask_preview_run);
/* mask_run.c */
FLOW_RUN(mask_to_image_run);
FLOW_RUN(mask_from_image_run);
FLOW_RUN(mask_from_color_run);
FLOW_RUN(mask_solid_run);
FLOW_RUN(mask_invert_run);
FLOW_RUN(mask_crop_run);
FLOW_RUN(mask_composite_run);
FLOW_RUN(mask_feather_run);
FLOW_RUN(mask_grow_run);
FLOW_RUN(mask_threshold_run);
/* latent_size.c */
FLOW_RUN(latent_empty_run);
FLOW_RUN(latent_empty_16_run);
FLOW_RUN(latent_empty_hunyuan_run);
FLOW_RUN(latent_empty_pixels_run);
FLOW_RUN(latent_empty_cascade_run);
FLOW_RUN(latent_upscale_run);
FLOW_RUN(latent_upscale_by_run);
FLOW_RUN(latent_composite_run);
FLOW_RUN(latent_composite_masked_run);
FLOW_RUN(latent_rotate_run);
FLOW_RUN(latent_flip_run);
FLOW_RUN(latent_crop_run);
FLOW_RUN(latent_concat_run);
FLOW_RUN(latent_cut_run);
/* latent_batch.c */
FLOW_RUN(latent_from_batch_run);
FLOW_RUN(latent_repeat_batch_run);
FLOW_RUN(latent_batch_run);
FLOW_RUN(latent_rebatch_run);
FLOW_RUN(latent_seed_behavior_run);
FLOW_RUN(latent_set_noise_mask_run);
/* latent_mix.c */
FLOW_RUN(latent_blend_run);
FLOW_RUN(latent_add_run);
FLOW_RUN(latent_subtract_run);
FLOW_RUN(latent_multiply_run);
FLOW_RUN(latent_interpolate_run);
FLOW_RUN(latent_apply_operation_run);
FLOW_RUN(latent_tonemap_run);
FLOW_RUN(latent_sharpen_run);
/* latent_files.c */
FLOW_RUN(latent_save_run);
FLOW_RUN(latent_load_run);
FLOW_RUN(latent_load_changed);
