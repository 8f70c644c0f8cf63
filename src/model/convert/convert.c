/* The steps of a conversion: read config.json, open the tensors, plan, write. */
#include "base/checked.h"
#include "base/limits.h"
#include "model/convert/convert_impl.h"
#include "os/file.h"
#include "os/mem.h"
#include <math.h>
#include <string.h>

enum { JSON_BYTES_MAX = 256 << 20, GROUP_ELEMS = 1 << 18 };

static const convert_family families[] = {
    {"llama mistral mixtral smollm", "llama", CONVERT_DECODER, .pairs = true, .n_head = 32,
     .n_ctx = 2048, .norm_eps = 1e-6, .rope_theta = 10000},
    {"qwen2", "qwen2", CONVERT_DECODER, .n_head = 32, .n_ctx = 32768, .norm_eps = 1e-6,
     .rope_theta = 10000},
    {"qwen2_moe", "qwen2moe", CONVERT_DECODER, .n_head = 16, .n_ctx = 32768, .norm_eps = 1e-6,
     .rope_theta = 10000},
    {"qwen3", "qwen3", CONVERT_DECODER, .n_head = 32, .head_dim = 128, .n_ctx = 32768,
     .norm_eps = 1e-6, .rope_theta = 10000},
    {"qwen3_moe", "qwen3moe", CONVERT_DECODER, .n_head = 32, .n_ctx = 32768, .norm_eps = 1e-6,
     .rope_theta = 10000},
    {"gemma", "gemma", CONVERT_DECODER, .plus_one = true, .n_head = 16, .head_dim = 256,
     .n_ctx = 8192, .norm_eps = 1e-6, .rope_theta = 10000},
    {"gemma2", "gemma2", CONVERT_DECODER, .plus_one = true, .four_norms = true, .n_head = 8,
     .n_head_kv = 4, .head_dim = 256, .n_ctx = 8192, .norm_eps = 1e-6, .rope_theta = 10000},
    {"gemma3_text gemma3", "gemma3", CONVERT_DECODER, .plus_one = true, .four_norms = true,
     .n_head = 8, .n_head_kv = 4, .head_dim = 256, .n_ctx = 131072, .norm_eps = 1e-6,
     .rope_theta = 1e6},
    {"phi3", "phi3", CONVERT_DECODER, .n_head = 32, .n_ctx = 4096, .norm_eps = 1e-5,
     .rope_theta = 10000},
    {"bert", "bert", CONVERT_BERT, .n_head = 12, .n_ctx = 512, .norm_eps = 1e-12},
};

/* ---- files and JSON ---- */

const char *convert_find_file(const convert_job *j, const char *name) {
    for (size_t i = 0; i < j->n_files; i++)
        if (str_eq(j->files[i].name, str_from(name))) return j->files[i].path;
    return NULL;
}

err_code convert_json(const convert_job *j, const char *name, json_t **ret, err *e) {
    const char *path = convert_find_file(j, name);
    buf text = {0};
    json_error_t at;
    *ret = NULL;
    if (!path) return ERR_OK;
    TRY(file_read(path, JSON_BYTES_MAX, &text, e));
    *ret = json_loadb(text.ptr ? text.ptr : "", text.len, JSON_ALLOW_NUL, &at);
    buf_finish(&text);
    if (!json_is_object(*ret)) {
        bool parsed = *ret != NULL;
        json_decref(*ret);
        *ret = NULL;
        FAIL(e, FORMAT, "%s: %s", name, parsed ? "it is not an object" : at.text);
    }
    return ERR_OK;
}

err_code convert_int(const json_t *o, const char *key, int64_t fallback, int64_t lo, int64_t hi,
                     int64_t *ret) {
    const json_t *v = json_object_get(o, key);
    int64_t n = json_is_integer(v) ? json_integer_value(v) : fallback;
    if (json_is_real(v) && fabs(json_real_value(v)) < 1e15) n = (int64_t)json_real_value(v);
    *ret = n;
    return n < lo || n > hi ? ERR_LIMIT : ERR_OK;
}

double convert_num(const json_t *o, const char *key, double fallback) {
    const json_t *v = json_object_get(o, key);
    return json_is_number(v) ? json_number_value(v) : fallback;
}

str convert_text(const json_t *o, const char *key) {
    return str_from(json_string_value(json_object_get(o, key)));
}

/* ---- what it is ---- */

static bool in_words(const char *words, str word) {
    for (str rest = str_from(words); rest.len;)
        if (str_eq(str_cut(&rest, ' '), word)) return true;
    return false;
}

