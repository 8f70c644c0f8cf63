/* LoRA adapters: small changes to a model's matrices, computed beside them.
 *
 * An adapter is a GGUF of general.type "adapter" and adapter.type "lora" with two matrices for each
 * one that it changes, named after it: NAME.lora_a [K, rank] and NAME.lora_b [rank, N] (of experts
 * [K, rank, E] and [rank, N, E]). A layer then gives W x + (alpha / rank) B (A x), alpha being
 * adapter.lora.alpha; 0 means a factor of 1. The base's weights are never touched, so that
 * quantised ones keep their meaning. Embedding tables cannot be changed.
 * Source: Hu et al. 2021, arXiv 2106.09685. Threads: one, while a model is loaded. */
#pragma once
#include "llm/weights.h"

/* The model: its general.architecture, and its bound weights. */
typedef struct llm_adapter_target {
    str arch;
    const llm_hparams *hp;
    const llm_bind_table *tensors;
    llm_weights *w;
} llm_adapter_target;

/* Checks every tensor of `adapter` against the weights of the model and fills w->loras and the
 * weights' lora and lora_scale. The list lives in `mem`, the matrices in the adapter's mapping.
 * FORMAT: no LoRA adapter, one for another architecture, tensors that are unknown, lack their
 * partner or have other shapes (both are named). LIMIT: a rank beyond LIMIT_ADAPTER_RANK.
 * UNSUPPORTED: tables of embeddings, vectors, types that cannot be computed with, adapters that
 * begin to act at certain tokens. On failure *w is of no use. */
err_code llm_adapter_bind(const gguf *adapter, const llm_adapter_target *to, arena *mem, err *e);
