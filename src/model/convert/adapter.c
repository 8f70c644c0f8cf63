/* LoRA adapters as PEFT saves them to GGUF (see convert.h). */
#include "base/limits.h"
#include "base/map.h"
#include "model/convert/convert_impl.h"
#include <math.h>
#include <stdio.h>

enum { NAME_SHOWN = 200 };

typedef struct adapter_job {
    convert_job *j;
    int64_t rank; /* of all tensors; 0: their own count */
    double alpha;
    map index; /* our names */
} adapter_job;

/* ---- the model it is for ---- */

static err_code read_count(const gguf *g, const convert_family *f, const char *suffix, int64_t most,
                           int32_t *ret, err *e) {
    char key[96];
    snprintf(key, sizeof key, "%s.%s", f->arch, suffix);
    const gguf_array *each = gguf_opt_array(g, key); /* one number for each layer */
    int64_t n = each && each->n ? gguf_array_i64(each, 0) : gguf_opt_i64(g, key, *ret);
    if (n < 1 || n > most) FAIL(e, LIMIT, "the model's %s is %lld", key, (long long)n);
    *ret = (int32_t)n;
    return ERR_OK;
}

static err_code read_model(convert_job *j, const char *path, err *e) {
    CLEANUP(gguf_destroy) gguf *g = NULL;
    TRY(gguf_open(path, &g, e));
    j->family = convert_family_of_arch(gguf_arch(g));
    if (!j->family)
        FAIL(e, UNSUPPORTED,
             "adapters for models of architecture \"" STR_FMT
             "\" cannot be converted: use one in GGUF form",
             STR_ARG(str_sub(gguf_arch(g), 0, 60)));
    TRY(read_count(g, j->family, "block_count", LIMIT_LAYERS, &j->n_layers, e));
    TRY(read_count(g, j->family, "attention.head_count", LIMIT_HEADS, &j->n_head, e));
    j->n_head_kv = j->n_head;
    return read_count(g, j->family, "attention.head_count_kv", LIMIT_HEADS, &j->n_head_kv, e);
}

/* ---- adapter_config.json ---- */

static bool says_something(const json_t *v) {
    if (json_is_array(v)) return json_array_size(v) > 0;
    if (json_is_object(v)) return json_object_size(v) > 0;
    return v && !json_is_null(v) && !json_is_false(v);
}

/* Kinds of LoRA that are no plain sum of two products. */
static err_code check_kind(const convert_job *j, err *e) {
    static const char *const STRANGE[] = {"use_dora",
                                          "use_qalora",
                                          "use_bdlora",
                                          "fan_in_fan_out",
                                          "alpha_pattern",
                                          "layer_replication",
                                          "alora_invocation_tokens"};
    str type = convert_text(j->config, "peft_type");
    if (type.len && !str_eq(type, STR("LORA")))
        FAIL(e, UNSUPPORTED,
             "adapter_config.json: adapters of the kind \"" STR_FMT
             "\" are not supported, only LORA; merge it into the model",
             STR_ARG(str_sub(type, 0, 60)));
    for (size_t i = 0; i < COUNT_OF(STRANGE); i++)
        if (says_something(json_object_get(j->config, STRANGE[i])))
            FAIL(e, UNSUPPORTED,
                 "adapter_config.json: %s is not supported; merge the adapter into the model",
                 STRANGE[i]);
    return ERR_OK;
}

/* What mlx_lm writes has other keys, other tensors, and only a program for it reads them. */
static err_code check_maker(const convert_job *j, err *e) {
    if (json_object_get(j->config, "lora_parameters") ||
        json_object_get(j->config, "fine_tune_type"))
        FAIL(e, UNSUPPORTED,
             "adapter_config.json: adapters as MLX saves them are not supported, only PEFT's: fuse "
             "it into its model (mlx_lm.fuse) and create from the directory that comes out");
    return ERR_OK;
}

