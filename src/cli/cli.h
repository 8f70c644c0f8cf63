/* The command line: every command but `serve`, as a client of the HTTP API.
 *
 * Talks to the server that OLLAMA_HOST names, hob or any other that speaks Ollama's API. Uses only
 * base/, os/ and HTTP; the only module that prints. Threads: one. */
#pragma once
#include "base/str.h"

/* What the environment says; main reads it, nothing else calls getenv. */
typedef struct cli_env {
    const char *url;          /* of the server, "http://127.0.0.1:11434" */
    const char *image_url;    /* of its picture API, "http://127.0.0.1:8188" */
    const char *history_path; /* of the terminal chat; NULL = keep none */
    const char *editor;       /* for Ctrl-G; NULL = vi */
    const char *version;      /* our own */
    const char *key;          /* for servers that ask for one; NULL = none */
    const char *home;         /* for ~ in paths; may be NULL */
} cli_env;

/* Is it the server's own command, which main runs? argv[0] is the command's name. */
bool cli_is_serve(int argc, char **argv);

/* Runs one command: argv[0] is the command's name. Returns the process's exit status. */
int cli_main(int argc, char **argv, const cli_env *env);
