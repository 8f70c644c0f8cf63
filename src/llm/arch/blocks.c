/* Shared pieces of the families' graphs (see blocks.h). Called while a program is built, between
 * graph_create and graph_plan. */
#include "llm/arch/blocks.h"

graph_t llm_block_weight(const llm_build *b, const llm_weight *w) {
    if (!w->data) return NULL;
    if (w->interleaved) return graph_weight_interleaved(b->g, w->type, w->n_dims, w->ne, w->data);
    return graph_weight(b->g, w->type, w->n_dims, w->ne, w->data);
}

graph_t llm_block_embed(const llm_build *b) {
    return graph_get_rows(b->g, llm_block_weight(b, &b->w->embd),
                          graph_input(b->g, DEV_INPUT_TOKENS), b->hp->embd_scale);
}

graph_t llm_block_norm(const llm_build *b, graph_t x, const llm_weight *w) {
    return graph_rms_norm(b->g, x, llm_block_weight(b, w), b->hp->norm_eps);
}

graph_t llm_block_layer_norm(const llm_build *b, graph_t x, const llm_weight *w,
                             const llm_weight *bias) {
    return graph_layer_norm(b->g, x, llm_block_weight(b, w), llm_block_weight(b, bias),
                            b->hp->norm_eps);
}

/* A pair of an adapter's matrices; which: 0 = A, 1 = B. */
static graph_t lora(const llm_build *b, const llm_weight *w, int which) {
    return llm_block_weight(b, &b->w->loras[2 * (w->lora - 1) + which]);
}

/* w x + bias + residual, and what an adapter adds: scale B (A x). */
static graph_t linear_add(const llm_build *b, graph_t x, const llm_weight *w,
                          const llm_weight *bias, graph_t residual) {
    graph_t y =
        graph_matmul_add(b->g, llm_block_weight(b, w), x, llm_block_weight(b, bias), residual);
    if (!w->lora) return y;
    graph_t low = graph_scale(b->g, graph_matmul(b->g, lora(b, w, 0), x, NULL), w->lora_scale, 0);
    return graph_matmul_add(b->g, lora(b, w, 1), low, NULL, y);
}

static graph_t linear(const llm_build *b, graph_t x, const llm_weight *w, const llm_weight *bias) {
    return linear_add(b, x, w, bias, NULL);
}

/* The same for the experts `ids` of each token. */
static graph_t linear_experts(const llm_build *b, graph_t x, const llm_weight *w, graph_t ids) {
    graph_t y = graph_matmul_id(b->g, llm_block_weight(b, w), x, ids, NULL);
    if (!w->lora) return y;
    graph_t low = graph_matmul_id(b->g, lora(b, w, 0), x, ids, NULL);
    low = graph_scale(b->g, low, w->lora_scale, 0);
    return graph_add(b->g, y, graph_matmul_id(b->g, lora(b, w, 1), low, ids, NULL));
}

/* [K H, T] -> [K, H, T] */
static graph_t heads(const llm_build *b, graph_t x, int32_t dim, int32_t n_head) {
    int64_t ne[4] = {dim, n_head, 1, 1};
    return graph_reshape(b->g, x, 3, ne);
}

typedef struct qkv {
    graph_t q, k, v; /* [K, H, T], [K, Hkv, T], [Kv, Hkv, T] */
} qkv;

static qkv project_qkv(const llm_build *b, const llm_layer *l, graph_t x) {
    const llm_hparams *hp = b->hp;
    int64_t n_q = (int64_t)hp->n_head * hp->head_dim_k;
    int64_t n_k = (int64_t)hp->n_head_kv * hp->head_dim_k;
    int64_t n_v = (int64_t)hp->n_head_kv * hp->head_dim_v;
    qkv r;
    if (l->qkv.data) {
        graph_t all = linear(b, x, &l->qkv, &l->qkv_b);
        r.q = graph_slice(b->g, all, 0, n_q);
        r.k = graph_slice(b->g, all, n_q, n_k);
        r.v = graph_slice(b->g, all, n_q + n_k, n_v);
    } else {
        r.q = linear(b, x, &l->q, &l->q_b);
        r.k = linear(b, x, &l->k, &l->k_b);
        r.v = linear(b, x, &l->v, &l->v_b);
    }
    r.q = heads(b, r.q, hp->head_dim_k, hp->n_head);
    r.k = heads(b, r.k, hp->head_dim_k, hp->n_head_kv);
    r.v = heads(b, r.v, hp->head_dim_v, hp->n_head_kv);
    if (l->q_norm.data) r.q = llm_block_norm(b, r.q, &l->q_norm);
    if (l->k_norm.data) r.k = llm_block_norm(b, r.k, &l->k_norm);
    return r;
}

