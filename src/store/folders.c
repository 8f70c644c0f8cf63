/* The table of model folders, listing, and names that stay inside. */
#include "store/folders.h"
#include "base/limits.h"
#include "base/map.h"
#include "base/vec.h"
#include "os/file.h"
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MODEL_FILES ".ckpt .pt .pt2 .bin .pth .safetensors .pkl .sft .gguf"

/* In the order clients are told; dirs below models/, or as marked. */
static const struct {
    const char *key, *dirs, *extensions;
} TABLE[] = {
    {"checkpoints", "models/checkpoints output/checkpoints", MODEL_FILES},
    {"configs", "models/configs", ".yaml"},
    {"loras", "models/loras output/loras", MODEL_FILES},
    {"vae", "models/vae output/vae", MODEL_FILES},
    {"text_encoders", "models/text_encoders models/clip output/clip", MODEL_FILES},
    {"diffusion_models", "models/unet models/diffusion_models output/diffusion_models",
     MODEL_FILES},
    {"clip_vision", "models/clip_vision", MODEL_FILES},
    {"style_models", "models/style_models", MODEL_FILES},
    {"embeddings", "models/embeddings", MODEL_FILES},
    {"diffusers", "models/diffusers", "/"},
    {"vae_approx", "models/vae_approx", MODEL_FILES},
    {"controlnet", "models/controlnet models/t2i_adapter", MODEL_FILES},
    {"gligen", "models/gligen", MODEL_FILES},
    {"upscale_models", "models/upscale_models", MODEL_FILES},
    {"latent_upscale_models", "models/latent_upscale_models", MODEL_FILES},
    {"custom_nodes", "custom_nodes", NULL},
    {"hypernetworks", "models/hypernetworks", MODEL_FILES},
    {"photomaker", "models/photomaker", MODEL_FILES},
    {"classifiers", "models/classifiers", NULL},
    {"model_patches", "models/model_patches", MODEL_FILES},
    {"audio_encoders", "models/audio_encoders", MODEL_FILES},
};

bool dir_exists(str path) {
    struct stat st;
    arena *a = arena_create(0);
    bool ok = stat(str_cstr(a, path), &st) == 0 && S_ISDIR(st.st_mode);
    arena_destroy(&a);
    return ok;
}

bool path_inside(arena *a, str dir, str name, str *ret_path) {
    if (name.len == 0 || name.len > LIMIT_PATH_BYTES) return false;
    for (size_t i = 0; i < name.len; i++)
        if ((unsigned char)name.ptr[i] < 0x20 || name.ptr[i] == '\\' || name.ptr[i] == 0x7F)
            return false;
    for (str rest = name; rest.ptr;) {
        str part = str_cut(&rest, '/');
        if (part.len == 0 || str_eq(part, STR(".")) || str_eq(part, STR(".."))) return false;
    }
    *ret_path = str_fmt(a, STR_FMT "/" STR_FMT, STR_ARG(dir), STR_ARG(name));
    return true;
}

static bool wanted(const char *extensions, str name) {
    if (!extensions) return true;
    str lower = {0};
    arena *a = arena_create(0);
    bool ok = false;
    lower = str_lower(a, name);
    for (str list = str_from(extensions); list.len && !ok;)
        ok = str_ends(lower, str_cut(&list, ' '));
    arena_destroy(&a);
    return ok;
}

typedef struct walk {
    arena *a;
    const char *extensions;
    bool recurse, dirs;
    size_t path_index;
    map *seen; /* or NULL */
    VEC(folder_file) files;
} walk;

static void walk_dir(walk *w, str dir, str prefix, int depth);

