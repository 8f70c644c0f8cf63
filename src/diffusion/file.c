/* Files of picture models: both formats behind one list. */
#include "diffusion/file.h"
#include "base/map.h"
#include "base/mem.h"
#include "diffusion/names.h"
#include "model/gguf.h"
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { NAME_BYTES = 512 };
#define SHAPE_KEY "comfy.gguf.orig_shape."

struct diff_file {
    atomic_int refs;
    safetensors *st; /* or */
    gguf *gg;
    size_t n_tensors;
    safetensors_tensor *tensors; /* [n_tensors], of a GGUF file */
    char *path;
};

static bool ends_in(const char *path, const char *end) {
    const char *dot = strrchr(path, '.');
    return dot && strcasecmp(dot, end) == 0;
}

static err_code refuse_pickles(const char *path, err *e) {
    static const char *const PICKLES[] = {".ckpt", ".pt", ".pth", ".bin", ".pkl"};
    for (size_t i = 0; i < COUNT_OF(PICKLES); i++)
        if (ends_in(path, PICKLES[i]))
            FAIL(e, UNSUPPORTED,
                 "%s: files of this kind (%s) can hold programs and are not read; get the "
                 ".safetensors file of the model, or convert it on a machine you do not mind",
                 path, PICKLES[i]);
    return ERR_OK;
}

err_code diff_file_check(const diff_file *f, err *e) {
    if (f->st ? safetensors_is_whole(f->st) : !gguf_check(f->gg, NULL)) return ERR_OK;
    FAIL(e, IO,
         "%s was cut or could not be read while it was in use; it is loaded anew with the next job",
         f->path);
}

void diff_file_release(const diff_file *f, const safetensors_tensor *t) {
    if (f->st) safetensors_release(f->st, t);
}

int64_t diff_tensor_elems(const safetensors_tensor *t) {
    return t->ne[0] * t->ne[1] * t->ne[2] * t->ne[3];
}

float *diff_tensor_floats(const safetensors_tensor *t) {
    if (!t || !dtype_get_info(t->type)->supported) return NULL;
    int64_t n = diff_tensor_elems(t);
    float *v = mem_calloc((size_t)n, sizeof *v);
    dequant_row(t->type, t->data, v, n);
    return v;
}

/* ---- GGUF ---- */

/* The shape a tensor had before it was flattened, if the file tells. */
static err_code restore_shape(const gguf *g, safetensors_tensor *t, err *e) {
    char key[NAME_BYTES];
    int n = snprintf(key, sizeof key, SHAPE_KEY STR_FMT, STR_ARG(t->name));
    const gguf_array *a = n > 0 && n < NAME_BYTES ? gguf_opt_array(g, key) : NULL;
    int64_t ne[4] = {1, 1, 1, 1}, left = diff_tensor_elems(t);
    if (!a) return ERR_OK;
    if (a->n < 1 || a->n > 4)
        FAIL(e, UNSUPPORTED, "%s has %llu dimensions; up to 4 are known", key,
             (unsigned long long)a->n);
    for (uint64_t i = 0; i < a->n; i++) { /* slowest first */
        int64_t d = gguf_array_i64(a, i);
        if (d < 1 || left % d != 0)
            FAIL(e, FORMAT, "%s does not fit the tensor's %lld elements", key,
                 (long long)diff_tensor_elems(t));
        ne[a->n - 1 - i] = d;
        left /= d;
    }
    if (left != 1)
        FAIL(e, FORMAT, "%s does not fit the tensor's %lld elements", key,
             (long long)diff_tensor_elems(t));
    memcpy(t->ne, ne, sizeof ne);
    t->n_dims = (uint32_t)a->n;
    return ERR_OK;
}

static err_code open_gguf(diff_file *f, const char *path, err *e) {
    TRY(gguf_open(path, &f->gg, e));
    f->n_tensors = gguf_n_tensors(f->gg);
    f->tensors = NEW_ARRAY(safetensors_tensor, f->n_tensors + 1);
    for (size_t i = 0; i < f->n_tensors; i++) {
        const gguf_tensor *t = gguf_tensor_at(f->gg, i);
        f->tensors[i] = (safetensors_tensor){t->name,   t->type,
                                             t->n_dims, {t->ne[0], t->ne[1], t->ne[2], t->ne[3]},
                                             t->data,   t->n_bytes};
        if (restore_shape(f->gg, &f->tensors[i], e)) return err_wrap(e, "%s", path);
    }
    return ERR_OK;
}

/* ---- both ---- */

err_code diff_file_open(const char *path, diff_file **ret, err *e) {
    TRY(refuse_pickles(path, e));
    diff_file *f = NEW(diff_file);
    atomic_init(&f->refs, 1);
    f->path = mem_dup(path, strlen(path) + 1);
    err_code code =
        ends_in(path, ".gguf") ? open_gguf(f, path, e) : safetensors_open(path, &f->st, e);
    if (f->st) f->n_tensors = safetensors_n_tensors(f->st);
    if (code)
        diff_file_unref(&f);
    else
        *ret = f;
    return code;
}

diff_file *diff_file_ref(diff_file *f) {
    atomic_fetch_add(&f->refs, 1);
    return f;
}

void diff_file_unref(diff_file **fp) {
    diff_file *f = *fp;
    *fp = NULL;
    if (!f || atomic_fetch_sub(&f->refs, 1) > 1) return;
    safetensors_destroy(&f->st);
    gguf_destroy(&f->gg);
    mem_free(f->tensors);
    mem_free(f->path);
    mem_free(f);
}

str diff_file_path(const diff_file *f) {
    return str_from(f->path);
}

size_t diff_file_n_tensors(const diff_file *f) {
    return f->n_tensors;
}

const safetensors_tensor *diff_file_at(const diff_file *f, size_t i) {
    return f->st ? safetensors_tensor_at(f->st, i) : &f->tensors[i];
}

const safetensors_tensor *diff_file_named(const diff_file *f, const char *name) {
    if (f->st) return safetensors_find(f->st, name);
    const gguf_tensor *t = gguf_find_tensor(f->gg, name);
    return t ? &f->tensors[t - gguf_tensor_at(f->gg, 0)] : NULL;
}

str diff_file_metadata(const diff_file *f, const char *key) {
    return f->st ? safetensors_metadata(f->st, key) : gguf_opt_str(f->gg, key, (str){0});
}

typedef struct below_prefix {
    const diff_file *f;
    const char *prefix;
} below_prefix;

static const safetensors_tensor *find_as_is(const below_prefix *at, const char *name) {
    char full[NAME_BYTES];
    int n = snprintf(full, sizeof full, "%s%s", at->prefix, name);
    return n > 0 && n < NAME_BYTES ? diff_file_named(at->f, full) : NULL;
}

static bool has_as_is(void *ctx, const char *name) {
    return find_as_is(ctx, name) != NULL;
}

const safetensors_tensor *diff_file_find(const diff_file *f, const char *prefix, const char *name) {
    char other[NAMES_BYTES];
    below_prefix at = {f, prefix};
    const safetensors_tensor *t = find_as_is(&at, name);
    if (!t && names_diffusers(&(names_file){&at, has_as_is}, name, other))
        t = find_as_is(&at, other);
    return t;
}
