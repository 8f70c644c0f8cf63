/* Guidance: conditionings to a denoiser. */
#include "base/mem.h"
#include "diffusion/guide_impl.h"
#include "image/resize.h"
#include <math.h>
#include <stdatomic.h>
#include <string.h>

enum { FEATHER = 8, ADM_SINUSOIDS = 256 };

/* ---- models ---- */

diff_model *diff_model_ref(diff_model *m) {
    atomic_fetch_add(&m->refs, 1);
    return m;
}

void diff_model_unref(diff_model **mp) {
    diff_model *m = *mp;
    *mp = NULL;
    if (!m || atomic_fetch_sub(&m->refs, 1) > 1) return;
    unet_unref(&m->net);
    diff_changes_finish(&m->changes);
    arena_destroy(&m->mem);
    mem_free(m);
}

err_code diff_model_with_sigmas(const diff_model *m, const sigmas_params *p, diff_model **ret,
                                err *e) {
    arena *a = arena_create(0);
    const sigmas_model *s;
    err_code code = sigmas_model_create(a, p, &s, e);
    if (code) {
        arena_destroy(&a);
        return code;
    }
    diff_model *n = mem_dup(m, sizeof *m);
    atomic_init(&n->refs, 1);
    unet_ref(n->net);
    diff_changes_copy(&m->changes, &n->changes);
    n->mem = a;
    n->sigmas = s;
    *ret = n;
    return ERR_OK;
}

diff_model *diff_model_copy(const diff_model *m) {
    diff_model *n = NULL;
    diff_model_with_sigmas(m, &m->sigmas->params, &n, NULL); /* parameters that worked before */
    return n;
}

/* ---- areas and masks ---- */

static int32_t clamp32(double v, int32_t lo, int32_t hi) {
    return v < lo ? lo : v > hi ? hi : (int32_t)v;
}

/* The mask at the latent's size: bilinear, corners not aligned. */
static void resize_mask(const diff_cond *c, guide_run *r, float *dst) {
    for (int32_t n = 0; n < c->mask_n; n++)
        for (int32_t y = 0; y < r->y; y++)
            for (int32_t x = 0; x < r->x; x++) {
                double sy = (y + 0.5) * c->mask_y / r->y - 0.5,
                       sx = (x + 0.5) * c->mask_x / r->x - 0.5;
                if (sy < 0) sy = 0;
                if (sx < 0) sx = 0;
                int32_t y0 = clamp32(floor(sy), 0, c->mask_y - 1),
                        x0 = clamp32(floor(sx), 0, c->mask_x - 1);
                int32_t y1 = y0 + 1 < c->mask_y ? y0 + 1 : y0,
                        x1 = x0 + 1 < c->mask_x ? x0 + 1 : x0;
                float fy = (float)(sy - y0), fx = (float)(sx - x0);
                const float *m = c->mask->v + (size_t)n * (size_t)c->mask_y * (size_t)c->mask_x;
                float top = m[y0 * c->mask_x + x0] * (1 - fx) + m[y0 * c->mask_x + x1] * fx;
                float low = m[y1 * c->mask_x + x0] * (1 - fx) + m[y1 * c->mask_x + x1] * fx;
                dst[((int64_t)n * r->y + y) * r->x + x] = top * (1 - fy) + low * fy;
            }
}

/* The box of what is not zero in any of the mask's pictures, at least 8 cells each way. */
static guide_area mask_box(const float *mask, int32_t n, const guide_run *r) {
    int32_t lo_y = r->y, hi_y = -1, lo_x = r->x, hi_x = -1;
    for (int64_t i = 0; i < (int64_t)n * r->y * r->x; i++) {
        int32_t x = (int32_t)(i % r->x), y = (int32_t)(i / r->x % r->y);
        if (!(mask[i] < 0) && !(mask[i] > 0)) continue;
        lo_y = y < lo_y ? y : lo_y, hi_y = y > hi_y ? y : hi_y;
        lo_x = x < lo_x ? x : lo_x, hi_x = x > hi_x ? x : hi_x;
    }
    if (hi_y < 0) return (guide_area){true, 8, 8, 0, 0};
    guide_area a = {true, hi_y - lo_y + 1, hi_x - lo_x + 1, lo_y, lo_x};
    if (a.h < 8) a.h = 8;
    if (a.w < 8) a.w = 8;
    return a;
}

