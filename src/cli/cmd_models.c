/* list, ps, cp, rm, stop, version: one or two requests and a table. */
#include "base/clock.h"
#include "cli/commands.h"
#include "cli/format.h"
#include <stdio.h>
#include <string.h>
#include <strings.h>

static const char *text_of(const json_t *object, const char *key) {
    const char *s = json_string_value(json_object_get(object, key));
    return s ? s : "";
}

static void add_bytes(format_table *t, int64_t n_bytes) {
    buf b = {0};
    format_bytes(&b, n_bytes);
    format_table_add(t, buf_cstr(&b));
    buf_finish(&b);
}

static void add_when(format_table *t, const char *rfc3339) {
    buf b = {0};
    format_when(&b, str_from(rfc3339), clock_wall_ns());
    format_table_add(t, buf_cstr(&b));
    buf_finish(&b);
}

static void add_id(format_table *t, const char *digest) {
    char id[13];
    snprintf(id, sizeof id, "%s", digest);
    format_table_add(t, id);
}

int cmd_list(cli_context *c, int argc, char **argv) {
    err e;
    json_t *reply = NULL;
    if (cli_client_call(c->client, "GET", "/api/tags", NULL, &reply, &e)) return cli_fail(&e);
    const char *prefix = argc > 1 ? argv[1] : "";
    format_table t;
    format_table_init(&t, 4);
    static const char *const heads[] = {"NAME", "ID", "SIZE", "MODIFIED"};
    for (size_t i = 0; i < COUNT_OF(heads); i++) format_table_add(&t, heads[i]);
    size_t i;
    json_t *m;
    json_array_foreach(json_object_get(reply, "models"), i, m) {
        if (strncasecmp(text_of(m, "name"), prefix, strlen(prefix)) != 0) continue;
        format_table_add(&t, text_of(m, "name"));
        add_id(&t, text_of(m, "digest"));
        add_bytes(&t, json_integer_value(json_object_get(m, "size")));
        add_when(&t, text_of(m, "modified_at"));
    }
    format_table_print(&t, "");
    format_table_finish(&t);
    json_decref(reply);
    return 0;
}

/* "100% GPU", "48%/52% CPU/GPU": where the bytes are. */
static void add_processor(format_table *t, int64_t size, int64_t on_gpu) {
    char text[32];
    if (size <= 0)
        snprintf(text, sizeof text, "Unknown");
    else if (on_gpu <= 0)
        snprintf(text, sizeof text, "100%% CPU");
    else if (on_gpu >= size)
        snprintf(text, sizeof text, "100%% GPU");
    else {
        int cpu = (int)((double)(size - on_gpu) * 100 / (double)size + 0.5);
        snprintf(text, sizeof text, "%d%%/%d%% CPU/GPU", cpu, 100 - cpu);
    }
    format_table_add(t, text);
}

int cmd_ps(cli_context *c, int argc, char **argv) {
    err e;
    json_t *reply = NULL;
    if (cli_client_call(c->client, "GET", "/api/ps", NULL, &reply, &e)) return cli_fail(&e);
    format_table t;
    format_table_init(&t, 6);
    static const char *const heads[] = {"NAME", "ID", "SIZE", "PROCESSOR", "CONTEXT", "UNTIL"};
    for (size_t i = 0; i < COUNT_OF(heads); i++) format_table_add(&t, heads[i]);
    size_t i;
    json_t *m;
    json_array_foreach(json_object_get(reply, "models"), i, m) {
        str name = str_from(text_of(m, "name"));
        if (argc > 1 && !str_starts(name, str_from(argv[1]))) continue;
        int64_t size = json_integer_value(json_object_get(m, "size"));
        char context[24];
        snprintf(context, sizeof context, "%lld",
                 (long long)json_integer_value(json_object_get(m, "context_length")));
        format_table_add(&t, text_of(m, "name"));
        add_id(&t, text_of(m, "digest"));
        add_bytes(&t, size);
        add_processor(&t, size, json_integer_value(json_object_get(m, "size_vram")));
        format_table_add(&t, context);
        int64_t until;
        bool parsed = format_parse_time(str_from(text_of(m, "expires_at")), &until);
        if (parsed && until < clock_wall_ns())
            format_table_add(&t, "Stopping...");
        else
            add_when(&t, text_of(m, "expires_at"));
    }
    format_table_print(&t, "");
    format_table_finish(&t);
    json_decref(reply);
    return 0;
}

