/* The model store: manifests and blobs on disk, in Ollama's own layout.
 *
 *   <dir>/manifests/<host>/<namespace>/<model>/<tag>    a JSON manifest
 *   <dir>/blobs/sha256-<64 hex>                         content, named by its SHA-256
 *
 * An existing Ollama store works in place; one on a read-only mount can be read. A blob or a
 * manifest appears whole or not at all (written beside, flushed, renamed), and a manifest is
 * written last, so a crash at any moment leaves every listed model complete. Everything returned
 * lives in the caller's arena. Threads: any; changes to names are serialised inside. */
#pragma once
#include "base/err.h"
#include "store/name.h"
#include <stdint.h>

typedef struct store store;

typedef enum store_layer_kind {
    STORE_LAYER_MODEL,
    STORE_LAYER_PROJECTOR,
    STORE_LAYER_ADAPTER,
    STORE_LAYER_TEMPLATE,
    STORE_LAYER_SYSTEM,
    STORE_LAYER_PARAMS,   /* JSON object */
    STORE_LAYER_MESSAGES, /* JSON array */
    STORE_LAYER_LICENSE,  /* may repeat */
    STORE_LAYER_OTHER
} store_layer_kind;

typedef struct store_layer {
    store_layer_kind kind;
    str media_type; /* full */
    str digest;     /* "sha256:<hex>" */
    int64_t n_bytes;
    str from;     /* display name of the model it came from, or empty */
    bool existed; /* set by store_add_layer: the blob was there already */
} store_layer;

/* What the manifest's config blob says; empty strings when it does not. */
typedef struct store_config {
    str format;    /* "gguf" */
    str family;    /* "llama" */
    str size_text; /* "134.52M" */
    str file_type; /* "Q4_K_M" */
    str requires_version, renderer, parser;
    int64_t ctx_train, n_embd; /* 0 = not known */
    const str *capabilities;   /* [n_capabilities], completion, embedding ... */
    size_t n_capabilities;
} store_config;

typedef struct store_model {
    store_name name;
    str display;         /* "smollm2:135m" */
    str digest;          /* hex SHA-256 of the manifest's bytes */
    int64_t n_bytes;     /* config and layers */
    int64_t modified_ns; /* wall clock */
    store_config config;
    const store_layer *layers; /* [n_layers] */
    size_t n_layers;
} store_model;

/* Creates the directory if it can; a store that cannot be written still opens. Removes leftovers of
 * an interrupted write. */
err_code store_open(const char *dir, store **ret, err *e);
void store_close(store **s);

/* All models, newest first. Manifests that cannot be read are passed over. */
err_code store_list(store *s, arena *a, store_model **ret, size_t *ret_n, err *e);
/* By name, without regard to case. INVALID: not a name; NOT_FOUND; FORMAT: a broken manifest. */
err_code store_find(store *s, str name, arena *a, store_model *ret, err *e);

/* First layer of a kind, or NULL. */
const store_layer *store_model_layer(const store_model *m, store_layer_kind kind);

bool store_digest_valid(str digest); /* "sha256:" or "sha256-" and 64 hex digits */
str store_blob_path(const store *s, arena *a, str digest); /* NUL-terminated */
bool store_blob_exists(const store *s, str digest);
/* A text or JSON layer, at most 16 MiB. */
err_code store_blob_read(const store *s, arena *a, str digest, str *ret, err *e);

/* Writing a blob in pieces while it is hashed. commit names it by its hash, which must be `expect`
 * unless that is empty ("digest mismatch, ..."). Every writer ends with commit or abort, which
 * free it. */
typedef struct store_writer store_writer;
err_code store_writer_open(store *s, store_writer **ret, err *e);
err_code store_writer_put(store_writer *w, const void *bytes, size_t n_bytes, err *e);
err_code store_writer_commit(store_writer **w, str expect, arena *a, str *ret_digest, err *e);
void store_writer_abort(store_writer **w);

/* A path in the store for a large file in the making; removed at a start if it is left. */
str store_temp_path(const store *s, arena *a);
/* Hashes such a file and gives it its blob's name: it is gone from `path` afterwards. */
err_code store_adopt(store *s, const char *path, arena *a, str *ret_digest, err *e);

/* A blob that is a link to a file elsewhere, used in place: its SHA-256 must be `digest`. INVALID
 * otherwise. */
err_code store_link(store *s, const char *path, str digest, err *e);
/* For a blob that is such a link: IO when the file is gone, FORMAT when it has changed
 * since.
 */
err_code store_check_link(const store *s, str digest, err *e);

/* A layer of these bytes; ret->existed says whether the blob was there already. */
err_code store_add_layer(store *s, arena *a, store_layer_kind kind, str bytes, store_layer *ret,
                         err *e);
/* A layer that refers to a blob that is there. NOT_FOUND otherwise. */
err_code store_use_layer(store *s, arena *a, store_layer_kind kind, str digest, store_layer *ret,
                         err *e);

/* A manifest's text: the layers and the config's own layer. FORMAT: what is wrong with it. */
err_code store_manifest_parse(arena *a, str text, store_model *ret, store_layer *ret_config,
                              err *e);
/* The manifest's bytes as they are on disk. NOT_FOUND names the file. */
err_code store_manifest_read(store *s, arena *a, const store_name *name, str *ret, err *e);
/* Writes a manifest byte for byte: its blobs must be there and its config readable. Unless
 * `keep_unused`, removes blobs that only the manifest before referred to; *ret_removed of them. */
err_code store_put_manifest(store *s, const store_name *name, str text, bool keep_unused,
                            size_t *ret_removed, err *e);
/* Can anything be written? IO says why not and what to do. */
err_code store_check_writable(const store *s, err *e);
/* Removes blobs and unfinished downloads that no manifest refers to and that nobody touched for an
 * hour, then empty directories of names. Does nothing when a manifest cannot be read. */
void store_prune(store *s);

/* Writes config and manifest under `name`; an existing spelling of the name is kept. */
err_code store_put(store *s, const store_name *name, const store_config *config,
                   const store_layer *layers, size_t n_layers, err *e);
err_code store_copy(store *s, str from, const store_name *to, err *e);
/* Removes the manifest and those of its blobs that no other manifest refers to. */
err_code store_delete(store *s, str name, err *e);