static void clip_area(guide_area *a, const guide_run *r) {
    if (a->y > r->y - 1) a->y = r->y - 1;
    if (a->x > r->x - 1) a->x = r->x - 1;
    if (a->h > r->y - a->y) a->h = r->y - a->y;
    if (a->w > r->x - a->x) a->w = r->x - a->x;
}

static guide_area area_of(const diff_cond *c, const float *mask, const guide_run *r) {
    guide_area a = {0};
    if (c->area_kind == DIFF_AREA_PERCENT)
        a = (guide_area){true, clamp32(rint(c->area[0] * r->y), 1, r->y),
                         clamp32(rint(c->area[1] * r->x), 1, r->x),
                         clamp32(rint(c->area[2] * r->y), 0, r->y),
                         clamp32(rint(c->area[3] * r->x), 0, r->x)};
    else if (c->area_kind == DIFF_AREA_CELLS)
        a = (guide_area){true, (int32_t)c->area[0], (int32_t)c->area[1], (int32_t)c->area[2],
                         (int32_t)c->area[3]};
    if (mask && c->mask_bounds) a = mask_box(mask, c->mask_n, r);
    if (a.given) clip_area(&a, r);
    return a;
}

/* Weights [h, w] of one picture of the area. */
static void fill_weights(const guide_entry *g, const guide_run *r, int32_t picture, float *dst) {
    const guide_area *a = &g->area;
    const diff_cond *c = g->cond;
    for (int32_t y = 0; y < a->h; y++)
        for (int32_t x = 0; x < a->w; x++) {
            float m = 1;
            if (g->mask)
                m = g->mask[((int64_t)(picture % c->mask_n) * r->y + a->y + y) * r->x + a->x + x] *
                    (float)c->mask_strength;
            dst[y * a->w + x] = m * (float)c->strength;
        }
    if (g->mask || !a->given) return;
    int32_t ry = a->h / 4 < FEATHER ? a->h / 4 : FEATHER;
    int32_t rx = a->w / 4 < FEATHER ? a->w / 4 : FEATHER;
    for (int32_t y = 0; y < a->h; y++)
        for (int32_t x = 0; x < a->w; x++) {
            float *m = &dst[y * a->w + x];
            if (a->y != 0 && y < ry) *m *= (float)(y + 1) / (float)ry;
            if (a->y + a->h < r->y && a->h - 1 - y < ry) *m *= (float)(a->h - y) / (float)ry;
            if (a->x != 0 && x < rx) *m *= (float)(x + 1) / (float)rx;
            if (a->x + a->w < r->x && a->w - 1 - x < rx) *m *= (float)(a->w - x) / (float)rx;
        }
}

/* ---- sides ---- */

static bool contains(const guide_area *outer, const guide_area *inner) {
    return inner->y >= outer->y && inner->x >= outer->x &&
           outer->h + outer->y >= inner->h + inner->y && outer->w + outer->x >= inner->w + inner->x;
}

static bool same_area(const guide_area *a, const guide_area *b) {
    return a->h == b->h && a->w == b->w && a->y == b->y && a->x == b->x;
}

/* An entry with an area on one side needs one with the same area on the other: the smallest that
 * covers it is used there as well. */
static void mirror_area(const guide_entry *from, guide_side *to) {
    const guide_entry *best = NULL;
    if (!from->area.given) return;
    for (size_t i = 0; i < to->entries.len; i++) {
        const guide_entry *x = &to->entries.items[i];
        if (!x->area.given) {
            if (!best) best = x;
        } else if (contains(&x->area, &from->area)) {
            if (!best || !best->area.given || best->area.h * best->area.w > x->area.h * x->area.w)
                best = x;
        }
    }
    if (!best || (best->area.given && same_area(&best->area, &from->area))) return;
    guide_entry copy = *from; /* limits of `from`, meaning of `best` */
    copy.text = best->text;
    copy.concat = best->concat;
    copy.concat_mask = best->concat_mask;
    copy.n_masks = best->n_masks;
    VEC_PUSH(to->entries, copy);
}

