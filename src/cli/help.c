/* The table of commands and their options, and how it is printed. */
#include "cli/help.h"
#include "cli/commands.h"
#include <string.h>

#define INSECURE                                                                                   \
    { "insecure", 0, NULL, "talk to the registry over plain HTTP too" }

static const help_command COMMANDS[] = {
    {.name = "serve",
     .aliases = {"start"},
     .says = "Start the server",
     .usage = "[--precision f32|bf16]",
     .options = {{"precision", 0, "f32|bf16", "how networks of pictures compute (default: f32)"}},
     .example = "OLLAMA_HOST=0.0.0.0:11434 hob serve"},
    {.name = "run",
     .run = cmd_run,
     .says = "Chat with a model, or answer one prompt",
     .usage = "MODEL [PROMPT]",
     .options = {{"verbose", 0, NULL, "show counts and speeds behind each answer"},
                 {"nowordwrap", 0, NULL, "leave the breaking of lines to the terminal"},
                 {"format", 0, "json|SCHEMA", "hold the answer to JSON, or to a JSON Schema"},
                 {"keepalive", 0, "TIME", "how long the model stays in memory, such as 5m"},
                 {"think", 0, "[=LEVEL]", "think first: true, false, low, medium, high or max"},
                 {"hidethinking", 0, NULL, "do not show the thinking"},
                 {"truncate", 0, "[=false]", "embedding models: cut what is too long, or refuse"},
                 {"dimensions", 0, "N", "embedding models: numbers in the vector"},
                 INSECURE},
     .example = "hob run smollm2:135m \"Why is the sky blue?\"\n"
                "hob run gemma3 \"What is in this picture? ./cat.png\"\n"
                "cat report.txt | hob run smollm2:135m \"Summarize:\""},
    {.name = "list",
     .run = cmd_list,
     .aliases = {"ls"},
     .says = "List the models in the store",
     .usage = "[PREFIX]",
     .example = "hob list"},
    {.name = "ps",
     .run = cmd_ps,
     .says = "List the models in memory",
     .usage = "",
     .example = "hob ps"},
    {.name = "show",
     .run = cmd_show,
     .says = "Show what a model is",
     .usage = "MODEL",
     .options = {{"license", 0, NULL, "only its license"},
                 {"modelfile", 0, NULL, "only its Modelfile"},
                 {"parameters", 0, NULL, "only its parameters"},
                 {"system", 0, NULL, "only its system message"},
                 {"template", 0, NULL, "only its template"},
                 {"verbose", 'v', NULL, "metadata and tensors too"}},
     .example = "hob show --modelfile smollm2:135m"},
    {.name = "create",
     .run = cmd_create,
     .says = "Create a model from a Modelfile",
     .usage = "MODEL",
     .options = {{"file", 'f', "FILE", "the Modelfile (default: Modelfile; -: standard input)"},
                 {"quantize", 'q', "TYPE", "quantize the weights, for example to q4_K_M"},
                 {"in-place", 0, NULL, "use the files where they are, without a copy"}},
     .example = "hob create pirate -f pirate.modelfile"},
    {.name = "pull",
     .run = cmd_pull,
     .says = "Fetch a model from a registry",
     .usage = "MODEL\nhf.co/USER/REPOSITORY/FILE --as KIND",
     .options = {{"as", 0, "KIND", "a file for pictures: checkpoint, lora, vae ..."}, INSECURE},
     .example = "hob pull smollm2:135m"},
    {.name = "push",
     .run = cmd_push,
     .says = "Send a model to a registry",
     .usage = "MODEL",
     .options = {INSECURE},
     .example = "hob push registry.example.org/me/model"},
    {.name = "cp",
     .run = cmd_cp,
     .says = "Copy a model under another name",
     .usage = "SOURCE DESTINATION",
     .example = "hob cp smollm2:135m small"},
    {.name = "rm",
     .run = cmd_rm,
     .says = "Remove models",
     .usage = "MODEL...",
     .example = "hob rm small"},
    {.name = "stop",
     .run = cmd_stop,
     .says = "Unload a model, or all with --all",
     .usage = "MODEL\n--all",
     .example = "hob stop smollm2:135m"},
    {.name = "pin",
     .run = cmd_pin,
     .says = "Load a model and keep it in memory",
     .usage = "MODEL",
     .example = "hob pin smollm2:135m"},
    {.name = "unpin",
     .run = cmd_unpin,
     .says = "Let a pinned model go again",
     .usage = "MODEL",
     .example = "hob unpin smollm2:135m"},
    {.name = "queue",
     .run = cmd_queue,
     .says = "List what runs and what waits",
     .usage = "",
     .example = "hob queue"},
    {.name = "estimate",
     .run = cmd_estimate,
     .says = "Say what a model would take and whether it fits",
     .usage = "MODEL",
     .options = {{"context", 'c', "N", "tokens of the context window"},
                 {"parallel", 'p', "N", "requests at the same time (default: 1)"}},
     .example = "hob estimate smollm2:135m --context 8192"},
    {.name = "image",
     .run = cmd_image,
     .says = "Make a picture from a prompt",
     .usage = "PROMPT",
     .options = {{"output", 'o', "FILE", "where to put the PNG (default: image.png)"},
                 {"model", 'm', "NAME", "checkpoint (default: the first one)"},
                 {"size", 0, "WxH", "width and height in pixels"},
                 {"steps", 0, "N", "steps of the sampler"},
                 {"cfg", 0, "X", "how closely the prompt is followed"},
                 {"seed", 0, "N", "the same seed makes the same picture"},
                 {"negative", 0, "TEXT", "what should not be there"},
                 {"sampler", 0, "NAME", "such as euler or dpmpp_2m"},
                 {"scheduler", 0, "NAME", "such as normal or karras"},
                 {"step-cache", 0, "X",
                  "guess steps that would change less than X (0.05 to 0.3) in sum"},
                 {"batch", 'n', "N", "several pictures: FILE, FILE-2, ..."},
                 {"image", 0, "FILE", "change this picture instead"},
                 {"strength", 0, "X", "how much of it changes (0 to 1)"}},
     .example = "hob image -o cat.png --size 512x512 a cat on a sofa"},
    {.name = "version",
     .aliases = {"--version", "-v"},
     .run = cmd_version,
     .says = "Print the version",
     .usage = "",
     .example = "hob version"},
    {.name = "help",
     .aliases = {"--help", "-h"},
     .run = cmd_help,
     .says = "Say what a command does and takes",
     .usage = "[COMMAND]",
     .example = "hob help run"},
};

