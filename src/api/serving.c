/* What the server is doing and what it could: /api/queue, /api/estimate, /api/pin, /api/unload. */
#include "api/comfy.h"
#include "api/comfy_queue.h"
#include "api/dialect.h"
#include "api/fields.h"
#include "api/generation.h"
#include "api/slow.h"
#include "base/clock.h"
#include "engine/flow_job.h"
#include "engine/report.h"
#include "http/json.h"

/* ---- /api/queue ---- */

static const char *kind_name(engine_job_kind kind) {
    static const char *const names[] = {[ENGINE_JOB_GENERATE] = "generate",
                                        [ENGINE_JOB_EMBED] = "embed",
                                        [ENGINE_JOB_LOAD] = "load",
                                        [ENGINE_JOB_UNLOAD] = "unload"};
    return names[kind];
}

static const char *phase_name(engine_job_phase phase) {
    static const char *const names[] = {[ENGINE_PHASE_WAITING] = "waiting",
                                        [ENGINE_PHASE_READING] = "reading",
                                        [ENGINE_PHASE_MEMORY] = "memory",
                                        [ENGINE_PHASE_PROMPT] = "prompt",
                                        [ENGINE_PHASE_ANSWER] = "answer"};
    return names[phase];
}

static json_t *job_object(const engine_job_info *j) {
    json_t *o = json_pack("{s:I, s:s, s:o, s:s, s:I}", "id", (json_int_t)j->number, "kind",
                          kind_name(j->kind), "model", dialect_text(j->model), "state",
                          phase_name(j->phase), "age", (json_int_t)j->age_ns);
    if (j->user.len) json_object_set_new(o, "user", dialect_text(j->user));
    if (j->background) json_object_set_new(o, "background", json_true());
    if (j->phase == ENGINE_PHASE_WAITING)
        json_object_set_new(o, "position", json_integer(j->place));
    if (j->n_total > 0) {
        json_object_set_new(o, "completed", json_integer(j->n_done));
        json_object_set_new(o, "total", json_integer(j->n_total));
    }
    if (j->phase == ENGINE_PHASE_ANSWER)
        json_object_set_new(o, "eval_count", json_integer(j->n_eval));
    return o;
}

static json_t *memory_object(const engine_stats *st) {
    return json_pack("{s:I, s:I, s:I, s:I, s:I}", "budget", (json_int_t)st->budget_bytes, "weights",
                     (json_int_t)st->weight_bytes, "kv", (json_int_t)st->kv_bytes, "plans",
                     (json_int_t)st->plan_bytes, "staging", (json_int_t)st->staging_bytes);
}

void ollama_queue(http_request *r, void *ctx) {
    api *a = ctx;
    size_t n;
    engine_stats st;
    const engine_job_info *list = engine_jobs_now(a->eng, http_request_arena(r), &n);
    json_t *jobs = json_array();
    engine_get_stats(a->eng, &st);
    for (size_t i = 0; i < n; i++) json_array_append_new(jobs, job_object(&list[i]));
    json_t *o =
        json_pack("{s:o, s:i, s:i, s:i, s:o}", "jobs", jobs, "waiting", st.n_waiting, "running",
                  st.n_running, "limit", st.max_queue, "memory", memory_object(&st));
    if (a->pictures && a->pictures->queue)
        json_object_set_new(o, "pictures", json_integer(comfy_queue_remaining(a->pictures->queue)));
    api_reply_json(r, o);
}

/* ---- /api/estimate ---- */

static err_code read_estimate(slow *s, api_model *m, int32_t *ret_parallel, err *e) {
    json_t *body;
    const json_t *given = NULL;
    str name = {0};
    int64_t n = 1;
    TRY(api_read_body(s->body, s->mem, &body, e));
    TRY(field_model(body, &name, e));
    if (name.len == 0) FAIL(e, INVALID, "model is required");
    err_code code = api_model_find(s->a, name, s->mem, m, e);
    if (code == ERR_NOT_FOUND) FAIL(e, NOT_FOUND, "model '" STR_FMT "' not found", STR_ARG(name));
    if (code) return code;
    if (m->engine.path.len == 0)
        FAIL(e, INVALID, "\"" STR_FMT "\" has no weights here", STR_ARG(name));
    TRY(field_object(body, "options", &given, e));
    TRY(options_apply(&m->options, given, s->mem, e));
    TRY(field_i64(body, "num_parallel", &n, e));
    if (n < 1 || n > 256)
        FAIL(e, INVALID, "num_parallel is %lld; it must be between 1 and 256", (long long)n);
    *ret_parallel = (int32_t)n;
    return ERR_OK;
}

static double mib(uint64_t n_bytes) {
    return (double)n_bytes / 1048576.0;
}

/* One sentence for people. */
static json_t *reason(const engine_estimate *v) {
    buf b = {0};
    uint64_t all = v->weight_bytes + v->kv_bytes + v->plan_bytes;
    uint64_t most = v->budget_bytes > v->pinned_bytes ? v->budget_bytes - v->pinned_bytes : 0;
    if (v->resident)
        buf_putf(&b, "it is in memory");
    else if (v->fits_now)
        buf_putf(&b, "it fits beside what is in memory");
    else if (v->fits)
        buf_putf(&b, "it fits when other models make room: %.0f MiB needed, %.0f MiB free",
                 mib(all), mib(v->budget_bytes - v->reserved_bytes));
    else if (v->ctx_max > 0)
        buf_putf(&b,
                 "it does not fit with a context of %d: %.0f MiB needed, %.0f MiB possible; a "
                 "context of %d fits",
                 v->n_ctx, mib(all), mib(most), v->ctx_max);
    else
        buf_putf(&b, "it does not fit: %.0f MiB needed, %.0f MiB possible%s", mib(all), mib(most),
                 v->pinned_bytes ? " beside what is pinned" : "");
    json_t *s = dialect_text(buf_str(&b));
    buf_finish(&b);
    return s;
}

