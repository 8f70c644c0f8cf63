/* A model's changes to the network: what each evaluation of it wants. */
#include "base/mem.h"
#include "diffusion/guide_impl.h"
#include <math.h>
#include <string.h>

enum { LATENT_PIXELS = 8, TILE_PIXELS_MIN = 32, BLUR = 9 };

/* ---- a job's beginning ---- */

static bool has_change(const diff_model *m, diff_change_kind kind) {
    return diff_changes_find(&m->changes, kind) != NULL;
}

/* The generator goes on after the starting noise, as those draw who use one for everything. */
void guide_network_open(guide_run *r, uint64_t seed) {
    guide_network *w = &r->network;
    size_t cells = (size_t)r->y * (size_t)r->x;
    noise_rng_seed(&w->rng, seed);
    if (has_change(r->model, DIFF_CHANGE_MERGE)) {
        size_t n = (size_t)r->n * (size_t)r->c * cells;
        float *noise = mem_calloc(n + 1, sizeof *noise);
        noise_rng_normal(&w->rng, noise, n);
        mem_free(noise);
        size_t n_picks = (size_t)unet_n_picks(r->model->net, r->y, r->x);
        w->picks = arena_calloc(r->mem, n_picks + 1, sizeof *w->picks);
    }
    if (has_change(r->model, DIFF_CHANGE_TILES))
        for (int i = 0; i < UNET_TILED_LEVELS; i++)
            for (int k = 0; k < 2; k++) w->draws[i][k] = noise_rng_u32(&w->rng);
    if (has_change(r->model, DIFF_CHANGE_SELF_ATTENTION))
        w->mass = arena_calloc(r->mem, (size_t)r->n * cells, sizeof *w->mass);
}

void guide_network_next(guide_run *r) {
    r->network.picks_y = r->network.picks_x = 0;
}

/* ---- one evaluation ---- */

static unet_freeu freeu_of(const diff_model *m) {
    const diff_change *p = NULL;
    for (size_t i = 0; i < m->changes.n; i++)
        if (m->changes.items[i].kind == DIFF_CHANGE_FREEU ||
            m->changes.items[i].kind == DIFF_CHANGE_FREEU_V2)
            p = &m->changes.items[i];
    if (!p) return (unet_freeu){0};
    return (unet_freeu){.on = true,
                        .adaptive = p->kind == DIFF_CHANGE_FREEU_V2,
                        .backbone = {(float)p->v[0], (float)p->v[1]},
                        .skip = {(float)p->v[2], (float)p->v[3]}};
}

/* Into how many parts n cells are cut: parts of at least `min` cells; of the `choices` smallest
 * that divide n all but the last may be drawn. */
static int32_t parts_of(int32_t n, int32_t min, int64_t choices, uint32_t draw) {
    int32_t found = 0, first = 1, picked = 1;
    if (min > n) min = n;
    for (int32_t k = min < 1 ? 1 : min; k <= n && found < choices; k++) found += n % k == 0;
    int32_t want = found > 1 ? (int32_t)(draw % (uint32_t)(found - 1)) : 0, at = 0;
    for (int32_t k = min < 1 ? 1 : min; k <= n && at <= want; k++)
        if (n % k == 0) {
            first = n / k;
            if (at++ == want) picked = first;
        }
    return picked;
}

static unet_tiles tiles_of(const guide_run *r, const unet_input *in) {
    const diff_change *p = diff_changes_find(&r->model->changes, DIFF_CHANGE_TILES);
    unet_tiles t = {0};
    if (!p) return t;
    int32_t pixels = (int32_t)p->v[0] > TILE_PIXELS_MIN ? (int32_t)p->v[0] : TILE_PIXELS_MIN;
    for (int i = 0; i < UNET_TILED_LEVELS && i <= (int)p->v[2]; i++) {
        int32_t min = pixels / LATENT_PIXELS * (p->v[3] > 0 ? 1 << i : 1);
        const uint32_t *draw = r->network.draws[i];
        t.rows[i] = parts_of(in->x_len >> i, min, (int64_t)p->v[1], draw[0]);
        t.cols[i] = parts_of(in->y >> i, min, (int64_t)p->v[1], draw[1]);
    }
    return t;
}

