/* LATENT_OPERATION: something done to a latent, by a node or inside sampling.
 *
 * The object is plain data; mem_free ends it. Threads: read-only, any. */
#pragma once
#include "base/err.h"
#include <stddef.h>

#define FLOW_LATENT_OPERATION "LATENT_OPERATION"

typedef enum latent_op_kind {
    LATENT_OP_TONEMAP, /* Reinhard's curve on the length of the channel vectors */
    LATENT_OP_SHARPEN  /* sharpens their directions */
} latent_op_kind;

typedef struct latent_op {
    latent_op_kind kind;
    double multiplier;   /* TONEMAP */
    size_t radius;       /* SHARPEN: latent units */
    double sigma, alpha; /* SHARPEN: as image/filter.h has them */
} latent_op;

/* px [n, c, y, x] in place. INVALID when the radius does not fit; NOMEM. */
typedef struct latent_op_dims {
    size_t n, c, y, x;
} latent_op_dims;
err_code latent_op_apply(const latent_op *op, const latent_op_dims *d, float *px, err *e);
