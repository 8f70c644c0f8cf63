/* From a prompt to text and from text to tokens: what a loaded model does, and vocab.c without
 * one. Threads: any. */
#pragma once
#include "engine/backend.h"
#include "model/chat.h"

/* Renders messages through a chat template. */
err_code vocab_render(const chat_template *c, const engine_prompt *p, const value *messages,
                      arena *a, engine_segments *ret, err *e);
/* Encodes; a first token that a template wrote itself is not doubled. */
err_code vocab_encode(const tok *t, engine_segments segs, bool add_special, tok_ids *ret, err *e);
