/* What chat.c does to messages that a template refuses. Internal to the two files.
 *
 * Each function returns a changed copy of the list in `a`, or NULL when it would change nothing;
 * the list it was given stays as it is. Messages are those that chat.c has prepared. */
#pragma once
#include "base/err.h"
#include "base/value.h"

str chat_text_of(const value *map, const char *key); /* empty when it is not a string */
bool chat_has_role(const value *message, const char *role);
value *chat_copy_map(arena *a, const value *m);
value *chat_concat(arena *a, str first, str second);

/* System messages become part of the user message behind them, neighbours of one role are joined.*/
value *chat_mend_roles(arena *a, const value *messages);
/* One tool call per message, each followed by its answer. */
value *chat_mend_calls(arena *a, const value *messages);
/* Arguments of tool calls as JSON text instead of maps. */
value *chat_mend_arguments(arena *a, const value *messages);
