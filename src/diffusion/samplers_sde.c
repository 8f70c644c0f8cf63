/* Stochastic solvers in lambda, the half log-SNR: exponential Runge-Kutta with correlated noise
 * (SEEDS, Gonzalez et al. 2023), extended reverse-time SDE (Cui et al. 2023), and stochastic Adams
 * with predictor and corrector (SA-Solver, Xue et al. 2023). Notation: samplers.h. */
#include "diffusion/samplers.h"
#include <math.h>

/* One SEEDS step's scales. */
typedef struct seeds {
    double s, ls, h, H, eta;
} seeds;

static double phi2(double x) {
    return (expm1(x) - x) / x;
}

/* sigma at a share of the step. */
static double seeds_at(samplers_run *r, const seeds *p, double share) {
    return sigmas_from_lambda(r->model, p->ls + share * p->h);
}

/* noise [n] becomes the step's noise at `share`, continued from `before` (0: none yet). */
static err_code seeds_noise(samplers_run *r, const seeds *p, const double before_share[2],
                            const double from_to[2], float *noise_fresh[2]) {
    if (p->eta == 0) return ERR_OK;
    double gap = (before_share[0] - before_share[1]) * p->h * p->eta;
    float *noise = noise_fresh[0], *fresh = noise_fresh[1];
    TRY(samplers_noise(r, from_to[0], from_to[1], fresh));
    double keep = before_share[0] > 0 ? exp(gap) : 0;
    MIX(r, noise, {keep, noise}, {sqrt(fmax(-expm1(2 * gap), 0)), fresh});
    return ERR_OK;
}

static seeds seeds_step(samplers_run *r, size_t i, double eta) {
    double s = r->sigma[i], t = r->sigma[i + 1];
    double ls = samplers_lambda(r, s), h = samplers_lambda(r, t) - ls;
    return (seeds){s, ls, h, h * (1 + eta), eta};
}

err_code samplers_seeds_2(samplers_run *r) {
    bool heun = r->variant > 0;
    double eta = r->variant == 1 ? 0 : 1, r1 = heun ? 1 : 0.5;
    float *D = samplers_buffer(r), *D2 = samplers_buffer(r), *x2 = samplers_buffer(r);
    float *nf[2] = {samplers_buffer(r), samplers_buffer(r)};
    samplers_offset_first(r);
    for (size_t i = 0; i < r->n_steps; i++) {
        double t = r->sigma[i + 1];
        TRY(samplers_call_step(r, i, D, NULL));
        if (t == 0) {
            MIX(r, r->x, {1, D});
            continue;
        }
        seeds p = seeds_step(r, i, eta);
        double s1 = heun ? t : seeds_at(r, &p, r1), alpha_t = samplers_alpha(r, t);
        TRY(seeds_noise(r, &p, (double[]){0, r1}, (double[]){p.s, s1}, nf));
        MIX(r, x2, {s1 / p.s * exp(-r1 * p.h * eta), r->x},
            {-samplers_alpha(r, s1) * expm1(-r1 * p.H), D}, {eta > 0 ? s1 : 0, nf[0]});
        TRY(samplers_call(r, x2, s1, D2, NULL));
        double all = expm1(-p.H), b2 = heun ? phi2(-p.H) / r1 : all / (2 * r1);
        TRY(seeds_noise(r, &p, (double[]){r1, 1}, (double[]){s1, t}, nf));
        MIX(r, r->x, {t / p.s * exp(-p.h * eta), r->x}, {-alpha_t * (all - b2), D},
            {-alpha_t * b2, D2}, {eta > 0 ? t : 0, nf[0]});
    }
    return ERR_OK;
}

