/* Finds the command and runs it. `serve` is main's own. */
#include "cli/cli.h"
#include "base/buf.h"
#include "cli/commands.h"
#include "cli/help.h"
#include <assert.h>
#include <stdio.h>
#include <string.h>

int cli_fail(const err *e) {
    fprintf(stderr, "Error: %s\n", e->msg);
    return 1;
}

int cli_usage(const char *command) {
    help_print(stderr, help_find(command));
    return 1;
}

json_t *cli_text(str s) {
    buf clean = {0};
    for (size_t pos = 0; pos < s.len;) buf_put_utf8(&clean, str_utf8_next(s, &pos));
    json_t *text = json_stringn(clean.ptr ? clean.ptr : "", clean.len);
    buf_finish(&clean);
    return text;
}

bool cli_flag(cli_args *a, const char *name, const char **ret_value) {
    const char *arg = a->argv[a->at];
    size_t len = strlen(name);
    const help_option *o = help_find_option(a->argv[0], name);
    assert(o);
    char letter = o->letter;
    bool takes_value = o->value && o->value[0] != '[';
    bool is_short = letter && arg[0] == '-' && arg[1] == letter && arg[2] == '\0';
    bool is_long = strncmp(arg, "--", 2) == 0 && strncmp(arg + 2, name, len) == 0 &&
                   (arg[2 + len] == '\0' || arg[2 + len] == '=');
    if (!is_short && !is_long) return false;
    if (is_long && arg[2 + len] == '=') {
        *ret_value = arg + 3 + len;
    } else if (!takes_value) {
        *ret_value = "";
    } else {
        if (a->at + 1 >= a->argc) return false;
        *ret_value = a->argv[++a->at];
    }
    return true;
}

int cli_unknown(const char *command) {
    fprintf(stderr, "Error: unknown command \"%s\"\n\n", command);
    help_print_all(stderr);
    return 1;
}

/* `hob COMMAND ... --help`; behind `--` it is an argument like others. */
static bool asks_for_help(int argc, char **argv) {
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) return true;
    return false;
}

bool cli_is_serve(int argc, char **argv) {
    const help_command *found = argc > 0 ? help_find(argv[0]) : NULL;
    return found && !found->run && !asks_for_help(argc, argv);
}

int cli_main(int argc, char **argv, const cli_env *env) {
    if (argc < 1) {
        help_print_all(stderr);
        return 1;
    }
    const help_command *found = help_find(argv[0]);
    if (!found) return cli_unknown(argv[0]);
    if (asks_for_help(argc, argv)) {
        help_print(stdout, found);
        return 0;
    }
    assert(found->run);
    cli_context c = {env, cli_client_create(env->url, env->key)};
    int status = found->run(&c, argc, argv);
    cli_client_destroy(&c.client);
    return status;
}
