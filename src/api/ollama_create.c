/* POST /api/create: checks the request, then makes the model on a thread of its own. */
#include "api/create.h"
#include "api/fields.h"
#include "api/models.h"
#include "api/options.h"
#include "api/report.h"
#include "base/limits.h"
#include "engine/template.h"
#include "http/json.h"
#include <stdlib.h>

typedef struct creating {
    api *a;
    create_request c;
    json_t *body; /* owns what c borrows */
    bool stream;
} creating;

static void drop(void *arg) {
    creating *k = arg;
    json_decref(k->body);
    arena_destroy(&k->c.mem);
    mem_free(k);
}

static err_code work(report *r, void *arg, err *e) {
    creating *k = arg;
    create_report lines = {report_line, r};
    return create_run(k->a, &k->c, &lines, e);
}

/* A relative path without "..", so that a name can never be a place elsewhere. */
static bool name_is_relative(str p) {
    if (p.len == 0 || p.len > LIMIT_PATH_BYTES || p.ptr[0] == '/') return false;
    return str_find(p, STR("..")) < 0 && str_find_char(p, '\\') < 0;
}

/* {path: digest} */
static err_code read_list(creating *k, const char *key, const create_file **ret, size_t *ret_n,
                          err *e) {
    const json_t *files = NULL;
    const char *path;
    json_t *digest;
    size_t n = 0;
    TRY(field_object(k->body, key, &files, e));
    if (json_object_size(files) > LIMIT_CREATE_FILES)
        FAIL(e, LIMIT, "%zu files, at most %d", json_object_size(files), LIMIT_CREATE_FILES);
    create_file *list = ARENA_ARRAY(k->c.mem, create_file, json_object_size(files) + 1);
    json_object_foreach((json_t *)(uintptr_t)files, path, digest) {
        create_file f = {str_from(path), str_from(json_string_value(digest))};
        if (!name_is_relative(f.name)) FAIL(e, INVALID, "file path must be relative");
        if (!store_digest_valid(f.digest)) FAIL(e, INVALID, "invalid digest format");
        list[n++] = f;
    }
    *ret = list;
    *ret_n = n;
    return ERR_OK;
}

static err_code read_files(creating *k, err *e) {
    const create_file *drafts;
    size_t n_drafts;
    TRY(read_list(k, "files", &k->c.files, &k->c.n_files, e));
    TRY(read_list(k, "adapters", &k->c.adapters, &k->c.n_adapters, e));
    TRY(read_list(k, "draft_files", &drafts, &n_drafts, e));
    if (n_drafts > 0) FAIL(e, UNSUPPORTED, "draft models are not supported by this version");
    if (!k->c.from.len && k->c.n_files == 0)
        FAIL(e, INVALID,
             field_get(k->body, "files") ? "no files provided to convert"
                                         : "neither 'from' or 'files' was specified");
    return ERR_OK;
}

static bool in_directories(str list, str path) {
    while (list.len) {
        str dir = str_cut(&list, ':');
        while (dir.len > 1 && dir.ptr[dir.len - 1] == '/') dir.len--;
        if (str_eq(dir, STR("*"))) return true;
        if (dir.len && str_starts(path, dir) && path.len > dir.len && path.ptr[dir.len] == '/')
            return true;
    }
    return false;
}

/* in_place: {digest: absolute path of a file of this machine}. Who asks must know its content. */
static err_code read_links(creating *k, err *e) {
    const json_t *links = NULL;
    const char *digest;
    json_t *path;
    TRY(field_object(k->body, "in_place", &links, e));
    if (json_object_size(links) > LIMIT_CREATE_FILES)
        FAIL(e, LIMIT, "%zu files, at most %d", json_object_size(links), LIMIT_CREATE_FILES);
    create_file *list = ARENA_ARRAY(k->c.mem, create_file, json_object_size(links) + 1);
    json_object_foreach((json_t *)(uintptr_t)links, digest, path) {
        const char *given = json_string_value(path);
        if (!store_digest_valid(str_from(digest))) FAIL(e, INVALID, "invalid digest format");
        if (!given || given[0] != '/') FAIL(e, INVALID, "in_place needs absolute paths");
        char *real = realpath(given, NULL);
        str p = str_dup(k->c.mem, str_from(real ? real : given));
        free(real);
        if (!in_directories(str_from(k->a->in_place), p))
            FAIL(e, UNSUPPORTED,
                 "%.300s may not be used in place: start the server with HOB_IN_PLACE=DIRECTORY",
                 given);
        list[k->c.n_links++] = (create_file){p, str_from(digest)};
    }
    k->c.links = list;
    return ERR_OK;
}

