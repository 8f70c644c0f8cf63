/* Opening GGUF files, split ones included, and looking things up in them.
 *
 * Every model starts here: llm_model_load -> gguf_open -> gguf_read_part (gguf_read.c), after which
 * all getters are lookups without failure modes of their own. Read-only after opening. */
#include "base/checked.h"
#include "model/gguf_impl.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

static gguf *gguf_new(void) {
    gguf *g = NEW(gguf);
    g->mem = arena_create(0);
    return g;
}

void gguf_destroy(gguf **gp) {
    if (!gp || !*gp) return;
    gguf *g = *gp;
    for (size_t i = 0; i < g->parts.len; i++) file_map_close(&g->parts.items[i].map);
    VEC_FINISH(g->parts);
    VEC_FINISH(g->keys);
    VEC_FINISH(g->tensors);
    map_finish(&g->key_index);
    map_finish(&g->tensor_index);
    arena_destroy(&g->mem);
    mem_free(g);
    *gp = NULL;
}

static err_code add_part(gguf *g, const char *path, err *e) {
    gguf_part p = {0};
    TRY(file_map_open(path, &p.map, e));
    p.bytes = p.map.ptr;
    p.n_bytes = p.map.len;
    VEC_PUSH(g->parts, p);
    if (gguf_read_part(g, g->parts.len - 1, e)) return err_wrap(e, "%s", path);
    return ERR_OK;
}

/* Opens the other files of a model named x-00001-of-0000N.gguf. */
static err_code open_split(gguf *g, const char *path, uint64_t count, err *e) {
    static const char FIRST[] = "-00001-of-";
    if (count > GGUF_MAX_PARTS)
        FAIL(e, LIMIT, "%s: split into %llu files", path, (unsigned long long)count);
    const char *at = strstr(path, FIRST), *next;
    while (at && (next = strstr(at + 1, FIRST))) at = next;
    if (!at || gguf_opt_u64(g, "split.no", 0) != 0)
        FAIL(e, INVALID,
             "%s is one part of a split model: open it through its first part, named "
             "...-00001-of-%05u.gguf",
             path, (unsigned)count);
    for (uint64_t i = 2; i <= count; i++) {
        str name = str_fmt(g->mem, "%.*s-%05u-of-%s", (int)(at - path), path, (unsigned)i,
                           at + sizeof FIRST - 1);
        TRY(add_part(g, name.ptr, e));
    }
    uint64_t n = gguf_opt_u64(g, "split.tensors.count", g->tensors.len);
    if (n != g->tensors.len)
        FAIL(e, FORMAT, "%s: %zu tensors in all parts instead of %llu", path, g->tensors.len,
             (unsigned long long)n);
    return ERR_OK;
}

err_code gguf_open(const char *path, gguf **ret, err *e) {
    CLEANUP(gguf_destroy) gguf *g = gguf_new();
    TRY(add_part(g, path, e));
    uint64_t count = gguf_opt_u64(g, "split.count", 1);
    if (count > 1) TRY(open_split(g, path, count, e));
    *ret = TAKE(g);
    return ERR_OK;
}

err_code gguf_open_parts(const char *const *paths, size_t n_paths, gguf **ret, err *e) {
    CLEANUP(gguf_destroy) gguf *g = gguf_new();
    if (n_paths == 0 || n_paths > GGUF_MAX_PARTS)
        FAIL(e, LIMIT, "a model split into %zu files", n_paths);
    for (size_t i = 0; i < n_paths; i++) TRY(add_part(g, paths[i], e));
    uint64_t count = gguf_opt_u64(g, "split.count", n_paths);
    uint64_t n = gguf_opt_u64(g, "split.tensors.count", g->tensors.len);
    if (count != n_paths || n != g->tensors.len || gguf_opt_u64(g, "split.no", 0) != 0)
        FAIL(e, FORMAT, "the parts do not make one model: %zu files of %llu, %zu tensors of %llu",
             n_paths, (unsigned long long)count, g->tensors.len, (unsigned long long)n);
    *ret = TAKE(g);
    return ERR_OK;
}