static unet_shrink shrink_of(const guide_run *r, double sigma) {
    const diff_change *p = diff_changes_find(&r->model->changes, DIFF_CHANGE_SHRINK);
    if (!p || sigma > sigmas_at_percent(r->model->sigmas, p->v[2]) ||
        sigma < sigmas_at_percent(r->model->sigmas, p->v[3]))
        return (unet_shrink){0};
    return (unet_shrink){.on = true,
                         .after_skip = p->v[4] > 0,
                         .block = (int32_t)p->v[0],
                         .factor = p->v[1],
                         .down = (resize_method)p->v[5],
                         .up = (resize_method)p->v[6]};
}

/* Sides of one size go through the network together and share what was drawn. */
static void fill_merging(guide_run *r, unet_input *in) {
    guide_network *w = &r->network;
    const diff_change *p = diff_changes_find(&r->model->changes, DIFF_CHANGE_MERGE);
    if (!p) return;
    in->merge = p->v[0];
    in->picks = w->picks;
    if (w->picks_y == in->y && w->picks_x == in->x_len) return;
    w->picks_y = in->y;
    w->picks_x = in->x_len;
    int64_t n = unet_n_picks(r->model->net, in->y, in->x_len);
    for (int64_t i = 0; i < n; i++) w->picks[i] = (float)(noise_rng_u32(&w->rng) & 3);
}

void guide_network_fill(guide_run *r, double sigma, unet_input *in) {
    in->perturbed = r->perturbed;
    in->freeu = freeu_of(r->model);
    in->tiles = tiles_of(r, in);
    in->shrink = shrink_of(r, sigma);
    fill_merging(r, in);
    if (r->network.mass && !r->perturbed && !in->mass)
        in->mass = mem_calloc((size_t)in->n * (size_t)in->y * (size_t)in->x_len, sizeof(float));
}

void guide_network_keep(guide_run *r, const unet_input *in, bool negative) {
    guide_network *w = &r->network;
    if (!w->mass || !in->mass || !negative || r->aside) return;
    unet_middle_size(r->model->net, in, w->mass_yx);
    memcpy(w->mass, in->mass,
           (size_t)in->n * (size_t)w->mass_yx[0] * (size_t)w->mass_yx[1] * sizeof *w->mass);
}

/* ---- blurring where the middle looks ---- */

static size_t mirrored(ptrdiff_t i, size_t n) {
    if (i < 0) i = -i;
    if (i >= (ptrdiff_t)n) i = 2 * (ptrdiff_t)n - 2 - i;
    return (size_t)i;
}

/* One direction of a normal distribution's blur: lines of n cells `step` apart. */
static void blur_line(const float weight[BLUR], const float *src, size_t n, size_t step,
                      float *dst) {
    for (size_t i = 0; i < n; i++) {
        float sum = 0;
        for (int k = 0; k < BLUR; k++)
            sum += weight[k] * src[mirrored((ptrdiff_t)i + k - BLUR / 2, n) * step];
        dst[i * step] = sum;
    }
}

static void blur_plane(const float weight[BLUR], const float *src, size_t Y, size_t X, float *mem,
                       float *dst) {
    for (size_t y = 0; y < Y; y++) blur_line(weight, src + y * X, X, 1, mem + y * X);
    for (size_t x = 0; x < X; x++) blur_line(weight, mem + x, Y, X, dst + x);
}

void guide_blurred(const guide_sides *g, const guide_network *w, double deviation, float *ret) {
    size_t Y = g->dims[2], X = g->dims[3], cells = Y * X, my = (size_t)w->mass_yx[0],
           mx = (size_t)w->mass_yx[1];
    float weight[BLUR], sum = 0, *mem = mem_calloc(cells, sizeof *mem);
    for (int k = 0; k < BLUR; k++) {
        double at = k - BLUR / 2;
        weight[k] = deviation > 0 ? (float)exp(-0.5 * at * at / (deviation * deviation))
                                  : (float)(k == BLUR / 2);
        sum += weight[k];
    }
    for (int k = 0; k < BLUR; k++) weight[k] /= sum;
    for (size_t i = 0; i < g->n / cells; i++) {
        const float *src = g->uncond + i * cells, *mass = w->mass + i / g->dims[1] * my * mx;
        float *dst = ret + i * cells;
        blur_plane(weight, src, Y, X, mem, dst);
        for (size_t k = 0; k < cells; k++)
            if (!(mass[k / X * my / Y * mx + k % X * mx / X] > 1)) dst[k] = src[k];
    }
    mem_free(mem);
}
