/* Conditioning: where, when and how strongly a prompt counts. */
#include "base/limits.h"
#include "flow/nodes/model_runs.h"
#include <math.h>
#include <string.h>

/* A list of copies to change, one for each entry. */
static diff_conds *copy_all(const diff_conds *from) {
    diff_conds *l = diff_conds_new(from->n);
    for (size_t i = 0; i < from->n; i++) l->items[i] = diff_cond_copy(from->items[i]);
    return l;
}

err_code cond_combine_run(flow_call *c, err *e) {
    const diff_conds *a, *b;
    TRY(md_in_conds(c, "conditioning_1", &a, e));
    TRY(md_in_conds(c, "conditioning_2", &b, e));
    if (a->n + b->n > LIMIT_CONDS)
        FAIL(e, LIMIT, "%zu conditionings together; at most %d", a->n + b->n, LIMIT_CONDS);
    diff_conds *l = diff_conds_new(a->n + b->n);
    for (size_t i = 0; i < l->n; i++)
        l->items[i] = diff_cond_ref(i < a->n ? a->items[i] : b->items[i - a->n]);
    md_out_conds(c, 0, l);
    return ERR_OK;
}

static err_code check_from(const diff_conds *from, const diff_conds *to, err *e) {
    if (from->n == 0) FAIL(e, INVALID, "conditioning_from is empty");
    for (size_t i = 0; i < to->n; i++)
        if (to->items[i]->dim != from->items[0]->dim)
            FAIL(e, INVALID, "the two conditionings are %d and %d wide: use one text encoder",
                 to->items[i]->dim, from->items[0]->dim);
    return ERR_OK;
}

/* a share + b (1 - share); b ends early: zeros. */
static diff_floats_ref *average(const diff_floats_ref *a, const diff_floats_ref *b, float share) {
    diff_floats_ref *v = diff_floats_new(a->n);
    for (size_t i = 0; i < a->n; i++)
        v->v[i] = a->v[i] * share + (i < b->n ? b->v[i] : 0) * (1 - share);
    return v;
}

err_code cond_average_run(flow_call *c, err *e) {
    const diff_conds *to, *from;
    double share;
    TRY(md_in_conds(c, "conditioning_to", &to, e));
    TRY(md_in_conds(c, "conditioning_from", &from, e));
    TRY(flow_in_float(c, "conditioning_to_strength", &share, e));
    TRY(check_from(from, to, e));
    const diff_cond *f = from->items[0];
    diff_conds *l = copy_all(to);
    for (size_t i = 0; i < l->n; i++) {
        diff_cond *x = l->items[i];
        diff_floats_ref *v = average(x->vectors, f->vectors, (float)share), *p = NULL;
        if (f->pooled) p = average(x->pooled ? x->pooled : f->pooled, f->pooled, (float)share);
        diff_floats_drop(&x->vectors);
        x->vectors = v;
        if (!p) continue;
        diff_floats_drop(&x->pooled);
        x->pooled = p;
    }
    md_out_conds(c, 0, l);
    return ERR_OK;
}

err_code cond_concat_run(flow_call *c, err *e) {
    const diff_conds *to, *from;
    TRY(md_in_conds(c, "conditioning_to", &to, e));
    TRY(md_in_conds(c, "conditioning_from", &from, e));
    TRY(check_from(from, to, e));
    const diff_floats_ref *f = from->items[0]->vectors;
    for (size_t i = 0; i < to->n; i++)
        if (to->items[i]->n_tokens + from->items[0]->n_tokens > LIMIT_COND_TOKENS)
            FAIL(e, LIMIT, "a prompt of %d tokens; at most %d",
                 to->items[i]->n_tokens + from->items[0]->n_tokens, LIMIT_COND_TOKENS);
    diff_conds *l = copy_all(to);
    for (size_t i = 0; i < l->n; i++) {
        diff_cond *x = l->items[i];
        diff_floats_ref *v = diff_floats_new(x->vectors->n + f->n);
        memcpy(v->v, x->vectors->v, x->vectors->n * sizeof(float));
        memcpy(v->v + x->vectors->n, f->v, f->n * sizeof(float));
        diff_floats_drop(&x->vectors);
        x->vectors = v;
        x->n_tokens += from->items[0]->n_tokens;
    }
    md_out_conds(c, 0, l);
    return ERR_OK;
}

