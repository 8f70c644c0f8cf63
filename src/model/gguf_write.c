/* Writing GGUF files.
 *
 * Keys and tensor descriptions gather in two buffers; begin writes header, keys, descriptions and
 * padding, put_data streams the tensors behind them. The target appears on commit (os/file.h).
 * Invariants: `state` only moves forward; `cur` is the tensor that put_data fills and `cur_done`
 * its bytes so far; offsets are the running sum of padded sizes. Threads: one at a time. */
#include "model/gguf_write.h"

#include "base/buf.h"
#include "base/checked.h"
#include "base/map.h"
#include "base/mem.h"
#include "os/file.h"

#include <assert.h>

enum { GGUF_MAGIC = 0x46554747, GGUF_WRITE_VERSION = 3 };

typedef enum writer_state { WRITER_DESCRIBING, WRITER_DATA, WRITER_DONE } writer_state;

struct gguf_writer {
    file_writer file;
    uint32_t alignment;
    writer_state state;
    buf keys, infos;
    uint64_t n_keys, n_tensors;
    map key_names, tensor_names;
    uint64_t *sizes; /* [n_tensors], bytes without padding */
    size_t sizes_cap;
    uint64_t data_bytes; /* padded sum of the sizes */
    uint64_t cur, cur_done;
};

static void put_u32(buf *b, uint32_t v) {
    buf_put(b, &v, sizeof v);
}

static void put_u64(buf *b, uint64_t v) {
    buf_put(b, &v, sizeof v);
}

static void put_text(buf *b, str s) {
    put_u64(b, s.len);
    buf_put(b, s.ptr, s.len);
}

err_code gguf_writer_create(const char *path, uint32_t alignment, gguf_writer **ret, err *e) {
    assert(alignment >= 8 && (alignment & (alignment - 1)) == 0);
    CLEANUP(gguf_writer_destroy) gguf_writer *w = NEW(gguf_writer);
    w->file.fd = -1;
    w->alignment = alignment;
    TRY(file_writer_open(path, &w->file, e));
    if (alignment != 32) {
        put_text(&w->keys, STR("general.alignment"));
        put_u32(&w->keys, GGUF_U32);
        put_u32(&w->keys, alignment);
        w->n_keys++;
    }
    *ret = TAKE(w);
    return ERR_OK;
}

void gguf_writer_destroy(gguf_writer **at) {
    if (!at || !*at) return;
    gguf_writer *w = *at;
    file_writer_abort(&w->file);
    buf_finish(&w->keys);
    buf_finish(&w->infos);
    map_finish(&w->key_names);
    map_finish(&w->tensor_names);
    mem_free(w->sizes);
    mem_free(w);
    *at = NULL;
}

/* ---- Keys. ---- */

static void begin_key(gguf_writer *w, str name, gguf_type type) {
    assert(w->state == WRITER_DESCRIBING && !str_eq(name, STR("general.alignment")));
    bool is_new = map_put(&w->key_names, name, 1);
    assert(is_new);
    (void)is_new;
    w->n_keys++;
    put_text(&w->keys, name);
    put_u32(&w->keys, type);
}

static size_t type_bytes(gguf_type type) {
    static const uint8_t BYTES[GGUF_TYPE_COUNT] = {
        [GGUF_U8] = 1,  [GGUF_I8] = 1,  [GGUF_U16] = 2, [GGUF_I16] = 2,
        [GGUF_U32] = 4, [GGUF_I32] = 4, [GGUF_F32] = 4, [GGUF_BOOL] = 1,
        [GGUF_U64] = 8, [GGUF_I64] = 8, [GGUF_F64] = 8};
    return BYTES[type];
}

void gguf_writer_put_u32(gguf_writer *w, const char *name, uint32_t v) {
    begin_key(w, str_from(name), GGUF_U32);
    put_u32(&w->keys, v);
}

void gguf_writer_put_u64(gguf_writer *w, const char *name, uint64_t v) {
    begin_key(w, str_from(name), GGUF_U64);
    put_u64(&w->keys, v);
}

void gguf_writer_put_f32(gguf_writer *w, const char *name, float v) {
    begin_key(w, str_from(name), GGUF_F32);
    buf_put(&w->keys, &v, sizeof v);
}

void gguf_writer_put_bool(gguf_writer *w, const char *name, bool v) {
    begin_key(w, str_from(name), GGUF_BOOL);
    buf_put_char(&w->keys, v ? 1 : 0);
}

void gguf_writer_put_str(gguf_writer *w, const char *name, str v) {
    begin_key(w, str_from(name), GGUF_STR);
    put_text(&w->keys, v);
}

void gguf_writer_put_str_array(gguf_writer *w, const char *name, const str *items, size_t n) {
    begin_key(w, str_from(name), GGUF_ARRAY);
    put_u32(&w->keys, GGUF_STR);
    put_u64(&w->keys, n);
    for (size_t i = 0; i < n; i++) put_text(&w->keys, items[i]);
}

static void put_items(gguf_writer *w, gguf_type type, const void *items, uint64_t n) {
    size_t item_bytes = type_bytes(type);
    assert(item_bytes > 0);
    put_u32(&w->keys, type);
    put_u64(&w->keys, n);
    buf_put(&w->keys, items, (size_t)n * item_bytes);
}

