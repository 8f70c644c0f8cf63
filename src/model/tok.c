/* Tokenizers: creation from a vocabulary, and questions about single tokens.
 *
 * tok_create copies what it needs, decides what every token may do (attributes), and builds the
 * tables of tok_index.c. Nothing changes afterwards. */
#include "model/tok.h"
#include "base/limits.h"
#include "model/tok_impl.h"
#include <float.h>
#include <string.h>

/* Texts that end a generation in some vocabulary. */
static const char *const stop_texts[] = {
    "<|eot_id|>",
    "<|eom_id|>",
    "<|im_end|>",
    "<|end|>",
    "<end_of_turn>",
    "<turn|>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "</s>",
    "<EOT>",
    "_<EOT>",
    "<|END_OF_TURN_TOKEN|>",
    "[EOS]",
    "[EOT]",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<end_of_utterance>",
    "<eos>",
    "<|eos|>",
    "<|user|>",
    "<|tool_response>",
    "<|end_of_sentence|>",
    "<\uff5cend\u2581of\u2581sentence\uff5c>",
    "[e~[",
};

static bool is_stop_text(str s) {
    for (size_t i = 0; i < COUNT_OF(stop_texts); i++)
        if (str_eq(s, str_from(stop_texts[i]))) return true;
    return false;
}

/* Marks such as <|im_start|> that some files call user-defined, or stops they call normal: a user
 * must not forge them. HTML tags (gemma has <s> and </s>) are not meant. */
static bool looks_special(str s) {
    static const str wide = {"\xef\xbd\x9c", 3}; /* full-width bar */
    if (s.len >= 5 && str_starts(s, STR("<|")) && str_ends(s, STR("|>"))) return true;
    str in = s.len >= 9 && s.ptr[0] == '<' && s.ptr[s.len - 1] == '>' ? str_sub(s, 1, s.len - 1)
                                                                      : (str){0};
    if (in.len && str_starts(in, wide) && str_ends(in, wide)) return true;
    return str_eq(s, STR("<start_of_turn>")) || str_eq(s, STR("<end_of_turn>")) ||
           str_eq(s, STR("<|turn>")) || str_eq(s, STR("<turn|>")) ||
           str_eq(s, STR("<end_of_utterance>"));
}

static int32_t type_at(const tok_vocab_spec *spec, size_t i) {
    int32_t v = TOK_TYPE_NORMAL;
    if (spec->types) memcpy(&v, (const char *)spec->types + i * sizeof v, sizeof v);
    return v >= TOK_TYPE_NORMAL && v <= TOK_TYPE_BYTE ? v : TOK_TYPE_NORMAL;
}

static uint8_t attr_of(const tok *t, int32_t type, str text) {
    unsigned a = (unsigned)type;
    bool guarded = type == TOK_TYPE_CONTROL || type == TOK_TYPE_UNKNOWN ||
                   (type == TOK_TYPE_USER && looks_special(text)) ||
                   (type == TOK_TYPE_NORMAL && looks_special(text) && is_stop_text(text));
    if (guarded) a |= TOK_ATTR_GUARDED;
    bool unused = type == TOK_TYPE_UNUSED && (t->kind == TOK_UGM || t->kind == TOK_SPM);
    if (!guarded && !unused && type != TOK_TYPE_BYTE) a |= TOK_ATTR_PLAIN;
    return (uint8_t)a;
}

static void add_attr(tok *t, int32_t id, unsigned attr) {
    if (id >= 0) t->attr[id] = (uint8_t)(t->attr[id] | attr);
}

