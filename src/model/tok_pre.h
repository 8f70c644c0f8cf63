/* Pre-tokenizers: where byte-pair encoding may not merge across.
 *
 * A family is one to six stages; each cuts every piece of the stage before it into matches and
 * the gaps between them. Stages are hand-written matchers with true Unicode categories, linear in
 * the text, that do what the patterns published with the models do. Threads: any. */
#pragma once
#include "base/err.h"
#include "base/str.h"

typedef struct tok_pre_rule tok_pre_rule;

#define TOK_PRE_STAGES 6

typedef struct tok_pre_family {
    const tok_pre_rule *stages[TOK_PRE_STAGES]; /* NULL ends the list */
    bool ignore_merges;                         /* a word that is a token stays whole */
    bool add_bos;                               /* when the vocabulary does not say */
    bool raw;                                   /* characters and U+2581, not the byte alphabet */
} tok_pre_family;

/* The family for a vocabulary's `pre`; empty gives the default one. UNSUPPORTED for a name that is
 * not known: a wrong split silently makes answers worse. */
err_code tok_pre_get(str pre, const tok_pre_family **ret, err *e);

/* Calls emit for each word of `text`, in order, covering every byte. */
typedef void tok_pre_emit(void *ctx, str word);
void tok_pre_split(const tok_pre_family *f, str text, tok_pre_emit *emit, void *ctx);

/* Character classes as bits; a code point has exactly one of them, or WS with CRLF. */
enum {
    CLS_UPPER = 1,  /* Lu, Lt */
    CLS_LOWER = 2,  /* Ll */
    CLS_LETTER = 4, /* Lm, Lo */
    CLS_MARK = 8,
    CLS_NUMBER = 16,
    CLS_PUNCT = 32,
    CLS_SYMBOL = 64,
    CLS_WS = 128,   /* White_Space */
    CLS_CRLF = 256, /* CR and LF */
    CLS_OTHER = 512,
    CLS_L = CLS_UPPER | CLS_LOWER | CLS_LETTER,
};
unsigned tok_class(uint32_t code_point);
bool tok_is_han(uint32_t code_point); /* script Han */
