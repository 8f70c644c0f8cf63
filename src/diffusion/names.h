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
/* False when the layout has no such name. ret is written whole or cut, always ended. */
bool names_diffusers(const names_file *f, const char *ldm, char ret[NAMES_BYTES]);
