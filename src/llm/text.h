/* Text assembly: from the pieces of sampled tokens to text that may be shown.
 *
 * Holds back bytes that are not whole UTF-8 characters yet and bytes that may turn out to be the
 * beginning of a stop string; cuts at a completed stop string; says which tokens a stretch of text
 * comes from, so that log-probabilities stay aligned with it. Bytes that can never be UTF-8 become
 * U+FFFD; a character left unfinished at the end is dropped.
 * Owner: one request. Threads: one. */
#pragma once
#include "base/buf.h"

typedef struct llm_text llm_text;

llm_text *llm_text_create(const str *stop, size_t n_stop);
void llm_text_destroy(llm_text **t);

/* Adds the piece of the next token (may be empty). True: it completed a stop string; everything
 * from there on is dropped and no more may be added. */
bool llm_text_put(llm_text *t, str piece);
/* The stop string that ended the text; empty while there is none. Borrowed. */
str llm_text_stop(const llm_text *t);
/* Appends what may be shown to *out and returns from how many tokens it comes, counted from the
 * oldest not yet reported. `last`: nothing follows, so nothing is held back; tokens of which no
 * byte is shown are not counted then. */
size_t llm_text_take(llm_text *t, bool last, buf *out);
