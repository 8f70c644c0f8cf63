/* Request -> workflow -> job -> answer. */
#include "api/image_simple.h"
#include "api/comfy_engine.h"
#include "api/comfy_files.h"
#include "api/comfy_owner.h"
#include "api/comfy_prompt.h"
#include "api/comfy_queue.h"
#include "api/comfy_watch.h"
#include "api/image_form.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/rng.h"
#include "engine/picture.h"
#include "http/json.h"
#include "http/stream.h"
#include "os/file.h"
#include "store/blake3.h"
#include <openssl/evp.h>
#include <string.h>

/* An answer under way. */
typedef struct painting {
    comfy *c;
    arena *arena;
    http_stream *out;
    bool stream, openai;
    str model, job_id;
    int64_t start_ns;
    str why; /* it could not even be queued */
} painting;

/* ---- the model ---- */

/* A checkpoint by its file's name, with or without extension or ":latest"; the first one for an
 * empty name. */
bool image_find_checkpoint(comfy *c, str name, arena *a, str *ret) {
    static const char *const ends[] = {"", ".safetensors", ".sft", ".gguf"};
    const folder *f = folders_find(c->dirs, STR("checkpoints"));
    str path;
    size_t n;
    if (str_ends(name, STR(":latest"))) name.len -= 7;
    if (name.len == 0) {
        folder_file *files = folder_list(f, a, &n);
        if (n) *ret = files[0].name;
        return n > 0;
    }
    for (size_t i = 0; i < COUNT_OF(ends); i++) {
        *ret = str_fmt(a, STR_FMT "%s", STR_ARG(name), ends[i]);
        if (folder_path(f, *ret, a, &path)) return true;
    }
    return false;
}

err_code image_fill_defaults(comfy *c, arena *a, image_wish *w, err *e) {
    engine_image_defaults d;
    TRY(engine_image_defaults_of(c->eng, w->checkpoint, a, &d, e));
    if (w->width <= 0) w->width = d.width;
    if (w->height <= 0) w->height = d.height;
    if (w->steps <= 0) w->steps = d.steps;
    if (w->cfg < 0) w->cfg = d.cfg;
    if (w->sampler.len == 0) w->sampler = d.sampler;
    if (w->scheduler.len == 0) w->scheduler = d.scheduler;
    if (w->seed < 0) {
        rng_entropy(&w->seed, sizeof w->seed);
        w->seed &= (INT64_C(1) << 50) - 1;
    }
    return ERR_OK;
}

/* ---- the workflow ---- */

static json_t *link_to(const char *node, int slot) {
    return json_pack("[s,i]", node, slot);
}

static void add_node(json_t *graph, const char *id, const char *class_type, json_t *inputs) {
    json_object_set_new(graph, id,
                        json_pack("{s:s, s:o}", "class_type", class_type, "inputs", inputs));
}

static void add_latent(json_t *graph, const image_wish *w) {
    if (w->input.len == 0) {
        add_node(graph, "4", "EmptyLatentImage",
                 json_pack("{s:I, s:I, s:I}", "width", w->width, "height", w->height, "batch_size",
                           w->n));
        return;
    }
    add_node(graph, "8", "LoadImage", json_pack("{s:o}", "image", comfy_str(w->input)));
    add_node(graph, "9", "ImageScale",
             json_pack("{s:o, s:s, s:I, s:I, s:s}", "image", link_to("8", 0), "upscale_method",
                       "bicubic", "width", w->width, "height", w->height, "crop", "center"));
    add_node(graph, "10", "VAEEncode",
             json_pack("{s:o, s:o}", "pixels", link_to("9", 0), "vae", link_to("1", 2)));
    add_node(graph, "4", "RepeatLatentBatch",
             json_pack("{s:o, s:I}", "samples", link_to("10", 0), "amount", w->n));
}