err_code samplers_seeds_3(samplers_run *r) {
    const double r1 = 1.0 / 3, r2 = 2.0 / 3;
    float *D = samplers_buffer(r), *D2 = samplers_buffer(r), *D3 = samplers_buffer(r);
    float *x2 = samplers_buffer(r), *nf[2] = {samplers_buffer(r), samplers_buffer(r)};
    samplers_offset_first(r);
    for (size_t i = 0; i < r->n_steps; i++) {
        double t = r->sigma[i + 1];
        TRY(samplers_call_step(r, i, D, NULL));
        if (t == 0) {
            MIX(r, r->x, {1, D});
            continue;
        }
        seeds p = seeds_step(r, i, 1);
        double s1 = seeds_at(r, &p, r1), s2 = seeds_at(r, &p, r2);
        double alpha1 = samplers_alpha(r, s1), alpha2 = samplers_alpha(r, s2);
        TRY(seeds_noise(r, &p, (double[]){0, r1}, (double[]){p.s, s1}, nf));
        MIX(r, x2, {s1 / p.s * exp(-r1 * p.h), r->x}, {-alpha1 * expm1(-r1 * p.H), D}, {s1, nf[0]});
        TRY(samplers_call(r, x2, s1, D2, NULL));
        double a2 = r2 / r1 * phi2(-r2 * p.H), a1 = expm1(-r2 * p.H) - a2;
        TRY(seeds_noise(r, &p, (double[]){r1, r2}, (double[]){s1, s2}, nf));
        MIX(r, x2, {s2 / p.s * exp(-r2 * p.h), r->x}, {-alpha2 * a1, D}, {-alpha2 * a2, D2},
            {s2, nf[0]});
        TRY(samplers_call(r, x2, s2, D3, NULL));
        double b3 = phi2(-p.H) / r2, b1 = expm1(-p.H) - b3, alpha_t = samplers_alpha(r, t);
        TRY(seeds_noise(r, &p, (double[]){r2, 1}, (double[]){s2, t}, nf));
        MIX(r, r->x, {t / p.s * exp(-p.h), r->x}, {-alpha_t * b1, D}, {-alpha_t * b3, D3},
            {t, nf[0]});
    }
    return ERR_OK;
}

static double er_scale(const sampler_settings *set, double x) {
    return set->reverse_sde ? pow(x, 1 + set->eta) : x * (exp(pow(x, 0.3)) + 10);
}

/* Sums over 200 left points of [to, from]: ret[0] of 1/f, ret[1] of (x - from)/f. */
static void er_integrals(const sampler_settings *set, double from, double to, double ret[2]) {
    enum { N_POINTS = 200 };
    double width = (from - to) / N_POINTS;
    ret[0] = ret[1] = 0;
    for (int k = 0; k < N_POINTS; k++) {
        double x = to + k * width;
        ret[0] += width / er_scale(set, x);
        ret[1] += width * (x - from) / er_scale(set, x);
    }
}

err_code samplers_er_sde(samplers_run *r) {
    float *D = samplers_buffer(r), *D_old = samplers_buffer(r), *N = samplers_buffer(r);
    float *der = samplers_buffer(r), *der_old = samplers_buffer(r), *second = samplers_buffer(r);
    const sampler_settings *set = &r->set;
    samplers_offset_first(r);
    for (size_t i = 0; i < r->n_steps; i++) {
        double s = r->sigma[i], t = r->sigma[i + 1];
        TRY(samplers_call_step(r, i, D, NULL));
        if (t == 0) {
            MIX(r, r->x, {1, D});
            continue;
        }
        double alpha_s = samplers_alpha(r, s), alpha_t = samplers_alpha(r, t);
        double from = s / alpha_s, to = t / alpha_t, end = er_scale(set, to);
        double ratio = end / er_scale(set, from);
        double dt = to - from, sums[2], c1 = 0, c2 = 0;
        if (i > 0 && set->order > 1) {
            er_integrals(set, from, to, sums);
            double back = from - r->sigma[i - 1] / samplers_alpha(r, r->sigma[i - 1]);
            MIX(r, der, {1 / back, D}, {-1 / back, D_old});
            c1 = alpha_t * (dt + sums[0] * end);
        }
        if (i > 1 && set->order > 2) {
            double back = (from - r->sigma[i - 2] / samplers_alpha(r, r->sigma[i - 2])) / 2;
            MIX(r, second, {1 / back, der}, {-1 / back, der_old});
            c2 = alpha_t * (dt * dt / 2 + sums[1] * end);
        }
        TRY(samplers_noise(r, s, t, N));
        double up = alpha_t * sqrt(fmax(to * to - from * from * ratio * ratio, 0));
        MIX(r, r->x, {alpha_t / alpha_s * ratio, r->x}, {alpha_t * (1 - ratio), D}, {c1, der},
            {c2, second}, {up * set->s_noise, N});
        float *tmp = D_old;
        D_old = D;
        D = tmp;
        tmp = der_old;
        der_old = der;
        der = tmp;
    }
    return ERR_OK;
}

/* One half of an SA step: from sigma index i to `to` with the newest `order` estimates. */
typedef struct sa_move {
    size_t from, to; /* indices of sigmas */
    size_t newest;   /* index of the newest estimate's sigma */
    size_t order;
    double tau;
} sa_move;

enum { SA_HISTORY = 6 };

/* out = x carried over plus the weighted estimates, est[0] the newest. Weights integrate
 * M e^(-M (lambda_to - lambda)) against Lagrange polynomials, M = 1 + tau^2, by moments of
 * u = lambda - lambda_to. */
