/* SAMPLER objects: a sampler's name and what the classes of nodes let one tell it. */
#include "diffusion/sampler.h"
#include "flow/nodes/model_runs.h"
#include <stddef.h>
#include <string.h>

static void out_sampler(flow_call *c, const char *name, const sampler_settings *set) {
    flow_sampler *s = NEW(flow_sampler);
    s->name = name;
    s->set = *set;
    flow_out(c, 0, flow_value_object(FLOW_SAMPLER, s, mem_free, sizeof *s));
}

/* The table's own copy of a name, NULL when it is not there. */
static const char *known_name(str name) {
    for (size_t i = 0; sampler_name(i); i++)
        if (str_eq(str_from(sampler_name(i)), name)) return sampler_name(i);
    return NULL;
}

err_code sampler_select_run(flow_call *c, err *e) {
    str text;
    TRY(flow_in_text(c, "sampler_name", &text, e));
    const char *name = known_name(text);
    if (!name)
        FAIL(e, UNSUPPORTED, "sampler_name: the sampler \"" STR_FMT "\" is not supported",
             STR_ARG(text));
    sampler_settings set = sampler_defaults(name);
    out_sampler(c, name, &set);
    return ERR_OK;
}

static const struct {
    const char *class_name, *sampler;
} CLASSES[] = {{"SamplerEulerAncestral", "euler_ancestral"},
               {"SamplerEulerAncestralCFGPP", "euler_ancestral_cfg_pp"},
               {"SamplerEulerCFGpp", "euler_cfg_pp"},
               {"SamplerLMS", "lms"},
               {"SamplerDPMPP_2S_Ancestral", "dpmpp_2s_ancestral"},
               {"SamplerDPMPP_SDE", "dpmpp_sde"},
               {"SamplerDPMPP_2M_SDE", "dpmpp_2m_sde"},
               {"SamplerDPMPP_3M_SDE", "dpmpp_3m_sde"},
               {"SamplerDPMAdaptative", "dpm_adaptive"},
               {"SamplerER_SDE", "er_sde"},
               {"SamplerSASolver", "sa_solver"},
               {"SamplerLCM", "lcm"}};

#define AT(field) offsetof(sampler_settings, field)

static const struct {
    const char *input;
    size_t at;
} NUMBERS[] = {{"eta", AT(eta)},
               {"s_noise", AT(s_noise)},
               {"s_noise_end", AT(s_noise_end)},
               {"noise_clip_std", AT(noise_clip)},
               {"r", AT(middle)},
               {"rtol", AT(rtol)},
               {"atol", AT(atol)},
               {"h_init", AT(h_init)},
               {"pcoeff", AT(pid)},
               {"icoeff", AT(pid) + sizeof(double)},
               {"dcoeff", AT(pid) + 2 * sizeof(double)},
               {"accept_safety", AT(accept)}},
  COUNTS[] = {{"order", AT(order)},
              {"max_stage", AT(order)},
              {"predictor_order", AT(order)},
              {"corrector_order", AT(corrector_order)}};

/* Reads one input that is a number; others are left alone. */
static err_code read_number(const flow_call *c, const char *name, sampler_settings *set, err *e) {
    char *base = (char *)set;
    for (size_t i = 0; i < COUNT_OF(NUMBERS); i++) {
        double v;
        if (strcmp(NUMBERS[i].input, name) != 0) continue;
        TRY(flow_in_float(c, name, &v, e));
        memcpy(base + NUMBERS[i].at, &v, sizeof v);
    }
    for (size_t i = 0; i < COUNT_OF(COUNTS); i++) {
        int64_t v;
        if (strcmp(COUNTS[i].input, name) != 0) continue;
        TRY(flow_in_int(c, name, &v, e));
        int32_t small = v < 0 ? 0 : v > INT32_MAX ? INT32_MAX : (int32_t)v;
        memcpy(base + COUNTS[i].at, &small, sizeof small);
    }
    return ERR_OK;
}

/* The choices of one class: they name another form of the sampler or change its settings. */
static err_code read_choice(const flow_call *c, const char *name, const char **sampler,
                            sampler_settings *set, err *e) {
    str s;
    bool on = false;
    if (strcmp(name, "use_pece") == 0) {
        TRY(flow_in_bool(c, name, &on, e));
        if (on) *sampler = "sa_solver_pece";
    } else if (strcmp(name, "simple_order_2") == 0) {
        TRY(flow_in_bool(c, name, &set->simple_order_2, e));
    } else if (strcmp(name, "version") == 0) {
        TRY(flow_in_text(c, name, &s, e));
        set->alternative = str_eq(s, STR("alternative"));
    } else if (strcmp(name, "solver_type") == 0) {
        TRY(flow_in_text(c, name, &s, e));
        if (str_eq(s, STR("heun"))) *sampler = "dpmpp_2m_sde_heun";
        set->reverse_sde = str_eq(s, STR("Reverse-time SDE")) || str_eq(s, STR("ODE"));
        if (str_eq(s, STR("ODE"))) set->eta = 0;
    }
    return ERR_OK;
}

/* The levels between which a stochastic Adams step adds noise, on the schedule of a model. */
static err_code read_range(const flow_call *c, sampler_settings *set, err *e) {
    diff_model *m;
    double start, end;
    TRY(md_in_model(c, "model", &m, e));
    TRY(flow_in_float(c, "sde_start_percent", &start, e));
    TRY(flow_in_float(c, "sde_end_percent", &end, e));
    set->sde_sigma[0] = sigmas_at_percent(m->sigmas, start);
    set->sde_sigma[1] = sigmas_at_percent(m->sigmas, end);
    return ERR_OK;
}

err_code sampler_named_run(flow_call *c, err *e) {
    const flow_def *def = flow_call_def(c);
    const char *name = NULL;
    for (size_t i = 0; i < COUNT_OF(CLASSES); i++)
        if (strcmp(CLASSES[i].class_name, def->name) == 0) name = CLASSES[i].sampler;
    if (!name || !sampler_exists(name)) FAIL(e, UNSUPPORTED, "%s is not supported", def->name);
    sampler_settings set = sampler_defaults(name);
    for (const flow_input *in = def->inputs; in->name; in++) TRY(read_number(c, in->name, &set, e));
    for (const flow_input *in = def->inputs; in->name; in++)
        TRY(read_choice(c, in->name, &name, &set, e));
    if (set.reverse_sde && set.eta == 0) set.s_noise = 0; /* an ODE */
    if (strcmp(def->name, "SamplerSASolver") == 0) TRY(read_range(c, &set, e));
    out_sampler(c, name, &set);
    return ERR_OK;
}