err_code gguf_open_mem(const void *bytes, uint64_t n_bytes, gguf **ret, err *e) {
    CLEANUP(gguf_destroy) gguf *g = gguf_new();
    gguf_part p = {.bytes = bytes, .n_bytes = n_bytes};
    VEC_PUSH(g->parts, p);
    TRY(gguf_read_part(g, 0, e));
    *ret = TAKE(g);
    return ERR_OK;
}

/* ---- The file. ---- */

uint32_t gguf_version(const gguf *g) {
    return g->version;
}
uint32_t gguf_alignment(const gguf *g) {
    return g->alignment;
}
uint64_t gguf_data_offset(const gguf *g) {
    return g->parts.items[0].data_offset;
}
size_t gguf_n_parts(const gguf *g) {
    return g->parts.len;
}
str gguf_arch(const gguf *g) {
    return gguf_opt_str(g, "general.architecture", STR(""));
}

uint64_t gguf_file_bytes(const gguf *g) {
    uint64_t n = 0;
    for (size_t i = 0; i < g->parts.len; i++) n += g->parts.items[i].n_bytes;
    return n;
}

/* ---- Keys. ---- */

size_t gguf_n_keys(const gguf *g) {
    return g->keys.len;
}
const gguf_key *gguf_key_at(const gguf *g, size_t i) {
    return &g->keys.items[i];
}

const gguf_key *gguf_find_key(const gguf *g, const char *name) {
    int64_t i;
    return map_get(&g->key_index, str_from(name), &i) ? &g->keys.items[i] : NULL;
}

const char *gguf_type_name(gguf_type t) {
    static const char *const NAMES[GGUF_TYPE_COUNT] = {
        [GGUF_U8] = "uint8",   [GGUF_I8] = "int8",     [GGUF_U16] = "uint16",  [GGUF_I16] = "int16",
        [GGUF_U32] = "uint32", [GGUF_I32] = "int32",   [GGUF_F32] = "float32", [GGUF_BOOL] = "bool",
        [GGUF_STR] = "string", [GGUF_ARRAY] = "array", [GGUF_U64] = "uint64",  [GGUF_I64] = "int64",
        [GGUF_F64] = "float64"};
    return (unsigned)t < GGUF_TYPE_COUNT ? NAMES[t] : "?";
}

static bool is_unsigned(gguf_type t) {
    return t == GGUF_U8 || t == GGUF_U16 || t == GGUF_U32 || t == GGUF_U64;
}
static bool is_signed(gguf_type t) {
    return t == GGUF_I8 || t == GGUF_I16 || t == GGUF_I32 || t == GGUF_I64;
}

static bool key_u64(const gguf_key *k, uint64_t *ret) {
    if (is_signed(k->type) && k->as.i64 >= 0)
        *ret = (uint64_t)k->as.i64;
    else if (is_unsigned(k->type))
        *ret = k->as.u64;
    else
        return false;
    return true;
}

static bool key_i64(const gguf_key *k, int64_t *ret) {
    if (is_unsigned(k->type) && k->as.u64 <= INT64_MAX)
        *ret = (int64_t)k->as.u64;
    else if (is_signed(k->type))
        *ret = k->as.i64;
    else
        return false;
    return true;
}

static bool key_f64(const gguf_key *k, double *ret) {
    double v;
    if (k->type == GGUF_F32 || k->type == GGUF_F64)
        v = k->as.f64;
    else if (is_unsigned(k->type))
        v = (double)k->as.u64;
    else if (is_signed(k->type))
        v = (double)k->as.i64;
    else
        return false;
    if (isfinite(v)) *ret = v;
    return isfinite(v);
}

static bool key_bool(const gguf_key *k, bool *ret) {
    if (k->type == GGUF_BOOL) *ret = k->as.boolean;
    return k->type == GGUF_BOOL;
}
static bool key_str(const gguf_key *k, str *ret) {
    if (k->type == GGUF_STR) *ret = k->as.text;
    return k->type == GGUF_STR;
}

