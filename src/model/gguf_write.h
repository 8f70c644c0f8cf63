/* Writes GGUF files: describe, begin, data in order, commit.
 *
 *   gguf_writer *w; TRY(gguf_writer_create(path, 32, &w, e));
 *   gguf_writer_put_str(w, "general.architecture", STR("llama"));   any number of keys
 *   gguf_writer_put_tensor(w, name, DTYPE_F32, 2, ne)               any number of tensors
 *   TRY(gguf_writer_begin(w, e));                                   header is written
 *   TRY(gguf_writer_put_data(w, src, n_bytes, e));                  per tensor, in pieces or whole
 *   TRY(gguf_writer_commit(w, e)); gguf_writer_destroy(&w);
 *
 * The target appears only on commit (os/file.h); destroying earlier leaves nothing behind. Names
 * must be unique; that, too many bytes for a tensor and calls out of order are programmer's errors
 * (assert), since everything foreign was checked by the reader. Threads: one at a time. */
#pragma once
#include "model/gguf.h"

typedef struct gguf_writer gguf_writer;

err_code gguf_writer_create(const char *path, uint32_t alignment, gguf_writer **ret, err *e);
void gguf_writer_destroy(gguf_writer **w); /* removes an uncommitted file */

void gguf_writer_put_u32(gguf_writer *w, const char *name, uint32_t v);
void gguf_writer_put_u64(gguf_writer *w, const char *name, uint64_t v);
void gguf_writer_put_f32(gguf_writer *w, const char *name, float v);
void gguf_writer_put_bool(gguf_writer *w, const char *name, bool v);
void gguf_writer_put_str(gguf_writer *w, const char *name, str v);
void gguf_writer_put_str_array(gguf_writer *w, const char *name, const str *items, size_t n);
/* items: [n] of a fixed-size type (not GGUF_STR), in the machine's order. */
void gguf_writer_put_array(gguf_writer *w, const char *name, gguf_type type, const void *items,
                           size_t n);
/* A key of a file that was read, byte for byte of the same type. general.alignment is skipped: the
 * writer knows its own. */
void gguf_writer_put_key(gguf_writer *w, const gguf_key *key);

/* ne[0] a whole number of blocks of type. */
void gguf_writer_put_tensor(gguf_writer *w, str name, dtype type, uint32_t n_dims,
                            const int64_t ne[4]);

err_code gguf_writer_begin(gguf_writer *w, err *e);
/* The next n_bytes of the current tensor; padding between tensors is the writer's. */
err_code gguf_writer_put_data(gguf_writer *w, const void *src, size_t n_bytes, err *e);
err_code gguf_writer_commit(gguf_writer *w, err *e); /* asserts that every tensor is complete */
