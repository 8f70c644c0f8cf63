/* A tokenizer out of a GGUF file's tokenizer.ggml.* keys.
 *
 * Only translation: names of keys to fields of tok_vocab_spec, with the defaults of the families
 * that leave a key out. All checks of the vocabulary itself are tok_create's. */
#include "base/limits.h"
#include "model/gguf.h"
#include "model/tok.h"

static const char *const ROLE_KEYS[TOK_ROLE_COUNT] = {
    [TOK_BOS] = "tokenizer.ggml.bos_token_id",
    [TOK_EOS] = "tokenizer.ggml.eos_token_id",
    [TOK_EOT] = "tokenizer.ggml.eot_token_id",
    [TOK_EOM] = "tokenizer.ggml.eom_token_id",
    [TOK_UNK] = "tokenizer.ggml.unknown_token_id",
    [TOK_SEP] = "tokenizer.ggml.seperator_token_id", /* so spelled in the files */
    [TOK_PAD] = "tokenizer.ggml.padding_token_id",
    [TOK_CLS] = "tokenizer.ggml.cls_token_id",
    [TOK_MASK] = "tokenizer.ggml.mask_token_id",
    [TOK_FIM_PRE] = "tokenizer.ggml.fim_pre_token_id",
    [TOK_FIM_SUF] = "tokenizer.ggml.fim_suf_token_id",
    [TOK_FIM_MID] = "tokenizer.ggml.fim_mid_token_id",
    [TOK_FIM_PAD] = "tokenizer.ggml.fim_pad_token_id",
    [TOK_FIM_REP] = "tokenizer.ggml.fim_rep_token_id",
    [TOK_FIM_SEP] = "tokenizer.ggml.fim_sep_token_id",
};

/* What a role is when the file does not say: the ids each family began with. */
static int32_t default_role(tok_kind kind, tok_role role) {
    switch (kind) {
    case TOK_SPM:
        return role == TOK_BOS ? 1 : role == TOK_EOS ? 2 : role == TOK_UNK ? 0 : -1;
    case TOK_BPE:
        return role == TOK_BOS || role == TOK_EOS ? 11 : -1;
    case TOK_WPM:
        return role == TOK_CLS    ? 101
               : role == TOK_SEP  ? 102
               : role == TOK_UNK  ? 100
               : role == TOK_PAD  ? 0
               : role == TOK_MASK ? 103
                                  : -1;
    case TOK_UGM:
        return role == TOK_EOS ? 1 : role == TOK_UNK ? 2 : role == TOK_PAD ? 0 : -1;
    }
    return -1;
}

static err_code read_kind(const gguf *g, tok_kind *ret, err *e) {
    static const struct {
        const char *name;
        tok_kind kind;
    } KINDS[] = {{"llama", TOK_SPM},
                 {"gpt2", TOK_BPE},
                 {"gemma4", TOK_BPE},
                 {"bert", TOK_WPM},
                 {"t5", TOK_UGM}};
    str name;
    TRY(gguf_get_str(g, "tokenizer.ggml.model", &name, e));
    for (size_t i = 0; i < COUNT_OF(KINDS); i++) {
        if (!str_eq(name, str_from(KINDS[i].name))) continue;
        *ret = KINDS[i].kind;
        return ERR_OK;
    }
    FAIL(e, UNSUPPORTED, "tokenizer.ggml.model \"" STR_FMT "\" is not supported", STR_ARG(name));
}

static err_code read_roles(const gguf *g, tok_kind kind, size_t n_tokens, int32_t *ids, err *e) {
    for (int role = 0; role < TOK_ROLE_COUNT; role++) {
        uint64_t id = gguf_opt_u64(g, ROLE_KEYS[role], UINT64_MAX);
        if (id == UINT64_MAX || id == UINT32_MAX) { /* absent, or the files' word for none */
            int32_t usual = default_role(kind, (tok_role)role);
            ids[role] = usual >= 0 && (size_t)usual < n_tokens ? usual : -1;
            continue;
        }
        if (id >= n_tokens)
            FAIL(e, FORMAT, "key \"%s\": there is no token %llu, only %zu", ROLE_KEYS[role],
                 (unsigned long long)id, n_tokens);
        ids[role] = (int32_t)id;
    }
    return ERR_OK;
}

