/* One evaluation a step with a memory of earlier ones: Adams-Bashforth over sigma in exact,
 * constant and variable steps (LMS, iPNDM), DEIS in the variance-preserving time (Zhang and Chen
 * 2022), and the exponential two-step method RES (Zhang et al. 2023). Notation: samplers.h. */
#include "diffusion/samplers.h"
#include <math.h>

enum { HISTORY = 4 };

/* Slopes, newest first. */
typedef struct history {
    float *d[HISTORY];
} history;

static history history_make(samplers_run *r) {
    history h;
    for (size_t i = 0; i < HISTORY; i++) h.d[i] = samplers_buffer(r);
    return h;
}

/* Makes the newest slope of the step at sigma s. */
static void history_push(samplers_run *r, history *h, const float *D, double s) {
    float *oldest = h->d[HISTORY - 1];
    for (size_t i = HISTORY - 1; i > 0; i--) h->d[i] = h->d[i - 1];
    h->d[0] = oldest;
    MIX(r, oldest, {1 / s, r->x}, {-1 / s, D});
}

/* Lagrange's basis polynomial of the nodes at[0..n-1] that is 1 at node j. */
static double lagrange(const double *at, size_t n, size_t j, double t) {
    double p = 1;
    for (size_t k = 0; k < n; k++)
        if (k != j) p *= (t - at[k]) / (at[j] - at[k]);
    return p;
}

/* The weights w [HISTORY] of the slopes for step i; unused ones are 0. */
typedef void (*weigh)(const samplers_run *r, size_t i, double w[HISTORY]);

static err_code run_weighted(samplers_run *r, weigh weights) {
    float *D = samplers_buffer(r);
    history h = history_make(r);
    for (size_t i = 0; i < r->n_steps; i++) {
        double s = r->sigma[i], t = r->sigma[i + 1], w[HISTORY] = {0};
        TRY(samplers_call_step(r, i, D, NULL));
        if (t == 0) {
            MIX(r, r->x, {1, D});
            continue;
        }
        history_push(r, &h, D, s);
        weights(r, i, w);
        MIX(r, r->x, {1, r->x}, {w[0], h.d[0]}, {w[1], h.d[1]}, {w[2], h.d[2]}, {w[3], h.d[3]});
    }
    return ERR_OK;
}

/* The sigmas of the newest n slopes, newest first. */
static size_t nodes(const samplers_run *r, size_t i, size_t order_max, double at[HISTORY]) {
    size_t n = i + 1 < order_max ? i + 1 : order_max;
    for (size_t k = 0; k < n; k++) at[k] = r->sigma[i - k];
    return n;
}

enum { LMS_ORDER_MAX = 100 };

/* The integral of a basis polynomial over the step: two Gauss points, exact for cubics, in as many
 * panels as higher orders need. */
static double lms_weight(const samplers_run *r, size_t i, size_t n, size_t j) {
    double at[LMS_ORDER_MAX], s = r->sigma[i], t = r->sigma[i + 1], sum = 0;
    int n_panels = n <= HISTORY ? 1 : 64;
    for (size_t k = 0; k < n; k++) at[k] = r->sigma[i - k];
    double half = 0.5 * (t - s) / n_panels, g = half / sqrt(3);
    for (int p = 0; p < n_panels; p++) {
        double mid = s + (2 * p + 1) * half;
        sum += half * (lagrange(at, n, j, mid - g) + lagrange(at, n, j, mid + g));
    }
    return sum;
}

err_code samplers_lms(samplers_run *r) {
    size_t order = (size_t)r->set.order < r->n_steps ? (size_t)r->set.order : r->n_steps;
    if (r->set.order < 1 || r->set.order > LMS_ORDER_MAX)
        FAIL(r->e, INVALID, "order is %d; 1 to %d are possible", r->set.order, LMS_ORDER_MAX);
    float *D = samplers_buffer(r), **d = ARENA_ARRAY(r->a, float *, order);
    for (size_t k = 0; k < order; k++) d[k] = samplers_buffer(r);
    for (size_t i = 0; i < r->n_steps; i++) {
        samplers_term terms[LMS_ORDER_MAX + 1] = {{1, r->x}};
        size_t n = i + 1 < order ? i + 1 : order;
        float *newest = d[order - 1];
        TRY(samplers_call_step(r, i, D, NULL));
        if (r->sigma[i + 1] == 0) {
            MIX(r, r->x, {1, D});
            continue;
        }
        for (size_t k = order - 1; k > 0; k--) d[k] = d[k - 1];
        d[0] = newest;
        MIX(r, newest, {1 / r->sigma[i], r->x}, {-1 / r->sigma[i], D});
        for (size_t k = 0; k < n; k++) terms[k + 1] = (samplers_term){lms_weight(r, i, n, k), d[k]};
        samplers_mix(r->n, r->x, terms, n + 1);
    }
    return ERR_OK;
}

static void weigh_ipndm(const samplers_run *r, size_t i, double w[HISTORY]) {
    static const double table[HISTORY][HISTORY] = {
        {1, 0, 0, 0},
        {3.0 / 2, -1.0 / 2, 0, 0},
        {23.0 / 12, -16.0 / 12, 5.0 / 12, 0},
        {55.0 / 24, -59.0 / 24, 37.0 / 24, -9.0 / 24},
    };
    size_t order = i < HISTORY ? i : HISTORY - 1;
    for (size_t k = 0; k < HISTORY; k++) w[k] = table[order][k] * (r->sigma[i + 1] - r->sigma[i]);
}

err_code samplers_ipndm(samplers_run *r) {
    return run_weighted(r, weigh_ipndm);
}

