/* Latents: batches. The batch index says which draw of the noise a row gets, so that a row taken
 * out of a batch is sampled as it would have been inside. */
#include "flow/nodes/pixel_runs.h"
#include "flow/nodes/pixels.h"
#include <string.h>

static size_t row_len(const flow_latent *l) {
    return l->c * l->y * l->x;
}

static int64_t index_at(const flow_latent *l, size_t i) {
    return l->batch_index ? l->batch_index[i] : (int64_t)i;
}

/* Rows [from, from + n) of a mask as long as the batch: it repeats to n_batch rows first. */
static err_code mask_rows(const flow_mask *in, size_t from, size_t n, flow_mask **ret, err *e) {
    TRY(px_mask_new(n, in->y, in->x, ret, e));
    size_t len = in->y * in->x;
    for (size_t i = 0; i < n; i++)
        memcpy((*ret)->px + i * len, in->px + (from + i) % in->n * len, len * sizeof(float));
    return ERR_OK;
}

err_code latent_from_batch_run(flow_call *c, err *e) {
    const flow_latent *in;
    int64_t index;
    size_t n;
    TRY(px_in_latent(c, "samples", &in, e));
    TRY(flow_in_int(c, "batch_index", &index, e));
    TRY(px_in_size(c, "length", &n, e));
    if (index < 0) index = index + (int64_t)in->n < 0 ? 0 : index + (int64_t)in->n;
    size_t from = (size_t)index < in->n - 1 ? (size_t)index : in->n - 1;
    if (n > in->n - from) n = in->n - from;
    CLEANUP(px_latent_drop) flow_latent *out = NULL;
    TRY(px_latent_new(n, in->c, in->y, in->x, &out, e));
    memcpy(out->px, in->px + from * row_len(in), px_latent_len(out) * sizeof(float));
    if (in->mask && in->mask->n == 1)
        TRY(px_mask_copy(in->mask, &out->mask, e));
    else if (in->mask)
        TRY(mask_rows(in->mask, from, n, &out->mask, e));
    out->batch_index = NEW_ARRAY(int64_t, n);
    for (size_t i = 0; i < n; i++) out->batch_index[i] = index_at(in, from + i);
    px_out_latent(c, 0, TAKE(out));
    return ERR_OK;
}

/* Further copies get indices behind those of the first. */
static void repeat_index(const flow_latent *in, size_t amount, int64_t *ret) {
    int64_t low = in->batch_index[0], high = low;
    for (size_t i = 0; i < in->n; i++) {
        if (in->batch_index[i] < low) low = in->batch_index[i];
        if (in->batch_index[i] > high) high = in->batch_index[i];
    }
    for (size_t k = 0; k < amount * in->n; k++)
        ret[k] = in->batch_index[k % in->n] + (int64_t)(k / in->n) * (high - low + 1);
}

err_code latent_repeat_batch_run(flow_call *c, err *e) {
    const flow_latent *in;
    size_t amount;
    TRY(px_in_latent(c, "samples", &in, e));
    TRY(px_in_size(c, "amount", &amount, e));
    CLEANUP(px_latent_drop) flow_latent *out = NULL;
    TRY(px_latent_new(in->n * amount, in->c, in->y, in->x, &out, e));
    for (size_t i = 0; i < amount; i++)
        memcpy(out->px + i * px_latent_len(in), in->px, px_latent_len(in) * sizeof(float));
    if (in->mask && in->mask->n == 1) TRY(px_mask_copy(in->mask, &out->mask, e));
    if (in->mask && in->mask->n > 1) {
        CLEANUP(px_mask_drop) flow_mask *rows = NULL;
        TRY(mask_rows(in->mask, 0, in->n > in->mask->n ? in->n : in->mask->n, &rows, e));
        TRY(mask_rows(rows, 0, rows->n * amount, &out->mask, e));
    }
    if (in->batch_index) {
        out->batch_index = NEW_ARRAY(int64_t, in->n * amount);
        repeat_index(in, amount, out->batch_index);
    }
    px_out_latent(c, 0, TAKE(out));
    return ERR_OK;
}

