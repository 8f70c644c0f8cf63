/* Inside the tokenizer: what the tok_*.c files share. Nothing outside src/model includes this.
 *
 * A tok is read-only once tok_create returns it; everything that changes during an encode lives in
 * a tok_work on the caller's stack, so encodes run in parallel. */
#pragma once
#include "model/tok.h"
#include "model/tok_pre.h"

/* Attributes of a token, one byte each; the low three bits are its tok_type. */
enum {
    TOK_ATTR_TYPE = 7,
    TOK_ATTR_STOP = 8,     /* ends a generation */
    TOK_ATTR_GUARDED = 16, /* recognised as a whole in trusted text only */
    TOK_ATTR_PLAIN = 32,   /* may come out of merging or matching ordinary text */
    TOK_ATTR_RSTRIP = 64,  /* swallows white space behind it */
    TOK_ATTR_LSTRIP = 128, /* swallows white space in front of it */
};

/* Ids in bytewise order of their texts: a trie without nodes. A search narrows [lo, hi) by one
 * byte at a time. */
typedef struct tok_prefix_index {
    int32_t *ids;
    size_t n;
    bool first_byte[256]; /* some text starts with it */
} tok_prefix_index;

typedef struct tok_prefix_cursor {
    size_t lo, hi, depth;
} tok_prefix_cursor;

typedef struct tok_pair {
    uint32_t left, right; /* token ids */
    uint32_t rank;        /* UINT32_MAX = free slot */
    uint32_t result;
} tok_pair;

struct tok {
    tok_kind kind;
    const tok_pre_family *pre; /* BPE only */
    size_t n;
    const char *texts; /* text i: text_len[i] bytes at texts + text_at[i]; borrowed, or own_texts */
    uint32_t *text_at; /* [n] */
    uint16_t *text_len; /* [n] */
    char *own_texts;    /* NULL = borrowed */
    uint8_t *attr;      /* [n] */
    const char *scores; /* borrowed f32[n], unaligned; NULL = none */
    uint32_t *slots;    /* hash of text: 10 bits of tag, 22 of id + 1; 0 = free */
    size_t slot_mask;
    char *piece_bytes;  /* all pieces, one after the other */
    uint32_t *piece_at; /* [n + 1] offsets into piece_bytes */
    tok_pair *pairs;    /* BPE merges, open addressing */
    size_t pair_mask;
    int32_t byte_id[256];     /* token of one byte, -1 = none */
    tok_prefix_index special; /* texts cut out before tokenising */
    tok_prefix_index plain;   /* WPM, UGM: all plain tokens */
    int32_t role_id[TOK_ROLE_COUNT];
    bool add_bos, add_eos, add_sep, add_space_prefix, remove_extra_spaces;
    bool spaces_start_words; /* SPM: no token has a U+2581 behind another character */
    size_t token_bytes_max;
    float unk_score;   /* UGM: cost of an unknown character */
    str charsmap_trie; /* UGM: u32 units, little-endian, unaligned */
    str charsmap_text; /* UGM: NUL-terminated replacements, ends with a NUL */
};

static inline str tok_text_of(const tok *t, size_t id) {
    return (str){t->texts + t->text_at[id], t->text_len[id]};
}

typedef struct tok_sym {
    uint32_t start, len; /* bytes of the text being merged; len 0 = swallowed */
    int32_t prev, next;  /* -1 = none */
    int32_t id;          /* -1 = not a token */
} tok_sym;

typedef struct tok_cand {
    uint32_t key;  /* lower merges first */
    uint32_t left; /* index of the left symbol; lower first on ties */
    uint32_t len;  /* bytes of both; the entry is stale if they changed */
    int32_t id;    /* what they become */
} tok_cand;

/* Scratch of one encode. */
typedef struct tok_work {
    const tok *t;
    tok_ids *out;
    VEC(tok_sym) syms;
    VEC(tok_cand) heap;
    buf text;
} tok_work;

#define TOK_SPACE "\xe2\x96\x81" /* U+2581, how SentencePiece writes a space */
#define TOK_SPACE_BYTES 3

/* tok_index.c */
void tok_hash_build(tok *t);
int32_t tok_hash_find(const tok *t, const char *ptr, size_t n_bytes); /* -1 = none */
int32_t tok_find_plain(const tok *t, const char *ptr, size_t n_bytes);
void tok_prefix_build(const tok *t, tok_prefix_index *x, uint8_t attr_any);
/* Narrows to texts whose byte at c->depth is `b`; false when there is none. */
bool tok_prefix_step(const tok *t, const tok_prefix_index *x, tok_prefix_cursor *c, uint8_t b);
/* The token that ends exactly at the cursor, or -1. */
int32_t tok_prefix_here(const tok *t, const tok_prefix_index *x, const tok_prefix_cursor *c);
void tok_pairs_build(tok *t, const str *merges, size_t n_merges);
const tok_pair *tok_pair_find(const tok *t, int32_t left, int32_t right);

/* tok_alphabet.c: GPT-2's printable alphabet. */
uint32_t tok_alphabet_of(uint8_t byte);
int tok_alphabet_byte(uint32_t code_point); /* -1 = not a letter of it */
void tok_pieces_build(tok *t);

/* One run of ordinary text each. `starts` = the run is first or follows a special token. */
void tok_spm_encode(tok_work *w, str text, bool starts);
void tok_bpe_encode(tok_work *w, str text);
void tok_wpm_encode(tok_work *w, str text);
void tok_ugm_encode(tok_work *w, str text, bool starts);
/* Emits byte tokens for bytes without a token, or the unknown token, or nothing. */
void tok_put_unknown(tok_work *w, const char *ptr, size_t n_bytes);