static void sa_apply(samplers_run *r, const sa_move *m, float *const est[SA_HISTORY], float *out) {
    double s = r->sigma[m->from], t = r->sigma[m->to], l_to = samplers_lambda(r, t);
    double h = l_to - samplers_lambda(r, s), M = 1 + m->tau * m->tau, decay = exp(-M * h);
    double w[SA_HISTORY] = {0}, matrix[SA_HISTORY * SA_HISTORY], alpha = samplers_alpha(r, t);
    bool simple = r->set.simple_order_2 && m->order == 2;
    if (simple && m->newest == m->to) { /* corrector */
        w[0] = 0.5 * M * h;
        w[1] = 1 - decay - w[0];
    } else if (simple) {
        w[1] = 0.5 * M * h * h / (samplers_lambda(r, r->sigma[m->from - 1]) - l_to + h);
        w[0] = 1 - decay - w[1];
    }
    for (size_t p = 0; !simple && p < m->order; p++) {
        double moment = p == 0 ? 1 - decay : -pow(-h, (double)p) * decay - (double)p / M * w[p - 1];
        for (size_t j = 0; j < m->order; j++)
            matrix[p * m->order + j] =
                pow(samplers_lambda(r, r->sigma[m->newest - j]) - l_to, (double)p);
        w[p] = moment;
    }
    if (!simple) samplers_solve(m->order, matrix, w);
    MIX(r, out, {t / s * exp(-m->tau * m->tau * h), r->x}, {alpha * w[0], est[0]},
        {alpha * w[1], est[1]}, {alpha * w[2], est[2]}, {alpha * w[3], est[3]},
        {alpha * w[4], est[4]}, {alpha * w[5], est[5]});
}

static size_t least(size_t a, size_t b) {
    return a < b ? a : b;
}

static size_t sa_order(int32_t order) {
    return order < 0 ? 0 : order > SA_HISTORY ? SA_HISTORY : (size_t)order;
}

/* A schedule that does not end at 0 gives the last corrected state, one step before its end. */
err_code samplers_sa_solver(samplers_run *r) {
    bool pece = r->variant == 1;
    size_t n = r->n_steps;
    float *est[SA_HISTORY], *pred = samplers_buffer(r), *noise = samplers_buffer(r);
    for (size_t k = 0; k < SA_HISTORY; k++) est[k] = samplers_buffer(r);
    samplers_offset_first(r);
    double start = r->set.sde_sigma[0], end = r->set.sde_sigma[1], tau = 0, up = 0;
    if (start == 0 && end == 0) {
        start = sigmas_at_percent(r->model, 0.2);
        end = sigmas_at_percent(r->model, 0.8);
    }
    bool to_zero = r->sigma[n] == 0;
    size_t orders[2] = {sa_order(r->set.order), sa_order(r->set.corrector_order)};
    MIX(r, pred, {1, r->x});
    for (size_t i = 0; i < n; i++) {
        double s = r->sigma[i], t = r->sigma[i + 1];
        float *oldest = est[SA_HISTORY - 1];
        for (size_t k = SA_HISTORY - 1; k > 0; k--) est[k] = est[k - 1];
        est[0] = oldest;
        TRY(samplers_call(r, pred, s, est[0], NULL));
        TRY(samplers_report(r, (int32_t)i, (int32_t)n, est[0]));
        size_t predict = least(orders[0], i + 1), correct = least(orders[1], i + 1);
        if (i == 0 || (t == 0 && !pece)) correct = 0;
        if (to_zero) {
            predict = least(predict, n - 1 - i);
            correct = least(correct, n - i);
        }
        if (correct == 0) {
            MIX(r, r->x, {1, pred});
        } else {
            sa_apply(r, &(sa_move){i - 1, i, i, correct, tau}, est, r->x);
            if (up > 0) MIX(r, r->x, {1, r->x}, {up, noise});
            if (pece) TRY(samplers_call(r, r->x, s, est[0], NULL));
        }
        if (t == 0) {
            MIX(r, r->x, {1, est[0]});
            continue;
        }
        tau = t <= start && t >= end ? r->set.eta : 0;
        sa_apply(r, &(sa_move){i, i + 1, i, predict, tau}, est, pred);
        up = 0;
        if (tau > 0) {
            double h = samplers_lambda(r, t) - samplers_lambda(r, s);
            up = t * sqrt(-expm1(-2 * tau * tau * h)) * r->set.s_noise;
            TRY(samplers_noise(r, s, t, noise));
            MIX(r, pred, {1, pred}, {up, noise});
        }
    }
    return ERR_OK;
}
