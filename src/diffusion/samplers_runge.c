/* Several evaluations a step, no memory between steps: Heun (Karras et al. 2022), its three-point
 * form, DPM-Solver-2 by geometric middles, and DPM-Solver (Lu et al. 2022) of orders 1 to 3 with
 * fixed or adaptive steps. Notation: samplers.h; here h is a step in -ln sigma. */
#include "diffusion/samplers.h"
#include <math.h>

static void slope(samplers_run *r, float *d, const float *x, const float *D, double s) {
    MIX(r, d, {1 / s, x}, {-1 / s, D});
}

err_code samplers_heun(samplers_run *r) {
    float *D = samplers_buffer(r), *d = samplers_buffer(r), *d2 = samplers_buffer(r);
    float *x2 = samplers_buffer(r);
    for (size_t i = 0; i < r->n_steps; i++) {
        double s = r->sigma[i], t = r->sigma[i + 1];
        TRY(samplers_call_step(r, i, D, NULL));
        if (t == 0) {
            MIX(r, r->x, {1, D});
            continue;
        }
        slope(r, d, r->x, D, s);
        MIX(r, x2, {1, r->x}, {t - s, d});
        TRY(samplers_call(r, x2, t, D, NULL));
        slope(r, d2, x2, D, t);
        MIX(r, r->x, {1, r->x}, {0.5 * (t - s), d}, {0.5 * (t - s), d2});
    }
    return ERR_OK;
}

err_code samplers_heunpp2(samplers_run *r) {
    float *D = samplers_buffer(r), *x2 = samplers_buffer(r);
    float *d[3] = {samplers_buffer(r), samplers_buffer(r), samplers_buffer(r)};
    double first = r->sigma[0];
    for (size_t i = 0; i < r->n_steps; i++) {
        double s = r->sigma[i], t = r->sigma[i + 1], w[3] = {1, 0, 0};
        size_t n_points = r->n_steps - i < 3 ? r->n_steps - i : 3;
        TRY(samplers_call_step(r, i, D, NULL));
        slope(r, d[0], r->x, D, s);
        const float *from = r->x;
        for (size_t k = 1; k < n_points; k++) {
            double at = r->sigma[i + k];
            MIX(r, x2, {1, from}, {at - r->sigma[i + k - 1], d[k - 1]});
            from = x2;
            TRY(samplers_call(r, x2, at, D, NULL));
            slope(r, d[k], x2, D, at);
            w[k] = at / ((double)n_points * first);
            w[0] -= w[k];
        }
        double dt = t - s;
        MIX(r, r->x, {1, r->x}, {dt * w[0], d[0]}, {dt * w[1], d[1]}, {dt * w[2], d[2]});
    }
    return ERR_OK;
}

/* Half way in log sigma between s and where the step ends, all in float as the reference has it:
 * with an ancestral split that is t itself, which may lie half way between two entries of the
 * model's table, so the choice of the nearer one hangs on the last bit. */
static double log_middle(double s, double t, bool ancestral) {
    float from = (float)s, to = (float)t;
    if (ancestral) {
        float up = sqrtf(to * to * (from * from - to * to) / (from * from));
        if (up > to) up = to;
        to = sqrtf(to * to - up * up);
    }
    float log_from = logf(from), log_to = logf(to);
    return (double)expf(log_to - (log_to - log_from) * 0.5f);
}

err_code samplers_dpm_2(samplers_run *r) {
    bool ancestral = r->variant == 1;
    float *D = samplers_buffer(r), *d = samplers_buffer(r), *x2 = samplers_buffer(r);
    for (size_t i = 0; i < r->n_steps; i++) {
        double s = r->sigma[i], t = r->sigma[i + 1];
        samplers_split a = samplers_ancestral(s, t, ancestral ? 1 : 0);
        samplers_flow_split f = {a.down, 1, a.up};
        if (ancestral && r->model->is_flow) f = samplers_flow_ancestral(s, t, 1);
        TRY(samplers_call_step(r, i, D, NULL));
        if (f.down == 0) {
            MIX(r, r->x, {1, D});
        } else {
            double mid =
                log_middle(s, r->model->is_flow ? f.down : t, ancestral && !r->model->is_flow);
            slope(r, d, r->x, D, s);
            MIX(r, x2, {1, r->x}, {mid - s, d});
            TRY(samplers_call(r, x2, mid, D, NULL));
            slope(r, d, x2, D, mid);
            MIX(r, r->x, {1, r->x}, {f.down - s, d});
        }
        if (!ancestral || t == 0) continue;
        TRY(samplers_noise(r, s, t, d));
        MIX(r, r->x, {f.keep, r->x}, {f.up, d});
    }
    return ERR_OK;
}

