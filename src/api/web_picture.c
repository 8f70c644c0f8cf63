/* Request -> workflow -> job in the picture queue -> files of the user. */
#include "api/web_picture.h"
#include "api/comfy_engine.h"
#include "api/comfy_files.h"
#include "api/comfy_prompt.h"
#include "api/comfy_queue.h"
#include "api/comfy_watch.h"
#include "api/image_simple.h"
#include "api/web_events.h"
#include "api/web_files.h"
#include "api/web_handlers.h"
#include "api/web_run.h"
#include "api/web_title.h"
#include "base/limits.h"
#include "base/rng.h"
#include "engine/picture.h"
#include "http/json.h"
#include "os/file.h"
#include <openssl/evp.h>
#include <string.h>

json_t *web_base64(str bytes) {
    if (bytes.len > LIMIT_STREAM_BYTES) return json_string("");
    char *text = mem_alloc(bytes.len / 3 * 4 + 5);
    EVP_EncodeBlock((unsigned char *)text, (const unsigned char *)bytes.ptr, (int)bytes.len);
    json_t *s = json_string(text);
    mem_free(text);
    return s;
}

/* ---- a job that is watched ---- */

typedef struct watched {
    web *w;
    arena *a;
    str id, user_id, picture;
} watched;

static void on_step(void *arg, int64_t done, int64_t total) {
    watched *x = arg;
    web_run_picture_step(x->w, x->id, done, total);
}

static void on_preview(void *arg, str bytes, const char *mime) {
    watched *x = arg;
    web_run_picture_preview(x->w, x->id, bytes, mime);
}

static const char *mime_of(str name) {
    return comfy_mime(name);
}

/* One picture of the job becomes a file of the user's. */
static void keep(watched *x, const json_t *image, json_t *files) {
    str path, name = comfy_text(json_object_get(image, "filename"));
    buf b = {0};
    file_row f = {.user_id = x->user_id, .name = name, .mime = str_from(mime_of(name))};
    if (comfy_ui_path(x->w->pictures, image, x->a, &path) &&
        !file_read(path.ptr, LIMIT_UPLOAD_BYTES, &b, NULL) &&
        !web_file_keep(x->w, &f, buf_str(&b), x->a, NULL)) {
        json_t *o = web_file_short(&f);
        json_object_set_new(
            o, "url", comfy_str(str_fmt(x->a, "/api/v1/files/" STR_FMT "/content", STR_ARG(f.id))));
        json_array_append_new(files, o);
    }
    buf_finish(&b);
}

static str failure_of(watched *x, const image_job *job) {
    json_t *messages = comfy_json_read(job->messages, json_array()), *m;
    str text = STR("the picture could not be made");
    size_t i;
    json_array_foreach(messages, i, m) {
        str why = comfy_text(json_object_get(json_array_get(m, 1), "exception_message"));
        if (why.len) text = str_dup(x->a, why);
    }
    json_decref(messages);
    return text;
}

static void keep_all(watched *x, const image_job *job, json_t *picture) {
    json_t *outputs = comfy_json_read(job->outputs, json_object()), *node, *image;
    json_t *files = json_array();
    const char *key;
    size_t i;
    json_object_foreach(outputs, key, node) {
        json_array_foreach(json_object_get(node, "images"), i, image) {
            if (json_array_size(files) < LIMIT_WEB_ATTACHED) keep(x, image, files);
        }
    }
    json_object_set_new(picture, "files", files);
    json_decref(outputs);
}

static void on_end(void *arg, const image_job *job) {
    watched *x = arg;
    json_t *picture = comfy_json_read(x->picture, json_object());
    const char *state = "stopped";
    str error = STR("");
    if (job && job->state == IMAGE_JOB_DONE) {
        keep_all(x, job, picture);
        bool any = json_array_size(json_object_get(picture, "files")) > 0;
        state = any ? "done" : "failed";
        if (!any) error = STR("the workflow made no picture");
    } else if (job && job->state == IMAGE_JOB_FAILED) {
        state = "failed";
        error = failure_of(x, job);
    }
    web_run_picture_end(x->w, x->id, state, error, comfy_json_text(x->a, picture));
    json_decref(picture);
    arena *a = x->a;
    arena_destroy(&a);
}