static err_code set_area(flow_call *c, diff_area_kind kind, double unit, err *e) {
    static const char *const NAMES[] = {"height", "width", "y", "x"};
    const diff_conds *from;
    double area[4], strength;
    TRY(md_in_conds(c, "conditioning", &from, e));
    for (size_t i = 0; i < 4; i++) {
        TRY(flow_in_float(c, NAMES[i], &area[i], e));
        if (unit > 1) area[i] = floor(area[i] / unit);
    }
    TRY(flow_in_float(c, "strength", &strength, e));
    diff_conds *l = copy_all(from);
    for (size_t i = 0; i < l->n; i++) {
        diff_cond *x = l->items[i];
        x->area_kind = kind;
        memcpy(x->area, area, sizeof area);
        x->strength = strength;
        x->mask_bounds = false;
    }
    md_out_conds(c, 0, l);
    return ERR_OK;
}

err_code cond_area_run(flow_call *c, err *e) {
    return set_area(c, DIFF_AREA_CELLS, 8, e);
}

err_code cond_area_percent_run(flow_call *c, err *e) {
    return set_area(c, DIFF_AREA_PERCENT, 1, e);
}

err_code cond_strength_run(flow_call *c, err *e) {
    const diff_conds *from;
    double strength;
    TRY(md_in_conds(c, "conditioning", &from, e));
    TRY(flow_in_float(c, "strength", &strength, e));
    diff_conds *l = copy_all(from);
    for (size_t i = 0; i < l->n; i++) l->items[i]->strength = strength;
    md_out_conds(c, 0, l);
    return ERR_OK;
}

err_code cond_mask_run(flow_call *c, err *e) {
    const diff_conds *from;
    const flow_mask *mask;
    double strength;
    str where;
    TRY(md_in_conds(c, "conditioning", &from, e));
    TRY(px_in_mask(c, "mask", &mask, e));
    TRY(flow_in_float(c, "strength", &strength, e));
    TRY(flow_in_text(c, "set_cond_area", &where, e));
    diff_floats_ref *v = diff_floats_new(px_mask_len(mask));
    memcpy(v->v, mask->px, v->n * sizeof(float));
    diff_conds *l = copy_all(from);
    for (size_t i = 0; i < l->n; i++) {
        diff_cond *x = l->items[i];
        diff_floats_drop(&x->mask);
        x->mask = diff_floats_share(v);
        x->mask_n = (int32_t)mask->n;
        x->mask_y = (int32_t)mask->y;
        x->mask_x = (int32_t)mask->x;
        x->mask_strength = strength;
        x->mask_bounds = !str_eq(where, STR("default"));
    }
    diff_floats_drop(&v);
    md_out_conds(c, 0, l);
    return ERR_OK;
}

static void scale(diff_floats_ref **at, float by) {
    if (!*at) return;
    diff_floats_ref *v = diff_floats_new((*at)->n);
    for (size_t i = 0; i < v->n; i++) v->v[i] = by < 0 || by > 0 ? (*at)->v[i] * by : 0;
    diff_floats_drop(at);
    *at = v;
}

static err_code scale_all(flow_call *c, float by, err *e) {
    const diff_conds *from;
    TRY(md_in_conds(c, "conditioning", &from, e));
    diff_conds *l = copy_all(from);
    for (size_t i = 0; i < l->n; i++) {
        scale(&l->items[i]->vectors, by);
        scale(&l->items[i]->pooled, by);
    }
    md_out_conds(c, 0, l);
    return ERR_OK;
}

err_code cond_zero_run(flow_call *c, err *e) {
    return scale_all(c, 0, e);
}

err_code cond_multiply_run(flow_call *c, err *e) {
    double by;
    TRY(flow_in_float(c, "multiplier", &by, e));
    return scale_all(c, (float)by, e);
}

err_code cond_range_run(flow_call *c, err *e) {
    const diff_conds *from;
    double start, end;
    TRY(md_in_conds(c, "conditioning", &from, e));
    TRY(flow_in_float(c, "start", &start, e));
    TRY(flow_in_float(c, "end", &end, e));
    diff_conds *l = copy_all(from);
    for (size_t i = 0; i < l->n; i++) {
        l->items[i]->has_range = true;
        l->items[i]->start = start;
        l->items[i]->end = end;
    }
    md_out_conds(c, 0, l);
    return ERR_OK;
}