static void walk_entry(walk *w, str dir, str prefix, str entry, int depth) {
    struct stat st;
    str path = str_fmt(w->a, STR_FMT "/" STR_FMT, STR_ARG(dir), STR_ARG(entry));
    str name = prefix.len ? str_fmt(w->a, STR_FMT "/" STR_FMT, STR_ARG(prefix), STR_ARG(entry))
                          : str_dup(w->a, entry);
    if (stat(path.ptr, &st)) return;
    bool is_dir = S_ISDIR(st.st_mode);
    if (is_dir && w->recurse && !w->dirs) walk_dir(w, path, name, depth + 1);
    if (is_dir != w->dirs || (!is_dir && !S_ISREG(st.st_mode))) return;
    if (!w->dirs && !wanted(w->extensions, name)) return;
    if (w->seen && !map_put(w->seen, name, 1)) return;
    folder_file f = {.name = name,
                     .path_index = w->path_index,
                     .n_bytes = (uint64_t)st.st_size,
                     .modified_s = (double)st.st_mtim.tv_sec + (double)st.st_mtim.tv_nsec / 1e9,
                     .created_s = (double)st.st_ctim.tv_sec + (double)st.st_ctim.tv_nsec / 1e9};
    VEC_PUSH(w->files, f);
}

static void walk_dir(walk *w, str dir, str prefix, int depth) {
    if (depth > LIMIT_FOLDER_DEPTH) return;
    DIR *d = opendir(str_cstr(w->a, dir));
    if (!d) return;
    for (struct dirent *entry; (entry = readdir(d)) && w->files.len < LIMIT_FOLDER_FILES;)
        if (entry->d_name[0] != '.') walk_entry(w, dir, prefix, str_from(entry->d_name), depth);
    closedir(d);
}

static int by_name(const void *a, const void *b) {
    return str_cmp(((const folder_file *)a)->name, ((const folder_file *)b)->name);
}

static folder_file *walk_result(walk *w, size_t *ret_n) {
    if (w->files.len) qsort(w->files.items, w->files.len, sizeof *w->files.items, by_name);
    *ret_n = w->files.len;
    folder_file *out =
        w->files.len ? arena_dup(w->a, w->files.items, w->files.len * sizeof *out) : NULL;
    VEC_FINISH(w->files);
    return out;
}

folder_file *folder_list(const folder *f, arena *a, size_t *ret_n) {
    map seen = {0};
    bool dirs = f->extensions && f->extensions[0] == '/';
    walk w = {.a = a, .extensions = f->extensions, .recurse = true, .dirs = dirs, .seen = &seen};
    for (w.path_index = 0; w.path_index < f->n_paths; w.path_index++)
        walk_dir(&w, f->paths[w.path_index], (str){0}, 0);
    map_finish(&seen);
    return walk_result(&w, ret_n);
}

folder_file *dir_list(str dir, bool recurse, arena *a, size_t *ret_n) {
    walk w = {.a = a, .recurse = recurse};
    walk_dir(&w, dir, (str){0}, 0);
    if (!recurse) { /* directories too */
        w.dirs = true;
        walk_dir(&w, dir, (str){0}, 0);
    }
    return walk_result(&w, ret_n);
}

bool folder_path(const folder *f, str name, arena *a, str *ret_path) {
    for (size_t i = 0; i < f->n_paths; i++)
        if (path_inside(a, f->paths[i], name, ret_path) && file_exists(ret_path->ptr)) return true;
    return false;
}

const folder *folders_find(const folders *f, str key) {
    if (str_eq(key, STR("unet"))) key = STR("diffusion_models");
    if (str_eq(key, STR("clip"))) key = STR("text_encoders");
    for (size_t i = 0; i < f->n; i++)
        if (str_eq(f->items[i].key, key)) return &f->items[i];
    return NULL;
}

/* ---- opening ---- */

static str or_below(folders *f, const char *given, const char *name) {
    return given ? str_dup(f->arena, str_from(given))
                 : str_fmt(f->arena, STR_FMT "/%s", STR_ARG(f->base), name);
}