const help_command *help_find(const char *name) {
    for (size_t i = 0; i < COUNT_OF(COMMANDS); i++) {
        const help_command *c = &COMMANDS[i];
        if (strcmp(name, c->name) == 0) return c;
        for (size_t k = 0; k < HELP_ALIASES && c->aliases[k]; k++)
            if (strcmp(name, c->aliases[k]) == 0) return c;
    }
    return NULL;
}

const help_option *help_find_option(const char *command, const char *name) {
    const help_command *c = help_find(command);
    for (size_t i = 0; c && i < HELP_OPTIONS && c->options[i].name; i++)
        if (strcmp(c->options[i].name, name) == 0) return &c->options[i];
    return NULL;
}

/* ---- printing ---- */

void help_print_all(FILE *out) {
    fprintf(out, "hob: language models and pictures on your own hardware\n\n"
                 "usage: hob COMMAND [ARGUMENTS]\n\n");
    for (size_t i = 0; i < COUNT_OF(COMMANDS); i++)
        fprintf(out, "  %-10s %s\n", COMMANDS[i].name, COMMANDS[i].says);
    fprintf(out,
            "\n`hob help COMMAND` says more. The server is found through OLLAMA_HOST (default\n"
            "127.0.0.1:11434), for pictures through HOB_IMAGE_HOST (default 127.0.0.1:8188).\n");
}

/* Each line of `lines` behind `head`, or behind as much space when it is not the first. */
static void print_lines(FILE *out, const char *head, const char *lines) {
    str rest = str_from(lines);
    bool first = true;
    do {
        str line = str_cut(&rest, '\n');
        if (first)
            fprintf(out, "%s" STR_FMT "\n", head, STR_ARG(line));
        else
            fprintf(out, "%*s" STR_FMT "\n", (int)strlen(head), "", STR_ARG(line));
        first = false;
    } while (rest.len);
}

static void print_option(FILE *out, const help_option *o) {
    char left[64];
    const char *gap = o->value && o->value[0] != '[' ? " " : "";
    if (o->letter)
        snprintf(left, sizeof left, "-%c, --%s%s%s", o->letter, o->name, gap,
                 o->value ? o->value : "");
    else
        snprintf(left, sizeof left, "    --%s%s%s", o->name, gap, o->value ? o->value : "");
    fprintf(out, "  %-26s %s\n", left, o->says);
}

static void print_usage(FILE *out, const help_command *c) {
    str rest = str_from(c->usage);
    bool first = true;
    do {
        str line = str_cut(&rest, '\n');
        fprintf(out, "%s hob %s%s" STR_FMT "%s\n", first ? "usage:" : "      ", c->name,
                line.len ? " " : "", STR_ARG(line),
                c->options[0].name && first && !str_starts(line, STR("[--")) ? " [OPTIONS]" : "");
        first = false;
    } while (rest.len);
}

void help_print(FILE *out, const help_command *c) {
    fprintf(out, "%s\n\n", c->says);
    print_usage(out, c);
    for (size_t i = 0; i < HELP_ALIASES && c->aliases[i]; i++)
        fprintf(out, "       (or hob %s)\n", c->aliases[i]);
    if (c->options[0].name) fprintf(out, "\noptions:\n");
    for (size_t i = 0; i < HELP_OPTIONS && c->options[i].name; i++)
        print_option(out, &c->options[i]);
    fprintf(out, "\nfor example:\n");
    print_lines(out, "  ", c->example);
}

/* `hob help`, `hob help COMMAND`. */
int cmd_help(cli_context *c, int argc, char **argv) {
    (void)c;
    const help_command *asked = argc > 1 ? help_find(argv[1]) : NULL;
    if (argc > 1 && !asked) return cli_unknown(argv[1]);
    if (asked)
        help_print(stdout, asked);
    else
        help_print_all(stdout);
    return 0;
}
