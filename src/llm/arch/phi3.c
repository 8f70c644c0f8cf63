/* phi3: Phi-3 and Phi-4. q, k and v in one matrix, gate and up in one matrix (gate first), rotation
 * of halves over part of the head, divisors for short and long contexts (longrope), and in the
 * small models a window on all layers. */
#include "llm/arch/arch.h"

static const char *const names[] = {"phi3", NULL};

static const llm_bind globals[] = {
    {"token_embd.weight", LLM_GLOBAL(embd), {LLM_DIM_D, LLM_DIM_V}, LLM_NEED_ALWAYS},
    {"output_norm.weight", LLM_GLOBAL(out_norm), {LLM_DIM_D}, LLM_NEED_ALWAYS},
    {"output.weight", LLM_GLOBAL(out), {LLM_DIM_D, LLM_DIM_V}, LLM_NEED_NEVER},
    {"rope_factors_long.weight", LLM_GLOBAL(rope_long), {LLM_DIM_ROT2}, LLM_NEED_NEVER},
    {"rope_factors_short.weight", LLM_GLOBAL(rope_short), {LLM_DIM_ROT2}, LLM_NEED_NEVER},
    {0},
};

static const llm_bind layers[] = {
    {"attn_norm.weight", LLM_LAYER(attn_norm), {LLM_DIM_D}, LLM_NEED_ALWAYS},
    {"attn_qkv.weight", LLM_LAYER(qkv), {LLM_DIM_D, LLM_DIM_QKV}, LLM_NEED_ALWAYS},
    {"attn_qkv.bias", LLM_LAYER(qkv_b), {LLM_DIM_QKV}, LLM_NEED_NEVER},
    {"attn_output.weight", LLM_LAYER(o), {LLM_DIM_HV, LLM_DIM_D}, LLM_NEED_ALWAYS},
    {"ffn_norm.weight", LLM_LAYER(ffn_norm), {LLM_DIM_D}, LLM_NEED_ALWAYS},
    {"ffn_up.weight", LLM_LAYER(up), {LLM_DIM_D, LLM_DIM_2F}, LLM_NEED_ALWAYS},
    {"ffn_down.weight", LLM_LAYER(down), {LLM_DIM_F, LLM_DIM_D}, LLM_NEED_ALWAYS},
    {0},
};

static err_code adjust(const gguf *g, llm_hparams *hp, err *e) {
    if (hp->n_expert > 0) FAIL(e, UNSUPPORTED, "phi3 with experts is not known");
    hp->rope.neox = hp->rope_local.neox = true;
    /* Files with divisors name no scaling type. */
    bool has_long = gguf_find_tensor(g, "rope_factors_long.weight") != NULL;
    if (has_long != (gguf_find_tensor(g, "rope_factors_short.weight") != NULL))
        FAIL(e, FORMAT, "only one of rope_factors_long and rope_factors_short is there");
    if (has_long)
        hp->rope_scaling = LLM_ROPE_LONG;
    else if (hp->rope_scaling == LLM_ROPE_LONG)
        FAIL(e, NOT_FOUND, "longrope without the tensor rope_factors_long.weight");
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

const llm_arch llm_arch_phi3 = {
    .names = names, .tensors = {globals, layers}, .adjust = adjust, .build = build};
