/* create: reads a Modelfile, uploads the files it names, asks the server to make the model. */
#include "base/vec.h"
#include "cli/commands.h"
#include "cli/format.h"
#include "cli/modelfile.h"
#include "cli/progress.h"
#include "os/file.h"
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MODELFILE_BYTES_MAX = 16 << 20, DIR_FILES_MAX = 1000 };

typedef struct creation {
    cli_context *c;
    arena *a;
    str base_dir; /* of the Modelfile, for relative paths */
    json_t *body;
    progress progress;
    const char *uploading; /* status while a file is sent */
    bool in_place;
} creation;

/* A file path as the Modelfile means it: ~ is home, else relative to the Modelfile. */
static char *resolve(const creation *cr, str path) {
    if (str_starts(path, STR("~/")) && cr->c->env->home)
        return str_cstr(cr->a, str_fmt(cr->a, "%s" STR_FMT, cr->c->env->home,
                                       STR_ARG(str_sub(path, 1, path.len))));
    while (str_starts(path, STR("./")) && path.len > 2 && path.ptr[2] != '/')
        path = str_sub(path, 2, path.len);
    if (path.len && (path.ptr[0] == '/' || str_eq(cr->base_dir, STR("."))))
        return str_cstr(cr->a, path);
    return str_cstr(cr->a,
                    str_fmt(cr->a, STR_FMT "/" STR_FMT, STR_ARG(cr->base_dir), STR_ARG(path)));
}

static void show_progress(int64_t done, int64_t total, void *arg) {
    creation *cr = arg;
    progress_show(&cr->progress, cr->uploading, done, total);
}

static json_t *child(json_t *body, const char *key, json_t *(*make)(void)) {
    json_t *v = json_object_get(body, key);
    if (!v) {
        v = make();
        json_object_set_new(body, key, v);
    }
    return v;
}

/* The server shall use the file where it is. */
static err_code link_file(creation *cr, const char *path, char digest[72], err *e) {
    char real[PATH_MAX];
    TRY(cli_client_digest(path, digest, e));
    if (!realpath(path, real)) FAIL(e, IO, "cannot find %s", path);
    json_object_set_new(child(cr->body, "in_place", json_object), digest, cli_text(str_from(real)));
    return ERR_OK;
}

/* Sends a file under the name that the server shall know it by. */
static err_code upload(creation *cr, const char *path, str name, const char *list, err *e) {
    char digest[72];
    cr->uploading = str_fmt(cr->a, "copying file " STR_FMT, STR_ARG(name)).ptr;
    if (cr->in_place)
        TRY(link_file(cr, path, digest, e));
    else
        TRY(cli_client_upload(cr->c->client, path, digest, show_progress, cr, e));
    json_t *files = json_object_get(cr->body, list);
    if (!files) {
        files = json_object();
        json_object_set_new(cr->body, list, files);
    }
    json_object_set_new(files, str_cstr(cr->a, name), json_string(digest));
    return ERR_OK;
}

static str base_name(str path) {
    return str_sub(path, (size_t)(str_rfind_char(path, '/') + 1), path.len);
}

/* ---- directories ---- */

typedef VEC(str) names;

/* Files of a directory, and of the directories in it, as relative names. */
static void list_dir(const creation *cr, const char *dir, str prefix, names *out) {
    DIR *d = opendir(dir);
    if (!d) return;
    for (struct dirent *entry; (entry = readdir(d)) && out->len < DIR_FILES_MAX;) {
        struct stat st;
        const char *path = str_fmt(cr->a, "%s/%s", dir, entry->d_name).ptr;
        str name = str_fmt(cr->a, STR_FMT "%s", STR_ARG(prefix), entry->d_name);
        if (entry->d_name[0] == '.' || stat(path, &st)) continue;
        if (S_ISREG(st.st_mode)) VEC_PUSH(*out, name);
        if (S_ISDIR(st.st_mode) && prefix.len == 0)
            list_dir(cr, path, str_fmt(cr->a, "%s/", entry->d_name), out);
    }
    closedir(d);
}

static bool any_match(const names *all, const char *head, const char *tail) {
    for (size_t i = 0; i < all->len; i++)
        if (str_starts(all->items[i], str_from(head)) && str_ends(all->items[i], str_from(tail)))
            return true;
    return false;
}

static bool is_adapter(const char *list) {
    return strcmp(list, "adapters") == 0;
}

/* What belongs to a model beside its weights. */
static bool is_companion(str name) {
    return str_ends(name, STR(".json")) || str_eq(name, STR("chat_template.jinja")) ||
           str_eq(name, STR("tokenizer.model")) || str_eq(name, STR("vocab.txt"));
}

/* The files of a model or adapter in a directory: the first kind of weights that is there counts.
 */