static void watch(web *w, const message *m, str user_id) {
    static const comfy_watch_events events = {on_step, on_end, on_preview};
    arena *a = arena_create(0);
    watched *x = ARENA_NEW(a, watched);
    *x = (watched){w, a, str_dup(a, m->id), str_dup(a, user_id), str_dup(a, m->picture)};
    comfy_watch_add(w->pictures, m->id, &events, x);
}

void web_picture_cancel(web *w, str message_id) {
    bool any;
    if (w->pictures) comfy_queue_cancel(w->pictures->queue, message_id, &any, NULL);
}

void web_picture_recover(web *w, const message *m) {
    CLEANUP(arena_destroy) arena *a = arena_create(0);
    image_job job;
    message gone = *m;
    str user_id = chats_owner(w->db, m->chat_id, a);
    web_run_spec s = {.user_id = user_id, .chat_id = m->chat_id, .answer = m};
    gone.state = STR("interrupted");
    if (!w->pictures || image_jobs_find(w->db, m->id, a, &job, NULL) ||
        web_run_picture(w, &s, NULL)) {
        messages_update(w->db, &gone, NULL);
        return;
    }
    watch(w, m, user_id);
    bool ended = !image_jobs_find(w->db, m->id, a, &job, NULL) && job.state > IMAGE_JOB_RUNNING;
    if (ended) comfy_watch_end(w->pictures, m->id, &job);
}

/* ---- what is asked for ---- */

static int64_t number_of(const json_t *o, const char *key, int64_t fallback) {
    const json_t *v = json_object_get(o, key);
    if (json_is_integer(v) && json_integer_value(v) >= -1) return json_integer_value(v);
    double d = json_is_number(v) ? json_number_value(v) : (double)fallback;
    return d >= -1 && d < 1e15 ? (int64_t)d : fallback;
}

static double real_of(const json_t *o, const char *key, double fallback) {
    const json_t *v = json_object_get(o, key);
    return json_is_number(v) ? json_number_value(v) : fallback;
}

/* The user's file where LoadImage finds it; false: answered. */
static bool take_image(web *w, http_request *r, str file_id, str *ret_input) {
    arena *a = http_request_arena(r);
    file_row f;
    buf b = {0};
    const char *ext = "";
    err e;
    err_code code = files_find(w->db, web_user_id(r), file_id, a, &f, &e);
    if (!code) code = file_read(web_file_path(w, a, f.id).ptr, LIMIT_UPLOAD_BYTES, &b, &e);
    if (!code) code = engine_picture_check(w->chat->eng, buf_str(&b), &ext, &e);
    if (!code) {
        str own = str_fmt(a, STR_FMT "/hob", STR_ARG(web_user_id(r)));
        str dir = str_fmt(a, STR_FMT "/" STR_FMT, STR_ARG(w->pictures->dirs->input), STR_ARG(own));
        *ret_input = str_fmt(a, STR_FMT "/" STR_FMT "%s", STR_ARG(own), STR_ARG(f.id), ext);
        str path =
            str_fmt(a, STR_FMT "/" STR_FMT, STR_ARG(w->pictures->dirs->input), STR_ARG(*ret_input));
        code = file_mkdirs(dir.ptr, &e);
        if (!code) code = file_write_atomic(path.ptr, b.ptr, b.len, &e);
    }
    buf_finish(&b);
    if (code) web_fail_err(r, &e);
    return code == ERR_OK;
}

static json_t *wish_json(const image_wish *x) {
    json_t *o = json_object();
    json_object_set_new(o, "prompt", comfy_str(x->prompt));
    json_object_set_new(o, "negative", comfy_str(x->negative));
    json_object_set_new(o, "width", json_integer(x->width));
    json_object_set_new(o, "height", json_integer(x->height));
    json_object_set_new(o, "steps", json_integer(x->steps));
    json_object_set_new(o, "seed", json_integer(x->seed));
    json_object_set_new(o, "n", json_integer(x->n));
    json_object_set_new(o, "cfg", json_real(x->cfg));
    json_object_set_new(o, "strength", json_real(x->strength));
    json_object_set_new(o, "sampler", comfy_str(x->sampler));
    json_object_set_new(o, "scheduler", comfy_str(x->scheduler));
    json_object_set_new(o, "checkpoint", comfy_str(x->checkpoint));
    return o;
}

