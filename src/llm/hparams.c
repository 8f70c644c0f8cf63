/* Reads and bounds hyper-parameters. Part of loading (model.c); pure functions of the file. */
#include "llm/hparams.h"
#include "base/limits.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { KEY_BYTES = 160, ARCH_BYTES = 64 };

/* "<arch>.<suffix>"; the architecture's name was found in a table of ours, so it is short. */
static const char *key_name(const gguf *g, const char *suffix, char out[KEY_BYTES]) {
    str arch = gguf_arch(g);
    snprintf(out, KEY_BYTES, STR_FMT ".%s", (int)(arch.len < ARCH_BYTES ? arch.len : ARCH_BYTES),
             arch.ptr, suffix);
    return out;
}

static const gguf_key *find(const gguf *g, const char *suffix) {
    char name[KEY_BYTES];
    return gguf_find_key(g, key_name(g, suffix, name));
}

err_code llm_hparams_f32(const gguf *g, const char *suffix, float fallback, float *ret, err *e) {
    char name[KEY_BYTES];
    double v;
    if (!find(g, suffix)) {
        *ret = fallback;
        return ERR_OK;
    }
    TRY(gguf_get_f64(g, key_name(g, suffix, name), &v, e));
    if (!(fabs(v) <= 1e30)) FAIL(e, FORMAT, "key %s is not a finite number", name);
    *ret = (float)v;
    return ERR_OK;
}

/* A per-layer array counts when all its layers agree. */
static err_code array_value(const char *name, const gguf_array *a, int64_t *ret, err *e) {
    if (a->n == 0 || a->n > LIMIT_LAYERS)
        FAIL(e, FORMAT, "key %s: %llu layers", name, (unsigned long long)a->n);
    for (uint64_t i = 1; i < a->n; i++)
        if (gguf_array_i64(a, i) != gguf_array_i64(a, 0))
            FAIL(e, UNSUPPORTED,
                 "key %s differs between layers (%lld and %lld): models with layers of different "
                 "sizes cannot be run yet",
                 name, (long long)gguf_array_i64(a, 0), (long long)gguf_array_i64(a, i));
    *ret = gguf_array_i64(a, 0);
    return ERR_OK;
}

err_code llm_hparams_i32(const gguf *g, const char *suffix, const int32_t range[2],
                         int32_t fallback, int32_t *ret, err *e) {
    char name[KEY_BYTES];
    const gguf_key *k = find(g, suffix);
    int64_t v = 0;
    key_name(g, suffix, name);
    if (!k && fallback >= range[0]) {
        *ret = fallback;
        return ERR_OK;
    }
    if (k && k->type == GGUF_ARRAY)
        TRY(array_value(name, &k->as.array, &v, e));
    else
        TRY(gguf_get_i64(g, name, &v, e));
    if (v < range[0] || v > range[1])
        FAIL(e, LIMIT, "key %s is %lld, not in [%d, %d]", name, (long long)v, range[0], range[1]);
    *ret = (int32_t)v;
    return ERR_OK;
}

#define RANGE(lo, hi) ((const int32_t[2]){(lo), (int32_t)(hi)})

static err_code read_sizes(const gguf *g, llm_hparams *hp, err *e) {
    const int32_t *head_dim = RANGE(1, LIMIT_HEAD_DIM);
    TRY(llm_hparams_i32(g, "block_count", RANGE(1, LIMIT_LAYERS), 0, &hp->n_layers, e));
    TRY(llm_hparams_i32(g, "embedding_length", RANGE(1, LIMIT_EMBD), 0, &hp->n_embd, e));
    TRY(llm_hparams_i32(g, "context_length", RANGE(1, LIMIT_CTX_TOKENS), 0, &hp->ctx_train, e));
    TRY(llm_hparams_i32(g, "attention.head_count", RANGE(1, LIMIT_HEADS), 0, &hp->n_head, e));
    TRY(llm_hparams_i32(g, "attention.head_count_kv", RANGE(1, LIMIT_HEADS), hp->n_head,
                        &hp->n_head_kv, e));
    if (hp->n_head % hp->n_head_kv)
        FAIL(e, FORMAT, "%d query heads do not divide over %d key heads", hp->n_head,
             hp->n_head_kv);
    int32_t dim = hp->n_embd / hp->n_head;
    TRY(llm_hparams_i32(g, "attention.key_length", head_dim, dim, &hp->head_dim_k, e));
    TRY(llm_hparams_i32(g, "attention.value_length", head_dim, dim, &hp->head_dim_v, e));
    if (hp->head_dim_k > (int32_t)LIMIT_HEAD_DIM || hp->head_dim_v > (int32_t)LIMIT_HEAD_DIM)
        FAIL(e, LIMIT, "heads of %d and %d dimensions are too large", hp->head_dim_k,
             hp->head_dim_v);
    TRY(llm_hparams_i32(g, "rope.dimension_count", RANGE(2, LIMIT_HEAD_DIM),
                        hp->head_dim_k < 2 ? 2 : hp->head_dim_k, &hp->n_rot, e));
    if (hp->n_rot > hp->head_dim_k || hp->n_rot % 2)
        FAIL(e, FORMAT, "%d rotated of %d head dimensions", hp->n_rot, hp->head_dim_k);
    TRY(llm_hparams_i32(g, "feed_forward_length", RANGE(0, LIMIT_FFN), 0, &hp->n_ff, e));
    return ERR_OK;
}

