/* What flows between the nodes of pictures: the objects behind IMAGE, MASK, LATENT and the others.
 *
 * Each object is immutable once it is a flow_value; a node makes a new one. Memory is mem_alloc'ed
 * and owned by the object; *_destroy fits flow_value_object and accepts NULL. All numbers are f32
 * in host memory. Threads: see flow/data.h. */
#pragma once
#include "base/mem.h"
#include "flow/data.h"

/* Names of the types, as nodes and clients write them. flow_value_object compares by text. */
#define FLOW_IMAGE "IMAGE"
#define FLOW_MASK "MASK"
#define FLOW_LATENT "LATENT"
#define FLOW_CONDITIONING "CONDITIONING"
#define FLOW_MODEL "MODEL"
#define FLOW_CLIP "CLIP"
#define FLOW_VAE "VAE"
#define FLOW_SIGMAS "SIGMAS"
#define FLOW_SAMPLER "SAMPLER"
#define FLOW_GUIDER "GUIDER"
#define FLOW_NOISE "NOISE"

/* px [n, y, x, c], c 1, 3 or 4, nominally 0 to 1. */
typedef struct flow_image {
    size_t n, y, x, c;
    float *px;
} flow_image;

/* px [n, y, x], nominally 0 to 1. */
typedef struct flow_mask {
    size_t n, y, x;
    float *px;
} flow_mask;

/* px [n, c, y, x] in the model's latent units as samplers hand them over (not scaled for the VAE).
 * mask: NULL or where noise is put; batch_index: NULL or [n] the place of each row in its batch. */
typedef struct flow_latent {
    size_t n, c, y, x;
    float *px;
    flow_mask *mask;
    int64_t *batch_index;
} flow_latent;

void flow_image_destroy(void *image);
void flow_mask_destroy(void *mask);
void flow_latent_destroy(void *latent);

/* SIGMAS: descending noise levels [n]. */
typedef struct flow_sigmas {
    size_t n;
    float *v;
} flow_sigmas;
void flow_sigmas_destroy(void *sigmas);