/* The established weights: those of variable steps up to order 2; above, the second and third
 * differences' weights a and b are not the exact integrals, and the last slope's is not the one
 * that belongs to b. Kept as they are everywhere else, since pictures depend on them. */
static void weigh_ipndm_v(const samplers_run *r, size_t i, double w[HISTORY]) {
    const double *sg = r->sigma + i;
    double h = sg[1] - sg[0], ratio = 0, a = 0, b = 0, r12 = 0, q = 0, r23 = 0;
    if (i >= 1) ratio = h / (sg[0] - sg[-1]) / 2;
    if (i >= 2) {
        double h1 = sg[0] - sg[-1], h2 = sg[-1] - sg[-2];
        r12 = h1 / h2;
        a = (1 - h * h / (3 * h1 * (h1 + h2))) / 2;
    }
    if (i >= 3) {
        double h1 = sg[0] - sg[-1], h2 = sg[-1] - sg[-2], h3 = sg[-2] - sg[-3];
        double lead = (1 - h / (3 * (h + h1))) / 2;
        double more = (1 - h / (2 * (h + h1))) * h / (6 * (h + h1 + h2));
        b = (lead + more) * (h * (h + h1) * (h + h1 + h2)) / (h1 * (h1 + h2) * (h1 + h2 + h3));
        q = h1 * (h1 + h2) / (h2 * (h2 + h3));
        r23 = h2 / h3;
    }
    w[0] = h * (1 + ratio + a + b);
    w[1] = h * (-ratio - (1 + r12) * a - (1 + r12 + q) * b);
    w[2] = h * (a * r12 + (r12 + q * (1 + r23)) * b);
    w[3] = h * (-b * q * r12);
}

err_code samplers_ipndm_v(samplers_run *r) {
    return run_weighted(r, weigh_ipndm_v);
}

/* Variance-preserving time of a sigma for linear beta(t) with sigma(0.001) = 0.002, sigma(1) = 80.
 */
typedef struct vp_time {
    double slope, base;
} vp_time;

static vp_time vp_make(void) {
    const double eps = 1e-3, lo = log(0.002 * 0.002 + 1), hi = log(80.0 * 80.0 + 1);
    double beta_d = 2 * (lo / eps - hi) / (eps - 1);
    return (vp_time){beta_d, hi - 0.5 * beta_d};
}

static double vp_at(const vp_time *v, double sigma) {
    double base2 = v->base * v->base;
    return (sqrt(base2 + 2 * v->slope * log(sigma * sigma + 1)) - v->base) / v->slope;
}

/* d sigma / d time. */
static double vp_rate(const vp_time *v, double tau) {
    double log_alpha = -0.5 * tau * tau * v->slope - tau * v->base, alpha = exp(log_alpha);
    return 0.5 * (tau * v->slope + v->base) / sqrt(alpha * -expm1(log_alpha));
}

/* The integral is a sum over as many points as the original takes: its remainder of some 1e-4
 * belongs to the pictures. */
static void weigh_deis(const samplers_run *r, size_t i, double w[HISTORY]) {
    enum { N_POINTS = 10000 };
    double at[HISTORY], s = r->sigma[i], t = r->sigma[i + 1];
    size_t n = nodes(r, i, 3, at);
    if (n == 1) {
        w[0] = t - s;
        return;
    }
    vp_time v = vp_make();
    double from = vp_at(&v, s), to = vp_at(&v, t);
    for (size_t j = 0; j < n; j++) at[j] = vp_at(&v, at[j]);
    for (size_t k = 0; k < N_POINTS; k++) {
        double tau = from + (to - from) * (double)k / (N_POINTS - 1);
        double part = vp_rate(&v, tau) * (to - from) / N_POINTS;
        for (size_t j = 0; j < n; j++) w[j] += part * lagrange(at, n, j, tau);
    }
}

err_code samplers_deis(samplers_run *r) {
    return run_weighted(r, weigh_deis);
}

err_code samplers_res_multistep(samplers_run *r) {
    bool cfg_pp = r->variant >= 2;
    double eta = r->variant % 2, down_old = 0;
    float *D = samplers_buffer(r), *U = cfg_pp ? samplers_buffer(r) : NULL;
    float *old = samplers_buffer(r), *N = samplers_buffer(r);
    for (size_t i = 0; i < r->n_steps; i++) {
        double s = r->sigma[i], t = r->sigma[i + 1];
        TRY(samplers_call_step(r, i, D, U));
        samplers_split a = samplers_ancestral(s, t, eta);
        const float *now = cfg_pp ? U : D;
        double q = a.down / s;
        if (a.down == 0) {
            MIX(r, r->x, {1, D});
        } else if (i == 0) {
            MIX(r, r->x, {q, r->x}, {1, D}, {-q, now});
        } else {
            /* phi1(-h) = (1 - e^-h) / h; phi2(-h) = (1 - phi1(-h)) / h; all times h. */
            double h = -log(q), phi1 = -expm1(-h) / h, phi2 = (phi1 - 1) / -h;
            double c2 = log(down_old / r->sigma[i - 1]) / h, b2 = phi2 / c2, b1 = phi1 - b2;
            if (!isfinite(b1) || !isfinite(b2)) b1 = b2 = 0;
            MIX(r, r->x, {q, r->x}, {cfg_pp ? q : 0, D}, {cfg_pp ? -q : 0, now}, {h * b1, now},
                {h * b2, old});
        }
        if (eta > 0 && t > 0) {
            TRY(samplers_noise(r, s, t, N));
            MIX(r, r->x, {1, r->x}, {a.up, N});
        }
        down_old = a.down;
        float *spare = old;
        old = cfg_pp ? U : D;
        if (cfg_pp)
            U = spare;
        else
            D = spare;
    }
    return ERR_OK;
}
