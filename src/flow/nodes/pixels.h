/* What the picture, mask and latent nodes share: making values of checked size, reading inputs,
 * resizing with ComfyUI's crop, batches, and compositing.
 *
 * Everything here works on whole float blocks in host memory. Pictures are [B, Y, X, C], masks
 * [B, Y, X], latents [B, C, Y, X] (flow/objects.h). Objects under construction belong to the
 * caller until px_out_* hands them over; px_*_drop ends one that was not. Threads: the one that
 * runs the workflow. */
#pragma once
#include "flow/call.h"
#include "flow/objects.h"
#include "image/resize.h"

/* Values not initialised; LIMIT when larger than base/limits.h allows, naming the size. */
err_code px_image_new(size_t n, size_t y, size_t x, size_t c, flow_image **ret, err *e);
err_code px_mask_new(size_t n, size_t y, size_t x, flow_mask **ret, err *e);
err_code px_latent_new(size_t n, size_t c, size_t y, size_t x, flow_latent **ret, err *e);
/* Of the size of `like`; a latent takes over copies of its mask and batch index. */
err_code px_image_like(const flow_image *like, flow_image **ret, err *e);
err_code px_mask_like(const flow_mask *like, flow_mask **ret, err *e);
err_code px_latent_like(const flow_latent *like, size_t y, size_t x, flow_latent **ret, err *e);
err_code px_mask_copy(const flow_mask *from, flow_mask **ret, err *e);

/* Destructors for CLEANUP: they take the address of the pointer. */
void px_image_drop(flow_image **im);
void px_mask_drop(flow_mask **m);
void px_latent_drop(flow_latent **l);

/* The objects at an input; the bytes are borrowed. */
err_code px_in_image(const flow_call *c, const char *name, const flow_image **ret, err *e);
err_code px_in_mask(const flow_call *c, const char *name, const flow_mask **ret, err *e);
err_code px_in_latent(const flow_call *c, const char *name, const flow_latent **ret, err *e);
/* An INT at an input whose declared minimum is 0 or more. */
err_code px_in_size(const flow_call *c, const char *name, size_t *ret, err *e);
/* Sets an output slot; takes the object over. */
void px_out_image(flow_call *c, size_t slot, flow_image *im);
void px_out_mask(flow_call *c, size_t slot, flow_mask *m);
void px_out_latent(flow_call *c, size_t slot, flow_latent *l);
/* The object as a value of its own, for lists; takes it over. */
flow_value *px_image_value(flow_image *im);
flow_value *px_latent_value(flow_latent *l);

size_t px_image_len(const flow_image *im);  /* values */
size_t px_latent_len(const flow_latent *l); /* values, without the mask */
size_t px_mask_len(const flow_mask *m);     /* values */
resize_dims px_image_dims(const flow_image *im);
resize_dims px_mask_dims(const flow_mask *m);
resize_dims px_latent_dims(const flow_latent *l);

/* common_upscale: with `center` the middle of the aspect ratio asked for is cut out first.
 * dst [n, to.y, to.x, c] in the layout of `from`. */
err_code px_upscale(const float *src, const resize_dims *from, resize_target to, bool center,
                    float *dst, err *e);
err_code px_image_upscale(const flow_image *from, resize_target to, bool center, flow_image **ret,
                          err *e);
err_code px_latent_upscale(const flow_latent *from, resize_target to, bool center,
                           flow_latent **ret, err *e);
err_code px_mask_upscale(const flow_mask *from, size_t y, size_t x, flow_mask **ret, err *e);
/* The resize method an input names. */
err_code px_in_method(const flow_call *c, const char *name, resize_method *ret, err *e);
/* Quarters of a turn, of "none", "90 degrees" and so on. */
err_code px_in_quarters(const flow_call *c, const char *name, int *ret, err *e);

/* A block with its values, for what pictures and latents have in common. */
typedef struct px_block {
    resize_dims d;
    float *px;
} px_block;
static inline size_t px_at(const resize_dims *d, size_t n, size_t y, size_t x, size_t c) {
    return d->planar ? ((n * d->c + c) * d->y + y) * d->x + x
                     : ((n * d->y + y) * d->x + x) * d->c + c;
}

/* Puts src over dst at (x, y), both in dst's own units; src repeats to dst's batch, the mask
 * (NULL: 1 everywhere) is stretched to src. What leaves dst is cut. */
typedef struct px_composite_params {
    size_t x, y;
    bool stretch; /* src to the size of dst first */
    const flow_mask *mask;
} px_composite_params;
err_code px_composite(px_block *dst, const px_block *src, const px_composite_params *p, err *e);

/* Quarter turns clockwise of [outer, y, x, inner]; dst has y and x swapped for odd turns. */
void px_rotate(const px_block *src, int quarters, float *dst);
/* Mirrors top and bottom, or left and right. */
void px_flip(const px_block *src, bool upside_down, float *dst);
/* Copies a rectangle that lies inside src into dst at (y, x), which it must fit into; all batch
 * entries and channels, dst may have another size but the same layout, batch and channels. */
void px_paste(const px_block *src, resize_rect r, px_block *dst, size_t y, size_t x);

static inline float px_clamp01(float v) {
    return v < 0.0f ? 0.0f : v > 1.0f ? 1.0f : v;
}
