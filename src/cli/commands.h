/* The commands behind cli_main, one function each: argv[0] is the command's own name.
 * Each returns the process's exit status and prints its own errors as "Error: ...". */
#pragma once
#include "cli/cli.h"
#include "cli/client.h"

typedef struct cli_context {
    const cli_env *env;
    cli_client *client;
} cli_context;

int cmd_list(cli_context *c, int argc, char **argv);
int cmd_ps(cli_context *c, int argc, char **argv);
int cmd_show(cli_context *c, int argc, char **argv);
int cmd_cp(cli_context *c, int argc, char **argv);
int cmd_rm(cli_context *c, int argc, char **argv);
int cmd_stop(cli_context *c, int argc, char **argv);
int cmd_pull(cli_context *c, int argc, char **argv);
int cmd_push(cli_context *c, int argc, char **argv);
int cmd_pin(cli_context *c, int argc, char **argv);
int cmd_unpin(cli_context *c, int argc, char **argv);
int cmd_queue(cli_context *c, int argc, char **argv);
int cmd_estimate(cli_context *c, int argc, char **argv);
int cmd_create(cli_context *c, int argc, char **argv);
int cmd_run(cli_context *c, int argc, char **argv);
int cmd_image(cli_context *c, int argc, char **argv);
int cmd_help(cli_context *c, int argc, char **argv);
int cmd_version(cli_context *c, int argc, char **argv);

/* Prints "Error: ..." and returns 1. */
int cli_fail(const err *e);
int cli_usage(const char *command);   /* prints its help to standard error and returns 1 */
int cli_unknown(const char *command); /* says so, lists the commands, returns 1 */

/* POSTs `body` (taken) and shows the progress that comes back. */
err_code cli_exchange(cli_context *c, const char *path, json_t *body, err *e);

/* Text from outside as a JSON string: what is no UTF-8 becomes U+FFFD. */
json_t *cli_text(str s);

/* A walk over arguments; argv[at] is the current one. */
typedef struct cli_args {
    int argc;
    char **argv;
    int at;
} cli_args;

/* Is "--name VALUE" or "--name=VALUE" (or a one-letter "-x VALUE") the current argument? What the
 * option takes stands in the table of help.c. Moves to its value; *ret_value is "" for a flag that
 * stands alone. */
bool cli_flag(cli_args *a, const char *name, const char **ret_value);

/* The terminal chat. `options` is what run's flags said; see run.h. */
struct run_session;
int chat_loop(cli_context *c, struct run_session *s);
