/* Autoencoders: pictures to latents and back.
 *
 * AutoencoderKL of the SD families (names of the original layout: encoder., decoder., quant_conv,
 * post_quant_conv), the small TAESD decoders and encoders, and one that keeps pixels as they are.
 * Pictures here are in the network's own range, -1 to 1; latents unscaled. Every dimension is read
 * from the tensors.
 * Source: Rombach et al., 2022; TAESD, github.com/madebyollin/taesd (architecture only). */
#pragma once
#include "diffusion/net.h"

typedef struct vae vae;

typedef struct vae_info {
    int32_t z_channels; /* of a latent */
    int32_t factor;     /* pixels to a latent cell, each way */
    bool can_encode, can_decode;
    bool can_band; /* of the KL kind */
} vae_info;

/* Takes w's reference, also on failure. */
err_code vae_create(dev *d, diff_weights *w, vae **ret, err *e);
/* TAESD: its halves may lie in two files; either may be NULL. A latent times `scale` is what the
 * networks see. Takes both references, also on failure. */
bool vae_is_tiny_decoder(const diff_weights *w);
bool vae_is_tiny_encoder(const diff_weights *w);
err_code vae_create_tiny(dev *d, diff_weights *decoder, diff_weights *encoder, double scale,
                         vae **ret, err *e);
/* No network: a latent is the picture. */
vae *vae_create_plain(void);
vae *vae_ref(vae *v);
void vae_unref(vae **v);
const vae_info *vae_get_info(const vae *v);
/* The halves' networks, one for both where they are one; NULL where there is none. */
diff_net *vae_decoder(const vae *v);
diff_net *vae_encoder(const vae *v);
double vae_get_scale(const vae *v); /* TAESD's; 1 for others */

/* Of a latent or picture of y, x in one piece (one picture at a time; pictures: multiples of
 * factor). Nothing without a network. */
err_code vae_decode_cost(vae *v, const int32_t yx[2], diff_cost *ret, err *e);
err_code vae_encode_cost(vae *v, const int32_t yx[2], diff_cost *ret, err *e);
/* z [N, z_channels, y, x] -> ret [N, y factor, x factor, 3]. */
err_code vae_decode(vae *v, const float *z, const int32_t nyx[3], const diff_gate *gate, float *ret,
                    err *e);
/* px [N, y, x, 3] -> ret [N, z_channels, y / factor, x / factor], the mean. */
err_code vae_encode(vae *v, const float *px, const int32_t nyx[3], const diff_gate *gate,
                    float *ret, err *e);

/* By bands: the same numbers from less memory, in about twice the time, for KL networks. Where
 * pictures are larger than latents, layers run on bands of rows; each norm's statistics are summed
 * over the whole picture before it is applied, so there are no seams. n pictures one by one.
 * decode: z to picture, as vae_decode; else as vae_encode. */
typedef struct vae_bands {
    bool decode;
    int32_t nyx[3]; /* of the latents, or of the pictures */
    int32_t rows;   /* of a band, in rows of its input; 0 = what keeps a band in some 50 MB */
} vae_bands;
/* plan: bytes of everything held at once. */
err_code vae_band_cost(vae *v, const vae_bands *b, diff_cost *ret, err *e);
err_code vae_band_run(vae *v, const vae_bands *b, const float *src, const diff_gate *gate,
                      float *ret, err *e);
