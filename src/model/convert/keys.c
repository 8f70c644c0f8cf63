/* The numbers of config.json as the file's <arch>.* keys.
 *
 * Two spellings of rotations are in use: rope_theta with rope_scaling, and rope_parameters, which
 * holds both (and, where local layers rotate by themselves, one object for each kind). */
#include "base/limits.h"
#include "model/convert/convert_impl.h"
#include <math.h>
#include <stdio.h>

enum { KEY_BYTES = 128 };

static const char *key(const convert_job *j, const char *suffix, char out[KEY_BYTES]) {
    snprintf(out, KEY_BYTES, "%s.%s", j->family->arch, suffix);
    return out;
}

static void put_u32(convert_job *j, gguf_writer *w, const char *suffix, int64_t v) {
    char name[KEY_BYTES];
    gguf_writer_put_u32(w, key(j, suffix, name), (uint32_t)v);
}

static void put_f32(convert_job *j, gguf_writer *w, const char *suffix, double v) {
    char name[KEY_BYTES];
    gguf_writer_put_f32(w, key(j, suffix, name), (float)v);
}

/* An integer of config.json that must be there, within bounds. */
static err_code put_needed(convert_job *j, gguf_writer *w, const char *suffix, const char *theirs,
                           int64_t hi, err *e) {
    int64_t v;
    if (convert_int(j->text, theirs, 0, 1, hi, &v))
        FAIL(e, LIMIT, "config.json: %s is missing or out of range", theirs);
    put_u32(j, w, suffix, v);
    return ERR_OK;
}

/* ---- rotation ---- */

typedef struct rope {
    const json_t *o; /* scaling; NULL = none */
    double theta, theta_local;
    str type;
} rope;

static rope read_rope(const convert_job *j) {
    const json_t *params = json_object_get(j->text, "rope_parameters");
    const json_t *full = json_object_get(params, "full_attention");
    const json_t *local = json_object_get(params, "sliding_attention");
    rope r = {.o = full ? full : params};
    if (!json_is_object(r.o)) r.o = json_object_get(j->text, "rope_scaling");
    if (!json_is_object(r.o)) r.o = NULL;
    r.theta =
        convert_num(r.o, "rope_theta", convert_num(j->text, "rope_theta", j->family->rope_theta));
    r.theta_local =
        convert_num(local, "rope_theta", convert_num(j->text, "rope_local_base_freq", 10000));
    r.type = convert_text(r.o, "rope_type");
    if (r.type.len == 0) r.type = convert_text(r.o, "type");
    if (r.type.len == 0) r.type = STR("default");
    return r;
}

/* Llama 3's divisors, a tensor of the file. Source: the Llama 3.1 release. */
static err_code add_llama3(convert_job *j, const rope *r, err *e) {
    float values[LIMIT_HEAD_DIM / 2];
    double factor = convert_num(r->o, "factor", 8), low = convert_num(r->o, "low_freq_factor", 1),
           high = convert_num(r->o, "high_freq_factor", 4),
           ctx = convert_num(r->o, "original_max_position_embeddings", 8192);
    if (!(factor > 0) || !(low > 0) || !(high > low) || !(ctx > 0))
        FAIL(e, FORMAT, "config.json: the llama3 rotation has impossible factors");
    for (int32_t i = 0; i < j->head_dim / 2; i++) {
        double freq = pow(r->theta, -2.0 * i / j->head_dim), wave = 2 * M_PI / freq;
        double smooth = (ctx / wave - low) / (high - low);
        double div = 1 / ((1 - smooth) / factor + smooth);
        values[i] = (float)(wave < ctx / high ? 1 : wave > ctx / low ? factor : div);
    }
    convert_add_computed(j, "rope_freqs.weight", values, j->head_dim / 2);
    return ERR_OK;
}

static err_code add_factors(convert_job *j, const rope *r, const char *theirs, const char *ours,
                            int64_t n, err *e) {
    float values[LIMIT_HEAD_DIM / 2];
    const json_t *list = json_object_get(r->o, theirs);
    if (json_array_size(list) != (size_t)n)
        FAIL(e, FORMAT, "config.json: %s has %zu numbers, %lld are expected", theirs,
             json_array_size(list), (long long)n);
    for (size_t i = 0; i < (size_t)n; i++) {
        double v = json_number_value(json_array_get(list, i));
        if (!(v > 0) || v > 1e6) FAIL(e, FORMAT, "config.json: %s holds %g", theirs, v);
        values[i] = (float)v;
    }
    convert_add_computed(j, ours, values, n);
    return ERR_OK;
}

