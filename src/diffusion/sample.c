/* The sampling job: noising, guidance at every call, masks, and back to a latent. */
#include "base/mem.h"
#include "diffusion/guide_impl.h"
#include "diffusion/noise.h"
#include <math.h>
#include <string.h>

typedef struct sample_run {
    guide_run g;
    const diff_sample_job *job;
    guide_side positive, negative, middle;
    size_t n;                /* floats in the latent */
    float *latent, *noise;   /* [n] scaled latent; what noised it (zeros when there was none) */
    float *mask;             /* [n] or NULL */
    const float *mask_given; /* [n] what `mask` was before the model changed it, or NULL */
    guide_memory memory[DIFF_CHANGES_MAX];
    float *cond, *uncond, *other, *masked, *blurred; /* [n] scratch */
    float *x0;                                       /* [n] the last estimate, VAE units */
    step_cache *cache;                               /* or NULL */
    int64_t n_last;                                  /* evaluations of the last estimate */
} sample_run;

static bool is_close(double a, double b) {
    return fabs(a - b) <= 1e-9 * fmax(fabs(a), fabs(b));
}

/* ---- combining ---- */

static void mix(const float *c, const float *u, double cfg, size_t n, float *ret) {
    float k = (float)cfg;
    for (size_t i = 0; i < n; i++) ret[i] = u[i] + (c[i] - u[i]) * k;
}

/* Deviation of each picture's values. */
static double deviation(const float *v, size_t n) {
    double sum = 0, square = 0;
    for (size_t i = 0; i < n; i++) sum += (double)v[i];
    double mean = sum / (double)n;
    for (size_t i = 0; i < n; i++) square += ((double)v[i] - mean) * ((double)v[i] - mean);
    return sqrt(square / (double)(n > 1 ? n - 1 : 1));
}

/* RescaleCFG (Lin et al., "Common Diffusion Noise Schedules and Sample Steps Are Flawed", 2023),
 * in the space of v. */
static void mix_rescaled(const sample_run *s, const guide_sides *g, double phi, float *ret) {
    size_t per = s->n / (size_t)s->g.n;
    const float *x = g->x;
    double sigma = g->sigma, a = sigma * sigma + 1, root = sqrt(a);
    float *c = mem_calloc(per, sizeof *c), *m = mem_calloc(per, sizeof *m);
    for (int32_t b = 0; b < s->g.n; b++) {
        size_t from = (size_t)b * per;
        for (size_t i = 0; i < per; i++) {
            double base = (double)x[from + i] / a;
            c[i] = (float)((base - (double)s->cond[from + i]) * root / sigma);
            double u = (base - (double)s->uncond[from + i]) * root / sigma;
            m[i] = (float)(u + g->cfg * ((double)c[i] - u));
        }
        double scale = deviation(c, per) / deviation(m, per);
        for (size_t i = 0; i < per; i++) {
            double v = phi * (double)m[i] * scale + (1 - phi) * (double)m[i];
            ret[from + i] = (float)((double)x[from + i] / a - v * sigma / root);
        }
    }
    mem_free(c);
    mem_free(m);
}

static void mix_perp_neg(const sample_run *s, double cfg, double scale, float *ret) {
    /* cond, uncond = the negative, other = the empty */
    double dot = 0, square = 0;
    for (size_t i = 0; i < s->n; i++) {
        double pos = (double)s->cond[i] - (double)s->other[i],
               neg = (double)s->uncond[i] - (double)s->other[i];
        dot += neg * pos;
        square += pos * pos;
    }
    double k = square > 0 ? dot / square : 0;
    for (size_t i = 0; i < s->n; i++) {
        double pos = (double)s->cond[i] - (double)s->other[i],
               neg = (double)s->uncond[i] - (double)s->other[i];
        double perp = (neg - k * pos) * scale;
        ret[i] = (float)((double)s->other[i] + cfg * (pos - perp));
    }
}

/* A guidance for each picture of the batch: rising to the job's, or rising to it and falling. */
static void mix_by_picture(const guide_sides *g, const diff_change *p, float *ret) {
    size_t per = g->n / g->n_pictures, last = g->n_pictures - 1;
    for (size_t b = 0; b <= last; b++) {
        double t = last ? (double)b / (double)last : 0;
        if (p->kind == DIFF_CHANGE_TRIANGLE_CFG) t = 2 * fabs(t - floor(t + 0.5));
        mix(g->cond + b * per, g->uncond + b * per, p->v[0] + (g->cfg - p->v[0]) * t, per,
            ret + b * per);
    }
}