static err_code read_experts(const gguf *g, llm_hparams *hp, err *e) {
    int32_t gating;
    char name[KEY_BYTES];
    TRY(llm_hparams_i32(g, "expert_count", RANGE(0, LIMIT_EXPERTS), 0, &hp->n_expert, e));
    if (hp->n_expert == 0) return ERR_OK;
    TRY(llm_hparams_i32(g, "expert_used_count", RANGE(1, hp->n_expert), 0, &hp->n_expert_used, e));
    TRY(llm_hparams_i32(g, "expert_feed_forward_length", RANGE(1, LIMIT_FFN),
                        hp->n_ff > 0 ? hp->n_ff : 0, &hp->n_ff_exp, e));
    TRY(llm_hparams_i32(g, "expert_shared_feed_forward_length", RANGE(0, LIMIT_FFN), 0,
                        &hp->n_ff_shexp, e));
    TRY(llm_hparams_f32(g, "expert_weights_scale", 0, &hp->expert_scale, e));
    if (hp->expert_scale == 0) hp->expert_scale = 1; /* files write 0 for "none" */
    hp->expert_renorm =
        gguf_opt_bool(g, key_name(g, "expert_weights_norm", name), hp->expert_renorm);
    TRY(llm_hparams_i32(g, "expert_gating_func", RANGE(0, 4), 0, &gating, e));
    if (gating > 1)
        FAIL(e, UNSUPPORTED, "expert_gating_func %d: only the softmax router is known", gating);
    return ERR_OK;
}

static err_code read_rope_scaling(const gguf *g, llm_hparams *hp, err *e) {
    char name[KEY_BYTES];
    float factor, old_factor;
    str type = gguf_opt_str(g, key_name(g, "rope.scaling.type", name), STR("linear"));
    TRY(llm_hparams_f32(g, "rope.scale_linear", 1, &old_factor, e));
    TRY(llm_hparams_f32(g, "rope.scaling.factor", old_factor, &factor, e));
    if (factor == 0) factor = 1;
    if (!(factor > 0)) FAIL(e, FORMAT, "rope.scaling.factor is %g", (double)factor);
    dev_rope *r = &hp->rope;
    TRY(llm_hparams_i32(g, "rope.scaling.original_context_length", RANGE(1, LIMIT_CTX_TOKENS),
                        hp->ctx_train, &r->ctx_orig, e));
    TRY(llm_hparams_f32(g, "rope.scaling.attn_factor", 1, &r->attn_factor, e));
    if (str_eq(type, STR("none"))) return ERR_OK;
    if (str_eq(type, STR("longrope"))) {
        hp->rope_scaling = LLM_ROPE_LONG;
        return ERR_OK;
    }
    r->freq_scale = 1 / factor;
    if (str_eq(type, STR("yarn"))) {
        hp->rope_scaling = LLM_ROPE_YARN;
        TRY(llm_hparams_f32(g, "rope.scaling.yarn_ext_factor", 1, &r->ext_factor, e));
        TRY(llm_hparams_f32(g, "rope.scaling.yarn_attn_factor", r->attn_factor, &r->attn_factor,
                            e));
        TRY(llm_hparams_f32(g, "rope.scaling.yarn_beta_fast", 32, &r->beta_fast, e));
        TRY(llm_hparams_f32(g, "rope.scaling.yarn_beta_slow", 1, &r->beta_slow, e));
        if (r->ext_factor < 0) r->ext_factor = 1;
        if (!(r->beta_fast > 0) || !(r->beta_slow > 0))
            FAIL(e, FORMAT, "rope.scaling.yarn_beta_fast %g and _slow %g", (double)r->beta_fast,
                 (double)r->beta_slow);
        return ERR_OK;
    }
    if (!str_eq(type, STR("linear")))
        FAIL(e, UNSUPPORTED, "rope.scaling.type \"" STR_FMT "\" is not known", STR_ARG(type));
    hp->rope_scaling = factor != 1 ? LLM_ROPE_LINEAR : LLM_ROPE_NONE;
    return ERR_OK;
}