static err_code put_longrope(convert_job *j, gguf_writer *w, const rope *r, int64_t n_rot, err *e) {
    int64_t ctx, orig;
    if (convert_int(j->text, "max_position_embeddings", j->family->n_ctx, 1, LIMIT_CTX_TOKENS,
                    &ctx) ||
        convert_int(j->text, "original_max_position_embeddings", 0, 2, LIMIT_CTX_TOKENS, &orig))
        if (convert_int(r->o, "original_max_position_embeddings", 0, 2, LIMIT_CTX_TOKENS, &orig))
            FAIL(e, LIMIT, "config.json: longrope without original_max_position_embeddings");
    double scale = (double)ctx / (double)orig;
    double attn = scale <= 1 ? 1 : sqrt(1 + log(scale) / log((double)orig));
    put_u32(j, w, "rope.scaling.original_context_length", orig);
    put_f32(j, w, "rope.scaling.attn_factor", convert_num(r->o, "attention_factor", attn));
    TRY(add_factors(j, r, "long_factor", "rope_factors_long.weight", n_rot / 2, e));
    return add_factors(j, r, "short_factor", "rope_factors_short.weight", n_rot / 2, e);
}

static err_code put_rope(convert_job *j, gguf_writer *w, err *e) {
    char name[KEY_BYTES];
    rope r = read_rope(j);
    double part =
        convert_num(r.o, "partial_rotary_factor", convert_num(j->text, "partial_rotary_factor", 1));
    double factor = convert_num(r.o, "factor", 1);
    int64_t n_rot = (int64_t)(j->head_dim * part);
    if (!(part > 0 && part <= 1) || n_rot < 2 || n_rot % 2 || !(r.theta > 0) || r.theta > 1e12)
        FAIL(e, FORMAT, "config.json: partial_rotary_factor %g or rope_theta %g", part, r.theta);
    put_u32(j, w, "rope.dimension_count", n_rot);
    put_f32(j, w, "rope.freq_base", r.theta);
    if (str_eq(str_from(j->family->arch), STR("gemma3")) && r.theta_local != 10000)
        put_f32(j, w, "rope.freq_base_swa", r.theta_local);
    if (str_eq(r.type, STR("default"))) return ERR_OK;
    if (str_eq(r.type, STR("llama3")) && j->family->pairs) return add_llama3(j, &r, e);
    if (str_eq(r.type, STR("longrope")) || str_eq(r.type, STR("su")))
        return put_longrope(j, w, &r, n_rot, e);
    bool yarn = str_eq(r.type, STR("yarn"));
    if (!yarn && !str_eq(r.type, STR("linear")))
        FAIL(e, UNSUPPORTED, "config.json: the rotation \"" STR_FMT "\" is not known for %s",
             STR_ARG(str_sub(r.type, 0, 60)), j->family->arch);
    if (!(factor > 0)) FAIL(e, FORMAT, "config.json: a rotation's factor is %g", factor);
    gguf_writer_put_str(w, key(j, "rope.scaling.type", name), r.type);
    put_f32(j, w, "rope.scaling.factor", factor);
    int64_t orig;
    if (yarn && convert_int(r.o, "original_max_position_embeddings", 0, 1, LIMIT_CTX_TOKENS,
                            &orig) == ERR_OK)
        put_u32(j, w, "rope.scaling.original_context_length", orig);
    return ERR_OK;
}

/* ---- families ---- */

static err_code put_window(convert_job *j, gguf_writer *w, err *e) {
    char name[KEY_BYTES];
    int64_t window;
    bool is3 = str_eq(str_from(j->family->arch), STR("gemma3"));
    bool phi = str_eq(str_from(j->family->arch), STR("phi3"));
    if (phi && !json_is_integer(json_object_get(j->text, "sliding_window"))) return ERR_OK;
    if (convert_int(j->text, "sliding_window", 4096, 1, LIMIT_CTX_TOKENS, &window))
        FAIL(e, LIMIT, "config.json: sliding_window is out of range");
    put_u32(j, w, "attention.sliding_window", window);
    const json_t *types = json_object_get(j->text, "layer_types");
    if (phi || !json_is_array(types)) return ERR_OK;
    if (json_array_size(types) != (size_t)j->n_layers)
        FAIL(e, FORMAT, "config.json: layer_types has %zu items for %d layers",
             json_array_size(types), j->n_layers);
    uint8_t local[LIMIT_LAYERS];
    bool usual = true;
    for (int32_t i = 0; i < j->n_layers; i++) {
        str t = str_from(json_string_value(json_array_get(types, (size_t)i)));
        local[i] = str_eq(t, STR("sliding_attention"));
        usual = usual && local[i] == ((i + 1) % (is3 ? 6 : 2) != 0);
    }
    if (!usual)
        gguf_writer_put_array(w, key(j, "attention.sliding_window_pattern", name), GGUF_BOOL, local,
                              (size_t)j->n_layers);
    return ERR_OK;
}