/* The positive and negative side as the model says: its own way, or the plain one. */
static err_code combine(sample_run *s, const guide_sides *g, float *ret, err *e) {
    const diff_change *way = NULL;
    const diff_changes *l = &s->g.model->changes;
    for (size_t i = 0; i < l->n; i++)
        if (l->items[i].kind >= DIFF_CHANGE_RESCALE && l->items[i].kind <= DIFF_CHANGE_TRIANGLE_CFG)
            way = &l->items[i];
    if (way && way->kind == DIFF_CHANGE_PERP_NEG) {
        guide_side empty;
        guide_side_open(&s->g, way->conds, true, &empty);
        err_code code = guide_side_eval(&s->g, &empty, g->x, g->sigma, s->other, e);
        guide_side_close(&empty);
        if (code) return code;
        mix_perp_neg(s, g->cfg, way->v[0], ret);
    } else if (way && way->kind != DIFF_CHANGE_RESCALE) {
        mix_by_picture(g, way, ret);
    } else if (way && g->has_uncond) {
        mix_rescaled(s, g, way->v[0], ret);
    } else {
        mix(s->cond, s->uncond, g->cfg, s->n, ret);
    }
    return ERR_OK;
}

/* One side again, with another network or another input: ret [n]. */
static err_code again(sample_run *s, const guide_side *side, const float *x, double sigma,
                      float *ret, err *e) {
    s->g.aside = true;
    guide_network_next(&s->g);
    err_code code = guide_side_eval(&s->g, side, x, sigma, ret, e);
    s->g.aside = false;
    return code;
}

static err_code away_from_perturbed(sample_run *s, const guide_sides *g, double scale, float *ret,
                                    err *e) {
    s->g.perturbed = true;
    err_code code = again(s, &s->positive, g->x, g->sigma, s->other, e);
    s->g.perturbed = false;
    for (size_t i = 0; i < s->n && code == ERR_OK; i++)
        ret[i] += (s->cond[i] - s->other[i]) * (float)scale;
    return code;
}

/* Self-attention guidance: of the blurred estimate, noised as the input is. */
static err_code away_from_blurred(sample_run *s, const guide_sides *g, const diff_change *p,
                                  float *ret, err *e) {
    enum { PAD = 4 }; /* the blur's reach */
    if (!g->has_uncond || !s->g.network.mass || g->dims[2] <= PAD || g->dims[3] <= PAD)
        return ERR_OK;
    guide_blurred(g, &s->g.network, p->v[1], s->blurred);
    float *x = mem_calloc(s->n, sizeof *x);
    for (size_t i = 0; i < s->n; i++) x[i] = s->blurred[i] + g->x[i] - s->uncond[i];
    err_code code = again(s, &s->negative, x, g->sigma, s->other, e);
    mem_free(x);
    for (size_t i = 0; i < s->n && code == ERR_OK; i++)
        ret[i] += (s->blurred[i] - s->other[i]) * (float)p->v[0];
    return code;
}

/* What the model does to the combined estimate. */
static err_code after(sample_run *s, const guide_sides *g, float *ret, err *e) {
    const diff_changes *l = &s->g.model->changes;
    for (size_t i = 0; i < l->n; i++) {
        const diff_change *p = &l->items[i];
        if (p->kind == DIFF_CHANGE_PERTURBED && (p->v[0] < 0 || p->v[0] > 0))
            TRY(away_from_perturbed(s, g, p->v[0], ret, e));
        else if (p->kind == DIFF_CHANGE_SELF_ATTENTION)
            TRY(away_from_blurred(s, g, p, ret, e));
        else
            guide_change_after(p, g, ret);
    }
    return ERR_OK;
}

static guide_sides sides_of(sample_run *s, const float *x, double sigma) {
    const guide_run *g = &s->g;
    return (guide_sides){.n = s->n,
                         .n_pictures = (size_t)g->n,
                         .dims = {(size_t)g->n, (size_t)g->c, (size_t)g->y, (size_t)g->x},
                         .x = x,
                         .cond = s->cond,
                         .uncond = s->uncond,
                         .has_uncond = true,
                         .sigma = sigma};
}

/* Two sides. A negative that cannot count is left out: its estimate is then zeros, also for those
 * who ask for it. */
