/* Finds the command and runs it. `serve` is main's own. */
#include "cli/cli.h"
#include "base/buf.h"
#include "cli/commands.h"
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    int (*run)(cli_context *c, int argc, char **argv);
    const char *help;
} COMMANDS[] = {
    {"run", cmd_run, "Chat with a model, or answer one prompt"},
    {"list", cmd_list, "List the models in the store"},
    {"ls", cmd_list, NULL},
    {"ps", cmd_ps, "List the models in memory"},
    {"show", cmd_show, "Show what a model is"},
    {"create", cmd_create, "Create a model from a Modelfile"},
    {"pull", cmd_pull, "Fetch a model from a registry"},
    {"push", cmd_push, "Send a model to a registry"},
    {"cp", cmd_cp, "Copy a model under another name"},
    {"rm", cmd_rm, "Remove models"},
    {"stop", cmd_stop, "Unload a model, or all with --all"},
    {"pin", cmd_pin, "Load a model and keep it in memory"},
    {"unpin", cmd_unpin, "Let a pinned model go again"},
    {"queue", cmd_queue, "List what runs and what waits"},
    {"estimate", cmd_estimate, "Say what a model would take and whether it fits"},
    {"image", cmd_image, "Make a picture from a prompt"},
    {"version", cmd_version, "Print the version"},
    {"--version", cmd_version, NULL},
    {"-v", cmd_version, NULL},
};

int cli_fail(const err *e) {
    fprintf(stderr, "Error: %s\n", e->msg);
    return 1;
}

int cli_usage(const char *text) {
    fprintf(stderr, "usage: %s\n", text);
    return 1;
}

json_t *cli_text(str s) {
    buf clean = {0};
    for (size_t pos = 0; pos < s.len;) buf_put_utf8(&clean, str_utf8_next(s, &pos));
    json_t *text = json_stringn(clean.ptr ? clean.ptr : "", clean.len);
    buf_finish(&clean);
    return text;
}

bool cli_flag(cli_args *a, const char *name, char letter, bool takes_value,
              const char **ret_value) {
    const char *arg = a->argv[a->at];
    size_t len = strlen(name);
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

static int help(FILE *out) {
    fprintf(out, "hob: language models and pictures on your own hardware\n\n"
                 "usage: hob COMMAND [ARGUMENTS]\n\n"
                 "  serve      Start the server\n");
    for (size_t i = 0; i < COUNT_OF(COMMANDS); i++)
        if (COMMANDS[i].help) fprintf(out, "  %-10s %s\n", COMMANDS[i].name, COMMANDS[i].help);
    fprintf(out,
            "\nThe server is found through OLLAMA_HOST (default 127.0.0.1:11434), for pictures "
            "through\nHOB_IMAGE_HOST (default 127.0.0.1:8188).\n");
    return out == stdout ? 0 : 1;
}

int cli_main(int argc, char **argv, const cli_env *env) {
    if (argc < 1) return help(stderr);
    if (strcmp(argv[0], "help") == 0 || strcmp(argv[0], "--help") == 0 ||
        strcmp(argv[0], "-h") == 0)
        return help(stdout);
    for (size_t i = 0; i < COUNT_OF(COMMANDS); i++) {
        if (strcmp(argv[0], COMMANDS[i].name) != 0) continue;
        cli_context c = {env, cli_client_create(env->url, env->key)};
        int status = COMMANDS[i].run(&c, argc, argv);
        cli_client_destroy(&c.client);
        return status;
    }
    fprintf(stderr, "Error: unknown command \"%s\"\n\n", argv[0]);
    return help(stderr);
}