const convert_family *convert_family_of_arch(str arch) {
    for (size_t i = 0; i < COUNT_OF(families); i++)
        if (str_eq(arch, str_from(families[i].arch))) return &families[i];
    return NULL;
}

static err_code find_family(convert_job *j, err *e) {
    str type = convert_text(j->config, "model_type");
    json_t *inner = json_object_get(j->config, "text_config");
    j->text = json_is_object(inner) ? inner : j->config;
    for (size_t i = 0; i < COUNT_OF(families); i++)
        if (in_words(families[i].model_types, type)) j->family = &families[i];
    if (j->family) return ERR_OK;
    FAIL(e, UNSUPPORTED,
         "config.json: models of type \"" STR_FMT
         "\" cannot be converted; these can: llama, mistral, mixtral, qwen2, qwen2_moe, qwen3, "
         "qwen3_moe, gemma, gemma2, gemma3, phi3, bert",
         STR_ARG(str_sub(type, 0, 100)));
}

static err_code read_sizes(convert_job *j, err *e) {
    const convert_family *f = j->family;
    int64_t layers, head, kv, dim, width, experts;
    static const char *const EXPERT_KEYS[] = {"num_local_experts", "num_experts"};
    if (convert_int(j->text, "num_hidden_layers", 26, 1, LIMIT_LAYERS, &layers) ||
        convert_int(j->text, "num_attention_heads", f->n_head, 1, LIMIT_HEADS, &head) ||
        convert_int(j->text, "num_key_value_heads", f->n_head_kv ? f->n_head_kv : head, 1,
                    LIMIT_HEADS, &kv) ||
        convert_int(j->text, "hidden_size", 0, 1, LIMIT_EMBD, &width) ||
        convert_int(j->text, "head_dim", f->head_dim ? f->head_dim : width / head, 1,
                    LIMIT_HEAD_DIM, &dim))
        FAIL(e, LIMIT,
             "config.json: num_hidden_layers, num_attention_heads, num_key_value_heads, "
             "hidden_size or head_dim is missing or out of range");
    experts = 0;
    for (size_t i = 0; i < COUNT_OF(EXPERT_KEYS); i++)
        if (convert_int(j->text, EXPERT_KEYS[i], experts, 0, LIMIT_EXPERTS, &experts))
            FAIL(e, LIMIT, "config.json: %s is out of range", EXPERT_KEYS[i]);
    j->n_layers = (int32_t)layers;
    j->n_head = (int32_t)head;
    j->n_head_kv = (int32_t)kv;
    j->head_dim = (int32_t)dim;
    j->n_expert = (int32_t)experts;
    return ERR_OK;
}

static err_code check_activation(const convert_job *j, err *e) {
    str act = convert_text(j->text, "hidden_act");
    if (act.len == 0) act = convert_text(j->text, "hidden_activation");
    bool gemma = j->family->plus_one, bert = j->family->style == CONVERT_BERT;
    bool ok = act.len == 0 || (bert && str_eq(act, STR("gelu"))) ||
              (gemma && (str_eq(act, STR("gelu_pytorch_tanh")) || str_eq(act, STR("gelu")))) ||
              (!bert && !gemma && str_eq(act, STR("silu")));
    if (!ok)
        FAIL(e, UNSUPPORTED, "config.json: the activation \"" STR_FMT "\" is not known for %s",
             STR_ARG(str_sub(act, 0, 60)), j->family->arch);
    if (json_object_get(j->config, "quantization_config"))
        FAIL(e, UNSUPPORTED,
             "config.json: the weights are quantized already (quantization_config); take the "
             "repository with the original weights, or a GGUF");
    return ERR_OK;
}

static err_code read_config(convert_job *j, err *e) {
    TRY(convert_json(j, "config.json", &j->config, e));
    if (!j->config) FAIL(e, NOT_FOUND, "config.json is missing beside the safetensors files");
    TRY(find_family(j, e));
    TRY(read_sizes(j, e));
    return check_activation(j, e);
}

/* ---- tensors ---- */

/* Every tensor that the index names must have come. */
static err_code check_index(convert_job *j, err *e) {
    json_t *index = NULL;
    const char *name;
    json_t *file;
    TRY(convert_json(j, "model.safetensors.index.json", &index, e));
    err_code code = ERR_OK;
    json_object_foreach(json_object_get(index, "weight_map"), name, file) {
        bool found = false;
        for (size_t i = 0; i < j->sources.len && !found; i++)
            found = safetensors_find(j->sources.items[i], name) != NULL;
        if (found) continue;
        code = err_set(e, ERR_NOT_FOUND, "tensor %.200s is missing: is %.200s there?", name,
                       json_is_string(file) ? json_string_value(file) : "its file");
        break;
    }
    json_decref(index);
    return code;
}