static err_code read_licenses(creating *k, err *e) {
    const json_t *v = field_get(k->body, "license");
    size_t n = json_is_array(v) ? json_array_size(v) : v ? 1 : 0;
    str *list = ARENA_ARRAY(k->c.mem, str, n + 1);
    for (size_t i = 0; i < n; i++) {
        const json_t *one = json_is_array(v) ? json_array_get(v, i) : v;
        if (!json_is_string(one)) FAIL(e, INVALID, "license must be a string or a list of strings");
        list[i] = (str){json_string_value(one), json_string_length(one)};
    }
    k->c.licenses = list;
    k->c.n_licenses = n;
    return ERR_OK;
}

/* "0.6.2", "v1.2.3-rc1" */
static bool is_version(str v) {
    int dots = 0;
    bool digit = false;
    if (str_starts(v, STR("v"))) v = str_sub(v, 1, v.len);
    for (size_t i = 0; i < v.len; i++) {
        char c = v.ptr[i];
        if (c == '-' || c == '+') return digit && dots == 2;
        if (c == '.') {
            if (!digit || ++dots > 2) return false;
            digit = false;
        } else if (c >= '0' && c <= '9') {
            digit = true;
        } else {
            return false;
        }
    }
    return digit && dots == 2;
}

static err_code read_texts(creating *k, err *e) {
    create_request *c = &k->c;
    str old_quantize = {0};
    TRY(field_str(k->body, "from", &c->from, e));
    TRY(field_str(k->body, "quantization", &old_quantize, e));
    c->quantize = old_quantize;
    TRY(field_str(k->body, "quantize", &c->quantize, e));
    TRY(field_str(k->body, "template", &c->template_text, e));
    TRY(field_str(k->body, "system", &c->system, e));
    TRY(field_str(k->body, "renderer", &c->renderer, e));
    TRY(field_str(k->body, "parser", &c->parser, e));
    TRY(field_str(k->body, "requires", &c->requires_version, e));
    c->has_template = field_get(k->body, "template") != NULL;
    c->has_system = field_get(k->body, "system") != NULL;
    if (c->requires_version.len && !is_version(c->requires_version))
        FAIL(e, INVALID, "requires must be a version such as 0.6.2, not \"" STR_FMT "\"",
             STR_ARG(str_sub(c->requires_version, 0, 60)));
    return ERR_OK;
}

/* A value of the wrong type would make every later request for the model fail. */
static err_code read_parameters(creating *k, err *e) {
    options unused = options_default();
    TRY(field_object(k->body, "parameters", &k->c.parameters, e));
    return options_apply(&unused, k->c.parameters, k->c.mem, e);
}

/* Nor may a message be one that no chat can take. */
static err_code read_messages(creating *k, err *e) {
    TRY(field_array(k->body, "messages", &k->c.messages, e));
    for (size_t i = 0; i < json_array_size(k->c.messages); i++) {
        const json_t *one = json_array_get(k->c.messages, i), *calls;
        str role = {0}, content;
        if (!json_is_object(one))
            FAIL(e, INVALID, "messages[%zu] must be an object, not %s", i, json_type_name(one));
        TRY(field_str(one, "role", &role, e));
        TRY(field_str(one, "content", &content, e));
        TRY(field_array(one, "tool_calls", &calls, e));
        if (role.len == 0) FAIL(e, INVALID, "messages[%zu] has no role", i);
    }
    return ERR_OK;
}

static err_code read_request(creating *k, err *e) {
    create_request *c = &k->c;
    str name = {0};
    TRY(field_model(k->body, &name, e));
    if (!store_name_parse(c->mem, name, &c->name)) FAIL(e, INVALID, "invalid model name");
    TRY(field_bool(k->body, "stream", &k->stream, e));
    TRY(read_texts(k, e));
    TRY(read_parameters(k, e));
    TRY(read_messages(k, e));
    TRY(read_licenses(k, e));
    TRY(read_files(k, e));
    TRY(read_links(k, e));
    store_name from;
    if (c->from.len && !store_name_parse(c->mem, c->from, &from))
        FAIL(e, INVALID, "invalid model name \"" STR_FMT "\"", STR_ARG(str_sub(c->from, 0, 200)));
    engine_template_info info;
    return engine_template_inspect(c->template_text, &info, e);
}

void ollama_create(http_request *r, void *ctx) {
    api *a = ctx;
    const json_t *body = api_body(r);
    if (!body) return;
    creating *k = NEW(creating);
    k->a = a;
    k->stream = true;
    k->body = json_incref((json_t *)(uintptr_t)body);
    k->c.mem = arena_create(0);
    err e;
    if (read_request(k, &e)) {
        api_reply_err(r, &e);
        drop(k);
        return;
    }
    report_job job = {work, drop, k, 0};
    report_start(a, r, k->stream, &job);
}
