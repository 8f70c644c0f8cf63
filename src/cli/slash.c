/* Slash commands: each is a row of one table; the rest of the line is its argument. */
#include "cli/slash.h"
#include "cli/modelfile.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *dup_str(str s) {
    char *p = mem_alloc(s.len + 1);
    if (s.len) memcpy(p, s.ptr, s.len);
    p[s.len] = '\0';
    return p;
}

static void replace(char **slot, str s) {
    mem_free(*slot);
    *slot = dup_str(s);
}

/* A word as the JSON type it looks like: integer, number, boolean, else text. */
static json_t *guess(str word) {
    int64_t i;
    double d;
    if (str_to_i64(word, &i)) return json_integer(i);
    if (str_to_f64(word, &d)) return json_real(d);
    if (str_eq(word, STR("true"))) return json_true();
    if (str_eq(word, STR("false"))) return json_false();
    return json_stringn(word.ptr, word.len);
}

static void set_parameter(run_session *s, str arg) {
    str rest = arg, name = str_cut(&rest, ' ');
    rest = str_trim(rest);
    if (name.len == 0 || rest.len == 0) {
        printf("Usage: /set parameter NAME VALUE\n");
        return;
    }
    err e;
    if (modelfile_check_parameter(name, rest, &e)) {
        printf("Couldn't set parameter: %s\n", e.msg);
        return;
    }
    char *key = dup_str(name);
    if (str_eq(name, STR("stop"))) {
        json_t *stops = json_array();
        for (str word; rest.len;) {
            word = str_cut(&rest, ' ');
            if (word.len) json_array_append_new(stops, json_stringn(word.ptr, word.len));
        }
        json_object_set_new(s->options, key, stops);
    } else {
        json_object_set_new(s->options, key, guess(rest));
    }
    printf("Set parameter '%s' to '" STR_FMT "'\n", key,
           STR_ARG(str_trim(str_sub(arg, name.len, arg.len))));
    mem_free(key);
}

static void help_set(void) {
    printf("Available Commands:\n"
           "  /set parameter NAME VALUE   Set a parameter, such as temperature 0.2\n"
           "  /set system TEXT            Set the system message\n"
           "  /set history | nohistory    Keep lines in the history file, or not\n"
           "  /set wordwrap | nowordwrap  Break lines between words, or not\n"
           "  /set format json | noformat Ask for JSON, or not\n"
           "  /set verbose | quiet        Show the figures after each answer, or not\n"
           "  /set think [LEVEL] | nothink\n");
}

static void cmd_set(cli_context *c, run_session *s, slash_state *state, str arg) {
    (void)c;
    str rest = arg, what = str_cut(&rest, ' ');
    rest = str_trim(rest);
    if (what.len == 0)
        help_set();
    else if (str_eq(what, STR("parameter")))
        set_parameter(s, rest);
    else if (str_eq(what, STR("system"))) {
        if (str_starts(rest, STR("\"\"\"")) && rest.len >= 6) rest = str_sub(rest, 3, rest.len - 3);
        replace(&s->system, rest);
        printf("Set system message.\n");
    } else if (str_eq(what, STR("history")))
        state->keep_history = true;
    else if (str_eq(what, STR("nohistory")))
        state->keep_history = false;
    else if (str_eq(what, STR("wordwrap")))
        s->wordwrap = true, printf("Set 'wordwrap' mode.\n");
    else if (str_eq(what, STR("nowordwrap")))
        s->wordwrap = false, printf("Set 'nowordwrap' mode.\n");
    else if (str_eq(what, STR("verbose")))
        s->verbose = true, printf("Set 'verbose' mode.\n");
    else if (str_eq(what, STR("quiet")))
        s->verbose = false, printf("Set 'quiet' mode.\n");
    else if (str_eq(what, STR("format")) && str_eq(rest, STR("json"))) {
        json_decref(s->format);
        s->format = json_string("json");
        printf("Set format to 'json' mode.\n");
    } else if (str_eq(what, STR("noformat"))) {
        json_decref(s->format);
        s->format = NULL;
        printf("Disabled format.\n");
    } else if (str_eq(what, STR("think")) || str_eq(what, STR("nothink"))) {
        json_decref(s->think);
        s->think = what.len == 7 ? json_false()
                   : rest.len    ? json_stringn(rest.ptr, rest.len)
                                 : json_true();
        printf(what.len == 7 ? "Set 'nothink' mode.\n" : "Set 'think' mode.\n");
    } else
        printf("Unknown command '/set " STR_FMT "'. Type /? for help\n", STR_ARG(what));
}

/* What /set parameter has said; the model's own follow. */
static void print_options(const run_session *s) {
    const char *key;
    json_t *v;
    if (json_object_size(s->options)) printf("User defined parameters:\n");
    json_object_foreach(s->options, key, v) {
        char *value = json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(9));
        printf("  %-24s %s\n", key, value ? value : "");
        free(value);
    }
    if (json_object_size(s->options)) printf("\nModel defined parameters:\n");
}

