/* The parser of GGUF files: bytes of a stranger to keys and tensors.
 *
 * On the way of every model load: gguf_open -> gguf_read_part. A cursor walks the header once; all
 * counts are compared with the bytes that are left before anything is allocated, so a small file
 * cannot ask for much memory. Nothing of the data section is touched. */
#include "base/checked.h"
#include "base/limits.h"
#include "model/gguf_impl.h"
#include <string.h>

enum { MIN_KEY_BYTES = 8 + 1 + 4 + 1, MIN_TENSOR_BYTES = 8 + 1 + 4 + 4 + 8, MAX_NAME = 65535 };

typedef struct cursor {
    const uint8_t *at, *end;
} cursor;

static uint64_t left(const cursor *c) {
    return (uint64_t)(c->end - c->at);
}

static bool take(cursor *c, void *dst, size_t n) {
    if (left(c) < n) return false;
    memcpy(dst, c->at, n);
    c->at += n;
    return true;
}

static bool take_str(cursor *c, str *ret) {
    uint64_t n;
    if (!take(c, &n, sizeof n) || n > LIMIT_GGUF_STRING_BYTES || n > left(c)) return false;
    *ret = (str){(const char *)c->at, (size_t)n};
    c->at += n;
    return true;
}

/* Bytes of one item of a fixed-size type; 0 for strings, arrays and unknown types. */
static size_t type_bytes(gguf_type t) {
    static const uint8_t BYTES[GGUF_TYPE_COUNT] = {
        [GGUF_U8] = 1,  [GGUF_I8] = 1,  [GGUF_U16] = 2, [GGUF_I16] = 2,
        [GGUF_U32] = 4, [GGUF_I32] = 4, [GGUF_F32] = 4, [GGUF_BOOL] = 1,
        [GGUF_U64] = 8, [GGUF_I64] = 8, [GGUF_F64] = 8,
    };
    return (unsigned)t < GGUF_TYPE_COUNT ? BYTES[t] : 0;
}

static err_code read_number(cursor *c, gguf_key *k, err *e) {
    union {
        uint8_t u8;
        int8_t i8;
        uint16_t u16;
        int16_t i16;
        uint32_t u32;
        int32_t i32;
        uint64_t u64;
        int64_t i64;
        float f32;
        double f64;
    } v;
    if (!take(c, &v, type_bytes(k->type)))
        FAIL(e, FORMAT, "key \"" STR_FMT "\": the file ends in its value", STR_ARG(k->name));
    switch ((int)k->type) {
    case GGUF_U8:
        k->as.u64 = v.u8;
        break;
    case GGUF_U16:
        k->as.u64 = v.u16;
        break;
    case GGUF_U32:
        k->as.u64 = v.u32;
        break;
    case GGUF_U64:
        k->as.u64 = v.u64;
        break;
    case GGUF_I8:
        k->as.i64 = v.i8;
        break;
    case GGUF_I16:
        k->as.i64 = v.i16;
        break;
    case GGUF_I32:
        k->as.i64 = v.i32;
        break;
    case GGUF_I64:
        k->as.i64 = v.i64;
        break;
    case GGUF_F32:
        k->as.f64 = (double)v.f32;
        break;
    case GGUF_F64:
        k->as.f64 = v.f64;
        break;
    default: /* GGUF_BOOL */
        if (v.u8 > 1)
            FAIL(e, FORMAT, "key \"" STR_FMT "\": %u is not a bool", STR_ARG(k->name), v.u8);
        k->as.boolean = v.u8 != 0;
        break;
    }
    return ERR_OK;
}

static err_code read_array(gguf *g, cursor *c, gguf_key *k, err *e) {
    uint32_t type;
    uint64_t n, n_bytes;
    if (!take(c, &type, sizeof type) || !take(c, &n, sizeof n))
        FAIL(e, FORMAT, "key \"" STR_FMT "\": the file ends in its array", STR_ARG(k->name));
    if (type == GGUF_ARRAY)
        FAIL(e, UNSUPPORTED, "key \"" STR_FMT "\": arrays of arrays are not used by any model",
             STR_ARG(k->name));
    if (type >= GGUF_TYPE_COUNT)
        FAIL(e, FORMAT, "key \"" STR_FMT "\": unknown item type %u", STR_ARG(k->name), type);
    gguf_array *a = &k->as.array;
    *a = (gguf_array){.type = (gguf_type)type, .n = n, .bytes = c->at};
    size_t item = type == GGUF_STR ? sizeof(uint64_t) : type_bytes(a->type);
    if (n > LIMIT_GGUF_ARRAY_ITEMS || !checked_mul(n, item, &n_bytes) || n_bytes > left(c))
        FAIL(e, FORMAT, "key \"" STR_FMT "\": %llu items do not fit into the file",
             STR_ARG(k->name), (unsigned long long)n);
    if (type != GGUF_STR) {
        c->at += n_bytes;
        return ERR_OK;
    }
    size_t n_marks = (size_t)((n + GGUF_STRINGS_STEP - 1) / GGUF_STRINGS_STEP);
    a->strings = n ? ARENA_ARRAY(g->mem, const uint8_t *, n_marks) : NULL;
    for (uint64_t i = 0; i < n; i++) {
        str s;
        if (i % GGUF_STRINGS_STEP == 0) a->strings[i / GGUF_STRINGS_STEP] = c->at;
        if (!take_str(c, &s))
            FAIL(e, FORMAT, "key \"" STR_FMT "\": string %llu goes beyond the file's end",
                 STR_ARG(k->name), (unsigned long long)i);
    }
    return ERR_OK;
}