void gguf_writer_put_array(gguf_writer *w, const char *name, gguf_type type, const void *items,
                           size_t n) {
    begin_key(w, str_from(name), GGUF_ARRAY);
    put_items(w, type, items, n);
}

static void put_key_array(gguf_writer *w, const gguf_array *a) {
    if (a->type != GGUF_STR) {
        put_items(w, a->type, a->bytes, a->n);
        return;
    }
    put_u32(&w->keys, GGUF_STR);
    put_u64(&w->keys, a->n);
    for (uint64_t i = 0; i < a->n; i++) put_text(&w->keys, gguf_array_str(a, i));
}

void gguf_writer_put_key(gguf_writer *w, const gguf_key *key) {
    if (str_eq(key->name, STR("general.alignment"))) return;
    begin_key(w, key->name, key->type);
    if (key->type == GGUF_STR) {
        put_text(&w->keys, key->as.text);
    } else if (key->type == GGUF_ARRAY) {
        put_key_array(w, &key->as.array);
    } else if (key->type == GGUF_F32) {
        float v = (float)key->as.f64; /* was widened when it was read: exact */
        buf_put(&w->keys, &v, sizeof v);
    } else if (key->type == GGUF_BOOL) {
        buf_put_char(&w->keys, key->as.boolean ? 1 : 0);
    } else { /* integers and f64: the low bytes of the little-endian word */
        buf_put(&w->keys, &key->as.u64, type_bytes(key->type));
    }
}

/* ---- Tensors. ---- */

void gguf_writer_put_tensor(gguf_writer *w, str name, dtype type, uint32_t n_dims,
                            const int64_t ne[4]) {
    assert(w->state == WRITER_DESCRIBING && n_dims >= 1 && n_dims <= 4 && type < DTYPE_INTERNAL);
    bool is_new = map_put(&w->tensor_names, name, 1);
    uint64_t n_rows = 1, row_bytes = 0, size = 0, padded = 0;
    bool ok = is_new && dtype_row_bytes(type, ne[0], &row_bytes);
    put_text(&w->infos, name);
    put_u32(&w->infos, n_dims);
    for (uint32_t i = 0; i < n_dims; i++) {
        put_u64(&w->infos, (uint64_t)ne[i]);
        if (i > 0) ok = ok && checked_mul(n_rows, (uint64_t)ne[i], &n_rows);
    }
    ok = ok && checked_mul(n_rows, row_bytes, &size) && checked_align(size, w->alignment, &padded);
    assert(ok);
    (void)ok;
    put_u32(&w->infos, type);
    put_u64(&w->infos, w->data_bytes);
    if (w->n_tensors == w->sizes_cap) {
        w->sizes_cap = w->sizes_cap ? 2 * w->sizes_cap : 64;
        w->sizes = mem_realloc(w->sizes, w->sizes_cap * sizeof *w->sizes);
    }
    w->sizes[w->n_tensors++] = size;
    w->data_bytes += padded;
}

/* Zeros up to the next multiple of the alignment. The file starts aligned, so its length counts. */
static err_code put_padding(gguf_writer *w, err *e) {
    static const uint8_t ZEROS[256] = {0};
    uint64_t over = w->file.n_bytes & (w->alignment - 1), n = over ? w->alignment - over : 0;
    while (n > 0) {
        size_t step = n < sizeof ZEROS ? (size_t)n : sizeof ZEROS;
        TRY(file_writer_put(&w->file, ZEROS, step, e));
        n -= step;
    }
    return ERR_OK;
}

/* Moves over tensors that are complete; empty ones need no data at all. */
static void skip_complete(gguf_writer *w) {
    while (w->cur < w->n_tensors && w->cur_done == w->sizes[w->cur]) {
        w->cur++;
        w->cur_done = 0;
    }
}

err_code gguf_writer_begin(gguf_writer *w, err *e) {
    assert(w->state == WRITER_DESCRIBING);
    w->state = WRITER_DATA;
    buf head = {0};
    put_u32(&head, GGUF_MAGIC);
    put_u32(&head, GGUF_WRITE_VERSION);
    put_u64(&head, w->n_tensors);
    put_u64(&head, w->n_keys);
    err_code code = file_writer_put(&w->file, head.ptr, head.len, e);
    buf_finish(&head);
    TRY(code);
    TRY(file_writer_put(&w->file, w->keys.ptr, w->keys.len, e));
    TRY(file_writer_put(&w->file, w->infos.ptr, w->infos.len, e));
    skip_complete(w);
    return put_padding(w, e);
}

err_code gguf_writer_put_data(gguf_writer *w, const void *src, size_t n_bytes, err *e) {
    assert(w->state == WRITER_DATA);
    if (n_bytes == 0) return ERR_OK;
    assert(w->cur < w->n_tensors && n_bytes <= w->sizes[w->cur] - w->cur_done);
    TRY(file_writer_put(&w->file, src, n_bytes, e));
    w->cur_done += n_bytes;
    uint64_t was = w->cur;
    skip_complete(w);
    return w->cur == was ? ERR_OK : put_padding(w, e);
}

err_code gguf_writer_commit(gguf_writer *w, err *e) {
    assert(w->state == WRITER_DATA && w->cur == w->n_tensors);
    w->state = WRITER_DONE;
    return file_writer_commit(&w->file, e);
}
