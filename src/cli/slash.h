/* The slash commands of the terminal chat: /set, /show, /load, /save, /clear, /list, /bye, /?. */
#pragma once
#include "cli/run.h"

typedef struct slash_state {
    bool leave;        /* /bye was said */
    bool keep_history; /* lines go to the history file */
} slash_state;

/* Runs one line that begins with '/'; prints what it does and its errors. */
void slash_run(cli_context *c, run_session *s, slash_state *state, str line);
