/* show: a model's facts as indented sections, or one of its texts. */
#include "cli/commands.h"
#include "cli/format.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *text_of(const json_t *object, const char *key) {
    const char *s = json_string_value(json_object_get(object, key));
    return s ? s : "";
}

static void section(const char *title, format_table *t) {
    printf("  %s\n", title);
    format_table_print(t, "    ");
    putchar('\n');
    format_table_finish(t);
}

static void add_pair(format_table *t, const char *key, const char *value) {
    format_table_add(t, key);
    format_table_add(t, value);
}

/* A number under "<architecture>.<name>" of model_info, if it is there. */
static void add_info(format_table *t, const json_t *info, const char *name, const char *label) {
    char key[256], value[32];
    snprintf(key, sizeof key, "%s.%s", text_of(info, "general.architecture"), name);
    const json_t *v = json_object_get(info, key);
    if (!json_is_number(v)) return;
    snprintf(value, sizeof value, "%.0f", json_number_value(v));
    add_pair(t, label, value);
}

static void print_model(const json_t *reply) {
    const json_t *info = json_object_get(reply, "model_info");
    const json_t *details = json_object_get(reply, "details");
    format_table t;
    format_table_init(&t, 2);
    const char *arch = text_of(info, "general.architecture");
    add_pair(&t, "architecture", *arch ? arch : text_of(details, "family"));
    add_pair(&t, "parameters", text_of(details, "parameter_size"));
    add_info(&t, info, "context_length", "context length");
    add_info(&t, info, "embedding_length", "embedding length");
    add_pair(&t, "quantization", text_of(details, "quantization_level"));
    if (*text_of(reply, "requires")) add_pair(&t, "requires", text_of(reply, "requires"));
    section("Model", &t);
}

static void print_capabilities(const json_t *reply) {
    const json_t *list = json_object_get(reply, "capabilities");
    if (json_array_size(list) == 0) return;
    format_table t;
    format_table_init(&t, 1);
    size_t i;
    json_t *v;
    json_array_foreach(list, i, v) format_table_add(&t, json_string_value(v));
    section("Capabilities", &t);
}

static void print_parameters(const char *text) {
    if (!*text) return;
    format_table t;
    format_table_init(&t, 2);
    CLEANUP(arena_destroy) arena *a = arena_create(0);
    for (str rest = str_from(text); rest.len;) {
        str line = str_trim(str_cut(&rest, '\n'));
        if (line.len == 0) continue;
        str value = line, key = str_cut(&value, ' ');
        add_pair(&t, str_cstr(a, key), str_cstr(a, str_trim(value)));
    }
    section("Parameters", &t);
}

/* The first two lines that are not blank, then "..." if there is more. */
static void print_start(const char *title, const char *text) {
    if (!*text) return;
    printf("  %s\n", title);
    int n = 0;
    for (str rest = str_from(text); rest.len;) {
        str line = str_trim(str_cut(&rest, '\n'));
        if (line.len == 0) continue;
        if (n++ == 2) {
            printf("    ...\n");
            break;
        }
        printf("    " STR_FMT "\n", STR_ARG(line));
    }
    putchar('\n');
}

static void put_short(buf *out, const json_t *v) {
    if (!json_is_array(v)) {
        char *text = json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT);
        buf_putf(out, "%s", text);
        free(text);
        return;
    }
    size_t n = json_array_size(v), shown = n > 3 ? 3 : n;
    buf_put_char(out, '[');
    for (size_t i = 0; i < shown; i++) {
        if (i) buf_put_char(out, ' ');
        put_short(out, json_array_get(v, i));
    }
    if (n > shown) buf_putf(out, " ...+%zu more", n - shown);
    buf_put_char(out, ']');
}

static void print_verbose(json_t *reply) {
    format_table t;
    format_table_init(&t, 2);
    const char *key;
    json_t *v;
    json_object_foreach(json_object_get(reply, "model_info"), key, v) {
        buf b = {0};
        put_short(&b, v);
        add_pair(&t, key, buf_cstr(&b));
        buf_finish(&b);
    }
    section("Metadata", &t);
    format_table_init(&t, 3);
    size_t i;
    json_array_foreach(json_object_get(reply, "tensors"), i, v) {
        buf b = {0};
        put_short(&b, json_object_get(v, "shape"));
        format_table_add(&t, text_of(v, "name"));
        format_table_add(&t, text_of(v, "type"));
        format_table_add(&t, buf_cstr(&b));
        buf_finish(&b);
    }
    section("Tensors", &t);
}

int cmd_show(cli_context *c, int argc, char **argv) {
    static const char *const only[] = {"license", "modelfile", "parameters", "system", "template"};
    const char *model = NULL, *part = NULL, *unused;
    bool verbose = false;
    int n_parts = 0;
    for (cli_args args = {argc, argv, 1}; args.at < argc; args.at++) {
        bool matched = false;
        for (size_t k = 0; k < COUNT_OF(only) && !matched; k++)
            if (cli_flag(&args, only[k], &unused)) part = only[k], n_parts++, matched = true;
        if (matched) continue;
        if (cli_flag(&args, "verbose", &unused))
            verbose = true;
        else if (argv[args.at][0] == '-' || model)
            return cli_usage("show");
        else
            model = argv[args.at];
    }
    if (!model) return cli_usage("show");
    if (n_parts > 1) {
        fprintf(stderr,
                "Error: only one of '--license', '--modelfile', '--parameters', '--system', "
                "or '--template' can be specified\n");
        return 1;
    }
    err e;
    json_t *reply = NULL, *body = json_pack("{s:s, s:b}", "model", model, "verbose", verbose);
    err_code code = cli_client_call(c->client, "POST", "/api/show", body, &reply, &e);
    json_decref(body);
    if (code) return cli_fail(&e);
    if (part) {
        printf("%s\n", text_of(reply, part));
    } else {
        print_model(reply);
        print_capabilities(reply);
        print_parameters(text_of(reply, "parameters"));
        if (verbose) print_verbose(reply);
        print_start("System", text_of(reply, "system"));
        print_start("License", text_of(reply, "license"));
    }
    json_decref(reply);
    return 0;
}
