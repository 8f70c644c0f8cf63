/* run: loads a model and answers one prompt, or starts the terminal chat.
 *
 * Standard input that is not a terminal is put in front of the prompt. Embedding models answer with
 * a JSON array. */
#include "cli/run.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct answer {
    run_session *s;
    format_wrap wrap;
    buf content;
    json_t *last;       /* the final object, with the figures */
    bool thinking_open; /* "Thinking..." was printed and not closed */
} answer;

void run_session_finish(run_session *s) {
    mem_free(s->model);
    mem_free(s->system);
    mem_free(s->keep_alive);
    json_decref(s->messages);
    json_decref(s->options);
    json_decref(s->format);
    json_decref(s->think);
    json_decref(s->dimensions);
    json_decref(s->truncate);
    *s = (run_session){0};
}

static void print_thinking(answer *a, const char *text) {
    if (a->s->hide_thinking || !*text) return;
    if (!a->thinking_open) {
        printf("Thinking...\n");
        a->thinking_open = true;
    }
    bool tty = isatty(STDOUT_FILENO);
    printf("%s%s%s", tty ? "\x1b[90m" : "", text, tty ? "\x1b[0m" : "");
    fflush(stdout);
}

static bool on_line(const json_t *line, void *arg) {
    answer *a = arg;
    const json_t *message = json_object_get(line, "message");
    const char *thinking = json_string_value(json_object_get(message, "thinking"));
    const char *content = json_string_value(json_object_get(message, "content"));
    if (thinking) print_thinking(a, thinking);
    if (content && *content) {
        if (a->thinking_open) {
            printf("\n...done thinking.\n\n");
            a->thinking_open = false;
        }
        buf_put_str(&a->content, str_from(content));
        format_wrap_put(&a->wrap, str_from(content));
    }
    if (json_is_true(json_object_get(line, "done")))
        a->last = json_incref((json_t *)(uintptr_t)line);
    return true;
}

/* The figures go to standard error, so that the answer alone can be piped on. */
static void print_figure(const char *label, const json_t *last, const char *key) {
    const json_t *v = json_object_get(last, key);
    if (!v) return;
    buf b = {0};
    format_duration(&b, json_integer_value(v));
    fprintf(stderr, "%-22s%s\n", label, buf_cstr(&b));
    buf_finish(&b);
}

static void print_rate(const char *what, const json_t *last, const char *count_key,
                       const char *time_key) {
    int64_t n = json_integer_value(json_object_get(last, count_key));
    int64_t ns = json_integer_value(json_object_get(last, time_key));
    char label[40];
    snprintf(label, sizeof label, "%s count:", what);
    fprintf(stderr, "%-22s%lld token(s)\n", label, (long long)n);
    snprintf(label, sizeof label, "%s duration:", what);
    print_figure(label, last, time_key);
    snprintf(label, sizeof label, "%s rate:", what);
    if (ns > 0) fprintf(stderr, "%-22s%.2f tokens/s\n", label, (double)n * 1e9 / (double)ns);
}

static void print_figures(const json_t *last) {
    print_figure("total duration:", last, "total_duration");
    print_figure("load duration:", last, "load_duration");
    print_rate("prompt eval", last, "prompt_eval_count", "prompt_eval_duration");
    print_rate("eval", last, "eval_count", "eval_duration");
}

static json_t *request_body(const run_session *s) {
    json_t *body = json_object(), *messages = json_array();
    if (s->system)
        json_array_append_new(messages, json_pack("{s:s, s:o}", "role", "system", "content",
                                                  cli_text(str_from(s->system))));
    json_array_extend(messages, s->messages);
    json_object_set_new(body, "model", json_string(s->model));
    json_object_set_new(body, "messages", messages);
    if (json_object_size(s->options)) json_object_set(body, "options", s->options);
    if (s->format) json_object_set(body, "format", s->format);
    if (s->think) json_object_set(body, "think", s->think);
    if (s->truncate) json_object_set(body, "truncate", s->truncate);
    if (s->keep_alive) json_object_set_new(body, "keep_alive", json_string(s->keep_alive));
    return body;
}