static err_code read_key(gguf *g, cursor *c, uint64_t number, gguf_key *k, err *e) {
    uint32_t type;
    *k = (gguf_key){0};
    if (!take_str(c, &k->name))
        FAIL(e, FORMAT, "key number %llu: the file ends in its name", (unsigned long long)number);
    if (k->name.len == 0 || k->name.len > MAX_NAME)
        FAIL(e, FORMAT, "key number %llu: a name of %zu bytes", (unsigned long long)number,
             k->name.len);
    if (!take(c, &type, sizeof type))
        FAIL(e, FORMAT, "key \"" STR_FMT "\": the file ends in its type", STR_ARG(k->name));
    if (type >= GGUF_TYPE_COUNT)
        FAIL(e, FORMAT, "key \"" STR_FMT "\": unknown value type %u", STR_ARG(k->name), type);
    k->type = (gguf_type)type;
    if (k->type == GGUF_ARRAY) return read_array(g, c, k, e);
    if (k->type != GGUF_STR) return read_number(c, k, e);
    if (!take_str(c, &k->as.text))
        FAIL(e, FORMAT, "key \"" STR_FMT "\": its text goes beyond the file's end",
             STR_ARG(k->name));
    return ERR_OK;
}

static err_code read_alignment(gguf *g, const gguf_key *k, err *e) {
    uint64_t v = k->as.u64;
    if (k->type != GGUF_U32 || v < 1 || v > (1u << 20) || (v & (v - 1)) != 0)
        FAIL(e, FORMAT,
             "key \"general.alignment\": must be a power of two of type uint32, is %s %llu",
             gguf_type_name(k->type), (unsigned long long)(k->type == GGUF_U32 ? v : 0));
    g->alignment = (uint32_t)v;
    return ERR_OK;
}

static err_code read_keys(gguf *g, cursor *c, uint64_t n, bool keep, err *e) {
    map seen = {0};
    err_code code = ERR_OK;
    for (uint64_t i = 0; i < n && code == ERR_OK; i++) {
        gguf_key k;
        code = read_key(g, c, i, &k, e);
        if (code) break;
        if (!map_put(keep ? &g->key_index : &seen, k.name, (int64_t)g->keys.len))
            code = err_set(e, ERR_FORMAT, "key \"" STR_FMT "\" appears twice", STR_ARG(k.name));
        else if (str_eq(k.name, STR("general.alignment")))
            code = read_alignment(g, &k, e);
        if (keep) VEC_PUSH(g->keys, k);
    }
    map_finish(&seen);
    return code;
}

/* Extents and type of one tensor; the bytes follow from them. */
static err_code read_shape(cursor *c, gguf_tensor *t, err *e) {
    uint32_t type;
    uint64_t n_elems = 1;
    if (!take(c, &t->n_dims, sizeof t->n_dims))
        FAIL(e, FORMAT, "tensor \"" STR_FMT "\": the file ends here", STR_ARG(t->name));
    if (t->n_dims > LIMIT_TENSOR_DIMS)
        FAIL(e, FORMAT, "tensor \"" STR_FMT "\": %u dimensions, at most 4 are possible",
             STR_ARG(t->name), t->n_dims);
    for (uint32_t d = 0; d < 4; d++) t->ne[d] = 1;
    for (uint32_t d = 0; d < t->n_dims; d++) {
        uint64_t ne;
        if (!take(c, &ne, sizeof ne))
            FAIL(e, FORMAT, "tensor \"" STR_FMT "\": the file ends in its shape", STR_ARG(t->name));
        if (ne < 1 || !checked_mul(n_elems, ne, &n_elems) || n_elems > INT64_MAX)
            FAIL(e, FORMAT, "tensor \"" STR_FMT "\": extent %llu is impossible", STR_ARG(t->name),
                 (unsigned long long)ne);
        t->ne[d] = (int64_t)ne;
    }
    if (t->n_dims == 0) t->n_dims = 1;
    if (!take(c, &type, sizeof type))
        FAIL(e, FORMAT, "tensor \"" STR_FMT "\": the file ends in its type", STR_ARG(t->name));
    err why;
    err_code code = dtype_from_ggml_id(type, &t->type, &why);
    if (code) return err_set(e, code, "tensor \"" STR_FMT "\": %s", STR_ARG(t->name), why.msg);
    uint64_t row;
    if (!dtype_row_bytes(t->type, t->ne[0], &row) ||
        !checked_mul(row, n_elems / (uint64_t)t->ne[0], &t->n_bytes))
        FAIL(e, FORMAT, "tensor \"" STR_FMT "\": rows of %lld are not whole blocks of %s",
             STR_ARG(t->name), (long long)t->ne[0], dtype_name(t->type));
    return ERR_OK;
}

