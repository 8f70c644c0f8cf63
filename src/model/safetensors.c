/* Safetensors files.
 *
 * u64 header length, that many bytes of JSON, then the data. The JSON is parsed once while opening;
 * what is needed of it is copied into the arena, so that no JSON value outlives safetensors_open.
 * Every number of the header is checked before it is used; the ranges, sorted, must tile the data.
 * Threads: read-only after opening. */
#include "model/safetensors.h"

#include "base/arena.h"
#include "base/checked.h"
#include "base/limits.h"
#include "base/map.h"

#include <jansson.h>
#include <stdlib.h>

typedef struct metadata_pair {
    str key, text;
} metadata_pair;

struct safetensors {
    arena *mem;
    file_map map; /* empty when the bytes are borrowed */
    const uint8_t *data;
    uint64_t data_bytes;
    safetensors_tensor *tensors; /* [n], sorted by where their data begins */
    size_t n;
    map index;
    metadata_pair *metadata;
    size_t n_metadata;
};

/* Names in messages are cut: a foreign one may be megabytes long. */
#define NAME_FMT "tensor \"%.200s\""

static bool parse_dtype(const char *name, dtype *ret) {
    static const struct {
        const char *name;
        dtype t;
    } TYPES[] = {{"F64", DTYPE_F64},   {"F32", DTYPE_F32},         {"F16", DTYPE_F16},
                 {"BF16", DTYPE_BF16}, {"F8_E4M3", DTYPE_F8_E4M3}, {"F8_E5M2", DTYPE_F8_E5M2},
                 {"I64", DTYPE_I64},   {"I32", DTYPE_I32},         {"I16", DTYPE_I16},
                 {"I8", DTYPE_I8},     {"U8", DTYPE_U8},           {"BOOL", DTYPE_BOOL}};
    for (size_t i = 0; i < COUNT_OF(TYPES); i++)
        if (str_eq(str_from(name), str_from(TYPES[i].name))) {
            *ret = TYPES[i].t;
            return true;
        }
    return false;
}

/* ---- One tensor's entry. ---- */

static err_code read_shape(const char *name, const json_t *shape, safetensors_tensor *t, err *e) {
    if (!json_is_array(shape)) FAIL(e, FORMAT, NAME_FMT ": no shape", name);
    size_t n = json_array_size(shape);
    if (n > LIMIT_TENSOR_DIMS)
        FAIL(e, UNSUPPORTED, NAME_FMT " has %zu dimensions, at most %d are supported", name, n,
             LIMIT_TENSOR_DIMS);
    t->n_dims = (uint32_t)n;
    for (size_t i = 0; i < LIMIT_TENSOR_DIMS; i++) t->ne[i] = 1;
    for (size_t i = 0; i < n; i++) {
        const json_t *v = json_array_get(shape, i);
        if (!json_is_integer(v) || json_integer_value(v) < 0)
            FAIL(e, FORMAT, NAME_FMT ": a dimension is not a whole number from 0 up", name);
        t->ne[n - 1 - i] = json_integer_value(v);
    }
    return ERR_OK;
}

static err_code read_offsets(const char *name, const json_t *pair, uint64_t limit, uint64_t ret[2],
                             err *e) {
    if (!json_is_array(pair) || json_array_size(pair) != 2)
        FAIL(e, FORMAT, NAME_FMT ": data_offsets is not a pair", name);
    for (size_t i = 0; i < 2; i++) {
        const json_t *v = json_array_get(pair, i);
        if (!json_is_integer(v) || json_integer_value(v) < 0)
            FAIL(e, FORMAT, NAME_FMT ": data_offsets are not whole numbers from 0 up", name);
        ret[i] = (uint64_t)json_integer_value(v);
    }
    if (ret[0] > ret[1]) FAIL(e, FORMAT, NAME_FMT ": its data ends before it begins", name);
    if (ret[1] > limit)
        FAIL(e, FORMAT, NAME_FMT ": its data ends at byte %llu of %llu", name,
             (unsigned long long)ret[1], (unsigned long long)limit);
    return ERR_OK;
}

