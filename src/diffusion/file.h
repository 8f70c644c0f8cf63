/* A file of a picture model: safetensors or GGUF, as one list of named tensors.
 *
 * GGUF files of networks keep the original names, with or without the checkpoint's prefix, and
 * matrices in any quantised type; kernels that were flattened to be quantised have their shape in
 * the key comfy.gguf.orig_shape.<tensor>. Owner: counted references. Threads: read-only after
 * opening, any thread. */
#pragma once
#include "model/safetensors.h"

typedef struct diff_file diff_file;

/* UNSUPPORTED for pickles (.ckpt, .pt, .bin), with advice. */
err_code diff_file_open(const char *path, diff_file **ret, err *e);
diff_file *diff_file_ref(diff_file *f);
void diff_file_unref(diff_file **f);
str diff_file_path(const diff_file *f);

size_t diff_file_n_tensors(const diff_file *f);
const safetensors_tensor *diff_file_at(const diff_file *f, size_t i); /* i < n */
/* By its whole name in the file; NULL when there is none. */
const safetensors_tensor *diff_file_named(const diff_file *f, const char *name);
/* The tensor `prefix` + `name`, by the name of the original layout; where the file has no such
 * name, the one of the diffusers layout (names.h). NULL when it has neither. */
const safetensors_tensor *diff_file_find(const diff_file *f, const char *prefix, const char *name);
/* Text beside the tensors: __metadata__, or a key of a GGUF file. Empty when absent. */
str diff_file_metadata(const diff_file *f, const char *key);

/* IO when it was cut or could not be read since it was opened: what was computed from it is wrong.
 */
err_code diff_file_check(const diff_file *f, err *e);

/* The pages of a tensor that was copied may go; they come back when read again (safetensors). */
void diff_file_release(const diff_file *f, const safetensors_tensor *t);

int64_t diff_tensor_elems(const safetensors_tensor *t);
/* All elements as f32 in the file's order; the caller's (mem_free). NULL when t is NULL or its type
 * cannot be read. */
float *diff_tensor_floats(const safetensors_tensor *t);
