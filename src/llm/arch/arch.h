/* The table of model families.
 *
 * A family is a file in this directory: which names in general.architecture it answers to, which
 * tensors it has, how it adjusts the hyper-parameters, and how it builds a step's graph from the
 * pieces in blocks.h. Adding one means adding a file and a line in arch.c. Everything here is
 * constant; any thread. */
#pragma once
#include "llm/arch/blocks.h"

typedef struct llm_arch {
    const char *const *names; /* ends with NULL */
    llm_bind_table tensors;
    bool embeds; /* text to vectors: bidirectional, no KV cache */
    /* Family defaults before the keys are read, and corrections after. Either may be NULL. */
    void (*defaults)(const char *name, llm_hparams *hp);
    err_code (*adjust)(const gguf *g, llm_hparams *hp, err *e);
    /* Builds the whole step and marks its output. */
    void (*build)(llm_build *b);
} llm_arch;

/* By the value of general.architecture. UNSUPPORTED names it and lists what is known. */
err_code llm_arch_find(str name, const llm_arch **ret, err *e);

extern const llm_arch llm_arch_llama, llm_arch_qwen2, llm_arch_qwen3, llm_arch_gemma,
    llm_arch_gemma2, llm_arch_gemma3, llm_arch_phi3, llm_arch_bert, llm_arch_nomic_bert;
