/* A model's noise levels: the table, timestep and sigma, and how the network is wrapped.
 *
 * Tables follow the published training schedules. Interpolation runs in float32 on float32
 * logarithms like the reference; a sigma then agrees to the last digit or two, which matters to
 * samplers that divide by small differences of sigmas. Threads: pure functions. */
#include "diffusion/sigmas.h"

#include <math.h>

enum { N_DISCRETE = 1000, N_LCM = 50, N_FLUX = 10000, LCM_SKIP = N_DISCRETE / N_LCM };
static const double half_pi = 1.5707963267948966192313216916398;
static const double zsnr_last_alpha_bar = 4.8973451890853435e-8;

static bool is_discrete(sigmas_kind k) {
    return k == SIGMAS_EPS || k == SIGMAS_V || k == SIGMAS_LCM || k == SIGMAS_X0;
}

/* Log-linear between two sigmas. */
static bool is_ranged(sigmas_kind k) {
    return k == SIGMAS_EDM || k == SIGMAS_EDM_V || k == SIGMAS_EDM_EPS || k == SIGMAS_V_CONT;
}

static void fill_default(double *v, double def) {
    if (*v == 0) *v = def;
}

/* alpha_bar [n]: the cumulative product of 1 - beta. */
static void alpha_bars(const sigmas_params *p, double *alpha_bar, size_t n) {
    double b0 = p->beta_plain ? p->beta_start : sqrt(p->beta_start);
    double b1 = p->beta_plain ? p->beta_end : sqrt(p->beta_end);
    double prod = 1;
    for (size_t i = 0; i < n; i++) {
        double b = b0 + (b1 - b0) * (double)i / (double)(n - 1);
        prod *= 1 - (p->beta_plain ? b : b * b);
        alpha_bar[i] = prod;
    }
}

/* Lin et al. 2023, "Common diffusion noise schedules and sample steps are flawed", with the last
 * entry kept just above zero so that sigma stays finite. */
static void rescale_zsnr(double *alpha_bar, size_t n) {
    double first = sqrt(alpha_bar[0]), last = sqrt(alpha_bar[n - 1]);
    for (size_t i = 0; i < n; i++) {
        double root = (sqrt(alpha_bar[i]) - last) * first / (first - last);
        alpha_bar[i] = root * root;
    }
    alpha_bar[n - 1] = zsnr_last_alpha_bar;
}

static void fill_discrete(const sigmas_params *p, arena *a, float *table) {
    double *alpha_bar = ARENA_ARRAY(a, double, N_DISCRETE);
    alpha_bars(p, alpha_bar, N_DISCRETE);
    if (p->zsnr) rescale_zsnr(alpha_bar, N_DISCRETE);
    bool lcm = p->kind == SIGMAS_LCM;
    for (size_t i = 0; i < (lcm ? N_LCM : N_DISCRETE); i++) {
        double ab = alpha_bar[lcm ? i * LCM_SKIP + LCM_SKIP - 1 : i];
        table[i] = (float)sqrt((1 - ab) / ab);
    }
}

/* The shift of both flow kinds; t in 0..1. */
static double flow_shift(const sigmas_params *p, double t) {
    if (t <= 0) return 0;
    if (p->kind == SIGMAS_FLUX) return exp(p->shift) / (exp(p->shift) + (1 / t - 1));
    return p->shift == 1 ? t : p->shift * t / (1 + (p->shift - 1) * t);
}

static void fill_table(const sigmas_params *p, arena *a, float *table, size_t n) {
    if (is_discrete(p->kind)) {
        fill_discrete(p, a, table);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        if (is_ranged(p->kind)) {
            double lo = log(p->sigma_min), hi = log(p->sigma_max);
            table[i] = (float)exp(lo + (hi - lo) * (double)i / (double)(n - 1));
        } else {
            table[i] = (float)flow_shift(p, (double)(i + 1) / (double)n);
        }
    }
}

err_code sigmas_model_create(arena *a, const sigmas_params *p, const sigmas_model **ret, err *e) {
    sigmas_params q = *p;
    if ((unsigned)q.kind >= SIGMAS_KIND_COUNT)
        FAIL(e, INVALID, "sigmas: %u is no kind of model sampling", (unsigned)q.kind);
    fill_default(&q.beta_start, 0.00085);
    fill_default(&q.beta_end, 0.012);
    fill_default(&q.shift, q.kind == SIGMAS_FLUX ? 1.15 : 1);
    fill_default(&q.multiplier, 1000);
    fill_default(&q.sigma_data, 1);
    fill_default(&q.sigma_min, 0.002);
    fill_default(&q.sigma_max, 120);
    size_t n = q.kind == SIGMAS_FLUX ? N_FLUX : q.kind == SIGMAS_LCM ? N_LCM : N_DISCRETE;
    float *table = ARENA_ARRAY(a, float, n), *logs = ARENA_ARRAY(a, float, n);
    fill_table(&q, a, table, n);
    for (size_t i = 0; i < n; i++) {
        if (!(table[i] > (i > 0 ? table[i - 1] : 0) && isfinite(table[i])))
            FAIL(e, INVALID,
                 "sigmas: the model's noise levels do not ascend at entry %zu (%g); check betas, "
                 "shift and sigma range",
                 i, (double)table[i]);
        logs[i] = logf(table[i]);
    }
    sigmas_model *m = ARENA_NEW(a, sigmas_model);
    *m = (sigmas_model){.params = q,
                        .n_table = n,
                        .table = table,
                        .log_table = logs,
                        .sigma_min = (double)table[0],
                        .sigma_max = (double)table[n - 1],
                        .is_flow = q.kind == SIGMAS_FLOW || q.kind == SIGMAS_FLUX};
    *ret = m;
    return ERR_OK;
}