/* The built-in workflow; NULL: answered. */
static json_t *default_graph(web *w, http_request *r, const json_t *body, json_t **ret_inputs) {
    arena *a = http_request_arena(r);
    image_wish x = {.width = number_of(body, "width", 0),
                    .height = number_of(body, "height", 0),
                    .steps = number_of(body, "steps", 0),
                    .seed = number_of(body, "seed", -1),
                    .n = number_of(body, "n", 1),
                    .cfg = real_of(body, "cfg", -1),
                    .strength = real_of(body, "strength", 0.75)};
    str image = {0};
    err e;
    if (!web_text(r, body, "prompt", LIMIT_IMAGE_PROMPT_BYTES, &x.prompt) ||
        !web_text(r, body, "negative", LIMIT_IMAGE_PROMPT_BYTES, &x.negative) ||
        !web_text(r, body, "sampler", 64, &x.sampler) ||
        !web_text(r, body, "scheduler", 64, &x.scheduler) ||
        !web_text(r, body, "checkpoint", LIMIT_NAME_BYTES, &x.model) ||
        !web_text(r, body, "image", 64, &image))
        return NULL;
    if (x.width > 4096 || x.height > 4096 || x.n < 1 || x.n > 16 || x.steps > 1000)
        web_fail(r, 400, "width and height must be <= 4096, n 1 to 16, steps <= 1000");
    else if (!image_find_checkpoint(w->pictures, x.model, a, &x.checkpoint))
        web_fail(r, 404,
                 x.model.len ? "there is no checkpoint of this name"
                             : "there is no image model here yet: put a checkpoint into "
                               "the folder models/checkpoints");
    else if (image_fill_defaults(w->pictures, a, &x, &e))
        web_fail_err(r, &e);
    else if (!image.len || take_image(w, r, image, &x.input)) {
        *ret_inputs = wish_json(&x);
        return image_make_graph(&x);
    }
    return NULL;
}

/* The node that an input is linked to. */
static json_t *linked(json_t *graph, const json_t *inputs, const char *name) {
    const char *id = json_string_value(json_array_get(json_object_get(inputs, name), 0));
    return id ? json_object_get(graph, id) : NULL;
}

static void set_text(json_t *node, const json_t *text) {
    json_t *inputs = json_object_get(node, "inputs");
    if (json_is_string(text) && json_is_string(json_object_get(inputs, "text")))
        json_object_set(inputs, "text", (json_t *)(uintptr_t)text);
}

static int64_t random_seed(void) {
    uint64_t seed;
    rng_entropy(&seed, sizeof seed);
    return (int64_t)(seed >> 14);
}

/* Prompt, negative, seed, steps and size into a workflow, where it has a place for them. */
static void apply(json_t *graph, const json_t *body) {
    static const char *const same[] = {"width", "height", "steps", "cfg"};
    static const char *const seeds[] = {"seed", "noise_seed"};
    const char *id;
    json_t *node;
    int64_t seed = number_of(body, "seed", -1);
    if (seed < 0) seed = random_seed();
    json_object_foreach(graph, id, node) {
        json_t *inputs = json_object_get(node, "inputs");
        set_text(linked(graph, inputs, "positive"), json_object_get(body, "prompt"));
        set_text(linked(graph, inputs, "negative"), json_object_get(body, "negative"));
        for (size_t i = 0; i < COUNT_OF(seeds); i++)
            if (json_is_number(json_object_get(inputs, seeds[i])))
                json_object_set_new(inputs, seeds[i], json_integer(seed));
        for (size_t i = 0; i < COUNT_OF(same); i++) {
            json_t *v = json_object_get(body, same[i]);
            if (json_is_number(v) && json_is_number(json_object_get(inputs, same[i])))
                json_object_set(inputs, same[i], v);
        }
    }
}

