/* Pieces of transformer graphs that families share.
 *
 * A family's build function strings these together. b->w and b->hp are checked against each other,
 * so nothing here can meet a shape that does not fit; graph/ checks again anyway.
 * Shapes: [D, T] is one row of width D per token; O = rows whose logits are wanted. In the last
 * layer of a generating model everything after the attention is computed for those rows only.
 * Threads: one. */
#pragma once
#include "graph/graph.h"
#include "llm/weights.h"

typedef struct llm_build {
    graph *g;
    const llm_hparams *hp;
    const llm_weights *w;
    bool embeds;   /* no KV cache: attention inside the step's sequences, both ways unless causal */
    bool long_ctx; /* longrope: the long divisors */
} llm_build;

/* A weight as a tensor of the graph; NULL when the model does not have it. */
graph_t llm_block_weight(const llm_build *b, const llm_weight *w);

/* Token embeddings times hp->embd_scale -> [D, T]. */
graph_t llm_block_embed(const llm_build *b);

/* RMS norm with hp->norm_eps. */
graph_t llm_block_norm(const llm_build *b, graph_t x, const llm_weight *w);
/* Layer norm; bias may be absent. */
graph_t llm_block_layer_norm(const llm_build *b, graph_t x, const llm_weight *w,
                             const llm_weight *bias);

/* Projections (separate or fused, with biases and per-head norms where the model has them),
 * rotation (`rotate`), KV store and attention of layer il -> [Kv H, T], or [Kv H, O] in the last
 * layer of a generating model. x [D, T] is already normalised. */
graph_t llm_block_attend(const llm_build *b, int32_t il, graph_t x, bool rotate);

/* The residual stream cut to the wanted rows in the last layer: [D, T] -> [D, T or O]. */
graph_t llm_block_rows(const llm_build *b, int32_t il, graph_t x);

/* Output projection: o x + bias (+ residual, may be NULL). */
graph_t llm_block_project(const llm_build *b, int32_t il, graph_t x, graph_t residual);

/* Feed-forward block of layer il on normalised x (+ residual, may be NULL): a mixture of experts
 * where the layer has a router, else gated (gate and up, or both in one) or plain. */
graph_t llm_block_ffn(const llm_build *b, int32_t il, graph_t x, graph_t residual, dev_act act);

/* Final norm, output matrix, soft cap; marks the logits [V, O]. */
void llm_block_head(const llm_build *b, graph_t x);