/* Latents (or masks, c = 1) at the job's size: the middle of its aspect ratio, bilinear. */
static float *at_job_size(const guide_run *r, const float *v, const size_t ncyx[4]) {
    resize_dims from = {ncyx[0], ncyx[2], ncyx[3], ncyx[1], true};
    size_t Y = (size_t)r->y, X = (size_t)r->x;
    float *dst = arena_calloc(r->mem, from.n * from.c * Y * X, sizeof *dst);
    if (from.y == Y && from.x == X) {
        memcpy(dst, v, from.n * from.c * Y * X * sizeof *dst);
        return dst;
    }
    resize_rect cut = resize_crop_center(from.y, from.x, Y, X);
    float *part = arena_calloc(r->mem, from.n * from.c * cut.height * cut.width, sizeof *part);
    resize_cut(v, &from, cut, part);
    from.y = cut.height, from.x = cut.width;
    err e;
    return resize(part, &from, (resize_target){RESIZE_BILINEAR, Y, X}, dst, &e) ? NULL : dst;
}

static void open_concat(const guide_run *r, const diff_cond *c, guide_entry *g) {
    size_t n = (size_t)c->concat_n, y = (size_t)c->concat_y, x = (size_t)c->concat_x;
    if (!c->concat || !n || !y || !x || !c->concat_c) return;
    g->concat = at_job_size(r, c->concat->v, (size_t[4]){n, (size_t)c->concat_c, y, x});
    size_t n_masks = c->concat_mask ? c->concat_mask->n / (y * x) : 0;
    if (n_masks == 0) return;
    g->concat_mask = at_job_size(r, c->concat_mask->v, (size_t[4]){n_masks, 1, y, x});
    g->n_masks = (int32_t)n_masks;
    for (size_t i = 0; g->concat_mask && i < n_masks * (size_t)r->y * (size_t)r->x; i++)
        g->concat_mask[i] = rintf(g->concat_mask[i]);
}

void guide_side_open(guide_run *r, const diff_conds *conds, bool negative, guide_side *ret) {
    *ret = (guide_side){.negative = negative};
    for (size_t i = 0; conds && i < conds->n; i++) {
        const diff_cond *c = conds->items[i];
        guide_entry g = {.cond = c, .text = c};
        if (c->mask) {
            g.mask = arena_calloc(r->mem, (size_t)c->mask_n * (size_t)r->y * (size_t)r->x,
                                  sizeof(float));
            resize_mask(c, r, g.mask);
        }
        if (unet_get_info(r->model->net)->in_channels > r->c) open_concat(r, c, &g);
        g.area = area_of(c, g.mask, r);
        VEC_PUSH(ret->entries, g);
    }
}

void guide_sides_match(guide_side *a, guide_side *b) {
    size_t n_a = a->entries.len, n_b = b->entries.len;
    for (size_t i = 0; i < n_a; i++) {
        guide_entry g = a->entries.items[i];
        mirror_area(&g, b);
    }
    for (size_t i = 0; i < n_b; i++) {
        guide_entry g = b->entries.items[i];
        mirror_area(&g, a);
    }
}

void guide_side_close(guide_side *s) {
    VEC_FINISH(s->entries);
}

/* ---- the network ---- */

static size_t put_sinusoids(const double *v, size_t n, float *dst) {
    for (size_t i = 0; i < n; i++) unet_sinusoids(v[i], ADM_SINUSOIDS, dst + i * ADM_SINUSOIDS);
    return n * ADM_SINUSOIDS;
}

/* The vector beside the timestep: pooled text, then sizes. */
static void fill_adm(const guide_run *r, const diff_cond *c, bool negative, float *dst) {
    const unet_info *f = unet_get_info(r->model->net);
    size_t pooled = c->pooled ? c->pooled->n : 0, cap = (size_t)f->adm_dim;
    double height = c->has_size ? c->height : r->y * 8.0,
           width = c->has_size ? c->width : r->x * 8.0;
    float *mem = mem_calloc(6 * ADM_SINUSOIDS, sizeof *mem);
    size_t n;
    if (r->model->is_refiner) {
        double aesthetic = c->has_aesthetic ? c->aesthetic : negative ? 2.5 : 6.0;
        n = put_sinusoids((double[]){height, width, c->crop_h, c->crop_w, aesthetic}, 5, mem);
    } else {
        double th = c->has_size ? c->target_h : height, tw = c->has_size ? c->target_w : width;
        n = put_sinusoids((double[]){height, width, c->crop_h, c->crop_w, th, tw}, 6, mem);
    }
    size_t room = cap > n ? cap - n : 0; /* pooled goes first */
    memset(dst, 0, cap * sizeof *dst);
    if (c->pooled) memcpy(dst, c->pooled->v, (pooled < room ? pooled : room) * sizeof *dst);
    memcpy(dst + room, mem, (cap - room) * sizeof *dst);
    mem_free(mem);
}

