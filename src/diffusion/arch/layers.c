/* Layers by name. */
#include "diffusion/arch/layers.h"
#include <stdarg.h>
#include <stdio.h>

void layers_name(char dst[LAYERS_NAME_BYTES], const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    vsnprintf(dst, LAYERS_NAME_BYTES, fmt, args);
    va_end(args);
}

bool layers_has(const layers *l, const char *at, const char *name) {
    LAYERS_NAME(full, "%s%s", at, name);
    return diff_weights_has(l->w, full);
}

graph_t layers_linear(const layers *l, const char *at, const char *name, graph_t x,
                      graph_t residual) {
    LAYERS_NAME(weight, "%s%s.weight", at, name);
    LAYERS_NAME(bias, "%s%s.bias", at, name);
    return graph_linear(l->g, x, diff_matrix(l->w, l->g, weight),
                        diff_vector_or_none(l->w, l->g, bias), residual);
}

graph_t layers_conv(const layers *l, const char *at, const char *name, graph_t x,
                    const graph_conv *more) {
    LAYERS_NAME(weight, "%s%s.weight", at, name);
    LAYERS_NAME(bias, "%s%s.bias", at, name);
    graph_conv c = *more;
    c.w = diff_kernel(l->w, l->g, weight);
    c.bias = diff_vector_or_none(l->w, l->g, bias);
    if (c.p.left + c.p.right + c.p.top + c.p.bottom == 0)
        c.p.left = c.p.right = c.p.top = c.p.bottom = (int32_t)c.w->ne[1] / 2;
    return graph_conv2d(l->g, x, &c);
}

graph_t layers_group_norm(const layers *l, const char *at, const char *name, graph_t x,
                          const dev_conv *p) {
    LAYERS_NAME(weight, "%s%s.weight", at, name);
    LAYERS_NAME(bias, "%s%s.bias", at, name);
    graph_t w = diff_vector(l->w, l->g, weight);
    return graph_group_norm(l->g, x, w, diff_vector(l->w, l->g, bias), p);
}

graph_t layers_layer_norm(const layers *l, const char *at, const char *name, graph_t x) {
    LAYERS_NAME(weight, "%s%s.weight", at, name);
    LAYERS_NAME(bias, "%s%s.bias", at, name);
    graph_t w = diff_vector(l->w, l->g, weight);
    return graph_layer_norm(l->g, x, w, diff_vector(l->w, l->g, bias), 1e-5f);
}

int32_t layers_dim(const diff_weights *w, const char *name, int d) {
    const safetensors_tensor *t = diff_weights_find(w, name);
    return t && t->ne[d] < INT32_MAX ? (int32_t)t->ne[d] : 0;
}