static err_code read_config(adapter_job *k, err *e) {
    convert_job *j = k->j;
    int64_t rank;
    TRY(convert_json(j, "adapter_config.json", &j->config, e));
    if (!j->config)
        FAIL(e, NOT_FOUND, "adapter_config.json is missing beside the adapter's safetensors");
    TRY(check_maker(j, e));
    TRY(check_kind(j, e));
    if (convert_int(j->config, "r", 0, 1, LIMIT_ADAPTER_RANK, &rank))
        FAIL(e, LIMIT, "adapter_config.json: r must be between 1 and %d", LIMIT_ADAPTER_RANK);
    double alpha = convert_num(j->config, "lora_alpha", 0);
    if (alpha == 0 || fabs(alpha) > LIMIT_ADAPTER_ALPHA)
        FAIL(e, LIMIT, "adapter_config.json: lora_alpha is missing, 0 or out of range");
    bool own_ranks = says_something(json_object_get(j->config, "rank_pattern"));
    if (json_is_true(json_object_get(j->config, "use_rslora"))) { /* alpha / sqrt(r) */
        if (own_ranks) FAIL(e, UNSUPPORTED, "adapter_config.json: use_rslora with rank_pattern");
        alpha *= sqrt((double)rank);
    }
    k->rank = own_ranks ? 0 : rank;
    k->alpha = alpha;
    return ERR_OK;
}

/* ---- the tensors ---- */

/* "base_model.model.<module>.lora_A.weight": the module's weight, and which of the two. */
static bool cut_name(const convert_job *j, str name, str *ret_weight, bool *ret_is_b) {
    static const struct {
        const char *end;
        bool is_b;
    } ENDS[] = {{".lora_A.weight", false},
                {".lora_B.weight", true},
                {".lora_A.default.weight", false},
                {".lora_B.default.weight", true}};
    str head = STR("base_model.model.");
    if (str_starts(name, head)) name = str_sub(name, head.len, name.len);
    for (size_t i = 0; i < COUNT_OF(ENDS); i++) {
        str end = str_from(ENDS[i].end);
        if (!str_ends(name, end)) continue;
        *ret_weight =
            str_fmt(j->mem, STR_FMT ".weight", STR_ARG(str_sub(name, 0, name.len - end.len)));
        *ret_is_b = ENDS[i].is_b;
        return true;
    }
    return false;
}

static err_code check_rank(const safetensors_tensor *s, bool is_b, int64_t want, err *e) {
    int64_t rank = is_b ? s->ne[0] : s->ne[1];
    if (s->n_dims != 2)
        FAIL(e, FORMAT, "tensor " STR_FMT " is no matrix",
             STR_ARG(str_sub(s->name, 0, NAME_SHOWN)));
    if (rank > LIMIT_ADAPTER_RANK || (want && rank != want))
        FAIL(e, FORMAT, "tensor " STR_FMT " is [%lld, %lld], of rank %lld: %lld is expected",
             STR_ARG(str_sub(s->name, 0, NAME_SHOWN)), (long long)s->ne[1], (long long)s->ne[0],
             (long long)rank, (long long)(want ? want : LIMIT_ADAPTER_RANK));
    return ERR_OK;
}

static err_code add(adapter_job *k, str name, const safetensors_tensor *s, int32_t n_head, err *e) {
    int64_t at;
    if (map_get(&k->index, name, &at))
        FAIL(e, FORMAT, "two tensors want to be " STR_FMT, STR_ARG(name));
    map_put(&k->index, name, 0);
    const safetensors_tensor **from = ARENA_ARRAY(k->j->mem, const safetensors_tensor *, 1);
    from[0] = s;
    convert_tensor t = {.name = name,
                        .type = s->type,
                        .n_dims = 2,
                        .ne = {s->ne[0], s->ne[1], 1, 1},
                        .from = from,
                        .n_from = 1,
                        .n_head = n_head};
    VEC_PUSH(k->j->tensors, t);
    return ERR_OK;
}

