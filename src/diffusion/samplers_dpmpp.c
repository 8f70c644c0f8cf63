/* DPM-Solver++ (Lu et al. 2022) and its stochastic forms, with step size h in lambda, the half
 * log-SNR; all treat the denoised estimate as the slowly varying quantity. Notation: samplers.h. */
#include "diffusion/samplers.h"
#include <math.h>

/* One step of 2S; D and U hold the first evaluation. `down` > 0. */
static err_code two_stage(samplers_run *r, double s, double down, float *const buf[4]) {
    float *D = buf[0], *U = buf[1], *D2 = buf[2], *x2 = buf[3];
    double mid = sqrt(s * down);
    if (r->model->is_flow && r->variant == 0) {
        mid = 0.9999;
        if (s < 1)
            mid = sigmas_from_lambda(r->model,
                                     0.5 * (samplers_lambda(r, s) + samplers_lambda(r, down)));
    }
    double q = mid / s, p = down / s;
    if (U == NULL) {
        MIX(r, x2, {q, r->x}, {1 - q, D});
        TRY(samplers_call(r, x2, mid, D2, NULL));
        MIX(r, r->x, {p, r->x}, {1 - p, D2});
    } else {
        MIX(r, x2, {q, r->x}, {1, D}, {-q, U});
        /* The second evaluation's unconditional estimate takes the first one's place. */
        TRY(samplers_call(r, x2, mid, D2, U));
        MIX(r, r->x, {p, r->x}, {p, D}, {-p, U}, {1 - p, D2});
    }
    return ERR_OK;
}

err_code samplers_dpmpp_2s(samplers_run *r) {
    bool cfg_pp = r->variant == 1, flow = r->model->is_flow && !cfg_pp;
    float *buf[4] = {samplers_buffer(r), cfg_pp ? samplers_buffer(r) : NULL, samplers_buffer(r),
                     samplers_buffer(r)};
    float *N = samplers_buffer(r);
    for (size_t i = 0; i < r->n_steps; i++) {
        double s = r->sigma[i], t = r->sigma[i + 1];
        TRY(samplers_call_step(r, i, buf[0], buf[1]));
        samplers_split a = samplers_ancestral(s, t, r->set.eta);
        samplers_flow_split f = {a.down, 1, a.up};
        if (flow) f = samplers_flow_ancestral(s, t, r->set.eta);
        if (f.down == 0)
            MIX(r, r->x, {1, buf[0]});
        else
            TRY(two_stage(r, s, f.down, buf));
        if (t == 0) continue;
        TRY(samplers_noise(r, s, t, N));
        MIX(r, r->x, {f.keep, r->x}, {f.up * r->set.s_noise, N});
    }
    return ERR_OK;
}

/* A stochastic exponential step from lambda_s to sigma `to`: out = the step of r->x with the
 * estimate `est`, noise included. */
static err_code sde_stage(samplers_run *r, const double from_to[2], const float *est, float *out,
                          float *N) {
    double ls = samplers_lambda(r, from_to[0]), lt = samplers_lambda(r, from_to[1]);
    double alpha_s = samplers_alpha(r, from_to[0]), alpha_t = samplers_alpha(r, from_to[1]);
    samplers_split a = samplers_ancestral(exp(-ls), exp(-lt), r->set.eta);
    double shrink = a.down * exp(ls);
    TRY(samplers_noise(r, from_to[0], from_to[1], N));
    MIX(r, out, {alpha_t / alpha_s * shrink, r->x}, {alpha_t * (1 - shrink), est},
        {alpha_t * a.up * r->set.s_noise, N});
    return ERR_OK;
}

err_code samplers_dpmpp_sde(samplers_run *r) {
    float *D = samplers_buffer(r), *D2 = samplers_buffer(r), *x2 = samplers_buffer(r);
    float *N = samplers_buffer(r);
    samplers_offset_first(r);
    if (!(r->set.middle > 0)) FAIL(r->e, INVALID, "r is %g; it must be above 0", r->set.middle);
    double later = 1 / (2 * r->set.middle); /* the second estimate's weight */
    for (size_t i = 0; i < r->n_steps; i++) {
        double s = r->sigma[i], t = r->sigma[i + 1];
        TRY(samplers_call_step(r, i, D, NULL));
        if (t == 0) {
            MIX(r, r->x, {1, D});
            continue;
        }
        double ls = samplers_lambda(r, s);
        double mid =
            sigmas_from_lambda(r->model, ls + r->set.middle * (samplers_lambda(r, t) - ls));
        TRY(sde_stage(r, (double[]){s, mid}, D, x2, N));
        TRY(samplers_call(r, x2, mid, D2, NULL));
        MIX(r, D2, {1 - later, D}, {later, D2});
        TRY(sde_stage(r, (double[]){s, t}, D2, r->x, N));
    }
    return ERR_OK;
}