err_code run_send(cli_context *c, run_session *s, str content, err *e) {
    json_array_append_new(s->messages,
                          json_pack("{s:s, s:o}", "role", "user", "content", cli_text(content)));
    answer a = {.s = s, .wrap = {.width = s->wordwrap ? format_terminal_width() : 0}};
    json_t *body = request_body(s);
    err_code code = cli_client_stream(c->client, "/api/chat", body, on_line, &a, e);
    json_decref(body);
    format_wrap_finish(&a.wrap);
    bool kept = code == ERR_OK || code == ERR_CANCELLED;
    if (kept) {
        printf("\n");
        if (isatty(STDOUT_FILENO)) printf("\n");
        json_array_append_new(s->messages, json_pack("{s:s, s:s}", "role", "assistant", "content",
                                                     buf_cstr(&a.content)));
        fflush(stdout); /* the figures come after the answer, where both go to one file */
        if (s->verbose && a.last) print_figures(a.last);
    } else {
        json_array_remove(s->messages, json_array_size(s->messages) - 1);
    }
    json_decref(a.last);
    buf_finish(&a.content);
    return kept ? ERR_OK : code;
}

static int embed(cli_context *c, const run_session *s, str prompt) {
    err e;
    json_t *reply = NULL,
           *body = json_pack("{s:s, s:o}", "model", s->model, "input", cli_text(prompt));
    if (s->dimensions) json_object_set(body, "dimensions", s->dimensions);
    if (s->truncate) json_object_set(body, "truncate", s->truncate);
    if (s->keep_alive) json_object_set_new(body, "keep_alive", json_string(s->keep_alive));
    err_code code = cli_client_call(c->client, "POST", "/api/embed", body, &reply, &e);
    json_decref(body);
    if (code) return cli_fail(&e);
    json_t *vector = json_array_get(json_object_get(reply, "embeddings"), 0);
    char *text = json_dumps(vector, JSON_COMPACT | JSON_REAL_PRECISION(9) | JSON_ENCODE_ANY);
    printf("%s\n", text ? text : "[]");
    free(text);
    json_decref(reply);
    return 0;
}

static err_code find_model(cli_context *c, const run_session *s, bool *ret_embeds, err *e) {
    json_t *reply = NULL, *body = json_pack("{s:s}", "model", s->model);
    err_code code = cli_client_call(c->client, "POST", "/api/show", body, &reply, e);
    json_decref(body);
    if (code) return code;
    bool completes = false, embeds = false;
    size_t i;
    json_t *v;
    json_array_foreach(json_object_get(reply, "capabilities"), i, v) {
        if (strcmp(json_string_value(v), "completion") == 0) completes = true;
        if (strcmp(json_string_value(v), "embedding") == 0) embeds = true;
    }
    json_decref(reply);
    *ret_embeds = embeds && !completes;
    return ERR_OK;
}

/* A flag that stands alone or says =false. */
static bool is_on(const char *text) {
    return strcmp(text, "false") != 0;
}

/* A flag that may stand alone: true, false or another value. */
static json_t *parse_switch(const char *text) {
    if (*text == '\0' || strcmp(text, "true") == 0) return json_true();
    if (strcmp(text, "false") == 0) return json_false();
    return json_string(text);
}

static json_t *parse_count(const char *text) {
    int64_t n;
    return str_to_i64(str_from(text), &n) ? json_integer(n) : json_string(text);
}

static json_t *parse_format(const char *text) {
    json_t *schema = json_loads(text, 0, NULL);
    return schema ? schema : json_string(text);
}

/* Fills the session from the flags; what is left over is the prompt, which may be given and empty.
 * False: unknown flag. */