static err_code guided_plain(sample_run *s, const float *x, double sigma, bool want_uncond,
                             float *ret, err *e) {
    const diff_guide *g = s->job->guide;
    guide_sides sides = sides_of(s, x, sigma);
    sides.cfg = g->kind == DIFF_GUIDE_CFG ? g->cfg : 1;
    sides.has_uncond = g->kind == DIFF_GUIDE_CFG && s->negative.entries.len > 0 &&
                       (!is_close(g->cfg, 1) || want_uncond || s->g.network.mass);
    TRY(guide_side_eval(&s->g, &s->positive, x, sigma, s->cond, e));
    if (sides.has_uncond)
        TRY(guide_side_eval(&s->g, &s->negative, x, sigma, s->uncond, e));
    else
        memset(s->uncond, 0, s->n * sizeof *s->uncond);
    TRY(guide_changes_before(&s->g.model->changes, &sides, s->memory, e));
    TRY(combine(s, &sides, ret, e));
    return after(s, &sides, ret, e);
}

/* Without masks: every side that counts, combined. uncond is what cfg_pp samplers go by: of two
 * nested positives the second. */
static err_code guided(sample_run *s, const float *x, double sigma, bool want_uncond, float *ret,
                       err *e) {
    const diff_guide *g = s->job->guide;
    guide_network_next(&s->g);
    if (g->kind == DIFF_GUIDE_CFG || g->kind == DIFF_GUIDE_BASIC)
        return guided_plain(s, x, sigma, want_uncond, ret, e);
    TRY(guide_side_eval(&s->g, &s->positive, x, sigma, s->cond, e));
    TRY(guide_side_eval(&s->g, &s->negative, x, sigma, s->uncond, e));
    TRY(guide_side_eval(&s->g, &s->middle, x, sigma, s->other, e));
    if (g->kind == DIFF_GUIDE_PERP_NEG) {
        mix_perp_neg(s, g->cfg, g->cfg2, ret);
    } else if (g->kind == DIFF_GUIDE_DUAL_NESTED) {
        mix(s->cond, s->other, g->cfg, s->n, ret);
        mix(ret, s->uncond, g->cfg2, s->n, ret);
        memcpy(s->uncond, s->other, s->n * sizeof *ret);
    } else {
        mix(s->other, s->uncond, g->cfg2, s->n, ret);
        for (size_t i = 0; i < s->n; i++) ret[i] += (s->cond[i] - s->other[i]) * (float)g->cfg;
    }
    return ERR_OK;
}

/* The same with step caching: of conditionings' outputs (by g.cache), or of the estimate. */
static err_code estimate(sample_run *s, const float *x, double sigma, bool want_uncond, float *ret,
                         err *e) {
    if (!s->cache) return guided(s, x, sigma, want_uncond, ret, e);
    bool easy = s->g.cache != NULL;
    int64_t per = (int64_t)s->n / s->g.n, before = s->g.stats.n_computed;
    double scale = easy ? sigmas_wrap(s->g.model->sigmas, sigma).in : 1;
    step_cache_begin(s->cache, x, scale, sigma);
    if (!easy && step_cache_apply(s->cache, s, x, per, per, ret)) {
        s->g.stats.n_saved += s->n_last;
        return ERR_OK;
    }
    TRY(guided(s, x, sigma, want_uncond, ret, e));
    s->n_last = s->g.stats.n_computed - before;
    if (!easy) step_cache_keep(s->cache, s, x, per, per, ret);
    step_cache_end(s->cache);
    return ERR_OK;
}

static void open_cache(sample_run *s, arena *a) {
    const step_cache_params *p = &s->g.model->cache;
    if (p->kind == STEP_CACHE_OFF) return;
    step_cache_shape shape = {.n = s->g.n,
                              .c = s->g.c,
                              .y = s->g.y,
                              .x = s->g.x,
                              .sigma_start = sigmas_at_percent(s->g.model->sigmas, p->start),
                              .sigma_end = sigmas_at_percent(s->g.model->sigmas, p->end)};
    s->cache = step_cache_create(a, p, &shape);
    if (p->kind == STEP_CACHE_EASY) s->g.cache = s->cache;
}

/* ---- callbacks of the sampler ---- */

