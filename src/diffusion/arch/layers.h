/* Layers by name: the bricks that all networks of pictures are described with.
 *
 * A layer's tensors are at + name + ".weight" and ".bias"; biases may be missing. Mistakes go to
 * the graph and the weights, so descriptions need no error paths. Threads: one. */
#pragma once
#include "diffusion/weights.h"

typedef struct layers {
    diff_weights *w;
    graph *g;
} layers;

enum { LAYERS_NAME_BYTES = 256 };
/* Formats a name; a longer one is cut (and then found missing). */
void layers_name(char dst[LAYERS_NAME_BYTES], const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
#define LAYERS_NAME(var, ...)                                                                      \
    char var[LAYERS_NAME_BYTES];                                                                   \
    layers_name(var, __VA_ARGS__)

bool layers_has(const layers *l, const char *at, const char *name); /* a whole tensor's name */
/* [C, T..] -> [O, T..] (+ residual or NULL). */
graph_t layers_linear(const layers *l, const char *at, const char *name, graph_t x,
                      graph_t residual);
/* The kernel's size is its own; padded to keep the size unless c->p says something else. */
graph_t layers_conv(const layers *l, const char *at, const char *name, graph_t x,
                    const graph_conv *c);
graph_t layers_group_norm(const layers *l, const char *at, const char *name, graph_t x,
                          const dev_conv *p);
graph_t layers_layer_norm(const layers *l, const char *at, const char *name, graph_t x);
/* ne[d] of a tensor; 0 when it is missing or larger than an int32. */
int32_t layers_dim(const diff_weights *w, const char *name, int d);