/* Vocabularies with channels end a channel, not the answer, with <|end|>. */
static void mark_stops(tok *t) {
    int32_t end = tok_find(t, STR("<|end|>"));
    bool channels = end >= 0 && tok_find(t, STR("<|channel|>")) >= 0;
    if (end >= 0 && tok_find(t, STR("<|return|>")) >= 0 && tok_find(t, STR("<|call|>")) >= 0)
        channels = true;
    for (size_t i = 0; i < COUNT_OF(stop_texts); i++) {
        int32_t id = tok_find(t, str_from(stop_texts[i]));
        if (id >= 0 && (t->attr[id] & TOK_ATTR_GUARDED)) add_attr(t, id, TOK_ATTR_STOP);
    }
    add_attr(t, t->role_id[TOK_EOS], TOK_ATTR_STOP);
    add_attr(t, t->role_id[TOK_EOT], TOK_ATTR_STOP);
    add_attr(t, t->role_id[TOK_EOM], TOK_ATTR_STOP);
    if (channels) t->attr[end] = (uint8_t)(t->attr[end] & ~TOK_ATTR_STOP);
}

/* phi-3's special tokens swallow the white space behind them, but not these three. */
static void mark_strips(tok *t, const tok_vocab_spec *spec) {
    bool mask = str_starts(spec->pre, STR("jina-v2")) || str_eq(spec->pre, STR("modern-bert"));
    if (mask) add_attr(t, t->role_id[TOK_MASK], TOK_ATTR_LSTRIP);
    if (spec->rstrip != TOK_YES) return;
    for (size_t i = 0; i < t->special.n; i++) {
        str s = tok_text_of(t, (size_t)t->special.ids[i]);
        if (str_eq(s, STR("<unk>")) || str_eq(s, STR("<s>")) || str_eq(s, STR("<|endoftext|>")))
            continue;
        add_attr(t, t->special.ids[i], TOK_ATTR_RSTRIP);
    }
}

static bool pick(tok_tri v, bool unset) {
    return v == TOK_UNSET ? unset : v == TOK_YES;
}

static void read_flags(tok *t, const tok_vocab_spec *spec) {
    bool bpe_bos = t->kind == TOK_BPE && t->pre->add_bos;
    t->add_bos = pick(spec->add_bos, t->kind == TOK_SPM || t->kind == TOK_WPM || bpe_bos);
    t->add_eos = pick(spec->add_eos, t->kind == TOK_UGM);
    t->add_sep = pick(spec->add_sep, t->kind == TOK_WPM);
    t->add_space_prefix = pick(spec->add_space_prefix, t->kind == TOK_SPM || t->kind == TOK_UGM);
    t->remove_extra_spaces = pick(spec->remove_extra_spaces, false);
}

static err_code check_spec(const tok_vocab_spec *spec, err *e) {
    if (spec->n_tokens == 0 || !spec->tokens)
        FAIL(e, FORMAT, "the vocabulary has no tokens; the model file is incomplete");
    if (spec->n_tokens >= LIMIT_VOCAB || spec->n_merges >= LIMIT_VOCAB * 4ull)
        FAIL(e, LIMIT, "the vocabulary has %zu tokens and %zu merges; at most %u tokens work",
             spec->n_tokens, spec->n_merges, LIMIT_VOCAB - 1);
    uint64_t total = 0;
    for (size_t i = 0; i < spec->n_tokens; i++) {
        total += spec->tokens[i].len;
        if (spec->tokens[i].len > LIMIT_TOKEN_BYTES || total > UINT32_MAX / 2)
            FAIL(e, LIMIT, "token %zu has %zu bytes; at most %u work", i, spec->tokens[i].len,
                 LIMIT_TOKEN_BYTES);
    }
    if ((spec->kind == TOK_SPM || spec->kind == TOK_UGM) && !spec->scores)
        FAIL(e, FORMAT, "the vocabulary has no scores, which its kind of tokenizer needs");
    for (size_t i = 0; spec->role_id && i < TOK_ROLE_COUNT; i++)
        if (spec->role_id[i] >= 0 && (size_t)spec->role_id[i] >= spec->n_tokens)
            FAIL(e, FORMAT, "special token id %d is outside the vocabulary of %zu tokens",
                 spec->role_id[i], spec->n_tokens);
    return ERR_OK;
}