static err_code find_required(const gguf *g, const char *name, const gguf_key **ret, err *e) {
    *ret = gguf_find_key(g, name);
    if (!*ret) FAIL(e, NOT_FOUND, "the model file has no key \"%s\"", name);
    return ERR_OK;
}

static err_code wrong_type(const gguf_key *k, const char *want, err *e) {
    FAIL(e, FORMAT, "key \"" STR_FMT "\" is of type %s, expected %s", STR_ARG(k->name),
         gguf_type_name(k->type), want);
}

err_code gguf_get_u64(const gguf *g, const char *name, uint64_t *ret, err *e) {
    const gguf_key *k;
    TRY(find_required(g, name, &k, e));
    return key_u64(k, ret) ? ERR_OK : wrong_type(k, "a non-negative integer", e);
}
uint64_t gguf_opt_u64(const gguf *g, const char *name, uint64_t fallback) {
    const gguf_key *k = gguf_find_key(g, name);
    uint64_t v;
    return k && key_u64(k, &v) ? v : fallback;
}

err_code gguf_get_i64(const gguf *g, const char *name, int64_t *ret, err *e) {
    const gguf_key *k;
    TRY(find_required(g, name, &k, e));
    return key_i64(k, ret) ? ERR_OK : wrong_type(k, "an integer", e);
}
int64_t gguf_opt_i64(const gguf *g, const char *name, int64_t fallback) {
    const gguf_key *k = gguf_find_key(g, name);
    int64_t v;
    return k && key_i64(k, &v) ? v : fallback;
}

err_code gguf_get_f64(const gguf *g, const char *name, double *ret, err *e) {
    const gguf_key *k;
    TRY(find_required(g, name, &k, e));
    return key_f64(k, ret) ? ERR_OK : wrong_type(k, "a finite number", e);
}
double gguf_opt_f64(const gguf *g, const char *name, double fallback) {
    const gguf_key *k = gguf_find_key(g, name);
    double v;
    return k && key_f64(k, &v) ? v : fallback;
}

err_code gguf_get_bool(const gguf *g, const char *name, bool *ret, err *e) {
    const gguf_key *k;
    TRY(find_required(g, name, &k, e));
    return key_bool(k, ret) ? ERR_OK : wrong_type(k, "a bool", e);
}
bool gguf_opt_bool(const gguf *g, const char *name, bool fallback) {
    const gguf_key *k = gguf_find_key(g, name);
    bool v;
    return k && key_bool(k, &v) ? v : fallback;
}

err_code gguf_get_str(const gguf *g, const char *name, str *ret, err *e) {
    const gguf_key *k;
    TRY(find_required(g, name, &k, e));
    return key_str(k, ret) ? ERR_OK : wrong_type(k, "a string", e);
}
str gguf_opt_str(const gguf *g, const char *name, str fallback) {
    const gguf_key *k = gguf_find_key(g, name);
    str v;
    return k && key_str(k, &v) ? v : fallback;
}

err_code gguf_get_array(const gguf *g, const char *name, gguf_type type, gguf_array *ret, err *e) {
    const gguf_key *k = gguf_find_key(g, name);
    if (!k) FAIL(e, NOT_FOUND, "the model file has no key \"%s\"", name);
    if (k->type != GGUF_ARRAY || k->as.array.type != type)
        FAIL(e, FORMAT, "key \"%s\" is not an array of %s", name, gguf_type_name(type));
    *ret = k->as.array;
    return ERR_OK;
}

const gguf_array *gguf_opt_array(const gguf *g, const char *name) {
    const gguf_key *k = gguf_find_key(g, name);
    return k && k->type == GGUF_ARRAY ? &k->as.array : NULL;
}

/* ---- Items of arrays. ---- */

