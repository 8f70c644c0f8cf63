/* CLIP's tokenizer: byte-level BPE over lower-case words, 49,408 tokens.
 *
 * The merges are OpenAI's (MIT), in clip_merges.txt, and are part of the program. Text is brought
 * to NFC and lower case; words are runs of letters, single digits and runs of other characters,
 * English contractions apart. Threads: any.
 * Source: github.com/openai/CLIP (vocabulary and rules). */
#pragma once
#include "base/str.h"
#include "base/vec.h"

enum { CLIP_TOK_START = 49406, CLIP_TOK_END = 49407, CLIP_TOK_COUNT = 49408 };

typedef VEC(int32_t) clip_ids; /* zero-initialise; VEC_FINISH when done */

/* Appends the ids of the text, without start and end. Any bytes are accepted. */
void clip_tok_encode(str text, clip_ids *ids);