static void swap(float **a, float **b) {
    float *tmp = *a;
    *a = *b;
    *b = tmp;
}

err_code samplers_dpmpp_2m(samplers_run *r) {
    float *D = samplers_buffer(r), *old = samplers_buffer(r);
    for (size_t i = 0; i < r->n_steps; i++) {
        double s = r->sigma[i], t = r->sigma[i + 1];
        TRY(samplers_call_step(r, i, D, NULL));
        double extra = 0;
        if (i > 0 && t > 0) extra = 0.5 * log(s / t) / log(r->sigma[i - 1] / s); /* 1 / 2r */
        double move = 1 - t / s;
        MIX(r, r->x, {t / s, r->x}, {move * (1 + extra), D}, {-move * extra, old});
        swap(&D, &old);
    }
    return ERR_OK;
}

err_code samplers_dpmpp_2m_cfg_pp(samplers_run *r) {
    float *D = samplers_buffer(r), *U = samplers_buffer(r), *old = samplers_buffer(r);
    for (size_t i = 0; i < r->n_steps; i++) {
        double s = r->sigma[i], t = r->sigma[i + 1];
        TRY(samplers_call_step(r, i, D, U));
        double q = t / s, extra = 0;
        if (i > 0 && t > 0) extra = (1 - q) * 0.5 * log(s / t) / log(r->sigma[i - 1] / s);
        MIX(r, r->x, {q, r->x}, {1 + extra, D}, {-q, U}, {-extra, old});
        swap(&U, &old);
    }
    return ERR_OK;
}

err_code samplers_dpmpp_2m_sde(samplers_run *r) {
    float *D = samplers_buffer(r), *old = samplers_buffer(r), *N = samplers_buffer(r);
    samplers_offset_first(r);
    double h_last = 0, eta = r->set.eta;
    for (size_t i = 0; i < r->n_steps; i++) {
        double s = r->sigma[i], t = r->sigma[i + 1];
        TRY(samplers_call_step(r, i, D, NULL));
        if (t == 0) {
            MIX(r, r->x, {1, D});
            continue;
        }
        double h = samplers_lambda(r, t) - samplers_lambda(r, s), H = (1 + eta) * h;
        double alpha_t = samplers_alpha(r, t), gain = -alpha_t * expm1(-H), c = 0;
        if (i > 0) c = (r->variant == 1 ? alpha_t * (expm1(-H) / H + 1) : 0.5 * gain) * h / h_last;
        TRY(samplers_noise(r, s, t, N));
        MIX(r, r->x, {t / s * exp(-h * eta), r->x}, {gain + c, D}, {-c, old},
            {t * sqrt(-expm1(-2 * h * eta)) * r->set.s_noise, N});
        h_last = h;
        swap(&D, &old);
    }
    return ERR_OK;
}

err_code samplers_dpmpp_3m_sde(samplers_run *r) {
    float *D = samplers_buffer(r), *D1 = samplers_buffer(r), *D2 = samplers_buffer(r);
    float *N = samplers_buffer(r);
    samplers_offset_first(r);
    double h1 = 0, h2 = 0, eta = r->set.eta;
    for (size_t i = 0; i < r->n_steps; i++) {
        double s = r->sigma[i], t = r->sigma[i + 1];
        TRY(samplers_call_step(r, i, D, NULL));
        if (t == 0) {
            MIX(r, r->x, {1, D});
            continue;
        }
        double h = samplers_lambda(r, t) - samplers_lambda(r, s), H = (1 + eta) * h;
        double alpha_t = samplers_alpha(r, t), phi2 = expm1(-H) / H + 1, phi3 = phi2 / H - 0.5;
        /* Weights of a = (D - D1) / r0 and b = (D1 - D2) / r1 in the correction. */
        double wa = 0, wb = 0, r0 = h1 / h, r1 = h2 / h;
        if (i == 1) {
            wa = phi2;
        } else if (i > 1) {
            wa = phi2 * (1 + r0 / (r0 + r1)) - phi3 / (r0 + r1);
            wb = -phi2 * r0 / (r0 + r1) + phi3 / (r0 + r1);
        }
        double ca = i > 0 ? alpha_t * wa / r0 : 0, cb = i > 1 ? alpha_t * wb / r1 : 0;
        TRY(samplers_noise(r, s, t, N));
        MIX(r, r->x, {t / s * exp(-h * eta), r->x}, {-alpha_t * expm1(-H) + ca, D}, {cb - ca, D1},
            {-cb, D2}, {t * sqrt(-expm1(-2 * h * eta)) * r->set.s_noise, N});
        swap(&D1, &D2);
        swap(&D, &D1);
        h2 = h1;
        h1 = h;
    }
    return ERR_OK;
}
