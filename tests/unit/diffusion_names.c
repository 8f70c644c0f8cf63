/* Names of the diffusers layout for those of the original one, for files with two residual blocks a
 * level (SD1.x's shape) and an autoencoder of four levels. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "diffusion/names.h"
#include <stdio.h>
#include <string.h>

/* Two residual blocks going down, three going up, no attention in the last level down and the first
 * up. */
static bool has(void *ctx, const char *name) {
    (void)ctx;
    int i, j, used = 0;
    if (sscanf(name, "down_blocks.%d.resnets.%d.norm1.weight%n", &i, &j, &used) == 2 && used)
        return i < 4 && j < 2;
    if (sscanf(name, "up_blocks.%d.resnets.%d.norm1.weight%n", &i, &j, &used) == 2 && used)
        return i < 4 && j < 3;
    if (sscanf(name, "down_blocks.%d.attentions.%d.norm.weight%n", &i, &j, &used) == 2 && used)
        return i < 3 && j < 2;
    if (sscanf(name, "up_blocks.%d.attentions.%d.norm.weight%n", &i, &j, &used) == 2 && used)
        return i > 0 && j < 3;
    if (sscanf(name, "decoder.up_blocks.%d.resnets.0.norm1.weight%n", &i, &used) == 1 && used)
        return i < 4;
    return strcmp(name, "decoder.mid_block.attentions.0.to_q.weight") == 0;
}

static void test_names(void **state) {
    (void)state;
    static const char *const PAIRS[][2] = {
        {"input_blocks.0.0.weight", "conv_in.weight"},
        {"input_blocks.1.0.in_layers.0.weight", "down_blocks.0.resnets.0.norm1.weight"},
        {"input_blocks.2.1.transformer_blocks.0.attn2.to_k.weight",
         "down_blocks.0.attentions.1.transformer_blocks.0.attn2.to_k.weight"},
        {"input_blocks.3.0.op.bias", "down_blocks.0.downsamplers.0.conv.bias"},
        {"input_blocks.4.0.skip_connection.weight", "down_blocks.1.resnets.0.conv_shortcut.weight"},
        {"input_blocks.11.0.out_layers.3.bias", "down_blocks.3.resnets.1.conv2.bias"},
        {"input_blocks.11.1.norm.weight", "down_blocks.3.attentions.1.norm.weight"}, /* if any */
        {"input_blocks.11.2.norm.weight", NULL},
        {"middle_block.1.proj_in.weight", "mid_block.attentions.0.proj_in.weight"},
        {"middle_block.2.emb_layers.1.weight", "mid_block.resnets.1.time_emb_proj.weight"},
        {"output_blocks.2.1.conv.weight", "up_blocks.0.upsamplers.0.conv.weight"},
        {"output_blocks.2.2.conv.weight", NULL},
        {"output_blocks.1.1.conv.weight", NULL},
        {"output_blocks.5.2.conv.weight", "up_blocks.1.upsamplers.0.conv.weight"},
        {"output_blocks.11.1.norm.weight", "up_blocks.3.attentions.2.norm.weight"},
        {"label_emb.0.2.bias", "add_embedding.linear_2.bias"},
        {"out.2.weight", "conv_out.weight"},
        {"decoder.up.3.block.0.conv1.weight", "decoder.up_blocks.0.resnets.0.conv1.weight"},
        {"decoder.up.0.block.2.nin_shortcut.weight",
         "decoder.up_blocks.3.resnets.2.conv_shortcut.weight"},
        {"decoder.up.1.upsample.conv.bias", "decoder.up_blocks.2.upsamplers.0.conv.bias"},
        {"decoder.up.4.block.0.conv1.weight", NULL},
        {"encoder.down.2.downsample.conv.weight",
         "encoder.down_blocks.2.downsamplers.0.conv.weight"},
        {"encoder.mid.attn_1.q.weight", "encoder.mid_block.attentions.0.query.weight"},
        {"decoder.mid.attn_1.proj_out.bias", "decoder.mid_block.attentions.0.to_out.0.bias"},
        {"decoder.mid.block_2.norm1.bias", "decoder.mid_block.resnets.1.norm1.bias"},
        {"decoder.norm_out.weight", "decoder.conv_norm_out.weight"},
        {"input_blocks.-1.0.in_layers.0.weight", NULL},
        {"alphas_cumprod", NULL}};
    names_file f = {NULL, has};
    for (size_t i = 0; i < COUNT_OF(PAIRS); i++) {
        char got[NAMES_BYTES];
        bool found = names_diffusers(&f, PAIRS[i][0], got);
        if (!PAIRS[i][1]) {
            if (found) fail_msg("%s became %s", PAIRS[i][0], got);
            continue;
        }
        if (!found) fail_msg("%s was not found (%s)", PAIRS[i][0], got);
        assert_string_equal(got, PAIRS[i][1]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_names)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
