/* pull and push: one request, its progress on the terminal. */
#include "cli/commands.h"
#include "cli/progress.h"
#include <stdio.h>
#include <string.h>

err_code cli_exchange(cli_context *c, const char *path, json_t *body, err *e) {
    progress p;
    progress_init(&p);
    err_code code = cli_client_stream(c->client, path, body, progress_line, &p, e);
    progress_finish(&p);
    json_decref(body);
    return code;
}

static int exchange(cli_context *c, int argc, char **argv) {
    const char *model = NULL, *as = NULL, *unused = NULL;
    bool insecure = false, bad = false, pull = strcmp(argv[0], "pull") == 0;
    for (cli_args args = {argc, argv, 1}; args.at < argc; args.at++) {
        if (cli_flag(&args, "insecure", &unused))
            insecure = strcmp(unused, "false") != 0;
        else if (pull && cli_flag(&args, "as", &as))
            continue;
        else if (model || argv[args.at][0] == '-')
            bad = true;
        else
            model = argv[args.at];
    }
    if (!model || bad) return cli_usage(argv[0]);
    json_t *body = json_object();
    json_object_set_new(body, "model", cli_text(str_from(model)));
    if (insecure) json_object_set_new(body, "insecure", json_true());
    if (as) json_object_set_new(body, "as", cli_text(str_from(as)));
    cli_interrupt_watch();
    err e;
    if (cli_exchange(c, pull ? "/api/pull" : "/api/push", body, &e) == ERR_OK) return 0;
    return cli_fail(&e);
}

int cmd_pull(cli_context *c, int argc, char **argv) {
    return exchange(c, argc, argv);
}

int cmd_push(cli_context *c, int argc, char **argv) {
    return exchange(c, argc, argv);
}
