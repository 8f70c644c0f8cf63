/* Workflows at the engine boundary, and the thread that runs them: see engine/flow_job.h and
 * flow.h.
 */
#include "engine/flow_job.h"
#include "base/limits.h"
#include "diffusion/checkpoint.h"
#include "engine/flow.h"
#include "flow/convert.h"
#include "flow/object_info.h"
#include <stdatomic.h>

/* ---- the catalogue and checks, on any thread ---- */

void engine_set_folders(engine *eng, const engine_folders *folders) {
    engine_flow *f = eng->flow;
    f->folders = *folders;
    f->env_folders = (flow_folders){.ctx = folders->ctx,
                                    .files = folders->files,
                                    .path = folders->path,
                                    .output = folders->output,
                                    .input = folders->input,
                                    .temp = folders->temp};
    f->env.folders = &f->env_folders;
    f->env.no_metadata = folders->no_metadata;
}

void engine_set_model_finder(engine *eng, const engine_model_finder *finder) {
    eng->flow->finder = *finder;
}

static void host_files(void *ctx, const char *folder, arena *a, value *list) {
    const engine_folders *f = ctx;
    if (f->files) f->files(f->ctx, folder, a, list);
}

static bool host_has_file(void *ctx, const char *folder, str name) {
    const engine_folders *f = ctx;
    arena *a = arena_create(0);
    str path;
    bool found = f->path && f->path(f->ctx, folder, name, a, &path);
    arena_destroy(&a);
    return found;
}

static flow_host host_of(engine *eng) {
    return (flow_host){.ctx = &eng->flow->folders,
                       .files = host_files,
                       .has_file = host_has_file,
                       .only_runnable = true};
}

const value *engine_flow_info(engine *eng, str class_name, arena *a) {
    flow_host host = host_of(eng);
    return class_name.len ? flow_object_info_one(class_name, &host, a)
                          : flow_object_info_all(&host, a);
}

void engine_flow_check(engine *eng, const value *source, const str *targets, size_t n_targets,
                       arena *a, engine_flow_verdict *ret) {
    flow_host host = host_of(eng);
    flow_verdict v;
    flow_check(source, targets, n_targets, &host, a, &v);
    *ret = (engine_flow_verdict){.error = v.error,
                                 .node_errors = v.node_errors,
                                 .targets = v.targets,
                                 .n_targets = v.n_targets,
                                 .graph = v.graph.source};
}

bool engine_flow_is_workflow(const value *v) {
    return flow_is_workflow(v);
}

err_code engine_flow_convert(engine *eng, const value *workflow, arena *a, value **ret, err *e) {
    (void)eng;
    return flow_convert(workflow, a, ret, e);
}

/* ---- events ---- */

bool flow_must_stop(const engine_flow *f) {
    const flow_job *j = f->running;
    return f->stop || (j && (atomic_load(&j->interrupt.flag) || stream_cancelled(j->stream)));
}

/* Nobody reads any more: nodes see it at their next progress. */
static engine_stream *out(engine_flow *f) {
    flow_job *j = f->running;
    if (stream_cancelled(j->stream)) atomic_store(&j->interrupt.flag, 1);
    return j->stream;
}

static void on_cached(void *ctx, const str *ids, size_t n) {
    engine_event ev = {.kind = ENGINE_EVENT_NODES_CACHED, .ids = ids, .n_ids = n};
    stream_put_node(out(ctx), &ev);
}

static void on_start(void *ctx, str id) {
    engine_event ev = {.kind = ENGINE_EVENT_NODE_START, .node = id};
    flow_give_back(ctx);
    stream_put_node(out(ctx), &ev);
}

static void on_progress(void *ctx, str id, int64_t done, int64_t total) {
    engine_event ev = {
        .kind = ENGINE_EVENT_NODE_PROGRESS, .node = id, .n_done = done, .n_total = total};
    flow_give_back(ctx);
    stream_put_node(out(ctx), &ev);
}

static void on_preview(void *ctx, str id, const void *picture) {
    const flow_picture *p = picture;
    engine_event ev = {
        .kind = ENGINE_EVENT_NODE_PREVIEW, .node = id, .picture = p->bytes, .mime = p->mime};
    stream_put_node(out(ctx), &ev);
}