/* Step caching between the model and its sampler, with ComfyUI's limits of the way. */
static json_t *add_cache(json_t *g, const image_wish *w) {
    json_t *o = json_pack("{s:o, s:f, s:f, s:f, s:b}", "model", link_to("1", 0), "reuse_threshold",
                          w->cache, "start_percent", 0.15, "end_percent", 0.95, "verbose", 0);
    add_node(g, "11", "EasyCache", o);
    return link_to("11", 0);
}

json_t *image_make_graph(const image_wish *w) {
    json_t *g = json_object();
    add_node(g, "1", "CheckpointLoaderSimple",
             json_pack("{s:o}", "ckpt_name", comfy_str(w->checkpoint)));
    add_node(g, "2", "CLIPTextEncode",
             json_pack("{s:o, s:o}", "text", comfy_str(w->prompt), "clip", link_to("1", 1)));
    add_node(g, "3", "CLIPTextEncode",
             json_pack("{s:o, s:o}", "text", comfy_str(w->negative), "clip", link_to("1", 1)));
    add_latent(g, w);
    json_t *k = json_object();
    json_object_set_new(k, "seed", json_integer(w->seed));
    json_object_set_new(k, "steps", json_integer(w->steps));
    json_object_set_new(k, "cfg", json_real(w->cfg));
    json_object_set_new(k, "sampler_name", comfy_str(w->sampler));
    json_object_set_new(k, "scheduler", comfy_str(w->scheduler));
    json_object_set_new(k, "denoise", json_real(w->input.len ? w->strength : 1));
    json_object_set_new(k, "model", w->cache > 0 ? add_cache(g, w) : link_to("1", 0));
    json_object_set_new(k, "positive", link_to("2", 0));
    json_object_set_new(k, "negative", link_to("3", 0));
    json_object_set_new(k, "latent_image", link_to("4", 0));
    add_node(g, "5", "KSampler", k);
    add_node(g, "6", "VAEDecode",
             json_pack("{s:o, s:o}", "samples", link_to("5", 0), "vae", link_to("1", 2)));
    add_node(g, "7", "SaveImage",
             json_pack("{s:s, s:o}", "filename_prefix", "hob", "images", link_to("6", 0)));
    return g;
}

/* ---- answers ---- */

static json_t *error_json(const painting *p, int status, const char *message) {
    if (!p->openai) return json_pack("{s:s}", "error", message);
    return json_pack("{s:{s:s, s:s, s:n, s:n}}", "error", "message", message, "type",
                     status < 500 ? "invalid_request_error" : "api_error", "param", "code");
}

static void end_painting(painting *p) {
    http_stream_destroy(&p->out);
    arena_destroy(&p->arena);
    mem_free(p);
}

static void write_line(painting *p, json_t *o) {
    buf b = {0};
    json_write(&b, o);
    buf_put_char(&b, '\n');
    http_stream_write(p->out, buf_str(&b));
    buf_finish(&b);
    json_decref(o);
}

static void fail_painting(painting *p, int status, const char *message) {
    json_t *o = error_json(p, status, message);
    http_stream_reply_json(p->out, status, o);
    json_decref(o);
}

static json_t *head(const painting *p) {
    char now[CLOCK_TEXT_BYTES];
    json_t *o = json_object();
    json_object_set_new(o, "model", comfy_str(p->model));
    json_object_set_new(o, "created_at", json_string(clock_rfc3339_utc(now, clock_wall_ns())));
    return o;
}

static void on_step(void *arg, int64_t done, int64_t total) {
    painting *p = arg;
    if (!p->stream) return;
    json_t *o = head(p);
    json_object_set_new(o, "completed", json_integer(done));
    json_object_set_new(o, "total", json_integer(total));
    json_object_set_new(o, "done", json_false());
    write_line(p, o);
}