static err_code open_charsmap(tok *t, str map, err *e) {
    uint32_t n_bytes = 0;
    if (map.len == 0) return ERR_OK;
    if (map.len >= 4) memcpy(&n_bytes, map.ptr, 4);
    if (map.len < 8 || n_bytes > map.len - 4 || n_bytes % 4 || map.ptr[map.len - 1] != '\0')
        FAIL(e, FORMAT, "the vocabulary's precompiled_charsmap of %zu bytes is damaged", map.len);
    t->charsmap_trie = str_sub(map, 4, 4 + n_bytes);
    t->charsmap_text = str_sub(map, 4 + n_bytes, map.len);
    if (t->charsmap_text.len == 0) t->charsmap_trie = (str){0};
    return ERR_OK;
}

static bool has_inner_space(str s) {
    bool seen = false;
    for (size_t i = 0; i < s.len;) {
        bool space = s.len - i >= TOK_SPACE_BYTES && !memcmp(s.ptr + i, TOK_SPACE, TOK_SPACE_BYTES);
        if (space && seen) return true;
        seen = seen || !space;
        i += space ? TOK_SPACE_BYTES : 1;
    }
    return false;
}

/* Six bytes a token instead of a str: texts usually lie in one mapping, near each other. */
static void place_texts(tok *t, const str *texts) {
    const char *low = NULL, *high = NULL;
    size_t total = 0, at = 0;
    for (size_t i = 0; i < t->n; i++) {
        if (texts[i].len == 0) continue;
        total += texts[i].len;
        if (!low || texts[i].ptr < low) low = texts[i].ptr;
        if (!high || texts[i].ptr > high) high = texts[i].ptr;
    }
    bool near = (uintptr_t)high - (uintptr_t)low <= UINT32_MAX;
    if (!near) t->own_texts = mem_alloc(total);
    t->texts = near ? low : t->own_texts;
    t->text_at = NEW_ARRAY(uint32_t, t->n);
    t->text_len = NEW_ARRAY(uint16_t, t->n);
    for (size_t i = 0; i < t->n; i++) {
        if (texts[i].len == 0) continue;
        t->text_len[i] = (uint16_t)texts[i].len;
        if (!near) memcpy(t->own_texts + at, texts[i].ptr, texts[i].len);
        t->text_at[i] = near ? (uint32_t)(texts[i].ptr - low) : (uint32_t)at;
        at += texts[i].len;
    }
}

static void copy_tokens(tok *t, const tok_vocab_spec *spec) {
    float min_score = FLT_MAX;
    t->n = spec->n_tokens;
    place_texts(t, spec->tokens);
    t->attr = mem_alloc(t->n);
    t->scores = (const char *)spec->scores;
    t->spaces_start_words = t->kind == TOK_SPM;
    for (size_t i = 0; i < t->n; i++) {
        str s = tok_text_of(t, i);
        t->attr[i] = attr_of(t, type_at(spec, i), s);
        if (s.len > t->token_bytes_max) t->token_bytes_max = s.len;
        bool plain = t->attr[i] & TOK_ATTR_PLAIN;
        if (plain && t->spaces_start_words && has_inner_space(s)) t->spaces_start_words = false;
        if (t->kind != TOK_UGM || (t->attr[i] & TOK_ATTR_TYPE) != TOK_TYPE_NORMAL) continue;
        float score = tok_score(t, (int32_t)i);
        if (score < min_score) min_score = score;
    }
    t->unk_score = min_score - 10;
    for (size_t i = 0; i < TOK_ROLE_COUNT; i++)
        t->role_id[i] = spec->role_id && spec->role_id[i] >= 0 ? spec->role_id[i] : -1;
}