err_code latent_batch_run(flow_call *c, err *e) {
    const flow_latent *a, *b;
    TRY(px_in_latent(c, "samples1", &a, e));
    TRY(px_in_latent(c, "samples2", &b, e));
    if (a->c != b->c)
        FAIL(e, INVALID, "latents of %zu and %zu channels do not go into one batch", a->c, b->c);
    CLEANUP(px_latent_drop) flow_latent *out = NULL, *fit = NULL;
    if (a->y != b->y || a->x != b->x)
        TRY(px_latent_upscale(b, (resize_target){RESIZE_BILINEAR, a->y, a->x}, true, &fit, e));
    TRY(px_latent_new(a->n + b->n, a->c, a->y, a->x, &out, e));
    memcpy(out->px, a->px, px_latent_len(a) * sizeof(float));
    memcpy(out->px + px_latent_len(a), fit ? fit->px : b->px, b->n * row_len(a) * sizeof(float));
    if (a->mask) TRY(px_mask_copy(a->mask, &out->mask, e));
    out->batch_index = NEW_ARRAY(int64_t, out->n);
    for (size_t i = 0; i < out->n; i++)
        out->batch_index[i] = i < a->n ? index_at(a, i) : index_at(b, i - a->n);
    px_out_latent(c, 0, TAKE(out));
    return ERR_OK;
}

/* ---- batches of another length */

typedef struct rebatch {
    const flow_value *list; /* of LATENT */
    size_t n_rows;
} rebatch;

/* The latent that row i of all rows lies in; *ret_row is its row there, *ret_index its place. */
static const flow_latent *row_at(const rebatch *r, size_t i, size_t *ret_row, int64_t *ret_index) {
    size_t before = 0;
    for (size_t k = 0; k < flow_value_len(r->list); k++) {
        const flow_latent *l = flow_value_as_object(flow_value_at(r->list, k), "LATENT");
        if (i < before + l->n) {
            *ret_row = i - before;
            *ret_index = l->batch_index ? l->batch_index[i - before] : (int64_t)i;
            return l;
        }
        before += l->n;
    }
    return NULL;
}

/* Masks at eight pixels a unit, so that those of several latents fit together; 1 where none is. */
static err_code rebatch_mask(const rebatch *r, size_t from, flow_latent *out, err *e) {
    size_t y = out->y * 8, x = out->x * 8, row;
    int64_t index;
    CLEANUP(px_mask_drop) flow_mask *m = NULL, *fit = NULL;
    const flow_latent *fitted = NULL;
    bool any = false;
    TRY(px_mask_new(out->n, y, x, &m, e));
    for (size_t i = 0; i < out->n; i++) {
        const flow_latent *l = row_at(r, from + i, &row, &index);
        float *to = m->px + i * y * x;
        if (!l->mask) {
            for (size_t k = 0; k < y * x; k++) to[k] = 1.0f;
            continue;
        }
        if (fitted != l) {
            px_mask_drop(&fit);
            TRY(px_mask_upscale(l->mask, y, x, &fit, e));
            fitted = l;
        }
        memcpy(to, fit->px + row % fit->n * y * x, y * x * sizeof(float));
        any = true;
    }
    if (any) out->mask = TAKE(m);
    return ERR_OK;
}

static bool any_mask(const flow_value *list) {
    for (size_t k = 0; k < flow_value_len(list); k++) {
        const flow_latent *l = flow_value_as_object(flow_value_at(list, k), "LATENT");
        if (l->mask) return true;
    }
    return false;
}