/* The job's pictures in base64. */
static json_t *read_pictures(painting *p, const image_job *job) {
    json_t *outputs = comfy_json_read(job->outputs, json_object()), *list = json_array(), *item;
    size_t i;
    json_array_foreach(json_object_get(json_object_get(outputs, "7"), "images"), i, item) {
        str path;
        buf b = {0};
        if (comfy_ui_path(p->c, item, p->arena, &path) &&
            !file_read(path.ptr, LIMIT_HTTP_BODY_BYTES, &b, NULL)) {
            char *text = mem_alloc(b.len / 3 * 4 + 5);
            EVP_EncodeBlock((unsigned char *)text, (const unsigned char *)b.ptr, (int)b.len);
            json_array_append_new(list, json_string(text));
            mem_free(text);
        }
        buf_finish(&b);
    }
    json_decref(outputs);
    return list;
}

static str failure_text(painting *p, const image_job *job) {
    json_t *messages = comfy_json_read(job->messages, json_array()), *m;
    str text = STR("the picture could not be made");
    size_t i;
    json_array_foreach(messages, i, m) {
        str why = comfy_text(json_object_get(json_array_get(m, 1), "exception_message"));
        if (why.len) text = str_dup(p->arena, why);
    }
    json_decref(messages);
    return text;
}

static void answer_openai(painting *p, json_t *pictures) {
    json_t *data = json_array(), *one;
    size_t i;
    json_array_foreach(pictures, i, one)
        json_array_append_new(data, json_pack("{s:O}", "b64_json", one));
    json_t *o =
        json_pack("{s:I, s:o}", "created", (json_int_t)(clock_wall_ns() / NS_PER_S), "data", data);
    http_stream_reply_json(p->out, 200, o);
    json_decref(o);
}

static void answer_ollama(painting *p, json_t *pictures) {
    json_t *o = head(p);
    json_object_set(o, "image", json_array_get(pictures, 0));
    if (json_array_size(pictures) > 1) json_object_set(o, "images", pictures);
    json_object_set_new(o, "done", json_true());
    json_object_set_new(o, "done_reason", json_string("stop"));
    json_object_set_new(o, "total_duration", json_integer(clock_mono_ns() - p->start_ns));
    if (p->stream) {
        write_line(p, o);
        http_stream_end(p->out);
        return;
    }
    http_stream_reply_json(p->out, 200, o);
    json_decref(o);
}

static void on_end(void *arg, const image_job *job) {
    painting *p = arg;
    json_t *pictures = job && job->state == IMAGE_JOB_DONE ? read_pictures(p, job) : NULL;
    if (json_array_size(pictures) > 0) {
        if (p->openai)
            answer_openai(p, pictures);
        else
            answer_ollama(p, pictures);
    } else {
        bool failed = p->why.len || (job && job->state == IMAGE_JOB_FAILED);
        str why = p->why.len ? p->why
                  : failed   ? failure_text(p, job)
                             : STR("the job was cancelled");
        if (p->stream) {
            write_line(p, error_json(p, 500, why.ptr));
            http_stream_end(p->out);
        } else {
            fail_painting(p, failed ? 500 : 499, why.ptr);
        }
    }
    json_decref(pictures);
    end_painting(p);
}

static void on_gone(void *arg) {
    painting *p = arg;
    comfy_watch_gone(p->c, p->job_id);
}

/* ---- requests ---- */

static void refuse(http_request *r, bool openai, int status, const char *message) {
    painting shape = {.openai = openai};
    comfy_reply(r, status, error_json(&shape, status, message));
}