err_code convert_open_sources(convert_job *j, err *e) {
    for (size_t i = 0; i < j->n_files; i++) {
        str name = j->files[i].name;
        if (!str_ends(name, STR(".safetensors"))) continue;
        safetensors *s;
        if (safetensors_open(j->files[i].path, &s, e))
            return err_wrap(e, STR_FMT, STR_ARG(str_sub(name, 0, 200)));
        VEC_PUSH(j->sources, s);
    }
    if (j->sources.len == 0) FAIL(e, NOT_FOUND, "there is no .safetensors file");
    return check_index(j, e);
}

/* ---- writing ---- */

static uint32_t file_type_of(const convert_job *j) {
    uint64_t n[3] = {0};
    for (size_t i = 0; i < j->tensors.len; i++) {
        const convert_tensor *t = &j->tensors.items[i];
        if (t->n_dims >= 2) n[t->type == DTYPE_F32 ? 0 : t->type == DTYPE_F16 ? 1 : 2]++;
    }
    return n[2] > n[0] && n[2] >= n[1] ? 32 : n[1] > n[0] ? 1 : 0;
}

/* Row r of the output is this row of the input: halves of a head become pairs. */
static int64_t source_row(const convert_tensor *t, int64_t r, int64_t n_rows) {
    if (t->n_head <= 0) return r;
    int64_t d = n_rows / t->n_head, head = r / d, in = r % d;
    return head * d + (in % 2) * (d / 2) + in / 2;
}

static err_code put_rows(gguf_writer *w, const convert_tensor *t, const safetensors_tensor *s,
                         float *scratch, err *e) {
    /* a vector of a head's rotation is reordered value by value */
    int64_t ne0 = t->n_dims > 1 ? t->ne[0] : 1;
    int64_t n_rows = t->n_from > 1 || t->n_dims > 2 ? t->ne[1] : 1;
    if (t->n_dims == 1) n_rows = t->ne[0];
    if (t->n_dims == 2) n_rows = t->ne[1];
    uint64_t in_row, out_row;
    if (!dtype_row_bytes(s->type, ne0, &in_row) || !dtype_row_bytes(t->type, ne0, &out_row))
        FAIL(e, INTERNAL, "no row size");
    bool as_is = s->type == t->type && !t->plus_one;
    for (int64_t r = 0; r < n_rows; r++) {
        int64_t from = t->skip_rows + source_row(t, r, n_rows);
        const char *row = (const char *)s->data + (uint64_t)from * in_row;
        if (as_is) {
            TRY(gguf_writer_put_data(w, row, (size_t)out_row, e));
            continue;
        }
        dequant_row(s->type, row, scratch, ne0);
        for (int64_t i = 0; t->plus_one && i < ne0; i++) scratch[i] += 1;
        TRY(gguf_writer_put_data(w, scratch, (size_t)out_row, e));
    }
    return ERR_OK;
}

static err_code put_tensor(gguf_writer *w, const convert_tensor *t, float *scratch, err *e) {
    if (t->computed)
        return gguf_writer_put_data(w, t->computed, (size_t)t->ne[0] * sizeof(float), e);
    for (size_t i = 0; i < t->n_from; i++) {
        const safetensors_tensor *s = t->from[i];
        bool whole = s->type == t->type && !t->plus_one && t->n_head <= 0 && t->skip_rows == 0 &&
                     (t->n_from == 1 || t->n_dims > 2);
        uint64_t rows = t->n_dims > 1 ? (uint64_t)t->ne[1] : 1, bytes = 0, row_bytes = 0;
        if (t->n_dims > 2 && t->n_from == 1) rows *= (uint64_t)t->ne[2];
        dtype_row_bytes(t->type, t->ne[0], &row_bytes);
        if (whole && checked_mul(rows, row_bytes, &bytes) && bytes == s->n_bytes)
            TRY(gguf_writer_put_data(w, s->data, (size_t)bytes, e));
        else
            TRY(put_rows(w, t, s, scratch, e));
    }
    return ERR_OK;
}

static err_code put_data(const convert_job *j, gguf_writer *w, const quantize_progress *progress,
                         err *e) {
    uint64_t n_done = 0, n_total = 0;
    for (size_t i = 0; i < j->sources.len; i++)
        n_total += safetensors_tensor_bytes(j->sources.items[i]);
    float *scratch = NEW_ARRAY(float, LIMIT_FFN);
    err_code code = ERR_OK;
    for (size_t i = 0; i < j->tensors.len && code == ERR_OK; i++) {
        const convert_tensor *t = &j->tensors.items[i];
        code = put_tensor(w, t, scratch, e);
        for (size_t k = 0; k < t->n_from; k++) n_done += t->from[k]->n_bytes;
        if (n_done > n_total) n_done = n_total;
        if (code == ERR_OK && progress && progress->fn &&
            !progress->fn(progress->arg, n_done, n_total))
            code = err_set(e, ERR_CANCELLED, "the conversion was cancelled");
    }
    mem_free(scratch);
    return code;
}

