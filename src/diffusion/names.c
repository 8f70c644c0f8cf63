/* From names of the original layout to those of diffusers: block numbers and words. */
#include "diffusion/names.h"
#include "base/mem.h"
#include <stdio.h>
#include <string.h>

enum { BLOCKS_MAX = 16 };

typedef struct word {
    const char *from, *to;
} word;

/* The words of a table at the start of `rest`, replaced; else as they are. */
static const char *replaced(const word *table, size_t n, const char **rest) {
    for (size_t i = 0; i < n; i++) {
        size_t len = strlen(table[i].from);
        if (strncmp(*rest, table[i].from, len) != 0) continue;
        *rest += len;
        return table[i].to;
    }
    return "";
}

static int count(const names_file *f, const char *fmt_head, const char *tail) {
    int n = 0;
    for (; n < BLOCKS_MAX; n++) {
        char name[NAMES_BYTES];
        snprintf(name, sizeof name, "%s%d%s", fmt_head, n, tail);
        if (!f->has(f->ctx, name)) break;
    }
    return n;
}

/* ---- the denoising network ---- */

/* Inside a residual block. */
static const word RES[] = {{"in_layers.0", "norm1"},          {"in_layers.2", "conv1"},
                           {"emb_layers.1", "time_emb_proj"}, {"out_layers.0", "norm2"},
                           {"out_layers.3", "conv2"},         {"skip_connection", "conv_shortcut"}};
static const word FIXED[] = {{"time_embed.0", "time_embedding.linear_1"},
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
    bool up, last; /* last: of its level */
    int level, place, part;
} spot;

static bool put_part(char *dst, size_t cap, spot p, str rest) {
    char at[64];
    const char *side = p.up ? "up" : "down";
    if (p.up ? p.part > 0 && p.last && str_eq(rest, STR("conv")) : str_eq(rest, STR("op"))) {
        snprintf(at, sizeof at, "%s_blocks.%d.%ssamplers.0.conv", side, p.level, side);
        return put(dst, cap, at, STR(""));
    }
    if (p.part > 1 || (p.up && str_eq(rest, STR("conv")))) return false;
    snprintf(at, sizeof at, "%s_blocks.%d.%s.%d", side, p.level,
             p.part == 0 ? "resnets" : "attentions", p.place);
    return p.part == 0 ? put_res(dst, cap, at, rest) : put(dst, cap, at, rest);
}

bool names_unet_layer(str name, int n_res, char *dst, size_t cap) {
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
    p.last = p.place == per - 1;
    return put_part(dst, cap, p, rest);
}

/* Where the last block of a level has its upsampling: behind the attention, if it has one. */
static bool is_upsampler_here(const names_file *f, str layer, int n_res) {
    char norm[NAMES_BYTES], other[NAMES_BYTES], weight[NAMES_BYTES + 8];
    if (!str_starts(layer, STR("output_blocks.")) || !str_ends(layer, STR(".conv"))) return true;
    str block = str_sub(layer, 0, layer.len - 7); /* without "1.conv" and its dot */
    snprintf(norm, sizeof norm, STR_FMT ".1.norm", STR_ARG(block));
    if (!names_unet_layer(str_from(norm), n_res, other, sizeof other)) return false;
    snprintf(weight, sizeof weight, "%s.weight", other);
    return layer.ptr[layer.len - 6] == (f->has(f->ctx, weight) ? '2' : '1');
}

static bool unet_name(const names_file *f, const char *ldm, char *ret) {
    const char *end = strrchr(ldm, '.');
    if (!end) return false;
    str layer = {ldm, (size_t)(end - ldm)};
    int n_res = count(f, "down_blocks.0.resnets.", ".norm1.weight");
    if (!is_upsampler_here(f, layer, n_res)) return false;
    if (!names_unet_layer(layer, n_res, ret, NAMES_BYTES)) return false;
    size_t n = strlen(ret);
    return snprintf(ret + n, NAMES_BYTES - n, "%s", end) < (int)(NAMES_BYTES - n);
}

