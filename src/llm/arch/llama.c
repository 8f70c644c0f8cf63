/* llama: Llama 1 to 3, Mistral, SmolLM, TinyLlama and whatever was converted under that name; with
 * expert_count also Mixtral. Pre-norm blocks, rotation of adjacent pairs, optional biases and
 * Llama 3's frequency divisors. */
#include "llm/arch/arch.h"

static const char *const names[] = {"llama", NULL};

static const llm_bind globals[] = {
    {"token_embd.weight", LLM_GLOBAL(embd), {LLM_DIM_D, LLM_DIM_V}, LLM_NEED_ALWAYS},
    {"output_norm.weight", LLM_GLOBAL(out_norm), {LLM_DIM_D}, LLM_NEED_ALWAYS},
    {"output.weight", LLM_GLOBAL(out), {LLM_DIM_D, LLM_DIM_V}, LLM_NEED_NEVER},
    {"rope_freqs.weight", LLM_GLOBAL(rope_divisors), {LLM_DIM_ROT2}, LLM_NEED_NEVER},
    {0},
};

static const llm_bind layers[] = {
    {"attn_norm.weight", LLM_LAYER(attn_norm), {LLM_DIM_D}, LLM_NEED_ALWAYS},
    {"attn_q.weight", LLM_LAYER(q), {LLM_DIM_D, LLM_DIM_HK}, LLM_NEED_ALWAYS},
    {"attn_k.weight", LLM_LAYER(k), {LLM_DIM_D, LLM_DIM_HKV_K}, LLM_NEED_ALWAYS},
    {"attn_v.weight", LLM_LAYER(v), {LLM_DIM_D, LLM_DIM_HKV_V}, LLM_NEED_ALWAYS},
    {"attn_output.weight", LLM_LAYER(o), {LLM_DIM_HV, LLM_DIM_D}, LLM_NEED_ALWAYS},
    {"attn_q.bias", LLM_LAYER(q_b), {LLM_DIM_HK}, LLM_NEED_NEVER},
    {"attn_k.bias", LLM_LAYER(k_b), {LLM_DIM_HKV_K}, LLM_NEED_NEVER},
    {"attn_v.bias", LLM_LAYER(v_b), {LLM_DIM_HKV_V}, LLM_NEED_NEVER},
    {"attn_output.bias", LLM_LAYER(o_b), {LLM_DIM_D}, LLM_NEED_NEVER},
    {"ffn_norm.weight", LLM_LAYER(ffn_norm), {LLM_DIM_D}, LLM_NEED_ALWAYS},
    {"ffn_gate.weight", LLM_LAYER(gate), {LLM_DIM_D, LLM_DIM_F}, LLM_NEED_DENSE},
    {"ffn_up.weight", LLM_LAYER(up), {LLM_DIM_D, LLM_DIM_F}, LLM_NEED_DENSE},
    {"ffn_down.weight", LLM_LAYER(down), {LLM_DIM_F, LLM_DIM_D}, LLM_NEED_DENSE},
    {"ffn_gate.bias", LLM_LAYER(gate_b), {LLM_DIM_F}, LLM_NEED_NEVER},
    {"ffn_up.bias", LLM_LAYER(up_b), {LLM_DIM_F}, LLM_NEED_NEVER},
    {"ffn_down.bias", LLM_LAYER(down_b), {LLM_DIM_D}, LLM_NEED_NEVER},
    {"ffn_gate_inp.weight", LLM_LAYER(router), {LLM_DIM_D, LLM_DIM_E}, LLM_NEED_EXPERTS},
    {"ffn_gate_exps.weight",
     LLM_LAYER(gate_exps),
     {LLM_DIM_D, LLM_DIM_FE, LLM_DIM_E},
     LLM_NEED_EXPERTS},
    {"ffn_up_exps.weight",
     LLM_LAYER(up_exps),
     {LLM_DIM_D, LLM_DIM_FE, LLM_DIM_E},
     LLM_NEED_EXPERTS},
    {"ffn_down_exps.weight",
     LLM_LAYER(down_exps),
     {LLM_DIM_FE, LLM_DIM_D, LLM_DIM_E},
     LLM_NEED_EXPERTS},
    {0},
};

static void defaults(const char *name, llm_hparams *hp) {
    (void)name;
    hp->expert_renorm = true;
}

static err_code adjust(const gguf *g, llm_hparams *hp, err *e) {
    (void)g, (void)e;
    hp->window = 0; /* Mistral's files never say so, and its successors have none */
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

const llm_arch llm_arch_llama = {
    .names = names,
    .tensors = {globals, layers},
    .defaults = defaults,
    .adjust = adjust,
    .build = build,
};
