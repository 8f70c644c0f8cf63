/* Inside create: what is gathered while a model is made. */
#pragma once
#include "api/create.h"
#include "base/vec.h"
#include "engine/engine.h"

typedef struct building {
    api *a;
    const create_request *c;
    const create_report *report;
    store_config config;
    VEC(store_layer) layers;
    str base_params; /* JSON of the base model's PARAMS layer */
} building;

/* CANCELLED when nobody listens any more. */
err_code create_say(building *b, err *e, const char *status, str digest, uint64_t done,
                    uint64_t total);
err_code create_say_layer(building *b, const store_layer *l, bool existed, err *e);

/* A step that writes a new file, for engine_progress. */
typedef struct create_step {
    building *b;
    const char *status;
    str digest;
} create_step;
bool create_progress(void *step, uint64_t done, uint64_t total);
/* Takes a file that was written into the store, or removes it when `code` says so. */
err_code create_adopt(building *b, const char *temp, err_code code, str *ret_digest, err *e);
err_code create_add_layer(building *b, store_layer_kind kind, str digest, err *e);
const char *create_blob_path(building *b, str digest);
/* The files as the engine takes them. NOT_FOUND when one is not in the store. */
err_code create_sources(building *b, const create_file *files, size_t n, const engine_source **ret,
                        err *e);

/* create_adapter.c: the request's adapter, if it has one, over the model that is there already. */
err_code create_add_adapter(building *b, err *e);
/* create_files.c: the layers of the request's files; quantises when the request says so. */
err_code create_add_files(building *b, err *e);
/* *digest: the model as it is; afterwards the quantised one, which is in the store too. */
err_code create_quantize(building *b, str *digest, err *e);
