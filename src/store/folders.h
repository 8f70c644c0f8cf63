/* Where pictures and their models lie: one base directory laid out as ComfyUI lays it out, and
 * further folders that a YAML file adds.
 *
 * Names come from strangers: every look-up refuses names that leave their folder. Folders that do
 * not exist are empty; nothing is ever written into model folders, so they may be read-only.
 * Owner: whoever opened it; read-only after that. Threads: any. */
#pragma once
#include "base/err.h"
#include "base/str.h"

typedef struct folder {
    str key;    /* "checkpoints", "loras", ... */
    str *paths; /* [n_paths], absolute, in order of precedence */
    size_t n_paths;
    const char *extensions; /* space-separated, with dots; NULL = any file; "/" = directories */
} folder;

typedef struct folders_config {
    const char *base;   /* the base directory; made with its folders when it can be */
    const char *output; /* NULL = base/output, and so on */
    const char *input;
    const char *temp;        /* emptied at the start */
    const char *extra_paths; /* a YAML file of further model folders; NULL = base's own, if any */
} folders_config;

typedef struct folders {
    arena *arena;
    str base, output, input, temp, user;
    folder *items; /* [n], in the API's order */
    size_t n;
} folders;

err_code folders_open(const folders_config *c, folders **ret, err *e);
void folders_close(folders **f);

/* A folder by its key, or one of the old keys "unet" and "clip"; NULL when unknown. */
const folder *folders_find(const folders *f, str key);

typedef struct folder_file {
    str name; /* relative, with slashes */
    size_t path_index;
    uint64_t n_bytes;
    double modified_s, created_s; /* since 1970 */
} folder_file;

/* All files, sorted by name, the first folder that has a name wins; links are followed, hidden
 * entries skipped, at most LIMIT_FOLDER_FILES. In `a`. */
folder_file *folder_list(const folder *f, arena *a, size_t *ret_n);
/* The path of an existing file; false when there is none. */
bool folder_path(const folder *f, str name, arena *a, str *ret_path);

/* dir/name for a relative name without "..", empty parts, backslashes or control characters;
 * false for others. The file need not exist. */
bool path_inside(arena *a, str dir, str name, str *ret_path);
/* One directory's entries, without hidden ones. `recurse` lists files below it too. */
folder_file *dir_list(str dir, bool recurse, arena *a, size_t *ret_n);
bool dir_exists(str path);

/* Adds the folders of an extra_model_paths.yaml text; relative paths start at `dir`. FORMAT names
 * the line. */
err_code folders_read_extra(folders *f, str text, str dir, err *e);
