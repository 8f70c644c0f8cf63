/* Constrained output: what a generation may say, as an automaton over bytes.
 *
 * A grammar is compiled from a JSON Schema, a regular expression or GBNF text into a network of
 * rules (expr.h), and walked as a deterministic automaton whose states are made when they are first
 * reached (match.c). The vocabulary is a trie over the bytes of its tokens (vocab.c): one walk of
 * the trie tells which tokens may follow a state, and whole subtrees are taken or left at once.
 * Sampling draws first and asks afterwards: most tokens pass, and a mask is needed only when one
 * does not.
 * Owner: a grammar belongs to one request, grammar_vocab to a model. Threads: a grammar one at a
 * time; a grammar_vocab is read-only after it was made. Everything foreign is bounded: nodes,
 * rules, states and stack cells (base/limits.h). */
#pragma once
#include "base/err.h"
#include "base/value.h"
#include "model/reply/reply.h"

typedef struct grammar grammar;
typedef struct grammar_vocab grammar_vocab;

/* Any JSON object: the format "json". */
err_code grammar_from_json(grammar **ret, err *e);

/* A JSON Schema (draft 2020-12 and what clients write of older ones). `schema` is only read during
 * the call. Properties come in the order of the schema; of oneOf exactly one branch
 * holds, UNSUPPORTED where that cannot be told; what stands beside $ref, allOf, anyOf, enum and
 * const counts, and all that is said of one string, number or key. Some answers that would be valid
 * never come: keys in another order, strings of more than 512 characters where a pattern or format
 * is given too. A key of additionalProperties may come twice. Formats that nobody knows say
 * nothing. UNSUPPORTED names a keyword that would change what is valid and that we cannot hold to,
 * with its path; INVALID a broken schema; LIMIT one that explodes. */
err_code grammar_from_schema(const value *schema, grammar **ret, err *e);

/* A regular expression that the whole output matches: literals, classes, groups, alternation,
 * quantifiers, \d \w \s, look-ahead for all the rest; no look-behind, no back-references (INVALID
 * with the place). */
err_code grammar_from_regex(str pattern, grammar **ret, err *e);

/* GBNF: `root ::= ...` and further rules. INVALID names the line. Left recursion is refused. */
err_code grammar_from_gbnf(str text, grammar **ret, err *e);

/* A call of one of the functions (maps with a name and parameters) in words, from the form's `open`
 * to its `close`. Schemas that cannot be held to leave the arguments open. */
err_code grammar_from_calls(const reply_call_form *f, const value *functions, grammar **ret,
                            err *e);

/* *a becomes what a or b allows, at its start; b is only read. LIMIT (nothing changes) when both
 * are too large together. */
err_code grammar_either(grammar **a, const grammar *b, err *e);

void grammar_destroy(grammar **g); /* NULL and *g == NULL allowed */

/* ---- walking ---- */

/* Back to the start. */
void grammar_reset(grammar *g);
/* Whether `bytes` may come next; nothing moves. */
bool grammar_allows(grammar *g, str bytes);
/* Moves over `bytes`. INVALID (nothing moves) when they may not come next; LIMIT when the text
 * nests deeper than we follow, or the grammar is too ambiguous. */
err_code grammar_accept(grammar *g, str bytes, err *e);
/* Whether the text may end here, and whether it must. */
bool grammar_may_end(const grammar *g);
bool grammar_must_end(grammar *g);

/* ---- the vocabulary ---- */

/* `pieces` [n]: the bytes of each token id; empty for tokens that stand for no text (they never
 * pass a mask). The bytes are borrowed. */
grammar_vocab *grammar_vocab_create(const str *pieces, int32_t n);
void grammar_vocab_destroy(grammar_vocab **v);
size_t grammar_vocab_bytes(const grammar_vocab *v); /* host memory held */

/* One bit for each token that may come next: bit id % 64 of word id / 64, [(n + 63) / 64] words,
 * owned by g and valid until the next call. Takes some 0.1 ms for a vocabulary of 262,144, ten
 * times that in a state of a new kind; states met before answer from a cache. A grammar so
 * ambiguous that looking takes too long gets a mask with less in it, at last with nothing. */
const uint64_t *grammar_mask(grammar *g, const grammar_vocab *v);
