/* The commands, what each takes and what runs it: one table that cli_main looks into, `hob help`
 * prints and the parsers of flags read (cli_flag), so that nothing is without a description. */
#pragma once
#include "base/str.h"
#include <stdio.h>

enum { HELP_OPTIONS = 16, HELP_ALIASES = 2 };

struct cli_context;

typedef struct help_option {
    const char *name;  /* without its dashes; NULL ends a list */
    char letter;       /* of the short form, or 0 */
    const char *value; /* what follows; NULL: nothing, in brackets: only behind "=" */
    const char *says;
} help_option;

typedef struct help_command {
    const char *name;
    const char *aliases[HELP_ALIASES];                        /* NULL behind the last */
    int (*run)(struct cli_context *c, int argc, char **argv); /* NULL: serve, main's own */
    const char *says;
    const char *usage; /* behind "hob NAME", a line for each form */
    help_option options[HELP_OPTIONS];
    const char *example; /* whole lines */
} help_command;

/* By name or alias; NULL: there is none. */
const help_command *help_find(const char *name);
/* NULL: the command does not take it. */
const help_option *help_find_option(const char *command, const char *name);

/* The list of commands; all about one. */
void help_print_all(FILE *out);
void help_print(FILE *out, const help_command *c);