static err_code place(adapter_job *k, const safetensors_tensor *s, err *e) {
    const convert_job *j = k->j;
    str weight, ours;
    bool is_b;
    int32_t n_head;
    if (str_ends(s->name, STR(".base_layer.weight"))) return ERR_OK; /* the model's own */
    if (!cut_name(j, s->name, &weight, &is_b))
        FAIL(e, UNSUPPORTED,
             "tensor " STR_FMT " is neither lora_A nor lora_B of a linear layer: merge the adapter "
             "into the model",
             STR_ARG(str_sub(s->name, 0, NAME_SHOWN)));
    TRY(convert_check_source(s, e));
    TRY(check_rank(s, is_b, k->rank, e));
    bool placed = convert_matrix_name(j, weight, &ours, &n_head);
    if (!placed && str_find(weight, STR(".experts.")) >= 0)
        FAIL(e, UNSUPPORTED,
             "tensor " STR_FMT " changes a single expert: that is not supported; merge the adapter "
             "into the model (PEFT's merge_and_unload) and create from the result",
             STR_ARG(str_sub(s->name, 0, NAME_SHOWN)));
    if (!placed)
        FAIL(e, UNSUPPORTED, "tensor " STR_FMT " changes nothing that a %s model of %d layers has",
             STR_ARG(str_sub(s->name, 0, NAME_SHOWN)), j->family->arch, j->n_layers);
    if (is_b && n_head && (s->ne[1] % n_head || s->ne[1] / n_head % 2))
        FAIL(e, FORMAT, "tensor " STR_FMT ": %lld rows for %d heads",
             STR_ARG(str_sub(s->name, 0, NAME_SHOWN)), (long long)s->ne[1], n_head);
    str name = str_fmt(j->mem, STR_FMT ".lora_%c", STR_ARG(ours), is_b ? 'b' : 'a');
    return add(k, name, s, is_b ? n_head : 0, e);
}

static err_code place_all(adapter_job *k, err *e) {
    const convert_job *j = k->j;
    for (size_t i = 0; i < j->sources.len; i++)
        for (size_t x = 0; x < safetensors_n_tensors(j->sources.items[i]); x++)
            TRY(place(k, safetensors_tensor_at(j->sources.items[i], x), e));
    if (j->tensors.len == 0) FAIL(e, FORMAT, "the adapter has no tensors");
    return ERR_OK;
}

/* ---- writing ---- */

static err_code write_adapter(const convert_job *j, double alpha, const char *path_out,
                              const quantize_progress *progress, err *e) {
    CLEANUP(gguf_writer_destroy) gguf_writer *w = NULL;
    TRY(gguf_writer_create(path_out, 32, &w, e));
    gguf_writer_put_str(w, "general.architecture", str_from(j->family->arch));
    gguf_writer_put_str(w, "general.type", STR("adapter"));
    gguf_writer_put_str(w, "adapter.type", STR("lora"));
    gguf_writer_put_f32(w, "adapter.lora.alpha", (float)alpha);
    return convert_write_tensors(j, w, progress, e);
}

static err_code convert(adapter_job *k, const char *model, const char *path_out,
                        const quantize_progress *progress, err *e) {
    TRY(read_model(k->j, model, e));
    TRY(read_config(k, e));
    TRY(convert_open_sources(k->j, e));
    TRY(place_all(k, e));
    return write_adapter(k->j, k->alpha, path_out, progress, e);
}

err_code convert_adapter(const convert_file *files, size_t n_files, const char *model,
                         const char *path_out, const quantize_progress *progress, err *e) {
    convert_job j = {.mem = arena_create(0), .files = files, .n_files = n_files};
    adapter_job k = {.j = &j};
    err_code code = convert(&k, model, path_out, progress, e);
    map_finish(&k.index);
    convert_job_finish(&j);
    return code;
}