static json_t *estimate_object(const api_model *m, const engine_estimate *v) {
    uint64_t all = v->weight_bytes + v->kv_bytes + v->plan_bytes;
    return json_pack(
        "{s:o, s:b, s:b, s:b, s:o, s:I, s:I, s:I, s:I, s:i, s:i, s:i, s:{s:I, s:I, s:I, s:I}}",
        "model", dialect_text(m->stored.display), "fits", v->fits, "fits_now", v->fits_now,
        "loaded", v->resident, "reason", reason(v), "total", (json_int_t)all, "weights",
        (json_int_t)v->weight_bytes, "kv", (json_int_t)v->kv_bytes, "plan",
        (json_int_t)v->plan_bytes, "context_length", v->n_ctx, "context_length_max", v->ctx_max,
        "context_length_trained", v->ctx_train, "memory", "budget", (json_int_t)v->budget_bytes,
        "free", (json_int_t)(v->budget_bytes - v->reserved_bytes), "idle",
        (json_int_t)v->idle_bytes, "pinned", (json_int_t)v->pinned_bytes);
}

static void run_estimate(slow *s) {
    api_model m;
    engine_estimate v;
    int32_t n_parallel = 1;
    err e;
    if (read_estimate(s, &m, &n_parallel, &e) ||
        engine_estimate_load(s->a->eng, &m.engine, m.options.n_ctx, n_parallel, &v, &e))
        slow_reply(s, err_http_status(e.code), generation_native_error(0, e.msg));
    else
        slow_reply(s, 200, estimate_object(&m, &v));
}

void ollama_estimate(http_request *r, void *ctx) {
    slow_start(ctx, r, run_estimate);
}

/* ---- /api/pin, /api/unload ---- */

static json_t *pin_whole(const generation *g) {
    return json_pack("{s:o, s:b}", "model", dialect_text(g->model), "pinned", 1);
}

static const dialect PIN = {.whole = pin_whole, .error = generation_native_error};

/* The named model; false: answered. */
static bool named_model(api *a, http_request *r, const json_t *body, api_model *ret) {
    str name = {0};
    err e;
    err_code code = field_model(body, &name, &e);
    if (code == ERR_OK && name.len == 0) code = err_set(&e, ERR_INVALID, "model is required");
    if (code == ERR_OK) code = api_model_find(a, name, http_request_arena(r), ret, &e);
    if (code == ERR_NOT_FOUND)
        api_reply_error(r, 404, "model '" STR_FMT "' not found", STR_ARG(name));
    else if (code)
        api_reply_err(r, &e);
    return code == ERR_OK;
}

/* {"model", "pinned": true | false}: loads it and keeps it, or lets it go by its keep_alive. */
void ollama_pin(http_request *r, void *ctx) {
    api *a = ctx;
    const json_t *body = api_body(r);
    bool pinned = true;
    api_model m;
    err e;
    if (!body) return;
    if (field_bool(body, "pinned", &pinned, &e)) {
        api_reply_err(r, &e);
        return;
    }
    if (!named_model(a, r, body, &m)) return;
    if (m.engine.path.len == 0) {
        api_reply_error(r, 400, "\"" STR_FMT "\" has no weights here", STR_ARG(m.stored.display));
    } else if (pinned) {
        engine_job_spec job = {.kind = ENGINE_JOB_LOAD, .model = m.engine, .pin = true};
        generation g = {.d = &PIN, .model = m.stored.display};
        generation_start(a, r, &g, &job);
    } else {
        engine_unpin(a->eng, &m.engine);
        api_reply_json(
            r, json_pack("{s:o, s:b}", "model", dialect_text(m.stored.display), "pinned", 0));
    }
}

/* {} lets all models go as soon as they are idle, {"model"} one; pinned ones only with "pinned":
 * true, which unpins them. Answers what goes, what stays. */
void ollama_unload(http_request *r, void *ctx) {
    api *a = ctx;
    bool pinned = false;
    const json_t *body = str_trim(http_request_body(r)).len ? api_body(r) : NULL;
    api_model only = {0};
    err e;
    if (str_trim(http_request_body(r)).len && !body) return;
    if (body && field_bool(body, "pinned", &pinned, &e)) {
        api_reply_err(r, &e);
        return;
    }
    bool one = body && (field_get(body, "model") || field_get(body, "name"));
    if (one && !named_model(a, r, body, &only)) return;
    size_t n;
    const engine_resident *list = engine_residents(a->eng, http_request_arena(r), &n);
    json_t *gone = json_array(), *busy = json_array(), *kept = json_array();
    for (size_t i = 0; i < n; i++) {
        if (one && !engine_model_same(&list[i].model, &only.engine)) continue;
        bool stays = list[i].pinned && !pinned;
        json_array_append_new(stays                   ? kept
                              : list[i].n_running > 0 ? busy
                                                      : gone,
                              dialect_text(list[i].model.name));
        if (list[i].pinned && pinned) engine_unpin(a->eng, &list[i].model);
        if (list[i].is_image)
            engine_flow_free(a->eng, true, false);
        else if (!stays)
            engine_expire(a->eng, &list[i].model);
    }
    api_reply_json(
        r, json_pack("{s:o, s:o, s:o}", "unloaded", gone, "after_running", busy, "pinned", kept));
}
