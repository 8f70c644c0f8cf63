/* Models from and to registries: what Ollama's pull and push do, and single files for pictures.
 *
 * A pull reads the manifest, fetches the blobs the store does not have, and writes the manifest
 * last. Blobs come in parallel ranges into `<blob>-partial`, with a `-partial-<N>` record for each
 * part (Ollama's own layout: either program goes on where the other was killed), and get their name
 * only when their SHA-256 is right. Two callers who want the same blob share one transfer, which
 * ends when the last of them goes away. Nothing that failed a check is left for a later pull to
 * trust.
 * Owner: whoever created it. Threads: any; calls block and report progress on the caller's. */
#pragma once
#include "net/net.h"
#include "store/store.h"

typedef struct registry registry;

typedef struct registry_config {
    net *net;
    store *store;
    const char *key_path;     /* id_ed25519; made when it is missing and first needed */
    const char *key_path_alt; /* used instead when it exists; NULL = none */
    const char *hf_endpoint;  /* NULL = https://huggingface.co */
    const char *hf_token;     /* NULL = none */
    int32_t n_streams;        /* ranges at once, 0 = 8 */
    bool keep_unused;         /* layers that a new manifest no longer needs stay */
} registry_config;

registry *registry_create(const registry_config *c);
/* Cancels what runs and waits for transfers to end; calls fail from now on. */
void registry_stop(registry *r);
void registry_destroy(registry **r); /* nobody calls any more */

/* One line of progress; total 0 = no figures. False: nobody listens, stop. */
typedef struct registry_report {
    bool (*fn)(void *arg, const char *status, str digest, uint64_t done, uint64_t total);
    void *arg;
} registry_report;

/* `name` as users write it, with or without http(s)://; `insecure`: plain http. Errors carry the
 * texts clients know: "pull model manifest: file does not exist" ... */
err_code registry_pull(registry *r, str name, bool insecure, const registry_report *report, err *e);
err_code registry_push(registry *r, str name, bool insecure, const registry_report *report, err *e);

/* A file of a Hugging Face repository ("hf.co/user/repo/path/file.safetensors" or the address of
 * its page) to `dir`/<file name>. Its SHA-256 is checked where the site tells it. A file that is
 * there with the right size is kept. */
err_code registry_fetch_file(registry *r, str name, str dir, const registry_report *report, err *e);

/* The parts of a split GGUF of a Hugging Face repository, as blobs of the store: the site serves
 * such models to nobody as one ("sharded GGUF"). The tag says which quantisation. */
typedef struct registry_shard {
    str name;   /* of the file */
    str digest; /* of the blob */
} registry_shard;
typedef struct registry_shards {
    registry_shard *items; /* [n] */
    size_t n;
} registry_shards;
err_code registry_pull_shards(registry *r, const store_name *name, const registry_report *report,
                              arena *a, registry_shards *ret, err *e);
