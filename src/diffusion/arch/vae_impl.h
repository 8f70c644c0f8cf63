/* Inside the autoencoders: the object, and how the KL networks are described piece by piece. vae.c
 * runs them whole, vae_band.c by bands; vae_tiny.c is TAESD. Only these include this. */
#pragma once
#include "diffusion/arch/layers.h"
#include "diffusion/arch/vae.h"
#include <stdatomic.h>

/* Kinds of diff_shape: whole networks; what of a decoder is before its first upsampling, what of an
 * encoder is behind its last downsampling; bands of the rest (context: stop + 1, extra: segment).
 */
enum { VAE_DECODE = 1, VAE_ENCODE, VAE_HEAD, VAE_TAIL, VAE_BAND_DECODE, VAE_BAND_ENCODE };
enum { VAE_LEVELS_MAX = 8, VAE_BLOCKS_MAX = 16 };

struct vae {
    atomic_int refs;
    diff_net *decoder, *encoder; /* NULL = none; the same for both where they are one */
    vae_info info;
    double scale; /* of latents, before the decoder and after the encoder */
};

/* A description at work. Whole: norms find their statistics themselves. By bands: `given` holds
 * the factors of one norm after another, and the description ends at the input of norm number
 * `stop`, which is the result then. */
typedef struct vae_maker {
    layers l;
    graph_t given; /* NULL = whole */
    int32_t stop;  /* < 0 = to the end */
    int32_t n_norms, n_given;
    graph_t cut; /* where it stopped, or NULL */
} vae_maker;

graph_t vae_norm(vae_maker *m, const char *at, const char *name, graph_t x, const dev_conv *p);
graph_t vae_conv(vae_maker *m, const char *at, const char *name, graph_t x, const graph_conv *c);
graph_t vae_res_block(vae_maker *m, const char *at, graph_t x);
graph_t vae_up(vae_maker *m, const char *level, graph_t x);
graph_t vae_down(vae_maker *m, const char *level, graph_t x);
graph_t vae_out(vae_maker *m, graph_t x); /* norm and conv at the decoder's end */
extern const dev_conv VAE_NORM_SILU;

/* The highest level whose size changes; -1 when there is none. */
int vae_last_level(const diff_weights *w, bool decode);
void vae_band_build(diff_weights *w, graph *g, const diff_shape *s);