static tok_tri read_flag(const gguf *g, const char *key) {
    const gguf_key *k = gguf_find_key(g, key);
    if (!k || k->type != GGUF_BOOL) return TOK_UNSET;
    return k->as.boolean ? TOK_YES : TOK_NO;
}

static str *read_texts(arena *a, const gguf_array *list) {
    str *to = ARENA_ARRAY(a, str, list->n + 1);
    for (uint64_t i = 0; i < list->n; i++) to[i] = gguf_array_str(list, i);
    return to;
}

/* The optional arrays: as many items as tokens. */
static err_code read_parallel(const gguf *g, const char *key, gguf_type type, size_t n,
                              const void **ret, err *e) {
    const gguf_key *k = gguf_find_key(g, key);
    *ret = NULL;
    if (!k) return ERR_OK;
    if (k->type != GGUF_ARRAY || k->as.array.type != type || k->as.array.n != n)
        FAIL(e, FORMAT, "key \"%s\": expected %zu items of type %s", key, n, gguf_type_name(type));
    *ret = k->as.array.bytes;
    return ERR_OK;
}

static err_code fill_spec(const gguf *g, arena *a, tok_vocab_spec *v, err *e) {
    gguf_array tokens;
    const void *scores, *types;
    int32_t *roles = ARENA_ARRAY(a, int32_t, TOK_ROLE_COUNT);
    TRY(read_kind(g, &v->kind, e));
    TRY(gguf_get_array(g, "tokenizer.ggml.tokens", GGUF_STR, &tokens, e));
    if (tokens.n < 1 || tokens.n > LIMIT_VOCAB)
        FAIL(e, LIMIT, "key \"tokenizer.ggml.tokens\": %llu tokens", (unsigned long long)tokens.n);
    v->n_tokens = (size_t)tokens.n;
    v->tokens = read_texts(a, &tokens);
    TRY(read_parallel(g, "tokenizer.ggml.scores", GGUF_F32, v->n_tokens, &scores, e));
    TRY(read_parallel(g, "tokenizer.ggml.token_type", GGUF_I32, v->n_tokens, &types, e));
    v->scores = scores;
    v->types = types;
    TRY(read_roles(g, v->kind, v->n_tokens, roles, e));
    v->role_id = roles;
    bool gemma4 = str_eq(gguf_opt_str(g, "tokenizer.ggml.model", STR("")), STR("gemma4"));
    v->pre = gguf_opt_str(g, "tokenizer.ggml.pre", gemma4 ? STR("gemma4") : STR(""));
    if (v->kind == TOK_BPE) {
        gguf_array merges;
        TRY(gguf_get_array(g, "tokenizer.ggml.merges", GGUF_STR, &merges, e));
        v->merges = read_texts(a, &merges);
        v->n_merges = (size_t)merges.n;
    }
    const gguf_array *charsmap = gguf_opt_array(g, "tokenizer.ggml.precompiled_charsmap");
    if (charsmap && (charsmap->type == GGUF_U8 || charsmap->type == GGUF_I8))
        v->charsmap = (str){(const char *)charsmap->bytes, (size_t)charsmap->n};
    return ERR_OK;
}

err_code tok_create_from_gguf(const gguf *g, tok **ret, err *e) {
    tok_vocab_spec v = {
        .add_bos = read_flag(g, "tokenizer.ggml.add_bos_token"),
        .add_eos = read_flag(g, "tokenizer.ggml.add_eos_token"),
        .add_sep = read_flag(g, "tokenizer.ggml.add_sep_token"),
        .add_space_prefix = read_flag(g, "tokenizer.ggml.add_space_prefix"),
        .remove_extra_spaces = read_flag(g, "tokenizer.ggml.remove_extra_whitespaces"),
        .rstrip = str_eq(gguf_arch(g), STR("phi3")) ? TOK_YES : TOK_UNSET,
    };
    arena *a = arena_create(0);
    err_code code = fill_spec(g, a, &v, e);
    if (code == ERR_OK) code = tok_create(&v, ret, e);
    arena_destroy(&a);
    return code;
}
