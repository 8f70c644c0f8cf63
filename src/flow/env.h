/* What nodes may ask of the machine while they run: folders, the device, the language model.
 *
 * One flow_env for each running workflow, filled by the engine; flow_call_env gives it. Nodes see
 * files only through the folders here, which check every name for leaving its folder.
 * Threads: the one that runs the workflow. */
#pragma once
#include "diffusion/net.h"
#include "flow/call.h"

/* Where pictures and their models lie, given by the server. Directories are absolute. */
typedef struct flow_folders {
    void *ctx;
    /* Pushes the names a folder offers, in menu order. `folder` is a key as "checkpoints", or
     * "input" for pictures that were uploaded. */
    void (*files)(void *ctx, const char *folder, arena *a, value *list);
    /* The path of an existing file of the folder; false when there is none or the name leaves it.
     * For "input" the name may end in " [output]", " [temp]" or " [input]". */
    bool (*path)(void *ctx, const char *folder, str name, arena *a, str *ret_path);
    str output, input, temp;
    str owner; /* an account's id: other accounts' folders, which bear theirs, are out of reach, and
                * what is written goes into its own; empty: all in common */
} flow_folders;

/* Whether the job's owner may read a file of this name: it lies in no other account's folder. */
bool flow_may_read(const flow_folders *f, str name);

typedef enum flow_preview_kind {
    FLOW_PREVIEW_NONE,
    FLOW_PREVIEW_LATENT, /* colours straight from the latent */
    FLOW_PREVIEW_TAESD   /* the small decoder, where its file is there */
} flow_preview_kind;

typedef struct flow_text_request {
    str model, system, prompt;
    int64_t seed;
    double temperature;
    int32_t n_predict;
} flow_text_request;

typedef struct flow_env {
    const flow_folders *folders;
    dev *d;
    diff_gate gate;
    flow_preview_kind preview;
    int32_t preview_px; /* longest side */
    bool no_metadata;   /* pictures are saved without their workflow */
    /* The ledger: bytes of weights and plans, reserved before they are used; waits for room.
     * `model`: whose they are, as users see it. DEVICE_NOMEM names the bytes. NULL: no account is
     * kept (tests). */
    void *ctx;
    err_code (*reserve)(void *ctx, uint64_t n_bytes, str model, err *e);
    void (*release)(void *ctx, uint64_t n_bytes);
    /* Text from a language model through the same scheduler; *ret_text lives in `a`. NULL: none. */
    err_code (*generate)(void *ctx, const flow_text_request *q, arena *a, str *ret_text, err *e);
} flow_env;
