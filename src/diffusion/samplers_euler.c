/* One evaluation a step, no memory beyond the last slope: Euler in its forms, DDPM, LCM and
 * gradient estimation (Permenter and Yuan 2023). CFG++ is Chung et al. 2024: the guided estimate
 * with the unconditional direction. Notation: samplers.h. */
#include "diffusion/samplers.h"
#include <math.h>

err_code samplers_euler(samplers_run *r) {
    float *D = samplers_buffer(r);
    for (size_t i = 0; i < r->n_steps; i++) {
        double s = r->sigma[i], t = r->sigma[i + 1];
        TRY(samplers_call_step(r, i, D, NULL));
        MIX(r, r->x, {t / s, r->x}, {1 - t / s, D});
    }
    return ERR_OK;
}

err_code samplers_euler_ancestral(samplers_run *r) {
    float *D = samplers_buffer(r), *N = samplers_buffer(r);
    for (size_t i = 0; i < r->n_steps; i++) {
        double s = r->sigma[i], t = r->sigma[i + 1];
        TRY(samplers_call_step(r, i, D, NULL));
        samplers_flow_split f = {0, 1, 0};
        if (r->model->is_flow && t > 0) {
            f = samplers_flow_ancestral(s, t, r->set.eta);
        } else if (t > 0) {
            samplers_split a = samplers_ancestral(s, t, r->set.eta);
            f.down = a.down;
            f.up = a.up;
        }
        if (f.down == 0) { /* at the end, or an eta that leaves nothing but noise */
            MIX(r, r->x, {1, D});
            continue;
        }
        TRY(samplers_noise(r, s, t, N));
        double q = f.down / s;
        MIX(r, r->x, {f.keep * q, r->x}, {f.keep * (1 - q), D}, {f.up * r->set.s_noise, N});
    }
    return ERR_OK;
}

err_code samplers_euler_cfg_pp(samplers_run *r) {
    float *D = samplers_buffer(r), *U = samplers_buffer(r), *N = samplers_buffer(r);
    double eta = r->variant * r->set.eta;
    for (size_t i = 0; i < r->n_steps; i++) {
        double s = r->sigma[i], t = r->sigma[i + 1];
        TRY(samplers_call_step(r, i, D, U));
        if (r->set.alternative) { /* Euler along (x - D) - (D - U) */
            double step = t / s - 1;
            MIX(r, r->x, {1 + step, r->x}, {-2 * step, D}, {step, U});
            continue;
        }
        if (t == 0) {
            MIX(r, r->x, {1, D});
            continue;
        }
        /* A flow's first sigma of 1 has no data in it: alpha 0 makes s / alpha infinite, and the
         * split's limit is down = t / alpha * 0. */
        double alpha_s = samplers_alpha(r, s), alpha_t = samplers_alpha(r, t);
        double vs = alpha_s > 0 ? s / alpha_s : (double)INFINITY, vt = t / alpha_t;
        double share = isinf(vs) ? 1 : sqrt(fmax(vs * vs - vt * vt, 0)) / vs;
        double up = fmin(vt, eta * vt * share), down = sqrt(fmax(vt * vt - up * up, 0)) * alpha_t;
        MIX(r, r->x, {alpha_t, D}, {down / s, r->x}, {-down * alpha_s / s, U});
        if (eta > 0) {
            TRY(samplers_noise(r, s, t, N));
            MIX(r, r->x, {1, r->x}, {alpha_t * up * r->set.s_noise, N});
        }
    }
    return ERR_OK;
}

/* Ho et al. 2020, equation 11, in the variance-preserving scale x / sqrt(1 + sigma^2). */
err_code samplers_ddpm(samplers_run *r) {
    float *D = samplers_buffer(r), *N = samplers_buffer(r);
    for (size_t i = 0; i < r->n_steps; i++) {
        double s = r->sigma[i], t = r->sigma[i + 1];
        TRY(samplers_call_step(r, i, D, NULL));
        double bar = 1 / (1 + s * s), bar_next = 1 / (1 + t * t), alpha = bar / bar_next;
        double back = sqrt(1 / alpha) * sqrt(1 + t * t);
        double noise_part = (1 - alpha) / sqrt(1 - bar) / s;
        MIX(r, r->x, {back * (sqrt(bar) - noise_part), r->x}, {back * noise_part, D});
        if (t == 0) continue;
        TRY(samplers_noise(r, s, t, N));
        double up = sqrt((1 - alpha) * (1 - bar_next) / (1 - bar) * (1 + t * t));
        MIX(r, r->x, {1, r->x}, {up, N});
    }
    return ERR_OK;
}

/* Cuts noise to so many of its own deviations. */
static void clip(float *v, size_t n, double deviations) {
    double sum = 0, square = 0;
    for (size_t i = 0; i < n; i++) sum += (double)v[i];
    for (size_t i = 0; i < n; i++)
        square += ((double)v[i] - sum / (double)n) * ((double)v[i] - sum / (double)n);
    float most = (float)(deviations * sqrt(square / (double)(n > 1 ? n - 1 : 1)));
    for (size_t i = 0; i < n; i++) v[i] = fminf(fmaxf(v[i], -most), most);
}

err_code samplers_lcm(samplers_run *r) {
    float *D = samplers_buffer(r), *N = samplers_buffer(r);
    for (size_t i = 0; i < r->n_steps; i++) {
        double t = r->sigma[i + 1], mix[2];
        TRY(samplers_call_step(r, i, D, NULL));
        if (t == 0) {
            MIX(r, r->x, {1, D});
            continue;
        }
        TRY(samplers_noise(r, r->sigma[i], t, N));
        if (r->set.noise_clip > 0) clip(N, r->n, r->set.noise_clip);
        double share = r->n_steps > 1 ? (double)i / (double)(r->n_steps - 1) : 0;
        double by = r->set.s_noise + (r->set.s_noise_end - r->set.s_noise) * share;
        sigmas_noising(r->model, t, false, mix);
        MIX(r, r->x, {mix[0], D}, {mix[1] * by, N});
    }
    return ERR_OK;
}

err_code samplers_gradient_estimation(samplers_run *r) {
    bool cfg_pp = r->variant == 1;
    float *D = samplers_buffer(r), *U = cfg_pp ? samplers_buffer(r) : NULL;
    float *d = samplers_buffer(r), *old = samplers_buffer(r);
    for (size_t i = 0; i < r->n_steps; i++) {
        double s = r->sigma[i], t = r->sigma[i + 1];
        TRY(samplers_call_step(r, i, D, U));
        if (t == 0) {
            MIX(r, r->x, {1, D});
            continue;
        }
        MIX(r, d, {1 / s, r->x}, {-1 / s, cfg_pp ? U : D});
        double more = i > 0 ? t - s : 0; /* (gamma - 1)(t - s), gamma = 2 */
        MIX(r, r->x, {1, D}, {t + more, d}, {-more, old});
        float *tmp = old;
        old = d;
        d = tmp;
    }
    return ERR_OK;
}
