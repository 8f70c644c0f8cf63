/* One conversation of `hob run`: what is sent with every message and what was said so far.
 * Shared by the one-shot form (cmd_run.c) and the terminal chat (chat.c). Threads: one. */
#pragma once
#include "cli/commands.h"
#include "cli/format.h"

typedef struct run_session {
    char *model;
    json_t *messages;   /* array of {role, content} so far */
    json_t *options;    /* object */
    char *system;       /* NULL = the model's own */
    json_t *format;     /* NULL, "json" or a schema */
    json_t *think;      /* NULL = default, boolean or level */
    char *keep_alive;   /* NULL = default */
    json_t *dimensions; /* of embeddings; NULL = all */
    json_t *truncate;   /* boolean; NULL = default */
    bool verbose;       /* print the figures after each answer */
    bool wordwrap;
    bool hide_thinking;
    bool insecure; /* a model that has to be pulled may come over plain http */
} run_session;

/* Sends messages plus `content` as the user's, prints the answer as it comes, appends both.
 * Ctrl-C keeps what was said so far and returns ERR_OK. */
err_code run_send(cli_context *c, run_session *s, str content, err *e);

void run_session_finish(run_session *s);
