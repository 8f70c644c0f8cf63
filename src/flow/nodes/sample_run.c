/* Sampling: noise, guiders, samplers and the four nodes that put them together. */
#include "diffusion/noise.h"
#include "flow/nodes/model_runs.h"
#include <math.h>
#include <string.h>

enum { NOISE_STACK = 64 };

static err_code on_step(void *ctx, int32_t step, int32_t n_steps, const float *x0, err *e) {
    flow_watch *w = ctx;
    preview_show(w, x0);
    return flow_progress(w->c, step + 1, n_steps, e);
}

/* ---- one job ---- */

typedef struct request {
    const diff_guide *guide;
    const flow_latent *latent;
    const char *sampler;
    const sampler_settings *set; /* NULL: the sampler's own */
    sigmas_schedule schedule;
    bool no_noise;
    uint64_t seed;
    bool want_x0;
} request;

/* The starting noise of the latent's batch. */
static err_code make_noise(const request *q, float *dst, err *e) {
    const flow_latent *l = q->latent;
    int32_t index[NOISE_STACK], *all = index;
    if (q->no_noise) return ERR_OK;
    if (l->n > NOISE_STACK) all = NEW_ARRAY(int32_t, l->n);
    err_code code = ERR_OK;
    for (size_t i = 0; l->batch_index && i < l->n && code == ERR_OK; i++) {
        if (l->batch_index[i] < 0 || l->batch_index[i] > NOISE_INDEX_MAX)
            code = err_set(e, ERR_INVALID, "batch index %lld", (long long)l->batch_index[i]);
        all[i] = (int32_t)l->batch_index[i];
    }
    noise_batch b = {l->n, l->c * l->y * l->x, l->batch_index ? all : NULL};
    if (code == ERR_OK) code = noise_start(q->seed, &b, dst, e);
    if (all != index) mem_free(all);
    return code;
}

static err_code out_latent(flow_call *c, size_t slot, const flow_latent *like, const float *px,
                           err *e) {
    flow_latent *l;
    TRY(px_latent_like(like, like->y, like->x, &l, e));
    memcpy(l->px, px, px_latent_len(l) * sizeof(float));
    px_out_latent(c, slot, l);
    return ERR_OK;
}

static err_code run_job(flow_call *c, const request *q, const diff_sample_job *job, err *e) {
    size_t n = px_latent_len(q->latent);
    float *out = NEW_ARRAY(float, n + 1), *x0 = NEW_ARRAY(float, n + 1);
    err_code code = diff_sample(job, out, x0, e);
    if (code == ERR_OK) code = out_latent(c, 0, q->latent, out, e);
    if (code == ERR_OK && q->want_x0) code = out_latent(c, 1, q->latent, x0, e);
    mem_free(out);
    mem_free(x0);
    return code;
}

static err_code sample(flow_call *c, const request *q, err *e) {
    const flow_latent *l = q->latent;
    flow_env *env = md_env(c);
    flow_mask *mask = NULL;
    diff_cost cost;
    const flow_work work = {"sampling",
                            l->n,
                            l->y * 8,
                            l->x * 8,
                            q->schedule.n_sigmas ? q->schedule.n_sigmas - 1 : 0,
                            unet_net(q->guide->model->net)};
    flow_watch w = {.c = c, .model = q->guide->model, .y = (int32_t)l->y, .x = (int32_t)l->x};
    TRY(work_check_pixels(c, &work, e));
    if (l->mask) TRY(px_mask_upscale(l->mask, l->y, l->x, &mask, e));
    float *noise = NEW_ARRAY(float, px_latent_len(l) + 1);
    diff_sample_job job = {.guide = q->guide,
                           .sampler = q->sampler,
                           .set = q->set,
                           .schedule = q->schedule,
                           .seed = q->seed,
                           .noise = noise,
                           .latent = {l->px, (int32_t)l->n, (int32_t)l->c, (int32_t)l->y,
                                      (int32_t)l->x, mask ? mask->px : NULL,
                                      mask ? (int32_t)mask->n : 0},
                           .gate = &env->gate,
                           .ctx = &w,
                           .progress = on_step};
    err_code code = make_noise(q, noise, e);
    if (code == ERR_OK) code = diff_sample_cost(&job, &cost, e);
    if (code == ERR_OK) code = work_begin(c, &work, &cost, e);
    if (code == ERR_OK) {
        preview_open(&w);
        code = run_job(c, q, &job, e);
        if (code == ERR_DEVICE) err_wrap(e, "%s", flow_call_def(c)->name);
        preview_close(&w);
        work_end(c, &cost);
    }
    mem_free(noise);
    px_mask_drop(&mask);
    return code;
}

/* ---- KSampler ---- */