/* A workflow of the body or of the user's studio; NULL: answered. */
static json_t *own_graph(web *w, http_request *r, const json_t *body, str workflow_id) {
    arena *a = http_request_arena(r);
    json_t *graph = json_object_get(body, "graph"), *data = NULL, *made = NULL;
    err e;
    if (!graph) {
        item it;
        if (items_find(w->db, &(item_key){web_user_id(r), STR("workflow"), workflow_id}, a, &it,
                       &e)) {
            web_fail_err(r, &e);
            return NULL;
        }
        data = comfy_json_read(it.data, json_object());
        comfy_defer_json(a, data);
        graph = json_object_get(data, "prompt");
        if (!graph) graph = data;
    }
    if (comfy_is_ui_workflow(graph))
        made = comfy_engine_convert(w->pictures, graph, &e);
    else if (json_is_object(graph))
        made = json_deep_copy(graph);
    else
        err_set(&e, ERR_INVALID, "\"graph\" must be a workflow");
    if (!made)
        web_fail_err(r, &e);
    else
        apply(made, body);
    return made;
}

/* ---- putting it into the queue ---- */

static bool check(web *w, http_request *r, const json_t *graph, comfy_check *ret) {
    *ret = comfy_engine_check(w->pictures, graph, NULL);
    if (!ret->error) return true;
    str text = comfy_json_text(http_request_arena(r),
                               json_object_size(ret->node_errors) ? ret->node_errors : ret->error);
    web_fail(r, 400, "the workflow cannot run: " STR_FMT, STR_ARG(str_sub(text, 0, 2000)));
    comfy_check_finish(ret);
    return false;
}

/* Stores the messages, then the job; the answer is made by the queue from here on. */
static err_code enqueue(web *w, const chat *c, const message_list *all, const comfy_check *k,
                        arena *a, err *e) {
    message *answer = &all->items[all->n - 1];
    comfy *p = w->pictures;
    json_t *extra = json_pack("{s:I, s:s}", "create_time", (json_int_t)comfy_now_ms(),
                              "preview_method", "auto");
    image_job job = {.id = answer->id, .number = (double)comfy_queue_next_number(p->queue)};
    web_run_spec s = {.user_id = c->user_id, .chat_id = c->id, .answer = answer};
    comfy_defer_json(a, extra);
    TRY(messages_add(w->db, c->id, all->items, all->n, e));
    err_code code = web_run_picture(w, &s, e);
    if (code) return code;
    watch(w, answer, c->user_id);
    code = comfy_prompt_enqueue(p, &(comfy_prompt){k, extra, c->user_id}, &job, a, e);
    if (code) {
        web_run_picture_end(w, answer->id, "failed", str_from(e->msg), (str){0});
        comfy_watch_end(p, answer->id, NULL);
        return code;
    }
    json_t *o = json_object();
    json_object_set_new(o, "message_id", comfy_str(answer->id));
    json_object_set_new(o, "state", json_string("queued"));
    json_object_set_new(o, "place", json_integer(comfy_queue_remaining(p->queue) - 1));
    web_hub_chat(w->hub, c->id, "picture", o);
    return ERR_OK;
}

static str picture_text(arena *a, str id, str workflow_id, json_t *inputs) {
    json_t *o = json_object();
    json_object_set_new(o, "prompt_id", comfy_str(id));
    json_object_set_new(o, "workflow_id", comfy_str(workflow_id));
    json_object_set_new(o, "inputs", inputs ? json_incref(inputs) : json_object());
    json_object_set_new(o, "files", json_array());
    json_object_set_new(o, "error", json_null());
    str text = comfy_json_text(a, o);
    json_decref(o);
    return text;
}