/* A DPM-Solver step of order 1, 2 or 3 over h from sigma s. */
typedef struct dpm_step {
    double s, h;
    float *D, *u;
    float *eps, *eps1, *eps2; /* noise estimates; the first is already made */
} dpm_step;

/* eps at the point u (or x) and sigma. */
static err_code noise_at(samplers_run *r, const dpm_step *p, const float *x, double sigma,
                         float *eps) {
    TRY(samplers_call(r, x, sigma, p->D, NULL));
    slope(r, eps, x, p->D, sigma);
    return ERR_OK;
}

/* out [n] = x after the step; middles at r1 h and (order 3) 2/3 h. eps1 is made unless `reuse`. */
static err_code dpm_step_to(samplers_run *r, dpm_step *p, int order, double r1, float *out) {
    double end = p->s * exp(-p->h), full = expm1(p->h);
    if (order == 1) {
        MIX(r, out, {1, r->x}, {-end * full, p->eps});
        return ERR_OK;
    }
    double s1 = p->s * exp(-r1 * p->h);
    MIX(r, p->u, {1, r->x}, {-s1 * expm1(r1 * p->h), p->eps});
    TRY(noise_at(r, p, p->u, s1, p->eps1));
    if (order == 2) {
        double c = end / (2 * r1) * full;
        MIX(r, out, {1, r->x}, {-end * full + c, p->eps}, {-c, p->eps1});
        return ERR_OK;
    }
    double r2 = 2.0 / 3, h2 = r2 * p->h, s2 = p->s * exp(-h2);
    double c2 = s2 * (r2 / r1) * (expm1(h2) / h2 - 1);
    MIX(r, p->u, {1, r->x}, {-s2 * expm1(h2) + c2, p->eps}, {-c2, p->eps1});
    TRY(noise_at(r, p, p->u, s2, p->eps2));
    double c3 = end / r2 * (full / p->h - 1);
    MIX(r, out, {1, r->x}, {-end * full + c3, p->eps}, {-c3, p->eps2});
    return ERR_OK;
}

static dpm_step dpm_buffers(samplers_run *r) {
    return (dpm_step){.D = samplers_buffer(r),
                      .u = samplers_buffer(r),
                      .eps = samplers_buffer(r),
                      .eps1 = samplers_buffer(r),
                      .eps2 = samplers_buffer(r)};
}

/* As many evaluations as steps, in uniform segments of -ln sigma down to the last positive sigma.
 */
err_code samplers_dpm_fast(samplers_run *r) {
    int32_t n_calls = (int32_t)r->n_steps, m = n_calls / 3 + 1, rest = n_calls % 3;
    double t0 = -log(r->noise_range[1]), t1 = -log(r->noise_range[0]);
    if (r->sigma[0] < r->sigma[1]) { /* back to noise */
        t0 = -log(r->sigma[0]);
        t1 = -log(r->sigma[r->n_steps]);
    }
    if (!(fabs(t1 - t0) > 1e-5)) return samplers_euler(r); /* one positive sigma: nowhere to go */
    dpm_step p = dpm_buffers(r);
    for (int32_t i = 0; i < m; i++) {
        int order = i < m - 1 ? 3 : rest;
        if (rest == 0) order = i < m - 2 ? 3 : m - i;
        p.s = exp(-(t0 + (t1 - t0) * i / m));
        p.h = (t1 - t0) / m;
        TRY(noise_at(r, &p, r->x, p.s, p.eps));
        TRY(samplers_report(r, i, m, p.D));
        TRY(dpm_step_to(r, &p, order, order == 3 ? 1.0 / 3 : 0.5, r->x));
    }
    return ERR_OK;
}

/* Root mean square of the difference of low and high in units of the tolerance. */
static double adaptive_error(const samplers_run *r, const float *const x[3]) {
    const double rtol = r->set.rtol, atol = r->set.atol;
    double sum = 0;
    for (size_t i = 0; i < r->n; i++) {
        double low = (double)x[0][i], high = (double)x[1][i], prev = (double)x[2][i];
        double unit = fmax(atol, rtol * fmax(fabs(low), fabs(prev)));
        sum += (low - high) / unit * ((low - high) / unit);
    }
    return sqrt(sum / (double)r->n);
}