static err_code read_tensor(const safetensors *s, const char *name, const json_t *entry,
                            safetensors_tensor *t, err *e) {
    if (!json_is_object(entry)) FAIL(e, FORMAT, NAME_FMT ": its entry is not an object", name);
    const char *type = json_string_value(json_object_get(entry, "dtype"));
    if (!type) FAIL(e, FORMAT, NAME_FMT ": no dtype", name);
    if (!parse_dtype(type, &t->type))
        FAIL(e, UNSUPPORTED, NAME_FMT ": type \"%.40s\" is not supported", name, type);
    TRY(read_shape(name, json_object_get(entry, "shape"), t, e));
    uint64_t range[2], want = dtype_get_info(t->type)->bytes;
    TRY(read_offsets(name, json_object_get(entry, "data_offsets"), s->data_bytes, range, e));
    for (size_t i = 0; i < LIMIT_TENSOR_DIMS; i++)
        if (!checked_mul(want, (uint64_t)t->ne[i], &want))
            FAIL(e, FORMAT, NAME_FMT ": its shape overflows", name);
    t->n_bytes = range[1] - range[0];
    if (want != t->n_bytes)
        FAIL(e, FORMAT, NAME_FMT ": its shape needs %llu bytes, its data_offsets give %llu", name,
             (unsigned long long)want, (unsigned long long)t->n_bytes);
    t->data = s->data + range[0];
    t->name = str_dup(s->mem, str_from(name));
    return ERR_OK;
}

/* ---- The header. ---- */

static err_code read_metadata(safetensors *s, json_t *entry, err *e) {
    if (!json_is_object(entry)) FAIL(e, FORMAT, "__metadata__ is not an object");
    s->metadata = ARENA_ARRAY(s->mem, metadata_pair, json_object_size(entry) + 1);
    const char *key;
    json_t *v;
    json_object_foreach(entry, key, v) {
        if (!json_is_string(v)) FAIL(e, FORMAT, "__metadata__ \"%.200s\" is not a string", key);
        str text = {json_string_value(v), json_string_length(v)};
        s->metadata[s->n_metadata++] =
            (metadata_pair){str_dup(s->mem, str_from(key)), str_dup(s->mem, text)};
    }
    return ERR_OK;
}

/* By begin, then by end: empty tensors come before the one that begins at the same byte. */
static int by_data(const void *a, const void *b) {
    const safetensors_tensor *x = a, *y = b;
    uintptr_t px = (uintptr_t)x->data, py = (uintptr_t)y->data;
    if (px != py) return px < py ? -1 : 1;
    return x->n_bytes < y->n_bytes ? -1 : x->n_bytes > y->n_bytes;
}

static err_code check_tiling(safetensors *s, err *e) {
    if (s->n) qsort(s->tensors, s->n, sizeof *s->tensors, by_data);
    uint64_t end = 0;
    for (size_t i = 0; i < s->n; i++) {
        const safetensors_tensor *t = &s->tensors[i];
        uint64_t begin = (uint64_t)((const uint8_t *)t->data - s->data);
        if (begin != end)
            FAIL(e, FORMAT, NAME_FMT ": its data %s at byte %llu", t->name.ptr,
                 begin < end ? "overlaps another's" : "leaves a hole",
                 (unsigned long long)(begin < end ? begin : end));
        end = begin + t->n_bytes;
        map_put(&s->index, t->name, (int64_t)i);
    }
    if (end != s->data_bytes)
        FAIL(e, FORMAT, "%llu bytes behind the last tensor's data",
             (unsigned long long)(s->data_bytes - end));
    return ERR_OK;
}

static err_code read_header(safetensors *s, json_t *root, err *e) {
    if (!json_is_object(root)) FAIL(e, FORMAT, "safetensors: the header is not an object");
    size_t n_entries = json_object_size(root);
    if (n_entries > LIMIT_SAFETENSORS_TENSORS)
        FAIL(e, LIMIT, "safetensors: %zu tensors, at most %u are allowed", n_entries,
             LIMIT_SAFETENSORS_TENSORS);
    s->tensors = ARENA_ARRAY(s->mem, safetensors_tensor, n_entries + 1);
    const char *name;
    json_t *entry;
    json_object_foreach(root, name, entry) {
        if (str_eq(str_from(name), STR("__metadata__"))) {
            TRY(read_metadata(s, entry, e));
        } else {
            TRY(read_tensor(s, name, entry, &s->tensors[s->n], e));
            s->n++;
        }
    }
    return check_tiling(s, e);
}