static err_code in_name(const flow_call *c, const char *name, const char **ret, err *e) {
    str s;
    TRY(flow_in_text(c, name, &s, e));
    *ret = str_cstr(flow_call_arena((flow_call *)(uintptr_t)c), s);
    return ERR_OK;
}

static err_code in_guide(flow_call *c, diff_guide *g, err *e) {
    TRY(md_in_model(c, "model", &g->model, e));
    TRY(md_in_conds(c, "positive", &g->positive, e));
    TRY(md_in_conds(c, "negative", &g->negative, e));
    return flow_in_float(c, "cfg", &g->cfg, e);
}

/* What both KSamplers read; j's range of steps is the caller's. */
static err_code k_sample(flow_call *c, request *q, sigmas_job *j, err *e) {
    diff_guide g = {.kind = DIFF_GUIDE_CFG};
    int64_t steps;
    TRY(in_guide(c, &g, e));
    TRY(px_in_latent(c, "latent_image", &q->latent, e));
    TRY(in_name(c, "sampler_name", &q->sampler, e));
    TRY(in_name(c, "scheduler", &j->scheduler, e));
    TRY(flow_in_int(c, "steps", &steps, e));
    if (!sampler_exists(q->sampler))
        FAIL(e, UNSUPPORTED, "sampler_name: the sampler \"%s\" is not supported", q->sampler);
    j->n_steps = (int32_t)steps;
    j->discard_penultimate = sampler_discards_penultimate(q->sampler);
    TRY(sigmas_job_schedule(flow_call_arena(c), g.model->sigmas, j, &q->schedule, e));
    q->guide = &g;
    return sample(c, q, e);
}

err_code sample_run(flow_call *c, err *e) {
    request q = {0};
    sigmas_job j = {.last_step = -1};
    TRY(flow_in_u64(c, "seed", &q.seed, e));
    TRY(flow_in_float(c, "denoise", &j.denoise, e));
    return k_sample(c, &q, &j, e);
}

err_code sample_advanced_run(flow_call *c, err *e) {
    request q = {0};
    sigmas_job j = {.denoise = 1};
    int64_t start, end;
    str noise, leftover;
    TRY(flow_in_u64(c, "noise_seed", &q.seed, e));
    TRY(flow_in_text(c, "add_noise", &noise, e));
    TRY(flow_in_text(c, "return_with_leftover_noise", &leftover, e));
    TRY(flow_in_int(c, "start_at_step", &start, e));
    TRY(flow_in_int(c, "end_at_step", &end, e));
    q.no_noise = str_eq(noise, STR("disable"));
    j.force_full_denoise = !str_eq(leftover, STR("enable"));
    j.start_step = (int32_t)start;
    j.last_step = (int32_t)end;
    return k_sample(c, &q, &j, e);
}

/* ---- custom sampling ---- */

static err_code in_schedule(flow_call *c, sigmas_schedule *ret, err *e) {
    const flow_sigmas *s;
    TRY(md_in_sigmas(c, "sigmas", &s, e));
    *ret = (sigmas_schedule){s->n, s->v};
    return ERR_OK;
}

static err_code in_sampler(flow_call *c, request *q, err *e) {
    void *p;
    TRY(flow_in_object(c, "sampler", FLOW_SAMPLER, &p, e));
    const flow_sampler *s = p;
    q->sampler = s->name;
    q->set = &s->set;
    return ERR_OK;
}

err_code sample_custom_run(flow_call *c, err *e) {
    request q = {.want_x0 = true};
    diff_guide g = {.kind = DIFF_GUIDE_CFG};
    bool add_noise;
    TRY(flow_in_u64(c, "noise_seed", &q.seed, e));
    TRY(flow_in_bool(c, "add_noise", &add_noise, e));
    TRY(in_guide(c, &g, e));
    TRY(px_in_latent(c, "latent_image", &q.latent, e));
    TRY(in_sampler(c, &q, e));
    TRY(in_schedule(c, &q.schedule, e));
    q.no_noise = !add_noise;
    q.guide = &g;
    return sample(c, &q, e);
}

err_code sample_custom_advanced_run(flow_call *c, err *e) {
    request q = {.want_x0 = true};
    void *guider, *noise;
    TRY(flow_in_object(c, "guider", FLOW_GUIDER, &guider, e));
    TRY(flow_in_object(c, "noise", FLOW_NOISE, &noise, e));
    TRY(px_in_latent(c, "latent_image", &q.latent, e));
    TRY(in_sampler(c, &q, e));
    TRY(in_schedule(c, &q.schedule, e));
    q.guide = &((flow_guider *)guider)->guide;
    q.no_noise = ((flow_noise *)noise)->none;
    q.seed = ((flow_noise *)noise)->seed;
    return sample(c, &q, e);
}

/* ---- guiders ---- */

