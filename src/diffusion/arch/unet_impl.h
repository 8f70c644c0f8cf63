/* Inside the UNet: a builder at work, and what changes to it mean. Only unet*.c include this. */
#pragma once
#include "diffusion/arch/layers.h"
#include "diffusion/arch/unet.h"

/* Bits of diff_shape.kind. */
enum {
    SHAPE_PERTURBED = 1,
    SHAPE_FREEU = 2,
    SHAPE_FREEU_ADAPTIVE = 4,
    SHAPE_MASS = 8,
    SHAPE_SHRINK = 16,
    SHAPE_SHRINK_AFTER_SKIP = 32
};

/* Places of diff_shape.tune. */
enum {
    TUNE_FREEU = 0,  /* backbone, backbone, skip, skip */
    TUNE_MERGE = 4,  /* how many tokens join others */
    TUNE_SHRINK = 5, /* block, the factor as a float and what that lacks, methods down and up */
    TUNE_TILES = 10  /* rows, cols of each level */
};

/* A builder at work: names are `at` plus what is asked for. */
typedef struct maker {
    layers l;
    const diff_shape *s;
    graph_t emb;     /* SiLU of the timestep's embedding [4 channels, B] */
    graph_t context; /* [context_dim, S, B] */
    int32_t n_heads;
    int64_t up_x, up_y; /* size after the next upsampling */
    bool in_middle;     /* the next self-attention is the middle block's first */
    graph_t picks;      /* of all layers that merge tokens, or NULL */
    int32_t n_picked;   /* of them used so far */
} maker;

/* x + self-attention of h (x normed), as the shape wants it. `at` ends in "attn1." */
graph_t unet_self_attention(maker *m, const char *at, graph_t x, graph_t h);
/* Attention of x's tokens to those of context, + residual. */
graph_t unet_attention(maker *m, const char *at, graph_t x, graph_t context, graph_t residual);
/* Layers that merge tokens: those whose tokens are the latent's cells. */
int32_t unet_n_merging(const diff_weights *w);
