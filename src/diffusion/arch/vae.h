/* Autoencoders: pictures to latents and back.
 *
 * AutoencoderKL of the SD families (names of the original layout: encoder., decoder., quant_conv,
 * post_quant_conv) and the small TAESD decoders and encoders. Pictures here are in the network's
 * own range, -1 to 1; latents unscaled. Every dimension is read from the tensors.
 * Source: Rombach et al., 2022; TAESD, github.com/madebyollin/taesd (architecture only). */
#pragma once
#include "diffusion/net.h"

typedef struct vae vae;

typedef struct vae_info {
    int32_t z_channels; /* of a latent */
    int32_t factor;     /* pixels to a latent cell, each way */
    bool can_encode, can_decode;
} vae_info;

/* Takes w's reference, also on failure. */
err_code vae_create(dev *d, diff_weights *w, vae **ret, err *e);
vae *vae_ref(vae *v);
void vae_unref(vae **v);
const vae_info *vae_get_info(const vae *v);
diff_net *vae_net(const vae *v);

diff_shape vae_decode_shape(int32_t y, int32_t x); /* of latent size y, x; one picture at a time */
diff_shape vae_encode_shape(int32_t y, int32_t x); /* of picture size y, x: multiples of factor */
/* z [N, z_channels, y, x] -> ret [N, y factor, x factor, 3]. */
err_code vae_decode(vae *v, const float *z, const int32_t nyx[3], const diff_gate *gate, float *ret,
                    err *e);
/* px [N, y, x, 3] -> ret [N, z_channels, y / factor, x / factor], the mean. */
err_code vae_encode(vae *v, const float *px, const int32_t nyx[3], const diff_gate *gate,
                    float *ret, err *e);
