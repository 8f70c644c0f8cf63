/* Networks of picture models: what every one of them is made of.
 *
 * A diff_net is weights bound to a device, and the programs compiled from them, one per shape. A
 * family (arch/) describes its graph; this module plans, compiles, keeps and runs it in slices, so
 * that others get their turn on the device between blocks.
 * Owner: counted references. Threads: one evaluation at a time per device. */
#pragma once
#include "dev/dev.h"
#include "diffusion/weights.h"

/* Asks for a turn on the device. pause: called between slices of some 10 ms; waits while somebody
 * else has the device; ERR_CANCELLED when the work is not wanted any more. pause may be NULL. */
typedef struct diff_gate {
    void *ctx;
    err_code (*pause)(void *ctx, err *e);
    dev_cancel *cancel; /* or NULL */
} diff_gate;

typedef struct diff_net diff_net;

enum { DIFF_TUNES = 18 };
/* What a program computes; lengths are in the network's own units. Unused fields are 0. */
typedef struct diff_shape {
    int32_t kind; /* of the family: which graph */
    int32_t x, y, batch, context, extra;
    float tune[DIFF_TUNES]; /* of the family */
} diff_shape;

/* Describes the graph for a shape; mistakes are the graph's. */
typedef void (*diff_build)(diff_weights *w, graph *g, const diff_shape *s);

diff_net *diff_net_create(dev *d, diff_weights *w, diff_build build); /* takes w's reference */
diff_net *diff_net_ref(diff_net *n);
void diff_net_unref(diff_net **n);
diff_weights *diff_net_weights(const diff_net *n);
dev *diff_net_device(const diff_net *n);
/* Its compiled programs and their arenas go; they come back when needed. */
void diff_net_drop_programs(diff_net *n);

/* What running a shape takes. */
typedef struct diff_cost {
    uint64_t weights; /* bytes, with copies */
    uint64_t plan;    /* bytes of intermediate results */
    double flops;     /* of matrices, convolutions and attention */
} diff_cost;
/* Builds the plan if it is not there yet. FORMAT names a tensor that is missing or misshapen. */
err_code diff_net_cost(diff_net *n, const diff_shape *s, diff_cost *ret, err *e);

/* Runs it. Data and outputs as the family says. */
typedef struct diff_io {
    const float *data[DEV_DATA_COUNT];
    float *result, *second;
} diff_io;
err_code diff_net_run(diff_net *n, const diff_shape *s, const diff_io *io, const diff_gate *gate,
                      err *e);

/* [B,C,Y,X] to [B,Y,X,C] and back; n pictures. */
void diff_to_nhwc(const float *src, float *dst, int64_t n, int64_t c, int64_t pixels);
void diff_to_nchw(const float *src, float *dst, int64_t n, int64_t c, int64_t pixels);
