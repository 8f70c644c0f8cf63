/* UniPC (Zhao et al. 2023): multistep predictor and corrector with one evaluation a step.
 *
 * Works in the variance-preserving scale x / sqrt(1 + sigma^2), as published, with data prediction.
 * A final sigma of 0 is taken as 0.001. Notation: samplers.h. */
#include "diffusion/samplers.h"
#include <math.h>

enum { ORDER_MAX = 3 };

/* History of estimates and their sigmas, newest first. */
typedef struct unipc {
    float *est[ORDER_MAX], *now; /* [n]; now: at the step's end */
    double sigma[ORDER_MAX];
    float *x2, *scaled;
} unipc;

static double vp_alpha(double sigma) {
    return 1 / sqrt(1 + sigma * sigma);
}

/* The denoised estimate of v at sigma, v in the variance-preserving scale. */
static err_code evaluate(samplers_run *r, const unipc *u, const float *v, double sigma, float *D) {
    MIX(r, u->scaled, {1 / vp_alpha(sigma), v});
    return samplers_call(r, u->scaled, sigma, D, NULL);
}

/* The system R rho = b of the paper for a step of `order`: rows r^(k-1), right sides
 * k! h phi_(k+1)(hh) / B. rk[order - 1] is 1. */
static void fill_system(size_t order, const double *rk, double hh, double B, double *R, double *b) {
    double phi = expm1(hh) / hh - 1, factorial = 1;
    for (size_t k = 0; k < order; k++) {
        for (size_t j = 0; j < order; j++) R[k * order + j] = pow(rk[j], (double)k);
        b[k] = phi * factorial / B;
        factorial *= (double)(k + 2);
        phi = phi / hh - 1 / factorial;
    }
}

/* rho of the predictor: the system without its last row and column. */
static void solve_predictor(size_t order, const double *R, const double *b, double *rho) {
    size_t m = order - 1;
    if (order == 2) {
        rho[0] = 0.5;
        return;
    }
    double small[ORDER_MAX * ORDER_MAX];
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < m; j++) small[i * m + j] = R[i * order + j];
    for (size_t i = 0; i < m; i++) rho[i] = b[i];
    samplers_solve(m, small, rho);
}

/* x (r->x) from sigma[0] of the history to sigma t; u->now gets the estimate there if correcting.
 */
static err_code update(samplers_run *r, unipc *u, double t, size_t order, bool correct) {
    double s = u->sigma[0], h = log(s / t), hh = -h, B = r->variant == 1 ? hh : expm1(hh);
    double alpha = vp_alpha(t), carry = t * alpha / (s * vp_alpha(s)), phi1 = expm1(hh);
    double rk[ORDER_MAX], R[ORDER_MAX * ORDER_MAX], b[ORDER_MAX], rho[ORDER_MAX] = {0};
    for (size_t k = 1; k < order; k++) rk[k - 1] = log(s / u->sigma[k]) / h;
    rk[order - 1] = 1;
    fill_system(order, rk, hh, B, R, b);
    if (order > 1) solve_predictor(order, R, b, rho);
    double c1 = order > 1 ? alpha * B * rho[0] / rk[0] : 0;
    double c2 = order > 2 ? alpha * B * rho[1] / rk[1] : 0;
    MIX(r, u->x2, {carry, r->x}, {-alpha * phi1 + c1 + c2, u->est[0]}, {-c1, u->est[1]},
        {-c2, u->est[2]});
    if (!correct) {
        MIX(r, r->x, {1, u->x2});
        return ERR_OK;
    }
    TRY(evaluate(r, u, u->x2, t, u->now));
    if (order == 1)
        b[0] = 0.5;
    else
        samplers_solve(order, R, b);
    c1 = order > 1 ? alpha * B * b[0] / rk[0] : 0;
    c2 = order > 2 ? alpha * B * b[1] / rk[1] : 0;
    double c0 = alpha * B * b[order - 1];
    MIX(r, r->x, {carry, r->x}, {-alpha * phi1 + c0 + c1 + c2, u->est[0]}, {-c1, u->est[1]},
        {-c2, u->est[2]}, {-c0, u->now});
    return ERR_OK;
}

static void push(unipc *u, double sigma) {
    float *oldest = u->est[ORDER_MAX - 1];
    for (size_t k = ORDER_MAX - 1; k > 0; k--) {
        u->est[k] = u->est[k - 1];
        u->sigma[k] = u->sigma[k - 1];
    }
    u->est[0] = u->now;
    u->sigma[0] = sigma;
    u->now = oldest;
}

err_code samplers_uni_pc(samplers_run *r) {
    size_t n = r->n_steps, order_max = n - 1 < ORDER_MAX ? n - 1 : ORDER_MAX;
    if (order_max == 0) order_max = 1;
    if (r->sigma[n] == 0) r->sigma[n] = 0.001;
    unipc u = {.now = samplers_buffer(r), .x2 = samplers_buffer(r), .scaled = samplers_buffer(r)};
    for (size_t k = 0; k < ORDER_MAX; k++) u.est[k] = samplers_buffer(r);
    MIX(r, r->x, {vp_alpha(r->sigma[0]), r->x});
    TRY(evaluate(r, &u, r->x, r->sigma[0], u.now));
    TRY(samplers_report(r, 0, (int32_t)n, u.now));
    push(&u, r->sigma[0]);
    for (size_t i = 1; i <= n; i++) {
        size_t order = i < order_max ? i : order_max;
        if (order > n + 1 - i) order = n + 1 - i;
        bool last = i == n;
        TRY(update(r, &u, r->sigma[i], order, !last));
        if (last) break;
        TRY(samplers_report(r, (int32_t)i, (int32_t)n, u.now));
        push(&u, r->sigma[i]);
    }
    MIX(r, r->x, {1 / vp_alpha(r->sigma[n]), r->x});
    return ERR_OK;
}