err_code tok_create(const tok_vocab_spec *spec, tok **ret, err *e) {
    TRY(check_spec(spec, e));
    CLEANUP(tok_destroy) tok *t = NEW(tok);
    t->kind = spec->kind;
    if (t->kind == TOK_BPE) TRY(tok_pre_get(spec->pre, &t->pre, e));
    TRY(open_charsmap(t, spec->charsmap, e));
    copy_tokens(t, spec);
    read_flags(t, spec);
    tok_hash_build(t);
    tok_pieces_build(t);
    tok_prefix_build(t, &t->special, TOK_ATTR_GUARDED);
    if (t->kind == TOK_WPM || t->kind == TOK_UGM) tok_prefix_build(t, &t->plain, TOK_ATTR_PLAIN);
    if (t->kind == TOK_BPE) tok_pairs_build(t, spec->merges, spec->n_merges);
    mark_stops(t);
    mark_strips(t, spec);
    *ret = TAKE(t);
    return ERR_OK;
}

void tok_destroy(tok **tp) {
    if (!tp || !*tp) return;
    tok *t = *tp;
    mem_free(t->text_at);
    mem_free(t->text_len);
    mem_free(t->own_texts);
    mem_free(t->attr);
    mem_free(t->slots);
    mem_free(t->piece_bytes);
    mem_free(t->piece_at);
    mem_free(t->pairs);
    mem_free(t->special.ids);
    mem_free(t->plain.ids);
    mem_free(t);
    *tp = NULL;
}

static bool has_id(const tok *t, int32_t id) {
    return id >= 0 && (size_t)id < t->n;
}

str tok_piece(const tok *t, int32_t id, bool special) {
    if (!has_id(t, id)) return (str){0};
    unsigned type = t->attr[id] & TOK_ATTR_TYPE;
    bool hidden = type == TOK_TYPE_CONTROL || type == TOK_TYPE_UNKNOWN || type == TOK_TYPE_UNUSED;
    if (hidden && !special) return (str){0};
    uint32_t at = t->piece_at[id];
    return (str){t->piece_bytes + at, t->piece_at[id + 1] - at};
}

void tok_decode(const tok *t, const int32_t *ids, size_t n_ids, bool special, buf *out) {
    bool starts = t->kind == TOK_WPM || (t->kind != TOK_BPE && t->add_space_prefix);
    for (size_t i = 0; i < n_ids; i++) {
        str p = tok_piece(t, ids[i], special);
        bool plain = has_id(t, ids[i]) && t->attr[ids[i]] & TOK_ATTR_PLAIN;
        if (starts && plain && p.len && *p.ptr == ' ') p = str_sub(p, 1, p.len);
        if (p.len || plain) starts = false;
        buf_put_str(out, p);
    }
}

str tok_text(const tok *t, int32_t id) {
    return has_id(t, id) ? tok_text_of(t, (size_t)id) : (str){0};
}

int32_t tok_find(const tok *t, str text) {
    return tok_hash_find(t, text.ptr, text.len);
}

int32_t tok_role_id(const tok *t, tok_role role) {
    return t->role_id[role];
}

tok_type tok_type_of(const tok *t, int32_t id) {
    return has_id(t, id) ? (tok_type)(t->attr[id] & TOK_ATTR_TYPE) : TOK_TYPE_UNUSED;
}

float tok_score(const tok *t, int32_t id) {
    float v = 0;
    if (t->scores && has_id(t, id)) memcpy(&v, t->scores + (size_t)id * sizeof v, sizeof v);
    return v;
}

bool tok_is_stop(const tok *t, int32_t id) {
    return has_id(t, id) && t->attr[id] & TOK_ATTR_STOP;
}

size_t tok_vocab_count(const tok *t) {
    return t->n;
}
tok_kind tok_kind_of(const tok *t) {
    return t->kind;
}
bool tok_adds_bos(const tok *t) {
    return t->add_bos;
}
bool tok_adds_eos(const tok *t) {
    return t->add_eos;
}

size_t tok_bytes(const tok *t) {
    size_t n = sizeof *t + t->n * (sizeof(uint32_t) + sizeof(uint16_t) + 1 + sizeof(uint32_t)) +
               t->piece_at[t->n];
    n += (t->slot_mask + 1) * sizeof(uint32_t) + (t->special.n + t->plain.n) * sizeof(int32_t);
    return n + (t->pairs ? (t->pair_mask + 1) * sizeof(tok_pair) : 0);
}