/* {"user"?, "assistant"}; the last of the list is the answer. */
static void reply(web *w, http_request *r, const chat *c, message *list, size_t n,
                  const comfy_check *k) {
    err e;
    if (enqueue(w, c, &(message_list){list, n}, k, http_request_arena(r), &e)) {
        web_fail(r, e.code == ERR_BUSY ? 409 : err_http_status(e.code), "%s", e.msg);
        return;
    }
    json_t *o = json_object();
    for (size_t i = 0; i < n; i++) {
        web_message_changed(w, &list[i]);
        json_object_set_new(o, i + 1 == n ? "assistant" : "user", web_message_json(&list[i]));
    }
    web_chat_changed(w, c->user_id, c->id);
    web_reply(r, o);
}

static void add_wish(web *w, http_request *r, const json_t *body, const chat *c) {
    arena *a = http_request_arena(r);
    int64_t now = comfy_now_ms();
    str workflow_id = STR("default"), image = {0};
    message two[2] = {{.id = comfy_uuid(a),
                       .chat_id = c->id,
                       .role = STR("user"),
                       .state = STR("done"),
                       .content = STR(""),
                       .created_ms = now},
                      {.id = comfy_uuid(a),
                       .chat_id = c->id,
                       .role = STR("assistant"),
                       .state = STR("queued"),
                       .created_ms = now}};
    json_t *inputs = NULL;
    if (!web_text(r, body, "prompt", LIMIT_IMAGE_PROMPT_BYTES, &two[0].content) ||
        !web_text(r, body, "workflow_id", 64, &workflow_id) ||
        !web_text(r, body, "image", 64, &image) ||
        !web_take_parent(w, r, body, c, &two[0].parent_id))
        return;
    if (str_trim(two[0].content).len == 0) {
        web_fail(r, 400, "say what the picture shall show");
        return;
    }
    bool own = json_object_get(body, "graph") || !str_starts(workflow_id, STR("default"));
    json_t *graph = own ? own_graph(w, r, body, workflow_id) : default_graph(w, r, body, &inputs);
    if (!graph) return;
    comfy_defer_json(a, graph);
    if (inputs) comfy_defer_json(a, inputs);
    json_t *files = image.len ? json_pack("[o]", comfy_str(image)) : json_array();
    comfy_defer_json(a, files);
    comfy_check k;
    if (!web_take_files(w, r, files, &two[0].files) || !check(w, r, graph, &k)) return;
    two[1].parent_id = two[0].id;
    two[1].model = inputs ? comfy_text(json_object_get(inputs, "checkpoint")) : STR("");
    two[1].picture = picture_text(a, two[1].id, workflow_id, inputs);
    chat title = {.id = c->id, .updated_ms = now};
    if (c->current_id.len == 0) title.title = web_title_of(a, two[0].content);
    chats_touch(w->db, &title, NULL);
    reply(w, r, c, two, 2, &k);
    comfy_check_finish(&k);
}

void web_picture_post(http_request *r, void *ctx) {
    web *w = ctx;
    const json_t *body = web_body(r);
    chat c;
    if (!body || !web_take_chat(w, r, &c)) return;
    if (!w->pictures)
        web_fail(r, 503, "pictures are switched off here");
    else if (!web_run_may(w, c.user_id, c.id))
        web_fail(r, 409, "too many answers are being made: wait for one, or stop it");
    else
        add_wish(w, r, body, &c);
}

/* The job that made a message's picture: its own, or, for a copy, the one of the first. */
static err_code find_job(web *w, str user_id, const message *m, arena *a, image_job *ret, err *e) {
    json_t *picture = comfy_json_read(m->picture, json_object());
    comfy_defer_json(a, picture);
    str id = comfy_text(json_object_get(picture, "prompt_id"));
    TRY(image_jobs_find(w->db, id.len ? id : m->id, a, ret, e));
    if (!str_eq(ret->owner, user_id)) FAIL(e, NOT_FOUND, "the job is somebody else's");
    return ERR_OK;
}

