/* Adapter files (LoRA and its kin): small changes to the weights of a network or a text encoder.
 *
 * LoRA with or without a middle, LoHa, LoKr, DoRA and plain differences; the formulas are in
 * lora_delta.h. Names are those of kohya's trainers (lora_unet_..., lora_te_...) and of diffusers
 * and PEFT (unet...., text_encoder....), with the network's own or diffusers' layer names. Tensors
 * that fit nothing are left out. Owner: counted references. Threads: read-only after opening. */
#pragma once
#include "diffusion/weights.h"

typedef struct lora lora;

typedef enum lora_target {
    LORA_UNET,
    LORA_CLIP_L, /* the transformers layout */
    LORA_CLIP_G  /* OpenCLIP's layout */
} lora_target;

/* UNSUPPORTED names the kind (OFT, GLoRA) and what to do. */
err_code lora_open(const char *path, lora **ret, err *e);
void lora_unref(lora **l);
/* A patch that changes the target's tensors w; it holds a reference of its own. */
diff_patch lora_patch(lora *l, lora_target target, const diff_weights *w, double strength);
/* How many tensors of w it changes. */
size_t lora_n_touched(lora *l, lora_target target, const diff_weights *w);
