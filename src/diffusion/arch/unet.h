/* The denoising network of SD1.x, SD2.x, SDXL and their refiners and inpainting variants.
 *
 * Everything but the number of heads is read from the tensors' names and shapes. Layout of the
 * names: the original (LDM). Source: Rombach et al., "High-Resolution Image Synthesis with Latent
 * Diffusion Models", 2022; Podell et al., "SDXL", 2023. */
#pragma once
#include "diffusion/net.h"

typedef struct unet unet;

typedef struct unet_info {
    int32_t in_channels;  /* of the network: 4, or 9 with a mask and a picture beside */
    int32_t out_channels; /* of the latent */
    int32_t channels;     /* of the first level; the timestep's sinusoids too */
    int32_t context_dim;  /* width of the text's vectors */
    int32_t adm_dim;      /* width of the vector beside the timestep; 0 = none */
    int32_t n_heads;      /* 0 = heads of 64 */
    int32_t n_levels;     /* halvings of the latent + 1 */
} unet_info;

/* FORMAT when the tensors are not such a network. Takes w's reference, also on failure. */
err_code unet_create(dev *d, diff_weights *w, unet **ret, err *e);
unet *unet_ref(unet *u);
void unet_unref(unet **u);
const unet_info *unet_get_info(const unet *u);
diff_net *unet_net(const unet *u);

/* FreeU: of levels four times as wide as the first, and of those twice as wide. */
typedef struct unet_freeu {
    bool on, adaptive;
    float backbone[2], skip[2];
} unet_freeu;

/* HyperTile (tfernd, 2023): self-attention of tokens halved i times goes on inside rows[i] x
 * cols[i] tiles; 0 = none. */
enum { UNET_TILED_LEVELS = 4 };
typedef struct unet_tiles {
    int32_t rows[UNET_TILED_LEVELS], cols[UNET_TILED_LEVELS];
} unet_tiles;

/* "Deep shrink" (Kohya, 2023): after block `block` of the down side the picture is smaller by
 * `factor`, until it joins what was kept. */
typedef struct unet_shrink {
    bool on, after_skip;
    int32_t block;
    double factor;
    resize_method down, up;
} unet_shrink;

typedef struct unet_input {
    const float *x;       /* [B, in_channels, Y, X] */
    int32_t n, y, x_len;  /* B, Y, X */
    const float *time;    /* [B] timesteps, may be fractions */
    const float *context; /* [B, n_context, context_dim] */
    int32_t n_context;
    const float *adm; /* [B, adm_dim], or NULL */
    unet_freeu freeu;
    bool perturbed; /* self-attention of the middle block's first layer gives its values */
    unet_tiles tiles;
    double merge; /* share of the latent's cells that ask together with others in self-attention */
    const float *picks; /* [unet_n_picks] 0 to 3, where cells are merged: DEV_OP_TOKEN_BEST */
    unet_shrink shrink;
    /* Filled where it is not NULL: what the middle block's first self-attention gives to each of
     * its tokens, [B, Y', X'] of unet_middle_size(); up to Y X. */
    float *mass;
} unet_input;
diff_shape unet_shape(const unet *u, const unet_input *in);
int64_t unet_n_picks(const unet *u, int32_t y, int32_t x);
void unet_middle_size(const unet *u, const unet_input *in, int32_t ret_yx[2]);
/* ret [B, out_channels, Y, X]. */
err_code unet_eval(unet *u, const unet_input *in, const diff_gate *gate, float *ret, err *e);

/* Sinusoids of t, [dim]: cosines, then sines, of t * 10000^(-i / (dim/2)). */
void unet_sinusoids(double t, int32_t dim, float *ret);