void web_picture_again(web *w, http_request *r, const chat *c, const message *old) {
    arena *a = http_request_arena(r);
    image_job job;
    err e;
    comfy_check k;
    if (!w->pictures || find_job(w, c->user_id, old, a, &job, &e)) {
        web_fail(r, 404, "the picture's workflow is not in the history any more");
        return;
    }
    json_t *graph = comfy_json_read(job.graph, json_object()), *nothing = json_object();
    json_t *picture = comfy_json_read(old->picture, json_object());
    comfy_defer_json(a, graph);
    comfy_defer_json(a, nothing);
    comfy_defer_json(a, picture);
    apply(graph, nothing);
    message answer = {.id = comfy_uuid(a),
                      .chat_id = c->id,
                      .parent_id = old->parent_id,
                      .role = STR("assistant"),
                      .state = STR("queued"),
                      .model = old->model,
                      .created_ms = comfy_now_ms()};
    answer.picture = picture_text(a, answer.id, comfy_text(json_object_get(picture, "workflow_id")),
                                  json_object_get(picture, "inputs"));
    if (!check(w, r, graph, &k)) return;
    reply(w, r, c, &answer, 1, &k);
    comfy_check_finish(&k);
}

void web_picture_workflow(http_request *r, void *ctx) {
    web *w = ctx;
    arena *a = http_request_arena(r);
    chat c;
    message m;
    image_job job;
    err e;
    if (!web_take_chat(w, r, &c) || !web_take_message(w, r, &c, &m)) return;
    if (m.picture.len == 0 || find_job(w, c.user_id, &m, a, &job, &e))
        web_fail(r, 404, "this message has no workflow");
    else
        web_reply(r, comfy_json_read(job.graph, json_object()));
}

/* ---- which workflows there are ---- */

static json_t *choices(web *w, const char *class_type, const char *input) {
    json_t *info = comfy_engine_info(w->pictures, str_from(class_type));
    json_t *of = json_object_get(json_object_get(info, class_type), "input");
    json_t *list = json_array_get(json_object_get(json_object_get(of, "required"), input), 0);
    json_t *out = json_is_array(list) ? json_incref(list) : json_array();
    json_decref(info);
    return out;
}

static json_t *builtin_json(web *w, arena *a, bool image) {
    static const char *const inputs[] = {"prompt",    "negative",   "width",    "height",
                                         "steps",     "cfg",        "seed",     "sampler",
                                         "scheduler", "checkpoint", "strength", "n"};
    json_t *list = json_array(), *o = json_object();
    image_wish x = {.n = 1, .cfg = -1, .seed = -1, .strength = 0.75};
    for (size_t i = 0; i < COUNT_OF(inputs); i++)
        json_array_append_new(list, json_string(inputs[i]));
    bool any = image_find_checkpoint(w->pictures, STR(""), a, &x.checkpoint) &&
               !image_fill_defaults(w->pictures, a, &x, NULL);
    x.seed = -1;
    json_object_set_new(o, "id", json_string(image ? "default-image" : "default"));
    json_object_set_new(o, "name", json_string(image ? "Image to image" : "Text to image"));
    json_object_set_new(o, "kind", json_string(image ? "image" : "text"));
    json_object_set_new(o, "inputs", list);
    json_object_set_new(o, "defaults", any ? wish_json(&x) : json_object());
    json_object_set_new(o, "checkpoints", choices(w, "CheckpointLoaderSimple", "ckpt_name"));
    json_object_set_new(o, "samplers", choices(w, "KSampler", "sampler_name"));
    json_object_set_new(o, "schedulers", choices(w, "KSampler", "scheduler"));
    return o;
}

void web_pictures_workflows(http_request *r, void *ctx) {
    web *w = ctx;
    arena *a = http_request_arena(r);
    json_t *out = json_array();
    item *list;
    size_t n = 0;
    if (w->pictures) {
        json_array_append_new(out, builtin_json(w, a, false));
        json_array_append_new(out, builtin_json(w, a, true));
        items_list(w->db, &(item_key){web_user_id(r), STR("workflow"), {0}}, a, &list, &n, NULL);
    }
    for (size_t i = 0; i < n; i++)
        json_array_append_new(out,
                              json_pack("{s:o, s:o, s:s, s:[s,s,s,s]}", "id", comfy_str(list[i].id),
                                        "name", comfy_str(list[i].name), "kind", "text", "inputs",
                                        "prompt", "negative", "seed", "steps"));
    web_reply(r, out);
}
