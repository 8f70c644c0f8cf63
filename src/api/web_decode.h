/* Bytes of a file as text: UTF-8, UTF-16 with or without its mark, else Windows-1252, which holds
 * Latin-1. Pure. Threads: any. */
#pragma once
#include "base/buf.h"

/* Whether the first bytes of a file are those of a text in any of these. */
bool web_decode_is_text(str head);
/* Appends it as UTF-8: control characters but newline and tab go, form feeds become newlines. */
void web_decode_text(str bytes, buf *out);
