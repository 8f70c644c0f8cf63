/* Latents: arithmetic, and operations on the vectors of their channels. */
#include "flow/nodes/latent_op.h"
#include "flow/nodes/pixel_runs.h"
#include "flow/nodes/pixels.h"
#include "image/filter.h"
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The second latent of a pair in the size of the first; *owned holds it when it had to be made. */
static err_code read_pair(flow_call *c, resize_method method, const flow_latent *pair[2],
                          flow_latent **owned, err *e) {
    TRY(px_in_latent(c, "samples1", &pair[0], e));
    TRY(px_in_latent(c, "samples2", &pair[1], e));
    if (pair[0]->c != pair[1]->c)
        FAIL(e, INVALID, "latents of %zu and %zu channels do not go together", pair[0]->c,
             pair[1]->c);
    if (pair[0]->y == pair[1]->y && pair[0]->x == pair[1]->x) return ERR_OK;
    resize_target to = {method, pair[0]->y, pair[0]->x};
    TRY(px_latent_upscale(pair[1], to, true, owned, e));
    pair[1] = *owned;
    return ERR_OK;
}

/* out = a * wa + b * wb, the second repeating to the first's batch. */
static err_code weighted_sum(flow_call *c, resize_method method, float wa, float wb, err *e) {
    const flow_latent *pair[2];
    CLEANUP(px_latent_drop) flow_latent *owned = NULL;
    flow_latent *out;
    TRY(read_pair(c, method, pair, &owned, e));
    TRY(px_latent_like(pair[0], pair[0]->y, pair[0]->x, &out, e));
    size_t n = px_latent_len(out), m = px_latent_len(pair[1]);
    for (size_t i = 0; i < n; i++) out->px[i] = pair[0]->px[i] * wa + pair[1]->px[i % m] * wb;
    px_out_latent(c, 0, out);
    return ERR_OK;
}

err_code latent_blend_run(flow_call *c, err *e) {
    double factor;
    TRY(flow_in_float(c, "blend_factor", &factor, e));
    return weighted_sum(c, RESIZE_BICUBIC, (float)factor, (float)(1 - factor), e);
}

err_code latent_add_run(flow_call *c, err *e) {
    return weighted_sum(c, RESIZE_BILINEAR, 1, 1, e);
}

err_code latent_subtract_run(flow_call *c, err *e) {
    return weighted_sum(c, RESIZE_BILINEAR, 1, -1, e);
}

err_code latent_multiply_run(flow_call *c, err *e) {
    const flow_latent *in;
    flow_latent *out;
    double by;
    TRY(px_in_latent(c, "samples", &in, e));
    TRY(flow_in_float(c, "multiplier", &by, e));
    TRY(px_latent_like(in, in->y, in->x, &out, e));
    for (size_t i = 0; i < px_latent_len(in); i++) out->px[i] = in->px[i] * (float)by;
    px_out_latent(c, 0, out);
    return ERR_OK;
}

/* ---- vectors of channels: [C] values `plane` apart */

static float vec_len(const float *v, size_t c, size_t plane) {
    float sum = 0;
    for (size_t k = 0; k < c; k++) sum += v[k * plane] * v[k * plane];
    return sqrtf(sum);
}

/* v / len with 0 for 0 / 0 and the largest number for x / 0. */
static float safe_div(float v, float len) {
    float q = v / len;
    if (isnan(q)) return 0;
    return isinf(q) ? (q > 0 ? FLT_MAX : -FLT_MAX) : q;
}

static void interpolate_vector(const float *a, const float *b, const flow_latent *d, float ratio,
                               float *out) {
    size_t plane = d->y * d->x;
    float la = vec_len(a, d->c, plane), lb = vec_len(b, d->c, plane);
    for (size_t k = 0; k < d->c; k++)
        out[k * plane] =
            safe_div(a[k * plane], la) * ratio + safe_div(b[k * plane], lb) * (1.0f - ratio);
    float lt = vec_len(out, d->c, plane), len = la * ratio + lb * (1.0f - ratio);
    for (size_t k = 0; k < d->c; k++) out[k * plane] = safe_div(out[k * plane], lt) * len;
}