/* Stores the picture to change where LoadImage finds it. */
static err_code take_image(comfy *c, arena *a, image_wish *w, err *e) {
    str text = w->image;
    if (str_starts(text, STR("data:"))) str_cut(&text, ',');
    if (text.len > LIMIT_UPLOAD_BYTES) FAIL(e, LIMIT, "the image is too large");
    buf clean = {0};
    for (size_t i = 0; i < text.len; i++)
        if (text.ptr[i] != '\n' && text.ptr[i] != '\r') buf_put_char(&clean, text.ptr[i]);
    unsigned char *bytes = mem_alloc(clean.len + 4);
    int n = EVP_DecodeBlock(bytes, (const unsigned char *)clean.ptr, (int)clean.len);
    for (size_t i = clean.len; n > 0 && i > 0 && clean.ptr[i - 1] == '='; i--) n--;
    buf_finish(&clean);
    const char *ext;
    err_code code = n > 0 ? engine_picture_check(c->eng, (str){(char *)bytes, (size_t)n}, &ext, e)
                          : err_set(e, ERR_INVALID, "the image is not base64");
    if (!code) {
        char hash[BLAKE3_TEXT_BYTES];
        blake3 h;
        blake3_init(&h);
        blake3_put(&h, bytes, (size_t)n);
        blake3_text(&h, hash);
        w->input = str_fmt(a, "hob/%s%s", hash + 7, ext);
        str path = str_fmt(a, STR_FMT "/" STR_FMT, STR_ARG(c->dirs->input), STR_ARG(w->input));
        code = file_mkdirs(str_fmt(a, STR_FMT "/hob", STR_ARG(c->dirs->input)).ptr, e);
        if (!code) code = file_write_atomic(path.ptr, bytes, (size_t)n, e);
    }
    mem_free(bytes);
    return code;
}

/* Checks the workflow and queues it; the painting answers later. */
static void paint(comfy *c, http_request *r, image_wish *w, const painting *proto) {
    arena *a = http_request_arena(r);
    err e;
    if (image_fill_defaults(c, a, w, &e)) {
        refuse(r, proto->openai, err_http_status(e.code), e.msg);
        return;
    }
    json_t *graph = image_make_graph(w),
           *extra = json_pack("{s:I}", "create_time", (json_int_t)comfy_now_ms());
    comfy_check check = comfy_engine_check(c, graph, NULL);
    if (check.error) {
        str text = comfy_json_text(a, json_object_size(check.node_errors) ? check.node_errors
                                                                          : check.error);
        refuse(r, proto->openai, 400, text.ptr);
    } else {
        static const comfy_watch_events events = {.on_step = on_step, .on_end = on_end};
        painting *p = NEW(painting);
        *p = *proto;
        p->c = c;
        p->arena = arena_create(0);
        p->model = str_dup(p->arena, w->model.len ? w->model : w->checkpoint);
        p->job_id = comfy_uuid(p->arena);
        p->start_ns = clock_mono_ns();
        p->out = http_stream_create(r, "application/x-ndjson", on_gone, p);
        image_job job = {.id = str_dup(a, p->job_id),
                         .number = (double)comfy_queue_next_number(c->queue)};
        comfy_watch_add(c, job.id, &events, p);
        if (comfy_prompt_enqueue(c, &(comfy_prompt){&check, extra, comfy_owner(r)}, &job, a, &e)) {
            p->why = str_dup(p->arena, str_from(e.msg));
            comfy_watch_end(c, job.id, NULL);
        }
    }
    comfy_check_finish(&check);
    json_decref(graph);
    json_decref(extra);
}

static int64_t number_of(const json_t *o, const char *key, int64_t fallback) {
    const json_t *v = json_object_get(o, key);
    return json_is_number(v) ? (int64_t)json_number_value(v) : fallback;
}

static double real_of(const json_t *o, const char *key, double fallback) {
    const json_t *v = json_object_get(o, key);
    return json_is_number(v) ? json_number_value(v) : fallback;
}

bool image_generate(comfy *c, http_request *r, const json_t *body, bool any_model) {
    arena *a = http_request_arena(r);
    const json_t *options = json_object_get(body, "options");
    image_wish w = {.model = comfy_text(json_object_get(body, "model"))};
    err e;
    if (w.model.len == 0 && !any_model) return false;
    if (!image_find_checkpoint(c, w.model, a, &w.checkpoint)) return false;
    w.prompt = comfy_text(json_object_get(body, "prompt"));
    w.width = number_of(body, "width", 0);
    w.height = number_of(body, "height", 0);
    w.steps = number_of(body, "steps", 0);
    w.seed = number_of(options, "seed", -1);
    w.cfg = real_of(options, "cfg", -1);
    w.strength = real_of(options, "strength", 0.75);
    w.cache = real_of(options, "step_cache", 0);
    w.n = number_of(options, "batch", 1);
    w.negative = comfy_text(json_object_get(options, "negative_prompt"));
    w.sampler = comfy_text(json_object_get(options, "sampler"));
    w.scheduler = comfy_text(json_object_get(options, "scheduler"));
    w.image = comfy_text(json_array_get(json_object_get(body, "images"), 0));
    if (w.width > 4096 || w.height > 4096)
        refuse(r, false, 400, "width and height must be <= 4096");
    else if (w.prompt.len == 0)
        refuse(r, false, 400, "prompt is required");
    else if (w.image.len && take_image(c, a, &w, &e))
        refuse(r, false, err_http_status(e.code), e.msg);
    else
        paint(c, r, &w, &(painting){.stream = !json_is_false(json_object_get(body, "stream"))});
    return true;
}