/* One value of channel k (k < 0: the mask) beside picture p: of inpainting networks the picture
 * below the mask, of editing networks the picture to edit. */
static float beside(const guide_run *r, const guide_entry *g, int32_t p, int32_t k, int64_t at) {
    static const float BLANK[4] = {0.8223f, -0.6876f, 0.6364f, 0.1380f};
    const diff_cond *c = g->text;
    int64_t plane = (int64_t)r->y * r->x, own = (int64_t)p * r->c * plane;
    bool edits = unet_get_info(r->model->net)->in_channels == 2 * r->c;
    int64_t q = c->concat_n ? p % c->concat_n : 0;
    if (edits) return g->concat ? g->concat[(q * c->concat_c + k % c->concat_c) * plane + at] : 0;
    if (!g->concat_mask && !r->noised) return k < 0 ? 1 : BLANK[k % 4];
    if (k < 0)
        return g->concat_mask ? g->concat_mask[p % g->n_masks * plane + at]
                              : rintf(r->noised[own + at]);
    if (!g->concat) return r->latent[own + k % r->c * plane + at];
    return g->concat[(q * c->concat_c + k % c->concat_c) * plane + at] *
           (float)r->model->latent_scale;
}

/* Channels beside the latent. */
static void fill_concat(const guide_run *r, const guide_entry *g, int32_t picture, float *dst) {
    const guide_area *a = &g->area;
    int32_t n_beside = unet_get_info(r->model->net)->in_channels - r->c;
    int32_t first = n_beside == r->c ? 0 : -1; /* the mask comes first */
    for (int32_t k = 0; k < n_beside; k++)
        for (int32_t y = 0; y < a->h; y++)
            for (int32_t x = 0; x < a->w; x++)
                dst[((int64_t)k * a->h + y) * a->w + x] =
                    beside(r, g, picture, first + k, (int64_t)(a->y + y) * r->x + a->x + x);
}

/* The network's input of one entry: scaled latents of the area, channels beside them. */
static float *gather_input(const guide_run *r, const guide_entry *g, const float *x, double scale) {
    const guide_area *a = &g->area;
    int64_t in = unet_get_info(r->model->net)->in_channels, cells = (int64_t)a->h * a->w;
    float *dst = mem_calloc((size_t)(r->n * in * cells), sizeof *dst);
    for (int32_t b = 0; b < r->n; b++) {
        float *to = dst + b * in * cells;
        for (int32_t k = 0; k < r->c; k++)
            for (int32_t y = 0; y < a->h; y++)
                for (int32_t i = 0; i < a->w; i++)
                    to[(k * (int64_t)a->h + y) * a->w + i] =
                        x[((b * (int64_t)r->c + k) * r->y + a->y + y) * r->x + a->x + i] *
                        (float)scale;
        if (in > r->c) fill_concat(r, g, b, to + r->c * cells);
    }
    return dst;
}

static float *repeat(const float *v, size_t len, int32_t n) {
    float *dst = mem_calloc(len * (size_t)n, sizeof *dst);
    for (int32_t i = 0; i < n; i++) memcpy(dst + (size_t)i * len, v, len * sizeof *dst);
    return dst;
}

static err_code check_text(const guide_run *r, const diff_cond *c, err *e) {
    const unet_info *f = unet_get_info(r->model->net);
    if (c->dim != f->context_dim)
        FAIL(
            e, INVALID,
            "the conditioning's vectors are %d wide, the model takes %d: use the text encoder that "
            "belongs to the model",
            c->dim, f->context_dim);
    return ERR_OK;
}

