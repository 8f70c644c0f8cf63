/* Changes to how a model samples. */
#include "flow/nodes/model_runs.h"

static err_code with_sigmas(flow_call *c, const sigmas_params *p, err *e) {
    diff_model *m, *n;
    TRY(md_in_model(c, "model", &m, e));
    TRY(diff_model_with_sigmas(m, p, &n, e));
    md_out_model(c, 0, n);
    return ERR_OK;
}

err_code patch_discrete_run(flow_call *c, err *e) {
    static const struct {
        const char *name;
        sigmas_kind kind;
    } KINDS[] = {
        {"eps", SIGMAS_EPS}, {"v_prediction", SIGMAS_V}, {"lcm", SIGMAS_LCM}, {"x0", SIGMAS_X0}};
    str name;
    sigmas_params p = {0};
    TRY(flow_in_text(c, "sampling", &name, e));
    TRY(flow_in_bool(c, "zsnr", &p.zsnr, e));
    for (size_t i = 0; i < COUNT_OF(KINDS); i++)
        if (str_eq(name, str_from(KINDS[i].name))) {
            p.kind = KINDS[i].kind;
            return with_sigmas(c, &p, e);
        }
    FAIL(e, UNSUPPORTED,
         "sampling \"" STR_FMT "\" is not supported; use eps, v_prediction, lcm or x0",
         STR_ARG(name));
}

static err_code in_limits(flow_call *c, sigmas_params *p, err *e) {
    TRY(flow_in_float(c, "sigma_max", &p->sigma_max, e));
    return flow_in_float(c, "sigma_min", &p->sigma_min, e);
}

err_code patch_continuous_edm_run(flow_call *c, err *e) {
    str name;
    sigmas_params p = {0};
    TRY(flow_in_text(c, "sampling", &name, e));
    TRY(in_limits(c, &p, e));
    if (str_eq(name, STR("v_prediction"))) {
        p.kind = SIGMAS_V_CONT;
    } else if (str_eq(name, STR("edm")) || str_eq(name, STR("edm_playground_v2.5"))) {
        p.kind = SIGMAS_EDM;
        p.sigma_data = 0.5;
    } else {
        FAIL(e, UNSUPPORTED, "sampling \"" STR_FMT "\" is not supported here", STR_ARG(name));
    }
    return with_sigmas(c, &p, e);
}

err_code patch_continuous_v_run(flow_call *c, err *e) {
    sigmas_params p = {.kind = SIGMAS_V_CONT};
    TRY(in_limits(c, &p, e));
    return with_sigmas(c, &p, e);
}

err_code patch_rescale_cfg_run(flow_call *c, err *e) {
    diff_model *m;
    double by;
    TRY(md_in_model(c, "model", &m, e));
    TRY(flow_in_float(c, "multiplier", &by, e));
    m = diff_model_copy(m);
    m->rescale_cfg = by;
    md_out_model(c, 0, m);
    return ERR_OK;
}

static err_code with_cache(flow_call *c, step_cache_kind kind, err *e) {
    diff_model *m;
    step_cache_params p = {.kind = kind};
    TRY(md_in_model(c, "model", &m, e));
    TRY(flow_in_float(c, "reuse_threshold", &p.threshold, e));
    TRY(flow_in_float(c, "start_percent", &p.start, e));
    TRY(flow_in_float(c, "end_percent", &p.end, e));
    m = diff_model_copy(m);
    m->cache = p;
    md_out_model(c, 0, m);
    return ERR_OK;
}

err_code patch_easy_cache_run(flow_call *c, err *e) {
    return with_cache(c, STEP_CACHE_EASY, e);
}

err_code patch_lazy_cache_run(flow_call *c, err *e) {
    return with_cache(c, STEP_CACHE_LAZY, e);
}
