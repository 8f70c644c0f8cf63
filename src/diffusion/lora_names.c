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

/* A place in the network: which side, which level, which block of it, which part of the block (0
 * residual, 1 attention, or resampling). */
typedef struct spot {
    bool up;
    int level, place, part;
} spot;

static bool put_part(char *dst, size_t cap, spot p, str rest) {
    char at[64];
    const char *side = p.up ? "up" : "down";
    if (p.up ? p.part > 0 && str_eq(rest, STR("conv")) : str_eq(rest, STR("op"))) {
        snprintf(at, sizeof at, "%s_blocks.%d.%ssamplers.0.conv", side, p.level, side);
        return put(dst, cap, at, STR(""));
    }
    snprintf(at, sizeof at, "%s_blocks.%d.%s.%d", side, p.level,
             p.part == 0 ? "resnets" : "attentions", p.place);
    return p.part == 0 ? put_res(dst, cap, at, rest) : put(dst, cap, at, rest);
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
    spot p = {.up = str_eq(head, STR("output_blocks")), .part = (int)part};
    if (!p.up && !str_eq(head, STR("input_blocks"))) return false;
    if (!p.up) n--; /* the first is the convolution in front */
    if (n < 0) return false;
    p.level = (int)n / per;
    p.place = (int)n % per;
    return put_part(dst, cap, p, rest);
}