static void end_guider(void *p) {
    flow_guider *g = p;
    for (size_t i = 0; i < COUNT_OF(g->held); i++) flow_value_unref(&g->held[i]);
    mem_free(g);
}

/* Holds the values of the inputs that the guide borrows from. */
static void out_guider(flow_call *c, const diff_guide *guide, const char *const names[4]) {
    flow_guider *g = NEW(flow_guider);
    g->guide = *guide;
    for (size_t i = 0; i < 4 && names[i]; i++) g->held[i] = flow_value_ref(flow_in(c, names[i]));
    flow_out(c, 0, flow_value_object(FLOW_GUIDER, g, end_guider, sizeof *g));
}

err_code guider_basic_run(flow_call *c, err *e) {
    diff_guide g = {.kind = DIFF_GUIDE_BASIC, .cfg = 1};
    TRY(md_in_model(c, "model", &g.model, e));
    TRY(md_in_conds(c, "conditioning", &g.positive, e));
    out_guider(c, &g, (const char *const[4]){"model", "conditioning"});
    return ERR_OK;
}

err_code guider_cfg_run(flow_call *c, err *e) {
    diff_guide g = {.kind = DIFF_GUIDE_CFG};
    TRY(in_guide(c, &g, e));
    out_guider(c, &g, (const char *const[4]){"model", "positive", "negative"});
    return ERR_OK;
}

err_code guider_dual_run(flow_call *c, err *e) {
    diff_guide g = {.kind = DIFF_GUIDE_DUAL};
    str style;
    TRY(md_in_model(c, "model", &g.model, e));
    TRY(md_in_conds(c, "cond1", &g.positive, e));
    TRY(md_in_conds(c, "cond2", &g.middle, e));
    TRY(md_in_conds(c, "negative", &g.negative, e));
    TRY(flow_in_float(c, "cfg_conds", &g.cfg, e));
    TRY(flow_in_float(c, "cfg_cond2_negative", &g.cfg2, e));
    TRY(flow_in_text(c, "style", &style, e));
    if (str_eq(style, STR("nested"))) g.kind = DIFF_GUIDE_DUAL_NESTED;
    out_guider(c, &g, (const char *const[4]){"model", "cond1", "cond2", "negative"});
    return ERR_OK;
}

err_code guider_perp_neg_run(flow_call *c, err *e) {
    diff_guide g = {.kind = DIFF_GUIDE_PERP_NEG};
    TRY(in_guide(c, &g, e));
    TRY(md_in_conds(c, "empty_conditioning", &g.middle, e));
    TRY(flow_in_float(c, "neg_scale", &g.cfg2, e));
    out_guider(c, &g,
               (const char *const[4]){"model", "positive", "negative", "empty_conditioning"});
    return ERR_OK;
}

/* ---- noise ---- */

static void out_noise(flow_call *c, flow_noise n) {
    flow_out(c, 0, flow_value_object(FLOW_NOISE, mem_dup(&n, sizeof n), mem_free, sizeof n));
}

err_code noise_random_run(flow_call *c, err *e) {
    flow_noise n = {0};
    TRY(flow_in_u64(c, "noise_seed", &n.seed, e));
    out_noise(c, n);
    return ERR_OK;
}

err_code noise_none_run(flow_call *c, err *e) {
    (void)e;
    out_noise(c, (flow_noise){.none = true});
    return ERR_OK;
}

err_code noise_add_run(flow_call *c, err *e) {
    diff_model *m;
    const flow_sigmas *s;
    void *noise;
    request q = {0};
    double k[2];
    TRY(md_in_model(c, "model", &m, e));
    TRY(md_in_sigmas(c, "sigmas", &s, e));
    TRY(flow_in_object(c, "noise", FLOW_NOISE, &noise, e));
    TRY(px_in_latent(c, "latent_image", &q.latent, e));
    q.no_noise = ((flow_noise *)noise)->none;
    q.seed = ((flow_noise *)noise)->seed;
    size_t n = px_latent_len(q.latent);
    float *z = NEW_ARRAY(float, n + 1);
    err_code code = make_noise(&q, z, e);
    float scale = (float)m->latent_scale;
    double sigma = s->n == 0   ? 0
                   : s->n == 1 ? (double)s->v[0]
                               : fabs((double)s->v[0] - (double)s->v[s->n - 1]);
    sigmas_noising(m->sigmas, sigma, false, k);
    for (size_t i = 0; i < n && s->n > 0; i++) {
        float v = ((float)k[0] * q.latent->px[i] * scale + (float)k[1] * z[i]) / scale;
        z[i] = isfinite(v) ? v : 0;
    }
    if (code == ERR_OK) code = out_latent(c, 0, q.latent, s->n > 0 ? z : q.latent->px, e);
    mem_free(z);
    return code;
}
