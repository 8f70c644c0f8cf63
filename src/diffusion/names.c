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

static bool resnet(const char *at, const char *rest, char *ret) {
    static const word WORDS[] = {
        {"in_layers.0", "norm1"},  {"in_layers.2", "conv1"},  {"emb_layers.1", "time_emb_proj"},
        {"out_layers.0", "norm2"}, {"out_layers.3", "conv2"}, {"skip_connection", "conv_shortcut"}};
    const char *w = replaced(WORDS, COUNT_OF(WORDS), &rest);
    snprintf(ret, NAMES_BYTES, "%s%s%s", at, w, rest);
    return *w != 0;
}

/* One layer of block i, place j, of the half of the network called `half`. */
static bool layer(const names_file *f, const char *half, const int ij[2], const char *rest,
                  char *ret) {
    char at[64], norm[96];
    snprintf(at, sizeof at, "%s_blocks.%d.attentions.%d.", half, ij[0], ij[1]);
    snprintf(norm, sizeof norm, "%snorm.weight", at);
    if (rest[0] == '1' && rest[1] == '.' && f->has(f->ctx, norm)) {
        snprintf(ret, NAMES_BYTES, "%s%s", at, rest + 2);
        return true;
    }
    bool is_up = half[0] == 'u';
    char place = f->has(f->ctx, norm) ? '2' : '1';
    if (is_up && rest[0] == place && strncmp(rest + 1, ".conv.", 6) == 0) {
        char last[96];
        snprintf(last, sizeof last, "up_blocks.%d.resnets.%d.norm1.weight", ij[0], ij[1] + 1);
        snprintf(ret, NAMES_BYTES, "up_blocks.%d.upsamplers.0.%s", ij[0], rest + 2);
        return !f->has(f->ctx, last);
    }
    if (strncmp(rest, "0.", 2) != 0) return false;
    snprintf(at, sizeof at, "%s_blocks.%d.resnets.%d.", half, ij[0], ij[1]);
    return resnet(at, rest + 2, ret);
}

static bool numbered(const names_file *f, const char *ldm, char *ret) {
    int n, used = 0, per = count(f, "down_blocks.0.resnets.", ".norm1.weight") + 1;
    if (sscanf(ldm, "input_blocks.%4d.%n", &n, &used) == 1 && used && n >= 0) {
        const char *rest = ldm + used;
        if (n == 0) {
            snprintf(ret, NAMES_BYTES, "conv_in.%s", rest + 2);
            return strncmp(rest, "0.", 2) == 0 && !strchr(rest + 2, '.');
        }
        int ij[2] = {(n - 1) / per, (n - 1) % per};
        if (ij[1] < per - 1) return layer(f, "down", ij, rest, ret);
        if (strncmp(rest, "0.op.", 5) != 0) return false;
        snprintf(ret, NAMES_BYTES, "down_blocks.%d.downsamplers.0.conv.%s", ij[0], rest + 5);
        return true;
    }
    used = 0;
    if (sscanf(ldm, "output_blocks.%4d.%n", &n, &used) != 1 || !used || n < 0) return false;
    return layer(f, "up", (int[2]){n / per, n % per}, ldm + used, ret);
}

static bool unet_name(const names_file *f, const char *ldm, char *ret) {
    static const word WORDS[] = {{"time_embed.0.", "time_embedding.linear_1."},
                                 {"time_embed.2.", "time_embedding.linear_2."},
                                 {"label_emb.0.0.", "add_embedding.linear_1."},
                                 {"label_emb.0.2.", "add_embedding.linear_2."},
                                 {"middle_block.1.", "mid_block.attentions.0."},
                                 {"out.0.", "conv_norm_out."},
                                 {"out.2.", "conv_out."}};
    if (strncmp(ldm, "middle_block.0.", 15) == 0)
        return resnet("mid_block.resnets.0.", ldm + 15, ret);
    if (strncmp(ldm, "middle_block.2.", 15) == 0)
        return resnet("mid_block.resnets.1.", ldm + 15, ret);
    const char *rest = ldm, *w = replaced(WORDS, COUNT_OF(WORDS), &rest);
    if (!*w) return numbered(f, ldm, ret);
    snprintf(ret, NAMES_BYTES, "%s%s", w, rest);
    return true;
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