int cmd_cp(cli_context *c, int argc, char **argv) {
    if (argc != 3) return cli_usage("cp");
    err e;
    json_t *body = json_pack("{s:s, s:s}", "source", argv[1], "destination", argv[2]);
    err_code code = cli_client_call(c->client, "POST", "/api/copy", body, NULL, &e);
    json_decref(body);
    if (code) return cli_fail(&e);
    printf("copied '%s' to '%s'\n", argv[1], argv[2]);
    return 0;
}

static err_code unload(cli_context *c, const char *model, err *e) {
    json_t *body = json_pack("{s:s, s:s, s:i, s:b}", "model", model, "prompt", "", "keep_alive", 0,
                             "stream", 0);
    err_code code = cli_client_call(c->client, "POST", "/api/generate", body, NULL, e);
    json_decref(body);
    return code;
}

int cmd_rm(cli_context *c, int argc, char **argv) {
    if (argc < 2) return cli_usage("rm");
    for (int i = 1; i < argc; i++) {
        err e;
        unload(c, argv[i], &e); /* an embedding model refuses; deleting is what counts */
        json_t *body = json_pack("{s:s}", "model", argv[i]);
        err_code code = cli_client_call(c->client, "DELETE", "/api/delete", body, NULL, &e);
        json_decref(body);
        if (code) return cli_fail(&e);
        printf("deleted '%s'\n", argv[i]);
    }
    return 0;
}

/* Another server than hob's has neither pins nor a way to unload all. */
static int stop_all(cli_context *c) {
    err e;
    json_t *reply = NULL, *body = json_pack("{s:b}", "pinned", 1), *name;
    err_code code = cli_client_call(c->client, "POST", "/api/unload", body, &reply, &e);
    size_t i;
    json_decref(body);
    if (code) return cli_fail(&e);
    json_array_foreach(json_object_get(reply, "unloaded"), i, name)
        printf("stopped '%s'\n", json_string_value(name));
    json_array_foreach(json_object_get(reply, "after_running"), i, name)
        printf("stopping '%s' after its running requests\n", json_string_value(name));
    json_decref(reply);
    return 0;
}

int cmd_stop(cli_context *c, int argc, char **argv) {
    if (argc != 2) return cli_usage("stop");
    if (strcmp(argv[1], "--all") == 0) return stop_all(c);
    err e;
    json_t *pin = json_pack("{s:s, s:b}", "model", argv[1], "pinned", 0);
    cli_client_call(c->client, "POST", "/api/pin", pin, NULL, &e); /* who stops it means it */
    json_decref(pin);
    err_code code = unload(c, argv[1], &e);
    if (code == ERR_NOT_FOUND) {
        fprintf(stderr, "Error: couldn't find model \"%s\" to stop\n", argv[1]);
        return 1;
    }
    return code ? cli_fail(&e) : 0;
}

int cmd_version(cli_context *c, int argc, char **argv) {
    (void)argc, (void)argv;
    err e;
    json_t *reply = NULL;
    if (cli_client_call(c->client, "GET", "/api/version", NULL, &reply, &e)) {
        printf("Warning: could not connect to a running server\n");
        printf("hob version is %s\n", c->env->version);
        return 0;
    }
    const char *server = text_of(reply, "version");
    printf("hob version is %s\n", server);
    if (strcmp(server, c->env->version) != 0)
        printf("Warning: client version is %s\n", c->env->version);
    json_decref(reply);
    return 0;
}