static err_code read_rope(const gguf *g, llm_hparams *hp, err *e) {
    dev_rope *r = &hp->rope;
    float base = r->freq_base > 0 ? r->freq_base : 10000;
    *r = (dev_rope){
        .n_rot = hp->n_rot, .freq_scale = 1, .attn_factor = 1, .beta_fast = 32, .beta_slow = 1};
    TRY(llm_hparams_f32(g, "rope.freq_base", base, &r->freq_base, e));
    if (!(r->freq_base > 0)) FAIL(e, FORMAT, "rope.freq_base is %g", (double)r->freq_base);
    TRY(read_rope_scaling(g, hp, e));
    hp->rope_local = *r;
    return ERR_OK;
}

/* The window and which layers have it: a period, or one bool a layer. */
static err_code read_window(const gguf *g, llm_hparams *hp, err *e) {
    TRY(llm_hparams_i32(g, "attention.sliding_window", RANGE(0, LIMIT_CTX_TOKENS), hp->window,
                        &hp->window, e));
    const gguf_key *k = find(g, "attention.sliding_window_pattern");
    if (k && k->type == GGUF_ARRAY) {
        if (k->as.array.type != GGUF_BOOL || k->as.array.n != (uint64_t)hp->n_layers)
            FAIL(e, FORMAT, "attention.sliding_window_pattern has %llu items for %d layers",
                 (unsigned long long)k->as.array.n, hp->n_layers);
        hp->is_local = &k->as.array;
        return ERR_OK;
    }
    return llm_hparams_i32(g, "attention.sliding_window_pattern", RANGE(0, LIMIT_LAYERS),
                           hp->window_period, &hp->window_period, e);
}

static err_code read_pool(const gguf *g, llm_hparams *hp, err *e) {
    static const dev_pool pools[] = {DEV_POOL_NONE, DEV_POOL_MEAN, DEV_POOL_FIRST, DEV_POOL_LAST};
    int32_t type;
    TRY(llm_hparams_i32(g, "pooling_type", RANGE(0, 4), 0, &type, e));
    if (type == 4) FAIL(e, UNSUPPORTED, "pooling_type 4 (a reranker) cannot be run yet");
    hp->pool = pools[type];
    return ERR_OK;
}

err_code llm_hparams_read(const gguf *g, llm_hparams *hp, err *e) {
    char name[KEY_BYTES];
    hp->embd_scale = hp->expert_scale = 1;
    TRY(read_sizes(g, hp, e));
    TRY(read_experts(g, hp, e));
    TRY(read_rope(g, hp, e));
    TRY(read_window(g, hp, e));
    TRY(read_pool(g, hp, e));
    TRY(llm_hparams_f32(g, "attention.layer_norm_epsilon", 1e-5f, &hp->norm_eps, e));
    TRY(llm_hparams_f32(g, "attention.layer_norm_rms_epsilon", hp->norm_eps, &hp->norm_eps, e));
    if (!(hp->norm_eps >= 0)) FAIL(e, FORMAT, "norm epsilon is %g", (double)hp->norm_eps);
    TRY(llm_hparams_f32(g, "attention.scale", 0, &hp->attn_scale, e));
    if (hp->attn_scale == 0) hp->attn_scale = 1 / sqrtf((float)hp->head_dim_k);
    TRY(llm_hparams_f32(g, "attn_logit_softcapping", 0, &hp->attn_softcap, e));
    TRY(llm_hparams_f32(g, "final_logit_softcapping", 0, &hp->final_softcap, e));
    if (hp->attn_softcap < 0 || hp->final_softcap < 0)
        FAIL(e, FORMAT, "negative logit softcapping");
    hp->causal = gguf_opt_bool(g, key_name(g, "attention.causal", name), true);
    return ERR_OK;
}

bool llm_hparams_is_local(const llm_hparams *hp, int32_t il) {
    if (hp->window <= 0) return false;
    if (hp->is_local) return gguf_array_u64(hp->is_local, (uint64_t)il) != 0;
    return hp->window_period == 0 || (il + 1) % hp->window_period != 0;
}
