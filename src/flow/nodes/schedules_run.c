/* Noise schedules made from numbers alone, and what can be done to schedules. */
#include "flow/nodes/schedules_run.h"
#include "diffusion/sigmas.h"
#include "flow/objects.h"
#include "image/resize.h"
#include <math.h>
#include <string.h>

static flow_sigmas *sigmas_new(size_t n) {
    flow_sigmas *s = NEW(flow_sigmas);
    s->n = n;
    s->v = NEW_ARRAY(float, n ? n : 1);
    return s;
}

static void out_sigmas(flow_call *c, size_t slot, flow_sigmas *s) {
    size_t n_bytes = s->n * sizeof(float);
    flow_out(c, slot, flow_value_object(FLOW_SIGMAS, s, flow_sigmas_destroy, n_bytes));
}

static void out_values(flow_call *c, size_t slot, const float *v, size_t n) {
    flow_sigmas *s = sigmas_new(n);
    if (n) memcpy(s->v, v, n * sizeof(float));
    out_sigmas(c, slot, s);
}

static err_code in_sigmas(const flow_call *c, const flow_sigmas **ret, err *e) {
    void *p = NULL;
    TRY(flow_in_object(c, "sigmas", FLOW_SIGMAS, &p, e));
    *ret = p;
    return ERR_OK;
}

static err_code in_steps(const flow_call *c, size_t *ret, err *e) {
    int64_t n = 0;
    TRY(flow_in_int(c, "steps", &n, e));
    if (n < 1 || n > SIGMAS_STEPS_MAX)
        FAIL(e, INVALID, "steps is %lld; 1 to %d are possible", (long long)n, SIGMAS_STEPS_MAX);
    *ret = (size_t)n;
    return ERR_OK;
}

static err_code in_range(const flow_call *c, double range[2], err *e) {
    TRY(flow_in_float(c, "sigma_min", &range[0], e));
    TRY(flow_in_float(c, "sigma_max", &range[1], e));
    if (!(range[0] > 0) || !(range[1] > 0))
        FAIL(e, INVALID, "sigma_min %g and sigma_max %g must be above 0", range[0], range[1]);
    return ERR_OK;
}

/* ---- made */

err_code schedule_karras_run(flow_call *c, err *e) {
    size_t n;
    double range[2], rho;
    TRY(in_steps(c, &n, e));
    TRY(in_range(c, range, e));
    TRY(flow_in_float(c, "rho", &rho, e));
    if (!(rho > 0)) FAIL(e, INVALID, "rho must be above 0");
    sigmas_schedule s = sigmas_karras(flow_call_arena(c), n, range, rho);
    out_values(c, 0, s.sigma, s.n_sigmas);
    return ERR_OK;
}

static err_code polyexponential(flow_call *c, double rho, err *e) {
    size_t n;
    double range[2];
    TRY(in_steps(c, &n, e));
    TRY(in_range(c, range, e));
    sigmas_schedule s = sigmas_polyexponential(flow_call_arena(c), n, range, rho);
    out_values(c, 0, s.sigma, s.n_sigmas);
    return ERR_OK;
}

err_code schedule_exponential_run(flow_call *c, err *e) {
    return polyexponential(c, 1.0, e);
}

err_code schedule_polyexponential_run(flow_call *c, err *e) {
    double rho;
    TRY(flow_in_float(c, "rho", &rho, e));
    return polyexponential(c, rho, e);
}

err_code schedule_laplace_run(flow_call *c, err *e) {
    size_t n;
    double range[2], mu, beta;
    TRY(in_steps(c, &n, e));
    TRY(in_range(c, range, e));
    TRY(flow_in_float(c, "mu", &mu, e));
    TRY(flow_in_float(c, "beta", &beta, e));
    sigmas_schedule s = sigmas_laplace(flow_call_arena(c), n, range, mu, beta);
    out_values(c, 0, s.sigma, s.n_sigmas);
    return ERR_OK;
}

err_code schedule_vp_run(flow_call *c, err *e) {
    size_t n;
    double beta_d, beta_min, eps_s;
    TRY(in_steps(c, &n, e));
    TRY(flow_in_float(c, "beta_d", &beta_d, e));
    TRY(flow_in_float(c, "beta_min", &beta_min, e));
    TRY(flow_in_float(c, "eps_s", &eps_s, e));
    sigmas_schedule s = sigmas_vp(flow_call_arena(c), n, beta_d, beta_min, eps_s);
    out_values(c, 0, s.sigma, s.n_sigmas);
    return ERR_OK;
}

/* ---- tables (Sabour et al. 2024, "Align Your Steps") */

enum { AYS_LEN = 11 };
static const double ays_sd1[AYS_LEN] = {14.6146412293, 6.4745760956, 3.8636745985, 2.6946151520,
                                        1.8841921177,  1.3943805092, 0.9642583904, 0.6523686016,
                                        0.3977456272,  0.1515232662, 0.0291671582};
static const double ays_sdxl[AYS_LEN] = {14.6146412293, 6.3184485287, 3.7681790315, 2.1811480769,
                                         1.3405244945,  0.8620721141, 0.5550693289, 0.3798540708,
                                         0.2332364134,  0.1114188177, 0.0291671582};
static const double ays_svd[AYS_LEN] = {700.0, 54.5,  15.886, 7.977, 4.248, 1.789,
                                        0.981, 0.403, 0.173,  0.034, 0.002};