/* ---- the autoencoder ---- */

/* q, k, v and proj_out are called in two ways. */
static bool vae_attention(const names_file *f, const char *at, const char *rest, char *ret) {
    static const word NEW_WORDS[] = {{"norm.", "group_norm."},
                                     {"q.", "to_q."},
                                     {"k.", "to_k."},
                                     {"v.", "to_v."},
                                     {"proj_out.", "to_out.0."}};
    static const word OLD_WORDS[] = {{"norm.", "group_norm."},
                                     {"q.", "query."},
                                     {"k.", "key."},
                                     {"v.", "value."},
                                     {"proj_out.", "proj_attn."}};
    char name[NAMES_BYTES];
    snprintf(name, sizeof name, "%sto_q.weight", at);
    const word *words = f->has(f->ctx, name) ? NEW_WORDS : OLD_WORDS;
    const char *w = replaced(words, COUNT_OF(NEW_WORDS), &rest);
    snprintf(ret, NAMES_BYTES, "%s%s%s", at, w, rest);
    return *w != 0;
}

static bool vae_level(const names_file *f, bool is_decoder, const char *rest, char *ret) {
    int i, j, used = 0;
    const char *half = is_decoder ? "decoder.up" : "encoder.down";
    if (sscanf(rest, "%4d.%n", &i, &used) != 1 || !used || i < 0) return false;
    rest += used;
    if (is_decoder) i = count(f, "decoder.up_blocks.", ".resnets.0.norm1.weight") - 1 - i;
    if (i < 0) return false;
    const char *resample = is_decoder ? "upsample." : "downsample.";
    size_t len = strlen(resample);
    if (strncmp(rest, resample, len) == 0) {
        snprintf(ret, NAMES_BYTES, "%s_blocks.%d.%srs.0.%s", half, i,
                 is_decoder ? "upsample" : "downsample", rest + len);
        return true;
    }
    used = 0;
    if (sscanf(rest, "block.%4d.%n", &j, &used) != 1 || !used || j < 0) return false;
    rest += used;
    static const word SHORTCUT[] = {{"nin_shortcut.", "conv_shortcut."}};
    const char *w = replaced(SHORTCUT, 1, &rest);
    snprintf(ret, NAMES_BYTES, "%s_blocks.%d.resnets.%d.%s%s", half, i, j, w, rest);
    return true;
}

static bool vae_name(const names_file *f, const char *ldm, char *ret) {
    bool is_decoder = strncmp(ldm, "decoder.", 8) == 0;
    const char *rest = ldm + 8;
    char at[64];
    snprintf(at, sizeof at, "%.8smid_block.attentions.0.", ldm);
    if (strncmp(rest, "mid.attn_1.", 11) == 0) return vae_attention(f, at, rest + 11, ret);
    if (is_decoder && strncmp(rest, "up.", 3) == 0) return vae_level(f, true, rest + 3, ret);
    if (!is_decoder && strncmp(rest, "down.", 5) == 0) return vae_level(f, false, rest + 5, ret);
    static const word WORDS[] = {{"mid.block_1.", "mid_block.resnets.0."},
                                 {"mid.block_2.", "mid_block.resnets.1."},
                                 {"norm_out.", "conv_norm_out."}};
    const char *w = replaced(WORDS, COUNT_OF(WORDS), &rest);
    snprintf(ret, NAMES_BYTES, "%.8s%s%s", ldm, w, rest);
    return *w != 0;
}

bool names_diffusers(const names_file *f, const char *ldm, char ret[NAMES_BYTES]) {
    ret[0] = 0;
    if (strlen(ldm) >= NAMES_BYTES / 2) return false;
    if (strncmp(ldm, "decoder.", 8) == 0 || strncmp(ldm, "encoder.", 8) == 0)
        return vae_name(f, ldm, ret);
    return unet_name(f, ldm, ret);
}
