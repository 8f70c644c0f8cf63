/* qwen2, qwen2moe, qwen3, qwen3moe. Llama's blocks with rotation of halves; Qwen 2 has biases on
 * q, k and v, Qwen 3 has RMS norms on each head of q and k instead. Qwen 2's mixture keeps the
 * router's probabilities as they are and adds a shared expert behind a sigmoid gate; Qwen 3's makes
 * the chosen probabilities sum to 1. */
#include "base/limits.h"
#include "llm/arch/arch.h"

static const char *const names_2[] = {"qwen2", "qwen2moe", NULL};
static const char *const names_3[] = {"qwen3", "qwen3moe", NULL};

static const llm_bind globals[] = {
    {"token_embd.weight", LLM_GLOBAL(embd), {LLM_DIM_D, LLM_DIM_V}, LLM_NEED_ALWAYS},
    {"output_norm.weight", LLM_GLOBAL(out_norm), {LLM_DIM_D}, LLM_NEED_ALWAYS},
    {"output.weight", LLM_GLOBAL(out), {LLM_DIM_D, LLM_DIM_V}, LLM_NEED_NEVER},
    {"output.bias", LLM_GLOBAL(out_b), {LLM_DIM_V}, LLM_NEED_NEVER},
    {0},
};

#define LAYERS_COMMON                                                                              \
    {"attn_norm.weight", LLM_LAYER(attn_norm), {LLM_DIM_D}, LLM_NEED_ALWAYS},                      \
        {"attn_q.weight", LLM_LAYER(q), {LLM_DIM_D, LLM_DIM_HK}, LLM_NEED_ALWAYS},                 \
        {"attn_k.weight", LLM_LAYER(k), {LLM_DIM_D, LLM_DIM_HKV_K}, LLM_NEED_ALWAYS},              \
        {"attn_v.weight", LLM_LAYER(v), {LLM_DIM_D, LLM_DIM_HKV_V}, LLM_NEED_ALWAYS},              \
        {"attn_q.bias", LLM_LAYER(q_b), {LLM_DIM_HK}, LLM_NEED_NEVER},                             \
        {"attn_k.bias", LLM_LAYER(k_b), {LLM_DIM_HKV_K}, LLM_NEED_NEVER},                          \
        {"attn_v.bias", LLM_LAYER(v_b), {LLM_DIM_HKV_V}, LLM_NEED_NEVER},                          \
        {"attn_output.weight", LLM_LAYER(o), {LLM_DIM_HV, LLM_DIM_D}, LLM_NEED_ALWAYS},            \
        {"ffn_norm.weight", LLM_LAYER(ffn_norm), {LLM_DIM_D}, LLM_NEED_ALWAYS},                    \
        {"ffn_gate.weight", LLM_LAYER(gate), {LLM_DIM_D, LLM_DIM_F}, LLM_NEED_DENSE},              \
        {"ffn_up.weight", LLM_LAYER(up), {LLM_DIM_D, LLM_DIM_F}, LLM_NEED_DENSE},                  \
        {"ffn_down.weight", LLM_LAYER(down), {LLM_DIM_F, LLM_DIM_D}, LLM_NEED_DENSE},              \
        {"ffn_gate_inp.weight", LLM_LAYER(router), {LLM_DIM_D, LLM_DIM_E}, LLM_NEED_EXPERTS},      \
        {"ffn_gate_exps.weight",                                                                   \
         LLM_LAYER(gate_exps),                                                                     \
         {LLM_DIM_D, LLM_DIM_FE, LLM_DIM_E},                                                       \
         LLM_NEED_EXPERTS},                                                                        \
        {"ffn_up_exps.weight",                                                                     \
         LLM_LAYER(up_exps),                                                                       \
         {LLM_DIM_D, LLM_DIM_FE, LLM_DIM_E},                                                       \
         LLM_NEED_EXPERTS},                                                                        \
    {                                                                                              \
        "ffn_down_exps.weight", LLM_LAYER(down_exps), {LLM_DIM_FE, LLM_DIM_D, LLM_DIM_E},          \
            LLM_NEED_EXPERTS                                                                       \
    }

static const llm_bind layers_2[] = {
    LAYERS_COMMON,
    {"ffn_gate_inp_shexp.weight", LLM_LAYER(router_shexp), {LLM_DIM_D, LLM_DIM_1}, LLM_NEED_SHARED},
    {"ffn_gate_shexp.weight", LLM_LAYER(gate_shexp), {LLM_DIM_D, LLM_DIM_FS}, LLM_NEED_SHARED},
    {"ffn_up_shexp.weight", LLM_LAYER(up_shexp), {LLM_DIM_D, LLM_DIM_FS}, LLM_NEED_SHARED},
    {"ffn_down_shexp.weight", LLM_LAYER(down_shexp), {LLM_DIM_FS, LLM_DIM_D}, LLM_NEED_SHARED},
    {0},
};

static const llm_bind layers_3[] = {
    LAYERS_COMMON,
    {"attn_q_norm.weight", LLM_LAYER(q_norm), {LLM_DIM_K}, LLM_NEED_ALWAYS},
    {"attn_k_norm.weight", LLM_LAYER(k_norm), {LLM_DIM_K}, LLM_NEED_ALWAYS},
    {0},
};

static void defaults_3(const char *name, llm_hparams *hp) {
    (void)name;
    hp->expert_renorm = true;
}

/* Older qwen2moe files leave the widths of the experts to the tensors' shapes. */
static err_code adjust(const gguf *g, llm_hparams *hp, err *e) {
    (void)e;
    hp->rope.neox = hp->rope_local.neox = true;
    hp->window = 0;
    const gguf_tensor *one = gguf_find_tensor(g, "blk.0.ffn_gate_exps.weight");
    const gguf_tensor *shared = gguf_find_tensor(g, "blk.0.ffn_gate_shexp.weight");
    if (one && one->ne[1] <= (int64_t)LIMIT_FFN) hp->n_ff_exp = (int32_t)one->ne[1];
    if (shared && shared->ne[1] <= (int64_t)LIMIT_FFN) hp->n_ff_shexp = (int32_t)shared->ne[1];
    return ERR_OK;
}

static void build(llm_build *b) {
    graph_t x = llm_block_embed(b);
    for (int32_t il = 0; il < b->hp->n_layers; il++) {
        const llm_layer *l = &b->w->layers[il];
        graph_t a = llm_block_attend(b, il, llm_block_norm(b, x, &l->attn_norm), true);
        x = llm_block_project(b, il, a, llm_block_rows(b, il, x));
        x = llm_block_ffn(b, il, llm_block_norm(b, x, &l->ffn_norm), x, DEV_ACT_SILU);
    }
    llm_block_head(b, x);
}

const llm_arch llm_arch_qwen2 = {
    .names = names_2,
    .tensors = {globals, layers_2},
    .adjust = adjust,
    .build = build,
};

const llm_arch llm_arch_qwen3 = {
    .names = names_3,
    .tensors = {globals, layers_3},
    .defaults = defaults_3,
    .adjust = adjust,
    .build = build,
};
