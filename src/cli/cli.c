/* Finds the command and runs it. `serve` is main's own. */
#include "cli/cli.h"
#include "base/buf.h"
#include "cli/commands.h"
#include "cli/help.h"
#include <assert.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    int (*run)(cli_context *c, int argc, char **argv);
} COMMANDS[] = {
    {"run", cmd_run},     {"list", cmd_list},       {"ls", cmd_list},
    {"ps", cmd_ps},       {"show", cmd_show},       {"create", cmd_create},
    {"pull", cmd_pull},   {"push", cmd_push},       {"cp", cmd_cp},
    {"rm", cmd_rm},       {"stop", cmd_stop},       {"pin", cmd_pin},
    {"unpin", cmd_unpin}, {"queue", cmd_queue},     {"estimate", cmd_estimate},
    {"image", cmd_image}, {"version", cmd_version}, {"--version", cmd_version},
    {"-v", cmd_version},
};

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

/* `hob help`, `hob help COMMAND`. */
static int help(int argc, char **argv) {
    const help_command *c = argc > 1 ? help_find(argv[1]) : NULL;
    if (argc > 1 && !c) {
        fprintf(stderr, "Error: unknown command \"%s\"\n\n", argv[1]);
        help_print_all(stderr);
        return 1;
    }
    if (c)
        help_print(stdout, c);
    else
        help_print_all(stdout);
    return 0;
}

/* `hob COMMAND ... --help`; behind `--` it is an argument like others. */
static bool asks_for_help(int argc, char **argv) {
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) return true;
    return false;
}

int cli_main(int argc, char **argv, const cli_env *env) {
    if (argc < 1) {
        help_print_all(stderr);
        return 1;
    }
    bool is_help = strcmp(argv[0], "help") == 0 || strcmp(argv[0], "--help") == 0 ||
                   strcmp(argv[0], "-h") == 0;
    if (is_help) return help(argc, argv);
    if (help_find(argv[0]) && asks_for_help(argc, argv)) {
        help_print(stdout, help_find(argv[0]));
        return 0;
    }
    for (size_t i = 0; i < COUNT_OF(COMMANDS); i++) {
        if (strcmp(argv[0], COMMANDS[i].name) != 0) continue;
        cli_context c = {env, cli_client_create(env->url, env->key)};
        int status = COMMANDS[i].run(&c, argc, argv);
        cli_client_destroy(&c.client);
        return status;
    }
    fprintf(stderr, "Error: unknown command \"%s\"\n\n", argv[0]);
    help_print_all(stderr);
    return 1;
}