/* Index of the entry nearest to sigma in log sigma; the lower one of two equally near. */
static size_t nearest(const sigmas_model *m, double sigma) {
    float want = logf((float)sigma);
    size_t lo = 0, hi = m->n_table - 1;
    while (hi - lo > 1) {
        size_t mid = (lo + hi) / 2;
        if (m->log_table[mid] <= want)
            lo = mid;
        else
            hi = mid;
    }
    return fabsf(m->log_table[hi] - want) < fabsf(want - m->log_table[lo]) ? hi : lo;
}

double sigmas_timestep(const sigmas_model *m, double sigma) {
    switch (m->params.kind) {
    case SIGMAS_LCM:
        return (double)(nearest(m, sigma) * LCM_SKIP + LCM_SKIP - 1);
    case SIGMAS_EDM:
    case SIGMAS_EDM_V:
    case SIGMAS_EDM_EPS:
        return 0.25 * log(sigma);
    case SIGMAS_V_CONT:
        return atan(sigma) / half_pi;
    case SIGMAS_FLOW:
        return sigma * m->params.multiplier;
    case SIGMAS_FLUX:
        return sigma;
    case SIGMAS_EPS:
    case SIGMAS_V:
    case SIGMAS_X0:
    case SIGMAS_KIND_COUNT:
        break;
    }
    return (double)nearest(m, sigma);
}

static double interpolate(const sigmas_model *m, double at) {
    float t = (float)fmin(fmax(at, 0), (double)(m->n_table - 1));
    size_t lo = (size_t)floorf(t), hi = (size_t)ceilf(t);
    float w = t - (float)lo;
    return (double)expf((1 - w) * m->log_table[lo] + w * m->log_table[hi]);
}

double sigmas_at(const sigmas_model *m, double timestep) {
    switch (m->params.kind) {
    case SIGMAS_LCM:
        return interpolate(m, (timestep - (LCM_SKIP - 1)) / LCM_SKIP);
    case SIGMAS_EDM:
    case SIGMAS_EDM_V:
    case SIGMAS_EDM_EPS:
        return exp(timestep / 0.25);
    case SIGMAS_V_CONT:
        return tan(timestep * half_pi);
    case SIGMAS_FLOW:
        return flow_shift(&m->params, timestep / m->params.multiplier);
    case SIGMAS_FLUX:
        return flow_shift(&m->params, timestep);
    case SIGMAS_EPS:
    case SIGMAS_V:
    case SIGMAS_X0:
    case SIGMAS_KIND_COUNT:
        break;
    }
    return interpolate(m, timestep);
}

double sigmas_at_percent(const sigmas_model *m, double percent) {
    if (percent <= 0) return m->is_flow ? 1 : 999999999.9;
    if (percent >= 1) return 0;
    double rest = 1 - percent;
    if (m->is_flow) return flow_shift(&m->params, rest);
    if (is_discrete(m->params.kind)) return sigmas_at(m, rest * (N_DISCRETE - 1));
    double lo = log(m->sigma_min), hi = log(m->sigma_max);
    return exp(lo + rest * (hi - lo));
}

sigmas_precond sigmas_wrap(const sigmas_model *m, double sigma) {
    double t = sigmas_timestep(m, sigma), sd = m->params.sigma_data;
    double unit = sigma * sigma + 1, data = sigma * sigma + sd * sd;
    switch (m->params.kind) {
    case SIGMAS_V:
        return (sigmas_precond){1 / sqrt(unit), 1 / unit, -sigma / sqrt(unit), t};
    case SIGMAS_X0:
        return (sigmas_precond){1 / sqrt(unit), 0, 1, t};
    case SIGMAS_LCM: {
        /* Boundary coefficients of the consistency function at 10 t, data deviation 0.5. */
        double s = t * 10, norm = s * s + 0.25, c_out = s / sqrt(norm);
        return (sigmas_precond){1 / sqrt(unit), c_out + 0.25 / norm, -c_out * sigma, t};
    }
    case SIGMAS_EDM:
        return (sigmas_precond){1 / sqrt(data), sd * sd / data, sigma * sd / sqrt(data), t};
    case SIGMAS_EDM_V:
    case SIGMAS_V_CONT:
        return (sigmas_precond){1 / sqrt(data), sd * sd / data, -sigma * sd / sqrt(data), t};
    case SIGMAS_FLOW:
    case SIGMAS_FLUX:
        return (sigmas_precond){1, 1, -sigma, t};
    case SIGMAS_EDM_EPS:
        return (sigmas_precond){1 / sqrt(data), 1, -sigma, t};
    case SIGMAS_EPS:
    case SIGMAS_KIND_COUNT:
        break;
    }
    return (sigmas_precond){1 / sqrt(unit), 1, -sigma, t};
}

void sigmas_noising(const sigmas_model *m, double sigma, bool from_max, double ret[2]) {
    ret[0] = m->is_flow ? 1 - sigma : 1;
    ret[1] = from_max && !m->is_flow ? sqrt(1 + sigma * sigma) : sigma;
}

bool sigmas_starts_at_max(const sigmas_model *m, double sigma) {
    return sigma > m->sigma_max ||
           fabs(sigma - m->sigma_max) <= 1e-5 * fmax(fabs(sigma), fabs(m->sigma_max));
}

double sigmas_result_scale(const sigmas_model *m, double sigma_last) {
    return m->is_flow && sigma_last < 1 ? 1 / (1 - sigma_last) : 1;
}

double sigmas_lambda(const sigmas_model *m, double sigma) {
    return m->is_flow ? log((1 - sigma) / sigma) : -log(sigma);
}

double sigmas_from_lambda(const sigmas_model *m, double lambda) {
    return m->is_flow ? 1 / (1 + exp(lambda)) : exp(-lambda);
}