/* The network, or what step caching puts in its place. */
static err_code evaluate(guide_run *r, const unet_input *in, const void *key, float *out, err *e) {
    int64_t cells = (int64_t)in->y * in->x_len, len = r->c * cells;
    int64_t stride = unet_get_info(r->model->net)->in_channels * cells;
    step_cache *cache = r->aside ? NULL : r->cache;
    if (cache && step_cache_apply(cache, key, in->x, stride, len, out)) {
        r->stats.n_saved++;
        return ERR_OK;
    }
    TRY(unet_eval(r->model->net, in, r->gate, out, e));
    r->stats.n_computed++;
    if (cache) step_cache_keep(cache, key, in->x, stride, len, out);
    return ERR_OK;
}

/* Adds weight * denoised of one entry to sum, and the weights to count. */
static err_code add_entry(guide_run *r, const guide_entry *g, const guide_eval *v, float *sum,
                          float *count, err *e) {
    const guide_area *a = &g->area;
    const unet_info *f = unet_get_info(r->model->net);
    const diff_cond *c = g->text;
    sigmas_precond w = sigmas_wrap(r->model->sigmas, v->sigma);
    int64_t cells = (int64_t)a->h * a->w;
    TRY(check_text(r, c, e));
    float *x = gather_input(r, g, v->x, w.in), *adm = NULL;
    float *out = mem_calloc((size_t)(r->n * r->c * cells), sizeof *out);
    float *context = repeat(c->vectors->v, (size_t)c->n_tokens * (size_t)c->dim, r->n);
    float *time = mem_calloc((size_t)r->n, sizeof *time),
          *weights = mem_calloc((size_t)cells, sizeof *weights);
    for (int32_t i = 0; i < r->n; i++) time[i] = (float)w.timestep;
    if (f->adm_dim) {
        adm = mem_calloc((size_t)f->adm_dim * (size_t)r->n, sizeof *adm);
        for (int32_t i = 0; i < r->n; i++)
            fill_adm(r, c, v->negative, adm + (int64_t)i * f->adm_dim);
    }
    unet_input in = {.x = x,
                     .n = r->n,
                     .y = a->h,
                     .x_len = a->w,
                     .time = time,
                     .context = context,
                     .n_context = c->n_tokens,
                     .adm = adm};
    guide_network_fill(r, v->sigma, &in);
    err_code code = evaluate(r, &in, v->key, out, e);
    if (code == ERR_OK) guide_network_keep(r, &in, v->negative);
    for (int32_t b = 0; b < r->n && code == ERR_OK; b++) {
        fill_weights(g, r, b, weights);
        for (int64_t i = 0; i < r->c * cells; i++) {
            int64_t y = i / a->w % a->h, col = i % a->w, k = i / cells;
            int64_t at = ((b * (int64_t)r->c + k) * r->y + a->y + y) * r->x + a->x + col;
            float d = (float)w.skip * v->x[at] + (float)w.out * out[b * r->c * cells + i];
            sum[at] += d * weights[i % cells];
            count[at] += weights[i % cells];
        }
    }
    mem_free(x);
    mem_free(adm);
    mem_free(out);
    mem_free(context);
    mem_free(time);
    mem_free(weights);
    mem_free(in.mass);
    return code;
}

static bool is_active(const guide_run *r, const diff_cond *c, double sigma) {
    if (!c->has_range) return true;
    return sigma <= sigmas_at_percent(r->model->sigmas, c->start) &&
           sigma >= sigmas_at_percent(r->model->sigmas, c->end);
}

err_code guide_side_eval(guide_run *r, const guide_side *s, const float *x, double sigma,
                         float *ret, err *e) {
    size_t n = (size_t)r->n * (size_t)r->c * (size_t)r->y * (size_t)r->x;
    float *count = mem_calloc(n, sizeof *count);
    guide_eval v = {x, sigma, s->negative, NULL};
    err_code code = ERR_OK;
    for (size_t i = 0; i < n; i++) {
        ret[i] = 0;
        count[i] = 1e-37f;
    }
    for (size_t i = 0; i < s->entries.len && code == ERR_OK; i++) {
        guide_entry g = s->entries.items[i];
        if (!is_active(r, g.cond, sigma)) continue;
        if (!g.area.given) g.area = (guide_area){false, r->y, r->x, 0, 0};
        v.key = &s->entries.items[i];
        code = add_entry(r, &g, &v, ret, count, e);
    }
    for (size_t i = 0; i < n; i++) ret[i] /= count[i];
    mem_free(count);
    return code;
}