static err_code put_gemma(convert_job *j, gguf_writer *w, err *e) {
    bool is2 = str_eq(str_from(j->family->arch), STR("gemma2"));
    double scalar = convert_num(j->text, "query_pre_attn_scalar", is2 ? 256 : 256);
    if (!(scalar > 0)) FAIL(e, FORMAT, "config.json: query_pre_attn_scalar is %g", scalar);
    TRY(put_window(j, w, e));
    if (scalar != j->head_dim) put_f32(j, w, "attention.scale", 1 / sqrt(scalar));
    double attn = convert_num(j->text, "attn_logit_softcapping", 0);
    double final = convert_num(j->text, "final_logit_softcapping", 0);
    if (attn > 0) put_f32(j, w, "attn_logit_softcapping", attn);
    if (final > 0) put_f32(j, w, "final_logit_softcapping", final);
    return ERR_OK;
}

static err_code put_experts(convert_job *j, gguf_writer *w, err *e) {
    char name[KEY_BYTES];
    int64_t shared, step;
    if (j->n_expert == 0) return ERR_OK;
    if (convert_int(j->text, "decoder_sparse_step", 1, 1, 1, &step) ||
        json_array_size(json_object_get(j->text, "mlp_only_layers")) > 0)
        FAIL(e, UNSUPPORTED, "config.json: layers with and without experts in one model");
    put_u32(j, w, "expert_count", j->n_expert);
    TRY(put_needed(j, w, "expert_used_count", "num_experts_per_tok", j->n_expert, e));
    if (json_object_get(j->text, "moe_intermediate_size"))
        TRY(put_needed(j, w, "expert_feed_forward_length", "moe_intermediate_size", LIMIT_FFN, e));
    if (convert_int(j->text, "shared_expert_intermediate_size", 0, 0, LIMIT_FFN, &shared))
        FAIL(e, LIMIT, "config.json: shared_expert_intermediate_size is out of range");
    if (shared) put_u32(j, w, "expert_shared_feed_forward_length", shared);
    const json_t *norm = json_object_get(j->text, "norm_topk_prob");
    if (json_is_boolean(norm))
        gguf_writer_put_bool(w, key(j, "expert_weights_norm", name), json_is_true(norm));
    return ERR_OK;
}

static err_code put_bert(convert_job *j, gguf_writer *w, err *e) {
    char name[KEY_BYTES];
    json_t *pooling = NULL;
    str positions = convert_text(j->text, "position_embedding_type");
    if (positions.len && !str_eq(positions, STR("absolute")))
        FAIL(e, UNSUPPORTED, "config.json: positions of type \"" STR_FMT "\" are not known",
             STR_ARG(str_sub(positions, 0, 60)));
    put_f32(j, w, "attention.layer_norm_epsilon",
            convert_num(j->text, "layer_norm_eps", j->family->norm_eps));
    gguf_writer_put_bool(w, key(j, "attention.causal", name), false);
    TRY(convert_json(j, "1_Pooling/config.json", &pooling, e));
    bool first = json_is_true(json_object_get(pooling, "pooling_mode_cls_token"));
    bool last = json_is_true(json_object_get(pooling, "pooling_mode_lasttoken"));
    put_u32(j, w, "pooling_type", first ? 2 : last ? 3 : 1);
    json_decref(pooling);
    return ERR_OK;
}

err_code convert_put_keys(convert_job *j, gguf_writer *w, err *e) {
    bool bert = j->family->style == CONVERT_BERT;
    int64_t ctx;
    if (convert_int(j->text, "max_position_embeddings", j->family->n_ctx, 1, LIMIT_CTX_TOKENS,
                    &ctx))
        FAIL(e, LIMIT, "config.json: max_position_embeddings is out of range");
    put_u32(j, w, "block_count", j->n_layers);
    put_u32(j, w, "context_length", ctx);
    TRY(put_needed(j, w, "embedding_length", "hidden_size", LIMIT_EMBD, e));
    TRY(put_needed(j, w, "feed_forward_length", "intermediate_size", LIMIT_FFN, e));
    put_u32(j, w, "attention.head_count", j->n_head);
    if (bert) return put_bert(j, w, e);
    put_u32(j, w, "attention.head_count_kv", j->n_head_kv);
    put_u32(j, w, "attention.key_length", j->head_dim);
    put_u32(j, w, "attention.value_length", j->head_dim);
    put_u32(j, w, "vocab_size", j->n_vocab);
    double eps = convert_num(j->text, "rms_norm_eps", j->family->norm_eps);
    if (!(eps >= 0 && eps < 1)) FAIL(e, FORMAT, "config.json: rms_norm_eps is %g", eps);
    put_f32(j, w, "attention.layer_norm_rms_epsilon", eps);
    TRY(put_rope(j, w, e));
    TRY(put_experts(j, w, e));
    if (j->family->four_norms) return put_gemma(j, w, e);
    return str_eq(str_from(j->family->arch), STR("phi3")) ? put_window(j, w, e) : ERR_OK;
}
