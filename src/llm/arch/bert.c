/* bert and nomic-bert: texts to vectors. Attention both ways inside a text, norms behind the
 * residual sums, then pooling over the text's tokens. bert adds learned positions and has biases
 * and a plain GELU; nomic-bert rotates halves and has SiLU gates. */
#include "llm/arch/arch.h"

static const char *const names_bert[] = {"bert", NULL};
static const char *const names_nomic[] = {"nomic-bert", NULL};

#define GLOBALS_COMMON                                                                             \
    {"token_embd.weight", LLM_GLOBAL(embd), {LLM_DIM_D, LLM_DIM_V}, LLM_NEED_ALWAYS},              \
        {"token_types.weight", LLM_GLOBAL(type_embd), {LLM_DIM_D, LLM_DIM_ANY}, LLM_NEED_NEVER},   \
        {"token_embd_norm.weight", LLM_GLOBAL(embd_norm), {LLM_DIM_D}, LLM_NEED_ALWAYS}, {         \
        "token_embd_norm.bias", LLM_GLOBAL(embd_norm_b), {LLM_DIM_D}, LLM_NEED_NEVER               \
    }

static const llm_bind globals_bert[] = {
    GLOBALS_COMMON,
    {"position_embd.weight", LLM_GLOBAL(pos_embd), {LLM_DIM_D, LLM_DIM_ANY}, LLM_NEED_ALWAYS},
    {0},
};
static const llm_bind globals_nomic[] = {GLOBALS_COMMON, {0}};

#define LAYERS_COMMON                                                                              \
    {"attn_output.weight", LLM_LAYER(o), {LLM_DIM_HV, LLM_DIM_D}, LLM_NEED_ALWAYS},                \
        {"attn_output.bias", LLM_LAYER(o_b), {LLM_DIM_D}, LLM_NEED_NEVER},                         \
        {"attn_output_norm.weight", LLM_LAYER(post_attn_norm), {LLM_DIM_D}, LLM_NEED_ALWAYS},      \
        {"attn_output_norm.bias", LLM_LAYER(post_attn_norm_b), {LLM_DIM_D}, LLM_NEED_NEVER},       \
        {"ffn_up.weight", LLM_LAYER(up), {LLM_DIM_D, LLM_DIM_F}, LLM_NEED_ALWAYS},                 \
        {"ffn_up.bias", LLM_LAYER(up_b), {LLM_DIM_F}, LLM_NEED_NEVER},                             \
        {"ffn_down.weight", LLM_LAYER(down), {LLM_DIM_F, LLM_DIM_D}, LLM_NEED_ALWAYS},             \
        {"ffn_down.bias", LLM_LAYER(down_b), {LLM_DIM_D}, LLM_NEED_NEVER},                         \
        {"layer_output_norm.weight", LLM_LAYER(post_ffn_norm), {LLM_DIM_D}, LLM_NEED_ALWAYS}, {    \
        "layer_output_norm.bias", LLM_LAYER(post_ffn_norm_b), {LLM_DIM_D}, LLM_NEED_NEVER          \
    }

static const llm_bind layers_bert[] = {
    LAYERS_COMMON,
    {"attn_q.weight", LLM_LAYER(q), {LLM_DIM_D, LLM_DIM_HK}, LLM_NEED_ALWAYS},
    {"attn_k.weight", LLM_LAYER(k), {LLM_DIM_D, LLM_DIM_HKV_K}, LLM_NEED_ALWAYS},
    {"attn_v.weight", LLM_LAYER(v), {LLM_DIM_D, LLM_DIM_HKV_V}, LLM_NEED_ALWAYS},
    {"attn_q.bias", LLM_LAYER(q_b), {LLM_DIM_HK}, LLM_NEED_NEVER},
    {"attn_k.bias", LLM_LAYER(k_b), {LLM_DIM_HKV_K}, LLM_NEED_NEVER},
    {"attn_v.bias", LLM_LAYER(v_b), {LLM_DIM_HKV_V}, LLM_NEED_NEVER},
    {0},
};
static const llm_bind layers_nomic[] = {
    LAYERS_COMMON,
    {"attn_qkv.weight", LLM_LAYER(qkv), {LLM_DIM_D, LLM_DIM_QKV}, LLM_NEED_ALWAYS},
    {"attn_qkv.bias", LLM_LAYER(qkv_b), {LLM_DIM_QKV}, LLM_NEED_NEVER},
    {"ffn_gate.weight", LLM_LAYER(gate), {LLM_DIM_D, LLM_DIM_F}, LLM_NEED_ALWAYS},
    {0},
};

static void defaults_nomic(const char *name, llm_hparams *hp) {
    (void)name;
    hp->rope.freq_base = 1000;
}

static err_code adjust(const gguf *g, llm_hparams *hp, err *e) {
    if (hp->n_expert > 0)
        FAIL(e, UNSUPPORTED, STR_FMT " with experts is not known", STR_ARG(gguf_arch(g)));
    if (hp->pool == DEV_POOL_NONE) hp->pool = DEV_POOL_MEAN;
    hp->rope.neox = hp->rope_local.neox = true;
    hp->causal = false;
    hp->window = 0;
    const gguf_tensor *pos = gguf_find_tensor(g, "position_embd.weight");
    if (pos && pos->ne[1] < hp->ctx_train)
        FAIL(e, FORMAT, "position_embd.weight has %lld rows for a context of %d",
             (long long)pos->ne[1], hp->ctx_train);
    return ERR_OK;
}

static graph_t embed(llm_build *b) {
    graph *g = b->g;
    graph_t x = llm_block_embed(b);
    graph_t types = llm_block_weight(b, &b->w->type_embd);
    graph_t positions = llm_block_weight(b, &b->w->pos_embd);
    if (types) x = graph_add(g, x, graph_get_rows(g, types, graph_input(g, DEV_INPUT_TYPES), 1));
    if (positions)
        x = graph_add(g, x, graph_get_rows(g, positions, graph_input(g, DEV_INPUT_POS), 1));
    return llm_block_layer_norm(b, x, &b->w->embd_norm, &b->w->embd_norm_b);
}

static void build(llm_build *b) {
    graph_t x = embed(b);
    bool rotates = b->w->pos_embd.data == NULL;
    for (int32_t il = 0; il < b->hp->n_layers; il++) {
        const llm_layer *l = &b->w->layers[il];
        dev_act act = l->gate.data ? DEV_ACT_SILU : DEV_ACT_GELU_ERF;
        x = llm_block_project(b, il, llm_block_attend(b, il, x, rotates), x);
        x = llm_block_layer_norm(b, x, &l->post_attn_norm, &l->post_attn_norm_b);
        x = llm_block_ffn(b, il, x, x, act);
        x = llm_block_layer_norm(b, x, &l->post_ffn_norm, &l->post_ffn_norm_b);
    }
    graph_output(b->g, graph_pool(b->g, x, b->hp->pool), DEV_OUTPUT_EMBED);
}

const llm_arch llm_arch_bert = {
    .names = names_bert,
    .tensors = {globals_bert, layers_bert},
    .embeds = true,
    .adjust = adjust,
    .build = build,
};

const llm_arch llm_arch_nomic_bert = {
    .names = names_nomic,
    .tensors = {globals_nomic, layers_nomic},
    .embeds = true,
    .defaults = defaults_nomic,
    .adjust = adjust,
    .build = build,
};