static err_code rebatch_rows(const rebatch *r, size_t from, size_t n, flow_value *to, err *e) {
    size_t row;
    int64_t index;
    const flow_latent *first = row_at(r, from, &row, &index);
    CLEANUP(px_latent_drop) flow_latent *out = NULL;
    TRY(px_latent_new(n, first->c, first->y, first->x, &out, e));
    out->batch_index = NEW_ARRAY(int64_t, n);
    for (size_t i = 0; i < n; i++) {
        const flow_latent *l = row_at(r, from + i, &row, &index);
        memcpy(out->px + i * row_len(out), l->px + row * row_len(l), row_len(out) * sizeof(float));
        out->batch_index[i] = index;
    }
    if (any_mask(r->list)) TRY(rebatch_mask(r, from, out, e));
    flow_value_push(to, px_latent_value(TAKE(out)));
    return ERR_OK;
}

/* Rows from `from` on that go into one batch: equal sizes, at most `size` of them. */
static size_t rows_together(const rebatch *r, size_t from, size_t size) {
    size_t row, n = 0;
    int64_t index;
    const flow_latent *first = row_at(r, from, &row, &index);
    for (; n < size && from + n < r->n_rows; n++) {
        const flow_latent *l = row_at(r, from + n, &row, &index);
        if (l->c != first->c || l->y != first->y || l->x != first->x) break;
    }
    return n;
}

/* Whole lists come in: the inputs are FLOW_LISTs. */
err_code latent_rebatch_run(flow_call *c, err *e) {
    rebatch r = {.list = flow_in(c, "latents")};
    const flow_value *sizes = flow_in(c, "batch_size");
    if (!r.list || !sizes || !flow_value_len(r.list) || !flow_value_len(sizes))
        FAIL(e, INVALID, "latents: none to put into batches");
    int64_t size = flow_value_as_int(flow_value_at(sizes, 0));
    if (size < 1) FAIL(e, INVALID, "batch_size is %lld", (long long)size);
    for (size_t k = 0; k < flow_value_len(r.list); k++) {
        const flow_latent *l = flow_value_as_object(flow_value_at(r.list, k), "LATENT");
        if (!l) FAIL(e, INVALID, "latents: item %zu is not a latent", k);
        r.n_rows += l->n;
    }
    CLEANUP(flow_value_unref) flow_value *out = flow_value_list();
    for (size_t at = 0; at < r.n_rows;) {
        size_t n = rows_together(&r, at, (size_t)size);
        TRY(rebatch_rows(&r, at, n, out, e));
        at += n;
    }
    flow_out(c, 0, TAKE(out));
    return ERR_OK;
}

/* ---- what samplers read */

static err_code latent_copy(const flow_latent *in, flow_latent **ret, err *e) {
    TRY(px_latent_like(in, in->y, in->x, ret, e));
    memcpy((*ret)->px, in->px, px_latent_len(in) * sizeof(float));
    return ERR_OK;
}

err_code latent_seed_behavior_run(flow_call *c, err *e) {
    const flow_latent *in;
    flow_latent *out;
    str behavior;
    TRY(px_in_latent(c, "samples", &in, e));
    TRY(flow_in_text(c, "seed_behavior", &behavior, e));
    TRY(latent_copy(in, &out, e));
    int64_t first = index_at(in, 0);
    mem_free(out->batch_index);
    out->batch_index = NULL;
    if (str_eq(behavior, STR("fixed"))) {
        out->batch_index = NEW_ARRAY(int64_t, in->n);
        for (size_t i = 0; i < in->n; i++) out->batch_index[i] = first;
    }
    px_out_latent(c, 0, out);
    return ERR_OK;
}

err_code latent_set_noise_mask_run(flow_call *c, err *e) {
    const flow_latent *in;
    const flow_mask *mask;
    TRY(px_in_latent(c, "samples", &in, e));
    TRY(px_in_mask(c, "mask", &mask, e));
    CLEANUP(px_latent_drop) flow_latent *out = NULL;
    TRY(latent_copy(in, &out, e));
    px_mask_drop(&out->mask);
    TRY(px_mask_copy(mask, &out->mask, e));
    px_out_latent(c, 0, TAKE(out));
    return ERR_OK;
}
