/* Nodes that write models to files: below the output folder, where the loaders find them again. */
#include "diffusion/extract.h"
#include "diffusion/save.h"
#include "flow/nodes/model_runs.h"
#include "flow/nodes/saved.h"
#include <string.h>

static err_code tick(void *ctx, uint64_t done, uint64_t total, err *e) {
    return flow_progress(ctx, (int64_t)(done >> 10), (int64_t)(total >> 10) + 1, e);
}

/* What clients and other programs may want to know about the file. */
static value *metadata_of(flow_call *c, const diff_model *m, const saved_place *p) {
    arena *a = flow_call_arena(c);
    value *map = saved_metadata(c);
    if (!map) map = value_map(a);
    if (!m) return map;
    bool v = m->sigmas->params.kind == SIGMAS_V;
    value_set(a, map, STR("modelspec.sai_model_spec"), value_str(a, STR("1.0.0")));
    value_set(a, map, STR("modelspec.implementation"), value_str(a, STR("sgm")));
    value_set(a, map, STR("modelspec.title"),
              value_str(a, str_fmt(a, STR_FMT " %lld", STR_ARG(p->stem), (long long)p->next)));
    value_set(a, map, STR("modelspec.predict_key"), value_str(a, v ? STR("v") : STR("epsilon")));
    return map;
}

static err_code write_parts(flow_call *c, str prefix, const diff_model *m,
                            const diff_save_part *parts, size_t n, err *e) {
    static const char *const V[] = {"v_pred", NULL}, *const VZ[] = {"v_pred", "ztsnr", NULL},
                             *const Z[] = {"ztsnr", NULL};
    saved_place p;
    str name;
    TRY(saved_open(c, prefix, (saved_size){0, 0}, &p, e));
    CLEANUP(buf_finish) buf text = {0};
    value *map = metadata_of(c, m, &p);
    if (map->as.map.len) saved_json(&text, map);
    bool v = m && m->sigmas->params.kind == SIGMAS_V, z = m && m->sigmas->params.zsnr;
    diff_save_job job = {.parts = parts,
                         .n_parts = n,
                         .marks = v && z ? VZ
                                  : v    ? V
                                  : z    ? Z
                                         : NULL,
                         .metadata = buf_str(&text),
                         .ctx = c,
                         .tick = tick};
    str path = saved_next(c, &p, ".safetensors", 0, &name);
    return diff_save(path.ptr, &job, e);
}

err_code save_checkpoint_run(flow_call *c, err *e) {
    diff_save_part parts[4];
    diff_model *m;
    diff_clip *k;
    vae *v;
    str prefix;
    TRY(md_in_model(c, "model", &m, e));
    TRY(md_in_clip(c, "clip", &k, e));
    TRY(md_in_vae(c, "vae", &v, e));
    TRY(flow_in_text(c, "filename_prefix", &prefix, e));
    size_t n = diff_save_model(m, "model.diffusion_model.", parts);
    size_t n_clip = diff_save_clip(k, parts + n, e);
    if (!n_clip) return e->code;
    n += n_clip;
    if (!diff_save_vae(v, "first_stage_model.", parts + n, e)) return e->code;
    return write_parts(c, prefix, m, parts, n + 1, e);
}

err_code save_model_run(flow_call *c, err *e) {
    diff_save_part part;
    diff_model *m;
    str prefix;
    TRY(md_in_model(c, "model", &m, e));
    TRY(flow_in_text(c, "filename_prefix", &prefix, e));
    return write_parts(c, prefix, m, &part, diff_save_model(m, "model.diffusion_model.", &part), e);
}

err_code save_vae_run(flow_call *c, err *e) {
    diff_save_part part;
    vae *v;
    str prefix;
    TRY(md_in_vae(c, "vae", &v, e));
    TRY(flow_in_text(c, "filename_prefix", &prefix, e));
    if (!diff_save_vae(v, "", &part, e)) return e->code;
    return write_parts(c, prefix, NULL, &part, 1, e);
}

/* A file for each encoder, named after it. */
err_code save_clip_run(flow_call *c, err *e) {
    diff_save_part parts[2];
    diff_clip *k;
    str prefix;
    TRY(md_in_clip(c, "clip", &k, e));
    TRY(flow_in_text(c, "filename_prefix", &prefix, e));
    size_t n = diff_save_clip(k, parts, e);
    if (!n) return e->code;
    for (size_t i = 0; i < n; i++) {
        bool is_l = k->l && i == 0;
        const char *what = is_l ? "clip_l" : k->family == DIFF_SD2 ? "clip_h" : "clip_g";
        bool bare = is_l && str_ends(str_from(parts[i].prefix), STR("text_model."));
        parts[i].prefix = bare ? "text_model." : "";
        str name = str_fmt(flow_call_arena(c), STR_FMT "_%s", STR_ARG(prefix), what);
        TRY(write_parts(c, name, NULL, &parts[i], 1, e));
    }
    return ERR_OK;
}

static err_code tick_tensors(void *ctx, uint64_t done, uint64_t total, err *e) {
    return flow_progress(ctx, (int64_t)done, (int64_t)total, e);
}

err_code save_adapter_run(flow_call *c, err *e) {
    diff_model *m = NULL;
    diff_clip *k = NULL;
    str prefix, type, name;
    saved_place p;
    diff_extract_job job = {.ctx = c, .tick = tick_tensors};
    TRY(flow_in_text(c, "filename_prefix", &prefix, e));
    TRY(flow_in_int(c, "rank", &job.rank, e));
    TRY(flow_in_text(c, "lora_type", &type, e));
    TRY(flow_in_bool(c, "bias_diff", &job.biases, e));
    if (flow_in(c, "model_diff")) TRY(md_in_model(c, "model_diff", &m, e));
    if (flow_in(c, "text_encoder_diff")) TRY(md_in_clip(c, "text_encoder_diff", &k, e));
    if (!m && !k) return ERR_OK; /* as upstream: nothing to do */
    job.model = m;
    job.clip = k;
    job.full = str_eq(type, STR("full_diff"));
    if (job.rank < 1) job.rank = 1;
    TRY(saved_open(c, prefix, (saved_size){0, 0}, &p, e));
    CLEANUP(buf_finish) buf text = {0};
    value *map = saved_metadata(c);
    if (map && map->as.map.len) saved_json(&text, map);
    job.metadata = buf_str(&text);
    return diff_extract(saved_next(c, &p, ".safetensors", 0, &name).ptr, &job, e);
}