/* Point i of n, log-linear between the table's. */
static double log_linear(const double *table, size_t i, size_t n) {
    double pos = (double)i * (AYS_LEN - 1) / (double)(n - 1);
    size_t low = (size_t)pos < AYS_LEN - 1 ? (size_t)pos : AYS_LEN - 2;
    double part = pos - (double)low;
    return exp(log(table[low]) * (1 - part) + log(table[low + 1]) * part);
}

err_code schedule_align_your_steps_run(flow_call *c, err *e) {
    size_t n, keep;
    double denoise;
    str model;
    TRY(in_steps(c, &n, e));
    TRY(flow_in_float(c, "denoise", &denoise, e));
    TRY(flow_in_text(c, "model_type", &model, e));
    const double *table = str_eq(model, STR("SDXL"))  ? ays_sdxl
                          : str_eq(model, STR("SVD")) ? ays_svd
                                                      : ays_sd1;
    keep = denoise < 1.0 ? (size_t)resize_round((double)n * (denoise > 0 ? denoise : 0)) : n;
    if (denoise <= 0) {
        out_sigmas(c, 0, sigmas_new(0));
        return ERR_OK;
    }
    flow_sigmas *s = sigmas_new(keep + 1);
    for (size_t i = 0; i < keep; i++) {
        size_t at = n - keep + i;
        s->v[i] = (float)(n + 1 == AYS_LEN ? table[at] : log_linear(table, at, n + 1));
    }
    out_sigmas(c, 0, s);
    return ERR_OK;
}

/* ---- changed */

err_code sigmas_split_run(flow_call *c, err *e) {
    const flow_sigmas *in;
    int64_t step;
    TRY(in_sigmas(c, &in, e));
    TRY(flow_in_int(c, "step", &step, e));
    size_t at = step < 0 ? 0 : (size_t)step < in->n ? (size_t)step : in->n;
    size_t n_high = at + 1 < in->n ? at + 1 : in->n;
    out_values(c, 0, in->v, n_high);
    out_values(c, 1, in->v + at, in->n - at);
    return ERR_OK;
}

err_code sigmas_split_denoise_run(flow_call *c, err *e) {
    const flow_sigmas *in;
    double denoise;
    TRY(in_sigmas(c, &in, e));
    TRY(flow_in_float(c, "denoise", &denoise, e));
    size_t steps = in->n ? in->n - 1 : 0;
    size_t low = (size_t)resize_round((double)steps * denoise);
    if (low > steps) low = steps;
    size_t n_low = low + 1 < in->n ? low + 1 : in->n;
    /* with nothing left for the low side the high side is empty, as upstream cuts it */
    out_values(c, 0, in->v, low ? in->n - low : 0);
    out_values(c, 1, in->v + (in->n - n_low), n_low);
    return ERR_OK;
}

err_code sigmas_flip_run(flow_call *c, err *e) {
    const flow_sigmas *in;
    TRY(in_sigmas(c, &in, e));
    flow_sigmas *s = sigmas_new(in->n);
    for (size_t i = 0; i < in->n; i++) s->v[i] = in->v[in->n - 1 - i];
    if (s->n && !(s->v[0] > 0) && !(s->v[0] < 0)) s->v[0] = 0.0001f;
    out_sigmas(c, 0, s);
    return ERR_OK;
}

err_code sigmas_set_first_run(flow_call *c, err *e) {
    const flow_sigmas *in;
    double sigma;
    TRY(in_sigmas(c, &in, e));
    TRY(flow_in_float(c, "sigma", &sigma, e));
    flow_sigmas *s = sigmas_new(in->n);
    if (in->n) memcpy(s->v, in->v, in->n * sizeof(float));
    if (in->n) s->v[0] = (float)sigma;
    out_sigmas(c, 0, s);
    return ERR_OK;
}

static double spaced(double x, str spacing) {
    const double half_pi = 1.57079632679489661923;
    if (str_eq(spacing, STR("cosine"))) return sin(x * half_pi);
    if (str_eq(spacing, STR("sine"))) return 1.0 - cos(x * half_pi);
    return x;
}

err_code sigmas_extend_run(flow_call *c, err *e) {
    const flow_sigmas *in;
    size_t steps;
    double start, end;
    str spacing;
    TRY(in_sigmas(c, &in, e));
    TRY(in_steps(c, &steps, e));
    TRY(flow_in_float(c, "start_at_sigma", &start, e));
    TRY(flow_in_float(c, "end_at_sigma", &end, e));
    TRY(flow_in_text(c, "spacing", &spacing, e));
    if (in->n * steps > SIGMAS_STEPS_MAX * 10)
        FAIL(e, LIMIT, "%zu sigmas with %zu steps between would be too many", in->n, steps);
    if (start < 0) start = (double)INFINITY;
    flow_sigmas *s = sigmas_new(in->n * steps);
    s->n = 0;
    for (size_t i = 0; i < in->n; i++) {
        double now = (double)in->v[i];
        s->v[s->n++] = in->v[i];
        if (i + 1 == in->n || !(end <= now && now <= start)) continue;
        for (size_t k = 1; k < steps; k++) {
            double x = spaced((double)k / (double)steps, spacing);
            s->v[s->n++] = (float)(x * ((double)in->v[i + 1] - now) + now);
        }
    }
    out_sigmas(c, 0, s);
    return ERR_OK;
}
