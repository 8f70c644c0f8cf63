/* Names of the diffusers layout for those of the original (LDM) layout.
 *
 * Networks are described by the original names; a file may keep them as diffusers does (its unet/
 * and vae/ folders). Pure but for what `has` asks. Threads: any.
 * Source: diffusers, scripts/convert_diffusers_to_original_stable_diffusion.py (the tables). */
#pragma once
#include "base/str.h"
#include <stddef.h>

/* Whether the file has a tensor of this name. */
typedef struct names_file {
    void *ctx;
    bool (*has)(void *ctx, const char *name);
} names_file;

enum { NAMES_BYTES = 256 };
/* A layer of the UNet, without ".weight": "input_blocks.1.1.proj_in" as
 * "down_blocks.0.attentions.0.proj_in"; false when there is no such name. n_res: residual blocks a
 * level. dst has room for cap bytes. */
bool names_unet_layer(str layer, int n_res, char *dst, size_t cap);
/* False when the layout has no such name. ret is written whole or cut, always ended. */
bool names_diffusers(const names_file *f, const char *ldm, char ret[NAMES_BYTES]);
