/* A checkpoint file: which family it is of, and its parts bound to a device.
 *
 * Recognised by tensor names and shapes: SD1.x, SD2.x (eps and v), SDXL base and refiner, their
 * inpainting variants. Parts may also come from files of their own. Threads: see net.h. */
#pragma once
#include "diffusion/arch/vae.h"
#include "diffusion/guide.h"
#include "diffusion/prompt.h"

typedef enum diff_family {
    DIFF_SD1,
    DIFF_SD2,
    DIFF_SDXL,
    DIFF_SDXL_REFINER,
    DIFF_FAMILY_COUNT
} diff_family;
/* What a latent of the VAE is multiplied by for the network. */
#define DIFF_SCALE_SD 0.18215
#define DIFF_SCALE_SDXL 0.13025
const char *diff_family_name(diff_family f); /* "SD1.x"; never NULL */

/* The text side: one or two encoders and how the family uses them. */
typedef struct diff_clip {
    _Atomic int refs;
    diff_family family;
    clip_text *l, *g; /* SD1: l; SD2 and the refiner: g; SDXL: both. NULL where there is none */
    int32_t layer;    /* 0 = the family's; else as CLIPSetLastLayer */
} diff_clip;
diff_clip *diff_clip_ref(diff_clip *c);
void diff_clip_unref(diff_clip **c);
diff_clip *diff_clip_copy(const diff_clip *c); /* shares the encoders */

/* One cond for the texts (of l and g; both the same where only one was given). */
typedef struct diff_texts {
    str l, g;
    const prompt_embeddings *embeddings;
} diff_texts;
err_code diff_clip_encode(diff_clip *c, const diff_texts *t, const diff_gate *gate, diff_cond **ret,
                          err *e);

/* Parts; those that a file lacks are NULL. The caller's. */
typedef struct diff_parts {
    diff_family family;
    diff_model *model;
    diff_clip *clip;
    vae *vae;
} diff_parts;
/* FORMAT when the file has no network of a known family. */
err_code diff_checkpoint_open(dev *d, const char *path, diff_parts *ret, err *e);
void diff_parts_finish(diff_parts *p);

/* Single parts from files of their own. */
err_code diff_model_open(dev *d, const char *path, diff_model **ret, err *e);
err_code diff_vae_open(dev *d, const char *path, vae **ret, err *e);
/* TAESD from two files; encoder may be NULL. */
err_code diff_tiny_open(dev *d, const char *decoder, const char *encoder, double scale, vae **ret,
                        err *e);
err_code diff_clip_open(dev *d, const char *const *paths, size_t n, diff_clip **ret, err *e);

/* With a LoRA over it: what the file does not change is shared. INVALID when it fits nothing. */
struct lora;
err_code diff_model_with_lora(const diff_model *m, struct lora *l, double strength,
                              diff_model **ret, err *e);
err_code diff_clip_with_lora(const diff_clip *c, struct lora *l, double strength, diff_clip **ret,
                             err *e);

/* What suits a checkpoint when nothing else is said: from its metadata, else its family. */
typedef struct diff_defaults {
    int32_t width, height, steps;
    double cfg;
    const char *sampler, *scheduler;
} diff_defaults;
err_code diff_checkpoint_defaults(const char *path, diff_defaults *ret, err *e);
