/* create: reads a Modelfile, uploads the files it names, asks the server to make the model. */
#include "cli/commands.h"
#include "cli/format.h"
#include "cli/modelfile.h"
#include "os/file.h"
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MODELFILE_BYTES_MAX = 16 << 20 };

typedef struct creation {
    cli_context *c;
    arena *a;
    str base_dir; /* of the Modelfile, for relative paths */
    json_t *body;
} creation;

/* A file path as the Modelfile means it: ~ is home, else relative to the Modelfile. */
static char *resolve(const creation *cr, str path) {
    if (str_starts(path, STR("~/")) && cr->c->env->home)
        return str_cstr(cr->a, str_fmt(cr->a, "%s" STR_FMT, cr->c->env->home,
                                       STR_ARG(str_sub(path, 1, path.len))));
    if (path.len && path.ptr[0] == '/') return str_cstr(cr->a, path);
    return str_cstr(cr->a,
                    str_fmt(cr->a, STR_FMT "/" STR_FMT, STR_ARG(cr->base_dir), STR_ARG(path)));
}

static void show_progress(int64_t done, int64_t total, void *arg) {
    (void)arg;
    if (!isatty(STDERR_FILENO)) return;
    fprintf(stderr, "\rcopying file %3d%%%s", total ? (int)(done * 100 / total) : 100,
            done >= total ? "\n" : "");
}

static err_code upload(creation *cr, const char *path, const char *list, err *e) {
    char digest[72];
    TRY(cli_client_upload(cr->c->client, path, digest, show_progress, NULL, e));
    json_t *files = json_object_get(cr->body, list);
    if (!files) {
        files = json_object();
        json_object_set_new(cr->body, list, files);
    }
    const char *name = strrchr(path, '/');
    json_object_set_new(files, name ? name + 1 : path, json_string(digest));
    return ERR_OK;
}

/* The model files of a directory: *.safetensors with their JSON files, else *.gguf. */
static err_code upload_dir(creation *cr, const char *dir, const char *list, err *e) {
    DIR *d = opendir(dir);
    if (!d) FAIL(e, IO, "cannot read the directory %s", dir);
    err_code code = ERR_OK;
    int n_found = 0;
    for (struct dirent *entry; code == ERR_OK && (entry = readdir(d));) {
        str name = str_from(entry->d_name);
        if (!str_ends(name, STR(".gguf")) && !str_ends(name, STR(".safetensors")) &&
            !str_ends(name, STR(".json")))
            continue;
        n_found++;
        code = upload(cr, str_fmt(cr->a, "%s/%s", dir, entry->d_name).ptr, list, e);
    }
    closedir(d);
    if (code == ERR_OK && n_found == 0)
        FAIL(e, NOT_FOUND, "no .gguf or .safetensors file in %s", dir);
    return code;
}

static err_code add_from(creation *cr, str what, const char *list, err *e) {
    char *path = resolve(cr, what);
    struct stat st;
    if (stat(path, &st) == 0)
        return S_ISDIR(st.st_mode) ? upload_dir(cr, path, list, e) : upload(cr, path, list, e);
    bool looks_like_path =
        what.len && (what.ptr[0] == '/' || what.ptr[0] == '.' || what.ptr[0] == '~');
    if (looks_like_path || strcmp(list, "files") != 0 || str_ends(what, STR(".gguf")))
        FAIL(e, NOT_FOUND, "no such file: %s", path);
    json_object_set_new(cr->body, "from", json_stringn(what.ptr, what.len));
    return ERR_OK;
}

/* The value as the type it looks like; the server checks it against the option's own. */
static json_t *parameter_value(str text) {
    int64_t i;
    double d;
    if (str_to_i64(text, &i)) return json_integer(i);
    if (str_to_f64(text, &d)) return json_real(d);
    if (str_eq(text, STR("true"))) return json_true();
    if (str_eq(text, STR("false"))) return json_false();
    return json_stringn(text.ptr, text.len);
}

