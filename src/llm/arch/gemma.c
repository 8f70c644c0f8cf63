/* gemma (1), gemma2, gemma3. Embeddings scaled by sqrt(D), tanh GELU gates, tied output, rotation
 * of halves; norm weights in files are already 1 + w.
 * gemma2: norms behind both sub-blocks too, every other layer local (first one local), soft caps on
 * scores and logits. gemma3: norms on each head of q and k instead of the soft caps, five local
 * layers for each global one, and a rotation of their own for the local ones: base 10,000, never
 * scaled. */
#include "llm/arch/arch.h"
#include <math.h>

static const char *const names_1[] = {"gemma", NULL};
static const char *const names_2[] = {"gemma2", NULL};
static const char *const names_3[] = {"gemma3", NULL};

enum { LAYERS_OF_27B_2 = 46, LAYERS_OF_27B_3 = 62 };

static const llm_bind globals[] = {
    {"token_embd.weight", LLM_GLOBAL(embd), {LLM_DIM_D, LLM_DIM_V}, LLM_NEED_ALWAYS},
    {"output_norm.weight", LLM_GLOBAL(out_norm), {LLM_DIM_D}, LLM_NEED_ALWAYS},
    {"output.weight", LLM_GLOBAL(out), {LLM_DIM_D, LLM_DIM_V}, LLM_NEED_NEVER},
    {0},
};

#define LAYERS_COMMON                                                                              \
    {"attn_norm.weight", LLM_LAYER(attn_norm), {LLM_DIM_D}, LLM_NEED_ALWAYS},                      \
        {"attn_q.weight", LLM_LAYER(q), {LLM_DIM_D, LLM_DIM_HK}, LLM_NEED_ALWAYS},                 \
        {"attn_k.weight", LLM_LAYER(k), {LLM_DIM_D, LLM_DIM_HKV_K}, LLM_NEED_ALWAYS},              \
        {"attn_v.weight", LLM_LAYER(v), {LLM_DIM_D, LLM_DIM_HKV_V}, LLM_NEED_ALWAYS},              \
        {"attn_output.weight", LLM_LAYER(o), {LLM_DIM_HV, LLM_DIM_D}, LLM_NEED_ALWAYS},            \
        {"ffn_norm.weight", LLM_LAYER(ffn_norm), {LLM_DIM_D}, LLM_NEED_ALWAYS},                    \
        {"ffn_gate.weight", LLM_LAYER(gate), {LLM_DIM_D, LLM_DIM_F}, LLM_NEED_ALWAYS},             \
        {"ffn_up.weight", LLM_LAYER(up), {LLM_DIM_D, LLM_DIM_F}, LLM_NEED_ALWAYS}, {               \
        "ffn_down.weight", LLM_LAYER(down), {LLM_DIM_F, LLM_DIM_D}, LLM_NEED_ALWAYS                \
    }

#define LAYERS_POST_NORMS                                                                          \
    {"post_attention_norm.weight", LLM_LAYER(post_attn_norm), {LLM_DIM_D}, LLM_NEED_ALWAYS}, {     \
        "post_ffw_norm.weight", LLM_LAYER(post_ffn_norm), {LLM_DIM_D}, LLM_NEED_ALWAYS             \
    }

static const llm_bind layers_1[] = {LAYERS_COMMON, {0}};

static const llm_bind layers_2[] = {LAYERS_COMMON, LAYERS_POST_NORMS, {0}};

static const llm_bind layers_3[] = {
    LAYERS_COMMON,
    LAYERS_POST_NORMS,
    {"attn_q_norm.weight", LLM_LAYER(q_norm), {LLM_DIM_K}, LLM_NEED_ALWAYS},
    {"attn_k_norm.weight", LLM_LAYER(k_norm), {LLM_DIM_K}, LLM_NEED_ALWAYS},
    {0},
};

static err_code adjust_common(const gguf *g, llm_hparams *hp, err *e) {
    if (hp->n_expert > 0)
        FAIL(e, UNSUPPORTED, STR_FMT " with experts is not known", STR_ARG(gguf_arch(g)));
    hp->rope.neox = hp->rope_local.neox = true;
    hp->embd_scale = sqrtf((float)hp->n_embd);
    return ERR_OK;
}

/* The 27B models scale scores by D / H instead of the head's dimensions; no key says so. */
static void scale_of_27b(const gguf *g, llm_hparams *hp, int32_t n_layers, const char *scale_key) {
    if (hp->n_layers == n_layers && !gguf_find_key(g, scale_key))
        hp->attn_scale = 1 / sqrtf((float)hp->n_embd / (float)hp->n_head);
}

static err_code adjust_1(const gguf *g, llm_hparams *hp, err *e) {
    TRY(adjust_common(g, hp, e));
    hp->window = 0;
    return ERR_OK;
}

static void defaults_2(const char *name, llm_hparams *hp) {
    (void)name;
    hp->window = 4096;
    hp->window_period = 2;
}

static err_code adjust_2(const gguf *g, llm_hparams *hp, err *e) {
    TRY(adjust_common(g, hp, e));
    scale_of_27b(g, hp, LAYERS_OF_27B_2, "gemma2.attention.scale");
    return ERR_OK;
}

static void defaults_3(const char *name, llm_hparams *hp) {
    (void)name;
    hp->window_period = 6;
    hp->rope.freq_base = 1e6f;
}

static err_code adjust_3(const gguf *g, llm_hparams *hp, err *e) {
    TRY(adjust_common(g, hp, e));
    dev_rope *r = &hp->rope_local;
    *r = (dev_rope){.n_rot = hp->n_rot, .neox = true, .freq_scale = 1, .attn_factor = 1};
    TRY(llm_hparams_f32(g, "rope.freq_base_swa", 10000, &r->freq_base, e));
    if (!(r->freq_base > 0)) FAIL(e, FORMAT, "rope.freq_base_swa is %g", (double)r->freq_base);
    scale_of_27b(g, hp, LAYERS_OF_27B_3, "gemma3.attention.scale");
    return ERR_OK;
}

static void build(llm_build *b) {
    graph_t x = llm_block_embed(b);
    for (int32_t il = 0; il < b->hp->n_layers; il++) {
        const llm_layer *l = &b->w->layers[il];
        bool post = l->post_attn_norm.data != NULL;
        graph_t a = llm_block_attend(b, il, llm_block_norm(b, x, &l->attn_norm), true);
        x = llm_block_rows(b, il, x);
        a = llm_block_project(b, il, a, post ? NULL : x);
        x = post ? graph_add(b->g, llm_block_norm(b, a, &l->post_attn_norm), x) : a;
        a = llm_block_norm(b, x, &l->ffn_norm);
        a = llm_block_ffn(b, il, a, post ? NULL : x, DEV_ACT_GELU_TANH);
        x = post ? graph_add(b->g, llm_block_norm(b, a, &l->post_ffn_norm), x) : a;
    }
    llm_block_head(b, x);
}

const llm_arch llm_arch_gemma = {
    .names = names_1, .tensors = {globals, layers_1}, .adjust = adjust_1, .build = build};

const llm_arch llm_arch_gemma2 = {
    .names = names_2,
    .tensors = {globals, layers_2},
    .defaults = defaults_2,
    .adjust = adjust_2,
    .build = build,
};

const llm_arch llm_arch_gemma3 = {
    .names = names_3,
    .tensors = {globals, layers_3},
    .defaults = defaults_3,
    .adjust = adjust_3,
    .build = build,
};
