/* Noise schedules that come from a model. */
#include "flow/nodes/model_runs.h"

static void out_schedule(flow_call *c, sigmas_schedule s) {
    md_out_sigmas(c, 0, s.sigma, s.n_sigmas);
}

err_code schedule_basic_run(flow_call *c, err *e) {
    diff_model *m;
    str name;
    int64_t steps;
    double denoise;
    sigmas_schedule s = {0};
    TRY(md_in_model(c, "model", &m, e));
    TRY(flow_in_text(c, "scheduler", &name, e));
    TRY(flow_in_int(c, "steps", &steps, e));
    TRY(flow_in_float(c, "denoise", &denoise, e));
    sigmas_job j = {.scheduler = str_cstr(flow_call_arena(c), name),
                    .n_steps = (int32_t)steps,
                    .denoise = denoise,
                    .last_step = -1};
    TRY(sigmas_job_schedule(flow_call_arena(c), m->sigmas, &j, &s, e));
    out_schedule(c, s);
    return ERR_OK;
}

err_code schedule_beta_run(flow_call *c, err *e) {
    diff_model *m;
    size_t n;
    double shape[2];
    TRY(md_in_model(c, "model", &m, e));
    TRY(px_in_size(c, "steps", &n, e));
    TRY(flow_in_float(c, "alpha", &shape[0], e));
    TRY(flow_in_float(c, "beta", &shape[1], e));
    out_schedule(c, sigmas_beta(flow_call_arena(c), m->sigmas, n, shape));
    return ERR_OK;
}

/* Timesteps 999, 899 ... 99, the last of them as denoise says. */
err_code schedule_turbo_run(flow_call *c, err *e) {
    diff_model *m;
    int64_t steps;
    double denoise;
    float v[12];
    size_t n = 0;
    TRY(md_in_model(c, "model", &m, e));
    TRY(flow_in_int(c, "steps", &steps, e));
    TRY(flow_in_float(c, "denoise", &denoise, e));
    int64_t from = 10 - (int64_t)(10 * denoise);
    for (int64_t i = from; i < 10 && i < from + steps; i++)
        v[n++] = (float)sigmas_at(m->sigmas, (double)(999 - 100 * i));
    v[n++] = 0;
    md_out_sigmas(c, 0, v, n);
    return ERR_OK;
}

err_code sigmas_percent_run(flow_call *c, err *e) {
    diff_model *m;
    double percent;
    bool actual;
    TRY(md_in_model(c, "model", &m, e));
    TRY(flow_in_float(c, "sampling_percent", &percent, e));
    TRY(flow_in_bool(c, "return_actual_sigma", &actual, e));
    double v = sigmas_at_percent(m->sigmas, percent);
    if (actual && percent <= 0) v = m->sigmas->sigma_max;
    if (actual && percent >= 1) v = m->sigmas->sigma_min;
    flow_out(c, 0, flow_value_float(v));
    return ERR_OK;
}