static bool parse_args(int argc, char **argv, run_session *s, buf *prompt, bool *ret_given) {
    *ret_given = false;
    for (cli_args args = {argc, argv, 1}; args.at < argc; args.at++) {
        const char *v;
        if (cli_flag(&args, "verbose", &v))
            s->verbose = is_on(v);
        else if (cli_flag(&args, "nowordwrap", &v))
            s->wordwrap = !is_on(v);
        else if (cli_flag(&args, "hidethinking", &v))
            s->hide_thinking = is_on(v);
        else if (cli_flag(&args, "keepalive", &v))
            s->keep_alive = mem_dup(v, strlen(v) + 1);
        else if (cli_flag(&args, "format", &v))
            s->format = parse_format(v);
        else if (cli_flag(&args, "think", &v))
            s->think = parse_switch(v);
        else if (cli_flag(&args, "insecure", &v))
            s->insecure = is_on(v);
        else if (cli_flag(&args, "truncate", &v))
            s->truncate = parse_switch(v);
        else if (cli_flag(&args, "dimensions", &v))
            s->dimensions = parse_count(v);
        else if (argv[args.at][0] == '-' && argv[args.at][1] != '\0')
            return false;
        else if (!s->model)
            s->model = mem_dup(argv[args.at], strlen(argv[args.at]) + 1);
        else {
            buf_putf(prompt, "%s%s", prompt->len ? " " : "", argv[args.at]);
            *ret_given = true;
        }
    }
    return s->model != NULL;
}

/* Puts all of standard input in front of the prompt. */
static void read_stdin(buf *prompt) {
    buf all = {0};
    char block[4096];
    size_t n;
    while ((n = fread(block, 1, sizeof block, stdin)) > 0) buf_put(&all, block, n);
    if (all.len && prompt->len) buf_put_char(&all, ' ');
    buf_put_str(&all, buf_str(prompt));
    buf_finish(prompt);
    *prompt = all;
}

/* A model that is not there is pulled first. */
static err_code find_or_pull(cli_context *c, run_session *s, bool *embeds, err *e) {
    err_code code = find_model(c, s, embeds, e);
    if (code != ERR_NOT_FOUND) return code;
    json_t *body = json_object();
    json_object_set_new(body, "model", cli_text(str_from(s->model)));
    if (s->insecure) json_object_set_new(body, "insecure", json_true());
    TRY(cli_exchange(c, "/api/pull", body, e));
    return find_model(c, s, embeds, e);
}

/* `hob run MODEL ""`, or with nothing on standard input: the model is loaded, nothing is said. */
static err_code load_only(cli_context *c, const run_session *s, err *e) {
    json_t *body = json_pack("{s:s, s:b}", "model", s->model, "stream", 0);
    if (s->keep_alive) json_object_set_new(body, "keep_alive", json_string(s->keep_alive));
    err_code code = cli_client_call(c->client, "POST", "/api/generate", body, NULL, e);
    json_decref(body);
    return code;
}

int cmd_run(cli_context *c, int argc, char **argv) {
    run_session s = {.messages = json_array(), .options = json_object(), .wordwrap = true};
    buf prompt = {0};
    err e;
    int status = 0;
    bool embeds = false, given;
    if (!parse_args(argc, argv, &s, &prompt, &given)) {
        status = cli_usage("run");
        goto end;
    }
    cli_interrupt_watch();
    bool piped = !isatty(STDIN_FILENO);
    if (piped) read_stdin(&prompt);
    if (find_or_pull(c, &s, &embeds, &e)) {
        status = cli_fail(&e);
    } else if (embeds) {
        status = embed(c, &s, buf_str(&prompt));
    } else if (prompt.len == 0 && (piped || given)) {
        status = load_only(c, &s, &e) ? cli_fail(&e) : 0;
    } else if (prompt.len || !isatty(STDOUT_FILENO)) {
        status = run_send(c, &s, buf_str(&prompt), &e) ? cli_fail(&e) : 0;
    } else {
        status = chat_loop(c, &s);
    }
end:
    run_session_finish(&s);
    buf_finish(&prompt);
    return status;
}