static void remove_below(str dir, int depth) {
    arena *a = arena_create(0);
    DIR *d = depth < LIMIT_FOLDER_DEPTH ? opendir(str_cstr(a, dir)) : NULL;
    for (struct dirent *entry; d && (entry = readdir(d));) {
        struct stat st;
        str path = str_fmt(a, STR_FMT "/%s", STR_ARG(dir), entry->d_name);
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        if (lstat(path.ptr, &st)) continue;
        if (S_ISDIR(st.st_mode)) {
            remove_below(path, depth + 1);
            rmdir(path.ptr);
        } else {
            unlink(path.ptr);
        }
    }
    if (d) closedir(d);
    arena_destroy(&a);
}

static void fill_table(folders *f) {
    f->items = ARENA_ARRAY(f->arena, folder, LIMIT_FOLDER_KEYS);
    for (size_t i = 0; i < COUNT_OF(TABLE); i++) {
        folder *x = &f->items[f->n++];
        x->key = str_from(TABLE[i].key);
        x->extensions = TABLE[i].extensions;
        x->paths = ARENA_ARRAY(f->arena, str, LIMIT_FOLDER_PATHS);
        for (str list = str_from(TABLE[i].dirs); list.len;) {
            str dir = str_cut(&list, ' ');
            bool in_output = str_starts(dir, STR("output/"));
            x->paths[x->n_paths++] =
                in_output ? str_fmt(f->arena, STR_FMT STR_FMT, STR_ARG(f->output),
                                    STR_ARG(str_sub(dir, 6, dir.len)))
                          : str_fmt(f->arena, STR_FMT "/" STR_FMT, STR_ARG(f->base), STR_ARG(dir));
        }
    }
}

/* Directories a user expects to find; one that cannot be made is somebody's read-only mount. */
static err_code make_dirs(folders *f, err *e) {
    TRY(file_mkdirs(f->output.ptr, e));
    TRY(file_mkdirs(f->input.ptr, e));
    TRY(file_mkdirs(f->temp.ptr, e));
    TRY(file_mkdirs(f->user.ptr, e));
    for (size_t i = 0; i < f->n; i++) file_mkdirs(f->items[i].paths[0].ptr, NULL);
    return ERR_OK;
}

static err_code read_extra_file(folders *f, const char *given, err *e) {
    str path = given ? str_dup(f->arena, str_from(given))
                     : str_fmt(f->arena, STR_FMT "/extra_model_paths.yaml", STR_ARG(f->base));
    if (!given && !file_exists(path.ptr)) return ERR_OK;
    buf text = {0};
    ptrdiff_t slash = str_rfind_char(path, '/');
    str dir = slash < 0 ? STR(".") : str_sub(path, 0, (size_t)slash);
    err_code code = file_read(path.ptr, LIMIT_FORM_TEXT_BYTES, &text, e);
    if (!code) code = folders_read_extra(f, buf_str(&text), dir, e);
    buf_finish(&text);
    return code ? err_wrap(e, STR_FMT, STR_ARG(path)) : ERR_OK;
}

err_code folders_open(const folders_config *c, folders **ret, err *e) {
    folders *f = NEW(folders);
    f->arena = arena_create(0);
    f->base = str_dup(f->arena, str_from(c->base));
    f->output = or_below(f, c->output, "output");
    f->input = or_below(f, c->input, "input");
    f->temp = or_below(f, c->temp, "temp");
    f->user = or_below(f, NULL, "user");
    fill_table(f);
    err_code code = make_dirs(f, e);
    if (!code) code = read_extra_file(f, c->extra_paths, e);
    if (code) {
        folders_close(&f);
        return code;
    }
    if (!c->temp) remove_below(f->temp, 0); /* never somebody's own /tmp */
    *ret = f;
    return ERR_OK;
}

void folders_close(folders **f) {
    if (!f || !*f) return;
    arena_destroy(&(*f)->arena);
    mem_free(*f);
    *f = NULL;
}