static void on_output(void *ctx, str id, const value *ui) {
    engine_event ev = {.kind = ENGINE_EVENT_NODE_OUTPUT, .node = id, .ui = ui};
    stream_put_node(out(ctx), &ev);
}

/* ---- the language model ---- */

/* A model by the name users call it. Empty: any that is resident. */
static err_code find_model(engine_flow *f, str name, arena *a, engine_model *ret, err *e) {
    if (name.len && f->finder.find) return f->finder.find(f->finder.ctx, name, a, ret, e);
    bool found = false;
    pthread_mutex_lock(&f->eng->mu);
    for (size_t i = 0; !found && i < f->eng->loaded.len; i++) {
        const engine_loaded *m = f->eng->loaded.items[i];
        found = m->facts.can_generate && (name.len == 0 || str_eq(m->model.name, name));
        if (found) *ret = job_copy_model(a, &m->model);
    }
    pthread_mutex_unlock(&f->eng->mu);
    if (!found && name.len == 0) FAIL(e, NOT_FOUND, "no language model is in memory: name one");
    if (!found) FAIL(e, NOT_FOUND, "there is no language model \"" STR_FMT "\"", STR_ARG(name));
    return ERR_OK;
}

static value *message(arena *a, const char *role, str content) {
    value *m = value_map(a);
    value_set(a, m, STR("role"), value_str(a, str_from(role)));
    value_set(a, m, STR("content"), value_str(a, content));
    return m;
}

static err_code collect_text(engine_flow *f, engine_stream *s, buf *text, err *e) {
    engine_event ev;
    for (;;) {
        while (engine_stream_wait(s, NS_PER_S / 20, &ev)) {
            if (ev.kind == ENGINE_EVENT_TEXT) buf_put_str(text, ev.text);
            if (ev.kind == ENGINE_EVENT_DONE) return ERR_OK;
            if (ev.kind == ENGINE_EVENT_ERROR) {
                *e = ev.error;
                return e->code;
            }
        }
        pthread_mutex_lock(&f->eng->mu);
        bool stop = flow_must_stop(f);
        pthread_mutex_unlock(&f->eng->mu);
        if (stop) FAIL(e, CANCELLED, "the workflow was interrupted");
    }
}

static err_code generate(void *ctx, const flow_text_request *q, arena *a, str *ret_text, err *e) {
    engine_flow *f = ctx;
    engine_stream *s;
    value *messages = value_list(a);
    buf text = {0};
    engine_job_spec spec = {.kind = ENGINE_JOB_GENERATE,
                            .user = f->running->user,
                            .n_predict = q->n_predict,
                            .sample = {.temperature = (float)q->temperature,
                                       .top_k = 40,
                                       .top_p = 0.9f,
                                       .typical_p = 1,
                                       .repeat_penalty = 1,
                                       .seed = q->seed},
                            .prompt = {.kind = ENGINE_PROMPT_MESSAGES,
                                       .messages = messages,
                                       .think = ENGINE_THINK_OFF,
                                       .truncate = true}};
    flow_give_back(f);
    TRY(find_model(f, q->model, a, &spec.model, e));
    if (q->system.len) value_push(a, messages, message(a, "system", q->system));
    value_push(a, messages, message(a, "user", q->prompt));
    TRY(engine_submit(f->eng, &spec, NULL, NULL, &s, e));
    err_code code = collect_text(f, s, &text, e);
    engine_stream_destroy(&s);
    if (code == ERR_OK) *ret_text = str_dup(a, buf_str(&text));
    buf_finish(&text);
    return code;
}

/* ---- jobs ---- */

static void flow_job_destroy(flow_job *j) {
    stream_release(&j->stream);
    arena_destroy(&j->mem);
    mem_free(j);
}

static void say_failure(flow_job *j, const flow_failure *why) {
    engine_event ev = {.kind = ENGINE_EVENT_ERROR,
                       .error = why->error,
                       .node = why->node_id,
                       .class_type = why->class_type,
                       .ids = why->executed,
                       .n_ids = why->n_executed,
                       .inputs = why->inputs};
    stream_put_last(j->stream, &ev);
}

