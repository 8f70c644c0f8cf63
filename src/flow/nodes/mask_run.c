/* Masks: making, combining and converting them. */
#include "flow/nodes/pixel_runs.h"
#include "flow/nodes/pixels.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

err_code mask_to_image_run(flow_call *c, err *e) {
    const flow_mask *in;
    flow_image *out;
    TRY(px_in_mask(c, "mask", &in, e));
    TRY(px_image_new(in->n, in->y, in->x, 3, &out, e));
    for (size_t i = 0; i < px_image_len(out); i++) out->px[i] = in->px[i / 3];
    px_out_image(c, 0, out);
    return ERR_OK;
}

err_code mask_from_image_run(flow_call *c, err *e) {
    static const char *const names[] = {"red", "green", "blue", "alpha"};
    const flow_image *in;
    flow_mask *out;
    str name;
    TRY(px_in_image(c, "image", &in, e));
    TRY(flow_in_text(c, "channel", &name, e));
    size_t k = 0;
    while (k < COUNT_OF(names) && !str_eq(name, str_from(names[k]))) k++;
    if (k >= in->c)
        FAIL(e, INVALID, "channel: the picture has no " STR_FMT ", it has %zu channels",
             STR_ARG(name), in->c);
    TRY(px_mask_new(in->n, in->y, in->x, &out, e));
    for (size_t i = 0; i < px_mask_len(out); i++) out->px[i] = in->px[i * in->c + k];
    px_out_mask(c, 0, out);
    return ERR_OK;
}

err_code mask_from_color_run(flow_call *c, err *e) {
    const flow_image *in;
    flow_mask *out;
    size_t color;
    TRY(px_in_image(c, "image", &in, e));
    TRY(px_in_size(c, "color", &color, e));
    if (in->c < 3) FAIL(e, INVALID, "image has %zu channels; 3 are needed", in->c);
    TRY(px_mask_new(in->n, in->y, in->x, &out, e));
    for (size_t i = 0; i < px_mask_len(out); i++) {
        size_t v = 0;
        for (size_t k = 0; k < 3; k++)
            v = v << 8 | (size_t)rintf(px_clamp01(in->px[i * in->c + k]) * 255.0f);
        out->px[i] = v == color ? 1.0f : 0.0f;
    }
    px_out_mask(c, 0, out);
    return ERR_OK;
}

err_code mask_solid_run(flow_call *c, err *e) {
    flow_mask *out;
    size_t width, height;
    double v;
    TRY(flow_in_float(c, "value", &v, e));
    TRY(px_in_size(c, "width", &width, e));
    TRY(px_in_size(c, "height", &height, e));
    TRY(px_mask_new(1, height, width, &out, e));
    for (size_t i = 0; i < px_mask_len(out); i++) out->px[i] = (float)v;
    px_out_mask(c, 0, out);
    return ERR_OK;
}

err_code mask_invert_run(flow_call *c, err *e) {
    const flow_mask *in;
    flow_mask *out;
    TRY(px_in_mask(c, "mask", &in, e));
    TRY(px_mask_like(in, &out, e));
    for (size_t i = 0; i < px_mask_len(in); i++) out->px[i] = 1.0f - in->px[i];
    px_out_mask(c, 0, out);
    return ERR_OK;
}

err_code mask_crop_run(flow_call *c, err *e) {
    const flow_mask *in;
    flow_mask *out;
    resize_rect r;
    TRY(px_in_mask(c, "mask", &in, e));
    TRY(px_in_size(c, "x", &r.x, e));
    TRY(px_in_size(c, "y", &r.y, e));
    TRY(px_in_size(c, "width", &r.width, e));
    TRY(px_in_size(c, "height", &r.height, e));
    if (r.x >= in->x || r.y >= in->y)
        FAIL(e, INVALID, "the crop starts at %zu,%zu, outside the mask of %zux%zu", r.x, r.y, in->x,
             in->y);
    if (r.width > in->x - r.x) r.width = in->x - r.x;
    if (r.height > in->y - r.y) r.height = in->y - r.y;
    TRY(px_mask_new(in->n, r.height, r.width, &out, e));
    resize_dims d = px_mask_dims(in);
    resize_cut(in->px, &d, r, out->px);
    px_out_mask(c, 0, out);
    return ERR_OK;
}

/* ---- combining */

typedef enum mask_op {
    MASK_MULTIPLY,
    MASK_ADD,
    MASK_SUBTRACT,
    MASK_AND,
    MASK_OR,
    MASK_XOR
} mask_op;

static float combined(float a, float b, mask_op op) {
    bool set_a = fabsf(rintf(a)) > 0, set_b = fabsf(rintf(b)) > 0;
    switch (op) {
    case MASK_MULTIPLY:
        return a * b;
    case MASK_ADD:
        return a + b;
    case MASK_SUBTRACT:
        return a - b;
    case MASK_AND:
        return set_a && set_b ? 1.0f : 0.0f;
    case MASK_OR:
        return set_a || set_b ? 1.0f : 0.0f;
    case MASK_XOR:
        return set_a != set_b ? 1.0f : 0.0f;
    }
    return a;
}

