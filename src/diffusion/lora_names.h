/* Names of layers: the original layout of the SD UNet to that of diffusers. */
#pragma once
#include "base/str.h"

/* "input_blocks.1.1.proj_in" as "down_blocks.0.attentions.0.proj_in"; false when there is no such
 * name. n_res: residual blocks a level. dst has room for cap bytes. */
bool lora_diffusers_name(str name, int n_res, char *dst, size_t cap);