/* "WxH"; "auto" and an empty text leave both at 0. */
static bool parse_size(str text, image_wish *w) {
    if (text.len == 0 || str_eq(text, STR("auto"))) return true;
    str width = str_cut(&text, 'x');
    return str_to_i64(width, &w->width) && str_to_i64(text, &w->height) && w->width > 0 &&
           w->height > 0 && w->width <= 4096 && w->height <= 4096;
}

void image_openai(comfy *c, http_request *r, const json_t *body, bool edit) {
    arena *a = http_request_arena(r);
    image_wish w = {.model = comfy_text(json_object_get(body, "model")),
                    .prompt = comfy_text(json_object_get(body, "prompt")),
                    .image = comfy_text(json_object_get(body, "image")),
                    .seed = number_of(body, "seed", -1),
                    .n = number_of(body, "n", 1),
                    .cfg = -1,
                    .strength = real_of(body, "strength", 0.75)};
    err e;
    if (w.model.len == 0)
        refuse(r, true, 400, "model is required");
    else if (w.prompt.len == 0)
        refuse(r, true, 400, "prompt is required");
    else if (edit && w.image.len == 0)
        refuse(r, true, 400, "image is required");
    else if (!parse_size(comfy_text(json_object_get(body, "size")), &w))
        refuse(r, true, 400, "size must be WIDTHxHEIGHT, each at most 4096");
    else if (w.n < 1 || w.n > 10)
        refuse(r, true, 400, "n must be 1 to 10");
    else if (!image_find_checkpoint(c, w.model, a, &w.checkpoint))
        refuse(r, true, 404, "there is no image model of this name");
    else if (edit && take_image(c, a, &w, &e))
        refuse(r, true, err_http_status(e.code), e.msg);
    else
        paint(c, r, &w, &(painting){.openai = true});
}

void comfy_generate(http_request *r, void *ctx) {
    err e;
    const json_t *body = comfy_body(r, &e);
    if (!json_is_object(body))
        refuse(r, false, 400, body ? "the body must be an object" : e.msg);
    else if (!image_generate(ctx, r, body, true))
        refuse(r, false, 404, "there is no such checkpoint");
}

static void openai(http_request *r, void *ctx, bool edit) {
    err e;
    const json_t *body = image_form_body(r, &e);
    if (json_is_object(body))
        image_openai(ctx, r, body, edit);
    else
        refuse(r, true, 400, body ? "the body must be an object" : e.msg);
}

void comfy_openai_generations(http_request *r, void *ctx) {
    openai(r, ctx, false);
}

void comfy_openai_edits(http_request *r, void *ctx) {
    openai(r, ctx, true);
}

/* The same on the chat listener, whose ctx is the api. */
static void openai_of_chat(http_request *r, void *ctx, bool edit) {
    struct comfy *c = ((api *)ctx)->pictures;
    if (c)
        openai(r, c, edit);
    else
        refuse(r, true, 503, "pictures are switched off: HOB_IMAGE_HOST is off");
}

void openai_image_generations(http_request *r, void *ctx) {
    openai_of_chat(r, ctx, false);
}

void openai_image_edits(http_request *r, void *ctx) {
    openai_of_chat(r, ctx, true);
}
