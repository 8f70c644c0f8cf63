/* Facts of model files for show, tags and create, read without loading anything.
 *
 * Only the file's head is looked at. Short answers are remembered by path, size and time of change,
 * since a listing asks for every model of the store. Threads: any. */
#include "base/limits.h"
#include "engine/job.h"
#include "model/convert/convert.h"
#include "model/gguf.h"
#include "model/quantize.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { CACHE_ENTRIES = 64 };

typedef struct entry {
    arena *mem; /* NULL: free */
    str path;
    int64_t n_bytes, changed_ns;
    uint64_t used;
    engine_file_info info;
} entry;

static struct {
    pthread_mutex_t mu;
    entry entries[CACHE_ENTRIES];
    uint64_t clock;
} cache = {.mu = PTHREAD_MUTEX_INITIALIZER};

/* ---- reading ---- */

/* The double whose shortest text is that of the float: 1e-05 and not 9.99999974737875e-06. */
static double short_f32(float v) {
    char text[32];
    for (int digits = 6; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)v);
        if (strtof(text, NULL) == v) return strtod(text, NULL);
    }
    return (double)v;
}

static value *array_value(arena *a, const gguf_array *list, bool verbose) {
    value *to = value_list(a);
    for (uint64_t i = 0; verbose && i < list->n; i++) {
        switch (list->type) {
        case GGUF_STR:
            value_push(a, to, value_str(a, gguf_array_str(list, i)));
            break;
        case GGUF_F32:
            value_push(a, to, value_float(a, short_f32((float)gguf_array_f64(list, i))));
            break;
        case GGUF_F64:
            value_push(a, to, value_float(a, gguf_array_f64(list, i)));
            break;
        case GGUF_BOOL:
            value_push(a, to, value_bool(a, gguf_array_i64(list, i) != 0));
            break;
        case GGUF_U8:
        case GGUF_I8:
        case GGUF_U16:
        case GGUF_I16:
        case GGUF_U32:
        case GGUF_I32:
        case GGUF_ARRAY:
        case GGUF_U64:
        case GGUF_I64:
        case GGUF_TYPE_COUNT:
            value_push(a, to, value_int(a, gguf_array_i64(list, i)));
            break;
        }
    }
    return to;
}

static value *key_value(arena *a, const gguf_key *k, bool verbose) {
    switch (k->type) {
    case GGUF_U8:
    case GGUF_U16:
    case GGUF_U32:
    case GGUF_U64:
        return k->as.u64 <= INT64_MAX ? value_int(a, (int64_t)k->as.u64)
                                      : value_float(a, (double)k->as.u64);
    case GGUF_I8:
    case GGUF_I16:
    case GGUF_I32:
    case GGUF_I64:
        return value_int(a, k->as.i64);
    case GGUF_F32:
        return value_float(a, short_f32((float)k->as.f64));
    case GGUF_F64:
        return value_float(a, k->as.f64);
    case GGUF_BOOL:
        return value_bool(a, k->as.boolean);
    case GGUF_STR:
        return value_str(a, k->as.text);
    case GGUF_ARRAY:
        return array_value(a, &k->as.array, verbose);
    case GGUF_TYPE_COUNT:
        break;
    }
    return value_null(a);
}

static const value *all_keys(arena *a, const gguf *g, bool verbose) {
    value *to = value_map(a);
    for (size_t i = 0; i < gguf_n_keys(g); i++) {
        const gguf_key *k = gguf_key_at(g, i);
        value_add(a, to, k->name, key_value(a, k, verbose));
    }
    return to;
}

static engine_file_tensor *all_tensors(arena *a, const gguf *g) {
    size_t n = gguf_n_tensors(g);
    engine_file_tensor *to = ARENA_ARRAY(a, engine_file_tensor, n + 1);
    for (size_t i = 0; i < n; i++) {
        const gguf_tensor *t = gguf_tensor_at(g, i);
        to[i] = (engine_file_tensor){str_dup(a, t->name),
                                     str_from(dtype_name(t->type)),
                                     {t->ne[0], t->ne[1], t->ne[2], t->ne[3]},
                                     (int32_t)t->n_dims};
    }
    return to;
}

static bool mentions(str text, const char *word) {
    return str_find(text, str_from(word)) >= 0;
}

static int64_t arch_number(arena *a, const gguf *g, str arch, const char *key) {
    uint64_t v = gguf_opt_u64(g, str_fmt(a, "%.*s.%s", STR_ARG(arch), key).ptr, 0);
    return v <= INT32_MAX ? (int64_t)v : 0;
}