static err_code denoise(void *ctx, const float *x, double sigma, float *ret, float *ret_uncond,
                        err *e) {
    sample_run *s = ctx;
    const diff_change *timed = diff_changes_find(&s->g.model->changes, DIFF_CHANGE_DIFFERENTIAL);
    if (s->mask && timed) {
        const sigmas_schedule *c = &s->job->schedule;
        guide_time t = {(double)c->sigma[0], (double)c->sigma[c->n_sigmas - 1], sigma};
        guide_differential(&s->g, timed, &t, s->mask_given, s->n, s->mask);
    }
    if (s->mask) {
        double k[2];
        sigmas_noising(s->g.model->sigmas, sigma, false, k);
        for (size_t i = 0; i < s->n; i++)
            s->masked[i] =
                x[i] * s->mask[i] +
                ((float)k[0] * s->latent[i] + (float)k[1] * s->noise[i]) * (1 - s->mask[i]);
        x = s->masked;
    }
    TRY(estimate(s, x, sigma, ret_uncond != NULL, ret, e));
    for (size_t i = 0; s->mask && i < s->n; i++)
        ret[i] = ret[i] * s->mask[i] + s->latent[i] * (1 - s->mask[i]);
    if (ret_uncond) memcpy(ret_uncond, s->uncond, s->n * sizeof *ret);
    return ERR_OK;
}

static err_code progress(void *ctx, int32_t step, int32_t n_steps, const float *x0, err *e) {
    sample_run *s = ctx;
    float inv = (float)(1 / s->g.model->latent_scale);
    for (size_t i = 0; i < s->n; i++) s->x0[i] = x0[i] * inv;
    return s->job->progress ? s->job->progress(s->job->ctx, step, n_steps, s->x0, e) : ERR_OK;
}

/* ---- the job ---- */

static void open_latent(sample_run *s, arena *a) {
    const diff_latent_in *l = &s->job->latent;
    float scale = 1;
    for (size_t i = 0; i < s->n; i++)
        if (l->x[i] < 0 || l->x[i] > 0) {
            scale = (float)s->g.model->latent_scale; /* an empty latent stays empty */
            break;
        }
    float **all[] = {&s->latent, &s->noise,  &s->cond,    &s->uncond,
                     &s->other,  &s->masked, &s->blurred, &s->x0};
    for (size_t i = 0; i < COUNT_OF(all); i++) *all[i] = arena_calloc(a, s->n, sizeof(float));
    for (size_t i = 0; i < s->n; i++) s->latent[i] = l->x[i] * scale;
    if (s->job->noise) memcpy(s->noise, s->job->noise, s->n * sizeof(float));
    if (!l->mask) return;
    size_t cells = (size_t)l->y * (size_t)l->x_len;
    s->mask = arena_calloc(a, s->n, sizeof(float));
    for (size_t i = 0; i < s->n; i++) {
        size_t picture = i / cells / (size_t)l->c % (size_t)l->mask_n;
        s->mask[i] = l->mask[picture * cells + i % cells];
    }
    s->mask_given = arena_dup(a, s->mask, s->n * sizeof *s->mask);
}

static void open_sides(sample_run *s) {
    const diff_guide *g = s->job->guide;
    guide_side_open(&s->g, g->positive, false, &s->positive);
    guide_side_open(&s->g, g->kind == DIFF_GUIDE_BASIC ? NULL : g->negative, true, &s->negative);
    guide_side_open(&s->g, g->middle, g->kind == DIFF_GUIDE_PERP_NEG, &s->middle);
    if (s->negative.entries.len) guide_sides_match(&s->positive, &s->negative);
}

static err_code walk(sample_run *s, arena *a, float *ret, err *e) {
    const diff_sample_job *j = s->job;
    const sigmas_model *m = s->g.model->sigmas;
    size_t n_sigmas = j->schedule.n_sigmas;
    double k[2], first = (double)j->schedule.sigma[0],
                 last = (double)j->schedule.sigma[n_sigmas - 1];
    sigmas_noising(m, first, sigmas_starts_at_max(m, first), k);
    for (size_t i = 0; i < s->n; i++)
        ret[i] = (float)k[0] * s->latent[i] + (float)k[1] * s->noise[i];
    if (s->mask && strcmp(j->sampler, "ddim") == 0) { /* its own noise under the mask */
        noise_rng rng;
        noise_rng_seed(&rng, j->seed + 1);
        noise_rng_normal(&rng, s->noise, s->n);
    }
    sampler_job job = {.model = m,
                       .set = j->set,
                       .schedule = j->schedule,
                       .n = s->n,
                       .x = ret,
                       .seed = j->seed,
                       .ctx = s,
                       .denoise = denoise,
                       .progress = progress};
    TRY(sampler_run(a, j->sampler, &job, e));
    float scale = (float)(sigmas_result_scale(m, last) / s->g.model->latent_scale);
    bool bad = false;
    for (size_t i = 0; i < s->n; i++) {
        ret[i] *= scale;
        bad = bad || !isfinite(ret[i]);
    }
    if (bad)
        FAIL(e, DEVICE,
             "the model computed values that are not numbers: the checkpoint is damaged, or its "
             "weights do not fit this precision");
    return ERR_OK;
}