err_code latent_interpolate_run(flow_call *c, err *e) {
    const flow_latent *pair[2];
    CLEANUP(px_latent_drop) flow_latent *owned = NULL;
    flow_latent *out;
    double ratio;
    TRY(flow_in_float(c, "ratio", &ratio, e));
    TRY(read_pair(c, RESIZE_BILINEAR, pair, &owned, e));
    TRY(px_latent_like(pair[0], pair[0]->y, pair[0]->x, &out, e));
    size_t plane = out->y * out->x, row = plane * out->c;
    for (size_t n = 0; n < out->n; n++)
        for (size_t i = 0; i < plane; i++)
            interpolate_vector(pair[0]->px + n * row + i, pair[1]->px + n % pair[1]->n * row + i,
                               out, (float)ratio, out->px + n * row + i);
    px_out_latent(c, 0, out);
    return ERR_OK;
}

/* ---- operations */

/* Reinhard's curve: lengths l to l / (l / top + 1), top = (mean + 5 deviations) * multiplier. */
static void tonemap_row(const latent_op *op, size_t c, size_t plane, float *len, float *px) {
    double sum = 0, squares = 0;
    for (size_t i = 0; i < plane; i++) {
        len[i] = vec_len(px + i, c, plane) + 1e-10f;
        sum += (double)len[i];
    }
    double mean = sum / (double)plane;
    for (size_t i = 0; i < plane; i++) squares += ((double)len[i] - mean) * ((double)len[i] - mean);
    double deviation = sqrt(squares / (double)(plane - 1)); /* of a sample, as torch.std */
    float top = (float)((deviation * 5 + mean) * op->multiplier);
    for (size_t i = 0; i < plane; i++) {
        float l = len[i] * (1.0f / top);
        float by = l / (l + 1.0f) * top / len[i];
        for (size_t k = 0; k < c; k++) px[k * plane + i] *= by;
    }
}

static err_code sharpen_row(const latent_op *op, const resize_dims *d, float *work, float *px,
                            err *e) {
    size_t plane = d->y * d->x, n = plane * d->c;
    float *len = work, *direction = work + plane, *out = direction + n;
    for (size_t i = 0; i < plane; i++) len[i] = vec_len(px + i, d->c, plane) + 1e-6f;
    for (size_t i = 0; i < n; i++) direction[i] = px[i] / len[i % plane];
    filter_sharpen_params p = {op->radius, op->sigma, op->alpha};
    TRY(filter_sharpen(direction, d, &p, out, e));
    for (size_t i = 0; i < n; i++) px[i] = len[i % plane] * out[i];
    return ERR_OK;
}

err_code latent_op_apply(const latent_op *op, const latent_op_dims *d, float *px, err *e) {
    size_t plane = d->y * d->x, row = plane * d->c;
    float *work = malloc((plane + 2 * row) * sizeof(float));
    if (!work) FAIL(e, NOMEM, "no memory for an operation on a latent");
    resize_dims one = {1, d->y, d->x, d->c, true};
    err_code code = ERR_OK;
    for (size_t n = 0; n < d->n && code == ERR_OK; n++) {
        if (op->kind == LATENT_OP_TONEMAP)
            tonemap_row(op, d->c, plane, work, px + n * row);
        else
            code = sharpen_row(op, &one, work, px + n * row, e);
    }
    free(work);
    return code;
}

err_code latent_apply_operation_run(flow_call *c, err *e) {
    const flow_latent *in;
    void *op = NULL;
    TRY(px_in_latent(c, "samples", &in, e));
    TRY(flow_in_object(c, "operation", FLOW_LATENT_OPERATION, &op, e));
    CLEANUP(px_latent_drop) flow_latent *out = NULL;
    TRY(px_latent_like(in, in->y, in->x, &out, e));
    memcpy(out->px, in->px, px_latent_len(in) * sizeof(float));
    latent_op_dims d = {in->n, in->c, in->y, in->x};
    TRY(latent_op_apply(op, &d, out->px, e));
    px_out_latent(c, 0, TAKE(out));
    return ERR_OK;
}

static void out_operation(flow_call *c, latent_op op) {
    latent_op *p = mem_dup(&op, sizeof op);
    flow_out(c, 0, flow_value_object(FLOW_LATENT_OPERATION, p, mem_free, sizeof op));
}

err_code latent_tonemap_run(flow_call *c, err *e) {
    latent_op op = {.kind = LATENT_OP_TONEMAP};
    TRY(flow_in_float(c, "multiplier", &op.multiplier, e));
    out_operation(c, op);
    return ERR_OK;
}

err_code latent_sharpen_run(flow_call *c, err *e) {
    latent_op op = {.kind = LATENT_OP_SHARPEN};
    TRY(px_in_size(c, "sharpen_radius", &op.radius, e));
    TRY(flow_in_float(c, "sigma", &op.sigma, e));
    TRY(flow_in_float(c, "alpha", &op.alpha, e));
    out_operation(c, op);
    return ERR_OK;
}