/* jansson recurses, so the nesting is bounded before it sees the text. */
static bool is_shallow(const char *text, uint64_t n) {
    int depth = 0;
    bool in_string = false;
    for (uint64_t i = 0; i < n; i++) {
        char c = text[i];
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            if (++depth > 8) return false;
        } else if (c == '}' || c == ']') {
            depth--;
        }
    }
    return true;
}

static err_code parse(safetensors *s, const uint8_t *bytes, uint64_t n_bytes, err *e) {
    uint64_t n_header;
    if (n_bytes < sizeof n_header)
        FAIL(e, FORMAT, "not a safetensors file: %llu bytes", (unsigned long long)n_bytes);
    memcpy(&n_header, bytes, sizeof n_header);
    if (n_header > LIMIT_SAFETENSORS_HEADER_BYTES)
        FAIL(e, FORMAT, "not a safetensors file: a header of %llu bytes",
             (unsigned long long)n_header);
    if (n_header > n_bytes - sizeof n_header)
        FAIL(e, FORMAT, "safetensors: the header of %llu bytes ends behind the file",
             (unsigned long long)n_header);
    const char *text = (const char *)bytes + sizeof n_header;
    s->data = bytes + sizeof n_header + n_header;
    s->data_bytes = n_bytes - sizeof n_header - n_header;
    if (!is_shallow(text, n_header)) FAIL(e, FORMAT, "safetensors: the header is nested too deep");
    json_error_t why;
    json_t *root = json_loadb(text, (size_t)n_header, JSON_REJECT_DUPLICATES, &why);
    if (!root) FAIL(e, FORMAT, "safetensors: the header is not JSON: %s", why.text);
    err_code code = read_header(s, root, e);
    json_decref(root);
    return code;
}

/* ---- Public. ---- */

static safetensors *create(void) {
    safetensors *s = NEW(safetensors);
    s->mem = arena_create(0);
    return s;
}

err_code safetensors_open(const char *path, safetensors **ret, err *e) {
    CLEANUP(safetensors_destroy) safetensors *s = create();
    TRY(file_map_open(path, &s->map, e));
    err_code code = parse(s, s->map.ptr, s->map.len, e);
    if (code) {
        err_wrap(e, "%s", path);
        return code;
    }
    *ret = TAKE(s);
    return ERR_OK;
}

err_code safetensors_open_mem(const void *bytes, uint64_t n_bytes, safetensors **ret, err *e) {
    CLEANUP(safetensors_destroy) safetensors *s = create();
    TRY(parse(s, bytes, n_bytes, e));
    *ret = TAKE(s);
    return ERR_OK;
}

void safetensors_destroy(safetensors **at) {
    if (!at || !*at) return;
    safetensors *s = *at;
    file_map_close(&s->map);
    map_finish(&s->index);
    arena_destroy(&s->mem);
    mem_free(s);
    *at = NULL;
}

size_t safetensors_n_tensors(const safetensors *s) {
    return s->n;
}

const safetensors_tensor *safetensors_tensor_at(const safetensors *s, size_t i) {
    return &s->tensors[i];
}

const safetensors_tensor *safetensors_find(const safetensors *s, const char *name) {
    int64_t i;
    return map_get(&s->index, str_from(name), &i) ? &s->tensors[i] : NULL;
}

uint64_t safetensors_tensor_bytes(const safetensors *s) {
    return s->data_bytes;
}

bool safetensors_is_whole(const safetensors *s) {
    return file_map_is_whole(&s->map);
}

void safetensors_release(const safetensors *s, const safetensors_tensor *t) {
    if (!s->map.ptr) return; /* borrowed bytes */
    uint64_t offset = (uint64_t)((const uint8_t *)t->data - s->map.ptr);
    file_map_advise(&s->map, offset, t->n_bytes, FILE_ADVICE_DONTNEED);
}

str safetensors_metadata(const safetensors *s, const char *name) {
    for (size_t i = 0; i < s->n_metadata; i++)
        if (str_eq(s->metadata[i].key, str_from(name))) return s->metadata[i].text;
    return (str){0};
}

err_code safetensors_put_head(file_writer *w, buf *json, err *e) {
    while (json->len % 8) buf_put_char(json, ' ');
    uint64_t n = json->len;
    err_code code = file_writer_put(w, &n, sizeof n, e); /* little-endian, as the machine */
    if (code == ERR_OK) code = file_writer_put(w, json->ptr, json->len, e);
    buf_finish(json);
    return code;
}
