/* POST /api/create: checks the request, then makes the model on a thread of its own. */
#include "api/create.h"
#include "api/fields.h"
#include "api/models.h"
#include "api/tasks.h"
#include "http/json.h"
#include "http/stream.h"
#include <stdatomic.h>
#include <string.h>

typedef struct creating {
    api *a;
    create_request c;
    json_t *body; /* owns what c borrows */
    http_stream *out;
    bool stream;
    atomic_bool gone;
} creating;

static void write_line(creating *k, json_t *line) {
    buf b = {0};
    json_write(&b, line);
    buf_put_char(&b, '\n');
    http_stream_write(k->out, buf_str(&b));
    buf_finish(&b);
    json_decref(line);
}

static bool on_status(void *arg, const char *status, str digest, uint64_t done, uint64_t total) {
    creating *k = arg;
    if (!k->stream) return !atomic_load(&k->gone);
    json_t *line = json_pack("{s:s}", "status", status);
    if (digest.len) json_object_set_new(line, "digest", json_stringn(digest.ptr, digest.len));
    if (total) {
        json_object_set_new(line, "total", json_integer((json_int_t)total));
        json_object_set_new(line, "completed", json_integer((json_int_t)done));
    }
    write_line(k, line);
    return !atomic_load(&k->gone);
}

static void on_gone(void *arg) {
    atomic_store(&((creating *)arg)->gone, true);
}

static void creating_destroy(creating *k) {
    http_stream_destroy(&k->out);
    json_decref(k->body);
    arena_destroy(&k->c.mem);
    mem_free(k);
}

static void run(void *arg) {
    creating *k = arg;
    create_report report = {on_status, k};
    err e;
    err_code code = create_run(k->a, &k->c, &report, &e);
    if (k->stream) {
        if (code) write_line(k, json_pack("{s:s}", "error", e.msg));
        http_stream_end(k->out);
    } else {
        json_t *answer =
            code ? json_pack("{s:s}", "error", e.msg) : json_pack("{s:s}", "status", "success");
        http_stream_reply_json(k->out, code ? err_http_status(code) : 200, answer);
        json_decref(answer);
    }
    creating_destroy(k);
}

/* files: {path: digest}, exactly one GGUF. */
static err_code read_files(creating *k, err *e) {
    const json_t *files = NULL, *adapters = NULL;
    TRY(field_object(k->body, "files", &files, e));
    TRY(field_object(k->body, "adapters", &adapters, e));
    const char *path;
    json_t *digest;
    json_object_foreach((json_t *)(uintptr_t)files, path, digest) {
        str p = str_from(path), d = str_from(json_string_value(digest));
        if (p.len == 0 || p.ptr[0] == '/' || str_find(p, STR("..")) >= 0)
            FAIL(e, INVALID, "file path must be relative");
        if (!store_digest_valid(d)) FAIL(e, INVALID, "invalid digest format");
        k->c.file_digest = d;
    }
    if (json_object_size(adapters) > 0)
        FAIL(e, UNSUPPORTED,
             "adapters (LoRA) are not supported by this version: merge the adapter "
             "into the model first");
    if (json_object_size(files) > 1)
        FAIL(e, UNSUPPORTED,
             "%zu files: this version makes models from a single GGUF file; convert or merge the "
             "files to one first",
             json_object_size(files));
    if (!k->c.from.len && !k->c.file_digest.len)
        FAIL(e, INVALID,
             files ? "no files provided to convert" : "neither 'from' or 'files' was specified");
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

static err_code read_request(creating *k, err *e) {
    create_request *c = &k->c;
    str name = {0}, old_quantize = {0};
    TRY(field_model(k->body, &name, e));
    if (!store_name_parse(c->mem, name, &c->name)) FAIL(e, INVALID, "invalid model name");
    TRY(field_bool(k->body, "stream", &k->stream, e));
    TRY(field_str(k->body, "from", &c->from, e));
    TRY(field_str(k->body, "quantization", &old_quantize, e));
    c->quantize = old_quantize;
    TRY(field_str(k->body, "quantize", &c->quantize, e));
    TRY(field_str(k->body, "template", &c->template_text, e));
    TRY(field_str(k->body, "system", &c->system, e));
    c->has_template = field_get(k->body, "template") != NULL;
    c->has_system = field_get(k->body, "system") != NULL;
    TRY(field_object(k->body, "parameters", &c->parameters, e));
    TRY(field_array(k->body, "messages", &c->messages, e));
    TRY(read_licenses(k, e));
    TRY(read_files(k, e));
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
    store_model base;
    err_code code = read_request(k, &e);
    if (code == ERR_OK && k->c.from.len && store_find(a->store, k->c.from, k->c.mem, &base, &e))
        code = err_set(&e, e.code, "model '" STR_FMT "' not found: create it or pull it first",
                       STR_ARG(k->c.from));
    if (code) {
        api_reply_err(r, &e);
        creating_destroy(k);
        return;
    }
    k->out = http_stream_create(r, "application/x-ndjson", on_gone, k);
    tasks_run(a->tasks, run, k);
}
