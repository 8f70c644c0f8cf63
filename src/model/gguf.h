/* GGUF model files, read from a mapping.
 *
 * gguf_open checks the whole structure before it returns: counts against the bytes that are left
 * (before anything is allocated), unique names, types, extents without overflow, offsets that tile
 * the data section in file order, data inside the file. After that every getter is a lookup. Files
 * are foreign: errors are FORMAT or UNSUPPORTED and name the key or the tensor. Versions 2 and 3,
 * little-endian. Split models (x-00001-of-0000N.gguf) open as one through their first part.
 * Strings and arrays are borrowed from the mapping and live as long as the gguf.
 * Threads: read-only after opening, any thread.
 * Source: the GGUF specification (ggml-org/ggml, docs/gguf.md). */
#pragma once
#include "base/err.h"
#include "base/str.h"
#include "kern/dtype.h"

typedef struct gguf gguf;

/* ---- Lifecycle. open_mem borrows the bytes (tests, fuzzing; one part only). ---- */
err_code gguf_open(const char *path, gguf **ret, err *e);
/* All parts of a split model, in order, whatever their names. */
err_code gguf_open_parts(const char *const *paths, size_t n_paths, gguf **ret, err *e);
err_code gguf_open_mem(const void *bytes, uint64_t n_bytes, gguf **ret, err *e);
void gguf_destroy(gguf **g); /* NULL and *g == NULL allowed */

/* ---- The file. ---- */
uint32_t gguf_version(const gguf *g);
uint32_t gguf_alignment(const gguf *g);
uint64_t gguf_data_offset(const gguf *g); /* of the first part, from the start of its file */
uint64_t gguf_file_bytes(const gguf *g);  /* all parts */
size_t gguf_n_parts(const gguf *g);       /* 1 unless split */
str gguf_arch(const gguf *g);             /* general.architecture; empty when absent */

/* IO when a part was cut or could not be read since it was opened: what was computed from it is
 * wrong. */
err_code gguf_check(const gguf *g, err *e);

/* ---- Keys, in file order. ---- */
typedef enum gguf_type {
    GGUF_U8,
    GGUF_I8,
    GGUF_U16,
    GGUF_I16,
    GGUF_U32,
    GGUF_I32,
    GGUF_F32,
    GGUF_BOOL,
    GGUF_STR,
    GGUF_ARRAY,
    GGUF_U64,
    GGUF_I64,
    GGUF_F64,
    GGUF_TYPE_COUNT
} gguf_type;

/* An array in the mapping, items back to back and unaligned; strings are found through an index of
 * every eighth, made while opening. Zeroed (n 0) when there is none. */
enum { GGUF_STRINGS_STEP = 8 };
typedef struct gguf_array {
    gguf_type type; /* of the items; never GGUF_ARRAY */
    uint64_t n;
    const uint8_t *bytes;    /* the items as in the file */
    const uint8_t **strings; /* length words of strings 0, 8, 16 .., for GGUF_STR only */
} gguf_array;

typedef struct gguf_key {
    str name;
    gguf_type type;
    union {
        uint64_t u64; /* U8 U16 U32 U64 */
        int64_t i64;  /* I8 I16 I32 I64 */
        double f64;   /* F32 F64 */
        bool boolean;
        str text; /* UTF-8 is not promised */
        gguf_array array;
    } as;
} gguf_key;

size_t gguf_n_keys(const gguf *g);
const gguf_key *gguf_key_at(const gguf *g, size_t i);           /* i < gguf_n_keys */
const gguf_key *gguf_find_key(const gguf *g, const char *name); /* NULL when absent */
const char *gguf_type_name(gguf_type t);                        /* "uint32", "string" ... */

/* Required values: NOT_FOUND when the key is absent, FORMAT when its type does not fit (both name
 * the key). Any integer type fits where the value does; integers fit f64; 0 and 1 do not fit bool.
 */
err_code gguf_get_u64(const gguf *g, const char *name, uint64_t *ret, err *e);
err_code gguf_get_i64(const gguf *g, const char *name, int64_t *ret, err *e);
err_code gguf_get_f64(const gguf *g, const char *name, double *ret, err *e);
err_code gguf_get_bool(const gguf *g, const char *name, bool *ret, err *e);
err_code gguf_get_str(const gguf *g, const char *name, str *ret, err *e);
err_code gguf_get_array(const gguf *g, const char *name, gguf_type type, gguf_array *ret, err *e);

/* Optional values: `fallback` when the key is absent or does not fit. */
uint64_t gguf_opt_u64(const gguf *g, const char *name, uint64_t fallback);
int64_t gguf_opt_i64(const gguf *g, const char *name, int64_t fallback);
double gguf_opt_f64(const gguf *g, const char *name, double fallback);
bool gguf_opt_bool(const gguf *g, const char *name, bool fallback);
str gguf_opt_str(const gguf *g, const char *name, str fallback);
/* NULL when absent or not an array; any item type. */
const gguf_array *gguf_opt_array(const gguf *g, const char *name);

/* Items, i < a->n. The number getters convert from any integer (or float, for f64) item type and
 * give 0 for items that are not numbers; bool items are 0 and 1. */
str gguf_array_str(const gguf_array *a, uint64_t i); /* empty unless items are strings */
uint64_t gguf_array_u64(const gguf_array *a, uint64_t i);
int64_t gguf_array_i64(const gguf_array *a, uint64_t i);
double gguf_array_f64(const gguf_array *a, uint64_t i);

/* ---- Tensors, in file order. ---- */
typedef struct gguf_tensor {
    str name;
    dtype type;
    uint32_t n_dims;  /* 1 to 4 as the file says; 0 counts as 1 */
    int64_t ne[4];    /* ne[0] is the row length; unused dimensions are 1 */
    const void *data; /* in the mapping, aligned to gguf_alignment within the file */
    uint64_t n_bytes;
    uint32_t part; /* which file of a split model */
} gguf_tensor;

size_t gguf_n_tensors(const gguf *g);
const gguf_tensor *gguf_tensor_at(const gguf *g, size_t i);           /* i < gguf_n_tensors */
const gguf_tensor *gguf_find_tensor(const gguf *g, const char *name); /* NULL when absent */
/* Required: NOT_FOUND names the tensor. */
err_code gguf_get_tensor(const gguf *g, const char *name, const gguf_tensor **ret, err *e);
uint64_t gguf_tensor_bytes(const gguf *g); /* sum over all tensors, without padding */
int64_t gguf_n_params(const gguf *g);      /* elements of all tensors */

/* Starts reading the tensor data ahead, for a model that will be used now. */
void gguf_prefetch(const gguf *g);
/* The files' pages may go; they come back when read. */
void gguf_release(const gguf *g);