err_code convert_write_tensors(const convert_job *j, gguf_writer *w,
                               const quantize_progress *progress, err *e) {
    for (size_t i = 0; i < j->tensors.len; i++) {
        const convert_tensor *t = &j->tensors.items[i];
        gguf_writer_put_tensor(w, t->name, t->type, t->n_dims, t->ne);
    }
    TRY(gguf_writer_begin(w, e));
    TRY(put_data(j, w, progress, e));
    return gguf_writer_commit(w, e);
}

static str model_name(const convert_job *j) {
    str name = convert_text(j->config, "_name_or_path");
    ptrdiff_t slash = str_rfind_char(name, '/');
    if (slash >= 0) name = str_sub(name, (size_t)slash + 1, name.len);
    return str_sub(name, 0, 200);
}

static err_code write_model(convert_job *j, const char *path_out, const quantize_progress *progress,
                            err *e) {
    CLEANUP(gguf_writer_destroy) gguf_writer *w = NULL;
    TRY(gguf_writer_create(path_out, 32, &w, e));
    gguf_writer_put_str(w, "general.architecture", str_from(j->family->arch));
    gguf_writer_put_str(w, "general.type", STR("model"));
    if (model_name(j).len) gguf_writer_put_str(w, "general.name", model_name(j));
    TRY(convert_put_keys(j, w, e));
    TRY(convert_put_tokenizer(j, w, e));
    gguf_writer_put_u32(w, "general.file_type", file_type_of(j));
    gguf_writer_put_u32(w, "general.quantization_version", 2);
    return convert_write_tensors(j, w, progress, e);
}

static err_code convert(convert_job *j, const char *path_out, const quantize_progress *progress,
                        err *e) {
    TRY(read_config(j, e));
    TRY(convert_open_sources(j, e));
    TRY(convert_plan_tensors(j, e));
    return write_model(j, path_out, progress, e);
}

void convert_job_finish(convert_job *j) {
    for (size_t i = 0; i < j->sources.len; i++) safetensors_destroy(&j->sources.items[i]);
    VEC_FINISH(j->sources);
    VEC_FINISH(j->tensors);
    json_decref(j->config);
    arena_destroy(&j->mem);
}

err_code convert_safetensors(const convert_file *files, size_t n_files, const char *path_out,
                             const quantize_progress *progress, err *e) {
    convert_job j = {.mem = arena_create(0), .files = files, .n_files = n_files};
    err_code code = convert(&j, path_out, progress, e);
    convert_job_finish(&j);
    return code;
}

/* ---- split files ---- */

static err_code merge(const gguf *g, const char *path_out, const quantize_progress *progress,
                      err *e) {
    CLEANUP(gguf_writer_destroy) gguf_writer *w = NULL;
    uint64_t n_done = 0;
    TRY(gguf_writer_create(path_out, 32, &w, e));
    for (size_t i = 0; i < gguf_n_keys(g); i++)
        if (!str_starts(gguf_key_at(g, i)->name, STR("split.")))
            gguf_writer_put_key(w, gguf_key_at(g, i));
    for (size_t i = 0; i < gguf_n_tensors(g); i++) {
        const gguf_tensor *t = gguf_tensor_at(g, i);
        gguf_writer_put_tensor(w, t->name, t->type, t->n_dims ? t->n_dims : 1, t->ne);
    }
    TRY(gguf_writer_begin(w, e));
    for (size_t i = 0; i < gguf_n_tensors(g); i++) {
        const gguf_tensor *t = gguf_tensor_at(g, i);
        TRY(gguf_writer_put_data(w, t->data, (size_t)t->n_bytes, e));
        n_done += t->n_bytes;
        if (progress && progress->fn && !progress->fn(progress->arg, n_done, gguf_tensor_bytes(g)))
            FAIL(e, CANCELLED, "merging was cancelled");
    }
    return gguf_writer_commit(w, e);
}

err_code convert_merge_gguf(const char *const *paths, size_t n_paths, const char *path_out,
                            const quantize_progress *progress, err *e) {
    CLEANUP(gguf_destroy) gguf *g = NULL;
    TRY(gguf_open_parts(paths, n_paths, &g, e));
    return merge(g, path_out, progress, e);
}
