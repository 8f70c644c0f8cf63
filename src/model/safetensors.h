/* Safetensors files, read from a mapping.
 *
 * Opening checks everything: header length, JSON (jansson; the one place below the API that may use
 * it, since the header is JSON), types, shapes against byte ranges, ranges that tile the data
 * without holes or overlap. Files are foreign: FORMAT errors name the tensor. Names and data are
 * valid as long as the object. Threads: read-only after opening, any thread.
 * Source: huggingface.co/docs/safetensors. */
#pragma once
#include "base/err.h"
#include "base/str.h"
#include "kern/dtype.h"
#include "os/file.h"

typedef struct safetensors safetensors;

typedef struct safetensors_tensor {
    str name;
    dtype type;
    uint32_t n_dims;  /* 0 for a scalar */
    int64_t ne[4];    /* GGUF order, ne[0] fastest: the file's shape reversed; unused are 1 */
    const void *data; /* in the mapping; no alignment is promised */
    uint64_t n_bytes;
} safetensors_tensor;

err_code safetensors_open(const char *path, safetensors **ret, err *e);
/* Borrows the bytes (tests, fuzzing). */
err_code safetensors_open_mem(const void *bytes, uint64_t n_bytes, safetensors **ret, err *e);
void safetensors_destroy(safetensors **s); /* NULL and *s == NULL allowed */

size_t safetensors_n_tensors(const safetensors *s);
/* i < n; in the order of the data. */
const safetensors_tensor *safetensors_tensor_at(const safetensors *s, size_t i);
const safetensors_tensor *safetensors_find(const safetensors *s, const char *name); /* or NULL */
uint64_t safetensors_tensor_bytes(const safetensors *s);                            /* of all */

/* The pages of a tensor that was copied may go; they come back when read again. */
bool safetensors_is_whole(const safetensors *s); /* as file_map_is_whole */
void safetensors_release(const safetensors *s, const safetensors_tensor *t);

/* __metadata__: the text of a key; empty when absent. */
str safetensors_metadata(const safetensors *s, const char *name);

/* The begin of a file that is written: the length and the text of its header, padded so that values
 * behind it are aligned. Finishes *json. */
err_code safetensors_put_head(file_writer *w, buf *json, err *e);
