/* Stop strings: finds the first one that a growing text completes, and how much of the text's end
 * might still become one.
 *
 * Each string has a Knuth-Morris-Pratt automaton, so a byte costs amortised constant time per
 * string whatever the strings are (1,000 of 4 KB: 8 MB of tables). Of several strings completed
 * by the same byte the longest counts. Owner: one request. Threads: one. */
#pragma once
#include "base/str.h"

typedef struct llm_stop llm_stop;

/* Copies the strings; empty ones are ignored. At most LIMIT_STOP_STRINGS, LIMIT_STOP_BYTES each
 * (checked by the caller). */
llm_stop *llm_stop_create(const str *strings, size_t n);
void llm_stop_destroy(llm_stop **s);

/* Feeds bytes until one completes a stop string: true, *ret_end bytes of `text` were used, the
 * last *ret_len bytes fed in all are the stop string. False: everything was fed. */
bool llm_stop_feed(llm_stop *s, str text, size_t *ret_end, size_t *ret_len);
/* Bytes at the end of what was fed that may be the beginning of a stop string. */
size_t llm_stop_held(const llm_stop *s);
