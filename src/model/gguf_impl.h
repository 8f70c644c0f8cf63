/* What gguf.c (lookups) and gguf_read.c (parsing) share. */
#pragma once
#include "base/arena.h"
#include "base/map.h"
#include "base/vec.h"
#include "model/gguf.h"
#include "os/file.h"

enum { GGUF_MAX_PARTS = 1024 };

typedef struct gguf_part {
    file_map map;
    const uint8_t *bytes; /* the mapping, or borrowed memory */
    uint64_t n_bytes;
    uint64_t data_offset;
} gguf_part;

struct gguf {
    arena *mem; /* string indexes of arrays */
    uint32_t version, alignment;
    VEC(gguf_part) parts;
    VEC(gguf_key) keys; /* of the first part */
    VEC(gguf_tensor) tensors;
    map key_index, tensor_index;
    uint64_t tensor_bytes;
    int64_t n_params;
};

/* Parses one more part, whose bytes are in g->parts already: its keys (only the first part's are
 * kept) and its tensors. Messages name the key or the tensor. */
err_code gguf_read_part(gguf *g, size_t part, err *e);