/* A controller of step sizes by the inverses of the last three errors. */
typedef struct step_control {
    double h, power[3], last[3], accept;
    bool started;
} step_control;

static bool control_propose(step_control *c, double error) {
    double inverse = 1 / (error + 1e-8), product = 1;
    if (!c->started) c->last[1] = c->last[2] = inverse;
    c->started = true;
    c->last[0] = inverse;
    for (int k = 0; k < 3; k++) product *= pow(c->last[k], c->power[k]);
    double factor = 1 + atan(product - 1);
    bool accepted = factor >= c->accept;
    if (accepted) {
        c->last[2] = c->last[1];
        c->last[1] = c->last[0];
    }
    c->h *= factor;
    return accepted;
}

static step_control control_make(const sampler_settings *s) {
    double order = s->eta > 0 ? 1.5 : s->order, p = s->pid[0], d = s->pid[2];
    return (step_control){.h = s->h_init,
                          .power = {(p + s->pid[1] + d) / order, -(p + 2 * d) / order, d / order},
                          .accept = s->accept};
}

/* The result of an order and of the one below it, for the step of p; eps is made. */
static err_code adaptive_pair(samplers_run *r, dpm_step *p, float *low, float *high) {
    double end = p->s * exp(-p->h), full = expm1(p->h);
    if (r->set.order == 2) {
        TRY(dpm_step_to(r, p, 1, 0.5, low));
        return dpm_step_to(r, p, 2, 0.5, high);
    }
    TRY(dpm_step_to(r, p, 3, 1.0 / 3, high));
    double c = end * 1.5 * full; /* order 2 at the same middle */
    MIX(r, low, {1, r->x}, {-end * full + c, p->eps}, {-c, p->eps1});
    return ERR_OK;
}

/* eta is 0 unless a node says otherwise: then a step goes further down and noise brings it back. */
err_code samplers_dpm_adaptive(samplers_run *r) {
    enum { TRIES_MAX = 10000 };
    double t = -log(r->noise_range[1]), end = -log(r->noise_range[0]);
    step_control control = control_make(&r->set);
    if (!(end - t > 1e-5)) return samplers_euler(r);
    if (control.accept > 2.57) /* factors stay below 1 + pi / 2 */
        FAIL(r->e, INVALID, "accept_safety is %g; no step is ever accepted above 2.57",
             control.accept);
    dpm_step p = dpm_buffers(r);
    float *low = samplers_buffer(r), *high = samplers_buffer(r), *prev = samplers_buffer(r);
    MIX(r, prev, {1, r->x});
    bool fresh = true;
    for (int32_t i = 0, tries = 0; t < end - 1e-5; tries++) {
        if (tries >= TRIES_MAX || !(control.h > 1e-9))
            FAIL(r->e, LIMIT, "dpm_adaptive: no acceptable step at sigma %g; try another sampler",
                 exp(-t));
        double next = fmin(end, t + control.h), to = next, up = 0;
        p.s = exp(-t);
        if (r->set.eta > 0) {
            samplers_split a = samplers_ancestral(p.s, exp(-next), r->set.eta);
            to = a.down > 0 ? fmin(end, -log(a.down)) : end;
            up = sqrt(fmax(exp(-2 * next) - exp(-2 * to), 0));
        }
        p.h = to - t;
        if (fresh) {
            TRY(noise_at(r, &p, r->x, p.s, p.eps));
            TRY(samplers_report(r, i, next >= end - 1e-5 ? i + 1 : i + 2, p.D));
        }
        TRY(adaptive_pair(r, &p, low, high));
        fresh =
            control_propose(&control, adaptive_error(r, (const float *const[3]){low, high, prev}));
        if (!fresh) continue;
        MIX(r, prev, {1, low});
        MIX(r, r->x, {1, high});
        if (r->set.eta > 0) {
            TRY(samplers_noise(r, p.s, exp(-next), low));
            MIX(r, r->x, {1, r->x}, {up * r->set.s_noise, low});
        }
        t = next;
        i++;
    }
    return ERR_OK;
}