static graph_t rotate(const llm_build *b, graph_t x, bool local) {
    const dev_rope *p = local ? &b->hp->rope_local : &b->hp->rope;
    const llm_weight *divisors = &b->w->rope_divisors;
    if (b->hp->rope_scaling == LLM_ROPE_LONG)
        divisors = b->long_ctx ? &b->w->rope_long : &b->w->rope_short;
    return graph_rope(b->g, x, graph_input(b->g, DEV_INPUT_POS), llm_block_weight(b, divisors), p);
}

graph_t llm_block_attend(const llm_build *b, int32_t il, graph_t x, bool rotated) {
    const llm_hparams *hp = b->hp;
    bool local = llm_hparams_is_local(hp, il);
    dev_attention p = {.scale = hp->attn_scale,
                       .softcap = hp->attn_softcap,
                       .window = local ? hp->window : 0,
                       .layer = il,
                       .n_head_kv = hp->n_head_kv};
    qkv s = project_qkv(b, &b->w->layers[il], x);
    if (rotated) {
        s.q = rotate(b, s.q, local);
        s.k = rotate(b, s.k, local);
    }
    if (b->embeds) return graph_attention_full(b->g, s.q, s.k, s.v, &p);
    graph_kv_store(b->g, s.k, s.v, &p);
    return llm_block_rows(b, il, graph_attention(b->g, s.q, NULL, hp->head_dim_v, &p));
}

graph_t llm_block_rows(const llm_build *b, int32_t il, graph_t x) {
    if (b->embeds || il != b->hp->n_layers - 1) return x;
    return graph_take_rows(b->g, x, graph_input(b->g, DEV_INPUT_OUT_ROWS));
}

graph_t llm_block_project(const llm_build *b, int32_t il, graph_t x, graph_t residual) {
    const llm_layer *l = &b->w->layers[il];
    return linear_add(b, x, &l->o, &l->o_b, residual);
}

/* The expert that every token uses, weighted by a sigmoid gate where there is one. */
static graph_t shared_expert(const llm_build *b, const llm_layer *l, graph_t x, dev_act act) {
    graph_t mid = graph_glu(b->g, linear(b, x, &l->gate_shexp, &(llm_weight){0}),
                            linear(b, x, &l->up_shexp, &(llm_weight){0}), act);
    graph_t out = linear(b, mid, &l->down_shexp, &(llm_weight){0});
    if (!l->router_shexp.data) return out;
    graph_t gate =
        graph_act(b->g, linear(b, x, &l->router_shexp, &(llm_weight){0}), DEV_ACT_SIGMOID);
    int64_t ne[4] = {b->hp->n_embd, 1, 1, 1}; /* a mixture of one expert: weight [1, T] */
    return graph_moe_sum(b->g, graph_reshape(b->g, out, 3, ne), gate);
}

static graph_t experts(const llm_build *b, const llm_layer *l, graph_t x, dev_act act) {
    const llm_hparams *hp = b->hp;
    graph *g = b->g;
    graph_t probs = graph_softmax(g, linear(b, x, &l->router, &(llm_weight){0}));
    graph_t ids = graph_top_k(g, probs, hp->n_expert_used);
    graph_t wts = graph_moe_weights(g, probs, ids, hp->expert_renorm, hp->expert_scale);
    graph_t mid = graph_glu(g, linear_experts(b, x, &l->gate_exps, ids),
                            linear_experts(b, x, &l->up_exps, ids), act);
    return graph_moe_sum(g, linear_experts(b, mid, &l->down_exps, ids), wts);
}

graph_t llm_block_ffn(const llm_build *b, int32_t il, graph_t x, graph_t residual, dev_act act) {
    const llm_layer *l = &b->w->layers[il];
    if (l->router.data) {
        graph_t out = experts(b, l, x, act);
        if (l->up_shexp.data) out = graph_add(b->g, out, shared_expert(b, l, x, act));
        return residual ? graph_add(b->g, out, residual) : out;
    }
    graph_t up = linear(b, x, &l->up, &l->up_b), mid;
    if (l->gate.data)
        mid = graph_glu(b->g, linear(b, x, &l->gate, &l->gate_b), up, act);
    else if (l->up.ne[1] == 2 * l->down.ne[0])
        mid = graph_glu(b->g, up, NULL, act);
    else
        mid = graph_act(b->g, up, act);
    return linear_add(b, mid, &l->down, &l->down_b, residual);
}

void llm_block_head(const llm_build *b, graph_t x) {
    x = llm_block_norm(b, x, &b->w->out_norm);
    x = linear(b, x, &b->w->out, &b->w->out_b);
    if (b->hp->final_softcap > 0) x = graph_softcap(b->g, x, b->hp->final_softcap);
    graph_output(b->g, x, DEV_OUTPUT_LOGITS);
}
