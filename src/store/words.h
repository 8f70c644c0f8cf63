/* Searching for words as people mean them: in any order, without case and accents, "ß" as "ss".
 *
 * Titles are compared by has_words(title, text), a function of SQLite's that every connection has:
 * whether all words of the text are in the title. Messages are found by an index, for which
 * words_match() makes the expression. Threads: any. */
#pragma once
#include "base/arena.h"
#include "base/str.h"
#include <sqlite3.h>

/* Makes has_words() known; SQLite's result. */
int words_register(sqlite3 *conn);
/* An expression of FTS5: each word quoted, as a prefix, so that whatever people type is valid.
 * Empty when there is no word. */
str words_match(arena *a, str text);
