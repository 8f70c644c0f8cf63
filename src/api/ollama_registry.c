/* POST /api/pull and /api/push.
 *
 * Beside models, pull fetches single files for pictures into ComfyUI's folders: {"model":
 * "hf.co/user/repo/file.safetensors", "as": "checkpoint"}. */
#include "api/comfy.h"
#include "api/create.h"
#include "api/fields.h"
#include "api/report.h"
#include "registry/registry.h"
#include <string.h>

typedef struct exchange {
    api *a;
    char *name;
    bool insecure, push;
    const folder *into; /* a single file's; NULL: a model */
} exchange;

/* What a file is, as people say it, and the folder that is meant. */
static const struct {
    const char *as, *folder;
} FILES[] = {
    {"checkpoint", "checkpoints"},
    {"lora", "loras"},
    {"vae", "vae"},
    {"unet", "diffusion_models"},
    {"diffusion", "diffusion_models"},
    {"diffusion_model", "diffusion_models"},
    {"clip", "text_encoders"},
    {"text_encoder", "text_encoders"},
    {"clip_vision", "clip_vision"},
    {"controlnet", "controlnet"},
    {"embedding", "embeddings"},
    {"upscale", "upscale_models"},
    {"upscale_model", "upscale_models"},
    {"taesd", "vae_approx"},
    {"style_model", "style_models"},
};

static void drop(void *arg) {
    exchange *x = arg;
    mem_free(x->name);
    mem_free(x);
}

/* The folder's own directory of that name, where it has several. */
static str directory_of(const folder *f) {
    for (size_t i = 0; i < f->n_paths; i++)
        if (str_ends(f->paths[i], f->key)) return f->paths[i];
    return f->paths[0];
}

static err_code find_folder(const api *a, str as, const folder **ret, err *e) {
    str key = as;
    if (!a->pictures) FAIL(e, UNSUPPORTED, "this server makes no pictures (HOB_IMAGE_HOST is off)");
    for (size_t i = 0; i < sizeof FILES / sizeof *FILES; i++)
        if (str_eq_nocase(as, str_from(FILES[i].as))) key = str_from(FILES[i].folder);
    *ret = folders_find(a->pictures->dirs, key);
    bool files = *ret && (*ret)->extensions && (*ret)->extensions[0] == '.' && (*ret)->n_paths;
    if (!files || str_eq(key, STR("configs")))
        FAIL(e, INVALID,
             "as \"" STR_FMT "\" is not known: checkpoint, lora, vae, diffusion_model, "
             "text_encoder, clip_vision, controlnet, embedding, upscale_model, taesd",
             STR_ARG(str_sub(as, 0, 60)));
    return ERR_OK;
}

/* A model in several files: its parts are fetched and merged, as `create` does. */
static err_code pull_split(const exchange *x, const registry_report *lines, err *e) {
    arena *a = arena_create(0);
    create_request c = {.mem = a};
    registry_shards parts = {0};
    store_name_parse(a, str_from(x->name), &c.name);
    err_code code = registry_pull_shards(x->a->registry, &c.name, lines, a, &parts, e);
    create_file *files = ARENA_ARRAY(a, create_file, parts.n + 1);
    for (size_t i = 0; i < parts.n; i++)
        files[i] = (create_file){parts.items[i].name, parts.items[i].digest};
    c.files = files;
    c.n_files = parts.n;
    create_report steps = {lines->fn, lines->arg};
    if (code == ERR_OK) code = create_run(x->a, &c, &steps, e);
    arena_destroy(&a);
    return code;
}

static err_code work(report *r, void *arg, err *e) {
    exchange *x = arg;
    registry_report lines = {report_line, r};
    str name = str_from(x->name);
    if (x->into) return registry_fetch_file(x->a->registry, name, directory_of(x->into), &lines, e);
    if (x->push) return registry_push(x->a->registry, name, x->insecure, &lines, e);
    err_code code = registry_pull(x->a->registry, name, x->insecure, &lines, e);
    bool split = code && str_find(str_from(e->msg), STR("sharded GGUF")) >= 0 &&
                 (str_starts(name, STR("hf.co/")) || str_starts(name, STR("huggingface.co/")));
    return split ? pull_split(x, &lines, e) : code;
}

static void begin(http_request *r, api *a, bool push) {
    const json_t *body = api_body(r);
    if (!body) return;
    str name = {0}, as = {0};
    const folder *into = NULL;
    bool insecure = false, stream = true;
    store_name parsed;
    err e;
    if (field_model(body, &name, &e) || field_bool(body, "insecure", &insecure, &e) ||
        field_bool(body, "stream", &stream, &e) || (!push && field_str(body, "as", &as, &e)) ||
        (as.len && find_folder(a, as, &into, &e))) {
        api_reply_err(r, &e);
        return;
    }
    if (!into && !store_name_parse(http_request_arena(r), name, &parsed)) {
        api_reply_error(r, 400, "invalid model name");
        return;
    }
    exchange *x = NEW(exchange);
    *x = (exchange){.a = a, .insecure = insecure, .push = push, .into = into};
    x->name = mem_alloc(name.len + 1);
    memcpy(x->name, name.ptr, name.len);
    x->name[name.len] = '\0';
    report_job job = {work, drop, x, 500};
    report_start(a, r, stream, &job);
}

void ollama_pull(http_request *r, void *ctx) {
    begin(r, ctx, false);
}

void ollama_push(http_request *r, void *ctx) {
    begin(r, ctx, true);
}