err_code diff_sample(const diff_sample_job *j, float *ret, float *ret_x0, err *e) {
    const diff_latent_in *l = &j->latent;
    sample_run s = {.job = j, .n = (size_t)l->n * (size_t)l->c * (size_t)l->y * (size_t)l->x_len};
    arena *a = arena_create(0);
    s.g = (guide_run){.model = j->guide->model,
                      .n = l->n,
                      .c = l->c,
                      .y = l->y,
                      .x = l->x_len,
                      .gate = j->gate,
                      .mem = a};
    if (l->c != s.g.model->latent_channels) {
        arena_destroy(&a);
        FAIL(e, INVALID, "a latent of %d channels; the model takes %d", l->c,
             s.g.model->latent_channels);
    }
    open_latent(&s, a);
    for (size_t i = 0; i < s.g.model->changes.n; i++)
        if (s.g.model->changes.items[i].kind == DIFF_CHANGE_APG)
            s.memory[i].average = arena_calloc(a, s.n, sizeof(float));
    s.g.latent = s.latent;
    s.g.noised = s.mask_given;
    guide_network_open(&s.g, j->seed);
    open_sides(&s);
    open_cache(&s, a);
    err_code code = ERR_OK;
    memcpy(s.x0, l->x, s.n * sizeof(float));
    if (j->schedule.n_sigmas > 1)
        code = walk(&s, a, ret, e);
    else
        memcpy(ret, l->x, s.n * sizeof(float));
    if (j->stats) *j->stats = s.g.stats;
    if (code == ERR_OK && ret_x0) memcpy(ret_x0, s.x0, s.n * sizeof(float));
    guide_side_close(&s.positive);
    guide_side_close(&s.negative);
    guide_side_close(&s.middle);
    arena_destroy(&a);
    return code;
}

static double n_entries(const diff_conds *c) {
    return c ? (double)c->n : 0;
}

/* The plans of all networks that a job may need: its own, smaller inside for a part of the steps,
 * without self-attention in the middle. */
static err_code plans_cost(const diff_sample_job *j, unet_input *in, diff_cost *ret, err *e) {
    const diff_model *m = j->guide->model;
    guide_run r = {.model = j->guide->model, .n = in->n, .y = in->y, .x = in->x_len};
    r.mem = arena_create(0);
    guide_network_open(&r, j->seed);
    guide_network_fill(&r, 0, in);
    diff_shape s = unet_shape(m->net, in);
    err_code code = diff_net_cost(unet_net(m->net), &s, ret, e);
    diff_cost more = {0};
    const diff_change *p = diff_changes_find(&m->changes, DIFF_CHANGE_SHRINK);
    if (p && code == ERR_OK) {
        guide_network_fill(&r, sigmas_at_percent(m->sigmas, p->v[2]), in);
        s = unet_shape(m->net, in);
        code = diff_net_cost(unet_net(m->net), &s, &more, e);
        ret->plan += more.plan;
        if (more.flops > ret->flops) ret->flops = more.flops;
    }
    if (diff_changes_find(&m->changes, DIFF_CHANGE_PERTURBED) && code == ERR_OK) {
        in->perturbed = true;
        s = unet_shape(m->net, in);
        code = diff_net_cost(unet_net(m->net), &s, &more, e);
        ret->plan += more.plan;
    }
    mem_free(in->mass);
    arena_destroy(&r.mem);
    return code;
}

err_code diff_sample_cost(const diff_sample_job *j, diff_cost *ret, err *e) {
    const diff_guide *g = j->guide;
    const diff_conds *c = g->positive;
    unet_input in = {.n = j->latent.n,
                     .y = j->latent.y,
                     .x_len = j->latent.x_len,
                     .n_context = c && c->n ? c->items[0]->n_tokens : 77};
    TRY(plans_cost(j, &in, ret, e));
    bool alone = g->kind == DIFF_GUIDE_BASIC || (g->kind == DIFF_GUIDE_CFG && is_close(g->cfg, 1));
    double sides = n_entries(c) + (alone ? 0 : n_entries(g->negative)) + n_entries(g->middle);
    ret->flops *= sides * (double)(j->schedule.n_sigmas > 1 ? j->schedule.n_sigmas - 1 : 0);
    return ERR_OK;
}
