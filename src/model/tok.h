/* Tokenizers: text to token ids and back.
 *
 * One object per loaded model: SPM (SentencePiece BPE with byte fallback), byte-level BPE with a
 * pre-tokenizer family, WPM (BERT's WordPiece) and UGM (SentencePiece unigram). It is immutable
 * after creation, so any number of threads may use one at the same time; whoever created it
 * destroys it. Token texts, scores and types are borrowed from the vocabulary's source (normally
 * the mapping of a GGUF file), which must outlive the tokenizer.
 *
 * Trust: only text that the server itself wrote (a chat template's frame) may contain special
 * tokens. User text never turns into one: see tok_segment.
 *
 * Source: SentencePiece (arXiv 1808.06226), BPE (arXiv 1508.07909), WordPiece (arXiv 1609.08144),
 * unigram (arXiv 1804.10959); the split patterns are those published with each model. */
#pragma once
#include "base/buf.h"
#include "base/err.h"
#include "base/vec.h"

typedef struct tok tok;
typedef struct gguf gguf; /* model/gguf.h */

typedef enum tok_kind {
    TOK_SPM, /* `llama`: merges by score, space is U+2581 */
    TOK_BPE, /* `gpt2`, `gemma4`: merges by rank, split by a pre-tokenizer first */
    TOK_WPM, /* `bert`: longest match from the left, a word starts with U+2581 */
    TOK_UGM, /* `t5`: most probable segmentation */
} tok_kind;

typedef enum tok_type { /* the values of GGUF's token_type array */
                        TOK_TYPE_NORMAL = 1,
                        TOK_TYPE_UNKNOWN = 2,
                        TOK_TYPE_CONTROL = 3,
                        TOK_TYPE_USER =
                            4, /* user-defined: matched before everything else, in any text */
                        TOK_TYPE_UNUSED = 5,
                        TOK_TYPE_BYTE = 6, /* text is <0xHH> */
} tok_type;

/* Roles of tokens; the order of tok_vocab_spec.ids. */
typedef enum tok_role {
    TOK_BOS,
    TOK_EOS,
    TOK_EOT, /* end of turn */
    TOK_EOM, /* end of message, before a tool answers */
    TOK_UNK,
    TOK_SEP,
    TOK_PAD,
    TOK_CLS,
    TOK_MASK,
    TOK_FIM_PRE, /* fill in the middle */
    TOK_FIM_SUF,
    TOK_FIM_MID,
    TOK_FIM_PAD,
    TOK_FIM_REP,
    TOK_FIM_SEP,
    TOK_ROLE_COUNT
} tok_role;

typedef enum tok_tri { TOK_UNSET = 0, TOK_YES = 1, TOK_NO = 2 } tok_tri;

/* A vocabulary. The arrays themselves may go away after tok_create; the bytes that `tokens`,
 * `charsmap` and `scores` point to are borrowed for the tokenizer's life. */
typedef struct tok_vocab_spec {
    tok_kind kind;
    str pre;              /* pre-tokenizer name (BPE only); empty = "default" */
    size_t n_tokens;      /* 1..LIMIT_VOCAB */
    const str *tokens;    /* [n_tokens] texts as stored (byte alphabet, U+2581, <0xHH>) */
    const float *scores;  /* [n_tokens] f32, any alignment; NULL = all 0 (SPM and UGM need it) */
    const int32_t *types; /* [n_tokens] tok_type, any alignment; NULL = all normal */
    size_t n_merges;
    const str *merges;      /* [n_merges] "left right", best first (BPE) */
    const int32_t *role_id; /* [TOK_ROLE_COUNT], -1 = none; NULL = none at all */
    tok_tri add_bos, add_eos, add_sep, add_space_prefix, remove_extra_spaces; /* unset: by kind */
    str charsmap;   /* SentencePiece's precompiled_charsmap (UGM); may be empty */
    tok_tri rstrip; /* special tokens swallow white space behind them (phi-3) */
} tok_vocab_spec;

/* Copies the arrays, borrows the bytes (see above). FORMAT: the vocabulary contradicts itself;
 * LIMIT: too large; UNSUPPORTED: unknown `pre`, the message names it. */
err_code tok_create(const tok_vocab_spec *spec, tok **ret, err *e);

/* Reads tokenizer.ggml.* of a GGUF file; *g must outlive the tokenizer. FORMAT when there is none
 * or it is damaged. */
err_code tok_create_from_gguf(const gguf *g, tok **ret, err *e);

void tok_destroy(tok **t); /* NULL and *t == NULL allowed */

typedef VEC(int32_t) tok_ids; /* zero-initialise; VEC_FINISH when done */

typedef enum tok_flag {
    TOK_ADD_SPECIAL = 1,   /* BOS/EOS (CLS/SEP for WPM) where the vocabulary asks for them */
    TOK_PARSE_SPECIAL = 2, /* tok_encode only: the whole text is trusted */
} tok_flag;

/* A stretch of text and who wrote it. Control tokens are recognised only in bytes that lie wholly
 * inside one or several adjacent trusted segments; user-defined tokens (which carry no power)
 * everywhere. Otherwise borders are invisible: the text between two special tokens is tokenised
 * as one run, so merges work across them. */
typedef struct tok_segment {
    str text;
    bool trusted;
} tok_segment;

/* Appends the ids of `text` to *ids. Any bytes are accepted: invalid UTF-8 passes through as
 * bytes (BPE, SPM with byte tokens) or as U+FFFD / unknown (WPM, UGM). n log n at worst in
 * the text's length. LIMIT: text longer than LIMIT_TOK_TEXT_BYTES. `flags` is a set of tok_flag. */
err_code tok_encode(const tok *t, str text, unsigned flags, tok_ids *ids, err *e);
err_code tok_encode_segments(const tok *t, const tok_segment *segs, size_t n_segs, unsigned flags,
                             tok_ids *ids, err *e);

/* The raw bytes a token stands for (byte alphabet undone, U+2581 a space, <0xHH> its byte). Not
 * always whole characters. Borrowed from the tokenizer. Control, unknown and unused tokens give
 * the empty string, or their text with `special`. Out-of-range ids give the empty string. */
str tok_piece(const tok *t, int32_t id, bool special);

/* Appends the text of a whole sequence to *out; the space that SPM and UGM put in front of the
 * first piece, and WPM's, is taken away again. */
void tok_decode(const tok *t, const int32_t *ids, size_t n_ids, bool special, buf *out);

str tok_text(const tok *t, int32_t id);   /* as stored in the vocabulary; empty if no such id */
int32_t tok_find(const tok *t, str text); /* id of the token stored as `text`, or -1 */
int32_t tok_role_id(const tok *t, tok_role role); /* -1 = none */
tok_type tok_type_of(const tok *t, int32_t id);   /* unused for ids out of range */
float tok_score(const tok *t, int32_t id);        /* 0 where the vocabulary has none */

/* True for every token that ends a generation: eos, eot, eom, and tokens known by their text such
 * as <|im_end|>. In vocabularies with channels (<|channel|> ... <|end|>) <|end|> does not stop. */
bool tok_is_stop(const tok *t, int32_t id);

size_t tok_vocab_count(const tok *t);
tok_kind tok_kind_of(const tok *t);
bool tok_adds_bos(const tok *t);
bool tok_adds_eos(const tok *t);
size_t tok_bytes(const tok *t); /* host memory held, for the ledger */