str gguf_array_str(const gguf_array *a, uint64_t i) {
    if (a->type != GGUF_STR) return (str){0};
    uint64_t n;
    const uint8_t *at = a->strings[i / GGUF_STRINGS_STEP];
    memcpy(&n, at, sizeof n);
    for (uint64_t k = i % GGUF_STRINGS_STEP; k > 0; k--) { /* all lengths were checked */
        at += sizeof n + n;
        memcpy(&n, at, sizeof n);
    }
    return (str){(const char *)at + sizeof n, (size_t)n};
}

double gguf_array_f64(const gguf_array *a, uint64_t i) {
    float f;
    double d;
    if (a->type == GGUF_F32) {
        memcpy(&f, a->bytes + i * sizeof f, sizeof f);
        return (double)f;
    }
    if (a->type == GGUF_F64) {
        memcpy(&d, a->bytes + i * sizeof d, sizeof d);
        return d;
    }
    return is_unsigned(a->type) ? (double)gguf_array_u64(a, i) : (double)gguf_array_i64(a, i);
}

/* Little-endian, sign-extended where the type is signed. */
int64_t gguf_array_i64(const gguf_array *a, uint64_t i) {
    static const uint8_t BYTES[GGUF_TYPE_COUNT] = {
        [GGUF_BOOL] = 1, [GGUF_U8] = 1,  [GGUF_I8] = 1,  [GGUF_U16] = 2, [GGUF_I16] = 2,
        [GGUF_U32] = 4,  [GGUF_I32] = 4, [GGUF_U64] = 8, [GGUF_I64] = 8};
    size_t n = BYTES[a->type];
    uint64_t v = 0;
    if (n == 0) return 0;
    memcpy(&v, a->bytes + i * n, n);
    unsigned unused = 64 - 8 * (unsigned)n;
    return is_signed(a->type) ? (int64_t)(v << unused) >> unused : (int64_t)v;
}

uint64_t gguf_array_u64(const gguf_array *a, uint64_t i) {
    int64_t v = gguf_array_i64(a, i);
    return a->type == GGUF_U64 || v > 0 ? (uint64_t)v : 0;
}

/* ---- Tensors. ---- */

size_t gguf_n_tensors(const gguf *g) {
    return g->tensors.len;
}
const gguf_tensor *gguf_tensor_at(const gguf *g, size_t i) {
    return &g->tensors.items[i];
}

const gguf_tensor *gguf_find_tensor(const gguf *g, const char *name) {
    int64_t i;
    return map_get(&g->tensor_index, str_from(name), &i) ? &g->tensors.items[i] : NULL;
}

err_code gguf_get_tensor(const gguf *g, const char *name, const gguf_tensor **ret, err *e) {
    const gguf_tensor *t = gguf_find_tensor(g, name);
    if (!t) FAIL(e, NOT_FOUND, "the model file has no tensor \"%s\"", name);
    *ret = t;
    return ERR_OK;
}

uint64_t gguf_tensor_bytes(const gguf *g) {
    return g->tensor_bytes;
}
int64_t gguf_n_params(const gguf *g) {
    return g->n_params;
}

err_code gguf_check(const gguf *g, err *e) {
    for (size_t i = 0; i < g->parts.len; i++)
        if (!file_map_is_whole(&g->parts.items[i].map))
            FAIL(e, IO,
                 "the model's file (part %zu of %zu) was cut or could not be read while it was in "
                 "use; it is loaded anew with the next request",
                 i + 1, g->parts.len);
    return ERR_OK;
}

void gguf_prefetch(const gguf *g) {
    for (size_t i = 0; i < g->parts.len; i++) {
        const gguf_part *p = &g->parts.items[i];
        if (!p->map.ptr) continue;
        file_map_advise(&p->map, p->data_offset, p->n_bytes - p->data_offset, FILE_ADVICE_WILLNEED);
    }
}

void gguf_release(const gguf *g) {
    for (size_t i = 0; i < g->parts.len; i++) {
        const gguf_part *p = &g->parts.items[i];
        if (p->map.ptr) file_map_advise(&p->map, 0, p->n_bytes, FILE_ADVICE_DONTNEED);
    }
}
