/* Changes to how a model samples. */
#include "flow/nodes/latent_op.h"
#include "flow/nodes/model_runs.h"
#include <string.h>

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
        p.kind = SIGMAS_EDM_V;
    } else if (str_eq(name, STR("eps"))) {
        p.kind = SIGMAS_EDM_EPS;
    } else if (str_eq(name, STR("edm"))) {
        p.kind = SIGMAS_EDM;
        p.sigma_data = 0.5;
    } else {
        FAIL(e, UNSUPPORTED,
             "sampling \"" STR_FMT "\" is not supported here; use v_prediction, edm or eps",
             STR_ARG(name));
    }
    return with_sigmas(c, &p, e);
}

err_code patch_continuous_v_run(flow_call *c, err *e) {
    sigmas_params p = {.kind = SIGMAS_V_CONT};
    TRY(in_limits(c, &p, e));
    return with_sigmas(c, &p, e);
}

/* A copy of the model with one change more. */
static err_code with_patch(flow_call *c, const diff_change *p, err *e) {
    diff_model *m;
    TRY(md_in_model(c, "model", &m, e));
    m = diff_model_copy(m);
    err_code code = diff_changes_add(&m->changes, p, e);
    if (code)
        diff_model_unref(&m);
    else
        md_out_model(c, 0, m);
    return code;
}

/* The classes that are a kind and some numbers. */
static const struct {
    const char *class_name;
    diff_change_kind kind;
    const char *numbers[5];
} PATCHES[] = {{"RescaleCFG", DIFF_CHANGE_RESCALE, {"multiplier"}},
               {"TCFG", DIFF_CHANGE_TCFG, {NULL}},
               {"APG", DIFF_CHANGE_APG, {"eta", "norm_threshold", "momentum"}},
               {"PerpNeg", DIFF_CHANGE_PERP_NEG, {"neg_scale"}},
               {"CFGZeroStar", DIFF_CHANGE_ZERO_STAR, {NULL}},
               {"CFGNorm", DIFF_CHANGE_NORM, {"strength"}},
               {"Mahiro", DIFF_CHANGE_MAHIRO, {NULL}},
               {"Epsilon Scaling", DIFF_CHANGE_EPSILON, {"scaling_factor"}},
               {"PerturbedAttentionGuidance", DIFF_CHANGE_PERTURBED, {"scale"}},
               {"SelfAttentionGuidance", DIFF_CHANGE_SELF_ATTENTION, {"scale", "blur_sigma"}},
               {"VideoLinearCFGGuidance", DIFF_CHANGE_LINEAR_CFG, {"min_cfg"}},
               {"VideoTriangleCFGGuidance", DIFF_CHANGE_TRIANGLE_CFG, {"min_cfg"}},
               {"TomePatchModel", DIFF_CHANGE_MERGE, {"ratio"}},
               {"FreeU", DIFF_CHANGE_FREEU, {"b1", "b2", "s1", "s2"}},
               {"FreeU_V2", DIFF_CHANGE_FREEU_V2, {"b1", "b2", "s1", "s2"}},
               {"DifferentialDiffusion", DIFF_CHANGE_DIFFERENTIAL, {"strength"}}};

err_code patch_guidance_run(flow_call *c, err *e) {
    const flow_def *def = flow_call_def(c);
    diff_change p = {0};
    size_t i = 0;
    while (i < COUNT_OF(PATCHES) && strcmp(PATCHES[i].class_name, def->name) != 0) i++;
    if (i == COUNT_OF(PATCHES)) FAIL(e, INTERNAL, "%s has no change of guidance", def->name);
    p.kind = PATCHES[i].kind;
    if (p.kind == DIFF_CHANGE_DIFFERENTIAL) p.v[0] = 1; /* optional */
    for (size_t k = 0; PATCHES[i].numbers[k]; k++)
        if (flow_in(c, PATCHES[i].numbers[k]))
            TRY(flow_in_float(c, PATCHES[i].numbers[k], &p.v[k], e));
    const diff_conds *empty = NULL;
    if (p.kind == DIFF_CHANGE_PERP_NEG) TRY(md_in_conds(c, "empty_conditioning", &empty, e));
    p.conds = (diff_conds *)(uintptr_t)empty; /* the list makes its own */
    return with_patch(c, &p, e);
}

static err_code in_number(flow_call *c, const char *name, double *ret, err *e) {
    int64_t v;
    TRY(flow_in_int(c, name, &v, e));
    *ret = (double)v;
    return ERR_OK;
}

static err_code in_flag(flow_call *c, const char *name, double *ret, err *e) {
    bool on;
    TRY(flow_in_bool(c, name, &on, e));
    *ret = on;
    return ERR_OK;
}

static err_code in_method(flow_call *c, const char *name, double *ret, err *e) {
    str text;
    resize_method m;
    TRY(flow_in_text(c, name, &text, e));
    if (!resize_method_by_name(text.ptr, text.len, &m))
        FAIL(e, INVALID, "%s \"" STR_FMT "\" is unknown", name, STR_ARG(text));
    *ret = m;
    return ERR_OK;
}

err_code patch_fresca_run(flow_call *c, err *e) {
    diff_change p = {.kind = DIFF_CHANGE_FRESCA};
    TRY(flow_in_float(c, "scale_low", &p.v[0], e));
    TRY(flow_in_float(c, "scale_high", &p.v[1], e));
    TRY(in_number(c, "freq_cutoff", &p.v[2], e));
    return with_patch(c, &p, e);
}

err_code patch_tiles_run(flow_call *c, err *e) {
    diff_change p = {.kind = DIFF_CHANGE_TILES};
    TRY(in_number(c, "tile_size", &p.v[0], e));
    TRY(in_number(c, "swap_size", &p.v[1], e));
    TRY(in_number(c, "max_depth", &p.v[2], e));
    TRY(in_flag(c, "scale_depth", &p.v[3], e));
    return with_patch(c, &p, e);
}

err_code patch_shrink_run(flow_call *c, err *e) {
    diff_change p = {.kind = DIFF_CHANGE_SHRINK};
    TRY(in_number(c, "block_number", &p.v[0], e));
    TRY(flow_in_float(c, "downscale_factor", &p.v[1], e));
    TRY(flow_in_float(c, "start_percent", &p.v[2], e));
    TRY(flow_in_float(c, "end_percent", &p.v[3], e));
    TRY(in_flag(c, "downscale_after_skip", &p.v[4], e));
    TRY(in_method(c, "downscale_method", &p.v[5], e));
    TRY(in_method(c, "upscale_method", &p.v[6], e));
    return with_patch(c, &p, e);
}

static err_code apply_operation(const void *op, const size_t dims[4], float *px, err *e) {
    latent_op copy;
    memcpy(&copy, op, sizeof copy);
    return latent_op_apply(&copy, &(latent_op_dims){dims[0], dims[1], dims[2], dims[3]}, px, e);
}

err_code patch_operation_run(flow_call *c, err *e) {
    void *op;
    diff_change p = {.kind = DIFF_CHANGE_OPERATION, .apply = apply_operation};
    TRY(flow_in_object(c, "operation", FLOW_LATENT_OPERATION, &op, e));
    _Static_assert(sizeof(latent_op) <= DIFF_CHANGE_OP_BYTES, "an operation fits in a change");
    memcpy(p.op, op, sizeof(latent_op));
    return with_patch(c, &p, e);
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