static void run_job(engine_flow *f, flow_job *j) {
    flow_failure failure = {0};
    flow_events events = {f, on_cached, on_start, on_progress, on_preview, on_output};
    flow_run run = {.graph = &j->graph,
                    .targets = j->targets,
                    .n_targets = j->n_targets,
                    .extra_pnginfo = j->extra_pnginfo,
                    .env = &f->env,
                    .events = &events,
                    .cache = f->cache,
                    .interrupt = &j->interrupt};
    int64_t from = clock_mono_ns();
    f->env.preview = j->preview;
    f->env_folders.owner = j->owner;
    f->env.gate.cancel = &j->interrupt;
    err_code code = flow_begin(f, &failure.error);
    if (code == ERR_OK) {
        code = flow_execute(&run, j->mem, &failure);
        flow_end(f);
    }
    f->env_folders.owner = (str){0};
    int64_t now = clock_mono_ns();
    if (code) {
        say_failure(j, &failure);
        if (failure.error.code == ERR_IO) engine_flow_free(f->eng, true, false); /* loaded anew */
    } else {
        engine_event done = {.kind = ENGINE_EVENT_DONE,
                             .reason = ENGINE_DONE_STOP,
                             .eval_ns = now - from,
                             .total_ns = now - j->submitted_ns};
        stream_put_last(j->stream, &done);
    }
}

static void *flow_main(void *arg) {
    engine_flow *f = arg;
    engine *eng = f->eng;
    pthread_mutex_lock(&eng->mu);
    while (!f->stop) {
        if (f->drop_models || f->drop_all) {
            flow_drop(f);
        } else if (f->queue.len > 0) {
            flow_job *j = f->running = f->queue.items[0];
            VEC_REMOVE_AT(f->queue, 0);
            pthread_mutex_unlock(&eng->mu);
            run_job(f, j);
            pthread_mutex_lock(&eng->mu);
            f->running = NULL;
            flow_job_destroy(j);
        } else {
            pthread_cond_wait(&f->wake, &eng->mu);
        }
    }
    pthread_mutex_unlock(&eng->mu);
    return NULL;
}

engine_flow *flow_create(engine *eng) {
    engine_flow *f = NEW(engine_flow);
    pthread_condattr_t attr;
    f->eng = eng;
    f->cache = flow_cache_create();
    f->env = (flow_env){.ctx = f,
                        .d = eng->b.device ? eng->b.device(eng->b.ctx) : NULL,
                        .gate = {.ctx = f, .pause = flow_pause},
                        .preview_px = 512,
                        .reserve = flow_reserve,
                        .release = flow_release,
                        .generate = generate};
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&f->wake, &attr);
    pthread_cond_init(&f->turn_up, NULL);
    pthread_condattr_destroy(&attr);
    pthread_create(&f->thread, NULL, flow_main, f);
    return f;
}

static void refuse_rest(engine_flow *f) {
    while (f->queue.len > 0) {
        flow_job *j = VEC_POP(f->queue);
        flow_failure why = {.error = {.code = ERR_CANCELLED, .msg = "the server is shutting down"}};
        say_failure(j, &why);
        flow_job_destroy(j);
    }
}

void flow_destroy(engine_flow **fp) {
    engine_flow *f = *fp;
    engine *eng = f->eng;
    pthread_mutex_lock(&eng->mu);
    f->stop = true;
    flow_interrupt(f);
    pthread_cond_broadcast(&f->wake);
    pthread_mutex_unlock(&eng->mu);
    pthread_join(f->thread, NULL);
    flow_cache_destroy(&f->cache);
    pthread_mutex_lock(&eng->mu);
    refuse_rest(f);
    *fp = NULL;
    pthread_mutex_unlock(&eng->mu);
    for (size_t i = 0; i < f->claims.len; i++) { /* sched_destroy ends their models */
        mem_free((void *)(uintptr_t)f->claims.items[i]->key.ptr);
        mem_free((void *)(uintptr_t)f->claims.items[i]->model.ptr);
        mem_free(f->claims.items[i]);
    }
    VEC_FINISH(f->claims);
    VEC_FINISH(f->queue);
    pthread_cond_destroy(&f->wake);
    pthread_cond_destroy(&f->turn_up);
    mem_free(f);
}

void flow_interrupt(engine_flow *f) {
    if (!f->running) return;
    atomic_store(&f->running->interrupt.flag, 1);
    pthread_cond_broadcast(&f->wake);
}

