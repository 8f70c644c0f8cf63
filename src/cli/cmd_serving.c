/* pin, unpin, queue, estimate: what the server does and could do. */
#include "cli/commands.h"
#include "cli/format.h"
#include <stdio.h>
#include <string.h>

static const char *text_of(const json_t *object, const char *key) {
    const char *s = json_string_value(json_object_get(object, key));
    return s ? s : "";
}

static int64_t number_of(const json_t *object, const char *key) {
    return json_integer_value(json_object_get(object, key));
}

static int set_pin(cli_context *c, int argc, char **argv, bool pinned) {
    if (argc != 2) return cli_usage(argv[0]);
    err e;
    json_t *body =
        json_pack("{s:o, s:b}", "model", cli_text(str_from(argv[1])), "pinned", (int)pinned);
    err_code code = cli_client_call(c->client, "POST", "/api/pin", body, NULL, &e);
    json_decref(body);
    if (code) return cli_fail(&e);
    printf("%s '%s'\n", pinned ? "pinned" : "unpinned", argv[1]);
    return 0;
}

int cmd_pin(cli_context *c, int argc, char **argv) {
    return set_pin(c, argc, argv, true);
}

int cmd_unpin(cli_context *c, int argc, char **argv) {
    return set_pin(c, argc, argv, false);
}

/* "3 before it", "512 of 2010 tokens", "17 tokens". */
static void add_progress(format_table *t, const json_t *job) {
    char text[64] = "";
    const char *state = text_of(job, "state");
    bool embeds = strcmp(text_of(job, "kind"), "embed") == 0;
    if (strcmp(state, "waiting") == 0)
        snprintf(text, sizeof text, "%lld before it", (long long)number_of(job, "position"));
    else if (strcmp(state, "answer") == 0)
        snprintf(text, sizeof text, "%lld tokens", (long long)number_of(job, "eval_count"));
    else if (json_object_get(job, "total"))
        snprintf(text, sizeof text, "%lld of %lld %s", (long long)number_of(job, "completed"),
                 (long long)number_of(job, "total"), embeds ? "texts" : "tokens");
    format_table_add(t, text);
}

int cmd_queue(cli_context *c, int argc, char **argv) {
    if (argc != 1) return cli_usage("queue");
    (void)argv;
    static const char *const heads[] = {"ID", "MODEL", "KIND", "STATE", "PROGRESS", "AGE"};
    err e;
    json_t *reply = NULL, *job;
    if (cli_client_call(c->client, "GET", "/api/queue", NULL, &reply, &e)) return cli_fail(&e);
    format_table t;
    format_table_init(&t, COUNT_OF(heads));
    size_t i;
    for (i = 0; i < COUNT_OF(heads); i++) format_table_add(&t, heads[i]);
    json_array_foreach(json_object_get(reply, "jobs"), i, job) {
        char id[24];
        buf age = {0};
        snprintf(id, sizeof id, "%lld", (long long)number_of(job, "id"));
        format_duration(&age, number_of(job, "age") / 1000000 * 1000000);
        format_table_add(&t, id);
        format_table_add(&t, text_of(job, "model"));
        format_table_add(&t, text_of(job, "kind"));
        format_table_add(&t, text_of(job, "state"));
        add_progress(&t, job);
        format_table_add(&t, buf_cstr(&age));
        buf_finish(&age);
    }
    format_table_print(&t, "");
    format_table_finish(&t);
    int64_t pictures = number_of(reply, "pictures");
    if (pictures) printf("and %lld pictures\n", (long long)pictures);
    json_decref(reply);
    return 0;
}

static void print_bytes(const char *name, int64_t n_bytes) {
    buf b = {0};
    format_bytes(&b, n_bytes);
    printf("  %-10s %s\n", name, buf_cstr(&b));
    buf_finish(&b);
}

int cmd_estimate(cli_context *c, int argc, char **argv) {
    cli_args a = {argc, argv, 1};
    const char *model = NULL, *v;
    int64_t n_ctx = 0, n_parallel = 1;
    for (; a.at < argc; a.at++) {
        if (cli_flag(&a, "context", &v) && str_to_i64(str_from(v), &n_ctx)) continue;
        if (cli_flag(&a, "parallel", &v) && str_to_i64(str_from(v), &n_parallel)) continue;
        if (model || argv[a.at][0] == '-') return cli_usage("estimate");
        model = argv[a.at];
    }
    if (!model) return cli_usage("estimate");
    err e;
    json_t *reply = NULL,
           *body =
               json_pack("{s:o, s:I, s:{s:I}}", "model", cli_text(str_from(model)), "num_parallel",
                         (json_int_t)n_parallel, "options", "num_ctx", (json_int_t)n_ctx);
    err_code code = cli_client_call(c->client, "POST", "/api/estimate", body, &reply, &e);
    json_decref(body);
    if (code) return cli_fail(&e);
    bool fits = json_is_true(json_object_get(reply, "fits"));
    printf("%s: %s\n", fits ? "fits" : "does not fit", text_of(reply, "reason"));
    print_bytes("weights", number_of(reply, "weights"));
    print_bytes("context", number_of(reply, "kv"));
    print_bytes("steps", number_of(reply, "plan"));
    print_bytes("together", number_of(reply, "total"));
    printf("  context of %lld tokens (trained for %lld, at most %lld fit)\n",
           (long long)number_of(reply, "context_length"),
           (long long)number_of(reply, "context_length_trained"),
           (long long)number_of(reply, "context_length_max"));
    json_decref(reply);
    return fits ? 0 : 1;
}