/* Reads one description; *running is where the data of the next tensor must start. */
static err_code read_tensor(gguf *g, cursor *c, size_t part, uint64_t *running, err *e) {
    gguf_tensor t = {.part = (uint32_t)part};
    uint64_t offset;
    if (!take_str(c, &t.name) || t.name.len == 0 || t.name.len > MAX_NAME)
        FAIL(e, FORMAT, "tensor number %zu has no readable name", g->tensors.len);
    TRY(read_shape(c, &t, e));
    if (!take(c, &offset, sizeof offset))
        FAIL(e, FORMAT, "tensor \"" STR_FMT "\": the file ends in its offset", STR_ARG(t.name));
    if (offset != *running)
        FAIL(e, FORMAT, "tensor \"" STR_FMT "\": its data is said to be at %llu instead of %llu",
             STR_ARG(t.name), (unsigned long long)offset, (unsigned long long)*running);
    t.data = (const void *)(uintptr_t)offset; /* an address once the data section is known */
    if (!checked_add(*running, t.n_bytes, running) ||
        !checked_align(*running, g->alignment, running))
        FAIL(e, FORMAT, "tensor \"" STR_FMT "\": impossible size", STR_ARG(t.name));
    if (!map_put(&g->tensor_index, t.name, (int64_t)g->tensors.len))
        FAIL(e, FORMAT, "tensor \"" STR_FMT "\" appears twice", STR_ARG(t.name));
    VEC_PUSH(g->tensors, t);
    return ERR_OK;
}

/* The data section starts after the descriptions: offsets become addresses. */
static err_code place_tensors(gguf *g, size_t first, gguf_part *p, const cursor *c, err *e) {
    uint64_t at = (uint64_t)(c->at - p->bytes);
    if (!checked_align(at, g->alignment, &p->data_offset))
        FAIL(e, FORMAT, "the file's header is impossibly long");
    for (size_t i = first; i < g->tensors.len; i++) {
        gguf_tensor *t = &g->tensors.items[i];
        uint64_t from, to;
        if (!checked_add(p->data_offset, (uint64_t)(uintptr_t)t->data, &from) ||
            !checked_add(from, t->n_bytes, &to) || to > p->n_bytes)
            FAIL(e, FORMAT,
                 "tensor \"" STR_FMT "\": its %llu bytes go beyond the file's end; the file may be "
                 "cut short, fetch it again",
                 STR_ARG(t->name), (unsigned long long)t->n_bytes);
        t->data = p->bytes + from;
        g->tensor_bytes += t->n_bytes;
        g->n_params += t->ne[0] * t->ne[1] * t->ne[2] * t->ne[3];
    }
    return ERR_OK;
}

static err_code read_header(cursor *c, uint32_t *version, uint64_t n[2], err *e) {
    char magic[4];
    if (!take(c, magic, 4) || memcmp(magic, "GGUF", 4) != 0)
        FAIL(e, FORMAT, "not a GGUF file (it does not start with \"GGUF\")");
    if (!take(c, version, sizeof *version)) FAIL(e, FORMAT, "the file ends in its header");
    if ((*version & 0xffffu) == 0)
        FAIL(e, UNSUPPORTED, "a big-endian GGUF file; convert it to little-endian");
    if (*version != 2 && *version != 3)
        FAIL(e, UNSUPPORTED, "GGUF version %u; versions 2 and 3 can be read", *version);
    if (!take(c, n, 16)) FAIL(e, FORMAT, "the file ends in its header");
    if (n[0] > LIMIT_GGUF_TENSORS || n[0] > left(c) / MIN_TENSOR_BYTES)
        FAIL(e, FORMAT, "%llu tensors do not fit into the file", (unsigned long long)n[0]);
    if (n[1] > LIMIT_GGUF_KEYS || n[1] > left(c) / MIN_KEY_BYTES)
        FAIL(e, FORMAT, "%llu keys do not fit into the file", (unsigned long long)n[1]);
    return ERR_OK;
}

err_code gguf_read_part(gguf *g, size_t part, err *e) {
    gguf_part *p = &g->parts.items[part];
    cursor c = {p->bytes, p->bytes + p->n_bytes};
    uint64_t n[2], running = 0; /* tensors, keys */
    uint32_t version = 0;
    size_t first = g->tensors.len;
    TRY(read_header(&c, &version, n, e));
    if (part == 0) g->version = version;
    g->alignment = 32;
    TRY(read_keys(g, &c, n[1], part == 0, e));
    for (uint64_t i = 0; i < n[0]; i++) TRY(read_tensor(g, &c, part, &running, e));
    return place_tensors(g, first, p, &c, e);
}