static engine_file_info read_info(arena *a, const gguf *g, engine_file_detail detail) {
    bool tensors = detail != ENGINE_FILE_SHORT;
    str arch = gguf_arch(g), chat = gguf_opt_str(g, "tokenizer.chat_template", STR(""));
    bool embeds = gguf_find_key(g, str_fmt(a, "%.*s.pooling_type", STR_ARG(arch)).ptr) != NULL;
    return (engine_file_info){
        .architecture = str_dup(a, arch),
        .n_params = gguf_n_params(g),
        .ctx_train = (int32_t)arch_number(a, g, arch, "context_length"),
        .n_embd = (int32_t)arch_number(a, g, arch, "embedding_length"),
        .file_type = str_from(quantize_file_type_name(gguf_opt_u64(g, "general.file_type", 0))),
        .can_generate = !embeds,
        .can_embed = embeds,
        .has_tools = mentions(chat, "tools"),
        .has_thinking = mentions(chat, "enable_thinking") || mentions(chat, "<think>"),
        .chat_template = str_dup(a, chat),
        .kv = all_keys(a, g, detail == ENGINE_FILE_VERBOSE),
        .tensors = tensors ? all_tensors(a, g) : NULL,
        .n_tensors = tensors ? gguf_n_tensors(g) : 0,
    };
}

/* ---- the cache ---- */

static engine_file_info copy_info(arena *a, const engine_file_info *from) {
    engine_file_info to = *from;
    to.architecture = str_dup(a, from->architecture);
    to.chat_template = str_dup(a, from->chat_template);
    to.kv = value_copy(a, from->kv);
    return to;
}

/* Called with the lock. */
static entry *cache_find(str path, const struct stat *st) {
    for (size_t i = 0; i < CACHE_ENTRIES; i++) {
        entry *en = &cache.entries[i];
        int64_t changed = (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
        if (en->mem && en->n_bytes == st->st_size && en->changed_ns == changed &&
            str_eq(en->path, path))
            return en;
    }
    return NULL;
}

static void cache_put(str path, const struct stat *st, const engine_file_info *info) {
    pthread_mutex_lock(&cache.mu);
    entry *en = &cache.entries[0];
    for (size_t i = 1; i < CACHE_ENTRIES; i++)
        if (cache.entries[i].used < en->used) en = &cache.entries[i];
    arena_destroy(&en->mem);
    arena *a = arena_create(0);
    *en = (entry){.mem = a,
                  .path = str_dup(a, path),
                  .n_bytes = st->st_size,
                  .changed_ns = (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec,
                  .used = ++cache.clock,
                  .info = copy_info(a, info)};
    pthread_mutex_unlock(&cache.mu);
}

static bool cache_get(str path, const struct stat *st, arena *a, engine_file_info *ret) {
    pthread_mutex_lock(&cache.mu);
    entry *en = cache_find(path, st);
    if (en) {
        en->used = ++cache.clock;
        *ret = copy_info(a, &en->info);
    }
    pthread_mutex_unlock(&cache.mu);
    return en != NULL;
}

err_code engine_file_read(engine *eng, str path, engine_file_detail detail, arena *a,
                          engine_file_info *ret, err *e) {
    (void)eng;
    struct stat st;
    char *cpath = str_cstr(a, path);
    bool cached = detail == ENGINE_FILE_SHORT && stat(cpath, &st) == 0;
    if (cached && cache_get(path, &st, a, ret)) return ERR_OK;
    gguf *g;
    TRY(gguf_open(cpath, &g, e));
    *ret = read_info(a, g, detail);
    gguf_destroy(&g);
    if (cached) cache_put(path, &st, ret);
    return ERR_OK;
}

err_code engine_quantize(engine *eng, const char *path_in, const char *path_out, const char *target,
                         const engine_progress *progress, err *e) {
    (void)eng;
    quantize_progress p = {progress->fn, progress->arg};
    return quantize_gguf(path_in, path_out, target, &p, e);
}

static convert_file *file_list(const engine_source *files, size_t n_files) {
    convert_file *list = NEW_ARRAY(convert_file, n_files + 1);
    for (size_t i = 0; i < n_files; i++) list[i] = (convert_file){files[i].name, files[i].path};
    return list;
}

err_code engine_convert(engine *eng, const engine_source *files, size_t n_files,
                        const char *path_out, const engine_progress *progress, err *e) {
    (void)eng;
    convert_file *list = file_list(files, n_files);
    quantize_progress p = {progress->fn, progress->arg};
    err_code code = convert_safetensors(list, n_files, path_out, &p, e);
    mem_free(list);
    return code;
}

err_code engine_convert_adapter(const engine_source *files, size_t n_files, const char *model,
                                const char *path_out, const engine_progress *progress, err *e) {
    convert_file *list = file_list(files, n_files);
    quantize_progress p = {progress->fn, progress->arg};
    err_code code = convert_adapter(list, n_files, model, path_out, &p, e);
    mem_free(list);
    return code;
}

err_code engine_check_adapter(engine *eng, const engine_model *m, err *e) {
    void *model;
    TRY(eng->b.inspect(eng->b.ctx, m, &model, e));
    eng->b.unload(model);
    return ERR_OK;
}

err_code engine_merge(engine *eng, const char *const *paths, size_t n_paths, const char *path_out,
                      const engine_progress *progress, err *e) {
    (void)eng;
    quantize_progress p = {progress->fn, progress->arg};
    return convert_merge_gguf(paths, n_paths, path_out, &p, e);
}