static err_code upload_dir(creation *cr, const char *dir, const char *list, err *e) {
    const char *const KINDS[][2] = {{is_adapter(list) ? "adapter" : "model", ".safetensors"},
                                    {"", ".safetensors"},
                                    {"", ".gguf"}};
    names all = {0};
    size_t kind = 0;
    err_code code = ERR_OK;
    list_dir(cr, dir, (str){0}, &all);
    while (kind < COUNT_OF(KINDS) && !any_match(&all, KINDS[kind][0], KINDS[kind][1])) kind++;
    if (kind == COUNT_OF(KINDS))
        code = err_set(e, ERR_NOT_FOUND, "no .gguf or .safetensors file in %s", dir);
    bool tensors = kind < 2;
    for (size_t i = 0; i < all.len && code == ERR_OK; i++) {
        str name = all.items[i];
        bool weights = str_starts(name, str_from(KINDS[kind][0])) &&
                       str_ends(name, str_from(KINDS[kind][1])) && str_find_char(name, '/') < 0;
        if (weights || (tensors && is_companion(name)))
            code = upload(cr, str_fmt(cr->a, "%s/" STR_FMT, dir, STR_ARG(name)).ptr, name, list, e);
    }
    VEC_FINISH(all);
    return code;
}

/* An adapter's tensors, and what must lie beside them. */
static err_code upload_adapter(creation *cr, const char *path, const char *list, err *e) {
    str p = str_from(path), config = STR("adapter_config.json");
    str dir = str_sub(p, 0, (size_t)(str_rfind_char(p, '/') + 1));
    TRY(upload(cr, path, base_name(p), list, e));
    return upload(cr, str_fmt(cr->a, STR_FMT STR_FMT, STR_ARG(dir), STR_ARG(config)).ptr, config,
                  list, e);
}

/* The parts of x-00001-of-0000N.gguf: the file itself when it is none. */
static err_code upload_file(creation *cr, const char *path, const char *list, err *e) {
    static const size_t TAIL = sizeof "-00001-of-00005.gguf" - 1;
    str p = str_from(path);
    int64_t n = 1;
    if (is_adapter(list) && str_ends(p, STR(".safetensors")))
        return upload_adapter(cr, path, list, e);
    str tail = p.len > TAIL ? str_sub(p, p.len - TAIL, p.len) : (str){0};
    bool split = str_ends(tail, STR(".gguf")) && str_eq(str_sub(tail, 6, 10), STR("-of-")) &&
                 str_to_i64(str_sub(tail, 10, 15), &n) && n > 1 && n <= DIR_FILES_MAX;
    if (!split) return upload(cr, path, base_name(p), list, e);
    for (int64_t i = 1; i <= n; i++) {
        str part = str_fmt(cr->a, STR_FMT "-%05d-of-%05d.gguf",
                           STR_ARG(str_sub(p, 0, p.len - TAIL)), (int)i, (int)n);
        TRY(upload(cr, part.ptr, base_name(part), list, e));
    }
    return ERR_OK;
}

static err_code add_from(creation *cr, str what, const char *list, err *e) {
    char *path = resolve(cr, what);
    struct stat st;
    if (stat(path, &st) == 0)
        return S_ISDIR(st.st_mode) ? upload_dir(cr, path, list, e) : upload_file(cr, path, list, e);
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
    if (str_eq_nocase(text, STR("true"))) return json_true();
    if (str_eq_nocase(text, STR("false"))) return json_false();
    return json_stringn(text.ptr, text.len);
}

static err_code add_line(creation *cr, const modelfile_line *l, err *e) {
    if (str_eq(l->command, STR("draft")))
        FAIL(e, UNSUPPORTED, "(line %d): draft models are not supported", l->line_no);
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
    const char *list = str_eq(l->command, STR("from"))      ? "files"
                       : str_eq(l->command, STR("adapter")) ? "adapters"
                                                            : NULL;
    if (list && is_adapter(list) && json_object_get(cr->body, list))
        FAIL(e, UNSUPPORTED, "(line %d): only one adapter is currently supported", l->line_no);
    if (list && add_from(cr, l->text, list, e)) return err_wrap(e, "(line %d)", l->line_no);
    return ERR_OK;
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
    return cli_client_stream(cr->c->client, "/api/create", cr->body, progress_line, &cr->progress,
                             e);
}

int cmd_create(cli_context *c, int argc, char **argv) {
    const char *model = NULL, *modelfile = "Modelfile", *quantize = NULL, *in_place = NULL;
    for (cli_args args = {argc, argv, 1}; args.at < argc; args.at++) {
        if (cli_flag(&args, "file", &modelfile)) continue;
        if (cli_flag(&args, "quantize", &quantize)) continue;
        if (cli_flag(&args, "in-place", &in_place)) continue;
        if (model || (argv[args.at][0] == '-' && argv[args.at][1])) {
            model = NULL;
            break;
        }
        model = argv[args.at];
    }
    if (!model) return cli_usage("create");
    CLEANUP(arena_destroy) arena *a = arena_create(0);
    creation cr = {.c = c, .a = a, .body = json_pack("{s:s}", "model", model)};
    cr.in_place = in_place != NULL;
    if (quantize) json_object_set_new(cr.body, "quantize", json_string(quantize));
    err e;
    cli_interrupt_watch();
    progress_init(&cr.progress);
    err_code code = create(&cr, modelfile, &e);
    progress_finish(&cr.progress);
    json_decref(cr.body);
    return code ? cli_fail(&e) : 0;
}