err_code mask_composite_run(flow_call *c, err *e) {
    static const char *const names[] = {"multiply", "add", "subtract", "and", "or", "xor"};
    const flow_mask *to, *from;
    size_t x0, y0, op = 0;
    str name;
    TRY(px_in_mask(c, "destination", &to, e));
    TRY(px_in_mask(c, "source", &from, e));
    TRY(px_in_size(c, "x", &x0, e));
    TRY(px_in_size(c, "y", &y0, e));
    TRY(flow_in_text(c, "operation", &name, e));
    while (op < COUNT_OF(names) && !str_eq(name, str_from(names[op]))) op++;
    if (op == COUNT_OF(names)) FAIL(e, INVALID, "operation: there is no " STR_FMT, STR_ARG(name));
    if (from->n != to->n && from->n != 1)
        FAIL(e, INVALID, "batches of %zu and %zu masks do not go together", to->n, from->n);
    flow_mask *out;
    TRY(px_mask_copy(to, &out, e));
    for (size_t n = 0; n < to->n; n++)
        for (size_t y = 0; y < from->y && y0 + y < to->y; y++)
            for (size_t x = 0; x < from->x && x0 + x < to->x; x++) {
                float *at = out->px + (n * to->y + y0 + y) * to->x + x0 + x;
                *at = combined(*at, from->px[((n % from->n) * from->y + y) * from->x + x],
                               (mask_op)op);
            }
    for (size_t i = 0; i < px_mask_len(out); i++) out->px[i] = px_clamp01(out->px[i]);
    px_out_mask(c, 0, out);
    return ERR_OK;
}

/* ---- edges */

/* Multiplies line `at` of every mask by `by`; a column when `upright`. */
static void fade_line(flow_mask *m, size_t at, bool upright, float by) {
    size_t n_lines = m->n * (upright ? m->y : 1), len = upright ? 1 : m->x;
    size_t step = upright ? m->x : m->y * m->x, start = upright ? at : at * m->x;
    for (size_t i = 0; i < n_lines; i++)
        for (size_t k = 0; k < len; k++) m->px[start + i * step + k] *= by;
}

/* Ramps of (i + 1) / n. From the far side line i is -i, as ComfyUI counts it: the first of them is
 * line 0 of the near side, and the last lines get (i + 1) / n from i = 1 on. */
static void fade(flow_mask *m, size_t n, bool upright, bool far) {
    size_t len = upright ? m->x : m->y;
    if (n > len) n = len;
    for (size_t i = 0; i < n; i++)
        fade_line(m, far && i ? len - i : i, upright, (float)(((double)i + 1.0) / (double)n));
}

err_code mask_feather_run(flow_call *c, err *e) {
    const flow_mask *in;
    flow_mask *out;
    size_t left, top, right, bottom;
    TRY(px_in_mask(c, "mask", &in, e));
    TRY(px_in_size(c, "left", &left, e));
    TRY(px_in_size(c, "top", &top, e));
    TRY(px_in_size(c, "right", &right, e));
    TRY(px_in_size(c, "bottom", &bottom, e));
    TRY(px_mask_copy(in, &out, e));
    fade(out, left, true, false);
    fade(out, right, true, true);
    fade(out, top, false, false);
    fade(out, bottom, false, true);
    px_out_mask(c, 0, out);
    return ERR_OK;
}

/* One step: the extreme of the neighbours inside, with or without the corners. True if it changed
 * anything. */
static bool grow_step(const flow_mask *in, bool largest, bool corners, float *dst) {
    bool changed = false;
    for (size_t i = 0; i < px_mask_len(in); i++) {
        size_t y = i / in->x % in->y, x = i % in->x;
        float v = in->px[i];
        for (int dy = -1; dy <= 1; dy++)
            for (int dx = -1; dx <= 1; dx++) {
                if (dx && dy && !corners) continue;
                if ((dy < 0 && !y) || (dx < 0 && !x)) continue;
                if ((dy > 0 && y + 1 == in->y) || (dx > 0 && x + 1 == in->x)) continue;
                float o = in->px[(ptrdiff_t)i + dy * (ptrdiff_t)in->x + dx];
                if (largest ? o > v : o < v) v = o;
            }
        changed = changed || v > in->px[i] || v < in->px[i];
        dst[i] = v;
    }
    return changed;
}

err_code mask_grow_run(flow_call *c, err *e) {
    const flow_mask *in;
    int64_t expand;
    bool tapered;
    TRY(px_in_mask(c, "mask", &in, e));
    TRY(flow_in_int(c, "expand", &expand, e));
    TRY(flow_in_bool(c, "tapered_corners", &tapered, e));
    CLEANUP(px_mask_drop) flow_mask *a = NULL, *b = NULL;
    TRY(px_mask_copy(in, &a, e));
    TRY(px_mask_like(in, &b, e));
    int64_t steps = expand < 0 ? -expand : expand;
    for (int64_t i = 0; i < steps; i++) {
        if (i % 16 == 0) TRY(flow_progress(c, i, steps, e));
        if (!grow_step(a, expand > 0, !tapered, b->px)) break;
        flow_mask *t = a;
        a = b;
        b = t;
    }
    px_out_mask(c, 0, TAKE(a));
    return ERR_OK;
}

err_code mask_threshold_run(flow_call *c, err *e) {
    const flow_mask *in;
    flow_mask *out;
    double v;
    TRY(px_in_mask(c, "mask", &in, e));
    TRY(flow_in_float(c, "value", &v, e));
    TRY(px_mask_like(in, &out, e));
    for (size_t i = 0; i < px_mask_len(in); i++) out->px[i] = in->px[i] > (float)v ? 1.0f : 0.0f;
    px_out_mask(c, 0, out);
    return ERR_OK;
}
