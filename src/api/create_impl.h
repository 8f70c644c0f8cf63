/* Inside create: what is gathered while a model is made. */
#pragma once
#include "api/create.h"
#include "base/vec.h"

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

/* create_files.c: the layers of the request's files; quantises when the request says so. */
err_code create_add_files(building *b, err *e);
/* *digest: the model as it is; afterwards the quantised one, which is in the store too. */
err_code create_quantize(building *b, str *digest, err *e);
