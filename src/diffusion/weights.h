/* The weights of one network of a checkpoint, as graphs want them.
 *
 * A diff_weights names tensors below a prefix of a file. Matrices stay in the file's mapping;
 * convolution kernels are turned to [C,KX,KY,O], vectors become f32, 8-bit floats and quantised
 * types f16; graphs in bfloat16 get matrices and kernels in panels (dev_tensor.panels). Those
 * copies are made when first asked for and counted, and the file's pages are let go. A layer of
 * patches (LoRA) may lie over the weights of another: what it does not change is shared. Errors
 * are kept: the first missing or misshapen tensor is what diff_weights_check returns. Owner:
 * counted references. Threads: one at a time while graphs are built. */
#pragma once
#include "diffusion/file.h"
#include "graph/graph.h"

typedef struct diff_weights diff_weights;

/* Changes to one tensor: dst += what the patch says; dst [n] f32 holds the tensor in the file's
 * order. `name` is without prefix. False: this tensor is not touched (dst is not read). */
typedef struct diff_patch {
    void *ctx;
    bool (*touches)(void *ctx, const char *name);
    void (*apply)(void *ctx, const char *name, const safetensors_tensor *t, float *dst);
    void (*unref)(void *ctx);
} diff_patch;

diff_weights *diff_weights_create(diff_file *f, const char *prefix);
/* Over `below`: takes its own reference. Takes the patch over. */
diff_weights *diff_weights_patched(diff_weights *below, const diff_patch *p);
diff_weights *diff_weights_ref(diff_weights *w);
void diff_weights_unref(diff_weights **w);

const diff_file *diff_weights_file(const diff_weights *w);
const char *diff_weights_prefix(const diff_weights *w);
/* The raw tensor; NULL when there is none. */
const safetensors_tensor *diff_weights_find(const diff_weights *w, const char *name);
bool diff_weights_has(const diff_weights *w, const char *name);
/* The file's i-th tensor, NULL past the end; *ret_name is what follows the prefix, empty when the
 * tensor lies elsewhere. */
const safetensors_tensor *diff_weights_at(const diff_weights *w, size_t i, str *ret_name);
/* Whether a patch changes it, here or in a layer below. */
bool diff_weights_is_patched(const diff_weights *w, const char *name);
/* All elements as f32, patches applied; the caller's (mem_free). NULL when absent or of a type that
 * cannot be read. */
float *diff_weights_read(const diff_weights *w, const char *name);
/* Bytes of all tensors below the prefix plus copies made so far. */
uint64_t diff_weights_bytes(const diff_weights *w);

/* Leaves for a graph. A tensor that is missing gives a graph mistake and sets the error. */
graph_t diff_vector(diff_weights *w, graph *g, const char *name);         /* f32 [n] */
graph_t diff_vector_or_none(diff_weights *w, graph *g, const char *name); /* NULL when absent */
graph_t diff_matrix(diff_weights *w, graph *g, const char *name);         /* [in, out] */
graph_t diff_kernel(diff_weights *w, graph *g, const char *name);         /* [C,KX,KY,O] */
/* Rows [from, from + n) of a matrix, and of a vector: fused projections. */
graph_t diff_matrix_rows(diff_weights *w, graph *g, const char *name, int64_t from, int64_t n);
graph_t diff_vector_part(diff_weights *w, graph *g, const char *name, int64_t from, int64_t n);
/* All elements as f32 (patches applied), mem_alloc'ed and kept by w; NULL when absent. */
const float *diff_floats(diff_weights *w, const char *name);
/* The first error, or OK; IO when a file was cut or could not be read since it was opened. */
err_code diff_weights_check(const diff_weights *w, err *e);