static void cmd_show_part(cli_context *c, run_session *s, slash_state *state, str arg) {
    (void)state;
    static const char *const parts[] = {"license", "modelfile", "parameters", "system", "template"};
    char flag[32];
    char name[] = "show";
    char *argv[] = {name, s->model, flag};
    if (str_eq(arg, STR("info"))) {
        cmd_show(c, 2, argv);
        return;
    }
    for (size_t i = 0; i < COUNT_OF(parts); i++) {
        if (!str_eq(arg, str_from(parts[i]))) continue;
        if (str_eq(arg, STR("system")) && s->system) {
            printf("%s\n", s->system);
            return;
        }
        if (str_eq(arg, STR("parameters"))) print_options(s);
        snprintf(flag, sizeof flag, "--%s", parts[i]);
        cmd_show(c, 3, argv);
        return;
    }
    printf("Usage: /show info|license|modelfile|parameters|system|template\n");
}

static void cmd_load(cli_context *c, run_session *s, slash_state *state, str arg) {
    (void)state;
    if (arg.len == 0) {
        printf("Usage: /load MODEL\n");
        return;
    }
    err e;
    char *model = dup_str(arg);
    json_t *body = json_pack("{s:s, s:b}", "model", model, "stream", 0);
    printf("Loading model '%s'\n", model);
    if (cli_client_call(c->client, "POST", "/api/generate", body, NULL, &e)) {
        cli_fail(&e);
        mem_free(model);
    } else {
        mem_free(s->model);
        s->model = model;
        json_array_clear(s->messages);
    }
    json_decref(body);
}

static void cmd_save(cli_context *c, run_session *s, slash_state *state, str arg) {
    (void)state;
    if (arg.len == 0) {
        printf("Usage: /save MODEL\n");
        return;
    }
    err e;
    char *model = dup_str(arg);
    json_t *body = json_pack("{s:s, s:s, s:b}", "model", model, "from", s->model, "stream", 0);
    if (s->system) json_object_set_new(body, "system", json_string(s->system));
    if (json_object_size(s->options)) json_object_set(body, "parameters", s->options);
    if (json_array_size(s->messages)) json_object_set(body, "messages", s->messages);
    if (cli_client_call(c->client, "POST", "/api/create", body, NULL, &e))
        cli_fail(&e);
    else
        printf("Created new model '%s'\n", model);
    json_decref(body);
    mem_free(model);
}

static void cmd_clear(cli_context *c, run_session *s, slash_state *state, str arg) {
    (void)c, (void)state, (void)arg;
    json_array_clear(s->messages);
    printf("Cleared session context\n");
}

static void cmd_list_models(cli_context *c, run_session *s, slash_state *state, str arg) {
    (void)s, (void)state, (void)arg;
    char name[] = "list";
    char *argv[] = {name};
    cmd_list(c, 1, argv);
}

static void cmd_bye(cli_context *c, run_session *s, slash_state *state, str arg) {
    (void)c, (void)s, (void)arg;
    state->leave = true;
}

static void cmd_slash_help(cli_context *c, run_session *s, slash_state *state, str arg) {
    (void)c, (void)s, (void)state;
    if (str_eq(arg, STR("set"))) {
        help_set();
        return;
    }
    if (str_eq(arg, STR("shortcuts"))) {
        printf("Available keyboard shortcuts:\n"
               "  Ctrl + a / e   Start / end of the line\n"
               "  Ctrl + k / u   Delete after the cursor / the whole line\n"
               "  Ctrl + w       Delete the word before the cursor\n"
               "  Ctrl + l       Clear the screen\n"
               "  Ctrl + g       Edit the line in an editor\n"
               "  Ctrl + c       Stop the answer\n"
               "  Ctrl + d       Leave\n");
        return;
    }
    printf("Available Commands:\n"
           "  /set            Set session variables (/? set)\n"
           "  /show           Show model information\n"
           "  /load MODEL     Load another model\n"
           "  /save MODEL     Save this session as a model\n"
           "  /clear          Clear session context\n"
           "  /list           List models\n"
           "  /bye            Exit\n"
           "  /?, /help       Help for a command\n"
           "  /? shortcuts    Help for keyboard shortcuts\n\n"
           "Use \"\"\" to begin a multi-line message.\n");
}

void slash_run(cli_context *c, run_session *s, slash_state *state, str line) {
    static const struct {
        const char *name;
        void (*run)(cli_context *c, run_session *s, slash_state *state, str arg);
    } commands[] = {
        {"/set", cmd_set},         {"/show", cmd_show_part}, {"/load", cmd_load},
        {"/save", cmd_save},       {"/clear", cmd_clear},    {"/list", cmd_list_models},
        {"/bye", cmd_bye},         {"/exit", cmd_bye},       {"/?", cmd_slash_help},
        {"/help", cmd_slash_help},
    };
    str arg = line, name = str_cut(&arg, ' ');
    for (size_t i = 0; i < COUNT_OF(commands); i++) {
        if (!str_eq(name, str_from(commands[i].name))) continue;
        commands[i].run(c, s, state, str_trim(arg));
        return;
    }
    printf("Unknown command '" STR_FMT "'. Type /? for help\n", STR_ARG(name));
}
