/* A grammar applied to the tokens of one generation.
 *
 * Between the sampler, which thinks in token ids, and llm/grammar, which thinks in bytes. Tokens
 * that end a generation pass when the grammar may end; other tokens without text never do.
 * Owner: one per request; the vocabulary's trie is the model's. Threads: one at a time. */
#pragma once
#include "llm/grammar/grammar.h"
#include "model/tok.h"

typedef struct llm_constraint llm_constraint;

/* The trie of a tokenizer's pieces; takes some 100 ms for a vocabulary of 262,144. */
grammar_vocab *llm_constraint_vocab(const tok *t);

/* Takes *g over; borrows the others. */
llm_constraint *llm_constraint_create(grammar **g, const grammar_vocab *v, const tok *t);
void llm_constraint_destroy(llm_constraint **c); /* NULL and *c == NULL allowed */

/* Up to n tokens of nothing but line breaks may come before the text that counts. */
void llm_constraint_allow_blank(llm_constraint *c, int32_t n);
/* The control token `id` may come first: then the grammar is left for good and everything goes. */
void llm_constraint_allow_leave(llm_constraint *c, int32_t id);
/* Back to the grammar's start, for the next text. */
void llm_constraint_reset(llm_constraint *c);

bool llm_constraint_allows(llm_constraint *c, int32_t id);
/* logits [n], n >= the vocabulary: -INFINITY for every token that may not come next. */
void llm_constraint_mask(llm_constraint *c, float *logits, int32_t n);
/* The token was chosen. INVALID when it may not come next, LIMIT when the text nests too deep. */
err_code llm_constraint_accept(llm_constraint *c, int32_t id, err *e);
/* Nothing more may come: the generation ends here. */
bool llm_constraint_is_over(llm_constraint *c);