static json_t *child(json_t *body, const char *key, json_t *(*make)(void)) {
    json_t *v = json_object_get(body, key);
    if (!v) {
        v = make();
        json_object_set_new(body, key, v);
    }
    return v;
}

static err_code add_line(creation *cr, const modelfile_line *l, err *e) {
    json_t *text = json_stringn(l->text.ptr, l->text.len);
    if (!text) FAIL(e, FORMAT, "(line %d): the text is not UTF-8", l->line_no);
    if (str_eq(l->command, STR("parameter"))) {
        json_t *parameters = child(cr->body, "parameters", json_object);
        char *key = str_cstr(cr->a, l->key);
        if (strcmp(key, "stop") == 0)
            json_array_append(child(parameters, key, json_array), text);
        else
            json_object_set_new(parameters, key, parameter_value(l->text));
    } else if (str_eq(l->command, STR("message"))) {
        json_array_append_new(
            child(cr->body, "messages", json_array),
            json_pack("{s:o, s:O}", "role", json_stringn(l->key.ptr, l->key.len), "content", text));
    } else if (str_eq(l->command, STR("license"))) {
        json_array_append(child(cr->body, "license", json_array), text);
    } else if (!str_eq(l->command, STR("from")) && !str_eq(l->command, STR("adapter"))) {
        json_object_set(cr->body, str_cstr(cr->a, l->command), text);
    }
    json_decref(text);
    if (str_eq(l->command, STR("from"))) return add_from(cr, l->text, "files", e);
    if (str_eq(l->command, STR("adapter"))) return add_from(cr, l->text, "adapters", e);
    return ERR_OK;
}

static bool on_status(const json_t *line, void *arg) {
    (void)arg;
    const char *status = json_string_value(json_object_get(line, "status"));
    if (status) printf("%s\n", status);
    fflush(stdout);
    return true;
}

static err_code read_modelfile(creation *cr, const char *path, buf *text, err *e) {
    if (strcmp(path, "-") == 0) {
        char block[4096];
        for (size_t n; (n = fread(block, 1, sizeof block, stdin)) > 0;) buf_put(text, block, n);
        cr->base_dir = STR(".");
        return ERR_OK;
    }
    str p = str_from(path);
    ptrdiff_t slash = str_rfind_char(p, '/');
    cr->base_dir = slash < 0 ? STR(".") : str_sub(p, 0, slash ? (size_t)slash : 1);
    return file_read(path, MODELFILE_BYTES_MAX, text, e);
}

static err_code create(creation *cr, const char *modelfile_path, err *e) {
    buf text = {0};
    modelfile_line *lines;
    size_t n = 0;
    err_code code = read_modelfile(cr, modelfile_path, &text, e);
    if (code == ERR_OK) code = modelfile_parse(cr->a, buf_str(&text), &lines, &n, e);
    for (size_t i = 0; i < n && code == ERR_OK; i++) code = add_line(cr, &lines[i], e);
    buf_finish(&text);
    if (code) return code;
    return cli_client_stream(cr->c->client, "/api/create", cr->body, on_status, NULL, e);
}

int cmd_create(cli_context *c, int argc, char **argv) {
    const char *model = NULL, *modelfile = "Modelfile", *quantize = NULL;
    for (cli_args args = {argc, argv, 1}; args.at < argc; args.at++) {
        if (cli_flag(&args, "file", 'f', true, &modelfile)) continue;
        if (cli_flag(&args, "quantize", 'q', true, &quantize)) continue;
        if (model || (argv[args.at][0] == '-' && argv[args.at][1])) {
            model = NULL;
            break;
        }
        model = argv[args.at];
    }
    if (!model) return cli_usage("hob create MODEL [-f MODELFILE] [--quantize TYPE]");
    CLEANUP(arena_destroy) arena *a = arena_create(0);
    creation cr = {.c = c, .a = a, .body = json_pack("{s:s}", "model", model)};
    if (quantize) json_object_set_new(cr.body, "quantize", json_string(quantize));
    err e;
    err_code code = create(&cr, modelfile, &e);
    json_decref(cr.body);
    return code ? cli_fail(&e) : 0;
}