void flow_look(engine_flow *f) {
    if (f->running && stream_cancelled(f->running->stream)) flow_interrupt(f);
    for (size_t i = f->queue.len; i-- > 0;) {
        flow_job *j = f->queue.items[i];
        if (!stream_cancelled(j->stream)) continue;
        flow_failure why = {.error = {.code = ERR_CANCELLED, .msg = "the request was cancelled"}};
        VEC_REMOVE_AT(f->queue, i);
        say_failure(j, &why);
        flow_job_destroy(j);
    }
}

/* ---- the interface ---- */

static err_code check_job(engine *eng, const engine_flow_spec *spec, flow_job *j, err *e) {
    flow_host host = host_of(eng);
    flow_verdict v;
    flow_check(spec->graph, spec->targets, spec->n_targets, &host, j->mem, &v);
    if (v.error) {
        const value *message_ = value_get(v.error, STR("message"));
        const value *details = value_get(v.error, STR("details"));
        FAIL(e, INVALID, STR_FMT "%s" STR_FMT, STR_ARG(message_->as.text),
             details->as.text.len ? ": " : "", STR_ARG(str_sub(details->as.text, 0, 700)));
    }
    j->graph = v.graph;
    j->targets = v.targets;
    j->n_targets = v.n_targets;
    return ERR_OK;
}

err_code engine_flow_submit(engine *eng, const engine_flow_spec *spec, void (*notify)(void *arg),
                            void *arg, engine_stream **ret, err *e) {
    static const flow_preview_kind previews[] = {
        [ENGINE_PREVIEW_NONE] = FLOW_PREVIEW_NONE,
        [ENGINE_PREVIEW_LATENT] = FLOW_PREVIEW_LATENT,
        [ENGINE_PREVIEW_TAESD] = FLOW_PREVIEW_TAESD,
    };
    engine_flow *f = eng->flow;
    flow_job *j = NEW(flow_job);
    j->mem = arena_create(0);
    err_code code = check_job(eng, spec, j, e);
    if (code) {
        flow_job_destroy(j);
        return code;
    }
    j->id = str_dup(j->mem, spec->id);
    j->user = str_dup(j->mem, spec->user);
    j->owner = str_dup(j->mem, spec->owner);
    j->extra_pnginfo = spec->extra_pnginfo ? value_copy(j->mem, spec->extra_pnginfo) : NULL;
    j->preview = previews[spec->preview];
    j->submitted_ns = clock_mono_ns();
    j->stream = stream_create(&eng->bell, notify, arg);
    engine_stream *s = j->stream;
    pthread_mutex_lock(&eng->mu);
    if (f->queue.len >= (size_t)eng->conf.max_queue) {
        pthread_mutex_unlock(&eng->mu);
        flow_job_destroy(j);
        engine_stream_destroy(&s);
        FAIL(e, BUSY, "server busy, please try again.  maximum pending requests exceeded");
    }
    VEC_PUSH(f->queue, j);
    if (f->queue.len > 1 || f->running)
        stream_put_progress(s, ENGINE_EVENT_QUEUED, (int64_t)f->queue.len, (int64_t)f->queue.len);
    pthread_cond_broadcast(&f->wake);
    pthread_mutex_unlock(&eng->mu);
    *ret = s;
    return ERR_OK;
}

void engine_flow_free(engine *eng, bool unload_models, bool drop_cache) {
    engine_flow *f = eng->flow;
    pthread_mutex_lock(&eng->mu);
    f->drop_models = f->drop_models || unload_models;
    f->drop_all = f->drop_all || drop_cache;
    pthread_cond_broadcast(&f->wake);
    pthread_mutex_unlock(&eng->mu);
}

err_code engine_image_defaults_of(engine *eng, str checkpoint, arena *a, engine_image_defaults *ret,
                                  err *e) {
    const engine_folders *f = &eng->flow->folders;
    str path;
    diff_defaults d;
    if (!f->path || !f->path(f->ctx, "checkpoints", checkpoint, a, &path))
        FAIL(e, NOT_FOUND, "there is no checkpoint \"" STR_FMT "\"", STR_ARG(checkpoint));
    TRY(diff_checkpoint_defaults(str_cstr(a, path), &d, e));
    *ret = (engine_image_defaults){.width = d.width,
                                   .height = d.height,
                                   .steps = d.steps,
                                   .cfg = d.cfg,
                                   .sampler = str_from(d.sampler),
                                   .scheduler = str_from(d.scheduler)};
    return ERR_OK;
}
