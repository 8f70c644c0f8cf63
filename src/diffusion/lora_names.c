/* Names of layers. */
#include "diffusion/lora_names.h"
#include "base/mem.h"
#include <stdio.h>

typedef struct pair {
    const char *from, *to;
} pair;

/* Inside a residual block. */
static const pair RES[] = {{"in_layers.0", "norm1"},          {"in_layers.2", "conv1"},
                           {"emb_layers.1", "time_emb_proj"}, {"out_layers.0", "norm2"},
                           {"out_layers.3", "conv2"},         {"skip_connection", "conv_shortcut"}};
static const pair FIXED[] = {{"time_embed.0", "time_embedding.linear_1"},
                             {"time_embed.2", "time_embedding.linear_2"},
                             {"label_emb.0.0", "add_embedding.linear_1"},
                             {"label_emb.0.2", "add_embedding.linear_2"},
                             {"input_blocks.0.0", "conv_in"},
                             {"out.0", "conv_norm_out"},
                             {"out.2", "conv_out"}};

static bool put(char *dst, size_t cap, const char *at, str rest) {
    int n = snprintf(dst, cap, "%s%s" STR_FMT, at, rest.len ? "." : "", STR_ARG(rest));
    return n > 0 && (size_t)n < cap;
}

static bool put_res(char *dst, size_t cap, const char *at, str rest) {
    for (size_t i = 0; i < COUNT_OF(RES); i++)
        if (str_eq(rest, str_from(RES[i].from))) return put(dst, cap, at, str_from(RES[i].to));
    return false;
}

/* Part `j` of a numbered block: 0 residual, 1 attention, or resampling. */
static bool put_part(char *dst, size_t cap, const char *side, int level, int place, int part,
                     str rest) {
    char at[64];
    bool up = side[0] == 'u';
    if (str_starts(rest, STR("op"))) {
        snprintf(at, sizeof at, "down_blocks.%d.downsamplers.0.conv", level);
        return put(dst, cap, at, STR(""));
    }
    if (up && part > 0 && str_eq(rest, STR("conv"))) {
        snprintf(at, sizeof at, "up_blocks.%d.upsamplers.0.conv", level);
        return put(dst, cap, at, STR(""));
    }
    snprintf(at, sizeof at, "%s.%d.%s.%d", side, level, part == 0 ? "resnets" : "attentions",
             place);
    return part == 0 ? put_res(dst, cap, at, rest) : put(dst, cap, at, rest);
}

bool lora_diffusers_name(str name, int n_res, char *dst, size_t cap) {
    for (size_t i = 0; i < COUNT_OF(FIXED); i++)
        if (str_eq(name, str_from(FIXED[i].from))) return put(dst, cap, FIXED[i].to, STR(""));
    str rest = name, head = str_cut(&rest, '.'), number = str_cut(&rest, '.');
    int64_t n, part;
    if (!str_to_i64(number, &n) || n < 0 || n > 1000 || n_res < 1) return false;
    if (str_eq(head, STR("middle_block"))) {
        if (n == 1) return put(dst, cap, "mid_block.attentions.0", rest);
        return put_res(dst, cap, n == 0 ? "mid_block.resnets.0" : "mid_block.resnets.1", rest);
    }
    if (!str_to_i64(str_cut(&rest, '.'), &part) || part < 0 || part > 2) return false;
    int per = n_res + 1;
    if (str_eq(head, STR("input_blocks")))
        return put_part(dst, cap, "down_blocks", (int)(n - 1) / per, (int)(n - 1) % per, (int)part,
                        rest);
    if (str_eq(head, STR("output_blocks")))
        return put_part(dst, cap, "up_blocks", (int)n / per, (int)n % per, (int)part, rest);
    return false;
}
